//! The file in which `perf` looks up addresses that lie in no file: a line per function, with address and
//! size in hexadecimal, and the name.

use crate::Named;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct PerfMap(File);

impl PerfMap {
    /// The file of this process, where `perf` looks for it.
    pub(crate) fn create(process: u32) -> io::Result<PerfMap> {
        create_new(&PathBuf::from(format!("/tmp/perf-{process}.map"))).map(PerfMap)
    }

    pub(crate) fn write(&mut self, funcs: &[Named<'_>]) -> io::Result<()> {
        let mut lines = String::new();
        for Named { name, address, bytes } in funcs {
            writeln!(lines, "{address:x} {:x} {name}", bytes.len()).expect("strings take all");
        }
        // At once, so that the file holds whole lines if the process is killed.
        self.0.write_all(lines.as_bytes())
    }
}

/// A file at a name that others know too: what lay there, left by an earlier process, is removed, and
/// nobody's link is followed.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("failed to make `{}`: {error}", path.display()))
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_perf_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        std::fs::write(&path, "left behind").unwrap();
        let mut map = PerfMap(create_new(&path).unwrap());
        let one = |name, address| Named { name, address, bytes: &[0xc3; 17] };
        map.write(&[one("fib", 0x7f00), one("wasm[0]::function[1]", 0x8000)]).unwrap();
        map.write(&[one("late", 0x9000)]).unwrap();
        let expected = "7f00 11 fib\n8000 11 wasm[0]::function[1]\n9000 11 late\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, path) = (folder.path().join("target"), folder.path().join("map"));
        std::fs::write(&target, "mine").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        create_new(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine");
    }
}

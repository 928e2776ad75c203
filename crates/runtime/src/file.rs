//! Reads files of modules. What takes time with a large one is the system's clearing of fresh memory, so
//! several threads share it.

use crate::compile::Compiler;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Sizes in bytes of files that two threads read. Memory for larger ones is not asked for before it is
/// seen that they are so large.
#[cfg(unix)]
const PARALLEL_BYTES: std::ops::Range<usize> = 4 << 20..256 << 20;

/// All of a file.
///
/// # Errors
///
/// Those of the system.
pub fn read_file(compiler: &Compiler, path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    #[cfg(unix)]
    if compiler.is_parallel()
        && let Ok(size) = usize::try_from(file.metadata()?.len())
        && PARALLEL_BYTES.contains(&size)
    {
        bytes = read_halves(&file, size)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(bytes.len() as u64))?;
    }
    let _ = compiler;
    // The whole, or what was added to it meanwhile.
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first `size` bytes of a file, or as many as it has.
#[cfg(unix)]
fn read_halves(file: &File, size: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let fill = |half: &mut [u8], start: usize| -> io::Result<usize> {
        let mut done = 0;
        while done < half.len() {
            match file.read_at(&mut half[done..], (start + done) as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    };
    // Zeroed memory of this size is fresh from the system, and not touched here.
    let mut bytes = vec![0; size];
    wardian_vm::prefer_large_pages(&mut bytes);
    let middle = size / 2;
    let (low, high) = bytes.split_at_mut(middle);
    let (low, high) = crate::parallel::join(|| fill(low, 0), || fill(high, middle));
    let read = match (low?, high?) {
        (low, high) if low == middle => middle + high,
        // It became shorter.
        (low, _) => low,
    };
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_module::Settings;

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn files_are_read_whole() {
        let compiler = Compiler::new(&Settings::default(), "native", true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for size in [0, 1, 100_000, (4 << 20) - 1, (4 << 20) + 1, 5 << 20] {
            let bytes: Vec<u8> = (0..size).map(|i: usize| (i * 31 + i / 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert!(read_file(&compiler, &path).unwrap() == bytes, "{size} bytes");
        }
        let file = File::open(&path).unwrap();
        assert_eq!(read_halves(&file, 6 << 20).unwrap().len(), 5 << 20, "it became shorter");
        assert_eq!(read_halves(&file, 16 << 20).unwrap().len(), 5 << 20);
        assert_eq!(read_halves(&file, 10).unwrap().len(), 10);
        assert!(read_file(&compiler, folder.path()).is_err());
        assert!(read_file(&compiler, &folder.path().join("none")).is_err());
    }
}

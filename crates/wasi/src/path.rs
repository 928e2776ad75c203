//! Paths as guests give them, taken apart before the host sees them.
//!
//! `std::path` and with it cap-std do not tell `a` from `a/` or `a/.`; the system does, and a symbolic
//! link with a trailing slash is another file than the link. So a [`GuestPath`] is split into the path
//! proper, which ends in a name or in `..`, and what followed it. Each operation states what the
//! ending means to it; none passes it on.
//!
//! Invariant: a `GuestPath` is not empty, is relative, is UTF-8 without a zero byte, is at most
//! [`limits::PATH_BYTES`] long and does not end in `/` or `/.`.

use std::path::Path;

use wardian::{GuestMemory, GuestReadError};

use crate::limits;
use crate::types::Errno;

/// What stood behind the last name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing.
    Plain,
    /// One or more slashes: the path names a directory.
    Slash,
    /// `/.`: the entry in a directory that means itself.
    Dot,
}

/// A checked path of the guest. See the head of the file.
#[derive(Debug)]
pub(crate) struct GuestPath {
    text: String,
    ending: Ending,
}

impl GuestPath {
    /// Copies a path out of guest memory and checks it.
    pub fn read(memory: &dyn GuestMemory, addr: u32, len: u32) -> Result<GuestPath, Errno> {
        GuestPath::new(read_text(memory, addr, len)?)
    }

    fn new(mut text: String) -> Result<GuestPath, Errno> {
        if text.is_empty() {
            return Err(Errno::NOENT);
        }
        if text.starts_with('/') {
            // There is no root in preview 1. The answer is that of any other way out.
            return Err(Errno::PERM);
        }
        let mut ending = Ending::Plain;
        loop {
            if text.ends_with('/') {
                text.pop();
                if ending == Ending::Plain {
                    ending = Ending::Slash;
                }
            } else if text.ends_with("/.") {
                text.truncate(text.len() - 2);
                ending = Ending::Dot;
            } else {
                // Not empty now either: the first character is not a slash.
                return Ok(GuestPath { text, ending });
            }
        }
    }

    /// The path without its ending.
    pub fn path(&self) -> &Path {
        Path::new(&self.text)
    }

    /// Whether the ending says that this is a directory.
    pub fn must_be_dir(&self) -> bool {
        self.ending != Ending::Plain
    }

    /// What followed the path.
    pub fn ending(&self) -> Ending {
        self.ending
    }
}

/// Copies a path or the contents of a link out of guest memory. A zero byte would end it early on the
/// host, and is refused.
pub(crate) fn read_text(memory: &dyn GuestMemory, addr: u32, len: u32) -> Result<String, Errno> {
    let text = memory.read_string(addr.into(), len.into(), limits::PATH_BYTES).map_err(
        |error| match error {
            GuestReadError::OutOfBounds(_) => Errno::FAULT,
            GuestReadError::TooLong { .. } => Errno::NAMETOOLONG,
            _ => Errno::ILSEQ,
        },
    )?;
    if text.contains('\0') { Err(Errno::INVAL) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<(String, Ending), Errno> {
        GuestPath::new(text.to_owned()).map(|path| (path.text, path.ending))
    }

    #[test]
    fn endings_are_taken_off() {
        assert_eq!(parts("a/b").unwrap(), ("a/b".into(), Ending::Plain));
        assert_eq!(parts("a/b/").unwrap(), ("a/b".into(), Ending::Slash));
        assert_eq!(parts("a///").unwrap(), ("a".into(), Ending::Slash));
        assert_eq!(parts("a/.").unwrap(), ("a".into(), Ending::Dot));
        assert_eq!(parts("a/././").unwrap(), ("a".into(), Ending::Dot));
        assert_eq!(parts(".").unwrap(), (".".into(), Ending::Plain));
        assert_eq!(parts("./").unwrap(), (".".into(), Ending::Slash));
        assert_eq!(parts("./.").unwrap(), (".".into(), Ending::Dot));
        assert_eq!(parts("..").unwrap(), ("..".into(), Ending::Plain));
        assert_eq!(parts("a/../").unwrap(), ("a/..".into(), Ending::Slash));
        assert_eq!(parts("a.").unwrap(), ("a.".into(), Ending::Plain));
    }

    #[test]
    fn what_is_no_path_here() {
        assert_eq!(parts("").unwrap_err(), Errno::NOENT);
        for text in ["/", "//", "/a", "/.", "/.."] {
            assert_eq!(parts(text).unwrap_err(), Errno::PERM, "{text}");
        }
        let memory = b"a\0b\xff".to_vec();
        let read = |addr, len| GuestPath::read(&memory, addr, len).map(|_| ()).unwrap_err();
        assert_eq!(read(0, 3), Errno::INVAL);
        assert_eq!(read(3, 1), Errno::ILSEQ);
        assert_eq!(read(3, 2), Errno::FAULT);
        assert_eq!(read(u32::MAX, u32::MAX), Errno::FAULT);
        let long = vec![b'a'; 65_536];
        assert_eq!(GuestPath::read(&long, 0, 65_536).unwrap_err(), Errno::NAMETOOLONG);
        assert!(GuestPath::read(&long, 0, 4095).is_ok());
    }
}

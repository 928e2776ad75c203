//! Why a file was not read: the errors of artifact and key files, and how much of a file is read.

use super::PREFIX_BYTES;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes: more than a module of the largest admitted size and its code.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A file or folder could not be used.
#[derive(Debug)]
pub enum FileError {
    /// It is not what it has to be in order to be trusted.
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The system refused.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Refused { path, expected, found } => {
                write!(f, "{path:?}: expected {expected}, found {found}")
            }
            FileError::Io { path, action, error } => {
                write!(f, "{path:?}: cannot {action}: {error}")
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Refused { .. } => None,
            FileError::Io { error, .. } => Some(error),
        }
    }
}

#[cold]
pub(crate) fn refused(
    path: &Path,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> FileError {
    FileError::Refused { path: path.into(), expected: expected.into(), found: found.into() }
}

#[cold]
pub(crate) fn failed(path: &Path, action: &'static str, error: impl Into<io::Error>) -> FileError {
    FileError::Io { path: path.into(), action, error: error.into() }
}

/// Reads the rest of a file of about `length` bytes. It may change meanwhile: what counts is what was
/// read.
pub(crate) fn read_all(path: &Path, file: File, length: u64) -> Result<Vec<u8>, FileError> {
    let limit = |length: String| {
        refused(path, format!("at most {MAX_FILE_BYTES} bytes"), format!("{length} bytes"))
    };
    if length > MAX_FILE_BYTES {
        return Err(limit(length.to_string()));
    }
    let mut bytes = Vec::new();
    // One more, so that the end is found without growing.
    let wanted = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(PREFIX_BYTES);
    bytes
        .try_reserve_exact(wanted)
        .map_err(|_| failed(path, "hold its content in memory", io::ErrorKind::OutOfMemory))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(path, "read it", error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(limit(format!("more than {MAX_FILE_BYTES}")));
    }
    Ok(bytes)
}

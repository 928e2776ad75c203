//! Files of artifacts and keys where the owner of a file and its mode do not exist or are not
//! understood.
//!
//! Surface: the same as `files_unix.rs`. Artifacts are read without looking at who can change them:
//! what was read is a copy, and its MAC tells. Key files are refused, because who can read one is not
//! known.

use super::KeyError;
use super::file_error::{FileError, failed, read_all, refused};
use super::key::KEY_BYTES;
use std::fs::File;
use std::path::Path;

/// Reads an artifact's file whole.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|error| failed(path, "open it", error))?;
    read_open_file(path, file)
}

/// As [`read_file`], of a file that is open already; `path` is for messages.
pub fn read_open_file(path: &Path, file: File) -> Result<Vec<u8>, FileError> {
    let status = file.metadata().map_err(|error| failed(path, "examine it", error))?;
    if !status.is_file() {
        return Err(refused(path, "a file", "something else"));
    }
    read_all(path, file, status.len())
}

pub(super) fn user_key(_folder: &Path) -> Result<[u8; KEY_BYTES], KeyError> {
    Err(KeyError::Unsupported)
}

pub(super) fn key_file(_path: &Path) -> Result<[u8; KEY_BYTES], KeyError> {
    Err(KeyError::Unsupported)
}

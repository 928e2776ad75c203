//! The folder of a code cache where the owner of a file and its mode do not exist or are not
//! understood: none is to be trusted, so there is no cache.
//!
//! Surface: the same as `folder_unix.rs`.

use super::Item;
use crate::artifact::FileError;
use crate::artifact::file_error::refused;
use std::convert::Infallible;
use std::path::Path;

#[derive(Debug)]
pub(super) struct Folder(Infallible);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Option<Folder>, FileError> {
        Folder::make(path).map(Some)
    }

    pub(super) fn make(path: &Path) -> Result<Folder, FileError> {
        Err(refused(path, "a system on which the owner of a folder can be told", "another"))
    }

    pub(super) fn read(&self, _name: &str, _limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        match self.0 {}
    }

    pub(super) fn write(&self, _name: &str, _bytes: &[u8]) -> Result<(), FileError> {
        match self.0 {}
    }

    pub(super) fn list(&self, _most: usize) -> Result<(Vec<Item>, bool), FileError> {
        match self.0 {}
    }

    pub(super) fn remove(&self, _name: &str) -> Result<(), FileError> {
        match self.0 {}
    }
}

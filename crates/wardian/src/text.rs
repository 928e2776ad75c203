//! Modules in text form, by `wat`.

use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::path::Path;

/// The binary form of what is in binary or text form, in this file if it is in one.
pub(crate) fn binary_form<'a>(bytes: &'a [u8], path: Option<&Path>) -> Result<Cow<'a, [u8]>> {
    wat::parse_bytes(bytes).map_err(|mut error| {
        if let Some(path) = path {
            error.set_path(path);
        }
        Error::tagged(ErrorKind::InvalidModule, error.to_string())
    })
}

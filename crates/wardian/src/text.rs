//! Modules in text form, by `wat`.

use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::path::Path;

/// The binary form of what is in binary or text form, in this file if it is in one.
pub(crate) fn binary_form<'a>(bytes: &'a [u8], path: Option<&Path>) -> Result<Cow<'a, [u8]>> {
    if let Some(text) = neither(bytes) {
        return Err(Error::tagged(ErrorKind::InvalidModule, text));
    }
    wat::parse_bytes(bytes).map_err(|mut error| {
        if let Some(path) = path {
            error.set_path(path);
        }
        Error::tagged(ErrorKind::InvalidModule, error.to_string())
    })
}

/// What is wrong with bytes that are neither binary nor text, which is UTF-8.
fn neither(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(b"\0asm") {
        return None;
    }
    let at = match std::str::from_utf8(bytes) {
        Err(error) => error.valid_up_to(),
        // A binary that is cut off, for one.
        Ok(text) => text.find('\0')?,
    };
    Some(format!(
        "this is no module: binary form begins with the bytes 00 61 73 6d, and text has no byte {:#04x} \
         as there is at offset {at:#x}",
        bytes[at]
    ))
}

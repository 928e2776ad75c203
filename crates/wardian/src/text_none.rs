//! Stands in for `text.rs` in a build without text form.

use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::path::Path;

/// The bytes, if they begin as binary form does, or are not text either.
pub(crate) fn binary_form<'a>(bytes: &'a [u8], _: Option<&Path>) -> Result<Cow<'a, [u8]>> {
    let start: Option<&u8> = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    // Text form begins with a parenthesis or a comment.
    match start {
        Some(b'(' | b';') => {
            let text = "this is a module in text form, and this build of wardian reads binary form only \
                        (cargo feature `wat`)";
            Err(Error::tagged(ErrorKind::InvalidModule, text))
        }
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

//! Stands in for `text.rs` where the command is built without text form.

use std::borrow::Cow;
use std::path::Path;
use wardian::{Result, bail};

/// The bytes, if they are binary form.
///
/// # Errors
///
/// When they are not.
pub fn binary_form<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    if bytes.starts_with(b"\0asm") {
        return Ok(Cow::Borrowed(bytes));
    }
    bail!(
        "`{}` is not in binary form; this command was built without text form (cargo feature `wat`)",
        path.display()
    )
}

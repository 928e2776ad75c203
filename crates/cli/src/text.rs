//! Modules in text form, for `inspect`.

use std::borrow::Cow;
use std::path::Path;
use wardian::Result;
use wardian::error::Context as _;

/// The binary that a file in text form stands for; a binary stays what it is.
///
/// # Errors
///
/// When it is neither; the place is named.
pub fn binary_form<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    wat::parse_bytes(bytes)
        .map_err(|mut error| {
            error.set_path(path);
            error
        })
        .with_context(|| format!("failed to read `{}` as text format", path.display()))
}

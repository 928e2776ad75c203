//! Stands in for `check.rs` where the checker is not built in.

use crate::claims::Claims;
use wardian_module::layout::VmLayout;
use wardian_module::{Module, Settings};

/// Whether claims are worth recording.
pub(crate) const ON: bool = false;

pub(crate) fn verify(
    _: &Module,
    _: &VmLayout,
    _: &Settings,
    _: &[u8],
    _: &Claims,
) -> Result<(), String> {
    Ok(())
}

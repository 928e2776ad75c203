//! Stands in for `check.rs` where the checker is not built in.

use wardian_module::abi::CallLayout;
use wardian_module::image::FunctionCode;
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{DefinedFuncIndex, Module, Settings};

/// Whether there is a checker.
pub(crate) const ON: bool = false;

#[expect(clippy::too_many_arguments, reason = "those of `check.rs`")]
pub(crate) fn verify(
    _: &Module,
    _: &VmLayout,
    _: &Settings,
    _: &CallLayout,
    _: DefinedFuncIndex,
    _: Linkage,
    _: u32,
    _: &FunctionCode,
) -> Result<(), String> {
    Ok(())
}

//! Stands in for `objdump.rs` where the command is built without a disassembler.

use crate::args::ObjdumpArgs;
use crate::options::Choices;
use std::process::ExitCode;
use wardian::{Result, bail};

/// Says so.
///
/// # Errors
///
/// Always.
pub fn objdump(_: &ObjdumpArgs, _: Choices) -> Result<ExitCode> {
    bail!("this command was built without `objdump` (cargo feature `explore`)")
}

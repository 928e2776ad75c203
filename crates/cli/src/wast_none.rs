//! Stands in for `wast.rs` where the command is built without it.

use crate::args::WastArgs;
use crate::options::Choices;
use std::process::ExitCode;
use wardian::{Result, bail};

/// Says so.
///
/// # Errors
///
/// Always.
pub fn wast(_: &WastArgs, _: Choices) -> Result<ExitCode> {
    bail!("this command was built without `wast`")
}

//! Stands in for `explore.rs` where the command is built without it.

use crate::args::ExploreArgs;
use crate::options::Choices;
use std::process::ExitCode;
use wardian::{Result, bail};

/// Says so.
///
/// # Errors
///
/// Always.
pub fn explore(_: &ExploreArgs, _: Choices) -> Result<ExitCode> {
    bail!("this command was built without `explore`")
}

//! `wardian wast`: test scripts, with a line per failure and a count at the end.

use crate::args::WastArgs;
use crate::options::Choices;
use std::process::ExitCode;
use wardian::error::Context as _;
use wardian::{Engine, Error, Result};
use wardian_wast::{Expected, Report, run_script};

/// Runs scripts.
///
/// # Errors
///
/// When the engine cannot be made or the list of known failures not be read. A script that cannot be
/// read counts as failed.
pub fn wast(args: &WastArgs, choices: Choices) -> Result<ExitCode> {
    let engine = Engine::new(&choices.config)?;
    let expected = match &args.expected_failures {
        None => Expected::default(),
        Some(path) => {
            let name = path.display();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read `{name}`"))?;
            Expected::parse(&text)
                .map_err(Error::msg)
                .with_context(|| format!("failed to read `{name}`"))?
        }
    };
    let mut reports = Vec::with_capacity(args.files.len());
    for file in &args.files {
        let name = file.display().to_string();
        reports.push(match std::fs::read_to_string(file) {
            Ok(text) => run_script(&engine, &name, &text),
            Err(error) => {
                let mut report = Report::new(&name);
                report.record(0, "read", Err(error.to_string()));
                report
            }
        });
    }
    let verdict = expected.judge(&reports);
    crate::print(verdict.to_string())?;
    Ok(if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

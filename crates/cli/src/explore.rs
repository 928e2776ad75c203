//! `wardian explore`: a page about a module's functions.

use crate::args::ExploreArgs;
use crate::options::Choices;
use std::process::ExitCode;
use wardian::error::Context as _;
use wardian::{Engine, Result, bail};

/// Writes the page.
///
/// # Errors
///
/// When the module cannot be read or is not valid, a function is not known, or the file cannot be
/// written.
pub fn explore(args: &ExploreArgs, choices: Choices) -> Result<ExitCode> {
    let engine = Engine::new(&choices.config)?;
    let name = args.file.display();
    let bytes = std::fs::read(&args.file).with_context(|| format!("failed to read `{name}`"))?;
    if Engine::detect_precompiled(&bytes).is_some() {
        bail!("`{name}` is an artifact; `explore` shows modules");
    }
    let title = args.file.file_name().unwrap_or_default().to_string_lossy();
    let page = wardian_explore::page(&engine, &bytes, &title, &args.functions)
        .with_context(|| format!("failed to explore `{name}`"))?;
    let output = match &args.output {
        Some(file) if file.as_os_str() == "-" => return crate::print(page),
        Some(file) => file.clone(),
        None => args.file.with_extension("html"),
    };
    crate::compile::replace(&output, page.as_bytes())
        .with_context(|| format!("failed to write `{}`", output.display()))?;
    Ok(ExitCode::SUCCESS)
}

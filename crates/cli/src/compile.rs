//! `wardian compile`: an artifact from a module.

use crate::args::CompileArgs;
use crate::options::Choices;
use crate::progress::Bar;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use wardian::error::Context as _;
use wardian::{Engine, Result, bail};

/// Compiles a module into a file.
///
/// # Errors
///
/// When the module cannot be read or compiled, or the file not be written. The file is replaced as a
/// whole or not at all.
pub fn compile(args: &CompileArgs, choices: Choices) -> Result<ExitCode> {
    wardian::return_freed_memory();
    let engine = Engine::new(&choices.config)?;
    let name = args.file.display();
    if Engine::detect_precompiled_file(&args.file)?.is_some() {
        bail!("`{name}` is an artifact already");
    }
    let bar = Bar::on_terminal();
    let artifact = engine.precompile_file(&args.file, |progress| {
        if let Some(bar) = &bar {
            bar.show(progress);
        }
    });
    // The line is clean again before anything else is written.
    drop(bar);
    let artifact = artifact?;
    let large = engine.stats().baseline_functions;
    if large > 0 {
        let functions = match large {
            1 => "1 function is too large for the optimizing compiler and gets".to_owned(),
            _ => format!("{large} functions are too large for the optimizing compiler and get"),
        };
        // If standard error is closed, nobody wants to know.
        let _ = writeln!(std::io::stderr(), "`{name}`: {functions} code of the single-pass one");
    }
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("cwasm"));
    replace(&output, &artifact)
        .with_context(|| format!("failed to write `{}`", output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes beside the target, then renames: a program that runs the old file keeps it.
pub fn replace(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let regular = std::fs::metadata(target).map_or(true, |found| found.is_file());
    if !regular {
        // A device or pipe takes bytes as they come.
        return std::fs::write(target, bytes);
    }
    let mut beside = target.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let written = std::fs::write(beside, bytes).and_then(|()| std::fs::rename(beside, target));
    if written.is_err() {
        // What went wrong first is the error; the leftover matters less.
        let _ = std::fs::remove_file(beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.cwasm");
        replace(&target, b"one").unwrap();
        replace(&target, b"two").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("no/such/dir"), b"").is_err());
    }
}

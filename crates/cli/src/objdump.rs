//! `wardian objdump`: machine code as text.

use crate::args::{FunctionKind, ObjdumpArgs};
use crate::options::Choices;
use std::io::Write as _;
use std::process::ExitCode;
use wardian::error::Context as _;
use wardian::{Engine, Error, ModuleCode, Result};
use wardian_explore::{Functions, ObjdumpOptions};

/// Writes the listing to standard output.
///
/// # Errors
///
/// When the file cannot be read, is neither a valid module nor an authentic artifact, or none of its
/// functions is to be shown.
pub fn objdump(args: &ObjdumpArgs, choices: Choices) -> Result<ExitCode> {
    let engine = Engine::new(&choices.config)?;
    let name = args.file.display();
    let bytes = std::fs::read(&args.file).with_context(|| format!("failed to read `{name}`"))?;
    let code = match Engine::detect_precompiled(&bytes) {
        None => ModuleCode::compile(&engine, &bytes),
        Some(_) if args.vouched => ModuleCode::of_unauthenticated_artifact(&engine, &bytes),
        Some(_) => ModuleCode::of_artifact(&engine, &bytes)
            .context("an artifact that is not this user's is shown with `--vouched`"),
    };
    let code = code.with_context(|| format!("failed to show `{name}`"))?;
    drop(bytes);
    let options = ObjdumpOptions {
        functions: match args.funcs {
            FunctionKind::Wasm => Functions::All,
            FunctionKind::Exported => Functions::Exported,
        },
        filter: args.filter.clone(),
        addresses: args.addresses,
        bytes: args.bytes,
        traps: args.traps,
        address_map: args.addrmap,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = wardian_explore::objdump(&code, &options, &mut out);
    match written.and_then(|()| out.flush().map_err(Error::from)) {
        // A reader that has gone away has read enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    let error: Option<&std::io::Error> = error.downcast_ref();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

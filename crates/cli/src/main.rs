//! The command `wardian`.
//!
//! Exit codes: the program's own; 134 after a trap; 2 for a mistake in the command line; 1 for every
//! other error. Results go to standard output, all else to standard error.

#![forbid(unsafe_code)]

mod args;
mod cache;
mod compile;
#[cfg(feature = "explore")]
mod explore;
#[cfg(not(feature = "explore"))]
#[path = "explore_none.rs"]
mod explore;
mod inspect;
#[cfg(feature = "explore")]
mod objdump;
#[cfg(not(feature = "explore"))]
#[path = "objdump_none.rs"]
mod objdump;
mod options;
mod progress;
mod run;
mod settings;
#[cfg(feature = "wat")]
mod text;
#[cfg(not(feature = "wat"))]
#[path = "text_none.rs"]
mod text;
mod threads;
mod timeout;
#[cfg(feature = "wast")]
mod wast;
#[cfg(not(feature = "wast"))]
#[path = "wast_none.rs"]
mod wast;

use args::{Cli, Command, EngineArgs};
use clap::CommandFactory as _;
use compile::compile;
use explore::explore;
use objdump::objdump;
use options::Choices;
use run::run;
use std::io::Write as _;
use std::process::ExitCode;
use wardian::error::Context as _;
use wardian::{Result, Trap};
use wast::wast;

/// Exit code after a trap: what a shell reports for a process that `abort` ended.
const TRAPPED: u8 = 134;
const FAILED: u8 = 1;
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    start_log();
    let cli = args::parse(std::env::args_os());
    match execute(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "Error: {error:?}");
            ExitCode::from(if error.is::<Trap>() { TRAPPED } else { FAILED })
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Inspect(args) => print(inspect::inspect(&args.file, args.json)?),
        Command::Settings(args) => {
            with_choices(&args.engine, |choices| print(settings::listing(&args, &choices.config)))
        }
        Command::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "wardian", &mut script);
            print(script)
        }
        Command::Man(args) => {
            let mut page = Vec::new();
            let mut command = Cli::command();
            command.build();
            if let Some(name) = &args.command {
                let found = command.find_subcommand(name);
                command = found.with_context(|| format!("no command is called `{name}`"))?.clone();
            }
            clap_mangen::Man::new(command).render(&mut page)?;
            print(page)
        }
        Command::Run(args) => with_choices(&args.engine, |choices| run(&args, choices)),
        Command::Compile(args) => with_choices(&args.engine, |choices| compile(&args, choices)),
        Command::Explore(args) => with_choices(&args.engine, |choices| explore(&args, choices)),
        Command::Objdump(args) => with_choices(&args.engine, |choices| objdump(&args, choices)),
        Command::Cache(args) => with_choices(&args.engine, |choices| cache::cache(&args, &choices)),
        Command::Wast(args) => with_choices(&args.engine, |choices| wast(&args, choices)),
    }
}

/// Acts on the options of the engine, or explains them if that was asked for.
fn with_choices(
    args: &EngineArgs,
    act: impl FnOnce(Choices) -> Result<ExitCode>,
) -> Result<ExitCode> {
    if let Some(help) = args.help() {
        return print(help);
    }
    match args.choices() {
        Ok(choices) => act(choices),
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "error: {message}");
            Ok(ExitCode::from(MISUSED))
        }
    }
}

/// Writes to standard output; a reader that has gone away has read enough.
fn print(text: impl AsRef<[u8]>) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Logs to standard error what `WARDIAN_LOG` selects, such as `wardian=debug` or `wardian::tiers=debug`.
/// Without it, nothing is set up: a start takes no longer.
fn start_log() {
    if std::env::var_os("WARDIAN_LOG").is_some_and(|filter| !filter.is_empty()) {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_env("WARDIAN_LOG"))
            .with_writer(std::io::stderr)
            .init();
    }
}

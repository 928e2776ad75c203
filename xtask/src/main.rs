//! Automation of this repository: `cargo xtask COMMAND`.
//!
//! What CI runs, `cargo xtask ci` runs. Each command is a module with one `run` function that gives
//! `Ok(())` when everything it looked at holds, or an error text that says what does not. The list
//! below is the only list of commands: help and dispatch both come from it.

#![forbid(unsafe_code)]

mod compare;
mod documents;
mod licenses;
mod repo;
mod rust_source;
mod start_order;
mod steps;
mod tidy;
mod unsafe_audit;

use std::process::ExitCode;

use repo::Repo;

/// What a command gives back; the text is shown to the person who ran it.
pub type Outcome = Result<(), String>;

struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&Repo, &[String]) -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "ci",
        arguments: "",
        help: "everything that CI checks, in its order; stops at the first failure",
        run: steps::ci,
    },
    Command {
        name: "unsafe-audit",
        arguments: "",
        help: "list all unsafe code and the invariants it cites; fail where a rule is broken",
        run: unsafe_audit::run,
    },
    Command {
        name: "tidy",
        arguments: "",
        help: "head comments, dead files, leftovers, paths and links in documents",
        run: tidy::run,
    },
    Command {
        name: "licenses",
        arguments: "",
        help: "check the licence of every dependency against the allowed ones (no network)",
        run: licenses::run,
    },
    Command {
        name: "miri",
        arguments: "[FILTER]",
        help: "kernel and runtime tests that execute no machine code, under Miri",
        run: steps::miri,
    },
    Command {
        name: "bless",
        arguments: "[FILTER]",
        help: "rewrite the expected part of the golden files; read the diff before committing it",
        run: steps::bless,
    },
    Command {
        name: "differ",
        arguments: "[OPTIONS]",
        help: "generated modules, the same on every tier? --count N, --seed S (the first), --show",
        run: steps::differ,
    },
    Command {
        name: "compare",
        arguments: "[OPTIONS]",
        help: "beside Wasmtime: -n ROUNDS, micro, instances, programs (WASMTIME=…), FILE.wasm…",
        run: compare::run,
    },
    Command {
        name: "package",
        arguments: "[--verify]",
        help: "package every publishable crate; --verify also builds each from its package",
        run: steps::package,
    },
    Command {
        name: "features",
        arguments: "",
        help: "builds with fewer features, and an artifact that runs where there is no compiler",
        run: steps::features,
    },
    Command {
        name: "start-order",
        arguments: "[MODULE]...",
        help: "functions that run in every start, for the linker (by valgrind, of a release build)",
        run: start_order::run,
    },
    Command {
        name: "cross-check",
        arguments: "",
        help: "cargo check for the platforms that have to compile, where their target is installed",
        run: steps::cross_check,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("help", String::as_str);
    if matches!(name, "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("xtask: no command `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    match Repo::open().and_then(|repo| (command.run)(&repo, &arguments[1..])) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let left = |command: &Command| format!("{} {}", command.name, command.arguments);
    let width = COMMANDS.iter().map(|command| left(command).len()).max();
    let width = width.expect("the list of commands is not empty");
    let mut text = String::from("usage: cargo xtask COMMAND\n\n");
    for command in COMMANDS {
        text += &format!("  {:width$}  {}\n", left(command), command.help);
    }
    text
}

/// One line per finding, and a count; the common end of the commands that look for violations.
pub fn fail_if_any(findings: &[String]) -> Outcome {
    if findings.is_empty() {
        return Ok(());
    }
    for finding in findings {
        eprintln!("error: {finding}");
    }
    let plural = if findings.len() == 1 { "" } else { "s" };
    Err(format!("{} violation{plural}", findings.len()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn help_lists_every_command_on_one_line() {
        let help = super::help();
        for command in super::COMMANDS {
            let lines =
                help.lines().filter(|line| line.starts_with(&format!("  {} ", command.name)));
            assert_eq!(lines.count(), 1, "{}", command.name);
        }
        assert!(help.lines().all(|line| line.len() <= 110), "{help}");
    }
}

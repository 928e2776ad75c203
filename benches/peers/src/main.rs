//! `peers ENGINE WORK [ARGUMENTS]`: does the same work with one engine or the other, and prints what it
//! took, a line `name<TAB>value` each. `cargo xtask compare` runs it in turn and prints ratios.
//!
//! An engine has a process to itself: both install handlers for faults, and one would wait for the other.

#![allow(clippy::duplicate_mod, reason = "the same work is compiled against either engine")]

#[cfg(feature = "wardian")]
mod ours;
#[cfg(feature = "wasmtime")]
mod theirs;

use std::process::ExitCode;

const USAGE: &str = "usage: peers wardian|wasmtime micro [ROW] | instances [N] | compile FILE [1|2] | artifact FILE";

macro_rules! work {
    ($engine:ident, $arguments:expr) => {{
        let arguments: Vec<&str> = $arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["micro"] => $engine::micro::run(""),
            ["micro", row] => $engine::micro::run(row),
            ["instances"] => $engine::instances::run(10_000),
            ["instances", count] => $engine::instances::run(count.parse().expect(USAGE)),
            ["compile", file] => $engine::compile::run(file, true),
            ["compile", file, threads] => $engine::compile::run(file, threads != "1"),
            ["artifact", file] => $engine::compile::artifact(file),
            _ => panic!("{USAGE}"),
        }
        .map_err(|error| format!("{error:#}"))
    }};
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        #[cfg(feature = "wardian")]
        Some("wardian") => work!(ours, arguments[1..]),
        #[cfg(feature = "wasmtime")]
        Some("wasmtime") => work!(theirs, arguments[1..]),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A figure of this process that the system keeps, in KiB: a line of `/proc/self/status`.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("a Linux system");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).expect("a line of that name");
    number.parse().expect("a number")
}

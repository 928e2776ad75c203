//! The command as its users see it: output, errors, exit codes.

#![forbid(unsafe_code)]

use std::process::{Command, Output};

fn wardian(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardian"));
    command.args(line.split_whitespace()).env_remove("WARDIAN_LOG");
    command.output().expect("the command was built with this test")
}

/// Runs a command line; compares its exit code and looks for a text in what it prints.
fn check(line: &str, code: i32, expected: &str) {
    let output = wardian(line);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "`wardian {line}` printed:\n{text}");
    assert!(text.contains(expected), "no {expected:?} in what `wardian {line}` printed:\n{text}");
}

#[test]
fn help_and_version() {
    check("--help", 0, "wardian python.wasm -c 'print(1)'");
    check("run --help", 0, "HOST[::GUEST[::ro]]");
    check("--version", 0, "tail-call");
    check("-V", 0, env!("CARGO_PKG_VERSION"));
    check("-W help", 0, "unknown-imports-trap=y|n");
    check("compile -O help", 0, "opt-level=0|1|2|s");
    check("settings -W simd=n,relaxed-simd=n --json", 0, "\"wasm_simd\": false");
    check("completion fish", 0, "complete -c wardian");
    check("man run", 0, ".TH");
}

#[test]
fn mistakes_in_the_command_line_exit_with_2() {
    check("run", 2, "FILE");
    check("--no-such-option x.wasm", 2, "--no-such-option");
    check("-W smid=y x.wasm", 2, "unknown option `smid`; known are");
    check("-W timeout=1s x.wasm", 2, "cannot do that yet");
    check("-O opt-level=7 x.wasm", 2, "expected 0, 1, 2 or s");
    check("--dir a::b::c x.wasm", 2, "HOST::GUEST::ro");
    check("completion nushell-or-so", 2, "nushell-or-so");
}

#[test]
fn errors_exit_with_1_and_name_the_file() {
    check("inspect no-such-file.wasm", 1, "Error: failed to read `no-such-file.wasm`");
    check(&format!("inspect {}", file!().replace("crates/cli/", "")), 1, "as text format");
}

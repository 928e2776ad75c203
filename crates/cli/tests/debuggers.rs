//! gdb and perf see functions of WebAssembly by name: in code of both tiers, and in loops that went over
//! to faster code.
//!
//! Not every machine has these programs, or lets them look into a process. So this is a program of its own,
//! which prints what it did and what it could not do; no test passes silently. Where all of them must
//! run, `WARDIAN_TEST_TOOLS=gdb,perf` makes it a failure if a tool is missing.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = r#"(module
    (func $down (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))))
    (func $sum (export "sum") (param i32) (result i32) (local i32)
        (loop
            (local.set 1 (i32.add (local.get 1) (i32.rem_u (i32.mul (local.get 0) (local.get 0)) (i32.const 7))))
            (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1))
    (func (export "go") (param i32) (result i32) (call $down (local.get 0))))"#;

/// Two scripts, and what each calls.
const SCRIPTS: [(&str, &str); 2] = [
    ("first.wast", r#"(module (func $down (export "go"))) (invoke "go")"#),
    ("second.wast", r#"(module (func $up (export "go"))) (invoke "go")"#),
];

const STRATEGIES: [&str; 3] = ["strategy=baseline", "strategy=optimizing", "tier-up=1"];

/// Whether a tool works here, and if not, why.
type IsThere = fn() -> Result<(), String>;

/// The tool that a test needs, and the test, in a folder.
type Test = (&'static str, IsThere, fn(&Path));

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("program.wat"), PROGRAM).expect("it can be written");
    let tests: [Test; 4] = [
        ("gdb", has_gdb, gdb_stops_in_functions_and_shows_their_frames),
        ("gdb", has_gdb, gdb_knows_code_only_as_long_as_it_exists),
        ("perf", has_perf, perf_finds_names_in_the_map),
        ("perf", has_perf, perf_finds_names_in_the_dump),
    ];
    let needed = std::env::var("WARDIAN_TEST_TOOLS").unwrap_or_default();
    let mut skipped = 0;
    for (tool, is_there, test) in tests {
        match is_there() {
            Ok(()) => {
                test(folder.path());
                println!("{tool}: ok");
            }
            Err(why) => {
                assert!(!needed.split(',').any(|name| name == tool), "{tool} is needed: {why}");
                println!("{tool}: SKIPPED, {why}");
                skipped += 1;
            }
        }
    }
    println!("{} of {} tests ran, {skipped} skipped", tests.len() - skipped, tests.len());
}

/// What a command prints to both streams.
fn printed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let bytes = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `wardian run` with these words between.
fn run(words: &[&str]) -> Vec<String> {
    let start = [env!("CARGO_BIN_EXE_wardian"), "run", "-C", "cache=n"];
    start.iter().chain(words).map(|word| word.to_string()).collect()
}

fn gdb(folder: &Path, commands: &[&str], program: &[String]) -> String {
    let mut gdb = Command::new("gdb");
    gdb.current_dir(folder).args(["-nx", "-batch", "-ex", "set breakpoint pending on"]);
    gdb.args(["-ex", "set debuginfod enabled off", "-ex", "set width 0"]);
    for command in commands {
        gdb.args(["-ex", command]);
    }
    printed(gdb.arg("--args").args(program)).expect("gdb was there before")
}

fn has_gdb() -> Result<(), String> {
    let mut gdb = Command::new("gdb");
    let text = printed(gdb.args(["-nx", "-batch", "-ex", "run", "--args", "true"]))?;
    match text.contains("exited normally") {
        true => Ok(()),
        false => Err(format!("it cannot run programs here: {}", text.trim())),
    }
}

fn gdb_stops_in_functions_and_shows_their_frames(folder: &Path) {
    for strategy in STRATEGIES {
        let program =
            run(&["-D", "debug-info", "-C", strategy, "--invoke", "go", "program.wat", "3"]);
        // The third stop in `down` has two callers of the same name.
        let commands = ["break down", "ignore 1 2", "run", "backtrace", "finish", "kill"];
        let text = gdb(folder, &commands, &program);
        let frames: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        let expected = [" down ()", " down ()", " down ()", " wasm[0]::function[2] ()"];
        let shown = frames.iter().zip(expected).all(|(found, name)| found.contains(name));
        assert!(frames.len() > expected.len() && shown, "{strategy}: {text}");
        // And on through the frames of the host.
        assert!(frames[4].contains("wardian_vm::shims::enter"), "{strategy}: {text}");
        assert!(frames.last().is_some_and(|frame| frame.contains(" main ")), "{strategy}: {text}");
    }
}

fn gdb_knows_code_only_as_long_as_it_exists(folder: &Path) {
    const LIST: &str = "info functions ^down$";
    let commands = ["break down", "run", LIST, "delete", "break up", "continue", LIST, "kill"];
    for (name, text) in SCRIPTS {
        std::fs::write(folder.join(name), text).expect("it can be written");
    }
    for strategy in STRATEGIES {
        let start = [env!("CARGO_BIN_EXE_wardian"), "wast", "-D", "debug-info", "-C", strategy];
        let program: Vec<String> =
            start.into_iter().chain(SCRIPTS.map(|(name, _)| name)).map(String::from).collect();
        let text = gdb(folder, &commands, &program);
        let lists = text.split("All functions matching").skip(1);
        let known = |list: &str| list.lines().any(|line| line.trim_end().ends_with(" down"));
        let known: Vec<bool> = lists.map(known).collect();
        // Before the second script, the command has dropped the modules of the first.
        assert_eq!(known, [true, false], "{strategy}: {text}");
        assert!(text.contains(" in up ()"), "{strategy}: {text}");
    }
}

fn has_perf() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut perf = Command::new("perf");
    perf.args(["record", "-e", "cpu-clock", "-o"]).arg(folder.path().join("data")).arg("true");
    let output = perf.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("it cannot record here: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn perf(folder: &Path, words: &[&str]) -> String {
    printed(Command::new("perf").current_dir(folder).args(words)).expect("perf was there before")
}

/// Records a run that spends its time in one function; a share of the samples, in percent.
fn share(folder: &Path, kind: &str, strategy: &str) -> f64 {
    let program =
        run(&["--profile", kind, "-C", strategy, "--invoke", "sum", "program.wat", "60000000"]);
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let record = ["record", "-k", "mono", "-e", "cpu-clock", "-o", "data", "--"];
    let recorded = perf(folder, &[&record[..], &program].concat());
    let data = match kind {
        "jitdump" => {
            perf(folder, &["inject", "--jit", "-i", "data", "-o", "injected"]);
            "injected"
        }
        _ => "data",
    };
    let report = perf(folder, &["report", "--stdio", "-i", data, "--sort", "symbol"]);
    let is_sum = |line: &&str| line.split_whitespace().skip(1).take(2).eq(["[.]", "sum"]);
    let line = report.lines().find(is_sum);
    let line = line.unwrap_or_else(|| panic!("{strategy}: {recorded}\n{report}"));
    let share = line.trim_start().split('%').next().expect("there is a first part");
    share.parse().unwrap_or_else(|_| panic!("expected a share: {line}"))
}

fn perf_finds_names_in_the_map(folder: &Path) {
    for strategy in STRATEGIES {
        let share = share(folder, "perfmap", strategy);
        assert!(share > 50.0, "{strategy}: {share} %");
    }
}

fn perf_finds_names_in_the_dump(folder: &Path) {
    for strategy in STRATEGIES {
        let share = share(folder, "jitdump", strategy);
        assert!(share > 50.0, "{strategy}: {share} %");
    }
}

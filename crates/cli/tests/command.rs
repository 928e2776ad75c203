//! The command as its users see it: output, errors, exit codes.

#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/programs");

fn wardian() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardian"));
    command.env_remove("WARDIAN_LOG").env("XDG_CACHE_HOME", NO_FOLDER);
    command
}

/// Where no folder can be made: tests that want a code cache name one.
const NO_FOLDER: &str = "/dev/null";

/// What it prints to both streams, and its exit code.
fn outcome(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs a command line; compares its exit code and looks for a text in what it prints.
fn check(line: &str, code: i32, expected: &str) {
    check_in(Path::new("."), line, code, expected);
}

fn check_in(folder: &Path, line: &str, code: i32, expected: &str) {
    let output = wardian().args(line.split_whitespace()).current_dir(folder).output();
    let (found, text) = outcome(output.expect("the command was built with this test"));
    assert_eq!(found, Some(code), "`wardian {line}` printed:\n{text}");
    assert!(text.contains(expected), "no {expected:?} in what `wardian {line}` printed:\n{text}");
}

/// A folder with small modules in text format.
fn modules() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "lib.wat",
        r#"(module
            (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
            (func (export "two") (result i64 f64) i64.const -7 f64.const 1.5)
            (memory (export "pages") 1)
            (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))"#,
    );
    write(
        "user.wat",
        r#"(module
            (import "lib" "add" (func $add (param i32 i32) (result i32)))
            (func (export "run") (result i32) i32.const 40 i32.const 2 call $add))"#,
    );
    write(
        "wrong.wat",
        r#"(module (import "lib" "add" (func (param i64) (result i32))) (func (export "_start")))"#,
    );
    write(
        "traps.wat",
        r#"(module
            (memory 1)
            (table funcref (elem $other))
            (table $holes 3 funcref)
            (type $expected (func (param i32)))
            (func $other (result i64) i64.const 0)
            (func (export "_start") call $deeper)
            (func $deeper i32.const 100000 i32.load drop)
            (func (export "signature") i32.const 0 i32.const 0 call_indirect (type $expected))
            (func (export "element") i32.const 0 i32.const 7 call_indirect (type $expected))
            (func (export "hole") i32.const 0 i32.const 2 call_indirect $holes (type $expected))
            (func $deep (export "stack") call $deep i32.const 0 drop))"#,
    );
    write("vector.wat", r#"(module (func (export "_start") v128.const i64x2 0 0 drop))"#);
    write("tail.wat", r#"(module (func $f) (func (export "_start") return_call $f))"#);
    write("memories.wat", r#"(module (memory 1) (memory 1) (func (export "_start")))"#);
    write("continuation.wat", "(module (type $f (func)) (type (cont $f)))");
    write("invalid.wat", "(module (func (result i32) i64.const 1))");
    write("broken.wat", "(module (func\n  i32.nope))");
    write("component.wat", "(component)");
    // Prints four bytes, which tells that it runs, and then never ends.
    write(
        "spin.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
              (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\04\00\00\00run\n")
            (func $spin (export "_start") (export "spin")
              (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
              (loop br 0)))"#,
    );
    write(
        "limited.wat",
        r#"(module
            (func (export "one") (result i32) i32.const 1)
            (func $spin (export "spin") (loop br 0)))"#,
    );
    // Waits for the monotonic clock, for an hour.
    write(
        "sleep.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "poll_oneoff"
              (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
              (i32.store (i32.const 16) (i32.const 1))
              (i64.store (i32.const 24) (i64.const 3600000000000))
              (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#,
    );
    write(
        "counts.wast",
        r#"(module (func (export "one") (result i32) i32.const 1))
           (assert_return (invoke "one") (i32.const 1))
           (assert_return (invoke "one") (i32.const 2))"#,
    );
    folder
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
    check("-W timeout=soon x.wasm", 2, "expected a time such as 1s, 500ms or 2m, found `soon`");
    check("-W fuel=-1 x.wasm", 2, "expected a number");
    check("-O opt-level=7 x.wasm", 2, "expected 0, 1, 2 or s");
    check("--dir a::b::c x.wasm", 2, "HOST::GUEST::ro");
    check("completion nushell-or-so", 2, "nushell-or-so");
}

#[test]
fn errors_exit_with_1_and_name_the_file() {
    check("inspect no-such-file.wasm", 1, "Error: failed to read `no-such-file.wasm`");
    check(&format!("inspect {}", file!().replace("crates/cli/", "")), 1, "as text format");
    check("no-such-file.wasm", 1, "failed to read `no-such-file.wasm`");
    let folder = modules();
    let check = |line, expected| check_in(folder.path(), line, 1, expected);
    check("invalid.wat", "failed to compile `invalid.wat`");
    check("invalid.wat", "func 0, offset 0x1a: type mismatch: expected i32, found i64");
    for line in ["run broken.wat", "compile broken.wat", "inspect broken.wat"] {
        check(line, "--> broken.wat:2:3");
    }
}

#[test]
fn functions_are_called_and_their_results_printed() {
    let folder = modules();
    let check = |line, code, expected| check_in(folder.path(), line, code, expected);
    check("--invoke add lib.wat 1 -2", 0, "-1\n");
    check("run --invoke two lib.wat", 0, "-7\n1.5\n");
    check("run --preload lib=lib.wat --invoke run user.wat", 0, "42\n");
    check("--invoke add lib.wat 1", 1, "expected 2 arguments, found 1");
    check("--invoke add lib.wat 1 x", 1, "0: argument 2 of `add`\n    1: expected i32, found `x`");
    check("lib.wat", 1, "no function is exported as `_start`; it exports the functions `add`");
    check("--invoke pages lib.wat", 1, "the export `pages` is not a function");
}

#[test]
fn links_that_fail_say_what_was_expected_and_found() {
    let folder = modules();
    let check = |line, code, expected| check_in(folder.path(), line, code, expected);
    check(
        "--preload lib=lib.wat wrong.wat",
        1,
        "`lib::add`: expected (func (param i64) (result i32)), found (func (param i32 i32) (result i32))",
    );
    check("--invoke run user.wat", 1, "`lib::add` has not been defined; expected (func");
    check(
        "-W unknown-imports-trap=y --invoke run user.wat",
        134,
        "`lib::add` has not been defined",
    );
    check("-W unknown-imports-default=y --invoke run user.wat", 0, "0\n");
}

#[test]
fn programs_end_when_their_time_or_fuel_is_over() {
    let folder = modules();
    let check = |line: &str, code, expected: &str| check_in(folder.path(), line, code, expected);
    for strategy in ["auto", "baseline", "optimizing"] {
        check(
            &format!("-C strategy={strategy} -W timeout=50ms --invoke spin limited.wat"),
            134,
            "its time, 50ms, was over (`-W timeout`)",
        );
        check(
            &format!("-C strategy={strategy} -W fuel=1m --invoke spin limited.wat"),
            134,
            "all fuel consumed",
        );
        check(&format!("-C strategy={strategy} -W fuel=1 --invoke one limited.wat"), 0, "1\n");
    }
    check("-W timeout=50ms --invoke spin limited.wat", 134, "!spin");
    check("-W budget=64k --invoke one sleep.wat", 1, "no function is exported as `one`");
    check(
        "-W budget=63k sleep.wat",
        1,
        "65536 bytes of memories and tables exceed the store's budget",
    );
    check("-W fuel=0 --invoke one limited.wat", 134, "all fuel consumed");
    check("-W timeout=1h --invoke one limited.wat", 0, "1\n");
    // Nobody lets the epoch grow.
    check("-W epoch-interruption=y --invoke one limited.wat", 0, "1\n");
    // A program that sleeps for an hour, and one that starts with it.
    check("-W timeout=50ms sleep.wat", 134, "did not come back from a call of the host");
    check("compile -W timeout=1s,fuel=1 limited.wat", 0, "");
    let run = "--allow-precompiled --invoke spin limited.cwasm";
    check(&format!("-W timeout=50ms,fuel=1000g {run}"), 134, "interrupt");
    check(&format!("-W fuel=1k {run}"), 1, "epoch-interruption on, this engine has it off");
}

#[test]
fn traps_exit_with_134_and_explain_themselves() {
    let folder = modules();
    let check = |line, expected| check_in(folder.path(), line, 134, expected);
    check("traps.wat", "access at address 0x186a0 of a memory of 0x10000 bytes");
    check("traps.wat", "!deeper");
    check("--invoke signature traps.wat", "indirect call type mismatch");
    let types = "index 0: expected (func (param i32)), found (func (result i64))";
    check("--invoke signature traps.wat", types);
    check("--invoke hole traps.wat", "uninitialized element");
    check("--invoke hole traps.wat", "index 2 of a table of 3 elements");
    check("--invoke element traps.wat", "index 7 of a table of 1 elements");
    check("--invoke stack traps.wat", "call stack exhausted");
}

#[test]
fn what_this_version_cannot_run_is_named() {
    let folder = modules();
    let check = |line, expected| check_in(folder.path(), line, 1, expected);
    check("component.wat", "this is a component");
    check("inspect component.wat", "this is a component");
    check("continuation.wat", "the stack-switching proposal is not supported by this version");
}

#[test]
fn a_proposal_that_is_off_is_named_with_its_switch() {
    let folder = modules();
    let check = |line: &str, proposal: &str| {
        let output = wardian().args(line.split_whitespace()).current_dir(&folder).output();
        let (code, text) = outcome(output.unwrap());
        assert_eq!(code, Some(1), "{text}");
        let switch = format!("(switch the proposal on with `-W {proposal}=y`)");
        assert!(text.contains(&switch), "no {switch:?} in what `wardian {line}` printed:\n{text}");
        // What the message tells to do helps.
        let mended = line.replace(&format!("{proposal}=n"), &format!("{proposal}=y"));
        let output = wardian().args(mended.split_whitespace()).current_dir(&folder).output();
        let (code, text) = outcome(output.unwrap());
        assert_eq!(code, Some(0), "`wardian {mended}` printed:\n{text}");
    };
    check("-W simd=n,relaxed-simd=n vector.wat", "simd");
    check("-W tail-call=n tail.wat", "tail-call");
    check("-W multi-memory=n memories.wat", "multi-memory");
    check("compile -W multi-memory=n memories.wat -o memories.cwasm", "multi-memory");
}

#[test]
fn limits_are_named() {
    let folder = modules();
    let check = |line, code, expected| check_in(folder.path(), line, code, expected);
    check("-W max-memory-size=128k --invoke grow lib.wat 1", 0, "1\n");
    check("-W max-memory-size=128k --invoke grow lib.wat 2", 0, "-1\n");
    check("-W max-memory-size=1k --invoke grow lib.wat 2", 1, "`max-memory-size`");
    let line = "-W max-memory-size=128k,trap-on-grow-failure=y --invoke grow lib.wat 2";
    check(line, 1, "limit of 131072 bytes (`max-memory-size`)");
}

#[cfg(target_os = "linux")]
#[test]
fn scarce_address_space_is_an_error_that_names_the_setting() {
    let folder = modules();
    let script =
        format!("ulimit -v 3000000; '{}' --invoke add lib.wat 1 2", env!("CARGO_BIN_EXE_wardian"));
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&folder)
        .env("XDG_CACHE_HOME", NO_FOLDER)
        .output()
        .unwrap();
    let (code, text) = outcome(output);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("4294967296 bytes") && text.contains("`memory-reservation`"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_the_program() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Duration;
    const SIGINT: i32 = 2;
    let folder = modules();
    for line in ["spin.wat", "run --invoke spin spin.wat"] {
        // Shells start background jobs with interrupts ignored, and children inherit that.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_wardian")]);
        command.args(line.split_whitespace()).current_dir(&folder).stdout(Stdio::piped());
        command.env("XDG_CACHE_HOME", NO_FOLDER);
        let mut child = command.spawn().unwrap();
        // It runs, and what it printed arrived, before it is interrupted.
        let mut printed = [0; 4];
        child.stdout.take().unwrap().read_exact(&mut printed).unwrap();
        assert_eq!(&printed, b"run\n");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut ended = None;
        for _ in 0..100 {
            ended = child.try_wait().unwrap();
            if ended.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let Some(status) = ended else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("`wardian {line}`, interrupted, still runs after ten seconds");
        };
        // A shell reports a process that a signal ended as 128 and the signal's number: 130.
        assert_eq!(status.signal(), Some(SIGINT), "wardian {line}");
    }
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_an_error_of_the_guest() {
    let mut yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let mut child = wardian()
        .arg(format!("{PROGRAMS}/echo.wasm"))
        .stdin(yes.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "y\n");
    // `echo` ends with a status of its own when it cannot write.
    assert_eq!(child.wait().unwrap().code(), Some(2));
    yes.wait().unwrap();
}

#[test]
fn scripts_are_counted() {
    let folder = modules();
    let check = |line, code, expected| check_in(folder.path(), line, code, expected);
    check("wast counts.wast", 1, "counts.wast:3: assert_return: ");
    check("wast counts.wast", 1, "\n2 passed, 1 failed\n");
    check("wast no-such.wast", 1, "0 passed, 1 failed\n");
}

#[test]
fn modules_are_inspected() {
    let words = format!("{PROGRAMS}/words.wasm");
    let output = wardian().args(["inspect", "--json", &words]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let exports = value["exports"].as_array().unwrap();
    assert!(exports.iter().any(|export| export["name"] == "_start"));
    check(&format!("inspect {words}"), 0, "\"wasi_snapshot_preview1\" \"fd_write\"");
}

/// What a program is given and must do, from its JSON (see `tests/programs/README.md`).
struct Case {
    wasm: PathBuf,
    value: serde_json::Value,
}

impl Case {
    /// Every program of the folder.
    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for entry in std::fs::read_dir(PROGRAMS).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(&path).unwrap();
                let value = serde_json::from_str(&text).unwrap();
                cases.push(Case { wasm: path.with_extension("wasm"), value });
            }
        }
        assert!(cases.len() >= 12, "found {} programs", cases.len());
        cases
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &serde_json::Value> {
        self.value[key].as_array().into_iter().flatten()
    }

    /// Runs `file`, which is the program or made from it, and compares.
    fn check(&self, file: &Path, options: &[&str], home: &Path) {
        let temp = tempfile::tempdir().unwrap();
        let mut command = wardian();
        command.arg("run").args(options).env("HOME", home).env("XDG_DATA_HOME", home);
        for (position, pair) in self.list("dirs").enumerate() {
            let host = temp.path().join(position.to_string());
            match pair[0].as_str().unwrap() {
                "@temp" => std::fs::create_dir(&host).unwrap(),
                name => copy(&Path::new(PROGRAMS).join(name), &host),
            }
            let guest = pair[1].as_str().unwrap();
            command.arg("--dir").arg(format!("{}::{guest}", host.display()));
        }
        for (name, value) in self.value["env"].as_object().into_iter().flatten() {
            command.arg("--env").arg(format!("{name}={}", value.as_str().unwrap()));
        }
        command.arg(file).args(self.list("args").map(|arg| arg.as_str().unwrap()));

        let input = temp.path().join("stdin");
        std::fs::write(&input, self.value["stdin"].as_str().unwrap_or("")).unwrap();
        let output = command.stdin(std::fs::File::open(input).unwrap()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let name = file.display();
        for (key, found) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if let Some(expected) = self.value[key].as_str() {
                assert_eq!(String::from_utf8_lossy(found), expected, "{key} of {name}: {error}");
            }
        }
        let expected = self.value["exit_code"].as_i64().unwrap_or(0);
        assert_eq!(output.status.code().map(i64::from), Some(expected), "{name}: {error}");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn programs_do_what_their_descriptions_say() {
    let home = tempfile::tempdir().unwrap();
    for case in Case::all() {
        case.check(&case.wasm, &[], home.path());
    }
}

#[test]
fn programs_without_signals() {
    let home = tempfile::tempdir().unwrap();
    for case in Case::all() {
        case.check(&case.wasm, &["-O", "signals-based-traps=n"], home.path());
    }
}

#[test]
fn programs_compiled_ahead_of_time() {
    let home = tempfile::tempdir().unwrap();
    for case in Case::all() {
        let artifact = home.path().join(case.wasm.with_extension("cwasm").file_name().unwrap());
        let mut compile = wardian();
        compile.env("HOME", home.path()).env("XDG_DATA_HOME", home.path());
        let output = compile.arg("compile").arg(&case.wasm).arg("-o").arg(&artifact).output();
        let (code, text) = outcome(output.unwrap());
        assert_eq!(code, Some(0), "{text}");
        case.check(&artifact, &["--allow-precompiled"], home.path());
    }
}

#[test]
fn artifacts_need_permission_and_the_same_key() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let artifact = home.path().join("exit.cwasm");
    let run = |home: &Path, options: &[&str]| {
        let mut command = wardian();
        command.args(options).env("HOME", home).env("XDG_DATA_HOME", home);
        outcome(command.output().unwrap())
    };
    let file = artifact.to_str().unwrap();
    let wasm = format!("{PROGRAMS}/exit.wasm");
    assert_eq!(run(home.path(), &["compile", &wasm, "-o", file]).0, Some(0));
    assert_eq!(run(home.path(), &["--allow-precompiled", file, "33"]).0, Some(33));
    let check = |home, options: &[&str], expected: &str| {
        let (code, text) = run(home, options);
        assert!(code == Some(1) && text.contains(expected), "{code:?}: {text}");
    };
    check(home.path(), &[file], "run it with `--allow-precompiled`");
    check(other.path(), &["--allow-precompiled", file], "is not authentic");
    let line = ["--allow-precompiled", "-O", "signals-based-traps=n", file];
    check(home.path(), &line, "does not fit this engine");

    let mut bytes = Vec::new();
    std::fs::File::open(&artifact).unwrap().read_to_end(&mut bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&artifact, bytes).unwrap();
    check(home.path(), &["--allow-precompiled", file], "is not authentic");
}

#[test]
fn every_strategy_runs_and_tells_what_was_compiled() {
    let folder = modules();
    let check = |options: &str, expected: &[&str]| {
        let line = format!("run --stats {options} --invoke add lib.wat 40 2");
        for expected in expected {
            check_in(folder.path(), &line, 0, expected);
        }
    };
    check("-C strategy=optimizing", &["42\n", "baseline: 0 functions", "optimized: 3 functions"]);
    check("-C strategy=baseline", &["42\n", "baseline: 1 functions", "optimized: 0 functions"]);
    check("-C strategy=tiered", &["42\n", "baseline: 1 functions", "tier-ups: 0 functions"]);
    check(
        "-C strategy=tiered,tier-up=1",
        &["42\n", "optimized: 1 functions", "tier-ups: 1 functions"],
    );
    check("-C strategy=tiered,tier-up=never,lazy-validation", &["42\n", "validated: 0 bytes"]);
    let refused = "expected auto, tiered, optimizing or baseline";
    check_in(folder.path(), "run -C strategy=fast lib.wat", 2, refused);
    check_in(folder.path(), "run -C tier-up=0 lib.wat", 2, "a count of 1 or more");
    let needs = "`lazy_validation` needs `Strategy::Tiered`";
    check_in(folder.path(), "run -C strategy=optimizing,lazy-validation lib.wat", 1, needs);
}

/// A home for key and cache, and a folder with modules.
struct Cached {
    home: tempfile::TempDir,
    modules: tempfile::TempDir,
}

impl Cached {
    fn new() -> Cached {
        Cached { home: tempfile::tempdir().unwrap(), modules: modules() }
    }

    fn command(&self) -> Command {
        let mut command = wardian();
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(&self.modules).env("HOME", self.home.path());
        command.env_remove("XDG_CACHE_HOME").env_remove("XDG_DATA_HOME");
    }

    fn check(&self, line: &str, code: i32, expected: &str) {
        let output = self.command().args(line.split_whitespace()).output().unwrap();
        let (found, text) = outcome(output);
        assert_eq!(found, Some(code), "`wardian {line}` printed:\n{text}");
        assert!(
            text.contains(expected),
            "no {expected:?} in what `wardian {line}` printed:\n{text}"
        );
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join(".cache/wardian")
    }

    fn count(&self) -> usize {
        std::fs::read_dir(self.folder()).map_or(0, Iterator::count)
    }
}

const HIT: &str = "cache: 1 hits, 0 misses";
const MISS: &str = "cache: 0 hits, 1 misses";

#[cfg(unix)]
#[test]
fn the_second_run_finds_the_code_of_the_first() {
    let cached = Cached::new();
    let run = "run --stats -C strategy=optimizing --invoke add lib.wat 40 2";
    cached.check(run, 0, MISS);
    cached.check(run, 0, HIT);
    cached.check(run, 0, "42\n");
    cached.check(run, 0, "optimized: 0 functions");
    cached.check(run, 0, "3 functions in ");
    cached.check(&run.replace("-C ", "-C cache=n,"), 0, "cache: 0 hits, 0 misses");
    cached.check(&run.replace("-C ", "-O opt-level=0 -C "), 0, MISS);
    let tiered = "run --stats -C strategy=tiered,tier-up=1 --invoke add lib.wat 40 2";
    cached.check(tiered, 0, MISS);
    cached.check(tiered, 0, "baseline: 0 functions");
    assert_eq!(cached.count(), 3);
    let elsewhere = run.replace("-C ", "-C cache-dir=here,");
    cached.check(&elsewhere, 0, MISS);
    cached.check(&elsewhere, 0, HIT);
    assert_eq!(std::fs::read_dir(cached.modules.path().join("here")).unwrap().count(), 1);
    cached.check(&run.replace("-C ", "-C cache-dir=lib.wat,"), 0, MISS);
}

#[cfg(unix)]
#[test]
fn code_is_kept_after_a_trap_and_an_exit_too() {
    let cached = Cached::new();
    let options = "run --stats -C strategy=tiered,tier-up=1";
    for expected in [MISS, HIT] {
        cached.check(&format!("{options} traps.wat"), 134, expected);
    }
    cached.check(&format!("{options} traps.wat"), 134, "out of bounds memory access");
    assert_eq!(cached.count(), 1);
    for expected in [MISS, HIT] {
        cached.check(&format!("{options} {PROGRAMS}/exit.wasm 33"), 33, expected);
    }
    assert_eq!(cached.count(), 2);
}

#[cfg(unix)]
#[test]
fn the_cache_is_shown_and_cleared() {
    let cached = Cached::new();
    cached.check("cache", 0, "entries  0\nbytes    0\nlimit    1073741824\n");
    assert!(!cached.folder().exists(), "showing makes nothing");
    let run = "run -C strategy=optimizing --invoke add lib.wat 40 2";
    cached.check(run, 0, "42\n");
    cached.check("cache", 0, &format!("folder   {}\nentries  1\n", cached.folder().display()));
    cached.check("cache clear", 0, "removed 1 entries, ");
    cached.check("cache", 0, "entries  0\n");
    cached.check(run, 0, "42\n");
    cached.check("cache --clear", 0, "removed 1 entries, ");
    assert_eq!(cached.count(), 0);
    cached.check(
        "cache -C cache-dir=/nowhere,cache-size=1m",
        0,
        "/nowhere\nentries  0\nbytes    0\nlimit    1048576",
    );
    cached.check("cache -C cache-dir=lib.wat", 1, "expected a folder, found something else");
    cached.check("cache burn", 2, "[possible values: clear]");
    cached.check("cache --help", 0, "wardian cache clear");
    let mut homeless = wardian();
    homeless.arg("cache").env_remove("HOME").env_remove("XDG_CACHE_HOME");
    let (code, text) = outcome(homeless.output().unwrap());
    assert!(code == Some(1) && text.contains("XDG_CACHE_HOME"), "{code:?}: {text}");
}

#[cfg(unix)]
#[test]
fn without_a_place_for_a_cache_programs_run() {
    let folder = modules();
    let run = |options: &[&str]| {
        let mut command = wardian();
        command
            .args(["run", "--stats"])
            .args(options)
            .args(["--invoke", "add", "lib.wat", "40", "2"]);
        command.env_remove("HOME").env_remove("XDG_CACHE_HOME").current_dir(&folder);
        outcome(command.output().unwrap())
    };
    let (code, text) = run(&[]);
    assert!(code == Some(0) && text.contains("cache: 0 hits, 0 misses"), "{code:?}: {text}");
    let (code, text) = run(&["-C", "cache=y"]);
    assert!(code == Some(1) && text.contains("no folder for a cache"), "{code:?}: {text}");
}

/// A limit on the size of files takes the place of a full disk: a write fails in its middle.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_entry() {
    let cached = Cached::new();
    // The key is made while there is room.
    let line = format!("run --stats -C strategy=optimizing {PROGRAMS}/words.wasm -n 1 /dev/null");
    cached.check("run -C strategy=optimizing --invoke add lib.wat 40 2", 0, "42\n");
    assert_eq!(cached.count(), 1);
    let full =
        format!("trap '' XFSZ; ulimit -f 8; exec '{}' {line}", env!("CARGO_BIN_EXE_wardian"));
    for _ in 0..2 {
        let mut command = Command::new("sh");
        cached.prepare(&mut command);
        command.args(["-c", &full]).env("WARDIAN_LOG", "warn").stdin(Stdio::null());
        let (_, text) = outcome(command.output().unwrap());
        assert!(text.contains(MISS) && text.contains("code is not kept"), "{text}");
        assert_eq!(cached.count(), 1, "neither an entry nor a part of one");
    }
    let unlimited = |expected: &str| {
        let (_, text) = outcome(cached.command().args(line.split_whitespace()).output().unwrap());
        assert!(text.contains(expected), "{text}");
    };
    unlimited(MISS);
    unlimited(HIT);
}

#[cfg(unix)]
#[test]
fn hammer_processes_write_the_same_entry_at_once() {
    for strategy in ["optimizing", "tiered,tier-up=1"] {
        let cached = Cached::new();
        let start = || {
            let mut command = cached.command();
            command.args(["run", "--stats", "-C", &format!("strategy={strategy}")]);
            command.args(["--invoke", "add", "lib.wat", "40", "2"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for _ in 0..3 {
            let children: Vec<_> = (0..8).map(|_| start()).collect();
            for child in children {
                let (code, text) = outcome(child.wait_with_output().unwrap());
                assert!(code == Some(0) && text.contains("42\n"), "{code:?}: {text}");
            }
        }
        let (_, text) = outcome(start().wait_with_output().unwrap());
        assert!(text.contains(HIT), "{text}");
        assert_eq!(cached.count(), 1, "one entry, and nothing unfinished");
    }
}

#[cfg(feature = "explore")]
#[test]
fn a_page_about_functions_is_written() {
    let folder = modules();
    let check = |line, code, expected| check_in(folder.path(), line, code, expected);
    check("explore lib.wat", 0, "");
    let page = std::fs::read_to_string(folder.path().join("lib.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("i32.add"));
    check("explore lib.wat --function two -o -", 0, "\"note\":\"1 of 3 functions\"");
    check("explore lib.wat -C strategy=optimizing --function 0 -o -", 0, "\"name\":\"add\"");
    check(
        "explore lib.wat --function tow -o -",
        1,
        "no function `tow`; its functions are 0 to 2, with names such as `grow`, `two`",
    );
    check("explore invalid.wat", 1, "expected i32, found i64");
    check("explore no-such-file.wat", 1, "failed to read `no-such-file.wat`");
    check("explore lib.wat -o no/such/folder.html", 1, "failed to write `no/such/folder.html`");
    assert_eq!(std::fs::read_to_string(folder.path().join("lib.html")).unwrap(), page);
}

/// A module that takes a moment to compile.
fn large(folder: &Path) -> PathBuf {
    let file = folder.join("large.wat");
    let body = "i32.const 1 drop ".repeat(2_500);
    let text = format!("(module {})", format!("(func {body})").repeat(80));
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn no_bar_is_drawn_where_nobody_watches() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = wardian();
    command.env("TERM", "xterm").arg("compile").arg(large(folder.path()));
    let (code, text) = outcome(command.env("HOME", folder.path()).output().unwrap());
    assert_eq!((code, text.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_bar_is_drawn_on_a_terminal() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let folder = tempfile::tempdir().unwrap();
    let file = large(folder.path());
    let watch = |term: &str| -> String {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).and_then(|()| unlockpt(&ours)).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = std::fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mut command = wardian();
        command.env("TERM", term).env("HOME", folder.path()).arg("compile").arg(&file);
        let mut child = command.stderr(theirs).spawn().unwrap();
        // Nobody else holds the other end: reading ends with the child.
        drop(command);
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        let mut ours = std::fs::File::from(ours);
        while let Ok(count @ 1..) = ours.read(&mut bytes) {
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        assert!(child.wait().unwrap().success(), "{text:?}");
        text
    };
    let text = watch("xterm");
    assert!(text.starts_with("\rcompiling [") && text.ends_with("\r\x1b[K"), "{text:?}");
    assert!(text.contains(" of 80 functions"), "{text:?}");
    assert_eq!(watch("dumb"), "");
}

#[test]
fn events_are_logged_if_they_are_asked_for() {
    let folder = modules();
    let run = |filter: &str| {
        let mut command = wardian();
        command.args(["run", "--invoke", "add", "lib.wat", "1", "2"]).current_dir(folder.path());
        let output = command.env("WARDIAN_LOG", filter).output().unwrap();
        assert_eq!(output.stdout, b"3\n");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = run("wardian=debug");
    for expected in ["wardian::module: loaded", "wardian::instance: instantiated", "compiled tier="]
    {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
    assert!(!run("wardian::instance=debug").contains("wardian::compile"));
    assert_eq!(run(""), "");
}

#[test]
fn a_trap_leaves_a_core_dump_on_request() {
    let folder = modules();
    let core = folder.path().join("core");
    check_in(folder.path(), "run -D coredump=core traps.wat", 134, "core dumped to `core`");
    let dump = std::fs::read(&core).unwrap();
    let mut frames = 0;
    for payload in wasmparser::Parser::new(0).parse_all(&dump) {
        if let wasmparser::Payload::CustomSection(section) = payload.unwrap() {
            match section.as_known() {
                wasmparser::KnownCustom::CoreDump(core) => assert_eq!(core.name, "traps.wat"),
                wasmparser::KnownCustom::CoreDumpStack(stack) => frames = stack.frames.len(),
                _ => {}
            }
        }
    }
    assert_eq!(frames, 2);
    std::fs::remove_file(&core).unwrap();
    check_in(folder.path(), "run -D coredump=core --invoke add lib.wat 1 2", 0, "3");
    check_in(folder.path(), "run -D coredump=core wrong.wat", 1, "unknown import");
    assert!(!core.exists(), "nothing trapped");
    check_in(
        folder.path(),
        "run -D coredump=no/core traps.wat",
        134,
        "failed to dump core to `no/core`",
    );
    check("-D help", 0, "coredump=FILE");
    check("run -D coredump=core.%p traps.wat", 2, "patterns such as %p");
}

#[cfg(feature = "explore")]
#[test]
fn machine_code_is_shown_if_it_is_authentic() {
    let folder = modules();
    let check = |line, code, expected| check_in(folder.path(), line, code, expected);
    check("objdump lib.wat --filter two", 0, "wasm[0]::function[1]::two:\n");
    check("objdump lib.wat --addresses", 0, "00000000 wasm[0]::function[0]::add:\n         0: ");
    check("objdump lib.wat --funcs exported --bytes --addrmap", 0, "╰─╼ addrmap: 0x");
    check("objdump traps.wat", 0, "╰─╼ trap: out of bounds memory access");
    check("objdump lib.wat --filter nobody", 1, "no function has `nobody` in its title");
    check("objdump invalid.wat", 1, "expected i32, found i64");
    check("objdump no-such-file.wat", 1, "failed to read `no-such-file.wat`");
    check("objdump lib.wat --traps=maybe", 2, "maybe");

    let run = |user: &str, line: &str| {
        let home = folder.path().join(user);
        std::fs::create_dir_all(&home).unwrap();
        let mut command = wardian();
        command.current_dir(folder.path()).args(line.split(' '));
        command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).env("XDG_DATA_HOME", &home);
        outcome(command.env("XDG_STATE_HOME", &home).output().unwrap())
    };
    assert_eq!(run("me", "compile traps.wat -o traps.cwasm").0, Some(0));
    let (code, text) = run("me", "objdump traps.cwasm");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(run("me", "objdump traps.wat").1, text, "the artifact holds what is compiled");
    assert!(!run("me", "objdump --traps=false traps.cwasm").1.contains("trap:"));
    let (code, refused) = run("other", "objdump traps.cwasm");
    assert!(code == Some(1) && refused.contains("not authentic"), "{refused}");
    assert!(refused.contains("--vouched"), "{refused}");
    assert_eq!(run("other", "objdump --vouched traps.cwasm"), (Some(0), text));
}

/// Programs with threads, each a store and a stack of its own, on one memory.
#[test]
fn threads_of_programs() {
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, start: &str, thread: &str| {
        let text = format!(
            r#"(module
                (import "env" "memory" (memory 1 2 shared))
                (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
                (import "wasi_snapshot_preview1" "fd_write"
                    (func $write (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "poll_oneoff"
                    (func $poll (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (export "memory" (memory 0))
                (data (i32.const 128) "\88\00\00\00\05\00\00\00" "done\n")
                (func $sleep
                    (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1))))
                (func $deep (param i32) (result i32)
                    (if (result i32) (local.get 0)
                        (then (i32.add (i32.const 1)
                            (call $deep (i32.sub (local.get 0) (i32.const 1)))))
                        (else (i32.const 0))))
                (func $overflow (result i32) (i32.add (call $overflow) (i32.const 1)))
                (func (export "_start") (local $n i32) {start})
                (func (export "wasi_thread_start") (param $id i32) (param $arg i32) {thread}))"#
        );
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    program(
        "sums.wat",
        r#"(if (i32.lt_s (call $spawn (i32.const 10)) (i32.const 1)) (then unreachable))
        (drop (call $spawn (i32.const 20)))
        (drop (call $spawn (i32.const 12)))
        (block $all (loop $wait
            (br_if $all (i32.eq (local.tee $n (i32.atomic.load (i32.const 4))) (i32.const 3)))
            (drop (memory.atomic.wait32 (i32.const 4) (local.get $n) (i64.const -1)))
            (br $wait)))
        (if (i32.ne (i32.load (i32.const 0)) (i32.const 42)) (then unreachable))
        (drop (call $write (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 96)))"#,
        r#"(drop (call $deep (i32.const 1000)))
        (drop (i32.atomic.rmw.add (i32.const 0) (local.get $arg)))
        (drop (i32.atomic.rmw.add (i32.const 4) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 4) (i32.const -1)))"#,
    );
    program(
        "exits.wat",
        "(drop (call $spawn (i32.const 7))) (call $sleep)",
        "(call $exit (local.get $arg))",
    );
    program("traps.wat", "(drop (call $spawn (i32.const 7))) (call $sleep)", "unreachable");
    program(
        "deep.wat",
        "(drop (call $spawn (i32.const 7))) (call $sleep)",
        "(drop (call $overflow))",
    );
    program("returns.wat", "(drop (call $spawn (i32.const 7)))", "(call $sleep)");
    program(
        "many.wat",
        r#"(loop $more
            (if (i32.gt_s (call $spawn (i32.const 0)) (i32.const 0)) (then
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br $more))))
        (call $exit (local.get $n))"#,
        "(call $sleep)",
    );
    program("sleeps.wat", "(call $sleep)", "");
    // A thread that waits for the clock holds up nobody.
    program(
        "naps.wat",
        r#"(drop (call $spawn (i32.const 0)))
        (drop (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1)))
        (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const 50_000_000)))
        (drop (call $write (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 96)))"#,
        r#"(i32.store (i32.const 272) (i32.const 1)) (; the monotonic clock ;)
        (i64.store (i32.const 280) (i64.const 600_000_000_000))
        (i32.atomic.store (i32.const 4) (i32.const 1))
        (drop (memory.atomic.notify (i32.const 4) (i32.const -1)))
        (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 544)))"#,
    );
    for way in ["", "-C compiler=baseline", "-C strategy=optimizing", "-O signals-based-traps=n"] {
        let check = |line: &str, code, expected: &str| {
            check_in(folder.path(), &format!("run -S threads {way} {line}"), code, expected);
        };
        check("sums.wat", 0, "done");
        check("exits.wat", 7, "");
        check("traps.wat", 134, "unreachable");
        check("deep.wat", 134, "call stack exhausted");
        check("returns.wat", 0, "");
        check("naps.wat", 0, "done");
        check("-S max-threads=3 many.wat", 3, "");
        check("-S max-threads=0 many.wat", 0, "");
        check("-W timeout=50ms sleeps.wat", 134, "interrupt");
        check("-W max-memory-size=65535 sleeps.wat", 1, "over the limit");
    }
    check_in(folder.path(), "run sums.wat", 1, "unknown import");
    check_in(folder.path(), "run -S threads --preload a=sums.wat sums.wat", 1, "exclude");
    check("run -S help", 0, "max-threads=COUNT");
    check("run -S nothing=y x.wat", 2, "unknown option");
}

/// The same for what commands write: an error that names the file, and no part of it.
#[cfg(all(unix, feature = "explore", feature = "wat"))]
#[test]
fn a_full_disk_leaves_no_part_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let functions: String = (0..100)
        .map(|n| format!("(func (export \"f{n}\") (result i32) (i32.const {n}))"))
        .collect();
    let text = format!(
        r#"(module (memory 1) {functions}
            (func (export "trap") (memory.fill (i32.const 0) (i32.const 7) (i32.const 60000))
              unreachable))"#
    );
    std::fs::write(folder.path().join("app.wat"), text).unwrap();
    let run = |limited: bool, line: &str| {
        let limit = if limited { "trap '' XFSZ; ulimit -f 1;" } else { "" };
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limit} exec \"$0\" {line}"));
        command.arg(env!("CARGO_BIN_EXE_wardian")).current_dir(folder.path());
        command.env_remove("WARDIAN_LOG").env("HOME", folder.path());
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            command.env(name, folder.path().join("user"));
        }
        outcome(command.output().unwrap())
    };
    // The key is made while there is room.
    assert_eq!(run(false, "compile app.wat -o app.cwasm").0, Some(0));
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = files();
    let artifact = std::fs::read(folder.path().join("app.cwasm")).unwrap();
    for (line, name) in [
        ("compile app.wat -o app.cwasm", "app.cwasm"),
        ("compile app.wat -o new.cwasm", "new.cwasm"),
        ("explore app.wat -o app.html", "app.html"),
    ] {
        let (code, text) = run(true, line);
        assert!(code == Some(1) && text.contains(name), "{line}: {text}");
        assert_eq!(files(), before, "{line}");
    }
    let kept = std::fs::read(folder.path().join("app.cwasm")).unwrap();
    assert!(kept == artifact, "the artifact of before is whole");
    let (code, text) = run(true, "run -C cache=n -D coredump=core --invoke trap app.wat");
    assert!(code == Some(134) && text.contains("failed to dump core to `core`"), "{text}");
    let (code, text) = run(true, "run --allow-precompiled --invoke f42 app.cwasm");
    assert!(code == Some(0) && text.contains("42\n"), "{text}");
}

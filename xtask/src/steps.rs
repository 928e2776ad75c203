//! Commands that run other programs: CI, Miri, golden files, packages, other platforms.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::repo::Repo;
use crate::{Outcome, licenses, tidy, unsafe_audit};

/// The command that passes all tests; the README gives it to its readers, and CI runs it as given.
const TEST_COMMAND: &str = "cargo test --workspace";

/// Platforms that must compile, next to the one that we run on.
const PLATFORMS: &[&str] =
    &["aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"];

/// The packages whose tests Miri can run, apart from those that execute machine code.
const MIRI_PACKAGES: &[&str] = &["wardian-vm", "wardian-runtime"];

type Step = (&'static str, fn(&Repo) -> Outcome);

const CI: &[Step] = &[
    ("format", |repo| cargo(repo, &["fmt", "--all", "--check"])),
    ("clippy", |repo| {
        cargo(repo, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    }),
    ("documentation", |repo| {
        let mut command = repo.cargo();
        command.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]);
        run(command)
    }),
    ("unsafe-audit", |repo| unsafe_audit::run(repo, &[])),
    ("tidy", |repo| tidy::run(repo, &[])),
    ("licenses", |repo| licenses::run(repo, &[])),
    ("tests", tests),
    ("features", |repo| features(repo, &[])),
];

/// Runs the steps in order; prints what each took.
pub fn ci(repo: &Repo, _: &[String]) -> Outcome {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for (i, (name, step)) in CI.iter().enumerate() {
        println!("\n==> {name} ({} of {})", i + 1, CI.len());
        let start = Instant::now();
        let outcome = step(repo);
        times.push((name, start.elapsed()));
        if let Err(message) = outcome {
            print_times(&times);
            let rest: Vec<&str> = CI[i + 1..].iter().map(|(name, _)| *name).collect();
            let rest = if rest.is_empty() { "nothing".to_owned() } else { rest.join(", ") };
            return Err(format!("step `{name}` failed: {message}; not run: {rest}"));
        }
    }
    print_times(&times);
    println!("ci: all {} steps passed", CI.len());
    Ok(())
}

fn print_times(times: &[(&str, Duration)]) {
    println!();
    for (name, time) in times {
        println!("{:8.1} s  {name}", time.as_secs_f64());
    }
}

/// Runs the test command, after making sure that it is the one the README gives.
fn tests(repo: &Repo) -> Outcome {
    let readme = std::fs::read_to_string(repo.root.join("README.md"))
        .map_err(|error| format!("cannot read README.md: {error}"))?;
    if !readme.lines().any(|line| line.trim() == TEST_COMMAND) {
        return Err(format!(
            "README.md has no line `{TEST_COMMAND}`, the test command that CI runs"
        ));
    }
    let arguments = TEST_COMMAND.split(' ').skip(1).collect::<Vec<_>>();
    cargo(repo, &arguments)
}

/// Tests that execute machine code carry `#[cfg_attr(miri, ignore = "executes machine code")]`, so
/// that a plain run under Miri leaves them out.
pub fn miri(repo: &Repo, arguments: &[String]) -> Outcome {
    let mut probe = nightly(repo);
    let probe = probe.args(["miri", "--version"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return Err(
            "Miri is not installed; `rustup toolchain install nightly --component miri,rust-src` \
             brings it"
                .to_owned(),
        );
    }
    let start = Instant::now();
    let packages = MIRI_PACKAGES.iter().flat_map(|package| ["--package", package]);
    let arguments = arguments.iter().map(String::as_str);
    let main: Vec<&str> = packages.chain(["--"]).chain(arguments).collect();
    let (mut passed, left_out) = run_miri(repo, "-Zmiri-strict-provenance", &main)?;
    if passed == 0 {
        return Err("no test ran".to_owned());
    }
    // Frames are found by addresses that code has left in frames: no provenance leads there.
    let walks = ["--package", MIRI_PACKAGES[0], "--lib", "--", "--ignored", "walks_"];
    passed += run_miri(repo, "-Zmiri-permissive-provenance", &walks)?.0;
    println!(
        "miri: {passed} tests of {} passed, {left_out} were left out at first (above, with the reason), \
         in {:.0} s",
        MIRI_PACKAGES.join(" and "),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Tests under Miri: how many passed and how many were left out.
fn run_miri(repo: &Repo, flags: &str, arguments: &[&str]) -> Result<(usize, usize), String> {
    let more = std::env::var("MIRIFLAGS").unwrap_or_default();
    let mut command = nightly(repo);
    command.env("MIRIFLAGS", format!("{flags} {more}")).args(["miri", "test"]).args(arguments);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start Miri: {error}"))?;
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let (mut passed, mut left_out) = (0, 0);
    for line in output.lines() {
        let line = line.map_err(|error| format!("cannot read what Miri says: {error}"))?;
        println!("{line}");
        passed += count_before(&line, "passed");
        left_out += count_before(&line, "ignored");
    }
    let status = child.wait().map_err(|error| format!("cannot wait for Miri: {error}"))?;
    match status.success() {
        true => Ok((passed, left_out)),
        false => Err(format!("a test failed, or did what Miri does not allow ({status})")),
    }
}

/// The number that a summary of tests gives before `word`; 0 if the line is none.
fn count_before(line: &str, word: &str) -> usize {
    let Some(summary) = line.strip_prefix("test result: ") else { return 0 };
    let words: Vec<&str> = summary.split([' ', ';', '.']).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| *w == word).filter(|at| *at > 0);
    at.and_then(|at| words[at - 1].parse().ok()).unwrap_or(0)
}

/// Cargo of the nightly toolchain, without what the cargo that runs us put into the environment.
fn nightly(repo: &Repo) -> Command {
    let mut command = Command::new("rustup");
    command
        .current_dir(&repo.root)
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(["run", "nightly", "cargo"]);
    command
}

/// Golden tests are the test targets whose name starts with `golden`.
pub fn bless(repo: &Repo, arguments: &[String]) -> Outcome {
    let mut command = repo.cargo();
    command.env("WARDIAN_BLESS", "1").arg("test");
    let targets = repo.targets()?;
    let is_golden = |kind: &str, name: &str| kind == "test" && name.starts_with("golden");
    let mut found = false;
    for target in &targets {
        if is_golden(&target.kind, &target.name) {
            command.args(["--package", &target.package, "--test", &target.name]);
            found = true;
        }
    }
    if !found {
        return Err("no test target has a name that starts with `golden`".to_owned());
    }
    command.arg("--").args(arguments);
    run(command)
}

/// Its arguments are those of `wardian-differ`. Our own crates are optimized, and keep their assertions.
pub fn differ(repo: &Repo, arguments: &[String]) -> Outcome {
    let mut command = repo.cargo();
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "2");
    command.args(["run", "--quiet", "--package", "wardian-differ", "--"]).args(arguments);
    run(command)
}

pub fn package(repo: &Repo, arguments: &[String]) -> Outcome {
    let mut command = repo.cargo();
    command.args(["package", "--workspace", "--allow-dirty"]);
    for package in repo.unpublished()? {
        command.arg("--exclude").arg(package);
    }
    match arguments {
        [] => {
            command.arg("--no-verify");
        }
        [argument] if argument == "--verify" => {}
        _ => return Err("the only argument is `--verify`".to_owned()),
    }
    run(command)
}

/// Choices of features of `wardian` beside the default, which everything else builds.
const FEATURES: &[&str] =
    &["", "cranelift", "parallel", "profiling", "wat", "cranelift,wat", "parallel,wat"];

/// Builds with fewer features. What a command with a compiler wrote, one without has to run.
pub fn features(repo: &Repo, _: &[String]) -> Outcome {
    let lint = |package: &str, features: &str| {
        let features = ["--no-default-features", "--features", features];
        let arguments = [&["clippy", "--package", package], &features[..]].concat();
        cargo(repo, &[&arguments[..], &["--", "-D", "warnings"]].concat())
    };
    FEATURES.iter().try_for_each(|features| lint("wardian", features))?;
    ["", "cranelift", "cranelift,wat"].iter().try_for_each(|f| lint("wardian-cli", f))?;
    let tests = ["--package", "wardian-runtime", "--no-default-features", "--lib", "compilers::"];
    cargo(repo, &[&["test", "--quiet"], &tests[..]].concat())?;

    let folder = repo.root.join("target/features");
    std::fs::create_dir_all(&folder).map_err(|error| format!("target/features: {error}"))?;
    let text = r#"(module (func (export "seven") (result i32) i32.const 7))"#;
    std::fs::write(folder.join("seven.wat"), text).map_err(|error| error.to_string())?;
    let wardian = |arguments: &[&str]| -> Result<(bool, String), String> {
        let mut command = Command::new(repo.root.join("target/debug/wardian"));
        // A key of its own.
        command.current_dir(&folder).env("HOME", &folder).env("XDG_CONFIG_HOME", &folder);
        command.env("XDG_DATA_HOME", &folder).env("XDG_CACHE_HOME", &folder).args(arguments);
        let output = command.output().map_err(|error| format!("cannot start wardian: {error}"))?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    };
    cargo(repo, &["build", "--quiet", "--package", "wardian-cli"])?;
    expect(&wardian(&["compile", "seven.wat", "-o", "seven.cwasm"])?, true, "")?;
    cargo(repo, &["build", "--quiet", "--package", "wardian-cli", "--no-default-features"])?;
    let run = ["run", "--allow-precompiled", "--invoke", "seven", "seven.cwasm"];
    expect(&wardian(&run)?, true, "7\n")?;
    expect(&wardian(&["run", "seven.wat"])?, false, "cargo feature `wat`")?;
    std::fs::write(folder.join("empty.wasm"), b"\0asm\x01\0\0\0").map_err(|e| e.to_string())?;
    expect(&wardian(&["run", "empty.wasm"])?, false, "cargo feature `cranelift`")?;
    // The next test of the command needs no surprise.
    cargo(repo, &["build", "--quiet", "--package", "wardian-cli"])
}

/// An error unless a program ended like this and printed this.
fn expect((success, text): &(bool, String), expected: bool, part: &str) -> Outcome {
    if *success == expected && text.contains(part) {
        return Ok(());
    }
    let end = if *success { "succeeded" } else { "failed" };
    Err(format!("expected `{part}`, but wardian {end} and printed:\n{text}"))
}

/// A platform whose target is not installed is said to be not checked, and is not counted as
/// passed.
pub fn cross_check(repo: &Repo, _: &[String]) -> Outcome {
    let installed = installed_targets(repo)?;
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    let mut passed = 0;
    for platform in PLATFORMS {
        if !installed.iter().any(|target| target == platform) {
            lines.push(format!("not run  {platform} (`rustup target add {platform}` installs it)"));
            continue;
        }
        // The pure form of blake3 stands in for the one in C and assembly, so that checking needs
        // no compiler of that platform.
        let mut command = repo.cargo();
        command.args(["check", "--workspace", "--exclude", "xtask", "--lib", "--bins"]).args([
            "--features",
            "blake3/pure",
            "--target",
            platform,
        ]);
        let outcome = run(command);
        match outcome {
            Ok(()) => {
                passed += 1;
                lines.push(format!("passed   {platform}"));
            }
            Err(_) => {
                failed.push(*platform);
                lines.push(format!("failed   {platform}"));
            }
        }
    }
    for line in &lines {
        println!("{line}");
    }
    let not_run = PLATFORMS.len() - passed - failed.len();
    println!("cross-check: {passed} passed, {} failed, {not_run} not run", failed.len());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("does not compile for {}", failed.join(", ")))
    }
}

/// The targets whose standard library lies in the sysroot of the compiler in use.
fn installed_targets(repo: &Repo) -> Result<Vec<String>, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .current_dir(&repo.root)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("cannot start rustc: {error}"))?;
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let folder = std::path::Path::new(&sysroot).join("lib/rustlib");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    Ok(entries
        .flatten()
        .filter(|entry| entry.path().join("lib").is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

fn cargo(repo: &Repo, arguments: &[&str]) -> Outcome {
    let mut command = repo.cargo();
    command.args(arguments);
    run(command)
}

/// Runs a program with our output; its failure is an error that names it.
fn run(mut command: Command) -> Outcome {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let mut shown = program.into_owned();
    for argument in command.get_args() {
        shown = format!("{shown} {}", argument.to_string_lossy());
    }
    println!("$ {shown}");
    let status = command.status().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_tests_are_counted() {
        let line = "test result: ok. 19 passed; 0 failed; 10 ignored; 0 measured; 0 filtered out";
        assert_eq!((count_before(line, "passed"), count_before(line, "ignored")), (19, 10));
        assert_eq!(count_before("test passed ... ok", "passed"), 0);
    }

    #[test]
    fn this_platform_is_among_the_installed_targets() {
        let installed = installed_targets(&Repo::open().unwrap()).unwrap();
        assert!(!installed.is_empty());
        let here = std::env::consts::ARCH;
        assert!(installed.iter().any(|target| target.starts_with(here)));
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let error = run(Command::new("false")).unwrap_err();
        assert!(error.contains("`false` failed"), "{error}");
        let error = run(Command::new("no-such-program")).unwrap_err();
        assert!(error.contains("cannot start `no-such-program`"), "{error}");
    }
}

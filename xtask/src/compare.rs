//! `cargo xtask compare`: Wardian beside Wasmtime, in one run, as a table of ratios.
//!
//! Builds the package `benches/peers`, which stands outside of the workspace, or the command `wardian`, or both,
//! as the parts that are asked for need them. Every figure is the best of several rounds in which the engines
//! take turns, so that what disturbs the machine disturbs both. Wasmtime's command, for whole programs, is the
//! one that `WASMTIME` names, if it does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::repo::Repo;

/// Both engines, ours first.
const ENGINES: [&str; 2] = ["wardian", "wasmtime"];

/// Programs to run, unless `BENCH` names a folder with a folder `open` of others.
const PROGRAMS: &str = "tests/programs";

/// Programs that need proposals or input that not both commands take in the same way.
const LEFT_OUT: &[&str] = &["lua", "gc_tree", "hello_raw"];

struct Options {
    rounds: u32,
    parts: Vec<String>,
    files: Vec<PathBuf>,
}

/// Least values by name, in the order of their first appearance.
#[derive(Default)]
struct Table {
    names: Vec<String>,
    least: BTreeMap<String, [Option<f64>; 2]>,
}

pub fn run(repo: &Repo, arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let theirs = options.command_of_theirs()?;
    let wants = |part: &str| options.parts.is_empty() || options.parts.iter().any(|p| p == part);
    if wants("micro") || wants("instances") || !options.files.is_empty() {
        operations(repo, &options, wants("micro"), wants("instances"))?;
    }
    match theirs {
        Some(theirs) if wants("programs") => programs(repo, &options, &theirs),
        None if wants("programs") => {
            println!("\nprograms: not compared, since WASMTIME names no command");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What the program of both engines measures by itself.
fn operations(repo: &Repo, options: &Options, micro: bool, instances: bool) -> Outcome {
    let peers = build(repo, "benches/peers/Cargo.toml", "benches/peers/target", "peers")?;
    if micro {
        let mut table = Table::default();
        for round in 0..options.rounds {
            for engine in turn(round) {
                table.take(
                    engine,
                    &output(Command::new(&peers).arg(ENGINES[engine]).arg("micro"))?,
                )?;
            }
        }
        table.print("operations of the API, ns");
    }
    if instances {
        let mut table = Table::default();
        for engine in turn(0) {
            let command = &mut Command::new(&peers);
            table.take(engine, &output(command.arg(ENGINES[engine]).arg("instances"))?)?;
        }
        table.print("10,000 instances");
    }
    for file in &options.files {
        for work in ["compile", "artifact"] {
            let mut table = Table::default();
            for round in 0..options.rounds.min(3) {
                for engine in turn(round) {
                    let command = &mut Command::new(&peers);
                    let command = command.arg(ENGINES[engine]).arg(work).arg(file);
                    table.take(engine, &output(command)?)?;
                }
            }
            table.print(&format!("{work}, {}", file.display()));
        }
    }
    Ok(())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options { rounds: 3, parts: Vec::new(), files: Vec::new() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "-n" => {
                    let count = rest.next().and_then(|count| count.parse().ok());
                    options.rounds = count.filter(|n| *n > 0).ok_or("-n: expected a number")?;
                }
                "micro" | "instances" | "programs" | "compile" => {
                    options.parts.push(argument.clone());
                }
                file if file.ends_with(".wasm") => {
                    // What runs is started elsewhere.
                    let path =
                        std::path::absolute(file).map_err(|error| format!("{file}: {error}"))?;
                    options.files.push(path);
                }
                other => {
                    return Err(format!(
                        "`{other}`: expected -n ROUNDS, micro, instances, programs, or compile and .wasm files"
                    ));
                }
            }
        }
        if options.parts.iter().any(|part| part == "compile") && options.files.is_empty() {
            return Err("compile: expected a .wasm file to compile".to_owned());
        }
        if options.parts.is_empty() && !options.files.is_empty() {
            options.parts.push("compile".to_owned());
        }
        Ok(options)
    }

    /// Wasmtime's command, if there is one. An error where what is asked for is not there: before anything
    /// is built.
    fn command_of_theirs(&self) -> Result<Option<PathBuf>, String> {
        if let Some(file) = self.files.iter().find(|file| !file.is_file()) {
            return Err(format!("{}: there is no such file", file.display()));
        }
        let command = std::env::var_os("WASMTIME").map(PathBuf::from);
        match &command {
            Some(command) if !command.is_file() => {
                Err(format!("WASMTIME: there is no such file as {}", command.display()))
            }
            None if self.parts.iter().any(|part| part == "programs") => {
                Err("programs: WASMTIME has to name Wasmtime's command".to_owned())
            }
            _ => Ok(command),
        }
    }
}

/// Which engine comes first, and which second.
fn turn(round: u32) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// Builds a program, optimized, and says where it is.
fn build(repo: &Repo, manifest: &str, target: &str, program: &str) -> Result<PathBuf, String> {
    let target = match std::env::var_os("PEERS_TARGET_DIR") {
        Some(target) if target_is_of_peers(manifest) => PathBuf::from(target),
        _ => repo.root.join(target),
    };
    let mut command = repo.cargo();
    command.args(["build", "--release", "--bin", program, "--manifest-path", manifest]);
    command.arg("--target-dir").arg(&target);
    let status = command.status().map_err(|error| format!("cannot start cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{manifest} does not build"));
    }
    Ok(target.join("release").join(program))
}

fn target_is_of_peers(manifest: &str) -> bool {
    manifest.starts_with("benches/")
}

/// What a command prints; an error unless it succeeds.
fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{shown}: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{shown}: printed no text"))
}

/// Whole programs, from code made ahead of time.
fn programs(repo: &Repo, options: &Options, theirs: &PathBuf) -> Outcome {
    let ours = build(repo, "Cargo.toml", "target", "wardian")?;
    let folder = match std::env::var_os("BENCH") {
        Some(bench) => Path::new(&bench).join("open"),
        None => repo.root.join(PROGRAMS),
    };
    let scratch = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
    let (mut table, mut failed) = (Table::default(), Vec::new());
    for wasm in wasm_files(&folder)? {
        let name = wasm.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let made: Vec<PathBuf> =
            ENGINES.iter().map(|engine| scratch.join(format!("{name}.{engine}"))).collect();
        for (command, made) in [&ours, theirs].into_iter().zip(&made) {
            output(Command::new(command).arg("compile").arg(&wasm).arg("-o").arg(made))?;
        }
        for round in 0..options.rounds {
            for engine in turn(round) {
                let mut command = Command::new([&ours, theirs][engine]);
                command.args(["run", "--allow-precompiled"]).arg(&made[engine]);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let start = Instant::now();
                let status = command.status().map_err(|error| error.to_string())?;
                let milliseconds = start.elapsed().as_secs_f64() * 1e3;
                match status.success() {
                    true => table.least(engine, &name, milliseconds),
                    false => failed.push(format!("{name} ({})", ENGINES[engine])),
                }
            }
        }
    }
    // What lies in it was made here.
    let _ = std::fs::remove_dir_all(&scratch);
    table.print("programs, precompiled, ms");
    failed.sort();
    failed.dedup();
    if !failed.is_empty() {
        println!("\nnot measured, since they did not succeed without input: {}", failed.join(", "));
    }
    Ok(())
}

fn wasm_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    Ok(files)
}

impl Table {
    /// Takes lines `name<TAB>value…` of an engine; the first value counts.
    fn take(&mut self, engine: usize, text: &str) -> Outcome {
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (name, value) = (fields.next(), fields.next());
            let value = value.and_then(|value| value.parse().ok());
            let (Some(name), Some(value)) = (name, value) else {
                return Err(format!("`{line}`: expected a name and a value"));
            };
            self.least(engine, name, value);
        }
        Ok(())
    }

    fn least(&mut self, engine: usize, name: &str, value: f64) {
        if !self.least.contains_key(name) {
            self.names.push(name.to_owned());
        }
        let place = &mut self.least.entry(name.to_owned()).or_default()[engine];
        *place = Some(place.map_or(value, |least| least.min(value)));
    }

    fn print(&self, title: &str) {
        println!("\n{title}\n\n| | {} | {} | ratio |\n|---|---|---|---|", ENGINES[0], ENGINES[1]);
        let (mut product, mut count) = (0.0, 0);
        for name in &self.names {
            let [ours, theirs] = self.least[name];
            let shown = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.2}"));
            let ratio = ours.zip(theirs).filter(|(_, theirs)| *theirs > 0.0).map(|(o, t)| o / t);
            if let Some(ratio) = ratio.filter(|ratio| *ratio > 0.0) {
                product += ratio.ln();
                count += 1;
            }
            println!("| {name} | {} | {} | {} |", shown(ours), shown(theirs), shown(ratio));
        }
        if count > 1 {
            println!("| geometric mean | | | {:.2} |", f64::exp(product / f64::from(count)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_value_of_each_engine_counts() {
        let mut table = Table::default();
        table.take(0, "a\t3.0\t9\nb\t1\n").unwrap();
        table.take(1, "a\t6\n").unwrap();
        table.take(0, "a\t2\n").unwrap();
        assert_eq!(table.names, ["a", "b"]);
        assert_eq!(table.least["a"], [Some(2.0), Some(6.0)]);
        assert_eq!(table.least["b"], [Some(1.0), None]);
        assert!(table.take(0, "no value").is_err());
    }

    #[test]
    fn options_are_understood() {
        let parse = |text: &str| {
            Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(parse("").unwrap().rounds, 3);
        let options = parse("-n 5 micro a.wasm").unwrap();
        assert_eq!((options.rounds, options.parts.len(), options.files.len()), (5, 1, 1));
        assert!(options.command_of_theirs().unwrap_err().contains("a.wasm"));
        assert_eq!(parse("compile a.wasm").unwrap().parts, ["compile"]);
        for wrong in ["-n 0", "-n", "else", "compile"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! Writes the list of functions that run in every start of the command, and of those that run when it compiles
//! (`crates/cli/start.ld`): those that valgrind sees run for small programs, by the optimized build. Modules that it
//! is given are compiled too: a large program needs some hundred functions that small ones do not, and each of them, if
//! it lies elsewhere, brings 64 KiB of code into memory.
//!
//! Names are kept without what changes from build to build (hashes of crates and instances), as patterns.
//! A pattern may mean more functions than were seen; that does no harm.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::repo::Repo;

const COMMAND: &str = "target/release/wardian";
const LIST: &str = "crates/cli/start.ld";
const PROGRAMS: &str = "tests/programs";
/// One does next to nothing, the other has enough functions to be worth the cache.
const STARTED: [&str; 2] = ["args", "words"];

const INT: &str = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr";
const INT_COMPARE: &str = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
const FLOAT: &str = "add sub mul div min max copysign";
const FLOAT_UNARY: &str = "abs neg ceil floor trunc nearest sqrt";
const FLOAT_COMPARE: &str = "eq ne lt gt le ge";
/// Types of operands and result, how many operands there are, names.
const NUMERIC: [(&str, &str, usize, &str); 25] = [
    ("i32", "i32", 2, INT),
    ("i32", "i32", 2, INT_COMPARE),
    ("i32", "i32", 1, "eqz clz ctz popcnt extend8_s extend16_s"),
    ("i64", "i64", 2, INT),
    ("i64", "i32", 2, INT_COMPARE),
    ("i64", "i64", 1, "clz ctz popcnt extend8_s extend16_s extend32_s"),
    ("i64", "i32", 1, "eqz i32.wrap_i64"),
    ("f32", "f32", 2, FLOAT),
    ("f32", "f32", 1, FLOAT_UNARY),
    ("f32", "i32", 2, FLOAT_COMPARE),
    ("f64", "f64", 2, FLOAT),
    ("f64", "f64", 1, FLOAT_UNARY),
    ("f64", "i32", 2, FLOAT_COMPARE),
    ("i32", "i64", 1, "i64.extend_i32_s i64.extend_i32_u"),
    ("i32", "f32", 1, "f32.convert_i32_s f32.convert_i32_u f32.reinterpret_i32"),
    ("i32", "f64", 1, "f64.convert_i32_s f64.convert_i32_u"),
    ("i64", "f32", 1, "f32.convert_i64_s f32.convert_i64_u"),
    ("i64", "f64", 1, "f64.convert_i64_s f64.convert_i64_u f64.reinterpret_i64"),
    ("f32", "i32", 1, "i32.trunc_f32_s i32.trunc_f32_u i32.trunc_sat_f32_s i32.reinterpret_f32"),
    ("f32", "i64", 1, "i64.trunc_f32_s i64.trunc_f32_u i64.trunc_sat_f32_s i64.trunc_sat_f32_u"),
    ("f64", "i32", 1, "i32.trunc_f64_s i32.trunc_f64_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u"),
    ("f64", "i64", 1, "i64.trunc_f64_s i64.trunc_f64_u i64.trunc_sat_f64_s i64.reinterpret_f64"),
    ("f64", "i64", 1, "i64.trunc_sat_f64_u"),
    ("f32", "f64", 1, "f64.promote_f32"),
    ("f64", "f32", 1, "f32.demote_f64"),
];

/// See the head of this file. `modules` are files.
pub fn run(repo: &Repo, modules: &[String]) -> Outcome {
    if !repo.root.join(COMMAND).is_file() {
        return Err(format!("there is no {COMMAND}; `cargo build --release` makes it"));
    }
    let folder = repo.root.join("target/start-order");
    let failed = |what: &str, error: std::io::Error| format!("cannot {what}: {error}");
    // The cache does not trust a folder that others can write.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| failed("make a folder", error))?;
    let cache = folder.join("cache").display().to_string();
    let mut start = BTreeSet::new();
    for program in STARTED {
        // Without a cache, with an empty one, and with what that run left.
        for used in ["n", "y", "y"] {
            let cache = format!("cache={used},cache-dir={cache}");
            let arguments =
                ["run", "--dir", ".", "-C", &cache, &format!("{PROGRAMS}/{program}.wasm")];
            start.extend(trace(repo, &folder, &arguments)?);
        }
    }
    let mut compiled = vec![folder.join("numeric.wat")];
    std::fs::write(&compiled[0], numeric_module()).map_err(|error| failed("write", error))?;
    let programs = std::fs::read_dir(repo.root.join(PROGRAMS));
    for program in programs.map_err(|error| failed("list the programs", error))? {
        compiled.push(program.map_err(|error| failed("list the programs", error))?.path());
    }
    compiled.retain(|file| file.extension().is_some_and(|kind| kind == "wasm" || kind == "wat"));
    for module in modules {
        let file = std::path::absolute(module).map_err(|error| failed("find a module", error))?;
        if !file.is_file() {
            return Err(format!("there is no module {module}"));
        }
        compiled.push(file);
    }
    let mut compile = BTreeSet::new();
    let output = folder.join("artifact").display().to_string();
    for file in compiled {
        let file = file.display().to_string();
        compile.extend(trace(repo, &folder, &["compile", &file, "-o", &output])?);
    }
    // It reads text, which is done only here.
    compile.retain(|name| !name.contains("wast"));
    let mut list = String::from(
        "/* Functions that lie together: those that run in every start, in both that and when the command compiles,\n   \
         and only when it compiles. `build.rs` says why. Written by `cargo xtask start-order`. */\nSECTIONS\n{\n  \
         .text.start :\n  {\n",
    );
    let groups = [&start - &compile, &start & &compile, &compile - &start];
    for pattern in groups.iter().flatten() {
        // What is marked as cold is in other sections, but runs all the same.
        list += &format!("    *(.text.{pattern} .text.unlikely.{pattern})\n");
    }
    list += "  }\n}\nINSERT BEFORE .text;\n";
    std::fs::write(repo.root.join(LIST), list).map_err(|error| failed("write the list", error))?;
    let [starts, both, compiles] = groups.map(|group| group.len());
    println!("{LIST}: {starts} patterns that start, {compiles} that compile, {both} that do both");
    Ok(())
}

/// A module in which each numeric instruction has an operand from a local, from memory and a constant, and decides
/// about a branch: the small programs have few of them.
fn numeric_module() -> String {
    let mut module = String::from("(module (memory 1)");
    for (from, to, operands, instructions) in NUMERIC {
        for name in instructions.split(' ') {
            let space = if name.contains('.') { "" } else { &format!("{from}.") };
            let first = ["", "(local.get 1)"][operands - 1];
            let load = format!("({from}.load offset=8 (local.get 2))");
            for last in ["(local.get 0)", &load, &format!("({from}.const 5)")] {
                let value = format!("({space}{name} {first} {last})");
                let func = format!("(func (param {from} {from} i32) (result");
                module += &format!("{func} {to}) {value})");
                if to == "i32" {
                    module += &format!(
                        "{func} {from}) (if {value} (then (return (local.get 0)))) (local.get 1))"
                    );
                }
            }
        }
    }
    module + ")"
}

/// Patterns for the functions that valgrind sees run when the command runs.
fn trace(repo: &Repo, folder: &Path, arguments: &[&str]) -> Result<Vec<String>, String> {
    let profile = folder.join("profile");
    let mut command = Command::new("valgrind");
    command.current_dir(&repo.root).args(["--tool=callgrind", "--demangle=no"]);
    command.args(["--compress-strings=no", "--compress-pos=no"]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(COMMAND).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.stdin(Stdio::null());
    let ran = command.status().map_err(|error| format!("cannot start valgrind: {error}"))?;
    // A program's own exit code is of no interest.
    if ran.code().is_none() {
        return Err(format!("{}: {ran}", arguments.join(" ")));
    }
    let text = std::fs::read_to_string(&profile);
    let text = text.map_err(|error| format!("cannot read the profile: {error}"))?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("fn=")).filter_map(pattern).collect())
}

/// What stands for a Rust function's name in the list.
fn pattern(name: &str) -> Option<String> {
    // Callgrind numbers what calls itself.
    let name = name.split('\'').next()?;
    if name.starts_with("_ZN") {
        let (path, _) = name.rsplit_once("17h")?;
        return Some(format!("{path}17h*E*"));
    }
    if !name.starts_with("_R") {
        return None;
    }
    let name = name.split(".llvm.").next()?;
    let mut text = String::new();
    let mut parts = name.split("Cs");
    text += parts.next()?;
    for part in parts {
        // `Cs`, the crate's hash, `_`, length and name.
        let hash = part.find(|c: char| !c.is_ascii_alphanumeric()).filter(|at| *at > 0);
        let rest = hash.map(|at| &part[at..]).filter(|rest| rest.starts_with('_'));
        text += "Cs";
        match rest {
            Some(rest) => {
                text.push('*');
                text += rest;
            }
            None => text += part,
        }
    }
    text.push('*');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn names_lose_what_changes() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(pattern(name).as_deref(), expected);
        };
        check("_ZN12wardian_cli4main17h0123456789abcdefE", Some("_ZN12wardian_cli4main17h*E*"));
        check("_ZN1a1b17h0123456789abcdefE.llvm.12345'2", Some("_ZN1a1b17h*E*"));
        check("_RNvCsa1_3std4read.llvm.12345", Some("_RNvCs*_3std4read*"));
        check(
            "_RNvNtNtCsjrHSEGnQ3l9_3std2io5stdio6__print",
            Some("_RNvNtNtCs*_3std2io5stdio6__print*"),
        );
        check("strlen", None);
    }
}

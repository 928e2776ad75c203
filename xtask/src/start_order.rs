//! Writes the list of functions that run in every start of the command (`crates/cli/start.ld`): those
//! that valgrind sees run in small programs, by the optimized build.
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
/// One does next to nothing, the other has enough functions to be worth the cache.
const PROGRAMS: [&str; 2] = ["tests/programs/args.wasm", "tests/programs/words.wasm"];

/// See the head of this file.
pub fn run(repo: &Repo, _: &[String]) -> Outcome {
    if !repo.root.join(COMMAND).is_file() {
        return Err(format!("there is no {COMMAND}; `cargo build --release` makes it"));
    }
    let folder = repo.root.join("target/start-order");
    let failed = |what: &str, error: std::io::Error| format!("cannot {what}: {error}");
    // The cache does not trust a folder that others can write.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| failed("make a folder", error))?;
    let mut patterns = BTreeSet::new();
    for program in PROGRAMS {
        // Without a cache, with an empty one, and with what that run left.
        for (number, cache) in ["n", "y", "y"].iter().enumerate() {
            let profile = folder.join(format!("{number}.profile"));
            trace(repo, program, cache, &folder, &profile)?;
            let text = std::fs::read_to_string(&profile);
            let text = text.map_err(|error| failed("read the profile", error))?;
            let names = text.lines().filter_map(|line| line.strip_prefix("fn="));
            patterns.extend(names.filter_map(pattern));
        }
    }
    let mut list = String::from(
        "/* The functions that run in every start, to lie together: `build.rs` says why. Written by\n   \
         `cargo xtask start-order`. */\nSECTIONS\n{\n  .text.start :\n  {\n",
    );
    for pattern in &patterns {
        list += &format!("    *(.text.{pattern})\n");
    }
    list += "  }\n}\nINSERT BEFORE .text;\n";
    std::fs::write(repo.root.join(LIST), list).map_err(|error| failed("write the list", error))?;
    println!("{LIST}: {} patterns", patterns.len());
    Ok(())
}

/// Runs a program under valgrind, which writes what it saw to `profile`.
fn trace(repo: &Repo, program: &str, cache: &str, folder: &Path, profile: &Path) -> Outcome {
    let mut command = Command::new("valgrind");
    command.current_dir(&repo.root).args(["--tool=callgrind", "--demangle=no"]);
    command.args(["--compress-strings=no", "--compress-pos=no"]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(COMMAND).args(["run", "--dir", ".", "-C"]);
    command.arg(format!("cache={cache},cache-dir={}", folder.join("cache").display()));
    command.arg(program).stdout(Stdio::null()).stderr(Stdio::null());
    command.stdin(Stdio::null());
    let ran = command.status().map_err(|error| format!("cannot start valgrind: {error}"))?;
    // The program's own exit code is of no interest.
    if ran.code().is_some() { Ok(()) } else { Err(format!("{program}: {ran}")) }
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

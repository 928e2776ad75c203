//! `cargo xtask licenses`: every dependency may be used under a licence from [`ALLOWED`].
//!
//! Works from `cargo metadata --offline`. When packages for other platforms are not on this machine,
//! those for this platform are checked, and the others are counted as not examined.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::repo::{Repo, list, text};
use crate::{Outcome, fail_if_any};

/// Licences we accept, alone or as an alternative in an expression.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// What each package of ours says.
const OURS: &str = "Apache-2.0 WITH LLVM-exception";

const METADATA: &[&str] = &["--offline", "--locked"];

pub fn run(repo: &Repo, _: &[String]) -> Outcome {
    let mut partial = false;
    let metadata = repo.metadata(METADATA).or_else(|_| {
        partial = true;
        let host = host(repo)?;
        repo.metadata(&[METADATA, &["--filter-platform", &host]].concat())
    })?;

    let mut findings = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut examined = BTreeSet::new();
    for package in list(&metadata["packages"]) {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let license = text(&package["license"]);
        if package["source"].is_null() {
            if license != OURS {
                findings.push(format!("{name}: our own licence is {OURS}, not `{license}`"));
            }
            continue;
        }
        match is_allowed(license) {
            Ok(true) => *counts.entry(license).or_default() += 1,
            Ok(false) => findings.push(format!("{name}: `{license}` is not allowed")),
            Err(problem) => findings.push(format!("{name}: `{license}`: {problem}")),
        }
        examined.insert(name);
    }
    for (license, n) in &counts {
        println!("{n:5}  {license}");
    }
    println!("licenses: {} dependencies examined", examined.len());
    if partial {
        let missing: Vec<String> =
            locked(repo)?.into_iter().filter(|name| !examined.contains(name)).collect();
        println!(
            "licenses: not examined, {} packages for other platforms that are not on this machine \
             (`cargo fetch --locked` brings them): {}",
            missing.len(),
            missing.join(", ")
        );
    }
    fail_if_any(&findings)
}

fn host(repo: &Repo) -> Result<String, String> {
    let output = repo.cargo().arg("-vV").output();
    let output = output.map_err(|error| format!("cannot start cargo: {error}"))?;
    let output = String::from_utf8_lossy(&output.stdout);
    let host = output.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "cargo does not tell its host".to_owned())
}

/// Name and version of each package of the lock file that comes from a registry.
fn locked(repo: &Repo) -> Result<Vec<String>, String> {
    let lock = fs::read_to_string(repo.root.join("Cargo.lock"))
        .map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    let value = |block: &str, key: &str| {
        let key = format!("{key} = \"");
        let line = block.lines().find_map(|line| line.strip_prefix(&key));
        line.map_or(String::new(), |line| line.trim_end_matches('"').to_owned())
    };
    let blocks = lock.split("[[package]]").skip(1);
    let blocks = blocks.filter(|block| block.contains("\nsource = "));
    Ok(blocks
        .map(|block| format!("{} {}", value(block, "name"), value(block, "version")))
        .collect())
}

/// Whether one choice among those that the SPDX expression leaves is made of allowed licences only.
fn is_allowed(expression: &str) -> Result<bool, String> {
    // `/` is the old spelling of OR.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words, at: 0 };
    let allowed = parser.alternatives()?;
    match parser.peek() {
        None => Ok(allowed),
        Some(word) => Err(format!("unexpected `{word}`")),
    }
}

/// A parser of SPDX expressions: OR binds weakest, then AND, then WITH.
struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn alternatives(&mut self) -> Result<bool, String> {
        let mut allowed = self.conjunction()?;
        while self.take("OR") {
            allowed |= self.conjunction()?;
        }
        Ok(allowed)
    }

    fn conjunction(&mut self) -> Result<bool, String> {
        let mut allowed = self.license()?;
        while self.take("AND") {
            allowed &= self.license()?;
        }
        Ok(allowed)
    }

    fn license(&mut self) -> Result<bool, String> {
        if self.take("(") {
            let allowed = self.alternatives()?;
            return if self.take(")") { Ok(allowed) } else { Err("`)` is missing".to_owned()) };
        }
        let mut name = self.name()?;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        Ok(ALLOWED.contains(&name.as_str()))
    }

    fn name(&mut self) -> Result<String, String> {
        let word = self.peek().ok_or("a licence is missing")?;
        if ["OR", "AND", "WITH", "(", ")"].contains(&word) {
            return Err(format!("unexpected `{word}`"));
        }
        let word = word.to_owned();
        self.at += 1;
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_judged() {
        for (expression, allowed) in [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("GPL-3.0-only OR MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only AND MIT", false),
            ("(MIT OR GPL-3.0-only) AND LGPL-2.1-only", false),
            ("MIT AND GPL-3.0-only OR MPL-2.0", false),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ] {
            assert_eq!(is_allowed(expression), Ok(allowed), "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for expression in ["", "OR MIT", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0"] {
            assert!(is_allowed(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn the_lock_file_is_read() {
        let locked = locked(&Repo::open().unwrap()).unwrap();
        assert!(locked.iter().any(|name| name.starts_with("serde_json 1.")));
        assert!(!locked.iter().any(|name| name.starts_with("xtask ")));
    }
}

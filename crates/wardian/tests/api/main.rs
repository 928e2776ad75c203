//! A program that uses every item that `docs/api.md` marks *there*, and the check that it does.
//!
//! The functions of the other files stand in sections, each begun by a line `// uses: TYPE` that names the
//! type whose items it uses. The check reads the document and these files: an item of a type that is
//! *there* has to stand, as a word, in a section of its type. That what stands there exists, the compiler
//! says.

#![forbid(unsafe_code)]

mod engines;
mod errors;
mod functions;
mod heap;
mod linking;
mod modules;
mod objects;
mod stores;
mod types;
mod values;

use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = include_str!("../../../../docs/api.md");

const PROGRAM: [&str; 10] = [
    include_str!("engines.rs"),
    include_str!("errors.rs"),
    include_str!("functions.rs"),
    include_str!("heap.rs"),
    include_str!("linking.rs"),
    include_str!("modules.rs"),
    include_str!("objects.rs"),
    include_str!("stores.rs"),
    include_str!("types.rs"),
    include_str!("values.rs"),
];

/// What a document marks *there*: types, each with its items.
fn there(document: &str) -> BTreeMap<String, Vec<String>> {
    // An entry goes on in the lines that follow it, until the next one.
    let mut entries = Vec::<String>::new();
    for line in document.lines() {
        match line.trim_start() {
            text if text.starts_with("- ") => entries.push(text.into()),
            text => {
                if let Some(entry) = entries.last_mut().filter(|_| line.starts_with("  ")) {
                    entry.push(' ');
                    entry.push_str(text);
                }
            }
        }
    }
    let marked = entries.iter().filter(|entry| entry.contains("`: **there**"));
    let names = marked.map(|entry| entry.split('`').skip(1).step_by(2).map(str::to_string));
    names.map(|mut names| (names.next().expect("a type"), names.collect())).collect()
}

/// The words of a program, by the types of its sections.
fn used(program: &[&'static str]) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut words = BTreeMap::<_, BTreeSet<_>>::new();
    for file in program {
        for section in file.split("// uses: ").skip(1) {
            let (types, body) = section.split_once('\n').expect("a line of its own");
            let body: Vec<_> = body.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
            for ty in types.split(", ") {
                let words = words.entry(ty).or_default();
                for line in &body {
                    words.extend(line.split(|c: char| !c.is_alphanumeric() && c != '_'));
                }
            }
        }
    }
    words
}

#[test]
fn every_item_that_is_there_is_used() {
    let (there, used) = (there(DOCUMENT), used(&PROGRAM));
    assert!(there.len() > 60, "the document has lost its marks: {}", there.len());
    let none = BTreeSet::new();
    let mut unused = Vec::new();
    for (ty, items) in &there {
        let words = used.get(ty.as_str()).unwrap_or(&none);
        for name in std::iter::once(ty).chain(items) {
            if !words.contains(name.as_str()) {
                unused.push(format!("{ty}::{name}"));
            }
        }
    }
    assert!(unused.is_empty(), "marked as there, and not used by this program: {unused:#?}");
}

#[test]
fn the_check_finds_what_is_missing() {
    let document =
        "- `A`: **there**: `new`,\n  `gone`\n  - **never**, because: `x`\n- `B`: **later**: y\n";
    let found = there(document);
    assert_eq!(found.len(), 1);
    assert_eq!(found["A"], ["new", "gone"]);
    let used = used(&["// uses: A, C\n    A::new();\n    // gone\n// uses: B\ngone"]);
    assert!(used["A"].contains("new") && used["C"].contains("A"));
    assert!(!used["A"].contains("gone") && used["B"].contains("gone"));
}

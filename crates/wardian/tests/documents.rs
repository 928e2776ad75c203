//! Every public type has an example: in its own documentation, or above the line that exports it. And what the
//! README says of proposals is true.

#![forbid(unsafe_code)]

use std::path::Path;

/// Types that a module keeps to itself: traits of the API name them, users do not.
const NOT_EXPORTED: &[&str] = &["HostFunc", "HostHandle"];

/// What is declared or exported by a line, if it is a type that users see.
fn declared(line: &str) -> Option<String> {
    let rest = line.strip_prefix("pub ")?;
    let (kind, rest) = rest.split_once(' ')?;
    if !matches!(kind, "struct" | "enum" | "trait" | "union" | "type") {
        // Types of internal crates; ours are found where they are declared.
        return (kind == "use" && rest.starts_with("wardian_")).then(|| rest.to_string());
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(rest[..end].to_string())
}

/// Types in the files of a folder that have no example, and how many have one.
fn without_example(folder: &Path, missing: &mut Vec<String>) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += without_example(&path, missing);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // Comments and attributes since the last line that was neither.
        let mut above = String::new();
        let mut in_attribute = false;
        for line in text.lines() {
            if let Some(name) = declared(line) {
                if above.contains("/// ```") {
                    found += 1;
                } else if !NOT_EXPORTED.contains(&&*name) {
                    missing.push(format!("{}: {name}", path.display()));
                }
            }
            in_attribute = (in_attribute || line.starts_with("#[")) && !line.ends_with(']');
            if line.starts_with("///") || line.starts_with("#[") || in_attribute || line == ")]" {
                above += line;
                above.push('\n');
            } else {
                above.clear();
            }
        }
    }
    found
}

#[test]
fn every_type_has_an_example() {
    let mut missing = Vec::new();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = without_example(&crates.join("src"), &mut missing);
    found += without_example(&crates.join("../wasi/src"), &mut missing);
    assert_eq!(missing, [""; 0], "types without an example");
    assert!(found >= 105, "{found} were found");
}

/// The README's name of a proposal.
fn readme_name(proposal: wardian::Proposal) -> String {
    match proposal.flag() {
        // Parts of version 2.0 of the specification.
        "multi-value" | "bulk-memory" | "reference-types" => "WebAssembly 2.0".into(),
        "simd" => "SIMD".into(),
        "relaxed-simd" => "relaxed SIMD".into(),
        "tail-call" => "tail calls".into(),
        "extended-const" => "extended constants".into(),
        "multi-memory" => "multiple memories".into(),
        "memory64" => "64-bit memories".into(),
        "function-references" => "typed function references".into(),
        "gc" => "garbage collection".into(),
        other => other.replace('-', " "),
    }
}

#[test]
fn the_readme_tells_which_proposals_there_are() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, status) = readme.split_once("\n## Status\n").expect("a section");
    let (status, _) = status.split_once("\n## ").expect("another behind it");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (works, missing) = status.split_once("What is not there yet:").expect("two lists");
    let (works, missing) = (words(works), words(missing));
    let lists = |built: bool| if built { (&works, &missing) } else { (&missing, &works) };
    for proposal in wardian::Proposal::ALL {
        let name = readme_name(*proposal);
        let (right, wrong) = lists(proposal.built());
        assert!(right.contains(&name), "`{name}` is not where it belongs in the README's status");
        let others =
            wrong.replace("legacy exceptions", "").replace("shared everything threads", "");
        assert!(!others.contains(&name), "`{name}` is in the wrong list of the README's status");
    }
}

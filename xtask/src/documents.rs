//! Documents (`*.md`): the paths they name exist, and their links lead somewhere.
//!
//! A path is what looks like one in a code span or a code block: it starts with a top-level folder
//! of the repository, or is a single file name of a kind in [`NAMED_KINDS`]. Placeholders (`<name>`,
//! `*`, `…`, `{a,b}`) end the part that is checked. Links are checked when they are relative, anchors
//! included; nothing is fetched. What stands in an HTML comment is not checked.

use crate::repo::Source;
use crate::tidy::join;

/// Top-level folders, there or not: a document that names a file in one that is gone is stale too.
const FOLDERS: &[&str] = &[
    ".cargo", ".ci", "benches", "bindings", "crates", "docs", "examples", "fuzz", "tests", "xtask",
];

/// Endings of file names that documents mention without a folder.
const NAMED_KINDS: &[&str] = &[".md", ".rs"];

/// Characters at which the checked part of a path ends.
const PLACEHOLDERS: &[char] = &['*', '<', '{', '…', '$'];

pub fn check(document: &Source, files: &[String], all: &[Source], findings: &mut Vec<String>) {
    let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (line, piece) in pieces(&document.text) {
        let place = format!("{}:{line}", document.path);
        match piece {
            Piece::Code(word) => {
                if let Some(path) = named_path(&word)
                    && !exists(&path, folder, files)
                {
                    findings.push(format!("{place}: `{word}` does not exist"));
                }
            }
            Piece::Link(target) => {
                if let Err(problem) = check_link(&target, document, folder, files, all) {
                    findings.push(format!("{place}: link to {target}: {problem}"));
                }
            }
        }
    }
}

enum Piece {
    /// A word of a code span or code block.
    Code(String),
    /// The target of a link.
    Link(String),
}

/// Everything in the document that may name a file, with its line.
fn pieces(text: &str) -> Vec<(usize, Piece)> {
    let mut pieces = Vec::new();
    let mut fence: Option<&str> = None;
    let mut in_comment = false;
    for (i, line) in text.lines().enumerate() {
        let mut add = |piece| pieces.push((i + 1, piece));
        let trimmed = line.trim_start();
        if let Some(mark) = fence {
            if trimmed.starts_with(mark) {
                fence = None;
            } else {
                words(line).for_each(|word| add(Piece::Code(word)));
            }
            continue;
        }
        if in_comment {
            in_comment = !line.contains("-->");
            continue;
        }
        if let Some(mark) = ["```", "~~~"].iter().find(|mark| trimmed.starts_with(**mark)) {
            fence = Some(mark);
            continue;
        }
        if trimmed.starts_with("<!--") {
            in_comment = !line.contains("-->");
            continue;
        }
        // Odd parts of a split at backticks are code; links are sought in the rest, with the code
        // replaced, since a link's text may contain code.
        let mut prose = String::new();
        for (n, part) in line.split('`').enumerate() {
            if n % 2 == 0 {
                prose.push_str(part);
            } else {
                words(part).for_each(|word| add(Piece::Code(word)));
                prose.push_str("code");
            }
        }
        for target in links(&prose) {
            add(Piece::Link(target));
        }
    }
    pieces
}

fn words(code: &str) -> impl Iterator<Item = String> {
    let marks = |c: char| "\"'(),;:[]=".contains(c);
    code.split(|c: char| c.is_whitespace() || "\"'()=".contains(c))
        .map(move |word| word.trim_matches(marks).to_owned())
}

/// Targets of `[text](target)` and of `[label]: target`.
fn links(prose: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for (i, _) in prose.match_indices("](") {
        let target = prose[i + 2..].split([')', ' ']).next().unwrap_or("");
        targets.push(target.to_owned());
    }
    if prose.starts_with('[')
        && let Some((_, target)) = prose.split_once("]: ")
    {
        let target = target.split_whitespace().next().unwrap_or("");
        targets.push(target.to_owned());
    }
    targets
}

/// The path that a word of code names, up to its first placeholder.
fn named_path(word: &str) -> Option<String> {
    // A position such as `file.rs:12` names the file.
    let word = word.split(':').next().unwrap_or("");
    let word = word.strip_prefix("./").unwrap_or(word);
    let complete = !word.contains(PLACEHOLDERS);
    let plain = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    let checked = word.split(PLACEHOLDERS).next().unwrap_or("");
    if !checked.chars().all(plain) {
        return None;
    }
    let Some((first, _)) = checked.split_once('/') else {
        let named = NAMED_KINDS.iter().any(|kind| {
            let stem = checked.strip_suffix(kind);
            stem.is_some_and(|stem| !stem.is_empty())
        });
        return (complete && named).then(|| checked.to_owned());
    };
    if !FOLDERS.contains(&first) {
        return None;
    }
    let checked = match checked.rsplit_once('/') {
        Some((folder, _)) if !complete => folder,
        _ => checked,
    };
    Some(checked.trim_end_matches('/').to_owned())
}

fn exists(path: &str, folder: &str, files: &[String]) -> bool {
    if !path.contains('/') && NAMED_KINDS.iter().any(|kind| path.ends_with(kind)) {
        let is_it = |file: &String| file.rsplit('/').next() == Some(path);
        return files.iter().any(is_it);
    }
    is_there(path, files) || is_there(&join(folder, path), files)
}

/// Whether there is such a file or folder.
fn is_there(path: &str, files: &[String]) -> bool {
    let inside = format!("{path}/");
    files.iter().any(|file| file == path || file.starts_with(&inside))
}

fn check_link(
    target: &str,
    document: &Source,
    folder: &str,
    files: &[String],
    all: &[Source],
) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match path {
        "" => document.path.clone(),
        path => join(folder, path),
    };
    if path.starts_with("..") || target.starts_with('/') {
        return Err("leaves the repository".to_owned());
    }
    if !is_there(&path, files) && !path.is_empty() {
        return Err("does not exist".to_owned());
    }
    if anchor.is_empty() || !path.ends_with(".md") {
        return Ok(());
    }
    let text = all.iter().find(|source| source.path == path);
    let text = text.map_or("", |source| source.text.as_str());
    if anchors(text).iter().any(|known| known == anchor) {
        Ok(())
    } else {
        Err(format!("no heading gives the anchor `{anchor}`"))
    }
}

/// The anchors of a document's headings, as code hosts make them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut in_fence = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence || !line.starts_with('#') {
            continue;
        }
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        });
        let base: String = kept.collect();
        let mut anchor = base.clone();
        let mut n = 0;
        while anchors.contains(&anchor) {
            n += 1;
            anchor = format!("{base}-{n}");
        }
        anchors.push(anchor);
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_at(path: &str, text: &str) -> Vec<String> {
        let files = [
            "README.md",
            "docs/book.md",
            "docs/start.md",
            "crates/vm/src/lib.rs",
            "tests/golden/a.wat",
        ];
        let files = files.map(str::to_owned);
        let source =
            |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let all = [
            source("docs/book.md", "# A book\n## Why do we `x`?\n## Why do we `x`?\n"),
            source(path, text),
        ];
        let mut findings = Vec::new();
        check(&all[1], &files, &all, &mut findings);
        findings
    }

    #[track_caller]
    fn check_counts(cases: &[(&str, usize)]) {
        for (text, n) in cases {
            let found = check_at("README.md", text);
            assert_eq!(found.len(), *n, "{text}: {found:?}");
        }
    }

    #[test]
    fn named_paths_that_do_not_exist_are_found() {
        check_counts(&[
            ("see `crates/vm/src/lib.rs`, `crates/vm/` and `tests/golden`", 0),
            ("see `crates/vm/src/gone.rs`", 1),
            ("see `benches/README.md`", 1),
            ("see `lib.rs:12` and `book.md`", 0),
            ("see `gone.md`", 1),
            ("flags `-C`, a ratio `a/b`, `std/io`, `target/release/wardian`", 0),
            ("crates/vm/src/gone.rs outside of code", 0),
        ]);
    }

    #[test]
    fn placeholders_end_what_is_checked() {
        check_counts(&[
            ("`crates/<name>/src` and `tests/golden/*.wat` and `crates/{vm,wasi}`", 0),
            ("`crates/vm/gone/*.rs`", 1),
        ]);
    }

    #[test]
    fn commands_in_code_blocks_are_checked_and_comments_are_not() {
        check_counts(&[
            ("```sh\nwardian --dir=tests/golden tests/golden/a.wat\n```\n", 0),
            ("```sh\nwardian tests/golden/gone.wat -- x\n```\n", 1),
            ("<!-- `tests/gone.wat` -->\n<!--\n`tests/gone.wat`\n-->\n", 0),
        ]);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        check_counts(&[
            ("[a](docs/book.md) [b](https://example.org/x) [`c`](docs/)", 0),
            ("[a](docs/gone.md)", 1),
            ("[a](../other.md)", 1),
            ("[a](docs/book.md#a-book) [b](docs/book.md#why-do-we-x-1)", 0),
            ("[a](docs/book.md#no-book)", 1),
            ("# Here\n[a](#here)", 0),
            ("# Here\n[a](#there)", 1),
            ("[a]: docs/gone.md", 1),
        ]);
        assert!(check_at("docs/start.md", "[a](book.md) [b](../README.md)").is_empty());
        assert_eq!(check_at("docs/start.md", "[a](docs/book.md)").len(), 1);
    }
}

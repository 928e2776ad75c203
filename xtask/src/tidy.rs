//! `cargo xtask tidy`: what a reader of the tree would stumble over.
//!
//! The rules:
//!
//! - A Rust file starts with `//!` and what it is for (attributes of the crate may come before).
//! - A Rust file is reached from a target of cargo by `mod` or `include!`; guest programs excepted.
//! - No leftovers of debugging or of unfinished work.
//! - No file names a path outside the repository.
//! - Each package of the workspace takes the lints of the workspace.
//! - Each package in `crates` has a row in the README's layout, which says rightly whether it has `unsafe`
//!   code, and a section in ARCHITECTURE.md; there are no others.
//! - Documents name only paths that exist, and their links resolve ([`crate::documents`]).

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenTree};

use crate::repo::{self, Repo, Source, Target};
use crate::rust_source::{
    any_group, attribute, group, ident, is_ident, is_punct, line, macro_call, string, tokens, trees,
};
use crate::{Outcome, documents, fail_if_any};

/// A mark for work that is left; spelled so that this file does not contain it.
const LEFTOVER_MARK: &str = concat!("FIX", "ME");

/// Macros that no committed source calls.
const LEFTOVER_MACROS: &[&str] = &["dbg", "todo", "unimplemented"];

/// Beginnings of paths that exist where this was developed and nowhere else; spelled so that this
/// file does not contain them.
const OUTSIDE: &[&str] =
    &[concat!("../", "shared"), concat!("../", ".library"), concat!("/", "work/")];

/// Endings of files that are looked through for the mark of work that is left.
const SOURCE_ENDINGS: &[&str] = &[".rs", ".toml", ".sh", ".c", ".h", ".cpp", ".hpp", ".py", ".go"];

pub fn run(repo: &Repo, _: &[String]) -> Outcome {
    let sources = repo.sources()?;
    let files = repo.files()?;
    let mut findings = Vec::new();
    for source in &sources {
        check_text(source, &mut findings);
        if source.path.ends_with(".rs") {
            check_head(source, &mut findings);
            check_leftover_macros(source, &mut findings);
        }
        if source.path.ends_with("Cargo.toml") {
            check_lints(source, &sources, &mut findings);
        }
        if source.path.ends_with(".md") {
            documents::check(source, &files, &sources, &mut findings);
        }
    }
    check_reached(&sources, &repo.targets()?, &mut findings);
    check_crates(&sources, &mut findings);
    println!("tidy: {} files looked at", sources.len());
    fail_if_any(&findings)
}

fn check_text(source: &Source, findings: &mut Vec<String>) {
    let path = &source.path;
    let is_source = SOURCE_ENDINGS.iter().any(|ending| path.ends_with(ending));
    for (i, line) in source.text.lines().enumerate() {
        let place = format!("{path}:{}", i + 1);
        if is_source && line.contains(LEFTOVER_MARK) {
            findings.push(format!("{place}: leftover {LEFTOVER_MARK}"));
        }
        // Paths in a guest program are the guest's own.
        for outside in OUTSIDE.iter().filter(|_| !repo::is_guest_source(&source.path)) {
            let starts_path = line.match_indices(outside).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}".contains(c))
            });
            if starts_path {
                findings.push(format!("{place}: names a path outside the repository"));
            }
        }
    }
}

/// The first line that is neither empty nor an attribute of the crate is head documentation.
fn check_head(source: &Source, findings: &mut Vec<String>) {
    let skipped = |line: &&str| line.trim().is_empty() || line.starts_with("#!");
    let first = source.text.lines().find(|line| !skipped(line));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        findings.push(format!(
            "{}: starts without a `//!` comment that says what it is for",
            source.path
        ));
    }
}

fn check_leftover_macros(source: &Source, findings: &mut Vec<String>) {
    match tokens(&source.text) {
        Ok(tokens) => find_leftover_macros(&tokens, &source.path, findings),
        Err(error) => findings.push(format!("{}: {error}", source.path)),
    }
}

fn find_leftover_macros(tokens: &[TokenTree], path: &str, findings: &mut Vec<String>) {
    for (i, token) in tokens.iter().enumerate() {
        if let Some((name, _)) = macro_call(tokens, i)
            && LEFTOVER_MACROS.contains(&name.as_str())
        {
            findings.push(format!("{path}:{}: leftover `{name}!`", line(token)));
        }
        if let TokenTree::Group(group) = token {
            find_leftover_macros(&trees(group), path, findings);
        }
    }
}

/// Packages with a workspace of their own have their own lints.
fn check_lints(manifest: &Source, sources: &[Source], findings: &mut Vec<String>) {
    let has = |text: &str, header: &str| text.lines().any(|line| line.trim() == header);
    if !has(&manifest.text, "[package]") || has(&manifest.text, "[workspace]") {
        return;
    }
    let folder = manifest.path.trim_end_matches("Cargo.toml");
    let in_other_workspace = sources.iter().any(|other| {
        let above = other.path.strip_suffix("Cargo.toml");
        above.is_some_and(|above| !above.is_empty() && folder.starts_with(above))
            && has(&other.text, "[workspace]")
    });
    let mut lines = manifest.text.lines().map(str::trim);
    let takes_lints =
        lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true");
    if !in_other_workspace && !takes_lints {
        findings.push(format!("{}: lacks `[lints]` with `workspace = true`", manifest.path));
    }
}

/// The README and ARCHITECTURE.md list the crates there are.
fn check_crates(sources: &[Source], findings: &mut Vec<String>) {
    let text = |path: &str| sources.iter().find(|s| s.path == path).map_or("", |s| &*s.text);
    let mut rows = Vec::new();
    let mut sections = BTreeSet::new();
    for source in sources {
        let Some(folder) = source.path.strip_suffix("/Cargo.toml") else { continue };
        if folder.strip_prefix("crates/").is_none_or(|name| name.contains('/')) {
            continue;
        }
        let name = source.text.lines().find_map(|line| line.strip_prefix("name = "));
        let name = name.unwrap_or_default().trim_matches('"');
        let root = ["lib.rs", "main.rs"].map(|file| text(&format!("{folder}/src/{file}")));
        let forbids = root.iter().any(|text| text.contains("forbid(unsafe_code)"));
        rows.push((format!("| `{folder}` | `{name}` |"), forbids));
        sections.insert(format!("### `{folder}`"));
    }
    let readme = text("README.md");
    for (start, forbids) in &rows {
        let row = readme.lines().find(|line| line.starts_with(start.as_str()));
        match row {
            None => findings.push(format!("README.md: no row that starts with `{start}`")),
            Some(row) if row.ends_with("| forbidden |") != *forbids => {
                findings.push(format!("README.md: wrong about `unsafe` in `{row}`"));
            }
            Some(_) => {}
        }
    }
    for line in readme.lines().filter(|line| line.starts_with("| `crates/")) {
        if !rows.iter().any(|(start, _)| line.starts_with(start.as_str())) {
            findings.push(format!("README.md: a row of no package: `{line}`"));
        }
    }
    let found = text("ARCHITECTURE.md").lines().filter(|line| line.starts_with("### `crates/"));
    let found: BTreeSet<String> = found.map(str::to_owned).collect();
    for section in sections.symmetric_difference(&found) {
        findings
            .push(format!("ARCHITECTURE.md: a package without section, or the reverse: {section}"));
    }
}

// ---- Dead files ----

fn check_reached(sources: &[Source], targets: &[Target], findings: &mut Vec<String>) {
    let mut reached = BTreeSet::new();
    for target in targets {
        reach(&target.path, true, sources, &mut reached);
    }
    for source in sources {
        let path = &source.path;
        if path.ends_with(".rs") && !repo::is_guest_source(path) && !reached.contains(path) {
            findings.push(format!("{path}: no target of cargo reaches this file"));
        }
    }
}

/// Adds this file and all it declares.
fn reach(path: &str, is_root: bool, sources: &[Source], reached: &mut BTreeSet<String>) {
    let Some(source) = sources.iter().find(|source| source.path == path) else {
        return;
    };
    if !reached.insert(path.to_owned()) {
        return;
    }
    // A file that is no Rust is reported by another rule.
    let Ok(tokens) = tokens(&source.text) else {
        return;
    };
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.trim_end_matches(".rs");
    let children = if is_root || stem == "mod" { folder.to_owned() } else { join(folder, stem) };
    let mut declared = Vec::new();
    find_modules(&tokens, folder, &children, false, &mut declared);
    for (path, is_root) in declared {
        reach(&path, is_root, sources, reached);
    }
}

/// Finds the files that modules may lie in, and whether their own modules lie beside them.
/// `folder` is that of the file, `children` that of the modules declared here, `inline` whether the
/// declarations stand in an inline module.
fn find_modules(
    tokens: &[TokenTree],
    folder: &str,
    children: &str,
    inline: bool,
    declared: &mut Vec<(String, bool)>,
) {
    let mut paths = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if let Some((content, _)) = attribute(tokens, i) {
            find_path_attributes(&trees(content), &mut paths);
        }
        if let Some((name, arguments)) = macro_call(tokens, i)
            && name == "include"
            && let Some(file) = string(trees(arguments).first())
        {
            declared.push((join(folder, &file), true));
        }
        if is_ident(Some(token), "mod")
            && let Some(name) = ident(tokens.get(i + 1))
        {
            let name = name.trim_start_matches("r#");
            if let Some(content) = group(tokens.get(i + 2), Delimiter::Brace) {
                let children = match paths.first() {
                    Some(path) => join(if inline { children } else { folder }, path),
                    None => join(children, name),
                };
                find_modules(&trees(content), folder, &children, true, declared);
            } else if is_punct(tokens.get(i + 2), ';') {
                declared.push((join(children, &format!("{name}.rs")), false));
                declared.push((join(children, &format!("{name}/mod.rs")), false));
                for path in &paths {
                    // A file named by an attribute has its modules beside it, like a root.
                    let from = if inline { children } else { folder };
                    declared.push((join(from, path), true));
                }
            }
        }
        let is_module = i >= 2 && is_ident(tokens.get(i - 2), "mod");
        if let Some(inner) = any_group(Some(token))
            && !is_module
        {
            find_modules(&trees(inner), folder, children, inline, declared);
        }
        let ends_item =
            is_punct(Some(token), ';') || group(Some(token), Delimiter::Brace).is_some();
        if ends_item {
            paths.clear();
        }
    }
}

/// `path = "…"`, also inside `cfg_attr`.
fn find_path_attributes(content: &[TokenTree], paths: &mut Vec<String>) {
    for (i, token) in content.iter().enumerate() {
        if is_ident(Some(token), "path")
            && is_punct(content.get(i + 1), '=')
            && let Some(path) = string(content.get(i + 2))
        {
            paths.push(path);
        }
        if let TokenTree::Group(inner) = token {
            find_path_attributes(&trees(inner), paths);
        }
    }
}

/// Joins and resolves `.` and `..`; a path that climbs past the root keeps its `..`.
pub fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    fn findings(check: impl FnOnce(&mut Vec<String>)) -> Vec<String> {
        let mut findings = Vec::new();
        check(&mut findings);
        findings
    }

    #[test]
    fn a_file_without_head_comment_is_found() {
        for (text, n) in [
            ("//! What it is for.\n", 0),
            ("#![forbid(unsafe_code)]\n\n//! What it is for.\n", 0),
            ("#![forbid(unsafe_code)]\nfn f() {}\n", 1),
            ("/// Of the item.\nfn f() {}\n", 1),
            ("// Not documentation.\n", 1),
            ("", 1),
        ] {
            let found = findings(|all| check_head(&source("a.rs", text), all));
            assert_eq!(found.len(), n, "{text}: {found:?}");
        }
    }

    #[test]
    fn leftovers_are_found() {
        let leftover = |text: &str| {
            findings(|all| {
                check_text(&source("a.rs", text), all);
                check_leftover_macros(&source("a.rs", text), all);
            })
        };
        assert_eq!(leftover("fn f() { dbg!(1); }").len(), 1);
        assert_eq!(leftover("fn f() { g(h(vec![todo!()])) }").len(), 1);
        assert_eq!(leftover(&format!("// {LEFTOVER_MARK}: x")).len(), 1);
        assert!(leftover("/// Unlike `dbg!(1)`.\nfn f() { \"todo!()\" }").is_empty());
    }

    #[test]
    fn paths_outside_are_found() {
        let outside = |text: &str| findings(|all| check_text(&source("a.md", text), all));
        for beginning in OUTSIDE {
            assert_eq!(outside(&format!("see `{beginning}x`")).len(), 1);
            assert_eq!(outside(&format!("{beginning}x")).len(), 1);
        }
        assert!(outside("the guest's frame/work/load; home/.library").is_empty());
    }

    #[test]
    fn a_package_without_the_lints_is_found() {
        let lints = |text: &str| {
            let sources = [source("a/Cargo.toml", text), source("b/Cargo.toml", "[workspace]\n")];
            findings(|all| check_lints(&sources[0], &sources, all))
        };
        assert!(lints("[package]\n[lints]\nworkspace = true\n").is_empty());
        assert_eq!(lints("[package]\n").len(), 1);
        assert_eq!(lints("[package]\n[lints]\n").len(), 1);
        assert!(lints("[package]\n[workspace]\n").is_empty());
        let inner =
            [source("b/c/Cargo.toml", "[package]\n"), source("b/Cargo.toml", "[workspace]\n")];
        assert!(findings(|all| check_lints(&inner[0], &inner, all)).is_empty());
    }

    #[test]
    fn crates_that_no_document_lists_are_found() {
        let row = "| `crates/a` | `w-a` | what for | forbidden |\n";
        let check = |readme: &str, architecture: &str, root: &str| {
            let sources = [
                source("crates/a/Cargo.toml", "[package]\nname = \"w-a\"\n"),
                source("crates/a/src/lib.rs", root),
                source("crates/a/fuzz/Cargo.toml", "[package]\nname = \"fuzz\"\n"),
                source("README.md", readme),
                source("ARCHITECTURE.md", architecture),
            ];
            findings(|all| check_crates(&sources, all)).len()
        };
        let (section, root) = ("### `crates/a`\n", "#![forbid(unsafe_code)]");
        assert_eq!(check(row, section, root), 0);
        assert_eq!(check("", section, root), 1);
        assert_eq!(check(row, "", root), 1);
        assert_eq!(check(row, section, ""), 1);
        assert_eq!(check(&row.replace("w-a", "w-b"), section, root), 2);
        assert_eq!(check(row, &format!("{section}### `crates/b`\n"), root), 1);
    }

    fn dead(files: &[(&str, &str)], root: &str) -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| source(path, text)).collect();
        let target = Target {
            package: "a".to_owned(),
            name: "a".to_owned(),
            kind: "lib".to_owned(),
            path: root.to_owned(),
        };
        findings(|all| check_reached(&sources, &[target], all))
    }

    #[test]
    fn a_dead_file_is_found() {
        let found = dead(
            &[
                ("a/src/lib.rs", "mod b; pub mod c;"),
                ("a/src/b.rs", "mod inner;"),
                ("a/src/b/inner.rs", ""),
                ("a/src/c/mod.rs", "mod inner;"),
                ("a/src/c/inner.rs", ""),
                ("a/src/inner.rs", ""),
                ("tests/programs/guest.rs", ""),
            ],
            "a/src/lib.rs",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a/src/inner.rs:"));
    }

    #[test]
    fn inline_modules_attributes_macros_and_includes_reach() {
        let found = dead(
            &[
                (
                    "a/src/lib.rs",
                    "mod sys { #[cfg(unix)] pub mod unix; } #[path = \"x/y.rs\"] mod z;\
                     #[cfg_attr(windows, path = \"win.rs\")] mod os; \
                     choose! { if unix { mod chosen; } } include!(\"list.rs\"); mod w { mod v; }",
                ),
                ("a/src/sys/unix.rs", ""),
                ("a/src/x/y.rs", "mod beside;"),
                ("a/src/x/beside.rs", ""),
                ("a/src/win.rs", ""),
                ("a/src/os.rs", ""),
                ("a/src/chosen.rs", ""),
                ("a/src/list.rs", ""),
                ("a/src/w/v.rs", ""),
            ],
            "a/src/lib.rs",
        );
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_declaration_in_a_comment_does_not_reach() {
        let files = [("a/src/lib.rs", "// mod b;\n"), ("a/src/b.rs", "")];
        assert_eq!(dead(&files, "a/src/lib.rs").len(), 1);
    }

    #[test]
    fn paths_join() {
        assert_eq!(join("a/b", "../c/./d"), "a/c/d");
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("a", "../../b"), "../b");
    }
}

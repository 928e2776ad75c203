//! `cargo xtask unsafe-audit`: where `unsafe` stands, and what each piece of it relies on.
//!
//! The rules:
//!
//! - `unsafe` (and assembly) stands in a room of [`ROOMS`] only. Sources of guest programs are
//!   exempt: they run inside the sandbox. So is the package that compares us with another engine, whose
//!   functions it calls: nothing of ours depends on it.
//! - Directly above each `unsafe` block, `unsafe impl`, `unsafe trait`, `unsafe extern`,
//!   `global_asm!` and `#[unsafe(…)]` stands a `// SAFETY:` comment that cites at least one named
//!   invariant in brackets, and none that does not exist. "Directly above" is above the line of the
//!   `unsafe` itself, or above the statement, match arm, argument or item that it is part of.
//! - An `unsafe fn` documents its duties under `# Safety` (methods of a trait implementation excepted:
//!   their trait does). Such documentation also serves for `#[unsafe(…)]` on the same item.
//! - Every crate but the one that owns the rooms starts with `#![forbid(unsafe_code)]`: libraries,
//!   programs, tests, examples and build scripts alike. `unsafe_code` is allowed nowhere.
//! - No exported macro contains `unsafe`.
//! - The blocks of the rooms' sources stay within [`BUDGET`], a macro's blocks counted once per
//!   expansion. Where expansions cannot be counted (`unsafe` reached from a repetition, from a
//!   recursive macro, or from a macro whose name is passed to another macro) the audit fails rather
//!   than guess.
//!
//! The named invariants are the list items `- **[lower case words]** …` in the head documentation of
//! [`INVARIANTS`]. A bracket after the word `NOTE`, or in backticks, is not a citation.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenTree};

use crate::repo::{self, Repo, Source, Target};
use crate::rust_source::{
    any_group, attribute, group, ident, is_ident, is_punct, line, macro_call, mentions, tokens,
    trees,
};
use crate::{Outcome, fail_if_any};

/// The folders in which `unsafe` may stand.
const ROOMS: &[&str] = &["crates/vm/src/", "crates/vm/tests/"];

/// The rooms whose blocks are not counted against the budget: tests.
const TEST_ROOMS: &[&str] = &["crates/vm/tests/"];

/// The file whose head documentation defines the named invariants.
const INVARIANTS: &str = "crates/vm/src/lib.rs";

/// More blocks than this, and the border of the kernel stands in the wrong place.
const BUDGET: usize = 150;

pub fn run(repo: &Repo, _: &[String]) -> Outcome {
    let report = audit(&repo.sources()?, &repo.targets()?);
    report.print();
    fail_if_any(&report.errors)
}

/// Everything the audit found out.
#[derive(Default)]
struct Report {
    /// Names of the invariants, in the order of their definition.
    invariants: Vec<String>,
    files: Vec<FileReport>,
    guest_sources: usize,
    peer_sources: usize,
    errors: Vec<String>,
}

struct FileReport {
    path: String,
    counts: Counts,
    /// What the macros defined in this file add by their expansions.
    from_macros: Counts,
    /// How often each invariant is cited.
    cited: BTreeMap<String, usize>,
}

/// Number of sites by kind; the same order as [`Kind`] (ORDER kind).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts([usize; KINDS.len()]);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Block,
    Fn,
    Impl,
    Trait,
    Extern,
    Attribute,
    Asm,
    /// Any other use of the keyword, such as an `unsafe static`.
    Other,
}

/// Heading of the column of each kind (ORDER kind).
const KINDS: [&str; 8] = ["block", "fn", "impl", "trait", "extern", "attr", "asm", "other"];
const _: () = assert!(Kind::Other as usize + 1 == KINDS.len());

impl Counts {
    fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    fn add_times(&mut self, other: Self, factor: usize) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own += more * factor;
        }
    }

    fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn blocks(self) -> usize {
        self.0[Kind::Block as usize]
    }
}

impl Report {
    fn print(&self) {
        let width = self.files.iter().map(|file| file.path.len()).max();
        let width = width.unwrap_or(0).max("total, tests apart".len());
        print!("{:width$}", "file");
        for kind in KINDS {
            print!(" {kind:>7}");
        }
        println!("  invariants cited");
        for file in &self.files {
            let cited = file.cited.iter().map(|(name, n)| match n {
                1 => format!("[{name}]"),
                n => format!("[{name}] x{n}"),
            });
            let cited = cited.collect::<Vec<_>>().join(", ");
            print_row(width, &file.path, file.counts, &cited);
            if !file.from_macros.is_zero() {
                print_row(width, "  … by expansion of macros", file.from_macros, "");
            }
        }
        print_row(width, "total, tests apart", self.total(false), "");
        print_row(width, "total of the tests", self.total(true), "");
        if self.guest_sources > 0 {
            println!("not audited: {} guest programs", self.guest_sources);
        }
        if self.peer_sources > 0 {
            println!("not audited: {} files that compare engines", self.peer_sources);
        }
        for name in &self.invariants {
            if !self.files.iter().any(|file| file.cited.contains_key(name)) {
                println!("note: nothing cites [{name}]");
            }
        }
        println!(
            "{} unsafe blocks of at most {BUDGET}, {} named invariants",
            self.total(false).blocks(),
            self.invariants.len()
        );
    }

    fn total(&self, of_tests: bool) -> Counts {
        let mut total = Counts::default();
        for file in &self.files {
            if is_in(&file.path, TEST_ROOMS) == of_tests {
                total.add_times(file.counts, 1);
                total.add_times(file.from_macros, 1);
            }
        }
        total
    }
}

fn print_row(width: usize, head: &str, counts: Counts, cited: &str) {
    print!("{head:width$}");
    for n in counts.0 {
        match n {
            0 => print!(" {:>7}", "."),
            n => print!(" {n:>7}"),
        }
    }
    println!("  {cited}");
}

fn is_in(path: &str, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| path.starts_with(room))
}

fn audit(sources: &[Source], targets: &[Target]) -> Report {
    let mut report = Report::default();
    match sources.iter().find(|source| source.path == INVARIANTS) {
        Some(source) => define_invariants(source, &mut report),
        None => report.errors.push(format!("{INVARIANTS} is missing")),
    }

    let mut scans = Vec::new();
    for source in sources {
        check_manifest(source, &mut report.errors);
        if !source.path.ends_with(".rs") {
            continue;
        }
        if repo::is_guest_source(&source.path) {
            report.guest_sources += 1;
            continue;
        }
        if repo::is_of_peers(&source.path) {
            report.peer_sources += 1;
            continue;
        }
        match Scan::of(source) {
            Ok(scan) => scans.push((source, scan)),
            Err(error) => report.errors.push(format!("{}: {error}", source.path)),
        }
    }

    check_forbids(targets, &scans, &mut report.errors);
    let macros = Macros::gather(&scans);
    macros.check(&mut report.errors);
    for (source, scan) in &scans {
        let file = check_file(source, scan, &macros, &report.invariants, &mut report.errors);
        if !file.counts.is_zero() || !file.from_macros.is_zero() {
            report.files.push(file);
        }
    }
    let blocks = report.total(false).blocks();
    if blocks > BUDGET {
        report.errors.push(format!("{blocks} unsafe blocks, more than the budget of {BUDGET}"));
    }
    report
}

fn define_invariants(source: &Source, report: &mut Report) {
    let head = source.text.lines();
    for line in head.take_while(|line| line.starts_with("//!") || line.trim().is_empty()) {
        let Some(item) = line.strip_prefix("//! - **[") else {
            continue;
        };
        let name = item.split_once("]**").map_or("", |(name, _)| name);
        if !is_invariant_name(name) {
            report.errors.push(format!(
                "{INVARIANTS}: `{line}`: the name of an invariant is lower case words"
            ));
        } else if report.invariants.iter().any(|known| known == name) {
            report.errors.push(format!("{INVARIANTS}: [{name}] is defined twice"));
        } else {
            report.invariants.push(name.to_owned());
        }
    }
}

fn is_invariant_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " -'".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed)
}

/// A manifest must not switch the lint off either.
fn check_manifest(source: &Source, errors: &mut Vec<String>) {
    if !source.path.ends_with("Cargo.toml") {
        return;
    }
    for (i, line) in source.text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("");
        let allows = line.contains("\"allow\"") || line.contains("\"warn\"");
        if line.contains("unsafe_code") && allows {
            let path = &source.path;
            errors.push(format!("{path}:{}: `unsafe_code` is allowed", i + 1));
        }
    }
}

fn check_forbids(targets: &[Target], scans: &[(&Source, Scan)], errors: &mut Vec<String>) {
    for target in targets {
        if is_in(&target.path, ROOMS) || repo::is_of_peers(&target.path) {
            continue;
        }
        let scan =
            scans.iter().find(|(source, _)| source.path == target.path).map(|(_, scan)| scan);
        // A file that could not be scanned has its own error.
        if scan.is_some_and(|scan| !scan.forbids) {
            errors.push(format!(
                "{}: the {} `{}` of `{}` lacks `#![forbid(unsafe_code)]`",
                target.path, target.kind, target.name, target.package
            ));
        }
    }
}

fn check_file(
    source: &Source,
    scan: &Scan,
    macros: &Macros,
    invariants: &[String],
    errors: &mut Vec<String>,
) -> FileReport {
    let mut file = FileReport {
        path: source.path.clone(),
        counts: Counts::default(),
        from_macros: Counts::default(),
        cited: BTreeMap::new(),
    };
    let path = &source.path;
    for allow in &scan.allows {
        errors.push(format!("{path}:{allow}: `unsafe_code` is allowed"));
    }
    let lines: Vec<&str> = source.text.lines().collect();
    for site in &scan.sites {
        let place = format!("{path}:{}", site.line);
        if site.in_macro.is_none() {
            file.counts.add(site.kind);
        }
        if !is_in(path, ROOMS) {
            let what = site.kind.name();
            errors.push(format!("{place}: {what} outside its room"));
            continue;
        }
        check_site(site, &place, &lines, invariants, &mut file.cited, errors);
    }
    for name in &scan.macros {
        if let Some(weight) = macros.weight_in(name, path) {
            file.from_macros.add_times(weight, macros.expansions(name, &mut Vec::new()));
        }
    }
    file
}

fn check_site(
    site: &Site,
    place: &str,
    lines: &[&str],
    invariants: &[String],
    cited: &mut BTreeMap<String, usize>,
    errors: &mut Vec<String>,
) {
    let what = site.kind.name();
    let comment = safety_comment(lines, site);
    let documented = match site.kind {
        Kind::Fn => site.documents_safety || site.in_trait_impl,
        Kind::Attribute => site.documents_safety || comment.is_some(),
        Kind::Asm => !site.is_global_asm || comment.is_some(),
        _ => comment.is_some(),
    };
    if !documented {
        errors.push(match site.kind {
            Kind::Fn => format!("{place}: {what} without a `# Safety` section"),
            Kind::Attribute => {
                format!("{place}: {what} without a `// SAFETY:` comment or a `# Safety` section")
            }
            _ => format!("{place}: {what} without a `// SAFETY:` comment directly above"),
        });
        return;
    }
    let Some(comment) = comment else { return };
    let mut known = 0;
    for name in citations(&comment) {
        if invariants.contains(&name) {
            *cited.entry(name).or_default() += 1;
            known += 1;
        } else {
            errors.push(format!(
                "{place}: [{name}] is no invariant of {INVARIANTS} (code belongs in backticks)"
            ));
        }
    }
    let must_cite = !matches!(site.kind, Kind::Fn) && !site.documents_safety;
    if must_cite && known == 0 {
        errors.push(format!(
            "{place}: the `// SAFETY:` comment of this {what} cites no named invariant"
        ));
    }
}

/// The `// SAFETY:` comment that ends directly above the site, as one line of text.
fn safety_comment(lines: &[&str], site: &Site) -> Option<String> {
    site.starts.iter().find_map(|&start| comment_above(lines, start))
}

fn comment_above(lines: &[&str], start: usize) -> Option<String> {
    let above = lines.get(..start.checked_sub(1)?)?;
    let is_comment = |line: &str| line.starts_with("//") && !is_doc(line);
    let mut above = above.iter().map(|line| line.trim()).rev().peekable();
    while above.next_if(|line| line.starts_with("#[") || is_doc(line)).is_some() {}
    let mut text = Vec::new();
    while let Some(line) = above.next_if(|line| is_comment(line)) {
        let line = line.trim_start_matches('/').trim();
        if let Some(first) = line.strip_prefix("SAFETY:") {
            text.push(first.trim());
            text.reverse();
            return Some(text.join(" "));
        }
        text.push(line);
    }
    None
}

fn is_doc(line: &str) -> bool {
    line.starts_with("///") || line.starts_with("//!")
}

/// The bracketed names in a comment; those in backticks or after `NOTE` are something else.
fn citations(comment: &str) -> Vec<String> {
    let prose: Vec<&str> = comment.split('`').step_by(2).collect();
    let prose = prose.join("``");
    let mut names = Vec::new();
    for (i, _) in prose.match_indices('[') {
        let before = prose[..i].trim_end();
        let attached = prose[..i].ends_with(|c: char| c.is_alphanumeric() || "_#&])".contains(c));
        let Some((name, _)) = prose[i + 1..].split_once(']') else {
            continue;
        };
        if !attached && !before.ends_with("NOTE") && is_invariant_name(name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Block => "unsafe block",
            Self::Fn => "unsafe fn",
            Self::Impl => "unsafe impl",
            Self::Trait => "unsafe trait",
            Self::Extern => "unsafe extern block",
            Self::Attribute => "unsafe attribute",
            Self::Asm => "assembly",
            Self::Other => "use of `unsafe`",
        }
    }
}

// ---- One file ----

/// One piece of unsafe code.
struct Site {
    kind: Kind,
    line: usize,
    /// Lines above which its comment may stand: its own, and that of every argument, statement or
    /// item it is part of, up to the innermost `{`.
    starts: Vec<usize>,
    /// Whether the documentation of the item has a `# Safety` section.
    documents_safety: bool,
    in_trait_impl: bool,
    is_global_asm: bool,
    /// The macro in whose body it stands, and the arm of that macro.
    in_macro: Option<(String, usize)>,
    /// Whether it stands in a repetition of that body.
    repeated: bool,
}

/// A macro call, and the macro in whose body it stands.
struct Call {
    name: String,
    line: usize,
    in_macro: Option<String>,
    repeated: bool,
}

/// What one pass over the tokens of a file finds.
#[derive(Default)]
struct Scan {
    sites: Vec<Site>,
    calls: Vec<Call>,
    /// Macros defined here.
    macros: Vec<String>,
    /// Names and lines of exported macros with `unsafe` in their body.
    unsafe_exports: Vec<(String, usize)>,
    /// Words in the arguments of macro calls and in macro bodies that no `!` follows.
    words_in_macros: Vec<(String, usize)>,
    /// Lines of `allow(unsafe_code)` and the like.
    allows: Vec<usize>,
    forbids: bool,
}

/// Where in the file a group of tokens stands.
#[derive(Clone, Default)]
struct Context {
    starts: Vec<usize>,
    in_trait_impl: bool,
    in_attribute: bool,
    in_macro: Option<(String, usize)>,
    repeated: bool,
    in_call: bool,
    documents_safety: bool,
}

impl Scan {
    fn of(source: &Source) -> Result<Self, String> {
        let mut scan = Self::default();
        let tokens = tokens(&source.text)?;
        scan.walk(&tokens, &Context::default());
        Ok(scan)
    }

    fn walk(&mut self, tokens: &[TokenTree], context: &Context) {
        // Index of the first token of the current statement, arm or argument, and of the current
        // item. They differ in that a comma, which may be one between generic parameters, ends no
        // item.
        let mut start = 0;
        let mut item = 0;
        let mut i = 0;
        while i < tokens.len() {
            let mut here = context.clone();
            here.starts.push(line(&tokens[start]));
            here.documents_safety |= documents_safety(&tokens[item..]);
            i = self.step(tokens, item, i, &here);
            let last = tokens.get(i - 1);
            if is_punct(last, ';') || group(last, Delimiter::Brace).is_some() {
                item = i;
            }
            if item == i || is_punct(last, ',') {
                start = i;
            }
        }
    }

    /// Handles what starts at `i`; gives the index to go on at.
    fn step(&mut self, tokens: &[TokenTree], item: usize, i: usize, here: &Context) -> usize {
        if let Some((content, after)) = attribute(tokens, i) {
            self.attribute(content, is_punct(tokens.get(i + 1), '!'), here);
            return after;
        }
        if is_ident(tokens.get(i), "macro_rules")
            && is_punct(tokens.get(i + 1), '!')
            && let Some(name) = ident(tokens.get(i + 2))
            && let Some(body) = any_group(tokens.get(i + 3))
        {
            let exported = attributes(&tokens[item..i])
                .iter()
                .any(|content| mentions(content, "macro_export"));
            self.macro_definition(name, body, exported, line(&tokens[i]));
            return i + 4;
        }
        if let Some((name, arguments)) = macro_call(tokens, i) {
            self.call(name, arguments, line(&tokens[i]), here);
            return i + 3;
        }
        match &tokens[i] {
            TokenTree::Ident(word) if word == "unsafe" => {
                if let Some(kind) = kind_of(tokens, i, here.in_attribute) {
                    self.site(kind, line(&tokens[i]), here);
                }
            }
            TokenTree::Ident(word) if here.in_call || here.in_macro.is_some() => {
                self.words_in_macros.push((word.to_string(), line(&tokens[i])));
            }
            TokenTree::Group(inner) => {
                let mut context = here.clone();
                if inner.delimiter() == Delimiter::Brace {
                    context.starts.clear();
                    context.documents_safety = false;
                    if let Some(is_trait_impl) = impl_header(&tokens[item..i]) {
                        context.in_trait_impl = is_trait_impl;
                    }
                }
                let repetition = inner.delimiter() == Delimiter::Parenthesis
                    && i > 0
                    && is_punct(tokens.get(i - 1), '$');
                context.repeated |= repetition && here.in_macro.is_some();
                self.walk(&trees(inner), &context);
            }
            _ => {}
        }
        i + 1
    }

    fn site(&mut self, kind: Kind, line: usize, here: &Context) {
        let mut starts = here.starts.clone();
        starts.push(line);
        starts.reverse();
        self.sites.push(Site {
            kind,
            line,
            starts,
            documents_safety: here.documents_safety,
            in_trait_impl: here.in_trait_impl,
            is_global_asm: false,
            in_macro: here.in_macro.clone(),
            repeated: here.repeated,
        });
    }

    fn attribute(&mut self, content: &Group, inner: bool, here: &Context) {
        let words = trees(content);
        if inner
            && is_ident(words.first(), "forbid")
            && any_group(words.get(1)).is_some_and(|lints| mentions(lints, "unsafe_code"))
        {
            self.forbids = true;
        }
        self.find_allows(&words);
        let mut context = here.clone();
        context.in_attribute = true;
        self.walk(&words, &context);
    }

    fn find_allows(&mut self, words: &[TokenTree]) {
        for (i, token) in words.iter().enumerate() {
            let TokenTree::Group(lints) = token else {
                continue;
            };
            let level = i.checked_sub(1).and_then(|before| ident(words.get(before)));
            let lowers = matches!(level.as_deref(), Some("allow" | "warn" | "expect"));
            if lowers && mentions(lints, "unsafe_code") {
                self.allows.push(line(token));
            }
            self.find_allows(&trees(lints));
        }
    }

    fn macro_definition(&mut self, name: String, body: &Group, exported: bool, line: usize) {
        if exported && mentions(body, "unsafe") {
            self.unsafe_exports.push((name.clone(), line));
        }
        // Arms: matcher => transcriber.
        let body = trees(body);
        let mut arm = 0;
        for i in 2..body.len() {
            let is_transcriber = is_punct(body.get(i - 1), '>') && is_punct(body.get(i - 2), '=');
            if let Some(transcriber) = any_group(body.get(i))
                && is_transcriber
            {
                let context = Context { in_macro: Some((name.clone(), arm)), ..Context::default() };
                self.walk(&trees(transcriber), &context);
                arm += 1;
            }
        }
        self.macros.push(name);
    }

    fn call(&mut self, name: String, arguments: &Group, line: usize, here: &Context) {
        if matches!(name.as_str(), "asm" | "naked_asm" | "global_asm") {
            self.site(Kind::Asm, line, here);
            if let Some(site) = self.sites.last_mut() {
                site.is_global_asm = name == "global_asm";
            }
        }
        self.calls.push(Call {
            name,
            line,
            in_macro: here.in_macro.as_ref().map(|(name, _)| name.clone()),
            repeated: here.repeated,
        });
        let mut context = here.clone();
        context.in_call = true;
        if arguments.delimiter() == Delimiter::Brace {
            context.starts.clear();
        }
        self.walk(&trees(arguments), &context);
    }
}

/// What the `unsafe` at `i` introduces; nothing when it is part of a function pointer type.
fn kind_of(tokens: &[TokenTree], i: usize, in_attribute: bool) -> Option<Kind> {
    let next = tokens.get(i + 1);
    if in_attribute && group(next, Delimiter::Parenthesis).is_some() {
        return Some(Kind::Attribute);
    }
    if group(next, Delimiter::Brace).is_some() {
        return Some(Kind::Block);
    }
    let is_abi = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Literal(_)));
    let is_type = |token| group(token, Delimiter::Parenthesis).is_some();
    match ident(next).as_deref() {
        Some("fn") => (!is_type(tokens.get(i + 2))).then_some(Kind::Fn),
        Some("extern") => {
            let i = if is_abi(tokens.get(i + 2)) { i + 3 } else { i + 2 };
            if group(tokens.get(i), Delimiter::Brace).is_some() {
                Some(Kind::Extern)
            } else {
                (!is_type(tokens.get(i + 1))).then_some(Kind::Fn)
            }
        }
        Some("impl") => Some(Kind::Impl),
        Some("trait" | "auto") => Some(Kind::Trait),
        _ => Some(Kind::Other),
    }
}

/// The attributes in front of an item; inner ones belong to what surrounds it.
fn attributes(tokens: &[TokenTree]) -> Vec<&Group> {
    let mut found = Vec::new();
    let mut i = 0;
    while let Some((content, after)) = attribute(tokens, i) {
        if !is_punct(tokens.get(i + 1), '!') {
            found.push(content);
        }
        i = after;
    }
    found
}

fn documents_safety(item: &[TokenTree]) -> bool {
    attributes(item).iter().any(|content| {
        let content = trees(content);
        let text = content.last().map(ToString::to_string);
        is_ident(content.first(), "doc") && text.is_some_and(|text| text.contains("# Safety"))
    })
}

/// Whether these tokens open an `impl`, and if so, whether that of a trait.
fn impl_header(tokens: &[TokenTree]) -> Option<bool> {
    let mut rest = tokens;
    while let Some((_, after)) = attribute(rest, 0) {
        rest = &rest[after..];
    }
    if is_ident(rest.first(), "unsafe") {
        rest = &rest[1..];
    }
    if !is_ident(rest.first(), "impl") {
        // Another item that has methods ends the reach of an outer `impl`.
        let starts_item = rest
            .iter()
            .any(|token| ["trait", "mod", "fn"].iter().any(|word| is_ident(Some(token), word)));
        return starts_item.then_some(false);
    }
    // `for<'a>` is a bound; `for Type` follows the trait.
    Some((1..rest.len()).any(|i| is_ident(rest.get(i), "for") && !is_punct(rest.get(i + 1), '<')))
}

// ---- Macros ----

/// The macros of the workspace by name: what one expansion holds, who calls them, and which of them
/// reach `unsafe`. Macros of the same name count as one.
struct Macros<'a> {
    scans: &'a [(&'a Source, Scan)],
    /// Macros with `unsafe` in their own body.
    own: BTreeSet<String>,
    /// Those, and all that call one of these.
    reaching: BTreeSet<String>,
}

impl<'a> Macros<'a> {
    fn gather(scans: &'a [(&'a Source, Scan)]) -> Self {
        let sites = scans.iter().flat_map(|(_, scan)| &scan.sites);
        let own: BTreeSet<String> =
            sites.filter_map(|site| Some(site.in_macro.as_ref()?.0.clone())).collect();
        let mut reaching = own.clone();
        loop {
            let callers: Vec<String> = Self::calls_in(scans)
                .filter(|(_, call)| reaching.contains(&call.name))
                .filter_map(|(_, call)| call.in_macro.clone())
                .filter(|caller| !reaching.contains(caller))
                .collect();
            if callers.is_empty() {
                break;
            }
            reaching.extend(callers);
        }
        Self { scans, own, reaching }
    }

    fn calls_in(scans: &'a [(&'a Source, Scan)]) -> impl Iterator<Item = (&'a str, &'a Call)> {
        scans
            .iter()
            .flat_map(|(source, scan)| scan.calls.iter().map(|call| (source.path.as_str(), call)))
    }

    /// What one expansion of the macro as defined in this file holds: of its arms, the largest
    /// number of each kind.
    fn weight_in(&self, name: &str, path: &str) -> Option<Counts> {
        if !self.own.contains(name) {
            return None;
        }
        let (_, scan) = self.scans.iter().find(|(source, _)| source.path == path)?;
        let mut arms: BTreeMap<usize, Counts> = BTreeMap::new();
        for site in &scan.sites {
            if let Some((of, arm)) = &site.in_macro
                && of == name
            {
                arms.entry(*arm).or_default().add(site.kind);
            }
        }
        let mut weight = Counts::default();
        for counts in arms.values() {
            for (largest, n) in weight.0.iter_mut().zip(counts.0) {
                *largest = n.max(*largest);
            }
        }
        Some(weight)
    }

    /// How often a macro is expanded; 0 for one that is on `path`, which [`Macros::check`] reports.
    fn expansions(&self, name: &str, path: &mut Vec<String>) -> usize {
        if path.iter().any(|above| above == name) {
            return 0;
        }
        path.push(name.to_owned());
        let mut sum = 0;
        for (_, call) in Self::calls_in(self.scans) {
            if call.name == name {
                sum += match &call.in_macro {
                    None => 1,
                    Some(caller) => self.expansions(caller, path),
                };
            }
        }
        path.pop();
        sum
    }

    /// Reports exported macros with `unsafe`, and those whose expansions cannot be counted.
    fn check(&self, errors: &mut Vec<String>) {
        for (source, scan) in self.scans {
            let path = &source.path;
            for (name, line) in &scan.unsafe_exports {
                errors
                    .push(format!("{path}:{line}: the exported macro `{name}` contains `unsafe`"));
            }
            for site in scan.sites.iter().filter(|site| site.repeated) {
                errors.push(format!(
                    "{path}:{}: `unsafe` in a repetition of a macro: expansions cannot be counted",
                    site.line
                ));
            }
            for call in &scan.calls {
                if call.repeated && self.reaching.contains(&call.name) {
                    errors.push(format!(
                        "{path}:{}: `{}!` reaches `unsafe` and is called in a repetition: \
                         expansions cannot be counted",
                        call.line, call.name
                    ));
                }
            }
            for (word, line) in &scan.words_in_macros {
                if self.reaching.contains(word) {
                    errors.push(format!(
                        "{path}:{line}: the macro `{word}` reaches `unsafe` and is passed by name: \
                         expansions cannot be counted"
                    ));
                }
            }
        }
        for name in &self.reaching {
            if self.calls_itself(name) {
                errors.push(format!(
                    "the macro `{name}` reaches `unsafe` and calls itself: expansions cannot be \
                     counted"
                ));
            }
        }
    }

    fn calls_itself(&self, name: &str) -> bool {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut open = vec![name];
        while let Some(caller) = open.pop() {
            for (_, call) in Self::calls_in(self.scans) {
                if call.in_macro.as_deref() == Some(caller) && self.reaching.contains(&call.name) {
                    if call.name == name {
                        return true;
                    }
                    if reached.insert(&call.name) {
                        open.push(&call.name);
                    }
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "//! Kernel.\n//!\n//! - **[compiled code]** is trusted.\n\
                        //! - **[mapped range]** is mapped.\n\n";

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    fn library(package: &str) -> Target {
        Target {
            package: package.to_owned(),
            name: package.replace('-', "_"),
            kind: "lib".to_owned(),
            path: format!("crates/{package}/src/lib.rs"),
        }
    }

    /// Audits a kernel with this content.
    fn kernel(text: &str) -> Report {
        let text = format!("{HEAD}{text}");
        audit(&[source("crates/vm/src/lib.rs", &text)], &[library("vm")])
    }

    /// Audits a kernel with this content; it must break exactly one rule, with this text in the
    /// message.
    fn breaks(text: &str, expected: &str) {
        let errors = kernel(text).errors;
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].contains(expected), "{errors:#?}");
    }

    fn holds(text: &str) -> Report {
        let report = kernel(text);
        assert!(report.errors.is_empty(), "{:#?}", report.errors);
        report
    }

    fn count(report: &Report, kind: Kind) -> usize {
        report.total(false).0[kind as usize]
    }

    #[test]
    fn a_cited_block_passes_and_is_counted() {
        let report = holds(
            "fn f() {\n    // SAFETY: `x` is in [mapped range], checked above;\n    \
             // and [compiled code] holds.\n    let x = unsafe { g() };\n}\n",
        );
        assert_eq!(count(&report, Kind::Block), 1);
        assert_eq!(report.invariants, ["compiled code", "mapped range"]);
        assert_eq!(report.files[0].cited.len(), 2);
    }

    #[test]
    fn a_block_without_comment_fails() {
        breaks("fn f() {\n    unsafe { g() }\n}\n", "without a `// SAFETY:`");
        breaks(
            "fn f() {\n    // SAFETY: [mapped range]\n    let x = 1;\n    unsafe { g() }\n}\n",
            "without a `// SAFETY:`",
        );
        breaks(
            "fn f() {\n    // safe, [mapped range]\n    unsafe { g() }\n}\n",
            "without a `// SAFETY:`",
        );
    }

    #[test]
    fn a_block_that_cites_nothing_fails() {
        breaks(
            "fn f() {\n    // SAFETY: it is fine.\n    unsafe { g() }\n}\n",
            "cites no named invariant",
        );
        breaks(
            "fn f() {\n    // SAFETY: see `[mapped range]` and NOTE [tier publication].\n    \
             unsafe { g() }\n}\n",
            "cites no named invariant",
        );
    }

    #[test]
    fn an_invariant_that_is_not_defined_fails() {
        breaks(
            "fn f() {\n    // SAFETY: [mapped range] and [good luck].\n    unsafe { g() }\n}\n",
            "[good luck] is no invariant",
        );
    }

    #[test]
    fn an_invariant_with_a_bad_name_or_defined_twice_fails() {
        let text = "//! - **[Upper]** x\n//! - **[a b]** y\n//! - **[a b]** z\n";
        let errors = audit(&[source("crates/vm/src/lib.rs", text)], &[]).errors;
        assert_eq!(errors.len(), 2, "{errors:#?}");
        assert!(errors[0].contains("lower case"));
        assert!(errors[1].contains("defined twice"));
    }

    #[test]
    fn the_comment_may_stand_above_the_statement_the_arm_or_the_argument() {
        let report = holds(
            "fn f() {\n    \
             // SAFETY: [mapped range]\n    let x = g(\n        1,\n        unsafe { h() },\n    );\n    \
             match x {\n        // SAFETY: [mapped range]\n        1 =>\n            unsafe { h() },\n        \
             _ => 0,\n    }\n    g(\n        1,\n        // SAFETY: [mapped range]\n        \
             unsafe { h() },\n    )\n}\n",
        );
        assert_eq!(count(&report, Kind::Block), 3);
    }

    #[test]
    fn a_comment_above_the_function_does_not_serve_its_blocks() {
        breaks(
            "// SAFETY: [mapped range]\nfn f() {\n    unsafe { g() }\n}\n",
            "without a `// SAFETY:`",
        );
    }

    #[test]
    fn blocks_in_the_arguments_of_a_macro_count() {
        breaks("fn f() {\n    assert!(unsafe { g() });\n}\n", "without a `// SAFETY:`");
        let report =
            holds("fn f() {\n    // SAFETY: [mapped range]\n    assert!(unsafe { g() });\n}\n");
        assert_eq!(count(&report, Kind::Block), 1);
    }

    #[test]
    fn the_word_in_comments_strings_and_types_is_no_site() {
        let report = holds(
            "/// unsafe { }\nfn f(a: unsafe fn(), b: unsafe extern \"C\" fn(u8)) {\n    \
             let s = \"unsafe { }\";\n    // unsafe { }\n}\n",
        );
        assert!(report.files.is_empty());
    }

    #[test]
    fn impl_trait_and_extern_need_a_comment_too() {
        for (item, kind) in [
            ("unsafe impl Send for X {}", Kind::Impl),
            ("unsafe trait T {}", Kind::Trait),
            ("unsafe extern \"C\" { fn f(); }", Kind::Extern),
            ("global_asm!(\"nop\");", Kind::Asm),
        ] {
            breaks(item, "without a `// SAFETY:`");
            breaks(&format!("// SAFETY: yes\n{item}"), "cites no named");
            let report = holds(&format!("// SAFETY: [mapped range]\n#[allow(dead_code)]\n{item}"));
            assert_eq!(count(&report, kind), 1);
        }
    }

    #[test]
    fn a_comment_after_the_documentation_serves() {
        holds("/// X.\n// SAFETY: [mapped range]\nunsafe impl Send for X {}\n");
        holds("// SAFETY: [mapped range]\n/// X.\nunsafe impl Send for X {}\n");
    }

    #[test]
    fn an_unsafe_fn_needs_a_safety_section() {
        breaks("/// F.\nunsafe fn f() {}\n", "without a `# Safety` section");
        breaks("pub(crate) unsafe extern \"C\" fn f() {}\n", "without a `# Safety` section");
        let report = holds("/// F.\n///\n/// # Safety\n///\n/// - x\npub unsafe fn f() {}\n");
        assert_eq!(count(&report, Kind::Fn), 1);
    }

    #[test]
    fn the_safety_section_of_one_fn_does_not_serve_the_next() {
        breaks(
            "impl X {\n    /// # Safety\n    unsafe fn f() {}\n    unsafe fn g() {}\n}\n",
            "without a `# Safety` section",
        );
    }

    #[test]
    fn the_safety_section_of_a_module_does_not_serve_its_first_fn() {
        breaks(
            "mod m {\n    //! # Safety\n    unsafe fn f() {}\n}\n",
            "without a `# Safety` section",
        );
    }

    #[test]
    fn methods_of_a_trait_implementation_have_their_duties_at_the_trait() {
        let trait_impl =
            "impl<E, F: for<'a> Fn(&'a u8)> T for X<E, F> {\n    unsafe fn f() {}\n}\n";
        assert_eq!(count(&holds(trait_impl), Kind::Fn), 1);
        breaks(
            "impl<F: for<'a> Fn(&'a u8)> X<F> {\n    unsafe fn f() {}\n}\n",
            "without a `# Safety` section",
        );
    }

    #[test]
    fn an_unsafe_attribute_needs_a_reason() {
        breaks("#[unsafe(naked)]\nfn f() {}\n", "unsafe attribute without");
        holds("// SAFETY: [compiled code]\n#[unsafe(naked)]\nfn f() {}\n");
        let report = holds(
            "/// F.\n///\n/// # Safety\n/// - x\n#[unsafe(naked)]\n\
             unsafe extern \"C\" fn f() { naked_asm!(\"ret\") }\n",
        );
        assert_eq!(count(&report, Kind::Attribute), 1);
        assert_eq!(count(&report, Kind::Asm), 1);
        assert_eq!(count(&report, Kind::Fn), 1);
    }

    #[test]
    fn unsafe_outside_its_room_fails() {
        for text in [
            "// SAFETY: [mapped range]\nfn f() { unsafe { g() } }\n",
            "/// # Safety\nunsafe fn f() {}\n",
            "fn f() { asm!(\"nop\") }\n",
            "#[unsafe(no_mangle)]\nfn f() {}\n",
            "macro_rules! m { () => { unsafe { g() } } }\n",
        ] {
            let other = format!("#![forbid(unsafe_code)]\n{text}");
            let sources =
                [source("crates/vm/src/lib.rs", HEAD), source("crates/wasi/src/lib.rs", &other)];
            let errors = audit(&sources, &[library("wasi")]).errors;
            assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
            assert!(errors[0].contains("outside its room"), "{errors:#?}");
        }
    }

    #[test]
    fn guest_programs_are_not_audited() {
        let sources = [
            source("crates/vm/src/lib.rs", HEAD),
            source("tests/programs/a.rs", "fn main() { unsafe { g() } }"),
        ];
        let report = audit(&sources, &[]);
        assert!(report.errors.is_empty(), "{:#?}", report.errors);
        assert_eq!(report.guest_sources, 1);
    }

    #[test]
    fn a_crate_that_does_not_forbid_fails() {
        let kernel = || source("crates/vm/src/lib.rs", HEAD);
        for (text, errors) in [
            ("#![forbid(unsafe_code)]\n", 0),
            ("//! X.\n#![warn(missing_docs)]\n#![forbid(unsafe_code)]\n", 0),
            ("//! X.\n", 1),
            ("#![deny(unsafe_code)]\n", 1),
            ("// #![forbid(unsafe_code)]\n", 1),
        ] {
            let sources = [kernel(), source("crates/wasi/src/lib.rs", text)];
            let report = audit(&sources, &[library("vm"), library("wasi")]);
            assert_eq!(report.errors.len(), errors, "{text}: {:#?}", report.errors);
        }
    }

    #[test]
    fn allowing_the_lint_fails_anywhere() {
        breaks("#![allow(unsafe_code)]\n", "is allowed");
        breaks("#[cfg_attr(test, allow(dead_code, unsafe_code))]\nfn f() {}\n", "is allowed");
        breaks("#[expect(unsafe_code, reason = \"x\")]\nfn f() {}\n", "is allowed");
        let manifest = source("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"allow\"\n");
        let errors = audit(&[source("crates/vm/src/lib.rs", HEAD), manifest], &[]).errors;
        assert_eq!(errors.len(), 1, "{errors:#?}");
    }

    #[test]
    fn an_exported_macro_with_unsafe_fails() {
        breaks(
            "#[macro_export]\nmacro_rules! m {\n    () => {\n        // SAFETY: [mapped range]\n        \
             unsafe { g() }\n    };\n}\n",
            "exported macro `m` contains `unsafe`",
        );
    }

    /// A macro with two blocks in one arm and one in the other.
    const TWO: &str = "macro_rules! two {\n    () => {\n        // SAFETY: [mapped range]\n        \
                       unsafe { g() };\n        // SAFETY: [mapped range]\n        unsafe { h() }\n    \
                       };\n    (a) => {\n        // SAFETY: [mapped range]\n        unsafe { g() }\n    \
                       };\n}\n";

    #[test]
    fn a_block_in_a_macro_counts_once_per_expansion() {
        let report = holds(&format!("{TWO}fn f() {{ two!(); two!(a); two![] }}\n"));
        assert_eq!(count(&report, Kind::Block), 6);
        assert_eq!(report.files[0].counts.blocks(), 0);
        assert_eq!(report.files[0].from_macros.blocks(), 6);
    }

    #[test]
    fn a_block_reached_through_other_macros_counts_once_per_expansion() {
        let wrapper = "macro_rules! four { () => { two!(); two!() } }\n";
        let report = holds(&format!("{TWO}{wrapper}fn f() {{ four!(); four!(); two!() }}\n"));
        assert_eq!(count(&report, Kind::Block), 10);
    }

    #[test]
    fn a_block_in_a_macro_needs_its_comment() {
        breaks(
            "macro_rules! m { () => { unsafe { g() } } }\nfn f() { m!() }\n",
            "without a `// SAFETY:`",
        );
    }

    #[test]
    fn expansions_that_cannot_be_counted_fail() {
        breaks(
            "macro_rules! m {\n    ($($x:ident)*) => {\n        $(\n            \
             // SAFETY: [mapped range]\n            unsafe { $x() }\n        )*\n    };\n}\n",
            "in a repetition",
        );
        breaks(
            &format!("{TWO}macro_rules! m {{ ($($x:ident)*) => {{ $( $x(two!()); )* }} }}\n"),
            "called in a repetition",
        );
        breaks(&format!("{TWO}for_each! {{ two }}\n"), "passed by name");
        breaks(
            "macro_rules! m {\n    () => {};\n    ($x:tt $($y:tt)*) => {\n        \
             // SAFETY: [mapped range]\n        unsafe { g() };\n        m!($($y)*)\n    };\n}\n",
            "calls itself",
        );
    }

    #[test]
    fn more_blocks_than_the_budget_fail() {
        let block = "    // SAFETY: [mapped range]\n    unsafe { g() };\n";
        holds(&format!("fn f() {{\n{}}}\n", block.repeat(BUDGET)));
        breaks(&format!("fn f() {{\n{}}}\n", block.repeat(BUDGET + 1)), "more than the budget");
    }

    #[test]
    fn blocks_of_tests_are_audited_and_not_counted_against_the_budget() {
        let block = "    // SAFETY: [mapped range]\n    unsafe { g() };\n";
        let test = format!("fn f() {{\n{}}}\n", block.repeat(BUDGET + 1));
        let kernel = source("crates/vm/src/lib.rs", HEAD);
        let report = audit(&[kernel, source("crates/vm/tests/a.rs", &test)], &[]);
        assert!(report.errors.is_empty(), "{:#?}", report.errors);
        assert_eq!(report.total(true).blocks(), BUDGET + 1);
        let kernel = source("crates/vm/src/lib.rs", HEAD);
        let bare = source("crates/vm/tests/a.rs", "fn f() { unsafe { g() } }");
        assert_eq!(audit(&[kernel, bare], &[]).errors.len(), 1);
    }

    #[test]
    fn a_file_that_is_not_rust_fails() {
        let report = audit(
            &[source("crates/vm/src/lib.rs", HEAD), source("crates/vm/src/a.rs", "fn f() { ")],
            &[],
        );
        assert_eq!(report.errors.len(), 1, "{:#?}", report.errors);
    }
}

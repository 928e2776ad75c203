//! The compatibility key: everything that must be the same where code is made and where it runs.
//!
//! It is a list of lines `name=value`, so that an engine which refuses an artifact can say what
//! differs, and whoever looks into the file can see what it was made for. Names are those that users
//! know from switches and `Config`. Lists are converted by hand: a setting that is added does not
//! compile until it is listed here.
//!
//! Invariant: two engines have equal keys only if each may run the other's code.

use super::{ArtifactError, VERSION, malformed};
use std::fmt::{Display, Write};
use std::sync::LazyLock;
use wardian_module::abi;
use wardian_module::layout::{
    CODE_PAGE, GLOBAL_SIZE, LIVE_SLOT, Linkage, ModuleTable, Owner, VmLayout,
};
use wardian_module::{Builtin, DefinedFuncIndex, OptLevel, Proposal, Settings, Trap, TypeIndex};

/// What code was made by and for. The content of an artifact's key section; also fit to be part of
/// the key of a cache.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Compatibility(String);

// Names of lines that are no settings.
const ENGINE: &str = "engine";
const FORMAT: &str = "format";
const INTERFACE: &str = "interface";
const CPU: &str = "cpu";

/// How many differences a message lists.
const LISTED: usize = 3;

impl Compatibility {
    /// The key of code that this version makes under `settings` for the processor that `isa` names:
    /// the architecture, then, in any order, each feature that code may use, separated by white space.
    pub fn new(settings: &Settings, isa: &str) -> Compatibility {
        Compatibility::of_version(env!("CARGO_PKG_VERSION"), settings, isa)
    }

    /// The same key with a version that the embedder chose; one without line breaks.
    #[must_use]
    pub fn with_module_version(mut self, version: &str) -> Compatibility {
        self.line("module-version", version);
        self
    }

    /// The key as bytes, the same on every machine.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn of_version(version: &str, settings: &Settings, isa: &str) -> Compatibility {
        let Settings {
            proposals,
            signals_based_traps,
            memory_reservation,
            memory_guard_size,
            guard_before_linear_memory: _,
            memory_may_move,
            memory_reservation_for_growth: _,
            memory_init_cow: _,
            spectre_mitigation,
            relaxed_simd_deterministic,
            nan_canonicalization,
            inlining,
            epoch_interruption,
            consume_fuel,
            operator_cost,
            opt_level,
            verifier,
        } = settings;
        let opt_level = match opt_level {
            OptLevel::None => "none",
            OptLevel::Speed => "speed",
            OptLevel::SpeedAndSize => "speed-and-size",
        };
        let mut words = isa.split_whitespace();
        let architecture = words.next().unwrap_or_default();
        let mut features: Vec<&str> = words.collect();
        features.sort_unstable();
        features.insert(0, architecture);

        let mut key = Compatibility(String::new());
        key.line(ENGINE, version);
        key.line(FORMAT, VERSION);
        key.line(INTERFACE, &*INTERFACE_DIGEST);
        key.line(CPU, features.join(" "));
        key.line("signals-based-traps", on(*signals_based_traps));
        key.line("memory-reservation", memory_reservation);
        key.line("memory-guard-size", memory_guard_size);
        key.line("memory-may-move", on(*memory_may_move));
        key.line("spectre-mitigation", on(*spectre_mitigation));
        key.line("relaxed-simd-deterministic", on(*relaxed_simd_deterministic));
        key.line("nan-canonicalization", on(*nan_canonicalization));
        key.line("inlining", on(*inlining));
        key.line("epoch-interruption", on(*epoch_interruption));
        key.line("consume-fuel", on(*consume_fuel));
        key.line("operator-cost", operator_cost.differences().trim_end());
        key.line("opt-level", opt_level);
        key.line("verifier", on(*verifier));
        for &proposal in Proposal::ALL {
            key.line(proposal.flag(), on(proposals.contains(proposal)));
        }
        key
    }

    fn line(&mut self, name: &str, value: impl Display) {
        writeln!(self.0, "{name}={value}").expect("writing to a string does not fail");
    }

    /// Accepts the key of an artifact if it equals this one, else says what differs.
    pub(super) fn check(&self, found: &[u8]) -> Result<(), ArtifactError> {
        let same = || found == self.as_bytes() || self.for_cpu_of(found).as_deref() == Some(found);
        if same() { Ok(()) } else { Err(self.difference(found)) }
    }

    /// This key for the processor that another names, if this one can do all that one can. Without compilers
    /// only: code that is made here has one list of features, and that is this key's.
    fn for_cpu_of(&self, found: &[u8]) -> Option<Vec<u8>> {
        let is_cpu = |line: &&str| line.split_once('=').is_some_and(|(name, _)| name == CPU);
        let theirs = std::str::from_utf8(found).ok()?.split('\n').find(is_cpu)?;
        if !crate::compilers::can_run(&theirs[CPU.len() + 1..]) {
            return None;
        }
        let lines = self.0.split('\n').map(|line| if is_cpu(&line) { theirs } else { line });
        Some(lines.collect::<Vec<_>>().join("\n").into_bytes())
    }

    #[cold]
    fn difference(&self, found: &[u8]) -> ArtifactError {
        let lines: Option<Vec<_>> = std::str::from_utf8(found)
            .ok()
            .and_then(|text| text.lines().map(|line| line.split_once('=')).collect());
        let Some(theirs) = lines else {
            return malformed("compatibility key that is not a list of names and values".into());
        };
        let ours: Vec<_> = self.0.lines().filter_map(|line| line.split_once('=')).collect();
        let mut differences = Vec::new();
        let mut cpus = None;
        for &(name, our) in &ours {
            match theirs.iter().find(|(n, _)| *n == name) {
                Some(&(_, their)) if their == our => {}
                Some(&(_, their)) if name == CPU => cpus = Some((their, our)),
                Some(&(_, their)) => describe(name, their, our, &mut differences),
                None => differences.push(format!("made without a value of {name}")),
            }
            // What another version says of the rest may mean something else.
            if [ENGINE, FORMAT, INTERFACE].contains(&name) && !differences.is_empty() {
                return ArtifactError::Compatibility(differences.swap_remove(0));
            }
        }
        for (name, value) in theirs {
            if !ours.iter().any(|(n, _)| *n == name) {
                let (name, value) = (name.escape_debug(), value.escape_debug());
                differences.push(format!("made with {name} {value}, unknown to this engine"));
            }
        }
        if let Some((their, our)) = cpus {
            describe_cpu(their, our, &mut differences);
        }
        let more = differences.len().saturating_sub(LISTED);
        differences.truncate(LISTED);
        if more > 0 {
            differences.push(format!("and {more} more differences"));
        }
        if differences.is_empty() {
            return malformed("compatibility key with lines out of order".into());
        }
        ArtifactError::Compatibility(differences.join("; "))
    }
}

/// Adds how `theirs`, the value that an artifact has under `name`, differs from `ours`.
fn describe(name: &str, theirs: &str, ours: &str, differences: &mut Vec<String>) {
    // What the host vouched for without looking may hold anything, and goes to a terminal.
    let (shown, name_shown) = (theirs.escape_debug(), name.escape_debug());
    match name {
        ENGINE => differences.push(format!("made by wardian {shown}, this is wardian {ours}")),
        INTERFACE => {
            differences.push("made by another build of wardian, from other sources".into())
        }
        _ if ["on", "off"].contains(&ours) => {
            differences.push(format!("made with {name_shown} {shown}, this engine has it {ours}"))
        }
        _ => differences.push(format!("made with {name_shown} {shown}, this engine has {ours}")),
    }
}

/// Adds what the processors differ in. The code generator's own settings, which the key lists with the features,
/// follow from those of the engine: they are named if nothing else was.
fn describe_cpu(theirs: &str, ours: &str, differences: &mut Vec<String>) {
    // Features that code may use, and all other words.
    let split = |cpu: &str| -> (String, Vec<String>, Vec<String>) {
        let mut words = cpu.split_whitespace().map(|word| word.escape_debug().to_string());
        let architecture = words.next().unwrap_or_default();
        let (features, rest): (Vec<_>, Vec<_>) =
            words.partition(|word| !word.contains('=') || word.starts_with("has_"));
        let has = |word: String| match word.strip_prefix("has_") {
            Some(feature) => feature.strip_suffix("=1").map(str::to_owned),
            None => Some(word),
        };
        (architecture, features.into_iter().filter_map(has).collect(), rest)
    };
    let (their_arch, theirs, their_rest) = split(theirs);
    let (our_arch, ours, our_rest) = split(ours);
    if their_arch != our_arch {
        differences.push(format!("made for {their_arch}, this engine compiles for {our_arch}"));
        return;
    }
    let missing = |from: &[String], of: &[String]| {
        of.iter().filter(|word| !from.contains(word)).cloned().collect::<Vec<_>>().join(" ")
    };
    let (lacking, surplus) = (missing(&ours, &theirs), missing(&theirs, &ours));
    if !lacking.is_empty() {
        differences
            .push(format!("made for CPU features {lacking}, which this engine's target lacks"));
    }
    if !surplus.is_empty() {
        differences
            .push(format!("made for a CPU without {surplus}, which this engine's target has"));
    }
    if differences.is_empty() {
        differences.push(match missing(&our_rest, &their_rest) {
            rest if rest.is_empty() => {
                "made for a CPU whose features are listed in another way".into()
            }
            rest => format!("made by a code generator with {rest}"),
        });
    }
}

fn on(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

static INTERFACE_DIGEST: LazyLock<String> = LazyLock::new(interface);

/// A digest of what code and host agree on, as far as it can be listed, and of the sources where the
/// build script found them: it sets apart builds of one version, as happens while it is developed.
fn interface() -> String {
    let mut list = String::new();
    let mut add = |what: &dyn std::fmt::Debug| {
        writeln!(list, "{what:?}").expect("writing to a string does not fail");
    };
    for builtin in Builtin::ALL {
        add(&(builtin, builtin.params(), builtin.result()));
    }
    for trap in Trap::ALL {
        add(&(trap.code(), trap));
    }
    add(&(abi::INT_ARGS, abi::VECTOR_ARGS, abi::INT_RESULTS, abi::VECTOR_RESULTS));
    add(&(CODE_PAGE, GLOBAL_SIZE, VmLayout::ALIGN, Owner::INSTANCE, Owner::HOST));
    add(&(
        [
            ModuleTable::BUILTIN_SHIM,
            ModuleTable::COPY_ROUTINE,
            ModuleTable::FILL_ROUTINE,
            ModuleTable::FILL_ELEMENTS_ROUTINE,
        ],
        ModuleTable::type_id(TypeIndex::from(1)),
        ModuleTable::size(0, 0, Linkage::Direct),
        ModuleTable::slot(1, DefinedFuncIndex(1)),
        ModuleTable::counter(1, 1, DefinedFuncIndex(1)),
        LIVE_SLOT,
    ));
    add(&env!("WARDIAN_SOURCES"));
    blake3::hash(list.as_bytes()).to_hex()[..16].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &Compatibility, expected: &str) {
        let ours = Compatibility::new(&Settings::default(), "x86_64 a b c");
        let error = ours.check(found.as_bytes()).unwrap_err();
        assert_eq!(error, ArtifactError::Compatibility(expected.into()));
    }

    #[test]
    fn order_of_cpu_features_does_not_matter() {
        let key = |isa| Compatibility::new(&Settings::default(), isa);
        assert_eq!(key("x86_64 a b c"), key(" x86_64\tc  b\na "));
        assert_ne!(key("x86_64 a b c"), key("x86_64 a b"));
    }

    #[test]
    fn another_version_is_the_only_difference_named() {
        let settings = Settings { signals_based_traps: false, ..Settings::default() };
        let found = Compatibility::of_version("0.0.9", &settings, "aarch64");
        let expected =
            concat!("made by wardian 0.0.9, this is wardian ", env!("CARGO_PKG_VERSION"),);
        check(&found, expected);
    }

    #[test]
    fn lines_that_one_side_lacks_are_named() {
        let ours = Compatibility::new(&Settings::default(), "x86_64 a b c");
        let mut more = ours.clone();
        more.line("new-thing", "o\u{1b}n");
        check(&more, "made with new-thing o\\u{1b}n, unknown to this engine");
        let less = Compatibility(ours.0.replace("nan-canonicalization=off\n", ""));
        check(&less, "made without a value of nan-canonicalization");
    }

    #[test]
    fn what_processors_differ_in_is_named_without_what_follows_from_settings() {
        let key = |isa: &str, opt_level| {
            Compatibility::new(&Settings { opt_level, ..Settings::default() }, isa)
        };
        let ours = key("gen 1 has_a=1 has_b=0 has_c=1 level=speed", OptLevel::Speed);
        for (theirs, level, expected) in [
            (
                "gen 1 has_a=1 has_b=1 has_c=0 level=speed",
                OptLevel::Speed,
                "made for CPU features b, which this engine's target lacks; \
                 made for a CPU without c, which this engine's target has",
            ),
            (
                "gen 1 has_a=1 has_b=0 has_c=1 level=none",
                OptLevel::None,
                "made with opt-level none, this engine has speed",
            ),
            (
                "gen 1 has_a=1 has_b=0 has_c=1 level=none",
                OptLevel::Speed,
                "made by a code generator with level=none",
            ),
            (
                "other 1 has_a=1",
                OptLevel::None,
                "made with opt-level none, this engine has speed; \
                 made for other, this engine compiles for gen",
            ),
        ] {
            let error = ours.check(key(theirs, level).as_bytes()).unwrap_err();
            assert_eq!(error, ArtifactError::Compatibility(expected.into()), "{theirs}");
        }
    }

    #[test]
    fn long_lists_of_differences_are_cut() {
        let settings = Settings {
            signals_based_traps: false,
            memory_reservation: 0,
            memory_guard_size: 1,
            memory_may_move: false,
            spectre_mitigation: false,
            ..Settings::default()
        };
        check(
            &Compatibility::new(&settings, "x86_64 a b c"),
            "made with signals-based-traps off, this engine has it on; \
             made with memory-reservation 0, this engine has 4294967296; \
             made with memory-guard-size 1, this engine has 33554432; \
             and 2 more differences",
        );
    }

    #[test]
    fn broken_keys_are_malformed() {
        let ours = Compatibility::new(&Settings::default(), "x86_64");
        let swapped: Vec<_> = ours.0.lines().rev().collect();
        for found in [b"\xff".as_slice(), b"no value", swapped.join("\n").as_bytes()] {
            assert!(matches!(ours.check(found), Err(ArtifactError::Malformed(_))));
        }
    }
}

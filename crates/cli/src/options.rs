//! The options behind `-W`, `-O`, `-C` and `-D`: lists of `key=value`, separated by commas.
//!
//! Every key stands once, in [`KEYS`] (proposals come from [`Proposal::ALL`]); parser, error texts and
//! `-W help` read that list. Options act from left to right, so `-W all-proposals=y,simd=n` means what
//! it says.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use wardian::{Cache, CacheConfig, Config, OptLevel, Proposal, Strategy, TargetCpu, TierUp};

/// What all options together choose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Choices of the engine.
    pub config: Config,
    /// Bytes that each memory may grow to.
    pub max_memory_size: Option<usize>,
    /// Elements that each table may grow to.
    pub max_table_elements: Option<usize>,
    /// Whether imports that nobody provides become functions that trap.
    pub unknown_imports_trap: bool,
    /// Whether imports that nobody provides become functions that return zeros and nulls.
    pub unknown_imports_default: bool,
    /// Whether a growth that a limit refuses traps instead of giving -1.
    pub trap_on_grow_failure: bool,
    /// How long the program may run.
    pub timeout: Option<Duration>,
    /// Bytes that memories, tables and buffers may take together.
    pub budget: Option<u64>,
    /// Where a core dump goes if the program traps.
    pub coredump: Option<PathBuf>,
    /// What the program may spend, by instructions.
    pub fuel: Option<u64>,
    /// Whether the program may start threads.
    pub threads: bool,
    /// How many.
    pub max_threads: Option<u32>,
    /// Bytes of stack that wasm code may use, if that was said.
    pub max_wasm_stack: Option<usize>,
    /// Whether compiled code is kept for the next run; programs decide if nothing was said.
    pub cache: Option<bool>,
    /// Where, and how much of it.
    pub cache_config: CacheConfig,
}

impl Choices {
    /// The cache that the options choose; `None` if it is off, or if nobody asked for one and there is
    /// no place for it.
    ///
    /// # Errors
    ///
    /// When one was asked for and there is no place for it.
    pub fn cache(&self) -> wardian::Result<Option<Cache>> {
        match (self.cache, Cache::new(&self.cache_config)) {
            (Some(false), _) => Ok(None),
            (None, Err(error)) => {
                tracing::debug!(%error, "no code cache");
                Ok(None)
            }
            (_, cache) => cache.map(Some),
        }
    }
}

/// The option letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// `-W`: proposals and limits.
    Wasm,
    /// `-O`: speed of the code.
    Optimize,
    /// `-C`: the compiler.
    Codegen,
    /// `-D`: seeing inside.
    Debug,
    /// `-S`: what the system offers the program.
    System,
}

impl Group {
    /// All of them.
    #[cfg(test)]
    const ALL: [Group; 5] =
        [Group::Wasm, Group::Optimize, Group::Codegen, Group::Debug, Group::System];

    /// The option as it is written.
    pub fn flag(self) -> &'static str {
        match self {
            Group::Wasm => "-W",
            Group::Optimize => "-O",
            Group::Codegen => "-C",
            Group::Debug => "-D",
            Group::System => "-S",
        }
    }
}

struct Key {
    group: Group,
    name: &'static str,
    values: &'static str,
    help: &'static str,
    set: fn(&mut Choices, &str) -> Result<(), String>,
}

macro_rules! keys {
    ($($group:ident $name:literal = $values:literal, $help:literal, $set:expr;)*) => {
        const KEYS: &[Key] = &[$(Key {
            group: Group::$group,
            name: $name,
            values: $values,
            help: $help,
            set: $set,
        }),*];
    };
}

keys! {
    Wasm "all-proposals" = "y|n", "every proposal that this version can run, or none", |c, v| {
        c.config.wasm_all_proposals(switch(v)?);
        Ok(())
    };
    Wasm "relaxed-simd-deterministic" = "y|n", "relaxed vector operations give the same results everywhere", |c, v| {
        c.config.relaxed_simd_deterministic(switch(v)?);
        Ok(())
    };
    Wasm "nan-canonicalization" = "y|n", "every computed NaN is the canonical one", |c, v| {
        c.config.cranelift_nan_canonicalization(switch(v)?);
        Ok(())
    };
    Wasm "max-wasm-stack" = "BYTES", "stack that wasm code may use", |c, v| {
        c.max_wasm_stack = Some(size(v)?);
        c.config.max_wasm_stack(size(v)?);
        Ok(())
    };
    Wasm "max-memory-size" = "BYTES", "what each memory may grow to", |c, v| {
        c.max_memory_size = Some(size(v)?);
        Ok(())
    };
    Wasm "gc-heap-reservation" = "BYTES", "what the heap of structs, arrays and host values may grow to", |c, v| {
        c.config.gc_heap_reservation(size(v)? as u64);
        Ok(())
    };
    Optimize "gc-nursery-size" = "BYTES", "the part of that heap in which new objects begin", |c, v| {
        c.config.gc_nursery_size(u32::try_from(size(v)?).map_err(|_| "too large".to_string())?);
        Ok(())
    };
    Wasm "max-table-elements" = "COUNT", "what each table may grow to", |c, v| {
        c.max_table_elements = Some(size(v)?);
        Ok(())
    };
    Wasm "budget" = "BYTES", "what memories, tables and the buffers of system calls may take together", |c, v| {
        c.budget = Some(size(v)? as u64);
        Ok(())
    };
    Wasm "trap-on-grow-failure" = "y|n", "a growth that a limit refuses traps instead of giving -1", |c, v| {
        c.trap_on_grow_failure = switch(v)?;
        Ok(())
    };
    Wasm "unknown-imports-trap" = "y|n", "imports that nobody provides trap when called", |c, v| {
        c.unknown_imports_trap = switch(v)?;
        Ok(())
    };
    Wasm "unknown-imports-default" = "y|n", "imports that nobody provides return zeros and nulls", |c, v| {
        c.unknown_imports_default = switch(v)?;
        Ok(())
    };
    Wasm "timeout" = "TIME", "how long the program may run: 1s, 500ms (includes epoch-interruption)", |c, v| {
        c.timeout = Some(time(v)?);
        c.config.epoch_interruption(true);
        Ok(())
    };
    Wasm "fuel" = "COUNT", "how many instructions the program may run; copying and filling count by size", |c, v| {
        c.fuel = Some(size(v)? as u64);
        c.config.consume_fuel(true);
        Ok(())
    };
    Wasm "epoch-interruption" = "y|n", "code can be interrupted, as `timeout` needs it", |c, v| {
        c.config.epoch_interruption(switch(v)?);
        Ok(())
    };
    Optimize "opt-level" = "0|1|2|s", "compile fast, make fast code, or fast and small code", |c, v| {
        c.config.cranelift_opt_level(match v {
            "0" => OptLevel::None,
            "1" | "2" => OptLevel::Speed,
            "s" => OptLevel::SpeedAndSize,
            _ => return Err("expected 0, 1, 2 or s".into()),
        });
        Ok(())
    };
    Optimize "memory-reservation" = "BYTES", "address space reserved for each memory", |c, v| {
        c.config.memory_reservation(size(v)? as u64);
        Ok(())
    };
    Optimize "memory-guard-size" = "BYTES", "inaccessible address space after it", |c, v| {
        c.config.memory_guard_size(size(v)? as u64);
        Ok(())
    };
    Optimize "memory-may-move" = "y|n", "a memory that outgrows its reservation is moved", |c, v| {
        c.config.memory_may_move(switch(v)?);
        Ok(())
    };
    Optimize "signals-based-traps" = "y|n", "faults of the processor detect traps", |c, v| {
        c.config.signals_based_traps(switch(v)?);
        Ok(())
    };
    Optimize "spectre-mitigation" = "y|n", "checked accesses are masked against speculation", |c, v| {
        c.config.spectre_mitigation(switch(v)?);
        Ok(())
    };
    Codegen "strategy" = "auto|tiered|optimizing|baseline", "which compilers make code, and when", |c, v| {
        c.config.strategy(match v {
            "auto" => Strategy::Auto,
            "tiered" => Strategy::Tiered,
            "optimizing" | "cranelift" => Strategy::Optimizing,
            "baseline" => Strategy::Baseline,
            _ => return Err("expected auto, tiered, optimizing or baseline".into()),
        });
        Ok(())
    };
    Codegen "compiler" = "auto|cranelift|baseline", "the same by other engines' names", |c, v| {
        c.config.strategy(match v {
            "auto" => Strategy::Auto,
            "cranelift" => Strategy::Optimizing,
            "baseline" => Strategy::Baseline,
            _ => return Err("expected auto, cranelift or baseline".into()),
        });
        Ok(())
    };
    Codegen "tier-up" = "background|never|COUNT", "who optimizes hot functions; COUNT: at once, after so many entries and turns of loops", |c, v| {
        c.config.tier_up(match v {
            "background" => TierUp::Background,
            "never" => TierUp::Never,
            count => match count.parse() {
                Ok(count) if count > 0 => TierUp::Synchronous(count),
                _ => return Err("expected background, never or a count of 1 or more".into()),
            },
        });
        Ok(())
    };
    Codegen "lazy-validation" = "y|n", "validate functions when they are first called", |c, v| {
        c.config.lazy_validation(switch(v)?);
        Ok(())
    };
    Codegen "cache" = "y|n", "`run` keeps optimized code for the next run (y by default)", |c, v| {
        c.cache = Some(switch(v)?);
        Ok(())
    };
    Codegen "cache-dir" = "FOLDER", "where, instead of the user's folder", |c, v| {
        let folder = std::path::absolute(v).map_err(|error| format!("expected a folder: {error}"))?;
        c.cache_config.with_directory(folder);
        Ok(())
    };
    Codegen "cache-size" = "BYTES", "how much; what was not used for longest goes first", |c, v| {
        c.cache_config.with_files_total_size_soft_limit(size(v)? as u64);
        Ok(())
    };
    Codegen "parallel-compilation" = "y|n", "compile on several threads", |c, v| {
        c.config.parallel_compilation(switch(v)?);
        Ok(())
    };
    Codegen "cranelift-debug-verifier" = "y|n", "check the compiler's intermediate code", |c, v| {
        c.config.cranelift_debug_verifier(switch(v)?);
        Ok(())
    };
    Codegen "cpu" = "NAME", "native, baseline, or a processor such as x86-64-v3", |c, v| {
        if v.is_empty() {
            return Err("expected the name of a processor".into());
        }
        c.config.target_cpu(TargetCpu::from_name(v));
        Ok(())
    };
    Debug "coredump" = "FILE", "if the program traps, `run` writes there what it held, as a wasm core dump", |c, v| {
        if v.is_empty() {
            return Err("expected a file".into());
        }
        if v.contains('%') {
            return Err("patterns such as %p are not supported: expected the name of a file".into());
        }
        c.coredump = Some(v.into());
        c.config.coredump_on_trap(true);
        Ok(())
    };
    System "threads" = "y|n", "`run` gives the program `wasi::thread-spawn` (wasi-threads), and the shared memory it imports", |c, v| {
        c.threads = switch(v)?;
        Ok(())
    };
    System "max-threads" = "COUNT", "how many it may have at once beside its own (256 by default)", |c, v| {
        c.max_threads = Some(u32::try_from(size(v)?).map_err(|_| format!("expected a number of threads, found `{v}`"))?);
        Ok(())
    };
    Debug "gc-zeal" = "COUNT", "collect at each allocation of so many, to find mistakes: 1 is every one", |c, v| {
        let count = v.parse().map_err(|_| format!("expected a number above 0, found `{v}`"))?;
        c.config.gc_zeal_alloc_counter(Some(count)).map_err(|error| error.to_string())?;
        Ok(())
    };
    Debug "debug-info" = "y|n", "debuggers (gdb, LLDB) know functions by name and stop in them", |c, v| {
        c.config.debug_info(switch(v)?);
        Ok(())
    };
}

/// Applies one option's list.
///
/// # Errors
///
/// A text for the user, that names the option, what was expected and what was found.
pub fn apply(choices: &mut Choices, group: Group, list: &str) -> Result<(), String> {
    for item in list.split(',').filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').unwrap_or((item, "y"));
        // Underscores serve as well: `memory_may_move` is how the API spells it.
        let name = name.trim().replace('_', "-");
        set(choices, group, &name, value.trim())
            .map_err(|message| format!("`{} {item}`: {message}", group.flag()))?;
    }
    Ok(())
}

fn set(choices: &mut Choices, group: Group, name: &str, value: &str) -> Result<(), String> {
    if group == Group::Wasm
        && let Some(&proposal) = Proposal::ALL.iter().find(|p| p.flag() == name)
    {
        let on = switch(value)?;
        if on && !proposal.built() {
            return Err(format!("the {name} proposal is not supported by this version"));
        }
        choices.config.wasm_proposal(proposal, on);
        return Ok(());
    }
    match KEYS.iter().find(|key| key.name == name) {
        Some(key) if key.group == group => (key.set)(choices, value),
        Some(key) => Err(format!("`{name}` is an option of `{}`", key.group.flag())),
        None => Err(format!("unknown option `{name}`; known are {}", names(group).join(", "))),
    }
}

/// Whether a list asks for the explanation of its options.
pub fn asks_for_help(list: &str) -> bool {
    list.split(',').any(|item| item.trim() == "help")
}

/// All options of a group with their values and meaning, a line each.
pub fn help(group: Group) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    if group == Group::Wasm {
        for proposal in Proposal::ALL {
            let state = match (proposal.built(), proposal.default_on()) {
                (false, _) => "not in this version",
                (true, true) => "on by default",
                (true, false) => "off by default",
            };
            let help = format!("the {} proposal ({state})", proposal.flag().replace('-', " "));
            lines.push((format!("{}=y|n", proposal.flag()), help));
        }
    }
    for key in KEYS.iter().filter(|key| key.group == group) {
        lines.push((format!("{}={}", key.name, key.values), key.help.into()));
    }
    let width = lines.iter().map(|(option, _)| option.len()).max().unwrap_or(0);
    let mut text = format!("Options of {}, as a list separated by commas:\n", group.flag());
    for (option, help) in lines {
        writeln!(text, "  {} {option:width$}  {help}", group.flag()).expect("strings take all");
    }
    text
}

fn names(group: Group) -> Vec<&'static str> {
    let proposals = Proposal::ALL.iter().map(|p| p.flag()).filter(|_| group == Group::Wasm);
    let keys = KEYS.iter().filter(|key| key.group == group).map(|key| key.name);
    proposals.chain(keys).chain(["help"]).collect()
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "y" | "yes" | "true" => Ok(true),
        "n" | "no" | "false" => Ok(false),
        _ => Err("expected y or n".into()),
    }
}

/// A count with an optional suffix: `65536`, `0x10000`, `64k`, `1m`, `4g` (powers of 1024).
fn size(value: &str) -> Result<usize, String> {
    let expected = || format!("expected a number such as 65536, 64k, 1m or 4g, found `{value}`");
    let (digits, shift) = match value.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&value[..value.len() - 1], 10),
        Some(b'm') => (&value[..value.len() - 1], 20),
        Some(b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => usize::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let number = number.map_err(|_| expected())?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{value} does not fit this machine"))
}

/// A time with its unit: `1s`, `500ms`, `1.5m`. Without one, seconds.
fn time(value: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 1s, 500ms or 2m, found `{value}`");
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &value[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "ns" => 1e-9,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let number: f64 = digits.parse().map_err(|_| expected())?;
    let time = Duration::try_from_secs_f64(number * unit).map_err(|_| expected())?;
    if time.is_zero() { Err(expected()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian::Engine;

    fn check(group: Group, list: &str) -> Result<Choices, String> {
        let mut choices = Choices::default();
        apply(&mut choices, group, list).map(|()| choices)
    }

    #[test]
    fn lists_are_applied_from_left_to_right() {
        let choices = check(Group::Wasm, "all-proposals=y,unknown-imports-trap=y").unwrap();
        assert!(choices.unknown_imports_trap && !choices.unknown_imports_default);
        Engine::new(&choices.config).unwrap();
        let choices = check(Group::Wasm, "max-memory-size=64k,max_memory_size=0x20").unwrap();
        assert_eq!(choices.max_memory_size, Some(32));
        let choices = check(Group::Wasm, "all-proposals=n,simd").unwrap();
        Engine::new(&choices.config).unwrap();
        let choices = check(Group::Wasm, "simd=n").unwrap();
        assert!(Engine::new(&choices.config).err().unwrap().to_string().contains("relaxed"));
        assert!(check(Group::Codegen, "cache=n,,parallel-compilation=n,cpu=x86-64-v3").is_ok());
        for level in ["0", "1", "2", "s"] {
            check(Group::Optimize, &format!("opt-level={level},memory-may-move=n")).unwrap();
        }
    }

    #[test]
    fn times_have_units() {
        for (text, millis) in
            [("1", 1_000), ("1s", 1_000), ("500ms", 500), ("1.5m", 90_000), ("2000us", 2)]
        {
            let choices = check(Group::Wasm, &format!("timeout={text}")).unwrap();
            assert_eq!(choices.timeout, Some(Duration::from_millis(millis)), "{text}");
        }
        assert!(
            Engine::new(&check(Group::Debug, "debug-info").unwrap().config)
                .unwrap()
                .get_debug_info()
        );
        assert_eq!(check(Group::Wasm, "fuel=2k").unwrap().fuel, Some(2048));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let check = |group, list, expected: &str| {
            let found = check(group, list).unwrap_err();
            assert!(found.contains(expected), "{found}");
        };
        check(Group::Wasm, "fuel=all", "`-W fuel=all`: expected a number");
        for list in ["timeout=", "timeout=0s", "timeout=-1s", "timeout=1x", "timeout=1e999s"] {
            check(Group::Wasm, list, "expected a time such as 1s");
        }
        check(Group::Wasm, "smid=y", "unknown option `smid`; known are multi-value, ");
        check(Group::Wasm, "opt-level=2", "`opt-level` is an option of `-O`");
        let text = "the stack-switching proposal is not supported by this version";
        check(Group::Wasm, "stack-switching=y", text);
        check(Group::Wasm, "simd=maybe", "expected y or n");
        check(Group::Wasm, "max-wasm-stack=1t", "found `1t`");
        check(Group::Wasm, "max-wasm-stack=99999999999999g", "does not fit");
        check(Group::Optimize, "opt-level=3", "expected 0, 1, 2 or s");
        check(Group::Codegen, "cpu=", "name of a processor");
        check(Group::Debug, "coredump=", "expected a file");
        check(Group::Debug, "coredump=core.%p", "patterns such as %p are not supported");
        check(Group::Debug, "debug-info=1", "expected y or n");
        check(Group::Codegen, "cache-dir=", "expected a folder");
        check(Group::Codegen, "cache-size=lots", "expected a number");
    }

    /// `docs/options.md` has a table for each letter, with a row for each key and no other.
    #[test]
    fn the_book_explains_every_key() {
        let book = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/options.md");
        let book = std::fs::read_to_string(book).unwrap();
        for group in Group::ALL {
            let chapter =
                book.split("\n## ").find(|c| c.starts_with(&format!("`{}`", group.flag())));
            let rows = chapter.expect("a chapter").lines().filter(|line| line.starts_with("| `"));
            let mut explained: Vec<(String, String)> = rows
                .map(|row| {
                    let row = row.replace("\\|", "/");
                    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                    assert!(cells[3..5].iter().all(|cell| !cell.is_empty()), "{row}");
                    (cells[1].trim_matches('`').to_string(), cells[2].replace('/', "|"))
                })
                .collect();
            let keys = KEYS.iter().filter(|key| key.group == group);
            let mut known: Vec<_> =
                keys.map(|key| (key.name.to_string(), key.values.to_string())).collect();
            explained.sort();
            known.sort();
            assert_eq!(explained, known, "{}", group.flag());
        }
    }

    #[test]
    fn names_are_unique_and_explained() {
        for group in Group::ALL {
            let mut names = names(group);
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
            let help = help(group);
            assert!(names.iter().all(|name| *name == "help" || help.contains(name)));
        }
        assert!(asks_for_help("simd=y,help") && !asks_for_help("simd=y"));
    }
}

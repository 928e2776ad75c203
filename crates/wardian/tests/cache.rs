//! The code cache: what is found in it, what is not, and that nothing in its folder makes a run fail or
//! its result differ.

#![forbid(unsafe_code)]
#![cfg(unix)]

mod common;

use common::binary;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};
use wardian::*;

/// `sum(n)`: 1 + … + n; `twice(n)`, by calls; `never`, which nobody calls.
const TEXT: &str = r#"(module (memory 1)
    (func $sum (export "sum") (param $n i64) (result i64) (local $sum i64)
      (loop $again
        (local.set $sum (i64.add (local.get $sum) (local.get $n)))
        (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
      (local.get $sum))
    (func (export "twice") (param i64) (result i64)
      (i64.add (call $sum (local.get 0)) (call $sum (local.get 0))))
    (func (export "trap") (param i64) (result i64) (i64.load (i32.const 65535)))
    (func (export "never") (result i32) (i32.const 1)))"#;

struct Fixture {
    root: tempfile::TempDir,
    limit: u64,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { root: tempfile::tempdir().unwrap(), limit: 1 << 30 }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("wardian")
    }

    fn cache(&self) -> Cache {
        let mut config = CacheConfig::new();
        config.with_directory(self.folder()).with_files_total_size_soft_limit(self.limit);
        Cache::new(&config).unwrap()
    }

    fn config(&self, strategy: Strategy) -> Config {
        let mut config = Config::new();
        config.cache(Some(self.cache())).artifact_key([7; 32]).strategy(strategy);
        config.tier_up(TierUp::Synchronous(10));
        config
    }

    /// Files in the folder.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The one file in the folder.
    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

/// A process, as it were: an engine, the module in a store, a few calls, all dropped; its counters.
fn run(config: &Config, calls: &[&str]) -> Stats {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, TEXT).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    // Where it is consumed.
    let _ = store.set_fuel(1 << 40);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for &name in calls {
        let func = instance.get_typed_func::<i64, i64>(&mut store, name).unwrap();
        for n in [100, 1000] {
            let result = func.call(&mut store, n);
            match name {
                "sum" => assert_eq!(result.unwrap(), n * (n + 1) / 2),
                "twice" => assert_eq!(result.unwrap(), n * (n + 1)),
                _ => assert_eq!(common::trap(result), Trap::MemoryOutOfBounds),
            }
        }
    }
    let stats = engine.stats();
    assert_eq!(module.stats(), stats);
    stats
}

/// A cache after a first run of a strategy, and what that run did.
fn filled(strategy: Strategy, calls: &[&str]) -> (Fixture, Config, Stats) {
    let fixture = Fixture::new();
    let config = fixture.config(strategy);
    let first = run(&config, calls);
    (fixture, config, first)
}

fn hits(stats: &Stats) -> (u64, u64) {
    (stats.cache_hits, stats.cache_misses)
}

const ALL: [&str; 3] = ["sum", "twice", "trap"];
const STRATEGIES: [Strategy; 2] = [Strategy::Optimizing, Strategy::Tiered];

#[test]
fn code_that_is_limited_is_other_code() {
    for strategy in STRATEGIES {
        let fixture = Fixture::new();
        let limited = [(false, false), (true, false), (false, true), (true, true)];
        for expected in [(0, 1), (1, 0)] {
            for (fuel, epochs) in limited {
                let mut config = fixture.config(strategy);
                config.consume_fuel(fuel).epoch_interruption(epochs);
                assert_eq!(hits(&run(&config, &ALL)), expected, "{fuel} {epochs}");
            }
        }
        assert_eq!(fixture.files().len(), limited.len());
    }
}

#[test]
fn a_module_compiled_ahead_of_time_is_found_whole() {
    let (fixture, config, first) = filled(Strategy::Optimizing, &ALL);
    assert_eq!((hits(&first), first.optimized_functions), ((0, 1), 4));
    for _ in 0..2 {
        let stats = run(&config, &ALL);
        assert_eq!((hits(&stats), stats.optimized_functions), ((1, 0), 0));
        assert_eq!(stats.cached_functions, 4);
        assert!(stats.cached_code_bytes >= first.optimized_code_bytes);
        assert!(stats.cache_time > Duration::ZERO);
    }
    let file = fixture.file();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(fixture.folder()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn code_from_the_cache_serializes_like_any_other() {
    let fixture = Fixture::new();
    let config = fixture.config(Strategy::Optimizing);
    let artifacts = [(); 2].map(|()| {
        let module = Module::new(&Engine::new(&config).unwrap(), TEXT).unwrap();
        module.serialize().unwrap()
    });
    assert!(artifacts[0] == artifacts[1]);
}

#[test]
fn functions_that_became_hot_are_there_at_the_next_start() {
    let (_fixture, config, first) = filled(Strategy::Tiered, &["sum"]);
    assert_eq!(hits(&first), (0, 1));
    assert_eq!((first.baseline_functions, first.optimized_functions), (1, 1));
    let second = run(&config, &["sum"]);
    assert_eq!(hits(&second), (1, 0));
    assert_eq!((second.baseline_functions, second.optimized_functions), (0, 0));
    assert_eq!((second.cached_functions, second.loop_replacements), (1, 0));
    assert_eq!(second.cached_code_bytes, first.optimized_code_bytes);
}

#[test]
fn what_a_later_run_optimizes_is_added() {
    let fixture = Fixture::new();
    let mut config = fixture.config(Strategy::Tiered);
    config.tier_up(TierUp::Synchronous(2));
    let first = run(&config, &["sum"]);
    let second = run(&config, &["twice"]);
    assert_eq!((second.cached_functions, second.optimized_functions), (1, 1));
    let third = run(&config, &["sum", "twice"]);
    assert_eq!((third.baseline_functions, third.optimized_functions), (0, 0));
    assert_eq!(third.cached_functions, 2);
    assert_eq!(third.cached_code_bytes, first.optimized_code_bytes + second.optimized_code_bytes);
    assert_eq!(fixture.files().len(), 1);
}

/// Runs functions of a module that has 40; what was found and what was optimized.
fn run_of_forty(config: &Config, funcs: std::ops::Range<i64>) -> (u64, u64) {
    let engine = Engine::new(config).unwrap();
    let funcs_text: String = (0..40)
        .map(|n| {
            let stores: String =
                (0..300).map(|at| format!("(i64.store (i32.const {at}) (local.get 0))")).collect();
            format!(
                "(func (export \"f{n}\") (param i64) (result i64)
                  {stores} (i64.add (local.get 0) (i64.const {n})))"
            )
        })
        .collect();
    let module = Module::new(&engine, format!("(module (memory 1) {funcs_text})")).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for n in funcs {
        let func = instance.get_typed_func::<i64, i64>(&mut store, &format!("f{n}")).unwrap();
        for x in 0..5 {
            assert_eq!(func.call(&mut store, x).unwrap(), x + n);
        }
    }
    let stats = engine.stats();
    (stats.cached_functions, stats.optimized_functions)
}

#[test]
fn little_that_is_added_lies_beside_the_entry() {
    let fixture = Fixture::new();
    let mut config = fixture.config(Strategy::Tiered);
    config.tier_up(TierUp::Synchronous(2));
    assert_eq!(run_of_forty(&config, 0..30), (0, 30));
    let entry = fixture.file();
    let content = std::fs::read(&entry).unwrap();
    assert_eq!(run_of_forty(&config, 29..31), (30, 1));
    assert_eq!(run_of_forty(&config, 30..32), (31, 1));
    assert_eq!(run_of_forty(&config, 0..32), (32, 0));
    assert!(std::fs::read(&entry).unwrap() == content);
    let addition = fixture.files().into_iter().find(|file| *file != entry).expect("it is there");
    let bytes = std::fs::metadata(&addition).unwrap().len() + content.len() as u64;
    let usage = fixture.cache().usage().unwrap();
    assert_eq!((usage.entries, usage.bytes), (1, bytes));

    // Each of the two is a hit by itself; what is missing is added to what is there.
    let added = std::fs::read(&addition).unwrap();
    std::fs::write(&addition, &added[1..]).unwrap();
    assert_eq!(run_of_forty(&config, 0..32), (30, 2));
    assert!(std::fs::read(&addition).unwrap() == added);
    std::fs::write(&entry, b"damaged").unwrap();
    assert_eq!(run_of_forty(&config, 30..32), (2, 0));
    assert_eq!(run_of_forty(&config, 0..1), (2, 1));
    assert_eq!(
        fixture.files(),
        std::slice::from_ref(&entry),
        "one again: there was no entry to add to"
    );
    assert_eq!(run_of_forty(&config, 0..28), (3, 27));

    // What would be much beside the entry becomes part of it.
    assert_eq!(run_of_forty(&config, 28..30), (30, 2));
    assert_eq!(fixture.files().len(), 2);
    assert_eq!(run_of_forty(&config, 32..40), (32, 8));
    assert_eq!(fixture.files(), [entry]);
    assert_eq!(run_of_forty(&config, 0..40), (40, 0));

    assert_eq!(fixture.cache().clear().unwrap().entries, 1);
    assert!(fixture.files().is_empty());
}

#[test]
fn the_background_thread_keeps_what_it_makes() {
    let fixture = Fixture::new();
    let mut config = fixture.config(Strategy::Tiered);
    config.tier_up(TierUp::Background);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, TEXT).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let sum = instance.get_typed_func::<i64, i64>(&mut store, "sum").unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while module.stats().tier_ups == 0 {
        assert!(std::time::Instant::now() < end);
        sum.call(&mut store, 10_000).unwrap();
    }
    engine.wait_for_tier_up();
    assert!(fixture.files().is_empty(), "it is written when the module is dropped");
    drop((store, module));
    engine.wait_for_cache();
    fixture.file();
    drop(engine);
    let stats = run(&config, &["sum"]);
    assert_eq!((stats.cached_functions, stats.baseline_functions), (1, 0));
}

#[test]
fn backtraces_through_cached_code_are_the_same() {
    for strategy in STRATEGIES {
        let fixture = Fixture::new();
        let mut config = fixture.config(strategy);
        config.tier_up(TierUp::Synchronous(1));
        let shown = [(); 3].map(|()| {
            let engine = Engine::new(&config).unwrap();
            let module = Module::new(&engine, TEXT).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let func = instance.get_typed_func::<i64, i64>(&mut store, "trap").unwrap();
            format!("{:?}", func.call(&mut store, 1).unwrap_err())
        });
        assert!(shown[0].contains("out of bounds"), "{}", shown[0]);
        assert_eq!(shown[0], shown[1]);
        assert_eq!(shown[0], shown[2]);
    }
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let fixture = Fixture::new();
    let mut config = fixture.config(Strategy::Baseline);
    assert_eq!(hits(&run(&config, &ALL)), (0, 0));
    config.strategy(Strategy::Tiered).tier_up(TierUp::Never);
    assert_eq!(hits(&run(&config, &ALL)), (0, 0));
    config.strategy(Strategy::Optimizing).cache(None);
    assert_eq!(hits(&run(&config, &ALL)), (0, 0));
    assert!(!fixture.folder().exists());
    // Nothing became hot, and a small module is validated fast: not worth a file.
    let mut config = fixture.config(Strategy::Tiered);
    config.tier_up(TierUp::Synchronous(1_000_000));
    assert_eq!(hits(&run(&config, &ALL)), (0, 1));
    assert!(!fixture.folder().exists());
}

#[test]
fn a_damaged_entry_is_a_miss_and_is_replaced() {
    for strategy in STRATEGIES {
        let (fixture, config, _) = filled(strategy, &ALL);
        let file = fixture.file();
        let whole = std::fs::read(&file).unwrap();
        let mut damaged: Vec<Vec<u8>> = vec![Vec::new(), [&whole[..], &[0]].concat()];
        damaged.extend((0..whole.len()).step_by(97).map(|length| whole[..length].to_vec()));
        damaged.extend((0..whole.len()).step_by(61).map(|position| {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x10;
            bytes
        }));
        for bytes in damaged {
            std::fs::write(&file, &bytes).unwrap();
            let stats = run(&config, &ALL);
            assert_eq!((hits(&stats), stats.cached_functions), ((0, 1), 0));
            assert_eq!(std::fs::read(&file).unwrap(), whole, "compilation is deterministic");
        }
        assert_eq!(hits(&run(&config, &ALL)), (1, 0));
    }
}

#[test]
fn other_engines_and_modules_miss() {
    for strategy in STRATEGIES {
        let (fixture, own, _) = filled(strategy, &ALL);
        let check = |change: fn(&mut Config) -> &mut Config| {
            let mut config = fixture.config(strategy);
            change(&mut config);
            assert_eq!(hits(&run(&config, &ALL)), (0, 1), "{:?}", config.entries());
        };
        check(|c| c.signals_based_traps(false));
        check(|c| c.wasm_memory64(false));
        check(|c| c.target_cpu(TargetCpu::Baseline));
        check(|c| c.memory_guard_size(0));
        check(|c| c.cranelift_opt_level(OptLevel::None));
        let engine = Engine::new(&own).unwrap();
        Module::new(&engine, TEXT.replace("65535", "65534")).unwrap();
        assert_eq!(hits(&engine.stats()), (0, 1));
        drop(engine);
        assert_eq!(hits(&run(&own, &ALL)), (1, 0));
        // The key is not part of the name: whoever has another replaces the entry.
        check(|c| c.artifact_key([8; 32]));
        assert_eq!(hits(&run(&own, &ALL)), (0, 1));
        assert_eq!(hits(&run(&own, &ALL)), (1, 0));
    }
    // Code called through slots is not that of an image.
    let fixture = Fixture::new();
    for strategy in STRATEGIES {
        assert_eq!(hits(&run(&fixture.config(strategy), &ALL)), (0, 1));
    }
    assert_eq!(fixture.files().len(), 2);
}

#[test]
fn an_entry_under_another_name_is_a_miss() {
    let fixture = Fixture::new();
    let configs = STRATEGIES.map(|strategy| fixture.config(strategy));
    let mut files: Vec<PathBuf> = Vec::new();
    for config in &configs {
        run(config, &ALL);
        files.extend(
            fixture.files().into_iter().filter(|file| !files.contains(file)).collect::<Vec<_>>(),
        );
    }
    let swap = fixture.root.path().join("swap");
    for (from, to) in [(&files[0], &swap), (&files[1], &files[0]), (&swap, &files[1])] {
        std::fs::rename(from, to).unwrap();
    }
    for config in &configs {
        assert_eq!(hits(&run(config, &ALL)), (0, 1), "functions are no image");
        assert_eq!(hits(&run(config, &ALL)), (1, 0));
    }
    // Of another module.
    let config = &configs[0];
    let content = std::fs::read(&files[0]).unwrap();
    let engine = Engine::new(config).unwrap();
    Module::new(&engine, TEXT.replace("65535", "65534")).unwrap();
    drop(engine);
    let other = fixture.files().into_iter().find(|file| !files.contains(file)).unwrap();
    std::fs::copy(&other, &files[0]).unwrap();
    assert_eq!(hits(&run(config, &ALL)), (0, 1));
    assert_eq!(std::fs::read(&files[0]).unwrap(), content);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_others_can_write_is_refused() {
    for strategy in STRATEGIES {
        let (fixture, config, _) = filled(strategy, &ALL);
        for mode in [0o777, 0o720, 0o702] {
            set_mode(&fixture.folder(), mode);
            assert_eq!(hits(&run(&config, &ALL)), (0, 1), "{mode:o}");
            assert!(fixture.cache().usage().is_err() && fixture.cache().clear().is_err());
        }
        set_mode(&fixture.folder(), 0o700);
        assert_eq!(hits(&run(&config, &ALL)), (1, 0));
        for mode in [0o666, 0o620, 0o602] {
            set_mode(&fixture.file(), mode);
            assert_eq!(hits(&run(&config, &ALL)), (0, 1), "{mode:o}");
            // It was replaced by one of our own.
            assert_eq!(hits(&run(&config, &ALL)), (1, 0));
        }
        let elsewhere = fixture.root.path().join("elsewhere");
        std::fs::rename(fixture.folder(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, fixture.folder()).unwrap();
        assert_eq!(hits(&run(&config, &ALL)), (0, 1), "a link leads where others may say");
    }
}

#[test]
fn without_a_folder_or_a_key_everything_runs() {
    for strategy in STRATEGIES {
        let fixture = Fixture::new();
        // Neither can it be made, nor opened.
        std::fs::write(fixture.folder(), b"a file").unwrap();
        let mut config = fixture.config(strategy);
        for _ in 0..2 {
            assert_eq!(hits(&run(&config, &ALL)), (0, 1));
        }
        assert_eq!(std::fs::read(fixture.folder()).unwrap(), b"a file");
        std::fs::remove_file(fixture.folder()).unwrap();
        config.artifact_key(fixture.root.path().join("no-key"));
        for _ in 0..2 {
            assert_eq!(hits(&run(&config, &ALL)), (0, 1));
        }
        assert!(fixture.files().is_empty());
        // A folder stands where the entry should.
        config.artifact_key([7; 32]);
        run(&config, &ALL);
        let file = fixture.file();
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        for _ in 0..2 {
            assert_eq!(hits(&run(&config, &ALL)), (0, 1));
        }
        assert_eq!(fixture.files(), [file], "nothing is left behind");
    }
}

#[test]
fn the_limit_is_kept_and_the_oldest_go_first() {
    let mut fixture = Fixture::new();
    let make = |fixture: &Fixture, number: usize| {
        let engine = Engine::new(&fixture.config(Strategy::Optimizing)).unwrap();
        Module::new(&engine, format!("(module (func (export \"f{number}\")))")).unwrap();
        engine.stats().cache_hits
    };
    make(&fixture, 0);
    let size = std::fs::metadata(fixture.file()).unwrap().len();
    fixture.limit = 10 * size + size / 2;
    let first = fixture.file();
    let stranger = fixture.folder().join("notes.txt");
    std::fs::write(&stranger, vec![0; 100_000]).unwrap();
    // What a writer that died has left, and what one is writing now.
    let temporary = |digit: &str| {
        let path =
            fixture.folder().join(format!("{}.wcode.new-{}", "0".repeat(32), digit.repeat(16)));
        std::fs::write(&path, b"half").unwrap();
        path
    };
    let (dead, alive) = (temporary("1"), temporary("2"));
    let old = |path: &Path, hours: u64| {
        let time = SystemTime::now() - Duration::from_secs(3600 * hours);
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    };
    old(&dead, 2);
    for number in 1..40 {
        let before = fixture.files();
        make(&fixture, number);
        assert!(fixture.cache().usage().unwrap().bytes <= fixture.limit);
        for new in fixture.files().iter().filter(|file| !before.contains(file)) {
            old(new, 100 - number as u64);
        }
        // The first is used all the time.
        old(&first, 200);
        assert_eq!(make(&fixture, 0), 1, "after {number}");
    }
    assert!(fixture.cache().usage().unwrap().entries >= 7);
    assert!(stranger.exists() && alive.exists() && !dead.exists());
    // What does not fit at all is not written.
    fixture.limit = size / 2;
    make(&fixture, 100);
    assert!(fixture.cache().usage().unwrap().entries >= 7);
    let removed = fixture.cache().clear().unwrap();
    assert!(removed.entries >= 7);
    assert_eq!(fixture.cache().usage().unwrap(), CacheUsage::default());
    assert_eq!(fixture.files(), [stranger]);
}

#[test]
fn code_of_the_first_tier_is_kept_if_there_is_much() {
    let fixture = Fixture::new();
    let mut config = fixture.config(Strategy::Tiered);
    let funcs: String = (0..2000)
        .map(|n| {
            format!(
                "(func $f{n} (param i64) (result i64)
                  (i64.rotl (i64.mul (local.get 0) (i64.const {n}7777777)) (i64.const {n})))"
            )
        })
        .collect();
    let calls: String = (0..2000).map(|n| format!("(call $f{n})")).collect();
    let text = format!(
        "(module {funcs} (func (export \"f\") (param i64) (result i64) (local.get 0) {calls}))"
    );
    let mut run = |tier_up: u32, calls: u32| {
        let engine = Engine::new(config.tier_up(TierUp::Synchronous(tier_up))).unwrap();
        let module = Module::new(&engine, &text).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<i64, i64>(&mut store, "f").unwrap();
        let results: Vec<_> = (0..calls).map(|n| f.call(&mut store, n.into()).unwrap()).collect();
        (results, engine.stats())
    };
    let (results, first) = run(10, 5);
    assert_eq!((first.baseline_functions, first.tier_ups), (2001, 0));
    let (again, second) = run(10, 5);
    assert_eq!((second.baseline_functions, second.cached_functions), (0, 2001));
    assert_eq!((second.tier_ups, second.cached_code_bytes), (0, first.baseline_code_bytes));
    assert_eq!(results, again);
    // They count, from the start again, and what is optimized takes their place.
    let (again, third) = run(4, 5);
    assert_eq!((third.baseline_functions, third.tier_ups), (0, 2001));
    assert_eq!(results, again);
    let (again, fourth) = run(1, 5);
    assert_eq!((fourth.cached_functions, fourth.optimized_functions), (2001, 0));
    assert_eq!(fourth.cached_code_bytes, third.optimized_code_bytes);
    assert_eq!(results, again);
}

/// A module with many functions that are never called.
fn large() -> String {
    let funcs: String = (0..6000)
        .map(|n| format!("(func (param i64) (result i64) (i64.rotl (i64.mul (local.get 0) (i64.const {n}77777777)) (i64.const {n})))"))
        .collect();
    format!("(module {funcs} (func (export \"f\") (result i32) (i32.const 7)))")
}

#[test]
fn a_large_module_is_validated_once() {
    let fixture = Fixture::new();
    let config = fixture.config(Strategy::Tiered);
    for round in 0..3 {
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, large()).unwrap();
        let stats = module.stats();
        assert_eq!(hits(&stats), if round == 0 { (0, 1) } else { (1, 0) });
        assert_eq!(stats.validated_bytes > 0, round == 0);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        assert_eq!(f.call(&mut store, ()).unwrap(), 7);
    }
    fixture.file();
}

#[test]
fn what_was_validated_lazily_is_not_taken_as_valid() {
    let fixture = Fixture::new();
    // `fine`, and `wrong`, which leaves an `i64` where an `i32` is wanted.
    let exports = [&[2u8, 4][..], b"fine", &[0, 0, 5], b"wrong", &[0, 1]].concat();
    let bytes = binary(&[
        (1, vec![1, 0x60, 0, 1, 0x7f]),
        (3, vec![2, 0, 0]),
        (7, exports),
        (10, vec![2, 4, 0, 0x41, 7, 0x0b, 4, 0, 0x42, 7, 0x0b]),
    ]);
    let mut config = fixture.config(Strategy::Tiered);
    config.tier_up(TierUp::Synchronous(1)).lazy_validation(true);
    for cached in [0, 1] {
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, &bytes).unwrap();
        assert_eq!(module.stats().cached_functions, cached);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let fine = instance.get_typed_func::<(), i32>(&mut store, "fine").unwrap();
        (0..5).for_each(|_| assert_eq!(fine.call(&mut store, ()).unwrap(), 7));
        let wrong = instance.get_typed_func::<(), i32>(&mut store, "wrong").unwrap();
        assert_eq!(common::trap(wrong.call(&mut store, ())), Trap::InvalidFunction);
    }
    let strict = Engine::new(config.lazy_validation(false)).unwrap();
    let error = Module::new(&strict, &bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModule);
    assert_eq!(hits(&strict.stats()), (1, 0), "it was found, and not believed");
}

#[test]
fn a_cleared_cache_is_filled_again_while_it_is_used() {
    let fixture = Fixture::new();
    let config = fixture.config(Strategy::Tiered);
    run(&config, &["sum"]);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, TEXT).unwrap();
    assert_eq!(fixture.cache().clear().unwrap().entries, 1);
    std::fs::remove_dir(fixture.folder()).unwrap();
    drop((module, engine));
    assert_eq!(hits(&run(&config, &["sum"])), (0, 1));
    assert_eq!(hits(&run(&config, &["sum"])), (1, 0));
}

#[test]
fn hammer_engines_share_a_folder() {
    for strategy in STRATEGIES {
        let mut fixture = Fixture::new();
        fixture.limit = 60_000;
        let barrier = Arc::new(Barrier::new(6));
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (barrier, config) = (barrier.clone(), fixture.config(strategy));
                scope.spawn(move || {
                    barrier.wait();
                    for round in 0..20 {
                        run(&config, &ALL[..1 + (thread + round) % 3]);
                    }
                });
            }
            let cleaner = fixture.cache();
            scope.spawn(move || {
                for _ in 0..20 {
                    cleaner.clear().unwrap();
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        });
        run(&fixture.config(strategy), &ALL);
        assert_eq!(hits(&run(&fixture.config(strategy), &ALL)), (1, 0));
        let files = fixture.files();
        assert!(files.iter().all(|file| !file.to_string_lossy().contains(".new-")), "{files:?}");
    }
}

/// While engines load an entry, its file is swapped: for right ones, damaged ones, of another module, and
/// in place.
#[test]
fn hammer_an_entry_is_swapped_while_it_is_loaded() {
    for strategy in STRATEGIES {
        let (fixture, config, _) = filled(strategy, &ALL);
        let file = fixture.file();
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        let contents = [&whole, &damaged, &whole[..whole.len() / 3].to_vec(), &Vec::new()];
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (n, content) in contents.iter().cycle().enumerate() {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    if n % 3 == 0 {
                        std::fs::write(&file, content).unwrap();
                    } else {
                        let new = fixture.root.path().join("new");
                        std::fs::write(&new, content).unwrap();
                        set_mode(&new, 0o600);
                        std::fs::rename(&new, &file).unwrap();
                    }
                }
            });
            // Results are checked by each.
            let stats: Vec<Stats> = (0..60).map(|_| run(&config, &ALL)).collect();
            done.store(true, Ordering::Relaxed);
            assert!(stats.iter().any(|stats| hits(stats) == (0, 1)), "none was a miss");
        });
        run(&config, &ALL);
        assert_eq!(hits(&run(&config, &ALL)), (1, 0));
    }
}

#[test]
fn a_folder_must_be_named_in_full() {
    let error = Cache::new(CacheConfig::new().with_directory("relative")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert!(error.to_string().contains("absolute path, found \"relative\""), "{error}");
}

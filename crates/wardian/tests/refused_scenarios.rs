//! Whole lives of modules and stores while the system refuses memory or protection: once, at every request in
//! turn, and from every request on. A refusal is a clean error or is not noticed; nothing stays behind but
//! what could not be given back; and the engine does the same work afterwards as if nothing had been.
//!
//! `refused_memory.rs` looks at single steps.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use wardian::*;
use wardian_vm::{lost_mappings, refuse};

/// Scenarios count what the process has: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Files that are open, and mappings by kind: of files of ours, large ones, all.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Held {
    files: usize,
    own: usize,
    large: usize,
    all: usize,
}

fn held() -> Held {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the kernel tells them");
    let mut held = Held {
        files: std::fs::read_dir("/proc/self/fd").expect("the kernel tells them").count(),
        own: 0,
        large: 0,
        all: 0,
    };
    let range = |line: &str| {
        let (range, _) = line.split_once(' ').expect("a range and more");
        let (start, end) = range.split_once('-').expect("two addresses");
        let address = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        address(start)..address(end)
    };
    // The place of all code, in which modules have pages of their own, is there once and for all.
    let code =
        maps.lines().filter(|line| line.contains("memfd:wardian-code") && line.contains("r-x"));
    let code = code.map(range).reduce(|all, piece| all.start..piece.end).unwrap_or(0..0);
    for line in maps.lines() {
        let range = range(line);
        if code.contains(&range.start) || line.contains("memfd:wardian-code") {
            continue;
        }
        held.all += 1;
        held.own += usize::from(line.contains("memfd:wardian-data"));
        held.large += usize::from(range.end - range.start >= 1 << 30);
    }
    held
}

/// What a scenario's growths may take together.
const BUDGET: u64 = 64 << 20;

/// Lives `scenario` with each of its requests refused, alone and with all that follow, on engines of their
/// own; returns how many refusals there were.
fn survive(config: &Config, scenario: impl Fn(&Engine, &Budget) -> Result<()>) -> usize {
    let round = |allowed: usize, refused: usize| {
        let engine = Engine::new(config).unwrap();
        let budget = Budget::new(BUDGET);
        let (result, hits) = refuse(allowed, refused, || scenario(&engine, &budget));
        match result {
            Ok(()) => {}
            Err(error) if hits > 0 && error.to_string() == REFUSED_GROWTH => {}
            Err(error) => {
                assert!(hits > 0, "without a refusal: {error:?}");
                assert_eq!(error.kind(), ErrorKind::Limit, "{allowed}, {refused}: {error:?}");
            }
        }
        assert_eq!(budget.taken(), 0, "after refusal {allowed}, {refused}");
        // The same engine, with everything there again.
        scenario(&engine, &budget).unwrap_or_else(|error| {
            panic!("after refusal {allowed}, {refused}: {error:?}");
        });
        assert_eq!(budget.taken(), 0);
        hits
    };
    for _ in 0..2 {
        assert_eq!(round(usize::MAX, 0), 0);
    }
    let before = held();
    let (mut met, mut lost_before) = (0, lost_mappings());
    for refused in [1, usize::MAX] {
        for allowed in 0.. {
            let hits = round(allowed, refused);
            let lost = lost_mappings() - lost_before;
            let now = held();
            assert_eq!(now.files, before.files, "files after refusal {allowed}, {refused}");
            if lost == 0 && lost_before == 0 {
                assert_eq!(now.own, before.own, "after refusal {allowed}, {refused}");
                assert_eq!(now.large, before.large, "after refusal {allowed}, {refused}");
            }
            // Each lost one is a few lines: what was accessible, what was not, what was shared.
            let room = 10 + 6 * lost_mappings();
            assert!(now.all <= before.all + room, "{before:?}, {now:?} after {allowed}, {refused}");
            if hits == 0 {
                break;
            }
            lost_before = lost_mappings();
            met += hits.min(1);
            assert!(allowed < 5_000, "a scenario ends");
        }
    }
    met
}

fn config(strategy: Strategy, tier_up: TierUp, signals: bool, moving: bool) -> Config {
    let mut config = Config::new();
    config.strategy(strategy).tier_up(tier_up).signals_based_traps(signals);
    if moving {
        config.memory_reservation(0).memory_guard_size(0);
    }
    config
}

/// With guard pages, with explicit checks, and with memories that move.
fn configs() -> [Config; 3] {
    [(true, false), (false, false), (false, true)].map(|(signals, moving)| {
        let mut config = config(Strategy::Optimizing, TierUp::Never, signals, moving);
        config.artifact_key([5; 32]);
        config
    })
}

/// What a scenario loads, so that its rounds need not compile.
fn artifact(config: &Config, text: &str) -> Vec<u8> {
    Engine::new(config).unwrap().precompile_module(text.as_bytes()).unwrap()
}

fn store(engine: &Engine, budget: &Budget) -> Result<Store<StoreLimits>> {
    let limits = StoreLimitsBuilder::new().budget(budget).build();
    let mut store = Store::try_new(engine, limits)?;
    store.limiter(|limits| limits);
    Ok(store)
}

const REFUSED_GROWTH: &str = "the guest was told -1";

/// The error of a growth that the guest was told of by -1.
fn grown(result: i32) -> Result<i32> {
    match result {
        -1 => Err(Error::msg(REFUSED_GROWTH)),
        old => Ok(old),
    }
}

/// A module whose memory begins with `content`, at some distance.
fn with_content(config: &Config, pages: u32, content: char, count: usize) -> Vec<u8> {
    let content: String = std::iter::repeat_n(content, count).collect();
    artifact(
        config,
        &format!(
            r#"(module (memory (export "m") {pages} 40) (data (i32.const 5000) "{content}")
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
                (func (export "fill") (param i32)
                  (memory.fill (i32.const 0) (local.get 0) (i32.shl (memory.size) (i32.const 16))))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#
        ),
    )
}

/// Looks at a new instance, writes all over its memory, grows it, and writes again.
fn live(
    store: &mut Store<StoreLimits>,
    module: &Module,
    pages: i32,
    content: char,
    count: usize,
) -> Result<()> {
    let instance = Instance::new(&mut *store, module, &[])?;
    let memory = instance.get_memory(&mut *store, "m").expect("it is exported");
    let bytes = memory.data(&*store);
    assert_eq!(bytes.len(), (pages as usize) << 16);
    let mut expected = vec![0; bytes.len()];
    expected[5000..5000 + count].fill(content as u8);
    // Not `assert_eq`, which would print all of it.
    assert!(bytes == expected, "the memory begins with {content} alone");
    let load = instance.get_typed_func::<i32, i32>(&mut *store, "load")?;
    let fill = instance.get_typed_func::<i32, ()>(&mut *store, "fill")?;
    let grow = instance.get_typed_func::<i32, i32>(&mut *store, "grow")?;
    fill.call(&mut *store, 0xaa)?;
    assert_eq!(grown(grow.call(&mut *store, 2)?)?, pages);
    assert_eq!(load.call(&mut *store, pages << 16)?, 0);
    assert_eq!(load.call(&mut *store, (pages << 16) - 1)?, 0xaa);
    let error = load.call(&mut *store, (pages + 2) << 16).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    fill.call(&mut *store, 0xbb)?;
    Ok(())
}

#[test]
fn initial_memories_and_kept_reservations() {
    let _alone = alone();
    for config in configs() {
        let kinds = [(1, 'a', 40_000), (2, 'b', 80_000), (1, '\0', 0)];
        let artifacts =
            kinds.map(|(pages, content, count)| with_content(&config, pages, content, count));
        let met = survive(&config, |engine, budget| {
            let modules = artifacts
                .iter()
                .map(|bytes| Module::deserialize(engine, bytes))
                .collect::<Result<Vec<_>>>()?;
            // Several of each, alive at once; then each after another.
            let mut all = store(engine, budget)?;
            for (module, (pages, content, count)) in modules.iter().zip(kinds) {
                for _ in 0..2 {
                    live(&mut all, module, pages as i32, content, count)?;
                }
            }
            drop(all);
            for at in [1, 0, 2, 1] {
                let mut store = store(engine, budget)?;
                let (pages, content, count) = kinds[at];
                live(&mut store, &modules[at], pages as i32, content, count)?;
            }
            Ok(())
        });
        println!("{met} refusals");
        assert!(met > 30, "{met}");
    }
}

/// Functions that run through all tiers, loops that are replaced, modules that come and go.
#[test]
fn code_of_all_tiers() {
    let _alone = alone();
    let text = |number: usize| {
        let functions: String = (0..6)
            .map(|at| {
                format!(
                    "(func $f{at} (export \"f{at}\") (param $n i64) (result i64) (local $s i64)
                      (loop $l
                        (local.set $s (i64.add (local.get $s) (i64.mul (local.get $n) (i64.const {number}))))
                        (br_if $l (i64.ne (i64.const 0) (local.tee $n (i64.sub (local.get $n) (i64.const 1))))))
                      (i64.add (local.get $s)
                        (call_indirect (type $t) (i64.const 1) (i32.const {at}))))
                    (func $g{at} (type $t) (i64.mul (local.get 0) (i64.const {at})))
                    (elem (i32.const {at}) $g{at})"
                )
            })
            .collect();
        format!("(module (type $t (func (param i64) (result i64))) (table 6 funcref) {functions})")
    };
    let tiered = |tier_up| config(Strategy::Tiered, tier_up, true, false);
    let baseline = config(Strategy::Baseline, TierUp::Never, true, false);
    let optimizing = config(Strategy::Optimizing, TierUp::Never, false, false);
    let tiers = [tiered(TierUp::Synchronous(1)), tiered(TierUp::Synchronous(40))];
    for config in tiers.into_iter().chain([baseline, optimizing]) {
        let met = survive(&config, |engine, budget| {
            let mut kept = Vec::new();
            for number in 1..4 {
                let module = Module::new(engine, text(number))?;
                let mut store = store(engine, budget)?;
                let instance = Instance::new(&mut store, &module, &[])?;
                for turn in 0..2 {
                    for at in 0..6 {
                        let name = format!("f{at}");
                        let func = instance.get_typed_func::<i64, i64>(&mut store, &name)?;
                        let n = 60 + turn;
                        let expected = n * (n + 1) / 2 * number as i64 + at;
                        assert_eq!(func.call(&mut store, n)?, expected, "{name}");
                    }
                }
                // Dropped in another order than made.
                kept.insert(number / 2, (store, module));
            }
            Ok(())
        });
        println!("{met} refusals");
        assert!(met > 5, "{met}");
    }
}

#[test]
fn artifacts() {
    let _alone = alone();
    for config in configs() {
        let text = r#"(module (memory 1) (data (i32.const 0) "x")
            (func (export "f") (result i32) (i32.load8_u (i32.const 0))))"#;
        let bytes = artifact(&config, text);
        let met = survive(&config, |engine, budget| {
            let modules =
                [Module::deserialize(engine, &bytes)?, Module::deserialize(engine, &bytes)?];
            for module in &modules {
                let mut store = store(engine, budget)?;
                let instance = Instance::new(&mut store, module, &[])?;
                let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
                assert_eq!(f.call(&mut store, ())?, i32::from(b'x'));
            }
            Ok(())
        });
        println!("{met} refusals");
        assert!(met > 5, "{met}");
    }
}

/// Memories and tables that grow, from inside and outside, alternately, in a store that has a budget.
#[test]
fn growth() {
    let _alone = alone();
    let text = r#"(module
        (memory $a (export "a") 1 60) (memory $b (export "b") i64 0 60)
        (table $t (export "t") 1 funcref) (table $x (export "x") 0 externref)
        (func $f) (elem declare func $f)
        (func (export "grow a") (param i32) (result i32) (memory.grow $a (local.get 0)))
        (func (export "grow b") (param i32) (result i32)
          (i32.wrap_i64 (memory.grow $b (i64.extend_i32_u (local.get 0)))))
        (func (export "grow t") (param i32) (result i32)
          (table.grow $t (ref.func $f) (i32.mul (local.get 0) (i32.const 700))))
        (func (export "grow x") (param i32) (result i32)
          (table.grow $x (ref.null extern) (i32.mul (local.get 0) (i32.const 900))))
        (func (export "mark") (param i32) (result i32)
          (i32.store $a (i32.sub (i32.shl (memory.size $a) (i32.const 16)) (i32.const 4)) (local.get 0))
          (i32.load $a (i32.sub (i32.shl (memory.size $a) (i32.const 16)) (i32.const 4)))))"#;
    for config in configs() {
        let bytes = artifact(&config, text);
        let met = survive(&config, |engine, budget| {
            let module = Module::deserialize(engine, &bytes)?;
            let mut store = store(engine, budget)?;
            let instance = Instance::new(&mut store, &module, &[])?;
            let mark = instance.get_typed_func::<i32, i32>(&mut store, "mark")?;
            for delta in 1..4 {
                for name in ["grow a", "grow b", "grow t", "grow x"] {
                    let grow = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                    let taken = budget.taken();
                    let old = grow.call(&mut store, delta)?;
                    if old < 0 {
                        assert_eq!(budget.taken(), taken, "{name}: nothing is paid for nothing");
                    }
                    grown(old)?;
                    assert_eq!(mark.call(&mut store, delta)?, delta);
                }
                let a = instance.get_memory(&mut store, "a").expect("it is exported");
                a.grow(&mut store, 1)?;
                let t = instance.get_table(&mut store, "t").expect("it is exported");
                t.grow(&mut store, 1000, Ref::Func(None))?;
                assert_eq!(mark.call(&mut store, -delta)?, -delta);
            }
            Ok(())
        });
        println!("{met} refusals");
        assert!(met > 10, "{met}");
    }
}

/// A limiter that answers so many questions with yes, and the next with something else.
struct Questions {
    budget: Budget,
    left: Arc<AtomicUsize>,
    last: fn() -> Result<bool>,
}

impl Questions {
    fn answer(&mut self) -> Result<bool> {
        match self.left.fetch_sub(1, Relaxed) {
            1 => (self.last)(),
            _ => Ok(true),
        }
    }
}

impl ResourceLimiter for Questions {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        self.answer()
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        self.answer()
    }

    fn budget(&self) -> Option<&Budget> {
        Some(&self.budget)
    }
}

/// The limiter is asked for everything that takes memory, and each time in turn it refuses, or fails.
#[test]
fn limiters_that_say_no_to_each_question() {
    const FAILED: &str = "the limiter has failed";
    let _alone = alone();
    let text = r#"(module
        (import "h" "s" (memory $s 1 9 shared)) (memory $a 1 60) (memory $b i64 2 60)
        (table $t 3 funcref) (table $x 4 externref) (type $bytes (array (mut i8)))
        (global $keep (mut (ref null $bytes)) (ref.null $bytes))
        (func (export "a") (result i32) (memory.grow $a (i32.const 1)))
        (func (export "b") (result i32) (i32.wrap_i64 (memory.grow $b (i64.const 2))))
        (func (export "s") (result i32) (memory.grow $s (i32.const 1)))
        (func (export "t") (result i32) (table.grow $t (ref.null func) (i32.const 900)))
        (func (export "x") (result i32) (table.grow $x (ref.null extern) (i32.const 2)))
        (func (export "heap") (result i32)
          (global.set $keep (array.new $bytes (i32.const 1) (i32.const 3000000)))
          (array.len (global.get $keep))))"#;
    for mut config in configs() {
        config.wasm_threads(true).wasm_gc(true);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, text).unwrap();
        let scenario = |count: usize, last: fn() -> Result<bool>| {
            let (budget, left) = (Budget::new(BUDGET), Arc::new(AtomicUsize::new(count)));
            let questions = || Questions { budget: budget.clone(), left: left.clone(), last };
            let act = || -> Result<()> {
                let ty = MemoryType::shared(1, 9);
                let shared = SharedMemory::with_limiter(&engine, ty, questions())?;
                let mut store = Store::try_new(&engine, questions())?;
                store.limiter(|questions| questions);
                let instance = Instance::new(&mut store, &module, &[shared.clone().into()])?;
                for name in ["a", "b", "s", "t", "x", "heap", "a", "s"] {
                    let call = instance.get_typed_func::<(), i32>(&mut store, name)?;
                    grown(call.call(&mut store, ())?)?;
                }
                shared.grow(1)?;
                Memory::new(&mut store, MemoryType::new(1, None))?.grow(&mut store, 1)?;
                let ty = TableType::new(RefType::EXTERNREF, 10, None);
                let table = Table::new(&mut store, ty, Ref::Extern(None))?;
                table.grow(&mut store, 1, Ref::Extern(None))?;
                Ok(())
            };
            let result = act();
            assert_eq!(budget.taken(), 0, "after question {count}");
            (result, left.load(Relaxed) as isize)
        };
        scenario(0, || unreachable!("never so many")).0.unwrap();
        let before = held();
        for last in [(|| Ok(false)) as fn() -> _, || Err(Error::msg(FAILED))] {
            let mut failed = 0;
            for count in 1.. {
                let (result, left) = scenario(count, last);
                if left > 0 {
                    result.unwrap();
                    assert!(count > 15, "{count} questions");
                    assert!(last().is_ok() || failed > 10, "{failed} failures");
                    break;
                }
                let error = result.expect_err("something was refused");
                let text = format!("{error:#}");
                let full = text.ends_with(Trap::GcHeapOutOfMemory.text());
                let refused = full || error.kind() == ErrorKind::Limit || text == REFUSED_GROWTH;
                // The limiter of a shared memory only refuses.
                failed += usize::from(text.contains(FAILED));
                let expected = refused || last().is_err() && text.contains(FAILED);
                assert!(expected, "question {count}: {error:?}");
                let now = held();
                assert_eq!(
                    (now.files, now.own, now.large),
                    (before.files, before.own, before.large)
                );
                // The same engine and module, without a limit.
                scenario(0, || unreachable!("never so many")).0.unwrap();
            }
        }
    }
}

/// Everything that a host can make in a store.
#[test]
fn stores_and_what_hosts_put_there() {
    let _alone = alone();
    let text = r#"(module (import "h" "f" (func $f (param i32) (result i32)))
                    (import "h" "g" (global $g (mut i32))) (import "h" "m" (memory 1))
                    (import "h" "t" (table $t 10 externref)) (import "h" "n" (func $n (result i64)))
                    (func (export "run") (param externref) (result i32)
                      (table.set $t (i32.const 3) (local.get 0))
                      (global.set $g (call $f (i32.const 20)))
                      (i32.add (global.get $g) (i32.wrap_i64 (call $n)))))"#;
    for config in configs() {
        let bytes = artifact(&config, text);
        let met = survive(&config, |engine, budget| {
            let module = Module::deserialize(engine, &bytes)?;
            for _ in 0..2 {
                let mut store = store(engine, budget)?;
                let f = Func::try_wrap(&mut store, |x: i32| x + 1)?;
                let ty = FuncType::try_new(engine, [], [ValType::I64])?;
                let n = Func::try_new(&mut store, ty, |_, _, results| {
                    results[0] = Val::I64(-5);
                    Ok(())
                })?;
                let ty = GlobalType::new(ValType::I32, Mutability::Var);
                let g = Global::new(&mut store, ty, Val::I32(0))?;
                let m = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
                let ty = TableType::new(RefType::EXTERNREF, 10, None);
                let t = Table::new(&mut store, ty, Ref::Extern(None))?;
                let imports = [f.into(), g.into(), m.into(), t.into(), n.into()];
                let instance = Instance::new(&mut store, &module, &imports)?;
                let value = ExternRef::new(&mut store, 7_u32)?;
                type Run = TypedFunc<Option<Rooted<ExternRef>>, i32>;
                let run: Run = instance.get_typed_func(&mut store, "run")?;
                assert_eq!(run.call(&mut store, Some(value))?, 16);
                let found = t.get(&mut store, 3).expect("inside");
                let Ref::Extern(Some(found)) = found else { panic!("{found:?}") };
                assert_eq!(found.data(&store)?.unwrap().downcast_ref(), Some(&7_u32));
            }
            Ok(())
        });
        println!("{met} refusals");
        assert!(met > 5, "{met}");
    }
}

/// Shared memories, which belong to no store: made, grown by host and guest, imported, and dropped before and
/// after the stores that use them.
#[test]
fn shared_memories() {
    let _alone = alone();
    let text = r#"(module (import "h" "m" (memory 1 20 shared)) (memory 1)
        (func (export "add") (param i32) (result i32)
          (i32.atomic.rmw.add (i32.const 65532) (local.get 0)))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    for mut config in configs() {
        config.wasm_threads(true);
        let bytes = artifact(&config, text);
        let met = survive(&config, |engine, budget| {
            let module = Module::deserialize(engine, &bytes)?;
            for first in ["memory", "store"] {
                let limits = StoreLimitsBuilder::new().budget(budget).build();
                let memory = SharedMemory::with_limiter(engine, MemoryType::shared(1, 20), limits)?;
                let mut store = store(engine, budget)?;
                let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
                let add = instance.get_typed_func::<i32, i32>(&mut store, "add")?;
                assert_eq!(add.call(&mut store, 5)?, 0);
                let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
                assert_eq!(grown(grow.call(&mut store, 2)?)?, 1);
                memory.grow(3)?;
                assert_eq!(memory.size(), 6);
                assert_eq!(add.call(&mut store, 1)?, 5);
                match first {
                    "memory" => drop((memory, store)),
                    _ => drop((store, memory)),
                }
            }
            Ok(())
        });
        println!("{met} refusals");
        assert!(met > 5, "{met}");
    }
}

/// Objects of a guest and of the host, which outlive a collection, in a heap that grows; and as many exceptions
/// that a guest and the host hold.
#[test]
fn objects_and_exceptions() {
    let _alone = alone();
    let text = r#"(module
        (type $bytes (array (mut i8)))
        (type $node (struct (field $next (ref null $node)) (field $bytes (ref $bytes))))
        (tag $e (export "e") (param i32 (ref null $node)))
        (global $list (mut (ref null $node)) (ref.null $node))
        (func (export "make") (param $n i32) (result i32)
          (loop $again
            (global.set $list (struct.new $node (global.get $list)
              (array.new $bytes (local.get $n) (i32.const 3000))))
            (drop (array.new_default $bytes (i32.const 4000)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          (i32.const 1))
        (func (export "count") (result i32) (local $list (ref null $node)) (local $n i32)
          (local.set $list (global.get $list))
          (block $end
            (loop $again
              (br_if $end (ref.is_null (local.get $list)))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (if (i32.ne (local.get $n)
                    (array.get_u $bytes (struct.get $node $bytes (local.get $list)) (i32.const 2999)))
                (then (unreachable)))
              (local.set $list (struct.get $node $next (local.get $list)))
              (br $again)))
          (local.get $n))
        (func $throw (param i32) (throw $e (local.get 0) (global.get $list)))
        (func (export "catch") (param i32) (result i32)
          (block $caught (result i32 (ref null $node))
            (try_table (catch $e $caught) (call $throw (local.get 0)))
            (unreachable))
          (drop))
        (func (export "throw") (param i32) (call $throw (local.get 0))))"#;
    for mut config in configs() {
        config.wasm_gc(true);
        let bytes = artifact(&config, text);
        let met = survive(&config, |engine, budget| {
            let module = Module::deserialize(engine, &bytes)?;
            let mut store = store(engine, budget)?;
            let instance = Instance::new(&mut store, &module, &[])?;
            let make = instance.get_typed_func::<i32, i32>(&mut store, "make")?;
            let count = instance.get_typed_func::<(), i32>(&mut store, "count")?;
            let catch = instance.get_typed_func::<i32, i32>(&mut store, "catch")?;
            let throw = instance.get_typed_func::<i32, ()>(&mut store, "throw")?;
            let taken = budget.taken();
            assert_eq!(make.call(&mut store, 200)?, 1);
            assert!(budget.taken() >= taken + 600_000, "objects are paid for");
            assert_eq!(count.call(&mut store, ())?, 200);
            assert_eq!(catch.call(&mut store, 9)?, 9);
            let error = throw.call(&mut store, 7).unwrap_err();
            if !error.is::<ThrownException>() {
                return Err(error);
            }
            let exception = store.take_pending_exception().expect("it left the guest");
            let ty = StructType::new(engine, [])?;
            let pre = StructRefPre::new(&mut store, ty);
            let object = StructRef::new(&mut store, &pre, &[])?;
            store.gc(None)?;
            assert_eq!(exception.field(&mut store, 0)?.unwrap_i32(), 7);
            assert_eq!(object.fields(&mut store)?.count(), 0);
            assert_eq!(count.call(&mut store, ())?, 200);
            Ok(())
        });
        println!("{met} refusals");
        assert!(met > 5, "{met}");
    }
}

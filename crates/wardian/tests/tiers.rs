//! Functions that are compiled while the module runs: when, how often, by whom, and what a guest sees of
//! it, which is nothing.

#![forbid(unsafe_code)]

mod common;

use common::{binary, instance, trap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use wardian::*;

fn engine(strategy: Strategy, tier_up: TierUp) -> Engine {
    Engine::new(Config::new().strategy(strategy).tier_up(tier_up)).expect("they fit together")
}

fn tiered(tier_up: TierUp) -> Engine {
    engine(Strategy::Tiered, tier_up)
}

/// `sum(n)`: 1 + … + n, in a loop that is entered once.
const LOOP: &str = r#"(module
    (func (export "sum") (param $n i64) (result i64) (local $sum i64)
      (loop $again
        (local.set $sum (i64.add (local.get $sum) (local.get $n)))
        (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
      (local.get $sum))
    (func (export "never") (result i32) (i32.const 1)))"#;

fn sum(store: &mut Store<()>, instance: &Instance, n: i64) -> i64 {
    let func = instance.get_typed_func::<i64, i64>(&mut *store, "sum").unwrap();
    func.call(store, n).unwrap()
}

#[test]
fn functions_are_compiled_when_they_are_called() {
    let engine = engine(Strategy::Baseline, TierUp::Background);
    let module = Module::new(&engine, LOOP).unwrap();
    let stats = module.stats();
    assert!(stats.validated_bytes > 20 && stats.baseline_functions == 0, "{stats:?}");
    assert_eq!(module.text_size(), 0);
    for _ in 0..3 {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        assert_eq!(sum(&mut store, &instance, 100_000), 5_000_050_000);
    }
    let stats = module.stats();
    assert_eq!((stats.baseline_functions, stats.optimized_functions), (1, 0));
    assert_eq!(stats.baseline_code_bytes, module.text_size() as u64);
    assert!(stats.baseline_bytes > 20 && stats.baseline_time > Duration::ZERO);
    assert_eq!(engine.stats(), stats);
    let second = Module::new(&engine, LOOP).unwrap();
    assert_eq!(second.stats().baseline_functions, 0);
    assert_eq!(engine.stats().validated_bytes, 2 * stats.validated_bytes);
}

#[test]
fn a_loop_that_is_entered_once_is_replaced_in_its_middle() {
    let engine = tiered(TierUp::Synchronous(10));
    let module = Module::new(&engine, LOOP).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    assert_eq!(sum(&mut store, &instance, 1), 1);
    assert_eq!(module.stats().optimized_functions, 0, "an entry, 8, and a turn are not 10");
    assert_eq!(sum(&mut store, &instance, 1000), 500_500);
    let stats = module.stats();
    assert_eq!((stats.baseline_functions, stats.optimized_functions), (1, 1));
    assert_eq!((stats.tier_ups, stats.loop_replacements, stats.refused_tier_ups), (1, 1, 0));
    assert_eq!(sum(&mut store, &instance, 1000), 500_500);
    assert_eq!(module.stats(), stats, "the optimized function does not count");
}

/// A number of four bytes, whatever it is.
fn leb(n: usize) -> [u8; 4] {
    [n | 0x80, n >> 7 | 0x80, n >> 14 | 0x80, n >> 21 & 0x7f].map(|b| b as u8)
}

/// A body that does nothing `nops` times, and with its parameter what `rest` says.
fn long_body(nops: usize, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.resize(1 + nops, 0x01);
    body.extend([0x20, 0]);
    body.extend(rest);
    body.push(0x0b);
    body
}

/// A module of functions from an `i32` to an `i32`, which exports the first as `f`.
fn module_of(bodies: &[Vec<u8>]) -> Vec<u8> {
    let count = bodies.len() as u8;
    let mut wasm = b"\0asm\x01\0\0\0\x01\x06\x01\x60\x01\x7f\x01\x7f".to_vec();
    wasm.extend([3, 1 + count, count]);
    wasm.extend(bodies.iter().map(|_| 0));
    wasm.extend(b"\x07\x05\x01\x01f\0\0\x0a");
    wasm.extend(leb(1 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>()));
    wasm.push(count);
    for body in bodies {
        wasm.extend(leb(body.len()));
        wasm.extend(body);
    }
    wasm
}

/// A module that exports `f`, which takes an `i32`, does nothing `nops` times and returns its parameter.
fn long_module(nops: usize) -> Vec<u8> {
    module_of(&[long_body(nops, &[])])
}

#[test]
fn a_function_past_the_cap_stays_in_the_first_tier() {
    for (nops, optimized) in [(100, 1), (4 << 20, 0)] {
        let engine = tiered(TierUp::Synchronous(3));
        let module = Module::new(&engine, long_module(nops)).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let func = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
        for n in 0..10 {
            assert_eq!(func.call(&mut store, n).unwrap(), n);
        }
        let stats = module.stats();
        assert_eq!((stats.baseline_functions, stats.optimized_functions), (1, optimized));
        assert_eq!((stats.tier_ups, stats.refused_tier_ups), (optimized, 1 - optimized));
    }
}

/// A module that exports `f`, which does nothing `nops` times and returns what `g` makes of its parameter;
/// and `g`, which is not long and divides 100 by it.
fn long_caller(nops: usize) -> Vec<u8> {
    let g = vec![0, 0x41, 0xe4, 0, 0x20, 0, 0x6e, 0x0b];
    module_of(&[long_body(nops, &[0x10, 1]), g])
}

#[test]
fn ahead_of_time_a_function_past_the_cap_gets_code_of_the_first_tier() {
    let mut config = Config::new();
    config.strategy(Strategy::Optimizing).artifact_key([7; 32]);
    for (nops, baseline) in [(100, 0), (4 << 20, 1)] {
        let engine = Engine::new(&config).unwrap();
        let compiled = Module::new(&engine, long_caller(nops)).unwrap();
        let stats = compiled.stats();
        assert_eq!((stats.baseline_functions, stats.optimized_functions), (baseline, 2 - baseline));
        let artifact = compiled.serialize().unwrap();
        let loaded = Module::deserialize(&Engine::new(&config).unwrap(), artifact).unwrap();
        for module in [compiled, loaded] {
            let mut store = Store::new(module.engine(), ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let func = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
            assert_eq!(func.call(&mut store, 5).unwrap(), 20);
            let error = func.call(&mut store, 0).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
            let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
            let places: Vec<_> = frames.iter().map(|f| (f.func_index(), f.func_offset())).collect();
            assert_eq!(places, [(1, Some(6)), (0, Some(1 + nops + 2))]);
        }
    }
}

/// As many values in registers as there are, so that the context, and an operand that is still a local,
/// have one that a call does not keep.
#[test]
fn a_loop_with_every_register_in_use_is_replaced() {
    let change = |n: u32| {
        let other = (n + 1) % 5;
        format!(
            "(local.set {n} (i32.add (i32.mul (local.get {n}) (local.get {other})) (local.get {n})))"
        )
    };
    let changes: String = (0..5).chain(0..5).chain(0..5).map(change).collect();
    // The context is what is used most but for five locals. With an operand below the loop, for each of
    // the locals, and with none.
    for below in 0..6 {
        let (operand, sum) = match below {
            5 => (String::new(), ""),
            n => (format!("(local.get {n})"), "i32.add"),
        };
        let wat = format!(
            r#"(module (global $g (mut i32) (i32.const 7))
              (func (export "f") (param i32 i32 i32 i32 i32) (result i32) (local $left i32)
                (local.set $left (i32.const 50))
                {operand}
                (loop
                  {changes}
                  (global.set $g (i32.add (global.get $g) (local.get 0)))
                  (global.set $g (i32.add (global.get $g) (global.get $g)))
                  (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                (i32.xor (global.get $g) (local.get 4))
                {sum}))"#
        );
        let run = |engine: &Engine| {
            let module = Module::new(engine, &wat).expect("the module is valid");
            let mut store = Store::new(engine, ());
            let instance = Instance::new(&mut store, &module, &[]).expect("it has no imports");
            let func = instance
                .get_typed_func::<(i32, i32, i32, i32, i32), i32>(&mut store, "f")
                .expect("it is exported");
            func.call(&mut store, (1, 2, 3, 4, 5)).expect("it does not trap")
        };
        let expected = run(&engine(Strategy::Optimizing, TierUp::Background));
        for steps in [1, 3, 20] {
            let engine = tiered(TierUp::Synchronous(steps));
            assert_eq!(run(&engine), expected, "operand {below}, {steps} steps");
        }
    }
}

#[test]
fn the_background_thread_replaces_a_running_loop() {
    let engine = tiered(TierUp::Background);
    let end = Instant::now() + Duration::from_secs(60);
    let mut n = 1_000_000;
    // NOTE [function first]: the loop has to last longer than its function's compilation.
    loop {
        let (mut store, instance) = instance(&engine, LOOP).unwrap();
        assert_eq!(sum(&mut store, &instance, n), n * (n + 1) / 2);
        engine.wait_for_tier_up();
        if engine.stats().loop_replacements > 0 {
            assert_eq!(sum(&mut store, &instance, n), n * (n + 1) / 2);
            return;
        }
        assert!(Instant::now() < end, "{:?}", engine.stats());
        n *= 2;
    }
}

#[test]
fn tier_up_can_be_forbidden() {
    let engine = tiered(TierUp::Never);
    let (mut store, instance) = instance(&engine, LOOP).unwrap();
    for _ in 0..10 {
        assert_eq!(sum(&mut store, &instance, 100_000), 5_000_050_000);
    }
    let stats = engine.stats();
    assert_eq!((stats.baseline_functions, stats.optimized_functions), (1, 0));
}

#[test]
fn an_executor_is_given_the_work() {
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let given = tasks.clone();
    let engine = tiered(TierUp::Executor(Arc::new(move |task| given.lock().unwrap().push(task))));
    let (mut store, instance) = instance(&engine, LOOP).unwrap();
    assert_eq!(sum(&mut store, &instance, 100_000), 5_000_050_000);
    assert_eq!(sum(&mut store, &instance, 100_000), 5_000_050_000);
    assert_eq!(engine.stats().optimized_functions, 0, "nobody ran it");
    let waiting: Vec<_> = std::mem::take(&mut *tasks.lock().unwrap());
    assert_eq!(waiting.len(), 1, "the function, once");
    std::thread::spawn(|| waiting.into_iter().for_each(|task| task())).join().unwrap();
    let stats = engine.stats();
    assert_eq!((stats.tier_ups, stats.loop_replacements), (1, 0), "no frame lasts");
    assert_eq!(sum(&mut store, &instance, 100_000), 5_000_050_000);
    assert!(tasks.lock().unwrap().is_empty());
    // Work for a module that is gone is no work.
    let module = Module::new(&engine, LOOP).unwrap();
    let mut other = Store::new(&engine, ());
    let instance = Instance::new(&mut other, &module, &[]).unwrap();
    assert_eq!(sum(&mut other, &instance, 100_000), 5_000_050_000);
    drop((other, module));
    let waiting: Vec<_> = std::mem::take(&mut *tasks.lock().unwrap());
    assert_eq!(waiting.len(), 1);
    waiting.into_iter().for_each(|task| task());
    assert_eq!(engine.stats().tier_ups, 1);
}

#[test]
fn a_frame_that_lasts_is_replaced_when_its_function_is_optimized() {
    let engine = tiered(TierUp::Executor(Arc::new(|task| task())));
    let (mut store, instance) = instance(&engine, LOOP).unwrap();
    assert_eq!(sum(&mut store, &instance, 100_000), 5_000_050_000);
    let stats = engine.stats();
    assert_eq!((stats.tier_ups, stats.loop_replacements), (1, 1));
}

/// A module of one valid function, and one that leaves an `i64` where an `i32` is wanted.
fn half_valid() -> Vec<u8> {
    let exports = [&[2u8, 4][..], b"fine", &[0, 0, 5], b"wrong", &[0, 1]].concat();
    binary(&[
        (1, vec![1, 0x60, 0, 1, 0x7f]),
        (3, vec![2, 0, 0]),
        (7, exports),
        (10, vec![2, 4, 0, 0x41, 7, 0x0b, 4, 0, 0x42, 7, 0x0b]),
    ])
}

#[test]
fn lazy_validation_traps_at_the_invalid_function() {
    for strategy in [Strategy::Baseline, Strategy::Tiered] {
        let strict = Engine::new(Config::new().strategy(strategy)).unwrap();
        let error = Module::new(&strict, half_valid()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidModule);
        assert!(error.to_string().starts_with("func 1"), "{error}");
        let lazy = Engine::new(Config::new().strategy(strategy).lazy_validation(true)).unwrap();
        let module = Module::new(&lazy, half_valid()).unwrap();
        let mut store = Store::new(&lazy, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for _ in 0..3 {
            let wrong = instance.get_typed_func::<(), i32>(&mut store, "wrong").unwrap();
            let error = wrong.call(&mut store, ()).unwrap_err();
            let backtrace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
            assert_eq!(backtrace.frames()[0].func_index(), 1);
            assert_eq!(trap::<()>(Err(error)), Trap::InvalidFunction);
            let fine = instance.get_typed_func::<(), i32>(&mut store, "fine").unwrap();
            assert_eq!(fine.call(&mut store, ()).unwrap(), 7);
        }
        assert!(module.serialize().is_err(), "it is not valid");
        // What is wrong outside of bodies is found at once.
        assert!(Module::new(&lazy, binary(&[(3, vec![1, 0])])).is_err());
    }
}

#[test]
fn artifacts_are_optimized_whatever_the_strategy() {
    let mut config = Config::new();
    config.artifact_key([1; 32]);
    let mut made = |strategy| {
        let engine = Engine::new(config.strategy(strategy)).unwrap();
        let module = Module::new(&engine, LOOP).unwrap();
        (module.serialize().unwrap(), engine.precompile_module(LOOP.as_bytes()).unwrap(), engine)
    };
    let (optimized, compiled, _) = made(Strategy::Optimizing);
    assert_eq!(optimized, compiled);
    for strategy in [Strategy::Tiered, Strategy::Baseline] {
        let (serialized, compiled, engine) = made(strategy);
        assert!(serialized == optimized && compiled == optimized, "{strategy:?}");
        let module = Module::deserialize(&engine, &serialized).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        assert_eq!(sum(&mut store, &instance, 1000), 500_500);
        assert_eq!(module.stats(), Stats::default());
    }
}

#[test]
fn concurrent_first_calls_compile_once() {
    let funcs: String = (0..50)
        .map(|n| {
            format!("(func (export \"f{n}\") (result i32) (i32.add (call $g) (i32.const {n})))")
        })
        .collect();
    let text = format!("(module (func $g (result i32) (i32.const 1000)) {funcs})");
    for round in 0..10 {
        let engine = engine(Strategy::Baseline, TierUp::Background);
        let module = &Module::new(&engine, &text).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(move || {
                    let mut store = Store::new(module.engine(), ());
                    let instance = Instance::new(&mut store, module, &[]).unwrap();
                    for n in 0..50 {
                        let name = format!("f{n}");
                        let func = instance.get_typed_func::<(), i32>(&mut store, &name).unwrap();
                        assert_eq!(func.call(&mut store, ()).unwrap(), 1000 + n);
                    }
                });
            }
        });
        assert_eq!(module.stats().baseline_functions, 51, "round {round}");
    }
}

/// Functions that call each other through tables, imports and directly, with loops, and that trap.
fn busy(number: i32) -> String {
    let funcs: String = (0..20)
        .map(|n| {
            let next = (n + 1) % 20;
            format!(
                r#"(func $f{n} (export "f{n}") (param $x i32) (result i32) (local $i i32)
                  (if (i32.eqz (local.get $x)) (then (return (i32.const {number}))))
                  (local.set $i (i32.const 30))
                  (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
                  (if (result i32) (i32.and (local.get $x) (i32.const 1))
                    (then (call $f{next} (i32.sub (local.get $x) (i32.const 1))))
                    (else (call_indirect (param i32) (result i32)
                      (i32.sub (local.get $x) (i32.const 1)) (i32.const {next})))))"#
            )
        })
        .collect();
    let elements: String = (0..20).map(|n| format!(" $f{n}")).collect();
    format!(
        r#"(module (memory 1) (table funcref (elem{elements})) {funcs}
          (func (export "trap") (param i32) (result i32)
            (drop (call $f3 (local.get 0))) (i32.load (i32.const -4))))"#
    )
}

#[test]
fn hammer_calls_while_functions_are_published() {
    let engine = tiered(TierUp::Background);
    let shared = Mutex::new((Module::new(&engine, busy(0)).unwrap(), 0));
    let end = Instant::now() + Duration::from_secs(4);
    let calls = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (engine, shared, calls) = (&engine, &shared, &calls);
            scope.spawn(move || {
                let mut round = thread;
                while Instant::now() < end {
                    let (module, number) = shared.lock().unwrap().clone();
                    let mut store = Store::new(engine, ());
                    let instance = Instance::new(&mut store, &module, &[]).unwrap();
                    for _ in 0..40 {
                        round += 1;
                        let name = format!("f{}", round % 20);
                        let func = instance.get_typed_func::<i32, i32>(&mut store, &name).unwrap();
                        assert_eq!(func.call(&mut store, 50).unwrap(), number);
                        let traps =
                            instance.get_typed_func::<i32, i32>(&mut store, "trap").unwrap();
                        assert_eq!(trap(traps.call(&mut store, 9)), Trap::MemoryOutOfBounds);
                        calls.fetch_add(1, SeqCst);
                    }
                    if thread == 0 && module.stats().tier_ups > 15 {
                        let fresh = Module::new(engine, busy(number + 1)).unwrap();
                        *shared.lock().unwrap() = (fresh, number + 1);
                    }
                }
            });
        }
    });
    let (modules, stats) = (shared.into_inner().unwrap().1, engine.stats());
    println!("{} calls, {modules} modules, {stats:?}", calls.into_inner());
    assert!(stats.tier_ups > 0 && stats.refused_tier_ups == 0);
    if let Ok(maps) = std::fs::read_to_string("/proc/self/maps") {
        let both = maps.lines().find(|line| line.contains("rwx"));
        assert_eq!(both, None, "no memory is writable and executable");
    }
}

#[test]
fn an_engine_is_dropped_while_its_thread_works() {
    // So many functions that the thread has work left.
    for milliseconds in [0, 1, 3, 10, 30] {
        let engine = tiered(TierUp::Background);
        let module = Module::new(&engine, busy(1)).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let func = instance.get_typed_func::<i32, i32>(&mut store, "f0").unwrap();
        for _ in 0..200 {
            assert_eq!(func.call(&mut store, 100).unwrap(), 1);
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        let (done, is_done) = mpsc::channel();
        let dropping = std::thread::spawn(move || {
            drop((store, module, engine));
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(60)).expect("dropping ends");
        dropping.join().unwrap();
    }
}

#[test]
fn a_host_function_may_run_between_counts_and_replacement() {
    // The host calls back into the function whose loop is about to be replaced, in another store too.
    let engine = tiered(TierUp::Synchronous(20));
    let text = r#"(module (import "" "h" (func $h (param i64) (result i64)))
        (func (export "sum") (param $n i64) (result i64) (local $sum i64)
          (if (i64.eqz (local.get $n)) (then (return (i64.const 0))))
          (loop $again
            (local.set $sum (i64.add (local.get $sum) (call $h (local.get $n))))
            (br_if $again
              (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
          (local.get $sum)))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    let inner = AtomicBool::new(false);
    linker
        .func_wrap("", "h", move |mut caller: Caller<'_, ()>, n: i64| -> Result<i64> {
            if !inner.swap(true, SeqCst) {
                let func = caller.get_export("sum").and_then(Extern::into_func).unwrap();
                let func = func.typed::<i64, i64>(&caller)?;
                assert_eq!(func.call(&mut caller, 20)?, 210);
                inner.store(false, SeqCst);
            }
            Ok(n)
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    for n in [1, 2, 5, 50] {
        assert_eq!(sum(&mut store, &instance, n), n * (n + 1) / 2);
    }
    assert_eq!(module.stats().loop_replacements, 1);
}

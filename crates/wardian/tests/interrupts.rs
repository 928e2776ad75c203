//! Guests that are stopped, by epochs and by fuel: where, when, and that no choice of strategy or checks
//! makes a difference.

#![forbid(unsafe_code)]

mod common;

use common::trap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use wardian::*;

/// Engines of every strategy, with every way to go from tier to tier, with and without signals and
/// inlining.
fn modes(meter: impl Fn(&mut Config)) -> Vec<(String, Engine)> {
    let strategies = [
        (Strategy::Optimizing, TierUp::Never),
        (Strategy::Baseline, TierUp::Never),
        (Strategy::Tiered, TierUp::Background),
        (Strategy::Tiered, TierUp::Synchronous(1)),
        (Strategy::Tiered, TierUp::Synchronous(4)),
        (Strategy::Tiered, TierUp::Synchronous(33)),
    ];
    let mut modes = Vec::new();
    for (strategy, tier_up) in strategies {
        for signals in [true, false] {
            for level in [OptLevel::Speed, OptLevel::None] {
                let mut config = Config::new();
                config.strategy(strategy).tier_up(tier_up.clone()).cranelift_opt_level(level);
                if !signals {
                    config.signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
                }
                meter(&mut config);
                let name = format!("{strategy:?}, {tier_up:?}, signals {signals}, {level:?}");
                modes.push((name, Engine::new(&config).expect("they fit together")));
            }
        }
    }
    modes
}

fn fuelled() -> Vec<(String, Engine)> {
    modes(|config| _ = config.consume_fuel(true))
}

fn with_epochs() -> Vec<(String, Engine)> {
    modes(|config| _ = config.epoch_interruption(true))
}

// ---- fuel ----

/// Every kind of segment end, trap and call. `run(case, n)`.
const PROGRAM: &str = r#"(module
    (import "host" "refuel" (func $refuel (param i64)))
    (memory 1 4)
    (table $t 4 8 funcref)
    (elem (table $t) (i32.const 0) func $add $small $deep)
    (data $d "0123456789abcdef")
    (global $g (mut i32) (i32.const 0))
    (type $binary (func (param i32 i32) (result i32)))
    (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func $small (param i32) (result i32)
      (if (result i32) (i32.and (local.get 0) (i32.const 1))
        (then (i32.mul (local.get 0) (i32.const 3)))
        (else (nop) (i32.shr_u (local.get 0) (i32.const 1)))))
    (func $deep (param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
      (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
    (func $early (param i32) (result i32)
      (block $out
        (br_if $out (i32.lt_u (local.get 0) (i32.const 3)))
        (global.set $g (i32.add (global.get $g) (i32.const 1)))
        (br_if $out (i32.lt_u (local.get 0) (i32.const 5)))
        (return (i32.const 7)))
      (global.get $g))
    (func $load (param i32) (result i32)
      (i32.add (i32.load (local.get 0)) (i32.mul (i32.load offset=4 (local.get 0)) (i32.const 5))))
    (func $loop (export "loop") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (local.set $sum (i32.add (call $small (local.get $n)) (local.get $sum)))
        (local.set $sum (call $add (local.get $sum) (call $early (local.get $n))))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "nested") (param $n i32) (result i32) (local $i i32) (local $sum i32)
      (loop $outer
        (local.set $i (local.get $n))
        (loop $inner (param) (result)
          (local.set $sum (i32.add (local.get $sum) (local.get $i)))
          (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "switch") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (block $c (block $b (block $a
          (br_table $a $b $c $a (i32.rem_u (local.get $n) (i32.const 4))))
          (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
          (br $c))
          (local.set $sum (i32.mul (local.get $sum) (i32.const 3))))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "divide") (param $n i32) (result i32) (local $sum i32)
      (local.set $n (i32.add (local.get $n) (i32.const 2)))
      (loop $again
        (local.set $sum (i32.add (local.get $sum)
          (i32.div_u (i32.const 1000) (i32.sub (local.get $n) (i32.const 2)))))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $again))
      (unreachable))
    (func (export "access") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (local.set $sum (i32.add (local.get $sum) (call $load (local.get $n))))
        (i32.store (i32.mul (local.get $n) (i32.const 7)) (local.get $sum))
        (local.set $n (i32.shl (local.get $n) (i32.const 1)))
        (br $again))
      (unreachable))
    (func (export "convert") (param $n i32) (result i32)
      (i32.add (i32.trunc_f64_s (f64.mul (f64.convert_i32_s (local.get $n)) (f64.const 1e8)))
               (i32.const 1)))
    (func (export "indirect") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (local.set $sum (i32.add (local.get $sum)
          (call_indirect $t (type $binary) (i32.const 1) (i32.const 2) (local.get $sum))))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "deep") (param $n i32) (result i32)
      (call $deep (i32.mul (local.get $n) (local.get $n))))
    (func $count (param $n i32) (param $sum i32) (result i32)
      (if (i32.eqz (local.get $n)) (then (return (local.get $sum))))
      (return_call $count (i32.sub (local.get $n) (i32.const 1))
        (i32.add (local.get $sum) (call $small (local.get $n)))))
    (func (export "tail") (param $n i32) (result i32)
      (return_call $count (local.get $n) (i32.const 0)))
    (func (export "bulk") (param $n i32) (result i32)
      (memory.fill (i32.const 0) (i32.const 1) (i32.mul (local.get $n) (i32.const 10)))
      (memory.copy (i32.const 5) (i32.const 0) (local.get $n))
      (memory.init $d (i32.const 64) (i32.const 0) (local.get $n))
      (drop (memory.grow (local.get $n)))
      (table.fill $t (i32.const 0) (ref.null func) (local.get $n))
      (drop (table.grow $t (ref.null func) (local.get $n)))
      (table.copy $t $t (i32.const 0) (i32.const 1) (local.get $n))
      (data.drop $d)
      (i32.load (local.get $n)))
    (func (export "host") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (call $refuel (i64.extend_i32_u (local.get $n)))
        (local.set $sum (i32.add (local.get $sum) (local.get $n)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "long") (param $n i32) (result i32)
      LONG
      (unreachable))
    (func (export "overflow") (param $n i32) (result i32)
      (i32.add (i32.const 1) (call $forever (local.get $n))))
    (func $forever (param i32) (result i32)
      (i32.add (i32.const 1) (call $forever (local.get 0))))
)"#;

fn program() -> String {
    // More than a byte's worth of instructions, in one segment.
    PROGRAM.replace("LONG", &"(global.set $g (i32.add (global.get $g) (i32.const 3)))".repeat(100))
}

/// What a call of `name` with `n` and `fuel` ends with, in a fresh instance, and the fuel left.
fn burn(module: &Module, name: &str, n: i32, fuel: u64) -> (Result<i32, Trap>, u64) {
    let mut store = Store::new(module.engine(), ());
    store.set_fuel(fuel).unwrap();
    let refuel = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, more: i64| -> Result<()> {
        let fuel = caller.get_fuel()?;
        caller.set_fuel(fuel + more as u64)
    });
    let instance = Instance::new(&mut store, module, &[refuel.into()]).unwrap();
    let func = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
    let result = match func.call(&mut store, n) {
        Ok(value) => Ok(value),
        Err(error) => Err(trap(Err::<(), _>(error))),
    };
    (result, store.get_fuel().unwrap())
}

const CASES: [&str; 13] = [
    "loop", "nested", "switch", "divide", "access", "convert", "indirect", "deep", "tail", "bulk",
    "host", "long", "overflow",
];

#[test]
fn fuel_is_the_same_in_every_mode() {
    let text = program();
    let modes: Vec<_> = fuelled()
        .into_iter()
        .map(|(name, engine)| (name, Module::new(&engine, &text).unwrap()))
        .collect();
    for name in CASES {
        for n in [1, 2, 3, 5, 40] {
            // A stack holds more or fewer frames of another tier.
            let plenty = if name == "overflow" { 2_000 } else { 1 << 40 };
            let mut expected = Vec::new();
            let (result, left) = burn(&modes[0].1, name, n, plenty);
            let used = plenty.saturating_sub(left).min(400);
            // All there is to pay, and less, by steps and by all of the last.
            let amounts = (0..used).step_by(1 + used as usize / 16).chain(used..used + 2);
            for fuel in amounts.chain([plenty, u64::MAX >> 1]) {
                if name == "overflow" && fuel > plenty {
                    continue;
                }
                let first = burn(&modes[0].1, name, n, fuel);
                expected.push((fuel, first));
            }
            assert!(expected.iter().any(|(_, (found, _))| *found == result));
            for (mode, module) in &modes[1..] {
                for (fuel, expected) in &expected {
                    let found = burn(module, name, n, *fuel);
                    assert_eq!(found, *expected, "{name}({n}) with {fuel}, {mode}");
                }
            }
        }
    }
}

/// Calls `f` of a module and gives back what it used.
fn used(text: &str, expected: Result<i32, Trap>) -> u64 {
    let mut all = Vec::new();
    for (mode, engine) in fuelled() {
        let text =
            format!("(module (memory 1 2) (func (export \"f\") (param i32) (result i32) {text}))");
        let module = Module::new(&engine, text).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000_000).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let func = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
        let found = func.call(&mut store, 3).map_err(|error| trap(Err::<(), _>(error)));
        assert_eq!(found, expected, "{mode}");
        all.push(1_000_000 - store.get_fuel().unwrap());
    }
    assert!(all.iter().all(|used| *used == all[0]), "{all:?}");
    all[0]
}

#[test]
fn instructions_are_counted_one_by_one() {
    assert_eq!(used("(i32.const 1)", Ok(1)), 1);
    assert_eq!(used("(nop) (block) (drop (i32.const 2)) (return (local.get 0))", Ok(3)), 2);
    // Three turns of four, one before, one after.
    let turns = "(drop (i32.const 1))
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0)";
    assert_eq!(used(turns, Ok(0)), 1 + 3 * 5 + 1);
    let arms = "(if (result i32) (local.get 0) (then (i32.const 1)) \
                (else (i32.add (local.get 0) (i32.const 1))))";
    assert_eq!(used(arms, Ok(1)), 3);
    // What follows a trap in its segment is not paid for.
    let divided = "(i32.add (i32.div_s (i32.const 1) (i32.const 0)) (i32.const 1))";
    assert_eq!(used(divided, Err(Trap::IntegerDivisionByZero)), 3);
    let accessed = "(i32.add (i32.load (i32.const -1)) (i32.const 1))";
    assert_eq!(used(accessed, Err(Trap::MemoryOutOfBounds)), 2);
    assert_eq!(used("(local.get 0) (unreachable)", Err(Trap::UnreachableCodeReached)), 1);
    // By size, if it can be done.
    let fill =
        |n| format!("(memory.fill (i32.const 0) (i32.const 0) (i32.const {n})) (i32.const 1)");
    assert_eq!(used(&fill(100), Ok(1)), 4 + 100 + 1);
    assert_eq!(used(&fill(70_000), Err(Trap::MemoryOutOfBounds)), 4);
    assert_eq!(used("(memory.grow (i32.const 1))", Ok(1)), 2 + 1);
    assert_eq!(used("(memory.grow (i32.const 2))", Ok(-1)), 2);
}

/// What is done to many elements of an array costs as much more, on every tier; without so much fuel it is not
/// begun.
#[test]
fn arrays_are_paid_for_by_size() {
    let operations = [
        "(drop (array.new $bytes (i32.const 1) (local.get 0)))",
        "(drop (array.new_default $bytes (local.get 0)))",
        "(drop (array.new_data $bytes $data (i32.const 0) (local.get 0)))",
        "(array.fill $bytes (global.get $a) (i32.const 0) (i32.const 1) (local.get 0))",
        "(array.copy $bytes $bytes (global.get $a) (i32.const 0) (global.get $a) (i32.const 9) (local.get 0))",
        "(array.init_data $bytes $data (global.get $a) (i32.const 0) (i32.const 0) (local.get 0))",
    ];
    let functions: String = operations
        .iter()
        .enumerate()
        .map(|(n, operation)| format!("(func (export \"{n}\") (param i32) {operation})"))
        .collect();
    let text = format!(
        "(module (type $bytes (array (mut i8))) (data $data \"{}\")
           (global $a (ref $bytes) (array.new $bytes (i32.const 0) (i32.const 1000))) {functions})",
        "x".repeat(1000)
    );
    let modes = modes(|config| {
        config.consume_fuel(true).wasm_gc(true);
    });
    for (mode, engine) in modes {
        let module = Module::new(&engine, &text).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000_000).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for (n, operation) in operations.iter().enumerate() {
            let func = instance.get_typed_func::<i32, ()>(&mut store, &n.to_string()).unwrap();
            let mut used = |count: i32, fuel: u64| {
                store.set_fuel(fuel).unwrap();
                let result = func.call(&mut store, count);
                (
                    result.map_err(|error| trap(Err::<(), _>(error))),
                    fuel - store.get_fuel().unwrap(),
                )
            };
            let (none, some) = (used(0, 10_000), used(700, 10_000));
            assert_eq!((none.0, some.0), (Ok(()), Ok(())), "{mode}: {operation}");
            assert_eq!(some.1, none.1 + 700, "{mode}: {operation}");
            assert_eq!(used(700, 600).0, Err(Trap::OutOfFuel), "{mode}: {operation}");
        }
    }
}

#[test]
fn fuel_is_refused_where_it_is_not_consumed() {
    let mut store = Store::new(&Engine::default(), ());
    for error in [store.get_fuel().unwrap_err(), store.set_fuel(1).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(error.to_string().contains("fuel is not configured"), "{error}");
    }
}

#[test]
fn a_store_begins_without_fuel() {
    for (mode, engine) in fuelled() {
        let module =
            Module::new(&engine, r#"(module (func (export "f") (drop (i32.const 1))))"#).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let func = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        assert_eq!(trap(func.call(&mut store, ())), Trap::OutOfFuel, "{mode}");
        store.set_fuel(u64::MAX).unwrap();
        func.call(&mut store, ()).unwrap();
        assert_eq!(store.get_fuel().unwrap(), u64::MAX - 1, "{mode}");
    }
}

#[test]
fn start_functions_pay() {
    for (mode, engine) in fuelled() {
        let module = Module::new(&engine, "(module (func $s (loop (br 0))) (start $s))").unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000).unwrap();
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel), "{mode}");
        assert_eq!(store.get_fuel().unwrap(), 0);
    }
}

#[test]
fn backtraces_off_change_no_fuel() {
    let text = program();
    let module = |limit: bool| {
        let mut config = Config::new();
        config.consume_fuel(true).strategy(Strategy::Optimizing).wasm_backtrace(limit);
        Module::new(&Engine::new(&config).unwrap(), &text).unwrap()
    };
    let (with, without) = (module(true), module(false));
    for name in ["divide", "access", "convert", "long"] {
        assert_eq!(burn(&with, name, 40, 1 << 20), burn(&without, name, 40, 1 << 20), "{name}");
    }
}

// ---- epochs ----

const SPINS: &str = r#"(module
    (memory 1)
    (global $turns (export "turns") (mut i64) (i64.const 0))
    (func (export "loop") (param $x i64) (result i64) (local $y f64)
      (local.set $y (f64.const 1.5))
      (loop $again
        (local.set $x (i64.add (local.get $x) (i64.const 1)))
        (global.set $turns (i64.add (global.get $turns) (i64.const 1)))
        (br_if $again (f64.gt (local.get $y) (f64.const 1))))
      (local.get $x))
    (func (export "inner") (param $x i64) (result i64) (local $i i64)
      (loop $outer
        (local.set $i (i64.const 3))
        (loop $inner
          (global.set $turns (i64.add (global.get $turns) (i64.const 1)))
          (br_if $inner (i64.ne (i64.const 0)
            (local.tee $i (i64.sub (local.get $i) (i64.const 1))))))
        (br $outer))
      (unreachable))
    (func (export "empty") (param $x i64) (result i64) (loop $again (br $again)) (unreachable))
    (func $tail (export "tail") (param $x i64) (result i64)
      (global.set $turns (i64.add (global.get $turns) (i64.const 1)))
      (return_call $tail (local.get $x)))
    (func $spin (param i64) (loop $again (br $again)))
    (func (export "inlined") (param $x i64) (result i64) (call $spin (local.get $x)) (local.get $x))
    (func $even (param $n i64) (result i64)
      (if (result i64) (i64.eqz (local.get $n)) (then (i64.const 0))
        (else (call $odd (i64.sub (local.get $n) (i64.const 1))))))
    (func $odd (param $n i64) (result i64) (call $even (i64.sub (local.get $n) (i64.const 1))))
    (func (export "calls") (param $x i64) (result i64) (local $i i64)
      (drop (call $even (i64.const 100)))
      (return_call 8 (local.get $x)))
)"#;

const SPINNING: [&str; 6] = ["loop", "inner", "empty", "tail", "inlined", "calls"];

fn spinner(engine: &Engine) -> (Store<u32>, Instance) {
    let module = Module::new(engine, SPINS).unwrap();
    let mut store = Store::new(engine, 0);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[test]
fn a_deadline_that_has_come_is_a_trap_at_once() {
    for (mode, engine) in with_epochs() {
        let (mut store, instance) = spinner(&engine);
        for name in SPINNING {
            let func = instance.get_typed_func::<i64, i64>(&mut store, name).unwrap();
            assert_eq!(trap(func.call(&mut store, 1)), Trap::Interrupt, "{name}, {mode}");
        }
        let turns = instance.get_global(&mut store, "turns").unwrap().get(&mut store);
        assert_eq!(turns.unwrap_i64(), 0, "{mode}");
    }
}

#[test]
fn a_guest_goes_on_where_it_was_asked() {
    for (mode, engine) in with_epochs() {
        let (mut store, instance) = spinner(&engine);
        store.epoch_deadline_callback(|mut context| {
            *context.data_mut() += 1;
            Ok(match *context.data() {
                // Asked again at the next turn, as the epoch stands still.
                101 => UpdateDeadline::Interrupt,
                _ => UpdateDeadline::Continue(0),
            })
        });
        for name in SPINNING {
            *store.data_mut() = 0;
            let func = instance.get_typed_func::<i64, i64>(&mut store, name).unwrap();
            assert_eq!(trap(func.call(&mut store, 1)), Trap::Interrupt, "{name}, {mode}");
            assert_eq!(*store.data(), 101, "{name}, {mode}");
        }
    }
}

/// Every register has something in it where the callback comes.
#[test]
fn an_interruption_changes_no_value() {
    let mut text = String::from("(module (func (export \"f\") (param i32) (result f64)");
    for local in 1..30 {
        text += &format!("(local $i{local} i64) (local $f{local} f64)");
    }
    for local in 1..30 {
        text += &format!("(local.set $i{local} (i64.const {local}))");
        text += &format!("(local.set $f{local} (f64.const {local}))");
    }
    text += "(loop $again";
    for local in 1..29 {
        let next = local + 1;
        text += &format!(
            "(local.set $i{local} (i64.add (local.get $i{local}) (local.get $i{next})))
             (local.set $f{local} (f64.add (local.get $f{local}) (local.get $f{next})))"
        );
    }
    text += "(br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))";
    text += "(f64.const 0)";
    for local in 1..30 {
        text += &format!("(f64.add (f64.convert_i64_u (local.get $i{local})))");
        text += &format!("(f64.add (local.get $f{local}))");
    }
    text += "))";
    let call = |engine: &Engine| {
        let module = Module::new(engine, &text).unwrap();
        let mut store = Store::new(engine, 0u32);
        store.epoch_deadline_callback(|mut context| {
            *context.data_mut() += 1;
            // What host code leaves in registers.
            std::hint::black_box([1.5f64; 32].map(|x| x * std::hint::black_box(2.0)));
            Ok(UpdateDeadline::Continue(0))
        });
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let func = instance.get_typed_func::<i32, f64>(&mut store, "f").unwrap();
        (func.call(&mut store, 40).unwrap(), store.into_data())
    };
    let (expected, _) = call(&Engine::default());
    for (mode, engine) in with_epochs() {
        let (found, asked) = call(&engine);
        assert_eq!(found, expected, "{mode}");
        let replaced = engine.stats().loop_replacements > 0;
        assert!(replaced || !mode.contains("Synchronous"), "{mode}");
        // On entry, on each turn, and where a frame is replaced perhaps once more.
        assert!((40..=42).contains(&asked), "{asked}, {mode}");
    }
}

#[test]
fn errors_of_a_callback_end_the_guest() {
    for (mode, engine) in with_epochs() {
        let (mut store, instance) = spinner(&engine);
        store.epoch_deadline_callback(|_| Err(Error::msg("enough")));
        let func = instance.get_typed_func::<i64, i64>(&mut store, "loop").unwrap();
        let error = func.call(&mut store, 1).unwrap_err();
        assert!(format!("{error:#}").contains("enough"), "{error:?}, {mode}");
        assert_eq!(error.kind(), ErrorKind::Host);
        store.epoch_deadline_trap();
        assert_eq!(trap(func.call(&mut store, 1)), Trap::Interrupt);
    }
}

#[test]
fn a_callback_may_call_guests_and_choose_another() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let (mut store, instance) = spinner(&engine);
    let func = instance.get_typed_func::<i64, i64>(&mut store, "loop").unwrap();
    let inner = func;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let found = seen.clone();
    store.epoch_deadline_callback(move |mut context| {
        // Its own deadline has come too, and nobody is asked.
        found.lock().unwrap().push(trap(inner.call(&mut context, 1)));
        context.epoch_deadline_trap();
        Ok(UpdateDeadline::Continue(0))
    });
    assert_eq!(trap(func.call(&mut store, 1)), Trap::Interrupt);
    assert_eq!(*seen.lock().unwrap(), [Trap::Interrupt]);
}

#[test]
fn a_panic_of_a_callback_comes_through() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let (mut store, instance) = spinner(&engine);
    store.epoch_deadline_callback(|_| panic!("in the callback"));
    let func = instance.get_typed_func::<i64, i64>(&mut store, "loop").unwrap();
    assert_eq!(common::panic_text(|| _ = func.call(&mut store, 1)), "in the callback");
    assert_eq!(trap(func.call(&mut store, 1)), Trap::Interrupt);
}

#[test]
fn deadlines_are_counted_from_the_current_epoch() {
    for (mode, engine) in with_epochs() {
        let text = r#"(module (import "" "tick" (func $tick))
            (func (export "f") (param $n i32) (result i32) (local $turns i32)
              (loop $again
                (call $tick)
                (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $turns) (local.get $n))))
              (local.get $turns)))"#;
        let module = Module::new(&engine, text).unwrap();
        let mut store = Store::new(&engine, 0);
        let ticker = engine.clone();
        let tick = Func::wrap(&mut store, move |mut caller: Caller<'_, i32>| {
            ticker.weak().upgrade().unwrap().increment_epoch();
            *caller.data_mut() += 1;
            if *caller.data() == 20 {
                // A deadline that is moved while a guest runs counts at once.
                caller.as_context_mut().set_epoch_deadline(1);
            }
        });
        let instance = Instance::new(&mut store, &module, &[tick.into()]).unwrap();
        let func = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
        for (ticks, turns, expected) in
            [(5, 5, Some(5)), (5, 6, None), (u64::MAX, 15, Some(15)), (1_000, 9, None)]
        {
            *store.data_mut() = if turns == 9 { 15 } else { -100 };
            store.set_epoch_deadline(ticks);
            let found = func.call(&mut store, turns);
            match expected {
                Some(expected) => assert_eq!(found.unwrap(), expected, "{mode}"),
                None => assert_eq!(trap(found), Trap::Interrupt, "{mode}"),
            }
        }
        assert_eq!(*store.data(), 21, "{mode}");
    }
}

#[test]
fn hammer_of_ticks_from_another_thread() {
    for (mode, engine) in with_epochs() {
        let (mut store, instance) = spinner(&engine);
        let done = Arc::new(AtomicBool::new(false));
        let ticker = std::thread::spawn({
            let (engine, done) = (engine.clone(), done.clone());
            move || {
                while !done.load(SeqCst) {
                    engine.increment_epoch();
                    std::thread::yield_now();
                }
            }
        });
        for name in SPINNING {
            let func = instance.get_typed_func::<i64, i64>(&mut store, name).unwrap();
            for ticks in [1, 3] {
                store.set_epoch_deadline(ticks);
                assert_eq!(trap(func.call(&mut store, 1)), Trap::Interrupt, "{name}, {mode}");
            }
        }
        done.store(true, SeqCst);
        ticker.join().unwrap();
    }
}

#[test]
fn fuel_and_epochs_together() {
    let text = program();
    let plain = fuelled().remove(0).1;
    let plain = Module::new(&plain, &text).unwrap();
    for (mode, engine) in modes(|config| _ = config.consume_fuel(true).epoch_interruption(true)) {
        let module = Module::new(&engine, &text).unwrap();
        for name in ["loop", "nested", "switch", "divide", "access", "deep", "tail"] {
            let mut store = Store::new(&engine, 0u32);
            store.epoch_deadline_callback(|mut context| {
                // Fuel may be changed here too.
                let fuel = context.get_fuel()?;
                context.set_fuel(fuel - 1_000)?;
                *context.data_mut() += 1;
                Ok(UpdateDeadline::Continue(0))
            });
            store.set_fuel(1 << 40).unwrap();
            let refuel = Func::wrap(&mut store, |_: i64| {});
            let instance = Instance::new(&mut store, &module, &[refuel.into()]).unwrap();
            let func = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
            let result = func.call(&mut store, 40).map_err(|error| trap(Err::<(), _>(error)));
            let asked = u64::from(*store.data());
            assert!(asked > 0);
            let left = store.get_fuel().unwrap() + 1_000 * asked;
            assert_eq!((result, left), burn(&plain, name, 40, 1 << 40), "{name}, {mode}");
        }
    }
}

// ---- what code was made for ----

#[test]
fn artifacts_are_for_the_same_limits() {
    let engine = |fuel, epochs| {
        let mut config = Config::new();
        config.artifact_key([7; 32]).consume_fuel(fuel).epoch_interruption(epochs);
        Engine::new(&config).unwrap()
    };
    let all = [(false, false), (false, true), (true, false), (true, true)];
    for (fuel, epochs) in all {
        let artifact = engine(fuel, epochs).precompile_module(SPINS.as_bytes()).unwrap();
        for (other_fuel, other_epochs) in all {
            let loaded = Module::deserialize(&engine(other_fuel, other_epochs), &artifact);
            assert_eq!(loaded.is_ok(), (fuel, epochs) == (other_fuel, other_epochs));
            if let Err(error) = loaded {
                let name = if fuel != other_fuel { "consume-fuel" } else { "epoch-interruption" };
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
}

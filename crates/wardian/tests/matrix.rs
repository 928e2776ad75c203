//! One program, which has objects, exceptions and a shared memory too, in every mode: strategies, ways to go
//! from tier to tier, signals and explicit checks, moving memories, fuel, epochs, both and neither. Results, traps with all their frames and offsets, fuel, growth
//! under limits and the end of the stack are the same in all of them, and in every repetition.

#![forbid(unsafe_code)]

mod common;

use std::collections::BTreeMap;
use wardian::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Meters {
    fuel: bool,
    epochs: bool,
}

struct Mode {
    name: String,
    meters: Meters,
    module: Module,
}

/// Every mode, those of equal meters together.
fn modes() -> Vec<Mode> {
    let strategies = [
        (Strategy::Optimizing, TierUp::Never, OptLevel::Speed),
        (Strategy::Optimizing, TierUp::Never, OptLevel::None),
        (Strategy::Baseline, TierUp::Never, OptLevel::Speed),
        (Strategy::Tiered, TierUp::Synchronous(1), OptLevel::Speed),
        (Strategy::Tiered, TierUp::Synchronous(7), OptLevel::Speed),
        (Strategy::Tiered, TierUp::Background, OptLevel::Speed),
    ];
    let mut modes = Vec::new();
    for (fuel, epochs) in [(false, false), (true, false), (false, true), (true, true)] {
        let meters = Meters { fuel, epochs };
        for (strategy, tier_up, level) in &strategies {
            for checks in ["signals", "explicit", "moving"] {
                let mut config = Config::new();
                config.strategy(*strategy).tier_up(tier_up.clone()).cranelift_opt_level(*level);
                config.consume_fuel(fuel).epoch_interruption(epochs);
                config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
                config.wasm_gc(true).wasm_threads(true);
                if checks != "signals" {
                    config.signals_based_traps(false);
                }
                if checks == "moving" {
                    config.memory_reservation(0).memory_guard_size(0);
                }
                let name = format!("{strategy:?}, {tier_up:?}, {level:?}, {checks}, {meters:?}");
                let engine = Engine::new(&config).expect("they fit together");
                modes.push(Mode { name, meters, module: Module::new(&engine, PROGRAM).unwrap() });
            }
        }
    }
    modes
}

const PROGRAM: &str = r#"(module $matrix
    (import "host" "back" (func $back (param i32) (result i32)))
    (memory (export "memory") 1 100)
    (table $t (export "table") 4 20 funcref)
    (elem (table $t) (i32.const 0) func $double $wide)
    (data $d "0123456789")
    (global $g (export "global") (mut i32) (i32.const 0))
    (type $unary (func (param i32) (result i32)))
    (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
    (func $wide (param i32 i64) (result i32) (local.get 0))
    ;; Small functions, which are inlined where that is done.
    (func $divide (param i32) (result i32) (i32.div_s (i32.const -2147483648) (local.get 0)))
    (func $load (param i32) (result i32) (i32.load offset=3 (local.get 0)))
    (func $around (param i32) (result i32) (i32.add (i32.const 1) (call $divide (local.get 0))))

    (func (export "divide") (param i32) (result i32) (call $around (local.get 0)))
    (func (export "convert") (param i32) (result i32)
      (i32.trunc_f32_u (f32.mul (f32.convert_i32_s (local.get 0)) (f32.const 65536))))
    (func (export "load") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (local.set $sum (i32.add (local.get $sum) (call $load (local.get $n))))
        (i32.store8 (local.get $n) (local.get $sum))
        (local.set $n (i32.shl (local.get $n) (i32.const 1)))
        (br_if $again (local.get $n)))
      (local.get $sum))
    (func (export "vector") (param i32) (result i32)
      (v128.store offset=100 (local.get 0) (v128.load (local.get 0)))
      (i32x4.extract_lane 1 (f32x4.div (f32x4.splat (f32.const 0)) (f32x4.splat (f32.const 0)))))
    (func (export "indirect") (param i32) (result i32)
      (call_indirect $t (type $unary) (i32.const 21) (local.get 0)))
    (func (export "tail indirect") (param i32) (result i32)
      (return_call_indirect $t (type $unary) (i32.const 21) (local.get 0)))
    (func (export "fill") (param i32) (result i32)
      (memory.fill (i32.const 10) (i32.const 7) (local.get 0))
      (i32.load8_u (i32.and (local.get 0) (i32.const 15))))
    (func (export "init") (param i32) (result i32)
      (memory.init $d (local.get 0) (i32.const 2) (i32.const 8))
      (i32.load8_u (local.get 0)))
    (func (export "table set") (param i32) (result i32)
      (table.set $t (local.get 0) (ref.func $double)) (table.size $t))
    (func (export "unreachable") (param i32) (result i32)
      (if (local.get 0) (then (global.set $g (local.get 0)) (unreachable))) (i32.const 1))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow table") (param i32) (result i32)
      (table.grow $t (ref.null func) (local.get 0)))
    (func (export "nan") (param i32) (result i32)
      (i32.reinterpret_f32 (f32.sqrt (f32.convert_i32_s (local.get 0)))))
    (func (export "loops") (param $n i32) (result i32) (local $i i32) (local $sum i32)
      (loop $outer
        (local.set $i (local.get $n))
        (loop $inner
          (local.set $sum (i32.add (call $double (local.get $sum)) (local.get $i)))
          (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "host") (param i32) (result i32)
      (i32.add (call $back (local.get 0)) (call $back (i32.const 3))))

    (tag $e (param i32))
    (func $thrower (param i32)
      (if (i32.gt_s (local.get 0) (i32.const 5)) (then (throw $e (local.get 0)))))
    (func $between (param i32) (call $thrower (local.get 0)) (call $thrower (local.get 0)))
    (func (export "catch") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (block $caught (result i32)
          (try_table (catch $e $caught)
            (call $between (local.get $n))
            (call $between (i32.mul (local.get $n) (i32.const 2))))
          (i32.const 1000))
        (local.set $sum (i32.add (local.get $sum)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "trap in try") (param i32) (result i32)
      (block $caught
        (return (try_table (result i32) (catch_all $caught) (call $around (local.get 0)))))
      (i32.const -1))

    (func (export "throw again") (param $n i32) (result i32) (local $caught exnref)
      (block $done (result i32)
        (try_table (result i32) (catch $e $done)
          (block $first (result exnref)
            (try_table (catch_all_ref $first) (call $thrower (local.get $n)))
            (return (i32.const -7)))
          (local.set $caught)
          (drop (struct.new $node (ref.null $node) (local.get $n)))
          (throw_ref (local.get $caught)))))

    ;; Objects.
    (type $node (struct (field $next (ref null $node)) (field $value (mut i32))))
    (type $ints (array (mut i32)))
    (type $bytes (array (mut i8)))
    (func (export "list") (param $n i32) (result i32)
      (local $list (ref null $node)) (local $i i32) (local $sum i32)
      (local.set $i (local.get $n))
      (loop $again
        (local.set $list (struct.new $node (local.get $list) (local.get $i)))
        (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (loop $again
        (local.set $sum (i32.mul (i32.const 3)
          (i32.add (local.get $sum) (struct.get $node $value (local.get $list)))))
        (local.set $list (struct.get $node $next (local.get $list)))
        (br_if $again (i32.eqz (ref.is_null (local.get $list)))))
      (local.get $sum))
    (func (export "array") (param $n i32) (result i32) (local $a (ref $ints))
      (local.set $a (array.new $ints (i32.const 7) (i32.const 100)))
      (array.fill $ints (local.get $a) (i32.const 10) (i32.const 5) (local.get $n))
      (array.copy $ints $ints (local.get $a) (i32.const 20) (local.get $a) (i32.const 5) (local.get $n))
      (array.get $ints (local.get $a) (i32.mul (local.get $n) (i32.const 2))))
    (func (export "array of data") (param $n i32) (result i32)
      (array.get_u $bytes (array.new_data $bytes $d (i32.const 2) (local.get $n)) (i32.const 3)))
    (func (export "array of length") (param $n i32) (result i32)
      (array.len (array.new_default $ints (local.get $n))))
    (func (export "cast") (param $n i32) (result i32)
      (struct.get $node $value (ref.cast (ref $node)
        (if (result anyref) (local.get $n)
          (then (struct.new $node (ref.null $node) (local.get $n)))
          (else (ref.i31 (i32.const 5)))))))
    (func (export "null") (param $n i32) (result i32) (local $list (ref null $node))
      (if (local.get $n) (then (local.set $list (struct.new_default $node))))
      (struct.set $node $value (local.get $list) (i32.const 4))
      (struct.get $node $value (local.get $list)))

    ;; A memory that threads could share.
    (memory $shared 1 2 shared)
    (func (export "atomic") (param $n i32) (result i32)
      (drop (i32.atomic.rmw.add $shared (local.get $n) (i32.const 5)))
      (drop (i64.atomic.rmw16.cmpxchg_u $shared (local.get $n) (i64.const 5) (i64.const 6)))
      (atomic.fence)
      (i32.add (memory.atomic.notify $shared (local.get $n) (i32.const 1))
        (i32.atomic.load $shared (local.get $n))))
    (func (export "wait") (param $n i32) (result i32)
      (memory.atomic.wait32 $shared (local.get $n) (i32.const 0) (i64.const 0)))
    (func (export "grow shared") (param i32) (result i32) (memory.grow $shared (local.get 0)))

    ;; What never ends.
    (func (export "spin") (param i32) (result i32)
      (loop $l (global.set $g (i32.add (global.get $g) (i32.const 1))) (br $l)) (unreachable))
    (func $tail (export "tail") (param i32) (result i32)
      (return_call $tail (i32.add (local.get 0) (i32.const 1))))
    (func (export "asks the host") (param i32) (result i32)
      (loop $l (drop (call $back (i32.const 1))) (br $l)) (unreachable))

    ;; What needs more stack than there is.
    (func $deep (export "deep") (param i32) (result i32)
      (i32.add (call $deep (local.get 0)) (i32.const 1)))
    (func $even (export "deep by two") (param i32) (result i32)
      (i32.xor (call $odd (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
    (func $odd (param i32) (result i32) (i32.xor (call $even (local.get 0)) (i32.const 3)))
    (func $self (param i32) (result i32)
      (i32.add (i32.const 1)
        (call_indirect $t (type $unary) (local.get 0) (i32.const 3))))
    (func (export "deep by table") (param i32) (result i32)
      (table.set $t (i32.const 3) (ref.func $self)) (call $self (local.get 0)))
    ;; The function's own loop has been replaced in most frames when the end comes.
    (func $turns (export "deep in a loop") (param $n i32) (result i32) (local $i i32)
      (loop $l
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 20)))
        (local.set $n (i32.add (call $turns (local.get $n)) (local.get $i)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 30))))
      (local.get $n))
    (func $again (export "again") (param i32) (result i32)
      (i32.add (call $back (i32.const -1)) (i32.const 1)))
    (elem declare func $self)
)"#;

/// Calls that end by themselves, with arguments on both sides of where they trap.
const CALLS: &[(&str, &[i32])] = &[
    ("divide", &[1, 0, -1, 5]),
    ("convert", &[1, -1, 65_535, 65_536, 1 << 24]),
    ("load", &[1, 3, 0, 65_529, 65_530, -1, -4, i32::MIN]),
    ("vector", &[0, 65_420, 65_421, 65_520, 65_521, -16]),
    ("indirect", &[0, 1, 2, 3, 4, -1]),
    ("tail indirect", &[0, 1, 2, 4, i32::MIN]),
    ("fill", &[0, 1, 65_526, 65_527, -1]),
    ("init", &[0, 65_528, 65_529, -1]),
    ("table set", &[3, 4, -1]),
    ("unreachable", &[0, 9]),
    ("grow", &[1, 0, 3, 36, 40, -1]),
    ("fill", &[65_526, 65_527, 4 * 65_536 - 10, 4 * 65_536 - 9]),
    ("grow table", &[4, 3, 1, 0, -1]),
    ("nan", &[4, -1, -4]),
    ("loops", &[1, 9, 60]),
    ("host", &[2, 0]),
    ("catch", &[1, 2, 3, 6, 40]),
    ("trap in try", &[0, 2]),
    ("throw again", &[1, 6, 7]),
    ("list", &[1, 2, 300]),
    ("array", &[0, 3, 80, 81, 91, -1]),
    ("array of data", &[8, 4, 3, 9, -1]),
    ("array of length", &[0, 5000, -1]),
    ("cast", &[3, 0]),
    ("null", &[1, 0]),
    ("atomic", &[8, 65_532, 65_536, 9, -4]),
    ("wait", &[8, 16, 65_536, 2]),
    ("grow shared", &[1, 1]),
    ("atomic", &[65_536]),
    ("divide", &[0, 7]),
];

const ENDLESS: &[&str] = &["spin", "tail", "asks the host"];
const DEEP: &[&str] = &["deep", "deep by two", "deep by table", "deep in a loop", "again"];
/// Those of [`DEEP`] whose frames, but for the innermost, are all at the same place.
const ALIKE: &[&str] = &["deep", "deep by table", "deep in a loop"];

/// Index and offset of each frame, from the innermost.
type Frames = Vec<(u32, Option<usize>)>;

/// How a call ended, and what was there then.
#[derive(Clone, PartialEq, Debug)]
struct Outcome {
    call: (&'static str, i32),
    result: std::result::Result<i32, (Trap, Frames)>,
    fuel_used: Option<u64>,
    pages: u64,
    elements: u64,
    global: i32,
}

struct Host {
    limits: StoreLimits,
    /// How often the deadline was reached.
    asked: u32,
}

const FUEL: u64 = 1 << 40;

struct Run {
    store: Store<Host>,
    instance: Instance,
    meters: Meters,
}

impl Run {
    fn new(mode: &Mode) -> Run {
        // Less than the types of memory and table allow.
        let limits = StoreLimitsBuilder::new().memory_size(40 << 16).table_elements(8).instances(1);
        let mut store = Store::new(mode.module.engine(), Host { limits: limits.build(), asked: 0 });
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(1 << 40);
        if mode.meters.fuel {
            store.set_fuel(FUEL).unwrap();
        }
        let back = |mut caller: Caller<'_, Host>, n: i32| -> Result<i32> {
            match n {
                0 => Err(Trap::IntegerOverflow.into()),
                -1 => {
                    let again = caller.get_export("again").and_then(Extern::into_func).unwrap();
                    again.typed::<i32, i32>(&caller)?.call(&mut caller, n)
                }
                n => Ok(n + 1),
            }
        };
        let back = Func::wrap(&mut store, back);
        let instance = Instance::new(&mut store, &mode.module, &[back.into()]).unwrap();
        let second = Instance::new(&mut store, &mode.module, &[back.into()]).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Limit, "{}", mode.name);
        Run { store, instance, meters: mode.meters }
    }

    fn call(&mut self, name: &'static str, n: i32, fuel: u64) -> Outcome {
        if self.meters.fuel {
            self.store.set_fuel(fuel).unwrap();
        }
        let func = self.instance.get_typed_func::<i32, i32>(&mut self.store, name).unwrap();
        let result = func.call(&mut self.store, n).map_err(|error| {
            let trap = *error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("{name}: {error:?}"));
            let frames = error.downcast_ref::<WasmBacktrace>().map(|trace| {
                let frame = |frame: &FrameInfo| (frame.func_index(), frame.func_offset());
                trace.frames().iter().map(frame).collect()
            });
            (trap, frames.unwrap_or_default())
        });
        let fuel_used = self.meters.fuel.then(|| fuel - self.store.get_fuel().unwrap());
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        let table = self.instance.get_table(&mut self.store, "table").unwrap();
        let global = self.instance.get_global(&mut self.store, "global").unwrap();
        Outcome {
            call: (name, n),
            result,
            fuel_used,
            pages: memory.size(&self.store),
            elements: table.size(&self.store),
            global: global.get(&mut self.store).unwrap_i32(),
        }
    }

    fn trap(&mut self, name: &'static str, fuel: u64) -> Trap {
        self.call(name, 1, fuel).result.unwrap_err().0
    }

    /// All calls of [`CALLS`], in turn.
    fn all(&mut self) -> Vec<Outcome> {
        let calls = CALLS.iter().flat_map(|(name, args)| args.iter().map(|n| (*name, *n)));
        calls.map(|(name, n)| self.call(name, n, FUEL)).collect()
    }
}

#[test]
fn every_mode_does_the_same() {
    let modes = modes();
    let mut plain: Option<Vec<Outcome>> = None;
    let mut fuelled: Option<Vec<Outcome>> = None;
    for mode in &modes {
        let found = Run::new(mode).all();
        let expected = if mode.meters.fuel { &mut fuelled } else { &mut plain };
        let expected = expected.get_or_insert_with(|| found.clone());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found, expected, "{}", mode.name);
        }
    }
    let (plain, fuelled) = (plain.unwrap(), fuelled.unwrap());
    for (plain, fuelled) in plain.iter().zip(&fuelled) {
        assert!(fuelled.fuel_used.is_some_and(|used| used > 0), "{fuelled:?}");
        assert_eq!(*plain, Outcome { fuel_used: None, ..fuelled.clone() });
    }
    // That the calls do what they are there for.
    let trap = |name: &str, n: i32| {
        let found = plain.iter().find(|outcome| outcome.call == (name, n)).unwrap();
        found.result.clone().unwrap_err()
    };
    let (zero, frames) = trap("divide", 0);
    assert_eq!((zero, frames.len()), (Trap::IntegerDivisionByZero, 3), "inlined frames are shown");
    assert!(frames.iter().all(|(_, offset)| offset.is_some()), "{frames:?}");
    assert_eq!(trap("divide", -1).0, Trap::IntegerOverflow);
    assert_eq!(trap("convert", 65_536).0, Trap::IntegerOverflow);
    assert_eq!(trap("load", -1).0, Trap::MemoryOutOfBounds);
    assert_eq!(trap("vector", 65_521).0, Trap::MemoryOutOfBounds);
    assert_eq!(trap("indirect", 1).0, Trap::BadSignature);
    assert_eq!(trap("indirect", 2).0, Trap::IndirectCallToNull);
    assert_eq!(trap("tail indirect", 4).0, Trap::IndirectCallOutOfBounds);
    assert_eq!(trap("host", 0).0, Trap::IntegerOverflow);
    assert_eq!(trap("trap in try", 0).0, Trap::IntegerDivisionByZero);
    assert_eq!(trap("array", 81).0, Trap::ArrayOutOfBounds);
    assert_eq!(trap("array of data", 9).0, Trap::MemoryOutOfBounds);
    assert_eq!(trap("cast", 0).0, Trap::CastFailure);
    assert_eq!(trap("null", 0).0, Trap::NullReference);
    assert_eq!(trap("atomic", 9).0, Trap::HeapMisaligned);
    let grown: Vec<_> = plain.iter().filter(|outcome| outcome.call.0 == "grow").collect();
    let results: Vec<_> = grown.iter().map(|outcome| outcome.result.clone().unwrap()).collect();
    assert_eq!(results, [1, 2, 2, -1, -1, -1]);
    assert_eq!(plain.last().unwrap().pages, 5);
    assert_eq!(plain.last().unwrap().elements, 8);
    let nans: Vec<_> = plain.iter().filter(|outcome| outcome.call.0 == "nan").collect();
    assert_eq!(nans[1].result, Ok(0x7fc0_0000));
}

#[test]
fn what_never_ends_is_ended() {
    for mode in modes() {
        let Meters { fuel, epochs } = mode.meters;
        for name in ENDLESS {
            if fuel {
                let mut run = Run::new(&mode);
                for fuel in [0, 1, 10_000] {
                    assert_eq!(run.trap(name, fuel), Trap::OutOfFuel, "{name}, {}", mode.name);
                }
                assert_eq!(run.call("divide", 1, FUEL).result, Ok(i32::MIN + 1));
            }
            if epochs {
                let mut run = Run::new(&mode);
                run.store.set_epoch_deadline(0);
                assert_eq!(run.trap(name, FUEL), Trap::Interrupt, "{name}, {}", mode.name);
                // Five more turns, and no more.
                run.store.epoch_deadline_callback(|mut context| {
                    context.data_mut().asked += 1;
                    Ok(match context.data().asked % 5 {
                        0 => UpdateDeadline::Interrupt,
                        _ => UpdateDeadline::Continue(0),
                    })
                });
                for turns in 1..4 {
                    assert_eq!(run.trap(name, FUEL), Trap::Interrupt, "{name}, {}", mode.name);
                    assert_eq!(run.store.data().asked, 5 * turns);
                }
                run.store.set_epoch_deadline(1 << 40);
                assert_eq!(run.call("divide", 1, FUEL).result, Ok(i32::MIN + 1));
            }
        }
    }
}

#[test]
fn the_end_of_the_stack_is_a_trap() {
    let mut places: BTreeMap<&str, (u32, Option<usize>)> = BTreeMap::new();
    for mode in modes() {
        let mut run = Run::new(&mode);
        for _ in 0..2 {
            for name in DEEP {
                let outcome = run.call(name, 3, FUEL);
                let (trap, frames) = outcome.result.unwrap_err();
                assert_eq!(trap, Trap::StackOverflow, "{name}, {}", mode.name);
                assert!(frames.len() > 1, "{name}, {}: {frames:?}", mode.name);
                if ALIKE.contains(name) {
                    let place = *places.entry(name).or_insert(frames[1]);
                    let alike = frames[1..].iter().all(|frame| *frame == place);
                    assert!(alike, "{name}, {}: {place:?}, {frames:?}", mode.name);
                    assert_eq!(frames[0].0, place.0, "{name}, {}", mode.name);
                }
            }
            // The store is as good as before, other traps included.
            assert!(run.call("loops", 9, FUEL).result.is_ok(), "{}", mode.name);
            assert_eq!(run.trap("load", FUEL), Trap::MemoryOutOfBounds, "{}", mode.name);
        }
    }
}

/// The same engine twice, the same module twice, the same store twice; counters too, where no thread of the
/// engine decides when something is compiled.
#[test]
fn every_run_is_like_the_first() {
    for (mode, second) in modes().iter().zip(modes()) {
        let first = Run::new(mode).all();
        assert_eq!(Run::new(mode).all(), first, "{}, the same module", mode.name);
        let other = Run::new(&second).all();
        assert_eq!(other, first, "{}, another engine", mode.name);
        Run::new(&second).all();
        if !mode.name.contains("Background") {
            let (first, second) = (counters(&mode.module), counters(&second.module));
            assert_eq!(first, second, "{}", mode.name);
        }
    }
}

/// All counters of a module but times.
fn counters(module: &Module) -> String {
    let stats = module.stats();
    let text = format!("{stats:#?}");
    text.lines().filter(|line| !line.contains("time")).collect::<Vec<_>>().join("\n")
}

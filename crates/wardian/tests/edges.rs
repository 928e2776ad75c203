//! Places where engines of this kind have gone wrong before: loads that end at the last byte, results of tables
//! as indices, many parameters, limiters that fail or panic, tail calls into the host. In every mode.

#![forbid(unsafe_code)]

mod common;

use common::{in_each_mode, panic_text, trap};
use wardian::*;

// ---- the last byte ----

/// Loads with what may be joined with them in one machine instruction, which could read more than the load
/// does: bytes that are loaded, and the expression, with `(ADDR)` for the address.
const JOINED: &[(u32, &str)] = &[
    (4, "(i32.reinterpret_f32 (f32.add (f32.load (ADDR)) (f32.const 1.5)))"),
    (4, "(i32.reinterpret_f32 (f32.sub (f32.const 3.5) (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.mul (f32.load (ADDR)) (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.div (f32.const 1) (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.min (f32.load (ADDR)) (f32.const 2)))"),
    (4, "(i32.reinterpret_f32 (f32.max (f32.const 2) (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.sqrt (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.abs (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.neg (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.copysign (f32.const 2) (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.nearest (f32.load (ADDR))))"),
    (4, "(i32.reinterpret_f32 (f32.floor (f32.load (ADDR))))"),
    (4, "(f32.lt (f32.load (ADDR)) (f32.const 1))"),
    (4, "(f32.eq (f32.const 1) (f32.load (ADDR)))"),
    (4, "(i32.trunc_sat_f32_s (f32.load (ADDR)))"),
    (4, "(i32.wrap_i64 (i64.reinterpret_f64 (f64.promote_f32 (f32.load (ADDR)))))"),
    (8, "(i32.wrap_i64 (i64.reinterpret_f64 (f64.add (f64.load (ADDR)) (f64.const 1.5))))"),
    (8, "(i32.wrap_i64 (i64.reinterpret_f64 (f64.sqrt (f64.load (ADDR)))))"),
    (8, "(i32.wrap_i64 (i64.reinterpret_f64 (f64.min (f64.load (ADDR)) (f64.const 2))))"),
    (8, "(i32.wrap_i64 (i64.reinterpret_f64 (f64.ceil (f64.load (ADDR)))))"),
    (8, "(i32.wrap_i64 (i64.reinterpret_f64 (f64.neg (f64.load (ADDR)))))"),
    (8, "(i32.reinterpret_f32 (f32.demote_f64 (f64.load (ADDR))))"),
    (8, "(f64.gt (f64.load (ADDR)) (f64.const 1))"),
    (8, "(i32.trunc_sat_f64_u (f64.load (ADDR)))"),
    (4, "(i32.reinterpret_f32 (f32.convert_i32_s (i32.load (ADDR))))"),
    (4, "(i32.wrap_i64 (i64.reinterpret_f64 (f64.convert_i32_s (i32.load (ADDR)))))"),
    (8, "(i32.reinterpret_f32 (f32.convert_i64_s (i64.load (ADDR))))"),
    (1, "(i32.add (i32.load8_u (ADDR)) (i32.const 3))"),
    (1, "(i32.and (i32.load8_s (ADDR)) (i32.const 0x7ff))"),
    (1, "(i32.eqz (i32.load8_u (ADDR)))"),
    (2, "(i32.mul (i32.load16_s (ADDR)) (i32.const 3))"),
    (2, "(i32.lt_u (i32.load16_u (ADDR)) (i32.const 300))"),
    (2, "(i32.and (i32.load16_u (ADDR)) (i32.const 1))"),
    (4, "(i32.popcnt (i32.load (ADDR)))"),
    (4, "(i32.clz (i32.load (ADDR)))"),
    (4, "(i32.xor (i32.load (ADDR)) (i32.load (ADDR)))"),
    (4, "(i32.wrap_i64 (i64.add (i64.load32_u (ADDR)) (i64.const 7)))"),
    (4, "(i32.wrap_i64 (i64.shr_s (i64.load32_s (ADDR)) (i64.const 3)))"),
    (8, "(i32.wrap_i64 (i64.load (ADDR)))"),
    (8, "(i64.lt_s (i64.load (ADDR)) (i64.const 7))"),
    (8, "(i32.wrap_i64 (i64.and (i64.load (ADDR)) (i64.const 255)))"),
    (1, "(i32x4.extract_lane 3 (v128.load8_splat (ADDR)))"),
    (2, "(i32x4.extract_lane 3 (v128.load16_splat (ADDR)))"),
    (4, "(i32x4.extract_lane 3 (v128.load32_splat (ADDR)))"),
    (8, "(i32x4.extract_lane 3 (v128.load64_splat (ADDR)))"),
    (4, "(i32x4.extract_lane 0 (v128.load32_zero (ADDR)))"),
    (8, "(i32x4.extract_lane 1 (v128.load64_zero (ADDR)))"),
    (8, "(i32x4.extract_lane 3 (v128.load8x8_s (ADDR)))"),
    (8, "(i32x4.extract_lane 3 (v128.load16x4_u (ADDR)))"),
    (8, "(i32x4.extract_lane 3 (v128.load32x2_s (ADDR)))"),
    (1, "(i32x4.extract_lane 3 (v128.load8_lane 15 (ADDR) (v128.const i64x2 1 2)))"),
    (2, "(i32x4.extract_lane 3 (v128.load16_lane 7 (ADDR) (v128.const i64x2 1 2)))"),
    (4, "(i32x4.extract_lane 3 (v128.load32_lane 3 (ADDR) (v128.const i64x2 1 2)))"),
    (8, "(i32x4.extract_lane 3 (v128.load64_lane 1 (ADDR) (v128.const i64x2 1 2)))"),
    (8, "(i32x4.extract_lane 3 (i16x8.extend_low_i8x16_s (v128.load64_zero (ADDR))))"),
    (8, "(i32x4.extract_lane 3 (i32x4.extend_low_i16x8_u (v128.load64_zero (ADDR))))"),
    (4, "(i32x4.extract_lane 1 (i64x2.extend_low_i32x4_s (v128.load32_zero (ADDR))))"),
    (8, "(i32x4.extract_lane 3 (f64x2.promote_low_f32x4 (v128.load64_zero (ADDR))))"),
    (8, "(i32x4.extract_lane 3 (f64x2.convert_low_i32x4_s (v128.load64_zero (ADDR))))"),
    (4, "(i32x4.extract_lane 0 (f32x4.add (v128.load32_zero (ADDR)) (v128.load32_splat (ADDR))))"),
    (4, "(i32x4.extract_lane 2 (f32x4.replace_lane 2 (v128.const i64x2 0 0) (f32.load (ADDR))))"),
    (8, "(i32x4.extract_lane 2 (f64x2.replace_lane 1 (v128.const i64x2 0 0) (f64.load (ADDR))))"),
    (
        1,
        "(i32x4.extract_lane 0 (i8x16.replace_lane 3 (v128.const i64x2 0 0) (i32.load8_u (ADDR))))",
    ),
    (
        2,
        "(i32x4.extract_lane 0 (i16x8.replace_lane 1 (v128.const i64x2 0 0) (i32.load16_u (ADDR))))",
    ),
    (4, "(i32x4.extract_lane 1 (f32x4.splat (f32.load (ADDR))))"),
    (16, "(i32x4.extract_lane 1 (i8x16.add (v128.load (ADDR)) (v128.load (ADDR))))"),
    (16, "(i32x4.extract_lane 1 (f32x4.sqrt (v128.load (ADDR))))"),
    (16, "(v128.any_true (v128.load (ADDR)))"),
    (16, "(i32x4.extract_lane 1 (i8x16.swizzle (v128.load (ADDR)) (v128.const i64x2 3 7)))"),
];

#[test]
fn no_load_reads_past_its_last_byte() {
    let functions: String = JOINED
        .iter()
        .enumerate()
        .map(|(number, (_, text))| {
            let text = text.replace("(ADDR)", "(local.get 0)");
            // The same with an offset, which may be folded into the address.
            let near = text.replace("(local.get 0)", "offset=40 (local.get 0)");
            let near = if near.contains("_lane ") { text.clone() } else { near };
            format!(
                "(func (export \"f{number}\") (param i32) (result i32) {text})
                 (func (export \"n{number}\") (param i32) (result i32) {near})"
            )
        })
        .collect();
    let text = format!("(module (memory (export \"m\") 1 1) {functions})");
    in_each_mode(|engine| {
        let module = Module::new(engine, &text)?;
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "m").expect("it is exported");
        for (number, (size, text)) in JOINED.iter().enumerate() {
            for (name, offset) in [("f", 0), ("n", if text.contains("_lane ") { 0 } else { 40 })] {
                let name = format!("{name}{number}");
                let func = instance.get_typed_func::<u32, i32>(&mut store, &name)?;
                let bytes: Vec<u8> = (0..*size).map(|at| (at * 29 + 0x3f) as u8).collect();
                let end = 65_536 - size;
                memory.data_mut(&mut store).fill(0xcc);
                memory.write(&mut store, 128, &bytes)?;
                memory.write(&mut store, end as usize, &bytes)?;
                let expected = func.call(&mut store, 128 - offset)?;
                assert_eq!(func.call(&mut store, end - offset)?, expected, "{text}");
                for past in 1..=16 {
                    let error = func.call(&mut store, end - offset + past);
                    assert_eq!(trap(error), Trap::MemoryOutOfBounds, "{text}, {past} bytes past");
                }
            }
        }
        Ok(())
    });
}

// ---- tables ----

#[test]
fn what_a_table_answers_is_an_index_like_any_other() {
    in_each_mode(|engine| {
        let module = Module::new(
            engine,
            r#"(module (memory 1 1) (data (i32.const 5) "\2a")
                (table $t (export "t") 5 9 funcref) (table $l i64 5 9 externref)
                (func $f (result i32) (i32.const 1)) (elem declare func $f)
                (func (export "size") (result i32) (i32.load8_u (table.size $t)))
                (func (export "grow") (param i32) (result i32)
                  (i32.load8_u (table.grow $t (ref.null func) (local.get 0))))
                (func (export "size 64") (result i32)
                  (i32.load8_u (i32.wrap_i64 (table.size $l))))
                (func (export "grow 64") (param i32) (result i32)
                  (i32.load8_u (i32.wrap_i64
                    (table.grow $l (ref.null extern) (i64.extend_i32_u (local.get 0))))))
                (func (export "grow 64 far") (param i32) (result i32)
                  (i32.load8_u (i32.wrap_i64
                    (table.grow $l (ref.null extern) (i64.const 0x100000000)))))
                (func (export "is null") (param i32) (result i32)
                  (i32.load8_u offset=4 (ref.is_null (table.get $t (local.get 0)))))
                (func (export "set") (param i32) (table.set $t (local.get 0) (ref.func $f)))
                (func (export "call") (param i32) (result i32)
                  (call_indirect $t (result i32) (local.get 0))))"#,
        )?;
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let mut call = |name: &str, n: i32| {
            let func = instance.get_func(&mut store, name).expect("it is exported");
            let params = [Val::I32(n)];
            let params = &params[..func.ty(&store).params().len()];
            let mut results = [Val::I32(0)];
            func.call(&mut store, params, &mut results).map(|()| results[0].unwrap_i32())
        };
        assert_eq!(call("size", 0)?, 42);
        assert_eq!(call("size 64", 0)?, 42);
        assert_eq!(call("grow", 0)?, 42);
        assert_eq!(call("grow 64", 0)?, 42);
        assert_eq!(call("is null", 1)?, 42);
        for name in ["grow", "grow 64", "grow 64 far"] {
            for n in [5, -1, i32::MIN] {
                assert_eq!(trap(call(name, n)), Trap::MemoryOutOfBounds, "{name} {n}");
            }
        }
        assert_eq!(call("grow", 4)?, 42);
        // The new end, from inside and outside, and a function of another module.
        assert_eq!(trap(call("call", 8)), Trap::IndirectCallToNull);
        assert_eq!(trap(call("call", 9)), Trap::IndirectCallOutOfBounds);
        assert_eq!(trap(call("call", -1)), Trap::IndirectCallOutOfBounds);
        let table = instance.get_table(&mut store, "t").expect("it is exported");
        let other = Module::new(
            engine,
            r#"(module (func (export "a") (result i32) (i32.const 77))
                (func (export "b") (result i64) (i64.const 1)))"#,
        )?;
        let other = Instance::new(&mut store, &other, &[])?;
        let [a, b] = ["a", "b"].map(|name| other.get_func(&mut store, name).unwrap());
        let host = Func::wrap(&mut store, || 99);
        for (index, func) in [(8, a), (7, b), (0, host)] {
            table.set(&mut store, index, Ref::Func(Some(func)))?;
        }
        let func = instance.get_typed_func::<i32, i32>(&mut store, "call")?;
        assert_eq!(func.call(&mut store, 8)?, 77);
        assert_eq!(trap(func.call(&mut store, 7)), Trap::BadSignature);
        assert_eq!(func.call(&mut store, 0)?, 99);
        table.set(&mut store, 8, Ref::Func(None))?;
        assert_eq!(trap(func.call(&mut store, 8)), Trap::IndirectCallToNull);
        Ok(())
    });
}

// ---- many parameters ----

#[test]
fn calls_with_any_number_of_parameters() {
    in_each_mode(|engine| {
        for count in [0, 1, 2, 15, 16, 17, 127, 128, 129, 1000] {
            let list = "i64 ".repeat(count);
            let gets: String = (0..count).map(|n| format!("(local.get {n})")).collect();
            let module = Module::new(
                engine,
                format!(
                    r#"(module (type $t (func (param {list}) (result {list})))
                        (import "h" "f" (func $f (type $t))) (table 1 funcref) (elem (i32.const 0) $f)
                        (func (export "run") (type $t) {gets} (call $f))
                        (func (export "tail") (type $t) {gets} (return_call $f))
                        (func (export "indirect") (type $t)
                          {gets} (call_indirect (type $t) (i32.const 0))))"#
                ),
            )?;
            let mut store = Store::new(engine, 0);
            let types = || (0..count).map(|_| ValType::I64);
            let ty = FuncType::new(engine, types(), types());
            let host = Func::new(&mut store, ty, |mut caller: Caller<'_, u32>, params, results| {
                *caller.data_mut() += 1;
                for (at, result) in results.iter_mut().rev().enumerate() {
                    *result = params[at];
                }
                Ok(())
            });
            let instance = Instance::new(&mut store, &module, &[host.into()])?;
            let params: Vec<Val> = (0..count).map(|at| Val::I64(!(at as i64) << 20)).collect();
            let expected: Vec<i64> = params.iter().rev().map(|val| val.unwrap_i64()).collect();
            for name in ["run", "tail", "indirect"] {
                let func = instance.get_func(&mut store, name).expect("it is exported");
                let mut results = vec![Val::I32(0); count];
                func.call(&mut store, &params, &mut results)?;
                let found: Vec<i64> = results.iter().map(|val| val.unwrap_i64()).collect();
                assert_eq!(found, expected, "{name} of {count}");
                // On slots.
                let mut slots: Vec<ValRaw> =
                    params.iter().map(|val| ValRaw::i64(val.unwrap_i64())).collect();
                func.call_raw(&mut store, &mut slots)?;
                let found: Vec<i64> = slots.iter().map(|slot| slot.get_i64()).collect();
                assert_eq!(found, expected, "{name} of {count}, raw");
            }
            assert_eq!(*store.data(), 6);
        }
        Ok(())
    });
}

// ---- what happens inside of a growth ----

struct Moody {
    /// What the next question is answered with.
    mood: u32,
    asked: u32,
}

impl Moody {
    fn answer(&mut self) -> Result<bool> {
        self.asked += 1;
        match self.mood {
            0 => Ok(true),
            1 => Ok(false),
            2 => Err(Error::msg("not today")),
            _ => panic!("never"),
        }
    }
}

impl ResourceLimiter for Moody {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        self.answer()
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        self.answer()
    }
}

#[test]
fn a_limiter_may_refuse_fail_or_panic() {
    in_each_mode(|engine| {
        let module = Module::new(
            engine,
            r#"(module (memory (export "m") 1 50) (table (export "t") 1 funcref)
                (func (export "memory") (result i32)
                  (i32.store (i32.const 0) (i32.const 9)) (memory.grow (i32.const 1)))
                (func (export "table") (result i32) (table.grow (ref.null func) (i32.const 1)))
                (func (export "good") (result i32) (i32.load (i32.const 0))))"#,
        )?;
        let mut store = Store::new(engine, Moody { mood: 0, asked: 0 });
        store.limiter(|moody| moody);
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "m").expect("it is exported");
        let table = instance.get_table(&mut store, "t").expect("it is exported");
        let good = instance.get_typed_func::<(), i32>(&mut store, "good")?;
        for round in 0..3 {
            for name in ["memory", "table"] {
                let grow = instance.get_typed_func::<(), i32>(&mut store, name)?;
                let sizes = |store: &Store<Moody>| (memory.size(store), table.size(store));
                let before = sizes(&store);
                store.data_mut().mood = 1;
                assert_eq!(grow.call(&mut store, ())?, -1);
                store.data_mut().mood = 2;
                let error = grow.call(&mut store, ()).unwrap_err();
                assert!(format!("{error:#}").contains("not today"), "{error:#}");
                assert!(memory.grow(&mut store, 1).is_err());
                assert!(table.grow(&mut store, 1, Ref::Func(None)).is_err());
                assert!(Memory::new(&mut store, MemoryType::new(1, None)).is_err());
                store.data_mut().mood = 3;
                assert_eq!(panic_text(|| _ = grow.call(&mut store, ())), "never");
                assert_eq!(panic_text(|| _ = memory.grow(&mut store, 1)), "never");
                assert_eq!(sizes(&store), before, "nothing grew");
                store.data_mut().mood = 0;
                assert_eq!(good.call(&mut store, ())?, 9 * i32::from(name != "x"));
                assert!(grow.call(&mut store, ())? > round);
                assert_ne!(sizes(&store), before);
            }
        }
        assert!(store.data().asked > 40);
        Ok(())
    });
}

// ---- tail calls into the host ----

#[test]
fn a_host_function_that_was_tail_called_looks_around() {
    in_each_mode(|engine| {
        let mut store = Store::new(engine, Vec::new());
        let host = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, Vec<usize>>, what: i32| -> Result<i32> {
                let frames = WasmBacktrace::force_capture(&caller).frames().len();
                caller.data_mut().push(frames);
                match what {
                    0 => Ok(5),
                    1 => Err(Trap::IntegerOverflow.into()),
                    2 => Err(Error::msg("of the host")),
                    3 => panic!("in the host"),
                    n => {
                        let func = caller.get_export("tail").and_then(Extern::into_func).unwrap();
                        func.typed::<i32, i32>(&caller)?.call(&mut caller, n)
                    }
                }
            },
        );
        let module = Module::new(
            engine,
            r#"(module (import "h" "f" (func $f (param i32) (result i32)))
                (table 1 funcref) (elem (i32.const 0) $f)
                (func $tail (export "tail") (param i32) (result i32) (return_call $f (local.get 0)))
                (func $ind (param i32) (result i32)
                  (return_call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))
                (func (export "run") (param i32) (result i32)
                  (i32.add (call $tail (local.get 0)) (call $ind (local.get 0)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        for _ in 0..2 {
            for (name, frames) in [("tail", 0), ("run", 1)] {
                let run = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                assert_eq!(run.call(&mut store, 0)? % 5, 0);
                assert_eq!(trap(run.call(&mut store, 1)), Trap::IntegerOverflow);
                let error = run.call(&mut store, 2).unwrap_err();
                assert!(format!("{error:#}").contains("of the host"));
                assert_eq!(panic_text(|| _ = run.call(&mut store, 3)), "in the host");
                let seen = std::mem::take(store.data_mut());
                // A frame that was left by a tail call is gone.
                assert!(seen.iter().all(|count| *count == frames), "{name}: {seen:?}");
                assert_eq!(trap(run.call(&mut store, 4)), Trap::StackOverflow);
                store.data_mut().clear();
            }
        }
        Ok(())
    });
}

// ---- memories that may not move ----

#[test]
fn a_memory_that_may_not_move_grows_to_its_reservation() {
    for signals in [true, false] {
        for (moves, reservation) in [(false, 5 << 16), (true, 5 << 16), (true, 0)] {
            let mut config = Config::new();
            config.memory_reservation(reservation).memory_guard_size(0).memory_may_move(moves);
            config.signals_based_traps(signals);
            let engine = Engine::new(&config).unwrap();
            let module = Module::new(
                &engine,
                r#"(module (memory (export "m") 1 100)
                    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
                    (func (export "last") (result i32)
                      (i32.load8_u (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 1)))))"#,
            )
            .unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
            let last = instance.get_typed_func::<(), i32>(&mut store, "last").unwrap();
            memory.write(&mut store, 100, b"stays").unwrap();
            let start = memory.data_ptr(&store);
            for pages in 1..5 {
                assert_eq!(grow.call(&mut store, 1).unwrap(), pages);
                assert_eq!(last.call(&mut store, ()).unwrap(), 0);
                if reservation > 0 {
                    assert_eq!(memory.data_ptr(&store), start, "it lies in its reservation");
                }
            }
            let beyond = grow.call(&mut store, 40).unwrap();
            assert_eq!(beyond, if moves { 5 } else { -1 }, "{moves}, {reservation}");
            assert_eq!(memory.grow(&mut store, 1).is_ok(), moves);
            assert_eq!(&memory.data(&store)[100..105], b"stays");
            assert_eq!(last.call(&mut store, ()).unwrap(), 0);
        }
    }
}

//! Traps, host errors and host panics, in both memory modes: what they say, and that the store is as
//! good as before.

#![forbid(unsafe_code)]

mod common;

use common::{in_each_mode, instance, modes, panic_text, trap};
use std::cell::Cell;
use wardian::*;

#[test]
fn every_trap_of_numbers_and_memory() {
    in_each_mode(|engine| {
        let (mut store, instance) = instance(
            engine,
            r#"(module (memory 1) (table 2 funcref)
            (func (export "unreachable") (param i64 f64) (result i64) unreachable)
            (func (export "div_s") (param i64 f64) (result i64)
              (i64.div_s (local.get 0) (i64.trunc_sat_f64_s (local.get 1))))
            (func (export "rem_u") (param i64 f64) (result i64)
              (i64.rem_u (local.get 0) (i64.trunc_sat_f64_s (local.get 1))))
            (func (export "trunc") (param i64 f64) (result i64) (i64.trunc_f64_u (local.get 1)))
            (func (export "load") (param i64 f64) (result i64)
              (i64.load (i32.wrap_i64 (local.get 0))))
            (func (export "store") (param i64 f64) (result i64)
              (i64.store offset=8 (i32.wrap_i64 (local.get 0)) (i64.const -1)) (i64.const 0))
            (func (export "get") (param i64 f64) (result i64)
              (drop (table.get (i32.wrap_i64 (local.get 0)))) (i64.const 0))
            (func $deep (export "deep") (param i64 f64) (result i64)
              (i64.add (i64.const 1) (call $deep (local.get 0) (local.get 1)))))"#,
        )?;
        // Twice, since a trap must leave nothing behind.
        for _ in 0..2 {
            for (name, x, y, expected) in [
                ("unreachable", 0, 0.0, Trap::UnreachableCodeReached),
                ("div_s", 1, 0.0, Trap::IntegerDivisionByZero),
                ("div_s", i64::MIN, -1.0, Trap::IntegerOverflow),
                ("rem_u", 1, 0.0, Trap::IntegerDivisionByZero),
                ("trunc", 0, f64::NAN, Trap::BadConversionToInteger),
                ("trunc", 0, -1.0, Trap::IntegerOverflow),
                ("trunc", 0, f64::INFINITY, Trap::IntegerOverflow),
                ("load", 65_529, 0.0, Trap::MemoryOutOfBounds),
                ("load", -1, 0.0, Trap::MemoryOutOfBounds),
                ("load", 1 << 31, 0.0, Trap::MemoryOutOfBounds),
                ("store", 65_521, 0.0, Trap::MemoryOutOfBounds),
                ("store", -8, 0.0, Trap::MemoryOutOfBounds),
                ("get", 2, 0.0, Trap::TableOutOfBounds),
                ("get", -1, 0.0, Trap::TableOutOfBounds),
                ("deep", 0, 0.0, Trap::StackOverflow),
            ] {
                let func = instance.get_typed_func::<(i64, f64), i64>(&mut store, name)?;
                let error = func.call(&mut store, (x, y)).unwrap_err();
                let backtrace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
                assert!(!backtrace.frames().is_empty(), "{name}");
                assert!(format!("{error:?}").contains(expected.text()), "{name}: {error:?}");
                assert_eq!(trap::<()>(Err(error)), expected, "{name}({x}, {y})");
            }
        }
        let memory = instance.get_export(&mut store, "memory");
        assert!(memory.is_none());
        Ok(())
    });
}

/// Every instruction that leaves an `i32`, from parameters a (i32), b (i32), c (i64), d (f64).
const I32_FROM: &[&str] = &[
    "(local.get 0)",
    "(i32.const -1)",
    "(i32.const 0x80000000)",
    "(i32.clz (local.get 0))",
    "(i32.ctz (local.get 0))",
    "(i32.popcnt (local.get 0))",
    "(i32.add (local.get 0) (local.get 1))",
    "(i32.sub (local.get 0) (local.get 1))",
    "(i32.mul (local.get 0) (local.get 1))",
    "(i32.div_s (local.get 0) (i32.const 7))",
    "(i32.div_u (local.get 0) (i32.const 7))",
    "(i32.rem_s (local.get 0) (i32.const 7))",
    "(i32.rem_u (local.get 0) (i32.const 7))",
    "(i32.and (local.get 0) (local.get 1))",
    "(i32.or (local.get 0) (local.get 1))",
    "(i32.xor (local.get 0) (local.get 1))",
    "(i32.shl (local.get 0) (local.get 1))",
    "(i32.shr_s (local.get 0) (local.get 1))",
    "(i32.shr_u (local.get 0) (local.get 1))",
    "(i32.rotl (local.get 0) (local.get 1))",
    "(i32.rotr (local.get 0) (local.get 1))",
    "(i32.eqz (local.get 0))",
    "(i32.lt_s (local.get 0) (local.get 1))",
    "(i32.wrap_i64 (local.get 2))",
    "(i32.wrap_i64 (i64.add (local.get 2) (i64.const -1)))",
    "(i32.wrap_i64 (i64.shr_u (local.get 2) (i64.const 16)))",
    "(i64.eqz (local.get 2))",
    "(f64.lt (local.get 3) (f64.const 0))",
    "(i32.trunc_sat_f64_s (local.get 3))",
    "(i32.trunc_sat_f64_u (local.get 3))",
    "(i32.trunc_sat_f32_s (f32.demote_f64 (local.get 3)))",
    "(i32.trunc_sat_f32_u (f32.demote_f64 (local.get 3)))",
    "(i32.reinterpret_f32 (f32.demote_f64 (local.get 3)))",
    "(i32.extend8_s (local.get 0))",
    "(i32.extend16_s (local.get 0))",
    "(i32.load8_s (i32.const 0))",
    "(i32.load8_u (i32.const 0))",
    "(i32.load16_s (i32.const 0))",
    "(i32.load16_u (i32.const 0))",
    "(i32.load (i32.const 0))",
    "(memory.size)",
    "(memory.grow (local.get 0))",
    "(table.size)",
    "(table.grow (ref.null func) (local.get 0))",
    "(ref.is_null (ref.null func))",
    "(global.get 0)",
    "(local.tee 1 (i32.sub (local.get 0) (i32.const 1)))",
    "(select (local.get 0) (local.get 1) (local.get 0))",
    "(block (result i32) (br_if 0 (local.get 0) (local.get 1)))",
    "(if (result i32) (local.get 0) (then (local.get 1)) (else (local.get 0)))",
    "(loop (result i32) (local.get 0))",
    "(call $id (local.get 0))",
    "(call_indirect (type $id) (local.get 0) (i32.const 0))",
    "(i8x16.extract_lane_s 15 (i32x4.splat (local.get 0)))",
    "(i8x16.extract_lane_u 15 (i32x4.splat (local.get 0)))",
    "(i16x8.extract_lane_s 7 (i32x4.splat (local.get 0)))",
    "(i16x8.extract_lane_u 7 (i32x4.splat (local.get 0)))",
    "(i32x4.extract_lane 3 (i32x4.splat (local.get 0)))",
    "(i8x16.bitmask (i32x4.splat (local.get 0)))",
    "(v128.any_true (i32x4.splat (local.get 0)))",
    // Left in memory while something is called, with much else, and then taken from there.
    "(local.get 0) (drop (call $id (local.get 1)))",
    "(i32.sub (local.get 0) (local.get 1)) (drop (call $id (local.get 1)))",
    "(i32.wrap_i64 (local.get 2)) (drop (call $id (local.get 1)))",
    "(i32.wrap_i64 (i64.mul (local.get 2) (i64.const -3))) (call $many (local.get 2)) (drop)",
    "(i32.shl (local.get 0) (local.get 1)) (i64.add (local.get 2) (i64.const 1))
     (call $many (i64.mul (local.get 2) (i64.const 7))) (drop) (drop)",
];

#[test]
fn indices_of_every_origin_are_unsigned_32_bit() {
    const OFFSETS: [u32; 4] = [0, 1, 1 << 31, u32::MAX];
    let mut text = String::from(
        "(module (memory (export \"m\") 1 1) (table 1 1 funcref) (elem (i32.const 0) $id)
         (type $id (func (param i32) (result i32))) (global (mut i32) (i32.const -2))
         (data (i32.const 0) \"\\f0\\ff\\ff\\ff\")
         (func $id (type $id) (local.get 0))\n",
    );
    // Has forty values at once, all of which are used after a call.
    let values: String =
        (0..40).map(|n| format!("(i64.rotl (local.get 0) (i64.const {n}))")).collect();
    text += &format!(
        "(func $many (param i64) (result i64) {values} (drop (call $id (i32.const 0))) {})\n",
        "i64.xor ".repeat(39)
    );
    let params = "(param i32 i32 i64 f64)";
    for (number, index) in I32_FROM.iter().enumerate() {
        text += &format!("(func (export \"{number}\") {params} (result i32) {index})\n");
        for offset in OFFSETS {
            text += &format!(
                "(func (export \"{number} load {offset}\") {params} (result i32)
                   (i32.load8_u offset={offset} {index}))
                 (func (export \"{number} store {offset}\") {params} (result i32)
                   (i64.store offset={offset} {index} (i64.const 0)) (i32.const 0))\n"
            );
        }
    }
    text += ")";
    let inputs: [(i32, i32, i64, f64); 5] = [
        (0, 0, 0, 0.0),
        (-1, 1, -1, -1.0),
        (i32::MIN, -1, 1 << 32, 4e9),
        (65_535, 1, 0xffff_ffff_0000_ffff_u64 as i64, 65_528.5),
        (i32::MAX, i32::MAX, i64::MIN, -2e9),
    ];
    in_each_mode(|engine| {
        let (mut store, instance) = instance(engine, &text)?;
        let memory = instance.get_memory(&mut store, "m").expect("it is exported");
        let func = |store: &mut Store<()>, name: &str| {
            instance.get_typed_func::<(i32, i32, i64, f64), i32>(store, name)
        };
        let fill = |store: &mut Store<()>| {
            memory.data_mut(&mut *store).fill(0xf0);
            memory.data_mut(store)[1..4].fill(0xff);
        };
        for (number, origin) in I32_FROM.iter().enumerate() {
            for input in inputs {
                fill(&mut store);
                let index = func(&mut store, &number.to_string())?.call(&mut store, input)? as u32;
                for offset in OFFSETS {
                    let what = format!("{origin} of {input:?} = {index:#x}, offset {offset:#x}");
                    let start = u64::from(index) + u64::from(offset);
                    let load = func(&mut store, &format!("{number} load {offset}"))?;
                    let loaded = load.call(&mut store, input);
                    match memory.data(&store).get(start as usize) {
                        Some(byte) => assert_eq!(loaded?, i32::from(*byte), "{what}"),
                        None => assert_eq!(trap(loaded), Trap::MemoryOutOfBounds, "{what}"),
                    }
                    let mut expected = memory.data(&store).to_vec();
                    let write = func(&mut store, &format!("{number} store {offset}"))?;
                    let stored = write.call(&mut store, input);
                    if start + 8 <= 65_536 {
                        expected[start as usize..][..8].fill(0);
                        stored?;
                    } else {
                        assert_eq!(trap(stored), Trap::MemoryOutOfBounds, "{what}");
                    }
                    assert!(memory.data(&store) == expected, "{what}: other bytes changed");
                    fill(&mut store);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn indirect_calls() {
    in_each_mode(|engine| {
        let mut store = Store::new(engine, ());
        let exporter = Module::new(
            engine,
            r#"(module (table (export "t") 10 funcref) (memory 1)
                (data (i32.const 0) "\2a")
                (type $sig (func (param i32) (result i32)))
                (func $own (type $sig) (i32.add (local.get 0) (i32.load8_u (i32.const 0))))
                (func $wide (param i64) (result i32) (i32.const 0))
                (elem (i32.const 0) func $own $wide)
                (func (export "call") (param i32) (result i32)
                  (call_indirect (type $sig) (i32.const 1) (local.get 0))))"#,
        )?;
        let exporter = Instance::new(&mut store, &exporter, &[])?;
        let table = exporter.get_table(&mut store, "t").expect("it is exported");
        // Types are numbered differently here, and equal types are the same.
        let importer = Module::new(
            engine,
            r#"(module (import "e" "t" (table 10 funcref)) (memory 1)
                (data (i32.const 0) "\07")
                (type $other (func (param f32)))
                (type $sig (func (param i32) (result i32)))
                (func $theirs (type $sig) (i32.mul (local.get 0) (i32.load8_u (i32.const 0))))
                (func $no (type $other))
                (elem (i32.const 3) func $theirs $no)
                (func (export "call") (param i32) (result i32)
                  (call_indirect (type $sig) (i32.const 1) (local.get 0))))"#,
        )?;
        let importer = Instance::new(&mut store, &importer, &[table.into()])?;
        let host = Func::wrap(&mut store, |x: i32| x + 1000);
        table.set(&mut store, 5, host.into())?;
        let wrong = Func::wrap(&mut store, |_: i32| {});
        table.set(&mut store, 6, wrong.into())?;
        for instance in [exporter, importer] {
            let call = instance.get_typed_func::<i32, i32>(&mut store, "call")?;
            for (index, expected) in [(0, 43), (3, 7), (5, 1001)] {
                assert_eq!(call.call(&mut store, index)?, expected);
            }
            for (index, expected, message) in [
                (1, Trap::BadSignature, "[i64]"),
                (4, Trap::BadSignature, "[f32]"),
                (6, Trap::BadSignature, "index 6"),
                (2, Trap::IndirectCallToNull, "index 2 of a table of 10 elements"),
                (9, Trap::IndirectCallToNull, "index 9 of a table of 10 elements"),
                (10, Trap::IndirectCallOutOfBounds, "index 10 of a table of 10 elements"),
                (-1, Trap::IndirectCallOutOfBounds, "index 4294967295 of a table"),
                (1 << 31, Trap::IndirectCallOutOfBounds, "index 2147483648"),
            ] {
                let error = call.call(&mut store, index).unwrap_err();
                let text = format!("{error:?}");
                let accepted = message.starts_with('[') && {
                    let (found, expected) = (&message[1..4], "i32");
                    text.contains(found) && text.contains(expected)
                };
                assert!(accepted || text.contains(message), "expected `{message}` in {text}");
                assert_eq!(trap::<()>(Err(error)), expected, "index {index}");
            }
        }
        // A table that grows is seen by both.
        table.grow(&mut store, 5, host.into())?;
        for instance in [exporter, importer] {
            let call = instance.get_typed_func::<i32, i32>(&mut store, "call")?;
            assert_eq!(call.call(&mut store, 14)?, 1001);
            assert_eq!(trap(call.call(&mut store, 15)), Trap::IndirectCallOutOfBounds);
        }
        Ok(())
    });
}

#[test]
fn a_memory_trap_gives_address_and_size() {
    in_each_mode(|engine| {
        let (mut store, instance) = instance(
            engine,
            r#"(module (memory 2)
                (func (export "load") (param i32) (result i32) (i32.load offset=16 (local.get 0)))
                (func (export "fill") (param i32)
                  (memory.fill (local.get 0) (i32.const 1) (i32.const 32))))"#,
        )?;
        let load = instance.get_typed_func::<i32, i32>(&mut store, "load")?;
        let text = format!("{:?}", load.call(&mut store, 0x20_0000).unwrap_err());
        assert!(text.contains("0x200010") && text.contains("0x20000 bytes"), "{text}");
        let text = format!("{:?}", load.call(&mut store, -1).unwrap_err());
        assert!(text.contains("0x10000000f"), "{text}");
        let fill = instance.get_typed_func::<i32, ()>(&mut store, "fill")?;
        assert_eq!(trap(fill.call(&mut store, 0x1_fff0)), Trap::MemoryOutOfBounds);
        Ok(())
    });
}

#[derive(Debug, PartialEq)]
struct HostsOwn(u32);

impl std::fmt::Display for HostsOwn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the host's error {}", self.0)
    }
}

impl std::error::Error for HostsOwn {}

/// The optimizing tier joins a load with the instruction that uses its value.
#[test]
fn a_memory_trap_tells_the_access_whatever_it_was_joined_with() {
    // Of parameters that are out of bounds (x) and not (p); the offset immediate of the access that
    // traps.
    for (body, imm) in [
        ("(i32.add (local.get $p) (i32.load offset=7 (local.get $x)))", 7),
        ("(i32.sub (i32.load offset=7 (local.get $p)) (i32.load offset=6 (local.get $x)))", 6),
        ("(i32.sub (i32.load offset=7 (local.get $x)) (i32.load offset=6 (local.get $p)))", 7),
        ("(i32.sub (i32.load offset=7 (local.get $x)) (i32.load offset=6 (local.get $x)))", 7),
        ("(i32.div_u (local.get $p) (i32.load offset=7 (local.get $x)))", 7),
        ("(i32.div_s (i32.load offset=6 (local.get $p)) (i32.load offset=7 (local.get $x)))", 7),
        ("(i32.load offset=6 (i32.load offset=7 (local.get $x)))", 7),
        (
            "(i32.store offset=7 (local.get $p) (i32.add (i32.load offset=6 (local.get $x)) (i32.const 5)))
             (i32.const 1)",
            6,
        ),
        (
            "(i32.store offset=6 (local.get $x) (i32.add (i32.load offset=6 (local.get $x)) (i32.const 5)))
             (i32.const 1)",
            6,
        ),
        (
            "(i64.store offset=7 (local.get $p) (i64.xor (i64.const 3) (i64.load offset=7 (local.get $p))))
             (i64.store offset=6 (local.get $x) (i64.xor (i64.const 3) (i64.load offset=6 (local.get $p))))
             (i32.const 1)",
            6,
        ),
        // The first store changes nothing, but traps.
        (
            "(i32.store offset=6 (local.get $x) (i32.const 1))
             (i32.store offset=6 (local.get $x) (i32.const 2))
             (i32.const 3)",
            6,
        ),
        (
            "(if (result i32) (i32.eq (i32.const 5) (i32.load offset=7 (local.get $x)))
               (then (i32.const 1)) (else (i32.const 2)))",
            7,
        ),
        (
            "(select (i32.load offset=6 (local.get $x)) (i32.load offset=7 (local.get $p))
               (i32.lt_u (i32.load offset=5 (local.get $x)) (i32.const 9)))",
            6,
        ),
        (
            "(select (i32.load offset=6 (local.get $p)) (i32.load offset=7 (local.get $x))
               (i32.lt_u (i32.load offset=5 (local.get $x)) (i32.const 9)))",
            7,
        ),
        (
            "(block (br_table 0 0 (i32.load offset=7 (local.get $x)))) (i32.const 1)",
            7,
        ),
        ("(call $id (i32.load offset=7 (local.get $x)))", 7),
        ("(call_indirect (result i32) (i32.load offset=7 (local.get $x)))", 7),
        ("(table.get $t (i32.load offset=7 (local.get $x))) (ref.is_null)", 7),
        (
            "(i32.wrap_i64 (i64.mul (i64.extend_i32_u (local.get $p)) (i64.load offset=7 (local.get $x))))",
            7,
        ),
        ("(i64.eqz (i64.load32_s offset=7 (local.get $x)))", 7),
        ("(i32.shl (i32.load16_u offset=7 (local.get $x)) (i32.load8_s offset=6 (local.get $x)))", 7),
        (
            "(f64.lt (f64.mul (f64.load offset=7 (local.get $p)) (f64.load offset=6 (local.get $x)))
               (f64.sqrt (f64.load offset=5 (local.get $x))))",
            6,
        ),
        ("(i32.trunc_f64_s (f64.load offset=7 (local.get $x)))", 7),
        (
            "(i32x4.extract_lane 1 (i32x4.add (v128.load offset=7 (local.get $p))
               (v128.load offset=6 (local.get $x))))",
            6,
        ),
        ("(i32x4.extract_lane 1 (f32x4.splat (f32.load offset=7 (local.get $x))))", 7),
        (
            "(i32x4.extract_lane 1 (v128.bitselect (v128.load offset=7 (local.get $p))
               (v128.load offset=6 (local.get $x)) (v128.load offset=5 (local.get $x))))",
            6,
        ),
        (
            "(i8x16.extract_lane_u 1 (i8x16.replace_lane 1 (v128.load offset=7 (local.get $p))
               (i32.load8_u offset=6 (local.get $x))))",
            6,
        ),
    ] {
        let text = format!(
            r#"(module (memory 1) (table $t 9 funcref) (func $id (param i32) (result i32) (local.get 0))
              (func (export "f") (param $p i32) (param $x i32) (result i32) {body}))"#
        );
        let wasm = wat::parse_str(&text).expect("the test is text");
        let place = Cell::new(None);
        in_each_mode(|engine| {
            let module = Module::new(engine, &wasm)?;
            let mut store = Store::new(engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let func = instance.get_typed_func::<(i32, i32), i32>(&mut store, "f")?;
            // A second time in faster code.
            for _ in 0..2 {
                let error = func.call(&mut store, (8, -9)).unwrap_err();
                let backtrace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
                let at = backtrace.frames()[0].module_offset().expect("it is known");
                // Opcode, alignment, offset; the opcode of vectors has two bytes.
                let vector = wasm[at] == 0xfd;
                assert!(vector || (0x28..=0x3e).contains(&wasm[at]), "{body}: {:#x}", wasm[at]);
                assert_eq!(wasm[at + 2 + usize::from(vector)], imm, "{body}");
                // Some accesses differ in nothing else.
                assert_eq!(at, *place.get().get_or_insert(at), "{body}");
                place.set(Some(at));
                assert_eq!(trap::<()>(Err(error)), Trap::MemoryOutOfBounds, "{body}");
            }
            Ok(())
        });
    }
}

/// What host functions do in the next test, by their argument.
fn misbehave(what: i32) -> Result<i32> {
    match what {
        0 => Ok(7),
        1 => Err(HostsOwn(5).into()),
        2 => panic!("the host panics"),
        3 => Err(Trap::Interrupt.into()),
        _ => std::panic::panic_any(HostsOwn(what as u32)),
    }
}

#[test]
fn failures_of_the_host_pass_through_the_guest() {
    in_each_mode(|engine| {
        let mut linker = Linker::<u32>::new(engine);
        linker.func_wrap("h", "typed", |mut caller: Caller<'_, u32>, what: i32| {
            *caller.data_mut() += 1;
            misbehave(what)
        })?;
        let ty = FuncType::new(engine, [ValType::I32], [ValType::I32]);
        linker.func_new("h", "dynamic", ty, |mut caller, params, results| {
            *caller.data_mut() += 1;
            results[0] = misbehave(params[0].unwrap_i32())?.into();
            Ok(())
        })?;
        // Guest, host, guest, host: the failure passes two activations.
        linker.func_wrap(
            "h",
            "nested",
            |mut caller: Caller<'_, u32>, what: i32| -> Result<i32> {
                let Some(Extern::Func(func)) = caller.get_export("typed") else {
                    bail!("no export")
                };
                let func = func.typed::<i32, i32>(&caller)?;
                let result = func.call(&mut caller, what);
                *caller.data_mut() += 100;
                result.context("nested")
            },
        )?;
        let module = Module::new(
            engine,
            r#"(module
                (import "h" "typed" (func $t (param i32) (result i32)))
                (import "h" "dynamic" (func $d (param i32) (result i32)))
                (import "h" "nested" (func $n (param i32) (result i32)))
                (global $depth (export "depth") (mut i32) (i32.const 0))
                (func (export "typed") (param i32) (result i32) (call $t (local.get 0)))
                (func (export "dynamic") (param i32) (result i32) (call $d (local.get 0)))
                (func (export "nested") (param i32) (result i32) (call $n (local.get 0)))
                (func (export "tail") (param i32) (result i32) (return_call $d (local.get 0))))"#,
        )?;
        let mut store = Store::new(engine, 0);
        let instance = linker.instantiate(&mut store, &module)?;
        for round in 0..3 {
            for name in ["typed", "dynamic", "nested", "tail"] {
                let func = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                assert_eq!(func.call(&mut store, 0)?, 7, "{name}, round {round}");
                let error = func.call(&mut store, 1).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Host, "{name}: {error:?}");
                assert_eq!(error.downcast_ref(), Some(&HostsOwn(5)));
                // A call that replaced its caller leaves no guest frame.
                assert_eq!(error.is::<WasmBacktrace>(), name != "tail", "{name}");
                assert_eq!(error.downcast::<HostsOwn>().unwrap(), HostsOwn(5));
                let text = panic_text(|| drop(func.call(&mut store, 2)));
                assert_eq!(text, "the host panics");
                assert_eq!(trap(func.call(&mut store, 3)), Trap::Interrupt);
                let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    func.call(&mut store, 9)
                }));
                assert_eq!(payload.unwrap_err().downcast_ref(), Some(&HostsOwn(9)));
                assert_eq!(func.call(&mut store, 0)?, 7, "{name}, round {round}");
            }
        }
        // Data changed by host functions before they failed stays changed.
        assert!(*store.data() > 300);
        Ok(())
    });
}

use wardian::error::Context as _;

#[test]
fn bulk_operations_that_trap_change_nothing() {
    in_each_mode(|engine| {
        let (mut store, instance) = instance(
            engine,
            r#"(module (memory (export "m") 1 1) (memory $n 1 1) (table $t (export "t") 8 8 funcref)
                (table $u 8 8 funcref)
                (data $d "abcdefgh") (elem $e func $f $f $f $f) (func $f (export "f"))
                (func (export "memory.fill") (param i32 i32 i32)
                  (memory.fill (local.get 0) (i32.const 1) (local.get 2)))
                (func (export "memory.copy") (param i32 i32 i32)
                  (memory.copy (local.get 0) (local.get 1) (local.get 2)))
                (func (export "memory.copy2") (param i32 i32 i32)
                  (memory.copy 0 1 (local.get 0) (local.get 1) (local.get 2)))
                (func (export "memory.init") (param i32 i32 i32)
                  (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
                (func (export "table.fill") (param i32 i32 i32)
                  (table.fill $t (local.get 0) (ref.func $f) (local.get 2)))
                (func (export "table.copy") (param i32 i32 i32)
                  (table.copy $t $t (local.get 0) (local.get 1) (local.get 2)))
                (func (export "table.copy2") (param i32 i32 i32)
                  (table.copy $t $u (local.get 0) (local.get 1) (local.get 2)))
                (func (export "table.init") (param i32 i32 i32)
                  (table.init $t $e (local.get 0) (local.get 1) (local.get 2))))"#,
        )?;
        let memory = instance.get_memory(&mut store, "m").expect("it is exported");
        let table = instance.get_table(&mut store, "t").expect("it is exported");
        for name in [
            "memory.fill",
            "memory.copy",
            "memory.copy2",
            "memory.init",
            "table.fill",
            "table.copy",
            "table.copy2",
            "table.init",
        ] {
            let func = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, name)?;
            let (size, expected) = match name.starts_with("memory") {
                true => (65_536, Trap::MemoryOutOfBounds),
                false => (8, Trap::TableOutOfBounds),
            };
            let mut bad =
                vec![(size - 1, 0, 2), (size + 1, 0, 0), (-1, 0, 1), (-1, 0, -1), (0, 0, -1)];
            bad.extend([(1 << 31, 0, 1 << 31), (size, 0, 1)]);
            if !name.ends_with("fill") {
                let source = if name.ends_with("init") {
                    size.min(8) / (1 + i32::from(size == 8))
                } else {
                    size
                };
                bad.extend([
                    (0, source - 1, 2),
                    (0, source + 1, 0),
                    (0, -1, 1),
                    (0, -1, -1),
                    (0, source, 1),
                ]);
            }
            for arguments in bad {
                let result = func.call(&mut store, arguments);
                assert!(result.is_err(), "{name}{arguments:?}");
                assert_eq!(trap(result), expected, "{name}{arguments:?}");
                assert!(memory.data(&store).iter().all(|byte| *byte == 0), "{name}{arguments:?}");
                for index in 0..8 {
                    let element = table.get(&mut store, index).expect("inside");
                    assert!(element.is_null(), "{name}{arguments:?} changed {index}");
                }
            }
            func.call(&mut store, (size, 0, 0))?;
        }
        Ok(())
    });
}

#[test]
fn traps_while_instantiating_leave_the_store_usable() {
    in_each_mode(|engine| {
        let mut store = Store::new(engine, ());
        let table =
            Table::new(&mut store, TableType::new(RefType::FUNCREF, 4, None), Ref::Func(None))?;
        let module = Module::new(
            engine,
            r#"(module (import "h" "t" (table 4 funcref)) (memory 1) (data (i32.const 0) "x")
                (func $f (result i32) (i32.load8_u (i32.const 0)))
                (elem (i32.const 1) $f) (elem (i32.const 4) $f))"#,
        )?;
        for _ in 0..3 {
            let failed = Instance::new(&mut store, &module, &[table.into()]);
            assert_eq!(trap(failed), Trap::TableOutOfBounds);
        }
        // The first segment was written, and its function lives although its instance failed.
        let func = table.get(&mut store, 1).expect("inside");
        let func = func.unwrap_func().expect("written before the trap").typed::<(), i32>(&store)?;
        assert_eq!(func.call(&mut store, ())?, 0, "data segments come after those of tables");
        let start = Module::new(engine, "(module (func $s unreachable) (start $s))")?;
        for _ in 0..3 {
            assert_eq!(trap(Instance::new(&mut store, &start, &[])), Trap::UnreachableCodeReached);
        }
        Ok(())
    });
}

#[test]
fn modes_differ() {
    // Guards against a common module that makes the same engine twice.
    let keys = ["signals_based_traps", "strategy", "tier_up"];
    let mut seen = std::collections::BTreeSet::new();
    for (name, engine) in modes() {
        let entries = engine.config().entries();
        let chosen: Vec<_> =
            entries.into_iter().filter(|(key, _)| keys.contains(&&**key)).collect();
        assert_eq!(chosen.len(), keys.len());
        assert!(seen.insert(chosen), "{name}");
    }
    assert_eq!(seen.len(), 8);
}

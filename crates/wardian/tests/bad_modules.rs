//! Modules that are cut off, damaged or huge: an error that says where and what, or code; never a
//! panic, in bounded time.

#![forbid(unsafe_code)]

mod common;

use common::{binary, code, leb};
use std::time::{Duration, Instant};
use wardian::*;

const SMALL: &[&str] = &[
    r#"(module $m (import "h" "f" (func $f (param i32) (result i64)))
        (memory (export "m") 1 2) (data (i32.const 8) "hello")
        (func $g (export "g") (param i32) (result i64)
          local.get 0 i32.load offset=4 call $f))"#,
    r#"(module (table $t 3 funcref) (elem (i32.const 0) $a $b)
        (func $a (result i32) i32.const 1) (func $b (result i32) i32.const 2)
        (func (export "ind") (param i32) (result i32)
          local.get 0 call_indirect (result i32)))"#,
    r#"(module (func (export "loop") (param i32) (result i32) (local i32 f64 v128)
        (loop $l (result i32)
          local.get 1 i32.const 1 i32.add local.tee 1 local.get 0 i32.lt_u
          (if (then br $l))
          (block (block (br_table 0 1 0 (local.get 1))))
          local.get 1)))"#,
    r#"(module (global (mut i64) (i64.const -5)) (memory 0) (table 0 externref)
        (elem declare func $s) (data "passive") (start $s)
        (func $s (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 0)) (data.drop 0))
        (func (export "v") (result v128)
          i32.const 7 i8x16.splat v128.const i64x2 1 2 i8x16.add)
        (func (param i32 f32) (result f32 i32) local.get 1 local.get 0))"#,
];

/// Compiles and, where it can be, instantiates without running anything.
fn try_out(engine: &Engine, bytes: &[u8], what: &str) {
    match Module::from_binary(engine, bytes) {
        Ok(module) => {
            assert!(Module::validate(engine, bytes).is_ok(), "{what}");
            if bytes.windows(2).all(|pair| pair != [8, 1]) && module.imports().len() == 0 {
                let _ = Instance::new(Store::new(engine, ()), &module, &[]);
            }
        }
        Err(error) => {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::InvalidModule | ErrorKind::Limit),
                "{what}: {error:?}"
            );
            assert!(error.to_string().contains("offset") || kind == ErrorKind::Limit, "{error}");
        }
    }
}

#[test]
fn truncated_at_every_byte() {
    let engine = Engine::default();
    for (number, text) in SMALL.iter().enumerate() {
        let bytes = wat::parse_str(text).unwrap();
        Module::from_binary(&engine, &bytes).unwrap();
        for length in 0..bytes.len() {
            try_out(&engine, &bytes[..length], &format!("module {number} cut to {length}"));
        }
    }
}

#[test]
fn flipped_at_every_byte() {
    let engine = Engine::default();
    for (number, text) in SMALL.iter().enumerate() {
        let original = wat::parse_str(text).unwrap();
        for position in 0..original.len() {
            for flip in [0xff, 0x01, 0x80] {
                let mut bytes = original.clone();
                bytes[position] ^= flip;
                let what = format!("module {number}, byte {position} flipped by {flip:#x}");
                try_out(&engine, &bytes, &what);
            }
        }
    }
}

/// Compiles within a bound of time that is far above what it takes and far below "for ever".
fn in_time(what: &str, bytes: &[u8]) -> Result<Module> {
    let engine = Engine::default();
    let start = Instant::now();
    let result = Module::from_binary(&engine, bytes);
    let took = start.elapsed();
    println!("{what}: {} bytes, {took:?}, {:?}", bytes.len(), result.as_ref().err());
    assert!(took < Duration::from_secs(60), "{what} took {took:?}");
    result
}

/// As `in_time`, and calls the export `f`.
fn run(what: &str, bytes: &[u8], params: &[Val], results: usize) -> Result<Vec<Val>> {
    let module = in_time(what, bytes)?;
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let mut values = vec![Val::I32(0); results];
    let func = instance.get_func(&mut store, "f").expect("it is exported");
    func.call(&mut store, params, &mut values)?;
    Ok(values)
}

const EXPORT_F: (u8, [u8; 5]) = (7, [1, 1, b'f', 0, 0]);

fn export_f() -> (u8, Vec<u8>) {
    (EXPORT_F.0, EXPORT_F.1.to_vec())
}

fn functions(count: usize) -> Vec<u8> {
    let (mut types, mut bodies) = (Vec::new(), Vec::new());
    leb(count, &mut types);
    leb(count, &mut bodies);
    types.resize(types.len() + count, 0);
    for _ in 0..count {
        bodies.extend_from_slice(&[2, 0, 0x0b]);
    }
    binary(&[(1, vec![1, 0x60, 0, 0]), (3, types), export_f(), (10, bodies)])
}

#[test]
fn a_million_functions_are_valid_and_one_more_is_not() {
    let engine = Engine::default();
    Module::validate(&engine, &functions(1_000_000)).unwrap();
    let error = Module::from_binary(&engine, &functions(1_000_001)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModule);
    assert!(error.to_string().contains("1000000"), "{error}");
}

#[test]
fn many_functions() {
    // A debug build compiles 20,000 in the time that a release build takes for a million.
    let count = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    run("functions", &functions(count), &[], 0).unwrap();
}

fn locals(count: usize) -> Vec<u8> {
    let mut declarations = vec![4];
    for (ty, share) in [(0x7f, count / 2), (0x7e, count / 4), (0x7b, 1), (0x7d, 0)] {
        let share = if ty == 0x7d { count - count / 2 - count / 4 - 1 } else { share };
        leb(share, &mut declarations);
        declarations.push(ty);
    }
    // The last i32 local, which is zero.
    let mut body = vec![0x20];
    leb(count / 2 - 1, &mut body);
    let types = (1, vec![1, 0x60, 0, 1, 0x7f]);
    binary(&[types, (3, vec![1, 0]), export_f(), code(&declarations, &body)])
}

#[test]
fn many_locals() {
    assert_eq!(run("locals", &locals(50_000), &[], 1).unwrap()[0].unwrap_i32(), 0);
    let error = in_time("one local more", &locals(50_001)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModule);
    assert!(error.to_string().contains("too many locals"), "{error}");
}

#[test]
fn deep_blocks() {
    for (what, opening) in [("block", 0x02), ("loop", 0x03), ("if", 0x04)] {
        let mut body = Vec::new();
        for _ in 0..10_000 {
            if opening == 0x04 {
                body.extend_from_slice(&[0x41, 1]);
            }
            body.extend_from_slice(&[opening, 0x40]);
        }
        body.resize(body.len() + 10_000, 0x0b);
        body.extend_from_slice(&[0x41, 42]);
        let types = (1, vec![1, 0x60, 0, 1, 0x7f]);
        let bytes = binary(&[types, (3, vec![1, 0]), export_f(), code(&[0], &body)]);
        match run(what, &bytes, &[], 1) {
            Ok(values) => assert_eq!(values[0].unwrap_i32(), 42),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Limit, "{what}: {error:?}"),
        }
    }
}

#[test]
fn a_branch_table_of_a_million() {
    // Two blocks; index 0 leaves the outer one, which skips the constant 7.
    let count = 1_000_000;
    let mut body = vec![0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e];
    leb(count, &mut body);
    body.extend((0..count).map(|index| u8::from(index % 2 == 0)));
    body.extend_from_slice(&[1, 0x0b, 0x41, 7, 0x0f, 0x0b, 0x41, 8]);
    let types = (1, vec![1, 0x60, 1, 0x7f, 1, 0x7f]);
    let bytes = binary(&[types, (3, vec![1, 0]), export_f(), code(&[0], &body)]);
    match run("br_table", &bytes, &[Val::I32(1)], 1) {
        Ok(values) => assert_eq!(values[0].unwrap_i32(), 7),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(error.to_string().contains("func 0"), "{error}");
        }
    }
}

fn wide(params: usize, results: usize) -> Vec<u8> {
    let mut ty = vec![1, 0x60];
    leb(params, &mut ty);
    ty.resize(ty.len() + params, 0x7e);
    leb(results, &mut ty);
    ty.resize(ty.len() + results, 0x7e);
    let mut body = Vec::new();
    for index in 0..results {
        body.push(0x20);
        leb(index % params, &mut body);
    }
    // Function 1 calls function 0, which is the identity.
    let mut caller = Vec::new();
    for index in 0..params {
        caller.push(0x20);
        leb(index, &mut caller);
    }
    caller.extend_from_slice(&[0x10, 1]);
    let mut bodies = vec![2];
    for instructions in [caller, body] {
        leb(instructions.len() + 2, &mut bodies);
        bodies.push(0);
        bodies.extend_from_slice(&instructions);
        bodies.push(0x0b);
    }
    binary(&[(1, ty), (3, vec![2, 0, 0]), export_f(), (10, bodies)])
}

#[test]
fn a_thousand_parameters_and_results() {
    let params: Vec<_> = (0..1000).map(|n| Val::I64(n << 33 | n)).collect();
    let results = run("wide", &wide(1000, 1000), &params, 1000).unwrap();
    for (param, result) in params.iter().zip(results) {
        assert_eq!(param.unwrap_i64(), result.unwrap_i64());
    }
    for (params, results) in [(1001, 1), (1, 1001)] {
        let error = in_time("too wide", &wide(params, results)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidModule);
        assert!(error.to_string().contains("size is out of bounds"), "{error}");
    }
}

#[test]
fn a_million_null_elements() {
    let count = 1_000_000;
    let mut table = vec![1, 0x70, 0];
    leb(count, &mut table);
    // Active in table 0 at offset 0, expressions.
    let mut elements = vec![1, 4, 0x41, 0, 0x0b];
    leb(count, &mut elements);
    for _ in 0..count {
        elements.extend_from_slice(&[0xd0, 0x70, 0x0b]);
    }
    let last = vec![0x41, 0xbf, 0x84, 0x3d, 0x25, 0, 0xd1];
    let types = (1, vec![1, 0x60, 0, 1, 0x7f]);
    let sections =
        [types, (3, vec![1, 0]), (4, table), export_f(), (9, elements), code(&[0], &last)];
    let result = run("null elements", &binary(&sections), &[], 1).unwrap();
    assert_eq!(result[0].unwrap_i32(), 1);
}

fn rejected(engine: &Engine, text: &str, parts: &[&str]) {
    let error = Module::new(engine, text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModule);
    for part in parts {
        assert!(error.to_string().contains(part), "expected `{part}` in `{error}`");
    }
}

#[test]
fn messages_name_place_expected_and_found() {
    let engine = Engine::default();
    rejected(
        &engine,
        "(module (func) (func $parse (result i32) i64.const 1))",
        &["func 1 `parse`, offset 0x", "expected i32", "found i64"],
    );
    rejected(
        &engine,
        "(module (func) (export \"a\" (func 3)))",
        &["offset 0x", "unknown function 3"],
    );
    rejected(&engine, "(module\n  (func (local.gett 0)))", &["local.gett", "2:"]);
    rejected(&engine, "(component)", &["this is a component", "not a core module"]);
    for (bytes, found) in [
        (&b"\x7fELF\x02\x01\x01\0"[..], "no byte 0x00 as there is at offset 0x7"),
        (b"\0as", "no byte 0x00 as there is at offset 0x0"),
        (b"(module)\xff", "no byte 0xff as there is at offset 0x8"),
    ] {
        let error = Module::new(&engine, bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidModule);
        let text = error.to_string();
        assert!(
            text.contains("begins with the bytes 00 61 73 6d") && text.contains(found),
            "{text}"
        );
    }
}

#[test]
fn a_component_says_so() {
    let error = Module::new(&Engine::default(), b"\0asm\x0d\0\x01\0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModule);
    assert!(error.to_string().contains("this is a component"), "{error}");
}

#[test]
fn an_off_proposal_names_itself_and_its_switch() {
    let mut config = Config::new();
    config.wasm_all_proposals(false);
    let engine = Engine::new(&config).unwrap();
    for (text, name) in [
        ("(module (func (result i32 i32) unreachable))", "multi-value"),
        ("(module (func (param v128)))", "simd"),
        ("(module (func (param externref)))", "reference-types"),
        ("(module (memory 1) (memory 1))", "multi-memory"),
        ("(module (memory i64 1))", "memory64"),
        ("(module (func $f return_call $f))", "tail-call"),
        (
            "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))",
            "bulk-memory",
        ),
        ("(module (global i32 (i32.add (i32.const 1) (i32.const 2))))", "extended-const"),
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (type (struct)))", "gc"),
    ] {
        rejected(&engine, text, &[name, &format!("-W {name}=y")]);
    }
    for text in [
        "(module (type $f (func)) (type (cont $f)))",
        "(module (type $f (func)) (type $c (cont $f))
            (func (param (ref $c)) (resume $c (local.get 0))))",
        "(module (tag $t) (func (suspend $t)))",
    ] {
        let words = ["stack-switching", "not supported by this version"];
        rejected(&Engine::default(), text, &words);
    }
    for text in [
        "(module (type (shared (func))))",
        "(module (global (shared i32) (i32.const 0)))",
        "(module (table 1 (ref null (shared func))))",
    ] {
        let words = ["shared-everything-threads", "not supported by this version"];
        rejected(&Engine::default(), text, &words);
    }
}

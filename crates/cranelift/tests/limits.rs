//! Functions that a hostile module could choose: they compile, or are refused with a clear error, in
//! bounded time and on a small stack.

#![forbid(unsafe_code)]

mod common;

use common::{compile, settings};
use std::time::{Duration, Instant};
use wardian_cranelift::CompileError;
use wardian_module::Settings;

/// Compiles on a thread with a stack of 512 KiB, without the verifier, which is not part of what a
/// user runs. `true` if it compiled, `false` if it was refused as too large.
fn check(wat: String) -> bool {
    let compile_it = move || {
        let settings = Settings { verifier: false, ..settings() };
        let start = Instant::now();
        let result = compile(&settings, &wat);
        // Far above what is measured (under 10 s), far below what the unbounded forms take.
        assert!(start.elapsed() < Duration::from_secs(120), "it took {:?}", start.elapsed());
        match result {
            Ok(_) => true,
            Err(CompileError::TooLarge { what, .. }) => {
                assert!(!what.is_empty());
                false
            }
            Err(error) => panic!("{error}"),
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(compile_it).unwrap();
    thread.join().unwrap()
}

fn repeat(count: usize, f: impl Fn(usize) -> String) -> String {
    (0..count).map(f).collect()
}

#[test]
fn a_branch_table_of_a_million_entries() {
    assert!(check(format!(
        "(module (func (param i32) (result i32)
           (block (block (br_table {} 1 (local.get 0))) (return (i32.const 1))) i32.const 2))",
        "0 1 ".repeat(500_000)
    )));
}

#[test]
fn a_branch_table_to_labels_with_operands() {
    assert!(check(format!(
        "(module (func (param i32) (result i32)
           (block (result i32) (block (result i32) (i32.const 5) (local.get 0)
             (br_table {} 1)) (i32.const 1) i32.add)))",
        "0 1 ".repeat(50_000)
    )));
}

#[test]
fn fifty_thousand_locals() {
    let set = repeat(50_000, |n| format!("(local.set {n} (i32.const {n}))"));
    let add = repeat(50_000, |n| format!("(i32.add (local.get {n}))"));
    assert!(check(format!(
        "(module (func (result i32) (local {}) {set} (i32.const 0) {add}))",
        "i32 ".repeat(50_000)
    )));
}

#[test]
fn fifty_thousand_locals_live_across_calls() {
    // The better register allocator takes 150 s for this. An import cannot be inlined.
    let set = repeat(49_000, |n| format!("(local.set {n} (call $g))"));
    let add = repeat(49_000, |n| format!("(i32.add (local.get {n}))"));
    assert!(check(format!(
        "(module (import \"\" \"\" (func $g (result i32)))
           (func (result i32) (local {}) {set} (i32.const 0) {add}))",
        "i32 ".repeat(49_000)
    )));
}

#[test]
fn values_that_the_optimizer_keeps_alive() {
    let add = repeat(30_000, |n| {
        format!("(local.set 1 (i32.xor (local.get 1) (i32.load offset={n} (local.get 0))))")
    });
    assert!(check(format!(
        "(module (memory 1) (func (param i32) (result i32) (local i32) {add} local.get 1))"
    )));
}

#[test]
fn ten_thousand_nested_blocks() {
    assert!(check(format!(
        "(module (func (param i32) (result i32) {} (i32.const 1) {}))",
        "(block (result i32) ".repeat(10_000),
        "(br_if 0 (local.get 0)) )".repeat(10_000)
    )));
    assert!(check(format!(
        "(module (func (param i32) (result i32) {} (i32.const 1) {}))",
        "(if (result i32) (local.get 0) (then ".repeat(10_000),
        ") (else (i32.const 2)))".repeat(10_000)
    )));
    assert!(check(format!(
        "(module (func (param i32) {} (br_if 5000 (local.get 0)) {}))",
        "(loop ".repeat(10_000),
        ")".repeat(10_000)
    )));
}

#[test]
fn locals_that_merge_in_ten_thousand_loops() {
    let bump =
        repeat(1_000, |n| format!("(local.set {n} (i32.add (local.get {n}) (i32.const 1)))"));
    let compiled = check(format!(
        "(module (func (param i32) (local {}) {} {bump} (br_if 5000 (local.get 0)) {}))",
        "i32 ".repeat(1_000),
        "(loop ".repeat(10_000),
        ")".repeat(10_000)
    ));
    assert!(!compiled, "ten million merges are past the limit");
}

#[test]
fn locals_that_merge_over_many_branches() {
    let bump = repeat(100_000, |n| {
        format!("(local.set {} (i32.const {n})) (br_if 0 (local.get 0))", n % 300 + 1)
    });
    let sum =
        repeat(300, |n| format!("(local.set 0 (i32.add (local.get 0) (local.get {})))", n + 1));
    check(format!(
        "(module (func (param i32) (result i32) (local {}) (block {bump}) {sum} (local.get 0)))",
        "i32 ".repeat(300)
    ));
}

#[test]
fn a_function_of_a_megabyte() {
    let calls =
        repeat(100_000, |n| format!("(local.set 1 (call $f (local.get 1) (i32.const {n})))"));
    assert!(check(format!(
        "(module (import \"\" \"\" (func $f (param i32 i32) (result i32)))
           (func (param i32) (result i32) (local i32) {calls} local.get 1))"
    )));
}

#[test]
fn a_function_past_the_limit_is_refused_unless_it_is_invalid() {
    let nops = "nop ".repeat(5 << 20);
    assert!(!check(format!("(module (func {nops}))")));
    let settings = Settings { verifier: false, ..settings() };
    let error = compile(&settings, &format!("(module (func {nops} i32.add))")).unwrap_err();
    assert!(matches!(error, CompileError::Invalid(_)), "{error}");
}

#[test]
fn many_globals_do_not_exhaust_the_table_of_access_flags() {
    let globals = repeat(30_000, |_| "(global (mut i32) (i32.const 0))".to_string());
    let sets = repeat(30_000, |n| format!("(global.set {n} (global.get {}))", 29_999 - n));
    assert!(check(format!("(module {globals} (func {sets}))")));
}

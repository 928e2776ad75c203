//! What counters say of compiled functions, and callbacks of compilations under way.

#![forbid(unsafe_code)]

mod common;

use common::instance;
use std::sync::Mutex;
use wardian::*;

/// `shaped` has 12 operands on its stack at once, which no tier keeps in registers, and calls a function
/// that is too large to be inlined, with them on the stack.
const SHAPED: &str = r#"(module
    (func $leaf (param i32) (result i32) local.get 0 i32.const 3 i32.mul)
    (func $large (param i32) (result i32)
      local.get 0 i32.const 1000000 i32.add i32.const 1000000 i32.add i32.const 1000000 i32.add
      i32.const 1000000 i32.add i32.const 1000000 i32.add i32.const 1000000 i32.add
      i32.const 1000000 i32.add i32.const 1000000 i32.add i32.const 1000000 i32.add
      i32.const 1000000 i32.add i32.const 1000000 i32.add i32.const 1000000 i32.add
      i32.const 1000000 i32.add i32.const 1000000 i32.add)
    (func (export "shaped") (param i32) (result i32)
      (block (loop (br_if 1 (local.get 0)) (local.set 0 (i32.const 1)) (br 0)))
      (i32.mul (local.get 0) (local.get 0)) (i32.mul (local.get 0) (local.get 0))
      (i32.mul (local.get 0) (local.get 0)) (i32.mul (local.get 0) (local.get 0))
      (i32.mul (local.get 0) (local.get 0)) (i32.mul (local.get 0) (local.get 0))
      (i32.mul (local.get 0) (local.get 0)) (i32.mul (local.get 0) (local.get 0))
      (i32.mul (local.get 0) (local.get 0)) (i32.mul (local.get 0) (local.get 0))
      (i32.mul (local.get 0) (local.get 0)) (call $large (call $leaf (local.get 0)))
      i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add))"#;

fn run(strategy: Strategy) -> Stats {
    let mut config = Config::new();
    config.strategy(strategy).target_cpu(TargetCpu::Baseline);
    let engine = Engine::new(&config).unwrap();
    let (mut store, instance) = instance(&engine, SHAPED).unwrap();
    let shaped = instance.get_typed_func::<i32, i32>(&mut store, "shaped").unwrap();
    assert_eq!(shaped.call(&mut store, 2).unwrap(), 44 + 6 + 14_000_000);
    engine.stats()
}

#[test]
fn shapes_are_counted_by_tier() {
    let stats = run(Strategy::Baseline);
    assert_eq!(stats.optimized_shape, CodeShape::default());
    let shape = stats.baseline_shape;
    let found = (shape.blocks, shape.loops, shape.branches, shape.calls, shape.inlined_calls);
    assert_eq!(found, (2, 1, 2, 2, 0));
    assert_eq!(shape.deepest_stack, 12);
    assert!(shape.spills >= 11 && shape.reloads >= 1, "{shape:?}");
    assert!(shape.largest_frame >= 12 * 8 && shape.largest_frame < shape.frame_bytes, "{shape:?}");

    let stats = run(Strategy::Optimizing);
    assert_eq!(stats.baseline_shape, CodeShape::default());
    let shape = stats.optimized_shape;
    let found = (shape.blocks, shape.loops, shape.branches, shape.calls, shape.inlined_calls);
    assert_eq!(found, (2, 1, 2, 1, 1));
    // The inlined body has one more.
    assert_eq!(shape.deepest_stack, 13);
    assert!(shape.largest_frame > 0 && shape.largest_frame < shape.frame_bytes, "{shape:?}");
}

#[test]
fn a_compilation_tells_how_far_it_is() {
    for parallel in [false, true] {
        let engine = Engine::new(Config::new().parallel_compilation(parallel)).unwrap();
        let body = "i32.const 1 drop ".repeat(2_000);
        let module = format!("(module {})", format!("(func {body})").repeat(20));
        let seen = Mutex::new(Vec::new());
        let artifact = engine
            .precompile_module_with_progress(module.as_bytes(), |progress| {
                seen.lock().unwrap().push(progress);
            })
            .unwrap();
        assert!(Engine::detect_precompiled(&artifact).is_some());
        let mut seen = seen.into_inner().unwrap();
        seen.sort_by_key(|progress| progress.functions);
        let functions: Vec<usize> = seen.iter().map(|progress| progress.functions).collect();
        assert_eq!(functions, (1..=20).collect::<Vec<_>>());
        let last = seen.last().unwrap();
        assert_eq!((last.total_functions, last.total_bytes), (20, last.bytes));
        assert!(last.bytes > 20 * 6_000);
    }
}

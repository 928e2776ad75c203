//! What a program sees of inlined calls: nothing. Without optimization no call is inlined, so every
//! module here runs both ways, in both memory modes.

#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use wardian::*;

fn configs(change: impl Fn(&mut Config)) -> Vec<(Engine, Engine)> {
    let mut explicit = Config::new();
    explicit.signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
    let engines = [Config::new(), explicit].map(|mut config| {
        change(&mut config);
        let inlining = Engine::new(&config).unwrap();
        config.cranelift_opt_level(OptLevel::None);
        (inlining, Engine::new(&config).unwrap())
    });
    engines.into()
}

/// How a call ends: its result, or the message and the frames (function, offset) of its failure.
#[derive(Debug, PartialEq)]
enum Outcome {
    Value(i32),
    Failure(String, Vec<(u32, Option<usize>)>),
}

/// Calls the export `f` with each of these arguments.
fn outcomes(engine: &Engine, text: &str, args: &[i32]) -> Vec<Outcome> {
    let module = Module::new(engine, text).unwrap_or_else(|error| panic!("{error:?}"));
    let mut linker = Linker::new(engine);
    let fail = |x: i32| match x {
        7 => Err(Error::msg("seven")),
        x => Ok(x + 1),
    };
    linker.func_wrap("host", "fail", fail).unwrap();
    let outcome = |&arg: &i32| {
        let mut store = Store::new(engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let func = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
        match func.call(&mut store, arg) {
            Ok(value) => Outcome::Value(value),
            Err(error) => {
                let backtrace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
                let frames = backtrace.frames().iter();
                let frames = frames.map(|frame| (frame.func_index(), frame.module_offset()));
                let frames = frames.collect();
                Outcome::Failure(error.root_cause().to_string(), frames)
            }
        }
    };
    args.iter().map(outcome).collect()
}

/// The outcomes, which are the same with and without inlining.
fn check(text: &str, args: &[i32]) -> Vec<Outcome> {
    let mut all = configs(|_| {}).into_iter().map(|(inlining, plain)| {
        let (found, expected) = (outcomes(&inlining, text, args), outcomes(&plain, text, args));
        assert_eq!(found, expected, "{text}");
        found
    });
    let first = all.next().unwrap();
    all.for_each(|other| assert_eq!(other, first, "both memory modes"));
    first
}

fn depths(outcomes: &[Outcome]) -> Vec<usize> {
    let depth = |outcome: &Outcome| match outcome {
        Outcome::Value(_) => 0,
        Outcome::Failure(_, frames) => frames.len(),
    };
    outcomes.iter().map(depth).collect()
}

#[test]
fn traps_in_nested_calls_keep_their_frames_and_offsets() {
    let found = check(
        r#"(module
          (import "host" "fail" (func $fail (param i32) (result i32)))
          (memory 1)
          (table 2 funcref)
          (type $t (func (param i32) (result i32)))
          (func $load (param i32) (result i32)
            (i32.load8_u (i32.shl (local.get 0) (i32.const 16))))
          (func $divide (param i32) (result i32)
            (i32.div_s (i32.const 100) (i32.sub (local.get 0) (i32.const 4))))
          (func $fill (param i32) (result i32)
            (memory.fill (i32.const 65530) (i32.const 1) (local.get 0)) (local.get 0))
          (func $indirect (param i32) (result i32)
            (call_indirect (type $t) (local.get 0) (i32.const 1)))
          (func $choose (param i32) (result i32)
            (if (i32.eq (local.get 0) (i32.const 2)) (then (return (call $load (local.get 0)))))
            (if (i32.eq (local.get 0) (i32.const 3)) (then (unreachable)))
            (if (i32.eq (local.get 0) (i32.const 5)) (then (return (call $indirect (i32.const 0)))))
            (call $divide (local.get 0)))
          (func $middle (param i32) (result i32)
            (i32.add (call $choose (local.get 0)) (call $fail (local.get 0))))
          (func (export "f") (param i32) (result i32)
            (drop (call $middle (i32.const 0)))
            (i32.add (call $middle (local.get 0)) (call $fill (local.get 0)))))"#,
        &[0, 1, 2, 3, 4, 5, 6, 7],
    );
    // 0, 1: fine; 2: load; 3: unreachable; 4: division; 5: null in the table; 6: fine; 7: fill or host.
    assert_eq!(depths(&found), [0, 0, 4, 3, 4, 4, 0, 2]);
}

#[test]
fn locals_start_at_zero_at_every_call() {
    let found = check(
        r#"(module
          (func $add (param i32 i32) (result i32) (local i32 i64)
            (local.set 2 (i32.add (local.get 2) (local.get 0)))
            (local.set 3 (i64.add (local.get 3) (i64.extend_i32_s (local.get 1))))
            (local.set 0 (i32.const 99))
            (i32.add (local.get 2) (i32.wrap_i64 (local.get 3))))
          (func (export "f") (param i32) (result i32) (local i32)
            (loop $l
              (local.set 1 (call $add (local.get 0) (call $add (local.get 1) (i32.const 1))))
              (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
              (br_if $l (i32.gt_s (local.get 0) (i32.const 0))))
            (local.get 1)))"#,
        &[1, 10],
    );
    assert_eq!(found, [Outcome::Value(2), Outcome::Value(65)]);
}

#[test]
fn branches_and_returns_leave_the_callee_alone() {
    let found = check(
        r#"(module
          (func $two (param i32) (result i32 i32)
            (block $b (result i32)
              (br_if 1 (i32.const 5) (i32.const 6) (i32.eqz (local.get 0)))
              (drop) (drop)
              (br_table $b $b (i32.const 41) (local.get 0)))
            (return (i32.const 7)))
          (func $never (param i32) (result i32) (unreachable))
          (func $maybe (param i32) (result i32)
            (if (i32.eq (local.get 0) (i32.const 9)) (then (return (call $never (local.get 0)))))
            (loop $l (result i32)
              (local.set 0 (i32.add (local.get 0) (i32.const 3)))
              (br_if $l (i32.lt_s (local.get 0) (i32.const 20)))
              (local.get 0)))
          (func (export "f") (param i32) (result i32)
            (i32.const 1000)
            (call $two (local.get 0))
            (i32.sub) (i32.add)
            (block $out (result i32)
              (call $maybe (local.get 0))
              (br_if $out (local.get 0))
              (drop) (i32.const 1))
            (i32.mul)))"#,
        &[0, 1, 2, 3, 9],
    );
    assert_eq!(depths(&found), [0, 0, 0, 0, 3]);
}

#[test]
fn recursion_ends_with_the_stack() {
    let found = check(
        r#"(module
          (func $even (param i32) (result i32)
            (if (result i32) (local.get 0)
              (then (call $odd (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))
          (func $odd (param i32) (result i32)
            (if (result i32) (local.get 0)
              (then (call $even (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0))))
          (func (export "f") (param i32) (result i32) (call $even (local.get 0))))"#,
        &[0, 1, 10, 101],
    );
    assert_eq!(found, [1, 0, 1, 0].map(Outcome::Value));
    // How deep the stack goes is not the program's business; that it ends is.
    for (inlining, _) in configs(|_| {}) {
        let module = Module::new(
            &inlining,
            "(module (func $a (call $b)) (func $b (call $c)) (func $c (call $a)) (export \"f\" (func $a)))",
        )
        .unwrap();
        let mut store = Store::new(&inlining, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let func = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = func.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow), "{error:?}");
    }
}

#[test]
fn a_limit_of_frames_counts_inlined_ones() {
    let text = r#"(module
      (func $c (unreachable)) (func $b (call $c)) (func $a (call $b))
      (func (export "f") (param i32) (result i32) (call $a) (local.get 0)))"#;
    for limit in 1..=4 {
        let set = |config: &mut Config| {
            config.wasm_backtrace_max_frames(NonZeroUsize::new(limit));
        };
        for (inlining, plain) in configs(set) {
            let found = outcomes(&inlining, text, &[1]);
            assert_eq!(found, outcomes(&plain, text, &[1]));
            assert_eq!(depths(&found), [limit]);
        }
    }
}

#[test]
fn an_invalid_callee_is_blamed_itself() {
    let text = "(module (func (export \"f\") (call $bad)) (func $bad (drop (i32.add))))";
    for (inlining, plain) in configs(|_| {}) {
        for engine in [inlining, plain] {
            let error = Module::new(&engine, text).unwrap_err();
            assert!(error.to_string().contains("func 1"), "{error:?}");
        }
    }
}

#[test]
fn artifacts_keep_inlined_frames() {
    let text = r#"(module
      (func $b (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
      (func $a (param i32) (result i32) (call $b (local.get 0)))
      (func (export "f") (param i32) (result i32) (call $a (local.get 0))))"#;
    let expected = check(text, &[0]);
    let mut config = Config::new();
    config.artifact_key([7; 32]);
    let engine = Engine::new(&config).unwrap();
    let bytes = Module::new(&engine, text).unwrap().serialize().unwrap();
    let module = Module::deserialize(&engine, &bytes).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let func = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
    let error = func.call(&mut store, 0).unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let frames = backtrace.frames().iter();
    let frames: Vec<_> = frames.map(|frame| (frame.func_index(), frame.module_offset())).collect();
    let Outcome::Failure(_, expected) = &expected[0] else { panic!("it divides by zero") };
    assert_eq!(&frames, expected);
    assert_eq!(frames.len(), 3);
}

//! Nothing of an instance is found in another that comes after it, in the same addresses or not: an instance
//! fills all that it can reach with a pattern, ends in every way there is, and is dropped; the next reads zero
//! and null everywhere.

#![forbid(unsafe_code)]

mod common;

use wardian::*;

const PATTERN: u8 = 0xa5;

/// Modes, with reservations that are kept and with memories that are not.
fn modes() -> Vec<(String, Engine)> {
    let mut modes = Vec::new();
    for (strategy, tier_up) in [
        (Strategy::Optimizing, TierUp::Never),
        (Strategy::Baseline, TierUp::Never),
        (Strategy::Tiered, TierUp::Synchronous(1)),
    ] {
        for (signals, moving, cow) in
            [(true, false, true), (true, false, false), (false, false, true), (false, true, true)]
        {
            let mut config = Config::new();
            config.strategy(strategy).tier_up(tier_up.clone());
            config.signals_based_traps(signals).memory_init_cow(cow);
            if moving {
                config.memory_reservation(0).memory_guard_size(0);
            }
            let name = format!("{strategy:?}, signals {signals}, moving {moving}, shared {cow}");
            modes.push((name, Engine::new(&config).unwrap()));
        }
    }
    modes
}

/// Fills everything, and grows if `grow` is not 0. `end` says how it ends afterwards.
const FILLS: &str = r#"(module
    (import "h" "secret" (func $secret (result externref)))
    (import "h" "fail" (func $fail))
    (memory $m (export "m") 3 20) (memory $n (export "n") i64 1 20)
    (data (memory $m) (i32.const 100) "some content that instances share")
    (table $t (export "t") 10 100 funcref) (table $x (export "x") 10 100 externref)
    (global $a (mut i64) (i64.const 0)) (global $b (mut externref) (ref.null extern))
    (global $c (mut funcref) (ref.null func)) (global $v (mut v128) (v128.const i64x2 0 0))
    (func $mark) (elem declare func $mark)
    (func $locals (param i64 i64 i64 i64) (result i64)
      (local i64 i64 i64 i64 i64 i64 i64 i64 f64 f64 f64 f64 v128 v128 externref funcref)
      (local.set 4 (local.get 0)) (local.set 5 (local.get 0)) (local.set 6 (local.get 0))
      (local.set 7 (local.get 0)) (local.set 8 (local.get 0)) (local.set 9 (local.get 0))
      (local.set 12 (f64.reinterpret_i64 (local.get 0)))
      (local.set 16 (i64x2.splat (local.get 0)))
      (local.set 18 (global.get $b)) (local.set 19 (ref.func $mark))
      (if (i64.gt_s (local.get 1) (i64.const 0))
        (then (drop (call $locals (local.get 0) (i64.sub (local.get 1) (i64.const 1))
          (local.get 0) (local.get 0)))))
      (i64.add (i64.add (local.get 4) (local.get 9))
        (i64x2.extract_lane 1 (local.get 16))))
    (func $all
      (memory.fill $m (i32.const 0) (i32.const 0xa5) (i32.shl (memory.size $m) (i32.const 16)))
      (memory.fill $n (i64.const 0) (i32.const 0xa5) (i64.shl (memory.size $n) (i64.const 16)))
      (table.fill $t (i32.const 0) (ref.func $mark) (table.size $t))
      (table.fill $x (i32.const 0) (call $secret) (table.size $x)))
    (func (export "fill") (param $end i32) (param $grow i32)
      (global.set $b (call $secret))
      (global.set $a (i64.const 0xa5a5a5a5a5a5a5a5))
      (global.set $v (v128.const i64x2 0xa5a5a5a5a5a5a5a5 0xa5a5a5a5a5a5a5a5))
      (global.set $c (ref.func $mark))
      (drop (call $locals (global.get $a) (i64.const 100) (global.get $a) (global.get $a)))
      (call $all)
      (if (local.get $grow)
        (then
          (drop (memory.grow $m (i32.const 5))) (drop (memory.grow $n (i64.const 5)))
          (drop (table.grow $t (ref.func $mark) (i32.const 20)))
          (drop (table.grow $x (call $secret) (i32.const 20)))
          (call $all)))
      (block $host (block $bounds (block $here (block $done
        (br_table $done $here $bounds $host (local.get $end)))
        (return))
        (unreachable))
        (drop (i32.load $m (i32.const -4))) (return))
      (call $fail)))"#;

/// Looks at all that it has, in code. 0 if all is as it began.
const LOOKS: &str = r#"(module
    (memory $m (export "m") 8 20) (memory $n (export "n") i64 6 20)
    (table $t (export "t") 30 100 funcref) (table $x (export "x") 30 100 externref)
    (global $a (mut i64) (i64.const 0)) (global $b (mut externref) (ref.null extern))
    (global $c (mut funcref) (ref.null func)) (global $v (mut v128) (v128.const i64x2 0 0))
    (func $sum (result i64) (local $at i32) (local $sum i64)
      (loop $again
        (local.set $sum (i64.or (local.get $sum) (i64.or
          (i64.load $m (local.get $at))
          (i64.load $n (i64.rem_u (i64.extend_i32_u (local.get $at)) (i64.const 393216))))))
        (br_if $again (i32.lt_u
          (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 524288))))
      (local.get $sum))
    (func $elements (result i32) (local $at i32)
      (loop $again
        (if (i32.eqz (i32.and (ref.is_null (table.get $t (local.get $at)))
                              (ref.is_null (table.get $x (local.get $at)))))
          (then (return (i32.const 1))))
        (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 30))))
      (i32.const 0))
    (func $locals (result i32)
      (local i64 i64 i64 i64 i64 i64 i64 i64 f64 f64 f64 f64 v128 v128 externref funcref)
      (i32.or
        (i64.ne (i64.const 0) (i64.or (i64.or (local.get 0) (local.get 5))
          (i64.or (local.get 7) (i64.reinterpret_f64 (local.get 8)))))
        (i32.or (v128.any_true (v128.or (local.get 12) (local.get 13)))
          (i32.eqz (i32.and (ref.is_null (local.get 14)) (ref.is_null (local.get 15)))))))
    (func (export "look") (result i32)
      (if (call $locals) (then (return (i32.const 1))))
      (if (i64.ne (i64.const 0) (call $sum)) (then (return (i32.const 2))))
      (if (call $elements) (then (return (i32.const 3))))
      (if (i64.ne (i64.const 0) (global.get $a)) (then (return (i32.const 4))))
      (if (i32.eqz (i32.and (ref.is_null (global.get $b)) (ref.is_null (global.get $c))))
        (then (return (i32.const 5))))
      (if (v128.any_true (global.get $v)) (then (return (i32.const 6))))
      (if (i32.ne (i32.const 8) (memory.grow $m (i32.const 8))) (then (return (i32.const 7))))
      (if (i64.ne (i64.const 0) (i64.load $m (i32.const 0x80000))) (then (return (i32.const 8))))
      (if (i64.ne (i64.const 0) (i64.load $m (i32.const 0xffff8))) (then (return (i32.const 9))))
      (drop (table.grow $t (ref.null func) (i32.const 40)))
      (i32.mul (i32.const 10) (i32.eqz (ref.is_null (table.get $t (i32.const 69)))))))"#;

struct Secret;

fn fill(engine: &Engine, module: &Module, end: i32, grow: i32) {
    let mut store = Store::new(engine, ());
    let secret = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        ExternRef::new(&mut caller, Secret).map(Some)
    });
    let fail = Func::wrap(&mut store, || -> Result<()> { Err(Error::msg("as was asked")) });
    let instance = Instance::new(&mut store, module, &[secret.into(), fail.into()]).unwrap();
    let fill = instance.get_typed_func::<(i32, i32), ()>(&mut store, "fill").unwrap();
    assert_eq!(fill.call(&mut store, (end, grow)).is_ok(), end == 0);
    for name in ["m", "n"] {
        let memory = instance.get_memory(&mut store, name).unwrap();
        let mut bytes = memory.data(&store).iter();
        assert!(bytes.all(|byte| *byte == PATTERN), "the pattern is there");
    }
}

fn look(engine: &Engine, module: &Module) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    // Outside first, since looking inside grows.
    for name in ["m", "n"] {
        let memory = instance.get_memory(&mut store, name).unwrap();
        let found = memory.data(&store).iter().position(|byte| *byte != 0);
        assert_eq!(found, None, "byte of memory {name}");
    }
    let look = instance.get_typed_func::<(), i32>(&mut store, "look").unwrap();
    assert_eq!(look.call(&mut store, ()).unwrap(), 0);
}

#[test]
fn whatever_way_an_instance_ended() {
    for (name, engine) in modes() {
        println!("{name}");
        let (fills, looks) =
            (Module::new(&engine, FILLS).unwrap(), Module::new(&engine, LOOKS).unwrap());
        for end in 0..4 {
            for grow in [0, 1] {
                fill(&engine, &fills, end, grow);
                look(&engine, &looks);
            }
        }
        // Several after each other, then looked at.
        for grow in [1, 0, 0] {
            fill(&engine, &fills, 0, grow);
        }
        look(&engine, &looks);
        look(&engine, &looks);
        // What was looked at has grown: the next of the other kind begins as it should.
        let mut store = Store::new(&engine, ());
        let imports: [Extern; 2] = [
            Func::wrap(&mut store, || None::<Rooted<ExternRef>>).into(),
            Func::wrap(&mut store, || {}).into(),
        ];
        let instance = Instance::new(&mut store, &fills, &imports).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let data = memory.data(&store);
        let content = b"some content that instances share";
        assert_eq!(&data[100..100 + content.len()], content);
        let others = data[..100].iter().chain(&data[100 + content.len()..]);
        assert!(others.copied().all(|byte| byte == 0));
    }
}

/// Instances that fail half-way: at a segment, at an import's start function, by a limit; each after it has
/// written. What it wrote into what is shared stays, as the specification says; nothing else does.
#[test]
fn instances_that_failed_half_way() {
    for (name, engine) in modes() {
        let looks = Module::new(&engine, LOOKS).unwrap();
        let content = "\u{a5}".repeat(50_000);
        let failing = [
            // Its second data segment lies outside.
            format!(
                r#"(module (import "h" "x" (table 1 externref)) (global externref (ref.null extern))
                    (memory 3) (data (i32.const 0) "{content}") (data (i32.const 196608) "x"))"#
            ),
            // Its start function fills everything and traps.
            r#"(module (import "h" "x" (table $x 1 externref))
                (memory $m 3 20) (table $t 30 funcref) (table $own 30 externref)
                (global $g (mut externref) (ref.null extern))
                (func $s
                  (global.set $g (table.get $x (i32.const 0)))
                  (table.fill $own (i32.const 0) (table.get $x (i32.const 0)) (i32.const 30))
                  (table.fill $t (i32.const 0) (ref.func $s) (i32.const 30))
                  (drop (memory.grow $m (i32.const 3)))
                  (memory.fill $m (i32.const 0) (i32.const 0xa5) (i32.const 393216))
                  (unreachable))
                (elem declare func $s)
                (start $s))"#
                .to_string(),
            // Its element segment lies outside, after another was written.
            r#"(module (import "h" "x" (table 1 externref)) (memory 3) (table $t 30 funcref) (func $f)
                (elem (table $t) (i32.const 0) func $f $f $f) (elem (table $t) (i32.const 29) func $f $f)
                (data (i32.const 0) "\a5"))"#
                .to_string(),
        ];
        for text in failing {
            let module = Module::new(&engine, &text).unwrap();
            for _ in 0..3 {
                let mut store = Store::new(&engine, ());
                let secret = ExternRef::new(&mut store, Secret).unwrap();
                let ty = TableType::new(RefType::EXTERNREF, 1, None);
                let table = Table::new(&mut store, ty, Ref::Extern(Some(secret))).unwrap();
                let error = Instance::new(&mut store, &module, &[table.into()]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Trap, "{name}: {error:?}");
                drop(store);
                look(&engine, &looks);
            }
        }
        // A limit that is met when the first memory is there already.
        let limits = StoreLimitsBuilder::new().memory_size(9 << 16).table_elements(10).build();
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        let error = Instance::new(&mut store, &looks, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{name}: {error:?}");
        drop(store);
        look(&engine, &looks);
    }
}

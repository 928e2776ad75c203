//! Exceptions across host frames, in loops that are replaced while they run, in many nested handlers, and
//! under every strategy.

#![forbid(unsafe_code)]

use wardian::*;

/// Engines of every strategy.
fn engines() -> Vec<Engine> {
    let strategies: [fn(&mut Config); 4] = [
        |config| _ = config.strategy(Strategy::Baseline),
        |config| _ = config.strategy(Strategy::Optimizing),
        |config| _ = config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(1)),
        |config| _ = config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(20)),
    ];
    let engine = |strategy: fn(&mut Config)| {
        let mut config = Config::new();
        strategy(&mut config);
        Engine::new(&config).expect("a configuration that fits together")
    };
    strategies.map(engine).into()
}

fn instance(engine: &Engine, text: &str) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(engine, ());
    let module = Module::new(engine, text)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    Ok((store, instance))
}

#[test]
fn a_thousand_nested_handlers() -> Result<()> {
    let count = 1000;
    let blocks: String = (0..count).map(|n| format!("(block $l{n} ")).collect();
    let tries: String = (0..count).map(|n| format!("(try_table (catch $t{n} $l{n}) ")).collect();
    let tags: String = (0..count).map(|n| format!("(tag $t{n})")).collect();
    let throws: String = [0, 1, 500, 998, 999]
        .map(|n| format!("(if (i32.eq (local.get 0) (i32.const {n})) (then (call $throw{n})))"))
        .concat();
    let throwers: String =
        [0, 1, 500, 998, 999].map(|n| format!("(func $throw{n} (throw $t{n}))")).concat();
    // The label of block n, counted from the innermost, ends with what its number is.
    let ends: String = (0..count).rev().map(|n| format!(") (return (i32.const {n}))")).collect();
    let text = format!(
        "(module {tags} {throwers} (func (export \"f\") (param i32) (result i32)
           {blocks} {tries} {throws} {} (return (i32.const -1)) {ends} (unreachable)))",
        ")".repeat(count)
    );
    for engine in engines() {
        let (mut store, instance) = instance(&engine, &text)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        for n in [0, 1, 500, 998, 999] {
            assert_eq!(f.call(&mut store, n)?, n);
        }
        assert_eq!(f.call(&mut store, 7)?, -1);
    }
    Ok(())
}

/// A loop inside of a try_table, replaced while it turns; what it throws is caught by the handler that was
/// entered before.
#[test]
fn a_loop_that_is_replaced_inside_of_a_handler() -> Result<()> {
    let text = r#"(module (tag $t (param i32))
        (func $maybe (param i32) (if (i32.eq (local.get 0) (i32.const 400)) (then (throw $t (local.get 0)))))
        (func (export "f") (param $x i32) (result i32 i32 i64)
          (local $i i32) (local $sum i64)
          (i32.const 11)
          (block $h (result i32)
            (try_table (result i32) (catch $t $h)
              (loop $l
                (call $maybe (local.get $i))
                (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $i))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (local.get $x))))
              (i32.const -1)))
          (local.get $sum)))"#;
    for engine in engines() {
        let (mut store, instance) = instance(&engine, text)?;
        let f = instance.get_typed_func::<i32, (i32, i32, i64)>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 1000)?, (11, 400, 79_800));
        assert_eq!(f.call(&mut store, 300)?, (11, -1, 44_850));
    }
    Ok(())
}

/// Guest, host, guest: the exception of the inner guest comes to the outer one as the error that the host
/// function returns; if the host takes it, nobody else sees it.
#[test]
fn exceptions_cross_host_frames_as_errors() -> Result<()> {
    let inner = r#"(module (tag $t (export "t") (param i32 i64))
        (func (export "f") (param i32) (throw $t (local.get 0) (i64.const 9))))"#;
    let outer = r#"(module (import "" "t" (tag $t (param i32 i64)))
        (import "" "call" (func $call (param i32)))
        (func $deeper (param i32) (call $call (local.get 0)))
        (func (export "g") (param i32) (result i32 i64)
          (block $h (result i32 i64)
            (try_table (catch $t $h) (call $deeper (local.get 0)))
            (i32.const -1) (i64.const -1)))
        (func (export "not-caught") (param i32) (call $deeper (local.get 0))))"#;
    for engine in engines() {
        let (mut store, instance) = instance(&engine, inner)?;
        let tag = instance.get_tag(&mut store, "t").expect("a tag");
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        let call =
            Func::wrap(&mut store, move |mut caller: Caller<'_, ()>, n: i32| -> Result<()> {
                let result = f.call(&mut caller, n);
                if n == 13 {
                    let mut store = caller.as_context_mut();
                    assert!(result.unwrap_err().is::<ThrownException>());
                    let taken = store.take_pending_exception().expect("an exception");
                    assert_eq!(taken.field(&mut store, 0)?.unwrap_i32(), 13);
                    return Ok(());
                }
                result
            });
        let module = Module::new(&engine, outer)?;
        let instance = Instance::new(&mut store, &module, &[tag.into(), call.into()])?;
        let g = instance.get_typed_func::<i32, (i32, i64)>(&mut store, "g")?;
        for _ in 0..3 {
            assert_eq!(g.call(&mut store, 5)?, (5, 9));
            assert_eq!(g.call(&mut store, 13)?, (-1, -1));
        }
        let not_caught = instance.get_typed_func::<i32, ()>(&mut store, "not-caught")?;
        let error = not_caught.call(&mut store, 6).unwrap_err();
        assert!(
            error.is::<ThrownException>() && format!("{error:#}").contains("uncaught exception")
        );
        let exception = store.take_pending_exception().expect("it left the guest");
        let fields: Vec<Val> = exception.fields(&mut store)?.collect();
        assert_eq!((fields[0].unwrap_i32(), fields[1].unwrap_i64()), (6, 9));
        assert!(Tag::eq(&exception.tag(&mut store)?, &tag, &store));
        assert!(!store.has_pending_exception());
        // Again, into the host's hands.
        let error = store.throw::<()>(exception).unwrap_err();
        assert!(store.has_pending_exception(), "{error}");
    }
    Ok(())
}

/// An error that is no exception passes all handlers.
#[test]
fn errors_of_the_host_are_not_caught() -> Result<()> {
    let text = r#"(module (import "" "fail" (func $fail))
        (func (export "f") (block $h (try_table (catch_all $h) (call $fail)))))"#;
    for engine in engines() {
        let mut store = Store::new(&engine, ());
        let fail = Func::wrap(&mut store, || -> Result<()> { Err(Error::msg("no")) });
        let module = Module::new(&engine, text)?;
        let instance = Instance::new(&mut store, &module, &[fail.into()])?;
        let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
        assert!(f.call(&mut store, ()).unwrap_err().to_string().contains("no"));
    }
    Ok(())
}

/// What is paid and asked for does not depend on the tier, also where exceptions are thrown.
#[test]
fn fuel_is_the_same_on_every_tier() -> Result<()> {
    let text = r#"(module (tag $t (param i32))
        (func $throw (param i32) (throw $t (local.get 0)))
        (func (export "f") (param $n i32) (result i32)
          (local $sum i32)
          (loop $l
            (block $h (result i32)
              (try_table (result i32) (catch $t $h) (call $throw (local.get $n)) (i32.const 0)))
            (local.set $sum (i32.add (local.get $sum)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          (local.get $sum)))"#;
    let mut left = Vec::new();
    let strategies: [fn(&mut Config); 3] = [
        |config| _ = config.strategy(Strategy::Baseline),
        |config| _ = config.strategy(Strategy::Optimizing),
        |config| _ = config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(1)),
    ];
    for strategy in strategies {
        let mut config = Config::new();
        config.consume_fuel(true).epoch_interruption(true);
        strategy(&mut config);
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        store.set_fuel(100_000)?;
        let module = Module::new(&engine, text)?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 100)?, 5050);
        left.push(store.get_fuel()?);
    }
    assert!(left.iter().all(|fuel| *fuel == left[0] && *fuel < 100_000), "{left:?}");
    Ok(())
}

/// An artifact has the handlers of its code.
#[test]
fn artifacts_have_handlers() -> Result<()> {
    let text = r#"(module (tag $t (param i32)) (func $throw (param i32) (throw $t (local.get 0)))
        (func (export "f") (param i32) (result i32)
          (block $h (result i32)
            (try_table (result i32) (catch $t $h) (call $throw (local.get 0)) (i32.const 0)))))"#;
    let mut config = Config::new();
    config.strategy(Strategy::Optimizing);
    let engine = Engine::new(&config)?;
    let bytes = Module::new(&engine, text)?.serialize()?;
    let module = Module::deserialize(&engine, bytes)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    assert_eq!(f.call(&mut store, 5)?, 5);
    Ok(())
}

/// What the store keeps of an exception that left the guest moves, and what it refers to.
#[test]
fn an_exception_that_waits_survives_collections() -> Result<()> {
    let text = r#"(module
        (type $node (struct (field i32)))
        (type $i8 (array (mut i8)))
        (tag $t (param (ref $node)))
        (func (export "throw") (param i32) (throw $t (struct.new $node (local.get 0))))
        (func (export "churn") (param i32)
          (loop $again
            (drop (array.new $i8 (i32.const 0x77) (i32.const 4000)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    for engine in engines() {
        let (mut store, instance) = instance(&engine, text)?;
        let throw = instance.get_typed_func::<i32, ()>(&mut store, "throw")?;
        let churn = instance.get_typed_func::<i32, ()>(&mut store, "churn")?;
        for value in [41, 42] {
            assert!(throw.call(&mut store, value).unwrap_err().is::<ThrownException>());
            churn.call(&mut store, 500)?;
            store.gc(None)?;
            churn.call(&mut store, 500)?;
            let exception = store.take_pending_exception().expect("it left the guest");
            let node = exception.field(&mut store, 0)?.unwrap_any_ref().copied();
            let node = node.expect("not null").unwrap_struct(&store)?;
            assert_eq!(node.field(&mut store, 0)?.unwrap_i32(), value);
        }
    }
    Ok(())
}

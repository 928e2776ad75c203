//! The embedding API on both sides of `fork`. It stands here because `fork` is unsafe to call.
//!
//! What a child inherited it can go on with: functions that were compiled run, others are an error, and
//! nothing waits for a thread that only the parent has.

#![cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]

mod common;

use common::{in_child, wait_for};
use std::io::{Read, Write, pipe};
use std::time::{Duration, Instant};
use wardian::{Cache, CacheConfig, Config, Engine, Instance, Module, Store, TypedFunc};

/// Long enough for a function to become hot and be replaced.
const TURNS: i32 = 200_000;

const MODULE: &str = r#"(module
  (func (export "count") (param i32) (result i32) (local i32)
    (loop $l
      (local.set 1 (i32.add (local.get 1) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get 1) (local.get 0))))
    (local.get 1))
  (func (export "cold") (result i32) (i32.const 5)))"#;

struct Guest {
    store: Store<()>,
    count: TypedFunc<i32, i32>,
    cold: TypedFunc<(), i32>,
}

fn guest(engine: &Engine) -> Guest {
    let module = Module::new(engine, MODULE).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let count = instance.get_typed_func(&mut store, "count").unwrap();
    let cold = instance.get_typed_func(&mut store, "cold").unwrap();
    Guest { store, count, cold }
}

#[test]
fn a_child_runs_what_it_inherited_and_what_it_makes() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new();
    let cache = CacheConfig::new().with_directory(folder.path().join("code")).clone();
    config.cache(Some(Cache::new(&cache).unwrap()));
    let engine = Engine::new(&config).unwrap();
    let mut other = guest(&engine);
    // The background thread exists, and has work while the process forks.
    assert_eq!(other.count.call(&mut other.store, TURNS).unwrap(), TURNS);
    let mut shared = guest(&engine);
    assert_eq!(shared.count.call(&mut shared.store, 1).unwrap(), 1);
    let (mut done, mut go) = (pipe().unwrap(), pipe().unwrap());
    let mut inherited = Some((shared, other, engine));
    let child = in_child(|| {
        let (mut shared, other, engine) = inherited.take().unwrap();
        let before = engine.stats();
        assert_eq!(shared.count.call(&mut shared.store, TURNS).unwrap(), TURNS);
        let error = shared.cold.call(&mut shared.store, ()).unwrap_err();
        assert!(format!("{error:?}").contains("fork"), "{error:?}");
        engine.wait_for_tier_up();
        assert_eq!(engine.stats(), before, "nothing is compiled for what was inherited");
        // The parent compiles and publishes meanwhile.
        done.1.write_all(&[1]).unwrap();
        go.0.read_exact(&mut [0]).unwrap();
        assert_eq!(shared.count.call(&mut shared.store, TURNS).unwrap(), TURNS);
        assert!(shared.cold.call(&mut shared.store, ()).is_err());
        drop((shared, other));
        engine.wait_for_cache();
        drop(engine);
        // An engine of the child's own does all.
        let engine = Engine::default();
        let mut own = guest(&engine);
        assert_eq!(own.cold.call(&mut own.store, ()).unwrap(), 5);
        while engine.stats().loop_replacements == 0 {
            assert_eq!(own.count.call(&mut own.store, TURNS).unwrap(), TURNS);
        }
    });
    let (mut shared, mut other, engine) = inherited.expect("the child took its own copy");
    // Of a child that has ended nothing comes, if nobody else can write.
    drop(done.1);
    done.0.read_exact(&mut [0]).expect("the child got so far");
    let start = Instant::now();
    while engine.stats().tier_ups < 2 {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is published");
        assert_eq!(shared.count.call(&mut shared.store, TURNS).unwrap(), TURNS);
        assert_eq!(other.count.call(&mut other.store, TURNS).unwrap(), TURNS);
    }
    assert_eq!(shared.cold.call(&mut shared.store, ()).unwrap(), 5);
    go.1.write_all(&[1]).unwrap();
    wait_for(child);
    assert_eq!(shared.count.call(&mut shared.store, TURNS).unwrap(), TURNS);
    assert_eq!(other.cold.call(&mut other.store, ()).unwrap(), 5);
}

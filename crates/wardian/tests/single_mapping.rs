//! Systems that do not map code a second time: code is written where it will run, and then made
//! executable, before anything runs there. Tiers replace each other as elsewhere.
//!
//! All of it is one test, since code of all engines lies in one place, which the first module makes.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};
use wardian::*;
use wardian_vm::refuse;

/// `run(n)`: 1 + … + n by a loop that is entered once, plus what two functions in a table make of n.
const TEXT: &str = r#"(module
    (type $f (func (param i64) (result i64)))
    (table 2 funcref) (elem (i32.const 0) $double $square) (memory 1)
    (func $double (type $f) (i64.mul (local.get 0) (i64.const 2)))
    (func $square (type $f) (i64.mul (local.get 0) (local.get 0)))
    (func (export "past") (result i64) (i64.load (i32.const -1)))
    (func (export "run") (param $n i64) (result i64) (local $i i64)
      (loop $again
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (local.get $i)))
        (br_if $again (i64.ne (local.get $i) (local.get $n))))
      (i64.add (i64.load (i32.const 8))
        (i64.add (call_indirect (type $f) (local.get $n) (i32.const 0))
          (call_indirect (type $f) (local.get $n) (i32.const 1))))))"#;

/// Lines of the process's mappings that contain the text.
fn mappings(text: &str) -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the kernel tells them");
    maps.lines().filter(|line| line.contains(text)).map(str::to_string).collect()
}

/// Makes a module while the system's first answer, or the second, and so on, is no, until one is made
/// all the same: what it did without is the second mapping.
fn without_second_mapping(engine: &Engine) -> Module {
    for allowed in 0.. {
        match refuse(allowed, 1, || Module::new(engine, TEXT)) {
            (Ok(module), 1) => return module,
            (Ok(_), hits) => panic!("a module was made with {hits} refusals"),
            (Err(error), _) => assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}"),
        }
    }
    unreachable!("the loop returns")
}

fn run(engine: &Engine, module: &Module, n: i64) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let run = instance.get_typed_func::<i64, i64>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, n).unwrap(), n * (n + 1) / 2 + 2 * n + n * n);
    let past = instance.get_typed_func::<(), i64>(&mut store, "past").unwrap();
    let trap = past.call(&mut store, ()).unwrap_err();
    assert_eq!(trap.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    assert_eq!(mappings("rwx"), [""; 0], "no memory is writable and executable");
}

#[test]
fn tiers_replace_each_other_without_a_second_mapping() {
    let engine = |tier_up, signals| {
        let mut config = Config::new();
        config.strategy(Strategy::Tiered).tier_up(tier_up).signals_based_traps(signals);
        Engine::new(&config).expect("they fit together")
    };
    let first = engine(TierUp::Synchronous(1), true);
    let module = without_second_mapping(&first);
    assert_eq!(mappings("wardian-code"), [""; 0], "the code would lie in a file mapped twice");
    run(&first, &module, 1_000);
    let stats = module.stats();
    assert!(stats.baseline_functions >= 2 && stats.optimized_functions >= 2, "{stats:?}");
    assert!(stats.loop_replacements > 0, "{stats:?}");

    // By the background thread, while several threads run the module.
    for signals in [true, false] {
        let engine = engine(TierUp::Background, signals);
        let module = Module::new(&engine, TEXT).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0.. {
                        run(&engine, &module, 20_000 + turn);
                        let done = module.stats().optimized_functions > 0 && turn > 10;
                        if done || Instant::now() > end {
                            break;
                        }
                    }
                });
            }
        });
        assert!(module.stats().optimized_functions > 0, "{:?}", module.stats());
        drop(module);
    }
    assert_eq!(mappings("wardian-code"), [""; 0]);
}

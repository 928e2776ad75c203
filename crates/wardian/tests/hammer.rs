//! Many threads trap while modules come and go: the handler finds the right code, and none that is
//! gone.

#![forbid(unsafe_code)]

mod common;

use common::trap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use wardian::*;

fn text(number: usize) -> String {
    // Modules differ in size, so that freed ranges of code are reused in parts.
    let filler =
        "local.get 0 i32.const 3 i32.mul i32.const 5 i32.xor local.set 0\n".repeat(number % 40);
    format!(
        r#"(module (memory 1) (table 1 funcref)
        (func (export "load") (param i32) (result i32) {filler} i32.const -8 i32.load)
        (func (export "div") (param i32) (result i32) {filler} i32.const {number} i32.const 0 i32.div_u)
        (func (export "null") (param i32) (result i32)
          {filler} i32.const 0 call_indirect (result i32))
        (func $deep (export "deep") (param i32) (result i32) {filler} local.get 0 call $deep)
        (func (export "fine") (param i32) (result i32) i32.const {number}))"#
    )
}

#[test]
fn hammer_traps_and_modules() {
    let engine = Engine::default();
    let shared = Module::new(&engine, text(1)).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    let (rounds, modules) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let use_module = &|module: &Module, number: usize| {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let mut call = |name: &str| {
            let func = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
            func.call(&mut store, 1)
        };
        for _ in 0..4 {
            assert_eq!(trap(call("load")), Trap::MemoryOutOfBounds);
            assert_eq!(trap(call("div")), Trap::IntegerDivisionByZero);
            assert_eq!(trap(call("null")), Trap::IndirectCallToNull);
            assert_eq!(trap(call("deep")), Trap::StackOverflow);
            assert_eq!(call("fine").unwrap(), number as i32);
            rounds.fetch_add(1, Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (engine, shared, modules) = (&engine, &shared, &modules);
            scope.spawn(move || {
                let mut number = thread;
                while Instant::now() < end {
                    if thread % 2 == 0 {
                        use_module(shared, 1);
                    } else {
                        number += 16;
                        let module = Module::new(engine, text(number)).unwrap();
                        use_module(&module, number);
                        modules.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    println!("{} rounds, {} modules", rounds.into_inner(), modules.into_inner());
}

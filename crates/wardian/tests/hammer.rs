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

/// Engines, modules, types, linkers and stores are made, used and dropped on many threads at once; some are
/// handed to another thread, which drops them.
#[test]
fn hammer_engines_and_types() {
    let end = Instant::now() + Duration::from_secs(3);
    let (sender, receiver) = std::sync::mpsc::channel::<(Engine, Module, FuncType)>();
    let receiver = std::sync::Mutex::new(receiver);
    let rounds = AtomicUsize::new(0);
    let common = Engine::default();
    let kinds = [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::EXTERNREF];
    std::thread::scope(|scope| {
        for thread in 0..16_usize {
            let (sender, receiver, rounds, common) = (sender.clone(), &receiver, &rounds, &common);
            let kinds = &kinds;
            scope.spawn(move || {
                let mut number = thread;
                while Instant::now() < end {
                    number = number.wrapping_mul(25).wrapping_add(7);
                    // Types that all threads make, and types that only this one has.
                    let count = number % 7;
                    let params: Vec<ValType> =
                        (0..count).map(|at| kinds[(number + at) % 5].clone()).collect();
                    let result = kinds[number % 4].clone();
                    let own = if number.is_multiple_of(3) { None } else { Some(common.clone()) };
                    let engine = own.unwrap_or_default();
                    let ty = FuncType::new(&engine, params.clone(), [result.clone()]);
                    let same = FuncType::new(common, params.clone(), [result.clone()]);
                    assert_eq!(ty, same);
                    let list: String = params.iter().map(|ty| format!("{ty} ")).collect();
                    let gets: String = params
                        .iter()
                        .map(|ty| match ty {
                            ValType::Ref(_) => "(ref.null extern)".to_string(),
                            ty => format!("({ty}.const 1)"),
                        })
                        .collect();
                    let module = Module::new(
                        &engine,
                        format!(
                            r#"(module (type $t (func (param {list}) (result {result})))
                                (import "h" "f" (func $f (type $t))) (table 1 funcref)
                                (elem (i32.const 0) $f)
                                (func (export "run") (result {result})
                                  {gets} (call_indirect (type $t) (i32.const 0))))"#
                        ),
                    )
                    .unwrap();
                    assert_eq!(module.imports().next().unwrap().ty().unwrap_func(), &ty);
                    let mut linker = Linker::<usize>::new(&engine);
                    let value = result.default_value().unwrap();
                    linker
                        .func_new("h", "f", same, move |mut caller, params, results| {
                            *caller.data_mut() += params.len() + 1;
                            results[0] = value;
                            Ok(())
                        })
                        .unwrap();
                    let mut store = Store::new(&engine, 0);
                    let instance = linker.instantiate(&mut store, &module).unwrap();
                    let run = instance.get_func(&mut store, "run").unwrap();
                    let mut results = [Val::I32(0)];
                    run.call(&mut store, &[], &mut results).unwrap();
                    assert_eq!(*store.data(), count + 1);
                    match number % 4 {
                        0 => drop((engine, module, linker, store)),
                        1 => drop((store, linker, module, engine)),
                        2 => sender.send((engine, module, ty)).unwrap(),
                        _ => {
                            let taken = receiver.lock().unwrap().try_recv();
                            if let Ok((engine, module, ty)) = taken {
                                drop(engine);
                                let import = module.imports().next().unwrap().ty();
                                assert_eq!(import.unwrap_func(), &ty);
                            }
                        }
                    }
                    rounds.fetch_add(1, Relaxed);
                }
            });
        }
    });
    println!("{} rounds", rounds.into_inner());
}

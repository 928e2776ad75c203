//! Guest and host call each other until the stack is used up: on the main thread and on threads of
//! every size, a trap and nothing else, whatever the mode and however often.
//!
//! Not run by the test harness, which owns the main thread, and whose threads leave stacks behind that
//! the C library gives to smaller ones.

#![forbid(unsafe_code)]

mod common;

use common::{modes, trap};
use std::time::Instant;
use wardian::*;

fn main() {
    threads_of_every_size();
    for (mode, engine) in engines() {
        let calls = exhaust(&engine);
        println!("main thread, {mode}: {calls} host calls");
    }
}

/// Recurses guest, host, guest … until the stack is used up, several times.
fn exhaust(engine: &Engine) -> u64 {
    let mut linker = Linker::<u64>::new(engine);
    linker
        .func_wrap("h", "typed", |mut caller: Caller<'_, u64>, n: i32| -> Result<i32> {
            *caller.data_mut() += 1;
            let Some(Extern::Func(func)) = caller.get_export("typed") else { bail!("no export") };
            func.typed::<i32, i32>(&caller)?.call(&mut caller, n + 1)
        })
        .unwrap();
    let ty = FuncType::new(engine, [ValType::I32], [ValType::I32]);
    linker
        .func_new("h", "dynamic", ty, |mut caller, params, results| {
            *caller.data_mut() += 1;
            let Some(Extern::Func(func)) = caller.get_export("dynamic") else { bail!("no export") };
            func.call(&mut caller, params, results)
        })
        .unwrap();
    let module = Module::new(
        engine,
        r#"(module
            (import "h" "typed" (func $t (param i32) (result i32)))
            (import "h" "dynamic" (func $d (param i32) (result i32)))
            (memory 1)
            (func (export "typed") (param i32) (result i32) (i32.add (call $t (local.get 0)) (i32.const 1)))
            (func (export "dynamic") (param i32) (result i32) (i32.add (call $d (local.get 0)) (i32.const 1)))
            (func $own (export "own") (param i32) (result i32)
              (i32.add (call $own (local.get 0)) (i32.const 1)))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "fault") (param i32) (result i32) (i32.load (i32.const -4))))"#,
    )
    .unwrap();
    let mut store = Store::new(engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    for _ in 0..2 {
        for name in ["typed", "dynamic", "own"] {
            let func = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
            assert_eq!(trap(func.call(&mut store, 0)), Trap::StackOverflow, "{name}");
        }
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
        assert_eq!(grow.call(&mut store, 0).unwrap(), 1);
        let fault = instance.get_typed_func::<i32, i32>(&mut store, "fault").unwrap();
        assert_eq!(trap(fault.call(&mut store, 0)), Trap::MemoryOutOfBounds);
    }
    store.into_data()
}

fn engines() -> Vec<(&'static str, Engine)> {
    let mut large = Config::new();
    large.max_wasm_stack(1 << 30);
    let mut engines = modes();
    engines.push(("more stack than there is", Engine::new(&large).unwrap()));
    engines
}

fn threads_of_every_size() {
    for kilobytes in [16, 64, 128, 256, 2048, 8192] {
        for (mode, engine) in engines() {
            // Compiling needs more stack than running does.
            let thread = std::thread::Builder::new().stack_size(kilobytes << 10);
            let start = Instant::now();
            let small = kilobytes <= 256;
            let ready = small.then(|| Ready::new(&engine));
            let work = move || match ready {
                Some(ready) => ready.exhaust(),
                None => exhaust(&engine),
            };
            let calls = thread.spawn(work).unwrap().join().unwrap();
            println!("{kilobytes} KiB, {mode}: {calls} host calls, {:?}", start.elapsed());
        }
    }
}

/// As `exhaust`, with everything made beforehand on a larger stack.
struct Ready {
    store: Store<u64>,
    typed: TypedFunc<i32, i32>,
    own: TypedFunc<i32, i32>,
}

impl Ready {
    fn new(engine: &Engine) -> Ready {
        let mut linker = Linker::<u64>::new(engine);
        linker
            .func_wrap("h", "typed", |mut caller: Caller<'_, u64>, n: i32| -> Result<i32> {
                *caller.data_mut() += 1;
                let func = caller.get_export("typed").and_then(Extern::into_func).unwrap();
                func.typed::<i32, i32>(&caller)?.call(&mut caller, n + 1)
            })
            .unwrap();
        let module = Module::new(
            engine,
            r#"(module (import "h" "typed" (func $t (param i32) (result i32)))
                (func (export "typed") (param i32) (result i32) (call $t (local.get 0)))
                (func $own (export "own") (param i32) (result i32)
                  (i32.add (call $own (local.get 0)) (i32.const 1))))"#,
        )
        .unwrap();
        let mut store = Store::new(engine, 0);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let typed = instance.get_typed_func(&mut store, "typed").unwrap();
        let own = instance.get_typed_func(&mut store, "own").unwrap();
        Ready { store, typed, own }
    }

    fn exhaust(mut self) -> u64 {
        for _ in 0..3 {
            assert_eq!(trap(self.typed.call(&mut self.store, 0)), Trap::StackOverflow);
            assert_eq!(trap(self.own.call(&mut self.store, 0)), Trap::StackOverflow);
        }
        self.store.into_data()
    }
}

//! A module that greets through a host function: the smallest embedding.
//!
//! ```sh
//! cargo run -p wardian --example hello
//! ```

#![forbid(unsafe_code)]

use wardian::{Caller, Engine, Linker, Module, Result, Store};

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "host" "greet" (func $greet (param i32)))
            (func (export "run") i32.const 3 call $greet))"#,
    )?;

    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "greet", |caller: Caller<'_, String>, times: i32| {
        println!("hello {} times, {}", times, caller.data());
    })?;

    // What the store holds is at hand in every host function.
    let mut store = Store::new(&engine, "ferns".to_string());
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    run.call(&mut store, ())
}

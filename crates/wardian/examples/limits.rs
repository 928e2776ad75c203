//! Limits: what a store may use, and a recursion that ends as a trap.
//!
//! ```sh
//! cargo run -p wardian --example limits
//! ```

#![forbid(unsafe_code)]

use wardian::{Engine, Instance, Module, Result, Store, StoreLimits, StoreLimitsBuilder, Trap};

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (memory 1)
            (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
            (func $dig (export "dig") (param i32) (result i32)
                local.get 0 i32.const 1 i32.add call $dig i32.const 1 i32.add))"#,
    )?;

    let limits = StoreLimitsBuilder::new().memory_size(3 << 16).instances(1).build();
    let mut store = Store::<StoreLimits>::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[])?;

    let grow = instance.get_typed_func::<u32, i32>(&mut store, "grow")?;
    println!("2 pages more: old size {}", grow.call(&mut store, 2)?);
    println!("1 page more: {}", grow.call(&mut store, 1)?);

    let dig = instance.get_typed_func::<u32, u32>(&mut store, "dig")?;
    let error = dig.call(&mut store, 0).expect_err("it never returns");
    println!("endless recursion: {}", error.downcast_ref::<Trap>().expect("a trap"));

    // The store is as good as before.
    println!("no growth: size {}", grow.call(&mut store, 0)?);
    let error = Instance::new(&mut store, &module, &[]).expect_err("one instance is allowed");
    println!("second instance: {error}");
    Ok(())
}

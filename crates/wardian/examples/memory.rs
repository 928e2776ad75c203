//! Reading, writing and growing a guest's memory.
//!
//! ```sh
//! cargo run -p wardian --example memory
//! ```

#![forbid(unsafe_code)]

use wardian::{Engine, Instance, Module, Result, Store, Trap, format_err};

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (memory (export "memory") 1 4)
            (data (i32.const 16) "fern")
            (func (export "load") (param i32) (result i32) local.get 0 i32.load8_u))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let memory = instance.get_memory(&mut store, "memory").expect("it is exported");
    let load = instance.get_typed_func::<u32, u32>(&mut store, "load")?;

    let mut name = [0; 4];
    memory.read(&store, 16, &mut name)?;
    println!("at 16: {:?}", std::str::from_utf8(&name)?);

    memory.write(&mut store, 16, b"moss")?;
    println!("the guest sees: {:?}", load.call(&mut store, 16)? as u8 as char);

    let error = load.call(&mut store, 70_000).expect_err("one page has 65536 bytes");
    let trap = error.downcast_ref::<Trap>().ok_or_else(|| format_err!("not a trap"))?;
    println!("at 70000: {trap}");

    let old_size = memory.grow(&mut store, 1)?;
    println!("grown from {old_size} page; now at 70000: {}", load.call(&mut store, 70_000)?);
    println!("too far: {}", memory.grow(&mut store, 9).expect_err("the type allows 4 pages"));
    Ok(())
}

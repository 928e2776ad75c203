//! Code compiled ahead of time: made once, signed with a key of the host, loaded without compiling.
//!
//! ```sh
//! cargo run -p wardian --example precompiled
//! ```

#![forbid(unsafe_code)]

use wardian::{Config, Engine, Instance, Module, Result, Store};

fn main() -> Result<()> {
    let wat = r#"(module (func (export "answer") (result i32) i32.const 42))"#;
    // A real host keeps its key secret; by default it is a file that only its user can read.
    let maker = Engine::new(Config::new().artifact_key([7; 32]))?;
    let artifact = maker.precompile_module(wat.as_bytes())?;
    println!("{} bytes of artifact", artifact.len());

    let engine = Engine::new(Config::new().artifact_key([7; 32]))?;
    let module = Module::deserialize(&engine, &artifact)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let answer = instance.get_typed_func::<(), i32>(&mut store, "answer")?;
    println!("answer: {}", answer.call(&mut store, ())?);

    let mut changed = artifact.clone();
    *changed.last_mut().expect("it is not empty") ^= 1;
    println!("changed: {}", Module::deserialize(&engine, &changed).expect_err("a bit is wrong"));
    let stranger = Engine::new(Config::new().artifact_key([8; 32]))?;
    println!("other key: {}", Module::deserialize(&stranger, &artifact).expect_err("not theirs"));
    Ok(())
}

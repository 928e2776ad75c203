//! Host functions: of Rust types, of a type given at run time, and with an error that comes back as it
//! was.
//!
//! ```sh
//! cargo run -p wardian --example host_functions
//! ```

#![forbid(unsafe_code)]

use wardian::{
    Caller, Engine, FuncType, Linker, Module, Result, Store, Val, ValType, WasmBacktrace,
};

/// An error of this program.
#[derive(Debug)]
struct Withered(i32);

impl std::fmt::Display for Withered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plant {} withered", self.0)
    }
}

impl std::error::Error for Withered {}

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "garden" "water" (func $water (param i32) (result i32)))
            (import "garden" "double" (func $double (param i32) (result i32)))
            (func $tend (export "tend") (param i32) (result i32)
                local.get 0 call $double call $water))"#,
    )?;

    let mut linker = Linker::<u32>::new(&engine);
    linker.func_wrap(
        "garden",
        "water",
        |mut caller: Caller<'_, u32>, plant: i32| -> Result<i32> {
            *caller.data_mut() += 1;
            if plant > 10 { Err(Withered(plant).into()) } else { Ok(plant + 1) }
        },
    )?;
    let ty = FuncType::new(&engine, [ValType::I32], [ValType::I32]);
    linker.func_new("garden", "double", ty, |_caller, params, results| {
        results[0] = Val::I32(params[0].unwrap_i32() * 2);
        Ok(())
    })?;

    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module)?;
    let tend = instance.get_typed_func::<i32, i32>(&mut store, "tend")?;
    println!("tend(4) = {}", tend.call(&mut store, 4)?);

    let error = tend.call(&mut store, 30).expect_err("plant 60 withers");
    let withered = error.downcast_ref::<Withered>().expect("the host's own error");
    println!("error: {withered}");
    let trace = error.downcast_ref::<WasmBacktrace>().expect("the guest was on the stack");
    println!("called from: {:?}", trace.frames()[0].func_name());
    println!("watered {} times", store.data());
    Ok(())
}

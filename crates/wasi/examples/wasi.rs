//! A WASI program with arguments, a directory for reading only, and output kept in memory.
//!
//! ```sh
//! cargo run -p wardian-wasi --example wasi
//! ```

#![forbid(unsafe_code)]

use wardian::{Engine, Linker, Module, Result, Store};
use wardian_wasi::pipe::MemoryOutputPipe;
use wardian_wasi::{DirPerms, FilePerms, I32Exit, WasiCtxBuilder, WasiP1Ctx, p1};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/programs");

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::from_file(&engine, format!("{PROGRAMS}/words.wasm"))?;

    let stdout = MemoryOutputPipe::new(1 << 16);
    let wasi = WasiCtxBuilder::new()
        .args(&["words", "-n", "3", "voyage.txt"])
        .stdout(stdout.clone())
        .inherit_stderr()
        .preopened_dir(format!("{PROGRAMS}/library.dir"), "/", DirPerms::READ, FilePerms::READ)?
        .build_p1();

    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
    let mut store = Store::new(&engine, wasi);
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    if let Err(error) = start.call(&mut store, ()) {
        match error.downcast_ref::<I32Exit>() {
            Some(exit) => println!("exit status {}", exit.0),
            None => return Err(error),
        }
    }
    print!("{}", String::from_utf8_lossy(&stdout.contents()));
    Ok(())
}

//! Small operations of the embedding API, one row each.

use super::*;
use crate::Rows;
use std::hint::black_box;

/// The module that all rows use.
pub const TEXT: &str = r#"(module
    (import "h" "f0" (func $f0))
    (import "h" "f2" (func $f2 (param i32 i64) (result i32)))
    (memory (export "m") 1 1000)
    (table (export "t") 10 1000 funcref)
    (global (export "g") (mut i32) (i32.const 7))
    (func (export "nop"))
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "add8") (param i32 i32 i32 i32 i64 i64 f64 f64) (result f64)
        local.get 6 local.get 7 f64.add)
    (func (export "c0") (param i32)
        (loop (call $f0) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "c2") (param i32)
        (loop (drop (call $f2 (local.get 0) (i64.const 3)))
            (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "trap") unreachable)
    (data (i32.const 100) "hello world")
    (elem (i32.const 0) func $f0))"#;

/// The host functions of the module. What they count is in the store.
pub fn linker(engine: &Engine) -> Result<Linker<u64>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("h", "f0", || {})?;
    linker.func_wrap("h", "f2", |mut caller: Caller<'_, u64>, a: i32, b: i64| -> i32 {
        *caller.data_mut() += 1;
        a + b as i32
    })?;
    Ok(linker)
}

pub fn run(rows: &mut impl Rows) -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, TEXT)?;
    let linker = linker(&engine)?;
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module)?;
    calls(rows, &mut store, instance)?;
    exits(rows, &engine, &module, &mut store, instance)?;
    objects(rows, &mut store, instance);
    stores(rows, &engine, &module, &linker)?;
    modules(rows, &engine, &module)
}

type Eight = (i32, i32, i32, i32, i64, i64, f64, f64);

fn calls(rows: &mut impl Rows, store: &mut Store<u64>, instance: Instance) -> Result<()> {
    let nop = instance.get_typed_func::<(), ()>(&mut *store, "nop")?;
    rows.row("call typed nop", 200_000, 1, || nop.call(&mut *store, ()).unwrap());
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut *store, "add")?;
    rows.row("call typed 2 arguments", 200_000, 1, || {
        black_box(add.call(&mut *store, (1, 2)).unwrap());
    });
    let add8 = instance.get_typed_func::<Eight, f64>(&mut *store, "add8")?;
    rows.row("call typed 8 arguments", 200_000, 1, || {
        black_box(add8.call(&mut *store, (1, 2, 3, 4, 5, 6, 7.0, 8.0)).unwrap());
    });
    let add = instance.get_func(&mut *store, "add").unwrap();
    let mut results = [Val::I32(0)];
    rows.row("call untyped 2 arguments", 100_000, 1, || {
        add.call(&mut *store, &[Val::I32(1), Val::I32(2)], &mut results).unwrap();
    });
    let trap = instance.get_typed_func::<(), ()>(&mut *store, "trap")?;
    rows.row("trap with backtrace", 5_000, 1, || {
        black_box(trap.call(&mut *store, ()).is_err());
    });
    Ok(())
}

fn exits(
    rows: &mut impl Rows,
    engine: &Engine,
    module: &Module,
    store: &mut Store<u64>,
    instance: Instance,
) -> Result<()> {
    let c0 = instance.get_typed_func::<i32, ()>(&mut *store, "c0")?;
    rows.row("host typed nop", 300, 1000, || c0.call(&mut *store, 1000).unwrap());
    let c2 = instance.get_typed_func::<i32, ()>(&mut *store, "c2")?;
    rows.row("host typed 2 arguments", 300, 1000, || c2.call(&mut *store, 1000).unwrap());
    let mut linker = Linker::new(engine);
    linker.func_wrap("h", "f0", || {})?;
    let ty = FuncType::new(engine, [ValType::I32, ValType::I64], [ValType::I32]);
    linker.func_new("h", "f2", ty, |_: Caller<'_, u64>, params, results| {
        results[0] = Val::I32(params[0].unwrap_i32() + params[1].unwrap_i64() as i32);
        Ok(())
    })?;
    let mut store = Store::new(engine, 0);
    let instance = linker.instantiate(&mut store, module)?;
    let c2 = instance.get_typed_func::<i32, ()>(&mut store, "c2")?;
    rows.row("host untyped 2 arguments", 300, 1000, || c2.call(&mut store, 1000).unwrap());
    Ok(())
}

fn objects(rows: &mut impl Rows, store: &mut Store<u64>, instance: Instance) {
    let memory = instance.get_memory(&mut *store, "m").unwrap();
    let mut bytes = [0; 16];
    rows.row("Memory::read 16 bytes", 200_000, 1, || {
        memory.read(&*store, black_box(128), &mut bytes).unwrap();
    });
    rows.row("Memory::write 16 bytes", 200_000, 1, || {
        memory.write(&mut *store, black_box(128), &bytes).unwrap();
    });
    let table = instance.get_table(&mut *store, "t").unwrap();
    rows.row("Table::get", 200_000, 1, || {
        black_box(table.get(&mut *store, 0));
    });
    let func = Ref::Func(instance.get_func(&mut *store, "add"));
    rows.row("Table::set", 200_000, 1, || table.set(&mut *store, 1, func.clone()).unwrap());
    let global = instance.get_global(&mut *store, "g").unwrap();
    rows.row("Global::get", 200_000, 1, || {
        black_box(global.get(&mut *store));
    });
    rows.row("Global::set", 200_000, 1, || global.set(&mut *store, Val::I32(3)).unwrap());
}

fn stores(
    rows: &mut impl Rows,
    engine: &Engine,
    module: &Module,
    linker: &Linker<u64>,
) -> Result<()> {
    rows.row("Store::new and drop", 20_000, 1, || {
        black_box(Store::new(engine, 0u64));
    });
    let pre = linker.instantiate_pre(module)?;
    rows.row("instantiate, store and InstancePre", 3_000, 1, || {
        let mut store = Store::new(engine, 0);
        black_box(pre.instantiate(&mut store).unwrap());
    });
    rows.row("instantiate, store and Linker", 3_000, 1, || {
        let mut store = Store::new(engine, 0);
        black_box(linker.instantiate(&mut store, module).unwrap());
    });
    rows.row("Memory::new and grow by 100 pages", 2_000, 1, || {
        let mut store = Store::new(engine, 0u64);
        let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
        memory.grow(&mut store, 100).unwrap();
    });
    let fresh = || -> Result<(Store<u64>, Memory)> {
        let mut store = Store::new(engine, 0u64);
        let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
        Ok((store, memory))
    };
    let (mut store, mut memory) = fresh()?;
    let mut pages = 0;
    rows.row("Memory::grow one page", 200, 1, || {
        if pages == 60_000 {
            (store, memory) = fresh().unwrap();
            pages = 0;
        }
        memory.grow(&mut store, 1).unwrap();
        pages += 1;
    });
    Ok(())
}

fn modules(rows: &mut impl Rows, engine: &Engine, module: &Module) -> Result<()> {
    rows.row("Module::new, small", 200, 1, || {
        black_box(Module::new(engine, TEXT).unwrap());
    });
    // Code of all functions, as the peer's artifact has it.
    let ahead = ahead_of_time(true)?;
    let artifact = Module::new(&ahead, TEXT)?.serialize()?;
    rows.row("Module::deserialize, small", 2_000, 1, || {
        black_box(deserialize(&ahead, &artifact).unwrap());
    });
    let artifact = module.serialize()?;
    rows.row("Module::deserialize, small, as made", 2_000, 1, || {
        black_box(deserialize(engine, &artifact).unwrap());
    });
    Ok(())
}

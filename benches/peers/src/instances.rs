//! Many instances of a small module alive at once, and what one of them takes: KiB that are resident, and
//! those of page tables.

use super::*;
use crate::status;
use std::time::Instant;

pub fn run(count: u32) -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, micro::TEXT)?;
    let pre = micro::linker(&engine)?.instantiate_pre(&module)?;
    // What is made once is not counted.
    for _ in 0..20 {
        let mut store = Store::new(&engine, 0);
        let instance = pre.instantiate(&mut store)?;
        call(&mut store, instance)?;
    }
    let before = [status("VmRSS"), status("VmPTE")];
    let start = Instant::now();
    let mut stores = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let mut store = Store::new(&engine, 0);
        pre.instantiate(&mut store)?;
        stores.push(store);
    }
    let nanoseconds = start.elapsed().as_nanos() as f64 / f64::from(count);
    let each = |after: f64, before: f64| (after - before).max(0.0) / f64::from(count);
    let resident = each(status("VmRSS"), before[0]);
    let tables = each(status("VmPTE"), before[1]);
    println!("KiB of an instance\t{resident:.3}");
    println!("KiB with page tables\t{:.3}", resident + tables);
    println!("ns to make one\t{nanoseconds:.1}");
    drop(stores);
    Ok(())
}

fn call(store: &mut Store<u64>, instance: Instance) -> Result<()> {
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut *store, "add")?;
    add.call(store, (1, 2)).map(drop)
}

//! Systems that refuse memory: whatever is refused, the result is an error (or -1 where the guest
//! asked), what was there before stays usable, and the same step succeeds when memory is there again.
//!
//! All of it is one test, since code of all engines lies in one place, which the first module makes.

#![forbid(unsafe_code)]

mod common;

use common::{modes, trap};
use wardian::*;
use wardian_vm::refuse;

const TEXT: &str = r#"(module
    (import "h" "f" (func $h (param i32) (result i32)))
    (memory $m (export "m") 1 20) (memory 2)
    (table $t (export "t") 2 funcref) (table 1 externref) (elem (i32.const 1) $h)
    (data "some bytes") (data (i32.const 8) "\07")
    (func (export "memory") (param i32) (result i32) (memory.grow $m (local.get 0)))
    (func (export "table") (param i32) (result i32)
        (table.grow $t (ref.func $h) (local.get 0)))
    (func (export "past") (result i32) (i32.load (i32.const -9)))
    (func (export "run") (param i32) (result i32)
        (i32.add (i32.load8_u (i32.const 8)) (call_indirect (param i32) (result i32)
            (local.get 0) (i32.sub (table.size $t) (i32.const 1))))))"#;

/// Does `step` with its first request refused, then its second, and so on, until no refusal is met;
/// first with all that follow, then each alone. `seen` looks at each result that was met by a refusal.
/// Returns the last result and the number of refusals that were met.
fn refusing<R>(mut step: impl FnMut() -> R, mut seen: impl FnMut(R)) -> (R, usize) {
    let mut met = 0;
    for refused in [usize::MAX, 1] {
        for allowed in 0.. {
            let (result, hits) = refuse(allowed, refused, &mut step);
            if hits == 0 && refused > 1 {
                seen(result);
                break;
            } else if hits == 0 {
                return (result, met);
            }
            seen(result);
            met += 1;
            assert!(allowed < 1000, "a step ends");
        }
    }
    unreachable!("both lists of refusals end")
}

fn expect_limit<R>(result: Result<R>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
        assert!(format!("{error:#}").contains("memory"), "{error:#}");
    }
}

fn new_store(engine: &Engine) -> Store<StoreLimits> {
    // As much as one instance needs: parts of a failed one would make the next fail.
    let limits = StoreLimitsBuilder::new().instances(1).memories(2).tables(2).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store
}

fn instantiate(store: &mut Store<StoreLimits>, module: &Module, host: Func) -> Result<Instance> {
    Instance::new(store, module, &[host.into()])
}

/// That an instance works whose memory has `pages`.
fn check(store: &mut Store<StoreLimits>, instance: &Instance, pages: u64) {
    let run = instance.get_typed_func::<i32, i32>(&mut *store, "run").unwrap();
    assert_eq!(run.call(&mut *store, 5).unwrap(), 22);
    let past = instance.get_typed_func::<(), i32>(&mut *store, "past").unwrap();
    assert_eq!(trap(past.call(&mut *store, ())), Trap::MemoryOutOfBounds);
    let memory = instance.get_memory(&mut *store, "m").unwrap();
    assert_eq!(memory.size(&*store), pages);
    let last = memory.data_size(&*store) - 1;
    memory.write(&mut *store, last, &[9]).unwrap();
    memory.write(&mut *store, last + 1, &[9]).unwrap_err();
}

#[test]
fn every_step_survives_every_refusal() {
    // Modules stay: what they leave would be all that those of the next engine need.
    let mut held = Vec::new();
    for (mode, engine) in modes() {
        println!("mode {mode}");
        let mut kept = Vec::new();
        let step = || Module::new(&engine, TEXT);
        let (module, met) = refusing(step, |module| match module {
            Ok(module) => kept.push(module),
            error => expect_limit(error),
        });
        assert!(met > 0, "modules need memory");
        kept.push(module.unwrap());
        // Those too that were made in another way than was tried first.
        for module in &kept {
            let mut store = new_store(&engine);
            let host = Func::wrap(&mut store, |x: i32| x * 3);
            let instance = instantiate(&mut store, module, host).unwrap();
            check(&mut store, &instance, 1);
        }
        let module = kept[0].clone();
        held.extend(kept);

        let (mut refused, mut smaller) = (0, 0);
        for plan in [usize::MAX, 1] {
            let mut store = new_store(&engine);
            let mut host = Func::wrap(&mut store, |x: i32| x * 3);
            for allowed in 0.. {
                let step = || instantiate(&mut store, &module, host);
                let (result, hits) = refuse(allowed, plan, step);
                if hits == 0 {
                    let instance = result.unwrap();
                    check(&mut store, &instance, 1);
                    break;
                }
                match result {
                    // Its heap is smaller than was asked for first; it has all of its parts.
                    Ok(instance) => {
                        check(&mut store, &instance, 1);
                        smaller += 1;
                        store = new_store(&engine);
                        host = Func::wrap(&mut store, |x: i32| x * 3);
                    }
                    error => {
                        expect_limit(error);
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 10 && smaller <= 1, "{refused} {smaller}");

        let mut store = new_store(&engine);
        let host = Func::wrap(&mut store, |x: i32| x * 3);
        let instance = instantiate(&mut store, &module, host).unwrap();
        for name in ["memory", "table"] {
            let grow = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
            let (mut size, mut failed) = (if name == "memory" { 1 } else { 2 }, 0);
            // Enough that a table must move, and few enough for the memory's limit.
            let delta = if name == "memory" { 1 } else { 1000 };
            for plan in [usize::MAX, 1] {
                for allowed in 0.. {
                    let step = || grow.call(&mut store, delta).unwrap();
                    let (result, hits) = refuse(allowed, plan, step);
                    if result == -1 {
                        failed += 1;
                        assert!(hits > 0, "{name}");
                    } else {
                        assert_eq!(result, size, "{name}");
                        size += delta;
                    }
                    let memory = instance.get_memory(&mut store, "m").unwrap();
                    let pages = memory.size(&store);
                    assert!(name == "table" || pages == size as u64);
                    check(&mut store, &instance, pages);
                    if hits == 0 {
                        break;
                    }
                }
            }
            assert!(failed >= 2, "{name}: {failed}");
        }

        let pages = instance.get_memory(&mut store, "m").unwrap().size(&store);
        let ((), hits) = refuse(0, usize::MAX, || check(&mut store, &instance, pages));
        assert_eq!(hits, 0, "calls need no memory of the kernel");

        let mut store = Store::new(&engine, ());
        let ty = MemoryType::new(0, Some(3));
        let step = || Memory::new(&mut store, ty.clone());
        let (memory, met) = refusing(step, expect_limit);
        assert!(memory.is_ok() && met > 0);
        let step =
            || Global::new(&mut store, GlobalType::new(ValType::I32, Mutability::Var), Val::I32(3));
        let (global, met) = refusing(step, expect_limit);
        assert!(global.is_ok() && met > 0);
        let ty = TableType::new(RefType::FUNCREF, 0, None);
        let step = || Table::new(&mut store, ty.clone(), Ref::Func(None));
        let (table, met) = refusing(step, expect_limit);
        assert!(table.is_ok() && met > 0);

        // What cannot be given back is lost, and nothing else.
        for allowed in 0..12 {
            let module = Module::new(&engine, TEXT).unwrap();
            let mut store = new_store(&engine);
            let host = Func::wrap(&mut store, |x: i32| x * 3);
            let instance = instantiate(&mut store, &module, host).unwrap();
            check(&mut store, &instance, 1);
            refuse(allowed, usize::MAX, || drop((store, module)));
        }
    }
}

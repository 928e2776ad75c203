//! Where things end: stacks of any size, memories and tables, the limits of stores.

#![forbid(unsafe_code)]

mod common;

use common::{in_each_mode, instance, trap};
use wardian::*;

#[test]
fn a_caller_that_moves_to_another_thread() {
    // A host function may call the guest from a scoped thread, whose stack lies elsewhere.
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap("h", "elsewhere", |mut caller: Caller<'_, ()>| -> Result<i32> {
            let call = |caller: &mut Caller<'_, ()>, name: &str| {
                let func = caller.get_export(name).and_then(Extern::into_func).unwrap();
                func.typed::<(), i32>(&*caller)?.call(caller, ())
            };
            for kilobytes in [256, 8192, 128, 1024] {
                std::thread::scope(|scope| {
                    let thread = std::thread::Builder::new().stack_size(kilobytes << 10);
                    let caller = &mut caller;
                    let work = move || {
                        assert_eq!(call(caller, "fine").unwrap(), 42);
                        assert_eq!(trap(call(caller, "deep")), Trap::StackOverflow);
                        assert_eq!(trap(call(caller, "fault")), Trap::MemoryOutOfBounds);
                        assert_eq!(call(caller, "fine").unwrap(), 42);
                    };
                    thread.spawn_scoped(scope, work).unwrap().join().unwrap();
                });
            }
            assert_eq!(trap(call(&mut caller, "deep")), Trap::StackOverflow);
            call(&mut caller, "fine")
        })
        .unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "h" "elsewhere" (func $e (result i32))) (memory 1)
            (func (export "run") (result i32) (call $e))
            (func (export "fine") (result i32) (i32.const 42))
            (func (export "fault") (result i32) (i32.load (i32.const -4)))
            (func $deep (export "deep") (result i32) (i32.add (call $deep) (i32.const 1))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    for _ in 0..3 {
        assert_eq!(run.call(&mut store, ()).unwrap(), 42);
    }
}

#[test]
fn memory_grows_to_its_limit() {
    in_each_mode(|engine| {
        let (mut store, instance) = instance(
            engine,
            r#"(module (memory (export "m") 0 40)
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
                (func (export "size") (result i32) (memory.size))
                (func (export "put") (param i32) (result i32)
                  (i32.store8 (local.get 0) (i32.const 9)) (i32.load8_u (local.get 0))))"#,
        )?;
        let memory = instance.get_memory(&mut store, "m").expect("it is exported");
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
        let put = instance.get_typed_func::<i32, i32>(&mut store, "put")?;
        assert_eq!(trap(put.call(&mut store, 0)), Trap::MemoryOutOfBounds);
        assert!(memory.data(&store).is_empty());
        for page in 0..40 {
            assert_eq!(grow.call(&mut store, 1)?, page);
            assert_eq!(put.call(&mut store, (page << 16) + 65_535)?, 9);
            assert_eq!(trap(put.call(&mut store, (page + 1) << 16)), Trap::MemoryOutOfBounds);
        }
        for delta in [1, -1, i32::MIN, 65_536] {
            assert_eq!(grow.call(&mut store, delta)?, -1);
        }
        assert_eq!(grow.call(&mut store, 0)?, 40);
        let nines = memory.data(&store).iter().filter(|byte| **byte == 9).count();
        assert_eq!(nines, 40, "growth keeps what was there");
        let error = memory.grow(&mut store, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        Ok(())
    });
}

#[test]
fn memory_grows_to_four_gibibytes() {
    // With a reservation nothing moves; all but the touched pages stay unbacked.
    let engine = Engine::default();
    let (mut store, instance) = instance(
        &engine,
        r#"(module (memory 1)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "put") (param i32) (result i32)
              (i32.store8 (local.get 0) (i32.const 9)) (i32.load8_u (local.get 0))))"#,
    )
    .unwrap();
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
    let put = instance.get_typed_func::<i32, i32>(&mut store, "put").unwrap();
    assert_eq!(grow.call(&mut store, 65_536).unwrap(), -1);
    // The system may refuse; then the memory is as before.
    match grow.call(&mut store, 65_535).unwrap() {
        -1 => assert_eq!(grow.call(&mut store, 0).unwrap(), 1),
        old => {
            assert_eq!(old, 1);
            assert_eq!(put.call(&mut store, -1).unwrap(), 9);
            assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
        }
    }
}

#[test]
fn memories_of_zero_pages() {
    in_each_mode(|engine| {
        let (mut store, instance) = instance(
            engine,
            r#"(module (memory (export "m") 0 0) (data "x") (data (i32.const 0) "")
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
                (func (export "load far") (param i32) (result i32)
                  (i32.load8_u offset=0xffffffff (local.get 0)))
                (func (export "vector") (param i32) (result i32)
                  (v128.store (local.get 0) (v128.const i64x2 1 2)) (i32.const 0))
                (func (export "init") (param i32) (result i32)
                  (memory.init 0 (i32.const 0) (i32.const 0) (local.get 0)) (i32.const 0))
                (func (export "fill") (param i32) (result i32)
                  (memory.fill (i32.const 0) (i32.const 0) (local.get 0)) (i32.const 0)))"#,
        )?;
        let memory = instance.get_memory(&mut store, "m").expect("it is exported");
        let call = |store: &mut Store<()>, name: &str, x: i32| {
            instance.get_typed_func::<i32, i32>(&mut *store, name)?.call(store, x)
        };
        for name in ["load", "load far", "vector"] {
            for index in [0, 1, 65_535, i32::MIN, -1] {
                assert_eq!(trap(call(&mut store, name, index)), Trap::MemoryOutOfBounds);
            }
        }
        for name in ["init", "fill"] {
            assert_eq!(call(&mut store, name, 0)?, 0);
            assert_eq!(trap(call(&mut store, name, 1)), Trap::MemoryOutOfBounds);
        }
        assert_eq!(call(&mut store, "grow", 0)?, 0);
        assert_eq!(call(&mut store, "grow", 1)?, -1);
        assert_eq!((memory.size(&store), memory.data_size(&store)), (0, 0));
        assert!(memory.write(&mut store, 0, b"x").is_err());
        memory.write(&mut store, 0, b"")?;
        assert!(memory.read(&store, usize::MAX, &mut [0]).is_err());
        Ok(())
    });
}

#[test]
fn limits_of_a_store_name_themselves() -> Result<()> {
    let engine = Engine::default();
    let limited = |limits: StoreLimits| {
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        store
    };
    let builder = StoreLimitsBuilder::new;
    let module = Module::new(&engine, "(module (memory 2) (memory 0) (table 10 funcref))")?;
    for (limits, parts) in [
        (builder().memory_size(1 << 16).build(), ["memory", "131072 bytes", "max-memory-size"]),
        (builder().table_elements(9).build(), ["table", "10 elements", "limit"]),
        (builder().instances(0).build(), ["limit is 0 instances", "would be 1", "limit"]),
        (builder().memories(1).build(), ["limit is 1 memories", "would be 2", "limit"]),
        (builder().tables(0).build(), ["limit is 0 tables", "would be 1", "limit"]),
    ] {
        let mut store = limited(limits);
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
        for part in parts {
            assert!(error.to_string().contains(part), "expected `{part}` in `{error}`");
        }
    }
    let huge = Module::new(&engine, "(module (table 4000000000 funcref))")?;
    let error = Instance::new(&mut limited(builder().build()), &huge, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("10000000"), "{error}");
    let huge = Module::new(&engine, "(module (memory i64 0x1000000000000))")?;
    let error = Instance::new(&mut limited(builder().build()), &huge, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    assert!(error.to_string().contains("memory"), "{error}");
    Ok(())
}

#[test]
fn a_growth_that_is_forbidden_may_end_the_guest() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (memory 1) (table 1 funcref)
            (func (export "memory") (result i32) (memory.grow (i32.const 1)))
            (func (export "table") (result i32) (table.grow (ref.null func) (i32.const 1))))"#,
    )?;
    for ends in [false, true] {
        let limits = StoreLimitsBuilder::new().memory_size(1 << 16).table_elements(1);
        let mut store = Store::new(&engine, limits.trap_on_grow_failure(ends).build());
        store.limiter(|limits| limits);
        let instance = Instance::new(&mut store, &module, &[])?;
        for name in ["memory", "table", "memory"] {
            let func = instance.get_typed_func::<(), i32>(&mut store, name)?;
            match func.call(&mut store, ()) {
                Ok(result) => assert_eq!((result, ends), (-1, false)),
                Err(error) => {
                    assert!(ends && format!("{error:?}").contains(name), "{error:?}");
                }
            }
        }
    }
    Ok(())
}

// ---- budgets ----

#[test]
fn one_budget_covers_all_that_a_store_takes() {
    in_each_mode(|engine| {
        let budget = Budget::new(10 << 16);
        let limits = || StoreLimitsBuilder::new().budget(&budget).build();
        let mut store = Store::new(engine, limits());
        store.limiter(|limits| limits);
        let text = r#"(module
            (memory (export "m") 2) (memory 1)
            (table (export "t") 1024 funcref)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "more") (param i32) (result i32)
              (table.grow (ref.null func) (local.get 0))))"#;
        let module = Module::new(engine, text)?;
        let instance = Instance::new(&mut store, &module, &[])?;
        assert_eq!(budget.taken(), (3 << 16) + 8 * 1024);
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
        let more = instance.get_typed_func::<i32, i32>(&mut store, "more")?;
        assert_eq!(grow.call(&mut store, 7)?, -1);
        assert_eq!(grow.call(&mut store, 5)?, 2);
        assert_eq!(budget.taken(), (8 << 16) + 8 * 1024);
        assert_eq!(more.call(&mut store, 15 * 1024 + 1)?, -1);
        assert_eq!(more.call(&mut store, 7 * 1024)?, 1024);
        assert_eq!(budget.taken(), 9 << 16);
        // A growth that its type or the system refuses takes nothing.
        assert_eq!(grow.call(&mut store, -1)?, -1);
        assert_eq!(budget.taken(), 9 << 16);
        // What does not fit as a whole is not made at all.
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(
            error.to_string().contains("exceed the store's budget (589824 of 655360"),
            "{error}"
        );
        assert!(Memory::new(&mut store, MemoryType::new(2, None)).is_err());
        let null = Ref::Extern(None);
        let table = TableType::new(RefType::EXTERNREF, 8 << 10, None);
        Table::new(&mut store, table, null)?;
        assert_eq!(budget.taken(), (9 << 16) + (32 << 10));
        // There is no room for a heap, nor for another store of the same budget.
        let error = ExternRef::new(&mut store, [0u8; 16 << 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        let mut other = Store::new(engine, limits());
        other.limiter(|limits| limits);
        assert!(Memory::new(&mut other, MemoryType::new(1, None)).is_err());
        drop(store);
        assert_eq!(budget.taken(), 0);
        Memory::new(&mut other, MemoryType::new(10, None))?;
        assert_eq!(budget.taken(), budget.limit());
        Ok(())
    });
}

/// Values of the host that are held, and their heap, take their part of the budget; those that nothing
/// reaches do not.
#[test]
fn values_of_the_host_take_from_the_budget() {
    in_each_mode(|engine| {
        let budget = Budget::new(2 << 20);
        let mut store = Store::new(engine, StoreLimitsBuilder::new().budget(&budget).build());
        store.limiter(|limits| limits);
        for _ in 0..200 {
            let mut scope = RootScope::new(&mut store);
            ExternRef::new(&mut scope, [0u8; 64 << 10])?;
        }
        assert!(budget.taken() <= budget.limit());
        let mut made = 0;
        while ExternRef::new(&mut store, [0u8; 64 << 10]).is_ok() {
            made += 1;
        }
        assert!((10..30).contains(&made) && budget.taken() <= budget.limit(), "{made}");
        drop(store);
        assert_eq!(budget.taken(), 0);
        Ok(())
    });
}

#[test]
fn a_budget_that_is_used_up_can_be_a_trap() {
    in_each_mode(|engine| {
        let limits = StoreLimitsBuilder::new().total_bytes(1 << 16).trap_on_grow_failure(true);
        let mut store = Store::new(engine, limits.build());
        store.limiter(|limits| limits);
        let text = r#"(module (memory 1)
            (func (export "f") (drop (memory.grow (i32.const 1)))))"#;
        let module = Module::new(engine, text)?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let func = instance.get_typed_func::<(), ()>(&mut store, "f")?;
        let error = func.call(&mut store, ()).unwrap_err();
        assert!(format!("{error:#}").contains("65536 of 65536 bytes are taken"), "{error:?}");
        Ok(())
    });
}

//! Stores, their contexts, limits and hooks; and what happens to handles in the wrong place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use wardian::*;

// uses: Store, StoreContext, StoreContextMut, AsContext, AsContextMut
#[test]
fn stores() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 1);
    *store.data_mut() += 1;
    assert_eq!((*store.data(), Engine::same(store.engine(), &engine)), (2, true));
    fn data<C: AsContext<Data = i32>>(context: &C) -> i32 {
        let shared: StoreContext<'_, C::Data> = context.as_context();
        let _: &Engine = shared.engine();
        *shared.data()
    }
    fn add<C: AsContextMut<Data = i32>>(context: &mut C) {
        let mut exclusive: StoreContextMut<'_, i32> = context.as_context_mut();
        *exclusive.data_mut() += 1;
        assert!(*exclusive.data() > 0 && exclusive.engine().weak().upgrade().is_some());
        assert!(data(&exclusive) > 0);
    }
    add(&mut store);
    assert_eq!(data(&store), 3);
    store.limiter(|data| {
        *data += 1;
        Box::leak(Box::new(StoreLimits::default()))
    });
    Memory::new(&mut store, MemoryType::new(1, None))?;
    assert_eq!(store.into_data(), 4);
    assert_eq!(*Store::try_new(&engine, "data")?.data(), "data");
    Ok(())
}

// uses: Caller
#[test]
fn callers() -> Result<()> {
    let mut store = Store::<Option<ModuleExport>>::default();
    let engine = store.engine().clone();
    let mut linker = Linker::new(&engine);
    let mine = engine.clone();
    linker.func_wrap(
        "h",
        "f",
        move |mut caller: Caller<'_, Option<ModuleExport>>| -> Result<()> {
            ensure!(Engine::same(caller.engine(), &mine));
            let memory = caller.get_export("m").and_then(Extern::into_memory).expect("a memory");
            let export = caller.data().expect("set below");
            let same = caller.get_module_export(&export).and_then(Extern::into_memory);
            ensure!(same.expect("a memory").data_ptr(&caller) == memory.data_ptr(&caller));
            ensure!(caller.get_export("none").is_none());
            let (bytes, data) = memory.data_and_store_mut(&mut caller);
            bytes[0] = 7;
            *data = None;
            *caller.data_mut() = Some(export);
            Ok(())
        },
    )?;
    let text = "(module (import \"h\" \"f\" (func $f)) (memory (export \"m\") 1) (start $f))";
    let module = Module::new(&engine, text)?;
    *store.data_mut() = module.get_export_index("m");
    let instance = linker.instantiate(&mut store, &module)?;
    let memory = instance.get_memory(&mut store, "m").expect("a memory");
    assert_eq!(memory.data(&store)[0], 7);
    // Called by the host, there is no instance to ask.
    let lonely = Func::wrap(&mut store, |mut caller: Caller<'_, Option<ModuleExport>>| {
        let export = caller.data().expect("set above");
        let none = caller.get_export("m").is_none() && caller.get_module_export(&export).is_none();
        i32::from(none)
    });
    assert_eq!(lonely.typed::<(), i32>(&store)?.call(&mut store, ())?, 1);
    Ok(())
}

// uses: Config, OperatorCost, VariableOperatorCost
#[test]
fn costs_of_operators() -> Result<()> {
    let mut cost = OperatorCost::new();
    assert_eq!(
        (cost.LocalGet, cost.Nop, cost.variable == VariableOperatorCost::new()),
        (1, 0, true)
    );
    cost.LocalGet = 7;
    cost.variable.table_grow_per_element = 100;
    let text = r#"(module (table 1 funcref) (func (export "run") (param i32) (result i32)
        (table.grow (ref.null func) (local.get 0))))"#;
    let mut left = Vec::new();
    for strategy in [Strategy::Auto, Strategy::Optimizing, Strategy::Baseline] {
        let mut config = Config::new();
        let config = config.consume_fuel(true).operator_cost(cost.clone()).strategy(strategy);
        let engine = Engine::new(config)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, text)?, &[])?;
        store.set_fuel(1000)?;
        let run = instance.get_typed_func::<u32, i32>(&mut store, "run")?;
        assert_eq!(run.call(&mut store, 3)?, 1);
        left.push(store.get_fuel()?);
    }
    assert_eq!(left, [1000 - 1 - 7 - 1 - 300; 3]);
    Ok(())
}

// uses: Config, Engine, Store, StoreContext, StoreContextMut, Caller, UpdateDeadline
#[test]
fn fuel_and_epochs() -> Result<()> {
    let engine = Engine::new(Config::new().consume_fuel(true).epoch_interruption(true))?;
    assert!(engine.get_consume_fuel() && engine.get_epoch_interruption());
    assert!(!Engine::default().get_consume_fuel() && !Engine::default().get_epoch_interruption());
    let mut store = Store::new(&engine, 0u32);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("h", "tick", |mut caller: Caller<'_, u32>| -> Result<()> {
        caller.engine().increment_epoch();
        let fuel = caller.get_fuel()?;
        caller.set_fuel(fuel - 100)
    })?;
    let text = "(module (import \"h\" \"tick\" (func $tick))
        (func (export \"run\") (loop (call $tick) (br 0))))";
    let instance = linker.instantiate(&mut store, &Module::new(&engine, text)?)?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    store.set_fuel(10_000)?;
    store.set_epoch_deadline(3);
    store.epoch_deadline_trap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    assert!(store.get_fuel()? < 9_800);
    let shared = StoreContext::from(&store);
    assert_eq!(shared.get_fuel()?, store.get_fuel()?);
    let mut context = StoreContextMut::from(&mut store);
    context.set_fuel(10_000)?;
    context.set_epoch_deadline(1);
    context.epoch_deadline_trap();
    assert_eq!(context.get_fuel()?, 10_000);

    // The callback is host code, so the hook is told of it.
    store.epoch_deadline_callback(|mut context| {
        *context.data_mut() += 1;
        Ok(match *context.data() {
            3.. => UpdateDeadline::Interrupt,
            _ => UpdateDeadline::Continue(1),
        })
    });
    let passages = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = passages.clone();
    store.call_hook(move |_, passage| {
        seen.lock().expect("no panic").push(passage);
        Ok(())
    });
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    assert_eq!(*store.data(), 3);
    let passages = passages.lock().expect("no panic");
    let count = |passage| passages.iter().filter(|p| **p == passage).count();
    // Three calls of the host function, each followed by the callback.
    assert_eq!((count(CallHook::CallingHost), count(CallHook::ReturningFromHost)), (6, 6));
    assert_eq!((count(CallHook::CallingWasm), count(CallHook::ReturningFromWasm)), (1, 1));
    Ok(())
}

type Passages = Vec<CallHook>;

const HOOKED: &str = r#"(module
    (import "h" "typed" (func $typed (param i32)))
    (import "h" "dynamic" (func $dynamic))
    (import "h" "raw" (func $raw))
    (memory (export "m") 1 3) (table $t 1 3 funcref)
    (func (export "none"))
    (func (export "typed") (call $typed (i32.const 0)))
    (func (export "fails") (call $typed (i32.const 1)))
    (func (export "others") (call $dynamic) (call $raw))
    (func (export "grows") (drop (memory.grow (i32.const 1)))
        (drop (table.grow $t (ref.null func) (i32.const 1)))
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 9)))
    (func (export "trap") unreachable))"#;

fn hooked() -> Result<(Store<Passages>, Instance)> {
    let mut store = Store::<Passages>::default();
    let engine = store.engine().clone();
    let mut linker = Linker::<Passages>::new(&engine);
    linker.func_wrap("h", "typed", |fail: i32| -> Result<()> {
        ensure!(fail == 0, "failed");
        Ok(())
    })?;
    let ty = FuncType::new(&engine, [], []);
    linker.func_new("h", "dynamic", ty.clone(), |_, _, _| Ok(()))?;
    linker.func_new_raw("h", "raw", ty, |_, _| Ok(()))?;
    let instance = linker.instantiate(&mut store, &Module::new(&engine, HOOKED)?)?;
    Ok((store, instance))
}

// uses: CallHook, Store
#[test]
fn hooks_see_every_passage() -> Result<()> {
    use CallHook::*;
    let (mut store, instance) = hooked()?;
    store.call_hook(|mut context, passage| {
        context.data_mut().push(passage);
        Ok(())
    });
    let (enter, leave) = (CallingWasm, ReturningFromWasm);
    let (host, back) = (CallingHost, ReturningFromHost);
    for (name, inner) in [
        ("none", &[][..]),
        ("typed", &[host, back]),
        ("fails", &[host, back]),
        ("others", &[host, back, host, back]),
        ("grows", &[host, back, host, back]),
        ("trap", &[]),
    ] {
        let expected = [&[enter], inner, &[leave]].concat();
        let func = instance.get_func(&mut store, name).expect("exported");
        let typed = func.typed::<(), ()>(&store)?;
        let results = [
            func.call(&mut store, &[], &mut []),
            typed.call(&mut store, ()),
            func.call_raw(&mut store, &mut []),
        ];
        for result in results {
            assert_eq!(result.is_err(), name == "fails" || name == "trap");
        }
        assert_eq!(std::mem::take(store.data_mut()), expected.repeat(3), "{name}");
    }
    for (passage, entering) in [(enter, false), (leave, true), (host, true), (back, false)] {
        assert_eq!((passage.entering_host(), passage.exiting_host()), (entering, !entering));
    }
    // Start functions are calls as well.
    let text = "(module (func $f) (start $f))";
    let module = Module::new(store.engine(), text)?;
    Instance::new(&mut store, &module, &[])?;
    assert_eq!(*store.data(), [enter, leave]);
    Ok(())
}

// uses: CallHook
#[test]
fn errors_of_hooks_end_what_was_passing() -> Result<()> {
    let (mut store, instance) = hooked()?;
    for name in ["typed", "others", "grows"] {
        let func = instance.get_typed_func::<(), ()>(&mut store, name)?;
        for refused in [
            CallHook::CallingWasm,
            CallHook::CallingHost,
            CallHook::ReturningFromHost,
            CallHook::ReturningFromWasm,
        ] {
            store.data_mut().clear();
            store.call_hook(move |mut context, passage| {
                context.data_mut().push(passage);
                ensure!(passage != refused, "refused {passage:?}");
                Ok(())
            });
            let error = func.call(&mut store, ()).unwrap_err();
            assert_eq!(error.root_cause().to_string(), format!("refused {refused:?}"));
            let passages = store.data();
            let count = |passage| passages.iter().filter(|p| **p == passage).count();
            assert_eq!(count(refused), 1, "{name}: {passages:?}");
            let last = match refused {
                CallHook::CallingWasm => CallHook::CallingWasm,
                _ => CallHook::ReturningFromWasm,
            };
            assert_eq!(passages.last(), Some(&last), "{name}: {passages:?}");
        }
    }
    // A hook may call, and is not told of it; a panic goes on to the caller.
    store.call_hook(|mut context, _| {
        let nop = Func::wrap(&mut context, || {});
        nop.call(&mut context, &[], &mut [])?;
        context.data_mut().clear();
        Ok(())
    });
    let func = instance.get_typed_func::<(), ()>(&mut store, "typed")?;
    func.call(&mut store, ())?;
    store.call_hook(|_, _| panic!("in the hook"));
    assert!(catch_unwind(AssertUnwindSafe(|| func.call(&mut store, ()))).is_err());
    func.call(&mut store, ())?;
    Ok(())
}

/// Allows everything and counts.
#[derive(Default)]
struct Counting {
    growths: usize,
    failures: usize,
}

// uses: ResourceLimiter
impl ResourceLimiter for Counting {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        self.growths += 1;
        Ok(true)
    }
    fn memory_grow_failed(&mut self, _: Error) -> Result<()> {
        self.failures += 1;
        Ok(())
    }
    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        self.growths += 1;
        Ok(true)
    }
    fn table_grow_failed(&mut self, _: Error) -> Result<()> {
        self.failures += 1;
        bail!("no more tables")
    }
    fn instances(&self) -> usize {
        1
    }
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

// uses: ResourceLimiter, StoreLimits, StoreLimitsBuilder, DEFAULT_INSTANCE_LIMIT, DEFAULT_TABLE_LIMIT, DEFAULT_MEMORY_LIMIT
#[test]
fn limits() -> Result<()> {
    let mut store = Store::<Counting>::default();
    store.limiter(|counting| counting as &mut dyn ResourceLimiter);
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(1)))?;
    assert!(memory.grow(&mut store, 1).is_err());
    let ty = TableType::new(RefType::FUNCREF, 1, Some(1));
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    let error = table.grow(&mut store, 1, Ref::Func(None)).unwrap_err();
    assert_eq!(error.to_string(), "no more tables");
    assert_eq!((store.data().growths, store.data().failures), (4, 2));
    let module = Module::new(store.engine(), "(module)")?;
    Instance::new(&mut store, &module, &[])?;
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);

    let limits: StoreLimits = StoreLimitsBuilder::new()
        .memory_size(1 << 16)
        .table_elements(1)
        .instances(2)
        .tables(1)
        .memories(1)
        .trap_on_grow_failure(true)
        .build();
    let mut store = Store::new(store.engine(), limits);
    store.limiter(|limits| limits);
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    let error = memory.grow(&mut store, 1).unwrap_err().to_string();
    assert!(error.contains("max-memory-size"), "{error}");
    let usual = StoreLimits::default();
    assert_eq!(usual.instances(), DEFAULT_INSTANCE_LIMIT);
    assert_eq!(usual.tables(), DEFAULT_TABLE_LIMIT);
    assert_eq!(usual.memories(), DEFAULT_MEMORY_LIMIT);
    Ok(())
}

/// Every handle of one store, used with another of the same engine and with one of another engine.
#[test]
fn handles_in_the_wrong_store() -> Result<()> {
    let engine = Engine::default();
    let mut own = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        r#"(module (func (export "f") (param funcref externref)) (memory (export "m") 1)
            (table (export "t") 1 funcref) (global (export "g") (mut funcref) (ref.null func)))"#,
    )?;
    let instance = Instance::new(&mut own, &module, &[])?;
    let func = instance.get_func(&mut own, "f").expect("it");
    let typed = func.typed::<(Option<Func>, Option<Rooted<ExternRef>>), ()>(&own)?;
    let memory = instance.get_memory(&mut own, "m").expect("it");
    let table = instance.get_table(&mut own, "t").expect("it");
    let global = instance.get_global(&mut own, "g").expect("it");
    let value = ExternRef::new(&mut own, 1)?;
    for mut other in [Store::new(&engine, ()), Store::new(&Engine::default(), ())] {
        let other = &mut other;
        let takes = Func::wrap(&mut *other, |_: Option<Func>, _: Option<Rooted<ExternRef>>| {});
        let fits = TableType::new(RefType::FUNCREF, 1, None);
        let its_table = Table::new(&mut *other, fits.clone(), Ref::Func(None))?;
        let ty = GlobalType::new(ValType::FUNCREF, Mutability::Var);
        let its_global = Global::new(&mut *other, ty.clone(), NoFunc::null_val())?;
        let null = Ref::Func(None);
        let (none, nothing) = (NoFunc::null_val(), NoExtern::null_val());
        let errors = [
            func.call(&mut *other, &[none, nothing], &mut []),
            func.call_raw(&mut *other, &mut [ValRaw::null(), ValRaw::null()]),
            func.typed::<(), ()>(&*other).map(drop),
            typed.call(&mut *other, (None, None)),
            takes.call(&mut *other, &[func.into(), nothing], &mut []),
            takes.call(&mut *other, &[none, value.into()], &mut []),
            takes.typed(&*other)?.call(&mut *other, (Some(func), None::<Rooted<ExternRef>>)),
            takes.typed(&*other)?.call(&mut *other, (None::<Func>, Some(value))),
            memory.grow(&mut *other, 1).map(drop),
            table.grow(&mut *other, 1, null.clone()).map(drop),
            table.set(&mut *other, 0, null.clone()),
            its_table.set(&mut *other, 0, func.into()),
            its_table.grow(&mut *other, 1, func.into()).map(drop),
            Table::new(&mut *other, fits, func.into()).map(drop),
            Table::copy(&mut *other, &table, 0, &its_table, 0, 1),
            Table::copy(&mut *other, &its_table, 0, &table, 0, 1),
            global.set(&mut *other, none),
            its_global.set(&mut *other, func.into()),
            Global::new(&mut *other, ty, func.into()).map(drop),
            value.data(&*other).map(drop),
            value.data_mut(&mut *other).map(drop),
            value.to_raw(&*other).map(drop),
            Rooted::ref_eq(&*other, &value, &value).map(drop),
            value.ref_hash(&*other, &mut std::hash::DefaultHasher::new()),
            Val::from(func).ty(&*other).map(drop),
            Val::from(value).to_raw(&*other).map(drop),
            Ref::from(func).matches_ty(&*other, &RefType::FUNCREF).map(drop),
            instance.get_typed_func::<(), ()>(&mut *other, "f").map(drop),
            Linker::new(other.engine()).define(&*other, "", "", func).map(drop),
        ];
        for (position, error) in errors.into_iter().enumerate() {
            let error = error.expect_err(&format!("use {position}"));
            assert_eq!(error.kind(), ErrorKind::Misuse, "use {position}: {error:?}");
            let text = format!("{error:#}");
            assert!(text.contains("object used with the wrong store"), "use {position}: {text}");
        }
        let other = std::cell::RefCell::new(other);
        let panics: &[&dyn Fn()] = &[
            &|| _ = func.ty(&**other.borrow()),
            &|| _ = func.to_raw(&**other.borrow()),
            &|| _ = memory.ty(&**other.borrow()),
            &|| _ = memory.size(&**other.borrow()),
            &|| _ = memory.data(&**other.borrow()).len(),
            &|| _ = memory.data_mut(&mut **other.borrow_mut()).len(),
            &|| _ = memory.data_ptr(&**other.borrow()),
            &|| _ = memory.write(&mut **other.borrow_mut(), 0, b"x"),
            &|| _ = memory.read(&**other.borrow(), 0, &mut [0]),
            &|| _ = table.ty(&**other.borrow()),
            &|| _ = table.size(&**other.borrow()),
            &|| _ = table.get(&mut **other.borrow_mut(), 0),
            &|| _ = global.ty(&**other.borrow()),
            &|| _ = global.get(&mut **other.borrow_mut()),
            &|| _ = instance.get_export(&mut **other.borrow_mut(), "f"),
            &|| _ = instance.exports(&**other.borrow()).len(),
            &|| _ = instance.module(&**other.borrow()).name(),
            &|| _ = Extern::from(func).ty(&**other.borrow()),
        ];
        for (position, panic) in panics.iter().enumerate() {
            let payload = catch_unwind(AssertUnwindSafe(panic)).expect_err("a panic");
            let text = payload.downcast_ref::<String>().expect("a text");
            assert_eq!(text, "object used with the wrong store", "panic {position}");
        }
    }
    Ok(())
}

#[test]
fn engines_do_not_mix() -> Result<()> {
    let (a, b) = (Engine::default(), Engine::default());
    let module = Module::new(&a, "(module (func (export \"f\")))")?;
    let mut of_b = Store::new(&b, ());
    let mut linker_a = Linker::<()>::new(&a);
    linker_a.func_wrap("h", "f", || {})?;
    let mut linker_b = Linker::<()>::new(&b);
    let pre = linker_a.instantiate_pre(&module)?;
    let func = Func::wrap(&mut of_b, || {});
    let instance = Instance::new(&mut of_b, &Module::new(&b, "(module)")?, &[])?;
    let errors = [
        Instance::new(&mut of_b, &module, &[]).map(drop),
        linker_b.instantiate_pre(&module).map(drop),
        linker_b.instantiate(&mut of_b, &module).map(drop),
        linker_b.module(&mut of_b, "m", &module).map(drop),
        linker_a.module(&mut of_b, "m", &module).map(drop),
        pre.instantiate(&mut of_b).map(drop),
        linker_a.define(&of_b, "x", "y", func).map(drop),
        linker_a.instance(&mut of_b, "x", instance).map(drop),
        linker_a.get(&mut of_b, "h", "f").map(drop),
        linker_a.get_default(&mut of_b, "h").map(drop),
        linker_a.define_unknown_imports_as_default_values(&mut of_b, &module),
    ];
    for (position, error) in errors.into_iter().enumerate() {
        let error = error.expect_err(&format!("use {position}"));
        assert_eq!(error.kind(), ErrorKind::Misuse, "use {position}: {error:?}");
        assert!(error.to_string().contains("belong to different engines"), "{position}: {error}");
    }
    let iterate = || linker_a.iter(&mut of_b).count();
    assert!(catch_unwind(AssertUnwindSafe(iterate)).is_err());
    // Types are of the process: made with one engine, they fit functions of another.
    let ty = FuncType::new(&a, [ValType::I32], []);
    let func = Func::new(&mut of_b, ty.clone(), |_, _, _| Ok(()));
    assert!(func.matches_ty(&of_b, &FuncType::new(&b, [ValType::I32], [])));
    assert!(Val::from(func).matches_ty(&of_b, &ValType::FUNCREF)?);
    Ok(())
}

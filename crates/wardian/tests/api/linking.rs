//! Linkers, instances and what they export.

use std::collections::BTreeSet;
use wardian::*;

// uses: Linker
#[test]
fn linkers() -> Result<()> {
    let mut store = Store::<u32>::default();
    let engine = store.engine().clone();
    let mut linker: Linker<u32> = Linker::new(&engine);
    assert!(Engine::same(linker.engine(), &engine));
    linker.func_wrap("host", "f", || 1)?;
    let ty = FuncType::new(&engine, [], [ValType::I32]);
    linker.func_new("host", "g", ty.clone(), |_, _, results| {
        results[0] = Val::I32(2);
        Ok(())
    })?;
    linker.func_new_raw("host", "h", ty, |_, slots| {
        slots[0] = ValRaw::i32(3);
        Ok(())
    })?;
    let global = GlobalType::new(ValType::I32, Mutability::Const);
    let global = Global::new(&mut store, global, Val::I32(4))?;
    linker.define(&store, "host", "x", global)?;
    assert!(linker.func_wrap("host", "f", || 5).is_err(), "defined twice");
    linker.allow_shadowing(true);
    linker.func_wrap("host", "f", || 10)?;
    linker.alias("host", "f", "host", "again")?;
    assert!(linker.alias("host", "none", "host", "again").is_err());
    linker.alias_module("host", "guest")?;
    let names = |linker: &Linker<u32>, store: &mut Store<u32>| -> BTreeSet<String> {
        linker.iter(store).map(|(module, name, _)| format!("{module}.{name}")).collect()
    };
    let all = names(&linker, &mut store);
    assert_eq!(all.len(), 10);
    assert!(all.contains("guest.again") && all.contains("host.x"));
    // The global belongs to one store; the functions to none.
    assert_eq!(names(&linker, &mut Store::new(&engine, 0)).len(), 8);

    let module = Module::new(
        &engine,
        r#"(module
            (import "host" "again" (func $f (result i32))) (import "guest" "g" (func $g (result i32)))
            (import "guest" "h" (func $h (result i32))) (import "guest" "x" (global $x i32))
            (func (export "") (result i32) (i32.add (i32.add (call $f) (call $g))
                (i32.add (call $h) (global.get $x)))))"#,
    )?;
    for import in module.imports() {
        assert!(linker.get_by_import(&mut store, &import).is_some());
        assert!(linker.try_get_by_import(&mut store, &import)?.is_some());
    }
    let instance = linker.instantiate(&mut store, &module)?;
    linker.instance(&mut store, "made", instance)?;
    linker.module(&mut store, "module", &module)?;
    for name in ["made", "module"] {
        let main = linker.get_default(&mut store, name)?.typed::<(), i32>(&store)?;
        assert_eq!(main.call(&mut store, ())?, 19);
    }
    linker.get_default(&mut store, "nothing")?.call(&mut store, &[], &mut [])?;
    assert!(linker.get(&mut store, "made", "")?.into_func().is_some());
    assert!(linker.get(&mut store, "made", "none").is_err());
    linker.define(&store, "odd", "", global)?;
    assert!(linker.get_default(&mut store, "odd").is_err());
    Ok(())
}

// uses: Linker, UnknownImportError
#[test]
fn unknown_imports() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let module = Module::new(
        &engine,
        r#"(module (import "a" "f" (func $f (param i32) (result i64)))
            (func (export "run") (result i64) (call $f (i32.const 1))))"#,
    )?;
    let mut linker = Linker::new(&engine);
    let error = linker.instantiate(&mut store, &module).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Link);
    let check = |error: &Error| {
        let unknown: &UnknownImportError = error.downcast_ref().expect("says which");
        assert_eq!((unknown.module(), unknown.name()), ("a", "f"));
        assert_eq!(unknown.ty().unwrap_func().results().len(), 1);
        assert!(unknown.to_string().contains("`a::f` has not been defined"), "{unknown}");
    };
    check(&error);
    linker.define_unknown_imports_as_traps(&module)?;
    let run = |linker: &Linker<()>, store: &mut Store<()>| -> Result<i64> {
        let instance = linker.instantiate(&mut *store, &module)?;
        instance.get_typed_func::<(), i64>(&mut *store, "run")?.call(store, ())
    };
    let error = run(&linker, &mut store).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnknownImport));
    assert_eq!(error.kind(), ErrorKind::Trap);
    check(&error);
    // Only functions can trap; the rest stays unknown.
    let memory = Module::new(&engine, "(module (import \"a\" \"m\" (memory 1)))")?;
    linker.define_unknown_imports_as_traps(&memory)?;
    assert!(linker.instantiate(&mut store, &memory).is_err());

    let mut linker = Linker::new(&engine);
    let more = Module::new(
        &engine,
        r#"(module (import "a" "m" (memory 2)) (import "a" "t" (table 3 funcref))
            (import "a" "g" (global (mut f64))))"#,
    )?;
    linker.define_unknown_imports_as_default_values(&mut store, &module)?;
    linker.define_unknown_imports_as_default_values(&mut store, &more)?;
    assert_eq!(run(&linker, &mut store)?, 0);
    linker.instantiate(&mut store, &more)?;
    let memory = linker.get(&mut store, "a", "m")?.into_memory().expect("a memory");
    assert_eq!(memory.size(&store), 2);
    let none = Module::new(&engine, "(module (import \"a\" \"r\" (func (result (ref func)))))")?;
    let error = linker.define_unknown_imports_as_default_values(&mut store, &none).unwrap_err();
    assert!(format!("{error:#}").contains("import `a::r`: the type (ref func)"), "{error:#}");
    Ok(())
}

// uses: Linker
#[test]
fn commands_and_reactors() -> Result<()> {
    let mut store = Store::<u32>::default();
    let engine = store.engine().clone();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "made", |mut caller: Caller<'_, u32>| *caller.data_mut() += 1)?;
    let module = |export: &str, more: &str| {
        let text = format!(
            r#"(module (import "host" "made" (func $made)) (global $n (mut i32) (i32.const 0))
                (func (export "{export}") (call $made))
                (func (export "next") (result i32)
                    (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
                {more})"#
        );
        Module::new(&engine, text)
    };
    let next = |linker: &Linker<u32>, store: &mut Store<u32>, name: &str| -> Result<i32> {
        let next = linker.get(&mut *store, name, "next")?.into_func().expect("a function");
        next.typed::<(), i32>(&*store)?.call(store, ())
    };
    linker.module(&mut store, "command", &module("_start", "(memory (export \"memory\") 1)")?)?;
    assert_eq!(*store.data(), 0);
    linker.get_default(&mut store, "command")?.call(&mut store, &[], &mut [])?;
    assert_eq!(*store.data(), 1);
    for expected in [1, 1] {
        assert_eq!(next(&linker, &mut store, "command")?, expected);
    }
    assert!(linker.get(&mut store, "command", "memory").is_err(), "of no instance");
    linker.module(&mut store, "reactor", &module("_initialize", "")?)?;
    assert_eq!(*store.data(), 2);
    for expected in [1, 2] {
        assert_eq!(next(&linker, &mut store, "reactor")?, expected);
    }
    let odd = module("_start", "(global (export \"odd\") i32 (i32.const 1))")?;
    let error = linker.module(&mut store, "odd", &odd).unwrap_err();
    assert!(error.to_string().contains("`odd` of a command"), "{error}");
    let mut tolerant = linker.clone();
    tolerant.allow_shadowing(true).allow_unknown_exports(true);
    tolerant.module(&mut store, "odd", &odd)?;
    for (export, more) in
        [("_start", "(func (export \"_initialize\"))"), ("x", "(memory (export \"_start\") 1)")]
    {
        assert!(linker.module(&mut store, "bad", &module(export, more)?).is_err());
    }
    Ok(())
}

// uses: Linker, Instance, InstancePre, Export, Extern
#[test]
fn instances() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let module = Module::new(
        &engine,
        r#"(module (func (export "f") (result i32) (i32.const 1)) (memory (export "m") 1)
            (table (export "t") 1 funcref) (global (export "g") i32 (i32.const 2)) (tag (export "e"))
            (memory (export "s") 1 2 shared))"#,
    )?;
    let pre: InstancePre<()> = Linker::new(&engine).instantiate_pre(&module)?;
    assert!(Module::same(pre.module(), &module));
    for instance in [Instance::new(&mut store, &module, &[])?, pre.instantiate(&mut store)?] {
        assert!(Module::same(instance.module(&store), &module));
        let names: Vec<_> = instance.exports(&store).map(|e| e.name().to_string()).collect();
        assert_eq!(names, ["f", "m", "t", "g", "e", "s"]);
        let exports: Vec<Export<'_>> = instance.exports(&store).collect();
        assert!(exports.iter().all(|e| e.ty(&store).matches(&e.clone().into_extern().ty(&store))));
        let [f, m, t, g, e, s] = <[Export<'_>; 6]>::try_from(exports).expect("six");
        assert!(s.clone().into_memory().is_none() && s.into_shared_memory().is_some());
        assert!(f.clone().into_memory().is_none() && f.into_func().is_some());
        assert!(m.into_memory().is_some() && t.into_table().is_some());
        assert!(g.into_global().is_some() && e.into_tag().is_some());
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, ())?, 1);
        assert!(instance.get_func(&mut store, "m").is_none());
        let func = instance.get_func(&mut store, "f").expect("a function");
        let memory = instance.get_memory(&mut store, "m").expect("a memory");
        let table = instance.get_table(&mut store, "t").expect("a table");
        let global = instance.get_global(&mut store, "g").expect("a global");
        let tag = instance.get_tag(&mut store, "e").expect("a tag");
        let shared = instance.get_shared_memory(&mut store, "s").expect("a shared memory");
        let others = [shared.into(), table.into(), global.into(), tag.into()];
        for item in [func.into(), memory.into()].into_iter().chain(others) {
            let found: Vec<&str> = match item {
                Extern::Func(_) => vec!["f"],
                Extern::Memory(_) => vec!["m"],
                Extern::Table(_) => vec!["t"],
                Extern::Global(_) => vec!["g"],
                Extern::Tag(_) => vec!["e"],
                Extern::SharedMemory(_) => vec!["s"],
            };
            let export = instance.get_export(&mut store, found[0]).expect("exported");
            assert!(export.ty(&store).matches(&item.ty(&store)));
            let kinds = [
                item.clone().into_func().is_some(),
                item.clone().into_memory().is_some(),
                item.clone().into_shared_memory().is_some(),
                item.clone().into_table().is_some(),
                item.clone().into_global().is_some(),
                item.into_tag().is_some(),
            ];
            assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1);
        }
        let index = module.get_export_index("g").expect("an export");
        assert!(instance.get_module_export(&mut store, &index).is_some());
    }
    Ok(())
}

#[test]
fn clones_outlive_their_originals() -> Result<()> {
    let engine = Engine::default();
    let (linker, module, pre) = {
        let mut linker = Linker::<u32>::new(&engine);
        linker.func_wrap("h", "f", |mut caller: Caller<'_, u32>| *caller.data_mut() += 1)?;
        let module = Module::new(
            &engine,
            "(module (import \"h\" \"f\" (func $f)) (func (export \"g\") (call $f)))",
        )?;
        let pre = linker.instantiate_pre(&module)?;
        (linker.clone(), module.clone(), pre.clone())
    };
    let weak = engine.weak();
    let mut store = Store::new(&engine, 0);
    drop(engine);
    let (a, b) = (linker.instantiate(&mut store, &module)?, pre.instantiate(&mut store)?);
    drop((linker, module, pre));
    for instance in [a, b] {
        instance.get_typed_func::<(), ()>(&mut store, "g")?.call(&mut store, ())?;
    }
    assert_eq!(*store.data(), 2);
    assert!(weak.upgrade().is_some());
    drop(store);
    assert!(weak.upgrade().is_none(), "nothing holds the engine any more");
    Ok(())
}

//! What belongs to one engine, passed to another; and what outlives what it was made from. In release builds
//! as in these: no check here is a debug assertion.

#![forbid(unsafe_code)]

mod common;

use common::panic_text;
use wardian::*;

const WRONG_STORE: &str = "object used with the wrong store";
const WRONG_ENGINE: &str = "different engines";

const EXPORTS: &str = r#"(module (memory (export "m") 1) (table (export "t") 1 funcref)
    (table (export "x") 1 externref) (global (export "g") (mut funcref) (ref.null func))
    (func (export "f") (param i32) (result i32) (local.get 0)))"#;

const IMPORTS: &str = r#"(module (import "e" "m" (memory 1)) (import "e" "t" (table 1 funcref))
    (import "e" "x" (table 1 externref)) (import "e" "g" (global (mut funcref)))
    (import "e" "f" (func (param i32) (result i32))))"#;

/// An engine with everything that can be made of it.
struct World {
    engine: Engine,
    module: Module,
    importer: Module,
    linker: Linker<()>,
    pre: InstancePre<()>,
    store: Store<()>,
    instance: Instance,
    exports: Vec<Extern>,
    func: Func,
    typed: TypedFunc<i32, i32>,
    memory: Memory,
    table: Table,
    values: Table,
    global: Global,
    value: Rooted<ExternRef>,
    index: ModuleExport,
}

fn world(config: &Config) -> World {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, EXPORTS).unwrap();
    let importer = Module::new(&engine, IMPORTS).unwrap();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "f", |x: i32| x + 1).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let instance = pre.instantiate(&mut store).unwrap();
    linker.instance(&mut store, "e", instance).unwrap();
    let exports =
        ["m", "t", "x", "g", "f"].map(|name| instance.get_export(&mut store, name).unwrap());
    World {
        func: instance.get_func(&mut store, "f").unwrap(),
        typed: instance.get_typed_func(&mut store, "f").unwrap(),
        memory: instance.get_memory(&mut store, "m").unwrap(),
        table: instance.get_table(&mut store, "t").unwrap(),
        values: instance.get_table(&mut store, "x").unwrap(),
        global: instance.get_global(&mut store, "g").unwrap(),
        value: ExternRef::new(&mut store, "value").unwrap(),
        index: module.get_export_index("f").unwrap(),
        exports: exports.into(),
        instance,
        store,
        pre,
        linker,
        importer,
        module,
        engine,
    }
}

fn misuse<R>(result: Result<R>, part: &str) {
    let error = result.err().expect("an error is expected");
    assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
    assert!(format!("{error:#}").contains(part), "expected `{part}` in `{error:#}`");
}

/// Pairs of engines: alike, and different in all that shapes code.
fn pairs() -> Vec<(World, World)> {
    let mut other = Config::new();
    other.strategy(Strategy::Baseline).signals_based_traps(false);
    other.memory_reservation(0).memory_guard_size(0).consume_fuel(true);
    let same = Config::new();
    vec![(world(&same), world(&same)), (world(&same), world(&other)), (world(&other), world(&same))]
}

/// That both are as good as before.
fn still_work(mut a: World, mut b: World) {
    for world in [&mut a, &mut b] {
        if world.engine.get_consume_fuel() {
            world.store.set_fuel(1000).unwrap();
        }
        assert_eq!(world.typed.call(&mut world.store, 4).unwrap(), 4);
        world.linker.instantiate(&mut world.store, &world.importer).unwrap();
        let error = world.linker.instantiate(Store::new(&world.engine, ()), &world.importer);
        misuse(error, WRONG_STORE);
    }
}

#[test]
fn modules_and_what_is_made_of_them() {
    for (a, mut b) in pairs() {
        let store = &mut b.store;
        misuse(Instance::new(&mut *store, &a.module, &[]), WRONG_ENGINE);
        misuse(Instance::new(&mut *store, &a.importer, &b.exports), WRONG_ENGINE);
        misuse(Instance::new(&mut *store, &a.importer, &a.exports), WRONG_STORE);
        misuse(a.pre.instantiate(&mut *store), WRONG_ENGINE);
        misuse(b.linker.instantiate_pre(&a.module), WRONG_ENGINE);
        misuse(b.linker.instantiate(&mut *store, &a.module), WRONG_ENGINE);
        misuse(b.linker.clone().module(&mut *store, "n", &a.module).map(drop), WRONG_ENGINE);
        assert!(b.instance.get_module_export(&mut *store, &a.index).is_none());
        assert!(b.instance.get_module_export(&mut *store, &b.index).is_some());
        assert!(!Module::same(&a.module, &b.module) && !Engine::same(&a.engine, &b.engine));
        still_work(a, b);
    }
}

#[test]
fn linkers() {
    for (a, mut b) in pairs() {
        let store = &mut b.store;
        let mut linker = a.linker.clone();
        misuse(a.linker.instantiate(&mut *store, &a.module), WRONG_ENGINE);
        misuse(a.linker.instantiate(&mut *store, &b.module), WRONG_ENGINE);
        misuse(linker.define(&*store, "n", "m", b.memory).map(drop), WRONG_ENGINE);
        misuse(linker.define(&*store, "n", "m", a.memory).map(drop), WRONG_ENGINE);
        misuse(linker.instance(&mut *store, "n", b.instance).map(drop), WRONG_ENGINE);
        misuse(linker.module(&mut *store, "n", &a.module).map(drop), WRONG_ENGINE);
        misuse(linker.module(&mut *store, "n", &b.module).map(drop), WRONG_ENGINE);
        misuse(linker.get(&mut *store, "e", "m"), WRONG_ENGINE);
        misuse(linker.get(&mut *store, "host", "f"), WRONG_ENGINE);
        misuse(linker.get_default(&mut *store, "e"), WRONG_ENGINE);
        let import = b.importer.imports().next().unwrap();
        misuse(linker.try_get_by_import(&mut *store, &import), WRONG_ENGINE);
        misuse(
            linker.define_unknown_imports_as_default_values(&mut *store, &b.importer),
            WRONG_ENGINE,
        );
        let text = panic_text(|| _ = linker.get_by_import(&mut *store, &import));
        assert!(text.contains(WRONG_ENGINE), "{text}");
        let text = panic_text(|| _ = linker.iter(&mut *store).count());
        assert!(text.contains(WRONG_ENGINE), "{text}");
        // Definitions of a store stay with it, in the right linker too.
        misuse(b.linker.clone().define(&*store, "n", "m", a.memory).map(drop), WRONG_STORE);
        still_work(a, b);
    }
}

#[test]
fn handles() {
    for (a, mut b) in pairs() {
        let store = &mut b.store;
        let mut results = [Val::I32(0)];
        misuse(a.func.call(&mut *store, &[Val::I32(1)], &mut results), WRONG_STORE);
        misuse(a.func.typed::<i32, i32>(&*store), WRONG_STORE);
        misuse(a.typed.call(&mut *store, 1), WRONG_STORE);
        misuse(a.memory.grow(&mut *store, 1), WRONG_STORE);
        misuse(a.table.grow(&mut *store, 1, Ref::Func(None)), WRONG_STORE);
        misuse(a.table.fill(&mut *store, 0, Ref::Func(None), 1), WRONG_STORE);
        misuse(a.global.set(&mut *store, Val::FuncRef(None)), WRONG_STORE);
        misuse(a.value.data(&*store).map(drop), WRONG_STORE);
        misuse(Table::copy(&mut *store, &a.table, 0, &b.table, 0, 1), WRONG_STORE);
        // Its values in places of the other's.
        misuse(b.table.set(&mut *store, 0, Ref::Func(Some(a.func))), WRONG_STORE);
        misuse(b.values.set(&mut *store, 0, Ref::Extern(Some(a.value))), WRONG_STORE);
        misuse(b.global.set(&mut *store, Val::FuncRef(Some(a.func))), WRONG_STORE);
        misuse(Instance::new(&mut *store, &b.importer, &a.exports), WRONG_STORE);
        let takes = Func::wrap(&mut *store, |_: Option<Func>| {});
        misuse(takes.call(&mut *store, &[Val::FuncRef(Some(a.func))], &mut []), WRONG_STORE);
        for text in [
            panic_text(|| _ = a.instance.get_export(&mut *store, "f")),
            panic_text(|| _ = a.instance.get_module_export(&mut *store, &a.index)),
            panic_text(|| _ = a.instance.module(&*store)),
            panic_text(|| _ = a.func.ty(&*store)),
            panic_text(|| _ = a.memory.data(&*store)),
            panic_text(|| _ = a.memory.data_ptr(&*store)),
            panic_text(|| _ = a.table.get(&mut *store, 0)),
            panic_text(|| _ = a.table.size(&*store)),
            panic_text(|| _ = a.global.get(&mut *store)),
        ] {
            assert_eq!(text, WRONG_STORE);
        }
        // Raw slots name things of the store in which they are used, or nothing.
        let raw = a.func.to_raw(&a.store);
        let found = Func::from_raw(&*store, raw);
        assert!(found.is_none_or(|func| func.ty(&*store).params().len() < 2), "of this store");
        still_work(a, b);
    }
}

/// Types are those of the process: the same whichever engine they were made with, also after it is gone.
#[test]
fn types_outlive_their_engine() {
    let (first, second) = (Engine::default(), Engine::default());
    let ty = FuncType::new(&first, [ValType::I32, ValType::EXTERNREF], [ValType::F64]);
    let concrete = RefType::new(true, HeapType::ConcreteFunc(ty.clone()));
    let of_module = {
        let text = r#"(module (import "e" "f" (func (param i32 externref) (result f64))))"#;
        let module = Module::new(&first, text).unwrap();
        module.imports().next().unwrap().ty().unwrap_func().clone()
    };
    drop(first);
    assert_eq!(ty, of_module);
    let again = FuncType::new(&second, [ValType::I32, ValType::EXTERNREF], [ValType::F64]);
    assert_eq!(ty, again);
    assert_ne!(ty, FuncType::new(&second, [ValType::I32], []));
    let mut store = Store::new(&second, ());
    let func = Func::new(&mut store, ty.clone(), |_, params, results| {
        results[0] = Val::F64(f64::from(params[0].unwrap_i32()).to_bits());
        Ok(())
    });
    let module = Module::new(
        &second,
        r#"(module (type $t (func (param i32 externref) (result f64)))
            (import "e" "f" (func $f (type $t))) (import "e" "t" (table 1 (ref null $t)))
            (table $own 1 funcref) (elem (table $own) (i32.const 0) func $f)
            (func (export "run") (result f64)
              (call_indirect $own (type $t) (i32.const 7) (ref.null extern) (i32.const 0))))"#,
    )
    .unwrap();
    let table =
        Table::new(&mut store, TableType::new(concrete, 1, None), Ref::Func(Some(func))).unwrap();
    let instance = Instance::new(&mut store, &module, &[func.into(), table.into()]).unwrap();
    let run = instance.get_typed_func::<(), f64>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), 7.0);
}

// ---- originals that are gone ----

#[test]
fn clones_outlive_their_originals() {
    for strategy in [Strategy::Tiered, Strategy::Baseline, Strategy::Optimizing] {
        let engine = Engine::new(Config::new().strategy(strategy)).unwrap();
        let module = Module::new(
            &engine,
            r#"(module (import "h" "f" (func $f (param i32) (result i32)))
                (memory 1) (data (i32.const 8) "content") (table 1 funcref) (elem (i32.const 0) $f)
                (type $t (func (param i32) (result i32)))
                (func (export "run") (param i32) (result i32)
                  (i32.add (i32.load8_u (i32.const 8))
                    (call_indirect (type $t) (local.get 0) (i32.const 0)))))"#,
        )
        .unwrap();
        let mut linker = Linker::<u32>::new(&engine);
        let counter = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let held = counter.clone();
        linker
            .func_wrap("h", "f", move |mut caller: Caller<'_, u32>, x: i32| {
                held.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                *caller.data_mut() += 1;
                x * 2
            })
            .unwrap();
        let run = |store: &mut Store<u32>, instance: &Instance| {
            let run = instance.get_typed_func::<i32, i32>(&mut *store, "run").unwrap();
            assert_eq!(run.call(&mut *store, 21).unwrap(), 42 + i32::from(b'c'));
        };
        let mut early = Store::new(&engine, 0);
        let early_instance = linker.instantiate(&mut early, &module).unwrap();
        let (module_clone, linker_clone) = (module.clone(), linker.clone());
        let pre = linker.instantiate_pre(&module).unwrap();
        let pre_clone = pre.clone();
        let weak = engine.weak();
        drop((module, linker, pre, engine));
        assert!(weak.upgrade().is_some(), "its parts hold it");
        let engine = weak.upgrade().unwrap();
        // By the linker's clone, by that of what was prepared, and what was there before.
        let mut store = Store::new(&engine, 0);
        let by_linker = linker_clone.instantiate(&mut store, &module_clone).unwrap();
        run(&mut store, &by_linker);
        drop((linker_clone, module_clone));
        let by_pre = pre_clone.instantiate(&mut store).unwrap();
        run(&mut store, &by_pre);
        run(&mut store, &by_linker);
        drop(pre_clone);
        run(&mut early, &early_instance);
        run(&mut store, &by_linker);
        let module = by_linker.module(&store).clone();
        drop(store);
        // The module lives on in a clone that a store gave.
        let mut linker = Linker::new(&engine);
        linker.func_wrap("h", "f", |x: i32| x * 2).unwrap();
        let mut last = Store::new(&engine, 0);
        drop(engine);
        let instance = linker.instantiate(&mut last, &module).unwrap();
        drop((linker, module));
        run(&mut last, &instance);
        drop((early, last));
        assert!(weak.upgrade().is_none(), "nothing holds it any more");
        assert_eq!(std::sync::Arc::strong_count(&counter), 1, "host functions are dropped");
        assert_eq!(counter.load(std::sync::atomic::Ordering::Relaxed), 4 + 1);
    }
}

/// What a linker's clone defines is not seen by the original, nor the other way round.
#[test]
fn clones_of_a_linker_go_their_own_ways() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("h", "both", || 1).unwrap();
    let mut clone = linker.clone();
    clone.func_wrap("h", "clone", || 2).unwrap();
    linker.func_wrap("h", "original", || 3).unwrap();
    clone.allow_shadowing(true);
    clone.func_wrap("h", "both", || 4).unwrap();
    let mut store = Store::new(&engine, ());
    let mut call = |linker: &Linker<()>, name: &str| {
        let func = linker.get(&mut store, "h", name).ok()?.into_func().unwrap();
        Some(func.typed::<(), i32>(&store).unwrap().call(&mut store, ()).unwrap())
    };
    assert_eq!(["both", "clone", "original"].map(|n| call(&linker, n)), [Some(1), None, Some(3)]);
    assert_eq!(["both", "clone", "original"].map(|n| call(&clone, n)), [Some(4), Some(2), None]);
    drop(linker);
    assert_eq!(call(&clone, "clone"), Some(2));
}

//! The embedding API: values through every kind of call, handles of other stores and engines, kinds of
//! errors and what they say.

#![forbid(unsafe_code)]
#![allow(clippy::unused_unit, reason = "a macro whose tuple may be empty")]

mod common;

use common::{Random, in_each_mode, panic_text};
use wardian::*;

const _: () = {
    const fn send<T: Send>() {}
    const fn shared<T: Send + Sync>() {}
    // Data that may move between threads but not be shared.
    type Data = std::cell::Cell<u8>;
    send::<Store<Data>>();
    send::<StoreContextMut<'_, Data>>();
    send::<Caller<'_, Data>>();
    send::<InstancePre<Data>>();
    shared::<Engine>();
    shared::<Module>();
    shared::<Linker<Data>>();
    shared::<InstancePre<Data>>();
    shared::<Config>();
    shared::<Error>();
    shared::<(Func, Instance, Memory, Table, Global, Extern, Val, Ref)>();
    shared::<(FuncType, GlobalType, TableType, MemoryType, ExternType)>();
    shared::<TypedFunc<i32, i32>>();
};

// ---- values through calls ----

/// Bits by which values of one store are compared.
fn bits(val: &Val, store: &impl AsContext) -> u128 {
    match val {
        Val::I32(v) => *v as u32 as u128,
        Val::I64(v) => *v as u64 as u128,
        Val::F32(v) => *v as u128,
        Val::F64(v) => *v as u128,
        Val::V128(v) => v.as_u128(),
        Val::ExternRef(None) => 0,
        Val::ExternRef(Some(value)) => {
            let data = value.data(store.as_context()).unwrap().expect("a host value");
            1 + *data.downcast_ref::<u128>().expect("what the test put in")
        }
        other => panic!("not made by this test: {other:?}"),
    }
}

fn random_val(ty: &ValType, random: &mut Random, store: &mut Store<Vec<u128>>) -> Val {
    match ty {
        ValType::I32 => Val::I32(random.next() as i32),
        ValType::I64 => Val::I64(random.next() as i64),
        ValType::F32 => Val::F32(random.next() as u32),
        ValType::F64 => Val::F64(random.next()),
        ValType::V128 => {
            Val::V128((u128::from(random.next()) << 64 | u128::from(random.next())).into())
        }
        _ if random.below(4) == 0 => Val::ExternRef(None),
        _ => ExternRef::new(store, u128::from(random.next())).unwrap().into(),
    }
}

fn names(types: &[ValType]) -> String {
    types.iter().map(|ty| format!("{ty} ")).collect()
}

#[test]
fn values_of_random_signatures_survive() {
    let types =
        [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128, ValType::EXTERNREF];
    let mut random = Random(0x5eed_1234_5678_9abc);
    in_each_mode_once_each(|engine, seed| {
        random.0 ^= seed;
        for round in 0..60 {
            // Some signatures use few types, so that one kind of register runs out.
            let kinds = 1 + random.below(types.len());
            let first = random.below(types.len());
            let pick =
                |random: &mut Random| types[(first + random.below(kinds)) % types.len()].clone();
            let params: Vec<_> = (0..random.below(21)).map(|_| pick(&mut random)).collect();
            // Each result is some parameter: which one.
            let map: Vec<usize> = match params.len() {
                0 => Vec::new(),
                count => (0..random.below(9)).map(|_| random.below(count)).collect(),
            };
            let results: Vec<_> = map.iter().map(|from| params[*from].clone()).collect();
            let what = format!("round {round}: [{}] -> [{}]", names(&params), names(&results));

            let ty = FuncType::new(engine, params.clone(), results.clone());
            let mut store = Store::new(engine, Vec::new());
            let mapped = map.clone();
            let host = Func::new(
                &mut store,
                ty,
                move |mut caller: Caller<'_, Vec<u128>>, params, results| {
                    for (result, from) in results.iter_mut().zip(&mapped) {
                        *result = params[*from];
                    }
                    // References end with the call.
                    let seen = params.iter().map(|val| bits(val, &caller)).collect();
                    *caller.data_mut() = seen;
                    Ok(())
                },
            );
            let gets: String = (0..params.len()).map(|n| format!("local.get {n} ")).collect();
            let map_gets: String = map.iter().map(|n| format!("local.get {n} ")).collect();
            let drops = "drop ".repeat(results.len());
            let text = format!(
                "(module
                (type $t (func (param {}) (result {})))
                (import \"h\" \"f\" (func $f (type $t)))
                (table funcref (elem $f $own))
                (func $own (type $t) {map_gets})
                (func (export \"own\") (type $t) {map_gets})
                (func (export \"calls own\") (type $t) {gets} call $own {drops} {gets} call $own)
                (func (export \"calls host\") (type $t) {gets} call $f {drops} {gets} call $f)
                (func (export \"tail calls host\") (type $t) {gets} return_call $f)
                (func (export \"tail calls own\") (type $t) {gets} return_call $own)
                (func (export \"tail calls tail\") (type $t) {gets} return_call $tail)
                (func $tail (type $t) {gets} i32.const 0 return_call_indirect (type $t))
                (func (export \"indirect\") (type $t) {gets} i32.const 0 call_indirect (type $t) {drops}
                    {gets} i32.const 1 call_indirect (type $t))
                (export \"host\" (func $f)))",
                names(&params), names(&results),
            );
            let module = Module::new(engine, &text)?;
            let instance = Instance::new(&mut store, &module, &[host.into()])?;
            for name in [
                "own",
                "calls own",
                "calls host",
                "tail calls host",
                "tail calls own",
                "tail calls tail",
                "indirect",
                "host",
            ] {
                let func = instance.get_func(&mut store, name).expect("it is exported");
                let arguments: Vec<_> =
                    params.iter().map(|ty| random_val(ty, &mut random, &mut store)).collect();
                let mut found = vec![Val::I32(0); results.len()];
                store.data_mut().clear();
                func.call(&mut store, &arguments, &mut found)?;
                let expected: Vec<_> = map.iter().map(|n| bits(&arguments[*n], &store)).collect();
                let found: Vec<_> = found.iter().map(|val| bits(val, &store)).collect();
                assert_eq!(found, expected, "{name}, results, {what}");
                if name.contains("host") {
                    let seen = store.data().clone();
                    let passed: Vec<_> = arguments.iter().map(|val| bits(val, &store)).collect();
                    assert_eq!(seen, passed, "{name}, parameters, {what}");
                }
            }
        }
        Ok(())
    });
}

/// As `in_each_mode`, for closures that keep state; also given a number per mode.
fn in_each_mode_once_each(mut act: impl FnMut(&Engine, u64) -> Result<()>) {
    for (number, (mode, engine)) in common::modes().into_iter().enumerate() {
        act(&engine, number as u64 + 1).unwrap_or_else(|error| panic!("mode {mode}: {error:?}"));
    }
}

/// Values of the types that cycle through the parameters of the next test.
macro_rules! value {
    (i32 $n:literal) => {
        -($n as i32)
    };
    (f64 $n:literal) => {
        $n as f64 + 0.5
    };
    (i64 $n:literal) => {
        ($n as i64) << 40
    };
    (f32 $n:literal) => {
        $n as f32 * -0.25
    };
    (V128 $n:literal) => {
        V128::from(($n as u128) << 100 | $n)
    };
    (u32 $n:literal) => {
        u32::MAX - $n
    };
    (u64 $n:literal) => {
        u64::MAX - $n
    };
}

macro_rules! arity {
    ($name:ident: $($var:ident $ty:ident $n:literal),*) => {
        #[test]
        fn $name() {
            in_each_mode(|engine| {
                let types: Vec<ValType> = vec![$(<$ty as WasmTy>::valtype()),*];
                let list = names(&types);
                let gets: String = (0..types.len()).map(|n| format!("local.get {n} ")).collect();
                let module = Module::new(engine, format!(
                    "(module (type $t (func (param {list}) (result {list})))
                        (import \"h\" \"with\" (func $w (type $t)))
                        (import \"h\" \"without\" (func $o (type $t)))
                        (import \"h\" \"none\" (func $n (param {list})))
                        (func (export \"run\") (type $t) {gets} call $n {gets} call $w call $o))"
                ))?;
                let mut linker = Linker::<u32>::new(engine);
                #[allow(clippy::unused_unit, reason = "no results")]
                linker.func_wrap("h", "with", |mut caller: Caller<'_, u32>, $($var: $ty),*| {
                    *caller.data_mut() += 1;
                    $(assert_eq!($var, value!($ty $n));)*
                    ($($var,)*)
                })?;
                linker.func_wrap("h", "without", |$($var: $ty),*| -> Result<($($ty,)*)> {
                    $(assert_eq!($var, value!($ty $n));)*
                    Ok(($($var,)*))
                })?;
                linker.func_wrap("h", "none", |mut caller: Caller<'_, u32>, $($var: $ty),*| {
                    *caller.data_mut() += 1;
                    $(assert_eq!($var, value!($ty $n));)*
                })?;
                let mut store = Store::new(engine, 0);
                let instance = linker.instantiate(&mut store, &module)?;
                let run = instance
                    .get_typed_func::<($($ty,)*), ($($ty,)*)>(&mut store, "run")?;
                let ($($var,)*) = run.call(&mut store, ($(value!($ty $n),)*))?;
                $(assert_eq!($var, value!($ty $n));)*
                assert_eq!(*store.data(), 2);
                Ok(())
            });
        }
    };
}

arity!(arity_0:);
arity!(arity_1: a V128 0);
arity!(arity_2: a i32 0, b f64 1);
arity!(arity_3: a f32 0, b i64 1, c V128 2);
arity!(arity_4: a i64 0, b i64 1, c i32 2, d u32 3);
arity!(arity_5: a i32 0, b i32 1, c i32 2, d i32 3, e i32 4);
arity!(arity_6: a i32 0, b f64 1, c i64 2, d f32 3, e V128 4, f u32 5);
arity!(arity_7: a i32 0, b i32 1, c i32 2, d i32 3, e i32 4, f i64 5, g u64 6);
arity!(arity_8: a f32 0, b f64 1, c V128 2, d f32 3, e f64 4, f V128 5, g f32 6, h f64 7);
arity!(arity_9: a f32 0, b f64 1, c V128 2, d f32 3, e f64 4, f V128 5, g f32 6, h f64 7, i V128 8);
arity!(arity_10: a i32 0, b f64 1, c i64 2, d f32 3, e V128 4, f u32 5, g u64 6, h i32 7, i f64 8, j i64 9);
arity!(arity_11: a i32 0, b i64 1, c u32 2, d u64 3, e i32 4, f i64 5, g V128 6, h i32 7, i V128 8, j i64 9, k f32 10);
arity!(arity_12: a V128 0, b V128 1, c V128 2, d V128 3, e V128 4, f V128 5, g V128 6, h V128 7, i V128 8, j i32 9, k V128 10, l f64 11);
arity!(arity_13: a i32 0, b f64 1, c i64 2, d f32 3, e V128 4, f u32 5, g u64 6, h i32 7, i f64 8, j i64 9, k f32 10, l V128 11, m u32 12);
arity!(arity_14: a i64 0, b i64 1, c i64 2, d i64 3, e i64 4, f i64 5, g i64 6, h i64 7, i i64 8, j i64 9, k i64 10, l i64 11, m i64 12, n i64 13);
arity!(arity_15: a f32 0, b f32 1, c f32 2, d f32 3, e f32 4, f f32 5, g f32 6, h f32 7, i f32 8, j f32 9, k f32 10, l f32 11, m f32 12, n f32 13, o i32 14);
arity!(arity_16: a i32 0, b f64 1, c i64 2, d f32 3, e V128 4, f u32 5, g u64 6, h i32 7, i f64 8, j i64 9, k f32 10, l V128 11, m u32 12, n u64 13, o i32 14, p V128 15);

#[test]
fn references_pass_both_ways() {
    in_each_mode(|engine| {
        let mut store = Store::new(engine, ());
        let host = Func::wrap(
            &mut store,
            |caller: Caller<'_, ()>,
             func: Option<Func>,
             value: Option<Rooted<ExternRef>>|
             -> Result<(Option<Rooted<ExternRef>>, Option<Func>)> {
                if let Some(value) = value {
                    let data = value.data(&caller)?.and_then(|data| data.downcast_ref::<&str>());
                    assert_eq!(data, Some(&"held"));
                }
                Ok((value, func))
            },
        );
        let module = Module::new(
            engine,
            r#"(module (type $t (func (param funcref externref) (result externref funcref)))
                (import "h" "f" (func $h (type $t)))
                (global (export "g") (mut externref) (ref.null extern))
                (table (export "t") 2 externref)
                (func (export "f") (type $t) (local $f funcref)
                  (global.set 0 (local.get 1)) (table.set (i32.const 1) (local.get 1))
                  (call $h (local.get 0) (local.get 1))
                  local.set $f drop (table.get (i32.const 1)) (local.get $f))
                (func (export "seven") (result i32) (i32.const 7))
                (func (export "non-null") (param (ref func)) (result (ref func)) local.get 0))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        type Params = (Option<Func>, Option<Rooted<ExternRef>>);
        type Results = (Option<Rooted<ExternRef>>, Option<Func>);
        let f = instance.get_typed_func::<Params, Results>(&mut store, "f")?;
        assert!(matches!(f.call(&mut store, (None, None))?, (None, None)));
        let seven = instance.get_func(&mut store, "seven").expect("it is exported");
        let value = ExternRef::new(&mut store, "held")?;
        let (back, func) = f.call(&mut store, (Some(seven), Some(value)))?;
        assert!(Rooted::ref_eq(&store, &back.expect("it is not null"), &value)?);
        let func = func.expect("not null").typed::<(), i32>(&store)?;
        assert_eq!(func.call(&mut store, ())?, 7);
        let global = instance.get_global(&mut store, "g").expect("it is exported");
        let held = global.get(&mut store);
        assert!(Rooted::ref_eq(&store, held.unwrap_extern_ref().expect("not null"), &value)?);
        let same = instance.get_typed_func::<Func, Func>(&mut store, "non-null")?;
        let same = same.call(&mut store, seven)?.typed::<(), i32>(&store)?;
        assert_eq!(same.call(&mut store, ())?, 7);
        // A null where none may be, by value.
        let func = instance.get_func(&mut store, "non-null").expect("it is exported");
        let error = func.call(&mut store, &[Val::FuncRef(None)], &mut [Val::I32(0)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(error.to_string().contains("argument 0"), "{error}");
        Ok(())
    });
}

// ---- misuse ----

const WRONG_STORE: &str = "object used with the wrong store";

const EXPORTS: &str = r#"(module (memory (export "m") 1) (table (export "t") 1 funcref)
    (global (export "g") (mut i32) (i32.const 0)) (func (export "f") (param i32)))"#;

struct All {
    store: Store<()>,
    instance: Instance,
    func: Func,
    typed: TypedFunc<i32, ()>,
    memory: Memory,
    table: Table,
    global: Global,
    value: Rooted<ExternRef>,
}

fn all(engine: &Engine) -> All {
    let module = Module::new(engine, EXPORTS).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    All {
        func: instance.get_func(&mut store, "f").unwrap(),
        typed: instance.get_typed_func(&mut store, "f").unwrap(),
        memory: instance.get_memory(&mut store, "m").unwrap(),
        table: instance.get_table(&mut store, "t").unwrap(),
        global: instance.get_global(&mut store, "g").unwrap(),
        value: ExternRef::new(&mut store, 1).unwrap(),
        instance,
        store,
    }
}

fn misuse<R>(result: Result<R>, part: &str) {
    let error = result.err().expect("an error is expected");
    assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
    assert!(format!("{error:#}").contains(part), "expected `{part}` in `{error:#}`");
}

#[test]
fn handles_of_another_store_are_errors() {
    let engine = Engine::default();
    let (own, mut other) = (all(&engine), all(&engine));
    let store = &mut other.store;
    misuse(own.func.call(&mut *store, &[Val::I32(1)], &mut []), WRONG_STORE);
    misuse(own.func.typed::<i32, ()>(&*store), WRONG_STORE);
    misuse(own.typed.call(&mut *store, 1), WRONG_STORE);
    misuse(own.instance.get_typed_func::<i32, ()>(&mut *store, "f"), WRONG_STORE);
    misuse(own.memory.grow(&mut *store, 1), WRONG_STORE);
    misuse(own.table.set(&mut *store, 0, Ref::Func(None)), WRONG_STORE);
    misuse(own.table.grow(&mut *store, 1, Ref::Func(None)), WRONG_STORE);
    misuse(own.table.fill(&mut *store, 0, Ref::Func(None), 1), WRONG_STORE);
    misuse(Table::copy(&mut *store, &own.table, 0, &other.table, 0, 1), WRONG_STORE);
    misuse(Table::copy(&mut *store, &other.table, 0, &own.table, 0, 1), WRONG_STORE);
    misuse(own.global.set(&mut *store, Val::I32(1)), WRONG_STORE);
    misuse(own.value.data(&*store).map(drop), WRONG_STORE);
    misuse(own.value.data_mut(&mut *store).map(drop), WRONG_STORE);
    misuse(Rooted::ref_eq(&*store, &own.value, &other.value), WRONG_STORE);
    misuse(Val::from(own.func).ty(&*store), WRONG_STORE);
    misuse(Ref::from(own.value).ty(&*store), WRONG_STORE);
    misuse(Ref::from(own.value).matches_ty(&*store, &RefType::EXTERNREF), WRONG_STORE);
    // Values of another store in places of this one.
    misuse(other.table.set(&mut *store, 0, own.func.into()), WRONG_STORE);
    misuse(other.table.grow(&mut *store, 1, own.func.into()), WRONG_STORE);
    let func = TableType::new(RefType::FUNCREF, 1, None);
    misuse(Table::new(&mut *store, func, own.func.into()), WRONG_STORE);
    let global = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
    misuse(Global::new(&mut *store, global, own.value.into()), WRONG_STORE);
    let module = Module::new(&engine, "(module (import \"\" \"\" (memory 1)))").unwrap();
    misuse(Instance::new(&mut *store, &module, &[own.memory.into()]), WRONG_STORE);
    let mut linker = Linker::new(&engine);
    misuse(linker.define(&*store, "", "", own.memory).map(drop), WRONG_STORE);
    linker.define(&*store, "", "", other.memory).unwrap();
    linker.instantiate(&mut *store, &module).unwrap();
    misuse(linker.instantiate(Store::new(&engine, ()), &module), WRONG_STORE);
    let takes = Func::wrap(&mut *store, |_: Option<Rooted<ExternRef>>, _: Option<Func>| {});
    let null = Val::FuncRef(None);
    misuse(takes.call(&mut *store, &[own.value.into(), null], &mut []), WRONG_STORE);
    let typed = takes.typed::<(Option<Rooted<ExternRef>>, Option<Func>), ()>(&*store).unwrap();
    misuse(typed.call(&mut *store, (Some(own.value), None)), WRONG_STORE);
    misuse(typed.call(&mut *store, (None, Some(own.func))), WRONG_STORE);
    typed.call(&mut *store, (Some(other.value), Some(other.func))).unwrap();
}

#[test]
fn handles_of_another_store_panic_where_there_is_no_result() {
    let engine = Engine::default();
    let (own, mut other) = (all(&engine), all(&engine));
    let store = &mut other.store;
    let mut check = |act: &mut dyn FnMut(&mut Store<()>)| {
        assert_eq!(panic_text(|| act(&mut *store)), WRONG_STORE);
    };
    check(&mut |store| drop(own.func.ty(store)));
    check(&mut |store| {
        let _ = own.memory.ty(store);
    });
    check(&mut |store| _ = own.memory.data(&*store));
    check(&mut |store| _ = own.memory.data_mut(store));
    check(&mut |store| _ = own.memory.data_and_store_mut(store));
    check(&mut |store| _ = own.memory.size(store));
    check(&mut |store| _ = own.memory.read(store, 0, &mut []));
    check(&mut |store| _ = own.memory.write(store, 0, &[]));
    check(&mut |store| drop(own.table.ty(store)));
    check(&mut |store| _ = own.table.size(store));
    check(&mut |store| _ = own.table.get(store, 0));
    check(&mut |store| drop(own.global.ty(store)));
    check(&mut |store| {
        let _ = own.global.get(store);
    });
    check(&mut |store| _ = own.instance.get_export(store, "f"));
    check(&mut |store| _ = own.instance.exports(&*store).len());
    // The other store is as good as before.
    other.typed.call(&mut other.store, 1).unwrap();
}

#[test]
fn objects_of_another_engine_are_errors() {
    let (engine, other) = (Engine::default(), Engine::default());
    let module = Module::new(&other, EXPORTS).unwrap();
    misuse(Instance::new(Store::new(&engine, ()), &module, &[]), "different engines");
    misuse(Linker::<()>::new(&engine).instantiate_pre(&module), "different engines");
    let pre = Linker::<()>::new(&other).instantiate_pre(&module).unwrap();
    misuse(pre.instantiate(Store::new(&engine, ())), "different engines");
}

#[test]
fn wrong_types_and_numbers_are_errors() {
    let mut all = all(&Engine::default());
    let store = &mut all.store;
    misuse(all.func.call(&mut *store, &[], &mut []), "expected 1 arguments, got 0");
    misuse(
        all.func.call(&mut *store, &[Val::I32(1)], &mut [Val::I32(1)]),
        "expected 0 results, got 1",
    );
    misuse(all.func.call(&mut *store, &[Val::I64(1)], &mut []), "expected i32, found i64");
    misuse(all.func.typed::<i64, ()>(&*store), "expected parameters [i64]");
    misuse(all.func.typed::<i32, i32>(&*store), "results [i32]");
    let error = all.instance.get_typed_func::<i64, ()>(&mut *store, "f").unwrap_err();
    assert!(format!("{error:#}").contains("function `f`"), "{error:#}");
    misuse(all.instance.get_typed_func::<i32, ()>(&mut *store, "g"), "`g`");
    misuse(all.instance.get_typed_func::<i32, ()>(&mut *store, "absent"), "`absent`");
    misuse(all.global.set(&mut *store, Val::I64(1)), "expected i32, found i64");
    misuse(all.table.set(&mut *store, 9, Ref::Func(None)), "out of bounds");
    misuse(all.table.set(&mut *store, 0, all.value.into()), "expected funcref");
    misuse(all.table.grow(&mut *store, 1, Ref::Extern(None)), "expected funcref");
    let constant = GlobalType::new(ValType::I32, Mutability::Const);
    let constant = Global::new(&mut *store, constant, Val::I32(1)).unwrap();
    misuse(constant.set(&mut *store, Val::I32(2)), "immutable");
    assert_eq!(constant.get(&mut *store).unwrap_i32(), 1);
    let ty = FuncType::new(store.engine(), [], [ValType::I32]);
    let liar = Func::new(&mut *store, ty, |_, _, results| {
        results[0] = Val::F32(0);
        Ok(())
    });
    misuse(liar.call(&mut *store, &[], &mut [Val::I32(0)]), "result 0 of a host function");
}

#[test]
fn a_host_result_of_another_store_is_an_error() {
    let engine = Engine::default();
    let (own, other) = (all(&engine), all(&engine));
    let mut store = own.store;
    let foreign = Func::wrap(&mut store, move || Some(other.func));
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $f (result funcref)))
            (func (export "f") (result i32) (ref.is_null (call $f))))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[foreign.into()]).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    misuse(f.call(&mut store, ()), WRONG_STORE);
}

#[test]
fn failed_links_say_what_was_expected_and_found() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2))).unwrap();
    let func = Func::wrap(&mut store, |_: i32| 1_i64);
    let global = GlobalType::new(ValType::I32, Mutability::Const);
    let global = Global::new(&mut store, global, Val::I32(1)).unwrap();
    let table = TableType::new(RefType::FUNCREF, 1, None);
    let table = Table::new(&mut store, table, Ref::Func(None)).unwrap();
    let mut linker = Linker::new(&engine);
    linker.define(&store, "env", "memory", memory).unwrap();
    linker.define(&store, "env", "func", func).unwrap();
    linker.define(&store, "env", "global", global).unwrap();
    linker.define(&store, "env", "table", table).unwrap();
    for (import, parts) in [
        ("\"absent\" (func (param i32))", ["env::absent", "has not been defined", "i32"]),
        ("\"func\" (func (param i64))", ["env::func", "i64", "i32"]),
        ("\"func\" (memory 1)", ["env::func", "memory", "func"]),
        ("\"memory\" (memory 2)", ["env::memory", "2", "1"]),
        ("\"memory\" (memory 1 1)", ["env::memory", "1", "2"]),
        ("\"memory\" (memory i64 1)", ["env::memory", "i64", "memory"]),
        ("\"global\" (global i64)", ["env::global", "i64", "i32"]),
        ("\"global\" (global (mut i32))", ["env::global", "mut", "i32"]),
        ("\"table\" (table 1 externref)", ["env::table", "externref", "funcref"]),
        ("\"table\" (table 2 funcref)", ["env::table", "2", "1"]),
    ] {
        let text = format!("(module (import \"env\" {import}))");
        let module = Module::new(&engine, text).unwrap();
        let error = linker.instantiate(&mut store, &module).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Link, "{error:?}");
        let text = error.to_string();
        println!("{text}");
        assert!(text.contains("expected"), "{text}");
        for part in parts {
            assert!(text.contains(part), "expected `{part}` in `{text}`");
        }
    }
    let module = Module::new(&engine, "(module (import \"a\" \"b\" (func)))").unwrap();
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Link);
    assert!(error.to_string().contains("expected 1 imports, found 0"), "{error}");
    linker.define_unknown_imports_as_traps(&module).unwrap();
    linker.instantiate(&mut store, &module).unwrap();
    misuse(linker.func_wrap("env", "func", || {}).map(drop), "defined twice");
}

#[test]
fn imports_and_exports_form_cycles() {
    in_each_mode(|engine| {
        let mut store = Store::new(engine, ());
        let table = TableType::new(RefType::FUNCREF, 2, None);
        let table = Table::new(&mut store, table, Ref::Func(None))?;
        let text = |own: u32, other: u32| {
            format!(
                r#"(module (import "" "" (table 2 funcref))
                (type $t (func (param i32) (result i32)))
                (func $f (export "f") (type $t)
                  (if (result i32) (local.get 0)
                    (then (i32.add (i32.const 1)
                      (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const {other}))))
                    (else (i32.const 0))))
                (elem (i32.const {own}) $f))"#
            )
        };
        for (own, other) in [(0, 1), (1, 0)] {
            let module = Module::new(engine, text(own, other))?;
            Instance::new(&mut store, &module, &[table.into()])?;
        }
        let func = table.get(&mut store, 0).expect("inside");
        let func = func.unwrap_func().expect("set by a segment").typed::<i32, i32>(&store)?;
        assert_eq!(func.call(&mut store, 1000)?, 1000);
        Ok(())
    });
}

#[test]
fn a_store_moves_between_threads_while_idle() {
    let mut all = all(&Engine::default());
    for _ in 0..4 {
        all = std::thread::spawn(move || {
            all.typed.call(&mut all.store, 1).unwrap();
            all
        })
        .join()
        .unwrap();
    }
}

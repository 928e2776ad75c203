//! Calls between host and guest, both ways, by type and by value.

#![forbid(unsafe_code)]

use wardian::*;

#[test]
fn add() -> Result<()> {
    let mut store = Store::<()>::default();
    let module = Module::new(
        store.engine(),
        r#"(module (func (export "add") (param i32 i32) (result i32)
            local.get 0 local.get 1 i32.add))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    assert_eq!(add.call(&mut store, (40, 2))?, 42);
    let mut results = [Val::I32(0)];
    add.func().call(&mut store, &[Val::I32(1), Val::I32(2)], &mut results)?;
    assert_eq!(results[0].unwrap_i32(), 3);
    Ok(())
}

#[test]
fn host_functions_and_back() -> Result<()> {
    let engine = Engine::default();
    let mut linker = Linker::<i32>::new(&engine);
    linker.func_wrap("h", "add", |mut caller: Caller<'_, i32>, a: i32, b: i64, c: f64| -> i64 {
        *caller.data_mut() += 1;
        i64::from(a) + b + c as i64
    })?;
    linker.func_wrap(
        "h",
        "many",
        |a: i32,
         b: i32,
         c: i32,
         d: i32,
         e: i32,
         f: i32,
         g: i32,
         h: f32,
         i: i64|
         -> (i32, f32, i64, i32) { (a + b + c + d + e + f + g, h, i, 77) },
    )?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "h" "add" (func $add (param i32 i64 f64) (result i64)))
            (import "h" "many" (func $many (param i32 i32 i32 i32 i32 i32 i32 f32 i64) (result i32 f32 i64 i32)))
            (func (export "run") (result i64)
              i32.const 1 i64.const 2 f64.const 3 call $add)
            (func (export "many") (param i32 i32 i32 i32 i32 i32 i32 f32 i64) (result i32 f32 i64 i32)
              local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6 local.get 7 local.get 8
              call $many))"#,
    )?;
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<(), i64>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 6);
    assert_eq!(*store.data(), 1);
    let many = instance
        .get_typed_func::<(i32, i32, i32, i32, i32, i32, i32, f32, i64), (i32, f32, i64, i32)>(
            &mut store, "many",
        )?;
    assert_eq!(many.call(&mut store, (1, 2, 3, 4, 5, 6, 7, 0.5, -9))?, (28, 0.5, -9, 77));
    Ok(())
}

#[test]
fn traps_have_texts_and_backtraces() -> Result<()> {
    let mut store = Store::<()>::default();
    let module = Module::new(
        store.engine(),
        r#"(module (memory 1) (table 2 funcref)
            (func $deep (export "unreachable") unreachable)
            (func (export "call") call $deep)
            (func (export "div") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
            (func (export "load") (param i32) (result i32) local.get 0 i32.load offset=4)
            (func $rec (export "rec") call $rec)
            (func (export "ind") (param i32) local.get 0 call_indirect))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let mut check = |name: &str, params: &[Val], results: usize, trap: Trap| {
        let func = instance.get_func(&mut store, name).unwrap();
        let error = func.call(&mut store, params, &mut vec![Val::I32(0); results]).unwrap_err();
        println!("{error:?}");
        assert_eq!(error.downcast_ref::<Trap>(), Some(&trap), "{name}");
        assert!(error.downcast_ref::<WasmBacktrace>().is_some_and(|b| !b.frames().is_empty()));
    };
    for _ in 0..3 {
        check("unreachable", &[], 0, Trap::UnreachableCodeReached);
        check("call", &[], 0, Trap::UnreachableCodeReached);
        check("div", &[Val::I32(1), Val::I32(0)], 1, Trap::IntegerDivisionByZero);
        check("div", &[Val::I32(i32::MIN), Val::I32(-1)], 1, Trap::IntegerOverflow);
        check("load", &[Val::I32(-1)], 1, Trap::MemoryOutOfBounds);
        check("load", &[Val::I32(65529)], 1, Trap::MemoryOutOfBounds);
        check("rec", &[], 0, Trap::StackOverflow);
        check("ind", &[Val::I32(0)], 0, Trap::IndirectCallToNull);
        check("ind", &[Val::I32(2)], 0, Trap::IndirectCallOutOfBounds);
    }
    Ok(())
}

#[test]
fn results_past_the_registers() -> Result<()> {
    let mut store = Store::<()>::default();
    let module = Module::new(
        store.engine(),
        r#"(module
            (func $g (param i32) (result i32 i32 i32 f32 i64)
              local.get 0 i32.const 2 i32.const 3 f32.const 4 i64.const 5)
            (func (export "f") (param i32) (result i32 i32 i32 f32 i64) local.get 0 call $g)
            (func (export "t") (param i32) (result i32 i32 i32 f32 i64) local.get 0 return_call $g))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    for name in ["f", "t"] {
        let f = instance.get_typed_func::<i32, (i32, i32, i32, f32, i64)>(&mut store, name)?;
        assert_eq!(f.call(&mut store, 1)?, (1, 2, 3, 4.0, 5));
    }
    Ok(())
}

#[test]
fn host_results_past_the_registers() -> Result<()> {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("h", "many", |a: i32| -> (i32, i32, i32, i32) { (a, 2, 3, 4) })?;
    linker.func_wrap(
        "h",
        "stack",
        |a: i32, _: i32, _: i32, _: i32, _: i32, f: i32| -> (i32, i32, i32, i32) { (a, f, 3, 4) },
    )?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "h" "many" (func $many (param i32) (result i32 i32 i32 i32)))
            (import "h" "stack" (func $stack (param i32 i32 i32 i32 i32 i32) (result i32 i32 i32 i32)))
            (func (export "many") (param i32) (result i32 i32 i32 i32) local.get 0 call $many)
            (func (export "stack") (param i32) (result i32 i32 i32 i32) local.get 0 i32.const 1 i32.const 1 i32.const 1 i32.const 1 i32.const 2 call $stack))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    for name in ["many", "stack"] {
        let f = instance.get_typed_func::<i32, (i32, i32, i32, i32)>(&mut store, name)?;
        assert_eq!(f.call(&mut store, 1)?, (1, 2, 3, 4), "{name}");
    }
    Ok(())
}

/// By value, through guest and host: of every number of values around the borders of what calls treat apart
/// (registers, few values, many).
#[test]
fn values_of_every_kind_and_number_come_back() -> Result<()> {
    let mut store = Store::<()>::default();
    let kinds = [
        Val::I32(-1),
        Val::I64(i64::MIN + 3),
        Val::F32(0x7fa0_0001),
        Val::F64(0xfff4_0000_0000_0005),
        Val::V128(V128::from(u128::MAX / 3)),
    ];
    for count in 0..20 {
        for first in 0..kinds.len() {
            let params: Vec<Val> = kinds.iter().copied().cycle().skip(first).take(count).collect();
            let types: Vec<ValType> =
                params.iter().map(|val| val.ty(&store)).collect::<Result<_>>()?;
            let names: Vec<String> = types.iter().map(ToString::to_string).collect();
            let list = names.join(" ");
            let gets: String = (0..count).map(|n| format!("local.get {n} ")).collect();
            let ty = FuncType::new(store.engine(), types.clone(), types);
            let back = Func::new(&mut store, ty, |_, params, results| {
                results.copy_from_slice(params);
                Ok(())
            });
            let text = format!(
                r#"(module (import "" "back" (func $back (param {list}) (result {list})))
                    (func (export "f") (param {list}) (result {list}) {gets} call $back))"#
            );
            let module = Module::new(store.engine(), text)?;
            let instance = Instance::new(&mut store, &module, &[back.into()])?;
            let func = instance.get_func(&mut store, "f").expect("exported");
            let mut results = vec![Val::null_func_ref(); count];
            func.call(&mut store, &params, &mut results)?;
            assert_eq!(format!("{results:?}"), format!("{params:?}"), "{list}");
            if let Some(last) = count.checked_sub(1) {
                let mut wrong = params.clone();
                wrong[last] = Val::null_extern_ref();
                let error = func.call(&mut store, &wrong, &mut results).unwrap_err();
                assert!(error.to_string().contains(&format!("argument {last}")), "{error}");
                assert!(func.call(&mut store, &params[..last], &mut results).is_err());
                assert!(func.call(&mut store, &params, &mut results[..last]).is_err());
            }
        }
    }
    Ok(())
}

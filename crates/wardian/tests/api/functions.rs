//! Functions: made, wrapped, called by value, by type and by slots.

use wardian::*;

// uses: Func, TypedFunc, ValRaw
#[test]
fn functions() -> Result<()> {
    let mut store = Store::<u32>::default();
    let engine = store.engine().clone();
    let ty = FuncType::new(&engine, [ValType::I32], [ValType::I64]);
    let widen = Func::new(&mut store, ty.clone(), |_, params, results| {
        results[0] = Val::I64(params[0].unwrap_i32().into());
        Ok(())
    });
    assert_eq!(widen.ty(&store), ty);
    assert!(widen.matches_ty(&store, &ty));
    let same = Func::try_new(&mut store, ty.clone(), |_, _, _| Ok(()))?;
    let wrapped = Func::wrap(&mut store, |mut caller: Caller<'_, u32>, n: i32| {
        *caller.data_mut() += 1;
        i64::from(n)
    });
    let tried = Func::try_wrap(&mut store, |n: i32| -> Result<i64> { Ok(n.into()) })?;
    let raw = Func::new_raw(&mut store, ty, |mut caller, slots| {
        *caller.data_mut() += 1;
        slots[0] = ValRaw::i64(slots[0].get_i32().into());
        Ok(())
    });
    for func in [widen, wrapped, tried, raw] {
        let mut results = [Val::I32(0)];
        func.call(&mut store, &[Val::I32(-5)], &mut results)?;
        assert_eq!(results[0].unwrap_i64(), -5);
        let typed: TypedFunc<i32, i64> = func.typed(&store)?;
        assert_eq!(typed.call(&mut store, -6)?, -6);
        assert_eq!(typed.func().ty(&store), func.ty(&store));
        let mut slots = [ValRaw::i32(-7)];
        func.call_raw(&mut store, &mut slots)?;
        assert_eq!(slots[0].get_i64(), -7);
        let number = func.to_raw(&store);
        let again = Func::from_raw(&store, number).expect("not null");
        assert_eq!(again.to_raw(&store), number);
    }
    assert_eq!(*store.data(), 6);
    assert!(Func::from_raw(&store, 0).is_none());
    let mut results = [Val::I32(0)];
    same.call(&mut store, &[Val::I32(1)], &mut results)?;
    assert_eq!(results[0].unwrap_i64(), 0, "results start with their default values");
    Ok(())
}

#[test]
fn slots_carry_every_type_both_ways() -> Result<()> {
    let mut store = Store::<()>::default();
    let module = Module::new(
        store.engine(),
        r#"(module
            (type $t (func (param i32 i64 f32 f64 v128 funcref externref)
                (result externref funcref v128 f64 f32 i64 i32)))
            (import "" "" (func $host (type $t)))
            (func (export "f") (type $t)
                (call $host (local.get 0) (local.get 1) (local.get 2) (local.get 3)
                    (local.get 4) (local.get 5) (local.get 6))))"#,
    )?;
    let mut linker = Linker::new(store.engine());
    let ty = module.imports().next().expect("an import").ty().unwrap_func().clone();
    linker.func_new_raw("", "", ty, |_, slots| {
        slots.reverse();
        Ok(())
    })?;
    let f = linker.instantiate(&mut store, &module)?.get_func(&mut store, "f").expect("it");
    let host = ExternRef::new(&mut store, 5u8)?;
    let slots = [
        ValRaw::i32(-1),
        ValRaw::i64(i64::MIN),
        ValRaw::f32(f32::NAN.to_bits() | 1),
        ValRaw::f64(0.5f64.to_bits()),
        ValRaw::v128(u128::MAX - 7),
        ValRaw::funcref(f.to_raw(&store)),
        ValRaw::externref(host.to_raw(&store)?),
    ];
    let mut expected = slots;
    expected.reverse();
    let mut found = slots;
    f.call_raw(&mut store, &mut found)?;
    assert_eq!(found[1..], expected[1..]);
    // A reference comes back as another root of the same object.
    let back = ExternRef::from_raw(&mut store, found[0].get_externref()).expect("not null");
    assert!(Rooted::ref_eq(&store, &back, &host)?);
    // More slots than needed are left alone.
    let mut more = slots.to_vec();
    more.push(ValRaw::i32(9));
    f.call_raw(&mut store, &mut more)?;
    assert_eq!((&more[1..7], more[7]), (&expected[1..], ValRaw::i32(9)));
    Ok(())
}

#[test]
fn slots_that_name_nothing_are_refused() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let takes_func = Func::wrap(&mut store, |_: Option<Func>| {});
    let takes_extern = Func::wrap(&mut store, |_: Option<Rooted<ExternRef>>| {});
    let misuse = |result: Result<()>, part: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(error.to_string().contains(part), "{error}");
    };
    for raw in [1 << 20, 77, u64::MAX, 1 << 63] {
        let result = takes_func.call_raw(&mut store, &mut [ValRaw::funcref(raw)]);
        misuse(result, "names nothing of this store");
    }
    misuse(takes_func.call_raw(&mut store, &mut []), "expected 1 slots, found 0");
    takes_func.call_raw(&mut store, &mut [ValRaw::null()])?;
    takes_extern.call_raw(&mut store, &mut [ValRaw::null()])?;
    // Of a type that the place does not have.
    let of_type = FuncType::new(&engine, [ValType::I64], []);
    let concrete = RefType::new(true, HeapType::ConcreteFunc(of_type));
    let ty = FuncType::new(&engine, [concrete.into()], []);
    let picky = Func::new(&mut store, ty, |_, _, _| Ok(()));
    let slot = ValRaw::funcref(takes_func.to_raw(&store));
    misuse(picky.call_raw(&mut store, &mut [slot]), "another type");
    // What a host function leaves in its slots is checked too.
    let ty = FuncType::new(&engine, [], [ValType::FUNCREF]);
    let liar = Func::new_raw(&mut store, ty, |_, slots| {
        slots[0] = ValRaw::funcref(1 << 40);
        Ok(())
    });
    misuse(liar.call(&mut store, &[], &mut [Val::I32(0)]), "result of a host function");
    let all = |raw: u64| std::panic::catch_unwind(|| Func::from_raw(Store::<()>::default(), raw));
    assert!(all(99).is_err() && all(0).is_ok());
    Ok(())
}

// uses: IntoFunc, WasmRet, WasmTy, WasmTyList, WasmParams, WasmResults
#[test]
fn functions_of_rust_types() -> Result<()> {
    fn wrap<P, R>(store: &mut Store<()>, func: impl IntoFunc<(), P, R>) -> Func {
        Func::wrap(store, func)
    }
    fn call<P: WasmParams, R: WasmResults>(store: &mut Store<()>, func: Func, p: P) -> Result<R> {
        func.typed::<P, R>(&*store)?.call(store, p)
    }
    fn type_of<T: WasmTy>(_: &T) -> ValType {
        T::valtype()
    }
    fn returns<R: WasmRet>(func: impl Fn() -> R) -> impl Fn() -> R {
        func
    }
    let store = &mut Store::<()>::default();
    assert!(type_of(&1u32).is_i32() && type_of(&V128::from(1)).is_v128());
    assert_eq!(<(u64, f32)>::valtypes().collect::<Vec<_>>(), [ValType::I64, ValType::F32]);
    fn list<L: WasmTyList>() -> usize {
        L::valtypes().count()
    }
    assert_eq!((list::<()>(), list::<(i32, i32, i32)>()), (0, 3));
    let swap = wrap(store, |a: u32, b: f64| (b, a));
    assert_eq!(call::<(u32, f64), (f64, u32)>(store, swap, (1, 0.5))?, (0.5, 1));
    let many = wrap(
        store,
        |a: i32,
         b: i32,
         c: i32,
         d: i32,
         e: i32,
         f: i32,
         g: i32,
         h: i32,
         i: i64,
         j: i64,
         k: i64,
         l: i64,
         m: f32,
         n: f32,
         o: f64,
         p: f64| {
            i64::from(a + b + c + d + e + f + g + h)
                + i
                + j
                + k
                + l
                + (m + n) as i64
                + (o + p) as i64
        },
    );
    let sixteen = (1, 1, 1, 1, 1, 1, 1, 1, 1i64, 1i64, 1i64, 1i64, 1f32, 1f32, 1f64, 1f64);
    let sum: i64 = call(store, many, sixteen)?;
    assert_eq!(sum, 16);
    let fails = returns(|| -> Result<i32> { bail!("no") });
    let fails = wrap(store, fails);
    let error = call::<(), i32>(store, fails, ()).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Host, "no"));
    let value = ExternRef::new(&mut *store, "kept")?;
    let same = wrap(store, |value: Rooted<ExternRef>, f: Func| (Some(value), Some(f)));
    let (back, f): (Option<Rooted<ExternRef>>, Option<Func>) = call(store, same, (value, same))?;
    let back = back.expect("it is not null");
    assert!(Rooted::ref_eq(&*store, &back, &value)? && f.is_some());
    // A nullable argument does not fit a parameter that is not.
    assert!(same.typed::<(Option<Rooted<ExternRef>>, Func), ()>(&*store).is_err());
    Ok(())
}

// uses: NoFunc, NoExtern, NoneRef
#[test]
fn types_of_null_alone() -> Result<()> {
    let mut store = Store::<()>::default();
    let both = Func::wrap(&mut store, |_: Option<NoFunc>, _: Option<NoExtern>| (NoFunc::null(), 1));
    let params = (NoFunc::null(), NoExtern::null());
    let typed = both.typed::<(Option<NoFunc>, Option<NoExtern>), (Option<NoFunc>, i32)>(&store)?;
    assert_eq!(typed.call(&mut store, params)?.1, 1);
    let mut results = [Val::I32(0), Val::I32(0)];
    both.call(&mut store, &[NoFunc::null_val(), NoExtern::null_val()], &mut results)?;
    assert!(results[0].unwrap_func_ref().is_none());
    assert!(NoFunc::null_ref().is_null() && NoExtern::null_ref().is_null());
    let none = Func::wrap(&mut store, |_: Option<NoneRef>| NoneRef::null());
    let typed = none.typed::<Option<NoneRef>, Option<NoneRef>>(&store)?;
    assert!(typed.call(&mut store, NoneRef::null())?.is_none());
    none.call(&mut store, &[NoneRef::null_val()], &mut results[..1])?;
    assert!(results[0].unwrap_any_ref().is_none() && NoneRef::null_ref().is_null());
    let some = Val::from(both);
    assert!(both.call(&mut store, &[some, NoExtern::null_val()], &mut results).is_err());
    Ok(())
}

#[test]
fn errors_of_calls_say_what_was_expected() -> Result<()> {
    let mut store = Store::<()>::default();
    let f = Func::wrap(&mut store, |_: i32, _: f64| 1i64);
    let check = |store: &mut Store<()>, params: &[Val], results: usize, expected: &str| {
        let error = f.call(store, params, &mut vec![Val::I32(0); results]).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Misuse, expected));
    };
    let (i, d) = (Val::I32(1), Val::F64(0));
    check(&mut store, &[], 1, "expected 2 arguments, got 0");
    check(&mut store, &[i, d, d], 1, "expected 2 arguments, got 3");
    check(&mut store, &[i, d], 0, "expected 1 results, got 0");
    let mismatch = "argument 1 type mismatch: expected f64, found i32";
    check(&mut store, &[i, i], 1, mismatch);
    let error = f.typed::<(i32, f64), i32>(&store).unwrap_err().to_string();
    assert_eq!(
        error,
        "type mismatch: expected parameters [i32 f64] and results [i32], found \
         (func (param i32 f64) (result i64))"
    );
    Ok(())
}

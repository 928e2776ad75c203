//! Values, slots and references.

use std::hash::{DefaultHasher, Hasher};
use wardian::*;

// uses: Val, V128
#[test]
fn values() -> Result<()> {
    let mut store = Store::<()>::default();
    let func = Func::wrap(&mut store, || {});
    let host = ExternRef::new(&mut store, 1)?;
    let one = 1f32.to_bits();
    for (val, ty) in [
        (Val::I32(1), ValType::I32),
        (Val::I64(1), ValType::I64),
        (Val::F32(one), ValType::F32),
        (Val::F64(1f64.to_bits()), ValType::F64),
        (Val::V128(V128::from(1)), ValType::V128),
        (Val::FuncRef(Some(func)), ValType::FUNCREF),
        (Val::ExternRef(Some(host)), ValType::EXTERNREF),
    ] {
        assert!(val.matches_ty(&store, &ty)? && val.ty(&store)?.matches(&ty));
        let raw: ValRaw = val.to_raw(&store)?;
        let again = Val::from_raw(&mut store, raw, ty.clone());
        if !matches!(val, Val::ExternRef(_)) {
            assert_eq!(again.to_raw(&store)?, raw);
        }
        let null = Val::default_for_ty(&ty).expect("all have one");
        assert_eq!(null.to_raw(&store)?, ValRaw::null());
        assert_eq!(val.ref_().is_some(), ty.is_ref());
        let found = [
            val.i32().is_some(),
            val.i64().is_some(),
            val.f32().is_some(),
            val.f64().is_some(),
            val.v128().is_some(),
            val.func_ref().is_some() && val.funcref().is_some(),
            val.extern_ref().is_some() && val.externref().is_some(),
        ];
        assert_eq!(found.iter().filter(|found| **found).count(), 1);
    }
    assert_eq!((Val::I32(1).unwrap_i32(), Val::I64(2).unwrap_i64()), (1, 2));
    assert_eq!((Val::from(1.5f32).unwrap_f32(), Val::from(2.5f64).unwrap_f64()), (1.5, 2.5));
    assert_eq!(Val::from(7u128).unwrap_v128().as_u128(), 7);
    assert!(Val::from(func).unwrap_func_ref().is_some());
    assert!(Val::from(func).unwrap_funcref().is_some());
    assert_eq!(Val::from(host).unwrap_extern_ref(), Some(&host));
    assert_eq!(Val::from(host).unwrap_externref(), Some(&host));
    assert!(Val::null_func_ref().unwrap_funcref().is_none());
    assert!(Val::null_extern_ref().unwrap_externref().is_none());
    assert!(Val::null_ref(&HeapType::NoFunc).unwrap_funcref().is_none());
    Ok(())
}

// uses: ValRaw
#[test]
fn slots() {
    assert_eq!((ValRaw::i32(-1).get_i32(), ValRaw::i64(-1).get_i64()), (-1, -1));
    assert_eq!((ValRaw::u32(3).get_u32(), ValRaw::u64(4).get_u64()), (3, 4));
    assert_eq!((ValRaw::f32(5).get_f32(), ValRaw::f64(6).get_f64()), (5, 6));
    assert_eq!(ValRaw::v128(u128::MAX).get_v128(), u128::MAX);
    assert_eq!((ValRaw::funcref(7).get_funcref(), ValRaw::externref(8).get_externref()), (7, 8));
    // Zeros stand above what is written.
    assert_eq!(ValRaw::i32(-1).get_v128(), u128::from(u32::MAX));
    assert_eq!(ValRaw::null(), ValRaw::default());
}

// uses: Ref
#[test]
fn references() -> Result<()> {
    let mut store = Store::<()>::default();
    let func = Func::wrap(&mut store, || {});
    let host = ExternRef::new(&mut store, 1)?;
    let (f, e) = (Ref::Func(Some(func)), Ref::Extern(Some(host)));
    assert!(f.is_func() && !f.is_extern() && e.is_extern() && !e.is_func());
    assert!(f.is_non_null() && Ref::null(&HeapType::Extern).is_null());
    assert!(f.as_func().is_some() && f.as_extern().is_none());
    assert!(f.unwrap_func().is_some() && e.unwrap_extern() == Some(&host));
    assert!(f.matches_ty(&store, &RefType::FUNCREF)?);
    assert!(!f.matches_ty(&store, &RefType::NULLFUNCREF)?);
    assert!(f.ty(&store)?.matches(&RefType::FUNCREF));
    Ok(())
}

// uses: Rooted, ExternRef
#[test]
fn host_values() -> Result<()> {
    let mut store = Store::<()>::default();
    let a: Rooted<ExternRef> = ExternRef::new(&mut store, String::from("a"))?;
    let b = ExternRef::new(&mut store, String::from("a"))?;
    assert!(Rooted::rooted_eq(a, a) && !Rooted::rooted_eq(a, b));
    assert!(Rooted::ref_eq(&store, &a, &a)? && !Rooted::ref_eq(&store, &a, &b)?);
    let hash = |rooted: &Rooted<ExternRef>| {
        let (mut by_reference, mut by_object) = (DefaultHasher::new(), DefaultHasher::new());
        rooted.rooted_hash(&mut by_reference);
        rooted.ref_hash(&store, &mut by_object).expect("of this store");
        (by_reference.finish(), by_object.finish())
    };
    assert!(hash(&a) == hash(&a.clone()) && hash(&a) != hash(&b));
    let raw = a.to_raw(&store)?;
    assert_eq!(ExternRef::from_raw(&mut store, raw), Some(a));
    assert_eq!(ExternRef::from_raw(&mut store, 0), None);
    let text = a.data_mut(&mut store)?.and_then(|data| data.downcast_mut::<String>());
    text.expect("a string").push('!');
    let text = a.data(&store)?.and_then(|data| data.downcast_ref::<String>());
    assert_eq!(text.expect("a string"), "a!");
    let absent = std::panic::catch_unwind(|| ExternRef::from_raw(Store::<()>::default(), 2));
    assert!(absent.is_err());
    Ok(())
}

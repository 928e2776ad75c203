//! Structs, arrays, integers of 31 bits, their types, and roots.

use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroU32;
use wardian::*;

fn field(mutability: Mutability, ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(mutability, ty.into())
}

// uses: StructType, ArrayType, FieldType, StorageType, Finality, FuncType, HeapType
#[test]
fn types() -> Result<()> {
    let engine = Engine::default();
    assert!(Finality::Final.is_final() && Finality::NonFinal.is_non_final());
    for (ty, packed) in
        [(StorageType::I8, true), (StorageType::I16, true), (ValType::I64.into(), false)]
    {
        assert_eq!(ty.is_i8() || ty.is_i16(), packed);
        assert_eq!(ty.is_val_type(), !packed);
        assert_eq!(ty.as_val_type().is_some(), !packed);
        assert_eq!(ty.unpack().is_i32(), packed);
        assert!(ty.matches(&ty) && StorageType::eq(&ty, &ty));
    }
    assert!(StorageType::ValType(ValType::I64).unwrap_val_type().is_i64());
    let int = field(Mutability::Var, ValType::I32);
    assert!(int.mutability().is_var() && int.element_type().is_val_type());
    assert!(int.matches(&int) && FieldType::eq(&int, &int));

    let base =
        StructType::with_finality_and_supertype(&engine, Finality::NonFinal, None, [int.clone()])?;
    let more = [int.clone(), field(Mutability::Const, StorageType::I8)];
    let sub = StructType::with_finality_and_supertype(
        &engine,
        Finality::Final,
        Some(&base),
        more.clone(),
    )?;
    assert!(sub.matches(&base) && !base.matches(&sub) && !StructType::eq(&sub, &base));
    assert!(sub.finality().is_final() && sub.supertype() == Some(base.clone()));
    assert_eq!((sub.fields().len(), sub.field(1)), (2, Some(more[1].clone())));
    assert!(
        StructType::with_finality_and_supertype(&engine, Finality::Final, Some(&sub), more)
            .is_err()
    );
    assert!(
        StructType::with_finality_and_supertype(&engine, Finality::Final, Some(&base), []).is_err()
    );
    assert!(StructType::new(&engine, vec![int.clone(); 10_001]).is_err());

    let base_array =
        ArrayType::with_finality_and_supertype(&engine, Finality::NonFinal, None, int.clone())?;
    let array = ArrayType::with_finality_and_supertype(
        &engine,
        Finality::Final,
        Some(&base_array),
        int.clone(),
    )?;
    assert!(array.matches(&base_array) && !ArrayType::eq(&array, &base_array));
    assert!(array.finality().is_final() && array.supertype() == Some(base_array));
    assert_eq!((array.field_type(), array.mutability()), (int.clone(), Mutability::Var));
    assert!(array.element_type().is_val_type() && ArrayType::new(&engine, int) != array);

    let open = FuncType::with_finality_and_supertype(&engine, Finality::NonFinal, None, [], [])?;
    let func =
        FuncType::with_finality_and_supertype(&engine, Finality::Final, Some(&open), [], [])?;
    assert!(func.finality().is_final() && func.supertype() == Some(open));

    let (a, s) = (HeapType::ConcreteArray(array), HeapType::ConcreteStruct(sub));
    assert!(
        a.is_concrete_array() && a.as_concrete_array().is_some() && a.matches(&HeapType::Array)
    );
    assert!(s.is_concrete_struct() && s.as_concrete_struct().is_some() && s.matches(&HeapType::Eq));
    assert!(a.unwrap_concrete_array().finality().is_final() && s.is_concrete());
    assert!(s.unwrap_concrete_struct().finality().is_final());
    Ok(())
}

// uses: I31, AnyRef, EqRef, Val, Ref, ValRaw, ExternRef
#[test]
fn dynamic_references() -> Result<()> {
    let mut store = Store::<()>::default();
    assert_eq!((I31::new_u32(1 << 31), I31::new_i32(1 << 30)), (None, None));
    assert_eq!(I31::new_i32(-5).unwrap().get_i32(), -5);
    assert_eq!(
        (I31::wrapping_i32(-1).get_u32(), I31::wrapping_u32(u32::MAX).get_i32()),
        ((1 << 31) - 1, -1)
    );
    let engine = store.engine().clone();
    let pre = StructRefPre::new(&mut store, StructType::new(&engine, [])?);
    let object = StructRef::new(&mut store, &pre, &[])?;
    let bytes = ArrayType::new(&engine, field(Mutability::Var, StorageType::I8));
    let array_pre = ArrayRefPre::new(&mut store, bytes);
    let array = ArrayRef::new(&mut store, &array_pre, &Val::I32(1), 2)?;
    let five = AnyRef::from_i31(&mut store, I31::wrapping_u32(5));
    let any: [Rooted<AnyRef>; 3] = [five, object.to_anyref(), array.to_anyref()];
    for (n, any) in any.iter().enumerate() {
        let eq = any.unwrap_eqref(&store)?;
        assert!(any.is_eqref(&store)? && any.as_eqref(&store)?.is_some());
        let found = [any.is_i31(&store)?, any.is_struct(&store)?, any.is_array(&store)?];
        assert!(found.iter().enumerate().all(|(m, found)| *found == (n == m)));
        assert_eq!(found, [eq.is_i31(&store)?, eq.is_struct(&store)?, eq.is_array(&store)?]);
        assert_eq!(any.as_i31(&store)?.is_some(), eq.as_i31(&store)?.is_some());
        assert_eq!(any.as_struct(&store)?.is_some(), eq.as_struct(&store)?.is_some());
        assert_eq!(any.as_array(&store)?.is_some(), eq.as_array(&store)?.is_some());
        assert!(
            any.matches_ty(&store, &any.ty(&store)?)? && eq.matches_ty(&store, &eq.ty(&store)?)?
        );
        assert!(!any.matches_ty(&store, &HeapType::None)?);
        let raw = any.to_raw(&store)?;
        let again = AnyRef::from_raw(&mut store, raw).expect("not null");
        assert!(Rooted::ref_eq(&store, &again, any)?);
        assert_eq!(ValRaw::anyref(raw).get_anyref(), raw);
        let val = Val::from(*any);
        assert!(
            val.any_ref().is_some()
                && val.anyref().is_some()
                && val.matches_ty(&store, &ValType::ANYREF)?
        );
        assert!(val.unwrap_any_ref() == Some(any) && val.unwrap_anyref() == Some(any));
        let reference: Ref = val.ref_().expect("it is one");
        assert!(
            reference.is_any() && reference.as_any().is_some() && reference.unwrap_any().is_some()
        );
        // To the other hierarchy and back.
        let outer: Rooted<ExternRef> = ExternRef::convert_any(&mut store, *any)?;
        assert!(outer.data(&store)?.is_none());
        let back = AnyRef::convert_extern(&mut store, outer)?;
        assert!(Rooted::ref_eq(&store, &back, any)?);
    }
    assert_eq!(
        (any[0].unwrap_i31(&store)?, any[0].unwrap_eqref(&store)?.unwrap_i31(&store)?.get_u32()),
        (I31::wrapping_u32(5), 5)
    );
    any[1].unwrap_struct(&store)?.to_eqref().unwrap_struct(&store)?;
    any[2].unwrap_array(&store)?.to_eqref().unwrap_array(&store)?;
    EqRef::from_i31(&mut store, I31::wrapping_u32(1)).to_anyref();
    assert!(
        matches!(Val::null_any_ref(), Val::AnyRef(None))
            && matches!(Ref::null(&HeapType::Any), Ref::Any(None))
    );
    let host = ExternRef::new(&mut store, "mine")?;
    let host = AnyRef::convert_extern(&mut store, host)?;
    assert!(!host.is_eqref(&store)? && host.matches_ty(&store, &HeapType::Any)?);
    Ok(())
}

// uses: StructRef, StructRefPre, ArrayRef, ArrayRefPre
#[test]
fn objects() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let fields =
        [field(Mutability::Var, ValType::ANYREF), field(Mutability::Const, StorageType::I16)];
    let ty = StructType::new(&engine, fields)?;
    let pre = StructRefPre::new(&mut store, ty.clone());
    let object = StructRef::new(&mut store, &pre, &[Val::AnyRef(None), Val::I32(-1)])?;
    assert!(object.ty(&store)? == ty && object.matches_ty(&store, &ty)?);
    object.set_field(&mut store, 0, object.into())?;
    assert_eq!(object.field(&mut store, 1)?.unwrap_i32(), 0xffff);
    assert_eq!(object.fields(&mut store)?.len(), 2);
    for wrong in [
        object.set_field(&mut store, 1, Val::I32(1)),
        object.set_field(&mut store, 0, Val::I32(1)),
        object.set_field(&mut store, 2, Val::I32(1)),
        object.field(&mut store, 2).map(drop),
        StructRef::new(&mut store, &pre, &[Val::AnyRef(None)]).map(drop),
        StructRef::new(&mut store, &pre, &[Val::I32(0), Val::I32(0)]).map(drop),
    ] {
        assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Misuse);
    }
    let ty = ArrayType::new(&engine, field(Mutability::Var, ValType::ANYREF));
    let pre = ArrayRefPre::new(&mut store, ty.clone());
    let array = ArrayRef::new_fixed(&mut store, &pre, &[object.into(), Val::AnyRef(None)])?;
    assert!(array.ty(&store)? == ty && array.matches_ty(&store, &ty)? && array.len(&store)? == 2);
    array.set(&mut store, 1, array.into())?;
    store.gc(None)?;
    let found =
        array.get(&mut store, 1)?.unwrap_any_ref().expect("not null").unwrap_array(&store)?;
    assert!(Rooted::ref_eq(&store, &found, &array)?);
    assert_eq!(array.elems(&mut store)?.len(), 2);
    assert!(array.get(&mut store, 2).is_err() && array.set(&mut store, 0, Val::I32(1)).is_err());
    assert!(array.copy_to_i8_slice(&store, &mut [0; 2]).is_err());
    let ty = ArrayType::new(&engine, field(Mutability::Const, StorageType::I8));
    let pre = ArrayRefPre::new(&mut store, ty);
    let array = ArrayRef::new_from_i8_slice(&mut store, &pre, &[1, -2, 3])?;
    let mut bytes = [0; 3];
    array.copy_to_i8_slice(&store, &mut bytes)?;
    assert_eq!(bytes, [1, -2, 3]);
    assert!(array.set(&mut store, 0, Val::I32(1)).is_err());
    assert_eq!(
        ArrayRef::new(&mut store, &pre, &Val::I32(7), 4)?.get(&mut store, 3)?.unwrap_i32(),
        7
    );
    Ok(())
}

// uses: Rooted, OwnedRooted, RootScope, GcRef, RootedGcRef, GcHeapOutOfMemory, Store, StoreContextMut, Caller
#[test]
fn roots() -> Result<()> {
    fn keep<T: GcRef>(store: impl AsContextMut, root: Rooted<T>) -> Result<OwnedRooted<T>> {
        root.to_owned_rooted(store)
    }
    fn same<T: GcRef>(store: &Store<()>, a: &impl RootedGcRef<T>, b: &impl RootedGcRef<T>) -> bool {
        OwnedRooted::ref_eq(store, a, b).expect("of this store")
    }
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let pre = StructRefPre::new(&mut store, StructType::new(&engine, [])?);
    let (stale, owned) = {
        let mut scope = RootScope::new(&mut store);
        scope.reserve(10);
        let object = StructRef::new(&mut scope, &pre, &[])?;
        (object, keep(&mut scope, object)?)
    };
    store.gc(None)?;
    assert!(stale.ty(&store).is_err());
    let again = owned.to_rooted(&mut store);
    assert!(same(&store, &owned, &again));
    let hash = |act: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        act(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(&|h| owned.rooted_hash(h)), hash(&|h| owned.clone().rooted_hash(h)));
    assert_eq!(
        hash(&|h| owned.ref_hash(&store, h).unwrap()),
        hash(&|h| again.ref_hash(&store, h).unwrap())
    );
    owned.clone().to_eqref().to_anyref();
    owned.to_anyref();
    store.as_context_mut().gc(None)?;
    let collect = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        assert!(caller.gc_heap_capacity() > 0);
        caller.gc(None)
    });
    collect.call(&mut store, &[], &mut [])?;
    assert!(store.gc_heap_capacity() >= store.as_context_mut().gc_heap_capacity());

    let limits = StoreLimitsBuilder::new().memory_size(0).build();
    let mut small = Store::new(&engine, limits);
    small.limiter(|limits| limits);
    let mut error = ExternRef::new(&mut small, "back").unwrap_err();
    let lost = error.downcast_mut::<GcHeapOutOfMemory<&str>>().expect("no room");
    assert_eq!(lost.take_inner(), "back");
    let error = ExternRef::new(&mut small, 5).unwrap_err().downcast::<GcHeapOutOfMemory<i32>>()?;
    assert_eq!(error.into_inner(), 5);
    Ok(())
}

// uses: Config, Engine
#[test]
fn heaps_are_as_configured() -> Result<()> {
    let mut config = Config::new();
    config.gc_heap_reservation(64 << 20).gc_heap_initial_size(1 << 20).gc_nursery_size(1 << 20);
    config.gc_zeal_alloc_counter(NonZeroU32::new(2))?;
    let engine = Engine::new(&config)?;
    assert_eq!(engine.get_gc_heap_reservation(), 64 << 20);
    assert_eq!(engine.get_gc_heap_initial_size(), 1 << 20);
    assert_eq!(engine.get_gc_zeal_alloc_counter(), NonZeroU32::new(2));
    let mut store = Store::new(&engine, ());
    for n in 0..100 {
        let value = ExternRef::new(&mut store, n)?;
        assert_eq!(value.data(&store)?.and_then(|data| data.downcast_ref()), Some(&n));
    }
    assert!(store.gc_heap_capacity() >= 1 << 20);
    assert!(Engine::new(Config::new().gc_heap_reservation(1 << 20)).is_err());
    assert!(Engine::new(Config::new().gc_nursery_size(1)).is_err());
    Ok(())
}

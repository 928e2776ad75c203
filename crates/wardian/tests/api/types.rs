//! Types: made, compared, matched, and the default values of them.

use wardian::*;

// uses: ValType
#[test]
fn value_types() {
    let numbers = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
    assert!(numbers.iter().all(|ty| ty.is_num() && !ty.is_ref()));
    let [i32, i64, f32, f64] = numbers;
    assert!(i32.is_i32() && i64.is_i64() && f32.is_f32() && f64.is_f64());
    assert!(ValType::V128.is_v128() && !ValType::V128.is_num());
    let tops = [ValType::EXTERNREF, ValType::FUNCREF, ValType::ANYREF];
    let bottoms = [ValType::NULLEXTERNREF, ValType::NULLFUNCREF, ValType::NULLREF];
    for (position, (top, bottom)) in tops.iter().zip(&bottoms).enumerate() {
        assert!(bottom.matches(top) && !top.matches(bottom));
        assert!(ValType::eq(top, &top.clone()) && !ValType::eq(top, bottom));
        for other in &tops[position + 1..] {
            assert!(!bottom.matches(other));
        }
    }
    for internal in [ValType::EQREF, ValType::I31REF, ValType::ARRAYREF, ValType::STRUCTREF] {
        assert!(internal.matches(&ValType::ANYREF) && ValType::NULLREF.matches(&internal));
    }
    assert!(ValType::NULLEXNREF.matches(&ValType::EXNREF));
    assert!(ValType::FUNCREF.is_funcref() && ValType::EXTERNREF.is_externref());
    assert!(ValType::ANYREF.is_anyref());
    assert_eq!(ValType::FUNCREF.as_ref(), Some(ValType::FUNCREF.unwrap_ref()));
    let not_null = ValType::Ref(RefType::new(false, HeapType::Func));
    assert!(not_null.default_value().is_none());
    assert_eq!(ValType::I64.default_value().and_then(|v| v.i64()), Some(0));
}

// uses: RefType
#[test]
fn reference_types() {
    let nullable = [
        RefType::EXTERNREF,
        RefType::NULLEXTERNREF,
        RefType::FUNCREF,
        RefType::NULLFUNCREF,
        RefType::ANYREF,
        RefType::EQREF,
        RefType::I31REF,
        RefType::ARRAYREF,
        RefType::STRUCTREF,
        RefType::NULLREF,
        RefType::EXNREF,
        RefType::NULLEXNREF,
    ];
    for ty in nullable {
        assert!(ty.is_nullable());
        let strict = RefType::new(false, ty.heap_type().clone());
        assert!(strict.matches(&ty) && !ty.matches(&strict) && !RefType::eq(&ty, &strict));
    }
}

// uses: HeapType
#[test]
fn heap_types() {
    let engine = Engine::default();
    let func = FuncType::new(&engine, [], []);
    let concrete = HeapType::ConcreteFunc(func.clone());
    assert!(concrete.is_concrete() && concrete.is_concrete_func() && !concrete.is_abstract());
    assert_eq!(concrete.as_concrete_func(), Some(&func));
    assert_eq!(concrete.unwrap_concrete_func(), &func);
    assert!(HeapType::Extern.is_extern() && HeapType::Func.is_func());
    assert!(HeapType::NoFunc.is_no_func() && HeapType::Any.is_any() && HeapType::I31.is_i31());
    assert!(HeapType::None.is_none() && HeapType::Eq.is_abstract());
    assert!(HeapType::Exn.is_exn() && HeapType::NoExn.is_no_exn());
    for (ty, top, bottom) in [
        (concrete, HeapType::Func, HeapType::NoFunc),
        (HeapType::Extern, HeapType::Extern, HeapType::NoExtern),
        (HeapType::Struct, HeapType::Any, HeapType::None),
        (HeapType::Array, HeapType::Any, HeapType::None),
        (HeapType::NoExn, HeapType::Exn, HeapType::NoExn),
    ] {
        assert!(HeapType::eq(&ty.top(), &top) && HeapType::eq(&ty.bottom(), &bottom));
        assert!(ty.matches(&top) && bottom.matches(&ty) && top.is_top() && bottom.is_bottom());
    }
}

// uses: FuncType, GlobalType, TableType, MemoryType, MemoryTypeBuilder, TagType, Mutability
#[test]
fn types_of_externals() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let func = FuncType::try_new(&engine, [ValType::I32, ValType::F32], [ValType::I64])?;
    assert_eq!(func, FuncType::new(&engine, [ValType::I32, ValType::F32], [ValType::I64]));
    assert_eq!((func.param(1), func.param(2)), (Some(ValType::F32), None));
    assert_eq!((func.params().len(), func.result(0)), (2, Some(ValType::I64)));
    assert_eq!(func.results().next(), func.result(0));
    let other = FuncType::new(&engine, [], []);
    assert!(func.matches(&func.clone()) && !func.matches(&other) && !FuncType::eq(&func, &other));
    let made = func.default_value(&mut store)?;
    let mut results = [Val::I32(1)];
    made.call(&mut store, &[Val::I32(1), Val::F32(0)], &mut results)?;
    assert_eq!(results[0].unwrap_i64(), 0);

    let global = GlobalType::new(ValType::F64, Mutability::Var);
    assert!(global.content().is_f64() && global.mutability().is_var());
    assert!(Mutability::Const.is_const() && !Mutability::Const.is_var());
    assert_eq!(global.default_value(&mut store)?.get(&mut store).unwrap_f64(), 0.0);

    let table = TableType::new(RefType::EXTERNREF, 1, Some(2));
    assert_eq!((table.minimum(), table.maximum(), table.is_64()), (1, Some(2), false));
    assert_eq!(table.element(), &RefType::EXTERNREF);
    assert!(TableType::new64(RefType::FUNCREF, 1, None).is_64());
    assert_eq!(table.default_value(&mut store)?.size(&store), 1);
    let strict = TableType::new(RefType::new(false, HeapType::Func), 1, None);
    assert!(strict.default_value(&mut store).is_err());

    let memory = MemoryType::new(1, Some(2));
    assert_eq!((memory.minimum(), memory.maximum()), (1, Some(2)));
    assert_eq!((memory.page_size(), memory.page_size_log2()), (65_536, 16));
    assert!(!memory.is_64() && MemoryType::new64(1, None).is_64());
    assert!(!memory.is_shared() && MemoryType::shared(1, 2).is_shared());
    let made = memory.default_value(&mut store)?.into_memory().expect("a memory");
    assert_eq!(made.size(&store), 1);
    let mut builder: MemoryTypeBuilder = MemoryType::builder();
    builder.min(1).max(Some(2)).memory64(false).shared(false).page_size_log2(16);
    assert_eq!(builder.build()?, memory);
    assert!(MemoryTypeBuilder::new().min(2).max(Some(1)).build().is_err());

    let tag = TagType::new(func.clone());
    assert_eq!(tag.ty(), &func);
    Ok(())
}

// uses: ExternType
#[test]
fn external_types() -> Result<()> {
    let mut store = Store::<()>::default();
    let func = FuncType::new(store.engine(), [], []);
    let global = GlobalType::new(ValType::I32, Mutability::Const);
    let table = TableType::new(RefType::FUNCREF, 0, None);
    let memory = MemoryType::new(0, None);
    let tag = TagType::new(func.clone());
    let all = [
        ExternType::Func(func.clone()),
        ExternType::Global(global.clone()),
        ExternType::Table(table.clone()),
        ExternType::Memory(memory.clone()),
        ExternType::Tag(tag.clone()),
    ];
    for ty in &all {
        let found = [
            ty.func().is_some(),
            ty.global().is_some(),
            ty.table().is_some(),
            ty.memory().is_some(),
            ty.tag().is_some(),
        ];
        assert_eq!(found.iter().filter(|found| **found).count(), 1);
        let made = ty.default_value(&mut store)?;
        assert!(made.ty(&store).matches(ty));
        assert_eq!(made.into_tag().is_some(), ty.tag().is_some());
    }
    assert_eq!((all[0].unwrap_func(), all[1].unwrap_global()), (&func, &global));
    assert_eq!((all[2].unwrap_table(), all[3].unwrap_memory()), (&table, &memory));
    assert_eq!(all[4].unwrap_tag(), &tag);
    Ok(())
}

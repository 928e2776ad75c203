//! Memories, tables and globals.

use wardian::*;

// uses: Memory, MemoryAccessError
#[test]
fn memories() -> Result<()> {
    let mut store = Store::<u8>::default();
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    assert_eq!(memory.ty(&store), MemoryType::new(1, Some(2)));
    memory.write(&mut store, 3, b"abc")?;
    let mut buffer = [0; 3];
    memory.read(&store, 3, &mut buffer)?;
    assert_eq!(&buffer, b"abc");
    let past: MemoryAccessError = memory.read(&store, 65_534, &mut buffer).unwrap_err();
    assert_eq!(past, memory.write(&mut store, usize::MAX, b"x").unwrap_err());
    memory.data_mut(&mut store)[4] = b'x';
    assert_eq!(&memory.data(&store)[3..6], b"axc");
    let (bytes, data) = memory.data_and_store_mut(&mut store);
    *data = bytes[4];
    assert_eq!(*store.data(), b'x');
    assert_eq!(memory.data_ptr(&store).cast_const(), memory.data(&store).as_ptr());
    assert_eq!((memory.data_size(&store), memory.size(&store)), (65_536, 1));
    assert_eq!((memory.page_size(&store), memory.page_size_log2(&store)), (65_536, 16));
    assert_eq!(memory.grow(&mut store, 1)?, 1);
    assert_eq!(memory.grow(&mut store, 1).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(memory.data(&store)[4], b'x');
    Ok(())
}

#[test]
fn memories_that_move_reserve_what_they_are_told() -> Result<()> {
    for growth in [0, 1 << 20, u64::MAX >> 20] {
        let mut config = Config::new();
        config.memory_reservation(0).memory_guard_size(0).memory_may_move(true);
        config.memory_reservation_for_growth(growth);
        let mut store = Store::new(&Engine::new(&config)?, ());
        let memory = Memory::new(&mut store, MemoryType::new(1, Some(100)))?;
        memory.write(&mut store, 65_535, b"x")?;
        let mut moves = 0;
        for size in 1..40 {
            let before = memory.data_ptr(&store);
            assert_eq!(memory.grow(&mut store, 1)?, size);
            moves += u32::from(memory.data_ptr(&store) != before);
        }
        assert_eq!(memory.data(&store)[65_535], b'x');
        match growth {
            // Where the system puts the next mapping is its choice, so not each move may show.
            0 => assert!(moves > 3, "{moves}"),
            // Sixteen pages at a time.
            0x10_0000 => assert!((1..=3).contains(&moves), "{moves}"),
            // All that the type allows at once.
            _ => assert!(moves <= 1, "{moves}"),
        }
    }
    Ok(())
}

// uses: SharedMemory, WaitResult
#[test]
fn shared_memories() -> Result<()> {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 3))?;
    assert_eq!(memory.ty(), MemoryType::shared(1, 3));
    assert_eq!((memory.size(), memory.page_size(), memory.data_size()), (1, 65_536, 65_536));
    assert_eq!(memory.data().len(), 65_536);
    memory.write(3, b"abc")?;
    let mut buffer = [0; 3];
    memory.read(3, &mut buffer)?;
    assert_eq!(&buffer, b"abc");
    assert_eq!(memory.read(65_534, &mut buffer), memory.write(usize::MAX, b"x"));
    assert_eq!(memory.grow(1)?, 1);
    assert_eq!(memory.grow(2).unwrap_err().kind(), ErrorKind::Limit);
    let short = Some(std::time::Duration::from_millis(1));
    assert_eq!(memory.atomic_wait32(8, 1, short), Ok(WaitResult::Mismatch));
    assert_eq!(memory.atomic_wait64(8, 0, short), Ok(WaitResult::TimedOut));
    assert_eq!(memory.atomic_wait64(4, 0, short), Err(Trap::HeapMisaligned));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| memory.atomic_wait32(8, 0, None));
        while memory.atomic_notify(8, u32::MAX) == Ok(0) {
            std::thread::yield_now();
        }
        assert_eq!(waiting.join().expect("no panic"), Ok(WaitResult::Ok));
    });
    assert!(SharedMemory::new(&engine, MemoryType::new(1, Some(3))).is_err());
    let error = Memory::new(Store::new(&engine, ()), MemoryType::shared(1, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    // Another engine's.
    let mut store = Store::<()>::default();
    let text = r#"(module (import "" "" (memory 1 3 shared)))"#;
    let module = Module::new(store.engine(), text)?;
    let error = Instance::new(&mut store, &module, &[memory.into()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    Ok(())
}

// uses: Table
#[test]
fn tables() -> Result<()> {
    let mut store = Store::<()>::default();
    let func = Func::wrap(&mut store, || 5);
    let ty = TableType::new(RefType::FUNCREF, 2, Some(4));
    let table = Table::new(&mut store, ty.clone(), Ref::Func(None))?;
    assert_eq!((table.ty(&store), table.size(&store)), (ty, 2));
    table.set(&mut store, 0, func.into())?;
    assert_eq!(table.grow(&mut store, 2, func.into())?, 2);
    assert!(table.grow(&mut store, 1, func.into()).is_err());
    assert!(table.get(&mut store, 1).expect("inside").is_null());
    assert!(table.get(&mut store, 3).expect("inside").is_non_null());
    assert!(table.get(&mut store, 4).is_none());
    table.fill(&mut store, 0, Ref::Func(None), 3)?;
    Table::copy(&mut store, &table, 0, &table, 3, 1)?;
    assert!(table.get(&mut store, 0).expect("inside").is_non_null());
    assert!(Table::copy(&mut store, &table, 3, &table, 0, 2).is_err());
    let value = ExternRef::new(&mut store, 1)?;
    let error = table.set(&mut store, 0, value.into()).unwrap_err();
    assert!(error.to_string().contains("expected funcref"), "{error}");
    Ok(())
}

// uses: Global
#[test]
fn globals() -> Result<()> {
    let mut store = Store::<()>::default();
    let ty = GlobalType::new(ValType::F32, Mutability::Var);
    let global = Global::new(&mut store, ty.clone(), Val::from(0.5f32))?;
    assert_eq!(global.ty(&store), ty);
    global.set(&mut store, Val::from(1.5f32))?;
    assert_eq!(global.get(&mut store).unwrap_f32(), 1.5);
    assert!(global.set(&mut store, Val::I32(1)).is_err());
    let ty = GlobalType::new(ValType::I32, Mutability::Const);
    let constant = Global::new(&mut store, ty, Val::I32(1))?;
    assert!(constant.set(&mut store, Val::I32(2)).is_err());
    Ok(())
}

// uses: Tag, TagType
#[test]
fn tags() -> Result<()> {
    let mut store = Store::<()>::default();
    let ty = TagType::new(FuncType::new(store.engine(), [ValType::I32, ValType::F64], []));
    let (a, b) = (Tag::new(&mut store, &ty)?, Tag::new(&mut store, &ty)?);
    assert_eq!(a.ty(&store), ty);
    assert!(Tag::eq(&a, &a, &store) && !Tag::eq(&a, &b, &store));
    let another: Tag = ty.default_value(&mut store)?;
    assert!(another.ty(&store) == ty && !Tag::eq(&another, &a, &store));
    let results = TagType::new(FuncType::new(store.engine(), [], [ValType::I32]));
    assert_eq!(Tag::new(&mut store, &results).unwrap_err().kind(), ErrorKind::Misuse);
    // Imported, it is the same.
    let text = r#"(module (import "" "a" (tag $t (param i32 f64))) (export "t" (tag $t)))"#;
    let module = Module::new(store.engine(), text)?;
    let instance = Instance::new(&mut store, &module, &[a.into()])?;
    let found = instance.get_tag(&mut store, "t").expect("exported");
    assert!(Tag::eq(&found, &a, &store));
    Ok(())
}

// uses: ExnRef, ExnRefPre, ExnType, ThrownException, Store, StoreContextMut, Val, ValRaw, Ref
#[test]
fn exceptions() -> Result<()> {
    let mut store = Store::<()>::default();
    let ty = ExnType::new(store.engine(), [ValType::I32, ValType::EXTERNREF])?;
    assert_eq!(ty, ExnType::from_tag_type(ty.tag_type())?);
    assert!(ty.field(0).is_some_and(|ty| ty.is_i32()) && ty.fields().len() == 2);
    assert!(ty.matches(&ty) && !ty.matches(&ExnType::new(store.engine(), [ValType::I32])?));
    let results = TagType::new(FuncType::new(store.engine(), [], [ValType::I32]));
    assert!(ExnType::from_tag_type(results).is_err());
    let tag = Tag::new(&mut store, &ty.tag_type())?;
    let pre = ExnRefPre::new(&mut store, ty.clone());
    let host = ExternRef::new(&mut store, 5)?;
    let values = [Val::I32(1), Val::ExternRef(Some(host))];
    let exception: Rooted<ExnRef> = ExnRef::new(&mut store, &pre, &tag, &values)?;
    assert!(ExnRef::new(&mut store, &pre, &tag, &values[..1]).is_err());
    assert!(ExnRef::new(&mut store, &pre, &tag, &[Val::I32(1), Val::I32(1)]).is_err());
    assert!(exception.ty(&store)? == ty && exception.matches_ty(&store, &ty)?);
    assert!(Tag::eq(&exception.tag(&mut store)?, &tag, &store));
    assert_eq!(exception.field(&mut store, 0)?.unwrap_i32(), 1);
    assert!(exception.field(&mut store, 2).is_err());
    assert_eq!(exception.fields(&mut store)?.count(), 2);
    let raw = exception.to_raw(&store)?;
    let again = ExnRef::from_raw(&mut store, raw).expect("not null");
    assert!(Rooted::ref_eq(&store, &again, &exception)?);
    assert_eq!(ValRaw::exnref(raw).get_exnref(), raw);
    assert!(ExnRef::from_raw(&mut store, 0).is_none());
    let val: Val = Val::ExnRef(Some(exception));
    assert!(val.exnref().is_some() && val.unwrap_exnref().is_some());
    let reference: Ref = val.ref_().expect("a reference");
    assert!(matches!(reference, Ref::Exn(Some(_))) && reference.is_exn());
    assert!(reference.as_exn().is_some() && reference.unwrap_exn().is_some());
    assert!(reference.matches_ty(&store, &RefType::new(false, HeapType::Exn))?);
    assert!(Ref::null(&HeapType::NoExn).is_null());
    assert!(!store.has_pending_exception() && store.take_pending_exception().is_none());
    let thrown: ThrownException = store.throw::<()>(exception).unwrap_err();
    assert_eq!(thrown.to_string(), "uncaught exception");
    assert!(store.has_pending_exception());
    let mut context = store.as_context_mut();
    let taken = context.take_pending_exception().expect("it was thrown");
    assert!(Rooted::ref_eq(&context, &taken, &exception)?);
    assert!(context.throw::<()>(taken).is_err() && context.has_pending_exception());
    Ok(())
}

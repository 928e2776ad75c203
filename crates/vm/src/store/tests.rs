//! What generated code would see of a store, read as it reads it: by pointers, from the VM context on.
//! No code runs, so all of it passes under Miri.

use super::*;
use crate::refusals::refuse;
use crate::{BuiltinCall, Call, Failure, Host, TypedFunc};
use wardian_module::image::{CodeImage, FuncRange};

const PAGE: usize = 1 << 16;

struct TestHost(Store);

impl Host for TestHost {
    fn kernel(&mut self) -> &mut Store {
        &mut self.0
    }

    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure> {
        panic!("no code runs, but {call:?}")
    }
}

fn store() -> Store {
    let limits = StoreLimits { max_wasm_stack: 64 << 10, backtrace_frames: 4 };
    Store::new::<TestHost>(limits).unwrap()
}

/// Explicit checks and memories of one page that move when they grow.
fn settings() -> Settings {
    Settings {
        signals_based_traps: false,
        memory_reservation: PAGE as u64,
        memory_guard_size: 0,
        ..Settings::default()
    }
}

/// The module of a text, with functions that nobody calls.
fn code(text: &str) -> Arc<Code> {
    let wasm = wat::parse_str(text).unwrap();
    let (module, bodies) = decode(wasm, Proposals::default()).unwrap();
    let funcs =
        (0..bodies.len() as u32).map(|n| FuncRange { start: 16 * n, end: 16 * n + 1 }).collect();
    let image = CodeImage { text: vec![0xcc; 16 * bodies.len()], funcs, ..CodeImage::default() };
    Arc::new(Code::publish(Arc::new(module), image).unwrap())
}

fn own<T>(found: Option<Extern>, pick: impl FnOnce(Extern) -> Option<T>) -> T {
    found.and_then(pick).expect("of the kind asked for")
}

fn func(store: &Store, instance: InstanceId, index: u32) -> FuncId {
    own(store.instance_extern(instance, ExternIndex::Func(FuncIndex(index))), |found| match found {
        Extern::Func(id) => Some(id),
        _ => None,
    })
}

fn table(store: &Store, instance: InstanceId, index: u32) -> TableId {
    own(store.instance_extern(instance, ExternIndex::Table(TableIndex(index))), |found| match found
    {
        Extern::Table(id) => Some(id),
        _ => None,
    })
}

fn memory(store: &Store, instance: InstanceId) -> MemoryId {
    own(store.instance_extern(instance, ExternIndex::Memory(MemoryIndex(0))), |found| match found {
        Extern::Memory(id) => Some(id),
        _ => None,
    })
}

fn global(store: &Store, instance: InstanceId, index: u32) -> GlobalId {
    own(store.instance_extern(instance, ExternIndex::Global(GlobalIndex(index))), |found| {
        match found {
            Extern::Global(id) => Some(id),
            _ => None,
        }
    })
}

/// Reads as generated code does.
fn read<T: crate::block::Plain>(address: *const u8) -> T {
    // SAFETY: [block] [mapping] tests pass addresses in blocks and memories of a live store.
    unsafe { address.cast::<T>().read() }
}

impl Store {
    /// The address at `offset` of an instance's VM context.
    fn field(&self, instance: InstanceId, offset: u32) -> *const u8 {
        self.blocks[self.instances[instance.index()].block].address(offset as usize)
    }

    /// What is imported at `offset` of an instance's VM context.
    fn through(&self, instance: InstanceId, offset: u32) -> *const u8 {
        read::<*const u8>(self.field(instance, offset))
    }

    fn layout(&self, instance: InstanceId) -> &VmLayout {
        self.instance_code(instance).layout()
    }

    /// How many things of each kind there are.
    fn parts(&self) -> [usize; 7] {
        let guards = std::cell::Cell::new(0);
        // SAFETY: [guards] no code runs.
        unsafe { self.context().change_guards(|list| guards.set(list.len())) };
        [
            self.blocks.len(),
            self.instances.len(),
            self.memories.len(),
            self.tables.len(),
            self.globals.len(),
            self.hosts.len(),
            guards.get(),
        ]
    }
}

/// Base and length at the address of a [`Storage`].
fn storage(address: *const u8) -> (*const u8, u64) {
    let base = read::<*const u8>(address.wrapping_add(offset_of!(Storage, base)));
    (base, read(address.wrapping_add(offset_of!(Storage, length))))
}

/// A function reference as a call through it sees it: code, type, index, and its context's owner.
fn seen_func(reference: *const u8) -> (*const u8, u32, u32, (u32, u32)) {
    let word = |offset| read::<*const u8>(reference.wrapping_add(offset));
    let number = |offset| read::<u32>(reference.wrapping_add(offset));
    let owner = word(offset_of!(FuncRef, context));
    let owned = |offset| read::<u32>(owner.wrapping_add(offset));
    (
        word(offset_of!(FuncRef, code)),
        number(offset_of!(FuncRef, type_id)),
        number(offset_of!(FuncRef, index)),
        (owned(offset_of!(Owner, kind)), owned(offset_of!(Owner, id))),
    )
}

#[test]
fn memories_are_seen_where_they_are_while_they_grow_and_move() {
    let mut store = store();
    let first = store.instantiate(code("(module (memory (export \"m\") 1 6))"), &[], &settings());
    let first = first.unwrap();
    let id = memory(&store, first);
    let importer = code("(module (import \"\" \"m\" (memory 1)))");
    let second = store.instantiate(importer, &[Extern::Memory(id)], &settings()).unwrap();
    let (own, imported) = (store.layout(first).memory(0), store.layout(second).imported_memory(0));
    let mut bases = Vec::new();
    for pages in 1..=6 {
        if pages > 1 {
            assert_eq!(store.memory_grow(id, 1).unwrap(), pages as u64 - 1);
        }
        let seen = storage(store.field(first, own));
        assert_eq!(seen, storage(store.through(second, imported)));
        let (base, length) = seen;
        assert_eq!((base as usize, length as usize), (store.memory_base(id), pages * PAGE));
        let bytes = store.memory_bytes_mut(id);
        assert_eq!(bytes.len(), pages * PAGE);
        assert_eq!(bytes[(pages - 1) * PAGE..][..8], [0; 8], "what is new is zero");
        bytes[pages * PAGE - 1] = pages as u8;
        for page in 1..=pages {
            assert_eq!(read::<u8>(base.wrapping_add(page * PAGE - 1)), page as u8);
        }
        bases.push(base);
    }
    bases.dedup();
    assert!(bases.len() > 1, "it moved");
    for delta in [1, u64::MAX, u64::MAX - 5, 1 << 48] {
        store.memory_grow(id, delta).unwrap_err();
        assert_eq!(storage(store.field(first, own)), (*bases.last().unwrap(), 6 * PAGE as u64));
    }
    assert_eq!(store.memory_grow(id, 0).unwrap(), 6);
}

#[test]
fn memories_without_pages() {
    let mut store = store();
    let ty = |max| MemoryType {
        limits: Limits { min: 0, max },
        index: IndexType::I32,
        shared: false,
        page_size_log2: 16,
    };
    for reservation in [0, PAGE as u64] {
        let settings = Settings { memory_reservation: reservation, ..settings() };
        let never = store.memory(ty(Some(0)), &settings).unwrap();
        let later = store.memory(ty(None), &settings).unwrap();
        for id in [never, later] {
            assert_eq!(store.memory_bytes(id), []);
            assert_eq!(store.memory_bytes_mut(id), []);
            assert_eq!(store.memory_grow(id, 0).unwrap(), 0);
            let (base, length) = storage(store.memory_storage(id));
            assert!(!base.is_null() && length == 0);
        }
        store.memory_grow(never, 1).unwrap_err();
        assert_eq!(store.memory_grow(later, 2).unwrap(), 0);
        assert_eq!(store.memory_bytes(later).len(), 2 * PAGE);
        let (target, source) = store.two_memories(later, never);
        assert_eq!((target.len(), source.len()), (2 * PAGE, 0));
    }
}

/// Without signals too: a check that the processor ignores for a while leads nowhere else.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
fn a_confined_memory_has_the_whole_index_range() {
    let mut store = store();
    let settings = Settings { signals_based_traps: false, ..Settings::default() };
    let ty = MemoryType {
        limits: Limits { min: 1, max: Some(2) },
        index: IndexType::I32,
        shared: false,
        page_size_log2: 16,
    };
    let plan = MemoryPlan::new(&settings, &ty);
    assert!(plan.confined && !plan.guarded);
    let id = store.memory(ty, &settings).unwrap();
    let last = store.memory_base(id) + (1 << 32) + plan.guard as usize - 1;
    assert_eq!(store.memory_at_address(last), Some(id));
    assert_eq!(store.memory_at_address(last + 1), None);
}

const TABLES: &str = r#"(module
    (table (export "f") 2 40 funcref) (table 3 funcref) (table (export "e") 1 externref)
    (func $a (export "a")) (func $b (export "b") (param i32)) (func $hidden (call $a)))"#;

#[test]
fn tables_are_seen_where_they_are_while_they_grow_and_move() {
    let mut store = store();
    let first = store.instantiate(code(TABLES), &[], &settings()).unwrap();
    let (id, refs) = (table(&store, first, 0), table(&store, first, 2));
    let importer = code(
        "(module (import \"\" \"f\" (table 2 40 funcref)) (import \"\" \"e\" (table 1 externref)))",
    );
    let imports = [Extern::Table(id), Extern::Table(refs)];
    let second = store.instantiate(importer, &imports, &settings()).unwrap();
    let funcs = [func(&store, first, 0), func(&store, first, 1)];
    let mut bases = Vec::new();
    for length in 3..=40 {
        let value = Value::Func(Some(funcs[length % 2]));
        assert_eq!(store.table_grow(id, 1, value), Some(length as u64 - 1));
        let seen = storage(store.field(first, store.layout(first).table(0)));
        let imported = store.layout(second).imported_table(0);
        assert_eq!(seen, storage(store.through(second, imported)));
        assert_eq!(seen.1, length as u64);
        for index in 0..length {
            let element = read::<*const u8>(seen.0.wrapping_add(8 * index));
            if index < 2 {
                assert!(element.is_null());
                continue;
            }
            let expected = funcs[(index + 1) % 2];
            let (code, ty, number, owner) = seen_func(element);
            assert_eq!(code, store.target_at(store.func_place(expected).unwrap()).0);
            assert_eq!(ty, store.func_type(expected).unwrap().id().as_u32());
            assert_eq!(number, expected.index);
            assert_eq!(owner, (Owner::INSTANCE, first.0));
            assert_eq!(store.table_get(id, index as u64), Some(Value::Func(Some(expected))));
        }
        bases.push(seen.0);
    }
    bases.dedup();
    assert!(bases.len() > 1, "it moved");
    for delta in [1, u64::MAX, MAX_TABLE_ELEMENTS] {
        assert_eq!(store.table_grow(id, delta, Value::Func(None)), None);
    }
    assert_eq!(store.table_size(id), 40);

    for length in 2..20u32 {
        assert_eq!(store.table_grow(refs, 1, Value::Ref(length)), Some(u64::from(length) - 1));
        let (base, seen) = storage(store.through(second, store.layout(second).imported_table(1)));
        assert_eq!(seen, u64::from(length));
        for index in 1..length {
            assert_eq!(read::<u32>(base.wrapping_add(4 * index as usize)), index + 1);
        }
    }
    assert_eq!(store.table_grow(refs, MAX_TABLE_ELEMENTS, Value::Ref(0)), None);
}

#[test]
fn tables_are_filled_and_copied_inside_their_bounds_only() {
    let mut store = store();
    let instance = store.instantiate(code(TABLES), &[], &settings()).unwrap();
    let [long, short, refs] = [0, 1, 2].map(|index| table(&store, instance, index));
    let [a, b] = [0, 1].map(|index| Value::Func(Some(func(&store, instance, index))));
    store.table_grow(long, 4, Value::Func(None)).unwrap();
    let all = |store: &Store, id| -> Vec<Value> {
        (0..store.table_size(id)).map(|index| store.table_get(id, index).unwrap()).collect()
    };
    let null = Value::Func(None);
    store.table_fill(long, 1, a, 2).unwrap();
    store.table_fill(long, 3, b, 1).unwrap();
    assert_eq!(all(&store, long), [null, a, a, b, null, null]);
    // Overlapping, both ways.
    store.table_copy(long, 2, long, 1, 3).unwrap();
    assert_eq!(all(&store, long), [null, a, a, a, b, null]);
    store.table_copy(long, 0, long, 3, 3).unwrap();
    assert_eq!(all(&store, long), [a, b, null, a, b, null]);
    store.table_copy(short, 1, long, 0, 2).unwrap();
    assert_eq!(all(&store, short), [null, a, b]);
    // Nothing at the very end is inside.
    store.table_fill(long, 6, a, 0).unwrap();
    store.table_copy(short, 3, long, 6, 0).unwrap();

    let before = (all(&store, long), all(&store, short), all(&store, refs));
    for (index, count) in [(6, 1), (0, 7), (7, 0), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, 0)] {
        assert_eq!(store.table_fill(long, index, b, count), Err(Mismatch));
        assert_eq!(store.table_copy(long, index, short, 0, count), Err(Mismatch));
        assert_eq!(store.table_copy(short, 0, long, index, count), Err(Mismatch));
        assert_eq!(store.table_copy(long, 0, long, index, count), Err(Mismatch));
    }
    for index in [6, u64::MAX, 1 << 61] {
        assert_eq!(store.table_get(long, index), None);
    }
    for value in [Value::Ref(0), Value::Ref(1), Value::I32(0), Value::I64(0)] {
        assert_eq!(store.table_fill(long, 0, value, 1), Err(Mismatch));
        assert_eq!(store.table_grow(long, 1, value), None);
    }
    assert_eq!(store.table_fill(refs, 0, a, 1), Err(Mismatch));
    assert_eq!(store.table_fill(refs, 0, null, 1), Err(Mismatch));
    assert_eq!(store.table_copy(refs, 0, long, 0, 1), Err(Mismatch));
    assert_eq!(before, (all(&store, long), all(&store, short), all(&store, refs)));
}

#[test]
fn globals_are_seen_where_they_are() {
    let mut store = store();
    let types = "i32 i64 f32 f64 v128 funcref externref".split(' ');
    let text =
        |prefix: &str| -> String { types.clone().map(|ty| prefix.replace("TYPE", ty)).collect() };
    let constants = ["i32.const 0", "i64.const 0", "f32.const 0", "f64.const 0"];
    let rest = ["v128.const i64x2 0 0", "ref.null func", "ref.null extern"];
    let own: String = types
        .clone()
        .zip(constants.iter().chain(&rest))
        .map(|(ty, init)| format!("(global (mut {ty}) ({init}))"))
        .collect();
    let exported = "(func (export \"f\"))";
    let first = store.instantiate(code(&format!("(module {own} {exported})")), &[], &settings());
    let first = first.unwrap();
    let ids: Vec<GlobalId> = (0..7).map(|index| global(&store, first, index)).collect();
    let imports: Vec<Extern> = ids.iter().map(|id| Extern::Global(*id)).collect();
    let importer = text("(import \"\" \"\" (global (mut TYPE)))");
    let importer = code(&format!("(module {importer})"));
    let second = store.instantiate(importer, &imports, &settings()).unwrap();
    let target = func(&store, first, 0);
    let values = [
        Value::I32(-2),
        Value::I64(-3),
        Value::F32(0x7fa0_0000),
        Value::F64(0x7ff4_0000_0000_0000),
        Value::V128(u128::MAX - 5),
        Value::Func(Some(target)),
        Value::Ref(7),
    ];
    for (n, id) in ids.iter().enumerate() {
        for (m, value) in values.iter().enumerate() {
            assert_eq!(store.global_set(*id, *value).is_ok(), n == m, "{n} {m}");
        }
        assert_eq!(store.global_get(*id), values[n]);
        let address = store.through(second, store.layout(second).imported_global(n));
        assert_eq!(address, store.field(first, store.layout(first).global(n)));
        match n {
            0 => assert_eq!(read::<u32>(address) as i32, -2),
            1 => assert_eq!(read::<u64>(address) as i64, -3),
            2 => assert_eq!(read::<u32>(address), 0x7fa0_0000),
            3 => assert_eq!(read::<u64>(address), 0x7ff4_0000_0000_0000),
            4 => assert_eq!(read::<u128>(address), u128::MAX - 5),
            5 => assert_eq!(seen_func(read(address)).3, (Owner::INSTANCE, first.0)),
            _ => assert_eq!(read::<u32>(address), 7),
        }
    }
    store.global_set(ids[5], Value::Func(None)).unwrap();
    assert_eq!(store.global_get(ids[5]), Value::Func(None));
    assert!(read::<*const u8>(store.field(first, store.layout(first).global(5))).is_null());
    let counts = store.parts();
    let ty = GlobalType { content: ValType::I32, mutable: false };
    assert!(store.global(ty, Value::I64(0)).is_err());
    assert_eq!(store.parts(), counts, "what failed is not kept");
}

#[test]
fn function_references_name_their_owners() {
    let mut store = store();
    let host = Arc::new(HostFunc::wrap::<TestHost, _, (i32,), (i64,)>(
        |_: Call<'_, TestHost>, (x,): (i32,)| Ok((i64::from(x),)),
    ));
    let bare = store.host_func(host, None).unwrap();
    let text = r#"(module (import "" "h" (func (param i32) (result i64)))
        (func (export "a")) (func $hidden) (func (export "b") (call $hidden)))"#;
    let code = code(text);
    let instances: Vec<InstanceId> = (0..2)
        .map(|_| store.instantiate(code.clone(), &[Extern::Func(bare)], &settings()).unwrap())
        .collect();
    let mut owners = vec![bare];
    for instance in &instances {
        let imported = store.instance_func(*instance, FuncIndex(0)).unwrap();
        assert_eq!(imported.in_instance(), None);
        assert!(!owners.contains(&imported), "a record for each importer");
        owners.push(imported);
        let offset = store.layout(*instance).func_ref(0);
        let (_, ty, _, owner) = seen_func(store.field(*instance, offset));
        assert_eq!(ty, store.func_type(bare).unwrap().id().as_u32());
        assert_eq!(owner, (Owner::HOST, imported.owner & !HOST_BIT));
        for index in [1, 3] {
            let id = store.instance_func(*instance, FuncIndex(index)).unwrap();
            assert_eq!(id.in_instance(), Some((*instance, FuncIndex(index))));
            assert_eq!(FuncId::from_bits(id.to_bits()), id);
            assert_eq!(store.func_of(store.func_ref(id).unwrap()), Some(id));
            let entry = store.instance_code(*instance).entry(DefinedFuncIndex(index - 1));
            assert_eq!(store.target_at(store.func_place(id).unwrap()).0, entry);
        }
        assert_eq!(store.instance_func(*instance, FuncIndex(2)), None, "only called directly");
        assert_eq!(store.instance_func(*instance, FuncIndex(4)), None);
        assert_eq!(store.instance_func(*instance, FuncIndex(u32::MAX)), None);
    }
    assert_eq!(store.func_of(std::ptr::null()), None);
}

#[test]
fn ids_that_do_not_exist_are_refused() {
    let mut host = TestHost(store());
    let store = &mut host.0;
    let instance = store.instantiate(code(TABLES), &[], &settings()).unwrap();
    let refs = table(store, instance, 0);
    let nowhere = [u64::MAX, 0, 1, 2, 7, 1 << 32, 1 << 63, 1 << 63 | 5, 0x7fff_ffff_0000_0000]
        .map(FuncId::from_bits)
        .into_iter()
        .filter(|id| id.to_bits() > 1);
    for id in nowhere {
        assert!(store.func_place(id).is_none(), "{id:?}");
        assert_eq!(store.table_fill(refs, 0, Value::Func(Some(id)), 1), Err(Mismatch), "{id:?}");
        let ty = store.func_type(func(store, instance, 0)).unwrap().id();
        assert!(!store.extern_matches(Extern::Func(id), &ExternType::Func(ty)));
        let call = crate::call(&mut TestHost(self::store()), id, &[], &mut []);
        assert!(matches!(call, Err(crate::CallError::Mismatch)));
    }
    let importer = code(r#"(module (import "" "" (table 1 funcref)) (import "" "" (memory 1)))"#);
    let mem = Extern::Memory(MemoryId(0));
    for (imports, position) in [
        (vec![], 0),
        (vec![Extern::Table(refs)], 1),
        (vec![mem, mem], 0),
        (vec![Extern::Table(refs), mem], 1),
        (vec![Extern::Table(TableId(u32::MAX)), mem], 0),
        (vec![Extern::Table(refs), Extern::Memory(MemoryId(9)), mem], 2),
        (vec![Extern::Table(refs), Extern::Global(GlobalId(0))], 1),
    ] {
        let parts = store.parts();
        match store.instantiate(importer.clone(), &imports, &settings()) {
            Err(InstantiateError::Import(found)) => assert_eq!(found, position),
            other => panic!("expected import {position} to be refused, found {other:?}"),
        }
        assert_eq!(store.parts(), parts);
    }
}

#[test]
fn functions_of_another_store_or_type_are_refused() {
    let mut hosts = [TestHost(store()), TestHost(store())];
    let code = code(TABLES);
    let [first, second] = hosts.each_mut().map(|host| {
        let instance = host.0.instantiate(code.clone(), &[], &settings()).unwrap();
        func(&host.0, instance, 1)
    });
    assert_eq!(first, second, "positions alone do not tell stores apart");
    let typed: TypedFunc<(i32,), ()> = hosts[0].0.typed(first).unwrap();
    assert!(hosts[0].0.typed::<(i64,), ()>(first).is_err());
    assert!(hosts[0].0.typed::<(i32,), (i32,)>(first).is_err());
    assert!(hosts[0].0.typed::<(), ()>(first).is_err());
    let refused = crate::call_typed(&mut hosts[1], &typed, (1,));
    assert!(matches!(refused, Err(crate::CallError::Mismatch)));
    for params in [&[][..], &[Value::I64(1)], &[Value::I32(1), Value::I32(1)]] {
        let refused = crate::call(&mut hosts[0], first, params, &mut []);
        assert!(matches!(refused, Err(crate::CallError::Mismatch)));
    }
    struct Another(Store);
    impl Host for Another {
        fn kernel(&mut self) -> &mut Store {
            &mut self.0
        }
        fn builtin(&mut self, _: BuiltinCall) -> Result<u64, Failure> {
            Ok(0)
        }
    }
    let foreign = HostFunc::wrap::<Another, _, (), ()>(|_: Call<'_, Another>, ()| Ok(()));
    assert!(hosts[0].0.host_func(Arc::new(foreign), None).is_err());
}

/// Whatever the system refuses, a function fails whole, and works when it is called again.
#[test]
#[cfg_attr(miri, ignore = "what is refused to be unmapped leaks")]
fn refused_memory_leaves_nothing_behind() {
    let code = code(
        r#"(module (import "" "h" (func)) (memory 1 3) (memory 1) (table 2 funcref)
            (table 100 externref) (global i32 (i32.const 0)) (func (export "f")))"#,
    );
    let mut store = store();
    let host = HostFunc::wrap::<TestHost, _, (), ()>(|_: Call<'_, TestHost>, ()| Ok(()));
    let host = Extern::Func(store.host_func(Arc::new(host), None).unwrap());
    let before = store.parts();
    let mut instance = None;
    for allowed in 0.. {
        let make = || store.instantiate(code.clone(), &[host], &settings());
        match refuse(allowed, 1, make) {
            (Ok(id), 0) => {
                instance = Some(id);
                assert!(allowed > 4, "several requests were refused");
                break;
            }
            (Ok(_), _) => panic!("refusal {allowed} was passed over"),
            (Err(InstantiateError::Memory(_)), 1) => assert_eq!(store.parts(), before),
            (Err(error), _) => panic!("refusal {allowed}: {error:?}"),
        }
    }
    let instance = instance.expect("it was made at last");
    let id = memory(&store, instance);
    let seen = |store: &Store| storage(store.field(instance, store.layout(instance).memory(0)));
    store.memory_bytes_mut(id)[5] = 7;
    let place = seen(&store);
    for allowed in 0.. {
        let (grown, refused) = refuse(allowed, 1, || store.memory_grow(id, 1));
        assert_eq!(store.memory_bytes(id)[5], 7);
        match refused {
            // Giving the old range back is refused without a trace.
            _ if grown.is_ok() => {
                assert!(allowed > 0 && seen(&store).1 == 2 * PAGE as u64);
                break;
            }
            refused => assert_eq!((refused, seen(&store)), (1, place)),
        }
    }
    let elements = table(&store, instance, 0);
    let place = |store: &Store| storage(store.field(instance, store.layout(instance).table(0)));
    let before = place(&store);
    let (grown, refused) = refuse(0, 1, || store.table_grow(elements, 50, Value::Func(None)));
    assert_eq!((grown, refused, place(&store)), (None, 1, before));
    assert_eq!(store.table_grow(elements, 50, Value::Func(None)), Some(2));

    let parts = store.parts();
    let ty = *store.memory_type(id);
    for allowed in 0..3 {
        assert!(refuse(allowed, 1, || store.memory(ty, &settings())).0.is_err());
        assert_eq!(store.parts(), parts);
    }
    let ty = *store.table_type(elements);
    for allowed in 0..2 {
        assert!(refuse(allowed, 1, || store.table(ty, Value::Func(None))).0.is_err());
        assert_eq!(store.parts(), parts);
    }
}

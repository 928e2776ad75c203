//! Instantiation and builtins over memories and tables as they are, with functions that are never
//! entered: all of it passes under Miri.

#![forbid(unsafe_code)]

use std::sync::Arc;
use wardian_module::image::{CodeImage, FuncRange};
use wardian_module::{
    Builtin, ExternIndex, FuncIndex, MemoryIndex, Operation, Proposals, Settings, TableIndex, Trap,
    decode,
};
use wardian_runtime::{InstantiateError, Limiter, Store, Unlimited, builtin};
use wardian_vm::{
    BuiltinCall, Code, Extern, Failure, FuncId, Host, InstanceId, MemoryId, StoreLimits, TableId,
    Value,
};

struct TestHost(Store);

impl Host for TestHost {
    fn kernel(&mut self) -> &mut wardian_vm::Store {
        &mut self.0.kernel
    }

    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure> {
        builtin(&mut self.0, &mut Unlimited, call)
    }
}

fn code(text: &str) -> Arc<Code> {
    let (module, bodies) = decode(wat::parse_str(text).unwrap(), Proposals::default()).unwrap();
    let funcs =
        (0..bodies.len() as u32).map(|n| FuncRange { start: 16 * n, end: 16 * n + 1 }).collect();
    let image = CodeImage { text: vec![0xcc; 16 * bodies.len()], funcs, ..CodeImage::default() };
    Arc::new(Code::publish(Arc::new(module), image).unwrap())
}

impl TestHost {
    fn new() -> TestHost {
        let limits = StoreLimits { max_wasm_stack: 64 << 10, backtrace_frames: 4 };
        let settings = Settings {
            signals_based_traps: false,
            memory_reservation: 1 << 16,
            memory_guard_size: 0,
            ..Settings::default()
        };
        TestHost(Store::new::<TestHost>(Arc::new(settings), limits).unwrap())
    }

    fn make(&mut self, text: &str, imports: &[Extern]) -> Result<InstanceId, InstantiateError> {
        self.0.instantiate(&mut Unlimited, &code(text), imports).map(|(instance, _)| instance)
    }

    /// Asks for a builtin as generated code does.
    fn ask(
        &mut self,
        instance: InstanceId,
        builtin: Builtin,
        places: (u32, u32),
        args: [u64; 3],
        func: Option<FuncId>,
    ) -> Result<u64, Trap> {
        let operation = Operation { builtin, first: places.0, second: places.1 };
        let args = [args[0], args[1], args[2], 0];
        match self.builtin(BuiltinCall { instance, operation, args, func }) {
            Ok(value) => Ok(value),
            Err(Failure::Trap(report)) => Err(report.trap),
            Err(other) => panic!("expected a trap, found {other:?}"),
        }
    }

    fn memory(&self, instance: InstanceId, index: u32) -> MemoryId {
        match self.0.kernel.instance_extern(instance, ExternIndex::Memory(MemoryIndex(index))) {
            Some(Extern::Memory(id)) => id,
            other => panic!("expected a memory, found {other:?}"),
        }
    }

    fn table(&self, instance: InstanceId, index: u32) -> TableId {
        match self.0.kernel.instance_extern(instance, ExternIndex::Table(TableIndex(index))) {
            Some(Extern::Table(id)) => id,
            other => panic!("expected a table, found {other:?}"),
        }
    }

    fn bytes(&self, instance: InstanceId, index: u32) -> &[u8] {
        self.0.kernel.memory_bytes(self.memory(instance, index))
    }

    /// Indices of the functions in a table.
    fn elements(&self, instance: InstanceId, index: u32) -> Vec<Option<u32>> {
        let id = self.table(instance, index);
        (0..self.0.kernel.table_size(id))
            .map(|index| match self.0.kernel.table_get(id, index) {
                Some(Value::Func(func)) => func.map(|id| id.in_instance().unwrap().1.0),
                other => panic!("expected a function reference, found {other:?}"),
            })
            .collect()
    }
}

const PAGE: u64 = 1 << 16;
/// Starts and counts of which one or the sum lies outside of a page.
const OUTSIDE: [(u64, u64); 6] =
    [(PAGE, 1), (0, PAGE + 1), (PAGE + 1, 0), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)];

/// Code names a data segment, so the segments are counted: kernels keep them for such modules alone.
const MEMORIES: &str = r#"(module (memory 1 3) (memory 1)
    (data (i32.const 4) "abcd") (data "passive!") (data (i32.const 65535) "z")
    (func (data.drop 1)))"#;

#[test]
fn memories_are_filled_copied_and_initialized_inside_their_bounds_only() {
    let mut host = TestHost::new();
    let it = host.make(MEMORIES, &[]).unwrap();
    assert_eq!((&host.bytes(it, 0)[3..9], host.bytes(it, 0)[65535]), (&b"\0abcd\0"[..], b'z'));
    use Builtin::*;
    host.ask(it, MemoryFill, (1, 0), [10, 0x1ff, 3], None).unwrap();
    assert_eq!(host.bytes(it, 1)[9..14], [0, 0xff, 0xff, 0xff, 0]);
    // Overlapping, both ways; then between memories.
    host.ask(it, MemoryCopy, (0, 0), [5, 4, 4], None).unwrap();
    assert_eq!(host.bytes(it, 0)[4..9], *b"aabcd");
    host.ask(it, MemoryCopy, (0, 0), [4, 5, 4], None).unwrap();
    assert_eq!(host.bytes(it, 0)[4..9], *b"abcdd");
    host.ask(it, MemoryCopy, (1, 0), [65532, 4, 4], None).unwrap();
    assert_eq!(host.bytes(it, 1)[65532..], *b"abcd");
    host.ask(it, MemoryInit, (0, 1), [100, 1, 7], None).unwrap();
    assert_eq!(host.bytes(it, 0)[100..107], *b"assive!");

    let before = [host.bytes(it, 0).to_vec(), host.bytes(it, 1).to_vec()];
    for (start, count) in OUTSIDE {
        let out = Err(Trap::MemoryOutOfBounds);
        assert_eq!(host.ask(it, MemoryFill, (0, 0), [start, 1, count], None), out);
        for places in [(0, 0), (0, 1), (1, 0)] {
            assert_eq!(host.ask(it, MemoryCopy, places, [start, 0, count], None), out);
            assert_eq!(host.ask(it, MemoryCopy, places, [0, start, count], None), out);
        }
        assert_eq!(host.ask(it, MemoryInit, (0, 1), [start, 0, count], None), out);
        assert_eq!(host.ask(it, MemoryInit, (0, 1), [0, start, count], None), out);
    }
    assert_eq!(before, [host.bytes(it, 0).to_vec(), host.bytes(it, 1).to_vec()]);
    host.ask(it, MemoryFill, (0, 0), [PAGE, 1, 0], None).unwrap();

    host.ask(it, DataDrop, (1, 0), [0; 3], None).unwrap();
    for segment in [0, 1] {
        host.ask(it, MemoryInit, (0, segment), [0, 0, 0], None).unwrap();
        let dropped = host.ask(it, MemoryInit, (0, segment), [0, 0, 1], None);
        assert_eq!(dropped, Err(Trap::MemoryOutOfBounds), "segment {segment}");
    }
}

#[test]
fn memories_grow_to_their_limit() {
    let mut host = TestHost::new();
    let it = host.make(MEMORIES, &[]).unwrap();
    let mut grow = |delta| host.ask(it, Builtin::MemoryGrow, (0, 0), [delta, 0, 0], None);
    for (delta, result) in
        [(0, 1), (1, 1), (2, u64::MAX), (u64::MAX, u64::MAX), (1, 2), (1, u64::MAX), (0, 3)]
    {
        assert_eq!(grow(delta), Ok(result));
    }
    let bytes = host.bytes(it, 0);
    assert_eq!((bytes.len(), &bytes[4..8], bytes[65535]), (3 << 16, &b"abcd"[..], b'z'));
    assert!(bytes[65536..].iter().step_by(509).all(|byte| *byte == 0));
}

const TABLES: &str = r#"(module (table 8 12 funcref) (table 8 funcref) (table 2 externref)
    (func $a) (func $b) (func $c)
    (elem (i32.const 1) $a $b) (elem func $c $b $a) (elem declare func $c)
    (elem funcref (ref.null func) (ref.func $b)))"#;

#[test]
fn tables_are_filled_copied_and_initialized_inside_their_bounds_only() {
    let mut host = TestHost::new();
    let it = host.make(TABLES, &[]).unwrap();
    let (a, b, c) = (Some(0), Some(1), Some(2));
    let func = |host: &TestHost, index| host.0.kernel.instance_func(it, FuncIndex(index));
    use Builtin::*;
    assert_eq!(host.elements(it, 0), [None, a, b, None, None, None, None, None]);
    host.ask(it, TableCopy, (0, 0), [2, 1, 3], None).unwrap();
    assert_eq!(host.elements(it, 0)[..5], [None, a, a, b, None]);
    host.ask(it, TableInit, (1, 1), [5, 0, 3], None).unwrap();
    host.ask(it, TableInit, (1, 3), [0, 1, 1], None).unwrap();
    assert_eq!(host.elements(it, 1), [b, None, None, None, None, c, b, a]);
    host.ask(it, TableCopy, (0, 1), [6, 6, 2], None).unwrap();
    let third = func(&host, 2);
    host.ask(it, TableFillFunc, (0, 0), [0, 0, 2], third).unwrap();
    assert_eq!(host.elements(it, 0), [c, c, a, b, None, None, b, a]);

    let before = [host.elements(it, 0), host.elements(it, 1)];
    let outside = [(8, 1), (0, 9), (9, 0), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)];
    for (start, count) in outside {
        let out = Err(Trap::TableOutOfBounds);
        assert_eq!(host.ask(it, TableFillFunc, (0, 0), [start, 0, count], third), out);
        for places in [(0, 0), (0, 1), (1, 0)] {
            assert_eq!(host.ask(it, TableCopy, places, [start, 0, count], None), out);
            assert_eq!(host.ask(it, TableCopy, places, [0, start, count], None), out);
        }
        assert_eq!(host.ask(it, TableInit, (0, 1), [start, 0, count], None), out);
        assert_eq!(host.ask(it, TableInit, (0, 1), [0, start, count], None), out);
    }
    assert_eq!(before, [host.elements(it, 0), host.elements(it, 1)]);

    host.ask(it, ElemDrop, (1, 0), [0; 3], None).unwrap();
    for segment in 0..3 {
        let dropped = host.ask(it, TableInit, (0, segment), [0, 0, 1], None);
        assert_eq!(dropped, Err(Trap::TableOutOfBounds), "segment {segment}");
    }
    assert_eq!(host.ask(it, TableGrowFunc, (0, 0), [0, 4, 0], third), Ok(8));
    assert_eq!(host.ask(it, TableGrowFunc, (0, 0), [0, 1, 0], third), Ok(u64::MAX));
    assert_eq!(host.elements(it, 0)[7..], [a, c, c, c, c]);
    assert_eq!(host.ask(it, TableGrowRef, (2, 0), [5, 3, 0], None), Ok(2));
    assert_eq!(host.ask(it, TableGrowRef, (2, 0), [5, u64::MAX, 0], None), Ok(u64::MAX));
    host.ask(it, TableFillRef, (2, 0), [0, 9, 3], None).unwrap();
    let refs = host.table(it, 2);
    let seen: Vec<Value> =
        (0..5).map(|index| host.0.kernel.table_get(refs, index).unwrap()).collect();
    assert_eq!(seen, [9, 9, 9, 5, 5].map(Value::Ref));
}

/// A segment that does not fit traps; what the earlier ones wrote stays, in a table of another.
#[test]
fn a_failed_instantiation_keeps_what_it_wrote() {
    let mut host = TestHost::new();
    let first = host.make("(module (table (export \"t\") 4 funcref))", &[]).unwrap();
    let table = Extern::Table(host.table(first, 0));
    let text = r#"(module (import "" "t" (table 4 funcref)) (func $f)
        (elem (i32.const 1) $f) (elem (i32.const 4) $f))"#;
    match host.make(text, &[table]) {
        Err(InstantiateError::Failure(Failure::Trap(report))) => {
            assert_eq!(report.trap, Trap::TableOutOfBounds);
        }
        other => panic!("expected a trap, found {other:?}"),
    }
    assert_eq!(host.elements(first, 0), [None, Some(0), None, None]);
}

struct Mean;

impl Limiter for Mean {
    fn memory_growing(&mut self, _: usize, to: usize, _: Option<usize>) -> Result<bool, Failure> {
        Ok(to <= 1 << 16)
    }
    fn memory_grow_failed(&mut self, _: String) -> Result<(), Failure> {
        panic!("a growth that was refused is not one that failed")
    }
    fn table_growing(&mut self, _: usize, to: usize, _: Option<usize>) -> Result<bool, Failure> {
        if to > 9 { Err(Trap::OutOfFuel.into()) } else { Ok(to <= 8) }
    }
    fn table_grow_failed(&mut self, _: String) -> Result<(), Failure> {
        panic!("a growth that was refused is not one that failed")
    }
    fn instances(&self) -> usize {
        1
    }
    fn tables(&self) -> usize {
        3
    }
    fn memories(&self) -> usize {
        1
    }
}

#[test]
fn limits_are_asked_before_anything_is_made() {
    let mut store = TestHost::new().0;
    let texts = [MEMORIES, "(module (memory 2))", "(module (table 9 funcref))"];
    for text in texts {
        let made = store.instantiate(&mut Mean, &code(text), &[]);
        assert!(matches!(made, Err(InstantiateError::Limit(_))), "{text}: {made:?}");
    }
    let counts = store.kernel.counts();
    assert_eq!((counts.instances, counts.memories, counts.tables), (0, 0, 0));
    let (it, _) = store.instantiate(&mut Mean, &code(TABLES), &[]).unwrap();
    assert!(store.instantiate(&mut Mean, &code("(module)"), &[]).is_err(), "one instance");
    let grow = |delta| BuiltinCall {
        instance: it,
        operation: Operation { builtin: Builtin::TableGrowFunc, first: 0, second: 0 },
        args: [0, delta, 0, 0],
        func: None,
    };
    assert_eq!(builtin(&mut store, &mut Mean, grow(1)).unwrap(), u64::MAX);
    match builtin(&mut store, &mut Mean, grow(2)) {
        Err(Failure::Trap(report)) => assert_eq!(report.trap, Trap::OutOfFuel),
        other => panic!("expected the limiter's own end, found {other:?}"),
    }
}

#[test]
fn host_values_are_found_by_their_references_only() {
    let mut store = TestHost::new().0;
    let references: Vec<u32> =
        (0..3).map(|n: i32| store.add_host_value(&mut Unlimited, Box::new(n)).unwrap()).collect();
    assert!(references.iter().all(|reference| *reference != 0), "0 is null");
    for (n, reference) in references.iter().enumerate() {
        assert_eq!(store.host_value(*reference).unwrap().downcast_ref(), Some(&(n as i32)));
    }
    *store.host_value_mut(references[1]).unwrap().downcast_mut::<i32>().unwrap() = 50;
    assert_eq!(store.host_value(references[1]).unwrap().downcast_ref(), Some(&50));
    for reference in [0, 4, u32::MAX] {
        assert!(store.host_value(reference).is_none());
        assert!(store.host_value_mut(reference).is_none());
    }
}

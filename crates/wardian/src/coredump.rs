//! [`WasmCoreDump`]: what a store held when a guest trapped, in the format that debuggers of WebAssembly
//! read: a module with custom sections (tool-conventions, `Coredump.md`).
//!
//! A dump is made on every trap of an engine that wants them, so it holds handles; contents are read when
//! it is written. Values of locals and operands are not recovered, which the format allows.
//!
//! Invariant: writing a dump takes memory for its tables, of bounded size for each object of the store, and
//! none for what memories hold; that is read where it lies, twice: for the section's size, and to write it.

use crate::backtrace::{FrameInfo, WasmBacktrace};
use crate::error::Result;
use crate::externals::{Global, Memory};
use crate::instance::Instance;
use crate::module::Module;
use crate::store::{AsContext, StoreInner, WRONG_STORE};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use wardian_module::{ExternIndex, GlobalIndex, HeapTop, IndexType, MemoryIndex, ValType};
use wardian_vm::{self as vm, GlobalId, InstanceId, MemoryId, StoreId, Value};
use wasm_encoder::{self as encoder, ConstExpr, Encode as _, Section as _};

/// Most bytes of memories' contents that [`WasmCoreDump::serialize`] puts into its result.
const SERIALIZED_MAX: u64 = 1 << 30;
/// Most bytes of a section: its size is written as a `u32`.
const SECTION_MAX: u64 = u32::MAX as u64;
/// Smallest unit in which zeros of a memory are left out, and what is compared at once.
const PAGE: usize = 4 << 10;
/// Units in all memories together, so that there are fewer segments than readers take (100,000).
const UNITS_MAX: u64 = 50_000;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// What a store held when a guest trapped: where it was, and what memories and globals contain.
///
/// Errors carry one if [`Config::coredump_on_trap`](crate::Config::coredump_on_trap) is on. It names what is
/// in the store; contents are those of the moment when it is written, which nothing has changed if the host
/// did not.
///
/// ```
/// use wardian::{Config, Engine, Instance, Module, Store, WasmCoreDump};
///
/// let engine = Engine::new(Config::new().coredump_on_trap(true))?;
/// let module = Module::new(&engine, r#"(module
///     (memory 1) (data (i32.const 8) "state") (func (export "f") unreachable))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let error = f.call(&mut store, ()).unwrap_err();
/// let dump = error.downcast_ref::<WasmCoreDump>().expect("a trap has one");
/// assert_eq!((dump.frames().len(), dump.memories().len()), (1, 1));
/// assert!(dump.serialize(&mut store, "example").starts_with(b"\0asm"));
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct WasmCoreDump {
    store: StoreId,
    modules: Vec<Module>,
    instances: Vec<Instance>,
    memories: Vec<Memory>,
    globals: Vec<Global>,
    backtrace: WasmBacktrace,
}

impl WasmCoreDump {
    pub(crate) fn new<T>(store: &StoreInner<T>, backtrace: WasmBacktrace) -> WasmCoreDump {
        let (id, counts) = (store.id(), store.rt.kernel.counts());
        let all = |count: usize| 0..count as u32;
        let instances = all(counts.instances).map(InstanceId::from_index);
        let memories = all(counts.memories).map(MemoryId::from_index);
        let globals = all(counts.globals).map(GlobalId::from_index);
        WasmCoreDump {
            store: id,
            modules: store.modules().to_vec(),
            instances: instances.map(|instance| Instance::of_id(id, instance)).collect(),
            memories: memories.map(|memory| Memory { store: id, id: memory }).collect(),
            globals: globals.map(|global| Global { store: id, id: global }).collect(),
            backtrace,
        }
    }

    /// The guest frames, innermost first: as many as a backtrace has, also where backtraces are off.
    pub fn frames(&self) -> &[FrameInfo] {
        self.backtrace.frames()
    }

    /// The modules that have instances in the store.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// All instances of the store.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// All globals of the store.
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// All memories of the store.
    pub fn memories(&self) -> &[Memory] {
        &self.memories
    }

    /// The dump as the format has it, for a program called `name`. Of the memories' contents it takes at
    /// most 1 GiB, zeros not counted; [`write_to`](WasmCoreDump::write_to) takes more.
    ///
    /// A frame names the only instance of its module, or the last one if there are several.
    ///
    /// # Panics
    ///
    /// When it is a dump of another store.
    pub fn serialize(&self, store: impl AsContext, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(store.as_context().0, name, &mut bytes, SERIALIZED_MAX)
            .expect("a vector takes all that is written");
        bytes
    }

    /// Writes what [`serialize`](WasmCoreDump::serialize) returns, without holding it in memory. Gives the
    /// bytes of memories' contents that were left out because there is no room for more than 4 GiB in the
    /// format, zeros not counted: nearly always none.
    ///
    /// ```
    /// use wardian::{Store, WasmCoreDump};
    ///
    /// fn keep(dump: &WasmCoreDump, store: &mut Store<()>, file: &mut std::fs::File) -> wardian::Result<()> {
    ///     let left_out = dump.write_to(store, "example", file)?;
    ///     wardian::ensure!(left_out == 0, "{left_out} bytes of memories are missing");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `out`.
    ///
    /// # Panics
    ///
    /// When it is a dump of another store.
    pub fn write_to(&self, store: impl AsContext, name: &str, out: &mut dyn Write) -> Result<u64> {
        self.write(store.as_context().0, name, out, SECTION_MAX)
    }

    fn write<T>(
        &self,
        store: &StoreInner<T>,
        name: &str,
        mut out: &mut dyn Write,
        limit: u64,
    ) -> Result<u64> {
        assert!(self.store == store.id(), "{WRONG_STORE}");
        let kernel = &store.rt.kernel;
        let mut head = encoder::Module::new();
        head.section(&encoder::CoreDumpSection::new(name));
        head.section(&self.memory_section(kernel));
        head.section(&self.global_section(kernel));
        out.write_all(head.as_slice())?;
        // Those that others write meanwhile are copied first.
        let contents: Vec<Cow<'_, [u8]>> =
            self.memories.iter().map(|memory| content_of(kernel, memory.id)).collect();
        let data = Data::of(contents.iter().map(|content| &**content), limit);
        data.write(
            self.memories.iter().map(|m| kernel.memory_type(m.id).index == IndexType::I64),
            &mut out,
        )?;
        let mut tail = Vec::new();
        self.module_section().append_to(&mut tail);
        let (instances, instance_of) = self.instance_section(store);
        instances.append_to(&mut tail);
        let mut stack = encoder::CoreDumpStackSection::new("main");
        for frame in self.frames() {
            let offset = frame.func_offset().and_then(|offset| u32::try_from(offset).ok());
            // Those of an instance that was undone name none.
            let instance = instance_of.get(&frame.module().id()).copied().unwrap_or(u32::MAX);
            stack.frame(instance, frame.func_index(), offset.unwrap_or(0), [], []);
        }
        stack.append_to(&mut tail);
        out.write_all(&tail)?;
        Ok(data.left_out)
    }

    fn memory_section(&self, kernel: &vm::Store) -> encoder::MemorySection {
        let mut section = encoder::MemorySection::new();
        for memory in &self.memories {
            let ty = kernel.memory_type(memory.id);
            let custom_page = ty.page_size_log2 != 16;
            section.memory(encoder::MemoryType {
                minimum: kernel.memory_size(memory.id),
                maximum: ty.limits.max,
                memory64: ty.index == IndexType::I64,
                shared: ty.shared,
                page_size_log2: custom_page.then(|| u32::from(ty.page_size_log2)),
            });
        }
        section
    }

    /// References are null in it: there is nothing in a dump that they could refer to.
    fn global_section(&self, kernel: &vm::Store) -> encoder::GlobalSection {
        let mut section = encoder::GlobalSection::new();
        for global in &self.globals {
            let ty = kernel.global_type(global.id);
            let null = |reference: encoder::RefType| {
                (encoder::ValType::Ref(reference), ConstExpr::ref_null(reference.heap_type))
            };
            let (val_type, init) = match (ty.content, kernel.global_get(global.id)) {
                (ValType::Ref(reference), _) => null(match reference.heap.top() {
                    HeapTop::Func => encoder::RefType::FUNCREF,
                    HeapTop::Extern => encoder::RefType::EXTERNREF,
                    HeapTop::Any => encoder::RefType::ANYREF,
                    HeapTop::Exn => encoder::RefType::EXNREF,
                }),
                (_, Value::I32(value)) => (encoder::ValType::I32, ConstExpr::i32_const(value)),
                (_, Value::I64(value)) => (encoder::ValType::I64, ConstExpr::i64_const(value)),
                (_, Value::F32(bits)) => {
                    (encoder::ValType::F32, ConstExpr::f32_const(encoder::Ieee32::new(bits)))
                }
                (_, Value::F64(bits)) => {
                    (encoder::ValType::F64, ConstExpr::f64_const(encoder::Ieee64::new(bits)))
                }
                (_, Value::V128(bits)) => {
                    (encoder::ValType::V128, ConstExpr::v128_const(bits as i128))
                }
                (_, Value::Func(_) | Value::Ref(_)) => unreachable!("a global holds its type"),
            };
            section.global(
                encoder::GlobalType { val_type, mutable: ty.mutable, shared: false },
                &init,
            );
        }
        section
    }

    fn module_section(&self) -> encoder::CoreDumpModulesSection {
        let mut section = encoder::CoreDumpModulesSection::new();
        for (position, module) in self.modules.iter().enumerate() {
            match module.name() {
                Some(name) => section.module(name),
                None => section.module(format!("<anonymous-module-{position}>")),
            };
        }
        section
    }

    /// The instances, and by the id of its module the position of the last one.
    fn instance_section<T>(
        &self,
        store: &StoreInner<T>,
    ) -> (encoder::CoreDumpInstancesSection, HashMap<u64, u32>) {
        let kernel = &store.rt.kernel;
        let mut section = encoder::CoreDumpInstancesSection::new();
        let positions =
            self.modules.iter().zip(0..).map(|(module, position)| (module.id(), position));
        let module_at: HashMap<u64, u32> = positions.collect();
        let mut last = HashMap::new();
        for instance in &self.instances {
            let id = instance.id();
            let of = kernel.instance_code(id).module();
            let memories = (0..of.memories.len()).map(|index| {
                match kernel.instance_extern(id, ExternIndex::Memory(MemoryIndex::from(index))) {
                    Some(vm::Extern::Memory(memory)) => memory.index() as u32,
                    _ => unreachable!("an instance has its module's memories"),
                }
            });
            let globals = (0..of.globals.len()).map(|index| {
                match kernel.instance_extern(id, ExternIndex::Global(GlobalIndex::from(index))) {
                    Some(vm::Extern::Global(global)) => global.index() as u32,
                    _ => unreachable!("an instance has its module's globals"),
                }
            });
            let module = store.module_of(of).expect("a store keeps the modules of its instances");
            last.insert(module.id(), section.len());
            section.instance(module_at[&module.id()], memories, globals);
        }
        (section, last)
    }
}

fn content_of(kernel: &vm::Store, memory: MemoryId) -> Cow<'_, [u8]> {
    if kernel.shared_memory(memory).is_none() {
        return Cow::Borrowed(kernel.memory_bytes(memory));
    }
    let mut copy = vec![0; kernel.memory_length(memory)];
    kernel.memory_read(memory, 0, &mut copy).expect("memories do not shrink");
    Cow::Owned(copy)
}

/// What memories hold, as segments of a data section.
struct Data<'a> {
    segments: Vec<Segment<'a>>,
    /// Bytes of contents that are in none of them.
    left_out: u64,
}

struct Segment<'a> {
    memory: u32,
    offset: u64,
    bytes: &'a [u8],
}

/// Most bytes before a segment's contents: kind, memory, offset (at most ten bytes), `end`, length.
const SEGMENT_HEAD_MAX: u64 = 1 + 5 + 1 + 10 + 1 + 5;

impl<'a> Data<'a> {
    /// Segments of at most `limit` bytes together, and of what a section can hold.
    fn of(memories: impl Iterator<Item = &'a [u8]> + Clone, limit: u64) -> Data<'a> {
        let total: u64 = memories.clone().map(|bytes| bytes.len() as u64).sum();
        let unit = total.div_ceil(UNITS_MAX).next_power_of_two().max(PAGE as u64) as usize;
        let mut data = Data { segments: Vec::new(), left_out: 0 };
        let limit = limit.min(SECTION_MAX) - 5;
        let mut size = 0;
        for (memory, bytes) in (0..).zip(memories) {
            for (position, chunk) in bytes.chunks(unit).enumerate() {
                let (before, bytes) = without_zeros(chunk);
                if bytes.is_empty() {
                    continue;
                }
                let more = SEGMENT_HEAD_MAX + bytes.len() as u64;
                if size + more > limit {
                    data.left_out += bytes.len() as u64;
                    continue;
                }
                size += more;
                let offset = (position * unit + before) as u64;
                data.segments.push(Segment { memory, offset, bytes });
            }
        }
        data
    }

    /// Writes the section; `is_64` tells of each memory whether its addresses have 64 bits.
    fn write(&self, is_64: impl Iterator<Item = bool>, out: &mut dyn Write) -> Result<()> {
        let is_64: Vec<bool> = is_64.collect();
        let head = |segment: &Segment<'_>| {
            let mut head = Vec::new();
            match segment.memory {
                0 => 0u32.encode(&mut head),
                memory => {
                    2u32.encode(&mut head);
                    memory.encode(&mut head);
                }
            }
            match is_64[segment.memory as usize] {
                true => ConstExpr::i64_const(segment.offset as i64).encode(&mut head),
                false => ConstExpr::i32_const(segment.offset as u32 as i32).encode(&mut head),
            }
            segment.bytes.len().encode(&mut head);
            head
        };
        let mut count = Vec::new();
        self.segments.len().encode(&mut count);
        let segments = self.segments.iter();
        let size: usize = segments.map(|segment| head(segment).len() + segment.bytes.len()).sum();
        let mut start = vec![encoder::SectionId::Data as u8];
        (count.len() + size).encode(&mut start);
        out.write_all(&start)?;
        out.write_all(&count)?;
        for segment in &self.segments {
            out.write_all(&head(segment))?;
            out.write_all(segment.bytes)?;
        }
        Ok(())
    }
}

/// What is left of `bytes` without the zeros at both ends, and how many there are before it.
fn without_zeros(bytes: &[u8]) -> (usize, &[u8]) {
    let is_zero = |page: &&[u8]| **page == ZEROS[..page.len()];
    // By pages first: comparing is much faster than looking for one that differs.
    let before = bytes.chunks(PAGE).take_while(is_zero).count() * PAGE;
    let rest = bytes.get(before..).unwrap_or_default();
    let pages = rest.len().div_ceil(PAGE) - rest.chunks(PAGE).rev().take_while(is_zero).count();
    let rest = &rest[..rest.len().min(pages * PAGE)];
    let Some(first) = rest.iter().position(|byte| *byte != 0) else { return (before, &[]) };
    let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (before + first, &rest[first..end])
}

/// In one line: the backtrace stands in a layer of the error of its own.
impl fmt::Display for WasmCoreDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: usize, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        };
        write!(
            f,
            "wasm core dump: {}, {}, {}, {}, {}",
            count(self.modules.len(), "module", "modules"),
            count(self.instances.len(), "instance", "instances"),
            count(self.memories.len(), "memory", "memories"),
            count(self.globals.len(), "global", "globals"),
            count(self.frames().len(), "frame", "frames"),
        )
    }
}

impl fmt::Debug for WasmCoreDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<wasm core dump>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_both_ends_are_left_out() {
        let check = |size: usize, set: &[usize], expected: (usize, usize)| {
            let mut bytes = vec![0; size];
            set.iter().for_each(|at| bytes[*at] = 1);
            let (before, rest) = without_zeros(&bytes);
            assert_eq!((before, rest.len()), expected, "{size} {set:?}");
        };
        for size in [0, 1, PAGE - 1, PAGE, 3 * PAGE, 3 * PAGE + 5] {
            let mut bytes = vec![0; size];
            assert!(without_zeros(&bytes).1.is_empty());
            bytes.fill(1);
            assert_eq!(without_zeros(&bytes), (0, &bytes[..]));
        }
        check(PAGE, &[0], (0, 1));
        check(PAGE, &[PAGE - 1], (PAGE - 1, 1));
        check(3 * PAGE + 5, &[PAGE + 1, 2 * PAGE], (PAGE + 1, PAGE));
        check(3 * PAGE + 5, &[3 * PAGE + 4], (3 * PAGE + 4, 1));
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let memories = [vec![1; 3 * PAGE], vec![0; PAGE], vec![2; PAGE]];
        let of = |limit| Data::of(memories.iter().map(Vec::as_slice), limit);
        assert_eq!(of(u64::MAX).left_out, 0);
        let small = of(2 * (PAGE as u64 + SEGMENT_HEAD_MAX) + 5);
        assert_eq!((small.segments.len(), small.left_out), (2, 2 * PAGE as u64));
        let mut bytes = Vec::new();
        small.write([false, true, false].into_iter(), &mut bytes).unwrap();
        assert!(bytes.len() as u64 <= 2 * (PAGE as u64 + SEGMENT_HEAD_MAX) + 10);
    }

    #[test]
    fn there_are_never_more_segments_than_readers_take() {
        // Every page of it holds something.
        let mut bytes = vec![0; (UNITS_MAX as usize + 2) * PAGE];
        bytes.chunks_mut(PAGE).for_each(|page| page[7] = 1);
        let data = Data::of([&bytes[..]].into_iter(), u64::MAX);
        assert!(data.segments.len() as u64 <= UNITS_MAX, "{}", data.segments.len());
        assert_eq!(data.left_out, 0);
    }
}

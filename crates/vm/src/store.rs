//! The kernel's part of a store: instances, memories, tables, globals and host functions, and every
//! way to look at or change them from the host.
//!
//! Invariants:
//! - Nothing is removed before the store is dropped ([store lifetime]), except what a function made
//!   before it failed, and nobody else has seen; ids are positions.
//! - After every public function, the [`Storage`] that generated code reads equals base and length of
//!   the memory or table it describes, and the context's guards are those of the memories. That of a
//!   shared memory lies outside (see `shared`), and grows at any time.
//! - A function reference in a table, global or VM context points at a [`FuncRef`] in a block of this
//!   store whose type matches the place's type; values are checked on their way in.
//! - Imports were checked against the types that the importing module declares.

use crate::block::Block;
use crate::code::Code;
use crate::context::{Context, Exit, Frame};
use crate::heap::{Region, Roots};
use crate::host::{HostFunc, HostRecord};
use crate::mapping::{InitialMemory, Mapping, Reservations};
use crate::shared::SharedMemory;
use crate::tiered::Tiered;
use crate::{sys, unwind};
use std::any::TypeId as RustTypeId;
use std::collections::HashMap;
use std::mem::{offset_of, size_of};
use std::num::NonZeroU64;
use std::ops::Range;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wardian_module::layout::{
    FuncRef, GLOBAL_SIZE, LIVE_SLOT, Owner, PAYLOAD_SLOT, Repr, Storage, VmLayout,
    table_element_size,
};
use wardian_module::*;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// Its position among the store's.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The id of a position. One that does not exist panics when it is used.
            pub const fn from_index(index: u32) -> $name {
                $name(index)
            }
        }
    )*};
}

ids! {
    /// An instance of a store.
    InstanceId;
    /// A memory of a store.
    MemoryId;
    /// A table of a store.
    TableId;
    /// A global of a store.
    GlobalId;
    /// A tag of a store.
    TagId;
}

/// A function of a store: an instance's or the host's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FuncId {
    /// The instance, or `HOST_BIT` and a host function's position.
    owner: u32,
    /// The function's index in its instance.
    index: u32,
}

const HOST_BIT: u32 = 1 << 31;

impl FuncId {
    /// As one number.
    pub const fn to_bits(self) -> u64 {
        (self.owner as u64) << 32 | self.index as u64
    }

    /// From one number. One that does not exist panics or is refused when it is used.
    pub const fn from_bits(bits: u64) -> FuncId {
        FuncId { owner: (bits >> 32) as u32, index: bits as u32 }
    }

    /// Instance and function index, unless it is the host's.
    pub const fn in_instance(self) -> Option<(InstanceId, FuncIndex)> {
        if self.owner & HOST_BIT == 0 {
            Some((InstanceId(self.owner), FuncIndex(self.index)))
        } else {
            None
        }
    }
}

/// Elements that a table may have, whatever its type says: an implementation limit (spec, appendix
/// "Implementation Limitations"), the same as the JavaScript embedding's.
pub const MAX_TABLE_ELEMENTS: u64 = 10_000_000;

/// Process-wide number of a store, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StoreId(NonZeroU64);

impl StoreId {
    fn next() -> StoreId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NonZeroU64::new(NEXT.fetch_add(1, Relaxed));
        StoreId(number.expect("nobody makes so many stores"))
    }

    /// As a number, not zero.
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

/// A value on its way between host and guest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// Bits of a vector.
    V128(u128),
    /// A reference of the function hierarchy.
    Func(Option<FuncId>),
    /// A reference of another hierarchy; 0 is null.
    Ref(u32),
}

/// Something that an instance imports or exports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Extern {
    /// A function.
    Func(FuncId),
    /// A table.
    Table(TableId),
    /// A memory.
    Memory(MemoryId),
    /// A global.
    Global(GlobalId),
    /// A tag.
    Tag(TagId),
}

/// What an instance is given for an import.
#[derive(Clone, Debug)]
pub enum Import {
    /// Something of the store.
    Extern(Extern),
    /// A host function, which the store gets for this import alone.
    Host(Arc<HostFunc>),
}

/// An argument does not have the type or range it must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch;

/// Why an instance could not be made.
#[derive(Debug)]
pub enum InstantiateError {
    /// Import number `.0` has another type, or their number differs.
    Import(usize),
    /// A memory or table could not be allocated.
    Memory(std::io::Error),
}

impl From<std::io::Error> for InstantiateError {
    fn from(error: std::io::Error) -> Self {
        InstantiateError::Memory(error)
    }
}

/// Where something lies: a block and an offset in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) block: usize,
    pub(crate) offset: usize,
}

#[derive(Debug)]
struct Instance {
    code: Arc<Code>,
    block: usize,
    /// How many functions had final code when its function references were last looked at.
    renewed: usize,
    memories: Box<[MemoryId]>,
    tables: Box<[TableId]>,
    globals: Box<[GlobalId]>,
    tags: Box<[TagId]>,
}

#[derive(Debug)]
struct MemoryInst {
    ty: MemoryType,
    plan: MemoryPlan,
    bytes: MemoryBytes,
}

#[derive(Debug)]
enum MemoryBytes {
    /// Of this store alone.
    Own { mapping: Mapping, length: usize, place: Place },
    /// Shared with other stores; whether this one made it.
    Shared { memory: SharedMemory, made: bool },
}

impl MemoryInst {
    /// Where accesses past the end fault; empty if they are checked. Of a shared memory, which others
    /// grow, also addresses that no longer fault.
    fn guard(&self) -> Range<usize> {
        match &self.bytes {
            _ if !self.plan.guarded => 0..0,
            MemoryBytes::Own { mapping, .. } => mapping.inaccessible(),
            MemoryBytes::Shared { memory, .. } => memory.inaccessible(),
        }
    }

    fn length(&self) -> usize {
        match &self.bytes {
            MemoryBytes::Own { length, .. } => *length,
            MemoryBytes::Shared { memory, .. } => memory.length(),
        }
    }

    fn start(&self) -> *mut u8 {
        match &self.bytes {
            MemoryBytes::Own { mapping, .. } => mapping.start(),
            MemoryBytes::Shared { memory, .. } => memory.base(),
        }
    }

    fn reserved(&self) -> usize {
        match &self.bytes {
            MemoryBytes::Own { mapping, .. } => mapping.size(),
            MemoryBytes::Shared { memory, .. } => memory.reserved(),
        }
    }

    fn slice(&self) -> &[u8] {
        match &self.bytes {
            MemoryBytes::Own { mapping, length, .. } => mapping.bytes(*length),
            MemoryBytes::Shared { .. } => panic!("{NOT_BORROWED}"),
        }
    }

    fn slice_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            MemoryBytes::Own { mapping, length, .. } => mapping.bytes_mut(*length),
            MemoryBytes::Shared { .. } => panic!("{NOT_BORROWED}"),
        }
    }
}

const NOT_BORROWED: &str = "bytes of a shared memory are copied, never borrowed";

/// A part of a slice, if it lies inside.
fn inside(length: usize, start: u64, count: u64) -> Result<Range<usize>, Mismatch> {
    let end = start.checked_add(count).filter(|end| *end <= length as u64).ok_or(Mismatch)?;
    Ok(start as usize..end as usize)
}

#[derive(Debug)]
pub(crate) struct TableInst {
    pub(crate) ty: TableType,
    pub(crate) elements: Block,
    pub(crate) length: u64,
    place: Place,
}

impl TableInst {
    /// Writes `element`, whose kind is the table's, at each position of `range`, which lies inside.
    fn write(&mut self, range: Range<usize>, element: Element) {
        for index in range {
            match element {
                Element::Func(func) => self.elements.write(index * 8, func),
                Element::Ref(reference) => self.elements.write(index * 4, reference),
            }
        }
    }
}

/// A reference as it lies in memory.
#[derive(Clone, Copy, Debug)]
enum Element {
    Func(*const FuncRef),
    Ref(u32),
}

#[derive(Debug)]
pub(crate) struct GlobalInst {
    pub(crate) ty: GlobalType,
    pub(crate) place: Place,
}

#[derive(Debug)]
struct HostInst {
    func: Arc<HostFunc>,
    /// Of its `FuncRef`: in the VM context of the instance that imports it, or in a block of its own.
    place: Place,
}

/// The kernel's part of a store. See the head of this file.
#[derive(Debug)]
pub struct Store {
    id: StoreId,
    /// From `Box::into_raw`.
    context: NonNull<Context>,
    /// Type of the host that this store runs with.
    host_type: RustTypeId,
    max_wasm_stack: usize,
    backtrace_limit: usize,
    blocks: Vec<Block>,
    instances: Vec<Instance>,
    memories: Vec<MemoryInst>,
    tables: Vec<TableInst>,
    globals: Vec<GlobalInst>,
    /// Types of tags.
    tags: Vec<RegisteredType>,
    hosts: Vec<HostInst>,
    pending: Option<Exit>,
    /// What `live_state` of the context points at.
    live_state: Option<Block>,
    /// What `payload` of the context points at.
    payload: Option<Block>,
    /// Where large mappings of memories come from and go to.
    reservations: Arc<Reservations>,
    /// What `epoch` of the context points at.
    epoch: Arc<AtomicU64>,
    /// What `gc_base` of the context points at, once there is one.
    heap: Option<Region>,
    numbers: FuncNumbers,
}

/// Functions that objects of the heap refer to, by number. The first is none.
#[derive(Debug, Default)]
struct FuncNumbers {
    funcs: Vec<FuncId>,
    numbers: HashMap<FuncId, u32>,
    /// Their references: what `func_ids_base` of the context points at.
    references: Option<Block>,
}

// SAFETY: [store lifetime] everything it points at belongs to it alone; host functions are `Send` and
// `Sync`; a pending exit's payloads are `Send`.
unsafe impl Send for Store {}
// SAFETY: [guest memory aliasing] `&Store` only reads, and guest code, which writes, needs it mutably.
unsafe impl Sync for Store {}

/// Limits of a store that the kernel enforces.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Bytes of stack that guest code may use below the outermost entry.
    pub max_wasm_stack: usize,
    /// Guest frames kept in a backtrace.
    pub backtrace_frames: usize,
}

/// Numbers of objects in a store.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Instances.
    pub instances: usize,
    /// Memories.
    pub memories: usize,
    /// Tables.
    pub tables: usize,
    /// Globals.
    pub globals: usize,
}

fn out_of_memory() -> std::io::Error {
    std::io::ErrorKind::OutOfMemory.into()
}

impl Store {
    /// An empty store that runs with hosts of type `H`, and whose epoch stands still.
    pub fn new<H: crate::Host>(limits: StoreLimits) -> std::io::Result<Store> {
        Store::with_epoch::<H>(limits, Arc::default())
    }

    /// An empty store that runs with hosts of type `H`, whose code compares this epoch with the store's
    /// deadline.
    pub fn with_epoch<H: crate::Host>(
        limits: StoreLimits,
        epoch: Arc<AtomicU64>,
    ) -> std::io::Result<Store> {
        if sys::SUPPORTED.is_ok() {
            unwind::install()?;
        }
        let context = NonNull::new(Box::into_raw(Box::new(Context::new(Arc::as_ptr(&epoch)))));
        Ok(Store {
            id: StoreId::next(),
            context: context.expect("a box is not null"),
            host_type: RustTypeId::of::<H>(),
            max_wasm_stack: limits.max_wasm_stack,
            backtrace_limit: limits.backtrace_frames,
            blocks: Vec::new(),
            instances: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            tags: Vec::new(),
            hosts: Vec::new(),
            pending: None,
            live_state: None,
            payload: None,
            reservations: Arc::default(),
            epoch,
            heap: None,
            numbers: FuncNumbers::default(),
        })
    }

    /// Shares the reservations of memories with other stores, from here on.
    pub fn share_reservations(&mut self, reservations: Arc<Reservations>) {
        self.reservations = reservations;
    }

    /// Bytes of all memories, and of the elements of all tables. A shared memory counts in the store that
    /// made it.
    pub fn bytes(&self) -> u64 {
        let counted =
            |memory: &&MemoryInst| !matches!(memory.bytes, MemoryBytes::Shared { made: false, .. });
        let memories = self.memories.iter().filter(counted).map(|memory| memory.length() as u64);
        let tables = self
            .tables
            .iter()
            .map(|table| table.length * u64::from(table_element_size(table.ty.element.heap.top())));
        memories.chain(tables).sum()
    }

    /// Guest code of this store pays: all of it is compiled so. Panics if the store has a function already.
    pub fn make_guests_pay(&mut self) {
        self.set_pays(1);
    }

    /// Guest code of this store counts what it does between two looks at its epoch: all of it is compiled so. Panics
    /// if the store has a function already.
    pub fn make_guests_count(&mut self) {
        self.set_pays(Context::COUNTS);
    }

    /// Shims of functions are chosen by it.
    fn set_pays(&mut self, pays: u32) {
        assert!(self.hosts.is_empty(), "how guest code pays is said before there are functions");
        self.context().pays.set(pays);
    }

    /// Fuel left, of a store whose guests pay.
    pub fn fuel(&self) -> u64 {
        !self.context().shared.spent.get()
    }

    /// Sets the fuel that is left.
    pub fn set_fuel(&self, fuel: u64) {
        self.context().shared.spent.set(!fuel);
    }

    /// Lets code call `Builtin::EpochReached` once the epoch has grown by so much from now on.
    pub fn set_epoch_deadline(&self, ticks: u64) {
        let now = self.epoch.load(Relaxed);
        self.context().shared.epoch_deadline.set(now.saturating_add(ticks));
    }

    /// Whether the epoch has grown so far: what code asks before it calls `Builtin::EpochReached`.
    pub fn is_epoch_reached(&self) -> bool {
        self.context().is_epoch_reached()
    }

    /// Its number.
    #[inline]
    pub fn id(&self) -> StoreId {
        self.id
    }

    #[inline]
    pub(crate) fn context_ptr(&self) -> *const Context {
        self.context.as_ptr()
    }

    #[inline]
    pub(crate) fn context(&self) -> &Context {
        // SAFETY: [context pointer] the box lives as long as the store; its fields are cells.
        unsafe { self.context.as_ref() }
    }

    #[inline]
    pub(crate) fn host_type(&self) -> RustTypeId {
        self.host_type
    }

    #[inline]
    pub(crate) fn max_wasm_stack(&self) -> usize {
        self.max_wasm_stack
    }

    pub(crate) fn backtrace_limit(&self) -> usize {
        self.backtrace_limit
    }

    pub(crate) fn set_pending(&mut self, exit: Exit) {
        self.pending = Some(exit);
    }

    pub(crate) fn take_pending(&mut self) -> Option<Exit> {
        self.pending.take()
    }

    // ---- heap ----

    /// Makes the store's heap region, unless there is one: `most` bytes, or less if the system has no more.
    pub fn make_heap(&mut self, most: u64) -> std::io::Result<()> {
        if self.heap.is_none() {
            let region = Region::reserve(most)?;
            self.context().shared.gc_base.set(region.base());
            self.heap = Some(region);
            if self.numbers.references.is_none() {
                // Number 0 is null from the start: code compares with the length first.
                let block = Block::new(16).ok_or(std::io::ErrorKind::OutOfMemory)?;
                self.context().shared.func_ids_base.set(block.address(0).cast_const().cast());
                self.context().shared.func_ids_length.set(1);
                self.numbers.references = Some(block);
            }
        }
        Ok(())
    }

    /// Bytes of the heap behind its null page; none if there is no heap.
    pub fn heap_bytes(&self) -> &[u8] {
        self.heap.as_ref().map_or(&[], Region::bytes)
    }

    /// Bytes of the heap behind its null page; none if there is no heap.
    pub fn heap_bytes_mut(&mut self) -> &mut [u8] {
        self.heap.as_mut().map_or(&mut [], Region::bytes_mut)
    }

    /// Bytes of the heap behind its null page, and the references into it that lie elsewhere.
    pub fn heap_and_roots(&mut self) -> (&mut [u8], Roots<'_>) {
        // SAFETY: [context pointer] the box lives as long as the store; its fields are cells.
        let context = unsafe { self.context.as_ref() };
        let (blocks, tables) = (&mut self.blocks, &mut self.tables);
        let heap = self.heap.as_mut().map_or(&mut [][..], Region::bytes_mut);
        (heap, Roots { context, blocks, globals: &self.globals, tables })
    }

    /// Gives pages of the heap to the system; they hold zeros afterwards, or what they held. Panics unless
    /// these are whole pages of the heap.
    pub fn release_heap(&mut self, offset: u32, bytes: u32) {
        if let Some(region) = &mut self.heap {
            region.release(offset, bytes);
        }
    }

    /// Offset of the next object that generated code makes.
    pub fn heap_next(&self) -> u64 {
        self.context().shared.gc_next.get()
    }

    /// Lets generated code make objects between two offsets.
    pub fn set_heap_window(&mut self, next: u32, limit: u32) {
        let shared = &self.context().shared;
        shared.gc_next.set(next.into());
        shared.gc_limit.set(limit.into());
    }

    /// Tells an instance the first 8 bytes of new objects of a type of its module.
    pub fn set_object_header(&mut self, id: InstanceId, ty: TypeIndex, header: u64) {
        let (block, offset) = self.place_of_header(id, ty);
        self.blocks[block].write(offset, header);
    }

    /// What an instance was told by that; 0 before.
    pub fn object_header(&self, id: InstanceId, ty: TypeIndex) -> u64 {
        let (block, offset) = self.place_of_header(id, ty);
        self.blocks[block].read(offset)
    }

    fn place_of_header(&self, id: InstanceId, ty: TypeIndex) -> (usize, usize) {
        let instance = &self.instances[id.index()];
        let offset = instance.code.layout().object_header(ty);
        let types = instance.code.module().types.len();
        assert!(instance.code.module().uses_heap && ty.index() < types, "a type with a header");
        (instance.block, offset as usize)
    }

    /// `data.drop`
    pub fn drop_data(&mut self, id: InstanceId, index: DataIndex) {
        if let Some((block, offset)) = self.place_of_data_length(id, index) {
            self.blocks[block].write(offset, 0_u64);
        }
    }

    /// The bytes of a data segment that code can name; none if it was dropped.
    pub fn data_bytes<'a>(&self, id: InstanceId, index: DataIndex, module: &'a Module) -> &'a [u8] {
        let place = self.place_of_data_length(id, index);
        match place.map(|(block, offset)| self.blocks[block].read::<u64>(offset)) {
            Some(length) if length > 0 => module.data_bytes(index),
            _ => &[],
        }
    }

    fn place_of_data_length(&self, id: InstanceId, index: DataIndex) -> Option<(usize, usize)> {
        let instance = &self.instances[id.index()];
        let module = instance.code.module();
        let there = module.counts_data && index.index() < module.data.len();
        let offset = instance.code.layout().data(index) as usize;
        there.then_some((instance.block, offset + offset_of!(Storage, length)))
    }

    /// The number by which objects refer to a function. Not 0.
    pub fn func_number(&mut self, func: FuncId) -> Result<u32, Mismatch> {
        if let Some(number) = self.numbers.numbers.get(&func) {
            return Ok(*number);
        }
        let reference = self.func_ref(func)?;
        let number = u32::try_from(self.numbers.funcs.len() + 1).map_err(|_| Mismatch)?;
        let end = (number as usize + 1) * 8;
        if self.numbers.references.as_ref().is_none_or(|block| block.size() < end) {
            let mut grown = Block::new(2 * end).ok_or(Mismatch)?;
            if let Some(old) = &self.numbers.references {
                grown.copy_from(old, 0, 0, 8 * number as usize);
            }
            self.context().shared.func_ids_base.set(grown.address(0).cast_const().cast());
            self.numbers.references = Some(grown);
        }
        let block = self.numbers.references.as_mut().expect("made above");
        block.write(8 * number as usize, reference);
        self.numbers.funcs.push(func);
        self.numbers.numbers.insert(func, number);
        self.context().shared.func_ids_length.set(u64::from(number) + 1);
        Ok(number)
    }

    /// The function of a number; `None` for that of null, and for one that no function has.
    pub fn func_of_number(&self, number: u32) -> Option<FuncId> {
        self.numbers.funcs.get((number as usize).checked_sub(1)?).copied()
    }

    /// Puts a frame before those of the failure that is pending.
    pub(crate) fn add_innermost(&mut self, frame: Frame) {
        if let Some(exit) = &mut self.pending {
            exit.innermost = Some(frame.clone());
            exit.frames.insert(0, frame);
            exit.frames.truncate(self.backtrace_limit);
        }
    }

    /// Makes room for the state of a frame that is being replaced; `false` if there is none.
    pub(crate) fn provide_live_state(&mut self, slots: u32) -> bool {
        let size = slots as usize * LIVE_SLOT as usize;
        if self.live_state.as_ref().is_none_or(|block| block.size() < size) {
            // No frame is between writing its state and reading it: this one has not begun to.
            self.live_state = Block::new(size.next_power_of_two());
            let address = self.live_state.as_ref().map_or(null_mut(), |block| block.address(0));
            self.context().shared.live_state.set(address);
        }
        self.live_state.is_some()
    }

    fn new_block(&mut self, size: usize) -> std::io::Result<usize> {
        self.blocks.push(Block::new(size).ok_or_else(out_of_memory)?);
        Ok(self.blocks.len() - 1)
    }

    /// Undoes what `make` added if it fails: nobody has seen it, and no code has run.
    fn whole<R, E>(&mut self, make: impl FnOnce(&mut Store) -> Result<R, E>) -> Result<R, E> {
        let [blocks, memories, tables, globals, tags, hosts] = [
            self.blocks.len(),
            self.memories.len(),
            self.tables.len(),
            self.globals.len(),
            self.tags.len(),
            self.hosts.len(),
        ];
        make(self).inspect_err(|_| {
            self.memories.truncate(memories);
            self.change_guards(|guards| guards.truncate(memories));
            self.tables.truncate(tables);
            self.globals.truncate(globals);
            self.tags.truncate(tags);
            self.hosts.truncate(hosts);
            self.blocks.truncate(blocks);
        })
    }

    fn change_guards(&mut self, change: impl FnOnce(&mut Vec<Range<usize>>)) {
        // SAFETY: [guards] the store is borrowed exclusively.
        unsafe { self.context().change_guards(change) }
    }

    #[inline]
    fn address(&self, place: Place) -> *mut u8 {
        self.blocks[place.block].address(place.offset)
    }

    fn write_storage(&mut self, place: Place, base: *mut u8, length: u64) {
        let block = &mut self.blocks[place.block];
        block.write(place.offset + offset_of!(Storage, base), base);
        block.write(place.offset + offset_of!(Storage, length), length);
    }

    fn write_owner(&mut self, block: usize, offset: usize, id: u32, kind: u32) {
        let context = self.context.as_ptr();
        let block = &mut self.blocks[block];
        block.write(offset + offset_of!(Owner, store), context);
        block.write(offset + offset_of!(Owner, id), id);
        block.write(offset + offset_of!(Owner, kind), kind);
    }

    fn write_func_ref(
        &mut self,
        place: Place,
        code: *const u8,
        owner: *mut u8,
        ty: TypeId,
        index: u32,
    ) {
        let Place { block, offset } = place;
        let block = &mut self.blocks[block];
        block.write(offset + offset_of!(FuncRef, code), code);
        block.write(offset + offset_of!(FuncRef, context), owner);
        block.write(offset + offset_of!(FuncRef, type_id), ty.as_u32());
        block.write(offset + offset_of!(FuncRef, index), index);
    }

    // ---- functions ----

    /// Adds a host function. Its `Caller` sees `instance`, if given. Refused when it was made for a
    /// store of another type.
    pub fn host_func(
        &mut self,
        func: Arc<HostFunc>,
        instance: Option<InstanceId>,
    ) -> Result<FuncId, InstantiateError> {
        if func.host_type() != self.host_type {
            return Err(InstantiateError::Import(0));
        }
        let record = size_of::<FuncRef>().next_multiple_of(16);
        let block = self.new_block(record + size_of::<HostRecord>())?;
        let place = Place { block, offset: 0 };
        Ok(self.host_func_at(func, instance, place, Place { block, offset: record })?)
    }

    /// Adds a host function whose `FuncRef` and record lie where given.
    fn host_func_at(
        &mut self,
        func: Arc<HostFunc>,
        instance: Option<InstanceId>,
        place: Place,
        record: Place,
    ) -> std::io::Result<FuncId> {
        let position = u32::try_from(self.hosts.len()).ok().filter(|n| n & HOST_BIT == 0);
        let position = position.ok_or_else(out_of_memory)?;
        self.write_owner(record.block, record.offset, position, Owner::HOST);
        func.write_record(&mut self.blocks[record.block], record.offset, instance);
        let context = self.address(record);
        let shim = func.shim(self.context().pays.get() != 0);
        self.write_func_ref(place, shim, context, func.ty().id(), 0);
        self.hosts.push(HostInst { func, place });
        Ok(FuncId { owner: HOST_BIT | position, index: 0 })
    }

    #[inline]
    pub(crate) fn func_place(&self, id: FuncId) -> Option<Place> {
        if id.owner & HOST_BIT != 0 {
            return self.hosts.get((id.owner & !HOST_BIT) as usize).map(|host| host.place);
        }
        let instance = self.instances.get(id.owner as usize)?;
        let position = (*instance.code.module().func_refs.get(id.index as usize)?)?;
        let offset = instance.code.layout().func_ref(position) as usize;
        Some(Place { block: instance.block, offset })
    }

    /// Address of a function's `FuncRef`.
    #[inline]
    pub(crate) fn func_ref(&self, id: FuncId) -> Result<*const FuncRef, Mismatch> {
        self.func_place(id).map(|place| self.func_ref_at(place)).ok_or(Mismatch)
    }

    /// As `func_ref`, of the function that lies at a place of this store.
    #[inline]
    pub(crate) fn func_ref_at(&self, place: Place) -> *const FuncRef {
        self.address(place).cast_const().cast()
    }

    /// Code address and context of the function that lies at a place of this store.
    #[inline]
    pub(crate) fn target_at(&self, place: Place) -> (*const u8, *mut Owner) {
        const {
            assert!(
                offset_of!(FuncRef, code) == 0
                    && offset_of!(FuncRef, context) == size_of::<usize>(),
                "they are read at once"
            );
        }
        let [code, context] = self.blocks[place.block].read::<[*mut u8; 2]>(place.offset);
        (code.cast_const(), context.cast())
    }

    /// The function that a reference points at.
    #[inline]
    pub(crate) fn func_of(&self, reference: *const FuncRef) -> Option<FuncId> {
        if reference.is_null() {
            return None;
        }
        // SAFETY: [compiled code] a reference that guest code passes or stores points at a `FuncRef` of
        // its store, whose context begins with an `Owner` ([store lifetime]).
        let (owner, index) = unsafe { (&*(*reference).context, (*reference).index) };
        let host = if owner.kind == Owner::HOST { HOST_BIT } else { 0 };
        Some(FuncId { owner: owner.id | host, index })
    }

    /// The type of a function; `None` if there is no such function.
    #[inline]
    pub fn func_type(&self, id: FuncId) -> Option<&RegisteredType> {
        if id.owner & HOST_BIT != 0 {
            return self.hosts.get((id.owner & !HOST_BIT) as usize).map(|host| host.func.ty());
        }
        let module = self.instances.get(id.owner as usize)?.code.module();
        module.funcs.get(id.index as usize).map(|ty| &module.types[ty.index()])
    }

    /// The type whose number a trap report holds.
    pub fn type_by_number(&self, number: u32) -> Option<RegisteredType> {
        RegisteredType::from_id(TypeId::from_u32(number)?)
    }

    // ---- values ----

    /// Bits of `value` as generated code holds them, if it is a value of type `ty`.
    #[inline]
    pub(crate) fn value_bits(&self, value: Value, ty: ValType) -> Result<u128, Mismatch> {
        match (value, ty) {
            (Value::I32(v), ValType::I32) => Ok(u128::from(v as u32)),
            (Value::I64(v), ValType::I64) => Ok(u128::from(v as u64)),
            (Value::F32(v), ValType::F32) => Ok(u128::from(v)),
            (Value::F64(v), ValType::F64) => Ok(u128::from(v)),
            (Value::V128(v), ValType::V128) => Ok(v),
            (value, ValType::Ref(ty)) => self.reference_bits(value, ty),
            _ => Err(Mismatch),
        }
    }

    fn reference_bits(&self, value: Value, ty: RefType) -> Result<u128, Mismatch> {
        Ok(match self.element(value, ty)? {
            Element::Func(func) => func.expose_provenance() as u128,
            Element::Ref(reference) => u128::from(reference),
        })
    }

    /// `value` as tables hold it, if it is a value of type `ty`.
    #[inline]
    fn element(&self, value: Value, ty: RefType) -> Result<Element, Mismatch> {
        let is_func = ty.heap.top() == HeapTop::Func;
        match value {
            Value::Func(None) if ty.nullable && is_func => Ok(Element::Func(std::ptr::null())),
            // Every function is a `func`, so that its own type need not be looked for.
            Value::Func(Some(id)) if ty.heap == HeapType::Func => {
                self.func_ref(id).map(Element::Func)
            }
            Value::Func(Some(id)) => {
                let own = HeapType::ConcreteFunc(self.func_type(id).ok_or(Mismatch)?.id());
                if own.matches(ty.heap) {
                    self.func_ref(id).map(Element::Func)
                } else {
                    Err(Mismatch)
                }
            }
            Value::Ref(0) if ty.nullable && !is_func => Ok(Element::Ref(0)),
            // What it refers to, and of which type that is, the collector knows: code checks casts, and
            // cannot leave the heap whatever it is given.
            Value::Ref(v) if v != 0 && !is_func && !ty.heap.is_bottom() => Ok(Element::Ref(v)),
            _ => Err(Mismatch),
        }
    }

    /// The value of type `ty` that generated code holds as `bits`.
    #[inline]
    pub(crate) fn value_of(&self, bits: u128, ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32(bits as i32),
            ValType::I64 => Value::I64(bits as i64),
            ValType::F32 => Value::F32(bits as u32),
            ValType::F64 => Value::F64(bits as u64),
            ValType::V128 => Value::V128(bits),
            ValType::Ref(ty) if ty.heap.top() == HeapTop::Func => {
                Value::Func(self.func_of(std::ptr::with_exposed_provenance(bits as usize)))
            }
            ValType::Ref(_) => Value::Ref(bits as u32),
        }
    }

    // ---- memories ----

    /// Adds a memory of the host. Its size is `ty.limits.min`.
    pub fn memory(&mut self, ty: MemoryType, settings: &Settings) -> std::io::Result<MemoryId> {
        self.whole(|store| {
            let block = store.new_block(size_of::<Storage>())?;
            store.memory_at(ty, settings, Place { block, offset: 0 }, None)
        })
    }

    fn memory_at(
        &mut self,
        ty: MemoryType,
        settings: &Settings,
        place: Place,
        image: Option<&Arc<InitialMemory>>,
    ) -> std::io::Result<MemoryId> {
        if ty.shared {
            let memory = SharedMemory::new(ty, settings, &self.reservations, None)?;
            self.blocks[place.block].write(place.offset, memory.storage());
            return self.add_shared(memory, true);
        }
        let plan = MemoryPlan::new(settings, &ty);
        let (length, size) = memory_extent(&plan, &ty)?;
        let before = plan.guard_before as usize;
        let mapping = Mapping::with_content(before, size, length, image, &self.reservations)?;
        self.write_storage(place, mapping.start(), length as u64);
        self.add_memory(MemoryInst { ty, plan, bytes: MemoryBytes::Own { mapping, length, place } })
    }

    fn add_memory(&mut self, memory: MemoryInst) -> std::io::Result<MemoryId> {
        let id = MemoryId(u32::try_from(self.memories.len()).map_err(|_| out_of_memory())?);
        let guard = memory.guard();
        self.change_guards(|guards| guards.push(guard));
        self.memories.push(memory);
        Ok(id)
    }

    fn add_shared(&mut self, memory: SharedMemory, made: bool) -> std::io::Result<MemoryId> {
        let (ty, plan) = (*memory.ty(), *memory.plan());
        self.add_memory(MemoryInst { ty, plan, bytes: MemoryBytes::Shared { memory, made } })
    }

    /// Makes a shared memory one of this store's; the same one again is the same again. Refused where
    /// code made under these settings would not check its accesses as it must.
    pub fn adopt_memory(
        &mut self,
        memory: &SharedMemory,
        settings: &Settings,
    ) -> Result<MemoryId, InstantiateError> {
        let same = |inst: &MemoryInst| match &inst.bytes {
            MemoryBytes::Shared { memory: own, .. } => SharedMemory::same(own, memory),
            MemoryBytes::Own { .. } => false,
        };
        if let Some(found) = self.memories.iter().position(same) {
            return Ok(MemoryId(found as u32));
        }
        if MemoryPlan::new(settings, memory.ty()) != *memory.plan() {
            return Err(InstantiateError::Import(0));
        }
        Ok(self.add_shared(memory.clone(), false)?)
    }

    /// The memory, if it is a shared one.
    #[inline]
    pub fn shared_memory(&self, id: MemoryId) -> Option<&SharedMemory> {
        match &self.memories[id.index()].bytes {
            MemoryBytes::Shared { memory, .. } => Some(memory),
            MemoryBytes::Own { .. } => None,
        }
    }

    /// Where imports of a memory point.
    fn memory_storage(&self, id: MemoryId) -> *mut u8 {
        match &self.memories[id.index()].bytes {
            MemoryBytes::Own { place, .. } => self.address(*place),
            MemoryBytes::Shared { memory, .. } => memory.storage(),
        }
    }

    /// Length of a memory in bytes. Of a shared one, it may have grown by the next call.
    pub fn memory_length(&self, id: MemoryId) -> usize {
        self.memories[id.index()].length()
    }

    /// Copies bytes of a memory out. Fails, changing nothing, if they do not all lie inside.
    pub fn memory_read(&self, id: MemoryId, start: u64, bytes: &mut [u8]) -> Result<(), Mismatch> {
        let memory = &self.memories[id.index()];
        if let MemoryBytes::Shared { memory, .. } = &memory.bytes {
            return memory.read(start, bytes);
        }
        let range = inside(memory.length(), start, bytes.len() as u64)?;
        bytes.copy_from_slice(&memory.slice()[range]);
        Ok(())
    }

    /// Copies bytes into a memory. Fails, changing nothing, if they do not all lie inside.
    pub fn memory_write(&mut self, id: MemoryId, start: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        let memory = &mut self.memories[id.index()];
        if let MemoryBytes::Shared { memory, .. } = &memory.bytes {
            return memory.write(start, bytes);
        }
        let range = inside(memory.length(), start, bytes.len() as u64)?;
        memory.slice_mut()[range].copy_from_slice(bytes);
        Ok(())
    }

    /// Fills bytes of a memory. Fails, changing nothing, if they do not all lie inside.
    pub fn memory_fill(
        &mut self,
        id: MemoryId,
        start: u64,
        byte: u8,
        count: u64,
    ) -> Result<(), Mismatch> {
        let memory = &mut self.memories[id.index()];
        if let MemoryBytes::Shared { memory, .. } = &memory.bytes {
            return memory.fill(start, byte, count);
        }
        let range = inside(memory.length(), start, count)?;
        memory.slice_mut()[range].fill(byte);
        Ok(())
    }

    /// Copies bytes between memories or within one, as if all were read before any is written. Fails,
    /// changing nothing, if they do not all lie inside.
    pub fn memory_copy(
        &mut self,
        target: MemoryId,
        target_start: u64,
        source: MemoryId,
        source_start: u64,
        count: u64,
    ) -> Result<(), Mismatch> {
        if target == source && self.shared_memory(target).is_none() {
            let bytes = self.memory_bytes_mut(target);
            let from = inside(bytes.len(), source_start, count)?;
            let to = inside(bytes.len(), target_start, count)?;
            bytes.copy_within(from, to.start);
            return Ok(());
        }
        match (self.shared_memory(target), self.shared_memory(source)) {
            (None, None) => {
                let (target, source) = self.two_memories(target, source);
                let from = inside(source.len(), source_start, count)?;
                let to = inside(target.len(), target_start, count)?;
                target[to].copy_from_slice(&source[from]);
                Ok(())
            }
            (Some(to), Some(from)) => {
                SharedMemory::copy(to, target_start, from, source_start, count)
            }
            (Some(to), None) => {
                let bytes = self.memory_bytes(source);
                to.write(target_start, &bytes[inside(bytes.len(), source_start, count)?])
            }
            (None, Some(from)) => {
                let from = from.clone();
                let bytes = self.memory_bytes_mut(target);
                let to = inside(bytes.len(), target_start, count)?;
                from.read(source_start, &mut bytes[to])
            }
        }
    }

    /// The type of a memory, as it was declared.
    #[inline]
    pub fn memory_type(&self, id: MemoryId) -> &MemoryType {
        &self.memories[id.index()].ty
    }

    /// Bytes of a memory. Panics if it is shared, as the two that follow.
    #[inline]
    pub fn memory_bytes(&self, id: MemoryId) -> &[u8] {
        self.memories[id.index()].slice()
    }

    /// Bytes of a memory.
    #[inline]
    pub fn memory_bytes_mut(&mut self, id: MemoryId) -> &mut [u8] {
        self.memories[id.index()].slice_mut()
    }

    /// Bytes of two different memories. Panics if they are the same.
    pub fn two_memories(&mut self, target: MemoryId, source: MemoryId) -> (&mut [u8], &[u8]) {
        let memories = self.memories.get_disjoint_mut([target.index(), source.index()]);
        let [target, source] = memories.expect("two different memories of this store");
        (target.slice_mut(), source.slice())
    }

    /// Size of a memory in pages.
    #[inline]
    pub fn memory_size(&self, id: MemoryId) -> u64 {
        let memory = &self.memories[id.index()];
        memory.length() as u64 >> memory.ty.page_size_log2
    }

    /// Address of a memory's first byte, for diagnosis.
    pub fn memory_base(&self, id: MemoryId) -> usize {
        self.memories[id.index()].start() as usize
    }

    /// Address of a memory's first byte, as generated code has it. It holds until the memory moves.
    pub fn memory_pointer(&self, id: MemoryId) -> *mut u8 {
        self.memories[id.index()].start()
    }

    /// The memory whose reservation or guard holds `address`.
    pub fn memory_at_address(&self, address: usize) -> Option<MemoryId> {
        let holds = |memory: &MemoryInst| {
            let start = memory.start() as usize;
            (start..start + memory.reserved()).contains(&address)
        };
        self.memories.iter().position(holds).map(|index| MemoryId(index as u32))
    }

    /// Grows a memory by `delta` pages and returns its size before, in pages. Fails past its limit or
    /// when memory runs out, leaving it as it was.
    pub fn memory_grow(&mut self, id: MemoryId, delta: u64) -> Result<u64, std::io::Error> {
        let old = self.memory_size(id);
        let memory = &mut self.memories[id.index()];
        let (mapping, own_length, place) = match &mut memory.bytes {
            MemoryBytes::Own { mapping, length, place } => (mapping, length, *place),
            MemoryBytes::Shared { memory, .. } => return memory.grow(delta),
        };
        let pages = old.checked_add(delta).ok_or_else(out_of_memory)?;
        let length = bytes_of(pages, &memory.ty)
            .filter(|length| *length as u128 <= memory.ty.maximum_bytes())
            .ok_or_else(out_of_memory)?;
        let room = mapping.size() - memory.plan.guard as usize;
        if length <= room {
            mapping.make_accessible(length)?;
        } else if memory.plan.may_move {
            // Room to grow again, so that growing page by page is not quadratic.
            let growth = memory.plan.growth.map_or(length / 2, |n| n.min(1 << 46) as usize);
            let goal = length.saturating_add(growth).checked_next_multiple_of(1 << 16);
            let goal = goal.ok_or_else(out_of_memory)?;
            let goal = goal.min(usize::try_from(memory.ty.maximum_bytes()).unwrap_or(usize::MAX));
            let plan = MemoryPlan { reservation: goal as u64, ..memory.plan };
            let size = mapped_bytes(&plan, &memory.ty, length)?;
            let (before, home) = (plan.guard_before as usize, &self.reservations);
            let mut moved = Mapping::with_content(before, size, length, None, home)?;
            moved.bytes_mut(*own_length).copy_from_slice(mapping.bytes(*own_length));
            *mapping = moved;
        } else {
            return Err(out_of_memory());
        }
        *own_length = length;
        let (base, guard) = (memory.start(), memory.guard());
        self.write_storage(place, base, length as u64);
        self.change_guards(|guards| guards[id.index()] = guard);
        Ok(old)
    }

    // ---- tables ----

    /// Adds a table of the host, filled with `init`.
    pub fn table(&mut self, ty: TableType, init: Value) -> Result<TableId, InstantiateError> {
        self.whole(|store| {
            let block = store.new_block(size_of::<Storage>())?;
            let id = store.table_at(ty, Place { block, offset: 0 })?;
            let length = store.table_size(id);
            store
                .table_fill(id, 0, init, length)
                .map_err(|Mismatch| InstantiateError::Import(0))?;
            Ok(id)
        })
    }

    fn table_at(&mut self, ty: TableType, place: Place) -> std::io::Result<TableId> {
        let length = ty.limits.min;
        let elements = usize::try_from(length)
            .ok()
            .filter(|_| length <= MAX_TABLE_ELEMENTS)
            .and_then(|n| n.checked_mul(table_element_size(ty.element.heap.top()) as usize))
            .and_then(Block::new)
            .ok_or_else(out_of_memory)?;
        let id = TableId(u32::try_from(self.tables.len()).map_err(|_| out_of_memory())?);
        self.write_storage(place, elements.address(0), length);
        self.tables.push(TableInst { ty, elements, length, place });
        Ok(id)
    }

    /// The type of a table, as it was declared.
    pub fn table_type(&self, id: TableId) -> &TableType {
        &self.tables[id.index()].ty
    }

    /// Number of elements of a table.
    pub fn table_size(&self, id: TableId) -> u64 {
        self.tables[id.index()].length
    }

    /// An element, if `index` lies inside.
    #[inline]
    pub fn table_get(&self, id: TableId, index: u64) -> Option<Value> {
        let table = &self.tables[id.index()];
        let index = usize::try_from(index).ok().filter(|_| index < table.length)?;
        Some(match table.ty.element.heap.top() {
            HeapTop::Func => Value::Func(self.func_of(table.elements.read(index * 8))),
            _ => Value::Ref(table.elements.read(index * 4)),
        })
    }

    /// Sets `count` elements from `index` on. Fails, changing nothing, when the range does not lie
    /// inside or the value does not have the table's type.
    #[inline]
    pub fn table_fill(
        &mut self,
        id: TableId,
        index: u64,
        value: Value,
        count: u64,
    ) -> Result<(), Mismatch> {
        let element = self.element(value, self.tables[id.index()].ty.element)?;
        let table = &mut self.tables[id.index()];
        let end = index.checked_add(count).filter(|end| *end <= table.length).ok_or(Mismatch)?;
        table.write(index as usize..end as usize, element);
        Ok(())
    }

    /// Grows a table by `delta` elements of `value` and returns its size before; `None` past its limit
    /// or without memory, leaving it as it was.
    pub fn table_grow(&mut self, id: TableId, delta: u64, value: Value) -> Option<u64> {
        let element = self.element(value, self.tables[id.index()].ty.element).ok()?;
        let table = &mut self.tables[id.index()];
        let old = table.length;
        let addressable = match table.ty.index {
            IndexType::I32 => u64::from(u32::MAX),
            IndexType::I64 => u64::MAX,
        };
        let addressable = addressable.min(MAX_TABLE_ELEMENTS);
        let limit = table.ty.limits.max.unwrap_or(addressable).min(addressable);
        let length = old.checked_add(delta).filter(|length| *length <= limit)?;
        let size = table_element_size(table.ty.element.heap.top()) as usize;
        let bytes = usize::try_from(length).ok()?.checked_mul(size)?;
        if bytes > table.elements.size() {
            // Twice the size, so that growing one by one is not quadratic.
            let goal = bytes.max(table.elements.size().saturating_mul(2));
            let goal = goal.min(usize::try_from(limit).ok()?.saturating_mul(size)).max(bytes);
            let mut elements = Block::new(goal)?;
            elements.copy_from(&table.elements, 0, 0, old as usize * size);
            table.elements = elements;
        }
        table.length = length;
        table.write(old as usize..length as usize, element);
        let (base, place) = (table.elements.address(0), table.place);
        self.write_storage(place, base, length);
        Some(old)
    }

    /// Copies `count` elements, as if all were read before any is written. Fails, changing nothing, when
    /// a range does not lie inside or the types do not match.
    pub fn table_copy(
        &mut self,
        target: TableId,
        target_index: u64,
        source: TableId,
        source_index: u64,
        count: u64,
    ) -> Result<(), Mismatch> {
        let inside = |id: TableId, index: u64| {
            index.checked_add(count).is_some_and(|end| end <= self.tables[id.index()].length)
        };
        let element = |id: TableId| self.tables[id.index()].ty.element;
        let fits = inside(target, target_index) && inside(source, source_index);
        if !fits || !element(source).matches(element(target)) {
            return Err(Mismatch);
        }
        let size = table_element_size(element(target).heap.top()) as usize;
        // Ranges lie inside tables, whose bytes fit usize.
        let [from, to, bytes] = [source_index, target_index, count].map(|n| n as usize * size);
        if target == source {
            self.tables[target.index()].elements.copy_within(from, to, bytes);
        } else {
            let tables = self.tables.get_disjoint_mut([target.index(), source.index()]);
            let [target, source] = tables.expect("two different tables of this store");
            target.elements.copy_from(&source.elements, from, to, bytes);
        }
        Ok(())
    }

    // ---- globals ----

    /// Adds a global of the host.
    pub fn global(&mut self, ty: GlobalType, value: Value) -> Result<GlobalId, InstantiateError> {
        self.whole(|store| {
            let block = store.new_block(GLOBAL_SIZE as usize)?;
            let id = store.global_at(ty, Place { block, offset: 0 })?;
            store.global_set(id, value).map_err(|Mismatch| InstantiateError::Import(0))?;
            Ok(id)
        })
    }

    fn global_at(&mut self, ty: GlobalType, place: Place) -> std::io::Result<GlobalId> {
        let id = GlobalId(u32::try_from(self.globals.len()).map_err(|_| out_of_memory())?);
        self.globals.push(GlobalInst { ty, place });
        Ok(id)
    }

    /// The type of a global.
    #[inline]
    pub fn global_type(&self, id: GlobalId) -> &GlobalType {
        &self.globals[id.index()].ty
    }

    /// The value of a global.
    #[inline]
    pub fn global_get(&self, id: GlobalId) -> Value {
        let GlobalInst { ty, place: Place { block, offset } } = &self.globals[id.index()];
        let block = &self.blocks[*block];
        match ty.content {
            ValType::I32 => Value::I32(block.read::<u32>(*offset) as i32),
            ValType::I64 => Value::I64(block.read::<u64>(*offset) as i64),
            ValType::F32 => Value::F32(block.read(*offset)),
            ValType::F64 => Value::F64(block.read(*offset)),
            ValType::V128 => Value::V128(block.read(*offset)),
            ValType::Ref(ty) if ty.heap.top() == HeapTop::Func => {
                Value::Func(self.func_of(block.read(*offset)))
            }
            ValType::Ref(_) => Value::Ref(block.read(*offset)),
        }
    }

    /// Sets a global, mutable or not (initialization sets immutable ones).
    #[inline]
    pub fn global_set(&mut self, id: GlobalId, value: Value) -> Result<(), Mismatch> {
        let GlobalInst { ty, place: Place { block, offset } } = self.globals[id.index()];
        let element = match ty.content {
            ValType::Ref(ty) => self.element(value, ty)?,
            ty => {
                let bits = self.value_bits(value, ty)?;
                self.blocks[block].write(offset, bits);
                return Ok(());
            }
        };
        match element {
            Element::Func(func) => self.blocks[block].write(offset, func),
            Element::Ref(reference) => self.blocks[block].write(offset, reference),
        }
        Ok(())
    }

    // ---- tags ----

    /// Adds a tag of this type.
    pub fn tag(&mut self, ty: RegisteredType) -> std::io::Result<TagId> {
        let id = TagId(u32::try_from(self.tags.len()).map_err(|_| out_of_memory())?);
        self.provide_payload(ty.func_type().params().len())?;
        self.tags.push(ty);
        Ok(id)
    }

    /// The type of a tag.
    pub fn tag_type(&self, id: TagId) -> &RegisteredType {
        &self.tags[id.index()]
    }

    /// Tag and values of the exception that was thrown last.
    pub fn thrown(&self) -> (TagId, Vec<Value>) {
        let tag = TagId(self.context().shared.thrown_tag.get());
        let params = self.tags[tag.index()].func_type().params();
        let value = |(index, ty): (usize, &ValType)| {
            let block = self.payload.as_ref().expect("there is room for the values of any tag");
            let at = index * PAYLOAD_SLOT as usize;
            let bits = match Repr::of(*ty).bytes() {
                4 => block.read::<u32>(at).into(),
                8 => block.read::<u64>(at).into(),
                _ => block.read::<u128>(at),
            };
            self.value_of(bits, *ty)
        };
        (tag, params.iter().enumerate().map(value).collect())
    }

    /// Makes an exception the one that was thrown last. The values are of the tag's type.
    pub fn set_thrown(&mut self, tag: TagId, values: &[Value]) {
        self.context().shared.thrown_tag.set(tag.0);
        for (index, value) in values.iter().enumerate() {
            let func = match value {
                Value::Func(Some(func)) => self.func_ref(*func).unwrap_or(std::ptr::null()),
                _ => std::ptr::null(),
            };
            let block = self.payload.as_mut().expect("there is room for the values of any tag");
            let at = index * PAYLOAD_SLOT as usize;
            match *value {
                Value::I32(v) => block.write(at, v as u32),
                Value::F32(v) | Value::Ref(v) => block.write(at, v),
                Value::I64(v) => block.write(at, v as u64),
                Value::F64(v) => block.write(at, v),
                Value::V128(v) => block.write(at, v),
                Value::Func(_) => block.write(at, func),
            }
        }
    }

    /// Makes room for the values of an exception. None is on its way: host code is running.
    fn provide_payload(&mut self, values: usize) -> std::io::Result<()> {
        let size = values * PAYLOAD_SLOT as usize;
        if self.payload.as_ref().map_or(0, Block::size) < size {
            let block = Block::new(size.next_power_of_two()).ok_or_else(out_of_memory)?;
            self.context().shared.payload.set(block.address(0));
            self.payload = Some(block);
        }
        Ok(())
    }

    // ---- instances ----

    /// Adds an instance of `code` with `imports`, in the module's order. Memories have their initial
    /// size and are zero; tables and globals are null or zero: whoever calls this initializes them
    /// before any code of the instance runs.
    pub fn instantiate(
        &mut self,
        code: Arc<Code>,
        imports: &[Extern],
        settings: &Settings,
    ) -> Result<InstanceId, InstantiateError> {
        let imports: Vec<_> = imports.iter().map(|import| Import::Extern(*import)).collect();
        self.instantiate_with(code, &imports, settings, &[])
    }

    /// As [`instantiate`](Store::instantiate); the memories that the module defines begin with these.
    pub fn instantiate_with(
        &mut self,
        code: Arc<Code>,
        imports: &[Import],
        settings: &Settings,
        images: &[Option<Arc<InitialMemory>>],
    ) -> Result<InstanceId, InstantiateError> {
        self.whole(|store| store.instantiate_parts(code, imports, settings, images))
    }

    fn instantiate_parts(
        &mut self,
        code: Arc<Code>,
        imports: &[Import],
        settings: &Settings,
        images: &[Option<Arc<InitialMemory>>],
    ) -> Result<InstanceId, InstantiateError> {
        let module = code.module().clone();
        let layout = code.layout().clone();
        if imports.len() != module.imports.len() {
            return Err(InstantiateError::Import(imports.len().min(module.imports.len())));
        }
        for (position, (import, found)) in module.imports.iter().zip(imports).enumerate() {
            if !self.import_matches(found, &module.extern_type(import.index)) {
                return Err(InstantiateError::Import(position));
            }
        }
        let id = InstanceId(
            u32::try_from(self.instances.len())
                .ok()
                .filter(|n| n & HOST_BIT == 0)
                .ok_or_else(out_of_memory)?,
        );
        let block = self.new_block(layout.size() as usize)?;
        self.write_owner(block, 0, id.0, Owner::INSTANCE);
        let mut memories = Vec::with_capacity(module.memories.len());
        let mut tables = Vec::with_capacity(module.tables.len());
        let mut globals = Vec::with_capacity(module.globals.len());
        let mut records = self.host_records(imports)?;
        let mut tags = Vec::new();
        let mut funcs = 0;
        for import in imports {
            let found = match import {
                Import::Extern(found) => *found,
                Import::Host(func) => {
                    let offset = layout.func_ref(funcs) as usize;
                    funcs += 1;
                    let record = records.next().expect("one for each host function");
                    self.host_func_at(func.clone(), Some(id), Place { block, offset }, record)?;
                    continue;
                }
            };
            match found {
                Extern::Func(func) => {
                    let target = Place { block, offset: layout.func_ref(funcs) as usize };
                    funcs += 1;
                    if let Some(host) = self.host_of(func) {
                        // It gets a record of its own here, so that its `Caller` is this instance.
                        let (host, record) = (host.clone(), records.next());
                        let record = record.expect("one for each host function");
                        self.host_func_at(host, Some(id), target, record)?;
                    } else {
                        let source = self.func_place(func).expect("checked above");
                        self.copy_func_ref(source, target);
                    }
                }
                Extern::Memory(memory) => {
                    let address = self.memory_storage(memory);
                    let offset = layout.imported_memory(memories.len()) as usize;
                    self.blocks[block].write(offset, address);
                    memories.push(memory);
                }
                Extern::Table(table) => {
                    let address = self.address(self.tables[table.index()].place);
                    let offset = layout.imported_table(tables.len()) as usize;
                    self.blocks[block].write(offset, address);
                    tables.push(table);
                }
                Extern::Global(global) => {
                    let address = self.address(self.globals[global.index()].place);
                    let offset = layout.imported_global(globals.len()) as usize;
                    self.blocks[block].write(offset, address);
                    globals.push(global);
                }
                Extern::Tag(tag) => tags.push(tag),
            }
        }
        for (n, ty) in module.memories[module.imported_memories..].iter().enumerate() {
            let offset = layout.memory(n) as usize;
            let image = images.get(n).and_then(Option::as_ref);
            memories.push(self.memory_at(*ty, settings, Place { block, offset }, image)?);
        }
        for (n, table) in module.tables[module.imported_tables..].iter().enumerate() {
            let offset = layout.table(n) as usize;
            tables.push(self.table_at(table.ty, Place { block, offset })?);
        }
        for (n, global) in module.globals[module.imported_globals..].iter().enumerate() {
            let offset = layout.global(n) as usize;
            globals.push(self.global_at(global.ty, Place { block, offset })?);
        }
        for ty in &module.tags[module.imported_tags..] {
            tags.push(self.tag(module.types[ty.index()].clone())?);
        }
        for (index, tag) in tags.iter().enumerate() {
            self.blocks[block].write(layout.tag(TagIndex::from(index)) as usize, tag.0);
        }
        if module.counts_data {
            for index in (0..module.data.len()).map(DataIndex::from) {
                // The store keeps the module of each of its instances.
                let bytes = module.data_bytes(index);
                let offset = layout.data(index) as usize;
                self.blocks[block].write(offset + offset_of!(Storage, base), bytes.as_ptr());
                self.blocks[block].write(offset + offset_of!(Storage, length), bytes.len() as u64);
            }
        }
        let renewed = code.as_tiered().map_or(0, Tiered::final_count);
        self.write_own_func_refs(&code, &module, &layout, block);
        self.instances.push(Instance {
            code,
            block,
            renewed,
            memories: memories.into(),
            tables: tables.into(),
            globals: globals.into(),
            tags: tags.into(),
        });
        Ok(id)
    }

    /// Room for the records of the host functions among the imports of an instance.
    fn host_records(
        &mut self,
        imports: &[Import],
    ) -> std::io::Result<impl Iterator<Item = Place> + use<>> {
        let is_host = |import: &&Import| match import {
            Import::Host(_) => true,
            Import::Extern(Extern::Func(func)) => self.host_of(*func).is_some(),
            Import::Extern(_) => false,
        };
        let count = imports.iter().filter(is_host).count();
        let size = size_of::<HostRecord>().next_multiple_of(16);
        let block = if count > 0 { self.new_block(count * size)? } else { 0 };
        Ok((0..count).map(move |n| Place { block, offset: n * size }))
    }

    /// The host function of that id, if it is one of the host's.
    fn host_of(&self, func: FuncId) -> Option<&Arc<HostFunc>> {
        if func.owner & HOST_BIT == 0 {
            return None;
        }
        self.hosts.get((func.owner & !HOST_BIT) as usize).map(|host| &host.func)
    }

    /// Copies the function reference of an instance's function into an importing instance.
    fn copy_func_ref(&mut self, source: Place, target: Place) {
        for word in (0..size_of::<FuncRef>()).step_by(8) {
            let value = self.blocks[source.block].read::<*mut u8>(source.offset + word);
            self.blocks[target.block].write(target.offset + word, value);
        }
    }

    fn write_own_func_refs(
        &mut self,
        code: &Code,
        module: &Module,
        layout: &VmLayout,
        block: usize,
    ) {
        let owner = self.blocks[block].address(0);
        for (index, position) in module.func_refs.iter().enumerate().skip(module.imported_funcs) {
            if let Some(position) = position {
                let index = FuncIndex::from(index);
                let defined = module.defined_func(index).expect("past the imports");
                let place = Place { block, offset: layout.func_ref(*position) as usize };
                let ty = module.func_type(index).id();
                self.write_func_ref(place, code.entry(defined), owner, ty, index.0);
            }
        }
    }

    /// Lets an instance's references to functions of its own that have got final code lead there, and no longer
    /// to their stubs.
    pub(crate) fn renew_func_refs(&mut self, id: InstanceId) {
        let instance = &mut self.instances[id.index()];
        let Some(tiered) = instance.code.as_tiered() else { return };
        let finals = tiered.finals(instance.renewed);
        instance.renewed += finals.len();
        let (module, layout) = (instance.code.module(), instance.code.layout());
        for (func, entry) in finals {
            if let Some(position) = module.func_refs[module.func_index(func).index()] {
                let offset = layout.func_ref(position) as usize + offset_of!(FuncRef, code);
                self.blocks[instance.block].write(offset, entry);
            }
        }
    }

    fn import_matches(&self, found: &Import, expected: &ExternType) -> bool {
        match (found, expected) {
            (Import::Extern(found), expected) => self.extern_matches(*found, expected),
            (Import::Host(func), ExternType::Func(ty)) => {
                func.host_type() == self.host_type && is_subtype(func.ty().id(), *ty)
            }
            _ => false,
        }
    }

    /// Whether `found` may be imported as `expected`. spec 3.3.13 (matching, external types).
    pub fn extern_matches(&self, found: Extern, expected: &ExternType) -> bool {
        match (found, expected) {
            (Extern::Func(id), ExternType::Func(ty)) => {
                self.func_type(id).is_some_and(|own| is_subtype(own.id(), *ty))
                    && self.func_place(id).is_some()
            }
            (Extern::Memory(id), ExternType::Memory(ty)) => {
                let Some(memory) = self.memories.get(id.index()) else { return false };
                let own = &memory.ty;
                own.index == ty.index
                    && own.shared == ty.shared
                    && own.page_size_log2 == ty.page_size_log2
                    && own.limits.matches(self.memory_size(id), ty.limits)
            }
            (Extern::Table(id), ExternType::Table(ty)) => {
                let Some(table) = self.tables.get(id.index()) else { return false };
                let own = &table.ty;
                own.index == ty.index
                    && own.element.matches(ty.element)
                    && ty.element.matches(own.element)
                    && own.limits.matches(table.length, ty.limits)
            }
            (Extern::Global(id), ExternType::Global(ty)) => {
                let Some(global) = self.globals.get(id.index()) else { return false };
                let own = &global.ty;
                own.mutable == ty.mutable
                    && own.content.matches(ty.content)
                    && (!ty.mutable || ty.content.matches(own.content))
            }
            // spec 3.3.13 (matching, tags): the types are the same.
            (Extern::Tag(id), ExternType::Tag(ty)) => {
                self.tags.get(id.index()).is_some_and(|own| own.id() == *ty)
            }
            _ => false,
        }
    }

    /// Guest frames that are live, innermost first, at most `limit`: those below the host code that asks.
    pub fn guest_frames(&self, limit: usize) -> Vec<Frame> {
        unwind::frames(self.context(), None, limit)
    }

    /// The code of an instance.
    pub fn instance_code(&self, id: InstanceId) -> &Arc<Code> {
        &self.instances[id.index()].code
    }

    /// How much the store holds.
    pub fn counts(&self) -> Counts {
        Counts {
            instances: self.instances.len(),
            memories: self.memories.len(),
            tables: self.tables.len(),
            globals: self.globals.len(),
        }
    }

    /// What an instance has at an index.
    pub fn instance_extern(&self, id: InstanceId, index: ExternIndex) -> Option<Extern> {
        let instance = &self.instances[id.index()];
        Some(match index {
            ExternIndex::Func(i) => Extern::Func(self.instance_func(id, i)?),
            ExternIndex::Memory(i) => Extern::Memory(*instance.memories.get(i.index())?),
            ExternIndex::Table(i) => Extern::Table(*instance.tables.get(i.index())?),
            ExternIndex::Global(i) => Extern::Global(*instance.globals.get(i.index())?),
            ExternIndex::Tag(i) => Extern::Tag(*instance.tags.get(i.index())?),
        })
    }

    /// A function of an instance: the imported one for an import. `None` for one that nothing but
    /// direct calls refers to.
    pub fn instance_func(&self, id: InstanceId, index: FuncIndex) -> Option<FuncId> {
        let instance = &self.instances[id.index()];
        let position = (*instance.code.module().func_refs.get(index.index())?)?;
        let offset = instance.code.layout().func_ref(position) as usize;
        if index.index() >= instance.code.module().imported_funcs {
            return Some(FuncId { owner: id.0, index: index.0 });
        }
        self.func_of(self.blocks[instance.block].address(offset).cast_const().cast())
    }
}

pub(crate) fn bytes_of(pages: u64, ty: &MemoryType) -> Option<usize> {
    usize::try_from(u128::from(pages) << ty.page_size_log2).ok()
}

/// The length of a new memory, and the address space that it takes, its guard included.
pub(crate) fn memory_extent(plan: &MemoryPlan, ty: &MemoryType) -> std::io::Result<(usize, usize)> {
    let length = bytes_of(ty.limits.min, ty).ok_or_else(out_of_memory)?;
    Ok((length, mapped_bytes(plan, ty, length)?))
}

/// Bytes of address space of a memory, its guard included.
fn mapped_bytes(plan: &MemoryPlan, ty: &MemoryType, length: usize) -> std::io::Result<usize> {
    // A memory that cannot outgrow its limit needs no more than that, unless the whole index range
    // must fault or hold nothing of others.
    let limit = usize::try_from(ty.maximum_bytes()).unwrap_or(usize::MAX);
    let reservation = usize::try_from(plan.reservation).map_err(|_| out_of_memory())?;
    let reservation = if plan.confined { reservation } else { reservation.min(limit) };
    reservation.max(length).checked_add(plan.guard as usize).ok_or_else(out_of_memory)
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.context().entry_sp.get() != 0 {
            // Guest frames are live: whatever they use must stay. See [store lifetime].
            std::mem::forget(std::mem::take(&mut self.blocks));
            std::mem::forget(std::mem::take(&mut self.instances));
            std::mem::forget(std::mem::take(&mut self.memories));
            std::mem::forget(std::mem::take(&mut self.tables));
            std::mem::forget(std::mem::take(&mut self.hosts));
            std::mem::forget(std::mem::take(&mut self.live_state));
            std::mem::forget(std::mem::take(&mut self.payload));
            std::mem::forget(std::mem::take(&mut self.epoch));
            std::mem::forget(self.heap.take());
            std::mem::forget(std::mem::take(&mut self.numbers));
            return;
        }
        // SAFETY: [context pointer] made by `Box::into_raw` in `new`, freed once; no activation is live.
        drop(unsafe { Box::from_raw(self.context.as_ptr()) });
    }
}

#[cfg(test)]
mod tests;

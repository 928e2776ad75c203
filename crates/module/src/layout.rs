//! Memory that generated code and host share: every structure, field and offset, stated once.
//!
//! ```text
//!  VM context of an instance (one allocation, 16-aligned)         store context
//!  ┌──────────────────────────────────────────────┐           ┌─────────────────┐
//!  │ Owner { store ───────────────────────────────┼──────────>│ stack_limit     │
//!  │ own memories    {base, length} …             │           │ fuel, epoch …   │
//!  │   a shared one  *{base, length}              │           └─────────────────┘
//!  │ imported memories  *{base, length} …         │
//!  │ own tables      {base, length} …             │
//!  │ imported tables *{base, length} …            │      module table   │ text
//!  │ imported globals *value …                    │    ┌────────────────┼──────────
//!  │ own globals     16 bytes each …              │    │ builtin shim   │ functions
//!  │ object headers  8 bytes per type …           │    │                │
//!  │ data segments   {base, length} …             │    │                │
//!  │ function references  FuncRef …               │    │ type ids       │
//!  │ tags            id u32 …                     │    │                │
//!  └──────────────────────────────────────────────┘    │ code slots     │ (tiered only)
//!                                                      │ counters       │ (tiered only)
//!                                                      └────────────────┴──────────
//! ```
//!
//! Compilers name a [`Field`] and get its [`Path`]; offsets come from here and nowhere else. The
//! module table lies at a fixed distance before the module's text, so code reaches it relative to its
//! own address and holds no absolute one.
//!
//! The heap of a store is one stretch of address space; a reference is an offset in it (0 is null, odd
//! numbers are `i31`: twice the value and 1). An object begins with the offset of its *shape* and its
//! flags (see `composite`); a shape says what kind of object it is and lists its supertypes:
//!
//! ```text
//!   heap    │ inaccessible: NULL_PAGE │ shapes … │ objects …                    │ HEAP_GUARD │
//!   shape   0 kind │ 4 depth │ 8 descriptor │ 12 size │ 16 display: offsets of shapes, by depth
//!   host    shape, flags │ 8 id of the host value u32
//!   exn     shape, flags │ 8 id of the tag u32 │ 16 payload, 16 bytes a value
//! ```
//!
//! Invariant: two fields whose [`Region`]s differ never share a byte.
//!
//! Invariant [heap access]: code forms addresses in the heap as its base plus a 32-bit number,
//! zero-extended, plus a constant below [`HEAP_GUARD`]; all of them lie in the region or its guard.

use crate::index::*;
use crate::module::Module;
use crate::types::{HeapTop, HeapType, ValType};
use std::cell::Cell;
use std::mem::offset_of;
use std::sync::atomic::AtomicU64;

/// Granularity at which text and module table are mapped, in bytes.
pub const CODE_PAGE: usize = 4096;

/// What every context register points to first: the VM context of an instance or the record of a host
/// function begin with it, so that shims treat both alike.
#[derive(Debug)]
#[repr(C)]
pub struct Owner {
    /// The store context.
    pub store: *mut StoreContext,
    /// Which instance or host function of the store this is.
    pub id: u32,
    /// [`Owner::INSTANCE`] or [`Owner::HOST`].
    pub kind: u32,
}

impl Owner {
    /// `kind` of a VM context.
    pub const INSTANCE: u32 = 0x5741_4631;
    /// `kind` of a host function's record.
    pub const HOST: u32 = 0x5741_4832;
}

/// The part of the store context that generated code reads.
#[derive(Debug)]
#[repr(C)]
pub struct StoreContext {
    /// Lowest stack address that guest code may use.
    pub stack_limit: Cell<usize>,
    /// The complement of the fuel left, so that paying is an addition which carries if there is less.
    ///
    /// NOTE \[fuel register\]
    /// While guest code runs that pays (`Settings::consume_fuel`), this lies in `r15`, in all tiers; what is
    /// here is old. It is exact at every instruction that may trap, call or return. Entry shims load the register,
    /// and so does the way to a handler; exit shims and the handler of faults write it here, and exit shims read it
    /// again when the host has returned. Code that does not pay has the register for itself, and this holds anything.
    ///
    /// Where code is asked for its epoch and does not pay (`Settings::counts_turns`), this is how far it may go on
    /// before it asks: it subtracts what `lower::metering` says, and asks when there is less than nothing left;
    /// [`EPOCH_STRIDE`] is what it gets then. Entry and exit shims look themselves, and leave nothing if the
    /// deadline has come.
    pub spent: Cell<u64>,
    /// Epoch at which code calls `Builtin::EpochReached`.
    pub epoch_deadline: Cell<u64>,
    /// State of a frame that is being replaced (see [`Linkage`]): [`LIVE_SLOT`] bytes for each local,
    /// then for each operand from the bottom of the stack, the loop's own parameters included. Large
    /// enough for the replacement that `Builtin::TierUp` returned.
    pub live_state: Cell<*mut u8>,
    /// The engine's epoch, which grows at any time, on any thread. Never changes.
    pub epoch: *const AtomicU64,
    /// Values of the exception that was thrown last, [`PAYLOAD_SLOT`] bytes each, until its handler has
    /// read them: NOTE \[exceptions\]. Large enough for any tag that code of the store knows.
    pub payload: Cell<*mut u8>,
    /// Id of its tag.
    pub thrown_tag: Cell<u32>,
    /// Start of the store's heap. Set before code of a module that uses the heap runs (or anything makes an
    /// object), and never changed after.
    pub gc_base: Cell<*mut u8>,
    /// Offset in the heap of the next object, where it has room below `gc_limit`. What lies between them
    /// holds anything.
    pub gc_next: Cell<u64>,
    /// Offset of the end of the room for new objects.
    pub gc_limit: Cell<u64>,
    /// The function references that objects hold by number; the first is null. Changes when it grows.
    pub func_ids_base: Cell<*const *const FuncRef>,
    /// How many there are.
    pub func_ids_length: Cell<u64>,
}

/// How far code goes on before it asks for its epoch: bytes of WebAssembly, and of memory that it copies. About a
/// tenth of a millisecond.
pub const EPOCH_STRIDE: u64 = 1 << 20;

/// Bytes at the start of the heap that nobody can access: reading a field of null faults.
pub const NULL_PAGE: u32 = 64 << 10;
/// Bytes behind the 4 GiB of the heap that belong to it: no offset of a field is as large.
pub const HEAP_GUARD: u32 = 256 << 10;

/// Offset of an object's shape, a `u32`. It never changes.
pub const OBJECT_SHAPE: u32 = 0;
/// Offset of an object's flags, a `u32`.
pub const OBJECT_FLAGS: u32 = 4;
/// Offset of the first field of a struct.
pub const OBJECT_FIELDS: u32 = 8;
/// Offset of the length of an array, a `u32`. It never changes.
pub const OBJECT_LENGTH: u32 = 8;
/// Offset of the first element of an array.
pub const OBJECT_ELEMENTS: u32 = 16;

/// Bytes of an object above which only the collector makes it.
pub const LARGE_OBJECT: u32 = 8 << 10;

/// Flag: a reference stored into the object needs no `Builtin::GcRemember`, since it is young or was
/// remembered already. Every new object has it.
pub const NO_BARRIER: u32 = 1;
/// Flag of the collector: the object moved, and its shape is where to.
pub const FORWARDED: u32 = 2;

/// Offset in a shape of the kind of object, see `SHAPE_STRUCT` and its kin.
pub const SHAPE_KIND: u32 = 0;
/// Offset in a shape of the number of its supertypes.
pub const SHAPE_DEPTH: u32 = 4;
/// Offset in a shape of the collector's own number for it.
pub const SHAPE_DESCRIPTOR: u32 = 8;
/// Offset in a shape of the bytes of a struct, or of an element.
pub const SHAPE_SIZE: u32 = 12;
/// Offset in a shape of its display: the offsets of the shapes of its supertypes, its own at last; at
/// least [`MIN_DISPLAY`] entries, of which those behind are 0.
pub const SHAPE_DISPLAY: u32 = 16;
/// Entries that every display has.
pub const MIN_DISPLAY: u32 = 8;
/// Kind of a struct.
pub const SHAPE_STRUCT: u32 = 1;
/// Kind of an array.
pub const SHAPE_ARRAY: u32 = 2;
/// Kind of a host value.
pub const SHAPE_EXTERN: u32 = 3;
/// Kind of an exception.
pub const SHAPE_EXN: u32 = 4;

/// Bytes of a value in `StoreContext::live_state`.
pub const LIVE_SLOT: u32 = 16;

/// Bytes of a value in `StoreContext::payload`.
pub const PAYLOAD_SLOT: u32 = 16;

/// What a turn of a loop with a loop inside takes from its frame's counter; others take 1.
/// At most 127, the largest number of a short instruction.
pub const OUTER_LOOP: i32 = 32;
/// What an entry of a function with loops takes from its counter, which is not told of the turns of the call. At
/// most 127.
pub const LOOPING: i32 = 8;

/// How code of a function reaches the other functions of its module.
///
/// With [`Linkage::Slots`], the single-pass tier also counts, unless nothing will replace its code: it
/// subtracts 1, or [`LOOPING`], from the function's counter ([`Field::Counter`]) on entry, and 1 at the head
/// of every loop from a number in the frame that begins as that counter, and when the result is negative
/// calls `Builtin::TierUp` with the function's index (constant 1) and the loop (constant 2: 0 on entry,
/// else the loop's ordinal in the body plus 1, counting every `loop` instruction). Not 0, the result is
/// the address of a replacement for the loop: a function of the same signature that goes on at the
/// head of the loop. The frame writes its state to `StoreContext::live_state`, restores the registers
/// it saved, drops itself and jumps there with the arguments that are not parameters (context, result
/// area); stack arguments stay where they were passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Linkage {
    /// By distance. All functions are compiled before one runs.
    Direct,
    /// Through the code slots of the module table, whose content changes ([`Field::CodeSlot`]).
    Slots,
}

// NOTE [exceptions]
// Who throws writes the exception's values to `StoreContext::payload`, in order, each at a multiple of
// `PAYLOAD_SLOT`, and calls the shim with the id of the tag (`Field::TagId`), or, if the handler is in the
// same function, sets `StoreContext::thrown_tag` and goes there. The handler of another frame is found by
// `image::ExceptionTable`: the kernel walks the frames between the throw and the entry of the guest, and
// compares ids in the VM context of each. Handlers read the values before anything else can throw or
// collect. Traps are no exceptions and reach no handler.

/// A function as tables, imports and references see it. A `funcref` is a pointer to one; null is 0.
#[derive(Debug)]
#[repr(C)]
pub struct FuncRef {
    /// Where to call.
    pub code: *const u8,
    /// First argument: the context of the function's owner, which begins with [`Owner`].
    pub context: *mut Owner,
    /// The function's type.
    pub type_id: u32,
    /// The function's index among its owner's functions.
    pub index: u32,
}

/// Storage of a memory or table.
///
/// That of a memory which threads share lies outside of all VM contexts: its own instance reaches it by a
/// pointer too. Its base never changes, and its length, which grows at any time, is read and written as
/// one (aligned) word.
#[derive(Debug)]
#[repr(C)]
pub struct Storage {
    /// First byte.
    pub base: *mut u8,
    /// Bytes of a memory, elements of a table.
    pub length: u64,
}

/// Bytes of a global's storage.
pub const GLOBAL_SIZE: u32 = 16;

/// Bytes of an element in a table of this hierarchy.
pub const fn table_element_size(top: HeapTop) -> u32 {
    match top {
        HeapTop::Func => 8,
        HeapTop::Extern | HeapTop::Any | HeapTop::Exn => 4,
    }
}

/// Representation of a value in generated code and in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repr {
    /// 32-bit integer or reference.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// A pointer of the host (also function references).
    Pointer,
    /// A reference into the store's heap, or an `i31`: 32 bits that the collector may change.
    Ref,
}

impl Repr {
    /// The representation of values of `ty`.
    pub const fn of(ty: ValType) -> Repr {
        match ty {
            ValType::I32 => Repr::I32,
            ValType::I64 => Repr::I64,
            ValType::F32 => Repr::F32,
            ValType::F64 => Repr::F64,
            ValType::V128 => Repr::V128,
            ValType::Ref(ty) => Repr::of_ref(ty.heap),
        }
    }

    /// The representation of references to `heap`.
    pub const fn of_ref(heap: HeapType) -> Repr {
        match heap.top() {
            HeapTop::Func => Repr::Pointer,
            _ => Repr::Ref,
        }
    }

    /// Its size in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Repr::I32 | Repr::F32 | Repr::Ref => 4,
            Repr::I64 | Repr::F64 | Repr::Pointer => 8,
            Repr::V128 => 16,
        }
    }
}

/// Something that generated code reads or writes by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    /// Base address of a memory.
    MemoryBase(MemoryIndex),
    /// Length of a memory in bytes.
    MemoryLength(MemoryIndex),
    /// Base address of a table.
    TableBase(TableIndex),
    /// Length of a table in elements.
    TableLength(TableIndex),
    /// Address of the bytes of a data segment. Constant.
    DataBase(DataIndex),
    /// How many these are, 64 bits; 0 once it was dropped.
    DataLength(DataIndex),
    /// Value of a global.
    Global(GlobalIndex),
    /// Code address of an imported function.
    ImportCode(FuncIndex),
    /// Context of an imported function.
    ImportContext(FuncIndex),
    /// Lowest stack address that guest code may use.
    StackLimit,
    /// Process-wide id of a type of the module.
    TypeId(TypeIndex),
    /// Address of the builtin shim.
    BuiltinShim,
    /// The address of the routine that copies bytes: `(target, source, length)`. Constant.
    CopyRoutine,
    /// The address of the routine that fills bytes: `(target, byte, length)`. Constant.
    FillRoutine,
    /// The address of the routine that fills elements of more than a byte: `(target, low, high, length)`.
    /// The two halves of 64 bits are a vector, or a smaller element as often as it fits; `length` is in
    /// bytes, and `target` is a multiple of 8 or of the element's size. Constant.
    FillElementsRoutine,
    /// Current code of a function of the module (see [`Linkage`]).
    CodeSlot(DefinedFuncIndex),
    /// What a function still has to count (a signed 32-bit number) before it asks for faster code.
    Counter(DefinedFuncIndex),
    /// Address of the buffer for state of a frame that is being replaced.
    LiveState,
    /// Epoch from which on to call `Builtin::EpochReached`, unsigned.
    EpochDeadline,
    /// Address of the engine's epoch, 64 bits that grow at any time.
    Epoch,
    /// Address of the shim that calls `Builtin::EpochReached` without arguments and keeps all registers.
    EpochShim,
    /// Id of a tag, unique in the store. Constant.
    TagId(TagIndex),
    /// Address of the shim that throws: `(context, id of a tag)`. Does not come back. Constant.
    ThrowShim,
    /// Address of the values of an exception.
    Payload,
    /// Id of the tag of the exception that was thrown last.
    ThrownTag,
    /// Address of the store's heap.
    GcBase,
    /// Offset of the next object, 64 bits.
    GcNext,
    /// End of the room for new objects, 64 bits.
    GcLimit,
    /// Address of the list of functions that objects refer to.
    FuncIdsBase,
    /// Its length.
    FuncIdsLength,
    /// The first 8 bytes of a new object of a struct or array type: its shape's offset, and
    /// [`NO_BARRIER`] in the upper half.
    ObjectHeader(TypeIndex),
}

/// A field of a [`FuncRef`] reached through a reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FuncRefField {
    /// Where to call.
    Code,
    /// What to pass first.
    Context,
    /// The type id.
    TypeId,
}

impl FuncRefField {
    /// Offset in bytes and representation.
    pub const fn place(self) -> (u32, Repr) {
        match self {
            FuncRefField::Code => (offset_of!(FuncRef, code) as u32, Repr::Pointer),
            FuncRefField::Context => (offset_of!(FuncRef, context) as u32, Repr::Pointer),
            FuncRefField::TypeId => (offset_of!(FuncRef, type_id) as u32, Repr::I32),
        }
    }
}

/// Where a path starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// The function's own context.
    Context,
    /// The module table, relative to the code.
    ModuleTable,
}

/// How to reach a field: start at `root`; if `through` is given, load the pointer at that offset and
/// go on there; the field lies at `offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Where to start.
    pub root: Root,
    /// Offset of a pointer to follow first. That pointer never changes.
    pub through: Option<u32>,
    /// Offset of the field.
    pub offset: u32,
    /// What lies there.
    pub repr: Repr,
    /// Whether it keeps its value as long as the instance exists.
    pub constant: bool,
    /// What may alias it.
    pub region: Region,
}

/// Disjoint parts of memory, for alias analysis. Imports of one kind share a region: two of them may
/// be the same object. An object defined here is never one that was imported, since imports exist
/// before it does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Region {
    /// Fields that do not change while the instance exists.
    Constant,
    /// The store context.
    Store,
    /// Base and length of own memory.
    MemoryField(MemoryIndex),
    /// Base and length of any imported memory.
    ImportedMemoryField,
    /// Base and length of own table.
    TableField(TableIndex),
    /// Base and length of any imported table.
    ImportedTableField,
    /// Content of own memory.
    Memory(MemoryIndex),
    /// Content of any imported memory.
    ImportedMemory,
    /// Elements of own table.
    Table(TableIndex),
    /// Elements of any imported table.
    ImportedTable,
    /// Own global.
    Global(GlobalIndex),
    /// Any imported global.
    ImportedGlobal,
    /// Code slots and counters.
    Tiering,
    /// Shape, flags and length of objects.
    ObjectHead,
    /// Fields of structs at this offset.
    ObjectField(u32),
    /// Elements of arrays, of so many bytes.
    ArrayElements(u32),
}

impl Region {
    /// A number unique to the region; the optimizer's alias region.
    pub const fn number(self) -> u32 {
        const fn pair(kind: u32, index: u32) -> u32 {
            kind << 24 | index
        }
        match self {
            Region::Constant => 0,
            Region::Store => 1,
            Region::ImportedMemoryField => 2,
            Region::ImportedTableField => 3,
            Region::ImportedMemory => 4,
            Region::ImportedTable => 5,
            Region::ImportedGlobal => 6,
            Region::Tiering => 7,
            Region::ObjectHead => 8,
            Region::MemoryField(i) => pair(1, i.0),
            Region::TableField(i) => pair(2, i.0),
            Region::Memory(i) => pair(3, i.0),
            Region::Table(i) => pair(4, i.0),
            Region::Global(i) => pair(5, i.0),
            Region::ObjectField(offset) => pair(6, offset),
            Region::ArrayElements(bytes) => pair(7, bytes),
        }
    }
}

/// Offsets in the VM context of a module's instances, in bytes from its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmLayout {
    memories: u32,
    imported_memories: u32,
    tables: u32,
    imported_tables: u32,
    imported_globals: u32,
    globals: u32,
    object_headers: u32,
    data: u32,
    func_refs: u32,
    tags: u32,
    size: u32,
    /// Offsets in the module table.
    slots: u32,
    counters: u32,
}

const STORAGE: u32 = size_of::<Storage>() as u32;
const POINTER: u32 = size_of::<*const u8>() as u32;
const FUNC_REF: u32 = size_of::<FuncRef>() as u32;
const TAG: u32 = size_of::<u32>() as u32;
const OBJECT_HEADER: u32 = 8;

impl VmLayout {
    /// The layout for instances of `module`.
    pub fn new(module: &Module) -> VmLayout {
        let mut next = size_of::<Owner>() as u32;
        let mut take = |count: usize, size: u32| {
            let start = next;
            // At most 1,000,000 entries of 24 bytes in each of a handful of lists.
            next += count as u32 * size;
            start
        };
        let memories = take(module.memories.len() - module.imported_memories, STORAGE);
        let tables = take(module.tables.len() - module.imported_tables, STORAGE);
        let globals = take(module.globals.len() - module.imported_globals, GLOBAL_SIZE);
        let imported_memories = take(module.imported_memories, POINTER);
        let imported_tables = take(module.imported_tables, POINTER);
        let imported_globals = take(module.imported_globals, POINTER);
        let headers = if module.uses_heap { module.types.len() } else { 0 };
        let object_headers = take(headers, OBJECT_HEADER);
        let data = take(if module.counts_data { module.data.len() } else { 0 }, STORAGE);
        let func_refs = take(module.func_ref_count as usize, FUNC_REF);
        let tags = take(module.tags.len(), TAG);
        let size = next.next_multiple_of(VmLayout::ALIGN);
        VmLayout {
            memories,
            imported_memories,
            tables,
            imported_tables,
            imported_globals,
            globals,
            object_headers,
            data,
            func_refs,
            tags,
            size,
            slots: ModuleTable::slot(module.types.len(), DefinedFuncIndex(0)),
            counters: ModuleTable::counter(
                module.types.len(),
                module.bodies.len(),
                DefinedFuncIndex(0),
            ),
        }
    }

    /// Alignment of a VM context in bytes.
    pub const ALIGN: u32 = 16;

    /// Size of a VM context in bytes.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Offset of the [`Storage`] of the `n`th own memory; of a pointer to it, if the memory is shared.
    pub const fn memory(&self, n: usize) -> u32 {
        self.memories + n as u32 * STORAGE
    }

    /// Offset of the pointer to the [`Storage`] of the `n`th imported memory.
    pub const fn imported_memory(&self, n: usize) -> u32 {
        self.imported_memories + n as u32 * POINTER
    }

    /// Offset of the [`Storage`] of the `n`th own table.
    pub const fn table(&self, n: usize) -> u32 {
        self.tables + n as u32 * STORAGE
    }

    /// Offset of the pointer to the [`Storage`] of the `n`th imported table.
    pub const fn imported_table(&self, n: usize) -> u32 {
        self.imported_tables + n as u32 * POINTER
    }

    /// Offset of the header of new objects of a type; there is none in modules that do not use the heap.
    pub const fn object_header(&self, ty: TypeIndex) -> u32 {
        self.object_headers + OBJECT_HEADER * ty.0
    }

    /// Offset of the [`Storage`] of a data segment; there is none in modules whose code can name none.
    pub const fn data(&self, index: DataIndex) -> u32 {
        self.data + STORAGE * index.0
    }

    /// Offset of the value of the `n`th own global.
    pub const fn global(&self, n: usize) -> u32 {
        self.globals + n as u32 * GLOBAL_SIZE
    }

    /// Offset of the pointer to the value of the `n`th imported global.
    pub const fn imported_global(&self, n: usize) -> u32 {
        self.imported_globals + n as u32 * POINTER
    }

    /// Offset of the [`FuncRef`] at position `n` (see `Module::func_refs`; imports come first).
    pub const fn func_ref(&self, n: u32) -> u32 {
        self.func_refs + n * FUNC_REF
    }

    /// Offset in the VM context of the [`FuncRef`] of `func`, which must be one that has a position.
    pub fn func_ref_of(&self, module: &Module, func: FuncIndex) -> u32 {
        let position = module.func_refs[func.index()];
        self.func_ref(position.expect("validation admits ref.func of declared functions only"))
    }

    /// Offset of the id of a tag, imports first.
    pub const fn tag(&self, tag: TagIndex) -> u32 {
        self.tags + tag.0 * TAG
    }

    /// How generated code of `module` reaches `field`. Inlined: which field it is, is known where this is called.
    #[inline]
    pub fn path(&self, module: &Module, field: Field) -> Path {
        let storage = |index: usize, imported: usize, own: u32, import: u32, part: usize| {
            if index < imported {
                (Some(import + index as u32 * POINTER), part as u32)
            } else {
                (None, own + (index - imported) as u32 * STORAGE + part as u32)
            }
        };
        let base = offset_of!(Storage, base);
        let length = offset_of!(Storage, length);
        let at = |(through, offset), repr, constant, region| Path {
            root: Root::Context,
            through,
            offset,
            repr,
            constant,
            region,
        };
        let store = |offset, repr, constant| {
            let through = Some(offset_of!(Owner, store) as u32);
            at((through, offset as u32), repr, constant, Region::Store)
        };
        let memory = |i: MemoryIndex, part| {
            let own = i.index().checked_sub(module.imported_memories);
            if let Some(own) = own.filter(|_| module.memories[i.index()].shared) {
                return (Some(self.memory(own)), part as u32);
            }
            storage(
                i.index(),
                module.imported_memories,
                self.memories,
                self.imported_memories,
                part,
            )
        };
        let table = |i: TableIndex, part| {
            storage(i.index(), module.imported_tables, self.tables, self.imported_tables, part)
        };
        match field {
            Field::MemoryBase(i) => {
                at(memory(i, base), Repr::Pointer, false, self.memory_field_region(module, i))
            }
            Field::MemoryLength(i) => {
                at(memory(i, length), Repr::I64, false, self.memory_field_region(module, i))
            }
            Field::TableBase(i) => {
                at(table(i, base), Repr::Pointer, false, table_field_region(module, i))
            }
            Field::TableLength(i) => {
                at(table(i, length), Repr::I64, false, table_field_region(module, i))
            }
            Field::DataBase(i) => {
                let offset = self.data(i) + base as u32;
                at((None, offset), Repr::Pointer, true, Region::Constant)
            }
            Field::DataLength(i) => {
                at((None, self.data(i) + length as u32), Repr::I64, false, Region::Store)
            }
            Field::Global(i) => {
                let ty = module.globals[i.index()].ty;
                let (place, region) = match i.index().checked_sub(module.imported_globals) {
                    None => ((Some(self.imported_global(i.index())), 0), Region::ImportedGlobal),
                    Some(n) => ((None, self.global(n)), Region::Global(i)),
                };
                let repr = Repr::of(ty.content);
                // What a reference refers to may move, and the reference is another one then.
                at(place, repr, !ty.mutable && repr != Repr::Ref, region)
            }
            Field::ImportCode(i) => {
                let offset = self.func_ref(i.0) + offset_of!(FuncRef, code) as u32;
                at((None, offset), Repr::Pointer, true, Region::Constant)
            }
            Field::ImportContext(i) => {
                let offset = self.func_ref(i.0) + offset_of!(FuncRef, context) as u32;
                at((None, offset), Repr::Pointer, true, Region::Constant)
            }
            Field::StackLimit => store(offset_of!(StoreContext, stack_limit), Repr::Pointer, true),
            Field::TypeId(i) => Path {
                root: Root::ModuleTable,
                through: None,
                offset: ModuleTable::type_id(i),
                repr: Repr::I32,
                constant: true,
                region: Region::Constant,
            },
            Field::BuiltinShim
            | Field::CopyRoutine
            | Field::FillRoutine
            | Field::FillElementsRoutine
            | Field::ThrowShim
            | Field::EpochShim => Path {
                root: Root::ModuleTable,
                through: None,
                offset: match field {
                    Field::CopyRoutine => ModuleTable::COPY_ROUTINE,
                    Field::FillRoutine => ModuleTable::FILL_ROUTINE,
                    Field::FillElementsRoutine => ModuleTable::FILL_ELEMENTS_ROUTINE,
                    Field::ThrowShim => ModuleTable::THROW_SHIM,
                    Field::EpochShim => ModuleTable::EPOCH_SHIM,
                    _ => ModuleTable::BUILTIN_SHIM,
                },
                repr: Repr::Pointer,
                constant: true,
                region: Region::Constant,
            },
            Field::CodeSlot(i) => Path {
                root: Root::ModuleTable,
                through: None,
                offset: self.slots + 8 * i.0,
                repr: Repr::Pointer,
                constant: false,
                region: Region::Tiering,
            },
            Field::Counter(i) => Path {
                root: Root::ModuleTable,
                through: None,
                offset: self.counters + 4 * i.0,
                repr: Repr::I32,
                constant: false,
                region: Region::Tiering,
            },
            Field::LiveState => store(offset_of!(StoreContext, live_state), Repr::Pointer, false),
            Field::EpochDeadline => {
                store(offset_of!(StoreContext, epoch_deadline), Repr::I64, false)
            }
            Field::GcBase => store(offset_of!(StoreContext, gc_base), Repr::Pointer, true),
            Field::GcNext => store(offset_of!(StoreContext, gc_next), Repr::I64, false),
            Field::GcLimit => store(offset_of!(StoreContext, gc_limit), Repr::I64, false),
            Field::FuncIdsBase => {
                store(offset_of!(StoreContext, func_ids_base), Repr::Pointer, false)
            }
            Field::FuncIdsLength => {
                store(offset_of!(StoreContext, func_ids_length), Repr::I64, false)
            }
            Field::ObjectHeader(i) => {
                at((None, self.object_header(i)), Repr::I64, true, Region::Constant)
            }
            Field::Epoch => store(offset_of!(StoreContext, epoch), Repr::Pointer, true),
            Field::TagId(i) => at((None, self.tag(i)), Repr::I32, true, Region::Constant),
            Field::Payload => store(offset_of!(StoreContext, payload), Repr::Pointer, false),
            Field::ThrownTag => store(offset_of!(StoreContext, thrown_tag), Repr::I32, false),
        }
    }

    fn memory_field_region(&self, module: &Module, i: MemoryIndex) -> Region {
        if i.index() < module.imported_memories {
            Region::ImportedMemoryField
        } else {
            Region::MemoryField(i)
        }
    }
}

fn table_field_region(module: &Module, i: TableIndex) -> Region {
    if i.index() < module.imported_tables {
        Region::ImportedTableField
    } else {
        Region::TableField(i)
    }
}

/// Region of the content of a memory.
pub fn memory_region(module: &Module, i: MemoryIndex) -> Region {
    if i.index() < module.imported_memories { Region::ImportedMemory } else { Region::Memory(i) }
}

/// Region of the elements of a table.
pub fn table_region(module: &Module, i: TableIndex) -> Region {
    if i.index() < module.imported_tables { Region::ImportedTable } else { Region::Table(i) }
}

/// The module table: what code needs to know of the process it runs in.
#[derive(Debug)]
pub struct ModuleTable;

impl ModuleTable {
    /// Offset of the address of the builtin shim.
    pub const BUILTIN_SHIM: u32 = 0;
    /// Offset of the address of the lazy shim, which entries of functions without code jump to.
    pub const LAZY_SHIM: u32 = 8;
    /// Offset of the address of the routine that copies bytes.
    pub const COPY_ROUTINE: u32 = 16;
    /// Offset of the address of the routine that fills bytes.
    pub const FILL_ROUTINE: u32 = 24;
    /// Offset of the address of the shim that throws.
    pub const THROW_SHIM: u32 = 32;
    /// Offset of the address of the shim by which the optimizing tier calls `Builtin::EpochReached`: it takes
    /// nothing, and leaves all registers as they were.
    pub const EPOCH_SHIM: u32 = 40;
    /// Offset of the address of the shim that ends code whose check failed: what that means, the trap table tells of
    /// the place behind the call. On the stack lies a word of how many bytes were added to an address in memory,
    /// and above it the length that was less than the sum, and the sum; or a word of -1.
    pub const TRAP_SHIM: u32 = 48;
    /// Offset of the address of the routine that fills elements of more than a byte.
    pub const FILL_ELEMENTS_ROUTINE: u32 = 56;
    const TYPE_IDS: u32 = 64;

    /// Offset of the id of a type.
    pub const fn type_id(index: TypeIndex) -> u32 {
        ModuleTable::TYPE_IDS + 4 * index.0
    }

    /// Offset of the code slot of a function, in a module with `types` types: 8 bytes, aligned.
    pub const fn slot(types: usize, func: DefinedFuncIndex) -> u32 {
        (ModuleTable::TYPE_IDS + 4 * types as u32).next_multiple_of(8) + 8 * func.0
    }

    /// Offset of the counter of a function, in a module with `types` types and `funcs` defined
    /// functions: 4 bytes, aligned.
    pub const fn counter(types: usize, funcs: usize, func: DefinedFuncIndex) -> u32 {
        ModuleTable::slot(types, DefinedFuncIndex(funcs as u32)) + 4 * func.0
    }

    /// Size in bytes of the table of a module with `types` types and `funcs` defined functions: a
    /// multiple of [`CODE_PAGE`]. The text starts that many bytes after the table's start. Slots and
    /// counters are there only if code is linked by them.
    pub const fn size(types: usize, funcs: usize, linkage: Linkage) -> usize {
        let end = match linkage {
            Linkage::Direct => ModuleTable::TYPE_IDS as usize + 4 * types,
            Linkage::Slots => {
                ModuleTable::counter(types, funcs, DefinedFuncIndex(funcs as u32)) as usize
            }
        };
        end.next_multiple_of(CODE_PAGE)
    }
}

const _: () = {
    assert!(size_of::<Owner>() == 16 && align_of::<Owner>() <= VmLayout::ALIGN as usize);
    assert!(offset_of!(Owner, store) == 0, "shims load the store from offset 0 of a context");
    assert!(size_of::<Storage>() == 16 && size_of::<FuncRef>() == 24);
};

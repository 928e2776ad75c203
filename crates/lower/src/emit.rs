//! What a compiled tier offers to the lowering.
//!
//! A tier owns the operand stack: the driver holds no operand between two WebAssembly instructions.
//! Locals, structured control and numeric instructions go to the tier as they are; everything that
//! touches memory, tables, globals, functions or the host is expanded by the driver into the
//! straight-line operations below ([`Emit::Value`]s within one instruction).
//!
//! Invariants:
//! - A [`Emit::Value`] is used once; a second use asks for a [`Emit::copy`], no use for a
//!   [`Emit::discard`].
//! - An [`Index`] is a 64-bit value known to be zero-extended from 32 bits, or one that was 64-bit in
//!   the program. Only this crate makes one.
//! - An [`Addr`] was checked against its memory or table, or lies in its guard region.
//! - An expansion has no join but the ones a tier makes inside one operation; no address derived from
//!   a reference lives across a call.

use smallvec::SmallVec;
use wardian_module::layout::{Field, FuncRefField, Region, Repr};
use wardian_module::{
    Builtin, DataIndex, DefinedFuncIndex, FuncIndex, HeapTop, MemoryIndex, TableIndex, TagIndex,
    Trap, TypeIndex, ValType,
};
use wasmparser::Operator;

/// A 64-bit index whose upper half is right: see the invariants of this file.
///
/// ```compile_fail
/// // No tier can claim that a value of its own was extended.
/// let index = wardian_lower::Index(0);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Index<V>(pub(crate) V);

impl<V> Index<V> {
    /// The 64-bit value.
    pub fn into_value(self) -> V {
        self.0
    }

    /// The 64-bit value.
    pub fn as_value(&self) -> &V {
        &self.0
    }
}

/// An address that may be accessed: see the invariants of this file.
///
/// ```compile_fail
/// // No tier can claim that an address of its own was checked.
/// let address = wardian_lower::Addr(0);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Addr<A>(pub(crate) A);

impl<A> Addr<A> {
    /// The tier's own form.
    pub fn into_inner(self) -> A {
        self.0
    }
}

/// A place that is so far behind an index: for every 32-bit index, zero-extended, the access there is in
/// the memory or in its guard region. See the invariants of this file.
///
/// ```compile_fail
/// // No tier can claim that an access of its own is guarded.
/// let memory = wardian_module::MemoryIndex(0);
/// let place = wardian_lower::Guarded { memory, offset: 0 };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Guarded {
    pub(crate) memory: MemoryIndex,
    pub(crate) offset: u32,
}

impl Guarded {
    /// Which memory.
    #[inline]
    pub fn memory(self) -> MemoryIndex {
        self.memory
    }

    /// Bytes behind the index.
    #[inline]
    pub fn offset(self) -> u32 {
        self.offset
    }
}

/// A constant of any representation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Const {
    /// 32 bits.
    I32(u32),
    /// 64 bits.
    I64(u64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// Bits of a vector, little-endian.
    V128(u128),
    /// The null function reference.
    NullPointer,
    /// The null reference of the other hierarchies.
    NullRef,
}

/// Integer operations inside expansions; both operands and the result have the same width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arith {
    /// Wrapping addition.
    Add,
    /// Wrapping subtraction.
    Sub,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Logical shift left.
    Shl,
    /// Logical shift right.
    ShrU,
    /// Arithmetic shift right.
    ShrS,
}

/// Comparisons inside expansions. Integers unless the operands are floats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal (floats: or unordered).
    Ne,
    /// Unsigned less than (floats: ordered and less).
    LtU,
    /// Unsigned greater than (floats: ordered and greater).
    GtU,
    /// Unsigned less than or equal (floats: ordered and less or equal).
    LeU,
    /// Unsigned greater than or equal (floats: ordered and greater or equal).
    GeU,
}

/// How a memory access reads or writes; the value's representation follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// All bytes of a value.
    Full(Repr),
    /// Loads: `bits` bits extended to an integer of `to`. Stores: the low `bits` bits of `to`.
    Narrow {
        /// Width in memory: 8, 16 or 32.
        bits: u8,
        /// Sign-extend (loads only).
        signed: bool,
        /// `Repr::I32` or `Repr::I64`.
        to: Repr,
    },
    /// Vector load of 64 bits, each of the `lane_bits`-wide lanes extended to twice its width.
    Extend {
        /// 8, 16 or 32.
        lane_bits: u8,
        /// Sign-extend.
        signed: bool,
    },
    /// Vector load of one lane into all lanes.
    Splat {
        /// 8, 16, 32 or 64.
        lane_bits: u8,
    },
    /// Vector load of 32 or 64 bits, zeros above.
    Zero {
        /// 32 or 64.
        bits: u8,
    },
}

impl Access {
    /// Bytes touched in memory.
    pub const fn bytes(self) -> u32 {
        match self {
            Access::Full(repr) => repr.bytes(),
            Access::Narrow { bits, .. } | Access::Zero { bits } => bits as u32 / 8,
            Access::Extend { .. } => 8,
            Access::Splat { lane_bits } => lane_bits as u32 / 8,
        }
    }
}

/// What an atomic update of memory makes of what it read and its operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomicOp {
    /// The sum.
    Add,
    /// The difference.
    Sub,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// The operand.
    Exchange,
}

/// What a trap means, with what its message needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrapInfo {
    /// The trap.
    pub trap: Trap,
    /// An index for the message: the memory, table or type concerned; 0 if none.
    pub place: u32,
}

/// Values that a trap's message needs, 64 bits each.
///
/// The convention: `MemoryOutOfBounds` has the index and the offset; `TableOutOfBounds`,
/// `IndirectCallOutOfBounds` and `IndirectCallToNull` the index; `BadSignature` the index and the
/// reference, its place being the expected type. The place of the others is the memory or table.
pub type Details<V> = SmallVec<[V; 2]>;

/// Whom a call reaches.
#[derive(Debug)]
pub enum Callee<V> {
    /// A function of this module; the callee's context is the caller's.
    Direct(DefinedFuncIndex),
    /// An import: code and context lie in the VM context.
    Import(FuncIndex),
    /// Code and context taken from a function reference.
    Pointer {
        /// Code address.
        code: V,
        /// Context to pass.
        context: V,
    },
}

/// What a test of a reference of the internal hierarchy looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefTest {
    /// The result for null; `None` if it cannot be null.
    pub null: Option<bool>,
    /// The result for an `i31`; `None` if it cannot be one.
    pub i31: Option<bool>,
    /// What is asked of an object.
    pub object: ObjectTest,
}

/// A question about an object, answered by its shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectTest {
    /// No object passes.
    Never,
    /// Of this kind, or of one with a lower number.
    Kind {
        /// See `layout::SHAPE_KIND`.
        kind: u32,
        /// Whether lower numbers pass.
        or_below: bool,
    },
    /// Of this type, which has no subtypes.
    Exactly(TypeIndex),
    /// Of this type or one below it.
    Below {
        /// The type.
        ty: TypeIndex,
        /// Its position in displays.
        depth: u32,
        /// Whether a display may be too short to have that position: then the object's own depth is
        /// compared first.
        has_depth: bool,
    },
}

/// A scope of handlers (see `exceptions`): its number in the function, in the order of entering.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scope(pub u32);

/// What a handler takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Catch {
    /// Exceptions of this tag.
    Tag(TagIndex),
    /// All.
    All,
}

/// A kind of structured block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockKind {
    /// `block`: branches go to its end.
    Block,
    /// `loop`: branches go to its start.
    Loop,
    /// `if`: pops its condition (above the parameters); branches go to its end.
    If,
}

/// A compiled tier, while it compiles one function.
///
/// `depth` counts enclosing blocks outwards, 0 the innermost, as in the text format; the function body
/// itself is the outermost block. Code that cannot be reached is not forwarded: after
/// [`Emit::branch`], [`Emit::branch_table`], [`Emit::ret`], [`Emit::trap`], [`Emit::throw`],
/// [`Emit::jump_to_landing`] and tail calls the next call is [`Emit::else_`] or [`Emit::end`] of the innermost block that was entered, or
/// [`Emit::landing`] in it.
pub trait Emit {
    /// An operand inside an expansion. Not `Copy`: see the invariants of this file.
    type Value;
    /// An address; may hold its parts apart until the access.
    type Addr;

    // ---- the function as a whole ----

    /// Called once, first. `locals` are the declared locals (count and type) that follow the
    /// parameters; they start as zero or null.
    fn start(&mut self, locals: &[(u32, ValType)]);
    /// Whether the tier has reached a limit of its own and wants no more. The driver then validates
    /// the rest of the function and calls nothing else.
    fn gave_up(&self) -> bool {
        false
    }

    // ---- inlining ----

    /// Bytes of bodies that this tier takes in place of calls, beside the function's own body.
    fn inline_budget(&self) -> u32 {
        0
    }
    /// Instead of a call of `func`, which has type `ty`, its body follows: pops the arguments, which
    /// with zeros for these declared locals are the locals from now on, and enters the body, a block
    /// without parameters. Only after a budget was given.
    fn enter_inline(
        &mut self,
        _func: DefinedFuncIndex,
        _ty: TypeIndex,
        _locals: &[(u32, ValType)],
    ) {
        unreachable!("this tier inlines nothing")
    }
    /// The body that was entered last has ended: the locals before it are back.
    fn exit_inline(&mut self) {
        unreachable!("this tier inlines nothing")
    }

    // ---- where we are ----

    /// Code that follows stems from this offset of the module's bytes.
    fn location(&mut self, wasm_offset: u32);

    /// The bytes of the program that follow the current instruction, for a look ahead: a tier may
    /// choose its code by what comes next. Nothing in them was validated yet; what follows an
    /// instruction that ends its block may not even be reachable.
    fn upcoming(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    // ---- stopping and limiting ----

    /// Calls `Builtin::EpochReached` if the engine's epoch is at the store's deadline, or past it. On
    /// entry, or at the head of a loop that was just entered.
    fn check_epoch(&mut self);
    /// Takes so much from the store's fuel; if there is less, takes nothing and traps. Between two
    /// instructions.
    fn charge(&mut self, fuel: u32);
    /// The complement of the store's fuel. For code that pays: NOTE \[fuel register\] of `layout`.
    fn spent(&mut self) -> Self::Value;
    /// Sets it.
    fn set_spent(&mut self, spent: Self::Value);

    // ---- the operand stack ----

    /// Takes the top operand.
    fn pop(&mut self) -> Self::Value;
    /// Pushes an operand.
    fn push(&mut self, value: Self::Value);
    /// A second use of the same operand.
    fn copy(&mut self, value: &Self::Value) -> Self::Value;
    /// Gives up an operand that is not used after all.
    fn discard(&mut self, value: Self::Value) {
        drop(value);
    }
    /// `drop`
    fn drop_top(&mut self);

    // ---- forwarded as they are ----

    /// `local.get`
    fn local_get(&mut self, local: u32);
    /// `local.set`
    fn local_set(&mut self, local: u32);
    /// `local.tee`
    fn local_tee(&mut self, local: u32);
    /// `select`, with the type of its operands.
    fn select(&mut self, ty: ValType);
    /// Any scalar instruction that takes operands, computes and pushes results without memory, tables,
    /// globals, calls or control. Includes constants. Divisions and conversions that trap
    /// do so by themselves only if the settings allow signals; otherwise the driver has emitted the
    /// checks and the instruction cannot trap.
    fn numeric(&mut self, op: &Operator<'_>);
    /// As `numeric`, for instructions on vectors.
    fn vector(&mut self, op: &Operator<'_>) {
        self.numeric(op);
    }

    // ---- structured control ----

    /// The loop that is entered next is this one, counting every `loop` of the body in order, those
    /// that cannot be reached included (see `layout::Linkage`).
    fn at_loop(&mut self, _ordinal: u32) {}
    /// The condition of the `if` or `br_if` that follows is likely to hold, or not: for the layout of code.
    fn hint(&mut self, _likely: bool) {}
    /// Enters a block with these parameters (on the stack) and results.
    fn enter(&mut self, kind: BlockKind, params: &[ValType], results: &[ValType]);
    /// `else` of the innermost `if`. `reachable` says whether the end of the first arm is.
    fn else_(&mut self, reachable: bool);
    /// `end` of the innermost block. `reachable` says whether control falls into it from above;
    /// `continues` whether code after it can be reached at all (by falling in, by a branch, or by the
    /// missing `else` of an `if`). For the function body itself, this is the return.
    fn end(&mut self, reachable: bool, continues: bool);
    /// `br`
    fn branch(&mut self, depth: u32);
    /// `br_if`: pops the condition.
    fn branch_if(&mut self, depth: u32);
    /// Branches if `condition` (an `i32`), which is not on the stack, with the block's operands on it.
    fn branch_if_value(&mut self, condition: Self::Value, depth: u32);
    /// `br_table`: pops the index, masked against speculation as the settings say.
    fn branch_table(&mut self, targets: &[u32], default: u32);
    /// `return`
    fn ret(&mut self);

    // ---- exceptions ----

    /// A scope of handlers is around what follows, in the block that was just entered. Exceptions that
    /// none of `catches`, in order, takes go on to `outer`.
    fn enter_scope(&mut self, scope: Scope, catches: &[Catch], outer: Option<Scope>);
    /// Here starts the code of a handler of the scope, at this position among its `catches`. The innermost
    /// block is the one that the scope was entered in; the operands are those below its parameters. Every
    /// call and throw in the scope came before.
    fn landing(&mut self, scope: Scope, catch: usize);
    /// Goes on at a landing of a scope that is in force, with the exception in the store's context.
    fn jump_to_landing(&mut self, scope: Scope, catch: usize);
    /// Throws an exception whose values were stored and whose tag has this id (an `i32`), by the shim,
    /// with a scope in force.
    fn throw(&mut self, tag: Self::Value, scope: Option<Scope>);
    /// Writes a value of the exception that is to be thrown.
    fn store_payload(&mut self, index: u32, repr: Repr, value: Self::Value);
    /// Reads a value of the exception that was thrown, in its landing.
    fn load_payload(&mut self, index: u32, repr: Repr) -> Self::Value;

    // ---- straight-line operations ----

    /// A constant.
    fn constant(&mut self, value: Const) -> Self::Value;
    /// Integer arithmetic.
    fn arith(&mut self, op: Arith, a: Self::Value, b: Self::Value) -> Self::Value;
    /// Comparison; the result is an `i32` of 0 or 1.
    fn compare(&mut self, op: Compare, a: Self::Value, b: Self::Value) -> Self::Value;
    /// Zero extension of 32 to 64 bits. Always emitted unless the tier itself wrote the register by a
    /// 32-bit operation in this block.
    fn zero_extend(&mut self, value: Self::Value) -> Self::Value;
    /// The low 32 bits.
    fn wrap(&mut self, value: Self::Value) -> Self::Value;
    /// Whether a reference of this hierarchy is null, as an `i32`.
    fn is_null(&mut self, top: HeapTop, value: Self::Value) -> Self::Value;

    /// Reads a field.
    fn load_field(&mut self, field: Field) -> Self::Value;
    /// Writes a field.
    fn store_field(&mut self, field: Field, value: Self::Value);
    /// The reference to a function of the module (`ref.func`).
    fn func_ref(&mut self, func: FuncIndex) -> Self::Value;
    /// Reads from a function reference. With `null_trap`, the reference may be null and the fault of
    /// reading it means that trap; only given when the settings allow signals.
    fn load_func_ref(
        &mut self,
        reference: Self::Value,
        field: FuncRefField,
        null_trap: Option<Trap>,
    ) -> Self::Value;

    /// The value of an index, where it is a constant.
    fn constant_index(&self, index: &Index<Self::Value>) -> Option<u64> {
        let _ = index;
        None
    }
    /// Whether a check that came before on every way here has shown that `index + end` is at most the
    /// length of the memory.
    fn is_in_bounds(&self, memory: MemoryIndex, index: &Index<Self::Value>, end: u64) -> bool {
        let _ = (memory, index, end);
        false
    }
    /// From here on `index + end` is at most the length of the memory: what came before traps otherwise.
    fn in_bounds(&mut self, memory: MemoryIndex, index: &Index<Self::Value>, end: u64) {
        let _ = (memory, index, end);
    }
    /// The address of byte `index + offset` of a memory.
    fn memory_addr(
        &mut self,
        memory: MemoryIndex,
        index: Index<Self::Value>,
        offset: u64,
    ) -> Self::Addr;
    /// The address of element `index` of a table.
    fn table_addr(&mut self, table: TableIndex, index: Index<Self::Value>) -> Self::Addr;
    /// Null instead of `addr` if `out_of_bounds`, in a form that the processor does not speculate on.
    fn guard_addr(&mut self, out_of_bounds: Self::Value, addr: Self::Addr) -> Self::Addr;
    /// Reads memory. With `may_fault`, a fault means that the access is out of bounds; without, the
    /// address was checked.
    fn memory_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Self::Addr>,
        may_fault: bool,
    ) -> Self::Value;
    /// Writes memory.
    fn memory_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Self::Addr>,
        value: Self::Value,
        may_fault: bool,
    );
    /// Reads memory atomically; all that follows comes after it. As the other atomic accesses: the address
    /// is aligned, `access` is `Full` or unsigned `Narrow` of an integer, and the order of all of them is
    /// one (sequentially consistent).
    fn atomic_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Self::Addr>,
        may_fault: bool,
    ) -> Self::Value;
    /// Writes memory atomically.
    fn atomic_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Self::Addr>,
        value: Self::Value,
        may_fault: bool,
    );
    /// Changes memory atomically; what it held before, zero-extended.
    fn atomic_update(
        &mut self,
        memory: MemoryIndex,
        op: AtomicOp,
        access: Access,
        addr: Addr<Self::Addr>,
        value: Self::Value,
        may_fault: bool,
    ) -> Self::Value;
    /// Of `[expected, replacement]`, writes the latter if memory holds the former, both as wide as they are
    /// in memory; what it held, zero-extended.
    fn atomic_compare_exchange(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Self::Addr>,
        values: [Self::Value; 2],
        may_fault: bool,
    ) -> Self::Value;
    /// `atomic.fence`
    fn fence(&mut self);
    /// Pops a 32-bit index and pushes what memory holds behind it: the operations above at once.
    fn guarded_load(&mut self, access: Access, place: Guarded) {
        let index = self.pop();
        let addr = guarded_addr(self, index, place);
        let value = self.memory_load(place.memory, access, addr, true);
        self.push(value);
    }
    /// Pops a value and a 32-bit index and writes the value behind it.
    fn guarded_store(&mut self, access: Access, place: Guarded) {
        let value = self.pop();
        let index = self.pop();
        let addr = guarded_addr(self, index, place);
        self.memory_store(place.memory, access, addr, value, true);
    }
    /// Copies bytes between ranges that were checked and may overlap.
    fn copy_bytes(
        &mut self,
        target: Addr<Self::Addr>,
        source: Addr<Self::Addr>,
        length: Self::Value,
    );
    /// Fills a range that was checked with the low 8 bits of an `i32`.
    fn fill_bytes(&mut self, target: Addr<Self::Addr>, byte: Self::Value, length: Self::Value);
    /// Fills a range that was checked: see `layout::Field::FillElementsRoutine`.
    fn fill_elements(
        &mut self,
        target: Addr<Self::Addr>,
        halves: [Self::Value; 2],
        length: Self::Value,
    );
    /// The address so many bytes behind the beginning of a data segment, which reach no further than its end.
    fn data_addr(&mut self, segment: DataIndex, place: Index<Self::Value>) -> Self::Addr;
    /// Reads a table element.
    fn table_load(&mut self, table: TableIndex, addr: Addr<Self::Addr>) -> Self::Value;
    /// Writes a table element.
    fn table_store(&mut self, table: TableIndex, addr: Addr<Self::Addr>, value: Self::Value);

    /// Replaces lane `lane` of the vector operand (`v128.loadN_lane`).
    fn replace_lane(
        &mut self,
        lane_bits: u8,
        lane: u8,
        vector: Self::Value,
        scalar: Self::Value,
    ) -> Self::Value;
    /// Extracts lane `lane` as an `i32` (8, 16, 32 bits, upper bits undefined) or `i64`.
    fn extract_lane(&mut self, lane_bits: u8, lane: u8, vector: Self::Value) -> Self::Value;

    // ---- the heap ----

    /// A new object of this type and size: its header is written, what follows holds anything. A
    /// `length` means an array, whose length may or may not be written. A safepoint; operands on the stack
    /// stay, and nothing else of an expansion does.
    fn allocate(&mut self, ty: TypeIndex, bytes: u32, length: Option<u32>) -> Self::Value;
    /// A new array with as many elements, of so many bytes, as the operand on top says, which stays: header and
    /// length are written, the elements hold anything and are written next. Otherwise as `allocate`, and as
    /// `Builtin::GcAllocArray`.
    fn allocate_array(&mut self, ty: TypeIndex, element_bytes: u32) -> Self::Value;
    /// Reads what lies `offset` bytes, less than `layout::HEAP_GUARD`, behind a 32-bit offset in the heap,
    /// whatever that is. With `null_trap` the reference may be null, and the fault of reading it means
    /// `NullReference`.
    fn heap_load(
        &mut self,
        object: Self::Value,
        offset: u32,
        region: Region,
        access: Access,
        null_trap: bool,
    ) -> Self::Value;
    /// Writes there.
    fn heap_store(
        &mut self,
        object: Self::Value,
        offset: u32,
        region: Region,
        access: Access,
        value: Self::Value,
        null_trap: bool,
    );
    /// The address of what lies `offset` bytes behind a place in the heap, which is one: below 2^32.
    fn heap_addr(&mut self, place: Index<Self::Value>, offset: u32) -> Self::Addr;
    /// Whether a value is known to be null, or an `i31`: no reference to an object.
    fn is_constant_null(&self, value: &Self::Value) -> bool {
        let _ = value;
        false
    }
    /// The function of a number, which was compared with `Field::FuncIdsLength`.
    fn func_of_id(&mut self, index: Index<Self::Value>) -> Self::Value;
    /// If `condition` is not zero, the result of a builtin that never collects; else `otherwise`. Rarely
    /// the former, so values of the expansion stay where they are.
    fn slow(
        &mut self,
        condition: Self::Value,
        builtin: Builtin,
        first: u32,
        args: SmallVec<[Self::Value; 4]>,
        otherwise: Option<Self::Value>,
    ) -> Option<Self::Value>;
    /// The result of a test, as an `i32` of 0 or 1.
    fn ref_test(&mut self, value: Self::Value, test: RefTest) -> Self::Value;
    /// Traps unless a test passes.
    fn ref_cast(&mut self, value: Self::Value, test: RefTest, info: TrapInfo);

    /// Traps if `condition` is not zero.
    fn trap_if(&mut self, condition: Self::Value, info: TrapInfo, details: Details<Self::Value>);
    /// Traps.
    fn trap(&mut self, info: TrapInfo);
    /// Calls a builtin with its constants and arguments.
    fn builtin(
        &mut self,
        builtin: Builtin,
        first: u32,
        second: u32,
        args: SmallVec<[Self::Value; 4]>,
    ) -> Option<Self::Value>;
    /// Calls a function of type `ty`: pops the arguments, pushes the results. A tail call ends the
    /// block. `scope` is in force, never at a tail call.
    fn call(
        &mut self,
        callee: Callee<Self::Value>,
        ty: TypeIndex,
        tail: bool,
        scope: Option<Scope>,
    );
}

fn guarded_addr<E: Emit + ?Sized>(emit: &mut E, index: E::Value, place: Guarded) -> Addr<E::Addr> {
    let index = Index(emit.zero_extend(index));
    Addr(emit.memory_addr(place.memory, index, u64::from(place.offset)))
}

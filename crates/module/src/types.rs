//! Types of values, functions and externals, and the process-wide registry of defined types.
//!
//! A defined type (`(type …)`) is interned: structurally equal recursion groups get the same ids, so
//! that type equality is id equality, at link time and in generated code (`call_indirect`).
//!
//! Invariant: a [`TypeId`] is never given out twice, and two live ids name the same type exactly when
//! they are equal. An id is live while a [`RegisteredType`] of its group exists; whoever stores a
//! `TypeId` keeps such a handle (modules, function types of the API, stores).

use crate::abi::CallLayout;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Process-wide number of a defined type. Zero is never an id, so zeroed memory matches no type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TypeId(NonZeroU32);

impl TypeId {
    /// The number that generated code compares.
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }

    /// The id of a number; whether a type with it is registered is another question.
    pub const fn from_u32(number: u32) -> Option<TypeId> {
        match NonZeroU32::new(number) {
            Some(number) => Some(TypeId(number)),
            None => None,
        }
    }
}

/// `valtype` of the specification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// A reference.
    Ref(RefType),
}

/// `reftype`: a heap type, nullable or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RefType {
    /// Whether null is a value of this type.
    pub nullable: bool,
    /// What a non-null value refers to.
    pub heap: HeapType,
}

impl RefType {
    /// `(ref null func)`.
    pub const FUNCREF: RefType = RefType { nullable: true, heap: HeapType::Func };
    /// `(ref null extern)`.
    pub const EXTERNREF: RefType = RefType { nullable: true, heap: HeapType::Extern };
}

/// `heaptype`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeapType {
    /// Any function.
    Func,
    /// No function: the bottom of the function types.
    NoFunc,
    /// Any host value.
    Extern,
    /// The bottom of the external types.
    NoExtern,
    /// Any internal value.
    Any,
    /// Internal values that can be compared.
    Eq,
    /// Unboxed 31-bit integers.
    I31,
    /// Any struct.
    Struct,
    /// Any array.
    Array,
    /// The bottom of the internal types.
    None,
    /// Any exception.
    Exn,
    /// The bottom of the exception types.
    NoExn,
    /// A defined function type.
    ConcreteFunc(TypeId),
}

/// The three disjoint hierarchies of references (and exceptions), which differ in representation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeapTop {
    /// Function references: a pointer to a `FuncRef`, null is 0.
    Func,
    /// Host values: a 32-bit index, null is 0.
    Extern,
    /// Collected objects: a 32-bit offset, null is 0.
    Any,
    /// Exceptions: a 32-bit offset, null is 0.
    Exn,
}

impl HeapType {
    /// The top of the hierarchy this type belongs to.
    pub const fn top(self) -> HeapTop {
        match self {
            HeapType::Func | HeapType::NoFunc | HeapType::ConcreteFunc(_) => HeapTop::Func,
            HeapType::Extern | HeapType::NoExtern => HeapTop::Extern,
            HeapType::Exn | HeapType::NoExn => HeapTop::Exn,
            _ => HeapTop::Any,
        }
    }

    /// Subtyping. spec 3.3.3 (matching, heap types).
    pub fn matches(self, other: HeapType) -> bool {
        use HeapType::*;
        if self == other {
            return true;
        }
        match (self, other) {
            (NoFunc, o) | (o, NoFunc) if o.top() == HeapTop::Func => self == NoFunc,
            (ConcreteFunc(_), Func) => true,
            (ConcreteFunc(a), ConcreteFunc(b)) => is_subtype(a, b),
            (NoExtern, Extern) | (NoExn, Exn) => true,
            (None, Any | Eq | I31 | Struct | Array) => true,
            (Eq | I31 | Struct | Array, Any) | (I31 | Struct | Array, Eq) => true,
            _ => false,
        }
    }
}

impl RefType {
    /// Subtyping. spec 3.3.4 (matching, reference types).
    pub fn matches(self, other: RefType) -> bool {
        (other.nullable || !self.nullable) && self.heap.matches(other.heap)
    }
}

impl ValType {
    /// Subtyping. spec 3.3.5 (matching, value types).
    pub fn matches(self, other: ValType) -> bool {
        match (self, other) {
            (ValType::Ref(a), ValType::Ref(b)) => a.matches(b),
            _ => self == other,
        }
    }

    /// Whether a local of this type has a default value.
    pub const fn is_defaultable(self) -> bool {
        !matches!(self, ValType::Ref(RefType { nullable: false, .. }))
    }
}

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeapType::Func => "func",
            HeapType::NoFunc => "nofunc",
            HeapType::Extern => "extern",
            HeapType::NoExtern => "noextern",
            HeapType::Any => "any",
            HeapType::Eq => "eq",
            HeapType::I31 => "i31",
            HeapType::Struct => "struct",
            HeapType::Array => "array",
            HeapType::None => "none",
            HeapType::Exn => "exn",
            HeapType::NoExn => "noexn",
            HeapType::ConcreteFunc(id) => {
                return match RegisteredType::from_id(*id) {
                    Some(ty) => write!(f, "{}", ty.func_type()),
                    None => f.write_str("(dropped type)"),
                };
            }
        })
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.nullable, self.heap) {
            (true, HeapType::Func) => f.write_str("funcref"),
            (true, HeapType::Extern) => f.write_str("externref"),
            (true, HeapType::Any) => f.write_str("anyref"),
            (true, HeapType::Exn) => f.write_str("exnref"),
            (true, heap) => write!(f, "(ref null {heap})"),
            (false, heap) => write!(f, "(ref {heap})"),
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(ty) => write!(f, "{ty}"),
        }
    }
}

/// `functype`: parameters and results.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FuncType {
    params: Box<[ValType]>,
    results: Box<[ValType]>,
}

impl FuncType {
    /// A function type of these parameters and results.
    pub fn new(params: impl Into<Box<[ValType]>>, results: impl Into<Box<[ValType]>>) -> FuncType {
        FuncType { params: params.into(), results: results.into() }
    }

    /// Parameter types, in order.
    pub fn params(&self) -> &[ValType] {
        &self.params
    }

    /// Result types, in order.
    pub fn results(&self) -> &[ValType] {
        &self.results
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(func")?;
        for (word, types) in [("param", &self.params), ("result", &self.results)] {
            if !types.is_empty() {
                write!(f, " ({word}")?;
                types.iter().try_for_each(|ty| write!(f, " {ty}"))?;
                f.write_str(")")?;
            }
        }
        f.write_str(")")
    }
}

/// Limits of a table or memory, in elements or pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Size at creation.
    pub min: u64,
    /// Size that growth may not pass.
    pub max: Option<u64>,
}

impl Limits {
    /// Whether there is one size only, which never changes.
    pub fn is_fixed(self) -> bool {
        self.max == Some(self.min)
    }

    /// Whether a table or memory of `size` now and limit `self.max` may be imported as `import`.
    /// spec 3.3.12 (matching, limits).
    pub fn matches(self, size: u64, import: Limits) -> bool {
        size >= import.min
            && match import.max {
                None => true,
                Some(max) => self.max.is_some_and(|own| own <= max),
            }
    }
}

/// The type of addresses of a table or memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IndexType {
    /// 32-bit indices.
    I32,
    /// 64-bit indices (memory64).
    I64,
}

impl IndexType {
    /// The type of an index on the operand stack.
    pub const fn val_type(self) -> ValType {
        match self {
            IndexType::I32 => ValType::I32,
            IndexType::I64 => ValType::I64,
        }
    }
}

impl fmt::Display for IndexType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == IndexType::I32 { "i32" } else { "i64" })
    }
}

/// `memtype`. Sizes are in pages of `1 << page_size_log2` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemoryType {
    /// Type of addresses.
    pub index: IndexType,
    /// Size limits in pages.
    pub limits: Limits,
    /// Whether threads may share it.
    pub shared: bool,
    /// Base-2 logarithm of the page size in bytes: 16 or, with custom page sizes, 0.
    pub page_size_log2: u8,
}

impl MemoryType {
    /// The least size in bytes, which a memory of this type never has less than.
    pub fn minimum_bytes(&self) -> u128 {
        u128::from(self.limits.min) << self.page_size_log2
    }

    /// The smallest size in bytes that cannot be reached whatever the limits say: `maximum` if given,
    /// else what the index type can address.
    pub fn maximum_bytes(&self) -> u128 {
        match self.limits.max {
            Some(pages) => (u128::from(pages) << self.page_size_log2).min(self.addressable_bytes()),
            None => self.addressable_bytes(),
        }
    }

    /// What the index type can address, in whole pages whose number it can hold too.
    pub fn addressable_bytes(&self) -> u128 {
        let bytes = match self.index {
            IndexType::I32 => 1u128 << 32,
            IndexType::I64 => 1u128 << 64,
        };
        // With pages of one byte, the number of all pages would be one too many.
        bytes - u128::from(self.page_size_log2 == 0)
    }
}

/// `tabletype`. Sizes are in elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TableType {
    /// Type of indices.
    pub index: IndexType,
    /// Size limits in elements.
    pub limits: Limits,
    /// Type of elements.
    pub element: RefType,
}

/// `globaltype`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GlobalType {
    /// Type of the value.
    pub content: ValType,
    /// Whether `global.set` is allowed.
    pub mutable: bool,
}

/// `externtype` of an import or export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExternType {
    /// A function, by its interned type.
    Func(TypeId),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
    /// A tag, by its interned function type.
    Tag(TypeId),
}

/// A recursion group as it enters the registry. References inside the group are relative.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct GroupKey(Box<[u32]>);

/// Builds the canonical form of a recursion group: one word sequence in which references into the
/// group are positions and references out of it are ids, so that equal groups are equal words.
pub(crate) struct GroupBuilder {
    words: Vec<u32>,
    types: Vec<FuncType>,
    outside: Vec<Arc<RecGroup>>,
    base: TypeRefBase,
}

/// Marks a reference into the group that is being built; patched to an id when the group is new.
/// Never leaves this file.
const INSIDE: u32 = 1 << 31;

type TypeRefBase = u32;

/// How a heap type names a defined type while its group is being read.
#[derive(Clone, Copy)]
pub(crate) enum DefinedRef<'a> {
    /// Position in the group being built.
    Inside(u32),
    /// A type that is registered already.
    Outside(&'a RegisteredType),
}

impl GroupBuilder {
    pub(crate) fn new() -> GroupBuilder {
        GroupBuilder { words: Vec::new(), types: Vec::new(), outside: Vec::new(), base: 0 }
    }

    /// A heap type that refers to `target`.
    pub(crate) fn concrete(&mut self, target: DefinedRef<'_>) -> HeapType {
        let number = match target {
            DefinedRef::Inside(position) => INSIDE | position,
            DefinedRef::Outside(ty) => {
                self.outside.push(ty.group.clone());
                ty.id().as_u32()
            }
        };
        HeapType::ConcreteFunc(TypeId(
            NonZeroU32::new(number).expect("ids and INSIDE are not zero"),
        ))
    }

    pub(crate) fn push(&mut self, ty: FuncType) {
        self.words.push(ty.params.len() as u32);
        self.words.push(ty.results.len() as u32);
        for ty in ty.params.iter().chain(&ty.results) {
            self.words.extend(encode(*ty));
        }
        self.types.push(ty);
    }

    /// Registers the group, or finds the equal one that is registered.
    pub(crate) fn finish(mut self) -> Arc<RecGroup> {
        let key = GroupKey(self.words.into());
        let mut registry = registry();
        if let Some(found) = registry.groups.get(&key).and_then(Weak::upgrade) {
            return found;
        }
        self.base = registry.next;
        let count = u32::try_from(self.types.len()).expect("a module has at most 1,000,000 types");
        registry.next = self
            .base
            .checked_add(count)
            .filter(|next| *next < INSIDE)
            .expect("fewer than 2^31 types are defined in the life of a process");
        for ty in &mut self.types {
            for ty in ty.params.iter_mut().chain(ty.results.iter_mut()) {
                if let ValType::Ref(RefType { heap: HeapType::ConcreteFunc(id), .. }) = ty
                    && id.as_u32() & INSIDE != 0
                {
                    let number = self.base + (id.as_u32() & !INSIDE);
                    *id = TypeId(NonZeroU32::new(number).expect("ids start at 1"));
                }
            }
        }
        let group = Arc::new(RecGroup {
            key: key.clone(),
            first: self.base,
            layouts: self.types.iter().map(|_| OnceLock::new()).collect(),
            types: self.types.into(),
            _outside: self.outside,
        });
        for position in 0..count {
            registry.ids.insert(self.base + position, (Arc::downgrade(&group), position));
        }
        registry.groups.insert(key, Arc::downgrade(&group));
        group
    }
}

fn encode(ty: ValType) -> [u32; 2] {
    match ty {
        ValType::I32 => [1, 0],
        ValType::I64 => [2, 0],
        ValType::F32 => [3, 0],
        ValType::F64 => [4, 0],
        ValType::V128 => [5, 0],
        ValType::Ref(RefType { nullable, heap }) => {
            let (kind, id) = match heap {
                HeapType::Func => (0, 0),
                HeapType::NoFunc => (1, 0),
                HeapType::Extern => (2, 0),
                HeapType::NoExtern => (3, 0),
                HeapType::Any => (4, 0),
                HeapType::Eq => (5, 0),
                HeapType::I31 => (6, 0),
                HeapType::Struct => (7, 0),
                HeapType::Array => (8, 0),
                HeapType::None => (9, 0),
                HeapType::Exn => (10, 0),
                HeapType::NoExn => (11, 0),
                HeapType::ConcreteFunc(id) => (12, id.as_u32()),
            };
            [16 + 2 * kind + u32::from(nullable), id]
        }
    }
}

/// A registered recursion group. Its ids are `first..first + types.len()`.
#[derive(Debug)]
pub(crate) struct RecGroup {
    key: GroupKey,
    first: u32,
    types: Box<[FuncType]>,
    /// Calling convention of each type, once asked for.
    layouts: Box<[OnceLock<CallLayout>]>,
    /// Groups that this one refers to stay registered as long as it does.
    _outside: Vec<Arc<RecGroup>>,
}

impl Drop for RecGroup {
    fn drop(&mut self) {
        let mut registry = registry();
        for position in 0..self.types.len() as u32 {
            registry.ids.remove(&(self.first + position));
        }
        // Another thread may have registered an equal group since the last handle went away.
        if registry.groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            registry.groups.remove(&self.key);
        }
    }
}

struct Registry {
    groups: HashMap<GroupKey, Weak<RecGroup>>,
    ids: HashMap<u32, (Weak<RecGroup>, u32)>,
    next: u32,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: std::sync::LazyLock<Mutex<Registry>> = std::sync::LazyLock::new(|| {
        Mutex::new(Registry { groups: HashMap::new(), ids: HashMap::new(), next: 1 })
    });
    // No code between lock and unlock leaves the maps half-changed, so poison carries no meaning.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A defined type that stays registered while this handle lives.
#[derive(Clone, Debug)]
pub struct RegisteredType {
    group: Arc<RecGroup>,
    position: u32,
}

impl RegisteredType {
    pub(crate) fn new(group: Arc<RecGroup>, position: u32) -> RegisteredType {
        RegisteredType { group, position }
    }

    /// Registers a function type on its own (as a recursion group of one). `None` when it refers to a
    /// type that is no longer registered.
    pub fn intern(ty: &FuncType) -> Option<RegisteredType> {
        let mut builder = GroupBuilder::new();
        for ty in ty.params.iter().chain(&ty.results) {
            if let ValType::Ref(RefType { heap: HeapType::ConcreteFunc(id), .. }) = ty {
                builder.outside.push(RegisteredType::from_id(*id)?.group);
            }
        }
        builder.push(ty.clone());
        Some(RegisteredType::new(builder.finish(), 0))
    }

    /// The live type with this id.
    pub fn from_id(id: TypeId) -> Option<RegisteredType> {
        // The upgraded handle is made while the lock is held and dropped, if at all, by the caller:
        // dropping the last handle takes the lock.
        let (group, position) = registry().ids.get(&id.as_u32()).cloned()?;
        Some(RegisteredType { group: group.upgrade()?, position })
    }

    /// Its process-wide number.
    pub fn id(&self) -> TypeId {
        TypeId(NonZeroU32::new(self.group.first + self.position).expect("ids start at 1"))
    }

    /// Its parameters and results.
    pub fn func_type(&self) -> &FuncType {
        &self.group.types[self.position as usize]
    }

    /// How calls of this type travel.
    pub fn call_layout(&self) -> &CallLayout {
        self.group.layouts[self.position as usize].get_or_init(|| CallLayout::new(self.func_type()))
    }
}

impl PartialEq for RegisteredType {
    fn eq(&self, other: &RegisteredType) -> bool {
        self.id() == other.id()
    }
}

impl Eq for RegisteredType {}

/// Whether defined type `a` is `b` or declares it as a supertype. Without the collector's proposal no
/// type declares one, so this is equality.
pub fn is_subtype(a: TypeId, b: TypeId) -> bool {
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_types_share_an_id_and_ids_are_not_reused() {
        let ty = FuncType::new([ValType::I32, ValType::F64, ValType::V128], [ValType::I64]);
        let a = RegisteredType::intern(&ty).unwrap();
        let b = RegisteredType::intern(&ty).unwrap();
        assert_eq!(a.id(), b.id());
        let id = a.id();
        drop((a, b));
        assert!(RegisteredType::from_id(id).is_none());
        assert_ne!(RegisteredType::intern(&ty).unwrap().id(), id);
    }

    #[test]
    fn nullability_and_order_matter() {
        let f = |nullable| {
            let heap = HeapType::Func;
            RegisteredType::intern(&FuncType::new([ValType::Ref(RefType { nullable, heap })], []))
                .unwrap()
        };
        assert_ne!(f(true).id(), f(false).id());
        let params = RegisteredType::intern(&FuncType::new([ValType::I32], [])).unwrap();
        let results = RegisteredType::intern(&FuncType::new([], [ValType::I32])).unwrap();
        assert_ne!(params.id(), results.id());
    }

    #[test]
    fn subtyping_of_heap_types() {
        assert!(HeapType::NoFunc.matches(HeapType::Func));
        assert!(!HeapType::Func.matches(HeapType::NoFunc));
        assert!(!HeapType::NoFunc.matches(HeapType::Extern));
        let ty = RegisteredType::intern(&FuncType::new([], [])).unwrap();
        assert!(HeapType::ConcreteFunc(ty.id()).matches(HeapType::Func));
        assert!(HeapType::NoFunc.matches(HeapType::ConcreteFunc(ty.id())));
        assert!(!HeapType::ConcreteFunc(ty.id()).matches(HeapType::NoFunc));
    }

    #[test]
    fn hammer_register_and_drop() {
        let rounds = if cfg!(miri) { 20 } else { 2000 };
        let threads: Vec<_> = (0..8u32)
            .map(|n| {
                std::thread::spawn(move || {
                    for round in 0..rounds {
                        let params = vec![ValType::I32; ((n + round) % 5) as usize];
                        let ty = FuncType::new(params, []);
                        let a = RegisteredType::intern(&ty).unwrap();
                        let b = RegisteredType::intern(&ty).unwrap();
                        assert_eq!(a.id(), b.id());
                        assert_eq!(RegisteredType::from_id(a.id()).unwrap().func_type(), &ty);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

//! Types of values, functions and externals. Defined types are named by their ids in the registry.

use crate::registry::{RegisteredType, TypeId, is_subtype};
use std::fmt;

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
    /// A defined struct type.
    ConcreteStruct(TypeId),
    /// A defined array type.
    ConcreteArray(TypeId),
}

/// The disjoint hierarchies of references, of which that of functions has another representation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeapTop {
    /// Function references: a pointer to a `FuncRef`, null is 0.
    Func,
    /// Host values, and internal ones seen from outside: a 32-bit offset, null is 0.
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

    /// The defined type it names.
    pub const fn concrete(self) -> Option<TypeId> {
        match self {
            HeapType::ConcreteFunc(id)
            | HeapType::ConcreteStruct(id)
            | HeapType::ConcreteArray(id) => Some(id),
            _ => None,
        }
    }

    /// The same kind of heap type for another defined type; those that name none stay as they are.
    pub(crate) const fn with_concrete(self, id: TypeId) -> HeapType {
        match self {
            HeapType::ConcreteFunc(_) => HeapType::ConcreteFunc(id),
            HeapType::ConcreteStruct(_) => HeapType::ConcreteStruct(id),
            HeapType::ConcreteArray(_) => HeapType::ConcreteArray(id),
            other => other,
        }
    }

    /// Whether no object is of this type.
    pub const fn is_bottom(self) -> bool {
        matches!(self, HeapType::NoFunc | HeapType::NoExtern | HeapType::None | HeapType::NoExn)
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
            (ConcreteFunc(a), ConcreteFunc(b))
            | (ConcreteStruct(a), ConcreteStruct(b))
            | (ConcreteArray(a), ConcreteArray(b)) => is_subtype(a, b),
            (NoExtern, Extern) | (NoExn, Exn) => true,
            (None, o) => o.top() == HeapTop::Any,
            (ConcreteStruct(_), Struct | Eq | Any) | (ConcreteArray(_), Array | Eq | Any) => true,
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
                    Some(ty) if ty.names_none() => write!(f, "{}", ty.func_type()),
                    Some(_) => write!(f, "(func {})", id.as_u32()),
                    None => f.write_str("(dropped type)"),
                };
            }
            // They may contain themselves: a number ends it.
            HeapType::ConcreteStruct(id) => return write!(f, "(struct {})", id.as_u32()),
            HeapType::ConcreteArray(id) => return write!(f, "(array {})", id.as_u32()),
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
    #[inline]
    pub fn params(&self) -> &[ValType] {
        &self.params
    }

    /// Result types, in order.
    #[inline]
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
    #[inline]
    pub fn maximum_bytes(&self) -> u128 {
        match self.limits.max {
            Some(pages) => (u128::from(pages) << self.page_size_log2).min(self.addressable_bytes()),
            None => self.addressable_bytes(),
        }
    }

    /// What the index type can address, in whole pages whose number it can hold too.
    #[inline]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtyping_of_heap_types() {
        assert!(HeapType::NoFunc.matches(HeapType::Func));
        assert!(!HeapType::Func.matches(HeapType::NoFunc));
        assert!(!HeapType::NoFunc.matches(HeapType::Extern));
        assert!(HeapType::None.matches(HeapType::I31));
        assert!(!HeapType::None.matches(HeapType::NoExtern));
        let ty = RegisteredType::intern(&FuncType::new([], [])).unwrap();
        assert!(HeapType::ConcreteFunc(ty.id()).matches(HeapType::Func));
        assert!(HeapType::NoFunc.matches(HeapType::ConcreteFunc(ty.id())));
        assert!(!HeapType::ConcreteFunc(ty.id()).matches(HeapType::NoFunc));
    }
}

//! Defined types: functions, structs and arrays, with finality and supertype; and where the fields of
//! an object lie.
//!
//! ```text
//!   struct  0 shape u32 │ 4 flags u32 │ 8 fields, in order, each aligned to its size (v128 to 8)
//!   array   0 shape u32 │ 4 flags u32 │ 8 length u32 │ 16 elements
//! ```
//!
//! Packed fields take one or two bytes, references of every hierarchy four: a function is the store's
//! number for it. Where a field lies depends on the fields before it alone, so an object of a subtype has
//! the fields of its supertypes where those expect them.

use crate::layout::{OBJECT_ELEMENTS, OBJECT_FIELDS, Repr};
use crate::registry::TypeId;
use crate::types::{FuncType, HeapType, RefType, ValType};
use std::fmt;

/// `storagetype`: what a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StorageType {
    /// The low 8 bits of an `i32`.
    I8,
    /// The low 16 bits of an `i32`.
    I16,
    /// A value.
    Val(ValType),
}

impl StorageType {
    /// The type of the field's value on the operand stack.
    pub const fn unpacked(self) -> ValType {
        match self {
            StorageType::I8 | StorageType::I16 => ValType::I32,
            StorageType::Val(ty) => ty,
        }
    }

    /// Bytes that it takes in an object: a power of two.
    pub const fn bytes(self) -> u32 {
        match self {
            StorageType::I8 => 1,
            StorageType::I16 => 2,
            StorageType::Val(ValType::Ref(_)) => Repr::Ref.bytes(),
            StorageType::Val(ty) => Repr::of(ty).bytes(),
        }
    }

    /// Whether the collector follows it: a reference into the heap.
    pub const fn is_traced(self) -> bool {
        matches!(self, StorageType::Val(ty) if matches!(Repr::of(ty), Repr::Ref))
    }

    /// Subtyping: a packed type matches itself alone.
    pub fn matches(self, other: StorageType) -> bool {
        match (self, other) {
            (StorageType::Val(a), StorageType::Val(b)) => a.matches(b),
            _ => self == other,
        }
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageType::I8 => f.write_str("i8"),
            StorageType::I16 => f.write_str("i16"),
            StorageType::Val(ty) => write!(f, "{ty}"),
        }
    }
}

/// `fieldtype`: a field of a struct, or the elements of an array.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FieldType {
    /// What it holds.
    pub storage: StorageType,
    /// Whether it can be written after its object was made.
    pub mutable: bool,
}

impl FieldType {
    /// Subtyping: what can be written keeps its type.
    pub fn matches(self, other: FieldType) -> bool {
        self.mutable == other.mutable
            && self.storage.matches(other.storage)
            && (!self.mutable || other.storage.matches(self.storage))
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutable {
            true => write!(f, "(mut {})", self.storage),
            false => write!(f, "{}", self.storage),
        }
    }
}

/// `structtype`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StructType {
    fields: Box<[FieldType]>,
    offsets: Box<[u32]>,
    size: u32,
}

impl StructType {
    /// A struct of these fields.
    pub fn new(fields: impl Into<Box<[FieldType]>>) -> StructType {
        let fields = fields.into();
        let mut next = OBJECT_FIELDS;
        let mut place = |field: &FieldType| {
            let size = field.storage.bytes();
            let offset = next.next_multiple_of(size.min(8));
            next = offset + size;
            offset
        };
        // At most 10,000 fields of 16 bytes.
        let offsets = fields.iter().map(&mut place).collect();
        StructType { fields, offsets, size: next.next_multiple_of(8) }
    }

    /// Its fields, in order.
    pub fn fields(&self) -> &[FieldType] {
        &self.fields
    }

    /// Where a field lies in an object.
    pub fn offset(&self, field: u32) -> u32 {
        self.offsets[field as usize]
    }

    /// Bytes of an object: a multiple of 8.
    pub fn size(&self) -> u32 {
        self.size
    }
}

/// `arraytype`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ArrayType {
    /// Its elements.
    pub element: FieldType,
}

impl ArrayType {
    /// Bytes of an array of this length: a multiple of 8, and more than 32 bits may be.
    pub const fn size(&self, length: u32) -> u64 {
        let bytes = self.element.storage.bytes() as u64 * length as u64;
        (OBJECT_ELEMENTS as u64 + bytes).next_multiple_of(8)
    }
}

/// `comptype`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CompositeType {
    /// Functions.
    Func(FuncType),
    /// Structs.
    Struct(StructType),
    /// Arrays.
    Array(ArrayType),
}

impl CompositeType {
    /// The heap type of what this type defines, under this id.
    pub const fn heap_type(&self, id: TypeId) -> HeapType {
        match self {
            CompositeType::Func(_) => HeapType::ConcreteFunc(id),
            CompositeType::Struct(_) => HeapType::ConcreteStruct(id),
            CompositeType::Array(_) => HeapType::ConcreteArray(id),
        }
    }

    /// Whether a type of this structure may be declared below one of the other. spec 3.3.6 to 3.3.10.
    pub fn matches(&self, other: &CompositeType) -> bool {
        match (self, other) {
            (CompositeType::Func(a), CompositeType::Func(b)) => {
                let all = |a: &[ValType], b: &[ValType]| {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.matches(*b))
                };
                all(b.params(), a.params()) && all(a.results(), b.results())
            }
            (CompositeType::Struct(a), CompositeType::Struct(b)) => {
                a.fields.len() >= b.fields.len()
                    && a.fields.iter().zip(&b.fields).all(|(a, b)| a.matches(*b))
            }
            (CompositeType::Array(a), CompositeType::Array(b)) => a.element.matches(b.element),
            _ => false,
        }
    }

    /// Calls `each` with every defined type it names.
    pub(crate) fn visit_concrete(&self, each: &mut dyn FnMut(TypeId)) {
        self.map_concrete(&mut |id| {
            each(id);
            id
        });
    }

    /// The same structure with other ids.
    pub(crate) fn map_concrete(&self, map: &mut dyn FnMut(TypeId) -> TypeId) -> CompositeType {
        let mut value = |ty: &ValType| match *ty {
            ValType::Ref(RefType { nullable, heap }) => {
                let heap = heap.concrete().map_or(heap, |id| heap.with_concrete(map(id)));
                ValType::Ref(RefType { nullable, heap })
            }
            other => other,
        };
        let field = |ty: &FieldType, value: &mut dyn FnMut(&ValType) -> ValType| FieldType {
            storage: match &ty.storage {
                StorageType::Val(ty) => StorageType::Val(value(ty)),
                packed => *packed,
            },
            mutable: ty.mutable,
        };
        match self {
            CompositeType::Func(ty) => {
                let params: Box<[_]> = ty.params().iter().map(&mut value).collect();
                let results: Box<[_]> = ty.results().iter().map(&mut value).collect();
                CompositeType::Func(FuncType::new(params, results))
            }
            CompositeType::Struct(ty) => {
                let fields: Box<[_]> = ty.fields.iter().map(|ty| field(ty, &mut value)).collect();
                CompositeType::Struct(StructType::new(fields))
            }
            CompositeType::Array(ty) => {
                CompositeType::Array(ArrayType { element: field(&ty.element, &mut value) })
            }
        }
    }
}

/// `subtype`: a structure, its place in the hierarchy, and whether it may have subtypes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SubType {
    /// Whether no type can be declared below it.
    pub is_final: bool,
    /// The type that it is declared below.
    pub supertype: Option<TypeId>,
    /// What it is.
    pub composite: CompositeType,
}

impl SubType {
    /// A final type without supertype, as `(type (func …))` defines it.
    pub fn plain(composite: CompositeType) -> SubType {
        SubType { is_final: true, supertype: None, composite }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(storage: StorageType) -> FieldType {
        FieldType { storage, mutable: true }
    }

    #[test]
    fn fields_are_aligned_and_do_not_move_in_subtypes() {
        use StorageType::*;
        let list = [
            I8,
            I16,
            I8,
            Val(ValType::I64),
            Val(ValType::Ref(RefType::FUNCREF)),
            Val(ValType::V128),
        ];
        let fields = list.map(field);
        let whole = StructType::new(fields);
        let offsets: Vec<_> = (0..6).map(|i| whole.offset(i)).collect();
        assert_eq!(offsets, [8, 10, 12, 16, 24, 32]);
        assert_eq!(whole.size(), 48);
        let part = StructType::new(&fields[..3]);
        assert_eq!((part.offset(2), part.size()), (12, 16));
        assert_eq!(StructType::new([]).size(), 8);
    }

    #[test]
    fn sizes_of_arrays_do_not_overflow() {
        let bytes = ArrayType { element: field(StorageType::I8) };
        assert_eq!((bytes.size(0), bytes.size(1), bytes.size(8)), (16, 24, 24));
        let vectors = ArrayType { element: field(StorageType::Val(ValType::V128)) };
        assert_eq!(vectors.size(u32::MAX), 16 + 16 * u64::from(u32::MAX));
    }

    #[test]
    fn what_can_be_written_keeps_its_type() {
        let of = |nullable, mutable| FieldType {
            storage: StorageType::Val(ValType::Ref(RefType { nullable, heap: HeapType::Any })),
            mutable,
        };
        assert!(of(false, false).matches(of(true, false)));
        assert!(!of(false, true).matches(of(true, true)));
        assert!(!of(true, true).matches(of(true, false)));
    }
}

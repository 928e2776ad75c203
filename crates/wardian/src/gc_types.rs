//! Types of structs and arrays, and of what lies in them.
//!
//! As function types, they are of the process: equal ones are equal in every engine.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{FuncType, Mutability, ValType};
use std::fmt;
use std::hash::{Hash, Hasher};
use wardian_module as m;

/// Whether a type can have subtypes.
///
/// ```
/// assert!(wardian::Finality::Final.is_final());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Finality {
    /// It has none.
    Final,
    /// It may have some.
    NonFinal,
}

impl Finality {
    /// Whether it is [`Finality::Final`].
    pub fn is_final(self) -> bool {
        self == Finality::Final
    }

    /// Whether it is [`Finality::NonFinal`].
    pub fn is_non_final(self) -> bool {
        self == Finality::NonFinal
    }

    fn of(ty: &m::RegisteredType) -> Finality {
        if ty.is_final() { Finality::Final } else { Finality::NonFinal }
    }
}

/// What a field of a struct, or an element of an array, holds.
///
/// ```
/// use wardian::{StorageType, ValType};
///
/// assert!(StorageType::I8.unpack().is_i32() && StorageType::from(ValType::I64).is_val_type());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum StorageType {
    /// The low 8 bits of an `i32`.
    I8,
    /// The low 16 bits of an `i32`.
    I16,
    /// A value.
    ValType(ValType),
}

impl From<ValType> for StorageType {
    fn from(ty: ValType) -> StorageType {
        StorageType::ValType(ty)
    }
}

impl StorageType {
    /// Whether it is [`StorageType::I8`].
    pub fn is_i8(&self) -> bool {
        matches!(self, StorageType::I8)
    }

    /// Whether it is [`StorageType::I16`].
    pub fn is_i16(&self) -> bool {
        matches!(self, StorageType::I16)
    }

    /// Whether it holds whole values.
    pub fn is_val_type(&self) -> bool {
        self.as_val_type().is_some()
    }

    /// The type of the values it holds whole.
    pub fn as_val_type(&self) -> Option<&ValType> {
        match self {
            StorageType::ValType(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of the values it holds whole.
    ///
    /// # Panics
    ///
    /// If it holds parts of values.
    pub fn unwrap_val_type(&self) -> &ValType {
        self.as_val_type().expect("a type of whole values")
    }

    /// The type of the values that are put in.
    pub fn unpack(&self) -> &ValType {
        self.as_val_type().unwrap_or(&ValType::I32)
    }

    /// Whether all that it holds can be read as `other`.
    pub fn matches(&self, other: &StorageType) -> bool {
        self.to_module().matches(other.to_module())
    }

    fn from_module(ty: m::StorageType) -> StorageType {
        match ty {
            m::StorageType::I8 => StorageType::I8,
            m::StorageType::I16 => StorageType::I16,
            m::StorageType::Val(ty) => ValType::from_module(ty).into(),
        }
    }

    fn to_module(&self) -> m::StorageType {
        match self {
            StorageType::I8 => m::StorageType::I8,
            StorageType::I16 => m::StorageType::I16,
            StorageType::ValType(ty) => m::StorageType::Val(ty.to_module()),
        }
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_module(), f)
    }
}

/// A field of a struct, or the elements of an array.
///
/// ```
/// use wardian::{FieldType, Mutability, StorageType};
///
/// let ty = FieldType::new(Mutability::Var, StorageType::I8);
/// assert!(ty.mutability().is_var() && ty.element_type().is_i8());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FieldType {
    mutability: Mutability,
    element_type: StorageType,
}

impl FieldType {
    /// A field of these properties.
    pub fn new(mutability: Mutability, element_type: StorageType) -> FieldType {
        FieldType { mutability, element_type }
    }

    /// Whether it can be set.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// What it holds.
    pub fn element_type(&self) -> &StorageType {
        &self.element_type
    }

    /// Whether it can stand where `other` is expected: one that can be set must hold the very same.
    pub fn matches(&self, other: &FieldType) -> bool {
        self.to_module().matches(other.to_module())
    }

    pub(crate) fn from_module(ty: m::FieldType) -> FieldType {
        let mutability = if ty.mutable { Mutability::Var } else { Mutability::Const };
        FieldType::new(mutability, StorageType::from_module(ty.storage))
    }

    fn to_module(&self) -> m::FieldType {
        let storage = self.element_type.to_module();
        m::FieldType { storage, mutable: self.mutability.is_var() }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_module(), f)
    }
}

/// Supertypes that a type may have one above the other, as for modules (spec, appendix "Implementation
/// Limitations").
const MAX_DEPTH: u32 = 63;
/// Fields of a struct, as for modules.
const MAX_FIELDS: usize = 10_000;

/// Registers a type below another, if it may stand there.
fn register(
    finality: Finality,
    supertype: Option<&m::RegisteredType>,
    composite: m::CompositeType,
) -> Result<m::RegisteredType> {
    let misuse = |text: String| Error::tagged(ErrorKind::Misuse, text);
    if let Some(supertype) = supertype {
        if supertype.is_final() {
            return Err(misuse("the supertype is final".into()));
        }
        if !composite.matches(supertype.composite()) {
            return Err(misuse("the type does not match its supertype".into()));
        }
        if supertype.depth() >= MAX_DEPTH {
            return Err(misuse(format!("more than {MAX_DEPTH} supertypes, one above the other")));
        }
    }
    let is_final = finality.is_final();
    let supertype = supertype.map(m::RegisteredType::id);
    let ty = m::SubType { is_final, supertype, composite };
    Ok(m::RegisteredType::intern_sub(&ty).expect("its parts are alive in this call"))
}

macro_rules! defined_type {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Whether it can have subtypes.
            pub fn finality(&self) -> Finality {
                Finality::of(&self.registered)
            }

            /// The type that it was declared below.
            pub fn supertype(&self) -> Option<$name> {
                self.registered.sub_type().supertype.map($name::from_id)
            }

            #[doc = concat!("Whether every ", $what, " of this type is one of `other`.")]
            pub fn matches(&self, other: &$name) -> bool {
                m::is_subtype(self.id(), other.id())
            }

            pub(crate) fn from_registered(registered: m::RegisteredType) -> $name {
                $name { registered }
            }

            pub(crate) fn from_id(id: m::TypeId) -> $name {
                let registered = m::RegisteredType::from_id(id);
                $name::from_registered(
                    registered.expect("whoever has an id keeps its type registered"),
                )
            }

            pub(crate) fn id(&self) -> m::TypeId {
                self.registered.id()
            }

            pub(crate) fn registered(&self) -> &m::RegisteredType {
                &self.registered
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.id().hash(state);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// The type of a struct.
///
/// ```
/// use wardian::{Engine, FieldType, Mutability, StorageType, StructType, ValType};
///
/// let engine = Engine::default();
/// let field = FieldType::new(Mutability::Var, StorageType::from(ValType::I32));
/// let ty = StructType::new(&engine, [field.clone(), field])?;
/// assert_eq!(ty.fields().len(), 2);
/// assert_eq!(ty.to_string(), "(struct (field (mut i32)) (field (mut i32)))");
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StructType {
    registered: m::RegisteredType,
}

defined_type!(StructType, "struct");

impl StructType {
    /// A final type of these fields, below no other. `_engine` as for [`FuncType::new`].
    ///
    /// # Errors
    ///
    /// When there are more than 10,000 fields.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = FieldType>) -> Result<StructType> {
        StructType::with_finality_and_supertype(engine, Finality::Final, None, fields)
    }

    /// A type of these fields, below another.
    ///
    /// # Errors
    ///
    /// When the supertype is final, does not have the first of these fields, or has itself 63 above it; when
    /// there are more than 10,000 fields.
    pub fn with_finality_and_supertype(
        _engine: &Engine,
        finality: Finality,
        supertype: Option<&StructType>,
        fields: impl IntoIterator<Item = FieldType>,
    ) -> Result<StructType> {
        // The types named inside live until they were registered: this list holds them.
        let fields: Vec<FieldType> = fields.into_iter().take(MAX_FIELDS + 1).collect();
        if fields.len() > MAX_FIELDS {
            let text = format!("a struct has at most {MAX_FIELDS} fields");
            return Err(Error::tagged(ErrorKind::Misuse, text));
        }
        let list: Vec<m::FieldType> = fields.iter().map(FieldType::to_module).collect();
        let composite = m::CompositeType::Struct(m::StructType::new(list));
        let registered = register(finality, supertype.map(|ty| &ty.registered), composite)?;
        Ok(StructType { registered })
    }

    /// Its fields, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        self.as_module().fields().iter().copied().map(FieldType::from_module)
    }

    /// The field at a position.
    pub fn field(&self, i: usize) -> Option<FieldType> {
        self.fields().nth(i)
    }

    pub(crate) fn as_module(&self) -> &m::StructType {
        self.registered.as_struct().expect("the type of a struct")
    }
}

impl fmt::Display for StructType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(struct")?;
        for field in self.as_module().fields() {
            write!(f, " (field {field})")?;
        }
        f.write_str(")")
    }
}

/// The type of an array.
///
/// ```
/// use wardian::{ArrayType, Engine, FieldType, Mutability, StorageType};
///
/// let bytes = FieldType::new(Mutability::Var, StorageType::I8);
/// let ty = ArrayType::new(&Engine::default(), bytes);
/// assert!(ty.element_type().is_i8() && ty.mutability().is_var());
/// assert_eq!(ty.to_string(), "(array (mut i8))");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ArrayType {
    registered: m::RegisteredType,
}

defined_type!(ArrayType, "array");

impl ArrayType {
    /// A final type of these elements, below no other. `_engine` as for [`FuncType::new`].
    pub fn new(engine: &Engine, field_type: FieldType) -> ArrayType {
        ArrayType::with_finality_and_supertype(engine, Finality::Final, None, field_type)
            .expect("nothing is asked of a type without supertype")
    }

    /// A type of these elements, below another.
    ///
    /// # Errors
    ///
    /// When the supertype is final, has other elements, or has itself 63 above it.
    pub fn with_finality_and_supertype(
        _engine: &Engine,
        finality: Finality,
        supertype: Option<&ArrayType>,
        field_type: FieldType,
    ) -> Result<ArrayType> {
        let composite = m::CompositeType::Array(m::ArrayType { element: field_type.to_module() });
        let registered = register(finality, supertype.map(|ty| &ty.registered), composite)?;
        Ok(ArrayType { registered })
    }

    /// Its elements.
    pub fn field_type(&self) -> FieldType {
        FieldType::from_module(self.as_module().element)
    }

    /// Whether its elements can be set.
    pub fn mutability(&self) -> Mutability {
        self.field_type().mutability()
    }

    /// What its elements hold.
    pub fn element_type(&self) -> StorageType {
        self.field_type().element_type
    }

    pub(crate) fn as_module(&self) -> &m::ArrayType {
        self.registered.as_array().expect("the type of an array")
    }
}

impl fmt::Display for ArrayType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(array {})", self.as_module().element)
    }
}

impl FuncType {
    /// As [`new`](FuncType::new), below another function type.
    ///
    /// # Errors
    ///
    /// When the supertype is final, is not matched, or has itself 63 above it.
    pub fn with_finality_and_supertype(
        _engine: &Engine,
        finality: Finality,
        supertype: Option<&FuncType>,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<FuncType> {
        let params: Vec<ValType> = params.into_iter().collect();
        let results: Vec<ValType> = results.into_iter().collect();
        let convert = |types: &[ValType]| types.iter().map(ValType::to_module).collect::<Vec<_>>();
        let ty = m::FuncType::new(convert(&params), convert(&results));
        let composite = m::CompositeType::Func(ty);
        register(finality, supertype.map(FuncType::registered), composite)
            .map(FuncType::from_registered)
    }

    /// Whether it can have subtypes.
    pub fn finality(&self) -> Finality {
        Finality::of(self.registered())
    }

    /// The type that it was declared below.
    pub fn supertype(&self) -> Option<FuncType> {
        self.registered().sub_type().supertype.map(FuncType::from_id)
    }
}

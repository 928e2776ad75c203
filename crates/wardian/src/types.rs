//! Types of the API: what values, functions and externals are.
//!
//! They stand for the types of `module`, with one difference: a concrete type is a [`FuncType`],
//! [`StructType`] or [`ArrayType`], which keeps the type registered, where `module` has a bare id. So every
//! type here can be kept as long as one likes, independent of the module it came from.
//!
//! Invariant: two of these are equal exactly when their ids are, because registration is
//! process-wide and structural.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::externals::{Extern, Global, Memory, Table, Tag};
use crate::func::Func;
use crate::gc_types::{ArrayType, StructType};
use crate::shared_memory::SharedMemory;
use crate::store::AsContextMut;
use crate::val::Val;
use std::fmt;
use std::hash::{Hash, Hasher};
use wardian_module as m;

/// The type of a value.
///
/// ```
/// use wardian::ValType;
///
/// assert!(ValType::I32.is_num() && ValType::FUNCREF.is_ref());
/// assert_eq!(ValType::EXTERNREF.to_string(), "externref");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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

macro_rules! reference_types {
    ($($(#[$doc:meta])* $name:ident = $heap:ident;)*) => {
        impl RefType {
            $($(#[$doc])* pub const $name: RefType = RefType { nullable: true, heap_type: HeapType::$heap };)*
        }

        impl ValType {
            $($(#[$doc])* pub const $name: ValType = ValType::Ref(RefType::$name);)*
        }
    };
}

reference_types! {
    /// `externref`: any host value, or null.
    EXTERNREF = Extern;
    /// `nullexternref`: only null.
    NULLEXTERNREF = NoExtern;
    /// `funcref`: any function, or null.
    FUNCREF = Func;
    /// `nullfuncref`: only null.
    NULLFUNCREF = NoFunc;
    /// `anyref`: any internal value, or null.
    ANYREF = Any;
    /// `eqref`: any internal value that can be compared, or null.
    EQREF = Eq;
    /// `i31ref`: an unboxed 31-bit integer, or null.
    I31REF = I31;
    /// `structref`: any struct, or null.
    STRUCTREF = Struct;
    /// `arrayref`: any array, or null.
    ARRAYREF = Array;
    /// `nullref`: only null.
    NULLREF = None;
    /// `exnref`: any exception, or null.
    EXNREF = Exn;
    /// `nullexnref`: only null.
    NULLEXNREF = NoExn;
}

impl ValType {
    /// Whether it is an integer or a float.
    pub fn is_num(&self) -> bool {
        matches!(self, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
    }

    /// Whether it is `i32`.
    pub fn is_i32(&self) -> bool {
        matches!(self, ValType::I32)
    }

    /// Whether it is `i64`.
    pub fn is_i64(&self) -> bool {
        matches!(self, ValType::I64)
    }

    /// Whether it is `f32`.
    pub fn is_f32(&self) -> bool {
        matches!(self, ValType::F32)
    }

    /// Whether it is `f64`.
    pub fn is_f64(&self) -> bool {
        matches!(self, ValType::F64)
    }

    /// Whether it is `v128`.
    pub fn is_v128(&self) -> bool {
        matches!(self, ValType::V128)
    }

    /// Whether it is a vector type.
    pub fn is_vector(&self) -> bool {
        self.is_v128()
    }

    /// Whether it is a reference type.
    pub fn is_ref(&self) -> bool {
        matches!(self, ValType::Ref(_))
    }

    /// Whether it is `funcref`.
    pub fn is_funcref(&self) -> bool {
        *self == ValType::FUNCREF
    }

    /// Whether it is `externref`.
    pub fn is_externref(&self) -> bool {
        *self == ValType::EXTERNREF
    }

    /// Whether it is `anyref`.
    pub fn is_anyref(&self) -> bool {
        *self == ValType::ANYREF
    }

    /// The reference type, if it is one.
    pub fn as_ref(&self) -> Option<&RefType> {
        match self {
            ValType::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// The reference type.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn unwrap_ref(&self) -> &RefType {
        self.as_ref().expect("a reference type")
    }

    /// Whether every value of this type is one of `other`.
    ///
    /// ```
    /// use wardian::ValType;
    ///
    /// assert!(ValType::NULLFUNCREF.matches(&ValType::FUNCREF));
    /// assert!(!ValType::I32.matches(&ValType::I64));
    /// ```
    pub fn matches(&self, other: &ValType) -> bool {
        self.to_module().matches(other.to_module())
    }

    /// The value that a local of this type starts with, if it has one: zero or null.
    pub fn default_value(&self) -> Option<Val> {
        Val::default_for_ty(self)
    }

    /// Whether a variable of this type has a value before one is given: zero or null.
    pub fn is_defaultable(&self) -> bool {
        self.to_module().is_defaultable()
    }

    pub(crate) fn from_module(ty: m::ValType) -> ValType {
        match ty {
            m::ValType::I32 => ValType::I32,
            m::ValType::I64 => ValType::I64,
            m::ValType::F32 => ValType::F32,
            m::ValType::F64 => ValType::F64,
            m::ValType::V128 => ValType::V128,
            m::ValType::Ref(ty) => ValType::Ref(RefType::from_module(ty)),
        }
    }

    /// The id in it, if any, is live as long as `self`.
    pub(crate) fn to_module(&self) -> m::ValType {
        match self {
            ValType::I32 => m::ValType::I32,
            ValType::I64 => m::ValType::I64,
            ValType::F32 => m::ValType::F32,
            ValType::F64 => m::ValType::F64,
            ValType::V128 => m::ValType::V128,
            ValType::Ref(ty) => m::ValType::Ref(ty.to_module()),
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_module(), f)
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> ValType {
        ValType::Ref(ty)
    }
}

/// The type of a reference: what it refers to, and whether it may be null.
///
/// ```
/// use wardian::{HeapType, RefType};
///
/// let ty = RefType::new(false, HeapType::Func);
/// assert!(ty.matches(&RefType::FUNCREF) && !RefType::FUNCREF.matches(&ty));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RefType {
    nullable: bool,
    heap_type: HeapType,
}

impl RefType {
    /// `(ref null heap_type)` or `(ref heap_type)`.
    pub fn new(is_nullable: bool, heap_type: HeapType) -> RefType {
        RefType { nullable: is_nullable, heap_type }
    }

    /// Whether null is a value of this type.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// What a reference that is not null refers to.
    pub fn heap_type(&self) -> &HeapType {
        &self.heap_type
    }

    /// Whether every value of this type is one of `other`.
    pub fn matches(&self, other: &RefType) -> bool {
        self.to_module().matches(other.to_module())
    }

    pub(crate) fn from_module(ty: m::RefType) -> RefType {
        RefType { nullable: ty.nullable, heap_type: HeapType::from_module(ty.heap) }
    }

    pub(crate) fn to_module(&self) -> m::RefType {
        m::RefType { nullable: self.nullable, heap: self.heap_type.to_module() }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_module(), f)
    }
}

/// What a reference refers to.
///
/// ```
/// use wardian::HeapType;
///
/// assert_eq!(HeapType::NoFunc.top(), HeapType::Func);
/// assert_eq!(HeapType::Extern.bottom(), HeapType::NoExtern);
/// assert!(HeapType::NoFunc.matches(&HeapType::Func));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HeapType {
    /// Any host value.
    Extern,
    /// No host value.
    NoExtern,
    /// Any function.
    Func,
    /// A function of this type.
    ConcreteFunc(FuncType),
    /// No function.
    NoFunc,
    /// Any internal value.
    Any,
    /// Any internal value that can be compared.
    Eq,
    /// An unboxed 31-bit integer.
    I31,
    /// Any array.
    Array,
    /// Any struct.
    Struct,
    /// An array of this type.
    ConcreteArray(ArrayType),
    /// A struct of this type.
    ConcreteStruct(StructType),
    /// No internal value.
    None,
    /// Any exception.
    Exn,
    /// No exception.
    NoExn,
}

impl HeapType {
    /// Whether it is [`HeapType::Extern`].
    pub fn is_extern(&self) -> bool {
        matches!(self, HeapType::Extern)
    }

    /// Whether it is [`HeapType::Func`].
    pub fn is_func(&self) -> bool {
        matches!(self, HeapType::Func)
    }

    /// Whether it is [`HeapType::NoFunc`].
    pub fn is_no_func(&self) -> bool {
        matches!(self, HeapType::NoFunc)
    }

    /// Whether it is [`HeapType::Any`].
    pub fn is_any(&self) -> bool {
        matches!(self, HeapType::Any)
    }

    /// Whether it is [`HeapType::I31`].
    pub fn is_i31(&self) -> bool {
        matches!(self, HeapType::I31)
    }

    /// Whether it is [`HeapType::NoExtern`].
    pub fn is_no_extern(&self) -> bool {
        matches!(self, HeapType::NoExtern)
    }

    /// Whether it is [`HeapType::Exn`].
    pub fn is_exn(&self) -> bool {
        matches!(self, HeapType::Exn)
    }

    /// Whether it is [`HeapType::NoExn`].
    pub fn is_no_exn(&self) -> bool {
        matches!(self, HeapType::NoExn)
    }

    /// Whether it is [`HeapType::None`].
    pub fn is_none(&self) -> bool {
        matches!(self, HeapType::None)
    }

    /// Whether it names no defined type.
    pub fn is_abstract(&self) -> bool {
        !self.is_concrete()
    }

    /// Whether it names a defined type.
    pub fn is_concrete(&self) -> bool {
        use HeapType::{ConcreteArray, ConcreteFunc, ConcreteStruct};
        matches!(self, ConcreteFunc(_) | ConcreteArray(_) | ConcreteStruct(_))
    }

    /// Whether it names a defined array type.
    pub fn is_concrete_array(&self) -> bool {
        self.as_concrete_array().is_some()
    }

    /// The defined array type it names, if it does.
    pub fn as_concrete_array(&self) -> Option<&ArrayType> {
        match self {
            HeapType::ConcreteArray(ty) => Some(ty),
            _ => None,
        }
    }

    /// The defined array type it names.
    ///
    /// # Panics
    ///
    /// If it names none.
    pub fn unwrap_concrete_array(&self) -> &ArrayType {
        self.as_concrete_array().expect("a concrete array type")
    }

    /// Whether it names a defined struct type.
    pub fn is_concrete_struct(&self) -> bool {
        self.as_concrete_struct().is_some()
    }

    /// The defined struct type it names, if it does.
    pub fn as_concrete_struct(&self) -> Option<&StructType> {
        match self {
            HeapType::ConcreteStruct(ty) => Some(ty),
            _ => None,
        }
    }

    /// The defined struct type it names.
    ///
    /// # Panics
    ///
    /// If it names none.
    pub fn unwrap_concrete_struct(&self) -> &StructType {
        self.as_concrete_struct().expect("a concrete struct type")
    }

    /// Whether it names a defined function type.
    pub fn is_concrete_func(&self) -> bool {
        self.as_concrete_func().is_some()
    }

    /// The defined function type it names, if it does.
    pub fn as_concrete_func(&self) -> Option<&FuncType> {
        match self {
            HeapType::ConcreteFunc(ty) => Some(ty),
            _ => None,
        }
    }

    /// The defined function type it names.
    ///
    /// # Panics
    ///
    /// If it names none.
    pub fn unwrap_concrete_func(&self) -> &FuncType {
        self.as_concrete_func().expect("a concrete function type")
    }

    /// The top of its hierarchy: what it matches and what matches nothing else.
    pub fn top(&self) -> HeapType {
        match self.to_module().top() {
            m::HeapTop::Func => HeapType::Func,
            m::HeapTop::Extern => HeapType::Extern,
            m::HeapTop::Any => HeapType::Any,
            m::HeapTop::Exn => HeapType::Exn,
        }
    }

    /// Whether it is the top of its hierarchy.
    pub fn is_top(&self) -> bool {
        *self == self.top()
    }

    /// The bottom of its hierarchy: what matches it and all others there.
    pub fn bottom(&self) -> HeapType {
        match self.to_module().top() {
            m::HeapTop::Func => HeapType::NoFunc,
            m::HeapTop::Extern => HeapType::NoExtern,
            m::HeapTop::Any => HeapType::None,
            m::HeapTop::Exn => HeapType::NoExn,
        }
    }

    /// Whether it is the bottom of its hierarchy, to which only null belongs.
    pub fn is_bottom(&self) -> bool {
        matches!(self, HeapType::NoExtern | HeapType::NoFunc | HeapType::None | HeapType::NoExn)
    }

    /// Whether everything of this type is of type `other`.
    pub fn matches(&self, other: &HeapType) -> bool {
        self.to_module().matches(other.to_module())
    }

    /// # Panics
    ///
    /// If `ty` names a type that is not live: whoever has the id keeps its type registered.
    pub(crate) fn from_module(ty: m::HeapType) -> HeapType {
        match ty {
            m::HeapType::Extern => HeapType::Extern,
            m::HeapType::NoExtern => HeapType::NoExtern,
            m::HeapType::Func => HeapType::Func,
            m::HeapType::NoFunc => HeapType::NoFunc,
            m::HeapType::Any => HeapType::Any,
            m::HeapType::Eq => HeapType::Eq,
            m::HeapType::I31 => HeapType::I31,
            m::HeapType::Array => HeapType::Array,
            m::HeapType::Struct => HeapType::Struct,
            m::HeapType::None => HeapType::None,
            m::HeapType::Exn => HeapType::Exn,
            m::HeapType::NoExn => HeapType::NoExn,
            m::HeapType::ConcreteFunc(id) => HeapType::ConcreteFunc(FuncType::from_id(id)),
            m::HeapType::ConcreteStruct(id) => HeapType::ConcreteStruct(StructType::from_id(id)),
            m::HeapType::ConcreteArray(id) => HeapType::ConcreteArray(ArrayType::from_id(id)),
        }
    }

    pub(crate) fn to_module(&self) -> m::HeapType {
        match self {
            HeapType::Extern => m::HeapType::Extern,
            HeapType::NoExtern => m::HeapType::NoExtern,
            HeapType::Func => m::HeapType::Func,
            HeapType::NoFunc => m::HeapType::NoFunc,
            HeapType::Any => m::HeapType::Any,
            HeapType::Eq => m::HeapType::Eq,
            HeapType::I31 => m::HeapType::I31,
            HeapType::Array => m::HeapType::Array,
            HeapType::Struct => m::HeapType::Struct,
            HeapType::None => m::HeapType::None,
            HeapType::Exn => m::HeapType::Exn,
            HeapType::NoExn => m::HeapType::NoExn,
            HeapType::ConcreteFunc(ty) => m::HeapType::ConcreteFunc(ty.id()),
            HeapType::ConcreteStruct(ty) => m::HeapType::ConcreteStruct(ty.id()),
            HeapType::ConcreteArray(ty) => m::HeapType::ConcreteArray(ty.id()),
        }
    }
}

impl From<FuncType> for HeapType {
    fn from(ty: FuncType) -> HeapType {
        HeapType::ConcreteFunc(ty)
    }
}

impl From<StructType> for HeapType {
    fn from(ty: StructType) -> HeapType {
        HeapType::ConcreteStruct(ty)
    }
}

impl From<ArrayType> for HeapType {
    fn from(ty: ArrayType) -> HeapType {
        HeapType::ConcreteArray(ty)
    }
}

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_module(), f)
    }
}

/// Parameters and results of a function.
///
/// ```
/// use wardian::{Engine, FuncType, ValType};
///
/// let engine = Engine::default();
/// let ty = FuncType::new(&engine, [ValType::I32, ValType::F64], [ValType::I64]);
/// assert_eq!(ty.param(1), Some(ValType::F64));
/// assert_eq!(ty.results().len(), 1);
/// assert_eq!(ty.to_string(), "(func (param i32 f64) (result i64))");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct FuncType {
    registered: m::RegisteredType,
}

impl FuncType {
    /// The function type with these parameters and results.
    ///
    /// Types are the same in all engines of a process; `_engine` is there because users know the
    /// signature so, and for engines to come that may differ.
    pub fn new(
        _engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> FuncType {
        // The types named inside live until `intern` has noted them: these lists hold them.
        let params: Vec<ValType> = params.into_iter().collect();
        let results: Vec<ValType> = results.into_iter().collect();
        let convert = |types: &[ValType]| types.iter().map(ValType::to_module).collect::<Vec<_>>();
        let ty = m::FuncType::new(convert(&params), convert(&results));
        let registered = m::RegisteredType::intern(&ty).expect("its parts are alive in this call");
        FuncType { registered }
    }

    /// As [`new`](FuncType::new), for those who know the signature so: nothing makes it fail.
    ///
    /// # Errors
    ///
    /// None.
    pub fn try_new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<FuncType> {
        Ok(FuncType::new(engine, params, results))
    }

    /// Parameter types, in order.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_module().params().iter().copied().map(ValType::from_module)
    }

    /// The parameter at a position.
    pub fn param(&self, i: usize) -> Option<ValType> {
        self.params().nth(i)
    }

    /// Result types, in order.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_module().results().iter().copied().map(ValType::from_module)
    }

    /// The result at a position.
    pub fn result(&self, i: usize) -> Option<ValType> {
        self.results().nth(i)
    }

    /// Whether a function of this type can be used where `other` is expected.
    pub fn matches(&self, other: &FuncType) -> bool {
        m::is_subtype(self.id(), other.id())
    }

    /// A function of this type that does nothing and returns default values.
    ///
    /// # Errors
    ///
    /// When a result type has no default value.
    pub fn default_value<T: 'static>(&self, store: impl AsContextMut<Data = T>) -> Result<Func> {
        let values = self.default_results()?;
        Func::try_new(store, self.clone(), move |_, _, results| {
            results.clone_from_slice(&values);
            Ok(())
        })
    }

    /// The default values of its results.
    pub(crate) fn default_results(&self) -> Result<Vec<Val>> {
        self.results().map(|ty| ty.default_value().ok_or_else(|| no_default(&ty))).collect()
    }

    pub(crate) fn from_registered(registered: m::RegisteredType) -> FuncType {
        FuncType { registered }
    }

    pub(crate) fn from_id(id: m::TypeId) -> FuncType {
        FuncType::from_registered(
            m::RegisteredType::from_id(id).expect("whoever has an id keeps its type registered"),
        )
    }

    pub(crate) fn id(&self) -> m::TypeId {
        self.registered.id()
    }

    pub(crate) fn as_module(&self) -> &m::FuncType {
        self.registered.func_type()
    }

    /// The handle that keeps it registered, for stores.
    pub(crate) fn registered(&self) -> &m::RegisteredType {
        &self.registered
    }
}

impl Hash for FuncType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_module(), f)
    }
}

/// Whether a global can change.
///
/// ```
/// assert!(wardian::Mutability::Var.is_var());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mutability {
    /// It keeps its first value.
    Const,
    /// It can be set.
    Var,
}

impl Mutability {
    /// Whether it is [`Mutability::Const`].
    pub fn is_const(&self) -> bool {
        *self == Mutability::Const
    }

    /// Whether it is [`Mutability::Var`].
    pub fn is_var(&self) -> bool {
        *self == Mutability::Var
    }
}

/// The type of a global.
///
/// ```
/// use wardian::{GlobalType, Mutability, ValType};
///
/// let ty = GlobalType::new(ValType::I64, Mutability::Var);
/// assert!(ty.content().is_i64() && ty.mutability() == Mutability::Var);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

impl GlobalType {
    /// A global of these properties.
    pub fn new(content: ValType, mutability: Mutability) -> GlobalType {
        GlobalType { content, mutability }
    }

    /// The type of its value.
    pub fn content(&self) -> &ValType {
        &self.content
    }

    /// Whether it can change.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// A global of this type that holds zero or null.
    ///
    /// # Errors
    ///
    /// When the type of its value has no default value.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Global> {
        let value = self.content.default_value().ok_or_else(|| no_default(&self.content))?;
        Global::new(store, self.clone(), value)
    }

    /// Whether a global of this type can be imported as `other`. spec 3.3 (matching, global types):
    /// a mutable one must have the very type.
    pub fn matches(&self, other: &GlobalType) -> bool {
        self.mutability == other.mutability
            && self.content.matches(&other.content)
            && (self.mutability == Mutability::Const || other.content.matches(&self.content))
    }

    pub(crate) fn from_module(ty: m::GlobalType) -> GlobalType {
        let mutability = if ty.mutable { Mutability::Var } else { Mutability::Const };
        GlobalType { content: ValType::from_module(ty.content), mutability }
    }

    pub(crate) fn to_module(&self) -> m::GlobalType {
        m::GlobalType {
            content: self.content.to_module(),
            mutable: self.mutability == Mutability::Var,
        }
    }
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutability {
            Mutability::Const => write!(f, "(global {})", self.content),
            Mutability::Var => write!(f, "(global (mut {}))", self.content),
        }
    }
}

/// The type of a table. Sizes are in elements.
///
/// ```
/// use wardian::{RefType, TableType};
///
/// let ty = TableType::new(RefType::FUNCREF, 10, Some(20));
/// assert_eq!((ty.minimum(), ty.maximum()), (10, Some(20)));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TableType {
    element: RefType,
    index: m::IndexType,
    limits: m::Limits,
}

impl TableType {
    /// A table with 32-bit indices.
    ///
    /// # Panics
    ///
    /// If `max` is below `min`.
    pub fn new(element: RefType, min: u32, max: Option<u32>) -> TableType {
        TableType {
            element,
            index: m::IndexType::I32,
            limits: limits(min.into(), max.map(u64::from)).expect("a valid table type"),
        }
    }

    /// A table with 64-bit indices.
    ///
    /// # Panics
    ///
    /// If `max` is below `min`.
    pub fn new64(element: RefType, min: u64, max: Option<u64>) -> TableType {
        let limits = limits(min, max).expect("a valid table type");
        TableType { element, index: m::IndexType::I64, limits }
    }

    /// Whether its indices are 64-bit.
    pub fn is_64(&self) -> bool {
        self.index == m::IndexType::I64
    }

    /// The type of its elements.
    pub fn element(&self) -> &RefType {
        &self.element
    }

    /// Size at creation.
    pub fn minimum(&self) -> u64 {
        self.limits.min
    }

    /// Size that growth may not pass.
    pub fn maximum(&self) -> Option<u64> {
        self.limits.max
    }

    /// A table of this type and its minimum size, of nulls.
    ///
    /// # Errors
    ///
    /// When its elements cannot be null, and as [`Table::new`].
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Table> {
        let ty = ValType::Ref(self.element.clone());
        let value = ty.default_value().and_then(Val::ref_).ok_or_else(|| no_default(&ty))?;
        Table::new(store, self.clone(), value)
    }

    /// Whether a table of this type (at its smallest) can be imported as `other`.
    pub fn matches(&self, other: &TableType) -> bool {
        self.index == other.index
            && self.element == other.element
            && self.limits.matches(self.limits.min, other.limits)
    }

    pub(crate) fn from_module(ty: m::TableType) -> TableType {
        TableType { element: RefType::from_module(ty.element), index: ty.index, limits: ty.limits }
    }

    pub(crate) fn to_module(&self) -> m::TableType {
        m::TableType { index: self.index, limits: self.limits, element: self.element.to_module() }
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(table {}{} {})", index_prefix(self.index), Range(self.limits), self.element)
    }
}

/// The type of a memory. Sizes are in pages.
///
/// ```
/// use wardian::MemoryType;
///
/// let ty = MemoryType::new(1, Some(16));
/// assert_eq!((ty.minimum(), ty.page_size()), (1, 65536));
/// assert!(MemoryType::new64(1, None).is_64());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemoryType {
    ty: m::MemoryType,
}

impl MemoryType {
    /// A memory with 32-bit addresses and pages of 64 KiB.
    ///
    /// # Panics
    ///
    /// If `max` is below `min`, or either above 65,536 pages.
    pub fn new(min: u32, max: Option<u32>) -> MemoryType {
        let mut builder = MemoryTypeBuilder::new();
        builder.min(min.into()).max(max.map(u64::from));
        builder.build().expect("a valid memory type")
    }

    /// A memory with 64-bit addresses and pages of 64 KiB.
    ///
    /// # Panics
    ///
    /// If `max` is below `min`, or either above 2^48 pages.
    pub fn new64(min: u64, max: Option<u64>) -> MemoryType {
        let mut builder = MemoryTypeBuilder::new();
        builder.memory64(true).min(min).max(max);
        builder.build().expect("a valid memory type")
    }

    /// A memory with 32-bit addresses that threads can share.
    ///
    /// # Panics
    ///
    /// If `max` is below `min`, or either above 65,536 pages.
    pub fn shared(min: u32, max: u32) -> MemoryType {
        let mut builder = MemoryTypeBuilder::new();
        builder.shared(true).min(min.into()).max(Some(max.into()));
        builder.build().expect("a valid memory type")
    }

    /// A builder, for the rest of what a memory type can be.
    pub fn builder() -> MemoryTypeBuilder {
        MemoryTypeBuilder::new()
    }

    /// Whether its addresses are 64-bit.
    pub fn is_64(&self) -> bool {
        self.ty.index == m::IndexType::I64
    }

    /// Whether threads can share it.
    pub fn is_shared(&self) -> bool {
        self.ty.shared
    }

    /// Pages at creation.
    pub fn minimum(&self) -> u64 {
        self.ty.limits.min
    }

    /// Pages that growth may not pass.
    pub fn maximum(&self) -> Option<u64> {
        self.ty.limits.max
    }

    /// Size of a page in bytes.
    pub fn page_size(&self) -> u64 {
        1 << self.ty.page_size_log2
    }

    /// Base-2 logarithm of the size of a page in bytes.
    pub fn page_size_log2(&self) -> u8 {
        self.ty.page_size_log2
    }

    /// A memory of this type and its minimum size, zeroed.
    ///
    /// # Errors
    ///
    /// As [`Memory::new`] and [`SharedMemory::new`].
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Extern> {
        if self.is_shared() {
            let engine = store.as_context().0.engine.clone();
            return Ok(SharedMemory::new(&engine, self.clone())?.into());
        }
        Ok(Memory::new(store, self.clone())?.into())
    }

    /// Whether a memory of this type (at its smallest) can be imported as `other`.
    pub fn matches(&self, other: &MemoryType) -> bool {
        let (a, b) = (self.ty, other.ty);
        (a.index, a.shared, a.page_size_log2) == (b.index, b.shared, b.page_size_log2)
            && a.limits.matches(a.limits.min, b.limits)
    }

    pub(crate) fn from_module(ty: m::MemoryType) -> MemoryType {
        MemoryType { ty }
    }

    pub(crate) fn to_module(&self) -> m::MemoryType {
        self.ty
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(memory {}{}", index_prefix(self.ty.index), Range(self.ty.limits))?;
        if self.ty.shared {
            f.write_str(" shared")?;
        }
        if self.ty.page_size_log2 != 16 {
            write!(f, " (pagesize {})", self.page_size())?;
        }
        f.write_str(")")
    }
}

/// Builds a [`MemoryType`].
///
/// ```
/// use wardian::MemoryTypeBuilder;
///
/// let ty = MemoryTypeBuilder::new().memory64(true).min(2).max(Some(4)).build()?;
/// assert_eq!(ty.to_string(), "(memory i64 2 4)");
/// assert!(MemoryTypeBuilder::new().min(2).max(Some(1)).build().is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryTypeBuilder {
    ty: m::MemoryType,
}

impl Default for MemoryTypeBuilder {
    fn default() -> MemoryTypeBuilder {
        MemoryTypeBuilder {
            ty: m::MemoryType {
                index: m::IndexType::I32,
                limits: m::Limits { min: 0, max: None },
                shared: false,
                page_size_log2: 16,
            },
        }
    }
}

impl MemoryTypeBuilder {
    /// A memory of no pages, without maximum, with 32-bit addresses.
    pub fn new() -> MemoryTypeBuilder {
        MemoryTypeBuilder::default()
    }

    /// Pages at creation.
    pub fn min(&mut self, pages: u64) -> &mut MemoryTypeBuilder {
        self.ty.limits.min = pages;
        self
    }

    /// Pages that growth may not pass.
    pub fn max(&mut self, pages: Option<u64>) -> &mut MemoryTypeBuilder {
        self.ty.limits.max = pages;
        self
    }

    /// Whether its addresses are 64-bit.
    pub fn memory64(&mut self, enable: bool) -> &mut MemoryTypeBuilder {
        self.ty.index = if enable { m::IndexType::I64 } else { m::IndexType::I32 };
        self
    }

    /// Whether threads can share it; such a memory needs a maximum.
    pub fn shared(&mut self, enable: bool) -> &mut MemoryTypeBuilder {
        self.ty.shared = enable;
        self
    }

    /// Base-2 logarithm of the page size: 16 or 0.
    pub fn page_size_log2(&mut self, log2: u8) -> &mut MemoryTypeBuilder {
        self.ty.page_size_log2 = log2;
        self
    }

    /// The type.
    ///
    /// # Errors
    ///
    /// When it is no valid memory type. spec 3.2 (memory types).
    pub fn build(&self) -> Result<MemoryType> {
        let invalid = |message: String| Error::tagged(ErrorKind::Misuse, message);
        let ty = self.ty;
        if ty.page_size_log2 != 0 && ty.page_size_log2 != 16 {
            return Err(invalid(format!(
                "page size must be 1 or 65536 bytes, found 2^{}",
                ty.page_size_log2
            )));
        }
        if ty.shared && ty.limits.max.is_none() {
            return Err(invalid("a shared memory needs a maximum".into()));
        }
        limits(ty.limits.min, ty.limits.max)?;
        let largest = ty.addressable_bytes() >> ty.page_size_log2;
        let pages = ty.limits.max.unwrap_or(ty.limits.min);
        if u128::from(pages) > largest {
            return Err(invalid(format!(
                "a memory of this type has at most {largest} pages, found {pages}"
            )));
        }
        Ok(MemoryType { ty })
    }
}

/// The type of a tag: what its exceptions carry.
///
/// ```
/// use wardian::{Engine, FuncType, TagType, ValType};
///
/// let engine = Engine::default();
/// let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
/// assert_eq!(ty.ty().params().len(), 1);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TagType {
    ty: FuncType,
}

impl TagType {
    /// A tag whose exceptions carry the parameters of `ty`.
    pub fn new(ty: FuncType) -> TagType {
        TagType { ty }
    }

    /// Its function type.
    pub fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// Whether a tag of this type can be imported as `other`.
    pub fn matches(&self, other: &TagType) -> bool {
        self == other
    }

    /// A new tag of this type.
    ///
    /// # Errors
    ///
    /// As [`Tag::new`].
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Tag> {
        Tag::new(store, self)
    }
}

impl fmt::Display for TagType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(tag {})", self.ty)
    }
}

/// The type of what a module imports or exports.
///
/// ```
/// use wardian::{Engine, ExternType, Module};
///
/// let module = Module::new(&Engine::default(), "(module (global (export \"g\") i64 i64.const 1))")?;
/// let Some(ExternType::Global(ty)) = module.get_export("g") else { panic!("a global") };
/// assert!(ty.content().is_i64());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A global.
    Global(GlobalType),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A tag.
    Tag(TagType),
}

macro_rules! extern_accessors {
    ($($variant:ident $ty:ident $get:ident $unwrap:ident;)*) => {
        impl ExternType {
            $(
                #[doc = concat!("The [`", stringify!($ty), "`], if it is one.")]
                pub fn $get(&self) -> Option<&$ty> {
                    match self {
                        ExternType::$variant(ty) => Some(ty),
                        _ => None,
                    }
                }

                #[doc = concat!("The [`", stringify!($ty), "`].")]
                ///
                /// # Panics
                ///
                /// If it is something else.
                pub fn $unwrap(&self) -> &$ty {
                    self.$get().expect(concat!("a ", stringify!($ty)))
                }
            )*
        }

        $(
            impl From<$ty> for ExternType {
                fn from(ty: $ty) -> ExternType {
                    ExternType::$variant(ty)
                }
            }
        )*
    };
}

extern_accessors! {
    Func FuncType func unwrap_func;
    Global GlobalType global unwrap_global;
    Table TableType table unwrap_table;
    Memory MemoryType memory unwrap_memory;
    Tag TagType tag unwrap_tag;
}

impl ExternType {
    /// Whether something of this type can be imported as `other`.
    pub fn matches(&self, other: &ExternType) -> bool {
        match (self, other) {
            (ExternType::Func(a), ExternType::Func(b)) => a.matches(b),
            (ExternType::Global(a), ExternType::Global(b)) => a.matches(b),
            (ExternType::Table(a), ExternType::Table(b)) => a.matches(b),
            (ExternType::Memory(a), ExternType::Memory(b)) => a.matches(b),
            (ExternType::Tag(a), ExternType::Tag(b)) => a.matches(b),
            _ => false,
        }
    }

    /// Something of this type that does or holds as little as possible: functions return zeros and nulls,
    /// globals hold them, memories and tables have their minimum size.
    ///
    /// # Errors
    ///
    /// When a type in it has no default value, and as `new` of what is made.
    pub fn default_value<T: 'static>(&self, store: impl AsContextMut<Data = T>) -> Result<Extern> {
        Ok(match self {
            ExternType::Func(ty) => ty.default_value(store)?.into(),
            ExternType::Global(ty) => ty.default_value(store)?.into(),
            ExternType::Table(ty) => ty.default_value(store)?.into(),
            ExternType::Memory(ty) => ty.default_value(store)?,
            ExternType::Tag(ty) => Tag::new(store, ty)?.into(),
        })
    }

    /// Ids in `ty` are live: the module or store it comes from keeps them.
    pub(crate) fn from_module(ty: m::ExternType) -> ExternType {
        match ty {
            m::ExternType::Func(id) => FuncType::from_id(id).into(),
            m::ExternType::Table(ty) => TableType::from_module(ty).into(),
            m::ExternType::Memory(ty) => MemoryType::from_module(ty).into(),
            m::ExternType::Global(ty) => GlobalType::from_module(ty).into(),
            m::ExternType::Tag(id) => TagType::new(FuncType::from_id(id)).into(),
        }
    }
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExternType::Func(ty) => fmt::Display::fmt(ty, f),
            ExternType::Global(ty) => fmt::Display::fmt(ty, f),
            ExternType::Table(ty) => fmt::Display::fmt(ty, f),
            ExternType::Memory(ty) => fmt::Display::fmt(ty, f),
            ExternType::Tag(ty) => fmt::Display::fmt(ty, f),
        }
    }
}

/// Something that a module imports.
///
/// ```
/// use wardian::{Engine, Module};
///
/// let module = Module::new(&Engine::default(), "(module (import \"a\" \"b\" (memory 1)))")?;
/// let import = module.imports().next().unwrap();
/// assert_eq!((import.module(), import.name()), ("a", "b"));
/// assert_eq!(import.ty().unwrap_memory().minimum(), 1);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone)]
pub struct ImportType<'module> {
    module: &'module m::Module,
    import: &'module m::Import,
}

impl<'module> ImportType<'module> {
    pub(crate) fn new(module: &'module m::Module, import: &'module m::Import) -> Self {
        ImportType { module, import }
    }

    /// The module it is imported from: the first name.
    pub fn module(&self) -> &'module str {
        &self.import.module
    }

    /// Its name in that module: the second name.
    pub fn name(&self) -> &'module str {
        &self.import.field
    }

    /// The type it must have.
    pub fn ty(&self) -> ExternType {
        ExternType::from_module(self.module.extern_type(self.import.index))
    }
}

impl fmt::Debug for ImportType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportType")
            .field("module", &self.module())
            .field("name", &self.name())
            .field("ty", &self.ty())
            .finish()
    }
}

/// Something that a module exports.
///
/// ```
/// use wardian::{Engine, Module};
///
/// let module = Module::new(&Engine::default(), "(module (table (export \"t\") 3 funcref))")?;
/// let export = module.exports().next().unwrap();
/// assert_eq!(export.name(), "t");
/// assert_eq!(export.ty().unwrap_table().minimum(), 3);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone)]
pub struct ExportType<'module> {
    module: &'module m::Module,
    export: &'module m::Export,
}

impl<'module> ExportType<'module> {
    pub(crate) fn new(module: &'module m::Module, export: &'module m::Export) -> Self {
        ExportType { module, export }
    }

    /// Its name.
    pub fn name(&self) -> &'module str {
        &self.export.name
    }

    /// Its type.
    pub fn ty(&self) -> ExternType {
        ExternType::from_module(self.module.extern_type(self.export.index))
    }
}

impl fmt::Debug for ExportType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportType").field("name", &self.name()).field("ty", &self.ty()).finish()
    }
}

#[cold]
fn no_default(ty: &ValType) -> Error {
    Error::tagged(ErrorKind::Misuse, format!("the type {ty} has no default value"))
}

fn limits(min: u64, max: Option<u64>) -> Result<m::Limits> {
    match max {
        Some(max) if max < min => Err(Error::tagged(
            ErrorKind::Misuse,
            format!("the maximum {max} is below the minimum {min}"),
        )),
        _ => Ok(m::Limits { min, max }),
    }
}

fn index_prefix(index: m::IndexType) -> &'static str {
    if index == m::IndexType::I64 { "i64 " } else { "" }
}

/// Limits as the text format writes them.
struct Range(m::Limits);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.min)?;
        self.0.max.map_or(Ok(()), |max| write!(f, " {max}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_types_are_structural_and_keep_their_parts() {
        let engine = Engine::default();
        let inner = || FuncType::new(&engine, [ValType::I32], []);
        let outer = |ty| {
            let param = ValType::Ref(RefType::new(false, HeapType::ConcreteFunc(ty)));
            FuncType::new(&Engine::default(), [param], [ValType::V128])
        };
        let (a, b) = (outer(inner()), outer(inner()));
        assert_eq!(a, b);
        assert!(a.matches(&b) && !a.matches(&inner()));
        let param = a.param(0).unwrap();
        assert_eq!(*param.unwrap_ref().heap_type().unwrap_concrete_func(), inner());
        assert_eq!(a.to_string(), "(func (param (ref (func (param i32)))) (result v128))");
        assert_eq!((a.param(1), a.result(0)), (None, Some(ValType::V128)));
    }

    #[test]
    fn matching_of_externals() {
        let check = |a: ExternType, b: ExternType, expected: bool| {
            assert_eq!(a.matches(&b), expected, "{a} as {b}");
        };
        let global = |ty, mutability| GlobalType::new(ty, mutability).into();
        use Mutability::{Const, Var};
        check(global(ValType::NULLFUNCREF, Const), global(ValType::FUNCREF, Const), true);
        check(global(ValType::NULLFUNCREF, Var), global(ValType::FUNCREF, Var), false);
        check(global(ValType::I32, Var), global(ValType::I32, Const), false);
        let memory = |min, max| MemoryType::new(min, max).into();
        check(memory(2, Some(3)), memory(1, Some(3)), true);
        check(memory(2, None), memory(1, Some(3)), false);
        check(memory(1, None), memory(2, None), false);
        check(memory(1, None), MemoryType::new64(1, None).into(), false);
        let table = |element, min| TableType::new(element, min, None).into();
        check(table(RefType::FUNCREF, 2), table(RefType::FUNCREF, 1), true);
        check(table(RefType::NULLFUNCREF, 1), table(RefType::FUNCREF, 1), false);
        check(table(RefType::FUNCREF, 1), memory(1, None), false);
    }

    #[test]
    fn heap_types() {
        assert!(HeapType::NoFunc.matches(&HeapType::Func) && HeapType::NoFunc.is_bottom());
        assert_eq!(HeapType::I31.top(), HeapType::Any);
        assert!(HeapType::Extern.is_top() && !HeapType::Eq.is_top());
        let ty = FuncType::new(&Engine::default(), [], []);
        assert!(HeapType::from(ty).matches(&HeapType::Func));
        assert!(!ValType::Ref(RefType::new(false, HeapType::Func)).is_defaultable());
        assert_eq!(ValType::Ref(RefType::new(true, HeapType::Eq)).to_string(), "(ref null eq)");
    }

    #[test]
    fn memory_types_are_checked() {
        assert!(MemoryTypeBuilder::new().min(65_537).build().is_err());
        assert!(MemoryTypeBuilder::new().min(65_536).build().is_ok());
        assert!(MemoryTypeBuilder::new().memory64(true).min(1 << 48).build().is_ok());
        assert!(MemoryTypeBuilder::new().memory64(true).min((1 << 48) + 1).build().is_err());
        assert!(MemoryTypeBuilder::new().shared(true).build().is_err());
        assert!(MemoryTypeBuilder::new().page_size_log2(12).build().is_err());
        let bytes = MemoryTypeBuilder::new().page_size_log2(0).min(7).build().unwrap();
        assert_eq!(bytes.to_string(), "(memory 7 (pagesize 1))");
        assert_eq!(MemoryType::shared(1, 2).to_string(), "(memory 1 2 shared)");
    }

    #[test]
    #[should_panic(expected = "maximum 1 is below the minimum 2")]
    fn a_maximum_below_the_minimum_panics() {
        TableType::new(RefType::FUNCREF, 2, Some(1));
    }
}

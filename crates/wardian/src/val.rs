//! Values of dynamically known type, and references to host values.

use crate::error::{Error, ErrorKind, Result};
use crate::func::Func;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut, check_store};
use crate::types::{HeapType, RefType, ValType};
use std::any::Any;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use wardian_vm::{StoreId, Value};

/// A 128-bit vector, as its bits (lane 0 in the lowest).
///
/// ```
/// use wardian::V128;
///
/// let vector = V128::from(u128::from_le_bytes([7; 16]));
/// assert_eq!(vector.as_u128() as u8, 7);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V128(u128);

impl V128 {
    /// The bits.
    pub fn as_u128(&self) -> u128 {
        self.0
    }
}

impl From<u128> for V128 {
    fn from(bits: u128) -> V128 {
        V128(bits)
    }
}

impl From<V128> for u128 {
    fn from(vector: V128) -> u128 {
        vector.0
    }
}

impl std::fmt::Debug for V128 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#034x}", self.0)
    }
}

/// A value of the host behind a WebAssembly `externref`.
///
/// Guests can pass it around and compare it with null, nothing else.
///
/// ```
/// use wardian::{ExternRef, Store};
///
/// let mut store = Store::<()>::default();
/// let name = ExternRef::new(&mut store, String::from("Ada"))?;
/// let data = name.data(&store)?.expect("a host value");
/// assert_eq!(data.downcast_ref::<String>().unwrap(), "Ada");
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct ExternRef {
    _private: (),
}

/// A reference to an object of a store: a small copy that the store checks at each use.
///
/// ```
/// use wardian::{ExternRef, Rooted, Store};
///
/// let mut store = Store::<()>::default();
/// let a = ExternRef::new(&mut store, 5)?;
/// let b = ExternRef::new(&mut store, 5)?;
/// assert!(Rooted::ref_eq(&store, &a, &a)? && !Rooted::ref_eq(&store, &a, &b)?);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct Rooted<R> {
    store: StoreId,
    reference: u32,
    kind: PhantomData<fn() -> R>,
}

impl<R> Clone for Rooted<R> {
    fn clone(&self) -> Rooted<R> {
        *self
    }
}

impl<R> Copy for Rooted<R> {}

impl<R> PartialEq for Rooted<R> {
    fn eq(&self, other: &Rooted<R>) -> bool {
        (self.store, self.reference) == (other.store, other.reference)
    }
}

impl<R> Eq for Rooted<R> {}

impl<R> Rooted<R> {
    pub(crate) fn from_reference(store: StoreId, reference: u32) -> Option<Rooted<R>> {
        (reference != 0).then_some(Rooted { store, reference, kind: PhantomData })
    }

    pub(crate) fn reference_in(&self, store: StoreId) -> Result<u32> {
        check_store(self.store, store)?;
        Ok(self.reference)
    }
}

impl ExternRef {
    /// A reference to `value`, which the store keeps until it is dropped.
    ///
    /// # Errors
    ///
    /// When the store keeps 2^32 - 1 values, or its budget
    /// ([`StoreLimitsBuilder::budget`](crate::StoreLimitsBuilder::budget)) has no room for another.
    pub fn new<V>(mut store: impl AsContextMut, value: V) -> Result<Rooted<ExternRef>>
    where
        V: Any + Send + Sync + 'static,
    {
        let store = store.as_context_mut().0;
        let reference = store.limited(|rt, limiter| rt.add_host_value(limiter, Box::new(value)));
        let limit = || Error::tagged(ErrorKind::Limit, "the store has no room for a host value");
        Rooted::from_reference(store.id(), reference.ok_or_else(limit)?).ok_or_else(limit)
    }
}

impl Rooted<ExternRef> {
    /// The value.
    ///
    /// # Errors
    ///
    /// When the reference belongs to another store.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let store = store.into().0;
        check_store(self.store, store.id())?;
        Ok(store.rt.host_value(self.reference))
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// When the reference belongs to another store.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<Option<&'a mut (dyn Any + Send + Sync)>> {
        let store = store.into().0;
        check_store(self.store, store.id())?;
        Ok(store.rt.host_value_mut(self.reference))
    }

    /// Whether both are the same reference of the same store, without asking the store.
    pub fn rooted_eq(a: Self, b: Self) -> bool {
        a == b
    }

    /// Hashes the reference itself; equal by [`rooted_eq`](Rooted::rooted_eq) means equal hashes.
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        (self.store, self.reference).hash(state);
    }

    /// Hashes the object it refers to, by identity.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ref_hash<H: Hasher>(&self, store: impl AsContext, state: &mut H) -> Result<()> {
        self.reference_in(store.as_context().0.id())?.hash(state);
        Ok(())
    }

    /// Whether both refer to the same object.
    ///
    /// # Errors
    ///
    /// When one belongs to another store.
    pub fn ref_eq(store: impl AsContext, a: &Self, b: &Self) -> Result<bool> {
        let id = store.as_context().0.id();
        check_store(a.store, id)?;
        check_store(b.store, id)?;
        Ok(a.reference == b.reference)
    }
}

/// A reference of dynamically known type.
///
/// ```
/// use wardian::{HeapType, Ref};
///
/// let null = Ref::null(&HeapType::Func);
/// assert!(null.is_null() && null.is_func() && null.unwrap_func().is_none());
/// ```
#[derive(Clone, Debug)]
pub enum Ref {
    /// A function or null.
    Func(Option<Func>),
    /// A host value or null.
    Extern(Option<Rooted<ExternRef>>),
}

impl Ref {
    /// The null reference of the hierarchy of `heap_type`.
    ///
    /// # Panics
    ///
    /// For hierarchies that this version does not have.
    pub fn null(heap_type: &HeapType) -> Ref {
        match heap_type.top() {
            HeapType::Func => Ref::Func(None),
            HeapType::Extern => Ref::Extern(None),
            other => panic!("references to {other} are not supported by this version"),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Ref::Func(None) | Ref::Extern(None))
    }

    /// Whether it is not null.
    pub fn is_non_null(&self) -> bool {
        !self.is_null()
    }

    /// Whether it is a function reference, null or not.
    pub fn is_func(&self) -> bool {
        matches!(self, Ref::Func(_))
    }

    /// Whether it is a reference to a host value, null or not.
    pub fn is_extern(&self) -> bool {
        matches!(self, Ref::Extern(_))
    }

    /// The function reference, if it is one.
    pub fn as_func(&self) -> Option<Option<&Func>> {
        match self {
            Ref::Func(func) => Some(func.as_ref()),
            Ref::Extern(_) => None,
        }
    }

    /// The host value reference, if it is one.
    pub fn as_extern(&self) -> Option<Option<&Rooted<ExternRef>>> {
        match self {
            Ref::Extern(value) => Some(value.as_ref()),
            Ref::Func(_) => None,
        }
    }

    /// The function reference.
    ///
    /// # Panics
    ///
    /// When it is another kind of reference.
    pub fn unwrap_func(&self) -> Option<&Func> {
        self.as_func().expect("a function reference")
    }

    /// The host value reference.
    ///
    /// # Panics
    ///
    /// When it is another kind of reference.
    pub fn unwrap_extern(&self) -> Option<&Rooted<ExternRef>> {
        self.as_extern().expect("an external reference")
    }

    /// Its type, as narrow as it is known.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<RefType> {
        Ok(match self {
            Ref::Func(None) => RefType::new(true, HeapType::NoFunc),
            Ref::Func(Some(func)) => {
                let store = store.as_context();
                check_store(func.store, store.0.id())?;
                RefType::new(false, HeapType::ConcreteFunc(func.ty(store)))
            }
            Ref::Extern(None) => RefType::new(true, HeapType::NoExtern),
            Ref::Extern(Some(value)) => {
                check_store(value.store, store.as_context().0.id())?;
                RefType::new(false, HeapType::Extern)
            }
        })
    }

    /// Whether it is of type `ty`.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &RefType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    #[inline]
    pub(crate) fn to_value(&self, store: StoreId) -> Result<Value> {
        Ok(match self {
            Ref::Func(None) => Value::Func(None),
            Ref::Func(Some(func)) => {
                check_store(func.store, store)?;
                Value::Func(Some(func.id))
            }
            Ref::Extern(None) => Value::Ref(0),
            Ref::Extern(Some(value)) => Value::Ref(value.reference_in(store)?),
        })
    }

    #[inline]
    pub(crate) fn from_value(value: Value, store: StoreId) -> Ref {
        match value {
            Value::Func(id) => Ref::Func(id.map(|id| Func { store, id })),
            Value::Ref(reference) => Ref::Extern(Rooted::from_reference(store, reference)),
            _ => unreachable!("the kernel returns a reference where the type is one"),
        }
    }
}

impl From<Func> for Ref {
    fn from(func: Func) -> Ref {
        Ref::Func(Some(func))
    }
}

impl From<Option<Func>> for Ref {
    fn from(func: Option<Func>) -> Ref {
        Ref::Func(func)
    }
}

impl From<Rooted<ExternRef>> for Ref {
    fn from(value: Rooted<ExternRef>) -> Ref {
        Ref::Extern(Some(value))
    }
}

impl From<Option<Rooted<ExternRef>>> for Ref {
    fn from(value: Option<Rooted<ExternRef>>) -> Ref {
        Ref::Extern(value)
    }
}

/// A WebAssembly value of dynamically known type. Floats are held as their bits.
///
/// ```
/// use wardian::{Val, ValType};
///
/// let val = Val::from(0.5f32);
/// assert_eq!((val.f32(), val.i32()), (Some(0.5), None));
/// assert_eq!(Val::default_for_ty(&ValType::I64).map(|val| val.unwrap_i64()), Some(0));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// A vector.
    V128(V128),
    /// A function reference.
    FuncRef(Option<Func>),
    /// A reference to a host value.
    ExternRef(Option<Rooted<ExternRef>>),
}

macro_rules! accessors {
    ($($variant:ident $ty:ty, $get:ident $unwrap:ident, |$v:ident| $cast:expr;)*) => {
        impl Val {
            $(
                #[doc = concat!("The value, if it is of type `", stringify!($variant), "`.")]
                pub fn $get(&self) -> Option<$ty> {
                    if let Val::$variant($v) = self { Some($cast) } else { None }
                }

                #[doc = concat!("The value.\n\n# Panics\n\nUnless it is of type `", stringify!($variant), "`.")]
                pub fn $unwrap(&self) -> $ty {
                    self.$get().unwrap_or_else(|| panic!("expected {}, found {self:?}", stringify!($variant)))
                }
            )*
        }
    };
}

accessors! {
    I32 i32, i32 unwrap_i32, |v| *v;
    I64 i64, i64 unwrap_i64, |v| *v;
    F32 f32, f32 unwrap_f32, |v| f32::from_bits(*v);
    F64 f64, f64 unwrap_f64, |v| f64::from_bits(*v);
    V128 V128, v128 unwrap_v128, |v| *v;
    FuncRef Option<&Func>, func_ref unwrap_func_ref, |v| v.as_ref();
    ExternRef Option<&Rooted<ExternRef>>, extern_ref unwrap_extern_ref, |v| v.as_ref();
}

impl Val {
    /// The null reference of the hierarchy of `heap_type`.
    ///
    /// # Panics
    ///
    /// For hierarchies that this version does not have.
    pub fn null_ref(heap_type: &HeapType) -> Val {
        Ref::null(heap_type).into()
    }

    /// The function reference, if it is one: [`func_ref`](Val::func_ref) by its other name.
    pub fn funcref(&self) -> Option<Option<&Func>> {
        self.func_ref()
    }

    /// [`unwrap_func_ref`](Val::unwrap_func_ref) by its other name.
    ///
    /// # Panics
    ///
    /// Unless it is a function reference.
    pub fn unwrap_funcref(&self) -> Option<&Func> {
        self.unwrap_func_ref()
    }

    /// The reference to a host value, if it is one: [`extern_ref`](Val::extern_ref) by its other name.
    pub fn externref(&self) -> Option<Option<&Rooted<ExternRef>>> {
        self.extern_ref()
    }

    /// [`unwrap_extern_ref`](Val::unwrap_extern_ref) by its other name.
    ///
    /// # Panics
    ///
    /// Unless it is a reference to a host value.
    pub fn unwrap_externref(&self) -> Option<&Rooted<ExternRef>> {
        self.unwrap_extern_ref()
    }

    /// The null function reference.
    pub const fn null_func_ref() -> Val {
        Val::FuncRef(None)
    }

    /// The null reference to a host value.
    pub const fn null_extern_ref() -> Val {
        Val::ExternRef(None)
    }

    /// The value that a local of type `ty` starts with, if it has one.
    pub fn default_for_ty(ty: &ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(V128(0)),
            ValType::Ref(ty) if !ty.is_nullable() => return None,
            ValType::Ref(ty) => match ty.heap_type().top() {
                HeapType::Func => Val::FuncRef(None),
                HeapType::Extern => Val::ExternRef(None),
                _ => return None,
            },
        })
    }

    /// Its type, as narrow as it is known.
    ///
    /// # Errors
    ///
    /// When it is a reference of another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        Ok(match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(func) => ValType::Ref(Ref::Func(*func).ty(store)?),
            Val::ExternRef(value) => ValType::Ref(Ref::Extern(*value).ty(store)?),
        })
    }

    /// Whether it is of type `ty`.
    ///
    /// # Errors
    ///
    /// When it is a reference of another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ValType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    /// The reference, if it is one.
    pub fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(func) => Some(Ref::Func(func)),
            Val::ExternRef(value) => Some(Ref::Extern(value)),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn to_value(self, store: StoreId) -> Result<Value> {
        Ok(match self {
            Val::I32(v) => Value::I32(v),
            Val::I64(v) => Value::I64(v),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
            Val::V128(vector) => Value::V128(vector.0),
            Val::FuncRef(func) => Ref::Func(func).to_value(store)?,
            Val::ExternRef(value) => Ref::Extern(value).to_value(store)?,
        })
    }

    #[inline]
    pub(crate) fn from_value(value: Value, store: StoreId) -> Val {
        match value {
            Value::I32(v) => Val::I32(v),
            Value::I64(v) => Val::I64(v),
            Value::F32(bits) => Val::F32(bits),
            Value::F64(bits) => Val::F64(bits),
            Value::V128(bits) => Val::V128(V128(bits)),
            reference => match Ref::from_value(reference, store) {
                Ref::Func(func) => Val::FuncRef(func),
                Ref::Extern(value) => Val::ExternRef(value),
            },
        }
    }
}

macro_rules! val_from {
    ($($ty:ty, |$v:ident| $val:expr;)*) => {$(
        impl From<$ty> for Val {
            fn from($v: $ty) -> Val {
                $val
            }
        }
    )*};
}

val_from! {
    i32, |v| Val::I32(v);
    i64, |v| Val::I64(v);
    f32, |v| Val::F32(v.to_bits());
    f64, |v| Val::F64(v.to_bits());
    u128, |v| Val::V128(V128(v));
    V128, |v| Val::V128(v);
    Func, |v| Val::FuncRef(Some(v));
    Option<Func>, |v| Val::FuncRef(v);
    Rooted<ExternRef>, |v| Val::ExternRef(Some(v));
    Option<Rooted<ExternRef>>, |v| Val::ExternRef(v);
}

impl From<Ref> for Val {
    fn from(reference: Ref) -> Val {
        match reference {
            Ref::Func(func) => Val::FuncRef(func),
            Ref::Extern(value) => Val::ExternRef(value),
        }
    }
}

//! Values of dynamically known type, and references to host values.

use crate::error::Result;
use crate::exceptions::ExnRef;
use crate::func::{Func, failure_error};
use crate::refs::{AnyRef, ArrayRef, EqRef, StructRef, reference_type};
use crate::rooted::{GcHeapOutOfMemory, Rooted, RootedGcRef};
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut, check_store};
use crate::types::{HeapType, RefType, ValType};
use std::any::Any;
use wardian_module as m;
use wardian_runtime as rt;
use wardian_vm::{self as vm, Value};

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

impl ExternRef {
    /// A reference to `value`, which the store keeps as long as something reaches it.
    ///
    /// # Errors
    ///
    /// [`GcHeapOutOfMemory`] when there is no room: in the store's heap or its budget
    /// ([`StoreLimitsBuilder::budget`](crate::StoreLimitsBuilder::budget)).
    pub fn new<V>(mut store: impl AsContextMut, value: V) -> Result<Rooted<ExternRef>>
    where
        V: Any + Send + Sync + 'static,
    {
        let store = store.as_context_mut().0;
        let made = store.limited(|rt, limiter| rt.add_host_value(limiter, Box::new(value)));
        match made {
            Ok(reference) => {
                Ok(Rooted::new(&mut store.rt, reference).expect("an object is not null"))
            }
            Err((_, Some(failure))) => Err(failure_error(store, failure)),
            Err((value, None)) => {
                let value: Box<dyn Any> = value;
                Err(GcHeapOutOfMemory::error(*value.downcast::<V>().expect("it was put in")))
            }
        }
    }
}

impl Rooted<ExternRef> {
    /// The value. `None` when it refers to something of a guest's.
    ///
    /// # Errors
    ///
    /// When the scope of the reference has been left, or it belongs to another store.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let store = store.into().0;
        Ok(store.rt.host_value(self.reference(&store.rt)?))
    }

    /// The value. `None` when it refers to something of a guest's.
    ///
    /// # Errors
    ///
    /// When the scope of the reference has been left, or it belongs to another store.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<Option<&'a mut (dyn Any + Send + Sync)>> {
        let store = store.into().0;
        let reference = self.reference(&store.rt)?;
        Ok(store.rt.host_value_mut(reference))
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
    /// An internal value or null.
    Any(Option<Rooted<AnyRef>>),
    /// An exception or null.
    Exn(Option<Rooted<ExnRef>>),
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
            HeapType::Any => Ref::Any(None),
            HeapType::Exn => Ref::Exn(None),
            other => panic!("references to {other} are not supported by this version"),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Ref::Func(None) | Ref::Extern(None) | Ref::Any(None) | Ref::Exn(None))
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
            _ => None,
        }
    }

    /// The host value reference, if it is one.
    pub fn as_extern(&self) -> Option<Option<&Rooted<ExternRef>>> {
        match self {
            Ref::Extern(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// Whether it is a reference to an internal value, null or not.
    pub fn is_any(&self) -> bool {
        matches!(self, Ref::Any(_))
    }

    /// The reference to an internal value, if it is one.
    pub fn as_any(&self) -> Option<Option<&Rooted<AnyRef>>> {
        match self {
            Ref::Any(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The reference to an internal value.
    ///
    /// # Panics
    ///
    /// When it is another kind of reference.
    pub fn unwrap_any(&self) -> Option<&Rooted<AnyRef>> {
        self.as_any().expect("a reference to an internal value")
    }

    /// Whether it is a reference to an exception, null or not.
    pub fn is_exn(&self) -> bool {
        matches!(self, Ref::Exn(_))
    }

    /// The reference to an exception, if it is one.
    pub fn as_exn(&self) -> Option<Option<&Rooted<ExnRef>>> {
        match self {
            Ref::Exn(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The reference to an exception.
    ///
    /// # Panics
    ///
    /// When it is another kind of reference.
    pub fn unwrap_exn(&self) -> Option<&Rooted<ExnRef>> {
        self.as_exn().expect("a reference to an exception")
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
            Ref::Extern(value) => {
                let rt = &store.as_context().0.rt;
                let reference = value.map(|value| value.reference(rt)).transpose()?;
                reference_type(rt, reference, true)
            }
            Ref::Any(value) => {
                let rt = &store.as_context().0.rt;
                let reference = value.map(|value| value.reference(rt)).transpose()?;
                reference_type(rt, reference, false)
            }
            Ref::Exn(None) => RefType::new(true, HeapType::NoExn),
            Ref::Exn(Some(value)) => {
                value.reference(&store.as_context().0.rt)?;
                RefType::new(false, HeapType::Exn)
            }
        })
    }

    /// Whether it is of type `ty`.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &RefType) -> Result<bool> {
        Val::from(self.clone()).matches_ty(store, &ValType::Ref(ty.clone()))
    }

    pub(crate) fn to_value(&self, store: &rt::Store) -> Result<Value> {
        Ok(match self {
            Ref::Func(None) => Value::Func(None),
            Ref::Func(Some(func)) => {
                check_store(func.store, store.kernel.id())?;
                Value::Func(Some(func.id))
            }
            Ref::Extern(None) | Ref::Any(None) | Ref::Exn(None) => Value::Ref(0),
            Ref::Exn(Some(value)) => Value::Ref(value.reference(store)?),
            Ref::Extern(Some(value)) => Value::Ref(value.reference(store)?),
            Ref::Any(Some(value)) => Value::Ref(value.reference(store)?),
        })
    }

    /// The value of type `ty`, if it is one.
    pub(crate) fn to_value_of(&self, store: &rt::Store, ty: m::RefType) -> Result<Option<Value>> {
        let value = self.to_value(store)?;
        let fits = match (self, value) {
            (Ref::Func(_), Value::Func(func)) => match func.and_then(|f| store.kernel.func_type(f))
            {
                Some(own) => own.heap_type().matches(ty.heap),
                None => ty.nullable && ty.heap.top() == m::HeapTop::Func,
            },
            (Ref::Extern(_), Value::Ref(reference)) => {
                ty.heap.top() == m::HeapTop::Extern && store.reference_matches(reference, ty)
            }
            (Ref::Exn(_), Value::Ref(reference)) => {
                ty.heap.top() == m::HeapTop::Exn && store.reference_matches(reference, ty)
            }
            (Ref::Any(_), Value::Ref(reference)) => {
                ty.heap.top() == m::HeapTop::Any && store.reference_matches(reference, ty)
            }
            _ => false,
        };
        Ok(fits.then_some(value))
    }

    /// A reference of type `ty`.
    pub(crate) fn from_value(value: Value, ty: m::RefType, store: &mut rt::Store) -> Ref {
        match (value, ty.heap.top()) {
            (Value::Func(id), _) => Ref::Func(id.map(|id| Func { store: store.kernel.id(), id })),
            (Value::Ref(reference), m::HeapTop::Extern) => {
                Ref::Extern(Rooted::new(store, reference))
            }
            (Value::Ref(reference), m::HeapTop::Exn) => Ref::Exn(Rooted::new(store, reference)),
            (Value::Ref(reference), _) => Ref::Any(Rooted::new(store, reference)),
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

impl From<Rooted<ExnRef>> for Ref {
    fn from(value: Rooted<ExnRef>) -> Ref {
        Ref::Exn(Some(value))
    }
}

impl From<Option<Rooted<ExnRef>>> for Ref {
    fn from(value: Option<Rooted<ExnRef>>) -> Ref {
        Ref::Exn(value)
    }
}

macro_rules! ref_from {
    ($($ty:ty),*) => {$(
        impl From<Rooted<$ty>> for Ref {
            fn from(value: Rooted<$ty>) -> Ref {
                Ref::Any(Some(value.cast()))
            }
        }

        impl From<Option<Rooted<$ty>>> for Ref {
            fn from(value: Option<Rooted<$ty>>) -> Ref {
                Ref::Any(value.map(Rooted::cast))
            }
        }

        impl From<Rooted<$ty>> for Val {
            fn from(value: Rooted<$ty>) -> Val {
                Val::AnyRef(Some(value.cast()))
            }
        }

        impl From<Option<Rooted<$ty>>> for Val {
            fn from(value: Option<Rooted<$ty>>) -> Val {
                Val::AnyRef(value.map(Rooted::cast))
            }
        }
    )*};
}

ref_from!(AnyRef, EqRef, StructRef, ArrayRef);

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
    /// A reference to an internal value.
    AnyRef(Option<Rooted<AnyRef>>),
    /// A reference to an exception.
    ExnRef(Option<Rooted<ExnRef>>),
}

macro_rules! holds {
    ($($variant:ident $ty:ty, |$held:ident| $hold:expr, |$v:ident| $value:expr;)*) => {$(
        impl vm::Holds<$ty> for Val {
            #[inline]
            fn hold($held: $ty) -> Val {
                Val::$variant($hold)
            }
            #[inline]
            fn held(&self) -> Option<$ty> {
                if let Val::$variant($v) = *self { Some($value) } else { None }
            }
        }
    )*};
}

holds! {
    I32 u32, |held| held as i32, |v| v as u32;
    I64 u64, |held| held as i64, |v| v as u64;
    F32 f32, |held| held.to_bits(), |v| f32::from_bits(v);
    F64 f64, |held| held.to_bits(), |v| f64::from_bits(v);
    V128 vm::Vector, |held| V128(held.0), |v| vm::Vector(v.0);
}

impl vm::Number for Val {}

const _: () = assert!(size_of::<Val>() == 32, "lists of values are walked at every call by value");

macro_rules! accessors {
    ($($variant:ident $ty:ty, $get:ident $unwrap:ident, |$v:ident| $cast:expr;)*) => {
        impl Val {
            $(
                #[doc = concat!("The value, if it is of type `", stringify!($variant), "`.")]
                #[inline]
                pub fn $get(&self) -> Option<$ty> {
                    if let Val::$variant($v) = self { Some($cast) } else { None }
                }

                #[doc = concat!("The value.\n\n# Panics\n\nUnless it is of type `", stringify!($variant), "`.")]
                #[inline]
                pub fn $unwrap(&self) -> $ty {
                    self.$get().unwrap_or_else(|| self.is_not(stringify!($variant)))
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
    AnyRef Option<&Rooted<AnyRef>>, any_ref unwrap_any_ref, |v| v.as_ref();
    ExnRef Option<&Rooted<ExnRef>>, exnref unwrap_exnref, |v| v.as_ref();
}

impl Val {
    #[cold]
    fn is_not(&self, expected: &str) -> ! {
        panic!("expected {expected}, found {self:?}")
    }

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

    /// The reference to an internal value, if it is one: [`any_ref`](Val::any_ref) by its other name.
    pub fn anyref(&self) -> Option<Option<&Rooted<AnyRef>>> {
        self.any_ref()
    }

    /// [`unwrap_any_ref`](Val::unwrap_any_ref) by its other name.
    ///
    /// # Panics
    ///
    /// Unless it is a reference to an internal value.
    pub fn unwrap_anyref(&self) -> Option<&Rooted<AnyRef>> {
        self.unwrap_any_ref()
    }

    /// The null reference to an internal value.
    pub const fn null_any_ref() -> Val {
        Val::AnyRef(None)
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
                HeapType::Any => Val::AnyRef(None),
                HeapType::Exn => Val::ExnRef(None),
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
            Val::AnyRef(value) => ValType::Ref(Ref::Any(*value).ty(store)?),
            Val::ExnRef(value) => ValType::Ref(Ref::Exn(*value).ty(store)?),
        })
    }

    /// Whether it is of type `ty`.
    ///
    /// # Errors
    ///
    /// When it is a reference of another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ValType) -> Result<bool> {
        let rt = &store.as_context().0.rt;
        Ok(self.to_value_of(rt, ty.to_module())?.is_some())
    }

    /// The reference, if it is one.
    pub fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(func) => Some(Ref::Func(func)),
            Val::ExternRef(value) => Some(Ref::Extern(value)),
            Val::AnyRef(value) => Some(Ref::Any(value)),
            Val::ExnRef(value) => Some(Ref::Exn(value)),
            _ => None,
        }
    }

    pub(crate) fn to_value(self, store: &rt::Store) -> Result<Value> {
        Ok(match self {
            Val::I32(v) => Value::I32(v),
            Val::I64(v) => Value::I64(v),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
            Val::V128(vector) => Value::V128(vector.0),
            Val::FuncRef(func) => Ref::Func(func).to_value(store)?,
            Val::ExternRef(value) => Ref::Extern(value).to_value(store)?,
            Val::AnyRef(value) => Ref::Any(value).to_value(store)?,
            Val::ExnRef(value) => Ref::Exn(value).to_value(store)?,
        })
    }

    /// The value of type `ty`, if it is one.
    pub(crate) fn to_value_of(self, store: &rt::Store, ty: m::ValType) -> Result<Option<Value>> {
        match (self.ref_(), ty) {
            (Some(reference), m::ValType::Ref(ty)) => reference.to_value_of(store, ty),
            (Some(reference), _) => reference.to_value(store).map(|_| None),
            _ => {
                let value = self.to_value(store)?;
                let fits = matches!(
                    (value, ty),
                    (Value::I32(_), m::ValType::I32)
                        | (Value::I64(_), m::ValType::I64)
                        | (Value::F32(_), m::ValType::F32)
                        | (Value::F64(_), m::ValType::F64)
                        | (Value::V128(_), m::ValType::V128)
                );
                Ok(fits.then_some(value))
            }
        }
    }

    /// The value, if it is no reference.
    #[inline]
    pub(crate) fn to_number(self) -> Option<Value> {
        match self {
            Val::I32(v) => Some(Value::I32(v)),
            Val::I64(v) => Some(Value::I64(v)),
            Val::F32(bits) => Some(Value::F32(bits)),
            Val::F64(bits) => Some(Value::F64(bits)),
            Val::V128(vector) => Some(Value::V128(vector.0)),
            _ => None,
        }
    }

    /// Zero of this kind.
    #[inline]
    pub(crate) fn zero(kind: m::abi::NumberKind) -> Val {
        match (kind.is_int(), kind.is_wide()) {
            _ if kind.is_v128() => Val::V128(V128(0)),
            (true, false) => Val::I32(0),
            (true, true) => Val::I64(0),
            (false, false) => Val::F32(0),
            (false, true) => Val::F64(0),
        }
    }

    /// A value of type `ty`. References get roots of the innermost scope.
    pub(crate) fn from_value(value: Value, ty: m::ValType, store: &mut rt::Store) -> Val {
        match (value, ty) {
            (Value::I32(v), _) => Val::I32(v),
            (Value::I64(v), _) => Val::I64(v),
            (Value::F32(bits), _) => Val::F32(bits),
            (Value::F64(bits), _) => Val::F64(bits),
            (Value::V128(bits), _) => Val::V128(V128(bits)),
            (reference, m::ValType::Ref(ty)) => Ref::from_value(reference, ty, store).into(),
            _ => unreachable!("the kernel returns a reference where the type is one"),
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
    Rooted<ExnRef>, |v| Val::ExnRef(Some(v));
    Option<Rooted<ExnRef>>, |v| Val::ExnRef(v);
}

impl From<Ref> for Val {
    fn from(reference: Ref) -> Val {
        match reference {
            Ref::Func(func) => Val::FuncRef(func),
            Ref::Extern(value) => Val::ExternRef(value),
            Ref::Any(value) => Val::AnyRef(value),
            Ref::Exn(value) => Val::ExnRef(value),
        }
    }
}

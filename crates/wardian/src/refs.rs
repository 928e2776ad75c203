//! References to what lies in a store's heap: [`AnyRef`], [`EqRef`], [`I31`], structs and arrays.
//!
//! The names only say what a [`Rooted`] refers to; there are no values of these types. What an object is,
//! is read from the heap at every use, and checked.

use crate::error::{Error, ErrorKind, Result};
use crate::func::failure_error;
use crate::gc_types::{ArrayType, StructType};
use crate::rooted::{GcHeapOutOfMemory, GcRef, OwnedRooted, Rooted, RootedGcRef};
use crate::store::{AsContext, AsContextMut, StoreContext, StoreInner};
use crate::types::{HeapType, RefType, ValType};
use crate::val::{ExternRef, Val};
use wardian_module as m;
use wardian_module::layout::OBJECT_ELEMENTS;
use wardian_runtime::{self as rt, Referent};
use wardian_vm::{Failure, Value};

/// Any internal value: an [`I31`], a struct, an array, or what a host value was converted to.
///
/// ```
/// use wardian::{AnyRef, I31, Store};
///
/// let mut store = Store::<()>::default();
/// let five = AnyRef::from_i31(&mut store, I31::wrapping_u32(5));
/// assert_eq!(five.as_i31(&store)?.unwrap().get_u32(), 5);
/// assert!(!five.is_struct(&store)?);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct AnyRef {
    _private: (),
}

/// Any internal value that can be compared: an [`I31`], a struct or an array.
///
/// ```
/// use wardian::{EqRef, I31, Rooted, Store};
///
/// let mut store = Store::<()>::default();
/// let a = EqRef::from_i31(&mut store, I31::wrapping_i32(-1));
/// let b = EqRef::from_i31(&mut store, I31::wrapping_u32(0x7fff_ffff));
/// assert!(Rooted::ref_eq(&store, &a, &b)?);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct EqRef {
    _private: (),
}

/// A struct.
///
/// ```
/// use wardian::*;
///
/// let mut store = Store::<()>::default();
/// let field = FieldType::new(Mutability::Var, StorageType::from(ValType::I32));
/// let ty = StructType::new(store.engine(), [field])?;
/// let pre = StructRefPre::new(&mut store, ty);
/// let object = StructRef::new(&mut store, &pre, &[Val::I32(3)])?;
/// object.set_field(&mut store, 0, Val::I32(4))?;
/// assert_eq!(object.field(&mut store, 0)?.unwrap_i32(), 4);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct StructRef {
    _private: (),
}

/// An array.
///
/// ```
/// use wardian::*;
///
/// let mut store = Store::<()>::default();
/// let bytes = FieldType::new(Mutability::Var, StorageType::I8);
/// let pre = ArrayRefPre::new(&mut store, ArrayType::new(&Engine::default(), bytes));
/// let array = ArrayRef::new(&mut store, &pre, &Val::I32(7), 100)?;
/// array.set(&mut store, 1, Val::I32(300))?;
/// assert_eq!(array.get(&mut store, 1)?.unwrap_i32(), 300 & 0xff);
/// assert_eq!(array.len(&store)?, 100);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct ArrayRef {
    _private: (),
}

/// An integer of 31 bits, which needs no object.
///
/// ```
/// use wardian::I31;
///
/// assert_eq!(I31::new_u32(1 << 31), None);
/// assert_eq!(I31::wrapping_u32(u32::MAX).get_i32(), -1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct I31(u32);

impl I31 {
    const MASK: u32 = u32::MAX >> 1;

    /// A value below 2^31.
    pub const fn new_u32(value: u32) -> Option<I31> {
        if value <= I31::MASK { Some(I31(value)) } else { None }
    }

    /// A value from -2^30 to 2^30 - 1.
    pub const fn new_i32(value: i32) -> Option<I31> {
        if value << 1 >> 1 == value { Some(I31::wrapping_i32(value)) } else { None }
    }

    /// The low 31 bits of a value.
    pub const fn wrapping_u32(value: u32) -> I31 {
        I31(value & I31::MASK)
    }

    /// The low 31 bits of a value.
    pub const fn wrapping_i32(value: i32) -> I31 {
        I31::wrapping_u32(value as u32)
    }

    /// The value, zero-extended.
    pub const fn get_u32(&self) -> u32 {
        self.0
    }

    /// The value, sign-extended.
    pub const fn get_i32(&self) -> i32 {
        (self.0 << 1) as i32 >> 1
    }

    pub(crate) const fn to_reference(self) -> u32 {
        self.0 << 1 | 1
    }
}

impl std::fmt::Debug for I31 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("I31").field(&self.get_i32()).finish()
    }
}

impl From<I31> for u32 {
    fn from(value: I31) -> u32 {
        value.get_u32()
    }
}

impl From<I31> for i32 {
    fn from(value: I31) -> i32 {
        value.get_i32()
    }
}

fn misuse(text: impl Into<String>) -> Error {
    Error::tagged(ErrorKind::Misuse, text.into())
}

/// The type of what a reference in the internal hierarchy refers to.
pub(crate) fn heap_type(store: &rt::Store, reference: u32) -> HeapType {
    match store.referent(reference) {
        Some(Referent::I31(_)) => HeapType::I31,
        Some(Referent::Object(ty)) => HeapType::from_module(ty.heap_type()),
        _ => HeapType::Any,
    }
}

fn root<T: GcRef, C: AsContextMut>(store: &mut C, reference: u32) -> Rooted<T> {
    let store = store.as_context_mut().0;
    Rooted::new(&mut store.rt, reference).expect("an object or integer is not null")
}

/// What is common to all that internal references refer to.
macro_rules! internal {
    ($($name:ident)*) => {$(
        impl Rooted<$name> {
            fn with_reference<R>(
                &self,
                store: &impl AsContext,
                look: impl FnOnce(&rt::Store, u32) -> R,
            ) -> Result<R> {
                let rt = &store.as_context().0.rt;
                Ok(look(rt, self.reference(rt)?))
            }

            fn is_of(&self, store: &impl AsContext, heap: m::HeapType) -> Result<bool> {
                let ty = m::RefType { nullable: false, heap };
                self.with_reference(store, |rt, reference| rt.reference_matches(reference, ty))
            }

            fn as_of<T: GcRef>(
                &self,
                store: &impl AsContext,
                heap: m::HeapType,
            ) -> Result<Option<Rooted<T>>> {
                Ok(self.is_of(store, heap)?.then(|| self.cast()))
            }
        }
    )*};
}

internal!(AnyRef EqRef);

/// What can be any internal value.
macro_rules! dynamic {
    ($($name:ident)*) => {$(
        impl $name {
            /// A reference to an integer.
            pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<$name> {
                root(&mut store, value.to_reference())
            }
        }

        impl Rooted<$name> {
            /// The type of what it refers to.
            ///
            /// # Errors
            ///
            /// As for every method here: when the scope of the reference has been left, or it belongs to
            /// another store.
            pub fn ty(&self, store: impl AsContext) -> Result<HeapType> {
                self.with_reference(&store, heap_type)
            }

            /// Whether what it refers to is of type `ty`.
            pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
                self.is_of(&store, ty.to_module())
            }

            /// Whether it is an integer of 31 bits.
            pub fn is_i31(&self, store: impl AsContext) -> Result<bool> {
                self.is_of(&store, m::HeapType::I31)
            }

            /// The integer of 31 bits, if it is one.
            pub fn as_i31(&self, store: impl AsContext) -> Result<Option<I31>> {
                self.with_reference(&store, |rt, reference| match rt.referent(reference) {
                    Some(Referent::I31(value)) => Some(I31::wrapping_u32(value)),
                    _ => None,
                })
            }

            /// The integer of 31 bits.
            ///
            /// # Panics
            ///
            /// When it is none.
            pub fn unwrap_i31(&self, store: impl AsContext) -> Result<I31> {
                Ok(self.as_i31(store)?.expect("an integer of 31 bits"))
            }

            /// Whether it is a struct.
            pub fn is_struct(&self, store: impl AsContext) -> Result<bool> {
                self.is_of(&store, m::HeapType::Struct)
            }

            /// The struct, if it is one.
            pub fn as_struct(&self, store: impl AsContext) -> Result<Option<Rooted<StructRef>>> {
                self.as_of(&store, m::HeapType::Struct)
            }

            /// The struct.
            ///
            /// # Panics
            ///
            /// When it is none.
            pub fn unwrap_struct(&self, store: impl AsContext) -> Result<Rooted<StructRef>> {
                Ok(self.as_struct(store)?.expect("a struct"))
            }

            /// Whether it is an array.
            pub fn is_array(&self, store: impl AsContext) -> Result<bool> {
                self.is_of(&store, m::HeapType::Array)
            }

            /// The array, if it is one.
            pub fn as_array(&self, store: impl AsContext) -> Result<Option<Rooted<ArrayRef>>> {
                self.as_of(&store, m::HeapType::Array)
            }

            /// The array.
            ///
            /// # Panics
            ///
            /// When it is none.
            pub fn unwrap_array(&self, store: impl AsContext) -> Result<Rooted<ArrayRef>> {
                Ok(self.as_array(store)?.expect("an array"))
            }
        }
    )*};
}

dynamic!(AnyRef EqRef);

impl AnyRef {
    /// A host value, or whatever else a reference of the external hierarchy refers to, as an internal value.
    ///
    /// # Errors
    ///
    /// When the scope of the reference has been left, or it belongs to another store.
    pub fn convert_extern(
        mut store: impl AsContextMut,
        externref: Rooted<ExternRef>,
    ) -> Result<Rooted<AnyRef>> {
        let reference = externref.reference(&store.as_context().0.rt)?;
        Ok(root(&mut store, reference))
    }
}

impl ExternRef {
    /// An internal value as a reference of the external hierarchy.
    ///
    /// # Errors
    ///
    /// When the scope of the reference has been left, or it belongs to another store.
    pub fn convert_any(
        mut store: impl AsContextMut,
        anyref: Rooted<AnyRef>,
    ) -> Result<Rooted<ExternRef>> {
        let reference = anyref.reference(&store.as_context().0.rt)?;
        Ok(root(&mut store, reference))
    }
}

impl Rooted<AnyRef> {
    /// Whether it can be compared.
    pub fn is_eqref(&self, store: impl AsContext) -> Result<bool> {
        self.is_of(&store, m::HeapType::Eq)
    }

    /// The value that can be compared, if it is one.
    pub fn as_eqref(&self, store: impl AsContext) -> Result<Option<Rooted<EqRef>>> {
        self.as_of(&store, m::HeapType::Eq)
    }

    /// The value that can be compared.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn unwrap_eqref(&self, store: impl AsContext) -> Result<Rooted<EqRef>> {
        Ok(self.as_eqref(store)?.expect("a value that can be compared"))
    }
}

macro_rules! upcasts {
    ($($from:ident $method:ident $to:ident;)*) => {$(
        impl Rooted<$from> {
            #[doc = concat!("The same as an [`", stringify!($to), "`].")]
            pub fn $method(self) -> Rooted<$to> {
                self.cast()
            }
        }

        impl OwnedRooted<$from> {
            #[doc = concat!("The same as an [`", stringify!($to), "`].")]
            pub fn $method(self) -> OwnedRooted<$to> {
                self.cast()
            }
        }

        impl From<Rooted<$from>> for Rooted<$to> {
            fn from(reference: Rooted<$from>) -> Rooted<$to> {
                reference.cast()
            }
        }

        impl From<OwnedRooted<$from>> for OwnedRooted<$to> {
            fn from(reference: OwnedRooted<$from>) -> OwnedRooted<$to> {
                reference.cast()
            }
        }
    )*};
}

upcasts! {
    EqRef to_anyref AnyRef;
    StructRef to_anyref AnyRef;
    StructRef to_eqref EqRef;
    ArrayRef to_anyref AnyRef;
    ArrayRef to_eqref EqRef;
}

/// A value to be put where `storage` is held.
pub(crate) fn stored<T>(
    store: &StoreInner<T>,
    val: &Val,
    storage: m::StorageType,
    place: impl FnOnce() -> String,
) -> Result<Value> {
    let ty = storage.unpacked();
    match val.to_value_of(&store.rt, ty)? {
        Some(value) => Ok(value),
        None => {
            let found = val.ty(StoreContext(store))?;
            let expected = ValType::from_module(ty);
            Err(misuse(format!("{}: expected {expected}, found {found}", place())))
        }
    }
}

/// What a place in an object holds. A packed field is read without its sign.
fn loaded<T>(store: &mut StoreInner<T>, object: u32, offset: u32, storage: m::StorageType) -> Val {
    let value = store.rt.field(object, offset, storage);
    Val::from_value(value, storage.unpacked(), &mut store.rt)
}

fn make<T>(store: &mut StoreInner<T>, ty: &m::RegisteredType, length: u32) -> Result<u32> {
    let made = store.limited(|rt, limiter| rt.make(limiter, ty, length));
    made.map_err(|failure| match failure {
        Failure::Trap(report) if report.trap == m::Trap::GcHeapOutOfMemory => {
            GcHeapOutOfMemory::error(())
        }
        failure => failure_error(store, failure),
    })
}

/// What structs of a type are made with.
///
/// ```
/// use wardian::{Engine, Store, StructRef, StructRefPre, StructType};
///
/// let mut store = Store::<()>::default();
/// let pre = StructRefPre::new(&mut store, StructType::new(&Engine::default(), [])?);
/// let empty = StructRef::new(&mut store, &pre, &[])?;
/// assert_eq!(empty.fields(&mut store)?.count(), 0);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StructRefPre {
    store: wardian_vm::StoreId,
    ty: StructType,
}

impl StructRefPre {
    /// For structs of a store.
    pub fn new(mut store: impl AsContextMut, ty: StructType) -> StructRefPre {
        StructRefPre { store: store.as_context_mut().0.id(), ty }
    }
}

impl StructRef {
    /// A struct with these fields.
    ///
    /// # Errors
    ///
    /// When a field has another type, or their number is another; when something belongs to another store;
    /// [`GcHeapOutOfMemory`] when there is no room.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        let store = store.as_context_mut().0;
        crate::store::check_store(allocator.store, store.id())?;
        let ty = allocator.ty.as_module();
        let expected = ty.fields().len();
        if fields.len() != expected {
            let found = fields.len();
            return Err(misuse(format!("expected {expected} fields, got {found}")));
        }
        let storage = |index: usize| ty.fields()[index].storage;
        for (index, field) in fields.iter().enumerate() {
            stored(store, field, storage(index), || format!("field {index}"))?;
        }
        let object = make(store, allocator.ty.registered(), 0)?;
        for (index, field) in fields.iter().enumerate() {
            // Once more: making the object may have moved what they refer to.
            let value = stored(store, field, storage(index), || format!("field {index}"))?;
            store.rt.set_field(object, ty.offset(index as u32), storage(index), value);
        }
        Ok(Rooted::new(&mut store.rt, object).expect("an object is not null"))
    }
}

impl Rooted<StructRef> {
    /// Its type.
    ///
    /// # Errors
    ///
    /// As for every method here: when the scope of the reference has been left, or it belongs to another
    /// store.
    pub fn ty(&self, store: impl AsContext) -> Result<StructType> {
        let rt = &store.as_context().0.rt;
        Ok(StructType::from_registered(self.object(rt)?.1.clone()))
    }

    /// Whether its type is `ty` or below it.
    pub fn matches_ty(&self, store: impl AsContext, ty: &StructType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    fn object<'a>(&self, rt: &'a rt::Store) -> Result<(u32, &'a m::RegisteredType)> {
        let reference = self.reference(rt)?;
        match rt.referent(reference) {
            Some(Referent::Object(ty)) if ty.as_struct().is_some() => Ok((reference, ty)),
            _ => Err(misuse("the reference is not one to a struct")),
        }
    }

    fn place(&self, rt: &rt::Store, index: usize) -> Result<(u32, u32, m::FieldType)> {
        let (object, ty) = self.object(rt)?;
        let ty = ty.as_struct().expect("seen above");
        let field = ty.fields().get(index).copied();
        let field = field.ok_or_else(|| {
            misuse(format!("no field {index}: the struct has {}", ty.fields().len()))
        })?;
        Ok((object, ty.offset(index as u32), field))
    }

    /// Its fields, in order.
    pub fn fields<'a, T: 'static>(
        &self,
        store: impl Into<crate::StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let count = self.ty(&store)?.as_module().fields().len();
        let vals: Result<Vec<Val>> =
            (0..count).map(|index| self.field(&mut store, index)).collect();
        Ok(vals?.into_iter())
    }

    /// A field. A packed one is read without its sign.
    ///
    /// # Errors
    ///
    /// Also when there is no such field.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let store = store.as_context_mut().0;
        let (object, offset, field) = self.place(&store.rt, index)?;
        Ok(loaded(store, object, offset, field.storage))
    }

    /// Sets a field.
    ///
    /// # Errors
    ///
    /// Also when there is no such field, it cannot be set, or the value is of another type.
    pub fn set_field(&self, mut store: impl AsContextMut, index: usize, value: Val) -> Result<()> {
        let store = store.as_context_mut().0;
        let (object, offset, field) = self.place(&store.rt, index)?;
        if !field.mutable {
            return Err(misuse(format!("field {index} cannot be set")));
        }
        let value = stored(store, &value, field.storage, || format!("field {index}"))?;
        store.rt.set_field(object, offset, field.storage, value);
        Ok(())
    }
}

/// What arrays of a type are made with.
///
/// ```
/// use wardian::*;
///
/// let mut store = Store::<()>::default();
/// let longs = FieldType::new(Mutability::Const, StorageType::from(ValType::I64));
/// let pre = ArrayRefPre::new(&mut store, ArrayType::new(&Engine::default(), longs));
/// let array = ArrayRef::new_fixed(&mut store, &pre, &[Val::I64(1), Val::I64(2)])?;
/// assert_eq!(array.elems(&mut store)?.map(|val| val.unwrap_i64()).sum::<i64>(), 3);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ArrayRefPre {
    store: wardian_vm::StoreId,
    ty: ArrayType,
}

impl ArrayRefPre {
    /// For arrays of a store.
    pub fn new(mut store: impl AsContextMut, ty: ArrayType) -> ArrayRefPre {
        ArrayRefPre { store: store.as_context_mut().0.id(), ty }
    }

    fn storage(&self) -> m::StorageType {
        self.ty.as_module().element.storage
    }
}

impl ArrayRef {
    /// An array of `len` times the same element.
    ///
    /// # Errors
    ///
    /// When the element is of another type or something belongs to another store;
    /// [`Trap::AllocationTooLarge`](crate::Trap::AllocationTooLarge) when no array is so long;
    /// [`GcHeapOutOfMemory`] when there is no room.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elem: &Val,
        len: u32,
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().0;
        crate::store::check_store(allocator.store, store.id())?;
        let storage = allocator.storage();
        stored(store, elem, storage, || "element".into())?;
        let array = make(store, allocator.ty.registered(), len)?;
        // Once more: making the array may have moved what it refers to.
        let value = stored(store, elem, storage, || "element".into())?;
        store.rt.fill_elements(array, storage, 0, len, value);
        Ok(Rooted::new(&mut store.rt, array).expect("an object is not null"))
    }

    /// An array of these elements.
    ///
    /// # Errors
    ///
    /// As [`new`](ArrayRef::new).
    pub fn new_fixed(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().0;
        crate::store::check_store(allocator.store, store.id())?;
        let storage = allocator.storage();
        let place = |index: usize| move || format!("element {index}");
        for (index, elem) in elems.iter().enumerate() {
            stored(store, elem, storage, place(index))?;
        }
        let length = u32::try_from(elems.len());
        let length = length.map_err(|_| Error::from(m::Trap::AllocationTooLarge))?;
        let array = make(store, allocator.ty.registered(), length)?;
        for (index, elem) in elems.iter().enumerate() {
            let value = stored(store, elem, storage, place(index))?;
            let offset = element_offset(storage, index as u32);
            store.rt.set_field(array, offset, storage, value);
        }
        Ok(Rooted::new(&mut store.rt, array).expect("an object is not null"))
    }

    /// An array of bytes.
    ///
    /// # Errors
    ///
    /// As [`new`](ArrayRef::new), and when elements of the type are not `i8`.
    pub fn new_from_i8_slice(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[i8],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().0;
        crate::store::check_store(allocator.store, store.id())?;
        if allocator.storage() != m::StorageType::I8 {
            return Err(misuse("elements of the array are not i8"));
        }
        let length = u32::try_from(elems.len());
        let length = length.map_err(|_| Error::from(m::Trap::AllocationTooLarge))?;
        let array = make(store, allocator.ty.registered(), length)?;
        for (place, elem) in store.rt.array_bytes_mut(array).iter_mut().zip(elems) {
            *place = *elem as u8;
        }
        Ok(Rooted::new(&mut store.rt, array).expect("an object is not null"))
    }
}

/// Where an element lies in an array that has it.
fn element_offset(storage: m::StorageType, index: u32) -> u32 {
    OBJECT_ELEMENTS + storage.bytes() * index
}

impl Rooted<ArrayRef> {
    /// Its type.
    ///
    /// # Errors
    ///
    /// As for every method here: when the scope of the reference has been left, or it belongs to another
    /// store.
    pub fn ty(&self, store: impl AsContext) -> Result<ArrayType> {
        let rt = &store.as_context().0.rt;
        Ok(ArrayType::from_registered(self.object(rt)?.1.clone()))
    }

    /// Whether its type is `ty` or below it.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ArrayType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    fn object<'a>(&self, rt: &'a rt::Store) -> Result<(u32, &'a m::RegisteredType)> {
        let reference = self.reference(rt)?;
        match rt.referent(reference) {
            Some(Referent::Object(ty)) if ty.as_array().is_some() => Ok((reference, ty)),
            _ => Err(misuse("the reference is not one to an array")),
        }
    }

    fn place(&self, rt: &rt::Store, index: u32) -> Result<(u32, u32, m::FieldType)> {
        let (array, ty) = self.object(rt)?;
        let element = ty.as_array().expect("seen above").element;
        let length = rt.array_length(array);
        if index >= length {
            return Err(misuse(format!("no element {index}: the array has {length}")));
        }
        Ok((array, element_offset(element.storage, index), element))
    }

    /// Number of elements.
    pub fn len(&self, store: impl AsContext) -> Result<u32> {
        let rt = &store.as_context().0.rt;
        Ok(rt.array_length(self.object(rt)?.0))
    }

    /// Whether there are none.
    pub fn is_empty(&self, store: impl AsContext) -> Result<bool> {
        Ok(self.len(store)? == 0)
    }

    /// Its elements, in order.
    pub fn elems<'a, T: 'static>(
        &self,
        store: impl Into<crate::StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let count = self.len(&store)?;
        let vals: Result<Vec<Val>> = (0..count).map(|index| self.get(&mut store, index)).collect();
        Ok(vals?.into_iter())
    }

    /// An element. A packed one is read without its sign.
    ///
    /// # Errors
    ///
    /// Also when there is no such element.
    pub fn get(&self, mut store: impl AsContextMut, index: u32) -> Result<Val> {
        let store = store.as_context_mut().0;
        let (array, offset, element) = self.place(&store.rt, index)?;
        Ok(loaded(store, array, offset, element.storage))
    }

    /// Sets an element.
    ///
    /// # Errors
    ///
    /// Also when there is no such element, they cannot be set, or the value is of another type.
    pub fn set(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let store = store.as_context_mut().0;
        let (array, offset, element) = self.place(&store.rt, index)?;
        if !element.mutable {
            return Err(misuse("elements of the array cannot be set"));
        }
        let value = stored(store, &value, element.storage, || format!("element {index}"))?;
        store.rt.set_field(array, offset, element.storage, value);
        Ok(())
    }

    /// Copies its elements, which are `i8`, to a slice of the same length.
    ///
    /// # Errors
    ///
    /// Also when elements are not `i8`, or the slice is longer or shorter.
    pub fn copy_to_i8_slice(&self, store: impl AsContext, slice: &mut [i8]) -> Result<()> {
        let rt = &store.as_context().0.rt;
        let (array, ty) = self.object(rt)?;
        if ty.as_array().expect("seen above").element.storage != m::StorageType::I8 {
            return Err(misuse("elements of the array are not i8"));
        }
        let bytes = rt.array_bytes(array);
        if bytes.len() != slice.len() {
            let (expected, found) = (bytes.len(), slice.len());
            return Err(misuse(format!("expected a slice of {expected} bytes, got {found}")));
        }
        for (place, byte) in slice.iter_mut().zip(bytes) {
            *place = *byte as i8;
        }
        Ok(())
    }
}

/// The type of a reference in a hierarchy of the heap.
pub(crate) fn reference_type(store: &rt::Store, reference: Option<u32>, external: bool) -> RefType {
    match (reference, external) {
        (None, true) => RefType::new(true, HeapType::NoExtern),
        (None, false) => RefType::new(true, HeapType::None),
        (Some(_), true) => RefType::new(false, HeapType::Extern),
        (Some(reference), false) => RefType::new(false, heap_type(store, reference)),
    }
}

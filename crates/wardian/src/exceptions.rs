//! Exceptions of the host: [`ExnRef`], thrown with `Store::throw`, and what calls return when one leaves
//! them.
//!
//! An exception crosses host frames only as an error: a call that it leaves returns [`ThrownException`], and
//! the store holds it until it is taken, or until a host function returns such an error to its guest.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::externals::Tag;
use crate::func::failure_error;
use crate::refs::stored;
use crate::rooted::{GcHeapOutOfMemory, Rooted, RootedGcRef};
use crate::store::{AsContext, AsContextMut, Store, StoreContextMut, StoreInner, check_store};
use crate::types::{FuncType, TagType, ValType};
use crate::val::Val;
use wardian_module::{StorageType, Trap};
use wardian_runtime::{self as rt, Referent};
use wardian_vm::{Failure, StoreId, TagId, Value};

/// An exception.
///
/// ```
/// use wardian::*;
///
/// let mut store = Store::<()>::default();
/// let ty = ExnType::new(store.engine(), [ValType::I32])?;
/// let tag = Tag::new(&mut store, &ty.tag_type())?;
/// let pre = ExnRefPre::new(&mut store, ty);
/// let exception = ExnRef::new(&mut store, &pre, &tag, &[Val::I32(7)])?;
/// assert_eq!(exception.field(&mut store, 0)?.unwrap_i32(), 7);
/// assert!(Tag::eq(&exception.tag(&mut store)?, &tag, &store));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct ExnRef {
    _private: (),
}

/// The type of exceptions: what those of a tag carry.
///
/// ```
/// use wardian::{Engine, ExnType, ValType};
///
/// let ty = ExnType::new(&Engine::default(), [ValType::I64, ValType::F32])?;
/// assert!(ty.field(1).is_some_and(|field| field.is_f32()) && ty.fields().len() == 2);
/// assert_eq!(ty, ExnType::from_tag_type(ty.tag_type())?);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExnType {
    ty: TagType,
}

impl ExnType {
    /// That of exceptions which carry values of these types.
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = ValType>) -> Result<ExnType> {
        Ok(ExnType { ty: TagType::new(FuncType::new(engine, fields, [])) })
    }

    /// That of exceptions of tags of this type.
    ///
    /// # Errors
    ///
    /// When the tag's type has results.
    pub fn from_tag_type(ty: TagType) -> Result<ExnType> {
        if ty.ty().results().len() > 0 {
            return Err(misuse(format!("a tag's type has no results, found {ty}")));
        }
        Ok(ExnType { ty })
    }

    /// The type of its tags.
    pub fn tag_type(&self) -> TagType {
        self.ty.clone()
    }

    /// Whether it is a subtype of `other`: only of itself.
    pub fn matches(&self, other: &ExnType) -> bool {
        self == other
    }

    /// The type of a value, if there are so many.
    pub fn field(&self, index: usize) -> Option<ValType> {
        self.ty.ty().param(index)
    }

    /// Types of the values, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.ty.ty().params()
    }
}

/// What exceptions of a type are made with.
///
/// ```
/// use wardian::{ExnRefPre, ExnType, Store};
///
/// let mut store = Store::<()>::default();
/// let ty = ExnType::new(store.engine(), [])?;
/// ExnRefPre::new(&mut store, ty);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExnRefPre {
    store: StoreId,
    ty: ExnType,
}

impl ExnRefPre {
    /// For exceptions of a store.
    pub fn new(mut store: impl AsContextMut, ty: ExnType) -> ExnRefPre {
        ExnRefPre { store: store.as_context_mut().0.id(), ty }
    }
}

/// The error of a call that an exception has left, and of a host function that throws one.
///
/// ```
/// use wardian::{Instance, Module, Store, ThrownException};
///
/// let mut store = Store::<()>::default();
/// let text = "(module (tag $t) (func (export \"f\") (throw $t)))";
/// let module = Module::new(store.engine(), text)?;
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// assert!(f.call(&mut store, ()).unwrap_err().is::<ThrownException>());
/// assert!(store.take_pending_exception().is_some() && !store.has_pending_exception());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThrownException {
    _private: (),
}

impl ThrownException {
    pub(crate) fn new() -> ThrownException {
        ThrownException { _private: () }
    }
}

impl std::fmt::Display for ThrownException {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Trap::UncaughtException.text())
    }
}

impl std::error::Error for ThrownException {}

fn misuse(text: impl Into<String>) -> Error {
    Error::tagged(ErrorKind::Misuse, text.into())
}

impl ExnRef {
    /// An exception of a tag with these values.
    ///
    /// # Errors
    ///
    /// When the tag or a value has another type, or the number of values is another; when something belongs
    /// to another store; [`GcHeapOutOfMemory`] when there is no room.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        let store = store.as_context_mut().0;
        check_store(allocator.store, store.id())?;
        check_store(tag.store, store.id())?;
        let ty = store.rt.kernel.tag_type(tag.id).clone();
        if ty != *allocator.ty.ty.ty().registered() {
            return Err(misuse(format!("the tag has another type than {}", allocator.ty.ty)));
        }
        let params = ty.func_type().params();
        if fields.len() != params.len() {
            let (found, expected) = (fields.len(), params.len());
            return Err(misuse(format!("expected {expected} values, got {found}")));
        }
        let mut values: Vec<Value> = Vec::with_capacity(fields.len());
        for (index, (field, ty)) in fields.iter().zip(params).enumerate() {
            let storage = StorageType::Val(*ty);
            values.push(stored(store, field, storage, || format!("value {index}"))?);
        }
        let made = store.limited(|rt, limiter| rt.new_exception(limiter, tag.id, &mut values));
        let object = made.map_err(|failure| match failure {
            Failure::Trap(report) if report.trap == Trap::GcHeapOutOfMemory => {
                GcHeapOutOfMemory::error(())
            }
            failure => failure_error(store, failure),
        })?;
        Ok(Rooted::new(&mut store.rt, object).expect("an object is not null"))
    }
}

impl Rooted<ExnRef> {
    fn parts(&self, rt: &rt::Store) -> Result<(TagId, Vec<Value>)> {
        let reference = self.reference(rt)?;
        match rt.referent(reference) {
            Some(Referent::Exn(_)) => Ok(rt.exception(reference)),
            _ => Err(misuse("the reference is not one to an exception")),
        }
    }

    /// Its tag.
    ///
    /// # Errors
    ///
    /// As for every method here: when the scope of the reference has been left, or it belongs to another
    /// store.
    pub fn tag(&self, mut store: impl AsContextMut) -> Result<Tag> {
        let store = store.as_context_mut().0;
        let (id, _) = self.parts(&store.rt)?;
        Ok(Tag { store: store.id(), id })
    }

    /// Its type.
    pub fn ty(&self, store: impl AsContext) -> Result<ExnType> {
        let rt = &store.as_context().0.rt;
        let (tag, _) = self.parts(rt)?;
        let ty = FuncType::from_registered(rt.kernel.tag_type(tag).clone());
        Ok(ExnType { ty: TagType::new(ty) })
    }

    /// Whether its type is `ty`.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ExnType) -> Result<bool> {
        Ok(self.ty(store)? == *ty)
    }

    /// Its values, in order.
    pub fn fields<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let StoreContextMut(store) = store.into();
        let (tag, values) = self.parts(&store.rt)?;
        let ty = store.rt.kernel.tag_type(tag).clone();
        let pairs = values.into_iter().zip(ty.func_type().params());
        let vals: Vec<Val> =
            pairs.map(|(value, ty)| Val::from_value(value, *ty, &mut store.rt)).collect();
        Ok(vals.into_iter())
    }

    /// A value.
    ///
    /// # Errors
    ///
    /// Also when there are fewer.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let mut fields = self.fields(store.as_context_mut())?;
        fields.nth(index).ok_or_else(|| misuse(format!("no value {index} in the exception")))
    }
}

fn throw<T, R>(
    store: &mut StoreInner<T>,
    exception: Rooted<ExnRef>,
) -> std::result::Result<R, ThrownException> {
    let reference =
        exception.reference(&store.rt).expect("an exception of this store, in its scope");
    store.rt.set_pending_exception(Some(reference));
    Err(ThrownException::new())
}

impl<T: 'static> Store<T> {
    /// Throws an exception: it is pending from now on, and a host function that returns the error throws it
    /// into its caller.
    ///
    /// ```
    /// use wardian::*;
    ///
    /// let mut store = Store::<()>::default();
    /// let ty = ExnType::new(store.engine(), [ValType::I32])?;
    /// let tag = Tag::new(&mut store, &ty.tag_type())?;
    /// let raise = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<()> {
    ///     let mut store = caller.as_context_mut();
    ///     let pre = ExnRefPre::new(&mut store, ty.clone());
    ///     let exception = ExnRef::new(&mut store, &pre, &tag, &[Val::I32(42)])?;
    ///     Ok(store.throw(exception)?)
    /// });
    /// let text = r#"(module (import "" "t" (tag $t (param i32))) (import "" "raise" (func $raise))
    ///     (func (export "f") (result i32)
    ///         (block $h (result i32) (try_table (catch $t $h) (call $raise)) (i32.const 0))))"#;
    /// let module = Module::new(store.engine(), text)?;
    /// let instance = Instance::new(&mut store, &module, &[tag.into(), raise.into()])?;
    /// let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
    /// assert_eq!(f.call(&mut store, ())?, 42);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Always.
    ///
    /// # Panics
    ///
    /// When the exception belongs to another store, or its scope has been left.
    pub fn throw<R>(
        &mut self,
        exception: Rooted<ExnRef>,
    ) -> std::result::Result<R, ThrownException> {
        self.as_context_mut().throw(exception)
    }

    /// Takes the exception that is pending: the last that left a call, or was thrown.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.as_context_mut().take_pending_exception()
    }

    /// Whether an exception is pending.
    pub fn has_pending_exception(&self) -> bool {
        self.as_context().0.rt.pending_exception().is_some()
    }
}

impl<T> StoreContextMut<'_, T> {
    /// As [`Store::throw`].
    ///
    /// # Errors
    ///
    /// Always.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn throw<R>(
        &mut self,
        exception: Rooted<ExnRef>,
    ) -> std::result::Result<R, ThrownException> {
        throw(self.0, exception)
    }

    /// As [`Store::take_pending_exception`].
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        let reference = self.0.rt.set_pending_exception(None)?;
        Rooted::new(&mut self.0.rt, reference)
    }

    /// As [`Store::has_pending_exception`].
    pub fn has_pending_exception(&self) -> bool {
        self.0.rt.pending_exception().is_some()
    }
}

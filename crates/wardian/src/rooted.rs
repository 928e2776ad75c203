//! References of the host into a store's heap: [`Rooted`], which live in scopes, and [`OwnedRooted`].
//!
//! Invariant: a handle names a root and never an object, which the collector moves. A root's number is
//! given out once, so a handle whose scope has been left is found out whenever it is used.

use crate::error::{Error, ErrorKind, Result};
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut, check_store};
use crate::val::ExternRef;
use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use wardian_runtime::{self as rt, OwnedRoot, RootId};
use wardian_vm::StoreId;

mod sealed {
    pub trait Sealed {}
}

/// What a [`Rooted`] can refer to: [`AnyRef`](crate::AnyRef), [`EqRef`](crate::EqRef),
/// [`StructRef`](crate::StructRef), [`ArrayRef`](crate::ArrayRef), [`ExnRef`](crate::ExnRef), [`ExternRef`].
///
/// ```
/// use wardian::{AsContextMut, ExternRef, GcRef, OwnedRooted, Rooted, Store};
///
/// fn keep<T: GcRef>(store: impl AsContextMut, root: Rooted<T>) -> wardian::Result<OwnedRooted<T>> {
///     root.to_owned_rooted(store)
/// }
/// let mut store = Store::<()>::default();
/// let value = ExternRef::new(&mut store, 5)?;
/// keep(&mut store, value)?;
/// # Ok::<(), wardian::Error>(())
/// ```
pub trait GcRef: sealed::Sealed + Sized + 'static {}

/// A reference that lives until the scope it was made in is left: the call of the host function, or a
/// [`RootScope`]; without either, as long as the store. A small copy, which the store checks at each use.
///
/// ```
/// use wardian::{ExternRef, RootScope, Rooted, Store};
///
/// let mut store = Store::<()>::default();
/// let a = ExternRef::new(&mut store, 5)?;
/// let b = {
///     let mut scope = RootScope::new(&mut store);
///     let b = ExternRef::new(&mut scope, 5)?;
///     assert!(Rooted::ref_eq(&scope, &a, &a)? && !Rooted::ref_eq(&scope, &a, &b)?);
///     b
/// };
/// assert!(a.data(&store)?.is_some() && b.data(&store).is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct Rooted<T: GcRef> {
    store: StoreId,
    root: RootId,
    kind: PhantomData<fn() -> T>,
}

/// A reference that lives until it is dropped, in whatever scope.
///
/// ```
/// use wardian::{ExternRef, OwnedRooted, RootScope, Store};
///
/// let mut store = Store::<()>::default();
/// let owned: OwnedRooted<ExternRef> = {
///     let mut scope = RootScope::new(&mut store);
///     let value = ExternRef::new(&mut scope, "kept")?;
///     value.to_owned_rooted(&mut scope)?
/// };
/// store.gc(None)?;
/// let value = owned.to_rooted(&mut store);
/// assert_eq!(value.data(&store)?.unwrap().downcast_ref(), Some(&"kept"));
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct OwnedRooted<T: GcRef> {
    store: StoreId,
    root: OwnedRoot,
    kind: PhantomData<fn() -> T>,
}

impl<T: GcRef> Clone for Rooted<T> {
    fn clone(&self) -> Rooted<T> {
        *self
    }
}

impl<T: GcRef> Copy for Rooted<T> {}

impl<T: GcRef> Clone for OwnedRooted<T> {
    fn clone(&self) -> OwnedRooted<T> {
        OwnedRooted { store: self.store, root: self.root.clone(), kind: PhantomData }
    }
}

impl<T: GcRef> PartialEq for Rooted<T> {
    fn eq(&self, other: &Rooted<T>) -> bool {
        (self.store, self.root) == (other.store, other.root)
    }
}

impl<T: GcRef> Eq for Rooted<T> {}

impl<T: GcRef> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooted").field("root", &self.root.index()).finish_non_exhaustive()
    }
}

impl<T: GcRef> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRooted").finish_non_exhaustive()
    }
}

/// [`Rooted`] or [`OwnedRooted`].
///
/// ```
/// use wardian::{ExternRef, Rooted, Store};
///
/// let mut store = Store::<()>::default();
/// let value = ExternRef::new(&mut store, 5)?;
/// let owned = value.to_owned_rooted(&mut store)?;
/// assert!(Rooted::ref_eq(&store, &value, &owned)?);
/// # Ok::<(), wardian::Error>(())
/// ```
pub trait RootedGcRef<T: GcRef>: sealed::Sealed {
    #[doc(hidden)]
    fn reference(&self, store: &rt::Store) -> Result<u32>;
}

impl<T: GcRef> sealed::Sealed for Rooted<T> {}
impl<T: GcRef> sealed::Sealed for OwnedRooted<T> {}

impl<T: GcRef> RootedGcRef<T> for Rooted<T> {
    fn reference(&self, store: &rt::Store) -> Result<u32> {
        check_store(self.store, store.kernel.id())?;
        store.roots.get(self.root).ok_or_else(stale)
    }
}

impl<T: GcRef> RootedGcRef<T> for OwnedRooted<T> {
    fn reference(&self, store: &rt::Store) -> Result<u32> {
        check_store(self.store, store.kernel.id())?;
        Ok(self.root.get())
    }
}

#[cold]
fn stale() -> Error {
    let text = "attempted to use a garbage-collected object that has been unrooted";
    Error::tagged(ErrorKind::Misuse, text)
}

/// Why there is no root for a reference.
const TOO_MANY: &str = "a store has fewer than 2^32 roots";

impl<T: GcRef> Rooted<T> {
    /// A root of the innermost scope for a reference that is not null.
    pub(crate) fn new(store: &mut rt::Store, reference: u32) -> Option<Rooted<T>> {
        if reference == 0 {
            return None;
        }
        let root = store.roots.add(reference).expect(TOO_MANY);
        Some(Rooted { store: store.kernel.id(), root, kind: PhantomData })
    }

    /// The root of this number, if there is one.
    pub(crate) fn of_number(store: &rt::Store, number: u32) -> Option<(Rooted<T>, u32)> {
        let (root, reference) = store.roots.at(number)?;
        Some((Rooted { store: store.kernel.id(), root, kind: PhantomData }, reference))
    }

    pub(crate) fn number(&self) -> u32 {
        self.root.index()
    }

    /// The same root as one for what `T` is known to be.
    pub(crate) fn cast<U: GcRef>(self) -> Rooted<U> {
        Rooted { store: self.store, root: self.root, kind: PhantomData }
    }

    /// A root for the same object that lives as long as it is kept.
    ///
    /// # Errors
    ///
    /// When the scope of this one has been left, or it belongs to another store.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let store = store.as_context_mut().0;
        let reference = self.reference(&store.rt)?;
        let root = store.rt.roots.add_owned(reference);
        Ok(OwnedRooted { store: self.store, root, kind: PhantomData })
    }

    /// Whether both are the same root of the same store, without asking the store.
    pub fn rooted_eq(a: Self, b: Self) -> bool {
        a == b
    }

    /// Hashes the root itself; equal by [`rooted_eq`](Rooted::rooted_eq) means equal hashes.
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        (self.store, self.root).hash(state);
    }

    /// Hashes the object it refers to, by identity. The hash is another one after a collection.
    ///
    /// # Errors
    ///
    /// When its scope has been left, or it belongs to another store.
    pub fn ref_hash<H: Hasher>(&self, store: impl AsContext, state: &mut H) -> Result<()> {
        self.reference(&store.as_context().0.rt)?.hash(state);
        Ok(())
    }

    /// Whether both refer to the same object.
    ///
    /// # Errors
    ///
    /// When the scope of one has been left, or it belongs to another store.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        let store = &store.as_context().0.rt;
        Ok(a.reference(store)? == b.reference(store)?)
    }
}

impl<T: GcRef> OwnedRooted<T> {
    /// A root of the innermost scope for the same object.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Rooted<T> {
        let store = store.as_context_mut().0;
        let reference = self.reference(&store.rt).unwrap_or_else(|error| panic!("{error}"));
        Rooted::new(&mut store.rt, reference).expect("a root is not null")
    }

    /// Whether both refer to the same object.
    ///
    /// # Errors
    ///
    /// When the scope of one has been left, or it belongs to another store.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        Rooted::ref_eq(store, a, b)
    }

    /// Hashes the root itself: clones of one have the same hash.
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        (self.store, self.root.identity()).hash(state);
    }

    /// Hashes the object it refers to, by identity. The hash is another one after a collection.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ref_hash<H: Hasher>(&self, store: impl AsContext, state: &mut H) -> Result<()> {
        self.reference(&store.as_context().0.rt)?.hash(state);
        Ok(())
    }

    pub(crate) fn cast<U: GcRef>(self) -> OwnedRooted<U> {
        OwnedRooted { store: self.store, root: self.root, kind: PhantomData }
    }
}

/// A scope: roots that are made while it exists end with it.
///
/// ```
/// use wardian::{AsContextMut, ExternRef, RootScope, Store};
///
/// let mut store = Store::<()>::default();
/// for number in 0..100_000 {
///     let mut scope = RootScope::new(&mut store);
///     let value = ExternRef::new(scope.as_context_mut(), number)?;
///     assert!(value.data(&scope)?.is_some());
/// }
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct RootScope<C: AsContextMut> {
    store: C,
    scope: usize,
}

impl<C: AsContextMut> RootScope<C> {
    /// A scope of a store.
    pub fn new(mut store: C) -> RootScope<C> {
        let scope = store.as_context_mut().0.rt.roots.enter();
        RootScope { store, scope }
    }

    /// Makes room for so many roots at once.
    pub fn reserve(&mut self, additional: usize) {
        self.store.as_context_mut().0.rt.roots.reserve(additional);
    }
}

impl<C: AsContextMut> Drop for RootScope<C> {
    fn drop(&mut self) {
        self.store.as_context_mut().0.rt.roots.leave(self.scope);
    }
}

impl<C: AsContextMut> fmt::Debug for RootScope<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootScope").finish_non_exhaustive()
    }
}

impl<C: AsContextMut> AsContext for RootScope<C> {
    type Data = C::Data;
    fn as_context(&self) -> StoreContext<'_, C::Data> {
        self.store.as_context()
    }
}

impl<C: AsContextMut> AsContextMut for RootScope<C> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        self.store.as_context_mut()
    }
}

macro_rules! gc_refs {
    ($($name:ty),*) => {$(
        impl sealed::Sealed for $name {}
        impl GcRef for $name {}
    )*};
}

gc_refs!(ExternRef, crate::AnyRef, crate::EqRef, crate::StructRef, crate::ArrayRef, crate::ExnRef);

/// The heap of a store has no room for an object, whatever is collected. With it comes back what the object
/// was to hold.
///
/// ```
/// use wardian::{Engine, ExternRef, GcHeapOutOfMemory, Store, StoreLimitsBuilder};
///
/// let limits = StoreLimitsBuilder::new().memory_size(0).build();
/// let mut store = Store::new(&Engine::default(), limits);
/// store.limiter(|limits| limits);
/// let error = ExternRef::new(&mut store, "mine").unwrap_err();
/// assert_eq!(error.downcast::<GcHeapOutOfMemory<&str>>()?.into_inner(), "mine");
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct GcHeapOutOfMemory<T> {
    inner: Option<T>,
}

impl<T: Any + Send + Sync> GcHeapOutOfMemory<T> {
    pub(crate) fn error(inner: T) -> Error {
        Error::new(GcHeapOutOfMemory { inner: Some(inner) }).with_tag(ErrorKind::Limit)
    }
}

impl<T> GcHeapOutOfMemory<T> {
    /// What the object was to hold.
    ///
    /// # Panics
    ///
    /// If it was taken out.
    pub fn into_inner(self) -> T {
        self.inner.expect("what was taken out is gone")
    }

    /// What the object was to hold, with the error left behind.
    ///
    /// # Panics
    ///
    /// If it was taken out before.
    pub fn take_inner(&mut self) -> T {
        self.inner.take().expect("what was taken out is gone")
    }
}

impl<T> fmt::Debug for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> fmt::Display for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GC heap out of memory")
    }
}

impl<T> std::error::Error for GcHeapOutOfMemory<T> {}

//! [`Store`] and the contexts through which everything in it is reached.
//!
//! A store owns all that is created in it, until it is dropped. Handles are small copies (a store's
//! number and an index); every use of one is given the store and checked against it.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::AtDeadline;
use crate::limits::{LimiterAdapter, ResourceLimiter};
use std::sync::Arc;
use wardian_runtime as rt;
use wardian_vm::{self as vm, BuiltinCall, Failure, StoreId};

/// The part of a store that the kernel runs with.
pub(crate) struct StoreInner<T: 'static> {
    pub(crate) engine: Engine,
    pub(crate) rt: rt::Store,
    pub(crate) data: T,
    limiter: Option<LimiterOf<T>>,
    pub(crate) at_deadline: AtDeadline<T>,
}

/// Finds the limiter in the embedder's data.
type LimiterOf<T> = Box<dyn (Fn(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync>;

impl<T: 'static> vm::Host for StoreInner<T> {
    fn kernel(&mut self) -> &mut vm::Store {
        &mut self.rt.kernel
    }

    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure> {
        self.limited(|rt, limiter| rt::builtin(rt, limiter, call))
    }

    fn epoch_reached(&mut self) -> Result<(), Failure> {
        self.at_epoch_deadline()
    }
}

impl<T> StoreInner<T> {
    pub(crate) fn id(&self) -> StoreId {
        self.rt.kernel.id()
    }

    /// Acts on the runtime's store under the embedder's limits.
    pub(crate) fn limited<R>(
        &mut self,
        act: impl FnOnce(&mut rt::Store, &mut dyn rt::Limiter) -> R,
    ) -> R {
        match &self.limiter {
            Some(of) => act(&mut self.rt, &mut LimiterAdapter(of(&mut self.data))),
            None => act(&mut self.rt, &mut rt::Unlimited),
        }
    }
}

/// Instances, memories, tables, globals and functions that live together, with data of the embedder's.
///
/// Nothing in a store is freed before the store. A store runs guest code on one thread at a time and
/// may move between threads if `T` may.
///
/// ```
/// use wardian::{Engine, Store};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, 5);
/// *store.data_mut() += 1;
/// assert_eq!(store.into_data(), 6);
/// ```
pub struct Store<T: 'static> {
    pub(crate) inner: Box<StoreInner<T>>,
}

/// Shared access to a store.
pub struct StoreContext<'a, T: 'static>(pub(crate) &'a StoreInner<T>);

/// Exclusive access to a store.
pub struct StoreContextMut<'a, T: 'static>(pub(crate) &'a mut StoreInner<T>);

impl<T: 'static> Store<T> {
    /// An empty store.
    ///
    /// # Panics
    ///
    /// When the process cannot install the handlers by which guest faults become traps.
    pub fn new(engine: &Engine, data: T) -> Store<T> {
        let config = engine.config();
        let limits = vm::StoreLimits {
            max_wasm_stack: config.max_wasm_stack,
            backtrace_frames: config.backtrace_max_frames.map_or(0, |frames| frames.get()),
        };
        let settings = Arc::clone(engine.settings());
        let (epoch, reservations) = (engine.epoch().clone(), engine.reservations());
        let rt = rt::Store::of_engine::<StoreInner<T>>(settings, limits, epoch, reservations)
            .expect("the system refused handlers for guest faults");
        let engine = engine.clone();
        Store {
            inner: Box::new(StoreInner {
                engine,
                rt,
                data,
                limiter: None,
                at_deadline: AtDeadline::Trap,
            }),
        }
    }

    /// The engine it was made for.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.inner.data
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner.data
    }

    /// Drops all but the embedder's data.
    pub fn into_data(self) -> T {
        self.inner.data
    }

    /// Asks `limiter` from now on whether memories and tables may grow; see [`ResourceLimiter`].
    pub fn limiter(
        &mut self,
        limiter: impl (Fn(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        self.inner.limiter = Some(Box::new(limiter));
    }
}

impl<T: Default> Default for Store<T> {
    fn default() -> Store<T> {
        Store::new(&Engine::default(), T::default())
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("data", &self.inner.data).finish_non_exhaustive()
    }
}

impl<'a, T> StoreContext<'a, T> {
    /// The engine of the store.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The embedder's data.
    pub fn data(&self) -> &'a T {
        &self.0.data
    }
}

impl<T> StoreContextMut<'_, T> {
    /// The engine of the store.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.0.data
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.0.data
    }
}

/// What gives shared access to a store: stores, contexts, callers and references to them.
pub trait AsContext {
    /// The embedder's data in the store.
    type Data: 'static;

    /// Shared access.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What gives exclusive access to a store.
pub trait AsContextMut: AsContext {
    /// Exclusive access.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<T> AsContext for Store<T> {
    type Data = T;
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(&self.inner)
    }
}

impl<T> AsContextMut for Store<T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(&mut self.inner)
    }
}

impl<T> AsContext for StoreContext<'_, T> {
    type Data = T;
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T> AsContext for StoreContextMut<'_, T> {
    type Data = T;
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T> AsContextMut for StoreContextMut<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.0)
    }
}

impl<C: AsContext> AsContext for &C {
    type Data = C::Data;
    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContext> AsContext for &mut C {
    type Data = C::Data;
    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContextMut> AsContextMut for &mut C {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        C::as_context_mut(self)
    }
}

impl<'a, T> From<&'a Store<T>> for StoreContext<'a, T> {
    fn from(store: &'a Store<T>) -> Self {
        StoreContext(&store.inner)
    }
}

impl<'a, T> From<&'a mut Store<T>> for StoreContext<'a, T> {
    fn from(store: &'a mut Store<T>) -> Self {
        StoreContext(&store.inner)
    }
}

impl<'a, T> From<&'a mut Store<T>> for StoreContextMut<'a, T> {
    fn from(store: &'a mut Store<T>) -> Self {
        StoreContextMut(&mut store.inner)
    }
}

impl<'a, T> From<StoreContextMut<'a, T>> for StoreContext<'a, T> {
    fn from(context: StoreContextMut<'a, T>) -> Self {
        StoreContext(context.0)
    }
}

impl<'a, T> From<&'a mut StoreContextMut<'_, T>> for StoreContextMut<'a, T> {
    fn from(context: &'a mut StoreContextMut<'_, T>) -> Self {
        StoreContextMut(context.0)
    }
}

impl<'a, T> From<&'a StoreContextMut<'_, T>> for StoreContext<'a, T> {
    fn from(context: &'a StoreContextMut<'_, T>) -> Self {
        StoreContext(context.0)
    }
}

/// Text of every panic and error about a handle of another store.
pub(crate) const WRONG_STORE: &str = "object used with the wrong store";

/// An error unless an object of store `own` is used with `store`.
#[inline]
pub(crate) fn check_store(own: StoreId, store: StoreId) -> Result<()> {
    if own == store { Ok(()) } else { Err(wrong_store()) }
}

#[cold]
fn wrong_store() -> Error {
    Error::tagged(ErrorKind::Misuse, WRONG_STORE)
}

const _: () = {
    const fn send<T: Send>() {}
    const fn shared_between_threads<T: Send + Sync>() {}
    send::<Store<()>>();
    shared_between_threads::<Store<()>>();
};

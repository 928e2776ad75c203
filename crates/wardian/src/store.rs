//! [`Store`] and the contexts through which everything in it is reached.
//!
//! A store owns all that is created in it, until it is dropped. Handles are small copies (a store's
//! number and an index); every use of one is given the store and checked against it.

use crate::backtrace::DEFAULT_FRAMES;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::exceptions::ThrownException;
use crate::func::host_error;
use crate::interrupt::AtDeadline;
use crate::limits::{LimiterAdapter, ResourceLimiter};
use crate::module::Module;
use crate::refs::AnyRef;
use crate::rooted::{GcHeapOutOfMemory, Rooted, RootedGcRef};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use wardian_module::Builtin;
use wardian_runtime as rt;
use wardian_vm::{self as vm, BuiltinCall, Failure, StoreId};

/// The part of a store that the kernel runs with.
pub(crate) struct StoreInner<T: 'static> {
    pub(crate) engine: Engine,
    pub(crate) rt: rt::Store,
    pub(crate) data: T,
    limiter: Option<LimiterOf<T>>,
    hook: Option<Hook<T>>,
    /// The module of every instance in `rt`, each once.
    modules: Vec<Module>,
    pub(crate) at_deadline: AtDeadline<T>,
}

/// Finds the limiter in the embedder's data.
type LimiterOf<T> = Box<dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync>;

/// What [`Store::call_hook`] was given.
type Hook<T> = Box<dyn FnMut(StoreContextMut<'_, T>, CallHook) -> Result<()> + Send + Sync>;

/// A passage between host and guest, for [`Store::call_hook`].
///
/// ```
/// use wardian::CallHook;
///
/// assert!(CallHook::CallingHost.entering_host() && CallHook::CallingWasm.exiting_host());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallHook {
    /// The host calls a function of the store.
    CallingWasm,
    /// Such a call comes back, with results or with an error.
    ReturningFromWasm,
    /// The guest calls the host: a host function, the store's limiter, or the callback of a deadline.
    CallingHost,
    /// The host goes back to the guest, with results or with an error.
    ReturningFromHost,
}

impl CallHook {
    /// Whether the host runs after it.
    pub fn entering_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromWasm | CallHook::CallingHost)
    }

    /// Whether the host ran before it.
    pub fn exiting_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromHost | CallHook::CallingWasm)
    }
}

impl<T: 'static> vm::Host for StoreInner<T> {
    fn kernel(&mut self) -> &mut vm::Store {
        &mut self.rt.kernel
    }

    #[inline]
    fn is_told(&self) -> bool {
        self.is_hooked()
    }

    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure> {
        let asks_limiter = matches!(
            call.operation.builtin,
            Builtin::MemoryGrow | Builtin::TableGrowFunc | Builtin::TableGrowRef
        );
        if matches!(call.operation.builtin, Builtin::MemoryWait32 | Builtin::MemoryWait64) {
            return self.wait(&call);
        }
        if !asks_limiter || self.hook.is_none() {
            return self.limited(|rt, limiter| rt::builtin(rt, limiter, call));
        }
        // The hook may collect: a reference among the arguments is kept by a root meanwhile.
        let scope = self.rt.roots.enter();
        let root = match call.operation.builtin {
            Builtin::TableGrowRef => Rooted::<AnyRef>::new(&mut self.rt, call.args[0] as u32),
            _ => None,
        };
        let result = self.passing(|store| {
            let mut call = call;
            if let Some(root) = root {
                let reference = root.reference(&store.rt);
                call.args[0] = reference.map_err(|error| Failure::Host(host_error(error)))?.into();
            }
            store.limited(|rt, limiter| rt::builtin(rt, limiter, call))
        });
        self.rt.roots.leave(scope);
        result
    }

    fn uncaught(&mut self) -> Failure {
        let kept = self.limited(|rt, limiter| rt.keep_uncaught(limiter));
        kept.err().unwrap_or(Failure::Exception)
    }

    fn thrown(&mut self, error: &(dyn Any + Send)) -> bool {
        let error = error.downcast_ref::<Error>();
        error.is_some_and(Error::is::<ThrownException>) && self.rt.throw_pending()
    }

    fn epoch_reached(&mut self) -> Result<(), Failure> {
        match self.at_deadline {
            AtDeadline::Ask(_) => self.passing(Self::at_epoch_deadline),
            _ => self.at_epoch_deadline(),
        }
    }
}

/// How long a guest waits before it asks whether its epoch deadline has come.
const PAUSE: Duration = Duration::from_millis(2);

impl<T: 'static> StoreInner<T> {
    /// `memory.atomic.wait32` and `wait64`, until the epoch deadline at most.
    fn wait(&mut self, call: &BuiltinCall) -> Result<u64, Failure> {
        let Some(mut waiter) = rt::begin_wait(&self.rt, call)? else {
            return Ok(rt::WaitResult::Mismatch as u64);
        };
        let pause = self.rt.asks_epoch().then_some(PAUSE);
        loop {
            if let Some(result) = waiter.park(pause) {
                return Ok(result as u64);
            }
            if self.rt.kernel.is_epoch_reached() {
                vm::Host::epoch_reached(self)?;
            }
        }
    }
}

impl<T> StoreInner<T> {
    #[inline]
    pub(crate) fn id(&self) -> StoreId {
        self.rt.kernel.id()
    }

    /// Acts on the runtime's store under the embedder's limits.
    pub(crate) fn limited<R>(
        &mut self,
        act: impl FnOnce(&mut rt::Store, &mut dyn rt::Limiter) -> R,
    ) -> R {
        match &mut self.limiter {
            Some(of) => act(&mut self.rt, &mut LimiterAdapter(of(&mut self.data))),
            None => act(&mut self.rt, &mut rt::Unlimited),
        }
    }

    /// Whether there is a hook. That does not change while the guest runs.
    #[inline]
    pub(crate) fn is_hooked(&self) -> bool {
        self.hook.is_some()
    }

    /// Tells the hook, if there is one, of a passage.
    #[inline]
    pub(crate) fn pass(&mut self, passage: CallHook) -> Result<()> {
        if self.is_hooked() { self.run_hook(passage) } else { Ok(()) }
    }

    /// Does something of the host's that a guest asked for, with the hook told of it.
    fn passing<R>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let failure = |error| Failure::Host(host_error(error));
        self.pass(CallHook::CallingHost).map_err(failure)?;
        let result = act(self);
        self.pass(CallHook::ReturningFromHost).map_err(failure)?;
        result
    }

    #[cold]
    fn run_hook(&mut self, passage: CallHook) -> Result<()> {
        // While it runs there is none: what the hook itself calls is not told.
        let Some(mut hook) = self.hook.take() else { return Ok(()) };
        let result = hook(StoreContextMut(self), passage);
        self.hook = Some(hook);
        result
    }

    /// Remembers the module of an instance that is about to be made.
    pub(crate) fn keep_module(&mut self, module: &Module) {
        if !self.modules.iter().rev().any(|kept| Module::same(kept, module)) {
            self.modules.push(module.clone());
        }
    }

    /// The module of every instance, each once.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The module with this code, if an instance has it.
    pub(crate) fn module_of(&self, code: &Arc<wardian_module::Module>) -> Option<&Module> {
        self.modules.iter().rev().find(|kept| Arc::ptr_eq(kept.code().module(), code))
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
///
/// ```
/// use wardian::{AsContext, Store, StoreContext};
///
/// let store = Store::new(&Default::default(), "data");
/// let context: StoreContext<'_, &str> = store.as_context();
/// assert_eq!(*context.data(), "data");
/// ```
pub struct StoreContext<'a, T: 'static>(pub(crate) &'a StoreInner<T>);

/// Exclusive access to a store.
///
/// ```
/// use wardian::{AsContextMut, Store, StoreContextMut};
///
/// let mut store = Store::<u8>::default();
/// let mut context: StoreContextMut<'_, u8> = store.as_context_mut();
/// *context.data_mut() = 3;
/// assert_eq!(*store.data(), 3);
/// ```
pub struct StoreContextMut<'a, T: 'static>(pub(crate) &'a mut StoreInner<T>);

impl<T: 'static> Store<T> {
    /// An empty store.
    ///
    /// # Panics
    ///
    /// When the process cannot install the handlers by which guest faults become traps.
    pub fn new(engine: &Engine, data: T) -> Store<T> {
        Store::try_new(engine, data).expect("the system refused handlers for guest faults")
    }

    /// As [`new`](Store::new), with an error where that panics.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Limit`].
    pub fn try_new(engine: &Engine, data: T) -> Result<Store<T>> {
        let config = engine.config();
        let limits = vm::StoreLimits {
            max_wasm_stack: config.max_wasm_stack,
            backtrace_frames: match config.backtrace_max_frames {
                Some(frames) => frames.get(),
                None if config.coredump_on_trap => DEFAULT_FRAMES,
                None => 0,
            },
        };
        let settings = Arc::clone(engine.settings());
        let (epoch, reservations) = (engine.epoch().clone(), engine.reservations());
        let heap = config.heap;
        let rt = rt::Store::of_engine::<StoreInner<T>>(settings, limits, heap, epoch, reservations);
        let rt = rt.map_err(|error| {
            let text = format!("the system refused handlers for guest faults: {error}");
            Error::tagged(ErrorKind::Limit, text)
        })?;
        let inner = StoreInner {
            engine: engine.clone(),
            rt,
            data,
            limiter: None,
            at_deadline: AtDeadline::Trap,
            hook: None,
            modules: Vec::new(),
        };
        Ok(Store { inner: Box::new(inner) })
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
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        self.inner.limiter = Some(Box::new(limiter));
    }

    /// Drops all in the heap that nothing reaches, and gives its memory back. `why` is of no influence.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use wardian::{ExternRef, RootScope, Store};
    ///
    /// let value = Arc::new(5);
    /// let mut store = Store::<()>::default();
    /// ExternRef::new(&mut RootScope::new(&mut store), value.clone())?;
    /// store.gc(None)?;
    /// assert_eq!(Arc::strong_count(&value), 1);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the store's limits leave no room for moving what is reached.
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.as_context_mut().gc(why)
    }

    /// Bytes that the heap takes.
    pub fn gc_heap_capacity(&self) -> usize {
        heap_capacity(&self.inner.rt)
    }

    /// Calls `hook` from now on whenever control passes between host and guest: around each call of a
    /// function, start functions included, around each host function that a guest calls, around
    /// `memory.grow` and `table.grow`, which ask the [`limiter`](Store::limiter), and around the callback
    /// of an epoch deadline. Each passage that was announced has its counterpart, also when it ends with
    /// an error.
    ///
    /// An error of the hook ends what was passing: the call is not made, or its result is replaced; in
    /// the guest it is like an error of a host function. Calls that the hook itself makes are not told
    /// to it. A hook that panics is removed.
    ///
    /// ```
    /// use wardian::{CallHook, Func, Store};
    ///
    /// let mut store = Store::<Vec<CallHook>>::default();
    /// store.call_hook(|mut context, passage| Ok(context.data_mut().push(passage)));
    /// Func::wrap(&mut store, || {}).call(&mut store, &[], &mut [])?;
    /// use CallHook::*;
    /// assert_eq!(*store.data(), [CallingWasm, CallingHost, ReturningFromHost, ReturningFromWasm]);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn call_hook(
        &mut self,
        hook: impl FnMut(StoreContextMut<'_, T>, CallHook) -> Result<()> + Send + Sync + 'static,
    ) {
        self.inner.hook = Some(Box::new(hook));
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

fn heap_capacity(rt: &rt::Store) -> usize {
    usize::try_from(rt.heap_bytes()).unwrap_or(usize::MAX)
}

impl<T> StoreContextMut<'_, T> {
    /// As [`Store::gc`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn gc(&mut self, _why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        let collected = self.0.limited(|rt, limiter| rt.gc(limiter));
        collected.map_err(|failure| crate::func::failure_error(self.0, failure))
    }

    /// As [`Store::gc_heap_capacity`].
    pub fn gc_heap_capacity(&self) -> usize {
        heap_capacity(&self.0.rt)
    }

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
///
/// ```
/// use wardian::{AsContext, Store};
///
/// fn name(context: impl AsContext<Data = &'static str>) -> &'static str {
///     *context.as_context().data()
/// }
/// assert_eq!(name(&Store::new(&Default::default(), "it")), "it");
/// ```
pub trait AsContext {
    /// The embedder's data in the store.
    type Data: 'static;

    /// Shared access.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What gives exclusive access to a store.
///
/// ```
/// use wardian::{AsContextMut, Store};
///
/// fn count(mut context: impl AsContextMut<Data = u32>) -> u32 {
///     let mut context = context.as_context_mut();
///     *context.data_mut() += 1;
///     *context.data()
/// }
/// let mut store = Store::<u32>::default();
/// assert_eq!((count(&mut store), count(store)), (1, 2));
/// ```
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

impl<'a, C: AsContext> From<&'a C> for StoreContext<'a, C::Data> {
    fn from(context: &'a C) -> Self {
        context.as_context()
    }
}

impl<'a, C: AsContext> From<&'a mut C> for StoreContext<'a, C::Data> {
    fn from(context: &'a mut C) -> Self {
        C::as_context(context)
    }
}

impl<'a, C: AsContextMut> From<&'a mut C> for StoreContextMut<'a, C::Data> {
    fn from(context: &'a mut C) -> Self {
        context.as_context_mut()
    }
}

impl<'a, T> From<StoreContextMut<'a, T>> for StoreContext<'a, T> {
    fn from(context: StoreContextMut<'a, T>) -> Self {
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

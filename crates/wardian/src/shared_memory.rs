//! [`SharedMemory`]: memories that several stores use at the same time, on several threads.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::externals::{GuestMemoryMut, MemoryAccessError};
use crate::limits::ResourceLimiter;
use crate::store::StoreInner;
use crate::types::MemoryType;
use std::cell::UnsafeCell;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wardian_module::Trap;
use wardian_runtime as rt;
use wardian_vm as vm;

pub use rt::WaitResult;

/// A linear memory that belongs to no store: all stores of its engine can import it, on any thread. Clones
/// are the same memory.
///
/// Its bytes may be changed by others at any time, so there is no slice of them: [`read`](Self::read) and
/// [`write`](Self::write) copy, byte for byte, and the methods with `atomic` in their names are in one
/// order with the atomic instructions of guests.
///
/// ```
/// use wardian::{Engine, Instance, MemoryType, Module, SharedMemory, Store};
///
/// let engine = Engine::default();
/// let memory = SharedMemory::new(&engine, MemoryType::shared(1, 4))?;
/// let module = Module::new(&engine, r#"(module
///     (import "host" "memory" (memory 1 4 shared))
///     (func (export "count") (result i32)
///         (i32.atomic.rmw.add (i32.const 8) (i32.const 1))))"#)?;
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             let mut store = Store::new(&engine, ());
///             let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
///             let count = instance.get_typed_func::<(), i32>(&mut store, "count")?;
///             (0..100).try_for_each(|_| count.call(&mut store, ()).map(drop))
///         });
///     }
/// });
/// assert_eq!(memory.atomic_load(8, 4)?, 200);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    vm: vm::SharedMemory,
    engine: Engine,
}

impl SharedMemory {
    /// A memory of the type's minimum size, zeroed, with address space for all of its maximum.
    ///
    /// Nothing but the type limits what the host grows it to; guests also ask the limiter of their own
    /// store. See [`with_limiter`](SharedMemory::with_limiter).
    ///
    /// # Errors
    ///
    /// When the type is not shared, or the system refuses.
    pub fn new(engine: &Engine, ty: MemoryType) -> Result<SharedMemory> {
        SharedMemory::make(engine, ty, None)
    }

    /// As [`new`](SharedMemory::new), with a limiter of its own, which is asked first of the minimum size,
    /// then of all that it is to grow to, whoever grows it. An error of the limiter is a refusal. What it
    /// holds comes out of the limiter's [`budget`](ResourceLimiter::budget), too, as long as it exists.
    ///
    /// ```
    /// use wardian::{Engine, MemoryType, SharedMemory, StoreLimitsBuilder};
    ///
    /// let limits = StoreLimitsBuilder::new().memory_size(2 << 16).build();
    /// let memory =
    ///     SharedMemory::with_limiter(&Engine::default(), MemoryType::shared(1, 4), limits)?;
    /// assert_eq!(memory.grow(1)?, 1);
    /// assert!(memory.grow(1).is_err());
    /// # Ok::<(), wardian::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there, and when the limiter refuses.
    pub fn with_limiter(
        engine: &Engine,
        ty: MemoryType,
        limiter: impl ResourceLimiter + 'static,
    ) -> Result<SharedMemory> {
        let bytes = |pages: u64| usize::try_from(u128::from(pages) << ty.page_size_log2()).ok();
        let maximum = ty.maximum().and_then(bytes);
        let state: Mutex<(Box<dyn ResourceLimiter>, Option<rt::BudgetShare>)> =
            Mutex::new((Box::new(limiter), None));
        let gate = move |current: usize, desired: usize| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let (limiter, share) = &mut *state;
            if !limiter.memory_growing(current, desired, maximum).unwrap_or(false) {
                return false;
            }
            let Some(budget) = limiter.budget() else { return true };
            share.get_or_insert_with(|| budget.share()).resize(desired as u64)
        };
        SharedMemory::make(engine, ty, Some(Box::new(gate)))
    }

    fn make(engine: &Engine, ty: MemoryType, gate: Option<vm::Gate>) -> Result<SharedMemory> {
        if !ty.is_shared() {
            let text = "expected a shared memory type, found one that is not";
            return Err(Error::tagged(ErrorKind::Misuse, text));
        }
        let made =
            vm::SharedMemory::new(ty.to_module(), engine.settings(), &engine.reservations(), gate);
        let vm = made.map_err(|error| {
            Error::tagged(ErrorKind::Limit, format!("shared memory of type {ty}: {error}"))
        })?;
        Ok(SharedMemory { vm, engine: engine.clone() })
    }

    /// One that a store has.
    pub(crate) fn of<T>(store: &StoreInner<T>, vm: &vm::SharedMemory) -> SharedMemory {
        SharedMemory { vm: vm.clone(), engine: store.engine.clone() }
    }

    pub(crate) fn check_engine(&self, engine: &Engine) -> Result<()> {
        if Engine::same(&self.engine, engine) {
            return Ok(());
        }
        let text = "shared memory and store belong to different engines";
        Err(Error::tagged(ErrorKind::Misuse, text))
    }

    /// What it is in a store.
    pub(crate) fn in_store<T>(&self, store: &mut StoreInner<T>) -> Result<vm::MemoryId> {
        self.check_engine(&store.engine)?;
        store.rt.adopt_memory(&self.vm).map_err(|error| {
            Error::tagged(ErrorKind::Limit, format!("shared memory in a store: {error:?}"))
        })
    }

    /// Its type, with the present size as minimum.
    pub fn ty(&self) -> MemoryType {
        let mut ty = *self.vm.ty();
        ty.limits.min = self.vm.size();
        MemoryType::from_module(ty)
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether both are the same memory.
    pub fn same(a: &SharedMemory, b: &SharedMemory) -> bool {
        vm::SharedMemory::same(&a.vm, &b.vm)
    }

    /// Size in pages. It may have grown by the next call; it never shrinks.
    pub fn size(&self) -> u64 {
        self.vm.size()
    }

    /// Bytes in a page.
    pub fn page_size(&self) -> u64 {
        1 << self.vm.ty().page_size_log2
    }

    /// Size in bytes.
    pub fn data_size(&self) -> usize {
        self.vm.length()
    }

    /// Its bytes as cells, which others write at any time. To read or write them in place is up to
    /// `unsafe` code that answers for it; see [`read`](Self::read) and [`write`](Self::write).
    pub fn data(&self) -> &[UnsafeCell<u8>] {
        self.vm.data()
    }

    /// Grows it by `delta` pages, whoever uses it meanwhile, and returns its size before, in pages. It
    /// never moves.
    ///
    /// # Errors
    ///
    /// Past its maximum or its limiter's, and when the system refuses; the memory is as before.
    pub fn grow(&self, delta: u64) -> Result<u64> {
        self.vm.grow(delta).map_err(|error| {
            let text = format!("failed to grow memory by {delta} pages: {error}");
            Error::tagged(ErrorKind::Limit, text)
        })
    }

    /// Reads `buffer.len()` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// When they do not all lie inside.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), MemoryAccessError> {
        self.vm.read(offset as u64, buffer).map_err(|_| MemoryAccessError::new())
    }

    /// Writes `buffer` from `offset` on.
    ///
    /// # Errors
    ///
    /// When it does not all lie inside; nothing is written.
    pub fn write(&self, offset: usize, buffer: &[u8]) -> Result<(), MemoryAccessError> {
        self.vm.write(offset as u64, buffer).map_err(|_| MemoryAccessError::new())
    }

    /// Writes `byte` to `count` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// When they do not all lie inside; nothing is written.
    pub fn fill(&self, offset: usize, byte: u8, count: usize) -> Result<(), MemoryAccessError> {
        let filled = self.vm.fill(offset as u64, byte, count as u64);
        filled.map_err(|_| MemoryAccessError::new())
    }

    /// Copies `count` bytes of another shared memory or of this one, as if all were read before any is
    /// written.
    ///
    /// # Errors
    ///
    /// When they do not all lie inside; nothing is written.
    pub fn copy_from(
        &self,
        offset: usize,
        source: &SharedMemory,
        source_offset: usize,
        count: usize,
    ) -> Result<(), MemoryAccessError> {
        let copied = vm::SharedMemory::copy(
            &self.vm,
            offset as u64,
            &source.vm,
            source_offset as u64,
            count as u64,
        );
        copied.map_err(|_| MemoryAccessError::new())
    }

    /// The number of `bytes` bytes at `addr`, read atomically.
    ///
    /// # Errors
    ///
    /// The trap of an instruction that did this: out of bounds or not aligned.
    ///
    /// # Panics
    ///
    /// As all methods that are told how many bytes a number has: when that is not 1, 2, 4 or 8.
    pub fn atomic_load(&self, addr: u64, bytes: u32) -> Result<u64, Trap> {
        self.vm.load(addr, bytes)
    }

    /// Writes the number at `addr`.
    ///
    /// # Errors
    ///
    /// As [`atomic_load`](Self::atomic_load).
    pub fn atomic_store(&self, addr: u64, bytes: u32, value: u64) -> Result<(), Trap> {
        self.atomic_update(addr, bytes, |_| value).map(drop)
    }

    /// Replaces the number at `addr` by what `update` makes of it, and returns what it was. `update` is
    /// called again if another thread changes the number meanwhile.
    ///
    /// # Errors
    ///
    /// As [`atomic_load`](Self::atomic_load).
    pub fn atomic_update(
        &self,
        addr: u64,
        bytes: u32,
        mut update: impl FnMut(u64) -> u64,
    ) -> Result<u64, Trap> {
        let mut old = self.vm.load(addr, bytes)?;
        loop {
            let found = self.vm.compare_exchange(addr, bytes, old, update(old))?;
            if found == old {
                return Ok(old);
            }
            old = found;
        }
    }

    /// Replaces the number at `addr` by `new` if it is `expected`; what it was.
    ///
    /// # Errors
    ///
    /// As [`atomic_load`](Self::atomic_load).
    pub fn atomic_compare_exchange(
        &self,
        addr: u64,
        bytes: u32,
        expected: u64,
        new: u64,
    ) -> Result<u64, Trap> {
        self.vm.compare_exchange(addr, bytes, expected, new)
    }

    /// Wakes at most `count` of those that wait at `addr`, and returns how many.
    ///
    /// # Errors
    ///
    /// The trap of the instruction `memory.atomic.notify`.
    pub fn atomic_notify(&self, addr: u64, count: u32) -> Result<u32, Trap> {
        rt::notify(&self.vm, addr, count)
    }

    /// Waits until it is woken, at most for `timeout`, if memory holds `expected` at `addr`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wardian::{Engine, MemoryType, SharedMemory, WaitResult};
    ///
    /// let memory = SharedMemory::new(&Engine::default(), MemoryType::shared(1, 1))?;
    /// assert_eq!(memory.atomic_wait32(0, 1, None)?, WaitResult::Mismatch);
    /// let short = Some(Duration::from_millis(1));
    /// assert_eq!(memory.atomic_wait32(0, 0, short)?, WaitResult::TimedOut);
    /// std::thread::scope(|scope| {
    ///     let waiting = scope.spawn(|| memory.atomic_wait32(0, 0, None));
    ///     while memory.atomic_notify(0, 1) == Ok(0) {}
    ///     assert_eq!(waiting.join().unwrap(), Ok(WaitResult::Ok));
    /// });
    /// # Ok::<(), wardian::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The trap of the instruction `memory.atomic.wait32`.
    pub fn atomic_wait32(
        &self,
        addr: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        rt::wait(&self.vm, addr, 4, expected.into(), timeout)
    }

    /// As [`atomic_wait32`](Self::atomic_wait32), for a number of 64 bits.
    ///
    /// # Errors
    ///
    /// The trap of the instruction `memory.atomic.wait64`.
    pub fn atomic_wait64(
        &self,
        addr: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        rt::wait(&self.vm, addr, 8, expected, timeout)
    }

    /// The memory as hosts see that of a guest.
    pub fn guest(&self) -> GuestMemoryMut<'static> {
        GuestMemoryMut::shared(self.clone())
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("ty", &self.ty()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<SharedMemory>();
};

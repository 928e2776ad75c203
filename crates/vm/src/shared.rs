//! Memories that threads share: each lies outside of all stores, which reach it by a pointer, and lives as
//! long as one of them or the host holds it.
//!
//! Invariants:
//! - The base never changes: all that the memory may become is reserved when it is made.
//! - The length only grows, after the bytes below it have become accessible; it changes under the lock of
//!   the mapping.
//! - Bytes are reached as [racing bytes] says, by ranges checked against a length read before.

use crate::mapping::{Mapping, Reservations};
use crate::racing;
use crate::store::Mismatch;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wardian_module::layout::Storage;
use wardian_module::{MemoryPlan, MemoryType, Settings, Trap};

/// A memory that threads share. Clones are the same memory.
#[derive(Clone)]
pub struct SharedMemory {
    inner: Arc<Inner>,
}

/// Asked with the present and the desired length in bytes before a memory is made or grows, under its lock;
/// `false` refuses. It uses no shared memory.
pub type Gate = Box<dyn Fn(usize, usize) -> bool + Send + Sync>;

/// What generated code reads, as a `Storage`.
#[repr(C)]
struct Words {
    base: *mut u8,
    length: AtomicU64,
}

const _: () = {
    assert!(size_of::<Words>() == size_of::<Storage>());
    assert!(offset_of!(Words, base) == offset_of!(Storage, base));
    assert!(offset_of!(Words, length) == offset_of!(Storage, length));
};

struct Inner {
    words: Words,
    ty: MemoryType,
    plan: MemoryPlan,
    mapping: Mutex<Mapping>,
    gate: Option<Gate>,
}

// SAFETY: [mapping] the bytes that `base` points at belong to the mapping, which is held too.
unsafe impl Send for Inner {}
// SAFETY: [racing bytes] threads reach what `base` points at as that says; all else is `Sync`.
unsafe impl Sync for Inner {}

impl SharedMemory {
    /// A memory of the type's least size, zeroed. The type is a shared one.
    pub fn new(
        ty: MemoryType,
        settings: &Settings,
        reservations: &Arc<Reservations>,
        gate: Option<Gate>,
    ) -> std::io::Result<SharedMemory> {
        let plan = MemoryPlan::new(settings, &ty);
        let out_of_memory = || std::io::Error::from(std::io::ErrorKind::OutOfMemory);
        if !ty.shared || plan.may_move || u128::from(plan.reservation) < ty.maximum_bytes() {
            return Err(out_of_memory());
        }
        let (length, size) = crate::store::memory_extent(&plan, &ty)?;
        if gate.as_ref().is_some_and(|gate| !gate(0, length)) {
            return Err(over_its_limit());
        }
        let before = plan.guard_before as usize;
        let mapping = Mapping::with_content(before, size, length, None, reservations)?;
        let words = Words { base: mapping.start(), length: AtomicU64::new(length as u64) };
        let mapping = Mutex::new(mapping);
        Ok(SharedMemory { inner: Arc::new(Inner { words, ty, plan, mapping, gate }) })
    }

    /// Its type, as it was made.
    pub fn ty(&self) -> &MemoryType {
        &self.inner.ty
    }

    /// How code that reaches it must have been made to check its accesses.
    pub fn plan(&self) -> &MemoryPlan {
        &self.inner.plan
    }

    /// Whether both are the same memory.
    pub fn same(a: &SharedMemory, b: &SharedMemory) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// Its length in bytes, which may have grown by the next call.
    pub fn length(&self) -> usize {
        self.inner.words.length.load(Ordering::SeqCst) as usize
    }

    /// Its size in pages.
    pub fn size(&self) -> u64 {
        self.length() as u64 >> self.inner.ty.page_size_log2
    }

    /// The address of its first byte.
    pub fn base(&self) -> *mut u8 {
        self.inner.words.base
    }

    /// Its bytes, as cells that others write.
    pub fn data(&self) -> &[UnsafeCell<u8>] {
        // SAFETY: [racing bytes] so many bytes are accessible and initialized as long as the memory lives;
        // nobody reads a cell but by `unsafe` code of their own.
        unsafe { std::slice::from_raw_parts(self.base().cast(), self.length()) }
    }

    /// Bytes of address space that it takes.
    pub(crate) fn reserved(&self) -> usize {
        self.mapping().size()
    }

    /// The addresses that could not be touched when this was asked.
    pub(crate) fn inaccessible(&self) -> std::ops::Range<usize> {
        self.mapping().inaccessible()
    }

    /// What VM contexts point at.
    pub(crate) fn storage(&self) -> *mut u8 {
        (&raw const self.inner.words).cast_mut().cast()
    }

    fn mapping(&self) -> MutexGuard<'_, Mapping> {
        // Nothing is left half done where this panics.
        self.inner.mapping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grows it by `delta` pages, whoever uses it meanwhile; its size before, in pages. Fails past its
    /// limit or when memory runs out, leaving it as it was.
    pub fn grow(&self, delta: u64) -> std::io::Result<u64> {
        let mapping = self.mapping();
        let old = self.size();
        self.grow_locked(mapping, old, delta)?;
        Ok(old)
    }

    /// Grows it by `delta` pages if its size is `old` pages; whether it was.
    pub fn grow_from(&self, old: u64, delta: u64) -> std::io::Result<bool> {
        let mapping = self.mapping();
        if self.size() != old {
            return Ok(false);
        }
        self.grow_locked(mapping, old, delta)?;
        Ok(true)
    }

    fn grow_locked(
        &self,
        mut mapping: MutexGuard<'_, Mapping>,
        old: u64,
        delta: u64,
    ) -> std::io::Result<()> {
        let ty = &self.inner.ty;
        let pages = old.checked_add(delta);
        let length = pages.and_then(|pages| crate::store::bytes_of(pages, ty));
        let length = length.filter(|length| *length as u128 <= ty.maximum_bytes());
        let length = length.ok_or(std::io::ErrorKind::OutOfMemory)?;
        let current = self.length();
        if self.inner.gate.as_ref().is_some_and(|gate| !gate(current, length)) {
            return Err(over_its_limit());
        }
        mapping.make_accessible(length).inspect_err(|_| {
            // What was allowed is given back: nothing is refused that stays as it is.
            let _ = self.inner.gate.as_ref().is_none_or(|gate| gate(current, current));
        })?;
        self.inner.words.length.store(length as u64, Ordering::SeqCst);
        Ok(())
    }

    /// The address of `count` bytes from `start` on, if they lie inside.
    fn place(&self, start: u64, count: usize) -> Result<*mut u8, Mismatch> {
        let end = start.checked_add(count as u64);
        end.filter(|end| *end <= self.length() as u64).ok_or(Mismatch)?;
        Ok(self.base().wrapping_add(start as usize))
    }

    /// Copies bytes out. Fails, changing nothing, if they do not all lie inside.
    pub fn read(&self, start: u64, bytes: &mut [u8]) -> Result<(), Mismatch> {
        let place = self.place(start, bytes.len())?;
        // SAFETY: [racing bytes] checked by `place`; the target is the caller's.
        unsafe { racing::copy(bytes.as_mut_ptr(), place, bytes.len()) };
        Ok(())
    }

    /// Copies bytes in. Fails, changing nothing, if they do not all lie inside.
    pub fn write(&self, start: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        let place = self.place(start, bytes.len())?;
        // SAFETY: [racing bytes] checked by `place`.
        unsafe { racing::write(place, bytes) };
        Ok(())
    }

    /// Fills bytes. Fails, changing nothing, if they do not all lie inside.
    pub fn fill(&self, start: u64, byte: u8, count: u64) -> Result<(), Mismatch> {
        let count = usize::try_from(count).map_err(|_| Mismatch)?;
        let place = self.place(start, count)?;
        // SAFETY: [racing bytes] checked by `place`.
        unsafe { racing::fill(place, byte, count) };
        Ok(())
    }

    /// Copies bytes from one memory to another, or within one. Fails, changing nothing, if they do not
    /// all lie inside.
    pub fn copy(
        target: &SharedMemory,
        target_start: u64,
        source: &SharedMemory,
        source_start: u64,
        count: u64,
    ) -> Result<(), Mismatch> {
        let count = usize::try_from(count).map_err(|_| Mismatch)?;
        let from = source.place(source_start, count)?;
        let to = target.place(target_start, count)?;
        // SAFETY: [racing bytes] both checked by `place`.
        unsafe { racing::copy(to, from, count) };
        Ok(())
    }

    /// Replaces the number of 1, 2, 4 or 8 bytes at `start` by `new` if it is `expected`; what it was. One
    /// of the atomic accesses of all threads, which come in one order. Traps as an instruction would.
    pub fn compare_exchange(
        &self,
        start: u64,
        bytes: u32,
        expected: u64,
        new: u64,
    ) -> Result<u64, Trap> {
        assert!(matches!(bytes, 1 | 2 | 4 | 8), "a number has 1, 2, 4 or 8 bytes");
        if !start.is_multiple_of(u64::from(bytes)) {
            return Err(Trap::HeapMisaligned);
        }
        let place = self.place(start, bytes as usize).map_err(|_| Trap::MemoryOutOfBounds)?;
        // SAFETY: [racing bytes] checked by `place`; the base is aligned to pages.
        Ok(unsafe { racing::compare_exchange(place, bytes, expected, new) })
    }

    /// The number at `start`, as `compare_exchange` finds it.
    pub fn load(&self, start: u64, bytes: u32) -> Result<u64, Trap> {
        self.compare_exchange(start, bytes, 0, 0)
    }
}

#[cold]
fn over_its_limit() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::OutOfMemory, "over the limit of the memory")
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SharedMemory");
        debug.field("ty", &self.inner.ty).field("length", &self.length()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_module::{IndexType, Limits};

    fn memory(min: u64, max: u64) -> SharedMemory {
        let limits = Limits { min, max: Some(max) };
        let ty = MemoryType { index: IndexType::I32, limits, shared: true, page_size_log2: 16 };
        let settings =
            Settings { memory_reservation: 0, memory_guard_size: 0, ..Settings::default() };
        SharedMemory::new(ty, &settings, &Arc::default(), None).unwrap()
    }

    #[test]
    fn grows_in_place_up_to_its_limit() {
        let memory = memory(1, 3);
        let base = memory.base();
        assert_eq!(memory.grow(1).unwrap(), 1);
        assert!(memory.grow(2).is_err() && memory.grow(u64::MAX).is_err());
        assert_eq!((memory.grow(1).unwrap(), memory.size(), memory.base()), (2, 3, base));
        memory.write(3 * 65536 - 2, b"ab").unwrap();
        memory.write(3 * 65536 - 1, b"ab").unwrap_err();
        memory.write(u64::MAX, b"ab").unwrap_err();
        let mut end = [0; 3];
        memory.read(3 * 65536 - 3, &mut end).unwrap();
        assert_eq!(end, *b"\0ab");
        assert_eq!(memory.load(3 * 65536 - 1, 2).unwrap_err(), Trap::HeapMisaligned);
        assert_eq!(memory.load(3 * 65536, 2).unwrap_err(), Trap::MemoryOutOfBounds);
        assert_eq!(memory.load(3 * 65536 - 2, 2).unwrap(), 0x6261);
    }

    #[test]
    fn hammer_of_growth_and_accesses() {
        let memory = memory(1, 64);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| while memory.grow(1).is_ok() {});
            }
            for thread in 0..2u8 {
                let memory = &memory;
                scope.spawn(move || {
                    for _ in 0..200 {
                        let last = memory.length() as u64 - 8;
                        memory.write(last, &[thread; 8]).unwrap();
                        let mut read = [9; 8];
                        memory.read(last, &mut read).unwrap();
                        assert!(read.iter().all(|byte| *byte < 2));
                        memory.compare_exchange(last, 8, 1, 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(memory.size(), 64);
    }
}

//! Ranges of address space: reserved whole, made accessible piecemeal, for linear memories. Large ones are
//! kept when their memory goes, for the next one.
//!
//! Invariant [mapping]: `accessible` bytes from the start may be read and written, the rest faults. What
//! lies in [`Reservations`] reads as when it was new: zero, but for the image that it names.

use crate::sys;
use std::fs::File;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

/// A reserved range of address space whose first part is accessible.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    size: usize,
    /// Bytes before `start` that belong to it and are never accessible.
    before: usize,
    accessible: usize,
    /// How many bytes were accessible at first.
    begun: usize,
    /// What its first pages began with.
    image: Option<Arc<InitialMemory>>,
    /// Where it goes when it is dropped.
    home: Option<Arc<Reservations>>,
}

// SAFETY: [mapping] it owns its range, which no thread-bound object refers to.
unsafe impl Send for Mapping {}
// SAFETY: [guest memory aliasing] shared access only reads.
unsafe impl Sync for Mapping {}

/// The first content of a memory, which instances share until they write to it.
#[derive(Debug)]
pub struct InitialMemory {
    file: File,
    /// Of the first page with content, in bytes.
    start: usize,
    size: usize,
}

impl InitialMemory {
    /// A memory that begins with zeros, then holds `content` from byte `start` on, then zeros again.
    /// Fails where the system cannot share memory in this way.
    pub fn new(start: usize, content: &[u8]) -> std::io::Result<InitialMemory> {
        let page = sys::page_size();
        let before = start % page;
        let size = before.checked_add(content.len()).and_then(|n| n.checked_next_multiple_of(page));
        let size = size.filter(|size| *size > 0).ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut pages = vec![0; size];
        pages[before..][..content.len()].copy_from_slice(content);
        Ok(InitialMemory { file: sys::sealed_file(&pages)?, start: start - before, size })
    }

    /// Bytes up to the end of its last page.
    pub(crate) fn end(&self) -> usize {
        self.start + self.size
    }
}

/// What takes the place of what a range held.
pub(crate) enum With<'a> {
    /// Nothing: it is inaccessible, as when it was reserved.
    Nothing,
    /// Zeros, readable and writable.
    Zeros,
    /// A file's content, readable and writable; what is written stays out of the file.
    File(&'a File),
}

/// Reservations of an engine that wait for their next memory.
#[derive(Debug, Default)]
pub struct Reservations {
    free: Mutex<Vec<Mapping>>,
}

/// Most reservations that wait.
const KEPT: usize = 64;
/// Bytes from which a range is worth keeping.
const WORTH_KEEPING: usize = 1 << 32;
/// Accessible bytes up to which a range is cleared by writing, and stays in memory. Beyond, its pages go
/// back to the system.
const WRITTEN: usize = 64 << 10;
/// Accessible bytes of which debug builds see that they were cleared.
const LOOKED_AT: usize = 16 << 20;

impl Reservations {
    /// A range of `size` bytes, `before` bytes before it, and `image` if possible.
    fn take(
        &self,
        before: usize,
        size: usize,
        image: Option<&Arc<InitialMemory>>,
    ) -> Option<Mapping> {
        // After `fork` the lock might be held for ever.
        let mut free = self.free.try_lock().ok()?;
        let fits = |mapping: &Mapping| (mapping.before, mapping.size) == (before, size);
        let same = |mapping: &Mapping| match (&mapping.image, image) {
            (None, None) => true,
            (Some(has), Some(wanted)) => Arc::ptr_eq(has, wanted),
            _ => false,
        };
        let found = free.iter().rposition(|mapping| fits(mapping) && same(mapping));
        let found = found.or_else(|| free.iter().rposition(fits))?;
        let mapping = free.swap_remove(found);
        drop(free);
        if cfg!(debug_assertions) {
            mapping.look();
        }
        Some(mapping)
    }

    fn give(&self, mut mapping: Mapping) {
        if mapping.clear().is_ok()
            && let Ok(mut free) = self.free.try_lock()
            && free.len() < KEPT
        {
            free.push(mapping);
        }
    }
}

impl Mapping {
    /// Reserves `size` bytes, none of them accessible, and `before` bytes before them. Zero bytes reserve one
    /// page.
    pub(crate) fn reserve(before: usize, size: usize) -> std::io::Result<Mapping> {
        let pages = |bytes: usize| bytes.checked_next_multiple_of(sys::page_size());
        let all = pages(size.max(1)).zip(pages(before));
        let all = all.and_then(|(size, before)| Some((size, before, size.checked_add(before)?)));
        let (size, before, sum) = all.ok_or(std::io::ErrorKind::OutOfMemory)?;
        let first = sys::reserve(sum)?;
        // SAFETY: [mapping] it lies inside of what was reserved.
        let start = unsafe { first.add(before) };
        Ok(Mapping { start, size, before, accessible: 0, begun: 0, image: None, home: None })
    }

    /// A range of `size` bytes, of which `length` are accessible and begin with `image`, which ends
    /// before. `before` bytes before it are never accessible. Those that are kept come from `home` and go back
    /// there.
    pub(crate) fn with_content(
        before: usize,
        size: usize,
        length: usize,
        image: Option<&Arc<InitialMemory>>,
        home: &Arc<Reservations>,
    ) -> std::io::Result<Mapping> {
        let kept = size >= WORTH_KEEPING;
        let found = if kept { home.take(before, size, image) } else { None };
        let mut mapping = match found {
            Some(mapping) => mapping,
            None => Mapping::reserve(before, size)?,
        };
        mapping.begin_with(image, length)?;
        mapping.make_accessible(length)?;
        mapping.forget_past(length)?;
        mapping.begun = mapping.accessible;
        mapping.home = kept.then(|| home.clone());
        Ok(mapping)
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The addresses that may not be touched.
    pub(crate) fn inaccessible(&self) -> Range<usize> {
        let start = self.start.as_ptr() as usize;
        start + self.accessible..start + self.size
    }

    /// Makes at least the first `bytes` accessible; new bytes are zero. Fails past the reservation and
    /// when the system refuses, leaving all as it was.
    pub(crate) fn make_accessible(&mut self, bytes: usize) -> std::io::Result<()> {
        let bytes = bytes.checked_next_multiple_of(sys::page_size()).filter(|b| *b <= self.size);
        let bytes = bytes.ok_or(std::io::ErrorKind::OutOfMemory)?;
        if bytes > self.accessible {
            let more = bytes - self.accessible;
            // SAFETY: [mapping] the range lies inside this mapping and holds nothing yet.
            unsafe { sys::make_accessible(self.start.as_ptr().add(self.accessible), more)? };
            self.accessible = bytes;
        }
        Ok(())
    }

    /// Makes all but the first `bytes` inaccessible. They hold zeros only.
    fn forget_past(&mut self, bytes: usize) -> std::io::Result<()> {
        let bytes = bytes.next_multiple_of(sys::page_size());
        if bytes < self.accessible {
            let less = self.accessible - bytes;
            // SAFETY: [mapping] the range lies inside this mapping.
            unsafe { sys::make_inaccessible(self.start.as_ptr().add(bytes), less)? };
            self.accessible = bytes;
        }
        Ok(())
    }

    /// Puts an image into a range that holds none but the one it was kept with, and that will have `length`
    /// accessible bytes. If the system refuses, the range is not to be used.
    fn begin_with(
        &mut self,
        image: Option<&Arc<InitialMemory>>,
        length: usize,
    ) -> std::io::Result<()> {
        let present = self.image.as_ref().map(Arc::as_ptr);
        if present == image.map(Arc::as_ptr) {
            return Ok(());
        }
        if let Some(old) = self.image.take() {
            // SAFETY: [mapping] the image lies inside; nothing refers into a range that is being made.
            unsafe { sys::replace(self.start.as_ptr().add(old.start), old.size, With::Zeros)? };
        }
        if let Some(new) = image {
            assert!(new.end() <= self.size, "an image lies in its memory");
            self.make_accessible(length.max(new.end()))?;
            // SAFETY: [mapping] as above.
            unsafe {
                sys::replace(self.start.as_ptr().add(new.start), new.size, With::File(&new.file))?
            };
            self.image = Some(new.clone());
        }
        Ok(())
    }

    /// Makes it read as when it was new.
    fn clear(&mut self) -> std::io::Result<()> {
        if self.accessible <= WRITTEN && self.image.is_none() {
            let all = self.accessible;
            self.bytes_mut(all).fill(0);
            return Ok(());
        }
        if self.accessible > self.begun && self.image.is_none() {
            // What grew has to be made inaccessible for the next memory in any case. All of it anew takes as many
            // calls, and leaves nothing of the pages that the next one's growth would have to carry along.
            // SAFETY: [mapping] all that was ever accessible lies inside, and nothing refers into it any more.
            unsafe { sys::replace(self.start.as_ptr(), self.accessible, With::Nothing)? };
            self.accessible = 0;
            return Ok(());
        }
        // SAFETY: [mapping] all that was ever accessible lies inside.
        unsafe { sys::discard(self.start.as_ptr(), self.accessible) }
    }

    /// Panics if it does not read as when it was new.
    fn look(&self) {
        let bytes = self.bytes(self.accessible.min(LOOKED_AT));
        let image = self.image.as_ref().map_or(0..0, |image| image.start..image.end());
        let zero = |range: Range<usize>| {
            let end = range.end.min(bytes.len());
            bytes[range.start.min(end)..end].iter().all(|byte| *byte == 0)
        };
        let clean = zero(0..image.start) && zero(image.end..bytes.len());
        assert!(clean, "a kept reservation holds what a memory before it wrote");
    }

    /// The first `length` bytes. Panics if they are not all accessible.
    #[inline]
    pub(crate) fn bytes(&self, length: usize) -> &[u8] {
        assert!(length <= self.accessible, "bytes of a memory are accessible");
        // SAFETY: [guest memory aliasing] accessible bytes are initialized (by the system, or zeroed);
        // nothing writes them while the slice borrows the mapping and so its store.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
    }

    /// The first `length` bytes. Panics if they are not all accessible.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, length: usize) -> &mut [u8] {
        assert!(length <= self.accessible, "bytes of a memory are accessible");
        // SAFETY: [guest memory aliasing] as in `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let kept = Mapping { image: self.image.take(), home: None, ..*self };
            // Its parts go on; what is dropped here is empty.
            self.size = 0;
            return home.give(kept);
        }
        if self.size > 0 {
            // SAFETY: [mapping] the range is ours from what lies before on, and unmapped once.
            unsafe { sys::unmap(self.start.sub(self.before), self.before + self.size) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_within_its_reservation_only() {
        let mut mapping = Mapping::reserve(0, 1 << 20).unwrap();
        mapping.make_accessible(4096).unwrap();
        mapping.bytes_mut(4096)[4095] = 7;
        mapping.make_accessible(65536).unwrap();
        assert_eq!(mapping.bytes(65536)[4095], 7);
        assert_eq!(mapping.bytes(65536)[4096], 0);
        assert!(mapping.make_accessible((1 << 20) + 1).is_err());
        assert!(Mapping::reserve(1, usize::MAX).is_err());
    }

    /// Every way from one memory to the next: larger, smaller, with an image, another, and without.
    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
    fn what_is_kept_reads_as_new() {
        let page = sys::page_size();
        let home = Arc::new(Reservations::default());
        let images = [(0, vec![1; 3 * page]), (page + 5, vec![2; 20]), (70_000, vec![3; 70_000])]
            .map(|(start, content)| Arc::new(InitialMemory::new(start, &content).unwrap()));
        let [whole, few, far] = &images;
        let lengths = [(65_536, None), (65_536, Some(few)), (1 << 20, Some(far)), (1 << 20, None)];
        let more = [(65_536, Some(whole)), (4 << 20, Some(far)), (65_536, Some(few)), (0, None)];
        let cases: Vec<_> = lengths.into_iter().chain(more).collect();
        let mut address = None;
        for turn in 0..3 {
            for (length, image) in cases.iter().cycle().skip(turn).step_by(turn + 1).take(20) {
                let mut mapping =
                    Mapping::with_content(page, WORTH_KEEPING, *length, *image, &home).unwrap();
                assert_eq!(*address.get_or_insert(mapping.start()), mapping.start(), "it was kept");
                assert_eq!(mapping.inaccessible().start - mapping.start() as usize, *length);
                let bytes = mapping.bytes_mut(*length);
                for (position, byte) in bytes.iter().enumerate() {
                    let expected = match image {
                        Some(i) if Arc::ptr_eq(i, whole) => u8::from(position < 3 * page),
                        Some(i) if Arc::ptr_eq(i, few) => {
                            2 * u8::from((page + 5..page + 25).contains(&position))
                        }
                        Some(_) => 3 * u8::from((70_000..140_000).contains(&position)),
                        None => 0,
                    };
                    assert_eq!(*byte, expected, "byte {position}");
                }
                bytes.fill(0xee);
                mapping.make_accessible(*length + (1 << 20)).unwrap();
                let grown = mapping.bytes_mut(*length + (1 << 20));
                assert!(grown[*length..].iter().all(|byte| *byte == 0));
                grown.fill(0xdd);
            }
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
    fn few_reservations_are_kept() {
        let home = Arc::new(Reservations::default());
        let many: Vec<Mapping> = (0..KEPT + 5)
            .map(|_| Mapping::with_content(0, WORTH_KEEPING, 0, None, &home).unwrap())
            .collect();
        drop(many);
        assert_eq!(home.free.lock().unwrap().len(), KEPT);
        drop(Mapping::with_content(0, WORTH_KEEPING - 1, 1, None, &home).unwrap());
        assert_eq!(home.free.lock().unwrap().len(), KEPT, "small ones are not");
    }
}

//! Ranges of address space: reserved whole, made accessible piecemeal, for linear memories.
//!
//! Invariant [mapping]: `accessible` bytes from the start may be read and written, the rest faults.

use crate::sys;
use std::ops::Range;
use std::ptr::NonNull;

/// A reserved range of address space whose first part is accessible.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    size: usize,
    accessible: usize,
}

// SAFETY: [mapping] it owns its range, which no thread-bound object refers to.
unsafe impl Send for Mapping {}
// SAFETY: [guest memory aliasing] shared access only reads.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `size` bytes, none of them accessible. Zero bytes reserve one page.
    pub(crate) fn reserve(size: usize) -> std::io::Result<Mapping> {
        let size = size.max(1).checked_next_multiple_of(sys::page_size());
        let size = size.ok_or(std::io::ErrorKind::OutOfMemory)?;
        let start = sys::reserve(size)?;
        Ok(Mapping { start, size, accessible: 0 })
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

    /// The first `length` bytes. Panics if they are not all accessible.
    pub(crate) fn bytes(&self, length: usize) -> &[u8] {
        assert!(length <= self.accessible, "bytes of a memory are accessible");
        // SAFETY: [guest memory aliasing] accessible bytes are initialized (zeroed by the system);
        // nothing writes them while the slice borrows the mapping and so its store.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
    }

    /// The first `length` bytes. Panics if they are not all accessible.
    pub(crate) fn bytes_mut(&mut self, length: usize) -> &mut [u8] {
        assert!(length <= self.accessible, "bytes of a memory are accessible");
        // SAFETY: [guest memory aliasing] as in `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: [mapping] the range is ours, and unmapped once.
        unsafe { sys::unmap(self.start, self.size) }
    }
}

#[cfg(test)]
mod tests {
    use super::Mapping;

    #[test]
    fn grows_within_its_reservation_only() {
        let mut mapping = Mapping::reserve(1 << 20).unwrap();
        mapping.make_accessible(4096).unwrap();
        mapping.bytes_mut(4096)[4095] = 7;
        mapping.make_accessible(65536).unwrap();
        assert_eq!(mapping.bytes(65536)[4095], 7);
        assert_eq!(mapping.bytes(65536)[4096], 0);
        assert!(mapping.make_accessible((1 << 20) + 1).is_err());
        assert!(Mapping::reserve(usize::MAX).is_err());
    }
}

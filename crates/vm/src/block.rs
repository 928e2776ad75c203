//! Zeroed memory that host and generated code share: VM contexts, tables, globals, host records.
//!
//! Everything is read and written by offset, checked here, so that the rest of the kernel can fill
//! such memory without `unsafe`. See invariant [block].

use crate::refusals;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Types whose every bit pattern is a value, so that they may be read from shared memory.
///
/// # Safety
///
/// - Any bytes are a valid value, and the type has no padding and no interior references.
// SAFETY: [block] implementors promise what `Block::read` relies on.
pub unsafe trait Plain: Copy {}

// SAFETY: [block] integers take any bytes.
unsafe impl Plain for u8 {}
// SAFETY: [block] integers take any bytes.
unsafe impl Plain for u32 {}
// SAFETY: [block] integers take any bytes.
unsafe impl Plain for u64 {}
// SAFETY: [block] integers take any bytes.
unsafe impl Plain for u128 {}
// SAFETY: [block] a raw pointer may hold any address; reading through it is another matter.
unsafe impl<T> Plain for *mut T {}
// SAFETY: [block] a raw pointer may hold any address; reading through it is another matter.
unsafe impl<T> Plain for *const T {}
// SAFETY: [block] as its elements, between which there is no padding.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Owned, zeroed, 16-aligned memory of fixed size.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: [block] it owns its memory, which no thread-bound object refers to.
unsafe impl Send for Block {}
// SAFETY: [block] `&Block` reads plain values; writing takes `&mut Block`, and generated code, which also
// writes, runs only while the store that owns the block is borrowed mutably.
unsafe impl Sync for Block {}

const ALIGN: usize = 16;

impl Block {
    /// Zeroed memory of `size` bytes; `None` if there is none to be had.
    pub fn new(size: usize) -> Option<Block> {
        refusals::allow().ok()?;
        let layout = Layout::from_size_align(size.max(ALIGN), ALIGN).ok()?;
        // SAFETY: [block] the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Block { start, size: layout.size() })
    }

    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Address of the byte at `offset`. Panics past the end.
    #[inline]
    pub fn address(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.size, "address inside the block");
        self.start.as_ptr().wrapping_add(offset)
    }

    #[inline]
    fn place<T: Plain>(&self, offset: usize) -> *mut T {
        let end = offset.checked_add(size_of::<T>());
        let inside = end.is_some_and(|end| end <= self.size);
        assert!(inside, "access inside the block");
        assert!(offset.is_multiple_of(align_of::<T>()), "access aligned");
        self.start.as_ptr().wrapping_add(offset).cast()
    }

    /// The value at `offset`. Panics if it does not lie inside, aligned.
    #[inline]
    pub fn read<T: Plain>(&self, offset: usize) -> T {
        // SAFETY: [block] `place` checked range and alignment; the bytes are initialized and any bytes
        // are a `T`.
        unsafe { self.place::<T>(offset).read() }
    }

    /// Writes the value at `offset`. Panics if it does not lie inside, aligned.
    #[inline]
    pub fn write<T: Plain>(&mut self, offset: usize, value: T) {
        // SAFETY: [block] `place` checked range and alignment; no reference into the block exists.
        unsafe { self.place::<T>(offset).write(value) }
    }

    /// Copies `count` bytes inside the block; ranges may overlap. Panics past the end.
    pub fn copy_within(&mut self, source: usize, target: usize, count: usize) {
        let inside = |start: usize| start.checked_add(count).is_some_and(|end| end <= self.size);
        assert!(inside(source) && inside(target), "copy inside the block");
        // SAFETY: [block] both ranges lie inside; `copy` admits overlap.
        unsafe {
            let start = self.start.as_ptr();
            start.add(source).copy_to(start.add(target), count);
        }
    }

    /// Copies `count` bytes from the start of another block. Panics past either end.
    pub fn copy_from(&mut self, source: &Block, source_offset: usize, target: usize, count: usize) {
        let inside =
            |start: usize, size: usize| start.checked_add(count).is_some_and(|e| e <= size);
        assert!(
            inside(source_offset, source.size) && inside(target, self.size),
            "copy inside blocks"
        );
        // SAFETY: [block] both ranges lie inside their blocks, which are distinct allocations since
        // one is borrowed mutably.
        unsafe {
            let from = source.start.as_ptr().add(source_offset);
            from.copy_to_nonoverlapping(self.start.as_ptr().add(target), count);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let layout =
            Layout::from_size_align(self.size, ALIGN).expect("the layout it was made with");
        // SAFETY: [block] allocated in `new` with this layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::Block;

    #[test]
    fn reads_what_was_written_and_zero_elsewhere() {
        let mut block = Block::new(40).unwrap();
        block.write::<u64>(8, 0x0102_0304_0506_0708);
        assert_eq!(block.read::<u32>(8), 0x0506_0708);
        assert_eq!(block.read::<u64>(16), 0);
        block.copy_within(8, 12, 8);
        assert_eq!(block.read::<u32>(12), 0x0506_0708);
        let mut other = Block::new(16).unwrap();
        other.copy_from(&block, 8, 0, 16);
        assert_eq!(other.read::<u32>(4), 0x0506_0708);
    }

    #[test]
    #[should_panic(expected = "inside the block")]
    fn reading_past_the_end_panics() {
        Block::new(16).unwrap().read::<u64>(9);
    }

    #[test]
    #[should_panic(expected = "inside blocks")]
    fn copying_past_the_end_panics() {
        let source = Block::new(16).unwrap();
        Block::new(32).unwrap().copy_from(&source, 8, 0, 16);
    }
}

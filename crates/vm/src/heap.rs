//! The heap region of a store, and the references into it that lie elsewhere.
//!
//! What the bytes mean, the collector knows, which is safe code above. The kernel maps the region, hands
//! out its bytes while no guest code runs, and finds the references in frames, globals and tables.
//!
//! Invariant: the region is reserved with all that a 32-bit offset and a field's can reach, whatever
//! part of it can be used; it neither moves nor goes before its store.

use crate::block::Block;
use crate::context::Context;
use crate::store::{GlobalInst, TableInst};
use crate::{sys, unwind};
use std::ptr::NonNull;
use wardian_module::layout::{HEAP_GUARD, NULL_PAGE, Repr};

/// Bytes that a 32-bit offset reaches.
const WHOLE: usize = 1 << 32;
/// Fewest bytes that are worth having.
const LEAST: usize = 8 << 20;
const NULL: usize = NULL_PAGE as usize;

/// A mapping of address space for a heap.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    reserved: usize,
    /// Where the bytes that may be used end; they begin after the null page.
    end: usize,
}

// SAFETY: [mapping] it owns its range, which no thread-bound object refers to.
unsafe impl Send for Region {}
// SAFETY: [guest memory aliasing] shared access only reads.
unsafe impl Sync for Region {}

impl Region {
    /// A region of which `most` bytes may be used, or less where the system refuses so many.
    pub(crate) fn reserve(most: u64) -> std::io::Result<Region> {
        let most = usize::try_from(most).unwrap_or(WHOLE).clamp(LEAST, WHOLE);
        let most = most.next_multiple_of(sys::page_size());
        // Where no machine code runs, nothing forms addresses in it.
        let runs_code = sys::SUPPORTED.is_ok();
        let reserved = if runs_code { WHOLE + HEAP_GUARD as usize } else { LEAST };
        let start = sys::reserve(reserved)?;
        let mut region = Region { start, reserved, end: NULL };
        let mut end = most.min(reserved);
        loop {
            // SAFETY: [mapping] the range lies inside the mapping made above.
            match unsafe { sys::make_accessible(start.as_ptr().add(NULL), end - NULL) } {
                Ok(()) => break,
                Err(_) if end / 2 >= LEAST => end = (end / 2).next_multiple_of(sys::page_size()),
                Err(error) => return Err(error),
            }
        }
        region.end = end;
        Ok(region)
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Its bytes from the end of the null page on.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: [guest memory aliasing] the bytes are accessible, and initialized by the system; nothing
        // writes them while the slice borrows the region and so its store.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(NULL), self.end - NULL) }
    }

    /// Its bytes from the end of the null page on.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: [guest memory aliasing] as in `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(NULL), self.end - NULL) }
    }

    /// Gives the pages of a range to the system. Nothing is lost if that refuses. Panics unless the range
    /// lies inside and begins and ends with a page.
    pub(crate) fn release(&mut self, offset: u32, bytes: u32) {
        let (start, bytes) = (offset as usize, bytes as usize);
        let page = sys::page_size();
        let inside = start >= NULL && start + bytes <= self.end;
        assert!(inside && start.is_multiple_of(page) && bytes.is_multiple_of(page), "whole pages");
        // SAFETY: [mapping] the range lies inside, and `&mut` says that nothing refers into it.
        let _ = unsafe { sys::discard(self.start.as_ptr().add(start), bytes) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: [mapping] the range is ours, and unmapped once.
        unsafe { sys::unmap(self.start, self.reserved) }
    }
}

/// The references into a store's heap that lie outside of it: in frames of guest code, globals and
/// tables.
#[derive(Debug)]
pub struct Roots<'a> {
    pub(crate) context: &'a Context,
    pub(crate) blocks: &'a mut [Block],
    pub(crate) globals: &'a [GlobalInst],
    pub(crate) tables: &'a mut [TableInst],
}

impl Roots<'_> {
    /// Hands each to `visit`, and puts what that returns in its place. Some may come more than once.
    pub fn each(&mut self, visit: &mut dyn FnMut(u32) -> u32) {
        unwind::each_reference(self.context, visit);
        for global in self.globals {
            if Repr::of(global.ty.content) == Repr::Ref {
                let block = &mut self.blocks[global.place.block];
                change(block, global.place.offset, visit);
            }
        }
        for table in &mut *self.tables {
            if Repr::of_ref(table.ty.element.heap) == Repr::Ref {
                for index in 0..table.length as usize {
                    change(&mut table.elements, 4 * index, visit);
                }
            }
        }
    }
}

fn change(block: &mut Block, offset: usize, visit: &mut dyn FnMut(u32) -> u32) {
    let old = block.read::<u32>(offset);
    if old != 0 {
        let new = visit(old);
        if new != old {
            block.write(offset, new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusals::refuse;

    #[test]
    fn a_region_holds_what_is_written_until_it_is_released() {
        let mut region = Region::reserve(u64::MAX).unwrap();
        let bytes = region.bytes_mut();
        let last = bytes.len() - 1;
        assert!((bytes[0], bytes[last]) == (0, 0) && last >= LEAST - NULL - 1);
        (bytes[100], bytes[last]) = (1, 2);
        region.release(2 * NULL_PAGE, NULL_PAGE);
        assert_eq!((region.bytes()[100], region.bytes()[last]), (1, 2));
        region.release(NULL_PAGE, NULL_PAGE);
        assert_eq!(region.bytes()[100], 0);
    }

    #[test]
    #[should_panic(expected = "whole pages")]
    fn only_whole_pages_are_released() {
        Region::reserve(LEAST as u64).unwrap().release(NULL_PAGE, 100);
    }

    /// The n-th request of the system fails, for every n.
    #[test]
    #[cfg_attr(miri, ignore = "what is refused to be unmapped leaks")]
    fn what_the_system_refuses_makes_it_smaller_or_an_error() {
        assert!(refuse(0, 1, || Region::reserve(u64::MAX)).0.is_err());
        let whole = Region::reserve(u64::MAX).unwrap().bytes().len();
        let (smaller, refused) = refuse(1, 2, || Region::reserve(u64::MAX));
        match smaller {
            Ok(region) => assert!(refused == 2 && region.bytes().len() < whole / 2),
            Err(_) => assert!(whole < 2 * LEAST),
        }
        let (none, refused) = refuse(1, 100, || Region::reserve(u64::MAX));
        assert!(none.is_err() && refused < 20);
    }
}

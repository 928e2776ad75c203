//! Platforms on which machine code cannot run yet: everything that would is an error, so that the
//! crates above build and `Engine::new` can say so.
//!
//! Mappings work (they are ordinary allocations) and code can be published, so that all that enters no
//! code can be tested, under Miri too.

use crate::mapping::With;
use crate::refusals;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::File;
use std::io;
use std::ptr::NonNull;

pub(crate) const SUPPORTED: Result<(), &str> =
    Err("machine code runs on x86-64 Linux only in this version");

pub(crate) fn page_size() -> usize {
    4096
}

pub(crate) fn process() -> u32 {
    std::process::id()
}

fn layout(size: usize) -> io::Result<Layout> {
    Layout::from_size_align(size, page_size()).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

pub(crate) fn map_executable(_file: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Here a reservation costs memory.
const LARGEST: usize = 16 << 20;

pub(crate) fn reserve(size: usize) -> io::Result<NonNull<u8>> {
    refusals::allow()?;
    if size > LARGEST {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    // SAFETY: [mapping] the size is not zero: `Mapping` rounds it up to a page.
    NonNull::new(unsafe { alloc_zeroed(layout(size)?) })
        .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// # Safety
///
/// - The range lies in a mapping that the caller owns.
pub(crate) unsafe fn make_accessible(_start: *mut u8, _size: usize) -> io::Result<()> {
    refusals::allow()
}

/// # Safety
///
/// - The range lies in a mapping that the caller owns.
pub(crate) unsafe fn make_executable(_start: *mut u8, _size: usize) -> io::Result<()> {
    refusals::allow()
}

/// # Safety
///
/// - The range is a whole mapping that the caller owns and never uses again.
pub(crate) unsafe fn unmap(start: NonNull<u8>, size: usize) {
    if refusals::allow_unmap().is_err() {
        return;
    }
    let layout = layout(size).expect("the layout it was made with");
    // SAFETY: [mapping] allocated in `reserve` with this layout, freed once.
    unsafe { dealloc(start.as_ptr(), layout) }
}

/// # Safety
///
/// - The range lies in a mapping that the caller owns.
pub(crate) unsafe fn make_inaccessible(_start: *mut u8, _size: usize) -> io::Result<()> {
    refusals::allow()
}

/// # Safety
///
/// - The range lies in a mapping that the caller owns.
pub(crate) unsafe fn discard(start: *mut u8, size: usize) -> io::Result<()> {
    refusals::allow()?;
    // SAFETY: [mapping] the caller owns the range; nothing is mapped over it here.
    unsafe { start.write_bytes(0, size) };
    Ok(())
}

pub(crate) fn prefer_large_pages(_bytes: &mut [u8]) {}

pub(crate) fn return_freed_memory() {}

pub(crate) fn sealed_file(_content: &[u8]) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// # Safety
///
/// - Never called: there is no file.
pub(crate) unsafe fn replace(_start: *mut u8, _size: usize, _with: With<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) struct DualMapping {
    pub(crate) executable: NonNull<u8>,
    pub(crate) writable: NonNull<u8>,
}

pub(crate) fn dual_mapping(_size: usize) -> io::Result<DualMapping> {
    Err(io::ErrorKind::Unsupported.into())
}

impl DualMapping {
    /// # Safety
    ///
    /// - Never called: nothing is mapped twice.
    pub(crate) unsafe fn make_private(&self, _offset: usize, _size: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// # Safety
    ///
    /// - Never called: nothing is mapped twice.
    pub(crate) unsafe fn make_shared(&self, _offset: usize, _size: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn discard(&self, _offset: usize, _size: usize) {}
}

pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    None
}

pub(crate) struct Fault {
    pub(crate) pc: usize,
    pub(crate) fp: usize,
    pub(crate) spent: u64,
    pub(crate) address: Option<usize>,
}

#[expect(dead_code, reason = "no signal handler exists here to read them")]
pub(crate) struct Resume {
    pub(crate) pc: usize,
    pub(crate) context: usize,
}

pub(crate) fn install(_handler: fn(&Fault) -> Option<Resume>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

//! The bytes of a heap's region, by offset from its base.
//!
//! Every access is checked: what an object holds is never trusted, and an offset that leads nowhere
//! panics, which the kernel's border turns into an error of the call.

pub use wardian_module::layout::NULL_PAGE;

/// A heap's bytes.
#[derive(Debug)]
pub struct Memory<'a> {
    /// The first one lies at offset [`NULL_PAGE`].
    bytes: &'a mut [u8],
}

impl<'a> Memory<'a> {
    /// The region whose bytes from [`NULL_PAGE`] on are `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Memory<'a> {
        Memory { bytes }
    }

    /// The bytes from [`NULL_PAGE`] on.
    pub fn all(&self) -> &[u8] {
        self.bytes
    }

    /// Offset of the first byte behind the last.
    pub fn end(&self) -> u64 {
        self.bytes.len() as u64 + u64::from(NULL_PAGE)
    }

    #[inline(always)]
    fn at<const N: usize>(&self, offset: u32) -> [u8; N] {
        let start = place(offset);
        match self.bytes.get(start..start + N).and_then(|bytes| bytes.first_chunk()) {
            Some(bytes) => *bytes,
            None => outside(offset),
        }
    }

    #[inline(always)]
    fn at_mut<const N: usize>(&mut self, offset: u32) -> &mut [u8; N] {
        let start = place(offset);
        match self.bytes.get_mut(start..start + N).and_then(|bytes| bytes.first_chunk_mut()) {
            Some(bytes) => bytes,
            None => outside(offset),
        }
    }

    /// 32 bits.
    #[inline(always)]
    pub fn read32(&self, offset: u32) -> u32 {
        u32::from_le_bytes(self.at(offset))
    }

    /// 64 bits.
    #[inline(always)]
    pub fn read64(&self, offset: u32) -> u64 {
        u64::from_le_bytes(self.at(offset))
    }

    /// 32 bits.
    #[inline(always)]
    pub fn write32(&mut self, offset: u32, value: u32) {
        *self.at_mut(offset) = value.to_le_bytes();
    }

    /// 64 bits.
    #[inline(always)]
    pub fn write64(&mut self, offset: u32, value: u64) {
        *self.at_mut(offset) = value.to_le_bytes();
    }

    /// `count` bytes.
    pub fn bytes(&self, offset: u32, count: usize) -> &[u8] {
        let start = (offset as usize).wrapping_sub(NULL_PAGE as usize);
        match self.bytes.get(start..).and_then(|bytes| bytes.get(..count)) {
            Some(bytes) => bytes,
            None => outside(offset),
        }
    }

    /// `count` bytes.
    pub fn bytes_mut(&mut self, offset: u32, count: usize) -> &mut [u8] {
        let start = (offset as usize).wrapping_sub(NULL_PAGE as usize);
        match self.bytes.get_mut(start..).and_then(|bytes| bytes.get_mut(..count)) {
            Some(bytes) => bytes,
            None => outside(offset),
        }
    }

    /// Copies `count` bytes; the ranges may overlap.
    pub fn copy(&mut self, from: u32, to: u32, count: usize) {
        let place = |offset: u32| (offset as usize).wrapping_sub(NULL_PAGE as usize);
        let (from_start, to_start) = (place(from), place(to));
        let fits =
            |start: usize| start.checked_add(count).is_some_and(|end| end <= self.bytes.len());
        if !fits(from_start) || !fits(to_start) {
            outside(if fits(from_start) { to } else { from })
        }
        self.bytes.copy_within(from_start..from_start + count, to_start);
    }

    /// Copies what lies in an object of `size` bytes, a multiple of 8, behind its first 8 bytes elsewhere,
    /// with up to [`MOST_BEHIND`] bytes of what follows.
    #[inline(always)]
    pub(crate) fn move_object(&mut self, from: u32, to: u32, size: u32) {
        let (from, to) = (from.wrapping_add(8), to.wrapping_add(8));
        if size <= 24 {
            // Most objects are small: a call costs more than their copy.
            *self.at_mut::<16>(to) = self.at(from);
        } else if size <= 128 {
            for offset in (0..size - 8).step_by(16) {
                *self.at_mut::<16>(to.wrapping_add(offset)) = self.at(from.wrapping_add(offset));
            }
        } else {
            self.copy(from, to, size as usize - 8);
        }
    }
}

/// See [`Memory::move_object`].
pub(crate) const MOST_BEHIND: u32 = 16;

/// Where the byte of an offset lies; far outside for one in the null page.
#[inline(always)]
fn place(offset: u32) -> usize {
    offset.wrapping_sub(NULL_PAGE) as usize
}

/// 32 bits of a region's bytes, if they lie in it.
pub(crate) fn word(bytes: &[u8], offset: u32) -> Option<u32> {
    let start = (offset as usize).checked_sub(NULL_PAGE as usize)?;
    bytes.get(start..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[cold]
#[inline(never)]
fn outside(offset: u32) -> ! {
    panic!("offset {offset:#x} does not lie in the heap: it is corrupted")
}

//! How host code sees the memory of a guest: by copying in and out, never by reference.
//!
//! [`GuestMemory`] is the only view that WASI and other hosts get. A slice of guest memory is never
//! handed out, so the same host code serves memories that other threads write at the same time, and
//! no host function can hold a view across something that grows or moves the memory.
//!
//! Invariant: every access is checked against the size of the memory at that moment, with arithmetic
//! that cannot wrap. An access that is refused has no effect: nothing was read, nothing written.

use std::fmt;

/// An access that does not lie inside the memory.
///
/// ```
/// use wardian::{GuestMemory, OutOfBounds};
///
/// let error = vec![0; 4].read_u32(1).unwrap_err();
/// assert_eq!(error, OutOfBounds { addr: 1, len: 4, size: 4 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// First byte of the access.
    pub addr: u64,
    /// Length of the access in bytes.
    pub len: u64,
    /// Size of the memory in bytes, when the access was checked.
    pub size: u64,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutOfBounds { addr, len, size } = self;
        write!(f, "guest address {addr:#x}, {len} bytes: memory has {size:#x} bytes")
    }
}

impl std::error::Error for OutOfBounds {}

/// Why a string or list could not be copied out of guest memory.
///
/// ```
/// use wardian::{GuestMemory, GuestReadError};
///
/// let error = vec![0; 4].read_vec(0, 4, 3).unwrap_err();
/// assert_eq!(error, GuestReadError::TooLong { len: 4, max: 3 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestReadError {
    /// It does not lie inside the memory.
    OutOfBounds(OutOfBounds),
    /// It is longer than the caller was prepared to copy.
    TooLong {
        /// Length in bytes that the guest gave.
        len: u64,
        /// Longest length in bytes that the caller accepts.
        max: u64,
    },
    /// It should be text and is not UTF-8.
    NotUtf8,
}

impl From<OutOfBounds> for GuestReadError {
    fn from(error: OutOfBounds) -> Self {
        GuestReadError::OutOfBounds(error)
    }
}

impl fmt::Display for GuestReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestReadError::OutOfBounds(error) => error.fmt(f),
            GuestReadError::TooLong { len, max } => {
                write!(f, "guest data of {len} bytes: at most {max} bytes are accepted")
            }
            GuestReadError::NotUtf8 => f.write_str("guest string is not UTF-8"),
        }
    }
}

impl std::error::Error for GuestReadError {}

/// Bytes that [`GuestMemory::fill`] writes at a time.
const FILL_CHUNK: usize = 4096;

/// Linear memory as host code sees it.
///
/// ```
/// use wardian::GuestMemory;
///
/// fn sum(memory: &impl GuestMemory, from: u64, count: u64) -> Result<u64, wardian::OutOfBounds> {
///     (0..count).map(|n| memory.read_u8(from + n).map(u64::from)).sum()
/// }
/// assert_eq!(sum(&vec![1, 2, 3], 1, 2), Ok(5));
/// assert!(sum(&vec![1, 2, 3], 1, 3).is_err());
/// ```
///
/// Implementors give [`size`](Self::size), [`read`](Self::read) and [`write`](Self::write); the rest
/// follows. Numbers are little-endian, as in WebAssembly, and need no alignment.
pub trait GuestMemory {
    /// Size in bytes. It may have grown by the next call; it never shrinks.
    fn size(&self) -> u64;

    /// Copies `bytes.len()` bytes that start at `addr` out of the memory.
    fn read(&self, addr: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds>;

    /// Copies `bytes` into the memory at `addr`.
    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), OutOfBounds>;

    /// Checks that `len` bytes from `addr` lie inside. Since memories never shrink, a host that checks
    /// all of a guest's pointers first can then work without stopping halfway.
    fn check(&self, addr: u64, len: u64) -> Result<(), OutOfBounds> {
        let size = self.size();
        match addr.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(OutOfBounds { addr, len, size }),
        }
    }

    /// Reads one byte.
    fn read_u8(&self, addr: u64) -> Result<u8, OutOfBounds> {
        let mut bytes = [0; 1];
        self.read(addr, &mut bytes)?;
        Ok(bytes[0])
    }

    /// Reads a 16-bit number.
    fn read_u16(&self, addr: u64) -> Result<u16, OutOfBounds> {
        let mut bytes = [0; 2];
        self.read(addr, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Reads a 32-bit number.
    fn read_u32(&self, addr: u64) -> Result<u32, OutOfBounds> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a 64-bit number.
    fn read_u64(&self, addr: u64) -> Result<u64, OutOfBounds> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes one byte.
    fn write_u8(&mut self, addr: u64, value: u8) -> Result<(), OutOfBounds> {
        self.write(addr, &[value])
    }

    /// Writes a 16-bit number.
    fn write_u16(&mut self, addr: u64, value: u16) -> Result<(), OutOfBounds> {
        self.write(addr, &value.to_le_bytes())
    }

    /// Writes a 32-bit number.
    fn write_u32(&mut self, addr: u64, value: u32) -> Result<(), OutOfBounds> {
        self.write(addr, &value.to_le_bytes())
    }

    /// Writes a 64-bit number.
    fn write_u64(&mut self, addr: u64, value: u64) -> Result<(), OutOfBounds> {
        self.write(addr, &value.to_le_bytes())
    }

    /// Copies `len` bytes out, or fails without allocating when they are more than `max` or out of
    /// bounds: what a guest can make the host allocate always has a bound that the host chose.
    fn read_vec(&self, addr: u64, len: u64, max: u64) -> Result<Vec<u8>, GuestReadError> {
        self.check(addr, len)?;
        let count = match usize::try_from(len) {
            Ok(count) if len <= max => count,
            _ => return Err(GuestReadError::TooLong { len, max }),
        };
        let mut bytes = vec![0; count];
        self.read(addr, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies a UTF-8 string of `len` bytes out, at most `max`.
    fn read_string(&self, addr: u64, len: u64, max: u64) -> Result<String, GuestReadError> {
        String::from_utf8(self.read_vec(addr, len, max)?).map_err(|_| GuestReadError::NotUtf8)
    }

    /// Writes `byte` to `len` bytes from `addr`.
    fn fill(&mut self, addr: u64, len: u64, byte: u8) -> Result<(), OutOfBounds> {
        self.check(addr, len)?;
        let chunk = [byte; FILL_CHUNK];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(FILL_CHUNK as u64);
            self.write(addr + done, &chunk[..step as usize])?;
            done += step;
        }
        Ok(())
    }
}

/// The range of a slice of `size` bytes that an access means, if it lies inside.
fn slice_range(addr: u64, len: usize, size: usize) -> Result<std::ops::Range<usize>, OutOfBounds> {
    usize::try_from(addr)
        .ok()
        .and_then(|start| Some(start..start.checked_add(len)?))
        .filter(|range| range.end <= size)
        .ok_or(OutOfBounds { addr, len: len as u64, size: size as u64 })
}

/// Plain bytes as guest memory, for tests of host functions.
impl GuestMemory for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        bytes.copy_from_slice(&self[slice_range(addr, bytes.len(), self.len())?]);
        Ok(())
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let range = slice_range(addr, bytes.len(), self.len())?;
        self[range].copy_from_slice(bytes);
        Ok(())
    }
}

/// Plain bytes as guest memory, for tests of host functions.
impl GuestMemory for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        self.as_slice().read(addr, bytes)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        self.as_mut_slice().write(addr, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_and_unaligned() {
        let mut memory = vec![0u8; 16];
        memory.write_u64(3, 0x0102_0304_0506_0708).unwrap();
        assert_eq!(memory[3], 8);
        assert_eq!(memory.read_u64(3).unwrap(), 0x0102_0304_0506_0708);
        assert_eq!(memory.read_u32(3).unwrap(), 0x0506_0708);
        assert_eq!(memory.read_u16(3).unwrap(), 0x0708);
        assert_eq!(memory.read_u8(10).unwrap(), 1);
    }

    #[test]
    fn accesses_at_the_edges() {
        let mut memory = vec![0xaau8; 8];
        assert!(memory.write(8, &[]).is_ok());
        assert!(memory.write(9, &[]).is_err());
        assert!(memory.write_u32(4, 1).is_ok());
        assert!(memory.write_u32(5, 1).is_err());
        assert!(memory.read_u8(u64::MAX).is_err());
        assert!(memory.check(u64::MAX, 2).is_err());
        assert!(memory.fill(4, u64::MAX, 0).is_err());
        let error = memory.read_u64(1).unwrap_err();
        assert_eq!(error, OutOfBounds { addr: 1, len: 8, size: 8 });
        assert_eq!(error.to_string(), "guest address 0x1, 8 bytes: memory has 0x8 bytes");
    }

    #[test]
    fn a_refused_write_leaves_no_trace() {
        let mut memory = vec![7u8; 8];
        assert!(memory.write(4, &[0; 5]).is_err());
        assert_eq!(memory, [7; 8]);
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_allocated() {
        let memory = vec![b'x'; 64];
        assert_eq!(memory.read_vec(0, 65, 8).unwrap_err(), memory.check(0, 65).unwrap_err().into());
        let error = memory.read_vec(0, 64, 8).unwrap_err();
        assert_eq!(error, GuestReadError::TooLong { len: 64, max: 8 });
        assert!(memory.read_vec(0, u64::MAX, u64::MAX).is_err());
        assert_eq!(memory.read_string(0, 3, 3).unwrap(), "xxx");
        let bad = vec![0xff];
        assert_eq!(bad.read_string(0, 1, 1).unwrap_err(), GuestReadError::NotUtf8);
    }

    #[test]
    fn fill_covers_exactly_its_range() {
        let mut memory = vec![1u8; 3 * FILL_CHUNK];
        let len = 2 * FILL_CHUNK as u64 + 5;
        memory.fill(7, len, 0).unwrap();
        assert_eq!(memory.iter().filter(|byte| **byte == 0).count() as u64, len);
        assert_eq!((memory[6], memory[7]), (1, 0));
        assert_eq!((memory[6 + len as usize], memory[7 + len as usize]), (0, 1));
    }
}

//! Accesses of the host to bytes that other threads read and write at the same time: those of shared
//! memories. What is copied may be torn at any byte, and is never undefined.

// Miri executes no machine code.
#[cfg_attr(all(target_arch = "x86_64", not(miri)), path = "racing/x86_64.rs")]
#[cfg_attr(any(not(target_arch = "x86_64"), miri), path = "racing/portable.rs")]
mod accesses;

/// Bytes that are copied at a time where ranges overlap.
const CHUNK: usize = 4096;

/// Copies bytes; ranges that overlap are copied as if all were read before any is written, but for what
/// others write.
///
/// # Safety
///
/// - `length` bytes from `target` on may be written and as many from `source` on be read: bytes of shared
///   memories, or bytes that nothing else accesses meanwhile and no reference covers but one of the caller.
/// - `source` could be written through, too; what is only borrowed is for [`write`].
pub(crate) unsafe fn copy(target: *mut u8, source: *const u8, length: usize) {
    let distance = (target as usize).wrapping_sub(source as usize);
    if distance == 0 || distance >= length {
        // SAFETY: [racing bytes] the caller's duty is the same.
        return unsafe { accesses::copy(target, source, length) };
    }
    // The start of the target is in the source: from the end on, by way of a buffer.
    let mut buffer = [0; CHUNK];
    let mut left = length;
    while left > 0 {
        let step = left.min(CHUNK);
        left -= step;
        // SAFETY: [racing bytes] parts of the caller's ranges, and a buffer of this function's own.
        unsafe {
            accesses::copy(buffer.as_mut_ptr(), source.add(left), step);
            accesses::copy(target.add(left), buffer.as_mut_ptr(), step);
        }
    }
}

/// Copies bytes in that the caller borrows.
///
/// # Safety
///
/// - As many bytes from `target` on may be written, as for [`copy`].
pub(crate) unsafe fn write(target: *mut u8, bytes: &[u8]) {
    // SAFETY: [racing bytes] the caller's duty is the same.
    unsafe { accesses::write(target, bytes) }
}

/// Fills bytes.
///
/// # Safety
///
/// - `length` bytes from `target` on may be written, as for [`copy`].
pub(crate) unsafe fn fill(target: *mut u8, byte: u8, length: usize) {
    // SAFETY: [racing bytes] the caller's duty is the same.
    unsafe { accesses::fill(target, byte, length) }
}

/// Replaces 1, 2, 4 or 8 bytes, as a number, by `new` if they are `expected`; what they were. In one order
/// with all atomic accesses.
///
/// # Safety
///
/// - `place` is a multiple of `bytes`, and that many bytes there may be written, as for [`copy`].
pub(crate) unsafe fn compare_exchange(place: *mut u8, bytes: u32, expected: u64, new: u64) -> u64 {
    // SAFETY: [racing bytes] the caller's duty is the same.
    unsafe { accesses::compare_exchange(place, bytes, expected, new) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_as_if_read_first() {
        let size = 3 * CHUNK;
        for (target, source, length) in [
            (0, 5, size - 5),
            (5, 0, size - 5),
            (1, 0, 2 * CHUNK + 1),
            (0, 0, size),
            (CHUNK, 0, CHUNK),
            (7, 9, 0),
        ] {
            let mut expected: Vec<u8> = (0..size).map(|n| (n * 7 / 5) as u8).collect();
            let mut bytes = expected.clone();
            expected.copy_within(source..source + length, target);
            let start = bytes.as_mut_ptr();
            // SAFETY: [racing bytes] ranges inside of bytes of this function's own.
            unsafe { copy(start.add(target), start.add(source), length) };
            assert_eq!(bytes, expected, "{target} {source} {length}");
        }
    }

    #[test]
    fn numbers_of_every_size() {
        let mut place = [0u64; 1];
        let start: *mut u8 = place.as_mut_ptr().cast();
        // SAFETY: [racing bytes] aligned bytes of this function's own.
        let swap = |at: usize, bytes, expected, new| unsafe {
            compare_exchange(start.add(at), bytes, expected, new)
        };
        assert_eq!(swap(0, 8, 0, u64::MAX), 0);
        assert_eq!(swap(2, 2, 0xffff, 0x1234), 0xffff);
        assert_eq!(swap(2, 2, 7, 8), 0x1234);
        assert_eq!(swap(4, 4, 0xffff_ffff, 0), 0xffff_ffff);
        assert_eq!(swap(7, 1, 0, 0xab), 0);
        assert_eq!(place[0], 0xab00_0000_1234_ffff);
    }
}

//! Accesses to racing bytes where no machine code runs: by Rust's atomics, byte for byte where the sizes
//! of accesses are not known to agree.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// See `super::copy`.
///
/// # Safety
///
/// - Those of `super::copy`.
pub(super) unsafe fn copy(target: *mut u8, source: *const u8, length: usize) {
    for at in 0..length {
        // SAFETY: [racing bytes] inside of ranges that are as the caller says.
        unsafe {
            let byte = AtomicU8::from_ptr(source.cast_mut().add(at)).load(Relaxed);
            AtomicU8::from_ptr(target.add(at)).store(byte, Relaxed);
        }
    }
}

/// See `super::write`.
///
/// # Safety
///
/// - Those of `super::write`.
pub(super) unsafe fn write(target: *mut u8, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: [racing bytes] inside of a range that is as the caller says.
        unsafe { AtomicU8::from_ptr(target.add(at)).store(*byte, Relaxed) };
    }
}

/// See `super::fill`.
///
/// # Safety
///
/// - Those of `super::fill`.
pub(super) unsafe fn fill(target: *mut u8, byte: u8, length: usize) {
    for at in 0..length {
        // SAFETY: [racing bytes] inside of a range that is as the caller says.
        unsafe { AtomicU8::from_ptr(target.add(at)).store(byte, Relaxed) };
    }
}

/// See `super::compare_exchange`.
///
/// # Safety
///
/// - Those of `super::compare_exchange`.
pub(super) unsafe fn compare_exchange(place: *mut u8, bytes: u32, expected: u64, new: u64) -> u64 {
    macro_rules! exchange {
        ($atomic:ident, $int:ty) => {{
            // SAFETY: [racing bytes] aligned and accessible, as the caller says.
            let cell = unsafe { $atomic::from_ptr(place.cast()) };
            match cell.compare_exchange(expected as $int, new as $int, SeqCst, SeqCst) {
                Ok(old) | Err(old) => u64::from(old),
            }
        }};
    }
    match bytes {
        1 => exchange!(AtomicU8, u8),
        2 => exchange!(AtomicU16, u16),
        4 => exchange!(AtomicU32, u32),
        _ => exchange!(AtomicU64, u64),
    }
}

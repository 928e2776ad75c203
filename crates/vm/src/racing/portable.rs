//! Accesses to racing bytes where no machine code runs: byte for byte, since Rust's atomics must not race
//! with others of another size.
//!
//! Invariant: accesses that must not be torn have a lock, which puts all of them in one order.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

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
    static ORDER: Mutex<()> = Mutex::new(());
    let _turn = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let count = bytes as usize;
    let (mut old, given) = ([0; 8], new.to_le_bytes());
    for (at, byte) in old.iter_mut().enumerate().take(count) {
        // SAFETY: [racing bytes] accessible, as the caller says.
        *byte = unsafe { AtomicU8::from_ptr(place.add(at)) }.load(Relaxed);
    }
    if old[..count] == expected.to_le_bytes()[..count] {
        // SAFETY: [racing bytes] accessible, as the caller says.
        unsafe { write(place, &given[..count]) };
    }
    u64::from_le_bytes(old)
}

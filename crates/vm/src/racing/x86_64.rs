//! Accesses to racing bytes by instructions of x86-64. The compiler does not look into them, so they are
//! what they are for generated code: each byte is read or written once, in some order.

use std::arch::asm;

/// See `super::copy`.
///
/// # Safety
///
/// - Those of `super::copy`.
pub(super) unsafe fn copy(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: [racing bytes] the caller's duty is the same; the direction flag is clear, by convention.
    unsafe {
        asm!("rep movsb", inout("rdi") target => _, inout("rsi") source => _,
             inout("rcx") length => _, options(nostack, preserves_flags));
    }
}

/// See `super::write`.
///
/// # Safety
///
/// - Those of `super::write`.
pub(super) unsafe fn write(target: *mut u8, bytes: &[u8]) {
    // SAFETY: [racing bytes] the caller's duty is the same; these instructions only read the source.
    unsafe { copy(target, bytes.as_ptr(), bytes.len()) }
}

/// See `super::fill`.
///
/// # Safety
///
/// - Those of `super::fill`.
pub(super) unsafe fn fill(target: *mut u8, byte: u8, length: usize) {
    // SAFETY: [racing bytes] the caller's duty is the same; the direction flag is clear, by convention.
    unsafe {
        asm!("rep stosb", inout("rdi") target => _, in("al") byte, inout("rcx") length => _,
             options(nostack, preserves_flags));
    }
}

/// See `super::compare_exchange`.
///
/// # Safety
///
/// - Those of `super::compare_exchange`.
pub(super) unsafe fn compare_exchange(place: *mut u8, bytes: u32, expected: u64, new: u64) -> u64 {
    // SAFETY: [racing bytes] the caller's duty is the same.
    unsafe {
        match bytes {
            1 => {
                let old: u8;
                asm!("lock cmpxchg byte ptr [{place}], {new}", place = in(reg) place,
                     new = in(reg_byte) new as u8, inout("al") expected as u8 => old,
                     options(nostack));
                u64::from(old)
            }
            2 => {
                let old: u16;
                asm!("lock cmpxchg word ptr [{place}], {new:x}", place = in(reg) place,
                     new = in(reg) new as u16, inout("ax") expected as u16 => old,
                     options(nostack));
                u64::from(old)
            }
            4 => {
                let old: u32;
                asm!("lock cmpxchg dword ptr [{place}], {new:e}", place = in(reg) place,
                     new = in(reg) new as u32, inout("eax") expected as u32 => old,
                     options(nostack));
                u64::from(old)
            }
            _ => {
                let old: u64;
                asm!("lock cmpxchg qword ptr [{place}], {new}", place = in(reg) place,
                     new = in(reg) new, inout("rax") expected => old, options(nostack));
                old
            }
        }
    }
}

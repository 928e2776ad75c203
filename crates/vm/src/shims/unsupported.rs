//! Shims where there are none yet: code can be published, not entered. Nothing jumps to the
//! addresses given here; they are those of what shims call, which is so compiled on all platforms.

use crate::call::Image;
use crate::context::Context;
use wardian_module::layout::Owner;

pub(crate) const ENTRY_FRAME: usize = 0;
pub(crate) const EXIT_FP: usize = 0;
pub(crate) const EXIT_SP: usize = 8;
pub(crate) const PREVIOUS_ENTRY_SP: usize = 16;

pub(crate) fn builtin_address() -> usize {
    crate::call::builtin_entry as *const () as usize
}

pub(crate) fn epoch_address() -> usize {
    crate::call::epoch_entry as *const () as usize
}

pub(crate) fn trap_address() -> usize {
    crate::unwind::trap_entry as *const () as usize
}

pub(crate) fn throw_address() -> usize {
    crate::exceptions::throw_entry as *const () as usize
}

pub(crate) fn lazy_address() -> usize {
    crate::call::lazy_entry as *const () as usize
}

pub(crate) fn typed_exit_address(_: bool) -> *const u8 {
    crate::exceptions::rethrow_entry as *const () as *const u8
}

pub(crate) fn image_exit_address() -> *const u8 {
    std::ptr::null()
}

pub(crate) const fn direct_address(_: u32) -> Option<*const u8> {
    None
}

pub(crate) fn fault_address() -> usize {
    crate::unwind::fault_entry as *const () as usize
}

/// # Safety
///
/// - None here.
pub(crate) unsafe fn enter(_: *mut Image<0>, _: *mut Owner, _: *const u8) {
    panic!("machine code cannot run on this platform")
}

/// # Safety
///
/// - None here.
pub(crate) unsafe fn divert(_: *const Context) {
    panic!("machine code cannot run on this platform")
}

//! Shims where there are none yet. Nothing publishes code on such platforms, so nothing calls them.

use crate::call::Image;
use wardian_module::layout::Owner;

pub(crate) const ENTRY_FRAME: usize = 0;
pub(crate) const PREVIOUS_EXIT_FP: usize = 0;
pub(crate) const PREVIOUS_ENTRY_SP: usize = 0;

pub(crate) fn builtin_address() -> usize {
    0
}

pub(crate) fn lazy_address() -> usize {
    0
}

pub(crate) fn typed_exit_address() -> *const u8 {
    std::ptr::null()
}

pub(crate) fn image_exit_address() -> *const u8 {
    std::ptr::null()
}

pub(crate) fn fault_address() -> usize {
    0
}

/// # Safety
///
/// - Never called: no code is published.
pub(crate) unsafe extern "C" fn enter(_: *mut Image, _: *mut Owner, _: *const u8) {
    unreachable!("no code is published on this platform")
}

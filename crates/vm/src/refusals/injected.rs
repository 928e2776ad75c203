//! Refusals by the system that tests ask for. The same surface as `none.rs`, and the asking.
//!
//! What is asked for concerns the thread that asked: tests run side by side.

use std::cell::Cell;
use std::io;

thread_local! {
    /// Requests that go through before those that fail: their first, and how many.
    static PLAN: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    static REFUSED: Cell<usize> = const { Cell::new(0) };
    static LOST: Cell<usize> = const { Cell::new(0) };
}

/// Runs `during` while, of its requests for memory or protection on this thread, `allowed` go through,
/// the next `refused` fail, and all others go through. Returns also how many did fail.
#[cfg_attr(not(feature = "refusals"), allow(dead_code, reason = "tests of this crate alone"))]
pub fn refuse<R>(allowed: usize, refused: usize, during: impl FnOnce() -> R) -> (R, usize) {
    /// Ends the plan, also when `during` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            PLAN.set(None);
        }
    }
    let end = End;
    PLAN.set(Some((allowed, refused)));
    REFUSED.set(0);
    let result = during();
    drop(end);
    (result, REFUSED.get())
}

/// Asked before the system is asked for memory or protection.
pub(crate) fn allow() -> io::Result<()> {
    match PLAN.get() {
        None | Some((0, 0)) => Ok(()),
        Some((0, refused)) => {
            PLAN.set(Some((0, refused - 1)));
            REFUSED.set(REFUSED.get() + 1);
            Err(io::ErrorKind::OutOfMemory.into())
        }
        Some((allowed, refused)) => {
            PLAN.set(Some((allowed - 1, refused)));
            Ok(())
        }
    }
}

/// How many mappings this thread could not give back, because of refusals.
#[cfg_attr(not(feature = "refusals"), allow(dead_code, reason = "tests above this crate"))]
pub fn lost_mappings() -> usize {
    LOST.get()
}

/// Asked before a mapping is given back.
pub(crate) fn allow_unmap() -> io::Result<()> {
    allow().inspect_err(|_| LOST.set(LOST.get() + 1))
}

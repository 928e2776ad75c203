//! Exceptions: from a throw to its handler, over guest frames (NOTE [exceptions] of `module::layout`).
//!
//! A walk along frame pointers, from the throw to the entry of the activation. For each frame the table of
//! its code tells the handlers of the call that it waits in. Nothing is allocated and no lock taken.
//!
//! Host frames are never passed: an exception that leaves an activation becomes a failure there. A host
//! function throws by returning an error that [`Host::thrown`](crate::Host::thrown) knows.

use crate::code;
use crate::context::{Context, Failure};
use crate::shims;
use crate::unwind::{after_call, fail, latest_exit, word};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wardian_module::image::{ExceptionTable, TryCall};

/// A handler in a live frame.
#[derive(Clone, Copy, Debug)]
struct Found {
    pc: usize,
    fp: usize,
    sp: usize,
}

/// What the code of a live frame says of the call that it waits in.
#[derive(Clone, Copy)]
pub(crate) struct Handlers<'a> {
    pub(crate) table: &'a ExceptionTable,
    pub(crate) call: &'a TryCall,
    /// Address that offsets of the table count from.
    pub(crate) base: usize,
    /// Offset in the VM context of the ids of tags.
    pub(crate) tags: u32,
}

impl Handlers<'_> {
    /// The handler of an exception of this tag, in the frame at `fp`.
    fn handler(&self, fp: usize, tag: u32) -> Option<Found> {
        let context = word(fp.wrapping_add_signed(self.call.context as isize));
        let ids = context + self.tags as usize;
        let id_of = |index: u32| {
            let place = std::ptr::with_exposed_provenance::<u32>(ids + index as usize * 4);
            // SAFETY: [handler] the frame at `fp` waits in this call; [compiled code] its code keeps its VM
            // context there, which has the ids of as many tags as its module; the table names no others
            // (checked when it was published).
            unsafe { place.read() }
        };
        let target = self.table.handler_of(self.call, |index| id_of(index) == tag)?;
        let sp = fp - self.call.frame as usize;
        Some(Found { pc: self.base + target as usize, fp, sp })
    }
}

/// The innermost handler of the activation for an exception of this tag, thrown by the call that the
/// latest exit shim stands for.
fn find(context: &Context, tag: u32) -> Option<Found> {
    let entry_sp = context.entry_sp.get();
    let end = entry_sp + shims::ENTRY_FRAME;
    let (mut pc, mut fp) = latest_exit(entry_sp);
    while fp != end {
        let found = code::handlers_at(pc, |handlers| handlers.handler(fp, tag));
        if found.is_some() {
            return found;
        }
        (pc, fp) = after_call(fp);
    }
    None
}

/// Called by the throw shim, whose frame the context knows; the address to go on at, or 0.
///
/// # Safety
///
/// - Only generated code calls it, by the shim, with the context of the running store and the id of a tag
///   whose values it has stored.
pub(crate) unsafe extern "C" fn throw_entry(context: *const Context, tag: u32) -> usize {
    // SAFETY: [context pointer] the shim passes that of the caller's owner, whose store is running.
    let context = unsafe { &*context };
    context.shared.thrown_tag.set(tag);
    handle(context)
}

/// Called by shims when host code returned to which [`Host::thrown`] has said that it throws.
///
/// # Safety
///
/// - Only shims call it, with the context of the running store.
pub(crate) unsafe extern "C" fn rethrow_entry(context: *const Context) -> usize {
    // SAFETY: [context pointer] the shim passes that of the caller's owner, whose store is running.
    let context = unsafe { &*context };
    context.pending.set(0);
    handle(context)
}

/// Where the exception that the context holds goes on, or 0 with a failure that is pending.
fn handle(context: &Context) -> usize {
    if let Some(Found { pc, fp, sp }) = find(context, context.shared.thrown_tag.get()) {
        context.resume_fp.set(fp);
        context.resume_sp.set(sp);
        return pc;
    }
    let host = context.host.get().expect("a host is set while guest code runs");
    let failure = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: [host pointer] guest code was running, or a host function whose use has ended.
        unsafe { &mut *host.as_ptr() }.uncaught()
    }));
    fail(context, failure.unwrap_or_else(Failure::Panic), None);
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::tests::{Stack, TAG};

    #[test]
    #[cfg_attr(miri, ignore = "walks along addresses, which strict provenance forbids")]
    fn walks_go_on_at_the_handler_of_the_tag() {
        let mut stack = Stack::new();
        assert!(find(&stack.context, TAG + 1).is_none());
        let (pc, fp, sp) = stack.handler();
        // SAFETY: [context pointer] the context is alive, and no store runs.
        let found = unsafe { throw_entry(&stack.context, TAG) };
        assert_eq!(found, pc);
        assert_eq!((stack.context.resume_fp.get(), stack.context.resume_sp.get()), (fp, sp));
        stack.context.pending.set(Context::THROWN);
        // SAFETY: [context pointer] as above.
        let found = unsafe { rethrow_entry(&stack.context) };
        assert_eq!((found, stack.context.pending.get()), (pc, 0));
    }
}

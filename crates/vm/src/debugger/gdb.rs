//! gdb's interface for code made at run time (its manual: "JIT Compilation Interface"): a list of
//! objects, and a function that gdb puts a breakpoint on. LLDB knows it too.
//!
//! Both symbols are weak: where another engine in the process has them, all of them share one list.
//! The interface has no lock, so at most one of them may use it; nothing here touches the list before
//! the first [`Registration`].

use std::arch::global_asm;
use std::ptr::{NonNull, addr_of_mut, null_mut};
use std::sync::{Mutex, PoisonError};

/// An element of the list, as gdb reads it.
#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    object: *const u8,
    object_size: u64,
}

/// The list, as gdb reads it.
#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

// SAFETY: [debugger list] the function does nothing and keeps all registers; the descriptor is writable
// data with the fields of `Descriptor`: version 1, no action, no entries.
global_asm!(
    ".pushsection .text.__jit_debug_register_code,\"ax\",@progbits",
    ".weak __jit_debug_register_code",
    ".type __jit_debug_register_code, @function",
    "__jit_debug_register_code:",
    "ret",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".popsection",
    ".pushsection .data.__jit_debug_descriptor,\"aw\",@progbits",
    ".weak __jit_debug_descriptor",
    ".type __jit_debug_descriptor, @object",
    ".balign 8",
    "__jit_debug_descriptor:",
    ".long 1, 0",
    ".quad 0, 0",
    ".size __jit_debug_descriptor, . - __jit_debug_descriptor",
    ".popsection",
);

// SAFETY: [debugger list] defined above, or by another engine to the same interface.
unsafe extern "C" {
    fn __jit_debug_register_code();
    static mut __jit_debug_descriptor: Descriptor;
}

/// Held while the list changes.
static CHANGING: Mutex<()> = Mutex::new(());

/// An object that debuggers know, as long as this lives.
#[derive(Debug)]
pub struct Registration {
    entry: NonNull<Entry>,
    /// What the entry refers to; nobody writes to it.
    object: Box<[u8]>,
    process: u32,
}

// SAFETY: [debugger list] the entry is touched under the lock only.
unsafe impl Send for Registration {}
// SAFETY: [debugger list] as above.
unsafe impl Sync for Registration {}

impl Registration {
    /// Shows an ELF object, whose addresses are those of this process, to a debugger.
    pub fn new(object: Box<[u8]>) -> Registration {
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        let descriptor = addr_of_mut!(__jit_debug_descriptor);
        // SAFETY: [debugger list] the lock is held; entries in the list live until they are taken out.
        let entry = unsafe {
            let next = (*descriptor).first;
            let entry = Entry {
                next,
                previous: null_mut(),
                object: object.as_ptr(),
                object_size: object.len() as u64,
            };
            let entry = NonNull::from(Box::leak(Box::new(entry)));
            if let Some(next) = next.as_mut() {
                next.previous = entry.as_ptr();
            }
            (*descriptor).first = entry.as_ptr();
            (*descriptor).relevant = entry.as_ptr();
            (*descriptor).action = REGISTER;
            __jit_debug_register_code();
            entry
        };
        Registration { entry, object, process: crate::process() }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // NOTE [fork]: of the list that a child inherited, nothing changes; another thread of the parent
        // may have held the lock.
        if self.process != crate::process() {
            std::mem::forget(std::mem::take(&mut self.object));
            return;
        }
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        let descriptor = addr_of_mut!(__jit_debug_descriptor);
        let entry = self.entry.as_ptr();
        // SAFETY: [debugger list] the lock is held; the entry was made by `new`, is in the list, and is
        // freed after debuggers were told that it is not any more.
        unsafe {
            let Entry { next, previous, .. } = *entry;
            match previous.as_mut() {
                Some(previous) => previous.next = next,
                None => (*descriptor).first = next,
            }
            if let Some(next) = next.as_mut() {
                next.previous = previous;
            }
            (*descriptor).relevant = entry;
            (*descriptor).action = UNREGISTER;
            __jit_debug_register_code();
            (*descriptor).relevant = null_mut();
            drop(Box::from_raw(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First bytes of the objects in the list, the latest first, as a debugger finds them; links agree
    /// both ways.
    fn listed() -> Vec<u8> {
        let _changing = CHANGING.lock().unwrap();
        let (mut found, mut previous) = (Vec::new(), null_mut());
        // SAFETY: [debugger list] the lock is held.
        unsafe {
            let mut next = (*addr_of_mut!(__jit_debug_descriptor)).first;
            while let Some(entry) = next.as_ref() {
                assert_eq!((entry.previous, entry.object_size), (previous, 1));
                found.push(*entry.object);
                (previous, next) = (next, entry.next);
            }
        }
        found
    }

    #[test]
    fn objects_are_listed_while_they_are_registered() {
        let mut registered: Vec<_> =
            (0..4).map(|n| Some(Registration::new(Box::new([n])))).collect();
        assert_eq!(listed(), [3, 2, 1, 0]);
        for (dropped, left) in [(2, &[3, 1, 0][..]), (3, &[1, 0]), (0, &[1]), (1, &[])] {
            registered[dropped] = None;
            assert_eq!(listed(), left);
        }
    }
}

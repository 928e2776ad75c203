//! The kernel: the one crate with `unsafe` code. It owns raw memory, runs machine code and catches its
//! faults; everything above it is safe Rust.
//!
//! `vm` knows no tier, resolves no names and evaluates no expressions: it is given code, types and
//! indices, and checks what it is given.
//!
//! # Invariants
//!
//! Every `unsafe` block cites one of these by name.
//!
//! - **[compiled code]** Code enters only as a tier's output for a validated module of this process, or
//!   as an authenticated artifact or cache entry. It keeps to the layout and calling convention of
//!   `module`: touches only memories, tables, globals and fields of its instance (or traps), keeps a
//!   chain of frame pointers, passes contexts and function references it was given. This is the one
//!   axiom; the kernel checks around it what it can (image tables, entry offsets, types at link time).
//! - **[store lifetime]** Blocks, mappings, host records and code that a store uses are freed no earlier
//!   than the store, except what a function made before it failed, which nobody has seen; a store that
//!   is dropped while guest frames of it are live frees nothing.
//! - **[block]** A [`Block`](block::Block) owns `size` zeroed-then-written bytes; it is reached through
//!   raw pointers only (never `&`/`&mut` into it), since generated code reads and writes it too.
//! - **[mapping]** A `Mapping` owns its address range exclusively; protections and content below change
//!   only through it, while nothing else refers into it.
//! - **[guest memory aliasing]** A slice into a linear memory borrows its store; guest code runs only
//!   with the store borrowed mutably; so no guest code runs while a slice exists.
//! - **[racing bytes]** Bytes of a shared memory are read and written by generated code of all threads at
//!   any time. The host reaches them by `racing` alone, whose instructions the compiler does not look
//!   into, in ranges below a length read before; lengths only grow and bases stay, as long as the memory
//!   is held. No reference covers such bytes but to cells, which nothing here reads.
//! - **[arena]** A range of a code arena belongs to one published [`Code`]; no address is
//!   writable and executable at once; a page's entry in the lookup table is set after its code is
//!   written and cleared before its range is given back; code that is added to a range later is written
//!   where nothing runs yet, under its module's lock (NOTE [tier publication]).
//! - **[code lookup]** A program counter of a live guest frame lies in published code, which a store
//!   keeps alive; so the pointer found in the lookup table for it is valid.
//! - **[context pointer]** The context of a running store, and the epoch that it points at, are valid
//!   while an activation of it exists; the thread's `current` is null or the context of the innermost
//!   activation of its thread.
//! - **[host pointer]** While guest code runs, the context holds the pointer derived from the `&mut` that
//!   the innermost entry was given, nothing else uses that borrow, and its type is the store's.
//! - **[shim frame]** Entry shims save all callee-saved registers in a frame whose address the context
//!   holds; exit shims note there, before any host code runs, which guest frame they leave and where its return
//!   address lies. A pending failure is noticed only by a shim, after every host frame above it has returned:
//!   a host function that has failed replaces the return address of the exit that led to it, and returns.
//! - **[stack maps]** At a safepoint, the places that a return address's stack map lists lie in the frame
//!   that waits there, are aligned, and hold references into the heap; code reads them again when the call
//!   has returned, and whatever it finds there leads nowhere but into the heap's region. (A part of
//!   [compiled code].)
//! - **[handler]** A throw goes on in a guest frame of its own activation only, at a handler that the
//!   table of the frame's code names for the call that the frame waits in, with the frame's own stack and
//!   frame pointer; no host frame lies between. Code that has handlers keeps nothing else across such calls
//!   but what lies in its frame.
//! - **[host signature]** A host record pairs an entry with the function type it was instantiated for;
//!   records are made by `HostFunc` only, which derives both from the same Rust types.
//! - **[foreign function]** A call into the C library that has no other duties than valid arguments,
//!   stated where it stands.
//! - **[guards]** The guards of a context change only while its store is borrowed exclusively and none of
//!   its generated code runs; the handler reads them only at a fault of such code.
//! - **[debugger list]** The list of code that debuggers read, which two linked symbols hold, changes only
//!   under the lock of its file; an entry and its object live until it is taken out. No other library of
//!   the process uses the interface while an engine with `debug_info` exists: it knows no common lock.
//! - **[signal handler]** The handler runs on the faulting thread, takes no lock, allocates nothing and
//!   touches only its arguments, the lookup table and the context of the running store.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::private_intra_doc_links,
    reason = "invariants are cited in brackets, as in SAFETY comments"
)]

pub mod block;
pub mod call;
pub mod code;
mod context;
#[cfg_attr(all(target_os = "linux", target_arch = "x86_64", not(miri)), path = "debugger/gdb.rs")]
#[cfg_attr(
    any(not(all(target_os = "linux", target_arch = "x86_64")), miri),
    path = "debugger/none.rs"
)]
mod debugger;
mod exceptions;
mod heap;
pub mod host;
mod mapping;
#[cfg_attr(any(test, feature = "refusals"), path = "refusals/injected.rs")]
#[cfg_attr(not(any(test, feature = "refusals")), path = "refusals/none.rs")]
mod refusals;
// Miri executes no machine code: to it, this machine is one of those without.
mod racing;
mod routines;
mod shared;
#[cfg_attr(all(target_arch = "x86_64", not(miri)), path = "shims/x86_64.rs")]
#[cfg_attr(any(not(target_arch = "x86_64"), miri), path = "shims/unsupported.rs")]
mod shims;
pub mod store;
#[cfg_attr(all(target_os = "linux", target_arch = "x86_64", not(miri)), path = "sys/linux.rs")]
#[cfg_attr(
    any(not(all(target_os = "linux", target_arch = "x86_64")), miri),
    path = "sys/unsupported.rs"
)]
mod sys;
mod tiered;
mod unwind;
mod values;
mod watch;

pub use call::*;
pub use code::{Code, CodeError, VouchedArtifact};
pub use context::{BuiltinCall, Exit, Failure, Frame, Host, TrapReport, stack_left};
pub use debugger::Registration;
pub use heap::Roots;
pub use host::*;
pub use mapping::{InitialMemory, Reservations};
#[cfg(feature = "refusals")]
pub use refusals::{lost_mappings, refuse};
pub use shared::{Gate, SharedMemory};
pub use store::*;
pub use tiered::{Source, Tier, Tiered};
pub use values::{
    AnyHeap, ArrayHeap, EqHeap, ExternHeap, Heap, Holds, I31Heap, NonNull, NullExtern, NullFunc,
    NullRef, Nullable, Number, Results, StructHeap, Values, Vector, WasmValue, kind_of,
};
pub use watch::{Kept, PublishedFunc, Watch};

/// Whether this platform can run machine code, and if not, why.
pub fn supported() -> Result<(), &'static str> {
    sys::SUPPORTED
}

/// A number for the present process that no child of it has.
pub fn process() -> u32 {
    sys::process()
}

/// Tells the system that all of `bytes`, none of which was touched yet, will be written: it may clear large
/// pages at once, where it would clear small ones at a fault each. Less than a large page stays as it is.
pub fn prefer_large_pages(bytes: &mut [u8]) {
    sys::prefer_large_pages(bytes);
}

/// Has the allocator of the C library give memory back to the system once it is freed, where it would keep what
/// it expects to be asked for again. That is for programs that compile and end: it concerns the whole process,
/// and allocating takes a little longer. Where the library has no such choice, nothing happens.
pub fn return_freed_memory() {
    sys::return_freed_memory();
}

/// Maps the first page of a file, executable, for good; nothing reads it. A profiler that records mappings
/// learns of the file so.
pub fn show_to_profilers(file: &std::fs::File) -> std::io::Result<()> {
    sys::map_executable(file)
}

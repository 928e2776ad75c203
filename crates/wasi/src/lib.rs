//! WASI preview 1: files, directories, clocks, random numbers, arguments and standard streams for
//! wasm programs, on the capability-based files of cap-std.
//!
//! Four types carry it:
//!
//! * [`WasiCtxBuilder`] collects what a guest may see and makes a [`WasiP1Ctx`] of it;
//! * [`WasiP1Ctx`] is the state behind one guest: its descriptor table, clocks, generator of random
//!   numbers, arguments and environment. Each function of the interface is a method on it (`p1.rs`);
//! * [`wardian::GuestMemory`] is how those methods see the guest's memory: by copies;
//! * [`Errno`] is what they answer, but for `proc_exit`, which answers [`I32Exit`].
//!
//! [`p1::add_to_linker_sync`] puts all of them into a linker, under `wasi_snapshot_preview1` and,
//! with the layouts of old, under `wasi_unstable`.
//!
//! Invariant [pointers first]: a function checks every guest pointer it was given before it has any
//! effect. A call that answers `FAULT` has changed nothing, on the host or in the guest.
//!
//! Invariant [bounded work]: what one call allocates on the host has a bound that the host chose
//! (the constants in `limits.rs`), and what a guest holds altogether is taken from the budget that the
//! host gave it, if it gave one; what it computes has such a bound too, but for `random_get`, which the
//! guest's deadline ends. What calls move is paid for by the byte, where guests pay.
//!
//! Invariant `beneath`: every path is resolved by cap-std below a directory that the host opened for
//! the guest: on Linux by `openat2` with `RESOLVE_BENEATH`, elsewhere component by component. The
//! forms of a path that `std::path` hides (`a/`, `a/.`) are taken apart before (`path.rs`), so cap-std
//! never sees them.

#![forbid(unsafe_code)]

mod clocks;
mod ctx;
mod descriptor;
mod dir;
mod file;
mod limits;
pub mod p1;
mod path;
pub mod pipe;
mod poll;
mod random;
mod stdio;
#[cfg_attr(unix, path = "sys/unix.rs")]
#[cfg_attr(not(unix), path = "sys/other.rs")]
mod sys;
mod types;

pub use clocks::{FixedClock, HostMonotonicClock, HostWallClock};
pub use ctx::{I32Exit, WasiCtxBuilder, WasiP1Ctx};
pub use random::{HostRandom, SeededRandom};
pub use stdio::{StdinStream, StdoutStream, StreamState};
pub use types::{DirPerms, Errno, FilePerms};

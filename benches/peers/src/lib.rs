//! The work that `peers` and the Criterion benches do with either engine: one source, compiled against both.
//!
//! An engine has a process to itself: both install handlers for faults, and one would wait for the other. So
//! there are two benches, and the program does the work of one engine at a time.

#![allow(clippy::duplicate_mod, reason = "the same work is compiled against either engine")]

#[cfg(feature = "wardian")]
pub mod ours;
#[cfg(feature = "wasmtime")]
pub mod theirs;

/// What measures the rows of `micro`.
pub trait Rows {
    /// Measures an operation, which does its work `times`; `batch` of them make an amount of time that a clock
    /// can tell.
    fn row(&mut self, name: &str, batch: u32, times: u32, operation: impl FnMut());
}

/// A figure of this process that the system keeps, in KiB: a line of `/proc/self/status`.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("a Linux system");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).expect("a line of that name");
    number.parse().expect("a number")
}

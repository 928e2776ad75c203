//! Runs generated modules on every tier, and compares all that a program or its host could see.
//!
//! A [`Case`] is a module with calls to it, made from a seed or, for fuzzing, from bytes. A [`Differ`]
//! has an engine for every mode of [`MODES`]; [`Differ::check`] runs a case on each and compares their
//! logs with that of the first: results, traps with the backtrace's functions and offsets, calls of
//! imports with their arguments, globals, tables, sizes and contents of memories, after every call.
//!
//! Invariant: the same case gives the same logs in every run. Loops and recursion are bounded by fuel
//! that the generator puts into the module, memory by limits; NaNs are canonical.

#![forbid(unsafe_code)]

mod case;
mod run;

pub use case::Case;
pub use run::{Differ, MODES, Mode, Verdict};

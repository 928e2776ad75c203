//! Runs generated modules on every tier, and compares all that a program or its host could see.
//!
//! A [`Case`] is a module with calls to it, made from a seed or, for fuzzing, from bytes: by a generator of
//! arbitrary modules, or by our own of programs that work with objects (`objects.rs`). A [`Differ`]
//! has an engine for every mode of [`MODES`]; [`Differ::check`] runs a case on each and compares their
//! logs with that of the first: results, traps with the backtrace's functions and offsets, exceptions, calls of
//! imports with their arguments, globals, tables, sizes and contents of memories, after every call. A
//! reference stands for all that can be reached through it (`values.rs`), and each mode lets objects move at
//! other moments: what a collector lost or misplaced, or code held too long, is a difference.
//!
//! Invariant: the same case gives the same logs in every run. Loops and recursion are bounded by fuel
//! that the generator puts into the module, memory by limits; NaNs are canonical.

#![forbid(unsafe_code)]

mod case;
mod objects;
mod run;
mod values;

pub use case::Case;
pub use objects::SHAPES;
pub use run::{Differ, MODES, Mode, Verdict};

//! The optimizing tier: functions to machine code by way of Cranelift.
//!
//! [`Compiler`] is shared by threads; each has its own [`Scratch`]. What an instruction means comes
//! from `lower`; this crate says how each of its operations looks in Cranelift's intermediate form.
//!
//! `cranelift` reads no clock, file or environment, maps no memory and runs no code.

#![forbid(unsafe_code)]

mod abi;
mod bounds;
#[cfg(feature = "check")]
mod check;
#[cfg(not(feature = "check"))]
#[path = "check_none.rs"]
mod check;
mod compiler;
mod constants;
mod control;
mod copies;
mod counts;
mod dispatch;
mod emit;
mod exceptions;
mod exits;
mod faults;
mod finish;
mod heap;
mod induction;
mod length;
mod numeric;
mod offsets;
mod placement;
mod pressure;
mod proven;
mod ranges;
mod replace;
mod resume;
mod roots;
mod simd;
mod unroll;
mod ways;
mod wide;

pub use compiler::{Compiler, Scratch};
pub use wardian_lower::CompileError;

/// A map by numbers that are given one after the other, so that nobody can choose many of one hash.
type EntityMap<K, V> = std::collections::HashMap<K, V, rustc_hash::FxBuildHasher>;

//! Single-pass tier: one function at a time, straight from WebAssembly to x86-64 machine code, in one
//! walk over its body that also validates it. See `state` for where values live.
//!
//! Invariant: what [`Compiler::compile`] returns is code for a function that was validated, with the
//! calling convention, trap table and frame layout that `wardian-module` states. It either is complete
//! or an error is returned; there is no third case.

#![forbid(unsafe_code)]

mod asm;
#[cfg(feature = "check")]
mod check;
#[cfg(not(feature = "check"))]
#[path = "check_none.rs"]
mod check;
mod claims;
mod compiler;
mod control;
mod emit;
mod encode;
mod exceptions;
mod heap;
mod ops;
mod scalar;
mod scan;
mod simd;
mod simd_float;
mod simd_int;
mod simd_lanes;
mod state;

pub use compiler::{Compiler, Scratch};
pub use emit::Features;
pub use wardian_lower::CompileError;

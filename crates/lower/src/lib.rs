//! What each WebAssembly instruction does, written once for all compiled tiers.

#![forbid(unsafe_code)]

mod emit;
pub use emit::*;

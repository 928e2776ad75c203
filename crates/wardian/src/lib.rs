//! Wardian: a WebAssembly engine to embed.
//!
//! Names and shapes follow what users of the leading Rust engine know. Whoever breaks a documented
//! rule gets an [`Error`] of kind [`ErrorKind::Misuse`] where the signature has a `Result`, and a
//! panic with a documented text where it has none, in release builds too.

#![forbid(unsafe_code)]

mod backtrace;
mod config;
mod engine;
pub mod error;
mod guest_memory;
mod types;

pub use backtrace::{FrameInfo, FrameSymbol, WasmBacktrace};
pub use config::*;
pub use engine::{Engine, EngineWeak, Precompiled};
pub use error::{Error, ErrorKind, Result};
pub use guest_memory::*;
pub use types::*;
pub use wardian_module::{Proposal, Trap};

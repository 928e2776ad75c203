//! Wardian: a WebAssembly engine to embed.
//!
//! Names and shapes follow what users of the leading Rust engine know. Whoever breaks a documented
//! rule gets an [`Error`] of kind [`ErrorKind::Misuse`] where the signature has a `Result`, and a
//! panic with a documented text where it has none, in release builds too.
//!
//! # Events
//!
//! What the engine does can be followed with a subscriber of `tracing`, and costs nothing without one.
//! Events of everyday work have the level `DEBUG`; `WARN` is for what a host should mend, such as a cache
//! that cannot be used. Their targets:
//!
//! | target | what it tells |
//! |---|---|
//! | `wardian::module` | modules and artifacts that are loaded or refused; a span for each load |
//! | `wardian::compile` | each function that is compiled: tier, index, bytes, time |
//! | `wardian::tiers` | hot functions and loops: asked for, published, frames replaced, refused |
//! | `wardian::cache` | the code cache: found, missing, refused and why, kept, removed |
//! | `wardian::instance` | instances that are made |
//! | `wardian::trap` | traps: which, where |

#![forbid(unsafe_code)]

mod backtrace;
mod cache;
mod config;
mod engine;
pub mod error;
mod explore;
mod externals;
mod func;
mod guest_memory;
mod instance;
mod interrupt;
mod limits;
mod linker;
mod module;
mod store;
mod typed;
mod types;
mod val;

pub use backtrace::{FrameInfo, FrameSymbol, WasmBacktrace};
pub use cache::{Cache, CacheConfig, CacheUsage};
pub use config::*;
pub use engine::{Engine, EngineWeak, Precompiled};
pub use error::{Error, ErrorKind, Result};
pub use explore::{
    CodeOrigin, CodeReference, ExploredFunction, Explorer, OperationLine, Stages, TierCode,
};
pub use externals::{Extern, Global, GuestMemoryMut, Memory, MemoryAccessError, Table};
pub use func::{Caller, Func};
pub use guest_memory::*;
pub use instance::{Export, Instance, InstancePre};
pub use interrupt::UpdateDeadline;
pub use limits::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
pub use linker::Linker;
pub use module::Module;
pub use store::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut};
pub use typed::{IntoFunc, TypedFunc, WasmParams, WasmResults, WasmRet, WasmTy};
pub use types::*;
pub use val::{ExternRef, Ref, Rooted, V128, Val};
pub use wardian_module::{Proposal, Trap};
pub use wardian_runtime::{Budget, BudgetShare, CodeShape, CompileProgress, Stats};
pub use wardian_vm::VouchedArtifact;

//! Stores, instances, linking rules and builtins: what the specification calls the runtime structure,
//! in safe code over the kernel.
//!
//! `runtime` knows nothing of embedder types (`T` of a store) and makes no code but by calling a tier.

#![forbid(unsafe_code)]

mod arrays;
pub mod artifact;
mod background;
mod budget;
mod builtins;
mod cache;
mod compile;
#[cfg(feature = "compiler")]
mod compilers;
#[cfg(not(feature = "compiler"))]
#[path = "compilers_none.rs"]
mod compilers;
mod exceptions;
mod explore;
mod file;
mod heap;
mod initial;
mod instantiate;
pub mod log;
#[cfg(feature = "parallel")]
mod parallel;
#[cfg(not(feature = "parallel"))]
#[path = "parallel_none.rs"]
mod parallel;
mod parking;
mod roots;
mod stats;
mod store;
mod tiers;

pub use background::Task;
pub use budget::{Budget, BudgetShare};
pub use builtins::builtin;
pub use cache::{Cache, CacheUsage, DEFAULT_LIMIT, KeptFunctions, LazyKey, ModuleCache, Place};
pub use compile::{
    CompileError, CompileProgress, Compiler, Known, compile, decode_beside, decode_valid,
};
pub use compilers::HAS_COMPILER;
pub use explore::{Explored, Explorer, RecordedLine};
pub use file::read_file;
pub use heap::{HeapConfig, Referent};
pub use initial::prepare_initial_memories;
pub use instantiate::InstantiateError;
pub use parking::{WaitResult, Waiter, begin_wait, notify, wait};
pub use roots::{HostRoots, OwnedRoot, RootId};
pub use stats::{CodeShape, Counters, Stats};
pub use store::{Limiter, Store, Unlimited};
pub use tiers::{Cached, CompileFailure, TierConfig, TierUp, Tiers};
pub use wardian_gc::Stats as HeapStats;

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
//! | `wardian::gc` | collections of heaps: time, what moved, what is left |
//! | `wardian::trap` | traps: which, where |
//! | `wardian::observe` | what debuggers and profilers could not be told |

#![forbid(unsafe_code)]

mod backtrace;
mod builder;
mod cache;
mod code_view;
mod config;
mod coredump;
mod engine;
pub mod error;
mod exceptions;
mod explore;
mod externals;
mod func;
mod gc_types;
mod guest_memory;
mod instance;
mod interrupt;
mod limits;
mod linker;
mod module;
#[cfg(feature = "profiling")]
mod profiler;
mod raw;
mod refs;
mod rooted;
mod shared_memory;
mod store;
#[cfg(feature = "wat")]
mod text;
#[cfg(not(feature = "wat"))]
#[path = "text_none.rs"]
mod text;
mod typed;
mod types;
mod val;

pub use backtrace::{FrameInfo, FrameSymbol, WasmBacktrace};
pub use builder::{CodeBuilder, CodeHint};
pub use cache::{Cache, CacheConfig, CacheUsage};
pub use code_view::ModuleCode;
pub use config::*;
pub use coredump::WasmCoreDump;
pub use engine::{Engine, EngineWeak, Precompiled};
pub use error::{Error, ErrorKind, Result};
pub use exceptions::{ExnRef, ExnRefPre, ExnType, ThrownException};
pub use explore::{
    CodeOrigin, CodeReference, ExploredFunction, Explorer, OperationLine, Stages, TierCode,
};
pub use externals::{Extern, Global, GuestMemoryMut, Memory, MemoryAccessError, Table, Tag};
pub use func::{Caller, Func};
pub use gc_types::{ArrayType, FieldType, Finality, StorageType, StructType};
pub use guest_memory::*;
pub use instance::{Export, Instance, InstancePre};
pub use interrupt::UpdateDeadline;
pub use limits::{
    DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT, ResourceLimiter,
    StoreLimits, StoreLimitsBuilder,
};
pub use linker::{Linker, UnknownImportError};
pub use module::{Module, ModuleExport, ModuleFunction, ResourcesRequired};
#[cfg(feature = "profiling")]
pub use profiler::GuestProfiler;
pub use raw::ValRaw;
pub use refs::{AnyRef, ArrayRef, ArrayRefPre, EqRef, I31, StructRef, StructRefPre};
pub use rooted::{GcHeapOutOfMemory, GcRef, OwnedRooted, RootScope, Rooted, RootedGcRef};
pub use shared_memory::{SharedMemory, WaitResult};
pub use store::{AsContext, AsContextMut, CallHook, Store, StoreContext, StoreContextMut};
pub use typed::{
    IntoFunc, NoExtern, NoFunc, NoneRef, TypedFunc, WasmParams, WasmResults, WasmRet, WasmTy,
    WasmTyList,
};
pub use types::*;
pub use val::{ExternRef, Ref, V128, Val};
/// ```
/// use wardian::{Config, Engine, OperatorCost};
///
/// let cost = OperatorCost { F64Sqrt: 15, ..OperatorCost::new() };
/// Engine::new(Config::new().consume_fuel(true).operator_cost(cost))?;
/// # Ok::<(), wardian::Error>(())
/// ```
pub use wardian_module::OperatorCost;
/// ```
/// use wardian::{Config, Engine, Proposal};
///
/// let mut config = Config::new();
/// config.wasm_proposal(Proposal::MultiMemory, false);
/// assert!(wardian::Module::new(&Engine::new(&config)?, "(module (memory 1) (memory 1))").is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
pub use wardian_module::Proposal;
/// ```
/// use wardian::{Instance, Module, Store, Trap};
///
/// let mut store = Store::<()>::default();
/// let module = Module::new(store.engine(), "(module (func $f unreachable) (start $f))")?;
/// let error = Instance::new(&mut store, &module, &[]).unwrap_err();
/// assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnreachableCodeReached));
/// # Ok::<(), wardian::Error>(())
/// ```
pub use wardian_module::Trap;
/// ```
/// use wardian::{OperatorCost, VariableOperatorCost};
///
/// let by_size = VariableOperatorCost { memory_grow_per_page: 200, ..VariableOperatorCost::new() };
/// assert_eq!(OperatorCost { variable: by_size, ..OperatorCost::new() }.MemoryGrow, 1);
/// ```
pub use wardian_module::VariableOperatorCost;
/// ```
/// let shape: wardian::CodeShape = wardian::Engine::default().stats().optimized_shape;
/// assert_eq!(shape.inlined_calls, 0);
/// ```
pub use wardian_runtime::CodeShape;
/// ```
/// use wardian::{CompileProgress, Config, Engine};
///
/// let engine = Engine::new(Config::new().artifact_key([7; 32]))?;
/// engine.precompile_module_with_progress(b"(module (func))", |progress: CompileProgress| {
///     println!("{} of {}", progress.functions, progress.total_functions);
/// })?;
/// # Ok::<(), wardian::Error>(())
/// ```
pub use wardian_runtime::CompileProgress;
/// ```
/// use wardian::{Config, Engine, Module, Strategy};
///
/// let engine = Engine::new(Config::new().strategy(Strategy::Optimizing))?;
/// Module::new(&engine, "(module (func) (func))")?;
/// let stats: wardian::Stats = engine.stats();
/// assert_eq!(stats.optimized_functions, 2);
/// # Ok::<(), wardian::Error>(())
/// ```
pub use wardian_runtime::Stats;
/// ```
/// use wardian::{Budget, BudgetShare};
///
/// let budget = Budget::new(100);
/// let mut share: BudgetShare = budget.share();
/// assert!(share.resize(60) && !share.resize(101));
/// assert_eq!((budget.taken(), budget.limit()), (60, 100));
/// ```
pub use wardian_runtime::{Budget, BudgetShare};
/// ```
/// use wardian::{Engine, Module, VouchedArtifact};
///
/// # fn main() -> wardian::Result<()> {
/// let engine = Engine::new(wardian::Config::new().artifact_key([7; 32]))?;
/// let artifact = engine.precompile_module(b"(module)")?;
/// // SAFETY: made above, and not changed since.
/// let vouched = unsafe { VouchedArtifact::new(&artifact) };
/// assert!(Module::deserialize_vouched(&engine, vouched).is_ok());
/// # Ok(())
/// # }
/// ```
pub use wardian_vm::VouchedArtifact;
/// ```
/// // For a command that compiles and ends; before the first engine.
/// wardian::return_freed_memory();
/// let engine = wardian::Engine::new(wardian::Config::new().artifact_key([7; 32]))?;
/// assert!(engine.precompile_module(b"(module)").is_ok());
/// # Ok::<(), wardian::Error>(())
/// ```
pub use wardian_vm::return_freed_memory;

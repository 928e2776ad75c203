//! [`Config`]: everything that can be chosen before an engine exists.
//!
//! What code depends on lives in [`Settings`], which is part of an artifact's key; the rest are
//! choices of this process. Setters only record; [`Config::validate`] is the one place that judges
//! the whole, and `Engine::new` calls it. Every proposal has exactly one `wasm_*` switch (a test
//! compares them with [`Proposal::ALL`]).

use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use wardian_module::{OperatorCost, OptLevel as Effort, Proposal, Proposals, Settings};
use wardian_runtime::HeapConfig;
/// ```
/// use wardian::{Config, Engine, TierUp};
///
/// assert!(Engine::new(Config::new().tier_up(TierUp::Never)).is_ok());
/// ```
pub use wardian_runtime::TierUp;

/// Smallest and largest `max_wasm_stack`, in bytes. Below, no function with spilled values could run;
/// above, no thread has such a stack.
const STACK_RANGE: std::ops::RangeInclusive<usize> = (8 << 10)..=(1 << 30);

/// Largest reservation and guard of one memory, in bytes: an eighth of what x86-64 and AArch64 give
/// a process (47 bits of addresses).
const ADDRESS_SPACE_MAX: u64 = 1 << 44;

/// Choices from which an [`Engine`](crate::Engine) is made.
///
/// ```
/// use wardian::{Config, Engine};
///
/// let mut config = Config::new();
/// config.wasm_relaxed_simd(false).max_wasm_stack(1 << 20);
/// let engine = Engine::new(&config)?;
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) settings: Settings,
    pub(crate) strategy: Strategy,
    pub(crate) tier_up: TierUp,
    pub(crate) lazy_validation: bool,
    pub(crate) max_wasm_stack: usize,
    pub(crate) parallel_compilation: bool,
    pub(crate) artifact_key: ArtifactKey,
    pub(crate) recompile_rejected_artifacts: bool,
    pub(crate) cache: Option<Cache>,
    pub(crate) target_cpu: TargetCpu,
    pub(crate) backtrace_max_frames: Option<NonZeroUsize>,
    pub(crate) backtrace_details: WasmBacktraceDetails,
    pub(crate) coredump_on_trap: bool,
    pub(crate) compiler: bool,
    pub(crate) target: Option<String>,
    pub(crate) module_version: ModuleVersionStrategy,
    pub(crate) regalloc: RegallocAlgorithm,
    pub(crate) allocation: InstanceAllocationStrategy,
    pub(crate) debug_info: bool,
    pub(crate) profiler: ProfilingStrategy,
    pub(crate) heap: HeapConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            settings: Settings::default(),
            strategy: Strategy::Auto,
            tier_up: TierUp::Background,
            lazy_validation: false,
            max_wasm_stack: 512 << 10,
            parallel_compilation: true,
            artifact_key: ArtifactKey::UserFile,
            recompile_rejected_artifacts: false,
            cache: None,
            target_cpu: TargetCpu::Native,
            backtrace_max_frames: NonZeroUsize::new(20),
            backtrace_details: WasmBacktraceDetails::Enable,
            coredump_on_trap: false,
            compiler: true,
            target: None,
            module_version: ModuleVersionStrategy::default(),
            regalloc: RegallocAlgorithm::default(),
            allocation: InstanceAllocationStrategy::default(),
            debug_info: false,
            profiler: ProfilingStrategy::None,
            heap: HeapConfig::default(),
        }
    }
}

/// What an artifact's version is, beside that of this crate, which has to be the same always.
///
/// ```
/// use wardian::ModuleVersionStrategy;
///
/// assert_eq!(ModuleVersionStrategy::Custom("2026-1".into()).as_str(), "2026-1");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum ModuleVersionStrategy {
    /// Nothing.
    #[default]
    WardianVersion,
    /// A text of the embedder's, of at most 255 bytes on one line: artifacts made under another one are
    /// refused.
    Custom(String),
}

impl ModuleVersionStrategy {
    /// The text: the embedder's, or this crate's version.
    pub fn as_str(&self) -> &str {
        match self {
            ModuleVersionStrategy::WardianVersion => env!("CARGO_PKG_VERSION"),
            ModuleVersionStrategy::Custom(text) => text,
        }
    }
}

/// How the optimizing compiler assigns registers.
///
/// ```
/// use wardian::{Config, Engine, RegallocAlgorithm};
///
/// let mut config = Config::new();
/// config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
/// assert!(Engine::new(&config).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum RegallocAlgorithm {
    /// Slowly and well.
    #[default]
    Backtracking,
    /// Fast. Refused by [`Engine::new`](crate::Engine::new): whoever wants to compile fast is served by
    /// [`Strategy::Baseline`].
    SinglePass,
}

/// Where instances get their memories and tables from.
///
/// ```
/// use wardian::{Config, Engine, InstanceAllocationStrategy};
///
/// let mut config = Config::new();
/// config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
/// assert!(Engine::new(&config).is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum InstanceAllocationStrategy {
    /// From the system, when they are made.
    #[default]
    OnDemand,
}

/// Which profiler is told of the code of modules.
///
/// ```
/// use wardian::{Config, Engine, ProfilingStrategy};
///
/// let engine = Engine::new(Config::new().profiler(ProfilingStrategy::PerfMap))?;
/// let file = format!("/tmp/perf-{}.map", std::process::id());
/// assert!(std::fs::exists(&file)?);
/// # std::fs::remove_file(file)?;
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum ProfilingStrategy {
    /// None.
    #[default]
    None,
    /// Linux's `perf`, by the file `/tmp/perf-PID.map`: `perf report` shows names of functions.
    PerfMap,
    /// Linux's `perf`, by the file `jit-PID.dump` in the present folder, which holds the code too:
    /// `perf inject --jit` makes of it what `perf report` and `perf annotate` show. Recordings need
    /// `perf record -k mono`.
    JitDump,
}

/// Whether calls are replaced by the bodies of small functions.
///
/// ```
/// use wardian::{Config, Engine, Inlining};
///
/// let engine = Engine::new(Config::new().compiler_inlining(Inlining::No))?;
/// assert_eq!(engine.get_compiler_inlining(), Inlining::No);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Inlining {
    /// They are, by the optimizing compiler.
    #[default]
    Yes,
    /// They are not.
    No,
}

/// Which compilers make code, and when.
///
/// ```
/// use wardian::{Config, Engine, Strategy};
///
/// let engine = Engine::new(Config::new().strategy(Strategy::Optimizing))?;
/// assert_eq!(engine.get_strategy(), Some(Strategy::Optimizing));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// Whatever serves best: `Tiered`.
    #[default]
    Auto,
    /// Functions are compiled on their first call, fast, and again with the optimizing compiler when
    /// they are hot, while the program runs: see [`Config::tier_up`].
    Tiered,
    /// The optimizing compiler, for every function, before anything runs.
    Optimizing,
    /// Functions are compiled on their first call, fast, and stay as they are.
    Baseline,
    /// The name by which users of other engines know `Optimizing`.
    Cranelift,
}

/// How hard the optimizing compiler tries.
///
/// ```
/// wardian::Config::new().cranelift_opt_level(wardian::OptLevel::SpeedAndSize);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum OptLevel {
    /// Compile fast.
    None,
    /// Make fast code.
    #[default]
    Speed,
    /// Make fast code that is small too.
    SpeedAndSize,
}

/// Whether backtraces give file and line, from debugging information in the module.
///
/// ```
/// use wardian::{Config, WasmBacktraceDetails};
///
/// Config::new().wasm_backtrace_details(WasmBacktraceDetails::Disable);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WasmBacktraceDetails {
    /// They do, if the module has any. It is read when a backtrace is shown, not before.
    Enable,
    /// They do not.
    Disable,
    /// They do if the environment variable `WARDIAN_BACKTRACE_DETAILS` is `1`.
    Environment,
}

/// The processor that code is made for.
///
/// ```
/// use wardian::{Config, Engine, TargetCpu};
///
/// assert_eq!(TargetCpu::from_name("native"), TargetCpu::Native);
/// let unknown = TargetCpu::Named("abacus".into());
/// assert!(Engine::new(Config::new().target_cpu(unknown)).is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum TargetCpu {
    /// This machine's, with everything it has.
    #[default]
    Native,
    /// Any processor of the architecture.
    Baseline,
    /// A processor or level by its name, such as `x86-64-v3` or `skylake`.
    Named(String),
}

impl TargetCpu {
    /// From the names that the command line takes.
    pub fn from_name(name: &str) -> TargetCpu {
        match name {
            "native" => TargetCpu::Native,
            "baseline" => TargetCpu::Baseline,
            name => TargetCpu::Named(name.into()),
        }
    }
}

impl fmt::Display for TargetCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetCpu::Native => "native",
            TargetCpu::Baseline => "baseline",
            TargetCpu::Named(name) => name,
        })
    }
}

/// The secret that vouches for artifacts: who knows it can make code that this engine runs.
///
/// ```
/// use wardian::{ArtifactKey, Config};
///
/// Config::new().artifact_key(ArtifactKey::Bytes([7; 32]));
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub enum ArtifactKey {
    /// A file in the user's data directory, made on first use, that only this user can read.
    #[default]
    UserFile,
    /// A file of 32 bytes. It is refused if others may read or change it.
    File(PathBuf),
    /// The key itself.
    Bytes([u8; 32]),
}

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArtifactKey::UserFile => f.write_str("UserFile"),
            ArtifactKey::File(path) => f.debug_tuple("File").field(path).finish(),
            ArtifactKey::Bytes(_) => f.write_str("Bytes(…)"),
        }
    }
}

impl From<[u8; 32]> for ArtifactKey {
    fn from(key: [u8; 32]) -> ArtifactKey {
        ArtifactKey::Bytes(key)
    }
}

impl From<PathBuf> for ArtifactKey {
    fn from(path: PathBuf) -> ArtifactKey {
        ArtifactKey::File(path)
    }
}

macro_rules! wasm_switches {
    ($($(#[$doc:meta])* $method:ident => $proposal:ident;)*) => {
        impl Config {
            $(
                $(#[$doc])*
                pub fn $method(&mut self, enable: bool) -> &mut Config {
                    self.wasm_proposal(Proposal::$proposal, enable)
                }
            )*
        }

        #[cfg(test)]
        const SWITCHES: &[(&str, Proposal)] = &[$((stringify!($method), Proposal::$proposal)),*];
    };
}

wasm_switches! {
    /// Functions and blocks with several results, blocks with parameters. On by default.
    wasm_multi_value => MultiValue;
    /// `memory.copy`, `table.init` and their kin, passive segments. On by default.
    wasm_bulk_memory => BulkMemory;
    /// `externref`, several tables. On by default.
    wasm_reference_types => ReferenceTypes;
    /// 128-bit vectors. On by default.
    wasm_simd => Simd;
    /// Vector operations whose result may differ by processor; see
    /// [`relaxed_simd_deterministic`](Config::relaxed_simd_deterministic). On by default.
    wasm_relaxed_simd => RelaxedSimd;
    /// Calls that replace their caller. On by default.
    wasm_tail_call => TailCall;
    /// Arithmetic in constant expressions. On by default.
    wasm_extended_const => ExtendedConst;
    /// More than one memory per module. On by default.
    wasm_multi_memory => MultiMemory;
    /// Memories and tables with 64-bit indices. On by default.
    wasm_memory64 => Memory64;
    /// Typed function references. On by default.
    wasm_function_references => FunctionReferences;
    /// Structs, arrays and the collector. On by default. Without it, `wasm_function_references` may be off, too.
    wasm_gc => Gc;
    /// Tags and exceptions. On by default.
    wasm_exceptions => Exceptions;
    /// Exceptions in their first form (`try`, `delegate`), which compilers made for years. Off by default.
    wasm_legacy_exceptions => LegacyExceptions;
    /// Shared memories and atomic instructions. On by default.
    wasm_threads => Threads;
    /// 128-bit addition, subtraction and multiplication. On by default.
    wasm_wide_arithmetic => WideArithmetic;
    /// Memories with pages of one byte. On by default.
    wasm_custom_page_sizes => CustomPageSizes;
    /// Stack switching. Not built yet: switching it on fails at `Engine::new`.
    wasm_stack_switching => StackSwitching;
    /// Functions, tables, globals and objects that threads share. Not built: switching it on fails at `Engine::new`.
    wasm_shared_everything_threads => SharedEverythingThreads;
}

impl Config {
    /// The default choices: every finished proposal, fast code for this machine.
    pub fn new() -> Config {
        Config::default()
    }

    /// Switches a proposal that is named by a value; the `wasm_*` methods name them one by one.
    pub fn wasm_proposal(&mut self, proposal: Proposal, enable: bool) -> &mut Config {
        self.settings.proposals.set(proposal, enable);
        self
    }

    /// Switches on exactly the proposals that this version can run (`enable`), or none of them,
    /// which leaves WebAssembly 1.0.
    pub fn wasm_all_proposals(&mut self, enable: bool) -> &mut Config {
        self.settings.proposals = if enable { Proposals::all_built() } else { Proposals::none() };
        self
    }

    /// Makes relaxed vector operations give the same results on every processor, which costs speed
    /// on some. Off by default.
    pub fn relaxed_simd_deterministic(&mut self, enable: bool) -> &mut Config {
        self.settings.relaxed_simd_deterministic = enable;
        self
    }

    /// Which compilers make code, and when. What [`Module::serialize`](crate::Module::serialize) and
    /// [`Engine::precompile_module`](crate::Engine::precompile_module) give is fully optimized with
    /// every strategy.
    pub fn strategy(&mut self, strategy: Strategy) -> &mut Config {
        self.strategy = strategy;
        self
    }

    /// Who compiles hot functions with [`Strategy::Tiered`]. [`TierUp::Background`] by default.
    pub fn tier_up(&mut self, tier_up: TierUp) -> &mut Config {
        self.tier_up = tier_up;
        self
    }

    /// Whether function bodies are validated when they are first called, instead of all before anything
    /// runs; a call of an invalid one ends in [`Trap::InvalidFunction`](crate::Trap). Needs a strategy
    /// that compiles functions on their first call. Off by default: the specification wants modules
    /// to be valid as a whole.
    pub fn lazy_validation(&mut self, enable: bool) -> &mut Config {
        self.lazy_validation = enable;
        self
    }

    /// Whether functions are compiled on their first call.
    pub(crate) fn is_lazy(&self) -> bool {
        match self.strategy {
            Strategy::Auto | Strategy::Tiered | Strategy::Baseline => true,
            Strategy::Optimizing | Strategy::Cranelift => false,
        }
    }

    /// Whether faults of the processor may detect traps. Without, every check is explicit code, no
    /// signal handler is installed, and memory accesses cost more. On by default.
    pub fn signals_based_traps(&mut self, enable: bool) -> &mut Config {
        self.settings.signals_based_traps = enable;
        self
    }

    /// Address space reserved for each memory, in bytes; rounded up to wasm pages. At 4 GiB or more
    /// (the default is 4 GiB) accesses with a 32-bit index need no check.
    pub fn memory_reservation(&mut self, bytes: u64) -> &mut Config {
        self.settings.memory_reservation = bytes;
        self
    }

    /// Inaccessible address space after the reservation, in bytes; rounded up to wasm pages. Accesses
    /// with a constant offset up to this size need no check of it. 32 MiB by default.
    pub fn memory_guard_size(&mut self, bytes: u64) -> &mut Config {
        self.settings.memory_guard_size = bytes;
        self
    }

    /// Whether as much inaccessible address space lies before each memory as behind its reservation. Nothing
    /// that a guest can do reaches there: it would stop code that a compiler had made wrong. Off by
    /// default.
    ///
    /// ```
    /// use wardian::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::new().guard_before_linear_memory(true))?;
    /// assert!(engine.get_guard_before_linear_memory());
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn guard_before_linear_memory(&mut self, enable: bool) -> &mut Config {
        self.settings.guard_before_linear_memory = enable;
        self
    }

    /// Whether a memory that outgrows its reservation is moved; if not, growth past the reservation
    /// fails. On by default.
    pub fn memory_may_move(&mut self, enable: bool) -> &mut Config {
        self.settings.memory_may_move = enable;
        self
    }

    /// Address space that a memory gets beyond its length when it has moved, in bytes, so that it need not
    /// move again soon. Half of its length by default.
    pub fn memory_reservation_for_growth(&mut self, bytes: u64) -> &mut Config {
        self.settings.memory_reservation_for_growth = Some(bytes);
        self
    }

    /// Whether instances of a module share what their memories begin with, page by page, until they write
    /// to it. Nobody can tell but by time and memory. On by default.
    pub fn memory_init_cow(&mut self, enable: bool) -> &mut Config {
        self.settings.memory_init_cow = enable;
        self
    }

    /// What the heap of a store, in which structs, arrays and references to host values lie, may grow to, in
    /// bytes: 8 MiB to 4 GiB, which is also the default. All of it is address space until it is used.
    pub fn gc_heap_reservation(&mut self, bytes: u64) -> &mut Config {
        self.heap.reservation = bytes;
        self
    }

    /// What the heap of a store asks its limiter for at first, in bytes. Little by default.
    pub fn gc_heap_initial_size(&mut self, bytes: u64) -> &mut Config {
        self.heap.initial_bytes = bytes;
        self
    }

    /// Bytes of the part of the heap in which new objects begin, at most: 32 KiB to 256 MiB, 4 MiB by
    /// default. What is reached when it is full is moved out of it.
    pub fn gc_nursery_size(&mut self, bytes: u32) -> &mut Config {
        self.heap.nursery_bytes = bytes;
        self
    }

    /// Collects at each allocation of so many, to find mistakes: 1 is every one. None by default.
    ///
    /// # Errors
    ///
    /// None: nothing makes it fail.
    pub fn gc_zeal_alloc_counter(&mut self, counter: Option<NonZeroU32>) -> Result<&mut Config> {
        self.heap.zeal = counter;
        Ok(self)
    }

    /// Whether checked accesses to memories and tables are masked, so that a processor that guesses
    /// wrong reads nothing outside of them. On by default.
    pub fn spectre_mitigation(&mut self, enable: bool) -> &mut Config {
        self.settings.spectre_mitigation = enable;
        self
    }

    /// Stack that wasm code may use, in bytes, from the outermost call on: 8 KiB to 1 GiB, 512 KiB by
    /// default. A thread with a smaller stack gives less; overflow is a trap either way.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Config {
        self.max_wasm_stack = bytes;
        self
    }

    /// Whether guests can be interrupted by [`Engine::increment_epoch`](crate::Engine::increment_epoch):
    /// code compares the engine's epoch with its store's deadline on entry to functions and in loops.
    /// A store's deadline is its first epoch, so that guests trap at once, until
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline) moves it. Off by default.
    ///
    /// ```
    /// use wardian::{Config, Engine, Instance, Module, Store, Trap};
    ///
    /// let engine = Engine::new(Config::new().epoch_interruption(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "spin") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_epoch_deadline(1);
    /// let spin = Instance::new(&mut store, &module, &[])?
    ///     .get_typed_func::<(), ()>(&mut store, "spin")?;
    /// let timer = engine.clone();
    /// std::thread::spawn(move || timer.increment_epoch());
    /// let error = spin.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn epoch_interruption(&mut self, enable: bool) -> &mut Config {
        self.settings.epoch_interruption = enable;
        self
    }

    /// Whether guests pay for what they do from their store's fuel, and trap when it is used up. A store
    /// has none until [`Store::set_fuel`](crate::Store::set_fuel) gives it some. Off by default.
    ///
    /// An instruction costs 1; `nop`, `drop`, `block`, `loop`, `unreachable`, `return`, `else` and `end`
    /// cost nothing; instructions on ranges of memories and tables cost 1 more for each byte or element,
    /// `memory.grow` for each page. What is paid is the same for every strategy, processor and choice of
    /// checks, after a trap too.
    ///
    /// ```
    /// use wardian::{Config, Engine, Instance, Module, Store, Trap};
    ///
    /// let engine = Engine::new(Config::new().consume_fuel(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "spin") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_fuel(1_000)?;
    /// let spin = Instance::new(&mut store, &module, &[])?
    ///     .get_typed_func::<(), ()>(&mut store, "spin")?;
    /// let error = spin.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    /// assert_eq!(store.get_fuel()?, 0);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn consume_fuel(&mut self, enable: bool) -> &mut Config {
        self.settings.consume_fuel = enable;
        self
    }

    /// What instructions cost in fuel, where it is consumed: by itself, and by the size of what they do. As
    /// [`consume_fuel`](Config::consume_fuel) says by default.
    ///
    /// ```
    /// use wardian::{Config, Engine, Instance, Module, OperatorCost, Store, VariableOperatorCost};
    ///
    /// let mut cost = OperatorCost { I32DivU: 20, LocalGet: 0, ..OperatorCost::new() };
    /// cost.variable = VariableOperatorCost { memory_fill_per_byte: 3, ..cost.variable };
    /// let engine = Engine::new(Config::new().consume_fuel(true).operator_cost(cost))?;
    /// let module = Module::new(&engine, r#"(module (memory 1)
    ///     (func (export "half") (param i32) (result i32)
    ///         (memory.fill (i32.const 0) (i32.const 0) (i32.const 10))
    ///         (i32.div_u (local.get 0) (i32.const 2))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_fuel(100)?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let half = instance.get_typed_func::<u32, u32>(&mut store, "half")?;
    /// assert_eq!(half.call(&mut store, 9)?, 4);
    /// // Four constants, a fill of ten bytes, a division.
    /// assert_eq!(store.get_fuel()?, 100 - 4 - (1 + 30) - 20);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn operator_cost(&mut self, cost: OperatorCost) -> &mut Config {
        self.settings.operator_cost = Arc::new(cost);
        self
    }

    /// How hard the optimizing compiler tries. [`OptLevel::Speed`] by default.
    pub fn cranelift_opt_level(&mut self, level: OptLevel) -> &mut Config {
        self.settings.opt_level = match level {
            OptLevel::None => Effort::None,
            OptLevel::Speed => Effort::Speed,
            OptLevel::SpeedAndSize => Effort::SpeedAndSize,
        };
        self
    }

    /// How the optimizing compiler assigns registers. [`RegallocAlgorithm::Backtracking`] by default, and
    /// the only one there is.
    pub fn cranelift_regalloc_algorithm(&mut self, algorithm: RegallocAlgorithm) -> &mut Config {
        self.regalloc = algorithm;
        self
    }

    /// Whether the optimizing compiler replaces calls by the bodies of small functions. Backtraces are
    /// the same either way. [`Inlining::Yes`] by default.
    pub fn compiler_inlining(&mut self, inlining: Inlining) -> &mut Config {
        self.settings.inlining = inlining == Inlining::Yes;
        self
    }

    /// Where instances get their memories and tables from. [`InstanceAllocationStrategy::OnDemand`] by
    /// default, and the only one there is.
    pub fn allocation_strategy(
        &mut self,
        strategy: impl Into<InstanceAllocationStrategy>,
    ) -> &mut Config {
        self.allocation = strategy.into();
        self
    }

    /// Whether the engine may compile. Without, it only loads artifacts. On by default; a build without
    /// compilers (cargo feature `cranelift`) never compiles.
    pub fn enable_compiler(&mut self, enable: bool) -> &mut Config {
        self.compiler = enable;
        self
    }

    /// The machine that code is made for, by its target triple. Code for any processor of that
    /// architecture is made then, unless [`target_cpu`](Config::target_cpu) is called after it.
    ///
    /// # Errors
    ///
    /// When it is another machine than this one: this version makes code for no other.
    pub fn target(&mut self, target: &str) -> Result<&mut Config> {
        let mut parts = target.splitn(2, '-');
        let architecture = parts.next().unwrap_or_default();
        let is_os = |part: &str| part.split('-').any(|word| word == std::env::consts::OS);
        if architecture != std::env::consts::ARCH || !parts.next().is_some_and(is_os) {
            let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
            return Err(refused(format!(
                "target `{target}`: this version makes code for {arch} under {os} only"
            )));
        }
        self.target = Some(target.into());
        self.target_cpu = TargetCpu::Baseline;
        Ok(self)
    }

    /// A version that artifacts are made under and must have, beside this crate's own.
    ///
    /// # Errors
    ///
    /// When the text is longer than 255 bytes or has control characters.
    pub fn module_version(&mut self, strategy: ModuleVersionStrategy) -> Result<&mut Config> {
        let text = strategy.as_str();
        if text.len() > 255 || text.chars().any(char::is_control) {
            return Err(refused(
                "a module version is a text of at most 255 bytes without control characters".into(),
            ));
        }
        self.module_version = strategy;
        Ok(self)
    }

    /// Whether every NaN that an operation makes is the canonical one, so that results are the same
    /// on every machine. Off by default.
    pub fn cranelift_nan_canonicalization(&mut self, enable: bool) -> &mut Config {
        self.settings.nan_canonicalization = enable;
        self
    }

    /// Whether the optimizing compiler checks its own intermediate code. On by default in debug
    /// builds.
    pub fn cranelift_debug_verifier(&mut self, enable: bool) -> &mut Config {
        self.settings.verifier = enable;
        self
    }

    /// Whether functions of a module are compiled on several threads. On by default.
    pub fn parallel_compilation(&mut self, enable: bool) -> &mut Config {
        self.parallel_compilation = enable;
        self
    }

    /// The processor that code is made for. An artifact made for one runs on every machine that has
    /// its features. [`TargetCpu::Native`] by default.
    pub fn target_cpu(&mut self, cpu: TargetCpu) -> &mut Config {
        self.target_cpu = cpu;
        self
    }

    /// The key that artifacts are authenticated with: made under one, an artifact is refused under
    /// another. By default a file of the user's.
    ///
    /// ```
    /// # let mut config = wardian::Config::new();
    /// config.artifact_key([7; 32]);
    /// ```
    pub fn artifact_key(&mut self, key: impl Into<ArtifactKey>) -> &mut Config {
        self.artifact_key = key.into();
        self
    }

    /// What happens to an artifact that is signed rightly but made by another version, for other
    /// settings or for another processor, or not signed rightly: it is refused, or (`enable`) the
    /// wasm in it is compiled anew. Off by default.
    pub fn recompile_rejected_artifacts(&mut self, enable: bool) -> &mut Config {
        self.recompile_rejected_artifacts = enable;
        self
    }

    /// Where compiled code is kept, so that the next start of a module finds it; `None`, the default,
    /// keeps none. With a strategy that compiles ahead of time all code of a module is kept; with
    /// [`Strategy::Tiered`] the functions that ran, optimized as far as they became hot, whenever some
    /// such code has gathered and when the module is dropped. Entries are authenticated with [`artifact_key`](Config::artifact_key); one
    /// that is damaged, foreign or made for something else is as if it were not there.
    ///
    /// ```
    /// use wardian::{Cache, CacheConfig, Config};
    ///
    /// # let folder = std::env::temp_dir();
    /// let mut config = Config::new();
    /// config.cache(Some(Cache::new(CacheConfig::new().with_directory(folder.join("code")))?));
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn cache(&mut self, cache: Option<Cache>) -> &mut Config {
        self.cache = cache;
        self
    }

    /// Whether traps come with a [`WasmBacktrace`](crate::WasmBacktrace). On by default.
    pub fn wasm_backtrace(&mut self, enable: bool) -> &mut Config {
        let frames = Config::default().backtrace_max_frames;
        self.backtrace_max_frames =
            if enable { self.backtrace_max_frames.or(frames) } else { None };
        self
    }

    /// How many frames a backtrace holds, innermost first; `None` makes no backtraces. 20 by default.
    pub fn wasm_backtrace_max_frames(&mut self, limit: Option<NonZeroUsize>) -> &mut Config {
        self.backtrace_max_frames = limit;
        self
    }

    /// Whether backtraces give file and line. [`WasmBacktraceDetails::Enable`] by default.
    pub fn wasm_backtrace_details(&mut self, details: WasmBacktraceDetails) -> &mut Config {
        self.backtrace_details = details;
        self
    }

    /// Whether errors of traps carry a [`WasmCoreDump`](crate::WasmCoreDump). Off by default. A dump is a few
    /// words for each object of the store until it is written; as a layer of the error, it keeps the store's
    /// modules.
    pub fn coredump_on_trap(&mut self, enable: bool) -> &mut Config {
        self.coredump_on_trap = enable;
        self
    }

    /// Whether debuggers (gdb, LLDB) are told of the code of modules: they show its functions by name, in
    /// backtraces too, and stop in them. Code takes more memory then. Off by default.
    ///
    /// At most one engine library of a process may offer its code to debuggers: their interface has no
    /// lock that several know.
    ///
    /// ```
    /// use wardian::{Config, Engine};
    ///
    /// assert!(Engine::new(Config::new().debug_info(true))?.get_debug_info());
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn debug_info(&mut self, enable: bool) -> &mut Config {
        self.debug_info = enable;
        self
    }

    /// Which profiler is told of the code of modules. [`ProfilingStrategy::None`] by default.
    pub fn profiler(&mut self, profiler: ProfilingStrategy) -> &mut Config {
        self.profiler = profiler;
        self
    }

    /// Every choice by its name, as text: for logs and bug reports.
    ///
    /// ```
    /// let entries = wardian::Config::new().entries();
    /// assert!(entries.iter().any(|(name, value)| name == "wasm_simd" && value == "true"));
    /// ```
    pub fn entries(&self) -> Vec<(String, String)> {
        let Config {
            settings,
            strategy,
            tier_up,
            lazy_validation,
            max_wasm_stack,
            parallel_compilation,
            artifact_key,
            recompile_rejected_artifacts,
            cache,
            target_cpu,
            backtrace_max_frames,
            backtrace_details,
            coredump_on_trap,
            compiler,
            target,
            module_version,
            regalloc,
            allocation,
            debug_info,
            profiler,
            heap,
        } = self;
        let HeapConfig { reservation, initial_bytes, nursery_bytes, aging: _, zeal } = heap;
        let Settings {
            proposals,
            signals_based_traps,
            memory_reservation,
            memory_guard_size,
            guard_before_linear_memory,
            memory_may_move,
            memory_reservation_for_growth,
            memory_init_cow,
            spectre_mitigation,
            relaxed_simd_deterministic,
            nan_canonicalization,
            inlining,
            epoch_interruption,
            consume_fuel,
            operator_cost,
            opt_level,
            verifier,
        } = settings;
        let cache = cache.as_ref().map(Cache::directory);
        let rest: &[(&str, &dyn fmt::Debug)] = &[
            ("signals_based_traps", signals_based_traps),
            ("memory_reservation", memory_reservation),
            ("memory_guard_size", memory_guard_size),
            ("guard_before_linear_memory", guard_before_linear_memory),
            ("memory_may_move", memory_may_move),
            ("memory_reservation_for_growth", memory_reservation_for_growth),
            ("memory_init_cow", memory_init_cow),
            ("allocation_strategy", allocation),
            ("max_wasm_stack", max_wasm_stack),
            ("spectre_mitigation", spectre_mitigation),
            ("relaxed_simd_deterministic", relaxed_simd_deterministic),
            ("epoch_interruption", epoch_interruption),
            ("consume_fuel", consume_fuel),
            ("operator_cost", &operator_cost.differences()),
            ("strategy", strategy),
            ("tier_up", tier_up),
            ("lazy_validation", lazy_validation),
            ("cranelift_opt_level", opt_level),
            ("cranelift_regalloc_algorithm", regalloc),
            ("compiler_inlining", inlining),
            ("cranelift_nan_canonicalization", nan_canonicalization),
            ("cranelift_debug_verifier", verifier),
            ("parallel_compilation", parallel_compilation),
            ("target_cpu", target_cpu),
            ("target", target),
            ("enable_compiler", compiler),
            ("module_version", module_version),
            ("artifact_key", artifact_key),
            ("recompile_rejected_artifacts", recompile_rejected_artifacts),
            ("cache", &cache),
            ("wasm_backtrace_max_frames", backtrace_max_frames),
            ("wasm_backtrace_details", backtrace_details),
            ("coredump_on_trap", coredump_on_trap),
            ("debug_info", debug_info),
            ("profiler", profiler),
            ("gc_heap_reservation", reservation),
            ("gc_heap_initial_size", initial_bytes),
            ("gc_nursery_size", nursery_bytes),
            ("gc_zeal_alloc_counter", zeal),
        ];
        let proposals =
            Proposal::ALL.iter().map(|&p| (switch(p), proposals.contains(p).to_string()));
        let rest = rest.iter().map(|(name, value)| ((*name).into(), format!("{value:?}")));
        proposals.chain(rest).collect()
    }

    /// Whether these choices fit together and can be met by this version.
    pub(crate) fn validate(&self) -> Result<()> {
        let proposals = self.settings.proposals;
        for &proposal in Proposal::ALL {
            if proposals.contains(proposal) && !proposal.built() {
                return Err(refused(format!(
                    "the {} proposal is not supported by this version: leave `Config::{}` off",
                    proposal.flag(),
                    switch(proposal)
                )));
            }
        }
        for (proposal, needed) in NEEDS {
            if proposals.contains(*proposal) && !proposals.contains(*needed) {
                return Err(refused(format!(
                    "the {} proposal needs {}: switch `Config::{}` off too",
                    proposal.flag(),
                    needed.flag(),
                    switch(*proposal)
                )));
            }
        }
        if self.lazy_validation && !self.is_lazy() {
            return Err(refused(
                "`lazy_validation` needs `Strategy::Tiered` or `Strategy::Baseline`: others compile \
                 every function at once"
                    .into(),
            ));
        }
        if self.regalloc == RegallocAlgorithm::SinglePass {
            return Err(refused(
                "`RegallocAlgorithm::SinglePass` is not supported: `Strategy::Baseline` compiles fast"
                    .into(),
            ));
        }
        for (name, value, range) in [
            ("gc_heap_reservation", self.heap.reservation, 8 << 20..=1 << 32),
            ("gc_heap_initial_size", self.heap.initial_bytes, 0..=self.heap.reservation),
            ("gc_nursery_size", self.heap.nursery_bytes.into(), 32 << 10..=256 << 20),
        ] {
            if !range.contains(&value) {
                let (start, end) = range.into_inner();
                return Err(refused(format!(
                    "`{name}` must be {start} to {end} bytes, found {value}"
                )));
            }
        }
        if !STACK_RANGE.contains(&self.max_wasm_stack) {
            return Err(refused(format!(
                "`max_wasm_stack` must be {} to {} bytes, found {}",
                STACK_RANGE.start(),
                STACK_RANGE.end(),
                self.max_wasm_stack
            )));
        }
        for (name, bytes) in [
            ("memory_reservation", self.settings.memory_reservation),
            ("memory_guard_size", self.settings.memory_guard_size),
        ] {
            if bytes > ADDRESS_SPACE_MAX {
                return Err(refused(format!(
                    "`{name}` must be at most {ADDRESS_SPACE_MAX} bytes, found {bytes}"
                )));
            }
        }
        Ok(())
    }
}

/// Proposals that make no sense without another: (one, what it needs).
const NEEDS: &[(Proposal, Proposal)] = &[
    (Proposal::RelaxedSimd, Proposal::Simd),
    (Proposal::ReferenceTypes, Proposal::BulkMemory),
    (Proposal::FunctionReferences, Proposal::ReferenceTypes),
    (Proposal::Gc, Proposal::FunctionReferences),
    (Proposal::Threads, Proposal::BulkMemory),
    (Proposal::StackSwitching, Proposal::FunctionReferences),
    (Proposal::SharedEverythingThreads, Proposal::Threads),
];

fn switch(proposal: Proposal) -> String {
    format!("wasm_{}", proposal.flag().replace('-', "_"))
}

fn refused(message: String) -> Error {
    Error::tagged(ErrorKind::Misuse, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proposal_has_its_switch() {
        let expected: Vec<_> = Proposal::ALL.iter().map(|&p| (switch(p), p)).collect();
        let found: Vec<_> = SWITCHES.iter().map(|&(name, p)| (name.to_string(), p)).collect();
        assert_eq!(expected, found);
    }

    #[test]
    fn consistency() {
        let check = |change: fn(&mut Config) -> &mut Config, expected: Option<&str>| {
            let mut config = Config::new();
            change(&mut config);
            let found = config.validate().err().map(|error| {
                assert_eq!(error.kind(), ErrorKind::Misuse);
                error.to_string()
            });
            match (found, expected) {
                (None, None) => {}
                (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("expected {expected:?}, found {found:?}"),
            }
        };
        check(|c| c, None);
        check(|c| c.wasm_all_proposals(true), None);
        check(|c| c.wasm_all_proposals(false), None);
        check(|c| c.wasm_threads(false), None);
        check(|c| c.wasm_threads(true), None);
        check(|c| c.wasm_simd(false), Some("`Config::wasm_relaxed_simd` off"));
        check(|c| c.wasm_simd(false).wasm_relaxed_simd(false), None);
        check(|c| c.max_wasm_stack(0), Some("found 0"));
        check(|c| c.memory_reservation(u64::MAX), Some("memory_reservation"));
        check(|c| c.memory_reservation(0).memory_guard_size(0), None);
        check(|c| c.lazy_validation(true), None);
        check(
            |c| c.lazy_validation(true).strategy(Strategy::Optimizing),
            Some("needs `Strategy::Tiered`"),
        );
        check(|c| c.lazy_validation(true).strategy(Strategy::Baseline), None);
    }

    #[test]
    fn a_key_stays_out_of_debug_output() {
        let mut config = Config::new();
        config.artifact_key([0xab; 32]);
        let text = format!("{config:?} {:?}", config.entries());
        assert!(!text.contains("171") && !text.contains("ab, "), "{text}");
    }

    #[test]
    fn backtraces_on_and_off() {
        let mut config = Config::new();
        assert_eq!(config.wasm_backtrace(false).backtrace_max_frames, None);
        assert_eq!(config.wasm_backtrace(true).backtrace_max_frames, NonZeroUsize::new(20));
        config.wasm_backtrace_max_frames(NonZeroUsize::new(3)).wasm_backtrace(true);
        assert_eq!(config.backtrace_max_frames, NonZeroUsize::new(3));
    }
}

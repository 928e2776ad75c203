//! Settings that code depends on: proposals, memory plan, checks, optimization.
//!
//! Everything here is part of an artifact's key: code compiled under one value never runs under
//! another. Developer-facing names and defaults stand here and nowhere else.

use crate::cost::OperatorCost;
use crate::types::{IndexType, MemoryType};
use std::sync::Arc;
use wasmparser::WasmFeatures;

macro_rules! define_proposals {
    ($($(#[$doc:meta])* $name:ident, $flag:literal, $default:literal, $built:literal, [$($bit:ident)|*];)*) => {
        /// A WebAssembly proposal that can be switched.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Proposal {
            $($(#[$doc])* $name,)*
        }

        impl Proposal {
            /// Every proposal.
            pub const ALL: &'static [Proposal] = &[$(Proposal::$name),*];

            /// The name used by command-line switches (`-W NAME=y`) and, with `-` as `_`, by
            /// `Config::wasm_NAME`.
            pub const fn flag(self) -> &'static str {
                match self { $(Proposal::$name => $flag,)* }
            }

            /// Whether it is on unless switched off.
            pub const fn default_on(self) -> bool {
                match self { $(Proposal::$name => $default,)* }
            }

            /// Whether this version can run it. A proposal that is not built is refused by name.
            pub const fn built(self) -> bool {
                match self { $(Proposal::$name => $built,)* }
            }

            /// The validator's switches for it.
            pub const fn features(self) -> WasmFeatures {
                match self { $(Proposal::$name => WasmFeatures::empty()$(.union(WasmFeatures::$bit))*,)* }
            }
        }
    };
}

define_proposals! {
    /// Multiple results, block parameters.
    MultiValue, "multi-value", true, true, [MULTI_VALUE];
    /// `memory.copy` and its kin, passive segments.
    BulkMemory, "bulk-memory", true, true, [BULK_MEMORY];
    /// `externref`, several tables.
    ReferenceTypes, "reference-types", true, true, [REFERENCE_TYPES];
    /// 128-bit vectors.
    Simd, "simd", true, true, [SIMD];
    /// Vector operations whose result may differ by processor.
    RelaxedSimd, "relaxed-simd", true, true, [RELAXED_SIMD];
    /// `return_call`.
    TailCall, "tail-call", true, true, [TAIL_CALL];
    /// Arithmetic in constant expressions.
    ExtendedConst, "extended-const", true, true, [EXTENDED_CONST];
    /// Several memories.
    MultiMemory, "multi-memory", true, true, [MULTI_MEMORY];
    /// 64-bit memories and tables.
    Memory64, "memory64", true, true, [MEMORY64];
    /// `(ref $t)`, `call_ref`, `br_on_null`.
    FunctionReferences, "function-references", true, true, [FUNCTION_REFERENCES];
    /// Structs and arrays.
    Gc, "gc", true, true, [GC];
    /// Tags and exceptions.
    Exceptions, "exceptions", true, true, [EXCEPTIONS];
    /// Exceptions in their first form.
    LegacyExceptions, "legacy-exceptions", false, true, [LEGACY_EXCEPTIONS];
    /// Shared memories and atomics.
    Threads, "threads", true, true, [THREADS];
    /// 128-bit addition and multiplication.
    WideArithmetic, "wide-arithmetic", true, true, [WIDE_ARITHMETIC];
    /// Memories with pages of one byte.
    CustomPageSizes, "custom-page-sizes", true, true, [CUSTOM_PAGE_SIZES];
    /// Stack switching.
    StackSwitching, "stack-switching", false, false, [STACK_SWITCHING];
    /// Functions, tables, globals and objects that threads share.
    SharedEverythingThreads, "shared-everything-threads", false, false, [SHARED_EVERYTHING_THREADS];
}

/// A set of proposals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Proposals(u64);

impl Default for Proposals {
    fn default() -> Self {
        let mut set = Proposals(0);
        Proposal::ALL.iter().for_each(|&p| set.set(p, p.default_on()));
        set
    }
}

impl Proposals {
    /// Every proposal that this version can run.
    pub fn all_built() -> Proposals {
        let mut set = Proposals(0);
        Proposal::ALL.iter().for_each(|&p| set.set(p, p.built()));
        set
    }

    /// No proposal: WebAssembly 1.0 with mutable globals, sign extension and saturating conversions,
    /// which cannot be switched off.
    pub fn none() -> Proposals {
        Proposals(0)
    }

    /// Switches `proposal`.
    pub fn set(&mut self, proposal: Proposal, on: bool) {
        let bit = 1 << proposal as u64;
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }

    /// Whether `proposal` is on.
    pub fn contains(self, proposal: Proposal) -> bool {
        self.0 & (1 << proposal as u64) != 0
    }

    /// As bits, for keys.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// What the validator accepts.
    pub fn features(self) -> WasmFeatures {
        let base = WasmFeatures::WASM1
            .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
            .union(WasmFeatures::SIGN_EXTENSION);
        Proposal::ALL
            .iter()
            .filter(|&&p| self.contains(p))
            .fold(base, |features, p| features.union(p.features()))
    }
}

/// How hard the optimizing tier tries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OptLevel {
    /// Fast compilation.
    None,
    /// Fast code.
    #[default]
    Speed,
    /// Fast and small code.
    SpeedAndSize,
}

/// Everything that changes what code a tier makes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// Proposals that modules may use.
    pub proposals: Proposals,
    /// Whether faults of the processor may be used to detect traps. Without, every check is explicit.
    pub signals_based_traps: bool,
    /// Address space reserved for each memory, in bytes.
    pub memory_reservation: u64,
    /// Inaccessible address space after the reservation, in bytes.
    pub memory_guard_size: u64,
    /// Whether as much lies before the memory. Code does not depend on it: right code goes nowhere near.
    pub guard_before_linear_memory: bool,
    /// Whether a memory may move when it outgrows its reservation.
    pub memory_may_move: bool,
    /// Address space that a memory gets beyond its length when it has moved, in bytes; `None`: half of its
    /// length. Code does not depend on it.
    pub memory_reservation_for_growth: Option<u64>,
    /// Whether instances of a module share what their memories begin with until they write to it. Code
    /// does not depend on it.
    pub memory_init_cow: bool,
    /// Whether explicitly checked accesses are masked against speculation.
    pub spectre_mitigation: bool,
    /// Whether relaxed vector operations give the same results on every processor.
    pub relaxed_simd_deterministic: bool,
    /// Whether NaN results are made canonical.
    pub nan_canonicalization: bool,
    /// Whether the optimizing tier replaces calls by the bodies of small functions.
    pub inlining: bool,
    /// Whether code asks, where `lower::metering` says, if the store's epoch deadline has come.
    pub epoch_interruption: bool,
    /// Whether code pays for its instructions from the store's fuel, as `lower::metering` says.
    pub consume_fuel: bool,
    /// What instructions cost in fuel.
    pub operator_cost: Arc<OperatorCost>,
    /// Effort of the optimizing tier.
    pub opt_level: OptLevel,
    /// Whether the optimizing tier verifies its intermediate code.
    pub verifier: bool,
}

impl Settings {
    /// Whether code asks for the epoch when it has gone on for some time, by NOTE \[fuel register\] of `layout`.
    /// Where that holds fuel, it asks each time.
    pub fn counts_turns(&self) -> bool {
        self.epoch_interruption && !self.consume_fuel
    }

    /// Whether code keeps NOTE \[fuel register\] of `layout`.
    pub fn keeps_spent(&self) -> bool {
        self.epoch_interruption || self.consume_fuel
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            proposals: Proposals::default(),
            signals_based_traps: true,
            memory_reservation: 4 << 30,
            memory_guard_size: 32 << 20,
            guard_before_linear_memory: false,
            memory_may_move: true,
            memory_reservation_for_growth: None,
            memory_init_cow: true,
            spectre_mitigation: true,
            relaxed_simd_deterministic: false,
            nan_canonicalization: false,
            inlining: true,
            epoch_interruption: false,
            consume_fuel: false,
            operator_cost: OperatorCost::shared(),
            opt_level: OptLevel::Speed,
            verifier: cfg!(debug_assertions),
        }
    }
}

/// How accesses to one memory are checked; the same answer for compilers and for the allocator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryPlan {
    /// Bytes of address space to reserve, a multiple of the host page size.
    pub reservation: u64,
    /// Inaccessible bytes after it.
    pub guard: u64,
    /// Inaccessible bytes before it.
    pub guard_before: u64,
    /// Whether base may change on growth.
    pub may_move: bool,
    /// Bytes to reserve beyond the length when it moves; `None`: half of the length.
    pub growth: Option<u64>,
    /// Whether an access at `index + offset` with a 32-bit index needs no check as long as
    /// `offset + size` is at most `guard`: the reservation covers every 32-bit index.
    pub guarded: bool,
    /// Whether such an access stays in the reservation and its guard even where a check of it is not
    /// obeyed, as when the processor speculates.
    pub confined: bool,
}

impl MemoryPlan {
    /// The plan of a memory of type `ty` under `settings`.
    pub fn new(settings: &Settings, ty: &MemoryType) -> MemoryPlan {
        let page = 1 << 16;
        let round =
            |bytes: u64| bytes.checked_next_multiple_of(page).unwrap_or(u64::MAX - (page - 1));
        let guard = round(settings.memory_guard_size);
        // What follows is the same for all types that a memory can be imported as: limits say nothing.
        let confined = ty.index == IndexType::I32 && round(settings.memory_reservation) >= 1 << 32;
        let reservation = match ty.shared {
            // It never moves, so there has to be room for all that it may become.
            true => {
                let most = u64::try_from(ty.maximum_bytes()).unwrap_or(u64::MAX);
                round(settings.memory_reservation).max(round(most))
            }
            false => round(settings.memory_reservation),
        };
        let guarded = settings.signals_based_traps
            && confined
            && guard > 0
            // Protection works by host pages: a smaller page could end in the middle of one.
            && ty.page_size_log2 >= 16;
        // A memory whose limit lies inside the reservation never needs to move.
        let fits = ty.maximum_bytes() <= u128::from(reservation);
        MemoryPlan {
            reservation,
            guard,
            guard_before: if settings.guard_before_linear_memory { guard } else { 0 },
            may_move: settings.memory_may_move && !guarded && !fits,
            growth: settings.memory_reservation_for_growth,
            guarded,
            confined,
        }
    }
}

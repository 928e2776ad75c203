//! What was compiled or loaded, and what it cost: counted where it happens, for a module and for its engine.

use crate::log;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use wardian_lower::Shape;
use wardian_module::FuncIndex;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => {
        /// Sums of what compilers did.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: $ty,)*
            /// What functions of the first, fast tier and their code look like.
            pub baseline_shape: CodeShape,
            /// The same of the optimizing tier, without replacements of loops.
            pub optimized_shape: CodeShape,
        }

        #[derive(Debug, Default)]
        struct Sums {
            $($name: AtomicU64,)*
            baseline_shape: ShapeSums,
            optimized_shape: ShapeSums,
        }

        impl Sums {
            fn read(&self) -> Stats {
                Stats {
                    $($name: self.$name.load(Relaxed).read(),)*
                    baseline_shape: self.baseline_shape.read(),
                    optimized_shape: self.optimized_shape.read(),
                }
            }
        }
    };
}

macro_rules! shape {
    ($($(#[$doc:meta])* $add:ident $name:ident = $of:ident;)*) => {
        /// What functions and their code look like: sums over functions, and for some the largest. What is
        /// inlined counts where it is inlined.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        #[non_exhaustive]
        pub struct CodeShape {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        struct ShapeSums {
            $($name: AtomicU64,)*
        }

        impl ShapeSums {
            fn read(&self) -> CodeShape {
                CodeShape { $($name: self.$name.load(Relaxed),)* }
            }

            fn add(&self, shape: &Shape) {
                // Most are zero for most functions.
                $(if shape.$of > 0 {
                    self.$name.$add(u64::from(shape.$of), Relaxed);
                })*
            }
        }

        impl From<Shape> for CodeShape {
            fn from(shape: Shape) -> CodeShape {
                CodeShape { $($name: u64::from(shape.$of),)* }
            }
        }
    };
}

shape! {
    /// Blocks, those of `if` and `loop` included.
    fetch_add blocks = blocks;
    /// Loops.
    fetch_add loops = loops;
    /// Labels that branches go to, each as often as it is named.
    fetch_add branches = branches;
    /// Calls of functions, of any kind.
    fetch_add calls = calls;
    /// Calls whose place a body took.
    fetch_add inlined_calls = inlined_calls;
    /// Operands and locals that were stored to the frame; not known of the optimizing tier.
    fetch_add spills = spills;
    /// Operands and locals that were loaded from it into registers; not known of the optimizing tier.
    fetch_add reloads = reloads;
    /// Bytes of frames: what a call takes of the stack.
    fetch_add frame_bytes = frame_bytes;
    /// Bytes of the largest frame.
    fetch_max largest_frame = frame_bytes;
    /// Most operands on the stack of a function. The first tier counts a vector twice.
    fetch_max deepest_stack = deepest_stack;
}

/// A counter's value as the type it is shown as; durations are counted in nanoseconds.
trait Read<T> {
    fn read(self) -> T;
}

impl Read<u64> for u64 {
    fn read(self) -> u64 {
        self
    }
}

impl Read<Duration> for u64 {
    fn read(self) -> Duration {
        Duration::from_nanos(self)
    }
}

counters! {
    /// Bytes of function bodies that were validated before anything ran.
    validated_bytes: u64;
    /// Time that took, on all threads together the longest.
    validation_time: Duration;
    /// Functions that the first, fast tier compiled.
    baseline_functions: u64;
    /// Bytes of their bodies.
    baseline_bytes: u64;
    /// Bytes of machine code made of them.
    baseline_code_bytes: u64;
    /// Time that took, summed over threads.
    baseline_time: Duration;
    /// Functions that the optimizing tier compiled.
    optimized_functions: u64;
    /// Bytes of their bodies.
    optimized_bytes: u64;
    /// Bytes of machine code made of them.
    optimized_code_bytes: u64;
    /// Time that took, summed over threads.
    optimized_time: Duration;
    /// Functions whose code was replaced by optimized code while the module could run.
    tier_ups: u64;
    /// Loops that got a replacement to be left for in mid-loop.
    loop_replacements: u64;
    /// Time that took to compile.
    loop_replacement_time: Duration;
    /// Hot functions and loops that the optimizing tier refused: they stay in the first tier.
    refused_tier_ups: u64;
    /// Modules of which the code cache had code.
    cache_hits: u64;
    /// Modules that were looked for in the code cache and not found, or not to be trusted.
    cache_misses: u64;
    /// Functions whose code came from the cache: no tier compiled them.
    cached_functions: u64;
    /// Bytes of their machine code.
    cached_code_bytes: u64;
    /// Time that took, from opening the entry to code that can run.
    cache_time: Duration;
}

/// Counts for an engine, or for a module and its engine.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    own: Arc<Sums>,
    all: Option<Arc<Sums>>,
}

/// Which tier made code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Made {
    Baseline,
    Optimized,
}

impl Made {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Made::Baseline => "baseline",
            Made::Optimized => "optimized",
        }
    }
}

/// A function that was compiled.
pub(crate) struct Compiled {
    pub(crate) made: Made,
    pub(crate) func: FuncIndex,
    /// Of its body.
    pub(crate) bytes: usize,
    pub(crate) code_bytes: usize,
    pub(crate) shape: Shape,
}

impl Counters {
    /// Counters of a module, whose engine has these.
    pub fn of_module(&self) -> Counters {
        Counters { own: Arc::default(), all: Some(self.own.clone()) }
    }

    /// The sums so far.
    pub fn stats(&self) -> Stats {
        self.own.read()
    }

    fn each(&self, add: impl Fn(&Sums)) {
        add(&self.own);
        self.all.as_deref().into_iter().for_each(add);
    }

    pub(crate) fn validated(&self, bytes: usize, since: Instant) {
        let time = since.elapsed().as_nanos() as u64;
        self.each(|sums| {
            sums.validated_bytes.fetch_add(bytes as u64, Relaxed);
            sums.validation_time.fetch_add(time, Relaxed);
        });
    }

    /// One function was compiled.
    pub(crate) fn compiled(&self, compiled: &Compiled, since: Instant) {
        let time = since.elapsed();
        let Compiled { made, func, bytes, code_bytes, ref shape } = *compiled;
        tracing::debug!(
            target: log::COMPILE,
            tier = made.name(),
            func = func.0,
            bytes,
            code_bytes,
            micros = time.as_micros() as u64,
            "compiled"
        );
        let time = time.as_nanos() as u64;
        self.each(|sums| {
            let (count, from, to, spent, shapes) = match made {
                Made::Baseline => (
                    &sums.baseline_functions,
                    &sums.baseline_bytes,
                    &sums.baseline_code_bytes,
                    &sums.baseline_time,
                    &sums.baseline_shape,
                ),
                Made::Optimized => (
                    &sums.optimized_functions,
                    &sums.optimized_bytes,
                    &sums.optimized_code_bytes,
                    &sums.optimized_time,
                    &sums.optimized_shape,
                ),
            };
            count.fetch_add(1, Relaxed);
            from.fetch_add(bytes as u64, Relaxed);
            to.fetch_add(code_bytes as u64, Relaxed);
            spent.fetch_add(time, Relaxed);
            shapes.add(shape);
        });
    }

    /// The cache was asked for a module.
    pub(crate) fn looked_up(&self, hit: bool) {
        self.each(|sums| {
            let count = if hit { &sums.cache_hits } else { &sums.cache_misses };
            count.fetch_add(1, Relaxed);
        });
    }

    /// Code from the cache can run.
    pub(crate) fn loaded(&self, functions: usize, code_bytes: usize, since: Instant) {
        let time = since.elapsed().as_nanos() as u64;
        self.each(|sums| {
            sums.cached_functions.fetch_add(functions as u64, Relaxed);
            sums.cached_code_bytes.fetch_add(code_bytes as u64, Relaxed);
            sums.cache_time.fetch_add(time, Relaxed);
        });
    }

    pub(crate) fn tiered_up(&self) {
        self.each(|sums| _ = sums.tier_ups.fetch_add(1, Relaxed));
    }

    pub(crate) fn replaced_loop(&self, since: Instant) {
        let time = since.elapsed().as_nanos() as u64;
        self.each(|sums| {
            sums.loop_replacements.fetch_add(1, Relaxed);
            sums.loop_replacement_time.fetch_add(time, Relaxed);
        });
    }

    pub(crate) fn refused(&self) {
        self.each(|sums| _ = sums.refused_tier_ups.fetch_add(1, Relaxed));
    }
}

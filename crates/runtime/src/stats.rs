//! What was compiled or loaded, and what it cost: counted where it happens, for a module and for its engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => {
        /// Sums of what compilers did.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: $ty,)*
        }

        #[derive(Debug, Default)]
        struct Sums {
            $($name: AtomicU64,)*
        }

        impl Sums {
            fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed).read(),)* }
            }
        }
    };
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
    pub(crate) fn compiled(&self, made: Made, bytes: usize, code_bytes: usize, since: Instant) {
        let time = since.elapsed().as_nanos() as u64;
        self.each(|sums| {
            let (count, from, to, spent) = match made {
                Made::Baseline => (
                    &sums.baseline_functions,
                    &sums.baseline_bytes,
                    &sums.baseline_code_bytes,
                    &sums.baseline_time,
                ),
                Made::Optimized => (
                    &sums.optimized_functions,
                    &sums.optimized_bytes,
                    &sums.optimized_code_bytes,
                    &sums.optimized_time,
                ),
            };
            count.fetch_add(1, Relaxed);
            from.fetch_add(bytes as u64, Relaxed);
            to.fetch_add(code_bytes as u64, Relaxed);
            spent.fetch_add(time, Relaxed);
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

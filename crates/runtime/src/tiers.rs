//! Modules whose functions are compiled one by one: on their first call by the first tier, and again by
//! the optimizing tier when they are hot.
//!
//! Invariant: a function is compiled for its first call once, by whichever thread calls it first; others
//! wait for it. Nothing of a guest runs while a compiler does.
//!
//! What decides that a function is hot is a counter in its code (`layout::Linkage`); the kernel asks
//! [`Source::hot`], which hands the work to the engine's background thread or to the embedder's, or
//! does it at once for tests.
//!
//! NOTE [function first]
//! What is compiled of a function is the function, also where a loop of it asks: most frames leave a loop
//! soon, and the next call finds the optimized code. Only a frame that still asks when that code is there is
//! replaced. (To compile both at once, the loop first, was 40 % of the compiler's work for sqlite.)
//!
//! A frame that is replaced stays replaced. At the head of an inner loop the code would be that of a
//! function whose loops are one, with values of the outer in the way of the inner (nbody: 1.28 times the
//! time). So the outermost loop around is compiled first, and the next inner one only if no frame came
//! by there for a while.
//!
//! NOTE [hottest first]
//! A program makes hundreds of functions hot within a tenth of a second, and compiling them takes longer. In the order
//! in which they were asked for, sqlite's most used ones waited for most of its time. A function that waits asks
//! again when it has counted on. The next to be compiled is what counted most for the time that it will take, as
//! its body's length foretells that: the order in which the waiting costs least in sum.
//!
//! NOTE [asking again]
//! To ask is some hundred instructions of the kernel, and who asks often has to count more until the next time,
//! up to a bound: a frame that waits for the replacement of its loop sees late that it is there. (That all ask
//! after the same count was 0.02 of sqlite's time.)

use crate::artifact::{ArtifactError, CachedFunction};
use crate::background::{Background, STACK, Task};
use crate::cache::{Collector, KeptFunctions, Place};
use crate::compile::{Bodies, CompileError, Compiler};
use crate::log;
use crate::parallel;
use crate::stats::{Compiled, Counters, Made};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use wardian_lower::{Shape, loops_around};
use wardian_module::image::FunctionCode;
use wardian_module::layout::{OUTER_LOOP, VmLayout};
use wardian_module::{Body, DefinedFuncIndex, Module, Trap};
use wardian_vm::{Code, CodeError, Failure, Source, Tier, Tiered, Watch};
use wasmparser::BinaryReader;

/// How functions of an engine's modules become fast.
#[derive(Clone, Debug)]
pub struct TierConfig {
    /// What happens to hot functions.
    pub tier_up: TierUp,
    /// Whether bodies are validated when they are first called, instead of before anything runs.
    pub lazy_validation: bool,
}

/// Who compiles hot functions with the optimizing tier, and when.
#[derive(Clone, Default)]
pub enum TierUp {
    /// A thread of the engine, started with the first hot function.
    #[default]
    Background,
    /// The embedder: it is given tasks to run, on any thread and in any order, or never.
    Executor(Arc<dyn Fn(Task) + Send + Sync>),
    /// Nobody: all functions stay in the first tier.
    Never,
    /// The thread that runs the guest, when the function's counter has counted so many entries, or entries and turns
    /// of loops in one call, at least 1. A turn of a loop with a loop inside counts as 32, an entry of a function
    /// with loops as 8. For tests: every run does the same.
    Synchronous(u32),
}

impl fmt::Debug for TierUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TierUp::Background => f.write_str("Background"),
            TierUp::Executor(_) => f.write_str("Executor(…)"),
            TierUp::Never => f.write_str("Never"),
            TierUp::Synchronous(count) => f.debug_tuple("Synchronous").field(count).finish(),
        }
    }
}

/// Entries and turns of loops after which a function is hot.
const HOT: i32 = 3_000;
/// What a function counts until it asks again whether its replacement is there. See NOTE [asking again].
const AGAIN: RangeInclusive<i32> = 1_000..=32_000;
/// The same when the replacement is there, for a loop around: a turn of that loop asks at once.
const NEAR: i32 = OUTER_LOOP - 1;
/// How much time is between two askings at least, if the function may count more for that.
const OFTEN: Duration = Duration::from_millis(1);
/// How long a frame that asks may stay inside of a loop whose replacement is there.
const PATIENCE: Duration = Duration::from_millis(5);
/// Bytes of a body from which on it is not optimized as soon as it is hot.
const LARGE: usize = 16 << 10;
/// How long each byte past that is waited for: about half of what its compilation takes. Whatever else is
/// hot is optimized meanwhile, and a program that ends soon is not slowed down in vain (`python -c
/// 'print(1)'` runs for 45 ms; its interpreter loop, the first thing to be hot, takes 150).
const DELAY_PER_BYTE: Duration = Duration::from_nanos(700);
/// Bytes of stack that compiling may use on the guest's thread; with less left it goes to another.
const COMPILER_STACK: usize = if cfg!(debug_assertions) { 2 << 20 } else { 1 << 20 };
/// Bytes of body that take as long as what a compilation takes however small the function is.
const LEAST_WORK: usize = 50;
/// Functions of the cache that are published while as many are decoded.
const PUBLISHED_RUN: usize = 64;
/// Threads that may compile different functions of a module at once.
const LOCKS: usize = 16;

/// A function could not be compiled when it was called. What a [`Failure::Host`] holds then.
#[derive(Debug)]
pub struct CompileFailure(pub String);

/// The engine's part of tiered execution: who works for all of its modules.
pub struct Tiers {
    compiler: Arc<Compiler>,
    config: TierConfig,
    background: Background,
}

impl Tiers {
    /// For an engine with this compiler.
    pub fn new(compiler: Arc<Compiler>, config: TierConfig) -> Tiers {
        Tiers { compiler, config, background: Background::new("wardian-tier-up") }
    }

    /// Waits until the background thread has nothing to do.
    pub fn wait(&self) {
        self.background.wait();
    }

    /// Whether hot functions are ever optimized.
    pub fn is_on(&self) -> bool {
        !matches!(self.config.tier_up, TierUp::Never)
    }

    /// Code of a module whose bodies were validated, or, if validation is lazy, not. With a place in a
    /// cache it starts with what was kept there, and its own optimized code is added to that. `watch` is
    /// told of all code.
    pub fn load(
        &self,
        module: Arc<Module>,
        bodies: Vec<Body>,
        counters: Counters,
        cached: Option<Cached>,
        watch: Option<Box<dyn Watch>>,
    ) -> Result<Code, CodeError> {
        let layout = VmLayout::new(&module);
        let (mut kept, mut since) = (None, None);
        let collector = cached.map(|Cached { place, found, valid, start }| {
            (kept, since) = (found, Some(start));
            let known = kept.as_ref().is_some_and(|kept| kept.validated);
            Collector::new(place, valid, module.code_section.len(), known)
        });
        let shared = Shared {
            compiler: self.compiler.clone(),
            module: module.clone(),
            layout,
            bodies: Bodies::new(bodies),
            counters: counters.clone(),
            locks: Default::default(),
            requests: Mutex::default(),
            collector,
        };
        let functions = Functions {
            shared: Arc::new(shared),
            tier_up: self.config.tier_up.clone(),
            background: self.background.clone(),
        };
        let (shared, count) = (functions.shared.clone(), functions.first_count());
        let code = Code::tiered_watched(module, Box::new(functions), watch)?;
        if let (Some(kept), Some(since)) = (kept, since) {
            shared.publish_kept(code.as_tiered().expect("it was just made so"), kept, count, since);
        }
        Ok(code)
    }
}

/// What a code cache has for a module.
pub struct Cached {
    /// Where.
    pub place: Place,
    /// What was found there.
    pub found: Option<KeptFunctions>,
    /// Whether all bodies are known to be valid by now.
    pub valid: bool,
    /// When it was looked for.
    pub start: Instant,
}

impl Drop for Tiers {
    fn drop(&mut self) {
        self.background.stop();
    }
}

/// What compiling a function of a module takes.
struct Shared {
    compiler: Arc<Compiler>,
    module: Arc<Module>,
    layout: VmLayout,
    bodies: Bodies,
    counters: Counters,
    /// Held while a function is compiled for its first call.
    locks: [Mutex<()>; LOCKS],
    /// What was asked for.
    requests: Mutex<Requests>,
    /// For the code cache.
    collector: Option<Collector>,
}

/// What frames asked for.
#[derive(Default)]
struct Requests {
    /// What is to be optimized, or was: functions, and heads of loops in them.
    made: HashMap<(DefinedFuncIndex, Option<u32>), Request>,
    /// For each head of a loop at which a frame asked; nothing while it is looked up.
    nests: HashMap<(DefinedFuncIndex, u32), Option<Nest>>,
}

struct Request {
    stage: Stage,
    /// Steps that were counted until it was made the last time.
    counted: i64,
    /// Steps until it will be made again, and when it was made: NOTE [asking again].
    again: i32,
    asked: Instant,
}

/// How far a request is.
enum Stage {
    Waiting {
        /// The tier of the function's code when the request was first made.
        before: Option<Tier>,
        /// When it may be taken.
        due: Instant,
        /// Bytes of the function's body.
        bytes: usize,
    },
    /// It is being done, or was.
    Taken,
    /// It could not be done.
    Failed,
}

impl Request {
    fn new(stage: Stage) -> Request {
        Request { stage, counted: i64::from(HOT), again: *AGAIN.start(), asked: Instant::now() }
    }

    /// Notes that it is made again; what to count until the next time.
    fn ask(&mut self) -> i32 {
        self.counted += i64::from(self.again);
        let now = Instant::now();
        if now.duration_since(self.asked) < OFTEN {
            self.again = (self.again * 2).min(*AGAIN.end());
        }
        self.asked = now;
        self.again
    }

    fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed)
    }

    /// What doing it now is worth, for the time that it takes, if it waits and is due. See NOTE [hottest first].
    fn worth(&self, now: Instant) -> Option<f32> {
        match self.stage {
            Stage::Waiting { due, bytes, .. } if due <= now => {
                Some(self.counted as f32 / (bytes + LEAST_WORK) as f32)
            }
            _ => None,
        }
    }
}

/// A loop, with those around it.
struct Nest {
    /// What is left to try, the innermost first: the loop itself.
    loops: Vec<u32>,
    /// When a frame first asked though the replacement of the last of them was there.
    since: Option<Instant>,
}

impl Nest {
    /// Of a loop, with what [`loops_around`] found for it.
    fn new(mut loops: Vec<u32>, head: u32) -> Nest {
        loops.reverse();
        if loops.is_empty() {
            loops.push(head);
        }
        Nest { loops, since: None }
    }

    /// The loop to replace a frame at, and whether that is a loop around whose replacement is there.
    fn next(
        &mut self,
        failed: impl Fn(u32) -> bool,
        is_there: impl Fn(u32) -> bool,
    ) -> (u32, bool) {
        loop {
            let (&last, inner) = self.loops.split_last().expect("the loop itself stays");
            if inner.is_empty() {
                return (last, false);
            }
            let waited = self.since.is_some_and(|since| since.elapsed() > PATIENCE);
            if !waited && !failed(last) {
                if !is_there(last) {
                    return (last, false);
                }
                self.since.get_or_insert_with(Instant::now);
                return (last, true);
            }
            self.loops.pop();
            self.since = None;
        }
    }
}

impl Requests {
    /// Takes the request that is worth most of those that are due: where, and the function's tier when it was made.
    fn take_best(&mut self) -> Option<(DefinedFuncIndex, Option<u32>, Option<Tier>)> {
        let now = Instant::now();
        let due = self.made.iter_mut().filter_map(|(at, made)| Some((made.worth(now)?, at, made)));
        let (_, &(func, head), made) = due.max_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
        let Stage::Waiting { before, .. } = std::mem::replace(&mut made.stage, Stage::Taken) else {
            return None;
        };
        Some((func, head, before))
    }

    /// As [`Nest::next`], of a nest that is known.
    fn loop_to_replace(
        &mut self,
        tiered: &Tiered,
        func: DefinedFuncIndex,
        head: u32,
    ) -> (u32, bool) {
        let Requests { made, nests } = self;
        let nest = nests.get_mut(&(func, head)).and_then(Option::as_mut).expect("it is known");
        nest.next(
            |head| made.get(&(func, Some(head))).is_some_and(Request::has_failed),
            |head| tiered.has_replacement(func, head),
        )
    }
}

/// The functions of a module: answers the kernel.
struct Functions {
    shared: Arc<Shared>,
    tier_up: TierUp,
    background: Background,
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a function, or a loop of it, is to be optimized, by the caller if nobody did before: `false`
    /// otherwise.
    fn take(&self, func: DefinedFuncIndex, head: Option<u32>) -> bool {
        let mut requests = self.requests();
        match requests.made.entry((func, head)) {
            Entry::Occupied(mut made) => {
                made.get_mut().ask();
                return false;
            }
            Entry::Vacant(new) => new.insert(Request::new(Stage::Taken)),
        };
        drop(requests);
        self.log_request(func, head);
        true
    }

    fn log_request(&self, func: DefinedFuncIndex, head: Option<u32>) {
        tracing::debug!(target: log::TIERS, func = self.index(func), head, "tier-up requested");
    }

    fn body(&self, func: DefinedFuncIndex) -> Body {
        self.bodies.of(&self.module, func)
    }

    fn body_reader(&self, func: DefinedFuncIndex) -> BinaryReader<'_> {
        let range = self.module.bodies[func.index()].clone();
        let features = self.module.proposals.features();
        BinaryReader::new_features(&self.module.wasm[range.clone()], range.start as u64, features)
    }

    /// The index that events and people know a function by.
    fn index(&self, func: DefinedFuncIndex) -> u32 {
        self.module.func_index(func).0
    }

    fn count(
        &self,
        made: Made,
        func: DefinedFuncIndex,
        code: &FunctionCode,
        shape: Shape,
        since: Instant,
    ) {
        let bytes = self.module.bodies[func.index()].len();
        let (func, code_bytes) = (self.module.func_index(func), code.bytes.len());
        self.counters.compiled(&Compiled { made, func, bytes, code_bytes, shape }, since);
    }

    /// Compiles a function for its first call.
    fn first(&self, tiered: &Tiered, func: DefinedFuncIndex, count: i32) -> Result<(), Failure> {
        if !tiered.is_own() {
            // Another thread of the parent may have held the lock at `fork`.
            return Err(failure(CodeError::Forked));
        }
        let lock = &self.locks[func.index() % LOCKS];
        let _lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if tiered.tier(func).is_some() {
            return Ok(());
        }
        let start = Instant::now();
        let is_final = |other| tiered.tier(other) == Some(Tier::Optimized);
        let body = || self.body(func);
        let made = self.compiler.first(&self.module, &self.layout, body, &is_final);
        let (code, made, shape) = made.map_err(|error| match error {
            CompileError::Invalid(error) => {
                tracing::debug!(target: log::COMPILE, %error, "a function turned out invalid");
                Trap::InvalidFunction.into()
            }
            other => failure(other),
        })?;
        self.count(made, func, &code, shape, start);
        tiered.set_counter(func, count);
        let tier = match made {
            Made::Baseline => Tier::Baseline,
            Made::Optimized => Tier::Optimized,
        };
        tiered.publish(func, tier, &code).map_err(failure)?;
        self.collect(func, tier, code);
        Ok(())
    }

    /// Keeps code for the next run, if there is a cache.
    fn collect(&self, func: DefinedFuncIndex, tier: Tier, code: FunctionCode) {
        if let Some(collector) = &self.collector {
            collector.add(func, tier, code);
        }
    }

    /// Publishes what earlier runs left, before anything runs; what is not optimized yet begins to count
    /// at `count`. Functions that the kernel refuses are compiled on their first call.
    fn publish_kept(&self, tiered: &Tiered, kept: KeptFunctions, count: i32, since: Instant) {
        let (mut functions, mut bytes) = (0, 0);
        let mut publish = |kept: Vec<Result<CachedFunction, ArtifactError>>| {
            for function in kept {
                let published = function.map(|function| self.publish_one(tiered, &function, count));
                match published {
                    Ok(code_bytes) => {
                        functions += usize::from(code_bytes.is_some());
                        bytes += code_bytes.unwrap_or_default();
                    }
                    Err(error) => {
                        tracing::warn!(target: log::CACHE, %error, "the rest of cached code is refused");
                    }
                }
            }
        };
        let mut left = kept.functions();
        let mut next = || left.by_ref().take(PUBLISHED_RUN).collect::<Vec<_>>();
        let mut run = next();
        if self.compiler.is_parallel() && run.len() == PUBLISHED_RUN {
            // One thread decodes what the other will publish.
            parallel::scope(|_| {
                while !run.is_empty() {
                    let publish_run = || publish(std::mem::take(&mut run));
                    ((), run) = parallel::join(publish_run, &mut next);
                }
            });
        }
        while !run.is_empty() {
            publish(run);
            run = next();
        }
        if let Some(collector) = &self.collector {
            collector.place().loaded(&self.counters, functions, bytes, since);
        }
    }

    /// Publishes a function that an earlier run left; bytes of its code, if that was done.
    fn publish_one(&self, tiered: &Tiered, kept: &CachedFunction, count: i32) -> Option<usize> {
        let known = kept.func.index() < self.module.bodies.len();
        let published = known.then(|| {
            tiered.set_counter(kept.func, count);
            tiered.publish(kept.func, kept.tier, &kept.code)
        });
        match published {
            Some(Ok(true)) => return Some(kept.code.bytes.len()),
            Some(Ok(false)) => {}
            refused => {
                let func = kept.func.0;
                tracing::warn!(target: log::CACHE, func, ?refused, "cached code is refused");
            }
        }
        None
    }

    /// Does what is worth most of what was requested and is due.
    fn fulfil_one(&self, code: &Weak<Code>) {
        let request = self.requests().take_best();
        if let Some((func, head, before)) = request {
            self.fulfil(code, func, head, before);
        }
    }

    /// Does what was requested of a function when it had code of the tier `before`.
    fn fulfil(
        &self,
        code: &Weak<Code>,
        func: DefinedFuncIndex,
        head: Option<u32>,
        before: Option<Tier>,
    ) {
        // Whoever dropped the module needs no code of it.
        let Some(now) = code.upgrade().map(|code| tiered_of(&code).tier(func)) else { return };
        if head.is_some() && now != before {
            // The function was optimized meanwhile. A frame that still runs the loop in old code will
            // ask again; most have left it.
            self.requests().made.remove(&(func, head));
            return;
        }
        self.optimize(code, func, head);
    }

    /// Compiles a hot function, or a hot loop and its function, with the optimizing tier.
    fn optimize(&self, code: &Weak<Code>, func: DefinedFuncIndex, head: Option<u32>) {
        let done = with_stack(|| self.try_optimize(code, func, head));
        if let Err(error) = done.unwrap_or_else(|error| Err(error.to_string())) {
            // It goes on as it is.
            self.counters.refused();
            if let Some(made) = self.requests().made.get_mut(&(func, head)) {
                made.stage = Stage::Failed;
            }
            tracing::debug!(target: log::TIERS, func = self.index(func), head, error, "not optimized");
        }
    }

    /// `code` is not kept alive while the compiler works: whoever drops it need not wait.
    fn try_optimize(
        &self,
        code: &Weak<Code>,
        func: DefinedFuncIndex,
        head: Option<u32>,
    ) -> Result<(), String> {
        let is_final = |func| code.upgrade().is_some_and(|code| is_optimized(&code, func));
        // The loop first: it runs now.
        if let Some(head) = head {
            let start = Instant::now();
            let (made, live_slots) = self
                .compiler
                .replacement(&self.module, &self.layout, self.body(func), head, &is_final)
                .map_err(|error| error.to_string())?;
            self.counters.replaced_loop(start);
            tracing::debug!(
                target: log::COMPILE,
                tier = "replacement",
                func = self.index(func),
                head,
                code_bytes = made.bytes.len(),
                micros = start.elapsed().as_micros() as u64,
                "compiled"
            );
            let Some(code) = code.upgrade() else { return Ok(()) };
            tiered_of(&code)
                .publish_replacement(func, head, &made, live_slots)
                .map_err(|error| error.to_string())?;
            tracing::debug!(target: log::TIERS, func = self.index(func), head, "loop replacement published");
        }
        if code.upgrade().is_some_and(|code| !is_optimized(&code, func)) {
            let start = Instant::now();
            let (made, shape) = self
                .compiler
                .optimized(&self.module, &self.layout, self.body(func), &is_final)
                .map_err(|error| error.to_string())?;
            self.count(Made::Optimized, func, &made, shape, start);
            let Some(code) = code.upgrade() else { return Ok(()) };
            let published = tiered_of(&code).publish(func, Tier::Optimized, &made);
            if published.map_err(|error| error.to_string())? {
                self.counters.tiered_up();
                tracing::debug!(target: log::TIERS, func = self.index(func), "tier-up published");
                self.collect(func, Tier::Optimized, made);
            }
        }
        Ok(())
    }
}

/// Whether a function has the code that it keeps.
fn is_optimized(code: &Code, func: DefinedFuncIndex) -> bool {
    tiered_of(code).tier(func) == Some(Tier::Optimized)
}

fn tiered_of(code: &Code) -> &Tiered {
    code.as_tiered().expect("a source's code is tiered")
}

impl Drop for Functions {
    fn drop(&mut self) {
        // The compiler may be at work for them still; what there is, is kept now.
        self.keep();
    }
}

fn failure(error: impl fmt::Display) -> Failure {
    Failure::Host(Box::new(CompileFailure(error.to_string())))
}

/// Runs a compiler: here if the stack has room for it, else on a thread of its own.
fn with_stack<R: Send>(act: impl FnOnce() -> R + Send) -> std::io::Result<R> {
    if wardian_vm::stack_left() >= COMPILER_STACK {
        return Ok(act());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("wardian-compile".into()).stack_size(STACK);
        let running = thread.spawn_scoped(scope, act)?;
        Ok(running.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)))
    })
}

impl Functions {
    /// What a function counts from its first call on.
    fn first_count(&self) -> i32 {
        match self.tier_up {
            TierUp::Never => i32::MAX,
            TierUp::Synchronous(count) => synchronous(count),
            TierUp::Background | TierUp::Executor(_) => HOT,
        }
    }
}

/// The counter that is negative after so many steps.
fn synchronous(count: u32) -> i32 {
    i32::try_from(count.max(1) - 1).unwrap_or(i32::MAX)
}

impl Source for Functions {
    fn keep(&self) {
        if let Some(collector) = &self.shared.collector {
            collector.save();
        }
    }

    fn compile(&self, code: &Arc<Code>, func: DefinedFuncIndex) -> Result<(), Failure> {
        let tiered = tiered_of(code);
        with_stack(|| self.shared.first(tiered, func, self.first_count())).map_err(failure)?
    }

    fn hot(&self, code: &Arc<Code>, func: DefinedFuncIndex, head: Option<u32>) -> i32 {
        if matches!(self.tier_up, TierUp::Never) {
            return i32::MAX;
        }
        let (head, is_near) = match (&self.tier_up, head) {
            // Where it asks.
            (TierUp::Synchronous(_), _) | (_, None) => (head, false),
            // NOTE [function first]
            (_, Some(_)) if !self.is_settled(code, func) => (None, false),
            (_, Some(head)) => match self.loop_to_replace(code, func, head) {
                Ok((head, is_near)) => (Some(head), is_near),
                Err(again) => return again,
            },
        };
        if let TierUp::Synchronous(count) = self.tier_up {
            if self.shared.take(func, head) {
                self.shared.optimize(&Arc::downgrade(code), func, head);
            }
            return synchronous(count);
        }
        let again = self.request(code, func, head);
        if is_near { NEAR } else { again }
    }

    fn replaced(&self, func: DefinedFuncIndex, head: u32) {
        tracing::debug!(target: log::TIERS, func = self.shared.index(func), head, "frame replaced");
    }
}

impl Functions {
    /// Whether a function was optimized, or cannot be.
    fn is_settled(&self, code: &Code, func: DefinedFuncIndex) -> bool {
        let has_failed =
            || self.shared.requests().made.get(&(func, None)).is_some_and(Request::has_failed);
        is_optimized(code, func) || has_failed()
    }

    /// As [`Nest::next`], for a frame that asks at the head of this loop; or, while the loops around are looked
    /// up, which reads the function's body, what to count until it asks again.
    fn loop_to_replace(
        &self,
        code: &Arc<Code>,
        func: DefinedFuncIndex,
        head: u32,
    ) -> Result<(u32, bool), i32> {
        let mut requests = self.shared.requests();
        if let Some(nest) = requests.nests.get(&(func, head)) {
            return if nest.is_some() {
                Ok(requests.loop_to_replace(tiered_of(code), func, head))
            } else {
                Err(*AGAIN.start())
            };
        }
        requests.nests.insert((func, head), None);
        drop(requests);
        let (shared, before) = (self.shared.clone(), tiered_of(code).tier(func));
        let code = Arc::downgrade(code);
        let look_up = move || {
            let nest = Nest::new(loops_around(shared.body_reader(func), head), head);
            let Some(running) = code.upgrade() else { return };
            let mut requests = shared.requests();
            requests.nests.insert((func, head), Some(nest));
            let (outer, _) = requests.loop_to_replace(tiered_of(&running), func, head);
            drop((requests, running));
            if shared.take(func, Some(outer)) {
                shared.fulfil(&code, func, Some(outer), before);
            }
        };
        Err(self.hand_over(Duration::ZERO, Box::new(look_up)))
    }

    /// Has a function, or a loop of it, optimized some time; what to count until it asks again.
    fn request(&self, code: &Arc<Code>, func: DefinedFuncIndex, head: Option<u32>) -> i32 {
        let mut requests = self.shared.requests();
        let new = match requests.made.entry((func, head)) {
            Entry::Occupied(mut made) => return made.get_mut().ask(),
            Entry::Vacant(new) => new,
        };
        let bytes = self.shared.module.bodies[func.index()].len();
        // A frame that still asks when its function is optimized has shown that it lasts. An executor may run
        // tasks at once, and runs them once.
        let waits = head.is_none() && matches!(self.tier_up, TierUp::Background);
        let past = if waits { bytes.saturating_sub(LARGE) } else { 0 };
        let delay = DELAY_PER_BYTE.saturating_mul(u32::try_from(past).unwrap_or(u32::MAX));
        let (before, due) = (tiered_of(code).tier(func), Instant::now() + delay);
        new.insert(Request::new(Stage::Waiting { before, due, bytes }));
        drop(requests);
        self.shared.log_request(func, head);
        // One for each request; which of them it does is decided when it runs.
        let (shared, code) = (self.shared.clone(), Arc::downgrade(code));
        self.hand_over(delay, Box::new(move || shared.fulfil_one(&code)))
    }

    /// Has a task done some time after `delay`; what to count until then, or for ever if it will never be
    /// done.
    fn hand_over(&self, delay: Duration, task: Task) -> i32 {
        match &self.tier_up {
            TierUp::Executor(execute) => execute(task),
            TierUp::Background if self.background.push_after(delay, task).is_ok() => {}
            _ => return i32::MAX,
        }
        *AGAIN.start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_often_counts_more_until_the_next_time() {
        let mut request = Request::new(Stage::Taken);
        request.asked += Duration::from_secs(3600);
        assert_eq!(request.ask(), 2 * AGAIN.start());
        request.asked -= OFTEN;
        assert_eq!(request.ask(), 2 * AGAIN.start(), "that was not often");
        for _ in 0..10 {
            request.asked += Duration::from_secs(3600);
            request.ask();
        }
        assert_eq!(request.again, *AGAIN.end());
        let counted = request.counted;
        request.ask();
        assert_eq!(request.counted - counted, i64::from(*AGAIN.end()));
        assert!(request.worth(Instant::now()).is_none(), "it waits no more");
    }

    #[test]
    fn outer_loops_are_tried_first_and_given_up_in_time() {
        let mut nest = Nest::new(vec![2, 4, 5], 5);
        let nothing = |_| false;
        assert_eq!(nest.next(nothing, nothing), (2, false));
        assert_eq!(nest.next(nothing, |head| head == 2), (2, true));
        assert_eq!(nest.next(nothing, |head| head == 2), (2, true));
        nest.since = Instant::now().checked_sub(PATIENCE * 2);
        assert_eq!(nest.next(nothing, |head| head == 2), (4, false));
        assert_eq!(nest.next(|head| head == 4, nothing), (5, false));
        assert_eq!(nest.next(|_| true, |_| true), (5, false), "the loop itself stays");
    }
}

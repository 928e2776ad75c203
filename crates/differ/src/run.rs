//! Running a case in every mode.

use crate::case::{Case, Random};
use crate::objects;
use crate::values::{Seen, value, values};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wardian::*;

/// Bytes that a guest's frames may take; with the fuel of a case no recursion gets there. Threads that
/// run cases need some more.
const STACK: usize = 64 << 20;
/// Most elements of a table.
const TABLE_ELEMENTS: usize = 1_000;
/// Bytes of all memories that a guest may have.
const MEMORY: usize = 16 << 16;
/// Calls of each exported function.
const CALLS: usize = 2;

/// A way to run modules.
pub struct Mode {
    /// What it is called in reports.
    pub name: &'static str,
    strategy: Strategy,
    /// Synchronous tier-up after so many steps.
    tier_up: Option<u32>,
    /// Guard pages and faults, or explicit checks and memories that move.
    signals: bool,
    /// Plain x86-64, and code that asks for its epoch, whether it pays or not.
    plain_cpu: bool,
    collect: Collect,
}

/// When the objects of a guest move, beside when the smallest nursery is full.
#[derive(Clone, Copy)]
enum Collect {
    /// At no other time.
    Full,
    /// Before each of so many allocations. None of the code that allocates inline is run then.
    Allocations(u32),
    /// When the guest calls the host, and between calls of the guest.
    Calls,
}

/// Smallest nursery that an engine takes.
const NURSERY: u32 = 32 << 10;

/// Explicit checks in memories that are reserved, where speculation is confined and nothing masked.
const CONFINED: &str = "tiered at once, explicit checks";

const fn mode(
    name: &'static str,
    strategy: Strategy,
    tier_up: Option<u32>,
    signals: bool,
    plain_cpu: bool,
    collect: Collect,
) -> Mode {
    Mode { name, strategy, tier_up, signals, plain_cpu, collect }
}

/// All modes; the others are compared with the first.
pub const MODES: &[Mode] = &[
    mode("optimizing", Strategy::Optimizing, None, true, false, Collect::Full),
    mode(
        "optimizing, explicit checks, plain cpu",
        Strategy::Optimizing,
        None,
        false,
        true,
        Collect::Allocations(1),
    ),
    mode("baseline", Strategy::Baseline, None, true, false, Collect::Calls),
    mode("baseline, explicit checks", Strategy::Baseline, None, false, false, Collect::Full),
    mode("baseline, plain cpu", Strategy::Baseline, None, true, true, Collect::Allocations(1)),
    mode("tiered at once", Strategy::Tiered, Some(1), true, false, Collect::Calls),
    mode(CONFINED, Strategy::Tiered, Some(1), false, false, Collect::Allocations(3)),
    mode("tiered after 3, plain cpu", Strategy::Tiered, Some(3), true, true, Collect::Calls),
];

/// What came of a case on which all modes agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Calls that returned.
    pub returned: usize,
    /// Calls that trapped.
    pub trapped: usize,
    /// What the code of both tiers looks like, in the modes that compile everything with one.
    pub shapes: [CodeShape; 2],
    /// What was run, as bits for [`SHAPES`](crate::SHAPES); only some cases tell it.
    pub seen: u64,
    /// A limit of the engine was reached, which modes may do at different times; nothing was compared.
    pub inconclusive: bool,
}

/// See the head of this crate.
pub struct Differ {
    engines: Vec<Engine>,
    /// The same, whose guests pay fuel and can be interrupted.
    metered: Vec<Engine>,
}

impl Differ {
    /// With an engine for every mode.
    ///
    /// # Errors
    ///
    /// When a mode is not supported here.
    pub fn new() -> Result<Differ> {
        let engines = |metered| {
            MODES.iter().map(|mode| Engine::new(&mode.config(metered))).collect::<Result<_>>()
        };
        Ok(Differ { engines: engines(false)?, metered: engines(true)? })
    }

    /// What is seen of a case in the first mode.
    pub fn log(&self, case: &Case) -> Vec<String> {
        let engines = if case.fuel.is_some() { &self.metered } else { &self.engines };
        run(&engines[0], case, MODES[0].collect).lines
    }

    /// Runs a case in every mode.
    ///
    /// # Errors
    ///
    /// A report of the first difference.
    pub fn check(&self, case: &Case) -> Result<Verdict, String> {
        let mut first: Option<Log> = None;
        let mut shapes = [CodeShape::default(); 2];
        let engines = if case.fuel.is_some() { &self.metered } else { &self.engines };
        for (mode, engine) in MODES.iter().zip(engines) {
            let log = catch_unwind(AssertUnwindSafe(|| run(engine, case, mode.collect)))
                .map_err(|_| format!("mode `{}`: panicked", mode.name))?;
            if let Some(problem) = &log.problem {
                return Err(format!("mode `{}`: {problem}", mode.name));
            }
            if log.verdict.inconclusive {
                return Ok(log.verdict);
            }
            match mode.strategy {
                Strategy::Baseline => shapes[0] = log.verdict.shapes[0],
                Strategy::Optimizing => shapes[1] = log.verdict.shapes[1],
                _ => {}
            }
            match &first {
                None => first = Some(log),
                Some(first) => first.compare(&log, mode.name)?,
            }
        }
        let verdict = first.map(|log| log.verdict).unwrap_or_default();
        Ok(Verdict { shapes, ..verdict })
    }
}

impl Mode {
    fn config(&self, metered: bool) -> Config {
        let mut config = Config::new();
        config
            .consume_fuel(metered)
            .epoch_interruption(metered || self.plain_cpu)
            .wasm_all_proposals(true)
            .relaxed_simd_deterministic(true)
            .cranelift_nan_canonicalization(true)
            .parallel_compilation(false)
            .max_wasm_stack(STACK)
            .gc_nursery_size(NURSERY)
            .strategy(self.strategy);
        if let Collect::Allocations(count) = self.collect {
            let count = NonZeroU32::new(count);
            config.gc_zeal_alloc_counter(count).expect("nothing speaks against it");
        }
        if let Some(steps) = self.tier_up {
            config.tier_up(TierUp::Synchronous(steps));
        }
        if !self.signals {
            config.signals_based_traps(false);
            if self.name != CONFINED {
                config.memory_reservation(0).memory_guard_size(0);
            }
        }
        if self.plain_cpu {
            config.target_cpu(TargetCpu::Baseline);
        }
        config
    }
}

/// What could be seen of a run, a line per event.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    verdict: Verdict,
    /// What no run may do.
    problem: Option<String>,
}

impl Log {
    /// An error if anything differs.
    fn compare(&self, other: &Log, name: &str) -> Result<(), String> {
        if self.lines == other.lines {
            return Ok(());
        }
        let same = self.lines.iter().zip(&other.lines).take_while(|(a, b)| a == b).count();
        let line = |log: &Log| log.lines.get(same).cloned().unwrap_or_else(|| "(nothing)".into());
        let before = if same > 0 { &self.lines[same - 1] } else { "(nothing)" };
        Err(format!(
            "after {before}\n  mode `{}`: {}\n  mode `{name}`: {}",
            MODES[0].name,
            line(self),
            line(other)
        ))
    }
}

/// What imports see and say.
struct Host {
    limits: StoreLimits,
    random: Random,
    lines: Vec<String>,
    collect: bool,
    /// Of imports, to throw exceptions with.
    tags: Vec<Tag>,
}

fn run(engine: &Engine, case: &Case, collect: Collect) -> Log {
    let mut log = Log::default();
    if let Some(module) = compile(engine, case, &mut log) {
        call_all(engine, &module, case, matches!(collect, Collect::Calls), &mut log);
        let stats = module.stats();
        log.verdict.shapes = [stats.baseline_shape, stats.optimized_shape];
    }
    log
}

/// The module, unless it is not to be had.
fn compile(engine: &Engine, case: &Case, log: &mut Log) -> Option<Module> {
    match Module::new(engine, &case.wasm) {
        Ok(module) => return Some(module),
        Err(error) if error.kind() == ErrorKind::Limit => log.verdict.inconclusive = true,
        Err(error) => log.problem = Some(format!("a valid module was refused: {error:?}")),
    }
    None
}

/// Instantiates the module and calls what it exports.
fn call_all(engine: &Engine, module: &Module, case: &Case, collect: bool, log: &mut Log) {
    let limits =
        StoreLimitsBuilder::new().memory_size(MEMORY).table_elements(TABLE_ELEMENTS).build();
    let random = case.values.clone();
    let host = Host { limits, random, lines: Vec::new(), collect, tags: Vec::new() };
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.limits);
    // It is reached all the time, and nothing comes of it.
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(0)));
    refuel(&mut store, case, &[]);
    let imports: Result<Option<Vec<Extern>>> =
        module.imports().map(|import| provide(&mut store, &import.ty())).collect();
    let instance = match imports {
        // An import that the host has no value for.
        Ok(None) => return,
        Ok(Some(imports)) => Instance::new(&mut store, module, &imports),
        Err(error) => Err(error),
    };
    log.take_host(&mut store);
    log.end("instantiation", instance.as_ref().map(|_| String::new()));
    log.exception(&mut store);
    log.fuel(&store);
    let Ok(instance) = instance else { return };
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut store)
        .map(|export| (export.name().to_owned(), export.into_extern()))
        .collect();
    let mut arguments = case.values.clone();
    for (name, export) in &exports {
        let Extern::Func(func) = export else { continue };
        let ty = func.ty(&store);
        for _ in 0..CALLS {
            let mut store = RootScope::new(&mut store);
            let mut store = store.as_context_mut();
            let Some(params) = values(&mut store, &mut arguments, ty.params()) else { continue };
            // What stands there before the call is never looked at.
            let mut results = vec![Val::I32(0); ty.results().len()];
            if collect {
                store.gc(None).expect("there is room for what there was room for");
            }
            refuel(&mut store, case, &exports);
            let result = func.call(&mut store, &params, &mut results);
            log.take_host(&mut store);
            let shown = result.as_ref().map(|()| {
                let mut line = String::new();
                Seen::default().show_all(&mut line, &mut store, &results);
                line
            });
            log.end(name, shown);
            log.exception(&mut store);
            if log.problem.is_some() || log.verdict.inconclusive {
                return;
            }
            log.state(&mut store, &exports);
            log.fuel(&store);
        }
    }
    if let Some(seen) = global(&exports, objects::SEEN) {
        log.verdict.seen = seen.get(&mut store).unwrap_i64() as u64;
    }
}

/// Gives guests what they may spend next.
fn refuel(mut store: impl AsContextMut, case: &Case, exports: &[(String, Extern)]) {
    if let Some(fuel) = global(exports, objects::FUEL) {
        fuel.set(&mut store, Val::I32(case.steps)).expect("it is a number and can be set");
    }
    if let Some(fuel) = case.fuel {
        store.as_context_mut().set_fuel(fuel).expect("engines of such cases consume it");
    }
}

/// A global of modules of our own.
fn global(exports: &[(String, Extern)], name: &str) -> Option<Global> {
    let found = exports.iter().find(|(other, _)| other == name);
    found.and_then(|(_, export)| export.clone().into_global())
}

impl Log {
    /// Enters the fuel that is left, if there is any.
    fn fuel(&mut self, store: impl AsContext) {
        if let Ok(fuel) = store.as_context().get_fuel() {
            self.lines.push(format!("  fuel: {fuel}"));
        }
    }

    /// Enters how a call of the guest ended.
    fn end(&mut self, what: &str, outcome: Result<String, &Error>) {
        let line = match outcome {
            Ok(results) => {
                self.verdict.returned += 1;
                format!("{what}: {results}")
            }
            Err(error) => match error.downcast_ref::<Trap>() {
                // Frames have different sizes in different tiers.
                // What is live when depends on the tier, and with it when a full heap is too full.
                Some(Trap::StackOverflow | Trap::GcHeapOutOfMemory) => {
                    return self.verdict.inconclusive = true;
                }
                Some(trap) => {
                    self.verdict.trapped += 1;
                    let frames = error.downcast_ref::<WasmBacktrace>().map(show_frames);
                    format!("{what}: {trap:?} at {}", frames.unwrap_or_default())
                }
                None if error.is::<ThrownException>() => {
                    self.verdict.trapped += 1;
                    let frames = error.downcast_ref::<WasmBacktrace>().map(show_frames);
                    format!("{what}: exception at {}", frames.unwrap_or_default())
                }
                None if error.kind() == ErrorKind::Limit => format!("{what}: {error}"),
                None => {
                    self.problem = Some(format!("{what}: {error:?}"));
                    return;
                }
            },
        };
        self.lines.push(line);
    }

    /// Enters the values of the exception that has left the guest, if one has.
    fn exception(&mut self, mut store: impl AsContextMut) {
        let mut store = store.as_context_mut();
        let Some(exception) = store.take_pending_exception() else { return };
        let mut line = String::from("  exception: ");
        Seen::default().show(&mut line, &mut store, &exception.into());
        self.lines.push(line);
    }

    /// Enters what imports have seen since the last time.
    fn take_host(&mut self, mut store: impl AsContextMut<Data = Host>) {
        self.lines.append(&mut store.as_context_mut().data_mut().lines);
    }

    /// Enters everything that the guest left behind.
    fn state(&mut self, store: &mut StoreContextMut<'_, Host>, exports: &[(String, Extern)]) {
        let mut line = String::from("  state:");
        // One for all: what two globals share is seen.
        let mut seen = Seen::default();
        for (name, export) in exports {
            match export {
                Extern::Global(global) => {
                    let value = global.get(&mut *store);
                    let _ = write!(line, " {name}=");
                    seen.show(&mut line, store, &value);
                }
                Extern::Memory(memory) => {
                    let data = memory.data(&*store);
                    let _ = write!(line, " {name}={} bytes, {:x}", data.len(), hash(data));
                }
                Extern::SharedMemory(memory) => {
                    let mut data = vec![0; memory.data_size()];
                    memory.read(0, &mut data).expect("memories do not shrink");
                    let _ = write!(line, " {name}={} bytes, {:x}", data.len(), hash(&data[..]));
                }
                Extern::Table(table) => {
                    let size = table.size(&*store);
                    let _ = write!(line, " {name}={size} elements");
                    for index in 0..size {
                        let element = table.get(&mut *store, index).expect("it is below the size");
                        if !element.is_null() {
                            let _ = write!(line, " {index}:");
                            seen.show(&mut line, store, &element.into());
                        }
                    }
                }
                Extern::Func(_) | Extern::Tag(_) => {}
            }
        }
        self.lines.push(line);
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Function and place of each frame.
fn show_frames(backtrace: &WasmBacktrace) -> String {
    let show = |frame: &FrameInfo| {
        let offset = frame.module_offset().unwrap_or(0);
        format!("{}@{offset:#x}", frame.func_index())
    };
    backtrace.frames().iter().map(show).collect::<Vec<_>>().join(" ")
}

/// An import of this type; `None` if the host has none.
fn provide(store: &mut Store<Host>, ty: &ExternType) -> Result<Option<Extern>> {
    let mut random = store.data().random.clone();
    Ok(Some(match ty {
        ExternType::Func(ty) => {
            let results: Vec<ValType> = ty.results().collect();
            let func = move |mut caller: Caller<'_, Host>, params: &[Val], given: &mut [Val]| {
                answer(&mut caller.as_context_mut(), params, &results, given)
            };
            Func::new(&mut *store, ty.clone(), func).into()
        }
        ExternType::Global(ty) => {
            match value(&mut store.as_context_mut(), &mut random, ty.content()) {
                Some(value) => Global::new(&mut *store, ty.clone(), value)?.into(),
                None => return Ok(None),
            }
        }
        ExternType::Memory(ty) if ty.is_shared() => {
            SharedMemory::new(store.engine(), ty.clone())?.into()
        }
        ExternType::Memory(ty) => Memory::new(&mut *store, ty.clone())?.into(),
        ExternType::Table(ty) => {
            let element = ValType::from(ty.element().clone());
            match value(&mut store.as_context_mut(), &mut random, &element).and_then(Val::ref_) {
                Some(value) => Table::new(&mut *store, ty.clone(), value)?.into(),
                None => return Ok(None),
            }
        }
        ExternType::Tag(ty) => {
            let tag = Tag::new(&mut *store, ty)?;
            store.data_mut().tags.push(tag);
            tag.into()
        }
        other => return Err(Error::msg(format!("no import of type {other:?}"))),
    }))
}

/// What a function of the host does: it tells what it was given, lets objects move, and returns something
/// or throws an exception.
fn answer(
    store: &mut StoreContextMut<'_, Host>,
    params: &[Val],
    results: &[ValType],
    given: &mut [Val],
) -> Result<()> {
    // Canonical NaNs go in; what comes out may be any.
    let mut line = String::from("  import: ");
    Seen::default().show_all(&mut line, store, params);
    store.data_mut().lines.push(line);
    let collect = store.data().collect;
    if collect {
        store.gc(None)?;
    }
    let mut random = store.data().random.clone();
    let outcome = outcome(store, &mut random, results);
    store.data_mut().random = random;
    given.copy_from_slice(&outcome?);
    if collect {
        store.gc(None)?;
    }
    Ok(())
}

fn outcome(
    store: &mut StoreContextMut<'_, Host>,
    random: &mut Random,
    results: &[ValType],
) -> Result<Vec<Val>> {
    let choice = random.next() >> 40;
    let tag = store.data().tags.get((choice >> 4) as usize % 8).copied();
    if let (0, Some(tag)) = (choice & 7, tag) {
        let ty = ExnType::from_tag_type(tag.ty(&*store))?;
        if let Some(fields) = values(store, random, ty.fields()) {
            let pre = ExnRefPre::new(&mut *store, ty);
            let exception = ExnRef::new(&mut *store, &pre, &tag, &fields)?;
            store.data_mut().lines.push("  import throws".into());
            return Ok(store.throw(exception)?);
        }
    }
    // No value of the type: the guest sees a trap.
    values(store, random, results.iter().cloned()).ok_or(Trap::UnreachableCodeReached.into())
}

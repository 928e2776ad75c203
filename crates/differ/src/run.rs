//! Running a case in every mode.

use crate::case::{Case, Random};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
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
    /// Plain x86-64.
    plain_cpu: bool,
}

/// Explicit checks in memories that are reserved, where speculation is confined and nothing masked.
const CONFINED: &str = "tiered at once, explicit checks";

const fn mode(
    name: &'static str,
    strategy: Strategy,
    tier_up: Option<u32>,
    signals: bool,
    plain_cpu: bool,
) -> Mode {
    Mode { name, strategy, tier_up, signals, plain_cpu }
}

/// All modes; the others are compared with the first.
pub const MODES: &[Mode] = &[
    mode("optimizing", Strategy::Optimizing, None, true, false),
    mode("optimizing, explicit checks, plain cpu", Strategy::Optimizing, None, false, true),
    mode("baseline", Strategy::Baseline, None, true, false),
    mode("baseline, explicit checks", Strategy::Baseline, None, false, false),
    mode("baseline, plain cpu", Strategy::Baseline, None, true, true),
    mode("tiered at once", Strategy::Tiered, Some(1), true, false),
    mode(CONFINED, Strategy::Tiered, Some(1), false, false),
    mode("tiered after 3, plain cpu", Strategy::Tiered, Some(3), true, true),
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
            let log = catch_unwind(AssertUnwindSafe(|| run(engine, case)))
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
            .epoch_interruption(metered)
            .wasm_all_proposals(true)
            .relaxed_simd_deterministic(true)
            .cranelift_nan_canonicalization(true)
            .parallel_compilation(false)
            .max_wasm_stack(STACK)
            .strategy(self.strategy);
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
}

fn run(engine: &Engine, case: &Case) -> Log {
    let mut log = Log::default();
    if let Some(module) = compile(engine, case, &mut log) {
        call_all(engine, &module, case, &mut log);
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
fn call_all(engine: &Engine, module: &Module, case: &Case, log: &mut Log) {
    let limits =
        StoreLimitsBuilder::new().memory_size(MEMORY).table_elements(TABLE_ELEMENTS).build();
    let host = Host { limits, random: case.values.clone(), lines: Vec::new() };
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.limits);
    // It is reached all the time, and nothing comes of it.
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(0)));
    refuel(&mut store, case);
    let imports: Result<Vec<Extern>> =
        module.imports().map(|import| provide(&mut store, &import.ty())).collect();
    let instance = imports.and_then(|imports| Instance::new(&mut store, module, &imports));
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
            let params: Vec<Val> = ty.params().map(|ty| value(&mut arguments, &ty)).collect();
            let mut results: Vec<Val> =
                ty.results().filter_map(|ty| Val::default_for_ty(&ty)).collect();
            refuel(&mut store, case);
            let result = func.call(&mut store, &params, &mut results);
            log.take_host(&mut store);
            log.end(name, result.as_ref().map(|()| show_all(&results)));
            log.exception(&mut store);
            if log.problem.is_some() || log.verdict.inconclusive {
                return;
            }
            log.state(&mut store, &exports);
            log.fuel(&store);
        }
    }
}

/// Gives guests what they may spend next.
fn refuel(store: &mut Store<Host>, case: &Case) {
    if let Some(fuel) = case.fuel {
        store.set_fuel(fuel).expect("engines of such cases consume it");
    }
}

impl Log {
    /// Enters the fuel that is left, if there is any.
    fn fuel(&mut self, store: &Store<Host>) {
        if let Ok(fuel) = store.get_fuel() {
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
                Some(Trap::StackOverflow) => return self.verdict.inconclusive = true,
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
    fn exception(&mut self, store: &mut Store<Host>) {
        let Some(exception) = store.take_pending_exception() else { return };
        match exception.fields(&mut *store) {
            Ok(fields) => {
                let fields: Vec<Val> = fields.collect();
                self.lines.push(format!("  exception: {}", show_all(&fields)));
            }
            Err(error) => self.problem = Some(format!("values of an exception: {error:?}")),
        }
    }

    /// Enters what imports have seen since the last time.
    fn take_host(&mut self, store: &mut Store<Host>) {
        self.lines.append(&mut store.data_mut().lines);
    }

    /// Enters everything that the guest left behind.
    fn state(&mut self, store: &mut Store<Host>, exports: &[(String, Extern)]) {
        let mut line = String::from("  state:");
        for (name, export) in exports {
            match export {
                Extern::Global(global) => {
                    let value = global.get(&mut *store);
                    let _ = write!(line, " {name}={}", show(&value));
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
                    let filled = |index: &u64| {
                        table.get(&mut *store, *index).is_some_and(|value| !value.is_null())
                    };
                    let filled: Vec<u64> = (0..size).filter(filled).collect();
                    let _ = write!(line, " {name}={size} elements, {:x}", hash(&filled));
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

fn show_all(values: &[Val]) -> String {
    values.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(v) => format!("{v:#x}"),
        Val::I64(v) => format!("{v:#x}L"),
        Val::F32(v) => format!("f32:{v:#x}"),
        Val::F64(v) => format!("f64:{v:#x}"),
        Val::V128(v) => format!("v128:{:#x}", v.as_u128()),
        Val::FuncRef(func) => format!("func:{}", func.is_some()),
        Val::ExternRef(value) => format!("extern:{}", value.is_some()),
        Val::AnyRef(value) => format!("any:{}", value.is_some()),
        Val::ExnRef(value) => format!("exn:{}", value.is_some()),
    }
}

/// A value of a type; references are null.
fn value(random: &mut Random, ty: &ValType) -> Val {
    let bits = random.interesting();
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits as i64),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits),
        ValType::V128 => {
            Val::V128((u128::from(bits) << 64 | u128::from(random.interesting())).into())
        }
        ValType::Ref(_) => Val::default_for_ty(ty).expect("types of imports are nullable"),
    }
}

/// An import of this type.
fn provide(store: &mut Store<Host>, ty: &ExternType) -> Result<Extern> {
    Ok(match ty {
        ExternType::Func(ty) => {
            let results: Vec<ValType> = ty.results().collect();
            let func = Func::new(&mut *store, ty.clone(), move |mut caller, params, given| {
                let host = caller.data_mut();
                // Canonical NaNs go in; what comes out may be any.
                host.lines.push(format!("  import: {}", show_all(params)));
                for (given, ty) in given.iter_mut().zip(&results) {
                    *given = value(&mut host.random, ty);
                }
                Ok(())
            });
            func.into()
        }
        ExternType::Global(ty) => {
            let mut random = store.data().random.clone();
            let value = value(&mut random, ty.content());
            Global::new(&mut *store, ty.clone(), value)?.into()
        }
        ExternType::Memory(ty) if ty.is_shared() => {
            SharedMemory::new(store.engine(), ty.clone())?.into()
        }
        ExternType::Memory(ty) => Memory::new(&mut *store, ty.clone())?.into(),
        ExternType::Table(ty) => {
            let null = Ref::null(ty.element().heap_type());
            Table::new(&mut *store, ty.clone(), null)?.into()
        }
        ExternType::Tag(ty) => Tag::new(&mut *store, ty)?.into(),
        other => return Err(Error::msg(format!("no import of type {other:?}"))),
    })
}

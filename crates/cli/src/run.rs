//! `wardian run`: a program with WASI, or one exported function.

use crate::args::{Profile, RunArgs};
use crate::options::Choices;
use crate::threads::Threads;
use crate::timeout::Timeout;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wardian::error::Context as _;
use wardian::{
    Budget, CodeShape, Engine, Error, Extern, ExternType, Func, Instance, Linker, Module,
    ProfilingStrategy, Result, Stats, Store, StoreLimits, StoreLimitsBuilder, Trap, Val, ValType,
    WasmCoreDump, bail, ensure, format_err,
};
use wardian_wasi::{DirPerms, FilePerms, I32Exit, WasiCtxBuilder, WasiP1Ctx, p1};

/// What a store of the program holds.
pub struct Host {
    wasi: Arc<Mutex<WasiP1Ctx>>,
    limits: StoreLimits,
}

/// What the stores of the program's threads have in common.
pub struct Setup {
    wasi: Arc<Mutex<WasiP1Ctx>>,
    choices: Choices,
    budget: Option<Budget>,
    file: PathBuf,
    /// See `Choices`.
    pub max_threads: u32,
    /// See `Choices`.
    pub max_wasm_stack: usize,
}

impl Setup {
    /// A store for a thread of the program.
    ///
    /// # Errors
    ///
    /// None that the options allow.
    pub fn store(&self, engine: &Engine) -> Result<Store<Host>> {
        let host = Host { wasi: self.wasi.clone(), limits: self.limits() };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.limits);
        if let Some(fuel) = self.choices.fuel {
            store.set_fuel(fuel)?;
        }
        // Without a timeout nobody lets the epoch grow.
        store.set_epoch_deadline(1);
        Ok(store)
    }

    /// What limits memories and tables.
    pub fn limits(&self) -> StoreLimits {
        limits(&self.choices, self.budget.as_ref())
    }

    /// Says of a trap that the command line asked for that it did.
    pub fn explain(&self, error: Error) -> Error {
        match (error.downcast_ref(), self.choices.timeout) {
            (Some(Trap::Interrupt), Some(time)) => {
                error.context(format!("its time, {time:?}, was over (`-W timeout`)"))
            }
            _ => error,
        }
    }

    /// Writes the core dump of a trap, if one is wanted, and tells of it.
    pub fn dump(&self, error: Error, store: &Store<Host>) -> Error {
        match &self.choices.coredump {
            Some(target) => dump(error, store, &self.file, target),
            None => error,
        }
    }
}

/// Threads that a program may have beside its own, if nothing was said.
const DEFAULT_THREADS: u32 = 256;

/// Runs a program and gives its exit code.
///
/// # Errors
///
/// When it cannot be read, compiled or linked, and when it traps.
pub fn run(args: &RunArgs, mut choices: Choices) -> Result<ExitCode> {
    let cache = choices.cache()?;
    choices.config.cache(cache);
    choices.config.profiler(match args.profile {
        None => ProfilingStrategy::None,
        Some(Profile::PerfMap) => ProfilingStrategy::PerfMap,
        Some(Profile::JitDump) => ProfilingStrategy::JitDump,
    });
    let engine = Engine::new(&choices.config)?;
    let (file, _) = args.program.split_first().expect("`program` is required");
    let file = Path::new(file);
    let module = load(&engine, file, args.allow_precompiled)?;

    let budget = choices.budget.map(Budget::new);
    let setup = Arc::new(Setup {
        wasi: Arc::new(Mutex::new(wasi(args, budget.as_ref())?)),
        budget,
        file: file.to_path_buf(),
        max_threads: choices.max_threads.unwrap_or(DEFAULT_THREADS),
        max_wasm_stack: choices.max_wasm_stack.unwrap_or(512 << 10),
        choices: choices.clone(),
    });
    let mut store = setup.store(&engine)?;
    let what = || format!("failed to run `{}`", file.display());
    let timeout = choices.timeout.map(|time| Timeout::start(&engine, time, what()));
    let timeout = timeout.transpose().context("failed to start the thread for `-W timeout`")?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    p1::add_to_linker_shared(&mut linker, |host| &host.wasi)?;
    let threads = choices.threads.then(|| Threads::new(&engine, setup.clone()));
    if let Some(threads) = &threads {
        // A preloaded instance is of one store.
        ensure!(args.preloads.is_empty(), "`-S threads` and `--preload` exclude each other");
        threads.link(&mut linker, &store, &module)?;
    }
    let mut modules = vec![module.clone()];
    for preload in &args.preloads {
        let module = load(&engine, &preload.file, args.allow_precompiled)?;
        linker.module(&mut store, &preload.name, &module).with_context(|| {
            format!("failed to preload `{}` as `{}`", preload.file.display(), preload.name)
        })?;
        modules.push(module);
    }
    if choices.unknown_imports_trap {
        linker.define_unknown_imports_as_traps(&module)?;
    }
    if choices.unknown_imports_default {
        linker.define_unknown_imports_as_default_values(&mut store, &module)?;
    }

    if let Some(threads) = &threads {
        threads.program(&linker, &module)?;
    }
    let ran = start(args, &module, &linker, &mut store);
    let ran = ran.map_err(|error| setup.explain(error)).with_context(what);
    if let Some(threads) = &threads {
        // NOTE [one end]
        std::mem::forget(threads.end());
    }
    drop(timeout);
    let ran = ran.map_err(|error| setup.dump(error, &store));
    if args.stats {
        // If standard error is closed, nobody wants to know.
        let _ = std::io::stderr().write_all(stats(&engine.stats()).as_bytes());
    }
    // What was compiled is kept for the next run. All else goes with the process, which does not wait for a
    // compiler that is still at work, as dropping the engine would.
    modules.iter().for_each(Module::keep_in_cache);
    engine.wait_for_cache();
    std::mem::forget((store, linker, module, modules, setup, engine));
    match ran {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            // The operating system keeps the low eight bits, as of every process.
            Some(I32Exit(code)) => Ok(ExitCode::from(*code as u8)),
            None => Err(error),
        },
    }
}

/// Writes the core dump of a trap, if that is what ended the program, and tells of it.
fn dump(error: Error, store: &Store<Host>, program: &Path, target: &Path) -> Error {
    let Some(dump) = error.downcast_ref::<WasmCoreDump>() else { return error };
    let name = target.display();
    let written = std::fs::File::create(target).map_err(Error::from).and_then(|file| {
        let mut out = std::io::BufWriter::new(file);
        let left_out = dump.write_to(store, &program.to_string_lossy(), &mut out)?;
        out.flush()?;
        Ok(left_out)
    });
    match written {
        Ok(0) => error.context(format!("core dumped to `{name}`")),
        Ok(left_out) => error.context(format!(
            "core dumped to `{name}`, without {left_out} bytes of memories that the format has no room for"
        )),
        Err(failure) => error.context(format!("failed to dump core to `{name}`: {failure:#}")),
    }
}

/// What compilers and cache did, a line each.
fn stats(stats: &Stats) -> String {
    let tier = |name: &str, functions: u64, bytes: u64, code_bytes: u64, time: Duration| {
        let time = time.as_secs_f64() * 1e3;
        format!(
            "{name}: {functions} functions, {bytes} bytes in {time:.3} ms, {code_bytes} bytes of code\n"
        )
    };
    let validation = stats.validation_time.as_secs_f64() * 1e3;
    let mut text = format!("validated: {} bytes in {validation:.3} ms\n", stats.validated_bytes);
    text += &tier(
        "baseline",
        stats.baseline_functions,
        stats.baseline_bytes,
        stats.baseline_code_bytes,
        stats.baseline_time,
    );
    text += &tier(
        "optimized",
        stats.optimized_functions,
        stats.optimized_bytes,
        stats.optimized_code_bytes,
        stats.optimized_time,
    );
    text += &shape("baseline", &stats.baseline_shape);
    text += &shape("optimized", &stats.optimized_shape);
    text += &format!(
        "tier-ups: {} functions, {} loops in {:.3} ms, {} refused\n",
        stats.tier_ups,
        stats.loop_replacements,
        stats.loop_replacement_time.as_secs_f64() * 1e3,
        stats.refused_tier_ups
    );
    text += &format!(
        "cache: {} hits, {} misses, {} functions in {:.3} ms, {} bytes of code\n",
        stats.cache_hits,
        stats.cache_misses,
        stats.cached_functions,
        stats.cache_time.as_secs_f64() * 1e3,
        stats.cached_code_bytes
    );
    text
}

/// What functions and code of a tier look like, in two lines. The optimizing tier does not tell its spills.
fn shape(name: &str, shape: &CodeShape) -> String {
    let spills = match name {
        "baseline" => format!(", {} spills, {} reloads", shape.spills, shape.reloads),
        _ => format!(", {} calls inlined", shape.inlined_calls),
    };
    format!(
        "{name} shape: {} blocks, {} loops, {} branches, {} calls, operands {} deep\n\
         {name} frames: {} bytes, the largest {}{spills}\n",
        shape.blocks,
        shape.loops,
        shape.branches,
        shape.calls,
        shape.deepest_stack,
        shape.frame_bytes,
        shape.largest_frame,
    )
}

/// Instantiates the program and calls what is asked for.
fn start(
    args: &RunArgs,
    module: &Module,
    linker: &Linker<Host>,
    store: &mut Store<Host>,
) -> Result<()> {
    // Seen before anything runs, so that a mistake has no effects.
    let wanted = args.invoke.as_deref().unwrap_or("_start");
    let reactor = module.get_export("_initialize").is_some();
    match module.get_export(wanted) {
        Some(ExternType::Func(_)) => {}
        Some(_) => bail!("the export `{wanted}` is not a function"),
        None if args.invoke.is_none() && reactor => {}
        None => bail!("no function is exported as `{wanted}`; {}", exports(module)),
    }
    let instance = linker.instantiate(&mut *store, module)?;
    if reactor && let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
        initialize.call(&mut *store, &[], &mut []).context("failed in `_initialize`")?;
    }
    match &args.invoke {
        Some(name) => invoke(args, name, instance, store),
        None => match instance.get_func(&mut *store, "_start") {
            Some(start) => start.call(store, &[], &mut []),
            None => Ok(()),
        },
    }
}

/// Calls one function with the program's arguments and prints its results, a line each.
fn invoke(args: &RunArgs, name: &str, instance: Instance, store: &mut Store<Host>) -> Result<()> {
    let func: Func = match instance.get_export(&mut *store, name) {
        Some(Extern::Func(func)) => func,
        _ => bail!("no function is exported as `{name}`"),
    };
    let ty = func.ty(&*store);
    let given = &args.program[1..];
    ensure!(
        given.len() == ty.params().len(),
        "`{name}` is a {ty}: expected {} arguments, found {}",
        ty.params().len(),
        given.len()
    );
    let mut values = Vec::with_capacity(given.len());
    for (count, (text, ty)) in (1..).zip(given.iter().zip(ty.params())) {
        let what = || format!("argument {count} of `{name}`");
        let text = text.to_str().ok_or_else(|| format_err!("{} is not UTF-8", what()))?;
        values.push(parse(text, &ty).with_context(what)?);
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    func.call(&mut *store, &values, &mut results)
        .with_context(|| format!("failed to call `{name}`"))?;
    let mut text = String::new();
    for result in &results {
        text.push_str(&show(result));
        text.push('\n');
    }
    crate::print(text).map(drop)
}

/// A number as its type reads it: decimal or, after `0x`, hexadecimal; integers signed or unsigned.
fn parse(text: &str, ty: &ValType) -> Result<Val> {
    let integer = |bits: u32| -> Result<i128> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let number = match digits.strip_prefix("0x") {
            Some(hex) => u128::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let number = number.ok().and_then(|number| i128::try_from(number).ok());
        let number = number.ok_or_else(|| format_err!("expected {ty}, found `{text}`"))?;
        let number = sign * number;
        ensure!(
            number >= -(1 << (bits - 1)) && number < 1 << bits,
            "expected {ty}, found `{text}`, which does not fit"
        );
        Ok(number)
    };
    Ok(match ty {
        ValType::I32 => Val::I32(integer(32)? as i32),
        ValType::I64 => Val::I64(integer(64)? as i64),
        ValType::F32 => Val::F32(text.parse::<f32>().context("expected f32")?.to_bits()),
        ValType::F64 => Val::F64(text.parse::<f64>().context("expected f64")?.to_bits()),
        other => bail!("a value of type {other} cannot be given on the command line"),
    })
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(value) => value.as_u128().to_string(),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => {
            "<null>".into()
        }
        Val::ExnRef(Some(_)) => "<exnref>".into(),
        Val::FuncRef(Some(_)) => "<funcref>".into(),
        Val::ExternRef(Some(_)) => "<externref>".into(),
        Val::AnyRef(Some(_)) => "<anyref>".into(),
    }
}

/// A module from a file of any kind: binary, text or, if allowed, an artifact.
pub(crate) fn load(engine: &Engine, file: &Path, allow_precompiled: bool) -> Result<Module> {
    if Engine::detect_precompiled_file(file)?.is_some() {
        ensure!(
            allow_precompiled,
            "`{}` is an artifact of `wardian compile`; run it with `--allow-precompiled`",
            file.display()
        );
        // The error names the file.
        return Module::deserialize_file(engine, file);
    }
    Module::from_file(engine, file)
}

/// What the program is given of this process: its streams, and what the command line names.
fn wasi(args: &RunArgs, budget: Option<&Budget>) -> Result<WasiP1Ctx> {
    let mut builder = WasiCtxBuilder::new();
    if let Some(budget) = budget {
        builder.budget(budget);
    }
    builder.inherit_stdio();
    for (position, argument) in args.program.iter().enumerate() {
        let argument = match &args.argv0 {
            Some(name) if position == 0 => name,
            _ => argument
                .to_str()
                .ok_or_else(|| format_err!("argument {position} is not UTF-8: {argument:?}"))?,
        };
        builder.arg(argument);
    }
    for variable in &args.env {
        match &variable.value {
            Some(value) => builder.env(&variable.name, value),
            None => {
                let value = std::env::var(&variable.name)
                    .with_context(|| format!("environment variable `{}`", variable.name))?;
                builder.env(&variable.name, value)
            }
        };
    }
    for dir in &args.dirs {
        let (dirs, files) = if dir.read_only {
            (DirPerms::READ, FilePerms::READ)
        } else {
            (DirPerms::all(), FilePerms::all())
        };
        builder
            .preopened_dir(&dir.host, &dir.guest, dirs, files)
            .with_context(|| format!("failed to open the directory `{}`", dir.host.display()))?;
    }
    Ok(builder.build_p1())
}

fn limits(choices: &Choices, budget: Option<&Budget>) -> StoreLimits {
    let mut builder = StoreLimitsBuilder::new().trap_on_grow_failure(choices.trap_on_grow_failure);
    if let Some(bytes) = choices.max_memory_size {
        builder = builder.memory_size(bytes);
    }
    if let Some(elements) = choices.max_table_elements {
        builder = builder.table_elements(elements);
    }
    if let Some(budget) = budget {
        builder = builder.budget(budget);
    }
    builder.build()
}

/// What a module exports, in a sentence.
fn exports(module: &Module) -> String {
    const SHOWN: usize = 20;
    let funcs: Vec<String> = module
        .exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| format!("`{}`", export.name().escape_debug()))
        .collect();
    match funcs.len() {
        0 => "it exports no functions".into(),
        count if count > SHOWN => {
            format!(
                "it exports the functions {} and {} more",
                funcs[..SHOWN].join(", "),
                count - SHOWN
            )
        }
        _ => format!("it exports the functions {}; `--invoke` calls one", funcs.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_by_type() {
        let check = |text: &str, ty: ValType, expected: Option<&str>| {
            assert_eq!(parse(text, &ty).ok().map(|v| show(&v)).as_deref(), expected, "{text}");
        };
        check("-1", ValType::I32, Some("-1"));
        check("4294967295", ValType::I32, Some("-1"));
        check("4294967296", ValType::I32, None);
        check("-2147483649", ValType::I32, None);
        check("0x10", ValType::I64, Some("16"));
        check("1.5", ValType::F64, Some("1.5"));
        check("1.5", ValType::I32, None);
        check("1", ValType::EXTERNREF, None);
    }
}

//! From validated sections to a code image: every body validated and compiled, in parallel when it
//! pays. And single functions, for modules that are compiled while they run.

use crate::compilers::{baseline, optimizing};
use crate::log;
use crate::parallel;
use crate::stats::{Compiled, Counters, Made};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use wardian_lower::Shape;
use wardian_module::image::{CodeImage, FunctionCode, link};
use wardian_module::layout::{Linkage, ModuleTable, VmLayout};
use wardian_module::{
    Body, DecodeError, DefinedFuncIndex, FuncIndex, Module, Proposals, Settings, decode,
    decode_before_rest, decode_with,
};
use wasmparser::{
    BinaryReader, FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources,
    WasmFeatures,
};

pub use optimizing::CompileError;
use optimizing::Scratch;

/// How far the compilation of a module has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CompileProgress {
    /// Functions that are compiled.
    pub functions: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Functions that the module defines.
    pub total_functions: usize,
    /// Bytes of their bodies.
    pub total_bytes: usize,
}

/// Bytes of bodies below which threads cost more than they save, when compiling.
const PARALLEL_BYTES: usize = 64 << 10;
/// The same for validating.
const PARALLEL_VALIDATION_BYTES: usize = 256 << 10;
/// Bytes of modules that are decoded while another thread looks for them in the cache.
const PARALLEL_LOOK_UP_BYTES: usize = 1 << 20;
/// Bodies that a thread validates in a row.
const VALIDATION_RUN: usize = 64;
/// One of so many parts of all bytes of bodies is how much may be compiled at once, or the largest body; beside it
/// only the smallest are. A body takes some 400 times its bytes while it is compiled, so threads that all had
/// large ones would take many times what the module and its code do.
const SHARES: usize = 32;
/// States of compilers that wait for their next function.
const KEPT_SCRATCHES: usize = 4;

/// Makes what is compiled of a module's functions, as often as it is wanted.
pub(crate) struct Bodies(Option<(ValidatorResources, WasmFeatures)>);

impl Bodies {
    /// From all bodies that decoding gave.
    pub(crate) fn new(bodies: Vec<Body>) -> Bodies {
        let first = bodies.into_iter().next();
        Bodies(first.map(|body| (body.validator.resources, body.validator.features)))
    }

    /// The body of a function of `module`, which is the one they came from.
    pub(crate) fn of(&self, module: &Module, func: DefinedFuncIndex) -> Body {
        let (resources, features) = self.0.clone().expect("the module has this function");
        let index = module.func_index(func);
        let ty = module.funcs[index.index()].0;
        Body {
            index: func,
            range: module.bodies[func.index()].clone(),
            validator: FuncToValidate { resources, index: index.0, ty, features },
        }
    }
}

/// The compilers of an engine.
pub struct Compiler {
    pub(crate) optimizing: optimizing::Compiler,
    pub(crate) baseline: baseline::Compiler,
    first_scratches: Pool<baseline::Scratch>,
    scratches: Pool<Scratch>,
    parallel: bool,
    /// Threads of a pool do not survive `fork`.
    process: u32,
}

/// What compilers reuse from function to function.
#[derive(Default)]
struct Pool<S>(Mutex<Vec<Box<S>>>);

impl<S: Default> Pool<S> {
    /// Acts with one that is not in use. A lock that is held elsewhere is not waited for: after `fork` it
    /// might be held for ever.
    fn with<R>(&self, act: impl FnOnce(&mut S) -> R) -> R {
        let kept = || self.0.try_lock().ok();
        // Large, and so moved as a box.
        let mut scratch: Box<S> = kept().and_then(|mut kept| kept.pop()).unwrap_or_default();
        let result = act(&mut scratch);
        if let Some(mut kept) = kept()
            && kept.len() < KEPT_SCRATCHES
        {
            kept.push(scratch);
        }
        result
    }
}

impl Compiler {
    /// Compilers for this machine, or for another processor of its architecture by name.
    pub fn new(settings: &Settings, cpu: &str, parallel: bool) -> Result<Compiler, String> {
        let optimizer = optimizing::Compiler::with_cpu(settings, cpu)?;
        let first = baseline::Compiler::new(settings, features(&optimizer));
        let process = wardian_vm::process();
        let (first_scratches, scratches) = (Pool::default(), Pool::default());
        Ok(Compiler {
            optimizing: optimizer,
            baseline: first,
            first_scratches,
            scratches,
            parallel,
            process,
        })
    }

    /// The first code of a function is the last: it need not count how often it runs.
    pub fn without_counting(&mut self) {
        self.baseline.without_counting();
    }

    /// Everything that the code depends on beside the settings: target and processor features.
    pub fn isa_key(&self) -> String {
        self.optimizing.isa_key()
    }

    /// The settings that functions are compiled under.
    pub(crate) fn settings(&self) -> &Settings {
        self.optimizing.settings()
    }

    /// Whether work may be shared among threads: asked for, and not in a child of the process that made it.
    pub fn is_parallel(&self) -> bool {
        parallel::ENABLED && self.parallel && self.process == wardian_vm::process()
    }

    /// Compiles a function for its first call: with the single-pass tier, or, if that refuses the
    /// function, with the optimizing tier.
    pub(crate) fn first(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: impl Fn() -> Body,
        is_final: &dyn Fn(DefinedFuncIndex) -> bool,
    ) -> Result<(FunctionCode, Made, Shape), CompileError> {
        match self.single_pass(module, layout, body(), Linkage::Slots) {
            Err(error) if !matches!(error, CompileError::Invalid(_)) => {
                tracing::debug!(target: log::COMPILE, %error, "refused by the single-pass tier");
                let (code, shape) = self.optimized(module, layout, body(), is_final)?;
                Ok((code, Made::Optimized, shape))
            }
            done => done,
        }
    }

    fn single_pass(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        linkage: Linkage,
    ) -> Result<(FunctionCode, Made, Shape), CompileError> {
        self.first_scratches.with(|scratch| {
            let code = self.baseline.compile(module, layout, body, linkage, scratch)?;
            Ok((code, Made::Baseline, scratch.shape()))
        })
    }

    /// Compiles a function with the optimizing tier, for calls through slots, or by distance of functions that
    /// are final.
    pub(crate) fn optimized(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        is_final: &dyn Fn(DefinedFuncIndex) -> bool,
    ) -> Result<(FunctionCode, Shape), CompileError> {
        self.scratches.with(|scratch| {
            let code = self.optimizing.compile_beside(module, layout, body, is_final, scratch)?;
            Ok((code, scratch.shape()))
        })
    }

    /// Compiles a function ahead of time, for calls by distance: with the optimizing tier, or, past its cap, with
    /// the single-pass tier.
    fn ahead(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        scratch: &mut Scratch,
    ) -> Result<(FunctionCode, Made, Shape), CompileError> {
        let again = body.clone();
        match self.optimizing.compile(module, layout, body, Linkage::Direct, scratch) {
            Err(error @ CompileError::TooLarge { .. }) => {
                tracing::warn!(target: log::COMPILE, %error, "it gets code of the single-pass tier");
                self.single_pass(module, layout, again, Linkage::Direct)
            }
            made => Ok((made?, Made::Optimized, scratch.shape())),
        }
    }

    /// Compiles what a loop is left for in mid-loop; also how many values of live state that reads.
    pub(crate) fn replacement(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        head: u32,
        is_final: &dyn Fn(DefinedFuncIndex) -> bool,
    ) -> Result<(FunctionCode, u32), CompileError> {
        self.scratches.with(|scratch| {
            self.optimizing.compile_replacement(module, layout, body, head, is_final, scratch)
        })
    }
}

/// What the single-pass tier may use: what the optimizing tier was allowed to.
fn features(optimizing: &optimizing::Compiler) -> baseline::Features {
    baseline::Features {
        sse3: optimizing.has("has_sse3"),
        ssse3: optimizing.has("has_ssse3"),
        sse41: optimizing.has("has_sse41"),
        sse42: optimizing.has("has_sse42"),
        popcnt: optimizing.has("has_popcnt"),
        lzcnt: optimizing.has("has_lzcnt"),
        bmi1: optimizing.has("has_bmi1"),
        bmi2: optimizing.has("has_bmi2"),
        avx: optimizing.has("has_avx"),
        fma: optimizing.has("has_fma"),
    }
}

/// Compiles all functions of `module` ahead of time. `progress` is told after each function,
/// from the thread that compiled it.
pub fn compile(
    compiler: &Compiler,
    module: &Module,
    bodies: Vec<Body>,
    counters: &Counters,
    progress: Option<&(dyn Fn(CompileProgress) + Sync)>,
) -> Result<CodeImage, CompileError> {
    let layout = VmLayout::new(module);
    let bytes: usize = bodies.iter().map(|body| body.range.len()).sum();
    let (total_functions, total_bytes) = (bodies.len(), bytes);
    let (done_functions, done_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let one = |scratch: &mut Scratch, body: Body| -> Result<FunctionCode, CompileError> {
        let (start, bytes) = (Instant::now(), body.range.len());
        let func = module.func_index(body.index);
        let (code, made, shape) = compiler.ahead(module, &layout, body, scratch)?;
        let code_bytes = code.bytes.len();
        let compiled = Compiled { made, func, bytes, code_bytes, shape };
        counters.compiled(&compiled, start);
        if let Some(progress) = progress {
            let functions = done_functions.fetch_add(1, Relaxed) + 1;
            let bytes = done_bytes.fetch_add(bytes, Relaxed) + bytes;
            progress(CompileProgress { functions, bytes, total_functions, total_bytes });
        }
        Ok(code)
    };
    let funcs: Vec<FunctionCode> = if compiler.is_parallel() && bytes >= PARALLEL_BYTES {
        // The largest first: it takes most memory, and by now there is no code of others.
        let mut bodies = bodies;
        bodies.sort_unstable_by_key(|body| std::cmp::Reverse(body.range.len()));
        let order: Vec<_> = bodies.iter().map(|body| body.index).collect();
        let size = |body: &Body| body.range.len();
        let largest = bodies.first().map_or(0, size);
        let most = largest.max(bytes / SHARES);
        let funcs = parallel::map_init(bodies, size, most, Scratch::new, one)?;
        let mut funcs: Vec<_> = order.into_iter().zip(funcs).collect();
        funcs.sort_unstable_by_key(|(index, _)| *index);
        funcs.into_iter().map(|(_, code)| code).collect()
    } else {
        let mut scratch = Scratch::new();
        bodies.into_iter().map(|body| one(&mut scratch, body)).collect::<Result<_, _>>()?
    };
    link(funcs, ModuleTable::size(module.types.len(), module.bodies.len(), Linkage::Direct))
        .map_err(|error| CompileError::Internal(error.to_string()))
}

/// Decodes a module and validates all of it, bodies included: in parallel, and while the sections behind
/// the code are decoded, when it pays. Errors outside of bodies come first, then that of the first body.
pub fn decode_valid(
    compiler: &Compiler,
    wasm: impl Into<Arc<Vec<u8>>>,
    proposals: Proposals,
    counters: &Counters,
) -> Result<(Module, Vec<Body>), DecodeError> {
    let wasm = wasm.into();
    if !compiler.is_parallel() || wasm.len() < PARALLEL_VALIDATION_BYTES {
        let (module, bodies) = decode(wasm, proposals)?;
        let code = Unvalidated::new(&module, bodies);
        code.validate(counters, |bodies| code.validate_run(bodies))?;
        return Ok((module, code.bodies));
    }
    let (code, valid) = (OnceLock::new(), OnceLock::new());
    let module = parallel::scope(|scope| {
        decode_with(wasm, proposals, |module, bodies| {
            let code = code.get_or_init(|| Unvalidated::new(module, bodies));
            let all = move |bodies: &[Body]| code.validate_shared(bodies);
            let valid = &valid;
            scope.spawn(move |_| {
                valid.set(code.validate(counters, all)).expect("it is set once");
            });
        })
    })?;
    valid.into_inner().expect("the scope waited for it")?;
    let code = code.into_inner().expect("decoding gave them");
    Ok((module, code.bodies))
}

/// What of a module need not be validated.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The module is valid, but perhaps for its bodies.
    pub module: bool,
    /// Its bodies are, or are validated when they are compiled.
    pub bodies: bool,
}

/// Decodes a module, and has `look_up` find out, on another thread when that pays, what there is for its
/// bytes and what is known by that. The rest is validated.
pub fn decode_beside<R: Send>(
    compiler: &Compiler,
    wasm: Vec<u8>,
    proposals: Proposals,
    counters: &Counters,
    look_up: impl FnOnce(&[u8]) -> (R, Known) + Send,
) -> Result<(Module, Vec<Body>, R), DecodeError> {
    let wasm = Arc::new(wasm);
    if !compiler.is_parallel() || wasm.len() < PARALLEL_LOOK_UP_BYTES {
        let (found, known) = look_up(&wasm);
        let (module, bodies) = match known.bodies {
            true => decode(wasm, proposals)?,
            false => decode_valid(compiler, wasm, proposals, counters)?,
        };
        return Ok((module, bodies, found));
    }
    // Both on threads of the pool: the first to be done helps the other with its hashes.
    let here = || decode_before_rest(&wasm, proposals);
    let (decoded, (found, known)) = parallel::join(here, || look_up(&wasm));
    let (module, bodies, rest) = decoded?;
    if known.bodies {
        if !known.module {
            rest.validate()?;
        }
        return Ok((module, bodies, found));
    }
    let code = Unvalidated::new(&module, bodies);
    let all = || code.validate(counters, |bodies| code.validate_shared(bodies));
    let (rest, all) = parallel::join(|| rest.validate(), all);
    rest.and(all)?;
    Ok((module, code.bodies, found))
}

/// Bodies that are still to be validated, and what that takes.
struct Unvalidated {
    wasm: Arc<Vec<u8>>,
    proposals: Proposals,
    imported_funcs: usize,
    bodies: Vec<Body>,
}

impl Unvalidated {
    fn new(module: &Module, bodies: Vec<Body>) -> Unvalidated {
        let Module { proposals, imported_funcs, .. } = *module;
        Unvalidated { wasm: module.wasm.clone(), proposals, imported_funcs, bodies }
    }

    /// Validates all by `how`, and counts them.
    fn validate(
        &self,
        counters: &Counters,
        how: impl FnOnce(&[Body]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let start = Instant::now();
        how(&self.bodies)?;
        counters.validated(self.bodies.iter().map(|body| body.range.len()).sum(), start);
        Ok(())
    }

    /// By several threads.
    fn validate_shared(&self, bodies: &[Body]) -> Result<(), DecodeError> {
        let run = |run: &[Body]| self.validate_run(run).err();
        parallel::find_first(bodies, VALIDATION_RUN, run).map_or(Ok(()), Err)
    }

    fn validate_run(&self, bodies: &[Body]) -> Result<(), DecodeError> {
        let mut allocations = FuncValidatorAllocations::default();
        for body in bodies {
            let reader = BinaryReader::new_features(
                &self.wasm[body.range.clone()],
                body.range.start as u64,
                self.proposals.features(),
            );
            let FuncToValidate { ref resources, index, ty, features } = body.validator;
            let validator = FuncToValidate { resources: resources.clone(), index, ty, features };
            let mut validator = validator.into_validator(allocations);
            validator.validate(&FunctionBody::new(reader)).map_err(|error| {
                let index = FuncIndex::from(self.imported_funcs + body.index.index());
                DecodeError::from(error).in_func(index, &self.wasm)
            })?;
            allocations = validator.into_allocations();
        }
        Ok(())
    }
}

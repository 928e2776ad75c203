//! From validated sections to a code image: every body validated and compiled, in parallel when it
//! pays. And single functions, for modules that are compiled while they run.

use crate::stats::{Counters, Made};
use rayon::prelude::*;
use std::sync::Mutex;
use std::time::Instant;
use wardian_cranelift::Scratch;
use wardian_module::image::{CodeImage, FunctionCode, link};
use wardian_module::layout::{Linkage, ModuleTable, VmLayout};
use wardian_module::{Body, DecodeError, Module, OptLevel, Proposals, Settings, decode};
use wasmparser::{BinaryReader, FuncToValidate, FuncValidatorAllocations, FunctionBody};

pub use wardian_cranelift::CompileError;

/// Bytes of bodies below which threads cost more than they save, when compiling.
const PARALLEL_BYTES: usize = 64 << 10;
/// The same for validating.
const PARALLEL_VALIDATION_BYTES: usize = 256 << 10;
/// Bodies that a thread validates in a row.
const VALIDATION_RUN: usize = 64;
/// States of compilers that wait for their next function.
const KEPT_SCRATCHES: usize = 4;

/// The compilers of an engine.
pub struct Compiler {
    optimizing: wardian_cranelift::Compiler,
    /// Compiles functions for their first call.
    first: wardian_cranelift::Compiler,
    scratches: Mutex<Vec<Scratch>>,
    parallel: bool,
    /// Threads of a pool do not survive `fork`.
    process: u32,
}

impl Compiler {
    /// Compilers for this machine, or for another processor of its architecture by name.
    pub fn new(settings: &Settings, cpu: &str, parallel: bool) -> Result<Compiler, String> {
        let optimizing = wardian_cranelift::Compiler::with_cpu(settings, cpu)?;
        let fast = Settings { opt_level: OptLevel::None, ..settings.clone() };
        let first = wardian_cranelift::Compiler::with_cpu(&fast, cpu)?;
        let process = std::process::id();
        Ok(Compiler { optimizing, first, scratches: Mutex::default(), parallel, process })
    }

    /// Everything that the code depends on beside the settings: target and processor features.
    pub fn isa_key(&self) -> String {
        self.optimizing.isa_key()
    }

    fn is_parallel(&self) -> bool {
        self.parallel && self.process == std::process::id()
    }

    fn with_scratch<R>(&self, act: impl FnOnce(&mut Scratch) -> R) -> R {
        let kept = || self.scratches.try_lock().ok();
        let mut scratch = kept().and_then(|mut kept| kept.pop()).unwrap_or_default();
        let result = act(&mut scratch);
        if let Some(mut kept) = kept()
            && kept.len() < KEPT_SCRATCHES
        {
            kept.push(scratch);
        }
        result
    }

    /// Compiles a function for its first call.
    pub(crate) fn first(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
    ) -> Result<FunctionCode, CompileError> {
        self.with_scratch(|scratch| {
            self.first.compile(module, layout, body, Linkage::Slots, scratch)
        })
    }

    /// Compiles a function with the optimizing tier.
    pub(crate) fn optimized(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        linkage: Linkage,
    ) -> Result<FunctionCode, CompileError> {
        self.with_scratch(|scratch| self.optimizing.compile(module, layout, body, linkage, scratch))
    }

    /// Compiles what a loop is left for in mid-loop, and how many values of live state it reads; `None`
    /// where that cannot be made.
    pub(crate) fn replacement(
        &self,
        _module: &Module,
        _layout: &VmLayout,
        _body: Body,
        _head: u32,
    ) -> Result<Option<(FunctionCode, u32)>, CompileError> {
        Ok(None)
    }
}

/// Compiles all functions of `module` with the optimizing tier.
pub fn compile(
    compiler: &Compiler,
    module: &Module,
    bodies: Vec<Body>,
    counters: &Counters,
) -> Result<CodeImage, CompileError> {
    let layout = VmLayout::new(module);
    let one = |scratch: &mut Scratch, body: Body| -> Result<FunctionCode, CompileError> {
        let (start, bytes) = (Instant::now(), body.range.len());
        let code = compiler.optimizing.compile(module, &layout, body, Linkage::Direct, scratch)?;
        counters.compiled(Made::Optimized, bytes, code.bytes.len(), start);
        Ok(code)
    };
    let bytes: usize = bodies.iter().map(|body| body.range.len()).sum();
    let funcs: Vec<FunctionCode> = if compiler.is_parallel() && bytes >= PARALLEL_BYTES {
        bodies.into_par_iter().map_init(Scratch::new, one).collect::<Result<_, _>>()?
    } else {
        let mut scratch = Scratch::new();
        bodies.into_iter().map(|body| one(&mut scratch, body)).collect::<Result<_, _>>()?
    };
    link(funcs, ModuleTable::size(module.types.len(), module.bodies.len(), Linkage::Direct))
        .map_err(|error| CompileError::Internal(error.to_string()))
}

/// Validates a module, bodies included, without compiling it.
pub fn validate(binary: &[u8], proposals: Proposals) -> Result<(), DecodeError> {
    let (module, bodies) = decode(binary.to_vec(), proposals)?;
    validate_run(&module, &bodies, proposals)
}

/// Validates all bodies, in parallel when it pays. The error is that of the first invalid body.
pub fn validate_bodies(
    compiler: &Compiler,
    module: &Module,
    bodies: &[Body],
    counters: &Counters,
) -> Result<(), DecodeError> {
    let start = Instant::now();
    let bytes: usize = bodies.iter().map(|body| body.range.len()).sum();
    let proposals = module.proposals;
    if compiler.is_parallel() && bytes >= PARALLEL_VALIDATION_BYTES {
        let run = |run: &[Body]| validate_run(module, run, proposals).err();
        bodies.par_chunks(VALIDATION_RUN).find_map_first(run).map_or(Ok(()), Err)?;
    } else {
        validate_run(module, bodies, proposals)?;
    }
    counters.validated(bytes, start);
    Ok(())
}

fn validate_run(module: &Module, bodies: &[Body], proposals: Proposals) -> Result<(), DecodeError> {
    let mut allocations = FuncValidatorAllocations::default();
    for body in bodies {
        let reader = BinaryReader::new_features(
            &module.wasm[body.range.clone()],
            body.range.start as u64,
            proposals.features(),
        );
        let FuncToValidate { ref resources, index, ty, features } = body.validator;
        let validator = FuncToValidate { resources: resources.clone(), index, ty, features };
        let mut validator = validator.into_validator(allocations);
        validator
            .validate(&FunctionBody::new(reader))
            .map_err(|error| DecodeError::from(error).in_func(module.func_index(body.index)))?;
        allocations = validator.into_allocations();
    }
    Ok(())
}

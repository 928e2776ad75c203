//! From validated sections to a code image: every body validated and compiled, in parallel when it
//! pays.

use rayon::prelude::*;
use wardian_cranelift::Scratch;
use wardian_module::image::{CodeImage, FunctionCode, link};
use wardian_module::layout::{Linkage, ModuleTable, VmLayout};
use wardian_module::{Body, DecodeError, Module, Proposals, Settings, decode};

pub use wardian_cranelift::CompileError;

/// Bytes of bodies below which threads cost more than they save.
const PARALLEL_BYTES: usize = 64 << 10;

/// The compilers of an engine.
pub struct Compiler {
    optimizing: wardian_cranelift::Compiler,
    parallel: bool,
}

impl Compiler {
    /// Compilers for this machine, or for another processor of its architecture by name.
    pub fn new(settings: &Settings, cpu: &str, parallel: bool) -> Result<Compiler, String> {
        let optimizing = wardian_cranelift::Compiler::with_cpu(settings, cpu)?;
        Ok(Compiler { optimizing, parallel })
    }

    /// Everything that the code depends on beside the settings: target and processor features.
    pub fn isa_key(&self) -> String {
        self.optimizing.isa_key()
    }
}

/// Compiles all functions of `module` with the optimizing tier.
pub fn compile(
    compiler: &Compiler,
    module: &Module,
    bodies: Vec<Body>,
) -> Result<CodeImage, CompileError> {
    let layout = VmLayout::new(module);
    let one = |scratch: &mut Scratch, body: Body| -> Result<FunctionCode, CompileError> {
        if std::env::var_os("WARDIAN_TEST_BASELINE").is_some() {
            let features = wardian_baseline::Features::detect();
            let settings = compiler.optimizing.settings();
            let mut scratch = wardian_baseline::Scratch::new();
            return wardian_baseline::Compiler::new(settings, features)
                .compile(module, &layout, body, Linkage::Direct, &mut scratch)
                .map_err(|error| match error {
                    wardian_baseline::CompileError::Invalid(error) => CompileError::Invalid(error),
                    error => CompileError::Internal(error.to_string()),
                });
        }
        compiler.optimizing.compile(module, &layout, body, Linkage::Direct, scratch)
    };
    let bytes: usize = bodies.iter().map(|body| body.range.len()).sum();
    let funcs: Vec<FunctionCode> = if compiler.parallel && bytes >= PARALLEL_BYTES {
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
    let mut allocations = wasmparser::FuncValidatorAllocations::default();
    for body in bodies {
        let reader = wasmparser::BinaryReader::new_features(
            &module.wasm[body.range.clone()],
            body.range.start as u64,
            proposals.features(),
        );
        let mut validator = body.validator.into_validator(allocations);
        validator
            .validate(&wasmparser::FunctionBody::new(reader))
            .map_err(|error| DecodeError::from(error).in_func(module.func_index(body.index)))?;
        allocations = validator.into_allocations();
    }
    Ok(())
}

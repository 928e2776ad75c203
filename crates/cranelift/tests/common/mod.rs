//! What the tests of this crate share: settings by mode, and compiling a whole module.
#![allow(dead_code, reason = "each test file uses its part")]

use wardian_cranelift::{CompileError, Compiler, Scratch};
use wardian_module::image::{CodeImage, link};
use wardian_module::layout::{Linkage, ModuleTable, VmLayout};
use wardian_module::{Module, Proposal, Proposals, Settings, decode};

/// All proposals of this version, and objects, for which code can be made.
pub fn proposals() -> Proposals {
    let mut proposals = Proposals::all_built();
    proposals.set(Proposal::Gc, true);
    proposals
}

/// All proposals of this version, with the code generator's own checks on.
pub fn settings() -> Settings {
    Settings { proposals: proposals(), verifier: true, ..Settings::default() }
}

/// Processors that tests can pretend to have here: plain x86-64 always, better ones where present.
pub fn cpus() -> Vec<&'static str> {
    let all = ["native", "x86-64", "x86-64-v2", "x86-64-v3"];
    all.into_iter().filter(|cpu| Compiler::with_cpu(&settings(), cpu).is_ok()).collect()
}

/// Settings under which the same module must compile.
pub fn modes() -> Vec<(&'static str, Settings)> {
    let base = settings();
    vec![
        ("default", base.clone()),
        ("no signals", Settings { signals_based_traps: false, ..base.clone() }),
        (
            "no signals, no masks",
            Settings { signals_based_traps: false, spectre_mitigation: false, ..base.clone() },
        ),
        ("small guard", Settings { memory_guard_size: 1 << 16, ..base.clone() }),
        (
            "deterministic",
            Settings {
                relaxed_simd_deterministic: true,
                nan_canonicalization: true,
                ..base.clone()
            },
        ),
        ("metered", Settings { epoch_interruption: true, consume_fuel: true, ..base.clone() }),
        ("unoptimized", Settings { opt_level: wardian_module::OptLevel::None, ..base }),
    ]
}

/// Decodes a module in text or binary form.
pub fn parse(wat: &str) -> (Module, Vec<wardian_module::Body>) {
    let wasm = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"));
    decode(wasm, proposals()).unwrap_or_else(|error| panic!("{error}"))
}

/// Compiles all of a module.
pub fn compile_with(compiler: &Compiler, wat: &str) -> Result<CodeImage, CompileError> {
    let (module, bodies) = parse(wat);
    let layout = VmLayout::new(&module);
    let mut scratch = Scratch::new();
    let mut code = Vec::new();
    for body in bodies {
        code.push(compiler.compile(&module, &layout, body, Linkage::Direct, &mut scratch)?);
    }
    Ok(link(code, ModuleTable::size(module.types.len(), module.bodies.len(), Linkage::Direct))
        .expect("the image is sound"))
}

/// Compiles all of a module for this processor.
pub fn compile(settings: &Settings, wat: &str) -> Result<CodeImage, CompileError> {
    compile_with(&Compiler::new(settings).unwrap(), wat)
}

/// Errors of all functions of a module.
pub fn errors(compiler: &Compiler, wat: &str) -> Vec<CompileError> {
    let (module, bodies) = parse(wat);
    let layout = VmLayout::new(&module);
    let mut scratch = Scratch::new();
    bodies
        .into_iter()
        .filter_map(|body| {
            compiler.compile(&module, &layout, body, Linkage::Direct, &mut scratch).err()
        })
        .collect()
}

/// Errors of a module that may be invalid, one of whose bytes was changed. If the byte lies in a body
/// only that one is compiled.
pub fn errors_in(compiler: &Compiler, wasm: Vec<u8>, changed: usize) -> Vec<CompileError> {
    let Ok((module, mut bodies)) = decode(wasm, proposals()) else { return Vec::new() };
    if bodies.iter().any(|body| body.range.contains(&changed)) {
        bodies.retain(|body| body.range.contains(&changed));
    }
    let layout = VmLayout::new(&module);
    let mut scratch = Scratch::new();
    bodies
        .into_iter()
        .filter_map(|body| {
            compiler.compile(&module, &layout, body, Linkage::Direct, &mut scratch).err()
        })
        .collect()
}

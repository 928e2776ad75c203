//! Compiles every function of the modules given on the command line, in all modes, and prints sizes
//! and times. With `--loops`, also what replaces a frame at each loop. A developer's tool.

#![forbid(unsafe_code)]

use std::time::Instant;
use wardian_cranelift::{CompileError, Compiler, Scratch};
use wardian_module::layout::{Linkage, ModuleTable, VmLayout};
use wardian_module::{Body, Module, Proposals, Settings, decode, image};
use wasmparser::{BinaryReader, FuncToValidate, FunctionBody, Operator};

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let mut settings = Settings { proposals: Proposals::all_built(), ..Settings::default() };
    let mut dump = None;
    let (mut with_loops, mut inlining) = (false, true);
    let mut cpu = "native".to_string();
    while let Some(arg) = args.peek().filter(|arg| arg.starts_with("--")).cloned() {
        args.next();
        match arg.as_str() {
            "--no-signals" => settings.signals_based_traps = false,
            "--verify" => settings.verifier = true,
            "--no-inlining" => inlining = false,
            "--loops" => with_loops = true,
            "--no-opt" => settings.opt_level = wardian_module::OptLevel::None,
            "--deterministic" => settings.relaxed_simd_deterministic = true,
            other => match other.strip_prefix("--cpu=") {
                Some(name) => cpu = name.to_string(),
                None => match other.strip_prefix("--clif=") {
                    Some(index) => dump = index.parse().ok(),
                    None => panic!("unknown option {other}"),
                },
            },
        }
    }
    let compiler = Compiler::with_cpu(&settings, &cpu).unwrap().with_inlining(inlining);
    let mut scratch = Scratch::new();
    for path in args {
        let start = Instant::now();
        let wasm = wat::parse_file(&path).unwrap();
        let bytes = wasm.len();
        let (module, bodies) = match decode(wasm, settings.proposals) {
            Ok(decoded) => decoded,
            Err(error) => {
                println!("{path}: {error}");
                continue;
            }
        };
        let layout = VmLayout::new(&module);
        let mut code = Vec::new();
        let mut failed = 0;
        if with_loops {
            println!("{path}: {}", replace_all(&compiler, &module, &layout, &bodies));
        }
        for body in bodies {
            if dump == Some(body.index.0) {
                match compiler.clif(&module, &layout, body, None, &mut scratch) {
                    Ok(text) => print!("{text}"),
                    Err(error) => println!("{path}: {error}"),
                }
                continue;
            }
            match compiler.compile(&module, &layout, body, Linkage::Direct, &mut scratch) {
                Ok(func) => code.push(func),
                Err(error) => {
                    failed += 1;
                    println!("{path}: {error}");
                }
            }
        }
        if failed == 0 {
            let image = image::link(
                code,
                ModuleTable::size(module.types.len(), module.bodies.len(), Linkage::Direct),
            )
            .unwrap();
            let (text, traps, locations) =
                (image.text.len(), image.traps.len(), image.locations.len());
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{path}: {bytes} bytes, text {text}, {traps} traps, {locations} locations, {seconds:.2} s"
            );
        }
    }
    let counts = wardian_check::counts();
    if counts != wardian_check::Counts::default() {
        println!("checked {} functions; too large: {}", counts.checked, counts.not_checked);
    }
}

/// Compiles the replacement of every function at every loop.
fn replace_all(compiler: &Compiler, module: &Module, layout: &VmLayout, bodies: &[Body]) -> String {
    let (mut compiled, mut unreachable, mut failed) = (0, 0, 0);
    let mut scratch = Scratch::new();
    for body in bodies {
        let reader = BinaryReader::new(&module.wasm[body.range.clone()], body.range.start as u64);
        let operators = FunctionBody::new(reader).get_operators_reader().unwrap();
        let is_loop =
            |op: &wasmparser::Result<Operator<'_>>| matches!(op, Ok(Operator::Loop { .. }));
        for ordinal in 0..operators.into_iter().filter(is_loop).count() {
            let validator = FuncToValidate {
                resources: body.validator.resources.clone(),
                index: body.validator.index,
                ty: body.validator.ty,
                features: body.validator.features,
            };
            let body = Body { index: body.index, range: body.range.clone(), validator };
            let ordinal = ordinal as u32;
            match compiler.compile_replacement(
                module,
                layout,
                body,
                ordinal,
                &|_| false,
                &mut scratch,
            ) {
                Ok(_) => compiled += 1,
                Err(CompileError::NoSuchLoop { .. }) => unreachable += 1,
                Err(error) => {
                    failed += 1;
                    println!("loop {ordinal}: {error}");
                }
            }
        }
    }
    format!("{compiled} loops compiled, {unreachable} not reachable, {failed} failed")
}

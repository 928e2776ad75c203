//! Compiles every function of the modules given on the command line, in all modes, and prints sizes
//! and times. A developer's tool.

#![forbid(unsafe_code)]

use std::time::Instant;
use wardian_cranelift::{Compiler, Scratch};
use wardian_module::layout::{Linkage, ModuleTable, VmLayout};
use wardian_module::{Proposals, Settings, decode, image};

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let mut settings = Settings { proposals: Proposals::all_built(), ..Settings::default() };
    let mut dump = None;
    let mut cpu = "native".to_string();
    while let Some(arg) = args.peek().filter(|arg| arg.starts_with("--")).cloned() {
        args.next();
        match arg.as_str() {
            "--no-signals" => settings.signals_based_traps = false,
            "--verify" => settings.verifier = true,
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
    let compiler = Compiler::with_cpu(&settings, &cpu).unwrap();
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
}

//! Compiles every function of the modules given on the command line with the single-pass tier, the default
//! proposals, on one thread, and prints the speed in megabytes of code section a second, beside that of the validator
//! alone. Best of `--rounds=N` rounds (5); with `--cpu` by the time that the thread was running, for busy
//! machines. A developer's tool.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};
use wardian_baseline::{Compiler, Features, Scratch};
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{Settings, decode};

/// How long this thread has been running, if `cpu` and the system tells; or since `start`.
fn running(start: Instant, cpu: bool) -> Duration {
    #[cfg(unix)]
    if cpu {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        return Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    }
    let _ = cpu;
    start.elapsed()
}

fn main() {
    let origin = Instant::now();
    let mut rounds = 5;
    let mut linkage = Linkage::Slots;
    let mut cpu = false;
    for path in std::env::args().skip(1) {
        if let Some(count) = path.strip_prefix("--rounds=") {
            rounds = count.parse().expect("a number of rounds");
            continue;
        }
        if path == "--direct" {
            linkage = Linkage::Direct;
            continue;
        }
        if path == "--cpu" {
            cpu = true;
            continue;
        }
        let wasm = wat::parse_file(&path).expect("a module");
        let settings = Settings::default();
        let compiler = Compiler::new(&settings, Features::detect());
        let (mut best, mut validated) = (Duration::MAX, Duration::MAX);
        let (mut section, mut text, mut functions, mut refused) = (0, 0, 0, 0);
        for _ in 0..rounds {
            let (module, bodies) = decode(wasm.clone(), settings.proposals).expect("a module");
            let layout = VmLayout::new(&module);
            let mut scratch = Scratch::new();
            (section, text, functions, refused) = (module.code_section.len(), 0, bodies.len(), 0);
            let start = running(origin, cpu);
            for body in bodies {
                match compiler.compile(&module, &layout, body, linkage, &mut scratch) {
                    Ok(code) => text += code.bytes.len(),
                    Err(error) => {
                        if refused == 0 {
                            println!("{path}: {error}");
                        }
                        refused += 1;
                    }
                }
            }
            best = best.min(running(origin, cpu) - start);

            let (module, bodies) = decode(wasm.clone(), settings.proposals).expect("a module");
            let start = running(origin, cpu);
            let mut allocations = wasmparser::FuncValidatorAllocations::default();
            for body in bodies {
                let reader = wasmparser::BinaryReader::new_features(
                    &module.wasm[body.range.clone()],
                    0,
                    settings.proposals.features(),
                );
                let mut validator = body.validator.into_validator(allocations);
                let _ = validator.validate(&wasmparser::FunctionBody::new(reader));
                allocations = validator.into_allocations();
            }
            validated = validated.min(running(origin, cpu) - start);
        }
        let speed = |time: Duration| section as f64 / 1e6 / time.as_secs_f64();
        println!(
            "{path}: {functions} functions, {refused} refused, section {section}, text {text}, \
             {:.1} MB/s; validation alone {:.1} MB/s",
            speed(best),
            speed(validated),
        );
    }
}

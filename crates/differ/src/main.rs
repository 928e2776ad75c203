//! `wardian-differ [--count N] [--seed S] [--show]`: runs N generated modules, from seed S on, on every
//! tier. `cargo xtask differ` builds and starts it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use wardian_differ::{Case, Differ, SHAPES};

/// Guests may use 64 MiB of it.
const STACK: usize = 96 << 20;
/// Modules between two lines about progress.
const PROGRESS: u64 = 10_000;

struct Options {
    count: u64,
    seed: u64,
    show: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { count: 1_000, seed: 1, show: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or(format!("{argument} needs a number"))?;
            value.parse().map_err(|_| format!("{argument}: `{value}` is not a number"))
        };
        match argument.as_str() {
            "--count" => options.count = number()?,
            "--seed" => options.seed = number()?,
            "--show" => options.show = true,
            _ => return Err(format!("no option `{argument}`: --count N, --seed S, --show")),
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Totals {
    modules: AtomicU64,
    returned: AtomicU64,
    trapped: AtomicU64,
    inconclusive: AtomicU64,
    /// The largest of both tiers: depth of the operand stack, frame; spills of the first.
    deepest_stack: AtomicU64,
    largest_frames: [AtomicU64; 2],
    most_spills: AtomicU64,
    /// Modules that ran each of [`SHAPES`], of those that tell.
    seen: Mutex<BTreeMap<&'static str, u64>>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("differ: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    if options.show {
        let case = Case::from_seed(options.seed).ok_or("this seed gives no module")?;
        let path = std::env::temp_dir().join(format!("wardian-differ-{}.wasm", options.seed));
        std::fs::write(&path, &case.wasm).map_err(|error| error.to_string())?;
        println!("the module is in {}", path.display());
    }
    let end = options.seed.saturating_add(options.count);
    println!("differ: seeds {} to {}", options.seed, end - 1);
    let (next, totals, start) = (AtomicU64::new(options.seed), Totals::default(), Instant::now());
    let failures = Mutex::new(Vec::new());
    let differ = Differ::new().map_err(|error| format!("{error:?}"))?;
    if options.show {
        let case = Case::from_seed(options.seed).expect("seen above");
        differ.log(&case).iter().for_each(|line| println!("{line}"));
    }
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= end {
                break;
            }
            let Some(case) = Case::from_seed(seed) else { continue };
            match differ.check(&case) {
                Ok(verdict) => {
                    totals.returned.fetch_add(verdict.returned as u64, Relaxed);
                    totals.trapped.fetch_add(verdict.trapped as u64, Relaxed);
                    totals.inconclusive.fetch_add(verdict.inconclusive.into(), Relaxed);
                    for (shape, largest) in verdict.shapes.iter().zip(&totals.largest_frames) {
                        largest.fetch_max(shape.largest_frame, Relaxed);
                        totals.deepest_stack.fetch_max(shape.deepest_stack, Relaxed);
                    }
                    let mut seen = totals.seen.lock().expect("nobody panics with it");
                    for (bit, shape) in SHAPES.iter().enumerate() {
                        *seen.entry(shape).or_default() += verdict.seen >> bit & 1;
                    }
                    drop(seen);
                    totals.most_spills.fetch_max(verdict.shapes[0].spills, Relaxed);
                }
                Err(report) => {
                    eprintln!("differ: seed {seed}: {report}");
                    eprintln!("  again: cargo xtask differ --count 1 --show --seed {seed}");
                    failures.lock().expect("nobody panics with it").push(seed);
                }
            }
            let done = totals.modules.fetch_add(1, Relaxed) + 1;
            if done % PROGRESS == 0 {
                println!("differ: {done} modules, {:.0} s", start.elapsed().as_secs_f64());
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let thread = std::thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, work).map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    })?;
    println!(
        "differ: {} modules in {:.1} s; {} calls returned, {} trapped; {} modules reached a limit",
        totals.modules.into_inner(),
        start.elapsed().as_secs_f64(),
        totals.returned.into_inner(),
        totals.trapped.into_inner(),
        totals.inconclusive.into_inner(),
    );
    let [baseline, optimized] = totals.largest_frames.map(AtomicU64::into_inner);
    println!(
        "differ: operands up to {} deep, frames up to {baseline} and {optimized} bytes, up to {} spills \
         in a module",
        totals.deepest_stack.into_inner(),
        totals.most_spills.into_inner(),
    );
    let seen = totals.seen.into_inner().expect("nobody panics with it");
    let seen: Vec<String> = seen.iter().map(|(shape, count)| format!("{shape} {count}")).collect();
    println!("differ: what modules of our own ran, and how many of them: {}", seen.join(", "));
    let counts = wardian_check::counts();
    println!(
        "differ: machine code of {} functions was checked, of {} not, since they are too large",
        counts.checked, counts.not_checked
    );
    let mut failures = failures.into_inner().expect("nobody panics with it");
    failures.sort_unstable();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(format!("{} seeds failed: {failures:?}", failures.len())),
    }
}

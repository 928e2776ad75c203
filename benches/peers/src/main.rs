//! `peers ENGINE WORK [ARGUMENTS]`: does the same work with one engine or the other, and prints what it
//! took, a line `name<TAB>value…` each. `cargo xtask compare` runs it in turn and prints ratios.

use std::process::ExitCode;
use std::time::Instant;

use peers::Rows;

const USAGE: &str = "usage: peers wardian|wasmtime micro [ROW] | instances [N] | compile FILE [1|2] | artifact FILE";

macro_rules! work {
    ($engine:ident, $arguments:expr) => {{
        let arguments: Vec<&str> = $arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["micro"] => peers::$engine::micro::run(&mut Batches { filter: "" }),
            ["micro", filter] => peers::$engine::micro::run(&mut Batches { filter }),
            ["instances"] => peers::$engine::instances::run(10_000),
            ["instances", count] => match count.parse() {
                Ok(count) => peers::$engine::instances::run(count),
                Err(_) => return Err(USAGE.to_owned()),
            },
            ["compile", file] => peers::$engine::compile::run(file, true),
            ["compile", file, threads] => peers::$engine::compile::run(file, threads != "1"),
            ["artifact", file] => peers::$engine::compile::artifact(file),
            _ => return Err(USAGE.to_owned()),
        }
        .map_err(|error| format!("{error:#}"))
    }};
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match work(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &[String]) -> Result<(), String> {
    match arguments.first().map(String::as_str) {
        #[cfg(feature = "wardian")]
        Some("wardian") => work!(ours, arguments[1..]),
        #[cfg(feature = "wasmtime")]
        Some("wasmtime") => work!(theirs, arguments[1..]),
        #[cfg(not(all(feature = "wardian", feature = "wasmtime")))]
        Some(engine @ ("wardian" | "wasmtime")) => Err(format!("built without {engine}")),
        _ => Err(USAGE.to_owned()),
    }
}

/// Prints nanoseconds of rows whose names begin with `filter`: least and median of 15 batches.
struct Batches<'a> {
    filter: &'a str,
}

impl Rows for Batches<'_> {
    fn row(&mut self, name: &str, batch: u32, times: u32, mut operation: impl FnMut()) {
        if !name.starts_with(self.filter) {
            return;
        }
        for _ in 0..batch / 4 + 1 {
            operation();
        }
        let mut batches = [(); 15].map(|()| {
            let start = Instant::now();
            for _ in 0..batch {
                operation();
            }
            start.elapsed().as_nanos() as f64 / f64::from(batch) / f64::from(times)
        });
        batches.sort_by(f64::total_cmp);
        println!("{name}\t{:.2}\t{:.2}", batches[0], batches[7]);
    }
}

//! Speed of validation: `cargo run --release -p wardian-runtime --example validate -- FILE …` prints, for
//! each module, megabytes of the whole file a second: of `wasmparser`'s own validator, and of ours on
//! one thread and on all.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};
use wardian_module::{Proposals, Settings};
use wardian_runtime::{Compiler, Counters, decode_valid};

/// The fastest of some runs: others were disturbed.
fn best(mut act: impl FnMut()) -> Duration {
    let time = |()| {
        let start = Instant::now();
        act();
        start.elapsed()
    };
    [(); 9].map(time).into_iter().min().expect("there are runs")
}

fn main() {
    let proposals = Proposals::all_built();
    let settings = Settings { proposals, ..Settings::default() };
    let compiler =
        |parallel| Compiler::new(&settings, "native", parallel).expect("it is supported");
    let compilers = [compiler(false), compiler(true)];
    for path in std::env::args().skip(1) {
        let wasm = std::fs::read(&path).expect("the file can be read");
        let theirs = best(|| {
            let mut validator = wasmparser::Validator::new_with_features(proposals.features());
            validator.validate_all(&wasm).expect("the module is valid");
        });
        let ours = compilers.each_ref().map(|compiler| {
            best(|| {
                decode_valid(compiler, wasm.clone(), proposals, &Counters::default())
                    .expect("it is valid");
            })
        });
        let speed = |time: Duration| wasm.len() as f64 / 1e6 / time.as_secs_f64();
        let [one, all] = ours.map(speed);
        println!("{path}: wasmparser {:.1}, one thread {one:.1}, all {all:.1}", speed(theirs));
    }
}

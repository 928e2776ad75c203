//! Fuzz target: modules made from the fuzzer's bytes run on every tier, and all tiers must agree. Memory
//! accesses of the single-pass tier's code are proven on the way.

#![forbid(unsafe_code)]
#![forbid(unsafe_code)]
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use wardian_differ::{Case, Differ};

/// Guests may use 64 MiB of it.
const STACK: usize = 96 << 20;

fuzz_target!(|bytes: &[u8]| {
    static DIFFER: OnceLock<Differ> = OnceLock::new();
    let Some(case) = Case::from_bytes(bytes) else { return };
    let differ = DIFFER.get_or_init(|| Differ::new().expect("every mode is supported here"));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let running = thread.spawn_scoped(scope, || differ.check(&case));
        let verdict = running.expect("a thread can be had").join().expect("panics are reported");
        if let Err(report) = verdict {
            panic!("{report}");
        }
    });
});

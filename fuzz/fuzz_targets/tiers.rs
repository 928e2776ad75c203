//! Fuzz target: modules made from the fuzzer's bytes run on every tier, and all tiers must agree. The
//! memory accesses of all code are proven on the way (`wardian-check`). Beside the coverage of the engine, the
//! fuzzer is shown the shape of the code that was made, and looks for more of it.

#![forbid(unsafe_code)]
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use wardian::CodeShape;
use wardian_differ::{Case, Differ};

/// Guests may use 64 MiB of it.
const STACK: usize = 96 << 20;

fuzz_target!(|bytes: &[u8]| {
    static DIFFER: OnceLock<Differ> = OnceLock::new();
    let Some(case) = Case::from_bytes(bytes) else { return };
    let differ = DIFFER.get_or_init(|| Differ::new().expect("every mode is supported here"));
    let verdict = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let running = thread.spawn_scoped(scope, || differ.check(&case));
        running.expect("a thread can be had").join().expect("panics are reported")
    });
    match verdict {
        Ok(verdict) => {
            feed_back::<0>(&verdict.shapes[0]);
            feed_back::<1>(&verdict.shapes[1]);
        }
        Err(report) => panic!("{report}"),
    }
});

/// Shows the fuzzer how large each number is. Counters of its own would need `unsafe`, so code that runs
/// stands for a number: one function for each tier, number and power of two.
fn feed_back<const TIER: u32>(shape: &CodeShape) {
    show::<TIER, 0>(shape.deepest_stack);
    show::<TIER, 1>(shape.blocks);
    show::<TIER, 2>(shape.loops);
    show::<TIER, 3>(shape.branches);
    show::<TIER, 4>(shape.calls);
    show::<TIER, 5>(shape.inlined_calls);
    show::<TIER, 6>(shape.spills);
    show::<TIER, 7>(shape.reloads);
    show::<TIER, 8>(shape.largest_frame);
}

fn show<const TIER: u32, const NUMBER: u32>(value: u64) {
    match u64::BITS - value.leading_zeros() {
        0 => {}
        1 => seen::<TIER, NUMBER, 1>(),
        2 => seen::<TIER, NUMBER, 2>(),
        3 => seen::<TIER, NUMBER, 3>(),
        4 => seen::<TIER, NUMBER, 4>(),
        5 => seen::<TIER, NUMBER, 5>(),
        6 => seen::<TIER, NUMBER, 6>(),
        7 => seen::<TIER, NUMBER, 7>(),
        8 => seen::<TIER, NUMBER, 8>(),
        9 => seen::<TIER, NUMBER, 9>(),
        10 => seen::<TIER, NUMBER, 10>(),
        11 => seen::<TIER, NUMBER, 11>(),
        12 => seen::<TIER, NUMBER, 12>(),
        13..=16 => seen::<TIER, NUMBER, 16>(),
        _ => seen::<TIER, NUMBER, 20>(),
    }
}

/// All differ, so that none is merged with another.
#[inline(never)]
fn seen<const TIER: u32, const NUMBER: u32, const POWER: u32>() {
    std::hint::black_box((TIER * 16 + NUMBER) * 32 + POWER);
}

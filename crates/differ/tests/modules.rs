//! A fixed part of what `cargo xtask differ` runs.

#![forbid(unsafe_code)]

use wardian_differ::{Case, Differ};

const COUNT: u64 = 150;
/// Right code that the checker once rejected: values made again where they are used, ways that nothing
/// takes, differences instead of sums; a store that is always out of bounds; an index that was put on the
/// stack by the caller, or made of a comparison; a jump that the code generator left behind a jump table; a
/// comparison of vectors that was made twice.
const ONCE_REJECTED: [u64; 10] = [
    1_017_169, 1_006_373, 1_064_039, 1_072_323, 2_030_750, 2_039_065, 2_055_189, 2_056_456,
    2_030_610, 70_040_203,
];

#[test]
fn modules_do_the_same_on_every_tier() {
    let test = || {
        let differ = Differ::new().expect("every mode is supported here");
        let (mut returned, mut trapped, mut limited) = (0, 0, 0);
        let mut shaped = [0; 2];
        for seed in (0..COUNT).chain(ONCE_REJECTED) {
            let Some(case) = Case::from_seed(seed) else { continue };
            let verdict = differ.check(&case).unwrap_or_else(|report| {
                panic!("seed {seed}: {report}\nagain: cargo xtask differ --count 1 --seed {seed}")
            });
            returned += verdict.returned;
            trapped += verdict.trapped;
            limited += usize::from(verdict.inconclusive);
            for (shaped, shape) in shaped.iter_mut().zip(&verdict.shapes) {
                *shaped += usize::from(shape.blocks > 0 && shape.frame_bytes > 0);
            }
        }
        assert!(returned > 100 && trapped > 50, "{returned} returned, {trapped} trapped");
        assert!(shaped.iter().all(|count| *count > 50), "{shaped:?} modules had shapes");
        let counts = wardian_check::counts();
        assert!(counts.checked > 1_000, "{counts:?}");
        assert_eq!(counts.not_checked, 0, "the checker's bounds suffice for generated modules");
        assert!(limited < 5, "{limited} modules reached a limit");
    };
    let thread = std::thread::Builder::new().stack_size(96 << 20).spawn(test);
    thread.expect("a thread can be had").join().expect("see above");
}

//! Every vector instruction gives the same in both compiled tiers, whatever the processor has.
//!
//! Each stands in several surroundings, since the single-pass tier's code depends on where operands are
//! and what else is alive: in locals, in registers of a loop, in the frame, as constants, with most
//! registers taken. All NaNs of a lane count as equal, unless they are made canonical.

#![forbid(unsafe_code)]

use std::fmt::Write;
use wardian::*;

/// Sets of three operands.
const ROUNDS: usize = 64;
const INPUTS: usize = 4096;
const OUTPUTS: usize = 16384;
/// Bytes that a round writes.
const STRIDE: usize = 28 * 16;
const PAGES: usize = 1 + (OUTPUTS + ROUNDS * STRIDE) / 65536;

/// Instructions on vectors alone, by number of operands.
const UNARY: &str = "v128.not i8x16.abs i16x8.abs i32x4.abs i64x2.abs i8x16.neg i16x8.neg i32x4.neg
    i64x2.neg i8x16.popcnt i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s i16x8.extend_low_i8x16_u
    i16x8.extend_high_i8x16_u i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s
    i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u i64x2.extend_low_i32x4_s
    i64x2.extend_high_i32x4_s i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_u
    i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s
    i32x4.extadd_pairwise_i16x8_u f32x4.abs f64x2.abs f32x4.neg f64x2.neg f32x4.sqrt f64x2.sqrt
    f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest f64x2.ceil f64x2.floor f64x2.trunc f64x2.nearest
    i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u i32x4.trunc_sat_f64x2_s_zero
    i32x4.trunc_sat_f64x2_u_zero f32x4.convert_i32x4_s f32x4.convert_i32x4_u
    f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u f32x4.demote_f64x2_zero
    f64x2.promote_low_f32x4 i32x4.relaxed_trunc_f32x4_s i32x4.relaxed_trunc_f32x4_u
    i32x4.relaxed_trunc_f64x2_s_zero i32x4.relaxed_trunc_f64x2_u_zero";
const BINARY: &str = "i8x16.swizzle i8x16.relaxed_swizzle v128.and v128.andnot v128.or v128.xor
    i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u
    i16x8.mul i32x4.mul i64x2.mul i8x16.avgr_u i16x8.avgr_u i16x8.q15mulr_sat_s
    i16x8.relaxed_q15mulr_s i32x4.dot_i16x8_s i16x8.relaxed_dot_i8x16_i7x16_s
    f32x4.relaxed_min f32x4.relaxed_max f64x2.relaxed_min f64x2.relaxed_max";
const TERNARY: &str = "v128.bitselect i8x16.relaxed_laneselect i16x8.relaxed_laneselect
    i32x4.relaxed_laneselect i64x2.relaxed_laneselect f32x4.relaxed_madd f32x4.relaxed_nmadd
    f64x2.relaxed_madd f64x2.relaxed_nmadd i32x4.relaxed_dot_i8x16_i7x16_add_s";

const INT_LANES: [(&str, usize); 4] = [("i8x16", 16), ("i16x8", 8), ("i32x4", 4), ("i64x2", 2)];

/// Every instruction, as an expression with operands `A`, `B` and `C`. Scalars come from lanes and go to
/// splats. The name's start says how the result's lanes compare.
fn instructions() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, text: String| all.push((name.into(), text));
    for (names, operands) in [(UNARY, "A"), (BINARY, "A B"), (TERNARY, "A B C")] {
        for name in names.split_whitespace() {
            add(name, format!("({name} {operands})"));
        }
    }
    for (lanes, _) in INT_LANES {
        for op in ["add", "sub", "eq", "ne", "lt_s", "gt_s", "le_s", "ge_s"] {
            add(&format!("{lanes}.{op}"), format!("({lanes}.{op} A B)"));
        }
        for op in ["shl", "shr_s", "shr_u"] {
            let name = format!("{lanes}.{op}");
            add(&name, format!("({name} A (i32x4.extract_lane 1 B))"));
            for count in [0, 1, 7, 13, 32, 63, 65] {
                add(&name, format!("({name} A (i32.const {count}))"));
            }
        }
        add(&format!("{lanes}.all_true"), format!("(i32x4.splat ({lanes}.all_true A))"));
        let nonzero = format!("(v128.or (v128.const i8x16 {}) A)", "0 1 0 16 ".repeat(4));
        add(&format!("{lanes}.all_true"), format!("(i32x4.splat ({lanes}.all_true {nonzero}))"));
        add(&format!("{lanes}.all_true"), format!("(select A B ({lanes}.all_true C))"));
        add(&format!("{lanes}.bitmask"), format!("(i32x4.splat ({lanes}.bitmask A))"));
    }
    add("v128.any_true", "(i32x4.splat (v128.any_true A))".into());
    add("v128.any_true", "(select A B (i32.eqz (v128.any_true (v128.and A B))))".into());
    for lanes in ["i8x16", "i16x8", "i32x4"] {
        for op in ["lt_u", "gt_u", "le_u", "ge_u", "min_s", "min_u", "max_s", "max_u"] {
            add(&format!("{lanes}.{op}"), format!("({lanes}.{op} A B)"));
        }
    }
    for lanes in ["i8x16", "i16x8"] {
        for op in ["add_sat_s", "add_sat_u", "sub_sat_s", "sub_sat_u"] {
            add(&format!("{lanes}.{op}"), format!("({lanes}.{op} A B)"));
        }
    }
    for (wide, narrow) in [("i16x8", "i8x16"), ("i32x4", "i16x8"), ("i64x2", "i32x4")] {
        for kind in ["low", "high"] {
            for sign in ["s", "u"] {
                let name = format!("{wide}.extmul_{kind}_{narrow}_{sign}");
                add(&name, format!("({name} A B)"));
            }
        }
    }
    for lanes in ["f32x4", "f64x2"] {
        for op in ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"] {
            add(&format!("{lanes}.{op}"), format!("({lanes}.{op} A B)"));
        }
        for op in ["eq", "ne", "lt", "gt", "le", "ge"] {
            add(&format!("v128 {lanes}.{op}"), format!("({lanes}.{op} A B)"));
        }
    }
    lanes(&mut add);
    memory(&mut add);
    for mask in shuffles() {
        let mask: Vec<String> = mask.iter().map(u8::to_string).collect();
        add("i8x16.shuffle", format!("(i8x16.shuffle {} A B)", mask.join(" ")));
    }
    all
}

fn lanes(add: &mut impl FnMut(&str, String)) {
    let floats = [("f32x4", 4), ("f64x2", 2)];
    for (lanes, count) in INT_LANES.into_iter().chain(floats) {
        let scalar = if count < 16 && count != 8 {
            format!("({lanes}.extract_lane 1 B)")
        } else {
            "(i32x4.extract_lane 2 B)".into()
        };
        add("v128 splat", format!("({lanes}.splat {scalar})"));
        let ty = if count > 4 { "i32" } else { &lanes[..3] };
        add("v128 splat", format!("({lanes}.splat ({ty}.const 77))"));
        for lane in 0..count {
            add("v128 replace", format!("({lanes}.replace_lane {lane} A {scalar})"));
            let signs: &[&str] = if count > 4 { &["_s", "_u"] } else { &[""] };
            let splat = if count > 4 { "i32x4" } else { lanes };
            for sign in signs {
                let name = format!("{lanes}.extract_lane{sign}");
                add("v128 extract", format!("({splat}.splat ({name} {lane} A))"));
            }
        }
    }
}

fn memory(add: &mut impl FnMut(&str, String)) {
    let address = format!("(i32.and (i32x4.extract_lane 0 A) (i32.const {}))", 2047);
    let loads = "load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u load8_splat
        load16_splat load32_splat load64_splat load32_zero load64_zero";
    for load in loads.split_whitespace() {
        add("v128 load", format!("(v128.{load} offset={INPUTS} {address})"));
    }
    for bits in [8, 16, 32, 64] {
        for lane in 0..128 / bits {
            let load = format!("(v128.load{bits}_lane offset={INPUTS} {lane} {address} B)");
            add("v128 load lane", load);
            let store = format!("(v128.store{bits}_lane offset=3 {lane} (i32.const 16) A)");
            let fresh = "(v128.store (i32.const 16) B)";
            let read = "(v128.load offset=2 (i32.const 16))";
            add("v128 store lane", format!("(block (result v128) {fresh} {store} {read})"));
        }
    }
}

fn shuffles() -> Vec<[u8; 16]> {
    let mut masks = Vec::new();
    for start in 0..=16 {
        masks.push(std::array::from_fn(|i| start + i as u8));
    }
    for bytes in [1, 2, 4, 8] {
        for start in [0, 8, 16] {
            let lane =
                |i: u8| (start + i / bytes / 2 * bytes + i % bytes + i / bytes % 2 * 16) % 32;
            masks.push(std::array::from_fn(|i| lane(i as u8)));
        }
    }
    for words in
        [[3, 2, 1, 0], [0, 3, 4, 7], [5, 6, 1, 2], [7, 7, 4, 5], [1, 4, 2, 7], [6, 1, 3, 5]]
    {
        masks.push(std::array::from_fn(|i| words[i / 4] * 4 + i as u8 % 4));
    }
    let mut random = Random(5);
    for below in [16, 32, 32, 32, 32, 32] {
        masks.push(std::array::from_fn(|_| (random.next() % below) as u8));
        masks.push(std::array::from_fn(|_| (31 - random.next() % below) as u8));
    }
    masks
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = self.0 ^ self.0 >> 29;
        x.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }

    fn vector(&mut self) -> [u8; 16] {
        const FLOATS: [f64; 22] = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            2.5,
            0.5,
            -0.49999999999999994,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            2147483647.0,
            2147483648.0,
            -2147483648.0,
            -2147483649.0,
            4294967295.0,
            4294967296.0,
            4294967295.9,
            2147483520.0,
            -0.9,
            1e300,
            f64::MIN_POSITIVE,
            3.4028234e38,
        ];
        const WORDS: [u32; 10] = [
            0,
            1,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x8000,
            0x7fff,
            0xffff,
            0x80,
            0x7f80_0001,
        ];
        let mut bytes = [0; 16];
        match self.next() % 6 {
            0 => bytes.iter_mut().for_each(|byte| *byte = self.next() as u8),
            1 => {
                bytes.iter_mut().for_each(|byte| *byte = self.pick(&[0, 1, 127, 128, 255, 15, 16]))
            }
            2 => {
                for lane in bytes.chunks_exact_mut(2) {
                    let word: u16 = self.pick(&[0, 1, 0x7fff, 0x8000, 0xffff, 0x100, 0xff]);
                    lane.copy_from_slice(&word.to_le_bytes());
                }
            }
            3 => {
                for lane in bytes.chunks_exact_mut(4) {
                    lane.copy_from_slice(&self.pick(&WORDS).to_le_bytes());
                }
            }
            4 => {
                for lane in bytes.chunks_exact_mut(4) {
                    lane.copy_from_slice(&(self.pick(&FLOATS) as f32).to_le_bytes());
                }
            }
            _ => {
                for lane in bytes.chunks_exact_mut(8) {
                    lane.copy_from_slice(&self.pick(&FLOATS).to_le_bytes());
                }
            }
        }
        bytes
    }
}

/// A module with an export per instruction, which computes all rounds.
fn module(instructions: &[(String, String)]) -> String {
    let mut text = format!("(module (memory (export \"memory\") {PAGES}) (func $nothing)\n");
    for (index, (_, expression)) in instructions.iter().enumerate() {
        let of = |a: &str, b: &str, c: &str| {
            // `A`, `B` and `C` stand alone.
            let word = |word: &str| match word.trim_matches(['(', ')']) {
                "A" => word.replace('A', a),
                "B" => word.replace('B', b),
                "C" => word.replace('C', c),
                _ => word.to_string(),
            };
            expression.split(' ').map(word).collect::<Vec<_>>().join(" ")
        };
        let (x, y, z) = ("(local.get 0)", "(local.get 1)", "(local.get 2)");
        let frame = |local: u32, other: u32| {
            format!(
                "(if (result v128) (local.get 3) (then (local.get {local})) (else (local.get {other})))"
            )
        };
        let zero = "(v128.const i64x2 0 0)";
        let store = |slot: u32, value: &str| {
            format!("(v128.store offset={} (local.get 3) {value})\n", slot * 16)
        };
        let mut body = String::new();
        body += &store(0, &of(x, y, z));
        body += &store(1, &of(zero, y, z));
        body += &store(2, &of(x, zero, z));
        body += &store(3, &of(x, x, x));
        body += &store(4, &of(&frame(0, 1), &frame(1, 0), &frame(2, 0)));
        body += &store(5, &of(z, y, &frame(0, 1)));
        // The result replaces a local that is still wanted as it was. What follows takes no bits from it:
        // NaNs may differ.
        body += &format!("(local.get 3) (local.get 0) (local.set 0 {})", of(y, x, z));
        body += &format!("v128.store offset={}\n", 6 * 16);
        body += &store(7, x);
        for slot in 8..20 {
            writeln!(body, "(local.get 3) (i32x4.add {z} (i32x4.splat (i32.const {slot})))")
                .unwrap();
        }
        body += &store(20, &of("(v128.xor (local.get 1) (local.get 2))", y, z));
        for slot in (8..20).rev() {
            writeln!(body, "v128.store offset={}", slot * 16).unwrap();
        }
        let turns = format!(
            "(loop $l (local.set 0 {}) (local.set 1 {}) (local.set 2 {})
               (br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 4))))",
            of(x, y, z),
            of(x, z, y),
            of(y, z, x)
        );
        body += &turns;
        for (slot, local) in [(21, x), (22, y), (23, z)] {
            body += &store(slot, local);
        }
        // Among calls no local stays in a register.
        let mut calls = "(call $nothing)".repeat(12);
        calls += &store(24, &of(x, y, z));
        calls += &format!("(local.set 1 {}) {}", of(z, x, y), store(25, y));
        calls += &format!("{} (call $nothing) {}", x, of(x, x, z));
        calls += "(local.set 2) (local.set 0)";
        calls += &store(26, x);
        calls += &store(27, z);
        write!(
            text,
            "(func $f{index} (param v128 v128 v128 i32) (local i32) {body})
             (func $g{index} (param v128 v128 v128 i32) {calls})
             (func (export \"{index}\") (local $in i32) (local $out i32)
               (local.set $in (i32.const {INPUTS})) (local.set $out (i32.const {OUTPUTS}))
               (loop $l
                 (call $f{index} (v128.load (local.get $in)) (v128.load offset=16 (local.get $in))
                   (v128.load offset=32 (local.get $in)) (local.get $out))
                 (call $g{index} (v128.load (local.get $in)) (v128.load offset=16 (local.get $in))
                   (v128.load offset=32 (local.get $in)) (local.get $out))
                 (local.set $in (i32.add (local.get $in) (i32.const 48)))
                 (local.set $out (i32.add (local.get $out) (i32.const {STRIDE})))
                 (br_if $l (i32.lt_u (local.get $in) (i32.const {})))))\n",
            INPUTS + ROUNDS * 48
        )
        .unwrap();
    }
    text + ")"
}

/// One of all NaNs, if lanes are floats.
fn same_nans(name: &str, bytes: &mut [u8]) {
    if name.starts_with("f32x4") {
        for lane in bytes.chunks_exact_mut(4) {
            if f32::from_le_bytes(lane.try_into().expect("four bytes")).is_nan() {
                lane.fill(0xff);
            }
        }
    } else if name.starts_with("f64x2") {
        for lane in bytes.chunks_exact_mut(8) {
            if f64::from_le_bytes(lane.try_into().expect("eight bytes")).is_nan() {
                lane.fill(0xff);
            }
        }
    }
}

fn check(cpu: TargetCpu, deterministic: bool, canonical: bool) {
    let instructions = instructions();
    let text = module(&instructions);
    let instance = |strategy| {
        let mut config = Config::new();
        config.strategy(strategy).target_cpu(cpu.clone());
        config.relaxed_simd_deterministic(deterministic);
        config.cranelift_nan_canonicalization(canonical);
        let engine = Engine::new(&config).expect("processors at hand are supported");
        let module = Module::new(&engine, &text).unwrap_or_else(|error| panic!("{error:?}"));
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("it needs nothing");
        (module, store, instance)
    };
    let mut tiers = [instance(Strategy::Optimizing), instance(Strategy::Baseline)];
    let mut random = Random(1);
    let mut inputs = Vec::new();
    for _ in 0..ROUNDS * 3 {
        inputs.extend(random.vector());
    }
    for (index, (name, expression)) in instructions.iter().enumerate() {
        let [expected, found] = tiers.each_mut().map(|(_, store, instance)| {
            let memory = instance.get_memory(&mut *store, "memory").expect("it is exported");
            memory.write(&mut *store, INPUTS, &inputs).expect("inputs lie in memory");
            let export = index.to_string();
            let func = instance.get_typed_func::<(), ()>(&mut *store, &export).expect("so is this");
            func.call(&mut *store, ()).unwrap_or_else(|error| panic!("{expression}: {error:?}"));
            let mut outputs = vec![0; ROUNDS * STRIDE];
            memory.read(&*store, OUTPUTS, &mut outputs).expect("outputs lie in memory");
            if !canonical {
                same_nans(name, &mut outputs);
            }
            outputs
        });
        let slots = expected.chunks_exact(16).zip(found.chunks_exact(16)).enumerate();
        for (slot, (expected, found)) in slots {
            let (round, slot) = (slot / (STRIDE / 16), slot % (STRIDE / 16));
            let operands: Vec<_> = inputs[round * 48..][..48].chunks_exact(16).collect();
            assert_eq!(
                expected, found,
                "{expression} on {operands:02x?}, place {slot}, {cpu}, deterministic {deterministic}"
            );
        }
    }
    let stats = tiers[1].0.stats();
    assert_eq!(stats.optimized_functions, 0, "the single-pass tier takes all");
    assert_eq!(stats.baseline_functions, 3 * instructions.len() as u64 + 1);
}

#[test]
fn all_instructions_are_there() {
    // The vector instructions of version 2 and the relaxed ones, without `v128.const`, `v128.store`.
    let mut names: Vec<String> = instructions()
        .iter()
        .flat_map(|(_, text)| {
            let words = text.split(['(', ')', ' ']).filter(|word| word.contains('.'));
            words
                .filter(|word| !word.starts_with("i32.") && !word.contains("const"))
                .map(String::from)
                .collect::<Vec<_>>()
        })
        .filter(|name| name.contains('x') || name.starts_with("v128"))
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 236 + 20 - 1, "{names:?}");
}

#[test]
fn this_processor() {
    check(TargetCpu::Native, false, false);
    check(TargetCpu::Native, true, true);
}

#[test]
fn without_fused_multiplication() {
    check(TargetCpu::Named("sandybridge".into()), false, false);
}

#[test]
fn without_vex() {
    check(TargetCpu::Named("x86-64-v2".into()), true, true);
}

#[test]
fn first_of_sse4() {
    check(TargetCpu::Named("penryn".into()), false, false);
}

#[test]
fn without_sse4() {
    check(TargetCpu::Named("atom".into()), false, true);
}

#[test]
fn plain() {
    check(TargetCpu::Baseline, false, true);
    check(TargetCpu::Baseline, true, false);
}

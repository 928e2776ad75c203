//! Functions that take over a frame at the head of a loop compute what the frame would have computed.
//!
//! Each case says what a frame holds when it reaches a loop. The function is called from its start,
//! then its replacement with other arguments and that state. The two must agree.

#![forbid(unsafe_code)]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::mem::offset_of;
use std::sync::Arc;
use wardian_cranelift::{CompileError, Compiler, Scratch};
use wardian_module::image::{FunctionCode, RelocTarget, Starts, link};
use wardian_module::layout::{Linkage, ModuleTable, StoreContext, VmLayout};
use wardian_module::{
    Body, DefinedFuncIndex, ExternIndex, FuncIndex, Module, OptLevel, Proposals, Settings, decode,
};
use wardian_vm::*;

struct TestHost(Store);

impl Host for TestHost {
    fn kernel(&mut self) -> &mut Store {
        &mut self.0
    }

    fn builtin(&mut self, _: BuiltinCall) -> Result<u64, Failure> {
        // `memory.grow`, called only for what a call does to registers.
        Ok(1)
    }
}

/// Stores its parameter, an `i64`, as the address of the live state. By hand, since no instruction
/// does it: `push rbp; mov rbp, rsp; mov rax, [rdi]; mov [rax + offset], rsi; pop rbp; ret`.
fn set_state() -> FunctionCode {
    let offset = offset_of!(StoreContext, live_state) as u8;
    let bytes = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x8b, 0x07, 0x48, 0x89, 0x70, offset, 0x5d, 0xc3];
    FunctionCode {
        bytes: bytes.to_vec(),
        starts: Starts::multiples_of(16),
        ..FunctionCode::default()
    }
}

fn modes() -> Vec<Settings> {
    let proposals = Proposals::all_built();
    let base = Settings { proposals, verifier: true, ..Settings::default() };
    vec![
        base.clone(),
        Settings { signals_based_traps: false, ..base.clone() },
        Settings { opt_level: OptLevel::None, ..base },
    ]
}

/// The least even number that is not below its parameter and not 0.
const UP: &str = "(func $up (param i32) (result i32) (local i32)
   (loop $l
     (local.set 1 (i32.add (local.get 1) (i32.const 2)))
     (br_if $l (i32.lt_u (local.get 1) (local.get 0))))
   (local.get 1))";

/// Code that goes on at a loop of a function, where no callee has final code; and the slots of its state.
fn replacement(
    compiler: &Compiler,
    module: &Module,
    body: Body,
    ordinal: u32,
    scratch: &mut Scratch,
) -> Result<(FunctionCode, u32), CompileError> {
    let layout = VmLayout::new(module);
    compiler.compile_replacement(module, &layout, body, ordinal, &|_| false, scratch)
}

/// Calls the first function of a module: from its start, or at a loop with a state.
fn run(
    settings: &Settings,
    func: &str,
    at: Option<(u32, &[u128])>,
    params: &[Value],
    results: usize,
) -> Vec<Value> {
    // The second function makes room for `set_state`; the third is small enough to be inlined.
    let wat = format!(
        "(module (memory 1 9) {func} (func (param i64)) {UP}
           (export \"f\" (func 0)) (export \"set\" (func 1)))"
    );
    let wasm = wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}"));
    let (module, mut bodies) = decode(wasm, settings.proposals).unwrap();
    let layout = VmLayout::new(&module);
    let compiler = Compiler::new(settings).unwrap();
    let mut scratch = Scratch::new();
    let body = bodies.swap_remove(0);
    let code = match at {
        None => {
            compiler.compile(&module, &layout, body, Linkage::Direct, &mut scratch).expect(&wat)
        }
        Some((ordinal, state)) => {
            let replaced = replacement(&compiler, &module, body, ordinal, &mut scratch);
            let (code, slots) = replaced.expect(&wat);
            assert_eq!(slots as usize, state.len(), "{wat}");
            code
        }
    };
    let up = bodies.swap_remove(0);
    assert_eq!(up.index, DefinedFuncIndex(2));
    let up = compiler.compile(&module, &layout, up, Linkage::Direct, &mut scratch).unwrap();
    let own = RelocTarget::Func(DefinedFuncIndex(0));
    assert!(code.relocs.iter().all(|reloc| reloc.target != own), "it calls nothing");
    let table = ModuleTable::size(module.types.len(), module.bodies.len(), Linkage::Direct);
    let image = link(vec![code, set_state(), up], table).unwrap();
    let code = Arc::new(Code::publish(Arc::new(module), image).unwrap());
    let limits = StoreLimits { max_wasm_stack: 256 << 10, backtrace_frames: 4 };
    let mut host = TestHost(Store::new::<TestHost>(limits).unwrap());
    let instance = host.0.instantiate(code, &[], settings).unwrap();
    let func = |index| match host.0.instance_extern(instance, ExternIndex::Func(FuncIndex(index))) {
        Some(Extern::Func(id)) => id,
        other => panic!("expected a function, found {other:?}"),
    };
    let (first, set) = (func(0), func(1));
    let mut found = vec![Value::I32(0); results];
    if let Some((_, state)) = at {
        let address = state.as_ptr().expose_provenance() as i64;
        call(&mut host, set, &[Value::I64(address)], &mut []).unwrap();
    }
    call(&mut host, first, params, &mut found).unwrap();
    found
}

/// A function, the state in which it reaches a loop when it is called with `params`, arguments to be
/// ignored, and the number of results.
fn check(
    func: &str,
    at_loop: u32,
    state: &[u128],
    params: &[Value],
    ignored: &[Value],
    results: usize,
) {
    for settings in modes() {
        let expected = run(&settings, func, None, params, results);
        let found = run(&settings, func, Some((at_loop, state)), ignored, results);
        assert_eq!(found, expected, "{func}\n{settings:?}");
        let others = run(&settings, func, None, ignored, results);
        assert_ne!(others, expected, "the arguments make a difference in\n{func}");
    }
}

/// A 32-bit value in a slot whose other bytes hold what was there before.
fn dirty(value: u32) -> u128 {
    u128::from(value) | 0xdead_beef << 32
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn locals_of_a_plain_loop() {
    check(
        "(func (param i32) (result i32) (local i32)
           (loop $l
             (local.set 1 (i32.add (local.get 1) (local.get 0)))
             (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
           local.get 1)",
        0,
        &[dirty(10), dirty(0)],
        &[Value::I32(10)],
        &[Value::I32(99)],
        1,
    );
}

/// What the code before a loop says of constants and counters holds in each turn, and how many turns are left
/// is not said by it.
#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn every_turn_of_loops_that_count_by_constants() {
    let func = "(func (param $p i32) (result i32) (local $i i32) (local $j i32) (local $k i32) (local $sum i32)
       (local.set $k (i32.const 7))
       (loop $outer
         (local.set $j (i32.const 16))
         (loop $inner
           (i32.store offset=4
             (i32.add (i32.shl (local.get $j) (local.get $k)) (i32.const 1024))
             (i32.add (local.get $i) (local.get $j)))
           (local.set $sum
             (i32.add (i32.mul (local.get $sum) (i32.const 3))
               (i32.xor (local.get $p)
                 (i32.load offset=8
                   (i32.add (i32.shl (local.get $j) (local.get $k)) (i32.const 1020))))))
           (br_if $inner
             (i32.ne (local.tee $j (i32.add (local.get $j) (i32.const 4))) (i32.const 40))))
         (br_if $outer
           (i32.lt_u (local.tee $i (i32.add (local.get $i) (local.get $k))) (i32.const 28))))
       (local.get $sum))";
    let (param, mut sum) = (1000_u32, 0_u32);
    for i in (0..28).step_by(7) {
        for j in (16..40).step_by(4) {
            let state = |j| [param, i, j, 7, sum].map(dirty);
            if j == 16 {
                let before = if i == 0 { 0 } else { 40 };
                check(func, 0, &state(before), &[Value::I32(1000)], &[Value::I32(-1)], 1);
            }
            check(func, 1, &state(j), &[Value::I32(1000)], &[Value::I32(-1)], 1);
            sum = sum.wrapping_mul(3).wrapping_add(param ^ (i + j));
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn every_type_as_local_operand_and_parameter() {
    let (vector, float) = (0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128, 0x4045_0000_0000_0000);
    let params = [
        Value::I32(-5),
        Value::I64(1 << 40),
        Value::F32(0x3fc0_0000),
        Value::F64(float),
        Value::V128(vector),
        Value::Func(None),
        Value::Ref(77),
    ];
    let ignored = [
        Value::I32(1),
        Value::I64(2),
        Value::F32(3),
        Value::F64(4),
        Value::V128(5),
        Value::Func(None),
        Value::Ref(6),
    ];
    check(
        "(func (param i32 i64 f32 f64 v128 funcref externref)
               (result v128 f64 i32 f32 i64 v128 i32 externref)
           (local $count i32)
           (local.get 4) (local.get 3)
           (i32.const 3) (f32.const 0.5) (local.get 1) (local.get 4) (local.get 5) (local.get 6)
           (loop $l (param i32 f32 i64 v128 funcref externref)
                    (result i32 f32 i64 v128 funcref externref)
             (drop (memory.grow (i32.const 0)))
             (local.set 6) (local.set 5) (local.set 4) (local.set 1) (local.set 2) (local.set 0)
             (local.set $count (i32.add (local.get $count) (i32.const 1)))
             (i32.sub (local.get 0) (i32.const 1))
             (f32.add (local.get 2) (f32.const 1))
             (i64.shl (local.get 1) (i64.const 1))
             (i8x16.add (local.get 4) (i8x16.splat (i32.const 1)))
             (local.get 5) (local.get 6)
             (br_if $l (i32.lt_u (local.get $count) (i32.const 4))))
           (local.set 6) (drop) (local.get $count) (local.get 6))",
        0,
        &[
            dirty(-5i32 as u32),
            1 << 40,
            dirty(0x3fc0_0000),
            u128::from(float),
            vector,
            0,
            dirty(77),
            dirty(0),
            vector,
            u128::from(float),
            dirty(3),
            dirty(0x3f00_0000),
            1 << 40,
            vector,
            0,
            dirty(77),
        ],
        &params,
        &ignored,
        8,
    );
}

/// An outer loop, whose second turn goes around the inner one and whose third reaches it from above.
const NESTED: &str = "(func (param $n i32) (result i64) (local $i i32) (local $t i32)
   (i64.const 1000)
   (loop $outer (param i64) (result i64)
     (i64.const 7)
     (block $skip (result i64)
       (i64.extend_i32_u (local.get $i))
       (br_if $skip (i32.and (local.get $i) (i32.const 1)))
       (f64.const 2.5)
       (i32.const 3)
       (loop $inner (param i32) (result i32)
         (drop (memory.grow (i32.const 0)))
         (local.tee $t (i32.sub (i32.const 1)))
         (br_if $inner (local.get $t)))
       (drop) (i64.trunc_f64_s) (i64.add))
     (i64.add) (i64.add)
     (local.set $i (i32.add (local.get $i) (i32.const 1)))
     (br_if $outer (i32.lt_u (local.get $i) (local.get $n)))))";

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn operands_below_nested_loops() {
    let two_and_a_half = 0x4004_0000_0000_0000;
    let inner = [dirty(5), dirty(0), dirty(0), 1000, 7, 0, two_and_a_half, dirty(3)];
    check(NESTED, 1, &inner, &[Value::I32(5)], &[Value::I32(2)], 1);
    let outer = [dirty(5), dirty(0), dirty(0), 1000];
    check(NESTED, 0, &outer, &[Value::I32(5)], &[Value::I32(2)], 1);
    // A later state than the first: the third turn (1000 + 9 + 8), in the middle of the inner loop.
    let later = [dirty(5), dirty(2), dirty(2), 1017, 7, 2, two_and_a_half, dirty(2)];
    check(NESTED, 1, &later, &[Value::I32(5)], &[Value::I32(2)], 1);
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn loops_in_both_arms_of_an_if_with_parameters() {
    let func = "(func (param $n i32) (result i32 i64) (local $i i32) (local $m i64) (local $k i32)
       (loop $outer (result i32 i64)
         (i32.const 11)
         (i64.const 500)
         (i32.add (local.get $i) (i32.const 5))
         (i64.const 3)
         (i32.and (local.get $i) (i32.const 1))
         (if (param i32 i64) (result i64 i32)
           (then
             (loop $odd (param i32 i64) (result i64 i32)
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (i64.add (i64.const 100))
               (br_if $odd (i32.gt_s (local.get $n) (i32.const 20)))
               (local.set $m) (local.set $k) (local.get $m) (local.get $k)))
           (else
             (loop $even (param i32 i64) (result i64 i32)
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (i64.add (i64.const 10))
               (br_if $even (i32.gt_s (local.get $n) (i32.const 30)))
               (local.set $m) (local.set $k) (local.get $m) (local.get $k))))
         (i64.extend_i32_s) (i64.add) (i64.add)
         (i64.add (i64.extend_i32_s (local.get $n)))
         (local.set $i (i32.add (local.get $i) (i32.const 1)))
         (br_if $outer (i32.lt_u (local.get $i) (i32.const 4)))))";
    let (params, ignored) = ([Value::I32(40)], [Value::I32(1)]);
    let even = [dirty(40), dirty(0), 0, dirty(0), dirty(11), 500, dirty(5), 3];
    check(func, 2, &even, &params, &ignored, 2);
    // Reached in the second turn, after ten turns of `$even`.
    let odd = [dirty(30), dirty(1), 103, dirty(5), dirty(11), 500, dirty(6), 3];
    check(func, 1, &odd, &params, &ignored, 2);
    let outer = [dirty(40), dirty(0), 0, dirty(0)];
    check(func, 0, &outer, &params, &ignored, 2);
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn operands_taken_by_a_branch_table_behind_the_loop() {
    let func = "(func (param $way i32) (result i64) (local $n i32)
       (block $far (result i64 i64)
         (block $near (result i64 i64)
           (i64.const 40) (i64.const 2)
           (i32.const 4)
           (loop $l (param i32)
             (local.set $n (i32.sub (i32.const 1)))
             (br_if $l (local.get $n) (local.get $n)) (drop))
           (br_table $near $far $near $far (local.get $way)))
         (i64.mul) (i64.const 5))
       (i64.sub))";
    for way in 0..4 {
        let state = [dirty(way), dirty(0), 40, 2, dirty(4)];
        let (params, ignored) = ([Value::I32(way as i32)], [Value::I32(way as i32 ^ 1)]);
        check(func, 0, &state, &params, &ignored, 1);
    }
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn arguments_on_the_stack_are_popped() {
    let params: Vec<Value> = (1..=20).map(Value::I64).collect();
    let state: Vec<u128> = (1..=20).collect();
    let sum: String = (1..20).map(|n| format!("(i64.add (local.get {n}))")).collect();
    check(
        &format!(
            "(func (param {}) (result i64)
               (loop $l
                 (local.set 19 (i64.add (local.get 19) (local.get 1)))
                 (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
                 (br_if $l (i64.gt_s (local.get 0) (i64.const 0))))
               (local.get 0) {sum})",
            "i64 ".repeat(20)
        ),
        0,
        &state,
        &params,
        &vec![Value::I64(0); 20],
        1,
    );
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn a_frame_that_is_entered_through_a_gate() {
    let count = 400;
    let add = |n| format!("(i32x4.add (local.get {n}) (i32x4.splat (i32.const {n})))");
    let set: String = (1..=count).map(|n| format!("(local.set {n} {})", add(n))).collect();
    let sum: String = (1..=count).map(|n| format!("(i32x4.add (local.get {n}))")).collect();
    let state: Vec<u128> = std::iter::once(3).chain((0..count).map(|_| 0)).collect();
    check(
        &format!(
            "(func (param i32) (result v128) (local {})
               (loop $l {set}
                 (drop (memory.grow (i32.const 0)))
                 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))
                 (br_if $l))
               (v128.const i32x4 1 2 3 4) {sum})",
            "v128 ".repeat(count)
        ),
        0,
        &state,
        &[Value::I32(3)],
        &[Value::I32(8)],
        1,
    );
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn calls_inlined_before_and_in_the_loop() {
    let func = "(func (param i32) (result i32) (local i32)
       (i32.const 100)
       (local.set 1 (call $up (i32.const 5)))
       (call $up (local.get 0))
       (loop $l
         (local.set 1 (i32.add (local.get 1) (call $up (local.get 0))))
         (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
         (br_if $l (local.get 0)))
       (i32.add) (i32.add (local.get 1)))";
    // 6 + (4 + 4 + 2 + 2) and 100 + 4. The loops of the callee do not count.
    let state = [dirty(4), dirty(6), dirty(100), dirty(4)];
    for settings in modes().into_iter().filter(|settings| settings.opt_level != OptLevel::None) {
        let expected = run(&settings, func, None, &[Value::I32(4)], 1);
        assert_eq!(expected, [Value::I32(122)]);
        let found = run(&settings, func, Some((0, &state)), &[Value::I32(9)], 1);
        assert_eq!(found, expected, "{settings:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "executes machine code")]
fn loops_that_are_not_there_or_not_reached() {
    let wat = "(module (func (loop (return) (loop (loop))) (unreachable)) (func (block (loop))))";
    let wasm = wat::parse_str(wat).unwrap();
    for settings in modes() {
        let compiler = Compiler::new(&settings).unwrap();
        let mut scratch = Scratch::new();
        let mut outcomes = Vec::new();
        for (func, ordinal) in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)] {
            let (module, mut bodies) = decode(wasm.clone(), settings.proposals).unwrap();
            let body = bodies.swap_remove(func);
            outcomes.push(match replacement(&compiler, &module, body, ordinal, &mut scratch) {
                Ok((_, slots)) => slots == 0,
                Err(CompileError::NoSuchLoop { .. }) => false,
                Err(error) => panic!("{error}"),
            });
        }
        assert_eq!(outcomes, [true, false, false, false, true, false]);
    }
}

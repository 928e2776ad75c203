//! Lets `wardian-check` see every function that this tier makes.

use wardian_check::{Bounds, Input, Verdict};
use wardian_module::abi::CallLayout;
use wardian_module::image::FunctionCode;
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{DefinedFuncIndex, Module, Settings};

/// Whether there is a checker.
pub(crate) const ON: bool = true;

/// Checks a function.
#[expect(clippy::too_many_arguments, reason = "what a function is compiled from")]
pub(crate) fn verify(
    module: &Module,
    layout: &VmLayout,
    settings: &Settings,
    own: &CallLayout,
    func: DefinedFuncIndex,
    linkage: Linkage,
    live_slots: u32,
    code: &FunctionCode,
) -> Result<Verdict, String> {
    let (claims, bounds) = (None, Bounds::of(code));
    let input =
        Input { module, layout, settings, own, func, linkage, live_slots, code, claims, bounds };
    wardian_check::verify(&input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Scratch};
    use iced_x86::{
        ConditionCode, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register,
    };
    use wardian_module::layout::Field;
    use wardian_module::{FuncIndex, Proposals, TableIndex, decode};

    fn explicit() -> Settings {
        Settings {
            signals_based_traps: false,
            memory_reservation: 0,
            memory_guard_size: 0,
            ..Settings::default()
        }
    }

    /// Compiles function 0 of `wat`, and lets the checker see it with each instruction for which `wrong`
    /// gives other bytes; how many of these it accepted and rejected. As it is, it was accepted when it
    /// was compiled.
    fn check(
        wat: &str,
        settings: &Settings,
        wrong: impl Fn(&Instruction, &[u8]) -> Option<Vec<u8>>,
    ) -> (usize, usize) {
        let wasm = wat::parse_str(wat).expect("the test is text");
        let (module, bodies) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let layout = VmLayout::new(&module);
        let body = bodies.into_iter().next().expect("there is a function");
        let func = body.index;
        let own = CallLayout::new(module.func_type(module.func_index(body.index)).func_type());
        let compiler = Compiler::new(settings).expect("this processor is known");
        let compiler = compiler.with_inlining(false);
        let mut code = compiler
            .compile(&module, &layout, body, Linkage::Direct, &mut Scratch::new())
            .expect("it compiles and is right");
        let accept = |code: &FunctionCode| {
            verify(&module, &layout, settings, &own, func, Linkage::Direct, 0, code)
        };
        assert!(matches!(accept(&code), Ok(Verdict::Right(_))));
        let (mut accepted, mut rejected) = (0, 0);
        let right = code.bytes.clone();
        for instruction in Decoder::with_ip(64, &right, 0, DecoderOptions::NONE) {
            let place = instruction.ip() as usize..instruction.next_ip() as usize;
            let Some(bytes) = wrong(&instruction, &right[place.clone()]) else { continue };
            code.bytes.clone_from(&right);
            code.bytes[place].copy_from_slice(&bytes);
            match accept(&code) {
                Ok(_) => accepted += 1,
                Err(_) => rejected += 1,
            }
        }
        (accepted, rejected)
    }

    fn nothing(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0x90; bytes.len()])
    }

    /// A conditional jump that has nothing to do with what was compared.
    fn other_branch(i: &Instruction, bytes: &[u8]) -> Option<Vec<u8>> {
        let checks = matches!(i.condition_code(), ConditionCode::a | ConditionCode::ae);
        let mut bytes = bytes.to_vec();
        match bytes[0] {
            0x0f => bytes[1] = 0x80,
            _ => bytes[0] = 0x70,
        }
        (checks && i.is_jcc_short_or_near()).then_some(bytes)
    }

    const LOAD: &str =
        "(module (memory 1) (func (param i32) (result i32) (i32.load (local.get 0))))";

    #[test]
    fn a_zero_extension_that_is_left_out_is_noticed() {
        let extends = |i: &Instruction, bytes: &[u8]| {
            let registers = (0..i.op_count()).all(|n| i.op_kind(n) == OpKind::Register);
            let narrow = i.mnemonic() == Mnemonic::Mov && registers && i.op0_register().size() == 4;
            if narrow { nothing(bytes) } else { None }
        };
        assert_eq!(check(LOAD, &Settings::default(), extends), (0, 1));
        assert_eq!(check(LOAD, &explicit(), extends), (0, 1));
    }

    #[test]
    fn a_wrong_base_is_noticed() {
        // The length, which lies behind the base, in its place.
        let base = |i: &Instruction, bytes: &[u8]| {
            let reads = i.mnemonic() == Mnemonic::Mov
                && i.op1_kind() == OpKind::Memory
                && i.memory_base() == Register::RDI
                && i.memory_displacement64() == 16;
            reads.then(|| [&bytes[..bytes.len() - 1], &[24]].concat())
        };
        assert_eq!(check(LOAD, &Settings::default(), base), (0, 1));
    }

    #[test]
    fn an_offset_past_the_guard_is_noticed() {
        let wat = "(module (memory 1)
            (func (param i32) (result i32) (i32.load offset=0x123456 (local.get 0))))";
        let wider = |i: &Instruction, bytes: &[u8]| {
            let accesses = i.memory_displacement64() == 0x12_3456;
            accesses.then(|| [&bytes[..bytes.len() - 1], &[0x7f]].concat())
        };
        assert_eq!(check(wat, &Settings::default(), wider), (0, 1));
    }

    #[test]
    fn a_bounds_check_that_is_left_out_is_noticed() {
        assert_eq!(check(LOAD, &explicit(), other_branch), (0, 1));
        let wat = "(module (table 5 funcref) (func (param i32) (result funcref)
            (table.get (local.get 0))))";
        // With signals, the check of the stack is such a branch too.
        assert_eq!(check(wat, &explicit(), other_branch), (0, 1));
    }

    #[test]
    fn a_base_that_was_not_read_again_after_growth_is_noticed() {
        let wat = "(module (memory 1) (func (param i32) (result i32)
            (i32.store (local.get 0) (i32.const 1))
            (drop (memory.grow (i32.const 1)))
            (i32.store (local.get 0) (i32.const 2))
            (i32.const 3)))";
        // Reads of the base become reads of nothing.
        let base = |i: &Instruction, bytes: &[u8]| {
            let context = !matches!(i.memory_base(), Register::RSP | Register::RBP);
            let reads = matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Add)
                && i.op1_kind() == OpKind::Memory
                && i.memory_displacement64() == 16
                && i.memory_index() == Register::None
                && context;
            if reads { nothing(bytes) } else { None }
        };
        let (accepted, rejected) = check(wat, &explicit(), base);
        assert!(accepted == 0 && rejected == 2, "{accepted} accepted, {rejected} rejected");
    }

    /// The index of an element times 4 instead of 8, or 8 instead of 4.
    fn other_scale(i: &Instruction, bytes: &[u8]) -> Option<Vec<u8>> {
        let shifts = i.mnemonic() == Mnemonic::Shl && matches!(i.immediate8(), 2 | 3);
        let scaled = matches!(i.memory_index_scale(), 4 | 8) && bytes[0] & 0xf0 == 0x40;
        let mut bytes = bytes.to_vec();
        if shifts {
            *bytes.last_mut()? ^= 1;
        } else if scaled {
            // Prefix, opcode, operands; then scale, index and base.
            bytes[3] ^= 0x40;
        }
        (shifts || scaled).then_some(bytes)
    }

    #[test]
    fn accesses_to_tables_are_proven() {
        for body in [
            "(param i32) (result funcref) (table.get $f (local.get 0))",
            "(param i32) (table.set $f (local.get 0) (ref.null func))",
            "(param i32) (result i32) (call_indirect $f (type $t) (local.get 0))",
            "(param i32) (result i32) (return_call_indirect $f (type $t) (local.get 0))",
            "(param i64) (result i32) (call_indirect $l (type $t) (local.get 0))",
            "(param i32) (result externref) (table.get $e (local.get 0))",
            "(param i32) (table.set $e (local.get 0) (ref.null extern))",
        ] {
            let wat = format!(
                "(module (type $t (func (result i32))) (table $f 5 90 funcref)
                   (table $e 5 90 externref) (table $l i64 5 90 funcref) (func {body}))"
            );
            assert_eq!(check(&wat, &explicit(), other_branch), (0, 1), "{body}");
            let (accepted, rejected) = check(&wat, &explicit(), other_scale);
            assert!(accepted == 0 && rejected > 0, "{body}: {accepted} accepted");
        }
    }

    #[test]
    fn accesses_to_the_heap_are_proven() {
        for body in [
            "(param (ref $s)) (result i32) (struct.get $s 0 (local.get 0))",
            "(param (ref $s)) (struct.set $s 0 (local.get 0) (i32.const 1))",
            "(param (ref $a)) (result i32) (array.len (local.get 0))",
        ] {
            let wat = format!(
                "(module (type $s (struct (field (mut i32)))) (type $a (array (mut i64))) (func {body}))"
            );
            let extends = |i: &Instruction, bytes: &[u8]| {
                let registers = (0..i.op_count()).all(|n| i.op_kind(n) == OpKind::Register);
                let moves = i.mnemonic() == Mnemonic::Mov && registers;
                if moves && i.op0_register().size() == 4 { nothing(bytes) } else { None }
            };
            assert_eq!(check(&wat, &Settings::default(), extends), (0, 1), "{body}");
            // The way to the base of the heap.
            let pointer = |i: &Instruction, bytes: &[u8]| {
                let reads = i.mnemonic() == Mnemonic::Mov && i.op1_kind() == OpKind::Memory;
                let pointer = reads && i.op0_register().size() == 8;
                if pointer { nothing(bytes) } else { None }
            };
            assert_eq!(check(&wat, &Settings::default(), pointer), (0, 2), "{body}");
        }
    }

    #[test]
    fn atomic_accesses_are_proven() {
        for body in [
            "(i32.atomic.rmw.add (local.get 0) (i32.const 1))",
            "(i32.atomic.rmw8.xchg_u (local.get 0) (i32.const 1))",
            "(i32.atomic.rmw16.cmpxchg_u (local.get 0) (i32.const 1) (i32.const 2))",
            "(i32.atomic.load (local.get 0))",
        ] {
            let wat =
                format!("(module (memory 1 2 shared) (func (param i32) (result i32) {body}))");
            let (accepted, rejected) = check(&wat, &explicit(), other_branch);
            assert_eq!((accepted, rejected), (0, 1), "{body}");
        }
    }

    #[test]
    fn an_end_that_was_folded_wrong_is_noticed() {
        // What is compared with the length: one byte less than what is read.
        let end = |i: &Instruction, bytes: &[u8]| {
            let adds = i.mnemonic() == Mnemonic::Lea && i.memory_displacement64() == 4;
            adds.then(|| [&bytes[..bytes.len() - 1], &[3]].concat())
        };
        assert_eq!(check(LOAD, &explicit(), end), (0, 1));
    }

    /// A loop over a memory of one page, by 8 bytes a turn.
    fn counting(start: u32, next: &str, goes_on: &str) -> String {
        format!(
            "(module (memory 1) (func (local $p i32) (local $n i32)
               (local.set $n (i32.const {start}))
               (loop
                 (i64.store (local.get $p) (i64.const 1))
                 {next}
                 (br_if 0 {goes_on}))))"
        )
    }

    #[test]
    fn loops_that_count_to_a_constant_need_no_checks() {
        let pointer = "(local.set $p (i32.add (local.get $p) (i32.const 8)))";
        let both =
            |by: i32| format!("{pointer} (local.set $n (i32.add (local.get $n) (i32.const {by})))");
        let older = format!("(local.set $n (local.get $p)) {pointer}");
        let wrong_limit = |i: &Instruction, bytes: &[u8]| {
            let compares = i.mnemonic() == Mnemonic::Cmp && i.op1_kind() == OpKind::Immediate32;
            let mut bytes = Some(bytes.to_vec()).filter(|_| compares)?;
            let end = bytes.len();
            bytes[end - 2] ^= 2;
            Some(bytes)
        };
        let wrong_step = |i: &Instruction, bytes: &[u8]| {
            let number = i.mnemonic() == Mnemonic::Add && i.op1_kind() != OpKind::Register;
            let mut bytes = bytes.to_vec();
            let place = bytes.iter().rposition(|byte| *byte == 8).filter(|_| number)?;
            bytes[place] = 12;
            Some(bytes)
        };
        for (start, next, goes_on, room) in [
            (0, pointer, "(i32.ne (local.get $p) (i32.const 0x10000))", true),
            (0, pointer, "(i32.lt_u (local.get $p) (i32.const 0x10000))", true),
            (0, pointer, "(i32.le_u (local.get $p) (i32.const 0xfff8))", true),
            (0, &older, "(i32.ne (local.get $n) (i32.const 0xfff8))", true),
            (0, &older, "(i32.lt_u (local.get $n) (i32.const 0xfff8))", true),
            (0, &both(16), "(i32.ne (local.get $n) (i32.const 0x20000))", true),
            (0x2_0000, &both(-16), "(i32.ne (local.get $n) (i32.const 0))", true),
            (0xfff0_0000, &both(16), "(i32.ne (local.get $n) (i32.const 0xfff20000))", true),
            (0xffff_fff0, &both(16), "(i32.lt_u (local.get $n) (i32.const 0x1fff0))", true),
            (0, pointer, "(i32.ne (local.get $p) (i32.const 0x10008))", false),
            (0, pointer, "(i32.lt_u (local.get $p) (i32.const 0x10001))", false),
            (0, pointer, "(i32.ne (local.get $p) (i32.const 0xfffc))", false),
            (0, &older, "(i32.ne (local.get $n) (i32.const 0x10000))", false),
            (0x2_0008, &both(-16), "(i32.ne (local.get $n) (i32.const 0))", false),
            (0xffff_fff0, &both(16), "(i32.lt_u (local.get $n) (i32.const 0x1fff1))", false),
        ] {
            let wat = counting(start, next, goes_on);
            let is_check = |i: &Instruction, bytes: &[u8]| match i.condition_code() {
                ConditionCode::a => other_branch(i, bytes),
                _ => None,
            };
            let (accepted, rejected) = check(&wat, &explicit(), is_check);
            assert_eq!((accepted, rejected), (0, usize::from(!room)), "{start} {goes_on}");
            if room {
                if goes_on.contains("ne") {
                    let (accepted, rejected) = check(&wat, &explicit(), wrong_step);
                    assert!(accepted == 0 && rejected > 0, "{start} {goes_on}: {accepted}");
                }
                let (accepted, _) = check(&wat, &explicit(), wrong_limit);
                assert_eq!(accepted, 0, "{start} {goes_on}");
            }
        }
    }

    #[test]
    fn a_jump_table_without_its_bounds_is_noticed() {
        let wat = "(module (func (param i32) (result i32)
            (block (block (block (block (br_table 0 1 2 3 (local.get 0)))
            (return (i32.const 5))) (return (i32.const 7))) (return (i32.const 11)))
            (i32.const 13)))";
        // Another condition than below, of the move that bounds the index.
        let clamp = |i: &Instruction, bytes: &[u8]| {
            let clamps = i.condition_code() == ConditionCode::b && i.op_count() == 2;
            clamps.then(|| [&[bytes[0], 0x40], &bytes[2..]].concat())
        };
        assert_eq!(check(wat, &explicit(), clamp), (0, 1));
        let once = Settings { spectre_mitigation: false, ..explicit() };
        let (accepted, rejected) = check(wat, &once, other_branch);
        let (clamped, unclamped) = check(wat, &once, clamp);
        assert_eq!((accepted + clamped, rejected + unclamped), (0, 1));
    }

    /// Tables that end where padding and constants follow, of a jump that comes last.
    #[test]
    fn jump_tables_before_constants_are_read_to_their_end() {
        let constant = "(v128.const i32x4 0 -1 4 1)";
        for body in [
            format!("(local v128) (loop (local.set 1 (i8x16.add (local.get 1) {constant}))
                (br_table 0 0 0 0 1 (local.get 0)))"),
            format!("(result v128) (block (block (block
                (br_table 0 1 2 0 1 (local.get 0))) (return {constant}))
                (return (i8x16.neg {constant}))) (loop (br_table 0 0 0 (local.get 0))) (unreachable)"),
        ] {
            let wat = format!("(module (func (param i32) {body}))");
            for settings in [Settings::default(), explicit()] {
                assert_eq!(check(&wat, &settings, |_, _| None), (0, 0), "{body}");
            }
        }
    }

    #[test]
    fn what_the_same_flags_made_is_known_as_an_index() {
        let wat = "(module (table 1 1 funcref) (func (param i32 i32)
            (drop (table.get (i32.gt_s (local.get 0) (local.get 1))))))";
        for settings in [Settings::default(), explicit()] {
            assert_eq!(check(wat, &settings, |_, _| None), (0, 0));
        }
        assert_eq!(check(wat, &explicit(), other_branch), (0, 0));
        let branch = |i: &Instruction, bytes: &[u8]| {
            let jumps = i.is_jcc_short_or_near() && i.condition_code() == ConditionCode::g;
            if jumps { nothing(bytes) } else { None }
        };
        assert_eq!(check(wat, &explicit(), branch), (0, 1));
    }

    /// A code generator makes a comparison of vectors again where it is used.
    #[test]
    fn comparisons_of_vectors_are_known_again() {
        let wasm = wat::parse_str("(module (table 1 1 funcref) (func))").expect("text");
        let (module, _) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let layout = VmLayout::new(&module);
        let own = CallLayout::new(module.func_type(FuncIndex(0)).func_type());
        let base = layout.path(&module, Field::TableBase(TableIndex(0))).offset as u8;
        let accepts = |first: &[&[u8]], between: &[&[u8]], again: &[&[u8]]| {
            let bytes = [
                first.concat(),
                between.concat(),
                again.concat(),
                // je to the return; the index; the table's base; the element.
                vec![0x74, 0x0b, 0x0f, 0xb6, 0xc0, 0x48, 0x8b, 0x4f, base, 0x48, 0x8b, 0x04, 0xc1],
                vec![0xc3],
            ];
            let code = FunctionCode { bytes: bytes.concat(), ..FunctionCode::default() };
            let func = DefinedFuncIndex(0);
            let settings = Settings::default();
            verify(&module, &layout, &settings, &own, func, Linkage::Direct, 0, &code).is_ok()
        };
        const TEST_0: &[u8] = &[0x66, 0x0f, 0x38, 0x17, 0xc0];
        const TEST_1: &[u8] = &[0x66, 0x0f, 0x38, 0x17, 0xc9];
        const SETE: &[u8] = &[0x0f, 0x94, 0xc0];
        const COPY_2_TO_1: &[u8] = &[0x66, 0x0f, 0x6f, 0xca];
        const COPY_2_TO_0: &[u8] = &[0x66, 0x0f, 0x6f, 0xc2];
        const EQUAL_1_3: &[u8] = &[0x66, 0x0f, 0x76, 0xcb];
        const EQUAL_1_4: &[u8] = &[0x66, 0x0f, 0x76, 0xcc];
        const EQUAL_0_3: &[u8] = &[0x66, 0x0f, 0x76, 0xc3];
        const GREATER_0_3: &[u8] = &[0x66, 0x0f, 0x66, 0xc3];
        const SHUFFLE_0_3: [&[u8]; 2] =
            [&[0x66, 0x0f, 0x70, 0xc3, 1], &[0x66, 0x0f, 0x70, 0xc3, 2]];
        const LOAD_3: &[u8] = &[0x66, 0x0f, 0x6f, 0x1c, 0x24];
        let compared = [COPY_2_TO_1, EQUAL_1_3, TEST_1, SETE];
        assert!(accepts(&[TEST_0, SETE], &[], &[TEST_0]));
        assert!(accepts(&compared, &[], &[COPY_2_TO_0, EQUAL_0_3, TEST_0]));
        assert!(accepts(&compared, &[COPY_2_TO_1, EQUAL_1_4], &[COPY_2_TO_0, EQUAL_0_3, TEST_0]));
        // Other registers, another comparison, another number, what was changed between.
        assert!(!accepts(&[TEST_0, SETE], &[], &[TEST_1]));
        assert!(!accepts(&[TEST_0, SETE], &[EQUAL_0_3], &[TEST_0]));
        assert!(!accepts(&compared, &[], &[COPY_2_TO_0, GREATER_0_3, TEST_0]));
        assert!(!accepts(&compared, &[LOAD_3], &[COPY_2_TO_0, EQUAL_0_3, TEST_0]));
        let shuffled = |number: usize| [COPY_2_TO_0, SHUFFLE_0_3[number], TEST_0];
        let first = [&shuffled(0)[..], &[SETE]].concat();
        assert!(accepts(&first, &[], &shuffled(0)));
        assert!(!accepts(&first, &[], &shuffled(1)));
    }

    #[test]
    fn constant_indices_of_64_bit_memories_are_proven() {
        for body in [
            "(i32.load (i64.const 0))",
            "(i32.load (i64.const 65532))",
            "(i32.load offset=65532 (i64.const 0))",
            "(i32.load offset=0x1_0000_0000 (i64.const 4))",
            "(i32.load (i64.const -4))",
            "(i64.load offset=7 (i64.const 65536))",
        ] {
            let wat = format!(
                "(module (memory i64 1 90) (func (drop {body}) (drop {body}))
                   (func (drop (memory.grow (i64.const 1)))))"
            );
            for settings in [Settings::default(), explicit()] {
                // As it is, it was accepted when it was compiled.
                assert_eq!(check(&wat, &settings, |_, _| None), (0, 0), "{body}");
            }
        }
    }

    #[test]
    fn what_is_kept_in_the_register_of_the_fuel_is_noticed() {
        // More addresses are wanted behind the call than registers keep their values there.
        let access = |op: &str, rest: &str| -> String {
            (0..8).map(|n| format!("({op} {n} (i32.const 8) {rest})")).collect()
        };
        let wat = format!(
            "(module {} (func (export \"f\") (result i32)
               {} (call 1) i32.const 0 {})
             (func (memory.grow 0 (i32.const 1)) drop))",
            "(memory 1)".repeat(8),
            access("i32.store", "(i32.const 1)"),
            (0..8).map(|n| format!("(i32.load {n} (i32.const 8)) i32.add ")).collect::<String>(),
        );
        let wasm = wat::parse_str(wat).expect("the test is text");
        let (module, bodies) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let layout = VmLayout::new(&module);
        let body = bodies.into_iter().next().expect("there is a function");
        let func = body.index;
        let own = CallLayout::new(module.func_type(module.func_index(func)).func_type());
        let plain = Settings::default();
        let code = Compiler::new(&plain)
            .expect("this processor is known")
            .with_inlining(false)
            .compile(&module, &layout, body, Linkage::Direct, &mut Scratch::new())
            .expect("it compiles and is right");
        let accepts = |settings: &Settings| {
            verify(&module, &layout, settings, &own, func, Linkage::Direct, 0, &code).is_ok()
        };
        assert!(accepts(&plain));
        assert!(!accepts(&Settings { consume_fuel: true, ..plain.clone() }));
        assert!(!accepts(&Settings { epoch_interruption: true, ..plain }));
    }

    #[test]
    fn code_that_was_not_optimized_is_proven() {
        let unoptimized = Settings { opt_level: wardian_module::OptLevel::None, ..explicit() };
        let wat = "(module (memory 4 20) (func (param i32) (result i32)
            (memory.fill (i32.const 10) (i32.const 7) (local.get 0))
            (i32.load8_u (i32.const 10))))";
        assert_eq!(check(wat, &unoptimized, |_, _| None), (0, 0));
        for ty in ["i32", "i64"] {
            for index in ["0", "16", "65528", "0x7fff_fff0", "0xffff_fff0"] {
                for offset in ["0", "8", "0xffff_fff0"] {
                    let access = format!("(i64.load offset={offset} ({ty}.const {index}))");
                    let wat = format!(
                        "(module (memory {ty} 1 90) (func (drop {access})
                           (memory.fill ({ty}.const 8) (i32.const 7) ({ty}.const 24))
                           (drop {access})
                           (memory.copy ({ty}.const {index}) ({ty}.const 0) ({ty}.const 24))
                           (i64.store offset={offset} ({ty}.const {index}) (i64.const 1))
                           (drop (memory.grow ({ty}.const 1)))
                           (i64.store offset={offset} ({ty}.const {index}) (i64.const 1))))"
                    );
                    // As it is, it was accepted when it was compiled.
                    assert_eq!(check(&wat, &unoptimized, |_, _| None), (0, 0), "{access}");
                }
            }
        }
    }

    #[test]
    fn code_that_is_too_large_counts_as_not_checked() {
        let wat = "(module (memory 1) (func (param i32) (loop
            (br_if 0 (i32.load (local.get 0))))))";
        let wasm = wat::parse_str(wat).expect("the test is text");
        let (module, bodies) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let (layout, settings) = (VmLayout::new(&module), explicit());
        let body = bodies.into_iter().next().expect("there is a function");
        let func = body.index;
        let own = CallLayout::new(module.func_type(module.func_index(func)).func_type());
        let code = Compiler::new(&settings)
            .expect("this processor is known")
            .compile(&module, &layout, body, Linkage::Direct, &mut Scratch::new())
            .expect("it compiles and is right");
        let whole = Bounds::of(&code);
        for (bounds, checked) in [
            (whole, true),
            (Bounds { steps: 9, ..whole }, false),
            (Bounds { places: 9, ..whole }, false),
            (Bounds { goals: 1, ..whole }, false),
        ] {
            let before = wardian_check::counts();
            let verdict = wardian_check::verify(&Input {
                module: &module,
                layout: &layout,
                settings: &settings,
                own: &own,
                func,
                linkage: Linkage::Direct,
                live_slots: 0,
                code: &code,
                claims: None,
                bounds,
            });
            let after = wardian_check::counts();
            match verdict.expect("it was right before") {
                Verdict::Right(accepted) => {
                    assert!(checked && accepted.compared == 1 && after.checked > before.checked);
                }
                Verdict::NotChecked(_) => {
                    assert!(!checked && after.not_checked > before.not_checked, "{bounds:?}");
                }
            }
        }
    }
}

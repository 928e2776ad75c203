//! Lets `wardian-check` see every function that this tier makes, with what the tier says of it.

use crate::claims::Claims;
use wardian_check::{Bounds, Input, JumpTable, Verdict, Zeros};
use wardian_module::image::FunctionCode;
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{DefinedFuncIndex, Module, Settings};

/// Whether claims are worth recording.
pub(crate) const ON: bool = true;

/// Distances from `rbp` count from below the return address.
const SAVED_RBP: i64 = -8;

pub(crate) fn verify(
    module: &Module,
    layout: &VmLayout,
    settings: &Settings,
    func: DefinedFuncIndex,
    linkage: Linkage,
    code: &FunctionCode,
    claims: &Claims,
) -> Result<Verdict, String> {
    let own = module.func_type(module.func_index(func)).call_layout();
    let table = |claim: &crate::claims::TableClaim| JumpTable {
        jump: claim.jump,
        table: claim.table,
        count: claim.count,
    };
    let zeros = |claim: &crate::claims::ZeroClaim| Zeros {
        at: claim.code.0,
        start: i64::from(claim.frame.0) + SAVED_RBP,
        end: i64::from(claim.frame.1) + SAVED_RBP,
    };
    let access = |claim: &crate::claims::AccessClaim| (claim.code.0, claim.code.1, claim.memory);
    let live_slots = claims.live_slots;
    let claims = wardian_check::Claims {
        accesses: claims.accesses.iter().map(access).collect(),
        references: claims.references.iter().map(|claim| claim.code).collect(),
        tables: claims.tables.iter().map(table).collect(),
        zeros: claims.zeros.iter().map(zeros).collect(),
    };
    let claims = Some(claims);
    let bounds = Bounds::of(code);
    let input =
        Input { module, layout, settings, own, func, linkage, live_slots, code, claims, bounds };
    wardian_check::verify(&input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Features, Scratch};
    use iced_x86::{
        ConditionCode, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register,
    };
    use wardian_module::{Proposals, decode};

    /// Compiles function 0 of `wat`, lets the checker see it as it is and with each instruction for
    /// which `wrong` holds replaced by none, and gives back how many of those it accepted and rejected.
    fn check(wat: &str, explicit: bool, wrong: impl Fn(&Instruction) -> bool) -> (usize, usize) {
        let wasm = wat::parse_str(wat).expect("the test is text");
        let (module, bodies) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let mut settings = Settings::default();
        if explicit {
            settings.signals_based_traps = false;
            settings.memory_reservation = 0;
            settings.memory_guard_size = 0;
        }
        let layout = VmLayout::new(&module);
        let mut scratch = Scratch::new();
        let body = bodies.into_iter().next().expect("there is a function");
        let func = body.index;
        let compiler = Compiler::new(&settings, Features::default());
        let code = compiler
            .compile(&module, &layout, body, Linkage::Slots, &mut scratch)
            .expect("it compiles and is right");
        let claims = scratch.claims();
        let (mut accepted, mut rejected) = (0, 0);
        for instruction in Decoder::with_ip(64, &code.bytes, 0, DecoderOptions::NONE) {
            if !wrong(&instruction) {
                continue;
            }
            let mut wrong = code.clone();
            let place = instruction.ip() as usize..instruction.next_ip() as usize;
            wrong.bytes[place].fill(0x90);
            let linkage = Linkage::Slots;
            match verify(&module, &layout, &settings, func, linkage, &wrong, claims) {
                Ok(_) => accepted += 1,
                Err(_) => rejected += 1,
            }
        }
        (accepted, rejected)
    }

    fn extends(instruction: &Instruction) -> bool {
        instruction.mnemonic() == Mnemonic::Mov
            && (0..2).all(|n| instruction.op_kind(n) == OpKind::Register)
            && instruction.op_register(0).size() == 4
    }

    #[test]
    fn a_zero_extension_that_is_left_out_is_noticed() {
        for (what, body) in [
            ("wrap", "(param i64) (result i32) (i32.load (i32.wrap_i64 (local.get 0)))"),
            ("argument", "(param i32) (result i32) (i32.load (local.get 0))"),
            ("result of a call", "(result i32) (i32.load (call 1))"),
            ("result of a builtin", "(result i32) (i32.load (memory.grow (i32.const 0)))"),
            (
                "argument, in a loop that pins it",
                "(param i32) (loop (br_if 0 (i32.load (local.get 0))) (br_if 0 (i32.load8_u (local.get 0)))
                   (i32.store (local.get 0) (i32.load (local.get 0))))",
            ),
        ] {
            let wat = format!(
                "(module (memory 1) (func {body}) (func (result i32) (i32.const 1)))"
            );
            let (_, rejected) = check(&wat, false, extends);
            assert_eq!(rejected, 1, "{what}");
        }
    }

    #[test]
    fn a_bounds_check_that_is_left_out_is_noticed() {
        let branch = |i: &Instruction| i.condition_code() == ConditionCode::a && i.is_jcc_near();
        let wat = "(module (memory 1) (func (param i32) (result i32) (i32.load (local.get 0))))";
        assert_eq!(check(wat, true, branch), (0, 1));
        let branch = |i: &Instruction| i.condition_code() == ConditionCode::ne && i.is_jcc_near();
        let wat =
            "(module (memory i64 1) (func (param i64) (result i32) (i32.load (local.get 0))))";
        assert_eq!(check(wat, true, branch), (0, 1));
        assert_eq!(check(wat, false, branch), (0, 1));
    }

    #[test]
    fn a_base_that_was_not_read_again_after_growth_is_noticed() {
        let wat = "(module (memory 1) (func (param i32) (result i32)
            (drop (i32.load (local.get 0)))
            (drop (memory.grow (i32.const 1)))
            (i32.load (local.get 0))))";
        // Loads from the context into a register that a call does not keep.
        let load = |i: &Instruction| {
            i.mnemonic() == Mnemonic::Mov
                && i.op_kind(0) == OpKind::Register
                && i.op_register(0).size() == 8
                && i.op_kind(1) == OpKind::Memory
        };
        let (_, rejected) = check(wat, true, load);
        assert!(rejected >= 2, "{rejected}");
    }

    #[test]
    fn accesses_to_tables_are_proven() {
        let branch = |i: &Instruction| i.condition_code() == ConditionCode::ae && i.is_jcc_near();
        // What forms the address of an element, or reads the index or the table's base for it.
        let address = |i: &Instruction| i.mnemonic() == Mnemonic::Lea && i.memory_index_scale() > 2;
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
            for explicit in [false, true] {
                assert_eq!(check(&wat, explicit, branch), (0, 1), "{body}");
                assert_eq!(check(&wat, explicit, address), (0, 1), "{body}");
            }
        }
    }

    /// Reads of pointers and of what they lead to, but for those of the stack check and of the frame.
    fn reads(i: &Instruction) -> bool {
        i.mnemonic() == Mnemonic::Mov
            && i.op0_kind() == OpKind::Register
            && i.op0_register() != Register::R11
            && i.op1_kind() == OpKind::Memory
            && !matches!(i.memory_base(), Register::RBP | Register::RSP)
    }

    #[test]
    fn accesses_to_the_heap_are_proven() {
        for (body, pointers, references) in [
            ("(param (ref $s)) (result i32) (struct.get $s 0 (local.get 0))", 2, 1),
            ("(param (ref $s)) (struct.set $s 0 (local.get 0) (i32.const 1))", 2, 1),
            ("(param (ref $a)) (result i32) (array.len (local.get 0))", 2, 1),
            ("(param (ref $a)) (result i64) (array.get $a (local.get 0) (i32.const 1))", 4, 1),
        ] {
            let wat = format!(
                "(module (type $s (struct (field (mut i32)))) (type $a (array (mut i64))) (func {body}))"
            );
            // The way to the base of the heap. What is read there itself is the function's result.
            let pointer = |i: &Instruction| {
                reads(i) && i.op0_register().size() == 8 && i.memory_index() == Register::None
            };
            assert_eq!(check(&wat, false, pointer), (0, pointers), "{body}");
            // A reference is 32 bits of a register.
            assert_eq!(check(&wat, false, extends).1, references, "{body}");
        }
    }

    #[test]
    fn the_barrier_reads_the_flags_of_an_object_of_the_heap() {
        let wat = "(module (type $s (struct (field (mut (ref null $s)))))
            (func (param (ref $s) (ref null $s)) (struct.set $s 0 (local.get 0) (local.get 1))))";
        // Twice to the base: for the field, and for the flags.
        let pointer = |i: &Instruction| reads(i) && i.op0_register().size() == 8;
        assert_eq!(check(wat, false, pointer), (0, 4));
    }

    #[test]
    fn atomic_accesses_are_proven() {
        for body in [
            "(drop (i32.atomic.rmw.add (local.get 0) (i32.const 1)))",
            "(drop (i32.atomic.rmw8.xchg_u (local.get 0) (i32.const 1)))",
            "(drop (i32.atomic.rmw16.cmpxchg_u (local.get 0) (i32.const 1) (i32.const 2)))",
            "(drop (i64.atomic.rmw.or (local.get 0) (i64.const 1)))",
            "(i64.atomic.store offset=8 (local.get 0) (i64.const 1))",
            "(drop (i32.atomic.load (local.get 0)))",
        ] {
            for memory in ["1 2", "1 2 shared"] {
                let wat = format!("(module (memory {memory}) (func (param i32) {body}))");
                let branch =
                    |i: &Instruction| i.condition_code() == ConditionCode::a && i.is_jcc_near();
                assert_eq!(check(&wat, true, branch), (0, 1), "{memory} {body}");
                let (_, rejected) = check(&wat, false, extends);
                assert_eq!(rejected, 1, "{memory} {body}");
            }
        }
    }

    #[test]
    fn what_handlers_read_is_proven() {
        // The value of the exception becomes an address: it, or the base, is not what was read. (Pointers on
        // the way may come from anywhere, if references are read through them.)
        let wat = "(module (memory 1) (tag $e (param i32))
            (func (result i32)
              (block $h (result i32) (try_table (catch $e $h) (call 1)) (i32.const 0))
              (i32.load))
            (func (throw $e (i32.const 1))))";
        let (_, rejected) = check(wat, false, reads);
        assert!(rejected >= 2, "{rejected} rejected");
    }

    #[test]
    fn nothing_lies_in_a_table_without_elements() {
        let wat = "(module (table 0 0 funcref) (func (param i32) (result funcref)
            (table.get (i32.clz (local.get 0)))))";
        let branch = |i: &Instruction| i.condition_code() == ConditionCode::ae && i.is_jcc_near();
        assert_eq!(check(wat, true, branch), (0, 1));
    }

    /// An index that the caller's frame holds, and that is read twice.
    #[test]
    fn arguments_on_the_stack_are_known_until_they_are_written() {
        let params = "i64 ".repeat(9);
        let used = (0..9).map(|n| format!("(i64.add (local.get {n})")).collect::<String>();
        let body = format!(
            "(param {params}) (result i64) {used} (i64.load32_u (local.get 8)) {}",
            ")".repeat(9)
        );
        let wat = format!("(module (memory i64 1) (func {body}))");
        let branch = |i: &Instruction| i.condition_code() == ConditionCode::ne && i.is_jcc_near();
        assert_eq!(check(&wat, true, branch), (0, 1));
    }

    #[test]
    fn a_jump_table_without_its_bounds_is_noticed() {
        let clamp = |i: &Instruction| i.condition_code() == ConditionCode::ae && i.op_count() == 2;
        let wat = "(module (func (param i32)
            (block (block (block (block (br_table 0 1 2 3 (local.get 0))))))))";
        assert_eq!(check(wat, false, clamp), (0, 1));
    }

    #[test]
    fn zeros_past_the_end_of_the_locals_are_noticed() {
        let wat = format!(
            "(module (func (local {}) {}))",
            "i64 ".repeat(40),
            (0..40).map(|n| format!("(drop (local.get {n}))")).collect::<String>()
        );
        // The comparison that ends the loop, and its branch.
        let end = |i: &Instruction| {
            i.mnemonic() == Mnemonic::Cmp && i.op1_kind() == OpKind::Register
                || i.mnemonic() == Mnemonic::Jb && i.near_branch_target() < i.ip()
        };
        let (accepted, rejected) = check(&wat, false, end);
        assert!(accepted <= 1 && rejected >= 1, "{accepted} accepted, {rejected} rejected");
    }
}

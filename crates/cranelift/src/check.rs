//! Lets `wardian-check` see every function that this tier makes.

use wardian_check::{Input, Verdict};
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
    let input =
        Input { module, layout, settings, own, func, linkage, live_slots, code, claims: None };
    wardian_check::verify(&input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Scratch};
    use iced_x86::{
        ConditionCode, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register,
    };
    use wardian_module::{Proposals, decode};

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
        let branch = |i: &Instruction, bytes: &[u8]| {
            let checks = matches!(i.condition_code(), ConditionCode::a | ConditionCode::ae);
            if checks && i.is_jcc_short_or_near() { nothing(bytes) } else { None }
        };
        assert_eq!(check(LOAD, &explicit(), branch), (0, 1));
        let wat = "(module (table 5 funcref) (func (param i32) (result funcref)
            (table.get (local.get 0))))";
        // With signals, the check of the stack is such a branch too.
        assert_eq!(check(wat, &explicit(), branch), (0, 1));
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
}

//! Loops that count for their epoch all at once.
//!
//! A loop subtracts its bytes from what code may go on for, on each turn (`lower::metering`). Where it is known how
//! many turns there are at most, and they are few, it subtracts the bytes of all before the first.
//!
//! Invariant: a loop subtracts no less than it did; at most [`MOST`] bytes run, or are paid and not run, until the epoch
//! is looked at.

use crate::emit::trap_code;
use crate::ranges::Ranges;
use crate::ways::Ways;
use cranelift_codegen::ir::{Block, Function, Inst, InstructionData, Opcode};
use wardian_module::Trap;

/// Most bytes that are subtracted at once: little beside `layout::EPOCH_STRIDE`, since a loop may be left early.
const MOST: u64 = 1 << 16;

/// What counts, one instruction behind the other.
const COUNT: [Opcode; 8] = [
    Opcode::GetPinnedReg,
    Opcode::Iconst,
    Opcode::Iadd,
    Opcode::SetPinnedReg,
    Opcode::Iconst,
    Opcode::Icmp,
    Opcode::Trapnz,
    Opcode::SequencePoint,
];

/// Moves counts out of loops: see the head of this file.
pub(crate) fn count_ahead(func: &mut Function, ways: &Ways) {
    let mut ranges = Ranges::new(ways);
    let mut moved: Vec<([Inst; COUNT.len()], Inst, u64)> = Vec::new();
    for block in func.layout.blocks() {
        let Some((count, cost)) = count(func, block) else { continue };
        if let Some((jump, turns)) = ranges.way_in(func, block)
            && let Some(cost) = turns.checked_add(1).and_then(|turns| turns.checked_mul(cost))
            && cost <= MOST
        {
            moved.push((count, jump, cost));
        }
    }
    for (count, jump, cost) in moved {
        for inst in count {
            func.layout.remove_inst(inst);
            func.layout.insert_inst(inst, jump);
        }
        let cost = -(cost as i64);
        func.dfg.insts[count[1]] =
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm: cost.into() };
    }
}

/// The instructions by which a block counts, and what it subtracts.
fn count(func: &Function, block: Block) -> Option<([Inst; COUNT.len()], u64)> {
    let mut insts = func.layout.block_insts(block);
    let first = insts.find(|inst| func.dfg.insts[*inst].opcode() == COUNT[0])?;
    let mut count = [first; COUNT.len()];
    for (place, inst) in count[1..].iter_mut().zip(insts) {
        *place = inst;
    }
    let is_count = count.iter().zip(COUNT).all(|(inst, op)| func.dfg.insts[*inst].opcode() == op);
    let InstructionData::UnaryImm { imm, .. } = func.dfg.insts[count[1]] else { return None };
    let asks = func.dfg.insts[count[6]].trap_code() == Some(trap_code(Trap::Interrupt));
    let cost = u64::try_from(imm.bits().checked_neg()?).ok()?;
    (is_count && asks).then_some((count, cost))
}

#[cfg(test)]
mod tests {
    use crate::{Compiler, Scratch};
    use iced_x86::{Decoder, DecoderOptions, Instruction};
    use wardian_module::layout::{Linkage, VmLayout};
    use wardian_module::{Proposals, Settings, decode};

    /// How many conditional jumps stand before the loop, and in it, of a function with one loop.
    fn jumps(body: &str) -> (usize, usize) {
        let wat = format!("(module (memory 1) (func (param i32) (local i32) {body}))");
        let wasm = wat::parse_str(&wat).expect("the test is text");
        let (module, bodies) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let settings = Settings { epoch_interruption: true, ..Settings::default() };
        let body = bodies.into_iter().next().expect("there is a function");
        let layout = VmLayout::new(&module);
        let code = Compiler::new(&settings)
            .expect("this processor is known")
            .compile(&module, &layout, body, Linkage::Direct, &mut Scratch::new())
            .expect("it compiles");
        let jumps: Vec<Instruction> = Decoder::new(64, &code.bytes, DecoderOptions::NONE)
            .into_iter()
            .filter(Instruction::is_jcc_short_or_near)
            .collect();
        let back =
            jumps.iter().rev().find(|jump| jump.near_branch64() < jump.ip()).expect("a loop");
        let place = back.near_branch64()..=back.ip();
        let inside = jumps.iter().filter(|jump| place.contains(&jump.ip())).count();
        let before = jumps.iter().filter(|jump| jump.ip() < *place.start()).count();
        (before, inside)
    }

    #[test]
    fn loops_of_few_turns_count_before_the_first() {
        let counts = |limit: &str, more: &str| {
            jumps(&format!(
                "(loop {more} (i32.store8 (local.get 1) (i32.const 1))
                   (br_if 0 (i32.ne (local.tee 1 (i32.add (local.get 1) (i32.const 1))) {limit})))"
            ))
        };
        let (before, inside) = counts("(i32.const 100)", "");
        assert_eq!(inside, 1, "it only goes back");
        // Too many turns, none that are known, and a way back that nobody counts.
        for (limit, more) in [
            ("(i32.const 1000000)", ""),
            ("(local.get 0)", ""),
            ("(i32.const 100)", "(br_if 0 (i32.load8_u (local.get 1)))"),
        ] {
            let (others, looking) = counts(limit, more);
            let own = 1 + usize::from(!more.is_empty());
            assert_eq!((others + 1, looking - 1), (before, own), "{limit} {more}");
        }
    }
}

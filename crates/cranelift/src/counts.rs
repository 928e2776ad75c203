//! Loops that count for their epoch all at once.
//!
//! A loop subtracts its bytes from what code may go on for, on each turn (`lower::metering`). Where it is known how
//! many turns there are at most, and they are few, it subtracts the bytes of all before the first.
//!
//! Invariant: a loop subtracts no less than it did; at most [`MOST`] bytes run, or are paid and not run, until the epoch
//! is looked at.

use crate::emit::trap_code;
use crate::ranges::Ranges;
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
pub(crate) fn count_ahead(func: &mut Function) {
    let mut ranges: Option<Ranges> = None;
    let mut moved: Vec<([Inst; COUNT.len()], Inst, u64)> = Vec::new();
    for block in func.layout.blocks() {
        let Some((count, cost)) = count(func, block) else { continue };
        let ranges = ranges.get_or_insert_with(|| Ranges::new(func));
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

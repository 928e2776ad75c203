//! Checks of bounds that never fail.
//!
//! A memory has at least the bytes that its type says. Where an index is known to stay below that (see
//! `ranges`), as of an array that lies at a constant address, its check is removed.
//!
//! Invariant: ranges that decide are such as the checker of machine code finds again, so that a mistake in
//! them is seen.

use crate::exits::bytes_of;
use crate::ranges::Ranges;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode, Value, ValueDef, types};

/// Removes checks: see the head of this file. `least` is what every memory of the module has.
pub(crate) fn remove_checks(func: &mut Function, least: u64) {
    let mut ranges: Option<Ranges> = None;
    let mut removed: Vec<Inst> = Vec::new();
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            if let Some((index, end)) = checked(func, inst)
                && let ranges = ranges.get_or_insert_with(|| Ranges::plain(func))
                && ranges.of(func, index).1.checked_add(end).is_some_and(|end| end <= least)
            {
                removed.push(inst);
            }
        }
    }
    removed.into_iter().for_each(|inst| func.layout.remove_inst(inst));
}

/// The index of 32 bits that an instruction checks, and how far behind it the access ends.
fn checked(func: &Function, inst: Inst) -> Option<(Value, u64)> {
    let InstructionData::CondTrap { opcode: Opcode::Trapnz, arg, code } = func.dfg.insts[inst]
    else {
        return None;
    };
    bytes_of(code.as_raw().get())?;
    let made_by = |value| match func.dfg.value_def(func.dfg.resolve_aliases(value)) {
        ValueDef::Result(inst, _) => Some(func.dfg.insts[inst]),
        _ => None,
    };
    let mut condition = made_by(arg)?;
    if let InstructionData::Unary { opcode: Opcode::Uextend, arg } = condition {
        condition = made_by(arg)?;
    }
    let InstructionData::IntCompare { args: [end, _], cond: IntCC::UnsignedGreaterThan, .. } =
        condition
    else {
        return None;
    };
    let InstructionData::Binary { opcode: Opcode::Iadd, args: [index, by] } = made_by(end)? else {
        return None;
    };
    let InstructionData::Unary { opcode: Opcode::Uextend, arg: index } = made_by(index)? else {
        return None;
    };
    let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } = made_by(by)? else {
        return None;
    };
    let end = u64::try_from(imm.bits()).ok()?;
    (func.dfg.value_type(index) == types::I32).then_some((index, end))
}

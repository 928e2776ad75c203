//! Constants of indices, moved to where an access adds them for nothing.
//!
//! An index is a sum modulo 2^32, so `i32.load (i32.add x 4096)` takes an instruction for the sum. Where it is
//! known that the sum does not wrap (see `ranges`), the constant is part of the access instead: its address
//! is the same. Indices that differ by constants become one.
//!
//! Invariant: addresses stay what they were. A constant is at most what the guard behind every memory of the
//! module takes, so that it can be seen from the instruction that the access stays inside.

use crate::ranges::{Ranges, sum};
use crate::ways::Ways;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Function, Inst, InstBuilder, InstructionData, Opcode, Value, ValueDef, types,
};

/// Most bytes of an access.
const MOST_BYTES: u64 = 16;

/// Moves constants: see the head of this file. `reach` is how far behind an index an access
/// may end without a check; 0 where accesses are checked.
pub(crate) fn move_constants(func: &mut Function, ways: &Ways, reach: u64) {
    if reach == 0 {
        return;
    }
    let mut candidates: Vec<Inst> = Vec::new();
    for block in func.layout.blocks() {
        let insts = func.layout.block_insts(block);
        candidates.extend(insts.filter(|inst| {
            parts(func, *inst)
                .is_some_and(|(_, index, _)| sum(func, index).is_some_and(|(_, by)| by < reach))
        }));
    }
    if candidates.is_empty() {
        return;
    }
    let mut ranges = Ranges::new(ways);
    for inst in candidates {
        let Some((base, mut index, offset)) = parts(func, inst) else { continue };
        let mut more = 0;
        while let Some((rest, by)) = sum(func, index) {
            let end = offset + more + by + MOST_BYTES;
            let wraps = ranges.of(func, rest).1 + by > u32::MAX.into();
            if wraps || end > reach || end > i32::MAX as u64 {
                break;
            }
            (index, more) = (rest, more + by);
        }
        if more > 0 {
            let mut cursor = FuncCursor::new(func).at_inst(inst);
            let index = cursor.ins().uextend(types::I64, index);
            let address = cursor.ins().iadd(base, index);
            match &mut func.dfg.insts[inst] {
                InstructionData::Load { arg, offset, .. } => {
                    *arg = address;
                    *offset = ((i64::from(*offset) as u64 + more) as i32).into();
                }
                InstructionData::Store { args, offset, .. } => {
                    args[1] = address;
                    *offset = ((i64::from(*offset) as u64 + more) as i32).into();
                }
                _ => unreachable!("it was found"),
            }
        }
    }
}

/// Base, index of 32 bits, and constant offset of an access with all of these.
fn parts(func: &Function, inst: Inst) -> Option<(Value, Value, u64)> {
    let (address, offset) = match func.dfg.insts[inst] {
        InstructionData::Load { arg, offset, .. } => (arg, offset),
        InstructionData::Store { args, offset, .. } => (args[1], offset),
        _ => return None,
    };
    let made_by = |value| match func.dfg.value_def(func.dfg.resolve_aliases(value)) {
        ValueDef::Result(inst, _) => Some(&func.dfg.insts[inst]),
        _ => None,
    };
    let InstructionData::Binary { opcode: Opcode::Iadd, args: [base, index] } = made_by(address)?
    else {
        return None;
    };
    let InstructionData::Unary { opcode: Opcode::Uextend, arg } = made_by(*index)? else {
        return None;
    };
    let offset = u64::try_from(i64::from(offset)).ok()?;
    (func.dfg.value_type(*arg) == types::I32).then_some((*base, *arg, offset))
}

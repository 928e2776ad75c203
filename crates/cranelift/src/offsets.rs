//! Constants of indices, moved to where an access adds them for nothing.
//!
//! An index is a sum modulo 2^32, so `i32.load (i32.add x 4096)` takes an instruction for the sum. Where it is
//! known that the sum does not wrap (see `ranges`), the constant is part of the access instead: its address
//! is the same. Indices that differ by constants become one.
//!
//! Invariant: addresses stay what they were. A constant is at most what the guard behind every memory of the
//! module takes, so that it can be seen from the instruction that the access stays inside. Where accesses are
//! checked, all of the access lies in what memories have at least.

use crate::ranges::{Ranges, sum};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Function, Inst, InstBuilder, InstructionData, Opcode, Value, ValueDef, types,
};

/// Most bytes of an access.
const MOST_BYTES: u64 = 16;

/// Where accesses may end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// So far behind any index.
    Guard(u64),
    /// So far behind the start of a memory, as it has that many bytes.
    Least(u64),
}

/// Moves constants: see the head of this file.
pub(crate) fn move_constants(func: &mut Function, reach: Reach) {
    match reach {
        Reach::Guard(_) => move_in_ranges(func, Ranges::new, reach),
        Reach::Least(_) => move_in_ranges(func, Ranges::plain, reach),
    }
}

/// The same with the ranges that the caller makes, if they are needed.
pub(crate) fn move_in_ranges(
    func: &mut Function,
    ranges: impl FnOnce(&Function) -> Ranges,
    reach: Reach,
) {
    let (Reach::Guard(furthest) | Reach::Least(furthest)) = reach;
    let mut candidates: Vec<Inst> = Vec::new();
    for block in func.layout.blocks() {
        let insts = func.layout.block_insts(block);
        candidates.extend(insts.filter(|inst| {
            parts(func, *inst)
                .is_some_and(|(_, index, _)| sum(func, index).is_some_and(|(_, by)| by < furthest))
        }));
    }
    if candidates.is_empty() {
        return;
    }
    let mut ranges = ranges(func);
    for inst in candidates {
        let Some((base, mut index, offset)) = parts(func, inst) else { continue };
        let mut more = 0;
        while let Some((rest, by)) = sum(func, index) {
            let end = offset + more + by + MOST_BYTES;
            let most = ranges.of(func, rest).1;
            let fits = match reach {
                Reach::Guard(guard) => most + by <= u32::MAX.into() && end <= guard,
                Reach::Least(least) => most + end <= least,
            };
            if !fits || end > i32::MAX as u64 {
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

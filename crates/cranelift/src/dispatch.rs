//! Dispatch of interpreter loops, copied to where the loop goes on.
//!
//! An interpreter written as a loop around a `br_table` has one indirect jump, which processors predict by
//! what came before it, and badly if that is always the same place. Where the block of the jump is small,
//! [`copy_dispatch`] puts a copy of it in place of each jump to it but one, so that each instruction of the
//! interpreted program has a jump of its own for what follows. One stays, so that there is still a loop with
//! a head, which optimizer and register allocator look for.
//!
//! Invariant: what runs, and in which order, stays the same, its source locations included.

use crate::EntityMap;
use crate::copies::{Groups, pass_values, renamed, replace_values};
use crate::ways::Ways;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstBuilder, InstructionData, JumpTableData,
    Opcode, Value,
};

/// Most instructions of a block that is copied.
const MAX_INSTS: usize = 24;

/// Fewest jumps to a block that is copied: two arms of a loop, and the way into it.
const MIN_JUMPS: usize = 3;

/// Most entries of all tables of a block together.
const MAX_ENTRIES: usize = 1024;

/// Copies dispatch: see the head of this file. `ways` stay those of the function.
pub(crate) fn copy_dispatch(func: &mut Function, ways: &mut Ways) {
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let Some(last) = func.layout.last_inst(block) else { continue };
        let InstructionData::BranchTable { table, .. } = func.dfg.insts[last] else { continue };
        let entries = func.dfg.jump_tables[table].all_branches().len();
        let is_small = func.layout.block_insts(block).count() <= MAX_INSTS;
        if is_small && func.layout.block_insts(block).all(|inst| is_copied(func, inst)) {
            let jumps = jumps_to(func, block);
            if jumps.len() >= MIN_JUMPS
                && (jumps.len() - 1) * entries <= MAX_ENTRIES
                && pass_values(func, &group(block), ways, MAX_ENTRIES)
            {
                // The way into the loop comes first.
                for jump in &jumps[..jumps.len() - 1] {
                    copy(func, block, *jump);
                }
                *ways = Ways::new(func);
            }
        }
    }
}

/// What is copied: one block.
fn group(block: Block) -> Groups {
    let mut groups = Groups::new();
    groups[block] = 1;
    groups
}

fn is_copied(func: &Function, inst: Inst) -> bool {
    let opcode = func.dfg.insts[inst].opcode();
    if matches!(opcode, Opcode::GetPinnedReg | Opcode::SetPinnedReg | Opcode::SequencePoint) {
        // Fuel is paid in each copy, and each asks for the epoch.
        return true;
    }
    !opcode.can_store() && !opcode.is_call() && !opcode.other_side_effects()
}

/// The jumps to a block, in the order of the layout.
fn jumps_to(func: &Function, block: Block) -> Vec<Inst> {
    let jumps = func.layout.blocks().filter_map(|from| {
        let last = func.layout.last_inst(from)?;
        match &func.dfg.insts[last] {
            InstructionData::Jump { destination, .. }
                if destination.block(&func.dfg.value_lists) == block && from != block =>
            {
                Some(last)
            }
            _ => None,
        }
    });
    jumps.collect()
}

/// Replaces a jump to `block`, whose values are used nowhere else, by a copy of it.
fn copy(func: &mut Function, block: Block, jump: Inst) {
    let mut new: EntityMap<Value, Value> = EntityMap::default();
    let InstructionData::Jump { destination, .. } = func.dfg.insts[jump] else {
        unreachable!("it was looked for")
    };
    let args: Vec<BlockArg> = destination.args(&func.dfg.value_lists).collect();
    for (param, arg) in func.dfg.block_params(block).iter().zip(args) {
        let BlockArg::Value(arg) = arg else { unreachable!("a jump passes values") };
        new.insert(*param, arg);
    }
    let insts: Vec<Inst> = func.layout.block_insts(block).collect();
    let (last, insts) = insts.split_last().expect("it ends in a jump");
    for inst in insts {
        let copy = func.dfg.clone_inst(*inst);
        replace_values(func, copy, &new);
        let results = func.dfg.inst_results(*inst).iter().zip(func.dfg.inst_results(copy));
        new.extend(results.map(|(old, copied)| (*old, *copied)));
        func.layout.insert_inst(copy, jump);
        func.set_srcloc(copy, func.srcloc(*inst));
    }
    let InstructionData::BranchTable { table, arg, .. } = func.dfg.insts[*last] else {
        unreachable!("it was looked for")
    };
    let calls: Vec<BlockCall> = func.dfg.jump_tables[table].all_branches().to_vec();
    let calls: Vec<BlockCall> = calls
        .iter()
        .map(|call| {
            let target = call.block(&func.dfg.value_lists);
            let args: Vec<BlockArg> = call.args(&func.dfg.value_lists).collect();
            let args = args.into_iter().map(|arg| match arg {
                BlockArg::Value(value) => BlockArg::Value(renamed(func, value, &new)),
                other => other,
            });
            let args: Vec<BlockArg> = args.collect();
            BlockCall::new(target, args, &mut func.dfg.value_lists)
        })
        .collect();
    let (default, entries) = calls.split_first().expect("every table has a default");
    let table = func.dfg.jump_tables.push(JumpTableData::new(*default, entries));
    let arg = renamed(func, arg, &new);
    let location = func.srcloc(*last);
    let mut cursor = FuncCursor::new(func).at_inst(jump).with_srcloc(location);
    cursor.ins().br_table(arg, table);
    func.layout.remove_inst(jump);
}

//! Dispatch of interpreter loops, copied to where the loop goes on.
//!
//! An interpreter written as a loop around a `br_table` has one indirect jump, which processors predict by
//! what came before it, and badly if that is always the same place. Where the block of the jump is small,
//! [`copy_dispatch`] puts a copy of it in place of each jump to it but one, so that each instruction of the
//! interpreted program has a jump of its own for what follows. One stays, so that there is still a loop with
//! a head, which optimizer and register allocator look for.
//!
//! What the block computes no longer comes from one place. So all blocks that use such a value, or lead to
//! one that does, get it as a parameter; parameters that always have one value are removed by the optimizer.
//!
//! Invariant: what runs, and in which order, stays the same, its source locations included.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstBuilder, InstructionData, JumpTableData,
    Opcode, Value,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most instructions of a block that is copied.
const MAX_INSTS: usize = 24;

/// Fewest jumps to a block that is copied: two arms of a loop, and the way into it.
const MIN_JUMPS: usize = 3;

/// Most entries of all tables of a block together.
const MAX_ENTRIES: usize = 1024;

/// Most values that branches pass, were every table that is copied full.
const MAX_PASSED: usize = 1 << 20;

/// Most places where values are kept apart.
const MAX_PLACES: usize = 1 << 14;

/// Copies dispatch: see the head of this file.
pub(crate) fn copy_dispatch(func: &mut Function) {
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
                && pass_values(func, block)
            {
                // The way into the loop comes first.
                for jump in &jumps[..jumps.len() - 1] {
                    copy(func, block, *jump);
                }
            }
        }
    }
}

fn is_copied(func: &Function, inst: Inst) -> bool {
    let opcode = func.dfg.insts[inst].opcode();
    if matches!(opcode, Opcode::GetPinnedReg | Opcode::SetPinnedReg) {
        // Fuel is paid in each copy.
        return true;
    }
    !opcode.can_store() && !opcode.is_call() && !opcode.other_side_effects()
}

fn destinations(func: &Function, block: Block) -> &[BlockCall] {
    match func.layout.last_inst(block) {
        Some(last) => func.dfg.insts[last]
            .branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables),
        None => &[],
    }
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

/// What each block but `from` needs of the values that `from` defines; `None` if that is too much.
fn needs(func: &Function, from: Block) -> Option<BTreeMap<Block, BTreeSet<Value>>> {
    let mut defined: BTreeSet<Value> = func.dfg.block_params(from).iter().copied().collect();
    for inst in func.layout.block_insts(from) {
        defined.extend(func.dfg.inst_results(inst));
    }
    let mut needs: BTreeMap<Block, BTreeSet<Value>> = BTreeMap::new();
    let mut before: HashMap<Block, Vec<Block>> = HashMap::new();
    for block in func.layout.blocks() {
        for call in destinations(func, block) {
            before.entry(call.block(&func.dfg.value_lists)).or_default().push(block);
        }
        if block == from {
            continue;
        }
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                let value = func.dfg.resolve_aliases(value);
                if defined.contains(&value) {
                    needs.entry(block).or_default().insert(value);
                }
            }
        }
    }
    let mut places: usize = needs.values().map(BTreeSet::len).sum();
    let mut work: Vec<Block> = needs.keys().copied().collect();
    while let Some(block) = work.pop() {
        let values = needs[&block].clone();
        for source in before.get(&block).into_iter().flatten().filter(|source| **source != from) {
            let known = needs.entry(*source).or_default();
            let count = known.len();
            known.extend(&values);
            if known.len() > count {
                places += known.len() - count;
                work.push(*source);
            }
        }
        if places > MAX_PLACES {
            return None;
        }
    }
    // Each way to a block passes what it needs.
    let passed = needs.iter().map(|(block, values)| {
        values.len() * before.get(block).map_or(0, |sources| sources.len() + MAX_ENTRIES)
    });
    (passed.sum::<usize>() <= MAX_PASSED).then_some(needs)
}

/// Gives what `from` defines to other blocks by parameters only. `false` if nothing was done.
fn pass_values(func: &mut Function, from: Block) -> bool {
    let Some(needs) = needs(func, from) else { return false };
    // The block with the entry's parameters has no others, and `from` leads to whoever needs its values.
    if func.layout.entry_block().is_none_or(|entry| needs.contains_key(&entry) || entry == from) {
        return false;
    }
    let mut params: HashMap<(Block, Value), Value> = HashMap::new();
    for (block, values) in &needs {
        for value in values {
            let ty = func.dfg.value_type(*value);
            params.insert((*block, *value), func.dfg.append_block_param(*block, ty));
        }
    }
    for block in needs.keys() {
        let mut next = func.layout.first_inst(*block);
        while let Some(inst) = next {
            next = func.layout.next_inst(inst);
            let values: Vec<Value> = func.dfg.inst_values(inst).collect();
            let mut new = HashMap::new();
            for value in values {
                let source = func.dfg.resolve_aliases(value);
                if let Some(param) = params.get(&(*block, source)) {
                    new.insert(value, *param);
                }
            }
            func.dfg.map_inst_values(inst, |value| new.get(&value).copied().unwrap_or(value));
        }
    }
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let Some(last) = func.layout.last_inst(block) else { continue };
        let dfg = &mut func.dfg;
        let calls =
            dfg.insts[last].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
        for call in calls {
            let Some(values) = needs.get(&call.block(&dfg.value_lists)) else { continue };
            for value in values {
                let held = if block == from { *value } else { params[&(block, *value)] };
                call.append_argument(BlockArg::Value(held), &mut dfg.value_lists);
            }
        }
    }
    true
}

/// Replaces a jump to `block`, whose values are used nowhere else, by a copy of it.
fn copy(func: &mut Function, block: Block, jump: Inst) {
    let mut new: HashMap<Value, Value> = HashMap::new();
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

/// What a value is in a copy.
fn renamed(func: &Function, value: Value, new: &HashMap<Value, Value>) -> Value {
    let value = func.dfg.resolve_aliases(value);
    new.get(&value).copied().unwrap_or(value)
}

fn replace_values(func: &mut Function, inst: Inst, new: &HashMap<Value, Value>) {
    let values: Vec<Value> = func.dfg.inst_values(inst).collect();
    let names: HashMap<Value, Value> =
        values.into_iter().map(|value| (value, renamed(func, value, new))).collect();
    func.dfg.map_inst_values(inst, |value| names[&value]);
}

//! Copies of blocks, such as of a loop's body or of an interpreter's dispatch.
//!
//! What a block computes that is copied no longer comes from one place. [`pass_values`] makes ready for that:
//! all other blocks that use such a value, or lead to one that does, get it as a parameter. Parameters that
//! always have one value are removed by the optimizer.
//!
//! Invariant: after [`pass_values`], blocks of a group are the only ones that name a value of the group.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, BlockArg, BlockCall, Function, Inst, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most values that branches pass.
const MAX_PASSED: usize = 1 << 20;

/// Most places where values are kept apart.
const MAX_PLACES: usize = 1 << 14;

/// The group that each block belongs to that is copied, counted from 1; 0 for all others.
pub(crate) type Groups = SecondaryMap<Block, u32>;

/// Where a block may go on.
pub(crate) fn destinations(func: &Function, block: Block) -> &[BlockCall] {
    match func.layout.last_inst(block) {
        Some(last) => func.dfg.insts[last]
            .branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables),
        None => &[],
    }
}

/// What blocks need of values that another group than their own defines.
struct Needs {
    /// Which group defines a value; 0 is none.
    group_of: SecondaryMap<Value, u32>,
    of_block: BTreeMap<Block, BTreeSet<Value>>,
}

/// `None` if that is too much.
fn needs(func: &Function, groups: &Groups, more_ways: usize) -> Option<Needs> {
    let mut group_of: SecondaryMap<Value, u32> = SecondaryMap::new();
    for block in func.layout.blocks() {
        let group = groups[block];
        if group != 0 {
            func.dfg.block_params(block).iter().for_each(|param| group_of[*param] = group);
            for inst in func.layout.block_insts(block) {
                func.dfg.inst_results(inst).iter().for_each(|result| group_of[*result] = group);
            }
        }
    }
    let mut needs: BTreeMap<Block, BTreeSet<Value>> = BTreeMap::new();
    let mut before: HashMap<Block, Vec<Block>> = HashMap::new();
    for block in func.layout.blocks() {
        for call in destinations(func, block) {
            before.entry(call.block(&func.dfg.value_lists)).or_default().push(block);
        }
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                let value = func.dfg.resolve_aliases(value);
                if group_of[value] != 0 && group_of[value] != groups[block] {
                    needs.entry(block).or_default().insert(value);
                }
            }
        }
    }
    let mut places: usize = needs.values().map(BTreeSet::len).sum();
    let mut work: Vec<Block> = needs.keys().copied().collect();
    while let Some(block) = work.pop() {
        let values = needs[&block].clone();
        for source in before.get(&block).into_iter().flatten() {
            let mut others =
                values.iter().filter(|value| group_of[**value] != groups[*source]).peekable();
            if others.peek().is_none() {
                continue;
            }
            let known = needs.entry(*source).or_default();
            let count = known.len();
            known.extend(others);
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
        values.len() * before.get(block).map_or(0, |sources| sources.len() + more_ways)
    });
    let fits = passed.sum::<usize>() <= MAX_PASSED;
    fits.then_some(Needs { group_of, of_block: needs })
}

/// Gives what groups define to other blocks by parameters only. `false` if nothing was done, because it would
/// be too much where copies add `more_ways` to each block.
pub(crate) fn pass_values(func: &mut Function, groups: &Groups, more_ways: usize) -> bool {
    let Some(Needs { group_of, of_block: needs }) = needs(func, groups, more_ways) else {
        return false;
    };
    // The block with the entry's parameters has no others, and a group leads to whoever needs its values.
    if func
        .layout
        .entry_block()
        .is_none_or(|entry| needs.contains_key(&entry) || groups[entry] != 0)
    {
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
                let here = group_of[*value] == groups[block];
                let held = if here { *value } else { params[&(block, *value)] };
                call.append_argument(BlockArg::Value(held), &mut dfg.value_lists);
            }
        }
    }
    true
}

/// What a value is in a copy.
pub(crate) fn renamed(func: &Function, value: Value, new: &HashMap<Value, Value>) -> Value {
    let value = func.dfg.resolve_aliases(value);
    new.get(&value).copied().unwrap_or(value)
}

/// Gives a copy of an instruction the values of the copy.
pub(crate) fn replace_values(func: &mut Function, inst: Inst, new: &HashMap<Value, Value>) {
    let values: Vec<Value> = func.dfg.inst_values(inst).collect();
    let names: HashMap<Value, Value> =
        values.into_iter().map(|value| (value, renamed(func, value, new))).collect();
    func.dfg.map_inst_values(inst, |value| names[&value]);
}

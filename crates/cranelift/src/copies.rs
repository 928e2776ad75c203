//! Copies of blocks, such as of a loop's body or of an interpreter's dispatch.
//!
//! What a block computes that is copied no longer comes from one place. [`pass_values`] makes ready for that:
//! all other blocks that use such a value, or lead to one that does, get it as a parameter. Parameters that
//! always have one value are removed by the optimizer.
//!
//! Invariant: after [`pass_values`], blocks of a group are the only ones that name a value of the group.

use crate::EntityMap;
use crate::ways::Ways;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, BlockArg, BlockCall, Function, Inst, Value};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

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
fn needs(func: &Function, groups: &Groups, ways: &Ways, more_ways: usize) -> Option<Needs> {
    let mut group_of: SecondaryMap<Value, u32> = SecondaryMap::with_capacity(func.dfg.num_values());
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
    for block in func.layout.blocks() {
        let mut look_at = |value: Value| {
            let value = func.dfg.resolve_aliases(value);
            let group = group_of[value];
            if group != 0 && group != groups[block] {
                needs.entry(block).or_default().insert(value);
            }
        };
        for inst in func.layout.block_insts(block) {
            func.dfg.inst_args(inst).iter().copied().for_each(&mut look_at);
        }
        // What branches pass is not among the arguments.
        let last = func.layout.last_inst(block).into_iter();
        last.flat_map(|inst| func.dfg.inst_values(inst)).for_each(&mut look_at);
    }
    let sources = |block: Block| {
        ways.to(block).iter().filter_map(|(branch, _)| func.layout.inst_block(*branch))
    };
    let mut places: usize = needs.values().map(BTreeSet::len).sum();
    let mut work: Vec<Block> = needs.keys().copied().collect();
    while let Some(block) = work.pop() {
        let values = needs[&block].clone();
        for source in sources(block) {
            let mut others =
                values.iter().filter(|value| group_of[**value] != groups[source]).peekable();
            if others.peek().is_none() {
                continue;
            }
            let known = needs.entry(source).or_default();
            let count = known.len();
            known.extend(others);
            if known.len() > count {
                places += known.len() - count;
                work.push(source);
            }
        }
        if places > MAX_PLACES {
            return None;
        }
    }
    // Each way to a block passes what it needs.
    let passed = needs.iter().map(|(block, values)| match ways.to(*block).len() {
        0 => 0,
        sources => values.len() * (sources + more_ways),
    });
    let fits = passed.sum::<usize>() <= MAX_PASSED;
    fits.then_some(Needs { group_of, of_block: needs })
}

/// Gives what groups define to other blocks by parameters only. `false` if nothing was done, because it would
/// be too much where copies add `more_ways` to each block.
pub(crate) fn pass_values(
    func: &mut Function,
    groups: &Groups,
    ways: &Ways,
    more_ways: usize,
) -> bool {
    let Some(Needs { group_of, of_block: needs }) = needs(func, groups, ways, more_ways) else {
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
    let mut params: EntityMap<(Block, Value), Value> = EntityMap::default();
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
            rename(func, inst, |source| params.get(&(*block, source)).copied());
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
pub(crate) fn renamed(func: &Function, value: Value, new: &EntityMap<Value, Value>) -> Value {
    let value = func.dfg.resolve_aliases(value);
    new.get(&value).copied().unwrap_or(value)
}

/// Gives a copy of an instruction the values of the copy.
pub(crate) fn replace_values(func: &mut Function, inst: Inst, new: &EntityMap<Value, Value>) {
    rename(func, inst, |value| new.get(&value).copied());
}

/// Lets an instruction use what `new` says instead of a value.
fn rename(func: &mut Function, inst: Inst, new: impl Fn(Value) -> Option<Value>) {
    let values = func.dfg.inst_values(inst);
    let names: SmallVec<[Option<Value>; 8]> =
        values.map(|value| new(func.dfg.resolve_aliases(value))).collect();
    if names.iter().any(Option::is_some) {
        // Both go through them in the same order.
        let mut names = names.into_iter();
        func.dfg.map_inst_values(inst, |value| names.next().flatten().unwrap_or(value));
    }
}

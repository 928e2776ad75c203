//! Small loops, with several copies of their body.
//!
//! What an innermost loop carries from turn to turn is moved to where its head expects it, and what it
//! counts is added to in each turn. With copies of the body one behind the other, each exit where it was, the
//! values are renamed between them, and sums of constants become one.
//!
//! Invariant: what runs, and in which order, stays the same, its source locations included.

use crate::EntityMap;
use crate::copies::{Groups, destinations, pass_values, replace_values};
use crate::ranges::Ranges;
use crate::ways::Ways;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstBuilder, Opcode, Value,
};

/// Most instructions of a loop that is copied, as far as they become code. Also most blocks.
const MAX_INSTS: usize = 64;

/// Copies of a body. With four of the smaller ones, nothing was faster than with two.
const COPIES: usize = 2;

/// Ways that copies may add to a block.
const MAX_WAYS: usize = MAX_INSTS;

/// A loop.
struct Loop {
    /// Its blocks in the order of the layout; the first is its head.
    blocks: Vec<Block>,
    /// It is left at its end only in the last of the copies.
    ends_last: bool,
}

/// What became of the loops of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unrolled {
    /// They are what they were.
    None,
    /// Some were copied.
    Copied,
    /// Some count further now in each turn, to a constant.
    Counting,
}

/// Copies the bodies of small loops: see the head of this file.
pub(crate) fn unroll(func: &mut Function, ways: &Ways) -> Unrolled {
    let loops = small_loops(func, ways);
    if loops.is_empty() {
        return Unrolled::None;
    }
    let mut groups = Groups::new();
    for (index, found) in loops.iter().enumerate() {
        found.blocks.iter().for_each(|block| groups[*block] = index as u32 + 1);
    }
    if !pass_values(func, &groups, ways, MAX_WAYS) {
        return Unrolled::None;
    }
    loops.iter().for_each(|found| copy(func, found));
    match loops.iter().any(|found| found.ends_last) {
        true => Unrolled::Counting,
        false => Unrolled::Copied,
    }
}

/// The loops to copy: innermost, small, of integers, with nothing in them that is called. Loops of floats
/// and vectors wait for other things: copies gave nothing.
fn small_loops(func: &Function, ways: &Ways) -> Vec<Loop> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (head, block) in func.layout.blocks().enumerate() {
        let sources = ways.to(block).iter().filter_map(|way| func.layout.inst_block(way.0));
        let sources = sources.map(|source| ways.position(source));
        ranges.extend(sources.filter(|source| head <= *source).map(|source| (head, source)));
    }
    if ranges.is_empty() {
        return Vec::new();
    }
    let order: Vec<Block> = func.layout.blocks().collect();
    // Several ways back are one loop.
    ranges.sort_unstable();
    let mut heads: Vec<(usize, usize)> = Vec::new();
    for (head, last) in ranges {
        match heads.last_mut() {
            Some(known) if known.0 == head => known.1 = known.1.max(last),
            _ => heads.push((head, last)),
        }
    }
    let mut ranges = Ranges::new(ways);
    let mut budget = func.dfg.num_insts() / 2 + 100;
    let mut loops = Vec::new();
    for (index, (head, last)) in heads.iter().enumerate() {
        if heads.get(index + 1).is_some_and(|(inner, _)| inner <= last) {
            continue;
        }
        let Some(blocks) = body(func, ways, &order, *head, *last) else { continue };
        let Some(size) = size(func, &blocks) else { continue };
        let more = size * (COPIES - 1);
        if more <= budget {
            budget -= more;
            let turns = ranges.turns_of(func, blocks[0]);
            let ends_last = turns.is_some_and(|turns| (turns + 1).is_multiple_of(COPIES as u64));
            loops.push(Loop { blocks, ends_last });
        }
    }
    loops
}

/// The blocks between a head and the ways back to it, if they are entered through the head only.
fn body(
    func: &Function,
    ways: &Ways,
    order: &[Block],
    head: usize,
    last: usize,
) -> Option<Vec<Block>> {
    if last - head >= MAX_INSTS {
        return None;
    }
    let mut inside = vec![false; last - head + 1];
    inside[0] = true;
    let mut work = vec![head];
    while let Some(at) = work.pop() {
        for (branch, _) in ways.to(order[at]) {
            let source = ways.position(func.layout.inst_block(*branch)?);
            match (head..=last).contains(&source) {
                true if !std::mem::replace(&mut inside[source - head], true) => work.push(source),
                true => {}
                false if at == head => {}
                false => return None,
            }
        }
    }
    Some((head..=last).filter(|at| inside[at - head]).map(|at| order[at]).collect())
}

/// The number of instructions that become code, of a loop that may be copied.
fn size(func: &Function, blocks: &[Block]) -> Option<usize> {
    let mut size = 0;
    for block in blocks {
        for inst in func.layout.block_insts(*block) {
            let opcode = func.dfg.insts[inst].opcode();
            let results = func.dfg.inst_results(inst);
            let integers = results.iter().all(|result| func.dfg.value_type(*result).is_int());
            if !integers || opcode.is_call() || opcode == Opcode::BrTable {
                return None;
            }
            size += usize::from(!matches!(
                opcode,
                Opcode::Iconst | Opcode::Uextend | Opcode::Ireduce | Opcode::Jump | Opcode::Nop
            ));
        }
        if size > MAX_INSTS {
            return None;
        }
    }
    Some(size)
}

/// Puts copies of a loop behind it.
fn copy(func: &mut Function, found: &Loop) {
    let head = found.blocks[0];
    let mut bodies: Vec<EntityMap<Block, Block>> =
        vec![found.blocks.iter().map(|block| (*block, *block)).collect()];
    let mut behind = *found.blocks.last().expect("it has a head");
    let received = received(func, found);
    let mut last_new: EntityMap<Value, Value> = EntityMap::default();
    for _ in 1..COPIES {
        let mut body: EntityMap<Block, Block> = EntityMap::default();
        // The head of a copy has one way to it, so it receives what that passes.
        let mut new: EntityMap<Value, Value> = EntityMap::default();
        for (param, passed) in &received {
            new.insert(*param, last_new.get(passed).copied().unwrap_or(*passed));
        }
        for block in &found.blocks {
            let copy = func.dfg.make_block();
            func.layout.insert_block_after(copy, behind);
            if func.layout.is_cold(*block) {
                func.layout.set_cold(copy);
            }
            behind = copy;
            body.insert(*block, copy);
            let params = func.dfg.block_params(*block).to_vec();
            for param in params.into_iter().filter(|param| !received.contains_key(param)) {
                let ty = func.dfg.value_type(param);
                new.insert(param, func.dfg.append_block_param(copy, ty));
            }
        }
        let mut copied: Vec<Inst> = Vec::new();
        for block in &found.blocks {
            let insts: Vec<Inst> = func.layout.block_insts(*block).collect();
            for inst in insts {
                let copy = func.dfg.clone_inst(inst);
                let results = func.dfg.inst_results(inst).iter().zip(func.dfg.inst_results(copy));
                new.extend(results.map(|(old, copied)| (*old, *copied)));
                func.layout.append_inst(copy, body[block]);
                func.set_srcloc(copy, func.srcloc(inst));
                copied.push(copy);
            }
        }
        copied.into_iter().for_each(|inst| replace_values(func, inst, &new));
        bodies.push(body);
        last_new = new;
    }
    for (index, body) in bodies.iter().enumerate() {
        let next = bodies[(index + 1) % bodies.len()][&head];
        for block in found.blocks.iter().map(|block| body[block]) {
            let last = func.layout.last_inst(block).expect("it ends in a branch");
            if next != head && !received.is_empty() {
                pass_nothing(func, last, head);
            }
            let last = match found.ends_last && next != head {
                true => go_on(func, last, head, next),
                false => last,
            };
            let dfg = &mut func.dfg;
            let calls = dfg.insts[last]
                .branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
            for call in calls {
                let target = call.block(&dfg.value_lists);
                if target == head {
                    call.set_block(next, &mut dfg.value_lists);
                } else if let Some(copy) = body.get(&target) {
                    call.set_block(*copy, &mut dfg.value_lists);
                }
            }
        }
    }
}

/// What the head's parameters are the next time, where only one branch goes back.
fn received(func: &Function, found: &Loop) -> EntityMap<Value, Value> {
    let head = found.blocks[0];
    let lists = &func.dfg.value_lists;
    let mut ways = found.blocks.iter().flat_map(|block| destinations(func, *block));
    let mut back = ways.by_ref().filter(|call| call.block(lists) == head);
    let (Some(way), None) = (back.next(), back.next()) else { return EntityMap::default() };
    let values = way.args(lists).filter_map(|arg| match arg {
        BlockArg::Value(value) => Some(func.dfg.resolve_aliases(value)),
        _ => None,
    });
    func.dfg.block_params(head).iter().copied().zip(values).collect()
}

/// Lets a branch pass nothing to `head`.
fn pass_nothing(func: &mut Function, branch: Inst, head: Block) {
    let dfg = &mut func.dfg;
    let calls =
        dfg.insts[branch].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
    for call in calls {
        if call.block(&dfg.value_lists) == head {
            *call = BlockCall::new(head, [], &mut dfg.value_lists);
        }
    }
}

/// Replaces a branch that may go back to `head` by a jump to `next`; what ends the block then.
fn go_on(func: &mut Function, branch: Inst, head: Block, next: Block) -> Inst {
    let dfg = &func.dfg;
    let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    let back = calls.iter().find(|call| call.block(&dfg.value_lists) == head);
    let Some(back) = back else { return branch };
    let args: Vec<BlockArg> = back.args(&dfg.value_lists).collect();
    let location = func.srcloc(branch);
    let mut cursor = FuncCursor::new(func).at_inst(branch).with_srcloc(location);
    let jump = cursor.ins().jump(next, &args);
    func.layout.remove_inst(branch);
    jump
}

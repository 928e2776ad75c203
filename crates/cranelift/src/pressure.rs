//! How much work the register allocator will have, estimated before it starts.
//!
//! The better of Cranelift's two allocators takes time that grows with the values that are live at
//! once times the length of the function: 16,000 values live across 16,000 calls took 8 s, 50,000 took
//! 150 s (measured on two cores of a cloud host; 2.5e-8 s per value and instruction). A guest chooses
//! both factors. Past [`MAX_AREA`] the single-pass allocator is used, whose time is linear.

use cranelift_codegen::ir::{Block, Function, Inst, Value};

/// Live values summed over all instructions: about 3 s of allocation.
const MAX_AREA: u64 = 120_000_000;

/// Functions of fewer instructions are not looked at: their area cannot matter.
const MIN_INSTS: usize = 4_000;

/// Loops nested deeper than this are not followed one by one.
const MAX_LOOPS: usize = 64;

/// Whether the allocation of `func` is too much work for the better allocator.
pub(crate) fn is_excessive(func: &Function) -> bool {
    func.dfg.num_insts() >= MIN_INSTS && area(func).is_none_or(|area| area > MAX_AREA)
}

/// A loop as a stretch of the layout, found by a branch back.
#[derive(Clone, Copy)]
struct Loop {
    first: u32,
    last: u32,
    /// Position of the loop around it in the list.
    outer: Option<u32>,
}

/// Sum over all values of the stretch of layout from definition to last use, where a use in a loop of
/// a value from outside extends to the loop's end. `None` if loops are nested too deeply.
fn area(func: &Function) -> Option<u64> {
    const UNDEFINED: u32 = u32::MAX;
    let mut starts = vec![UNDEFINED; func.dfg.num_blocks()];
    let index = |block: Block| block.as_u32() as usize;
    let mut position = 0u32;
    for block in func.layout.blocks() {
        starts[index(block)] = position;
        position += 1 + func.layout.block_insts(block).count() as u32;
    }
    let loops = find_loops(func, &starts);

    let mut defined = vec![UNDEFINED; func.dfg.num_values()];
    let mut last = vec![0u32; func.dfg.num_values()];
    let mut too_deep = false;
    let mut innermost = None;
    let mut next_loop = 0;
    for block in func.layout.blocks() {
        let mut position = starts[index(block)];
        while loops.get(next_loop).is_some_and(|found: &Loop| found.first <= position) {
            innermost = Some(next_loop as u32);
            next_loop += 1;
        }
        while let Some(inside) = innermost
            && loops[inside as usize].last < position
        {
            innermost = loops[inside as usize].outer;
        }
        for param in func.dfg.block_params(block) {
            defined[param.as_u32() as usize] = position;
        }
        for inst in func.layout.block_insts(block) {
            position += 1;
            let mut used = |value: Value| {
                let value = func.dfg.resolve_aliases(value).as_u32() as usize;
                let mut end = position;
                let mut around = innermost;
                let mut steps = 0;
                while let Some(inside) = around {
                    let Loop { first, last, outer } = loops[inside as usize];
                    if defined[value] >= first {
                        break;
                    }
                    steps += 1;
                    too_deep |= steps > MAX_LOOPS;
                    if too_deep {
                        break;
                    }
                    end = end.max(last);
                    around = outer;
                }
                last[value] = last[value].max(end);
            };
            func.dfg.inst_values(inst).for_each(&mut used);
            for result in func.dfg.inst_results(inst) {
                defined[result.as_u32() as usize] = position;
            }
        }
    }
    let stretches = defined.iter().zip(&last).filter(|(defined, _)| **defined != UNDEFINED);
    (!too_deep)
        .then(|| stretches.map(|(defined, last)| u64::from(last.saturating_sub(*defined))).sum())
}

/// Loops in the order of their first position, outer before inner.
fn find_loops(func: &Function, starts: &[u32]) -> Vec<Loop> {
    let index = |block: Block| block.as_u32() as usize;
    // For each loop header, the last position that branches back to it.
    let mut ends = vec![0u32; starts.len()];
    for block in func.layout.blocks() {
        let start = starts[index(block)];
        let Some(branch) = func.layout.last_inst(block) else { continue };
        let length = func.layout.block_insts(block).count() as u32;
        for target in targets(func, branch) {
            if starts[index(target)] <= start {
                let end = &mut ends[index(target)];
                *end = (*end).max(start + length);
            }
        }
    }
    let mut loops: Vec<Loop> = Vec::new();
    let mut open: Vec<u32> = Vec::new();
    for block in func.layout.blocks() {
        let (first, last) = (starts[index(block)], ends[index(block)]);
        if last == 0 {
            continue;
        }
        while open.last().is_some_and(|&outer| loops[outer as usize].last < first) {
            open.pop();
        }
        loops.push(Loop { first, last, outer: open.last().copied() });
        open.push(loops.len() as u32 - 1);
    }
    loops
}

fn targets(func: &Function, branch: Inst) -> impl Iterator<Item = Block> + '_ {
    func.dfg.insts[branch]
        .branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables)
        .iter()
        .map(|call| call.block(&func.dfg.value_lists))
}

//! How much work the optimizer and the register allocator will have, estimated before they start.
//!
//! Three parts of Cranelift take time that is not linear, and a guest chooses the factors:
//!
//! - The optimizer looks for the block that a value belongs to along the path of dominators above it:
//!   *depth*, the dominators of all instructions. 20,000 nested blocks (a depth of 6e8) took 5 s.
//! - The better of the two allocators walks what is live at once: *area*, the live values of all
//!   instructions. 16,000 values live across 16,000 calls took 8 s; in nested loops that change all of
//!   300 locals, an area of 4e7 took 5 s.
//! - It also merges block parameters with what is passed to them, into lists that it inserts into and
//!   splits one by one: *merges*, the squares of the sizes of these lists. 30,000 `if`s that change a
//!   local (4e9) took 3 s, 20,000 targets of a branch table with 8 operands (3e9) took 11 s.
//!
//! Past a bound, the function is not optimized, or gets the single-pass allocator, whose time is
//! linear: 0.5 to 2 s for a megabyte of the shapes above. The bounds have a part that grows with the
//! function, so that many functions just below them stay bounded too. All was measured on two cores of
//! a cloud host.
//!
//! For comparison: of the functions with over 2,000 values in builds of SQLite, Lua, zlib, lz4 and JSON
//! programs, none has more than 80 values live in the mean, an area of 500,000 where it has less than
//! 20,000 instructions, or merges of 50 for each instruction.

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function, Inst, Value};

/// Depth.
const DEPTH: Bound = Bound { base: 5_000_000, each: 1_000 };

/// Functions with fewer values are not looked at: they cannot take long.
const MIN_VALUES: usize = 4_000;

/// Area that any function may have, and area for each of its instructions.
const AREA: Bound = Bound { base: 2_000_000, each: 80 };

/// Merges that any function may have, and merges for each of its instructions.
const MERGES: Bound = Bound { base: 20_000_000, each: 2_000 };

/// Loops nested deeper than this are not followed one by one.
const MAX_LOOPS: usize = 64;

/// A bound that grows with the function.
struct Bound {
    base: u64,
    each: u64,
}

impl Bound {
    fn is_passed(&self, work: u64, func: &Function) -> bool {
        work > self.base + self.each * func.dfg.num_insts() as u64
    }
}

/// Whether the optimization of `func` is too much work.
pub(crate) fn is_deep(func: &Function, domtree: &DominatorTree) -> bool {
    DEPTH.is_passed(depth(func, domtree), func)
}

/// Whether `is_deep` can hold at all: no path of dominators is longer than the list of blocks.
pub(crate) fn may_be_deep(func: &Function) -> bool {
    DEPTH.is_passed(func.dfg.num_blocks() as u64 * func.dfg.num_insts() as u64, func)
}

/// Whether the allocation of `func` is too much work for the better allocator.
pub(crate) fn is_excessive(func: &Function) -> bool {
    func.dfg.num_values() >= MIN_VALUES
        && (MERGES.is_passed(merges(func), func)
            || area(func).is_none_or(|area| AREA.is_passed(area, func)))
}

/// Sum over all instructions of the number of blocks that dominate them.
fn depth(func: &Function, domtree: &DominatorTree) -> u64 {
    let mut depths: SecondaryMap<Block, u32> = SecondaryMap::new();
    let mut sum = 0;
    // Of two blocks in reverse postorder, only the first can dominate the other.
    for &block in domtree.cfg_postorder().iter().rev() {
        let depth = domtree.idom(block).map_or(0, |above| depths[above] + 1);
        depths[block] = depth;
        let insts = func.layout.block_insts(block).count() as u64;
        sum += u64::from(depth) * insts;
    }
    sum
}

/// Sum of the squares of the sizes of the sets that block parameters form with what is passed to them.
fn merges(func: &Function) -> u64 {
    // A forest: each value points at another of its set, the root at itself.
    let mut sets: Vec<u32> = (0..func.dfg.num_values() as u32).collect();
    let mut sizes = vec![1u64; sets.len()];
    for block in func.layout.blocks() {
        let Some(branch) = func.layout.last_inst(block) else { continue };
        let calls = func.dfg.insts[branch]
            .branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables);
        for call in calls {
            let params = func.dfg.block_params(call.block(&func.dfg.value_lists));
            for (param, arg) in params.iter().zip(call.args(&func.dfg.value_lists)) {
                let Some(arg) = arg.as_value() else { continue };
                let into = find(&mut sets, *param);
                let from = find(&mut sets, func.dfg.resolve_aliases(arg));
                if into == from {
                    continue;
                }
                let (into, from) = match sizes[into] >= sizes[from] {
                    true => (into, from),
                    false => (from, into),
                };
                sets[from] = into as u32;
                sizes[into] += std::mem::take(&mut sizes[from]);
            }
        }
    }
    sizes.iter().filter(|size| **size > 1).map(|size| size * size).sum()
}

/// The root of a value's set; halves the path to it.
fn find(sets: &mut [u32], value: Value) -> usize {
    let mut at = value.as_u32() as usize;
    while sets[at] as usize != at {
        sets[at] = sets[sets[at] as usize];
        at = sets[at] as usize;
    }
    at
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

#[cfg(test)]
mod tests {
    use crate::Scratch;
    use crate::compiler::Compiler;
    use std::time::{Duration, Instant};
    use wardian_module::layout::VmLayout;
    use wardian_module::{Proposals, Settings};

    /// Whether the function of a module is left unoptimized, and whether it gets the simpler allocator.
    fn choice(wat: &str) -> (bool, bool) {
        let wasm = wat::parse_str(wat).unwrap();
        let (module, bodies) = wardian_module::decode(wasm, Proposals::all_built()).unwrap();
        let layout = VmLayout::new(&module);
        let compiler = Compiler::new(&Settings::default()).unwrap();
        let mut scratch = Scratch::new();
        let body = bodies.into_iter().next().unwrap();
        compiler
            .compile(&module, &layout, body, wardian_module::layout::Linkage::Direct, &mut scratch)
            .unwrap();
        let chosen = scratch.choice.unwrap();
        (chosen.deep, chosen.excessive)
    }

    fn repeat(count: usize, f: impl Fn(usize) -> String) -> String {
        (0..count).map(f).collect()
    }

    /// `count` arms that change one of `locals` locals.
    fn ifs(count: usize) -> String {
        let arm = "(if (local.get 0) (then (local.set 0 (i32.add (local.get 0) (i32.const 1)))))";
        format!("(module (func (param i32) (result i32) {} local.get 0))", arm.repeat(count))
    }

    fn table(count: usize, locals: usize) -> String {
        let labels = repeat(count, |n| format!(" {n}"));
        let arms = repeat(count, |n| {
            let local = n % locals;
            format!(") (local.set {local} (i32.add (local.get {local}) (i32.const {n})))")
        });
        format!(
            "(module (func (param i32) (result i32) (local {}) {} (br_table {labels} (local.get 0))
               {arms} (local.get 0)))",
            "i32 ".repeat(locals),
            "(block ".repeat(count)
        )
    }

    #[test]
    fn ordinary_functions_get_all_there_is() {
        assert_eq!(choice(&ifs(100)), (false, false));
        assert_eq!(choice(&ifs(1_500)), (false, false));
        assert_eq!(choice(&table(300, 8)), (false, false));
        let straight = repeat(20_000, |n| format!("(i32.add (i32.const {n}))"));
        assert_eq!(
            choice(&format!("(module (func (param i32) (result i32) (local.get 0) {straight}))")),
            (false, false)
        );
    }

    #[test]
    fn a_local_that_merges_in_very_many_blocks_gets_the_simpler_allocator() {
        assert_eq!(choice(&ifs(10_000)), (true, true));
        assert!(choice(&table(3_000, 8)).1);
    }

    #[test]
    fn values_live_over_very_many_instructions_get_the_simpler_allocator() {
        // An import cannot be inlined.
        let set = repeat(3_000, |n| format!("(local.set {n} (call 0))"));
        let add = repeat(3_000, |n| format!("(i32.add (local.get {n}))"));
        let wat = format!(
            "(module (import \"\" \"\" (func (result i32)))
               (func (result i32) (local {}) {set} (i32.const 0) {add}))",
            "i32 ".repeat(3_000)
        );
        assert_eq!(choice(&wat), (false, true));
    }

    #[test]
    fn very_deep_nesting_is_not_optimized() {
        let depth = 10_000;
        let ends = repeat(depth, |n| {
            format!("(br_if {} (local.get 0)) (i32.add (i32.const 1)))", depth - 1 - n)
        });
        let wat = format!(
            "(module (func (param i32) (result i32) {} (local.get 0) {ends}))",
            "(block (result i32) ".repeat(depth)
        );
        assert!(choice(&wat).0);
    }

    /// Took minutes before there were bounds; with them, a few seconds in a debug build.
    #[test]
    fn time_is_bounded() {
        let start = Instant::now();
        choice(&ifs(50_000));
        choice(&table(10_000, 8));
        assert!(start.elapsed() < Duration::from_secs(60), "it took {:?}", start.elapsed());
    }
}

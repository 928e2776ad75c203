//! The ways between blocks: what passes that look at a whole function before the optimizer share.
//!
//! Invariant: they are those of the function at the time of [`Ways::new`]. Whoever adds or removes blocks or
//! destinations makes them anew; what branches pass is not kept here.

use crate::copies::destinations;
use cranelift_codegen::ir::{Block, Function, Inst};

/// A branch, and which of its destinations leads to a block.
pub(crate) type Way = (Inst, u32);

pub(crate) struct Ways {
    /// By block: where its ways begin in `all`. One more behind the last.
    first: Vec<u32>,
    /// In the order of the layout, for each block.
    all: Vec<Way>,
    /// By block: where it stands in the layout.
    position: Vec<u32>,
}

impl Ways {
    pub(crate) fn new(func: &Function) -> Ways {
        Ways::without(func, None)
    }

    /// As if nothing came from `ignored`.
    pub(crate) fn without(func: &Function, ignored: Option<Block>) -> Ways {
        let count = func.dfg.num_blocks();
        let mut position = vec![0; count];
        let mut first = vec![0; count + 1];
        let mut found: Vec<(Block, Way)> = Vec::with_capacity(2 * count);
        for (at, block) in (0..).zip(func.layout.blocks()) {
            position[index(block)] = at;
            if Some(block) == ignored {
                continue;
            }
            let Some(branch) = func.layout.last_inst(block) else { continue };
            for (number, call) in (0..).zip(destinations(func, block)) {
                let target = call.block(&func.dfg.value_lists);
                first[index(target) + 1] += 1;
                found.push((target, (branch, number)));
            }
        }
        for block in 0..count {
            first[block + 1] += first[block];
        }
        let mut all = match found.first() {
            Some((_, any)) => vec![*any; found.len()],
            None => Vec::new(),
        };
        let mut next = first.clone();
        for (target, way) in found {
            let place = &mut next[index(target)];
            all[*place as usize] = way;
            *place += 1;
        }
        Ways { first, all, position }
    }

    /// The ways to a block, in the order of the layout.
    pub(crate) fn to(&self, block: Block) -> &[Way] {
        let block = index(block);
        match self.first.get(block..block + 2) {
            Some(&[first, end]) => &self.all[first as usize..end as usize],
            // It is younger than this.
            _ => &[],
        }
    }

    /// Where a block stands in the layout.
    pub(crate) fn position(&self, block: Block) -> usize {
        self.position.get(index(block)).map_or(0, |at| *at as usize)
    }
}

fn index(block: Block) -> usize {
    block.as_u32() as usize
}

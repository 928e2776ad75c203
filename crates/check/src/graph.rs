//! Machine code as a graph of blocks: instructions that can be reached, edges, and which block lies on
//! every way to which.

use crate::{Failed, Input, JumpTable, Stop, Stopped};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wardian_module::image::{Handler, Reloc, RelocTarget};

pub(crate) struct Block {
    /// Positions of its instructions.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where it goes on; of a conditional jump, first where it does not jump.
    pub(crate) next: Vec<u32>,
    /// Edges to it: the block, and the position in its `next`.
    pub(crate) before: Vec<(u32, u32)>,
    /// Of a block without instructions: it stands for the way from calls to the handler at this position of
    /// the exception table, or past it.
    pub(crate) handler: Option<u32>,
}

/// Set in a target that is a position of the exception table. Code is shorter.
const HANDLER: u32 = 1 << 31;

/// The graph of a function. Block 0 is the entry; a block comes behind those that lead to it, except
/// over back edges.
pub(crate) struct Graph {
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) blocks: Vec<Block>,
    /// For each block: the nearest other that is on every way to it; and the other way round.
    dominators: Vec<u32>,
    dominated: Vec<Vec<u32>>,
    /// First and last time that each block was seen in a walk over the tree of dominators.
    seen: Vec<(u32, u32)>,
    /// Jump tables by place.
    pub(crate) tables: BTreeMap<u32, Vec<u32>>,
}

pub(crate) fn decode(bytes: &[u8], at: u32) -> Result<Instruction, String> {
    let rest = bytes.get(at as usize..).unwrap_or_default();
    let instruction = Decoder::with_ip(64, rest, at.into(), DecoderOptions::NONE).decode();
    if instruction.is_invalid() {
        return Err(format!("{at:#x}: no instruction"));
    }
    Ok(instruction)
}

/// The relocation inside of an instruction.
pub(crate) fn reloc<'a>(relocs: &'a [Reloc], instruction: &Instruction) -> Option<&'a Reloc> {
    let inside = instruction.ip() as u32..instruction.next_ip() as u32;
    let sorted = relocs.is_sorted_by_key(|reloc| reloc.offset);
    if !sorted {
        return relocs.iter().find(|reloc| inside.contains(&reloc.offset));
    }
    let first = relocs.partition_point(|reloc| reloc.offset < inside.start);
    relocs.get(first).filter(|reloc| inside.contains(&reloc.offset))
}

struct Explorer<'a> {
    input: &'a Input<'a>,
    instructions: BTreeMap<u32, Instruction>,
    leaders: BTreeSet<u32>,
    tables: BTreeMap<u32, Vec<u32>>,
    /// Where constants are read.
    constants: BTreeSet<u32>,
    /// Positions of the exception table that are reached, marked as such.
    handlers: BTreeSet<u32>,
}

impl Explorer<'_> {
    fn bytes(&self) -> &[u8] {
        &self.input.code.bytes
    }

    /// The first handler of a call, if it has one.
    fn first_handler(&self, call: &Instruction) -> Option<u32> {
        let calls = matches!(call.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        let exceptions = &self.input.code.exceptions;
        let found = calls.then(|| exceptions.call_at(call.next_ip() as u32))??;
        Some(found.first)
    }

    /// Where exceptions go that come to a position of the exception table.
    fn handler_targets(&self, position: u32) -> Vec<u32> {
        let Handler { tag, target } = self.input.code.exceptions.handlers[position as usize];
        match tag {
            Handler::END => vec![],
            Handler::ALL => vec![target],
            Handler::OUTER => vec![target | HANDLER],
            _ => vec![target, (position + 1) | HANDLER],
        }
    }

    /// Where an instruction may go on.
    fn targets(&self, instruction: &Instruction) -> Result<Vec<u32>, String> {
        let at = instruction.ip() as u32;
        let next = instruction.next_ip() as u32;
        let near = instruction.near_branch_target() as u32;
        if let Some(first) = self.first_handler(instruction) {
            return Ok(vec![next, first | HANDLER]);
        }
        Ok(match instruction.flow_control() {
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => vec![next],
            FlowControl::ConditionalBranch => vec![next, near],
            // To another function.
            FlowControl::UnconditionalBranch
                if reloc(&self.input.code.relocs, instruction).is_some() =>
            {
                vec![]
            }
            FlowControl::UnconditionalBranch => vec![near],
            // Without a table, to another function.
            FlowControl::IndirectBranch => self.table_of(instruction).cloned().unwrap_or_default(),
            FlowControl::Return | FlowControl::Exception => vec![],
            other => return Err(format!("{at:#x}: {other:?} is nothing a tier emits")),
        })
    }

    fn table_of(&self, jump: &Instruction) -> Option<&Vec<u32>> {
        let place = match &self.input.claims {
            Some(claims) => {
                let at = jump.ip() as u32;
                claims.tables.iter().find(|table| table.jump == at)?.table
            }
            None => jump.next_ip() as u32,
        };
        self.tables.get(&place)
    }

    fn entry(&self, table: u32, at: u32) -> Option<u32> {
        let bytes = self.bytes().get(at as usize..at as usize + 4)?;
        Some(table.wrapping_add(u32::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// The targets of a table that the tier has told of.
    fn claimed(&self, claim: &JumpTable) -> Result<Vec<u32>, String> {
        let targets: Option<Vec<u32>> =
            (0..claim.count).map(|n| self.entry(claim.table, claim.table + 4 * n)).collect();
        targets.ok_or(format!("{:#x}: the jump table is cut off", claim.jump))
    }

    /// Whether `last` jumps through a table of the code generator's, which writes such a jump as four
    /// instructions in a row, with the table behind them.
    fn is_table_jump(before: &[Instruction; 3], last: &Instruction) -> bool {
        let start = last.next_ip();
        let [lea, load, add] = before;
        last.flow_control() == FlowControl::IndirectBranch
            && lea.mnemonic() == Mnemonic::Lea
            && lea.is_ip_rel_memory_operand()
            && lea.memory_displacement64() == start
            && load.mnemonic() == Mnemonic::Movsxd
            && load.memory_base() == lea.op0_register()
            && add.mnemonic() == Mnemonic::Add
            && add.op0_register() == last.op0_register()
    }

    /// The next target of the table that begins at `start`; `None` at its end, which is nowhere said:
    /// where an instruction or a constant begins that something reaches, or where what lies there leads
    /// into the table or past the code. To read too much adds ways that nothing takes; to read too little
    /// is found, since the index is proven to lie inside.
    fn next_target(&self, start: u32) -> Option<u32> {
        let at = start + 4 * self.tables[&start].len() as u32;
        let instruction = self.instructions.range(start..).next().map(|(first, _)| *first);
        let constant = self.constants.range(start..).next().copied();
        let length = self.bytes().len() as u32;
        let end = instruction.into_iter().chain(constant).fold(length, u32::min);
        // A jump over nothing, which the code generator left behind.
        let left = self.bytes().get(at as usize) == Some(&0xe9) && at + 5 == end;
        if at + 4 > end || left {
            return None;
        }
        let target = self.entry(start, at)?;
        let inside = |(_, known): (_, &Instruction)| u64::from(target) < known.next_ip();
        let is_split = self.instructions.range(..target).next_back().is_some_and(inside);
        (target < length && !(start..at + 4).contains(&target) && !is_split).then_some(target)
    }

    /// All instructions that can be reached, and where a jump goes.
    fn explore(&mut self) -> Result<(), String> {
        if let Some(claims) = &self.input.claims {
            for claim in &claims.tables {
                let targets = self.claimed(claim)?;
                self.tables.insert(claim.table, targets);
            }
        }
        // Tables of which more is to be read. It is read when nothing else is left, since what is reached
        // says where they end.
        let mut open = VecDeque::new();
        let mut work = vec![0];
        loop {
            let Some(mut at) = work.pop() else {
                let Some(table) = open.pop_front() else { break };
                if let Some(target) = self.next_target(table) {
                    self.tables.get_mut(&table).expect("it was found").push(target);
                    self.leaders.insert(target);
                    work.push(target);
                    open.push_back(table);
                }
                continue;
            };
            if at & HANDLER != 0 {
                if self.handlers.insert(at) {
                    let targets = self.handler_targets(at & !HANDLER);
                    self.leaders.extend(&targets);
                    work.extend(targets);
                }
                continue;
            }
            let mut before = [Instruction::default(); 3];
            while !self.instructions.contains_key(&at) {
                let instruction = decode(self.bytes(), at)?;
                self.instructions.insert(at, instruction);
                let next = instruction.next_ip() as u32;
                if self.input.claims.is_none() {
                    if Self::is_table_jump(&before, &instruction) {
                        self.tables.insert(next, Vec::new());
                        open.push_back(next);
                    } else if instruction.is_ip_rel_memory_operand()
                        && instruction.mnemonic() != Mnemonic::Lea
                    {
                        self.constants.insert(instruction.memory_displacement64() as u32);
                    }
                }
                before = [before[1], before[2], instruction];
                let goes_on = matches!(
                    instruction.flow_control(),
                    FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
                );
                if !goes_on || self.first_handler(&instruction).is_some() {
                    let targets = self.targets(&instruction)?;
                    self.leaders.extend(&targets);
                    work.extend(targets);
                    break;
                }
                at = next;
            }
        }
        if self.input.claims.is_none() { self.gaps() } else { Ok(()) }
    }

    /// Where the exits of checks begin, if there are any: instructions of their kinds, up to the end.
    fn exits(&self) -> Option<u32> {
        let is_of_exit = |instruction: &Instruction| match instruction.mnemonic() {
            Mnemonic::Push | Mnemonic::Ud2 | Mnemonic::Jmp => true,
            Mnemonic::Call => reloc(&self.input.code.relocs, instruction)
                .is_some_and(|reloc| reloc.target == RelocTarget::ModuleTable),
            _ => false,
        };
        let mut last = None;
        let mut end = self.bytes().len() as u64;
        for (at, instruction) in self.instructions.iter().rev() {
            if instruction.next_ip() != end || !is_of_exit(instruction) {
                break;
            }
            (last, end) = (Some(*at), instruction.ip());
        }
        last
    }

    /// Nothing lies between instructions that are reached but whole jump tables, so no target of theirs
    /// was missed, jumps that the code generator left behind, and traps that exits took the place of.
    fn gaps(&self) -> Result<(), String> {
        let mut end = 0;
        let mut exits = self.exits();
        for (at, instruction) in &self.instructions {
            if exits == Some(*at) && end < *at {
                // Before them lie constants.
                end = *at;
                exits = None;
            }
            if let Some(targets) = self.tables.get(&end) {
                end += 4 * targets.len() as u32;
            }
            while end < *at
                && let Ok(left) = decode(self.bytes(), end)
                && (left.mnemonic() == Mnemonic::Ud2
                    || left.flow_control() == FlowControl::UnconditionalBranch
                        && self.instructions.contains_key(&(left.near_branch_target() as u32)))
            {
                end = left.next_ip() as u32;
            }
            if *at != end {
                return Err(format!("{end:#x}: code or data up to {at:#x} that nothing reaches"));
            }
            end = instruction.next_ip() as u32;
        }
        Ok(())
    }
}

impl Graph {
    pub(crate) fn new(input: &Input<'_>, stop: &mut Stop) -> Result<Graph, Failed> {
        let mut explorer = Explorer {
            input,
            instructions: BTreeMap::new(),
            leaders: BTreeSet::from([0]),
            tables: BTreeMap::new(),
            constants: BTreeSet::new(),
            handlers: BTreeSet::new(),
        };
        explorer.explore()?;
        let mut ends = Vec::new();
        let all: Vec<Instruction> = explorer.instructions.values().copied().collect();
        if let Some(pair) = all.windows(2).find(|pair| pair[0].next_ip() > pair[1].ip()) {
            let at = pair[1].ip();
            return Err(format!("{at:#x}: a jump into the middle of an instruction").into());
        }
        for (position, instruction) in all.iter().enumerate() {
            let next = instruction.next_ip() as u32;
            let flows = matches!(
                instruction.flow_control(),
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
            );
            if !flows || explorer.leaders.contains(&next) {
                ends.push(position + 1);
            }
        }
        let mut blocks = Vec::new();
        let mut start = 0;
        for end in ends {
            blocks.push((start, end, explorer.targets(&all[end - 1])?));
            start = end;
        }
        if start != all.len() {
            return Err("code that does not end".into());
        }
        let mut by_place: BTreeMap<u32, u32> =
            (0..).zip(&blocks).map(|(n, (start, ..))| (all[*start].ip() as u32, n)).collect();
        let code = blocks.len();
        for position in &explorer.handlers {
            by_place.insert(*position, blocks.len() as u32);
            blocks.push((0, 0, explorer.handler_targets(position & !HANDLER)));
        }
        let positions: Vec<u32> = explorer.handlers.iter().map(|at| at & !HANDLER).collect();
        let mut targets = Vec::new();
        for (.., next) in &blocks {
            let next: Option<Vec<u32>> = next.iter().map(|at| by_place.get(at).copied()).collect();
            targets.push(next.ok_or("a jump to where no block begins")?);
        }
        let order = order(&targets);
        let mut position = vec![u32::MAX; blocks.len()];
        for (n, block) in (0..).zip(&order) {
            position[*block as usize] = n;
        }
        let mut sorted: Vec<Block> = order
            .iter()
            .map(|block| {
                let (start, end, _) = blocks[*block as usize];
                let next = targets[*block as usize].iter();
                let next = next.map(|target| position[*target as usize]).collect();
                let handler = (*block as usize).checked_sub(code).map(|n| positions[n]);
                Block { start, end, next, before: Vec::new(), handler }
            })
            .collect();
        for block in 0..sorted.len() {
            for (way, target) in sorted[block].next.clone().into_iter().enumerate() {
                sorted[target as usize].before.push((block as u32, way as u32));
            }
        }
        let dominators = dominators(&sorted, stop)?;
        let dominated = dominated(&dominators);
        let seen = seen(&dominated);
        let tables = explorer.tables;
        Ok(Graph { instructions: all, blocks: sorted, dominators, dominated, seen, tables })
    }

    /// Whether every way to `inner` leads through `outer`.
    pub(crate) fn dominates(&self, outer: u32, inner: u32) -> bool {
        let ((first, last), (inner, _)) = (self.seen[outer as usize], self.seen[inner as usize]);
        first <= inner && inner <= last
    }

    /// The nearest other block that is on every way to this one.
    pub(crate) fn dominator(&self, block: u32) -> u32 {
        self.dominators[block as usize]
    }

    /// The blocks whose nearest this is.
    pub(crate) fn dominated(&self, block: u32) -> &[u32] {
        &self.dominated[block as usize]
    }

    /// For each block, those where ways through it meet others.
    pub(crate) fn frontiers(&self, stop: &mut Stop) -> Result<Vec<Vec<u32>>, Stopped> {
        let mut frontiers = vec![Vec::new(); self.blocks.len()];
        for (block, data) in (0..).zip(&self.blocks) {
            // The entry is reached from outside, too.
            if data.before.len() + usize::from(block == 0) < 2 {
                continue;
            }
            for (from, _) in &data.before {
                let mut at = *from;
                while block == 0 || at != self.dominators[block as usize] {
                    stop.work(1)?;
                    let list: &mut Vec<u32> = &mut frontiers[at as usize];
                    if list.last() != Some(&block) {
                        list.push(block);
                    }
                    if at == 0 {
                        break;
                    }
                    at = self.dominators[at as usize];
                }
            }
        }
        Ok(frontiers)
    }
}

/// Blocks that the first one leads to, each behind those that lead to it, but for loops.
fn order(next: &[Vec<u32>]) -> Vec<u32> {
    let mut seen = vec![false; next.len()];
    let mut order = Vec::new();
    let mut stack = vec![(0u32, 0usize)];
    seen[0] = true;
    while let Some((block, way)) = stack.last_mut() {
        match next[*block as usize].get(*way) {
            Some(target) => {
                *way += 1;
                if !std::mem::replace(&mut seen[*target as usize], true) {
                    stack.push((*target, 0));
                }
            }
            None => {
                order.push(*block);
                stack.pop();
            }
        }
    }
    order.reverse();
    order
}

fn dominators(blocks: &[Block], stop: &mut Stop) -> Result<Vec<u32>, Stopped> {
    const NONE: u32 = u32::MAX;
    let mut found = vec![NONE; blocks.len()];
    found[0] = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for (block, data) in blocks.iter().enumerate().skip(1) {
            let mut new = NONE;
            for (before, _) in &data.before {
                if found[*before as usize] == NONE {
                    continue;
                }
                stop.work(1)?;
                new = if new == NONE { *before } else { common(&found, new, *before, stop)? };
            }
            if found[block] != new {
                found[block] = new;
                changed = true;
            }
        }
    }
    Ok(found)
}

fn common(found: &[u32], mut a: u32, mut b: u32, stop: &mut Stop) -> Result<u32, Stopped> {
    let mut steps = 0;
    while a != b {
        let later = if a > b { &mut a } else { &mut b };
        *later = found[*later as usize];
        steps += 1;
    }
    stop.work(steps / 8)?;
    Ok(a)
}

fn dominated(dominators: &[u32]) -> Vec<Vec<u32>> {
    let mut children = vec![Vec::new(); dominators.len()];
    for (block, dominator) in dominators.iter().enumerate().skip(1) {
        children[*dominator as usize].push(block as u32);
    }
    children
}

fn seen(children: &[Vec<u32>]) -> Vec<(u32, u32)> {
    let mut seen = vec![(0, 0); children.len()];
    let mut time = 0;
    let mut stack = vec![(0u32, 0usize)];
    while let Some((block, nth)) = stack.last_mut() {
        if *nth == 0 {
            seen[*block as usize].0 = time;
            time += 1;
        }
        match children[*block as usize].get(*nth) {
            Some(child) => {
                *nth += 1;
                stack.push((*child, 0));
            }
            None => {
                seen[*block as usize].1 = time - 1;
                stack.pop();
            }
        }
    }
    seen
}

//! Which numbers a value of 32 bits can be, as far as constants say.
//!
//! A loop that counts from a constant, by a constant, until a constant, has a last turn; so all that it counts
//! has a greatest value. Beside that there are masks, shifts, narrow loads, and sums of all these.
//!
//! Invariant: a value is never outside of its range while the instruction or block that defines it has run
//! last.

use crate::copies::destinations;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{
    Block, BlockArg, Function, Inst, InstructionData, Opcode, Value, ValueDef, types,
};
use std::collections::HashMap;

/// Values that a value is made from, one from the other, before it may be anything.
const MAX_DEPTH: u32 = 12;

/// Sums one after the other that count as one.
const MAX_SUMS: u32 = 4;

/// Parameters of a block past these are not looked at.
const MAX_PARAMS: usize = 256;

const U32: u64 = u32::MAX as u64;

/// Least and greatest, without sign.
pub(crate) type Range = (u64, u64);

/// It may be anything.
const ANY: Range = (0, U32);

/// A loop with one way in and one way back.
#[derive(Clone, Copy)]
struct Loop {
    /// The branch that goes in, and which of its destinations does.
    entry: (Inst, usize),
    back: (Inst, usize),
    /// The branch that every way back takes last, and the destination that leads there.
    decides: (Inst, usize),
}

pub(crate) struct Ranges {
    /// The ways to each block, in the order of the layout.
    before: SecondaryMap<Block, Vec<(Inst, usize)>>,
    position: SecondaryMap<Block, usize>,
    known: HashMap<Value, Range>,
    /// How often a loop goes back if it is not left elsewhere.
    turns: HashMap<Block, Option<u64>>,
    /// Whether only such is said as can be seen from machine code, too: see `wardian-check`.
    plain: bool,
}

impl Ranges {
    pub(crate) fn new(func: &Function) -> Ranges {
        Ranges::without(func, None)
    }

    /// Those that the checker of machine code finds as well. Its values have no signs, it knows no products, and
    /// instructions may take two masks for something else.
    pub(crate) fn plain(func: &Function) -> Ranges {
        Ranges { plain: true, ..Ranges::new(func) }
    }

    /// As if nothing came from `ignored`, which passes what other ways pass too.
    pub(crate) fn without(func: &Function, ignored: Option<Block>) -> Ranges {
        let mut before: SecondaryMap<Block, Vec<(Inst, usize)>> = SecondaryMap::new();
        let mut position = SecondaryMap::new();
        for (at, block) in func.layout.blocks().enumerate() {
            position[block] = at;
            if Some(block) == ignored {
                continue;
            }
            for (index, call) in destinations(func, block).iter().enumerate() {
                let branch = func.layout.last_inst(block).expect("it has destinations");
                before[call.block(&func.dfg.value_lists)].push((branch, index));
            }
        }
        Ranges { before, position, known: HashMap::new(), turns: HashMap::new(), plain: false }
    }

    /// The branches to a block, each with its destination that leads there.
    pub(crate) fn ways_to(&self, block: Block) -> &[(Inst, usize)] {
        &self.before[block]
    }

    /// Where a block stands in the layout.
    pub(crate) fn position(&self, block: Block) -> usize {
        self.position[block]
    }

    /// How often a loop goes back if it is not left elsewhere, if constants say so.
    pub(crate) fn turns_of(&mut self, func: &Function, head: Block) -> Option<u64> {
        let found = self.as_loop(func, head)?;
        self.turns(func, head, found)
    }

    /// The jump into a loop, and how often the loop goes back if it is not left elsewhere, if constants say so.
    pub(crate) fn way_in(&mut self, func: &Function, head: Block) -> Option<(Inst, u64)> {
        let found = self.as_loop(func, head)?;
        let (jump, _) = found.entry;
        let turns = self.turns(func, head, found)?;
        (func.dfg.insts[jump].opcode() == Opcode::Jump).then_some((jump, turns))
    }

    /// The range of a value of 32 bits.
    pub(crate) fn of(&mut self, func: &Function, value: Value) -> Range {
        self.range(func, value, 0)
    }

    fn range(&mut self, func: &Function, value: Value, depth: u32) -> Range {
        let value = func.dfg.resolve_aliases(value);
        let ty = func.dfg.value_type(value);
        if !ty.is_int() || ty.bits() > 32 {
            return ANY;
        }
        let any = (0, U32 >> (32 - ty.bits()));
        if depth > MAX_DEPTH {
            return any;
        }
        if let Some(known) = self.known.get(&value) {
            return *known;
        }
        // While it is looked for, as in a loop, it may be anything.
        self.known.insert(value, any);
        let range = match func.dfg.value_def(value) {
            ValueDef::Result(inst, _) => self.result(func, inst, depth + 1),
            ValueDef::Param(block, position) if ty == types::I32 => {
                self.param(func, block, position, depth + 1)
            }
            _ => None,
        };
        let range = range.filter(|range| range.1 <= any.1).unwrap_or(any);
        self.known.insert(value, range);
        range
    }

    /// `None` if it may be anything.
    fn result(&mut self, func: &Function, inst: Inst, depth: u32) -> Option<Range> {
        let args = func.dfg.inst_args(inst);
        let is_i32 = func.dfg.value_type(func.dfg.first_result(inst)) == types::I32;
        match func.dfg.insts[inst].opcode() {
            // What follows computes with 32 bits.
            _ if !is_i32 => None,
            Opcode::Iconst => constant(func, func.dfg.first_result(inst)).map(|n| (n, n)),
            Opcode::Uload8 => Some((0, 0xff)),
            Opcode::Uload16 => Some((0, 0xffff)),
            Opcode::Uextend => Some(self.range(func, args[0], depth)),
            Opcode::Iadd => {
                let (a, b) = (self.range(func, args[0], depth), self.range(func, args[1], depth));
                let less = |range: Range, by: u64| {
                    let by = (1 << 32) - by;
                    (by <= range.0).then(|| (range.0 - by, range.1 - by))
                };
                let is_negative = |range: Range| range.0 == range.1 && range.0 >> 31 == 1;
                match (is_negative(a), is_negative(b)) {
                    _ if self.plain => Some((a.0 + b.0, a.1 + b.1)),
                    (false, true) => less(a, b.0),
                    (true, false) => less(b, a.0),
                    _ => Some((a.0 + b.0, a.1 + b.1)),
                }
            }
            Opcode::Imul if !self.plain => {
                let (a, b) = (self.range(func, args[0], depth), self.range(func, args[1], depth));
                Some((a.0 * b.0, a.1.checked_mul(b.1)?))
            }
            Opcode::Band if !self.plain || constant(func, args[1]).is_some() => {
                let (a, b) = (self.range(func, args[0], depth), self.range(func, args[1], depth));
                Some((0, a.1.min(b.1)))
            }
            Opcode::Ishl => {
                let (a, by) = (self.range(func, args[0], depth), constant(func, args[1])? % 32);
                Some((a.0 << by, a.1 << by))
            }
            Opcode::Ushr => {
                let (a, by) = (self.range(func, args[0], depth), constant(func, args[1])? % 32);
                Some((a.0 >> by, a.1 >> by))
            }
            _ => None,
        }
        .filter(|range| range.1 <= U32)
    }

    fn param(
        &mut self,
        func: &Function,
        block: Block,
        position: usize,
        depth: u32,
    ) -> Option<Range> {
        let found = self.as_loop(func, block)?;
        let param = func.dfg.block_params(block)[position];
        let start = passed(func, found.entry, position)?;
        let next = passed(func, found.back, position)?;
        if next == param {
            return Some(self.range(func, start, depth));
        }
        let step = self.step(func, param, next)?;
        let turns = self.turns(func, block, found)?;
        let start = self.range(func, start, depth);
        let far = turns.checked_mul(step.unsigned_abs())?;
        match step > 0 {
            true => Some((start.0, start.1.checked_add(far)?)),
            false if self.plain => None,
            false => Some((start.0.checked_sub(far)?, start.1)),
        }
    }

    /// The ways to a block, if it is the head of a loop with one way in and one way back.
    fn as_loop(&self, func: &Function, block: Block) -> Option<Loop> {
        let [entry, back] = self.before[block][..] else { return None };
        let at = |way: (Inst, usize)| Some(self.position[func.layout.inst_block(way.0)?]);
        let head = self.position[block];
        if entry.0 == back.0 || at(entry)? >= head || at(back)? < head {
            return None;
        }
        let mut decides = back;
        while func.dfg.insts[decides.0].opcode() == Opcode::Jump
            && let from = func.layout.inst_block(decides.0)?
            && from != block
            && let [way] = self.before[from][..]
            && at(way)? < self.position[from]
        {
            decides = way;
        }
        Some(Loop { entry, back, decides })
    }

    fn turns(&mut self, func: &Function, head: Block, found: Loop) -> Option<u64> {
        if let Some(known) = self.turns.get(&head) {
            return *known;
        }
        let turns = self.count_turns(func, head, found);
        self.turns.insert(head, turns);
        turns
    }

    fn count_turns(
        &self,
        func: &Function,
        head: Block,
        Loop { entry, back, decides }: Loop,
    ) -> Option<u64> {
        let dfg = &func.dfg;
        if dfg.insts[decides.0].opcode() != Opcode::Brif {
            return None;
        }
        let mut condition = dfg.resolve_aliases(dfg.inst_args(decides.0)[0]);
        let (cond, a, b) = loop {
            let ValueDef::Result(inst, _) = dfg.value_def(condition) else { return None };
            match dfg.insts[inst] {
                InstructionData::Unary { opcode: Opcode::Uextend, arg } => {
                    condition = dfg.resolve_aliases(arg);
                }
                InstructionData::IntCompare { args, cond, .. } => break (cond, args[0], args[1]),
                _ => return None,
            }
        };
        let (cond, counted, last) = match (constant(func, a), constant(func, b)) {
            (None, Some(last)) => (cond, dfg.resolve_aliases(a), last),
            (Some(last), None) => (cond.swap_args(), dfg.resolve_aliases(b), last),
            _ => return None,
        };
        // The first destination is where a branch goes if its condition holds.
        let cond = if decides.1 == 0 { cond } else { cond.complement() };
        if dfg.value_type(counted) != types::I32 {
            return None;
        }
        let rises = matches!(cond, IntCC::UnsignedLessThan | IntCC::UnsignedLessThanOrEqual);
        if self.plain && !(cond == IntCC::NotEqual || rises && last < 1 << 31) {
            return None;
        }
        let counted = self.root(func, counted);
        let (position, step, tests_next) = dfg
            .block_params(head)
            .iter()
            .take(MAX_PARAMS)
            .enumerate()
            .find_map(|(position, param)| {
                let next = passed(func, back, position)?;
                let step = self.step(func, *param, next)?;
                (counted == *param || counted == next).then_some((position, step, counted == next))
            })?;
        let start = constant(func, passed(func, entry, position)?)?;
        let first = if tests_next { start.wrapping_add_signed(step) & U32 } else { start };
        count(cond, first as u32, step, last as u32)
    }

    /// The constant that `next` is more than `param`, perhaps by several sums; not 0.
    fn step(&self, func: &Function, param: Value, next: Value) -> Option<i64> {
        let (mut value, mut by) = sum(func, next)?;
        for _ in 1..MAX_SUMS {
            value = self.root(func, value);
            if value == param {
                break;
            }
            let (rest, more) = sum(func, value)?;
            (value, by) = (rest, by + more);
        }
        let by = i64::from(by as u32 as i32);
        (self.root(func, value) == param && by != 0).then_some(by)
    }

    /// The same value, by its name outside of the loops that only hand it on.
    fn root(&self, func: &Function, value: Value) -> Value {
        let mut value = func.dfg.resolve_aliases(value);
        for _ in 0..MAX_DEPTH {
            let ValueDef::Param(block, position) = func.dfg.value_def(value) else { break };
            let Some(found) = self.as_loop(func, block) else { break };
            let handed = |way| passed(func, way, position);
            match handed(found.entry) {
                Some(start) if handed(found.back) == Some(value) => value = start,
                _ => break,
            }
        }
        value
    }
}

/// How many times `cond` holds one after the other for `first`, `first + step`, … beside `last`, if that
/// ends before the numbers wrap.
fn count(cond: IntCC, first: u32, step: i64, last: u32) -> Option<u64> {
    let by = step.unsigned_abs();
    if cond == IntCC::NotEqual {
        let way = if step > 0 { last.wrapping_sub(first) } else { first.wrapping_sub(last) };
        return (u64::from(way) % by == 0).then_some(u64::from(way) / by);
    }
    let is_signed = cond != cond.unsigned();
    let number = |n: u32| if is_signed { i64::from(n as i32) } else { i64::from(n) };
    let (first, last) = (number(first), number(last));
    let (least, greatest) =
        if is_signed { (i32::MIN.into(), i32::MAX.into()) } else { (0, i64::from(u32::MAX)) };
    // The way to the first number for which it does not hold.
    let way = match (cond.unsigned(), step > 0) {
        (IntCC::UnsignedLessThan, true) => last - first,
        (IntCC::UnsignedLessThanOrEqual, true) => last + 1 - first,
        (IntCC::UnsignedGreaterThan, false) => first - last,
        (IntCC::UnsignedGreaterThanOrEqual, false) => first - (last - 1),
        _ => return None,
    };
    let turns = (way.max(0) as u64).div_ceil(by);
    let end = first.checked_add(step.checked_mul(turns as i64)?)?;
    (least..=greatest).contains(&end).then_some(turns)
}

/// What a way to a block passes for a parameter.
fn passed(func: &Function, (branch, index): (Inst, usize), position: usize) -> Option<Value> {
    let dfg = &func.dfg;
    if position >= MAX_PARAMS {
        return None;
    }
    let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    match calls[index].args(&dfg.value_lists).nth(position)? {
        BlockArg::Value(value) => Some(dfg.resolve_aliases(value)),
        _ => None,
    }
}

/// What a sum with a constant adds it to, and the constant.
pub(crate) fn sum(func: &Function, value: Value) -> Option<(Value, u64)> {
    let ValueDef::Result(inst, _) = func.dfg.value_def(func.dfg.resolve_aliases(value)) else {
        return None;
    };
    let InstructionData::Binary { opcode: Opcode::Iadd, args } = func.dfg.insts[inst] else {
        return None;
    };
    let [a, b] = args.map(|arg| func.dfg.resolve_aliases(arg));
    match (constant(func, a), constant(func, b)) {
        (None, Some(by)) => Some((a, by)),
        (Some(by), None) => Some((b, by)),
        _ => None,
    }
}

/// The constant of 32 bits that a value is.
fn constant(func: &Function, value: Value) -> Option<u64> {
    let ValueDef::Result(inst, _) = func.dfg.value_def(func.dfg.resolve_aliases(value)) else {
        return None;
    };
    match func.dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits() as u64 & U32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_until_the_condition_fails() {
        use IntCC::*;
        assert_eq!(count(NotEqual, 4, 4, 400), Some(99));
        assert_eq!(count(NotEqual, 5, 4, 400), None);
        assert_eq!(count(NotEqual, 3, -1, 0), Some(3));
        assert_eq!(count(NotEqual, 8, 8, 0), Some((1 << 29) - 1));
        assert_eq!(count(UnsignedLessThan, 0, 3, 10), Some(4));
        assert_eq!(count(UnsignedLessThan, 10, 3, 10), Some(0));
        assert_eq!(count(UnsignedLessThan, 0, 2, u32::MAX), None);
        assert_eq!(count(UnsignedLessThanOrEqual, 0, 1, 10), Some(11));
        assert_eq!(count(UnsignedLessThanOrEqual, 0, 1, u32::MAX), None);
        assert_eq!(count(SignedLessThan, -8i32 as u32, 8, 0xff8), Some(512));
        assert_eq!(count(SignedLessThan, 0, 1, i32::MAX as u32), Some(i32::MAX as u64));
        assert_eq!(count(SignedLessThan, 0, 2, i32::MAX as u32), None);
        assert_eq!(count(SignedGreaterThan, 10, -3, 0), Some(4));
        assert_eq!(count(UnsignedGreaterThan, 10, -3, 0), None);
        assert_eq!(count(UnsignedGreaterThan, 9, -3, 0), Some(3));
        assert_eq!(count(SignedGreaterThanOrEqual, 10, -1, 0), Some(11));
        assert_eq!(count(UnsignedGreaterThanOrEqual, 10, -1, 0), None);
        assert_eq!(count(UnsignedLessThan, 0, -1, 10), None);
    }
}

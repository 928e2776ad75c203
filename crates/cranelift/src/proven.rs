//! What the checks before the present position have shown of indices into memories.
//!
//! Invariant: an entry was shown on every way to the present position. Values never change and memories
//! never shrink, so what was shown stays true; what was shown inside of a block is forgotten where
//! another way may lead past it: at its `else`, and at its end if something branches there.

use crate::EntityMap;
use crate::emit::Tier;
use cranelift_codegen::ir::{Opcode, Value, ValueDef};
use wardian_module::MemoryIndex;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Proven {
    /// `index + end` is at most the length of the memory.
    ends: EntityMap<(MemoryIndex, Value), u64>,
    /// What each entry of `ends` was before, in the order of the changes.
    changes: Vec<((MemoryIndex, Value), Option<u64>)>,
}

impl Proven {
    fn add(&mut self, memory: MemoryIndex, index: Value, end: u64) {
        let key = (memory, index);
        self.changes.push((key, self.ends.insert(key, end)));
    }

    fn holds(&self, memory: MemoryIndex, index: Value, end: u64) -> bool {
        self.ends.get(&(memory, index)).is_some_and(|&shown| end <= shown)
    }

    /// A name for what is known now.
    pub(crate) fn mark(&self) -> usize {
        self.changes.len()
    }

    /// Goes back to what was known at `mark`.
    pub(crate) fn forget(&mut self, mark: usize) {
        while self.changes.len() > mark {
            match self.changes.pop() {
                Some((key, Some(end))) => _ = self.ends.insert(key, end),
                Some((key, None)) => _ = self.ends.remove(&key),
                None => {}
            }
        }
    }
}

impl Tier<'_> {
    /// The value that decides on an index: before zero extension, so that two extensions of one value
    /// are known as the same index.
    fn source(&self, index: Value) -> Value {
        let dfg = &self.b.func.dfg;
        let index = dfg.resolve_aliases(index);
        match dfg.value_def(index) {
            ValueDef::Result(inst, _) if dfg.insts[inst].opcode() == Opcode::Uextend => {
                dfg.resolve_aliases(dfg.inst_args(inst)[0])
            }
            _ => index,
        }
    }

    pub(crate) fn constant_of(&self, index: Value) -> Option<u64> {
        let dfg = &self.b.func.dfg;
        let source = self.source(index);
        match dfg.value_def(source) {
            ValueDef::Result(inst, _) => match dfg.insts[inst] {
                cranelift_codegen::ir::InstructionData::UnaryImm {
                    opcode: Opcode::Iconst,
                    imm,
                } => {
                    // A constant of 32 bits is kept sign-extended or not; its index is unsigned.
                    let bits = imm.bits() as u64;
                    let wide = dfg.value_type(source) == cranelift_codegen::ir::types::I64;
                    Some(if wide { bits } else { bits & u64::from(u32::MAX) })
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn is_proven(&self, memory: MemoryIndex, index: Value, end: u64) -> bool {
        self.proven.holds(memory, self.source(index), end)
    }

    pub(crate) fn note_proven(&mut self, memory: MemoryIndex, index: Value, end: u64) {
        let source = self.source(index);
        if !self.proven.holds(memory, source, end) {
            self.proven.add(memory, source, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_in_a_block_is_forgotten() {
        let memory = MemoryIndex(0);
        let value = Value::from_u32;
        let mut proven = Proven::default();
        proven.add(memory, value(1), 4);
        let mark = proven.mark();
        proven.add(memory, value(1), 8);
        proven.add(memory, value(2), 8);
        assert!(proven.holds(memory, value(1), 8) && !proven.holds(memory, value(1), 9));
        assert!(!proven.holds(MemoryIndex(1), value(1), 1));
        proven.forget(mark);
        assert!(proven.holds(memory, value(1), 4) && !proven.holds(memory, value(1), 5));
        assert!(!proven.holds(memory, value(2), 1));
    }
}

//! Constants near to their uses.
//!
//! Cranelift's optimizer makes an integer constant anew in each block that uses it, but not those that its own
//! rules have made before, which are the small ones: such a constant has one place, before a loop where that is
//! possible, and so has the address of the module table. A value that lives for most of a large function lives
//! in its frame, and each use loads it from there.
//!
//! [`make_near`] gives a copy of them to each block that uses them, which costs one short instruction where it
//! has to be in a register, and nothing where it is part of an instruction.
//!
//! Invariant: each use takes the value that it took before.

use crate::EntityMap;
use crate::copies::replace_values;
use cranelift_codegen::ir::{Block, Function, Inst, Opcode, Value};
use smallvec::SmallVec;

/// Makes constants near: see the head of this file. Of a function without aliases.
pub(crate) fn make_near(func: &mut Function) {
    // Of the block that is looked at: by the value that was used.
    let mut copies: EntityMap<Value, Value> = EntityMap::default();
    let mut next_block = func.layout.entry_block();
    while let Some(block) = next_block {
        next_block = func.layout.next_block(block);
        copies.clear();
        let mut next_inst = func.layout.first_inst(block);
        while let Some(inst) = next_inst {
            next_inst = func.layout.next_inst(inst);
            let values = func.dfg.inst_values(inst);
            let far: SmallVec<[(Value, Inst); 4]> = values
                .filter_map(|value| Some((value, maker_elsewhere(func, value, block)?)))
                .collect();
            for &(value, maker) in &far {
                copies.entry(value).or_insert_with(|| {
                    let copy = func.dfg.clone_inst(maker);
                    func.layout.insert_inst(copy, inst);
                    func.dfg.first_result(copy)
                });
            }
            if !far.is_empty() {
                replace_values(func, inst, &copies);
            }
        }
    }
}

/// What makes a value, if that is a constant of another block than this.
fn maker_elsewhere(func: &Function, value: Value, block: Block) -> Option<Inst> {
    let maker = func.dfg.value_def(value).inst()?;
    let is_constant =
        matches!(func.dfg.insts[maker].opcode(), Opcode::Iconst | Opcode::SymbolValue);
    (is_constant && func.layout.inst_block(maker) != Some(block)).then_some(maker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::cursor::{Cursor, FuncCursor};
    use cranelift_codegen::ir::{AbiParam, InstBuilder, InstructionData, types};

    #[test]
    fn a_block_gets_one_copy_of_a_constant_of_another() {
        let mut func = Function::new();
        func.signature.returns.push(AbiParam::new(types::I32));
        let (first, second) = (func.dfg.make_block(), func.dfg.make_block());
        let mut cursor = FuncCursor::new(&mut func);
        cursor.insert_block(first);
        let (far, own) = (cursor.ins().iconst(types::I32, 7), cursor.ins().iconst(types::I32, 8));
        cursor.ins().iadd(far, own);
        cursor.ins().jump(second, &[]);
        cursor.insert_block(second);
        let sum = cursor.ins().iadd(far, far);
        let product = cursor.ins().imul(sum, far);
        cursor.ins().return_(&[product]);
        make_near(&mut func);

        let insts = |block| func.layout.block_insts(block).collect::<Vec<_>>();
        assert_eq!(insts(first).len(), 4, "a block's own stay");
        let second = insts(second);
        let [copy, sum, product, _] = second[..] else { panic!("{}", func.display()) };
        let InstructionData::UnaryImm { imm, .. } = func.dfg.insts[copy] else { panic!() };
        assert_eq!(imm.bits(), 7);
        let copy = func.dfg.first_result(copy);
        assert_eq!(func.dfg.inst_args(sum), [copy, copy]);
        assert_eq!(func.dfg.inst_args(product)[1], copy);
    }
}

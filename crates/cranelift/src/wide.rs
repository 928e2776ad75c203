//! Indices that stay zero-extended: 32-bit values that index memories or tables are carried with 64 bits
//! where they are merged or loaded.
//!
//! An index is the zero extension of an `i32`. Of a sum or a shift it costs nothing, since 32-bit
//! arithmetic clears the upper half of its register. Of a block parameter, such as a pointer that a loop
//! moves on, it is an instruction and a second register at every turn; and so it is of a narrow load, or
//! of a load that others use as well. [`keep_extended`] gives such a value 64 bits, upper half zero, and
//! lets its other users see the lower half, which is the same register. What goes into a parameter is
//! extended where it comes from, nearly always for nothing.
//!
//! Only what is extended somewhere is changed, and what flows into it. Loads are changed when the optimizer
//! has run, which knows loads of one place as the same only if they are alike ([`load_extended`]).
//!
//! Invariant: a value that is given 64 bits equals the zero extension of what it was.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstBuilder, InstructionData, Opcode, Value,
    ValueDef, types,
};
use std::collections::HashMap;

/// A branch and which of its destinations, and what it passes.
type Passed = (Inst, BlockArg);

struct Widening {
    /// What each block is passed, parameter by parameter and branch by branch.
    passed: HashMap<Block, Vec<Vec<Passed>>>,
    /// Zero extensions to 64 bits.
    extensions: Vec<Inst>,
    /// Parameters to give 64 bits, in the order they were found.
    wanted: Vec<Value>,
    is_wanted: EntitySet<Value>,
}

/// Carries indices with 64 bits: see the head of this file.
pub(crate) fn keep_extended(func: &mut Function) {
    let mut widening = Widening {
        passed: HashMap::new(),
        extensions: Vec::new(),
        wanted: Vec::new(),
        is_wanted: EntitySet::new(),
    };
    widening.scan(func);
    widening.choose(func);
    widening.widen_params(func);
}

/// Gives loads 64 bits whose zero extension would be an instruction of its own.
pub(crate) fn load_extended(func: &mut Function) {
    let mut extensions = Vec::new();
    for block in func.layout.blocks() {
        extensions.extend(func.layout.block_insts(block).filter(|inst| is_extension(func, *inst)));
    }
    let mut wide: HashMap<Value, Value> = HashMap::new();
    for extension in extensions {
        let arg = func.dfg.resolve_aliases(func.dfg.inst_args(extension)[0]);
        let new = match wide.get(&arg) {
            Some(new) => *new,
            None => {
                let ValueDef::Result(load, _) = func.dfg.value_def(arg) else { continue };
                let Some(new) = widen_load(func, load, arg) else { continue };
                wide.insert(arg, new);
                new
            }
        };
        replace(func, extension, new);
    }
}

/// Lets users of an instruction's result use another value of its type.
fn replace(func: &mut Function, inst: Inst, new: Value) {
    let result = func.dfg.first_result(inst);
    func.dfg.clear_results(inst);
    func.dfg.change_to_alias(result, new);
    func.layout.remove_inst(inst);
}

fn is_extension(func: &Function, inst: Inst) -> bool {
    let data = &func.dfg.insts[inst];
    data.opcode() == Opcode::Uextend
        && func.dfg.value_type(func.dfg.inst_args(inst)[0]) == types::I32
        && func.dfg.value_type(func.dfg.first_result(inst)) == types::I64
}

impl Widening {
    /// Collects zero extensions, and what branches pass.
    fn scan(&mut self, func: &Function) {
        for block in func.layout.blocks() {
            for inst in func.layout.block_insts(block) {
                if is_extension(func, inst) {
                    self.extensions.push(inst);
                }
            }
            let Some(last) = func.layout.last_inst(block) else { continue };
            let dfg = &func.dfg;
            let calls = dfg.insts[last].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
            for call in calls {
                let target = call.block(&dfg.value_lists);
                let params = dfg.num_block_params(target);
                if params == 0 {
                    continue;
                }
                let passed = self.passed.entry(target).or_insert_with(|| vec![Vec::new(); params]);
                for (passed, arg) in passed.iter_mut().zip(call.args(&dfg.value_lists)) {
                    passed.push((last, arg));
                }
            }
        }
    }

    /// The block and position of a parameter that can be given 64 bits.
    fn param(&self, func: &Function, value: Value) -> Option<(Block, usize)> {
        let ValueDef::Param(block, position) = func.dfg.value_def(value) else { return None };
        let passed = self.passed.get(&block)?;
        let all = passed[position].iter().all(|(_, arg)| matches!(arg, BlockArg::Value(_)));
        (all && Some(block) != func.layout.entry_block()
            && func.dfg.value_type(value) == types::I32)
            .then_some((block, position))
    }

    fn want(&mut self, func: &Function, value: Value) {
        let value = func.dfg.resolve_aliases(value);
        if self.param(func, value).is_some() && self.is_wanted.insert(value) {
            self.wanted.push(value);
        }
    }

    /// Decides which parameters are changed: those that are extended, and those that they are passed.
    fn choose(&mut self, func: &Function) {
        for position in 0..self.extensions.len() {
            self.want(func, func.dfg.inst_args(self.extensions[position])[0]);
        }
        let mut next = 0;
        while let Some(param) = self.wanted.get(next).copied() {
            next += 1;
            let (block, position) = self.param(func, param).expect("it was chosen");
            for way in 0..self.passed[&block][position].len() {
                if let (_, BlockArg::Value(value)) = self.passed[&block][position][way] {
                    self.want(func, value);
                }
            }
        }
    }

    fn widen_params(&mut self, func: &mut Function) {
        // What each of them is with 64 bits.
        let mut wide: HashMap<Value, Value> = HashMap::new();
        let mut places = Vec::new();
        for param in &self.wanted {
            places.push(self.param(func, *param).expect("it was chosen"));
        }
        for (param, (block, _)) in self.wanted.iter().zip(&places) {
            let new = func.dfg.replace_block_param(*param, types::I64);
            let mut cursor = FuncCursor::new(func).at_first_insertion_point(*block);
            cursor.ins().with_result(*param).ireduce(types::I32, new);
            wide.insert(*param, new);
        }
        for extension in &self.extensions {
            let arg = func.dfg.resolve_aliases(func.dfg.inst_args(*extension)[0]);
            if let Some(new) = wide.get(&arg) {
                replace(func, *extension, *new);
            }
        }
        // What is passed on several ways is extended once for each branch.
        let mut extended: HashMap<(Inst, Value), Value> = HashMap::new();
        for (block, position) in places {
            for (branch, arg) in &self.passed[&block][position] {
                let BlockArg::Value(value) = *arg else { unreachable!("it was looked at") };
                let value = func.dfg.resolve_aliases(value);
                let new = match wide.get(&value) {
                    Some(new) => *new,
                    None => *extended
                        .entry((*branch, value))
                        .or_insert_with(|| extend(func, *branch, value)),
                };
                pass(func, *branch, block, position, value, new);
            }
        }
    }
}

/// The zero extension of what a branch passes.
fn extend(func: &mut Function, branch: Inst, value: Value) -> Value {
    let constant = match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => match func.dfg.insts[inst] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        },
        _ => None,
    };
    let mut cursor = FuncCursor::new(func).at_inst(branch);
    match constant {
        Some(bits) => cursor.ins().iconst(types::I64, bits & i64::from(u32::MAX)),
        None => cursor.ins().uextend(types::I64, value),
    }
}

/// Lets a branch pass `new` instead of `old` wherever it does so to this parameter.
fn pass(func: &mut Function, branch: Inst, block: Block, position: usize, old: Value, new: Value) {
    let dfg = &mut func.dfg;
    let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    for index in 0..calls.len() {
        let call =
            dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables)[index];
        if call.block(&dfg.value_lists) != block {
            continue;
        }
        let mut args: Vec<BlockArg> = call.args(&dfg.value_lists).collect();
        if let BlockArg::Value(value) = args[position]
            && dfg.resolve_aliases(value) == old
        {
            args[position] = BlockArg::Value(new);
            let call = BlockCall::new(block, args, &mut dfg.value_lists);
            dfg.insts[branch]
                .branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables)[index] =
                call;
        }
    }
}

/// Makes `load`, whose result is `narrow`, load 64 bits, the upper half zero; `None` if it is no such
/// load. A load of 32 bits that nothing else uses is joined with its extension anyway.
fn widen_load(func: &mut Function, load: Inst, narrow: Value) -> Option<Value> {
    let InstructionData::Load { opcode, arg, flags, offset } = func.dfg.insts[load] else {
        return None;
    };
    let opcode = match opcode {
        Opcode::Load => Opcode::Uload32,
        Opcode::Uload8 | Opcode::Uload16 => opcode,
        _ => return None,
    };
    let new = func.dfg.replace_result(narrow, types::I64);
    func.dfg.insts[load] = InstructionData::Load { opcode, arg, flags, offset };
    let mut cursor = FuncCursor::new(func).after_inst(load);
    cursor.ins().with_result(narrow).ireduce(types::I32, new);
    Some(new)
}

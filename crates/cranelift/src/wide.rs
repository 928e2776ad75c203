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

use crate::EntityMap;
use crate::ways::{Way, Ways};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::entity::packed_option::ReservedValue;
use cranelift_codegen::ir::{
    Block, BlockArg, Function, Inst, InstBuilder, InstructionData, Opcode, Value, ValueDef, types,
};
use smallvec::SmallVec;

struct Widening<'a> {
    ways: &'a Ways,
    /// What the blocks that were asked for are passed: parameter by parameter, way by way.
    passed: EntityMap<Block, Vec<Value>>,
    /// Zero extensions to 64 bits.
    extensions: Vec<Inst>,
    /// Parameters to give 64 bits, in the order they were found.
    wanted: Vec<Value>,
    is_wanted: EntitySet<Value>,
}

/// Carries indices with 64 bits: see the head of this file. `ways` are those of the function.
pub(crate) fn keep_extended(func: &mut Function, ways: &Ways) {
    let mut widening = Widening {
        ways,
        passed: EntityMap::default(),
        extensions: extensions(func),
        wanted: Vec::new(),
        is_wanted: EntitySet::new(),
    };
    widening.choose(func);
    if !widening.wanted.is_empty() {
        widening.widen_params(func);
    }
}

/// Zero extensions to 64 bits, in the order of the layout.
fn extensions(func: &Function) -> Vec<Inst> {
    let mut extensions = Vec::new();
    for block in func.layout.blocks() {
        extensions.extend(func.layout.block_insts(block).filter(|inst| is_extension(func, *inst)));
    }
    extensions
}

/// Gives loads 64 bits whose zero extension would be an instruction of its own.
pub(crate) fn load_extended(func: &mut Function) {
    let mut wide: EntityMap<Value, Value> = EntityMap::default();
    for extension in extensions(func) {
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
    let InstructionData::Unary { opcode: Opcode::Uextend, arg } = func.dfg.insts[inst] else {
        return false;
    };
    func.dfg.value_type(arg) == types::I32
        && func.dfg.value_type(func.dfg.first_result(inst)) == types::I64
}

impl Widening<'_> {
    /// The block and position of a parameter that may be given 64 bits.
    fn param(&self, func: &Function, value: Value) -> Option<(Block, usize)> {
        let ValueDef::Param(block, position) = func.dfg.value_def(value) else { return None };
        let fits = func.dfg.value_type(value) == types::I32
            && Some(block) != func.layout.entry_block()
            && !self.ways.to(block).is_empty();
        fits.then_some((block, position))
    }

    /// What a parameter is passed, way by way; `None` if that are not all values.
    fn passed(&mut self, func: &Function, (block, position): (Block, usize)) -> Option<&[Value]> {
        let ways = self.ways.to(block);
        let dfg = &func.dfg;
        let passed = self.passed.entry(block).or_insert_with(|| {
            let mut passed =
                vec![Value::reserved_value(); ways.len() * dfg.num_block_params(block)];
            for (way, (branch, number)) in ways.iter().enumerate() {
                let calls =
                    dfg.insts[*branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
                let args = calls[*number as usize].args(&dfg.value_lists);
                for (position, arg) in args.enumerate() {
                    if let BlockArg::Value(value) = arg {
                        passed[position * ways.len() + way] = dfg.resolve_aliases(value);
                    }
                }
            }
            passed
        });
        let passed = &passed[position * ways.len()..][..ways.len()];
        passed.iter().all(|value| !value.is_reserved_value()).then_some(passed)
    }

    fn want(&mut self, func: &Function, value: Value) {
        let value = func.dfg.resolve_aliases(value);
        if let Some(place) = self.param(func, value)
            && !self.is_wanted.contains(value)
            && self.passed(func, place).is_some()
        {
            self.is_wanted.insert(value);
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
            let ways = self.ways.to(block).len();
            for way in 0..ways {
                self.want(func, self.passed[&block][position * ways + way]);
            }
        }
    }

    fn widen_params(&mut self, func: &mut Function) {
        // What each of them is with 64 bits.
        let mut wide: EntityMap<Value, Value> = EntityMap::default();
        let mut places = Vec::with_capacity(self.wanted.len());
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
        let mut extended: EntityMap<(Inst, Value), Value> = EntityMap::default();
        places.sort_unstable();
        for places in places.chunk_by(|a, b| a.0 == b.0) {
            let block = places[0].0;
            let ways = self.ways.to(block);
            for (way, (branch, number)) in ways.iter().enumerate() {
                let mut new: SmallVec<[(usize, Value); 8]> = SmallVec::new();
                for (_, position) in places {
                    let value = self.passed[&block][position * ways.len() + way];
                    let extended = match wide.get(&value) {
                        Some(new) => *new,
                        None => *extended
                            .entry((*branch, value))
                            .or_insert_with(|| extend(func, *branch, value)),
                    };
                    new.push((*position, extended));
                }
                pass(func, (*branch, *number), new);
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

/// Lets a branch pass other values at these positions, which ascend.
fn pass(func: &mut Function, (branch, number): Way, new: SmallVec<[(usize, Value); 8]>) {
    let dfg = &mut func.dfg;
    let calls =
        dfg.insts[branch].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
    let (mut new, mut position) = (new.into_iter().peekable(), 0);
    calls[number as usize].update_args(&mut dfg.value_lists, |arg| {
        let here = new.next_if(|(at, _)| *at == position);
        position += 1;
        here.map_or(arg, |(_, value)| value.into())
    });
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

//! Loops without copies: what a loop moves on dies where its next value is made.
//!
//! A counter or pointer of a loop is a parameter of the loop's head, and the way back passes `x + k`. If `x`
//! is still used after `x + k` was made, as in `x == last` or in a second `x + k` behind the loop, which the
//! optimizer makes again rather than keep, both need a register, and the way back needs a move, and so a
//! block and a jump of its own. [`use_next`] lets such users take the next value: they compare it with
//! `last + k`, and use it.
//!
//! It runs after the optimizer, which would undo it.
//!
//! Invariant: each value stays what it was. Sums are modulo the size of their type, so equality of sums is
//! that of their terms.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    BlockArg, Function, Inst, InstBuilder, InstructionData, Opcode, Type, Value, ValueDef, types,
};

/// Most steps that are looked at in one function.
const MAX_STEPS: usize = 1 << 12;

/// `next` is `value` and a constant, and takes its place when `branch` goes back.
#[derive(Clone, Copy)]
struct Step {
    value: Value,
    next: Value,
    by: u64,
    branch: Inst,
}

/// Lets users take next values: see the head of this file.
pub(crate) fn use_next(func: &mut Function) {
    let steps = steps(func);
    if steps.is_empty() {
        return;
    }
    // Who uses values that change, and how often anything is used.
    let mut users: SecondaryMap<Value, Vec<Inst>> = SecondaryMap::new();
    let mut counts: SecondaryMap<Value, u32> = SecondaryMap::new();
    let mut changes: SecondaryMap<Value, bool> = SecondaryMap::new();
    steps.iter().for_each(|step| changes[step.value] = true);
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                let value = func.dfg.resolve_aliases(value);
                counts[value] += 1;
                if changes[value] && users[value].last() != Some(&inst) {
                    users[value].push(inst);
                }
            }
        }
    }
    let cfg = ControlFlowGraph::with_function(func);
    let domtree = DominatorTree::with_function(func, &cfg);
    for step in steps {
        for user in std::mem::take(&mut users[step.value]) {
            if !take_next(func, &domtree, &counts, step, user) {
                users[step.value].push(user);
            }
        }
    }
}

/// All steps of loops.
fn steps(func: &Function) -> Vec<Step> {
    let mut steps = Vec::new();
    let dfg = &func.dfg;
    for block in func.layout.blocks() {
        let Some(branch) = func.layout.last_inst(block) else { continue };
        let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
        for call in calls {
            let params = dfg.block_params(call.block(&dfg.value_lists));
            for (param, arg) in params.iter().zip(call.args(&dfg.value_lists)) {
                if let BlockArg::Value(arg) = arg
                    && let Some(step) = step(func, *param, arg, branch)
                    && steps.len() < MAX_STEPS
                {
                    steps.push(step);
                }
            }
        }
    }
    steps
}

/// The instruction that makes a value, if it has this opcode.
fn made_by(func: &Function, value: Value, opcode: Opcode) -> Option<Inst> {
    match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) if func.dfg.insts[inst].opcode() == opcode => Some(inst),
        _ => None,
    }
}

fn arg(func: &Function, inst: Inst, position: usize) -> Value {
    func.dfg.resolve_aliases(func.dfg.inst_args(inst)[position])
}

/// Whether `arg` is `param` and a constant, perhaps of the low half and zero-extended.
fn step(func: &Function, param: Value, passed: Value, branch: Inst) -> Option<Step> {
    let mut next = func.dfg.resolve_aliases(passed);
    if let Some(extension) = made_by(func, next, Opcode::Uextend) {
        next = arg(func, extension, 0);
    }
    let (value, by) = sum(func, made_by(func, next, Opcode::Iadd)?)?;
    let is_param = value == param
        || made_by(func, value, Opcode::Ireduce).is_some_and(|half| arg(func, half, 0) == param);
    is_param.then_some(Step { value, next, by, branch })
}

/// The constant that a value is.
fn constant(func: &Function, value: Value) -> Option<u64> {
    match func.dfg.insts[made_by(func, value, Opcode::Iconst)?] {
        InstructionData::UnaryImm { imm, .. } => Some(imm.bits() as u64),
        _ => None,
    }
}

/// What an addition adds a constant to, and the constant.
fn sum(func: &Function, inst: Inst) -> Option<(Value, u64)> {
    let (a, b) = (arg(func, inst, 0), arg(func, inst, 1));
    match (constant(func, a), constant(func, b)) {
        (None, Some(by)) => Some((a, by)),
        (Some(by), None) => Some((b, by)),
        _ => None,
    }
}

/// The bits of a constant, as the type wants them.
fn bits(ty: Type, value: u64) -> i64 {
    if ty == types::I32 { i64::from(value as u32) } else { value as i64 }
}

/// Lets one user take the next value, if it can.
fn take_next(
    func: &mut Function,
    domtree: &DominatorTree,
    counts: &SecondaryMap<Value, u32>,
    step: Step,
    user: Inst,
) -> bool {
    let Step { value, next, by, branch } = step;
    let ty = func.dfg.value_type(value);
    if !matches!(ty, types::I32 | types::I64) {
        return false;
    }
    let ValueDef::Result(maker, _) = func.dfg.value_def(next) else { return false };
    if user == maker {
        return false;
    }
    let is_behind = domtree.dominates(maker, user, &func.layout);
    match func.dfg.insts[user] {
        InstructionData::Binary { opcode: Opcode::Iadd, .. } if is_behind => {
            let Some((_, other)) = sum(func, user) else { return false };
            let result = func.dfg.first_result(user);
            if bits(ty, other) == bits(ty, by) {
                func.dfg.clear_results(user);
                func.dfg.change_to_alias(result, next);
                func.layout.remove_inst(user);
            } else {
                let rest = bits(ty, other.wrapping_sub(by));
                let rest = FuncCursor::new(func).at_inst(user).ins().iconst(ty, rest);
                let args = [next, rest];
                func.dfg.insts[user] = InstructionData::Binary { opcode: Opcode::Iadd, args };
            }
            true
        }
        InstructionData::IntCompare { cond: cond @ (IntCC::Equal | IntCC::NotEqual), .. } => {
            let last =
                match (constant(func, arg(func, user, 0)), constant(func, arg(func, user, 1))) {
                    (None, Some(last)) | (Some(last), None) => last,
                    _ => return false,
                };
            let decides = func.layout.inst_block(user) == func.layout.inst_block(branch)
                && is_only_for(func, counts, user, branch);
            if !is_behind && !decides {
                return false;
            }
            if !is_behind {
                // What it is compared with is made between it and the branch.
                let extension = only_user(func, user, branch);
                for inst in [Some(user), extension].into_iter().flatten() {
                    func.layout.remove_inst(inst);
                    func.layout.insert_inst(inst, branch);
                }
            }
            let last = bits(ty, last.wrapping_add(by));
            let last = FuncCursor::new(func).at_inst(user).ins().iconst(ty, last);
            let args = [next, last];
            func.dfg.insts[user] = InstructionData::IntCompare { opcode: Opcode::Icmp, args, cond };
            true
        }
        _ => false,
    }
}

/// The extension through which `branch` looks at the result of `inst`, if there is one.
fn only_user(func: &Function, inst: Inst, branch: Inst) -> Option<Inst> {
    let condition = arg(func, branch, 0);
    let extension = made_by(func, condition, Opcode::Uextend)?;
    (arg(func, extension, 0) == func.dfg.first_result(inst)).then_some(extension)
}

/// Whether nothing but the condition of `branch` uses the result of `inst`, which stands in its block.
fn is_only_for(
    func: &Function,
    counts: &SecondaryMap<Value, u32>,
    inst: Inst,
    branch: Inst,
) -> bool {
    if func.dfg.insts[branch].opcode() != Opcode::Brif {
        return false;
    }
    let result = func.dfg.first_result(inst);
    let condition = arg(func, branch, 0);
    let once = |value: Value| counts[value] == 1;
    match only_user(func, inst, branch) {
        Some(extension) => {
            once(result)
                && once(condition)
                && func.layout.inst_block(extension) == func.layout.inst_block(branch)
        }
        None => condition == result && once(result),
    }
}

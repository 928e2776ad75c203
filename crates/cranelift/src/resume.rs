//! What the code before a loop says of a frame that goes on in the loop.
//!
//! A replacement never runs that code (`replace`), but the frame that it takes over did. So what the loop's head
//! is passed from there tells what its locals are, of which the loading block only says that they are read:
//! what a counter began at, and which locals are constants. [`use_start`] uses that while the code is still
//! there, and then removes it.
//!
//! Invariant: what the loading block passes to the head is such as the other ways to the head pass, in a run
//! that begins where the function begins.

use crate::copies::destinations;
use crate::offsets::{self, Reach};
use crate::ranges::Ranges;
use cranelift_codegen::Context;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{Block, BlockArg, BlockCall, Function, Inst, Opcode, Value, ValueDef};
use cranelift_codegen::isa::TargetIsa;
use std::collections::HashMap;

/// How often all ways are looked at until it is settled what is constant.
const MAX_ROUNDS: usize = 16;

/// Uses what the code before the loop says, and removes it: see the head of this file. `reach` is that of
/// `offsets`.
pub(crate) fn use_start(context: &mut Context, isa: &dyn TargetIsa, loading: Block, reach: Reach) {
    let func = &mut context.func;
    use_constants(func, loading);
    // What the code says that is removed is not seen by who checks the rest.
    if let Reach::Guard(_) = reach {
        offsets::move_in_ranges(func, |func| Ranges::without(func, Some(loading)), reach);
    }
    context.compute_cfg();
    context.compute_domtree();
    let removed = context.eliminate_unreachable_code(isa);
    removed.expect("blocks are removed without asking anybody");
    // Passes change what they describe, and the verifier believes them.
    context.cfg.clear();
    context.domtree.clear();
}

/// Lets parameters of blocks be constants that always are.
fn use_constants(func: &mut Function, loading: Block) {
    let constants = constant_params(func, loading);
    let mut new: HashMap<Value, Value> = HashMap::new();
    for (param, constant) in constants {
        let ValueDef::Param(block, _) = func.dfg.value_def(param) else {
            unreachable!("it is a parameter")
        };
        let here =
            copy_constant(&mut FuncCursor::new(func).at_first_insertion_point(block), constant);
        new.insert(param, here);
    }
    if new.is_empty() {
        return;
    }
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let mut next = func.layout.first_inst(block);
        while let Some(inst) = next {
            next = func.layout.next_inst(inst);
            // What branches pass stays, so that the parameters are seen to be what they are passed.
            for position in 0..func.dfg.inst_args(inst).len() {
                let arg = func.dfg.resolve_aliases(func.dfg.inst_args(inst)[position]);
                if let Some(constant) = new.get(&arg) {
                    func.dfg.inst_args_mut(inst)[position] = *constant;
                }
            }
        }
    }
    let jump = func.layout.last_inst(loading).expect("it jumps to the head");
    let [call] = destinations(func, loading) else { unreachable!("it jumps to the head") };
    let head = call.block(&func.dfg.value_lists);
    let mut args: Vec<BlockArg> = call.args(&func.dfg.value_lists).collect();
    for (position, arg) in args.iter_mut().enumerate() {
        if let Some(constant) = new.get(&func.dfg.block_params(head)[position]) {
            let ValueDef::Result(constant, _) = func.dfg.value_def(*constant) else {
                unreachable!("it was copied")
            };
            *arg = copy_constant(&mut FuncCursor::new(func).at_inst(jump), constant).into();
        }
    }
    let dfg = &mut func.dfg;
    let call = BlockCall::new(head, args, &mut dfg.value_lists);
    dfg.insts[jump].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables)[0] =
        call;
}

/// The parameters that are passed one constant on all ways but from `loading`, each with an instruction that
/// makes it.
fn constant_params(func: &Function, loading: Block) -> Vec<(Value, Inst)> {
    // `None` for what may be several things. What is not there yet has not been passed anything.
    let mut known: HashMap<Value, Option<Inst>> = HashMap::new();
    let entry = func.layout.entry_block().expect("functions have a block");
    known.extend(func.dfg.block_params(entry).iter().map(|param| (*param, None)));
    let mut is_settled = false;
    for _ in 0..MAX_ROUNDS {
        is_settled = true;
        for block in func.layout.blocks().filter(|block| *block != loading) {
            for call in destinations(func, block) {
                let params = func.dfg.block_params(call.block(&func.dfg.value_lists));
                for (param, arg) in params.iter().zip(call.args(&func.dfg.value_lists)) {
                    let Some(passed) = passed(func, &known, arg) else { continue };
                    let before = known.get(param).copied();
                    let now = match before {
                        None => passed,
                        Some(before) => {
                            before.filter(|a| passed.is_some_and(|b| same(func, *a, b)))
                        }
                    };
                    if before != Some(now) {
                        known.insert(*param, now);
                        is_settled = false;
                    }
                }
            }
        }
        if is_settled {
            break;
        }
    }
    if !is_settled {
        return Vec::new();
    }
    let params = func.layout.blocks().flat_map(|block| func.dfg.block_params(block));
    params.filter_map(|param| Some((*param, (*known.get(param)?)?))).collect()
}

/// What is passed, if that is known yet.
fn passed(
    func: &Function,
    known: &HashMap<Value, Option<Inst>>,
    arg: BlockArg,
) -> Option<Option<Inst>> {
    let BlockArg::Value(value) = arg else { return Some(None) };
    let value = func.dfg.resolve_aliases(value);
    match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => Some(is_constant(func, inst).then_some(inst)),
        ValueDef::Param(..) => known.get(&value).copied(),
        _ => Some(None),
    }
}

fn is_constant(func: &Function, inst: Inst) -> bool {
    use Opcode::*;
    matches!(func.dfg.insts[inst].opcode(), Iconst | F32const | F64const | Vconst)
}

/// Whether two constants are the same.
fn same(func: &Function, a: Inst, b: Inst) -> bool {
    let ty = |inst| func.dfg.value_type(func.dfg.first_result(inst));
    func.dfg.insts[a] == func.dfg.insts[b] && ty(a) == ty(b)
}

/// The constant again, made at the cursor.
fn copy_constant(cursor: &mut FuncCursor<'_>, constant: Inst) -> Value {
    let copy = cursor.func.dfg.clone_inst(constant);
    cursor.insert_inst(copy);
    cursor.func.dfg.first_result(copy)
}

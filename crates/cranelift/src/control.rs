//! Structured control as Cranelift blocks.
//!
//! Invariants:
//! - The label of a block gets its Cranelift block when the first branch asks for it; a block nobody
//!   branches to costs nothing.
//! - Every Cranelift block is sealed once its last predecessor is known: at the end of the structured
//!   block that made it.
//! - Values live across a label only as block parameters, which are the label's operands, or as
//!   locals; what lies below a block on the operand stack dominates all of it.

use crate::abi::clif_type;
use crate::emit::{Tier, is_ref};
use cranelift_codegen::ir::{Block, BlockArg, BlockCall, InstBuilder, JumpTableData, Type, Value};
use smallvec::SmallVec;
use std::collections::HashMap;
use wardian_lower::BlockKind;
use wardian_module::ValType;
use wardian_module::abi::ResultLoc;
use wardian_module::layout::Repr;

/// A structured block that was entered.
pub(crate) struct Frame {
    kind: FrameKind,
    /// Operands below the block's parameters.
    height: usize,
    /// Number of parameters.
    params: usize,
    /// Types of results, and whether they are references.
    results: Types,
    /// Where the code after the block starts, once someone branches there.
    next: Option<Block>,
    /// What of `Tier::proven` holds on every way through the block.
    pub(crate) mark: usize,
}

impl Frame {
    /// Operands below the block's parameters.
    pub(crate) fn height(&self) -> usize {
        self.height
    }
}

enum FrameKind {
    Block,
    Loop {
        header: Block,
    },
    If {
        /// Where the condition goes if false.
        otherwise: Block,
        /// Parameters, for the second arm.
        params: SmallVec<[Value; 2]>,
    },
}

/// Number of labels up to which a branch table leads to them directly.
const DIRECT_WAYS: usize = 64;

pub(crate) type Types = SmallVec<[(Type, bool); 2]>;

fn types_of(types: &[ValType]) -> Types {
    types.iter().map(|ty| (clif_type(Repr::of(*ty)), is_ref(*ty))).collect()
}

fn args_of(values: &[Value]) -> SmallVec<[BlockArg; 4]> {
    values.iter().map(|value| BlockArg::Value(*value)).collect()
}

impl Tier<'_> {
    /// A function's body as a block: the outermost, or that of an inlined function.
    pub(crate) fn enter_body(&mut self, results: &[ValType]) {
        let height = self.stack.len();
        self.home_below(height);
        let (kind, results) = (FrameKind::Block, types_of(results));
        let mark = self.proven.mark();
        self.frames.push(Frame { kind, height, params: 0, results, next: None, mark });
    }

    pub(crate) fn enter_block(&mut self, kind: BlockKind, params: &[ValType], results: &[ValType]) {
        let condition = (kind == BlockKind::If).then(|| self.pop1());
        let height = self.stack.len() - params.len();
        self.home_below(height);
        let kind = match kind {
            BlockKind::Block => FrameKind::Block,
            BlockKind::Loop => {
                let header = self.b.create_block();
                let params = types_of(params);
                for ty in &params {
                    self.append_param(header, *ty);
                }
                let args = self.block_args(params.len());
                self.b.ins().jump(header, &args);
                self.branch_work += args.len();
                self.load_state(header, height, &params);
                self.b.switch_to_block(header);
                self.truncate_stack(height);
                self.stack.extend_from_slice(self.b.block_params(header));
                FrameKind::Loop { header }
            }
            BlockKind::If => {
                let then = self.b.create_block();
                let otherwise = self.b.create_block();
                let condition = condition.expect("popped above");
                self.b.ins().brif(condition, then, &[], otherwise, &[]);
                if let Some(likely) = self.hint.take() {
                    self.b.set_cold_block(if likely { otherwise } else { then });
                }
                self.b.seal_block(then);
                self.b.switch_to_block(then);
                self.settle(height);
                let params: SmallVec<[Value; 2]> = SmallVec::from_slice(&self.stack[height..]);
                self.branch_work += params.len();
                FrameKind::If { otherwise, params }
            }
        };
        let (params, results) = (params.len(), types_of(results));
        let mark = self.proven.mark();
        self.frames.push(Frame { kind, height, params, results, next: None, mark });
    }

    pub(crate) fn else_arm(&mut self, reachable: bool) {
        let depth = self.frames.len() - 1;
        if reachable {
            self.jump_to(0);
        }
        let frame = &mut self.frames[depth];
        let kind = std::mem::replace(&mut frame.kind, FrameKind::Block);
        let FrameKind::If { otherwise, params } = kind else {
            unreachable!("validated: else lies in an if")
        };
        let (height, mark) = (frame.height, frame.mark);
        self.proven.forget(mark);
        self.truncate_stack(height);
        self.stack.extend_from_slice(&params);
        self.b.seal_block(otherwise);
        self.b.switch_to_block(otherwise);
    }

    pub(crate) fn end_block(&mut self, reachable: bool, continues: bool) {
        let depth = self.frames.len() - 1;
        match &self.frames[depth].kind {
            FrameKind::Block => {}
            FrameKind::Loop { header } => self.b.seal_block(*header),
            FrameKind::If { otherwise, params } => {
                let (otherwise, args) = (*otherwise, args_of(params));
                let frame = &mut self.frames[depth];
                if args.is_empty() && frame.next.is_none() {
                    // The block of the false condition is the code that follows.
                    frame.next = Some(otherwise);
                    if reachable {
                        self.b.ins().jump(otherwise, &[]);
                    }
                } else {
                    if reachable {
                        self.jump_to(0);
                    }
                    self.b.seal_block(otherwise);
                    self.b.switch_to_block(otherwise);
                    let next = self.label(0);
                    self.b.ins().jump(next, &args);
                    self.branch_work += args.len();
                }
                return self.leave(false, continues);
            }
        }
        self.leave(reachable, continues);
    }

    /// Leaves the innermost block; `falls_in` says whether the current position is its end.
    fn leave(&mut self, falls_in: bool, continues: bool) {
        if falls_in && self.frames.last().is_some_and(|frame| frame.next.is_some()) {
            self.jump_to(0);
        }
        let frame = self.frames.pop().expect("every end has its block");
        if let Some(next) = frame.next {
            self.proven.forget(frame.mark);
            self.b.seal_block(next);
            self.b.switch_to_block(next);
            self.truncate_stack(frame.height);
            self.stack.extend_from_slice(self.b.block_params(next));
        } else if !falls_in {
            self.truncate_stack(frame.height);
        }
        if self.frames.is_empty() && continues {
            self.settle(0);
            let results = std::mem::take(&mut self.stack);
            self.return_values(&results);
        }
    }

    /// Number of operands of a label.
    fn label_arity(&self, depth: u32) -> usize {
        let frame = &self.frames[self.frames.len() - 1 - depth as usize];
        match frame.kind {
            FrameKind::Loop { .. } => frame.params,
            FrameKind::Block | FrameKind::If { .. } => frame.results.len(),
        }
    }

    /// The Cranelift block of a label.
    fn label(&mut self, depth: u32) -> Block {
        let position = self.frames.len() - 1 - depth as usize;
        let frame = &mut self.frames[position];
        if let FrameKind::Loop { header } = frame.kind {
            return header;
        }
        if let Some(next) = frame.next {
            return next;
        }
        let next = self.b.create_block();
        frame.next = Some(next);
        for ty in frame.results.clone() {
            self.append_param(next, ty);
        }
        next
    }

    fn append_param(&mut self, block: Block, (ty, is_ref): (Type, bool)) {
        let value = self.b.append_block_param(block, ty);
        if is_ref {
            self.roots.mark(value);
        }
    }

    /// Jumps to a label with the operands on the stack, which stay there.
    pub(crate) fn jump_to(&mut self, depth: u32) {
        let args = self.block_args(self.label_arity(depth));
        let label = self.label(depth);
        self.b.ins().jump(label, &args);
        self.branch_work += args.len();
    }

    pub(crate) fn jump_to_if(&mut self, condition: Value, depth: u32) {
        let args = self.block_args(self.label_arity(depth));
        let label = self.label(depth);
        let next = self.b.create_block();
        self.branch_work += args.len();
        match self.hint.take() {
            Some(false) => {
                // The label may be reached in other ways too, so what is rare is a block on the way.
                let rare = self.b.create_block();
                self.b.ins().brif(condition, rare, &[], next, &[]);
                self.b.seal_block(rare);
                self.b.set_cold_block(rare);
                self.b.switch_to_block(rare);
                self.b.ins().jump(label, &args);
            }
            hint => {
                self.b.ins().brif(condition, label, &args, next, &[]);
                if hint.is_some() {
                    self.b.set_cold_block(next);
                }
            }
        }
        self.b.seal_block(next);
        self.b.switch_to_block(next);
    }

    pub(crate) fn jump_by_table(&mut self, targets: &[u32], default: u32) {
        let index = self.pop1();
        self.branch_work += targets.len();
        let arity = self.label_arity(default);
        let args = self.block_args(arity);
        // A label that has operands or several entries is reached through a block of its own, so that
        // the table does not repeat the operands, or the locals that merge there, for each entry. In a
        // long table all are, since the frontend looks through all entries to add such a local to one.
        let mut ways: HashMap<u32, (Block, u32)> = HashMap::new();
        for depth in targets.iter().chain([&default]) {
            let label = self.label(*depth);
            ways.entry(*depth).or_insert((label, 0)).1 += 1;
        }
        let ways_count = ways.len();
        let mut stubs = Vec::new();
        for depth in targets.iter().chain([&default]) {
            let way = ways.get_mut(depth).expect("entered above");
            let direct = arity == 0 && ways_count <= DIRECT_WAYS && way.1 == 1;
            if way.1 > 0 && !direct {
                let stub = self.b.create_block();
                stubs.push((stub, way.0));
                *way = (stub, 0);
            }
        }
        // Every entry owns its list of operands: Cranelift appends to it.
        let mut call =
            |depth: &u32| BlockCall::new(ways[depth].0, [], &mut self.b.func.dfg.value_lists);
        let entries: Vec<_> = targets.iter().map(&mut call).collect();
        let default = call(&default);
        let table = self.b.create_jump_table(JumpTableData::new(default, &entries));
        self.b.ins().br_table(index, table);
        for (stub, label) in stubs {
            self.b.seal_block(stub);
            self.b.switch_to_block(stub);
            self.b.ins().jump(label, &args);
            self.branch_work += args.len();
        }
    }

    /// Returns these results and ends the block.
    pub(crate) fn return_values(&mut self, results: &[Value]) {
        let mut in_registers: SmallVec<[Value; 4]> = SmallVec::new();
        for (position, value) in results.iter().enumerate() {
            match self.own.results[position] {
                ResultLoc::Int(_) | ResultLoc::Vector(_) => in_registers.push(*value),
                ResultLoc::Area(offset) => {
                    let area = self.area.expect("a result lies in it");
                    self.b.ins().store(Self::area_flags(), *value, area, offset as i32);
                }
            }
        }
        self.b.ins().return_(&in_registers);
        self.branch_work += results.len();
    }
}

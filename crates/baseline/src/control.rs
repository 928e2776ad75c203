//! Structured control: labels, branches, returns.
//!
//! Invariants:
//! - When a block is entered all operands below its parameters are constants or in their homes, and
//!   stay so until it ends: every way to its label finds them there.
//! - The operands of a label are where `Target` says; every branch puts them there, and the code behind
//!   the label expects them there. Nothing else is in a register at a label but pinned locals.

use crate::asm::*;
use crate::check;
use crate::claims::TableClaim;
use crate::emit::{Moves, Tier};
use crate::state::*;
use smallvec::SmallVec;
use wardian_lower::BlockKind;
use wardian_module::ValType;
use wardian_module::abi::ResultLoc;
use wardian_module::layout::{OUTER_LOOP, Repr};

/// A structured block that was entered. Its types lie in `Buffers::reprs`, parameters first.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    kind: FrameKind,
    /// Where branches go.
    label: Label,
    /// Whether one does.
    used: bool,
    /// Operands below the block's parameters.
    height: usize,
    reprs: u32,
    params: u32,
    results: u32,
}

#[derive(Clone, Copy)]
enum FrameKind {
    /// The function itself: its label is the epilogue.
    Body,
    Block,
    Loop {
        ordinal: u32,
        /// Where the code says what a turn counts, if it counts.
        step_at: Option<u32>,
    },
    If {
        /// Where a false condition goes.
        otherwise: Label,
        /// Where in `Buffers::arms` the parameters for the second arm are.
        params: u32,
    },
}

/// Where a label's operands are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Where results of the function go.
    Return,
    /// The only one, in `rax` or `xmm0`.
    Register,
    /// In the homes of operands at this height.
    Homes(usize),
}

impl Frame {
    fn params(&self) -> usize {
        self.params as usize
    }

    fn results(&self) -> usize {
        self.results as usize
    }
}

fn result_reg(repr: Repr) -> Reg {
    match bank(repr) {
        Bank::General => RAX,
        Bank::Vector => XMM0,
    }
}

impl Tier<'_> {
    /// The function body as the outermost block.
    pub(crate) fn enter_function(&mut self) {
        let label = self.s.asm.label();
        let results = self.func_type().results();
        self.push_frame(FrameKind::Body, label, 0, &[], results);
    }

    fn push_frame(
        &mut self,
        kind: FrameKind,
        label: Label,
        height: usize,
        params: &[ValType],
        results: &[ValType],
    ) {
        let reprs = self.b.reprs.len() as u32;
        for ty in params.iter().chain(results) {
            self.b.reprs.push(Repr::of(*ty));
        }
        let (params, results) = (params.len() as u32, results.len() as u32);
        self.b.frames.push(Frame { kind, label, used: false, height, reprs, params, results });
    }

    fn pop_frame(&mut self) -> Frame {
        let frame = self.b.frames.pop().expect("every end has its block");
        self.b.reprs.truncate(frame.reprs as usize);
        if let FrameKind::If { params, .. } = frame.kind {
            self.b.arms.truncate(params as usize);
        }
        frame
    }

    fn last_frame(&mut self) -> &mut Frame {
        self.b.frames.last_mut().expect("every end has its block")
    }

    /// The representation of a block's result.
    fn result_repr(&self, frame: &Frame, index: usize) -> Repr {
        self.b.reprs[frame.reprs as usize + frame.params() + index]
    }

    pub(crate) fn enter_block(&mut self, kind: BlockKind, params: &[ValType], results: &[ValType]) {
        let condition = (kind == BlockKind::If).then(|| self.s.pop());
        let height = self.s.stack.len() - params.len();
        let label = self.s.asm.label();
        let kind = match kind {
            BlockKind::Block => {
                self.s.settle(height);
                FrameKind::Block
            }
            BlockKind::Loop => {
                self.s.settle(height + params.len());
                for index in height..self.s.stack.len() {
                    let (loc, repr) = self.s.stack[index].parts();
                    if let Loc::Const(_) = loc {
                        let home = self.s.entry_home(index);
                        self.store_to(home, loc, repr);
                        self.s.stack[index].set_loc(Loc::Frame(home));
                    }
                }
                self.s.forget_all();
                self.s.asm.bind(label);
                FrameKind::Loop { ordinal: self.next_loop, step_at: self.count_loop() }
            }
            BlockKind::If => {
                self.s.settle(height + params.len());
                let otherwise = self.s.asm.label();
                let condition = condition.expect("popped above");
                let cond = self.s.condition(condition);
                self.s.asm.jcc(cond.not(), otherwise);
                let params = self.b.arms.len() as u32;
                self.b.arms.extend(self.s.stack[height..].iter().map(|entry| entry.loc()));
                FrameKind::If { otherwise, params }
            }
        };
        self.push_frame(kind, label, height, params, results);
    }

    pub(crate) fn else_arm(&mut self, reachable: bool) {
        if reachable {
            self.jump_to(0);
        }
        let frame = *self.last_frame();
        let FrameKind::If { otherwise, params } = frame.kind else {
            unreachable!("validated: else lies in an if")
        };
        self.start_second_arm(otherwise, params);
        self.last_frame().kind = FrameKind::Block;
    }

    /// Starts where a false condition of the innermost `if` goes, with its parameters.
    fn start_second_arm(&mut self, otherwise: Label, params: u32) {
        let frame = *self.last_frame();
        self.start_at(otherwise, frame.height);
        for index in 0..frame.params() {
            let loc = self.b.arms[params as usize + index];
            let repr = self.b.reprs[frame.reprs as usize + index];
            self.s.push(Value::new(loc, repr));
        }
        self.b.arms.truncate(params as usize);
    }

    /// Binds a label, where `height` settled operands are on the stack.
    fn start_at(&mut self, label: Label, height: usize) {
        self.s.truncate(height);
        self.s.forget_all();
        self.s.asm.bind(label);
    }

    /// Starts a landing in the innermost block, behind code that does not go on.
    pub(crate) fn start_landing(&mut self, label: Label) {
        let height = self.last_frame().height;
        self.start_at(label, height);
    }

    pub(crate) fn end_block(&mut self, mut reachable: bool) {
        if let Frame { kind: FrameKind::If { otherwise, params: arm }, params, .. } =
            *self.last_frame()
        {
            // Without `else` the parameters are the results.
            self.last_frame().used = true;
            if reachable && params > 0 {
                self.jump_to(0);
            }
            self.start_second_arm(otherwise, arm);
            reachable = true;
        }
        let frame = *self.last_frame();
        let falls_in = match frame.kind {
            FrameKind::Body => true,
            FrameKind::Loop { .. } => false,
            FrameKind::Block | FrameKind::If { .. } => frame.used,
        };
        if reachable && falls_in {
            self.put_operands(0);
        }
        // What it said of types is still there: nothing is entered before they are looked at.
        let frame = *self.last_frame();
        match frame.kind {
            FrameKind::Body => {
                if reachable || frame.used {
                    self.finish_body(frame.label);
                }
            }
            FrameKind::Loop { ordinal, step_at } => {
                if let Some(at) = step_at
                    && self.next_loop > ordinal
                {
                    self.s.asm.set_byte(at, OUTER_LOOP as u8);
                }
                if !reachable {
                    self.s.truncate(frame.height);
                }
            }
            FrameKind::Block | FrameKind::If { .. } => {
                if frame.used {
                    self.start_at(frame.label, frame.height);
                    self.expect_operands(&frame);
                } else if !reachable {
                    self.s.truncate(frame.height);
                }
            }
        }
        self.pop_frame();
    }

    fn finish_body(&mut self, label: Label) {
        self.start_at(label, 0);
        self.epilogue();
        self.ret_instruction();
    }

    fn target(&self, position: usize) -> Target {
        let frame = &self.b.frames[position];
        match frame.kind {
            FrameKind::Body => Target::Return,
            FrameKind::Loop { .. } => Target::Homes(frame.height),
            FrameKind::Block | FrameKind::If { .. } if frame.results == 1 => Target::Register,
            FrameKind::Block | FrameKind::If { .. } => Target::Homes(frame.height),
        }
    }

    fn label_arity(&self, position: usize) -> usize {
        let frame = &self.b.frames[position];
        match frame.kind {
            FrameKind::Loop { .. } => frame.params(),
            _ => frame.results(),
        }
    }

    fn position(&self, depth: u32) -> usize {
        self.b.frames.len() - 1 - depth as usize
    }

    /// Pushes the operands of a block's label, which was just bound.
    fn expect_operands(&mut self, frame: &Frame) {
        if frame.results == 1 {
            let repr = self.result_repr(frame, 0);
            let reg = result_reg(repr);
            self.s.hold(reg);
            self.s.push_reg(reg, repr);
            return;
        }
        for index in 0..frame.results() {
            let repr = self.result_repr(frame, index);
            let below = self.s.slot_below(self.s.stack.len());
            let (home, _) = self.s.next_home(below, repr);
            self.s.push(Value::new(Loc::Frame(home), repr));
        }
    }

    /// Whether the operands on the stack are where the label wants them.
    fn in_place(&self, position: usize) -> bool {
        let arity = self.label_arity(position);
        if arity == 0 {
            // As nearly always.
            return true;
        }
        let entries = &self.s.stack[self.s.stack.len() - arity..];
        match self.target(position) {
            Target::Return => false,
            Target::Register => entries[0].loc() == Loc::Reg(result_reg(entries[0].repr())),
            Target::Homes(height) => {
                height == self.s.stack.len() - arity
                    && (height..self.s.stack.len())
                        .all(|i| self.s.stack[i].loc() == Loc::Frame(self.s.entry_home(i)))
            }
        }
    }

    /// Puts the label's operands, which are on the stack, where it wants them, for a jump that follows.
    /// Changes nothing of what is known about registers and homes, nor the flags.
    fn put_operands(&mut self, depth: u32) {
        let position = self.position(depth);
        let arity = self.label_arity(position);
        if arity == 0 {
            return;
        }
        let from = self.s.stack.len() - arity;
        match self.target(position) {
            Target::Register => {
                let (loc, repr) = self.s.stack[from].parts();
                self.s.copy_to(result_reg(repr), loc, repr);
            }
            Target::Homes(height) => {
                // Homes lie in the order of operands, so that a home is only written after all above
                // it, which are at least as far up, were read.
                let mut below = self.s.slot_below(height);
                for index in from..from + arity {
                    let (loc, repr) = self.s.stack[index].parts();
                    let (home, slot) = self.s.next_home(below, repr);
                    below = slot;
                    self.s.max_operands = self.s.max_operands.max(slot);
                    self.store_to(home, loc, repr);
                }
            }
            Target::Return => self.put_results(from),
        }
    }

    /// Puts the operands from position `from` on where results of the function go.
    fn put_results(&mut self, from: usize) {
        let own = self.own;
        let mut moves: Moves = SmallVec::new();
        for (index, place) in own.results.iter().enumerate() {
            let (loc, repr) = self.s.stack[from + index].parts();
            match place {
                ResultLoc::Int(n) => moves.push((loc, repr, [RAX, RCX][*n as usize])),
                ResultLoc::Vector(n) => moves.push((loc, repr, [XMM0, XMM1][*n as usize])),
                ResultLoc::Area(_) => {}
            }
        }
        // Results in memory first, as those in registers overwrite what these may be in.
        if own.area_bytes > 0 {
            self.put_area_results(from);
        }
        self.parallel_move(&moves);
    }

    /// Stores results into the caller's area. Leaves all registers but scratch ones as they were.
    fn put_area_results(&mut self, from: usize) {
        let own = self.own;
        let disp = self.s.locals[AREA as usize].disp;
        let pinned = self.s.locals[AREA as usize].pinned;
        for (index, place) in own.results.iter().enumerate() {
            let ResultLoc::Area(offset) = place else { continue };
            let (loc, repr) = self.s.stack[from + index].parts();
            // A value that is in no register travels in the vector one, so that `r11` can address.
            let (reg, repr) = match (self.physical(loc), bank(repr)) {
                (Loc::Reg(reg), _) => (reg, repr),
                (loc, Bank::Vector) => {
                    self.s.copy_to(XMM15, loc, repr);
                    (XMM15, repr)
                }
                (loc, Bank::General) => {
                    self.s.copy_to(R11, loc, repr);
                    ins!(self.s.asm, movq_a, xmm(XMM15), R11);
                    (XMM15, Repr::F64)
                }
            };
            let area = if pinned == NO_REG {
                self.s.load(R11, at(RBP, disp), Repr::Pointer);
                R11
            } else {
                pinned
            };
            self.s.store(at(area, *offset as i32), reg, repr);
        }
    }

    /// The register that a value is in, or the scratch register, with a copy.
    pub(crate) fn reg_or_scratch(&mut self, loc: Loc, repr: Repr) -> Reg {
        if let Loc::Reg(reg) = self.physical(loc) {
            return reg;
        }
        let scratch = scratch(repr);
        self.s.copy_to(scratch, loc, repr);
        scratch
    }

    /// Writes a value to a place in the frame.
    pub(crate) fn store_to(&mut self, home: i32, loc: Loc, repr: Repr) {
        if self.physical(loc) != Loc::Frame(home) {
            let reg = self.reg_or_scratch(loc, repr);
            self.s.spills += 1;
            self.s.store(at(RBP, home), reg, repr);
        }
    }

    fn jump_label(&mut self, depth: u32) -> Label {
        let position = self.position(depth);
        let frame = &mut self.b.frames[position];
        frame.used = true;
        frame.label
    }

    /// Jumps to a label with the operands on the stack.
    pub(crate) fn jump_to(&mut self, depth: u32) {
        self.put_operands(depth);
        let label = self.jump_label(depth);
        self.s.asm.jmp(label);
    }

    pub(crate) fn jump_to_if(&mut self, condition: Value, depth: u32) {
        let cond = self.s.condition(condition);
        let label = self.jump_label(depth);
        if self.in_place(self.position(depth)) {
            self.s.asm.jcc(cond, label);
        } else {
            let skip = self.s.asm.label();
            self.s.asm.jcc(cond.not(), skip);
            self.put_operands(depth);
            self.s.asm.jmp(label);
            self.s.asm.bind(skip);
        }
    }

    pub(crate) fn jump_by_table(&mut self, targets: &[u32], default: u32) {
        let index = self.s.pop();
        if targets.is_empty() {
            self.s.release(index);
            return self.jump_to(default);
        }
        self.s.clobber_flags();
        let index = self.s.own(index);
        // The index is clamped without a branch, so that no speculation leaves the table.
        self.s.asm.constant(R11, targets.len() as u64);
        ins!(self.s.asm, cmpl_rm, index, R11);
        self.s.asm.cmov(Cond::Ae, false, index, Rm::Gpr(R11));
        let table = self.s.asm.label();
        ins!(self.s.asm, leaq_rm, R11, at_label(table));
        ins!(self.s.asm, movslq_rm, index, indexed(R11, index, 2, 0));
        ins!(self.s.asm, addq_rm, R11, index);
        let jump = self.s.asm.here();
        ins!(self.s.asm, jmpq_m, R11);
        self.s.unhold(index);
        // A label with operands is reached through code that puts them in place.
        let mut ways: Vec<(u32, Label)> = Vec::new();
        let direct = self.label_arity(self.position(default)) == 0;
        self.s.asm.align(4, 0xcc);
        self.s.asm.bind(table);
        let from = self.s.asm.here();
        if check::ON {
            let count = targets.len() as u32 + 1;
            self.s.claims.tables.push(TableClaim { jump, table: from, count });
        }
        for depth in targets.iter().chain([&default]) {
            let label = if direct {
                self.jump_label(*depth)
            } else {
                match self.b.ways.get(*depth as usize).copied().flatten() {
                    Some(label) => label,
                    None => {
                        let label = self.s.asm.label();
                        if self.b.ways.len() <= *depth as usize {
                            self.b.ways.resize(*depth as usize + 1, None);
                        }
                        self.b.ways[*depth as usize] = Some(label);
                        ways.push((*depth, label));
                        label
                    }
                }
            };
            self.s.asm.table_entry(label, from);
        }
        for (depth, label) in ways {
            self.b.ways[depth as usize] = None;
            self.s.asm.bind(label);
            self.jump_to(depth);
        }
    }

    /// `return`
    pub(crate) fn return_now(&mut self) {
        let depth = self.b.frames.len() as u32 - 1;
        self.jump_to(depth);
    }
}

//! On-stack replacement: a function that goes on at the head of a loop.
//!
//! The entry block jumps to the *loading* block, which reads the frame's state from the store context
//! and jumps to the loop's header as one more predecessor. The code before the loop starts in a block
//! without predecessors, so that what only it can reach is removed (`resume`), and what an enclosing loop
//! comes back to stays. No call lies between the entry and the last load.
//!
//! A value from before the loop does not dominate the code in and after it. Locals are Cranelift
//! variables anyway. Operands below the loop become variables too, their *homes*: each operand below
//! a block that might enclose the loop gets one when the block is entered, and is read from it when it
//! is next used. Context and result area are parameters of the function; the operands that an `if`
//! keeps for its second arm are used only where its condition dominates.
//!
//! Invariant: homed operands lie in a prefix of the operand stack; only they may have a value in `stack`
//! that is not the current one.

use crate::abi::clif_type;
use crate::emit::{Tier, is_ref};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData, Type, Value};
use smallvec::SmallVec;
use wardian_lower::Emit;
use wardian_module::ValType;
use wardian_module::layout::{Field, LIVE_SLOT, Repr};

/// What a function that replaces a frame is made from.
pub(crate) struct Replacement {
    /// Where the frame goes on.
    pub(crate) target: u32,
    /// The loop that is entered next, if it is one of the function's own body.
    pub(crate) next_loop: Option<u32>,
    /// Types of the function's locals.
    pub(crate) locals: Vec<Type>,
    pub(crate) loading: Option<Block>,
    /// The number of slots that the loading block reads, once it is filled.
    pub(crate) live_slots: Option<u32>,
}

impl Replacement {
    pub(crate) fn new(target: u32) -> Replacement {
        Replacement { target, next_loop: None, locals: Vec::new(), loading: None, live_slots: None }
    }
}

impl Tier<'_> {
    /// Ends the entry block, and begins the code before the loop with the function's parameters and locals.
    pub(crate) fn abandon_start(&mut self, params: &[Value], locals: &[(u32, ValType)]) {
        self.declare_locals(params, locals);
        let entry = self.b.current_block().expect("it was entered");
        let loading = self.b.create_block();
        let start = self.b.create_block();
        self.b.ins().jump(loading, &[]);
        // Where passes expect a way into a loop: before the loop.
        self.b.insert_block_after(loading, entry);
        self.b.seal_block(loading);
        self.b.seal_block(start);
        self.b.switch_to_block(start);
        // The builder takes what is not defined for zero, as locals are.
        for (position, param) in params.iter().enumerate() {
            if self.is_ref_variable(self.locals[position]) {
                self.roots.mark(*param);
            }
            self.b.def_var(self.locals[position], *param);
        }
        let replacement = self.replacement.as_mut().expect("a frame is to be replaced");
        replacement.loading = Some(loading);
    }

    /// Declares the function's locals, which the loading block defines.
    fn declare_locals(&mut self, params: &[Value], locals: &[(u32, ValType)]) {
        let dfg = &self.b.func.dfg;
        let of_params = self.func_type().params().iter().map(|ty| is_ref(*ty));
        let mut types: Vec<(Type, bool)> =
            params.iter().map(|param| dfg.value_type(*param)).zip(of_params).collect();
        for (count, ty) in locals {
            let ty = (clif_type(Repr::of(*ty)), is_ref(*ty));
            types.extend(std::iter::repeat_n(ty, *count as usize));
        }
        for (ty, is_ref) in &types {
            let local = self.take_variable(*ty, *is_ref);
            self.add_local(local);
        }
        let types = types.into_iter().map(|(ty, _)| ty).collect();
        self.replacement.as_mut().expect("a frame is to be replaced").locals = types;
    }

    /// Fills the loading block if the loop just entered, of this header and these parameters, is the
    /// one to go on at. The position is after the jump to the header.
    pub(crate) fn load_state(&mut self, header: Block, height: usize, params: &[(Type, bool)]) {
        let Some(replacement) = &mut self.replacement else { return };
        if replacement.next_loop.take() != Some(replacement.target) {
            return;
        }
        // Nothing that came before is on the new way here.
        self.proven.forget(0);
        self.frames.iter_mut().for_each(|frame| frame.mark = 0);
        let loading = replacement.loading.expect("the function has started");
        let locals = std::mem::take(&mut replacement.locals);
        self.b.switch_to_block(loading);
        let state = self.load_field(Field::LiveState);
        let mut slot = 0;
        let mut load = |tier: &mut Self, ty: Type| {
            let flags = MemFlagsData::new().with_notrap();
            slot += 1;
            // Locals and operands are bounded by the size of the body, of at most 4 MiB, and 50,000.
            tier.b.ins().load(ty, flags, state, ((slot - 1) * LIVE_SLOT) as i32)
        };
        for (local, ty) in locals.iter().enumerate() {
            let value = load(self, *ty);
            self.b.def_var(self.locals[local], value);
        }
        for position in 0..height {
            let ty = self.b.func.dfg.value_type(self.stack[position]);
            let value = load(self, ty);
            let home =
                self.homes[position].expect("operands below a loop to be replaced have homes");
            self.b.def_var(home, value);
        }
        let args: SmallVec<[BlockArg; 4]> =
            params.iter().map(|(ty, _)| BlockArg::Value(load(self, *ty))).collect();
        self.b.ins().jump(header, &args);
        self.branch_work += locals.len() + height + args.len();
        let replacement = self.replacement.as_mut().expect("looked at above");
        replacement.live_slots = Some(slot);
    }

    /// Gives the operands below `height` homes, if the block about to be entered may enclose the loop, or
    /// calls in it may change references among them (`roots`).
    pub(crate) fn home_below(&mut self, height: usize) {
        let mut until = height;
        let all =
            self.replacement.as_ref().is_some_and(|replacement| replacement.live_slots.is_none());
        if !all {
            if !self.roots.has_any() {
                return;
            }
            let first = self.homes.len().min(height);
            let last = self.stack[first..height].iter().rposition(|v| self.roots.holds(*v));
            until = last.map_or(first, |last| first + last + 1);
            self.branch_work += (height - first) / 64;
        }
        for position in self.homes.len()..until {
            let value = self.stack[position];
            let is_ref = self.roots.holds(value);
            // An operand below an enclosing block that got no home when that was entered gets none now: a
            // way that has left the block before would not define it. No call changes what is no reference.
            if !all && !is_ref {
                self.homes.push(None);
                continue;
            }
            let ty = self.b.func.dfg.value_type(value);
            let home = self.take_variable(ty, is_ref);
            self.b.def_var(home, value);
            self.homes.push(Some(home));
            self.branch_work += 1;
        }
    }

    /// Makes the operands from this position on what they are here.
    pub(crate) fn settle(&mut self, from: usize) {
        while self.homes.len() > from {
            let Some(home) = self.homes.pop().expect("there is one past `from`") else { continue };
            let value = self.read_variable(home);
            self.give_variable(home);
            self.stack[self.homes.len()] = value;
        }
    }

    /// Drops the operands above this height.
    pub(crate) fn truncate_stack(&mut self, height: usize) {
        self.stack.truncate(height);
        while self.homes.len() > height {
            if let Some(home) = self.homes.pop().expect("there is one above") {
                self.give_variable(home);
            }
        }
    }
}

//! Exceptions: `try_table`, `throw`, and the first form of the proposal (`try`, `catch`, `delegate`,
//! `rethrow`), which becomes the same.
//!
//! A *scope* is what a `try_table` or `try` puts around calls: handlers, and the scope that exceptions go
//! on to which none of them takes. Tiers are told of a scope when it is entered, and of the scope in force
//! at each call. Handlers are lowered behind the body, as *landings*: a landing takes the exception's
//! values from the store's context (NOTE [exceptions] of `module::layout`) and goes where the clause says.
//!
//! ```text
//!   try_table (catch $t $l) body end        block body br 0
//!                                             landing: push values of $t, br $l
//!                                           end
//!   try body catch $t h end                 block body br 0
//!                                             landing: push values of $t, h, br 0
//!                                           end
//! ```
//!
//! A throw whose handler is known to lie in the same function, bodies that are inlined included, is a
//! branch with the values as operands, or a jump to the landing. All others call the shim.
//!
//! Invariants:
//! - A tag's index says which exceptions a handler takes only for the same index, or where one of the two
//!   tags is the module's own: two imported tags may be the same.
//! - The work for a throw or call is bounded, however deep scopes are nested ([`MAX_SCOPES`]).

use crate::driver::{Failure, Frame, Kind, Lowering};
use crate::emit::*;
use crate::legacy::TryCatch;
use smallvec::SmallVec;
use wardian_module::layout::{Field, Repr};
use wardian_module::{Builtin, FuncType, HeapTop, HeapType, Proposal, RefType, TagIndex, ValType};
use wasmparser::{BlockType, TryTable};

/// Scopes that are searched for the handler of a `throw`.
const MAX_SCOPES: usize = 64;

/// A scope of the function.
pub(crate) struct ScopeData {
    /// Where exceptions go that no clause takes.
    outer: Option<Scope>,
    /// Its clauses, as positions among all of the function.
    clauses: std::ops::Range<usize>,
    /// Whether there is a call that it is in force at.
    used: bool,
}

/// A handler.
#[derive(Clone, Copy)]
pub(crate) struct Clause {
    catch: Catch,
    goal: Goal,
    /// Whether something jumps to its landing.
    used: bool,
}

/// What a landing does with an exception.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Branches to the label of the block at this position among the frames, with the exception as the last
    /// operand or without.
    Label { frame: usize, keep: bool },
    /// Goes on with the clause of a `try`, and keeps the exception in this local, or not at all.
    Here { kept: Option<u32> },
}

/// Where a throw goes.
enum Way {
    /// To a clause of a scope: its position there.
    Clause(Scope, usize),
    /// Out of the function.
    Leave,
    /// Only known when it happens.
    Unknown,
}

impl<E: Emit> Lowering<'_, E> {
    /// The scope in force.
    pub(crate) fn scope(&self) -> Option<Scope> {
        self.scratch.frames.last().and_then(|frame| frame.scope)
    }

    /// The scope in force, at a call.
    pub(crate) fn scope_of_call(&mut self) -> Option<Scope> {
        let scope = self.scope();
        if let Some(Scope(index)) = scope {
            self.scratch.scopes[index as usize].used = true;
        }
        scope
    }

    fn tag_type(&self, tag: TagIndex) -> &FuncType {
        self.module.types[self.module.tags[tag.index()].index()].func_type()
    }

    fn tag_reprs(&self, tag: TagIndex) -> SmallVec<[Repr; 4]> {
        self.tag_type(tag).params().iter().map(|ty| Repr::of(*ty)).collect()
    }

    /// Adds a scope with these clauses and tells the tier.
    fn add_scope(&mut self, clauses: &[Clause], outer: Option<Scope>) -> Scope {
        let first = self.scratch.clauses.len();
        self.scratch.clauses.extend_from_slice(clauses);
        // A function has fewer than 2^30 bytes.
        let scope = Scope(self.scratch.scopes.len() as u32);
        let clauses = first..self.scratch.clauses.len();
        self.scratch.scopes.push(ScopeData { outer, clauses: clauses.clone(), used: false });
        let catches: SmallVec<[Catch; 4]> =
            self.scratch.clauses[clauses].iter().map(|clause| clause.catch).collect();
        self.emit.enter_scope(scope, &catches, outer);
        scope
    }

    // ---- try_table ----

    pub(crate) fn enter_try_table(
        &mut self,
        table: &TryTable,
        location: u32,
    ) -> Result<(), Failure> {
        let around = self.scratch.frames.len();
        let outer = self.scope();
        self.enter(BlockKind::Block, table.ty, location)?;
        let frame = self.scratch.frames.last_mut().expect("just entered");
        frame.kind = Kind::TryTable;
        if !frame.entered || table.catches.is_empty() {
            return Ok(());
        }
        let mut clauses: SmallVec<[Clause; 4]> = SmallVec::new();
        for catch in &table.catches {
            let (catch, label) = match *catch {
                wasmparser::Catch::One { tag, label }
                | wasmparser::Catch::OneRef { tag, label } => (Catch::Tag(TagIndex(tag)), label),
                wasmparser::Catch::All { label } | wasmparser::Catch::AllRef { label } => {
                    (Catch::All, label)
                }
            };
            let keep = matches!(
                table.catches[clauses.len()],
                wasmparser::Catch::OneRef { .. } | wasmparser::Catch::AllRef { .. }
            );
            let goal = Goal::Label { frame: around - 1 - label as usize, keep };
            clauses.push(Clause { catch, goal, used: false });
        }
        let scope = self.add_scope(&clauses, outer);
        let frame = self.scratch.frames.last_mut().expect("just entered");
        (frame.scope, frame.own) = (Some(scope), Some(scope));
        Ok(())
    }

    /// The body of the innermost block, a `try_table`, has ended: its landings.
    pub(crate) fn end_try_table(&mut self, location: u32) {
        let frame = self.scratch.frames.last().expect("the block is open");
        let Some(scope) = frame.own else { return };
        for index in self.leave_scope(scope) {
            self.leave_body(location);
            self.land(scope, index);
        }
    }

    /// Ends a part of the innermost block, another part of which comes behind it.
    fn leave_body(&mut self, location: u32) {
        self.emit.location(location);
        if self.reachable {
            self.branch_to(0);
            self.emit.branch(0);
            self.stop();
        }
    }

    /// Leaves the body that a scope is around; the clauses that something comes to.
    fn leave_scope(&mut self, scope: Scope) -> Vec<usize> {
        let ScopeData { outer, ref clauses, used } = self.scratch.scopes[scope.0 as usize];
        let clauses = &self.scratch.clauses[clauses.clone()];
        let mut landed = Vec::new();
        let mut all = false;
        for (index, clause) in clauses.iter().enumerate() {
            if (used && !all) || clause.used {
                landed.push(index);
            }
            all |= clause.catch == Catch::All;
        }
        if used
            && !all
            && let Some(Scope(outer)) = outer
        {
            self.scratch.scopes[outer as usize].used = true;
        }
        landed
    }

    fn clause(&mut self, scope: Scope, index: usize) -> &mut Clause {
        let first = self.scratch.scopes[scope.0 as usize].clauses.start;
        &mut self.scratch.clauses[first + index]
    }

    /// A landing. Its values are read behind what may collect.
    fn land(&mut self, scope: Scope, index: usize) {
        let Clause { catch, goal, .. } = *self.clause(scope, index);
        self.emit.landing(scope, index);
        let keep = matches!(goal, Goal::Label { keep: true, .. } | Goal::Here { kept: Some(_) });
        let mut exception = keep.then(|| {
            let made = self.builtin(Builtin::ExnNew, 0, 0, []);
            made.expect("it has a result")
        });
        if let Goal::Here { kept: Some(local) } = goal
            && let Some(exception) = exception.take()
        {
            self.emit.push(exception);
            self.emit.local_set(local);
        }
        if let Catch::Tag(tag) = catch {
            self.push_payload(tag);
        }
        if let Goal::Label { frame, .. } = goal {
            if let Some(exception) = exception {
                self.emit.push(exception);
            }
            let depth = (self.scratch.frames.len() - 1 - frame) as u32;
            self.branch_to(depth);
            self.emit.branch(depth);
        }
    }

    // ---- try ----

    /// Finds the tries of the body, and adds locals that keep exceptions.
    pub(crate) fn look_for_tries(&mut self, locals: &mut Vec<(u32, ValType)>) {
        if !self.module.proposals.contains(Proposal::LegacyExceptions) {
            return;
        }
        self.scratch.tries.scan(self.bytes);
        let params = self.module.func_type(self.module.func_index(self.own)).func_type().params();
        let declared: u32 = locals.iter().map(|(count, _)| count).sum();
        self.first_kept = params.len() as u32 + declared;
        if self.scratch.tries.kept > 0 {
            let ty = RefType { nullable: true, heap: HeapType::Exn };
            locals.push((self.scratch.tries.kept, ValType::Ref(ty)));
        }
    }

    pub(crate) fn enter_try(&mut self, ty: BlockType, location: u32) -> Result<(), Failure> {
        let around = self.scratch.frames.len();
        let outer = self.scope();
        self.enter(BlockKind::Block, ty, location)?;
        let entered = self.reachable;
        self.scratch.frames[around].kind = Kind::Try;
        if !entered {
            return Ok(());
        }
        let position = (u64::from(location) - self.start) as usize;
        let Some(found) = self.scratch.tries.found.get(&position).cloned() else { return Ok(()) };
        if let Some(depth) = found.delegate {
            // Exceptions go where those go that are thrown directly in that block. What is wrong with the
            // label is found when `delegate` comes.
            let frame = around.checked_sub(1 + depth as usize).unwrap_or(self.base);
            self.scratch.frames[around].scope = self.scratch.frames[frame].scope;
        } else if !found.catches.is_empty() {
            let clause = |found: &TryCatch| {
                let kept = found.kept.map(|place| self.first_kept + place);
                Clause { catch: found.catch, goal: Goal::Here { kept }, used: false }
            };
            let clauses: SmallVec<[Clause; 4]> = found.catches.iter().map(clause).collect();
            if clauses.iter().any(|clause| !self.is_tag(clause.catch)) {
                // Found when it comes.
                return Ok(());
            }
            let scope = self.add_scope(&clauses, outer);
            let frame = &mut self.scratch.frames[around];
            (frame.scope, frame.own) = (Some(scope), Some(scope));
        }
        Ok(())
    }

    fn is_tag(&self, catch: Catch) -> bool {
        match catch {
            Catch::Tag(tag) => tag.index() < self.module.tags.len(),
            Catch::All => true,
        }
    }

    /// `catch` and `catch_all` of the innermost block.
    pub(crate) fn start_catch(&mut self, location: u32) {
        let around = self.scratch.frames.len() - 1;
        let Frame { kind, entered, own, next_catch, .. } = self.scratch.frames[around];
        let frame = &mut self.scratch.frames[around];
        frame.kind = Kind::Catch;
        frame.next_catch += 1;
        let Some(scope) = own.filter(|_| entered) else {
            self.reachable = false;
            return;
        };
        if kind == Kind::Try {
            frame.scope = self.scratch.scopes[scope.0 as usize].outer;
            self.leave_scope(scope);
        }
        self.leave_body(location);
        let index = next_catch as usize;
        let used = self.scratch.scopes[scope.0 as usize].used;
        if used || self.clause(scope, index).used {
            self.land(scope, index);
            self.reachable = true;
        }
    }

    pub(crate) fn rethrow(&mut self, depth: u32) {
        let position = self.scratch.frames.len() - 1 - depth as usize;
        let frame = self.scratch.frames[position];
        let scope = frame.own.expect("validated: the clause that is open was reached");
        let Goal::Here { kept: Some(local) } =
            self.clause(scope, frame.next_catch as usize - 1).goal
        else {
            unreachable!("the look ahead found the `rethrow`")
        };
        self.emit.local_get(local);
        let exception = self.emit.pop();
        self.throw_ref(exception);
    }

    /// `throw_ref`
    pub(crate) fn throw_ref(&mut self, exception: E::Value) {
        let exception = self.check_non_null(HeapTop::Exn, exception);
        let tag = self.builtin(Builtin::ExnThrow, 0, 0, [exception]).expect("it has a result");
        let scope = self.scope_of_call();
        self.emit.throw(tag, scope);
        self.stop();
    }

    fn push_payload(&mut self, tag: TagIndex) {
        for (index, repr) in self.tag_reprs(tag).into_iter().enumerate() {
            let value = self.emit.load_payload(index as u32, repr);
            self.emit.push(value);
        }
    }

    /// Pops the values of an exception.
    fn pop_payload(&mut self, tag: TagIndex) {
        for (index, repr) in self.tag_reprs(tag).into_iter().enumerate().rev() {
            let value = self.emit.pop();
            self.emit.store_payload(index as u32, repr, value);
        }
    }

    // ---- throw ----

    pub(crate) fn throw(&mut self, tag: TagIndex) {
        match self.way_of(tag) {
            Way::Clause(scope, index) => {
                let Clause { catch, goal, .. } = *self.clause(scope, index);
                match goal {
                    Goal::Label { frame, keep: false } => {
                        if catch == Catch::All {
                            let values = self.tag_type(tag).params().len();
                            (0..values).for_each(|_| self.emit.drop_top());
                        }
                        let depth = (self.scratch.frames.len() - 1 - frame) as u32;
                        self.branch_to(depth);
                        self.emit.branch(depth);
                    }
                    Goal::Label { .. } | Goal::Here { .. } => {
                        self.clause(scope, index).used = true;
                        self.pop_payload(tag);
                        let tag = self.emit.load_field(Field::TagId(tag));
                        self.emit.store_field(Field::ThrownTag, tag);
                        self.emit.jump_to_landing(scope, index);
                    }
                }
            }
            Way::Leave => self.throw_through(tag, None),
            Way::Unknown => {
                let scope = self.scope_of_call();
                self.throw_through(tag, scope);
            }
        }
        self.stop();
    }

    /// Throws by the shim, with a scope in force.
    fn throw_through(&mut self, tag: TagIndex, scope: Option<Scope>) {
        self.pop_payload(tag);
        let tag = self.emit.load_field(Field::TagId(tag));
        self.emit.throw(tag, scope);
    }

    /// Where an exception of this tag goes.
    fn way_of(&self, tag: TagIndex) -> Way {
        let imported = |tag: TagIndex| tag.index() < self.module.imported_tags;
        let mut next = self.scope();
        for _ in 0..MAX_SCOPES {
            let Some(scope) = next else { return Way::Leave };
            let ScopeData { outer, ref clauses, .. } = self.scratch.scopes[scope.0 as usize];
            for (index, clause) in self.scratch.clauses[clauses.clone()].iter().enumerate() {
                match clause.catch {
                    Catch::All => return Way::Clause(scope, index),
                    Catch::Tag(own) if own == tag => return Way::Clause(scope, index),
                    Catch::Tag(own) if imported(own) && imported(tag) => return Way::Unknown,
                    Catch::Tag(_) => {}
                }
            }
            next = outer;
        }
        Way::Unknown
    }
}

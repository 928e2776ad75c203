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

use crate::driver::{Failure, Kind, Lowering};
use crate::emit::*;
use smallvec::SmallVec;
use wardian_module::layout::{Field, Repr};
use wardian_module::{DecodeError, FuncType, TagIndex};
use wasmparser::TryTable;

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
    /// Branches to the label of the block at this position among the frames.
    Label(usize),
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
                wasmparser::Catch::One { tag, label } => (Catch::Tag(TagIndex(tag)), label),
                wasmparser::Catch::All { label } => (Catch::All, label),
                wasmparser::Catch::OneRef { .. } | wasmparser::Catch::AllRef { .. } => {
                    return Err(unsupported(
                        "try_table with a clause that keeps the exception",
                        location,
                    ));
                }
            };
            let goal = Goal::Label(around - 1 - label as usize);
            clauses.push(Clause { catch, goal, used: false });
        }
        let scope = self.add_scope(&clauses, outer);
        self.scratch.frames.last_mut().expect("just entered").scope = Some(scope);
        Ok(())
    }

    /// The body of the innermost block, a `try_table`, has ended: its landings.
    pub(crate) fn end_try_table(&mut self, location: u32) {
        let around = self.scratch.frames.len() - 1;
        let inside = self.scratch.frames[around].scope;
        let outer = self.scratch.frames[around - 1].scope;
        let Some(scope) = inside.filter(|_| inside != outer) else { return };
        for (index, clause) in self.leave_scope(scope, location) {
            self.emit.landing(scope, index);
            self.land(clause);
        }
    }

    /// Leaves the body that a scope is around; the clauses to be landed at, with their positions. If there
    /// are any, nothing is reachable behind the body any more but the end of the block.
    fn leave_scope(&mut self, scope: Scope, location: u32) -> Vec<(usize, Clause)> {
        let ScopeData { outer, ref clauses, used } = self.scratch.scopes[scope.0 as usize];
        let clauses = &self.scratch.clauses[clauses.clone()];
        let mut landed: Vec<(usize, Clause)> = Vec::new();
        let mut all = false;
        for (index, clause) in clauses.iter().enumerate() {
            if (used && !all) || clause.used {
                landed.push((index, *clause));
            }
            all |= clause.catch == Catch::All;
        }
        if used
            && !all
            && let Some(Scope(outer)) = outer
        {
            self.scratch.scopes[outer as usize].used = true;
        }
        if !landed.is_empty() {
            self.emit.location(location);
            if self.reachable {
                self.branch_to(0);
                self.emit.branch(0);
                self.stop();
            }
        }
        landed
    }

    /// What a landing does, at its start.
    fn land(&mut self, clause: Clause) {
        if let Catch::Tag(tag) = clause.catch {
            self.push_payload(tag);
        }
        let Goal::Label(position) = clause.goal;
        let depth = (self.scratch.frames.len() - 1 - position) as u32;
        self.branch_to(depth);
        self.emit.branch(depth);
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
                let position = self.scratch.scopes[scope.0 as usize].clauses.start + index;
                let Clause { catch, goal, .. } = self.scratch.clauses[position];
                let Goal::Label(label) = goal;
                if catch == Catch::All {
                    (0..self.tag_type(tag).params().len()).for_each(|_| self.emit.drop_top());
                }
                let depth = (self.scratch.frames.len() - 1 - label) as u32;
                self.branch_to(depth);
                self.emit.branch(depth);
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

fn unsupported(what: &str, location: u32) -> Failure {
    let message = format!("{what} is not supported by this version");
    DecodeError { message, offset: location as usize, func: None, missing: None }.into()
}

//! Exceptions: scopes of handlers, the calls in them, landings.
//!
//! Invariants:
//! - [frame only] Between two instructions nothing is in a register in a function that has handlers but
//!   what the frame holds too: no local is pinned, and operands below a block are settled. The function
//!   saves all callee-saved registers, since a handler finds none of them as its caller left them.
//! - A scope's handlers lie in one list, behind those of the scopes around it, to which it leads on.

use crate::asm::*;
use crate::emit::{Moves, Tier};
use crate::state::*;
use smallvec::SmallVec;
use wardian_lower::{Catch, Scope};
use wardian_module::image::{Handler, TryCall};
use wardian_module::layout::{Field, PAYLOAD_SLOT, Repr};

/// The scopes of a function, and the calls in them.
#[derive(Default)]
pub(crate) struct Scopes {
    /// For each scope, the position of its first handler.
    firsts: Vec<u32>,
    /// For each handler, its tag and its place.
    handlers: Vec<(u32, Place)>,
    /// Return addresses of calls, with the position of their first handler.
    calls: Vec<(u32, u32)>,
}

enum Place {
    Landing(Label),
    /// Of an outer scope: its first handler.
    Outer(u32),
    End,
}

impl Scopes {
    pub(crate) fn clear(&mut self) {
        self.firsts.clear();
        self.handlers.clear();
        self.calls.clear();
    }
}

impl Tier<'_> {
    pub(crate) fn add_scope(&mut self, scope: Scope, catches: &[Catch], outer: Option<Scope>) {
        if !self.uses.handlers {
            self.s.fail("the first look missed a handler");
        }
        debug_assert_eq!(self.b.scopes.firsts.len(), scope.0 as usize, "scopes come in order");
        let scopes = &mut self.b.scopes;
        scopes.firsts.push(scopes.handlers.len() as u32);
        for catch in catches {
            let label = Place::Landing(self.s.asm.label());
            let tag = match catch {
                Catch::Tag(tag) => tag.0,
                Catch::All => Handler::ALL,
            };
            scopes.handlers.push((tag, label));
        }
        let rest = match outer {
            Some(outer) => (Handler::OUTER, Place::Outer(scopes.firsts[outer.0 as usize])),
            None => (Handler::END, Place::End),
        };
        scopes.handlers.push(rest);
    }

    /// The call just emitted lies in this scope.
    pub(crate) fn called_in(&mut self, scope: Option<Scope>) {
        if let Some(scope) = scope {
            let first = self.b.scopes.firsts[scope.0 as usize];
            self.b.scopes.calls.push((self.s.asm.here(), first));
        }
    }

    fn landing_label(&self, scope: Scope, catch: usize) -> Label {
        let position = self.b.scopes.firsts[scope.0 as usize] as usize + catch;
        match self.b.scopes.handlers[position] {
            (_, Place::Landing(label)) => label,
            _ => unreachable!("a scope's list begins with its handlers"),
        }
    }

    /// Starts a landing.
    pub(crate) fn land(&mut self, scope: Scope, catch: usize) {
        let label = self.landing_label(scope, catch);
        self.start_landing(label);
    }

    /// Jumps to a landing, which takes nothing from registers.
    pub(crate) fn go_to_landing(&mut self, scope: Scope, catch: usize) {
        let label = self.landing_label(scope, catch);
        self.s.asm.jmp(label);
    }

    /// Throws by the shim.
    pub(crate) fn throw_in(&mut self, tag: Value, scope: Option<Scope>) {
        let mut moves: Moves = SmallVec::new();
        moves.push((Loc::Local(CONTEXT), Repr::Pointer, RDI));
        moves.push((tag.loc(), Repr::I32, RSI));
        self.parallel_move(&moves);
        self.mark();
        let shim = self.path(Field::ThrowShim).offset;
        let places = self.places(self.s.stack.len());
        ins!(self.s.asm, callq_m, in_module_table(shim));
        self.note_places(places);
        self.called_in(scope);
        self.s.asm.undefined();
        self.s.release(tag);
    }

    pub(crate) fn put_payload(&mut self, index: u32, repr: Repr, mut value: Value) {
        let mut base = self.payload();
        let reg = self.s.reg_of(&mut value);
        // A function type has at most 1,000 parameters.
        let place = at(self.s.reg_of(&mut base), (index * PAYLOAD_SLOT) as i32);
        self.s.store(place, reg, repr);
        self.s.release(base);
        self.s.release(value);
    }

    pub(crate) fn take_payload(&mut self, index: u32, repr: Repr) -> Value {
        let mut base = self.payload();
        let place = at(self.s.reg_of(&mut base), (index * PAYLOAD_SLOT) as i32);
        self.s.release(base);
        let reg = self.s.alloc(bank(repr));
        self.s.load(reg, place, repr);
        Value::new(Loc::Reg(reg), repr)
    }

    /// Makes the table of a function whose frame has this many bytes below `rbp`. Labels are bound.
    pub(crate) fn finish_exceptions(&mut self, frame: u32) {
        if self.b.scopes.calls.is_empty() {
            return;
        }
        let context = self.s.locals[CONTEXT as usize].disp;
        let calls = self.b.scopes.calls.iter();
        self.b.exceptions.calls.extend(calls.map(|&(offset, first)| TryCall {
            offset,
            context,
            frame,
            first,
        }));
        for (tag, place) in &self.b.scopes.handlers {
            self.b.exceptions.handlers.push(match place {
                Place::Outer(target) => Handler { tag: *tag, target: *target },
                Place::End => Handler::LAST,
                Place::Landing(label) => match self.s.asm.position(*label) {
                    Some(target) => Handler { tag: *tag, target },
                    // Nothing in reach comes to it: all is taken before.
                    None => Handler { tag: Handler::END, target: 0 },
                },
            });
        }
    }
}

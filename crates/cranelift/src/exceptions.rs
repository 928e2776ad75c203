//! Exceptions as `try_call` instructions: calls with edges to the handlers that are around them.
//!
//! A landing is a block that the first call with an edge to it asks for. It has no parameters: what it
//! takes lies in the store's context. Nothing is in a register on such an edge, as far as the register
//! allocator knows, and the frame holds the function's context for whoever looks for handlers.
//!
//! Invariant: a list of handlers names each tag once, and ends with what takes all.

use crate::emit::{Tier, trap_code};
use crate::finish::handler_tag;
use cranelift_codegen::ir::{
    self, Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, InstBuilder, SigRef,
    Value,
};
use smallvec::SmallVec;
use wardian_lower::{Catch, Emit, Scope};
use wardian_module::Trap;
use wardian_module::layout::Field;

/// A scope of handlers.
pub(crate) struct ScopeData {
    /// What each takes, and its block, once it is asked for.
    catches: SmallVec<[(Catch, Option<Block>); 2]>,
    /// Calls that lead to each, as positions in `Tier::saved_calls`.
    calls: SmallVec<[Vec<u32>; 2]>,
    /// Where jumps to each go: behind what calls make necessary.
    entries: SmallVec<[Option<Block>; 2]>,
    outer: Option<Scope>,
}

impl Tier<'_> {
    pub(crate) fn add_scope(&mut self, scope: Scope, catches: &[Catch], outer: Option<Scope>) {
        assert_eq!(
            self.scopes.len(),
            scope.0 as usize,
            "scopes come in the order of their numbers"
        );
        let calls = catches.iter().map(|_| Vec::new()).collect();
        let entries = catches.iter().map(|_| None).collect();
        let catches = catches.iter().map(|catch| (*catch, None)).collect();
        self.scopes.push(ScopeData { catches, calls, entries, outer });
    }

    /// The block of a landing.
    fn landing_block(&mut self, scope: Scope, catch: usize) -> Block {
        let place = &mut self.scopes[scope.0 as usize].catches[catch].1;
        *place.get_or_insert_with(|| self.b.create_block())
    }

    /// Starts a landing.
    pub(crate) fn land(&mut self, scope: Scope, catch: usize) {
        let block = self.landing_block(scope, catch);
        let frame = self.frames.last().expect("a scope lies in a block");
        let (height, mark) = (frame.height(), frame.mark);
        self.proven.forget(mark);
        self.truncate_stack(height);
        // Every call in the scope came before.
        self.b.seal_block(block);
        self.b.switch_to_block(block);
        let calls = std::mem::take(&mut self.scopes[scope.0 as usize].calls[catch]);
        self.reload_landed(&calls);
        if let Some(entry) = self.scopes[scope.0 as usize].entries[catch] {
            self.b.ins().jump(entry, &[]);
            self.b.seal_block(entry);
            self.b.switch_to_block(entry);
        }
    }

    /// Jumps to a landing.
    pub(crate) fn go_to_landing(&mut self, scope: Scope, catch: usize) {
        let place = &mut self.scopes[scope.0 as usize].entries[catch];
        let entry = *place.get_or_insert_with(|| self.b.create_block());
        self.b.ins().jump(entry, &[]);
    }

    /// The handlers of a call in this scope.
    fn handlers(&mut self, scope: Option<Scope>) -> Vec<ExceptionTableItem> {
        let mut items = Vec::new();
        let mut known: SmallVec<[Catch; 8]> = SmallVec::new();
        let mut next = scope;
        while let Some(scope) = next
            && known.last() != Some(&Catch::All)
        {
            next = self.scopes[scope.0 as usize].outer;
            self.branch_work += 1;
            for index in 0..self.scopes[scope.0 as usize].catches.len() {
                let catch = self.scopes[scope.0 as usize].catches[index].0;
                self.branch_work += 1 + known.len();
                if known.contains(&catch) {
                    continue;
                }
                known.push(catch);
                let block = self.landing_block(scope, index);
                let next_call = self.saved_calls.len() as u32;
                self.scopes[scope.0 as usize].calls[index].push(next_call);
                let call = BlockCall::new(block, [], &mut self.b.func.dfg.value_lists);
                items.push(match catch {
                    Catch::Tag(tag) => ExceptionTableItem::Tag(handler_tag(tag), call),
                    Catch::All => ExceptionTableItem::Default(call),
                });
                if catch == Catch::All {
                    break;
                }
            }
            if self.gave_up() {
                break;
            }
        }
        if !items.is_empty() {
            items.insert(0, ExceptionTableItem::Context(self.context()));
        }
        items
    }

    /// Calls a function, or a code address, and goes on behind the call; the results in registers. The
    /// operand stack up to `height` is needed afterwards.
    pub(crate) fn call_in(
        &mut self,
        scope: Option<Scope>,
        func: Option<ir::FuncRef>,
        code: Option<Value>,
        signature: SigRef,
        args: &[Value],
        height: usize,
    ) -> SmallVec<[Value; 4]> {
        self.calls = true;
        let saved = self.save_roots(height);
        let handlers = self.handlers(scope);
        if handlers.is_empty() {
            let call = match (func, code) {
                (Some(func), _) => self.b.ins().call(func, args),
                (None, Some(code)) => self.b.ins().call_indirect(signature, code, args),
                (None, None) => unreachable!("a callee is a function or an address"),
            };
            self.reload_roots(call, &saved);
            return SmallVec::from_slice(self.b.inst_results(call));
        }
        let next = self.b.create_block();
        let returns = self.b.func.dfg.signatures[signature].returns.clone();
        let mut results: SmallVec<[BlockArg; 4]> = SmallVec::new();
        for (index, param) in (0..).zip(&returns) {
            self.b.append_block_param(next, param.value_type);
            results.push(BlockArg::TryCallRet(index));
        }
        let normal = BlockCall::new(next, results, &mut self.b.func.dfg.value_lists);
        let table = ExceptionTableData::new(signature, normal, handlers);
        let table = self.b.func.dfg.exception_tables.push(table);
        let call = match (func, code) {
            (Some(func), _) => self.b.ins().try_call(func, args, table),
            (None, Some(code)) => self.b.ins().try_call_indirect(code, args, table),
            (None, None) => unreachable!("a callee is a function or an address"),
        };
        self.b.seal_block(next);
        self.b.switch_to_block(next);
        self.reload_roots(call, &saved);
        self.saved_calls.push((call, saved));
        SmallVec::from_slice(self.b.block_params(next))
    }

    /// Throws by the shim, and ends the block.
    pub(crate) fn throw_in(&mut self, tag: Value, scope: Option<Scope>) {
        let shim = self.load_field(Field::ThrowShim);
        let signature = self.throw_signature();
        let args = [self.context(), tag];
        self.call_in(scope, None, Some(shim), signature, &args, self.stack.len());
        // The shim does not come back; if it did, this stops the function.
        self.b.ins().trap(trap_code(Trap::UnreachableCodeReached));
    }
}

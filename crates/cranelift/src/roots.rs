//! Where the collector finds references while code calls: they are written to a slot of the frame before
//! the call, and read again behind it, since what they refer to may have moved.
//!
//! A *home* is what holds a reference: a local (or another variable), or a place of the operand stack.
//! While the intermediate form is built, every home that has a reference at a safepoint is saved and read
//! again there, whether the reference is needed later or not. [`prune`] then finds out which are:
//! reading again is needed if what was read is, and saving if reading is. The rest goes, with the block
//! parameters that only it used. So no liveness is computed before code exists, and inlining, loops and
//! replacement need no rules of their own.
//!
//! A landing reads all that the calls that lead to it have saved: it needs what each of them did.
//!
//! Invariant \[renamed\]: behind a safepoint no value is used that was a reference before it. Operands below
//! a block are variables (`replace`), so that each way through the block has its own.
//!
//! Invariant: each home has its own place in the slot, and only safepoints write there; so a value read
//! from its place and not renamed since still lies there.

use crate::abi::POINTER;
use crate::emit::Tier;
use cranelift_codegen::entity::{EntitySet, SecondaryMap};
use cranelift_codegen::ir::{
    Block, BlockArg, Function, Inst, InstBuilder, MemFlagsData, StackSlot, StackSlotData,
    StackSlotKind, UserStackMapEntry, Value, ValueDef, types,
};
use cranelift_frontend::Variable;
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};
use wardian_lower::Emit;

/// What holds a reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Home {
    Variable(u32),
    Operand(usize),
}

/// A home at a safepoint, saved.
#[derive(Clone, Copy)]
pub(crate) struct Saved {
    pub(crate) home: Home,
    offset: u32,
    value: Value,
    store: Inst,
}

/// A reference that is saved before a call and read again behind it.
struct Root {
    call: Inst,
    offset: u32,
    /// What is saved.
    value: Value,
    store: Inst,
    /// Where it is read again.
    load: Inst,
}

/// What is known of references in a function.
#[derive(Default)]
pub(crate) struct Roots {
    /// Values that are references.
    values: EntitySet<Value>,
    /// Whether there are any.
    any: bool,
    slot: Option<StackSlot>,
    /// Where in the slot each home has its place.
    places: HashMap<Home, u32>,
    roots: Vec<Root>,
}

impl Roots {
    pub(crate) fn mark(&mut self, value: Value) {
        self.values.insert(value);
        self.any = true;
    }

    pub(crate) fn holds(&self, value: Value) -> bool {
        self.values.contains(value)
    }

    pub(crate) fn has_any(&self) -> bool {
        self.any
    }
}

impl Tier<'_> {
    /// The value of a variable here.
    pub(crate) fn read_variable(&mut self, variable: Variable) -> Value {
        let value = self.b.use_var(variable);
        if self.is_ref_variable(variable) {
            self.roots.mark(value);
        }
        value
    }

    /// Whether a call here may have something to save.
    pub(crate) fn may_have_roots(&self) -> bool {
        self.roots.has_any() || !self.ref_locals.is_empty()
    }

    /// Saves what holds references, of the operand stack up to `height`.
    pub(crate) fn save_roots(&mut self, height: usize) -> SmallVec<[Saved; 8]> {
        let mut saved = SmallVec::new();
        // Locals are saved even if all are null yet: a landing reads them, whichever call leads there.
        if !self.may_have_roots() {
            return saved;
        }
        for position in 0..self.ref_locals.len() {
            let variable = self.ref_locals[position];
            let value = self.read_variable(variable);
            self.save_root(Home::Variable(variable.as_u32()), value, &mut saved);
        }
        for position in 0..height.min(self.homes.len()) {
            let home = self.homes[position];
            if let Some(variable) = home.filter(|home| self.is_ref_variable(*home)) {
                let value = self.read_variable(variable);
                self.save_root(Home::Variable(variable.as_u32()), value, &mut saved);
            }
        }
        for position in self.homes.len()..height {
            let value = self.stack[position];
            if self.roots.holds(value) {
                self.save_root(Home::Operand(position), value, &mut saved);
            }
        }
        self.branch_work += saved.len();
        saved
    }

    fn save_root(&mut self, home: Home, value: Value, saved: &mut SmallVec<[Saved; 8]>) {
        let next = self.roots.places.len() as u32 * 4;
        let offset = *self.roots.places.entry(home).or_insert(next);
        let slot = *self.roots.slot.get_or_insert_with(|| {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 0, 3);
            self.b.create_sized_stack_slot(data)
        });
        let data = &mut self.b.func.sized_stack_slots[slot];
        data.size = data.size.max(offset + 4);
        let address = self.b.ins().stack_addr(POINTER, slot, offset as i32);
        let store = self.b.ins().store(MemFlagsData::trusted(), value, address, 0);
        saved.push(Saved { home, offset, value, store });
    }

    /// Reads a saved reference again, behind the call that it was saved for.
    pub(crate) fn reload_root(&mut self, call: Inst, saved: &Saved) -> Value {
        let slot = self.roots.slot.expect("something was saved there");
        let Saved { offset, value, store, .. } = *saved;
        let again = self.load_root(slot, offset);
        let load = self.b.func.dfg.value_def(again).unwrap_inst();
        self.roots.roots.push(Root { call, offset, value, store, load });
        again
    }

    fn load_root(&mut self, slot: StackSlot, offset: u32) -> Value {
        let address = self.b.ins().stack_addr(POINTER, slot, offset as i32);
        let value = self.b.ins().load(types::I32, MemFlagsData::trusted(), address, 0);
        self.roots.mark(value);
        value
    }

    /// At the start of a landing to which these calls lead: variables are read again. Each call saved
    /// them.
    pub(crate) fn reload_landed(&mut self, calls: &[u32]) {
        let Some(slot) = self.roots.slot else { return };
        let homed = self.homes.iter().copied().flatten();
        let variables: Vec<Variable> = self
            .ref_locals
            .iter()
            .copied()
            .chain(homed.filter(|home| self.is_ref_variable(*home)))
            .collect();
        self.branch_work += variables.len() * calls.len();
        if calls.is_empty() || self.gave_up() {
            return;
        }
        let saved_calls = std::mem::take(&mut self.saved_calls);
        for variable in variables {
            let home = Home::Variable(variable.as_u32());
            let Some(offset) = self.roots.places.get(&home).copied() else { continue };
            let value = self.load_root(slot, offset);
            let load = self.b.func.dfg.value_def(value).unwrap_inst();
            for position in calls {
                let (call, saved) = &saved_calls[*position as usize];
                if let Some(saved) = saved.iter().find(|saved| saved.home == home) {
                    let Saved { offset, value, store, .. } = *saved;
                    self.roots.roots.push(Root { call: *call, offset, value, store, load });
                }
            }
            self.b.def_var(variable, value);
        }
        self.saved_calls = saved_calls;
    }

    /// Behind a call: what was saved is read again and takes the place of what was there.
    pub(crate) fn reload_roots(&mut self, call: Inst, saved: &[Saved]) {
        for root in saved {
            let value = self.reload_root(call, root);
            match root.home {
                Home::Variable(variable) => self.b.def_var(Variable::from_u32(variable), value),
                Home::Operand(position) => self.stack[position] = value,
            }
        }
    }

    /// Leaves a cold block in which there was a safepoint for `next`, which the position was left for with
    /// the references as they were: the operands' come as parameters of `next`.
    pub(crate) fn reload_into(&mut self, call: Inst, saved: &[Saved], args: &mut Vec<BlockArg>) {
        for root in saved {
            let value = self.reload_root(call, root);
            match root.home {
                Home::Variable(variable) => self.b.def_var(Variable::from_u32(variable), value),
                Home::Operand(_) => args.push(BlockArg::Value(value)),
            }
        }
    }

    /// The operands among the saved, as they were: what comes to `next` by the other way.
    pub(crate) fn kept(saved: &[Saved]) -> impl Iterator<Item = BlockArg> + '_ {
        saved.iter().filter_map(|root| match root.home {
            Home::Operand(_) => Some(BlockArg::Value(root.value)),
            Home::Variable(_) => None,
        })
    }

    /// At the start of `next`: its parameters for the saved operands take their place.
    pub(crate) fn join_operands(&mut self, next: Block, saved: &[Saved]) {
        for root in saved {
            if let Home::Operand(position) = root.home {
                let value = self.b.append_block_param(next, types::I32);
                self.roots.mark(value);
                self.stack[position] = value;
            }
        }
    }
}

/// Drops what `save_roots` and `reload_root` made in vain, and tells the code generator where references
/// are at each call. Before anything else looks at the function.
pub(crate) fn prune(func: &mut Function, roots: Roots) {
    let Roots { roots, slot, .. } = roots;
    let Some(slot) = slot else { return };
    let mut is_store = EntitySet::new();
    let mut of_load: SecondaryMap<Value, SmallVec<[u32; 1]>> = SecondaryMap::new();
    for (position, root) in (0..).zip(&roots) {
        is_store.insert(root.store);
        of_load[func.dfg.inst_results(root.load)[0]].push(position);
    }
    let needed = find_needed(func, &roots, &is_store, &of_load);
    drop_parameters(func, &needed);
    let mut kept_stores = EntitySet::new();
    let mut told: HashSet<(Inst, u32)> = HashSet::new();
    for root in &roots {
        if !needed.contains(func.dfg.inst_results(root.load)[0]) {
            if func.layout.inst_block(root.load).is_some() {
                func.layout.remove_inst(root.load);
            }
            continue;
        }
        if told.insert((root.call, root.offset)) {
            let entry = UserStackMapEntry { ty: types::I32, slot, offset: root.offset };
            func.dfg.append_user_stack_map_entry(root.call, entry);
        }
        // What was read from this very place lies there still.
        let value = func.dfg.resolve_aliases(root.value);
        let loaded = of_load[value].first().map(|load| roots[*load as usize].offset);
        let is_there = loaded == Some(root.offset);
        if !is_there {
            kept_stores.insert(root.store);
        }
    }
    for root in &roots {
        if !kept_stores.contains(root.store) && func.layout.inst_block(root.store).is_some() {
            func.layout.remove_inst(root.store);
        }
    }
}

/// Values that something needs.
fn find_needed(
    func: &Function,
    roots: &[Root],
    is_store: &EntitySet<Inst>,
    of_load: &SecondaryMap<Value, SmallVec<[u32; 1]>>,
) -> EntitySet<Value> {
    let mut needed = EntitySet::with_capacity(func.dfg.num_values());
    let mut open: Vec<Value> = Vec::new();
    // Arguments of branches, by block.
    let mut ways: SecondaryMap<Block, SmallVec<[(Inst, u32); 2]>> = SecondaryMap::new();
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            if is_store.contains(inst) {
                continue;
            }
            open.extend_from_slice(func.dfg.inst_args(inst));
            let calls = func.dfg.insts[inst]
                .branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables);
            for (position, call) in (0..).zip(calls) {
                if call.len(&func.dfg.value_lists) > 0 {
                    ways[call.block(&func.dfg.value_lists)].push((inst, position));
                }
            }
        }
    }
    while let Some(value) = open.pop() {
        let value = func.dfg.resolve_aliases(value);
        if !needed.insert(value) {
            continue;
        }
        open.extend(of_load[value].iter().map(|root| roots[*root as usize].value));
        if let ValueDef::Param(block, position) = func.dfg.value_def(value) {
            for (inst, call) in &ways[block] {
                let calls = func.dfg.insts[*inst]
                    .branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables);
                let arg = calls[*call as usize].args(&func.dfg.value_lists).nth(position);
                open.extend(arg.and_then(|arg| arg.as_value()));
            }
        }
    }
    needed
}

/// Removes block parameters that nothing needs, and what is passed to them.
fn drop_parameters(func: &mut Function, needed: &EntitySet<Value>) {
    let entry = func.layout.entry_block();
    let mut dropped: SecondaryMap<Block, SmallVec<[u32; 4]>> = SecondaryMap::new();
    let blocks: Vec<Block> = func.layout.blocks().filter(|block| Some(*block) != entry).collect();
    for block in &blocks {
        let params = func.dfg.block_params(*block);
        let unused = (0..).zip(params).filter(|(_, param)| !needed.contains(**param));
        let unused: SmallVec<[(u32, Value); 4]> = unused.map(|(n, param)| (n, *param)).collect();
        for (position, param) in unused.into_iter().rev() {
            dropped[*block].push(position);
            func.dfg.remove_block_param(param);
        }
    }
    for block in entry.into_iter().chain(blocks) {
        let Some(last) = func.layout.last_inst(block) else { continue };
        let dfg = &mut func.dfg;
        let calls =
            dfg.insts[last].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
        for call in calls {
            let target = call.block(&dfg.value_lists);
            // From the last to the first, so that positions stay right.
            for position in &dropped[target] {
                call.remove(*position as usize, &mut dfg.value_lists);
            }
        }
    }
}

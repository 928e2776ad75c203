//! Checks every access to memory: where it may go, and that its index was proven.

use crate::flow::{RSP, State, Walker, number};
use crate::graph::Graph;
use crate::proof::{Place, Prover, may_fault};
use crate::value::*;
use crate::{Accepted, Failed, Input};
use iced_x86::{Instruction, InstructionInfoFactory, InstructionInfoOptions, OpAccess, OpKind};
use iced_x86::{Mnemonic, Register};
use wardian_module::Trap;
use wardian_module::image::Location;
use wardian_module::layout::{FuncRefField, HEAP_GUARD, LIVE_SLOT};

/// An access that an instruction makes.
pub(crate) struct Access {
    pub(crate) instruction: Instruction,
    pub(crate) block: u32,
    address: Id,
    size: i64,
    writes: bool,
    /// Where the stack pointer is.
    sp: Id,
    /// Which call was the last.
    calls: Id,
}

/// Addresses that differ by the way, for one access. More are not looked at.
const MANY: usize = 64;

/// The access of an instruction, if it makes one.
pub(crate) fn access(
    walker: &mut Walker<'_>,
    info: &mut InstructionInfoFactory,
    instruction: &Instruction,
    state: &State,
    block: u32,
) -> Result<Option<Access>, String> {
    let operand = (0..instruction.op_count()).find(|n| instruction.op_kind(*n) == OpKind::Memory);
    let Some(operand) = operand else { return Ok(None) };
    let info = info.info_options(instruction, InstructionInfoOptions::NO_REGISTER_USAGE);
    let access = info.op_access(operand);
    if matches!(access, OpAccess::None | OpAccess::NoMemAccess) {
        return Ok(None);
    }
    if !matches!(instruction.memory_segment(), Register::DS | Register::SS) {
        return Err("a segment".into());
    }
    let one_index = number(instruction.memory_index()).is_some()
        || instruction.memory_index() == Register::None;
    if !one_index {
        return Err("a vector of indices".into());
    }
    Ok(Some(Access {
        instruction: *instruction,
        block,
        address: walker.address(instruction, state),
        size: instruction.memory_size().size() as i64,
        writes: !matches!(access, OpAccess::Read | OpAccess::CondRead),
        sp: state.vars[RSP],
        calls: state.vars[CALLS as usize],
    }))
}

pub(crate) struct Checker<'a> {
    pub(crate) input: &'a Input<'a>,
    pub(crate) graph: &'a Graph,
    pub(crate) prover: Prover<'a>,
    pub(crate) accepted: Accepted,
}

impl Checker<'_> {
    /// Checks an access.
    pub(crate) fn check(&mut self, access: &Access) -> Result<(), Failed> {
        let place = Place::within(access.block);
        self.at(access, access.address, Some(access.calls), place, &mut Vec::new())
    }

    /// Checks an access as one to this address, made from this place. `calls` is the last call there, if
    /// none comes between there and the access. `seen` are the addresses that differ by the way and were
    /// met before, with that; a way that comes back to one has nothing more to show.
    fn at(
        &mut self,
        access: &Access,
        address: Id,
        calls: Option<Id>,
        place: Place,
        seen: &mut Vec<(Id, bool)>,
    ) -> Result<(), Failed> {
        let Access { size, writes, .. } = *access;
        let (core, add) = self.prover.values.split(address);
        let at = add as i64;
        let inside = |length: i64| at >= 0 && at + size <= length;
        let (root, index) = match self.prover.values.node(core) {
            Node::Add(pointer, index) => (self.prover.values.node(pointer), Some(index)),
            node => (node, None),
        };
        let whole = |prover: &mut Prover<'_>| match index {
            Some(index) => prover.values.sum(index, add),
            None => prover.values.constant(add),
        };
        match (root, index) {
            (Node::Frame, _) => self.frame(access, index, at),
            (Node::Context, None) => Ok(self.prover.fields.access((None, at), size, writes)?),
            (Node::Pointer(through), None) => {
                Ok(self.prover.fields.access((Some(through), at), size, writes)?)
            }
            (Node::ModuleTable, None) => Ok(self.prover.fields.module_table(at, size, writes)?),
            (Node::Live, None) if inside(i64::from(self.input.live_slots * LIVE_SLOT)) => Ok(()),
            (Node::Payload, None) if inside(self.prover.fields.payload_bytes()) => Ok(()),
            (Node::Epoch, None) if !writes && inside(8) => Ok(()),
            (Node::Area, None) if inside(self.input.own.area_bytes.into()) => Ok(()),
            (Node::Code, None) if !writes && inside(self.input.code.bytes.len() as i64) => Ok(()),
            (Node::Code, Some(index)) if !writes => self.in_code(access, index, add, place),
            (Node::Base(object, then), _) => {
                if self.prover.fields.may_move(object) && Some(then) != calls {
                    return Err(format!("the base of object {object} may have moved").into());
                }
                let whole = whole(&mut self.prover);
                if object < self.prover.fields.memories() {
                    self.linear(access, object, whole, place)
                } else {
                    self.element(access, object, index.unwrap_or(ZERO), add, place)
                }
            }
            (Node::Heap, _) => {
                let whole = whole(&mut self.prover);
                self.heap(access, whole, place)
            }
            (Node::Constant(_), None) if core == ZERO && add < 0x1000 => Ok(()),
            (Node::Phi { block, var, less }, None) if seen.len() < MANY => {
                // On each way, an address of an object that did not move since.
                let ways = self.prover.ways(block, var, less);
                let last = self.prover.ways(block, Var::Reg(CALLS), 0);
                let here = self.prover.flow.starts[block as usize].vars[CALLS as usize];
                if access.claims_zeros(self.input) {
                    return self.zeros(access, core, ways);
                }
                let key = (address, calls == Some(here));
                if seen.contains(&key) {
                    return Ok(());
                }
                seen.push(key);
                for ((held, place), (then, _)) in ways.into_iter().zip(last) {
                    let held = held.ok_or("an address that is lost on a way")?;
                    let held = self.prover.values.sum(held, add);
                    let then = then.filter(|_| calls == Some(here));
                    self.at(access, held, then, place, seen)?;
                }
                Ok(())
            }
            (Node::Pick { no, yes, .. }, None) if seen.len() < MANY => {
                seen.push((address, false));
                for one in [no, yes] {
                    let one = self.prover.values.sum(one, add);
                    self.at(access, one, calls, place, seen)?;
                }
                Ok(())
            }
            (Node::Made { bits: 64, .. } | Node::Entry(_) | Node::Argument(_), None)
                if self.is_reference(access, add) =>
            {
                self.accepted.references += 1;
                Ok(())
            }
            _ => Err(format!("{} as an address", self.prover.told(address, place)).into()),
        }
    }

    /// An access to the frame, or to the stack arguments behind it.
    fn frame(&mut self, access: &Access, index: Option<Id>, at: i64) -> Result<(), Failed> {
        let values = &self.prover.values;
        let (core, sp) = values.split(access.sp);
        if values.node(core) != Node::Frame {
            return Err("the stack pointer is not known".to_string().into());
        }
        let most = index.map_or(0, |index| values.bound(index));
        if most > 0 && access.writes || most > 1 << 16 {
            return Err("an index into the frame".to_string().into());
        }
        let end = at + most as i64 + access.size;
        let (sp, top) = (sp as i64, 8 + i64::from(self.input.own.stack_bytes));
        if at < sp || end > top {
            return Err(format!("outside of the frame: {at} to {end} of {sp} to {top}").into());
        }
        Ok(())
    }

    /// A loop that the tier has told of, which writes zeros to a part of the frame: it starts where the
    /// part does, and goes on only below its end.
    fn zeros(
        &mut self,
        access: &Access,
        phi: Id,
        ways: Vec<(Option<Id>, Place)>,
    ) -> Result<(), Failed> {
        let at = access.instruction.ip() as u32;
        let claims = self.input.claims.as_ref().map(|claims| claims.zeros.as_slice());
        let claim = claims.unwrap_or_default().iter().find(|claim| claim.at == at);
        let claim = *claim.expect("it was found before");
        let values = &mut self.prover.values;
        let frame = values.make(Node::Frame);
        let (start, end) =
            (values.sum(frame, claim.start as u64), values.sum(frame, claim.end as u64));
        let next = values.sum(phi, access.size as u64);
        let whole = (claim.end - claim.start) % access.size == 0 && claim.start < claim.end;
        let mut right = whole && access.instruction.memory_displacement64() == 0;
        for (held, place) in ways {
            right &= match held {
                Some(held) if held == start => true,
                Some(held) if held == next => self.prover.is_below(next, end, place),
                _ => false,
            };
        }
        if !right {
            return Err("not a loop that writes zeros".to_string().into());
        }
        for at in [claim.start, claim.end - access.size] {
            self.frame(access, None, at)?;
        }
        Ok(())
    }

    /// An access to a linear memory.
    fn linear(
        &mut self,
        access: &Access,
        memory: Object,
        index: Id,
        place: Place,
    ) -> Result<(), Failed> {
        let at = access.instruction.ip() as u32;
        if let Some(claims) = &self.input.claims {
            let claim = claims.accesses.iter().find(|claim| claim.0 <= at && at < claim.1);
            match claim {
                Some((_, _, expected)) if expected.0 == memory => {}
                Some((_, _, expected)) => {
                    return Err(format!("memory {memory} instead of {}", expected.0).into());
                }
                None => return Err("an access to memory that was not claimed".to_string().into()),
            }
        }
        let size = access.size as u64;
        let plan = &self.prover.fields.plans[memory as usize];
        let reach = (U32 + plan.guard).checked_sub(size);
        if plan.guarded
            && may_fault(self.input.code, at, Trap::MemoryOutOfBounds)
            && let Some(reach) = reach
            && self.prover.below(index, reach, place)?
        {
            self.accepted.guarded += 1;
            return Ok(());
        }
        if self.prover.inside(memory, index, size, place)? {
            self.accepted.compared += 1;
            return Ok(());
        }
        self.unproven(format_args!("memory {memory}"), index, place)
    }

    /// An access to the store's heap: 32 bits and a small constant behind its base.
    fn heap(&mut self, access: &Access, offset: Id, place: Place) -> Result<(), Failed> {
        let reach = U32 + u64::from(HEAP_GUARD) - access.size as u64;
        if self.input.module.uses_heap && self.prover.below(offset, reach, place)? {
            self.accepted.objects += 1;
            return Ok(());
        }
        self.unproven(format_args!("the heap"), offset, place)
    }

    /// Nothing shows that an index lies inside: an error, unless nothing comes here.
    fn unproven(
        &mut self,
        object: std::fmt::Arguments<'_>,
        index: Id,
        place: Place,
    ) -> Result<(), Failed> {
        if self.prover.is_never_reached(place) {
            self.accepted.never_reached += 1;
            return Ok(());
        }
        let facts = self.prover.told(index, place);
        Err(format!("an index of {object} is not proven: {facts}").into())
    }

    /// An access to an element of a table, at `index + add` bytes.
    fn element(
        &mut self,
        access: &Access,
        table: Object,
        index: Id,
        add: u64,
        place: Place,
    ) -> Result<(), Failed> {
        let bytes = self.prover.fields.element_bytes(table);
        let by = bytes.trailing_zeros() as u8;
        let values = &mut self.prover.values;
        let index = match values.node(index) {
            _ if index == ZERO => Some(ZERO),
            Node::Shl(index, shift) if shift == by => Some(index),
            // The shift by the size of an element was done first, and lost nothing.
            Node::ShlBy(value, count) => {
                let number = values.as_constant(value);
                let number = number.filter(|number| number.trailing_zeros() >= u32::from(by));
                number.map(|number| {
                    let value = values.constant(number >> by);
                    values.shl_by(value, count)
                })
            }
            _ => None,
        };
        let index = index.ok_or_else(|| "an index that is not one of elements".to_string())?;
        if access.size as u64 > bytes || !add.is_multiple_of(bytes) {
            return Err("not an element".to_string().into());
        }
        // Elements of all tables fit the address space, so an index inside is not shifted out: any that
        // gives this address may be the one that was compared.
        let mut whole = index;
        for high in (0..bytes).rev() {
            let first = (add >> by).wrapping_add(high.wrapping_shl(64 - u32::from(by)));
            whole = self.prover.values.sum(index, first);
            if self.prover.inside(table, whole, 1, place)? {
                self.accepted.elements += 1;
                return Ok(());
            }
        }
        self.unproven(format_args!("table {table}"), whole, place)
    }

    /// A read from a jump table of the function, or from a table of constants.
    fn in_code(
        &mut self,
        access: &Access,
        index: Id,
        add: u64,
        place: Place,
    ) -> Result<(), Failed> {
        let table = u32::try_from(add).ok().and_then(|at| self.graph.tables.get(&at));
        let (whole, most) = match (table, self.prover.values.node(index)) {
            (Some(table), Node::Shl(index, 2)) => (index, (table.len() as u64).checked_sub(1)),
            (Some(_), _) => return Err("an index that is not one of a jump table".into()),
            (None, _) => {
                let end = add.checked_add(access.size as u64);
                (index, end.and_then(|end| (self.input.code.bytes.len() as u64).checked_sub(end)))
            }
        };
        if let Some(most) = most
            && self.prover.below(whole, most, place)?
        {
            self.accepted.tables += 1;
            return Ok(());
        }
        let facts = self.prover.told(whole, place);
        Err(format!("an index of a table in code is not proven: {facts}").into())
    }

    /// Whether this reads a field of a function reference, so many bytes from what is one, for a call
    /// through it.
    fn is_reference(&self, access: &Access, at: u64) -> bool {
        let instruction = &access.instruction;
        let fields = [FuncRefField::Code, FuncRefField::Context, FuncRefField::TypeId];
        let field = fields.into_iter().any(|field| {
            let (offset, repr) = field.place();
            (u64::from(offset), i64::from(repr.bytes())) == (at, access.size)
        });
        let at = instruction.ip() as u32;
        let calls = match &self.input.claims {
            Some(claims) => claims.references.iter().any(|claim| claim.0 <= at && at < claim.1),
            None => matches!(self.opcode(at), Some(0x11 | 0x13 | 0x14 | 0x15)),
        };
        !access.writes && field && calls
    }

    /// The opcode of the WebAssembly instruction that an instruction stems from.
    fn opcode(&self, at: u32) -> Option<u8> {
        let code = self.input.code;
        let location = code.locations.partition_point(|l| l.offset <= at).checked_sub(1)?;
        let mut wasm = code.locations[location].wasm;
        if wasm == Location::NONE {
            return None;
        }
        if wasm & Location::INLINED != 0 {
            wasm = code.inlined.get((wasm & !Location::INLINED) as usize)?.wasm;
        }
        self.input.module.wasm.get(wasm as usize).copied()
    }
}

impl Access {
    fn claims_zeros(&self, input: &Input<'_>) -> bool {
        let at = self.instruction.ip() as u32;
        let claims = input.claims.iter().flat_map(|claims| &claims.zeros);
        self.instruction.mnemonic() == Mnemonic::Mov
            && claims.into_iter().any(|claim| claim.at == at)
    }
}

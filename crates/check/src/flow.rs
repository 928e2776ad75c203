//! What registers and the frame hold at each block, as expressions ([`Values`]).
//!
//! A forward analysis in the manner of global value numbering. Where all ways to a block agree, it goes
//! on with what they say; where not, the place gets a name of its own, [`Node::Phi`], whose meaning is
//! what the place held on arrival. So no name ever means something old, and nothing has to be forgotten.
//!
//! Invariant: at the end, what a block starts with is what each way to it brings, or such a name.

use crate::fields::{Content, Fields};
use crate::graph::{Block, Graph, decode, reloc};
use crate::value::*;
use crate::vectors::{VECTORS, is_operand, names_vectors, unknown, vector_of_any_width};
use crate::{Failed, Input, Stop};
use iced_x86::{
    ConditionCode, FlowControl, Instruction, InstructionInfoFactory, InstructionInfoOptions,
    Mnemonic, OpAccess, OpKind, Register,
};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use wardian_module::abi::CallLayout;
use wardian_module::image::RelocTarget;
use wardian_module::layout::ModuleTable;

pub(crate) const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;
/// Where the frame pointer points: below the return address.
const FRAME_POINTER: i64 = -8;
/// `rbx`, `rsp`, `rbp`, `r12` to `r15`.
const KEPT: [usize; 7] = [3, 4, 5, 12, 13, 14, 15];
/// `r15`, which no call keeps in code that pays or counts: NOTE [fuel register] of `layout`.
const SPENT: usize = 15;

/// What an instruction makes beside registers, as names: what it reads from memory, and operands of
/// which nothing is known.
const LOADED: usize = 18;
const OPERAND: usize = 20;

/// Times that a block is looked at; then whatever still changes gets a name of its own. Loops in loops that
/// move values to and fro need dozens.
const PATIENCE: u32 = 100;

/// What a state knows beside the frame.
const REGISTERS: usize = VARS + VECTORS;
/// General registers, flags and calls.
const VARS: usize = CALLS as usize + 1;

/// Most arguments on the stack that are followed, in words of 8 bytes.
const MOST_ARGUMENTS: u32 = 64;

/// What is known at a place of the code.
#[derive(Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) vars: [Id; VARS],
    /// Vector registers; known in a block, and from one to the next if no other leads there.
    pub(crate) vectors: [Id; VECTORS],
    /// What lies in the frame: place, bytes, value; in order, none over another.
    pub(crate) homes: Vec<(i32, u8, Id)>,
}

impl State {
    fn entry(values: &mut Values, own: &CallLayout) -> State {
        let mut vars = [ZERO; VARS];
        for (var, value) in vars.iter_mut().enumerate() {
            *value = values.make(Node::Entry(var as u8));
        }
        vars[RDI] = values.make(Node::Context);
        vars[RSP] = values.make(Node::Frame);
        if own.area_bytes > 0 {
            vars[RSI] = values.make(Node::Area);
        }
        let place = |n: u32| 8 + 8 * n as i32;
        let arguments = (0..(own.stack_bytes / 8).min(MOST_ARGUMENTS)).map(place);
        let homes = arguments.map(|at| (at, 8, values.make(Node::Argument(at)))).collect();
        let vectors = unknown(values, Node::Entry);
        State { vars, vectors, homes }
    }

    pub(crate) fn get(&self, var: Var) -> Option<Id> {
        match var {
            Var::Reg(reg) => Some(self.vars[reg as usize]),
            Var::Home(at, size) => {
                let place = self.homes.binary_search_by_key(&at, |home| home.0).ok()?;
                Some(self.homes[place]).filter(|home| home.1 == size).map(|home| home.2)
            }
        }
    }

    /// Removes what is known of a part of the frame.
    fn overwrite(&mut self, start: i64, end: i64) {
        // A home has at most 8 bytes.
        let first = self.homes.partition_point(|home| i64::from(home.0) + 8 <= start);
        let mut last = first;
        while self.homes.get(last).is_some_and(|home| i64::from(home.0) < end) {
            last += 1;
        }
        let stays = |home: &(i32, u8, Id)| i64::from(home.0) + i64::from(home.1) <= start;
        if self.homes[first..last].iter().any(stays) {
            let mut position = 0;
            self.homes.retain(|home| {
                let inside = (first..last).contains(&position);
                position += 1;
                !inside || stays(home)
            });
        } else {
            self.homes.drain(first..last);
        }
    }

    fn put(&mut self, at: i32, size: u8, value: Id) {
        let place = self.homes.partition_point(|home| home.0 < at);
        self.homes.insert(place, (at, size, value));
    }
}

/// What all blocks start and end with.
pub(crate) struct Flow {
    pub(crate) starts: Vec<State>,
    pub(crate) ends: Vec<State>,
    /// Before the entry.
    pub(crate) entry: State,
}

/// Follows instructions.
pub(crate) struct Walker<'a> {
    input: &'a Input<'a>,
    pub(crate) fields: Fields<'a>,
    pub(crate) values: Values,
    info: InstructionInfoFactory,
    /// Where the stack pointer is between calls, if the tier's calls put it there.
    floor: Option<i64>,
    written: Written,
}

pub(crate) fn number(register: Register) -> Option<usize> {
    let full = register.full_register();
    (Register::RAX..=Register::R15).contains(&full).then(|| full as usize - Register::RAX as usize)
}

/// A block's start, from what arrives. `known` is what it started with so far, and whether that should
/// change no more than it must; `above` is the end of the block that every way leads through last, and
/// what is written between there and here.
fn meet(
    values: &mut Values,
    block: u32,
    arriving: &[&State],
    known: Option<(&State, bool)>,
    above: Option<(&State, &[Var])>,
) -> State {
    let mut phis: FxHashMap<Vec<Id>, (Var, u64)> = FxHashMap::default();
    let mut row: Vec<Id> = Vec::with_capacity(arriving.len());
    let mut join = |values: &mut Values, var: Var, row: &[Id], old: Option<(Id, bool)>| {
        let of_block = |values: &Values, id| match values.node(values.split(id).0) {
            Node::Phi { block: b, var, .. } if b == block => Some(var),
            _ => None,
        };
        let mut back = None;
        if let Some((old, settled)) = old {
            let own = of_block(values, old);
            if settled {
                return match own == Some(var) || row.iter().all(|id| *id == old) {
                    true => old,
                    false => values.make(Node::Phi { block, var, less: 0 }),
                };
            }
            back = own.map(|_| old);
        }
        // What a loop brings back unchanged says nothing new.
        let first = row.iter().find(|id| Some(**id) != back).unwrap_or(&row[0]);
        if row.iter().all(|id| id == first || Some(*id) == back) {
            return *first;
        }
        // What all have as the same sum is the same sum of a new unknown; and what is the same pair, or
        // more, of others is the same new unknown.
        let (_, add) = values.split(row[0]);
        let same = add != 0 && row.iter().all(|id| values.split(*id).1 == add);
        let less = if same { add } else { 0 };
        let core = |id: &Id| if same { values.split(*id).0 } else { *id };
        let cores = row.iter().map(core).collect();
        let (var, first) = *phis.entry(cores).or_insert((var, less));
        let phi = values.make(Node::Phi { block, var, less: first });
        values.sum(phi, less)
    };
    // Where it is known what is written on the ways from the block that all of them come from, all else
    // is as it was there.
    let mut state = match above {
        Some((above, _)) => above.clone(),
        None => arriving[0].clone(),
    };
    let mut one = |values: &mut Values, var: Var| {
        row.clear();
        row.extend(arriving.iter().map_while(|state| state.get(var)));
        let old = known.and_then(|(known, settled)| Some((known.get(var)?, settled)));
        let is_new = old.is_none() && known.is_some_and(|(_, settled)| settled);
        (row.len() == arriving.len() && !is_new).then(|| join(values, var, &row, old))
    };
    match above {
        Some((_, joined)) => {
            state.homes.retain(|home| joined.binary_search(&Var::Home(home.0, home.1)).is_err());
            let kept = state.homes.len();
            for var in joined {
                match (*var, one(values, *var)) {
                    (Var::Reg(reg), Some(value)) => state.vars[reg as usize] = value,
                    (Var::Home(at, size), Some(value)) => state.homes.push((at, size, value)),
                    _ => {}
                }
            }
            if state.homes.len() > kept {
                state.homes.sort_unstable_by_key(|home| home.0);
            }
        }
        None => {
            for var in 0..state.vars.len() {
                let value = one(values, Var::Reg(var as u8));
                state.vars[var] = value.expect("every state has all registers");
            }
            state.homes.retain_mut(|(at, size, value)| match one(values, Var::Home(*at, *size)) {
                Some(joined) => {
                    *value = joined;
                    true
                }
                None => false,
            });
        }
    }
    state
}

/// What the instructions of a block write.
#[derive(Default)]
struct Written {
    /// Registers, as bits.
    regs: u32,
    /// Parts of the frame.
    frame: Vec<(i64, i64)>,
    /// What is known afterwards of parts of it.
    homes: Vec<(i32, u8)>,
}

/// For each block, in order, what differs by the way that leads there: what is written on a way from the
/// nearest block that all ways lead through.
fn joined(graph: &Graph, written: &[Written], stop: &mut Stop) -> Result<Vec<Vec<Var>>, Failed> {
    let frontiers = graph.frontiers(stop)?;
    let mut keys: Vec<(i32, u8)> = written.iter().flat_map(|w| w.homes.iter().copied()).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut writers: FxHashMap<Var, Vec<u32>> = FxHashMap::default();
    for (block, written) in (0..).zip(written) {
        for reg in (0..VARS as u8).filter(|reg| written.regs & 1 << reg != 0) {
            writers.entry(Var::Reg(reg)).or_default().push(block);
        }
        for (start, end) in &written.frame {
            // A home has at most 8 bytes.
            let first = keys.partition_point(|key| i64::from(key.0) + 8 <= *start);
            for (at, size) in keys[first..].iter().take_while(|key| i64::from(key.0) < *end) {
                stop.work(1)?;
                if i64::from(*at) + i64::from(*size) > *start {
                    writers.entry(Var::Home(*at, *size)).or_default().push(block);
                }
            }
        }
    }
    let mut all = vec![Vec::new(); graph.blocks.len()];
    // The entry has state of its own.
    let mut marked = vec![Var::Home(i32::MAX, 0); graph.blocks.len()];
    for (var, mut work) in writers {
        while let Some(block) = work.pop() {
            for frontier in &frontiers[block as usize] {
                stop.work(1)?;
                if std::mem::replace(&mut marked[*frontier as usize], var) != var {
                    all[*frontier as usize].push(var);
                    stop.keep(1, 0)?;
                    work.push(*frontier);
                }
            }
        }
    }
    all.iter_mut().for_each(|vars| vars.sort_unstable());
    Ok(all)
}

impl<'a> Walker<'a> {
    pub(crate) fn new(input: &'a Input<'a>) -> Walker<'a> {
        Walker {
            input,
            fields: Fields::new(input),
            values: Values::new(),
            info: InstructionInfoFactory::new(),
            floor: input.claims.is_some().then(|| floor(&input.code.bytes)).flatten(),
            written: Written::default(),
        }
    }

    /// Follows all blocks until nothing changes. Twice: the first time says what is written where.
    pub(crate) fn run(&mut self, graph: &Graph, stop: &mut Stop) -> Result<Flow, Failed> {
        let Flow { starts, entry, .. } = self.follow(graph, None, stop)?;
        let mut written = Vec::new();
        for (block, mut state) in graph.blocks.iter().zip(starts) {
            self.written = Written::default();
            if let Some(position) = block.handler {
                self.arrive(position, &mut state);
            }
            for instruction in &graph.instructions[block.start..block.end] {
                self.step(instruction, &mut state);
            }
            self.written.frame.sort_unstable();
            written.push(std::mem::take(&mut self.written));
        }
        // What the entry begins with can be written over like what code has written.
        written[0].homes.extend(entry.homes.iter().map(|(at, size, _)| (*at, *size)));
        let joined = joined(graph, &written, stop)?;
        let flow = self.follow(graph, Some(&joined), stop)?;
        for ((block, state), expected) in graph.blocks.iter().zip(&flow.starts).zip(&written) {
            let mut state = state.clone();
            self.written = Written::default();
            for instruction in &graph.instructions[block.start..block.end] {
                self.step(instruction, &mut state);
            }
            let foreseen = |part: &(i64, i64)| expected.frame.binary_search(part).is_ok();
            if !self.written.frame.iter().all(foreseen) {
                return Err("a write to the frame that was not foreseen".into());
            }
        }
        Ok(flow)
    }

    fn follow(
        &mut self,
        graph: &Graph,
        joined: Option<&[Vec<Var>]>,
        stop: &mut Stop,
    ) -> Result<Flow, Failed> {
        let entry = State::entry(&mut self.values, self.input.own);
        let count = graph.blocks.len();
        let mut starts: Vec<Option<State>> = vec![None; count];
        let mut ends: Vec<Option<State>> = vec![None; count];
        let mut visits = vec![0; count];
        let mut work = BTreeSet::from([0]);
        while let Some(block) = work.pop_first() {
            let Block { start, end, next, before, handler } = &graph.blocks[block as usize];
            let mut arriving: Vec<&State> =
                before.iter().filter_map(|(from, _)| ends[*from as usize].as_ref()).collect();
            let mut above = None;
            if block == 0 {
                arriving.push(&entry);
            } else if let Some(joined) = joined {
                let state = ends[graph.dominator(block) as usize].as_ref();
                above = state.map(|state| (state, joined[block as usize].as_slice()));
            }
            visits[block as usize] += 1;
            let known = starts[block as usize].as_ref();
            let settled = visits[block as usize] > PATIENCE;
            let homes: usize = arriving.iter().map(|state| state.homes.len() + REGISTERS).sum();
            stop.work(homes as u64 / 8 + (end - start) as u64)?;
            let known_settled = known.map(|known| (known, settled));
            let mut state = meet(&mut self.values, block, &arriving, known_settled, above);
            state.vectors = match arriving[..] {
                [only] if before.len() <= 1 => only.vectors,
                _ => unknown(&mut self.values, |reg| Node::Phi {
                    block,
                    var: Var::Reg(reg),
                    less: 0,
                }),
            };
            if known == Some(&state) {
                continue;
            }
            if known.is_none() {
                stop.keep(2 * (state.homes.len() + REGISTERS) as u64, self.values.len() as u64)?;
            }
            let mut walked = state.clone();
            if let Some(position) = handler {
                self.arrive(*position, &mut walked);
            }
            for instruction in &graph.instructions[*start..*end] {
                self.step(instruction, &mut walked);
            }
            starts[block as usize] = Some(state);
            if ends[block as usize].as_ref() != Some(&walked) {
                ends[block as usize] = Some(walked);
                work.extend(next);
                if joined.is_some() {
                    work.extend(graph.dominated(block));
                }
            }
        }
        let all = |states: Vec<Option<State>>| {
            states.into_iter().collect::<Option<Vec<State>>>().ok_or("a block nothing leads to")
        };
        Ok(Flow { starts: all(starts)?, ends: all(ends)?, entry })
    }

    fn made(&mut self, instruction: &Instruction, var: usize, bits: u8) -> Id {
        self.values.make(Node::Made { ip: instruction.ip() as u32, var: var as u8, bits })
    }

    /// The address that an operand in memory names.
    pub(crate) fn address(&mut self, instruction: &Instruction, state: &State) -> Id {
        let by = instruction.memory_displacement64();
        if instruction.is_ip_rel_memory_operand() {
            return match reloc(&self.input.code.relocs, instruction) {
                Some(reloc) if reloc.target == RelocTarget::ModuleTable => {
                    // The distance counts from the next instruction.
                    let rest = instruction.next_ip() as i64 - i64::from(reloc.offset);
                    let table = self.values.make(Node::ModuleTable);
                    self.values.sum(table, (reloc.addend + rest) as u64)
                }
                // Of another function.
                Some(_) => self.made(instruction, OPERAND, 64),
                None => {
                    let code = self.values.make(Node::Code);
                    self.values.sum(code, by)
                }
            };
        }
        let value = |register| number(register).map_or(ZERO, |reg| state.vars[reg]);
        let shift = instruction.memory_index_scale().trailing_zeros() as u8;
        let index = self.values.shl(value(instruction.memory_index()), shift);
        let sum = self.values.add(value(instruction.memory_base()), index);
        self.values.sum(sum, by)
    }

    /// The value at a place in memory.
    fn load(&mut self, instruction: &Instruction, state: &State, size: usize) -> Id {
        let unknown =
            |walker: &mut Self| walker.made(instruction, LOADED, (8 * size).min(64) as u8);
        let address = self.address(instruction, state);
        let (core, add) = self.values.split(address);
        let place = match self.values.node(core) {
            // A constant. What is read as one is never written.
            Node::Code if matches!(size, 4 | 8) => {
                let start = add as usize;
                return match self.input.code.bytes.get(start..start.saturating_add(size)) {
                    Some(bytes) => {
                        let value = bytes.iter().rev().fold(0, |v, byte| v << 8 | u64::from(*byte));
                        self.values.constant(value)
                    }
                    None => unknown(self),
                };
            }
            Node::Frame => {
                let home = i32::try_from(add as i64).ok().and_then(|at| {
                    let found = state.homes.binary_search_by_key(&at, |home| home.0).ok()?;
                    Some(state.homes[found])
                });
                return match home {
                    Some((_, held, value)) if usize::from(held) >= size => {
                        self.values.low(value, 8 * size as u8)
                    }
                    _ => unknown(self),
                };
            }
            Node::ModuleTable if (add, size) == (ModuleTable::EPOCH_SHIM.into(), 8) => {
                return self.values.make(Node::EpochShim);
            }
            Node::Context => (None, add as i64),
            Node::Pointer(at) => (Some(at), add as i64),
            _ => return unknown(self),
        };
        if size != 8 {
            return unknown(self);
        }
        let calls = state.vars[CALLS as usize];
        match self.fields.content(place) {
            Content::Base(object) => {
                let calls = if self.fields.may_move(object) { calls } else { ZERO };
                self.values.make(Node::Base(object, calls))
            }
            Content::Length(object) => self.values.make(Node::Length(object, calls)),
            Content::Live => self.values.make(Node::Live),
            Content::Payload => self.values.make(Node::Payload),
            Content::Epoch => self.values.make(Node::Epoch),
            Content::Heap => self.values.make(Node::Heap),
            Content::Pointer(at) => self.values.make(Node::Pointer(at)),
            Content::Anything => unknown(self),
        }
    }

    /// The value of an operand, the bits beyond its size zero.
    pub(crate) fn operand(&mut self, instruction: &Instruction, state: &State, operand: u32) -> Id {
        let size = |kind| match kind {
            OpKind::Immediate8to16 | OpKind::Immediate16 => 16,
            OpKind::Immediate8 => 8,
            OpKind::Immediate8to32 | OpKind::Immediate32 => 32,
            _ => 64,
        };
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let register = instruction.op_register(operand);
                let high = (Register::AH..=Register::BH).contains(&register);
                match number(register) {
                    Some(reg) if !high => {
                        self.values.low(state.vars[reg], 8 * register.size() as u8)
                    }
                    _ => self.made(
                        instruction,
                        OPERAND + operand as usize,
                        if high { 8 } else { 64 },
                    ),
                }
            }
            OpKind::Memory => self.load(instruction, state, instruction.memory_size().size()),
            kind @ (OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64) => {
                self.values.constant(instruction.immediate(operand) & ones(size(kind)))
            }
            _ => self.made(instruction, OPERAND + operand as usize, 64),
        }
    }

    /// What an instruction makes of its first operand, as wide as that; `None` if that is new.
    fn result(&mut self, instruction: &Instruction, state: &State) -> Option<Id> {
        if instruction.op_count() == 0 {
            return None;
        }
        let bits = match instruction.op_kind(0) {
            OpKind::Register => 8 * instruction.op_register(0).size(),
            OpKind::Memory => 8 * instruction.memory_size().size(),
            _ => return None,
        };
        let bits = u8::try_from(bits).ok().filter(|bits| [8, 16, 32, 64].contains(bits))?;
        let is_general = instruction.op_kind(0) == OpKind::Memory
            || number(instruction.op_register(0)).is_some();
        if !is_general {
            return None;
        }
        let value = match (instruction.mnemonic(), instruction.op_count()) {
            (Mnemonic::Mov | Mnemonic::Movzx, 2) => self.operand(instruction, state, 1),
            (Mnemonic::Movsx | Mnemonic::Movsxd, 2) => {
                let value = self.operand(instruction, state, 1);
                let from = match instruction.op_kind(1) {
                    OpKind::Register => instruction.op_register(1).size(),
                    _ => instruction.memory_size().size(),
                };
                (self.values.bound(value) <= ones(8 * from as u8 - 1)).then_some(value)?
            }
            (Mnemonic::Lea, 2) => self.address(instruction, state),
            (Mnemonic::Xor, 2)
                if instruction.op_kind(1) == OpKind::Register
                    && instruction.op_register(0) == instruction.op_register(1) =>
            {
                ZERO
            }
            (
                Mnemonic::Add
                | Mnemonic::Sub
                | Mnemonic::And
                | Mnemonic::Or
                | Mnemonic::Xor
                | Mnemonic::Shl
                | Mnemonic::Shr,
                2,
            ) => {
                let (a, b) =
                    (self.operand(instruction, state, 0), self.operand(instruction, state, 1));
                let number = self.values.as_constant(b);
                match instruction.mnemonic() {
                    Mnemonic::Add if bits == 64 && number.is_none() => self.values.add(a, b),
                    Mnemonic::Add => match number {
                        Some(by) => self.values.sum(a, by),
                        None => self.values.add(a, b),
                    },
                    Mnemonic::Sub if a == b => ZERO,
                    Mnemonic::Sub => match number {
                        Some(by) => self.values.sum(a, by.wrapping_neg()),
                        None => {
                            let not = self.values.not(b);
                            let less = self.values.add(a, not);
                            self.values.sum(less, 1)
                        }
                    },
                    Mnemonic::And => self.values.and(a, b),
                    Mnemonic::Or => self.values.or(a, b),
                    Mnemonic::Xor => self.values.xor(a, b),
                    Mnemonic::Shl if bits == 64 && number.is_none() => {
                        // Only the low bits of `cl` count, of which 8 were read.
                        self.values.shl_by(a, b)
                    }
                    Mnemonic::Shl if bits >= 32 => self.values.shl(a, number? as u8 & (bits - 1)),
                    Mnemonic::Shr if bits >= 32 => self.values.shr(a, number? as u8 & (bits - 1)),
                    _ => return None,
                }
            }
            (Mnemonic::Not, 1) => {
                let value = self.operand(instruction, state, 0);
                self.values.not(value)
            }
            (Mnemonic::Andn, 3) => {
                let (a, b) =
                    (self.operand(instruction, state, 1), self.operand(instruction, state, 2));
                let not = self.values.not(a);
                self.values.and(not, b)
            }
            (Mnemonic::Shlx, 3) if bits == 64 => {
                let (value, count) =
                    (self.operand(instruction, state, 1), self.operand(instruction, state, 2));
                self.values.shl_by(value, count)
            }
            (Mnemonic::Neg, 1) => {
                let value = self.operand(instruction, state, 0);
                let not = self.values.not(value);
                self.values.sum(not, 1)
            }
            (Mnemonic::Inc, 1) => {
                let value = self.operand(instruction, state, 0);
                self.values.sum(value, 1)
            }
            (Mnemonic::Dec, 1) => {
                let value = self.operand(instruction, state, 0);
                self.values.sum(value, u64::MAX)
            }
            _ if instruction.condition_code() == ConditionCode::None => return None,
            // `setcc`
            (_, 1) if bits == 8 => {
                let flags = state.vars[FLAGS as usize];
                self.values.make(Node::Set(flags, instruction.condition_code()))
            }
            // `cmovcc`
            (_, 2) if instruction.op_kind(0) == OpKind::Register && bits >= 32 => {
                let (no, yes) =
                    (self.operand(instruction, state, 0), self.operand(instruction, state, 1));
                let flags = state.vars[FLAGS as usize];
                self.values.pick(flags, instruction.condition_code(), no, yes)
            }
            _ => return None,
        };
        Some(self.values.low(value, bits))
    }

    /// What an instruction leaves in the flags.
    fn flags(&mut self, instruction: &Instruction, state: &State, result: Option<Id>) -> Id {
        let known = match instruction.mnemonic() {
            Mnemonic::Cmp | Mnemonic::Sub => {
                let (a, b) =
                    (self.operand(instruction, state, 0), self.operand(instruction, state, 1));
                Some(Node::Compare(a, b))
            }
            Mnemonic::Test => {
                let (a, b) =
                    (self.operand(instruction, state, 0), self.operand(instruction, state, 1));
                let both = self.values.and(a, b);
                // There is no carry and no overflow, as of a comparison with zero.
                Some(Node::Compare(both, ZERO))
            }
            Mnemonic::And | Mnemonic::Or | Mnemonic::Xor => {
                result.map(|result| Node::Compare(result, ZERO))
            }
            Mnemonic::Add => result.map(Node::Zero),
            // By zero they leave the flags alone.
            Mnemonic::Shl | Mnemonic::Shr => match instruction.op_kind(1) {
                OpKind::Immediate8 if (1..32).contains(&instruction.immediate8()) => {
                    result.map(Node::Zero)
                }
                OpKind::Immediate8
                    if instruction.op0_register().size() == 8
                        && (32..64).contains(&instruction.immediate8()) =>
                {
                    result.map(Node::Zero)
                }
                _ => None,
            },
            _ => None,
        };
        match known {
            Some(node) => self.values.make(node),
            None => self.made(instruction, FLAGS as usize, 64),
        }
    }

    /// Says what is known behind an instruction.
    pub(crate) fn step(&mut self, instruction: &Instruction, state: &mut State) {
        let callee = match instruction.flow_control() {
            FlowControl::Call => Some(ZERO),
            FlowControl::IndirectCall => Some(self.operand(instruction, state, 0)),
            _ => None,
        };
        let (mut written, mut count) = ([(0usize, 0usize); 8], 0);
        let (mut vectors, mut nameable) = (0u32, names_vectors(instruction));
        let info = self.info.info_options(instruction, InstructionInfoOptions::NO_MEMORY_USAGE);
        let first = info.op0_access();
        for used in info.used_registers() {
            use OpAccess::*;
            let register = used.register();
            let writes = matches!(used.access(), Write | CondWrite | ReadWrite | ReadCondWrite);
            nameable = nameable && (used.access() == Write || is_operand(instruction, register));
            match (number(register), vector_of_any_width(register)) {
                (Some(reg), _) if writes => {
                    written[count] = (reg, register.size());
                    count += 1;
                }
                (_, Some(vector)) if writes => vectors |= 1 << vector,
                _ => {}
            }
        }
        let of_vectors = nameable.then(|| self.name_vector(instruction, state, first)).flatten();
        let result = self.result(instruction, state);
        let flags = match (instruction.rflags_modified(), of_vectors) {
            (0, _) => state.vars[FLAGS as usize],
            (_, Some(flags)) => flags,
            _ => self.flags(instruction, state, result),
        };
        self.store(instruction, state, result);
        if instruction.rflags_modified() != 0 {
            self.written.regs |= 1 << FLAGS;
        }
        state.vars[FLAGS as usize] = flags;
        let sp = state.vars[RSP];
        match instruction.mnemonic() {
            Mnemonic::Push => state.vars[RSP] = self.values.sum(sp, 8u64.wrapping_neg()),
            Mnemonic::Pop => state.vars[RSP] = self.values.sum(sp, 8),
            _ => {}
        }
        if matches!(instruction.mnemonic(), Mnemonic::Push | Mnemonic::Pop) {
            self.written.regs |= 1 << RSP;
        }
        for &(reg, size) in &written[..count] {
            let first = instruction.op_count() > 0
                && instruction.op_kind(0) == OpKind::Register
                && number(instruction.op_register(0)) == Some(reg);
            if reg == RSP && !first {
                continue;
            }
            let size = match instruction.mnemonic() {
                // Registers that are not named are as wide as the one that is.
                Mnemonic::Div | Mnemonic::Idiv | Mnemonic::Mul | Mnemonic::Imul
                    if instruction.op_count() == 1 =>
                {
                    match instruction.op_kind(0) {
                        OpKind::Register => instruction.op_register(0).size(),
                        _ => instruction.memory_size().size(),
                    }
                }
                Mnemonic::Cdq => 4,
                _ if first => instruction.op_register(0).size(),
                _ => size,
            };
            self.written.regs |= 1 << reg;
            let small = self.values.bound(state.vars[reg]) <= U32;
            let high = (Register::AH..=Register::BH).contains(&instruction.op0_register());
            state.vars[reg] = match (result.or(of_vectors).filter(|_| first), size) {
                (Some(value), 4 | 8) => self.values.low(value, 8 * size as u8),
                (Some(value), 1) if !high => {
                    self.values.make(Node::Byte { value, ip: instruction.ip() as u32, small })
                }
                (_, 8) => self.made(instruction, reg, 64),
                (_, 4) => self.made(instruction, reg, 32),
                _ => self.made(instruction, reg, if small { 32 } else { 64 }),
            };
        }
        for vector in (0..VECTORS).filter(|vector| vectors & 1 << vector != 0) {
            state.vectors[vector] = match of_vectors {
                Some(value) if vector_of_any_width(instruction.op0_register()) == Some(vector) => {
                    value
                }
                _ => self.made_vector(instruction.ip() as u32, vector),
            };
        }
        if let Some(callee) = callee {
            let keeps = self.values.node(callee) == Node::EpochShim;
            self.call(instruction, state, keeps);
        }
    }

    /// What a call changes; of one that `keeps` registers, no more than where memories are.
    fn call(&mut self, instruction: &Instruction, state: &mut State, keeps: bool) {
        self.written.regs |= 1 << RSP | 1 << FLAGS | 1 << CALLS;
        let spent = self.input.settings.keeps_spent().then_some(SPENT);
        for reg in (0..16).filter(|reg| !KEPT.contains(reg) || Some(*reg) == spent) {
            self.written.regs |= 1 << reg;
            if !keeps || Some(reg) == spent {
                state.vars[reg] = self.made(instruction, reg, 64);
            }
        }
        for var in [FLAGS, CALLS] {
            state.vars[var as usize] = self.made(instruction, var.into(), 64);
        }
        let ip = instruction.ip() as u32;
        state.vectors = unknown(&mut self.values, |var| Node::Made { ip, var, bits: 64 });
        if let Some(floor) = self.floor {
            // The callee popped its arguments, whose room was made for it.
            let frame = self.values.make(Node::Frame);
            state.vars[RSP] = self.values.sum(frame, floor as u64);
        } else if !keeps
            && let Ok(next) = decode(&self.input.code.bytes, instruction.next_ip() as u32)
            && makes_room(&next)
        {
            // The callee popped its arguments; the caller makes room for them again.
            state.vars[RSP] = self.values.sum(state.vars[RSP], next.immediate(1));
        }
    }

    /// What is known on the way to a handler: the frame, and where its ends are.
    fn arrive(&mut self, position: u32, state: &mut State) {
        self.written.regs |= 0xffff | 1 << FLAGS;
        for var in 0..16 {
            // Code has no such place.
            let (ip, var) = (u32::MAX - position, var as u8);
            state.vars[usize::from(var)] = self.values.make(Node::Made { ip, var, bits: 64 });
        }
        let ip = u32::MAX - position;
        state.vectors = unknown(&mut self.values, |var| Node::Made { ip, var, bits: 64 });
        let frame = self.values.make(Node::Frame);
        state.vars[RBP] = self.values.sum(frame, FRAME_POINTER as u64);
        // All calls say the same: see `handled`.
        let bytes = self.input.code.exceptions.calls.first().map_or(0, |call| call.frame);
        state.vars[RSP] = self.values.sum(frame, (FRAME_POINTER - i64::from(bytes)) as u64);
    }

    /// Checks what the exception table says of the frame at a call, which is the last instruction before
    /// `state`.
    pub(crate) fn handled(&mut self, call: &Instruction, state: &State) -> Result<(), String> {
        let exceptions = &self.input.code.exceptions;
        let next = call.next_ip() as u32;
        let Some(found) = exceptions.call_at(next) else { return Ok(()) };
        if exceptions.calls.iter().any(|other| other.frame != found.frame) {
            return Err("calls in frames of different sizes".into());
        }
        let place = FRAME_POINTER + i64::from(found.context);
        let home = i32::try_from(place).ok().and_then(|at| state.get(Var::Home(at, 8)));
        if home.is_none_or(|home| self.values.node(home) != Node::Context) {
            return Err("the frame does not hold the context where handlers are looked for".into());
        }
        let frame = self.values.make(Node::Frame);
        let mut sp = FRAME_POINTER - i64::from(found.frame);
        if self.floor.is_none()
            && let Ok(after) = decode(&self.input.code.bytes, next)
            && makes_room(&after)
        {
            sp += after.immediate(1) as i64;
        }
        let expected = [
            (RSP, self.values.sum(frame, sp as u64)),
            (RBP, self.values.sum(frame, FRAME_POINTER as u64)),
        ];
        match expected.iter().all(|(reg, value)| state.vars[*reg] == *value) {
            true => Ok(()),
            false => Err("the frame is not where handlers will look for it".into()),
        }
    }

    /// Follows writes to the frame.
    fn store(&mut self, instruction: &Instruction, state: &mut State, result: Option<Id>) {
        if instruction.mnemonic() == Mnemonic::Push {
            let (core, at) = self.values.split(state.vars[RSP]);
            if self.values.node(core) == Node::Frame {
                self.overwrite(state, at as i64 - 8, at as i64);
            }
            return;
        }
        if instruction.op_count() == 0
            || instruction.op_kind(0) != OpKind::Memory
            || matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
        {
            return;
        }
        let size = instruction.memory_size().size();
        let ip = instruction.ip() as u32;
        let zeros = self.input.claims.iter().flat_map(|claims| &claims.zeros);
        if let Some(claim) = zeros.into_iter().find(|claim| claim.at == ip) {
            self.overwrite(state, claim.start, claim.end);
            return;
        }
        let address = self.address(instruction, state);
        let (core, at) = self.values.split(address);
        if self.values.node(core) == Node::Frame {
            self.overwrite(state, at as i64, at as i64 + size as i64);
            if instruction.mnemonic() == Mnemonic::Mov
                && (size == 8 || size == 4)
                && let Ok(at) = i32::try_from(at as i64)
            {
                self.written.homes.push((at, size as u8));
                if let Some(value) = result {
                    state.put(at, size as u8, value);
                }
            }
        }
    }

    fn overwrite(&mut self, state: &mut State, start: i64, end: i64) {
        self.written.frame.push((start, end));
        state.overwrite(start, end);
    }
}

/// Whether an instruction moves the stack pointer down.
fn makes_room(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Sub
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register() == Register::RSP
}

/// Where a function of the single-pass tier puts the stack pointer.
fn floor(bytes: &[u8]) -> Option<i64> {
    let mut at = 0;
    for _ in 0..32 {
        let instruction = decode(bytes, at).ok()?;
        if instruction.mnemonic() == Mnemonic::Sub && instruction.op0_register() == Register::RSP {
            // Behind the return address lies `rbp`.
            return Some(-8 - instruction.immediate(1) as i64);
        }
        at = instruction.next_ip() as u32;
    }
    None
}

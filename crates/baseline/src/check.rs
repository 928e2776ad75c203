//! Checks finished machine code: every access to linear memory has that memory's base, and an index
//! that stays inside the memory or its guard. It believes no register allocation and no fold: it decodes
//! the bytes again, with a decoder that is not the encoder's, and follows what registers and the frame
//! hold over all paths.
//!
//! What it holds for true:
//! - At entry `rdi` is the context. A call leaves `rbx`, `r12` to `r15`, `rbp`, `rsp` and the homes in
//!   the frame as they were, and may move the memories that may move.
//! - The tier has said which instructions access linear memory ([`Claims`]). An access through a base
//!   that was not claimed is an error, and so is a claimed access through anything else.
//! - Fields of the VM context lie where the layout says; a memory never shrinks.
//!
//! How: a forward dataflow. A value is known as a sum of an unknown and a constant, with an upper bound;
//! 32-bit instructions bound what they write, 64-bit instructions do not. A comparison with a memory's
//! length gives, behind the branch that trusts it, the fact that an unknown plus so many bytes lies
//! inside the memory. An unknown is named after the instruction that makes it; when that instruction
//! runs again, the name means the new value, and whoever held the old one loses the name.

use crate::claims::{AccessClaim, Claims};
use iced_x86::{
    ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    InstructionInfoOptions, Mnemonic, OpAccess, OpKind, Register,
};
use std::collections::{BTreeMap, BTreeSet};
use wardian_module::layout::{Field, VmLayout};
use wardian_module::{MemoryIndex, MemoryPlan, MemoryType, Module, Settings};

/// Whether claims are worth recording.
pub(crate) const ON: bool = true;

const U32: u64 = u32::MAX as u64;
const RSP: usize = 4;
const RBP: usize = 5;
const RDI: usize = 7;
/// `rbx`, `rsp`, `rbp`, `r12` to `r15`.
const KEPT: [usize; 7] = [3, 4, 5, 12, 13, 14, 15];

/// The name of an unknown. [`ZERO`] is the constant zero.
type Name = u64;
const ZERO: Name = 0;
/// A value nobody can say anything about but its bound.
const NAMELESS: Name = 1;
/// With a register: what it held at entry.
const ARGUMENT: Name = 0x100;
/// With an address of code shifted by [`PLACE`], and a register or home: where two paths meet.
const JOINED: Name = 1 << 62;
/// With the same: what an instruction makes.
const MADE: Name = 1 << 63;
const PLACE: u32 = 31;

/// What is known of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    /// The unknown `name` plus `add`, modulo 2^64; at most `max`. Without overflow if `max` is below
    /// 2^64 - 1.
    Number {
        name: Name,
        add: u64,
        max: u64,
    },
    /// The VM context.
    Context,
    /// The pointer on the way to a memory's fields, at this offset of the context.
    Field(i64),
    /// An address in the frame.
    Frame,
    Base(u32),
    Length(u32),
    /// A memory's length less a constant.
    Room {
        memory: u32,
        end: u64,
    },
    /// Base of a memory plus the unknown `name` plus `add`, modulo 2^64; the index is at most `max`.
    Address {
        memory: u32,
        name: Name,
        add: u64,
        max: u64,
    },
    /// A truth value.
    Bool(Fact),
}

/// What a comparison says; true means out of bounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fact {
    /// The memory is shorter than `end`.
    Short { memory: u32, end: u64 },
    /// The unknown plus `add`, modulo 2^64, is above the memory's length less `end`, as a 64-bit
    /// difference.
    PastRoom { memory: u32, name: Name, add: u64, end: u64 },
    /// The unknown plus `add`, modulo 2^64, is above the memory's length when `end` is added to it.
    Past { memory: u32, name: Name, add: u64, end: u64 },
    /// The unknown has more than 32 bits.
    High { name: Name },
}

impl Fact {
    fn name(self) -> Option<Name> {
        match self {
            Fact::Short { .. } => None,
            Fact::PastRoom { name, .. } | Fact::Past { name, .. } | Fact::High { name } => {
                Some(name)
            }
        }
    }
}

impl Fact {
    /// What two facts have in common.
    fn common(self, other: Fact) -> Option<Fact> {
        match (self, other) {
            (
                Fact::Past { memory, name, add, end },
                Fact::Past { memory: m, name: n, add: a, end: e },
            ) if (memory, name, add) == (m, n, a) => {
                Some(Fact::Past { memory, name, add, end: end.min(e) })
            }
            _ => None,
        }
    }

    /// The same of an unknown that is `of.0` plus `of.1`.
    fn about(self, of: (Name, u64), new: Name) -> Option<Fact> {
        match self {
            Fact::Past { memory, name, add, end } if name == of.0 => {
                // What was compared lies below the new unknown: less room is left behind that.
                let (add, end) = match of.1.checked_sub(add) {
                    Some(more) if more <= end => (0, end - more),
                    _ => (add.wrapping_sub(of.1), end),
                };
                Some(Fact::Past { memory, name: new, add, end })
            }
            _ => None,
        }
    }
}

impl Value {
    fn any() -> Value {
        Value::Number { name: NAMELESS, add: 0, max: u64::MAX }
    }

    fn constant(value: u64) -> Value {
        Value::Number { name: ZERO, add: value, max: value }
    }

    fn as_constant(self) -> Option<u64> {
        match self {
            Value::Number { name: ZERO, add, .. } => Some(add),
            _ => None,
        }
    }

    fn max(self) -> u64 {
        if let Value::Number { max, .. } = self { max } else { u64::MAX }
    }

    fn name(self) -> Option<Name> {
        match self {
            Value::Number { name, .. } | Value::Address { name, .. } => Some(name),
            Value::Bool(fact) => fact.name(),
            _ => None,
        }
    }

    /// The value, no longer under this name.
    fn forget(&mut self, stale: &impl Fn(Name) -> bool) {
        if self.name().is_some_and(stale) {
            *self = match *self {
                Value::Number { max, .. } => Value::Number { name: NAMELESS, add: 0, max },
                Value::Address { memory, max, add, .. } => {
                    Value::Address { memory, name: NAMELESS, add, max }
                }
                _ => Value::any(),
            };
        }
    }

    fn plus(self, constant: u64) -> Value {
        match self {
            Value::Number { name, add, max } => Value::Number {
                name,
                add: add.wrapping_add(constant),
                max: max.saturating_add(constant),
            },
            _ => Value::any(),
        }
    }
}

/// What is known at a place of the code.
#[derive(Clone, PartialEq)]
struct State {
    regs: [Value; 16],
    /// Homes in the frame, by distance from `rbp`: bytes, and the value there.
    homes: BTreeMap<i64, (usize, Value)>,
    /// What does not hold: the memory is long enough.
    refuted: BTreeSet<Fact>,
    /// The fact that holds under a condition of the flags.
    flags: Option<(Fact, ConditionCode)>,
}

impl State {
    fn entry() -> State {
        let mut regs = [Value::any(); 16];
        for (reg, value) in regs.iter_mut().enumerate() {
            *value = Value::Number { name: ARGUMENT | reg as u64, add: 0, max: u64::MAX };
        }
        regs[RDI] = Value::Context;
        regs[RSP] = Value::Frame;
        State { regs, homes: BTreeMap::new(), refuted: BTreeSet::new(), flags: None }
    }

    /// Takes a name away from whoever has it.
    fn forget(&mut self, stale: impl Fn(Name) -> bool) {
        self.regs.iter_mut().for_each(|value| value.forget(&stale));
        self.homes.values_mut().for_each(|(_, value)| value.forget(&stale));
        let of = |fact: &Fact| fact.name().is_some_and(&stale);
        self.refuted.retain(|fact| !of(fact));
        if self.flags.is_some_and(|(fact, _)| of(&fact)) {
            self.flags = None;
        }
    }

    /// The register holds something new.
    fn define(&mut self, reg: usize, instruction: &Instruction, max: u64) {
        let name = MADE | instruction.ip() << PLACE | reg as u64;
        self.regs[reg] = Value::any();
        self.forget(|other| other == name);
        self.regs[reg] = Value::Number { name, add: 0, max };
    }

    /// Makes use of a fact that does not hold.
    fn refute(&mut self, fact: Fact) {
        let Fact::High { name: above } = fact else {
            self.refuted.insert(fact);
            return;
        };
        let bound = |value: &mut Value| {
            if let Value::Number { name, add: 0, max } = value
                && *name == above
            {
                *max = (*max).min(U32);
            }
        };
        self.regs.iter_mut().for_each(bound);
        self.homes.values_mut().for_each(|(_, value)| bound(value));
    }

    /// What both states say, at `block`. `None` if that is what `self` says.
    fn merge(&self, mut other: State, block: u32) -> Option<State> {
        let own = |place: u64| JOINED | u64::from(block) << PLACE | place;
        other.forget(|name| name >> PLACE == own(0) >> PLACE);
        // Facts about the two unknowns that a new one stands for are facts about that.
        let mut facts = BTreeSet::new();
        let mut join = |a: Value, b: Value, place: u64| match (a, b) {
            _ if a == b => a,
            (Value::Number { name, add, max }, Value::Number { name: n, add: c, max: m }) => {
                let max = if max.max(m) <= U32 { U32 } else { u64::MAX };
                if (name, add) == (n, c) {
                    return Value::Number { name, add, max };
                }
                let new = own(place);
                let theirs = other.refuted.iter().filter_map(|fact| fact.about((n, c), new));
                let theirs: Vec<Fact> = theirs.collect();
                for fact in self.refuted.iter().filter_map(|fact| fact.about((name, add), new)) {
                    facts.extend(theirs.iter().filter_map(|other| fact.common(*other)));
                }
                Value::Number { name: new, add: 0, max }
            }
            _ => Value::any(),
        };
        let mut merged = self.clone();
        for (place, value) in merged.regs.iter_mut().enumerate() {
            *value = join(*value, other.regs[place], place as u64);
        }
        merged.homes.retain(|home, (size, value)| match other.homes.get(home) {
            Some((s, other)) if s == size => {
                *value = join(*value, *other, *home as u64 & 0x7fff_ffff);
                true
            }
            _ => false,
        });
        merged.refuted.retain(|fact| other.refuted.contains(fact));
        merged.refuted.extend(facts);
        if merged.flags != other.flags {
            merged.flags = None;
        }
        (merged != *self).then_some(merged)
    }

    /// Removes what is known of a part of the frame.
    fn overwrite(&mut self, start: i64, end: i64) {
        self.homes.retain(|home, (size, _)| *home >= end || *home + *size as i64 <= start);
    }
}

fn number(register: Register) -> Option<usize> {
    let full = register.full_register();
    (Register::RAX..=Register::R15).contains(&full).then(|| full as usize - Register::RAX as usize)
}

/// Where a memory's field lies: the pointer on the way, and the offset.
type Place = (Option<i64>, i64);

struct Checker<'a> {
    code: &'a [u8],
    claims: &'a Claims,
    plans: Vec<MemoryPlan>,
    /// Least sizes of memories, in bytes.
    minimums: Vec<u128>,
    fields: Vec<(Place, Value)>,
    info: InstructionInfoFactory,
}

/// Checks a function.
pub(crate) fn verify(
    module: &Module,
    layout: &VmLayout,
    settings: &Settings,
    code: &[u8],
    claims: &Claims,
) -> Result<(), String> {
    let mut fields = Vec::new();
    for memory in 0..module.memories.len() as u32 {
        let index = MemoryIndex(memory);
        let known = [
            (Field::MemoryBase(index), Value::Base(memory)),
            (Field::MemoryLength(index), Value::Length(memory)),
        ];
        for (field, value) in known {
            let path = layout.path(module, field);
            fields.push(((path.through.map(i64::from), i64::from(path.offset)), value));
        }
    }
    let plans = module.memories.iter().map(|ty| MemoryPlan::new(settings, ty)).collect();
    let info = InstructionInfoFactory::new();
    let minimums = module.memories.iter().map(MemoryType::minimum_bytes).collect();
    Checker { code, claims, plans, minimums, fields, info }.run()
}

impl Checker<'_> {
    fn decode(&self, at: u32) -> Result<Instruction, String> {
        let bytes = self.code.get(at as usize..).unwrap_or_default();
        let mut decoder = Decoder::with_ip(64, bytes, at.into(), DecoderOptions::NONE);
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return Err(format!("{at:#x}: no instruction"));
        }
        Ok(instruction)
    }

    /// Where an instruction may go on, and with what it refutes there.
    fn targets(&self, instruction: &Instruction) -> Result<Vec<u32>, String> {
        let at = instruction.ip() as u32;
        let next = instruction.next_ip() as u32;
        let near = instruction.near_branch_target() as u32;
        Ok(match instruction.flow_control() {
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => vec![next],
            FlowControl::ConditionalBranch => vec![next, near],
            // By distance with a relocation: to another function.
            FlowControl::UnconditionalBranch if near as usize >= self.code.len() => vec![],
            FlowControl::UnconditionalBranch => vec![near],
            FlowControl::IndirectBranch => {
                let Some(table) = self.claims.tables.iter().find(|table| table.jump == at) else {
                    return Ok(vec![]);
                };
                let entry = |index: u32| {
                    let place = (table.table + 4 * index) as usize;
                    let bytes = self.code.get(place..place + 4)?.try_into().ok()?;
                    Some(table.table.wrapping_add(u32::from_le_bytes(bytes)))
                };
                (0..table.count)
                    .map(entry)
                    .collect::<Option<Vec<u32>>>()
                    .ok_or(format!("{at:#x}: the jump table is cut off"))?
            }
            FlowControl::Return | FlowControl::Exception => vec![],
            other => return Err(format!("{at:#x}: {other:?} is nothing the tier emits")),
        })
    }

    /// All instructions that can be reached, and where more than one path leads or a jump goes.
    fn explore(&self) -> Result<(BTreeMap<u32, Instruction>, BTreeSet<u32>), String> {
        let mut instructions = BTreeMap::new();
        let mut leaders = BTreeSet::from([0]);
        let mut work = vec![0];
        while let Some(at) = work.pop() {
            if instructions.contains_key(&at) {
                continue;
            }
            let instruction = self.decode(at)?;
            let targets = self.targets(&instruction)?;
            if instruction.flow_control() != FlowControl::Next {
                leaders.extend(&targets);
            }
            instructions.insert(at, instruction);
            work.extend(targets);
        }
        Ok((instructions, leaders))
    }

    fn run(mut self) -> Result<(), String> {
        let (instructions, leaders) = self.explore()?;
        let mut known: BTreeMap<u32, State> = BTreeMap::from([(0, State::entry())]);
        let mut work = BTreeSet::from([0]);
        while let Some(block) = work.pop_first() {
            let mut state = known[&block].clone();
            let mut at = block;
            loop {
                let instruction = &instructions[&at];
                let flags = state.flags;
                self.step(instruction, &mut state)?;
                let targets = self.targets(instruction)?;
                if instruction.flow_control() == FlowControl::Next && !leaders.contains(&targets[0])
                {
                    at = targets[0];
                    continue;
                }
                for (way, target) in targets.into_iter().enumerate() {
                    let mut arriving = state.clone();
                    if instruction.flow_control() == FlowControl::ConditionalBranch
                        && let Some((fact, condition)) = flags
                    {
                        let taken = way == 1;
                        let holds = instruction.condition_code() == condition;
                        let fails = instruction.condition_code() == opposite(condition);
                        if holds && !taken || fails && taken {
                            arriving.refute(fact);
                        }
                    }
                    let merged = match known.get(&target) {
                        None => Some(arriving),
                        Some(before) => before.merge(arriving, target),
                    };
                    if let Some(merged) = merged {
                        known.insert(target, merged);
                        work.insert(target);
                    }
                }
                break;
            }
        }
        Ok(())
    }

    /// The value at a place in memory.
    fn load(&self, instruction: &Instruction, state: &State, size: usize) -> Value {
        let unknown = || {
            let max = if size >= 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
            Value::Number { name: NAMELESS, add: 0, max }
        };
        let disp = instruction.memory_displacement64() as i64;
        if instruction.memory_index() != Register::None {
            return unknown();
        }
        let Some(base) = number(instruction.memory_base()) else { return unknown() };
        let place = match state.regs[base] {
            Value::Context => (None, disp),
            Value::Field(through) => (Some(through), disp),
            Value::Frame if base == RBP => {
                return match state.homes.get(&disp) {
                    Some((held, value))
                        if *held == size || size < *held && value.max() <= U32 && size == 4 =>
                    {
                        *value
                    }
                    _ => unknown(),
                };
            }
            _ => return unknown(),
        };
        if size != 8 {
            return unknown();
        }
        match self.fields.iter().find(|(field, _)| *field == place) {
            Some((_, value)) => *value,
            None if self.fields.iter().any(|((through, _), _)| *through == Some(disp)) => {
                Value::Field(disp)
            }
            None => unknown(),
        }
    }

    fn operand(&self, instruction: &Instruction, state: &State, operand: u32) -> Value {
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let register = instruction.op_register(operand);
                let Some(reg) = number(register) else { return Value::any() };
                let value = state.regs[reg];
                match register.size() {
                    8 => value,
                    4 if value.max() <= U32 || matches!(value, Value::Bool(_)) => value,
                    4 => Value::Number { name: NAMELESS, add: 0, max: U32 },
                    // The low byte of a truth value is the truth value.
                    1 if matches!(value, Value::Bool(_)) => value,
                    1 => Value::Number { name: NAMELESS, add: 0, max: 0xff },
                    _ => Value::Number { name: NAMELESS, add: 0, max: 0xffff },
                }
            }
            OpKind::Memory => self.load(instruction, state, instruction.memory_size().size()),
            OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64 => {
                Value::constant(instruction.immediate(operand))
            }
            OpKind::Immediate8 | OpKind::Immediate16 | OpKind::Immediate32 => {
                Value::constant(instruction.immediate(operand))
            }
            OpKind::Immediate8to32 => Value::constant(instruction.immediate(operand) & U32),
            _ => Value::any(),
        }
    }

    /// What an instruction makes of its first operand, as far as it matters.
    fn result(&self, instruction: &Instruction, state: &State) -> Option<Value> {
        let operand = |n| self.operand(instruction, state, n);
        let wide =
            instruction.op_kind(0) == OpKind::Register && instruction.op_register(0).size() == 8;
        let conditional = instruction.condition_code() != ConditionCode::None
            && instruction.op_kind(0) == OpKind::Register;
        match instruction.mnemonic() {
            Mnemonic::Mov | Mnemonic::Movzx => Some(operand(1)),
            Mnemonic::Xor if instruction.op_kind(1) == OpKind::Register => {
                let same = instruction.op_register(0) == instruction.op_register(1);
                same.then(|| Value::constant(0))
            }
            Mnemonic::Lea if wide => Some(self.address(instruction, state)),
            Mnemonic::Add if wide => match (operand(0), operand(1)) {
                (value, other) if other.as_constant().is_some() => {
                    Some(value.plus(other.as_constant()?))
                }
                (value, other) if value.as_constant().is_some() => {
                    Some(other.plus(value.as_constant()?))
                }
                _ => None,
            },
            Mnemonic::Sub if wide => match (operand(0), operand(1).as_constant()) {
                (Value::Length(memory), Some(end)) => Some(Value::Room { memory, end }),
                (Value::Frame, _) => Some(Value::Frame),
                _ => None,
            },
            Mnemonic::And if instruction.op_kind(0) == OpKind::Register => {
                let max = operand(0).max().min(operand(1).max());
                Some(Value::Number { name: NAMELESS, add: 0, max })
            }
            Mnemonic::Or => match (operand(0), operand(1)) {
                // Short or past the room that is left: past the end.
                (
                    Value::Bool(Fact::Short { memory, end }),
                    Value::Bool(Fact::PastRoom { memory: m, name, add, end: e }),
                )
                | (
                    Value::Bool(Fact::PastRoom { memory: m, name, add, end: e }),
                    Value::Bool(Fact::Short { memory, end }),
                ) if (memory, end) == (m, e) => {
                    Some(Value::Bool(Fact::Past { memory, name, add, end }))
                }
                _ => None,
            },
            _ if conditional && instruction.op_count() == 1 => {
                let (fact, condition) = state.flags?;
                (condition == instruction.condition_code()).then_some(Value::Bool(fact))
            }
            _ if conditional && wide => match (operand(0), operand(1)) {
                (a, b) if a == b => Some(a),
                // Null instead of an address: that is what the spectre mitigation does.
                (address @ (Value::Address { .. } | Value::Base(_)), b)
                    if b.as_constant() == Some(0) =>
                {
                    Some(address)
                }
                (a, b) => Some(Value::Number { name: NAMELESS, add: 0, max: a.max().max(b.max()) }),
            },
            _ => None,
        }
    }

    /// What `lea` computes.
    fn address(&self, instruction: &Instruction, state: &State) -> Value {
        let disp = instruction.memory_displacement64();
        let value = |register| number(register).map(|reg| state.regs[reg]);
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        if base == Register::RBP && index == Register::None {
            return Value::Frame;
        }
        if disp > i64::MAX as u64 {
            return Value::any();
        }
        match (value(base), value(index)) {
            (Some(Value::Base(memory)), index) if instruction.memory_index_scale() == 1 => {
                // Without an index register it is zero.
                match index.unwrap_or(Value::constant(0)).plus(disp) {
                    Value::Number { name, add, max } => Value::Address { memory, name, add, max },
                    _ => Value::any(),
                }
            }
            (Some(value), None) if index == Register::None => value.plus(disp),
            _ => Value::any(),
        }
    }

    /// The fact that a comparison decides, and the condition under which it holds.
    fn compared(&self, instruction: &Instruction, state: &State) -> Option<(Fact, ConditionCode)> {
        let operand = |n| self.operand(instruction, state, n);
        match instruction.mnemonic() {
            Mnemonic::Cmp => match (operand(0), operand(1)) {
                (Value::Number { name, add, max }, Value::Length(memory))
                    if name != NAMELESS && (add == 0 || max < u64::MAX) =>
                {
                    Some((Fact::Past { memory, name, add: 0, end: add }, ConditionCode::a))
                }
                (Value::Length(memory), value) => {
                    let end = value.as_constant()?;
                    Some((Fact::Short { memory, end }, ConditionCode::b))
                }
                (Value::Number { name, add, .. }, Value::Room { memory, end })
                    if name != NAMELESS =>
                {
                    Some((Fact::PastRoom { memory, name, add, end }, ConditionCode::a))
                }
                _ => None,
            },
            // What is left of a number without its low half.
            Mnemonic::Shr if operand(1).as_constant() == Some(32) => match operand(0) {
                Value::Number { name, add: 0, .. } if name > NAMELESS => {
                    Some((Fact::High { name }, ConditionCode::ne))
                }
                _ => None,
            },
            Mnemonic::Test => match (operand(0), operand(1)) {
                (Value::Bool(fact), Value::Bool(other)) if fact == other => {
                    Some((fact, ConditionCode::ne))
                }
                _ => None,
            },
            Mnemonic::Or => match self.result(instruction, state)? {
                Value::Bool(fact) => Some((fact, ConditionCode::ne)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Checks an instruction, and says what is known behind it.
    fn step(&mut self, instruction: &Instruction, state: &mut State) -> Result<(), String> {
        self.access(instruction, state)
            .map_err(|what| format!("{:#x}: `{instruction}`: {what}", instruction.ip()))?;
        let result = self.result(instruction, state);
        let flags = match instruction.rflags_modified() {
            0 => state.flags,
            _ => self.compared(instruction, state),
        };
        self.store(instruction, state, result);
        let written: Vec<Register> = self
            .info
            .info_options(instruction, InstructionInfoOptions::NO_MEMORY_USAGE)
            .used_registers()
            .iter()
            .filter(|used| {
                use OpAccess::*;
                matches!(used.access(), Write | CondWrite | ReadWrite | ReadCondWrite)
            })
            .map(|used| used.register())
            .collect();
        let call =
            matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        for register in written {
            let Some(reg) = number(register) else { continue };
            if reg == RSP {
                continue;
            }
            let first = instruction.op_count() > 0
                && instruction.op_kind(0) == OpKind::Register
                && number(instruction.op_register(0)) == Some(reg);
            let known = result.filter(|_| first);
            let size = match instruction.mnemonic() {
                // Registers that are not named are as wide as the one that is.
                Mnemonic::Div | Mnemonic::Idiv | Mnemonic::Mul => match instruction.op_kind(0) {
                    OpKind::Register => instruction.op_register(0).size(),
                    _ => instruction.memory_size().size(),
                },
                Mnemonic::Cdq => 4,
                _ if first => instruction.op_register(0).size(),
                _ => register.size(),
            };
            let old = state.regs[reg];
            let max = match size {
                8 => u64::MAX,
                4 => U32,
                _ => old.max().max(if old.max() <= U32 { 0xffff } else { u64::MAX }),
            };
            let value = match known {
                Some(Value::Number { name, add, max: m }) if size == 8 || size == 4 && m <= max => {
                    Value::Number { name, add, max: m }
                }
                Some(value) if size == 8 => value,
                Some(value @ Value::Bool(_)) => value,
                _ => Value::Number { name: NAMELESS, add: 0, max },
            };
            match value {
                Value::Number { name: NAMELESS, max, .. } => state.define(reg, instruction, max),
                value => state.regs[reg] = value,
            }
        }
        state.flags = flags;
        if call {
            for reg in (0..16).filter(|reg| !KEPT.contains(reg)) {
                state.define(reg, instruction, u64::MAX);
            }
            state.flags = None;
            let plans = &self.plans;
            let moves = |value: &mut Value| {
                if let Value::Base(memory) | Value::Address { memory, .. } = *value
                    && plans[memory as usize].may_move
                {
                    *value = Value::any();
                }
            };
            state.regs.iter_mut().for_each(moves);
            state.homes.values_mut().for_each(|(_, value)| moves(value));
        }
        if instruction.mnemonic() == Mnemonic::Mov
            && instruction.op_kind(0) == OpKind::Register
            && instruction.op_register(0) == Register::RBP
        {
            state.regs[RBP] = Value::Frame;
        }
        Ok(())
    }

    /// Follows writes to the frame.
    fn store(&self, instruction: &Instruction, state: &mut State, result: Option<Value>) {
        if instruction.op_count() == 0 || instruction.op_kind(0) != OpKind::Memory {
            return;
        }
        if matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test) {
            return;
        }
        let size = instruction.memory_size().size();
        let disp = instruction.memory_displacement64() as i64;
        let base = instruction.memory_base();
        if base == Register::RBP && instruction.memory_index() == Register::None {
            state.overwrite(disp, disp + size as i64);
            if let Some(value) = result
                && instruction.mnemonic() == Mnemonic::Mov
                && (size == 8 || size == 4)
            {
                state.homes.insert(disp, (size, value));
            }
        } else if base != Register::RSP
            && number(base).is_some_and(|base| state.regs[base] == Value::Frame)
        {
            let at = instruction.ip() as u32;
            let inside = |code: (u32, u32)| code.0 <= at && at < code.1;
            match self.claims.zeros.iter().find(|claim| inside(claim.code)) {
                Some(claim) => state.overwrite(claim.frame.0.into(), claim.frame.1.into()),
                None => state.homes.clear(),
            }
        }
    }

    /// Checks an instruction's access to memory.
    fn access(&self, instruction: &Instruction, state: &State) -> Result<(), String> {
        let operands = 0..instruction.op_count();
        let memory = operands.clone().any(|n| instruction.op_kind(n) == OpKind::Memory);
        if !memory || instruction.mnemonic() == Mnemonic::Lea {
            return Ok(());
        }
        if instruction.memory_segment() != Register::DS
            && instruction.memory_segment() != Register::SS
        {
            return Err("a segment".into());
        }
        let base = instruction.memory_base();
        let value = number(base).map(|reg| state.regs[reg]);
        let at = instruction.ip() as u32;
        let claim =
            self.claims.accesses.iter().find(|claim| claim.code.0 <= at && at < claim.code.1);
        if instruction.is_ip_rel_memory_operand() {
            return Ok(());
        }
        if base == Register::RBP || base == Register::RSP {
            return match instruction.memory_index() {
                Register::None => Ok(()),
                // Lanes of a vector that was put there.
                register if base == Register::RBP && instruction.memory_index_scale() == 1 => {
                    let index = number(register).map_or(u64::MAX, |reg| state.regs[reg].max());
                    let disp = instruction.memory_displacement64() as i64;
                    let end = disp.saturating_add_unsigned(index.saturating_add(16));
                    let inside = end <= 0 && instruction.op0_kind() != OpKind::Memory;
                    inside.then_some(()).ok_or("an index into the frame, not proven".into())
                }
                _ => Err("an index into the frame".into()),
            };
        }
        match (claim, value) {
            (Some(claim), Some(value)) => self.linear_memory(instruction, state, claim, value),
            (Some(_), None) => Err("an access to linear memory without a base".into()),
            (None, Some(Value::Base(_) | Value::Address { .. })) => {
                Err("an access to linear memory that was not claimed".into())
            }
            // Through the null reference: it faults.
            (None, Some(value))
                if value.as_constant() == Some(0)
                    && instruction.memory_displacement64() < 0x1000 =>
            {
                Ok(())
            }
            (None, Some(value)) if value.max() <= U32 => Err("a number as an address".into()),
            (None, Some(_)) => Ok(()),
            (None, None) => Err("an address without a base".into()),
        }
    }

    fn linear_memory(
        &self,
        instruction: &Instruction,
        state: &State,
        claim: &AccessClaim,
        base: Value,
    ) -> Result<(), String> {
        let disp = instruction.memory_displacement64();
        let size = instruction.memory_size().size() as u64;
        let expected = claim.memory.0;
        let index = match instruction.memory_index() {
            Register::None => Value::constant(0),
            _ if instruction.memory_index_scale() != 1 => return Err("a scaled index".into()),
            register => number(register).map_or(Value::any(), |reg| state.regs[reg]),
        };
        let (memory, name, add, max) = match (base, index) {
            (Value::Base(memory), Value::Number { name, add, max }) => (memory, name, add, max),
            (Value::Address { memory, name, add, max }, index)
                if index.as_constant() == Some(0) =>
            {
                (memory, name, add, max)
            }
            (Value::Base(_) | Value::Address { .. }, _) => {
                return Err(format!("{index:?} as an index"));
            }
            _ => return Err(format!("{base:?} instead of the base of memory {expected}")),
        };
        if memory != expected {
            return Err(format!("memory {memory} instead of {expected}"));
        }
        if disp > i32::MAX as u64 {
            return Err("a negative displacement".into());
        }
        let plan = &self.plans[memory as usize];
        let end = max.checked_add(disp).and_then(|end| end.checked_add(size));
        if plan.guarded && end.is_some_and(|end| end <= U32 + plan.guard) {
            return Ok(());
        }
        // A memory never has less than its least size.
        if end.is_some_and(|end| u128::from(end) <= self.minimums[memory as usize]) {
            return Ok(());
        }
        let checked = |fact: &Fact| match fact {
            Fact::Past { memory: m, name: n, add: a, end } => {
                // All sums are modulo 2^64 but this one, from what was compared to the access's end.
                let rest = add.wrapping_sub(*a).checked_add(disp).and_then(|r| r.checked_add(size));
                (*m, *n) == (memory, name) && rest.is_some_and(|rest| rest <= *end)
            }
            _ => false,
        };
        if name != NAMELESS && state.refuted.iter().any(checked) {
            return Ok(());
        }
        Err(format!("the index is not proven to be inside: {index:?}, {base:?}"))
    }
}

fn opposite(condition: ConditionCode) -> ConditionCode {
    match condition {
        ConditionCode::a => ConditionCode::be,
        ConditionCode::b => ConditionCode::ae,
        ConditionCode::ne => ConditionCode::e,
        _ => ConditionCode::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Features, Scratch};
    use wardian_module::layout::Linkage;
    use wardian_module::{Proposals, decode};

    /// Compiles function 0 of `wat`, lets the checker see it as it is and with each instruction for
    /// which `wrong` holds replaced by none, and gives back how many of those it accepted and rejected.
    fn check(wat: &str, explicit: bool, wrong: impl Fn(&Instruction) -> bool) -> (usize, usize) {
        let wasm = wat::parse_str(wat).expect("the test is text");
        let (module, bodies) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let mut settings = Settings::default();
        if explicit {
            settings.signals_based_traps = false;
            settings.memory_reservation = 0;
            settings.memory_guard_size = 0;
        }
        let layout = VmLayout::new(&module);
        let mut scratch = Scratch::new();
        let body = bodies.into_iter().next().expect("there is a function");
        let compiler = Compiler::new(&settings, Features::default());
        let code = compiler
            .compile(&module, &layout, body, Linkage::Slots, &mut scratch)
            .expect("it compiles and is right");
        let claims = scratch.claims();
        let (mut accepted, mut rejected) = (0, 0);
        for instruction in Decoder::with_ip(64, &code.bytes, 0, DecoderOptions::NONE) {
            if !wrong(&instruction) {
                continue;
            }
            let mut bytes = code.bytes.clone();
            let place = instruction.ip() as usize..instruction.next_ip() as usize;
            bytes[place].fill(0x90);
            match verify(&module, &layout, &settings, &bytes, claims) {
                Ok(()) => accepted += 1,
                Err(_) => rejected += 1,
            }
        }
        (accepted, rejected)
    }

    fn extends(instruction: &Instruction) -> bool {
        instruction.mnemonic() == Mnemonic::Mov
            && (0..2).all(|n| instruction.op_kind(n) == OpKind::Register)
            && instruction.op_register(0).size() == 4
    }

    #[test]
    fn a_zero_extension_that_is_left_out_is_noticed() {
        for (what, body) in [
            ("wrap", "(param i64) (result i32) (i32.load (i32.wrap_i64 (local.get 0)))"),
            ("argument", "(param i32) (result i32) (i32.load (local.get 0))"),
            ("result of a call", "(result i32) (i32.load (call 1))"),
            ("result of a builtin", "(result i32) (i32.load (memory.grow (i32.const 0)))"),
            (
                "argument, in a loop that pins it",
                "(param i32) (loop (br_if 0 (i32.load (local.get 0))) (br_if 0 (i32.load8_u (local.get 0)))
                   (i32.store (local.get 0) (i32.load (local.get 0))))",
            ),
        ] {
            let wat = format!(
                "(module (memory 1) (func {body}) (func (result i32) (i32.const 1)))"
            );
            let (_, rejected) = check(&wat, false, extends);
            assert_eq!(rejected, 1, "{what}");
        }
    }

    #[test]
    fn a_bounds_check_that_is_left_out_is_noticed() {
        let branch = |i: &Instruction| i.condition_code() == ConditionCode::a && i.is_jcc_near();
        let wat = "(module (memory 1) (func (param i32) (result i32) (i32.load (local.get 0))))";
        assert_eq!(check(wat, true, branch), (0, 1));
        let branch = |i: &Instruction| i.condition_code() == ConditionCode::ne && i.is_jcc_near();
        let wat =
            "(module (memory i64 1) (func (param i64) (result i32) (i32.load (local.get 0))))";
        assert_eq!(check(wat, true, branch), (0, 1));
        assert_eq!(check(wat, false, branch), (0, 1));
    }

    #[test]
    fn a_base_that_was_not_read_again_after_growth_is_noticed() {
        let wat = "(module (memory 1) (func (param i32) (result i32)
            (drop (i32.load (local.get 0)))
            (drop (memory.grow (i32.const 1)))
            (i32.load (local.get 0))))";
        // Loads from the context into a register that a call does not keep.
        let load = |i: &Instruction| {
            i.mnemonic() == Mnemonic::Mov
                && i.op_kind(0) == OpKind::Register
                && i.op_register(0).size() == 8
                && i.op_kind(1) == OpKind::Memory
        };
        let (_, rejected) = check(wat, true, load);
        assert!(rejected >= 2, "{rejected}");
    }
}

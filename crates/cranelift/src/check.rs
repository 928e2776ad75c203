//! Checks finished machine code: every access to memory goes to something that code may reach, and an
//! access to a linear memory or table has its base, and an index that stays inside it or its guard. It
//! believes neither lowering nor code generator: it decodes the bytes again, with a decoder that is not
//! the encoder's, and follows what registers and the frame hold over all paths.
//!
//! What it holds for true:
//! - At entry `rdi` is the context, `rsi` the result area if the signature has one. A call leaves
//!   `rbx`, `r12` to `r15`, `rbp` and the frame as they were (the epoch shim: all registers), pops its
//!   stack arguments, and may move memories that may move, and tables. It writes only to result areas,
//!   which hold no spilled value.
//! - Fields lie where the layout says; a memory or table never shrinks.
//! - A jump through a register is a tail call, or one through the table of distances behind it, which
//!   ends where code begins.
//!
//! What it accepts without proof, and counts ([`Accepted`]): reads of a function reference's fields
//! through a value that came from anywhere, if the instruction is one that calls references; and reads
//! of the function's own jump tables, whose index it does not follow.
//!
//! What it does not prove although it is right, so that it rejects correct code: some accesses to 64-bit
//! memories, where the optimizer folds a comparison with constants, and a few with explicit checks, where
//! index and end of an access meet other values on the way. For this reason the suites and the differ
//! do not run it yet.
//!
//! How: a forward dataflow. A value is known as a sum of an unknown and a constant, with an upper bound;
//! 32-bit instructions bound what they write, 64-bit instructions do not. A comparison with a length
//! gives, behind the branch that trusts it, the fact that an unknown plus so many bytes lies inside. An
//! unknown is named after the instruction that makes it; when that instruction runs again, the name
//! means the new value, and whoever held the old one loses the name.

use iced_x86::{
    ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, OpKind, Register,
};
use std::collections::{BTreeMap, BTreeSet};
use wardian_module::abi::CallLayout;
use wardian_module::image::{FunctionCode, Location, RelocTarget};
use wardian_module::layout::{
    Field, FuncRefField, LIVE_SLOT, Linkage, ModuleTable, VmLayout, table_element_size,
};
use wardian_module::{
    FuncIndex, GlobalIndex, MemoryIndex, MemoryPlan, Module, Settings, TableIndex, Trap,
};

/// Whether there is a checker.
pub(crate) const ON: bool = true;

const U32: u64 = u32::MAX as u64;
const RSP: usize = 4;
const RSI: usize = 6;
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
/// With an object: its length, until a call.
const LENGTH: Name = 1 << 60;
/// With a name: the low half of that unknown.
const LOW: Name = 1 << 61;
/// The same with its low 16 or 8 bits.
const LOW_16: Name = 1 << 59;
const LOW_8: Name = 1 << 58;
const PARTS: Name = LOW | LOW_16 | LOW_8;
/// With an address of code shifted by [`PLACE`], and a register or home: where two paths meet.
const JOINED: Name = 1 << 62;
/// With the same: what an instruction makes.
const MADE: Name = 1 << 63;
const PLACE: u32 = 31;

/// Times that a block's state is replaced; then it only loses.
const PATIENCE: u32 = 100;

/// A memory, or behind all memories a table.
type Object = u32;

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
    /// The unknown plus `add`, without overflow if it is below some length, times a power of 2.
    Scaled {
        name: Name,
        add: u64,
        shift: u32,
    },
    /// An address in the VM context.
    Context(i64),
    /// A pointer that lies at this offset of the context and has something behind it.
    Through(i64),
    /// An address in the module table.
    Table(i64),
    /// State of a frame that is being replaced.
    Live,
    /// Where the engine's epoch is.
    Epoch,
    /// The epoch shim, which changes no register.
    EpochShim,
    /// The caller's result area.
    Area(i64),
    /// An address in the frame; 0 is that of the return address.
    Frame(i64),
    /// An address in this function's code.
    Code,
    Base(Object),
    Length(Object),
    /// A length less a constant.
    Room {
        object: Object,
        end: u64,
    },
    /// Base of a memory plus the unknown `name` plus `add`, modulo 2^64; the index is at most `max`.
    Address {
        object: Object,
        name: Name,
        add: u64,
        max: u64,
    },
    /// Address of the element of a table at the unknown plus `add`, of this many bytes as a power of 2.
    Element {
        object: Object,
        name: Name,
        add: u64,
        shift: u32,
    },
    /// Not zero if the facts hold, any of them; or the other way round.
    /// `clean` says so of the whole register, else it is so of the low byte.
    Bool {
        facts: [Option<Fact>; 2],
        holds: bool,
        clean: bool,
    },
}

/// What a comparison says; true means out of bounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fact {
    /// The length is below `end`.
    Short { object: Object, end: u64 },
    /// The unknown plus `add`, modulo 2^64, is above the length less `end`, as a 64-bit difference.
    PastRoom { object: Object, name: Name, add: u64, end: u64 },
    /// The unknown plus `add`, modulo 2^64, is above the length when `end` is added to it.
    Past { object: Object, name: Name, add: u64, end: u64 },
}

impl Fact {
    fn name(self) -> Option<Name> {
        match self {
            Fact::Short { .. } => None,
            Fact::PastRoom { name, .. } | Fact::Past { name, .. } => Some(name),
        }
    }
}

impl Fact {
    /// What two facts about two unknowns say of one that may be either.
    fn common(self, other: Fact, name: Name) -> Option<Fact> {
        match (self, other) {
            (Fact::Past { object, add, end, .. }, Fact::Past { object: o, add: a, end: e, .. })
                if (object, add) == (o, a) =>
            {
                Some(Fact::Past { object, name, add, end: end.min(e) })
            }
            (
                Fact::PastRoom { object, add, end, .. },
                Fact::PastRoom { object: o, add: a, end: e, .. },
            ) if (object, add, end) == (o, a, e) => Some(Fact::PastRoom { object, name, add, end }),
            _ => None,
        }
    }
}

/// A bound of both numbers. There are few, so that a loop does not widen it forever.
fn wider(a: u64, b: u64) -> u64 {
    [U32, 1 << 40].into_iter().find(|bound| a.max(b) <= *bound).unwrap_or(u64::MAX)
}

impl Value {
    fn any() -> Value {
        Value::Number { name: NAMELESS, add: 0, max: u64::MAX }
    }

    fn below(max: u64) -> Value {
        Value::Number { name: NAMELESS, add: 0, max }
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
        match self {
            Value::Number { max, .. } => max,
            Value::Bool { clean: true, .. } => 1,
            _ => u64::MAX,
        }
    }

    /// Whether two that are equal are the same number. (Lengths change, and keep their name.)
    fn is_exact(self) -> bool {
        match self {
            Value::Number { name, .. } => name != NAMELESS,
            Value::Context(_) | Value::Frame(_) | Value::Table(_) | Value::Base(_) => true,
            _ => false,
        }
    }

    fn is_nameless(self) -> bool {
        matches!(self, Value::Number { name: NAMELESS, .. })
    }

    fn has(self, stale: &impl Fn(Name) -> bool) -> bool {
        match self {
            Value::Number { name, .. }
            | Value::Scaled { name, .. }
            | Value::Address { name, .. }
            | Value::Element { name, .. } => stale(name),
            Value::Bool { facts, .. } => {
                facts.into_iter().flatten().filter_map(Fact::name).any(stale)
            }
            _ => false,
        }
    }

    /// The value, no longer under this name.
    fn forget(&mut self, stale: &impl Fn(Name) -> bool) {
        if self.has(stale) {
            *self = match *self {
                Value::Number { max, .. } => Value::below(max),
                Value::Address { object, max, add, .. } => {
                    Value::Address { object, name: NAMELESS, add, max }
                }
                Value::Element { object, shift, .. } => {
                    Value::Element { object, name: NAMELESS, add: 0, shift }
                }
                Value::Bool { clean: true, .. } => Value::below(1),
                _ => Value::any(),
            };
        }
    }

    /// A length as a number like any other.
    fn numbered(self) -> Value {
        match self {
            Value::Length(object) => {
                Value::Number { name: LENGTH | u64::from(object), add: 0, max: u64::MAX }
            }
            value => value,
        }
    }

    /// The sum, as a 64-bit number.
    fn plus(self, other: Value) -> Value {
        use Value::*;
        let (this, other) = (self.numbered(), other.numbered());
        let moved = |place: i64, by: u64| place.wrapping_add(by as i64);
        match (this, other) {
            (Number { name, add, max }, Number { name: n, add: a, max: m }) => {
                let name = match (name, n) {
                    (name, ZERO) | (ZERO, name) => name,
                    _ => NAMELESS,
                };
                // What is nameless has no sum to remember.
                let add = if name == NAMELESS { 0 } else { add.wrapping_add(a) };
                Number { name, add, max: max.saturating_add(m) }
            }
            (Base(object), number @ Number { .. }) | (number @ Number { .. }, Base(object)) => {
                Address { object, name: ZERO, add: 0, max: 0 }.plus(number)
            }
            (address @ Address { .. }, Number { .. }) => address.indexed(other),
            (Number { .. }, address @ Address { .. }) => address.indexed(this),
            (Base(object), Scaled { name, add, shift })
            | (Scaled { name, add, shift }, Base(object)) => Element { object, name, add, shift },
            (Context(at), by) | (by, Context(at)) if by.as_constant().is_some() => {
                Context(moved(at, by.as_constant().unwrap_or(0)))
            }
            (Frame(at), by) | (by, Frame(at)) if by.as_constant().is_some() => {
                Frame(moved(at, by.as_constant().unwrap_or(0)))
            }
            (Area(at), by) | (by, Area(at)) if by.as_constant().is_some() => {
                Area(moved(at, by.as_constant().unwrap_or(0)))
            }
            (Table(at), by) | (by, Table(at)) if by.as_constant().is_some() => {
                Table(moved(at, by.as_constant().unwrap_or(0)))
            }
            (Code, _) | (_, Code) => Code,
            (value, by) | (by, value) if by.as_constant() == Some(0) => value,
            _ => Value::any(),
        }
    }

    /// An address in a memory, further on.
    fn indexed(self, by: Value) -> Value {
        match (self, by) {
            (
                Value::Address { object, name, add, max },
                Value::Number { name: n, add: a, max: m },
            ) => {
                let name = match (name, n) {
                    (name, ZERO) | (ZERO, name) => name,
                    _ => NAMELESS,
                };
                let max = max.saturating_add(m);
                Value::Address { object, name, add: add.wrapping_add(a), max }
            }
            _ => Value::any(),
        }
    }

    /// Times a power of 2, or as it is.
    fn scaled(self, shift: u32) -> Value {
        match self.numbered() {
            _ if shift == 0 => self,
            Value::Number { name, add, .. } if name != ZERO => Value::Scaled { name, add, shift },
            Value::Number { add, max, .. } => {
                let max = max.saturating_mul(1 << shift);
                Value::Number { name: ZERO, add: add << shift, max }
            }
            _ => Value::any(),
        }
    }

    /// As 32 bits, the others zero. `None` if that is something new.
    fn low(self) -> Option<Value> {
        match self {
            value if value.max() <= U32 => Some(value),
            _ => self.part(LOW, U32),
        }
    }

    /// Its lowest bits, as many as `max` has.
    fn part(self, part: Name, max: u64) -> Option<Value> {
        match self {
            Value::Number { name, add: 0, .. } if name > NAMELESS && name & PARTS == 0 => {
                Some(Value::Number { name: name | part, add: 0, max })
            }
            _ => None,
        }
    }
}

/// What is known at a place of the code.
#[derive(Clone, PartialEq)]
struct State {
    regs: [Value; 16],
    /// What lies in the frame, by place: bytes, and the value there.
    homes: BTreeMap<i64, (usize, Value)>,
    /// What does not hold: it is long enough.
    refuted: BTreeSet<Fact>,
    /// What was compared last.
    flags: Option<(Value, Value)>,
}

impl State {
    fn entry(area: bool) -> State {
        let mut regs = [Value::any(); 16];
        for (reg, value) in regs.iter_mut().enumerate() {
            *value = Value::Number { name: ARGUMENT | reg as u64, add: 0, max: u64::MAX };
        }
        regs[RDI] = Value::Context(0);
        regs[RSP] = Value::Frame(0);
        if area {
            regs[RSI] = Value::Area(0);
        }
        State { regs, homes: BTreeMap::new(), refuted: BTreeSet::new(), flags: None }
    }

    /// Takes a name away from whoever has it.
    fn forget(&mut self, stale: impl Fn(Name) -> bool) {
        let stale = |name: Name| stale(name & !PARTS);
        self.regs.iter_mut().for_each(|value| value.forget(&stale));
        self.homes.values_mut().for_each(|(_, value)| value.forget(&stale));
        self.refuted.retain(|fact| !fact.name().is_some_and(stale));
        if self.flags.is_some_and(|(a, b)| a.has(&stale) || b.has(&stale)) {
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

    /// What the states say in common that arrive at `block`.
    fn common<'a>(mut arriving: impl Iterator<Item = &'a State>, block: u32) -> State {
        let mut common = arriving.next().expect("a block that is looked at is reached").clone();
        for (nth, other) in arriving.enumerate() {
            if nth == 0 {
                common.forget(|name| name >> PLACE == joined(block, 0) >> PLACE);
            }
            common = common.merge(other.clone(), block);
        }
        common
    }

    /// What both states say, at `block`.
    fn merge(&self, mut other: State, block: u32) -> State {
        let own = |place: u64| joined(block, place);
        other.forget(|name| name >> PLACE == own(0) >> PLACE);
        // What both have as the same sum of two unknowns is the same sum of a new one.
        let mut pairs: BTreeMap<(Name, Name), Name> = BTreeMap::new();
        let mut join = |a: Value, b: Value, place: u64| match (a, b) {
            _ if a == b && !a.is_nameless() => a,
            (Value::Number { name, add, max }, Value::Number { name: n, add: c, max: m }) => {
                let max = wider(max, m);
                if add != c || name.min(n) <= NAMELESS {
                    return Value::Number { name: own(place), add: 0, max };
                }
                if name == n {
                    return Value::Number { name, add, max };
                }
                let name = *pairs.entry((name, n)).or_insert_with(|| own(place));
                Value::Number { name, add, max }
            }
            (Value::Bool { .. }, _) | (_, Value::Bool { .. }) if a.max().max(b.max()) <= U32 => {
                Value::Number { name: own(place), add: 0, max: U32 }
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
        for ((name, n), new) in pairs {
            let of = |facts: &BTreeSet<Fact>, name| -> Vec<Fact> {
                facts.iter().filter(|fact| fact.name() == Some(name)).copied().collect()
            };
            for fact in of(&self.refuted, name) {
                let common = of(&other.refuted, n);
                merged.refuted.extend(common.iter().filter_map(|other| fact.common(*other, new)));
            }
        }
        if merged.flags != other.flags {
            merged.flags = None;
        }
        merged
    }

    /// Removes what is known of a part of the frame.
    fn overwrite(&mut self, start: i64, end: i64) {
        self.homes.retain(|home, (size, _)| *home >= end || *home + *size as i64 <= start);
    }

    /// Makes use of a comparison's outcome.
    fn learn(&mut self, condition: ConditionCode, taken: bool) {
        let Some((a, b)) = self.flags else { return };
        if let Some(Value::Bool { facts, holds, .. }) = decided(a, b, condition)
            && holds != taken
        {
            self.refuted.extend(facts.into_iter().flatten());
        }
    }
}

/// The name of what paths have in a place when they meet.
fn joined(block: u32, place: u64) -> Name {
    JOINED | u64::from(block) << PLACE | place
}

fn number(register: Register) -> Option<usize> {
    let full = register.full_register();
    (Register::RAX..=Register::R15).contains(&full).then(|| full as usize - Register::RAX as usize)
}

/// What a condition of a comparison's flags says.
fn decided(a: Value, b: Value, condition: ConditionCode) -> Option<Value> {
    use ConditionCode as C;
    // A constant is subtracted by adding its opposite, too.
    let room = |value| match value {
        Value::Number { name, add, .. } if name & !0xffff_ffff == LENGTH && add != 0 => {
            Value::Room { object: name as Object, end: add.wrapping_neg() }
        }
        value => value,
    };
    let (a, b) = (room(a), room(b));
    let bool = |fact, holds| Some(Value::Bool { facts: [Some(fact), None], holds, clean: false });
    match (a, b, condition) {
        (Value::Bool { facts, holds, .. }, zero, C::ne | C::e) if zero.as_constant() == Some(0) => {
            Some(Value::Bool { facts, holds: holds == (condition == C::ne), clean: false })
        }
        (Value::Number { name, add, max }, Value::Length(object), _) if name > NAMELESS => {
            // Without overflow, the constant may as well be added later.
            let (add, end) = if max < u64::MAX { (0, add) } else { (add, 0) };
            let fact =
                |more| end.checked_add(more).map(|end| Fact::Past { object, name, add, end });
            match condition {
                C::a | C::be => bool(fact(0)?, condition == C::a),
                C::ae | C::b => bool(fact(1)?, condition == C::ae),
                _ => None,
            }
        }
        (Value::Number { name, add, .. }, Value::Room { object, end }, C::a | C::be)
            if name != NAMELESS =>
        {
            bool(Fact::PastRoom { object, name, add, end }, condition == C::a)
        }
        (Value::Length(object), zero, C::e | C::ne) if zero.as_constant() == Some(0) => {
            bool(Fact::Short { object, end: 1 }, condition == C::e)
        }
        (Value::Length(object), value, C::b | C::ae) if value.as_constant().is_some() => {
            bool(Fact::Short { object, end: value.as_constant()? }, condition == C::b)
        }
        (Value::Length(object), value, C::be | C::a) if value.as_constant().is_some() => {
            let end = value.as_constant()?.checked_add(1)?;
            bool(Fact::Short { object, end }, condition == C::be)
        }
        (Value::Length(_), Value::Length(_) | Value::Room { .. }, _) => {
            decided(a.numbered(), b, condition)
        }
        (Value::Room { .. }, Value::Length(_), _) => decided(a, b.numbered(), condition),
        (Value::Room { .. }, Value::Number { .. }, _) => decided(b, a, mirrored(condition)?),
        (Value::Length(_), Value::Number { name, .. }, _) if name > NAMELESS => {
            decided(b, a, mirrored(condition)?)
        }
        (value, Value::Length(_), _) if value.as_constant().is_some() => {
            decided(b, a, mirrored(condition)?)
        }
        _ => None,
    }
}

/// The condition that says the same of the operands in the other order.
fn mirrored(condition: ConditionCode) -> Option<ConditionCode> {
    Some(match condition {
        ConditionCode::a => ConditionCode::b,
        ConditionCode::b => ConditionCode::a,
        ConditionCode::ae => ConditionCode::be,
        ConditionCode::be => ConditionCode::ae,
        _ => return None,
    })
}

/// Accesses of a function by how they were found to be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Accepted {
    /// To linear memories, inside of reservation and guard.
    pub(crate) guarded: usize,
    /// To linear memories, behind a comparison.
    pub(crate) compared: usize,
    /// To elements of tables, behind a comparison.
    pub(crate) elements: usize,
    /// Not proven: to fields of function references.
    pub(crate) references: usize,
    /// Not proven: to jump tables.
    pub(crate) jumps: usize,
}

/// A field that code may reach: the pointer on the way, the offset, bytes, whether it may be written.
struct Known {
    through: Option<i64>,
    offset: i64,
    bytes: i64,
    writable: bool,
    value: Option<Value>,
}

struct Checker<'a> {
    module: &'a Module,
    code: &'a FunctionCode,
    own: &'a CallLayout,
    /// Targets of jump tables, by place.
    tables: BTreeMap<u32, Vec<u32>>,
    plans: Vec<MemoryPlan>,
    fields: Vec<Known>,
    context_bytes: i64,
    table_bytes: i64,
    live_bytes: i64,
    info: InstructionInfoFactory,
    accepted: BTreeMap<u32, Accepted>,
}

/// Checks a function.
pub(crate) fn verify(
    module: &Module,
    layout: &VmLayout,
    settings: &Settings,
    own: &CallLayout,
    linkage: Linkage,
    live_slots: u32,
    code: &FunctionCode,
) -> Result<Accepted, String> {
    let mut fields = Vec::new();
    let mut field = |field, writable, value| {
        let path = layout.path(module, field);
        fields.push(Known {
            through: path.through.map(i64::from),
            offset: path.offset.into(),
            bytes: path.repr.bytes().into(),
            writable,
            value,
        });
    };
    let memories = module.memories.len() as u32;
    for i in 0..memories {
        field(Field::MemoryBase(MemoryIndex(i)), false, Some(Value::Base(i)));
        field(Field::MemoryLength(MemoryIndex(i)), false, Some(Value::Length(i)));
    }
    for i in 0..module.tables.len() as u32 {
        field(Field::TableBase(TableIndex(i)), false, Some(Value::Base(memories + i)));
        field(Field::TableLength(TableIndex(i)), false, Some(Value::Length(memories + i)));
    }
    for (i, global) in module.globals.iter().enumerate() {
        field(Field::Global(GlobalIndex(i as u32)), global.ty.mutable, None);
    }
    for i in 0..module.imported_funcs as u32 {
        field(Field::ImportCode(FuncIndex(i)), false, None);
        field(Field::ImportContext(FuncIndex(i)), false, None);
    }
    field(Field::StackLimit, false, None);
    field(Field::LiveState, false, Some(Value::Live));
    field(Field::Fuel, settings.consume_fuel, None);
    field(Field::EpochDeadline, false, None);
    field(Field::Epoch, false, Some(Value::Epoch));
    field(Field::EpochShim, false, Some(Value::EpochShim));
    let plans = module.memories.iter().map(|ty| MemoryPlan::new(settings, ty)).collect();
    let table = ModuleTable::size(module.types.len(), module.bodies.len(), linkage);
    let checker = Checker {
        module,
        code,
        own,
        tables: BTreeMap::new(),
        plans,
        fields,
        context_bytes: layout.size().into(),
        table_bytes: table as i64,
        live_bytes: i64::from(live_slots) * i64::from(LIVE_SLOT),
        info: InstructionInfoFactory::new(),
        accepted: BTreeMap::new(),
    };
    checker.run()
}

impl Checker<'_> {
    fn memories(&self) -> u32 {
        self.plans.len() as u32
    }

    fn decode(&self, at: u32) -> Result<Instruction, String> {
        let bytes = self.code.bytes.get(at as usize..).unwrap_or_default();
        let instruction = Decoder::with_ip(64, bytes, at.into(), DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            return Err(format!("{at:#x}: no instruction"));
        }
        Ok(instruction)
    }

    /// The relocation inside of an instruction.
    fn reloc(&self, instruction: &Instruction) -> Option<&wardian_module::image::Reloc> {
        let inside = instruction.ip() as u32..instruction.next_ip() as u32;
        self.code.relocs.iter().find(|reloc| inside.contains(&reloc.offset))
    }

    /// Where an instruction may go on.
    fn targets(&self, instruction: &Instruction) -> Result<Vec<u32>, String> {
        let at = instruction.ip() as u32;
        let next = instruction.next_ip() as u32;
        let near = instruction.near_branch_target() as u32;
        Ok(match instruction.flow_control() {
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => vec![next],
            FlowControl::ConditionalBranch => vec![next, near],
            // To another function.
            FlowControl::UnconditionalBranch if self.reloc(instruction).is_some() => vec![],
            FlowControl::UnconditionalBranch => vec![near],
            FlowControl::IndirectBranch => match self.tables.get(&next) {
                Some(targets) => targets.clone(),
                // To another function.
                None => vec![],
            },
            FlowControl::Return | FlowControl::Exception => vec![],
            other => return Err(format!("{at:#x}: {other:?} is nothing the tier emits")),
        })
    }

    /// The targets of the jump table behind `last`, if it is a jump through one. The code generator
    /// writes such a jump as four instructions in a row, with the table behind them.
    fn table(&self, before: &[Instruction; 3], last: &Instruction) -> Option<Vec<u32>> {
        let start = last.next_ip() as u32;
        let [lea, load, add] = before;
        let through = last.flow_control() == FlowControl::IndirectBranch
            && lea.mnemonic() == Mnemonic::Lea
            && lea.is_ip_rel_memory_operand()
            && lea.memory_displacement64() == u64::from(start)
            && load.mnemonic() == Mnemonic::Movsxd
            && load.memory_base() == lea.op0_register()
            && add.mnemonic() == Mnemonic::Add
            && add.op0_register() == last.op0_register();
        if !through {
            return None;
        }
        let mut targets = Vec::new();
        let mut end = self.code.bytes.len();
        let mut at = start as usize;
        while at + 4 <= end {
            let entry = self.code.bytes[at..at + 4].try_into().expect("4 bytes");
            let target = start.wrapping_add(u32::from_le_bytes(entry));
            // A jump over nothing, which the code generator left behind.
            let left = self.code.bytes[at] == 0xe9 && at + 5 == end;
            if left || target as usize >= self.code.bytes.len() {
                break;
            }
            if target > start {
                end = end.min(target as usize);
            }
            targets.push(target);
            at += 4;
        }
        Some(targets)
    }

    /// All instructions that can be reached, and where more than one path leads or a jump goes.
    fn explore(&mut self) -> Result<(BTreeMap<u32, Instruction>, BTreeSet<u32>), String> {
        let mut instructions = BTreeMap::new();
        let mut leaders = BTreeSet::from([0]);
        let mut work = vec![0];
        while let Some(mut at) = work.pop() {
            let mut before = [Instruction::default(); 3];
            while !instructions.contains_key(&at) {
                let instruction = self.decode(at)?;
                instructions.insert(at, instruction);
                let next = instruction.next_ip() as u32;
                if let Some(targets) = self.table(&before, &instruction) {
                    self.tables.insert(next, targets);
                }
                if instruction.flow_control() != FlowControl::Next {
                    let targets = self.targets(&instruction)?;
                    leaders.extend(&targets);
                    work.extend(targets);
                    break;
                }
                before = [before[1], before[2], instruction];
                at = next;
            }
        }
        self.gaps(&instructions)?;
        Ok((instructions, leaders))
    }

    /// Nothing lies between instructions that are reached but whole jump tables, so no target of theirs
    /// was missed, and jumps that the code generator left behind.
    fn gaps(&self, instructions: &BTreeMap<u32, Instruction>) -> Result<(), String> {
        let mut end = 0;
        for (at, instruction) in instructions {
            if let Some(targets) = self.tables.get(&end) {
                end += 4 * targets.len() as u32;
            }
            while end < *at
                && let Ok(left) = self.decode(end)
                && left.flow_control() == FlowControl::UnconditionalBranch
                && instructions.contains_key(&(left.near_branch_target() as u32))
            {
                end = left.next_ip() as u32;
            }
            if *at != end {
                return Err(format!("{end:#x}: code or data up to {at:#x} that nothing reaches"));
            }
            end = instruction.next_ip() as u32;
        }
        Ok(())
    }

    fn run(mut self) -> Result<Accepted, String> {
        let (instructions, leaders) = self.explore()?;
        let entry = State::entry(self.own.area_bytes > 0);
        // What arrives at a block, by where it comes from.
        let mut arriving: BTreeMap<u32, BTreeMap<(u32, usize), State>> = BTreeMap::new();
        let mut known: BTreeMap<u32, State> = BTreeMap::new();
        arriving.entry(0).or_default().insert((u32::MAX, 0), entry);
        let mut visits: BTreeMap<u32, u32> = BTreeMap::new();
        let mut work = BTreeSet::from([0]);
        while let Some(block) = work.pop_first() {
            let mut state = State::common(arriving[&block].values(), block);
            let visits = visits.entry(block).or_default();
            *visits += 1;
            if let Some(before) = known.get(&block) {
                if *visits > PATIENCE {
                    state = before.merge(state, block);
                }
                if state == *before {
                    continue;
                }
            }
            let (end, last) = self.walk(&instructions, &leaders, block, &state, false)?;
            known.insert(block, state);
            for (way, target) in self.targets(last)?.into_iter().enumerate() {
                let mut state = end.clone();
                if last.flow_control() == FlowControl::ConditionalBranch {
                    state.learn(last.condition_code(), way == 1);
                }
                let all = arriving.entry(target).or_default();
                if all.get(&(block, way)) != Some(&state) {
                    all.insert((block, way), state);
                    work.insert(target);
                }
            }
        }
        for (block, state) in &known {
            self.walk(&instructions, &leaders, *block, state, true)?;
        }
        let mut sum = Accepted::default();
        for one in self.accepted.values() {
            sum.guarded += one.guarded;
            sum.compared += one.compared;
            sum.elements += one.elements;
            sum.references += one.references;
            sum.jumps += one.jumps;
        }
        Ok(sum)
    }

    /// Follows a block to its end, and checks its accesses if asked to.
    fn walk<'i>(
        &mut self,
        instructions: &'i BTreeMap<u32, Instruction>,
        leaders: &BTreeSet<u32>,
        block: u32,
        state: &State,
        check: bool,
    ) -> Result<(State, &'i Instruction), String> {
        let mut state = state.clone();
        let mut at = block;
        loop {
            let instruction = &instructions[&at];
            if check {
                self.access(instruction, &state)
                    .map_err(|what| format!("{at:#x}: `{instruction}`: {what}"))?;
            }
            self.step(instruction, &mut state);
            let next = instruction.next_ip() as u32;
            if instruction.flow_control() != FlowControl::Next || leaders.contains(&next) {
                return Ok((state, instruction));
            }
            at = next;
        }
    }

    /// The address that an operand in memory names.
    fn address(&self, instruction: &Instruction, state: &State) -> Value {
        if instruction.is_ip_rel_memory_operand() {
            return match self.reloc(instruction) {
                Some(reloc) if reloc.target == RelocTarget::ModuleTable => {
                    // The distance counts from the next instruction.
                    let rest = instruction.next_ip() as i64 - i64::from(reloc.offset);
                    Value::Table(reloc.addend + rest)
                }
                _ => Value::Code,
            };
        }
        let value = |register| match number(register) {
            Some(reg) => state.regs[reg],
            None => Value::constant(0),
        };
        let shift = instruction.memory_index_scale().trailing_zeros();
        let index = match instruction.memory_index() {
            Register::None => Value::constant(0),
            register => value(register).scaled(shift),
        };
        let base = value(instruction.memory_base());
        let by = instruction.memory_displacement64();
        match base.plus(index) {
            // A negative displacement: known is only what came from a constant.
            Value::Address { object, name, add, .. } if (by as i64) < 0 => {
                match add.checked_add_signed(by as i64).filter(|_| name == ZERO) {
                    Some(add) => Value::Address { object, name, add, max: add },
                    None => Value::any(),
                }
            }
            Value::Element { object, name, add, shift } if by.is_multiple_of(1 << shift) => {
                Value::Element { object, name, add: add.wrapping_add(by >> shift), shift }
            }
            Value::Element { .. } => Value::any(),
            sum => sum.plus(Value::constant(by)),
        }
    }

    fn element_bytes(&self, object: Object) -> u64 {
        let table = &self.module.tables[(object - self.memories()) as usize];
        table_element_size(table.ty.element.heap.top()).into()
    }

    /// The value at a place in memory.
    fn load(&self, instruction: &Instruction, state: &State, size: usize) -> Value {
        let unknown = if size >= 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
        let unknown = Value::below(unknown);
        let (through, offset) = match self.address(instruction, state) {
            Value::Code if self.in_code(instruction, size as i64) && size == 8 => {
                let place = instruction.memory_displacement64() as usize;
                let bytes = self.code.bytes[place..place + 8].try_into().expect("8 bytes");
                return Value::constant(u64::from_le_bytes(bytes));
            }
            Value::Context(at) => (None, at),
            Value::Through(through) => (Some(through), 0),
            Value::Frame(at) => {
                return match state.homes.get(&at) {
                    Some((held, value)) if *held == size => *value,
                    Some((8, value)) if size == 4 => value.low().unwrap_or(unknown),
                    _ => unknown,
                };
            }
            _ => match self.through(instruction, state) {
                Some((through, disp)) => (Some(through), disp),
                None => return unknown,
            },
        };
        if size != 8 {
            return unknown;
        }
        let found = self.fields.iter().find(|f| (f.through, f.offset) == (through, offset));
        match found.and_then(|found| found.value) {
            Some(value) => value,
            None if through.is_none()
                && self.fields.iter().any(|field| field.through == Some(offset)) =>
            {
                Value::Through(offset)
            }
            None => unknown,
        }
    }

    /// A place behind a pointer of the context.
    fn through(&self, instruction: &Instruction, state: &State) -> Option<(i64, i64)> {
        if instruction.memory_index() != Register::None {
            return None;
        }
        match state.regs[number(instruction.memory_base())?] {
            Value::Through(through) => Some((through, instruction.memory_displacement64() as i64)),
            _ => None,
        }
    }

    fn operand(&self, instruction: &Instruction, state: &State, operand: u32) -> Value {
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let register = instruction.op_register(operand);
                let Some(reg) = number(register) else { return Value::any() };
                let value = state.regs[reg];
                match register.size() {
                    _ if (Register::AH..=Register::BH).contains(&register) => Value::below(0xff),
                    8 => value,
                    4 => value.low().unwrap_or(Value::below(U32)),
                    // The low byte of a truth value is the truth value.
                    1 if matches!(value, Value::Bool { .. }) => value,
                    1 => value.part(LOW_8, 0xff).unwrap_or(Value::below(0xff)),
                    _ => value.part(LOW_16, 0xffff).unwrap_or(Value::below(0xffff)),
                }
            }
            OpKind::Memory => self.load(instruction, state, instruction.memory_size().size()),
            OpKind::Immediate8to32 => Value::constant(instruction.immediate(operand) & U32),
            OpKind::Immediate8to64
            | OpKind::Immediate32to64
            | OpKind::Immediate64
            | OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32 => Value::constant(instruction.immediate(operand)),
            _ => Value::any(),
        }
    }

    /// What an instruction makes of its first operand, as far as it matters.
    fn result(&self, instruction: &Instruction, state: &State) -> Option<Value> {
        let operand = |n| self.operand(instruction, state, n);
        let to_register = instruction.op_kind(0) == OpKind::Register;
        // What is known of the low byte is known of that of the result.
        let byte = |n| match number(instruction.op_register(n)) {
            Some(reg) if matches!(state.regs[reg], Value::Bool { .. }) => state.regs[reg],
            _ => operand(n),
        };
        let wide = to_register && instruction.op_register(0).size() == 8;
        match instruction.mnemonic() {
            Mnemonic::Movzx => Some(match operand(1) {
                Value::Bool { facts, holds, .. } => Value::Bool { facts, holds, clean: true },
                value => value,
            }),
            Mnemonic::Mov => Some(operand(1)),
            Mnemonic::Xor if instruction.op_kind(1) == OpKind::Register => {
                let same = instruction.op_register(0) == instruction.op_register(1);
                // Zero is also made of copies of whatever a register holds.
                let copies = || operand(0) == operand(1) && operand(0).is_exact();
                (same || copies()).then(|| Value::constant(0))
            }
            Mnemonic::Lea if wide => Some(self.address(instruction, state)),
            Mnemonic::Add if wide => Some(operand(0).plus(operand(1))),
            Mnemonic::Sub if wide => match (operand(0), operand(1).as_constant()) {
                (Value::Length(object), Some(end)) => Some(Value::Room { object, end }),
                (Value::Room { object, end: first }, Some(end)) => {
                    Some(Value::Room { object, end: first.checked_add(end)? })
                }
                (Value::Frame(at), Some(by)) => Some(Value::Frame(at.wrapping_sub(by as i64))),
                _ => None,
            },
            Mnemonic::Shl if wide => {
                let by = operand(1).as_constant().filter(|by| *by < 8)?;
                Some(operand(0).scaled(by as u32))
            }
            Mnemonic::And if to_register => {
                Some(Value::below(operand(0).max().min(operand(1).max())))
            }
            Mnemonic::Or => match (byte(0), byte(1)) {
                (
                    Value::Bool { facts: [Some(a), None], holds: true, clean },
                    Value::Bool { facts: [Some(b), None], holds: true, clean: c },
                ) => {
                    Some(Value::Bool { facts: [Some(a), Some(b)], holds: true, clean: clean && c })
                }
                _ => None,
            },
            _ if instruction.condition_code() == ConditionCode::None || !to_register => None,
            // `setcc`
            _ if instruction.op_count() == 1 => {
                let (a, b) = state.flags?;
                decided(a, b, instruction.condition_code())
            }
            // `cmovcc`
            _ if wide => match (operand(0), operand(1)) {
                (a, b) if a == b => Some(a),
                // Null instead of an address: that is what the spectre mitigation does.
                (
                    address @ (Value::Address { .. } | Value::Base(_) | Value::Element { .. }),
                    null,
                )
                | (
                    null,
                    address @ (Value::Address { .. } | Value::Base(_) | Value::Element { .. }),
                ) if null.as_constant() == Some(0) => Some(address),
                (a, b) => Some(Value::below(a.max().max(b.max()))),
            },
            _ => None,
        }
    }

    /// What an instruction compares.
    fn compared(
        &self,
        instruction: &Instruction,
        state: &State,
        result: Option<Value>,
    ) -> Option<(Value, Value)> {
        let operand = |n| self.operand(instruction, state, n);
        match instruction.mnemonic() {
            Mnemonic::Cmp => Some((operand(0), operand(1))),
            Mnemonic::Test if operand(0) == operand(1) => Some((operand(0), Value::constant(0))),
            Mnemonic::Or => Some((result?, Value::constant(0))),
            _ => None,
        }
    }

    /// Says what is known behind an instruction.
    fn step(&mut self, instruction: &Instruction, state: &mut State) {
        let result = self.result(instruction, state);
        let flags = match instruction.rflags_modified() {
            0 => state.flags,
            _ => self.compared(instruction, state, result),
        };
        state.flags = flags;
        self.store(instruction, state, result);
        match instruction.mnemonic() {
            Mnemonic::Push => state.regs[RSP] = state.regs[RSP].plus(Value::constant(-8i64 as u64)),
            Mnemonic::Pop => state.regs[RSP] = state.regs[RSP].plus(Value::constant(8)),
            _ => {}
        }
        let call =
            matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        let quiet = instruction.flow_control() == FlowControl::IndirectCall
            && match instruction.op0_kind() {
                OpKind::Register => number(instruction.op0_register())
                    .is_some_and(|reg| state.regs[reg] == Value::EpochShim),
                _ => self.load(instruction, state, 8) == Value::EpochShim,
            };
        let written: Vec<Register> = self
            .info
            .info(instruction)
            .used_registers()
            .iter()
            .filter(|used| {
                use OpAccess::*;
                matches!(used.access(), Write | CondWrite | ReadWrite | ReadCondWrite)
            })
            .map(|used| used.register())
            .collect();
        for register in written {
            let Some(reg) = number(register) else { continue };
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
                _ => register.size(),
            };
            let old = state.regs[reg];
            let max = match size {
                8 => u64::MAX,
                4 => U32,
                _ if old.max() <= U32 => U32,
                _ => u64::MAX,
            };
            let known = result.filter(|_| first);
            let value = match known {
                Some(Value::Bool { facts, holds, clean }) => {
                    Value::Bool { facts, holds, clean: clean && size >= 4 }
                }
                Some(Value::Number { name, add, max: m }) if size == 8 || size == 4 && m <= max => {
                    Value::Number { name, add, max: m }
                }
                Some(value) if size == 8 => value,
                _ => Value::below(max),
            };
            match value {
                Value::Number { name: NAMELESS, max, .. } => state.define(reg, instruction, max),
                value => state.regs[reg] = value,
            }
        }
        if call {
            self.call(instruction, state, quiet);
        }
    }

    /// What a call changes.
    fn call(&self, instruction: &Instruction, state: &mut State, quiet: bool) {
        for reg in (0..16).filter(|reg| !quiet && !KEPT.contains(reg)) {
            state.define(reg, instruction, u64::MAX);
        }
        state.flags = None;
        // Lengths may change.
        state.forget(|name| name & !0xffff_ffff == LENGTH);
        if let Ok(next) = self.decode(instruction.next_ip() as u32)
            && next.mnemonic() == Mnemonic::Sub
            && next.op0_kind() == OpKind::Register
            && next.op0_register() == Register::RSP
        {
            // The callee popped its arguments; the caller makes room for them again.
            state.regs[RSP] = state.regs[RSP].plus(Value::constant(next.immediate(1)));
        }
        let (memories, plans) = (self.memories(), &self.plans);
        let moves = |value: &mut Value| {
            if let Value::Base(object)
            | Value::Address { object, .. }
            | Value::Element { object, .. } = *value
                && (object >= memories || plans[object as usize].may_move)
            {
                *value = Value::any();
            }
            if let Value::Length(_) = value {
                *value = Value::any();
            }
        };
        state.regs.iter_mut().for_each(moves);
        state.homes.values_mut().for_each(|(_, value)| moves(value));
    }

    /// Follows writes to the frame.
    fn store(&self, instruction: &Instruction, state: &mut State, result: Option<Value>) {
        if instruction.mnemonic() == Mnemonic::Push {
            if let Value::Frame(at) = state.regs[RSP] {
                state.overwrite(at - 8, at);
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
        if let Value::Frame(at) = self.address(instruction, state) {
            state.overwrite(at, at + size as i64);
            if let Some(value) = result
                && instruction.mnemonic() == Mnemonic::Mov
                && (size == 8 || size == 4)
            {
                state.homes.insert(at, (size, value));
            }
        }
    }

    /// Checks an instruction's access to memory.
    fn access(&mut self, instruction: &Instruction, state: &State) -> Result<(), String> {
        let operand =
            (0..instruction.op_count()).find(|n| instruction.op_kind(*n) == OpKind::Memory);
        let Some(operand) = operand else { return Ok(()) };
        let access = self.info.info(instruction).op_access(operand);
        if matches!(access, OpAccess::None | OpAccess::NoMemAccess) {
            return Ok(());
        }
        if !matches!(instruction.memory_segment(), Register::DS | Register::SS) {
            return Err("a segment".into());
        }
        let writes = !matches!(access, OpAccess::Read | OpAccess::CondRead);
        let size = instruction.memory_size().size() as i64;
        let at = instruction.ip() as u32;
        let mut accepted = Accepted::default();
        let inside = |start: i64, length: i64| start >= 0 && start + size <= length;
        match self.address(instruction, state) {
            Value::Frame(place) => {
                let Value::Frame(sp) = state.regs[RSP] else {
                    return Err("the stack pointer is not known".into());
                };
                let top = 8 + i64::from(self.own.stack_bytes);
                if place < sp || place + size > top {
                    return Err(format!("outside of the frame: {place} of {sp} to {top}"));
                }
            }
            Value::Context(place) if !writes && inside(place, self.context_bytes) => {}
            Value::Context(place) => self.field(None, place, size, writes)?,
            Value::Table(place) if !writes && inside(place, self.table_bytes) => {}
            Value::Live if !writes && inside(0, self.live_bytes) => {}
            Value::Epoch if !writes && size == 8 => {}
            Value::Area(place) if inside(place, self.own.area_bytes.into()) => {}
            Value::Code if !writes && self.in_code(instruction, size) => {}
            Value::Code if !writes && !instruction.is_ip_rel_memory_operand() => {
                accepted.jumps += 1;
            }
            Value::Address { object, name, add, max } if object < self.memories() => {
                match self.linear(instruction, state, (object, name, add, max))? {
                    true => accepted.guarded += 1,
                    false => accepted.compared += 1,
                }
            }
            Value::Base(object) if object < self.memories() => {
                match self.linear(instruction, state, (object, ZERO, 0, 0))? {
                    true => accepted.guarded += 1,
                    false => accepted.compared += 1,
                }
            }
            Value::Base(object) => {
                self.element(state, (object, ZERO, 0), size)?;
                accepted.elements += 1;
            }
            Value::Address { object, name: ZERO, add, .. }
                if add.is_multiple_of(self.element_bytes(object)) =>
            {
                let index = add / self.element_bytes(object);
                self.element(state, (object, ZERO, index), size)?;
                accepted.elements += 1;
            }
            Value::Element { object, name, add, shift }
                if object >= self.memories() && 1 << shift == self.element_bytes(object) =>
            {
                self.element(state, (object, name, add), size)?;
                accepted.elements += 1;
            }
            other => match self.through(instruction, state) {
                Some((through, place)) => self.field(Some(through), place, size, writes)?,
                None if !writes && self.is_live(instruction, state, size) => {}
                // It faults.
                None if other.as_constant().is_some_and(|address| address < 0x1000) => {}
                None if !writes && self.is_reference(instruction, size) => {
                    accepted.references += 1;
                }
                None => return Err(format!("{other:?} as an address")),
            },
        }
        self.accepted.insert(at, accepted);
        Ok(())
    }

    /// An access to a field: exactly one that code may reach.
    fn field(
        &self,
        through: Option<i64>,
        place: i64,
        size: i64,
        writes: bool,
    ) -> Result<(), String> {
        let fits = |field: &&Known| {
            field.through == through
                && field.offset <= place
                && place + size <= field.offset + field.bytes
                && (field.writable || !writes)
        };
        match self.fields.iter().find(fits) {
            Some(_) => Ok(()),
            None => Err(format!("no field of {size} bytes at {through:?}, {place}")),
        }
    }

    fn is_live(&self, instruction: &Instruction, state: &State, size: i64) -> bool {
        let base = number(instruction.memory_base()).map(|base| state.regs[base]);
        let place = instruction.memory_displacement64() as i64;
        base == Some(Value::Live)
            && instruction.memory_index() == Register::None
            && (0..=self.live_bytes - size).contains(&place)
    }

    fn in_code(&self, instruction: &Instruction, size: i64) -> bool {
        let place = instruction.memory_displacement64() as i64;
        instruction.is_ip_rel_memory_operand()
            && place >= 0
            && place + size <= self.code.bytes.len() as i64
    }

    /// Whether this reads a field of a function reference, for a call through it.
    fn is_reference(&self, instruction: &Instruction, size: i64) -> bool {
        let fields = [FuncRefField::Code, FuncRefField::Context, FuncRefField::TypeId];
        let field = fields.into_iter().any(|field| {
            let (offset, repr) = field.place();
            (u64::from(offset), i64::from(repr.bytes()))
                == (instruction.memory_displacement64(), size)
        });
        let calls = matches!(self.opcode(instruction), Some(0x11 | 0x13 | 0x14 | 0x15));
        field && calls && instruction.memory_index() == Register::None
    }

    /// The opcode of the WebAssembly instruction that an instruction stems from.
    fn opcode(&self, instruction: &Instruction) -> Option<u8> {
        let at = instruction.ip() as u32;
        let location = self.code.locations.partition_point(|l| l.offset <= at).checked_sub(1)?;
        let mut wasm = self.code.locations[location].wasm;
        if wasm == Location::NONE {
            return None;
        }
        if wasm & Location::INLINED != 0 {
            wasm = self.code.inlined.get((wasm & !Location::INLINED) as usize)?.wasm;
        }
        self.module.wasm.get(wasm as usize).copied()
    }

    /// An access to a linear memory: true if the guard makes it safe, false if a comparison does.
    fn linear(
        &self,
        instruction: &Instruction,
        state: &State,
        (memory, name, add, max): (Object, Name, u64, u64),
    ) -> Result<bool, String> {
        let size = instruction.memory_size().size() as u64;
        let at = instruction.ip() as u32;
        let plan = &self.plans[memory as usize];
        let end = max.checked_add(size);
        let site = self.code.traps.binary_search_by_key(&at, |site| site.offset);
        let faults = site.is_ok_and(|site| self.code.traps[site].trap == Trap::MemoryOutOfBounds);
        if faults && plan.guarded && end.is_some_and(|end| end <= U32 + plan.guard) {
            return Ok(true);
        }
        // A memory never has less than its least size.
        let minimum = self.module.memories[memory as usize].minimum_bytes();
        if end.is_some_and(|end| u128::from(end) <= minimum) {
            return Ok(false);
        }
        // All sums are modulo 2^64 but this one, from what was compared to the access's end.
        let rest = |from: u64| add.wrapping_sub(from).checked_add(size);
        let long_enough = |needed: u64| {
            state.refuted.iter().any(|fact| {
                matches!(fact, Fact::Short { object, end } if *object == memory && *end >= needed)
            })
        };
        let checked = |fact: &Fact| match *fact {
            Fact::Past { object, name: n, add: a, end } => {
                (object, n) == (memory, name) && rest(a).is_some_and(|rest| rest <= end)
            }
            Fact::PastRoom { object, name: n, add: a, end } => {
                (object, n) == (memory, name)
                    && rest(a).is_some_and(|rest| rest <= end)
                    && long_enough(end)
            }
            Fact::Short { object, end } => {
                (object, name) == (memory, ZERO) && rest(0).is_some_and(|rest| rest <= end)
            }
        };
        if name != NAMELESS && state.refuted.iter().any(checked) {
            return Ok(false);
        }
        Err(format!(
            "an index of memory {memory} is not proven: {name:#x} + {add:#x}, at most {max:#x}; {:x?}",
            state.refuted
        ))
    }

    /// An access to an element of a table.
    fn element(
        &self,
        state: &State,
        (table, name, add): (Object, Name, u64),
        size: i64,
    ) -> Result<(), String> {
        if size as u64 > self.element_bytes(table) {
            return Err("larger than an element".into());
        }
        let checked = |fact: &Fact| match *fact {
            Fact::Past { object, name: n, add: a, end } => {
                (object, n) == (table, name)
                    && add.wrapping_sub(a).checked_add(1).is_some_and(|rest| rest <= end)
            }
            Fact::Short { object, end } => (object, name) == (table, ZERO) && add < end,
            Fact::PastRoom { .. } => false,
        };
        if name != NAMELESS && state.refuted.iter().any(checked) {
            return Ok(());
        }
        let facts = &state.refuted;
        Err(format!("an index of a table is not proven: {name:#x} + {add:#x}; {facts:x?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Scratch};
    use wardian_module::{Proposals, decode};

    fn explicit() -> Settings {
        Settings {
            signals_based_traps: false,
            memory_reservation: 0,
            memory_guard_size: 0,
            ..Settings::default()
        }
    }

    /// Compiles function 0 of `wat`, and lets the checker see it with each instruction for which `wrong`
    /// gives other bytes; how many of these it accepted and rejected. As it is, it was accepted when it
    /// was compiled.
    fn check(
        wat: &str,
        settings: &Settings,
        wrong: impl Fn(&Instruction, &[u8]) -> Option<Vec<u8>>,
    ) -> (usize, usize) {
        let wasm = wat::parse_str(wat).expect("the test is text");
        let (module, bodies) = decode(wasm, Proposals::all_built()).expect("the test is valid");
        let layout = VmLayout::new(&module);
        let body = bodies.into_iter().next().expect("there is a function");
        let own = CallLayout::new(module.func_type(module.func_index(body.index)).func_type());
        let compiler = Compiler::new(settings).expect("this processor is known");
        let compiler = compiler.with_inlining(false);
        let mut code = compiler
            .compile(&module, &layout, body, Linkage::Direct, &mut Scratch::new())
            .expect("it compiles and is right");
        let accept = |code: &FunctionCode| {
            verify(&module, &layout, settings, &own, Linkage::Direct, 0, code)
        };
        assert!(accept(&code).is_ok());
        let (mut accepted, mut rejected) = (0, 0);
        let right = code.bytes.clone();
        for instruction in Decoder::with_ip(64, &right, 0, DecoderOptions::NONE) {
            let place = instruction.ip() as usize..instruction.next_ip() as usize;
            let Some(bytes) = wrong(&instruction, &right[place.clone()]) else { continue };
            code.bytes.clone_from(&right);
            code.bytes[place].copy_from_slice(&bytes);
            match accept(&code) {
                Ok(_) => accepted += 1,
                Err(_) => rejected += 1,
            }
        }
        (accepted, rejected)
    }

    fn nothing(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0x90; bytes.len()])
    }

    const LOAD: &str =
        "(module (memory 1) (func (param i32) (result i32) (i32.load (local.get 0))))";

    #[test]
    fn a_zero_extension_that_is_left_out_is_noticed() {
        let extends = |i: &Instruction, bytes: &[u8]| {
            let registers = (0..i.op_count()).all(|n| i.op_kind(n) == OpKind::Register);
            let narrow = i.mnemonic() == Mnemonic::Mov && registers && i.op0_register().size() == 4;
            if narrow { nothing(bytes) } else { None }
        };
        assert_eq!(check(LOAD, &Settings::default(), extends), (0, 1));
        assert_eq!(check(LOAD, &explicit(), extends), (0, 1));
    }

    #[test]
    fn a_wrong_base_is_noticed() {
        // The length, which lies behind the base, in its place.
        let base = |i: &Instruction, bytes: &[u8]| {
            let reads = i.mnemonic() == Mnemonic::Mov
                && i.op1_kind() == OpKind::Memory
                && i.memory_base() == Register::RDI
                && i.memory_displacement64() == 16;
            reads.then(|| [&bytes[..bytes.len() - 1], &[24]].concat())
        };
        assert_eq!(check(LOAD, &Settings::default(), base), (0, 1));
    }

    #[test]
    fn an_offset_past_the_guard_is_noticed() {
        let wat = "(module (memory 1)
            (func (param i32) (result i32) (i32.load offset=0x123456 (local.get 0))))";
        let wider = |i: &Instruction, bytes: &[u8]| {
            let accesses = i.memory_displacement64() == 0x12_3456;
            accesses.then(|| [&bytes[..bytes.len() - 1], &[0x7f]].concat())
        };
        assert_eq!(check(wat, &Settings::default(), wider), (0, 1));
    }

    #[test]
    fn a_bounds_check_that_is_left_out_is_noticed() {
        let branch = |i: &Instruction, bytes: &[u8]| {
            let checks = matches!(i.condition_code(), ConditionCode::a | ConditionCode::ae);
            if checks && i.is_jcc_short_or_near() { nothing(bytes) } else { None }
        };
        assert_eq!(check(LOAD, &explicit(), branch), (0, 1));
        let wat = "(module (table 5 funcref) (func (param i32) (result funcref)
            (table.get (local.get 0))))";
        // With signals, the check of the stack is such a branch too.
        assert_eq!(check(wat, &explicit(), branch), (0, 1));
    }

    #[test]
    fn a_base_that_was_not_read_again_after_growth_is_noticed() {
        let wat = "(module (memory 1) (func (param i32) (result i32)
            (i32.store (local.get 0) (i32.const 1))
            (drop (memory.grow (i32.const 1)))
            (i32.store (local.get 0) (i32.const 2))
            (i32.const 3)))";
        // Reads of the base become reads of nothing.
        let base = |i: &Instruction, bytes: &[u8]| {
            let context = !matches!(i.memory_base(), Register::RSP | Register::RBP);
            let reads = matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Add)
                && i.op1_kind() == OpKind::Memory
                && i.memory_displacement64() == 16
                && i.memory_index() == Register::None
                && context;
            if reads { nothing(bytes) } else { None }
        };
        let (accepted, rejected) = check(wat, &explicit(), base);
        assert!(accepted == 0 && rejected == 2, "{accepted} accepted, {rejected} rejected");
    }
}

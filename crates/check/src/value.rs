//! Values that machine code computes, as expressions over unknowns. Equal expressions are one [`Id`].
//!
//! Invariant: all arithmetic is modulo 2^64, and a node says what a whole 64-bit register holds.
//! An unknown stands for what its instruction made, or its block received, the last time it ran.

use iced_x86::ConditionCode;
use rustc_hash::FxHashMap;

pub(crate) type Id = u32;
/// A memory, or behind all memories a table, or behind all tables the list of functions by number.
pub(crate) type Object = u32;

pub(crate) const U32: u64 = u32::MAX as u64;

/// Something that holds a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Var {
    /// A register; [`FLAGS`]; [`CALLS`].
    Reg(u8),
    /// So many bytes of the frame, from here on; 0 is the return address.
    Home(i32, u8),
}

/// What was compared last.
pub(crate) const FLAGS: u8 = 16;
/// Which call was the last: memories and tables keep place and length until the next.
pub(crate) const CALLS: u8 = 17;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Node {
    Constant(u64),
    /// What a register held at entry.
    Entry(u8),
    /// What lay at this place of the caller's frame at entry: 8 bytes of arguments.
    Argument(i32),
    /// What the instruction at `ip` made in `var`: so many bits, the others zero.
    Made {
        ip: u32,
        var: u8,
        bits: u8,
    },
    /// What `var` held, minus `less`, when the block was entered.
    Phi {
        block: u32,
        var: Var,
        less: u64,
    },
    /// A node, which is no sum with a constant itself, and a constant.
    Sum(Id, u64),
    /// A pointer is on the left.
    Add(Id, Id),
    /// The lowest 8, 16 or 32 bits.
    Low(Id, u8),
    /// The lowest 8 bits are this value; the others are anything, at most 32 bits if `small`.
    Byte {
        value: Id,
        ip: u32,
        small: bool,
    },
    And(Id, Id),
    Or(Id, Id),
    Xor(Id, Id),
    Shr(Id, u8),
    Shl(Id, u8),
    /// By as many bits as a value says.
    ShlBy(Id, Id),
    /// `yes` if the condition holds.
    Pick {
        flags: Id,
        condition: ConditionCode,
        no: Id,
        yes: Id,
    },
    /// Flags: of comparing two numbers without sign.
    Compare(Id, Id),
    /// Flags: whether a number is zero.
    Zero(Id),
    /// 1 if the condition holds, else 0.
    Set(Id, ConditionCode),
    /// What an instruction, by its code, makes of vector registers and a number: see `vectors`.
    Vector {
        code: u16,
        number: u8,
        operands: [Id; 4],
    },
    /// Address of the return address.
    Frame,
    /// The VM context.
    Context,
    ModuleTable,
    /// The caller's result area.
    Area,
    /// State of a frame that is being replaced.
    Live,
    /// Values of an exception.
    Payload,
    /// Where the engine's epoch is.
    Epoch,
    /// The epoch shim, which changes no register.
    EpochShim,
    /// Start of the store's heap.
    Heap,
    /// The function's first byte.
    Code,
    /// A pointer that lies at this offset of the context.
    Pointer(u32),
    Base(Object, Id),
    Length(Object, Id),
}

/// All values of a function.
pub(crate) struct Values {
    nodes: Vec<Node>,
    /// An upper bound of each that follows from the expression alone.
    bounds: Vec<u64>,
    /// How deep each expression is. What looks into expressions stops at [`DEEP`].
    depths: Vec<u32>,
    ids: FxHashMap<Node, Id>,
    /// The lengths that were read.
    pub(crate) lengths: FxHashMap<Object, Vec<Id>>,
}

const DEEP: u32 = 64;

/// The constant 0.
pub(crate) const ZERO: Id = 0;

impl Values {
    pub(crate) fn new() -> Values {
        let mut values = Values {
            nodes: Vec::new(),
            bounds: Vec::new(),
            depths: Vec::new(),
            ids: FxHashMap::default(),
            lengths: FxHashMap::default(),
        };
        let zero = values.constant(0);
        debug_assert_eq!(zero, ZERO);
        values
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, id: Id) -> Node {
        self.nodes[id as usize]
    }

    pub(crate) fn bound(&self, id: Id) -> u64 {
        self.bounds[id as usize]
    }

    /// The value of a node, if anything has it.
    pub(crate) fn find(&self, node: Node) -> Option<Id> {
        self.ids.get(&node).copied()
    }

    pub(crate) fn make(&mut self, node: Node) -> Id {
        if let Some(id) = self.ids.get(&node) {
            return *id;
        }
        let bound = self.bound_of(node);
        let id = self.nodes.len() as Id;
        self.nodes.push(node);
        self.bounds.push(bound);
        self.depths.push(self.depth_of(node));
        self.ids.insert(node, id);
        if let Node::Length(object, _) = node {
            self.lengths.entry(object).or_default().push(id);
        }
        id
    }

    fn bound_of(&self, node: Node) -> u64 {
        let of = |id: Id| self.bounds[id as usize];
        match node {
            Node::Constant(value) => value,
            Node::Made { bits, .. } => ones(bits),
            Node::Sum(x, add) => of(x).saturating_add(add),
            Node::Add(x, y) => of(x).saturating_add(of(y)),
            Node::Low(x, bits) => of(x).min(ones(bits)),
            Node::Byte { small: true, .. } => U32,
            Node::And(x, y) => of(x).min(of(y)),
            Node::Or(x, y) | Node::Xor(x, y) => ones(64 - (of(x) | of(y)).leading_zeros() as u8),
            Node::Shr(x, by) => of(x) >> by,
            Node::Shl(x, by) if of(x) <= u64::MAX >> by => of(x) << by,
            Node::Pick { no, yes, .. } => of(no).max(of(yes)),
            Node::Set(..) => 1,
            _ => u64::MAX,
        }
    }

    fn depth_of(&self, node: Node) -> u32 {
        let of = |id: Id| self.depths[id as usize] + 1;
        match node {
            Node::Sum(x, _) | Node::Low(x, _) | Node::Shr(x, _) | Node::Shl(x, _) => of(x),
            Node::Byte { value: x, .. } | Node::Zero(x) | Node::Set(x, _) => of(x),
            Node::Add(x, y)
            | Node::And(x, y)
            | Node::Or(x, y)
            | Node::Xor(x, y)
            | Node::ShlBy(x, y)
            | Node::Compare(x, y) => of(x).max(of(y)),
            Node::Pick { flags, no, yes, .. } => of(flags).max(of(no)).max(of(yes)),
            _ => 0,
        }
    }

    pub(crate) fn is_deep(&self, id: Id) -> bool {
        self.depths[id as usize] > DEEP
    }

    pub(crate) fn constant(&mut self, value: u64) -> Id {
        self.make(Node::Constant(value))
    }

    pub(crate) fn as_constant(&self, id: Id) -> Option<u64> {
        match self.node(id) {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// A value as something and a constant that are added; a constant is added to zero.
    pub(crate) fn split(&self, id: Id) -> (Id, u64) {
        match self.node(id) {
            Node::Constant(value) => (ZERO, value),
            Node::Sum(core, add) => (core, add),
            _ => (id, 0),
        }
    }

    pub(crate) fn sum(&mut self, id: Id, add: u64) -> Id {
        let (core, first) = self.split(id);
        let add = first.wrapping_add(add);
        match add {
            _ if core == ZERO => self.constant(add),
            0 => core,
            _ => self.make(Node::Sum(core, add)),
        }
    }

    fn is_pointer(&self, id: Id) -> bool {
        match self.node(id) {
            Node::Add(x, _) => self.is_pointer(x),
            Node::Frame
            | Node::Context
            | Node::ModuleTable
            | Node::Area
            | Node::Live
            | Node::Payload
            | Node::Epoch
            | Node::Heap
            | Node::Code
            | Node::Pointer(_)
            | Node::Base(..) => true,
            _ => false,
        }
    }

    pub(crate) fn add(&mut self, a: Id, b: Id) -> Id {
        let ((x, first), (y, second)) = (self.split(a), self.split(b));
        let more = first.wrapping_add(second);
        if x == ZERO || y == ZERO {
            return self.sum(if x == ZERO { y } else { x }, more);
        }
        let (x, y) = match (self.is_pointer(x), self.is_pointer(y)) {
            (false, true) => (y, x),
            (false, false) => (x.min(y), x.max(y)),
            _ => (x, y),
        };
        let both = match self.node(x) {
            Node::Add(pointer, index) if self.is_pointer(pointer) => {
                let (index, add) = {
                    let index = self.add(index, y);
                    self.split(index)
                };
                let both = self.make(Node::Add(pointer, index));
                self.sum(both, add)
            }
            _ => self.make(Node::Add(x, y)),
        };
        self.sum(both, more)
    }

    pub(crate) fn low(&mut self, id: Id, bits: u8) -> Id {
        if bits >= 64 || self.bound(id) <= ones(bits) {
            return id;
        }
        match self.node(id) {
            Node::Constant(value) => self.constant(value & ones(bits)),
            Node::Low(x, first) => self.low(x, bits.min(first)),
            _ if self.is_deep(id) => self.make(Node::Low(id, bits)),
            Node::Byte { value, .. } if bits == 8 => value,
            Node::And(x, y) => {
                let (x, y) = (self.low(x, bits), self.low(y, bits));
                self.and(x, y)
            }
            Node::Or(x, y) => {
                let (x, y) = (self.low(x, bits), self.low(y, bits));
                self.or(x, y)
            }
            Node::Xor(x, y) => {
                let (x, y) = (self.low(x, bits), self.low(y, bits));
                self.xor(x, y)
            }
            Node::Pick { flags, condition, no, yes } => {
                let (no, yes) = (self.low(no, bits), self.low(yes, bits));
                self.pick(flags, condition, no, yes)
            }
            Node::Sum(x, add) => {
                let x = match self.node(x) {
                    Node::Low(inner, first) if first >= bits => inner,
                    _ => x,
                };
                let (core, add) = {
                    let sum = self.sum(x, add & ones(bits));
                    self.split(sum)
                };
                let sum = self.sum(core, add & ones(bits));
                self.make(Node::Low(sum, bits))
            }
            _ => self.make(Node::Low(id, bits)),
        }
    }

    pub(crate) fn and(&mut self, a: Id, b: Id) -> Id {
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => self.constant(x & y),
            (None, Some(mask)) | (Some(mask), None) => {
                let x = if self.as_constant(a).is_some() { b } else { a };
                match [8, 16, 32].into_iter().find(|bits| ones(*bits) == mask) {
                    Some(bits) => self.low(x, bits),
                    None if mask == 0 => ZERO,
                    None => {
                        let mask = self.constant(mask);
                        self.make(Node::And(x, mask))
                    }
                }
            }
            _ if a == b => a,
            _ => self.make(Node::And(a.min(b), a.max(b))),
        }
    }

    pub(crate) fn or(&mut self, a: Id, b: Id) -> Id {
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => self.constant(x | y),
            _ if a == b || b == ZERO => a,
            _ if a == ZERO => b,
            _ => self.make(Node::Or(a.min(b), a.max(b))),
        }
    }

    /// Code generators make a value with a constant in it again where it is used, so two such values are
    /// one.
    pub(crate) fn xor(&mut self, a: Id, b: Id) -> Id {
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => self.constant(x ^ y),
            _ if a == b => ZERO,
            (None, Some(0)) => a,
            (Some(0), None) => b,
            (_, number) => match (self.node(a), number) {
                (Node::Set(flags, condition), Some(1)) => {
                    self.make(Node::Set(flags, opposite(condition)))
                }
                _ => self.make(Node::Xor(a.min(b), a.max(b))),
            },
        }
    }

    /// All bits the other way: `-1 - id`.
    pub(crate) fn not(&mut self, id: Id) -> Id {
        let all = self.constant(u64::MAX);
        self.xor(id, all)
    }

    pub(crate) fn shr(&mut self, id: Id, by: u8) -> Id {
        match self.as_constant(id) {
            _ if by == 0 => id,
            Some(value) => self.constant(value >> by),
            None => self.make(Node::Shr(id, by)),
        }
    }

    pub(crate) fn shl(&mut self, id: Id, by: u8) -> Id {
        let (core, add) = self.split(id);
        let core = match core {
            _ if by == 0 => return id,
            ZERO => ZERO,
            core => match self.node(core) {
                // One way to write it, whichever shift comes first.
                Node::ShlBy(value, count) if by < 64 => {
                    let value = self.shl(value, by);
                    self.shl_by(value, count)
                }
                _ => self.make(Node::Shl(core, by)),
            },
        };
        self.sum(core, add << by)
    }

    /// A 64-bit value, by the low six bits of another.
    pub(crate) fn shl_by(&mut self, value: Id, count: Id) -> Id {
        match self.as_constant(count) {
            Some(count) => self.shl(value, count as u8 & 63),
            None if value == ZERO => ZERO,
            None => self.make(Node::ShlBy(value, count)),
        }
    }

    pub(crate) fn pick(&mut self, flags: Id, condition: ConditionCode, no: Id, yes: Id) -> Id {
        if no == yes { no } else { self.make(Node::Pick { flags, condition, no, yes }) }
    }
}

/// The largest number of so many bits.
pub(crate) fn ones(bits: u8) -> u64 {
    u64::MAX.checked_shr(64 - u32::from(bits)).unwrap_or(0)
}

/// The condition that holds when this one does not.
pub(crate) fn opposite(condition: ConditionCode) -> ConditionCode {
    use ConditionCode as C;
    match condition {
        C::None => C::None,
        C::o => C::no,
        C::no => C::o,
        C::b => C::ae,
        C::ae => C::b,
        C::e => C::ne,
        C::ne => C::e,
        C::be => C::a,
        C::a => C::be,
        C::s => C::ns,
        C::ns => C::s,
        C::p => C::np,
        C::np => C::p,
        C::l => C::ge,
        C::ge => C::l,
        C::le => C::g,
        C::g => C::le,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_one_value_however_they_are_made() {
        let mut v = Values::new();
        let (x, y) = (v.make(Node::Entry(1)), v.make(Node::Entry(2)));
        let base = v.make(Node::Base(0, ZERO));
        let left = v.add(x, y);
        let left = v.sum(left, 8);
        let left = v.add(base, left);
        let right = v.sum(y, 3);
        let right = v.add(right, base);
        let right = v.add(right, x);
        let right = v.sum(right, 5);
        assert_eq!(left, right);
        let there = v.sum(x, 7);
        assert_eq!(v.sum(there, 7u64.wrapping_neg()), x);
    }

    #[test]
    fn bounds_are_those_of_the_expression() {
        let mut v = Values::new();
        let x = v.make(Node::Entry(1));
        let low = v.low(x, 32);
        assert_eq!((v.bound(x), v.bound(low)), (u64::MAX, U32));
        assert_eq!(v.low(low, 32), low);
        let more = v.sum(low, 4);
        assert_eq!(v.bound(more), U32 + 4);
        assert_ne!(v.low(more, 32), more);
        let less = v.sum(low, 4u64.wrapping_neg());
        assert_eq!(v.bound(less), u64::MAX);
        let mask = v.constant(0xff0);
        let masked = v.and(x, mask);
        assert_eq!(v.bound(masked), 0xff0);
        let either = v.or(masked, mask);
        assert_eq!(v.bound(either), 0xfff);
        let other = v.xor(masked, mask);
        assert_eq!(v.bound(other), 0xfff);
        let (whole, not) = (v.constant(U32), v.not(low));
        assert_eq!(v.low(not, 32), v.xor(whole, low), "`not` and `xor` with ones");
        let shifted = v.shl(low, 3);
        assert_eq!(v.bound(shifted), U32 << 3);
        assert_eq!((ones(0), ones(64)), (0, u64::MAX));
    }
}

//! Where values are while a function is compiled: registers, the frame, the operand stack, locals.
//!
//! ```text
//!   rbp + 16 …   stack arguments of the caller
//!   rbp + 8      return address
//!   rbp          caller's rbp
//!   rbp - 8 …    callee-saved registers that this function uses
//!   …            homes of locals: the context first, then the result area's address, then the rest
//!   …            homes of operands, by their depth
//!   rsp …        area for results of calls
//! ```
//!
//! Invariants:
//! - [clean i32] The upper half of a register that holds an `i32` (operand or local) is zero: only
//!   32-bit instructions write one, and values from outside (arguments, results of calls, the low half
//!   of an `i64`) pass through one on arrival. So an `i32` may index memory as it is.
//! - A local lives in its *pinned* register for the whole function, or in its home in the frame. A
//!   register may *cache* what the home of a local holds; the home is always right, so caches can be
//!   forgotten at any time, and are at every label.
//! - A register is counted in `refs` once for every operand, on the stack or in an expansion, that says
//!   it is there. It is only written while that count is at most one and the writer holds it.
//! - Operands at or below `settled` are constants or in their homes, so no operation looks further down
//!   than [`WINDOW`] operands.

use crate::asm::*;
use crate::claims::Claims;
use wardian_module::layout::{Repr, Root};

/// Operands above this many from the top are settled.
const WINDOW: usize = 32;

/// Pseudo-local: the context.
pub(crate) const CONTEXT: u32 = 0;
/// Pseudo-local: base of memory 0, where it never changes. It has no home: it is read again.
pub(crate) const BASE: u32 = 1;
/// Pseudo-local: address of the caller's result area.
pub(crate) const AREA: u32 = 2;
/// The first real local.
pub(crate) const FIRST: u32 = 3;

/// No local.
pub(crate) const NONE: u32 = u32::MAX;
pub(crate) const NO_REG: Reg = 255;

/// General registers for operands; `r11` is scratch.
pub(crate) const GENERAL_TEMPS: u32 = bits(&[RAX, RCX, RDX, RSI, RDI, R8, R9]);
/// Vector registers for operands; `xmm15` is scratch.
pub(crate) const VECTOR_TEMPS: u32 = 0x00ff_0000;
/// Vector registers that locals may be pinned to.
pub(crate) const VECTOR_PINS: [Reg; 7] = [24, 25, 26, 27, 28, 29, 30];
/// General registers that locals may be pinned to, those that survive calls first.
pub(crate) const GENERAL_PINS: [Reg; 6] = [RBX, R12, R13, R14, R15, R10];
/// Registers that a function must leave as they were.
pub(crate) const CALLEE_SAVED: u32 = bits(&[RBX, R12, R13, R14, R15]);
/// NOTE [fuel register] of `layout`: in code that pays or counts it is none of the above.
pub(crate) const SPENT: Reg = R15;

pub(crate) const fn bits(regs: &[Reg]) -> u32 {
    let mut mask = 0;
    let mut i = 0;
    while i < regs.len() {
        mask |= 1 << regs[i];
        i += 1;
    }
    mask
}

/// The two kinds of registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bank {
    General,
    Vector,
}

pub(crate) const fn bank(repr: Repr) -> Bank {
    match repr {
        Repr::I32 | Repr::I64 | Repr::Pointer | Repr::Ref => Bank::General,
        Repr::F32 | Repr::F64 | Repr::V128 => Bank::Vector,
    }
}

/// The register that holds no operand.
pub(crate) const fn scratch(repr: Repr) -> Reg {
    match bank(repr) {
        Bank::General => R11,
        Bank::Vector => XMM15,
    }
}

/// Whether a general value has 64 bits.
pub(crate) const fn wide(repr: Repr) -> bool {
    matches!(repr, Repr::I64 | Repr::Pointer | Repr::F64)
}

/// Bytes of a home.
#[inline]
pub(crate) const fn home_bytes(repr: Repr) -> u32 {
    match repr {
        Repr::V128 => 16,
        _ => 8,
    }
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loc {
    /// In a register that is not pinned.
    Reg(Reg),
    /// Known: bits of an integer or float; of vectors only zero.
    Const(u64),
    /// What the local holds now.
    Local(u32),
    /// In the frame, at this distance from `rbp`.
    Frame(i32),
    /// A truth value that is still in the flags, or was (see `Flags`).
    Flags(u8),
}

/// The kinds of `Loc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum LocKind {
    Reg,
    Const,
    Local,
    Frame,
    Flags,
}

impl Loc {
    /// Its two parts.
    #[inline(always)]
    fn split(self) -> (LocKind, u64) {
        match self {
            Loc::Reg(reg) => (LocKind::Reg, u64::from(reg)),
            Loc::Const(bits) => (LocKind::Const, bits),
            Loc::Local(local) => (LocKind::Local, u64::from(local)),
            Loc::Frame(disp) => (LocKind::Frame, disp as u64),
            Loc::Flags(id) => (LocKind::Flags, u64::from(id)),
        }
    }

    /// The opposite of `split`.
    #[inline(always)]
    fn join(kind: LocKind, bits: u64) -> Loc {
        match kind {
            LocKind::Reg => Loc::Reg(bits as Reg),
            LocKind::Const => Loc::Const(bits),
            LocKind::Local => Loc::Local(bits as u32),
            LocKind::Frame => Loc::Frame(bits as i32),
            LocKind::Flags => Loc::Flags(bits as u8),
        }
    }
}

/// The kind of a place, and a representation. One number, so that a value is a pair of numbers, which
/// travels in registers and has no padding to be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tag(u32);

impl Tag {
    #[inline(always)]
    fn new(kind: LocKind, repr: Repr) -> Tag {
        Tag(kind as u32 | (repr as u32) << 8)
    }

    /// The same kind, and another representation.
    #[inline(always)]
    fn with_repr(self, repr: Repr) -> Tag {
        Tag(self.0 & 0xff | (repr as u32) << 8)
    }

    /// The same representation, and another kind.
    #[inline(always)]
    fn with_kind(self, kind: LocKind) -> Tag {
        Tag(self.0 & !0xff | kind as u32)
    }

    #[inline(always)]
    fn kind(self) -> LocKind {
        match self.0 as u8 {
            0 => LocKind::Reg,
            1 => LocKind::Const,
            2 => LocKind::Local,
            3 => LocKind::Frame,
            _ => LocKind::Flags,
        }
    }

    /// Cheaper than comparing what `kind` gives.
    #[inline(always)]
    fn is(self, kind: LocKind) -> bool {
        self.0 as u8 == kind as u8
    }

    #[inline(always)]
    fn repr(self) -> Repr {
        match self.0 >> 8 {
            0 => Repr::I32,
            1 => Repr::I64,
            2 => Repr::F32,
            3 => Repr::F64,
            4 => Repr::V128,
            5 => Repr::Pointer,
            _ => Repr::Ref,
        }
    }
}

/// An operand inside an expansion. Must be given back by `release` or used up.
#[derive(Debug)]
pub(crate) struct Value {
    bits: u64,
    tag: Tag,
}

impl Value {
    #[inline(always)]
    pub(crate) fn new(loc: Loc, repr: Repr) -> Value {
        let (kind, bits) = loc.split();
        Value { bits, tag: Tag::new(kind, repr) }
    }

    #[inline(always)]
    fn kind(&self) -> LocKind {
        self.tag.kind()
    }

    #[inline(always)]
    pub(crate) fn loc(&self) -> Loc {
        Loc::join(self.kind(), self.bits)
    }

    #[inline(always)]
    pub(crate) fn repr(&self) -> Repr {
        self.tag.repr()
    }

    #[inline(always)]
    pub(crate) fn set_loc(&mut self, loc: Loc) {
        let (kind, bits) = loc.split();
        (self.tag, self.bits) = (self.tag.with_kind(kind), bits);
    }

    /// The same bits as another representation.
    #[inline(always)]
    pub(crate) fn set_repr(&mut self, repr: Repr) {
        self.tag = self.tag.with_repr(repr);
    }

    #[inline(always)]
    fn is(&self, kind: LocKind) -> bool {
        self.tag.is(kind)
    }

    #[inline(always)]
    pub(crate) fn is_const(&self) -> bool {
        self.is(LocKind::Const)
    }
}

/// An operand on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    bits: u64,
    tag: Tag,
    /// Bytes of operand homes below its own.
    below: u32,
}

impl Entry {
    /// Bytes of operand homes up to the end of its own.
    #[inline(always)]
    fn slot(&self) -> u32 {
        self.below + home_bytes(self.repr())
    }

    #[inline(always)]
    pub(crate) fn loc(&self) -> Loc {
        Loc::join(self.tag.kind(), self.bits)
    }

    #[inline(always)]
    pub(crate) fn repr(&self) -> Repr {
        self.tag.repr()
    }

    #[inline(always)]
    pub(crate) fn set_loc(&mut self, loc: Loc) {
        let (kind, bits) = loc.split();
        (self.tag, self.bits) = (self.tag.with_kind(kind), bits);
    }

    #[inline(always)]
    pub(crate) fn parts(&self) -> (Loc, Repr) {
        (self.loc(), self.repr())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Local {
    pub(crate) repr: Repr,
    /// The register it lives in, or `NO_REG`.
    pub(crate) pinned: Reg,
    /// The register that was said last to hold the same as its home. Whether it still does, that register
    /// knows (`State::cached_reg`): so registers forget without a look at locals.
    cached: Reg,
    /// Its home.
    pub(crate) disp: i32,
    /// How many operands on the stack are `Loc::Local` of it.
    refs: u32,
    /// Whether the first look found an instruction that names it; if not, it has no value.
    used: bool,
}

#[derive(Clone, Copy)]
struct RegState {
    refs: u16,
    /// The local whose home it caches.
    cached: u32,
}

/// A truth value made by an instruction that set the flags.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Unused,
    /// The processor's flags hold it.
    Live(Cond),
    /// It was moved, since the flags were needed.
    Moved(Reg),
}

#[derive(Clone, Copy)]
struct Flags {
    state: Flag,
    refs: u16,
}

/// Registers, operands and locals of a function, and its code.
pub(crate) struct State {
    pub(crate) asm: Asm,
    pub(crate) stack: Vec<Entry>,
    /// Bytes of homes of the operands on the stack.
    slot: u32,
    pub(crate) settled: usize,
    pub(crate) locals: Vec<Local>,
    regs: [RegState; 32],
    /// Registers that operands may use.
    pub(crate) temps: u32,
    /// Those of them with `refs` above zero.
    used: u32,
    /// Those that cache a local.
    cached: u32,
    flags: [Flags; 4],
    /// Whether any of them may be live.
    live_flags: bool,
    /// Bytes from `rbp` down to the first operand home.
    pub(crate) operand_base: u32,
    /// Most bytes of operand homes.
    pub(crate) max_operands: u32,
    /// How to read the base of memory 0.
    pub(crate) base_path: Option<(Option<u32>, u32)>,
    /// Something could not be done: the code is of no use.
    pub(crate) failed: Option<&'static str>,
    /// That, or the function has grown too large: no more of it is taken. Asked before every instruction.
    pub(crate) stopped: bool,
    /// Operands and locals that were stored to the frame.
    pub(crate) spills: u32,
    /// Operands and locals that were loaded from it into registers.
    pub(crate) reloads: u32,
    pub(crate) claims: Claims,
}

impl State {
    pub(crate) fn new() -> State {
        State {
            asm: Asm::default(),
            stack: Vec::new(),
            slot: 0,
            settled: 0,
            locals: Vec::new(),
            regs: [RegState { refs: 0, cached: NONE }; 32],
            temps: 0,
            used: 0,
            cached: 0,
            flags: [Flags { state: Flag::Unused, refs: 0 }; 4],
            live_flags: false,
            operand_base: 0,
            max_operands: 0,
            base_path: None,
            failed: None,
            stopped: false,
            spills: 0,
            reloads: 0,
            claims: Claims::default(),
        }
    }

    /// Forgets the function before, but keeps allocations.
    pub(crate) fn clear(&mut self) {
        self.asm.clear();
        self.stack.clear();
        self.slot = 0;
        self.settled = 0;
        self.locals.clear();
        self.regs = [RegState { refs: 0, cached: NONE }; 32];
        self.temps = GENERAL_TEMPS | VECTOR_TEMPS;
        self.used = 0;
        self.cached = 0;
        self.flags = [Flags { state: Flag::Unused, refs: 0 }; 4];
        self.live_flags = false;
        self.operand_base = 0;
        self.max_operands = 0;
        self.base_path = None;
        self.failed = None;
        self.stopped = false;
        self.spills = 0;
        self.reloads = 0;
        self.claims.clear();
    }

    #[cold]
    pub(crate) fn fail(&mut self, what: &'static str) {
        self.failed.get_or_insert(what);
        self.stopped = true;
    }

    // ---- registers ----

    #[inline]
    fn of_bank(bank: Bank) -> u32 {
        match bank {
            Bank::General => 0xffff,
            Bank::Vector => 0xffff_0000,
        }
    }

    /// A register to write to, held by the caller; none of `avoid`.
    #[inline(never)]
    pub(crate) fn alloc_but(&mut self, bank: Bank, avoid: u32) -> Reg {
        let all = self.temps & State::of_bank(bank) & !avoid;
        let free = all & !self.used;
        let best = free & !self.cached;
        let pick = if best != 0 { best } else { free };
        if pick == 0 {
            return self.alloc_by_spilling(all);
        }
        let reg = pick.trailing_zeros() as Reg;
        self.uncache(reg);
        self.hold(reg);
        reg
    }

    /// `alloc_but` where none of `all` is free.
    #[cold]
    #[inline(never)]
    fn alloc_by_spilling(&mut self, all: u32) -> Reg {
        while all & !self.used == 0 {
            if !self.spill_one(all) {
                self.fail("an operation needs more registers than there are");
                return all.trailing_zeros() as Reg;
            }
        }
        let reg = (all & !self.used).trailing_zeros() as Reg;
        self.uncache(reg);
        self.hold(reg);
        reg
    }

    #[inline]
    pub(crate) fn alloc(&mut self, bank: Bank) -> Reg {
        self.alloc_but(bank, 0)
    }

    /// Counts one more use of a register.
    #[inline]
    pub(crate) fn hold(&mut self, reg: Reg) {
        self.regs[reg as usize].refs += 1;
        self.used |= 1 << reg;
    }

    #[inline]
    pub(crate) fn unhold(&mut self, reg: Reg) {
        let state = &mut self.regs[reg as usize];
        debug_assert!(state.refs > 0 || self.failed.is_some(), "register {reg} is held");
        state.refs = state.refs.saturating_sub(1);
        if state.refs == 0 {
            self.used &= !(1 << reg);
        }
    }

    /// The register no longer says what a local holds.
    #[inline]
    pub(crate) fn uncache(&mut self, reg: Reg) {
        self.forget(1 << reg);
    }

    /// Forgets what registers cache, of `mask`.
    #[inline]
    pub(crate) fn forget(&mut self, mask: u32) {
        self.cached &= !mask;
    }

    /// The register that caches a local, or `NO_REG`.
    #[inline(always)]
    fn cached_reg(&self, local: u32) -> Reg {
        let reg = self.locals[local as usize].cached & 31;
        let is_cached = self.cached & 1 << reg != 0 && self.regs[reg as usize].cached == local;
        if is_cached { reg } else { NO_REG }
    }

    /// The local is cached nowhere.
    #[inline]
    fn uncache_local(&mut self, local: u32) {
        let reg = self.cached_reg(local);
        if reg != NO_REG {
            self.uncache(reg);
        }
    }

    /// Registers that hold or cache something.
    pub(crate) fn occupied(&self) -> u32 {
        (self.used | self.cached) & self.temps
    }

    /// Whether anyone holds `reg`.
    #[inline]
    pub(crate) fn is_used(&self, reg: Reg) -> bool {
        self.used & 1 << reg != 0
    }

    /// Says that `reg` holds what the home of `local` holds.
    pub(crate) fn cache(&mut self, local: u32, reg: Reg) {
        self.uncache_local(local);
        self.locals[local as usize].cached = reg;
        self.regs[reg as usize].cached = local;
        self.cached |= 1 << reg;
    }

    /// Moves the deepest operand that is in one of `candidates` to its home. `false` if there is none.
    fn spill_one(&mut self, candidates: u32) -> bool {
        for i in self.settled..self.stack.len() {
            if let Loc::Reg(reg) = self.stack[i].loc()
                && candidates & 1 << reg != 0
            {
                self.settle_entry(i);
                if !self.is_used(reg) {
                    return true;
                }
            }
        }
        false
    }

    /// Makes `reg` free of operands on the stack, so that the caller may hold it. Values in an
    /// expansion that are there must have been moved by the caller.
    pub(crate) fn evict(&mut self, reg: Reg, avoid: u32) {
        if self.is_used(reg) {
            let mut fresh = NO_REG;
            for i in self.settled..self.stack.len() {
                if self.stack[i].loc() == Loc::Reg(reg) {
                    if fresh == NO_REG {
                        let bank = if reg < XMM0 { Bank::General } else { Bank::Vector };
                        let free = self.temps & State::of_bank(bank) & !self.used & !avoid;
                        if free & !(1 << reg) == 0 {
                            self.settle_entry(i);
                            continue;
                        }
                        fresh = self.alloc_but(bank, avoid | 1 << reg);
                        self.move_reg(fresh, reg, self.stack[i].repr());
                    } else {
                        self.hold(fresh);
                    }
                    self.unhold(reg);
                    self.stack[i].set_loc(Loc::Reg(fresh));
                }
            }
            for i in 0..self.flags.len() {
                if self.flags[i].state == Flag::Moved(reg) {
                    let fresh = self.alloc_but(Bank::General, avoid | 1 << reg);
                    self.move_reg(fresh, reg, Repr::I32);
                    self.unhold(reg);
                    self.flags[i].state = Flag::Moved(fresh);
                }
            }
            if self.is_used(reg) {
                self.fail("a fixed register is held by the operation itself");
            }
        }
        self.uncache(reg);
    }

    /// Evicts `reg` and holds it.
    pub(crate) fn take(&mut self, reg: Reg, avoid: u32) {
        self.evict(reg, avoid);
        self.hold(reg);
    }

    // ---- moves ----

    #[inline]
    pub(crate) fn move_reg(&mut self, dst: Reg, src: Reg, repr: Repr) {
        if dst == src {
            return;
        }
        self.asm.form(move_form(repr), number(dst), number(src));
    }

    #[inline]
    pub(crate) fn load(&mut self, dst: Reg, mem: Mem, repr: Repr) {
        self.asm.form(load_form(repr), number(dst), mem);
    }

    #[inline]
    pub(crate) fn store(&mut self, mem: Mem, src: Reg, repr: Repr) {
        self.asm.form(store_form(repr), number(src), mem);
    }

    /// Loads a constant. Changes no flags.
    pub(crate) fn load_const(&mut self, dst: Reg, value: u64, repr: Repr) {
        match bank(repr) {
            Bank::General => self.asm.constant(dst, value),
            Bank::Vector if value == 0 => ins!(self.asm, xorps_a, xmm(dst), xmm(dst)),
            Bank::Vector => {
                self.asm.constant(R11, value);
                if repr == Repr::F32 {
                    ins!(self.asm, movd_a, xmm(dst), R11);
                } else {
                    ins!(self.asm, movq_a, xmm(dst), R11);
                }
            }
        }
    }

    /// Copies a value into a register, whoever holds that. Changes no flags and no other register but,
    /// for float constants, the scratch register.
    pub(crate) fn copy_to(&mut self, dst: Reg, loc: Loc, repr: Repr) {
        let src = match loc {
            Loc::Reg(src) => src,
            Loc::Local(local) => self.local_reg(local),
            _ => NO_REG,
        };
        if src != NO_REG {
            return self.move_reg(dst, src, repr);
        }
        match loc {
            Loc::Const(value) => self.load_const(dst, value, repr),
            Loc::Frame(disp) => {
                self.reloads += 1;
                self.load(dst, at(RBP, disp), repr);
            }
            Loc::Local(BASE) => self.load_base(dst),
            Loc::Local(local) => {
                self.reloads += 1;
                let disp = self.locals[local as usize].disp;
                self.load(dst, at(RBP, disp), repr);
            }
            Loc::Reg(_) => {}
            Loc::Flags(id) => match self.flags[id as usize].state {
                Flag::Live(cond) => self.asm.set_bool(cond, dst),
                Flag::Moved(src) => self.move_reg(dst, src, Repr::I32),
                Flag::Unused => self.fail("a truth value was used twice"),
            },
        }
    }

    /// The register that a local can be read from, if there is one.
    #[inline]
    pub(crate) fn local_reg(&self, local: u32) -> Reg {
        let pinned = self.locals[local as usize].pinned;
        if pinned != NO_REG { pinned } else { self.cached_reg(local) }
    }

    /// Reads the base of memory 0 into `dst`.
    pub(crate) fn load_base(&mut self, dst: Reg) {
        let Some((through, offset)) = self.base_path else {
            return self.fail("there is no memory with a fixed base");
        };
        let context = match self.local_reg(CONTEXT) {
            NO_REG => {
                let disp = self.locals[CONTEXT as usize].disp;
                self.load(dst, at(RBP, disp), Repr::Pointer);
                dst
            }
            reg => reg,
        };
        let from = match through {
            Some(pointer) => {
                self.load(dst, at(context, pointer as i32), Repr::Pointer);
                dst
            }
            None => context,
        };
        self.load(dst, at(from, offset as i32), Repr::Pointer);
    }

    // ---- values in expansions ----

    #[inline]
    pub(crate) fn constant(&self, value: u64, repr: Repr) -> Value {
        Value::new(Loc::Const(value), repr)
    }

    /// Gives a value back.
    #[inline]
    pub(crate) fn release(&mut self, value: Value) {
        if value.is(LocKind::Reg) {
            self.unhold(value.bits as Reg);
        } else if value.is(LocKind::Flags) {
            self.release_flags(value.bits as u8);
        }
    }

    #[inline]
    fn release_loc(&mut self, loc: Loc) {
        match loc {
            Loc::Reg(reg) => self.unhold(reg),
            Loc::Flags(id) => self.release_flags(id),
            Loc::Const(_) | Loc::Local(_) | Loc::Frame(_) => {}
        }
    }

    fn release_flags(&mut self, id: u8) {
        let flags = &mut self.flags[id as usize];
        flags.refs -= 1;
        if flags.refs == 0
            && let Flag::Moved(reg) = std::mem::replace(&mut flags.state, Flag::Unused)
        {
            self.unhold(reg);
        }
    }

    /// The same value once more.
    pub(crate) fn duplicate(&mut self, value: &Value) -> Value {
        match value.loc() {
            Loc::Reg(reg) => self.hold(reg),
            Loc::Flags(id) => self.flags[id as usize].refs += 1,
            Loc::Const(_) | Loc::Local(_) | Loc::Frame(_) => {}
        }
        Value { ..*value }
    }

    /// Makes sure that a value is in a register; that register may only be read.
    #[inline(always)]
    pub(crate) fn reg_of(&mut self, value: &mut Value) -> Reg {
        self.reg_of_but(value, 0)
    }

    /// As `reg_of`, in none of `avoid` if it is not in a register yet.
    #[inline(always)]
    pub(crate) fn reg_of_but(&mut self, value: &mut Value, avoid: u32) -> Reg {
        if value.is(LocKind::Reg) {
            return value.bits as Reg;
        }
        if value.is(LocKind::Local) {
            let pinned = self.locals[value.bits as usize].pinned;
            if pinned != NO_REG {
                return pinned;
            }
        }
        let reg = self.load_value(value.tag, value.bits, avoid);
        value.set_loc(Loc::Reg(reg));
        reg
    }

    /// A register with a value that is in none, or in one that caches a local; held for the value, which
    /// is given up where it was.
    #[inline(never)]
    fn load_value(&mut self, tag: Tag, bits: u64, avoid: u32) -> Reg {
        let repr = tag.repr();
        if tag.is(LocKind::Local) {
            let local = bits as u32;
            let cached = self.cached_reg(local);
            if cached != NO_REG {
                self.hold(cached);
                return cached;
            }
            let reg = self.alloc_but(bank(repr), avoid);
            if local == BASE {
                self.load_base(reg);
            } else {
                self.load(reg, at(RBP, self.locals[local as usize].disp), repr);
            }
            self.cache(local, reg);
            return reg;
        }
        let loc = Loc::join(tag.kind(), bits);
        let reg = self.alloc_but(bank(repr), avoid);
        self.copy_to(reg, loc, repr);
        self.release_loc(loc);
        reg
    }

    /// A register that holds the value and may be written to; held by the caller.
    pub(crate) fn own(&mut self, value: Value) -> Reg {
        self.own_but(value, 0)
    }

    /// As `own`, a register that is none of `avoid`.
    pub(crate) fn own_but(&mut self, value: Value, avoid: u32) -> Reg {
        if self.is_own(&value)
            && let reg = value.bits as Reg
            && avoid & 1 << reg == 0
        {
            self.uncache(reg);
            return reg;
        }
        let reg = self.alloc_but(bank(value.repr()), avoid);
        self.copy_to(reg, value.loc(), value.repr());
        self.release(value);
        reg
    }

    /// The register that a value is in, pinned ones included, or `NO_REG`.
    #[inline]
    pub(crate) fn known_reg(&self, value: &Value) -> Reg {
        if value.is(LocKind::Reg) {
            value.bits as Reg
        } else if value.is(LocKind::Local) {
            self.local_reg(value.bits as u32)
        } else {
            NO_REG
        }
    }

    /// Whether a value is in a register that nobody else reads.
    #[inline]
    pub(crate) fn is_own(&self, value: &Value) -> bool {
        value.is(LocKind::Reg) && self.regs[value.bits as usize & 31].refs == 1
    }

    /// Moves a value into a particular register, which gets held. Others that are there are moved.
    pub(crate) fn own_in(&mut self, value: Value, reg: Reg, avoid: u32) {
        if value.loc() == Loc::Reg(reg) && self.is_own(&value) {
            self.uncache(reg);
            return;
        }
        if value.loc() == Loc::Reg(reg) {
            // Others read it there too: they keep it, elsewhere.
            self.unhold(reg);
            self.evict(reg, avoid);
            self.hold(reg);
            return;
        }
        self.take(reg, avoid);
        self.copy_to(reg, value.loc(), value.repr());
        self.release(value);
    }

    /// A general register or memory that holds the value; constants go to a register. The value keeps
    /// the register.
    pub(crate) fn rm_of(&mut self, value: &mut Value) -> Rm {
        match self.memory_of(value) {
            Some(mem) => Rm::Mem(mem),
            None => Rm::Gpr(self.reg_of(value)),
        }
    }

    /// A vector register or memory that holds the value. Only for instructions that read no more than
    /// the value's own size from memory, at any alignment.
    pub(crate) fn xm_of(&mut self, value: &mut Value) -> Xm {
        match self.memory_of(value) {
            Some(mem) => Xm::Mem(mem),
            None => Xm::Xmm(xmm(self.reg_of(value))),
        }
    }

    /// Where in memory the value is, if it is in no register.
    fn memory_of(&self, value: &Value) -> Option<Mem> {
        if value.is(LocKind::Frame) {
            return Some(at(RBP, value.bits as i32));
        }
        if !value.is(LocKind::Local) || value.bits == u64::from(BASE) {
            return None;
        }
        let local = value.bits as u32;
        (self.local_reg(local) == NO_REG).then(|| at(RBP, self.locals[local as usize].disp))
    }

    /// The value as an immediate, if it is one that instructions can hold.
    #[inline]
    pub(crate) fn imm_of(value: &Value) -> Option<i32> {
        if !value.is_const() {
            return None;
        }
        match value.repr() {
            Repr::I32 | Repr::Ref => Some(value.bits as u32 as i32),
            Repr::I64 | Repr::Pointer => i32::try_from(value.bits as i64).ok(),
            _ => None,
        }
    }

    // ---- flags ----

    /// A truth value that the instruction just emitted left in the flags.
    pub(crate) fn flags_value(&mut self, cond: Cond) -> Value {
        let Some(id) = self.flags.iter().position(|flags| flags.state == Flag::Unused) else {
            self.fail("more truth values than an expansion has");
            return self.constant(0, Repr::I32);
        };
        self.flags[id] = Flags { state: Flag::Live(cond), refs: 1 };
        self.live_flags = true;
        Value::new(Loc::Flags(id as u8), Repr::I32)
    }

    /// The next instruction changes the flags: moves a truth value that is there.
    #[inline]
    pub(crate) fn clobber_flags(&mut self) {
        if self.live_flags {
            self.move_flags();
        }
    }

    #[inline(never)]
    fn move_flags(&mut self) {
        self.live_flags = false;
        for id in 0..self.flags.len() {
            if let Flag::Live(cond) = self.flags[id].state {
                let reg = self.alloc(Bank::General);
                self.asm.set_bool(cond, reg);
                self.flags[id].state = Flag::Moved(reg);
            }
        }
    }

    /// The condition that a truth value is, setting the flags by it if they are not. Uses it up.
    pub(crate) fn condition(&mut self, mut value: Value) -> Cond {
        if let Loc::Flags(id) = value.loc()
            && let Flag::Live(cond) = self.flags[id as usize].state
        {
            self.release(value);
            return cond;
        }
        self.clobber_flags();
        match self.memory_of(&value) {
            Some(mem) => ins!(self.asm, cmpl_mi_sxb, mem, 0i8),
            None => {
                let reg = match value.loc() {
                    Loc::Flags(id) => match self.flags[id as usize].state {
                        Flag::Moved(reg) => reg,
                        _ => {
                            self.fail("a truth value was used twice");
                            RAX
                        }
                    },
                    _ => self.reg_of(&mut value),
                };
                ins!(self.asm, testl_mr, reg, reg);
            }
        }
        self.release(value);
        Cond::Ne
    }

    /// The condition, if a value is one that is still in the flags.
    pub(crate) fn live_condition(&self, value: &Value) -> Option<Cond> {
        match value.loc() {
            Loc::Flags(id) => match self.flags[id as usize].state {
                Flag::Live(cond) => Some(cond),
                _ => None,
            },
            _ => None,
        }
    }

    // ---- the operand stack ----

    fn home(&self, slot: u32) -> i32 {
        -((self.operand_base + slot) as i32)
    }

    /// The home of an operand on the stack.
    pub(crate) fn entry_home(&self, index: usize) -> i32 {
        self.home(self.stack[index].slot())
    }

    /// Bytes of operand homes below position `index` of the stack.
    pub(crate) fn slot_below(&self, index: usize) -> u32 {
        self.stack.get(index).map_or(self.slot, |entry| entry.below)
    }

    /// The home that an operand of this representation gets above `below` bytes; also the bytes with it.
    pub(crate) fn next_home(&self, below: u32, repr: Repr) -> (i32, u32) {
        let slot = below + home_bytes(repr);
        (self.home(slot), slot)
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, value: Value) {
        let Value { bits, tag } = value;
        if tag.is(LocKind::Frame) && bits as i32 != self.home(self.slot + home_bytes(tag.repr())) {
            // A value that was popped and comes back keeps its home only if that is this one.
            return self.push_moved(value);
        }
        if tag.is(LocKind::Local) {
            self.locals[bits as usize].refs += 1;
        }
        self.push_entry(bits, tag);
    }

    /// Pushes what a local that an instruction names holds.
    #[inline(always)]
    pub(crate) fn push_local(&mut self, local: u32) {
        let named = &mut self.locals[local as usize];
        let (repr, used) = (named.repr, named.used);
        named.refs += 1;
        if !used {
            self.unforeseen();
        }
        self.push_entry(u64::from(local), Tag::new(LocKind::Local, repr));
    }

    /// Pushes an entry. Takes its parts, which travel in registers: an entry would be put together in memory
    /// first, where it is not pushed at once.
    #[inline(always)]
    fn push_entry(&mut self, bits: u64, tag: Tag) {
        let below = self.slot;
        let slot = below + home_bytes(tag.repr());
        if slot > self.max_operands {
            self.max_operands = slot;
        }
        if self.stack.len() == self.stack.capacity() || self.stack.len() - self.settled >= WINDOW {
            return self.push_far(bits, tag);
        }
        // Nothing is written in between, so that this is known to need no more room.
        self.stack.push(Entry { bits, tag, below });
        self.slot = slot;
    }

    /// Pushes a value from a home that is not its own.
    #[cold]
    #[inline(never)]
    fn push_moved(&mut self, mut value: Value) {
        self.reg_of(&mut value);
        self.push(value);
    }

    /// Pushes an entry where there may be no room, or too many operands not settled.
    #[cold]
    #[inline(never)]
    fn push_far(&mut self, bits: u64, tag: Tag) {
        self.stack.push(Entry { bits, tag, below: self.slot });
        self.slot += home_bytes(tag.repr());
        while self.stack.len() - self.settled > WINDOW {
            self.settle_entry(self.settled);
            self.settled += 1;
        }
    }

    pub(crate) fn push_reg(&mut self, reg: Reg, repr: Repr) {
        self.push(Value::new(Loc::Reg(reg), repr));
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Value {
        let Some(Entry { bits, tag, below }) = self.stack.pop() else {
            return self.no_operand();
        };
        self.slot = below;
        if self.settled > self.stack.len() {
            self.settled = self.stack.len();
        }
        if tag.is(LocKind::Local) {
            self.locals[bits as usize].refs -= 1;
        }
        Value { bits, tag }
    }

    #[cold]
    #[inline(never)]
    fn no_operand(&mut self) -> Value {
        self.fail("no operand is there");
        self.constant(0, Repr::I32)
    }

    /// Moves an operand to its home, unless it is a constant.
    fn settle_entry(&mut self, index: usize) {
        let slot = self.stack[index].slot();
        let (loc, repr) = self.stack[index].parts();
        let home = at(RBP, self.home(slot));
        match loc {
            Loc::Const(_) | Loc::Frame(_) => return,
            Loc::Reg(reg) => {
                self.store(home, reg, repr);
                self.unhold(reg);
            }
            Loc::Local(local) => {
                let reg = match self.local_reg(local) {
                    NO_REG => {
                        let scratch = scratch(repr);
                        self.copy_to(scratch, loc, repr);
                        scratch
                    }
                    reg => reg,
                };
                self.store(home, reg, repr);
                self.locals[local as usize].refs -= 1;
            }
            Loc::Flags(id) => {
                let reg = match self.flags[id as usize].state {
                    Flag::Live(cond) => {
                        self.asm.set_bool(cond, R11);
                        R11
                    }
                    Flag::Moved(reg) => reg,
                    Flag::Unused => return self.fail("a truth value was used twice"),
                };
                self.store(home, reg, repr);
                self.release_loc(loc);
            }
        }
        self.spills += 1;
        let home = self.home(slot);
        self.stack[index].set_loc(Loc::Frame(home));
    }

    /// Moves all operands below position `below` to their homes.
    pub(crate) fn settle(&mut self, below: usize) {
        for index in self.settled..below {
            self.settle_entry(index);
        }
        self.settled = self.settled.max(below);
    }

    /// Moves operands below position `below` that are in registers to their homes: what a call needs.
    pub(crate) fn settle_regs(&mut self, below: usize) {
        for index in self.settled..below {
            if matches!(self.stack[index].loc(), Loc::Reg(_) | Loc::Flags(_)) {
                self.settle_entry(index);
            }
        }
    }

    /// Drops operands from position `height` on.
    #[inline]
    pub(crate) fn truncate(&mut self, height: usize) {
        if self.stack.len() > height {
            self.drop_operands(height);
        }
        self.settled = self.settled.min(height);
    }

    #[inline(never)]
    fn drop_operands(&mut self, height: usize) {
        while self.stack.len() > height.max(self.settled) {
            let value = self.pop();
            self.release(value);
        }
        self.slot = self.slot_below(height);
        self.stack.truncate(height);
    }

    /// The operands on the stack that mean `local` get its value now: it is about to change.
    #[inline(always)]
    fn detach(&mut self, local: u32) {
        if self.locals[local as usize].refs != 0 {
            self.detach_operands(local);
        }
    }

    #[inline(never)]
    fn detach_operands(&mut self, local: u32) {
        let mut left = self.locals[local as usize].refs;
        let repr = self.locals[local as usize].repr;
        let reg = self.alloc(bank(repr));
        self.copy_to(reg, Loc::Local(local), repr);
        for index in (self.settled..self.stack.len()).rev() {
            if self.stack[index].loc() == Loc::Local(local) {
                self.hold(reg);
                self.stack[index].set_loc(Loc::Reg(reg));
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        self.unhold(reg);
        self.locals[local as usize].refs = 0;
    }

    // ---- locals ----

    /// Makes ready to write a pinned local: returns its register.
    pub(crate) fn begin_write(&mut self, local: u32) -> Reg {
        self.detach(local);
        self.locals[local as usize].pinned
    }

    /// Gives a local a value.
    pub(crate) fn set_local(&mut self, local: u32, value: Value) -> Value {
        if value.loc() == Loc::Local(local) {
            return value;
        }
        self.detach(local);
        let Local { repr, pinned, disp, .. } = self.locals[local as usize];
        if pinned != NO_REG {
            self.copy_to(pinned, value.loc(), repr);
            self.release(value);
            return Value::new(Loc::Local(local), repr);
        }
        self.spills += 1;
        let home = at(RBP, disp);
        let mut value = value;
        match value.loc() {
            Loc::Const(bits) if bank(repr) == Bank::General && State::imm_of(&value).is_some() => {
                let imm = bits as i32;
                ins_wide!(self.asm, wide(repr), movl_mi, movq_mi_sxl, home, imm);
                self.uncache_local(local);
            }
            _ => {
                let reg = self.reg_of(&mut value);
                self.store(home, reg, repr);
                // A pinned register belongs to its own local.
                if self.temps & 1 << reg != 0 {
                    self.cache(local, reg);
                } else {
                    self.uncache_local(local);
                }
            }
        }
        value
    }

    /// A local that an instruction names.
    pub(crate) fn named(&mut self, local: u32) -> Local {
        let named = self.locals[local as usize];
        if !named.used {
            self.unforeseen();
        }
        named
    }

    #[cold]
    #[inline(never)]
    fn unforeseen(&mut self) {
        self.fail("the first look missed a use of a local");
    }

    /// Adds a local that has no place yet.
    #[inline]
    pub(crate) fn add_local(&mut self, repr: Repr) {
        let (pinned, cached) = (NO_REG, 0);
        self.locals.push(Local { repr, pinned, cached, disp: 0, refs: 0, used: false });
    }

    /// Gives a local its home, below those that have one.
    #[inline]
    pub(crate) fn place_local(&mut self, local: u32, used: bool) {
        let local = &mut self.locals[local as usize];
        // Pinned locals that do not survive calls have a home too, for the time of a call.
        if local.pinned == NO_REG || CALLEE_SAVED & 1 << local.pinned == 0 {
            self.operand_base += home_bytes(local.repr);
        }
        local.disp = -(self.operand_base as i32);
        local.used = used;
    }

    // ---- control ----

    /// At a label: registers hold nothing but pinned locals. Operands must be settled.
    pub(crate) fn forget_all(&mut self) {
        self.forget(u32::MAX);
        debug_assert!(
            self.failed.is_some() || self.used & self.temps == 0,
            "registers are in use at a label: {:x}",
            self.used
        );
    }

    /// Checks in debug builds that registers are counted right when no expansion is under way.
    pub(crate) fn check(&self) {
        if cfg!(debug_assertions) && self.failed.is_none() {
            let mut refs = [0; 32];
            for entry in &self.stack[self.settled..] {
                if let Loc::Reg(reg) = entry.loc() {
                    refs[reg as usize] += 1;
                }
            }
            for flags in &self.flags {
                if let Flag::Moved(reg) = flags.state {
                    refs[reg as usize] += 1;
                }
            }
            for (reg, (expected, state)) in refs.iter().zip(&self.regs).enumerate() {
                assert_eq!(*expected, state.refs, "uses of register {reg}");
            }
        }
    }
}

/// A field as the tier reaches it.
pub(crate) struct Place {
    pub(crate) mem: Mem,
    /// A register held for it.
    held: Option<Reg>,
    pub(crate) repr: Repr,
}

impl State {
    /// Reaches a field; `release_place` afterwards.
    pub(crate) fn place(&mut self, path: wardian_module::layout::Path) -> Place {
        let repr = path.repr;
        if path.root == Root::ModuleTable {
            return Place { mem: in_module_table(path.offset), held: None, repr };
        }
        let mut context = Value::new(Loc::Local(CONTEXT), Repr::Pointer);
        let base = self.reg_of(&mut context);
        match path.through {
            None => {
                let held = if let Loc::Reg(reg) = context.loc() { Some(reg) } else { None };
                Place { mem: at(base, path.offset as i32), held, repr }
            }
            Some(pointer) => {
                self.release(context);
                let reg = self.alloc(Bank::General);
                self.load(reg, at(base, pointer as i32), Repr::Pointer);
                Place { mem: at(reg, path.offset as i32), held: Some(reg), repr }
            }
        }
    }

    pub(crate) fn release_place(&mut self, place: Place) {
        if let Some(reg) = place.held {
            self.unhold(reg);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_keep_what_they_are_made_of() {
        for repr in
            [Repr::I32, Repr::I64, Repr::F32, Repr::F64, Repr::V128, Repr::Pointer, Repr::Ref]
        {
            for loc in
                [Loc::Reg(31), Loc::Const(u64::MAX), Loc::Local(9), Loc::Frame(-8), Loc::Flags(3)]
            {
                let value = Value::new(loc, repr);
                assert_eq!((value.loc(), value.repr()), (loc, repr));
            }
        }
    }
}

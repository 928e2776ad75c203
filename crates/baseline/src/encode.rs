//! The commonest instructions, encoded here: a few shifts and one store or two. All others are encoded by
//! `cranelift-assembler-x64`, whose generality costs some two hundred instructions of this processor for
//! one of the guest's.
//!
//! Invariant: every form here gives the bytes that `cranelift-assembler-x64` gives; the tests of this
//! file compare them for all registers and shapes of operands.

use crate::asm::{Asm, Label, PatchKind, ROOM, Reg};
use cranelift_assembler_x64 as x64;
use wardian_module::layout::Repr;
use x64::{Amode, AmodeOffset, AmodeOffsetPlusKnownOffset, DeferredTarget, GprMem, XmmMem};

/// How an address is made up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// `[base + index * 2^shift + disp]`, where there may be no index.
    Registers,
    /// The same, of a base that never comes without displacement: rbp, r13.
    Displaced,
    /// A place in the module table, `disp` bytes from its start.
    ModuleTable,
    /// The place of the label with the number `disp`.
    Label,
}

/// What encodings say where there is no index. As a base, or as r12, it is named as bases with an index are.
const NO_INDEX: u8 = 4;

/// An operand in memory, as encodings want it. Small enough to travel in one register; and where it is made,
/// more is known of it than where it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mem {
    kind: Kind,
    /// The upper bits of index and base, as in REX.
    upper: u8,
    /// The base, or `NO_INDEX` if the byte behind it is needed.
    rm: u8,
    /// Shift, index and base.
    scaled: u8,
    disp: i32,
}

/// A general register or memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rm {
    Gpr(Reg),
    Mem(Mem),
}

/// A vector register, by its number in instructions, or memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Xm {
    Xmm(u8),
    Mem(Mem),
}

/// The kind of an address with this base.
#[inline(always)]
fn kind_with(base: Reg) -> Kind {
    if base & 7 == 5 { Kind::Displaced } else { Kind::Registers }
}

/// `[base + disp]`
#[inline(always)]
pub(crate) fn at(base: Reg, disp: i32) -> Mem {
    let low = base & 7;
    Mem { kind: kind_with(base), upper: base >> 3, rm: low, scaled: NO_INDEX << 3 | low, disp }
}

/// `[base + index * 2^shift + disp]`
#[inline(always)]
pub(crate) fn indexed(base: Reg, index: Reg, shift: u8, disp: i32) -> Mem {
    debug_assert!(index != NO_INDEX && shift < 4);
    let scaled = shift << 6 | (index & 7) << 3 | base & 7;
    let upper = index >> 2 & 2 | base >> 3;
    Mem { kind: kind_with(base), upper, rm: NO_INDEX, scaled, disp }
}

/// The place of a label, relative to the code.
pub(crate) fn at_label(label: Label) -> Mem {
    Mem { kind: Kind::Label, upper: 0, rm: 0, scaled: 0, disp: label.0 as i32 }
}

/// A place in the module table.
pub(crate) fn in_module_table(offset: u32) -> Mem {
    Mem { kind: Kind::ModuleTable, upper: 0, rm: 0, scaled: 0, disp: offset as i32 }
}

impl Mem {
    /// Whether it is made up of registers.
    #[inline(always)]
    fn is_registers(self) -> bool {
        matches!(self.kind, Kind::Registers | Kind::Displaced)
    }

    /// How it says how long its displacement is, and that.
    #[inline(always)]
    fn displacement(self) -> (u8, usize) {
        let is_displaced = (self.disp != 0) | (self.kind == Kind::Displaced);
        if self.disp == i32::from(self.disp as i8) {
            (u8::from(is_displaced) << 6, usize::from(is_displaced))
        } else {
            (0x80, 4)
        }
    }
}

impl From<Mem> for Rm {
    #[inline]
    fn from(mem: Mem) -> Rm {
        Rm::Mem(mem)
    }
}

impl From<Reg> for Rm {
    #[inline]
    fn from(reg: Reg) -> Rm {
        Rm::Gpr(reg)
    }
}

impl From<Xm> for Rm {
    #[inline]
    fn from(operand: Xm) -> Rm {
        match operand {
            Xm::Xmm(number) => Rm::Gpr(number),
            Xm::Mem(mem) => Rm::Mem(mem),
        }
    }
}

impl From<Mem> for Amode<u8> {
    fn from(mem: Mem) -> Amode<u8> {
        let Mem { kind, upper, rm, scaled, disp } = mem;
        let base = upper << 3 & 8 | scaled & 7;
        let index = upper << 2 & 8 | scaled >> 3 & 7;
        match kind {
            Kind::Registers | Kind::Displaced if rm != NO_INDEX || index == NO_INDEX => {
                let simm32 =
                    AmodeOffsetPlusKnownOffset { simm32: AmodeOffset::new(disp), offset: None };
                Amode::ImmReg { base, simm32, trap: None }
            }
            Kind::Registers | Kind::Displaced => Amode::ImmRegRegShift {
                base,
                index: x64::NonRspGpr::new(index),
                scale: x64::Scale::new(scaled >> 6),
                simm32: AmodeOffset::new(disp),
                trap: None,
            },
            Kind::ModuleTable => {
                Amode::RipRelative { target: DeferredTarget::Constant(x64::Constant(disp as u32)) }
            }
            Kind::Label => {
                Amode::RipRelative { target: DeferredTarget::Label(x64::Label(disp as u32)) }
            }
        }
    }
}

impl From<Mem> for GprMem<u8, u8> {
    fn from(mem: Mem) -> GprMem<u8, u8> {
        GprMem::Mem(mem.into())
    }
}

impl From<Rm> for GprMem<u8, u8> {
    fn from(operand: Rm) -> GprMem<u8, u8> {
        match operand {
            Rm::Gpr(reg) => GprMem::Gpr(reg),
            Rm::Mem(mem) => GprMem::Mem(mem.into()),
        }
    }
}

impl From<Mem> for XmmMem<u8, u8> {
    fn from(mem: Mem) -> XmmMem<u8, u8> {
        XmmMem::Mem(mem.into())
    }
}

impl From<Xm> for XmmMem<u8, u8> {
    fn from(operand: Xm) -> XmmMem<u8, u8> {
        match operand {
            Xm::Xmm(number) => XmmMem::Xmm(number),
            Xm::Mem(mem) => XmmMem::Mem(mem.into()),
        }
    }
}

/// What an instruction is, but for its operands: REX, the opcode's bytes and, above them, what makes it less
/// simple. A number at run time, not a parameter of types: the same few lines encode all instructions, and
/// stay in the processor's cache of code.
#[derive(Clone, Copy)]
pub(crate) struct Form(u32);

/// REX without any of its bits.
const REX: u32 = 0x40;
const REX_W: u32 = 0x08;
const OPCODE: u32 = 8;
/// Bytes of immediate.
const IMMEDIATE: u32 = 24;
/// The opcode has two bytes.
const ESCAPE: u32 = 27;
/// Registers have 8 bits.
const BYTE: u32 = 28;
/// The number of a prefix in `PREFIXES`.
const PREFIX: u32 = 29;
const PREFIXES: [u8; 4] = [0, 0x66, 0xf2, 0xf3];

impl Form {
    /// One byte of opcode.
    pub(crate) const fn op(opcode: u8) -> Form {
        Form(REX | (opcode as u32) << OPCODE)
    }

    /// `0f` and one byte of opcode.
    pub(crate) const fn op_0f(opcode: u8) -> Form {
        Form(REX | 0x0f << OPCODE | (opcode as u32) << (OPCODE + 8) | 1 << ESCAPE)
    }

    /// 64 bits.
    pub(crate) const fn wide(self) -> Form {
        self.wide_if(true)
    }

    /// 64 bits, or 32.
    #[inline(always)]
    pub(crate) const fn wide_if(self, wide: bool) -> Form {
        Form(self.0 | (REX_W * wide as u32))
    }

    /// Registers of 8 bits.
    pub(crate) const fn byte(self) -> Form {
        Form(self.0 | 1 << BYTE)
    }

    /// A prefix that belongs to the opcode.
    pub(crate) const fn prefix(self, prefix: u8) -> Form {
        let number = match prefix {
            0x66 => 1,
            0xf2 => 2,
            _ => 3,
        };
        Form(self.0 | number << PREFIX)
    }

    /// With so many bytes of immediate.
    pub(crate) const fn imm(self, bytes: u8) -> Form {
        Form(self.0 | (bytes as u32) << IMMEDIATE)
    }

    /// Bytes of immediate.
    #[inline(always)]
    fn immediate(self) -> usize {
        (self.0 >> IMMEDIATE & 7) as usize
    }

    #[inline(always)]
    fn is_byte(self) -> bool {
        self.0 & 1 << BYTE != 0
    }

    /// Whether it is one byte of opcode and perhaps REX, and an immediate.
    #[inline(always)]
    fn is_short(self) -> bool {
        self.0 >> ESCAPE == 0
    }

    /// Whether it is one byte of opcode and perhaps REX, nothing more.
    #[inline(always)]
    fn is_simple(self) -> bool {
        self.0 >> IMMEDIATE == 0
    }

    /// REX and opcode of a short form, and how many bits of them are not needed. `upper` are the upper bits of
    /// registers, where REX wants them.
    #[inline(always)]
    fn short_head(self, upper: u8) -> (u64, u32) {
        let head = self.0 & 0xffff | u32::from(upper);
        (u64::from(head), if head as u8 == REX as u8 { 8 } else { 0 })
    }
}

/// Arithmetic of which all instructions have the same shape, by its number in opcodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    /// As `Sub`, for its flags alone.
    Cmp = 7,
}

/// How a value of this representation is loaded.
#[inline(always)]
pub(crate) fn load_form(repr: Repr) -> Form {
    match repr {
        Repr::I32 | Repr::Ref => Form::op(0x8b),
        Repr::I64 | Repr::Pointer => Form::op(0x8b).wide(),
        Repr::F32 => Form::op_0f(0x10).prefix(0xf3),
        Repr::F64 => Form::op_0f(0x10).prefix(0xf2),
        Repr::V128 => Form::op_0f(0x10),
    }
}

/// How an integer of so many bits is loaded, and extended to 32 or to 64 (`wide`).
#[inline(always)]
pub(crate) fn narrow_load_form(bits: u8, signed: bool, wide: bool) -> Form {
    let form = match (bits, signed) {
        (8, false) => Form::op_0f(0xb6).byte(),
        (8, true) => Form::op_0f(0xbe).byte(),
        (16, false) => Form::op_0f(0xb7),
        (16, true) => Form::op_0f(0xbf),
        (_, false) => Form::op(0x8b),
        (_, true) => Form::op(0x63),
    };
    // What is written as 32 bits is extended with zeros.
    form.wide_if(wide & signed)
}

/// How the low 8, 16 or 32 bits of an integer are stored.
#[inline(always)]
pub(crate) fn narrow_store_form(bits: u8) -> Form {
    match bits {
        8 => Form::op(0x88).byte(),
        16 => Form::op(0x89).prefix(0x66),
        _ => Form::op(0x89),
    }
}

/// How one is stored.
#[inline(always)]
pub(crate) fn store_form(repr: Repr) -> Form {
    match repr {
        Repr::I32 | Repr::Ref => Form::op(0x89),
        Repr::I64 | Repr::Pointer => Form::op(0x89).wide(),
        Repr::F32 => Form::op_0f(0x11).prefix(0xf3),
        Repr::F64 => Form::op_0f(0x11).prefix(0xf2),
        Repr::V128 => Form::op_0f(0x11),
    }
}

/// How one is copied from register to register.
#[inline(always)]
pub(crate) fn move_form(repr: Repr) -> Form {
    match repr {
        Repr::I32 | Repr::Ref | Repr::I64 | Repr::Pointer => load_form(repr),
        // movaps
        Repr::F32 | Repr::F64 | Repr::V128 => Form::op_0f(0x28),
    }
}

/// The number by which an instruction names a register of its bank.
#[inline(always)]
pub(crate) const fn number(reg: Reg) -> u8 {
    reg & 15
}

/// An immediate; what is shorter than 32 bits is cut off when it is written.
pub(crate) trait Immediate {
    fn bits(self) -> u32;
}

macro_rules! immediates {
    ($($ty:ty)*) => {
        $(impl Immediate for $ty {
            #[inline]
            fn bits(self) -> u32 {
                self as u32
            }
        })*
    };
}
immediates!(i8 u8 u16 i32 u32);

/// Registers whose low byte can only be named with a REX prefix.
#[inline]
fn needs_rex(reg: Reg) -> bool {
    (4..8).contains(&reg)
}

/// Room for an instruction. What is written may be longer than what it needs: the next part, or the next
/// instruction, overwrites the rest.
type Room = [u8; ROOM];

/// Writes bytes, and says where they would go on after so many of them.
#[inline(always)]
fn write<const N: usize>(room: &mut Room, at: usize, bytes: [u8; N], count: usize) -> usize {
    room[at..at + N].copy_from_slice(&bytes);
    at + count
}

impl Form {
    /// Writes prefixes and opcode of any form.
    #[inline(always)]
    fn head(self, room: &mut Room, upper: u8, needs_rex: bool) -> usize {
        let Form(form) = self;
        let prefix = PREFIXES[(form >> PREFIX & 3) as usize];
        let at = write(room, 0, [prefix], usize::from(prefix != 0));
        let rex = form as u8 | upper;
        let at = write(room, at, [rex], usize::from((rex != REX as u8) | needs_rex));
        let opcode = (form >> OPCODE) as u16;
        write(room, at, opcode.to_le_bytes(), 1 + (form >> ESCAPE & 1) as usize)
    }
}

impl Asm {
    /// An instruction with a register (or a digit of the opcode), and a register or memory.
    #[inline(always)]
    pub(crate) fn form(&mut self, form: Form, reg: u8, rm: impl Into<Rm>) {
        self.form_imm(form, reg, rm, 0u32);
    }

    /// As `form`, with an immediate.
    #[inline(always)]
    pub(crate) fn form_imm(&mut self, form: Form, reg: u8, rm: impl Into<Rm>, imm: impl Immediate) {
        match rm.into() {
            Rm::Gpr(rm) => self.with_register(form, reg, rm, imm.bits()),
            Rm::Mem(mem) if mem.is_registers() => {
                self.with_memory(form, reg, mem, imm.bits());
            }
            Rm::Mem(mem) => self.with_distance(form, reg, mem, imm.bits()),
        }
    }

    #[inline(never)]
    fn with_register(&mut self, form: Form, reg: u8, rm: Reg, imm: u32) {
        if !form.is_short() {
            return self.with_register_in_any_form(form, reg, rm, imm);
        }
        let Some(room) = self.room_if_any() else {
            return self.with_register_in_more_room(form, reg, rm, imm);
        };
        let (head, spare) = form.short_head(reg >> 1 & 4 | rm >> 3);
        let mode = u32::from(0xc0 | (reg & 7) << 3 | rm & 7);
        let word = (head as u32 | mode << 16) >> spare;
        let at = write(room, 0, word.to_le_bytes(), 3 - spare as usize / 8);
        let end = write(room, at, imm.to_le_bytes(), form.immediate());
        self.advance(end);
    }

    #[inline(never)]
    fn with_register_in_any_form(&mut self, form: Form, reg: u8, rm: Reg, imm: u32) {
        let room = self.room_for_one();
        let needs_rex = form.is_byte() && (needs_rex(reg) || needs_rex(rm));
        let at = form.head(room, reg >> 1 & 4 | rm >> 3, needs_rex);
        let at = write(room, at, [0xc0 | (reg & 7) << 3 | rm & 7], 1);
        let end = write(room, at, imm.to_le_bytes(), form.immediate());
        self.advance(end);
    }

    #[inline(never)]
    fn with_memory(&mut self, form: Form, reg: u8, mem: Mem, imm: u32) {
        if !form.is_simple() {
            return self.with_memory_in_any_form(form, reg, mem, imm);
        }
        let Some(room) = self.room_if_any() else {
            return self.with_memory_in_more_room(form, reg, mem);
        };
        let (mode, length) = mem.displacement();
        let (head, spare) = form.short_head(reg >> 1 & 4 | mem.upper);
        let mode = u64::from(mode | (reg & 7) << 3 | mem.rm);
        let no_scaled = u32::from(mem.rm != NO_INDEX);
        let place = u64::from(mem.scaled) | u64::from(mem.disp as u32) << 8;
        let word = head | mode << 16 | place >> (8 * no_scaled) << 24;
        room[..8].copy_from_slice(&(word >> spare).to_le_bytes());
        self.advance(4 + length - no_scaled as usize - spare as usize / 8);
    }

    #[inline(never)]
    fn with_memory_in_any_form(&mut self, form: Form, reg: u8, mem: Mem, imm: u32) {
        let room = self.room_for_one();
        let needs_rex = form.is_byte() && needs_rex(reg);
        let at = form.head(room, reg >> 1 & 4 | mem.upper, needs_rex);
        let (mode, length) = mem.displacement();
        let both = [mode | (reg & 7) << 3 | mem.rm, mem.scaled];
        let at = write(room, at, both, 1 + usize::from(mem.rm == NO_INDEX));
        let at = write(room, at, mem.disp.to_le_bytes(), length);
        let end = write(room, at, imm.to_le_bytes(), form.immediate());
        self.advance(end);
    }

    /// With an operand in memory that is named by its distance.
    #[inline(never)]
    fn with_distance(&mut self, form: Form, reg: u8, mem: Mem, imm: u32) {
        let here = self.here();
        let room = self.room_for_one();
        let at = form.head(room, reg >> 1 & 4, form.is_byte() && needs_rex(reg));
        let at = write(room, at, [(reg & 7) << 3 | 5], 1);
        // Distances count from the end of the instruction.
        let correction = -(form.immediate() as i32);
        let end = write(room, at, correction.to_le_bytes(), 4);
        let end = write(room, end, imm.to_le_bytes(), form.immediate());
        self.advance(end);
        let at = here + at as u32;
        match mem.kind {
            Kind::ModuleTable => self.relocate_to_table(at, mem.disp as u32),
            _ => self.patch(at, Label(mem.disp as u32), PatchKind::Relative),
        }
    }

    #[cold]
    #[inline(never)]
    fn with_register_in_more_room(&mut self, form: Form, reg: u8, rm: Reg, imm: u32) {
        self.make_room();
        self.with_register(form, reg, rm, imm);
    }

    #[cold]
    #[inline(never)]
    fn with_memory_in_more_room(&mut self, form: Form, reg: u8, mem: Mem) {
        self.make_room();
        self.with_memory(form, reg, mem, 0);
    }

    /// An instruction of two operands, the first of which is its result.
    #[inline]
    pub(crate) fn alu_rm(&mut self, op: Alu, wide: bool, dst: Reg, src: impl Into<Rm>) {
        self.form(Form::op((op as u8) << 3 | 3).wide_if(wide), dst, src);
    }

    /// As `alu_rm`, with an immediate as the second operand.
    #[inline]
    pub(crate) fn alu_imm(&mut self, op: Alu, wide: bool, dst: impl Into<Rm>, imm: i32) {
        let short = Form::op(0x83).imm(1);
        let long = Form::op(0x81).imm(4);
        let form = if i8::try_from(imm).is_ok() { short } else { long };
        self.form_imm(form.wide_if(wide), op as u8, dst, imm);
    }

    /// `mov` of a constant of 32 bits, which clears the upper half.
    #[inline]
    pub(crate) fn mov_imm(&mut self, dst: Reg, imm: u32) {
        let has_rex = u64::from(dst >> 3 & 1);
        let length = has_rex * 8;
        let op = 0xb8 | u64::from(dst & 7) | u64::from(imm) << 8;
        let bits = (0x41 * has_rex) | (op << length);
        self.room_for_one()[..8].copy_from_slice(&bits.to_le_bytes());
        self.advance(5 + has_rex as usize);
    }
}

/// Emits an instruction by its name in `cranelift-assembler-x64`.
macro_rules! ins {
    (@rm $asm:expr, $form:expr, $reg:expr, $rm:expr) => { $asm.form($form, $reg, $rm) };
    (@mr $asm:expr, $form:expr, $rm:expr, $reg:expr) => { $asm.form($form, $reg, $rm) };
    (@mi $asm:expr, $form:expr, $digit:literal, $rm:expr, $imm:expr) => {
        $asm.form_imm($form, $digit, $rm, $imm)
    };
    (@rmi $asm:expr, $form:expr, $reg:expr, $rm:expr, $imm:expr) => {
        $asm.form_imm($form, $reg, $rm, $imm)
    };

    ($asm:expr, movl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x8b), $($a)*) };
    ($asm:expr, movq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x8b).wide(), $($a)*) };
    ($asm:expr, addl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x03), $($a)*) };
    ($asm:expr, addq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x03).wide(), $($a)*) };
    ($asm:expr, orl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x0b), $($a)*) };
    ($asm:expr, orq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x0b).wide(), $($a)*) };
    ($asm:expr, andl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x23), $($a)*) };
    ($asm:expr, andq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x23).wide(), $($a)*) };
    ($asm:expr, subl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x2b), $($a)*) };
    ($asm:expr, subq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x2b).wide(), $($a)*) };
    ($asm:expr, xorl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x33), $($a)*) };
    ($asm:expr, xorq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x33).wide(), $($a)*) };
    ($asm:expr, cmpl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x3b), $($a)*) };
    ($asm:expr, cmpq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x3b).wide(), $($a)*) };
    ($asm:expr, leal_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x8d), $($a)*) };
    ($asm:expr, leaq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x8d).wide(), $($a)*) };
    ($asm:expr, movslq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op(0x63).wide(), $($a)*) };
    ($asm:expr, imull_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op_0f(0xaf), $($a)*) };
    ($asm:expr, imulq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op_0f(0xaf).wide(), $($a)*) };
    ($asm:expr, movzbl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op_0f(0xb6).byte(), $($a)*) };
    ($asm:expr, movzwl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op_0f(0xb7), $($a)*) };
    ($asm:expr, movsbl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op_0f(0xbe).byte(), $($a)*) };
    ($asm:expr, movswl_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op_0f(0xbf), $($a)*) };
    ($asm:expr, movsbq_rm, $($a:tt)*) => {
        ins!(@rm $asm, Form::op_0f(0xbe).byte().wide(), $($a)*)
    };
    ($asm:expr, movswq_rm, $($a:tt)*) => { ins!(@rm $asm, Form::op_0f(0xbf).wide(), $($a)*) };
    ($asm:expr, movss_a_m, $($a:tt)*) => {
        ins!(@rm $asm, Form::op_0f(0x10).prefix(0xf3), $($a)*)
    };
    ($asm:expr, movsd_a_m, $($a:tt)*) => {
        ins!(@rm $asm, Form::op_0f(0x10).prefix(0xf2), $($a)*)
    };

    ($asm:expr, movb_mr, $($a:tt)*) => { ins!(@mr $asm, Form::op(0x88).byte(), $($a)*) };
    ($asm:expr, movw_mr, $($a:tt)*) => { ins!(@mr $asm, Form::op(0x89).prefix(0x66), $($a)*) };
    ($asm:expr, movl_mr, $($a:tt)*) => { ins!(@mr $asm, Form::op(0x89), $($a)*) };
    ($asm:expr, movq_mr, $($a:tt)*) => { ins!(@mr $asm, Form::op(0x89).wide(), $($a)*) };
    ($asm:expr, testl_mr, $($a:tt)*) => { ins!(@mr $asm, Form::op(0x85), $($a)*) };
    ($asm:expr, testq_mr, $($a:tt)*) => { ins!(@mr $asm, Form::op(0x85).wide(), $($a)*) };
    ($asm:expr, movss_c_m, $($a:tt)*) => {
        ins!(@mr $asm, Form::op_0f(0x11).prefix(0xf3), $($a)*)
    };
    ($asm:expr, movsd_c_m, $($a:tt)*) => {
        ins!(@mr $asm, Form::op_0f(0x11).prefix(0xf2), $($a)*)
    };

    ($asm:expr, movb_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc6).byte().imm(1), 0, $($a)*) };
    ($asm:expr, movw_mi, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0xc7).prefix(0x66).imm(2), 0, $($a)*)
    };
    ($asm:expr, movl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc7).imm(4), 0, $($a)*) };
    ($asm:expr, movq_mi_sxl, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0xc7).wide().imm(4), 0, $($a)*)
    };
    ($asm:expr, addl_mi_sxb, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x83).imm(1), 0, $($a)*) };
    ($asm:expr, addq_mi_sxb, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x83).wide().imm(1), 0, $($a)*)
    };
    ($asm:expr, orl_mi_sxb, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x83).imm(1), 1, $($a)*) };
    ($asm:expr, orq_mi_sxb, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x83).wide().imm(1), 1, $($a)*)
    };
    ($asm:expr, andl_mi_sxb, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x83).imm(1), 4, $($a)*) };
    ($asm:expr, andq_mi_sxb, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x83).wide().imm(1), 4, $($a)*)
    };
    ($asm:expr, subl_mi_sxb, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x83).imm(1), 5, $($a)*) };
    ($asm:expr, subq_mi_sxb, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x83).wide().imm(1), 5, $($a)*)
    };
    ($asm:expr, xorl_mi_sxb, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x83).imm(1), 6, $($a)*) };
    ($asm:expr, xorq_mi_sxb, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x83).wide().imm(1), 6, $($a)*)
    };
    ($asm:expr, cmpl_mi_sxb, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x83).imm(1), 7, $($a)*) };
    ($asm:expr, cmpq_mi_sxb, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x83).wide().imm(1), 7, $($a)*)
    };
    ($asm:expr, addl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x81).imm(4), 0, $($a)*) };
    ($asm:expr, addq_mi_sxl, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x81).wide().imm(4), 0, $($a)*)
    };
    ($asm:expr, orl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x81).imm(4), 1, $($a)*) };
    ($asm:expr, andl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x81).imm(4), 4, $($a)*) };
    ($asm:expr, subl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x81).imm(4), 5, $($a)*) };
    ($asm:expr, subq_mi_sxl, $($a:tt)*) => {
        ins!(@mi $asm, Form::op(0x81).wide().imm(4), 5, $($a)*)
    };
    ($asm:expr, cmpl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x81).imm(4), 7, $($a)*) };
    ($asm:expr, cmpq_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0x81).wide().imm(4), 7, $($a)*) };
    ($asm:expr, shll_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc1).imm(1), 4, $($a)*) };
    ($asm:expr, shlq_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc1).wide().imm(1), 4, $($a)*) };
    ($asm:expr, shrl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc1).imm(1), 5, $($a)*) };
    ($asm:expr, shrq_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc1).wide().imm(1), 5, $($a)*) };
    ($asm:expr, sarl_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc1).imm(1), 7, $($a)*) };
    ($asm:expr, sarq_mi, $($a:tt)*) => { ins!(@mi $asm, Form::op(0xc1).wide().imm(1), 7, $($a)*) };
    ($asm:expr, imull_rmi_sxb, $($a:tt)*) => { ins!(@rmi $asm, Form::op(0x6b).imm(1), $($a)*) };
    ($asm:expr, imull_rmi, $($a:tt)*) => { ins!(@rmi $asm, Form::op(0x69).imm(4), $($a)*) };
    ($asm:expr, callq_m, $rm:expr) => { ins!(@rm $asm, Form::op(0xff), 2, $rm) };
    ($asm:expr, jmpq_m, $rm:expr) => { ins!(@rm $asm, Form::op(0xff), 4, $rm) };
    ($asm:expr, movl_oi, $dst:expr, $imm:expr) => { $asm.mov_imm($dst, $imm) };

    // All others.
    ($asm:expr, $inst:ident $(, $arg:expr)* $(,)?) => {
        cranelift_assembler_x64::inst::$inst::<$crate::asm::Regs>::new($($arg),*).encode(&mut $asm)
    };
}
pub(crate) use ins;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asm::Regs;

    /// Registers of every kind that encodings know: low, those that need REX as bytes, those with forms of
    /// their own as base, and high ones.
    const REGS: [u8; 8] = [0, 3, 4, 5, 7, 8, 12, 13];

    fn mems() -> Vec<Mem> {
        let mut all = vec![in_module_table(0x1234), at_label(Label(0))];
        for disp in [0, 127, -128, 128, i32::MIN] {
            for base in REGS {
                all.push(at(base, disp));
                for index in REGS.into_iter().filter(|index| *index != crate::asm::RSP) {
                    all.push(indexed(base, index, index & 3, disp));
                }
            }
        }
        all
    }

    fn operands() -> Vec<Rm> {
        (0..16).map(Rm::Gpr).chain(mems().into_iter().map(Rm::Mem)).collect()
    }

    /// What both ways emit, with what they say of distances to be filled in.
    fn same(
        asms: &mut [Asm; 2],
        name: &str,
        what: &dyn std::fmt::Debug,
        emit: [&dyn Fn(&mut Asm); 2],
    ) {
        for (asm, emit) in asms.iter_mut().zip(emit) {
            asm.clear();
            let label = asm.label();
            assert_eq!(label, Label(0));
            emit(asm);
            asm.bind(label);
            asm.resolve();
        }
        let [ours, theirs] = asms;
        assert_eq!(ours.bytes(), theirs.bytes(), "{name} {what:?}");
        assert_eq!(ours.relocs, theirs.relocs, "{name} {what:?}");
    }

    macro_rules! compare {
        ($asms:ident: $name:ident $($arg:expr),*) => {
            same(&mut $asms, stringify!($name), &($(&$arg,)*), [
                &|asm: &mut Asm| ins!(*asm, $name, $($arg),*),
                &|asm: &mut Asm| x64::inst::$name::<Regs>::new($($arg),*).encode(asm),
            ])
        };
    }

    macro_rules! register_and_operand {
        ($asms:ident: $($name:ident)*) => { $(
            for rm in operands() {
                for reg in REGS {
                    compare!($asms: $name reg, rm);
                }
            }
        )* };
    }

    macro_rules! operand_and_register {
        ($asms:ident: $($name:ident)*) => { $(
            for rm in operands() {
                for reg in REGS {
                    compare!($asms: $name rm, reg);
                }
            }
        )* };
    }

    macro_rules! operand_and_immediate {
        ($asms:ident $ty:ty: $($name:ident)*) => { $(
            for rm in operands() {
                for imm in [0, 1, <$ty>::MAX, <$ty>::MIN] {
                    compare!($asms: $name rm, imm);
                }
            }
        )* };
    }

    #[test]
    fn registers_and_operands() {
        let mut asms = [Asm::default(), Asm::default()];
        register_and_operand!(asms: movl_rm movq_rm addl_rm addq_rm orl_rm orq_rm andl_rm andq_rm subl_rm subq_rm
            xorl_rm xorq_rm cmpl_rm cmpq_rm movslq_rm imull_rm imulq_rm movzbl_rm movzwl_rm movsbl_rm
            movswl_rm movsbq_rm movswq_rm);
        operand_and_register!(asms: movb_mr movw_mr movl_mr movq_mr testl_mr testq_mr);
        for rm in operands() {
            compare!(asms: callq_m rm);
            compare!(asms: jmpq_m rm);
        }
        for mem in mems() {
            for reg in REGS {
                compare!(asms: leal_rm reg, mem);
                compare!(asms: leaq_rm reg, mem);
                compare!(asms: movss_a_m reg, mem);
                compare!(asms: movsd_a_m reg, mem);
                compare!(asms: movss_c_m mem, reg);
                compare!(asms: movsd_c_m mem, reg);
            }
        }
    }

    #[test]
    fn operands_and_immediates() {
        let mut asms = [Asm::default(), Asm::default()];
        operand_and_immediate!(asms i8: addl_mi_sxb addq_mi_sxb orl_mi_sxb orq_mi_sxb andl_mi_sxb andq_mi_sxb
            subl_mi_sxb subq_mi_sxb xorl_mi_sxb xorq_mi_sxb cmpl_mi_sxb cmpq_mi_sxb);
        operand_and_immediate!(asms u8: movb_mi shll_mi shlq_mi shrl_mi shrq_mi sarl_mi sarq_mi);
        operand_and_immediate!(asms u16: movw_mi);
        operand_and_immediate!(asms i32: movl_mi movq_mi_sxl addl_mi addq_mi_sxl orl_mi andl_mi subl_mi
            subq_mi_sxl cmpl_mi cmpq_mi);
        for rm in operands() {
            for reg in REGS {
                compare!(asms: imull_rmi_sxb reg, rm, -5i8);
                compare!(asms: imull_rmi reg, rm, 0x1234_5678i32);
            }
        }
        for reg in 0..16u8 {
            for imm in [0, 1, u32::MAX] {
                compare!(asms: movl_oi reg, imm);
            }
        }
    }

    /// A load, a store or a move between registers by the instruction's name.
    macro_rules! by_name {
        ($name:ident $($arg:expr),*) => {
            &|asm: &mut Asm| x64::inst::$name::<Regs>::new($($arg),*).encode(asm)
        };
    }

    macro_rules! arithmetic {
        ($asms:ident: $($op:ident $narrow:ident $wide:ident $byte:ident $wide_byte:ident $word:ident $wide_word:ident)*) => { $(
            for rm in operands() {
                let name = stringify!($op);
                for reg in REGS {
                    same(&mut $asms, name, &(reg, rm), [
                        &|asm: &mut Asm| asm.alu_rm(Alu::$op, false, reg, rm),
                        by_name!($narrow reg, rm),
                    ]);
                    same(&mut $asms, name, &(reg, rm), [
                        &|asm: &mut Asm| asm.alu_rm(Alu::$op, true, reg, rm),
                        by_name!($wide reg, rm),
                    ]);
                }
                for imm in [0, -1, 127, -128] {
                    same(&mut $asms, name, &(rm, imm), [
                        &|asm: &mut Asm| asm.alu_imm(Alu::$op, false, rm, imm),
                        by_name!($byte rm, imm as i8),
                    ]);
                    same(&mut $asms, name, &(rm, imm), [
                        &|asm: &mut Asm| asm.alu_imm(Alu::$op, true, rm, imm),
                        by_name!($wide_byte rm, imm as i8),
                    ]);
                }
                for imm in [128, -129, i32::MAX, i32::MIN] {
                    same(&mut $asms, name, &(rm, imm), [
                        &|asm: &mut Asm| asm.alu_imm(Alu::$op, false, rm, imm),
                        by_name!($word rm, imm),
                    ]);
                    same(&mut $asms, name, &(rm, imm), [
                        &|asm: &mut Asm| asm.alu_imm(Alu::$op, true, rm, imm),
                        by_name!($wide_word rm, imm),
                    ]);
                }
            }
        )* };
    }

    #[test]
    fn arithmetic_by_number() {
        let mut asms = [Asm::default(), Asm::default()];
        arithmetic!(asms:
            Add addl_rm addq_rm addl_mi_sxb addq_mi_sxb addl_mi addq_mi_sxl
            Or orl_rm orq_rm orl_mi_sxb orq_mi_sxb orl_mi orq_mi_sxl
            And andl_rm andq_rm andl_mi_sxb andq_mi_sxb andl_mi andq_mi_sxl
            Sub subl_rm subq_rm subl_mi_sxb subq_mi_sxb subl_mi subq_mi_sxl
            Xor xorl_rm xorq_rm xorl_mi_sxb xorq_mi_sxb xorl_mi xorq_mi_sxl
            Cmp cmpl_rm cmpq_rm cmpl_mi_sxb cmpq_mi_sxb cmpl_mi cmpq_mi
        );
    }

    /// A form, and what emits the same by its name.
    type Named<'a> = (Form, &'a dyn Fn(&mut Asm));

    #[test]
    fn whole_and_narrow_values() {
        let mut asms = [Asm::default(), Asm::default()];
        for mem in mems() {
            for reg in REGS {
                let loads: [Named<'_>; 12] = [
                    (load_form(Repr::I32), by_name!(movl_rm reg, mem)),
                    (load_form(Repr::I64), by_name!(movq_rm reg, mem)),
                    (load_form(Repr::F32), by_name!(movss_a_m reg, mem)),
                    (load_form(Repr::F64), by_name!(movsd_a_m reg, mem)),
                    (load_form(Repr::V128), by_name!(movups_a reg, mem)),
                    (narrow_load_form(8, false, true), by_name!(movzbl_rm reg, mem)),
                    (narrow_load_form(8, true, false), by_name!(movsbl_rm reg, mem)),
                    (narrow_load_form(8, true, true), by_name!(movsbq_rm reg, mem)),
                    (narrow_load_form(16, false, false), by_name!(movzwl_rm reg, mem)),
                    (narrow_load_form(16, true, true), by_name!(movswq_rm reg, mem)),
                    (narrow_load_form(32, false, true), by_name!(movl_rm reg, mem)),
                    (narrow_load_form(32, true, true), by_name!(movslq_rm reg, mem)),
                ];
                let stores: [Named<'_>; 8] = [
                    (store_form(Repr::I32), by_name!(movl_mr mem, reg)),
                    (store_form(Repr::I64), by_name!(movq_mr mem, reg)),
                    (store_form(Repr::F32), by_name!(movss_c_m mem, reg)),
                    (store_form(Repr::F64), by_name!(movsd_c_m mem, reg)),
                    (store_form(Repr::V128), by_name!(movups_b mem, reg)),
                    (narrow_store_form(8), by_name!(movb_mr mem, reg)),
                    (narrow_store_form(16), by_name!(movw_mr mem, reg)),
                    (narrow_store_form(32), by_name!(movl_mr mem, reg)),
                ];
                for (index, (form, by_name)) in loads.into_iter().chain(stores).enumerate() {
                    let ours = |asm: &mut Asm| asm.form(form, reg, mem);
                    same(&mut asms, "access", &(index, reg, mem), [&ours, by_name]);
                }
            }
        }
        for reg in REGS {
            let moves: [Named<'_>; 3] = [
                (move_form(Repr::I32), by_name!(movl_rm reg, Rm::Gpr(9))),
                (move_form(Repr::I64), by_name!(movq_rm reg, Rm::Gpr(9))),
                (move_form(Repr::F64), by_name!(movaps_a reg, Xm::Xmm(9))),
            ];
            for (form, by_name) in moves {
                let ours = |asm: &mut Asm| asm.form(form, reg, 9);
                same(&mut asms, "move", &reg, [&ours, by_name]);
            }
        }
    }
}

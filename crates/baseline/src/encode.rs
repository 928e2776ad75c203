//! The commonest instructions, encoded here: a few shifts and one store each. All others are encoded by
//! `cranelift-assembler-x64`, whose generality costs some two hundred instructions of this processor for
//! one of the guest's.
//!
//! Invariant: every form here gives the bytes that `cranelift-assembler-x64` gives; the tests of this
//! file compare them for all registers and shapes of operands.

use crate::asm::{Asm, Label, PatchKind, Reg};
use cranelift_assembler_x64 as x64;
use x64::{Amode, AmodeOffset, AmodeOffsetPlusKnownOffset, DeferredTarget, GprMem, XmmMem};

/// How an address is made up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// `[base + disp]`
    Base,
    /// `[base + index * 2^shift + disp]`
    Index,
    /// A place in the module table, `disp` bytes from its start.
    ModuleTable,
    /// The place of the label with the number `disp`.
    Label,
}

/// An operand in memory. Small enough to travel in one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mem {
    kind: Kind,
    base: Reg,
    index: Reg,
    shift: u8,
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

/// `[base + disp]`
#[inline]
pub(crate) fn at(base: Reg, disp: i32) -> Mem {
    Mem { kind: Kind::Base, base, index: 0, shift: 0, disp }
}

/// `[base + index * 2^shift + disp]`
#[inline]
pub(crate) fn indexed(base: Reg, index: Reg, shift: u8, disp: i32) -> Mem {
    debug_assert!(index != crate::asm::RSP && shift < 4);
    Mem { kind: Kind::Index, base, index, shift, disp }
}

/// The place of a label, relative to the code.
pub(crate) fn at_label(label: Label) -> Mem {
    Mem { kind: Kind::Label, base: 0, index: 0, shift: 0, disp: label.0 as i32 }
}

/// A place in the module table.
pub(crate) fn in_module_table(offset: u32) -> Mem {
    Mem { kind: Kind::ModuleTable, base: 0, index: 0, shift: 0, disp: offset as i32 }
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
        let Mem { kind, base, index, shift, disp } = mem;
        match kind {
            Kind::Base => {
                let simm32 =
                    AmodeOffsetPlusKnownOffset { simm32: AmodeOffset::new(disp), offset: None };
                Amode::ImmReg { base, simm32, trap: None }
            }
            Kind::Index => Amode::ImmRegRegShift {
                base,
                index: x64::NonRspGpr::new(index),
                scale: x64::Scale::new(shift),
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

/// What an instruction is, but for its operands.
#[derive(Clone, Copy)]
pub(crate) struct Form(u32);

const ESCAPE: u32 = 1 << 8;
const WIDE: u32 = 1 << 9;
const BYTE: u32 = 1 << 10;
const PREFIX: u32 = 16;
const IMMEDIATE: u32 = 24;

impl Form {
    /// One byte of opcode.
    pub(crate) const fn op(opcode: u8) -> Form {
        Form(opcode as u32)
    }

    /// `0f` and one byte of opcode.
    pub(crate) const fn op_0f(opcode: u8) -> Form {
        Form(opcode as u32 | ESCAPE)
    }

    /// 64 bits.
    pub(crate) const fn wide(self) -> Form {
        Form(self.0 | WIDE)
    }

    /// Registers of 8 bits.
    pub(crate) const fn byte(self) -> Form {
        Form(self.0 | BYTE)
    }

    /// A prefix that belongs to the opcode.
    pub(crate) const fn prefix(self, prefix: u8) -> Form {
        Form(self.0 | (prefix as u32) << PREFIX)
    }

    /// For use as a parameter of a type.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// With so many bytes of immediate.
    pub(crate) const fn imm(self, bytes: u8) -> Form {
        Form(self.0 | (bytes as u32) << IMMEDIATE)
    }
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

/// What comes before the operands: bits, and how many.
type Head = (u64, u32);

impl Form {
    /// Prefixes and opcode, for the upper bits of registers that these encode.
    #[inline(always)]
    fn head(self, reg: u8, index: u8, base: u8, needs_rex: bool) -> Head {
        let Form(form) = self;
        let rex = reg >> 3 << 2 | index >> 3 << 1 | base >> 3;
        let opcode = u64::from(form & 0xff);
        let (opcode, length) = match form & ESCAPE {
            0 => (opcode, 8),
            _ => (0x0f | opcode << 8, 16),
        };
        let (bits, length) = if form & WIDE != 0 {
            (u64::from(0x48 | rex) | opcode << 8, length + 8)
        } else if rex != 0 || needs_rex {
            (u64::from(0x40 | rex) | opcode << 8, length + 8)
        } else {
            (opcode, length)
        };
        match form >> PREFIX & 0xff {
            0 => (bits, length),
            prefix => (u64::from(prefix) | bits << 8, length + 8),
        }
    }

    /// Bytes of immediate.
    #[inline(always)]
    fn immediate(self) -> usize {
        (self.0 >> IMMEDIATE) as usize
    }

    #[inline(always)]
    fn is_byte(self) -> bool {
        self.0 & BYTE != 0
    }
}

impl Asm {
    /// An instruction with a register (or a digit of the opcode), and a register or memory.
    #[inline(always)]
    pub(crate) fn form<const FORM: u32>(&mut self, reg: u8, rm: impl Into<Rm>) {
        match rm.into() {
            Rm::Gpr(rm) => self.with_register::<FORM>(reg, rm, 0),
            Rm::Mem(mem) => self.with_memory::<FORM>(reg, mem, 0),
        }
    }

    /// As `form`, with an immediate.
    #[inline(always)]
    pub(crate) fn form_imm<const FORM: u32>(
        &mut self,
        reg: u8,
        rm: impl Into<Rm>,
        imm: impl Immediate,
    ) {
        match rm.into() {
            Rm::Gpr(rm) => self.with_register::<FORM>(reg, rm, imm.bits()),
            Rm::Mem(mem) => self.with_memory::<FORM>(reg, mem, imm.bits()),
        }
    }

    /// As `form`, for a form that is not known in advance.
    #[inline(never)]
    pub(crate) fn any_form(&mut self, form: Form, reg: u8, rm: Rm) {
        match rm {
            Rm::Gpr(rm) => self.encode_register(form, reg, rm, 0),
            Rm::Mem(mem) if matches!(mem.kind, Kind::Base | Kind::Index) => {
                self.encode_memory(form, reg, mem, 0);
            }
            Rm::Mem(mem) => self.encode_distance(form, reg, mem, 0),
        }
    }

    #[inline(never)]
    fn with_register<const FORM: u32>(&mut self, reg: u8, rm: Reg, imm: u32) {
        if !self.has_room() {
            return self.with_register_in_more_room::<FORM>(reg, rm, imm);
        }
        self.encode_register(Form(FORM), reg, rm, imm);
    }

    /// What kind of address it is, is often known where this is called.
    #[inline(always)]
    fn with_memory<const FORM: u32>(&mut self, reg: u8, mem: Mem, imm: u32) {
        match mem.kind {
            Kind::Base => self.with_base::<FORM>(reg, mem, imm),
            Kind::Index => self.with_index::<FORM>(reg, mem, imm),
            Kind::ModuleTable | Kind::Label => self.with_distance::<FORM>(reg, mem, imm),
        }
    }

    #[inline(never)]
    fn with_base<const FORM: u32>(&mut self, reg: u8, mem: Mem, imm: u32) {
        if !self.has_room() {
            return self.with_memory_in_more_room::<FORM>(reg, mem, imm);
        }
        self.encode_memory(Form(FORM), reg, Mem { kind: Kind::Base, index: 0, ..mem }, imm);
    }

    #[inline(never)]
    fn with_index<const FORM: u32>(&mut self, reg: u8, mem: Mem, imm: u32) {
        if !self.has_room() {
            return self.with_memory_in_more_room::<FORM>(reg, mem, imm);
        }
        self.encode_memory(Form(FORM), reg, Mem { kind: Kind::Index, ..mem }, imm);
    }

    #[cold]
    #[inline(never)]
    fn with_register_in_more_room<const FORM: u32>(&mut self, reg: u8, rm: Reg, imm: u32) {
        self.make_room();
        self.with_register::<FORM>(reg, rm, imm);
    }

    #[cold]
    #[inline(never)]
    fn with_memory_in_more_room<const FORM: u32>(&mut self, reg: u8, mem: Mem, imm: u32) {
        self.make_room();
        self.with_memory::<FORM>(reg, mem, imm);
    }

    #[inline(never)]
    fn with_distance<const FORM: u32>(&mut self, reg: u8, mem: Mem, imm: u32) {
        self.encode_distance(Form(FORM), reg, mem, imm);
    }

    #[inline(always)]
    fn encode_register(&mut self, form: Form, reg: u8, rm: Reg, imm: u32) {
        let byte = form.is_byte() && (needs_rex(reg) || needs_rex(rm));
        let (head, length) = form.head(reg, 0, rm, byte);
        let mode = u64::from(0xc0 | (reg & 7) << 3 | rm & 7);
        self.write(form, head | mode << length, length + 8, (0, 0), imm);
    }

    #[inline(always)]
    fn encode_memory(&mut self, form: Form, reg: u8, mem: Mem, imm: u32) {
        let Mem { kind, base, index, shift, disp } = mem;
        let byte = form.is_byte() && needs_rex(reg);
        let (head, length) = form.head(reg, index, base, byte);
        let reg = (reg & 7) << 3;
        // rbp and r13 as base always come with a displacement.
        let (mode, disp_length): (u8, usize) = match i8::try_from(disp) {
            Ok(0) if base & 7 != 5 => (0, 0),
            Ok(_) => (0x40, 1),
            Err(_) => (0x80, 4),
        };
        let (bytes, more) = if kind == Kind::Index || base & 7 == 4 {
            let index = if kind == Kind::Index { index & 7 } else { 4 };
            let scale = shift << 6 | index << 3 | base & 7;
            (u64::from(mode | reg | 4) | u64::from(scale) << 8, 16)
        } else {
            (u64::from(mode | reg | base & 7), 8)
        };
        self.write(form, head | bytes << length, length + more, (disp, disp_length), imm);
    }

    /// With an operand in memory that is named by its distance.
    #[inline(always)]
    fn encode_distance(&mut self, form: Form, reg: u8, mem: Mem, imm: u32) {
        let byte = form.is_byte() && needs_rex(reg);
        let (head, length) = form.head(reg, 0, 0, byte);
        let at = self.here() + length / 8 + 1;
        match mem.kind {
            Kind::ModuleTable => self.relocate_to_table(at, mem.disp as u32),
            _ => self.patch(at, Label(mem.disp as u32), PatchKind::Relative),
        }
        // Distances count from the end of the instruction.
        let correction = -(form.immediate() as i32);
        let mode = u64::from((reg & 7) << 3 | 5);
        self.write(form, head | mode << length, length + 8, (correction, 4), imm);
    }

    /// Writes so many bits, so many bytes of displacement, and the immediate.
    #[inline(always)]
    fn write(&mut self, form: Form, bits: u64, length: u32, disp: (i32, usize), imm: u32) {
        let (disp, disp_length) = disp;
        let length = (length as usize / 8) & 7;
        let room = self.room_for_one();
        room[..8].copy_from_slice(&bits.to_le_bytes());
        room[length..length + 4].copy_from_slice(&disp.to_le_bytes());
        let length = length + disp_length;
        if form.immediate() > 0 {
            room[length..length + 4].copy_from_slice(&imm.to_le_bytes());
        }
        self.advance(length + form.immediate());
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
    (@rm $asm:expr, $form:expr, $reg:expr, $rm:expr) => { $asm.form::<{ $form.bits() }>($reg, $rm) };
    (@mr $asm:expr, $form:expr, $rm:expr, $reg:expr) => { $asm.form::<{ $form.bits() }>($reg, $rm) };
    (@mi $asm:expr, $form:expr, $digit:literal, $rm:expr, $imm:expr) => {
        $asm.form_imm::<{ $form.bits() }>($digit, $rm, $imm)
    };
    (@rmi $asm:expr, $form:expr, $reg:expr, $rm:expr, $imm:expr) => {
        $asm.form_imm::<{ $form.bits() }>($reg, $rm, $imm)
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
}

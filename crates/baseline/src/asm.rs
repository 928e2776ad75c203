//! A buffer of machine code: instructions, labels, references to the world outside.
//!
//! Encodings come from `encode` and `cranelift-assembler-x64`. Invariant: every label that is used is bound before
//! [`Asm::resolve`]; positions in the buffer fit 31 bits, since the tier gives up long before.

use cranelift_assembler_x64 as x64;
use wardian_module::DefinedFuncIndex;
use wardian_module::image::{Reloc, RelocTarget};
use x64::{CodeSink, DeferredTarget};

pub(crate) use crate::encode::{
    Alu, Form, Mem, Rm, Xm, at, at_label, in_module_table, indexed, ins, load_form, move_form,
    narrow_load_form, narrow_store_form, number, store_form,
};

/// A register: 0 to 15 general, 16 to 31 vector.
pub(crate) type Reg = u8;

pub(crate) const RAX: Reg = 0;
pub(crate) const RCX: Reg = 1;
pub(crate) const RDX: Reg = 2;
pub(crate) const RBX: Reg = 3;
pub(crate) const RSP: Reg = 4;
pub(crate) const RBP: Reg = 5;
pub(crate) const RSI: Reg = 6;
pub(crate) const RDI: Reg = 7;
pub(crate) const R8: Reg = 8;
pub(crate) const R9: Reg = 9;
pub(crate) const R10: Reg = 10;
/// Holds no operand: free for use within one operation.
pub(crate) const R11: Reg = 11;
pub(crate) const R12: Reg = 12;
pub(crate) const R13: Reg = 13;
pub(crate) const R14: Reg = 14;
pub(crate) const R15: Reg = 15;
pub(crate) const XMM0: Reg = 16;
pub(crate) const XMM1: Reg = 17;
/// Holds no operand: free for use within one operation.
pub(crate) const XMM15: Reg = 31;

/// The number by which instructions name a vector register.
pub(crate) const fn xmm(reg: Reg) -> u8 {
    debug_assert!(reg >= XMM0);
    reg - XMM0
}

/// The register types of the encoder: plain numbers.
pub(crate) struct Regs;

impl x64::Registers for Regs {
    type ReadGpr = u8;
    type ReadWriteGpr = u8;
    type WriteGpr = u8;
    type ReadXmm = u8;
    type ReadWriteXmm = u8;
    type WriteXmm = u8;
}

/// What the encoder is told of traps; the tier keeps its own table.
pub(crate) const NO_CODE: x64::TrapCode = x64::TrapCode(std::num::NonZeroU8::MIN);

/// A position that jumps name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(pub(crate) u32);

/// Conditions on the flags, by their number in encodings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Cond {
    /// Overflow.
    O = 0,
    /// No overflow.
    No = 1,
    /// Unsigned less.
    B = 2,
    /// Unsigned greater or equal.
    Ae = 3,
    /// Equal.
    E = 4,
    /// Not equal.
    Ne = 5,
    /// Unsigned less or equal.
    Be = 6,
    /// Unsigned greater.
    A = 7,
    /// Negative.
    S = 8,
    /// Not negative.
    Ns = 9,
    /// Unordered.
    P = 10,
    /// Ordered.
    Np = 11,
    /// Less.
    L = 12,
    /// Greater or equal.
    Ge = 13,
    /// Less or equal.
    Le = 14,
    /// Greater.
    G = 15,
    /// Equal and ordered: two flags.
    EqualOrdered = 16,
    /// Not equal or unordered: two flags.
    NotEqualUnordered = 17,
}

impl Cond {
    /// The number of a condition on a single flag or pair of flags.
    #[inline]
    fn number(self) -> u8 {
        assert!(self as u8 <= Cond::G as u8, "conditions on two flags are taken apart before");
        self as u8
    }

    /// The opposite.
    pub(crate) const fn not(self) -> Cond {
        use Cond::*;
        match self {
            O => No,
            No => O,
            B => Ae,
            Ae => B,
            E => Ne,
            Ne => E,
            Be => A,
            A => Be,
            S => Ns,
            Ns => S,
            P => Np,
            Np => P,
            L => Ge,
            Ge => L,
            Le => G,
            G => Le,
            EqualOrdered => NotEqualUnordered,
            NotEqualUnordered => EqualOrdered,
        }
    }
}

/// Where a label's distance goes.
#[derive(Clone, Copy)]
pub(crate) enum PatchKind {
    /// 32 bits, from the end of the field, added to what is there.
    Relative,
    /// 32 bits, from this position: an entry of a jump table.
    Entry(u32),
}

#[derive(Clone, Copy)]
struct Patch {
    at: u32,
    label: Label,
    kind: PatchKind,
}

const UNBOUND: u32 = u32::MAX;

/// Bytes that are ready for writing before each instruction.
pub(crate) const ROOM: usize = 32;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Asm {
    /// The code, and room behind it.
    room: Vec<u8>,
    length: usize,
    pub(crate) relocs: Vec<Reloc>,
    labels: Vec<u32>,
    patches: Vec<Patch>,
}

impl CodeSink for Asm {
    #[inline]
    fn put1(&mut self, v: u8) {
        self.put([v]);
    }

    #[inline]
    fn put2(&mut self, v: u16) {
        self.put(v.to_le_bytes());
    }

    #[inline]
    fn put4(&mut self, v: u32) {
        self.put(v.to_le_bytes());
    }

    #[inline]
    fn put8(&mut self, v: u64) {
        self.put(v.to_le_bytes());
    }

    fn add_trap(&mut self, _: x64::TrapCode) {}

    fn use_target(&mut self, target: DeferredTarget) {
        let at = self.here();
        match target {
            DeferredTarget::Label(label) => self.patch(at, Label(label.0), PatchKind::Relative),
            DeferredTarget::Constant(offset) => self.relocate_to_table(at, offset.0),
            DeferredTarget::None => {}
        }
    }

    fn known_offset(&self, offset: u8) -> i32 {
        unreachable!("no offset {offset} was ever given")
    }
}

/// As `ins!`, for instructions without registers.
macro_rules! ins0 {
    ($asm:expr, $inst:ident $(, $arg:expr)* $(,)?) => {
        cranelift_assembler_x64::inst::$inst::new($($arg),*).encode(&mut $asm)
    };
}
pub(crate) use ins0;

/// Emits the 64-bit form if `$wide`, else the 32-bit form.
macro_rules! ins_wide {
    ($asm:expr, $wide:expr, $narrow_inst:ident, $wide_inst:ident $(, $arg:expr)* $(,)?) => {
        if $wide {
            $crate::asm::ins!($asm, $wide_inst $(, $arg)*)
        } else {
            $crate::asm::ins!($asm, $narrow_inst $(, $arg)*)
        }
    };
}
pub(crate) use ins_wide;

impl Asm {
    /// Forgets everything but its allocations.
    pub(crate) fn clear(&mut self) {
        self.length = 0;
        self.relocs.clear();
        self.labels.clear();
        self.patches.clear();
    }

    /// The current position.
    pub(crate) fn here(&self) -> u32 {
        self.length as u32
    }

    /// The code so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[..self.length]
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(N <= ROOM) };
        self.room_for_one()[..N].copy_from_slice(&bytes);
        self.length += N;
    }

    /// Where the next instruction goes, if there is room; what is written there counts from `advance` on.
    #[inline(always)]
    pub(crate) fn room_if_any(&mut self) -> Option<&mut [u8; ROOM]> {
        self.room.get_mut(self.length..)?.first_chunk_mut()
    }

    /// As `room_if_any`, with room.
    #[inline]
    pub(crate) fn room_for_one(&mut self) -> &mut [u8; ROOM] {
        if self.room_if_any().is_none() {
            self.make_room();
        }
        self.room_if_any().expect("there is room now")
    }

    #[inline]
    pub(crate) fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= ROOM);
        self.length += bytes;
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn make_room(&mut self) {
        self.room.resize(self.length + self.length.max(4096), 0);
    }

    pub(crate) fn align(&mut self, to: usize, fill: u8) {
        while !self.length.is_multiple_of(to) {
            self.put([fill]);
        }
    }

    /// An instruction that faults.
    pub(crate) fn undefined(&mut self) {
        ins0!(*self, ud2_zo, NO_CODE);
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.put([*byte]));
    }

    /// Overwrites 32 bits at an earlier position.
    pub(crate) fn set_word(&mut self, at: u32, word: u32) {
        self.room[at as usize..at as usize + 4].copy_from_slice(&word.to_le_bytes());
    }

    pub(crate) fn set_byte(&mut self, at: u32, byte: u8) {
        self.room[at as usize] = byte;
    }

    // ---- labels ----

    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() as u32 - 1)
    }

    pub(crate) fn bind(&mut self, label: Label) {
        debug_assert_eq!(self.labels[label.0 as usize], UNBOUND, "a label is bound once");
        self.labels[label.0 as usize] = self.here();
    }

    /// Where a label is bound, if it is.
    pub(crate) fn position(&self, label: Label) -> Option<u32> {
        Some(self.labels[label.0 as usize]).filter(|at| *at != UNBOUND)
    }

    pub(crate) fn bound_label(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// The 32 bits at `at` become a label's distance.
    pub(crate) fn patch(&mut self, at: u32, label: Label, kind: PatchKind) {
        self.patches.push(Patch { at, label, kind });
    }

    /// The 32 bits at `at` become the distance of a place in the module table.
    pub(crate) fn relocate_to_table(&mut self, at: u32, offset: u32) {
        self.relocs.push(Reloc {
            offset: at,
            target: RelocTarget::ModuleTable,
            // From the end of the field; `resolve` corrects for what follows it.
            addend: i64::from(offset) - 4,
        });
    }

    /// The distance of a label from the end of an instruction of two bytes, if the label is bound and
    /// that close.
    #[inline]
    fn short_distance(&self, label: Label) -> Option<u8> {
        let target = self.labels[label.0 as usize];
        let distance = i64::from(target) - i64::from(self.here()) - 2;
        (target != UNBOUND && distance >= -128).then_some(distance as u8)
    }

    pub(crate) fn jmp(&mut self, label: Label) {
        match self.short_distance(label) {
            Some(distance) => self.put([0xeb, distance]),
            None => {
                self.patch(self.here() + 1, label, PatchKind::Relative);
                self.put([0xe9, 0, 0, 0, 0]);
            }
        }
    }

    pub(crate) fn jcc(&mut self, cond: Cond, label: Label) {
        match cond {
            Cond::EqualOrdered => {
                let skip = self.label();
                self.jcc(Cond::P, skip);
                self.jcc(Cond::E, label);
                self.bind(skip);
                return;
            }
            Cond::NotEqualUnordered => {
                self.jcc(Cond::P, label);
                return self.jcc(Cond::Ne, label);
            }
            _ => {}
        }
        match self.short_distance(label) {
            Some(distance) => self.put([0x70 | cond.number(), distance]),
            None => {
                self.patch(self.here() + 2, label, PatchKind::Relative);
                self.put([0x0f, 0x80 | cond.number(), 0, 0, 0, 0]);
            }
        }
    }

    /// 32 bits: the distance of `label` from `from`.
    #[inline]
    pub(crate) fn table_entry(&mut self, label: Label, from: u32) {
        self.patch(self.here(), label, PatchKind::Entry(from));
        self.put4(0);
    }

    /// Fills in all distances to labels.
    pub(crate) fn resolve(&mut self) {
        for patch in &self.patches {
            let target = i64::from(self.labels[patch.label.0 as usize]);
            let at = patch.at as usize;
            let field: &mut [u8; 4] = (&mut self.room[at..at + 4]).try_into().expect("four bytes");
            let from = match patch.kind {
                PatchKind::Relative => i64::from(patch.at) + 4,
                PatchKind::Entry(from) => i64::from(from),
            };
            let distance = target - from + i64::from(i32::from_le_bytes(*field));
            *field = (distance as i32).to_le_bytes();
        }
        for reloc in &mut self.relocs {
            // What the encoder left in the field is the correction for bytes after it.
            let at = reloc.offset as usize;
            let field: [u8; 4] = self.room[at..at + 4].try_into().expect("four bytes");
            reloc.addend += i64::from(i32::from_le_bytes(field));
        }
    }

    // ---- instructions that are more than one encoding ----

    /// `call` or, for a tail call, `jmp` to a function of the module, by distance.
    pub(crate) fn transfer(&mut self, func: DefinedFuncIndex, tail: bool) {
        if tail {
            ins0!(*self, jmp_d32, 0i32);
        } else {
            ins0!(*self, callq_d, 0i32);
        }
        let offset = self.here() - 4;
        self.relocs.push(Reloc { offset, target: RelocTarget::Func(func), addend: -4 });
    }

    pub(crate) fn cmov(&mut self, cond: Cond, wide: bool, dst: Reg, src: Rm) {
        let form = Form::op_0f(0x40 | cond.number());
        self.form(if wide { form.wide() } else { form }, dst, src);
    }

    /// Sets the low byte of a register to the condition, which is one of a single flag.
    fn setcc(&mut self, cond: Cond, dst: Reg) {
        self.form(Form::op_0f(0x90 | cond.number()).byte(), 0, dst);
    }

    /// Sets a register to the condition as an `i32`. May change the flags.
    pub(crate) fn set_bool(&mut self, cond: Cond, dst: Reg) {
        match cond {
            Cond::EqualOrdered => {
                self.setcc(Cond::E, dst);
                self.setcc(Cond::Np, R11);
                ins!(*self, andl_rm, dst, R11);
            }
            Cond::NotEqualUnordered => {
                self.setcc(Cond::Ne, dst);
                self.setcc(Cond::P, R11);
                ins!(*self, orl_rm, dst, R11);
            }
            cond => self.setcc(cond, dst),
        }
        ins!(*self, movzbl_rm, dst, dst);
    }

    /// Loads a constant. Changes no flags.
    pub(crate) fn constant(&mut self, dst: Reg, value: u64) {
        if let Ok(small) = u32::try_from(value) {
            ins!(*self, movl_oi, dst, small);
        } else if let Ok(small) = i32::try_from(value as i64) {
            ins!(*self, movq_mi_sxl, dst, small);
        } else {
            ins!(*self, movabsq_oi, dst, value);
        }
    }
}

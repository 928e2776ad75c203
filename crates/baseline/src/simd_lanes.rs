//! Vector instructions that move lanes: between registers, to and from memory, within a vector.

use crate::asm::*;
use crate::emit::Tier;
use crate::simd::*;
use crate::state::*;
use smallvec::SmallVec;
use wardian_lower::Access;
use wardian_module::layout::Repr;
use wardian_module::layout::Repr::{F32, I32, I64, V128};

/// Both halves are the lower one.
const LOW_TWICE: u8 = 0b01_00_01_00;
/// Both halves are the upper one.
const HIGH_TWICE: u8 = 0b11_10_11_10;
/// The index that selects zero.
const NOWHERE: u8 = 0x80;

impl Tier<'_> {
    // ---- the frame ----

    /// Moves the top `count` operands, vectors, to their homes: where those are.
    pub(crate) fn settle_top(&mut self, count: usize) -> SmallVec<[i32; 3]> {
        let mut operands: SmallVec<[Value; 3]> = SmallVec::new();
        for _ in 0..count {
            let mut operand = self.s.pop();
            // Constants would stay what they are.
            if let Loc::Const(_) = operand.loc() {
                self.s.reg_of(&mut operand);
            }
            operands.push(operand);
        }
        for operand in operands.into_iter().rev() {
            self.s.push(operand);
        }
        let height = self.s.stack.len();
        self.s.settle(height);
        (height - count..height).map(|index| self.s.entry_home(index)).collect()
    }

    // ---- loads ----

    /// Loads and widens or repeats. The first instruction is the only one that reads memory.
    pub(crate) fn vector_load(&mut self, access: Access, dst: Reg, mem: Mem) {
        match access {
            Access::Extend { lane_bits, signed } => self.load_extended(lane_bits, signed, dst, mem),
            Access::Splat { lane_bits: 8 } => {
                ins!(self.s.asm, movzbl_rm, R11, mem);
                self.splat_reg(Lanes::I8, dst, R11);
            }
            Access::Splat { lane_bits: 16 } => {
                ins!(self.s.asm, movzwl_rm, R11, mem);
                self.splat_reg(Lanes::I16, dst, R11);
            }
            Access::Splat { lane_bits: 32 } => {
                ins!(self.s.asm, movss_a_m, xmm(dst), mem);
                v!(self, pshufd_a, dst, dst, 0u8);
            }
            Access::Splat { .. } => {
                ins!(self.s.asm, movsd_a_m, xmm(dst), mem);
                v!(self, punpcklqdq_a, dst, dst);
            }
            Access::Zero { bits: 32 } => ins!(self.s.asm, movss_a_m, xmm(dst), mem),
            Access::Zero { .. } => ins!(self.s.asm, movsd_a_m, xmm(dst), mem),
            Access::Full(_) | Access::Narrow { .. } => {
                unreachable!("accesses to scalars and whole vectors are emitted elsewhere")
            }
        }
    }

    fn load_extended(&mut self, lane_bits: u8, signed: bool, dst: Reg, mem: Mem) {
        if self.features.sse41 {
            match (lane_bits, signed) {
                (8, true) => ins!(self.s.asm, pmovsxbw_a, xmm(dst), mem),
                (8, false) => ins!(self.s.asm, pmovzxbw_a, xmm(dst), mem),
                (16, true) => ins!(self.s.asm, pmovsxwd_a, xmm(dst), mem),
                (16, false) => ins!(self.s.asm, pmovzxwd_a, xmm(dst), mem),
                (_, true) => ins!(self.s.asm, pmovsxdq_a, xmm(dst), mem),
                (_, false) => ins!(self.s.asm, pmovzxdq_a, xmm(dst), mem),
            }
            return;
        }
        ins!(self.s.asm, movsd_a_m, xmm(dst), mem);
        let lanes = match lane_bits {
            8 => Lanes::I8,
            16 => Lanes::I16,
            _ => Lanes::I32,
        };
        self.interleave_extension(lanes, signed, false, dst);
    }

    // ---- one lane ----

    /// `dst <- a lane`, zero-extended.
    fn lane_to(&mut self, lanes: Lanes, lane: u8, dst: Reg, src: Reg) {
        let sse41 = self.features.sse41;
        match lanes {
            Lanes::I8 if sse41 => ins!(self.s.asm, pextrb_a, dst, xmm(src), lane),
            Lanes::I8 => {
                ins!(self.s.asm, pextrw_a, dst, xmm(src), lane / 2);
                if lane % 2 == 1 {
                    ins!(self.s.asm, shrl_mi, dst, 8u8);
                } else {
                    ins!(self.s.asm, movzbl_rm, dst, dst);
                }
            }
            Lanes::I16 => ins!(self.s.asm, pextrw_a, dst, xmm(src), lane),
            Lanes::I32 if lane == 0 => ins!(self.s.asm, movd_b, dst, xmm(src)),
            Lanes::I32 if sse41 => ins!(self.s.asm, pextrd_a, dst, xmm(src), lane),
            Lanes::I32 => {
                v!(self, pshufd_a, XMM15, src, lane);
                ins!(self.s.asm, movd_b, dst, xmm(XMM15));
            }
            Lanes::I64 if lane == 0 => ins!(self.s.asm, movq_b, dst, xmm(src)),
            Lanes::I64 if sse41 => ins!(self.s.asm, pextrq_a, dst, xmm(src), lane),
            Lanes::I64 => {
                v!(self, pshufd_a, XMM15, src, HIGH_TWICE);
                ins!(self.s.asm, movq_b, dst, xmm(XMM15));
            }
        }
    }

    pub(crate) fn extract_int(&mut self, lanes: Lanes, lane: u8, signed: bool) {
        let repr = if lanes == Lanes::I64 { I64 } else { I32 };
        let mut x = self.s.pop();
        let src = self.s.reg_of(&mut x);
        let dst = self.result_reg(repr, &[]);
        self.lane_to(lanes, lane, dst, src);
        match lanes {
            Lanes::I8 if signed => ins!(self.s.asm, movsbl_rm, dst, dst),
            Lanes::I16 if signed => ins!(self.s.asm, movswl_rm, dst, dst),
            _ => {}
        }
        self.s.release(x);
        self.push_result(dst, repr);
    }

    pub(crate) fn extract_float(&mut self, repr: Repr, lane: u8) {
        let mut x = self.s.pop();
        if lane == 0 {
            // What is above a float does not matter.
            let reg = self.s.own(x);
            return self.s.push_reg(reg, repr);
        }
        let src = self.s.reg_of(&mut x);
        let dst = self.result_reg(repr, &[]);
        let order = if repr == F32 { lane } else { HIGH_TWICE };
        v!(self, pshufd_a, dst, src, order);
        self.s.release(x);
        self.push_result(dst, repr);
    }

    pub(crate) fn read_lane(&mut self, bits: u8, lane: u8, mut vector: Value) -> Value {
        self.s.clobber_flags();
        let (lanes, repr) = match bits {
            8 => (Lanes::I8, I32),
            16 => (Lanes::I16, I32),
            32 => (Lanes::I32, I32),
            _ => (Lanes::I64, I64),
        };
        let src = self.s.reg_of(&mut vector);
        let dst = self.s.alloc(Bank::General);
        self.lane_to(lanes, lane, dst, src);
        self.s.release(vector);
        Value::new(Loc::Reg(dst), repr)
    }

    pub(crate) fn replace_top(&mut self, lanes: Lanes, lane: u8) {
        let (scalar, vector) = (self.s.pop(), self.s.pop());
        let result = self.insert_lane(lanes.bits(), lane, vector, scalar);
        self.s.push(result);
    }

    pub(crate) fn insert_lane(
        &mut self,
        bits: u8,
        lane: u8,
        vector: Value,
        mut scalar: Value,
    ) -> Value {
        self.s.clobber_flags();
        let sse41 = self.features.sse41;
        let src = self.s.reg_of(&mut scalar);
        let dst = self.s.own(vector);
        if bank(scalar.repr()) == Bank::Vector {
            match (bits, lane) {
                (32, 0) => v!(self, movss_a_r, dst, src),
                (32, _) if sse41 => v!(self, insertps_a, dst, src, lane << 4),
                (32, _) => {
                    ins!(self.s.asm, movd_b, R11, xmm(src));
                    self.insert_words(lane, dst);
                }
                (_, 0) => v!(self, movsd_a_r, dst, src),
                (_, _) => v!(self, punpcklqdq_a, dst, src),
            }
        } else {
            match bits {
                8 if sse41 => ins!(self.s.asm, pinsrb_a, xmm(dst), src, lane),
                8 => {
                    // Together with the other byte of its word.
                    let word = self.s.alloc(Bank::General);
                    ins!(self.s.asm, pextrw_a, R11, xmm(dst), lane / 2);
                    ins!(self.s.asm, movzbl_rm, word, src);
                    if lane % 2 == 1 {
                        ins!(self.s.asm, shll_mi, word, 8u8);
                        ins!(self.s.asm, movzbl_rm, R11, R11);
                    } else {
                        ins!(self.s.asm, andl_mi, R11, 0xff00i32);
                    }
                    ins!(self.s.asm, orl_rm, word, R11);
                    ins!(self.s.asm, pinsrw_a, xmm(dst), word, lane / 2);
                    self.s.unhold(word);
                }
                16 => ins!(self.s.asm, pinsrw_a, xmm(dst), src, lane),
                32 if sse41 => ins!(self.s.asm, pinsrd_a, xmm(dst), src, lane),
                32 => {
                    ins!(self.s.asm, movl_rm, R11, src);
                    self.insert_words(lane, dst);
                }
                _ if sse41 => ins!(self.s.asm, pinsrq_a, xmm(dst), src, lane),
                _ => {
                    ins!(self.s.asm, movq_a, xmm(XMM15), src);
                    if lane == 0 {
                        v!(self, movsd_a_r, dst, XMM15);
                    } else {
                        v!(self, punpcklqdq_a, dst, XMM15);
                    }
                }
            }
        }
        self.s.release(scalar);
        Value::new(Loc::Reg(dst), V128)
    }

    /// Puts the 32 bits of `r11` into a lane, as two words.
    fn insert_words(&mut self, lane: u8, dst: Reg) {
        ins!(self.s.asm, pinsrw_a, xmm(dst), R11, 2 * lane);
        ins!(self.s.asm, shrl_mi, R11, 16u8);
        ins!(self.s.asm, pinsrw_a, xmm(dst), R11, 2 * lane + 1);
    }

    // ---- splats ----

    pub(crate) fn splat(&mut self, lanes: Lanes) {
        let mut scalar = self.s.pop();
        if let Loc::Const(bits) = scalar.loc() {
            return self.push_vector_constant(each(lanes.bits(), bits));
        }
        let src = self.s.reg_of(&mut scalar);
        let dst = self.result_reg(V128, &[]);
        match (bank(scalar.repr()), lanes) {
            (Bank::Vector, Lanes::I32) => v!(self, pshufd_a, dst, src, 0u8),
            (Bank::Vector, _) => v!(self, pshufd_a, dst, src, LOW_TWICE),
            (Bank::General, _) => self.splat_reg(lanes, dst, src),
        }
        self.s.release(scalar);
        self.push_result(dst, V128);
    }

    /// All lanes of `dst` become the low bits of a general register. Changes no flags.
    fn splat_reg(&mut self, lanes: Lanes, dst: Reg, src: Reg) {
        match lanes {
            Lanes::I64 => {
                ins!(self.s.asm, movq_a, xmm(dst), src);
                v!(self, punpcklqdq_a, dst, dst);
            }
            Lanes::I32 => {
                ins!(self.s.asm, movd_a, xmm(dst), src);
                v!(self, pshufd_a, dst, dst, 0u8);
            }
            Lanes::I16 => {
                ins!(self.s.asm, movd_a, xmm(dst), src);
                v!(self, pshuflw_a, dst, dst, 0u8);
                v!(self, pshufd_a, dst, dst, 0u8);
            }
            Lanes::I8 => {
                ins!(self.s.asm, movd_a, xmm(dst), src);
                if self.features.ssse3 {
                    v!(self, pxor_a, XMM15, XMM15);
                    v!(self, pshufb_a, dst, XMM15);
                } else {
                    v!(self, punpcklbw_a, dst, dst);
                    v!(self, pshuflw_a, dst, dst, 0u8);
                    v!(self, pshufd_a, dst, dst, 0u8);
                }
            }
        }
    }

    // ---- all lanes ----

    pub(crate) fn shuffle(&mut self, mut lanes: [u8; 16]) {
        let (mut y, mut x) = (self.s.pop(), self.s.pop());
        if x.loc() == y.loc() {
            lanes = lanes.map(|lane| lane % 16);
        }
        if lanes.iter().all(|lane| *lane >= 16) {
            (x, y) = (y, x);
            lanes = lanes.map(|lane| lane - 16);
        }
        if lanes.iter().all(|lane| *lane < 16) {
            self.s.release(y);
            return self.shuffle_one(lanes, x);
        }
        if let Some(order) = words_of(lanes) {
            let from = order.map(|word| word >= 4);
            if from == [true, true, false, false] {
                (x, y) = (y, x);
            }
            if from[0] == from[1] && from[2] == from[3] {
                let src = self.s.reg_of(&mut y);
                let dst = self.modify(x, &[&y]);
                v!(self, shufps_a, dst, src, order_of(order));
                self.s.release(y);
                return self.push_result(dst, V128);
            }
        }
        if let Some((bytes, high)) = interleaving(lanes) {
            let src = self.s.reg_of(&mut y);
            let dst = self.modify(x, &[&y]);
            match (bytes, high) {
                (1, false) => v!(self, punpcklbw_a, dst, src),
                (1, true) => v!(self, punpckhbw_a, dst, src),
                (2, false) => v!(self, punpcklwd_a, dst, src),
                (2, true) => v!(self, punpckhwd_a, dst, src),
                (4, false) => v!(self, punpckldq_a, dst, src),
                (_, _) => v!(self, punpckhdq_a, dst, src),
            }
            self.s.release(y);
            return self.push_result(dst, V128);
        }
        if !self.features.ssse3 {
            self.s.push(x);
            self.s.push(y);
            return self.shuffle_in_memory(lanes, 2);
        }
        if lanes.iter().zip(lanes[0]..).all(|(lane, next)| *lane == next) {
            // Sixteen bytes in a row of both.
            let src = self.s.reg_of(&mut x);
            let dst = self.modify(y, &[&x]);
            v!(self, palignr_a, dst, src, lanes[0]);
            self.s.release(x);
            return self.push_result(dst, V128);
        }
        let of_x = lanes.map(|lane| if lane < 16 { lane } else { NOWHERE });
        let of_y = lanes.map(|lane| if lane < 16 { NOWHERE } else { lane - 16 });
        let src = self.s.reg_of(&mut y);
        let dst = self.modify(x, &[&y]);
        self.copy_vector(XMM15, src);
        vc!(self, pshufb_a, XMM15, u128::from_le_bytes(of_y));
        vc!(self, pshufb_a, dst, u128::from_le_bytes(of_x));
        v!(self, por_a, dst, XMM15);
        self.s.release(y);
        self.push_result(dst, V128);
    }

    fn shuffle_one(&mut self, lanes: [u8; 16], mut x: Value) {
        if let Some(order) = words_of(lanes) {
            let src = self.s.reg_of(&mut x);
            let dst = self.result_over([x]);
            v!(self, pshufd_a, dst, src, order_of(order));
            self.push_result(dst, V128);
        } else if self.features.ssse3 {
            let dst = self.modify(x, &[]);
            vc!(self, pshufb_a, dst, u128::from_le_bytes(lanes));
            self.push_result(dst, V128);
        } else {
            self.s.push(x);
            self.shuffle_in_memory(lanes, 1);
        }
    }

    /// Reads the lanes of the top `count` operands from their homes, two by two.
    fn shuffle_in_memory(&mut self, lanes: [u8; 16], count: usize) {
        let homes = self.settle_top(count);
        let place = |lane: u8| at(RBP, homes[usize::from(lane / 16)] + i32::from(lane % 16));
        let dst = self.temp();
        let word = self.s.alloc(Bank::General);
        v!(self, pxor_a, dst, dst);
        for (index, pair) in (0..8u8).zip(lanes.chunks_exact(2)) {
            let (low, high) = (pair[0], pair[1]);
            if high == low + 1 && low % 16 != 15 {
                ins!(self.s.asm, movzwl_rm, R11, place(low));
            } else {
                ins!(self.s.asm, movzbl_rm, R11, place(low));
                ins!(self.s.asm, movzbl_rm, word, place(high));
                ins!(self.s.asm, shll_mi, word, 8u8);
                ins!(self.s.asm, orl_rm, R11, word);
            }
            ins!(self.s.asm, pinsrw_a, xmm(dst), R11, index);
        }
        self.s.unhold(word);
        for _ in 0..count {
            let operand = self.s.pop();
            self.s.release(operand);
        }
        self.s.push_reg(dst, V128);
    }

    pub(crate) fn swizzle(&mut self) {
        if !self.features.ssse3 {
            return self.swizzle_in_memory();
        }
        let (mut indices, x) = (self.s.pop(), self.s.pop());
        let index = self.s.reg_of(&mut indices);
        let dst = self.modify(x, &[&indices]);
        // Indices above 15 get their top bit set, which selects zero.
        self.copy_vector(XMM15, index);
        vc!(self, paddusb_a, XMM15, each(8, 0x70));
        v!(self, pshufb_a, dst, XMM15);
        self.s.release(indices);
        self.push_result(dst, V128);
    }

    /// The results take the places of the indices, one by one.
    fn swizzle_in_memory(&mut self) {
        let homes = self.settle_top(2);
        let (byte, zero) = (self.s.alloc(Bank::General), self.s.alloc(Bank::General));
        ins!(self.s.asm, xorl_rm, zero, zero);
        for lane in 0..16 {
            let place = homes[1] + lane;
            ins!(self.s.asm, movzbl_rm, R11, at(RBP, place));
            ins!(self.s.asm, movl_rm, byte, R11);
            ins!(self.s.asm, andl_mi_sxb, byte, 15i8);
            ins!(self.s.asm, movzbl_rm, byte, indexed(RBP, byte, 0, homes[0]));
            ins!(self.s.asm, cmpl_mi_sxb, R11, 15i8);
            self.s.asm.cmov(Cond::A, false, byte, Rm::Gpr(zero));
            ins!(self.s.asm, movb_mr, at(RBP, place), byte);
        }
        self.s.unhold(byte);
        self.s.unhold(zero);
        let (mut result, x) = (self.s.pop(), self.s.pop());
        self.s.release(x);
        self.s.reg_of(&mut result);
        self.s.push(result);
    }
}

/// The 32-bit lanes that a shuffle moves, if it moves whole ones.
fn words_of(lanes: [u8; 16]) -> Option<[u8; 4]> {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(lanes.chunks_exact(4)) {
        let first = bytes[0];
        if first % 4 != 0 || !bytes.iter().zip(first..).all(|(byte, next)| *byte == next) {
            return None;
        }
        *word = first / 4;
    }
    Some(words)
}

/// The immediate of `pshufd` and `shufps`.
fn order_of(words: [u8; 4]) -> u8 {
    words.iter().rev().fold(0, |order, word| order * 4 + word % 4)
}

/// The width in bytes, up to four, of lanes that come by turns from the lower or upper halves of both
/// operands, and whether it is the upper ones.
fn interleaving(lanes: [u8; 16]) -> Option<(u8, bool)> {
    let is = |bytes: u8, start: u8| {
        lanes.iter().zip(0u8..).all(|(lane, index)| {
            let (turn, within) = (index / bytes, index % bytes);
            *lane == start + turn / 2 * bytes + within + turn % 2 * 16
        })
    };
    let kinds = [1, 2, 4].into_iter().flat_map(|bytes| [(bytes, false), (bytes, true)]);
    kinds.into_iter().find(|(bytes, high)| is(*bytes, if *high { 8 } else { 0 }))
}

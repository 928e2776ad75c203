//! Vector instructions on integers and bits.

use crate::asm::*;
use crate::emit::Tier;
use crate::simd::*;
use crate::state::*;
use wardian_module::layout::Repr::{I32, V128};

/// Neighbouring 32-bit lanes change places.
const SWAP_PAIRS: u8 = 0b10_11_00_01;
/// The upper half of each 64-bit lane, twice.
const UPPER_HALVES: u8 = 0b11_11_01_01;

/// A shift of `$dst` by an immediate, or by `xmm15`.
macro_rules! shift {
    ($tier:ident, $count:expr, $by_reg:ident $by_imm:ident, $dst:expr) => {
        match $count {
            Some(count) => vi!($tier, $by_imm, $dst, count),
            None => v!($tier, $by_reg, $dst, XMM15),
        }
    };
}

impl Tier<'_> {
    // ---- bits ----

    /// Flips all bits.
    pub(crate) fn invert(&mut self, dst: Reg) {
        v!(self, pcmpeqd_a, XMM15, XMM15);
        v!(self, pxor_a, dst, XMM15);
    }

    /// `x & mask | y & !mask`. With `blend`, if that is what the optimizing tier does, whole lanes are
    /// selected by the top bits of their masks.
    pub(crate) fn bitselect(&mut self, blend: Option<Lanes>) {
        let blend = blend.filter(|_| self.fast() && self.features.sse41);
        let (mut mask, mut y, mut x) = (self.s.pop(), self.s.pop(), self.s.pop());
        if let (Some(lanes), true) = (blend, self.features.avx) {
            let x_reg = xmm(self.s.reg_of(&mut x));
            let y_reg = xmm(self.s.reg_of(&mut y));
            let mask_reg = xmm(self.s.reg_of(&mut mask));
            let dst = self.result_over([x, y, mask]);
            match lanes {
                Lanes::I32 => {
                    ins!(self.s.asm, vblendvps_rvmr, xmm(dst), y_reg, x_reg, mask_reg);
                }
                Lanes::I64 => {
                    ins!(self.s.asm, vblendvpd_rvmr, xmm(dst), y_reg, x_reg, mask_reg);
                }
                _ => ins!(self.s.asm, vpblendvb_rvmr, xmm(dst), y_reg, x_reg, mask_reg),
            }
            return self.push_result(dst, V128);
        }
        let y_reg = self.s.reg_of(&mut y);
        let mask_reg = match blend {
            None => self.s.reg_of(&mut mask),
            Some(lanes) => {
                let reg = self.s.own(mask);
                self.spread_sign(lanes, reg);
                mask = Value::new(Loc::Reg(reg), V128);
                reg
            }
        };
        // Where the mask is set, y ^ x ^ y.
        let dst = self.modify(x, &[&y, &mask]);
        v!(self, pxor_a, dst, y_reg);
        v!(self, pand_a, dst, mask_reg);
        v!(self, pxor_a, dst, y_reg);
        self.s.release(y);
        self.s.release(mask);
        self.push_result(dst, V128);
    }

    /// Fills each lane with its top bit.
    fn spread_sign(&mut self, lanes: Lanes, x: Reg) {
        match lanes {
            Lanes::I8 => {
                v!(self, pxor_a, XMM15, XMM15);
                v!(self, pcmpgtb_a, XMM15, x);
                self.copy_vector(x, XMM15);
            }
            Lanes::I16 => vi!(self, psraw_b, x, 15u8),
            Lanes::I32 => vi!(self, psrad_b, x, 31u8),
            Lanes::I64 => {
                vi!(self, psrad_b, x, 31u8);
                v!(self, pshufd_a, x, x, UPPER_HALVES);
            }
        }
    }

    pub(crate) fn any_true(&mut self) {
        let mut x = self.s.pop();
        let reg = self.s.reg_of(&mut x);
        if self.features.sse41 {
            v!(self, ptest_rm, reg, reg);
        } else {
            v!(self, pxor_a, XMM15, XMM15);
            v!(self, pcmpeqb_a, XMM15, reg);
            ins!(self.s.asm, pmovmskb_rm, R11, xmm(XMM15));
            ins!(self.s.asm, cmpl_mi, R11, 0xffffi32);
        }
        self.s.release(x);
        self.push_condition(Cond::Ne);
    }

    pub(crate) fn all_true(&mut self, lanes: Lanes) {
        let mut x = self.s.pop();
        let reg = self.s.reg_of(&mut x);
        // No lane equals zero.
        if lanes == Lanes::I64 && !self.features.sse41 {
            let t = self.temp();
            v!(self, pxor_a, t, t);
            self.equal(lanes, t, reg);
            ins!(self.s.asm, pmovmskb_rm, R11, xmm(t));
            self.free(t);
        } else {
            v!(self, pxor_a, XMM15, XMM15);
            self.equal(lanes, XMM15, reg);
            ins!(self.s.asm, pmovmskb_rm, R11, xmm(XMM15));
        }
        ins!(self.s.asm, testl_mr, R11, R11);
        self.s.release(x);
        self.push_condition(Cond::E);
    }

    pub(crate) fn bitmask(&mut self, lanes: Lanes) {
        let mut x = self.s.pop();
        let reg = self.s.reg_of(&mut x);
        let dst = self.result_reg(I32, &[]);
        match lanes {
            Lanes::I8 => ins!(self.s.asm, pmovmskb_rm, dst, xmm(reg)),
            Lanes::I16 => {
                // All words twice, then once.
                self.copy_vector(XMM15, reg);
                v!(self, packsswb_a, XMM15, XMM15);
                ins!(self.s.asm, pmovmskb_rm, dst, xmm(XMM15));
                ins!(self.s.asm, movzbl_rm, dst, dst);
            }
            Lanes::I32 => ins!(self.s.asm, movmskps_rm, dst, xmm(reg)),
            Lanes::I64 => ins!(self.s.asm, movmskpd_rm, dst, xmm(reg)),
        }
        self.s.release(x);
        self.push_result(dst, I32);
    }

    // ---- comparisons ----

    /// `dst <- dst == src`; `dst` is the scratch register only where there is one instruction for it.
    fn equal(&mut self, lanes: Lanes, dst: Reg, src: Reg) {
        if lanes == Lanes::I64 && !self.features.sse41 {
            v!(self, pcmpeqd_a, dst, src);
            v!(self, pshufd_a, XMM15, dst, SWAP_PAIRS);
            v!(self, pand_a, dst, XMM15);
        } else {
            by_width!(self, lanes, pcmpeqb_a pcmpeqw_a pcmpeqd_a pcmpeqq_a, dst, src);
        }
    }

    /// `dst <- dst > src`, signed.
    fn greater(&mut self, lanes: Lanes, dst: Reg, src: Reg) {
        if lanes != Lanes::I64 || self.features.sse42 {
            by_width!(self, lanes, pcmpgtb_a pcmpgtw_a pcmpgtd_a pcmpgtq_a, dst, src);
            return;
        }
        // The upper halves decide; where they are equal, a borrow of the lower ones does.
        let t = self.temp();
        self.copy_vector(t, src);
        v!(self, psubq_a, t, dst);
        self.copy_vector(XMM15, dst);
        v!(self, pcmpeqd_a, XMM15, src);
        v!(self, pand_a, t, XMM15);
        v!(self, pcmpgtd_a, dst, src);
        v!(self, por_a, dst, t);
        v!(self, pshufd_a, dst, dst, UPPER_HALVES);
        self.free(t);
    }

    /// `dst <- dst >= src`, unsigned; not for 64-bit lanes.
    fn greater_equal_unsigned(&mut self, lanes: Lanes, dst: Reg, src: Reg) {
        match lanes {
            Lanes::I8 => {
                v!(self, pminub_a, dst, src);
                v!(self, pcmpeqb_a, dst, src);
            }
            Lanes::I16 if self.features.sse41 => {
                v!(self, pminuw_a, dst, src);
                v!(self, pcmpeqw_a, dst, src);
            }
            Lanes::I16 => {
                self.copy_vector(XMM15, src);
                v!(self, psubusw_a, XMM15, dst);
                v!(self, pxor_a, dst, dst);
                v!(self, pcmpeqw_a, dst, XMM15);
            }
            _ if self.features.sse41 => {
                v!(self, pminud_a, dst, src);
                v!(self, pcmpeqd_a, dst, src);
            }
            _ => {
                self.copy_vector(XMM15, src);
                vc!(self, pxor_a, XMM15, each(32, 1 << 31));
                vc!(self, pxor_a, dst, each(32, 1 << 31));
                v!(self, pcmpgtd_a, XMM15, dst);
                self.copy_vector(dst, XMM15);
                self.invert(dst);
            }
        }
    }

    pub(crate) fn compare_lanes(&mut self, lanes: Lanes, cond: Cond) {
        let swap = matches!(cond, Cond::L | Cond::Ge | Cond::Be | Cond::A);
        let (dst, src, other) = self.pop_for_result(swap);
        match cond {
            Cond::E | Cond::Ne => self.equal(lanes, dst, src),
            Cond::G | Cond::Le | Cond::L | Cond::Ge => self.greater(lanes, dst, src),
            _ => self.greater_equal_unsigned(lanes, dst, src),
        }
        if matches!(cond, Cond::Ne | Cond::Le | Cond::Ge | Cond::B | Cond::A) {
            self.invert(dst);
        }
        self.s.release(other);
        self.push_result(dst, V128);
    }

    // ---- minimum and maximum without SSE4.1 ----

    /// `dst <- src` where `mask` is set.
    fn replace_where(&mut self, mask: Reg, dst: Reg, src: Reg) {
        let t = self.temp();
        self.copy_vector(t, dst);
        v!(self, pxor_a, t, src);
        v!(self, pand_a, t, mask);
        v!(self, pxor_a, dst, t);
        self.free(t);
    }

    pub(crate) fn least_signed(&mut self, lanes: Lanes) {
        let (dst, src, other) = self.pop_for_result(false);
        self.copy_vector(XMM15, dst);
        self.greater(lanes, XMM15, src);
        self.replace_where(XMM15, dst, src);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn greatest_signed(&mut self, lanes: Lanes) {
        let (dst, src, other) = self.pop_for_result(false);
        self.copy_vector(XMM15, src);
        self.greater(lanes, XMM15, dst);
        self.replace_where(XMM15, dst, src);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn least_words(&mut self) {
        let (dst, src, other) = self.pop_for_result(false);
        self.copy_vector(XMM15, dst);
        v!(self, psubusw_a, XMM15, src);
        v!(self, psubw_a, dst, XMM15);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn greatest_words(&mut self) {
        let (dst, src, other) = self.pop_for_result(false);
        self.copy_vector(XMM15, src);
        v!(self, psubusw_a, XMM15, dst);
        v!(self, paddw_a, dst, XMM15);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn least_unsigned_32(&mut self) {
        let (dst, src, other) = self.pop_for_result(false);
        self.greater_unsigned_32(dst, src);
        self.replace_where(XMM15, dst, src);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn greatest_unsigned_32(&mut self) {
        let (dst, src, other) = self.pop_for_result(false);
        self.greater_unsigned_32(src, dst);
        self.replace_where(XMM15, dst, src);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    /// `xmm15 <- a > b`, unsigned.
    fn greater_unsigned_32(&mut self, a: Reg, b: Reg) {
        let t = self.temp();
        vc!(self, movaps_a, t, each(32, 1 << 31));
        self.copy_vector(XMM15, a);
        v!(self, pxor_a, XMM15, t);
        v!(self, pxor_a, t, b);
        v!(self, pcmpgtd_a, XMM15, t);
        self.free(t);
    }

    // ---- one operand ----

    pub(crate) fn absolute(&mut self, lanes: Lanes) {
        match lanes {
            Lanes::I8 if self.features.ssse3 => return unary!(self, pabsb_a),
            Lanes::I16 if self.features.ssse3 => return unary!(self, pabsw_a),
            Lanes::I32 if self.features.ssse3 => return unary!(self, pabsd_a),
            _ => {}
        }
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        v!(self, pxor_a, XMM15, XMM15);
        match lanes {
            Lanes::I8 => {
                v!(self, psubb_a, XMM15, dst);
                v!(self, pminub_a, dst, XMM15);
            }
            Lanes::I16 => {
                v!(self, psubw_a, XMM15, dst);
                v!(self, pmaxsw_a, dst, XMM15);
            }
            // Minus one and a flip of all bits, where negative.
            Lanes::I32 => {
                self.copy_vector(XMM15, dst);
                vi!(self, psrad_b, XMM15, 31u8);
                v!(self, pxor_a, dst, XMM15);
                v!(self, psubd_a, dst, XMM15);
            }
            Lanes::I64 => {
                v!(self, pshufd_a, XMM15, dst, UPPER_HALVES);
                vi!(self, psrad_b, XMM15, 31u8);
                v!(self, pxor_a, dst, XMM15);
                v!(self, psubq_a, dst, XMM15);
            }
        }
        self.push_result(dst, V128);
    }

    pub(crate) fn negate(&mut self, lanes: Lanes) {
        let mut x = self.s.pop();
        let src = self.s.reg_of(&mut x);
        let dst = self.result_reg(V128, &[&x]);
        v!(self, pxor_a, dst, dst);
        by_width!(self, lanes, psubb_a psubw_a psubd_a psubq_a, dst, src);
        self.s.release(x);
        self.push_result(dst, V128);
    }

    /// Sums of neighbouring bits, pairs and nibbles. What shifts bring in from other bytes is masked.
    pub(crate) fn count_ones_in_bytes(&mut self) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        self.copy_vector(XMM15, dst);
        vi!(self, psrlw_b, XMM15, 1u8);
        vc!(self, pand_a, XMM15, each(8, 0x55));
        v!(self, psubb_a, dst, XMM15);
        self.copy_vector(XMM15, dst);
        vi!(self, psrlw_b, XMM15, 2u8);
        vc!(self, pand_a, XMM15, each(8, 0x33));
        vc!(self, pand_a, dst, each(8, 0x33));
        v!(self, paddb_a, dst, XMM15);
        self.copy_vector(XMM15, dst);
        vi!(self, psrlw_b, XMM15, 4u8);
        v!(self, paddb_a, dst, XMM15);
        vc!(self, pand_a, dst, each(8, 0x0f));
        self.push_result(dst, V128);
    }

    // ---- shifts ----

    pub(crate) fn shift_left(&mut self, lanes: Lanes) {
        let (dst, count) = self.pop_for_shift(lanes, 0);
        match lanes {
            Lanes::I8 => unreachable!("bytes have code of their own"),
            Lanes::I16 => shift!(self, count, psllw_a psllw_b, dst),
            Lanes::I32 => shift!(self, count, pslld_a pslld_b, dst),
            Lanes::I64 => shift!(self, count, psllq_a psllq_b, dst),
        }
        self.push_result(dst, V128);
    }

    pub(crate) fn shift_unsigned(&mut self, lanes: Lanes) {
        let (dst, count) = self.pop_for_shift(lanes, 0);
        match lanes {
            Lanes::I8 => unreachable!("bytes have code of their own"),
            Lanes::I16 => shift!(self, count, psrlw_a psrlw_b, dst),
            Lanes::I32 => shift!(self, count, psrld_a psrld_b, dst),
            Lanes::I64 => shift!(self, count, psrlq_a psrlq_b, dst),
        }
        self.push_result(dst, V128);
    }

    pub(crate) fn shift_signed(&mut self, lanes: Lanes) {
        let (dst, count) = self.pop_for_shift(lanes, 0);
        match lanes {
            Lanes::I8 => unreachable!("bytes have code of their own"),
            Lanes::I16 => shift!(self, count, psraw_a psraw_b, dst),
            Lanes::I32 => shift!(self, count, psrad_a psrad_b, dst),
            Lanes::I64 => {
                // An unsigned shift; then the sign bit, where it is now, is extended.
                let sign = self.temp();
                vc!(self, movaps_a, sign, each(64, 1 << 63));
                shift!(self, count, psrlq_a psrlq_b, dst);
                shift!(self, count, psrlq_a psrlq_b, sign);
                v!(self, pxor_a, dst, sign);
                v!(self, psubq_a, dst, sign);
                self.free(sign);
            }
        }
        self.push_result(dst, V128);
    }

    /// Pops the operands of a shift: a register with the first, to modify, and the count with `more`
    /// added: an immediate, or it is in `xmm15`.
    fn pop_for_shift(&mut self, lanes: Lanes, more: u8) -> (Reg, Option<u8>) {
        let (mut count, x) = (self.s.pop(), self.s.pop());
        let dst = self.modify(x, &[]);
        let mask = lanes.bits() - 1;
        if let Loc::Const(bits) = count.loc() {
            return (dst, Some((bits as u8 & mask) + more));
        }
        let reg = self.s.reg_of(&mut count);
        ins!(self.s.asm, movl_rm, R11, reg);
        ins!(self.s.asm, andl_mi_sxb, R11, mask as i8);
        if more > 0 {
            ins!(self.s.asm, addl_mi_sxb, R11, more as i8);
        }
        ins!(self.s.asm, movd_a, xmm(XMM15), R11);
        self.s.release(count);
        (dst, None)
    }

    /// `0xff >> count` in every byte of a register, which is held.
    fn byte_shift_mask(&mut self, count: Option<u8>) -> Reg {
        let mask = self.temp();
        match count {
            Some(count) => vc!(self, movaps_a, mask, each(8, 0xff >> count)),
            None => {
                v!(self, pcmpeqd_a, mask, mask);
                v!(self, psrlw_a, mask, XMM15);
                vi!(self, psrlw_b, mask, 8u8);
                v!(self, packuswb_a, mask, mask);
            }
        }
        mask
    }

    pub(crate) fn shift_bytes_left(&mut self) {
        let (dst, count) = self.pop_for_shift(Lanes::I8, 0);
        let mask = self.byte_shift_mask(count);
        v!(self, pand_a, dst, mask);
        shift!(self, count, psllw_a psllw_b, dst);
        self.free(mask);
        self.push_result(dst, V128);
    }

    pub(crate) fn shift_bytes_unsigned(&mut self) {
        let (dst, count) = self.pop_for_shift(Lanes::I8, 0);
        let mask = self.byte_shift_mask(count);
        shift!(self, count, psrlw_a psrlw_b, dst);
        v!(self, pand_a, dst, mask);
        self.free(mask);
        self.push_result(dst, V128);
    }

    pub(crate) fn shift_bytes_signed(&mut self) {
        // Each byte as the upper half of a word.
        let (dst, count) = self.pop_for_shift(Lanes::I8, 8);
        let high = self.temp();
        self.copy_vector(high, dst);
        v!(self, punpckhbw_a, high, high);
        v!(self, punpcklbw_a, dst, dst);
        shift!(self, count, psraw_a psraw_b, high);
        shift!(self, count, psraw_a psraw_b, dst);
        v!(self, packsswb_a, dst, high);
        self.free(high);
        self.push_result(dst, V128);
    }

    // ---- products ----

    pub(crate) fn multiply_32(&mut self) {
        if self.features.sse41 {
            return binary!(self, Commutes, pmulld_a, vpmulld_b);
        }
        // Lanes 0 and 2, then 1 and 3, then together again.
        let (dst, src, other) = self.pop_for_result(false);
        let odd = self.temp();
        v!(self, pshufd_a, odd, dst, SWAP_PAIRS);
        v!(self, pshufd_a, XMM15, src, SWAP_PAIRS);
        v!(self, pmuludq_a, odd, XMM15);
        v!(self, pmuludq_a, dst, src);
        v!(self, pshufd_a, dst, dst, 0b10_00u8);
        v!(self, pshufd_a, odd, odd, 0b10_00u8);
        v!(self, punpckldq_a, dst, odd);
        self.free(odd);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn multiply_64(&mut self) {
        // The upper halves matter only in products with a lower half.
        let (dst, src, other) = self.pop_for_result(false);
        let upper = self.temp();
        self.copy_vector(upper, dst);
        vi!(self, psrlq_b, upper, 32u8);
        v!(self, pmuludq_a, upper, src);
        self.copy_vector(XMM15, src);
        vi!(self, psrlq_b, XMM15, 32u8);
        v!(self, pmuludq_a, XMM15, dst);
        v!(self, paddq_a, upper, XMM15);
        vi!(self, psllq_b, upper, 32u8);
        v!(self, pmuludq_a, dst, src);
        v!(self, paddq_a, dst, upper);
        self.free(upper);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn multiply_q15(&mut self) {
        let (dst, src, other) = self.pop_for_result(false);
        if self.features.ssse3 {
            v!(self, pmulhrsw_a, dst, src);
        } else {
            // Twice the upper half, and what the lower half rounds to: ((low >> 14) + 1) >> 1.
            let low = self.temp();
            self.copy_vector(low, dst);
            v!(self, pmullw_a, low, src);
            v!(self, pmulhw_a, dst, src);
            vi!(self, psrlw_b, low, 14u8);
            v!(self, pxor_a, XMM15, XMM15);
            v!(self, pavgw_a, low, XMM15);
            v!(self, paddw_a, dst, dst);
            v!(self, paddw_a, dst, low);
            self.free(low);
        }
        // The only result out of range is 2^15.
        vc!(self, movaps_a, XMM15, each(16, 0x8000));
        v!(self, pcmpeqw_a, XMM15, dst);
        v!(self, pxor_a, dst, XMM15);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    // ---- wider lanes ----

    /// `dst <- x`, half of its lanes extended to twice their width. `dst` may be `x`, and neither is
    /// the scratch register.
    fn extend_to(&mut self, lanes: Lanes, signed: bool, high: bool, dst: Reg, x: Reg) {
        if self.features.sse41 && !high {
            match (lanes, signed) {
                (Lanes::I8, true) => v!(self, pmovsxbw_a, dst, x),
                (Lanes::I8, false) => v!(self, pmovzxbw_a, dst, x),
                (Lanes::I16, true) => v!(self, pmovsxwd_a, dst, x),
                (Lanes::I16, false) => v!(self, pmovzxwd_a, dst, x),
                (_, true) => v!(self, pmovsxdq_a, dst, x),
                (_, false) => v!(self, pmovzxdq_a, dst, x),
            }
            return;
        }
        self.copy_vector(dst, x);
        self.interleave_extension(lanes, signed, high, dst);
    }

    /// As `extend_to`, in place, with SSE2.
    pub(crate) fn interleave_extension(
        &mut self,
        lanes: Lanes,
        signed: bool,
        high: bool,
        dst: Reg,
    ) {
        // Bytes and words go up with anything below and come down extended; there is no such shift of
        // 64 bits.
        let upper = match (lanes, signed) {
            (Lanes::I32, true) => {
                self.copy_vector(XMM15, dst);
                vi!(self, psrad_b, XMM15, 31u8);
                XMM15
            }
            (_, true) => dst,
            (_, false) => {
                v!(self, pxor_a, XMM15, XMM15);
                XMM15
            }
        };
        match (lanes, high) {
            (Lanes::I8, false) => v!(self, punpcklbw_a, dst, upper),
            (Lanes::I8, true) => v!(self, punpckhbw_a, dst, upper),
            (Lanes::I16, false) => v!(self, punpcklwd_a, dst, upper),
            (Lanes::I16, true) => v!(self, punpckhwd_a, dst, upper),
            (_, false) => v!(self, punpckldq_a, dst, upper),
            (_, true) => v!(self, punpckhdq_a, dst, upper),
        }
        match (lanes, signed) {
            (Lanes::I8, true) => vi!(self, psraw_b, dst, 8u8),
            (Lanes::I16, true) => vi!(self, psrad_b, dst, 16u8),
            _ => {}
        }
    }

    pub(crate) fn extend_lanes(&mut self, lanes: Lanes, signed: bool, high: bool) {
        let mut x = self.s.pop();
        let src = self.s.reg_of(&mut x);
        let dst = self.result_reg(V128, &[]);
        self.extend_to(lanes, signed, high, dst, src);
        self.s.release(x);
        self.push_result(dst, V128);
    }

    pub(crate) fn multiply_bytes_wide(&mut self, signed: bool, high: bool) {
        let (dst, src, other) = self.pop_for_result(false);
        let t = self.temp();
        self.extend_to(Lanes::I8, signed, high, dst, dst);
        self.extend_to(Lanes::I8, signed, high, t, src);
        v!(self, pmullw_a, dst, t);
        self.free(t);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn multiply_words_wide(&mut self, signed: bool, high: bool) {
        let (dst, src, other) = self.pop_for_result(false);
        self.copy_vector(XMM15, dst);
        if signed {
            v!(self, pmulhw_a, XMM15, src);
        } else {
            v!(self, pmulhuw_a, XMM15, src);
        }
        v!(self, pmullw_a, dst, src);
        if high {
            v!(self, punpckhwd_a, dst, XMM15);
        } else {
            v!(self, punpcklwd_a, dst, XMM15);
        }
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn multiply_32_wide(&mut self, signed: bool, high: bool) {
        // Both lanes twice: 0 0 1 1 or 2 2 3 3.
        let pairs = if high { 0b11_11_10_10u8 } else { 0b01_01_00_00 };
        let (dst, src, other) = self.pop_for_result(false);
        let y = self.temp();
        v!(self, pshufd_a, dst, dst, pairs);
        v!(self, pshufd_a, y, src, pairs);
        match signed {
            true if self.features.sse41 => v!(self, pmuldq_a, dst, y),
            false => v!(self, pmuludq_a, dst, y),
            true => {
                // A negative operand counts 2^32 too much: the other one is taken off the upper half.
                let excess = self.temp();
                self.copy_vector(excess, dst);
                vi!(self, psrad_b, excess, 31u8);
                v!(self, pand_a, excess, y);
                self.copy_vector(XMM15, y);
                vi!(self, psrad_b, XMM15, 31u8);
                v!(self, pand_a, XMM15, dst);
                v!(self, paddd_a, excess, XMM15);
                vi!(self, psllq_b, excess, 32u8);
                v!(self, pmuludq_a, dst, y);
                v!(self, psubq_a, dst, excess);
                self.free(excess);
            }
        }
        self.free(y);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    pub(crate) fn add_byte_pairs(&mut self, signed: bool) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        self.copy_vector(XMM15, dst);
        if signed {
            vi!(self, psraw_b, XMM15, 8u8);
            vi!(self, psllw_b, dst, 8u8);
            vi!(self, psraw_b, dst, 8u8);
        } else {
            vi!(self, psrlw_b, XMM15, 8u8);
            vc!(self, pand_a, dst, each(16, 0xff));
        }
        v!(self, paddw_a, dst, XMM15);
        self.push_result(dst, V128);
    }

    pub(crate) fn add_word_pairs(&mut self, signed: bool) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        if signed {
            vc!(self, pmaddwd_a, dst, each(16, 1));
        } else {
            self.copy_vector(XMM15, dst);
            vi!(self, psrld_b, XMM15, 16u8);
            vc!(self, pand_a, dst, each(32, 0xffff));
            v!(self, paddd_a, dst, XMM15);
        }
        self.push_result(dst, V128);
    }

    /// `i16x8.narrow_i32x4_u`
    pub(crate) fn narrow_unsigned(&mut self) {
        if self.features.sse41 {
            return binary!(self, Fixed, packusdw_a, vpackusdw_b);
        }
        // Moved down by 2^15, what fits 16 bits without sign fits them with sign. Negative values
        // become zero first, so that none wraps around.
        let (dst, src, other) = self.pop_for_result(false);
        let t = self.temp();
        self.copy_vector(t, src);
        for reg in [dst, t] {
            self.copy_vector(XMM15, reg);
            vi!(self, psrad_b, XMM15, 31u8);
            v!(self, pandn_a, XMM15, reg);
            vc!(self, psubd_a, XMM15, each(32, 0x8000));
            self.copy_vector(reg, XMM15);
        }
        v!(self, packssdw_a, dst, t);
        vc!(self, pxor_a, dst, each(16, 0x8000));
        self.free(t);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    // ---- relaxed dot products ----

    pub(crate) fn relaxed_dot(&mut self) {
        let dst = self.dot_of_bytes();
        self.s.push_reg(dst, V128);
    }

    pub(crate) fn relaxed_dot_add(&mut self) {
        let mut sum = self.s.pop();
        let dst = self.dot_of_bytes();
        let sum_reg = self.s.reg_of(&mut sum);
        vc!(self, pmaddwd_a, dst, each(16, 1));
        v!(self, paddd_a, dst, sum_reg);
        self.s.release(sum);
        self.s.push_reg(dst, V128);
    }

    /// Pops two vectors of bytes: the sums of products of neighbours, as words, in a register that is
    /// held.
    fn dot_of_bytes(&mut self) -> Reg {
        let (mut y, mut x) = (self.s.pop(), self.s.pop());
        let x_reg = self.s.reg_of(&mut x);
        if self.fast() && self.features.ssse3 {
            // The second operand, meant to have 7 bits, is taken as unsigned; sums saturate.
            let dst = self.s.own(y);
            v!(self, pmaddubsw_a, dst, x_reg);
            self.s.release(x);
            return dst;
        }
        let y_reg = self.s.reg_of(&mut y);
        let (dst, high, t) = (self.temp(), self.temp(), self.temp());
        for (sums, upper) in [(dst, false), (high, true)] {
            self.extend_to(Lanes::I8, true, upper, sums, x_reg);
            self.extend_to(Lanes::I8, true, upper, t, y_reg);
            v!(self, pmaddwd_a, sums, t);
            // Wraps to 16 bits, so that packing has nothing to saturate.
            vi!(self, pslld_b, sums, 16u8);
            vi!(self, psrad_b, sums, 16u8);
        }
        v!(self, packssdw_a, dst, high);
        self.free(high);
        self.free(t);
        self.s.release(x);
        self.s.release(y);
        dst
    }
}

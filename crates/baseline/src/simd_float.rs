//! Vector instructions on floats, and conversions.
//!
//! Invariant: a result of float arithmetic passes through `push_floats`, or `canonical_lanes`.

use crate::asm::*;
use crate::emit::Tier;
use crate::scalar::rounding_mode;
use crate::simd::*;
use crate::state::*;
use smallvec::SmallVec;
use wardian_lower::Emit;
use wardian_module::layout::Repr;
use wardian_module::layout::Repr::{F64, I32, I64, V128};
use wardian_module::{Builtin, Rounding};

/// Predicates of `cmpps` and `cmppd`.
const EQUAL: u8 = 0;
const LESS: u8 = 1;
const LESS_EQUAL: u8 = 2;
const UNORDERED: u8 = 3;
const NOT_EQUAL: u8 = 4;

/// A float in all lanes.
fn floats(repr: Repr, value: f64) -> u128 {
    match repr {
        F64 => each(64, value.to_bits()),
        _ => each(32, u64::from((value as f32).to_bits())),
    }
}

/// Bits in all lanes that are as wide as this float.
fn lane_bits(repr: Repr, single: u32, double: u64) -> u128 {
    match repr {
        F64 => each(64, double),
        _ => each(32, u64::from(single)),
    }
}

const TWO_31: f64 = 2_147_483_648.0;
const TWO_52: f64 = 4_503_599_627_370_496.0;

impl Tier<'_> {
    /// Makes NaNs the canonical one, lane by lane, if that was asked for.
    fn canonical_lanes(&mut self, dst: Reg, repr: Repr) {
        if !self.settings.nan_canonicalization {
            return;
        }
        let nans = self.temp();
        self.copy_vector(nans, dst);
        vf!(self, repr == F64, cmpps_a, cmppd_a, nans, nans, UNORDERED);
        self.copy_vector(XMM15, nans);
        v!(self, pandn_a, XMM15, dst);
        vc!(self, pand_a, nans, lane_bits(repr, 0x7fc0_0000, 0x7ff8_0000_0000_0000));
        self.copy_vector(dst, XMM15);
        v!(self, por_a, dst, nans);
        self.free(nans);
    }

    /// Pushes what float arithmetic gave.
    pub(crate) fn push_floats(&mut self, dst: Reg, repr: Repr) {
        self.canonical_lanes(dst, repr);
        self.push_result(dst, V128);
    }

    pub(crate) fn compare_float_lanes(&mut self, repr: Repr, cond: Cond) {
        let swap = matches!(cond, Cond::A | Cond::Ae);
        let predicate = match cond {
            Cond::E => EQUAL,
            Cond::Ne => NOT_EQUAL,
            Cond::B | Cond::A => LESS,
            _ => LESS_EQUAL,
        };
        let (dst, src, other) = self.pop_for_result(swap);
        vf!(self, repr == F64, cmpps_a, cmppd_a, dst, src, predicate);
        self.s.release(other);
        self.push_result(dst, V128);
    }

    /// `abs` clears signs, `neg` flips them.
    pub(crate) fn mask_signs(&mut self, repr: Repr, clear: bool) {
        let signs = lane_bits(repr, 1 << 31, 1 << 63);
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        if clear {
            vc!(self, pand_a, dst, !signs);
        } else {
            vc!(self, pxor_a, dst, signs);
        }
        self.push_result(dst, V128);
    }

    /// spec (fpmin): y < x ? y : x
    pub(crate) fn pseudo_min(&mut self, repr: Repr) {
        if repr == F64 {
            binary!(self, Swapped, minpd_a, vminpd_b);
        } else {
            binary!(self, Swapped, minps_a, vminps_b);
        }
    }

    /// spec (fpmax): x < y ? y : x
    pub(crate) fn pseudo_max(&mut self, repr: Repr) {
        if repr == F64 {
            binary!(self, Swapped, maxpd_a, vmaxpd_b);
        } else {
            binary!(self, Swapped, maxps_a, vmaxps_b);
        }
    }

    /// Of two zeros or with a NaN the processor gives its second operand, so both orders are tried.
    pub(crate) fn least_float(&mut self, repr: Repr) {
        let double = repr == F64;
        let (mut y, mut x) = (self.s.pop(), self.s.pop());
        let (y_reg, x_reg) = (self.s.reg_of(&mut y), self.s.reg_of(&mut x));
        let dst = self.result_reg(V128, &[&x, &y]);
        self.copy_vector(XMM15, x_reg);
        vf!(self, double, minps_a, minpd_a, XMM15, y_reg);
        self.copy_vector(dst, y_reg);
        vf!(self, double, minps_a, minpd_a, dst, x_reg);
        // Together: the negative zero, or a NaN.
        v!(self, orps_a, XMM15, dst);
        vf!(self, double, cmpps_a, cmppd_a, dst, XMM15, UNORDERED);
        v!(self, orps_a, XMM15, dst);
        self.quiet(double, dst);
        self.s.release(x);
        self.s.release(y);
        self.push_floats(dst, repr);
    }

    pub(crate) fn greatest_float(&mut self, repr: Repr) {
        let double = repr == F64;
        let (mut y, mut x) = (self.s.pop(), self.s.pop());
        let (y_reg, x_reg) = (self.s.reg_of(&mut y), self.s.reg_of(&mut x));
        let dst = self.result_reg(V128, &[&x, &y]);
        self.copy_vector(XMM15, x_reg);
        vf!(self, double, maxps_a, maxpd_a, XMM15, y_reg);
        self.copy_vector(dst, y_reg);
        vf!(self, double, maxps_a, maxpd_a, dst, x_reg);
        // Where they differ there is a NaN, or two zeros: -0 less -0 is the positive one.
        v!(self, xorps_a, dst, XMM15);
        v!(self, orps_a, XMM15, dst);
        vf!(self, double, subps_a, subpd_a, XMM15, dst);
        vf!(self, double, cmpps_a, cmppd_a, dst, XMM15, UNORDERED);
        self.quiet(double, dst);
        self.s.release(x);
        self.s.release(y);
        self.push_floats(dst, repr);
    }

    /// `dst <- xmm15`, where `dst` is set without all of a NaN's payload but the top bit.
    fn quiet(&mut self, double: bool, dst: Reg) {
        if double {
            vi!(self, psrlq_b, dst, 13u8);
        } else {
            vi!(self, psrld_b, dst, 10u8);
        }
        v!(self, andnps_a, dst, XMM15);
    }

    pub(crate) fn round_lanes(&mut self, repr: Repr, rounding: Rounding) {
        if self.features.sse41 {
            let dst = if repr == F64 {
                unary_reg!(self, roundpd_rmi, rounding_mode(rounding))
            } else {
                unary_reg!(self, roundps_rmi, rounding_mode(rounding))
            };
            return self.push_floats(dst, repr);
        }
        let builtin = if repr == F64 { Builtin::RoundF64 } else { Builtin::RoundF32 };
        self.lanes_by_builtin(repr, builtin, rounding as u32, 1);
    }

    /// `x * y + z`, or `z - x * y` if `negated`. Deterministic means fused.
    pub(crate) fn multiply_add(&mut self, repr: Repr, negated: bool) {
        let double = repr == F64;
        if self.features.fma {
            let (mut z, mut y, x) = (self.s.pop(), self.s.pop(), self.s.pop());
            let addend = self.s.xm_of(&mut z);
            let factor = xmm(self.s.reg_of(&mut y));
            let dst = self.modify(x, &[&y, &z]);
            let to = xmm(dst);
            match (negated, double) {
                (false, false) => ins!(self.s.asm, vfmadd213ps_a, to, factor, addend),
                (false, true) => ins!(self.s.asm, vfmadd213pd_a, to, factor, addend),
                (true, false) => ins!(self.s.asm, vfnmadd213ps_a, to, factor, addend),
                (true, true) => ins!(self.s.asm, vfnmadd213pd_a, to, factor, addend),
            }
            self.s.release(y);
            self.s.release(z);
            return self.push_floats(dst, repr);
        }
        let signs = lane_bits(repr, 1 << 31, 1 << 63);
        let (mut z, mut y, x) = (self.s.pop(), self.s.pop(), self.s.pop());
        if self.fast() {
            let (addend, factor) = (self.s.reg_of(&mut z), self.s.reg_of(&mut y));
            let dst = self.modify(x, &[&y, &z]);
            if negated {
                vc!(self, xorps_a, dst, signs);
            }
            vf!(self, double, mulps_a, mulpd_a, dst, factor);
            vf!(self, double, addps_a, addpd_a, dst, addend);
            self.s.release(y);
            self.s.release(z);
            return self.push_floats(dst, repr);
        }
        let x = if negated {
            let reg = self.s.own(x);
            vc!(self, xorps_a, reg, signs);
            Value::new(Loc::Reg(reg), V128)
        } else {
            x
        };
        for operand in [x, y, z] {
            self.s.push(operand);
        }
        let builtin = if double { Builtin::FmaF64 } else { Builtin::FmaF32 };
        self.lanes_by_builtin(repr, builtin, 0, 3);
    }

    /// Calls a builtin for each lane of the top `count` operands, which the results replace.
    fn lanes_by_builtin(&mut self, repr: Repr, builtin: Builtin, first: u32, count: usize) {
        let homes = self.settle_top(count);
        let (int, lanes, bytes) = if repr == F64 { (I64, 2, 8) } else { (I32, 4, 4) };
        for lane in 0..lanes {
            // A lane is written only after all operands' lanes were read.
            let args = homes.iter().map(|home| Value::new(Loc::Frame(home + lane * bytes), int));
            let args = SmallVec::from_iter(args);
            let mut result = self.builtin(builtin, first, 0, args).expect("a lane has a value");
            let reg = self.s.reg_of(&mut result);
            self.s.store(at(RBP, homes[0] + lane * bytes), reg, int);
            self.s.release(result);
        }
        for _ in 1..count {
            let operand = self.s.pop();
            self.s.release(operand);
        }
        if self.settings.nan_canonicalization {
            let x = self.s.pop();
            let dst = self.modify(x, &[]);
            self.push_floats(dst, repr);
        }
    }

    // ---- conversions ----

    pub(crate) fn single_to_signed(&mut self) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        // NaN becomes zero.
        self.copy_vector(XMM15, dst);
        v!(self, cmpps_a, XMM15, XMM15, EQUAL);
        v!(self, andps_a, dst, XMM15);
        // What was not negative but is now was too large: flipped, it is the largest integer.
        v!(self, pxor_a, XMM15, dst);
        v!(self, cvttps2dq_a, dst, dst);
        v!(self, pand_a, XMM15, dst);
        vi!(self, psrad_b, XMM15, 31u8);
        v!(self, pxor_a, dst, XMM15);
        self.push_result(dst, V128);
    }

    pub(crate) fn single_to_unsigned(&mut self) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        let (above, mask) = (self.temp(), self.temp());
        // NaN and what is negative become zero.
        v!(self, xorps_a, mask, mask);
        v!(self, maxps_a, dst, mask);
        // From 2^31 on the first conversion gives 2^31, and the second what is missing.
        vc!(self, movaps_a, mask, floats(Repr::F32, TWO_31));
        self.copy_vector(above, dst);
        v!(self, subps_a, above, mask);
        v!(self, cmpps_a, mask, above, LESS_EQUAL);
        v!(self, cvttps2dq_a, above, above);
        v!(self, cvttps2dq_a, dst, dst);
        // From 2^32 on that is the largest signed integer.
        v!(self, pxor_a, above, mask);
        // Below 2^31 nothing is missing.
        self.copy_vector(XMM15, above);
        vi!(self, psrad_b, XMM15, 31u8);
        v!(self, pandn_a, XMM15, above);
        v!(self, paddd_a, dst, XMM15);
        self.free(above);
        self.free(mask);
        self.push_result(dst, V128);
    }

    pub(crate) fn double_to_signed(&mut self) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        // The bound, and zero where there is a NaN, which the minimum gives up for it. What is too
        // small becomes the smallest integer by itself.
        self.copy_vector(XMM15, dst);
        v!(self, cmppd_a, XMM15, XMM15, EQUAL);
        vc!(self, andps_a, XMM15, floats(F64, TWO_31 - 1.0));
        v!(self, minpd_a, dst, XMM15);
        v!(self, cvttpd2dq_a, dst, dst);
        self.push_result(dst, V128);
    }

    pub(crate) fn double_to_unsigned(&mut self) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        let large = self.temp();
        v!(self, xorps_a, XMM15, XMM15);
        v!(self, maxpd_a, dst, XMM15);
        vc!(self, minpd_a, dst, floats(F64, 2.0 * TWO_31 - 1.0));
        // 2^31 less where it is at least that, and that bit again.
        vc!(self, movaps_a, large, floats(F64, TWO_31));
        v!(self, cmppd_a, large, dst, LESS_EQUAL);
        vc!(self, movaps_a, XMM15, floats(F64, TWO_31));
        v!(self, andps_a, XMM15, large);
        v!(self, subpd_a, dst, XMM15);
        v!(self, cvttpd2dq_a, dst, dst);
        v!(self, xorps_a, XMM15, XMM15);
        v!(self, shufps_a, large, XMM15, 0b10_00_10_00u8);
        vi!(self, pslld_b, large, 31u8);
        v!(self, pxor_a, dst, large);
        self.free(large);
        self.push_result(dst, V128);
    }

    pub(crate) fn unsigned_to_single(&mut self) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        // Both halves are converted without loss; their sum is rounded once.
        self.copy_vector(XMM15, dst);
        vi!(self, psrld_b, XMM15, 16u8);
        vc!(self, pand_a, dst, each(32, 0xffff));
        v!(self, cvtdq2ps_a, XMM15, XMM15);
        v!(self, cvtdq2ps_a, dst, dst);
        vc!(self, mulps_a, XMM15, floats(Repr::F32, 65536.0));
        v!(self, addps_a, dst, XMM15);
        self.push_result(dst, V128);
    }

    pub(crate) fn unsigned_to_double(&mut self) {
        let x = self.s.pop();
        let dst = self.modify(x, &[]);
        // Below the exponent of 2^52 the integer is what is added to that.
        vc!(self, punpckldq_a, dst, each(32, TWO_52.to_bits() >> 32));
        vc!(self, subpd_a, dst, floats(F64, TWO_52));
        self.push_result(dst, V128);
    }
}

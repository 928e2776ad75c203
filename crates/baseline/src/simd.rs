//! Vector instructions: which code each has. What the code is stands in `simd_int`, `simd_float` and
//! `simd_lanes`; the shapes that they share stand here.
//!
//! Invariants:
//! - Everything works on a processor that has SSE2 only; `features` only makes it better.
//! - Only encodings with a VEX prefix, `movups` and those that read at most 64 bits have memory
//!   operands, but for constants behind the function: those are aligned, the frame and memories not.
//! - A relaxed instruction does what it does in the optimizing tier, on the same settings and features:
//!   with `relaxed_simd_deterministic` the same everywhere, without what the processor does best.
//! - `xmm15` and `r11` are scratch within each helper; none expects them to survive another.

use crate::asm::*;
use crate::emit::Tier;
use crate::state::*;
use wardian_module::Rounding;
use wardian_module::layout::Repr;
use wardian_module::layout::Repr::V128;
use wasmparser::Operator;

/// An instruction on two vector registers.
macro_rules! v {
    ($tier:expr, $inst:ident, $dst:expr, $src:expr $(, $imm:expr)?) => {
        $crate::asm::ins!(
            $tier.s.asm, $inst, $crate::asm::xmm($dst), $crate::asm::xmm($src) $(, $imm)?
        )
    };
}
pub(crate) use v;

/// An instruction on a vector register and a constant behind the function.
macro_rules! vc {
    ($tier:expr, $inst:ident, $dst:expr, $bits:expr) => {{
        let constant = $tier.vector_place($bits);
        $crate::asm::ins!($tier.s.asm, $inst, $crate::asm::xmm($dst), constant)
    }};
}
pub(crate) use vc;

/// A shift of a vector register by an immediate.
macro_rules! vi {
    ($tier:expr, $inst:ident, $dst:expr, $imm:expr) => {
        $crate::asm::ins!($tier.s.asm, $inst, $crate::asm::xmm($dst), $imm)
    };
}
pub(crate) use vi;

/// The instruction on two vector registers for lanes of this width.
macro_rules! by_width {
    ($tier:expr, $lanes:expr, $b:ident $w:ident $d:ident $q:ident, $dst:expr, $src:expr) => {
        match $lanes {
            Lanes::I8 => $crate::simd::v!($tier, $b, $dst, $src),
            Lanes::I16 => $crate::simd::v!($tier, $w, $dst, $src),
            Lanes::I32 => $crate::simd::v!($tier, $d, $dst, $src),
            Lanes::I64 => $crate::simd::v!($tier, $q, $dst, $src),
        }
    };
}
pub(crate) use by_width;

/// The form for doubles if `$double`, else that for singles.
macro_rules! vf {
    ($tier:expr, $double:expr, $ps:ident, $pd:ident, $dst:expr, $src:expr $(, $imm:expr)?) => {
        if $double {
            $crate::simd::v!($tier, $pd, $dst, $src $(, $imm)?)
        } else {
            $crate::simd::v!($tier, $ps, $dst, $src $(, $imm)?)
        }
    };
}
pub(crate) use vf;

/// An instruction with two operands: its forms with two registers and with three.
macro_rules! binary {
    ($tier:ident, $order:ident, $sse:ident, $avx:ident) => {{
        let dst = $crate::simd::binary_reg!($tier, $order, $sse, $avx);
        $tier.push_result(dst, wardian_module::layout::Repr::V128);
    }};
}
pub(crate) use binary;

/// As `binary!`; the result stays in the register that is returned.
macro_rules! binary_reg {
    ($tier:ident, $order:ident, $sse:ident, $avx:ident) => {
        $tier.two_operands(
            $crate::simd::Order::$order,
            |asm, dst, src| $crate::asm::ins!(*asm, $sse, dst, src),
            |asm, dst, a, b| $crate::asm::ins!(*asm, $avx, dst, a, b),
        )
    };
}
pub(crate) use binary_reg;

/// An instruction that reads one register and writes another.
macro_rules! unary {
    ($tier:ident, $inst:ident $(, $imm:expr)?) => {{
        let dst = $crate::simd::unary_reg!($tier, $inst $(, $imm)?);
        $tier.push_result(dst, wardian_module::layout::Repr::V128);
    }};
}
pub(crate) use unary;

macro_rules! unary_reg {
    ($tier:ident, $inst:ident $(, $imm:expr)?) => {{
        let mut x = $tier.s.pop();
        let src = $tier.s.reg_of(&mut x);
        let dst = $tier.result_over([x]);
        $crate::simd::v!($tier, $inst, dst, src $(, $imm)?);
        dst
    }};
}
pub(crate) use unary_reg;

/// Width of integer lanes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lanes {
    I8,
    I16,
    I32,
    I64,
}

impl Lanes {
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Lanes::I8 => 8,
            Lanes::I16 => 16,
            Lanes::I32 => 32,
            Lanes::I64 => 64,
        }
    }
}

/// How an instruction takes its operands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Commutes,
    Fixed,
    /// The second operand is what the two-register form modifies.
    Swapped,
}

/// A vector of equal lanes.
pub(crate) const fn each(lane_bits: u8, lane: u64) -> u128 {
    let lane = if lane_bits == 64 { lane } else { lane & ((1 << lane_bits) - 1) };
    let mut bits = 0;
    let mut at = 0;
    while at < 128 {
        bits |= (lane as u128) << at;
        at += lane_bits as u32;
    }
    bits
}

/// How far constants are looked for that could be used again.
const CONSTANTS_IN_REACH: usize = 16;

impl Tier<'_> {
    // ---- shapes ----

    /// The place of a constant behind the function: aligned.
    pub(crate) fn vector_place(&mut self, bits: u128) -> Mem {
        let near = self.b.constants.iter().rev().take(CONSTANTS_IN_REACH);
        let known = near.clone().find(|(_, other)| *other == bits).map(|(label, _)| *label);
        let label = known.unwrap_or_else(|| {
            let label = self.s.asm.label();
            self.b.constants.push((label, bits));
            label
        });
        at_label(label)
    }

    /// A vector constant.
    pub(crate) fn vector_constant(&mut self, bits: u128) -> Value {
        if bits == 0 {
            return self.s.constant(0, V128);
        }
        let dst = self.temp();
        vc!(self, movaps_a, dst, bits);
        Value::new(Loc::Reg(dst), V128)
    }

    pub(crate) fn push_vector_constant(&mut self, bits: u128) {
        if bits == 0 {
            let zero = self.s.constant(0, V128);
            return self.s.push(zero);
        }
        let dst = self.result_reg(V128, &[]);
        vc!(self, movaps_a, dst, bits);
        self.push_result(dst, V128);
    }

    /// A vector register, held until `free`.
    pub(crate) fn temp(&mut self) -> Reg {
        self.s.alloc(Bank::Vector)
    }

    pub(crate) fn free(&mut self, reg: Reg) {
        self.s.unhold(reg);
    }

    pub(crate) fn copy_vector(&mut self, dst: Reg, src: Reg) {
        self.s.move_reg(dst, src, V128);
    }

    /// The register for what a single instruction, the next one, computes from `values`.
    pub(crate) fn result_over<const N: usize>(&mut self, values: [Value; N]) -> Reg {
        // A copy of the local that is about to change must not land where a value was.
        let target = self.target_reg(V128).map(|_| self.begin_target());
        for value in values {
            self.s.release(value);
        }
        target.unwrap_or_else(|| self.temp())
    }

    /// Pops two operands and gives them to an instruction; returns where its result is.
    pub(crate) fn two_operands(
        &mut self,
        order: Order,
        sse: impl FnOnce(&mut Asm, u8, u8),
        avx: impl FnOnce(&mut Asm, u8, u8, Xm),
    ) -> Reg {
        let (mut b, mut a) = (self.s.pop(), self.s.pop());
        if order == Order::Swapped {
            (a, b) = (b, a);
        }
        if self.features.avx {
            let in_memory = |tier: &Self, x: &Value| {
                matches!(tier.physical(x.loc()), Loc::Frame(_) | Loc::Local(_))
            };
            if order == Order::Commutes && in_memory(self, &a) && !in_memory(self, &b) {
                (a, b) = (b, a);
            }
            let first = xmm(self.s.reg_of(&mut a));
            let second = self.s.xm_of(&mut b);
            let dst = self.result_over([a, b]);
            avx(&mut self.s.asm, xmm(dst), first, second);
            return dst;
        }
        if order == Order::Commutes && self.prefers_swap(&a, &b) {
            (a, b) = (b, a);
        }
        let src = self.s.reg_of(&mut b);
        let dst = self.modify(a, &[&b]);
        sse(&mut self.s.asm, xmm(dst), xmm(src));
        self.s.release(b);
        dst
    }

    /// Pops two operands: a register with the first that may be modified into the result, and the
    /// second, in a register that may be read.
    pub(crate) fn pop_for_result(&mut self, swap: bool) -> (Reg, Reg, Value) {
        let (mut b, mut a) = (self.s.pop(), self.s.pop());
        if swap {
            (a, b) = (b, a);
        }
        let src = self.s.reg_of(&mut b);
        let dst = self.modify(a, &[&b]);
        (dst, src, b)
    }

    /// Whether relaxed instructions may do what this processor does best.
    pub(crate) fn fast(&self) -> bool {
        !self.settings.relaxed_simd_deterministic
    }

    // ---- instructions ----

    /// Emits a vector instruction. The driver forwards no others.
    pub(crate) fn vector_op(&mut self, op: &Operator<'_>) {
        use Cond as C;
        use Lanes::{I8, I16, I32, I64};
        use Operator as O;
        use Repr::{F32, F64};
        // Many change the flags, and none reads them.
        self.s.clobber_flags();
        match *op {
            O::V128Const { value } => self.push_vector_constant(value.i128() as u128),
            O::I8x16Shuffle { lanes } => self.shuffle(lanes),
            O::I8x16Swizzle => self.swizzle(),

            // ---- lanes ----
            O::I8x16ExtractLaneS { lane } => self.extract_int(I8, lane, true),
            O::I8x16ExtractLaneU { lane } => self.extract_int(I8, lane, false),
            O::I16x8ExtractLaneS { lane } => self.extract_int(I16, lane, true),
            O::I16x8ExtractLaneU { lane } => self.extract_int(I16, lane, false),
            O::I32x4ExtractLane { lane } => self.extract_int(I32, lane, false),
            O::I64x2ExtractLane { lane } => self.extract_int(I64, lane, false),
            O::F32x4ExtractLane { lane } => self.extract_float(F32, lane),
            O::F64x2ExtractLane { lane } => self.extract_float(F64, lane),
            O::I8x16ReplaceLane { lane } => self.replace_top(I8, lane),
            O::I16x8ReplaceLane { lane } => self.replace_top(I16, lane),
            O::I32x4ReplaceLane { lane } | O::F32x4ReplaceLane { lane } => {
                self.replace_top(I32, lane);
            }
            O::I64x2ReplaceLane { lane } | O::F64x2ReplaceLane { lane } => {
                self.replace_top(I64, lane);
            }
            O::I8x16Splat => self.splat(I8),
            O::I16x8Splat => self.splat(I16),
            O::I32x4Splat | O::F32x4Splat => self.splat(I32),
            O::I64x2Splat | O::F64x2Splat => self.splat(I64),

            // ---- comparisons ----
            O::I8x16Eq => self.compare_lanes(I8, C::E),
            O::I8x16Ne => self.compare_lanes(I8, C::Ne),
            O::I8x16LtS => self.compare_lanes(I8, C::L),
            O::I8x16LtU => self.compare_lanes(I8, C::B),
            O::I8x16GtS => self.compare_lanes(I8, C::G),
            O::I8x16GtU => self.compare_lanes(I8, C::A),
            O::I8x16LeS => self.compare_lanes(I8, C::Le),
            O::I8x16LeU => self.compare_lanes(I8, C::Be),
            O::I8x16GeS => self.compare_lanes(I8, C::Ge),
            O::I8x16GeU => self.compare_lanes(I8, C::Ae),
            O::I16x8Eq => self.compare_lanes(I16, C::E),
            O::I16x8Ne => self.compare_lanes(I16, C::Ne),
            O::I16x8LtS => self.compare_lanes(I16, C::L),
            O::I16x8LtU => self.compare_lanes(I16, C::B),
            O::I16x8GtS => self.compare_lanes(I16, C::G),
            O::I16x8GtU => self.compare_lanes(I16, C::A),
            O::I16x8LeS => self.compare_lanes(I16, C::Le),
            O::I16x8LeU => self.compare_lanes(I16, C::Be),
            O::I16x8GeS => self.compare_lanes(I16, C::Ge),
            O::I16x8GeU => self.compare_lanes(I16, C::Ae),
            O::I32x4Eq => self.compare_lanes(I32, C::E),
            O::I32x4Ne => self.compare_lanes(I32, C::Ne),
            O::I32x4LtS => self.compare_lanes(I32, C::L),
            O::I32x4LtU => self.compare_lanes(I32, C::B),
            O::I32x4GtS => self.compare_lanes(I32, C::G),
            O::I32x4GtU => self.compare_lanes(I32, C::A),
            O::I32x4LeS => self.compare_lanes(I32, C::Le),
            O::I32x4LeU => self.compare_lanes(I32, C::Be),
            O::I32x4GeS => self.compare_lanes(I32, C::Ge),
            O::I32x4GeU => self.compare_lanes(I32, C::Ae),
            O::I64x2Eq => self.compare_lanes(I64, C::E),
            O::I64x2Ne => self.compare_lanes(I64, C::Ne),
            O::I64x2LtS => self.compare_lanes(I64, C::L),
            O::I64x2GtS => self.compare_lanes(I64, C::G),
            O::I64x2LeS => self.compare_lanes(I64, C::Le),
            O::I64x2GeS => self.compare_lanes(I64, C::Ge),
            O::F32x4Eq => self.compare_float_lanes(F32, C::E),
            O::F32x4Ne => self.compare_float_lanes(F32, C::Ne),
            O::F32x4Lt => self.compare_float_lanes(F32, C::B),
            O::F32x4Gt => self.compare_float_lanes(F32, C::A),
            O::F32x4Le => self.compare_float_lanes(F32, C::Be),
            O::F32x4Ge => self.compare_float_lanes(F32, C::Ae),
            O::F64x2Eq => self.compare_float_lanes(F64, C::E),
            O::F64x2Ne => self.compare_float_lanes(F64, C::Ne),
            O::F64x2Lt => self.compare_float_lanes(F64, C::B),
            O::F64x2Gt => self.compare_float_lanes(F64, C::A),
            O::F64x2Le => self.compare_float_lanes(F64, C::Be),
            O::F64x2Ge => self.compare_float_lanes(F64, C::Ae),

            // ---- bits ----
            O::V128Not => {
                let x = self.s.pop();
                let dst = self.modify(x, &[]);
                self.invert(dst);
                self.push_result(dst, V128);
            }
            O::V128And => binary!(self, Commutes, pand_a, vpand_b),
            // The instruction inverts what it modifies.
            O::V128AndNot => binary!(self, Swapped, pandn_a, vpandn_b),
            O::V128Or => binary!(self, Commutes, por_a, vpor_b),
            O::V128Xor => binary!(self, Commutes, pxor_a, vpxor_b),
            O::V128Bitselect => self.bitselect(None),
            O::I8x16RelaxedLaneselect => self.bitselect(Some(I8)),
            // There is no instruction that blends 16-bit lanes.
            O::I16x8RelaxedLaneselect => self.bitselect(None),
            O::I32x4RelaxedLaneselect => self.bitselect(Some(I32)),
            O::I64x2RelaxedLaneselect => self.bitselect(Some(I64)),
            O::V128AnyTrue => self.any_true(),
            O::I8x16AllTrue => self.all_true(I8),
            O::I16x8AllTrue => self.all_true(I16),
            O::I32x4AllTrue => self.all_true(I32),
            O::I64x2AllTrue => self.all_true(I64),
            O::I8x16Bitmask => self.bitmask(I8),
            O::I16x8Bitmask => self.bitmask(I16),
            O::I32x4Bitmask => self.bitmask(I32),
            O::I64x2Bitmask => self.bitmask(I64),

            // ---- integers ----
            O::I8x16Abs => self.absolute(I8),
            O::I16x8Abs => self.absolute(I16),
            O::I32x4Abs => self.absolute(I32),
            O::I64x2Abs => self.absolute(I64),
            O::I8x16Neg => self.negate(I8),
            O::I16x8Neg => self.negate(I16),
            O::I32x4Neg => self.negate(I32),
            O::I64x2Neg => self.negate(I64),
            O::I8x16Popcnt => self.count_ones_in_bytes(),
            O::I8x16NarrowI16x8S => binary!(self, Fixed, packsswb_a, vpacksswb_b),
            O::I8x16NarrowI16x8U => binary!(self, Fixed, packuswb_a, vpackuswb_b),
            O::I16x8NarrowI32x4S => binary!(self, Fixed, packssdw_a, vpackssdw_b),
            O::I16x8NarrowI32x4U => self.narrow_unsigned(),
            O::I8x16Shl => self.shift_bytes_left(),
            O::I16x8Shl => self.shift_left(I16),
            O::I32x4Shl => self.shift_left(I32),
            O::I64x2Shl => self.shift_left(I64),
            O::I8x16ShrS => self.shift_bytes_signed(),
            O::I16x8ShrS => self.shift_signed(I16),
            O::I32x4ShrS => self.shift_signed(I32),
            O::I64x2ShrS => self.shift_signed(I64),
            O::I8x16ShrU => self.shift_bytes_unsigned(),
            O::I16x8ShrU => self.shift_unsigned(I16),
            O::I32x4ShrU => self.shift_unsigned(I32),
            O::I64x2ShrU => self.shift_unsigned(I64),
            O::I8x16Add => binary!(self, Commutes, paddb_a, vpaddb_b),
            O::I16x8Add => binary!(self, Commutes, paddw_a, vpaddw_b),
            O::I32x4Add => binary!(self, Commutes, paddd_a, vpaddd_b),
            O::I64x2Add => binary!(self, Commutes, paddq_a, vpaddq_b),
            O::I8x16Sub => binary!(self, Fixed, psubb_a, vpsubb_b),
            O::I16x8Sub => binary!(self, Fixed, psubw_a, vpsubw_b),
            O::I32x4Sub => binary!(self, Fixed, psubd_a, vpsubd_b),
            O::I64x2Sub => binary!(self, Fixed, psubq_a, vpsubq_b),
            O::I16x8Mul => binary!(self, Commutes, pmullw_a, vpmullw_b),
            O::I32x4Mul => self.multiply_32(),
            O::I64x2Mul => self.multiply_64(),
            O::I8x16AddSatS => binary!(self, Commutes, paddsb_a, vpaddsb_b),
            O::I8x16AddSatU => binary!(self, Commutes, paddusb_a, vpaddusb_b),
            O::I16x8AddSatS => binary!(self, Commutes, paddsw_a, vpaddsw_b),
            O::I16x8AddSatU => binary!(self, Commutes, paddusw_a, vpaddusw_b),
            O::I8x16SubSatS => binary!(self, Fixed, psubsb_a, vpsubsb_b),
            O::I8x16SubSatU => binary!(self, Fixed, psubusb_a, vpsubusb_b),
            O::I16x8SubSatS => binary!(self, Fixed, psubsw_a, vpsubsw_b),
            O::I16x8SubSatU => binary!(self, Fixed, psubusw_a, vpsubusw_b),
            O::I8x16MinU => binary!(self, Commutes, pminub_a, vpminub_b),
            O::I8x16MaxU => binary!(self, Commutes, pmaxub_a, vpmaxub_b),
            O::I16x8MinS => binary!(self, Commutes, pminsw_a, vpminsw_b),
            O::I16x8MaxS => binary!(self, Commutes, pmaxsw_a, vpmaxsw_b),
            O::I8x16MinS if self.features.sse41 => binary!(self, Commutes, pminsb_a, vpminsb_b),
            O::I8x16MaxS if self.features.sse41 => binary!(self, Commutes, pmaxsb_a, vpmaxsb_b),
            O::I16x8MinU if self.features.sse41 => binary!(self, Commutes, pminuw_a, vpminuw_b),
            O::I16x8MaxU if self.features.sse41 => binary!(self, Commutes, pmaxuw_a, vpmaxuw_b),
            O::I32x4MinS if self.features.sse41 => binary!(self, Commutes, pminsd_a, vpminsd_b),
            O::I32x4MaxS if self.features.sse41 => binary!(self, Commutes, pmaxsd_a, vpmaxsd_b),
            O::I32x4MinU if self.features.sse41 => binary!(self, Commutes, pminud_a, vpminud_b),
            O::I32x4MaxU if self.features.sse41 => binary!(self, Commutes, pmaxud_a, vpmaxud_b),
            O::I8x16MinS => self.least_signed(I8),
            O::I8x16MaxS => self.greatest_signed(I8),
            O::I16x8MinU => self.least_words(),
            O::I16x8MaxU => self.greatest_words(),
            O::I32x4MinS => self.least_signed(I32),
            O::I32x4MaxS => self.greatest_signed(I32),
            O::I32x4MinU => self.least_unsigned_32(),
            O::I32x4MaxU => self.greatest_unsigned_32(),
            O::I8x16AvgrU => binary!(self, Commutes, pavgb_a, vpavgb_b),
            O::I16x8AvgrU => binary!(self, Commutes, pavgw_a, vpavgw_b),
            O::I16x8Q15MulrSatS => self.multiply_q15(),
            O::I16x8ExtendLowI8x16S => self.extend_lanes(I8, true, false),
            O::I16x8ExtendHighI8x16S => self.extend_lanes(I8, true, true),
            O::I16x8ExtendLowI8x16U => self.extend_lanes(I8, false, false),
            O::I16x8ExtendHighI8x16U => self.extend_lanes(I8, false, true),
            O::I32x4ExtendLowI16x8S => self.extend_lanes(I16, true, false),
            O::I32x4ExtendHighI16x8S => self.extend_lanes(I16, true, true),
            O::I32x4ExtendLowI16x8U => self.extend_lanes(I16, false, false),
            O::I32x4ExtendHighI16x8U => self.extend_lanes(I16, false, true),
            O::I64x2ExtendLowI32x4S => self.extend_lanes(I32, true, false),
            O::I64x2ExtendHighI32x4S => self.extend_lanes(I32, true, true),
            O::I64x2ExtendLowI32x4U => self.extend_lanes(I32, false, false),
            O::I64x2ExtendHighI32x4U => self.extend_lanes(I32, false, true),
            O::I16x8ExtMulLowI8x16S => self.multiply_bytes_wide(true, false),
            O::I16x8ExtMulHighI8x16S => self.multiply_bytes_wide(true, true),
            O::I16x8ExtMulLowI8x16U => self.multiply_bytes_wide(false, false),
            O::I16x8ExtMulHighI8x16U => self.multiply_bytes_wide(false, true),
            O::I32x4ExtMulLowI16x8S => self.multiply_words_wide(true, false),
            O::I32x4ExtMulHighI16x8S => self.multiply_words_wide(true, true),
            O::I32x4ExtMulLowI16x8U => self.multiply_words_wide(false, false),
            O::I32x4ExtMulHighI16x8U => self.multiply_words_wide(false, true),
            O::I64x2ExtMulLowI32x4S => self.multiply_32_wide(true, false),
            O::I64x2ExtMulHighI32x4S => self.multiply_32_wide(true, true),
            O::I64x2ExtMulLowI32x4U => self.multiply_32_wide(false, false),
            O::I64x2ExtMulHighI32x4U => self.multiply_32_wide(false, true),
            O::I16x8ExtAddPairwiseI8x16S => self.add_byte_pairs(true),
            O::I16x8ExtAddPairwiseI8x16U => self.add_byte_pairs(false),
            O::I32x4ExtAddPairwiseI16x8S => self.add_word_pairs(true),
            O::I32x4ExtAddPairwiseI16x8U => self.add_word_pairs(false),
            O::I32x4DotI16x8S => binary!(self, Commutes, pmaddwd_a, vpmaddwd_b),

            // ---- floats ----
            O::F32x4Abs => self.mask_signs(F32, true),
            O::F64x2Abs => self.mask_signs(F64, true),
            O::F32x4Neg => self.mask_signs(F32, false),
            O::F64x2Neg => self.mask_signs(F64, false),
            O::F32x4Sqrt => {
                let dst = unary_reg!(self, sqrtps_a);
                self.push_floats(dst, F32);
            }
            O::F64x2Sqrt => {
                let dst = unary_reg!(self, sqrtpd_a);
                self.push_floats(dst, F64);
            }
            O::F32x4Ceil => self.round_lanes(F32, Rounding::Ceil),
            O::F32x4Floor => self.round_lanes(F32, Rounding::Floor),
            O::F32x4Trunc => self.round_lanes(F32, Rounding::Trunc),
            O::F32x4Nearest => self.round_lanes(F32, Rounding::Nearest),
            O::F64x2Ceil => self.round_lanes(F64, Rounding::Ceil),
            O::F64x2Floor => self.round_lanes(F64, Rounding::Floor),
            O::F64x2Trunc => self.round_lanes(F64, Rounding::Trunc),
            O::F64x2Nearest => self.round_lanes(F64, Rounding::Nearest),
            O::F32x4Add => {
                let dst = binary_reg!(self, Commutes, addps_a, vaddps_b);
                self.push_floats(dst, F32);
            }
            O::F64x2Add => {
                let dst = binary_reg!(self, Commutes, addpd_a, vaddpd_b);
                self.push_floats(dst, F64);
            }
            O::F32x4Sub => {
                let dst = binary_reg!(self, Fixed, subps_a, vsubps_b);
                self.push_floats(dst, F32);
            }
            O::F64x2Sub => {
                let dst = binary_reg!(self, Fixed, subpd_a, vsubpd_b);
                self.push_floats(dst, F64);
            }
            O::F32x4Mul => {
                let dst = binary_reg!(self, Commutes, mulps_a, vmulps_b);
                self.push_floats(dst, F32);
            }
            O::F64x2Mul => {
                let dst = binary_reg!(self, Commutes, mulpd_a, vmulpd_b);
                self.push_floats(dst, F64);
            }
            O::F32x4Div => {
                let dst = binary_reg!(self, Fixed, divps_a, vdivps_b);
                self.push_floats(dst, F32);
            }
            O::F64x2Div => {
                let dst = binary_reg!(self, Fixed, divpd_a, vdivpd_b);
                self.push_floats(dst, F64);
            }
            O::F32x4PMin => self.pseudo_min(F32),
            O::F64x2PMin => self.pseudo_min(F64),
            O::F32x4PMax => self.pseudo_max(F32),
            O::F64x2PMax => self.pseudo_max(F64),
            // With a NaN or two zeros, relaxed minimum and maximum may give either operand.
            O::F32x4RelaxedMin if self.fast() => self.pseudo_min(F32),
            O::F64x2RelaxedMin if self.fast() => self.pseudo_min(F64),
            O::F32x4RelaxedMax if self.fast() => self.pseudo_max(F32),
            O::F64x2RelaxedMax if self.fast() => self.pseudo_max(F64),
            O::F32x4Min | O::F32x4RelaxedMin => self.least_float(F32),
            O::F64x2Min | O::F64x2RelaxedMin => self.least_float(F64),
            O::F32x4Max | O::F32x4RelaxedMax => self.greatest_float(F32),
            O::F64x2Max | O::F64x2RelaxedMax => self.greatest_float(F64),
            O::F32x4RelaxedMadd => self.multiply_add(F32, false),
            O::F32x4RelaxedNmadd => self.multiply_add(F32, true),
            O::F64x2RelaxedMadd => self.multiply_add(F64, false),
            O::F64x2RelaxedNmadd => self.multiply_add(F64, true),

            // ---- conversions ----
            // Relaxed and fast: what does not fit becomes the smallest integer.
            O::I32x4RelaxedTruncF32x4S if self.fast() => unary!(self, cvttps2dq_a),
            O::I32x4RelaxedTruncF64x2SZero if self.fast() => unary!(self, cvttpd2dq_a),
            O::I32x4TruncSatF32x4S | O::I32x4RelaxedTruncF32x4S => self.single_to_signed(),
            O::I32x4TruncSatF32x4U | O::I32x4RelaxedTruncF32x4U => self.single_to_unsigned(),
            O::I32x4TruncSatF64x2SZero | O::I32x4RelaxedTruncF64x2SZero => self.double_to_signed(),
            O::I32x4TruncSatF64x2UZero | O::I32x4RelaxedTruncF64x2UZero => {
                self.double_to_unsigned();
            }
            O::F32x4ConvertI32x4S => unary!(self, cvtdq2ps_a),
            O::F32x4ConvertI32x4U => self.unsigned_to_single(),
            O::F64x2ConvertLowI32x4S => unary!(self, cvtdq2pd_a),
            O::F64x2ConvertLowI32x4U => self.unsigned_to_double(),
            O::F32x4DemoteF64x2Zero => {
                let dst = unary_reg!(self, cvtpd2ps_a);
                self.push_floats(dst, F32);
            }
            O::F64x2PromoteLowF32x4 => {
                let dst = unary_reg!(self, cvtps2pd_a);
                self.push_floats(dst, F64);
            }

            // ---- other relaxed ones ----
            O::I8x16RelaxedSwizzle if self.fast() && self.features.ssse3 => {
                // Indices above 15 select zero or the lane of their low four bits.
                binary!(self, Fixed, pshufb_a, vpshufb_b);
            }
            O::I8x16RelaxedSwizzle => self.swizzle(),
            O::I16x8RelaxedQ15mulrS if self.fast() && self.features.ssse3 => {
                binary!(self, Commutes, pmulhrsw_a, vpmulhrsw_b);
            }
            O::I16x8RelaxedQ15mulrS => self.multiply_q15(),
            O::I16x8RelaxedDotI8x16I7x16S => self.relaxed_dot(),
            O::I32x4RelaxedDotI8x16I7x16AddS => self.relaxed_dot_add(),
            ref other => unreachable!("the driver forwards numeric instructions only: {other:?}"),
        }
    }
}

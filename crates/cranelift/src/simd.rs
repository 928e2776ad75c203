//! Vector instructions.
//!
//! Invariants:
//! - Every result is pushed as [`V128`]; every operand is cast to the lanes its instruction works on.
//! - With `relaxed_simd_deterministic` a relaxed instruction does the same on every processor; without,
//!   it does what the processor does fast, within the set that the specification allows.
//! - Nothing here makes Cranelift call a library: what the processor lacks goes lane by lane.

use crate::abi::{POINTER, V128};
use crate::emit::Tier;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Type, Value, types,
};
use types::{F32, F32X4, F64, F64X2, I8, I8X16, I16, I16X8, I32, I32X4, I64, I64X2};
use wardian_module::Rounding;
use wasmparser::Operator;

macro_rules! unary {
    ($tier:ident, $lanes:ident, $method:ident) => {{
        let x = $tier.pop_lanes($lanes);
        let value = $tier.b.ins().$method(x);
        $tier.push_vector(value);
    }};
    ($tier:ident, $lanes:ident, $method:ident, $to:ident) => {{
        let x = $tier.pop_lanes($lanes);
        let value = $tier.b.ins().$method($to, x);
        $tier.push_vector(value);
    }};
}

macro_rules! binary {
    ($tier:ident, $lanes:ident, $method:ident) => {{
        let (x, y) = $tier.pop_lanes2($lanes);
        let value = $tier.b.ins().$method(x, y);
        $tier.push_vector(value);
    }};
}

/// `$combine` of both operands after `$widen` of each.
macro_rules! widened {
    ($tier:ident, $lanes:ident, $widen:ident, $combine:ident) => {{
        let (x, y) = $tier.pop_lanes2($lanes);
        let x = $tier.b.ins().$widen(x);
        let y = $tier.b.ins().$widen(y);
        let value = $tier.b.ins().$combine(x, y);
        $tier.push_vector(value);
    }};
}

/// Pairwise sums of widened lanes.
macro_rules! pairwise {
    ($tier:ident, $lanes:ident, $low:ident, $high:ident) => {{
        let x = $tier.pop_lanes($lanes);
        let low = $tier.b.ins().$low(x);
        let high = $tier.b.ins().$high(x);
        let value = $tier.b.ins().iadd_pairwise(low, high);
        $tier.push_vector(value);
    }};
}

impl Tier<'_> {
    fn pop_lanes(&mut self, lanes: Type) -> Value {
        let x = self.pop1();
        self.as_lanes(lanes, x)
    }

    fn pop_lanes2(&mut self, lanes: Type) -> (Value, Value) {
        let y = self.pop_lanes(lanes);
        (self.pop_lanes(lanes), y)
    }

    fn push_vector(&mut self, value: Value) {
        let value = self.as_lanes(V128, value);
        self.push1(value);
    }

    /// Emits a vector instruction. The driver forwards no others.
    pub(crate) fn simd(&mut self, op: &Operator<'_>) {
        use FloatCC as F;
        use IntCC as I;
        use Operator as O;
        match *op {
            O::V128Const { value } => {
                let value = self.vector_const(value.i128() as u128);
                self.push1(value);
            }
            O::I8x16Shuffle { lanes } => self.shuffle(lanes),
            O::I8x16Swizzle => self.swizzle(),

            // ---- lanes ----
            O::I8x16ExtractLaneS { lane } => self.extract(I8X16, lane, Some(true)),
            O::I8x16ExtractLaneU { lane } => self.extract(I8X16, lane, Some(false)),
            O::I16x8ExtractLaneS { lane } => self.extract(I16X8, lane, Some(true)),
            O::I16x8ExtractLaneU { lane } => self.extract(I16X8, lane, Some(false)),
            O::I32x4ExtractLane { lane } => self.extract(I32X4, lane, None),
            O::I64x2ExtractLane { lane } => self.extract(I64X2, lane, None),
            O::F32x4ExtractLane { lane } => self.extract(F32X4, lane, None),
            O::F64x2ExtractLane { lane } => self.extract(F64X2, lane, None),
            O::I8x16ReplaceLane { lane } => self.replace(I8X16, lane),
            O::I16x8ReplaceLane { lane } => self.replace(I16X8, lane),
            O::I32x4ReplaceLane { lane } => self.replace(I32X4, lane),
            O::I64x2ReplaceLane { lane } => self.replace(I64X2, lane),
            O::F32x4ReplaceLane { lane } => self.replace(F32X4, lane),
            O::F64x2ReplaceLane { lane } => self.replace(F64X2, lane),
            O::I8x16Splat => self.splat(I8X16),
            O::I16x8Splat => self.splat(I16X8),
            O::I32x4Splat => self.splat(I32X4),
            O::I64x2Splat => self.splat(I64X2),
            O::F32x4Splat => self.splat(F32X4),
            O::F64x2Splat => self.splat(F64X2),

            // ---- comparisons ----
            O::I8x16Eq => self.compare_lanes(I8X16, I::Equal),
            O::I8x16Ne => self.compare_lanes(I8X16, I::NotEqual),
            O::I8x16LtS => self.compare_lanes(I8X16, I::SignedLessThan),
            O::I8x16LtU => self.compare_lanes(I8X16, I::UnsignedLessThan),
            O::I8x16GtS => self.compare_lanes(I8X16, I::SignedGreaterThan),
            O::I8x16GtU => self.compare_lanes(I8X16, I::UnsignedGreaterThan),
            O::I8x16LeS => self.compare_lanes(I8X16, I::SignedLessThanOrEqual),
            O::I8x16LeU => self.compare_lanes(I8X16, I::UnsignedLessThanOrEqual),
            O::I8x16GeS => self.compare_lanes(I8X16, I::SignedGreaterThanOrEqual),
            O::I8x16GeU => self.compare_lanes(I8X16, I::UnsignedGreaterThanOrEqual),
            O::I16x8Eq => self.compare_lanes(I16X8, I::Equal),
            O::I16x8Ne => self.compare_lanes(I16X8, I::NotEqual),
            O::I16x8LtS => self.compare_lanes(I16X8, I::SignedLessThan),
            O::I16x8LtU => self.compare_lanes(I16X8, I::UnsignedLessThan),
            O::I16x8GtS => self.compare_lanes(I16X8, I::SignedGreaterThan),
            O::I16x8GtU => self.compare_lanes(I16X8, I::UnsignedGreaterThan),
            O::I16x8LeS => self.compare_lanes(I16X8, I::SignedLessThanOrEqual),
            O::I16x8LeU => self.compare_lanes(I16X8, I::UnsignedLessThanOrEqual),
            O::I16x8GeS => self.compare_lanes(I16X8, I::SignedGreaterThanOrEqual),
            O::I16x8GeU => self.compare_lanes(I16X8, I::UnsignedGreaterThanOrEqual),
            O::I32x4Eq => self.compare_lanes(I32X4, I::Equal),
            O::I32x4Ne => self.compare_lanes(I32X4, I::NotEqual),
            O::I32x4LtS => self.compare_lanes(I32X4, I::SignedLessThan),
            O::I32x4LtU => self.compare_lanes(I32X4, I::UnsignedLessThan),
            O::I32x4GtS => self.compare_lanes(I32X4, I::SignedGreaterThan),
            O::I32x4GtU => self.compare_lanes(I32X4, I::UnsignedGreaterThan),
            O::I32x4LeS => self.compare_lanes(I32X4, I::SignedLessThanOrEqual),
            O::I32x4LeU => self.compare_lanes(I32X4, I::UnsignedLessThanOrEqual),
            O::I32x4GeS => self.compare_lanes(I32X4, I::SignedGreaterThanOrEqual),
            O::I32x4GeU => self.compare_lanes(I32X4, I::UnsignedGreaterThanOrEqual),
            O::I64x2Eq => self.compare_lanes(I64X2, I::Equal),
            O::I64x2Ne => self.compare_lanes(I64X2, I::NotEqual),
            O::I64x2LtS => self.compare_lanes(I64X2, I::SignedLessThan),
            O::I64x2GtS => self.compare_lanes(I64X2, I::SignedGreaterThan),
            O::I64x2LeS => self.compare_lanes(I64X2, I::SignedLessThanOrEqual),
            O::I64x2GeS => self.compare_lanes(I64X2, I::SignedGreaterThanOrEqual),
            O::F32x4Eq => self.compare_floats(F32X4, F::Equal),
            O::F32x4Ne => self.compare_floats(F32X4, F::NotEqual),
            O::F32x4Lt => self.compare_floats(F32X4, F::LessThan),
            O::F32x4Gt => self.compare_floats(F32X4, F::GreaterThan),
            O::F32x4Le => self.compare_floats(F32X4, F::LessThanOrEqual),
            O::F32x4Ge => self.compare_floats(F32X4, F::GreaterThanOrEqual),
            O::F64x2Eq => self.compare_floats(F64X2, F::Equal),
            O::F64x2Ne => self.compare_floats(F64X2, F::NotEqual),
            O::F64x2Lt => self.compare_floats(F64X2, F::LessThan),
            O::F64x2Gt => self.compare_floats(F64X2, F::GreaterThan),
            O::F64x2Le => self.compare_floats(F64X2, F::LessThanOrEqual),
            O::F64x2Ge => self.compare_floats(F64X2, F::GreaterThanOrEqual),

            // ---- bits ----
            O::V128Not => unary!(self, V128, bnot),
            O::V128And => binary!(self, V128, band),
            O::V128AndNot => binary!(self, V128, band_not),
            O::V128Or => binary!(self, V128, bor),
            O::V128Xor => binary!(self, V128, bxor),
            O::V128Bitselect
            | O::I8x16RelaxedLaneselect
            | O::I16x8RelaxedLaneselect
            | O::I32x4RelaxedLaneselect
            | O::I64x2RelaxedLaneselect => self.bitselect(op),
            O::V128AnyTrue => {
                let x = self.pop1();
                let value = self.b.ins().vany_true(x);
                self.push_flag(value);
            }
            O::I8x16AllTrue => self.all_true(I8X16),
            O::I16x8AllTrue => self.all_true(I16X8),
            O::I32x4AllTrue => self.all_true(I32X4),
            O::I64x2AllTrue => self.all_true(I64X2),
            O::I8x16Bitmask => self.bitmask(I8X16),
            O::I16x8Bitmask => self.bitmask(I16X8),
            O::I32x4Bitmask => self.bitmask(I32X4),
            O::I64x2Bitmask => self.bitmask(I64X2),

            // ---- integers ----
            O::I8x16Abs => unary!(self, I8X16, iabs),
            O::I16x8Abs => unary!(self, I16X8, iabs),
            O::I32x4Abs => unary!(self, I32X4, iabs),
            O::I64x2Abs => unary!(self, I64X2, iabs),
            O::I8x16Neg => unary!(self, I8X16, ineg),
            O::I16x8Neg => unary!(self, I16X8, ineg),
            O::I32x4Neg => unary!(self, I32X4, ineg),
            O::I64x2Neg => unary!(self, I64X2, ineg),
            O::I8x16Popcnt => self.popcnt(),
            O::I8x16NarrowI16x8S => binary!(self, I16X8, snarrow),
            O::I8x16NarrowI16x8U => binary!(self, I16X8, unarrow),
            O::I16x8NarrowI32x4S => binary!(self, I32X4, snarrow),
            O::I16x8NarrowI32x4U => binary!(self, I32X4, unarrow),
            // Cranelift takes shift amounts modulo the lane's width, as WebAssembly does.
            O::I8x16Shl => self.shift(I8X16, |b, x, n| b.ishl(x, n)),
            O::I16x8Shl => self.shift(I16X8, |b, x, n| b.ishl(x, n)),
            O::I32x4Shl => self.shift(I32X4, |b, x, n| b.ishl(x, n)),
            O::I64x2Shl => self.shift(I64X2, |b, x, n| b.ishl(x, n)),
            O::I8x16ShrS => self.shift(I8X16, |b, x, n| b.sshr(x, n)),
            O::I16x8ShrS => self.shift(I16X8, |b, x, n| b.sshr(x, n)),
            O::I32x4ShrS => self.shift(I32X4, |b, x, n| b.sshr(x, n)),
            O::I64x2ShrS => self.shift(I64X2, |b, x, n| b.sshr(x, n)),
            O::I8x16ShrU => self.shift(I8X16, |b, x, n| b.ushr(x, n)),
            O::I16x8ShrU => self.shift(I16X8, |b, x, n| b.ushr(x, n)),
            O::I32x4ShrU => self.shift(I32X4, |b, x, n| b.ushr(x, n)),
            O::I64x2ShrU => self.shift(I64X2, |b, x, n| b.ushr(x, n)),
            O::I8x16Add => binary!(self, I8X16, iadd),
            O::I16x8Add => binary!(self, I16X8, iadd),
            O::I32x4Add => binary!(self, I32X4, iadd),
            O::I64x2Add => binary!(self, I64X2, iadd),
            O::I8x16Sub => binary!(self, I8X16, isub),
            O::I16x8Sub => binary!(self, I16X8, isub),
            O::I32x4Sub => binary!(self, I32X4, isub),
            O::I64x2Sub => binary!(self, I64X2, isub),
            O::I16x8Mul => binary!(self, I16X8, imul),
            O::I32x4Mul => binary!(self, I32X4, imul),
            O::I64x2Mul => binary!(self, I64X2, imul),
            O::I8x16AddSatS => binary!(self, I8X16, sadd_sat),
            O::I8x16AddSatU => binary!(self, I8X16, uadd_sat),
            O::I16x8AddSatS => binary!(self, I16X8, sadd_sat),
            O::I16x8AddSatU => binary!(self, I16X8, uadd_sat),
            O::I8x16SubSatS => binary!(self, I8X16, ssub_sat),
            O::I8x16SubSatU => binary!(self, I8X16, usub_sat),
            O::I16x8SubSatS => binary!(self, I16X8, ssub_sat),
            O::I16x8SubSatU => binary!(self, I16X8, usub_sat),
            O::I8x16MinS => binary!(self, I8X16, smin),
            O::I8x16MinU => binary!(self, I8X16, umin),
            O::I8x16MaxS => binary!(self, I8X16, smax),
            O::I8x16MaxU => binary!(self, I8X16, umax),
            O::I16x8MinS => binary!(self, I16X8, smin),
            O::I16x8MinU => binary!(self, I16X8, umin),
            O::I16x8MaxS => binary!(self, I16X8, smax),
            O::I16x8MaxU => binary!(self, I16X8, umax),
            O::I32x4MinS => binary!(self, I32X4, smin),
            O::I32x4MinU => binary!(self, I32X4, umin),
            O::I32x4MaxS => binary!(self, I32X4, smax),
            O::I32x4MaxU => binary!(self, I32X4, umax),
            O::I8x16AvgrU => binary!(self, I8X16, avg_round),
            O::I16x8AvgrU => binary!(self, I16X8, avg_round),
            O::I16x8Q15MulrSatS => binary!(self, I16X8, sqmul_round_sat),
            O::I16x8ExtendLowI8x16S => unary!(self, I8X16, swiden_low),
            O::I16x8ExtendHighI8x16S => unary!(self, I8X16, swiden_high),
            O::I16x8ExtendLowI8x16U => unary!(self, I8X16, uwiden_low),
            O::I16x8ExtendHighI8x16U => unary!(self, I8X16, uwiden_high),
            O::I32x4ExtendLowI16x8S => unary!(self, I16X8, swiden_low),
            O::I32x4ExtendHighI16x8S => unary!(self, I16X8, swiden_high),
            O::I32x4ExtendLowI16x8U => unary!(self, I16X8, uwiden_low),
            O::I32x4ExtendHighI16x8U => unary!(self, I16X8, uwiden_high),
            O::I64x2ExtendLowI32x4S => unary!(self, I32X4, swiden_low),
            O::I64x2ExtendHighI32x4S => unary!(self, I32X4, swiden_high),
            O::I64x2ExtendLowI32x4U => unary!(self, I32X4, uwiden_low),
            O::I64x2ExtendHighI32x4U => unary!(self, I32X4, uwiden_high),
            O::I16x8ExtMulLowI8x16S => widened!(self, I8X16, swiden_low, imul),
            O::I16x8ExtMulHighI8x16S => widened!(self, I8X16, swiden_high, imul),
            O::I16x8ExtMulLowI8x16U => widened!(self, I8X16, uwiden_low, imul),
            O::I16x8ExtMulHighI8x16U => widened!(self, I8X16, uwiden_high, imul),
            O::I32x4ExtMulLowI16x8S => widened!(self, I16X8, swiden_low, imul),
            O::I32x4ExtMulHighI16x8S => widened!(self, I16X8, swiden_high, imul),
            O::I32x4ExtMulLowI16x8U => widened!(self, I16X8, uwiden_low, imul),
            O::I32x4ExtMulHighI16x8U => widened!(self, I16X8, uwiden_high, imul),
            O::I64x2ExtMulLowI32x4S => widened!(self, I32X4, swiden_low, imul),
            O::I64x2ExtMulHighI32x4S => widened!(self, I32X4, swiden_high, imul),
            O::I64x2ExtMulLowI32x4U => widened!(self, I32X4, uwiden_low, imul),
            O::I64x2ExtMulHighI32x4U => widened!(self, I32X4, uwiden_high, imul),
            O::I16x8ExtAddPairwiseI8x16S => pairwise!(self, I8X16, swiden_low, swiden_high),
            O::I16x8ExtAddPairwiseI8x16U => pairwise!(self, I8X16, uwiden_low, uwiden_high),
            O::I32x4ExtAddPairwiseI16x8S => pairwise!(self, I16X8, swiden_low, swiden_high),
            O::I32x4ExtAddPairwiseI16x8U => pairwise!(self, I16X8, uwiden_low, uwiden_high),
            O::I32x4DotI16x8S => {
                let (x, y) = self.pop_lanes2(I16X8);
                let value = self.dot(x, y);
                self.push_vector(value);
            }

            // ---- floats ----
            O::F32x4Abs => unary!(self, F32X4, fabs),
            O::F64x2Abs => unary!(self, F64X2, fabs),
            O::F32x4Neg => unary!(self, F32X4, fneg),
            O::F64x2Neg => unary!(self, F64X2, fneg),
            O::F32x4Sqrt => unary!(self, F32X4, sqrt),
            O::F64x2Sqrt => unary!(self, F64X2, sqrt),
            O::F32x4Ceil => self.round_lanes(F32X4, Rounding::Ceil),
            O::F32x4Floor => self.round_lanes(F32X4, Rounding::Floor),
            O::F32x4Trunc => self.round_lanes(F32X4, Rounding::Trunc),
            O::F32x4Nearest => self.round_lanes(F32X4, Rounding::Nearest),
            O::F64x2Ceil => self.round_lanes(F64X2, Rounding::Ceil),
            O::F64x2Floor => self.round_lanes(F64X2, Rounding::Floor),
            O::F64x2Trunc => self.round_lanes(F64X2, Rounding::Trunc),
            O::F64x2Nearest => self.round_lanes(F64X2, Rounding::Nearest),
            O::F32x4Add => binary!(self, F32X4, fadd),
            O::F64x2Add => binary!(self, F64X2, fadd),
            O::F32x4Sub => binary!(self, F32X4, fsub),
            O::F64x2Sub => binary!(self, F64X2, fsub),
            O::F32x4Mul => binary!(self, F32X4, fmul),
            O::F64x2Mul => binary!(self, F64X2, fmul),
            O::F32x4Div => binary!(self, F32X4, fdiv),
            O::F64x2Div => binary!(self, F64X2, fdiv),
            O::F32x4Min => binary!(self, F32X4, fmin),
            O::F64x2Min => binary!(self, F64X2, fmin),
            O::F32x4Max => binary!(self, F32X4, fmax),
            O::F64x2Max => binary!(self, F64X2, fmax),
            O::F32x4PMin => self.pseudo_min(F32X4),
            O::F64x2PMin => self.pseudo_min(F64X2),
            O::F32x4PMax => self.pseudo_max(F32X4),
            O::F64x2PMax => self.pseudo_max(F64X2),

            // ---- conversions ----
            O::I32x4TruncSatF32x4S => unary!(self, F32X4, fcvt_to_sint_sat, I32X4),
            O::I32x4TruncSatF32x4U => unary!(self, F32X4, fcvt_to_uint_sat, I32X4),
            O::F32x4ConvertI32x4S => unary!(self, I32X4, fcvt_from_sint, F32X4),
            O::F32x4ConvertI32x4U => unary!(self, I32X4, fcvt_from_uint, F32X4),
            O::I32x4RelaxedTruncF64x2SZero if self.fast() && self.features.x86 => {
                // What does not fit becomes the smallest integer.
                let x = self.pop_lanes(F64X2);
                let wide = self.b.ins().x86_cvtt2dq(I64X2, x);
                let zero = self.zero_lanes(I64X2);
                let value = self.b.ins().snarrow(wide, zero);
                self.push_vector(value);
            }
            O::I32x4TruncSatF64x2SZero | O::I32x4RelaxedTruncF64x2SZero => {
                let x = self.pop_lanes(F64X2);
                let wide = self.b.ins().fcvt_to_sint_sat(I64X2, x);
                let zero = self.zero_lanes(I64X2);
                let value = self.b.ins().snarrow(wide, zero);
                self.push_vector(value);
            }
            O::I32x4TruncSatF64x2UZero | O::I32x4RelaxedTruncF64x2UZero
                if self.lacks(self.features.sse41) =>
            {
                let x = self.pop_lanes(F64X2);
                let mut value = self.zero_lanes(I32X4);
                for lane in 0..2u8 {
                    let scalar = self.b.ins().extractlane(x, lane);
                    let scalar = self.b.ins().fcvt_to_uint_sat(I32, scalar);
                    value = self.b.ins().insertlane(value, scalar, lane);
                }
                self.push_vector(value);
            }
            O::I32x4TruncSatF64x2UZero | O::I32x4RelaxedTruncF64x2UZero => {
                let x = self.pop_lanes(F64X2);
                let wide = self.b.ins().fcvt_to_uint_sat(I64X2, x);
                let zero = self.zero_lanes(I64X2);
                let value = self.b.ins().uunarrow(wide, zero);
                self.push_vector(value);
            }
            O::F64x2ConvertLowI32x4S => {
                let x = self.pop_lanes(I32X4);
                let wide = self.b.ins().swiden_low(x);
                let value = self.b.ins().fcvt_from_sint(F64X2, wide);
                self.push_vector(value);
            }
            O::F64x2ConvertLowI32x4U => {
                let x = self.pop_lanes(I32X4);
                let wide = self.b.ins().uwiden_low(x);
                let value = self.b.ins().fcvt_from_uint(F64X2, wide);
                self.push_vector(value);
            }
            O::F32x4DemoteF64x2Zero => unary!(self, F64X2, fvdemote),
            O::F64x2PromoteLowF32x4 => unary!(self, F32X4, fvpromote_low),

            // ---- relaxed ----
            O::I8x16RelaxedSwizzle if self.fast() && self.features.ssse3 => {
                // Indices above 15 select zero or the lane of their low four bits.
                binary!(self, I8X16, x86_pshufb);
            }
            O::I8x16RelaxedSwizzle => self.swizzle(),
            O::I32x4RelaxedTruncF32x4S if self.fast() && self.features.x86 => {
                // What does not fit becomes the smallest integer.
                unary!(self, F32X4, x86_cvtt2dq, I32X4);
            }
            O::I32x4RelaxedTruncF32x4S => unary!(self, F32X4, fcvt_to_sint_sat, I32X4),
            O::I32x4RelaxedTruncF32x4U => unary!(self, F32X4, fcvt_to_uint_sat, I32X4),
            O::F32x4RelaxedMadd => self.madd(F32X4, false),
            O::F32x4RelaxedNmadd => self.madd(F32X4, true),
            O::F64x2RelaxedMadd => self.madd(F64X2, false),
            O::F64x2RelaxedNmadd => self.madd(F64X2, true),
            // With a NaN or two zeros, relaxed minimum and maximum may give either operand.
            O::F32x4RelaxedMin if self.fast() => self.pseudo_min(F32X4),
            O::F32x4RelaxedMin => binary!(self, F32X4, fmin),
            O::F64x2RelaxedMin if self.fast() => self.pseudo_min(F64X2),
            O::F64x2RelaxedMin => binary!(self, F64X2, fmin),
            O::F32x4RelaxedMax if self.fast() => self.pseudo_max(F32X4),
            O::F32x4RelaxedMax => binary!(self, F32X4, fmax),
            O::F64x2RelaxedMax if self.fast() => self.pseudo_max(F64X2),
            O::F64x2RelaxedMax => binary!(self, F64X2, fmax),
            O::I16x8RelaxedQ15mulrS if self.fast() && self.features.ssse3 => {
                binary!(self, I16X8, x86_pmulhrsw);
            }
            O::I16x8RelaxedQ15mulrS => binary!(self, I16X8, sqmul_round_sat),
            O::I16x8RelaxedDotI8x16I7x16S => {
                let (x, y) = self.pop_lanes2(I8X16);
                let value = self.relaxed_dot(x, y);
                self.push_vector(value);
            }
            O::I32x4RelaxedDotI8x16I7x16AddS => {
                let sum = self.pop_lanes(I32X4);
                let (x, y) = self.pop_lanes2(I8X16);
                let products = self.relaxed_dot(x, y);
                let low = self.b.ins().swiden_low(products);
                let high = self.b.ins().swiden_high(products);
                let value = self.b.ins().iadd_pairwise(low, high);
                let value = self.b.ins().iadd(value, sum);
                self.push_vector(value);
            }
            ref other => unreachable!("the driver forwards numeric instructions only: {other:?}"),
        }
    }

    /// Zero in this type itself: Cranelift knows some instructions only together with it.
    fn zero_lanes(&mut self, lanes: Type) -> Value {
        let constant = self.b.func.dfg.constants.insert([0; 16].as_slice().into());
        self.b.ins().vconst(lanes, constant)
    }

    /// Whether relaxed instructions may do what this processor does best.
    fn fast(&self) -> bool {
        !self.settings.relaxed_simd_deterministic
    }

    /// The processor is x86 without `feature`.
    fn lacks(&self, feature: bool) -> bool {
        self.features.x86 && !feature
    }

    fn extract(&mut self, lanes: Type, lane: u8, extend: Option<bool>) {
        let x = self.pop_lanes(lanes);
        let value = self.b.ins().extractlane(x, lane);
        let value = match extend {
            Some(true) => self.b.ins().sextend(I32, value),
            Some(false) => self.b.ins().uextend(I32, value),
            None => value,
        };
        self.push1(value);
    }

    /// A scalar operand as one of the lanes.
    fn pop_scalar(&mut self, lanes: Type) -> Value {
        let scalar = self.pop1();
        match lanes.lane_type() {
            ty @ (I8 | I16) => self.b.ins().ireduce(ty, scalar),
            _ => scalar,
        }
    }

    fn replace(&mut self, lanes: Type, lane: u8) {
        let scalar = self.pop_scalar(lanes);
        let x = self.pop_lanes(lanes);
        let value = self.b.ins().insertlane(x, scalar, lane);
        self.push_vector(value);
    }

    fn splat(&mut self, lanes: Type) {
        let scalar = self.pop_scalar(lanes);
        let value = self.b.ins().splat(lanes, scalar);
        self.push_vector(value);
    }

    fn compare_lanes(&mut self, lanes: Type, condition: IntCC) {
        let (x, y) = self.pop_lanes2(lanes);
        let value = self.b.ins().icmp(condition, x, y);
        self.push_vector(value);
    }

    fn compare_floats(&mut self, lanes: Type, condition: FloatCC) {
        let (x, y) = self.pop_lanes2(lanes);
        let value = self.b.ins().fcmp(condition, x, y);
        self.push_vector(value);
    }

    fn bitselect(&mut self, op: &Operator<'_>) {
        let lanes = match op {
            Operator::I8x16RelaxedLaneselect => Some(I8X16),
            Operator::I32x4RelaxedLaneselect => Some(I32X4),
            Operator::I64x2RelaxedLaneselect => Some(I64X2),
            _ => None,
        };
        let (x, y, mask) = self.pop3();
        match lanes {
            // A lane is selected by the top bit of its mask.
            Some(lanes) if self.fast() && self.features.sse41 => {
                let [mask, x, y] = [mask, x, y].map(|v| self.as_lanes(lanes, v));
                let value = self.b.ins().blendv(mask, x, y);
                self.push_vector(value);
            }
            _ => {
                let value = self.b.ins().bitselect(mask, x, y);
                self.push1(value);
            }
        }
    }

    fn all_true(&mut self, lanes: Type) {
        let x = self.pop_lanes(lanes);
        let value = self.b.ins().vall_true(x);
        self.push_flag(value);
    }

    fn bitmask(&mut self, lanes: Type) {
        let x = self.pop_lanes(lanes);
        let value = self.b.ins().vhigh_bits(I32, x);
        self.push1(value);
    }

    fn shift(
        &mut self,
        lanes: Type,
        shift: impl FnOnce(cranelift_frontend::FuncInstBuilder<'_, '_>, Value, Value) -> Value,
    ) {
        let amount = self.pop1();
        let x = self.pop_lanes(lanes);
        let value = shift(self.b.ins(), x, amount);
        self.push_vector(value);
    }

    /// Sums of products of neighbours: `i32x4.dot_i16x8_s`.
    fn dot(&mut self, x: Value, y: Value) -> Value {
        let (x_low, y_low) = (self.b.ins().swiden_low(x), self.b.ins().swiden_low(y));
        let low = self.b.ins().imul(x_low, y_low);
        let (x_high, y_high) = (self.b.ins().swiden_high(x), self.b.ins().swiden_high(y));
        let high = self.b.ins().imul(x_high, y_high);
        self.b.ins().iadd_pairwise(low, high)
    }

    fn relaxed_dot(&mut self, x: Value, y: Value) -> Value {
        if self.fast() && self.features.ssse3 {
            // The second operand, meant to have 7 bits, is taken as unsigned; sums saturate.
            self.b.ins().x86_pmaddubsw(x, y)
        } else {
            self.dot(x, y)
        }
    }

    fn pseudo_min(&mut self, lanes: Type) {
        let (x, y) = self.pop_lanes2(lanes);
        // spec (fpmin): y < x ? y : x
        self.select_lanes(lanes, [y, x], y, x);
    }

    fn pseudo_max(&mut self, lanes: Type) {
        let (x, y) = self.pop_lanes2(lanes);
        // spec (fpmax): x < y ? y : x
        self.select_lanes(lanes, [x, y], y, x);
    }

    /// Pushes `less[0] < less[1] ? a : b`, lane by lane.
    fn select_lanes(&mut self, lanes: Type, less: [Value; 2], a: Value, b: Value) {
        let mask = self.b.ins().fcmp(FloatCC::LessThan, less[0], less[1]);
        let mask = self.as_lanes(lanes, mask);
        let value = self.b.ins().bitselect(mask, a, b);
        self.push_vector(value);
    }

    /// `f` on each lane of some vectors.
    fn lane_by_lane<const N: usize>(
        &mut self,
        lanes: Type,
        vectors: [Value; N],
        mut f: impl FnMut(&mut Self, [Value; N]) -> Value,
    ) -> Value {
        let mut result = vectors[0];
        for lane in 0..lanes.lane_count() as u8 {
            let scalars = vectors.map(|v| self.b.ins().extractlane(v, lane));
            let scalar = f(self, scalars);
            result = self.b.ins().insertlane(result, scalar, lane);
        }
        result
    }

    fn round_lanes(&mut self, lanes: Type, rounding: Rounding) {
        let x = self.pop_lanes(lanes);
        let value = if self.lacks(self.features.sse41) {
            self.lane_by_lane(lanes, [x], |tier, [x]| tier.round(rounding, x))
        } else {
            self.round_native(rounding, x)
        };
        self.push_vector(value);
    }

    /// `x * y + z`, or `z - x * y` if `negated`. Deterministic means fused.
    fn madd(&mut self, lanes: Type, negated: bool) {
        let z = self.pop_lanes(lanes);
        let (x, y) = self.pop_lanes2(lanes);
        let x = if negated { self.b.ins().fneg(x) } else { x };
        let value = if !self.lacks(self.features.fma) {
            self.b.ins().fma(x, y, z)
        } else if self.fast() {
            let product = self.b.ins().fmul(x, y);
            self.b.ins().fadd(product, z)
        } else {
            debug_assert!(matches!(lanes.lane_type(), F32 | F64));
            self.lane_by_lane(lanes, [x, y, z], |tier, [x, y, z]| tier.fma(x, y, z))
        };
        self.push_vector(value);
    }

    fn shuffle(&mut self, lanes: [u8; 16]) {
        let (x, y) = self.pop2();
        let value = if self.lacks(self.features.ssse3) {
            let mut result = x;
            for (position, &lane) in lanes.iter().enumerate() {
                let source = if lane < 16 { x } else { y };
                let scalar = self.b.ins().extractlane(source, lane % 16);
                result = self.b.ins().insertlane(result, scalar, position as u8);
            }
            result
        } else {
            let mask = self.b.func.dfg.immediates.push(lanes.as_slice().into());
            self.b.ins().shuffle(x, y, mask)
        };
        self.push1(value);
    }

    fn swizzle(&mut self) {
        let (x, indices) = self.pop2();
        let value = if self.lacks(self.features.ssse3) {
            // Through memory: the lane of each index's low four bits, or zero if the index is larger.
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4);
            let slot = self.b.create_sized_stack_slot(data);
            let base = self.b.ins().stack_addr(POINTER, slot, 0);
            let flags = MemFlagsData::new().with_notrap();
            self.b.ins().store(flags, x, base, 0);
            let zero = self.b.ins().iconst(I8, 0);
            self.lane_by_lane(I8X16, [indices], |tier, [index]| {
                let low = tier.b.ins().band_imm_u(index, 15);
                let low = tier.b.ins().uextend(I64, low);
                let address = tier.b.ins().iadd(base, low);
                let lane = tier.b.ins().load(I8, flags, address, 0);
                let inside = tier.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, index, 16);
                tier.b.ins().select(inside, lane, zero)
            })
        } else {
            self.b.ins().swizzle(x, indices)
        };
        self.push1(value);
    }

    fn popcnt(&mut self) {
        if self.lacks(self.features.ssse3) {
            let x = self.pop1();
            let value = self.lane_by_lane(I8X16, [x], |tier, [lane]| tier.b.ins().popcnt(lane));
            self.push1(value);
        } else {
            unary!(self, I8X16, popcnt);
        }
    }
}

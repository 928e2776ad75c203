//! Scalar instructions.
//!
//! Invariant: without signals no instruction here faults: the lowering has checked divisors and ranges,
//! and conversions take the form that cannot trap.

use crate::emit::Tier;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::FunctionBuilder;
use smallvec::SmallVec;
use wardian_lower::Emit;
use wardian_module::{Builtin, Rounding};
use wasmparser::Operator;

/// `$method` on the top operand.
macro_rules! unary {
    ($tier:ident, $method:ident) => {{
        let x = $tier.pop1();
        let value = $tier.b.ins().$method(x);
        $tier.push1(value);
    }};
    ($tier:ident, $method:ident, $ty:expr) => {{
        let x = $tier.pop1();
        let value = $tier.b.ins().$method($ty, x);
        $tier.push1(value);
    }};
}

/// `$method` on the two top operands.
macro_rules! binary {
    ($tier:ident, $method:ident) => {{
        let (x, y) = $tier.pop2();
        let value = $tier.b.ins().$method(x, y);
        $tier.push1(value);
    }};
}

impl Tier<'_> {
    /// Emits a scalar instruction; `false` if it is none.
    pub(crate) fn scalar(&mut self, op: &Operator<'_>) -> bool {
        use FloatCC as F;
        use IntCC as I;
        use Operator as O;
        use types::{F32, F64, I8, I16, I32, I64};
        match *op {
            O::I32Const { value } => {
                let value = self.b.ins().iconst(I32, i64::from(value as u32));
                self.push1(value);
            }
            O::I64Const { value } => {
                let value = self.b.ins().iconst(I64, value);
                self.push1(value);
            }
            O::F32Const { value } => {
                let value = self.b.ins().f32const(Ieee32::with_bits(value.bits()));
                self.push1(value);
            }
            O::F64Const { value } => {
                let value = self.b.ins().f64const(Ieee64::with_bits(value.bits()));
                self.push1(value);
            }

            O::I32Eqz | O::I64Eqz => {
                let x = self.pop1();
                let value = self.b.ins().icmp_imm_u(I::Equal, x, 0);
                self.push_flag(value);
            }
            O::I32Eq | O::I64Eq => self.icmp(I::Equal),
            O::I32Ne | O::I64Ne => self.icmp(I::NotEqual),
            O::I32LtS | O::I64LtS => self.icmp(I::SignedLessThan),
            O::I32LtU | O::I64LtU => self.icmp(I::UnsignedLessThan),
            O::I32GtS | O::I64GtS => self.icmp(I::SignedGreaterThan),
            O::I32GtU | O::I64GtU => self.icmp(I::UnsignedGreaterThan),
            O::I32LeS | O::I64LeS => self.icmp(I::SignedLessThanOrEqual),
            O::I32LeU | O::I64LeU => self.icmp(I::UnsignedLessThanOrEqual),
            O::I32GeS | O::I64GeS => self.icmp(I::SignedGreaterThanOrEqual),
            O::I32GeU | O::I64GeU => self.icmp(I::UnsignedGreaterThanOrEqual),
            O::F32Eq | O::F64Eq => self.fcmp(F::Equal),
            O::F32Ne | O::F64Ne => self.fcmp(F::NotEqual),
            O::F32Lt | O::F64Lt => self.fcmp(F::LessThan),
            O::F32Gt | O::F64Gt => self.fcmp(F::GreaterThan),
            O::F32Le | O::F64Le => self.fcmp(F::LessThanOrEqual),
            O::F32Ge | O::F64Ge => self.fcmp(F::GreaterThanOrEqual),

            O::I32Clz | O::I64Clz => unary!(self, clz),
            O::I32Ctz | O::I64Ctz => unary!(self, ctz),
            O::I32Popcnt | O::I64Popcnt => unary!(self, popcnt),
            O::I32Add | O::I64Add => binary!(self, iadd),
            O::I32Sub | O::I64Sub => binary!(self, isub),
            O::I32Mul | O::I64Mul => binary!(self, imul),
            O::I32DivS | O::I64DivS => binary!(self, sdiv),
            O::I32DivU | O::I64DivU => binary!(self, udiv),
            O::I32RemS | O::I64RemS => binary!(self, srem),
            O::I32RemU | O::I64RemU => binary!(self, urem),
            O::I32And | O::I64And => binary!(self, band),
            O::I32Or | O::I64Or => binary!(self, bor),
            O::I32Xor | O::I64Xor => binary!(self, bxor),
            // Cranelift takes shift amounts modulo the width, as WebAssembly does.
            O::I32Shl | O::I64Shl => binary!(self, ishl),
            O::I32ShrS | O::I64ShrS => binary!(self, sshr),
            O::I32ShrU | O::I64ShrU => binary!(self, ushr),
            O::I32Rotl | O::I64Rotl => binary!(self, rotl),
            O::I32Rotr | O::I64Rotr => binary!(self, rotr),

            O::F32Abs | O::F64Abs => unary!(self, fabs),
            O::F32Neg | O::F64Neg => unary!(self, fneg),
            O::F32Sqrt | O::F64Sqrt => unary!(self, sqrt),
            O::F32Ceil | O::F64Ceil => self.round_top(Rounding::Ceil),
            O::F32Floor | O::F64Floor => self.round_top(Rounding::Floor),
            O::F32Trunc | O::F64Trunc => self.round_top(Rounding::Trunc),
            O::F32Nearest | O::F64Nearest => self.round_top(Rounding::Nearest),
            O::F32Add | O::F64Add => binary!(self, fadd),
            O::F32Sub | O::F64Sub => binary!(self, fsub),
            O::F32Mul | O::F64Mul => binary!(self, fmul),
            O::F32Div | O::F64Div => binary!(self, fdiv),
            O::F32Min | O::F64Min => binary!(self, fmin),
            O::F32Max | O::F64Max => binary!(self, fmax),
            O::F32Copysign | O::F64Copysign => binary!(self, fcopysign),

            O::I32WrapI64 => unary!(self, ireduce, I32),
            O::I64ExtendI32S => unary!(self, sextend, I64),
            O::I64ExtendI32U => unary!(self, uextend, I64),
            O::I32TruncF32S | O::I32TruncF64S => self.convert_to_int(I32, true),
            O::I32TruncF32U | O::I32TruncF64U => self.convert_to_int(I32, false),
            O::I64TruncF32S | O::I64TruncF64S => self.convert_to_int(I64, true),
            O::I64TruncF32U | O::I64TruncF64U => self.convert_to_int(I64, false),
            O::I32TruncSatF32S | O::I32TruncSatF64S => unary!(self, fcvt_to_sint_sat, I32),
            O::I32TruncSatF32U | O::I32TruncSatF64U => unary!(self, fcvt_to_uint_sat, I32),
            O::I64TruncSatF32S | O::I64TruncSatF64S => unary!(self, fcvt_to_sint_sat, I64),
            O::I64TruncSatF32U | O::I64TruncSatF64U => unary!(self, fcvt_to_uint_sat, I64),
            O::F32ConvertI32S | O::F32ConvertI64S => unary!(self, fcvt_from_sint, F32),
            O::F32ConvertI32U | O::F32ConvertI64U => unary!(self, fcvt_from_uint, F32),
            O::F64ConvertI32S | O::F64ConvertI64S => unary!(self, fcvt_from_sint, F64),
            O::F64ConvertI32U | O::F64ConvertI64U => unary!(self, fcvt_from_uint, F64),
            O::F32DemoteF64 => unary!(self, fdemote, F32),
            O::F64PromoteF32 => unary!(self, fpromote, F64),
            O::I32ReinterpretF32 => self.reinterpret(I32),
            O::I64ReinterpretF64 => self.reinterpret(I64),
            O::F32ReinterpretI32 => self.reinterpret(F32),
            O::F64ReinterpretI64 => self.reinterpret(F64),

            O::I32Extend8S => self.extend_within(I8, I32),
            O::I32Extend16S => self.extend_within(I16, I32),
            O::I64Extend8S => self.extend_within(I8, I64),
            O::I64Extend16S => self.extend_within(I16, I64),
            O::I64Extend32S => self.extend_within(I32, I64),

            O::I64Add128 => self.wide_sum(|b, x, y| b.ins().iadd(x, y)),
            O::I64Sub128 => self.wide_sum(|b, x, y| b.ins().isub(x, y)),
            O::I64MulWideS => self.wide_product(true),
            O::I64MulWideU => self.wide_product(false),
            _ => return false,
        }
        true
    }

    pub(crate) fn push_flag(&mut self, value: Value) {
        let value = self.flag(value);
        self.push1(value);
    }

    fn icmp(&mut self, condition: IntCC) {
        let (x, y) = self.pop2();
        let value = self.b.ins().icmp(condition, x, y);
        self.push_flag(value);
    }

    fn fcmp(&mut self, condition: FloatCC) {
        let (x, y) = self.pop2();
        let value = self.b.ins().fcmp(condition, x, y);
        self.push_flag(value);
    }

    fn convert_to_int(&mut self, ty: Type, signed: bool) {
        match (self.settings.signals_based_traps, signed) {
            (true, true) => unary!(self, fcvt_to_sint, ty),
            (true, false) => unary!(self, fcvt_to_uint, ty),
            (false, true) => unary!(self, fcvt_to_sint_sat, ty),
            (false, false) => unary!(self, fcvt_to_uint_sat, ty),
        }
    }

    pub(crate) fn bits_as(&mut self, ty: Type, value: Value) -> Value {
        self.b.ins().bitcast(ty, MemFlagsData::new(), value)
    }

    fn reinterpret(&mut self, ty: Type) {
        let x = self.pop1();
        let value = self.bits_as(ty, x);
        self.push1(value);
    }

    fn extend_within(&mut self, from: Type, to: Type) {
        let x = self.pop1();
        let low = self.b.ins().ireduce(from, x);
        let value = self.b.ins().sextend(to, low);
        self.push1(value);
    }

    /// Adds or subtracts the two top pairs of halves, of which the low ones come first.
    fn wide_sum(&mut self, op: impl FnOnce(&mut FunctionBuilder<'_>, Value, Value) -> Value) {
        let (low, high) = self.pop2();
        let y = self.b.ins().iconcat(low, high);
        let (low, high) = self.pop2();
        let x = self.b.ins().iconcat(low, high);
        let whole = op(&mut self.b, x, y);
        self.push_halves(whole);
    }

    fn wide_product(&mut self, signed: bool) {
        let (x, y) = self.pop2();
        let [x, y] = [x, y].map(|half| match signed {
            true => self.b.ins().sextend(types::I128, half),
            false => self.b.ins().uextend(types::I128, half),
        });
        let whole = self.b.ins().imul(x, y);
        self.push_halves(whole);
    }

    fn push_halves(&mut self, whole: Value) {
        let (low, high) = self.b.ins().isplit(whole);
        self.push1(low);
        self.push1(high);
    }

    fn round_top(&mut self, rounding: Rounding) {
        let x = self.pop1();
        let value = self.round(rounding, x);
        self.push1(value);
    }

    /// Rounds a scalar, by a builtin where the processor cannot. Cranelift would call a library.
    pub(crate) fn round(&mut self, rounding: Rounding, x: Value) -> Value {
        if self.features.sse41 || !self.features.x86 {
            return self.round_native(rounding, x);
        }
        let (builtin, int, float) = match self.b.func.dfg.value_type(x) {
            types::F32 => (Builtin::RoundF32, types::I32, types::F32),
            _ => (Builtin::RoundF64, types::I64, types::F64),
        };
        let bits = self.bits_as(int, x);
        let result = self.builtin(builtin, rounding as u32, 0, SmallVec::from_iter([bits]));
        let result = self.bits_as(float, result.expect("rounding has a result"));
        self.canonical(result)
    }

    /// Rounds a scalar or vector.
    pub(crate) fn round_native(&mut self, rounding: Rounding, x: Value) -> Value {
        match rounding {
            Rounding::Ceil => self.b.ins().ceil(x),
            Rounding::Floor => self.b.ins().floor(x),
            Rounding::Trunc => self.b.ins().trunc(x),
            Rounding::Nearest => self.b.ins().nearest(x),
        }
    }

    /// Fused multiply-add of scalars, by a builtin where the processor cannot.
    pub(crate) fn fma(&mut self, x: Value, y: Value, z: Value) -> Value {
        if self.features.fma || !self.features.x86 {
            return self.b.ins().fma(x, y, z);
        }
        let (builtin, int, float) = match self.b.func.dfg.value_type(x) {
            types::F32 => (Builtin::FmaF32, types::I32, types::F32),
            _ => (Builtin::FmaF64, types::I64, types::F64),
        };
        let args = [x, y, z].map(|v| self.bits_as(int, v));
        let result = self.builtin(builtin, 0, 0, SmallVec::from_iter(args));
        let result = self.bits_as(float, result.expect("fma has a result"));
        self.canonical(result)
    }

    /// Makes a NaN that a builtin gave the canonical one, if that was asked for. Cranelift does so for
    /// its own instructions.
    fn canonical(&mut self, x: Value) -> Value {
        if !self.settings.nan_canonicalization {
            return x;
        }
        let nan = match self.b.func.dfg.value_type(x) {
            types::F32 => self.b.ins().f32const(Ieee32::NAN),
            _ => self.b.ins().f64const(Ieee64::NAN),
        };
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        self.b.ins().select(is_nan, nan, x)
    }
}

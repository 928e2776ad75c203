//! Scalar instructions.
//!
//! Invariants:
//! - A register that holds an `i32` result was written by a 32-bit instruction last ([clean i32]).
//! - Without signals nothing here faults: the lowering has checked divisors and ranges.

use crate::asm::*;
use crate::emit::*;
use crate::state::*;
use smallvec::SmallVec;
use wardian_lower::Emit;
use wardian_module::layout::Repr;
use wardian_module::{Builtin, Rounding, Trap};
use wasmparser::Operator;

/// The immediate of `roundss` and its kin; inexact results raise nothing.
pub(crate) fn rounding_mode(rounding: Rounding) -> u8 {
    match rounding {
        Rounding::Nearest => 0b1000,
        Rounding::Floor => 0b1001,
        Rounding::Ceil => 0b1010,
        Rounding::Trunc => 0b1011,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shift {
    Left,
    RightSigned,
    RightUnsigned,
    RotateLeft,
    RotateRight,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FloatOp {
    Add,
    Sub,
    Mul,
    Div,
}

use Repr::{F32, F64, I32, I64};

impl Tier<'_> {
    /// Emits a scalar instruction. Inlined, for the driver says which when this program is compiled.
    #[inline(always)]
    pub(crate) fn scalar(&mut self, op: &Operator<'_>) {
        use Operator as O;
        match *op {
            O::I32Const { value } => {
                let value = self.s.constant(u64::from(value as u32), I32);
                self.s.push(value);
            }
            O::I64Const { value } => {
                let value = self.s.constant(value as u64, I64);
                self.s.push(value);
            }
            O::F32Const { value } => {
                let value = self.s.constant(u64::from(value.bits()), F32);
                self.s.push(value);
            }
            O::F64Const { value } => {
                let value = self.s.constant(value.bits(), F64);
                self.s.push(value);
            }

            O::I32Eqz | O::I64Eqz => self.eqz(),
            O::I32Eq | O::I64Eq => self.icmp(Cond::E),
            O::I32Ne | O::I64Ne => self.icmp(Cond::Ne),
            O::I32LtS | O::I64LtS => self.icmp(Cond::L),
            O::I32LtU | O::I64LtU => self.icmp(Cond::B),
            O::I32GtS | O::I64GtS => self.icmp(Cond::G),
            O::I32GtU | O::I64GtU => self.icmp(Cond::A),
            O::I32LeS | O::I64LeS => self.icmp(Cond::Le),
            O::I32LeU | O::I64LeU => self.icmp(Cond::Be),
            O::I32GeS | O::I64GeS => self.icmp(Cond::Ge),
            O::I32GeU | O::I64GeU => self.icmp(Cond::Ae),
            O::F32Eq | O::F64Eq => self.fcmp(Cond::EqualOrdered, false),
            O::F32Ne | O::F64Ne => self.fcmp(Cond::NotEqualUnordered, false),
            O::F32Lt | O::F64Lt => self.fcmp(Cond::A, true),
            O::F32Gt | O::F64Gt => self.fcmp(Cond::A, false),
            O::F32Le | O::F64Le => self.fcmp(Cond::Ae, true),
            O::F32Ge | O::F64Ge => self.fcmp(Cond::Ae, false),

            O::I32Clz | O::I64Clz => self.leading_zeros(),
            O::I32Ctz | O::I64Ctz => self.trailing_zeros(),
            O::I32Popcnt | O::I64Popcnt => self.count_ones(),
            O::I32Add | O::I64Add => self.add(),
            O::I32Sub | O::I64Sub => self.alu(Alu::Sub),
            O::I32Mul | O::I64Mul => self.multiply(),
            O::I32DivS | O::I64DivS => self.divide(true, false),
            O::I32DivU | O::I64DivU => self.divide(false, false),
            O::I32RemS | O::I64RemS => self.divide(true, true),
            O::I32RemU | O::I64RemU => self.divide(false, true),
            O::I32And | O::I64And => self.alu(Alu::And),
            O::I32Or | O::I64Or => self.alu(Alu::Or),
            O::I32Xor | O::I64Xor => self.alu(Alu::Xor),
            O::I32Shl | O::I64Shl => self.shift(Shift::Left),
            O::I32ShrS | O::I64ShrS => self.shift(Shift::RightSigned),
            O::I32ShrU | O::I64ShrU => self.shift(Shift::RightUnsigned),
            O::I32Rotl | O::I64Rotl => self.shift(Shift::RotateLeft),
            O::I32Rotr | O::I64Rotr => self.shift(Shift::RotateRight),

            O::F32Abs | O::F64Abs => self.float_sign(Alu::And),
            O::F32Neg | O::F64Neg => self.float_sign(Alu::Xor),
            O::F32Sqrt | O::F64Sqrt => self.square_root(),
            O::F32Ceil | O::F64Ceil => self.round_top(Rounding::Ceil),
            O::F32Floor | O::F64Floor => self.round_top(Rounding::Floor),
            O::F32Trunc | O::F64Trunc => self.round_top(Rounding::Trunc),
            O::F32Nearest | O::F64Nearest => self.round_top(Rounding::Nearest),
            O::F32Add | O::F64Add => self.float(FloatOp::Add),
            O::F32Sub | O::F64Sub => self.float(FloatOp::Sub),
            O::F32Mul | O::F64Mul => self.float(FloatOp::Mul),
            O::F32Div | O::F64Div => self.float(FloatOp::Div),
            O::F32Min | O::F64Min => self.float_min_max(true),
            O::F32Max | O::F64Max => self.float_min_max(false),
            O::F32Copysign | O::F64Copysign => self.copysign(),

            O::I32WrapI64 => {
                let value = self.s.pop();
                self.extend(value, I32, |tier, dst, src| ins!(tier.s.asm, movl_rm, dst, src));
            }
            O::I64ExtendI32U => {
                let value = self.s.pop();
                let value = self.zero_extend(value);
                self.s.push(value);
            }
            O::I64ExtendI32S | O::I64Extend32S => {
                let value = self.s.pop();
                self.extend(value, I64, |tier, dst, src| ins!(tier.s.asm, movslq_rm, dst, src));
            }
            O::I32Extend8S => {
                let value = self.s.pop();
                self.extend(value, I32, |tier, dst, src| ins!(tier.s.asm, movsbl_rm, dst, src));
            }
            O::I32Extend16S => {
                let value = self.s.pop();
                self.extend(value, I32, |tier, dst, src| ins!(tier.s.asm, movswl_rm, dst, src));
            }
            O::I64Extend8S => {
                let value = self.s.pop();
                self.extend(value, I64, |tier, dst, src| ins!(tier.s.asm, movsbq_rm, dst, src));
            }
            O::I64Extend16S => {
                let value = self.s.pop();
                self.extend(value, I64, |tier, dst, src| ins!(tier.s.asm, movswq_rm, dst, src));
            }

            O::I32TruncF32S | O::I32TruncF64S => self.truncate_signed(false),
            O::I64TruncF32S | O::I64TruncF64S => self.truncate_signed(true),
            O::I32TruncF32U | O::I32TruncF64U => self.truncate_unsigned_32(false),
            O::I64TruncF32U | O::I64TruncF64U => self.truncate_unsigned_64(false),
            O::I32TruncSatF32S | O::I32TruncSatF64S => self.truncate_signed_saturating(false),
            O::I64TruncSatF32S | O::I64TruncSatF64S => self.truncate_signed_saturating(true),
            O::I32TruncSatF32U | O::I32TruncSatF64U => self.truncate_unsigned_32(true),
            O::I64TruncSatF32U | O::I64TruncSatF64U => self.truncate_unsigned_64(true),
            O::F32ConvertI32S => self.convert_signed(F32, false),
            O::F32ConvertI32U => self.convert_signed(F32, true),
            O::F32ConvertI64S => self.convert_signed(F32, true),
            O::F64ConvertI32S => self.convert_signed(F64, false),
            O::F64ConvertI32U => self.convert_signed(F64, true),
            O::F64ConvertI64S => self.convert_signed(F64, true),
            O::F32ConvertI64U => self.convert_unsigned_64(F32),
            O::F64ConvertI64U => self.convert_unsigned_64(F64),
            O::F32DemoteF64 => self.resize_float(F32),
            O::F64PromoteF32 => self.resize_float(F64),
            O::I32ReinterpretF32 => self.reinterpret(I32),
            O::I64ReinterpretF64 => self.reinterpret(I64),
            O::F32ReinterpretI32 => self.reinterpret(F32),
            O::F64ReinterpretI64 => self.reinterpret(F64),

            O::I64Add128 => self.wide_sum(true),
            O::I64Sub128 => self.wide_sum(false),
            O::I64MulWideS => self.wide_product(true),
            O::I64MulWideU => self.wide_product(false),
            _ => unreachable!("the driver forwards scalar instructions only"),
        }
    }

    // ---- comparisons ----

    fn eqz(&mut self) {
        let mut value = self.s.pop();
        if let Some(cond) = self.s.live_condition(&value) {
            self.s.release(value);
            return self.push_condition(cond.not());
        }
        self.s.clobber_flags();
        let mut zero = self.s.constant(0, value.repr());
        self.compare_ints(&mut value, &mut zero);
        self.s.release(value);
        self.push_condition(Cond::E);
    }

    fn icmp(&mut self, cond: Cond) {
        self.s.clobber_flags();
        let (mut b, mut a) = (self.s.pop(), self.s.pop());
        self.compare_ints(&mut a, &mut b);
        self.s.release(a);
        self.s.release(b);
        self.push_condition(cond);
    }

    fn fcmp(&mut self, cond: Cond, swap: bool) {
        self.s.clobber_flags();
        let (mut b, mut a) = (self.s.pop(), self.s.pop());
        if swap {
            (a, b) = (b, a);
        }
        self.compare_floats(&mut a, &mut b);
        self.s.release(a);
        self.s.release(b);
        self.push_condition(cond);
    }

    // ---- integers ----

    /// `dst <- f(src)` for an instruction that reads its source from register or memory.
    fn extend(&mut self, mut value: Value, to: Repr, emit: impl FnOnce(&mut Self, Reg, Rm)) {
        let src = self.s.rm_of(&mut value);
        let dst = if self.target_reg(to).is_some() {
            let dst = self.begin_target();
            self.s.release(value);
            dst
        } else {
            self.s.release(value);
            self.s.alloc(Bank::General)
        };
        emit(self, dst, src);
        self.push_result(dst, to);
    }

    fn add(&mut self) {
        self.s.clobber_flags();
        let (mut b, mut a) = (self.s.pop(), self.s.pop());
        if matches!(a.loc(), Loc::Const(_)) {
            (a, b) = (b, a);
        }
        // A sum into another register is one instruction.
        let (a_reg, b_reg) = (self.s.known_reg(&a), self.s.known_reg(&b));
        let elsewhere = match self.target_reg(a.repr()) {
            Some(target) => a_reg != target && b_reg != target,
            None => !self.s.is_own(&a) && !self.s.is_own(&b),
        };
        if elsewhere && a_reg != NO_REG && (State::imm_of(&b).is_some() || b_reg != NO_REG) {
            let repr = a.repr();
            let base = self.s.reg_of(&mut a);
            let mem = match State::imm_of(&b) {
                Some(imm) => at(base, imm),
                None => indexed(base, self.s.reg_of(&mut b), 0, 0),
            };
            let dst = self.result_reg(repr, &[&a, &b]);
            ins_wide!(self.s.asm, wide(repr), leal_rm, leaq_rm, dst, mem);
            self.s.release(a);
            self.s.release(b);
            return self.push_result(dst, repr);
        }
        self.alu_values(Alu::Add, a, b);
    }

    fn alu(&mut self, op: Alu) {
        self.s.clobber_flags();
        let (b, a) = (self.s.pop(), self.s.pop());
        self.alu_values(op, a, b);
    }

    fn alu_values(&mut self, op: Alu, mut a: Value, mut b: Value) {
        let repr = a.repr();
        if op != Alu::Sub && self.prefers_swap(&a, &b) {
            (a, b) = (b, a);
        }
        if let Some(imm) = State::imm_of(&b) {
            let dst = self.modify(a, &[]);
            self.s.asm.alu_imm(op, wide(repr), dst, imm);
            return self.push_result(dst, repr);
        }
        let source = self.s.rm_of(&mut b);
        let dst = self.modify(a, &[&b]);
        self.s.asm.alu_rm(op, wide(repr), dst, source);
        self.s.release(b);
        self.push_result(dst, repr);
    }

    /// Whether `b` is the better one to be modified into the result.
    pub(crate) fn prefers_swap(&self, a: &Value, b: &Value) -> bool {
        if matches!(a.loc(), Loc::Const(_)) {
            return true;
        }
        match self.target_reg(a.repr()) {
            Some(target) => self.s.known_reg(b) == target,
            None => !self.s.is_own(a) && self.s.is_own(b),
        }
    }

    fn multiply(&mut self) {
        self.s.clobber_flags();
        let (mut b, mut a) = (self.s.pop(), self.s.pop());
        let (repr, wide) = (a.repr(), wide(a.repr()));
        if self.prefers_swap(&a, &b) {
            (a, b) = (b, a);
        }
        if let Some(imm) = State::imm_of(&b) {
            if imm > 0 && imm.count_ones() == 1 {
                let dst = self.modify(a, &[]);
                let count = imm.trailing_zeros() as u8;
                ins_wide!(self.s.asm, wide, shll_mi, shlq_mi, dst, count);
                return self.push_result(dst, repr);
            }
            let source = self.s.rm_of(&mut a);
            let dst = self.result_reg(repr, &[]);
            match i8::try_from(imm) {
                Ok(imm) => {
                    ins_wide!(self.s.asm, wide, imull_rmi_sxb, imulq_rmi_sxb, dst, source, imm);
                }
                Err(_) => ins_wide!(self.s.asm, wide, imull_rmi, imulq_rmi_sxl, dst, source, imm),
            }
            self.s.release(a);
            return self.push_result(dst, repr);
        }
        let source = self.s.rm_of(&mut b);
        let dst = self.modify(a, &[&b]);
        ins_wide!(self.s.asm, wide, imull_rm, imulq_rm, dst, source);
        self.s.release(b);
        self.push_result(dst, repr);
    }

    fn shift(&mut self, shift: Shift) {
        self.s.clobber_flags();
        let (mut count, a) = (self.s.pop(), self.s.pop());
        let (repr, wide) = (a.repr(), wide(a.repr()));
        if let Loc::Const(bits) = count.loc() {
            let count = (bits & if wide { 63 } else { 31 }) as u8;
            let dst = self.modify(a, &[]);
            match shift {
                _ if count == 0 => {}
                Shift::Left => ins_wide!(self.s.asm, wide, shll_mi, shlq_mi, dst, count),
                Shift::RightSigned => ins_wide!(self.s.asm, wide, sarl_mi, sarq_mi, dst, count),
                Shift::RightUnsigned => ins_wide!(self.s.asm, wide, shrl_mi, shrq_mi, dst, count),
                Shift::RotateLeft => ins_wide!(self.s.asm, wide, roll_mi, rolq_mi, dst, count),
                Shift::RotateRight => ins_wide!(self.s.asm, wide, rorl_mi, rorq_mi, dst, count),
            }
            return self.push_result(dst, repr);
        }
        let rotates = matches!(shift, Shift::RotateLeft | Shift::RotateRight);
        if self.features.bmi2 && !rotates {
            let mut a = a;
            let count_reg = self.s.reg_of(&mut count);
            let source = self.s.rm_of(&mut a);
            let dst = self.result_reg(repr, &[&a, &count]);
            match shift {
                Shift::Left => {
                    ins_wide!(self.s.asm, wide, shlxl_rmv, shlxq_rmv, dst, source, count_reg);
                }
                Shift::RightSigned => {
                    ins_wide!(self.s.asm, wide, sarxl_rmv, sarxq_rmv, dst, source, count_reg);
                }
                _ => ins_wide!(self.s.asm, wide, shrxl_rmv, shrxq_rmv, dst, source, count_reg),
            }
            self.s.release(a);
            self.s.release(count);
            return self.push_result(dst, repr);
        }
        // The count goes to `cl`; what is shifted must not be there.
        let mut a = a;
        if self.physical(a.loc()) == Loc::Reg(RCX) {
            let reg = self.s.own_but(a, 1 << RCX);
            a = Value::new(Loc::Reg(reg), repr);
        }
        self.s.own_in(count, RCX, 0);
        let dst = self.modify_but(a, &[], 1 << RCX);
        match shift {
            Shift::Left => ins_wide!(self.s.asm, wide, shll_mc, shlq_mc, dst, RCX),
            Shift::RightSigned => ins_wide!(self.s.asm, wide, sarl_mc, sarq_mc, dst, RCX),
            Shift::RightUnsigned => ins_wide!(self.s.asm, wide, shrl_mc, shrq_mc, dst, RCX),
            Shift::RotateLeft => ins_wide!(self.s.asm, wide, roll_mc, rolq_mc, dst, RCX),
            Shift::RotateRight => ins_wide!(self.s.asm, wide, rorl_mc, rorq_mc, dst, RCX),
        }
        self.s.unhold(RCX);
        self.push_result(dst, repr);
    }

    fn modify_but(&mut self, x: Value, others: &[&Value], avoid: u32) -> Reg {
        if self.target_reg(x.repr()).is_some() {
            self.modify(x, others)
        } else {
            self.s.own_but(x, avoid)
        }
    }

    fn divide(&mut self, signed: bool, remainder: bool) {
        self.s.clobber_flags();
        let (mut b, a) = (self.s.pop(), self.s.pop());
        let (repr, wide) = (a.repr(), wide(a.repr()));
        if let (Loc::Const(bits), false) = (b.loc(), signed)
            && bits.is_power_of_two()
            && i32::try_from(bits).is_ok()
        {
            let dst = self.modify(a, &[]);
            if remainder {
                self.s.asm.alu_imm(Alu::And, wide, dst, bits as i32 - 1);
            } else if bits > 1 {
                let count = bits.trailing_zeros() as u8;
                ins_wide!(self.s.asm, wide, shrl_mi, shrq_mi, dst, count);
            }
            return self.push_result(dst, repr);
        }
        let fixed = 1 << RAX | 1 << RDX;
        // The divisor goes where neither half of the dividend is; the scratch register will do.
        let constant = if let Loc::Const(bits) = b.loc() { Some(bits) } else { None };
        let in_fixed = |loc| matches!(loc, Loc::Reg(reg) if fixed & 1 << reg != 0);
        let divisor = if constant.is_some() || in_fixed(self.physical(b.loc())) {
            self.s.copy_to(R11, b.loc(), repr);
            R11
        } else {
            self.s.reg_of_but(&mut b, fixed)
        };
        let divisor_value = if divisor == R11 {
            self.s.release(b);
            None
        } else {
            Some(b)
        };
        if self.physical(a.loc()) == Loc::Reg(RDX) {
            let reg = self.s.own_but(a, fixed);
            self.s.own_in(Value::new(Loc::Reg(reg), repr), RAX, fixed);
        } else {
            self.s.own_in(a, RAX, fixed);
        }
        self.s.take(RDX, fixed);

        let minus_one = if wide { u64::MAX } else { u64::from(u32::MAX) };
        if self.settings.signals_based_traps && constant.is_none_or(|bits| bits == 0) {
            ins_wide!(self.s.asm, wide, testl_mr, testq_mr, divisor, divisor);
            self.trap_on(Cond::E, Trap::IntegerDivisionByZero);
        }
        let done = self.s.asm.label();
        if signed && remainder && constant.is_none_or(|bits| bits == minus_one) {
            // The processor faults where the remainder is 0.
            let regular = self.s.asm.label();
            ins_wide!(self.s.asm, wide, cmpl_mi_sxb, cmpq_mi_sxb, divisor, -1i8);
            self.s.asm.jcc(Cond::Ne, regular);
            ins!(self.s.asm, xorl_rm, RDX, RDX);
            self.s.asm.jmp(done);
            self.s.asm.bind(regular);
        }
        if signed {
            if wide {
                ins!(self.s.asm, cqto_zo, RDX, RAX);
            } else {
                ins!(self.s.asm, cltd_zo, RDX, RAX);
            }
            if self.settings.signals_based_traps {
                self.may_fault(Trap::IntegerOverflow);
            }
            ins_wide!(self.s.asm, wide, idivl_m, idivq_m, RAX, RDX, divisor, NO_CODE);
        } else {
            ins!(self.s.asm, xorl_rm, RDX, RDX);
            if self.settings.signals_based_traps {
                self.may_fault(Trap::IntegerDivisionByZero);
            }
            ins_wide!(self.s.asm, wide, divl_m, divq_m, RAX, RDX, divisor, NO_CODE);
        }
        self.s.asm.bind(done);
        if let Some(b) = divisor_value {
            self.s.release(b);
        }
        let (result, other) = if remainder { (RDX, RAX) } else { (RAX, RDX) };
        self.s.unhold(other);
        self.s.push_reg(result, repr);
    }

    /// Adds or subtracts pairs of halves. The result is two operands, so none goes to the local set next.
    fn wide_sum(&mut self, add: bool) {
        self.s.clobber_flags();
        let (mut b_high, mut b_low) = (self.s.pop(), self.s.pop());
        let (a_high, a_low) = (self.s.pop(), self.s.pop());
        let (low_source, high_source) = (self.s.rm_of(&mut b_low), self.s.rm_of(&mut b_high));
        let (low, high) = (self.s.own(a_low), self.s.own(a_high));
        if add {
            ins!(self.s.asm, addq_rm, low, low_source);
            ins!(self.s.asm, adcq_rm, high, high_source);
        } else {
            ins!(self.s.asm, subq_rm, low, low_source);
            ins!(self.s.asm, sbbq_rm, high, high_source);
        }
        self.s.release(b_low);
        self.s.release(b_high);
        self.s.push_reg(low, I64);
        self.s.push_reg(high, I64);
    }

    fn wide_product(&mut self, signed: bool) {
        self.s.clobber_flags();
        let (mut b, a) = (self.s.pop(), self.s.pop());
        let fixed = 1 << RAX | 1 << RDX;
        // One factor in `rax`, the other where neither half of the product goes.
        let in_fixed = matches!(self.physical(b.loc()), Loc::Reg(reg) if fixed & 1 << reg != 0);
        let factor = if b.is_const() || in_fixed {
            self.s.copy_to(R11, b.loc(), I64);
            self.s.release(b);
            b = self.s.constant(0, I64);
            R11
        } else {
            self.s.reg_of_but(&mut b, fixed)
        };
        self.s.own_in(a, RAX, fixed);
        self.s.take(RDX, fixed);
        if signed {
            ins!(self.s.asm, imulq_m, RAX, RDX, factor);
        } else {
            ins!(self.s.asm, mulq_m, RAX, RDX, factor);
        }
        self.s.release(b);
        self.s.push_reg(RAX, I64);
        self.s.push_reg(RDX, I64);
    }

    fn leading_zeros(&mut self) {
        self.s.clobber_flags();
        let value = self.s.pop();
        let (repr, wide) = (value.repr(), wide(value.repr()));
        if self.features.lzcnt {
            return self.extend(value, repr, |tier, dst, src| {
                // An old dependency of the processor on the target is broken.
                ins_wide!(tier.s.asm, wide, lzcntl_rm, lzcntq_rm, dst, src);
            });
        }
        let mut value = value;
        let src = self.s.rm_of(&mut value);
        let dst = self.s.alloc(Bank::General);
        // Without a bit set the source's place counts as -1: `bsr` leaves the target undefined.
        ins_wide!(self.s.asm, wide, bsrl_rm, bsrq_rm, dst, src);
        self.s.asm.constant(R11, if wide { u64::MAX } else { u64::from(u32::MAX) });
        self.s.asm.cmov(Cond::E, wide, dst, Rm::Gpr(R11));
        let bits: i32 = if wide { 64 } else { 32 };
        ins_wide!(self.s.asm, wide, negl_m, negq_m, dst);
        self.s.asm.alu_imm(Alu::Add, wide, dst, bits - 1);
        self.s.release(value);
        self.s.push_reg(dst, repr);
    }

    fn trailing_zeros(&mut self) {
        self.s.clobber_flags();
        let value = self.s.pop();
        let (repr, wide) = (value.repr(), wide(value.repr()));
        if self.features.bmi1 {
            return self.extend(value, repr, |tier, dst, src| {
                ins_wide!(tier.s.asm, wide, tzcntl_a, tzcntq_a, dst, src);
            });
        }
        let mut value = value;
        let src = self.s.rm_of(&mut value);
        let dst = self.s.alloc(Bank::General);
        ins_wide!(self.s.asm, wide, bsfl_rm, bsfq_rm, dst, src);
        self.s.asm.constant(R11, if wide { 64 } else { 32 });
        self.s.asm.cmov(Cond::E, wide, dst, Rm::Gpr(R11));
        self.s.release(value);
        self.s.push_reg(dst, repr);
    }

    fn count_ones(&mut self) {
        self.s.clobber_flags();
        let value = self.s.pop();
        let (repr, wide) = (value.repr(), wide(value.repr()));
        if self.features.popcnt {
            return self.extend(value, repr, |tier, dst, src| {
                ins_wide!(tier.s.asm, wide, popcntl_rm, popcntq_rm, dst, src);
            });
        }
        // Sums of neighbouring bits, pairs, nibbles; then all bytes by a multiplication.
        let x = self.s.own(value);
        let t = self.s.alloc(Bank::General);
        let mask = |pattern: u8| {
            let all = u64::from_ne_bytes([pattern; 8]);
            if wide { all } else { all as u32 as u64 }
        };
        let shift = |tier: &mut Self, reg: Reg, count: u8| {
            ins_wide!(tier.s.asm, wide, shrl_mi, shrq_mi, reg, count);
        };
        self.s.move_reg(t, x, repr);
        shift(self, t, 1);
        self.s.asm.constant(R11, mask(0x55));
        self.s.asm.alu_rm(Alu::And, wide, t, Rm::Gpr(R11));
        self.s.asm.alu_rm(Alu::Sub, wide, x, Rm::Gpr(t));
        self.s.move_reg(t, x, repr);
        self.s.asm.constant(R11, mask(0x33));
        self.s.asm.alu_rm(Alu::And, wide, x, Rm::Gpr(R11));
        shift(self, t, 2);
        self.s.asm.alu_rm(Alu::And, wide, t, Rm::Gpr(R11));
        self.s.asm.alu_rm(Alu::Add, wide, x, Rm::Gpr(t));
        self.s.move_reg(t, x, repr);
        shift(self, t, 4);
        self.s.asm.alu_rm(Alu::Add, wide, x, Rm::Gpr(t));
        self.s.asm.constant(R11, mask(0x0f));
        self.s.asm.alu_rm(Alu::And, wide, x, Rm::Gpr(R11));
        self.s.asm.constant(R11, mask(0x01));
        ins_wide!(self.s.asm, wide, imull_rm, imulq_rm, x, R11);
        shift(self, x, if wide { 56 } else { 24 });
        self.s.unhold(t);
        self.s.push_reg(x, repr);
    }

    // ---- floats ----

    fn float(&mut self, op: FloatOp) {
        let (mut b, mut a) = (self.s.pop(), self.s.pop());
        let repr = a.repr();
        let double = repr == F64;
        let commutes = matches!(op, FloatOp::Add | FloatOp::Mul);
        if commutes && self.prefers_swap(&a, &b) {
            (a, b) = (b, a);
        }
        self.s.clobber_flags();
        let source = self.s.xm_of(&mut b);
        if self.features.avx {
            // With three operands the result may go anywhere; the instruction reads before it writes.
            let first = xmm(self.s.reg_of(&mut a));
            let dst = if self.target_reg(repr).is_some() {
                let dst = self.begin_target();
                self.s.release(a);
                dst
            } else if self.s.is_own(&a) {
                self.s.own(a)
            } else {
                self.s.release(a);
                self.s.alloc(Bank::Vector)
            };
            let to = xmm(dst);
            match op {
                FloatOp::Add => {
                    ins_wide!(self.s.asm, double, vaddss_b, vaddsd_b, to, first, source)
                }
                FloatOp::Sub => {
                    ins_wide!(self.s.asm, double, vsubss_b, vsubsd_b, to, first, source)
                }
                FloatOp::Mul => {
                    ins_wide!(self.s.asm, double, vmulss_b, vmulsd_b, to, first, source)
                }
                FloatOp::Div => {
                    ins_wide!(self.s.asm, double, vdivss_b, vdivsd_b, to, first, source)
                }
            }
            self.s.release(b);
            self.canonical(dst, repr);
            return self.push_result(dst, repr);
        }
        let dst = self.modify(a, &[&b]);
        let to = xmm(dst);
        match op {
            FloatOp::Add => ins_wide!(self.s.asm, double, addss_a, addsd_a, to, source),
            FloatOp::Sub => ins_wide!(self.s.asm, double, subss_a, subsd_a, to, source),
            FloatOp::Mul => ins_wide!(self.s.asm, double, mulss_a, mulsd_a, to, source),
            FloatOp::Div => ins_wide!(self.s.asm, double, divss_a, divsd_a, to, source),
        }
        self.s.release(b);
        self.canonical(dst, repr);
        self.push_result(dst, repr);
    }

    /// Makes a NaN the canonical one, if that was asked for.
    pub(crate) fn canonical(&mut self, reg: Reg, repr: Repr) {
        if !self.settings.nan_canonicalization {
            return;
        }
        self.s.clobber_flags();
        let done = self.s.asm.label();
        let x = xmm(reg);
        ins_wide!(self.s.asm, repr == F64, ucomiss_a, ucomisd_a, x, x);
        self.s.asm.jcc(Cond::Np, done);
        let nan = if repr == F64 { 0x7ff8_0000_0000_0000 } else { 0x7fc0_0000 };
        self.s.load_const(reg, nan, repr);
        self.s.asm.bind(done);
    }

    /// `abs` by clearing the sign, `neg` by flipping it.
    fn float_sign(&mut self, op: Alu) {
        let value = self.s.pop();
        let repr = value.repr();
        let sign = if repr == F64 { 1 << 63 } else { 1 << 31 };
        let mask = match (op, repr) {
            (Alu::And, F64) => !sign,
            (Alu::And, _) => u64::from(!(sign as u32)),
            _ => sign,
        };
        let dst = self.modify(value, &[]);
        self.s.load_const(XMM15, mask, repr);
        match op {
            Alu::And => ins!(self.s.asm, andps_a, xmm(dst), xmm(XMM15)),
            _ => ins!(self.s.asm, xorps_a, xmm(dst), xmm(XMM15)),
        }
        self.push_result(dst, repr);
    }

    fn copysign(&mut self) {
        let (mut b, a) = (self.s.pop(), self.s.pop());
        let repr = a.repr();
        let sign = if repr == F64 { 1 << 63 } else { 1 << 31 };
        let from = self.s.reg_of(&mut b);
        let dst = self.s.own_but(a, 1 << from);
        let magnitude = if repr == F64 { !sign } else { u64::from(!(sign as u32)) };
        self.s.load_const(XMM15, magnitude, repr);
        ins!(self.s.asm, andps_a, xmm(dst), xmm(XMM15));
        self.s.load_const(XMM15, sign, repr);
        ins!(self.s.asm, andps_a, xmm(XMM15), xmm(from));
        ins!(self.s.asm, orps_a, xmm(dst), xmm(XMM15));
        self.s.release(b);
        self.s.push_reg(dst, repr);
    }

    fn square_root(&mut self) {
        let mut value = self.s.pop();
        let repr = value.repr();
        let source = xmm(self.s.reg_of(&mut value));
        let dst = self.result_reg(repr, &[]);
        ins_wide!(self.s.asm, repr == F64, sqrtss_a, sqrtsd_a, xmm(dst), source);
        self.s.release(value);
        self.canonical(dst, repr);
        self.push_result(dst, repr);
    }

    fn round_top(&mut self, rounding: Rounding) {
        let mut value = self.s.pop();
        let repr = value.repr();
        if self.features.sse41 {
            let source = xmm(self.s.reg_of(&mut value));
            let dst = self.result_reg(repr, &[]);
            let mode = rounding_mode(rounding);
            ins_wide!(self.s.asm, repr == F64, roundss_rmi, roundsd_rmi, xmm(dst), source, mode);
            self.s.release(value);
            self.canonical(dst, repr);
            return self.push_result(dst, repr);
        }
        let result = self.round_by_builtin(rounding, value);
        let dst = self.s.own(result);
        self.canonical(dst, repr);
        self.s.push_reg(dst, repr);
    }

    /// Rounds a scalar where the processor cannot.
    pub(crate) fn round_by_builtin(&mut self, rounding: Rounding, value: Value) -> Value {
        let (builtin, int) = match value.repr() {
            F32 => (Builtin::RoundF32, I32),
            _ => (Builtin::RoundF64, I64),
        };
        let repr = value.repr();
        let bits = self.bits_as(value, int);
        let args = SmallVec::from_iter([bits]);
        let result = self.builtin(builtin, rounding as u32, 0, args);
        self.bits_as(result.expect("rounding has a result"), repr)
    }

    /// spec (fmin, fmax): NaN wins, and of two zeros the one with the right sign.
    fn float_min_max(&mut self, min: bool) {
        self.s.clobber_flags();
        let (mut b, a) = (self.s.pop(), self.s.pop());
        let repr = a.repr();
        let double = repr == F64;
        let other = self.s.reg_of(&mut b);
        let dst = self.s.own_but(a, 1 << other);
        let (x, y) = (xmm(dst), xmm(other));
        let (differ, nan, done) = (self.s.asm.label(), self.s.asm.label(), self.s.asm.label());
        ins_wide!(self.s.asm, double, ucomiss_a, ucomisd_a, x, y);
        self.s.asm.jcc(Cond::Ne, differ);
        self.s.asm.jcc(Cond::P, nan);
        if min {
            ins!(self.s.asm, orps_a, x, y);
        } else {
            ins!(self.s.asm, andps_a, x, y);
        }
        self.s.asm.jmp(done);
        self.s.asm.bind(nan);
        ins_wide!(self.s.asm, double, addss_a, addsd_a, x, y);
        self.s.asm.jmp(done);
        self.s.asm.bind(differ);
        if min {
            ins_wide!(self.s.asm, double, minss_a, minsd_a, x, y);
        } else {
            ins_wide!(self.s.asm, double, maxss_a, maxsd_a, x, y);
        }
        self.s.asm.bind(done);
        self.s.release(b);
        self.canonical(dst, repr);
        self.s.push_reg(dst, repr);
    }

    // ---- conversions ----

    /// The same bits in a register of the other bank.
    pub(crate) fn bits_as(&mut self, mut value: Value, to: Repr) -> Value {
        // A value in memory is read from there as what it becomes; constants are bits anyway.
        match self.physical(value.loc()) {
            Loc::Frame(disp) => {
                self.s.release(value);
                return Value::new(Loc::Frame(disp), to);
            }
            Loc::Const(bits) => return self.s.constant(bits, to),
            _ => {}
        }
        let src = self.s.reg_of(&mut value);
        let dst = self.s.alloc(bank(to));
        match to {
            I32 => ins!(self.s.asm, movd_b, dst, xmm(src)),
            I64 => ins!(self.s.asm, movq_b, dst, xmm(src)),
            F32 => ins!(self.s.asm, movd_a, xmm(dst), src),
            _ => ins!(self.s.asm, movq_a, xmm(dst), src),
        }
        self.s.release(value);
        Value::new(Loc::Reg(dst), to)
    }

    fn reinterpret(&mut self, to: Repr) {
        let mut value = self.s.pop();
        // What is read from memory later might have changed.
        if matches!(value.loc(), Loc::Local(_) | Loc::Frame(_)) {
            self.s.reg_of(&mut value);
        }
        let value = self.bits_as(value, to);
        self.s.push(value);
    }

    fn resize_float(&mut self, to: Repr) {
        let mut value = self.s.pop();
        let source = xmm(self.s.reg_of(&mut value));
        let dst = self.s.alloc(Bank::Vector);
        match to {
            F32 => ins!(self.s.asm, cvtsd2ss_a, xmm(dst), source),
            _ => ins!(self.s.asm, cvtss2sd_a, xmm(dst), source),
        }
        self.s.release(value);
        self.canonical(dst, to);
        self.s.push_reg(dst, to);
    }

    fn convert_signed(&mut self, to: Repr, from_wide: bool) {
        let mut value = self.s.pop();
        // A 32-bit value that is read as 64 bits is unsigned: its upper half is zero in a register.
        let source = self.s.reg_of(&mut value);
        let dst = self.result_reg(to, &[]);
        // Only part of the target is written: its old content must not be waited for.
        ins!(self.s.asm, xorps_a, xmm(dst), xmm(dst));
        self.int_to_float(to, from_wide, dst, source);
        self.s.release(value);
        self.push_result(dst, to);
    }

    fn int_to_float(&mut self, to: Repr, from_wide: bool, dst: Reg, source: Reg) {
        match (to, from_wide) {
            (F32, false) => ins!(self.s.asm, cvtsi2ssl_a, xmm(dst), source),
            (F32, true) => ins!(self.s.asm, cvtsi2ssq_a, xmm(dst), source),
            (_, false) => ins!(self.s.asm, cvtsi2sdl_a, xmm(dst), source),
            (_, true) => ins!(self.s.asm, cvtsi2sdq_a, xmm(dst), source),
        }
    }

    fn convert_unsigned_64(&mut self, to: Repr) {
        self.s.clobber_flags();
        let value = self.s.pop();
        let x = self.s.own(value);
        let dst = self.s.alloc(Bank::Vector);
        let (large, done) = (self.s.asm.label(), self.s.asm.label());
        ins!(self.s.asm, xorps_a, xmm(dst), xmm(dst));
        ins!(self.s.asm, testq_mr, x, x);
        self.s.asm.jcc(Cond::S, large);
        self.int_to_float(to, true, dst, x);
        self.s.asm.jmp(done);
        self.s.asm.bind(large);
        // Half of it, the lowest bit kept for rounding, then twice that.
        ins!(self.s.asm, movq_rm, R11, x);
        ins!(self.s.asm, shrq_mi, x, 1u8);
        ins!(self.s.asm, andl_mi_sxb, R11, 1i8);
        ins!(self.s.asm, orq_rm, x, R11);
        self.int_to_float(to, true, dst, x);
        ins_wide!(self.s.asm, to == F64, addss_a, addsd_a, xmm(dst), xmm(dst));
        self.s.asm.bind(done);
        self.s.unhold(x);
        self.s.push_reg(dst, to);
    }

    /// `cvttss2si` and its kin: the lowest integer for what does not fit.
    fn truncate_reg(&mut self, double: bool, to_wide: bool, dst: Reg, source: Reg) {
        let source = xmm(source);
        match (double, to_wide) {
            (false, false) => ins!(self.s.asm, cvttss2si_a, dst, source),
            (false, true) => ins!(self.s.asm, cvttss2si_aq, dst, source),
            (true, false) => ins!(self.s.asm, cvttsd2si_a, dst, source),
            (true, true) => ins!(self.s.asm, cvttsd2si_aq, dst, source),
        }
    }

    fn truncate_signed(&mut self, to_wide: bool) {
        self.s.clobber_flags();
        let mut value = self.s.pop();
        let double = value.repr() == F64;
        let source = self.s.reg_of(&mut value);
        let dst = self.s.alloc(Bank::General);
        self.truncate_reg(double, to_wide, dst, source);
        if self.settings.signals_based_traps {
            // Only the lowest integer minus 1 overflows.
            ins_wide!(self.s.asm, to_wide, cmpl_mi_sxb, cmpq_mi_sxb, dst, 1i8);
            let back = self.s.asm.label();
            let kind = ColdKind::CheckConversion { wide: to_wide, double, source, back };
            let label = self.cold(kind);
            self.s.asm.jcc(Cond::O, label);
            self.s.asm.bind(back);
        }
        self.s.release(value);
        self.s.push_reg(dst, if to_wide { I64 } else { I32 });
    }

    /// Compares a float register with a constant.
    fn compare_const(&mut self, double: bool, source: Reg, bound: f64) {
        let (bits, repr) = match double {
            true => (bound.to_bits(), F64),
            false => (u64::from((bound as f32).to_bits()), F32),
        };
        self.s.load_const(XMM15, bits, repr);
        ins_wide!(self.s.asm, double, ucomiss_a, ucomisd_a, xmm(source), xmm(XMM15));
    }

    /// Behind the function: the conversion gave the lowest integer. It is right if the value lies
    /// between what that integer's conversion covers.
    pub(crate) fn check_conversion(&mut self, wide: bool, double: bool, source: Reg, back: Label) {
        let (bad, overflow) = (self.s.asm.label(), self.s.asm.label());
        ins_wide!(self.s.asm, double, ucomiss_a, ucomisd_a, xmm(source), xmm(source));
        self.s.asm.jcc(Cond::P, bad);
        // Between -2^31 - 1 and -2^31 there are doubles, but no floats; nothing between -2^63 - 1
        // and -2^63.
        match (wide, double) {
            (false, true) => {
                self.compare_const(true, source, -2_147_483_649.0);
                self.s.asm.jcc(Cond::Be, overflow);
            }
            (false, false) => {
                self.compare_const(false, source, -2_147_483_648.0);
                self.s.asm.jcc(Cond::B, overflow);
            }
            (true, double) => {
                self.compare_const(double, source, -9_223_372_036_854_775_808.0);
                self.s.asm.jcc(Cond::B, overflow);
            }
        }
        self.compare_const(double, source, 0.0);
        self.s.asm.jcc(Cond::B, back);
        self.s.asm.bind(overflow);
        self.fault(Trap::IntegerOverflow);
        self.s.asm.bind(bad);
        self.fault(Trap::BadConversionToInteger);
    }

    pub(crate) fn bad_conversion(&mut self, double: bool, source: Reg) {
        let bad = self.s.asm.label();
        ins_wide!(self.s.asm, double, ucomiss_a, ucomisd_a, xmm(source), xmm(source));
        self.s.asm.jcc(Cond::P, bad);
        self.fault(Trap::IntegerOverflow);
        self.s.asm.bind(bad);
        self.fault(Trap::BadConversionToInteger);
    }

    fn fault(&mut self, trap: Trap) {
        self.may_fault(trap);
        self.s.asm.undefined();
    }

    fn truncate_signed_saturating(&mut self, to_wide: bool) {
        self.s.clobber_flags();
        let mut value = self.s.pop();
        let double = value.repr() == F64;
        let source = self.s.reg_of(&mut value);
        let dst = self.s.alloc(Bank::General);
        let (done, nan) = (self.s.asm.label(), self.s.asm.label());
        self.truncate_reg(double, to_wide, dst, source);
        ins_wide!(self.s.asm, to_wide, cmpl_mi_sxb, cmpq_mi_sxb, dst, 1i8);
        self.s.asm.jcc(Cond::No, done);
        self.compare_const(double, source, 0.0);
        self.s.asm.jcc(Cond::P, nan);
        // Below zero the lowest integer is right.
        self.s.asm.jcc(Cond::B, done);
        self.s.asm.constant(dst, if to_wide { i64::MAX as u64 } else { i32::MAX as u64 });
        self.s.asm.jmp(done);
        self.s.asm.bind(nan);
        self.s.asm.constant(dst, 0);
        self.s.asm.bind(done);
        self.s.release(value);
        self.s.push_reg(dst, if to_wide { I64 } else { I32 });
    }

    fn truncate_unsigned_32(&mut self, saturating: bool) {
        self.s.clobber_flags();
        let mut value = self.s.pop();
        let double = value.repr() == F64;
        let source = self.s.reg_of(&mut value);
        let dst = self.s.alloc(Bank::General);
        // In 64 bits all results fit, and only they leave the upper half zero.
        self.truncate_reg(double, true, dst, source);
        if saturating {
            let (done, low) = (self.s.asm.label(), self.s.asm.label());
            ins!(self.s.asm, movq_rm, R11, dst);
            ins!(self.s.asm, shrq_mi, R11, 32u8);
            self.s.asm.jcc(Cond::E, done);
            self.compare_const(double, source, 0.0);
            // Unordered or below zero.
            self.s.asm.jcc(Cond::B, low);
            self.s.asm.constant(dst, u64::from(u32::MAX));
            self.s.asm.jmp(done);
            self.s.asm.bind(low);
            self.s.asm.constant(dst, 0);
            self.s.asm.bind(done);
        } else if self.settings.signals_based_traps {
            ins!(self.s.asm, movq_rm, R11, dst);
            ins!(self.s.asm, shrq_mi, R11, 32u8);
            let label = self.cold(ColdKind::BadConversion { double, source });
            self.s.asm.jcc(Cond::Ne, label);
        } else {
            // The lowering checked the range.
            ins!(self.s.asm, movl_rm, dst, dst);
        }
        self.s.release(value);
        self.s.push_reg(dst, I32);
    }

    fn truncate_unsigned_64(&mut self, saturating: bool) {
        self.s.clobber_flags();
        let value = self.s.pop();
        let double = value.repr() == F64;
        let x = self.s.own(value);
        let dst = self.s.alloc(Bank::General);
        let (large, low, high, done) =
            (self.s.asm.label(), self.s.asm.label(), self.s.asm.label(), self.s.asm.label());
        let traps = self.settings.signals_based_traps && !saturating;
        self.compare_const(double, x, 9_223_372_036_854_775_808.0);
        // Unordered sets the same flag as below.
        self.s.asm.jcc(Cond::Ae, large);
        self.truncate_reg(double, true, dst, x);
        ins!(self.s.asm, testq_mr, dst, dst);
        if traps {
            // Negative: -1 or less, or not a number.
            let label = self.cold(ColdKind::BadConversion { double, source: x });
            self.s.asm.jcc(Cond::S, label);
        } else {
            self.s.asm.jcc(Cond::S, low);
        }
        self.s.asm.jmp(done);
        self.s.asm.bind(large);
        // 2^63 less, and that bit again. The bound is still in the scratch register.
        ins_wide!(self.s.asm, double, subss_a, subsd_a, xmm(x), xmm(XMM15));
        self.truncate_reg(double, true, dst, x);
        ins!(self.s.asm, testq_mr, dst, dst);
        if traps {
            let label = self.cold(ColdKind::Fault(Trap::IntegerOverflow));
            self.s.asm.jcc(Cond::S, label);
        } else {
            self.s.asm.jcc(Cond::S, high);
        }
        self.s.asm.constant(R11, 1 << 63);
        ins!(self.s.asm, orq_rm, dst, R11);
        if !traps {
            self.s.asm.jmp(done);
            self.s.asm.bind(low);
            self.s.asm.constant(dst, 0);
            self.s.asm.jmp(done);
            self.s.asm.bind(high);
            self.s.asm.constant(dst, u64::MAX);
        } else {
            self.s.asm.bind(low);
            self.s.asm.bind(high);
        }
        self.s.asm.bind(done);
        self.s.unhold(x);
        self.s.push_reg(dst, I64);
    }
}

//! Checks of divisions and conversions where faults of the processor may not be used.
//!
//! Invariant: after the checks of an instruction it cannot trap, so a tier may emit it in any form.

use crate::driver::Lowering;
use crate::emit::*;
use wardian_module::Trap;
use wasmparser::Operator;

/// Bounds of a conversion to an integer: a value converts if it is not NaN and lies strictly between
/// `low` and `high`, or equals `low` if `low_included`. All bounds are exact.
struct Range {
    low: Const,
    low_included: bool,
    high: Const,
}

const fn f32(low: f32, low_included: bool, high: f32) -> Range {
    Range { low: Const::F32(low.to_bits()), low_included, high: Const::F32(high.to_bits()) }
}

const fn f64(low: f64, low_included: bool, high: f64) -> Range {
    Range { low: Const::F64(low.to_bits()), low_included, high: Const::F64(high.to_bits()) }
}

const TWO_31: f64 = 2147483648.0;
const TWO_32: f64 = 4294967296.0;
const TWO_63: f64 = 9223372036854775808.0;
const TWO_64: f64 = 18446744073709551616.0;

impl<E: Emit> Lowering<'_, E> {
    /// Emits what must hold before `op`, whose operands stay on the stack.
    pub(crate) fn numeric_checks(&mut self, op: &Operator<'_>) {
        use Operator as O;
        match op {
            O::I32DivU | O::I32RemU | O::I32RemS => self.division(Const::I32(0), None),
            O::I64DivU | O::I64RemU | O::I64RemS => self.division(Const::I64(0), None),
            O::I32DivS => {
                let overflow = [Const::I32(i32::MIN as u32), Const::I32(u32::MAX)];
                self.division(Const::I32(0), Some(overflow));
            }
            O::I64DivS => {
                let overflow = [Const::I64(i64::MIN as u64), Const::I64(u64::MAX)];
                self.division(Const::I64(0), Some(overflow));
            }
            O::I32TruncF32S => self.conversion(f32(-TWO_31 as f32, true, TWO_31 as f32)),
            O::I32TruncF32U => self.conversion(f32(-1.0, false, TWO_32 as f32)),
            O::I32TruncF64S => self.conversion(f64(-TWO_31 - 1.0, false, TWO_31)),
            O::I32TruncF64U => self.conversion(f64(-1.0, false, TWO_32)),
            O::I64TruncF32S => self.conversion(f32(-TWO_63 as f32, true, TWO_63 as f32)),
            O::I64TruncF32U => self.conversion(f32(-1.0, false, TWO_64 as f32)),
            O::I64TruncF64S => self.conversion(f64(-TWO_63, true, TWO_63)),
            O::I64TruncF64U => self.conversion(f64(-1.0, false, TWO_64)),
            _ => {}
        }
    }

    /// The divisor is not `zero`; dividend and divisor are not the pair `overflow`.
    fn division(&mut self, zero: Const, overflow: Option<[Const; 2]>) {
        let divisor = self.emit.pop();
        let copy = self.emit.copy(&divisor);
        let is_zero = self.equals(copy, zero);
        self.numeric_trap(is_zero, Trap::IntegerDivisionByZero);
        if let Some([minimum, minus_one]) = overflow {
            let dividend = self.emit.pop();
            let copy = self.emit.copy(&divisor);
            let is_minus_one = self.equals(copy, minus_one);
            let copy = self.emit.copy(&dividend);
            let is_minimum = self.equals(copy, minimum);
            let overflows = self.emit.arith(Arith::And, is_minus_one, is_minimum);
            self.numeric_trap(overflows, Trap::IntegerOverflow);
            self.emit.push(dividend);
        }
        self.emit.push(divisor);
    }

    fn conversion(&mut self, range: Range) {
        let value = self.emit.pop();
        let (a, b) = (self.emit.copy(&value), self.emit.copy(&value));
        let is_nan = self.emit.compare(Compare::Ne, a, b);
        self.numeric_trap(is_nan, Trap::BadConversionToInteger);
        let copy = self.emit.copy(&value);
        let low = self.emit.constant(range.low);
        let below = if range.low_included { Compare::LtU } else { Compare::LeU };
        let below = self.emit.compare(below, copy, low);
        let copy = self.emit.copy(&value);
        let high = self.emit.constant(range.high);
        let above = self.emit.compare(Compare::GeU, copy, high);
        let outside = self.emit.arith(Arith::Or, below, above);
        self.numeric_trap(outside, Trap::IntegerOverflow);
        self.emit.push(value);
    }

    fn equals(&mut self, value: E::Value, constant: Const) -> E::Value {
        let constant = self.emit.constant(constant);
        self.emit.compare(Compare::Eq, value, constant)
    }

    fn numeric_trap(&mut self, condition: E::Value, trap: Trap) {
        self.emit.trap_if(condition, TrapInfo { trap, place: 0 }, Details::new());
    }
}

//! The calling convention of generated code: where each argument and result travels.
//!
//! It is Cranelift's `tail` convention restricted so that the host can follow it: the context comes
//! first; results past the return registers go to memory through a pointer that follows the context;
//! the callee pops stack arguments; the registers that the system's own convention saves survive a
//! call (but nothing survives into an exception handler, and code that pays has its fuel in one of them:
//! NOTE \[fuel register\] of `layout`). Compilers
//! build their signatures, and the kernel its register images, from [`CallLayout`]; a property test
//! calls random signatures both ways.

use crate::layout::Repr;
use crate::types::{FuncType, ValType};

/// Where an argument travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgLoc {
    /// The `n`th integer argument register.
    Int(u8),
    /// The `n`th vector argument register.
    Vector(u8),
    /// At this offset in bytes from the first stack argument.
    Stack(u32),
}

/// Where a result travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResultLoc {
    /// The `n`th integer return register.
    Int(u8),
    /// The `n`th vector return register.
    Vector(u8),
    /// At this offset in bytes in the result area, whose address is an argument.
    Area(u32),
}

/// Integer argument registers, context included.
pub const INT_ARGS: u8 = 6;
/// Vector argument registers.
pub const VECTOR_ARGS: u8 = 8;
/// Integer return registers used.
pub const INT_RESULTS: u8 = 2;
/// Vector return registers used.
pub const VECTOR_RESULTS: u8 = 2;

/// Locations of all arguments and results of a function type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallLayout {
    /// For each parameter.
    pub params: Vec<ArgLoc>,
    /// For each result.
    pub results: Vec<ResultLoc>,
    /// Bytes of stack arguments, a multiple of 16. The callee pops them.
    pub stack_bytes: u32,
    /// Bytes of the result area. When not zero its address is integer argument 1.
    pub area_bytes: u32,
    /// Whether an argument or result travels in a vector register.
    pub uses_vectors: bool,
    /// The kinds of arguments and results, if they are few and none is a reference.
    pub numbers: Option<Numbers>,
}

/// What matters of the type of a value that is no reference, where it is handed over. It is asked bit by bit: a jump
/// by a table for each value takes longer than all else there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumberKind(u8);

impl NumberKind {
    const WIDE: u8 = 1;
    const FLOAT: u8 = 2;
    const V128: u8 = 4;

    fn of(ty: ValType) -> Option<NumberKind> {
        Some(NumberKind(match ty {
            ValType::I32 => 0,
            ValType::I64 => NumberKind::WIDE,
            ValType::F32 => NumberKind::FLOAT,
            ValType::F64 => NumberKind::FLOAT | NumberKind::WIDE,
            ValType::V128 => NumberKind::V128,
            ValType::Ref(_) => return None,
        }))
    }

    /// Whether it is an `i32` or an `i64`.
    #[inline]
    pub const fn is_int(self) -> bool {
        self.0 & (NumberKind::FLOAT | NumberKind::V128) == 0
    }

    /// Whether it is a `v128`.
    #[inline]
    pub const fn is_v128(self) -> bool {
        self.0 & NumberKind::V128 != 0
    }

    /// Whether it is an `i64` or an `f64`.
    #[inline]
    pub const fn is_wide(self) -> bool {
        self.0 & NumberKind::WIDE != 0
    }
}

/// The kinds of all arguments and results of a function type without references, in two words that are copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// Four bits each, arguments first.
    kinds: u64,
    params: u8,
    results: u8,
}

impl Numbers {
    /// Arguments and results that fit.
    pub const MOST: usize = 16;

    fn of(ty: &FuncType) -> Option<Numbers> {
        let (params, results) = (ty.params(), ty.results());
        if params.len() + results.len() > Numbers::MOST {
            return None;
        }
        let mut kinds = 0;
        for (position, ty) in params.iter().chain(results).enumerate() {
            kinds |= u64::from(NumberKind::of(*ty)?.0) << (4 * position);
        }
        Some(Numbers { kinds, params: params.len() as u8, results: results.len() as u8 })
    }

    /// Number of arguments and of results.
    #[inline]
    pub const fn counts(self) -> (usize, usize) {
        (self.params as usize, self.results as usize)
    }

    /// The kinds of the arguments, in order. What follows the last means nothing, and never ends.
    #[inline]
    pub fn params(self) -> impl Iterator<Item = NumberKind> {
        Kinds(self.kinds)
    }

    /// The kinds of the results, in order. What follows the last means nothing, and never ends.
    #[inline]
    pub fn results(self) -> impl Iterator<Item = NumberKind> {
        // (Sixteen arguments leave no result.)
        Kinds(self.kinds.wrapping_shr(4 * u32::from(self.params)))
    }
}

/// Whoever asks counts the values themselves.
struct Kinds(u64);

impl Iterator for Kinds {
    type Item = NumberKind;

    #[inline]
    fn next(&mut self) -> Option<NumberKind> {
        let kind = NumberKind(self.0 as u8 & 15);
        self.0 >>= 4;
        Some(kind)
    }
}

/// Whether it travels in integer registers, and not in vector registers.
#[inline]
pub const fn is_int(repr: Repr) -> bool {
    matches!(repr, Repr::I32 | Repr::I64 | Repr::Pointer | Repr::Ref)
}

/// Gives out the locations of arguments, in order.
#[derive(Clone, Debug)]
pub struct ArgCursor {
    ints: u8,
    vectors: u8,
    stack: u32,
}

impl ArgCursor {
    /// Before the first parameter. Registers of the context and, if there is one, of the pointer to
    /// the result area are taken.
    pub const fn new(has_area: bool) -> ArgCursor {
        ArgCursor { ints: 1 + has_area as u8, vectors: 0, stack: 0 }
    }

    /// Where the next argument travels.
    #[inline]
    pub fn next(&mut self, repr: Repr) -> ArgLoc {
        if is_int(repr) {
            if self.ints < INT_ARGS {
                self.ints += 1;
                return ArgLoc::Int(self.ints - 1);
            }
        } else if self.vectors < VECTOR_ARGS {
            self.vectors += 1;
            return ArgLoc::Vector(self.vectors - 1);
        }
        let size = repr.bytes().max(8);
        let offset = self.stack.next_multiple_of(size);
        self.stack = offset + size;
        ArgLoc::Stack(offset)
    }

    /// Bytes of stack arguments so far, a multiple of 16.
    pub const fn stack_bytes(&self) -> u32 {
        self.stack.next_multiple_of(16)
    }

    /// Whether a vector register was given out.
    pub const fn uses_vectors(&self) -> bool {
        self.vectors > 0
    }
}

/// Gives out the locations of results, in order.
#[derive(Clone, Debug, Default)]
pub struct ResultCursor {
    ints: u8,
    vectors: u8,
    area: u32,
}

impl ResultCursor {
    /// Where the next result travels.
    #[inline]
    pub fn next(&mut self, repr: Repr) -> ResultLoc {
        if is_int(repr) {
            if self.ints < INT_RESULTS {
                self.ints += 1;
                return ResultLoc::Int(self.ints - 1);
            }
        } else if self.vectors < VECTOR_RESULTS {
            self.vectors += 1;
            return ResultLoc::Vector(self.vectors - 1);
        }
        // Each slot has 16 bytes: the same as a global's.
        self.area += 16;
        ResultLoc::Area(self.area - 16)
    }

    /// Bytes of the result area so far.
    pub const fn area_bytes(&self) -> u32 {
        self.area
    }
}

impl CallLayout {
    /// The layout of calls to functions of type `ty`.
    pub fn new(ty: &FuncType) -> CallLayout {
        let mut cursor = ResultCursor::default();
        let results = ty.results().iter().map(|ty| cursor.next(Repr::of(*ty))).collect();
        let area_bytes = cursor.area_bytes();
        let mut cursor = ArgCursor::new(area_bytes > 0);
        let params = ty.params().iter().map(|ty| cursor.next(Repr::of(*ty))).collect();
        let types = ty.params().iter().chain(ty.results());
        let uses_vectors = types.into_iter().any(|ty| !is_int(Repr::of(*ty)));
        CallLayout {
            params,
            results,
            stack_bytes: cursor.stack_bytes(),
            area_bytes,
            uses_vectors,
            numbers: Numbers::of(ty),
        }
    }

    /// Whether every argument travels in a register and there is at most one result: what a function
    /// of the host's own convention with the same arguments can receive directly.
    pub fn fits_registers(&self) -> bool {
        self.stack_bytes == 0 && self.area_bytes == 0 && self.results.len() <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ValType::*;

    #[test]
    fn registers_then_stack() {
        let layout = CallLayout::new(&FuncType::new([I32; 7], [I32]));
        assert_eq!(layout.params[4], ArgLoc::Int(5));
        assert_eq!(layout.params[5..], [ArgLoc::Stack(0), ArgLoc::Stack(8)]);
        assert_eq!(layout.stack_bytes, 16);
        assert!(!layout.fits_registers());
    }

    #[test]
    fn vectors_on_the_stack_are_aligned() {
        let mut params = vec![F32; 9];
        params.push(V128);
        let layout = CallLayout::new(&FuncType::new(params, []));
        assert_eq!(layout.params[8..], [ArgLoc::Stack(0), ArgLoc::Stack(16)]);
        assert_eq!(layout.stack_bytes, 32);
    }

    #[test]
    fn few_numbers_are_packed() {
        let numbers = |params, results: [ValType; 2]| {
            let ty = FuncType::new(vec![I64; params], results);
            CallLayout::new(&ty).numbers
        };
        let kind = |ty| NumberKind::of(ty).unwrap();
        let few = numbers(14, [F64, V128]).unwrap();
        assert_eq!(few.counts(), (14, 2));
        assert!(few.params().take(14).eq([kind(I64); 14]));
        assert!(few.results().take(2).eq([kind(F64), kind(V128)]));
        assert!(kind(I64).is_int() && kind(I64).is_wide() && !kind(F32).is_wide());
        assert!(!kind(F64).is_int() && !kind(V128).is_int() && kind(V128).is_v128());
        assert_eq!(numbers(15, [I32, I32]), None);
        assert_eq!(numbers(1, [I32, Ref(crate::RefType::FUNCREF)]), None);
        let most = CallLayout::new(&FuncType::new([F32; 16], [])).numbers.unwrap();
        assert!(most.counts() == (16, 0) && most.params().take(16).eq([kind(F32); 16]));
    }

    #[test]
    fn third_integer_result_goes_to_the_area_and_takes_an_argument_register() {
        let layout = CallLayout::new(&FuncType::new([I32], [I32, F32, I64, I32, F64, F32]));
        assert_eq!(layout.results[3], ResultLoc::Area(0));
        assert_eq!(layout.results[5], ResultLoc::Area(16));
        assert_eq!(layout.params[0], ArgLoc::Int(2));
        assert_eq!(layout.area_bytes, 32);
    }
}

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
use crate::types::FuncType;

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
    /// Whether no argument or result is a reference.
    pub is_numeric: bool,
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
            is_numeric: ty.is_numeric(),
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
    fn third_integer_result_goes_to_the_area_and_takes_an_argument_register() {
        let layout = CallLayout::new(&FuncType::new([I32], [I32, F32, I64, I32, F64, F32]));
        assert_eq!(layout.results[3], ResultLoc::Area(0));
        assert_eq!(layout.results[5], ResultLoc::Area(16));
        assert_eq!(layout.params[0], ArgLoc::Int(2));
        assert_eq!(layout.area_bytes, 32);
    }
}

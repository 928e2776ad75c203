//! Names for what vector registers hold, and for what is made of them.
//!
//! A name says which instruction made the value and of what; nothing is computed. Code generators make a
//! comparison of vectors again where it is used, and so two of the same are one.
//!
//! Invariant: two values of one name are equal in all bits that any instruction here reads. Where that
//! is in doubt - memory, wider registers, what an instruction reads without naming it - there is no name.

use crate::flow::{State, Walker, number};
use crate::value::*;
use iced_x86::{EncodingKind, Instruction, Mnemonic, OpAccess, OpKind, Register};

/// Registers that are followed.
pub(crate) const VECTORS: usize = 16;
/// The first of them as a variable, behind what [`Node::Made`] is told of otherwise.
const FIRST: u8 = 32;
/// Operands of a name.
const MOST: usize = 4;

/// The number of a vector register of which 128 bits are used.
fn vector(register: Register) -> Option<usize> {
    (Register::XMM0..=Register::XMM15)
        .contains(&register)
        .then(|| register as usize - Register::XMM0 as usize)
}

/// The number of the vector register that one of any width is part of.
pub(crate) fn vector_of_any_width(register: Register) -> Option<usize> {
    vector(match register {
        _ if register.is_vector_register() => Register::XMM0 + register.number() as u32,
        _ => return None,
    })
}

fn registers(instruction: &Instruction) -> impl Iterator<Item = Register> {
    let is_register = |operand: &u32| instruction.op_kind(*operand) == OpKind::Register;
    (0..instruction.op_count()).filter(is_register).map(|operand| instruction.op_register(operand))
}

/// Whether an operand is a vector register.
pub(crate) fn names_vectors(instruction: &Instruction) -> bool {
    registers(instruction).any(|register| vector(register).is_some())
}

/// Whether an operand is this register, or a part of it.
pub(crate) fn is_operand(instruction: &Instruction, register: Register) -> bool {
    registers(instruction).any(|operand| operand.full_register() == register.full_register())
}

/// What all vector registers hold: at entry, or where a block begins.
pub(crate) fn unknown(values: &mut Values, mut name: impl FnMut(u8) -> Node) -> [Id; VECTORS] {
    std::array::from_fn(|vector| values.make(name(FIRST + vector as u8)))
}

impl Walker<'_> {
    /// What a vector register holds of which an instruction made something without a name.
    pub(crate) fn made_vector(&mut self, ip: u32, vector: usize) -> Id {
        self.values.make(Node::Made { ip, var: FIRST + vector as u8, bits: 64 })
    }

    /// What an instruction makes in its first operand, or in the flags, of vector registers and numbers.
    /// `first` is how it accesses its first operand; all that it reads is among its operands.
    pub(crate) fn name_vector(
        &mut self,
        instruction: &Instruction,
        state: &State,
        first: OpAccess,
    ) -> Option<Id> {
        use Mnemonic as M;
        let count = instruction.op_count();
        let encoding = instruction.code().encoding();
        if !matches!(encoding, EncodingKind::Legacy | EncodingKind::VEX) || count > MOST as u32 {
            return None;
        }
        let same = |a: u32, b: u32| {
            [a, b].iter().all(|operand| instruction.op_kind(*operand) == OpKind::Register)
                && instruction.op_register(a) == instruction.op_register(b)
        };
        match instruction.mnemonic() {
            M::Pxor | M::Xorps | M::Xorpd if same(0, 1) => return Some(ZERO),
            M::Vpxor | M::Vxorps | M::Vxorpd if same(1, 2) => return Some(ZERO),
            M::Movdqa
            | M::Movdqu
            | M::Movaps
            | M::Movups
            | M::Movapd
            | M::Movupd
            | M::Vmovdqa
            | M::Vmovdqu
            | M::Vmovaps
            | M::Vmovups
            | M::Vmovapd
            | M::Vmovupd
                if count == 2 && instruction.op_kind(1) == OpKind::Register =>
            {
                return vector(instruction.op_register(1)).map(|from| state.vectors[from]);
            }
            _ => {}
        }
        // Older encodings may leave parts of a vector register as they were.
        let replaced = first == OpAccess::Write
            && (encoding == EncodingKind::VEX || number(instruction.op0_register()).is_some());
        let mut operands = [ZERO; MOST];
        let mut number_seen = None;
        for operand in u32::from(replaced)..count {
            operands[operand as usize] = match instruction.op_kind(operand) {
                OpKind::Register => {
                    let register = instruction.op_register(operand);
                    match vector(register) {
                        Some(vector) => state.vectors[vector],
                        None if number(register).is_some() => {
                            self.operand(instruction, state, operand)
                        }
                        None => return None,
                    }
                }
                OpKind::Immediate8 if number_seen.is_none() => {
                    number_seen = Some(instruction.immediate8());
                    ZERO
                }
                _ => return None,
            };
        }
        let (code, number) = (instruction.code() as u16, number_seen.unwrap_or(0));
        Some(self.values.make(Node::Vector { code, number, operands }))
    }
}

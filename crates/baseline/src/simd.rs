//! Vector instructions.

use crate::asm::*;
use crate::emit::Tier;
use crate::state::*;
use wardian_lower::Access;
use wasmparser::Operator;

impl Tier<'_> {
    /// Emits a vector instruction. The driver forwards no others.
    pub(crate) fn vector(&mut self, op: &Operator<'_>) {
        let _ = op;
        self.unsupported();
    }

    /// A vector constant.
    pub(crate) fn vector_constant(&mut self, bits: u128) -> Value {
        let _ = bits;
        self.unsupported();
        self.s.constant(0, wardian_module::layout::Repr::V128)
    }

    /// Loads and widens or repeats.
    pub(crate) fn vector_load(&mut self, access: Access, dst: Reg, mem: Mem) {
        let _ = (access, dst, mem);
        self.unsupported();
    }

    pub(crate) fn insert_lane(
        &mut self,
        bits: u8,
        lane: u8,
        vector: Value,
        scalar: Value,
    ) -> Value {
        let _ = (bits, lane);
        self.s.release(scalar);
        self.unsupported();
        vector
    }

    pub(crate) fn read_lane(&mut self, bits: u8, lane: u8, vector: Value) -> Value {
        let _ = (bits, lane);
        self.s.release(vector);
        self.unsupported();
        self.s.constant(0, wardian_module::layout::Repr::I64)
    }

    fn unsupported(&mut self) {
        self.s.failed.get_or_insert("a vector instruction");
    }
}

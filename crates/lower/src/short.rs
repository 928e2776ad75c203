//! Decoding of instructions in their short forms: those whose immediates are small numbers, which is
//! nearly all. Everything else is decoded by `wasmparser`, which this file only saves the trouble.
//!
//! Invariants:
//! - What is decoded here goes to the validator and to the lowering, as does what `wasmparser` decodes:
//!   there is one instruction, and nothing is lowered but what was validated (see `visit`).
//! - All of them take that way through `visit`, but for locals, loads and stores: these call the validator
//!   and then the lowering here, with fewer steps in between.
//! - A form decoded here has exactly one reading in the binary format, whatever proposals are on. Bytes
//!   that could mean anything else, or nothing, are left to `wasmparser`.

use crate::driver::{Failure, Lowering};
use crate::emit::Emit;
use crate::visit::Visit;
use wasmparser::{BinaryReader, BlockType, MemArg, MemArgTarget, Operator, ValType, VisitOperator};

/// Bytes looked at together: at least those of the longest form decoded here.
const WINDOW: usize = 8;

/// An unsigned LEB128 number of 32 bits at the low end of `bits`, and its length.
#[inline(always)]
fn unsigned(bits: u64) -> Option<(u32, usize)> {
    if bits & 0x80 == 0 {
        return Some((bits as u32 & 0x7f, 1));
    }
    longer(bits)
}

/// `unsigned` for at least two bytes. Linkers write five.
fn longer(bits: u64) -> Option<(u32, usize)> {
    let (value, length) = digits(bits)?;
    // The fifth byte has four bits to give.
    (length < 5 || bits >> 32 & 0xf0 == 0).then_some((value, length))
}

/// The low 32 bits of a number of at least two and at most five bytes, and its length.
#[inline]
fn digits(bits: u64) -> Option<(u32, usize)> {
    let ends = !bits & 0x80_8080_8080;
    let length = ends.trailing_zeros() as usize / 8 + 1;
    let low = bits & 0x7f | bits >> 1 & 0x3f80;
    let middle = bits >> 2 & 0x1f_c000 | bits >> 3 & 0xfe0_0000;
    let value = (low | middle | bits >> 4 & 0xf000_0000) as u32;
    match length {
        2 => Some((low as u32, 2)),
        3 => Some((value & 0x1f_ffff, 3)),
        4 => Some((value & 0xfff_ffff, 4)),
        5 => Some((value, 5)),
        _ => None,
    }
}

/// A signed LEB128 number of 32 bits at the low end of `bits`, and its length.
#[inline(always)]
fn signed(bits: u64) -> Option<(i32, usize)> {
    if bits & 0x80 == 0 {
        return Some(((bits as i32) << 25 >> 25, 1));
    }
    longer_signed(bits)
}

/// `signed` for at least two bytes.
fn longer_signed(bits: u64) -> Option<(i32, usize)> {
    let (value, length) = digits(bits)?;
    if length == 5 {
        // What the fifth byte has above the four bits it gives is the sign.
        return matches!(bits >> 32 & 0x78, 0 | 0x78).then_some((value as i32, 5));
    }
    let unused = 32 - 7 * length as u32;
    Some(((value << unused) as i32 >> unused, length))
}

/// A signed LEB128 number of 64 bits and at most seven bytes at the low end of `bits`, and its length.
#[inline(always)]
fn signed_long(bits: u64) -> Option<(i64, usize)> {
    if bits & 0x80 == 0 {
        return Some(((bits as i64) << 57 >> 57, 1));
    }
    longer_signed_long(bits)
}

/// `signed_long` for at least two bytes.
fn longer_signed_long(bits: u64) -> Option<(i64, usize)> {
    let ends = !bits & 0x80_8080_8080_8080;
    if ends == 0 {
        return None;
    }
    let length = ends.trailing_zeros() as usize / 8 + 1;
    // Neighbours move together: two of 7 bits, of 14, of 28.
    let value = bits & 0x7f_007f_007f_007f | bits >> 1 & 0x3f80_3f80_3f80;
    let value = value & 0x3fff_0000_3fff | value >> 2 & 0xfff_c000_0fff_c000;
    let value = value & 0xfff_ffff | value >> 4 & 0xff_ffff_f000_0000;
    let unused = 64 - 7 * length as u32;
    Some(((value << unused) as i64 >> unused, length))
}

/// A block type other than that of a function.
#[inline]
fn block_type(byte: u8) -> Option<BlockType> {
    Some(match byte {
        0x40 => BlockType::Empty,
        0x7f => BlockType::Type(ValType::I32),
        0x7e => BlockType::Type(ValType::I64),
        0x7d => BlockType::Type(ValType::F32),
        0x7c => BlockType::Type(ValType::F64),
        _ => return None,
    })
}

/// An alignment without flags, an offset into memory 0, and their length.
#[inline(always)]
fn memory_place(bits: u64) -> Option<(u8, u32, usize)> {
    let align = bits as u8;
    if align > 3 {
        return None;
    }
    let (offset, length) = unsigned(bits >> 8)?;
    Some((align, offset, 1 + length))
}

impl<'a, E: Emit> Lowering<'a, E> {
    /// Decodes, validates and lowers instructions until there are no more than `base` frames, or the bytes
    /// end, or the tier gives up.
    pub(crate) fn instructions(&mut self, base: usize) -> Result<(), Failure> {
        let outer = std::mem::replace(&mut self.base, base);
        while !self.ended && !self.emit.gave_up() {
            let at = self.position;
            if at == self.metering.stop {
                self.pay();
            }
            match self.bytes.get(at..).and_then(<[u8]>::first_chunk::<WINDOW>) {
                Some(window) => self.instruction(at, u64::from_le_bytes(*window))?,
                None if at < self.bytes.len() => self.long_form()?,
                None => break,
            }
        }
        self.ended = false;
        self.base = outer;
        Ok(())
    }

    /// The instruction at the current position, `at`, which begins with these bytes; moves behind it.
    #[inline(always)]
    fn instruction(&mut self, at: usize, bits: u64) -> Result<(), Failure> {
        let offset = self.start + at as u64;

        macro_rules! short_forms {
            (
                locals: { $($local:literal => $visit_local:ident $lower_local:ident,)* }
                numbers: { $($number:literal => $visit_number:ident,)* }
                blocks: { $($block:literal => $visit_block:ident,)* }
                accesses: { $($access:literal => $visit_access:ident $op_access:ident $access_align:literal,)* }
                plain: { $($plain:literal => $visit_plain:ident,)* }
            ) => {
                match bits as u8 {
                    $($local => match unsigned(bits >> 8) {
                        Some((local, length)) => {
                            self.position = at + 1 + length;
                            self.validator.visitor(offset).$visit_local(local)?;
                            self.$lower_local(local, offset);
                            Ok(())
                        }
                        None => self.long_form(),
                    },)*
                    $($number => match unsigned(bits >> 8) {
                        Some((number, length)) => {
                            self.position = at + 1 + length;
                            Visit { lowering: self, offset }.$visit_number(number)
                        }
                        None => self.long_form(),
                    },)*
                    $($block => match block_type((bits >> 8) as u8) {
                        Some(ty) => {
                            self.position = at + 2;
                            Visit { lowering: self, offset }.$visit_block(ty)
                        }
                        None => self.long_form(),
                    },)*
                    $($access => match memory_place(bits >> 8) {
                        Some((align, start, length)) => {
                            self.position = at + 1 + length;
                            let place = (align, $access_align, start);
                            self.access_at(place, |lowering, memarg| {
                                lowering.validator.visitor(offset).$visit_access(memarg)?;
                                lowering.scalar_access(&Operator::$op_access { memarg }, offset);
                                Ok(())
                            })
                        }
                        None => self.long_form(),
                    },)*
                    $($plain => {
                        self.position = at + 1;
                        Visit { lowering: self, offset }.$visit_plain()
                    },)*
                    0x41 => match signed(bits >> 8) {
                        Some((number, length)) => {
                            self.position = at + 1 + length;
                            Visit { lowering: self, offset }.visit_i32_const(number)
                        }
                        None => self.long_form(),
                    },
                    0x42 => match signed_long(bits >> 8) {
                        Some((number, length)) => {
                            self.position = at + 1 + length;
                            Visit { lowering: self, offset }.visit_i64_const(number)
                        }
                        None => self.long_form(),
                    },
                    _ => self.long_form(),
                }
            };
        }
        short_forms! {
            // The commonest: not even a call lies between.
            locals: {
                0x20 => visit_local_get local_get,
                0x21 => visit_local_set local_set,
                0x22 => visit_local_tee local_tee,
            }
            numbers: {
                0x0c => visit_br,
                0x0d => visit_br_if,
                0x10 => visit_call,
                0x23 => visit_global_get,
                0x24 => visit_global_set,
            }
            blocks: {
                0x02 => visit_block,
                0x03 => visit_loop,
                0x04 => visit_if,
            }
            // With their natural alignment.
            accesses: {
                0x28 => visit_i32_load I32Load 2,
                0x29 => visit_i64_load I64Load 3,
                0x2a => visit_f32_load F32Load 2,
                0x2b => visit_f64_load F64Load 3,
                0x2c => visit_i32_load8_s I32Load8S 0,
                0x2d => visit_i32_load8_u I32Load8U 0,
                0x2e => visit_i32_load16_s I32Load16S 1,
                0x2f => visit_i32_load16_u I32Load16U 1,
                0x30 => visit_i64_load8_s I64Load8S 0,
                0x31 => visit_i64_load8_u I64Load8U 0,
                0x32 => visit_i64_load16_s I64Load16S 1,
                0x33 => visit_i64_load16_u I64Load16U 1,
                0x34 => visit_i64_load32_s I64Load32S 2,
                0x35 => visit_i64_load32_u I64Load32U 2,
                0x36 => visit_i32_store I32Store 2,
                0x37 => visit_i64_store I64Store 3,
                0x38 => visit_f32_store F32Store 2,
                0x39 => visit_f64_store F64Store 3,
                0x3a => visit_i32_store8 I32Store8 0,
                0x3b => visit_i32_store16 I32Store16 1,
                0x3c => visit_i64_store8 I64Store8 0,
                0x3d => visit_i64_store16 I64Store16 1,
                0x3e => visit_i64_store32 I64Store32 2,
            }
            plain: {
                0x0b => visit_end,
                0x0f => visit_return,
                0x1a => visit_drop,
                0x1b => visit_select,
                0x45 => visit_i32_eqz,
                0x46 => visit_i32_eq,
                0x47 => visit_i32_ne,
                0x48 => visit_i32_lt_s,
                0x49 => visit_i32_lt_u,
                0x4a => visit_i32_gt_s,
                0x4b => visit_i32_gt_u,
                0x4c => visit_i32_le_s,
                0x4d => visit_i32_le_u,
                0x4e => visit_i32_ge_s,
                0x4f => visit_i32_ge_u,
                0x50 => visit_i64_eqz,
                0x51 => visit_i64_eq,
                0x52 => visit_i64_ne,
                0x53 => visit_i64_lt_s,
                0x54 => visit_i64_lt_u,
                0x55 => visit_i64_gt_s,
                0x56 => visit_i64_gt_u,
                0x57 => visit_i64_le_s,
                0x58 => visit_i64_le_u,
                0x59 => visit_i64_ge_s,
                0x5a => visit_i64_ge_u,
                0x5b => visit_f32_eq,
                0x5c => visit_f32_ne,
                0x5d => visit_f32_lt,
                0x5e => visit_f32_gt,
                0x5f => visit_f32_le,
                0x60 => visit_f32_ge,
                0x61 => visit_f64_eq,
                0x62 => visit_f64_ne,
                0x63 => visit_f64_lt,
                0x64 => visit_f64_gt,
                0x65 => visit_f64_le,
                0x66 => visit_f64_ge,
                0x67 => visit_i32_clz,
                0x68 => visit_i32_ctz,
                0x69 => visit_i32_popcnt,
                0x6a => visit_i32_add,
                0x6b => visit_i32_sub,
                0x6c => visit_i32_mul,
                0x6d => visit_i32_div_s,
                0x6e => visit_i32_div_u,
                0x6f => visit_i32_rem_s,
                0x70 => visit_i32_rem_u,
                0x71 => visit_i32_and,
                0x72 => visit_i32_or,
                0x73 => visit_i32_xor,
                0x74 => visit_i32_shl,
                0x75 => visit_i32_shr_s,
                0x76 => visit_i32_shr_u,
                0x77 => visit_i32_rotl,
                0x78 => visit_i32_rotr,
                0x79 => visit_i64_clz,
                0x7a => visit_i64_ctz,
                0x7b => visit_i64_popcnt,
                0x7c => visit_i64_add,
                0x7d => visit_i64_sub,
                0x7e => visit_i64_mul,
                0x7f => visit_i64_div_s,
                0x80 => visit_i64_div_u,
                0x81 => visit_i64_rem_s,
                0x82 => visit_i64_rem_u,
                0x83 => visit_i64_and,
                0x84 => visit_i64_or,
                0x85 => visit_i64_xor,
                0x86 => visit_i64_shl,
                0x87 => visit_i64_shr_s,
                0x88 => visit_i64_shr_u,
                0x89 => visit_i64_rotl,
                0x8a => visit_i64_rotr,
                0x8b => visit_f32_abs,
                0x8c => visit_f32_neg,
                0x8d => visit_f32_ceil,
                0x8e => visit_f32_floor,
                0x8f => visit_f32_trunc,
                0x90 => visit_f32_nearest,
                0x91 => visit_f32_sqrt,
                0x92 => visit_f32_add,
                0x93 => visit_f32_sub,
                0x94 => visit_f32_mul,
                0x95 => visit_f32_div,
                0x96 => visit_f32_min,
                0x97 => visit_f32_max,
                0x98 => visit_f32_copysign,
                0x99 => visit_f64_abs,
                0x9a => visit_f64_neg,
                0x9b => visit_f64_ceil,
                0x9c => visit_f64_floor,
                0x9d => visit_f64_trunc,
                0x9e => visit_f64_nearest,
                0x9f => visit_f64_sqrt,
                0xa0 => visit_f64_add,
                0xa1 => visit_f64_sub,
                0xa2 => visit_f64_mul,
                0xa3 => visit_f64_div,
                0xa4 => visit_f64_min,
                0xa5 => visit_f64_max,
                0xa6 => visit_f64_copysign,
                0xa7 => visit_i32_wrap_i64,
                0xa8 => visit_i32_trunc_f32_s,
                0xa9 => visit_i32_trunc_f32_u,
                0xaa => visit_i32_trunc_f64_s,
                0xab => visit_i32_trunc_f64_u,
                0xac => visit_i64_extend_i32_s,
                0xad => visit_i64_extend_i32_u,
                0xae => visit_i64_trunc_f32_s,
                0xaf => visit_i64_trunc_f32_u,
                0xb0 => visit_i64_trunc_f64_s,
                0xb1 => visit_i64_trunc_f64_u,
                0xb2 => visit_f32_convert_i32_s,
                0xb3 => visit_f32_convert_i32_u,
                0xb4 => visit_f32_convert_i64_s,
                0xb5 => visit_f32_convert_i64_u,
                0xb6 => visit_f32_demote_f64,
                0xb7 => visit_f64_convert_i32_s,
                0xb8 => visit_f64_convert_i32_u,
                0xb9 => visit_f64_convert_i64_s,
                0xba => visit_f64_convert_i64_u,
                0xbb => visit_f64_promote_f32,
                0xbc => visit_i32_reinterpret_f32,
                0xbd => visit_i64_reinterpret_f64,
                0xbe => visit_f32_reinterpret_i32,
                0xbf => visit_f64_reinterpret_i64,
                0xc0 => visit_i32_extend8_s,
                0xc1 => visit_i32_extend16_s,
                0xc2 => visit_i64_extend8_s,
                0xc3 => visit_i64_extend16_s,
                0xc4 => visit_i64_extend32_s,
            }
        }
    }

    /// A load or store of memory 0, given by its alignment, the natural one, and its offset. One function
    /// for each `access`: these numbers travel in registers, and only there become a `MemArg`.
    #[inline(never)]
    fn access_at(
        &mut self,
        (align, max_align, offset): (u8, u8, u32),
        access: impl FnOnce(&mut Self, MemArg) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let target = MemArgTarget::Memory(0);
        let offset = u64::from(offset);
        let memarg = MemArg { align, max_align, offset, target, ordering: None };
        access(self, memarg)
    }

    /// As `instruction`, with `wasmparser` decoding.
    #[inline(never)]
    fn long_form(&mut self) -> Result<(), Failure> {
        let offset = self.start + self.position as u64;
        let mut reader = self.reader();
        // Where it ends is found out on the way.
        self.behind_is_known = false;
        let result = reader.visit_operator(&mut Visit { lowering: self, offset });
        self.behind_is_known = true;
        self.position = (reader.original_position() - self.start) as usize;
        result?
    }

    /// What is left of the body.
    pub(crate) fn reader(&self) -> BinaryReader<'a> {
        let bytes = self.bytes.get(self.position..).unwrap_or_default();
        let features = *self.validator.features();
        BinaryReader::new_features(bytes, self.start + self.position as u64, features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned_bytes(bits: u64) -> Option<(u32, usize)> {
        let bytes = bits.to_le_bytes();
        let mut reader = BinaryReader::new(&bytes, 0);
        let value = reader.read_var_u32().ok()?;
        Some((value, reader.original_position() as usize))
    }

    fn signed_bytes(bits: u64) -> Option<(i32, usize)> {
        let bytes = bits.to_le_bytes();
        let mut reader = BinaryReader::new(&bytes, 0);
        let value = reader.read_var_i32().ok()?;
        Some((value, reader.original_position() as usize))
    }

    #[test]
    fn long_numbers_are_read_as_wasmparser_reads_them() {
        let interesting = [0x00, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff];
        for numbers in 0..8u64.pow(7) {
            let digit = |place: u32| interesting[(numbers >> (3 * place) & 7) as usize];
            let bytes = [0, 1, 2, 3, 4, 5, 6].map(digit);
            let mut reader = BinaryReader::new(&bytes, 0);
            let expected = reader.read_var_i64().ok();
            let expected = expected.map(|value| (value, reader.original_position() as usize));
            let [a, b, c, d, e, f, g] = bytes;
            let bits = u64::from_le_bytes([a, b, c, d, e, f, g, 0]);
            assert_eq!(signed_long(bits), expected, "{bits:x}");
        }
    }

    #[test]
    fn numbers_are_read_as_wasmparser_reads_them() {
        let interesting = [0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xbf, 0xc0, 0xff];
        for a in interesting {
            for b in interesting {
                for c in interesting {
                    for d in interesting {
                        for e in 0..=255 {
                            let bits = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
                            assert_eq!(unsigned(bits), unsigned_bytes(bits), "{bits:x}");
                            assert_eq!(signed(bits), signed_bytes(bits), "{bits:x}");
                        }
                    }
                }
            }
        }
    }
}

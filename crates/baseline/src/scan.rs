//! A first look at a function's body: how often each local is used, so that the busiest get registers
//! of their own.
//!
//! All of it is a hint, for nothing here was validated, and the common instructions are only stepped over
//! (`wasmparser` decodes the others). How often does not matter to what is right. That a local is not used
//! means that it is never stored nor zeroed; an access to such a local is refused when it comes
//! (`State::named`), so a mistake here can make a compilation fail, and nothing else.

use wasmparser::{
    BinaryReader, FrameKind, FrameStack, FunctionBody, VisitOperator, VisitSimdOperator,
    WasmFeatures,
};

/// How often things are used, loops counted more.
#[derive(Default)]
pub(crate) struct Uses {
    /// For each local, parameters included.
    pub(crate) locals: Vec<u32>,
    /// Accesses to memory 0.
    pub(crate) memory: u32,
    /// Accesses to globals.
    pub(crate) globals: u32,
    /// Calls of any kind.
    pub(crate) calls: u32,
    /// Whether there are handlers of exceptions.
    pub(crate) handlers: bool,
    /// What one use counts here.
    weight: u32,
    /// For each open block, the weight outside.
    outer: Vec<u32>,
    /// Whether the whole body was seen.
    complete: bool,
}

/// spec (appendix "Implementation Limitations"): locals of a function.
const MAX_LOCALS: usize = 50_000;
/// A use in a loop counts this many times one outside.
const LOOP_WEIGHT: u32 = 8;
/// The most that one use counts.
const MAX_WEIGHT: u32 = LOOP_WEIGHT * LOOP_WEIGHT * LOOP_WEIGHT * LOOP_WEIGHT;

/// Bytes looked at together.
const WINDOW: usize = 8;

/// Bytes of a number of 32 bits at the low end of `bits`.
#[inline]
fn number_length(bits: u64) -> usize {
    let ends = !bits & 0x8080_8080 | 1 << 39;
    ends.trailing_zeros() as usize / 8 + 1
}

/// What follows an opcode.
#[derive(Clone, Copy)]
enum Shape {
    /// Left to `wasmparser`.
    Rare,
    Plain,
    /// Of 32 bits.
    Number,
    /// Of 64 bits.
    LongNumber,
    Float,
    Double,
    Local,
    Global,
    Call,
    Access,
    Block,
    Loop,
    End,
}

/// By opcode.
static SHAPES: [Shape; 256] = {
    let mut shapes = [Shape::Rare; 256];
    let mut opcode = 0;
    while opcode < 256 {
        shapes[opcode] = match opcode {
            // unreachable, nop, else, return, drop, select; comparisons and arithmetic
            0x00 | 0x01 | 0x05 | 0x0f | 0x1a | 0x1b | 0x45..=0xc4 => Shape::Plain,
            0x02 | 0x04 => Shape::Block,
            0x03 => Shape::Loop,
            0x0b => Shape::End,
            // br, br_if, constants
            0x0c | 0x0d | 0x41 => Shape::Number,
            0x42 => Shape::LongNumber,
            0x10 => Shape::Call,
            0x20..=0x22 => Shape::Local,
            0x23 | 0x24 => Shape::Global,
            0x28..=0x3e => Shape::Access,
            0x43 => Shape::Float,
            0x44 => Shape::Double,
            _ => Shape::Rare,
        };
        opcode += 1;
    }
    shapes
};

impl Uses {
    /// Looks at the body of a function with `params` parameters. If it cannot be decoded, all locals count
    /// as used.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        params: usize,
        features: &WasmFeatures,
    ) -> wasmparser::Result<()> {
        (self.memory, self.globals, self.calls, self.weight) = (0, 0, 0, 1);
        self.handlers = false;
        self.complete = false;
        self.outer.clear();
        self.locals.clear();
        self.locals.resize(params, 0);
        let body = FunctionBody::new(BinaryReader::new_features(bytes, 0, *features));
        let mut reader = body.get_locals_reader()?;
        for _ in 0..reader.get_count() {
            let (count, _) = reader.read()?;
            let length = self.locals.len() + count as usize;
            // Validation allows no more; it comes later, and then this is not used.
            if length > MAX_LOCALS {
                return Ok(());
            }
            self.locals.resize(length, 0);
        }
        let mut position = reader.original_position() as usize;
        while position < bytes.len() {
            position = self.step_over_common(bytes, position);
            let rest = bytes.get(position..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let mut reader = BinaryReader::new_features(rest, position as u64, *features);
            reader.visit_operator(self)?;
            position = reader.original_position() as usize;
        }
        self.complete = position == bytes.len();
        Ok(())
    }

    /// Whether an instruction may name a local.
    pub(crate) fn is_used(&self, local: u32) -> bool {
        !self.complete || self.locals.get(local as usize) != Some(&0)
    }

    /// Looks at instructions from `at` on, as long as they are common ones and not at the very end. Gives
    /// the position of the first that is not.
    fn step_over_common(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(window) = bytes.get(at..at + WINDOW) {
            let bits = u64::from_le_bytes(window.try_into().expect("as many bytes as said"));
            let next = (bits >> 8) as u8;
            at += match SHAPES[usize::from(bits as u8)] {
                Shape::Plain => 1,
                Shape::Rare => return at,
                Shape::Number => 1 + number_length(bits >> 8),
                Shape::LongNumber => match number_length(bits >> 8) {
                    5 => return at,
                    length => 1 + length,
                },
                Shape::Float => 5,
                Shape::Double => 9,
                Shape::Local => {
                    if next < 0x80 {
                        self.local(u32::from(next));
                        2
                    } else if bits & 0x80_0000 == 0 {
                        self.local(u32::from(next & 0x7f) | (bits >> 16 << 7) as u32 & 0x3f80);
                        3
                    } else {
                        return at;
                    }
                }
                Shape::Global => {
                    self.global();
                    1 + number_length(bits >> 8)
                }
                Shape::Call => {
                    self.call();
                    1 + number_length(bits >> 8)
                }
                Shape::Access => {
                    // Neither flags nor an index: one byte of alignment, then the offset.
                    let length = number_length(bits >> 16);
                    if next >= 0x40 || length == 5 && bits >> 48 & 0x80 != 0 {
                        return at;
                    }
                    self.memory();
                    2 + length
                }
                Shape::Block | Shape::Loop => {
                    // Results of one numeric type or none.
                    if !matches!(next, 0x40 | 0x7c..=0x7f) {
                        return at;
                    }
                    self.open(bits as u8 == 0x03);
                    2
                }
                Shape::End => {
                    self.close();
                    1
                }
            };
        }
        at
    }

    fn local(&mut self, index: u32) {
        if let Some(count) = self.locals.get_mut(index as usize) {
            *count = count.saturating_add(self.weight);
        }
    }

    fn memory(&mut self) {
        self.memory = self.memory.saturating_add(self.weight);
    }

    fn global(&mut self) {
        self.globals = self.globals.saturating_add(self.weight);
    }

    fn call(&mut self) {
        self.calls = self.calls.saturating_add(self.weight);
    }

    fn open(&mut self, is_loop: bool) {
        self.outer.push(self.weight);
        if is_loop {
            self.weight = (self.weight * LOOP_WEIGHT).min(MAX_WEIGHT);
        }
    }

    fn close(&mut self) {
        self.weight = self.outer.pop().unwrap_or(1);
    }
}

/// Defines all visiting methods; those below `@` do something.
macro_rules! visits {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        $(
            #[inline]
            fn $visit(&mut self $($(, $arg: $ty)*)?) {
                $($(let _ = &$arg;)*)?
                visits!(@ self $visit $($([$arg])*)?);
            }
        )*
    };
    (@ $uses:ident visit_local_get [$index:ident]) => { $uses.local($index) };
    (@ $uses:ident visit_local_set [$index:ident]) => { $uses.local($index) };
    (@ $uses:ident visit_local_tee [$index:ident]) => { $uses.local($index) };
    (@ $uses:ident visit_global_get $($rest:tt)*) => { $uses.global() };
    (@ $uses:ident visit_global_set $($rest:tt)*) => { $uses.global() };
    (@ $uses:ident visit_block $($rest:tt)*) => { $uses.open(false) };
    (@ $uses:ident visit_if $($rest:tt)*) => { $uses.open(false) };
    (@ $uses:ident visit_loop $($rest:tt)*) => { $uses.open(true) };
    (@ $uses:ident visit_try_table $($rest:tt)*) => {{
        $uses.handlers = true;
        $uses.open(false)
    }};
    (@ $uses:ident visit_try $($rest:tt)*) => {{
        $uses.handlers = true;
        $uses.open(false)
    }};
    (@ $uses:ident visit_delegate $($rest:tt)*) => { $uses.close() };
    (@ $uses:ident visit_end) => { $uses.close() };
    (@ $uses:ident visit_call $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_call_indirect $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_call_ref $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_grow $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_copy $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_fill $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_atomic_wait32 $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_atomic_wait64 $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_atomic_notify $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident $visit:ident [memarg] $($rest:tt)*) => { $uses.memory() };
    (@ $uses:ident $visit:ident $($rest:tt)*) => {};
}

impl FrameStack for Uses {
    /// Only `else` asks which frame it is in.
    fn current_frame(&self) -> Option<FrameKind> {
        Some(FrameKind::If)
    }
}

impl<'a> VisitOperator<'a> for Uses {
    type Output = ();

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = ()>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(visits);
}

impl<'a> VisitSimdOperator<'a> for Uses {
    wasmparser::for_each_visit_simd_operator!(visits);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `Uses::scan`, with `wasmparser` decoding everything.
    fn scan_slowly(bytes: &[u8], params: usize) -> Uses {
        let mut uses = Uses { weight: 1, ..Uses::default() };
        uses.locals.resize(params, 0);
        let body = FunctionBody::new(BinaryReader::new(bytes, 0));
        let mut reader = body.get_locals_reader().expect("locals");
        for _ in 0..reader.get_count() {
            let (count, _) = reader.read().expect("locals");
            uses.locals.resize(uses.locals.len() + count as usize, 0);
        }
        let mut reader = reader.get_binary_reader();
        while !reader.eof() {
            reader.visit_operator(&mut uses).expect("instructions");
        }
        uses
    }

    fn compare(bytes: &[u8], params: usize) {
        let slow = scan_slowly(bytes, params);
        let mut fast = Uses::default();
        fast.scan(bytes, params, &WasmFeatures::all()).expect("a body");
        assert!(fast.complete);
        assert_eq!(fast.locals, slow.locals);
        let others = |uses: &Uses| [uses.memory, uses.globals, uses.calls];
        assert_eq!(others(&fast), others(&slow));
    }

    /// All that is stepped over, in every length, and what is not.
    #[test]
    fn stepping_over_counts_as_decoding_does() {
        let numbers: [&[u8]; 7] = [
            &[0],
            &[5],
            &[0x85, 0],
            &[0xff, 1],
            &[0x85, 0x80, 0],
            &[0x83, 0x80, 0x80, 0],
            &[0x84, 0x80, 0x80, 0x80, 0],
        ];
        let mut body = vec![1, 200, 1, 0x7f];
        let mut depth = 1;
        for number in numbers {
            for opcode in 0..=255 {
                match opcode {
                    0x00 | 0x01 | 0x0f | 0x1a | 0x1b | 0x45..=0xc4 => body.push(opcode),
                    0x02..=0x04 => {
                        body.extend([opcode, if number.len() == 2 { 0x7e } else { 0x40 }]);
                        depth += 1;
                    }
                    0x0c | 0x0d | 0x10 | 0x20..=0x24 | 0x41 | 0x42 => {
                        body.push(opcode);
                        body.extend(number);
                    }
                    0x28..=0x3e => {
                        body.extend([opcode, 2]);
                        body.extend(number);
                        // With an index.
                        body.extend([opcode, 0x42, 0]);
                        body.extend(number);
                    }
                    0x43 => body.extend([opcode, 0xff, 0x80, 0x80, 0x80]),
                    0x44 => body.extend([opcode, 0xff, 0x80, 0x80, 0x80, 1, 2, 3, 0x80]),
                    // br_table, ref.null, call_indirect, memory.fill, i8x16.splat
                    0x0e => body.extend([opcode, 2, 0x80, 1, 0x81, 0, 0]),
                    0xd0 => body.extend([opcode, 0x70]),
                    0x11 => body.extend([opcode, 0x83, 0, 0]),
                    0xfc => body.extend([opcode, 11, 0]),
                    0xfd => body.extend([opcode, 15]),
                    _ => {}
                }
            }
            body.push(0x0b);
            depth -= 1;
        }
        body.extend(std::iter::repeat_n(0x0b, depth));
        compare(&body, 3);
    }

    #[test]
    fn what_cannot_be_decoded_uses_every_local() {
        let mut uses = Uses::default();
        let body = [1, 2, 0x7f, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x27, 0x0b];
        assert!(uses.scan(&body, 1, &WasmFeatures::all()).is_err());
        assert!((0..3).all(|local| uses.is_used(local)));
    }
}

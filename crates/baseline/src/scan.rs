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
    /// By number: nothing, accesses to memory 0, accesses to globals, calls of any kind, then each local,
    /// parameters included. One list, so that an instruction counts without a branch; and wide enough for a
    /// body of any length.
    counts: Vec<u64>,
    /// Whether there are handlers of exceptions.
    pub(crate) handlers: bool,
    /// Whether loops were seen.
    loops: bool,
    /// What one use counts here.
    weight: u32,
    /// For each open block, the weight outside.
    outer: Vec<u32>,
    /// Whether the whole body was seen.
    complete: bool,
}

/// Numbers in `Uses::counts`.
const NOTHING: usize = 0;
const MEMORY: usize = 1;
const GLOBALS: usize = 2;
const CALLS: usize = 3;
const LOCALS: usize = 4;
/// There are always so many numbers: what an instruction in its shortest form counts is among them, whatever
/// it is.
const LOW: usize = 1 << u8::BITS;

/// spec (appendix "Implementation Limitations"): locals of a function.
const MAX_LOCALS: usize = 50_000;
/// A use in a loop counts this many times one outside.
const LOOP_WEIGHT: u32 = 8;
/// The most that one use counts.
const MAX_WEIGHT: u32 = LOOP_WEIGHT * LOOP_WEIGHT * LOOP_WEIGHT * LOOP_WEIGHT;

/// Bytes looked at together.
const WINDOW: usize = 8;

/// The longest form that two are looked at together for: what the second needs is then among those bytes.
const SHORT: usize = 4;

/// What is to be done with an opcode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Counted and stepped over.
    Counted,
    /// Stepped over: longer than `SHORT`.
    Long,
    Block,
    Loop,
    End,
    /// Left to `wasmparser`.
    Rare,
}

/// How an opcode is counted and stepped over.
#[derive(Clone, Copy)]
struct Step {
    class: Class,
    /// Bytes of the shortest form: a number that follows has one.
    length: u8,
    /// What is counted.
    count: u8,
    /// Bits of the second byte that are added to that.
    index: u8,
    /// Bits of the first four bytes; if one of them is set, there is more to it than length and count.
    more: u32,
}

/// By opcode.
static STEPS: [Step; 256] = {
    let other =
        Step { class: Class::Rare, length: 1, count: NOTHING as u8, index: 0, more: u32::MAX };
    let plain = Step { class: Class::Counted, more: 0, ..other };
    let number = Step { length: 2, more: 0x8000, ..plain };
    let mut steps = [other; 256];
    let mut opcode = 0;
    while opcode < 256 {
        steps[opcode] = match opcode {
            // unreachable, nop, else, return, drop, select; comparisons and arithmetic
            0x00 | 0x01 | 0x05 | 0x0f | 0x1a | 0x1b | 0x45..=0xc4 => plain,
            0x02 | 0x04 => Step { class: Class::Block, ..other },
            0x03 => Step { class: Class::Loop, ..other },
            0x0b => Step { class: Class::End, ..other },
            // br, br_if, constants
            0x0c | 0x0d | 0x41 | 0x42 => number,
            0x10 => Step { count: CALLS as u8, ..number },
            0x20..=0x22 => Step { count: LOCALS as u8, index: 0x7f, ..number },
            0x23 | 0x24 => Step { count: GLOBALS as u8, ..number },
            // One byte of alignment, without flags or an index, then the offset.
            0x28..=0x3e => Step { length: 3, count: MEMORY as u8, more: 0x80_c000, ..plain },
            0x43 => Step { class: Class::Long, length: 5, ..other },
            0x44 => Step { class: Class::Long, length: 9, ..other },
            _ => other,
        };
        let step = steps[opcode];
        assert!(step.more == u32::MAX || step.length as usize <= SHORT && 2 * SHORT <= WINDOW);
        opcode += 1;
    }
    steps
};

impl Step {
    /// What an instruction in its shortest form counts.
    #[inline(always)]
    fn counted(self, bits: u64) -> usize {
        usize::from(self.count.wrapping_add((bits >> 8) as u8 & self.index))
    }

    /// What to add to what is counted, and the length, of an instruction that is counted and not
    /// in its shortest form. Nothing if it is left to `wasmparser`.
    fn longer(self, bits: u64) -> Option<(usize, usize)> {
        let before = usize::from(self.length) - 1;
        if before == 2 && bits & 0xc000 != 0 {
            return None;
        }
        let number = bits >> (8 * before);
        let ends = !number & 0x80_8080_8080_8080;
        let length = ends.trailing_zeros() as usize / 8 + 1;
        let is_index = self.index != 0;
        let most = match bits as u8 {
            // i64.const
            0x42 => 7,
            _ if is_index => 2,
            _ => 5,
        };
        if length > most {
            return None;
        }
        let index = if is_index { number & 0x7f | number >> 1 & 0x3f80 } else { 0 };
        Some((index as usize, before + length))
    }
}

impl Uses {
    /// Looks at the body of a function with `params` parameters. If it cannot be decoded, all locals count
    /// as used.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        params: usize,
        features: &WasmFeatures,
    ) -> wasmparser::Result<()> {
        self.start(params);
        let body = FunctionBody::new(BinaryReader::new_features(bytes, 0, *features));
        let mut reader = body.get_locals_reader()?;
        for _ in 0..reader.get_count() {
            let (count, _) = reader.read()?;
            let length = self.counts.len() + count as usize;
            // Validation allows no more; it comes later, and then this is not used.
            if length > MAX_LOCALS + LOCALS {
                return Ok(());
            }
            self.counts.resize(length, 0);
        }
        if self.counts.len() < LOW {
            self.counts.resize(LOW, 0);
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

    /// Forgets the function before.
    fn start(&mut self, params: usize) {
        self.counts.clear();
        self.counts.resize(LOCALS + params, 0);
        self.outer.clear();
        (self.handlers, self.loops) = (false, false);
        (self.weight, self.complete) = (1, false);
    }

    /// Whether there may be loops.
    pub(crate) fn has_loops(&self) -> bool {
        !self.complete || self.loops
    }

    /// Whether an instruction may name a local.
    pub(crate) fn is_used(&self, local: u32) -> bool {
        !self.complete || self.counts.get(LOCALS + local as usize) != Some(&0)
    }

    /// How often a local is used, if that is known.
    pub(crate) fn local(&self, index: usize) -> u32 {
        self.number(LOCALS + index)
    }

    /// Accesses to memory 0.
    pub(crate) fn memory(&self) -> u32 {
        self.number(MEMORY)
    }

    /// Accesses to globals.
    pub(crate) fn globals(&self) -> u32 {
        self.number(GLOBALS)
    }

    /// Calls of any kind.
    pub(crate) fn calls(&self) -> u32 {
        self.number(CALLS)
    }

    fn number(&self, number: usize) -> u32 {
        let count = self.counts.get(number).copied().unwrap_or(0);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Looks at instructions from `at` on, as long as they are common ones and not at the very end. Gives
    /// the position of the first that is not.
    #[inline(never)]
    fn step_over_common(&mut self, bytes: &[u8], mut at: usize) -> usize {
        let Uses { counts, weight, outer, loops, .. } = self;
        let Some((low, high)) = counts.split_first_chunk_mut::<LOW>() else { return at };
        while let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WINDOW>) {
            let bits = u64::from_le_bytes(*window);
            let step = &STEPS[usize::from(bits as u8)];
            let second = (bits >> 8) as u8;
            if bits as u32 & step.more == 0 {
                low[step.counted(bits)] += u64::from(*weight);
                at += usize::from(step.length);
                // Where the second begins is known sooner than where in memory.
                let bits = bits >> (8 * step.length);
                let step = &STEPS[usize::from(bits as u8)];
                if bits as u32 & step.more == 0 {
                    low[step.counted(bits)] += u64::from(*weight);
                    at += usize::from(step.length);
                }
                continue;
            }
            if step.class == Class::Counted {
                let Some((index, length)) = step.longer(bits) else { return at };
                let number = usize::from(step.count) + index;
                match number.checked_sub(LOW) {
                    None => add(low, number, *weight),
                    Some(number) => add(high, number, *weight),
                }
                at += length;
                continue;
            }
            at += match step.class {
                Class::Counted | Class::Long => usize::from(step.length),
                Class::Block | Class::Loop => {
                    // Results of one numeric type or none.
                    if !matches!(second, 0x40 | 0x7c..=0x7f) {
                        return at;
                    }
                    open(weight, outer, loops, step.class == Class::Loop);
                    2
                }
                Class::End => {
                    close(weight, outer);
                    1
                }
                Class::Rare => return at,
            };
        }
        at
    }

    fn count(&mut self, number: usize) {
        add(&mut self.counts, number, self.weight);
    }

    fn count_local(&mut self, index: u32) {
        self.count(LOCALS + index as usize);
    }

    fn open(&mut self, is_loop: bool) {
        open(&mut self.weight, &mut self.outer, &mut self.loops, is_loop);
    }

    fn close(&mut self) {
        close(&mut self.weight, &mut self.outer);
    }
}

#[inline]
fn add(counts: &mut [u64], number: usize, weight: u32) {
    if let Some(count) = counts.get_mut(number) {
        *count += u64::from(weight);
    }
}

#[inline]
fn open(weight: &mut u32, outer: &mut Vec<u32>, loops: &mut bool, is_loop: bool) {
    outer.push(*weight);
    if is_loop {
        *loops = true;
        *weight = (*weight * LOOP_WEIGHT).min(MAX_WEIGHT);
    }
}

#[inline]
fn close(weight: &mut u32, outer: &mut Vec<u32>) {
    *weight = outer.pop().unwrap_or(1);
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
    (@ $uses:ident visit_local_get [$index:ident]) => { $uses.count_local($index) };
    (@ $uses:ident visit_local_set [$index:ident]) => { $uses.count_local($index) };
    (@ $uses:ident visit_local_tee [$index:ident]) => { $uses.count_local($index) };
    (@ $uses:ident visit_global_get $($rest:tt)*) => { $uses.count(GLOBALS) };
    (@ $uses:ident visit_global_set $($rest:tt)*) => { $uses.count(GLOBALS) };
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
    (@ $uses:ident visit_call $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_call_indirect $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_call_ref $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_memory_grow $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_memory_copy $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_memory_fill $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_memory_atomic_wait32 $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_memory_atomic_wait64 $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident visit_memory_atomic_notify $($rest:tt)*) => { $uses.count(CALLS) };
    (@ $uses:ident $visit:ident [memarg] $($rest:tt)*) => { $uses.count(MEMORY) };
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
        let mut uses = Uses::default();
        uses.start(params);
        let body = FunctionBody::new(BinaryReader::new(bytes, 0));
        let mut reader = body.get_locals_reader().expect("locals");
        for _ in 0..reader.get_count() {
            let (count, _) = reader.read().expect("locals");
            uses.counts.resize(uses.counts.len() + count as usize, 0);
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
        assert_eq!(fast.counts[1..slow.counts.len()], slow.counts[1..]);
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
                        if opcode == 0x42 {
                            body.extend([opcode, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86]);
                            body.extend([0x80, 0x80].iter().take(number.len() % 3));
                            body.push(1);
                        }
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

//! Where a function may start, so that its innermost loops run well.
//!
//! A processor keeps decoded instructions in entries of at most [`ENTRY`] operations, each of one line of
//! 64 bytes of code, and reads one entry a cycle. The same loop of 12 instructions takes two entries or four by
//! where it lies. Cranelift cannot move a loop in its function, but whoever lays out functions can move the
//! function: [`starts`] says with which starts the loops take the fewest entries, those inside many others
//! first.
//!
//! Loops are found in the finished code, and so is how long its instructions are: a marker at the head of each
//! would change how the register allocator treats it. What is found costs or saves time and is otherwise
//! without effect, so it may be wrong, as behind a table of jumps.

use crate::length::length;
use std::ops::Range;
use wardian_module::image::Starts;

/// Operations of an entry. Measured on an AMD EPYC (Zen 2): benches/README.md.
const ENTRY: u32 = 8;

/// Bytes of a line, as in [`Starts`].
const LINE: usize = Starts::LINE;

/// Most bytes of a loop that has a wish. What a turn of a longer one takes hardly depends on its place.
const MAX_BYTES: usize = 256;

/// Loops inside more others than this count like those inside so many.
const MAX_DEPTH: usize = 5;

/// Most jumps, and most ways back, of a function that is looked at.
const MAX_JUMPS: usize = 1 << 13;
const MAX_LOOPS: usize = 1 << 10;

/// Where code may start whose constants have this alignment.
pub(crate) fn starts(bytes: &[u8], align: u32) -> Starts {
    let mut costs = [0u64; LINE];
    let loops = loops(&jumps(bytes));
    let mut around: Vec<usize> = Vec::new();
    for (position, found) in loops.iter().enumerate() {
        while around.pop_if(|end| *end <= found.start).is_some() {}
        let is_innermost = loops.get(position + 1).is_none_or(|next| next.start >= found.end);
        if is_innermost && found.len() <= MAX_BYTES {
            let weight = 8u64.pow(around.len().min(MAX_DEPTH) as u32);
            let body = Body::read(bytes, found.clone());
            for (start, cost) in costs.iter_mut().enumerate() {
                *cost += weight * u64::from(body.entries(start));
            }
        }
        around.push(found.end);
    }
    let aligned = Starts::multiples_of(align);
    let least = aligned.iter().map(|start| costs[start]).min();
    aligned.filter(|start| Some(costs[start]) == least)
}

/// A jump: from behind its instruction, to an offset.
#[derive(Clone, Copy)]
struct Jump {
    from: usize,
    to: usize,
}

/// The jumps in code, unless there are too many.
fn jumps(bytes: &[u8]) -> Vec<Jump> {
    let mut jumps = Vec::new();
    let mut at = 0;
    while at < bytes.len() && jumps.len() <= MAX_JUMPS {
        // What is no instruction is a constant or a place in a table.
        let from = at + length(&bytes[at..]).map_or(1, usize::from);
        // The forms that Cranelift uses.
        if let [0xe9, distance @ ..] | [0x0f, 0x80..=0x8f, distance @ ..] = &bytes[at..from]
            && let Ok(distance) = distance.try_into()
            && let Some(to) = from.checked_add_signed(i32::from_le_bytes(distance) as isize)
        {
            jumps.push(Jump { from, to });
        }
        at = from;
    }
    if jumps.len() > MAX_JUMPS { Vec::new() } else { jumps }
}

/// Loops, by their heads: what lies between a jump and its target before it, unless it is entered in
/// between from before. (A rare block at the end of a function goes back to the usual way without a loop.)
fn loops(jumps: &[Jump]) -> Vec<Range<usize>> {
    let back = jumps.iter().filter(|jump| jump.to < jump.from).take(MAX_LOOPS);
    let mut loops: Vec<Range<usize>> = back
        .map(|jump| jump.to..jump.from)
        .filter(|found| {
            let enters = |jump: &Jump| {
                jump.from <= found.start && found.start < jump.to && jump.to < found.end
            };
            !jumps.iter().any(enters)
        })
        .collect();
    // Of several ways back to a head, the last.
    loops.sort_unstable_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
    loops.dedup_by_key(|found| found.start);
    loops
}

/// The instructions of a loop's body, one behind the other.
struct Body {
    /// Offset of its first instruction.
    head: usize,
    /// Length of each, and whether it is an operation of its own: a conditional jump is one with the
    /// comparison before it.
    instructions: Vec<(u8, bool)>,
}

impl Body {
    fn read(bytes: &[u8], place: Range<usize>) -> Body {
        let mut instructions = Vec::new();
        let mut at = place.start;
        while at < place.end {
            let length = length(&bytes[at..]).unwrap_or(1);
            instructions.push((length, !matches!(bytes[at..], [0x0f, 0x80..=0x8f, ..])));
            at += usize::from(length);
        }
        Body { head: place.start, instructions }
    }

    /// How many entries it takes if the function starts so many bytes behind the start of a line.
    fn entries(&self, start: usize) -> u32 {
        let mut at = self.head + start;
        let (mut line, mut entries, mut operations) = (at / LINE, 0, 0);
        for &(length, is_operation) in &self.instructions {
            at += usize::from(length);
            // An instruction belongs to the line that it ends in.
            let last = (at - 1) / LINE;
            if last == line {
                operations += u32::from(is_operation);
            } else {
                // The head's line is read even if nothing ends there.
                entries += u32::div_ceil(operations, ENTRY).max(1);
                (line, operations) = (last, 1);
            }
        }
        entries + u32::div_ceil(operations, ENTRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of a loop whose instructions have these lengths and whose last two are one operation.
    fn body(head: usize, lengths: &[u8]) -> Body {
        let count = lengths.len();
        let instructions = lengths.iter().enumerate().map(|(at, length)| (*length, at + 1 < count));
        Body { head, instructions: instructions.collect() }
    }

    /// A jump over `length` bytes, backwards.
    fn back(length: usize) -> Vec<u8> {
        let distance = -(length as i32) - 6;
        [&[0x0f, 0x85][..], &distance.to_le_bytes()].concat()
    }

    #[test]
    fn a_small_inner_loop_decides() {
        // 20 bytes before a loop of 30, the last 10 of which loop as well.
        let code = [vec![0x90; 44], back(4), vec![0x90; 20], back(44), vec![0xc3]].concat();
        let found = starts(&code, 1);
        let inner = 40..50;
        for start in 0..LINE {
            let is_whole = (inner.start + start) / LINE == (inner.end - 1 + start) / LINE;
            assert_eq!(found.iter().any(|it| it == start), is_whole, "start {start}");
        }
        assert_eq!(starts(&code, 16).iter().collect::<Vec<_>>(), [0, 32, 48]);
        assert_eq!(starts(&[0x90; 100], 16), Starts::multiples_of(16));
    }

    #[test]
    fn a_way_back_from_a_rare_block_is_no_loop() {
        // `jne` to the end, which jumps back behind it.
        let code = [
            &[0x0f, 0x85, 10, 0, 0, 0][..],
            &[0x90; 10],
            &[0xe9],
            &(-15i32).to_le_bytes(),
            &[0xc3],
        ];
        assert!(loops(&jumps(&code.concat())).is_empty());
        let code = [&[0x90; 10][..], &back(10)].concat();
        let found = loops(&jumps(&code));
        assert!(matches!(found[..], [Range { start: 0, end: 16 }]), "{found:?}");
    }

    // What was measured: a loop of `simd_img.wasm` took 215, 258 or 320 ms with its head at these places.
    #[test]
    fn entries_are_those_of_the_measured_loop() {
        let body = body(0, &[10, 10, 6, 4, 6, 5, 4, 5, 4, 6, 6, 6]);
        let expected = |head| match head {
            12..=38 => 2,
            58..=62 => 4,
            _ => 3,
        };
        for head in (0..LINE).step_by(2) {
            assert_eq!(body.entries(head), expected(head), "with its head at {head}");
        }
    }

    // The same of `gemm.wasm`: 265 ms, and 340 where it takes four.
    #[test]
    fn entries_are_those_of_the_loop_that_waits_for_memory() {
        let body = body(0, &[4, 4, 6, 6, 6, 5, 7, 6, 6, 7, 7, 6]);
        for head in 0..LINE {
            assert_eq!(
                body.entries(head) > 3,
                (59..=63).contains(&head),
                "with its head at {head}"
            );
        }
    }
}

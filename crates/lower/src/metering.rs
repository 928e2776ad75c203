//! What code does so that the host can stop it and limit it: it asks for the epoch, and it pays fuel.
//! Stated here once, so that all tiers ask at the same places and count alike.
//!
//! *Epochs.* Code asks at the head of every loop on each turn, and a function that has a call asks on
//! entry. What has neither ends by itself, soon; and without loops nothing goes on without end but
//! functions that call. An inlined function asks in its loops alone: whoever calls it asks on entry.
//! Without fuel, to ask is to count: each loop and function takes as many bytes as it has from what is left of
//! `layout::EPOCH_STRIDE`, and only where that is used up, the epoch is looked at. So code does not go on for much
//! longer where its loops are long; functions of more than [`SMALL`] bytes count on entry even if they have no
//! call. Of large bodies, most of which are ways not taken, bytes past the first [`LARGE`] count a 64th
//! ([`turn`]). Bytes of memory that code copies count as well.
//!
//! *Fuel.* Every instruction costs what the settings' [`OperatorCost`] says. The instructions of a function are divided into
//! *segments*: one ends behind an instruction that goes elsewhere or may (a branch, a call, `return`,
//! `unreachable`), behind one that costs by size, before the turn of a loop, and where branches arrive
//! (`else`, the `end` of an `if`, and of a block that is branched to). So all of a segment runs, or it
//! traps. It is paid for as a whole before its first instruction; if there is less fuel, the trap comes
//! there, and the fuel stays as it is. Where an instruction of a segment traps, those behind it were not
//! run, and are given back ([`unspent`]). What an instruction costs by size ([`size_cost`]) it pays by
//! itself, before it does anything; if it is out of bounds or refused, it does nothing and costs nothing.
//!
//! Invariant: segments depend on the bytes of a body alone. Tiers, inlining, replacement of frames and
//! ways to check memory do not change what is paid.

use crate::driver::Lowering;
use crate::emit::Emit;
use wardian_module::{Builtin, Operation, OperatorCost, Settings, VariableOperatorCost};
use wasmparser::{BinaryReader, FunctionBody, Operator};

/// What a builtin costs by size, with these constants and arguments.
pub fn size_cost(costs: &VariableOperatorCost, operation: Operation, args: [u64; 4]) -> u64 {
    let (cost, size) = match (operation.builtin, operation.second) {
        (Builtin::MemoryGrow, _) => (costs.memory_grow_per_page, args[0]),
        (Builtin::GcAllocArray, BY_DEFAULT) => (costs.array_new_default_per_element, args[0]),
        (Builtin::GcAllocArray, TO_BE_FILLED) => (costs.array_new_per_element, args[0]),
        (Builtin::TableGrowFunc | Builtin::TableGrowRef, _) => {
            (costs.table_grow_per_element, args[1])
        }
        (Builtin::ArrayNewData, _) => (costs.array_new_data_per_element, args[1]),
        (Builtin::ArrayNewElem, _) => (costs.array_new_elem_per_element, args[1]),
        (Builtin::ArrayFill, second) if second != PAID => (costs.array_fill_per_element, args[3]),
        (Builtin::MemoryCopy, _) => (costs.memory_copy_per_byte, args[2]),
        (Builtin::MemoryFill, _) => (costs.memory_fill_per_byte, args[2]),
        (Builtin::MemoryInit, _) => (costs.memory_init_per_byte, args[2]),
        (Builtin::TableFillFunc | Builtin::TableFillRef, _) => {
            (costs.table_fill_per_element, args[2])
        }
        (Builtin::TableCopy, _) => (costs.table_copy_per_element, args[2]),
        (Builtin::TableInit, _) => (costs.table_init_per_element, args[2]),
        (Builtin::ArrayCopy, _) => (costs.array_copy_per_element, args[2]),
        (Builtin::ArrayInitData, _) => (costs.array_init_data_per_element, args[2]),
        (Builtin::ArrayInitElem, _) => (costs.array_init_elem_per_element, args[2]),
        _ => (0, 0),
    };
    size.saturating_mul(cost.into())
}

/// `second` of `GcAllocArray` for `array.new_default`.
pub(crate) const BY_DEFAULT: u32 = 0;
/// `second` of `GcAllocArray` and of `ArrayFill` where the instruction was paid for before.
pub(crate) const PAID: u32 = 1;
/// `second` of `GcAllocArray` for `array.new`.
pub(crate) const TO_BE_FILLED: u32 = 2;

/// Most bytes of a function without calls that does not count.
const SMALL: usize = 128;

/// Bytes of a body from which on they count less.
const LARGE: u32 = 2048;

/// What a loop or function of so many bytes takes from what code may go on for.
fn turn(bytes: usize) -> u32 {
    let bytes = (bytes as u32).min(MAX_COST);
    bytes.min(LARGE) + bytes.saturating_sub(LARGE) / 64
}

/// What a segment costs at most: tiers take it by a signed 32-bit number. Only that of huge
/// `array.new_fixed` comes to so much.
const MAX_COST: u32 = i32::MAX as u32;

fn is_call(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
    )
}

/// Instructions that cost by size.
fn has_size(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::MemoryGrow { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ArrayNew { .. }
            | Operator::ArrayNewDefault { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayCopy { .. }
            | Operator::ArrayInitData { .. }
            | Operator::ArrayInitElem { .. }
    )
}

/// Finds the ends of segments. Told of every instruction of a body, in order.
#[derive(Default)]
struct Labels {
    /// For each block that is open, whether something comes to its end by a branch.
    blocks: Vec<Arrival>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// Nothing yet.
    No,
    /// Something does.
    Yes,
    /// Nothing will: branches to a loop go to its start.
    Never,
}

impl Labels {
    fn branch(&mut self, depth: u32) {
        let count = self.blocks.len();
        // Not validated yet: there may be no such block.
        if let Some(position) = count.checked_sub(1 + depth as usize)
            && self.blocks[position] == Arrival::No
        {
            self.blocks[position] = Arrival::Yes;
        }
    }

    /// Whether a segment ends behind this instruction.
    fn ends(&mut self, op: &Operator<'_>) -> bool {
        match op {
            Operator::Block { .. } => self.blocks.push(Arrival::No),
            // Branches go to its start, which is here.
            Operator::Loop { .. } => {
                self.blocks.push(Arrival::Never);
                return true;
            }
            Operator::If { .. } => {
                self.blocks.push(Arrival::Yes);
                return true;
            }
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    let (wasmparser::Catch::One { label, .. }
                    | wasmparser::Catch::OneRef { label, .. }
                    | wasmparser::Catch::All { label }
                    | wasmparser::Catch::AllRef { label }) = *catch;
                    self.branch(label);
                }
                self.blocks.push(Arrival::No);
            }
            // Branches of its clauses go to its end.
            Operator::Try { .. } => self.blocks.push(Arrival::Yes),
            Operator::Delegate { .. } => {
                self.blocks.pop();
                return true;
            }
            // The function's own end has no block here.
            Operator::End => return self.blocks.pop().is_none_or(|end| end == Arrival::Yes),
            Operator::Br { relative_depth }
            | Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => {
                self.branch(*relative_depth);
                return true;
            }
            Operator::BrTable { targets } => {
                for depth in targets.targets().chain([Ok(targets.default())]) {
                    self.branch(depth.unwrap_or(u32::MAX));
                }
                return true;
            }
            Operator::Else
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Rethrow { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef => return true,
            op => return is_call(op) || has_size(op),
        }
        false
    }
}

/// Calls `each` with every instruction of a body, its position there, and whether a segment ends behind
/// it, until `each` says so or the bytes are no instructions: those are refused where they are lowered.
fn walk(bytes: &[u8], mut each: impl FnMut(&Operator<'_>, usize, bool) -> bool) {
    let body = FunctionBody::new(BinaryReader::new(bytes, 0));
    let Ok(mut operators) = body.get_operators_reader() else { return };
    let mut labels = Labels::default();
    while !operators.eof() {
        let Ok((op, position)) = operators.read_with_offset() else { return };
        let ends = labels.ends(&op);
        if !each(&op, position as usize, ends) {
            return;
        }
    }
}

/// What the instructions cost that follow the one at `position` of a body in its segment. 0 if there is
/// none at that position.
pub fn unspent(costs: &OperatorCost, body: &[u8], position: usize) -> u64 {
    let (mut found, mut sum) = (false, 0);
    walk(body, |op, at, ends| {
        if found {
            sum += u64::from(costs.cost(op));
        }
        found |= at == position;
        at < position || !ends
    });
    if found { sum } else { 0 }
}

/// A segment that costs something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    /// Position of its first instruction in the body.
    start: usize,
    cost: u32,
}

/// What is to be done in a body beside lowering its instructions.
#[derive(Debug)]
pub(crate) struct Metering {
    segments: Vec<Segment>,
    /// The one to come.
    next: usize,
    /// Its position in the body, or none that a body has.
    pub(crate) stop: usize,
    /// Whether the function's own body has a call.
    calls: bool,
    /// Position and bytes of each loop, in order.
    loops: Vec<(usize, usize)>,
    /// Bytes of the body.
    bytes: usize,
}

impl Metering {
    pub(crate) const NONE: Metering = Metering {
        segments: Vec::new(),
        next: 0,
        stop: usize::MAX,
        calls: false,
        loops: Vec::new(),
        bytes: 0,
    };

    /// What the settings ask for in the body with these bytes.
    pub(crate) fn of_body(settings: &Settings, bytes: &[u8]) -> Metering {
        let mut metering = Metering::NONE;
        if settings.consume_fuel || settings.epoch_interruption {
            metering.scan(&settings.operator_cost, bytes);
            metering.bytes = bytes.len();
        }
        if !settings.consume_fuel {
            metering.stop = usize::MAX;
        }
        metering
    }

    fn scan(&mut self, costs: &OperatorCost, bytes: &[u8]) {
        let mut open: Option<Segment> = None;
        // Blocks that are open, those that are loops by their number.
        let mut blocks: Vec<Option<usize>> = Vec::new();
        walk(bytes, |op, position, ends| {
            self.calls |= is_call(op);
            match op {
                Operator::Loop { .. } => {
                    blocks.push(Some(self.loops.len()));
                    self.loops.push((position, 0));
                }
                Operator::Block { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => blocks.push(None),
                Operator::End | Operator::Delegate { .. } => {
                    if let Some(Some(number)) = blocks.pop() {
                        let (start, bytes) = &mut self.loops[number];
                        *bytes = position - *start;
                    }
                }
                _ => {}
            }
            let segment = open.get_or_insert(Segment { start: position, cost: 0 });
            segment.cost = segment.cost.saturating_add(costs.cost(op)).min(MAX_COST);
            if ends {
                self.segments.extend(open.take().filter(|segment| segment.cost > 0));
            }
            true
        });
        self.stop = self.segments.first().map_or(usize::MAX, |segment| segment.start);
    }

    fn pass(&mut self) -> u32 {
        let cost = self.segments[self.next].cost;
        self.next += 1;
        self.stop = self.segments.get(self.next).map_or(usize::MAX, |segment| segment.start);
        cost
    }
}

impl<E: Emit> Lowering<'_, E> {
    /// Asks for the epoch on entry to the function, if it is one that does.
    pub(crate) fn meter_entry(&mut self) {
        let Metering { calls, bytes, .. } = self.metering;
        let counts = self.settings.counts_turns() && bytes > SMALL;
        if self.settings.epoch_interruption && calls || counts {
            self.emit.check_epoch(turn(bytes));
        }
    }

    /// Asks for the epoch at the head of the loop at this position of the body.
    pub(crate) fn meter_loop(&mut self, position: usize) {
        if self.settings.epoch_interruption {
            let loops = &self.metering.loops;
            let found = loops.binary_search_by_key(&position, |(start, _)| *start);
            let bytes = found.map_or(self.metering.bytes, |found| loops[found].1);
            self.emit.check_epoch(turn(bytes));
        }
    }

    /// Pays for the segment that starts at the current position.
    #[cold]
    #[inline(never)]
    pub(crate) fn pay(&mut self) {
        let cost = self.metering.pass();
        if self.reachable {
            self.emit.location((self.start + self.position as u64) as u32);
            self.emit.charge(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The segments of the body of the only function of a module: positions count from its start.
    fn segments(body: &str) -> Vec<(usize, u32)> {
        let wat = format!("(module (memory 1) (func $f (local i32) {body}))");
        let wasm = wat::parse_str(wat).unwrap();
        let mut found = None;
        for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
            if let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() {
                found = Some(body.as_bytes().to_vec());
            }
        }
        let bytes = found.unwrap();
        let settings = Settings { consume_fuel: true, ..Settings::default() };
        let metering = Metering::of_body(&settings, &bytes);
        metering.segments.iter().map(|s| (s.start, s.cost)).collect()
    }

    #[test]
    fn segments_end_where_control_may_go_elsewhere() {
        // One group of locals takes three bytes.
        assert_eq!(segments(""), []);
        assert_eq!(segments("i32.const 1 drop"), [(3, 1)]);
        // A block that nothing branches to is nothing.
        assert_eq!(
            segments("i32.const 1 drop block i32.const 1 drop end i32.const 1 drop"),
            [(3, 3)]
        );
        // `br_if` ends one, and its target ends another.
        assert_eq!(
            segments("block local.get 0 br_if 0 i32.const 1 drop end i32.const 1 drop"),
            [(3, 2), (9, 1), (13, 1)]
        );
        // The head of a loop is where the turn begins; its end is nothing.
        assert_eq!(
            segments("i32.const 1 drop loop local.get 0 br_if 0 end local.get 0 drop"),
            [(3, 1), (8, 2), (12, 1)]
        );
        assert_eq!(
            segments("local.get 0 if local.get 0 drop else local.get 0 drop end local.get 0 drop"),
            [(3, 2), (7, 1), (11, 1), (15, 1)]
        );
        assert_eq!(segments("call $f call $f"), [(3, 1), (5, 1)]);
        assert_eq!(segments("i32.const 1 memory.grow drop local.get 0 drop"), [(3, 2), (7, 1)]);
        // What cannot be reached has segments too, which nothing enters.
        assert_eq!(segments("return local.get 0 drop"), [(4, 1)]);
    }

    #[test]
    fn loops_count_their_bytes() {
        // No locals; loop, block, loop, end, end, nop, end, end.
        let body = [0, 0x03, 0x40, 0x02, 0x40, 0x03, 0x40, 0x0b, 0x0b, 0x01, 0x0b, 0x0b];
        let settings = Settings { epoch_interruption: true, ..Settings::default() };
        let metering = Metering::of_body(&settings, &body);
        assert_eq!(metering.loops, [(1, 9), (5, 2)]);
        assert_eq!((metering.bytes, metering.stop), (body.len(), usize::MAX));
        assert_eq!([40, 2048, 2112, 4 << 20].map(turn), [40, 2048, 2049, 67_552]);
    }

    #[test]
    fn what_follows_in_the_segment_is_unspent() {
        // No locals; local.get 0 ×3, br_if 0, local.get 0, end.
        let body = [0, 0x20, 0, 0x20, 0, 0x20, 0, 0x0d, 0, 0x20, 0, 0x0b];
        let costs = OperatorCost::new();
        let left: Vec<_> = (0..=12).map(|position| unspent(&costs, &body, position)).collect();
        assert_eq!(left, [0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(unspent(&costs, &[0, 0xff, 0xff], 1), 0);
        assert_eq!(unspent(&costs, &[], 0), 0);
    }
}

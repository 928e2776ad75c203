//! Machine code as lines of text.
//!
//! Code and data lie side by side (jump tables, constants), so what is code is found by following it from
//! its entry and from where exceptions go. All that is not reached that way is shown as data.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter as _, Instruction, IntelFormatter, Mnemonic,
    OpKind, Register, SymbolResolver, SymbolResult,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use wardian::{CodeOrigin, Explorer, ModuleCode, TierCode};

/// A line of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CodeLine {
    /// Offset in the function's code.
    pub(crate) offset: usize,
    pub(crate) text: String,
    /// Whether it is an instruction, and not data between code.
    pub(crate) is_code: bool,
    /// What a reader should know: that it may trap, or whose code it is.
    pub(crate) note: String,
    /// Offset in the module of the instruction it stems from.
    pub(crate) wasm: Option<usize>,
}

/// Bytes of data on one line, and the largest alignment of a constant.
const DATA_BYTES: usize = 16;
/// How far before an indirect jump its table is looked for, in instructions.
const TABLE_WINDOW: usize = 8;

/// The listing of a function's code as a tier made it.
pub(crate) fn listing(explorer: &Explorer, code: &TierCode) -> Vec<CodeLine> {
    let flow = follow(code);
    let instructions = &flow.instructions;
    let mut symbols = HashMap::new();
    for reference in &code.references {
        // The instruction that it lies in.
        if let Some((from, instruction)) = instructions.range(..=reference.offset).next_back()
            && reference.offset < instruction.next_ip() as usize
        {
            let name = explorer.describe(reference, instruction.next_ip() as usize);
            // What takes an address does not use what lies there.
            let name = if instruction.mnemonic() == Mnemonic::Lea { "module table" } else { &name };
            symbols.insert(*from as u64, name.to_string());
        }
    }
    lines(code, 0, flow, symbols)
}

/// The listing of a function's code in that of its module, where it begins at `start`. Places in it are
/// shown as they count there.
pub(crate) fn listing_in(module: &ModuleCode, start: usize, code: &TierCode) -> Vec<CodeLine> {
    let flow = follow(code);
    let mut symbols = HashMap::new();
    for (at, instruction) in &flow.instructions {
        let target = match instruction.op0_kind() {
            OpKind::NearBranch64 => instruction.near_branch_target(),
            _ if instruction.is_ip_rel_memory_operand() => instruction.ip_rel_memory_address(),
            _ => continue,
        };
        if target as usize >= code.bytes.len()
            && let Some(name) = module.describe((start as i64).wrapping_add(target as i64))
        {
            let name = if instruction.mnemonic() == Mnemonic::Lea { "module table" } else { &name };
            symbols.insert((start + at) as u64, name.to_string());
        }
    }
    lines(code, start, flow, symbols)
}

/// The same instruction `by` bytes further on.
fn moved(instruction: &Instruction, by: usize) -> Instruction {
    let mut moved = *instruction;
    moved.set_ip(instruction.ip().wrapping_add(by as u64));
    if instruction.op0_kind() == OpKind::NearBranch64 {
        moved.set_near_branch64(instruction.near_branch64().wrapping_add(by as u64));
    }
    if instruction.is_ip_rel_memory_operand() {
        let address = instruction.ip_rel_memory_address();
        moved.set_memory_displacement64(address.wrapping_add(by as u64));
    }
    moved
}

fn lines(
    code: &TierCode,
    start: usize,
    flow: Flow,
    symbols: HashMap<u64, String>,
) -> Vec<CodeLine> {
    let Flow { instructions, entries } = flow;
    let mut formatter =
        IntelFormatter::with_options(Some(Box::new(Symbols { by_instruction: symbols })), None);
    let options = formatter.options_mut();
    options.set_space_after_operand_separator(true);
    options.set_space_between_memory_add_operators(true);
    options.set_uppercase_hex(false);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_branch_leading_zeros(false);
    options.set_show_branch_size(false);
    options.set_small_hex_numbers_in_decimal(true);

    let last = instructions.last_key_value().map_or(0, |(last, _)| *last);
    let mut lines = Vec::new();
    let mut at = 0;
    while at < code.bytes.len() {
        let from = at;
        let mut text = String::new();
        let mut is_code = false;
        if let Some(instruction) = instructions.get(&at) {
            formatter.format(&moved(instruction, start), &mut text);
            is_code = true;
            at = instruction.next_ip() as usize;
        } else if let Some(target) = entries.get(&at) {
            text = format!("case → {:#x}", target + start);
            at += 4;
        } else {
            let next = instructions.range(at..).next().map_or(code.bytes.len(), |(next, _)| *next);
            let next = entries.range(at..).next().map_or(next, |(entry, _)| next.min(*entry));
            // Constants are aligned, and tiers fill up with this byte.
            let end = match at < last {
                true => next.min(at + DATA_BYTES),
                false => next.min((at + 1).next_multiple_of(DATA_BYTES)),
            };
            let bytes = &code.bytes[at..end];
            let padding = bytes.iter().take_while(|byte| **byte == 0xcc).count();
            if padding == bytes.len() || padding > 0 && !at.is_multiple_of(DATA_BYTES) {
                text = format!("padding, {padding} bytes");
                at += padding;
            } else {
                let kind = if at < last { "not reached:" } else { "data" };
                let bytes = bytes.iter();
                text = bytes.fold(kind.to_string(), |text, byte| format!("{text} {byte:02x}"));
                at = end;
            }
        }
        lines.push(line(code, from, text, is_code));
    }
    lines
}

/// Where the code at an offset stems from.
pub(crate) fn origin_at(code: &TierCode, offset: usize) -> Option<&CodeOrigin> {
    let after = code.origins.partition_point(|(start, _)| *start <= offset);
    after.checked_sub(1).map(|position| &code.origins[position].1)
}

/// How the instruction at an offset may trap.
pub(crate) fn trap_at(code: &TierCode, offset: usize) -> Option<&str> {
    let found = code.traps.binary_search_by_key(&offset, |(at, _)| *at).ok()?;
    Some(&code.traps[found].1)
}

fn line(code: &TierCode, offset: usize, text: String, is_code: bool) -> CodeLine {
    let origin = origin_at(code, offset);
    let mut notes: Vec<String> = Vec::new();
    if let Some(trap) = trap_at(code, offset) {
        notes.push(format!("may trap: {trap}"));
    }
    if let Some(inner) = origin.and_then(|origin| origin.inlined.last()) {
        notes.push(format!("inlined from func {inner}"));
    }
    let wasm = origin.and_then(|origin| origin.wasm);
    CodeLine { offset, text, is_code, note: notes.join("; "), wasm }
}

/// What was found by following code.
struct Flow {
    /// By their offset.
    instructions: BTreeMap<usize, Instruction>,
    /// Entries of jump tables, by their offset: where they lead.
    entries: BTreeMap<usize, usize>,
}

fn follow(code: &TierCode) -> Flow {
    let bytes = &code.bytes;
    let mut flow = Flow { instructions: BTreeMap::new(), entries: BTreeMap::new() };
    let landings = code.landings.iter().filter(|at| **at < bytes.len());
    let mut targets: BTreeSet<usize> = landings.copied().chain([0]).collect();
    let mut waiting: Vec<usize> = targets.iter().copied().collect();
    let mut tables: Vec<usize> = Vec::new();
    loop {
        while let Some(start) = waiting.pop() {
            let run = follow_run(bytes, start, &mut flow.instructions, |target| {
                if targets.insert(target) {
                    waiting.push(target);
                }
            });
            tables.extend(run.filter(|table| !targets.contains(table)));
        }
        // When nothing else is left, since a table ends at the latest where known code begins.
        let Some(table) = tables.pop() else { return flow };
        let mut end =
            flow.instructions.range(table..).next().map_or(bytes.len(), |(next, _)| *next);
        let mut at = table;
        while at + 4 <= end {
            let word = bytes[at..at + 4].try_into().expect("four bytes");
            let target = table as i64 + i64::from(i32::from_le_bytes(word));
            let Some(target) = usize::try_from(target).ok().filter(|t| *t < bytes.len()) else {
                break;
            };
            if target > at {
                end = end.min(target);
            }
            flow.entries.insert(at, target);
            if targets.insert(target) {
                waiting.push(target);
            }
            at += 4;
        }
    }
}

/// Decodes from `start` to where control does not fall through, or comes to what is decoded already. The
/// table of the indirect jump at its end, if it has one.
fn follow_run(
    bytes: &[u8],
    start: usize,
    found: &mut BTreeMap<usize, Instruction>,
    mut branch_to: impl FnMut(usize),
) -> Option<usize> {
    let mut decoder = Decoder::with_ip(64, &bytes[start..], start as u64, DecoderOptions::NONE);
    let mut run: Vec<Instruction> = Vec::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let at = instruction.ip() as usize;
        if instruction.is_invalid() || found.insert(at, instruction).is_some() {
            return None;
        }
        run.push(instruction);
        let target = match instruction.op0_kind() {
            OpKind::NearBranch64 => usize::try_from(instruction.near_branch_target()).ok(),
            _ => None,
        };
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {}
            FlowControl::ConditionalBranch => {
                target.filter(|target| *target < bytes.len()).into_iter().for_each(&mut branch_to);
            }
            FlowControl::UnconditionalBranch => {
                target.filter(|target| *target < bytes.len()).into_iter().for_each(&mut branch_to);
                return None;
            }
            FlowControl::IndirectBranch => {
                return table_of(&run).filter(|table| *table < bytes.len());
            }
            _ => return None,
        }
    }
    None
}

/// Where the table is that a run's last instruction jumps through: tiers take its address, add one of its
/// words, and jump.
fn table_of(run: &[Instruction]) -> Option<usize> {
    let last = &run[run.len().saturating_sub(TABLE_WINDOW)..];
    last.iter().find(|instruction| instruction.mnemonic() == Mnemonic::Movsxd)?;
    let address = last.iter().rev().find(|instruction| {
        instruction.mnemonic() == Mnemonic::Lea && instruction.memory_base() == Register::RIP
    })?;
    usize::try_from(address.ip_rel_memory_address()).ok()
}

/// Names of what lies outside the function.
struct Symbols {
    by_instruction: HashMap<u64, String>,
}

impl SymbolResolver for Symbols {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _: u32,
        operand: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        let is_distance = match instruction.op_kind(operand?) {
            OpKind::Memory => instruction.is_ip_rel_memory_operand(),
            kind => kind == OpKind::NearBranch64,
        };
        let name = self.by_instruction.get(&instruction.ip()).filter(|_| is_distance)?;
        Some(SymbolResult::with_str(address, name))
    }
}

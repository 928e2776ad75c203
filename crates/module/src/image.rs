//! Compiled functions and how they become one image.
//!
//! A tier makes a [`FunctionCode`] per function, in any order and on any thread; [`link`] lays them
//! out and resolves references between them. The image is position-independent: it holds distances
//! between functions and to the module table, never an address.
//!
//! Invariant: tables of an image are sorted by offset, and every function lies inside the text.

use crate::index::DefinedFuncIndex;
use crate::trap::Trap;

/// What a relocation points at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelocTarget {
    /// The entry of a function of the same module.
    Func(DefinedFuncIndex),
    /// The module table.
    ModuleTable,
}

/// A 32-bit distance to fill in: `target + addend - place`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reloc {
    /// Where, in bytes from the function's start.
    pub offset: u32,
    /// To what.
    pub target: RelocTarget,
    /// Added to the distance.
    pub addend: i64,
}

/// A place where the processor may fault, and what that means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrapSite {
    /// Offset of the instruction.
    pub offset: u32,
    /// What its fault means.
    pub trap: Trap,
}

/// From here on, code stems from this place of the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// Offset in the code.
    pub offset: u32,
    /// Offset in the module's bytes; [`Location::NONE`] for code of no instruction; with the bit
    /// [`Location::INLINED`], a position in the list of [`Inlined`] places.
    pub wasm: u32,
}

impl Location {
    /// `wasm` of code that stems from no instruction.
    pub const NONE: u32 = u32::MAX;
    /// Set in a `wasm` that is no offset. Modules have fewer bytes (`decode`).
    pub const INLINED: u32 = 1 << 31;
}

/// A place in a function that was inlined into another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inlined {
    /// The function that was inlined.
    pub func: DefinedFuncIndex,
    /// Offset in the module's bytes.
    pub wasm: u32,
    /// The call that it stands for, as in [`Location::wasm`]: an offset in the function that contains
    /// the code, or an earlier place of the list.
    pub outer: u32,
}

/// Whether `wasm` is an offset, none, or one of the first `count` inlined places.
fn is_place(wasm: u32, count: usize) -> bool {
    (wasm & Location::INLINED == 0)
        | (wasm == Location::NONE)
        | (((wasm & !Location::INLINED) as usize) < count)
}

/// Checks tables of code: offsets in order, and places of inlined code that exist and end.
pub fn check_locations(
    locations: &[Location],
    inlined: &[Inlined],
    func_count: usize,
) -> Result<(), ImageError> {
    // Of the millions that a large module has, all are looked at: without a branch for each, several at once.
    let next = locations.iter().skip(1);
    let ordered = locations.iter().zip(next).fold(true, |ok, (a, b)| ok & (a.offset <= b.offset));
    if !ordered {
        return Err(ImageError("tables out of order".into()));
    }
    let known = locations.iter().fold(true, |ok, l| ok & is_place(l.wasm, inlined.len()));
    let ends = |(position, place): (usize, &Inlined)| {
        let inner = place.wasm & Location::INLINED == 0;
        inner && is_place(place.outer, position) && place.func.index() < func_count
    };
    if known && inlined.iter().enumerate().all(ends) {
        Ok(())
    } else {
        Err(ImageError("inlined code of no place".into()))
    }
}

/// The functions that code of `func` at `offset` belongs to, innermost first, each with the offset in
/// the module's bytes of its instruction. `locations` counts from the same start as `offset`.
pub fn frames_at<'a>(
    func: DefinedFuncIndex,
    locations: &[Location],
    inlined: &'a [Inlined],
    offset: u32,
) -> impl Iterator<Item = (DefinedFuncIndex, Option<u32>)> + 'a {
    let after = locations.partition_point(|l| l.offset <= offset);
    let found = after.checked_sub(1).map(|position| locations[position].wasm);
    let mut next = Some(found.unwrap_or(Location::NONE));
    std::iter::from_fn(move || {
        let wasm = next.take()?;
        if wasm == Location::NONE {
            return Some((func, None));
        }
        if wasm & Location::INLINED == 0 {
            return Some((func, Some(wasm)));
        }
        // `check_locations`: the place exists, and its call lies before it in the list.
        let place = inlined[(wasm & !Location::INLINED) as usize];
        next = Some(place.outer);
        Some((place.func, Some(place.wasm)))
    })
}

/// A call whose callee may throw to a handler of the function that calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryCall {
    /// Offset behind the call: its return address.
    pub offset: u32,
    /// Where the frame holds its VM context, in bytes from its frame pointer.
    pub context: i32,
    /// Bytes of the frame below its frame pointer, which is where the stack pointer is in handlers.
    pub frame: u32,
    /// Position of the call's first handler.
    pub first: u32,
}

/// A handler of a list, which goes on from position to position up to one that says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handler {
    /// Index of the tag whose exceptions it takes, or one of the constants below.
    pub tag: u32,
    /// Offset of its code; of [`Handler::OUTER`], a position; of [`Handler::END`], nothing.
    pub target: u32,
}

impl Handler {
    /// `tag` of a handler that takes all exceptions. None follows it.
    pub const ALL: u32 = u32::MAX;
    /// `tag` of what is no handler: the list goes on at position `target`, which lies before this one.
    pub const OUTER: u32 = u32::MAX - 1;
    /// `tag` of what is no handler: the list ends.
    pub const END: u32 = u32::MAX - 2;

    /// The end of a list.
    pub const LAST: Handler = Handler { tag: Handler::END, target: 0 };

    /// Whether it names no tag. No entry follows it.
    pub const fn is_special(self) -> bool {
        self.tag >= Handler::END
    }
}

/// Where exceptions go that leave calls. A handler finds program counter, stack and frame pointer of its
/// frame, and nothing in other registers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExceptionTable {
    /// Calls with handlers, in order.
    pub calls: Vec<TryCall>,
    /// Their handlers. Calls may share them.
    pub handlers: Vec<Handler>,
}

impl ExceptionTable {
    /// Adds that of a function that starts at `start`.
    pub fn append(&mut self, other: &ExceptionTable, start: u32) {
        let first = self.handlers.len() as u32;
        let calls = other.calls.iter();
        self.calls.extend(calls.map(|call| TryCall {
            offset: call.offset + start,
            first: call.first + first,
            ..*call
        }));
        self.handlers.extend(other.handlers.iter().map(|handler| Handler {
            target: match handler.tag {
                Handler::END => handler.target,
                Handler::OUTER => handler.target + first,
                _ => handler.target + start,
            },
            ..*handler
        }));
    }

    /// Where its handlers are.
    pub fn landings(&self) -> impl Iterator<Item = u32> {
        let handlers = self.handlers.iter();
        handlers
            .filter(|handler| !matches!(handler.tag, Handler::END | Handler::OUTER))
            .map(|handler| handler.target)
    }

    /// Whether all tags that it names are among the first `count` of their module.
    pub fn names_tags_below(&self, count: usize) -> bool {
        self.handlers.iter().all(|handler| handler.is_special() || (handler.tag as usize) < count)
    }

    /// Checks that it is sound for code of `length` bytes, but for the tags that it names.
    pub fn check(&self, length: usize) -> Result<(), ImageError> {
        let ordered = self.calls.is_sorted_by(|a, b| a.offset < b.offset);
        let bounded = |call: &TryCall| {
            call.offset as usize <= length
                && (call.first as usize) < self.handlers.len()
                && call.frame < 1 << 30
        };
        let leads = |(position, handler): (usize, &Handler)| match handler.tag {
            Handler::END => true,
            Handler::OUTER => (handler.target as usize) < position,
            _ => (handler.target as usize) < length,
        };
        let sound = ordered
            && self.calls.iter().all(bounded)
            && self.handlers.iter().enumerate().all(leads)
            && self.handlers.last().is_none_or(|handler| handler.is_special());
        if sound { Ok(()) } else { Err(ImageError("exception table out of order".into())) }
    }

    /// The call that returns to `offset`, if it has handlers.
    pub fn call_at(&self, offset: u32) -> Option<&TryCall> {
        let found = self.calls.binary_search_by_key(&offset, |call| call.offset).ok()?;
        Some(&self.calls[found])
    }

    /// The offset of the first handler of `call` that takes an exception whose tag is one that `is_tag`
    /// says yes to.
    pub fn handler_of(&self, call: &TryCall, mut is_tag: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut position = call.first as usize;
        loop {
            // `check`: lists end, and go on outside at an earlier position only.
            let Handler { tag, target } = self.handlers[position];
            match tag {
                Handler::END => return None,
                Handler::ALL => return Some(target),
                Handler::OUTER => position = target as usize,
                tag if is_tag(tag) => return Some(target),
                _ => position += 1,
            }
        }
    }
}

/// Where the references of frames are while they call: for return addresses, places in the frame that
/// hold references into the heap (`layout::Repr::Ref`). At a return address that is not listed, there are
/// none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StackMaps {
    /// Return addresses, as offsets in the code, in order.
    returns: Vec<u32>,
    /// For each, where its places end in `places`.
    ends: Vec<u32>,
    /// Distances in bytes from the frame pointer.
    places: Vec<i32>,
}

impl StackMaps {
    /// From its parts, which `check` looks at.
    pub fn from_parts(returns: Vec<u32>, ends: Vec<u32>, places: Vec<i32>) -> StackMaps {
        StackMaps { returns, ends, places }
    }

    /// Return addresses; for each, where its places end; places.
    pub fn parts(&self) -> (&[u32], &[u32], &[i32]) {
        (&self.returns, &self.ends, &self.places)
    }

    /// Adds a return address, which lies behind those before it.
    pub fn push(&mut self, offset: u32, places: impl IntoIterator<Item = i32>) {
        let before = self.places.len();
        self.places.extend(places);
        if self.places.len() > before {
            self.returns.push(offset);
            self.ends.push(self.places.len() as u32);
        }
    }

    /// Adds those of a function that starts at `start`.
    pub fn extend(&mut self, other: &StackMaps, start: u32) {
        let first = self.places.len() as u32;
        self.returns.extend(other.returns.iter().map(|offset| offset + start));
        self.ends.extend(other.ends.iter().map(|end| end + first));
        self.places.extend_from_slice(&other.places);
    }

    /// Number of return addresses.
    pub fn len(&self) -> usize {
        self.returns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.returns.is_empty()
    }

    /// The places for the return address at `offset`.
    pub fn at(&self, offset: u32) -> &[i32] {
        let Ok(position) = self.returns.binary_search(&offset) else { return &[] };
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.places[start as usize..self.ends[position] as usize]
    }

    /// Every return address with its places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[i32])> {
        self.returns.iter().map(|offset| (*offset, self.at(*offset)))
    }

    /// Checks the maps of code of `length` bytes: addresses in order and in the code, places that are
    /// aligned.
    pub fn check(&self, length: u64) -> Result<(), ImageError> {
        let ordered = self.returns.is_sorted_by(|a, b| a < b)
            && self.returns.last().is_none_or(|offset| u64::from(*offset) <= length);
        let whole = self.ends.len() == self.returns.len()
            && self.ends.is_sorted()
            && self.ends.last().map_or(0, |end| *end as usize) == self.places.len()
            && u32::try_from(self.places.len()).is_ok();
        if ordered && whole && self.places.iter().all(|place| place % 4 == 0) {
            Ok(())
        } else {
            Err(ImageError("stack maps out of order".into()))
        }
    }
}

/// Where a function may start, in bytes behind a multiple of [`LINE`](Starts::LINE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Starts(u64);

impl Starts {
    /// Bytes of a line of code. No alignment is larger.
    pub const LINE: usize = 64;
    /// Anywhere.
    pub const ANY: Starts = Starts(u64::MAX);

    /// At multiples of a power of two that divides [`LINE`](Starts::LINE).
    pub fn multiples_of(align: u32) -> Starts {
        assert!(Starts::LINE.is_multiple_of(align as usize), "an alignment of code");
        Starts((0..Starts::LINE).step_by(align as usize).fold(0, |bits, start| bits | 1 << start))
    }

    /// From its bits, of which the lowest stands for a multiple of [`LINE`](Starts::LINE).
    pub fn from_bits(bits: u64) -> Starts {
        Starts(bits)
    }

    /// Its bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..Starts::LINE).filter(move |start| self.0 >> start & 1 != 0)
    }

    /// Those that `keep` says yes to.
    pub fn filter(self, keep: impl Fn(usize) -> bool) -> Starts {
        Starts(self.iter().filter(|start| keep(*start)).fold(0, |bits, start| bits | 1 << start))
    }

    /// Where something may start that has a function with these starts so many bytes behind its own.
    pub fn before(self, distance: usize) -> Starts {
        Starts(self.0.rotate_right((distance % Starts::LINE) as u32))
    }

    /// The first at or behind an offset; `None` if there are none at all.
    pub fn next(self, offset: usize) -> Option<usize> {
        let bits = self.before(offset).0;
        (bits != 0).then(|| offset + bits.trailing_zeros() as usize)
    }
}

impl Default for Starts {
    fn default() -> Starts {
        Starts::ANY
    }
}

/// One compiled function. Offsets count from its start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FunctionCode {
    /// Machine code and constants.
    pub bytes: Vec<u8>,
    /// Where it may start.
    pub starts: Starts,
    /// References to resolve.
    pub relocs: Vec<Reloc>,
    /// Where it may fault, in order.
    pub traps: Vec<TrapSite>,
    /// Where it stems from, in order.
    pub locations: Vec<Location>,
    /// Places in other functions that its locations speak of.
    pub inlined: Vec<Inlined>,
    /// Where exceptions go that leave its calls.
    pub exceptions: ExceptionTable,
    /// Where its frames have references.
    pub stack_maps: StackMaps,
}

/// Position of a function in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncRange {
    /// Entry.
    pub start: u32,
    /// End of code and constants.
    pub end: u32,
}

/// All code of a module. Offsets count from the start of the text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CodeImage {
    /// Machine code and constants.
    pub text: Vec<u8>,
    /// Position of each defined function.
    pub funcs: Vec<FuncRange>,
    /// Where code may fault, sorted.
    pub traps: Vec<TrapSite>,
    /// Where code stems from, sorted.
    pub locations: Vec<Location>,
    /// Places in inlined functions that locations speak of.
    pub inlined: Vec<Inlined>,
    /// Where exceptions go that leave calls.
    pub exceptions: ExceptionTable,
    /// Where frames have references.
    pub stack_maps: StackMaps,
}

/// An image could not be made or is not sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageError(pub String);

impl std::fmt::Display for ImageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ImageError {}

/// Lays out `funcs`, in order, and resolves what they refer to. The module table lies `table_bytes`
/// before the text.
pub fn link(funcs: Vec<FunctionCode>, table_bytes: usize) -> Result<CodeImage, ImageError> {
    let too_large = || ImageError("compiled code of the module exceeds 1 GiB".into());
    let mut image = CodeImage::default();
    let mut size = 0usize;
    for func in &funcs {
        size = func
            .starts
            .next(size)
            .ok_or_else(|| ImageError("a function that may start nowhere".into()))?;
        let start = size;
        size += func.bytes.len();
        if size > 1 << 30 {
            return Err(too_large());
        }
        image.funcs.push(FuncRange { start: start as u32, end: size as u32 });
    }
    // Doubling would take more than what is freed on the way.
    let total = |count: fn(&FunctionCode) -> usize| funcs.iter().map(count).sum();
    image.text.reserve_exact(size);
    image.traps.reserve_exact(total(|func| func.traps.len()));
    image.locations.reserve_exact(total(|func| func.locations.len()));
    image.inlined.reserve_exact(total(|func| func.inlined.len()));
    image.exceptions.calls.reserve_exact(total(|func| func.exceptions.calls.len()));
    image.exceptions.handlers.reserve_exact(total(|func| func.exceptions.handlers.len()));
    for (index, func) in funcs.into_iter().enumerate() {
        let start = image.funcs[index].start;
        // Between functions lies what traps when it is run (`int3`).
        image.text.resize(start as usize, 0xcc);
        image.text.extend_from_slice(&func.bytes);
        for reloc in &func.relocs {
            let place = i64::from(start) + i64::from(reloc.offset);
            let target = match reloc.target {
                RelocTarget::Func(target) => i64::from(image.funcs[target.index()].start),
                RelocTarget::ModuleTable => -(table_bytes as i64),
            };
            let distance = i32::try_from(target + reloc.addend - place).map_err(|_| too_large())?;
            let place = place as usize;
            image
                .text
                .get_mut(place..place + 4)
                .ok_or_else(|| ImageError("relocation outside its function".into()))?
                .copy_from_slice(&distance.to_le_bytes());
        }
        image.traps.extend(func.traps.iter().map(|t| TrapSite { offset: t.offset + start, ..*t }));
        let first = image.inlined.len() as u32;
        if first >= Location::INLINED / 2 {
            return Err(too_large());
        }
        let place = |wasm: u32| match wasm {
            Location::NONE => wasm,
            wasm if wasm & Location::INLINED == 0 => wasm,
            wasm => wasm + first,
        };
        let locations = func.locations.iter();
        image
            .locations
            .extend(locations.map(|l| Location { offset: l.offset + start, wasm: place(l.wasm) }));
        image.stack_maps.extend(&func.stack_maps, start);
        let inlined = func.inlined.iter();
        image.inlined.extend(inlined.map(|i| Inlined { outer: place(i.outer), ..*i }));
        image.exceptions.append(&func.exceptions, start);
    }
    image.check()?;
    Ok(image)
}

impl CodeImage {
    /// Checks the invariant of this file.
    pub fn check(&self) -> Result<(), ImageError> {
        self.check_tables(self.text.len())
    }

    /// As [`check`](CodeImage::check), of tables whose text, of so many bytes, lies elsewhere.
    pub fn check_tables(&self, text_bytes: usize) -> Result<(), ImageError> {
        let length = text_bytes as u64;
        let mut end = 0;
        for func in &self.funcs {
            if func.start < end || func.end < func.start || u64::from(func.end) > length {
                return Err(ImageError("function outside the text, or out of order".into()));
            }
            end = func.end;
        }
        check_locations(&self.locations, &self.inlined, self.funcs.len())?;
        self.stack_maps.check(length)?;
        let sorted = self.traps.is_sorted_by_key(|t| t.offset)
            && self.traps.last().is_none_or(|t| u64::from(t.offset) < length);
        self.exceptions.check(text_bytes)?;
        if sorted { Ok(()) } else { Err(ImageError("tables out of order".into())) }
    }

    /// What a fault at `offset` means.
    pub fn trap_at(&self, offset: u32) -> Option<Trap> {
        let found = self.traps.binary_search_by_key(&offset, |t| t.offset).ok()?;
        Some(self.traps[found].trap)
    }

    /// The function that `offset` lies in.
    pub fn func_at(&self, offset: u32) -> Option<DefinedFuncIndex> {
        let after = self.funcs.partition_point(|f| f.start <= offset);
        let index = after.checked_sub(1)?;
        (offset < self.funcs[index].end).then(|| DefinedFuncIndex::from(index))
    }

    /// The functions that code at `offset` belongs to, innermost first, each with the offset in the
    /// module's bytes of its instruction: more than one if calls were inlined.
    pub fn frames_at(
        &self,
        offset: u32,
    ) -> impl Iterator<Item = (DefinedFuncIndex, Option<u32>)> + '_ {
        self.func_at(offset).into_iter().flat_map(move |func| {
            let start = self.funcs[func.index()].start;
            let own = &self.locations[self.locations.partition_point(|l| l.offset < start)..];
            frames_at(func, own, &self.inlined, offset)
        })
    }

    /// The offset in the module's bytes that code at `offset` stems from.
    pub fn location_at(&self, offset: u32) -> Option<u32> {
        self.frames_at(offset).next()?.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn func(bytes: usize, relocs: Vec<Reloc>) -> FunctionCode {
        FunctionCode {
            bytes: vec![0x90; bytes],
            starts: Starts::multiples_of(16),
            relocs,
            ..FunctionCode::default()
        }
    }

    #[test]
    fn functions_start_where_they_may() {
        let at = |start: usize, bytes| FunctionCode {
            starts: Starts::ANY.filter(|it| it == start),
            ..func(bytes, Vec::new())
        };
        let anywhere = FunctionCode { starts: Starts::ANY, ..func(3, Vec::new()) };
        let image = link(vec![at(5, 20), at(5, 70), anywhere, at(20, 1)], 4096).unwrap();
        let starts: Vec<u32> = image.funcs.iter().map(|range| range.start).collect();
        assert_eq!(starts, [5, 69, 139, 148]);
        assert!(image.text[25..69].iter().all(|byte| *byte == 0xcc), "what lies between traps");
        let behind_a_gate = at(5, 20).starts.before(70);
        assert_eq!(behind_a_gate.iter().collect::<Vec<_>>(), [63]);
        assert!(link(vec![at(64, 20)], 4096).is_err(), "nowhere");
    }

    #[test]
    fn distances_are_relative_to_their_place() {
        let to = |offset, target| Reloc { offset, target, addend: -4 };
        let image = link(
            vec![
                func(20, vec![to(4, RelocTarget::Func(DefinedFuncIndex(1)))]),
                func(12, vec![to(8, RelocTarget::ModuleTable)]),
            ],
            4096,
        )
        .unwrap();
        let word = |at: usize| i32::from_le_bytes(image.text[at..at + 4].try_into().unwrap());
        assert_eq!(image.funcs[1].start, 32);
        assert_eq!(word(4), 32 - 4 - 4);
        assert_eq!(word(32 + 8), -4096 - 4 - 40);
        assert_eq!(image.func_at(19), Some(DefinedFuncIndex(0)));
        assert_eq!(image.func_at(20), None);
        assert_eq!(image.text[20], 0xcc);
    }

    #[test]
    fn a_relocation_outside_the_text_is_refused() {
        let reloc = Reloc { offset: 18, target: RelocTarget::ModuleTable, addend: 0 };
        assert!(link(vec![func(20, vec![reloc])], 4096).is_err());
    }

    #[test]
    fn handlers_are_found_inside_out() {
        let call = |offset, first| TryCall { offset, context: -16, frame: 32, first };
        let handler = |tag, target| Handler { tag, target };
        let exceptions = ExceptionTable {
            calls: vec![call(5, 0), call(9, 2)],
            handlers: vec![
                handler(3, 12),
                Handler::LAST,
                handler(1, 14),
                handler(Handler::OUTER, 0),
            ],
        };
        let code = FunctionCode { exceptions, ..func(20, Vec::new()) };
        let image = link(vec![func(12, Vec::new()), code.clone(), code], 4096).unwrap();
        let table = &image.exceptions;
        for start in [16, 48] {
            let found = |offset, thrown| {
                let call = table.call_at(start + offset).expect("a call");
                table.handler_of(call, |tag| tag == thrown)
            };
            assert_eq!(found(5, 3), Some(start + 12));
            assert_eq!(found(5, 1), None);
            assert_eq!(found(9, 1), Some(start + 14));
            assert_eq!(found(9, 3), Some(start + 12));
            assert_eq!(found(9, 2), None);
            assert!(table.call_at(start + 6).is_none());
        }
        assert!(table.names_tags_below(4) && !table.names_tags_below(3));
    }

    #[test]
    fn broken_exception_tables_are_refused() {
        let call = |offset, first| TryCall { offset, context: -16, frame: 32, first };
        let handler = |tag, target| Handler { tag, target };
        let check = |calls: &[TryCall], handlers: &[Handler]| {
            ExceptionTable { calls: calls.to_vec(), handlers: handlers.to_vec() }.check(20).is_ok()
        };
        assert!(check(&[call(5, 0)], &[handler(Handler::ALL, 19)]));
        assert!(!check(&[call(5, 0)], &[handler(Handler::ALL, 20)]), "past the code");
        assert!(!check(&[call(21, 0)], &[handler(Handler::ALL, 19)]), "past the code");
        assert!(!check(&[call(5, 1)], &[handler(Handler::ALL, 19)]), "no such handler");
        assert!(!check(&[call(5, 0), call(5, 0)], &[Handler::LAST]), "twice");
        assert!(!check(&[call(5, 0)], &[handler(0, 1)]), "no end");
        assert!(!check(&[call(5, 0)], &[handler(Handler::OUTER, 0)]), "a circle");
        assert!(!check(&[call(5, 0)], &[handler(Handler::OUTER, 1), Handler::LAST]), "forwards");
    }

    #[test]
    fn stack_maps_are_found_by_return_address() {
        let mut maps = StackMaps::default();
        maps.push(5, [-8, -12]);
        maps.push(9, []);
        maps.push(12, [16]);
        let code = FunctionCode { stack_maps: maps, ..func(12, Vec::new()) };
        let image = link(vec![func(3, Vec::new()), code.clone(), code], 4096).unwrap();
        let maps = &image.stack_maps;
        assert_eq!(
            (maps.at(16 + 5), maps.at(16 + 9), maps.at(16 + 12)),
            (&[-8, -12][..], &[][..], &[16][..])
        );
        assert_eq!(maps.iter().count(), 4);
        let check = |returns: &[u32], ends: &[u32], places: &[i32]| {
            StackMaps::from_parts(returns.into(), ends.into(), places.into()).check(40).is_ok()
        };
        assert!(check(&[3, 40], &[1, 2], &[-8, 4]));
        assert!(!check(&[3, 41], &[1, 2], &[-8, 4]), "outside");
        assert!(!check(&[3, 3], &[1, 2], &[-8, 4]), "twice the same");
        assert!(!check(&[3], &[1], &[-8, 4]) && !check(&[3], &[3], &[-8]), "places of nobody");
        assert!(!check(&[3], &[1], &[-6]), "not aligned");
    }

    #[test]
    fn inlined_places_are_followed_outwards() {
        let at = |offset, wasm| Location { offset, wasm };
        let place = |func, wasm, outer| Inlined { func: DefinedFuncIndex(func), wasm, outer };
        let inlined = |position| Location::INLINED | position;
        let code = FunctionCode {
            locations: vec![at(0, 50), at(4, inlined(1)), at(6, inlined(0)), at(8, Location::NONE)],
            inlined: vec![place(1, 20, 53), place(0, 10, inlined(0))],
            ..func(12, Vec::new())
        };
        let image = link(vec![func(12, Vec::new()), code.clone(), code], 4096).unwrap();
        let frames = |offset| -> Vec<_> {
            image.frames_at(offset).map(|(func, wasm)| (func.0, wasm)).collect()
        };
        for (func, start) in [(1, 16), (2, 32)] {
            assert_eq!(frames(start + 3), [(func, Some(50))]);
            assert_eq!(frames(start + 5), [(0, Some(10)), (1, Some(20)), (func, Some(53))]);
            assert_eq!(frames(start + 6), [(1, Some(20)), (func, Some(53))]);
            assert_eq!(frames(start + 8), [(func, None)]);
        }
        assert_eq!(frames(3), [(0, None)]);
        assert_eq!(frames(13), []);
    }

    #[test]
    fn inlined_places_that_lead_nowhere_are_refused() {
        let place = |func, wasm, outer| Inlined { func: DefinedFuncIndex(func), wasm, outer };
        let check = |wasm, inlined: &[Inlined]| {
            check_locations(&[Location { offset: 0, wasm }], inlined, 3).is_ok()
        };
        let first = Location::INLINED;
        assert!(check(first, &[place(2, 5, 9)]));
        assert!(!check(first, &[]));
        assert!(!check(first + 1, &[place(2, 5, 9)]));
        assert!(!check(first, &[place(3, 5, 9)]), "no such function");
        assert!(!check(first, &[place(2, 5, first)]), "a circle");
        assert!(!check(first, &[place(2, first, 9)]), "a place in a place");
    }
}

//! Code that comes function by function, while the module runs.
//!
//! ```text
//!   module table        │ stubs              │ lazy entries                  … chunks
//!   slots ──────────┐   │ 0: jmp [slot 0]    │ 0: mov r11d, 0; jmp [lazy]    … code of any tier
//!   counters        │   │ 1: jmp [slot 1]    │ 1: mov r11d, 1; jmp [lazy]
//!                   └── a slot points at its lazy entry first, then at code in a chunk
//! ```
//!
//! What outlives a change of code (function references, exports, imports, the host) holds a function's
//! stub; code of the module itself calls through the slot. Code of the optimizing tier is final: what is
//! compiled later calls it by its distance, and an instance's references to the function go on to it when the
//! store's own thread is here anyway ([`Tiered::finals`]). Chunks are filled from their start; code in
//! them never moves or changes, and stays until the module's `Code` is dropped.
//!
//! NOTE [tier publication]
//! `code slot[i]` starts at the lazy entry of function i. Under the lock `growing`, a tier's code is
//! written to a chunk, through the writable view, where nothing runs; then it is entered into the
//! chunk's list; then the slot is set, with one release store. Generated code reads a slot in one load,
//! which orders like an acquire on x86-64, and may see either version: both stay mapped. So a thread
//! that runs the new code finds its traps and locations. A slot only goes on to a higher tier: no
//! older version is ever written back.
//!
//! NOTE [counters]
//! Counters are data without a lock: generated code counts down in place, several threads at once, and
//! loses counts. The kernel sets one when code asks for a faster version. Any value is correct.

use crate::code::Code;
use crate::code::{CodeError, CodeTables, Pages, with_table};
use crate::context::{Failure, Frame};
use crate::exceptions::Handlers;
use crate::watch::{Kept, PublishedFunc, Watch};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use wardian_module::image::{
    ExceptionTable, FunctionCode, Inlined, Location, RelocTarget, StackMaps, Starts, TrapSite,
    check_locations, frames_at,
};
use wardian_module::layout::{CODE_PAGE, Linkage, ModuleTable, VmLayout};
use wardian_module::{DefinedFuncIndex, Module, TagIndex, Trap};

/// Where a module's functions come from. Its methods run on the stack of the guest that asks, on any
/// number of threads at once.
pub trait Source: Send + Sync {
    /// Makes code of a function and gives it to [`Tiered::publish`]: it is about to be called.
    fn compile(&self, code: &Arc<Code>, func: DefinedFuncIndex) -> Result<(), Failure>;

    /// A function has counted down: on entry, or at the head of the loop with this ordinal. Answers what
    /// it shall count next, soon: the guest waits.
    fn hot(&self, code: &Arc<Code>, func: DefinedFuncIndex, head: Option<u32>) -> i32;

    /// A frame that is at the head of this loop goes on in its replacement.
    fn replaced(&self, func: DefinedFuncIndex, head: u32) {
        let _ = (func, head);
    }

    /// What was made so far shall outlive the process, if anything does.
    fn keep(&self) {}
}

/// How far code of a function was optimized. Higher tiers replace lower ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Tier {
    /// Code of the single-pass tier.
    Baseline = 1,
    /// Code of the optimizing tier.
    Optimized = 2,
}

/// A replacement for a loop: where it begins, and the values of live state that it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Replacement {
    pub(crate) entry: u64,
    pub(crate) live_slots: u32,
}

/// See the head of this file.
pub struct Tiered {
    module: Arc<Module>,
    source: Box<dyn Source>,
    /// Module table, stubs and lazy entries.
    base: Pages,
    table_bytes: usize,
    /// The tier of each function's present code; 0 for none.
    tiers: Box<[AtomicU8]>,
    text_size: AtomicUsize,
    watch: Option<Box<dyn Watch>>,
    growing: Mutex<Growing>,
}

#[derive(Default)]
struct Growing {
    /// Of `watch`. Dropped before the chunks.
    kept: Vec<Kept>,
    chunks: Vec<Chunk>,
    /// Functions with final code, in the order in which it was published.
    finals: Vec<DefinedFuncIndex>,
    /// By function and loop.
    replacements: HashMap<(DefinedFuncIndex, u32), Replacement>,
}

struct Chunk {
    pages: Pages,
    /// Offset of the first free byte.
    next: usize,
}

/// Bytes from one stub to the next.
const STUB: usize = 8;
/// Bytes from one lazy entry to the next.
const LAZY: usize = 12;
/// Sizes of chunks in bytes: each is twice as large as the one before it, between these.
const CHUNKS: std::ops::RangeInclusive<usize> = (64 << 10)..=(1 << 20);

impl Tiered {
    pub(crate) fn new(
        module: Arc<Module>,
        source: Box<dyn Source>,
        watch: Option<Box<dyn Watch>>,
    ) -> Result<Tiered, CodeError> {
        let (count, watcher) = (module.bodies.len(), watch.as_deref());
        let (base, table_bytes) =
            with_table(&module, Linkage::Slots, count * (STUB + LAZY), watcher)?;
        let tiered = Tiered {
            tiers: (0..count).map(|_| AtomicU8::new(0)).collect(),
            module,
            source,
            base,
            table_bytes,
            text_size: AtomicUsize::new(0),
            watch,
            growing: Mutex::default(),
        };
        let mut text = Vec::with_capacity(count * (STUB + LAZY));
        // `jmp [rip + distance]`, which counts from the end of its 6 bytes.
        let jump = |text: &mut Vec<u8>, target: usize| {
            let end = table_bytes + text.len() + 6;
            text.extend([0xff, 0x25]);
            // Both lie in this range, which an arena of at most 1 GiB holds.
            text.extend((target as i32 - end as i32).to_le_bytes());
        };
        for index in 0..count {
            jump(&mut text, tiered.slot_offset(DefinedFuncIndex::from(index)));
            text.extend([0xcc; STUB - 6]);
        }
        for index in 0..count as u32 {
            // `mov r11d, index`
            text.extend([0x41, 0xbb]);
            text.extend(index.to_le_bytes());
            jump(&mut text, ModuleTable::LAZY_SHIM as usize);
        }
        tiered.base.write(table_bytes, &text).map_err(CodeError::Memory)?;
        for index in 0..count {
            let entry = tiered.base.address(table_bytes + count * STUB + index * LAZY);
            tiered.slot(DefinedFuncIndex::from(index)).store(entry as u64, Release);
        }
        Ok(tiered)
    }

    fn slot_offset(&self, func: DefinedFuncIndex) -> usize {
        ModuleTable::slot(self.module.types.len(), func) as usize
    }

    fn slot(&self, func: DefinedFuncIndex) -> &std::sync::atomic::AtomicU64 {
        self.base.slot(self.slot_offset(func))
    }

    fn growing(&self) -> MutexGuard<'_, Growing> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that stands for a function as long as the module exists.
    pub(crate) fn stub(&self, func: DefinedFuncIndex) -> *const u8 {
        assert!(func.index() < self.tiers.len(), "the function is defined here");
        self.base.address(self.table_bytes + func.index() * STUB)
    }

    /// The final code of a function, or its stub while it has none.
    pub(crate) fn entry(&self, func: DefinedFuncIndex) -> *const u8 {
        match self.tier(func) {
            Some(Tier::Optimized) => {
                std::ptr::with_exposed_provenance(self.slot(func).load(Acquire) as usize)
            }
            _ => self.stub(func),
        }
    }

    /// How many functions have final code.
    pub(crate) fn final_count(&self) -> usize {
        self.growing().finals.len()
    }

    /// The functions that got final code after so many had it, and that code.
    pub(crate) fn finals(&self, after: usize) -> Vec<(DefinedFuncIndex, *const u8)> {
        let growing = self.growing();
        growing.finals[after..].iter().map(|func| (*func, self.entry(*func))).collect()
    }

    /// Bytes of code published.
    pub fn text_size(&self) -> usize {
        self.text_size.load(Relaxed)
    }

    /// The tier of a function's code, if it has any.
    pub fn tier(&self, func: DefinedFuncIndex) -> Option<Tier> {
        match self.tiers[func.index()].load(Acquire) {
            0 => None,
            1 => Some(Tier::Baseline),
            _ => Some(Tier::Optimized),
        }
    }

    /// Whether code can be published: not in a child of the process that made it.
    pub fn is_own(&self) -> bool {
        self.base.is_own()
    }

    /// Sets what a function still has to count before it asks for faster code.
    pub fn set_counter(&self, func: DefinedFuncIndex, value: i32) {
        let (types, funcs) = (self.module.types.len(), self.module.bodies.len());
        self.base.counter(ModuleTable::counter(types, funcs, func) as usize).store(value, Relaxed);
    }

    /// Makes `code` what calls of a function run from now on; does nothing and returns `false` if it has
    /// code of this tier or a higher one. By [compiled code] it stems from a tier.
    pub fn publish(
        &self,
        func: DefinedFuncIndex,
        tier: Tier,
        code: &FunctionCode,
    ) -> Result<bool, CodeError> {
        if !self.is_own() {
            return Err(CodeError::Forked);
        }
        let mut growing = self.growing();
        // NOTE [tier publication]
        if self.tier(func) >= Some(tier) {
            return Ok(false);
        }
        let is_final = tier == Tier::Optimized;
        let entry = self.place(&mut growing, func, code, is_final)?;
        self.slot(func).store(entry, Release);
        self.tiers[func.index()].store(tier as u8, Release);
        if is_final {
            growing.finals.push(func);
        }
        Ok(true)
    }

    /// Makes `code` the replacement for a loop of a function, which reads `live_slots` values of live
    /// state. Does nothing and returns `false` if there is one already.
    pub fn publish_replacement(
        &self,
        func: DefinedFuncIndex,
        head: u32,
        code: &FunctionCode,
        live_slots: u32,
    ) -> Result<bool, CodeError> {
        if !self.is_own() {
            return Err(CodeError::Forked);
        }
        let mut growing = self.growing();
        if growing.replacements.contains_key(&(func, head)) {
            return Ok(false);
        }
        let entry = self.place(&mut growing, func, code, false)?;
        growing.replacements.insert((func, head), Replacement { entry, live_slots });
        Ok(true)
    }

    /// Whether there is a replacement for a loop of a function.
    pub fn has_replacement(&self, func: DefinedFuncIndex, head: u32) -> bool {
        self.growing().replacements.contains_key(&(func, head))
    }

    /// Writes code of a function, perhaps that which it keeps, to a chunk and lets it be found; its address.
    fn place(
        &self,
        growing: &mut Growing,
        func: DefinedFuncIndex,
        code: &FunctionCode,
        is_final: bool,
    ) -> Result<u64, CodeError> {
        check(&self.module, code)?;
        let align = if self.base.arena().is_dual() { Starts::LINE } else { CODE_PAGE };
        let size = code.bytes.len();
        // Code of another function starts in another line of the cache.
        let first =
            code.starts.next(0).ok_or_else(|| refused("a function that may start nowhere"))?;
        let start = |chunk: &Chunk| chunk.next.next_multiple_of(align) + first;
        let fits = |chunk: &Chunk| start(chunk) + size <= chunk.pages.size();
        if !growing.chunks.last().is_some_and(fits) {
            self.add_chunk(growing, first + size)?;
        }
        let chunk = growing.chunks.last_mut().expect("it was added if there was none");
        let start = start(chunk);
        let address = chunk.pages.address(start) as u64;
        let bytes = self.resolve(is_final.then_some(func), code, address)?;
        chunk.pages.write(start, &bytes).map_err(CodeError::Memory)?;
        let CodeTables::Chunk(tables) = chunk.pages.tables() else {
            unreachable!("entered by `add_chunk`")
        };
        tables.funcs.push(Published {
            start: start as u32,
            end: (start + size) as u32,
            func,
            traps: code.traps.as_slice().into(),
            locations: code.locations.as_slice().into(),
            inlined: code.inlined.as_slice().into(),
            exceptions: code.exceptions.clone(),
            stack_maps: code.stack_maps.clone(),
        });
        chunk.next = start + size;
        self.text_size.fetch_add(size, Relaxed);
        if let Some(watch) = &self.watch {
            let published = PublishedFunc { func, address: address as usize, bytes: &bytes };
            growing.kept.extend(watch.published(&[published]));
        }
        Ok(address)
    }

    fn add_chunk(&self, growing: &mut Growing, least: usize) -> Result<(), CodeError> {
        // Small modules get small chunks; the 1 GiB bound of an arena bounds `least`.
        let code = self.module.code_section.len().saturating_mul(4);
        let size = match growing.chunks.last() {
            Some(chunk) => (chunk.pages.size() * 2).min(*CHUNKS.end()),
            None => code.clamp(4 * CODE_PAGE, *CHUNKS.start()),
        };
        let mut pages = self.base.take_beside(size.max(least))?;
        let start = pages.address(0) as usize;
        let module = self.module.clone();
        let tags = VmLayout::new(&module).tag(TagIndex(0));
        let recent = [const { AtomicU32::new(0) }; RECENT];
        let tables = ChunkTables { module, start, tags, funcs: AppendList::new(), recent };
        pages.enter(CodeTables::Chunk(Box::new(tables)));
        growing.chunks.push(Chunk { pages, next: 0 });
        Ok(())
    }

    /// The bytes of code that will lie at `address`, with its distances filled in; `own` is the function that
    /// it is the final code of.
    fn resolve(
        &self,
        own: Option<DefinedFuncIndex>,
        code: &FunctionCode,
        address: u64,
    ) -> Result<Vec<u8>, CodeError> {
        let mut bytes = code.bytes.clone();
        for reloc in &code.relocs {
            let target = match reloc.target {
                RelocTarget::Func(target) if own == Some(target) => address,
                RelocTarget::Func(target) => self.entry(target) as u64,
                RelocTarget::ModuleTable => self.base.address(0) as u64,
            };
            let place = address as i64 + i64::from(reloc.offset);
            let distance = (target as i64).checked_add(reloc.addend).map(|target| target - place);
            let distance = distance.and_then(|distance| i32::try_from(distance).ok());
            let distance = distance.ok_or_else(|| refused("distance past 2 GiB"))?;
            let place = reloc.offset as usize;
            bytes[place..place + 4].copy_from_slice(&distance.to_le_bytes());
        }
        Ok(bytes)
    }

    /// The address to go on at for a call that came to the lazy entry of a function.
    pub(crate) fn compile(&self, code: &Arc<Code>, func: DefinedFuncIndex) -> Result<u64, Failure> {
        assert!(func.index() < self.tiers.len(), "lazy entries pass their own index");
        if self.tier(func).is_none() {
            self.source.compile(code, func)?;
        }
        assert!(self.tier(func).is_some(), "a source publishes what it was asked for");
        Ok(self.slot(func).load(Acquire))
    }

    /// A function counted down; the replacement to go on in, if one is asked for and there.
    pub(crate) fn hot(
        &self,
        code: &Arc<Code>,
        func: DefinedFuncIndex,
        head: Option<u32>,
    ) -> Option<Replacement> {
        assert!(func.index() < self.tiers.len(), "tiers pass functions of their module");
        if !self.is_own() {
            // NOTE [fork]: nothing faster comes, and another thread may have held the lock.
            self.set_counter(func, i32::MAX);
            return None;
        }
        let count = self.source.hot(code, func, head);
        self.set_counter(func, count);
        self.growing().replacements.get(&(func, head?)).copied()
    }

    /// A frame at a loop is left for its replacement.
    pub(crate) fn replaced(&self, func: DefinedFuncIndex, head: u32) {
        self.source.replaced(func, head);
    }

    /// See [`Source::keep`].
    pub fn keep(&self) {
        self.source.keep();
    }
}

/// Checks what can be checked of a tier's output.
fn check(module: &Module, code: &FunctionCode) -> Result<(), CodeError> {
    let size = code.bytes.len();
    let bounded = size > 0 && size < 1 << 30;
    let relocs = code.relocs.iter().all(|reloc| {
        let known = match reloc.target {
            RelocTarget::Func(func) => func.index() < module.bodies.len(),
            RelocTarget::ModuleTable => true,
        };
        known && reloc.offset as usize + 4 <= size
    });
    if !bounded || !relocs {
        return Err(refused("function or relocation out of bounds"));
    }
    check_locations(&code.locations, &code.inlined, module.bodies.len())
        .and_then(|()| code.stack_maps.check(size as u64))
        .map_err(|error| CodeError::Image(error.0))?;
    code.exceptions.check(size).map_err(|error| CodeError::Image(error.0))?;
    if !code.exceptions.names_tags_below(module.tags.len()) {
        return Err(refused("a handler of a tag that the module lacks"));
    }
    let sorted = code.traps.is_sorted_by_key(|t| t.offset)
        && code.traps.last().is_none_or(|t| (t.offset as usize) < size);
    if sorted { Ok(()) } else { Err(refused("tables out of order")) }
}

fn refused(why: &str) -> CodeError {
    CodeError::Image(why.into())
}

/// What addresses in a chunk mean.
#[derive(Debug)]
pub(crate) struct ChunkTables {
    module: Arc<Module>,
    start: usize,
    /// Offset in VM contexts of the ids of tags.
    tags: u32,
    /// In order of their start.
    funcs: AppendList<Published>,
    /// Which of them was found last for an offset, by some bits of it: exceptions pass the same calls again
    /// and again.
    recent: [AtomicU32; RECENT],
}

const RECENT: usize = 256;

#[derive(Debug)]
struct Published {
    /// Offsets in the chunk.
    start: u32,
    end: u32,
    func: DefinedFuncIndex,
    /// By offset in the function.
    traps: Box<[TrapSite]>,
    locations: Box<[Location]>,
    inlined: Box<[Inlined]>,
    exceptions: ExceptionTable,
    stack_maps: StackMaps,
}

impl ChunkTables {
    /// The function that `pc` lies in, and its offset there.
    fn find(&self, pc: usize) -> Option<(&Published, u32)> {
        let offset = u32::try_from(pc.checked_sub(self.start)?).ok()?;
        let inside = |func: &&Published| func.start <= offset && offset < func.end;
        let recent = &self.recent[offset as usize % RECENT];
        let known = self.funcs.get(recent.load(Relaxed) as usize).filter(inside);
        let found = match known {
            Some(found) => found,
            None => {
                let last = self.funcs.last_where(|func| func.start <= offset)?;
                recent.store(last as u32, Relaxed);
                self.funcs.get(last).filter(inside)?
            }
        };
        Some((found, offset - found.start))
    }

    pub(crate) fn trap_at(&self, pc: usize) -> Option<Trap> {
        let (func, offset) = self.find(pc)?;
        let found = func.traps.binary_search_by_key(&offset, |t| t.offset).ok()?;
        Some(func.traps[found].trap)
    }

    /// The handlers of the call that returns to `pc`, if it has any.
    pub(crate) fn handlers_at(&self, pc: usize) -> Option<Handlers<'_>> {
        // The return address may be the function's end.
        let (func, offset) = self.find(pc - 1)?;
        let table = &func.exceptions;
        let call = table.call_at(offset + 1)?;
        Some(Handlers { table, call, base: self.start + func.start as usize, tags: self.tags })
    }

    /// Where the frame that comes back to `pc` has references.
    pub(crate) fn references_at(&self, pc: usize) -> &[i32] {
        self.find(pc).map_or(&[], |(func, offset)| func.stack_maps.at(offset))
    }

    pub(crate) fn frames_at(&self, pc: usize, frames: &mut Vec<Frame>) {
        let Some((func, offset)) = self.find(pc) else { return };
        let found = frames_at(func.func, &func.locations, &func.inlined, offset);
        frames.extend(found.map(|(func, wasm_offset)| {
            let (module, func) = (self.module.clone(), self.module.func_index(func));
            Frame { module, func, wasm_offset }
        }));
    }
}

/// A list that grows while others read it, without a lock: items never move. One thread at a time
/// appends.
///
/// Bucket `n` holds `FIRST << n` items.
#[derive(Debug)]
struct AppendList<T> {
    buckets: [OnceLock<Box<[OnceLock<T>]>>; 24],
    length: AtomicUsize,
}

const FIRST: usize = 16;

impl<T> AppendList<T> {
    fn new() -> AppendList<T> {
        AppendList { buckets: [const { OnceLock::new() }; 24], length: AtomicUsize::new(0) }
    }

    /// Bucket of an index, and the position there.
    fn place(index: usize) -> (usize, usize) {
        let bucket = (index / FIRST + 1).ilog2() as usize;
        (bucket, index - FIRST * ((1 << bucket) - 1))
    }

    fn push(&self, item: T) {
        let index = self.length.load(Relaxed);
        let (bucket, position) = Self::place(index);
        let empty = || (0..FIRST << bucket).map(|_| OnceLock::new()).collect();
        let set = self.buckets[bucket].get_or_init(empty)[position].set(item);
        assert!(set.is_ok(), "one thread at a time appends");
        self.length.store(index + 1, Release);
    }

    fn get(&self, index: usize) -> Option<&T> {
        let (bucket, position) = Self::place(index);
        self.buckets[bucket].get()?.get(position)?.get()
    }

    /// Where the last item is for which `holds` is true, in a list where it is true of a first part only.
    fn last_where(&self, holds: impl Fn(&T) -> bool) -> Option<usize> {
        let (mut low, mut high) = (0, self.length.load(Acquire));
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle) {
                Some(item) if holds(item) => low = middle + 1,
                _ => high = middle,
            }
        }
        low.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_finds_what_was_appended() {
        let list = AppendList::new();
        assert!(list.last_where(|_: &usize| true).is_none());
        for n in 0..1000 {
            list.push(2 * n);
            assert_eq!(list.last_where(|item| *item <= n), Some(n / 2));
        }
        assert_eq!(list.get(999), Some(&1998));
        assert_eq!(list.get(1000), None);
        assert!(list.last_where(|_| false).is_none());
    }

    #[test]
    fn a_list_is_read_while_it_grows() {
        let list = AppendList::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while last < 499 {
                    if let Some(found) = list.last_where(|item: &usize| *item < 500) {
                        assert!(found >= last && list.get(found) == Some(&found));
                        last = found;
                    }
                    std::thread::yield_now();
                }
            });
            (0..500).for_each(|n| list.push(n));
            reader.join().unwrap();
        });
    }
}

//! The state of a heap: where its spaces lie, allocation, what is to be done when there is no room.
//!
//! ```text
//!  NULL_PAGE   shapes   │ chunks of the old generation … │ eden │ survivors │ survivors │ more chunks …
//!                                                        └────── young generation ──────┘
//! ```
//!
//! New objects are put one behind the other into eden, by generated code itself while there is room. A
//! young collection moves what is reachable out of it; or, where nearly all of the last ones was reachable, it
//! moves nothing: what lies in eden is old from then on, and eden begins elsewhere. What is too large for eden
//! begins in the old generation, in chunks of its own, and never moves.
//!
//! Invariants:
//! - an object of the old generation that refers to a young one is in `remembered`, and its flag
//!   `NO_BARRIER` is set; that of a young object is always set;
//! - the bytes that the heap takes are within `granted`, but for the time of a collection that is made after more
//!   was refused;
//! - each object that stands for a host value is in `externs`.

use crate::chunks::{CHUNK, Chunks, Use};
use crate::memory::{MOST_BEHIND, Memory, NULL_PAGE, word};
use crate::shape::*;
use wardian_module::layout::LARGE_OBJECT;

/// Objects larger than this begin in the old generation.
pub(crate) const LARGE: u32 = LARGE_OBJECT;
/// Bytes of a block, in which the old generation's other objects lie.
pub(crate) const BLOCK: u32 = 8 * CHUNK;
/// Bytes of eden at first.
const FIRST_EDEN: u32 = 256 << 10;
/// Least bytes of eden.
const LEAST_EDEN: u32 = 32 << 10;
/// Bytes that a young collection should move at most: about half a millisecond of small objects. Where more
/// survives, eden is made smaller.
const PAUSE_BYTES: u64 = 512 << 10;
/// How often in a row eden grows old where it lies, at most, before a collection looks again at what of it is
/// reachable.
const MOST_UNSEEN: u32 = 32;
/// Bytes of eden then: what a processor's cache holds, and no more than may be moved in a pause.
const UNSEEN_EDEN: u32 = PAUSE_BYTES as u32;
/// Bytes of the old generation's growth that are worth a full collection, at least.
const WORTH_COLLECTING: u64 = 32 << 20;

/// What may be chosen for a heap.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of eden at most.
    pub eden_bytes: u32,
    /// Whether an object stays young for one more collection before it becomes old.
    pub aging: bool,
    /// Collect at each allocation of so many; never for that reason if 0.
    pub zeal: u32,
    /// Bytes to ask for at first.
    pub initial_bytes: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { eden_bytes: 4 << 20, aging: false, zeal: 0, initial_bytes: 0 }
    }
}

/// A block of the old generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) start: u32,
    pub(crate) chunks: u32,
    /// Where its objects end; of the last block, `Heap::old_next` says it.
    pub(crate) filled: u32,
}

/// A host value's object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extern {
    Free,
    At(u32),
}

/// What to do next for an object that there is no room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There is room now.
    Ready,
    /// Ask whether the heap may take so many bytes altogether, and tell [`Heap::answer`].
    Grant(u64),
    /// [`Heap::collect`] in this way.
    Collect(Which),
    /// There is no room to be had.
    OutOfMemory,
}

/// A way to collect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The young generation.
    Young,
    /// All.
    Full,
}

/// What was tried already for one object.
#[derive(Clone, Copy, Default, Debug)]
pub struct Attempt {
    refused: bool,
    young: bool,
    full: bool,
}

/// Counters of a heap.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    /// Young collections, those that let eden grow old where it lies included.
    pub young_collections: u64,
    /// The latter alone.
    pub grown_old: u64,
    /// Full collections.
    pub full_collections: u64,
    /// Bytes that collections moved.
    pub moved_bytes: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Heap {
    pub(crate) config: Config,
    pub(crate) shapes: Shapes,
    pub(crate) chunks: Chunks,
    /// Where shapes end and objects begin.
    objects_start: u32,
    /// First byte of the young generation.
    pub(crate) young_start: u32,
    /// Bytes of the young generation's addresses.
    pub(crate) young_bytes: u32,
    /// Bytes of eden that are in use.
    eden: u32,
    /// Where the next object goes, and where that ends. Generated code has copies of both.
    next: u32,
    /// Start and end of what the last young collection left among the young.
    pub(crate) survivors: (u32, u32),
    /// Start of the half that the next one leaves its own in.
    pub(crate) other_half: u32,
    pub(crate) half: u32,
    /// Blocks of the old generation; the last one is being filled.
    pub(crate) blocks: Vec<Block>,
    pub(crate) old_next: u32,
    pub(crate) old_limit: u32,
    /// The parity of blocks that are in use.
    pub(crate) parity: bool,
    /// Offset and chunks of large objects.
    pub(crate) large: Vec<(u32, u32)>,
    /// Sum of these chunks.
    pub(crate) large_chunks: u32,
    pub(crate) remembered: Vec<u32>,
    /// Empty between collections.
    pub(crate) waiting: Vec<u32>,
    externs: Vec<Extern>,
    free_externs: Vec<u32>,
    young_externs: Vec<u32>,
    extern_shape: u32,
    granted: u64,
    /// Bytes of the old generation from which on all is collected.
    pub(crate) threshold: u64,
    pub(crate) broken: bool,
    /// How often eden grows old unseen before a collection looks at it, and how often it did before the last
    /// one.
    unseen: u32,
    unseen_before: u32,
    /// Allocations since the last one that collected for the sake of it, and whether the next one does.
    zeal_count: u32,
    zeal_due: bool,
    pub(crate) stats: Stats,
}

impl Heap {
    /// A heap in a region of `memory`'s bytes, with the shape of host values' objects. `None` if that is
    /// too small for one.
    pub fn new(memory: &mut Memory<'_>, config: Config) -> Option<Heap> {
        // The last chunk stays unused, so that the end of an object is an offset, too.
        let end = memory.end().min((1 << 32) - u64::from(CHUNK));
        let shapes_end = u64::from(NULL_PAGE) + (end / 64).max(1 << 16);
        let eden = config.eden_bytes.clamp(LEAST_EDEN, 1 << 30).next_multiple_of(CHUNK);
        let half = if config.aging { (eden / 4).next_multiple_of(CHUNK) } else { 0 };
        let objects_start = (shapes_end as u32).next_multiple_of(CHUNK);
        let eden = u64::from(eden).min(end.checked_sub(u64::from(objects_start))? / 4);
        let eden = eden as u32 / CHUNK * CHUNK;
        let young_bytes = eden.checked_add(2 * half)?;
        let others_start = objects_start.checked_add(young_bytes)?;
        if eden < LEAST_EDEN || u64::from(others_start) + u64::from(4 * BLOCK) > end {
            return None;
        }
        let mut chunks = Chunks::new(objects_start, end);
        let young_start = chunks.take_young(young_bytes / CHUNK)?;
        let mut heap = Heap {
            config: Config { eden_bytes: eden, ..config },
            shapes: Shapes::new(NULL_PAGE, shapes_end as u32),
            chunks,
            objects_start,
            young_start,
            young_bytes,
            eden: 0,
            next: young_start,
            survivors: (young_start + eden, young_start + eden),
            other_half: young_start + eden + half,
            half,
            blocks: Vec::new(),
            old_next: 0,
            old_limit: 0,
            parity: false,
            large: Vec::new(),
            large_chunks: 0,
            remembered: Vec::new(),
            waiting: Vec::new(),
            externs: Vec::new(),
            free_externs: Vec::new(),
            young_externs: Vec::new(),
            extern_shape: 0,
            granted: 0,
            threshold: WORTH_COLLECTING,
            broken: false,
            unseen: 0,
            unseen_before: 0,
            zeal_count: 0,
            zeal_due: config.zeal == 1,
            stats: Stats::default(),
        };
        let references = References::At(Vec::new());
        let layout = Layout { kind: Kind::Extern, size: 16, references, tag: 0 };
        heap.extern_shape = heap.shapes.add(memory, &layout, None)?;
        Some(heap)
    }

    /// Adds a shape, below `parent`'s in subtyping, and returns its offset. `None` when there is no room
    /// for more.
    pub fn add_shape(
        &mut self,
        memory: &mut Memory<'_>,
        layout: &Layout,
        parent: Option<u32>,
    ) -> Option<u32> {
        self.shapes.add(memory, layout, parent)
    }

    // ---- what generated code has of it ----

    /// Where generated code puts its next object, and where it must stop.
    ///
    /// With zeal there is no room, so that each object is asked for.
    pub fn window(&self) -> (u32, u32) {
        (self.next, if self.config.zeal > 0 || self.broken { self.next } else { self.eden_end() })
    }

    /// Takes over where generated code has come to.
    pub fn set_next(&mut self, next: u64) {
        let next = u32::try_from(next)
            .ok()
            .filter(|next| (self.next..=self.eden_end()).contains(next) && next.is_multiple_of(8));
        self.next = next.expect("generated code keeps to its window");
    }

    fn eden_end(&self) -> u32 {
        self.young_start + self.eden
    }

    // ---- sizes ----

    /// Bytes that the heap may take.
    pub fn granted(&self) -> u64 {
        self.granted
    }

    /// Bytes of all objects, reachable or not, as far as chunks tell.
    pub fn used(&self) -> u64 {
        self.chunks.used_bytes() + u64::from(self.young_used())
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn young_used(&self) -> u32 {
        self.next - self.young_start + (self.survivors.1 - self.survivors.0)
    }

    pub(crate) fn large_bytes(&self) -> u64 {
        u64::from(self.large_chunks) * u64::from(CHUNK)
    }

    /// Bytes of objects that a full collection would move if all were reachable.
    fn moving_bytes(&self) -> u64 {
        self.chunks.used_bytes() - self.large_bytes() + u64::from(self.young_used())
    }

    /// Bytes of blocks that may be needed for `bytes` of objects that move: what remains at the end of a
    /// block is less than the largest of them.
    fn blocks_for(bytes: u64) -> u64 {
        // The block that is being filled may have no room left.
        let blocks = bytes.div_ceil(u64::from(BLOCK - LARGE - MOST_BEHIND)) + u64::from(bytes > 0);
        blocks * u64::from(BLOCK)
    }

    /// Bytes that a heap with this eden takes with `more` bytes of objects if all that is young becomes old,
    /// and if then, with the least eden filled, all is collected: so a young collection never makes a full one
    /// impossible.
    fn needed(&self, eden: u32, more: u64) -> u64 {
        let young = u64::from(eden) + 2 * u64::from(self.half);
        let promoted = Heap::blocks_for(u64::from(self.young_used()));
        let used = self.chunks.used_bytes() + promoted;
        let moving = used - self.large_bytes() + u64::from(LEAST_EDEN) + u64::from(self.half);
        young + used + more + Heap::blocks_for(moving) + u64::from(BLOCK)
    }

    /// Bytes that a full collection takes now.
    fn needed_for_full(&self) -> u64 {
        let used = self.chunks.used_bytes();
        let young = u64::from(self.eden) + 2 * u64::from(self.half);
        young + used + Heap::blocks_for(self.moving_bytes())
    }

    /// Whether so many bytes of blocks could be taken.
    fn has_blocks(&self, bytes: u64) -> bool {
        let blocks = (bytes / u64::from(BLOCK)) as u32;
        self.chunks.has_runs(blocks, BLOCK / CHUNK)
    }

    // ---- allocation ----

    /// Bytes of an object of this shape; of an array, with so many elements. `None` if it is too large.
    pub fn object_bytes(&self, memory: &Memory<'_>, shape: u32, length: u32) -> Option<u32> {
        let descriptor = self.shapes.descriptor(memory, shape);
        match descriptor.kind {
            Kind::Array => array_bytes(descriptor.size, length),
            _ => Some(descriptor.size),
        }
    }

    /// What is to be done for an object of `bytes` bytes. The answer is [`Step::Ready`] after at most a
    /// handful of others, or [`Step::OutOfMemory`].
    pub fn plan(&self, bytes: u32, attempt: &Attempt) -> Step {
        if self.broken {
            return Step::OutOfMemory;
        }
        if self.zeal_due && !attempt.young && !attempt.full && self.eden > 0 {
            // Every few times all moves.
            let turn = self.stats.young_collections + self.stats.full_collections;
            let which = if turn % 4 == 3 { Which::Full } else { Which::Young };
            if which == Which::Full || self.needed(self.eden, 0) <= self.granted {
                return self.collect_if_possible(which, attempt);
            }
        }
        if bytes > LARGE {
            self.plan_large(bytes, attempt)
        } else {
            self.plan_young(bytes, attempt)
        }
    }

    /// What is to be done so that all is collected: as [`plan`](Heap::plan), ready once that was done.
    pub fn plan_full(&self, attempt: &Attempt) -> Step {
        if attempt.full || self.eden == 0 {
            Step::Ready
        } else if !self.broken && self.needed_for_full() > self.granted && !attempt.refused {
            Step::Grant(self.needed_for_full())
        } else if self.broken {
            Step::OutOfMemory
        } else {
            self.collect_if_possible(Which::Full, attempt)
        }
    }

    fn plan_young(&self, bytes: u32, attempt: &Attempt) -> Step {
        if attempt.full && attempt.refused && self.needed_for_full() > self.granted {
            // Nearly all of it is reached.
            return Step::OutOfMemory;
        }
        if self.eden > 0 && bytes <= self.eden_end() - self.next {
            return Step::Ready;
        }
        if self.eden == 0 {
            let first = FIRST_EDEN.min(self.config.eden_bytes);
            let eden = if attempt.refused { LEAST_EDEN } else { first };
            // Twice: what it holds may all be moved.
            let needed = self.needed(eden, 2 * u64::from(eden)).max(self.config.initial_bytes);
            let needed =
                if attempt.refused { self.needed(eden, 2 * u64::from(eden)) } else { needed };
            return if attempt.full { Step::OutOfMemory } else { Step::Grant(needed) };
        }
        if attempt.young || attempt.full {
            // Eden is empty, and no smaller than what is put into it.
            return Step::OutOfMemory;
        }
        if self.chunks.used_bytes() + u64::from(self.young_used()) > self.threshold {
            if self.needed_for_full() <= self.granted {
                return self.collect_if_possible(Which::Full, attempt);
            }
            if !attempt.refused {
                return Step::Grant(self.needed_for_full());
            }
        }
        // What the next eden may hold is asked for together with what this one needs.
        let larger = self.eden.saturating_mul(2).min(self.config.eden_bytes);
        let wanted = self.needed(larger, 2 * u64::from(larger));
        if wanted > self.granted && !attempt.refused {
            Step::Grant(wanted)
        } else if self.needed(self.eden, 0) <= self.granted {
            self.collect_if_possible(Which::Young, attempt)
        } else {
            self.collect_if_possible(Which::Full, attempt)
        }
    }

    fn plan_large(&self, bytes: u32, attempt: &Attempt) -> Step {
        let chunks = bytes.div_ceil(CHUNK);
        let more = u64::from(chunks) * u64::from(CHUNK);
        let needed = self.needed(self.eden, more);
        let over = self.chunks.used_bytes() + more > self.threshold;
        // A collection must be possible afterwards, too.
        let moving = self.moving_bytes();
        let beside = Heap::blocks_for(moving) + more + u64::from(BLOCK);
        let room = self.chunks.has_runs(1, chunks) && self.has_blocks(beside);
        if attempt.full || (!over && room) {
            return match (room, needed <= self.granted) {
                (true, true) => Step::Ready,
                (true, false) if !attempt.refused => Step::Grant(needed),
                (true, false) if !attempt.full => self.collect_if_possible(Which::Full, attempt),
                _ => Step::OutOfMemory,
            };
        }
        if self.needed_for_full() > self.granted && !attempt.refused {
            return Step::Grant(self.needed_for_full());
        }
        self.collect_if_possible(Which::Full, attempt)
    }

    fn collect_if_possible(&self, which: Which, attempt: &Attempt) -> Step {
        let young = u64::from(self.young_used());
        let moving = Heap::blocks_for(self.moving_bytes());
        match which {
            // All must be movable afterwards, too.
            Which::Young if !attempt.young && self.has_blocks(Heap::blocks_for(young) + moving) => {
                Step::Collect(Which::Young)
            }
            // Where more was refused, room to move is taken all the same: else what was filled with garbage
            // would be lost for ever. It is given back at once.
            _ if !attempt.full
                && (attempt.refused || self.needed_for_full() <= self.granted)
                && self.has_blocks(moving) =>
            {
                Step::Collect(Which::Full)
            }
            _ => Step::OutOfMemory,
        }
    }

    /// The answer to [`Step::Grant`].
    pub fn answer(&mut self, bytes: u64, granted: bool, attempt: &mut Attempt) {
        if !granted {
            if attempt.refused && self.eden == 0 {
                attempt.full = true;
            }
            attempt.refused = true;
            return;
        }
        self.granted = self.granted.max(bytes);
        if self.eden == 0 {
            let first = FIRST_EDEN.min(self.config.eden_bytes);
            self.eden = if attempt.refused { LEAST_EDEN } else { first };
        }
    }

    /// Notes that a collection was made for an object.
    pub fn collected(&self, which: Which, attempt: &mut Attempt) {
        attempt.young = true;
        attempt.full |= which == Which::Full;
    }

    /// A new object of a shape, and its length if it is an array. There is room for its `bytes`:
    /// [`plan`](Heap::plan) said so. With `clear`, there are zeros in it; without, anything, which whoever asked
    /// writes over before the next collection.
    pub fn allocate(
        &mut self,
        memory: &mut Memory<'_>,
        shape: u32,
        bytes: u32,
        length: u32,
        clear: bool,
    ) -> u32 {
        let object = if bytes > LARGE {
            let chunks = bytes.div_ceil(CHUNK);
            let object = self.chunks.take(chunks, Use::Large, Use::More);
            let object = object.expect("there is room for a large object");
            self.large.push((object, chunks));
            self.large_chunks += chunks;
            // Whoever fills it does so without barrier.
            self.remembered.push(object);
            object
        } else {
            let object = self.next;
            assert!(bytes <= self.eden_end() - object, "there is room for an object");
            self.next += bytes;
            object
        };
        if self.config.zeal > 0 {
            self.zeal_count = (self.zeal_count + 1) % self.config.zeal;
            self.zeal_due = self.zeal_count + 1 == self.config.zeal;
        }
        if clear {
            memory.bytes_mut(object, bytes as usize).fill(0);
        }
        memory.write32(object, shape);
        memory.write32(object + 4, NO_BARRIER);
        if self.shapes.descriptor(memory, shape).kind == Kind::Array {
            memory.write32(object + ARRAY_LENGTH, length);
        }
        object
    }

    /// Lets the next young collection look at an old object, into which a reference was written.
    pub fn remember(&mut self, memory: &mut Memory<'_>, object: u32) {
        let flags = memory.read32(object.wrapping_add(4));
        if flags & NO_BARRIER == 0 {
            memory.write32(object.wrapping_add(4), flags | NO_BARRIER);
            self.remembered.push(object);
        }
    }

    /// What an object is, with the tag of its type, if `reference` is that of an object. `bytes` are the
    /// region's.
    pub fn object(&self, bytes: &[u8], reference: u32) -> Option<(Kind, u32)> {
        if reference < self.objects_start || !reference.is_multiple_of(8) {
            return None;
        }
        let descriptor = self.shapes.find(bytes, word(bytes, reference)?)?;
        Some((descriptor.kind, descriptor.tag))
    }

    /// Elements of an array.
    pub fn array_length(&self, memory: &Memory<'_>, array: u32) -> u32 {
        memory.read32(array.wrapping_add(ARRAY_LENGTH))
    }

    // ---- host values ----

    /// The shape of host values' objects.
    pub fn extern_shape(&self) -> u32 {
        self.extern_shape
    }

    /// Bytes of such an object.
    pub const EXTERN_BYTES: u32 = 16;

    /// Makes the object of a host value, for which there is room, and says its number: the least that is
    /// free. `None` if there are 2^32 of them.
    pub fn allocate_extern(&mut self, memory: &mut Memory<'_>) -> Option<(u32, u32)> {
        let number = match self.free_externs.pop() {
            Some(number) => number,
            None => {
                let number = u32::try_from(self.externs.len()).ok()?;
                self.externs.push(Extern::Free);
                number
            }
        };
        let object = self.allocate(memory, self.extern_shape, Heap::EXTERN_BYTES, 0, true);
        memory.write32(object + ARRAY_LENGTH, number);
        self.externs[number as usize] = Extern::At(object);
        self.young_externs.push(number);
        Some((object, number))
    }

    /// The number of the host value behind an object, if it is one's. `bytes` are the region's.
    pub fn extern_number(&self, bytes: &[u8], object: u32) -> Option<u32> {
        let (kind, _) = self.object(bytes, object)?;
        let number = word(bytes, object + ARRAY_LENGTH)?;
        let known = self.externs.get(number as usize) == Some(&Extern::At(object));
        (kind == Kind::Extern && known).then_some(number)
    }

    /// The host values whose objects are young, as far as that is known: none is from now on.
    pub(crate) fn take_young_externs(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.young_externs)
    }

    /// Follows the objects of host values to where they moved, and returns the numbers of those that
    /// nothing reaches.
    pub(crate) fn sweep_externs(&mut self, memory: &Memory<'_>, which: Which) -> Vec<u32> {
        let mut dead = Vec::new();
        let young = self.take_young_externs();
        let all = 0..if which == Which::Full { self.externs.len() as u32 } else { 0 };
        let young = if which == Which::Full { Vec::new() } else { young };
        for number in young.into_iter().chain(all) {
            let Extern::At(object) = self.externs[number as usize] else { continue };
            let (word, flags) = (memory.read32(object), memory.read32(object.wrapping_add(4)));
            if flags & FORWARDED != 0 {
                self.externs[number as usize] = Extern::At(word);
                if self.is_young(word) {
                    self.young_externs.push(number);
                }
            } else {
                self.externs[number as usize] = Extern::Free;
                self.free_externs.push(number);
                dead.push(number);
            }
        }
        dead
    }

    #[inline(always)]
    pub(crate) fn is_young(&self, offset: u32) -> bool {
        offset.wrapping_sub(self.young_start) < self.young_bytes
    }

    // ---- after a collection ----

    /// Whether the next young collection shall let eden grow old where it lies, and there is room for that.
    pub(crate) fn grows_old(&self) -> bool {
        let due = match self.config.zeal {
            0 => self.unseen > 0,
            _ => self.stats.young_collections % 8 == 5,
        };
        // Beside another eden all must be movable as before.
        let young = Heap::blocks_for(u64::from(self.young_used()));
        let beside = u64::from(self.young_bytes) + u64::from(2 * BLOCK);
        let moving = Heap::blocks_for(self.moving_bytes());
        due && self.half == 0
            && self.next > self.young_start
            && self.has_blocks(beside + young + moving)
            && self.chunks.has_runs(1, self.young_bytes / CHUNK)
    }

    /// Begins eden elsewhere: what lies in it is old.
    pub(crate) fn leave_eden(&mut self) {
        let (start, filled, chunks) = (self.young_start, self.next, self.young_bytes / CHUNK);
        let used = (filled - start).div_ceil(CHUNK);
        self.chunks.grow_old(start, chunks, used, self.parity);
        let block = Block { start, chunks: used, filled };
        match self.blocks.len() {
            0 => {
                self.blocks.push(block);
                (self.old_next, self.old_limit) = (filled, filled);
            }
            // The last one goes on being filled.
            count => self.blocks.insert(count - 1, block),
        }
        self.young_start = self.chunks.take_young(chunks).expect("there is a run for eden");
        let end = self.young_start + self.young_bytes;
        (self.survivors, self.other_half) = ((end, end), end);
        self.unseen = self.unseen.saturating_sub(1);
        self.empty_eden(UNSEEN_EDEN);
    }

    /// Says for the time to come whether eden grows old where it lies: if nearly all of it was moved.
    pub(crate) fn note_survival(&mut self, used: u32, moved: u64) {
        let most = moved * 4 >= u64::from(used) * 3;
        self.unseen = if most { (2 * self.unseen_before).clamp(2, MOST_UNSEEN) } else { 0 };
        self.unseen_before = self.unseen;
    }

    /// Empties eden. Its next size follows from how much the collection moved.
    pub(crate) fn reset_eden(&mut self, which: Which, moved: u64) {
        let most = self.config.eden_bytes;
        let eden = if self.unseen > 0 {
            UNSEEN_EDEN
        } else if which == Which::Young && moved > PAUSE_BYTES {
            let fitting = u64::from(self.eden) * PAUSE_BYTES / moved;
            (fitting as u32).max(FIRST_EDEN.min(most))
        } else if which == Which::Young && moved < PAUSE_BYTES / 4 {
            self.eden.saturating_mul(2).min(most)
        } else {
            self.eden
        };
        self.empty_eden(eden);
    }

    /// Empties eden, and gives it so many bytes, as far as was granted.
    fn empty_eden(&mut self, bytes: u32) {
        self.next = self.young_start;
        let mut eden = (bytes.min(self.config.eden_bytes) / CHUNK * CHUNK).max(LEAST_EDEN);
        while eden > LEAST_EDEN && self.needed(eden, 2 * u64::from(eden)) > self.granted {
            eden = (eden / 2 / CHUNK * CHUNK).max(LEAST_EDEN);
        }
        self.eden = eden;
    }

    /// What a full collection leaves: how much there may be before the next one, and what is given back.
    pub(crate) fn settle(&mut self) {
        let live = self.chunks.used_bytes();
        self.threshold = live + live.max(WORTH_COLLECTING);
        let moving = live - self.large_bytes();
        let eden = u64::from(self.config.eden_bytes);
        // As much again is moved when all is collected next time.
        let wanted = 2 * self.threshold - (live - moving) + 3 * eden + 8 * u64::from(BLOCK);
        self.granted = self.granted.min(wanted.max(self.config.initial_bytes));
    }

    /// Offset and bytes of ranges that hold nothing, and whose pages are to be given to the system now.
    pub fn release(&mut self, all: bool) -> Vec<(u32, u32)> {
        // What is taken until the next full collection, and what that moves.
        self.chunks.release(if all { 0 } else { self.threshold })
    }

    /// End of what eden holds.
    pub(crate) fn eden_filled(&self) -> (u32, u32) {
        (self.young_start, self.next)
    }
}

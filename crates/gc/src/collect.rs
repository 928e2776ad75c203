//! Collections: reachable objects are moved, and what lies in them is followed without recursion.
//!
//! What was moved and is still to be looked at waits on a stack, so that objects are moved in about the order in
//! which programs go through them. The stack has an end: what finds no place on it is found again because objects
//! that were moved lie one behind the other, and all from there on is looked at once more. Large
//! objects, which stay where they are, wait on the same stack, however many they are.
//!
//! Whatever an object holds is checked on the way. Had the heap been corrupted, a collection panics, and
//! the heap is not used again.

use crate::chunks::{CHUNK, Use};
use crate::heap::{BLOCK, Block, Heap, LARGE, Which};
use crate::memory::{MOST_BEHIND, Memory};
use crate::shape::*;

/// Whoever knows references from outside the heap: it hands each to the function, and keeps what that
/// returns in its place.
pub trait Roots {
    /// Visits all of them, each place once or more often.
    fn each(&mut self, visit: &mut dyn FnMut(u32) -> u32);
}

impl<F: FnMut(&mut dyn FnMut(u32) -> u32)> Roots for F {
    fn each(&mut self, visit: &mut dyn FnMut(u32) -> u32) {
        self(visit);
    }
}

impl Heap {
    /// Collects. Returns the numbers of host values that nothing reaches any more.
    pub fn collect(
        &mut self,
        memory: &mut Memory<'_>,
        which: Which,
        roots: &mut dyn Roots,
    ) -> Vec<u32> {
        assert!(!self.broken, "a collection has failed before");
        // Until it has ended.
        self.broken = true;
        let dead = match which {
            Which::Young if self.grows_old() => self.grow_old(memory),
            Which::Young => self.collect_young(memory, roots),
            Which::Full => self.collect_all(memory, roots),
        };
        self.broken = false;
        dead
    }

    fn collect_young(&mut self, memory: &mut Memory<'_>, roots: &mut dyn Roots) -> Vec<u32> {
        self.stats.young_collections += 1;
        let (before, used) = (self.stats.moved_bytes, self.eden_filled());
        let remembered = std::mem::take(&mut self.remembered);
        let mut mover = Mover::<false>::new(self);
        roots.each(&mut |reference| mover.forward(memory, reference));
        for object in remembered {
            memory.write32(object.wrapping_add(4), 0);
            mover.scan(memory, object);
        }
        mover.drain(memory);
        let left = (mover.half_start, mover.half_next);
        mover.end();
        let dead = self.sweep_externs(memory, Which::Young);
        (self.other_half, self.survivors) = (self.survivors.0, left);
        let moved = self.stats.moved_bytes - before;
        self.note_survival(used.1 - used.0, moved);
        self.reset_eden(Which::Young, moved);
        dead
    }

    /// Lets all that is young grow old where it lies.
    fn grow_old(&mut self, memory: &mut Memory<'_>) -> Vec<u32> {
        self.stats.young_collections += 1;
        self.stats.grown_old += 1;
        // Old objects have the barrier; no other is young that they could refer to.
        for object in std::mem::take(&mut self.remembered) {
            memory.write32(object.wrapping_add(4), 0);
        }
        let (mut next, end) = self.eden_filled();
        // Often one has the type of the one before: then its size need not be waited for.
        let (mut last_shape, mut last_size) = (0, 0);
        while next < end {
            let shape = memory.read32(next);
            memory.write32(next + 4, 0);
            if shape != last_shape {
                let descriptor = self.shapes.descriptor(memory, shape);
                let size = size_of(memory, next, descriptor);
                if descriptor.kind == Kind::Array {
                    next += size;
                    continue;
                }
                (last_shape, last_size) = (shape, size);
            }
            next += last_size;
        }
        assert_eq!(next, end, "young objects lie one behind the other");
        self.take_young_externs();
        self.leave_eden();
        Vec::new()
    }

    fn collect_all(&mut self, memory: &mut Memory<'_>, roots: &mut dyn Roots) -> Vec<u32> {
        self.stats.full_collections += 1;
        let from = std::mem::take(&mut self.blocks);
        (self.old_next, self.old_limit) = (0, 0);
        self.parity = !self.parity;
        // Nothing young will be left.
        self.remembered.clear();
        let mut mover = Mover::<true>::new(self);
        roots.each(&mut |reference| mover.forward(memory, reference));
        mover.drain(memory);
        mover.end();
        let dead = self.sweep_externs(memory, Which::Full);
        for block in from {
            self.chunks.give(block.start, block.chunks);
        }
        for (object, chunks) in std::mem::take(&mut self.large) {
            if self.chunks.use_of(object) == Some(Use::Reached) {
                self.chunks.set_use(object, Use::Large);
                self.large.push((object, chunks));
            } else {
                self.large_chunks -= chunks;
                self.chunks.give(object, chunks);
            }
        }
        self.survivors.1 = self.survivors.0;
        self.settle();
        self.reset_eden(Which::Full, 0);
        dead
    }
}

/// Moved objects that wait to be looked at, at most.
const MOST_WAITING: usize = 16 << 10;

/// Moves objects: of the young generation, or all.
struct Mover<'a, const FULL: bool> {
    heap: &'a mut Heap,
    young_start: u32,
    young_bytes: u32,
    old_next: u32,
    old_limit: u32,
    /// Of the half that is being filled: its start, where the next object goes, and the end.
    half_start: u32,
    half_next: u32,
    half_end: u32,
    moved: u64,
    /// Whether what was forwarded since this was cleared is young still.
    left_young: bool,
    waiting: Vec<u32>,
    /// Of the objects that found no place there, the first in the old generation, with the position of its
    /// block, and the first among survivors.
    old_mark: Option<(usize, u32)>,
    survivor_mark: Option<u32>,
}

impl<'a, const FULL: bool> Mover<'a, FULL> {
    fn new(heap: &'a mut Heap) -> Mover<'a, FULL> {
        let half_start = heap.other_half;
        let half = if FULL { 0 } else { heap.half };
        Mover {
            young_start: heap.young_start,
            young_bytes: heap.young_bytes,
            old_next: heap.old_next,
            old_limit: heap.old_limit,
            half_start,
            half_next: half_start,
            half_end: half_start + half.saturating_sub(MOST_BEHIND),
            moved: 0,
            left_young: false,
            waiting: std::mem::take(&mut heap.waiting),
            old_mark: None,
            survivor_mark: None,
            heap,
        }
    }

    fn end(self) {
        self.heap.old_next = self.old_next;
        self.heap.old_limit = self.old_limit;
        self.heap.waiting = self.waiting;
        self.heap.stats.moved_bytes += self.moved;
    }

    /// The reference to where its object lies after the collection.
    #[inline(always)]
    fn forward(&mut self, memory: &mut Memory<'_>, reference: u32) -> u32 {
        let young = reference.wrapping_sub(self.young_start) < self.young_bytes;
        if reference & 1 != 0 || (!FULL && !young) || reference == 0 {
            return reference;
        }
        self.forward_object(memory, reference, young)
    }

    #[inline]
    fn forward_object(&mut self, memory: &mut Memory<'_>, reference: u32, young: bool) -> u32 {
        if reference & 7 != 0 {
            corrupted(reference);
        }
        if !FULL && reference.wrapping_sub(self.half_start) < self.half_end - self.half_start {
            self.left_young = true;
            return reference;
        }
        if FULL && !young {
            match self.heap.chunks.use_of(reference) {
                Some(Use::Block(parity)) if parity != self.heap.parity => {}
                Some(Use::Block(_) | Use::Reached) => return reference,
                Some(Use::Large) => {
                    self.heap.chunks.set_use(reference, Use::Reached);
                    memory.write32(reference.wrapping_add(4), 0);
                    self.waiting.push(reference);
                    return reference;
                }
                _ => corrupted(reference),
            }
        }
        let header = memory.read64(reference);
        let (shape, flags) = (header as u32, (header >> 32) as u32);
        if flags & FORWARDED != 0 {
            self.left_young |= shape.wrapping_sub(self.young_start) < self.young_bytes;
            return shape;
        }
        let descriptor = self.heap.shapes.descriptor(memory, shape);
        let leads_on = descriptor.leads_on();
        let size = size_of(memory, reference, descriptor);
        let survived = FULL || reference.wrapping_sub(self.heap.survivors.0) < self.heap.half;
        let target = if !survived && size <= self.half_end - self.half_next {
            let target = self.half_next;
            self.half_next += size;
            self.left_young = true;
            target
        } else {
            if size > self.old_limit - self.old_next {
                self.new_block(size);
            }
            let target = self.old_next;
            self.old_next += size;
            target
        };
        memory.move_object(reference, target, size);
        let young = target.wrapping_sub(self.young_start) < self.young_bytes;
        let flags = if young { NO_BARRIER } else { 0 };
        memory.write64(target, u64::from(shape) | u64::from(flags) << 32);
        memory.write64(reference, u64::from(target) | u64::from(FORWARDED) << 32);
        self.moved += u64::from(size);
        if leads_on {
            if self.waiting.len() < MOST_WAITING {
                self.waiting.push(target);
            } else {
                self.mark(target);
            }
        }
        target
    }

    /// Notes that a moved object did not find a place among those that wait.
    #[cold]
    #[inline(never)]
    fn mark(&mut self, target: u32) {
        if target.wrapping_sub(self.half_start) < self.half_end - self.half_start {
            self.survivor_mark.get_or_insert(target);
        } else {
            self.old_mark.get_or_insert((self.heap.blocks.len() - 1, target));
        }
    }

    #[cold]
    #[inline(never)]
    fn new_block(&mut self, size: u32) {
        assert!(size <= LARGE, "objects that move are small: the heap is corrupted");
        let parity = self.heap.parity;
        let uses = (Use::Block(parity), Use::Block(parity));
        let start = self.heap.chunks.take(BLOCK / CHUNK, uses.0, uses.1);
        let start = start.expect("a collection begins only with enough room");
        if let Some(last) = self.heap.blocks.last_mut() {
            last.filled = self.old_next;
        }
        self.heap.blocks.push(Block { start, chunks: BLOCK / CHUNK, filled: start });
        (self.old_next, self.old_limit) = (start, start + BLOCK - MOST_BEHIND);
    }

    /// Forwards all that an object refers to, and remembers it if something of that is young still.
    #[inline(always)]
    fn scan(&mut self, memory: &mut Memory<'_>, object: u32) {
        self.left_young = false;
        let shape = memory.read32(object);
        let descriptor = *self.heap.shapes.descriptor(memory, shape);
        if descriptor.elements {
            self.scan_elements(memory, object);
        }
        let mut few = descriptor.few;
        while few != 0 {
            let place = object.wrapping_add(OBJECT_HEADER + 4 * few.trailing_zeros());
            few &= few - 1;
            self.forward_at(memory, place);
        }
        if descriptor.many != 0 {
            for index in 0..self.heap.shapes.many(descriptor.many).len() {
                let offset = self.heap.shapes.many(descriptor.many)[index];
                self.forward_at(memory, object.wrapping_add(offset));
            }
        }
        if !FULL && self.left_young {
            self.remember(memory, object);
        }
    }

    /// Remembers an object that refers to young ones, unless it is young itself or was looked at before.
    fn remember(&mut self, memory: &mut Memory<'_>, object: u32) {
        if memory.read32(object.wrapping_add(4)) & NO_BARRIER == 0 {
            memory.write32(object.wrapping_add(4), NO_BARRIER);
            self.heap.remembered.push(object);
        }
    }

    #[inline(never)]
    fn scan_elements(&mut self, memory: &mut Memory<'_>, object: u32) {
        let length = memory.read32(object.wrapping_add(ARRAY_LENGTH));
        if array_bytes(4, length).is_none() {
            corrupted(object);
        }
        let start = object.wrapping_add(ARRAY_HEADER);
        for index in 0..length {
            self.forward_at(memory, start.wrapping_add(4 * index));
        }
    }

    #[inline(always)]
    fn forward_at(&mut self, memory: &mut Memory<'_>, place: u32) {
        let reference = memory.read32(place);
        let moved = self.forward(memory, reference);
        if moved != reference {
            memory.write32(place, moved);
        }
    }

    /// Looks at all that was moved, and at what is moved meanwhile.
    fn drain(&mut self, memory: &mut Memory<'_>) {
        loop {
            while let Some(object) = self.waiting.pop() {
                self.scan(memory, object);
            }
            if let Some(next) = self.survivor_mark {
                let more = next < self.half_next;
                self.survivor_mark = more.then(|| self.look_again(memory, next));
            } else if let Some((block, next)) = self.old_mark {
                let blocks = &self.heap.blocks;
                let last = block + 1 == blocks.len();
                let filled = if last { self.old_next } else { blocks[block].filled };
                self.old_mark = if next < filled {
                    Some((block, self.look_again(memory, next)))
                } else {
                    blocks.get(block + 1).map(|after| (block + 1, after.start))
                };
            } else {
                break;
            }
        }
    }

    /// Looks at an object that may have been looked at. Returns where the next one lies.
    fn look_again(&mut self, memory: &mut Memory<'_>, object: u32) -> u32 {
        let shape = memory.read32(object);
        let descriptor = self.heap.shapes.descriptor(memory, shape);
        let size = size_of(memory, object, descriptor);
        // What finds no place meanwhile lies behind the mark, which stays until the end is reached.
        self.scan(memory, object);
        object.wrapping_add(size)
    }
}

/// Bytes of an object.
#[inline(always)]
fn size_of(memory: &Memory<'_>, object: u32, descriptor: &Descriptor) -> u32 {
    if descriptor.kind != Kind::Array {
        return descriptor.size;
    }
    let length = memory.read32(object.wrapping_add(ARRAY_LENGTH));
    array_bytes(descriptor.size, length).unwrap_or_else(|| corrupted(object))
}

#[cold]
#[inline(never)]
fn corrupted(reference: u32) -> ! {
    panic!("{reference:#x} refers to no object: the heap is corrupted")
}

//! Collections: reachable objects are moved, and what lies in them is followed without recursion.
//!
//! Objects that were moved lie one behind the other, so that where the scan has come to is all that has to
//! be kept of what is left to do; large objects, which stay where they are, wait in a list.
//!
//! Whatever an object holds is checked on the way. Had the heap been corrupted, a collection panics, and
//! the heap is not used again.

use crate::chunks::{CHUNK, Use};
use crate::heap::{BLOCK, Block, Heap, LARGE, Which};
use crate::memory::Memory;
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
            Which::Young => self.collect_young(memory, roots),
            Which::Full => self.collect_all(memory, roots),
        };
        self.broken = false;
        dead
    }

    fn collect_young(&mut self, memory: &mut Memory<'_>, roots: &mut dyn Roots) -> Vec<u32> {
        self.stats.young_collections += 1;
        let before = self.stats.moved_bytes;
        let mut scan = Scan::new(self);
        let remembered = std::mem::take(&mut self.remembered);
        let mut mover = Mover::<false>::new(self);
        roots.each(&mut |reference| mover.forward(memory, reference));
        for object in remembered {
            memory.write32(object.wrapping_add(4), 0);
            mover.scan_old(memory, object);
        }
        mover.drain(memory, &mut scan);
        mover.end();
        let dead = self.sweep_externs(memory, Which::Young);
        let left = (self.other_half, scan.survivors_end);
        (self.other_half, self.survivors) = (self.survivors.0, left);
        self.reset_eden(Which::Young, self.stats.moved_bytes - before);
        dead
    }

    fn collect_all(&mut self, memory: &mut Memory<'_>, roots: &mut dyn Roots) -> Vec<u32> {
        self.stats.full_collections += 1;
        let from = std::mem::take(&mut self.blocks);
        (self.old_next, self.old_limit) = (0, 0);
        self.parity = !self.parity;
        // Nothing young will be left.
        self.remembered.clear();
        let mut scan = Scan::new(self);
        let mut mover = Mover::<true>::new(self);
        roots.each(&mut |reference| mover.forward(memory, reference));
        mover.drain(memory, &mut scan);
        mover.end();
        let dead = self.sweep_externs(memory, Which::Full);
        for block in from {
            self.chunks.give(block.start, BLOCK / CHUNK);
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

/// How far objects that were moved have been looked at.
struct Scan {
    /// Position of a block, and the next object in it.
    block: usize,
    next: u32,
    survivors_next: u32,
    survivors_end: u32,
}

impl Scan {
    fn new(heap: &Heap) -> Scan {
        Scan {
            block: heap.blocks.len().saturating_sub(1),
            next: if heap.blocks.is_empty() { 0 } else { heap.old_next },
            survivors_next: heap.other_half,
            survivors_end: heap.other_half,
        }
    }
}

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
            half_end: half_start + half,
            moved: 0,
            left_young: false,
            heap,
        }
    }

    fn end(self) {
        self.heap.old_next = self.old_next;
        self.heap.old_limit = self.old_limit;
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
                    self.heap.gray.push(reference);
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
        let size = self.size_of(memory, reference, shape);
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
        memory.write32(target.wrapping_add(4), u32::from(young) * NO_BARRIER);
        memory.write64(reference, u64::from(target) | u64::from(FORWARDED) << 32);
        self.moved += u64::from(size);
        target
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
        self.heap.blocks.push(Block { start, filled: start });
        (self.old_next, self.old_limit) = (start, start + BLOCK);
    }

    #[inline(always)]
    fn size_of(&self, memory: &Memory<'_>, object: u32, shape: u32) -> u32 {
        let descriptor = self.heap.shapes.descriptor(memory, shape);
        if descriptor.kind != Kind::Array {
            return descriptor.size;
        }
        let length = memory.read32(object.wrapping_add(ARRAY_LENGTH));
        array_bytes(descriptor.size, length).unwrap_or_else(|| corrupted(object))
    }

    /// Looks at an object of the old generation that may refer to young ones.
    fn scan_old(&mut self, memory: &mut Memory<'_>, object: u32) {
        self.left_young = false;
        self.scan(memory, object);
        if self.left_young {
            memory.write32(object.wrapping_add(4), NO_BARRIER);
            self.heap.remembered.push(object);
        }
    }

    /// Forwards all that an object refers to. Returns its size.
    #[inline(always)]
    fn scan(&mut self, memory: &mut Memory<'_>, object: u32) -> u32 {
        let shape = memory.read32(object);
        let descriptor = *self.heap.shapes.descriptor(memory, shape);
        if descriptor.elements {
            return self.scan_elements(memory, object);
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
        match descriptor.kind {
            Kind::Array => self.size_of(memory, object, shape),
            _ => descriptor.size,
        }
    }

    fn scan_elements(&mut self, memory: &mut Memory<'_>, object: u32) -> u32 {
        let length = memory.read32(object.wrapping_add(ARRAY_LENGTH));
        let size = array_bytes(4, length).unwrap_or_else(|| corrupted(object));
        let start = object.wrapping_add(ARRAY_HEADER);
        for index in 0..length {
            self.forward_at(memory, start.wrapping_add(4 * index));
        }
        size
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
    fn drain(&mut self, memory: &mut Memory<'_>, scan: &mut Scan) {
        loop {
            if scan.survivors_next < self.half_next {
                scan.survivors_next += self.scan(memory, scan.survivors_next);
            } else if self.scan_block(memory, scan) {
            } else if let Some(object) = self.heap.gray.pop() {
                memory.write32(object.wrapping_add(4), 0);
                self.scan(memory, object);
            } else {
                break;
            }
        }
        scan.survivors_end = self.half_next;
    }

    /// Looks at what was moved to the block that the scan has come to. `false` if there is no more.
    #[inline(always)]
    fn scan_block(&mut self, memory: &mut Memory<'_>, scan: &mut Scan) -> bool {
        if self.heap.blocks.is_empty() {
            return false;
        }
        let last = scan.block + 1 == self.heap.blocks.len();
        if scan.next == 0 {
            scan.next = self.heap.blocks[scan.block].start;
        }
        let filled = if last { self.old_next } else { self.heap.blocks[scan.block].filled };
        if scan.next >= filled {
            if last {
                return false;
            }
            scan.block += 1;
            scan.next = self.heap.blocks[scan.block].start;
            return true;
        }
        // The whole of it at once: `filled` grows only in the last block.
        while scan.next < filled {
            if FULL {
                scan.next += self.scan(memory, scan.next);
            } else {
                let object = scan.next;
                self.left_young = false;
                scan.next += self.scan(memory, object);
                if self.left_young {
                    memory.write32(object.wrapping_add(4), NO_BARRIER);
                    self.heap.remembered.push(object);
                }
            }
        }
        true
    }
}

#[cold]
#[inline(never)]
fn corrupted(reference: u32) -> ! {
    panic!("{reference:#x} refers to no object: the heap is corrupted")
}

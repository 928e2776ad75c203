//! A look at the whole heap: debug builds and tests do it around collections.

use crate::chunks::Use;
use crate::collect::Roots;
use crate::heap::Heap;
use crate::memory::Memory;
use crate::shape::*;
use std::collections::HashSet;

impl Heap {
    /// Panics if a reference in the heap or among the roots leads to no object, or if an old object that
    /// refers to a young one is not remembered. Objects that nothing reaches any more may hold anything
    /// once a collection has been: only those that can be reached are looked at.
    pub fn verify(&self, memory: &Memory<'_>, roots: &mut dyn Roots) {
        let starts = self.young_objects(memory);
        let mut seen = HashSet::new();
        let mut left = Vec::new();
        let mut visit = |reference: u32, left: &mut Vec<u32>| {
            if reference != 0 && reference & 1 == 0 && seen.insert(reference) {
                left.push(reference);
            }
        };
        roots.each(&mut |reference| {
            visit(reference, &mut left);
            reference
        });
        let remembered: HashSet<u32> = self.remembered.iter().copied().collect();
        while let Some(object) = left.pop() {
            assert!(object.is_multiple_of(8), "{object:#x} is aligned");
            let young = self.is_young(object);
            if young {
                assert!(starts.contains(&object), "{object:#x} is a young object");
            } else {
                let holds = self.chunks.use_of(object);
                let fits =
                    matches!(holds, Some(Use::Large)) || holds == Some(Use::Block(self.parity));
                assert!(fits, "{object:#x} lies in the old generation, not in {holds:?}");
            }
            let (shape, flags) = (memory.read32(object), memory.read32(object + 4));
            let descriptor = self.shapes.find(memory.all(), shape);
            let descriptor = descriptor.unwrap_or_else(|| panic!("{object:#x} has a shape"));
            assert_eq!(flags & FORWARDED, 0, "{object:#x} has not moved");
            let marked = flags & NO_BARRIER != 0;
            assert_eq!(marked, young || remembered.contains(&object), "{object:#x}: its barrier");
            let length = if descriptor.elements { self.array_length(memory, object) } else { 0 };
            let few = (0..64).filter(|bit| descriptor.few >> bit & 1 != 0);
            let few = few.map(|bit| OBJECT_HEADER + 4 * bit);
            let many = self.shapes.many(descriptor.many).iter().copied();
            let elements = (0..length).map(|index| ARRAY_HEADER + 4 * index);
            for offset in few.chain(many).chain(elements) {
                let target = memory.read32(object + offset);
                let to_young = target & 1 == 0 && self.is_young(target);
                assert!(marked || !to_young, "{object:#x} refers to {target:#x} and is remembered");
                visit(target, &mut left);
            }
        }
    }

    /// Starts of all objects of the young generation.
    fn young_objects(&self, memory: &Memory<'_>) -> HashSet<u32> {
        let mut starts = HashSet::new();
        for (mut next, end) in [self.eden_filled(), self.survivors] {
            while next < end {
                starts.insert(next);
                let length = memory.read32(next + ARRAY_LENGTH);
                let bytes = self.object_bytes(memory, memory.read32(next), length);
                next += bytes.expect("young objects are small");
            }
            assert_eq!(next, end, "young objects lie one behind the other");
        }
        starts
    }
}

//! Chunks, in which objects of both generations lie: who has which, and which are free.
//!
//! Invariants: every chunk below `top` belongs to one run; free runs do not touch each other (they are
//! joined), and stand in both indices.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a chunk.
pub(crate) const CHUNK: u32 = 16 << 10;

/// What a chunk holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// Nothing; its pages are the system's.
    Clean,
    /// Nothing; its pages are still there.
    Dirty,
    /// Objects of the young generation, or room for them.
    Young,
    /// Objects of a block, by the collection they came with.
    Block(bool),
    /// The start of a large object.
    Large,
    /// The start of a large object that this collection has reached.
    Reached,
    /// More of a large object.
    More,
}

#[derive(Debug)]
pub(crate) struct Chunks {
    /// Number of the first chunk.
    first: u32,
    /// Number behind the last chunk that there may be.
    end: u32,
    /// Of each chunk from `first` on that was ever used.
    uses: Vec<Use>,
    /// Free runs: length by first chunk.
    free: BTreeMap<u32, u32>,
    /// Free runs, by length and first chunk.
    by_length: BTreeSet<(u32, u32)>,
    used: u32,
    dirty: u32,
}

impl Chunks {
    /// Chunks between two offsets, of which the first is rounded up and the second down.
    pub(crate) fn new(start: u32, end: u64) -> Chunks {
        let first = start.div_ceil(CHUNK);
        Chunks {
            first,
            end: ((end / u64::from(CHUNK)) as u32).max(first),
            uses: Vec::new(),
            free: BTreeMap::new(),
            by_length: BTreeSet::new(),
            used: 0,
            dirty: 0,
        }
    }

    fn top(&self) -> u32 {
        self.first + self.uses.len() as u32
    }

    fn position(&self, chunk: u32) -> usize {
        chunk.wrapping_sub(self.first) as usize
    }

    /// Bytes of chunks that hold something of the old generation.
    pub(crate) fn used_bytes(&self) -> u64 {
        u64::from(self.used) * u64::from(CHUNK)
    }

    #[cfg(test)]
    /// Bytes of free chunks whose pages are still there.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        u64::from(self.dirty) * u64::from(CHUNK)
    }

    /// What the chunk of an offset holds; `None` if the old generation has no such chunk.
    #[inline(always)]
    pub(crate) fn use_of(&self, offset: u32) -> Option<Use> {
        self.uses.get(self.position(offset / CHUNK)).copied()
    }

    pub(crate) fn set_use(&mut self, offset: u32, new: Use) {
        let position = self.position(offset / CHUNK);
        self.uses[position] = new;
    }

    /// Whether `count` runs of `length` chunks could be taken one after the other.
    pub(crate) fn has_runs(&self, count: u32, length: u32) -> bool {
        let mut found = (self.end - self.top()) / length;
        for (run, _) in self.by_length.range((length, 0)..) {
            if found >= count {
                break;
            }
            found += run / length;
        }
        found >= count
    }

    /// Takes a run of `length` chunks, and returns its offset. The first chunk is used as `head`, others
    /// as `more`.
    pub(crate) fn take(&mut self, length: u32, head: Use, more: Use) -> Option<u32> {
        let found = self.by_length.range((length, 0)..).next().copied();
        let chunk = match found {
            Some((run, chunk)) => {
                self.by_length.remove(&(run, chunk));
                self.free.remove(&chunk);
                if run > length {
                    self.insert_free(chunk + length, run - length);
                }
                chunk
            }
            None => {
                let chunk = self.top();
                if length > self.end - chunk {
                    return None;
                }
                self.uses.resize(self.uses.len() + length as usize, Use::Clean);
                chunk
            }
        };
        let start = self.position(chunk);
        let run = &mut self.uses[start..][..length as usize];
        self.dirty -= run.iter().filter(|of| **of == Use::Dirty).count() as u32;
        run.fill(more);
        run[0] = head;
        self.used += length;
        // `end` is at most 4 GiB, and a run does not begin there.
        Some(chunk * CHUNK)
    }

    /// Takes a run of `length` chunks for the young generation.
    pub(crate) fn take_young(&mut self, length: u32) -> Option<u32> {
        let start = self.take(length, Use::Young, Use::Young)?;
        self.used -= length;
        Some(start)
    }

    /// Lets what lies in the first `filled` chunks of a run of the young generation be old. The others are
    /// free.
    pub(crate) fn grow_old(&mut self, start: u32, length: u32, filled: u32, parity: bool) {
        let position = self.position(start / CHUNK);
        self.uses[position..][..filled as usize].fill(Use::Block(parity));
        self.used += length;
        if filled < length {
            self.give(start + filled * CHUNK, length - filled);
        }
    }

    fn insert_free(&mut self, chunk: u32, length: u32) {
        self.free.insert(chunk, length);
        self.by_length.insert((length, chunk));
    }

    /// Gives back a run that was taken.
    pub(crate) fn give(&mut self, offset: u32, length: u32) {
        let (mut chunk, mut joined) = (offset / CHUNK, length);
        let start = self.position(chunk);
        self.uses[start..][..length as usize].fill(Use::Dirty);
        self.used -= length;
        self.dirty += length;
        if let Some(after) = self.free.remove(&(chunk + length)) {
            self.by_length.remove(&(after, chunk + length));
            joined += after;
        }
        if let Some((&before, &run)) = self.free.range(..chunk).next_back()
            && before + run == chunk
        {
            self.free.remove(&before);
            self.by_length.remove(&(run, before));
            (chunk, joined) = (before, joined + run);
        }
        self.insert_free(chunk, joined);
    }

    /// Offset and bytes of free runs whose pages may go to the system, so that no more than `keep` bytes
    /// of free chunks stay; from then on they count as gone.
    pub(crate) fn release(&mut self, keep: u64) -> Vec<(u32, u32)> {
        let mut gone = Vec::new();
        for (&chunk, &length) in self.free.iter().rev() {
            if u64::from(self.dirty) * u64::from(CHUNK) <= keep {
                break;
            }
            let start = chunk.wrapping_sub(self.first) as usize;
            let run = &mut self.uses[start..][..length as usize];
            let dirty = run.iter().filter(|of| **of == Use::Dirty).count() as u32;
            if dirty > 0 {
                run.fill(Use::Clean);
                self.dirty -= dirty;
                gone.push((chunk * CHUNK, length * CHUNK));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined_and_found_by_size() {
        let mut chunks = Chunks::new(5, 40 * u64::from(CHUNK));
        let take = |chunks: &mut Chunks, n| chunks.take(n, Use::Large, Use::More);
        let runs: Vec<u32> = [3, 4, 5, 6].map(|n| take(&mut chunks, n).unwrap()).to_vec();
        assert_eq!(runs, [1, 4, 8, 13].map(|chunk| chunk * CHUNK));
        assert_eq!(chunks.use_of(runs[1] + CHUNK), Some(Use::More));
        chunks.give(runs[0], 3);
        chunks.give(runs[2], 5);
        assert_eq!(take(&mut chunks, 5), Some(runs[2]), "the best fit, not the first");
        chunks.give(runs[2], 5);
        chunks.give(runs[1], 4);
        assert_eq!(take(&mut chunks, 12), Some(runs[0]), "three runs became one");
        assert!(chunks.has_runs(3, 7) && !chunks.has_runs(4, 7));
        assert_eq!(take(&mut chunks, 22), None);
        assert_eq!(take(&mut chunks, 21), Some(19 * CHUNK));
        assert_eq!((chunks.used_bytes(), chunks.dirty_bytes()), (39 * 16384, 0));
        assert_eq!(chunks.use_of(0), None);
        assert_eq!(chunks.use_of(u32::MAX), None);
    }

    #[test]
    fn pages_of_free_runs_go_from_the_top() {
        let mut chunks = Chunks::new(0, 1 << 32);
        let runs = [2, 3, 4].map(|n| chunks.take(n, Use::Block(true), Use::Block(true)).unwrap());
        chunks.give(runs[0], 2);
        chunks.give(runs[2], 4);
        assert_eq!(chunks.release(2 * u64::from(CHUNK)), [(runs[2], 4 * CHUNK)]);
        assert_eq!(chunks.dirty_bytes(), 2 * u64::from(CHUNK));
        assert_eq!(chunks.release(0), [(runs[0], 2 * CHUNK)]);
        assert_eq!(chunks.release(0), []);
    }
}

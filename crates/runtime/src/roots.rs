//! References into the heap that the host holds.
//!
//! A *scoped* root lives until the scope it was made in is left; scopes are nested, so roots form a stack.
//! An *owned* one lives until its holder drops it. The host never sees the reference itself, which a
//! collection changes, but the root's number.
//!
//! Invariant: a root's serial number is never given out twice, so a stale root is found out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A scoped root, as a small copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RootId {
    index: u32,
    serial: u64,
}

impl RootId {
    /// Its position in the stack.
    pub fn index(self) -> u32 {
        self.index
    }
}

/// A root that lives as long as a clone of it.
#[derive(Clone, Debug)]
pub struct OwnedRoot(Arc<AtomicU32>);

impl OwnedRoot {
    /// The reference.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// A number that clones of it have in common, and no other root while it lives.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

/// All roots of a store.
#[derive(Debug, Default)]
pub struct HostRoots {
    scoped: Vec<(u64, u32)>,
    /// Of the latest root.
    serial: u64,
    owned: Vec<Arc<AtomicU32>>,
    /// Number of owned roots at which to look for those that nobody holds any more.
    look_at: usize,
}

impl HostRoots {
    /// Makes a root of the innermost scope. `None` if there are 2^32 already.
    pub fn add(&mut self, reference: u32) -> Option<RootId> {
        let index = u32::try_from(self.scoped.len()).ok()?;
        self.serial += 1;
        self.scoped.push((self.serial, reference));
        Some(RootId { index, serial: self.serial })
    }

    /// The reference of a root, unless its scope has been left.
    pub fn get(&self, root: RootId) -> Option<u32> {
        let (serial, reference) = *self.scoped.get(root.index as usize)?;
        (serial == root.serial).then_some(reference)
    }

    /// The reference of the root at a position, and the root.
    pub fn at(&self, index: u32) -> Option<(RootId, u32)> {
        let (serial, reference) = *self.scoped.get(index as usize)?;
        Some((RootId { index, serial }, reference))
    }

    /// Number of scoped roots: what [`leave`](HostRoots::leave) takes to leave the scope that begins now.
    #[inline]
    pub fn enter(&self) -> usize {
        self.scoped.len()
    }

    /// Makes room for so many scoped roots at once.
    pub fn reserve(&mut self, additional: usize) {
        self.scoped.reserve(additional);
    }

    /// Leaves a scope and all in it.
    #[inline]
    pub fn leave(&mut self, scope: usize) {
        self.scoped.truncate(scope);
    }

    /// Makes an owned root.
    pub fn add_owned(&mut self, reference: u32) -> OwnedRoot {
        if self.owned.len() >= self.look_at {
            self.forget_dropped();
            self.look_at = 2 * self.owned.len() + 64;
        }
        let root = Arc::new(AtomicU32::new(reference));
        self.owned.push(root.clone());
        OwnedRoot(root)
    }

    fn forget_dropped(&mut self) {
        self.owned.retain(|root| Arc::strong_count(root) > 1);
    }

    /// Hands each reference to `visit`, and puts what that returns in its place.
    pub(crate) fn each(&mut self, visit: &mut dyn FnMut(u32) -> u32) {
        for (_, reference) in &mut self.scoped {
            *reference = visit(*reference);
        }
        self.forget_dropped();
        for root in &self.owned {
            root.store(visit(root.load(Relaxed)), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_ends_with_its_scope_and_is_never_another() {
        let mut roots = HostRoots::default();
        let outer = roots.add(8).unwrap();
        let scope = roots.enter();
        let inner = roots.add(16).unwrap();
        assert_eq!((roots.get(outer), roots.get(inner)), (Some(8), Some(16)));
        roots.each(&mut |reference| reference + 100);
        assert_eq!(roots.get(inner), Some(116));
        roots.leave(scope);
        assert_eq!(roots.get(inner), None);
        let other = roots.add(24).unwrap();
        assert_eq!((other.index(), roots.get(other)), (inner.index(), Some(24)));
        assert_eq!((roots.get(inner), roots.get(outer)), (None, Some(108)));
    }

    #[test]
    fn owned_roots_go_when_nobody_holds_them() {
        let mut roots = HostRoots::default();
        let kept = roots.add_owned(8);
        for n in 0..100_000 {
            roots.add_owned(n);
        }
        assert!(roots.owned.len() < 1000);
        let mut seen = Vec::new();
        roots.each(&mut |reference| {
            seen.push(reference);
            16
        });
        assert_eq!((seen.as_slice(), kept.get()), (&[8][..], 16));
    }
}

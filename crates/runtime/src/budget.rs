//! Budgets: how much several things may take together.
//!
//! Invariant: what a budget has given is the sum of its shares, which is never above its limit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number of bytes that several things may take together: all memories, tables and host values of a
/// store, the buffers of its WASI state, or those of several stores. Clones are the same budget.
///
/// ```
/// use wardian_runtime::Budget;
///
/// let budget = Budget::new(100);
/// let (mut one, mut other) = (budget.share(), budget.share());
/// assert!(one.resize(70) && !other.resize(31) && other.resize(30));
/// assert_eq!(budget.taken(), 100);
/// drop(one);
/// assert_eq!(budget.taken(), 30);
/// ```
#[derive(Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

struct Inner {
    limit: u64,
    taken: AtomicU64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Budget {
        Budget { inner: Arc::new(Inner { limit: bytes, taken: AtomicU64::new(0) }) }
    }

    /// What may be taken together.
    pub fn limit(&self) -> u64 {
        self.inner.limit
    }

    /// What is taken now.
    pub fn taken(&self) -> u64 {
        self.inner.taken.load(Relaxed)
    }

    /// Whether `bytes` more can be taken. Somebody else may be faster.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.taken().checked_add(bytes).is_some_and(|sum| sum <= self.limit())
    }

    /// A share of it, of no bytes yet.
    pub fn share(&self) -> BudgetShare {
        BudgetShare { budget: self.clone(), bytes: 0 }
    }

    /// Whether both are the same budget, one a clone of the other.
    pub fn same(a: &Budget, b: &Budget) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Budget");
        debug.field("limit", &self.limit()).field("taken", &self.taken()).finish()
    }
}

/// What one thing has taken of a [`Budget`]. Given back when it is dropped.
#[derive(Debug)]
pub struct BudgetShare {
    budget: Budget,
    bytes: u64,
}

impl BudgetShare {
    /// The budget it belongs to.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it `bytes` large. `false` if the budget has no room for that: then it stays as it is.
    #[must_use]
    pub fn resize(&mut self, bytes: u64) -> bool {
        let Inner { limit, taken } = &*self.budget.inner;
        let new = |taken: u64| {
            // The share is a part of what is taken.
            let sum = (taken - self.bytes).checked_add(bytes)?;
            (sum <= *limit || bytes <= self.bytes).then_some(sum)
        };
        let fits = taken.fetch_update(Relaxed, Relaxed, new).is_ok();
        if fits {
            self.bytes = bytes;
        }
        fits
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.budget.inner.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hammer_of_shares_never_passes_the_limit() {
        let budget = Budget::new(1_000);
        std::thread::scope(|scope| {
            for thread in 1..5u64 {
                let budget = budget.clone();
                scope.spawn(move || {
                    let mut shares: Vec<_> = (0..10).map(|_| budget.share()).collect();
                    for turn in 0..2_000u64 {
                        let share = &mut shares[(turn % 10) as usize];
                        let wanted = (turn * 37 + thread * 11) % 150;
                        let before = share.bytes();
                        let fits = share.resize(wanted);
                        assert_eq!(share.bytes(), if fits { wanted } else { before });
                        assert!(fits || wanted > before);
                        assert!(budget.taken() <= 1_000);
                    }
                });
            }
        });
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn sums_do_not_overflow() {
        let budget = Budget::new(u64::MAX);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.resize(u64::MAX) && !other.resize(1) && one.resize(0) && other.resize(1));
    }
}

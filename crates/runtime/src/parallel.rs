//! Work on several threads, by `rayon`.

use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::Mutex;

pub(crate) use rayon::{join, scope};

/// Whether there is more than one thread to be had.
pub(crate) const ENABLED: bool = true;

/// What `act` makes of each item, in order, or one of its errors. Each thread has a state of its own, and takes
/// the next item when it has done one: where the first items are the largest, all end at nearly the same time.
/// (Halves of halves, as an iterator of `rayon` hands them out, leave most of the work to one thread.) While the
/// next would make more than `most` of what is under way, by `size`, the last is taken instead.
pub(crate) fn map_init<T: Send, S, R: Send, E: Send>(
    items: Vec<T>,
    size: impl Fn(&T) -> usize + Send + Sync,
    most: usize,
    state: impl Fn() -> S + Send + Sync,
    act: impl Fn(&mut S, T) -> Result<R, E> + Send + Sync,
) -> Result<Vec<R>, E> {
    let items = items.into_iter().enumerate().collect();
    let queue = Mutex::new(Queue { items, under_way: 0 });
    let lock = || queue.lock().expect("no lock is held while anything is done");
    let work = |_| {
        let (mut state, mut made, mut done) = (state(), Vec::new(), 0);
        // By itself: what a loop's condition locks stays locked in the loop.
        let next = |done| lock().next(done, &size, most);
        while let Some((position, item)) = next(done) {
            done = size(&item);
            match act(&mut state, item) {
                Ok(result) => made.push((position, result)),
                Err(error) => {
                    // Nobody goes on.
                    lock().items.clear();
                    return Err(error);
                }
            }
        }
        Ok(made)
    };
    let threads = (0..rayon::current_num_threads()).into_par_iter().with_max_len(1);
    let made: Vec<Vec<(usize, R)>> = threads.map(work).collect::<Result<_, E>>()?;
    let mut made: Vec<(usize, R)> = made.into_iter().flatten().collect();
    made.sort_unstable_by_key(|(position, _)| *position);
    Ok(made.into_iter().map(|(_, result)| result).collect())
}

/// What is left to do of `map_init`, by place.
struct Queue<T> {
    items: VecDeque<(usize, T)>,
    /// The sizes of what threads are at.
    under_way: usize,
}

impl<T> Queue<T> {
    /// The next for a thread that has done something of the size `done`.
    fn next(&mut self, done: usize, size: impl Fn(&T) -> usize, most: usize) -> Option<(usize, T)> {
        self.under_way -= done;
        let fits = |(_, first): &(usize, T)| self.under_way + size(first) <= most;
        let next = match self.items.front().is_some_and(fits) {
            true => self.items.pop_front(),
            false => self.items.pop_back(),
        };
        self.under_way += next.as_ref().map_or(0, |(_, item)| size(item));
        next
    }
}

/// What `act` finds in the first run of so many items in which it finds something.
pub(crate) fn find_first<T: Sync, R: Send>(
    items: &[T],
    run: usize,
    act: impl Fn(&[T]) -> Option<R> + Send + Sync,
) -> Option<R> {
    items.par_chunks(run).find_map_first(act)
}

/// Hashes bytes.
pub(crate) fn hash(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update_rayon(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::{Duration, Instant};

    #[test]
    #[cfg_attr(miri, ignore = "the library's queue makes pointers of numbers")]
    fn hammer_threads_are_at_their_items_at_the_same_time() {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let map = |items| {
            let arrived = AtomicUsize::new(0);
            let act = |_: &mut (), item: usize| {
                arrived.fetch_add(1, Relaxed);
                let start = Instant::now();
                while arrived.load(Relaxed) < 2 {
                    assert!(start.elapsed() < Duration::from_secs(60), "one waits for the other");
                    std::thread::yield_now();
                }
                if item == 0 { Err("zero") } else { Ok(item) }
            };
            threads.install(|| map_init(items, |_| 1, 2, || (), act))
        };
        assert_eq!(map(vec![4, 3, 2, 1]), Ok(vec![4, 3, 2, 1]));
        assert_eq!(map(vec![2, 0]), Err("zero"));
    }

    #[test]
    fn what_is_large_is_under_way_alone() {
        let items = [50, 30, 20, 10, 1].into_iter().enumerate().collect();
        let mut queue = Queue { items, under_way: 0 };
        let mut next = |done| queue.next(done, |size| *size, 50).map(|(_, size)| size);
        // Two threads; one of them is at the largest while the other does two small ones.
        assert_eq!(next(0), Some(50));
        assert_eq!(next(0), Some(1));
        assert_eq!(next(1), Some(10));
        assert_eq!(next(50), Some(30));
        assert_eq!(next(10), Some(20));
        assert_eq!((next(30), next(20)), (None, None));
    }
}

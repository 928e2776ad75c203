//! Work on several threads, by `rayon`.

use rayon::prelude::*;
use std::sync::Mutex;

pub(crate) use rayon::{join, scope};

/// Whether there is more than one thread to be had.
pub(crate) const ENABLED: bool = true;

/// What both give, the first from this thread.
pub(crate) fn beside<A, B: Send>(
    here: impl FnOnce() -> A,
    elsewhere: impl FnOnce() -> B + Send,
) -> (A, B) {
    let mut found = None;
    let slot = &mut found;
    let a = rayon::in_place_scope(|scope| {
        scope.spawn(move |_| *slot = Some(elsewhere()));
        here()
    });
    (a, found.expect("the scope waited for it"))
}

/// What `act` makes of each item, in order, or one of its errors. Each thread has a state of its own, and takes
/// the next item when it has done one: where the first items are the largest, all end at nearly the same time.
/// (Halves of halves, as an iterator of `rayon` hands them out, leave most of the work to one thread.)
pub(crate) fn map_init<T: Send, S, R: Send, E: Send>(
    items: Vec<T>,
    state: impl Fn() -> S + Send + Sync,
    act: impl Fn(&mut S, T) -> Result<R, E> + Send + Sync,
) -> Result<Vec<R>, E> {
    let items = Mutex::new(items.into_iter().enumerate());
    let next = || items.lock().expect("no lock is held while anything is done").next();
    let work = |_| {
        let (mut state, mut made) = (state(), Vec::new());
        while let Some((position, item)) = next() {
            match act(&mut state, item) {
                Ok(result) => made.push((position, result)),
                Err(error) => {
                    // Nobody goes on.
                    while next().is_some() {}
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

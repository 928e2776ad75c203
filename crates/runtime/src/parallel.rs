//! Work on several threads, by `rayon`.

use rayon::prelude::*;

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

/// What `act` makes of each item, in order, or one of its errors. Each thread has a state of its own.
pub(crate) fn map_init<T: Send, S, R: Send, E: Send>(
    items: Vec<T>,
    state: impl Fn() -> S + Send + Sync,
    act: impl Fn(&mut S, T) -> Result<R, E> + Send + Sync,
) -> Result<Vec<R>, E> {
    items.into_par_iter().map_init(state, act).collect()
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

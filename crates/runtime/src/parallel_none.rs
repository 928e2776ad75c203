//! Stands in for `parallel.rs` where one thread does all: the same results, without the threads.

/// Whether there is more than one thread to be had.
pub(crate) const ENABLED: bool = false;

/// Where work is started that ends before the scope does: here, at once.
pub(crate) struct Scope;

impl Scope {
    pub(crate) fn spawn(&self, act: impl FnOnce(&Scope)) {
        act(self);
    }
}

/// Acts with a scope.
pub(crate) fn scope<R>(act: impl FnOnce(&Scope) -> R) -> R {
    act(&Scope)
}

/// What both give.
pub(crate) fn join<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B) -> (A, B) {
    (a(), b())
}

/// What `act` makes of each item, in order, or its first error.
pub(crate) fn map_init<T, S, R, E>(
    items: Vec<T>,
    _size: impl Fn(&T) -> usize,
    _most: usize,
    state: impl Fn() -> S,
    act: impl Fn(&mut S, T) -> Result<R, E>,
) -> Result<Vec<R>, E> {
    let mut state = state();
    items.into_iter().map(|item| act(&mut state, item)).collect()
}

/// What `act` finds in the first run of so many items in which it finds something.
pub(crate) fn find_first<T, R>(
    items: &[T],
    run: usize,
    act: impl Fn(&[T]) -> Option<R>,
) -> Option<R> {
    items.chunks(run).find_map(act)
}

/// Hashes bytes.
pub(crate) fn hash(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(bytes);
}

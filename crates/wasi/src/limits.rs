//! How much one guest, or one call, can make the host hold or do. Invariant [bounded work] in
//! `lib.rs` rests on these.

/// Descriptors a guest can have open at a time, standard streams and preopened directories included.
/// The host's own limit is mostly lower and answers `MFILE` as well.
pub(crate) const DESCRIPTORS: usize = 65_536;

/// Longest path in bytes, as on Linux (where one more is the terminating zero).
pub(crate) const PATH_BYTES: u64 = 4095;

/// Longest list of buffers in one read or write, as on Linux.
pub(crate) const IOVECS: u32 = 1024;

/// Bytes that travel between guest memory and the host at a time. A multiple of the page size; large
/// enough that the cost of the system call does not show.
pub(crate) const BOUNCE_BYTES: usize = 128 * 1024;

/// Longest list of subscriptions in one `poll_oneoff`.
pub(crate) const SUBSCRIPTIONS: u32 = 16_384;

/// Most bytes of names that a directory being listed may have.
pub(crate) const LISTING_BYTES: usize = 64 * 1024 * 1024;

/// Most bytes that one read or write moves. As anywhere, a call may move fewer bytes than it was asked to.
pub(crate) const TRANSFER_BYTES: u64 = 64 * 1024 * 1024;

/// Random bytes after which the deadline is looked at again: a few milliseconds of the system's generator.
pub(crate) const RANDOM_BYTES: u32 = 1024 * 1024;

//! Targets of `tracing` events. All begin with `wardian::`, so that `wardian=debug` selects them; the head
//! of the crate `wardian` says what each has.

/// Functions as they are compiled.
pub const COMPILE: &str = "wardian::compile";
/// Hot functions and loops: asked for, published, entered, refused.
pub const TIERS: &str = "wardian::tiers";
/// The code cache: found, missing, refused, kept, removed.
pub const CACHE: &str = "wardian::cache";
/// Modules and artifacts as they are loaded.
pub const MODULE: &str = "wardian::module";
/// Instances as they are made.
pub const INSTANCE: &str = "wardian::instance";
/// Traps on their way to the host.
pub const TRAP: &str = "wardian::trap";
/// Collections of stores' heaps.
pub const GC: &str = "wardian::gc";

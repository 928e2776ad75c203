//! The tiers.

pub(crate) use wardian_baseline as baseline;
pub(crate) use wardian_cranelift as optimizing;

/// Whether this build has compilers.
pub const HAS_COMPILER: bool = true;

/// Whether code may run here that was made for another list of features than the compilers': what is
/// compiled here and what is loaded follow one list, so it may not.
pub(crate) fn can_run(_: &str) -> bool {
    false
}

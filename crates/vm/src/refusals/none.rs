//! Refusals by the system, as they are: none is added.

use std::io;

/// Asked before the system is asked for memory or protection.
#[inline(always)]
pub(crate) fn allow() -> io::Result<()> {
    Ok(())
}

/// Asked before a mapping is given back.
#[inline(always)]
pub(crate) fn allow_unmap() -> io::Result<()> {
    Ok(())
}

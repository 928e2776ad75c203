#![forbid(unsafe_code)]

mod guest_memory;
pub use guest_memory::*;

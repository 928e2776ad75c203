//! The collected heap: allocation and collection, on a slice of bytes.
//!
//! The collector is precise, moves objects, and has two generations. It knows nothing of modules, machines
//! or the kernel: it is given bytes, roots and the layout of types. References are 32-bit offsets; 0 is
//! null, odd ones are integers of 31 bits.
//!
//! [`Heap`] is the state, [`Memory`] its bytes. Nothing that lies in them is trusted: whatever leads
//! nowhere panics ([`Memory`]).

#![forbid(unsafe_code)]

mod chunks;
mod collect;
mod heap;
mod memory;
mod shape;
mod verify;

pub use collect::Roots;
pub use heap::{Attempt, Config, Heap, Stats, Step, Which};
pub use memory::{Memory, NULL_PAGE};
pub use shape::{
    ARRAY_HEADER, ARRAY_LENGTH, FORWARDED, Kind, Layout, MAX_OBJECT, NO_BARRIER, OBJECT_HEADER,
    References, array_bytes,
};

#[cfg(test)]
mod tests;

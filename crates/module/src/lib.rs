//! Decoded and validated modules, their types, and everything that generated code and host must
//! agree on: layout of shared memory, calling convention, traps, builtins, settings, code images.
//!
//! `module` knows nothing of machines beyond that agreement, makes no code and runs none; it reads
//! neither clock, file nor environment.

#![forbid(unsafe_code)]

pub mod abi;
pub mod builtin;
mod composite;
mod cost;
pub mod decode;
mod hints;
pub mod image;
mod index;
pub mod layout;
mod module;
mod names;
mod registry;
pub mod settings;
mod trap;
pub mod types;

pub use builtin::{Builtin, Operation, Rounding};
pub use composite::*;
pub use cost::{OperatorCost, VariableOperatorCost};
pub use decode::{
    Body, DecodeError, Rest, decode, decode_before_rest, decode_validated, decode_with,
};
pub use index::*;
pub use module::*;
pub use registry::{RegisteredType, TypeId, is_subtype};
pub use settings::{MemoryPlan, OptLevel, Proposal, Proposals, Settings};
pub use trap::Trap;
pub use types::*;

//! What each WebAssembly instruction does, written once for all compiled tiers.
//!
//! [`lower`] walks a function body, validates it, and drives a tier, which implements [`Emit`].
//! [`Recorder`] is the smallest such tier: it writes down what it is told, for tests and dumps.
//!
//! `lower` knows nothing of machines: no register, no encoding, no calling convention.

#![forbid(unsafe_code)]

mod call;
mod cast;
mod driver;
mod emit;
mod error;
mod exceptions;
mod gc;
mod inline;
mod legacy;
mod loops;
mod memory;
mod metering;
mod numeric_checks;
mod record;
mod shape;
mod short;
mod table;
mod visit;

pub use driver::{Outcome, Scratch, lower};
pub use emit::*;
pub use error::{CompileError, contain};
pub use loops::loops_around;
pub use memory::guarded_reach;
pub use metering::{size_cost, unspent};
pub use record::{RecordedLine, Recorder};
pub use shape::Shape;

//! Why a function was not compiled, by any tier, and how a tier's own failure becomes such a reason.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wardian_module::{DecodeError, FuncIndex};

/// Why a function could not be compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CompileError {
    /// Its body is not valid.
    Invalid(DecodeError),
    /// It is valid but past a limit of this tier.
    TooLarge {
        /// Which function.
        func: FuncIndex,
        /// What is too large.
        what: String,
    },
    /// A replacement was asked for at a loop that the function does not have, or never reaches.
    NoSuchLoop {
        /// Which function.
        func: FuncIndex,
        /// Ordinal of the loop.
        ordinal: u32,
    },
    /// The tier failed: a defect of this crate or of its code generator.
    Internal(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Invalid(error) => error.fmt(f),
            CompileError::TooLarge { func: FuncIndex(index), what } => {
                write!(f, "func {index}: too large to compile: {what}")
            }
            CompileError::NoSuchLoop { func: FuncIndex(index), ordinal } => {
                write!(f, "func {index}: no loop {ordinal} that can be reached")
            }
            CompileError::Internal(message) => write!(f, "the compiler failed: {message}"),
        }
    }
}

impl std::error::Error for CompileError {}

impl From<DecodeError> for CompileError {
    fn from(error: DecodeError) -> CompileError {
        CompileError::Invalid(error)
    }
}

/// Compiles with `scratch` so that a panic of the tier becomes an error. That no input drives a tier
/// into one of its own assertions cannot be shown; all state that a panic may leave behind is `scratch`,
/// which starts anew.
///
/// # Errors
///
/// Those of `compile`, and [`CompileError::Internal`] with the text of a panic.
pub fn contain<S: Default, R>(
    func: FuncIndex,
    scratch: &mut S,
    compile: impl FnOnce(&mut S) -> Result<R, CompileError>,
) -> Result<R, CompileError> {
    catch_unwind(AssertUnwindSafe(|| compile(scratch))).unwrap_or_else(|panic| {
        *scratch = S::default();
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(CompileError::Internal(format!("func {}: {message}", func.0)))
    })
}

//! The compiler: from a function's body to [`FunctionCode`].

use crate::check;
use crate::emit::{Features, Tier};
use crate::scan::Uses;
use crate::state::State;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wardian_lower::{Outcome, lower};
use wardian_module::image::FunctionCode;
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{Body, DecodeError, FuncIndex, Module, Settings};

/// Why a function was not compiled.
#[derive(Clone, Debug)]
pub enum CompileError {
    /// It is not valid.
    Invalid(DecodeError),
    /// It is larger than the tier takes.
    TooLarge {
        /// Which.
        func: FuncIndex,
        /// In what way.
        what: String,
    },
    /// The tier failed.
    Internal(String),
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CompileError::Invalid(error) => error.fmt(f),
            CompileError::TooLarge { func, what } => {
                write!(f, "function {} is too large to be compiled: {what}", func.0)
            }
            CompileError::Internal(message) => write!(f, "internal compiler error: {message}"),
        }
    }
}

impl std::error::Error for CompileError {}

impl From<DecodeError> for CompileError {
    fn from(error: DecodeError) -> CompileError {
        CompileError::Invalid(error)
    }
}

/// What one thread reuses from function to function.
pub struct Scratch {
    lowering: wardian_lower::Scratch,
    state: State,
    uses: Uses,
}

impl Scratch {
    /// Nothing to reuse yet.
    pub fn new() -> Scratch {
        Scratch {
            lowering: wardian_lower::Scratch::default(),
            state: State::new(),
            uses: Uses::default(),
        }
    }
}

#[cfg(all(test, feature = "check"))]
impl Scratch {
    /// What was claimed of the code made last.
    pub(crate) fn claims(&self) -> &crate::claims::Claims {
        &self.state.claims
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

/// Compiles functions. One serves all threads.
#[derive(Clone, Debug)]
pub struct Compiler {
    settings: Settings,
    features: Features,
}

impl Compiler {
    /// A compiler for a processor with these features. The caller vouches that this one has them.
    pub fn new(settings: &Settings, features: Features) -> Compiler {
        Compiler { settings: settings.clone(), features }
    }

    /// Validates and compiles a function.
    ///
    /// # Errors
    ///
    /// When it is invalid, or larger than this tier takes.
    pub fn compile(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        linkage: Linkage,
        scratch: &mut Scratch,
    ) -> Result<FunctionCode, CompileError> {
        let func = module.func_index(body.index);
        let compile = || self.compile_unguarded(module, layout, body, linkage, scratch);
        // That no input drives the tier into one of its own assertions cannot be shown: a panic ends
        // here, where all state it may have left behind is `scratch`.
        let result = catch_unwind(AssertUnwindSafe(compile)).unwrap_or_else(|panic| {
            *scratch = Scratch::new();
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(CompileError::Internal(format!("func {}: {message}", func.0)))
        });
        if check::ON {
            // Another tier would hide what went wrong here.
            let claims = &scratch.state.claims;
            match &result {
                Ok(code) => {
                    let verdict =
                        check::verify(module, layout, &self.settings, &code.bytes, claims);
                    if let Err(what) = verdict {
                        panic!("func {}: the checker of machine code rejects it at {what}", func.0);
                    }
                }
                Err(CompileError::Internal(message)) => panic!("{message}"),
                Err(CompileError::Invalid(_) | CompileError::TooLarge { .. }) => {}
            }
        }
        result
    }

    fn compile_unguarded(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        linkage: Linkage,
        scratch: &mut Scratch,
    ) -> Result<FunctionCode, CompileError> {
        let func = module.func_index(body.index);
        let start = body.range.start as u32;
        let params = module.func_type(func).func_type().params().len();
        let bytes = &module.wasm[body.range.clone()];
        let features = module.proposals.features();
        let Scratch { lowering, state, uses } = scratch;
        // What cannot be decoded is told by the lowering, with its place.
        let _ = uses.scan(bytes, params, &features);
        let mut tier = Tier::new(
            state,
            uses,
            module,
            layout,
            &self.settings,
            self.features,
            linkage,
            body.index,
            start,
        );
        match lower(module, &self.settings, body, lowering, &mut tier)? {
            Outcome::Complete => {}
            Outcome::GaveUp if tier.s.failed.is_some() => {
                let what = tier.s.failed.unwrap_or_default();
                return Err(CompileError::Internal(format!("func {}: {what}", func.0)));
            }
            Outcome::GaveUp => {
                let what = "its frame or code passes a limit of the single-pass tier".to_string();
                return Err(CompileError::TooLarge { func, what });
            }
        }
        tier.finish();
        if tier.too_large() {
            let what = "its frame or code passes a limit of the single-pass tier".to_string();
            return Err(CompileError::TooLarge { func, what });
        }
        let (locations, traps) = tier.take_tables();
        if let Some(what) = state.failed {
            return Err(CompileError::Internal(format!("func {}: {what}", func.0)));
        }
        Ok(FunctionCode {
            bytes: state.asm.bytes().to_vec(),
            align: 16,
            relocs: state.asm.relocs.clone(),
            traps,
            locations,
            ..FunctionCode::default()
        })
    }
}

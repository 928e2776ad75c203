//! The compiler: from a function's body to [`FunctionCode`].

use crate::check;
use crate::emit::{Buffers, Features, Tier};
use crate::scan::Uses;
use crate::state::State;
use wardian_lower::{CompileError, Outcome, Shape, contain, lower};
use wardian_module::image::{FunctionCode, Starts};
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{Body, Module, Settings};

/// What one thread reuses from function to function.
pub struct Scratch {
    lowering: wardian_lower::Scratch,
    state: State,
    buffers: Buffers,
    uses: Uses,
    /// Whether functions get a location for every instruction, not only for those that may trap or call.
    /// For whoever shows code.
    pub every_location: bool,
    shape: Shape,
}

impl Scratch {
    /// Nothing to reuse yet.
    pub fn new() -> Scratch {
        Scratch {
            lowering: wardian_lower::Scratch::default(),
            state: State::new(),
            buffers: Buffers::default(),
            uses: Uses::default(),
            every_location: false,
            shape: Shape::default(),
        }
    }

    /// What the function compiled last, and its code, look like.
    pub fn shape(&self) -> Shape {
        self.shape
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
    counting: bool,
}

impl Compiler {
    /// A compiler for a processor with these features. The caller vouches that this one has them.
    pub fn new(settings: &Settings, features: Features) -> Compiler {
        Compiler { settings: settings.clone(), features, counting: true }
    }

    /// Makes code that does not count how often it runs, as nothing will ever replace it. Threads that run
    /// the same function would wait for each other's counting.
    pub fn without_counting(&mut self) {
        self.counting = false;
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
        let (func, index) = (module.func_index(body.index), body.index);
        let result = contain(func, scratch, |scratch| {
            self.compile_unguarded(module, layout, body, linkage, scratch)
        });
        if check::ON {
            // Another tier would hide what went wrong here.
            let claims = &scratch.state.claims;
            match &result {
                Ok(code) => {
                    let verdict =
                        check::verify(module, layout, &self.settings, index, linkage, code, claims);
                    if let Err(what) = verdict {
                        panic!("func {}: the checker of machine code rejects it at {what}", func.0);
                    }
                }
                Err(CompileError::Internal(message)) => panic!("{message}"),
                Err(_) => {}
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
        let Scratch { lowering, state, buffers, uses, every_location, shape } = scratch;
        // What cannot be decoded is told by the lowering, with its place.
        let _ = uses.scan(bytes, params, &features);
        let mut tier = Tier::new(
            state,
            buffers,
            uses,
            module,
            layout,
            &self.settings,
            self.features,
            linkage,
            body.index,
            start,
        );
        tier.every_location = *every_location;
        tier.counts &= self.counting;
        let outcome = lower(module, &self.settings, body, lowering, &mut tier)?;
        if outcome == Outcome::Complete {
            tier.finish();
        }
        if let Some(what) = tier.s.failed {
            return Err(CompileError::Internal(format!("func {}: {what}", func.0)));
        }
        if outcome == Outcome::GaveUp || tier.too_large() {
            let what = "its frame or code passes a limit of the single-pass tier".to_string();
            return Err(CompileError::TooLarge { func, what });
        }
        let frame_bytes = tier.frame_bytes;
        *shape = Shape {
            deepest_stack: state.max_operands / 8,
            spills: state.spills,
            reloads: state.reloads,
            frame_bytes,
            ..lowering.shape
        };
        Ok(FunctionCode {
            bytes: state.asm.bytes().to_vec(),
            starts: Starts::multiples_of(16),
            relocs: state.asm.relocs.clone(),
            traps: buffers.traps.clone(),
            locations: buffers.locations.clone(),
            stack_maps: std::mem::take(&mut buffers.stack_maps),
            exceptions: buffers.exceptions.clone(),
            ..FunctionCode::default()
        })
    }
}

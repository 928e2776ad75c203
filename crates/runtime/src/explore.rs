//! What becomes of single functions, for whoever shows it: their operations, and the code that each tier
//! makes of them. Nothing of it is ever run.

use crate::compile::{Bodies, CompileError, Compiler};
use crate::compilers::{baseline, optimizing};
use wardian_lower::{Outcome, Recorder, Shape, lower};
use wardian_module::image::FunctionCode;
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{Body, DefinedFuncIndex, Module};

pub use wardian_lower::RecordedLine;

/// A module whose functions can be looked at one by one.
pub struct Explorer {
    module: Module,
    layout: VmLayout,
    linkage: Linkage,
    bodies: Bodies,
}

/// A function at each stage.
pub struct Explored {
    /// Its operations.
    pub operations: Vec<RecordedLine>,
    /// Code of the single-pass tier, with a location for every instruction.
    pub baseline: Result<(FunctionCode, Shape), CompileError>,
    /// Code of the optimizing tier.
    pub optimized: Result<(FunctionCode, Shape), CompileError>,
}

impl Explorer {
    /// For a decoded module, whose code is made as for this linkage.
    pub fn new(module: Module, bodies: Vec<Body>, linkage: Linkage) -> Explorer {
        let layout = VmLayout::new(&module);
        Explorer { module, layout, linkage, bodies: Bodies::new(bodies) }
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Compiles a function with each tier.
    ///
    /// # Errors
    ///
    /// When the function is invalid.
    pub fn explore(
        &self,
        compiler: &Compiler,
        func: DefinedFuncIndex,
    ) -> Result<Explored, CompileError> {
        let mut recorder = Recorder::new(&self.module, func);
        let mut scratch = wardian_lower::Scratch::default();
        let settings = compiler.settings();
        let body = self.bodies.of(&self.module, func);
        let outcome = lower(&self.module, settings, body, &mut scratch, &mut recorder)?;
        debug_assert_eq!(outcome, Outcome::Complete, "the recorder takes everything");
        let (module, layout, linkage) = (&self.module, &self.layout, self.linkage);
        let mut scratch = baseline::Scratch::new();
        scratch.every_location = true;
        let first = compiler.baseline.compile(
            module,
            layout,
            self.bodies.of(&self.module, func),
            linkage,
            &mut scratch,
        );
        let first = first.map(|code| (code, scratch.shape()));
        let mut scratch = optimizing::Scratch::new();
        let optimized = compiler.optimizing.compile(
            module,
            layout,
            self.bodies.of(&self.module, func),
            linkage,
            &mut scratch,
        );
        let optimized = optimized.map(|code| (code, scratch.shape()));
        Ok(Explored { operations: recorder.into_lines(), baseline: first, optimized })
    }
}

//! Calls of small functions, lowered as the body of the callee.
//!
//! The driver goes on in the callee's body with the callee's validator: its locals are new ones of the
//! tier, its body is a block, and `return` is a branch to that block's end. What a tier says of where
//! code stems from includes the call, so that backtraces and traps are what they would be without.
//!
//! Invariants:
//! - A callee is validated as a whole before any of it is forwarded. One that is not valid is called,
//!   like one that is too large: whose body is to blame is found where it is compiled.
//! - A body that ends in a tail call is not inlined: its frame is gone while the other runs.
//! - What is added to a function is bounded by [`Emit::inline_budget`], in bytes of bodies.

use crate::driver::{Failure, Frame, Lowering};
use crate::emit::Emit;
use crate::metering::Metering;
use wardian_module::{DefinedFuncIndex, FuncIndex, ValType};
use wasmparser::{
    BinaryReader, FuncToValidate, FuncValidator, FunctionBody, Operator, OperatorsReader,
    ValidatorResources,
};

/// Largest body that is inlined, in bytes. Compiling `zlib.wasm` and `rs_json.wasm` of the benchmarks
/// took 1.0 % and 1.1 % more instructions than without inlining; with 100 it was 3.5 % and 12 %.
/// `vm_switch` ran in 0.8 to 0.85 of the time (minima of user time, busy machine of two cores); `zlib`,
/// `lz4`, `icall`, `strmap` and `rs_json`, which their compiler has inlined already, did not change
/// beyond noise, with 100 neither.
const MAX_BYTES: usize = 64;

/// Most declared locals of such a body.
const MAX_LOCALS: u32 = 16;

/// How many calls deep bodies are inlined into each other.
const MAX_DEPTH: usize = 3;

/// A function whose body is being lowered in place of a call.
pub(crate) struct Callee {
    func: DefinedFuncIndex,
    /// Position of its body among the frames.
    frame: usize,
}

impl<E: Emit> Lowering<'_, E> {
    /// Lowers the body of `func` in place of a call. `false` if it is to be called instead.
    pub(crate) fn inline(&mut self, func: FuncIndex) -> Result<bool, Failure> {
        let Some(defined) = self.module.defined_func(func) else { return Ok(false) };
        let length = self.module.bodies[defined.index()].len();
        let recursive =
            defined == self.own || self.callees.iter().any(|callee| callee.func == defined);
        if length > MAX_BYTES
            || length > self.inline_budget as usize
            || self.callees.len() >= MAX_DEPTH
            || recursive
        {
            return Ok(false);
        }
        let suitable = match self.scratch.suitable.get(&defined) {
            Some(known) => *known,
            None => {
                let found = self.is_suitable(func, defined);
                self.scratch.suitable.insert(defined, found);
                found
            }
        };
        if suitable {
            self.inline_budget -= length as u32;
            self.scratch.shape.inlined_calls += 1;
            self.lower_callee(func, defined)?;
        }
        Ok(suitable)
    }

    /// The depth of the inlined body that is being lowered, for `return`.
    pub(crate) fn callee_depth(&self) -> Option<u32> {
        let callee = self.callees.last()?;
        Some((self.scratch.frames.len() - 1 - callee.frame) as u32)
    }

    fn callee_validator(&mut self, func: FuncIndex) -> FuncValidator<ValidatorResources> {
        let allocations = self.scratch.validators.pop().unwrap_or_default();
        let validator = FuncToValidate {
            resources: self.validator.resources().clone(),
            index: func.0,
            ty: self.module.funcs[func.index()].0,
            features: *self.validator.features(),
        };
        validator.into_validator(allocations)
    }

    /// Whether a body is valid and has only what may be inlined.
    fn is_suitable(&mut self, func: FuncIndex, defined: DefinedFuncIndex) -> bool {
        let mut validator = self.callee_validator(func);
        let module = self.module;
        let range = module.bodies[defined.index()].clone();
        let bytes = &module.wasm[range.clone()];
        let body = FunctionBody::new(BinaryReader::new(bytes, range.start as u64));
        let mut scan = || -> wasmparser::Result<bool> {
            let mut reader = body.get_locals_reader()?;
            let mut locals = 0u32;
            for _ in 0..reader.get_count() {
                let offset = reader.original_position();
                let (count, ty) = reader.read()?;
                validator.define_locals(offset, count, ty)?;
                locals = locals.saturating_add(count);
            }
            let mut suitable = locals <= MAX_LOCALS;
            let mut reader = reader.get_binary_reader();
            reader.set_features(*validator.features());
            let mut reader = OperatorsReader::new(reader);
            while !reader.eof() {
                let (op, offset) = reader.read_with_offset()?;
                validator.op(offset, &op)?;
                suitable &= !ends_frame(&op);
            }
            reader.finish()?;
            Ok(suitable)
        };
        let suitable = scan().unwrap_or(false);
        self.scratch.validators.push(validator.into_allocations());
        suitable
    }

    fn lower_callee(&mut self, func: FuncIndex, defined: DefinedFuncIndex) -> Result<(), Failure> {
        let module = self.module;
        let range = module.bodies[defined.index()].clone();
        let bytes = &module.wasm[range.clone()];
        let body = FunctionBody::new(BinaryReader::new(bytes, range.start as u64));
        let mut validator = self.callee_validator(func);
        let mut locals: Vec<(u32, ValType)> = Vec::new();
        let mut reader = body.get_locals_reader()?;
        for _ in 0..reader.get_count() {
            let offset = reader.original_position();
            let (count, ty) = reader.read()?;
            validator.define_locals(offset, count, ty)?;
            locals.push((count, module.val_type(ty, offset as usize)?));
        }
        let position = (reader.original_position() as usize) - range.start;
        let caller = std::mem::replace(&mut self.validator, validator);
        let loops = self.loops;
        let frame = self.scratch.frames.len();
        let scope = self.scope();
        self.emit.enter_inline(defined, module.funcs[func.index()], &locals);
        self.scratch.frames.push(Frame::body(scope));
        self.callees.push(Callee { func: defined, frame });
        let (caller_bytes, caller_start) = (self.bytes, self.start);
        let (caller_position, behind_is_known) = (self.position, self.behind_is_known);
        (self.bytes, self.start, self.position) = (bytes, range.start as u64, position);
        self.behind_is_known = true;
        let metering = Metering::of_body(self.settings, bytes);
        let caller_metering = std::mem::replace(&mut self.metering, metering);
        self.instructions(frame)?;
        self.metering = caller_metering;
        (self.bytes, self.start) = (caller_bytes, caller_start);
        (self.position, self.behind_is_known) = (caller_position, behind_is_known);
        self.callees.pop();
        if !self.emit.gave_up() {
            self.emit.exit_inline();
        }
        // Left over only if the tier gave up.
        self.scratch.frames.truncate(frame);
        self.loops = loops;
        let callee = std::mem::replace(&mut self.validator, caller);
        self.scratch.validators.push(callee.into_allocations());
        Ok(())
    }
}

/// Whether an instruction replaces the frame of its function, or needs locals of its own there.
fn ends_frame(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Try { .. }
    )
}

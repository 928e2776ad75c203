//! The driver: reads a function body, validates each instruction and then lowers it.
//!
//! Invariants:
//! - An instruction reaches the tier only after the validator accepted it; what was validated is what
//!   is compiled (the very same immediates: see `visit` and `short`).
//! - Code that cannot be reached is validated but not forwarded. `reachable` is at least as strict as
//!   the validator's own notion, so the type of every operand of a forwarded instruction is known.
//! - Every block that was entered is ended, in order; a block met in unreachable code is neither.
//! - After the tier gave up, the rest is still validated: "too large" is never said of an invalid
//!   function.

use crate::emit::*;
use crate::exceptions::{Clause, ScopeData};
use crate::inline;
use crate::legacy::Tries;
use crate::memory::guarded_reach;
use crate::metering::Metering;
use crate::shape::Shape;
use smallvec::SmallVec;
use std::collections::HashMap;
use wardian_module::layout::Field;
use wardian_module::{
    Body, Builtin, ConstExpr, ConstOp, DecodeError, DefinedFuncIndex, FuncIndex, GlobalIndex,
    HeapTop, IndexType, Module, Settings, TagIndex, Trap, TypeIndex, ValType,
};
use wasmparser::{
    BinaryReader, BlockType, FuncValidator, FuncValidatorAllocations, FunctionBody, Operator,
    ValidatorResources,
};

/// Why a function is not valid. A single word, since every instruction may return one.
pub(crate) struct Failure(Box<DecodeError>);

impl From<DecodeError> for Failure {
    #[cold]
    fn from(error: DecodeError) -> Failure {
        Failure(Box::new(error))
    }
}

impl From<wasmparser::Error> for Failure {
    #[cold]
    fn from(error: wasmparser::Error) -> Failure {
        DecodeError::from(error).into()
    }
}

/// Allocations that are reused from one function to the next.
#[derive(Default)]
pub struct Scratch {
    validator: FuncValidatorAllocations,
    pub(crate) frames: Vec<Frame>,
    pub(crate) scopes: Vec<ScopeData>,
    /// Of all scopes.
    pub(crate) clauses: Vec<Clause>,
    /// Of the function's own body.
    pub(crate) tries: Tries,
    targets: Vec<u32>,
    locals: Vec<(u32, ValType)>,
    /// For validators of functions that are inlined.
    pub(crate) validators: Vec<FuncValidatorAllocations>,
    /// What is known of functions that might be inlined into the current one.
    pub(crate) suitable: HashMap<DefinedFuncIndex, bool>,
    /// What the driver knows of the shape of the function lowered last; tiers know the rest.
    pub shape: Shape,
}

/// How far lowering came. The function is valid either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// All of it was lowered.
    Complete,
    /// The tier gave up; what it made is of no use.
    GaveUp,
}

/// Validates a function and lowers it onto `emit`.
pub fn lower<E: Emit>(
    module: &Module,
    settings: &Settings,
    body: Body,
    scratch: &mut Scratch,
    emit: &mut E,
) -> Result<Outcome, DecodeError> {
    let func = module.func_index(body.index);
    let bytes = &module.wasm[body.range.clone()];
    let reader = FunctionBody::new(BinaryReader::new(bytes, body.range.start as u64));
    let validator = body.validator.into_validator(std::mem::take(&mut scratch.validator));
    scratch.frames.clear();
    scratch.scopes.clear();
    scratch.clauses.clear();
    scratch.suitable.clear();
    scratch.shape = Shape::default();
    let mut lowering = Lowering {
        module,
        settings,
        guarded: module.memories.iter().map(|ty| guarded_reach(settings, ty)).collect(),
        guarded_first: module.memories.first().map_or(0, |ty| guarded_reach(settings, ty)),
        validator,
        emit,
        scratch,
        reachable: true,
        bytes,
        start: body.range.start as u64,
        position: 0,
        behind_is_known: true,
        base: 0,
        ended: false,
        loops: 0,
        own: body.index,
        callees: SmallVec::new(),
        first_kept: 0,
        inline_budget: 0,
        metering: Metering::of_body(settings, bytes),
    };
    let outcome =
        lowering.function(&reader).map_err(|Failure(error)| error.in_func(func, &module.wasm));
    scratch.validator = lowering.validator.into_allocations();
    outcome
}

/// A block that the validator has entered and not left.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// Whether the tier was told of it.
    pub(crate) entered: bool,
    /// Whether a forwarded branch goes to its label.
    branched: bool,
    /// Whether the end of an `if`'s first arm was reachable; set at `else`.
    first_arm: bool,
    /// The scope of handlers in force inside.
    pub(crate) scope: Option<Scope>,
    /// Of a `try`: its own scope, if it has one, and which of its clauses comes next.
    pub(crate) own: Option<Scope>,
    pub(crate) next_catch: u32,
}

impl Frame {
    /// The body of a function that is called in this scope.
    pub(crate) fn body(scope: Option<Scope>) -> Frame {
        Frame {
            kind: Kind::Block,
            entered: true,
            branched: false,
            first_arm: false,
            scope,
            own: None,
            next_catch: 0,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Loop,
    /// `if` before its `else`.
    If,
    /// `if` after its `else`.
    Else,
    /// `try_table`
    TryTable,
    /// `try` before its clauses.
    Try,
    /// `try` in a clause.
    Catch,
}

pub(crate) struct Lowering<'a, E: Emit> {
    pub(crate) module: &'a Module,
    pub(crate) settings: &'a Settings,
    /// For each memory, see `guarded_reach`.
    pub(crate) guarded: SmallVec<[u64; 1]>,
    /// The same for memory 0.
    pub(crate) guarded_first: u64,
    pub(crate) emit: &'a mut E,
    pub(crate) validator: FuncValidator<ValidatorResources>,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) reachable: bool,
    /// The body that is being lowered, and where it starts in the module.
    pub(crate) bytes: &'a [u8],
    pub(crate) start: u64,
    /// Position in the body: behind the current instruction, if `behind_is_known`.
    pub(crate) position: usize,
    pub(crate) behind_is_known: bool,
    /// Frames below that of the body, and whether that has ended.
    pub(crate) base: usize,
    pub(crate) ended: bool,
    /// Number of `loop` instructions met in the function's own body.
    pub(crate) loops: u32,
    /// The function itself.
    pub(crate) own: DefinedFuncIndex,
    /// Functions that are being inlined, outermost first.
    pub(crate) callees: SmallVec<[inline::Callee; 3]>,
    /// The first of the locals that keep exceptions, behind those of the function.
    pub(crate) first_kept: u32,
    /// Bytes of bodies that may still be inlined.
    pub(crate) inline_budget: u32,
    /// Of the body that is being lowered.
    pub(crate) metering: Metering,
}

impl<E: Emit> Lowering<'_, E> {
    fn function(&mut self, body: &FunctionBody<'_>) -> Result<Outcome, Failure> {
        let mut locals = std::mem::take(&mut self.scratch.locals);
        locals.clear();
        let mut reader = body.get_locals_reader()?;
        for _ in 0..reader.get_count() {
            let offset = reader.original_position();
            let (count, ty) = reader.read()?;
            self.validator.define_locals(offset, count, ty)?;
            locals.push((count, self.module.val_type(ty, offset as usize)?));
        }
        self.position = (reader.original_position() - self.start) as usize;
        self.look_for_tries(&mut locals);
        self.emit.start(&locals);
        self.scratch.locals = locals;
        self.inline_budget = self.emit.inline_budget();
        self.meter_entry();
        self.scratch.frames.push(Frame::body(None));
        self.instructions(0)?;
        // What is left if the tier gave up; or what should not be there.
        let mut reader = self.reader();
        while !reader.eof() {
            let offset = reader.original_position();
            reader.visit_operator(&mut self.validator.visitor(offset))??;
        }
        reader.finish_expression(&self.validator.visitor(reader.original_position()))?;
        Ok(if self.emit.gave_up() { Outcome::GaveUp } else { Outcome::Complete })
    }

    /// Starts lowering a reachable instruction.
    #[inline(always)]
    pub(crate) fn begin(&mut self, offset: u64, immediates: Immediates) {
        if immediates == Immediates::Other {
            // Module offsets fit 32 bits: `Module::wasm` is far below 4 GiB, as is every section.
            self.emit.location(offset as u32);
        } else {
            self.begin_looking(offset, immediates);
        }
    }

    /// `begin` with a look at what comes next.
    #[inline(never)]
    fn begin_looking(&mut self, offset: u64, immediates: Immediates) {
        self.emit.location(offset as u32);
        if self.behind_is_known {
            self.emit.upcoming(self.bytes.get(self.position..).unwrap_or_default());
        } else {
            self.upcoming_after(offset, immediates);
        }
    }

    #[cold]
    #[inline(never)]
    fn upcoming_after(&mut self, offset: u64, immediates: Immediates) {
        let own = self.bytes.get((offset - self.start) as usize..).unwrap_or_default();
        self.emit.upcoming(after(immediates, own));
    }

    /// Lowers an instruction for [`Emit::numeric`]. Inlined, so that the tier's choice by instruction is
    /// made when this program is compiled.
    #[inline(always)]
    pub(crate) fn numeric(
        &mut self,
        op: &Operator<'_>,
        offset: u64,
        immediates: Immediates,
    ) -> Result<(), Failure> {
        if self.reachable {
            self.begin(offset, immediates);
            if !self.settings.signals_based_traps {
                self.numeric_checks(op);
            }
            self.emit.numeric(op);
        }
        Ok(())
    }

    /// As `numeric`, for [`Emit::vector`].
    pub(crate) fn vector(
        &mut self,
        op: &Operator<'_>,
        offset: u64,
        immediates: Immediates,
    ) -> Result<(), Failure> {
        if self.reachable {
            self.begin(offset, immediates);
            self.emit.vector(op);
        }
        Ok(())
    }

    /// Lowers an instruction that has no way of its own in `visit`. `operand` is the type of its last
    /// operand for instructions that do not name it.
    pub(crate) fn other(
        &mut self,
        op: &Operator<'_>,
        offset: u64,
        immediates: Immediates,
        operand: Option<wasmparser::ValType>,
    ) -> Result<(), Failure> {
        if !self.reachable {
            return Ok(());
        }
        self.begin(offset, immediates);
        self.lower_op(op, offset as usize, operand)
    }

    // ---- structured control ----

    pub(crate) fn enter(
        &mut self,
        kind: BlockKind,
        ty: BlockType,
        location: u32,
    ) -> Result<(), Failure> {
        let entered = self.reachable;
        let ordinal = self.loops;
        self.loops += u32::from(kind == BlockKind::Loop);
        let frame = match kind {
            BlockKind::Block => Kind::Block,
            BlockKind::Loop => Kind::Loop,
            BlockKind::If => Kind::If,
        };
        let scope = self.scope();
        self.scratch.frames.push(Frame { kind: frame, entered, ..Frame::body(scope) });
        if !entered {
            return Ok(());
        }
        self.scratch.shape.blocks += 1;
        self.scratch.shape.loops += u32::from(kind == BlockKind::Loop);
        self.emit.location(location);
        if kind == BlockKind::Loop && self.callees.is_empty() {
            self.emit.at_loop(ordinal);
        }
        if kind == BlockKind::If {
            self.hint(location);
        }
        match ty {
            BlockType::Empty => self.emit.enter(kind, &[], &[]),
            BlockType::Type(ty) => {
                let ty = self.module.val_type(ty, location as usize)?;
                self.emit.enter(kind, &[], &[ty]);
            }
            BlockType::FuncType(index) => {
                let ty = self.module.types[index as usize].func_type();
                self.emit.enter(kind, ty.params(), ty.results());
            }
        }
        if kind == BlockKind::Loop {
            self.meter_loop((u64::from(location) - self.start) as usize);
        }
        Ok(())
    }

    pub(crate) fn else_(&mut self, location: u32) {
        let reachable = self.reachable;
        let frame = self.scratch.frames.last_mut().expect("validated: else lies in an if");
        frame.kind = Kind::Else;
        if frame.entered {
            frame.first_arm = reachable;
            self.emit.location(location);
            self.emit.else_(reachable);
            self.reachable = true;
        }
    }

    pub(crate) fn end(&mut self, location: u32) {
        if let Some(Frame { kind: Kind::TryTable, entered: true, .. }) = self.scratch.frames.last()
        {
            self.end_try_table(location);
        }
        let frame = self.scratch.frames.pop().expect("validated: end closes a block");
        if frame.entered {
            // A branch to a loop goes back to its start.
            let arrives = frame.kind != Kind::Loop && (frame.branched || frame.first_arm);
            // Without `else` the condition may be false.
            let continues = self.reachable || frame.kind == Kind::If || arrives;
            self.emit.location(location);
            self.emit.end(self.reachable, continues);
            self.reachable = continues;
        }
        self.ended = self.scratch.frames.len() == self.base;
    }

    pub(crate) fn branch_to(&mut self, depth: u32) {
        self.scratch.shape.branches += 1;
        let frames = &mut self.scratch.frames;
        let position = frames.len() - 1 - depth as usize;
        frames[position].branched = true;
    }

    /// What follows cannot be reached.
    pub(crate) fn stop(&mut self) {
        self.reachable = false;
    }

    // ---- types ----

    /// The type of the top operand, if it is known.
    pub(crate) fn top_operand(&self) -> Option<wasmparser::ValType> {
        self.validator.get_operand_type(0).flatten()
    }

    /// A type as the validator knows it, as exact as its representation needs.
    fn operand_type(&self, ty: wasmparser::ValType, offset: usize) -> Result<ValType, DecodeError> {
        if let wasmparser::ValType::Ref(ty) = ty
            && let Some(ty) = self.erased(ty)
        {
            return Ok(ValType::Ref(ty));
        }
        self.module.val_type(ty, offset)
    }

    /// The hierarchy of a reference operand.
    fn heap_top(
        &self,
        ty: Option<wasmparser::ValType>,
        offset: usize,
    ) -> Result<HeapTop, DecodeError> {
        let ty = ty.expect("operands of reachable instructions have known types");
        match self.operand_type(ty, offset)? {
            ValType::Ref(ty) => Ok(ty.heap.top()),
            other => unreachable!("validated: {other} is no reference"),
        }
    }

    // ---- values within an expansion ----

    /// An operand that indexes a memory or table.
    pub(crate) fn pop_index(&mut self, ty: IndexType) -> Index<E::Value> {
        let value = self.emit.pop();
        match ty {
            IndexType::I32 => Index(self.emit.zero_extend(value)),
            IndexType::I64 => Index(value),
        }
    }

    /// Pushes a 64-bit size or index as a value of the index type.
    pub(crate) fn push_index(&mut self, ty: IndexType, value: E::Value) {
        let value = match ty {
            IndexType::I32 => self.emit.wrap(value),
            IndexType::I64 => value,
        };
        self.emit.push(value);
    }

    pub(crate) fn copy_index(&mut self, index: &Index<E::Value>) -> E::Value {
        self.emit.copy(index.as_value())
    }

    pub(crate) fn const_i64(&mut self, value: u64) -> E::Value {
        self.emit.constant(Const::I64(value))
    }

    pub(crate) fn builtin<const N: usize>(
        &mut self,
        builtin: Builtin,
        first: u32,
        second: u32,
        args: [E::Value; N],
    ) -> Option<E::Value> {
        self.emit.builtin(builtin, first, second, SmallVec::from_iter(args))
    }

    /// Traps if a reference is null; gives it back.
    pub(crate) fn check_non_null(&mut self, top: HeapTop, value: E::Value) -> E::Value {
        let copy = self.emit.copy(&value);
        let null = self.emit.is_null(top, copy);
        let info = TrapInfo { trap: Trap::NullReference, place: 0 };
        self.emit.trap_if(null, info, Details::new());
        value
    }

    // ---- instructions ----

    #[inline]
    pub(crate) fn drop_top(&mut self, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            self.emit.drop_top();
        }
    }

    #[inline(always)]
    pub(crate) fn local_get(&mut self, local: u32, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            self.emit.local_get(local);
        }
    }

    #[inline(always)]
    pub(crate) fn local_set(&mut self, local: u32, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            self.emit.local_set(local);
        }
    }

    #[inline(always)]
    pub(crate) fn local_tee(&mut self, local: u32, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            self.emit.local_tee(local);
        }
    }

    pub(crate) fn global_get(&mut self, global: u32, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            let value = match self.constant_global(GlobalIndex(global)) {
                Some(value) => self.emit.constant(value),
                None => self.emit.load_field(Field::Global(GlobalIndex(global))),
            };
            self.emit.push(value);
        }
    }

    /// The value of a global that never changes, if the module alone says what it is.
    fn constant_global(&self, global: GlobalIndex) -> Option<Const> {
        let global = &self.module.globals[global.index()];
        if global.ty.mutable {
            return None;
        }
        match global.init.as_ref()? {
            ConstExpr::I32(value) => Some(Const::I32(*value as u32)),
            ConstExpr::Ops(ops) => match ops[..] {
                [ConstOp::I64(value)] => Some(Const::I64(value as u64)),
                [ConstOp::F32(bits)] => Some(Const::F32(bits)),
                [ConstOp::F64(bits)] => Some(Const::F64(bits)),
                [ConstOp::V128(bits)] => Some(Const::V128(bits)),
                _ => None,
            },
        }
    }

    pub(crate) fn global_set(&mut self, global: u32, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            let value = self.emit.pop();
            self.emit.store_field(Field::Global(GlobalIndex(global)), value);
        }
    }

    #[inline]
    pub(crate) fn br(&mut self, depth: u32, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            self.branch_to(depth);
            self.emit.branch(depth);
            self.stop();
        }
    }

    #[inline]
    pub(crate) fn br_if(&mut self, depth: u32, offset: u64) {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            self.branch_to(depth);
            self.hint(offset as u32);
            self.emit.branch_if(depth);
        }
    }

    /// Tells the tier what the module says of the branch at an offset.
    #[inline]
    fn hint(&mut self, offset: u32) {
        if !self.module.branch_hints.is_empty()
            && let Some(likely) = self.module.branch_hint(offset)
        {
            self.emit.hint(likely);
        }
    }

    pub(crate) fn call_op(&mut self, func: u32, offset: u64) -> Result<(), Failure> {
        if self.reachable {
            self.begin(offset, Immediates::Other);
            if !self.inline(FuncIndex(func))? {
                self.call(FuncIndex(func), false);
            }
        }
        Ok(())
    }

    /// Lowers a reachable instruction that is no block. `operand` is the type of its last operand
    /// where `visit` asked for it.
    fn lower_op(
        &mut self,
        op: &Operator<'_>,
        offset: usize,
        operand: Option<wasmparser::ValType>,
    ) -> Result<(), Failure> {
        match *op {
            Operator::Nop => {}
            Operator::Unreachable => {
                self.emit.trap(TrapInfo { trap: Trap::UnreachableCodeReached, place: 0 });
                self.stop();
            }
            Operator::Select | Operator::TypedSelect { .. } => {
                let ty = self.top_operand();
                let ty = ty.expect("operands of reachable instructions have known types");
                let ty = self.operand_type(ty, offset)?;
                self.emit.select(ty);
            }
            Operator::BrTable { ref targets } => {
                let mut depths = std::mem::take(&mut self.scratch.targets);
                depths.clear();
                for target in targets.targets() {
                    let depth = target?;
                    self.branch_to(depth);
                    depths.push(depth);
                }
                self.branch_to(targets.default());
                self.emit.branch_table(&depths, targets.default());
                self.scratch.targets = depths;
                self.stop();
            }
            Operator::Return => {
                match self.callee_depth() {
                    None => self.emit.ret(),
                    Some(depth) => {
                        self.branch_to(depth);
                        self.emit.branch(depth);
                    }
                }
                self.stop();
            }
            Operator::BrOnNull { relative_depth } => {
                // After validation the reference is on the validator's stack as non-null.
                let top = self.heap_top(self.top_operand(), offset)?;
                let value = self.emit.pop();
                let copy = self.emit.copy(&value);
                let null = self.emit.is_null(top, copy);
                self.branch_to(relative_depth);
                self.emit.branch_if_value(null, relative_depth);
                self.emit.push(value);
            }
            Operator::BrOnNonNull { relative_depth } => {
                let top = self.heap_top(operand, offset)?;
                let value = self.emit.pop();
                let copy = self.emit.copy(&value);
                let null = self.emit.is_null(top, copy);
                let zero = self.emit.constant(Const::I32(0));
                let non_null = self.emit.compare(Compare::Eq, null, zero);
                self.emit.push(value);
                self.branch_to(relative_depth);
                self.emit.branch_if_value(non_null, relative_depth);
                self.emit.drop_top();
            }

            Operator::RefNull { hty } => {
                let top = self.module.heap_type(hty, offset)?.top();
                let null = self.emit.constant(match top {
                    HeapTop::Func => Const::NullPointer,
                    HeapTop::Extern | HeapTop::Any | HeapTop::Exn => Const::NullRef,
                });
                self.emit.push(null);
            }
            Operator::RefIsNull => {
                let top = self.heap_top(operand, offset)?;
                let value = self.emit.pop();
                let null = self.emit.is_null(top, value);
                self.emit.push(null);
            }
            Operator::RefAsNonNull => {
                let top = self.heap_top(self.top_operand(), offset)?;
                let value = self.emit.pop();
                let value = self.check_non_null(top, value);
                self.emit.push(value);
            }
            Operator::RefFunc { function_index } => {
                let value = self.emit.func_ref(FuncIndex(function_index));
                self.emit.push(value);
            }

            Operator::Throw { tag_index } => self.throw(TagIndex(tag_index)),
            Operator::ThrowRef => {
                let exception = self.emit.pop();
                self.throw_ref(exception);
            }
            Operator::Rethrow { relative_depth } => self.rethrow(relative_depth),

            Operator::ReturnCall { function_index } => self.call(FuncIndex(function_index), true),
            Operator::CallIndirect { type_index, table_index } => {
                self.call_indirect(TypeIndex(type_index), table_index, false);
            }
            Operator::ReturnCallIndirect { type_index, table_index } => {
                self.call_indirect(TypeIndex(type_index), table_index, true);
            }
            Operator::CallRef { type_index } => self.call_ref(TypeIndex(type_index), false),
            Operator::ReturnCallRef { type_index } => self.call_ref(TypeIndex(type_index), true),

            ref op => {
                if self.memory_op(op)
                    || self.table_op(op)
                    || self.gc_op(op)?
                    || self.cast_op(op, offset, operand)?
                {
                    return Ok(());
                }
                let message = format!("instruction {op:?} is not supported by this version");
                return Err(DecodeError::new(message, offset).into());
            }
        }
        Ok(())
    }
}

/// What immediates an instruction has, as far as looking behind it is worth while.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Immediates {
    None,
    /// Alignment and offset.
    Memarg,
    Other,
}

/// The bytes that follow an instruction at the start of `bytes`.
#[inline]
fn after(immediates: Immediates, bytes: &[u8]) -> &[u8] {
    let mut length = match bytes {
        // A prefix and a number of at most two bytes.
        [0xfc | 0xfd, low, ..] => 2 + usize::from(low & 0x80 != 0),
        _ => 1,
    };
    match immediates {
        Immediates::None => {}
        Immediates::Memarg => {
            for _ in 0..2 {
                while bytes.get(length).is_some_and(|byte| byte & 0x80 != 0) {
                    length += 1;
                }
                length += 1;
            }
        }
        Immediates::Other => return &[],
    }
    bytes.get(length..).unwrap_or_default()
}

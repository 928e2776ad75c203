//! The compiler and its settings.
//!
//! Invariants:
//! - Code made by a compiler depends on the module, the settings and [`Compiler::isa_key`], and on
//!   nothing else, but for which functions it calls by distance.
//! - A function that is too large, or that Cranelift cannot compile, is an error, never a panic.

use crate::abi::signature;
use crate::bounds;
use crate::check;
use crate::constants;
use crate::counts;
use crate::dispatch;
use crate::emit::{Features, Tier, name_space};
use crate::faults;
use crate::finish;
use crate::induction;
use crate::offsets::{self, Reach};
use crate::pressure;
use crate::replace::Replacement;
use crate::resume;
use crate::roots;
use crate::unroll::{Unrolled, unroll};
use crate::ways::Ways;
use crate::wide;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    Block, ExtFuncData, ExternalName, Function, GlobalValue, InstBuilder, Signature, SourceLoc,
    UserExternalName, UserFuncName,
};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::loop_analysis::LoopAnalysis;
use cranelift_codegen::settings::{Configurable, Flags, Value};
use cranelift_codegen::{CodegenError, CompiledCode, Context};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::fmt::Write;
use wardian_lower::{CompileError, Outcome, Shape, guarded_reach, lower};
use wardian_module::abi::CallLayout;
use wardian_module::image::{FunctionCode, Inlined};
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{Body, DefinedFuncIndex, FuncIndex, Module, OptLevel, Settings};

/// Largest body, in bytes of WebAssembly, that is compiled at all.
pub(crate) const MAX_BODY_BYTES: usize = 4 << 20;

/// The flag that leaves the register of NOTE [fuel register] of `layout` alone.
const PAYS: &str = "enable_pinned_reg";

/// Number of instructions past which a function's allocations are not kept for the next: to make them again is
/// little beside what so large a function takes, and a thread would have them to its end. (From 8,000 on, the pages
/// touched anew took 1 to 2 % of the time of a program of large functions.)
const KEEP_INSTS: usize = 20_000;

/// Which functions of the module have the code that they keep, and are called by distance.
pub(crate) type IsFinal<'a> = &'a dyn Fn(DefinedFuncIndex) -> bool;

/// What a function is compiled to be.
#[derive(Clone, Copy)]
struct Form<'a> {
    linkage: Linkage,
    is_final: IsFinal<'a>,
    /// The loop it starts at, instead of its beginning.
    at_loop: Option<u32>,
    /// Its checks have exits: see `exits`.
    exits: bool,
}

impl<'a> Form<'a> {
    /// With exits, as long as they can be told apart.
    fn new(linkage: Linkage, is_final: IsFinal<'a>, at_loop: Option<u32>) -> Form<'a> {
        Form { linkage, is_final, at_loop, exits: true }
    }
}

/// What is known of a lowered function beside its intermediate form.
struct Built {
    /// Slots of live state that it reads.
    slots: u32,
    /// Places that its source locations speak of.
    inlined: Vec<Inlined>,
    /// Most operands at once.
    deepest: u32,
    /// The stack limit, where the prologue is to leave it alone if the frame is small: see
    /// [`finish::CHECKED_FRAME`].
    limit: Option<GlobalValue>,
    /// The block that reads the state of the frame that is replaced.
    loading: Option<Block>,
}

/// What one thread reuses from function to function.
pub struct Scratch {
    lowering: wardian_lower::Scratch,
    context: Context,
    builder: FunctionBuilderContext,
    registers: regalloc2::Ctx,
    /// What the last function got, for tests.
    pub(crate) choice: Option<Choice>,
    shape: Shape,
}

/// What `pressure` says of a function.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "tests read it"))]
pub(crate) struct Choice {
    /// It is not optimized.
    pub(crate) deep: bool,
    /// It gets the simpler register allocator.
    pub(crate) excessive: bool,
}

impl Scratch {
    /// Nothing to reuse yet.
    pub fn new() -> Scratch {
        Scratch {
            lowering: wardian_lower::Scratch::default(),
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            registers: regalloc2::Ctx::default(),
            choice: None,
            shape: Shape::default(),
        }
    }

    /// What the function compiled last, and its code, look like. What the register allocator moved to the
    /// frame is not known.
    pub fn shape(&self) -> Shape {
        self.shape
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

/// Compiles functions. One serves all threads.
pub struct Compiler {
    settings: Settings,
    /// Optimizes; its flags are those of the key.
    isa: OwnedTargetIsa,
    /// The same without its optimizations, for functions on which they take too long.
    simplifier: OwnedTargetIsa,
    /// Makes machine code of what was optimized.
    emitter: OwnedTargetIsa,
    /// The same with the register allocator whose time is linear (see `pressure`).
    linear_emitter: OwnedTargetIsa,
    features: Features,
    inlining: bool,
}

impl Compiler {
    /// A compiler for this processor.
    pub fn new(settings: &Settings) -> Result<Compiler, String> {
        Compiler::with_cpu(settings, "native")
    }

    /// A compiler for a processor by name: `native`, or one of Cranelift's presets such as `x86-64`,
    /// `x86-64-v3`, `skylake`. Features that this processor lacks are an error.
    pub fn with_cpu(settings: &Settings, cpu: &str) -> Result<Compiler, String> {
        let target = |cpu: &str, flags: Flags| -> Result<OwnedTargetIsa, String> {
            let native = cpu == "native";
            let mut builder =
                cranelift_native::builder_with_options(native).map_err(str::to_string)?;
            if !native {
                builder.enable(cpu).map_err(|_| unknown_cpu(cpu))?;
            }
            builder.finish(flags).map_err(|error| error.to_string())
        };
        let isa = target(cpu, shared_flags(settings, Stage::Optimize)?)?;
        if cpu != "native" {
            let host = target("native", isa.flags().clone())?;
            let lacking = isa.isa_flags().into_iter().find(|flag| {
                let same = |host: &Value| host.name == flag.name && host.as_bool() == Some(true);
                flag.as_bool() == Some(true) && !host.isa_flags().iter().any(same)
            });
            if let Some(flag) = lacking {
                let name = flag.name;
                return Err(format!("cpu `{cpu}` needs `{name}`, which this processor lacks"));
            }
        }
        let simplifier = target(cpu, shared_flags(settings, Stage::Simplify)?)?;
        let emitter = target(cpu, shared_flags(settings, Stage::Emit)?)?;
        let linear_emitter = target(cpu, shared_flags(settings, Stage::EmitLinear)?)?;
        let has = |name: &str| {
            isa.isa_flags().iter().any(|flag| flag.name == name && flag.as_bool() == Some(true))
        };
        let features = Features {
            x86: isa.triple().architecture.to_string() == "x86_64",
            ssse3: has("has_ssse3"),
            sse41: has("has_sse41"),
            // Cranelift uses the fused instructions in their AVX encoding.
            fma: has("has_fma") && has("has_avx"),
        };
        Ok(Compiler {
            settings: settings.clone(),
            isa,
            simplifier,
            emitter,
            linear_emitter,
            features,
            inlining: true,
        })
    }

    /// Whether small functions are inlined where they are called. They are by default, unless the
    /// settings ask for no optimization.
    pub fn with_inlining(self, inlining: bool) -> Compiler {
        Compiler { inlining, ..self }
    }

    /// The settings that functions are compiled under.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Everything about the target that code depends on: triple and all flags.
    pub fn isa_key(&self) -> String {
        let mut key = format!("cranelift {} {}", cranelift_codegen::VERSION, self.isa.triple());
        let values = self.isa.flags().iter().chain(self.isa.isa_flags());
        // The settings say it, and processors have nothing to do with it.
        for value in values.filter(|value| value.name != PAYS) {
            write!(key, " {value}").expect("strings can be written to");
        }
        write!(key, " inlining={}", self.inlining).expect("strings can be written to");
        key
    }

    /// Whether code may use a feature of the processor, by Cranelift's name for it.
    pub fn has(&self, feature: &str) -> bool {
        let flags = self.isa.isa_flags();
        flags.iter().any(|flag| flag.name == feature && flag.as_bool() == Some(true))
    }

    /// Validates and compiles a function, whose calls reach other functions of the module as
    /// `linkage` says.
    pub fn compile(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        linkage: Linkage,
        scratch: &mut Scratch,
    ) -> Result<FunctionCode, CompileError> {
        let func = module.func_index(body.index);
        let result = contain(func, scratch, |scratch| {
            let is_final = &|_| linkage == Linkage::Direct;
            let form = Form::new(linkage, is_final, None);
            self.compile_as(module, layout, body, form, scratch).map(|(code, _)| code)
        });
        insist(result)
    }

    /// Validates and compiles a function that calls others through their slots, but those by distance of
    /// which `is_final` says that their code will not change.
    pub fn compile_beside(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        is_final: &dyn Fn(DefinedFuncIndex) -> bool,
        scratch: &mut Scratch,
    ) -> Result<FunctionCode, CompileError> {
        let func = module.func_index(body.index);
        // It is the code that it keeps.
        let own = body.index;
        let is_final = &|other| other == own || is_final(other);
        let result = contain(func, scratch, |scratch| {
            let form = Form::new(Linkage::Slots, is_final, None);
            self.compile_as(module, layout, body, form, scratch).map(|(code, _)| code)
        });
        insist(result)
    }

    /// Validates a function and compiles what takes over one of its frames at the head of a loop: see
    /// `layout::Linkage`. `ordinal` counts every `loop` of the body; `is_final` is as for
    /// [`compile_beside`](Compiler::compile_beside). Beside the code, the number of
    /// slots of `StoreContext::live_state` that it reads.
    pub fn compile_replacement(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        ordinal: u32,
        is_final: &dyn Fn(DefinedFuncIndex) -> bool,
        scratch: &mut Scratch,
    ) -> Result<(FunctionCode, u32), CompileError> {
        let func = module.func_index(body.index);
        let result = contain(func, scratch, |scratch| {
            let form = Form::new(Linkage::Slots, is_final, Some(ordinal));
            self.compile_as(module, layout, body, form, scratch)
        });
        insist(result)
    }

    /// Compiles a function in one of its forms; the number of slots of live state that it reads.
    fn compile_as(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        form: Form<'_>,
        scratch: &mut Scratch,
    ) -> Result<(FunctionCode, u32), CompileError> {
        let func = module.func_index(body.index);
        let (index, start) = (body.index, body.range.start as u32);
        let again = form.exits.then(|| body.clone());
        let Built { slots, inlined, deepest, limit, loading } =
            self.build(module, layout, body, form, scratch)?;
        let lowered = scratch.lowering.shape;
        let compiled = self.emit(func, self.reach(module), loading, scratch)?;
        let explicit = !self.settings.signals_based_traps;
        let finish = |compiled: CompiledCode, context: &Context| {
            finish::finish(&compiled, context, index, start, &inlined, explicit)
        };
        let mut code = finish(compiled, &scratch.context)?;
        if limit.is_some() && code.as_ref().is_some_and(|(_, frame)| *frame > finish::CHECKED_FRAME)
        {
            scratch.context.func.stack_limit = limit;
            code = finish(self.generate(func, scratch)?, &scratch.context)?;
        }
        let (finished, frame) = match (code, again) {
            (Some(code), _) => code,
            (None, Some(body)) => {
                let form = Form { exits: false, ..form };
                return self.compile_as(module, layout, body, form, scratch);
            }
            (None, None) => panic!("there are no exits that could not be told apart"),
        };
        scratch.shape = Shape { deepest_stack: deepest, frame_bytes: frame, ..lowered };
        self.check(module, layout, func, form.linkage, slots, &finished)?;
        if !explicit || frame <= finish::CHECKED_FRAME {
            return Ok((finished, slots));
        }
        self.gate(module, layout, func, frame, start, scratch);
        let gate = self.emit(func, Reach::Guard(0), None, scratch)?;
        let gate = finish::finish(&gate, &scratch.context, index, start, &[], explicit)?;
        let (gate, _) = gate.expect("it has no exits");
        self.check(module, layout, func, Linkage::Direct, 0, &gate)?;
        Ok((finish::join(gate, finished, index), slots))
    }

    /// Lets the checker see code of a function.
    fn check(
        &self,
        module: &Module,
        layout: &VmLayout,
        func: FuncIndex,
        linkage: Linkage,
        live_slots: u32,
        code: &FunctionCode,
    ) -> Result<(), CompileError> {
        if !check::ON {
            return Ok(());
        }
        let own = CallLayout::new(module.func_type(func).func_type());
        let index = module.defined_func(func).expect("it has a body");
        check::verify(module, layout, &self.settings, &own, index, linkage, live_slots, code)
            .map(drop)
            .map_err(|what| {
                let func = func.0;
                CompileError::Internal(format!(
                    "func {func}: the checker of machine code rejects it at {what}"
                ))
            })
    }

    /// Cranelift's intermediate form of a function, or of its replacement at a loop, as text. What
    /// cannot be reached is still in it.
    pub fn clif(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        at_loop: Option<u32>,
        scratch: &mut Scratch,
    ) -> Result<String, CompileError> {
        contain(module.func_index(body.index), scratch, |scratch| {
            let form = Form::new(Linkage::Direct, &|_| true, at_loop);
            self.build(module, layout, body, form, scratch)?;
            Ok(scratch.context.func.display().to_string())
        })
    }

    /// Machine code of a function, as text with the code generator's names.
    pub fn disassembly(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        scratch: &mut Scratch,
    ) -> Result<String, CompileError> {
        let func = module.func_index(body.index);
        contain(func, scratch, |scratch| {
            let form = Form::new(Linkage::Direct, &|_| true, None);
            self.build(module, layout, body, form, scratch)?;
            scratch.context.set_disasm(true);
            let code = self.emit(func, self.reach(module), None, scratch)?;
            Ok(code.vcode.unwrap_or_default())
        })
    }

    /// Lowers a function into `scratch.context.func`.
    fn build(
        &self,
        module: &Module,
        layout: &VmLayout,
        body: Body,
        form: Form<'_>,
        scratch: &mut Scratch,
    ) -> Result<Built, CompileError> {
        let func = module.func_index(body.index);
        let length = body.range.len();
        scratch.context.clear();
        scratch.context.func.name = UserFuncName::user(name_space::FUNCS, body.index.0);
        // Lets source locations be stored relative to the body.
        let start = SourceLoc::new(body.range.start as u32);
        scratch.context.func.params.ensure_base_srcloc(start);
        let builder = FunctionBuilder::new(&mut scratch.context.func, &mut scratch.builder);
        let mut tier = Tier::new(
            builder,
            module,
            layout,
            form.is_final,
            &self.settings,
            self.features,
            body.index,
        );
        if self.inlining && self.settings.inlining && self.settings.opt_level != OptLevel::None {
            tier.inline_budget = inline_budget(length);
        }
        tier.replacement = form.at_loop.map(Replacement::new);
        tier.exits = form.exits;
        if length > MAX_BODY_BYTES {
            tier.give_up();
        }
        let outcome = lower(module, &self.settings, body, &mut scratch.lowering, &mut tier);
        match outcome {
            Ok(Outcome::Complete) => {
                let (slots, loading) = match tier.replacement {
                    None => (Some(0), None),
                    Some(replacement) => (replacement.live_slots, replacement.loading),
                };
                if let Some(slots) = slots {
                    let inlined = std::mem::take(&mut tier.inlined);
                    let deepest = tier.deepest as u32;
                    let limit = match tier.calls {
                        true => None,
                        false => tier.b.func.stack_limit.take(),
                    };
                    let roots = std::mem::take(&mut tier.roots);
                    tier.b.finalize(self.isa.frontend_config());
                    roots::prune(&mut scratch.context.func, roots);
                    return Ok(Built { slots, inlined, deepest, limit, loading });
                }
                scratch.builder = FunctionBuilderContext::new();
                let ordinal = form.at_loop.expect("a function from its start reads no state");
                Err(CompileError::NoSuchLoop { func, ordinal })
            }
            Ok(Outcome::GaveUp) => {
                scratch.builder = FunctionBuilderContext::new();
                let what = if length > MAX_BODY_BYTES {
                    format!("its body has {length} bytes, the limit is {MAX_BODY_BYTES}")
                } else {
                    "its code grows past what the optimizing tier takes".to_string()
                };
                Err(CompileError::TooLarge { func, what })
            }
            Err(error) => {
                scratch.builder = FunctionBuilderContext::new();
                Err(error.into())
            }
        }
    }

    /// Where accesses to any memory of a module may end without a check.
    fn reach(&self, module: &Module) -> Reach {
        let memories = || module.memories.iter();
        if self.settings.signals_based_traps {
            let reaches = memories().map(|ty| guarded_reach(&self.settings, ty));
            return Reach::Guard(reaches.min().unwrap_or(0));
        }
        let least = memories().map(|ty| ty.minimum_bytes()).min().unwrap_or(0);
        Reach::Least(u64::try_from(least).unwrap_or(u64::MAX))
    }

    /// Compiles `scratch.context.func`, whose accesses may end at `reach`, and which may take over a frame, whose state the block `loading` reads.
    fn emit(
        &self,
        func: FuncIndex,
        reach: Reach,
        loading: Option<Block>,
        scratch: &mut Scratch,
    ) -> Result<CompiledCode, CompileError> {
        let Scratch { context, choice, .. } = scratch;
        let mut plane = ControlPlane::default();
        let mut deep = pressure::may_be_deep(&context.func);
        if deep {
            context.compute_cfg();
            context.compute_domtree();
            deep = pressure::is_deep(&context.func, &context.domtree);
            // Passes change what they describe, and the verifier believes them.
            context.cfg.clear();
            context.domtree.clear();
        }
        let optimizer = if deep { &self.simplifier } else { &self.isa };
        let optimizes = !deep && self.settings.opt_level != OptLevel::None;
        if optimizes {
            if let Some(loading) = loading {
                resume::use_start(context, &**optimizer, loading, reach);
            }
            let mut ways = Ways::new(&context.func);
            if self.settings.counts_turns() {
                counts::count_ahead(&mut context.func, &ways);
            }
            dispatch::copy_dispatch(&mut context.func, &mut ways);
            if let Reach::Least(least) = reach {
                bounds::remove_checks(&mut context.func, &ways, least);
            }
            offsets::move_constants(&mut context.func, &ways, reach);
            // Where code checks, counts or pays in each turn, copies are of no use.
            let Settings { signals_based_traps, consume_fuel, epoch_interruption, .. } =
                self.settings;
            let is_plain = signals_based_traps && !consume_fuel && !epoch_interruption;
            if is_plain {
                let unrolled = unroll(&mut context.func, &ways);
                if unrolled != Unrolled::None {
                    ways = Ways::new(&context.func);
                }
                if unrolled == Unrolled::Counting {
                    offsets::move_constants(&mut context.func, &ways, reach);
                }
            }
            wide::keep_extended(&mut context.func, &ways);
        }
        context.optimize(&**optimizer, &mut plane).map_err(|error| failure(func, error))?;
        if optimizes {
            induction::use_next(&mut context.func);
            wide::load_extended(&mut context.func);
        }
        self.tidy(context).map_err(|error| failure(func, error))?;
        constants::make_near(&mut context.func);
        faults::keep_locations(&mut context.func);
        let excessive = pressure::is_excessive(&context.func);
        *choice = Some(Choice { deep, excessive });
        if is_large(&context.func) {
            // The code generator takes most memory, and has no use for these.
            scratch.lowering = wardian_lower::Scratch::default();
            scratch.builder = FunctionBuilderContext::new();
            context.cfg = ControlFlowGraph::new();
            context.loop_analysis = LoopAnalysis::new();
        }
        self.generate(func, scratch)
    }

    /// Makes the rest ready for the code generator: what became constant is no parameter, and there are no
    /// aliases. The optimizer left the dominators, and the passes behind it changed no branch.
    fn tidy(&self, context: &mut Context) -> Result<(), CodegenError> {
        context.eliminate_unreachable_code(&*self.emitter)?;
        context.remove_constant_phis(&*self.emitter)?;
        context.func.dfg.resolve_all_aliases();
        Ok(())
    }

    /// Makes machine code of `scratch.context.func`, which was optimized, and whose blocks are still those that
    /// the optimizer left. (`Context::compile` would look at it all once more.)
    fn generate(
        &self,
        func: FuncIndex,
        scratch: &mut Scratch,
    ) -> Result<CompiledCode, CompileError> {
        let Scratch { context, choice, registers, .. } = scratch;
        let excessive = choice.is_some_and(|choice| choice.excessive);
        let emitter = if excessive { &self.linear_emitter } else { &self.emitter };
        let mut plane = ControlPlane::default();
        let made = context.verify_if(&**emitter).and_then(|()| {
            let Context { func, domtree, want_disasm, .. } = &*context;
            emitter.compile_function(func, domtree, registers, *want_disasm, &mut plane)
        });
        let made = made.map_err(|error| failure(func, error))?;
        Ok(made.apply_params(&context.func.params))
    }

    /// Makes the gate of a function that takes `frame` bytes of stack: invariant [large frames] of
    /// `finish`.
    fn gate(
        &self,
        module: &Module,
        layout: &VmLayout,
        func: FuncIndex,
        frame: u32,
        start: u32,
        scratch: &mut Scratch,
    ) {
        let ty = module.func_type(func).func_type();
        let own = CallLayout::new(ty);
        let defined = module.defined_func(func).expect("imports are not compiled");
        scratch.context.clear();
        let builder = FunctionBuilder::new(&mut scratch.context.func, &mut scratch.builder);
        let mut tier =
            Tier::new(builder, module, layout, &|_| true, &self.settings, self.features, defined);
        let signature: Signature = signature(ty, &own);
        tier.b.set_srcloc(SourceLoc::new(start));
        let params = tier.enter_entry();
        tier.check_stack(frame);
        let name = UserExternalName { namespace: name_space::BODY, index: 0 };
        let name = tier.b.func.declare_imported_user_function(name);
        let signature = tier.b.import_signature(signature);
        let body = tier.b.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        tier.b.ins().return_call(body, &params);
        tier.b.finalize(self.isa.frontend_config());
    }
}

/// What Cranelift says of a function, as our error.
fn failure(func: FuncIndex, error: CodegenError) -> CompileError {
    match error {
        CodegenError::CodeTooLarge | CodegenError::ImplLimitExceeded => {
            let what = "its code passes a limit of the code generator".to_string();
            CompileError::TooLarge { func, what }
        }
        CodegenError::Verifier(errors) => {
            CompileError::Internal(format!("func {}: {errors}", func.0))
        }
        other => CompileError::Internal(format!("func {}: {other}", func.0)),
    }
}

/// Bytes of bodies that are inlined into a body of `length` bytes.
fn inline_budget(length: usize) -> u32 {
    // Bodies have at most 4 MiB.
    100 + length as u32 / 4
}

fn unknown_cpu(cpu: &str) -> String {
    format!(
        "unknown cpu `{cpu}`: expected `native`, `x86-64`, `x86-64-v2`, `x86-64-v3`, `x86-64-v4` or a processor's name"
    )
}

/// Lets nobody go on after a mistake of ours, or of the code generator, where code is checked: elsewhere
/// it counts as a limit, and other code takes the place of the function's.
fn insist<R>(result: Result<R, CompileError>) -> Result<R, CompileError> {
    match result {
        Err(CompileError::Internal(message)) if check::ON => panic!("{message}"),
        result => result,
    }
}

/// Runs a compilation so that a panic of the code generator becomes an error. Cranelift asserts much
/// about its input; that no input drives it into one of them cannot be shown, so a panic is contained
/// here, where all state it may have left behind is `scratch`.
fn contain<R>(
    func: FuncIndex,
    scratch: &mut Scratch,
    compile: impl FnOnce(&mut Scratch) -> Result<R, CompileError>,
) -> Result<R, CompileError> {
    let result = wardian_lower::contain(func, scratch, compile);
    if is_large(&scratch.context.func) {
        // What one huge function needed is not kept for all the small ones.
        *scratch = Scratch { choice: scratch.choice, shape: scratch.shape, ..Scratch::new() };
    }
    result
}

/// Whether what a function needed is not kept.
fn is_large(func: &Function) -> bool {
    func.dfg.num_insts() > KEEP_INSTS
}

/// Cranelift's pipeline in two steps, so that the choice of an allocator can depend on the result of
/// the first. The level of optimization and canonical NaNs concern the first step only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Optimize,
    Simplify,
    Emit,
    EmitLinear,
}

fn shared_flags(settings: &Settings, stage: Stage) -> Result<Flags, String> {
    let mut builder = cranelift_codegen::settings::builder();
    let mut set = |name: &str, value: &str| {
        builder.set(name, value).map_err(|error| format!("setting {name}: {error}"))
    };
    let flag = |on: bool| if on { "true" } else { "false" };
    set(
        "opt_level",
        match settings.opt_level {
            _ if stage != Stage::Optimize => "none",
            OptLevel::None => "none",
            OptLevel::Speed => "speed",
            OptLevel::SpeedAndSize => "speed_and_size",
        },
    )?;
    let linear = stage == Stage::EmitLinear;
    set("regalloc_algorithm", if linear { "single_pass" } else { "backtracking" })?;
    set("enable_verifier", flag(settings.verifier))?;
    let first = matches!(stage, Stage::Optimize | Stage::Simplify);
    let canonical = settings.nan_canonicalization && first;
    set("enable_nan_canonicalization", flag(canonical))?;
    // `br_table` is the one place that Cranelift masks by itself; accesses are masked by `lower`.
    set("enable_table_access_spectre_mitigation", flag(settings.spectre_mitigation))?;
    set("enable_heap_access_spectre_mitigation", flag(settings.spectre_mitigation))?;
    set(PAYS, flag(settings.keeps_spent()))?;
    // Stacks are walked by frame pointers.
    set("preserve_frame_pointers", "true")?;
    set("unwind_info", "false")?;
    // The check against the stack limit covers the whole frame.
    set("enable_probestack", "false")?;
    // Functions reach each other and the module table at fixed distances, not through a table of
    // addresses.
    set("is_pic", "false")?;
    set("regalloc_checker", "false")?;
    Ok(Flags::new(builder))
}

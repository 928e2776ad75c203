//! The operations of [`Emit`] as Cranelift instructions.
//!
//! Invariants:
//! - Vectors on the operand stack, in locals and in block parameters have the type [`V128`].
//! - An access to a field, memory or table carries the alias region that `module` gives it, or none;
//!   never another's. Which of the two is decided once per region.
//! - `readonly` stands only on fields that never change while the function runs.
//! - A cold block that raises a trap calls the shim from an instruction whose source location is that
//!   of the WebAssembly instruction, so that its return address tells it.

use crate::EntityMap;
use crate::abi::{
    POINTER, V128, builtin_signature, clif_type, epoch_signature, signature, throw_signature,
};
use crate::compiler::IsFinal;
use crate::control::Frame;
use crate::exceptions::ScopeData;
use crate::exits::{self, bounds_code};
use crate::faults::store_code;
use crate::proven::Proven;
use crate::replace::Replacement;
use crate::roots::{Roots, Saved};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    self, AliasRegion, AliasRegionData, AtomicRmwOp, BlockArg, Endianness, ExtFuncData,
    ExternalName, GlobalValueData, InstBuilder, InstructionData, MemFlagsData, SigRef, StackSlot,
    StackSlotData, StackSlotKind, TrapCode, Type, UserExternalName, Value, ValueDef, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Variable};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::rc::Rc;
use wardian_lower::*;
use wardian_module::abi::{CallLayout, ResultLoc};
use wardian_module::builtin::Word;
use wardian_module::image::{Inlined, Location};
use wardian_module::layout::{
    Field, FuncRefField, PAYLOAD_SLOT, Region, Repr, Root, VmLayout, memory_region,
    table_element_size, table_region,
};
use wardian_module::{
    Builtin, DataIndex, DefinedFuncIndex, FuncIndex, HeapTop, MemoryIndex, MemoryPlan, Module,
    Operation, OptLevel, Settings, TableIndex, Trap, TypeIndex, ValType,
};
use wasmparser::Operator;

/// Name spaces of symbols.
pub(crate) mod name_space {
    /// Defined functions of the module.
    pub(crate) const FUNCS: u32 = 0;
    /// The module table.
    pub(crate) const MODULE_TABLE: u32 = 1;
    /// The part of a function behind its stack check (see `finish`).
    pub(crate) const BODY: u32 = 2;
}

/// What the processor offers beyond its baseline, as far as this crate makes a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Features {
    /// x86-64 at all: the instructions that Cranelift has only there.
    pub(crate) x86: bool,
    /// `pshufb`, `pmaddubsw`, `pmulhrsw`.
    pub(crate) ssse3: bool,
    /// Rounding and blends.
    pub(crate) sse41: bool,
    /// Fused multiply-add.
    pub(crate) fma: bool,
}

/// Bounds on what one function may become, since the code generator has no memory budget of its own.
/// The intermediate form of an instruction takes up to 1 KiB at its peak (register allocation).
pub(crate) mod limits {
    /// Instructions and values of the intermediate form.
    pub(crate) const NODES: usize = 2_000_000;
    /// Arguments carried by branches, entries of branch tables.
    pub(crate) const BRANCH_WORK: usize = 8_000_000;
    /// Words of operand lists, those of block parameters that stand for merged locals included.
    pub(crate) const LIST_WORDS: usize = 16_000_000;
    /// Distinct alias regions; further ones are not told apart. The table of access flags has 2^16
    /// entries for the whole function.
    pub(crate) const REGIONS: usize = 8_000;
}

/// An address: `base + offset`.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    base: Value,
    offset: i32,
}

/// The parts of a call that depend on its type.
pub(crate) struct CallShape {
    pub(crate) signature: SigRef,
    pub(crate) layout: CallLayout,
}

/// A function that is being inlined.
struct Inlining {
    func: DefinedFuncIndex,
    /// Position of its first local.
    locals: usize,
    /// Of its first local that is a reference, among those.
    ref_locals: usize,
    /// Location of the call.
    call: u32,
}

/// One function on its way to Cranelift's intermediate form.
pub(crate) struct Tier<'a> {
    pub(crate) b: FunctionBuilder<'a>,
    pub(crate) module: &'a Module,
    pub(crate) settings: &'a Settings,
    pub(crate) features: Features,
    layout: &'a VmLayout,
    is_final: IsFinal<'a>,
    pub(crate) ty: TypeIndex,
    /// This function's own call layout.
    pub(crate) own: CallLayout,
    pub(crate) stack: Vec<Value>,
    /// Most operands before an instruction.
    pub(crate) deepest: usize,
    /// Variables of the lowest operands, of those that need one: see `replace`.
    pub(crate) homes: Vec<Option<Variable>>,
    pub(crate) replacement: Option<Replacement>,
    /// Of the branch that follows: whether its condition is likely to hold.
    pub(crate) hint: Option<bool>,
    pub(crate) frames: Vec<Frame>,
    /// What checks have shown.
    pub(crate) proven: Proven,
    /// Those of the function, then of each function being inlined.
    pub(crate) locals: Vec<Variable>,
    /// Those of them that hold references.
    pub(crate) ref_locals: Vec<Variable>,
    pub(crate) roots: Roots,
    /// Calls with handlers, and what was saved at each.
    pub(crate) saved_calls: Vec<(ir::Inst, SmallVec<[Saved; 8]>)>,
    /// Where a cast goes on that is decided early.
    pub(crate) passed: Option<ir::Block>,
    /// Types of all variables, and whether they hold references.
    variables: Vec<(Type, bool)>,
    /// Variables that nothing uses any more.
    spare: Vec<Variable>,
    inlining: Vec<Inlining>,
    /// See [`Emit::inline_budget`].
    pub(crate) inline_budget: u32,
    /// Places in inlined functions, for source locations.
    pub(crate) inlined: Vec<Inlined>,
    /// Source location of the code that follows, as in `image::Location`.
    location: u32,
    /// The function's context.
    context: Value,
    /// Address of the caller's result area, if there is one.
    pub(crate) area: Option<Value>,
    /// The area that calls of this function have their results in: one for all, since results are
    /// read right after the call.
    result_slot: Option<StackSlot>,
    /// What is around calls: see `exceptions`.
    pub(crate) scopes: Vec<ScopeData>,
    throw_shim: Option<SigRef>,
    shapes: HashMap<TypeIndex, Rc<CallShape>>,
    funcs: HashMap<DefinedFuncIndex, ir::FuncRef>,
    builtins: HashMap<Builtin, SigRef>,
    epoch_shim: Option<SigRef>,
    raises: [Option<SigRef>; 3],
    regions: EntityMap<Region, Option<AliasRegion>>,
    module_table: Option<ir::GlobalValue>,
    /// Stores to memories that may be out of bounds, so far.
    stores: u32,
    /// Whether it calls anything that comes back.
    pub(crate) calls: bool,
    /// Checks are conditional traps, which get exits: see `exits`.
    pub(crate) exits: bool,
    /// See `limits::BRANCH_WORK`.
    pub(crate) branch_work: usize,
}

/// The types of an atomic access in memory and as a value.
fn atomic_types(access: Access) -> (Type, Type) {
    let repr = match access {
        Access::Full(repr) | Access::Narrow { to: repr, .. } => repr,
        _ => unreachable!("atomic accesses are of integers"),
    };
    let in_memory = match access.bytes() {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    };
    (in_memory, clif_type(repr))
}

pub(crate) fn trap_code(trap: Trap) -> TrapCode {
    TrapCode::user(trap.code()).expect("codes of traps are small and not zero")
}

/// Whether values of a type are references that the collector may change.
pub(crate) fn is_ref(ty: ValType) -> bool {
    Repr::of(ty) == Repr::Ref
}

impl<'a> Tier<'a> {
    /// Starts the function: signature, entry block, stack check.
    pub(crate) fn new(
        b: FunctionBuilder<'a>,
        module: &'a Module,
        layout: &'a VmLayout,
        is_final: IsFinal<'a>,
        settings: &'a Settings,
        features: Features,
        func: DefinedFuncIndex,
    ) -> Tier<'a> {
        let ty = module.funcs[module.func_index(func).index()];
        let own = CallLayout::new(module.types[ty.index()].func_type());
        let tier = Tier {
            b,
            module,
            settings,
            features,
            layout,
            is_final,
            ty,
            own,
            stack: Vec::new(),
            deepest: 0,
            homes: Vec::new(),
            replacement: None,
            hint: None,
            frames: Vec::new(),
            proven: Proven::default(),
            locals: Vec::new(),
            ref_locals: Vec::new(),
            roots: Roots::default(),
            saved_calls: Vec::new(),
            passed: None,
            variables: Vec::new(),
            spare: Vec::new(),
            inlining: Vec::new(),
            inline_budget: 0,
            inlined: Vec::new(),
            location: Location::NONE,
            context: Value::from_u32(0),
            area: None,
            result_slot: None,
            scopes: Vec::new(),
            throw_shim: None,
            shapes: HashMap::new(),
            funcs: HashMap::new(),
            builtins: HashMap::new(),
            epoch_shim: None,
            raises: [None; 3],
            regions: EntityMap::default(),
            module_table: None,
            stores: 0,
            exits: false,
            calls: false,
            branch_work: 0,
        };
        tier.b.func.signature = signature(tier.func_type(), &tier.own);
        tier
    }

    /// Takes no more of this function, which is then validated only.
    pub(crate) fn give_up(&mut self) {
        self.branch_work = usize::MAX;
    }

    pub(crate) fn func_type(&self) -> &'a wardian_module::FuncType {
        self.module.types[self.ty.index()].func_type()
    }

    // ---- fields, regions and flags ----

    pub(crate) fn trap_code(trap: Trap) -> TrapCode {
        trap_code(trap)
    }

    pub(crate) fn region(&mut self, region: Region) -> Option<AliasRegion> {
        if let Some(known) = self.regions.get(&region) {
            return *known;
        }
        let description = match region {
            Region::Constant => "constant",
            Region::Store => "store",
            Region::MemoryField(_) | Region::ImportedMemoryField => "memory field",
            Region::TableField(_) | Region::ImportedTableField => "table field",
            Region::Memory(_) | Region::ImportedMemory => "memory",
            Region::Table(_) | Region::ImportedTable => "table",
            Region::Global(_) | Region::ImportedGlobal => "global",
            Region::Tiering => "tiering",
            Region::ObjectHead | Region::ObjectField(_) | Region::ArrayElements(_) => "object",
        };
        let data = AliasRegionData { user_id: region.number(), description: description.into() };
        let made = (self.regions.len() < limits::REGIONS)
            .then(|| self.b.func.dfg.alias_regions.insert(data));
        self.regions.insert(region, made);
        made
    }

    /// Flags of an access that cannot fault, to data of the host that is aligned.
    pub(crate) fn trusted(&mut self, region: Region) -> MemFlagsData {
        let region = self.region(region);
        MemFlagsData::trusted().with_alias_region(region)
    }

    /// Flags of reading what never changes.
    fn constant_flags(&mut self) -> MemFlagsData {
        self.trusted(Region::Constant).with_readonly().with_can_move()
    }

    /// Whether a field keeps its value while this function runs.
    fn is_constant(&self, field: Field, constant: bool) -> bool {
        match field {
            // A memory that never moves has one base for life.
            Field::MemoryBase(i) => {
                let ty = &self.module.memories[i.index()];
                !MemoryPlan::new(self.settings, ty).may_move
            }
            // A table moves when it grows.
            Field::TableBase(i) => self.module.tables[i.index()].ty.limits.is_fixed(),
            _ => constant,
        }
    }

    fn module_table(&mut self) -> Value {
        let global = *self.module_table.get_or_insert_with(|| {
            let name = UserExternalName { namespace: name_space::MODULE_TABLE, index: 0 };
            let name = self.b.func.declare_imported_user_function(name);
            self.b.func.create_global_value(GlobalValueData::Symbol {
                name: ExternalName::user(name),
                offset: 0.into(),
                colocated: true,
                tls: false,
            })
        });
        self.b.ins().symbol_value(POINTER, global)
    }

    /// Address and flags of a field.
    fn field(&mut self, field: Field) -> (Type, MemFlagsData, Value, i32) {
        let path = self.layout.path(self.module, field);
        let mut base = match path.root {
            Root::Context => self.context,
            Root::ModuleTable => self.module_table(),
        };
        if let Some(through) = path.through {
            let flags = self.constant_flags();
            base = self.b.ins().load(POINTER, flags, base, through as i32);
        }
        let mut flags = self.trusted(path.region);
        if path.repr == Repr::V128 {
            // Storage of globals that the host owns need not have the vector's alignment.
            let region = flags.alias_region();
            flags = MemFlagsData::new().with_notrap().with_alias_region(region);
        }
        // A type id is compared where it is read: code generators do both at once, unless it was read
        // earlier, which takes a register or a place in the frame.
        let hoist = !matches!(field, Field::TypeId(_));
        if hoist && self.is_constant(field, path.constant) {
            flags = flags.with_readonly().with_can_move();
        }
        (clif_type(path.repr), flags, base, path.offset as i32)
    }

    /// The stack limit as the prologue's check reads it.
    pub(crate) fn declare_stack_limit(&mut self) {
        let path = self.layout.path(self.module, Field::StackLimit);
        let flags = self.constant_flags();
        let flags = self.b.func.dfg.mem_flags.insert(flags).expect("the table was empty");
        let mut base = self.b.create_global_value(GlobalValueData::VMContext);
        for offset in path.through.into_iter().chain([path.offset]) {
            base = self.b.create_global_value(GlobalValueData::Load {
                base,
                offset: (offset as i32).into(),
                global_type: POINTER,
                flags,
            });
        }
        self.b.func.stack_limit = Some(base);
    }

    /// Makes the entry block and learns the context; the values of all of Cranelift's parameters.
    pub(crate) fn enter_entry(&mut self) -> Vec<Value> {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        self.b.seal_block(entry);
        let params = self.b.block_params(entry).to_vec();
        self.context = params[0];
        params
    }

    /// Raises a stack overflow if fewer than `bytes` are left, in code, where the prologue may not
    /// fault.
    pub(crate) fn check_stack(&mut self, bytes: u32) {
        let limit = self.load_field(Field::StackLimit);
        // Addresses and frames are far below 2^63.
        let limit = match bytes {
            0 => limit,
            bytes => self.b.ins().iadd_imm_u(limit, i64::from(bytes)),
        };
        let sp = self.b.ins().get_stack_pointer(POINTER);
        let below = self.b.ins().icmp(IntCC::UnsignedLessThan, sp, limit);
        self.trap_if(below, TrapInfo { trap: Trap::StackOverflow, place: 0 }, Details::new());
    }

    // ---- traps ----

    /// Raises a trap in the current block and ends it.
    fn raise(&mut self, info: TrapInfo, details: &[Value]) {
        let count = details.len();
        let signature = match self.raises[count] {
            Some(signature) => signature,
            None => {
                let signature = builtin_signature(&Builtin::Raise.params()[..count], None);
                *self.raises[count].insert(self.b.import_signature(signature))
            }
        };
        let operation = Operation::raise(info.trap, info.place).pack();
        self.call_shim(signature, operation, details);
        // The shim does not come back; if it did, this stops the function.
        self.b.ins().trap(trap_code(Trap::UnreachableCodeReached));
    }

    pub(crate) fn raise_if(&mut self, condition: Value, info: TrapInfo, details: &[Value]) {
        let cold = self.b.create_block();
        let next = self.b.create_block();
        self.b.ins().brif(condition, cold, &[], next, &[]);
        self.b.seal_block(cold);
        self.b.seal_block(next);
        self.b.set_cold_block(cold);
        self.b.switch_to_block(cold);
        self.raise(info, details);
        self.b.switch_to_block(next);
    }

    /// The code of a conditional trap that is this check, if it can be one: what it tells is known from the code,
    /// or from what it compares (see `exits`).
    fn code_of_check(
        &self,
        condition: Value,
        info: TrapInfo,
        details: &[Value],
    ) -> Option<TrapCode> {
        if self.settings.signals_based_traps {
            return details.is_empty().then(|| trap_code(info.trap));
        }
        let maker = |value| match self.b.func.dfg.value_def(self.b.func.dfg.resolve_aliases(value))
        {
            ValueDef::Result(inst, _) => Some(self.b.func.dfg.insts[inst]),
            _ => None,
        };
        let mut made = maker(condition)?;
        if let InstructionData::Unary { opcode: ir::Opcode::Uextend, arg } = made {
            made = maker(arg)?;
        }
        // Of floats, one condition may take two jumps.
        let InstructionData::IntCompare { args: [end, _], cond, .. } = made else { return None };
        match (info.trap, details) {
            _ if !self.exits => None,
            (trap, []) => Some(trap_code(trap)),
            (Trap::MemoryOutOfBounds, [_, offset]) if cond == IntCC::UnsignedGreaterThan => {
                let Some(offset) = self.constant_of(*offset) else { return bounds_code(0) };
                match maker(end)? {
                    InstructionData::Binary { opcode: ir::Opcode::Iadd, args: [_, end] } => {
                        bounds_code(self.constant_of(end)?.checked_sub(offset)?)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn call_shim(&mut self, signature: SigRef, operation: u64, args: &[Value]) -> ir::Inst {
        let shim = self.load_field(Field::BuiltinShim);
        let operation = self.b.ins().iconst(types::I64, operation as i64);
        let mut values: SmallVec<[Value; 6]> = SmallVec::from_slice(&[self.context, operation]);
        values.extend_from_slice(args);
        self.b.ins().call_indirect(signature, shim, &values)
    }

    /// The signature of the shim that throws.
    pub(crate) fn throw_signature(&mut self) -> SigRef {
        *self.throw_shim.get_or_insert_with(|| self.b.import_signature(throw_signature()))
    }

    /// The function's context.
    pub(crate) fn context(&self) -> Value {
        self.context
    }

    /// Calls a routine of the host that needs no shim.
    fn call_routine<const N: usize>(&mut self, field: Field, params: [Type; N], args: [Value; N]) {
        self.calls = true;
        let routine = self.load_field(field);
        let mut signature = ir::Signature::new(CallConv::SystemV);
        signature.params.extend(params.map(ir::AbiParam::new));
        let signature = self.b.import_signature(signature);
        self.b.ins().call_indirect(signature, routine, &args);
    }

    /// The address as one value.
    fn whole(&mut self, addr: Addr<Address>) -> Value {
        let Address { base, offset } = addr.into_inner();
        if offset == 0 { base } else { self.b.ins().iadd_imm_s(base, i64::from(offset)) }
    }

    // ---- the operand stack ----

    pub(crate) fn pop1(&mut self) -> Value {
        self.settle(self.stack.len() - 1);
        self.stack.pop().expect("validated: operands are there")
    }

    pub(crate) fn pop2(&mut self) -> (Value, Value) {
        let y = self.pop1();
        (self.pop1(), y)
    }

    pub(crate) fn pop3(&mut self) -> (Value, Value, Value) {
        let z = self.pop1();
        let (x, y) = self.pop2();
        (x, y, z)
    }

    pub(crate) fn push1(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// A vector as lanes of another type.
    pub(crate) fn as_lanes(&mut self, lanes: Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == lanes {
            return value;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.b.ins().bitcast(lanes, flags, value)
    }

    /// A truth value as an `i32`.
    pub(crate) fn flag(&mut self, value: Value) -> Value {
        self.b.ins().uextend(types::I32, value)
    }

    fn zero_of(&mut self, ty: Type) -> Value {
        match ty {
            types::F32 => self.b.ins().f32const(0.0),
            types::F64 => self.b.ins().f64const(0.0),
            V128 => self.vector_const(0),
            int => self.b.ins().iconst(int, 0),
        }
    }

    pub(crate) fn vector_const(&mut self, bits: u128) -> Value {
        let data = bits.to_le_bytes().as_slice().into();
        let constant = self.b.func.dfg.constants.insert(data);
        self.b.ins().vconst(V128, constant)
    }

    // ---- variables ----

    /// A variable that nothing else uses. Each costs memory for every block of the function, so those
    /// that were given back are taken first.
    pub(crate) fn take_variable(&mut self, ty: Type, is_ref: bool) -> Variable {
        // A handful of types: the search ends soon.
        let fits = |spare: &Variable| self.variables[spare.as_u32() as usize] == (ty, is_ref);
        if let Some(position) = self.spare.iter().rposition(fits) {
            return self.spare.swap_remove(position);
        }
        let variable = self.b.declare_var(ty);
        assert_eq!(variable.as_u32() as usize, self.variables.len(), "all are declared here");
        self.variables.push((ty, is_ref));
        variable
    }

    pub(crate) fn is_ref_variable(&self, variable: Variable) -> bool {
        self.variables[variable.as_u32() as usize].1
    }

    pub(crate) fn give_variable(&mut self, variable: Variable) {
        self.spare.push(variable);
    }

    /// The next local, with this value.
    fn define_local(&mut self, value: Value, is_ref: bool) {
        let ty = self.b.func.dfg.value_type(value);
        let local = self.take_variable(ty, is_ref);
        self.b.def_var(local, value);
        self.add_local(local);
    }

    pub(crate) fn add_local(&mut self, local: Variable) {
        self.locals.push(local);
        if self.is_ref_variable(local) {
            self.ref_locals.push(local);
        }
    }

    /// Calls a builtin; the call.
    pub(crate) fn call_builtin(
        &mut self,
        builtin: Builtin,
        first: u32,
        second: u32,
        args: &[Value],
    ) -> ir::Inst {
        let signature = match self.builtins.get(&builtin) {
            Some(signature) => *signature,
            None => {
                let signature = builtin_signature(builtin.params(), builtin.result());
                let signature = self.b.import_signature(signature);
                self.builtins.insert(builtin, signature);
                signature
            }
        };
        let operation = Operation::new(builtin, first, second).pack();
        self.calls = true;
        self.call_shim(signature, operation, args)
    }

    fn local(&self, index: u32) -> Variable {
        let first = self.inlining.last().map_or(0, |inlining| inlining.locals);
        self.locals[first + index as usize]
    }

    // ---- calls ----

    fn shape(&mut self, ty: TypeIndex) -> Rc<CallShape> {
        if let Some(shape) = self.shapes.get(&ty) {
            return shape.clone();
        }
        let func_type = self.module.types[ty.index()].func_type();
        let layout = CallLayout::new(func_type);
        let signature = self.b.import_signature(signature(func_type, &layout));
        let shape = Rc::new(CallShape { signature, layout });
        self.shapes.insert(ty, shape.clone());
        shape
    }

    fn direct(&mut self, func: DefinedFuncIndex, signature: SigRef) -> ir::FuncRef {
        if let Some(known) = self.funcs.get(&func) {
            return *known;
        }
        let name = UserExternalName { namespace: name_space::FUNCS, index: func.0 };
        let name = self.b.func.declare_imported_user_function(name);
        let made = self.b.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        self.funcs.insert(func, made);
        made
    }

    /// A context that was read from a function reference, as the function's own where it is that. Processors
    /// predict that it is, and go on before the context has arrived. Else each function of a chain of calls
    /// in tail position waits for the context by three loads, which begin at the context of the one before.
    fn predicted_context(&mut self, context: Value) -> Value {
        if self.settings.opt_level == OptLevel::None {
            return context;
        }
        let other = self.b.create_block();
        let next = self.b.create_block();
        let param = self.b.append_block_param(next, POINTER);
        let is_own = self.b.ins().icmp(IntCC::Equal, context, self.context);
        self.b.ins().brif(is_own, next, &[BlockArg::Value(self.context)], other, &[]);
        self.b.seal_block(other);
        self.b.set_cold_block(other);
        self.b.switch_to_block(other);
        self.b.ins().jump(next, &[BlockArg::Value(context)]);
        self.b.seal_block(next);
        self.b.switch_to_block(next);
        param
    }

    /// Address of an area of at least `bytes` for the results of a call.
    fn result_area(&mut self, bytes: u32) -> Value {
        let slot = *self.result_slot.get_or_insert_with(|| {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 0, 4);
            self.b.create_sized_stack_slot(data)
        });
        let data = &mut self.b.func.sized_stack_slots[slot];
        data.size = data.size.max(bytes);
        self.b.ins().stack_addr(POINTER, slot, 0)
    }

    /// Flags of reading or writing results in memory. No region: whoever calls is a fence.
    pub(crate) fn area_flags() -> MemFlagsData {
        MemFlagsData::new().with_notrap()
    }

    // ---- memory ----

    /// Flags of an access to a memory; `trap` is the code of its fault, if it may be out of bounds.
    fn memory_flags(&mut self, memory: MemoryIndex, trap: Option<TrapCode>) -> MemFlagsData {
        let region = self.region(memory_region(self.module, memory));
        MemFlagsData::new()
            .with_endianness(Endianness::Little)
            .with_trap_code(trap)
            .with_alias_region(region)
    }

    fn atomic_flags(&mut self, memory: MemoryIndex, may_fault: bool) -> MemFlagsData {
        let trap = may_fault.then(|| trap_code(Trap::MemoryOutOfBounds));
        self.memory_flags(memory, trap)
    }

    /// What an atomic access writes of a value.
    fn narrowed(&mut self, value: Value, access: Access) -> Value {
        let (in_memory, ty) = atomic_types(access);
        if in_memory == ty { value } else { self.b.ins().ireduce(in_memory, value) }
    }

    /// What an atomic access has read, as a value of type `ty`.
    fn widened(&mut self, value: Value, ty: Type) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        self.b.ins().uextend(ty, value)
    }

    fn table_flags(&mut self, table: TableIndex) -> (Type, MemFlagsData) {
        let element = self.module.tables[table.index()].ty.element;
        let flags = self.trusted(table_region(self.module, table));
        (clif_type(Repr::of_ref(element.heap)), flags)
    }

    /// The lane type of a lane of this many bits, and the vector type of such lanes.
    pub(crate) fn lane_types(lane_bits: u8) -> (Type, Type) {
        match lane_bits {
            8 => (types::I8, types::I8X16),
            16 => (types::I16, types::I16X8),
            32 => (types::I32, types::I32X4),
            _ => (types::I64, types::I64X2),
        }
    }

    pub(crate) fn block_args(&mut self, count: usize) -> SmallVec<[BlockArg; 4]> {
        let from = self.stack.len() - count;
        self.settle(from);
        self.stack[from..].iter().map(|value| BlockArg::Value(*value)).collect()
    }
}

impl Emit for Tier<'_> {
    type Value = Value;
    type Addr = Address;

    fn start(&mut self, locals: &[(u32, ValType)]) {
        let mut params = self.enter_entry().into_iter().skip(1);
        self.area = if self.own.area_bytes > 0 { params.next() } else { None };
        if self.settings.signals_based_traps {
            self.declare_stack_limit();
        } else {
            self.check_stack(0);
        }
        if self.replacement.is_some() {
            let params: SmallVec<[Value; 8]> = params.collect();
            self.abandon_start(&params, locals);
            return self.enter_body(self.func_type().results());
        }
        for (param, ty) in params.zip(self.func_type().params()) {
            if is_ref(*ty) {
                self.roots.mark(param);
            }
            self.define_local(param, is_ref(*ty));
        }
        for (count, ty) in locals {
            let zero = self.zero_of(clif_type(Repr::of(*ty)));
            for _ in 0..*count {
                self.define_local(zero, is_ref(*ty));
            }
        }
        self.enter_body(self.func_type().results());
    }

    fn gave_up(&self) -> bool {
        let dfg = &self.b.func.dfg;
        dfg.num_values().max(dfg.num_insts()) > limits::NODES
            || dfg.value_lists.capacity() > limits::LIST_WORDS
            || self.branch_work > limits::BRANCH_WORK
    }

    fn location(&mut self, wasm_offset: u32) {
        self.deepest = self.deepest.max(self.stack.len());
        self.location = match self.inlining.last() {
            None => wasm_offset,
            Some(&Inlining { func, call, .. }) => {
                self.inlined.push(Inlined { func, wasm: wasm_offset, outer: call });
                Location::INLINED | (self.inlined.len() as u32 - 1)
            }
        };
        self.b.set_srcloc(ir::SourceLoc::new(self.location));
    }

    fn inline_budget(&self) -> u32 {
        self.inline_budget
    }

    fn enter_inline(&mut self, func: DefinedFuncIndex, ty: TypeIndex, locals: &[(u32, ValType)]) {
        let ty = self.module.types[ty.index()].func_type();
        let from = self.stack.len() - ty.params().len();
        self.settle(from);
        let (first, call) = (self.locals.len(), self.location);
        let ref_locals = self.ref_locals.len();
        self.inlining.push(Inlining { func, locals: first, ref_locals, call });
        for (value, ty) in self.stack.split_off(from).into_iter().zip(ty.params()) {
            self.define_local(value, is_ref(*ty));
        }
        for (count, ty) in locals {
            let zero = self.zero_of(clif_type(Repr::of(*ty)));
            for _ in 0..*count {
                self.define_local(zero, is_ref(*ty));
            }
        }
        self.enter_body(ty.results());
    }

    fn exit_inline(&mut self) {
        let Inlining { locals, ref_locals, .. } = self.inlining.pop().expect("one was entered");
        self.ref_locals.truncate(ref_locals);
        self.spare.extend(self.locals.drain(locals..));
    }

    fn check_epoch(&mut self, cost: u32) {
        self.calls = true;
        let reached = if self.settings.counts_turns() {
            let left = self.spent();
            let left = self.b.ins().iadd_imm_s(left, -i64::from(cost));
            self.set_spent(left);
            self.b.ins().icmp_imm_s(IntCC::SignedLessThan, left, 0)
        } else {
            let epoch = self.load_field(Field::Epoch);
            // No region: nothing that is known of memory says when others change it. On the way that calls,
            // all may change, so the next check does not take this one's word.
            let flags = MemFlagsData::trusted();
            let now = self.b.ins().load(types::I64, flags, epoch, 0);
            let deadline = self.load_field(Field::EpochDeadline);
            self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, now, deadline)
        };
        if self.exits && !self.may_have_roots() {
            self.b.ins().trapnz(reached, trap_code(Trap::Interrupt));
            return exits::fence(&mut self.b);
        }
        let [cold, hot, next] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(reached, cold, &[], hot, &[]);
        self.b.seal_block(cold);
        self.b.seal_block(hot);
        self.b.set_cold_block(cold);
        self.b.switch_to_block(cold);
        let saved = self.save_roots(self.stack.len());
        let signature =
            *self.epoch_shim.get_or_insert_with(|| self.b.import_signature(epoch_signature()));
        let shim = self.load_field(Field::EpochShim);
        let call = self.b.ins().call_indirect(signature, shim, &[]);
        let mut args = Vec::new();
        self.reload_into(call, &saved, &mut args);
        self.b.ins().jump(next, &args);
        self.b.switch_to_block(hot);
        let args: SmallVec<[BlockArg; 4]> = Self::kept(&saved).collect();
        self.b.ins().jump(next, &args);
        self.b.seal_block(next);
        self.b.switch_to_block(next);
        self.join_operands(next, &saved);
    }

    fn charge(&mut self, fuel: u32) {
        let before = self.spent();
        let spent = if self.settings.signals_based_traps || self.exits {
            // One block goes on: passes and optimizer see a function as if it did not pay.
            let fuel = self.b.ins().iconst(types::I64, i64::from(fuel));
            self.b.ins().uadd_overflow_trap(before, fuel, trap_code(Trap::OutOfFuel))
        } else {
            let most = -1 - i64::from(fuel);
            let short = self.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, before, most);
            self.raise_if(short, TrapInfo { trap: Trap::OutOfFuel, place: 0 }, &[]);
            self.b.ins().iadd_imm_u(before, i64::from(fuel))
        };
        self.set_spent(spent);
    }

    fn spent(&mut self) -> Value {
        self.b.ins().get_pinned_reg(types::I64)
    }

    fn set_spent(&mut self, spent: Value) {
        self.b.ins().set_pinned_reg(spent);
    }

    fn pop(&mut self) -> Value {
        self.pop1()
    }

    fn push(&mut self, value: Value) {
        self.push1(value);
    }

    fn copy(&mut self, value: &Value) -> Value {
        *value
    }

    fn drop_top(&mut self) {
        self.truncate_stack(self.stack.len() - 1);
    }

    fn local_get(&mut self, local: u32) {
        let value = self.read_variable(self.local(local));
        self.push1(value);
    }

    fn local_set(&mut self, local: u32) {
        let value = self.pop1();
        self.b.def_var(self.local(local), value);
    }

    fn local_tee(&mut self, local: u32) {
        let value = self.pop1();
        self.b.def_var(self.local(local), value);
        self.push1(value);
    }

    fn select(&mut self, ty: ValType) {
        let (x, y, condition) = self.pop3();
        let value = self.b.ins().select(condition, x, y);
        if is_ref(ty) {
            self.roots.mark(value);
        }
        self.push1(value);
    }

    fn numeric(&mut self, op: &Operator<'_>) {
        if !self.scalar(op) {
            self.simd(op);
        }
    }

    fn at_loop(&mut self, ordinal: u32) {
        if let Some(replacement) = &mut self.replacement {
            replacement.next_loop = Some(ordinal);
        }
    }

    fn enter(&mut self, kind: BlockKind, params: &[ValType], results: &[ValType]) {
        self.enter_block(kind, params, results);
    }

    fn else_(&mut self, reachable: bool) {
        self.else_arm(reachable);
    }

    fn end(&mut self, reachable: bool, continues: bool) {
        self.end_block(reachable, continues);
    }

    fn branch(&mut self, depth: u32) {
        self.jump_to(depth);
    }

    fn hint(&mut self, likely: bool) {
        self.hint = Some(likely);
    }

    fn branch_if(&mut self, depth: u32) {
        let condition = self.pop1();
        self.branch_if_value(condition, depth);
    }

    fn branch_if_value(&mut self, condition: Value, depth: u32) {
        self.jump_to_if(condition, depth);
    }

    fn branch_table(&mut self, targets: &[u32], default: u32) {
        self.jump_by_table(targets, default);
    }

    fn ret(&mut self) {
        let from = self.stack.len() - self.func_type().results().len();
        self.settle(from);
        let results = self.stack.split_off(from);
        self.return_values(&results);
    }

    fn constant(&mut self, value: Const) -> Value {
        match value {
            Const::I32(v) => self.b.ins().iconst(types::I32, i64::from(v)),
            Const::I64(v) => self.b.ins().iconst(types::I64, v as i64),
            Const::F32(v) => self.b.ins().f32const(ir::immediates::Ieee32::with_bits(v)),
            Const::F64(v) => self.b.ins().f64const(ir::immediates::Ieee64::with_bits(v)),
            Const::V128(v) => self.vector_const(v),
            Const::NullPointer => self.b.ins().iconst(POINTER, 0),
            Const::NullRef => self.b.ins().iconst(types::I32, 0),
        }
    }

    fn arith(&mut self, op: Arith, a: Value, b: Value) -> Value {
        match op {
            Arith::Add => self.b.ins().iadd(a, b),
            Arith::Sub => self.b.ins().isub(a, b),
            Arith::And => self.b.ins().band(a, b),
            Arith::Or => self.b.ins().bor(a, b),
            Arith::Shl => self.b.ins().ishl(a, b),
            Arith::ShrU => self.b.ins().ushr(a, b),
            Arith::ShrS => self.b.ins().sshr(a, b),
        }
    }

    fn compare(&mut self, op: Compare, a: Value, b: Value) -> Value {
        let result = if self.b.func.dfg.value_type(a).is_float() {
            let condition = match op {
                Compare::Eq => FloatCC::Equal,
                Compare::Ne => FloatCC::NotEqual,
                Compare::LtU => FloatCC::LessThan,
                Compare::GtU => FloatCC::GreaterThan,
                Compare::LeU => FloatCC::LessThanOrEqual,
                Compare::GeU => FloatCC::GreaterThanOrEqual,
            };
            self.b.ins().fcmp(condition, a, b)
        } else {
            let condition = match op {
                Compare::Eq => IntCC::Equal,
                Compare::Ne => IntCC::NotEqual,
                Compare::LtU => IntCC::UnsignedLessThan,
                Compare::GtU => IntCC::UnsignedGreaterThan,
                Compare::LeU => IntCC::UnsignedLessThanOrEqual,
                Compare::GeU => IntCC::UnsignedGreaterThanOrEqual,
            };
            self.b.ins().icmp(condition, a, b)
        };
        self.flag(result)
    }

    fn zero_extend(&mut self, value: Value) -> Value {
        self.b.ins().uextend(types::I64, value)
    }

    fn wrap(&mut self, value: Value) -> Value {
        self.b.ins().ireduce(types::I32, value)
    }

    fn is_null(&mut self, _top: HeapTop, value: Value) -> Value {
        // Null is 0 in every hierarchy.
        let result = self.b.ins().icmp_imm_u(IntCC::Equal, value, 0);
        self.flag(result)
    }

    fn load_field(&mut self, field: Field) -> Value {
        let (ty, flags, base, offset) = self.field(field);
        let value = self.b.ins().load(ty, flags, base, offset);
        if let Field::Global(i) = field
            && is_ref(self.module.globals[i.index()].ty.content)
        {
            self.roots.mark(value);
        }
        value
    }

    fn store_field(&mut self, field: Field, value: Value) {
        let (_, flags, base, offset) = self.field(field);
        self.b.ins().store(flags, value, base, offset);
    }

    fn func_ref(&mut self, func: FuncIndex) -> Value {
        let offset = self.layout.func_ref_of(self.module, func);
        self.b.ins().iadd_imm_u(self.context, i64::from(offset))
    }

    fn load_func_ref(
        &mut self,
        reference: Value,
        field: FuncRefField,
        null_trap: Option<Trap>,
    ) -> Value {
        let (offset, repr) = field.place();
        let flags = self.trusted(Region::Constant).with_trap_code(null_trap.map(trap_code));
        self.b.ins().load(clif_type(repr), flags, reference, offset as i32)
    }

    fn constant_index(&self, index: &Index<Value>) -> Option<u64> {
        self.constant_of(*index.as_value())
    }

    fn is_in_bounds(&self, memory: MemoryIndex, index: &Index<Value>, end: u64) -> bool {
        self.is_proven(memory, *index.as_value(), end)
    }

    fn in_bounds(&mut self, memory: MemoryIndex, index: &Index<Value>, end: u64) {
        self.note_proven(memory, *index.as_value(), end);
    }

    fn memory_addr(&mut self, memory: MemoryIndex, index: Index<Value>, offset: u64) -> Address {
        let memory_base = self.load_field(Field::MemoryBase(memory));
        let base = self.b.ins().iadd(memory_base, index.into_value());
        match i32::try_from(offset) {
            Ok(offset) => Address { base, offset },
            Err(_) => {
                let offset = self.b.ins().iconst(types::I64, offset as i64);
                Address { base: self.b.ins().iadd(base, offset), offset: 0 }
            }
        }
    }

    fn table_addr(&mut self, table: TableIndex, index: Index<Value>) -> Address {
        let element = self.module.tables[table.index()].ty.element;
        let size = table_element_size(element.heap.top());
        let table_base = self.load_field(Field::TableBase(table));
        let constant = self.constant_of(*index.as_value());
        let constant = constant.and_then(|index| index.checked_mul(size.into()));
        if let Some(offset) = constant.and_then(|offset| i32::try_from(offset).ok()) {
            return Address { base: table_base, offset };
        }
        let offset = self.b.ins().ishl_imm_u(index.into_value(), i64::from(size.trailing_zeros()));
        Address { base: self.b.ins().iadd(table_base, offset), offset: 0 }
    }

    fn guard_addr(&mut self, out_of_bounds: Value, addr: Address) -> Address {
        // The offset goes in first, so that the masked address is null itself.
        let full = match addr.offset {
            0 => addr.base,
            offset => self.b.ins().iadd_imm_u(addr.base, i64::from(offset)),
        };
        let null = self.b.ins().iconst(POINTER, 0);
        let base = self.b.ins().select_spectre_guard(out_of_bounds, null, full);
        Address { base, offset: 0 }
    }

    fn memory_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        may_fault: bool,
    ) -> Value {
        let Address { base, offset } = addr.into_inner();
        let trap = may_fault.then(|| trap_code(Trap::MemoryOutOfBounds));
        let flags = self.memory_flags(memory, trap);
        let ins = self.b.ins();
        match access {
            Access::Full(repr) => ins.load(clif_type(repr), flags, base, offset),
            Access::Narrow { bits, signed, to } => match (bits, signed) {
                (8, false) => ins.uload8(clif_type(to), flags, base, offset),
                (8, true) => ins.sload8(clif_type(to), flags, base, offset),
                (16, false) => ins.uload16(clif_type(to), flags, base, offset),
                (16, true) => ins.sload16(clif_type(to), flags, base, offset),
                (_, false) => ins.uload32(flags, base, offset),
                (_, true) => ins.sload32(flags, base, offset),
            },
            Access::Extend { lane_bits, signed } => {
                let value = match (lane_bits, signed) {
                    (8, false) => ins.uload8x8(flags, base, offset),
                    (8, true) => ins.sload8x8(flags, base, offset),
                    (16, false) => ins.uload16x4(flags, base, offset),
                    (16, true) => ins.sload16x4(flags, base, offset),
                    (_, false) => ins.uload32x2(flags, base, offset),
                    (_, true) => ins.sload32x2(flags, base, offset),
                };
                self.as_lanes(V128, value)
            }
            Access::Splat { lane_bits } => {
                let (lane, lanes) = Self::lane_types(lane_bits);
                let value = ins.load(lane, flags, base, offset);
                let value = self.b.ins().splat(lanes, value);
                self.as_lanes(V128, value)
            }
            Access::Zero { bits } => {
                let (lane, lanes) = Self::lane_types(bits);
                let value = ins.load(lane, flags, base, offset);
                let value = self.b.ins().scalar_to_vector(lanes, value);
                self.as_lanes(V128, value)
            }
        }
    }

    fn memory_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        value: Value,
        may_fault: bool,
    ) {
        let Address { base, offset } = addr.into_inner();
        let trap = may_fault.then(|| store_code(self.stores));
        self.stores = self.stores.wrapping_add(trap.is_some().into());
        let flags = self.memory_flags(memory, trap);
        let ins = self.b.ins();
        match access {
            Access::Narrow { bits: 8, .. } => ins.istore8(flags, value, base, offset),
            Access::Narrow { bits: 16, .. } => ins.istore16(flags, value, base, offset),
            Access::Narrow { .. } => ins.istore32(flags, value, base, offset),
            Access::Full(_) => ins.store(flags, value, base, offset),
            Access::Extend { .. } | Access::Splat { .. } | Access::Zero { .. } => {
                unreachable!("only loads extend")
            }
        };
    }

    fn atomic_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        may_fault: bool,
    ) -> Value {
        let flags = self.atomic_flags(memory, may_fault);
        let (addr, (in_memory, ty)) = (self.whole(addr), atomic_types(access));
        let value = self.b.ins().atomic_load(in_memory, flags, addr);
        self.widened(value, ty)
    }

    fn atomic_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        value: Value,
        may_fault: bool,
    ) {
        let flags = self.atomic_flags(memory, may_fault);
        let (addr, (in_memory, _)) = (self.whole(addr), atomic_types(access));
        let value = self.narrowed(value, access);
        if self.features.x86 {
            // Cranelift puts a fence behind a store, which takes four times as long as an exchange.
            self.b.ins().atomic_rmw(in_memory, flags, AtomicRmwOp::Xchg, addr, value);
        } else {
            self.b.ins().atomic_store(flags, value, addr);
        }
    }

    fn atomic_update(
        &mut self,
        memory: MemoryIndex,
        op: AtomicOp,
        access: Access,
        addr: Addr<Address>,
        value: Value,
        may_fault: bool,
    ) -> Value {
        let flags = self.atomic_flags(memory, may_fault);
        let (addr, (in_memory, ty)) = (self.whole(addr), atomic_types(access));
        let value = self.narrowed(value, access);
        let op = match op {
            AtomicOp::Add => AtomicRmwOp::Add,
            AtomicOp::Sub => AtomicRmwOp::Sub,
            AtomicOp::And => AtomicRmwOp::And,
            AtomicOp::Or => AtomicRmwOp::Or,
            AtomicOp::Xor => AtomicRmwOp::Xor,
            AtomicOp::Exchange => AtomicRmwOp::Xchg,
        };
        let old = self.b.ins().atomic_rmw(in_memory, flags, op, addr, value);
        self.widened(old, ty)
    }

    fn atomic_compare_exchange(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        values: [Value; 2],
        may_fault: bool,
    ) -> Value {
        let flags = self.atomic_flags(memory, may_fault);
        let (addr, (_, ty)) = (self.whole(addr), atomic_types(access));
        let [expected, replacement] = values.map(|value| self.narrowed(value, access));
        let old = self.b.ins().atomic_cas(flags, addr, expected, replacement);
        self.widened(old, ty)
    }

    fn fence(&mut self) {
        self.b.ins().fence();
    }

    fn copy_bytes(&mut self, target: Addr<Address>, source: Addr<Address>, length: Value) {
        let (target, source) = (self.whole(target), self.whole(source));
        self.call_routine(Field::CopyRoutine, [types::I64; 3], [target, source, length]);
    }

    fn fill_bytes(&mut self, target: Addr<Address>, byte: Value, length: Value) {
        let target = self.whole(target);
        let params = [types::I64, types::I32, types::I64];
        self.call_routine(Field::FillRoutine, params, [target, byte, length]);
    }

    fn fill_elements(&mut self, target: Addr<Address>, halves: [Value; 2], length: Value) {
        let target = self.whole(target);
        let [low, high] = halves;
        let args = [target, low, high, length];
        self.call_routine(Field::FillElementsRoutine, [types::I64; 4], args);
    }

    fn data_addr(&mut self, segment: DataIndex, place: Index<Value>) -> Address {
        let base = self.load_field(Field::DataBase(segment));
        Address { base: self.b.ins().iadd(base, place.into_value()), offset: 0 }
    }

    fn table_load(&mut self, table: TableIndex, addr: Addr<Address>) -> Value {
        let Address { base, offset } = addr.into_inner();
        let (ty, flags) = self.table_flags(table);
        let value = self.b.ins().load(ty, flags, base, offset);
        if is_ref(ValType::Ref(self.module.tables[table.index()].ty.element)) {
            self.roots.mark(value);
        }
        value
    }

    fn table_store(&mut self, table: TableIndex, addr: Addr<Address>, value: Value) {
        let Address { base, offset } = addr.into_inner();
        let (_, flags) = self.table_flags(table);
        self.b.ins().store(flags, value, base, offset);
    }

    fn replace_lane(&mut self, lane_bits: u8, lane: u8, vector: Value, scalar: Value) -> Value {
        let (lane_ty, lanes) = Self::lane_types(lane_bits);
        let scalar = if lane_bits < 32 { self.b.ins().ireduce(lane_ty, scalar) } else { scalar };
        let vector = self.as_lanes(lanes, vector);
        let vector = self.b.ins().insertlane(vector, scalar, lane);
        self.as_lanes(V128, vector)
    }

    fn extract_lane(&mut self, lane_bits: u8, lane: u8, vector: Value) -> Value {
        let (_, lanes) = Self::lane_types(lane_bits);
        let vector = self.as_lanes(lanes, vector);
        let scalar = self.b.ins().extractlane(vector, lane);
        if lane_bits < 32 { self.flag(scalar) } else { scalar }
    }

    fn allocate(&mut self, ty: TypeIndex, bytes: u32, length: Option<u32>) -> Value {
        self.new_object(ty, bytes, length)
    }

    fn allocate_array(&mut self, ty: TypeIndex, element_bytes: u32) -> Value {
        self.new_array(ty, element_bytes)
    }

    fn heap_load(
        &mut self,
        object: Value,
        offset: u32,
        region: Region,
        access: Access,
        null_trap: bool,
    ) -> Value {
        self.load_object(object, offset, region, access, null_trap)
    }

    fn heap_addr(&mut self, place: Index<Value>, offset: u32) -> Address {
        let base = self.load_field(Field::GcBase);
        let base = self.b.ins().iadd(base, place.into_value());
        Address { base, offset: offset as i32 }
    }

    fn heap_store(
        &mut self,
        object: Value,
        offset: u32,
        region: Region,
        access: Access,
        value: Value,
        null_trap: bool,
    ) {
        self.store_object(object, offset, region, access, value, null_trap);
    }

    fn is_constant_null(&self, value: &Value) -> bool {
        // Null, and any `i31`: constants are no objects.
        self.constant_of(*value).is_some()
    }

    fn func_of_id(&mut self, index: Index<Value>) -> Value {
        self.load_func_of_id(index.into_value())
    }

    fn slow(
        &mut self,
        condition: Value,
        builtin: Builtin,
        first: u32,
        args: SmallVec<[Value; 4]>,
        otherwise: Option<Value>,
    ) -> Option<Value> {
        self.slow_builtin(condition, builtin, first, &args, otherwise)
    }

    fn ref_test(&mut self, value: Value, test: RefTest) -> Value {
        self.test_reference(value, test)
    }

    fn ref_cast(&mut self, value: Value, test: RefTest, info: TrapInfo) {
        self.cast_reference(value, test, info);
    }

    fn trap_if(&mut self, condition: Value, info: TrapInfo, details: Details<Value>) {
        match self.code_of_check(condition, info, &details) {
            Some(code) => _ = self.b.ins().trapnz(condition, code),
            None => self.raise_if(condition, info, &details),
        }
    }

    fn trap(&mut self, info: TrapInfo) {
        self.raise(info, &[]);
    }

    fn builtin(
        &mut self,
        builtin: Builtin,
        first: u32,
        second: u32,
        args: SmallVec<[Value; 4]>,
    ) -> Option<Value> {
        if !builtin.may_collect() {
            let call = self.call_builtin(builtin, first, second, &args);
            return self.b.inst_results(call).first().copied();
        }
        let saved = self.save_roots(self.stack.len());
        let call = self.call_builtin(builtin, first, second, &args);
        self.reload_roots(call, &saved);
        let result = self.b.inst_results(call).first().copied();
        if let (Some(value), Some(Word::Ref)) = (result, builtin.result()) {
            self.roots.mark(value);
        }
        result
    }

    fn enter_scope(&mut self, scope: Scope, catches: &[Catch], outer: Option<Scope>) {
        self.add_scope(scope, catches, outer);
    }

    fn landing(&mut self, scope: Scope, catch: usize) {
        self.land(scope, catch);
    }

    fn jump_to_landing(&mut self, scope: Scope, catch: usize) {
        self.go_to_landing(scope, catch);
    }

    fn throw(&mut self, tag: Value, scope: Option<Scope>) {
        self.throw_in(tag, scope);
    }

    fn store_payload(&mut self, index: u32, _repr: Repr, value: Value) {
        let base = self.load_field(Field::Payload);
        // A function type has at most 1,000 parameters.
        let offset = (index * PAYLOAD_SLOT) as i32;
        self.b.ins().store(Self::area_flags(), value, base, offset);
    }

    fn load_payload(&mut self, index: u32, repr: Repr) -> Value {
        let base = self.load_field(Field::Payload);
        let offset = (index * PAYLOAD_SLOT) as i32;
        let value = self.b.ins().load(clif_type(repr), Self::area_flags(), base, offset);
        if repr == Repr::Ref {
            self.roots.mark(value);
        }
        value
    }

    fn call(&mut self, callee: Callee<Value>, ty: TypeIndex, tail: bool, scope: Option<Scope>) {
        let shape = self.shape(ty);
        let CallShape { signature, layout } = &*shape;
        let (func, code, context) = match callee {
            Callee::Direct(func) if !(self.is_final)(func) => {
                (None, Some(self.load_field(Field::CodeSlot(func))), self.context)
            }
            Callee::Direct(func) => (Some(self.direct(func, *signature)), None, self.context),
            Callee::Import(func) => {
                let code = self.load_field(Field::ImportCode(func));
                (None, Some(code), self.load_field(Field::ImportContext(func)))
            }
            Callee::Pointer { code, context } => {
                (None, Some(code), self.predicted_context(context))
            }
        };
        let area = match (layout.area_bytes, tail) {
            (0, _) => None,
            // spec (return_call): the callee's results are this function's, so it has an area too,
            // of the same size.
            (_, true) => Some(self.area.expect("results match those of the callee")),
            (bytes, false) => Some(self.result_area(bytes)),
        };
        let from = self.stack.len() - layout.params.len();
        self.settle(from);
        let mut args: SmallVec<[Value; 8]> = SmallVec::new();
        args.push(context);
        args.extend(area);
        args.extend(self.stack.drain(from..));
        if tail {
            match (func, code) {
                (Some(func), _) => self.b.ins().return_call(func, &args),
                (None, Some(code)) => self.b.ins().return_call_indirect(*signature, code, &args),
                (None, None) => unreachable!("a callee is a function or an address"),
            };
            return;
        }
        let results = self.call_in(scope, func, code, *signature, &args, from);
        let mut in_registers = 0;
        for (loc, ty) in
            layout.results.iter().zip(self.module.types[ty.index()].func_type().results())
        {
            let value = match loc {
                ResultLoc::Int(_) | ResultLoc::Vector(_) => {
                    in_registers += 1;
                    results[in_registers - 1]
                }
                ResultLoc::Area(offset) => {
                    let area = area.expect("a result lies in it");
                    let ty = clif_type(Repr::of(*ty));
                    self.b.ins().load(ty, Self::area_flags(), area, *offset as i32)
                }
            };
            if is_ref(*ty) {
                self.roots.mark(value);
            }
            self.stack.push(value);
        }
    }
}

//! The operations of [`Emit`] as x86-64 code: prologue and epilogue, locals, fields, memory, traps.
//!
//! Invariant: between two instructions of the program no expansion holds a register, and a truth value
//! is left in the flags only if the very next instruction uses it.

use crate::asm::*;
use crate::check;
use crate::claims::ZeroClaim;
use crate::control::Frame;
use crate::exceptions::Scopes;
use crate::heap::Places;
use crate::scan::Uses;
use crate::state::*;
use smallvec::SmallVec;
use wardian_module::abi::{ArgLoc, CallLayout};
use wardian_module::image::{ExceptionTable, Location, StackMaps, TrapSite};
use wardian_module::layout::{Field, LIVE_SLOT, LOOPING, Linkage, Repr, VmLayout};
use wardian_module::{
    Builtin, DefinedFuncIndex, FuncIndex, MemoryIndex, MemoryPlan, Module, Operation, Settings,
    Trap, TypeIndex, ValType,
};

/// What the processor offers beyond plain x86-64.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Features {
    pub sse3: bool,
    pub ssse3: bool,
    pub sse41: bool,
    pub sse42: bool,
    pub popcnt: bool,
    pub lzcnt: bool,
    pub bmi1: bool,
    pub bmi2: bool,
    pub avx: bool,
    pub fma: bool,
}

impl Features {
    /// What this processor has.
    pub fn detect() -> Features {
        #[cfg(target_arch = "x86_64")]
        {
            Features {
                sse3: is_x86_feature_detected!("sse3"),
                ssse3: is_x86_feature_detected!("ssse3"),
                sse41: is_x86_feature_detected!("sse4.1"),
                sse42: is_x86_feature_detected!("sse4.2"),
                popcnt: is_x86_feature_detected!("popcnt"),
                lzcnt: is_x86_feature_detected!("lzcnt"),
                bmi1: is_x86_feature_detected!("bmi1"),
                bmi2: is_x86_feature_detected!("bmi2"),
                avx: is_x86_feature_detected!("avx"),
                fma: is_x86_feature_detected!("fma"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Features::default()
    }
}

/// By opcode, whether it takes a condition: br_if, if, select, i32.eqz. A table, since nobody could foresee
/// where a jump by opcode goes.
static TAKES_CONDITION: [bool; 256] = {
    let mut takes = [false; 256];
    let mut index = 0;
    while index < 5 {
        takes[[0x04, 0x0d, 0x1b, 0x1c, 0x45][index]] = true;
        index += 1;
    }
    takes
};

/// Moves to particular registers.
pub(crate) type Moves = SmallVec<[(Loc, Repr, Reg); 8]>;

/// Registers of integer arguments.
pub(crate) const INT_ARGS: [Reg; 6] = [RDI, RSI, RDX, RCX, R8, R9];

/// Operands of frames above this many, a loop's frame is not replaced.
const MAX_LIVE_OPERANDS: usize = 64;
/// Frame bytes above which the tier gives up.
const MAX_FRAME: u32 = 16 << 20;
/// Code bytes above which the tier gives up.
const MAX_CODE: u32 = 256 << 20;

/// Code that lies behind the function, since it rarely runs.
struct Cold {
    label: Label,
    location: u32,
    kind: ColdKind,
}

/// Small, as there is one in every loop: what few have is boxed.
pub(crate) enum ColdKind {
    /// Faults: the trap table says what it means.
    Fault(Trap),
    /// Calls the host to raise a trap.
    Raise { operation: u64, details: SmallVec<[(Loc, Repr); 2]> },
    /// Raises a stack overflow before there is a frame: the context is where it was passed.
    Overflow,
    /// The counter has run out, on entry (0) or in a loop.
    Count { ordinal: u32, back: Label, live: Option<Vec<(Loc, Repr)>> },
    /// The epoch deadline has come, on entry or in a loop.
    Epoch { entry: bool, places: Places, back: Label },
    /// There is no room for a new object.
    Allocate { operation: Operation, moves: Box<Moves>, places: Places, back: Label },
    /// A builtin that rarely runs, which leaves these registers as they are.
    Slow { operation: Operation, moves: Box<Moves>, saved: u32, result: Option<Reg>, back: Label },
    /// There is less than this fuel: undoes what was taken, and traps.
    Fuel { fuel: i32 },
    /// A conversion to a signed integer gave the lowest one: is it right?
    CheckConversion { wide: bool, double: bool, source: Reg, back: Label },
    /// A conversion of a value that no integer stands for, or not a number.
    BadConversion { double: bool, source: Reg },
}

/// One function on its way to machine code.
pub(crate) struct Tier<'a> {
    pub(crate) s: &'a mut State,
    pub(crate) uses: &'a Uses,
    pub(crate) module: &'a Module,
    pub(crate) settings: &'a Settings,
    pub(crate) features: Features,
    layout: &'a VmLayout,
    pub(crate) linkage: Linkage,
    /// Whether it counts how often it runs (`Linkage`).
    pub(crate) counts: bool,
    func: DefinedFuncIndex,
    ty: TypeIndex,
    /// This function's own call layout.
    pub(crate) own: &'a CallLayout,
    pub(crate) b: &'a mut Buffers,
    /// The local that the next instruction sets, or `NONE`.
    next_set: u32,
    /// Whether the next instruction takes a condition.
    next_tests: bool,
    gave_up: bool,
    /// Where code stems from, for what may trap or call.
    location: u32,
    /// Whether that is recorded for all code.
    pub(crate) every_location: bool,
    /// Locals in registers of their own.
    pins: SmallVec<[(u32, Reg); 13]>,
    /// That of the base of memory 0, or `NO_REG`.
    pub(crate) base_pin: Reg,
    /// Those of them that a call does not keep.
    unsaved: SmallVec<[(u32, Reg); 8]>,
    /// Where callee-saved registers were put.
    saved: SmallVec<[(Reg, i32); 5]>,
    /// Where the frame counts for loops: NOTE [counting turns].
    turns: Option<i32>,
    /// Position of the frame's size in the prologue.
    frame_size_at: [u32; 2],
    /// Most bytes of results that a call leaves in this frame.
    max_area: u32,
    /// Most bytes of stack arguments.
    max_args: u32,
    /// Bytes that a call takes of the stack, once they are known.
    pub(crate) frame_bytes: u32,
    /// Ordinal of the loop that is entered next.
    pub(crate) next_loop: u32,
    /// Where frames that are replaced write their locals.
    leave: Option<Label>,
    /// Homes of locals that are references.
    pub(crate) ref_homes: Vec<i32>,
    /// Places in stack maps so far.
    pub(crate) place_count: usize,
}

/// What is allocated once for many functions.
#[derive(Default)]
pub(crate) struct Buffers {
    pub(crate) frames: Vec<Frame>,
    /// Types of the frames' blocks.
    pub(crate) reprs: Vec<Repr>,
    /// Where parameters of second arms are.
    pub(crate) arms: Vec<Loc>,
    /// Labels of code that `br_table` reaches labels through, by depth; all `None` in between.
    pub(crate) ways: Vec<Option<Label>>,
    pub(crate) locations: Vec<Location>,
    pub(crate) traps: Vec<TrapSite>,
    cold: Vec<Cold>,
    pub(crate) constants: Vec<(Label, u128)>,
    /// Representations of the locals.
    locals: Vec<Repr>,
    pub(crate) stack_maps: StackMaps,
    pub(crate) scopes: Scopes,
    pub(crate) exceptions: ExceptionTable,
}

impl Buffers {
    fn clear(&mut self) {
        self.frames.clear();
        self.reprs.clear();
        self.arms.clear();
        self.ways.clear();
        self.locations.clear();
        self.traps.clear();
        self.cold.clear();
        self.constants.clear();
        self.locals.clear();
        self.stack_maps = StackMaps::default();
        self.scopes.clear();
        self.exceptions.calls.clear();
        self.exceptions.handlers.clear();
    }
}

impl<'a> Tier<'a> {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        s: &'a mut State,
        b: &'a mut Buffers,
        uses: &'a Uses,
        module: &'a Module,
        layout: &'a VmLayout,
        settings: &'a Settings,
        features: Features,
        linkage: Linkage,
        func: DefinedFuncIndex,
        start: u32,
    ) -> Tier<'a> {
        let ty = module.funcs[module.func_index(func).index()];
        s.clear();
        b.clear();
        Tier {
            s,
            uses,
            module,
            settings,
            features,
            layout,
            linkage,
            counts: linkage == Linkage::Slots,
            func,
            ty,
            own: module.types[ty.index()].call_layout(),
            b,
            next_set: NONE,
            next_tests: false,
            gave_up: false,
            location: start,
            every_location: false,
            pins: SmallVec::new(),
            base_pin: NO_REG,
            unsaved: SmallVec::new(),
            saved: SmallVec::new(),
            turns: None,
            frame_size_at: [0; 2],
            max_area: 0,
            max_args: 0,
            frame_bytes: 0,
            next_loop: 0,
            leave: None,
            ref_homes: Vec::new(),
            place_count: 0,
        }
    }

    pub(crate) fn func_type(&self) -> &'a wardian_module::FuncType {
        self.module.types[self.ty.index()].func_type()
    }

    // ---- which locals get registers ----

    fn choose_pins(&self, reprs: &[Repr]) -> SmallVec<[(u32, Reg); 13]> {
        let uses = self.uses;
        if uses.handlers {
            // [frame only] in `exceptions`
            return SmallVec::new();
        }
        // What a register saves must outweigh what keeping it costs: once for those that survive
        // calls, at every call for the others.
        let saved_cost = 3;
        let unsaved_cost = uses.calls().saturating_mul(3).saturating_add(2);
        let room = self.general_pins().count();
        let mut general: SmallVec<[(u32, u32); 7]> = SmallVec::new();
        let mut vector: SmallVec<[(u32, u32); 8]> = SmallVec::new();
        let base = if self.s.base_path.is_some() { uses.memory() } else { 0 };
        keep_heaviest(&mut general, room, BASE, base);
        let context = uses.globals().saturating_add(uses.calls());
        keep_heaviest(&mut general, room, CONTEXT, context);
        for (local, repr) in reprs.iter().enumerate() {
            let weight = uses.local(local);
            let local = local as u32 + FIRST;
            if *repr == Repr::Ref {
                // Invariant [roots] of `heap`.
                continue;
            }
            match bank(*repr) {
                Bank::General => keep_heaviest(&mut general, room, local, weight),
                Bank::Vector => keep_heaviest(&mut vector, VECTOR_PINS.len(), local, weight),
            }
        }
        let mut pins = SmallVec::new();
        for ((local, weight), reg) in general.into_iter().zip(self.general_pins()) {
            let cost = if CALLEE_SAVED & 1 << reg != 0 { saved_cost } else { unsaved_cost };
            if weight > cost {
                pins.push((local, reg));
            }
        }
        for ((local, weight), reg) in vector.into_iter().zip(VECTOR_PINS) {
            if weight > unsaved_cost {
                pins.push((local, reg));
            }
        }
        pins
    }
}

/// Keeps the `room` heaviest, heaviest first.
fn keep_heaviest<const N: usize>(
    list: &mut SmallVec<[(u32, u32); N]>,
    room: usize,
    local: u32,
    weight: u32,
) where
    [(u32, u32); N]: smallvec::Array<Item = (u32, u32)>,
{
    if weight == 0 || list.len() == room && list[room - 1].1 >= weight {
        return;
    }
    let position = list.iter().position(|(_, other)| *other < weight).unwrap_or(list.len());
    list.insert(position, (local, weight));
    list.truncate(room);
}

impl<'a> Tier<'a> {
    // ---- prologue and epilogue ----

    fn add_locals(&mut self, locals: &[(u32, ValType)]) {
        let ty = self.func_type();
        let params = ty.params().iter().map(|ty| Repr::of(*ty));
        let declared = locals
            .iter()
            .flat_map(|(count, ty)| std::iter::repeat_n(Repr::of(*ty), *count as usize));
        let mut reprs = std::mem::take(&mut self.b.locals);
        reprs.extend(params.chain(declared));
        self.s.base_path = self.fixed_base();
        self.pins = self.choose_pins(&reprs);
        let mut saved = self.pins.iter().fold(0, |saved, (_, reg)| saved | 1 << reg);
        if self.uses.handlers {
            saved = CALLEE_SAVED;
        }
        for reg in self.general_pins() {
            if CALLEE_SAVED & saved & 1 << reg != 0 {
                self.s.operand_base += 8;
                self.saved.push((reg, -(self.s.operand_base as i32)));
            }
        }
        if self.counts && self.uses.has_loops() {
            self.s.operand_base += 8;
            self.turns = Some(-(self.s.operand_base as i32));
        }
        let kept = |reg: Reg| CALLEE_SAVED & 1 << reg != 0;
        self.unsaved = self.pins.iter().copied().filter(|(_, reg)| !kept(*reg)).collect();
        if !self.pins.iter().any(|(_, reg)| *reg == R10) {
            self.s.temps |= 1 << R10;
        }
        for reg in VECTOR_PINS {
            if !self.pins.iter().any(|(_, pin)| *pin == reg) {
                self.s.temps |= 1 << reg;
            }
        }
        for _ in 0..FIRST {
            self.s.add_local(Repr::Pointer);
        }
        for repr in &reprs {
            self.s.add_local(*repr);
        }
        self.b.locals = reprs;
        for (local, reg) in &self.pins {
            self.s.locals[*local as usize].pinned = *reg;
        }
        self.base_pin = self.s.locals[BASE as usize].pinned;
        for local in 0..self.s.locals.len() as u32 {
            let used = local < FIRST || self.uses.is_used(local - FIRST);
            self.s.place_local(local, used);
        }
    }

    /// Where the base of memory 0 is read, if it never changes.
    fn fixed_base(&self) -> Option<(Option<u32>, u32)> {
        let memory = self.module.memories.first()?;
        if MemoryPlan::new(self.settings, memory).may_move {
            return None;
        }
        let path = self.layout.path(self.module, Field::MemoryBase(MemoryIndex(0)));
        Some((path.through, path.offset))
    }

    fn prologue(&mut self) {
        self.move_to(self.location);
        ins!(self.s.asm, pushq_o, RBP);
        ins!(self.s.asm, movq_rm, RBP, RSP);
        self.check_stack();
        ins!(self.s.asm, subq_mi_sxl, RSP, 0i32);
        self.frame_size_at[1] = self.s.asm.here() - 4;
        for &(reg, disp) in &self.saved {
            self.s.store(at(RBP, disp), reg, Repr::I64);
        }
        // Arguments go where their locals live; argument registers go on to cache homes.
        self.receive(CONTEXT, ArgLoc::Int(0), Repr::Pointer);
        if self.own.area_bytes > 0 {
            self.receive(AREA, ArgLoc::Int(1), Repr::Pointer);
        }
        let ty = self.func_type();
        for (index, place) in self.own.params.iter().enumerate() {
            self.receive(index as u32 + FIRST, *place, Repr::of(ty.params()[index]));
        }
        if self.s.locals[BASE as usize].pinned != NO_REG {
            let base = self.s.locals[BASE as usize].pinned;
            self.s.load_base(base);
        }
    }

    /// Traps unless the whole frame fits the stack.
    fn check_stack(&mut self) {
        let path = self.layout.path(self.module, Field::StackLimit);
        let through = path.through.expect("the limit lies in the store's context") as i32;
        self.s.load(R11, at(RDI, through), Repr::Pointer);
        ins!(self.s.asm, leaq_rm, RAX, at(RSP, i32::MAX));
        self.frame_size_at[0] = self.s.asm.here() - 4;
        ins!(self.s.asm, cmpq_rm, RAX, at(R11, path.offset as i32));
        let kind = match self.settings.signals_based_traps {
            true => ColdKind::Fault(Trap::StackOverflow),
            false => ColdKind::Overflow,
        };
        let label = self.cold(kind);
        self.s.asm.jcc(Cond::B, label);
    }

    /// Takes an argument.
    fn receive(&mut self, local: u32, place: ArgLoc, repr: Repr) {
        let Local { pinned, disp, .. } = self.s.locals[local as usize];
        let reg = match place {
            ArgLoc::Int(n) => INT_ARGS[n as usize],
            ArgLoc::Vector(n) => XMM0 + n,
            ArgLoc::Stack(offset) => {
                // It stays where the caller put it.
                let home = 16 + offset as i32;
                if pinned == NO_REG {
                    self.s.locals[local as usize].disp = home;
                } else {
                    self.s.load(pinned, at(RBP, home), repr);
                }
                return;
            }
        };
        if pinned != NO_REG {
            self.move_clean(pinned, reg, repr);
            return;
        }
        let used = local < FIRST || self.uses.is_used(local - FIRST);
        if used {
            self.s.store(at(RBP, disp), reg, repr);
            if matches!(repr, Repr::I32 | Repr::Ref) {
                ins!(self.s.asm, movl_rm, reg, reg);
            }
            self.s.cache(local, reg);
        }
    }

    /// Copies a register that came from outside: see [clean i32].
    fn move_clean(&mut self, dst: Reg, src: Reg, repr: Repr) {
        match repr {
            Repr::I32 | Repr::Ref => ins!(self.s.asm, movl_rm, dst, src),
            repr => self.s.move_reg(dst, src, repr),
        }
    }

    /// Gives declared locals, from `first` on, their zeros.
    fn zero_locals(&mut self, first: u32) {
        let mut homes: SmallVec<[i32; 16]> = SmallVec::new();
        let mut all = 0u32;
        let (mut low, mut high) = (0, i32::MIN);
        for index in first..self.s.locals.len() as u32 {
            let Local { pinned, disp, repr, .. } = self.s.locals[index as usize];
            if pinned != NO_REG {
                match bank(repr) {
                    Bank::General => ins!(self.s.asm, xorl_rm, pinned, pinned),
                    Bank::Vector => ins!(self.s.asm, xorps_a, xmm(pinned), xmm(pinned)),
                }
                continue;
            }
            let bytes = repr.bytes().max(8) as i32;
            low = low.min(disp);
            high = high.max(disp + bytes);
            if self.uses.is_used(index - FIRST) {
                all += 1;
                if homes.len() < 16 {
                    homes.push(disp);
                    if bytes == 16 {
                        homes.push(disp + 8);
                    }
                }
            }
        }
        if all <= 12 {
            for home in homes {
                ins!(self.s.asm, movq_mi_sxl, at(RBP, home), 0i32);
            }
            return;
        }
        let end = self.s.alloc(Bank::General);
        ins!(self.s.asm, leaq_rm, R11, at(RBP, low));
        ins!(self.s.asm, leaq_rm, end, at(RBP, high));
        let again = self.s.asm.bound_label();
        if check::ON {
            let start = self.s.asm.here();
            let (code, frame) = ((start, start + 1), (low, high));
            self.s.claims.zeros.push(ZeroClaim { code, frame });
        }
        ins!(self.s.asm, movq_mi_sxl, at(R11, 0), 0i32);
        ins!(self.s.asm, addq_mi_sxb, R11, 8i8);
        ins!(self.s.asm, cmpq_rm, R11, end);
        self.s.asm.jcc(Cond::B, again);
        self.s.unhold(end);
    }

    /// Restores the caller's registers and frame.
    pub(crate) fn epilogue(&mut self) {
        self.restore_saved();
        ins!(self.s.asm, movq_rm, RSP, RBP);
        ins!(self.s.asm, popq_o, RBP);
    }

    pub(crate) fn ret_instruction(&mut self) {
        match self.own.stack_bytes {
            0 => ins0!(self.s.asm, retq_zo),
            // At most 1,000 parameters of 16 bytes.
            bytes => ins0!(self.s.asm, retq_i, bytes as u16),
        }
    }

    /// Everything that lies behind the function's body, and the size of its frame.
    pub(crate) fn finish(&mut self) {
        let start = self.module.bodies[self.func.index()].start as u32;
        // Nothing cached here is cached where cold code is reached from.
        self.s.forget(u32::MAX);
        while let Some(Cold { label, location, kind }) = self.b.cold.pop() {
            self.move_to(location);
            self.s.asm.bind(label);
            self.cold_code(kind);
        }
        self.move_to(start);
        if let Some(label) = self.leave.take() {
            self.s.asm.bind(label);
            self.write_live_locals();
        }
        for (label, bits) in std::mem::take(&mut self.b.constants) {
            self.s.asm.align(16, 0xcc);
            self.s.asm.bind(label);
            self.s.asm.data(&bits.to_le_bytes());
        }
        let frame = self.s.operand_base + self.s.max_operands;
        let frame = frame.next_multiple_of(16) + self.max_area;
        let frame = frame.next_multiple_of(16);
        let checked = frame + self.max_args + 16;
        self.s.asm.set_word(self.frame_size_at[0], (checked as i32).wrapping_neg() as u32);
        self.s.asm.set_word(self.frame_size_at[1], frame);
        // Arguments lie below it while a call is prepared; return address and `rbp` above it.
        self.frame_bytes = checked;
        self.finish_exceptions(frame);
        self.s.asm.resolve();
    }

    /// Takes no more of this function, which is then validated only.
    pub(crate) fn give_up(&mut self) {
        self.s.stopped = true;
        self.gave_up = true;
    }

    /// Finds out whether the function is too large by now: at a block's start or end, which is often enough
    /// to stop in time.
    pub(crate) fn measure(&mut self) {
        self.s.stopped |= self.too_large();
    }

    pub(crate) fn too_large(&self) -> bool {
        let frame = u64::from(self.s.operand_base)
            + u64::from(self.s.max_operands)
            + u64::from(self.max_area)
            + u64::from(self.max_args);
        self.gave_up || frame > u64::from(MAX_FRAME) || self.s.asm.here() > MAX_CODE
    }

    // ---- places where code traps or calls ----

    /// What follows stems from this offset of the module's bytes.
    #[inline]
    fn move_to(&mut self, location: u32) {
        self.location = location;
        if self.every_location {
            self.mark_for_show();
        }
    }

    #[cold]
    #[inline(never)]
    fn mark_for_show(&mut self) {
        self.mark();
    }

    /// The code emitted next stems from the current instruction.
    pub(crate) fn mark(&mut self) {
        let offset = self.s.asm.here();
        match self.b.locations.last_mut() {
            Some(last) if last.wasm == self.location => {}
            Some(last) if last.offset == offset => last.wasm = self.location,
            _ => self.b.locations.push(Location { offset, wasm: self.location }),
        }
    }

    /// The instruction emitted next may fault, which means `trap`.
    pub(crate) fn may_fault(&mut self, trap: Trap) {
        self.mark();
        self.b.traps.push(TrapSite { offset: self.s.asm.here(), trap });
    }

    /// A label of code that is emitted behind the function.
    pub(crate) fn cold(&mut self, kind: ColdKind) -> Label {
        let label = self.s.asm.label();
        self.b.cold.push(Cold { label, location: self.location, kind });
        label
    }

    fn cold_code(&mut self, kind: ColdKind) {
        match kind {
            ColdKind::Fault(trap) => {
                self.may_fault(trap);
                self.s.asm.undefined();
            }
            ColdKind::Raise { operation, details } => {
                let mut moves: Moves = SmallVec::new();
                for ((loc, repr), reg) in details.into_iter().zip([RDX, RCX]) {
                    moves.push((loc, repr, reg));
                }
                self.call_shim(operation, moves);
                self.s.asm.undefined();
            }
            ColdKind::Overflow => {
                self.s.asm.constant(RSI, Operation::raise(Trap::StackOverflow, 0).pack());
                self.mark();
                let shim = self.layout.path(self.module, Field::BuiltinShim).offset;
                ins!(self.s.asm, callq_m, in_module_table(shim));
                self.s.asm.undefined();
            }
            ColdKind::Count { ordinal, back, live } => self.count_ran_out(ordinal, back, live),
            ColdKind::Epoch { entry, places, back } => self.epoch_reached(entry, places, back),
            ColdKind::Allocate { operation, moves, places, back } => {
                self.allocate_slowly(operation, *moves, places, back);
            }
            ColdKind::Slow { operation, moves, saved, result, back } => {
                self.call_slowly(operation, *moves, saved, result, back);
            }
            ColdKind::Fuel { fuel } => self.fuel_ran_out(fuel),
            ColdKind::CheckConversion { wide, double, source, back } => {
                self.check_conversion(wide, double, source, back);
            }
            ColdKind::BadConversion { double, source } => self.bad_conversion(double, source),
        }
    }

    /// Calls the builtin shim with arguments from `moves`; context and operation are added.
    pub(crate) fn call_shim(&mut self, operation: u64, mut moves: Moves) {
        let own =
            [(Loc::Local(CONTEXT), Repr::Pointer, RDI), (Loc::Const(operation), Repr::I64, RSI)];
        if moves.is_empty() {
            // As nearly always; neither is in the other's way.
            own.into_iter().for_each(|(loc, repr, reg)| self.s.copy_to(reg, loc, repr));
        } else {
            moves.extend(own);
            self.parallel_move(&moves);
        }
        self.mark();
        let shim = self.layout.path(self.module, Field::BuiltinShim).offset;
        ins!(self.s.asm, callq_m, in_module_table(shim));
    }

    /// Calls a routine of the host that needs no shim.
    pub(crate) fn call_routine<const N: usize>(&mut self, field: Field, args: [Value; N]) {
        self.s.clobber_flags();
        self.s.settle_regs(self.s.stack.len());
        self.save_pins();
        let targets = args.iter().zip([RDI, RSI, RDX, RCX]);
        let moves: Moves = targets.map(|(value, reg)| (value.loc(), value.repr(), reg)).collect();
        self.parallel_move(&moves);
        let routine = self.layout.path(self.module, field).offset;
        ins!(self.s.asm, callq_m, in_module_table(routine));
        for value in args {
            self.s.release(value);
        }
        self.s.forget(self.s.temps);
        self.restore_pins();
    }

    /// Where a value is, in terms of registers and memory.
    pub(crate) fn physical(&self, loc: Loc) -> Loc {
        match loc {
            Loc::Local(local) => match self.s.local_reg(local) {
                NO_REG if local == BASE => loc,
                NO_REG => Loc::Frame(self.s.locals[local as usize].disp),
                reg => Loc::Reg(reg),
            },
            loc => loc,
        }
    }

    /// Does all moves at once. Uses scratch registers only beside the targets.
    pub(crate) fn parallel_move(&mut self, moves: &[(Loc, Repr, Reg)]) {
        // There are no more targets than registers.
        let mut room = [(0, Repr::I32, 0); 32];
        let mut count = 0;
        let mut from_memory = false;
        for (loc, repr, dst) in moves {
            match self.physical(*loc) {
                Loc::Reg(src) if src == *dst => {}
                Loc::Reg(src) => {
                    room[count] = (src, *repr, *dst);
                    count += 1;
                }
                _ => from_memory = true,
            }
        }
        while count > 0 {
            let pending = &mut room[..count];
            let sources = pending.iter().fold(0u32, |mask, (src, _, _)| mask | 1 << src);
            match pending.iter().position(|(_, _, dst)| sources & 1 << dst == 0) {
                Some(free) => {
                    let (src, repr, dst) = pending[free];
                    count -= 1;
                    pending[free] = pending[count];
                    self.s.move_reg(dst, src, repr);
                }
                None => {
                    // A cycle: what the first target holds moves aside.
                    let (_, repr, dst) = pending[0];
                    let (scratch, whole) = match bank(repr) {
                        Bank::General => (R11, Repr::I64),
                        Bank::Vector => (XMM15, Repr::V128),
                    };
                    self.s.move_reg(scratch, dst, whole);
                    for (src, _, _) in pending.iter_mut().filter(|m| m.0 == dst) {
                        *src = scratch;
                    }
                }
            }
        }
        if from_memory {
            // What was in a register was not moved to memory.
            for (loc, repr, dst) in moves {
                if !matches!(self.physical(*loc), Loc::Reg(_)) {
                    self.s.copy_to(*dst, *loc, *repr);
                }
            }
        }
    }

    // ---- stopping and limiting ----

    /// The offset of a field of the store's context, whose address goes to `r11`.
    pub(crate) fn store_field_at(&mut self, field: Field) -> i32 {
        let path = self.layout.path(self.module, field);
        let through = path.through.expect("it lies in the store's context");
        self.s.copy_to(R11, Loc::Local(CONTEXT), Repr::Pointer);
        self.s.load(R11, at(R11, through as i32), Repr::Pointer);
        path.offset as i32
    }

    /// On entry, or at the head of a loop: `rax` holds nothing there.
    pub(crate) fn check_deadline(&mut self, entry: bool, cost: i32) {
        let back = self.s.asm.label();
        let places = self.places(self.s.stack.len());
        let label = self.cold(ColdKind::Epoch { entry, places, back });
        if self.settings.counts_turns() {
            self.s.clobber_flags();
            match i8::try_from(cost) {
                Ok(cost) => ins!(self.s.asm, subq_mi_sxb, SPENT, cost),
                Err(_) => ins!(self.s.asm, subq_mi_sxl, SPENT, cost),
            }
            self.s.asm.jcc(Cond::S, label);
        } else {
            let deadline = self.store_field_at(Field::EpochDeadline);
            let epoch = self.layout.path(self.module, Field::Epoch).offset as i32;
            self.s.load(RAX, at(R11, epoch), Repr::Pointer);
            self.s.load(RAX, at(RAX, 0), Repr::I64);
            ins!(self.s.asm, cmpq_rm, RAX, at(R11, deadline));
            self.s.asm.jcc(Cond::Ae, label);
        }
        self.s.asm.bind(back);
    }

    fn epoch_reached(&mut self, entry: bool, places: Places, back: Label) {
        self.save_pins();
        self.call_shim(Operation::new(Builtin::EpochReached, 0, 0).pack(), Moves::new());
        self.note_places(places);
        self.restore_pins();
        if entry {
            self.reload_arguments();
        }
        self.s.asm.jmp(back);
    }

    /// Takes fuel, between two instructions.
    pub(crate) fn take_fuel(&mut self, fuel: i32) {
        self.s.clobber_flags();
        let label = self.cold(ColdKind::Fuel { fuel });
        match i8::try_from(fuel) {
            Ok(fuel) => ins!(self.s.asm, addq_mi_sxb, SPENT, fuel),
            Err(_) => ins!(self.s.asm, addq_mi_sxl, SPENT, fuel),
        }
        self.s.asm.jcc(Cond::B, label);
    }

    fn fuel_ran_out(&mut self, fuel: i32) {
        ins!(self.s.asm, subq_mi_sxl, SPENT, fuel);
        if self.settings.signals_based_traps {
            self.may_fault(Trap::OutOfFuel);
        } else {
            let operation = Operation::raise(Trap::OutOfFuel, 0);
            self.call_shim(operation.pack(), Moves::new());
        }
        self.s.asm.undefined();
    }

    // ---- counting and replacement ----
    //
    // NOTE [counting turns]
    // A loop that counts in memory takes at least the time that a processor needs to read what it has just
    // written: 7 cycles a turn, twice what many loops take. Processors that forward what lies in a frame do that
    // in none. So a frame counts by itself, from what the function had left on entry. What it has counted when it
    // returns is forgotten: to tell the function of it takes the same time again, for each call (sqlite, in which
    // calls with few turns are many: 0.08 of its time). An entry of a function with loops counts more instead.

    /// Counts down at the head of a loop; where the code says by how much, if it does.
    pub(crate) fn count_loop(&mut self) -> Option<u32> {
        let ordinal = self.next_loop + 1;
        self.counts.then(|| {
            let operands = &self.s.stack;
            let live = (operands.len() <= MAX_LIVE_OPERANDS)
                .then(|| operands.iter().map(|entry| (entry.loc(), entry.repr())).collect());
            let counter = self.turns.map_or_else(|| self.counter(), |disp| at(RBP, disp));
            self.count(counter, 1, ordinal, live)
        })
    }

    /// Counts down by `step`; where the code says so.
    fn count(
        &mut self,
        counter: Mem,
        step: i32,
        ordinal: u32,
        live: Option<Vec<(Loc, Repr)>>,
    ) -> u32 {
        let back = self.s.asm.label();
        let label = self.cold(ColdKind::Count { ordinal, back, live });
        ins!(self.s.asm, subl_mi_sxb, counter, step as i8);
        let step_at = self.s.asm.here() - 1;
        self.s.asm.jcc(Cond::S, label);
        self.s.asm.bind(back);
        step_at
    }

    /// What the function counts in.
    fn counter(&self) -> Mem {
        in_module_table(self.layout.path(self.module, Field::Counter(self.func)).offset)
    }

    /// Lets the frame count on from what the function has left. See NOTE [counting turns].
    fn begin_turns(&mut self) {
        if let Some(disp) = self.turns {
            let counter = self.counter();
            ins!(self.s.asm, movl_rm, R11, counter);
            ins!(self.s.asm, movl_mr, at(RBP, disp), R11);
        }
    }

    fn count_ran_out(&mut self, ordinal: u32, back: Label, live: Option<Vec<(Loc, Repr)>>) {
        let func = self.func.0;
        let replaceable = ordinal > 0 && live.is_some();
        let operation =
            Operation::new(Builtin::TierUp, func, if replaceable { ordinal } else { 0 });
        self.save_pins();
        self.call_shim(operation.pack(), Moves::new());
        if replaceable {
            let leave = *self.leave.get_or_insert_with(|| self.s.asm.label());
            let stay = self.s.asm.label();
            ins!(self.s.asm, testq_mr, RAX, RAX);
            self.s.asm.jcc(Cond::E, stay);
            self.load_live_state(RCX);
            let first = (self.s.locals.len() as u32 - FIRST) * LIVE_SLOT;
            if check::ON {
                let operands = live.as_ref().map_or(0, Vec::len) as u32;
                let slots = &mut self.s.claims.live_slots;
                *slots = (*slots).max(first / LIVE_SLOT + operands);
            }
            for (index, (loc, repr)) in live.into_iter().flatten().enumerate() {
                let place = at(RCX, (first + index as u32 * LIVE_SLOT) as i32);
                let scratch = if bank(repr) == Bank::General { RDX } else { XMM0 };
                let loc = if let Loc::Local(local) = loc { self.kept(local) } else { loc };
                self.s.copy_to(scratch, loc, repr);
                self.s.store(place, scratch, repr);
            }
            self.s.asm.jmp(leave);
            self.s.asm.bind(stay);
        }
        self.restore_pins();
        if ordinal == 0 {
            // Argument registers may still cache what was just stored.
            self.reload_arguments();
        } else {
            self.begin_turns();
        }
        self.s.asm.jmp(back);
    }

    /// The buffer for live state, in `reg`, behind the call that told of the replacement.
    fn load_live_state(&mut self, reg: Reg) {
        let path = self.layout.path(self.module, Field::LiveState);
        self.s.copy_to(reg, self.kept(CONTEXT), Repr::Pointer);
        let through = path.through.expect("it lies in the store's context");
        self.s.load(reg, at(reg, through as i32), Repr::Pointer);
        self.s.load(reg, at(reg, path.offset as i32), Repr::Pointer);
    }

    /// Leaves for the replacement at `rax`, with all locals in the buffer at `rcx`.
    fn write_live_locals(&mut self) {
        for local in FIRST..self.s.locals.len() as u32 {
            let Local { repr, pinned, disp, .. } = self.s.locals[local as usize];
            let place = at(RCX, ((local - FIRST) * LIVE_SLOT) as i32);
            let reg = if pinned != NO_REG && CALLEE_SAVED & 1 << pinned != 0 {
                pinned
            } else {
                // Others were put in their homes before the call that told of the replacement.
                let scratch = if bank(repr) == Bank::General { RDX } else { XMM0 };
                self.s.load(scratch, at(RBP, disp), repr);
                scratch
            };
            self.s.store(place, reg, repr);
        }
        let mut moves: Moves = SmallVec::new();
        moves.push((self.kept(CONTEXT), Repr::Pointer, RDI));
        if self.own.area_bytes > 0 {
            moves.push((self.kept(AREA), Repr::Pointer, RSI));
        }
        self.parallel_move(&moves);
        self.epilogue();
        ins!(self.s.asm, jmpq_m, RAX);
    }

    /// Where a local is after a call.
    fn kept(&self, local: u32) -> Loc {
        let Local { pinned, disp, .. } = self.s.locals[local as usize];
        if pinned != NO_REG && CALLEE_SAVED & 1 << pinned != 0 {
            Loc::Reg(pinned)
        } else {
            Loc::Frame(disp)
        }
    }

    /// General registers that locals may be pinned to.
    fn general_pins(&self) -> impl Iterator<Item = Reg> + use<> {
        let kept = self.settings.keeps_spent();
        GENERAL_PINS.into_iter().filter(move |reg| !(kept && *reg == SPENT))
    }

    /// Puts pinned locals that a call does not keep into their homes.
    pub(crate) fn save_pins(&mut self) {
        for &(local, reg) in &self.unsaved {
            if local != BASE {
                let Local { disp, repr, .. } = self.s.locals[local as usize];
                self.s.store(at(RBP, disp), reg, repr);
            }
        }
    }

    pub(crate) fn restore_pins(&mut self) {
        for &(local, reg) in &self.unsaved {
            if local == BASE {
                self.s.load_base(reg);
            } else {
                let Local { disp, repr, .. } = self.s.locals[local as usize];
                self.s.load(reg, at(RBP, disp), repr);
            }
        }
    }

    /// On entry: what the argument registers cache, again.
    fn reload_arguments(&mut self) {
        let mut reload = |local: u32, place: ArgLoc| {
            let reg = match place {
                ArgLoc::Int(n) => INT_ARGS[n as usize],
                ArgLoc::Vector(n) => XMM0 + n,
                ArgLoc::Stack(_) => return,
            };
            let Local { pinned, disp, repr, .. } = self.s.locals[local as usize];
            if pinned == NO_REG {
                self.s.load(reg, at(RBP, disp), repr);
            }
        };
        reload(CONTEXT, ArgLoc::Int(0));
        if self.own.area_bytes > 0 {
            reload(AREA, ArgLoc::Int(1));
        }
        for (index, place) in self.own.params.iter().enumerate() {
            reload(index as u32 + FIRST, *place);
        }
    }

    // ---- fields ----

    pub(crate) fn path(&self, field: Field) -> wardian_module::layout::Path {
        self.layout.path(self.module, field)
    }

    /// Whether a field is the fixed base of memory 0.
    pub(crate) fn is_base(&self, field: Field) -> bool {
        field == Field::MemoryBase(MemoryIndex(0)) && self.s.base_path.is_some()
    }

    // ---- conditions ----

    /// Pushes a truth value that the flags hold.
    pub(crate) fn push_condition(&mut self, cond: Cond) {
        let value = self.s.flags_value(cond);
        self.push_flags(value);
    }

    pub(crate) fn push_flags(&mut self, value: Value) {
        if self.next_tests {
            self.s.push(value);
            return;
        }
        let reg = self.result_reg(Repr::I32, &[]);
        self.s.copy_to(reg, value.loc(), Repr::I32);
        self.s.release(value);
        self.push_result(reg, Repr::I32);
    }

    // ---- results ----

    /// The register for an instruction's result, held unless it is a pinned local's: that of the local
    /// that is set next, if none of `inputs` is read from there, or else a fresh one. Everything read
    /// from that local after the result was written is the result.
    pub(crate) fn result_reg(&mut self, repr: Repr, inputs: &[&Value]) -> Reg {
        if let Some(reg) = self.target_reg(repr)
            && !inputs.iter().any(|value| self.s.known_reg(value) == reg)
        {
            return self.begin_target();
        }
        self.s.alloc(bank(repr))
    }

    /// The register that the local set next is pinned to.
    #[inline]
    pub(crate) fn target_reg(&self, repr: Repr) -> Option<Reg> {
        let local = self.local_set_next()?;
        let Local { pinned, repr: own, .. } = *self.s.locals.get(local as usize)?;
        (pinned != NO_REG && bank(own) == bank(repr)).then_some(pinned)
    }

    /// The register of the local set next, made ready to be written, without a look at inputs.
    pub(crate) fn begin_target(&mut self) -> Reg {
        let local = self.local_set_next().expect("target_reg found one");
        self.s.begin_write(local)
    }

    /// Pushes what `result_reg` was written with.
    #[inline]
    pub(crate) fn push_result(&mut self, reg: Reg, repr: Repr) {
        if self.s.temps & 1 << reg != 0 {
            self.s.push_reg(reg, repr);
        } else {
            let loc = self.next_local();
            self.s.push(Value::new(loc, repr));
        }
    }

    /// The local that is set next.
    pub(crate) fn next_local(&self) -> Loc {
        let local = self.local_set_next();
        Loc::Local(local.expect("only the register of the next local is a result"))
    }

    // ---- what `ops` needs ----

    pub(crate) fn start_function(&mut self, locals: &[(u32, ValType)]) {
        self.add_locals(locals);
        self.prologue();
        if self.counts {
            let step = if self.turns.is_some() { LOOPING } else { 1 };
            self.count(self.counter(), step, 0, None);
            self.begin_turns();
        }
        self.zero_locals(FIRST + self.own.params.len() as u32);
        let homes = self.s.locals.iter().zip(0..).filter_map(|(local, index)| {
            let used = index >= FIRST && self.uses.is_used(index - FIRST);
            (used && local.repr == Repr::Ref).then_some(local.disp)
        });
        self.ref_homes = homes.collect();
    }

    #[inline]
    pub(crate) fn begin_instruction(&mut self, wasm_offset: u32) {
        self.s.check();
        self.move_to(wasm_offset);
        self.next_set = NONE;
        self.next_tests = false;
    }

    /// Sees the bytes of the program after the current instruction.
    #[inline]
    pub(crate) fn look_ahead(&mut self, bytes: &[u8]) {
        let Some((opcode, rest)) = bytes.split_first() else { return };
        match opcode {
            // local.set, local.tee; an index of one or two bytes
            0x21 | 0x22 => match rest {
                [low @ 0..0x80, ..] => self.next_set = u32::from(*low) + FIRST,
                [low, high @ 0..0x80, ..] => {
                    self.next_set = (u32::from(low & 0x7f) | u32::from(*high) << 7) + FIRST;
                }
                _ => {}
            },
            _ => self.next_tests = TAKES_CONDITION[usize::from(*opcode)],
        }
    }

    /// The local that the next instruction sets, if it is `local.set` or `local.tee` with a short index.
    #[inline]
    fn local_set_next(&self) -> Option<u32> {
        (self.next_set != NONE).then_some(self.next_set)
    }

    pub(crate) fn func_ref_offset(&self, func: FuncIndex) -> u32 {
        self.layout.func_ref_of(self.module, func)
    }

    pub(crate) fn reserve_args(&mut self, bytes: u32) {
        self.max_args = self.max_args.max(bytes);
        ins!(self.s.asm, subq_mi_sxl, RSP, bytes as i32);
    }

    pub(crate) fn reserve_area(&mut self, bytes: u32) {
        self.max_area = self.max_area.max(bytes);
    }

    pub(crate) fn restore_saved(&mut self) {
        for &(reg, disp) in &self.saved {
            self.s.load(reg, at(RBP, disp), Repr::I64);
        }
    }
}

//! Locations of faults, where the code generator joins instructions.
//!
//! Cranelift may read memory in the machine instruction that uses the value, as in `add eax, [rbx]`,
//! instead of in one of its own. That instruction has the location of the user, but a fault of it is
//! the load's. [`keep_locations`] runs between optimizer and code generator: a user that has nothing of
//! its own to tell takes the location of the load; any other is kept apart from it by a marker, past
//! which no load moves and which becomes no code. That needs no knowledge of which pairs Cranelift
//! joins, beside: a load is joined with users of its block only, and passes only what has no effect
//! or is joined as well.
//!
//! A store that overwrites another may make that one disappear, and would fault in its place. Stores
//! are told apart by their trap codes ([`store_code`]), since Cranelift lets only equals disappear.
//!
//! Invariant [fault locations]: the location of a machine instruction that faults is that of the
//! WebAssembly instruction whose access it is.

use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode, TrapCode};
use wardian_module::Trap;

/// Trap codes from here on are those of stores.
const FIRST_STORE: u8 = 100;
/// How many there are. Each takes an entry of the table of access flags for each memory.
const STORES: u32 = 64;

const _: () = assert!(Trap::ALL.len() < FIRST_STORE as usize);
const _: () = assert!(TrapCode::user(FIRST_STORE + STORES as u8 - 1).is_some());

/// The trap code of a function's `count`th store that may be out of bounds.
pub(crate) fn store_code(count: u32) -> TrapCode {
    TrapCode::user(FIRST_STORE + (count % STORES) as u8).expect("asserted above")
}

/// What a fault with a code of Cranelift's users means.
pub(crate) fn trap_of_user(code: u8) -> Option<Trap> {
    match code.checked_sub(FIRST_STORE) {
        Some(store) if u32::from(store) < STORES => Some(Trap::MemoryOutOfBounds),
        Some(_) => None,
        None => Trap::from_code(code),
    }
}

/// Loads that may fault, counted in the order of the layout.
struct Loads {
    all: Vec<Load>,
    /// Those from here on may still be joined with what follows.
    open: usize,
    /// By value: 1 more than the last load that computing it may be joined with.
    of_value: Vec<u32>,
}

struct Load {
    inst: Inst,
    /// A marker follows it.
    marked: bool,
}

impl Loads {
    /// The last load that `inst` may be joined with. There is at most one location of such loads
    /// afterwards: those of others are kept from passing the last.
    fn behind(&mut self, func: &mut Function, inst: Inst) -> Option<usize> {
        if self.open == self.all.len() {
            return None;
        }
        let mut last: Option<usize> = None;
        for position in 0..func.dfg.inst_args(inst).len() {
            let arg = func.dfg.inst_args(inst)[position];
            let Some(load) = (self.of_value[arg.as_u32() as usize] as usize).checked_sub(1) else {
                continue;
            };
            if load < self.open {
                continue;
            }
            let Some(other) = last.filter(|other| *other != load) else {
                last = Some(load);
                continue;
            };
            let (first, second) = (load.min(other), load.max(other));
            let of = |load: usize| func.srcloc(self.all[load].inst);
            if of(first) != of(second) && !self.all[first].marked {
                self.all[first].marked = true;
                let next = func.layout.next_inst(self.all[first].inst);
                mark(func, next.expect("no block ends in a load"));
            }
            last = Some(second);
        }
        last
    }
}

/// Puts a marker before an instruction.
fn mark(func: &mut Function, before: Inst) {
    let marker = func.dfg.make_inst(InstructionData::NullAry { opcode: Opcode::SequencePoint });
    func.layout.insert_inst(marker, before);
    func.set_srcloc(marker, func.srcloc(before));
}

/// Makes the invariant true of what the code generator will make of `func`, in which there are no aliases.
pub(crate) fn keep_locations(func: &mut Function) {
    let of_value = vec![0; func.dfg.num_values()];
    let mut loads = Loads { all: Vec::new(), open: 0, of_value };
    let mut block = func.layout.entry_block();
    while let Some(current) = block {
        loads.open = loads.all.len();
        let mut next = func.layout.first_inst(current);
        while let Some(inst) = next {
            next = func.layout.next_inst(inst);
            look_at(func, inst, &mut loads);
        }
        block = func.layout.next_block(current);
    }
}

fn look_at(func: &mut Function, inst: Inst, loads: &mut Loads) {
    let behind = loads.behind(func, inst);
    let data = &func.dfg.insts[inst];
    let opcode = data.opcode();
    // Other instructions have flags too, for the order of their bytes.
    let faults = (opcode.can_load() || opcode.can_store())
        && data.memflags_data(&func.dfg).is_some_and(|flags| flags.trap_code().is_some());
    if faults || opcode.can_trap() || opcode.is_call() {
        // Its own location may be asked for.
        if let Some(load) = behind
            && let location = func.srcloc(loads.all[load].inst)
            && location != func.srcloc(inst)
        {
            match faults_first(func, loads.all[load].inst, inst) {
                true => func.set_srcloc(inst, location),
                false => mark(func, inst),
            }
        }
        if opcode == Opcode::Load {
            loads.all.push(Load { inst, marked: false });
            let result = func.dfg.first_result(inst);
            loads.of_value[result.as_u32() as usize] = loads.all.len() as u32;
        } else {
            loads.open = loads.all.len();
        }
    } else if let Some(load) = behind {
        func.set_srcloc(inst, func.srcloc(loads.all[load].inst));
        if !is_whole(func, inst) {
            for result in func.dfg.inst_results(inst) {
                loads.of_value[result.as_u32() as usize] = load as u32 + 1;
            }
        }
    }
}

/// Whether an instruction becomes a machine instruction of its own, whoever uses it: the code generator's
/// rules look for it nowhere but at the root of what they match. So its load is not joined any further.
/// Loads stay in order all the same, since none passes another that is not joined with what follows.
fn is_whole(func: &Function, inst: Inst) -> bool {
    let is_root = matches!(
        func.dfg.insts[inst].opcode(),
        Opcode::Fadd
            | Opcode::Fsub
            | Opcode::Fmul
            | Opcode::Fdiv
            | Opcode::Sqrt
            | Opcode::Imul
            | Opcode::Bor
            | Opcode::Bxor
    );
    is_root && !func.dfg.value_type(func.dfg.first_result(inst)).is_vector()
}

/// Whether `inst` is a store that cannot fault where `load` did not: to the same address, of as many
/// bytes or fewer. Only then the code generator makes one instruction of both.
fn faults_first(func: &Function, load: Inst, inst: Inst) -> bool {
    let InstructionData::Load { arg, offset, .. } = func.dfg.insts[load] else { return false };
    let InstructionData::Store { args: [value, address], offset: to, .. } = func.dfg.insts[inst]
    else {
        return false;
    };
    let bytes = |value| func.dfg.value_type(value).bytes();
    arg == address && offset == to && bytes(value) <= bytes(func.dfg.first_result(load))
}

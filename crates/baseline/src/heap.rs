//! Objects of the store's heap, and where frames have references while they call.
//!
//! Invariant [roots]: at a safepoint every reference that is needed later lies in the home of its operand or
//! local, and the stack map of the return address lists those homes. So locals that are references are
//! never pinned, and operands that are leave their registers before a safepoint.
//!
//! Invariant: an address in the heap is its base plus a clean 32-bit number plus a small constant
//! (`layout`, [heap access]).

use crate::asm::*;
use crate::emit::*;
use crate::ops::{Address, access_repr};
use crate::state::*;
use smallvec::SmallVec;
use wardian_lower::*;
use wardian_module::builtin::Word;
use wardian_module::layout::{
    Field, LARGE_OBJECT, OBJECT_ELEMENTS, OBJECT_LENGTH, OBJECT_SHAPE, Repr, SHAPE_DEPTH,
    SHAPE_DISPLAY, SHAPE_KIND,
};
use wardian_module::{Builtin, Operation, Trap, TypeIndex};

/// Places in stack maps of one function above which the tier gives up.
const MAX_PLACES: usize = 4 << 20;

/// Where a frame has references.
pub(crate) type Places = SmallVec<[i32; 8]>;

impl Tier<'_> {
    // ---- roots ----

    /// Where references are, of the operand stack up to `below`, whose operands are in their homes.
    pub(crate) fn places(&mut self, below: usize) -> Places {
        let mut places = Places::new();
        if !self.ref_homes.is_empty() {
            places.extend_from_slice(&self.ref_homes);
        }
        let entries = self.s.stack[..below].iter().map(Entry::parts);
        places.extend(entries.filter_map(|(loc, repr)| match (loc, repr) {
            (Loc::Frame(disp), Repr::Ref) => Some(disp),
            _ => None,
        }));
        self.place_count += places.len();
        if self.place_count > MAX_PLACES {
            self.give_up();
        }
        places
    }

    /// The instruction emitted last was a call that comes back where references are there.
    pub(crate) fn note_places(&mut self, places: Places) {
        if !places.is_empty() {
            let offset = self.s.asm.here();
            self.b.stack_maps.push(offset, places);
        }
    }

    // ---- objects ----

    fn heap_place(&mut self, object: Value, offset: u32) -> Address {
        let index = self.zero_extend(object);
        let base = self.load_field(Field::GcBase);
        Address { base, index: Some(index), shift: 0, disp: offset as i32 }
    }

    pub(crate) fn load_object(
        &mut self,
        object: Value,
        offset: u32,
        access: Access,
        null_trap: bool,
    ) -> Value {
        let mut addr = self.heap_place(object, offset);
        let mem = self.mem_of(&mut addr);
        self.release_addr(addr);
        let repr = access_repr(access);
        let dst = self.s.alloc(bank(repr));
        if null_trap {
            self.may_fault(Trap::NullReference);
        }
        self.load_plain(access, dst, mem);
        self.value_in(dst, repr)
    }

    pub(crate) fn store_object(
        &mut self,
        object: Value,
        offset: u32,
        access: Access,
        mut value: Value,
        null_trap: bool,
    ) {
        let imm = State::imm_of(&value);
        let reg = match imm {
            Some(_) => RAX,
            None => self.s.reg_of(&mut value),
        };
        let mut addr = self.heap_place(object, offset);
        let mem = self.mem_of(&mut addr);
        if null_trap {
            self.may_fault(Trap::NullReference);
        }
        self.store_plain(access, reg, imm, mem);
        self.release_addr(addr);
        self.s.release(value);
    }

    pub(crate) fn new_object(&mut self, ty: TypeIndex, bytes: u32, length: Option<u32>) -> Value {
        self.s.clobber_flags();
        self.s.settle_regs(self.s.stack.len());
        let mut moves = Moves::new();
        let operation = match length {
            None => Operation::new(Builtin::GcAllocStruct, ty.0, 0),
            Some(length) => {
                moves.push((Loc::Const(u64::from(length)), Repr::I32, RDX));
                Operation::new(Builtin::GcAllocArray, ty.0, 1)
            }
        };
        self.s.take(RAX, 0);
        let end = self.s.alloc(Bank::General);
        let (label, back) = self.cold_allocation(operation, moves);
        let limit = self.load_next();
        // Objects have less than 2^30 bytes.
        ins!(self.s.asm, leaq_rm, end, at(RAX, bytes as i32));
        self.finish_object(ty, end, limit, None, label);
        self.s.asm.bind(back);
        self.s.forget(self.s.temps);
        self.value_in(RAX, Repr::Ref)
    }

    /// An array of as many elements as the operand on top says.
    pub(crate) fn new_array(&mut self, ty: TypeIndex, element_bytes: u32) -> Value {
        self.s.clobber_flags();
        self.s.settle_regs(self.s.stack.len());
        let (length, repr) = self.s.stack[self.s.stack.len() - 1].parts();
        self.s.take(RAX, 0);
        // An argument of the operation.
        self.s.take(RDX, 0);
        self.s.copy_to(RDX, length, repr);
        let end = self.s.alloc(Bank::General);
        let operation = Operation::new(Builtin::GcAllocArray, ty.0, 2);
        let moves = [(Loc::Reg(RDX), repr, RDX)].into_iter().collect();
        let (label, back) = self.cold_allocation(operation, moves);
        let large = (LARGE_OBJECT - OBJECT_ELEMENTS) / element_bytes;
        ins!(self.s.asm, cmpl_mi, Rm::Gpr(RDX), large as i32);
        self.s.asm.jcc(Cond::A, label);
        let limit = self.load_next();
        // A multiple of 8, and below 2^32.
        self.s.move_reg(end, RDX, Repr::I32);
        ins!(self.s.asm, shll_mi, Rm::Gpr(end), element_bytes.trailing_zeros() as u8);
        ins!(self.s.asm, addl_mi, Rm::Gpr(end), (OBJECT_ELEMENTS + 7) as i32);
        ins!(self.s.asm, andl_mi, Rm::Gpr(end), -8);
        ins!(self.s.asm, addq_rm, end, Rm::Gpr(RAX));
        self.finish_object(ty, end, limit, Some(RDX), label);
        self.s.unhold(RDX);
        self.s.asm.bind(back);
        self.s.forget(self.s.temps);
        self.value_in(RAX, Repr::Ref)
    }

    /// What makes an object by an operation, and where it comes back to.
    fn cold_allocation(&mut self, operation: Operation, moves: Moves) -> (Label, Label) {
        let places = self.places(self.s.stack.len());
        let back = self.s.asm.label();
        let kind = ColdKind::Allocate { operation, moves: Box::new(moves), places, back };
        (self.cold(kind), back)
    }

    /// Loads where the next object lies to `rax`, and the store's context to `r11`; the offset there of the end of
    /// the room for objects.
    fn load_next(&mut self) -> i32 {
        let limit = self.store_field_at(Field::GcLimit);
        let next = self.path(Field::GcNext).offset as i32;
        self.s.load(RAX, at(R11, next), Repr::I64);
        limit
    }

    /// Makes the object that begins at `rax` and ends at `end`, which is let go; an array of this length.
    fn finish_object(
        &mut self,
        ty: TypeIndex,
        end: Reg,
        limit: i32,
        length: Option<Reg>,
        no_room: Label,
    ) {
        let header = self.s.alloc(Bank::General);
        let next = self.path(Field::GcNext).offset as i32;
        let base = self.path(Field::GcBase).offset as i32;
        ins!(self.s.asm, cmpq_rm, end, at(R11, limit));
        self.s.asm.jcc(Cond::A, no_room);
        self.s.store(at(R11, next), end, Repr::I64);
        ins!(self.s.asm, movl_rm, RAX, RAX);
        self.s.load(end, at(R11, base), Repr::Pointer);
        self.s.copy_to(R11, Loc::Local(CONTEXT), Repr::Pointer);
        let place = self.path(Field::ObjectHeader(ty)).offset as i32;
        self.s.load(header, at(R11, place), Repr::I64);
        self.s.store(indexed(end, RAX, 0, OBJECT_SHAPE as i32), header, Repr::I64);
        if let Some(length) = length {
            self.s.store(indexed(end, RAX, 0, OBJECT_LENGTH as i32), length, Repr::I32);
        }
        self.s.unhold(end);
        self.s.unhold(header);
    }

    /// The cold part of an allocation: of `new_object`, and of arrays that the code makes itself.
    pub(crate) fn allocate_slowly(
        &mut self,
        operation: Operation,
        moves: Moves,
        places: Places,
        back: Label,
    ) {
        self.save_pins();
        self.call_shim(operation.pack(), moves);
        self.note_places(places);
        self.restore_pins();
        ins!(self.s.asm, movl_rm, RAX, RAX);
        self.s.asm.jmp(back);
    }

    // ---- builtins that rarely run ----

    pub(crate) fn slow_builtin(
        &mut self,
        condition: Value,
        operation: Operation,
        args: SmallVec<[Value; 4]>,
        otherwise: Option<Value>,
    ) -> Option<Value> {
        // Nothing from here on changes the flags.
        let result = otherwise.map(|otherwise| {
            let repr = otherwise.repr();
            (self.s.own(otherwise), repr)
        });
        let cond = self.s.condition(condition);
        let moves: Moves = args
            .iter()
            .zip([RDX, RCX, R8, R9])
            .map(|(value, reg)| (self.physical(value.loc()), value.repr(), reg))
            .collect();
        let back = self.s.asm.label();
        for value in args {
            self.s.release(value);
        }
        let result_reg = result.map(|(reg, _)| reg);
        let saved = self.s.occupied() & !result_reg.map_or(0, |reg| 1 << reg);
        let moves = Box::new(moves);
        let kind = ColdKind::Slow { operation, moves, saved, result: result_reg, back };
        let label = self.cold(kind);
        self.s.asm.jcc(cond, label);
        self.s.asm.bind(back);
        result.map(|(reg, repr)| self.value_in(reg, repr))
    }

    /// The cold part of `slow_builtin`: what registers hold is there again afterwards.
    pub(crate) fn call_slowly(
        &mut self,
        operation: Operation,
        moves: Moves,
        saved: u32,
        result: Option<Reg>,
        back: Label,
    ) {
        let regs = || (0..32 as Reg).filter(move |reg| saved & 1 << reg != 0);
        // Results of calls lie there, and were read right behind those.
        self.reserve_area(16 * saved.count_ones());
        let whole = |reg: Reg| if reg < XMM0 { Repr::I64 } else { Repr::V128 };
        for (position, reg) in regs().enumerate() {
            self.s.store(at(RSP, 16 * position as i32), reg, whole(reg));
        }
        self.save_pins();
        self.call_shim(operation.pack(), moves);
        self.restore_pins();
        if let Some(result) = result {
            match operation.builtin.result() {
                Some(Word::W32 | Word::Ref) => ins!(self.s.asm, movl_rm, result, RAX),
                _ => self.s.move_reg(result, RAX, Repr::I64),
            }
        }
        for (position, reg) in regs().enumerate() {
            self.s.load(reg, at(RSP, 16 * position as i32), whole(reg));
        }
        self.s.asm.jmp(back);
    }

    // ---- tests ----

    pub(crate) fn test_reference(&mut self, value: Value, test: RefTest) -> Value {
        self.s.clobber_flags();
        let [pass, fail, end] = [(); 3].map(|()| self.s.asm.label());
        self.test_value(value, test, pass, fail);
        let dst = self.s.alloc(Bank::General);
        self.s.asm.bind(pass);
        self.s.asm.constant(dst, 1);
        self.s.asm.jmp(end);
        self.s.asm.bind(fail);
        self.s.asm.constant(dst, 0);
        self.s.asm.bind(end);
        self.value_in(dst, Repr::I32)
    }

    pub(crate) fn cast_reference(&mut self, value: Value, test: RefTest, info: TrapInfo) {
        self.s.clobber_flags();
        let pass = self.s.asm.label();
        let fail = self.trap_cold(info, Details::new());
        self.test_value(value, test, pass, fail);
        self.s.asm.bind(pass);
    }

    /// Goes to `pass` or `fail`. Both come where registers are as they are behind this.
    fn test_value(&mut self, mut value: Value, test: RefTest, pass: Label, fail: Label) {
        let to = |result: bool| if result { pass } else { fail };
        let reg = self.s.reg_of(&mut value);
        let shape = self.s.alloc(Bank::General);
        let other = self.s.alloc(Bank::General);
        if let Some(null) = test.null {
            ins!(self.s.asm, testl_mr, reg, reg);
            self.s.asm.jcc(Cond::E, to(null));
        }
        if let Some(i31) = test.i31 {
            self.s.move_reg(R11, reg, Repr::I32);
            self.s.asm.alu_imm(Alu::And, false, R11, 1);
            self.s.asm.jcc(Cond::Ne, to(i31));
        }
        if test.object != ObjectTest::Never {
            let base = self.store_field_at(Field::GcBase);
            self.s.load(R11, at(R11, base), Repr::Pointer);
            self.s.load(shape, indexed(R11, reg, 0, OBJECT_SHAPE as i32), Repr::I32);
        }
        let header = |tier: &mut Self, ty: TypeIndex| {
            let place = tier.path(Field::ObjectHeader(ty)).offset as i32;
            tier.s.copy_to(other, Loc::Local(CONTEXT), Repr::Pointer);
            tier.s.load(other, at(other, place), Repr::I32);
        };
        let cond = match test.object {
            ObjectTest::Never => None,
            ObjectTest::Kind { kind, or_below } => {
                let place = indexed(R11, shape, 0, SHAPE_KIND as i32);
                ins!(self.s.asm, cmpl_mi_sxb, place, kind as i8);
                Some(if or_below { Cond::Be } else { Cond::E })
            }
            ObjectTest::Exactly(ty) => {
                header(self, ty);
                ins!(self.s.asm, cmpl_rm, shape, other);
                Some(Cond::E)
            }
            ObjectTest::Below { ty, depth, has_depth } => {
                if has_depth {
                    let place = indexed(R11, shape, 0, SHAPE_DEPTH as i32);
                    // The validator bounds depths by 63.
                    ins!(self.s.asm, cmpl_mi_sxb, place, depth as i8);
                    self.s.asm.jcc(Cond::B, fail);
                }
                header(self, ty);
                let place = indexed(R11, shape, 0, (SHAPE_DISPLAY + 4 * depth) as i32);
                ins!(self.s.asm, cmpl_rm, other, place);
                Some(Cond::E)
            }
        };
        if let Some(cond) = cond {
            self.s.asm.jcc(cond, pass);
        }
        self.s.asm.jmp(fail);
        self.s.unhold(shape);
        self.s.unhold(other);
        self.s.release(value);
    }
}

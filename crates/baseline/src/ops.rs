//! [`Emit`] for [`Tier`]: locals, straight-line operations, memory, tables, calls.
//!
//! Invariant: what an operation reads is still held, or lies in memory that nobody writes, when the
//! instruction that reads it is emitted; a result's register is only written by that instruction or
//! after it.

use crate::asm::*;
use crate::check;
use crate::claims::{AccessClaim, ReferenceClaim};
use crate::emit::*;
use crate::heap::Places;
use crate::state::*;
use smallvec::SmallVec;
use wardian_lower::*;
use wardian_module::abi::{ArgLoc, ResultLoc};
use wardian_module::builtin::Word;
use wardian_module::layout::{Field, FuncRefField, Linkage, Region, Repr, table_element_size};
use wardian_module::{
    Builtin, DataIndex, FuncIndex, HeapTop, MemoryIndex, Operation, TableIndex, Trap, TypeIndex,
    ValType,
};
use wasmparser::Operator;

/// An address: `base + index * 2^shift + disp`, not computed yet.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) base: Value,
    pub(crate) index: Option<Value>,
    pub(crate) shift: u8,
    pub(crate) disp: i32,
}

impl Tier<'_> {
    /// The address as one value.
    fn whole(&mut self, addr: Addr<Address>) -> Value {
        let mut addr = addr.into_inner();
        let mem = self.mem_of(&mut addr);
        let full = self.s.alloc(Bank::General);
        ins!(self.s.asm, leaq_rm, full, mem);
        self.release_addr(addr);
        self.value_in(full, Repr::Pointer)
    }

    /// The memory operand of an address. Its registers stay held until `release_addr`.
    pub(crate) fn mem_of(&mut self, addr: &mut Address) -> Mem {
        let base = self.s.reg_of(&mut addr.base);
        if let Some(index) = &addr.index
            && let Loc::Const(bits) = index.loc()
        {
            let folded = bits
                .checked_shl(u32::from(addr.shift))
                .filter(|shifted| shifted >> addr.shift == bits)
                .and_then(|bits| i64::try_from(bits).ok())
                .and_then(|bits| i32::try_from(bits.checked_add(i64::from(addr.disp))?).ok());
            if let Some(disp) = folded {
                return at(base, disp);
            }
        }
        match &mut addr.index {
            None => at(base, addr.disp),
            Some(index) => {
                let index = self.s.reg_of(index);
                indexed(base, index, addr.shift, addr.disp)
            }
        }
    }

    /// Says that the instructions from `start` on access a memory.
    fn claim_access(&mut self, memory: MemoryIndex, start: u32) {
        if check::ON {
            let code = (start, self.s.asm.here());
            self.s.claims.accesses.push(AccessClaim { code, memory });
        }
    }

    pub(crate) fn release_addr(&mut self, addr: Address) {
        self.s.release(addr.base);
        if let Some(index) = addr.index {
            self.s.release(index);
        }
    }

    /// The register for what is loaded from `addr`, whose registers may be reused for it.
    fn load_target(&mut self, addr: Address, repr: Repr) -> Reg {
        if self.target_reg(repr).is_some() {
            let reg = self.begin_target();
            self.release_addr(addr);
            reg
        } else {
            self.release_addr(addr);
            self.s.alloc(bank(repr))
        }
    }

    /// A register with the value of `x` that may be modified into a result: that of the local that is
    /// set next, unless one of `others` is read from there.
    pub(crate) fn modify(&mut self, x: Value, others: &[&Value]) -> Reg {
        if let Some(target) = self.target_reg(x.repr())
            && !others.iter().any(|value| self.s.known_reg(value) == target)
        {
            let reg = self.begin_target();
            self.s.copy_to(reg, x.loc(), x.repr());
            self.s.release(x);
            return reg;
        }
        self.s.own(x)
    }

    /// Wraps a register that an expansion holds. Pinned ones are those of the next local.
    pub(crate) fn value_in(&self, reg: Reg, repr: Repr) -> Value {
        debug_assert!(self.s.temps & 1 << reg != 0);
        Value::new(Loc::Reg(reg), repr)
    }

    pub(crate) fn trap_cold(&mut self, info: TrapInfo, details: Details<Value>) -> Label {
        if self.settings.signals_based_traps && details.is_empty() {
            return self.cold(ColdKind::Fault(info.trap));
        }
        let places = details.iter().map(|v| (self.physical(v.loc()), v.repr())).collect();
        for value in details {
            self.s.release(value);
        }
        let operation = Operation::raise(info.trap, info.place).pack();
        self.cold(ColdKind::Raise { operation, details: places })
    }

    /// Traps if the flags say so.
    pub(crate) fn trap_on(&mut self, cond: Cond, trap: Trap) {
        let label = self.trap_cold(TrapInfo { trap, place: 0 }, Details::new());
        self.s.asm.jcc(cond, label);
    }

    /// `cmp`
    pub(crate) fn compare_ints(&mut self, a: &mut Value, b: &mut Value) {
        let wide = wide(a.repr());
        if let Some(imm) = State::imm_of(b) {
            match self.s.rm_of(a) {
                Rm::Gpr(reg) if imm == 0 => {
                    ins_wide!(self.s.asm, wide, testl_mr, testq_mr, reg, reg);
                }
                a => self.s.asm.alu_imm(Alu::Cmp, wide, a, imm),
            }
            return;
        }
        let a = self.s.reg_of(a);
        let b = self.s.rm_of(b);
        self.s.asm.alu_rm(Alu::Cmp, wide, a, b);
    }

    /// `ucomiss`, `ucomisd`
    pub(crate) fn compare_floats(&mut self, a: &mut Value, b: &mut Value) {
        let double = a.repr() == Repr::F64;
        let a = xmm(self.s.reg_of(a));
        let b = self.s.xm_of(b);
        ins_wide!(self.s.asm, double, ucomiss_a, ucomisd_a, a, b);
    }
}

impl Emit for Tier<'_> {
    type Value = Value;
    type Addr = Address;

    fn start(&mut self, locals: &[(u32, ValType)]) {
        self.start_function(locals);
        self.enter_function();
    }

    #[inline]
    fn gave_up(&self) -> bool {
        self.s.stopped
    }

    #[inline]
    fn location(&mut self, wasm_offset: u32) {
        self.begin_instruction(wasm_offset);
    }

    #[inline]
    fn upcoming(&mut self, bytes: &[u8]) {
        self.look_ahead(bytes);
    }

    #[inline]
    fn pop(&mut self) -> Value {
        self.s.pop()
    }

    #[inline]
    fn push(&mut self, value: Value) {
        match value.loc() {
            Loc::Flags(_) => self.push_flags(value),
            _ => self.s.push(value),
        }
    }

    #[inline]
    fn copy(&mut self, value: &Value) -> Value {
        self.s.duplicate(value)
    }

    #[inline]
    fn discard(&mut self, value: Value) {
        self.s.release(value);
    }

    #[inline]
    fn drop_top(&mut self) {
        let value = self.s.pop();
        self.s.release(value);
    }

    #[inline]
    fn local_get(&mut self, local: u32) {
        self.s.push_local(local + FIRST);
    }

    #[inline]
    fn local_set(&mut self, local: u32) {
        self.s.named(local + FIRST);
        let value = self.s.pop();
        let value = self.s.set_local(local + FIRST, value);
        self.s.release(value);
    }

    #[inline]
    fn local_tee(&mut self, local: u32) {
        self.s.named(local + FIRST);
        let value = self.s.pop();
        let value = self.s.set_local(local + FIRST, value);
        self.s.push(value);
    }

    fn select(&mut self, ty: ValType) {
        let repr = Repr::of(ty);
        let (condition, mut y, mut x) = (self.s.pop(), self.s.pop(), self.s.pop());
        let mut cond = self.s.condition(condition);
        if bank(repr) == Bank::Vector {
            let dst = self.modify(x, &[&y]);
            let skip = self.s.asm.label();
            self.s.asm.jcc(cond, skip);
            self.s.copy_to(dst, y.loc(), repr);
            self.s.asm.bind(skip);
            self.s.release(y);
            return self.push_result(dst, repr);
        }
        if cond == Cond::NotEqualUnordered {
            (x, y) = (y, x);
            cond = Cond::EqualOrdered;
        }
        let wide = wide(repr);
        let other = self.s.rm_of(&mut y);
        let dst = self.modify(x, &[&y]);
        match cond {
            Cond::EqualOrdered => {
                self.s.asm.cmov(Cond::Ne, wide, dst, other);
                self.s.asm.cmov(Cond::P, wide, dst, other);
            }
            cond => self.s.asm.cmov(cond.not(), wide, dst, other),
        }
        self.s.release(y);
        self.push_result(dst, repr);
    }

    #[inline(always)]
    fn numeric(&mut self, op: &Operator<'_>) {
        self.scalar(op);
    }

    fn vector(&mut self, op: &Operator<'_>) {
        self.vector_op(op);
    }

    fn check_epoch(&mut self, cost: u32) {
        // Blocks are entered after the function has started.
        let entry = self.b.frames.len() == 1;
        self.check_deadline(entry, cost as i32);
    }

    fn charge(&mut self, fuel: u32) {
        // A segment has fewer instructions than its body has bytes.
        self.take_fuel(fuel as i32);
    }

    fn spent(&mut self) -> Value {
        let dst = self.s.alloc(Bank::General);
        ins!(self.s.asm, movq_rm, dst, SPENT);
        self.value_in(dst, Repr::I64)
    }

    fn set_spent(&mut self, mut spent: Value) {
        let reg = self.s.reg_of(&mut spent);
        ins!(self.s.asm, movq_rm, SPENT, reg);
        self.s.release(spent);
    }

    fn at_loop(&mut self, ordinal: u32) {
        self.next_loop = ordinal;
    }

    fn enter(&mut self, kind: BlockKind, params: &[ValType], results: &[ValType]) {
        self.measure();
        self.enter_block(kind, params, results);
    }

    fn else_(&mut self, reachable: bool) {
        self.else_arm(reachable);
    }

    fn end(&mut self, reachable: bool, _continues: bool) {
        self.end_block(reachable);
    }

    fn branch(&mut self, depth: u32) {
        self.jump_to(depth);
    }

    #[inline]
    fn branch_if(&mut self, depth: u32) {
        let condition = self.s.pop();
        self.jump_to_if(condition, depth);
    }

    fn branch_if_value(&mut self, condition: Value, depth: u32) {
        self.jump_to_if(condition, depth);
    }

    fn branch_table(&mut self, targets: &[u32], default: u32) {
        self.jump_by_table(targets, default);
    }

    fn ret(&mut self) {
        self.return_now();
    }

    fn constant(&mut self, value: Const) -> Value {
        match value {
            Const::I32(v) => self.s.constant(u64::from(v), Repr::I32),
            Const::I64(v) => self.s.constant(v, Repr::I64),
            Const::F32(v) => self.s.constant(u64::from(v), Repr::F32),
            Const::F64(v) => self.s.constant(v, Repr::F64),
            Const::V128(v) => self.vector_constant(v),
            Const::NullPointer => self.s.constant(0, Repr::Pointer),
            Const::NullRef => self.s.constant(0, Repr::Ref),
        }
    }

    fn arith(&mut self, op: Arith, mut a: Value, mut b: Value) -> Value {
        self.s.clobber_flags();
        let repr = a.repr();
        let wide = wide(repr);
        if matches!(op, Arith::Shl | Arith::ShrU | Arith::ShrS) {
            let Loc::Const(count) = b.loc() else {
                unreachable!("expansions shift by constants");
            };
            let dst = self.s.own(a);
            let count = count as u8;
            match op {
                Arith::ShrS => ins_wide!(self.s.asm, wide, sarl_mi, sarq_mi, dst, count),
                Arith::Shl => ins_wide!(self.s.asm, wide, shll_mi, shlq_mi, dst, count),
                _ => ins_wide!(self.s.asm, wide, shrl_mi, shrq_mi, dst, count),
            }
            return self.value_in(dst, no_reference(repr));
        }
        if op != Arith::Sub && (matches!(a.loc(), Loc::Const(_)) || self.s.is_own(&b)) {
            (a, b) = (b, a);
        }
        let source = match State::imm_of(&b) {
            Some(_) => None,
            None => Some(self.s.rm_of(&mut b)),
        };
        let dst = self.s.own(a);
        match (source, State::imm_of(&b)) {
            (Some(source), _) => self.s.asm.alu_rm(alu_of(op), wide, dst, source),
            (None, imm) => self.s.asm.alu_imm(alu_of(op), wide, dst, imm.unwrap_or(0)),
        }
        self.s.release(b);
        self.value_in(dst, no_reference(repr))
    }

    fn compare(&mut self, op: Compare, mut a: Value, mut b: Value) -> Value {
        if b.loc() == Loc::Const(0)
            && op == Compare::Eq
            && let Some(cond) = self.s.live_condition(&a)
        {
            self.s.release(a);
            return self.s.flags_value(cond.not());
        }
        self.s.clobber_flags();
        let cond = if bank(a.repr()) == Bank::Vector {
            let cond = match op {
                Compare::Eq => Cond::EqualOrdered,
                Compare::Ne => Cond::NotEqualUnordered,
                Compare::GtU => Cond::A,
                Compare::GeU => Cond::Ae,
                Compare::LtU | Compare::LeU => {
                    (a, b) = (b, a);
                    if op == Compare::LtU { Cond::A } else { Cond::Ae }
                }
            };
            self.compare_floats(&mut a, &mut b);
            cond
        } else {
            self.compare_ints(&mut a, &mut b);
            match op {
                Compare::Eq => Cond::E,
                Compare::Ne => Cond::Ne,
                Compare::LtU => Cond::B,
                Compare::GtU => Cond::A,
                Compare::LeU => Cond::Be,
                Compare::GeU => Cond::Ae,
            }
        };
        self.s.release(a);
        self.s.release(b);
        self.s.flags_value(cond)
    }

    #[inline]
    fn zero_extend(&mut self, mut value: Value) -> Value {
        // Nothing to do but to read it from where it is 32 bits wide: see [clean i32].
        if !value.is_const() {
            self.s.reg_of(&mut value);
        }
        value.set_repr(Repr::I64);
        value
    }

    fn wrap(&mut self, mut value: Value) -> Value {
        match value.loc() {
            Loc::Const(bits) => self.s.constant(u64::from(bits as u32), Repr::I32),
            _ => {
                let src = self.s.reg_of(&mut value);
                let dst = if self.s.is_own(&value) {
                    self.s.own(value)
                } else {
                    let dst = self.s.alloc(Bank::General);
                    self.s.release(value);
                    dst
                };
                ins!(self.s.asm, movl_rm, dst, src);
                self.value_in(dst, Repr::I32)
            }
        }
    }

    fn is_null(&mut self, _top: HeapTop, mut value: Value) -> Value {
        // Null is 0 in every hierarchy.
        self.s.clobber_flags();
        let mut null = self.s.constant(0, value.repr());
        self.compare_ints(&mut value, &mut null);
        self.s.release(value);
        self.s.flags_value(Cond::E)
    }

    #[inline]
    fn load_field(&mut self, field: Field) -> Value {
        if self.is_base(field) {
            return Value::new(Loc::Local(BASE), Repr::Pointer);
        }
        let path = self.path(field);
        let place = self.s.place(path);
        let (mem, repr) = (place.mem, place.repr);
        self.s.release_place(place);
        let dst = self.s.alloc(bank(repr));
        self.s.load(dst, mem, repr);
        self.value_in(dst, repr)
    }

    fn store_field(&mut self, field: Field, mut value: Value) {
        let path = self.path(field);
        let imm = State::imm_of(&value);
        let reg = match imm {
            Some(_) => RAX,
            None => self.s.reg_of(&mut value),
        };
        let place = self.s.place(path);
        match imm {
            Some(imm) => {
                ins_wide!(self.s.asm, wide(place.repr), movl_mi, movq_mi_sxl, place.mem, imm);
            }
            None => self.s.store(place.mem, reg, place.repr),
        }
        self.s.release_place(place);
        self.s.release(value);
    }

    fn func_ref(&mut self, func: FuncIndex) -> Value {
        let offset = self.func_ref_offset(func);
        let mut context = Value::new(Loc::Local(CONTEXT), Repr::Pointer);
        let base = self.s.reg_of(&mut context);
        let dst = self.s.alloc(Bank::General);
        ins!(self.s.asm, leaq_rm, dst, at(base, offset as i32));
        self.s.release(context);
        self.value_in(dst, Repr::Pointer)
    }

    fn load_func_ref(
        &mut self,
        mut reference: Value,
        field: FuncRefField,
        null_trap: Option<Trap>,
    ) -> Value {
        let (offset, repr) = field.place();
        let base = self.s.reg_of(&mut reference);
        self.s.release(reference);
        let dst = self.s.alloc(bank(repr));
        if let Some(trap) = null_trap {
            self.may_fault(trap);
        }
        let start = self.s.asm.here();
        self.s.load(dst, at(base, offset as i32), repr);
        if check::ON {
            let code = (start, self.s.asm.here());
            self.s.claims.references.push(ReferenceClaim { code });
        }
        self.value_in(dst, repr)
    }

    fn constant_index(&self, index: &Index<Value>) -> Option<u64> {
        match index.as_value().loc() {
            Loc::Const(bits) => Some(bits),
            _ => None,
        }
    }

    fn memory_addr(&mut self, memory: MemoryIndex, index: Index<Value>, offset: u64) -> Address {
        let base = self.load_field(Field::MemoryBase(memory));
        let mut index = index.into_value();
        let disp = match i32::try_from(offset) {
            Ok(disp) => disp,
            Err(_) => {
                let offset = self.s.constant(offset, Repr::I64);
                index = self.arith(Arith::Add, index, offset);
                0
            }
        };
        Address { base, index: Some(index), shift: 0, disp }
    }

    fn table_addr(&mut self, table: TableIndex, index: Index<Value>) -> Address {
        let element = self.module.tables[table.index()].ty.element;
        let size = table_element_size(element.heap.top());
        let base = self.load_field(Field::TableBase(table));
        let shift = size.trailing_zeros() as u8;
        Address { base, index: Some(index.into_value()), shift, disp: 0 }
    }

    fn guard_addr(&mut self, out_of_bounds: Value, mut addr: Address) -> Address {
        let mem = self.mem_of(&mut addr);
        let full = self.s.alloc(Bank::General);
        ins!(self.s.asm, leaq_rm, full, mem);
        self.release_addr(addr);
        let cond = self.s.condition(out_of_bounds);
        // Neither changes the flags.
        self.s.asm.constant(R11, 0);
        self.s.asm.cmov(cond, true, full, Rm::Gpr(R11));
        Address { base: self.value_in(full, Repr::Pointer), index: None, shift: 0, disp: 0 }
    }

    fn memory_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        may_fault: bool,
    ) -> Value {
        let mut addr = addr.into_inner();
        let mem = self.mem_of(&mut addr);
        let dst = self.load_target(addr, access_repr(access));
        self.load_access(memory, access, dst, mem, may_fault);
        self.result_value(dst, access_repr(access))
    }

    #[inline(always)]
    fn guarded_load(&mut self, access: Access, place: Guarded) {
        let index = self.s.pop();
        let mut index = self.guarded_index(index, place);
        let (base, held) = self.guarded_base(place.memory());
        let mem = self.guarded_operand(base, &mut index, place);
        let repr = access_repr(access);
        let target = self.target_reg(repr);
        if target.is_some() {
            self.begin_target();
        }
        self.release_guarded(held, index);
        let (dst, loc) = match target {
            Some(reg) => (reg, self.next_local()),
            None => {
                let reg = self.s.alloc(bank(repr));
                (reg, Loc::Reg(reg))
            }
        };
        self.load_access(place.memory(), access, dst, mem, true);
        self.s.push(Value::new(loc, repr));
    }

    #[inline(always)]
    fn guarded_store(&mut self, access: Access, place: Guarded) {
        let mut value = self.s.pop();
        let index = self.s.pop();
        let mut index = self.guarded_index(index, place);
        let (base, held) = self.guarded_base(place.memory());
        let imm = State::imm_of(&value);
        let reg = match imm {
            Some(_) => RAX,
            None => self.s.reg_of(&mut value),
        };
        let mem = self.guarded_operand(base, &mut index, place);
        self.store_access(place.memory(), access, reg, imm, mem, true);
        self.release_guarded(held, index);
        self.s.release(value);
    }

    fn memory_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        mut value: Value,
        may_fault: bool,
    ) {
        let mut addr = addr.into_inner();
        let imm = State::imm_of(&value);
        let reg = match imm {
            Some(_) => RAX,
            None => self.s.reg_of(&mut value),
        };
        let mem = self.mem_of(&mut addr);
        self.store_access(memory, access, reg, imm, mem, may_fault);
        self.release_addr(addr);
        self.s.release(value);
    }

    fn atomic_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        may_fault: bool,
    ) -> Value {
        // The processor lets no later access pass a load.
        self.memory_load(memory, access, addr, may_fault)
    }

    fn atomic_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        value: Value,
        may_fault: bool,
    ) {
        let reg = self.exchange(memory, access, addr, value, may_fault);
        self.s.unhold(reg);
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
        let repr = access_repr(access);
        self.s.clobber_flags();
        let alu = match op {
            AtomicOp::Exchange => {
                let reg = self.exchange(memory, access, addr, value, may_fault);
                self.extend_atomic(access, reg);
                return self.value_in(reg, repr);
            }
            AtomicOp::Add | AtomicOp::Sub => {
                let reg = self.exchange_add(memory, op, access, addr, value, may_fault);
                self.extend_atomic(access, reg);
                return self.value_in(reg, repr);
            }
            AtomicOp::And => Alu::And,
            AtomicOp::Or => Alu::Or,
            AtomicOp::Xor => Alu::Xor,
        };
        let addr = self.address_outside_of_rax(addr);
        let mut value = value;
        let operand = self.outside_of_rax(&mut value);
        self.s.take(RAX, 0);
        self.load_access(memory, access, RAX, at(addr, 0), may_fault);
        let again = self.s.asm.bound_label();
        self.s.move_reg(R11, RAX, Repr::I64);
        self.s.asm.alu_rm(alu, wide(repr), R11, Rm::Gpr(operand));
        self.compare_exchange(memory, access, addr, R11, may_fault);
        self.s.asm.jcc(Cond::Ne, again);
        self.extend_atomic(access, RAX);
        self.s.unhold(addr);
        self.s.release(value);
        self.value_in(RAX, repr)
    }

    fn atomic_compare_exchange(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        values: [Value; 2],
        may_fault: bool,
    ) -> Value {
        self.s.clobber_flags();
        let [expected, mut replacement] = values;
        let addr = self.address_outside_of_rax(addr);
        let new = self.outside_of_rax(&mut replacement);
        self.s.own_in(expected, RAX, 0);
        self.compare_exchange(memory, access, addr, new, may_fault);
        self.extend_atomic(access, RAX);
        self.s.unhold(addr);
        self.s.release(replacement);
        self.value_in(RAX, access_repr(access))
    }

    fn fence(&mut self) {
        ins0!(self.s.asm, mfence_zo);
    }

    fn copy_bytes(&mut self, target: Addr<Address>, source: Addr<Address>, length: Value) {
        let (target, source) = (self.whole(target), self.whole(source));
        self.call_routine(Field::CopyRoutine, [target, source, length]);
    }

    fn fill_bytes(&mut self, target: Addr<Address>, byte: Value, length: Value) {
        let target = self.whole(target);
        self.call_routine(Field::FillRoutine, [target, byte, length]);
    }

    fn fill_elements(&mut self, target: Addr<Address>, halves: [Value; 2], length: Value) {
        let target = self.whole(target);
        let [low, high] = halves;
        self.call_routine(Field::FillElementsRoutine, [target, low, high, length]);
    }

    fn data_addr(&mut self, segment: DataIndex, place: Index<Value>) -> Address {
        let base = self.load_field(Field::DataBase(segment));
        Address { base, index: Some(place.into_value()), shift: 0, disp: 0 }
    }

    fn table_load(&mut self, table: TableIndex, addr: Addr<Address>) -> Value {
        let repr = Repr::of_ref(self.module.tables[table.index()].ty.element.heap);
        let mut addr = addr.into_inner();
        let mem = self.mem_of(&mut addr);
        self.release_addr(addr);
        let dst = self.s.alloc(Bank::General);
        self.s.load(dst, mem, repr);
        self.value_in(dst, repr)
    }

    fn table_store(&mut self, table: TableIndex, addr: Addr<Address>, mut value: Value) {
        let repr = Repr::of_ref(self.module.tables[table.index()].ty.element.heap);
        let mut addr = addr.into_inner();
        let reg = self.s.reg_of(&mut value);
        let mem = self.mem_of(&mut addr);
        self.s.store(mem, reg, repr);
        self.release_addr(addr);
        self.s.release(value);
    }

    fn replace_lane(&mut self, lane_bits: u8, lane: u8, vector: Value, scalar: Value) -> Value {
        self.insert_lane(lane_bits, lane, vector, scalar)
    }

    fn extract_lane(&mut self, lane_bits: u8, lane: u8, vector: Value) -> Value {
        self.read_lane(lane_bits, lane, vector)
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
        _region: Region,
        access: Access,
        null_trap: bool,
    ) -> Value {
        self.load_object(object, offset, access, null_trap)
    }

    fn heap_addr(&mut self, place: Index<Value>, offset: u32) -> Address {
        let base = self.load_field(Field::GcBase);
        Address { base, index: Some(place.into_value()), shift: 0, disp: offset as i32 }
    }

    fn heap_store(
        &mut self,
        object: Value,
        offset: u32,
        _region: Region,
        access: Access,
        value: Value,
        null_trap: bool,
    ) {
        self.store_object(object, offset, access, value, null_trap);
    }

    fn is_constant_null(&self, value: &Value) -> bool {
        // Null, and any `i31`: constants are no objects.
        value.is_const()
    }

    fn func_of_id(&mut self, index: Index<Value>) -> Value {
        let base = self.load_field(Field::FuncIdsBase);
        let mut addr = Address { base, index: Some(index.into_value()), shift: 3, disp: 0 };
        let mem = self.mem_of(&mut addr);
        self.release_addr(addr);
        let dst = self.s.alloc(Bank::General);
        self.s.load(dst, mem, Repr::Pointer);
        self.value_in(dst, Repr::Pointer)
    }

    fn slow(
        &mut self,
        condition: Value,
        builtin: Builtin,
        first: u32,
        args: SmallVec<[Value; 4]>,
        otherwise: Option<Value>,
    ) -> Option<Value> {
        self.slow_builtin(condition, Operation::new(builtin, first, 0), args, otherwise)
    }

    fn ref_test(&mut self, value: Value, test: RefTest) -> Value {
        self.test_reference(value, test)
    }

    fn ref_cast(&mut self, value: Value, test: RefTest, info: TrapInfo) {
        self.cast_reference(value, test, info);
    }

    fn trap_if(&mut self, condition: Value, info: TrapInfo, details: Details<Value>) {
        let cond = self.s.condition(condition);
        let label = self.trap_cold(info, details);
        self.s.asm.jcc(cond, label);
    }

    fn trap(&mut self, info: TrapInfo) {
        if self.settings.signals_based_traps {
            self.may_fault(info.trap);
            self.s.asm.undefined();
        } else {
            let label = self.trap_cold(info, Details::new());
            self.s.asm.jmp(label);
        }
    }

    fn builtin(
        &mut self,
        builtin: Builtin,
        first: u32,
        second: u32,
        args: SmallVec<[Value; 4]>,
    ) -> Option<Value> {
        self.s.clobber_flags();
        self.s.settle_regs(self.s.stack.len());
        self.save_pins();
        let moves: Moves = args
            .iter()
            .zip([RDX, RCX, R8, R9])
            .map(|(value, reg)| (value.loc(), value.repr(), reg))
            .collect();
        let places = match builtin.may_collect() {
            true => self.places(self.s.stack.len()),
            false => Places::new(),
        };
        self.call_shim(Operation::new(builtin, first, second).pack(), moves);
        self.note_places(places);
        for value in args {
            self.s.release(value);
        }
        self.s.forget(self.s.temps);
        self.restore_pins();
        builtin.result().map(|word| {
            self.s.take(RAX, 0);
            let repr = match word {
                Word::W32 | Word::Ref => {
                    ins!(self.s.asm, movl_rm, RAX, RAX);
                    if word == Word::Ref { Repr::Ref } else { Repr::I32 }
                }
                Word::W64 => Repr::I64,
                Word::FuncRef => Repr::Pointer,
            };
            self.value_in(RAX, repr)
        })
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

    fn store_payload(&mut self, index: u32, repr: Repr, value: Value) {
        self.put_payload(index, repr, value);
    }

    fn load_payload(&mut self, index: u32, repr: Repr) -> Value {
        self.take_payload(index, repr)
    }

    fn call(&mut self, callee: Callee<Value>, ty: TypeIndex, tail: bool, scope: Option<Scope>) {
        let module = self.module;
        let layout = module.types[ty.index()].call_layout();
        let from = self.s.stack.len() - layout.params.len();
        self.s.clobber_flags();
        if !tail {
            self.s.settle_regs(from);
        }
        // The code's address travels in a register that holds no argument.
        let (direct, code, context) = match callee {
            Callee::Direct(func) => (Some(func), None, None),
            Callee::Import(func) => {
                let context = self.load_field(Field::ImportContext(func));
                (None, Some(self.load_field(Field::ImportCode(func))), Some(context))
            }
            Callee::Pointer { code, context } => (None, Some(code), Some(context)),
        };
        let has_code = code.is_some();
        let mut context = context;
        if let Some(code) = code {
            // Whoever is in `rax` moves; the context among them.
            if let Some(value) = &mut context
                && self.s.reg_of(value) == RAX
            {
                let value = context.take().expect("just seen");
                let reg = self.s.own_but(value, 1 << RAX);
                context = Some(self.value_in(reg, Repr::Pointer));
            }
            self.s.own_in(code, RAX, 0);
        }
        let own_context = Value::new(Loc::Local(CONTEXT), Repr::Pointer);
        let context = context.unwrap_or(own_context);
        let mut moves: Moves = SmallVec::new();
        moves.push((context.loc(), Repr::Pointer, RDI));
        let mut on_stack: SmallVec<[(Loc, Repr, u32); 4]> = SmallVec::new();
        for (index, place) in layout.params.iter().enumerate() {
            let (loc, repr) = self.s.stack[from + index].parts();
            match place {
                ArgLoc::Int(n) => moves.push((loc, repr, INT_ARGS[*n as usize])),
                ArgLoc::Vector(n) => moves.push((loc, repr, XMM0 + n)),
                ArgLoc::Stack(offset) => on_stack.push((loc, repr, *offset)),
            }
        }
        if tail {
            self.tail_call(direct, moves, &on_stack, layout);
            self.s.release(context);
            if has_code {
                self.s.unhold(RAX);
            }
            return;
        }
        self.save_pins();
        if layout.stack_bytes > 0 {
            self.reserve_args(layout.stack_bytes);
            self.store_args(&on_stack, 0);
        }
        self.parallel_move(&moves);
        if layout.area_bytes > 0 {
            self.reserve_area(layout.area_bytes);
            ins!(self.s.asm, leaq_rm, RSI, at(RSP, layout.stack_bytes as i32));
        }
        let places = self.places(from);
        self.transfer(direct, false);
        self.note_places(places);
        self.called_in(scope);
        self.s.release(context);
        if has_code {
            self.s.unhold(RAX);
        }
        self.s.truncate(from);
        self.s.forget(self.s.temps);
        self.restore_pins();
        let place = |result: &ResultLoc| match result {
            ResultLoc::Int(n) => Some([RAX, RCX][*n as usize]),
            ResultLoc::Vector(n) => Some([XMM0, XMM1][*n as usize]),
            ResultLoc::Area(_) => None,
        };
        layout.results.iter().filter_map(place).for_each(|reg| self.s.hold(reg));
        for (result, ty) in
            layout.results.iter().zip(module.types[ty.index()].func_type().results())
        {
            let repr = Repr::of(*ty);
            match (place(result), result) {
                (Some(reg), _) => {
                    if matches!(repr, Repr::I32 | Repr::Ref) {
                        ins!(self.s.asm, movl_rm, reg, reg);
                    }
                    self.s.push_reg(reg, repr);
                }
                (None, ResultLoc::Area(offset)) => {
                    let reg = self.s.alloc(bank(repr));
                    self.s.load(reg, at(RSP, *offset as i32), repr);
                    self.s.push_reg(reg, repr);
                }
                (None, _) => unreachable!("register results have registers"),
            }
        }
    }
}

/// What arithmetic makes of a value of this representation: no reference.
fn no_reference(repr: Repr) -> Repr {
    if repr == Repr::Ref { Repr::I32 } else { repr }
}

pub(crate) fn access_repr(access: Access) -> Repr {
    match access {
        Access::Full(repr) | Access::Narrow { to: repr, .. } => repr,
        Access::Extend { .. } | Access::Splat { .. } | Access::Zero { .. } => Repr::V128,
    }
}

impl Tier<'_> {
    /// Address of the values of an exception.
    pub(crate) fn payload(&mut self) -> Value {
        self.load_field(Field::Payload)
    }

    /// The index of a guarded access, extended; with the offset, if that is far.
    #[inline(always)]
    fn guarded_index(&mut self, index: Value, place: Guarded) -> Value {
        let index = self.zero_extend(index);
        if place.offset() > i32::MAX as u32 {
            return self.far_index(index, place);
        }
        index
    }

    /// With an offset that is more than an instruction can hold.
    #[cold]
    #[inline(never)]
    fn far_index(&mut self, index: Value, place: Guarded) -> Value {
        let offset = self.s.constant(u64::from(place.offset()), Repr::I64);
        self.arith(Arith::Add, index, offset)
    }

    /// The register with a memory's base; and that register if it is held for it, or `NO_REG`.
    #[inline(always)]
    fn guarded_base(&mut self, memory: MemoryIndex) -> (Reg, Reg) {
        if memory.0 == 0 && self.base_pin != NO_REG {
            return (self.base_pin, NO_REG);
        }
        self.unpinned_base(memory)
    }

    #[inline(never)]
    fn unpinned_base(&mut self, memory: MemoryIndex) -> (Reg, Reg) {
        let mut base = self.load_field(Field::MemoryBase(memory));
        let reg = self.s.reg_of(&mut base);
        (reg, if base.loc() == Loc::Reg(reg) { reg } else { NO_REG })
    }

    /// The memory operand of a guarded access, with what `guarded_index` gave.
    #[inline(always)]
    fn guarded_operand(&mut self, base: Reg, index: &mut Value, place: Guarded) -> Mem {
        let disp = i32::try_from(place.offset()).unwrap_or(0);
        if let Loc::Const(bits) = index.loc()
            && let Ok(sum) = i32::try_from(bits + disp as u64)
        {
            return at(base, sum);
        }
        indexed(base, self.s.reg_of(index), 0, disp)
    }

    /// Gives back what a guarded access held.
    #[inline(always)]
    fn release_guarded(&mut self, held: Reg, index: Value) {
        if held != NO_REG {
            self.s.unhold(held);
        }
        self.s.release(index);
    }

    #[inline(always)]
    fn load_access(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        dst: Reg,
        mem: Mem,
        may_fault: bool,
    ) {
        if may_fault {
            self.may_fault(Trap::MemoryOutOfBounds);
        }
        let start = self.s.asm.here();
        self.load_plain(access, dst, mem);
        self.claim_access(memory, start);
    }

    #[inline]
    pub(crate) fn load_plain(&mut self, access: Access, dst: Reg, mem: Mem) {
        let form = match access {
            Access::Full(repr) => load_form(repr),
            Access::Narrow { bits, signed, to } => narrow_load_form(bits, signed, to != Repr::I32),
            Access::Extend { .. } | Access::Splat { .. } | Access::Zero { .. } => {
                return self.vector_load(access, dst, mem);
            }
        };
        self.s.asm.form(form, number(dst), mem);
    }

    /// Writes the register, or the immediate if there is one.
    #[inline(always)]
    fn store_access(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        reg: Reg,
        imm: Option<i32>,
        mem: Mem,
        may_fault: bool,
    ) {
        if may_fault {
            self.may_fault(Trap::MemoryOutOfBounds);
        }
        let start = self.s.asm.here();
        self.store_plain(access, reg, imm, mem);
        self.claim_access(memory, start);
    }

    #[inline(always)]
    pub(crate) fn store_plain(&mut self, access: Access, reg: Reg, imm: Option<i32>, mem: Mem) {
        if let Some(imm) = imm {
            return self.store_imm(access, imm, mem);
        }
        let form = match access {
            Access::Narrow { bits, .. } => narrow_store_form(bits),
            Access::Full(repr) => store_form(repr),
            Access::Extend { .. } | Access::Splat { .. } | Access::Zero { .. } => {
                unreachable!("only loads extend")
            }
        };
        self.s.asm.form(form, number(reg), mem);
    }

    #[inline(never)]
    fn store_imm(&mut self, access: Access, imm: i32, mem: Mem) {
        match access {
            Access::Narrow { bits: 8, .. } => ins!(self.s.asm, movb_mi, mem, imm as u8),
            Access::Narrow { bits: 16, .. } => ins!(self.s.asm, movw_mi, mem, imm as u16),
            Access::Full(Repr::I64 | Repr::Pointer) => ins!(self.s.asm, movq_mi_sxl, mem, imm),
            _ => ins!(self.s.asm, movl_mi, mem, imm),
        }
    }

    /// A register, not `rax`, with an address; held by the caller.
    fn address_outside_of_rax(&mut self, addr: Addr<Address>) -> Reg {
        let mut addr = addr.into_inner();
        let mem = self.mem_of(&mut addr);
        let full = self.s.alloc_but(Bank::General, 1 << RAX);
        ins!(self.s.asm, leaq_rm, full, mem);
        self.release_addr(addr);
        full
    }

    /// A register, not `rax`, with a value, which holds it.
    fn outside_of_rax(&mut self, value: &mut Value) -> Reg {
        if self.s.known_reg(value) != RAX {
            return self.s.reg_of_but(value, 1 << RAX);
        }
        let repr = value.repr();
        let zero = self.s.constant(0, repr);
        let reg = self.s.own_but(std::mem::replace(value, zero), 1 << RAX);
        *value = self.value_in(reg, repr);
        reg
    }

    /// Writes a value atomically; the register, held, with what memory held before.
    fn exchange(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Address>,
        value: Value,
        may_fault: bool,
    ) -> Reg {
        let mut addr = addr.into_inner();
        let mem = self.mem_of(&mut addr);
        let reg = self.s.own(value);
        self.atomic_access(memory, may_fault, |asm| match access.bytes() {
            1 => ins!(*asm, xchgb_rm, reg, mem),
            2 => ins!(*asm, xchgw_rm, reg, mem),
            4 => ins!(*asm, xchgl_rm, reg, mem),
            _ => ins!(*asm, xchgq_rm, reg, mem),
        });
        self.release_addr(addr);
        reg
    }

    /// Adds or subtracts a value atomically; the register, held, with what memory held before.
    fn exchange_add(
        &mut self,
        memory: MemoryIndex,
        op: AtomicOp,
        access: Access,
        addr: Addr<Address>,
        value: Value,
        may_fault: bool,
    ) -> Reg {
        let mut addr = addr.into_inner();
        let mem = self.mem_of(&mut addr);
        let wide = wide(value.repr());
        let reg = self.s.own(value);
        if op == AtomicOp::Sub {
            ins_wide!(self.s.asm, wide, negl_m, negq_m, reg);
        }
        self.atomic_access(memory, may_fault, |asm| match access.bytes() {
            1 => ins!(*asm, lock_xaddb_mr, mem, reg),
            2 => ins!(*asm, lock_xaddw_mr, mem, reg),
            4 => ins!(*asm, lock_xaddl_mr, mem, reg),
            _ => ins!(*asm, lock_xaddq_mr, mem, reg),
        });
        self.release_addr(addr);
        reg
    }

    /// Writes `new` where `addr` points if that holds what `rax` holds; `rax` is what was there.
    fn compare_exchange(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Reg,
        new: Reg,
        may_fault: bool,
    ) {
        let mem = at(addr, 0);
        self.atomic_access(memory, may_fault, |asm| match access.bytes() {
            1 => ins!(*asm, lock_cmpxchgb_mr, mem, new, RAX),
            2 => ins!(*asm, lock_cmpxchgw_mr, mem, new, RAX),
            4 => ins!(*asm, lock_cmpxchgl_mr, mem, new, RAX),
            _ => ins!(*asm, lock_cmpxchgq_mr, mem, new, RAX),
        });
    }

    /// One instruction that reads and writes memory.
    fn atomic_access(&mut self, memory: MemoryIndex, may_fault: bool, emit: impl FnOnce(&mut Asm)) {
        if may_fault {
            self.may_fault(Trap::MemoryOutOfBounds);
        }
        let start = self.s.asm.here();
        emit(&mut self.s.asm);
        self.claim_access(memory, start);
    }

    /// Clears what lies above the bits that an atomic instruction wrote to a register.
    fn extend_atomic(&mut self, access: Access, reg: Reg) {
        match access.bytes() {
            1 => ins!(self.s.asm, movzbl_rm, reg, reg),
            2 => ins!(self.s.asm, movzwl_rm, reg, reg),
            // Where nothing is written, neither is the upper half.
            4 => ins!(self.s.asm, movl_rm, reg, reg),
            _ => {}
        }
    }

    /// A loaded value: in the register of the local that is set next, or in one of its own.
    fn result_value(&self, reg: Reg, repr: Repr) -> Value {
        if self.s.temps & 1 << reg != 0 {
            Value::new(Loc::Reg(reg), repr)
        } else {
            Value::new(self.next_local(), repr)
        }
    }

    fn store_args(&mut self, args: &[(Loc, Repr, u32)], base: i32) {
        for (loc, repr, offset) in args {
            let reg = self.reg_or_scratch(*loc, *repr);
            self.s.store(at(RSP, base + *offset as i32), reg, *repr);
        }
    }

    fn transfer(&mut self, direct: Option<wardian_module::DefinedFuncIndex>, tail: bool) {
        if !tail {
            self.mark();
        }
        match (direct, self.linkage) {
            (Some(func), Linkage::Direct) => self.s.asm.transfer(func, tail),
            (Some(func), Linkage::Slots) => {
                let slot = in_module_table(self.path(Field::CodeSlot(func)).offset);
                if tail {
                    ins!(self.s.asm, jmpq_m, slot);
                } else {
                    ins!(self.s.asm, callq_m, slot);
                }
            }
            (None, _) if tail => ins!(self.s.asm, jmpq_m, RAX),
            (None, _) => ins!(self.s.asm, callq_m, RAX),
        }
    }

    /// spec (return_call): the frame is gone when the callee starts. `moves` are its arguments in
    /// registers, the code's address is in `rax` unless `direct`.
    fn tail_call(
        &mut self,
        direct: Option<wardian_module::DefinedFuncIndex>,
        mut moves: Moves,
        on_stack: &[(Loc, Repr, u32)],
        layout: &wardian_module::abi::CallLayout,
    ) {
        if layout.area_bytes > 0 {
            // The callee's results are this function's.
            moves.push((Loc::Local(AREA), Repr::Pointer, RSI));
        }
        let (own, new) = (self.own.stack_bytes as i32, layout.stack_bytes as i32);
        if own == 0 && new == 0 {
            self.parallel_move(&moves);
            self.epilogue();
            return self.transfer(direct, true);
        }
        // New stack arguments are collected below the frame, then moved up to where they end where the
        // caller's arguments ended. They may lie over this frame, and over the return address.
        self.reserve_args(layout.stack_bytes + 16);
        self.store_args(on_stack, 16);
        self.parallel_move(&moves);
        ins!(self.s.asm, movq_rm, R11, at(RBP, 8));
        ins!(self.s.asm, movq_rm, R10, at(RBP, 0));
        ins!(self.s.asm, movq_mr, at(RSP, 0), R10);
        self.restore_saved();
        for word in (0..new / 8).rev() {
            ins!(self.s.asm, movq_rm, R10, at(RSP, 16 + 8 * word));
            ins!(self.s.asm, movq_mr, at(RBP, 16 + own - new + 8 * word), R10);
        }
        ins!(self.s.asm, leaq_rm, R10, at(RBP, 8 + own - new));
        ins!(self.s.asm, movq_rm, RBP, at(RSP, 0));
        ins!(self.s.asm, movq_rm, RSP, R10);
        ins!(self.s.asm, movq_mr, at(RSP, 0), R11);
        self.transfer(direct, true);
    }
}

/// The arithmetic of an expansion.
fn alu_of(op: Arith) -> Alu {
    match op {
        Arith::Add => Alu::Add,
        Arith::Sub => Alu::Sub,
        Arith::And => Alu::And,
        Arith::Or => Alu::Or,
        Arith::Shl | Arith::ShrU | Arith::ShrS => {
            unreachable!("shifts have a shape of their own")
        }
    }
}

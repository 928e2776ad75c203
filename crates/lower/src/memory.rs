//! Linear memory: accesses with their bounds checks, size, growth, bulk operations.
//!
//! Invariant [checked access]: the address given to a load or store is `index + offset` of a memory of
//! length `length` with `index + offset + size <= length` in unbounded arithmetic, or it lies in the
//! guard region behind the memory, where the access faults. Whoever adds a way to access memory goes
//! through `address`.

use crate::driver::{Immediates, Lowering};
use crate::emit::*;
use wardian_module::layout::{Field, Repr};
use wardian_module::{Builtin, IndexType, MemoryIndex, MemoryPlan, MemoryType, Settings, Trap};
use wasmparser::{MemArg, MemArgTarget, Operator};

/// What an atomic access does.
enum Atomic {
    Load(Access),
    Store(Access),
    Update(AtomicOp, Access),
    CompareExchange(Access),
}

fn atomic_access(op: &Operator<'_>) -> Option<(MemArg, Atomic)> {
    use Atomic::*;
    use AtomicOp::{Add, And, Exchange, Or, Sub, Xor};
    use Operator as O;
    let (i32, i64) = (Access::Full(Repr::I32), Access::Full(Repr::I64));
    let narrow = |bits, to| Access::Narrow { bits, signed: false, to };
    let (i32_8, i32_16) = (narrow(8, Repr::I32), narrow(16, Repr::I32));
    let (i64_8, i64_16) = (narrow(8, Repr::I64), narrow(16, Repr::I64));
    let i64_32 = narrow(32, Repr::I64);
    Some(match *op {
        O::I32AtomicLoad { memarg } => (memarg, Load(i32)),
        O::I64AtomicLoad { memarg } => (memarg, Load(i64)),
        O::I32AtomicLoad8U { memarg } => (memarg, Load(i32_8)),
        O::I32AtomicLoad16U { memarg } => (memarg, Load(i32_16)),
        O::I64AtomicLoad8U { memarg } => (memarg, Load(i64_8)),
        O::I64AtomicLoad16U { memarg } => (memarg, Load(i64_16)),
        O::I64AtomicLoad32U { memarg } => (memarg, Load(i64_32)),
        O::I32AtomicStore { memarg } => (memarg, Store(i32)),
        O::I64AtomicStore { memarg } => (memarg, Store(i64)),
        O::I32AtomicStore8 { memarg } => (memarg, Store(i32_8)),
        O::I32AtomicStore16 { memarg } => (memarg, Store(i32_16)),
        O::I64AtomicStore8 { memarg } => (memarg, Store(i64_8)),
        O::I64AtomicStore16 { memarg } => (memarg, Store(i64_16)),
        O::I64AtomicStore32 { memarg } => (memarg, Store(i64_32)),
        O::I32AtomicRmwAdd { memarg } => (memarg, Update(Add, i32)),
        O::I64AtomicRmwAdd { memarg } => (memarg, Update(Add, i64)),
        O::I32AtomicRmw8AddU { memarg } => (memarg, Update(Add, i32_8)),
        O::I32AtomicRmw16AddU { memarg } => (memarg, Update(Add, i32_16)),
        O::I64AtomicRmw8AddU { memarg } => (memarg, Update(Add, i64_8)),
        O::I64AtomicRmw16AddU { memarg } => (memarg, Update(Add, i64_16)),
        O::I64AtomicRmw32AddU { memarg } => (memarg, Update(Add, i64_32)),
        O::I32AtomicRmwSub { memarg } => (memarg, Update(Sub, i32)),
        O::I64AtomicRmwSub { memarg } => (memarg, Update(Sub, i64)),
        O::I32AtomicRmw8SubU { memarg } => (memarg, Update(Sub, i32_8)),
        O::I32AtomicRmw16SubU { memarg } => (memarg, Update(Sub, i32_16)),
        O::I64AtomicRmw8SubU { memarg } => (memarg, Update(Sub, i64_8)),
        O::I64AtomicRmw16SubU { memarg } => (memarg, Update(Sub, i64_16)),
        O::I64AtomicRmw32SubU { memarg } => (memarg, Update(Sub, i64_32)),
        O::I32AtomicRmwAnd { memarg } => (memarg, Update(And, i32)),
        O::I64AtomicRmwAnd { memarg } => (memarg, Update(And, i64)),
        O::I32AtomicRmw8AndU { memarg } => (memarg, Update(And, i32_8)),
        O::I32AtomicRmw16AndU { memarg } => (memarg, Update(And, i32_16)),
        O::I64AtomicRmw8AndU { memarg } => (memarg, Update(And, i64_8)),
        O::I64AtomicRmw16AndU { memarg } => (memarg, Update(And, i64_16)),
        O::I64AtomicRmw32AndU { memarg } => (memarg, Update(And, i64_32)),
        O::I32AtomicRmwOr { memarg } => (memarg, Update(Or, i32)),
        O::I64AtomicRmwOr { memarg } => (memarg, Update(Or, i64)),
        O::I32AtomicRmw8OrU { memarg } => (memarg, Update(Or, i32_8)),
        O::I32AtomicRmw16OrU { memarg } => (memarg, Update(Or, i32_16)),
        O::I64AtomicRmw8OrU { memarg } => (memarg, Update(Or, i64_8)),
        O::I64AtomicRmw16OrU { memarg } => (memarg, Update(Or, i64_16)),
        O::I64AtomicRmw32OrU { memarg } => (memarg, Update(Or, i64_32)),
        O::I32AtomicRmwXor { memarg } => (memarg, Update(Xor, i32)),
        O::I64AtomicRmwXor { memarg } => (memarg, Update(Xor, i64)),
        O::I32AtomicRmw8XorU { memarg } => (memarg, Update(Xor, i32_8)),
        O::I32AtomicRmw16XorU { memarg } => (memarg, Update(Xor, i32_16)),
        O::I64AtomicRmw8XorU { memarg } => (memarg, Update(Xor, i64_8)),
        O::I64AtomicRmw16XorU { memarg } => (memarg, Update(Xor, i64_16)),
        O::I64AtomicRmw32XorU { memarg } => (memarg, Update(Xor, i64_32)),
        O::I32AtomicRmwXchg { memarg } => (memarg, Update(Exchange, i32)),
        O::I64AtomicRmwXchg { memarg } => (memarg, Update(Exchange, i64)),
        O::I32AtomicRmw8XchgU { memarg } => (memarg, Update(Exchange, i32_8)),
        O::I32AtomicRmw16XchgU { memarg } => (memarg, Update(Exchange, i32_16)),
        O::I64AtomicRmw8XchgU { memarg } => (memarg, Update(Exchange, i64_8)),
        O::I64AtomicRmw16XchgU { memarg } => (memarg, Update(Exchange, i64_16)),
        O::I64AtomicRmw32XchgU { memarg } => (memarg, Update(Exchange, i64_32)),
        O::I32AtomicRmwCmpxchg { memarg } => (memarg, CompareExchange(i32)),
        O::I64AtomicRmwCmpxchg { memarg } => (memarg, CompareExchange(i64)),
        O::I32AtomicRmw8CmpxchgU { memarg } => (memarg, CompareExchange(i32_8)),
        O::I32AtomicRmw16CmpxchgU { memarg } => (memarg, CompareExchange(i32_16)),
        O::I64AtomicRmw8CmpxchgU { memarg } => (memarg, CompareExchange(i64_8)),
        O::I64AtomicRmw16CmpxchgU { memarg } => (memarg, CompareExchange(i64_16)),
        O::I64AtomicRmw32CmpxchgU { memarg } => (memarg, CompareExchange(i64_32)),
        _ => return None,
    })
}

/// The width in bits of a lane, and the accesses that move one.
fn lane_access(lane_bits: u8) -> Access {
    match lane_bits {
        64 => Access::Full(Repr::I64),
        32 => Access::Full(Repr::I32),
        bits => Access::Narrow { bits, signed: false, to: Repr::I32 },
    }
}

/// What a plain load or store does; `Err` for other instructions.
enum Plain {
    Load(Access),
    Store(Access),
    LoadLane(u8, u8),
    StoreLane(u8, u8),
}

#[inline(always)]
fn plain_access(op: &Operator<'_>) -> Option<(MemArg, Plain)> {
    use Operator as O;
    use Plain::*;
    let narrow = |bits, signed, to| Access::Narrow { bits, signed, to };
    let (i32, i64) = (Repr::I32, Repr::I64);
    let extend = |lane_bits, signed| Access::Extend { lane_bits, signed };
    let splat = |lane_bits| Access::Splat { lane_bits };
    Some(match *op {
        O::I32Load { memarg } => (memarg, Load(Access::Full(i32))),
        O::I64Load { memarg } => (memarg, Load(Access::Full(i64))),
        O::F32Load { memarg } => (memarg, Load(Access::Full(Repr::F32))),
        O::F64Load { memarg } => (memarg, Load(Access::Full(Repr::F64))),
        O::V128Load { memarg } => (memarg, Load(Access::Full(Repr::V128))),
        O::I32Load8S { memarg } => (memarg, Load(narrow(8, true, i32))),
        O::I32Load8U { memarg } => (memarg, Load(narrow(8, false, i32))),
        O::I32Load16S { memarg } => (memarg, Load(narrow(16, true, i32))),
        O::I32Load16U { memarg } => (memarg, Load(narrow(16, false, i32))),
        O::I64Load8S { memarg } => (memarg, Load(narrow(8, true, i64))),
        O::I64Load8U { memarg } => (memarg, Load(narrow(8, false, i64))),
        O::I64Load16S { memarg } => (memarg, Load(narrow(16, true, i64))),
        O::I64Load16U { memarg } => (memarg, Load(narrow(16, false, i64))),
        O::I64Load32S { memarg } => (memarg, Load(narrow(32, true, i64))),
        O::I64Load32U { memarg } => (memarg, Load(narrow(32, false, i64))),
        O::I32Store { memarg } => (memarg, Store(Access::Full(i32))),
        O::I64Store { memarg } => (memarg, Store(Access::Full(i64))),
        O::F32Store { memarg } => (memarg, Store(Access::Full(Repr::F32))),
        O::F64Store { memarg } => (memarg, Store(Access::Full(Repr::F64))),
        O::V128Store { memarg } => (memarg, Store(Access::Full(Repr::V128))),
        O::I32Store8 { memarg } => (memarg, Store(narrow(8, false, i32))),
        O::I32Store16 { memarg } => (memarg, Store(narrow(16, false, i32))),
        O::I64Store8 { memarg } => (memarg, Store(narrow(8, false, i64))),
        O::I64Store16 { memarg } => (memarg, Store(narrow(16, false, i64))),
        O::I64Store32 { memarg } => (memarg, Store(narrow(32, false, i64))),
        O::V128Load8x8S { memarg } => (memarg, Load(extend(8, true))),
        O::V128Load8x8U { memarg } => (memarg, Load(extend(8, false))),
        O::V128Load16x4S { memarg } => (memarg, Load(extend(16, true))),
        O::V128Load16x4U { memarg } => (memarg, Load(extend(16, false))),
        O::V128Load32x2S { memarg } => (memarg, Load(extend(32, true))),
        O::V128Load32x2U { memarg } => (memarg, Load(extend(32, false))),
        O::V128Load8Splat { memarg } => (memarg, Load(splat(8))),
        O::V128Load16Splat { memarg } => (memarg, Load(splat(16))),
        O::V128Load32Splat { memarg } => (memarg, Load(splat(32))),
        O::V128Load64Splat { memarg } => (memarg, Load(splat(64))),
        O::V128Load32Zero { memarg } => (memarg, Load(Access::Zero { bits: 32 })),
        O::V128Load64Zero { memarg } => (memarg, Load(Access::Zero { bits: 64 })),
        O::V128Load8Lane { memarg, lane } => (memarg, LoadLane(8, lane)),
        O::V128Load16Lane { memarg, lane } => (memarg, LoadLane(16, lane)),
        O::V128Load32Lane { memarg, lane } => (memarg, LoadLane(32, lane)),
        O::V128Load64Lane { memarg, lane } => (memarg, LoadLane(64, lane)),
        O::V128Store8Lane { memarg, lane } => (memarg, StoreLane(8, lane)),
        O::V128Store16Lane { memarg, lane } => (memarg, StoreLane(16, lane)),
        O::V128Store32Lane { memarg, lane } => (memarg, StoreLane(32, lane)),
        O::V128Store64Lane { memarg, lane } => (memarg, StoreLane(64, lane)),
        _ => return None,
    })
}

#[inline]
fn memory_of(memarg: MemArg) -> MemoryIndex {
    match memarg.target {
        MemArgTarget::Memory(index) => MemoryIndex(index),
        MemArgTarget::Array(_) => {
            unreachable!("validated: no wide accesses to arrays without their proposal")
        }
    }
}

/// How far behind every 32-bit index an access may end without a check: 0 where accesses are checked.
pub fn guarded_reach(settings: &Settings, ty: &MemoryType) -> u64 {
    let plan = MemoryPlan::new(settings, ty);
    if plan.guarded && ty.index == IndexType::I32 { plan.guard } else { 0 }
}

/// An address and whether the access to it may fault.
type Checked<A> = Option<(Addr<A>, bool)>;

impl<E: Emit> Lowering<'_, E> {
    /// Lowers an instruction on memories; `false` if it is none.
    pub(crate) fn memory_op(&mut self, op: &Operator<'_>) -> bool {
        if let Some((memarg, access)) = plain_access(op) {
            self.access(memory_of(memarg), memarg.offset, access);
            return true;
        }
        if let Some((memarg, access)) = atomic_access(op) {
            self.atomic(memory_of(memarg), memarg.offset, access);
            return true;
        }
        match *op {
            Operator::AtomicFence { .. } => self.emit.fence(),
            Operator::MemoryAtomicWait32 { memarg } => self.wait(memarg, 4, Builtin::MemoryWait32),
            Operator::MemoryAtomicWait64 { memarg } => self.wait(memarg, 8, Builtin::MemoryWait64),
            Operator::MemoryAtomicNotify { memarg } => {
                let memory = memory_of(memarg);
                let count = self.emit.pop();
                let index = self.aligned_index(memory, memarg.offset, 4);
                let offset = self.const_i64(memarg.offset);
                let args = [index.into_value(), offset, count];
                let woken = self.builtin(Builtin::MemoryNotify, memory.0, 0, args);
                self.emit.push(woken.expect("memory.atomic.notify has a result"));
            }
            Operator::MemorySize { mem } => {
                let ty = self.module.memories[mem as usize];
                let length = self.emit.load_field(Field::MemoryLength(MemoryIndex(mem)));
                let pages = match ty.page_size_log2 {
                    0 => length,
                    log2 => {
                        let shift = self.const_i64(u64::from(log2));
                        self.emit.arith(Arith::ShrU, length, shift)
                    }
                };
                self.push_index(ty.index, pages);
            }
            Operator::MemoryGrow { mem } => {
                let ty = self.memory_index_type(mem);
                let pages = self.pop_index(ty).into_value();
                let old = self.builtin(Builtin::MemoryGrow, mem, 0, [pages]);
                self.push_index(ty, old.expect("memory.grow has a result"));
            }
            Operator::MemoryCopy { dst_mem, src_mem } => {
                let (target_ty, source_ty) =
                    (self.memory_index_type(dst_mem), self.memory_index_type(src_mem));
                let length = self.pop_index(shorter(target_ty, source_ty)).into_value();
                if self.is_direct(dst_mem) && self.is_direct(src_mem) {
                    return self.copy_directly(MemoryIndex(dst_mem), MemoryIndex(src_mem), length);
                }
                let source = self.pop_index(source_ty).into_value();
                let target = self.pop_index(target_ty).into_value();
                self.builtin(Builtin::MemoryCopy, dst_mem, src_mem, [target, source, length]);
            }
            Operator::MemoryFill { mem } => {
                let ty = self.memory_index_type(mem);
                let length = self.pop_index(ty).into_value();
                let value = self.emit.pop();
                if self.is_direct(mem) {
                    return self.fill_directly(MemoryIndex(mem), value, length);
                }
                let target = self.pop_index(ty).into_value();
                self.builtin(Builtin::MemoryFill, mem, 0, [target, value, length]);
            }
            Operator::MemoryInit { data_index, mem } => {
                let length = self.emit.pop();
                let source = self.emit.pop();
                let target = self.pop_index(self.memory_index_type(mem)).into_value();
                self.builtin(Builtin::MemoryInit, mem, data_index, [target, source, length]);
            }
            Operator::DataDrop { data_index } => {
                self.builtin(Builtin::DataDrop, data_index, 0, []);
            }
            _ => return false,
        }
        true
    }

    /// Whether bulk instructions on a memory are done without the host. With 64-bit indices the ends of
    /// ranges may overflow. Bytes that other threads write meanwhile are copied by the host, in a way that
    /// allows for that.
    fn is_direct(&self, memory: u32) -> bool {
        let ty = self.module.memories[memory as usize];
        ty.index == IndexType::I32 && !ty.shared
    }

    /// Counts bytes that code copies or fills by itself, where it counts.
    pub(crate) fn count_bytes(&mut self, length: &E::Value) {
        if self.settings.counts_turns() {
            let bytes = self.emit.copy(length);
            let left = self.emit.spent();
            let left = self.emit.arith(Arith::Sub, left, bytes);
            self.emit.set_spent(left);
        }
    }

    /// Pays `each` for as many bytes as a bulk instruction is about to write, whose ranges were checked: see
    /// `metering::size_cost`. Or counts them.
    fn pay_for_bytes(&mut self, each: u8, length: &E::Value) {
        self.count_bytes(length);
        if !self.settings.consume_fuel {
            return;
        }
        // The product, by the bits that are set.
        let mut cost = None;
        for bit in (0..8).filter(|bit| each & 1 << bit != 0) {
            let mut part = self.emit.copy(length);
            if bit > 0 {
                let bit = self.const_i64(bit);
                part = self.emit.arith(Arith::Shl, part, bit);
            }
            cost = Some(match cost {
                Some(sum) => self.emit.arith(Arith::Add, sum, part),
                None => part,
            });
        }
        let Some(cost) = cost else { return };
        let before = self.emit.spent();
        let spent = self.emit.copy(&before);
        let spent = self.emit.arith(Arith::Add, spent, cost);
        let after = self.emit.copy(&spent);
        let short = self.emit.compare(Compare::LtU, after, before);
        let info = TrapInfo { trap: Trap::OutOfFuel, place: 0 };
        self.emit.trap_if(short, info, Details::new());
        self.emit.set_spent(spent);
    }

    /// Pops an index and traps unless an access of `bytes` bytes at `index + offset` is aligned. Bounds are
    /// looked at afterwards.
    fn aligned_index(&mut self, memory: MemoryIndex, offset: u64, bytes: u32) -> Index<E::Value> {
        let index = self.pop_index(self.module.memories[memory.index()].index);
        if bytes == 1 {
            return index;
        }
        let mask = u64::from(bytes) - 1;
        let mut low = self.copy_index(&index);
        if offset & mask != 0 {
            let offset = self.const_i64(offset & mask);
            low = self.emit.arith(Arith::Add, low, offset);
        }
        let bits = self.const_i64(mask);
        let low = self.emit.arith(Arith::And, low, bits);
        let zero = self.const_i64(0);
        let misaligned = self.emit.compare(Compare::Ne, low, zero);
        let info = TrapInfo { trap: Trap::HeapMisaligned, place: memory.0 };
        self.emit.trap_if(misaligned, info, Details::new());
        index
    }

    /// `memory.atomic.wait32`, `memory.atomic.wait64`
    fn wait(&mut self, memarg: MemArg, bytes: u32, builtin: Builtin) {
        let memory = memory_of(memarg);
        let timeout = self.emit.pop();
        let expected = self.emit.pop();
        let index = self.aligned_index(memory, memarg.offset, bytes);
        let offset = self.const_i64(memarg.offset);
        let args = [index.into_value(), offset, expected, timeout];
        let result = self.builtin(builtin, memory.0, 0, args);
        self.emit.push(result.expect("waiting has a result"));
    }

    /// Atomic accesses to memory.
    fn atomic(&mut self, memory: MemoryIndex, offset: u64, access: Atomic) {
        match access {
            Atomic::Load(access) => {
                let index = self.aligned_index(memory, offset, access.bytes());
                if let Some((addr, may_fault)) =
                    self.address_of(memory, index, offset, access.bytes())
                {
                    let value = self.emit.atomic_load(memory, access, addr, may_fault);
                    self.emit.push(value);
                }
            }
            Atomic::Store(access) => {
                let value = self.emit.pop();
                let index = self.aligned_index(memory, offset, access.bytes());
                match self.address_of(memory, index, offset, access.bytes()) {
                    Some((addr, may_fault)) => {
                        self.emit.atomic_store(memory, access, addr, value, may_fault);
                    }
                    None => self.emit.discard(value),
                }
            }
            Atomic::Update(op, access) => {
                let value = self.emit.pop();
                let index = self.aligned_index(memory, offset, access.bytes());
                match self.address_of(memory, index, offset, access.bytes()) {
                    Some((addr, may_fault)) => {
                        let old =
                            self.emit.atomic_update(memory, op, access, addr, value, may_fault);
                        self.emit.push(old);
                    }
                    None => self.emit.discard(value),
                }
            }
            Atomic::CompareExchange(access) => {
                let replacement = self.emit.pop();
                let expected = self.emit.pop();
                let index = self.aligned_index(memory, offset, access.bytes());
                match self.address_of(memory, index, offset, access.bytes()) {
                    Some((addr, may_fault)) => {
                        let values = [expected, replacement];
                        let old = self
                            .emit
                            .atomic_compare_exchange(memory, access, addr, values, may_fault);
                        self.emit.push(old);
                    }
                    None => {
                        self.emit.discard(replacement);
                        self.emit.discard(expected);
                    }
                }
            }
        }
    }

    /// `memory.copy`, of whose operands the length was popped.
    fn copy_directly(
        &mut self,
        target: MemoryIndex,
        source: MemoryIndex,
        length: E::Value,
    ) -> bool {
        let from = self.pop_index(IndexType::I32);
        let to = self.pop_index(IndexType::I32);
        self.check_range(source, &from, &length);
        self.check_range(target, &to, &length);
        self.pay_for_bytes(self.settings.operator_cost.variable.memory_copy_per_byte, &length);
        let from = Addr(self.emit.memory_addr(source, from, 0));
        let to = Addr(self.emit.memory_addr(target, to, 0));
        self.emit.copy_bytes(to, from, length);
        true
    }

    /// `memory.fill`, of whose operands all but the start were popped.
    fn fill_directly(&mut self, memory: MemoryIndex, byte: E::Value, length: E::Value) -> bool {
        let start = self.pop_index(IndexType::I32);
        self.check_range(memory, &start, &length);
        self.pay_for_bytes(self.settings.operator_cost.variable.memory_fill_per_byte, &length);
        let start = Addr(self.emit.memory_addr(memory, start, 0));
        self.emit.fill_bytes(start, byte, length);
        true
    }

    /// Traps unless `length` bytes from a 32-bit index on lie in a memory.
    fn check_range(&mut self, memory: MemoryIndex, start: &Index<E::Value>, length: &E::Value) {
        let info = TrapInfo { trap: Trap::MemoryOutOfBounds, place: memory.0 };
        let detail_index = self.copy_index(start);
        let detail_length = self.emit.copy(length);
        let (first, count) = (self.copy_index(start), self.emit.copy(length));
        // Both are below 2^32.
        let end = self.emit.arith(Arith::Add, first, count);
        let size = self.emit.load_field(Field::MemoryLength(memory));
        let past = self.emit.compare(Compare::GtU, end, size);
        self.emit.trap_if(past, info, Details::from_iter([detail_index, detail_length]));
    }

    fn memory_index_type(&self, memory: u32) -> IndexType {
        self.module.memories[memory as usize].index
    }

    /// Lowers a scalar load or store of memory 0, which is known to be one when this program is compiled.
    #[inline(always)]
    pub(crate) fn scalar_access(&mut self, op: &Operator<'_>, location: u64) {
        match plain_access(op) {
            Some((memarg, Plain::Load(access))) => {
                self.scalar_load(access, memarg.offset, location);
            }
            Some((memarg, Plain::Store(access))) => {
                self.scalar_store(access, memarg.offset, location);
            }
            _ => unreachable!("a scalar load or store"),
        }
    }

    /// One function for all: what is the same for them should lie in the processor's cache of code once.
    #[inline(never)]
    fn scalar_load(&mut self, access: Access, offset: u64, location: u64) {
        if self.reachable {
            self.begin(location, Immediates::Memarg);
            self.load(MemoryIndex(0), offset, access);
        }
    }

    #[inline(never)]
    fn scalar_store(&mut self, access: Access, offset: u64, location: u64) {
        if self.reachable {
            // Nobody looks behind it: it has no result.
            self.begin(location, Immediates::Other);
            self.store(MemoryIndex(0), offset, access);
        }
    }

    #[inline(always)]
    fn load(&mut self, memory: MemoryIndex, offset: u64, access: Access) {
        if let Some(place) = self.guarded(memory, offset, access.bytes()) {
            return self.emit.guarded_load(access, place);
        }
        self.checked_load(memory, offset, access);
    }

    #[inline(never)]
    fn checked_load(&mut self, memory: MemoryIndex, offset: u64, access: Access) {
        if let Some((addr, may_fault)) = self.address(memory, offset, access.bytes()) {
            let value = self.emit.memory_load(memory, access, addr, may_fault);
            self.emit.push(value);
        }
    }

    #[inline(always)]
    fn store(&mut self, memory: MemoryIndex, offset: u64, access: Access) {
        if let Some(place) = self.guarded(memory, offset, access.bytes()) {
            return self.emit.guarded_store(access, place);
        }
        self.checked_store(memory, offset, access);
    }

    #[inline(never)]
    fn checked_store(&mut self, memory: MemoryIndex, offset: u64, access: Access) {
        let value = self.emit.pop();
        match self.address(memory, offset, access.bytes()) {
            Some((addr, may_fault)) => {
                self.emit.memory_store(memory, access, addr, value, may_fault);
            }
            None => self.emit.discard(value),
        }
    }

    #[inline(always)]
    fn access(&mut self, memory: MemoryIndex, offset: u64, access: Plain) {
        match access {
            Plain::Load(access) => self.load(memory, offset, access),
            Plain::Store(access) => self.store(memory, offset, access),
            Plain::LoadLane(bits, lane) => {
                let vector = self.emit.pop();
                let access = lane_access(bits);
                let Some((addr, may_fault)) = self.address(memory, offset, access.bytes()) else {
                    return self.emit.discard(vector);
                };
                let scalar = self.emit.memory_load(memory, access, addr, may_fault);
                let vector = self.emit.replace_lane(bits, lane, vector, scalar);
                self.emit.push(vector);
            }
            Plain::StoreLane(bits, lane) => {
                let vector = self.emit.pop();
                let access = lane_access(bits);
                let Some((addr, may_fault)) = self.address(memory, offset, access.bytes()) else {
                    return self.emit.discard(vector);
                };
                let scalar = self.emit.extract_lane(bits, lane, vector);
                self.emit.memory_store(memory, access, addr, scalar, may_fault);
            }
        }
    }

    /// The place of an access of `bytes` bytes that needs no check, whatever its index is.
    #[inline(always)]
    fn guarded(&self, memory: MemoryIndex, offset: u64, bytes: u32) -> Option<Guarded> {
        let reach = match memory.index() {
            0 => self.guarded_first,
            index => self.guarded.get(index).copied().unwrap_or(0),
        };
        let end = offset.checked_add(u64::from(bytes))?;
        let offset = u32::try_from(offset).ok()?;
        (end <= reach).then_some(Guarded { memory, offset })
    }

    /// Whether the address of a checked access that ends at `index + end` is masked: a processor that
    /// ignores the check for a while would get out of what is reserved for the memory.
    fn is_masked(&self, memory: MemoryIndex, end: Option<u64>) -> bool {
        let plan = MemoryPlan::new(self.settings, &self.module.memories[memory.index()]);
        let confined = plan.confined && end.is_some_and(|end| end <= plan.guard);
        self.settings.spectre_mitigation && !confined
    }

    /// Whether an access that ends at `index + end` is in bounds of every memory of this type.
    fn is_always_in_bounds(&self, memory: MemoryIndex, index: &Index<E::Value>, end: u64) -> bool {
        let Some(index) = self.emit.constant_index(index) else { return false };
        let minimum = self.module.memories[memory.index()].minimum_bytes();
        u128::from(index) + u128::from(end) <= minimum
    }

    /// Whether an access that ends at `index + end` is out of bounds of every memory of this type.
    fn is_never_in_bounds(&self, memory: MemoryIndex, index: &Index<E::Value>, end: u64) -> bool {
        let Some(index) = self.emit.constant_index(index) else { return false };
        let maximum = self.module.memories[memory.index()].maximum_bytes();
        u128::from(index) + u128::from(end) > maximum
    }

    /// Pops an index and checks an access of `bytes` bytes at `index + offset`. `None` if it is always
    /// out of bounds: then the trap has been emitted and what follows cannot be reached.
    fn address(&mut self, memory: MemoryIndex, offset: u64, bytes: u32) -> Checked<E::Addr> {
        let index = self.pop_index(self.module.memories[memory.index()].index);
        self.address_of(memory, index, offset, bytes)
    }

    /// As `address`, of an index that was popped.
    fn address_of(
        &mut self,
        memory: MemoryIndex,
        index: Index<E::Value>,
        offset: u64,
        bytes: u32,
    ) -> Checked<E::Addr> {
        let ty = self.module.memories[memory.index()].index;
        if let Some(place) = self.guarded(memory, offset, bytes) {
            let addr = self.emit.memory_addr(memory, index, u64::from(place.offset()));
            return Some((Addr(addr), true));
        }
        let info = TrapInfo { trap: Trap::MemoryOutOfBounds, place: memory.0 };
        let end = offset.checked_add(u64::from(bytes));
        let masked = self.is_masked(memory, end);
        if let Some(end) = end
            && (self.is_always_in_bounds(memory, &index, end)
                || !masked && self.emit.is_in_bounds(memory, &index, end))
        {
            return Some((Addr(self.emit.memory_addr(memory, index, offset)), false));
        }

        let detail_index = self.copy_index(&index);
        let detail_offset = self.const_i64(offset);
        let details = Details::from_iter([detail_index, detail_offset]);
        // Code generators make strange things of comparisons whose result they know.
        let end = end.filter(|end| !self.is_never_in_bounds(memory, &index, *end));
        let checked = self.copy_index(&index);
        let out_of_bounds = match (ty, end) {
            (IndexType::I32, Some(end)) => {
                // Validation bounds `offset` by 2^32 - 1: the sum stays below 2^34.
                let end = self.const_i64(end);
                let end = self.emit.arith(Arith::Add, checked, end);
                let length = self.emit.load_field(Field::MemoryLength(memory));
                self.emit.compare(Compare::GtU, end, length)
            }
            (IndexType::I64, Some(end)) => {
                // `index + end` may overflow; `length - end` is only used where it does not.
                let length = self.emit.load_field(Field::MemoryLength(memory));
                let length_copy = self.emit.copy(&length);
                let end_value = self.const_i64(end);
                let short = self.emit.compare(Compare::LtU, length_copy, end_value);
                let end_value = self.const_i64(end);
                let room = self.emit.arith(Arith::Sub, length, end_value);
                let past = self.emit.compare(Compare::GtU, checked, room);
                self.emit.arith(Arith::Or, short, past)
            }
            (_, None) => {
                self.emit.discard(checked);
                self.emit.discard(index.into_value());
                let always = self.emit.constant(Const::I32(1));
                self.emit.trap_if(always, info, details);
                self.emit.trap(info);
                self.stop();
                return None;
            }
        };
        if !masked {
            self.emit.trap_if(out_of_bounds, info, details);
            self.emit.in_bounds(memory, &index, end.unwrap_or(0));
            return Some((Addr(self.emit.memory_addr(memory, index, offset)), false));
        }
        let condition = self.emit.copy(&out_of_bounds);
        self.emit.trap_if(condition, info, details);
        let addr = self.emit.memory_addr(memory, index, offset);
        Some((Addr(self.emit.guard_addr(out_of_bounds, addr)), false))
    }
}

/// The type of a length that concerns two memories or tables. spec (memory.copy, table.copy).
pub(crate) fn shorter(a: IndexType, b: IndexType) -> IndexType {
    match (a, b) {
        (IndexType::I64, IndexType::I64) => IndexType::I64,
        _ => IndexType::I32,
    }
}

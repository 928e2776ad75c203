//! Builtins of generated code, and the same operations for instantiation: bulk memory and tables.
//!
//! spec 4.6: bounds are checked before any write, with sums that cannot overflow.

use crate::arrays;
use crate::instantiate::eval;
use crate::parking::{WaitResult, begin_wait, notify_builtin};
use crate::store::{Limiter, Store, Unlimited};
use wardian_module::{
    Builtin, DataIndex, ElemIndex, ElemItems, MemoryIndex, Rounding, TableIndex, Trap, TypeId,
    is_subtype,
};
use wardian_vm::{BuiltinCall, Extern, Failure, InstanceId, MemoryId, TableId, Value};

/// Carries out a builtin for `store`.
pub fn builtin(
    store: &mut Store,
    limiter: &mut dyn Limiter,
    call: BuiltinCall,
) -> Result<u64, Failure> {
    let BuiltinCall { instance, operation, args: [a, b, c, _], func } = call;
    let memory = |store: &Store, index| store.memory_of(instance, MemoryIndex(index));
    let table = |store: &Store, index| store.table_of(instance, TableIndex(index));
    let (first, second) = (operation.first, operation.second);
    let paid = pay(store, &call)?;
    match operation.builtin {
        Builtin::Raise => {
            // The kernel raises; this is the generic form of it.
            Err(Trap::from_code(first as u8).unwrap_or(Trap::UnreachableCodeReached).into())
        }
        // The kernel answers; as here, "none yet" is always right.
        Builtin::TierUp => Ok(0),
        // So does the kernel's host for this.
        Builtin::EpochReached => Err(Trap::Interrupt.into()),
        Builtin::MemoryGrow => {
            let id = memory(store, first);
            let grown = store.memory_grow(limiter, id, a)?;
            Ok(grown.unwrap_or_else(|| refused(store, paid)))
        }
        Builtin::MemoryCopy => {
            let (target, source) = (memory(store, first), memory(store, second));
            let copied = store.kernel.memory_copy(target, a, source, b, c);
            copied.map_err(|_| Trap::MemoryOutOfBounds)?;
            Ok(0)
        }
        Builtin::MemoryFill => {
            let id = memory(store, first);
            let filled = store.kernel.memory_fill(id, a, b as u8, c);
            filled.map_err(|_| Trap::MemoryOutOfBounds)?;
            Ok(0)
        }
        Builtin::MemoryInit => {
            let id = memory(store, first);
            memory_init(store, instance, id, DataIndex(second), a, b, c)
        }
        // Hosts whose guests are asked to stop wait by themselves, piece by piece.
        Builtin::MemoryWait32 | Builtin::MemoryWait64 => match begin_wait(store, &call)? {
            None => Ok(WaitResult::Mismatch as u64),
            Some(mut waiter) => loop {
                if let Some(result) = waiter.park(None) {
                    break Ok(result as u64);
                }
            },
        },
        Builtin::MemoryNotify => notify_builtin(store, &call),
        Builtin::DataDrop => {
            store.kernel.drop_data(instance, DataIndex(first));
            Ok(0)
        }
        Builtin::TableGrowFunc => {
            let id = table(store, first);
            // Arguments are (value, count).
            let grown = store.table_grow(limiter, id, b, Value::Func(func))?;
            Ok(grown.unwrap_or_else(|| refused(store, paid)))
        }
        Builtin::TableGrowRef => {
            let id = table(store, first);
            let grown = store.table_grow(limiter, id, b, Value::Ref(a as u32))?;
            Ok(grown.unwrap_or_else(|| refused(store, paid)))
        }
        Builtin::TableFillFunc => table_fill(store, table(store, first), a, Value::Func(func), c),
        Builtin::TableFillRef => table_fill(store, table(store, first), a, Value::Ref(b as u32), c),
        Builtin::TableCopy => {
            let (target, source) = (table(store, first), table(store, second));
            let copied = store.kernel.table_copy(target, a, source, b, c);
            copied.map_err(|_| Trap::TableOutOfBounds)?;
            Ok(0)
        }
        Builtin::TableInit => {
            let id = table(store, first);
            table_init(store, instance, id, ElemIndex(second), a, b, c)?;
            Ok(0)
        }
        Builtin::ElemDrop => {
            store.drop_elements(instance, ElemIndex(first));
            Ok(0)
        }
        Builtin::RoundF32 => Ok(u64::from(
            round_f32(Rounding::from_constant(first), f32::from_bits(a as u32)).to_bits(),
        )),
        Builtin::RoundF64 => {
            Ok(round_f64(Rounding::from_constant(first), f64::from_bits(a)).to_bits())
        }
        Builtin::FmaF32 => {
            let [x, y, z] = [a, b, c].map(|bits| f32::from_bits(bits as u32));
            Ok(u64::from(x.mul_add(y, z).to_bits()))
        }
        Builtin::FmaF64 => {
            let [x, y, z] = [a, b, c].map(f64::from_bits);
            Ok(x.mul_add(y, z).to_bits())
        }
        Builtin::IsSubtype => {
            let expected = store.kernel.instance_code(instance).module().types[first as usize].id();
            let found = TypeId::from_u32(a as u32);
            Ok(found.is_some_and(|found| is_subtype(found, expected)).into())
        }
        Builtin::FuncIs => {
            let expected = store.kernel.instance_code(instance).module().types[first as usize].id();
            let found = func.and_then(|func| store.kernel.func_type(func));
            Ok(found.is_some_and(|found| is_subtype(found.id(), expected)).into())
        }
        Builtin::FuncToId => {
            let number = func.map(|func| store.kernel.func_number(func)).transpose();
            let number = number.map_err(|_| Trap::GcHeapOutOfMemory)?;
            Ok(number.unwrap_or(0).into())
        }
        Builtin::GcRemember => {
            store.remember(a as u32);
            Ok(0)
        }
        Builtin::ExnNew => store.keep_thrown(limiter).map(u64::from),
        Builtin::ExnThrow => Ok(store.throw_again(a as u32).into()),
        Builtin::GcAllocStruct
        | Builtin::GcAllocArray
        | Builtin::ArrayFill
        | Builtin::ArrayCopy
        | Builtin::ArrayNewData
        | Builtin::ArrayNewElem
        | Builtin::ArrayInitData
        | Builtin::ArrayInitElem => arrays::builtin(store, limiter, &call),
    }
}

/// Pays for the size of what a builtin is about to do; what was paid. What is out of bounds is not done,
/// and costs nothing.
fn pay(store: &Store, call: &BuiltinCall) -> Result<u64, Trap> {
    let costs = &store.settings.operator_cost.variable;
    let cost = wardian_lower::size_cost(costs, call.operation, call.args);
    if cost == 0 || !store.consumes_fuel() || !in_bounds(store, call) {
        return Ok(0);
    }
    store.pay(cost)?;
    Ok(cost)
}

/// A growth was refused: gives back what was paid for it.
fn refused(store: &Store, paid: u64) -> u64 {
    store.give_back(paid);
    u64::MAX
}

/// Whether a builtin that costs by size has a chance.
fn in_bounds(store: &Store, call: &BuiltinCall) -> bool {
    let BuiltinCall { instance, operation, args: [a, b, c, _], .. } = *call;
    let (first, second) = (operation.first, operation.second);
    let fits = |length: u64, start: u64, count: u64| {
        start.checked_add(count).is_some_and(|end| end <= length)
    };
    let memory = |index, start, count| {
        let id = store.memory_of(instance, MemoryIndex(index));
        fits(store.kernel.memory_length(id) as u64, start, count)
    };
    let table = |index, start, count| {
        let id = store.table_of(instance, TableIndex(index));
        fits(store.kernel.table_size(id), start, count)
    };
    let module = store.kernel.instance_code(instance).module();
    match operation.builtin {
        Builtin::MemoryGrow => {
            let id = store.memory_of(instance, MemoryIndex(first));
            let ty = store.kernel.memory_type(id);
            let pages = ty.maximum_bytes() >> ty.page_size_log2;
            u128::from(store.kernel.memory_size(id)) + u128::from(a) <= pages
        }
        Builtin::TableGrowFunc | Builtin::TableGrowRef => {
            let id = store.table_of(instance, TableIndex(first));
            let most = store.kernel.table_type(id).limits.max.unwrap_or(u64::MAX);
            fits(most.min(wardian_vm::MAX_TABLE_ELEMENTS), store.kernel.table_size(id), b)
        }
        Builtin::MemoryCopy => memory(first, a, c) && memory(second, b, c),
        Builtin::MemoryFill => memory(first, a, c),
        Builtin::MemoryInit => {
            let segment = DataIndex(second);
            let length = store.kernel.data_bytes(instance, segment, module).len();
            memory(first, a, c) && fits(length as u64, b, c)
        }
        Builtin::TableFillFunc | Builtin::TableFillRef => table(first, a, c),
        Builtin::TableCopy => table(first, a, c) && table(second, b, c),
        Builtin::TableInit => {
            let length = segment_length(store, instance, ElemIndex(second));
            table(first, a, c) && fits(length as u64, b, c)
        }
        _ => arrays::in_bounds(store, call),
    }
}

/// spec 4.3.3: a NaN operand gives an arithmetic NaN, so a signalling one is made quiet.
fn round_f32(rounding: Rounding, x: f32) -> f32 {
    let quiet = if x.is_nan() { f32::from_bits(x.to_bits() | 0x0040_0000) } else { x };
    match rounding {
        _ if x.is_nan() => quiet,
        Rounding::Ceil => x.ceil(),
        Rounding::Floor => x.floor(),
        Rounding::Trunc => x.trunc(),
        Rounding::Nearest => x.round_ties_even(),
    }
}

fn round_f64(rounding: Rounding, x: f64) -> f64 {
    let quiet = if x.is_nan() { f64::from_bits(x.to_bits() | 0x0008_0000_0000_0000) } else { x };
    match rounding {
        _ if x.is_nan() => quiet,
        Rounding::Ceil => x.ceil(),
        Rounding::Floor => x.floor(),
        Rounding::Trunc => x.trunc(),
        Rounding::Nearest => x.round_ties_even(),
    }
}

pub(crate) fn range(length: usize, start: u64, count: u64) -> Option<std::ops::Range<usize>> {
    let end = start.checked_add(count).filter(|end| *end <= length as u64)?;
    Some(start as usize..end as usize)
}

/// `memory.init`
fn memory_init(
    store: &mut Store,
    instance: InstanceId,
    memory: MemoryId,
    segment: DataIndex,
    target: u64,
    source: u64,
    count: u64,
) -> Result<u64, Failure> {
    let module = store.kernel.instance_code(instance).module().clone();
    let data = store.kernel.data_bytes(instance, segment, &module);
    let from = range(data.len(), source, count).ok_or(Trap::MemoryOutOfBounds)?;
    let written = store.kernel.memory_write(memory, target, &data[from]);
    written.map_err(|_| Trap::MemoryOutOfBounds)?;
    Ok(0)
}

fn table_fill(
    store: &mut Store,
    table: TableId,
    start: u64,
    value: Value,
    count: u64,
) -> Result<u64, Failure> {
    store.kernel.table_fill(table, start, value, count).map_err(|_| Trap::TableOutOfBounds)?;
    Ok(0)
}

/// `table.init`
pub(crate) fn table_init(
    store: &mut Store,
    instance: InstanceId,
    table: TableId,
    segment: ElemIndex,
    target: u64,
    source: u64,
    count: u64,
) -> Result<(), Failure> {
    let from = range(segment_length(store, instance, segment), source, count)
        .ok_or(Trap::TableOutOfBounds)?;
    let size = store.kernel.table_size(table);
    if target.checked_add(count).is_none_or(|end| end > size) {
        return Err(Trap::TableOutOfBounds.into());
    }
    for (item, index) in from.zip(target..) {
        let value = segment_item(store, instance, segment, item);
        let set = store.kernel.table_fill(table, index, value, 1);
        set.expect("validated types, and the range was checked");
    }
    Ok(())
}

/// Items of an element segment; none if it was dropped.
pub(crate) fn segment_length(store: &Store, instance: InstanceId, segment: ElemIndex) -> usize {
    let module = store.kernel.instance_code(instance).module();
    let length = module.elements[segment.index()].items.len();
    if store.elements_dropped(instance, segment) { 0 } else { length }
}

/// An item of an element segment, which has so many.
pub(crate) fn segment_item(
    store: &mut Store,
    instance: InstanceId,
    segment: ElemIndex,
    item: usize,
) -> Value {
    if let Some(references) = store.element_refs.get(&(instance, segment)) {
        return Value::Ref(references[item]);
    }
    let code = store.kernel.instance_code(instance).clone();
    match &code.module().elements[segment.index()].items {
        ElemItems::Funcs(funcs) => Value::Func(store.kernel.instance_func(instance, funcs[item])),
        ElemItems::Exprs(exprs) => {
            // Nothing else makes objects: those were evaluated at instantiation.
            let value = eval(store, &mut Unlimited, instance, &exprs[item]);
            value.unwrap_or_else(|_| unreachable!("functions and null take no room"))
        }
    }
}

/// The functions among an instance's externs, for `ref.func`.
pub(crate) fn func_value(
    store: &Store,
    instance: InstanceId,
    index: wardian_module::FuncIndex,
) -> Value {
    match store.kernel.instance_extern(instance, wardian_module::ExternIndex::Func(index)) {
        Some(Extern::Func(id)) => Value::Func(Some(id)),
        _ => unreachable!("functions of constant expressions have references"),
    }
}

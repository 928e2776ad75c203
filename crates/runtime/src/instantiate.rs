//! Instantiation: allocation by the kernel, then globals, tables, segments and the start function in
//! the order of the specification (4.5.4).
//!
//! A trap part-way leaves the instance in the store: tables of others may refer to its functions.

use crate::builtins::{func_value, table_init};
use crate::initial;
use crate::store::{Dropped, Limiter, Store, element_bytes, minimum_bytes, refused};
use std::sync::Arc;
use wardian_module::{
    ConstExpr, ConstOp, DataIndex, ElemIndex, ElemItems, ElemSegment, GlobalIndex, HeapTop,
    MemoryIndex, Module, SegmentMode, TableIndex, Trap,
};
use wardian_vm::{
    Code, Extern, Failure, FuncId, Import, InitialMemory, InstanceId, MemoryId, Value,
};

/// Bytes of segments from which on they are worth a look before they are copied.
const MUCH_DATA: usize = 2 << 20;

/// Why an instance could not be made.
#[derive(Debug)]
pub enum InstantiateError {
    /// Import number `.0` of the module has another type.
    Import(usize),
    /// A limit, or the system, refused an allocation; in words.
    Limit(String),
    /// A segment did not fit, or another trap of initialization.
    Failure(Failure),
}

impl From<Failure> for InstantiateError {
    fn from(failure: Failure) -> Self {
        InstantiateError::Failure(failure)
    }
}

impl Store {
    /// Makes an instance, and returns the start function that the caller must run next, if there is
    /// one.
    pub fn instantiate(
        &mut self,
        limiter: &mut dyn Limiter,
        code: &Arc<Code>,
        imports: &[Extern],
    ) -> Result<(InstanceId, Option<FuncId>), InstantiateError> {
        let imports: Vec<_> = imports.iter().map(|import| Import::Extern(*import)).collect();
        self.instantiate_with(limiter, code, &imports)
    }

    /// As [`instantiate`](Store::instantiate), with host functions that the store does not have yet.
    pub fn instantiate_with(
        &mut self,
        limiter: &mut dyn Limiter,
        code: &Arc<Code>,
        imports: &[Import],
    ) -> Result<(InstanceId, Option<FuncId>), InstantiateError> {
        let module = code.module().clone();
        let (memories, tables) = (
            &module.memories[module.imported_memories..],
            &module.tables[module.imported_tables..],
        );
        let counts = self.kernel.counts();
        for (what, found, limit) in [
            ("instances", counts.instances + 1, limiter.instances()),
            ("memories", counts.memories + memories.len(), limiter.memories()),
            ("tables", counts.tables + tables.len(), limiter.tables()),
        ] {
            if found > limit {
                let text = format!("the store's limit is {limit} {what}; this would be {found}");
                return Err(InstantiateError::Limit(text));
            }
        }
        for ty in memories {
            self.check_memory(limiter, ty)?;
        }
        for table in tables {
            self.check_table(limiter, &table.ty)?;
        }
        let memory_bytes = memories.iter().map(minimum_bytes);
        let table_bytes = tables.iter().map(|table| element_bytes(&table.ty, table.ty.limits.min));
        self.check_budget(limiter, memory_bytes.chain(table_bytes).fold(0, u64::saturating_add))?;
        self.prepare_heap(&module).map_err(|error| {
            let text = format!(
                "failed to make a heap: {error}; it takes 4 GiB of address space, and room for a shape of \
                 each type"
            );
            InstantiateError::Limit(text)
        })?;
        let settings = self.settings.clone();
        let images = if settings.memory_init_cow { initial::of(code) } else { &[] };
        let made = self.kernel.instantiate_with(code.clone(), imports, &settings, images);
        self.settle();
        let instance = made.map_err(|error| match error {
            wardian_vm::InstantiateError::Import(position) => InstantiateError::Import(position),
            wardian_vm::InstantiateError::Memory(error) => {
                InstantiateError::Limit(refused("an instance", &settings, &error))
            }
        })?;
        self.dropped.resize_with(instance.index() + 1, Dropped::default);
        self.tell_headers(instance, &module);
        for (index, global) in module.globals.iter().enumerate() {
            if let Some(init) = &global.init {
                let value = eval(self, limiter, instance, init)?;
                let id = self.global_of(instance, GlobalIndex::from(index));
                self.kernel.global_set(id, value).expect("validated initializers have their type");
            }
        }
        for (index, table) in module.tables.iter().enumerate() {
            if let Some(init) = &table.init {
                let value = eval(self, limiter, instance, init)?;
                let id = self.table_of(instance, TableIndex::from(index));
                let size = self.kernel.table_size(id);
                self.kernel
                    .table_fill(id, 0, value, size)
                    .expect("validated initializers have their type");
            }
        }
        for (index, segment) in module.elements.iter().enumerate() {
            self.evaluate_elements(limiter, instance, ElemIndex::from(index), segment)?;
        }
        for (index, segment) in module.elements.iter().enumerate() {
            let index = ElemIndex::from(index);
            if let SegmentMode::Active(table, offset) = &segment.mode {
                let offset = index_of(eval(self, limiter, instance, offset)?);
                let id = self.table_of(instance, *table);
                let count = segment.items.len() as u64;
                table_init(self, instance, id, index, offset, 0, count)?;
            }
            if segment.mode != SegmentMode::Passive {
                self.drop_elements(instance, index);
            }
        }
        self.expect_data(instance, &module, images);
        // Modules may have tens of thousands of segments, nearly all for one memory.
        let mut last: Option<(MemoryIndex, MemoryId)> = None;
        for (index, segment) in module.data.iter().enumerate() {
            let index = DataIndex::from(index);
            if let SegmentMode::Active(memory, offset) = &segment.mode {
                let own = memory.index().checked_sub(module.imported_memories);
                if own.and_then(|own| images.get(own)).is_none_or(Option::is_none) {
                    let offset = index_of(eval(self, limiter, instance, offset)?);
                    let id = match last {
                        Some((of, id)) if of == *memory => id,
                        _ => self.memory_of(instance, *memory),
                    };
                    last = Some((*memory, id));
                    let written = self.kernel.memory_write(id, offset, module.data_bytes(index));
                    written.map_err(|_| Failure::from(Trap::MemoryOutOfBounds))?;
                }
                self.kernel.drop_data(instance, index);
            }
        }
        let start = module.start.and_then(|index| self.kernel.instance_func(instance, index));
        Ok((instance, start))
    }
}

impl Store {
    /// Tells the system of memories whose beginning large segments are about to fill.
    fn expect_data(
        &mut self,
        instance: InstanceId,
        module: &Module,
        images: &[Option<Arc<InitialMemory>>],
    ) {
        let all: usize = module.data.iter().map(|segment| segment.bytes.len()).sum();
        let shared = module.memories.first().is_none_or(|memory| memory.shared);
        if all < MUCH_DATA || shared || images.iter().any(Option::is_some) {
            return;
        }
        // The first memory stands for all: few modules have more, and nothing depends on it.
        let (mut bytes, mut first, mut last) = (0, usize::MAX, 0);
        for segment in &module.data {
            if let SegmentMode::Active(MemoryIndex(0), ConstExpr::I32(offset)) = segment.mode {
                let start = offset as u32 as usize;
                let end = start.saturating_add(segment.bytes.len());
                bytes += segment.bytes.len();
                first = first.min(start);
                last = last.max(end);
            }
        }
        // Untouched holes would take memory.
        if bytes >= MUCH_DATA && last.saturating_sub(first) / 8 * 7 <= bytes {
            let memory = self.memory_of(instance, MemoryIndex(0));
            let content = self.kernel.memory_bytes_mut(memory);
            if let Some(content) = content.get_mut(first..last) {
                wardian_vm::prefer_large_pages(content);
            }
        }
    }

    /// Evaluates the items of a segment once, unless they are functions or null: those are the same whenever
    /// they are asked for.
    fn evaluate_elements(
        &mut self,
        limiter: &mut dyn Limiter,
        instance: InstanceId,
        index: ElemIndex,
        segment: &ElemSegment,
    ) -> Result<(), Failure> {
        let ElemItems::Exprs(exprs) = &segment.items else { return Ok(()) };
        if segment.ty.heap.top() == HeapTop::Func {
            return Ok(());
        }
        // They are roots from the first on.
        self.element_refs.insert((instance, index), vec![0; exprs.len()].into());
        for (item, expr) in exprs.iter().enumerate() {
            let Value::Ref(reference) = eval(self, limiter, instance, expr)? else {
                unreachable!("validated items are of the segment's type")
            };
            if let Some(references) = self.element_refs.get_mut(&(instance, index)) {
                references[item] = reference;
            }
        }
        Ok(())
    }
}

/// A segment's offset: unsigned, of the memory's or table's index type.
fn index_of(value: Value) -> u64 {
    match value {
        Value::I32(v) => u64::from(v as u32),
        Value::I64(v) => v as u64,
        _ => unreachable!("validated offsets are integers"),
    }
}

/// The value of a constant expression. Operands are roots: making an object may move others.
pub(crate) fn eval(
    store: &mut Store,
    limiter: &mut dyn Limiter,
    instance: InstanceId,
    expr: &ConstExpr,
) -> Result<Value, Failure> {
    let ops = match expr {
        ConstExpr::I32(value) => return Ok(Value::I32(*value)),
        ConstExpr::Ops(ops) => &**ops,
    };
    let base = store.operands.len();
    let result = ops.iter().try_for_each(|op| step(store, limiter, instance, op));
    let value = store.operands.pop();
    store.operands.truncate(base);
    result.map(|()| value.expect("validated expressions leave a value"))
}

fn step(
    store: &mut Store,
    limiter: &mut dyn Limiter,
    instance: InstanceId,
    op: &ConstOp,
) -> Result<(), Failure> {
    let value = match *op {
        ConstOp::I32(v) => Value::I32(v),
        ConstOp::I64(v) => Value::I64(v),
        ConstOp::F32(bits) => Value::F32(bits),
        ConstOp::F64(bits) => Value::F64(bits),
        ConstOp::V128(bits) => Value::V128(bits),
        ConstOp::GlobalGet(index) => store.kernel.global_get(store.global_of(instance, index)),
        ConstOp::RefFunc(index) => func_value(store, instance, index),
        ConstOp::RefNull(HeapTop::Func) => Value::Func(None),
        ConstOp::RefNull(_) => Value::Ref(0),
        ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => {
            let (b, a) = (pop_i32(store), pop_i32(store));
            Value::I32(match op {
                ConstOp::I32Add => a.wrapping_add(b),
                ConstOp::I32Sub => a.wrapping_sub(b),
                _ => a.wrapping_mul(b),
            })
        }
        ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => {
            let (Some(Value::I64(b)), Some(Value::I64(a))) =
                (store.operands.pop(), store.operands.pop())
            else {
                unreachable!("validated operands")
            };
            Value::I64(match op {
                ConstOp::I64Add => a.wrapping_add(b),
                ConstOp::I64Sub => a.wrapping_sub(b),
                _ => a.wrapping_mul(b),
            })
        }
        ConstOp::RefI31 => Value::Ref((pop_i32(store) as u32) << 1 | 1),
        // The same bits from both sides.
        ConstOp::AnyConvertExtern | ConstOp::ExternConvertAny => return Ok(()),
        ConstOp::StructNew(ty) | ConstOp::StructNewDefault(ty) => {
            let ty = store.module_type(instance, ty);
            let shape = store.shape(&ty).ok_or(Trap::GcHeapOutOfMemory)?;
            let object = store.allocate(limiter, shape, 0)?;
            let layout = ty.as_struct().expect("validated: a struct type");
            if matches!(op, ConstOp::StructNew(_)) {
                for field in (0..layout.fields().len() as u32).rev() {
                    let value = store.operands.pop().expect("validated operands");
                    let storage = layout.fields()[field as usize].storage;
                    store.set_field(object, layout.offset(field), storage, value);
                }
            }
            Value::Ref(object)
        }
        ConstOp::ArrayNew(ty) | ConstOp::ArrayNewDefault(ty) => {
            let length = pop_i32(store) as u32;
            let ty = store.module_type(instance, ty);
            let shape = store.shape(&ty).ok_or(Trap::GcHeapOutOfMemory)?;
            let array = store.allocate(limiter, shape, length)?;
            if matches!(op, ConstOp::ArrayNew(_)) {
                let value = store.operands.pop().expect("validated operands");
                let storage = ty.as_array().expect("validated: an array type").element.storage;
                store.fill_elements(array, storage, 0, length, value);
            }
            Value::Ref(array)
        }
        ConstOp::ArrayNewFixed(ty, length) => {
            let ty = store.module_type(instance, ty);
            let shape = store.shape(&ty).ok_or(Trap::GcHeapOutOfMemory)?;
            let array = store.allocate(limiter, shape, length)?;
            let storage = ty.as_array().expect("validated: an array type").element.storage;
            for index in (0..length).rev() {
                let value = store.operands.pop().expect("validated operands");
                let offset = Store::element_offset(storage.bytes(), index);
                store.set_field(array, offset, storage, value);
            }
            Value::Ref(array)
        }
    };
    store.operands.push(value);
    Ok(())
}

fn pop_i32(store: &mut Store) -> i32 {
    match store.operands.pop() {
        Some(Value::I32(value)) => value,
        _ => unreachable!("validated operands"),
    }
}

//! The store's collected heap: what `gc` does with bytes, done for the kernel's region, the module's types
//! and the host's values and limits.
//!
//! Invariants:
//! - the kernel's window for new objects is the collector's whenever guest code runs;
//! - no reference is held over an allocation but in a root: in `HostRoots`, in `Store::operands`, in an
//!   element segment, or where the kernel finds it.

use crate::log;
use crate::store::{Limiter, Store};
use std::any::Any;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Instant;
use wardian_gc::{self as gc, Attempt, Kind, Layout, Memory, References, Step, Which};
use wardian_module::layout::{NO_BARRIER, OBJECT_ELEMENTS};
use wardian_module::{
    ArrayType, CompositeType, HeapType, Module, RefType, RegisteredType, StorageType, StructType,
    Trap, TypeId, TypeIndex, ValType,
};
use wardian_vm::{Failure, InstanceId, Value};

/// What an engine's configuration says of heaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeapConfig {
    /// Bytes that a heap may have at most, if the system has them.
    pub reservation: u64,
    /// Bytes that a heap asks for at first.
    pub initial_bytes: u64,
    /// Bytes of the part where new objects begin, at most.
    pub nursery_bytes: u32,
    /// Whether an object that survives a collection is still young after it.
    pub aging: bool,
    /// Collect at each allocation of so many: to find mistakes.
    pub zeal: Option<NonZeroU32>,
}

impl Default for HeapConfig {
    fn default() -> HeapConfig {
        HeapConfig {
            reservation: 1 << 32,
            initial_bytes: 0,
            nursery_bytes: 4 << 20,
            aging: false,
            zeal: None,
        }
    }
}

/// What a reference refers to.
#[derive(Clone, Debug)]
pub enum Referent<'a> {
    /// An integer of 31 bits, unsigned.
    I31(u32),
    /// An object of this type.
    Object(&'a RegisteredType),
    /// An exception, of a tag of this function type.
    Exn(&'a RegisteredType),
    /// A value of the host.
    Extern,
}

type HostValue = Box<dyn Any + Send + Sync>;

/// The heap of a store, once there is one.
#[derive(Debug)]
pub(crate) struct Heap {
    gc: gc::Heap,
    shapes: HashMap<TypeId, u32>,
    exn_shapes: HashMap<TypeId, u32>,
    /// The types of descriptors, by tag.
    types: Vec<RegisteredType>,
    /// By number.
    host_values: Vec<Option<HostValue>>,
    /// Bytes of these.
    host_bytes: u64,
    /// How many of them are worth a collection.
    host_threshold: u64,
}

/// Bytes of host values from which on a collection may be worth while.
const HOST_BYTES: u64 = 16 << 20;

impl Heap {
    /// Bytes that it has been granted, and those of host values.
    pub(crate) fn bytes(&self) -> u64 {
        self.gc.granted() + self.host_bytes
    }

    pub(crate) fn host_value(&self, number: u32) -> Option<&HostValue> {
        self.host_values.get(number as usize)?.as_ref()
    }
}

fn host_bytes(value: &HostValue) -> u64 {
    (size_of_val(value) + size_of_val(&**value)) as u64
}

fn out_of_memory() -> Failure {
    Trap::GcHeapOutOfMemory.into()
}

impl Store {
    // ---- making it ----

    /// Makes the heap, unless there is one.
    pub(crate) fn make_heap(&mut self) -> std::io::Result<()> {
        if self.heap.is_some() {
            return Ok(());
        }
        let config = self.heap_config;
        self.kernel.make_heap(config.reservation)?;
        let gc_config = gc::Config {
            eden_bytes: config.nursery_bytes,
            aging: config.aging,
            zeal: config.zeal.map_or(0, NonZeroU32::get),
            initial_bytes: config.initial_bytes,
        };
        let mut memory = Memory::new(self.kernel.heap_bytes_mut());
        let gc = gc::Heap::new(&mut memory, gc_config).ok_or(std::io::ErrorKind::OutOfMemory)?;
        let (next, limit) = gc.window();
        self.kernel.set_heap_window(next, limit);
        self.heap = Some(Box::new(Heap {
            gc,
            shapes: HashMap::new(),
            exn_shapes: HashMap::new(),
            types: Vec::new(),
            host_values: Vec::new(),
            host_bytes: 0,
            host_threshold: HOST_BYTES,
        }));
        Ok(())
    }

    /// Makes the heap, and room for its types, for a module whose code can look into objects.
    pub(crate) fn prepare_heap(&mut self, module: &Module) -> std::io::Result<()> {
        if module.uses_heap {
            self.make_heap()?;
            for ty in module.types.iter().filter(|ty| ty.as_func().is_none()) {
                self.shape(ty).ok_or(std::io::ErrorKind::OutOfMemory)?;
            }
        }
        Ok(())
    }

    /// Tells an instance how its objects begin. What it needs was prepared.
    pub(crate) fn tell_headers(&mut self, instance: InstanceId, module: &Module) {
        if !module.uses_heap {
            return;
        }
        for (index, ty) in module.types.iter().enumerate() {
            if ty.as_func().is_none() {
                let shape = self.shape(ty).expect("shapes stay");
                let header = u64::from(shape) | u64::from(NO_BARRIER) << 32;
                self.kernel.set_object_header(instance, TypeIndex(index as u32), header);
            }
        }
    }

    /// The shape of objects of a struct or array type. `None` if there is no room for more shapes, or no
    /// heap.
    pub fn shape(&mut self, ty: &RegisteredType) -> Option<u32> {
        let heap = self.heap.as_mut()?;
        if let Some(shape) = heap.shapes.get(&ty.id()) {
            return Some(*shape);
        }
        let mut memory = Memory::new(self.kernel.heap_bytes_mut());
        let mut parent = None;
        for &id in ty.supertypes() {
            let shape = match heap.shapes.get(&id) {
                Some(shape) => *shape,
                None => {
                    let ty = RegisteredType::from_id(id)?;
                    let layout = layout(&ty, heap.types.len() as u32)?;
                    let shape = heap.gc.add_shape(&mut memory, &layout, parent)?;
                    heap.types.push(ty);
                    heap.shapes.insert(id, shape);
                    shape
                }
            };
            parent = Some(shape);
        }
        parent
    }

    /// The shape of exceptions of tags of a function type; it makes the heap. `None` if there is no room.
    pub fn exn_shape(&mut self, ty: &RegisteredType) -> Option<u32> {
        self.make_heap().ok()?;
        let heap = self.heap.as_mut()?;
        if let Some(shape) = heap.exn_shapes.get(&ty.id()) {
            return Some(*shape);
        }
        let params = ty.func_type().params();
        let place = |index: usize| OBJECT_ELEMENTS + 16 * index as u32;
        let traced = |(_, ty): &(usize, &ValType)| StorageType::Val(**ty).is_traced();
        let references = params.iter().enumerate().filter(traced).map(|(index, _)| place(index));
        let layout = Layout {
            kind: Kind::Exn,
            size: place(params.len()),
            references: References::At(references.collect()),
            tag: heap.types.len() as u32,
        };
        let mut memory = Memory::new(self.kernel.heap_bytes_mut());
        let shape = heap.gc.add_shape(&mut memory, &layout, None)?;
        heap.types.push(ty.clone());
        heap.exn_shapes.insert(ty.id(), shape);
        Some(shape)
    }

    // ---- allocation and collection ----

    /// Makes an object of a shape, zero or null; an array of so many elements.
    pub fn allocate(
        &mut self,
        limiter: &mut dyn Limiter,
        shape: u32,
        length: u32,
    ) -> Result<u32, Failure> {
        self.allocate_or_leave(limiter, shape, length, true)
    }

    /// Makes an array, all elements of which the caller writes next.
    pub(crate) fn allocate_unwritten(
        &mut self,
        limiter: &mut dyn Limiter,
        shape: u32,
        length: u32,
    ) -> Result<u32, Failure> {
        self.allocate_or_leave(limiter, shape, length, false)
    }

    fn allocate_or_leave(
        &mut self,
        limiter: &mut dyn Limiter,
        shape: u32,
        length: u32,
        clear: bool,
    ) -> Result<u32, Failure> {
        let heap = self.heap.as_ref().ok_or_else(out_of_memory)?;
        let memory = Memory::new(self.kernel.heap_bytes_mut());
        let bytes = heap.gc.object_bytes(&memory, shape, length);
        let bytes = bytes.ok_or(Trap::AllocationTooLarge)?;
        self.make_heap_room(limiter, |heap, attempt| heap.plan(bytes, attempt))?;
        let heap = self.heap.as_mut().ok_or_else(out_of_memory)?;
        let mut memory = Memory::new(self.kernel.heap_bytes_mut());
        let object = heap.gc.allocate(&mut memory, shape, bytes, length, clear);
        self.show_window();
        Ok(object)
    }

    /// Does what the collector says is to be done, until there is nothing more.
    fn make_heap_room(
        &mut self,
        limiter: &mut dyn Limiter,
        plan: impl Fn(&gc::Heap, &Attempt) -> Step,
    ) -> Result<(), Failure> {
        let mut attempt = Attempt::default();
        loop {
            let heap = self.heap.as_mut().ok_or_else(out_of_memory)?;
            heap.gc.set_next(self.kernel.heap_next());
            let granted = heap.gc.granted();
            match plan(&heap.gc, &attempt) {
                Step::Ready => return Ok(()),
                Step::OutOfMemory => return Err(out_of_memory()),
                Step::Grant(bytes) => {
                    let fits = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                    let allowed = limiter.memory_growing(fits(granted), fits(bytes), None)?
                        && self.make_room(limiter, bytes - granted);
                    let heap = self.heap.as_mut().ok_or_else(out_of_memory)?;
                    heap.gc.answer(bytes, allowed, &mut attempt);
                    self.settle();
                }
                Step::Collect(which) => {
                    self.collect(which);
                    let heap = self.heap.as_ref().ok_or_else(out_of_memory)?;
                    heap.gc.collected(which, &mut attempt);
                }
            }
        }
    }

    /// Collects all that nothing reaches. An error if the store's limits leave no room for that.
    pub fn gc(&mut self, limiter: &mut dyn Limiter) -> Result<(), Failure> {
        if self.heap.is_none() {
            return Ok(());
        }
        self.make_heap_room(limiter, gc::Heap::plan_full)?;
        let released = self.heap.as_mut().map(|heap| heap.gc.release(true)).unwrap_or_default();
        for (offset, bytes) in released {
            self.kernel.release_heap(offset, bytes);
        }
        self.settle();
        Ok(())
    }

    fn collect(&mut self, which: Which) {
        let Store { kernel, heap, roots, operands, element_refs, pending_exception, .. } = self;
        let Some(heap) = heap else { return };
        let (bytes, mut outside) = kernel.heap_and_roots();
        let mut memory = Memory::new(bytes);
        let mut all = |visit: &mut dyn FnMut(u32) -> u32| {
            outside.each(visit);
            roots.each(visit);
            if *pending_exception != 0 {
                *pending_exception = visit(*pending_exception);
            }
            for reference in element_refs.values_mut().flat_map(|references| &mut **references) {
                *reference = visit(*reference);
            }
            for value in &mut *operands {
                if let Value::Ref(reference) = value {
                    *reference = visit(*reference);
                }
            }
        };
        // Looking takes as long as the heap is large.
        let looks = cfg!(debug_assertions) && heap.gc.used() < 1 << 20;
        if looks {
            heap.gc.verify(&memory, &mut all);
        }
        let begun = tracing::enabled!(target: log::GC, tracing::Level::DEBUG).then(Instant::now);
        let moved = heap.gc.stats().moved_bytes;
        let dead = heap.gc.collect(&mut memory, which, &mut all);
        if let Some(begun) = begun {
            tracing::debug!(
                target: log::GC,
                ?which,
                micros = begun.elapsed().as_micros() as u64,
                moved = heap.gc.stats().moved_bytes - moved,
                used = heap.gc.used(),
                granted = heap.gc.granted(),
                dead_host_values = dead.len(),
                "collected"
            );
        }
        if looks {
            heap.gc.verify(&memory, &mut all);
        }
        let released = if which == Which::Full { heap.gc.release(false) } else { Vec::new() };
        let values: Vec<HostValue> = dead
            .into_iter()
            .filter_map(|number| heap.host_values.get_mut(number as usize)?.take())
            .collect();
        heap.host_bytes -= values.iter().map(host_bytes).sum::<u64>();
        for (offset, bytes) in released {
            kernel.release_heap(offset, bytes);
        }
        self.settle();
        self.show_window();
        // The host's code, which may panic: all is in order by now.
        drop(values);
    }

    /// Lets generated code make its next object where the collector would.
    fn show_window(&mut self) {
        if let Some(heap) = &self.heap {
            let (next, limit) = heap.gc.window();
            self.kernel.set_heap_window(next, limit);
        }
    }

    /// Bytes that the heap has been granted.
    pub fn heap_bytes(&self) -> u64 {
        self.heap.as_ref().map_or(0, |heap| heap.gc.granted())
    }

    /// What the collector has done.
    pub fn heap_stats(&self) -> gc::Stats {
        self.heap.as_ref().map(|heap| heap.gc.stats()).unwrap_or_default()
    }

    /// Lets the collector look at an object that a reference is written to.
    pub(crate) fn remember(&mut self, object: u32) {
        if let Some(heap) = &mut self.heap {
            heap.gc.remember(&mut Memory::new(self.kernel.heap_bytes_mut()), object);
        }
    }

    // ---- looking at objects ----

    fn read32(&self, offset: u32) -> u32 {
        let bytes = self.heap_slice(offset, 4);
        u32::from_le_bytes(bytes.try_into().expect("4 bytes"))
    }

    /// Bytes of the heap. Panics if they do not lie in it.
    pub(crate) fn heap_slice(&self, offset: u32, count: usize) -> &[u8] {
        let start = (offset as usize).wrapping_sub(gc::NULL_PAGE as usize);
        let bytes = self.kernel.heap_bytes();
        let slice = bytes.get(start..).and_then(|bytes| bytes.get(..count));
        slice.expect("an object lies in the heap, unless that is corrupted")
    }

    /// Bytes of the heap. Panics if they do not lie in it.
    pub(crate) fn heap_slice_mut(&mut self, offset: u32, count: usize) -> &mut [u8] {
        let start = (offset as usize).wrapping_sub(gc::NULL_PAGE as usize);
        let bytes = self.kernel.heap_bytes_mut();
        let slice = bytes.get_mut(start..).and_then(|bytes| bytes.get_mut(..count));
        slice.expect("an object lies in the heap, unless that is corrupted")
    }

    /// What a reference refers to, if it is not null and refers to something.
    pub fn referent(&self, reference: u32) -> Option<Referent<'_>> {
        if reference & 1 != 0 {
            return Some(Referent::I31(reference >> 1));
        }
        let heap = self.heap.as_ref()?;
        let (kind, tag) = self.object(reference)?;
        Some(match kind {
            Kind::Extern => Referent::Extern,
            Kind::Exn => Referent::Exn(heap.types.get(tag as usize)?),
            Kind::Struct | Kind::Array => Referent::Object(heap.types.get(tag as usize)?),
        })
    }

    fn object(&self, reference: u32) -> Option<(Kind, u32)> {
        let heap = self.heap.as_ref()?;
        heap.gc.object(self.kernel.heap_bytes(), reference)
    }

    /// Whether a reference is of a type. A function's type is known to the kernel.
    pub fn reference_matches(&self, reference: u32, ty: RefType) -> bool {
        if reference == 0 {
            return ty.nullable;
        }
        let Some(referent) = self.referent(reference) else { return false };
        match (referent, ty.heap) {
            (Referent::Exn(_), heap) => heap == HeapType::Exn,
            // Both hierarchies have the same references: one's are converted to the other's.
            (_, HeapType::Extern | HeapType::Any) => true,
            (Referent::I31(_), heap) => matches!(heap, HeapType::Eq | HeapType::I31),
            (Referent::Object(found), heap) => found.heap_type().matches(heap),
            (Referent::Extern, _) => false,
        }
    }

    /// Elements of an array, which `array` is known to be.
    pub fn array_length(&self, array: u32) -> u32 {
        self.read32(array.wrapping_add(gc::ARRAY_LENGTH))
    }

    /// What lies at a place of an object.
    pub fn field(&self, object: u32, offset: u32, storage: StorageType) -> Value {
        let place = object.wrapping_add(offset);
        let bytes = self.heap_slice(place, storage.bytes() as usize);
        let mut wide = [0; 16];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u128::from_le_bytes(wide);
        match storage {
            StorageType::I8 | StorageType::I16 | StorageType::Val(ValType::I32) => {
                Value::I32(bits as i32)
            }
            StorageType::Val(ValType::I64) => Value::I64(bits as i64),
            StorageType::Val(ValType::F32) => Value::F32(bits as u32),
            StorageType::Val(ValType::F64) => Value::F64(bits as u64),
            StorageType::Val(ValType::V128) => Value::V128(bits),
            StorageType::Val(ValType::Ref(_)) if storage.is_traced() => Value::Ref(bits as u32),
            StorageType::Val(ValType::Ref(_)) => {
                Value::Func(self.kernel.func_of_number(bits as u32))
            }
        }
    }

    /// Writes a value, which is of the place's type, to a place of an object.
    pub fn set_field(&mut self, object: u32, offset: u32, storage: StorageType, value: Value) {
        let bits = self.storage_bits(value);
        let size = storage.bytes() as usize;
        let place = object.wrapping_add(offset);
        self.heap_slice_mut(place, size).copy_from_slice(&bits.to_le_bytes()[..size]);
        if storage.is_traced() {
            self.remember(object);
        }
    }

    /// Bits of a value as objects hold it.
    pub(crate) fn storage_bits(&mut self, value: Value) -> u128 {
        match value {
            Value::I32(v) => u128::from(v as u32),
            Value::I64(v) => u128::from(v as u64),
            Value::F32(v) => u128::from(v),
            Value::F64(v) => u128::from(v),
            Value::V128(v) => v,
            Value::Ref(v) => u128::from(v),
            Value::Func(None) => 0,
            Value::Func(Some(func)) => {
                let number = self.kernel.func_number(func);
                u128::from(number.expect("a function of this store, and fewer than 2^32"))
            }
        }
    }

    /// Where an element of an array lies in it.
    pub(crate) fn element_offset(element: u32, index: u32) -> u32 {
        OBJECT_ELEMENTS.wrapping_add(element.wrapping_mul(index))
    }

    // ---- host values ----

    /// Keeps a host value as long as something reaches the reference that is returned. Without room for it,
    /// it comes back, with the limiter's error if there was one.
    pub fn add_host_value(
        &mut self,
        limiter: &mut dyn Limiter,
        value: HostValue,
    ) -> Result<u32, (HostValue, Option<Failure>)> {
        let bytes = host_bytes(&value);
        match self.make_host_room(limiter, bytes) {
            Ok(()) => {}
            Err(Failure::Trap(_)) => return Err((value, None)),
            Err(failure) => return Err((value, Some(failure))),
        }
        let Some(heap) = &mut self.heap else { return Err((value, None)) };
        let mut memory = Memory::new(self.kernel.heap_bytes_mut());
        let Some((object, number)) = heap.gc.allocate_extern(&mut memory) else {
            return Err((value, None));
        };
        let slots = heap.host_values.len().max(number as usize + 1);
        heap.host_values.resize_with(slots, || None);
        heap.host_values[number as usize] = Some(value);
        heap.host_bytes += bytes;
        self.show_window();
        Ok(object)
    }

    /// Makes room for a host value of so many bytes, and for its object.
    fn make_host_room(&mut self, limiter: &mut dyn Limiter, bytes: u64) -> Result<(), Failure> {
        self.make_heap().map_err(|_| out_of_memory())?;
        let many = |heap: &Heap| heap.host_bytes + bytes > heap.host_threshold;
        if self.heap.as_deref().is_some_and(many) || !self.make_room(limiter, bytes) {
            match self.gc(limiter) {
                // There may be room all the same.
                Ok(()) | Err(Failure::Trap(_)) => {}
                Err(failure) => return Err(failure),
            }
            if let Some(heap) = &mut self.heap {
                heap.host_threshold = HOST_BYTES.max(2 * (heap.host_bytes + bytes));
            }
        }
        self.make_heap_room(limiter, |heap, attempt| heap.plan(gc::Heap::EXTERN_BYTES, attempt))?;
        if self.make_room(limiter, bytes) {
            return Ok(());
        }
        self.settle();
        Err(out_of_memory())
    }

    fn host_number(&self, reference: u32) -> Option<u32> {
        let heap = self.heap.as_ref()?;
        heap.gc.extern_number(self.kernel.heap_bytes(), reference)
    }

    /// The host value of a reference, if it is that of one.
    pub fn host_value(&self, reference: u32) -> Option<&(dyn Any + Send + Sync)> {
        let number = self.host_number(reference)?;
        self.heap.as_ref()?.host_value(number).map(|value| &**value)
    }

    /// The host value of a reference, if it is that of one.
    pub fn host_value_mut(&mut self, reference: u32) -> Option<&mut (dyn Any + Send + Sync)> {
        let number = self.host_number(reference)?;
        self.heap.as_mut()?.host_values.get_mut(number as usize)?.as_deref_mut()
    }
}

/// What the collector has to know of a type.
fn layout(ty: &RegisteredType, tag: u32) -> Option<Layout> {
    Some(match ty.composite() {
        CompositeType::Func(_) => return None,
        CompositeType::Struct(ty) => Layout {
            kind: Kind::Struct,
            size: ty.size(),
            references: References::At(traced(ty)),
            tag,
        },
        CompositeType::Array(ArrayType { element }) => Layout {
            kind: Kind::Array,
            size: element.storage.bytes(),
            references: if element.storage.is_traced() {
                References::Elements
            } else {
                References::At(Vec::new())
            },
            tag,
        },
    })
}

/// Offsets of a struct's references.
fn traced(ty: &StructType) -> Vec<u32> {
    let fields = ty.fields().iter().zip(0..);
    fields.filter(|(field, _)| field.storage.is_traced()).map(|(_, n)| ty.offset(n)).collect()
}

//! Builtins that make objects, and the operations on whole ranges of arrays.
//!
//! spec 4.6 (array instructions): bounds are checked before any write, with sums that cannot overflow.

use crate::builtins::{range, segment_item, segment_length};
use crate::store::{Limiter, Store};
use wardian_module::layout::OBJECT_ELEMENTS;
use wardian_module::{Builtin, DataIndex, ElemIndex, RegisteredType, StorageType, Trap, TypeIndex};
use wardian_vm::{BuiltinCall, Failure, InstanceId, Value};

/// A place in an array, as a word: see `Builtin::ArrayFill`.
fn place(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// Carries out one of these builtins.
pub(crate) fn builtin(
    store: &mut Store,
    limiter: &mut dyn Limiter,
    call: &BuiltinCall,
) -> Result<u64, Failure> {
    let BuiltinCall { instance, operation, args: [a, b, c, d], .. } = *call;
    let (first, second) = (operation.first, operation.second);
    let types = &store.kernel.instance_code(instance).module().types;
    let array = types[first as usize].as_array();
    let storage = array.map_or(StorageType::I8, |array| array.element.storage);
    // Instances whose code makes objects know their shapes.
    let shape = store.kernel.object_header(instance, TypeIndex(first)) as u32;
    let segment = ElemIndex(second);
    match operation.builtin {
        Builtin::GcAllocStruct => Ok(store.allocate(limiter, shape, 0)?.into()),
        Builtin::GcAllocArray if second == 2 => {
            Ok(store.allocate_unwritten(limiter, shape, a as u32)?.into())
        }
        Builtin::GcAllocArray => Ok(store.allocate(limiter, shape, a as u32)?.into()),
        Builtin::ArrayFill => {
            let ((array, index), length) = (place(a), d as u32);
            store.check_elements(array, index, length)?;
            let bits = u128::from(b) | u128::from(c) << 64;
            store.fill_bits(array, storage, index, length, bits);
            Ok(0)
        }
        Builtin::ArrayCopy => {
            let ((target, to), (source, from), length) = (place(a), place(b), c as u32);
            store.check_elements(target, to, length)?;
            store.check_elements(source, from, length)?;
            store.copy_elements(storage, (target, to), (source, from), length);
            Ok(0)
        }
        Builtin::ArrayNewData => {
            let (source, length) = (a as u32, b as u32);
            let code = store.kernel.instance_code(instance).clone();
            let data = store.kernel.data_bytes(instance, DataIndex(second), code.module());
            let size = storage.bytes();
            let bytes = data_range(data, size, source, length)?;
            let array = store.allocate_unwritten(limiter, shape, length)?;
            store.write_elements(array, size, 0, bytes);
            Ok(array.into())
        }
        Builtin::ArrayInitData => {
            let ((array, index), source, length) = (place(a), b as u32, c as u32);
            let code = store.kernel.instance_code(instance).clone();
            let data = store.kernel.data_bytes(instance, DataIndex(second), code.module());
            store.check_elements(array, index, length)?;
            let bytes = data_range(data, storage.bytes(), source, length)?;
            store.write_elements(array, storage.bytes(), index, bytes);
            Ok(0)
        }
        Builtin::ArrayNewElem => {
            let (source, length) = (a, b);
            let from = range(segment_length(store, instance, segment), source, length)
                .ok_or(Trap::TableOutOfBounds)?;
            let array = store.allocate(limiter, shape, length as u32)?;
            init_elements(store, instance, segment, (array, 0), storage, from);
            Ok(array.into())
        }
        Builtin::ArrayInitElem => {
            let ((array, index), source, length) = (place(a), b, c);
            store.check_elements(array, index, length as u32)?;
            let from = range(segment_length(store, instance, segment), source, length)
                .ok_or(Trap::TableOutOfBounds)?;
            init_elements(store, instance, segment, (array, index), storage, from);
            Ok(0)
        }
        _ => unreachable!("the caller has the others"),
    }
}

/// Whether a builtin that costs by size has a chance.
pub(crate) fn in_bounds(store: &Store, call: &BuiltinCall) -> bool {
    let BuiltinCall { instance, operation, args: [a, b, c, d], .. } = *call;
    let elements = |word: u64, length: u64| {
        let (array, index) = place(word);
        store.check_elements(array, index, length as u32).is_ok()
    };
    let items = |source: u64, length: u64| {
        let segment = ElemIndex(operation.second);
        range(segment_length(store, instance, segment), source, length).is_some()
    };
    let bytes = |source: u64, length: u64| {
        let code = store.kernel.instance_code(instance);
        let segment = DataIndex(operation.second);
        let data = store.kernel.data_bytes(instance, segment, code.module());
        let ty = &code.module().types[operation.first as usize];
        let size = ty.as_array().map_or(1, |array| array.element.storage.bytes());
        data_range(data, size, source as u32, length as u32).is_ok()
    };
    match operation.builtin {
        Builtin::ArrayFill => elements(a, d),
        Builtin::ArrayCopy => elements(a, c) && elements(b, c),
        Builtin::ArrayNewData => bytes(a, b),
        Builtin::ArrayInitData => elements(a, c) && bytes(b, c),
        Builtin::ArrayNewElem => items(a, b),
        Builtin::ArrayInitElem => elements(a, c) && items(b, c),
        _ => true,
    }
}

/// The bytes of so many elements of `size` bytes.
fn data_range(data: &[u8], size: u32, source: u32, length: u32) -> Result<&[u8], Trap> {
    let bytes = u64::from(size) * u64::from(length);
    let range = range(data.len(), source.into(), bytes).ok_or(Trap::MemoryOutOfBounds)?;
    Ok(&data[range])
}

fn init_elements(
    store: &mut Store,
    instance: InstanceId,
    segment: ElemIndex,
    (array, index): (u32, u32),
    storage: StorageType,
    from: std::ops::Range<usize>,
) {
    for (item, index) in from.zip(index..) {
        let value = segment_item(store, instance, segment, item);
        let offset = Store::element_offset(storage.bytes(), index);
        store.set_field(array, offset, storage, value);
    }
}

impl Store {
    /// A type of an instance's module.
    pub(crate) fn module_type(&self, instance: InstanceId, ty: TypeIndex) -> RegisteredType {
        self.kernel.instance_code(instance).module().types[ty.index()].clone()
    }

    /// Makes an object of a type.
    pub fn make(
        &mut self,
        limiter: &mut dyn Limiter,
        ty: &RegisteredType,
        length: u32,
    ) -> Result<u32, Failure> {
        self.make_heap().map_err(|_| Trap::GcHeapOutOfMemory)?;
        let shape = self.shape(ty).ok_or(Trap::GcHeapOutOfMemory)?;
        self.allocate(limiter, shape, length)
    }

    /// A trap unless an array has these elements.
    pub fn check_elements(&self, array: u32, index: u32, length: u32) -> Result<(), Trap> {
        let end = u64::from(index) + u64::from(length);
        if end <= u64::from(self.array_length(array)) {
            Ok(())
        } else {
            Err(Trap::ArrayOutOfBounds)
        }
    }

    /// Elements of an array of bytes.
    pub fn array_bytes(&self, array: u32) -> &[u8] {
        let length = self.array_length(array) as usize;
        self.heap_slice(array.wrapping_add(OBJECT_ELEMENTS), length)
    }

    /// Elements of an array of bytes.
    pub fn array_bytes_mut(&mut self, array: u32) -> &mut [u8] {
        let length = self.array_length(array) as usize;
        self.heap_slice_mut(array.wrapping_add(OBJECT_ELEMENTS), length)
    }

    /// Writes bytes of elements of `size` bytes, from an index on; the array has so many.
    fn write_elements(&mut self, array: u32, size: u32, index: u32, bytes: &[u8]) {
        let start = array.wrapping_add(Store::element_offset(size, index));
        self.heap_slice_mut(start, bytes.len()).copy_from_slice(bytes);
    }

    /// Puts a value of the elements' type into elements, which the array has.
    pub fn fill_elements(
        &mut self,
        array: u32,
        storage: StorageType,
        index: u32,
        length: u32,
        value: Value,
    ) {
        let bits = self.storage_bits(value);
        self.fill_bits(array, storage, index, length, bits);
    }

    fn fill_bits(&mut self, array: u32, storage: StorageType, index: u32, length: u32, bits: u128) {
        let size = storage.bytes() as usize;
        let start = array.wrapping_add(Store::element_offset(storage.bytes(), index));
        let slice = self.heap_slice_mut(start, size * length as usize);
        let element = bits.to_le_bytes();
        match (size, element) {
            (1, [byte, ..]) => slice.fill(byte),
            _ if element[1..size].iter().all(|byte| *byte == element[0]) => slice.fill(element[0]),
            (2, [a, b, ..]) => slice.as_chunks_mut().0.fill([a, b]),
            (4, [a, b, c, d, ..]) => slice.as_chunks_mut().0.fill([a, b, c, d]),
            (8, [a, b, c, d, e, f, g, h, ..]) => {
                slice.as_chunks_mut().0.fill([a, b, c, d, e, f, g, h]);
            }
            _ => slice.as_chunks_mut().0.fill(element),
        }
        if storage.is_traced() && length > 0 {
            self.remember(array);
        }
    }

    /// Copies elements, which both arrays have; they may be the same array.
    pub fn copy_elements(
        &mut self,
        storage: StorageType,
        (target, to): (u32, u32),
        (source, from): (u32, u32),
        length: u32,
    ) {
        let size = storage.bytes();
        let bytes = size as usize * length as usize;
        // Checked as slices.
        let _ = self.heap_slice(target.wrapping_add(Store::element_offset(size, to)), bytes);
        let _ = self.heap_slice(source.wrapping_add(Store::element_offset(size, from)), bytes);
        let start = |array: u32, index: u32| {
            let offset = array.wrapping_add(OBJECT_ELEMENTS).wrapping_add(size.wrapping_mul(index));
            (offset - wardian_module::layout::NULL_PAGE) as usize
        };
        let (to, from) = (start(target, to), start(source, from));
        self.kernel.heap_bytes_mut().copy_within(from..from + bytes, to);
        if storage.is_traced() && length > 0 {
            self.remember(target);
        }
    }
}

//! Exceptions as objects of the heap: made where a handler keeps one, taken apart where it is thrown again.
//!
//! An object holds the id of its tag and the values, in the order of the tag's type, 16 bytes each
//! (`layout`, objects of kind EXN).
//!
//! Invariant: values that are on their way are roots while an object is made for them.

use crate::store::{Limiter, Store};
use wardian_module::layout::OBJECT_ELEMENTS;
use wardian_module::{StorageType, Trap};
use wardian_vm::{Failure, TagId, Value};

/// Offset of the id of an exception's tag.
const TAG: u32 = 8;
/// Bytes from one value to the next.
const VALUE: u32 = 16;

fn place(index: usize) -> u32 {
    // A function type has at most 1,000 parameters.
    OBJECT_ELEMENTS + VALUE * index as u32
}

impl Store {
    /// An exception of a tag, with values of its type.
    pub fn new_exception(
        &mut self,
        limiter: &mut dyn Limiter,
        tag: TagId,
        values: &mut [Value],
    ) -> Result<u32, Failure> {
        let ty = self.kernel.tag_type(tag).clone();
        let shape = self.exn_shape(&ty).ok_or(Trap::GcHeapOutOfMemory)?;
        let first = self.operands.len();
        self.operands.extend_from_slice(values);
        let made = self.allocate(limiter, shape, 0);
        for (value, kept) in values.iter_mut().zip(self.operands.drain(first..)) {
            *value = kept;
        }
        let object = made?;
        let id = (tag.index() as u32).to_le_bytes();
        self.heap_slice_mut(object.wrapping_add(TAG), id.len()).copy_from_slice(&id);
        for (index, (value, ty)) in values.iter().zip(ty.func_type().params()).enumerate() {
            self.set_field(object, place(index), StorageType::Val(*ty), *value);
        }
        Ok(object)
    }

    /// Tag and values of an exception, which the reference is known to be.
    pub fn exception(&self, object: u32) -> (TagId, Vec<Value>) {
        let id = self.heap_slice(object.wrapping_add(TAG), 4);
        let tag = TagId::from_index(u32::from_le_bytes(id.try_into().expect("4 bytes")));
        let params = self.kernel.tag_type(tag).func_type().params();
        let value = |(index, ty)| self.field(object, place(index), StorageType::Val(ty));
        (tag, params.iter().copied().enumerate().map(value).collect())
    }

    /// The exception that was thrown last has left guest code: it is pending.
    pub fn keep_uncaught(&mut self, limiter: &mut dyn Limiter) -> Result<(), Failure> {
        self.pending_exception = self.keep_thrown(limiter)?;
        Ok(())
    }

    /// Makes an exception the pending one; which was it before.
    pub fn set_pending_exception(&mut self, exception: Option<u32>) -> Option<u32> {
        let before = std::mem::replace(&mut self.pending_exception, exception.unwrap_or(0));
        Some(before).filter(|before| *before != 0)
    }

    /// The pending exception, if there is one.
    pub fn pending_exception(&self) -> Option<u32> {
        Some(self.pending_exception).filter(|exception| *exception != 0)
    }

    /// Throws the pending exception, if there is one.
    pub fn throw_pending(&mut self) -> bool {
        let pending = self.set_pending_exception(None);
        pending.map(|exception| self.throw_again(exception)).is_some()
    }

    /// `Builtin::ExnNew`
    pub(crate) fn keep_thrown(&mut self, limiter: &mut dyn Limiter) -> Result<u32, Failure> {
        let (tag, mut values) = self.kernel.thrown();
        let object = self.new_exception(limiter, tag, &mut values)?;
        // What they refer to may have moved.
        self.kernel.set_thrown(tag, &values);
        Ok(object)
    }

    /// `Builtin::ExnThrow`
    pub(crate) fn throw_again(&mut self, object: u32) -> u32 {
        let (tag, values) = self.exception(object);
        self.kernel.set_thrown(tag, &values);
        tag.index() as u32
    }
}

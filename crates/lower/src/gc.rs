//! Structs, arrays and `i31`: making objects, reading and writing what is in them.
//!
//! A new object is made while its fields are still operands, so that the tier keeps their references where
//! the collector finds them; they are popped and written when it is there. No reference in an expansion
//! lives across anything that may collect.
//!
//! Invariant [barrier]: a reference is written into an object that may be old only together with
//! `store_barrier`. New objects have `layout::NO_BARRIER`, and nothing between their making and their
//! first writes collects.

use crate::driver::{Failure, Lowering};
use crate::emit::*;
use crate::metering::{BY_DEFAULT, PAID, TO_BE_FILLED};
use wardian_module::layout::{
    Field, HEAP_GUARD, NO_BARRIER, NULL_PAGE, OBJECT_ELEMENTS, OBJECT_FLAGS, OBJECT_LENGTH, Region,
    Repr,
};
use wardian_module::{
    Builtin, DataIndex, HeapTop, Operation, StorageType, StructType, Trap, TypeIndex, ValType,
};
use wasmparser::Operator;

/// Bytes below which `array.new_fixed` makes its array in place.
const MAX_IN_PLACE: u32 = 1 << 30;

/// How a field is accessed: what it holds, in memory.
fn access_of(storage: StorageType, signed: bool) -> Access {
    match storage {
        StorageType::I8 => Access::Narrow { bits: 8, signed, to: Repr::I32 },
        StorageType::I16 => Access::Narrow { bits: 16, signed, to: Repr::I32 },
        StorageType::Val(ty) => match Repr::of(ty) {
            // A function's number.
            Repr::Pointer => Access::Full(Repr::I32),
            repr => Access::Full(repr),
        },
    }
}

fn is_func(storage: StorageType) -> bool {
    matches!(storage, StorageType::Val(ty) if Repr::of(ty) == Repr::Pointer)
}

fn field_region(offset: u32) -> Region {
    Region::ObjectField(offset)
}

fn element_region(storage: StorageType) -> Region {
    Region::ArrayElements(storage.bytes())
}

impl<'a, E: Emit> Lowering<'a, E> {
    /// Lowers an instruction on objects; `false` if it is none.
    pub(crate) fn gc_op(&mut self, op: &Operator<'_>) -> Result<bool, Failure> {
        match *op {
            Operator::StructNew { struct_type_index } => {
                let ty = TypeIndex(struct_type_index);
                let object = self.new_struct(ty);
                let layout = self.struct_type(ty);
                for (position, field) in layout.fields().iter().enumerate().rev() {
                    let offset = layout.offset(position as u32);
                    let value = self.emit.pop();
                    self.init(&object, offset, field_region(offset), field.storage, value);
                }
                self.emit.push(object);
            }
            Operator::StructNewDefault { struct_type_index } => {
                let ty = TypeIndex(struct_type_index);
                let object = self.new_struct(ty);
                let layout = self.struct_type(ty);
                for (position, field) in layout.fields().iter().enumerate() {
                    let offset = layout.offset(position as u32);
                    self.init_default(&object, offset, field.storage);
                }
                self.emit.push(object);
            }
            Operator::StructGet { struct_type_index, field_index }
            | Operator::StructGetU { struct_type_index, field_index } => {
                self.struct_get(TypeIndex(struct_type_index), field_index, false);
            }
            Operator::StructGetS { struct_type_index, field_index } => {
                self.struct_get(TypeIndex(struct_type_index), field_index, true);
            }
            Operator::StructSet { struct_type_index, field_index } => {
                let layout = self.struct_type(TypeIndex(struct_type_index));
                let storage = layout.fields()[field_index as usize].storage;
                let offset = layout.offset(field_index);
                let value = self.emit.pop();
                let value = self.stored(storage, value);
                let object = self.emit.pop();
                let object = self.object_for(object, offset + storage.bytes());
                self.set(object, None, offset, field_region(offset), storage, value);
            }

            Operator::ArrayNew { array_type_index } => {
                let ty = TypeIndex(array_type_index);
                if !self.settings.consume_fuel {
                    self.array_new(ty);
                    return Ok(true);
                }
                let length = self.emit.pop();
                let count = self.emit.copy(&length);
                self.emit.push(length);
                let array =
                    self.builtin(Builtin::GcAllocArray, array_type_index, TO_BE_FILLED, [count]);
                let array = array.expect("it has a result");
                let length = self.emit.pop();
                let bits = self.pop_bits(self.element_type(ty));
                let start = self.emit.constant(Const::I32(0));
                let copy = self.emit.copy(&array);
                self.fill(ty, copy, start, bits, length, Some(array));
            }
            Operator::ArrayNewDefault { array_type_index } => {
                if !self.settings.consume_fuel {
                    self.array_new_default(TypeIndex(array_type_index));
                    return Ok(true);
                }
                let length = self.emit.pop();
                let array =
                    self.builtin(Builtin::GcAllocArray, array_type_index, BY_DEFAULT, [length]);
                self.emit.push(array.expect("it has a result"));
            }
            Operator::ArrayNewFixed { array_type_index, array_size } => {
                self.array_new_fixed(TypeIndex(array_type_index), array_size);
            }
            Operator::ArrayNewData { array_type_index, array_data_index } => {
                if !self.settings.consume_fuel {
                    self.array_new_data(TypeIndex(array_type_index), DataIndex(array_data_index));
                    return Ok(true);
                }
                let (length, source) = (self.emit.pop(), self.emit.pop());
                let args = [source, length];
                let array =
                    self.builtin(Builtin::ArrayNewData, array_type_index, array_data_index, args);
                self.emit.push(array.expect("it has a result"));
            }
            Operator::ArrayNewElem { array_type_index, array_elem_index } => {
                let (length, source) = (self.emit.pop(), self.emit.pop());
                let args = [source, length];
                let array =
                    self.builtin(Builtin::ArrayNewElem, array_type_index, array_elem_index, args);
                self.emit.push(array.expect("it has a result"));
            }
            Operator::ArrayGet { array_type_index } | Operator::ArrayGetU { array_type_index } => {
                self.array_get(TypeIndex(array_type_index), false);
            }
            Operator::ArrayGetS { array_type_index } => {
                self.array_get(TypeIndex(array_type_index), true);
            }
            Operator::ArraySet { array_type_index } => {
                let storage = self.element_type(TypeIndex(array_type_index));
                let value = self.emit.pop();
                let value = self.stored(storage, value);
                let (array, place) = self.element(storage);
                let region = element_region(storage);
                self.set(array, Some(place), OBJECT_ELEMENTS, region, storage, value);
            }
            Operator::ArrayLen => {
                let array = self.emit.pop();
                let length = self.array_length(array);
                self.emit.push(length);
            }
            Operator::ArrayFill { array_type_index } => {
                let ty = TypeIndex(array_type_index);
                let storage = self.element_type(ty);
                let length = self.emit.pop();
                if !self.settings.consume_fuel {
                    let length = Index(self.emit.zero_extend(length));
                    self.array_fill(storage, length);
                    return Ok(true);
                }
                let bits = self.pop_bits(storage);
                let start = self.emit.pop();
                let array = self.emit.pop();
                let array = self.check_non_null(HeapTop::Any, array);
                self.fill(ty, array, start, bits, length, None);
            }
            Operator::ArrayCopy { array_type_index_dst: to, array_type_index_src: from } => {
                let length = self.emit.pop();
                if !self.settings.consume_fuel {
                    self.copy_elements(TypeIndex(to), length);
                    return Ok(true);
                }
                let source = self.pop_place();
                let target = self.pop_place();
                self.builtin(Builtin::ArrayCopy, to, from, [target, source, length]);
            }
            Operator::ArrayInitData { array_type_index: ty, array_data_index: segment } => {
                if !self.settings.consume_fuel {
                    self.array_init_data(TypeIndex(ty), DataIndex(segment));
                    return Ok(true);
                }
                let (length, source) = (self.emit.pop(), self.emit.pop());
                let target = self.pop_place();
                self.builtin(Builtin::ArrayInitData, ty, segment, [target, source, length]);
            }
            Operator::ArrayInitElem { array_type_index: ty, array_elem_index: segment } => {
                let (length, source) = (self.emit.pop(), self.emit.pop());
                let target = self.pop_place();
                self.builtin(Builtin::ArrayInitElem, ty, segment, [target, source, length]);
            }

            Operator::RefI31 => {
                let value = self.emit.pop();
                let one = self.emit.constant(Const::I32(1));
                let value = self.emit.arith(Arith::Shl, value, one);
                let one = self.emit.constant(Const::I32(1));
                let value = self.emit.arith(Arith::Or, value, one);
                self.emit.push(value);
            }
            Operator::I31GetS => self.i31_get(Arith::ShrS),
            Operator::I31GetU => self.i31_get(Arith::ShrU),
            Operator::RefEq => {
                let (b, a) = (self.emit.pop(), self.emit.pop());
                let equal = self.emit.compare(Compare::Eq, a, b);
                self.emit.push(equal);
            }
            // The same bits from both sides.
            Operator::AnyConvertExtern | Operator::ExternConvertAny => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn struct_type(&self, ty: TypeIndex) -> &'a StructType {
        self.module.types[ty.index()].as_struct().expect("validated: a struct type")
    }

    fn element_type(&self, ty: TypeIndex) -> StorageType {
        let ty = self.module.types[ty.index()].as_array().expect("validated: an array type");
        ty.element.storage
    }

    fn new_struct(&mut self, ty: TypeIndex) -> E::Value {
        let bytes = self.struct_type(ty).size();
        self.emit.allocate(ty, bytes, None)
    }

    /// `array.new_fixed`
    fn array_new_fixed(&mut self, ty: TypeIndex, count: u32) {
        let array_type = self.module.types[ty.index()].as_array().expect("validated");
        let storage = array_type.element.storage;
        let bytes =
            u32::try_from(array_type.size(count)).ok().filter(|bytes| *bytes < MAX_IN_PLACE);
        let object = if let Some(bytes) = bytes {
            let object = self.emit.allocate(ty, bytes, Some(count));
            let copy = self.emit.copy(&object);
            let length = self.emit.constant(Const::I32(count));
            let access = Access::Full(Repr::I32);
            self.emit.heap_store(copy, OBJECT_LENGTH, Region::ObjectHead, access, length, false);
            object
        } else {
            let length = self.emit.constant(Const::I32(count));
            // The instruction was paid for with its segment.
            let object = self.builtin(Builtin::GcAllocArray, ty.0, PAID, [length]);
            object.expect("it has a result")
        };
        for position in (0..count).rev() {
            let value = self.emit.pop();
            let distance = position.wrapping_mul(storage.bytes());
            if distance < HEAP_GUARD - OBJECT_ELEMENTS - 16 {
                self.init(
                    &object,
                    OBJECT_ELEMENTS + distance,
                    element_region(storage),
                    storage,
                    value,
                );
            } else {
                let copy = self.emit.copy(&object);
                let distance = self.emit.constant(Const::I32(distance));
                let place = self.emit.arith(Arith::Add, copy, distance);
                self.init(&place, OBJECT_ELEMENTS, element_region(storage), storage, value);
                self.emit.discard(place);
            }
        }
        self.emit.push(object);
    }

    // What follows is done so unless fuel is consumed: builtins take it by size.

    /// `array.new`
    fn array_new(&mut self, ty: TypeIndex) {
        let storage = self.element_type(ty);
        let array = self.emit.allocate_array(ty, storage.bytes());
        let length = self.emit.pop();
        let bytes = self.bytes_of_new(storage, length);
        let value = self.pop_pattern(storage);
        let start = self.start_of_new(array);
        self.write_pattern(start, value, bytes);
    }

    /// `array.new_default`
    fn array_new_default(&mut self, ty: TypeIndex) {
        let storage = self.element_type(ty);
        let array = self.emit.allocate_array(ty, storage.bytes());
        let length = self.emit.pop();
        let bytes = self.bytes_of_new(storage, length);
        let start = self.start_of_new(array);
        // Null is 0, that of functions too.
        let zero = self.emit.constant(Const::I32(0));
        self.count_bytes(&bytes);
        self.emit.fill_bytes(start, zero, bytes);
    }

    /// `array.new_data`
    fn array_new_data(&mut self, ty: TypeIndex, segment: DataIndex) {
        let storage = self.element_type(ty);
        let (length, source) = (self.emit.pop(), self.emit.pop());
        let from = self.emit.copy(&source);
        let from = Index(self.emit.zero_extend(from));
        let count = self.emit.copy(&length);
        let bytes = self.bytes_of_new(storage, count);
        self.check_segment(segment, &from, bytes);
        self.emit.discard(from.into_value());
        self.emit.push(source);
        self.emit.push(length);
        let array = self.emit.allocate_array(ty, storage.bytes());
        let (length, source) = (self.emit.pop(), self.emit.pop());
        let bytes = self.bytes_of_new(storage, length);
        let from = Index(self.emit.zero_extend(source));
        let from = Addr(self.emit.data_addr(segment, from));
        let start = self.start_of_new(array);
        self.count_bytes(&bytes);
        self.emit.copy_bytes(start, from, bytes);
    }

    /// `array.init_data`
    fn array_init_data(&mut self, ty: TypeIndex, segment: DataIndex) {
        let storage = self.element_type(ty);
        let length = self.emit.pop();
        let length = Index(self.emit.zero_extend(length));
        let source = self.emit.pop();
        let from = Index(self.emit.zero_extend(source));
        // spec (array.init_data): the array's bounds are looked at before the segment's.
        let start = self.elements(storage, &length, false);
        let bytes = self.bytes_of(storage, length).into_value();
        let copy = self.emit.copy(&bytes);
        self.check_segment(segment, &from, copy);
        let from = Addr(self.emit.data_addr(segment, from));
        let start = Addr(self.emit.heap_addr(start, OBJECT_ELEMENTS));
        self.count_bytes(&bytes);
        self.emit.copy_bytes(start, from, bytes);
    }

    /// Traps unless a data segment has so many bytes from there on.
    fn check_segment(&mut self, segment: DataIndex, from: &Index<E::Value>, bytes: E::Value) {
        let from = self.copy_index(from);
        // Neither is above 2^36.
        let end = self.emit.arith(Arith::Add, from, bytes);
        let there = self.emit.load_field(Field::DataLength(segment));
        let past = self.emit.compare(Compare::GtU, end, there);
        let info = TrapInfo { trap: Trap::MemoryOutOfBounds, place: Operation::NO_PLACE };
        self.emit.trap_if(past, info, Details::new());
    }

    /// `array.fill`, of whose operands the length was popped.
    fn array_fill(&mut self, storage: StorageType, length: Index<E::Value>) {
        if storage.bytes() == 1 {
            let byte = self.emit.pop();
            let start = self.elements(storage, &length, false);
            let start = Addr(self.emit.heap_addr(start, OBJECT_ELEMENTS));
            self.count_bytes(&length.0);
            return self.emit.fill_bytes(start, byte, length.into_value());
        }
        let value = self.emit.pop();
        let traced = storage.is_traced() && !self.emit.is_constant_null(&value);
        self.emit.push(value);
        let value = self.pop_pattern(storage);
        let start = self.elements(storage, &length, traced);
        let bytes = self.bytes_of(storage, length).into_value();
        let start = Addr(self.emit.heap_addr(start, OBJECT_ELEMENTS));
        self.write_pattern(start, value, bytes);
    }

    /// Where the elements of a new array are. Pushes the array: what else is needed of operands was popped and
    /// lies in values of its own.
    fn start_of_new(&mut self, array: E::Value) -> Addr<E::Addr> {
        let copy = self.emit.copy(&array);
        let place = Index(self.emit.zero_extend(copy));
        self.emit.push(array);
        Addr(self.emit.heap_addr(place, OBJECT_ELEMENTS))
    }

    fn bytes_of_new(&mut self, storage: StorageType, length: E::Value) -> E::Value {
        let length = Index(self.emit.zero_extend(length));
        self.bytes_of(storage, length).into_value()
    }

    /// Writes an element again and again to a range that was checked.
    fn write_pattern(
        &mut self,
        start: Addr<E::Addr>,
        (low, high): (E::Value, Option<E::Value>),
        bytes: E::Value,
    ) {
        self.count_bytes(&bytes);
        match high {
            Some(high) => self.emit.fill_elements(start, [low, high], bytes),
            None => self.emit.fill_bytes(start, low, bytes),
        }
    }

    /// Pops a value as `write_pattern` takes it; values of their own, that lie no longer where operands lay.
    fn pop_pattern(&mut self, storage: StorageType) -> (E::Value, Option<E::Value>) {
        if storage.bytes() == 1 {
            let byte = self.emit.pop();
            let zero = self.emit.constant(Const::I32(0));
            return (self.emit.arith(Arith::Or, byte, zero), None);
        }
        let (low, high) = self.pop_bits(storage);
        let low = match storage.bytes() {
            2 => {
                let mask = self.const_i64(0xffff);
                let low = self.emit.arith(Arith::And, low, mask);
                let everywhere = self.const_i64(0x0001_0001_0001_0001);
                self.emit.push(low);
                self.emit.push(everywhere);
                self.emit.numeric(&Operator::I64Mul);
                self.emit.pop()
            }
            _ => low,
        };
        let more = match storage.bytes() {
            4 => {
                let copy = self.emit.copy(&low);
                let bits = self.const_i64(32);
                self.emit.arith(Arith::Shl, copy, bits)
            }
            _ => self.const_i64(0),
        };
        let low = self.emit.arith(Arith::Or, low, more);
        let high = high.unwrap_or_else(|| self.emit.copy(&low));
        (low, Some(high))
    }

    // ---- fields ----

    fn struct_get(&mut self, ty: TypeIndex, field: u32, signed: bool) {
        let layout = self.struct_type(ty);
        let storage = layout.fields()[field as usize].storage;
        let offset = layout.offset(field);
        let object = self.emit.pop();
        let object = self.object_for(object, offset + storage.bytes());
        self.get(object, offset, field_region(offset), storage, signed);
    }

    /// A reference that is accessed next, at most `end` bytes behind it: checked for null here, unless that
    /// access will fault.
    fn object_for(&mut self, object: E::Value, end: u32) -> E::Value {
        if self.settings.signals_based_traps && end <= NULL_PAGE {
            return object;
        }
        self.check_non_null(HeapTop::Any, object)
    }

    /// Pushes what a field holds. `object` is used up.
    fn get(
        &mut self,
        object: E::Value,
        offset: u32,
        region: Region,
        storage: StorageType,
        signed: bool,
    ) {
        let access = access_of(storage, signed);
        let null = self.settings.signals_based_traps;
        let value = self.emit.heap_load(object, offset, region, access, null);
        let value = if is_func(storage) { self.func_of_id(value) } else { value };
        self.emit.push(value);
    }

    /// Writes a field of an object that may be old: at `offset` behind `place`, or behind `object`.
    fn set(
        &mut self,
        object: E::Value,
        place: Option<E::Value>,
        offset: u32,
        region: Region,
        storage: StorageType,
        value: E::Value,
    ) {
        let access = access_of(storage, false);
        let null = self.settings.signals_based_traps;
        let traced = storage.is_traced() && !self.emit.is_constant_null(&value);
        let (place, object) = match (place, traced) {
            (Some(place), true) => (place, Some(object)),
            (Some(place), false) => {
                self.emit.discard(object);
                (place, None)
            }
            (None, true) => (self.emit.copy(&object), Some(object)),
            (None, false) => (object, None),
        };
        self.emit.heap_store(place, offset, region, access, value, null);
        if let Some(object) = object {
            self.store_barrier(object);
        }
    }

    /// Tells the collector of an object that a reference was just stored in: see [barrier].
    fn store_barrier(&mut self, object: E::Value) {
        let copy = self.emit.copy(&object);
        let access = Access::Full(Repr::I32);
        let flags = self.emit.heap_load(copy, OBJECT_FLAGS, Region::ObjectHead, access, false);
        let mask = self.emit.constant(Const::I32(NO_BARRIER));
        let flag = self.emit.arith(Arith::And, flags, mask);
        let zero = self.emit.constant(Const::I32(0));
        let old = self.emit.compare(Compare::Eq, flag, zero);
        self.emit.slow(old, Builtin::GcRemember, 0, [object].into_iter().collect(), None);
    }

    /// Writes a field of a new object.
    fn init(
        &mut self,
        object: &E::Value,
        offset: u32,
        region: Region,
        storage: StorageType,
        value: E::Value,
    ) {
        let value = self.stored(storage, value);
        let copy = self.emit.copy(object);
        self.emit.heap_store(copy, offset, region, access_of(storage, false), value, false);
    }

    fn init_default(&mut self, object: &E::Value, offset: u32, storage: StorageType) {
        let zero = self.emit.constant(match storage {
            StorageType::Val(ValType::I64) => Const::I64(0),
            StorageType::Val(ValType::F32) => Const::F32(0),
            StorageType::Val(ValType::F64) => Const::F64(0),
            StorageType::Val(ValType::V128) => Const::V128(0),
            // Null is 0, that of functions too.
            StorageType::I8 | StorageType::I16 | StorageType::Val(_) => Const::I32(0),
        });
        let (copy, region) = (self.emit.copy(object), field_region(offset));
        self.emit.heap_store(copy, offset, region, access_of(storage, false), zero, false);
    }

    // ---- functions in objects ----

    /// A value as objects hold it: the number of a function.
    fn stored(&mut self, storage: StorageType, value: E::Value) -> E::Value {
        if !is_func(storage) {
            return value;
        }
        let copy = self.emit.copy(&value);
        let null = self.emit.is_null(HeapTop::Func, copy);
        let zero = self.emit.constant(Const::I32(0));
        let there = self.emit.compare(Compare::Eq, null, zero);
        let zero = self.emit.constant(Const::I32(0));
        let args = [value].into_iter().collect();
        self.emit.slow(there, Builtin::FuncToId, 0, args, Some(zero)).expect("it has a result")
    }

    /// The function of a number that an object held.
    fn func_of_id(&mut self, id: E::Value) -> E::Value {
        let index = Index(self.emit.zero_extend(id));
        let checked = self.copy_index(&index);
        let length = self.emit.load_field(Field::FuncIdsLength);
        let unknown = self.emit.compare(Compare::GeU, checked, length);
        let info = TrapInfo { trap: Trap::NullReference, place: 0 };
        self.emit.trap_if(unknown, info, Details::new());
        self.emit.func_of_id(index)
    }

    // ---- arrays ----

    fn array_length(&mut self, array: E::Value) -> E::Value {
        let array = self.object_for(array, OBJECT_LENGTH + 4);
        let access = Access::Full(Repr::I32);
        let null = self.settings.signals_based_traps;
        self.emit.heap_load(array, OBJECT_LENGTH, Region::ObjectHead, access, null)
    }

    /// Pops an index and an array: the array, and what its element lies [`OBJECT_ELEMENTS`] behind.
    fn element(&mut self, storage: StorageType) -> (E::Value, E::Value) {
        let index = self.emit.pop();
        let array = self.emit.pop();
        let copy = self.emit.copy(&array);
        let length = self.array_length(copy);
        let checked = self.emit.copy(&index);
        let outside = self.emit.compare(Compare::GeU, checked, length);
        let info = TrapInfo { trap: Trap::ArrayOutOfBounds, place: 0 };
        self.emit.trap_if(outside, info, Details::new());
        let shift = storage.bytes().trailing_zeros();
        let distance = match shift {
            0 => index,
            shift => {
                let shift = self.emit.constant(Const::I32(shift));
                self.emit.arith(Arith::Shl, index, shift)
            }
        };
        let copy = self.emit.copy(&array);
        (array, self.emit.arith(Arith::Add, distance, copy))
    }

    /// `array.copy`, of whose operands the length was popped. The elements of both are of one size.
    fn copy_elements(&mut self, target: TypeIndex, length: E::Value) {
        let storage = self.element_type(target);
        let length = Index(self.emit.zero_extend(length));
        let (from, source) = (self.emit.pop(), self.emit.pop());
        let (to, target) = (self.emit.pop(), self.emit.pop());
        // spec (array.copy): that neither is null is looked at before any bounds.
        let target = self.check_non_null(HeapTop::Any, target);
        for operand in [target, to, source, from] {
            self.emit.push(operand);
        }
        let from = self.elements(storage, &length, false);
        let to = self.elements(storage, &length, storage.is_traced());
        let bytes = self.bytes_of(storage, length).into_value();
        let from = Addr(self.emit.heap_addr(from, OBJECT_ELEMENTS));
        let to = Addr(self.emit.heap_addr(to, OBJECT_ELEMENTS));
        self.count_bytes(&bytes);
        self.emit.copy_bytes(to, from, bytes);
    }

    /// Pops an index and an array, and traps unless it has `length` elements from there on. Returns what the
    /// first lies [`OBJECT_ELEMENTS`] behind. With `barrier`, references are about to be written there.
    fn elements(
        &mut self,
        storage: StorageType,
        length: &Index<E::Value>,
        barrier: bool,
    ) -> Index<E::Value> {
        let index = self.emit.pop();
        let array = self.emit.pop();
        let copy = self.emit.copy(&array);
        let there = self.array_length(copy);
        let there = self.emit.zero_extend(there);
        let index = Index(self.emit.zero_extend(index));
        let info = TrapInfo { trap: Trap::ArrayOutOfBounds, place: 0 };
        let (first, count) = (self.copy_index(&index), self.copy_index(length));
        // Both are below 2^32.
        let end = self.emit.arith(Arith::Add, first, count);
        let past = self.emit.compare(Compare::GtU, end, there);
        self.emit.trap_if(past, info, Details::new());
        let (place, object) =
            if barrier { (self.emit.copy(&array), Some(array)) } else { (array, None) };
        let place = self.emit.zero_extend(place);
        let distance = self.bytes_of(storage, index).into_value();
        let place = self.emit.arith(Arith::Add, distance, place);
        // Whatever is taken for the array's length: all this lies in the heap's region.
        let count = Index(self.copy_index(length));
        let bytes = self.bytes_of(storage, count).into_value();
        let copy = self.emit.copy(&place);
        let end = self.emit.arith(Arith::Add, copy, bytes);
        let whole = self.const_i64(1 << 32);
        let outside = self.emit.compare(Compare::GtU, end, whole);
        self.emit.trap_if(outside, info, Details::new());
        if let Some(object) = object {
            self.store_barrier(object);
        }
        Index(place)
    }

    /// Bytes of so many elements, at most 2^36.
    fn bytes_of(&mut self, storage: StorageType, count: Index<E::Value>) -> Index<E::Value> {
        match storage.bytes().trailing_zeros() {
            0 => count,
            shift => {
                let shift = self.const_i64(shift.into());
                Index(self.emit.arith(Arith::Shl, count.into_value(), shift))
            }
        }
    }

    fn array_get(&mut self, ty: TypeIndex, signed: bool) {
        let storage = self.element_type(ty);
        let (array, place) = self.element(storage);
        self.emit.discard(array);
        self.get(place, OBJECT_ELEMENTS, element_region(storage), storage, signed);
    }

    /// Pops a value as an array holds it: its bits, of a vector in two parts.
    fn pop_bits(&mut self, storage: StorageType) -> (E::Value, Option<E::Value>) {
        match storage {
            StorageType::Val(ValType::F32) => self.emit.numeric(&Operator::I32ReinterpretF32),
            StorageType::Val(ValType::F64) => self.emit.numeric(&Operator::I64ReinterpretF64),
            _ => {}
        }
        let value = self.emit.pop();
        let value = self.stored(storage, value);
        match storage {
            StorageType::Val(ValType::I64 | ValType::F64) => (value, None),
            StorageType::Val(ValType::V128) => {
                let copy = self.emit.copy(&value);
                let low = self.emit.extract_lane(64, 0, copy);
                (low, Some(self.emit.extract_lane(64, 1, value)))
            }
            _ => (self.emit.zero_extend(value), None),
        }
    }

    /// `array.fill` of an array that is not null. `result` is pushed.
    fn fill(
        &mut self,
        ty: TypeIndex,
        array: E::Value,
        start: E::Value,
        (low, high): (E::Value, Option<E::Value>),
        length: E::Value,
        result: Option<E::Value>,
    ) {
        let high = high.unwrap_or_else(|| self.emit.constant(Const::I64(0)));
        let place = self.place(array, start);
        let (mut low, mut length) = (low, length);
        let paid = if result.is_some() { PAID } else { 0 };
        if let Some(result) = result {
            // These are values of their own, that lie no longer where operands lay: one is pushed there.
            let zero = self.emit.constant(Const::I64(0));
            low = self.emit.arith(Arith::Or, low, zero);
            let zero = self.emit.constant(Const::I32(0));
            length = self.emit.arith(Arith::Or, length, zero);
            self.emit.push(result);
        }
        self.builtin(Builtin::ArrayFill, ty.0, paid, [place, low, high, length]);
    }

    /// Pops an index and an array, which is checked for null: both in one word.
    fn pop_place(&mut self) -> E::Value {
        let start = self.emit.pop();
        let array = self.emit.pop();
        let array = self.check_non_null(HeapTop::Any, array);
        self.place(array, start)
    }

    fn place(&mut self, array: E::Value, start: E::Value) -> E::Value {
        let array = self.emit.zero_extend(array);
        let start = self.emit.zero_extend(start);
        let shift = self.const_i64(32);
        let high = self.emit.arith(Arith::Shl, start, shift);
        self.emit.arith(Arith::Or, high, array)
    }

    // ---- i31 ----

    fn i31_get(&mut self, shift: Arith) {
        let value = self.emit.pop();
        let value = self.check_non_null(HeapTop::Any, value);
        let one = self.emit.constant(Const::I32(1));
        let value = self.emit.arith(shift, value, one);
        self.emit.push(value);
    }
}

//! Objects of the store's heap: making them, reading and writing them, asking for their types.
//!
//! Invariant: an address in the heap is its base plus a zero-extended 32-bit number plus a small constant
//! (`layout`, [heap access]).

use crate::abi::{POINTER, clif_type};
use crate::emit::Tier;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, TrapCode, Value, types};
use smallvec::SmallVec;
use wardian_lower::*;
use wardian_module::layout::{
    Field, LARGE_OBJECT, OBJECT_ELEMENTS, OBJECT_LENGTH, OBJECT_SHAPE, Region, Repr, SHAPE_DEPTH,
    SHAPE_DISPLAY, SHAPE_KIND,
};
use wardian_module::{Builtin, Operation, Trap, TypeIndex};

impl Tier<'_> {
    /// The address of a 32-bit offset in the heap.
    fn heap_address(&mut self, offset: Value) -> Value {
        let base = self.load_field(Field::GcBase);
        let offset = self.b.ins().uextend(types::I64, offset);
        self.b.ins().iadd(base, offset)
    }

    fn heap_flags(
        &mut self,
        region: Region,
        access: Access,
        trap: Option<TrapCode>,
    ) -> MemFlagsData {
        let region = self.region(region);
        let flags = match access {
            // Objects are aligned to 8 bytes only.
            Access::Full(Repr::V128) => MemFlagsData::new(),
            _ => MemFlagsData::trusted(),
        };
        flags.with_trap_code(trap).with_alias_region(region)
    }

    fn null_code(null_trap: bool) -> Option<TrapCode> {
        null_trap.then(|| Self::trap_code(Trap::NullReference))
    }

    pub(crate) fn load_object(
        &mut self,
        object: Value,
        offset: u32,
        region: Region,
        access: Access,
        null_trap: bool,
    ) -> Value {
        let address = self.heap_address(object);
        let flags = self.heap_flags(region, access, Self::null_code(null_trap));
        let offset = offset as i32;
        let ins = self.b.ins();
        match access {
            Access::Narrow { bits: 8, signed: false, to } => {
                ins.uload8(clif_type(to), flags, address, offset)
            }
            Access::Narrow { bits: 8, to, .. } => ins.sload8(clif_type(to), flags, address, offset),
            Access::Narrow { signed: false, to, .. } => {
                ins.uload16(clif_type(to), flags, address, offset)
            }
            Access::Narrow { to, .. } => ins.sload16(clif_type(to), flags, address, offset),
            Access::Full(repr) => {
                let value = ins.load(clif_type(repr), flags, address, offset);
                if repr == Repr::Ref {
                    self.roots.mark(value);
                }
                value
            }
            Access::Extend { .. } | Access::Splat { .. } | Access::Zero { .. } => {
                unreachable!("only memories are read so")
            }
        }
    }

    pub(crate) fn store_object(
        &mut self,
        object: Value,
        offset: u32,
        region: Region,
        access: Access,
        value: Value,
        null_trap: bool,
    ) {
        let address = self.heap_address(object);
        let flags = self.heap_flags(region, access, Self::null_code(null_trap));
        let offset = offset as i32;
        let ins = self.b.ins();
        match access {
            Access::Narrow { bits: 8, .. } => ins.istore8(flags, value, address, offset),
            Access::Narrow { .. } => ins.istore16(flags, value, address, offset),
            Access::Full(_) => ins.store(flags, value, address, offset),
            Access::Extend { .. } | Access::Splat { .. } | Access::Zero { .. } => {
                unreachable!("only loads extend")
            }
        };
    }

    pub(crate) fn new_object(&mut self, ty: TypeIndex, bytes: u32, length: Option<u32>) -> Value {
        let bytes = self.b.ins().iconst(types::I64, i64::from(bytes));
        let (builtin, second, args) = match length {
            None => (Builtin::GcAllocStruct, 0, None),
            Some(length) => {
                let length = self.b.ins().iconst(types::I32, i64::from(length));
                (Builtin::GcAllocArray, 1, Some(length))
            }
        };
        self.allocate_or_call(ty, bytes, None, Operation::new(builtin, ty.0, second), args)
    }

    /// An array of as many elements as the operand on top says.
    pub(crate) fn new_array(&mut self, ty: TypeIndex, element_bytes: u32) -> Value {
        let length = *self.stack.last().expect("the length is an operand");
        let bytes = self.b.ins().uextend(types::I64, length);
        let bytes = self.b.ins().ishl_imm_u(bytes, i64::from(element_bytes.trailing_zeros()));
        // A multiple of 8.
        let bytes = self.b.ins().iadd_imm_u(bytes, i64::from(OBJECT_ELEMENTS + 7));
        let bytes = self.b.ins().band_imm_s(bytes, -8);
        let operation = Operation::new(Builtin::GcAllocArray, ty.0, 2);
        let large = (LARGE_OBJECT - OBJECT_ELEMENTS) / element_bytes;
        let large = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, length, i64::from(large));
        let array = self.allocate_or_call(ty, bytes, Some(large), operation, Some(length));
        let length = *self.stack.last().expect("the length is an operand");
        let access = Access::Full(Repr::I32);
        self.store_object(array, OBJECT_LENGTH, Region::ObjectHead, access, length, false);
        array
    }

    /// Makes an object of so many bytes where the next one has room, or has the operation make it: also if `large`.
    fn allocate_or_call(
        &mut self,
        ty: TypeIndex,
        bytes: Value,
        large: Option<Value>,
        operation: Operation,
        args: Option<Value>,
    ) -> Value {
        let next = self.load_field(Field::GcNext);
        let end = self.b.ins().iadd(next, bytes);
        let limit = self.load_field(Field::GcLimit);
        let mut full = self.b.ins().icmp(IntCC::UnsignedGreaterThan, end, limit);
        if let Some(large) = large {
            full = self.b.ins().bor(full, large);
        }
        let [cold, fast, join] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(full, cold, &[], fast, &[]);
        self.b.seal_block(cold);
        self.b.seal_block(fast);
        self.b.set_cold_block(cold);

        self.b.switch_to_block(cold);
        let saved = self.save_roots(self.stack.len());
        let Operation { builtin, first, second } = operation;
        let call = self.call_builtin(builtin, first, second, args.as_slice());
        let mut args = vec![BlockArg::Value(self.b.inst_results(call)[0])];
        self.reload_into(call, &saved, &mut args);
        self.b.ins().jump(join, &args);

        self.b.switch_to_block(fast);
        self.store_field(Field::GcNext, end);
        let object = self.b.ins().ireduce(types::I32, next);
        let header = self.load_field(Field::ObjectHeader(ty));
        let address = self.heap_address(object);
        let access = Access::Full(Repr::I64);
        let flags = self.heap_flags(Region::ObjectHead, access, None);
        self.b.ins().store(flags, header, address, OBJECT_SHAPE as i32);
        let args: SmallVec<[BlockArg; 4]> =
            [BlockArg::Value(object)].into_iter().chain(Self::kept(&saved)).collect();
        self.b.ins().jump(join, &args);

        self.b.seal_block(join);
        self.b.switch_to_block(join);
        let object = self.b.append_block_param(join, types::I32);
        self.roots.mark(object);
        self.join_operands(join, &saved);
        object
    }

    pub(crate) fn slow_builtin(
        &mut self,
        condition: Value,
        builtin: Builtin,
        first: u32,
        args: &[Value],
        otherwise: Option<Value>,
    ) -> Option<Value> {
        assert!(!builtin.may_collect(), "references stay where they are");
        let cold = self.b.create_block();
        let next = self.b.create_block();
        let otherwise: SmallVec<[BlockArg; 1]> =
            otherwise.into_iter().map(BlockArg::Value).collect();
        self.b.ins().brif(condition, cold, &[], next, &otherwise);
        self.b.seal_block(cold);
        self.b.set_cold_block(cold);
        self.b.switch_to_block(cold);
        let call = self.call_builtin(builtin, first, 0, args);
        let results: SmallVec<[BlockArg; 1]> =
            self.b.inst_results(call).iter().map(|value| BlockArg::Value(*value)).collect();
        let result = results.first().map(|_| {
            let ty = self.b.func.dfg.value_type(self.b.inst_results(call)[0]);
            self.b.append_block_param(next, ty)
        });
        self.b.ins().jump(next, &results);
        self.b.seal_block(next);
        self.b.switch_to_block(next);
        result
    }

    pub(crate) fn load_func_of_id(&mut self, index: Value) -> Value {
        let base = self.load_field(Field::FuncIdsBase);
        let offset = self.b.ins().ishl_imm_u(index, 3);
        let address = self.b.ins().iadd(base, offset);
        let flags = self.trusted(Region::Store);
        self.b.ins().load(POINTER, flags, address, 0)
    }

    // ---- tests ----

    /// Reads a word of a shape. Shapes never change.
    fn load_shape(&mut self, shape: Value, offset: u32) -> Value {
        let address = self.heap_address(shape);
        // Not one that can move: the shape of what is no object is anything.
        let flags = self.trusted(Region::Constant).with_readonly();
        self.b.ins().load(types::I32, flags, address, offset as i32)
    }

    fn shape_of_type(&mut self, ty: TypeIndex) -> Value {
        let header = self.load_field(Field::ObjectHeader(ty));
        self.b.ins().ireduce(types::I32, header)
    }

    /// Whether an object passes; where it does not for its depth, goes to `fail` at once.
    fn test_object(&mut self, object: Value, test: ObjectTest, fail: Fail) -> Value {
        if test == ObjectTest::Never {
            return self.b.ins().iconst(types::I8, 0);
        }
        let access = Access::Full(Repr::I32);
        let shape = self.load_object(object, OBJECT_SHAPE, Region::ObjectHead, access, false);
        match test {
            ObjectTest::Never => unreachable!("answered above"),
            ObjectTest::Kind { kind, or_below } => {
                let found = self.load_shape(shape, SHAPE_KIND);
                let condition =
                    if or_below { IntCC::UnsignedLessThanOrEqual } else { IntCC::Equal };
                self.b.ins().icmp_imm_u(condition, found, i64::from(kind))
            }
            ObjectTest::Exactly(ty) => {
                let expected = self.shape_of_type(ty);
                self.b.ins().icmp(IntCC::Equal, shape, expected)
            }
            ObjectTest::Below { ty, depth, has_depth } => {
                if has_depth {
                    let found = self.load_shape(shape, SHAPE_DEPTH);
                    let deep = self.b.ins().icmp_imm_u(
                        IntCC::UnsignedGreaterThanOrEqual,
                        found,
                        i64::from(depth),
                    );
                    self.go_on_if(deep, false, fail);
                }
                let found = self.load_shape(shape, SHAPE_DISPLAY + 4 * depth);
                let expected = self.shape_of_type(ty);
                self.b.ins().icmp(IntCC::Equal, found, expected)
            }
        }
    }

    /// Goes on here if `condition`; else the test ends with `result`.
    fn go_on_if(&mut self, condition: Value, result: bool, fail: Fail) {
        match (fail, result) {
            (Fail::Trap(code), false) => {
                self.b.ins().trapz(condition, code);
            }
            (Fail::Trap(_), true) | (Fail::To(_), _) => {
                let next = self.b.create_block();
                let (target, args) = match fail {
                    Fail::To(target) => {
                        let result = self.b.ins().iconst(types::I32, i64::from(result));
                        (target, Some(BlockArg::Value(result)))
                    }
                    Fail::Trap(_) => (self.passed.expect("a cast is under way"), None),
                };
                let args: SmallVec<[BlockArg; 1]> = args.into_iter().collect();
                self.b.ins().brif(condition, next, &[], target, &args);
                self.b.seal_block(next);
                self.b.switch_to_block(next);
            }
        }
    }

    /// What comes before the object itself is looked at.
    fn test_value(&mut self, value: Value, test: RefTest, fail: Fail) -> Value {
        if let Some(null) = test.null {
            let there = self.b.ins().icmp_imm_u(IntCC::NotEqual, value, 0);
            self.go_on_if(there, null, fail);
        }
        if let Some(i31) = test.i31 {
            let bit = self.b.ins().band_imm_u(value, 1);
            let even = self.b.ins().icmp_imm_u(IntCC::Equal, bit, 0);
            self.go_on_if(even, i31, fail);
        }
        self.test_object(value, test.object, fail)
    }

    pub(crate) fn test_reference(&mut self, value: Value, test: RefTest) -> Value {
        let end = self.b.create_block();
        let result = self.b.append_block_param(end, types::I32);
        let passes = self.test_value(value, test, Fail::To(end));
        let passes = self.flag(passes);
        self.b.ins().jump(end, &[BlockArg::Value(passes)]);
        self.b.seal_block(end);
        self.b.switch_to_block(end);
        result
    }

    pub(crate) fn cast_reference(&mut self, value: Value, test: RefTest, info: TrapInfo) {
        if !self.settings.signals_based_traps {
            let passes = self.test_reference(value, test);
            let failed = self.b.ins().icmp_imm_u(IntCC::Equal, passes, 0);
            return self.raise_if(failed, info, &[]);
        }
        let passed = self.b.create_block();
        self.passed = Some(passed);
        let fail = Fail::Trap(Self::trap_code(info.trap));
        let passes = self.test_value(value, test, fail);
        self.go_on_if(passes, false, fail);
        self.b.ins().jump(passed, &[]);
        self.b.seal_block(passed);
        self.b.switch_to_block(passed);
        self.passed = None;
    }
}

/// Where a test goes that is decided early.
#[derive(Clone, Copy)]
enum Fail {
    /// To the block that takes the result.
    To(cranelift_codegen::ir::Block),
    /// A cast: nowhere, or to the end.
    Trap(TrapCode),
}

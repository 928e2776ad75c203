//! Tests and casts of references: what is to be looked at, by the types of before and after.

use crate::driver::{Failure, Lowering};
use crate::emit::*;
use wardian_module::layout::{MIN_DISPLAY, SHAPE_ARRAY, SHAPE_STRUCT};
use wardian_module::{Builtin, DecodeError, HeapTop, HeapType, RefType, Trap, TypeIndex};
use wasmparser::{HeapType as WasmHeapType, Operator, UnpackedIndex};

/// What a test of a reference comes to.
enum Test {
    /// The type alone says it, but for null.
    Null { null: bool, other: bool },
    /// The object, if it is one, says it.
    Object(RefTest),
    /// A function, of a type of the module.
    Func { null: bool, ty: TypeIndex },
}

/// What is known of an operand.
#[derive(Clone, Copy)]
struct Source {
    nullable: bool,
    /// Whether it may be an `i31`.
    i31: bool,
}

impl<E: Emit> Lowering<'_, E> {
    /// Lowers a test or cast; `false` if it is none. `operand` is the operand's type.
    pub(crate) fn cast_op(
        &mut self,
        op: &Operator<'_>,
        offset: usize,
        operand: Option<wasmparser::ValType>,
    ) -> Result<bool, Failure> {
        match *op {
            Operator::RefTestNonNull { hty } | Operator::RefTestNullable { hty } => {
                let nullable = matches!(op, Operator::RefTestNullable { .. });
                let test = self.test_of(hty, nullable, self.source(operand), offset)?;
                let value = self.emit.pop();
                let result = self.test(value, test);
                self.emit.push(result);
            }
            Operator::RefCastNonNull { hty } | Operator::RefCastNullable { hty } => {
                let nullable = matches!(op, Operator::RefCastNullable { .. });
                let test = self.test_of(hty, nullable, self.source(operand), offset)?;
                let info = TrapInfo { trap: Trap::CastFailure, place: 0 };
                let value = self.emit.pop();
                let copy = self.emit.copy(&value);
                match test {
                    Test::Object(test) => self.emit.ref_cast(copy, test, info),
                    test => {
                        let result = self.test(copy, test);
                        let zero = self.emit.constant(Const::I32(0));
                        let failed = self.emit.compare(Compare::Eq, result, zero);
                        self.emit.trap_if(failed, info, Details::new());
                    }
                }
                self.emit.push(value);
            }
            Operator::BrOnCast { relative_depth, from_ref_type, to_ref_type } => {
                self.branch_on_cast(relative_depth, from_ref_type, to_ref_type, true, offset)?;
            }
            Operator::BrOnCastFail { relative_depth, from_ref_type, to_ref_type } => {
                self.branch_on_cast(relative_depth, from_ref_type, to_ref_type, false, offset)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn branch_on_cast(
        &mut self,
        depth: u32,
        from: wasmparser::RefType,
        to: wasmparser::RefType,
        on_success: bool,
        offset: usize,
    ) -> Result<(), Failure> {
        let source = Some(wasmparser::ValType::Ref(from));
        let test = self.test_of(to.heap_type(), to.is_nullable(), self.source(source), offset)?;
        let value = self.emit.pop();
        let copy = self.emit.copy(&value);
        let mut condition = self.test(copy, test);
        if !on_success {
            let zero = self.emit.constant(Const::I32(0));
            condition = self.emit.compare(Compare::Eq, condition, zero);
        }
        self.emit.push(value);
        self.branch_to(depth);
        self.emit.branch_if_value(condition, depth);
        Ok(())
    }

    fn source(&self, operand: Option<wasmparser::ValType>) -> Source {
        use wasmparser::AbstractHeapType as A;
        let Some(wasmparser::ValType::Ref(ty)) = operand else {
            return Source { nullable: true, i31: true };
        };
        let i31 = match ty.heap_type() {
            WasmHeapType::Abstract { ty, .. } => matches!(ty, A::Any | A::Eq | A::I31),
            _ => false,
        };
        Source { nullable: ty.is_nullable(), i31 }
    }

    fn test_of(
        &self,
        target: WasmHeapType,
        nullable: bool,
        source: Source,
        offset: usize,
    ) -> Result<Test, DecodeError> {
        let heap = self.module.heap_type(target, offset)?;
        let ty = match target {
            WasmHeapType::Concrete(UnpackedIndex::Module(index)) => TypeIndex(index),
            _ => TypeIndex(0),
        };
        let object = |object| {
            Test::Object(RefTest {
                null: source.nullable.then_some(nullable),
                i31: source.i31.then_some(matches!(heap, HeapType::Eq | HeapType::I31)),
                object,
            })
        };
        Ok(match heap {
            HeapType::Any | HeapType::Extern | HeapType::Func | HeapType::Exn => {
                Test::Null { null: nullable, other: true }
            }
            HeapType::None | HeapType::NoExtern | HeapType::NoFunc | HeapType::NoExn => {
                Test::Null { null: nullable, other: false }
            }
            HeapType::I31 => object(ObjectTest::Never),
            // Host values are no `eq`.
            HeapType::Eq => object(ObjectTest::Kind { kind: SHAPE_ARRAY, or_below: true }),
            HeapType::Struct => object(ObjectTest::Kind { kind: SHAPE_STRUCT, or_below: false }),
            HeapType::Array => object(ObjectTest::Kind { kind: SHAPE_ARRAY, or_below: false }),
            HeapType::ConcreteFunc(_) => Test::Func { null: nullable, ty },
            HeapType::ConcreteStruct(_) | HeapType::ConcreteArray(_) => {
                let registered = &self.module.types[ty.index()];
                object(match registered.is_final() {
                    true => ObjectTest::Exactly(ty),
                    false => {
                        let depth = registered.depth();
                        ObjectTest::Below { ty, depth, has_depth: depth >= MIN_DISPLAY }
                    }
                })
            }
        })
    }

    /// The result of a test.
    fn test(&mut self, value: E::Value, test: Test) -> E::Value {
        match test {
            Test::Null { null, other } if null == other => {
                self.emit.discard(value);
                self.emit.constant(Const::I32(null.into()))
            }
            Test::Null { null, .. } => {
                let is_null = self.emit.is_null(HeapTop::Any, value);
                if null {
                    return is_null;
                }
                let zero = self.emit.constant(Const::I32(0));
                self.emit.compare(Compare::Eq, is_null, zero)
            }
            Test::Object(test) => self.emit.ref_test(value, test),
            Test::Func { null, ty } => {
                let copy = self.emit.copy(&value);
                let is_null = self.emit.is_null(HeapTop::Func, copy);
                let zero = self.emit.constant(Const::I32(0));
                let there = self.emit.compare(Compare::Eq, is_null, zero);
                let otherwise = self.emit.constant(Const::I32(null.into()));
                let args = [value].into_iter().collect();
                let result = self.emit.slow(there, Builtin::FuncIs, ty.0, args, Some(otherwise));
                result.expect("it has a result")
            }
        }
    }

    /// The type of a reference as far as its representation and hierarchy go: the validator names defined
    /// types by its own ids.
    pub(crate) fn erased(&self, ty: wasmparser::RefType) -> Option<RefType> {
        use wasmparser::{CompositeInnerType, WasmModuleResources};
        let (WasmHeapType::Concrete(index) | WasmHeapType::Exact(index)) = ty.heap_type() else {
            return None;
        };
        let inner = match index {
            UnpackedIndex::Id(id) => {
                &self.validator.resources().sub_type_at_id(id).composite_type.inner
            }
            UnpackedIndex::Module(index) => {
                let heap = self.module.types.get(index as usize)?.heap_type();
                return Some(RefType { nullable: ty.is_nullable(), heap });
            }
            UnpackedIndex::RecGroup(_) => return None,
        };
        let heap = match inner {
            CompositeInnerType::Func(_) => HeapType::Func,
            CompositeInnerType::Array(_) => HeapType::Array,
            CompositeInnerType::Struct(_) => HeapType::Struct,
            CompositeInnerType::Cont(_) => return None,
        };
        Some(RefType { nullable: ty.is_nullable(), heap })
    }
}

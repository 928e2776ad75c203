//! Signatures of generated functions, from `module`'s calling convention.
//!
//! Invariant: Cranelift's `tail` convention places the arguments and results of the signatures made
//! here where [`CallLayout`] says. The kernel builds its register images from the same layout; a test
//! of this file compares the two, and one of the kernel calls real code.

use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Signature, Type, types};
use cranelift_codegen::isa::CallConv;
use wardian_module::FuncType;
use wardian_module::abi::{CallLayout, ResultLoc};
use wardian_module::builtin::Word;
use wardian_module::layout::Repr;

/// The type of all vectors outside of the instruction that computes them.
pub(crate) const V128: Type = types::I8X16;
pub(crate) const POINTER: Type = types::I64;

pub(crate) fn clif_type(repr: Repr) -> Type {
    match repr {
        Repr::I32 | Repr::Ref => types::I32,
        Repr::I64 => types::I64,
        Repr::F32 => types::F32,
        Repr::F64 => types::F64,
        Repr::V128 => V128,
        Repr::Pointer => POINTER,
    }
}

/// The signature of functions of type `ty`, whose layout is `layout`.
pub(crate) fn signature(ty: &FuncType, layout: &CallLayout) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    if layout.area_bytes > 0 {
        signature.params.push(AbiParam::new(POINTER));
    }
    signature.params.extend(ty.params().iter().map(|ty| AbiParam::new(clif_type(Repr::of(*ty)))));
    let in_registers = ty
        .results()
        .iter()
        .zip(&layout.results)
        .filter(|(_, loc)| !matches!(loc, ResultLoc::Area(_)))
        .map(|(ty, _)| AbiParam::new(clif_type(Repr::of(*ty))));
    signature.returns.extend(in_registers);
    signature
}

fn word_type(word: Word) -> Type {
    match word {
        Word::W32 | Word::Ref => types::I32,
        Word::W64 => types::I64,
        Word::FuncRef => POINTER,
    }
}

/// The signature of the builtin shim for a builtin of these arguments: context, operation, arguments.
pub(crate) fn builtin_signature(params: &[Word], result: Option<Word>) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    signature.params.push(AbiParam::new(types::I64));
    signature.params.extend(params.iter().map(|word| AbiParam::new(word_type(*word))));
    signature.returns.extend(result.map(|word| AbiParam::new(word_type(word))));
    signature
}

/// The signature of the shim that throws: context, id of the tag.
pub(crate) fn throw_signature() -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    signature.params.push(AbiParam::new(types::I32));
    signature
}

/// The signature of the epoch shim. No register changes.
pub(crate) fn epoch_signature() -> Signature {
    Signature::new(CallConv::PreserveAll)
}

//! Values of scripts: arguments into values of the API, results against what is expected.
//!
//! A NaN pattern compares bits: *canonical* is the one quiet NaN with an otherwise empty payload, of
//! either sign; *arithmetic* any NaN whose quiet bit is set. spec (interpreter/README, "scripts").

use wardian::{AnyRef, ExternRef, Rooted, Store, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};

/// An argument as a value. Host values are numbers, kept in the store.
pub(crate) fn argument(store: &mut Store<()>, arg: &WastArgCore<'_>) -> Result<Val, String> {
    Ok(match arg {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
        WastArgCore::RefNull(HeapType::Abstract { shared: false, ty }) => match ty {
            AbstractHeapType::Func | AbstractHeapType::NoFunc => Val::FuncRef(None),
            AbstractHeapType::Extern | AbstractHeapType::NoExtern => Val::ExternRef(None),
            AbstractHeapType::Any
            | AbstractHeapType::Eq
            | AbstractHeapType::I31
            | AbstractHeapType::Struct
            | AbstractHeapType::Array
            | AbstractHeapType::None => Val::AnyRef(None),
            ty => return Err(format!("arguments of type {ty:?} are not supported")),
        },
        // A host value, seen from inside.
        WastArgCore::RefHost(number) => {
            let value = ExternRef::new(&mut *store, *number);
            let value = value.and_then(|value| AnyRef::convert_extern(&mut *store, value));
            Val::AnyRef(Some(value.map_err(|error| format!("{error:#}"))?))
        }
        WastArgCore::RefExtern(number) => Val::ExternRef(Some(
            ExternRef::new(store, *number).map_err(|error| format!("{error:#}"))?,
        )),
        other => return Err(format!("argument {other:?} is not supported")),
    })
}

/// Whether `value` is what the script expects.
pub(crate) fn check(
    store: &mut Store<()>,
    value: &Val,
    expected: &WastRetCore<'_>,
) -> Result<(), String> {
    let holds = match (value, expected) {
        (_, WastRetCore::Either(cases)) => {
            cases.iter().any(|case| check(store, value, case).is_ok())
        }
        (Val::I32(value), WastRetCore::I32(expected)) => value == expected,
        (Val::I64(value), WastRetCore::I64(expected)) => value == expected,
        (Val::F32(bits), WastRetCore::F32(pattern)) => f32_matches(*bits, pattern),
        (Val::F64(bits), WastRetCore::F64(pattern)) => f64_matches(*bits, pattern),
        (Val::V128(value), WastRetCore::V128(pattern)) => v128_matches(value.as_u128(), pattern),
        (Val::FuncRef(None), WastRetCore::RefNull(ty)) => {
            is_of(ty, &[AbstractHeapType::Func, AbstractHeapType::NoFunc])
        }
        (Val::ExternRef(None), WastRetCore::RefNull(ty)) => {
            is_of(ty, &[AbstractHeapType::Extern, AbstractHeapType::NoExtern])
        }
        (Val::AnyRef(None), WastRetCore::RefNull(ty)) => is_of(
            ty,
            &[
                AbstractHeapType::Any,
                AbstractHeapType::Eq,
                AbstractHeapType::I31,
                AbstractHeapType::Struct,
                AbstractHeapType::Array,
                AbstractHeapType::None,
            ],
        ),
        (Val::ExnRef(None), WastRetCore::RefNull(ty)) => {
            is_of(ty, &[AbstractHeapType::Exn, AbstractHeapType::NoExn])
        }
        (Val::AnyRef(Some(value)), expected) => return any_is(store, value, expected),
        (Val::FuncRef(Some(_)), WastRetCore::RefFunc(_)) => true,
        (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
        (Val::ExternRef(Some(value)), WastRetCore::RefExtern(Some(expected))) => {
            let data = value.data(&*store).map_err(|error| format!("{error:#}"))?;
            data.and_then(|data| data.downcast_ref::<u32>()) == Some(expected)
        }
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("expected {expected:?}, found {}", show(value))) }
}

/// Whether an internal value is of the kind that is expected.
fn any_is(
    store: &mut Store<()>,
    value: &Rooted<AnyRef>,
    expected: &WastRetCore<'_>,
) -> Result<(), String> {
    let holds = match expected {
        WastRetCore::RefAny => Ok(true),
        WastRetCore::RefEq => value.is_eqref(&*store),
        WastRetCore::RefI31 => value.is_i31(&*store),
        WastRetCore::RefStruct => value.is_struct(&*store),
        WastRetCore::RefArray => value.is_array(&*store),
        WastRetCore::RefHost(expected) => {
            ExternRef::convert_any(&mut *store, *value).and_then(|value| {
                let data = value.data(&*store)?;
                Ok(data.and_then(|data| data.downcast_ref::<u32>()) == Some(expected))
            })
        }
        _ => Ok(false),
    };
    match holds.map_err(|error| format!("{error:#}"))? {
        true => Ok(()),
        false => Err(format!("expected {expected:?}, found {value:?}")),
    }
}

/// Whether an expected null is of one of these types. A concrete type says nothing about the
/// hierarchy here, so it is let through.
fn is_of(expected: &Option<HeapType<'_>>, types: &[AbstractHeapType]) -> bool {
    match expected {
        Some(HeapType::Abstract { ty, .. }) => types.contains(ty),
        _ => true,
    }
}

fn f32_matches(bits: u32, pattern: &NanPattern<F32>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

fn f64_matches(bits: u64, pattern: &NanPattern<F64>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

/// Lane 0 is in the lowest bits.
fn v128_matches(value: u128, pattern: &V128Pattern) -> bool {
    let lane = |index: usize, bits: usize| value >> (index * bits);
    match pattern {
        V128Pattern::I8x16(lanes) => {
            lanes.iter().enumerate().all(|(i, &expected)| lane(i, 8) as i8 == expected)
        }
        V128Pattern::I16x8(lanes) => {
            lanes.iter().enumerate().all(|(i, &expected)| lane(i, 16) as i16 == expected)
        }
        V128Pattern::I32x4(lanes) => {
            lanes.iter().enumerate().all(|(i, &expected)| lane(i, 32) as i32 == expected)
        }
        V128Pattern::I64x2(lanes) => {
            lanes.iter().enumerate().all(|(i, &expected)| lane(i, 64) as i64 == expected)
        }
        V128Pattern::F32x4(lanes) => {
            lanes.iter().enumerate().all(|(i, pattern)| f32_matches(lane(i, 32) as u32, pattern))
        }
        V128Pattern::F64x2(lanes) => {
            lanes.iter().enumerate().all(|(i, pattern)| f64_matches(lane(i, 64) as u64, pattern))
        }
    }
}

/// A value for a message: floats with their bits, since NaNs differ only there.
fn show(value: &Val) -> String {
    match value {
        Val::F32(bits) => format!("f32 {} ({bits:#010x})", f32::from_bits(*bits)),
        Val::F64(bits) => format!("f64 {} ({bits:#018x})", f64::from_bits(*bits)),
        Val::V128(value) => format!("v128 {:#034x}", value.as_u128()),
        other => format!("{other:?}"),
    }
}

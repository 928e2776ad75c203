//! [`ValRaw`]: a value as bits in a slot of 128, for callers that know types themselves: bindings to
//! other languages, generated glue.
//!
//! Invariant: a slot means nothing by itself. Whoever reads one reads it by a type, and what it names
//! (a function, a host value) is looked up in the store and checked then. So no slot, however it was
//! made, can break a store: it is refused, or it is another value of its type.

use crate::error::{Error, ErrorKind, Result};
use crate::func::Func;
use crate::store::{AsContext, AsContextMut, StoreInner, WRONG_STORE};
use crate::types::ValType;
use crate::val::{ExternRef, Rooted, Val};
use wardian_module as m;
use wardian_vm::{FuncId, Value};

/// A value of some type, as bits. Numbers stand in the low bits, with zeros above.
///
/// Function references and references to host values are numbers that [`Func::to_raw`] and
/// [`Rooted::to_raw`] give; 0 is null. They are checked where they are used.
///
/// ```
/// use wardian::{Func, Store, ValRaw};
///
/// let mut store = Store::<()>::default();
/// let add = Func::wrap(&mut store, |a: i32, b: i32| a.wrapping_add(b));
/// let mut slots = [ValRaw::i32(40), ValRaw::i32(2)];
/// add.call_raw(&mut store, &mut slots)?;
/// assert_eq!(slots[0].get_i32(), 42);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ValRaw(u128);

impl std::fmt::Debug for ValRaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ValRaw({:#x})", self.0)
    }
}

macro_rules! slots {
    ($($(#[$doc:meta])* $new:ident $get:ident $ty:ty, |$v:ident| $to:expr, |$bits:ident| $from:expr;)*) => {
        impl ValRaw {
            $(
                $(#[$doc])*
                #[inline]
                pub const fn $new($v: $ty) -> ValRaw {
                    ValRaw($to)
                }

                #[doc = concat!("What [`", stringify!($new), "`](ValRaw::", stringify!($new), ") put in.")]
                #[inline]
                pub const fn $get(&self) -> $ty {
                    let $bits = self.0;
                    $from
                }
            )*
        }
    };
}

slots! {
    /// An `i32`.
    i32 get_i32 i32, |v| v as u32 as u128, |bits| bits as i32;
    /// An `i32`, without its sign.
    u32 get_u32 u32, |v| v as u128, |bits| bits as u32;
    /// An `i64`.
    i64 get_i64 i64, |v| v as u64 as u128, |bits| bits as i64;
    /// An `i64`, without its sign.
    u64 get_u64 u64, |v| v as u128, |bits| bits as u64;
    /// An `f32`, as its bits.
    f32 get_f32 u32, |v| v as u128, |bits| bits as u32;
    /// An `f64`, as its bits.
    f64 get_f64 u64, |v| v as u128, |bits| bits as u64;
    /// A `v128`.
    v128 get_v128 u128, |v| v, |bits| bits;
    /// A function reference, from [`Func::to_raw`]; 0 is null.
    funcref get_funcref u64, |v| v as u128, |bits| bits as u64;
    /// A reference to a host value, from [`Rooted::to_raw`]; 0 is null.
    externref get_externref u32, |v| v as u128, |bits| bits as u32;
}

impl ValRaw {
    /// Zero, or null.
    pub const fn null() -> ValRaw {
        ValRaw(0)
    }

    /// The value of type `ty` that the slot holds. References are checked where the kernel takes them.
    pub(crate) fn to_value(self, ty: m::ValType) -> Value {
        match ty {
            m::ValType::I32 => Value::I32(self.get_i32()),
            m::ValType::I64 => Value::I64(self.get_i64()),
            m::ValType::F32 => Value::F32(self.get_f32()),
            m::ValType::F64 => Value::F64(self.get_f64()),
            m::ValType::V128 => Value::V128(self.0),
            m::ValType::Ref(ty) if ty.heap.top() == m::HeapTop::Func => {
                Value::Func(func_id(self.get_funcref()))
            }
            m::ValType::Ref(_) => Value::Ref(self.get_externref()),
        }
    }

    pub(crate) fn from_value(value: Value) -> ValRaw {
        match value {
            Value::I32(v) => ValRaw::i32(v),
            Value::I64(v) => ValRaw::i64(v),
            Value::F32(bits) => ValRaw::f32(bits),
            Value::F64(bits) => ValRaw::f64(bits),
            Value::V128(bits) => ValRaw(bits),
            Value::Func(func) => ValRaw::funcref(func.map_or(0, func_bits)),
            Value::Ref(reference) => ValRaw::externref(reference),
        }
    }
}

/// One more than the function's own number, so that 0 is null.
fn func_bits(func: FuncId) -> u64 {
    func.to_bits().wrapping_add(1)
}

fn func_id(raw: u64) -> Option<FuncId> {
    (raw != 0).then(|| FuncId::from_bits(raw.wrapping_sub(1)))
}

/// An error unless a reference of this number exists in the store.
fn check_reference<T>(store: &StoreInner<T>, value: Value) -> Result<()> {
    let exists = match value {
        Value::Func(Some(func)) => store.rt.kernel.func_type(func).is_some(),
        Value::Ref(reference) if reference != 0 => store.rt.host_value(reference).is_some(),
        _ => true,
    };
    let text = || Error::tagged(ErrorKind::Misuse, "a raw reference names nothing of this store");
    if exists { Ok(()) } else { Err(text()) }
}

impl Func {
    /// The number that stands for it in a [`ValRaw`]. Not 0. It means this function as long as its
    /// store exists, and nothing or something else in another store.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn to_raw(&self, store: impl AsContext) -> u64 {
        assert!(self.store == store.as_context().0.id(), "{WRONG_STORE}");
        func_bits(self.id)
    }

    /// The function that [`to_raw`](Func::to_raw) gave this number; `None` for 0.
    ///
    /// # Panics
    ///
    /// When the store has no function of this number.
    pub fn from_raw(store: impl AsContext, raw: u64) -> Option<Func> {
        let store = store.as_context().0;
        let id = func_id(raw)?;
        check_reference(store, Value::Func(Some(id))).unwrap_or_else(|error| panic!("{error}"));
        Some(Func { store: store.id(), id })
    }
}

impl ExternRef {
    /// The reference that [`Rooted::to_raw`] gave this number; `None` for 0.
    ///
    /// # Panics
    ///
    /// When the store keeps no host value of this number.
    pub fn from_raw(store: impl AsContext, raw: u32) -> Option<Rooted<ExternRef>> {
        let store = store.as_context().0;
        check_reference(store, Value::Ref(raw)).unwrap_or_else(|error| panic!("{error}"));
        Rooted::from_reference(store.id(), raw)
    }
}

impl Rooted<ExternRef> {
    /// The number that stands for it in a [`ValRaw`]. Not 0.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn to_raw(&self, store: impl AsContext) -> Result<u32> {
        self.reference_in(store.as_context().0.id())
    }
}

impl Val {
    /// The value as a slot.
    ///
    /// # Errors
    ///
    /// When it is a reference of another store.
    pub fn to_raw(&self, store: impl AsContext) -> Result<ValRaw> {
        Ok(ValRaw::from_value(self.to_value(store.as_context().0.id())?))
    }

    /// The value of type `ty` that a slot holds. A reference is known to exist, but its type is `ty`'s
    /// only if the slot was made from such a value.
    ///
    /// # Panics
    ///
    /// When the slot names a function or host value that the store does not have.
    pub fn from_raw(mut store: impl AsContextMut, raw: ValRaw, ty: ValType) -> Val {
        let store = store.as_context_mut().0;
        let value = raw.to_value(ty.to_module());
        check_reference(store, value).unwrap_or_else(|error| panic!("{error}"));
        Val::from_value(value, store.id())
    }
}

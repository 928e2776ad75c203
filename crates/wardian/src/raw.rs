//! [`ValRaw`]: a value as bits in a slot of 128, for callers that know types themselves: bindings to
//! other languages, generated glue.
//!
//! Invariant: a slot means nothing by itself. Whoever reads one reads it by a type, and what it names
//! (a function, a root) is looked up in the store and checked then. So no slot, however it was
//! made, can break a store: it is refused, or it is another value of its type.

use crate::error::Result;
use crate::exceptions::ExnRef;
use crate::func::Func;
use crate::refs::AnyRef;
use crate::rooted::{GcRef, Rooted, RootedGcRef};
use crate::store::{AsContext, AsContextMut, WRONG_STORE};
use crate::types::ValType;
use crate::val::{ExternRef, Val};
use wardian_module as m;
use wardian_runtime as rt;
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
    /// A reference to an internal value, from [`Rooted::to_raw`]; 0 is null.
    anyref get_anyref u32, |v| v as u128, |bits| bits as u32;
    /// A reference to an exception, from [`Rooted::to_raw`]; 0 is null.
    exnref get_exnref u32, |v| v as u128, |bits| bits as u32;
}

impl ValRaw {
    /// Zero, or null.
    pub const fn null() -> ValRaw {
        ValRaw(0)
    }

    /// The value of type `ty` that the slot holds. `None` when it names nothing of the store, or an object of
    /// another type; functions are checked where the kernel takes them.
    pub(crate) fn to_value(self, ty: m::ValType, store: &rt::Store) -> Option<Value> {
        Some(match ty {
            m::ValType::I32 => Value::I32(self.get_i32()),
            m::ValType::I64 => Value::I64(self.get_i64()),
            m::ValType::F32 => Value::F32(self.get_f32()),
            m::ValType::F64 => Value::F64(self.get_f64()),
            m::ValType::V128 => Value::V128(self.0),
            m::ValType::Ref(ty) if ty.heap.top() == m::HeapTop::Func => {
                Value::Func(func_id(self.get_funcref()))
            }
            m::ValType::Ref(ty) => {
                let reference = reference(store, self.get_externref())?;
                if !store.reference_matches(reference, ty) {
                    return None;
                }
                Value::Ref(reference)
            }
        })
    }

    /// The slot for a value. A reference gets a root of the innermost scope.
    pub(crate) fn from_value(value: Value, store: &mut rt::Store) -> ValRaw {
        match value {
            Value::I32(v) => ValRaw::i32(v),
            Value::I64(v) => ValRaw::i64(v),
            Value::F32(bits) => ValRaw::f32(bits),
            Value::F64(bits) => ValRaw::f64(bits),
            Value::V128(bits) => ValRaw(bits),
            Value::Func(func) => ValRaw::funcref(func.map_or(0, func_bits)),
            Value::Ref(reference) if reference & 1 != 0 => ValRaw::anyref(reference),
            Value::Ref(reference) => {
                let root = Rooted::<AnyRef>::new(store, reference);
                ValRaw::anyref(root.map_or(0, |root| root_bits(&root)))
            }
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

/// The number that stands for a root: even and not 0, for odd ones are integers of 31 bits.
fn root_bits<T: GcRef>(root: &Rooted<T>) -> u32 {
    // A store with 2^31 roots has no memory for more.
    root.number().wrapping_add(1) << 1
}

/// The root that a number stands for, and its reference.
fn root<T: GcRef>(store: &rt::Store, raw: u32) -> Option<(Rooted<T>, u32)> {
    Rooted::of_number(store, (raw >> 1).checked_sub(1)?)
}

/// The reference that a number stands for. `None` when there is no such root.
fn reference(store: &rt::Store, raw: u32) -> Option<u32> {
    if raw == 0 || raw & 1 != 0 {
        return Some(raw);
    }
    root::<AnyRef>(store, raw).map(|(_, reference)| reference)
}

/// Why a number is refused.
const NAMES_NOTHING: &str = "a raw reference names nothing of this store";

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
        assert!(store.rt.kernel.func_type(id).is_some(), "{NAMES_NOTHING}");
        Some(Func { store: store.id(), id })
    }
}

impl ExternRef {
    /// The reference that [`Rooted::to_raw`] gave this number; `None` for 0.
    ///
    /// # Panics
    ///
    /// When the store has no root of this number.
    pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<ExternRef>> {
        from_raw(&mut store.as_context_mut().0.rt, raw)
    }
}

impl AnyRef {
    /// The reference that [`Rooted::to_raw`] gave this number; `None` for 0.
    ///
    /// # Panics
    ///
    /// When the store has no root of this number.
    pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<AnyRef>> {
        from_raw(&mut store.as_context_mut().0.rt, raw)
    }
}

impl ExnRef {
    /// The reference that [`Rooted::to_raw`] gave this number; `None` for 0.
    ///
    /// # Panics
    ///
    /// When the store has no root of this number, or that is no exception's.
    pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<ExnRef>> {
        let store = &mut store.as_context_mut().0.rt;
        let reference = reference(store, raw).expect(NAMES_NOTHING);
        let exn = m::RefType { nullable: true, heap: m::HeapType::Exn };
        assert!(store.reference_matches(reference, exn), "{NAMES_NOTHING}");
        from_raw(store, raw)
    }
}

fn from_raw<T: GcRef>(store: &mut rt::Store, raw: u32) -> Option<Rooted<T>> {
    match raw {
        0 => None,
        integer if integer & 1 != 0 => Rooted::new(store, integer),
        raw => Some(root(store, raw).expect(NAMES_NOTHING).0),
    }
}

macro_rules! to_raw {
    ($($name:ident)*) => {$(
        impl Rooted<$name> {
            /// The number that stands for it in a [`ValRaw`]. Not 0. It means something until the scope of
            /// this root is left.
            ///
            /// # Errors
            ///
            /// When that scope has been left, or it belongs to another store.
            pub fn to_raw(&self, store: impl AsContext) -> Result<u32> {
                self.reference(&store.as_context().0.rt)?;
                Ok(root_bits(self))
            }
        }
    )*};
}

to_raw!(ExternRef AnyRef ExnRef);

impl Val {
    /// The value as a slot.
    ///
    /// # Errors
    ///
    /// When it is a reference of another store.
    pub fn to_raw(&self, store: impl AsContext) -> Result<ValRaw> {
        let store = &store.as_context().0.rt;
        Ok(match (self, self.to_value(store)?) {
            (Val::ExternRef(Some(root)), _) => ValRaw::externref(root_bits(root)),
            (Val::AnyRef(Some(root)), _) => ValRaw::anyref(root_bits(root)),
            (Val::ExnRef(Some(root)), _) => ValRaw::exnref(root_bits(root)),
            (_, Value::I32(v)) => ValRaw::i32(v),
            (_, Value::I64(v)) => ValRaw::i64(v),
            (_, Value::F32(bits)) => ValRaw::f32(bits),
            (_, Value::F64(bits)) => ValRaw::f64(bits),
            (_, Value::V128(bits)) => ValRaw(bits),
            (_, Value::Func(func)) => ValRaw::funcref(func.map_or(0, func_bits)),
            (_, Value::Ref(_)) => ValRaw::null(),
        })
    }

    /// The value of type `ty` that a slot holds. A reference is known to exist, but its type is `ty`'s
    /// only if the slot was made from such a value.
    ///
    /// # Panics
    ///
    /// When the slot names a function or host value that the store does not have.
    pub fn from_raw(mut store: impl AsContextMut, raw: ValRaw, ty: ValType) -> Val {
        let store = store.as_context_mut().0;
        let ty = ty.to_module();
        let value = raw.to_value(ty, &store.rt).expect(NAMES_NOTHING);
        if let Value::Func(Some(func)) = value {
            assert!(store.rt.kernel.func_type(func).is_some(), "{NAMES_NOTHING}");
        }
        Val::from_value(value, ty, &mut store.rt)
    }
}

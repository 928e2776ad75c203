//! Rust types as WebAssembly types: arguments and results of typed calls and of host closures.

use crate::error::{Error, Result};
use crate::func::{Caller, Func, exit_error, host_call};
use crate::refs::{AnyRef, ArrayRef, EqRef, I31, StructRef};
use crate::rooted::{Rooted, RootedGcRef};
use crate::store::{AsContextMut, CallHook, StoreInner, check_store};
use crate::types::{HeapType, RefType, ValType};
use crate::val::{ExternRef, Ref, V128, Val};
use wardian_runtime as rt;
use wardian_vm::{
    self as vm, AnyHeap, ArrayHeap, CallError, EqHeap, ExternHeap, FuncId, HostParams, I31Heap,
    NonNull, NullExtern, NullFunc, NullRef, Nullable, StructHeap, Vector,
};

/// A Rust type that stands for one WebAssembly value: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`,
/// [`V128`], [`I31`], [`Func`], [`Rooted`] of [`ExternRef`], [`AnyRef`], [`EqRef`], [`StructRef`] and
/// [`ArrayRef`], `Option` of all these references, `Option<NoFunc>`, `Option<NoExtern>`, `Option<NoneRef>`.
///
/// ```
/// use wardian::{V128, WasmTy};
///
/// assert!(u32::valtype().is_i32() && V128::valtype().is_v128());
/// ```
pub trait WasmTy: Sized + Send + 'static {
    #[doc(hidden)]
    type Kernel: vm::WasmValue;
    /// The WebAssembly type.
    fn valtype() -> ValType;
    #[doc(hidden)]
    fn from_kernel(value: Self::Kernel, store: &mut rt::Store) -> Self;
    #[doc(hidden)]
    fn into_kernel(self, store: &rt::Store) -> Result<Self::Kernel>;
}

macro_rules! numbers {
    ($($ty:ty, $val:ident;)*) => {$(
        impl WasmTy for $ty {
            type Kernel = $ty;
            fn valtype() -> ValType {
                ValType::$val
            }
            #[inline]
            fn from_kernel(value: $ty, _: &mut rt::Store) -> $ty {
                value
            }
            #[inline]
            fn into_kernel(self, _: &rt::Store) -> Result<$ty> {
                Ok(self)
            }
        }
    )*};
}

numbers! {
    i32, I32;
    u32, I32;
    i64, I64;
    u64, I64;
    f32, F32;
    f64, F64;
}

impl WasmTy for V128 {
    type Kernel = Vector;
    fn valtype() -> ValType {
        ValType::V128
    }
    fn from_kernel(value: Vector, _: &mut rt::Store) -> V128 {
        value.0.into()
    }
    fn into_kernel(self, _: &rt::Store) -> Result<Vector> {
        Ok(Vector(self.into()))
    }
}

impl WasmTy for Option<Func> {
    type Kernel = Option<FuncId>;
    fn valtype() -> ValType {
        ValType::FUNCREF
    }
    fn from_kernel(value: Option<FuncId>, store: &mut rt::Store) -> Self {
        value.map(|id| Func { store: store.kernel.id(), id })
    }
    fn into_kernel(self, store: &rt::Store) -> Result<Option<FuncId>> {
        self.map(|func| WasmTy::into_kernel(func, store)).transpose()
    }
}

impl WasmTy for Func {
    type Kernel = FuncId;
    fn valtype() -> ValType {
        ValType::Ref(RefType::new(false, HeapType::Func))
    }
    fn from_kernel(id: FuncId, store: &mut rt::Store) -> Func {
        Func { store: store.kernel.id(), id }
    }
    fn into_kernel(self, store: &rt::Store) -> Result<FuncId> {
        check_store(self.store, store.kernel.id())?;
        Ok(self.id)
    }
}

macro_rules! references {
    ($($name:ident $val:ident $heap:ident $kernel:ident;)*) => {$(
        impl WasmTy for Rooted<$name> {
            type Kernel = NonNull<$kernel>;
            fn valtype() -> ValType {
                ValType::Ref(RefType::new(false, HeapType::$heap))
            }
            #[inline]
            fn from_kernel(value: NonNull<$kernel>, store: &mut rt::Store) -> Self {
                Rooted::new(store, value.bits()).expect("a non-nullable reference is not null")
            }
            #[inline]
            fn into_kernel(self, store: &rt::Store) -> Result<NonNull<$kernel>> {
                Ok(NonNull::new(self.reference(store)?))
            }
        }

        impl WasmTy for Option<Rooted<$name>> {
            type Kernel = Nullable<$kernel>;
            fn valtype() -> ValType {
                ValType::$val
            }
            #[inline]
            fn from_kernel(value: Nullable<$kernel>, store: &mut rt::Store) -> Self {
                Rooted::new(store, value.bits())
            }
            #[inline]
            fn into_kernel(self, store: &rt::Store) -> Result<Nullable<$kernel>> {
                self.map_or(Ok(0), |value| value.reference(store)).map(Nullable::new)
            }
        }
    )*};
}

references! {
    ExternRef EXTERNREF Extern ExternHeap;
    AnyRef ANYREF Any AnyHeap;
    EqRef EQREF Eq EqHeap;
    StructRef STRUCTREF Struct StructHeap;
    ArrayRef ARRAYREF Array ArrayHeap;
}

impl WasmTy for I31 {
    type Kernel = NonNull<I31Heap>;
    fn valtype() -> ValType {
        ValType::Ref(RefType::new(false, HeapType::I31))
    }
    fn from_kernel(value: NonNull<I31Heap>, _: &mut rt::Store) -> I31 {
        I31::wrapping_u32(value.bits() >> 1)
    }
    fn into_kernel(self, _: &rt::Store) -> Result<NonNull<I31Heap>> {
        Ok(NonNull::new(self.to_reference()))
    }
}

impl WasmTy for Option<I31> {
    type Kernel = Nullable<I31Heap>;
    fn valtype() -> ValType {
        ValType::I31REF
    }
    fn from_kernel(value: Nullable<I31Heap>, _: &mut rt::Store) -> Option<I31> {
        (value.bits() != 0).then(|| I31::wrapping_u32(value.bits() >> 1))
    }
    fn into_kernel(self, _: &rt::Store) -> Result<Nullable<I31Heap>> {
        Ok(Nullable::new(self.map_or(0, I31::to_reference)))
    }
}

macro_rules! nulls {
    ($($(#[$doc:meta])* $name:ident $val:ident $kernel:ident $kind:ident $value:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {}

        impl $name {
            /// Null, as an argument or result of a typed function.
            pub const fn null() -> Option<$name> {
                None
            }

            /// Null, as a reference.
            pub const fn null_ref() -> Ref {
                Ref::$kind(None)
            }

            /// Null, as a value.
            pub const fn null_val() -> Val {
                Val::$value(None)
            }
        }

        impl WasmTy for Option<$name> {
            type Kernel = $kernel;
            fn valtype() -> ValType {
                ValType::$val
            }
            fn from_kernel(_: $kernel, _: &mut rt::Store) -> Self {
                None
            }
            fn into_kernel(self, _: &rt::Store) -> Result<$kernel> {
                Ok($kernel)
            }
        }
    )*};
}

nulls! {
    /// What `nullfuncref` refers to: nothing. Only `None` is an `Option<NoFunc>`.
    ///
    /// ```
    /// use wardian::{Func, NoFunc, Store};
    ///
    /// let mut store = Store::<()>::default();
    /// let takes_null = Func::wrap(&mut store, |null: Option<NoFunc>| i32::from(null.is_none()));
    /// let call = takes_null.typed::<Option<NoFunc>, i32>(&store)?;
    /// assert_eq!(call.call(&mut store, NoFunc::null())?, 1);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    NoFunc NULLFUNCREF NullFunc Func FuncRef;
    /// What `nullexternref` refers to: nothing. Only `None` is an `Option<NoExtern>`.
    ///
    /// ```
    /// use wardian::NoExtern;
    ///
    /// assert!(NoExtern::null().is_none() && NoExtern::null_ref().is_null());
    /// ```
    NoExtern NULLEXTERNREF NullExtern Extern ExternRef;
    /// What `nullref` refers to: nothing. Only `None` is an `Option<NoneRef>`.
    ///
    /// ```
    /// use wardian::{Func, NoneRef, Store};
    ///
    /// let mut store = Store::<()>::default();
    /// let null = Func::wrap(&mut store, || NoneRef::null());
    /// let call = null.typed::<(), Option<NoneRef>>(&store)?;
    /// assert!(call.call(&mut store, ())?.is_none());
    /// # Ok::<(), wardian::Error>(())
    /// ```
    NoneRef NULLREF NullRef Any AnyRef;
}

/// A tuple of up to 16 [`WasmTy`], as a list of their types.
///
/// ```
/// use wardian::{ValType, WasmTyList};
///
/// let types: Vec<ValType> = <(i32, f64)>::valtypes().collect();
/// assert_eq!(types, [ValType::I32, ValType::F64]);
/// ```
pub trait WasmTyList {
    /// Their WebAssembly types, in order.
    fn valtypes() -> impl Iterator<Item = ValType>;
}

/// Parameters of a function: `()`, one [`WasmTy`] or a tuple of up to 16.
///
/// ```
/// use wardian::{AsContextMut, Func, Store, WasmParams};
///
/// fn call<P: WasmParams>(func: Func, mut store: impl AsContextMut, params: P) -> wardian::Result<i32> {
///     func.typed::<P, i32>(&store)?.call(&mut store, params)
/// }
/// let mut store = Store::<()>::default();
/// let negate = Func::wrap(&mut store, |n: i32| -n);
/// assert_eq!(call(negate, &mut store, 5)?, -5);
/// assert!(call(negate, &mut store, (5, 6)).is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
pub trait WasmParams: Send + 'static {
    #[doc(hidden)]
    type Kernel: vm::Values;
    #[doc(hidden)]
    fn list() -> Vec<ValType>;
    #[doc(hidden)]
    fn into_kernel(self, store: &rt::Store) -> Result<Self::Kernel>;
}

/// Results of a function: `()`, one [`WasmTy`] or a tuple of up to 16.
///
/// ```
/// use wardian::{AsContextMut, Func, Store, WasmResults};
///
/// fn call<R: WasmResults>(func: Func, mut store: impl AsContextMut) -> wardian::Result<R> {
///     func.typed::<(), R>(&store)?.call(&mut store, ())
/// }
/// let mut store = Store::<()>::default();
/// let pair = Func::wrap(&mut store, || (1u32, 2.5f32));
/// assert_eq!(call::<(u32, f32)>(pair, &mut store)?, (1, 2.5));
/// # Ok::<(), wardian::Error>(())
/// ```
pub trait WasmResults: WasmParams {
    #[doc(hidden)]
    fn from_kernel(values: Self::Kernel, store: &mut rt::Store) -> Self;
}

/// What a host closure may return: results, or a [`Result`] of them.
///
/// ```
/// use wardian::{Func, Store, bail};
///
/// let mut store = Store::<()>::default();
/// let nothing = Func::wrap(&mut store, || {});
/// let two = Func::wrap(&mut store, || (1, 2i64));
/// let fails = Func::wrap(&mut store, |n: i32| -> wardian::Result<i32> { bail!("not {n}") });
/// assert_eq!(two.ty(&store).results().len(), 2);
/// ```
pub trait WasmRet: 'static {
    #[doc(hidden)]
    type Kernel: vm::Results;
    #[doc(hidden)]
    fn into_ret(self, store: &rt::Store) -> Result<Self::Kernel>;
}

impl<A: WasmTy> WasmParams for A {
    type Kernel = (A::Kernel,);
    fn list() -> Vec<ValType> {
        vec![A::valtype()]
    }
    #[inline]
    fn into_kernel(self, store: &rt::Store) -> Result<Self::Kernel> {
        Ok((WasmTy::into_kernel(self, store)?,))
    }
}

impl<A: WasmTy> WasmResults for A {
    #[inline]
    fn from_kernel(values: Self::Kernel, store: &mut rt::Store) -> Self {
        WasmTy::from_kernel(values.0, store)
    }
}

impl<A: WasmTy> WasmRet for A {
    type Kernel = (A::Kernel,);
    #[inline]
    fn into_ret(self, store: &rt::Store) -> Result<Self::Kernel> {
        WasmParams::into_kernel(self, store)
    }
}

impl<R: WasmRet> WasmRet for Result<R> {
    type Kernel = R::Kernel;
    #[inline]
    fn into_ret(self, store: &rt::Store) -> Result<Self::Kernel> {
        self?.into_ret(store)
    }
}

/// A Rust closure that can be a host function.
///
/// ```
/// use wardian::{IntoFunc, Linker};
///
/// fn define<P, R>(linker: &mut Linker<u8>, func: impl IntoFunc<u8, P, R>) -> wardian::Result<()> {
///     linker.func_wrap("host", "f", func).map(drop)
/// }
/// define(&mut Linker::new(&Default::default()), |a: i32, b: u64| u64::from(a > 0) + b)?;
/// # Ok::<(), wardian::Error>(())
/// ```
///
/// Implemented for closures of up to 16 [`WasmTy`] arguments that return a [`WasmRet`], with a
/// [`Caller`] as first argument or without.
pub trait IntoFunc<T, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_host_func(self) -> HostFunc;
}

/// A host function of the kernel; opaque.
#[doc(hidden)]
pub struct HostFunc(pub(crate) vm::HostFunc);

macro_rules! tuples {
    ($($name:ident)*) => {
        #[allow(
            non_snake_case,
            unused_variables,
            clippy::unused_unit,
            reason = "named as its type; the empty tuple"
        )]
        impl<$($name: WasmTy),*> WasmParams for ($($name,)*) {
            type Kernel = ($($name::Kernel,)*);
            fn list() -> Vec<ValType> {
                vec![$($name::valtype()),*]
            }
            #[inline]
            fn into_kernel(self, store: &rt::Store) -> Result<Self::Kernel> {
                let ($($name,)*) = self;
                Ok(($(WasmTy::into_kernel($name, store)?,)*))
            }
        }

        #[allow(
            non_snake_case,
            unused_variables,
            clippy::unused_unit,
            reason = "named as its type; the empty tuple"
        )]
        impl<$($name: WasmTy),*> WasmResults for ($($name,)*) {
            #[inline]
            fn from_kernel(values: Self::Kernel, store: &mut rt::Store) -> Self {
                let ($($name,)*) = values;
                ($(WasmTy::from_kernel($name, store),)*)
            }
        }

        impl<$($name: WasmTy),*> WasmTyList for ($($name,)*) {
            fn valtypes() -> impl Iterator<Item = ValType> {
                [$($name::valtype()),*].into_iter()
            }
        }

        impl<$($name: WasmTy),*> WasmRet for ($($name,)*) {
            type Kernel = ($($name::Kernel,)*);
            #[inline]
            fn into_ret(self, store: &rt::Store) -> Result<Self::Kernel> {
                WasmParams::into_kernel(self, store)
            }
        }

        #[allow(non_snake_case, unused_variables, reason = "named as its type; no arguments")]
        impl<T, F, R, $($name),*> IntoFunc<T, ($($name,)*), R> for F
        where
            T: 'static,
            F: Fn($($name),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($name: WasmTy,)*
        {
            fn into_host_func(self) -> HostFunc {
                IntoFunc::<T, (Caller<'_, T>, $($name,)*), R>::into_host_func(
                    move |_: Caller<'_, T>, $($name: $name),*| self($($name),*),
                )
            }
        }

        #[allow(non_snake_case, unused_variables, reason = "named as its type; no arguments")]
        impl<T, F, R, $($name),*> IntoFunc<T, (Caller<'_, T>, $($name,)*), R> for F
        where
            T: 'static,
            F: Fn(Caller<'_, T>, $($name),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($name: WasmTy,)*
        {
            fn into_host_func(self) -> HostFunc {
                HostFunc(wrap::<T, _, ($($name::Kernel,)*), R>(
                    move |call: vm::Call<'_, StoreInner<T>>, ($($name,)*): ($($name::Kernel,)*)| {
                        host_call(
                            call,
                            |store| ($(<$name as WasmTy>::from_kernel($name, store),)*),
                            |caller, ($($name,)*)| Ok(self(caller, $($name),*)),
                            |ret, store| ret.into_ret(store),
                        )
                    },
                ))
            }
        }
    };
}

fn wrap<T, F, P, R>(func: F) -> vm::HostFunc
where
    T: 'static,
    R: WasmRet,
    P: HostParams<StoreInner<T>, F, R::Kernel>,
    F: Fn(vm::Call<'_, StoreInner<T>>, P) -> Result<R::Kernel, vm::HostError>
        + Send
        + Sync
        + 'static,
{
    vm::HostFunc::wrap::<StoreInner<T>, F, P, R::Kernel>(func)
}

tuples!();
tuples!(A1);
tuples!(A1 A2);
tuples!(A1 A2 A3);
tuples!(A1 A2 A3 A4);
tuples!(A1 A2 A3 A4 A5);
tuples!(A1 A2 A3 A4 A5 A6);
tuples!(A1 A2 A3 A4 A5 A6 A7);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15);
tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16);

/// A function whose type was checked once, for fast calls.
///
/// ```
/// use wardian::{Func, Store, TypedFunc};
///
/// let mut store = Store::<()>::default();
/// let max = Func::wrap(&mut store, |a: f64, b: f64| a.max(b));
/// let max: TypedFunc<(f64, f64), f64> = max.typed(&store)?;
/// assert_eq!(max.call(&mut store, (1.0, 2.0))?, 2.0);
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct TypedFunc<Params: WasmParams, Results: WasmResults> {
    func: Func,
    typed: vm::TypedFunc<Params::Kernel, Results::Kernel>,
}

impl<P: WasmParams, R: WasmResults> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: WasmParams, R: WasmResults> Copy for TypedFunc<P, R> {}

impl<P: WasmParams, R: WasmResults> std::fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypedFunc").field("func", &self.func).finish()
    }
}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    pub(crate) fn new<T>(store: &StoreInner<T>, func: Func) -> Option<TypedFunc<P, R>> {
        let typed = store.rt.kernel.typed(func.id).ok()?;
        Some(TypedFunc { func, typed })
    }

    /// The function, without its type.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Calls it.
    ///
    /// # Errors
    ///
    /// What the call ended with: a [`Trap`](crate::Trap), or the error of a host function. Of kind
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) when the function or a reference belongs to
    /// another store.
    ///
    /// # Panics
    ///
    /// When a host function panicked, with its payload.
    #[inline]
    pub fn call(&self, mut store: impl AsContextMut, params: P) -> Result<R> {
        let store = store.as_context_mut().0;
        if store.is_hooked() {
            return self.call_hooked(store, params);
        }
        // The kernel checks whose function it is.
        let params = params.into_kernel(&store.rt)?;
        match vm::call_typed(store, &self.typed, params) {
            Ok(results) => Ok(R::from_kernel(results, &mut store.rt)),
            Err(error) => Err(self.failed(store, error)),
        }
    }

    /// As `call`, where there is a hook. Apart, so that other calls save no registers for it.
    #[cold]
    #[inline(never)]
    fn call_hooked<T>(&self, store: &mut StoreInner<T>, params: P) -> Result<R> {
        check_store(self.func.store, store.id())?;
        store.pass(CallHook::CallingWasm)?;
        // Between the hook's two calls: it may collect.
        let result = params.into_kernel(&store.rt).map(|params| {
            let called = vm::call_typed(store, &self.typed, params);
            called.map(|results| R::from_kernel(results, &mut store.rt))
        });
        store.pass(CallHook::ReturningFromWasm)?;
        result?.map_err(|error| self.failed(store, error))
    }

    #[cold]
    fn failed<T>(&self, store: &StoreInner<T>, error: CallError) -> Error {
        match error {
            CallError::Exit(exit) => exit_error(store, *exit),
            CallError::Mismatch => match check_store(self.func.store, store.id()) {
                Err(error) => error,
                Ok(()) => unreachable!("types and store were checked"),
            },
        }
    }
}

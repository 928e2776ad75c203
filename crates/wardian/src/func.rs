//! Functions: handles, calls by value and by type, and host functions from Rust closures.

use crate::backtrace::{RawFrame, WasmBacktrace};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::externals::Extern;
use crate::store::{
    AsContext, AsContextMut, StoreContext, StoreContextMut, StoreInner, WRONG_STORE, check_store,
};
use crate::typed::{IntoFunc, TypedFunc, WasmParams, WasmResults};
use crate::types::{FuncType, ValType};
use crate::val::Val;
use smallvec::SmallVec;
use std::sync::Arc;

use wardian_vm::{self as vm, CallError, Exit, Failure, FuncId, InstanceId, StoreId, Value};

/// A function of a store: a guest's or the host's.
///
/// ```
/// use wardian::{Func, Store};
///
/// let mut store = Store::<()>::default();
/// let add = Func::wrap(&mut store, |a: i32, b: i32| a.wrapping_add(b));
/// let add = add.typed::<(i32, i32), i32>(&store)?;
/// assert_eq!(add.call(&mut store, (1, 2))?, 3);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Func {
    pub(crate) store: StoreId,
    pub(crate) id: FuncId,
}

impl Func {
    /// A host function of dynamically given type. `func` gets the arguments and places for the
    /// results; a result of another type than `ty` says is an error of kind
    /// [`ErrorKind::Misuse`] for the caller.
    pub fn new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        Func::from_host(store.as_context_mut().0, dynamic_host_func(ty, func))
    }

    /// A host function whose type is that of a Rust closure of up to 16 arguments, with a
    /// [`Caller`] before them or not.
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Func {
        Func::from_host(store.as_context_mut().0, func.into_host_func().0)
    }

    pub(crate) fn from_host<T>(store: &mut StoreInner<T>, func: vm::HostFunc) -> Func {
        let id = store.rt.kernel.host_func(Arc::new(func), None);
        Func { store: store.id(), id: id.expect("made for this type of store; memory is left") }
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        let store = store.as_context().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        let ty = store.rt.kernel.func_type(self.id).expect("a function of this store");
        FuncType::from_registered(ty.clone())
    }

    /// Whether its type is a subtype of `ty`.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &FuncType) -> bool {
        self.ty(store).matches(ty)
    }

    /// Calls it. `results` must be as long as its results; what was there is overwritten.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Misuse`] when number or types of arguments are wrong or something belongs
    /// to another store; else what the call ended with: a [`Trap`](crate::Trap), or the error of a host function.
    ///
    /// # Panics
    ///
    /// When a host function panicked, with its payload.
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let store = store.as_context_mut().0;
        let id = store.id();
        check_store(self.store, id)?;
        let mut values: SmallVec<[Value; 8]> =
            SmallVec::with_capacity(params.len() + results.len());
        for param in params {
            values.push(param.to_value(id)?);
        }
        values.resize(params.len() + results.len(), Value::I32(0));
        let (args, rets) = values.split_at_mut(params.len());
        match vm::call(store, self.id, args, rets) {
            Ok(()) => {
                for (place, value) in results.iter_mut().zip(rets) {
                    *place = Val::from_value(*value, id);
                }
                Ok(())
            }
            Err(CallError::Exit(exit)) => Err(exit_error(store, exit)),
            Err(CallError::Mismatch) => Err(self.mismatch(store, params, results.len())),
        }
    }

    /// Which argument or result made a call impossible.
    #[cold]
    fn mismatch<T>(&self, store: &StoreInner<T>, params: &[Val], results: usize) -> Error {
        let misuse = |text: String| Error::tagged(ErrorKind::Misuse, text);
        let ty = self.ty(StoreContext(store));
        if ty.params().len() != params.len() {
            let (expected, found) = (ty.params().len(), params.len());
            return misuse(format!("expected {expected} arguments, got {found}"));
        }
        if ty.results().len() != results {
            let expected = ty.results().len();
            return misuse(format!("expected {expected} results, got {results}"));
        }
        for (position, (param, ty)) in params.iter().zip(ty.params()).enumerate() {
            match param.ty(StoreContext(store)) {
                Ok(found) if found.matches(&ty) => {}
                Ok(found) => {
                    return misuse(format!(
                        "argument {position} type mismatch: expected {ty}, found {found}"
                    ));
                }
                Err(error) => return error,
            }
        }
        misuse("a result of a host function has another type than it declared".into())
    }

    /// This function with its type checked once, for faster calls.
    ///
    /// # Errors
    ///
    /// When its type is another one, or it belongs to another store.
    pub fn typed<Params: WasmParams, Results: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<Params, Results>> {
        let store = store.as_context();
        check_store(self.store, store.0.id())?;
        TypedFunc::new(store.0, *self).ok_or_else(|| {
            let list = |types: Vec<ValType>| {
                let list: Vec<_> = types.iter().map(ToString::to_string).collect();
                list.join(" ")
            };
            let text = format!(
                "type mismatch: expected parameters [{}] and results [{}], found {}",
                list(Params::valtypes()),
                list(Results::valtypes()),
                self.ty(store),
            );
            Error::tagged(ErrorKind::Misuse, text)
        })
    }
}

/// A kernel function from a dynamically typed closure.
pub(crate) fn dynamic_host_func<T: 'static>(
    ty: FuncType,
    func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
) -> vm::HostFunc {
    let registered = ty.registered().clone();
    vm::HostFunc::dynamic::<StoreInner<T>, _>(registered, move |call, params, results| {
        let id = call.host.id();
        let vals = params.iter().chain(results.iter()).map(|value| Val::from_value(*value, id));
        let mut vals: SmallVec<[Val; 8]> = vals.collect();
        let (args, rets) = vals.split_at_mut(params.len());
        func(Caller::new(call), args, rets).map_err(host_error)?;
        for (position, (place, val)) in results.iter_mut().zip(rets.iter()).enumerate() {
            let value = val.to_value(id).map_err(host_error)?;
            if std::mem::discriminant(place) != std::mem::discriminant(&value) {
                let expected = ty.result(position).expect("as many results as the type has");
                let found = vm::kind_of(&value);
                let text = format!(
                    "result {position} of a host function: expected {expected}, found {found}"
                );
                return Err(host_error(Error::tagged(ErrorKind::Misuse, text)));
            }
            *place = value;
        }
        Ok(())
    })
}

/// An error on its way through guest frames.
pub(crate) fn host_error(error: Error) -> vm::HostError {
    Box::new(error)
}

/// The error of a call that did not return.
#[cold]
pub(crate) fn exit_error<T>(store: &StoreInner<T>, exit: Exit) -> Error {
    store.rt.refund(&exit);
    let error = match exit.failure {
        Failure::Panic(payload) => std::panic::resume_unwind(payload),
        Failure::Trap(report) => {
            let frame = exit.frames.first();
            tracing::debug!(
                target: wardian_runtime::log::TRAP,
                trap = %report.trap,
                func = frame.map(|frame| frame.func.0),
                offset = frame.and_then(|frame| frame.wasm_offset),
                frames = exit.frames.len(),
                "trapped"
            );
            let error = Error::new(report.trap).with_tag(ErrorKind::Trap);
            match store.rt.describe(&report) {
                Some(details) => error.context(details).with_tag(ErrorKind::Trap),
                None => error,
            }
        }
        Failure::Host(error) => match error.downcast::<Error>() {
            Ok(error) => error.or_tag(ErrorKind::Host),
            Err(other) => match other.downcast::<wardian_runtime::CompileFailure>() {
                Ok(failure) => Error::tagged(ErrorKind::Limit, failure.0),
                Err(_) => Error::tagged(
                    ErrorKind::Misuse,
                    "a result of a host function has another type or belongs to another store",
                ),
            },
        },
    };
    if exit.frames.is_empty() || error.is::<WasmBacktrace>() {
        return error;
    }
    let frames: Vec<_> = exit
        .frames
        .into_iter()
        .map(|frame| RawFrame {
            module: frame.module,
            func: frame.func,
            wasm_offset: frame.wasm_offset,
        })
        .collect();
    let kind = error.kind();
    let backtrace = WasmBacktrace::new(frames, store.engine.backtrace_details());
    error.context(backtrace).with_tag(kind)
}

/// The error of a trap that arose outside of guest frames.
pub(crate) fn failure_error<T>(store: &StoreInner<T>, failure: Failure) -> Error {
    exit_error(store, failure.into())
}

/// The caller of a host function: access to the store and to the calling instance's exports.
#[derive(Debug)]
pub struct Caller<'a, T: 'static> {
    pub(crate) store: StoreContextMut<'a, T>,
    instance: Option<InstanceId>,
}

impl<T> std::fmt::Debug for StoreContextMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreContextMut").finish_non_exhaustive()
    }
}

impl<'a, T> Caller<'a, T> {
    pub(crate) fn new(call: vm::Call<'a, StoreInner<T>>) -> Caller<'a, T> {
        Caller { store: StoreContextMut(call.host), instance: call.instance }
    }

    /// An export of the instance that imported the function, by name. `None` when there is none of that
    /// name, or when the function was not called through an import.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        let store = &mut *self.store.0;
        Extern::of_instance(store, self.instance?, name)
    }

    /// The engine of the store.
    pub fn engine(&self) -> &Engine {
        &self.store.0.engine
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.store.0.data
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.store.0.data
    }
}

impl<T> AsContext for Caller<'_, T> {
    type Data = T;
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.store.0)
    }
}

impl<T> AsContextMut for Caller<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.store.0)
    }
}

impl<'a, T> From<&'a mut Caller<'_, T>> for StoreContextMut<'a, T> {
    fn from(caller: &'a mut Caller<'_, T>) -> Self {
        StoreContextMut(caller.store.0)
    }
}

impl<'a, T> From<&'a Caller<'_, T>> for StoreContext<'a, T> {
    fn from(caller: &'a Caller<'_, T>) -> Self {
        StoreContext(caller.store.0)
    }
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Caller<'_, ()>>();
};

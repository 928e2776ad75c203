//! Functions: handles, calls by value and by type, and host functions from Rust closures.

use crate::backtrace::WasmBacktrace;
use crate::coredump::WasmCoreDump;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::exceptions::ThrownException;
use crate::externals::Extern;
use crate::instance::of_module_export;
use crate::module::ModuleExport;
use crate::raw::ValRaw;
use crate::store::{
    AsContext, AsContextMut, CallHook, StoreContext, StoreContextMut, StoreInner, WRONG_STORE,
    check_store,
};
use crate::typed::{IntoFunc, TypedFunc, WasmParams, WasmResults};
use crate::types::{FuncType, ValType};
use crate::val::Val;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use wardian_module::{self as m, Trap};
use wardian_runtime as rt;
use wardian_vm::{self as vm, CallError, Exit, Failure, FuncId, StoreId, Value};

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
        Func::from_host(store.as_context_mut().0, dynamic_host_func(ty, func)).expect(NO_MEMORY)
    }

    /// As [`new`](Func::new), with an error where that panics.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Limit`] when there is no memory for a function.
    pub fn try_new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Func> {
        Func::from_host(store.as_context_mut().0, dynamic_host_func(ty, func))
    }

    /// A host function on slots: arguments are in `slots` when `func` is called, and results when it
    /// returns, from the first slot on. There are as many slots as the type has parameters or results,
    /// whichever is more. A reference of another type than `ty` says is an error of kind
    /// [`ErrorKind::Misuse`] for the caller; see [`ValRaw`].
    ///
    /// ```
    /// use wardian::{Func, FuncType, Store, ValRaw, ValType};
    ///
    /// let mut store = Store::<()>::default();
    /// let ty = FuncType::new(store.engine(), [ValType::I64, ValType::I64], [ValType::I64]);
    /// let max = Func::new_raw(&mut store, ty, |_, slots| {
    ///     slots[0] = ValRaw::i64(slots[0].get_i64().max(slots[1].get_i64()));
    ///     Ok(())
    /// });
    /// assert_eq!(max.typed::<(i64, i64), i64>(&store)?.call(&mut store, (-3, 2))?, 2);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When there is no memory for a function.
    pub fn new_raw<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        Func::from_host(store.as_context_mut().0, raw_host_func(ty, func)).expect(NO_MEMORY)
    }

    /// A host function whose type is that of a Rust closure of up to 16 arguments, with a
    /// [`Caller`] before them or not.
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Func {
        Func::from_host(store.as_context_mut().0, func.into_host_func().0).expect(NO_MEMORY)
    }

    /// As [`wrap`](Func::wrap), with an error where that panics.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Limit`] when there is no memory for a function.
    pub fn try_wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<Func> {
        Func::from_host(store.as_context_mut().0, func.into_host_func().0)
    }

    fn from_host<T>(store: &mut StoreInner<T>, func: vm::HostFunc) -> Result<Func> {
        // `T` is the store's, so nothing but memory can be missing.
        let id = store.rt.kernel.host_func(Arc::new(func), None);
        let id = id.map_err(|_| Error::tagged(ErrorKind::Limit, NO_MEMORY))?;
        Ok(Func { store: store.id(), id })
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
        check_store(self.store, store.id())?;
        if let Some(func) = store.rt.kernel.numeric(self.id) {
            return self.call_numeric(store, &func, params, results);
        }
        let ty = store.rt.kernel.func_type(self.id).expect("a function of this store").clone();
        let ty = ty.func_type();
        if (params.len(), results.len()) != (ty.params().len(), ty.results().len()) {
            return Err(self.mismatch(store, params, results.len()));
        }
        store.pass(CallHook::CallingWasm)?;
        // Only now: the hook may have collected.
        let values = arguments(store, params, ty.params());
        let result = match &values {
            Ok(Some(values)) => {
                let mut rets: SmallVec<[Value; 8]> = smallvec![Value::I32(0); results.len()];
                let called = vm::call(store, self.id, values, &mut rets);
                if called.is_ok() {
                    for ((place, value), ty) in results.iter_mut().zip(&rets).zip(ty.results()) {
                        *place = Val::from_value(*value, *ty, &mut store.rt);
                    }
                }
                called
            }
            _ => Err(CallError::Mismatch),
        };
        store.pass(CallHook::ReturningFromWasm)?;
        match result {
            Ok(()) => Ok(()),
            Err(CallError::Exit(exit)) => Err(exit_error(store, *exit)),
            Err(CallError::Mismatch) => {
                values?;
                Err(self.mismatch(store, params, results.len()))
            }
        }
    }

    /// Calls it with arguments in slots, and puts the results there, from the first slot on. What
    /// number types a slot holds, the function's type decides; references are checked.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Misuse`] when there are fewer slots than parameters or than results, a slot
    /// names no function or host value of the store or one of another type, or the function belongs to
    /// another store; else as [`call`](Func::call). Slots are as before.
    ///
    /// # Panics
    ///
    /// As [`call`](Func::call).
    pub fn call_raw(&self, mut store: impl AsContextMut, slots: &mut [ValRaw]) -> Result<()> {
        let store = store.as_context_mut().0;
        check_store(self.store, store.id())?;
        let ty = store.rt.kernel.func_type(self.id).expect("a function of this store").clone();
        let ty = ty.func_type();
        let (params, results) = (ty.params().len(), ty.results().len());
        if slots.len() < params.max(results) {
            let (expected, found) = (params.max(results), slots.len());
            let text = format!("expected {expected} slots, found {found}");
            return Err(Error::tagged(ErrorKind::Misuse, text));
        }
        store.pass(CallHook::CallingWasm)?;
        let args = slots.iter().zip(ty.params()).map(|(slot, ty)| slot.to_value(*ty, &store.rt));
        let values: Option<SmallVec<[Value; 8]>> = args.collect();
        let result = match values {
            Some(values) => {
                let mut rets: SmallVec<[Value; 8]> = smallvec![Value::I32(0); results];
                let called = vm::call(store, self.id, &values, &mut rets);
                if called.is_ok() {
                    for (slot, value) in slots.iter_mut().zip(rets) {
                        *slot = ValRaw::from_value(value, &mut store.rt);
                    }
                }
                called
            }
            None => Err(CallError::Mismatch),
        };
        store.pass(CallHook::ReturningFromWasm)?;
        match result {
            Ok(()) => Ok(()),
            Err(CallError::Exit(exit)) => Err(exit_error(store, *exit)),
            Err(CallError::Mismatch) => Err(raw_mismatch()),
        }
    }

    /// As `call`, of a function without references among its parameters and results: nothing that is
    /// collected, so that values are handed over one by one.
    #[inline]
    fn call_numeric<T>(
        &self,
        store: &mut StoreInner<T>,
        func: &vm::NumericFunc,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        if (params.len(), results.len()) != func.numbers().counts() {
            return Err(self.mismatch(store, params, results.len()));
        }
        store.pass(CallHook::CallingWasm)?;
        let called = vm::call_numeric(store, func, params, results);
        store.pass(CallHook::ReturningFromWasm)?;
        match called {
            Ok(()) => Ok(()),
            Err(error) => Err(self.numeric_error(store, params, results.len(), error)),
        }
    }

    #[cold]
    fn numeric_error<T>(
        &self,
        store: &StoreInner<T>,
        params: &[Val],
        results: usize,
        error: CallError,
    ) -> Error {
        match error {
            CallError::Exit(exit) => exit_error(store, *exit),
            CallError::Mismatch => {
                // A reference of another store is what is wrong, if there is one.
                let foreign = params.iter().find_map(|param| param.to_value(&store.rt).err());
                foreign.unwrap_or_else(|| self.mismatch(store, params, results))
            }
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
            match param.matches_ty(StoreContext(store), &ty) {
                Ok(true) => {}
                Ok(false) => {
                    let found = match param.ty(StoreContext(store)) {
                        Ok(found) => found,
                        Err(error) => return error,
                    };
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
                list(Params::list()),
                list(Results::list()),
                self.ty(store),
            );
            Error::tagged(ErrorKind::Misuse, text)
        })
    }
}

/// Why [`Func::new`] and its kin panic.
const NO_MEMORY: &str = "no memory for a function";

/// Arguments as the kernel has them; `None` when one is of another type than it must be.
fn arguments<T>(
    store: &StoreInner<T>,
    params: &[Val],
    types: &[m::ValType],
) -> Result<Option<SmallVec<[Value; 8]>>> {
    params.iter().zip(types).map(|(param, ty)| param.to_value_of(&store.rt, *ty)).collect()
}

/// A call by value of what takes nothing and returns nothing, with the hook told of it.
pub(crate) fn call_start<T>(
    store: &mut StoreInner<T>,
    func: FuncId,
) -> Result<Result<(), CallError>> {
    store.pass(CallHook::CallingWasm)?;
    let result = vm::call(store, func, &[], &mut []);
    store.pass(CallHook::ReturningFromWasm)?;
    Ok(result)
}

/// A call of a host function, with the hook told of it, in a scope of roots. `args` makes roots of the
/// arguments, `run` calls the function, and `rets` takes references out of roots: nothing that may collect
/// comes before the first of these or after the last.
#[inline]
pub(crate) fn host_call<T: 'static, A, R, K>(
    call: vm::Call<'_, StoreInner<T>>,
    args: impl FnOnce(&mut rt::Store) -> A,
    run: impl FnOnce(Caller<'_, T>, A) -> Result<R>,
    rets: impl FnOnce(R, &rt::Store) -> Result<K>,
) -> Result<K, vm::HostError> {
    let vm::Call { host, importer } = call;
    if host.is_hooked() {
        return hooked_host_call(host, importer, args, run, rets);
    }
    let scope = host.rt.roots.enter();
    let args = args(&mut host.rt);
    let result = run(Caller::new(vm::Call { host: &mut *host, importer }), args);
    let result = result.and_then(|result| rets(result, &host.rt));
    host.rt.roots.leave(scope);
    result.map_err(host_error)
}

/// As `host_call`, where there is a hook. Apart, so that other calls save no registers for it.
#[cold]
#[inline(never)]
fn hooked_host_call<T: 'static, A, R, K>(
    host: &mut StoreInner<T>,
    importer: vm::Importer,
    args: impl FnOnce(&mut rt::Store) -> A,
    run: impl FnOnce(Caller<'_, T>, A) -> Result<R>,
    rets: impl FnOnce(R, &rt::Store) -> Result<K>,
) -> Result<K, vm::HostError> {
    let scope = host.rt.roots.enter();
    let result = (|| {
        let args = args(&mut host.rt);
        host.pass(CallHook::CallingHost)?;
        let result = run(Caller::new(vm::Call { host: &mut *host, importer }), args);
        host.pass(CallHook::ReturningFromHost)?;
        rets(result?, &host.rt)
    })();
    host.rt.roots.leave(scope);
    result.map_err(host_error)
}

/// A kernel function from a closure on slots.
pub(crate) fn raw_host_func<T: 'static>(
    ty: FuncType,
    func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
) -> vm::HostFunc {
    let registered = ty.registered().clone();
    vm::HostFunc::dynamic::<StoreInner<T>, _>(registered, move |call, params, results| {
        let slots = params.len().max(results.len());
        host_call(
            call,
            |store| {
                let count = slots;
                let slots = params.iter().map(|value| ValRaw::from_value(*value, store));
                let mut slots: SmallVec<[ValRaw; 8]> = slots.collect();
                slots.resize(count, ValRaw::null());
                slots
            },
            |caller, mut slots| func(caller, &mut slots).map(|()| slots),
            |slots, store| {
                let types = ty.as_module().results();
                for ((place, slot), ty) in results.iter_mut().zip(&slots).zip(types) {
                    *place = slot.to_value(*ty, store).ok_or_else(raw_mismatch)?;
                }
                Ok(())
            },
        )
    })
}

/// A kernel function from a dynamically typed closure.
pub(crate) fn dynamic_host_func<T: 'static>(
    ty: FuncType,
    func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
) -> vm::HostFunc {
    let registered = ty.registered().clone();
    if registered.call_layout().numbers.is_some() {
        return numeric_host_func(ty, func);
    }
    vm::HostFunc::dynamic::<StoreInner<T>, _>(registered, move |call, params, results| {
        let types = ty.as_module();
        let defaults: SmallVec<[Value; 4]> = results.iter().copied().collect();
        host_call(
            call,
            |store| {
                let mut vals: SmallVec<[Val; 8]> = SmallVec::new();
                for (value, ty) in params.iter().zip(types.params()) {
                    vals.push(Val::from_value(*value, *ty, store));
                }
                for (value, ty) in defaults.iter().zip(types.results()) {
                    vals.push(Val::from_value(*value, *ty, store));
                }
                vals
            },
            |caller, mut vals| {
                let (args, rets) = vals.split_at_mut(params.len());
                func(caller, args, rets).map(|()| vals)
            },
            |vals, store| {
                let rets = vals[params.len()..].iter().zip(types.results());
                for (position, (place, (val, ty))) in results.iter_mut().zip(rets).enumerate() {
                    let value = val.to_value_of(store, *ty)?;
                    *place = value.ok_or_else(|| bad_result(position, val, *ty, store))?;
                }
                Ok(())
            },
        )
    })
}

/// A kernel function from a dynamically typed closure of a type of few values without references.
fn numeric_host_func<T: 'static>(
    ty: FuncType,
    func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
) -> vm::HostFunc {
    let registered = ty.registered().clone();
    vm::HostFunc::numeric::<StoreInner<T>, _>(registered, move |call, passed| {
        let (params, results) = passed.numbers().counts();
        // They stay where they are filled, and few are cleared: that costs as much as all the rest.
        let (mut few, mut most);
        let vals: &mut [Val] = if params + results <= 4 {
            few = [Val::I32(0); 4];
            &mut few
        } else {
            most = [Val::I32(0); m::abi::Numbers::MOST];
            &mut most
        };
        let (args, rets) = vals.split_at_mut(params);
        let rets = &mut rets[..results];
        passed.params(args);
        for (place, kind) in rets.iter_mut().zip(passed.numbers().results()) {
            *place = Val::zero(kind);
        }
        host_call(
            call,
            |_| rets,
            |caller, rets| func(caller, args, rets).map(|()| rets),
            |rets, store| {
                let written = passed.results(rets);
                written.map_err(|position| {
                    bad_result(position, &rets[position], ty.as_module().results()[position], store)
                })
            },
        )
    })
}

#[cold]
fn raw_mismatch() -> Error {
    let text = "a raw reference names nothing of this store, or something of another type";
    Error::tagged(ErrorKind::Misuse, text)
}

#[cold]
fn bad_result(position: usize, val: &Val, ty: m::ValType, store: &rt::Store) -> Error {
    let expected = ValType::from_module(ty);
    let found = match val.to_value(store) {
        Ok(value) => vm::kind_of(&value),
        Err(error) => return error,
    };
    let text = format!("result {position} of a host function: expected {expected}, found {found}");
    Error::tagged(ErrorKind::Misuse, text)
}

/// An error on its way through guest frames.
#[cold]
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
        Failure::Exception => Error::new(ThrownException::new()).with_tag(ErrorKind::Trap),
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
    let config = store.engine.config();
    // An error that passed through other guests has had both since the first of them.
    let wants_dump = config.coredump_on_trap && error.is::<Trap>() && !error.is::<WasmCoreDump>();
    let wants_backtrace = config.backtrace_max_frames.is_some()
        && !exit.frames.is_empty()
        && !error.is::<WasmBacktrace>();
    if !wants_dump && !wants_backtrace {
        return error;
    }
    let kind = error.kind();
    let backtrace = WasmBacktrace::of_frames(store, exit.frames);
    let dump = wants_dump.then(|| WasmCoreDump::new(store, backtrace.share()));
    let error = if wants_backtrace { error.context(backtrace).with_tag(kind) } else { error };
    match dump {
        Some(dump) => error.context(dump).with_tag(kind),
        None => error,
    }
}

/// The error of a trap that arose outside of guest frames.
pub(crate) fn failure_error<T>(store: &StoreInner<T>, failure: Failure) -> Error {
    exit_error(store, failure.into())
}

/// The caller of a host function: access to the store and to the calling instance's exports.
///
/// ```
/// use wardian::{Caller, Extern, Linker, Module, Store};
///
/// let mut store = Store::<String>::default();
/// let mut linker = Linker::new(store.engine());
/// linker.func_wrap("host", "say", |mut caller: Caller<'_, String>, start: u32, end: u32| {
///     let memory = caller.get_export("memory").and_then(Extern::into_memory).expect("a memory");
///     let (bytes, said) = memory.data_and_store_mut(&mut caller);
///     said.push_str(std::str::from_utf8(&bytes[start as usize..end as usize])?);
///     wardian::Result::Ok(())
/// })?;
/// let module = Module::new(store.engine(), r#"(module
///     (import "host" "say" (func $say (param i32 i32)))
///     (memory (export "memory") 1) (data (i32.const 8) "hello")
///     (func (export "run") (call $say (i32.const 8) (i32.const 13))))"#)?;
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// assert_eq!(store.data(), "hello");
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct Caller<'a, T: 'static> {
    pub(crate) store: StoreContextMut<'a, T>,
    importer: vm::Importer,
}

impl<T> std::fmt::Debug for StoreContextMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreContextMut").finish_non_exhaustive()
    }
}

impl<'a, T> Caller<'a, T> {
    pub(crate) fn new(call: vm::Call<'a, StoreInner<T>>) -> Caller<'a, T> {
        Caller { store: StoreContextMut(call.host), importer: call.importer }
    }

    /// An export of the instance that imported the function, by name. `None` when there is none of that
    /// name, or when the function was not called through an import.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        let store = &mut *self.store.0;
        Extern::of_instance(store, self.importer.instance()?, name)
    }

    /// An export of that instance, found before by [`Module::get_export_index`]. `None` when it is one
    /// of another module, or when the function was not called through an import.
    ///
    /// [`Module::get_export_index`]: crate::Module::get_export_index
    pub fn get_module_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        of_module_export(self.store.0, self.importer.instance()?, export)
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

impl<T> Caller<'_, T> {
    /// As [`Store::gc`](crate::Store::gc).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn gc(&mut self, why: Option<&crate::GcHeapOutOfMemory<()>>) -> Result<()> {
        self.store.gc(why)
    }

    /// As [`Store::gc_heap_capacity`](crate::Store::gc_heap_capacity).
    pub fn gc_heap_capacity(&self) -> usize {
        self.store.gc_heap_capacity()
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

impl<'a, T> From<Caller<'a, T>> for StoreContext<'a, T> {
    fn from(caller: Caller<'a, T>) -> Self {
        caller.store.into()
    }
}

impl<'a, T> From<Caller<'a, T>> for StoreContextMut<'a, T> {
    fn from(caller: Caller<'a, T>) -> Self {
        caller.store
    }
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Caller<'_, ()>>();
};

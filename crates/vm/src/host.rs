//! Host functions: Rust closures that guest code calls.
//!
//! A [`HostFunc`] is independent of stores; a store makes a [`HostRecord`] of it, which is the context
//! that guest code passes. Functions whose arguments travel in registers are entered with them in
//! place; others through a register image.
//!
//! See invariant [host signature].

use crate::block::Block;
use crate::call::{Args, Image, InOrder, Rets};
use crate::context::{Context, Failure, Host, current};
use crate::shims;
use crate::store::{InstanceId, Mismatch, Value};
use crate::unwind::fail;
use crate::values::{Number, Results, Values, WasmValue, all_tuples};
use smallvec::SmallVec;
use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock};
use wardian_module::abi::{CallLayout, Numbers};
use wardian_module::layout::{Owner, Repr};
use wardian_module::{FuncType, RegisteredType};

/// What a host function's context register points at.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HostRecord {
    pub(crate) owner: Owner,
    /// Rust function that the shim calls.
    pub(crate) entry: *const u8,
    /// Stack arguments that the shim pops.
    pub(crate) stack_bytes: u32,
    /// 1 if the image has vector registers, else 0.
    pub(crate) uses_vectors: u32,
    /// The closure.
    env: *const u8,
    importer: Importer,
}

/// A Rust closure as a WebAssembly function, for stores whose host type is the one it was made for.
pub struct HostFunc {
    signature: Lazily,
    host_type: TypeId,
    env: *const u8,
    /// Keeps what `env` points at.
    _closure: Arc<dyn Any + Send + Sync>,
}

/// How a host function is called.
struct Signature {
    ty: RegisteredType,
    /// Whether arguments stay in the registers that they come in; else they travel by image.
    is_direct: bool,
    entry: *const u8,
}

/// A signature that is made when it is first asked for: of the functions that a host offers, a module
/// imports few.
enum Lazily {
    Made(Signature),
    Late(LazyLock<Signature>),
}

impl std::ops::Deref for Lazily {
    type Target = Signature;

    fn deref(&self) -> &Signature {
        match self {
            Lazily::Made(signature) => signature,
            Lazily::Late(signature) => signature,
        }
    }
}

// SAFETY: [host signature] code addresses are constants; `env` points into `_closure`, which is `Send`
// and `Sync`.
unsafe impl Send for HostFunc {}
// SAFETY: [host signature] as above.
unsafe impl Sync for HostFunc {}

impl std::fmt::Debug for HostFunc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostFunc").field("ty", self.ty()).finish_non_exhaustive()
    }
}

/// The instance that imported a host function, if it was imported. As it lies in the record: few functions ask.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Importer(u32);

impl Importer {
    fn new(instance: Option<InstanceId>) -> Importer {
        Importer(instance.map_or(0, |id| id.0 + 1))
    }

    /// The instance.
    #[inline]
    pub fn instance(self) -> Option<InstanceId> {
        self.0.checked_sub(1).map(InstanceId)
    }
}

/// The error that a host function returns.
pub type HostError = Box<dyn Any + Send>;

/// What a host function sees of its call.
#[derive(Debug)]
pub struct Call<'a, S> {
    /// The host.
    pub host: &'a mut S,
    /// Who imported the function.
    pub importer: Importer,
}

impl HostFunc {
    /// A function of statically known type.
    pub fn wrap<S, F, P, R>(func: F) -> HostFunc
    where
        S: Host,
        P: HostParams<S, F, R>,
        R: Results,
        F: Fn(Call<'_, S>, P) -> Result<R, HostError> + Send + Sync + 'static,
    {
        let signature = LazyLock::new(Signature::wrapped::<S, F, P, R> as fn() -> Signature);
        HostFunc::with::<S, F>(Lazily::Late(signature), Arc::new(func))
    }

    /// A function of dynamically given type. `func` gets the arguments and places for the results,
    /// which hold default values (null for references) at first.
    pub fn dynamic<S, F>(ty: RegisteredType, func: F) -> HostFunc
    where
        S: Host,
        F: Fn(Call<'_, S>, &[Value], &mut [Value]) -> Result<(), HostError> + Send + Sync + 'static,
    {
        let area_bytes = ty.call_layout().area_bytes;
        let env = Arc::new(Dynamic { ty: ty.clone(), area_bytes, func });
        let entry = dynamic_entry::<S, F> as *const u8;
        let signature = Signature { ty, is_direct: false, entry };
        HostFunc::with::<S, _>(Lazily::Made(signature), env)
    }

    /// As [`dynamic`](HostFunc::dynamic), for a type of few values and no references, and without lists of values:
    /// `func` reads the arguments and writes all results; a call for which it does not fails. Panics if the type is
    /// another one ([`CallLayout::numbers`]).
    pub fn numeric<S, F>(ty: RegisteredType, func: F) -> HostFunc
    where
        S: Host,
        F: Fn(Call<'_, S>, &mut Passed<'_>) -> Result<(), HostError> + Send + Sync + 'static,
    {
        let layout = ty.call_layout();
        let numbers = layout.numbers.expect("a type of few values without references");
        let env = Arc::new(Numeric { numbers, area_bytes: layout.area_bytes, func });
        let entry = numeric_entry::<S, F> as *const u8;
        let signature = Signature { ty, is_direct: false, entry };
        HostFunc::with::<S, _>(Lazily::Made(signature), env)
    }

    fn with<S: Host, C: Send + Sync + 'static>(signature: Lazily, closure: Arc<C>) -> HostFunc {
        let (host_type, env) = (TypeId::of::<S>(), Arc::as_ptr(&closure).cast());
        HostFunc { signature, host_type, env, _closure: closure }
    }

    /// Its type.
    pub fn ty(&self) -> &RegisteredType {
        &self.signature.ty
    }

    /// Type of the hosts it can be called with.
    pub fn host_type(&self) -> TypeId {
        self.host_type
    }

    /// Where guest code goes that calls it: `pays` if such code pays or counts in the store.
    pub(crate) fn shim(&self, pays: bool) -> *const u8 {
        match self.signature.is_direct {
            true => shims::typed_exit_address(pays),
            false => shims::image_exit_address(),
        }
    }

    /// Fills in what follows the record's `Owner`.
    pub(crate) fn write_record(&self, block: &mut Block, at: usize, instance: Option<InstanceId>) {
        let layout = self.ty().call_layout();
        block.write(at + offset_of!(HostRecord, entry), self.signature.entry);
        block.write(at + offset_of!(HostRecord, stack_bytes), layout.stack_bytes);
        let uses_vectors = u32::from(layout.uses_vectors);
        block.write(at + offset_of!(HostRecord, uses_vectors), uses_vectors);
        block.write(at + offset_of!(HostRecord, env), self.env);
        block.write(at + offset_of!(HostRecord, importer), Importer::new(instance).0);
    }
}

impl Signature {
    fn wrapped<S, F, P, R>() -> Signature
    where
        S: Host,
        P: HostParams<S, F, R>,
        R: Results,
        F: Fn(Call<'_, S>, P) -> Result<R, HostError> + Send + Sync + 'static,
    {
        let ty = FuncType::new(P::types(), R::types());
        let direct = P::DIRECT && R::DIRECT && CallLayout::new(&ty).fits_registers();
        let (is_direct, entry) = match P::entry().filter(|_| direct) {
            Some(entry) => (true, entry),
            None => (false, wrapped_entry::<S, F, P, R> as *const u8),
        };
        // Only types without defined references come from Rust types, so interning cannot fail.
        let ty = RegisteredType::intern(&ty).expect("types of Rust types refer to no other");
        Signature { ty, is_direct, entry }
    }
}

struct Dynamic<F> {
    ty: RegisteredType,
    area_bytes: u32,
    func: F,
}

struct Numeric<F> {
    numbers: Numbers,
    area_bytes: u32,
    func: F,
}

/// Arguments and results, all numbers and vectors, of a call of a function of dynamically given type.
#[derive(Debug)]
pub struct Passed<'a> {
    numbers: Numbers,
    image: &'a mut Image,
    area: *mut u128,
    has_results: bool,
}

impl Passed<'_> {
    /// What they are.
    #[inline]
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Reads the arguments, as many as there are places. Panics if results have been written: they take the
    /// same place.
    #[inline]
    pub fn params<V: Number>(&mut self, places: &mut [V]) {
        assert!(!self.has_results, "arguments are read before results are written");
        let mut args = Args::new(self.image, !self.area.is_null());
        for (place, kind) in places.iter_mut().zip(self.numbers.params()) {
            args.read_number(kind, place);
        }
    }

    /// Writes the results. Fails with the position of the first that does not have its type.
    #[inline]
    pub fn results<V: Number>(&mut self, values: &[V]) -> Result<(), usize> {
        let (_, count) = self.numbers.counts();
        if values.len() != count {
            return Err(values.len().min(count));
        }
        let mut rets = Rets::new(self.image, self.area);
        for (position, (value, kind)) in values.iter().zip(self.numbers.results()).enumerate() {
            rets.write_number(value, kind).map_err(|Mismatch| position)?;
        }
        self.has_results = true;
        Ok(())
    }
}

/// A record whose closure is an `F` for hosts of type `S`: what shims pass, and nothing else makes.
#[repr(transparent)]
pub struct RecordRef<S, F>(NonNull<HostRecord>, PhantomData<(fn(S), F)>);

/// Calls host code that guest code called: no panic leaves, and after a failure the call is diverted.
/// `APART`: calls that the host is told of go another way, so that others save no registers for it; a body
/// that saves them anyhow stands once.
#[inline]
fn run<const APART: bool, S: Host, F, R>(
    record: &RecordRef<S, F>,
    body: impl FnOnce(&F, Call<'_, S>) -> Result<R, Failure>,
) -> Option<R> {
    // SAFETY: [host signature] [store lifetime] the shim passes the record that guest code was linked
    // with; its closure is an `F`, kept by the store; its owner's context is the running store's, so
    // its first field leads to the whole of it.
    let (record, context, func) = unsafe {
        let record = record.0.as_ref();
        (record, &*record.owner.store.cast::<Context>(), &*record.env.cast::<F>())
    };
    let host = context.host.get().expect("a host is set while guest code runs").cast::<S>();
    // SAFETY: [host pointer] guest code was running, so nothing else uses the host; the record was
    // made for stores whose hosts are `S`.
    let host = unsafe { &mut *host.as_ptr() };
    if APART && host.is_told() {
        told(host, record, func, body)
    } else {
        caught(host, record, func, body)
    }
}

/// As `caught`, apart.
#[cold]
#[inline(never)]
fn told<S: Host, F, R>(
    host: &mut S,
    record: &HostRecord,
    func: &F,
    body: impl FnOnce(&F, Call<'_, S>) -> Result<R, Failure>,
) -> Option<R> {
    caught(host, record, func, body)
}

#[inline]
fn caught<S: Host, F, R>(
    host: &mut S,
    record: &HostRecord,
    func: &F,
    body: impl FnOnce(&F, Call<'_, S>) -> Result<R, Failure>,
) -> Option<R> {
    let call = Call { host, importer: record.importer };
    let failure = match catch_unwind(AssertUnwindSafe(|| body(func, call))) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::Panic(payload),
    };
    failed::<S>(failure);
    None
}

/// Leaves the failure of a host function in the context, and lets the function return to the landing. Apart, and by
/// the thread's context, so that calls that succeed save no registers for it.
#[cold]
#[inline(never)]
fn failed<S: Host>(failure: Failure) {
    // SAFETY: [context pointer] the function was called by the code of this thread's innermost activation.
    let context = unsafe { &*current() };
    keep::<S>(context, failure);
    // SAFETY: [shim frame] that code's call of the function, whose last act this is, is the latest exit.
    unsafe { shims::divert(context) };
}

fn keep<S: Host>(context: &Context, failure: Failure) {
    let host = context.host.get().expect("a host is set while guest code runs").cast::<S>();
    if let Failure::Host(error) = &failure
        // SAFETY: [host pointer] as in `run`; the earlier use has ended.
        && unsafe { &mut *host.as_ptr() }.thrown(&**error)
    {
        context.pending.set(Context::THROWN);
        return;
    }
    fail(context, failure, None);
}

fn lowered<T>(result: Result<T, Mismatch>) -> Result<T, Failure> {
    result.map_err(|mismatch| Failure::Host(Box::new(mismatch)))
}

/// Entry of a wrapped function that is called by image.
extern "C" fn wrapped_entry<S, F, P, R>(record: RecordRef<S, F>, image: &mut Image)
where
    S: Host,
    P: Values,
    R: Values,
    F: Fn(Call<'_, S>, P) -> Result<R, HostError>,
{
    run::<false, _, _, _>(&record, |func, Call { host, importer }| {
        let area = area(image, R::area_bytes());
        let params = P::read_args(&mut Args::new(image, !area.is_null()), host.kernel());
        let results = func(Call { host: &mut *host, importer }, params).map_err(Failure::Host)?;
        lowered(results.write_results(&mut Rets::new(image, area), host.kernel()))
    });
}

/// Entry of a dynamically typed function.
extern "C" fn dynamic_entry<S, F>(record: RecordRef<S, Dynamic<F>>, image: &mut Image)
where
    S: Host,
    F: Fn(Call<'_, S>, &[Value], &mut [Value]) -> Result<(), HostError>,
{
    run::<false, _, _, _>(&record, |dynamic, Call { host, importer }| {
        let ty = dynamic.ty.func_type();
        let area = area(image, dynamic.area_bytes);
        let mut args = Args::new(image, !area.is_null());
        let mut values: SmallVec<[Value; 8]> = SmallVec::new();
        for ty in ty.params() {
            values.push(host.kernel().value_of(args.read_bits(Repr::of(*ty)), *ty));
        }
        values.extend(ty.results().iter().map(|ty| host.kernel().value_of(0, *ty)));
        let (params, results) = values.split_at_mut(ty.params().len());
        (dynamic.func)(Call { host: &mut *host, importer }, params, results)
            .map_err(Failure::Host)?;
        let mut rets = Rets::new(image, area);
        for (value, ty) in results.iter().zip(ty.results()) {
            rets.write_bits(lowered(host.kernel().value_bits(*value, *ty))?, Repr::of(*ty));
        }
        Ok(())
    });
}

/// Entry of a dynamically typed function of numbers.
extern "C" fn numeric_entry<S, F>(record: RecordRef<S, Numeric<F>>, image: &mut Image)
where
    S: Host,
    F: Fn(Call<'_, S>, &mut Passed<'_>) -> Result<(), HostError>,
{
    run::<false, _, _, _>(&record, |&Numeric { numbers, area_bytes, ref func }, call| {
        let area = area(image, area_bytes);
        let mut passed = Passed { numbers, image, area, has_results: false };
        func(call, &mut passed).map_err(Failure::Host)?;
        lowered(if passed.has_results { Ok(()) } else { Err(Mismatch) })
    });
}

/// The result area that guest code passed, if its type has one.
fn area(image: &Image, bytes: u32) -> *mut u128 {
    if bytes == 0 {
        return std::ptr::null_mut();
    }
    std::ptr::with_exposed_provenance_mut(image.ints[1] as usize)
}

/// Parameters of a host function `F` for hosts of type `S`, with results `R`.
pub trait HostParams<S, F, R>: Values {
    /// A function that takes the parameters in registers, if there is one for so many.
    fn entry() -> Option<*const u8>;
}

macro_rules! typed_entries {
    // Five integer and eight vector registers are left beside the context; more than eight parameters
    // are rare and travel by image.
    (A1 A2 A3 A4 A5 A6 A7 A8 $($name:ident)+) => {
        typed_entries!(@ None; A1 A2 A3 A4 A5 A6 A7 A8 $($name)+);
    };
    ($($name:ident)*) => {
        typed_entries!(@ Some({
            extern "C" fn entry<S, F, R, $($name),*>(
                record: RecordRef<S, F>,
                $(#[allow(non_snake_case, reason = "named as its type")] $name: $name::Abi),*
            ) -> R::Direct
            where
                S: Host,
                R: Results,
                F: Fn(Call<'_, S>, ($($name,)*)) -> Result<R, HostError>,
                $($name: WasmValue),*
            {
                let result = run::<true, _, _, _>(&record, |func, Call { host, importer }| {
                    #[allow(unused_variables, reason = "no parameters")]
                    let store = host.kernel();
                    let params = ($($name::lift($name, store),)*);
                    let results =
                        func(Call { host: &mut *host, importer }, params).map_err(Failure::Host)?;
                    lowered(results.direct(host.kernel()))
                });
                result.unwrap_or_else(R::nothing)
            }
            entry::<S, F, R, $($name),*> as *const u8
        }); $($name)*);
    };
    (@ $entry:expr; $($name:ident)*) => {
        impl<S, F, R, $($name),*> HostParams<S, F, R> for ($($name,)*)
        where
            S: Host,
            R: Results,
            F: Fn(Call<'_, S>, ($($name,)*)) -> Result<R, HostError>,
            $($name: WasmValue),*
        {
            fn entry() -> Option<*const u8> {
                $entry
            }
        }
    };
}
all_tuples!(typed_entries);

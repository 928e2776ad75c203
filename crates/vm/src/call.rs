//! Into guest code and back: register images, calls by type and by value, builtins.
//!
//! An [`Image`] holds what registers hold at a call. Arguments that do not fit lie on the stack, results
//! that do not fit in an area that the caller provides; where each travels, `module::abi` says.

use crate::context::{BuiltinCall, Context, Exit, Failure, Frame, Host, TrapReport, set_current};
use crate::context::{on_this_stack, thread_stack_limit};
use crate::shims;
use crate::store::{FuncId, InstanceId, Mismatch, Store, StoreId, Value};
use crate::unwind::fail;
use crate::values::{Abi, Values};
use smallvec::SmallVec;
use std::any::TypeId;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use wardian_module::abi::{ArgCursor, ArgLoc, ResultCursor, ResultLoc};
use wardian_module::builtin::Word;
use wardian_module::layout::{FuncRef, Owner, Repr};
use wardian_module::{Builtin, DefinedFuncIndex, Operation, Trap};

/// Registers at a call, as shims load and store them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Image {
    pub(crate) ints: [u64; 6],
    pub(crate) vectors: [u128; 8],
    /// Stack arguments.
    pub(crate) stack: *const u64,
    /// Their number; of no meaning when guest code calls the host.
    pub(crate) stack_words: u64,
    /// Whether vector registers hold arguments; of no meaning when guest code calls the host.
    pub(crate) uses_vectors: u64,
}

/// Arguments of a call, written or read in order.
#[derive(Debug)]
pub struct Args<'a> {
    image: &'a mut Image,
    cursor: ArgCursor,
    /// Where stack arguments are collected when the host calls.
    stack: SmallVec<[u64; 8]>,
}

impl<'a> Args<'a> {
    pub(crate) fn new(image: &'a mut Image, has_area: bool) -> Args<'a> {
        Args { image, cursor: ArgCursor::new(has_area), stack: SmallVec::new() }
    }

    #[inline]
    pub(crate) fn write<A: Abi>(&mut self, value: A) {
        self.write_bits(value.to_bits(), A::REPR);
    }

    #[inline]
    fn write_bits(&mut self, bits: u128, repr: Repr) {
        match self.cursor.next(repr) {
            ArgLoc::Int(n) => self.image.ints[n as usize] = bits as u64,
            ArgLoc::Vector(n) => self.image.vectors[n as usize] = bits,
            ArgLoc::Stack(offset) => {
                let word = offset as usize / 8;
                self.stack.resize(self.cursor.stack_bytes() as usize / 8, 0);
                self.stack[word] = bits as u64;
                if repr == Repr::V128 {
                    self.stack[word + 1] = (bits >> 64) as u64;
                }
            }
        }
    }

    #[inline]
    pub(crate) fn read<A: Abi>(&mut self) -> A {
        A::from_bits(self.read_bits(A::REPR))
    }

    #[inline]
    pub(crate) fn read_bits(&mut self, repr: Repr) -> u128 {
        match self.cursor.next(repr) {
            ArgLoc::Int(n) => u128::from(self.image.ints[n as usize]),
            ArgLoc::Vector(n) => self.image.vectors[n as usize],
            ArgLoc::Stack(offset) => {
                let word = |n: u32| {
                    let place = self.image.stack.wrapping_add((offset / 8 + n) as usize);
                    // SAFETY: [host signature] [compiled code] guest code called with the arguments of
                    // the record's type, and this is where they lie on its stack.
                    u128::from(unsafe { place.read() })
                };
                if repr == Repr::V128 { word(0) | word(1) << 64 } else { word(0) }
            }
        }
    }
}

/// Results of a call, written or read in order.
#[derive(Debug)]
pub struct Rets<'a> {
    image: &'a mut Image,
    cursor: ResultCursor,
    area: *mut u128,
}

impl<'a> Rets<'a> {
    /// `area` is the result area of the call, or null if its type needs none.
    pub(crate) fn new(image: &'a mut Image, area: *mut u128) -> Rets<'a> {
        Rets { image, cursor: ResultCursor::default(), area }
    }

    #[inline]
    pub(crate) fn write<A: Abi>(&mut self, value: A) {
        self.write_bits(value.to_bits(), A::REPR);
    }

    #[inline]
    pub(crate) fn write_bits(&mut self, bits: u128, repr: Repr) {
        match self.cursor.next(repr) {
            ResultLoc::Int(n) => self.image.ints[n as usize] = bits as u64,
            ResultLoc::Vector(n) => self.image.vectors[n as usize] = bits,
            ResultLoc::Area(offset) => {
                let place = self.area.wrapping_byte_add(offset as usize);
                // SAFETY: [host signature] [compiled code] guest code provided an area for the results
                // of the record's type.
                unsafe { place.write_unaligned(bits) }
            }
        }
    }

    #[inline]
    pub(crate) fn read<A: Abi>(&mut self) -> A {
        A::from_bits(self.read_bits(A::REPR))
    }

    #[inline]
    fn read_bits(&mut self, repr: Repr) -> u128 {
        match self.cursor.next(repr) {
            ResultLoc::Int(n) => u128::from(self.image.ints[n as usize]),
            ResultLoc::Vector(n) => self.image.vectors[n as usize],
            ResultLoc::Area(offset) => {
                let place = self.area.wrapping_byte_add(offset as usize);
                // SAFETY: [compiled code] the caller of the guest made the area as large as the type's
                // layout says, zeroed; the guest wrote the results there.
                unsafe { place.read_unaligned() }
            }
        }
    }
}

/// Why a call did not return.
#[derive(Debug)]
pub enum CallError {
    /// A value is not of the type it must have, or the function is not of this store.
    Mismatch,
    /// Guest or host code failed.
    Exit(Exit),
}

impl From<Mismatch> for CallError {
    fn from(Mismatch: Mismatch) -> CallError {
        CallError::Mismatch
    }
}

impl From<Exit> for CallError {
    fn from(exit: Exit) -> CallError {
        CallError::Exit(exit)
    }
}

/// Stack that the entry itself may use above the guest's first frame, in bytes.
const ENTRY_STACK: usize = 1024;

/// Calls `func` of the host's store with arguments that `write` writes and results that `read` reads.
#[inline]
fn call_with<S: Host, R>(
    host: &mut S,
    func: FuncId,
    area_bytes: u32,
    write: impl FnOnce(&mut Args<'_>, &Store) -> Result<(), Mismatch>,
    read: impl FnOnce(&mut Rets<'_>, &Store) -> R,
) -> Result<R, CallError> {
    let mut image = Image {
        ints: [0; 6],
        vectors: [0; 8],
        stack: std::ptr::null(),
        stack_words: 0,
        uses_vectors: 0,
    };
    let mut area: SmallVec<[u128; 2]> = SmallVec::new();
    area.resize(area_bytes as usize / 16, 0);
    let area = if area_bytes > 0 { area.as_mut_ptr() } else { std::ptr::null_mut() };
    image.ints[1] = area.expose_provenance() as u64;
    let store = host.kernel();
    assert!(
        store.host_type() == TypeId::of::<S>(),
        "a store runs with the host type it was made for"
    );
    let (code, owner) = store.func_target(func)?;
    let mut args = Args::new(&mut image, area_bytes > 0);
    write(&mut args, store)?;
    let (uses_vectors, stack) = (args.cursor.uses_vectors(), args.stack);
    image.uses_vectors = u64::from(uses_vectors);
    image.stack = stack.as_ptr();
    image.stack_words = stack.len() as u64;
    enter(host, code, owner, &mut image)?;
    Ok(read(&mut Rets::new(&mut image, area), host.kernel()))
}

/// Enters guest code. `code` and `owner` are those of a function of the host's store whose arguments
/// `image` holds.
fn enter<S: Host>(
    host: &mut S,
    code: *const u8,
    owner: *mut Owner,
    image: &mut Image,
) -> Result<(), Exit> {
    let store = host.kernel();
    let context_ptr = store.context_ptr();
    let max_wasm_stack = store.max_wasm_stack();
    // SAFETY: [context pointer] the store outlives this call: the host is borrowed, and were safe code
    // to swap and drop it meanwhile, the context stays since an activation is live.
    let context: &Context = unsafe { &*context_ptr };
    let marker = 0u8;
    let sp = &raw const marker as usize;
    let previous_limit = context.shared.stack_limit.get();
    // A host function may have passed its caller to a scoped thread, which has a stack of its own.
    let limit = match context.entry_sp.get() {
        entry_sp if entry_sp != 0 && on_this_stack(entry_sp) => previous_limit,
        _ => sp.saturating_sub(max_wasm_stack).max(thread_stack_limit()),
    };
    if sp < limit.saturating_add(ENTRY_STACK) {
        return Err(Trap::StackOverflow.into());
    }
    context.shared.stack_limit.set(limit);
    let pointer: NonNull<dyn Host> = NonNull::from(&mut *host);
    let previous_host = context.host.replace(Some(pointer));
    let previous = set_current(context_ptr);
    // SAFETY: [compiled code] [host signature] `code` is the function's entry and `owner` its context;
    // the image was written by the function's type; host, limit and current context are set.
    unsafe { shims::enter(image, owner, code) };
    set_current(previous);
    context.host.set(previous_host);
    context.shared.stack_limit.set(previous_limit);
    if context.pending.replace(0) == 0 {
        return Ok(());
    }
    Err(host.kernel().take_pending().unwrap_or_else(|| Failure::Host(Box::new(Mismatch)).into()))
}

/// Calls a function with values. `results` must have the length of the function's results.
pub fn call<S: Host>(
    host: &mut S,
    func: FuncId,
    params: &[Value],
    results: &mut [Value],
) -> Result<(), CallError> {
    let ty = host.kernel().func_type(func).ok_or(Mismatch)?.clone();
    let (types, layout) = (ty.func_type(), ty.call_layout());
    if params.len() != types.params().len() || results.len() != types.results().len() {
        return Err(CallError::Mismatch);
    }
    call_with(
        host,
        func,
        layout.area_bytes,
        |args, store| {
            for (value, ty) in params.iter().zip(types.params()) {
                args.write_bits(store.value_bits(*value, *ty)?, Repr::of(*ty));
            }
            Ok(())
        },
        |rets, store| {
            for (place, ty) in results.iter_mut().zip(types.results()) {
                *place = store.value_of(rets.read_bits(Repr::of(*ty)), *ty);
            }
        },
    )
}

/// A function of a store whose type was checked to be that of `P` and `R`.
#[derive(Debug)]
pub struct TypedFunc<P, R> {
    store: StoreId,
    func: FuncId,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedFunc<P, R> {}

impl<P, R> TypedFunc<P, R> {
    /// The function.
    pub fn func(&self) -> FuncId {
        self.func
    }
}

impl Store {
    /// Checks that a function has the type of `P` and `R`.
    pub fn typed<P: Values, R: Values>(&self, func: FuncId) -> Result<TypedFunc<P, R>, Mismatch> {
        let ty = self.func_type(func).ok_or(Mismatch)?.func_type();
        let (params, results) = (P::types(), R::types());
        let fits = params.len() == ty.params().len()
            && results.len() == ty.results().len()
            && params.iter().zip(ty.params()).all(|(own, param)| own.matches(*param))
            && ty.results().iter().zip(&results).all(|(result, own)| result.matches(*own));
        let types = PhantomData;
        if fits { Ok(TypedFunc { store: self.id(), func, types }) } else { Err(Mismatch) }
    }
}

/// Calls a function by its checked type.
#[inline]
pub fn call_typed<S: Host, P: Values, R: Values>(
    host: &mut S,
    func: &TypedFunc<P, R>,
    params: P,
) -> Result<R, CallError> {
    if host.kernel().id() != func.store {
        return Err(CallError::Mismatch);
    }
    call_with(
        host,
        func.func,
        R::area_bytes(),
        |args, store| params.write_args(args, store),
        |rets, store| R::read_results(rets, store),
    )
}

/// Called by the builtin shim.
///
/// # Safety
///
/// - Only generated code calls it, by the shim, with its own context and the arguments that
///   `module::builtin` states.
pub(crate) unsafe extern "C" fn builtin_entry(
    owner: *const Owner,
    operation: u64,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
) -> u64 {
    // SAFETY: [compiled code] [context pointer] the caller's context begins with an `Owner`, whose store
    // is running.
    let (owner, context) = unsafe { (&*owner, &*(*owner).store.cast::<Context>()) };
    let host = context.host.get().expect("a host is set while guest code runs");
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: [host pointer] guest code was running, so nothing else uses the host.
        let host = unsafe { &mut *host.as_ptr() };
        let operation = Operation::unpack(operation).expect("tiers pack operations");
        builtin(host, InstanceId(owner.id), operation, [a, b, c, d])
    }));
    let failure = match result {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::Panic(payload),
    };
    fail(context, failure, None);
    0
}

/// Called by the epoch shim.
///
/// # Safety
///
/// - Only generated code calls it, by the shim, with the context of the running store.
pub(crate) unsafe extern "C" fn epoch_entry(context: *const Context) {
    // SAFETY: [context pointer] the shim passes that of this thread's innermost activation, which is the
    // one whose code called.
    let context = unsafe { &*context };
    let host = context.host.get().expect("a host is set while guest code runs");
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: [host pointer] guest code was running, so nothing else uses the host.
        unsafe { &mut *host.as_ptr() }.epoch_reached()
    }));
    let failure = match result {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::Panic(payload),
    };
    fail(context, failure, None);
}

/// Copies bytes of linear memories; the ranges may overlap. Takes no shim: it comes back at once, does
/// not fail and looks at nothing else.
///
/// # Safety
///
/// - Only generated code calls it, with ranges that it has checked.
pub(crate) unsafe extern "C" fn copy_bytes(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: [compiled code] both ranges lie in memories of the running instance.
    unsafe { std::ptr::copy(source, target, length) }
}

/// Fills bytes of a linear memory, as [`copy_bytes`] copies them.
///
/// # Safety
///
/// - Only generated code calls it, with a range that it has checked.
pub(crate) unsafe extern "C" fn fill_bytes(target: *mut u8, byte: u32, length: usize) {
    // SAFETY: [compiled code] the range lies in a memory of the running instance.
    unsafe { std::ptr::write_bytes(target, byte as u8, length) }
}

/// `Builtin::TierUp`: the address of a replacement to go on in, or 0.
fn tier_up(store: &mut Store, instance: InstanceId, operation: Operation) -> u64 {
    let code = store.instance_code(instance).clone();
    let Some(tiered) = code.as_tiered() else { return 0 };
    let func = DefinedFuncIndex(operation.first);
    match tiered.hot(&code, func, operation.second.checked_sub(1)) {
        Some(found) if store.provide_live_state(found.live_slots) => {
            tiered.replaced(func, operation.second - 1);
            found.entry
        }
        _ => 0,
    }
}

/// Called by the lazy shim; the address to go on at.
///
/// # Safety
///
/// - Only the lazy shim calls it, with the context of the function that was called and the number that
///   the function's lazy entry holds.
pub(crate) unsafe extern "C" fn lazy_entry(owner: *const Owner, func: u32) -> u64 {
    // SAFETY: [compiled code] [context pointer] the caller's context begins with an `Owner`, whose store
    // is running.
    let (owner, context) = unsafe { (&*owner, &*(*owner).store.cast::<Context>()) };
    let host = context.host.get().expect("a host is set while guest code runs");
    let func = DefinedFuncIndex(func);
    // SAFETY: [host pointer] guest code was running, so nothing else uses the host.
    let code = unsafe { &mut *host.as_ptr() }.kernel().instance_code(InstanceId(owner.id)).clone();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let tiered = code.as_tiered().expect("only such code has lazy entries");
        tiered.compile(&code, func)
    }));
    let failure = match result {
        Ok(Ok(address)) => return address,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::Panic(payload),
    };
    fail(context, failure, None);
    // The function has no frame yet, but it is the one that failed.
    let module = code.module();
    let start = module.bodies[func.index()].start as u32;
    let frame =
        Frame { module: module.clone(), func: module.func_index(func), wasm_offset: Some(start) };
    // SAFETY: [host pointer] as above; the earlier use has ended.
    unsafe { &mut *host.as_ptr() }.kernel().add_innermost(frame);
    0
}

fn builtin(
    host: &mut dyn Host,
    instance: InstanceId,
    operation: Operation,
    mut args: [u64; 4],
) -> Result<u64, Failure> {
    let func_of = |bits: u64, host: &mut dyn Host| {
        let reference = std::ptr::with_exposed_provenance::<FuncRef>(bits as usize);
        host.kernel().func_of(reference)
    };
    if operation.builtin == Builtin::Raise {
        let trap = Trap::from_code(operation.first as u8).expect("tiers raise traps");
        if trap == Trap::BadSignature {
            let found = func_of(args[1], host).and_then(|id| host.kernel().func_type(id).cloned());
            args[1] = found.map_or(0, |ty| u64::from(ty.id().as_u32()));
        }
        return Err(Failure::Trap(TrapReport {
            trap,
            instance: Some(instance),
            place: operation.second,
            details: [args[0], args[1]],
            address: None,
        }));
    }
    if operation.builtin == Builtin::TierUp {
        return Ok(tier_up(host.kernel(), instance, operation));
    }
    if operation.builtin == Builtin::EpochReached {
        return host.epoch_reached().map(|()| 0);
    }
    let mut func = None;
    for (arg, word) in args.iter_mut().zip(operation.builtin.params()) {
        match word {
            Word::W64 => {}
            // The upper half is undefined.
            Word::W32 | Word::Ref => *arg = u64::from(*arg as u32),
            Word::FuncRef => func = func_of(std::mem::take(arg), host),
        }
    }
    host.builtin(BuiltinCall { instance, operation, args, func })
}

//! Into guest code and back: register images, calls by type and by value, builtins.
//!
//! An [`Image`] holds what registers hold at a call. Arguments that do not fit lie on the stack, results
//! that do not fit in an area that the caller provides; where each travels, `module::abi` says.

use crate::context::{BuiltinCall, Context, Exit, Failure, Frame, Host, TrapReport};
use crate::context::{begin, begin_inside, end, end_inside};
use crate::shims;
use crate::store::{FuncId, InstanceId, Mismatch, Place, Store, StoreId, Value};
use crate::unwind::fail;
use crate::values::{Abi, Number, Values, Vector};
use std::any::TypeId;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use wardian_module::abi::{ArgCursor, ArgLoc, INT_ARGS, ResultCursor, ResultLoc, VECTOR_ARGS};
use wardian_module::abi::{NumberKind, Numbers};
use wardian_module::builtin::Word;
use wardian_module::layout::{FuncRef, Owner, Repr};
use wardian_module::{Builtin, DefinedFuncIndex, Operation, Trap};

const LOWER_HALVES: u64 = 1;
const ALL_OF_VECTORS: u64 = 2;

/// Registers at a call, as shims load and store them. `VECTORS` is 0 where the type of the function says
/// that no vector register holds anything: clearing them costs as much as the rest of a call.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Image<const VECTORS: usize = { VECTOR_ARGS as usize }> {
    pub(crate) ints: [u64; INT_ARGS as usize],
    /// Stack arguments.
    pub(crate) stack: *const u64,
    /// Their number; of no meaning when guest code calls the host.
    pub(crate) stack_words: u64,
    /// How much of `vectors` matters: 0 nothing, which need not be there, 1 the lower halves, 2 all. Of no
    /// meaning when guest code calls the host.
    pub(crate) has_vectors: u64,
    pub(crate) vectors: [u128; VECTORS],
}

impl<const VECTORS: usize> Image<VECTORS> {
    const EXPECTED: () = assert!(VECTORS == 0 || VECTORS == VECTOR_ARGS as usize);

    fn new() -> Self {
        let () = Self::EXPECTED;
        Image {
            ints: [0; _],
            stack: std::ptr::null(),
            stack_words: 0,
            has_vectors: if VECTORS > 0 { ALL_OF_VECTORS } else { 0 },
            vectors: [0; _],
        }
    }
}

/// Arguments of a call, written or read in order.
#[derive(Debug)]
pub struct Args<'a> {
    ints: &'a mut [u64; INT_ARGS as usize],
    vectors: &'a mut [u128],
    /// Where stack arguments lie when guest code calls.
    passed: *const u64,
    cursor: ArgCursor,
    /// Where stack arguments are collected when the host calls, as many as there are.
    stack: &'a mut [u64],
}

impl<'a> Args<'a> {
    #[inline]
    pub(crate) fn new<const VECTORS: usize>(
        image: &'a mut Image<VECTORS>,
        has_area: bool,
    ) -> Args<'a> {
        Args {
            ints: &mut image.ints,
            vectors: &mut image.vectors,
            passed: image.stack,
            cursor: ArgCursor::new(has_area),
            stack: &mut [],
        }
    }
}

impl InOrder for Args<'_> {
    #[inline]
    fn write_bits(&mut self, bits: u128, repr: Repr) {
        match self.cursor.next(repr) {
            ArgLoc::Int(n) => self.ints[n as usize] = bits as u64,
            ArgLoc::Vector(n) => self.vectors[n as usize] = bits,
            ArgLoc::Stack(offset) => {
                let word = offset as usize / 8;
                self.stack[word] = bits as u64;
                if repr == Repr::V128 {
                    self.stack[word + 1] = (bits >> 64) as u64;
                }
            }
        }
    }

    #[inline]
    fn read_bits(&mut self, repr: Repr) -> u128 {
        match self.cursor.next(repr) {
            ArgLoc::Int(n) => u128::from(self.ints[n as usize]),
            ArgLoc::Vector(n) => self.vectors[n as usize],
            ArgLoc::Stack(offset) => {
                let word = |n: u32| {
                    let place = self.passed.wrapping_add((offset / 8 + n) as usize);
                    // SAFETY: [host signature] [compiled code] guest code called with the arguments of
                    // the record's type, and this is where they lie on its stack.
                    u128::from(unsafe { place.read() })
                };
                if repr == Repr::V128 { word(0) | word(1) << 64 } else { word(0) }
            }
        }
    }
}

/// Where values of known types lie, one after the other.
pub(crate) trait InOrder {
    /// Writes the next.
    fn write_bits(&mut self, bits: u128, repr: Repr);
    /// Reads the next.
    fn read_bits(&mut self, repr: Repr) -> u128;

    #[inline]
    fn write<A: Abi>(&mut self, value: A) {
        self.write_bits(value.to_bits(), A::REPR);
    }

    #[inline]
    fn read<A: Abi>(&mut self) -> A {
        A::from_bits(self.read_bits(A::REPR))
    }

    /// Writes what `value` holds as a number of this kind.
    #[inline]
    fn write_number<V: Number>(&mut self, value: &V, kind: NumberKind) -> Result<(), Mismatch> {
        if kind.is_int() {
            if kind.is_wide() {
                self.write::<u64>(value.held().ok_or(Mismatch)?);
            } else {
                self.write::<u32>(value.held().ok_or(Mismatch)?);
            }
        } else if kind.is_v128() {
            let Vector(bits) = value.held().ok_or(Mismatch)?;
            self.write_bits(bits, Repr::V128);
        } else if kind.is_wide() {
            self.write::<f64>(value.held().ok_or(Mismatch)?);
        } else {
            self.write::<f32>(value.held().ok_or(Mismatch)?);
        }
        Ok(())
    }

    /// Reads a number of this kind. (A value that is returned is copied to its place whole, for which the
    /// processor waits.)
    #[inline]
    fn read_number<V: Number>(&mut self, kind: NumberKind, place: &mut V) {
        if kind.is_int() {
            if kind.is_wide() {
                *place = V::hold(self.read::<u64>());
            } else {
                *place = V::hold(self.read::<u32>());
            }
        } else if kind.is_v128() {
            *place = V::hold(Vector(self.read_bits(Repr::V128)));
        } else if kind.is_wide() {
            *place = V::hold(self.read::<f64>());
        } else {
            *place = V::hold(self.read::<f32>());
        }
    }
}

/// Results of a call, written or read in order.
#[derive(Debug)]
pub struct Rets<'a> {
    ints: &'a mut [u64; INT_ARGS as usize],
    vectors: &'a mut [u128],
    cursor: ResultCursor,
    area: *mut u128,
}

impl<'a> Rets<'a> {
    /// `area` is the result area of the call, or null if its type needs none.
    #[inline]
    pub(crate) fn new<const VECTORS: usize>(
        image: &'a mut Image<VECTORS>,
        area: *mut u128,
    ) -> Rets<'a> {
        let (ints, vectors) = (&mut image.ints, &mut image.vectors);
        Rets { ints, vectors, cursor: ResultCursor::default(), area }
    }
}

impl InOrder for Rets<'_> {
    #[inline]
    fn write_bits(&mut self, bits: u128, repr: Repr) {
        match self.cursor.next(repr) {
            ResultLoc::Int(n) => self.ints[n as usize] = bits as u64,
            ResultLoc::Vector(n) => self.vectors[n as usize] = bits,
            ResultLoc::Area(offset) => {
                let place = self.area.wrapping_byte_add(offset as usize);
                // SAFETY: [host signature] [compiled code] guest code provided an area for the results
                // of the record's type.
                unsafe { place.write_unaligned(bits) }
            }
        }
    }

    #[inline]
    fn read_bits(&mut self, repr: Repr) -> u128 {
        match self.cursor.next(repr) {
            ResultLoc::Int(n) => u128::from(self.ints[n as usize]),
            ResultLoc::Vector(n) => self.vectors[n as usize],
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
    /// Guest or host code failed. In a box: what is rare and large would be copied beside every result.
    Exit(Box<Exit>),
}

impl From<Mismatch> for CallError {
    fn from(Mismatch: Mismatch) -> CallError {
        CallError::Mismatch
    }
}

impl From<Box<Exit>> for CallError {
    fn from(exit: Box<Exit>) -> CallError {
        CallError::Exit(exit)
    }
}

/// Stack that the entry itself may use above the guest's first frame, in bytes.
pub(crate) const ENTRY_STACK: usize = 1024;

/// Calls a function of the host's store, which lies at `place`, with arguments that `write` writes and
/// results that `read` reads. `VECTORS` as for [`Image`].
#[inline]
fn call_with<const VECTORS: usize, S: Host, R>(
    host: &mut S,
    place: Place,
    has_vectors: u64,
    (stack_bytes, area_bytes): (u32, u32),
    write: impl FnOnce(&mut Args<'_>, &Store) -> Result<(), Mismatch>,
    read: impl FnOnce(&mut Rets<'_>, &Store) -> R,
) -> Result<R, CallError> {
    let mut image = Image::<VECTORS>::new();
    image.has_vectors = has_vectors;
    // Of most types there is nothing of either, which the compiler sees where `bytes` are constants.
    let (mut few, mut many) = ([0u128; 2], Vec::new());
    let area = room(&mut few, &mut many, area_bytes as usize / 16);
    let area = if area.is_empty() { std::ptr::null_mut() } else { area.as_mut_ptr() };
    image.ints[1] = area.expose_provenance() as u64;
    let (mut few, mut many) = ([0u64; 8], Vec::new());
    let stack = room(&mut few, &mut many, stack_bytes as usize / 8);
    let store = kernel_of(host);
    let (code, owner) = store.target_at(place);
    let mut args = Args::new(&mut image, area_bytes > 0);
    args.stack = &mut *stack;
    write(&mut args, store)?;
    (image.stack, image.stack_words) = (stack.as_ptr(), stack.len() as u64);
    let image_ptr = (&raw mut image).cast();
    // SAFETY: [compiled code] [host signature] `code` is the function's entry and `owner` its context;
    // the image was written by the function's type; host, limit and current context are set.
    activate(host, || unsafe { shims::enter(image_ptr, owner, code) })?;
    Ok(read(&mut Rets::new(&mut image, area), host.kernel()))
}

/// The kernel's part of a host's store, which is of the type that was made for the host's.
#[inline]
fn kernel_of<S: Host>(host: &mut S) -> &Store {
    let store = host.kernel();
    assert!(
        store.host_type() == TypeId::of::<S>(),
        "a store runs with the host type it was made for"
    );
    store
}

/// What generated code leaves in the first register of each kind, as the host's convention returns a pair.
#[derive(Clone, Copy)]
#[repr(C)]
struct FirstRegisters {
    int: u64,
    vector: f64,
}

/// The shim as a function, for arguments in integer registers alone, and for all that it takes.
type OfInts = unsafe extern "C" fn(*const FuncRef, u64, u64, u64, u64, u64) -> FirstRegisters;
#[rustfmt::skip]
type OfAll = unsafe extern "C" fn(
    *const FuncRef, u64, u64, u64, u64, u64,
    f64, f64, f64, f64, f64, f64, f64, f64, u64, u64,
) -> FirstRegisters;

/// As [`call_with`], by a shim that takes the arguments as the host's convention has them: no memory in between.
#[inline]
fn call_direct<S: Host, P: Values, R: Values>(
    host: &mut S,
    place: Place,
    shim: *const u8,
    params: P,
) -> Result<R, CallError> {
    // It stays in registers, since all places are known to the compiler.
    let mut image = Image::<{ VECTOR_ARGS as usize }>::new();
    let mut stack = [0; 2];
    let store = kernel_of(host);
    let func = store.func_ref_at(place);
    let mut args = Args::new(&mut image, false);
    args.stack = &mut stack;
    params.write_args(&mut args, store)?;
    let [_, a, b, c, d, e] = image.ints;
    let got = if P::USES_VECTORS || P::stack_bytes(false) > 0 {
        let [f, g, h, i, j, k, l, m] = image.vectors.map(|bits| f64::from_bits(bits as u64));
        let [n, o] = stack;
        // SAFETY: [shim frame] the shim's arguments are these, of which it uses what the function's type has.
        let shim = unsafe { std::mem::transmute::<*const u8, OfAll>(shim) };
        // SAFETY: [compiled code] [host signature] the reference is the function's, whose type says that its
        // arguments lie so; host, limit and current context are set.
        activate(host, || unsafe { shim(func, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o) })?
    } else {
        // SAFETY: [shim frame] as above.
        let shim = unsafe { std::mem::transmute::<*const u8, OfInts>(shim) };
        // SAFETY: [compiled code] [host signature] as above.
        activate(host, || unsafe { shim(func, a, b, c, d, e) })?
    };
    image.ints[0] = got.int;
    image.vectors[0] = u128::from(got.vector.to_bits());
    Ok(R::read_results(&mut Rets::new(&mut image, std::ptr::null_mut()), host.kernel()))
}

/// `count` zeros, in `few` if they fit. (Not a `SmallVec`, which is moved when it was made: the processor
/// waits for parts that were just written.)
#[inline]
fn room<'a, T: Copy + Default, const FEW: usize>(
    few: &'a mut [T; FEW],
    many: &'a mut Vec<T>,
    count: usize,
) -> &'a mut [T] {
    if count <= FEW {
        &mut few[..count]
    } else {
        many.resize(count, T::default());
        many
    }
}

/// Runs what enters a function of the host's store, as an activation. What that returns has no meaning if it
/// failed.
#[inline]
fn activate<S: Host, X>(host: &mut S, enter: impl FnOnce() -> X) -> Result<X, Box<Exit>> {
    let store = host.kernel();
    let context_ptr = store.context_ptr();
    let max_wasm_stack = store.max_wasm_stack();
    // SAFETY: [context pointer] the store outlives this call: the host is borrowed, and were safe code
    // to swap and drop it meanwhile, the context stays since an activation is live.
    let context: &Context = unsafe { &*context_ptr };
    let marker = 0u8;
    let sp = &raw const marker as usize;
    let outer = match begin(context, max_wasm_stack, sp) {
        true => None,
        false => Some(begin_inside(context, max_wasm_stack, sp).ok_or_else(overflow)?),
    };
    let pointer: NonNull<dyn Host> = NonNull::from(&mut *host);
    context.host.set(Some(pointer));
    let entered = enter();
    match &outer {
        None => end(),
        Some(outer) => end_inside(context, outer),
    }
    if context.pending.get() == 0 { Ok(entered) } else { Err(pending(host)) }
}

/// The failure that guest code ended with.
#[cold]
fn pending<S: Host>(host: &mut S) -> Box<Exit> {
    let store = host.kernel();
    store.context().pending.set(0);
    Box::new(store.take_pending().unwrap_or_else(|| Failure::Host(Box::new(Mismatch)).into()))
}

#[cold]
fn overflow() -> Box<Exit> {
    Box::new(Trap::StackOverflow.into())
}

/// Calls a function with values. `results` must have the length of the function's results.
pub fn call<S: Host>(
    host: &mut S,
    func: FuncId,
    params: &[Value],
    results: &mut [Value],
) -> Result<(), CallError> {
    let store = host.kernel();
    let place = store.func_place(func).ok_or(Mismatch)?;
    let ty = store.func_type(func).ok_or(Mismatch)?;
    let (types, layout) = (ty.func_type(), ty.call_layout());
    if (params.len(), results.len()) != (types.params().len(), types.results().len()) {
        return Err(CallError::Mismatch);
    }
    let bytes = (layout.stack_bytes, layout.area_bytes);
    call_with::<{ VECTOR_ARGS as usize }, S, ()>(
        host,
        place,
        ALL_OF_VECTORS,
        bytes,
        |args, store| {
            let types = store.func_type(func).ok_or(Mismatch)?.func_type();
            for (value, ty) in params.iter().zip(types.params()) {
                args.write_bits(store.value_bits(*value, *ty)?, Repr::of(*ty));
            }
            Ok(())
        },
        |rets, store| {
            let types = store.func_type(func).map_or(&[][..], |ty| ty.func_type().results());
            for (place, ty) in results.iter_mut().zip(types) {
                *place = store.value_of(rets.read_bits(Repr::of(*ty)), *ty);
            }
        },
    )
}

/// A function of a store whose type has few values and no references, looked up.
#[derive(Clone, Copy, Debug)]
pub struct NumericFunc {
    store: StoreId,
    /// Where the function lies in that store.
    place: Place,
    numbers: Numbers,
    stack_bytes: u32,
    area_bytes: u32,
    uses_vectors: bool,
}

impl NumericFunc {
    /// Its arguments and results.
    #[inline]
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }
}

impl Store {
    /// Looks a function up for [`call_numeric`]. `None` if it is not of such a type, or not of this store.
    #[inline]
    pub fn numeric(&self, func: FuncId) -> Option<NumericFunc> {
        let layout = self.func_type(func)?.call_layout();
        Some(NumericFunc {
            store: self.id(),
            place: self.func_place(func)?,
            numbers: layout.numbers?,
            stack_bytes: layout.stack_bytes,
            area_bytes: layout.area_bytes,
            uses_vectors: layout.uses_vectors,
        })
    }
}

/// Calls a function that was looked up: numbers go from and to their places without a list in between.
#[inline]
pub fn call_numeric<S: Host, V: Number>(
    host: &mut S,
    func: &NumericFunc,
    params: &[V],
    results: &mut [V],
) -> Result<(), CallError> {
    if host.kernel().id() != func.store || (params.len(), results.len()) != func.numbers.counts() {
        return Err(CallError::Mismatch);
    }
    if func.uses_vectors {
        call_numbers::<{ VECTOR_ARGS as usize }, S, V>(host, func, params, results)
    } else {
        call_numbers::<0, S, V>(host, func, params, results)
    }
}

/// As [`call_numeric`], with an image of its own for either kind of type.
#[inline]
fn call_numbers<const VECTORS: usize, S: Host, V: Number>(
    host: &mut S,
    func: &NumericFunc,
    params: &[V],
    results: &mut [V],
) -> Result<(), CallError> {
    call_with::<VECTORS, S, ()>(
        host,
        func.place,
        if VECTORS > 0 { ALL_OF_VECTORS } else { 0 },
        (func.stack_bytes, func.area_bytes),
        |args, _| {
            let mut pairs = params.iter().zip(func.numbers.params());
            pairs.try_for_each(|(value, kind)| args.write_number(value, kind))
        },
        |rets, _| {
            for (place, kind) in results.iter_mut().zip(func.numbers.results()) {
                rets.read_number(kind, place);
            }
        },
    )
}

/// A function of a store whose type was checked to be that of `P` and `R`.
#[derive(Debug)]
pub struct TypedFunc<P, R> {
    store: StoreId,
    func: FuncId,
    /// Where the function lies in that store.
    place: Place,
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
        let place = self.func_place(func).filter(|_| fits).ok_or(Mismatch)?;
        Ok(TypedFunc { store: self.id(), func, place, types: PhantomData })
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
    let area_bytes = R::area_bytes();
    let (place, bytes) = (func.place, (P::stack_bytes(area_bytes > 0), area_bytes));
    if P::DIRECT
        && R::DIRECT
        && R::in_first_registers()
        && let Some(shim) = shims::direct_address(bytes.0)
    {
        return call_direct(host, place, shim, params);
    }
    let write = |args: &mut Args<'_>, store: &Store| params.write_args(args, store);
    let read = |rets: &mut Rets<'_>, store: &Store| R::read_results(rets, store);
    if P::USES_VECTORS || R::USES_VECTORS {
        // A register that was written in halves is not read whole: the processor would wait for both.
        let halves = P::DIRECT && R::DIRECT;
        let has_vectors = if halves { LOWER_HALVES } else { ALL_OF_VECTORS };
        call_with::<{ VECTOR_ARGS as usize }, S, R>(host, place, has_vectors, bytes, write, read)
    } else {
        call_with::<0, S, R>(host, place, 0, bytes, write, read)
    }
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
        if operation.builtin == Builtin::EpochReached && !context.asked_epoch() {
            return Ok(0);
        }
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
    if !context.asked_epoch() {
        return;
    }
    let host = context.host.get().expect("a host is set while guest code runs");
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: [host pointer] guest code was running, so nothing else uses the host.
        unsafe { &mut *host.as_ptr() }.epoch_reached()
    }));
    let failure = match result {
        // If the host has not moved the deadline, it is asked again at the next turn.
        Ok(Ok(())) => return context.note_epoch(),
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::Panic(payload),
    };
    fail(context, failure, None);
}

/// `Builtin::TierUp`: the address of a replacement to go on in, or 0.
fn tier_up(store: &mut Store, instance: InstanceId, operation: Operation) -> u64 {
    let code = store.instance_code(instance).clone();
    let Some(tiered) = code.as_tiered() else { return 0 };
    let func = DefinedFuncIndex(operation.first);
    let found = tiered.hot(&code, func, operation.second.checked_sub(1));
    store.renew_func_refs(instance);
    match found {
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
            ..TrapReport::new(trap)
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

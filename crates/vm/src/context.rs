//! The context of a store: what shims, handler and host share while guest code runs.
//!
//! Fields are `Cell`s, since shims and generated code write them through raw pointers while host code
//! holds `&Context`.

use crate::call::ENTRY_STACK;
use crate::store::Store;
use crate::sys;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::ptr::{NonNull, null};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wardian_module::layout::{EPOCH_STRIDE, NULL_PAGE, StoreContext};
use wardian_module::{FuncIndex, Module, Operation, Trap};

use crate::store::{FuncId, InstanceId};

/// What the kernel asks of the store's owner while guest code runs.
pub trait Host: 'static {
    /// The kernel's part of the store. Always the same one.
    fn kernel(&mut self) -> &mut Store;

    /// Whether the host wants to be told of calls: those of host functions may go another way then.
    fn is_told(&self) -> bool {
        false
    }

    /// Carries out a builtin other than raising a trap for an instance.
    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure>;

    /// The exception that the kernel's store holds ([`Store::thrown`]) leaves its activation: keeps it, and
    /// says what failure stands for it.
    fn uncaught(&mut self) -> Failure {
        Failure::Exception
    }

    /// Whether an error that a host function returns stands for an exception that was kept; if so, it is
    /// thrown again: the kernel's store holds it now ([`Store::set_thrown`]).
    fn thrown(&mut self, error: &(dyn Any + Send)) -> bool {
        let _ = error;
        false
    }

    /// The epoch deadline has come: guest code goes on or fails.
    fn epoch_reached(&mut self) -> Result<(), Failure> {
        Err(Trap::Interrupt.into())
    }
}

/// A builtin with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinCall {
    /// Who calls.
    pub instance: InstanceId,
    /// What, with its constants.
    pub operation: Operation,
    /// Dynamic arguments as words; 32-bit ones are zero-extended, function references are in `func`.
    pub args: [u64; 4],
    /// The argument that is a function reference.
    pub func: Option<FuncId>,
}

/// Details of a trap, for its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrapReport {
    /// Which trap.
    pub trap: Trap,
    /// The instance that trapped, if it was known.
    pub instance: Option<InstanceId>,
    /// An index, by trap: the memory, table or type concerned.
    pub place: u32,
    /// Details by trap, as `lower` states them; a function reference was replaced by its type id.
    pub details: [u64; 2],
    /// The bytes of the memory, if `details` begin with an address in it.
    pub memory_bytes: Option<u64>,
    /// The address that the processor faulted on.
    pub address: Option<usize>,
}

impl TrapReport {
    /// A trap without details.
    pub fn new(trap: Trap) -> TrapReport {
        let (details, memory_bytes) = ([0; 2], None);
        TrapReport { trap, instance: None, place: 0, details, memory_bytes, address: None }
    }
}

/// Why guest code did not return.
#[derive(Debug)]
pub enum Failure {
    /// It trapped.
    Trap(TrapReport),
    /// A host function returned this error.
    Host(Box<dyn Any + Send>),
    /// An exception left its outermost guest frame.
    Exception,
    /// Host code panicked with this payload.
    Panic(Box<dyn Any + Send>),
}

impl From<Trap> for Failure {
    fn from(trap: Trap) -> Failure {
        Failure::Trap(TrapReport::new(trap))
    }
}

/// A guest frame of a backtrace.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The module.
    pub module: Arc<Module>,
    /// The function.
    pub func: FuncIndex,
    /// Offset in the module's bytes of the instruction.
    pub wasm_offset: Option<u32>,
}

/// A failure with the guest frames that were live when it arose, innermost first.
#[derive(Debug)]
pub struct Exit {
    /// What happened.
    pub failure: Failure,
    /// Frames, as many as the store was told to keep.
    pub frames: Vec<Frame>,
    /// The innermost frame, also if none are to be kept.
    pub innermost: Option<Frame>,
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Exit {
        Exit { failure, frames: Vec::new(), innermost: None }
    }
}

impl From<Trap> for Exit {
    fn from(trap: Trap) -> Exit {
        Failure::from(trap).into()
    }
}

/// See the head of this file. Generated code reads `shared`, shims the fields that `shims` names.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Context {
    pub(crate) shared: StoreContext,
    /// `rsp` of the innermost entry frame; 0 when no guest code of this store is running.
    pub(crate) entry_sp: Cell<usize>,
    /// Return address of the latest exit, once the exit returns elsewhere (`shims::divert`).
    pub(crate) exit_pc: Cell<usize>,
    /// Not 0: a failure waits for the innermost entry, or ([`Context::THROWN`]) an exception for its handler.
    pub(crate) pending: Cell<u32>,
    /// Not 0: guest code pays for what it does, or counts it ([`Context::COUNTS`]), and shims keep
    /// NOTE \[fuel register\] of `layout`.
    pub(crate) pays: Cell<u32>,
    /// Frame and stack pointer of the handler that a throw has found.
    pub(crate) resume_fp: Cell<usize>,
    pub(crate) resume_sp: Cell<usize>,
    /// The host, as given to the innermost entry.
    pub(crate) host: Cell<Option<NonNull<dyn Host>>>,
    /// What the signal handler saw.
    pub(crate) fault: Cell<FaultInfo>,
    /// For each memory of the store, the addresses at which an access past its end faults.
    guards: UnsafeCell<Vec<Range<usize>>>,
}

/// A fault in generated code.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultInfo {
    pub(crate) pc: usize,
    pub(crate) fp: usize,
    pub(crate) address: Option<usize>,
    pub(crate) trap: u8,
}

const _: () = assert!(
    std::mem::offset_of!(Context, shared) == 0,
    "a pointer to the context is a pointer to the part that generated code reads"
);

impl Context {
    /// `pending` while a host function that has thrown returns.
    pub(crate) const THROWN: u32 = 2;
    /// `pays` where code asks for its epoch and does not pay.
    pub(crate) const COUNTS: u32 = 2;

    /// Whether the epoch deadline has come.
    pub(crate) fn is_epoch_reached(&self) -> bool {
        // SAFETY: [context pointer] it is valid as long as the context.
        let epoch = unsafe { &*self.shared.epoch };
        epoch.load(Relaxed) >= self.shared.epoch_deadline.get()
    }

    /// Before code is entered: if it counts, nothing is left if its deadline has come.
    #[inline]
    pub(crate) fn note_epoch(&self) {
        if self.pays.get() == Context::COUNTS && self.is_epoch_reached() {
            self.shared.spent.set(0);
        }
    }

    /// Code asks for its epoch: it may go on for a while afterwards. Whether the deadline has come.
    pub(crate) fn asked_epoch(&self) -> bool {
        if self.pays.get() == Context::COUNTS {
            self.shared.spent.set(EPOCH_STRIDE);
        }
        self.is_epoch_reached()
    }

    /// `epoch` stays valid as long as the context.
    pub(crate) fn new(epoch: *const AtomicU64) -> Context {
        Context {
            shared: StoreContext {
                stack_limit: Cell::new(usize::MAX),
                spent: Cell::new(u64::MAX),
                epoch_deadline: Cell::new(0),
                live_state: Cell::new(std::ptr::null_mut()),
                epoch,
                payload: Cell::new(std::ptr::null_mut()),
                thrown_tag: Cell::new(0),
                gc_base: Cell::new(std::ptr::null_mut()),
                gc_next: Cell::new(0),
                gc_limit: Cell::new(0),
                func_ids_base: Cell::new(null()),
                func_ids_length: Cell::new(0),
            },
            entry_sp: Cell::new(0),
            exit_pc: Cell::new(0),
            pending: Cell::new(0),
            pays: Cell::new(0),
            resume_fp: Cell::new(0),
            resume_sp: Cell::new(0),
            host: Cell::new(None),
            fault: Cell::new(FaultInfo::default()),
            guards: UnsafeCell::new(Vec::new()),
        }
    }

    /// Whether `address` lies behind a memory, where its accesses fault.
    pub(crate) fn guards_hold(&self, address: usize) -> bool {
        // SAFETY: [guards] a shared use, which ends here; the exclusive one is not on.
        unsafe { &*self.guards.get() }.iter().any(|guard| guard.contains(&address))
    }

    /// Whether `address` lies in the null page of the store's heap.
    pub(crate) fn is_null_page(&self, address: usize) -> bool {
        let base = self.shared.gc_base.get() as usize;
        base != 0 && address.wrapping_sub(base) < NULL_PAGE as usize
    }

    /// Changes the guards. `change` calls nothing of this context.
    ///
    /// # Safety
    ///
    /// - The store of this context is borrowed exclusively.
    pub(crate) unsafe fn change_guards(&self, change: impl FnOnce(&mut Vec<Range<usize>>)) {
        // SAFETY: [guards] the only exclusive use, since the store is borrowed exclusively.
        change(unsafe { &mut *self.guards.get() });
    }
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            current: Cell::new(null()),
            stack: Cell::new(None),
            limit: Cell::new(usize::MAX),
        }
    };
}

/// What the kernel knows of a thread. One variable, since finding each costs a call.
struct Thread {
    /// Context of the innermost activation of this thread: invariant [context pointer].
    current: Cell<*const Context>,
    /// This thread's stack, once asked for.
    stack: Cell<Option<(usize, usize)>>,
    /// `thread_stack_limit` of this thread, once asked for.
    limit: Cell<usize>,
}

/// Never inlined: a suspended stack may go on on another thread, where the address differs.
#[inline(never)]
pub(crate) fn current() -> *const Context {
    THREAD.with(|thread| thread.current.get())
}

/// What an activation inside of another one puts back when it ends.
pub(crate) struct Outer {
    current: *const Context,
    stack_limit: usize,
    host: Option<NonNull<dyn Host>>,
}

/// Begins an activation that is the thread's and the store's only one: sets the stack limit, notes the epoch and makes
/// `context` the current one. If there is another one, or the stack does not suffice below `sp`, where the caller is,
/// or this thread is new: nothing is changed, and [`begin_inside`] is to be asked. Never inlined, as `current`.
#[inline(never)]
pub(crate) fn begin(context: &Context, max_wasm_stack: usize, sp: usize) -> bool {
    THREAD.with(|thread| {
        // Of a thread that was not asked yet it is too high, whatever `sp` is.
        let limit = sp.saturating_sub(max_wasm_stack).max(thread.limit.get());
        let is_inside = context.entry_sp.get() != 0 || !thread.current.get().is_null();
        if is_inside || sp < limit.saturating_add(ENTRY_STACK) {
            return false;
        }
        context.shared.stack_limit.set(limit);
        context.note_epoch();
        thread.current.set(context);
        true
    })
}

/// As `begin`, whatever runs already. `None`, with nothing changed, if the stack does not suffice.
#[cold]
#[inline(never)]
pub(crate) fn begin_inside(context: &Context, max_wasm_stack: usize, sp: usize) -> Option<Outer> {
    let own_limit = thread_stack_limit();
    THREAD.with(|thread| thread.limit.set(own_limit));
    // A host function may have passed its caller to a scoped thread, which has a stack of its own.
    let limit = match context.entry_sp.get() {
        entry_sp if entry_sp != 0 && on_this_stack(entry_sp) => context.shared.stack_limit.get(),
        _ => sp.saturating_sub(max_wasm_stack).max(own_limit),
    };
    if sp < limit.saturating_add(ENTRY_STACK) {
        return None;
    }
    let stack_limit = context.shared.stack_limit.replace(limit);
    context.note_epoch();
    let current = THREAD.with(|thread| thread.current.replace(context));
    Some(Outer { current, stack_limit, host: context.host.get() })
}

/// Ends what [`begin`] has begun. The context is left as it is: nobody reads it until the next begins. Never inlined, as
/// `current`.
#[inline(never)]
pub(crate) fn end() {
    THREAD.with(|thread| thread.current.set(null()));
}

/// Ends what [`begin_inside`] has begun.
#[cold]
#[inline(never)]
pub(crate) fn end_inside(context: &Context, outer: &Outer) {
    THREAD.with(|thread| thread.current.set(outer.current));
    context.shared.stack_limit.set(outer.stack_limit);
    context.host.set(outer.host);
}

/// Lowest and highest address of this thread's stack; zeros if they are unknown.
#[inline]
fn thread_stack() -> (usize, usize) {
    THREAD.with(|thread| thread.stack.get()).unwrap_or_else(find_thread_stack)
}

#[cold]
fn find_thread_stack() -> (usize, usize) {
    let bounds = sys::stack_bounds().unwrap_or((0, 0));
    THREAD.with(|thread| thread.stack.set(Some(bounds)));
    bounds
}

/// Whether `address`, of a stack in use, lies in this thread's stack. Taken for granted where bounds
/// are unknown.
pub(crate) fn on_this_stack(address: usize) -> bool {
    let (low, high) = thread_stack();
    high == 0 || (low..high).contains(&address)
}

/// Bytes of stack that the caller's thread has left; 0 where that is unknown.
pub fn stack_left() -> usize {
    let marker = 0u8;
    let sp = &raw const marker as usize;
    let (low, high) = thread_stack();
    if (low..high).contains(&sp) { sp - low } else { 0 }
}

/// Lowest address that guest code may use on this thread, by the stack's own end: a quarter of the
/// stack, at most 256 KiB, stays for host code. With unknown bounds nothing can be promised, so the
/// limit of the configuration stands alone.
pub(crate) fn thread_stack_limit() -> usize {
    let (low, high) = thread_stack();
    low + ((high - low) / 4).min(256 << 10)
}

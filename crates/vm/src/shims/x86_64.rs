//! Entry, exit, builtin and fault shims for x86-64, System V.
//!
//! All host functions called from here are `extern "sysv64"`. Generated code uses the `tail`
//! convention: arguments and callee-saved registers as in System V's, callee pops stack arguments,
//! results in `rax`, `rcx`, `xmm0`, `xmm1`.
//!
//! ```text
//!  entry frame, downwards from rbp:        the context (`rbx` in all shims) holds
//!    caller's rbp        <- rbp              entry_sp   = rsp of the innermost entry frame
//!    rbx r12 r13 r14 r15                     pending    ≠ 0: a failure waits for its landing
//!    image
//!    context
//!    previous entry_sp
//!    exit_sp             where the return address of the latest exit lies
//!    exit_fp             <- entry_sp; rbp of the guest frame that it returns to
//! ```
//!
//! Each activation keeps its latest exit in its own entry frame, so that an exit needs no frame and what is entered
//! from there has nothing to put back.
//!
//! See invariant [shim frame].
//!
//! What is called often ends with `.p2align 6`: each function has a section of its own, which this makes the
//! processor's lines fit, wherever it is linked.

use crate::call::Image;
use crate::context::Context;
use crate::host::HostRecord;
use std::arch::naked_asm;
use std::mem::offset_of;
use wardian_module::layout::{FuncRef, Owner, StoreContext};

/// From `entry_sp` up to the entry frame's `rbp`.
pub(crate) const ENTRY_FRAME: usize = 80;
/// Offset from `entry_sp` of the frame pointer of the guest frame that the latest exit left.
pub(crate) const EXIT_FP: usize = 0;
/// Offset from `entry_sp` of the address at which that exit's return address lies.
pub(crate) const EXIT_SP: usize = 8;
/// Offset in the context of the fuel, while it is not in `r15`: NOTE \[fuel register\] of `layout`.
const SPENT: usize = offset_of!(Context, shared) + offset_of!(StoreContext, spent);
/// Offset from `entry_sp` of the previous activation's `entry_sp`.
pub(crate) const PREVIOUS_ENTRY_SP: usize = 16;

/// Text that begins entry shims: a frame, in which it puts the registers that calls preserve.
macro_rules! enter_frame {
    () => {
        "push rbp
         mov rbp, rsp
         push rbx
         push r12
         push r13
         push r14
         push r15"
    };
}

/// Text that makes this the innermost entry frame of the context in `rbx`, with room for an exit.
macro_rules! push_entry {
    () => {
        "push rbx
         push qword ptr [rbx + {entry_sp}]
         sub rsp, 16
         mov [rbx + {entry_sp}], rsp"
    };
}

/// Text that ends entry shims after a call that returned, as `landing` does: the function has left all registers
/// that it preserves as they were, `rbx` among them, but for `r15`.
macro_rules! leave_frame {
    () => {
        "mov [rbx + {spent}], r15
         mov r15, [rbp - 40]
         mov r10, [rsp + {previous_entry_sp}]
         mov [rbx + {entry_sp}], r10
         mov rbx, [rbp - 8]
         leave
         ret
         .p2align 6"
    };
}

/// Text that begins exit shims: notes the exit. The owner is in `rdi`; leaves the context in `rax`, changes `r10`.
macro_rules! exit {
    () => {
        "mov rax, [rdi + {store}]
         mov r10, [rax + {entry_sp}]
         mov [r10 + {exit_fp}], rbp
         mov [r10 + {exit_sp}], rsp"
    };
}

/// Address that generated code calls for builtins.
pub(crate) fn builtin_address() -> usize {
    builtin as *const () as usize
}

/// Address that generated code calls when the epoch deadline has come.
pub(crate) fn epoch_address() -> usize {
    epoch as *const () as usize
}

/// Address that generated code calls when a check has failed.
pub(crate) fn trap_address() -> usize {
    trap as *const () as usize
}

/// Address that generated code calls to throw an exception.
pub(crate) fn throw_address() -> usize {
    throw as *const () as usize
}

/// Address that entries of functions without code jump to.
pub(crate) fn lazy_address() -> usize {
    lazy as *const () as usize
}

/// Address that function references to typed host functions hold; `pays`: of stores whose guests pay or count.
pub(crate) fn typed_exit_address(pays: bool) -> *const u8 {
    if pays { paying_exit as *const u8 } else { typed_exit as *const u8 }
}

/// Address that function references to other host functions hold.
pub(crate) fn image_exit_address() -> *const u8 {
    image_exit as *const u8
}

/// Address of the shim that takes arguments as the host's convention has them, if there is one for so many bytes
/// of stack arguments.
pub(crate) const fn direct_address(stack_bytes: u32) -> Option<*const u8> {
    match stack_bytes {
        0 => Some(enter_direct::<0> as *const u8),
        16 => Some(enter_direct::<2> as *const u8),
        _ => None,
    }
}

/// Address where the thread goes on after a fault in generated code.
pub(crate) fn fault_address() -> usize {
    fault as *const () as usize
}

/// Calls generated code: loads argument registers and stack arguments from `image`, and stores result
/// registers there. Returns normally also after a failure.
///
/// # Safety
///
/// - `code` is the entry of a function whose arguments `image` holds, `context` its owner.
/// - `image` points at a whole [`Image`] if it says so, which it does unless the function's type has
///   nothing for vector registers.
/// - The context that `context` leads to is prepared: host pointer and stack limit are set.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn enter(
    image: *mut Image<0>,
    context: *mut Owner,
    code: *const u8,
) {
    naked_asm!(
        enter_frame!(),
        "push rdi",
        "mov rbx, [rsi + {store}]",
        push_entry!(),
        "mov r10, rdi",
        "mov r11, rdx",
        "mov rdi, rsi",
        // Stack arguments, from the last to the first; their size is a multiple of 16.
        "mov rcx, [r10 + {stack_words}]",
        "mov rdx, [r10 + {stack}]",
        "2: test rcx, rcx",
        "jz 3f",
        "push qword ptr [rdx + rcx * 8 - 8]",
        "dec rcx",
        "jmp 2b",
        "3: cmp qword ptr [r10 + {has_vectors}], 1",
        "jb 4f",
        "ja 5f",
        "movq xmm0, [r10 + {vectors}]",
        "movq xmm1, [r10 + {vectors} + 16]",
        "movq xmm2, [r10 + {vectors} + 32]",
        "movq xmm3, [r10 + {vectors} + 48]",
        "movq xmm4, [r10 + {vectors} + 64]",
        "movq xmm5, [r10 + {vectors} + 80]",
        "movq xmm6, [r10 + {vectors} + 96]",
        "movq xmm7, [r10 + {vectors} + 112]",
        "jmp 4f",
        "5:",
        "movdqu xmm0, [r10 + {vectors}]",
        "movdqu xmm1, [r10 + {vectors} + 16]",
        "movdqu xmm2, [r10 + {vectors} + 32]",
        "movdqu xmm3, [r10 + {vectors} + 48]",
        "movdqu xmm4, [r10 + {vectors} + 64]",
        "movdqu xmm5, [r10 + {vectors} + 80]",
        "movdqu xmm6, [r10 + {vectors} + 96]",
        "movdqu xmm7, [r10 + {vectors} + 112]",
        "4: mov rsi, [r10 + {ints} + 8]",
        "mov rdx, [r10 + {ints} + 16]",
        "mov rcx, [r10 + {ints} + 24]",
        "mov r8, [r10 + {ints} + 32]",
        "mov r9, [r10 + {ints} + 40]",
        "mov r15, [rbx + {spent}]",
        "call r11",
        "mov r11, [rsp + 32]",
        "mov [r11 + {ints}], rax",
        "mov [r11 + {ints} + 8], rcx",
        "cmp qword ptr [r11 + {has_vectors}], 0",
        "je 6f",
        "movdqu [r11 + {vectors}], xmm0",
        "movdqu [r11 + {vectors} + 16], xmm1",
        "6:",
        leave_frame!(),
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        stack = const offset_of!(Image, stack),
        stack_words = const offset_of!(Image, stack_words),
        has_vectors = const offset_of!(Image, has_vectors),
        ints = const offset_of!(Image, ints),
        vectors = const offset_of!(Image, vectors),
        spent = const SPENT,
        previous_entry_sp = const PREVIOUS_ENTRY_SP,
    )
}

/// As [`enter`], with arguments in the registers that they travel in, and those on the stack, `STACK` words, where
/// the caller's convention puts them: `(function reference, arguments…) -> result`. What it returns after a
/// failure has no meaning.
///
/// # Safety
///
/// - The reference is that of a function with such arguments and result, whose stack arguments take `STACK`
///   words, 0 or 2.
/// - The context that the function's leads to is prepared: host pointer and stack limit are set.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_direct<const STACK: u32>() {
    naked_asm!(
        enter_frame!(),
        "mov r11, [rdi + {code}]",
        "mov rdi, [rdi + {context}]",
        "push rdi",
        "mov rbx, [rdi + {store}]",
        push_entry!(),
        ".if {stack}",
        "push qword ptr [rbp + 24]",
        "push qword ptr [rbp + 16]",
        ".endif",
        "mov r15, [rbx + {spent}]",
        "call r11",
        // The result stays where it is.
        leave_frame!(),
        code = const offset_of!(FuncRef, code),
        context = const offset_of!(FuncRef, context),
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        spent = const SPENT,
        stack = const STACK,
        previous_entry_sp = const PREVIOUS_ENTRY_SP,
    )
}

/// Leaves the innermost entry frame, which `rsp` points at.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn landing() {
    naked_asm!(
        "mov rbx, [rsp + 24]",
        "mov rax, [rsp + {previous_entry_sp}]",
        "mov [rbx + {entry_sp}], rax",
        "add rsp, 40",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        entry_sp = const offset_of!(Context, entry_sp),
        previous_entry_sp = const PREVIOUS_ENTRY_SP,
    )
}

/// A failure waits: back to the innermost entry; or an exception: to its handler. `rbx` is the context.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
/// - Where it goes on at a handler, invariant [handler] says that nothing is lost.
#[unsafe(naked)]
unsafe extern "sysv64" fn unwind() {
    naked_asm!(
        "cmp dword ptr [rbx + {pending}], {thrown}",
        "je 3f",
        "2: mov rsp, [rbx + {entry_sp}]",
        "jmp {landing}",
        // A host function has thrown.
        "3: and rsp, -16",
        "mov rdi, rbx",
        "call {rethrow}",
        "test rax, rax",
        "jz 2b",
        "mov r15, [rbx + {spent}]",
        "mov rbp, [rbx + {resume_fp}]",
        "mov rsp, [rbx + {resume_sp}]",
        "jmp rax",
        pending = const offset_of!(Context, pending),
        thrown = const Context::THROWN,
        spent = const SPENT,
        entry_sp = const offset_of!(Context, entry_sp),
        resume_fp = const offset_of!(Context, resume_fp),
        resume_sp = const offset_of!(Context, resume_sp),
        rethrow = sym crate::exceptions::rethrow_entry,
        landing = sym landing,
    )
}

/// Generated code throws: `(context, id of a tag)`. Goes on at the handler, if the activation has one, and
/// else back to the innermost entry. No register is kept on the way to a handler.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
/// - Where it goes on at a handler, invariant [handler] says that nothing is lost.
#[unsafe(naked)]
unsafe extern "sysv64" fn throw() {
    naked_asm!(
        exit!(),
        "push rbp",
        "mov rbp, rsp",
        "mov rbx, rax",
        "mov [rbx + {spent}], r15",
        "mov rdi, rbx",
        "call {throw}",
        "test rax, rax",
        "jz {unwind}",
        "mov r15, [rbx + {spent}]",
        "mov rbp, [rbx + {resume_fp}]",
        "mov rsp, [rbx + {resume_sp}]",
        "jmp rax",
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        exit_fp = const EXIT_FP,
        exit_sp = const EXIT_SP,
        resume_fp = const offset_of!(Context, resume_fp),
        resume_sp = const offset_of!(Context, resume_sp),
        spent = const SPENT,
        throw = sym crate::exceptions::throw_entry,
        unwind = sym unwind,
    )
}

/// Generated code calls a builtin: `(context, operation, a, b, c, d)`.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn builtin() {
    naked_asm!(
        exit!(),
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "sub rsp, 8",
        "mov rbx, rax",
        "mov [rbx + {spent}], r15",
        "call {builtin}",
        "cmp dword ptr [rbx + {pending}], 0",
        "jne {unwind}",
        "cmp dword ptr [rbx + {pays}], 0",
        "je 5f",
        "mov r11, rbx",
        "call {resume}",
        "5:",
        "mov rbx, [rbp - 8]",
        "leave",
        "ret",
        ".p2align 6",
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        exit_fp = const EXIT_FP,
        exit_sp = const EXIT_SP,
        pending = const offset_of!(Context, pending),
        spent = const SPENT,
        pays = const offset_of!(Context, pays),
        builtin = sym crate::call::builtin_entry,
        resume = sym resume,
        unwind = sym unwind,
    )
}

/// Where guest code pays or counts, and goes on: sets `r15`, and leaves all other registers but `r10` alone. The context is in `r11`. What
/// counts has nothing left if its deadline has come.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn resume() {
    naked_asm!(
        "mov r15, [r11 + {spent}]",
        "cmp dword ptr [r11 + {pays}], {counts}",
        "jne 2f",
        "mov r10, [r11 + {epoch}]",
        "mov r10, [r10]",
        "cmp r10, [r11 + {deadline}]",
        "jb 2f",
        "xor r15d, r15d",
        "2: ret",
        spent = const SPENT,
        pays = const offset_of!(Context, pays),
        counts = const Context::COUNTS,
        epoch = const offset_of!(Context, shared) + offset_of!(StoreContext, epoch),
        deadline = const offset_of!(Context, shared) + offset_of!(StoreContext, epoch_deadline),
    )
}

/// Generated code asks for its epoch. There are no arguments, and all registers that code
/// uses stay as they were, so that a call that rarely happens takes no register from the code around it.
/// The context is that of the thread's innermost activation.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn epoch() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "sub rsp, {size}",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + 48], r10",
        "mov [rsp + 56], r11",
        "mov [rsp + 64], rax",
        "movdqu [rsp + 72], xmm0",
        "movdqu [rsp + 88], xmm1",
        "movdqu [rsp + 104], xmm2",
        "movdqu [rsp + 120], xmm3",
        "movdqu [rsp + 136], xmm4",
        "movdqu [rsp + 152], xmm5",
        "movdqu [rsp + 168], xmm6",
        "movdqu [rsp + 184], xmm7",
        "movdqu [rsp + 200], xmm8",
        "movdqu [rsp + 216], xmm9",
        "movdqu [rsp + 232], xmm10",
        "movdqu [rsp + 248], xmm11",
        "movdqu [rsp + 264], xmm12",
        "movdqu [rsp + 280], xmm13",
        "movdqu [rsp + 296], xmm14",
        "movdqu [rsp + 312], xmm15",
        "call {current}",
        "mov rbx, rax",
        // As `exit!`, from inside of this frame.
        "mov r10, [rbx + {entry_sp}]",
        "mov rax, [rbp]",
        "mov [r10 + {exit_fp}], rax",
        "lea rax, [rbp + 8]",
        "mov [r10 + {exit_sp}], rax",
        "mov [rbx + {spent}], r15",
        "mov rdi, rbx",
        "call {epoch}",
        "cmp dword ptr [rbx + {pending}], 0",
        "jne {unwind}",
        "cmp dword ptr [rbx + {pays}], 0",
        "je 5f",
        "mov r15, [rbx + {spent}]",
        "5:",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "mov r10, [rsp + 48]",
        "mov r11, [rsp + 56]",
        "mov rax, [rsp + 64]",
        "movdqu xmm0, [rsp + 72]",
        "movdqu xmm1, [rsp + 88]",
        "movdqu xmm2, [rsp + 104]",
        "movdqu xmm3, [rsp + 120]",
        "movdqu xmm4, [rsp + 136]",
        "movdqu xmm5, [rsp + 152]",
        "movdqu xmm6, [rsp + 168]",
        "movdqu xmm7, [rsp + 184]",
        "movdqu xmm8, [rsp + 200]",
        "movdqu xmm9, [rsp + 216]",
        "movdqu xmm10, [rsp + 232]",
        "movdqu xmm11, [rsp + 248]",
        "movdqu xmm12, [rsp + 264]",
        "movdqu xmm13, [rsp + 280]",
        "movdqu xmm14, [rsp + 296]",
        "movdqu xmm15, [rsp + 312]",
        "mov rbx, [rbp - 8]",
        "leave",
        "ret",
        // Nine integer and sixteen vector registers, and `rsp` is a multiple of 16 at the call.
        size = const 9 * 8 + 16 * 16,
        entry_sp = const offset_of!(Context, entry_sp),
        exit_fp = const EXIT_FP,
        exit_sp = const EXIT_SP,
        pending = const offset_of!(Context, pending),
        spent = const SPENT,
        pays = const offset_of!(Context, pays),
        current = sym current,
        epoch = sym crate::call::epoch_entry,
        unwind = sym unwind,
    )
}

/// A check in generated code failed: what `rbp` points at tells where. The context is that of the thread's
/// innermost activation.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn trap() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "and rsp, -16",
        "call {current}",
        "mov rbx, rax",
        "mov [rbx + {spent}], r15",
        "mov rdi, rbx",
        "mov rsi, rbp",
        "call {trap}",
        "jmp {unwind}",
        spent = const SPENT,
        current = sym current,
        trap = sym crate::unwind::trap_entry,
        unwind = sym unwind,
    )
}

/// The context of the activation that a shim runs in.
extern "sysv64" fn current() -> *const Context {
    crate::context::current()
}

/// A call came to a function without code, whose index is in `r11d`: asks the host for code and goes on
/// there with the same arguments.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn lazy() {
    naked_asm!(
        exit!(),
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "mov rbx, rax",
        "sub rsp, {size}",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "movdqu [rsp + 48], xmm0",
        "movdqu [rsp + 64], xmm1",
        "movdqu [rsp + 80], xmm2",
        "movdqu [rsp + 96], xmm3",
        "movdqu [rsp + 112], xmm4",
        "movdqu [rsp + 128], xmm5",
        "movdqu [rsp + 144], xmm6",
        "movdqu [rsp + 160], xmm7",
        "mov [rbx + {spent}], r15",
        "mov esi, r11d",
        "call {lazy}",
        "cmp dword ptr [rbx + {pending}], 0",
        "jne {unwind}",
        "mov r11, rax",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "movdqu xmm0, [rsp + 48]",
        "movdqu xmm1, [rsp + 64]",
        "movdqu xmm2, [rsp + 80]",
        "movdqu xmm3, [rsp + 96]",
        "movdqu xmm4, [rsp + 112]",
        "movdqu xmm5, [rsp + 128]",
        "movdqu xmm6, [rsp + 144]",
        "movdqu xmm7, [rsp + 160]",
        "mov rbx, [rbp - 8]",
        "leave",
        "jmp r11",
        // Six integer and eight vector registers, and `rsp` stays a multiple of 16.
        size = const 6 * 8 + 8 * 16 + 8,
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        exit_fp = const EXIT_FP,
        exit_sp = const EXIT_SP,
        pending = const offset_of!(Context, pending),
        spent = const SPENT,
        lazy = sym crate::call::lazy_entry,
        unwind = sym unwind,
    )
}

/// Generated code calls a host function whose arguments travel in registers: goes on in the function, which returns to
/// the code by itself, or where [`divert`] says.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn typed_exit() {
    naked_asm!(
        exit!(),
        "jmp qword ptr [rdi + {entry}]",
        ".p2align 6",
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        exit_fp = const EXIT_FP,
        exit_sp = const EXIT_SP,
        entry = const offset_of!(HostRecord, entry),
    )
}

/// As [`typed_exit`], for code that pays or counts.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn paying_exit() {
    naked_asm!(
        exit!(),
        "push rbp",
        "mov rbp, rsp",
        "mov [rax + {spent}], r15",
        "push rax",
        "sub rsp, 8",
        "call qword ptr [rdi + {entry}]",
        "mov r11, [rbp - 8]",
        "call {resume}",
        "leave",
        "ret",
        ".p2align 6",
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        exit_fp = const EXIT_FP,
        exit_sp = const EXIT_SP,
        spent = const SPENT,
        entry = const offset_of!(HostRecord, entry),
        resume = sym resume,
    )
}

/// Generated code calls a host function by register image: `entry(record, image, stack arguments)`.
/// The image is an [`Image`], without vector registers if the function's type has none.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn image_exit() {
    naked_asm!(
        exit!(),
        "push rbp",
        "mov rbp, rsp",
        "mov [rax + {spent}], r15",
        "sub rsp, {size}",
        "mov [rbp - 8], rdi",
        "mov [rsp + {ints} + 8], rsi",
        "mov [rsp + {ints} + 16], rdx",
        "mov [rsp + {ints} + 24], rcx",
        "mov [rsp + {ints} + 32], r8",
        "mov [rsp + {ints} + 40], r9",
        "cmp dword ptr [rdi + {uses_vectors}], 0",
        "je 2f",
        "movdqu [rsp + {vectors}], xmm0",
        "movdqu [rsp + {vectors} + 16], xmm1",
        "movdqu [rsp + {vectors} + 32], xmm2",
        "movdqu [rsp + {vectors} + 48], xmm3",
        "movdqu [rsp + {vectors} + 64], xmm4",
        "movdqu [rsp + {vectors} + 80], xmm5",
        "movdqu [rsp + {vectors} + 96], xmm6",
        "movdqu [rsp + {vectors} + 112], xmm7",
        "2: lea rax, [rbp + 16]",
        "mov [rsp + {stack}], rax",
        "mov rsi, rsp",
        "call qword ptr [rdi + {entry}]",
        "mov rdi, [rbp - 8]",
        "mov r11, [rdi + {store}]",
        "cmp dword ptr [r11 + {pays}], 0",
        "je 5f",
        "call {resume}",
        "5:",
        "mov rax, [rsp + {ints}]",
        "mov rcx, [rsp + {ints} + 8]",
        "cmp qword ptr [rdi + {stack_bytes}], 0",
        "jne 3f",
        "leave",
        "ret",
        "3: movdqu xmm0, [rsp + {vectors}]",
        "movdqu xmm1, [rsp + {vectors} + 16]",
        "mov r10d, [rdi + {stack_bytes}]",
        "leave",
        "pop r11",
        "add rsp, r10",
        "jmp r11",
        ".p2align 6",
        store = const offset_of!(Owner, store),
        entry_sp = const offset_of!(Context, entry_sp),
        exit_fp = const EXIT_FP,
        exit_sp = const EXIT_SP,
        pays = const offset_of!(Context, pays),
        spent = const SPENT,
        entry = const offset_of!(HostRecord, entry),
        resume = sym resume,
        stack_bytes = const {
            let (bytes, vectors) = (offset_of!(HostRecord, stack_bytes), offset_of!(HostRecord, uses_vectors));
            assert!(vectors == bytes + 4 && bytes.is_multiple_of(8));
            bytes
        },
        uses_vectors = const offset_of!(HostRecord, uses_vectors),
        // And the record.
        size = const (size_of::<Image>() + 8).next_multiple_of(16),
        ints = const offset_of!(Image, ints),
        vectors = const offset_of!(Image, vectors),
        stack = const offset_of!(Image, stack),
    )
}

/// A host function has failed: where its call would return to, the way back to the innermost entry begins, or that to
/// a handler. The walk over frames finds the return address in the context.
///
/// # Safety
///
/// - Called by a host function that the latest exit of the context's innermost activation leads to, and that returns
///   next, without another exit: invariant [shim frame].
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn divert(context: *const Context) {
    naked_asm!(
        "mov rax, [rdi + {entry_sp}]",
        "mov rcx, [rax + {exit_sp}]",
        "mov rdx, [rcx]",
        "mov [rdi + {exit_pc}], rdx",
        "lea rdx, [rip + {diverted}]",
        "mov [rcx], rdx",
        "lea rcx, [rdi + {exit_pc}]",
        "mov [rax + {exit_sp}], rcx",
        "ret",
        entry_sp = const offset_of!(Context, entry_sp),
        exit_pc = const offset_of!(Context, exit_pc),
        exit_sp = const EXIT_SP,
        diverted = sym diverted,
    )
}

/// A host function that has failed returned.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn diverted() {
    naked_asm!(
        "and rsp, -16",
        "call {current}",
        "mov rbx, rax",
        "jmp {unwind}",
        current = sym current,
        unwind = sym unwind,
    )
}

/// The handler sent the thread here after a fault in generated code; `rbx` is the context.
///
/// # Safety
///
/// - Reached as the text above says, never called by Rust code: invariant [shim frame].
#[unsafe(naked)]
unsafe extern "sysv64" fn fault() {
    naked_asm!(
        "and rsp, -16",
        "mov rdi, rbx",
        "call {fault}",
        "jmp {unwind}",
        fault = sym crate::unwind::fault_entry,
        unwind = sym unwind,
    )
}

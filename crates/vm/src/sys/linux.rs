//! Linux on x86-64: address space, anonymous files, faults, stack bounds.
//!
//! The same surface as `unsupported.rs`; code above has no `cfg`.

use crate::mapping::With;
use crate::refusals;
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::*};

pub(crate) const SUPPORTED: Result<(), &str> = Ok(());

pub(crate) fn page_size() -> usize {
    // x86-64 has one page size for ordinary mappings.
    4096
}

/// A number that no process has in common with the one that forked it. The process id, asked for once:
/// the page that keeps it reads as zero in a child, however that was made (`MADV_WIPEONFORK`).
pub(crate) fn process() -> u32 {
    // Not a `OnceLock`: a child would wait for ever for a thread that was at it.
    static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(null_mut());
    let mut page = PAGE.load(Acquire);
    if page.is_null() {
        let Ok(new) = wiped_page() else { return std::process::id() };
        page = match PAGE.compare_exchange(null_mut(), new.as_ptr(), AcqRel, Acquire) {
            Ok(_) => new.as_ptr(),
            Err(other) => {
                // SAFETY: [mapping] it was mapped above, and nobody else saw it.
                unsafe { unmap(new.cast(), page_size()) };
                other
            }
        };
    }
    // SAFETY: [mapping] readable, writable, zeroed, aligned and never unmapped.
    let kept = unsafe { &*page };
    match kept.load(Relaxed) {
        0 => {
            let id = std::process::id();
            kept.store(id, Relaxed);
            id
        }
        id => id,
    }
}

/// A page that reads as zero now, and in a child of this process again.
fn wiped_page() -> io::Result<NonNull<AtomicU32>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let page = map(null_mut(), page_size(), libc::PROT_READ | libc::PROT_WRITE, flags, -1)?;
    // SAFETY: [mapping] the page was mapped above.
    if unsafe { libc::madvise(page.as_ptr().cast(), page_size(), libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: [mapping] as above, and nothing refers to it.
        unsafe { unmap(page, page_size()) };
        return Err(error);
    }
    Ok(page.cast())
}

fn map(
    at: *mut u8,
    size: usize,
    protection: libc::c_int,
    flags: libc::c_int,
    file: libc::c_int,
) -> io::Result<NonNull<u8>> {
    refusals::allow()?;
    // SAFETY: [foreign function] a mapping at an address of the system's choice touches no memory in
    // use; `at` is null here, and `flags` without MAP_FIXED.
    let start =
        unsafe { libc::mmap(at.cast(), size, protection, flags & !libc::MAP_FIXED, file, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Reserves inaccessible address space.
pub(crate) fn reserve(size: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    map(null_mut(), size, libc::PROT_NONE, flags, -1)
}

/// Maps the first page of a file for reading and executing, and leaves it so.
pub(crate) fn map_executable(file: &File) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    map(null_mut(), page_size(), protection, libc::MAP_PRIVATE, file.as_raw_fd()).map(drop)
}

/// # Safety
///
/// - The range is page-aligned and lies in a mapping that the caller owns.
unsafe fn protect(start: *mut u8, size: usize, protection: libc::c_int) -> io::Result<()> {
    refusals::allow()?;
    // SAFETY: [mapping] the caller owns the range.
    match unsafe { libc::mprotect(start.cast(), size, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes reserved address space readable and writable.
///
/// # Safety
///
/// - The range is page-aligned and lies in a mapping that the caller owns.
pub(crate) unsafe fn make_accessible(start: *mut u8, size: usize) -> io::Result<()> {
    // SAFETY: [mapping] the caller's duty is the same.
    unsafe { protect(start, size, libc::PROT_READ | libc::PROT_WRITE) }
}

/// Makes address space readable and executable, not writable.
///
/// # Safety
///
/// - The range is page-aligned and lies in a mapping that the caller owns.
pub(crate) unsafe fn make_executable(start: *mut u8, size: usize) -> io::Result<()> {
    // SAFETY: [mapping] the caller's duty is the same.
    unsafe { protect(start, size, libc::PROT_READ | libc::PROT_EXEC) }
}

/// Gives address space back. Refused where a neighbour would have to be split and the process has as
/// many mappings as it may have; then the range stays mapped, and only memory is lost.
///
/// # Safety
///
/// - The range is a whole mapping that the caller owns and never uses again.
pub(crate) unsafe fn unmap(start: NonNull<u8>, size: usize) {
    if refusals::allow_unmap().is_ok() {
        // SAFETY: [mapping] the caller owns the mapping and gives it up.
        unsafe { libc::munmap(start.as_ptr().cast(), size) };
    }
}

/// Makes address space inaccessible again; what it holds stays.
///
/// # Safety
///
/// - The range is page-aligned and lies in a mapping that the caller owns.
pub(crate) unsafe fn make_inaccessible(start: *mut u8, size: usize) -> io::Result<()> {
    // SAFETY: [mapping] the caller's duty is the same.
    unsafe { protect(start, size, libc::PROT_NONE) }
}

/// Gives pages back to the system, so that a range reads as when it was mapped: zero, or the content of
/// the file below.
///
/// # Safety
///
/// - The range is page-aligned and lies in a mapping that the caller owns.
pub(crate) unsafe fn discard(start: *mut u8, size: usize) -> io::Result<()> {
    refusals::allow()?;
    // SAFETY: [mapping] the caller owns the range.
    match unsafe { libc::madvise(start.cast(), size, libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Asks for large pages below the whole ones of them in `bytes`, where nothing was written yet.
pub(crate) fn prefer_large_pages(bytes: &mut [u8]) {
    let start = (bytes.as_mut_ptr() as usize).next_multiple_of(LARGE_PAGE);
    let end = (bytes.as_ptr_range().end as usize) & !(LARGE_PAGE - 1);
    if start < end {
        let pages = bytes.as_mut_ptr().with_addr(start).cast();
        // SAFETY: [foreign function] the range lies in `bytes`; the advice changes no content, and where
        // the system does not follow it, nothing changes.
        unsafe { libc::madvise(pages, end - start, libc::MADV_HUGEPAGE) };
    }
}

/// Free bytes at the end of a heap from which on they go back to the system.
#[cfg(target_env = "gnu")]
const KEPT_FREE: libc::c_int = 128 << 10;
/// Bytes from which a block is mapped by itself, and goes back whole.
#[cfg(target_env = "gnu")]
const MAPPED_ALONE: libc::c_int = 64 << 10;

/// Fixes both thresholds, which otherwise grow with the largest block that was freed.
pub(crate) fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: [foreign function] the library allows these thresholds. It keeps each in one word, which it reads
    // by itself whenever it allocates or frees: other threads see the old or the new.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_FREE);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_ALONE);
    }
}

/// An anonymous file of some bytes, which nobody can change any more.
pub(crate) fn sealed_file(content: &[u8]) -> io::Result<File> {
    refusals::allow()?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: [foreign function] the name is a C string; the call makes a new file descriptor.
    let file = unsafe { libc::memfd_create(c"wardian-data".as_ptr(), flags) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: [foreign function] the descriptor was made above and belongs to nobody else.
    let mut file = unsafe { File::from_raw_fd(file) };
    file.write_all(content)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: [foreign function] `file` is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts something else in the place of what a range held, private. If the system refuses, the range is not to be used.
///
/// # Safety
///
/// - The range is page-aligned and lies in a mapping that the caller owns; no reference into it exists.
pub(crate) unsafe fn replace(start: *mut u8, size: usize, with: With<'_>) -> io::Result<()> {
    refusals::allow()?;
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let (protection, flags, file) = match with {
        With::Nothing => (libc::PROT_NONE, flags | libc::MAP_ANONYMOUS, -1),
        With::Zeros => (writable, flags | libc::MAP_ANONYMOUS, -1),
        With::File(file) => (writable, flags, file.as_raw_fd()),
    };
    // SAFETY: [mapping] the caller owns the range.
    match unsafe { libc::mmap(start.cast(), size, protection, flags, file, 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// An anonymous file mapped twice: executable at one address, writable at another.
pub(crate) struct DualMapping {
    pub(crate) executable: NonNull<u8>,
    pub(crate) writable: NonNull<u8>,
    file: libc::c_int,
}

/// Maps `size` bytes of an anonymous file twice. Systems may refuse.
pub(crate) fn dual_mapping(size: usize) -> io::Result<DualMapping> {
    refusals::allow()?;
    // SAFETY: [foreign function] the name is a C string; the call makes a new file descriptor.
    let file = unsafe { libc::memfd_create(c"wardian-code".as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    let close = |error| {
        // SAFETY: [foreign function] `file` was opened above and is closed once on this path.
        unsafe { libc::close(file) };
        error
    };
    if let Err(error) = refusals::allow() {
        return Err(close(error));
    }
    // SAFETY: [foreign function] `file` is open.
    if unsafe { libc::ftruncate(file, size as libc::off_t) } != 0 {
        return Err(close(io::Error::last_os_error()));
    }
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
    let executable =
        map(null_mut(), size, libc::PROT_READ | libc::PROT_EXEC, flags, file).map_err(close)?;
    match map(null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, file) {
        Ok(writable) => Ok(DualMapping { executable, writable, file }),
        Err(error) => {
            // SAFETY: [mapping] the mapping was made above and nothing refers to it.
            unsafe { unmap(executable, size) };
            Err(close(error))
        }
    }
}

impl DualMapping {
    /// Gives the memory behind a page-aligned range back to the system; it reads as zero afterwards.
    pub(crate) fn discard(&self, offset: usize, size: usize) {
        if refusals::allow().is_err() {
            return;
        }
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: [foreign function] `file` is open as long as `self`; a failure only wastes memory.
        unsafe { libc::fallocate(self.file, mode, offset as libc::off_t, size as libc::off_t) };
    }
}

impl DualMapping {
    /// Replaces the pages of a page-aligned range of the executable view.
    ///
    /// # Safety
    ///
    /// - The range lies in the mapping, and its owner is who calls.
    unsafe fn remap(
        &self,
        offset: usize,
        size: usize,
        protection: libc::c_int,
        flags: libc::c_int,
        file: libc::c_int,
    ) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        refusals::allow()?;
        let start = self.executable.as_ptr().wrapping_add(offset);
        let flags = flags | libc::MAP_FIXED;
        // SAFETY: [mapping] the range lies in this mapping and belongs to the caller.
        let found = unsafe {
            libc::mmap(start.cast(), size, protection, flags, file, offset as libc::off_t)
        };
        if found == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Puts zeroed memory of this process alone, readable and writable, into the executable view.
    ///
    /// # Safety
    ///
    /// - The page-aligned range lies in the mapping, and its owner is who calls.
    pub(crate) unsafe fn make_private(&self, offset: usize, size: usize) -> io::Result<()> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: [mapping] the caller's duty is the same.
        unsafe { self.remap(offset, size, libc::PROT_READ | libc::PROT_WRITE, flags, -1) }
    }

    /// Puts the file's memory, readable and executable, back into the executable view.
    ///
    /// # Safety
    ///
    /// - The page-aligned range lies in the mapping, and its owner is who calls.
    pub(crate) unsafe fn make_shared(&self, offset: usize, size: usize) -> io::Result<()> {
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: [mapping] the caller's duty is the same.
        unsafe { self.remap(offset, size, libc::PROT_READ | libc::PROT_EXEC, flags, self.file) }
    }
}

/// Lowest and highest address of this thread's stack.
pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    let first = first_stack_bounds();
    debug_assert!(
        first.is_none_or(|(low, _)| asked_stack_bounds().is_none_or(|asked| asked.0 == low))
    );
    first.or_else(asked_stack_bounds)
}

/// Those of the process's first thread, if this is it, by what the system tells every program: the C
/// library reads a file of all mappings for it, which takes 40 us.
fn first_stack_bounds() -> Option<(usize, usize)> {
    /// The system keeps at least twice as much free of other mappings.
    const LARGEST: usize = 64 << 20;
    // SAFETY: [foreign function] `limit` is written by the call that returns 0; the system gives the address of a
    // string that lives as long as the process, or 0.
    let (size, end) = unsafe {
        let mut limit = MaybeUninit::<libc::rlimit>::uninit();
        if libc::getpid() != libc::gettid()
            || libc::getrlimit(libc::RLIMIT_STACK, limit.as_mut_ptr()) != 0
        {
            return None;
        }
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if name.is_null() {
            return None;
        }
        (limit.assume_init().rlim_cur as usize, name as usize + libc::strlen(name) + 1)
    };
    // The program's name lies on top, and above it one empty word (Linux, fs/exec.c).
    let high = end + size_of::<usize>();
    let low = high.checked_sub(size & !(page_size() - 1))?;
    let marker = 0u8;
    // A thread that forked is the first of its process, on another stack.
    let is_here = (low..high).contains(&(&raw const marker as usize));
    (is_here && size <= LARGEST && high.is_multiple_of(page_size())).then_some((low, high))
}

fn asked_stack_bounds() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: [foreign function] `attributes` is written by the first call if it returns 0, read by the
    // second, and destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let (mut low, mut size) = (null_mut(), 0);
        let result = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (result == 0).then_some((low as usize, low as usize + size))
    }
}

/// What the handler is told about a fault.
pub(crate) struct Fault {
    /// The instruction.
    pub(crate) pc: usize,
    /// Its frame pointer.
    pub(crate) fp: usize,
    /// What the register held that code which pays has its fuel in.
    pub(crate) spent: u64,
    /// The address that it may not touch; `None` for an instruction that fails in itself.
    pub(crate) address: Option<usize>,
}

/// Where a thread goes on after a fault that was taken care of: at `pc`, with `context` in the register
/// that the fault shim expects.
pub(crate) struct Resume {
    pub(crate) pc: usize,
    pub(crate) context: usize,
}

type Handler = fn(&Fault) -> Option<Resume>;

static HANDLER: OnceLock<Handler> = OnceLock::new();
// A bus error says that memory is broken or a file cut off, never that a guest did wrong.
const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE];
static PREVIOUS: OnceLock<[libc::sigaction; 3]> = OnceLock::new();
/// Codes of a segmentation fault whose address is known: nothing is mapped there, or protected.
const SEGV_MAPERR: libc::c_int = 1;
const SEGV_ACCERR: libc::c_int = 2;
/// Code of a fault of which the system tells no address, such as that of an address which no memory
/// can have. Codes of signals that a process sent are 0 or less.
const SI_KERNEL: libc::c_int = 0x80;

/// Installs `handler` for faults of this process, once; handlers that were there before go on getting
/// what is not ours.
pub(crate) fn install(handler: Handler) -> io::Result<()> {
    static INSTALLED: OnceLock<Option<i32>> = OnceLock::new();
    let error = INSTALLED.get_or_init(|| {
        HANDLER.set(handler).expect("set once, under INSTALLED");
        // SAFETY: [foreign function] all-zero is a valid `sigaction`: default handler, empty mask.
        let mut previous: [libc::sigaction; 3] = unsafe { std::mem::zeroed() };
        for (signal, previous) in SIGNALS.iter().zip(&mut previous) {
            // SAFETY: [foreign function] a null new action only reads the present one.
            if unsafe { libc::sigaction(*signal, std::ptr::null(), previous) } != 0 {
                return io::Error::last_os_error().raw_os_error();
            }
        }
        // Known before the first of our handlers can run.
        let _ = PREVIOUS.set(previous);
        for signal in SIGNALS {
            // SAFETY: [foreign function] as above.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
            // SAFETY: [signal handler] `on_signal` has the signature that SA_SIGINFO asks for.
            if unsafe { libc::sigaction(signal, &action, null_mut()) } != 0 {
                return io::Error::last_os_error().raw_os_error();
            }
        }
        None
    });
    match error {
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(*code)),
    }
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let ucontext = context.cast::<libc::ucontext_t>();
    // SAFETY: [signal handler] the system passes a valid `siginfo_t` and `ucontext_t`, exclusively.
    let (registers, info_ref) = unsafe { (&mut (*ucontext).uc_mcontext.gregs, &*info) };
    let pc = registers[libc::REG_RIP as usize] as usize;
    let fp = registers[libc::REG_RBP as usize] as usize;
    let spent = registers[libc::REG_R15 as usize] as u64;
    let fault = match (signal, info_ref.si_code) {
        (libc::SIGSEGV, SEGV_MAPERR | SEGV_ACCERR) => {
            // SAFETY: [signal handler] signal and code are those of a fault, which has an address.
            Some(Fault { pc, fp, spent, address: Some(unsafe { info_ref.si_addr() } as usize) })
        }
        (libc::SIGILL | libc::SIGFPE, 1..SI_KERNEL) => Some(Fault { pc, fp, spent, address: None }),
        _ => None,
    };
    if let Some(resume) = fault.and_then(|fault| HANDLER.get()?(&fault)) {
        registers[libc::REG_RIP as usize] = resume.pc as i64;
        registers[libc::REG_RBX as usize] = resume.context as i64;
        return;
    }
    let position = SIGNALS.iter().position(|s| *s == signal).unwrap_or(0);
    let Some(previous) = PREVIOUS.get().map(|all| &all[position]) else { return };
    let next = previous.sa_sigaction;
    if next == libc::SIG_DFL || next == libc::SIG_IGN {
        // SAFETY: [signal handler] puts the earlier disposition back; returning repeats the instruction,
        // whose fault then meets it.
        unsafe { libc::sigaction(signal, previous, null_mut()) };
    } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: [signal handler] with SA_SIGINFO the earlier handler has this signature.
        let next: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(next) };
        next(signal, info, context);
    } else {
        // SAFETY: [signal handler] without SA_SIGINFO the earlier handler has this signature.
        let next: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(next) };
        next(signal);
    }
}

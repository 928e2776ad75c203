//! Faults that are not the guest's reach the handler that the program had before the engine came;
//! those of the guest do not.
//!
//! The fault is one that the handler can repair: a write to a page that it makes writable. Guest code
//! is made by hand, since no tier stands below the kernel.

#![cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use wardian_module::image::{CodeImage, FuncRange, TrapSite};
use wardian_module::{ExternIndex, FuncIndex, Proposals, Settings, Trap};
use wardian_vm::*;

const PAGE: usize = 4096;
/// The page whose first access the program's handler repairs.
static PROTECTED: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// Faults that reached the program's handler.
static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn programs_own(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: [signal handler] the system passes a valid `siginfo_t`.
    let address = unsafe { (*info).si_addr() } as usize;
    let page = PROTECTED.load(SeqCst);
    if address < page as usize || address >= page as usize + PAGE {
        // Nothing to repair: the fault would repeat for ever.
        // SAFETY: [foreign function] `_exit` may be called in a signal handler.
        unsafe { libc::_exit(99) }
    }
    SEEN.fetch_add(1, SeqCst);
    // SAFETY: [mapping] `protect` made the page and this test alone uses it.
    unsafe { libc::mprotect(page.cast(), PAGE, libc::PROT_READ | libc::PROT_WRITE) };
}

/// Makes the page inaccessible, writes to it, and says how many faults the program's handler saw.
fn fault_outside_guest_code() -> usize {
    let (page, before) = (PROTECTED.load(SeqCst), SEEN.load(SeqCst));
    // SAFETY: [mapping] the page was mapped below and this test alone uses it; the handler makes it
    // writable again before the write is repeated.
    unsafe {
        assert_eq!(libc::mprotect(page.cast(), PAGE, libc::PROT_NONE), 0);
        page.write_volatile(7);
        assert_eq!(page.read_volatile(), 7);
    }
    SEEN.load(SeqCst) - before
}

struct TestHost {
    store: Store,
    /// Faults outside guest code that host functions made.
    outside: usize,
}

impl Host for TestHost {
    fn kernel(&mut self) -> &mut Store {
        &mut self.store
    }

    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure> {
        panic!("the test's code calls no builtin, but {call:?}")
    }
}

/// `(module (func (export "f")) (func (export "g")))` with code by hand: `f` traps by `ud2`, `g`
/// returns.
fn code() -> Arc<Code> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.extend([1, 4, 1, 0x60, 0, 0, 3, 3, 2, 0, 0]);
    wasm.extend([7, 9, 2, 1, b'f', 0, 0, 1, b'g', 0, 1]);
    wasm.extend([10, 7, 2, 2, 0, 0x0b, 2, 0, 0x0b]);
    let (module, _) = wardian_module::decode(wasm, Proposals::default()).expect("it is valid");
    // push rbp; mov rbp, rsp; ud2 | push rbp; mov rbp, rsp; pop rbp; ret
    let text = vec![0x55, 0x48, 0x89, 0xe5, 0x0f, 0x0b, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3];
    let image = CodeImage {
        text,
        funcs: vec![FuncRange { start: 0, end: 6 }, FuncRange { start: 6, end: 12 }],
        traps: vec![TrapSite { offset: 4, trap: Trap::UnreachableCodeReached }],
        locations: Vec::new(),
        inlined: Vec::new(),
        ..CodeImage::default()
    };
    Arc::new(Code::publish(Arc::new(module), image).expect("there is memory for 12 bytes"))
}

#[test]
fn faults_outside_guest_code_reach_the_earlier_handler() {
    // SAFETY: [foreign function] a fresh mapping touches no memory in use; all-zero is a valid
    // `sigaction`, and the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        PROTECTED.store(page.cast(), SeqCst);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = programs_own as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
    }
    assert_eq!(fault_outside_guest_code(), 1, "before the engine");

    let limits = StoreLimits { max_wasm_stack: 64 << 10, backtrace_frames: 4 };
    let store = Store::new::<TestHost>(limits).expect("handlers can be installed");
    let mut host = TestHost { store, outside: 0 };
    assert_eq!(fault_outside_guest_code(), 1, "with the engine's handler");

    let instance = host.store.instantiate(code(), &[], &Settings::default());
    let instance = instance.expect("it imports nothing");
    let func = |index: u32| match host
        .store
        .instance_extern(instance, ExternIndex::Func(FuncIndex(index)))
    {
        Some(Extern::Func(id)) => id,
        other => panic!("expected a function, found {other:?}"),
    };
    let (traps, returns) = (func(0), func(1));
    // A fault that a host function makes while an activation is live.
    let from_host = HostFunc::wrap::<TestHost, _, (), ()>(|call: Call<'_, TestHost>, ()| {
        call.host.outside += fault_outside_guest_code();
        Ok(())
    });
    let from_host = host.store.host_func(Arc::new(from_host), None).expect("for this host type");
    for round in 1..=3 {
        let seen = SEEN.load(SeqCst);
        match call(&mut host, traps, &[], &mut []) {
            Err(CallError::Exit(exit)) => {
                let Failure::Trap(report) = exit.failure else { panic!("{exit:?}") };
                assert_eq!(report.trap, Trap::UnreachableCodeReached);
                assert_eq!(exit.frames.len(), 1);
            }
            other => panic!("expected a trap, found {other:?}"),
        }
        assert_eq!(SEEN.load(SeqCst), seen, "the guest's fault is none of the program's");
        call(&mut host, returns, &[], &mut []).expect("it returns");
        call(&mut host, from_host, &[], &mut []).expect("it returns");
        assert_eq!(host.outside, round, "inside an activation");
        assert_eq!(fault_outside_guest_code(), 1, "after traps");
    }
    let elsewhere = std::thread::spawn(fault_outside_guest_code);
    assert_eq!(elsewhere.join().expect("it returns"), 1, "on a thread without activations");
}

//! A fault at an instruction that may trap is a trap only if the address is one that such code can
//! reach; any other ends the process, since then the engine is wrong.
//!
//! Guest code is made by hand: what tiers make cannot do most of this.

#![cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use wardian_module::image::{CodeImage, FuncRange, TrapSite};
use wardian_module::layout::FuncRef;
use wardian_module::*;
use wardian_vm::*;

const PAGE: u64 = 1 << 16;
const MEMORY: Trap = Trap::MemoryOutOfBounds;
const NULL: Trap = Trap::NullReference;
const CALL: Trap = Trap::IndirectCallToNull;
const STACK: Trap = Trap::StackOverflow;
/// The meaning of a fault in each function.
const TRAPS: [Trap; 4] = [MEMORY, NULL, CALL, STACK];

struct TestHost(Store);

impl Host for TestHost {
    fn kernel(&mut self) -> &mut Store {
        &mut self.0
    }

    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure> {
        panic!("the test's code calls no builtin, but {call:?}")
    }
}

impl TestHost {
    fn new() -> TestHost {
        let limits = StoreLimits { max_wasm_stack: 64 << 10, backtrace_frames: 4 };
        TestHost(Store::new::<TestHost>(limits).expect("handlers can be installed"))
    }

    /// A memory of one page that may have two.
    fn memory(&mut self, settings: &Settings) -> MemoryId {
        let limits = Limits { min: 1, max: Some(2) };
        let ty = MemoryType { limits, index: IndexType::I32, shared: false, page_size_log2: 16 };
        self.0.memory(ty, settings).expect("there is address space")
    }

    /// Reads at `address` by the function whose fault means `trap`.
    fn read_at(&mut self, instance: InstanceId, trap: Trap, address: u64) -> Option<TrapReport> {
        let index = TRAPS.iter().position(|t| *t == trap).expect("one of the list");
        let func = self.0.instance_func(instance, FuncIndex(index as u32)).expect("it is exported");
        match call(self, func, &[Value::I64(address as i64)], &mut []) {
            Ok(()) => None,
            Err(CallError::Exit(exit)) => match exit.failure {
                Failure::Trap(report) => Some(report),
                other => panic!("expected a trap, found {other:?}"),
            },
            other => panic!("expected a trap or none, found {other:?}"),
        }
    }
}

/// A module of one exported `(func (param i64))` for each of [`TRAPS`], which reads at its parameter.
fn code() -> Arc<Code> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.extend([1, 5, 1, 0x60, 1, 0x7e, 0]);
    wasm.extend([3, 5, 4, 0, 0, 0, 0]);
    wasm.extend([7, 17, 4, 1, b'a', 0, 0, 1, b'b', 0, 1, 1, b'c', 0, 2, 1, b'd', 0, 3]);
    wasm.extend([10, 13, 4, 2, 0, 0x0b, 2, 0, 0x0b, 2, 0, 0x0b, 2, 0, 0x0b]);
    let (module, _) = decode(wasm, Proposals::default()).expect("it is valid");
    // push rbp; mov rbp, rsp; mov rax, [rsi]; pop rbp; ret
    let one = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x8b, 0x06, 0x5d, 0xc3];
    let (mut text, mut funcs, mut traps) = (Vec::new(), Vec::new(), Vec::new());
    for trap in TRAPS {
        let start = text.len() as u32;
        text.extend(one);
        funcs.push(FuncRange { start, end: text.len() as u32 });
        traps.push(TrapSite { offset: start + 4, trap });
    }
    let image = CodeImage { text, funcs, traps, ..CodeImage::default() };
    Arc::new(Code::publish(Arc::new(module), image).expect("there is memory for it"))
}

#[test]
fn faults_in_guards_and_of_null_are_traps() {
    let settings = Settings::default();
    let mut host = TestHost::new();
    let (first, second) = (host.memory(&settings), host.memory(&settings));
    let instance = host.0.instantiate(code(), &[], &settings).expect("it imports nothing");
    for memory in [first, second] {
        let base = host.0.memory_base(memory) as u64;
        let end = base + settings.memory_reservation + settings.memory_guard_size;
        for address in [base + PAGE, base + (1 << 32), end - 8] {
            let report = host.read_at(instance, MEMORY, address).expect("it faults");
            assert_eq!((report.trap, report.address), (MEMORY, Some(address as usize)));
        }
        // The address is that of the first byte that may not be read.
        let report = host.read_at(instance, MEMORY, base + PAGE - 4).expect("it faults");
        assert_eq!(report.address, Some((base + PAGE) as usize));
        assert_eq!(host.read_at(instance, MEMORY, base + PAGE - 8), None);
    }
    let base = host.0.memory_base(first) as u64;
    assert_eq!(host.0.memory_grow(first, 1).expect("inside its limit"), 1);
    assert_eq!(host.read_at(instance, MEMORY, base + PAGE), None, "it is memory now");
    assert!(host.read_at(instance, MEMORY, base + 2 * PAGE).is_some());
    for address in [0, 8, size_of::<FuncRef>() as u64 - 8] {
        let report = host.read_at(instance, NULL, address).expect("it faults");
        assert_eq!((report.trap, report.address), (NULL, None));
    }
}

/// What must not be taken for a trap: a name, what the fault's instruction may mean, and the address.
fn elsewhere(host: &mut TestHost, other: &mut TestHost) -> Vec<(&'static str, Trap, u64)> {
    let settings = Settings::default();
    let base = |host: &TestHost, memory| host.0.memory_base(memory) as u64;
    let memory = host.memory(&settings);
    let guard = base(host, memory) + PAGE;
    let others = other.memory(&settings);
    let others = base(other, others) + PAGE;
    let checked = Settings { signals_based_traps: false, ..Settings::default() };
    let checked = host.memory(&checked);
    let checked = base(host, checked) + PAGE;
    vec![
        ("a memory access at null", MEMORY, 0),
        ("a memory access that no memory can have", MEMORY, 1 << 63),
        ("a memory access behind a memory of another store", MEMORY, others),
        ("a memory access behind a memory whose accesses are checked", MEMORY, checked),
        ("a null reference behind a memory", NULL, guard),
        ("a null reference past a function reference", NULL, size_of::<FuncRef>() as u64),
        ("a null reference that no memory can have", NULL, 1 << 63),
        ("a call through null, which is checked before", CALL, 0),
        ("a call through null behind a memory", CALL, guard),
        ("a stack check at null", STACK, 0),
        ("a stack check behind a memory", STACK, guard),
    ]
}

/// Set for a child that is to fault.
const CASE: &str = "WARDIAN_TEST_FAULT";

#[test]
fn faults_elsewhere_end_the_process() {
    let (mut host, mut other) = (TestHost::new(), TestHost::new());
    let cases = elsewhere(&mut host, &mut other);
    if let Ok(name) = std::env::var(CASE) {
        let (_, trap, address) = *cases.iter().find(|case| case.0 == name).expect("a case");
        let instance =
            host.0.instantiate(code(), &[], &Settings::default()).expect("it imports nothing");
        // SAFETY: [foreign function] the limits are valid: no core is to be written.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
        }
        println!("ready");
        println!("went on: {:?}", host.read_at(instance, trap, address));
        return;
    }
    for (name, ..) in cases {
        let output = Command::new(std::env::current_exe().expect("it has a name"))
            .args(["--exact", "faults_elsewhere_end_the_process", "--nocapture"])
            .env(CASE, name)
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("ready") && !text.contains("went on"), "{name}: {text}");
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{name}: {}", output.status);
    }
}

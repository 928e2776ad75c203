//! Code that comes function by function: first calls, replacement, traps and frames in it. Guest code
//! is made by hand, since no tier stands below the kernel.

#![cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]

mod common;

use common::{in_child, wait_for};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use wardian_module::image::{FunctionCode, Location, Reloc, RelocTarget, Starts, TrapSite};
use wardian_module::layout::{LIVE_SLOT, ModuleTable, StoreContext, VmLayout};
use wardian_module::*;
use wardian_vm::*;

struct TestHost(Store);

impl Host for TestHost {
    fn kernel(&mut self) -> &mut Store {
        &mut self.0
    }

    fn builtin(&mut self, call: BuiltinCall) -> Result<u64, Failure> {
        panic!("the test's code calls no builtin of the host, but {call:?}")
    }
}

type Make = dyn Fn(&Tiered, DefinedFuncIndex) -> Result<FunctionCode, Failure> + Send + Sync;
type Hot = dyn Fn(&Tiered, DefinedFuncIndex, Option<u32>) -> i32 + Send + Sync;

/// Makes code by a closure and counts how often it is asked.
struct TestSource {
    made: Arc<AtomicUsize>,
    lock: Mutex<()>,
    make: Box<Make>,
    hot: Box<Hot>,
}

impl Source for TestSource {
    fn compile(&self, code: &Arc<Code>, func: DefinedFuncIndex) -> Result<(), Failure> {
        let _lock = self.lock.lock();
        let tiered = code.as_tiered().unwrap();
        if tiered.tier(func).is_none() {
            self.made.fetch_add(1, SeqCst);
            let made = (self.make)(tiered, func)?;
            // A faster version may have come meanwhile.
            tiered.publish(func, Tier::Baseline, &made).unwrap();
        }
        Ok(())
    }

    fn hot(&self, code: &Arc<Code>, func: DefinedFuncIndex, head: Option<u32>) -> i32 {
        (self.hot)(code.as_tiered().unwrap(), func, head)
    }
}

/// A module with `count` functions of the first type of a type section's content; all are exported.
fn module(types: &[u8], count: usize) -> Arc<Module> {
    fn leb(mut n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let byte = (n & 0x7f) as u8;
            n >>= 7;
            bytes.push(if n == 0 { byte } else { byte | 0x80 });
            if n == 0 {
                return bytes;
            }
        }
    }
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], &leb(content.len())[..], content].concat()
    }
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.extend(section(1, types));
    wasm.extend(section(3, &[leb(count), vec![0; count]].concat()));
    let exports = (0..count).flat_map(|n| {
        let name = n.to_string();
        [leb(name.len()), name.into_bytes(), vec![0], leb(n)].concat()
    });
    wasm.extend(section(7, &[leb(count), exports.collect()].concat()));
    // `unreachable`, which has every type.
    wasm.extend(section(10, &[leb(count), [3, 0, 0, 0x0b].repeat(count)].concat()));
    Arc::new(decode(wasm, Proposals::all_built()).expect("it is valid").0)
}

struct Setup {
    host: TestHost,
    code: Arc<Code>,
    instance: InstanceId,
    made: Arc<AtomicUsize>,
}

fn setup(module: Arc<Module>, make: Box<Make>, hot: Box<Hot>) -> Setup {
    let made = Arc::new(AtomicUsize::new(0));
    let source = TestSource { made: made.clone(), lock: Mutex::new(()), make, hot };
    let code = Arc::new(Code::tiered(module, Box::new(source)).unwrap());
    let (host, instance) = instantiate(&code);
    Setup { host, code, instance, made }
}

fn instantiate(code: &Arc<Code>) -> (TestHost, InstanceId) {
    let limits = StoreLimits { max_wasm_stack: 64 << 10, backtrace_frames: 4 };
    let mut store = Store::new::<TestHost>(limits).unwrap();
    let instance = store.instantiate(code.clone(), &[], &Settings::default()).unwrap();
    (TestHost(store), instance)
}

fn func(host: &TestHost, instance: InstanceId, index: u32) -> FuncId {
    host.0.instance_func(instance, FuncIndex(index)).expect("it is exported")
}

fn never_hot() -> Box<Hot> {
    Box::new(|_, _, _| panic!("the test's code does not count"))
}

/// `() -> i32`, as a type section's content.
const RETURNS_I32: &[u8] = &[1, 0x60, 0, 1, 0x7f];

/// A function with the usual frame around `body`, at the end of which it returns.
fn framed(body: &[u8]) -> FunctionCode {
    let bytes = [&[0x55, 0x48, 0x89, 0xe5], body, &[0x5d, 0xc3]].concat();
    FunctionCode { bytes, starts: Starts::multiples_of(16), ..FunctionCode::default() }
}

/// `mov eax, value`
fn constant(value: u32) -> Vec<u8> {
    [&[0xb8][..], &value.to_le_bytes()].concat()
}

fn call_i32(host: &mut TestHost, func: FuncId) -> Result<i32, CallError> {
    let mut results = [Value::I32(0)];
    call(host, func, &[], &mut results)?;
    match results {
        [Value::I32(value)] => Ok(value),
        other => panic!("expected an i32, found {other:?}"),
    }
}

#[test]
fn the_first_call_compiles_and_keeps_all_arguments() {
    // (i64 * 5, f64 * 8, i64) -> (i64, i64, f64, f64): one argument travels on the stack.
    let params = [&[0x7e; 5][..], &[0x7c; 8], &[0x7e]].concat();
    let types =
        [&[1, 0x60, params.len() as u8][..], &params, &[4, 0x7e, 0x7e, 0x7c, 0x7c]].concat();
    let make = |_: &Tiered, _| {
        // mov rax, rsi; mov rcx, r9; add rax, [rbp + 16]; movaps xmm0, xmm7; pop rbp; ret 16
        let body = [
            0x48, 0x89, 0xf0, 0x4c, 0x89, 0xc9, 0x48, 0x03, 0x45, 0x10, 0x0f, 0x28, 0xc7, 0x5d,
            0xc2, 0x10, 0,
        ];
        Ok(framed(&body))
    };
    let mut it = setup(module(&types, 1), Box::new(make), never_hot());
    let func = func(&it.host, it.instance, 0);
    for _ in 0..2 {
        let ints = [1, 2, 3, 4, 5].map(Value::I64);
        let floats = [10.0f64, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0];
        let params: Vec<_> = ints
            .into_iter()
            .chain(floats.map(|x| Value::F64(x.to_bits())))
            .chain([Value::I64(1000)])
            .collect();
        let mut results = [Value::I64(0), Value::I64(0), Value::F64(0), Value::F64(0)];
        call(&mut it.host, func, &params, &mut results).unwrap();
        let expected = [
            Value::I64(1001),
            Value::I64(5),
            Value::F64(17.0f64.to_bits()),
            Value::F64(11.0f64.to_bits()),
        ];
        assert_eq!(results, expected);
    }
    assert_eq!(it.made.load(SeqCst), 1);
}

/// Code that calls function `callee` of a module with one type through its slot, and adds 1.
fn calls_slot(callee: u32) -> FunctionCode {
    // call [rip + distance]; add eax, 1
    let mut code = framed(&[0xff, 0x15, 0, 0, 0, 0, 0x83, 0xc0, 1]);
    let slot = ModuleTable::slot(1, DefinedFuncIndex(callee));
    let addend = i64::from(slot) - 4;
    code.relocs = vec![Reloc { offset: 6, target: RelocTarget::ModuleTable, addend }];
    code.locations = vec![Location { offset: 0, wasm: 100 + callee }];
    code
}

#[test]
fn calls_reach_the_highest_tier_and_never_an_older_one() {
    let make = |_: &Tiered, func: DefinedFuncIndex| {
        Ok(if func.0 == 0 { calls_slot(1) } else { framed(&constant(7)) })
    };
    let mut it = setup(module(RETURNS_I32, 2), Box::new(make), never_hot());
    let tiered = it.code.as_tiered().unwrap();
    let (outer, inner) = (func(&it.host, it.instance, 0), func(&it.host, it.instance, 1));
    assert_eq!(tiered.tier(DefinedFuncIndex(1)), None);
    assert_eq!(call_i32(&mut it.host, outer).unwrap(), 8);
    assert_eq!(it.made.load(SeqCst), 2);
    assert_eq!(tiered.tier(DefinedFuncIndex(1)), Some(Tier::Baseline));
    let publish =
        |tier, value| tiered.publish(DefinedFuncIndex(1), tier, &framed(&constant(value))).unwrap();
    assert!(publish(Tier::Optimized, 20));
    assert!(!publish(Tier::Optimized, 30));
    assert!(!publish(Tier::Baseline, 40));
    assert_eq!(call_i32(&mut it.host, outer).unwrap(), 21);
    assert_eq!(call_i32(&mut it.host, inner).unwrap(), 20);
    assert_eq!(it.made.load(SeqCst), 2);
    // A direct reference to another function.
    let mut direct = framed(&[0xe8, 0, 0, 0, 0]);
    let target = RelocTarget::Func(DefinedFuncIndex(1));
    direct.relocs = vec![Reloc { offset: 5, target, addend: -4 }];
    assert!(tiered.publish(DefinedFuncIndex(0), Tier::Optimized, &direct).unwrap());
    assert_eq!(call_i32(&mut it.host, outer).unwrap(), 20);
}

fn exit(result: Result<i32, CallError>) -> Exit {
    match result {
        Err(CallError::Exit(exit)) => *exit,
        other => panic!("expected a failure, found {other:?}"),
    }
}

fn trap(exit: &Exit) -> Trap {
    match &exit.failure {
        Failure::Trap(report) => report.trap,
        other => panic!("expected a trap, found {other:?}"),
    }
}

fn frames(exit: &Exit) -> Vec<(u32, Option<u32>)> {
    exit.frames.iter().map(|frame| (frame.func.0, frame.wasm_offset)).collect()
}

#[test]
fn a_function_without_code_fails_its_call() {
    let make = |_: &Tiered, func: DefinedFuncIndex| match func.0 {
        0 => Ok(calls_slot(1)),
        1 => Err(Trap::InvalidFunction.into()),
        _ => panic!("the compiler broke"),
    };
    let module = module(RETURNS_I32, 3);
    let body = module.bodies[1].start as u32;
    let mut it = setup(module, Box::new(make), never_hot());
    for round in 1..=3 {
        let outer = func(&it.host, it.instance, 0);
        let failed = exit(call_i32(&mut it.host, outer));
        assert_eq!(trap(&failed), Trap::InvalidFunction);
        assert_eq!(frames(&failed), [(1, Some(body)), (0, Some(101))]);
        assert_eq!(it.made.load(SeqCst), 1 + round);
    }
    let broken = func(&it.host, it.instance, 2);
    let failed = exit(call_i32(&mut it.host, broken));
    let Failure::Panic(payload) = failed.failure else { panic!("expected a panic") };
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the compiler broke"));
}

#[test]
fn faults_are_found_in_every_function_of_every_chunk() {
    // Function n is n bytes longer than the first, and traps at its end.
    let make = |_: &Tiered, func: DefinedFuncIndex| {
        let mut code = framed(&[&vec![0x90; 40 * func.index()][..], &[0x0f, 0x0b]].concat());
        let offset = 4 + 40 * func.0;
        code.traps = vec![TrapSite { offset, trap: Trap::UnreachableCodeReached }];
        code.locations =
            vec![Location { offset: 0, wasm: Location::NONE }, Location { offset, wasm: func.0 }];
        Ok(code)
    };
    const COUNT: u32 = 400;
    let mut it = setup(module(RETURNS_I32, COUNT as usize), Box::new(make), never_hot());
    for round in 0..2 {
        for index in (0..COUNT).rev() {
            let func = func(&it.host, it.instance, index);
            let failed = exit(call_i32(&mut it.host, func));
            assert_eq!(trap(&failed), Trap::UnreachableCodeReached, "round {round}");
            assert_eq!(frames(&failed), [(index, Some(index))]);
        }
    }
    assert!(it.code.text_size() > 3 << 20, "several chunks are filled");
    // One that fits no chunk.
    let large = framed(&[&vec![0x90; 3 << 20][..], &constant(5)].concat());
    let tiered = it.code.as_tiered().unwrap();
    assert!(tiered.publish(DefinedFuncIndex(0), Tier::Optimized, &large).unwrap());
    let large = func(&it.host, it.instance, 0);
    assert_eq!(call_i32(&mut it.host, large).unwrap(), 5);
}

/// Code that calls `Builtin::TierUp` for function 0 and `head`, and leaves for the address it gets, with
/// `value` as its live state; else it returns 0.
fn asks(head: u32, value: u32) -> FunctionCode {
    let operation = Operation::new(Builtin::TierUp, 0, head).pack();
    let mut body = vec![0x57, 0x50]; // push rdi; push rax
    body.extend([0x48, 0xbe]); // mov rsi, operation
    body.extend(operation.to_le_bytes());
    body.extend([0xff, 0x15, 0, 0, 0, 0]); // call [rip + distance]
    let call_end = body.len() as u32 + 4;
    body.extend([0x59, 0x5f]); // pop rcx; pop rdi
    body.extend([0x48, 0x85, 0xc0, 0x74, 0]); // test rax, rax; jz end
    let jump_end = body.len();
    body.extend([0x48, 0x8b, 0x0f]); // mov rcx, [rdi]: the store context
    let live_state = std::mem::offset_of!(StoreContext, live_state);
    body.extend([0x48, 0x8b, 0x49, live_state as u8]); // mov rcx, [rcx + live_state]
    body.extend([0xc7, 0x41, LIVE_SLOT as u8]); // mov dword [rcx + 16], value
    body.extend(value.to_le_bytes());
    body.extend([0x5d, 0xff, 0xe0]); // pop rbp; jmp rax
    body[jump_end - 1] = (body.len() - jump_end) as u8;
    let mut code = framed(&body);
    let addend = i64::from(ModuleTable::BUILTIN_SHIM) - 4;
    code.relocs = vec![Reloc { offset: call_end - 4, target: RelocTarget::ModuleTable, addend }];
    code
}

/// A replacement that returns its second live value plus 1.
fn replacement() -> FunctionCode {
    let live_state = std::mem::offset_of!(StoreContext, live_state);
    // mov rcx, [rdi]; mov rcx, [rcx + live_state]; mov eax, [rcx + 16]; add eax, 1
    let mut body = vec![0x48, 0x8b, 0x0f, 0x48, 0x8b, 0x49, live_state as u8];
    body.extend([0x8b, 0x41, LIVE_SLOT as u8, 0x83, 0xc0, 1]);
    framed(&body)
}

#[test]
fn a_hot_loop_goes_on_in_its_replacement() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let hot = move |tiered: &Tiered, func: DefinedFuncIndex, head: Option<u32>| {
        let mut seen = seen.lock().unwrap();
        seen.push((func.0, head));
        if seen.len() == 3 {
            assert!(tiered.publish_replacement(func, 4, &replacement(), 1000).unwrap());
            assert!(!tiered.publish_replacement(func, 4, &replacement(), 1000).unwrap());
        }
        50
    };
    let make = |_: &Tiered, func: DefinedFuncIndex| Ok(asks([0, 5, 6][func.index()], 41));
    let mut it = setup(module(RETURNS_I32, 3), Box::new(make), Box::new(hot));
    let results = [0, 1, 1, 0, 2].map(|index| {
        let func = func(&it.host, it.instance, index);
        call_i32(&mut it.host, func).unwrap()
    });
    // On entry (loop 0 of the operation) there is nothing to go on in, nor for the other loop.
    assert_eq!(results, [0, 0, 42, 0, 0]);
    let asked = asked.lock().unwrap();
    assert_eq!(*asked, [(0, None), (0, Some(4)), (0, Some(4)), (0, None), (0, Some(5))]);
}

#[test]
fn final_code_is_reached_without_stub_and_slot() {
    let [asking, callee, reads, refers] = [0, 1, 2, 3].map(DefinedFuncIndex);
    // lea rax, [rip + distance]
    let mut address = framed(&[0x48, 0x8d, 0x05, 0, 0, 0, 0]);
    address.relocs = vec![Reloc { offset: 7, target: RelocTarget::Func(callee), addend: -4 }];
    let module = module(RETURNS_I32, 4);
    let layout = VmLayout::new(&module);
    let position = module.func_refs[callee.index()].expect("it is exported");
    // mov rax, [rdi + offset]
    let code_of_callee =
        [&[0x48, 0x8b, 0x87][..], &layout.func_ref(position).to_le_bytes()].concat();
    let first = address.clone();
    let make = move |_: &Tiered, func: DefinedFuncIndex| {
        Ok(match func {
            _ if func == asking => asks(0, 0),
            _ if func == reads => framed(&code_of_callee),
            _ if func == refers => first.clone(),
            _ => framed(&constant(7)),
        })
    };
    let mut it = setup(module, Box::new(make), Box::new(|_, _, _| 50));
    let tiered = it.code.as_tiered().unwrap();
    let of = |host: &mut TestHost, instance, index: DefinedFuncIndex| {
        let func = func(host, instance, index.0);
        call_i32(host, func).unwrap()
    };
    let stub = of(&mut it.host, it.instance, refers);
    assert_eq!(of(&mut it.host, it.instance, reads), stub);
    tiered.publish(callee, Tier::Baseline, &framed(&constant(8))).unwrap();
    of(&mut it.host, it.instance, asking);
    assert_eq!(of(&mut it.host, it.instance, reads), stub, "that code may change");
    tiered.publish(callee, Tier::Optimized, &framed(&constant(9))).unwrap();
    tiered.publish(refers, Tier::Optimized, &address).unwrap();
    let code = of(&mut it.host, it.instance, refers);
    assert_ne!(code, stub);
    assert_eq!(of(&mut it.host, it.instance, reads), stub, "nobody has come by");
    of(&mut it.host, it.instance, asking);
    assert_eq!(of(&mut it.host, it.instance, reads), code);
    assert_eq!(of(&mut it.host, it.instance, callee), 9);
    let (mut host, instance) = instantiate(&it.code);
    assert_eq!(of(&mut host, instance, reads), code, "a new instance knows it");
}

#[test]
fn hammer_publication() {
    const COUNT: u32 = 200;
    let make = |_: &Tiered, func: DefinedFuncIndex| {
        if func.0 + 1 < COUNT { Ok(calls_slot(func.0 + 1)) } else { Ok(framed(&constant(1))) }
    };
    for _ in 0..20 {
        let it = setup(module(RETURNS_I32, COUNT as usize), Box::new(make), never_hot());
        let code = &it.code;
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(move || {
                    let (mut host, instance) = instantiate(code);
                    for index in [0, COUNT / 2, 1].into_iter().cycle().take(60) {
                        let func = func(&host, instance, index);
                        assert_eq!(call_i32(&mut host, func).unwrap() as u32, COUNT - index);
                    }
                });
            }
            scope.spawn(move || {
                let tiered = code.as_tiered().unwrap();
                for index in 0..COUNT - 1 {
                    let faster = calls_slot(index + 1);
                    tiered.publish(DefinedFuncIndex(index), Tier::Optimized, &faster).unwrap();
                }
            });
        });
        // Those that the publisher reached first were never asked for.
        assert!((1..=COUNT as usize).contains(&it.made.load(SeqCst)));
    }
}

#[test]
fn broken_code_is_refused() {
    let make = |_: &Tiered, _| Ok(framed(&constant(1)));
    let it = setup(module(RETURNS_I32, 2), Box::new(make), never_hot());
    let tiered = it.code.as_tiered().unwrap();
    let refused = |change: fn(&mut FunctionCode)| {
        let mut code = framed(&constant(1));
        change(&mut code);
        let result = tiered.publish(DefinedFuncIndex(0), Tier::Baseline, &code);
        assert!(matches!(result, Err(CodeError::Image(_))), "{result:?}");
    };
    refused(|code| code.bytes.clear());
    refused(|code| code.starts = Starts::from_bits(0));
    refused(|code| {
        code.relocs = vec![Reloc { offset: 8, target: RelocTarget::ModuleTable, addend: 0 }];
    });
    refused(|code| {
        let target = RelocTarget::Func(DefinedFuncIndex(2));
        code.relocs = vec![Reloc { offset: 0, target, addend: 0 }];
    });
    refused(|code| {
        let target = RelocTarget::ModuleTable;
        code.relocs = vec![Reloc { offset: 0, target, addend: 1 << 40 }];
    });
    refused(|code| code.traps = vec![TrapSite { offset: 11, trap: Trap::Interrupt }]);
    refused(|code| {
        let at = |offset| Location { offset, wasm: 0 };
        code.locations = vec![at(2), at(1)];
    });
    assert_eq!(tiered.tier(DefinedFuncIndex(0)), None);
}

#[test]
fn a_forked_child_keeps_the_code_it_inherited() {
    use std::io::{Read, Write, pipe};
    let make = |_: &Tiered, func: DefinedFuncIndex| Ok(framed(&constant(10 + func.0)));
    let mut it = setup(module(RETURNS_I32, 3), Box::new(make), never_hot());
    let funcs = [0, 1, 2].map(|index| func(&it.host, it.instance, index));
    assert_eq!(call_i32(&mut it.host, funcs[0]).unwrap(), 10);
    let publish = |code: &Code, index| {
        let tiered = code.as_tiered().unwrap();
        tiered.publish(DefinedFuncIndex(index), Tier::Optimized, &framed(&constant(90 + index)))
    };
    let (mut go, mut started) = (pipe().unwrap(), pipe().unwrap());
    let mut inherited = Some(it);
    let child = in_child(|| {
        let mut it = inherited.take().unwrap();
        // What the child tries stays its own.
        assert_eq!(call_i32(&mut it.host, funcs[0]).unwrap(), 10);
        assert!(matches!(publish(&it.code, 0), Err(CodeError::Forked)));
        it.code.as_tiered().unwrap().set_counter(DefinedFuncIndex(0), -5);
        assert!(!it.code.as_tiered().unwrap().is_own());
        started.1.write_all(&[1]).unwrap();
        go.0.read_exact(&mut [0]).unwrap();
        // The parent has faster code by now, and code of function 1.
        assert_eq!(call_i32(&mut it.host, funcs[0]).unwrap(), 10);
        assert_eq!(it.code.as_tiered().unwrap().tier(DefinedFuncIndex(1)), None);
        // Modules of the child's own have arenas of its own.
        let make = |_: &Tiered, _| Ok(framed(&constant(7)));
        let mut own = setup(module(RETURNS_I32, 1), Box::new(make), never_hot());
        let func = func(&own.host, own.instance, 0);
        assert_eq!(call_i32(&mut own.host, func).unwrap(), 7);
        drop(own);
        // Dropping takes nothing from the parent.
        drop(it);
    });
    let mut it = inherited.expect("the child took its own copy");
    started.0.read_exact(&mut [0]).unwrap();
    publish(&it.code, 0).unwrap();
    publish(&it.code, 1).unwrap();
    go.1.write_all(&[1]).unwrap();
    assert_eq!(call_i32(&mut it.host, funcs[0]).unwrap(), 90);
    wait_for(child);
    assert_eq!(funcs.map(|func| call_i32(&mut it.host, func).unwrap()), [90, 91, 12]);
}

/// A function, its address and its code.
type Told = (DefinedFuncIndex, usize, Vec<u8>);

/// Keeps what it is told, and says when what it returned is dropped.
struct TestWatch {
    plain: bool,
    told: Arc<Mutex<Vec<Told>>>,
    kept: Arc<()>,
}

impl Watch for TestWatch {
    fn published(&self, funcs: &[PublishedFunc<'_>]) -> Option<Kept> {
        let told = funcs.iter().map(|func| (func.func, func.address, func.bytes.to_vec()));
        self.told.lock().unwrap().extend(told);
        Some(Box::new(self.kept.clone()))
    }

    fn plain_memory(&self) -> bool {
        self.plain
    }
}

#[test]
fn who_watches_is_told_of_all_code_and_when_it_goes() {
    for plain in [false, true] {
        let made = Arc::new(AtomicUsize::new(0));
        let (told, kept) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(()));
        let told_before = told.clone();
        let make = Box::new(move |_: &Tiered, func: DefinedFuncIndex| {
            assert_eq!(
                told_before.lock().unwrap().len(),
                func.index(),
                "no sooner than it is made"
            );
            Ok(framed(&constant(func.0)))
        });
        let source = TestSource { made, lock: Mutex::new(()), make, hot: never_hot() };
        let watch = TestWatch { plain, told: told.clone(), kept: kept.clone() };
        let watch = Some(Box::new(watch) as Box<dyn Watch>);
        let code = Code::tiered_watched(module(RETURNS_I32, 2), Box::new(source), watch).unwrap();
        let code = Arc::new(code);
        let (mut host, instance) = instantiate(&code);
        for index in [0, 1, 0] {
            let func = func(&host, instance, index);
            assert_eq!(call_i32(&mut host, func).unwrap(), index as i32);
        }
        let tiered = code.as_tiered().unwrap();
        let faster = framed(&constant(7));
        assert!(tiered.publish(DefinedFuncIndex(1), Tier::Optimized, &faster).unwrap());
        assert!(!tiered.publish(DefinedFuncIndex(1), Tier::Baseline, &faster).unwrap());
        let told = told.lock().unwrap();
        let bytes: Vec<_> = told.iter().map(|(func, _, bytes)| (func.0, bytes.clone())).collect();
        let expected = [(0, 0), (1, 1), (1, 7)].map(|(f, n)| (f, framed(&constant(n)).bytes));
        assert_eq!(bytes, expected);
        // In plain memory protection is that of pages, so each function begins one.
        assert!(!plain || told.iter().all(|(_, address, _)| address.is_multiple_of(4096)));
        assert!(told.is_sorted_by_key(|(_, address, _)| *address));
        // One in `kept`, one in the watch, and one for each that was told.
        assert_eq!(Arc::strong_count(&kept), 2 + told.len());
        drop((host, code));
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}

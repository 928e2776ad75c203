//! What comes with the code: trap table, locations, relocations, the check of large frames.

#![forbid(unsafe_code)]

mod common;

use common::{compile, errors, parse, settings};
use wardian_cranelift::{CompileError, Compiler, Scratch};
use wardian_module::image::{FunctionCode, RelocTarget};
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{DefinedFuncIndex, FuncIndex, Settings, Trap};

fn functions(settings: &Settings, wat: &str) -> Vec<FunctionCode> {
    let (module, bodies) = parse(wat);
    let layout = VmLayout::new(&module);
    let compiler = Compiler::with_cpu(settings, "x86-64").unwrap().with_inlining(false);
    let mut scratch = Scratch::new();
    bodies
        .into_iter()
        .map(|body| {
            compiler.compile(&module, &layout, body, Linkage::Direct, &mut scratch).unwrap()
        })
        .collect()
}

/// Offset in the module of the instruction with this opcode byte that comes `nth`.
fn offset_of(wat: &str, opcode: u8, nth: usize) -> u32 {
    let (module, bodies) = parse(wat);
    let range = bodies[0].range.clone();
    let found = module.wasm[range.clone()].iter().enumerate().filter(|(_, byte)| **byte == opcode);
    (range.start + found.map(|(at, _)| at).nth(nth).expect("the opcode occurs")) as u32
}

#[test]
fn a_fault_is_in_the_trap_table_at_its_instruction() {
    let wat = "(module (memory 1) (func (param i32 i32) (result i32)
        (i32.div_u (i32.load (local.get 0)) (local.get 1))))";
    let image = compile(&settings(), wat).unwrap();
    let of = |trap| {
        let site = image.traps.iter().find(|site| site.trap == trap);
        image.location_at(site.expect("the trap is in the table").offset)
    };
    assert_eq!(of(Trap::MemoryOutOfBounds), Some(offset_of(wat, 0x28, 0)));
    assert_eq!(of(Trap::IntegerDivisionByZero), Some(offset_of(wat, 0x6e, 0)));
}

#[test]
fn return_addresses_of_raises_and_exits_tell_the_instruction() {
    let wat = "(module (memory 1) (func (param i32) (result i32)
        (if (local.get 0) (then (unreachable)))
        (i32.load (local.get 0))))";
    let without = Settings { signals_based_traps: false, ..settings() };
    let image = compile(&without, wat).unwrap();
    // A raise and the exit of a check both end in an undefined instruction right behind their call: the return
    // address.
    let ends = |trap| -> Vec<_> {
        let sites = image.traps.iter().filter(|site| site.trap == trap);
        sites.map(|site| image.location_at(site.offset - 1)).collect()
    };
    assert_eq!(ends(Trap::UnreachableCodeReached), [Some(offset_of(wat, 0x00, 2))]);
    assert_eq!(ends(Trap::MemoryOutOfBounds), [Some(offset_of(wat, 0x28, 0))]);
}

#[test]
fn a_stack_overflow_is_located_at_the_function() {
    let wat = "(module (func $f (call $f)))";
    let (_, bodies) = parse(wat);
    let start = bodies[0].range.start as u32;
    let image = compile(&settings(), wat).unwrap();
    let site = image.traps.iter().find(|site| site.trap == Trap::StackOverflow).unwrap();
    assert_eq!(image.location_at(site.offset), Some(start));
}

#[test]
fn functions_and_the_module_table_are_reached_by_distance() {
    let wat =
        "(module (memory 1) (func $f (call $g)) (func $g (drop (memory.grow (i32.const 1)))))";
    let code = functions(&settings(), wat);
    let target = |code: &FunctionCode| code.relocs.iter().map(|r| r.target).collect::<Vec<_>>();
    assert_eq!(target(&code[0]), [RelocTarget::Func(DefinedFuncIndex(1))]);
    assert_eq!(target(&code[1]), [RelocTarget::ModuleTable]);
}

/// `push rbp; mov rbp, rsp`
const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

#[test]
fn large_frames_are_checked_before_they_are_made() {
    // 400 vectors live across a call: 6,400 bytes.
    let sets: String = (0..400).map(|n| format!("(local.set {n} (call $g))")).collect();
    let sums: String = (0..400)
        .map(|n| format!("(local.set 0 (i8x16.add (local.get 0) (local.get {n})))"))
        .collect();
    let wat = format!(
        "(module (func $g (result v128) unreachable)
           (func (result v128) (local {}) {sets} {sums} (local.get 0)))",
        "v128 ".repeat(400)
    );
    let with_signals = functions(&settings(), &wat);
    let without = Settings { signals_based_traps: false, ..settings() };
    let code = functions(&without, &wat);
    // The gate jumps to the body that follows it: `jmp` to where a prologue is.
    let bodies_jumped_to = |code: &FunctionCode| -> Vec<usize> {
        let jumps = code.bytes.windows(5).enumerate().filter(|(_, bytes)| bytes[0] == 0xe9);
        let target = |(at, bytes): (usize, &[u8])| {
            let distance = i32::from_le_bytes(bytes[1..].try_into().unwrap());
            usize::try_from(at as i64 + 5 + i64::from(distance)).ok()
        };
        let is_body = |&at: &usize| code.bytes.get(at..at + 4) == Some(&PROLOGUE[..]);
        jumps.filter_map(target).filter(is_body).collect()
    };
    assert!(bodies_jumped_to(&with_signals[1]).is_empty());
    let bodies = bodies_jumped_to(&code[1]);
    let &[body] = &bodies[..] else { panic!("the function has one gate, not {bodies:?}") };
    assert_eq!(code[1].starts, with_signals[1].starts.before(body));
    // Nothing of it is left for whoever lays out the functions, who may put others in its place.
    let own = RelocTarget::Func(DefinedFuncIndex(1));
    assert!(code[1].relocs.iter().all(|reloc| reloc.target != own));
    assert!(code[1].traps.is_sorted_by_key(|site| site.offset));
    assert!(code[1].locations.is_sorted_by_key(|location| location.offset));
    // A small function has none.
    assert!(code[0].bytes.len() < 200);
}

#[test]
fn an_invalid_function_is_named() {
    let wat = "(module (func) (func (result i32) i64.const 1))";
    let errors = errors(&Compiler::new(&settings()).unwrap(), wat);
    let [CompileError::Invalid(error)] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(error.func, Some(FuncIndex(1)));
    let text = error.to_string();
    assert!(text.starts_with("func 1, offset 0x"), "{text}");
    assert!(text.contains("type mismatch: expected i32, found i64"), "{text}");
}

#[test]
fn the_same_function_compiles_to_the_same_code() {
    let wat = "(module (memory 1) (table 1 funcref) (type $t (func (param i32) (result i32)))
      (func (type $t)
        (call_indirect (type $t) (i32.load (local.get 0)) (i32.load offset=9 (local.get 0)))))";
    assert_eq!(functions(&settings(), wat), functions(&settings(), wat));
}

#[test]
fn hammer_compile_on_many_threads() {
    let wat = "(module (memory 1) (func (param i32) (result i32)
        (local.set 0 (i32.load (local.get 0))) (i32.mul (local.get 0) (i32.const 7))))";
    let expected = functions(&settings(), wat);
    let compiler = Compiler::with_cpu(&settings(), "x86-64").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut scratch = Scratch::new();
                for _ in 0..20 {
                    let (module, mut bodies) = parse(wat);
                    let layout = VmLayout::new(&module);
                    let body = bodies.pop().unwrap();
                    let code = compiler
                        .compile(&module, &layout, body, Linkage::Direct, &mut scratch)
                        .unwrap();
                    assert_eq!(code, expected[0]);
                }
            });
        }
    });
}

#[test]
fn calls_through_slots_refer_to_no_function() {
    let (module, bodies) = parse(
        "(module (func $f (result i32) (i32.const 1))
            (func (result i32) (i32.add (call $f) (call 1)))
            (func (result i32) (return_call $f)))",
    );
    let layout = VmLayout::new(&module);
    let compiler = Compiler::with_cpu(&settings(), "x86-64").unwrap();
    let mut scratch = Scratch::new();
    for body in bodies {
        let index = body.index;
        let code = compiler.compile(&module, &layout, body, Linkage::Slots, &mut scratch).unwrap();
        let table = |reloc: &wardian_module::image::Reloc| reloc.target == RelocTarget::ModuleTable;
        assert!(code.relocs.iter().all(table), "func {}: {:?}", index.0, code.relocs);
        assert_eq!(code.relocs.is_empty(), index.0 == 0);
    }
}

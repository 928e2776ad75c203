//! The code generator passes arguments where `module`'s calling convention says it does.
//!
//! Functions of random types each write one parameter to a global; the machine code shows where they
//! take it from. (Calls of real code with random types are tested by the kernel.)

#![forbid(unsafe_code)]

mod common;

use common::{parse, settings};
use std::fmt::Write;
use wardian_cranelift::{Compiler, Scratch};
use wardian_module::ValType;
use wardian_module::abi::{ArgLoc, CallLayout};
use wardian_module::layout::VmLayout;

const TYPES: [&str; 7] = ["i32", "i64", "f32", "f64", "v128", "funcref", "externref"];

/// A small generator of numbers, the same at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % bound
    }
}

/// Ways that the disassembly writes a location.
fn names(loc: ArgLoc, stack_bytes: u32) -> Vec<String> {
    match loc {
        ArgLoc::Int(n) => {
            let wide = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"][n as usize];
            let narrow = ["edi", "esi", "edx", "ecx", "r8d", "r9d"][n as usize];
            vec![format!("%{wide},"), format!("%{narrow},")]
        }
        ArgLoc::Vector(n) => vec![format!("%xmm{n},")],
        // Counted down from the end of the stack arguments.
        ArgLoc::Stack(offset) => {
            let below = stack_bytes - offset;
            vec![format!("<offset:0>+-{below:#x}(%rbp)"), format!("<offset:0>+-{below}(%rbp)")]
        }
    }
}

#[test]
fn parameters_are_where_the_layout_says() {
    let compiler = Compiler::with_cpu(&settings(), "x86-64").unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seen = [0; 3];
    for _ in 0..300 {
        let params: Vec<_> = (0..1 + random.below(24)).map(|_| TYPES[random.below(7)]).collect();
        let results: Vec<_> = (0..random.below(6)).map(|_| TYPES[random.below(5)]).collect();
        let chosen = random.below(params.len());
        let mut wat = String::from("(module");
        for ty in TYPES {
            let init = match ty {
                "v128" => "v128.const i64x2 0 0".to_string(),
                "funcref" => "ref.null func".to_string(),
                "externref" => "ref.null extern".to_string(),
                number => format!("{number}.const 0"),
            };
            write!(wat, " (global ${ty} (mut {ty}) ({init}))").unwrap();
        }
        let (ty, params, results) = (params[chosen], params.join(" "), results.join(" "));
        write!(
            wat,
            " (func (param {params}) (result {results}) (global.set ${ty} (local.get {chosen}))\
             (unreachable)))"
        )
        .unwrap();
        let (module, mut bodies) = parse(&wat);
        let layout = VmLayout::new(&module);
        let body = bodies.pop().unwrap();
        let call = CallLayout::new(module.func_type(module.func_index(body.index)).func_type());
        let code = compiler.disassembly(&module, &layout, body, &mut Scratch::new()).unwrap();
        // Some instruction moves it from there.
        let loc = call.params[chosen];
        let found = names(loc, call.stack_bytes).iter().any(|name| {
            code.lines().any(|line| {
                let line = line.trim();
                line.starts_with("mov") && line.contains(&format!(" {name}"))
            })
        });
        assert!(
            found,
            "{wat}\nparameter {chosen} at {loc:?} ({:?})\n{code}",
            names(loc, call.stack_bytes)
        );
        match loc {
            ArgLoc::Int(_) => seen[0] += 1,
            ArgLoc::Vector(_) => seen[1] += 1,
            ArgLoc::Stack(_) => seen[2] += 1,
        }
    }
    assert!(seen.iter().all(|count| *count > 30), "all kinds of places occur: {seen:?}");
}

#[test]
fn the_largest_signature_compiles() {
    let types = "i32 i64 f32 f64 v128 ".repeat(200);
    let gets: String = (0..1000).map(|n| format!("local.get {n} ")).collect();
    let wat = format!(
        "(module (type $t (func (param {types}) (result {types}))) (table 1 funcref)
           (func $f (type $t) {gets})
           (func (type $t) {gets} call $f)
           (func (type $t) {gets} return_call $f)
           (func (type $t) {gets} i32.const 0 call_indirect (type $t)))"
    );
    for (mode, settings) in common::modes() {
        common::compile(&settings, &wat).unwrap_or_else(|error| panic!("{mode}: {error}"));
    }
    let (module, _) = parse(&wat);
    let layout = CallLayout::new(module.types[0].func_type());
    assert_eq!(module.types[0].func_type().params()[4], ValType::V128);
    assert_eq!(layout.area_bytes, 16 * (1000 - 4));
}

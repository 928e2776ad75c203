//! Core dumps, as a reader of the format sees them: frames, contents of memories, values of globals.

#![forbid(unsafe_code)]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use wardian::*;
use wasmparser::{KnownCustom, Operator, Parser, Payload};

/// What a reader finds in a dump.
#[derive(Default, Debug)]
struct Read {
    name: String,
    modules: Vec<String>,
    /// Module, memories, globals.
    instances: Vec<(u32, Vec<u32>, Vec<u32>)>,
    /// Instance, function, offset of code; innermost first.
    frames: Vec<(u32, u32, u32)>,
    /// Minimum, maximum, 64 bits.
    memories: Vec<(u64, Option<u64>, bool)>,
    /// The operator that gives each its value, as text.
    globals: Vec<String>,
    /// Memory, offset, bytes.
    segments: Vec<(u32, u64, Vec<u8>)>,
}

impl Read {
    /// All bytes that are not zero, by memory and address.
    fn contents(&self) -> BTreeMap<(u32, u64), u8> {
        let mut found = BTreeMap::new();
        for (memory, offset, bytes) in &self.segments {
            for (at, byte) in (*offset..).zip(bytes).filter(|(_, byte)| **byte != 0) {
                assert_eq!(found.insert((*memory, at), *byte), None, "segments overlap");
            }
        }
        found
    }
}

fn read(dump: &[u8]) -> Read {
    let mut found = Read::default();
    for payload in Parser::new(0).parse_all(dump) {
        match payload.expect("a dump is a module") {
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::CoreDump(core) => found.name = core.name.into(),
                KnownCustom::CoreDumpModules(section) => {
                    found.modules = section.modules.iter().map(|name| name.to_string()).collect();
                }
                KnownCustom::CoreDumpInstances(section) => {
                    let instances = section.instances.into_iter();
                    found.instances =
                        instances.map(|i| (i.module_index, i.memories, i.globals)).collect();
                }
                KnownCustom::CoreDumpStack(section) => {
                    assert_eq!(section.name, "main");
                    let frames = section.frames.into_iter();
                    found.frames = frames
                        .map(|f| {
                            assert!(f.locals.is_empty() && f.stack.is_empty());
                            (f.instanceidx, f.funcidx, f.codeoffset)
                        })
                        .collect();
                }
                _ => panic!("unexpected section {}", section.name()),
            },
            Payload::MemorySection(memories) => {
                let memories = memories.into_iter().map(|memory| memory.unwrap());
                found.memories = memories
                    .map(|memory| (memory.initial, memory.maximum, memory.memory64))
                    .collect();
            }
            Payload::GlobalSection(globals) => {
                let globals = globals.into_iter().map(|global| global.unwrap());
                let value = |global: wasmparser::Global<'_>| {
                    let operator = global.init_expr.get_operators_reader().read().unwrap();
                    format!("{:?} {operator:?}", global.ty.content_type)
                };
                found.globals = globals.map(value).collect();
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment.unwrap();
                    let wasmparser::DataKind::Active { memory_index, offset_expr } = segment.kind
                    else {
                        panic!("a passive segment")
                    };
                    let offset = match offset_expr.get_operators_reader().read().unwrap() {
                        Operator::I32Const { value } => u64::from(value as u32),
                        Operator::I64Const { value } => value as u64,
                        other => panic!("an offset by {other:?}"),
                    };
                    found.segments.push((memory_index, offset, segment.data.to_vec()));
                }
            }
            Payload::Version { .. } | Payload::End(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    found
}

/// The engines of every mode, with this changed.
fn engines(change: impl Fn(&mut Config)) -> Vec<Engine> {
    let strategies = [Strategy::Optimizing, Strategy::Baseline, Strategy::Tiered];
    let engine = |(strategy, signals)| {
        let mut config = Config::new();
        config.strategy(strategy).signals_based_traps(signals).coredump_on_trap(true);
        change(&mut config);
        Engine::new(&config).unwrap()
    };
    strategies
        .into_iter()
        .flat_map(|strategy| [(strategy, true), (strategy, false)])
        .map(engine)
        .collect()
}

const TEXT: &str = r#"(module $plugin
    (import "host" "memory" (memory $shared 1))
    (import "host" "call" (func $call))
    (memory $own i64 3 7)
    (global $a (mut i32) (i32.const 5))
    (global $b f64 (f64.const -0.5))
    (global $c v128 (v128.const i64x2 1 2))
    (global $d (mut funcref) (ref.func $inner))
    (data (memory $own) (i64.const 65534) "\01\02\03\04")
    (func $inner (param i32)
      (global.set $a (i32.const -9))
      (i64.store $own (i64.const 196600) (i64.const -1))
      (i32.store $shared (local.get 0) (i32.const 0x01020304))
      (drop (i32.div_u (local.get 0) (i32.const 0))))
    (func $middle (param i32) (call $inner (local.get 0)) (call $call))
    (func (export "run") (param i32) (call $middle (local.get 0))))"#;

/// Offsets in the bodies of the instructions of a module that match, by function, imports counted.
fn offsets(wasm: &[u8], wanted: impl Fn(&Operator<'_>) -> bool) -> Vec<(u32, u32)> {
    let (mut found, mut func) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::ImportSection(imports) => {
                let imports = imports.into_imports().map(|import| import.unwrap());
                func +=
                    imports.filter(|i| matches!(i.ty, wasmparser::TypeRef::Func(_))).count() as u32;
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().unwrap().into_iter_with_offsets() {
                    let (operator, offset) = operator.unwrap();
                    if wanted(&operator) {
                        found.push((func, offset as u32 - body.range().start as u32));
                    }
                }
                func += 1;
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_trap_leaves_frames_memories_and_globals() -> Result<()> {
    let wasm = wat::parse_str(TEXT).unwrap();
    for engine in engines(|config| {
        config.wasm_memory64(true);
    }) {
        let mut store = Store::new(&engine, ());
        let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
        let call = Func::wrap(&mut store, || {});
        let imports = [memory.into(), call.into()];
        let module = Module::new(&engine, &wasm)?;
        let instance = Instance::new(&mut store, &module, &imports)?;
        let run = instance.get_typed_func::<i32, ()>(&mut store, "run")?;
        let error = run.call(&mut store, 1 << 12).unwrap_err();
        assert_eq!(
            (error.kind(), error.downcast_ref()),
            (ErrorKind::Trap, Some(&Trap::IntegerDivisionByZero))
        );
        assert!(error.is::<WasmBacktrace>());
        assert_eq!(
            error.to_string(),
            "wasm core dump: 1 module, 1 instance, 2 memories, 4 globals, 3 frames"
        );
        let dump: &WasmCoreDump = error.downcast_ref().unwrap();
        assert!(Module::same(&dump.modules()[0], &module));
        assert_eq!(dump.instances(), [instance]);
        let names: Vec<_> = dump.frames().iter().map(|frame| frame.func_name()).collect();
        assert_eq!(names, [Some("inner"), Some("middle"), None]);
        assert_eq!((dump.memories().len(), dump.globals().len()), (2, 4));

        let bytes = dump.serialize(&mut store, "plugin.wasm");
        let found = read(&bytes);
        assert_eq!(
            (found.name.as_str(), &found.modules[..]),
            ("plugin.wasm", &["plugin".to_string()][..])
        );
        assert_eq!(found.instances, [(0, vec![0, 1], vec![0, 1, 2, 3])]);
        assert_eq!(found.memories, [(1, None, false), (3, Some(7), true)]);
        let value = |name: &str, position: usize| {
            assert!(found.globals[position].contains(name), "{:?}", found.globals);
        };
        value("I32Const { value: -9 }", 0);
        value(&format!("F64Const {{ value: Ieee64({})", (-0.5f64).to_bits()), 1);
        value("V128Const", 2);
        value("RefNull", 3);
        let expected = [(0, 0x1000, 4), (0, 0x1001, 3), (0, 0x1002, 2), (0, 0x1003, 1)];
        let expected = expected.map(|(memory, at, byte)| ((memory, at), byte)).into_iter();
        let own = (65534..).zip(1u8..=4).chain((196_600..196_608).map(|at| (at, 0xff)));
        let expected: BTreeMap<_, _> =
            expected.chain(own.map(|(at, byte)| ((1, at), byte))).collect();
        assert_eq!(found.contents(), expected);

        let places = offsets(&wasm, |operator| {
            matches!(operator, Operator::I32DivU)
                || matches!(operator, Operator::Call { function_index } if *function_index > 0)
        });
        let expected: Vec<_> = places.iter().map(|(func, offset)| (0, *func, *offset)).collect();
        assert_eq!(expected.len(), 3);
        assert_eq!(found.frames, expected);

        let mut written = Vec::new();
        assert_eq!(dump.write_to(&store, "plugin.wasm", &mut written)?, 0);
        assert_eq!(written, bytes);
    }
    Ok(())
}

#[test]
fn frames_are_there_without_backtraces_and_through_host_functions() -> Result<()> {
    for engine in engines(|config| {
        config.wasm_backtrace_max_frames(None);
    }) {
        let mut store = Store::new(&engine, ());
        let trap = Func::wrap(&mut store, || -> Result<()> { Err(Trap::Interrupt.into()) });
        let module = Module::new(
            &engine,
            "(module (import \"\" \"\" (func $f)) (func (export \"g\") call $f))",
        )?;
        let first = Instance::new(&mut store, &module, &[trap.into()])?;
        let again = first.get_typed_func::<(), ()>(&mut store, "g")?;
        let through =
            Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| again.call(&mut caller, ()));
        let second = Instance::new(&mut store, &module, &[through.into()])?;
        let error =
            second.get_typed_func::<(), ()>(&mut store, "g")?.call(&mut store, ()).unwrap_err();
        assert!(!error.is::<WasmBacktrace>());
        let dumps = error.chain().filter(|layer| layer.to_string().starts_with("wasm core dump"));
        assert_eq!(dumps.count(), 1);
        let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
        let found = read(&dump.serialize(&store, ""));
        // Both are of one module, and the last of its instances stands for all.
        assert_eq!(found.instances.len(), 2);
        let frames: Vec<_> =
            found.frames.iter().map(|(instance, func, _)| (*instance, *func)).collect();
        assert_eq!(frames, [(1, 1), (1, 1)]);
    }
    Ok(())
}

#[test]
fn only_traps_are_dumped_and_only_on_request() -> Result<()> {
    let dump = |config: &Config, host: fn() -> Result<()>| -> Result<(Error, bool)> {
        let engine = Engine::new(config)?;
        let mut store = Store::new(&engine, ());
        let host = Func::wrap(&mut store, host);
        let module = Module::new(
            &engine,
            "(module (import \"\" \"\" (func $f)) (func (export \"g\") call $f unreachable))",
        )?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let g = instance.get_typed_func::<(), ()>(&mut store, "g")?;
        let error = g.call(&mut store, ()).unwrap_err();
        let found = error.is::<WasmCoreDump>();
        Ok((error, found))
    };
    let mut config = Config::new();
    assert!(!dump(&config, || Ok(()))?.1);
    config.coredump_on_trap(true);
    assert!(dump(&config, || Ok(()))?.1);
    let (error, found) = dump(&config, || Err(Error::msg("no")))?;
    assert!(!found && error.kind() == ErrorKind::Host);
    assert!(config.entries().contains(&("coredump_on_trap".into(), "true".into())));
    Ok(())
}

#[test]
fn a_trap_of_initialization_and_limited_frames() -> Result<()> {
    for engine in engines(|config| {
        config.wasm_backtrace_max_frames(NonZeroUsize::new(2));
    }) {
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, "(module (memory 1) (data (i32.const 65536) \"x\"))")?;
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
        assert!(dump.frames().is_empty());
        read(&dump.serialize(&store, "initialization"));
        let module = Module::new(
            &engine,
            "(module (func $f unreachable) (func $g call $f) (func $h call $g) (start $h))",
        )?;
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
        let found = read(&dump.serialize(&store, "start"));
        assert_eq!(found.frames.len(), 2);
        assert_eq!(found.modules.len(), dump.modules().len());
    }
    Ok(())
}

#[test]
fn a_dump_of_another_store_is_refused() -> Result<()> {
    let engine = Engine::new(Config::new().coredump_on_trap(true))?;
    let module = Module::new(&engine, "(module (func $f unreachable) (start $f))")?;
    let error = Instance::new(Store::new(&engine, ()), &module, &[]).unwrap_err();
    let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
    let text = common::panic_text(|| drop(dump.serialize(Store::new(&engine, ()), "")));
    assert!(text.contains("wrong store"), "{text}");
    Ok(())
}

#[test]
fn four_gibibytes_of_zeros_take_no_room() -> Result<()> {
    let engine = Engine::new(Config::new().coredump_on_trap(true))?;
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        r#"(module (memory 65536) (func (export "f")
          (i32.store8 (i32.const 1234567) (i32.const 7))
          (i32.store8 (i32.const -1) (i32.const 8)) unreachable))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    let error = f.call(&mut store, ()).unwrap_err();
    let dump = error.downcast_ref::<WasmCoreDump>().unwrap().serialize(&store, "large");
    assert!(dump.len() < 1000, "{}", dump.len());
    let found = read(&dump);
    assert_eq!(found.memories, [(65536, None, false)]);
    assert_eq!(found.segments, [(0, 1_234_567, vec![7]), (0, u64::from(u32::MAX), vec![8])]);
    Ok(())
}

//! What profilers are told: files in the formats of `perf`, with every function that was compiled. And that
//! guests run as ever while debuggers are told. One test: the files, the present folder and the numbers
//! of modules are the process's.

#![forbid(unsafe_code)]

use wardian::{
    Config, Engine, Instance, Module, ProfilingStrategy, Result, Store, Strategy, TierUp,
};

const MODULE: &str = r#"(module
    (func $twice (export "twice") (param i32) (result i32) (i32.add (local.get 0) (local.get 0)))
    (func (export "never") (result i32) (i32.const 1))
    (func (export "once") (result i32) (call $twice (i32.const 1))))"#;

/// Makes a module and calls two of its three functions, often.
fn run(config: &mut Config) -> Result<()> {
    let engine = Engine::new(config)?;
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, MODULE)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    for _ in 0..5 {
        let twice = instance.get_typed_func::<i32, i32>(&mut store, "twice")?;
        assert_eq!(twice.call(&mut store, 4)?, 8);
        let once = instance.get_typed_func::<(), i32>(&mut store, "once")?;
        assert_eq!(once.call(&mut store, ())?, 2);
    }
    Ok(())
}

/// The names in a map; its addresses and sizes are those of functions.
fn names(map: &str) -> Vec<&str> {
    let hex = |text| u64::from_str_radix(text, 16).expect("a number in hexadecimal");
    map.lines()
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, ' ').collect();
            assert!(hex(parts[0]) > 4096 && hex(parts[1]) > 4, "{line}");
            parts[2]
        })
        .collect()
}

#[test]
fn profilers_and_debuggers_are_told_of_every_function() -> Result<()> {
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let mut config = Config::new();
    config.profiler(ProfilingStrategy::PerfMap).strategy(Strategy::Baseline);
    run(&mut config)?;
    let text = std::fs::read_to_string(&path)?;
    assert_eq!(names(&text), ["twice", "wasm[0]::function[2]"]);
    // A second engine goes on in the same file; optimized code comes after that of the first tier.
    run(config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(3)))?;
    let more = std::fs::read_to_string(&path)?;
    let more = names(more.strip_prefix(&text).expect("it only grows"));
    for name in ["twice", "wasm[1]::function[2]"] {
        assert_eq!(more.iter().filter(|found| **found == name).count(), 2, "{more:?}");
    }
    let so_far = std::fs::read_to_string(&path)?.len();
    run(config.strategy(Strategy::Optimizing))?;
    let text = std::fs::read_to_string(&path)?;
    let names = names(&text[so_far..]);
    assert_eq!(names, ["twice", "wasm[2]::function[1]", "wasm[2]::function[2]"]);
    std::fs::remove_file(&path)?;

    let folder = tempfile::tempdir()?;
    std::env::set_current_dir(folder.path())?;
    run(config.profiler(ProfilingStrategy::JitDump))?;
    let dump = std::fs::read(format!("jit-{}.dump", std::process::id()))?;
    assert!(dump.starts_with(&0x4a69_5444u32.to_ne_bytes()));
    assert!(dump.windows(6).any(|bytes| bytes == b"twice\0"));

    for strategy in [Strategy::Baseline, Strategy::Tiered, Strategy::Optimizing] {
        run(Config::new().debug_info(true).strategy(strategy).tier_up(TierUp::Synchronous(2)))?;
    }
    Ok(())
}

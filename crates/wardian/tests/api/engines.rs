//! Engines and what they are made from.

use std::num::NonZeroUsize;
use std::path::Path;
use wardian::*;

// uses: Engine, EngineWeak, Precompiled
#[test]
fn engines() -> Result<()> {
    let mut config = Config::new();
    config.artifact_key([1; 32]);
    let engine = Engine::new(&config)?;
    assert!(Engine::same(&engine, &engine.clone()));
    assert_eq!(engine.config().entries(), config.entries());
    let weak: EngineWeak = engine.weak();
    assert!(weak.upgrade().is_some());
    let artifact = engine.precompile_module(b"(module)")?;
    assert_eq!(Engine::detect_precompiled(&artifact), Some(Precompiled::Module));
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &artifact)?;
    assert_eq!(Engine::detect_precompiled_file(file.path())?, Some(Precompiled::Module));
    Engine::tls_eager_initialize();
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    let hash = |engine: &Engine| state.hash_one(engine.precompile_compatibility_hash());
    assert_eq!(hash(&engine), hash(&Engine::new(&config)?));
    config.signals_based_traps(false);
    assert_ne!(hash(&engine), hash(&Engine::new(&config)?));
    drop(engine);
    assert!(weak.upgrade().is_none());
    Ok(())
}

// uses: Engine, Config
#[test]
fn choices_are_told() -> Result<()> {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::None);
    config.cranelift_debug_verifier(true).cranelift_nan_canonicalization(true);
    config.compiler_inlining(Inlining::No).parallel_compilation(false);
    config.relaxed_simd_deterministic(true).signals_based_traps(false);
    config
        .guard_before_linear_memory(true)
        .memory_may_move(false)
        .memory_reservation(1 << 20)
        .memory_guard_size(0);
    config.memory_reservation_for_growth(1 << 18).max_wasm_stack(1 << 19);
    config.memory_init_cow(false).debug_info(true);
    config.wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config)?;
    assert_eq!(engine.get_strategy(), Some(Strategy::Cranelift));
    assert_eq!(engine.get_cranelift_opt_level(), Some(OptLevel::None));
    assert_eq!(engine.get_cranelift_regalloc_algorithm(), Some(RegallocAlgorithm::Backtracking));
    assert_eq!(engine.get_cranelift_debug_verifier(), Some(true));
    assert_eq!(engine.get_cranelift_nan_canonicalization(), Some(true));
    assert_eq!(engine.get_compiler_inlining(), Inlining::No);
    assert!(!engine.get_parallel_compilation() && engine.get_relaxed_simd_deterministic());
    assert!(!engine.get_signals_based_traps() && !engine.get_memory_may_move());
    assert_eq!(engine.get_memory_reservation(), 1 << 20);
    assert_eq!(engine.get_memory_reservation_for_growth(), Some(1 << 18));
    assert_eq!(engine.get_memory_guard_size(), 0);
    assert!(engine.get_guard_before_linear_memory());
    assert!(!engine.get_memory_init_cow() && Engine::default().get_memory_init_cow());
    assert_eq!(engine.get_max_wasm_stack(), 1 << 19);
    assert_eq!(engine.get_wasm_backtrace_max_frames(), 0);
    assert_eq!(engine.get_target(), None);
    assert!(engine.get_debug_info() && !Engine::default().get_debug_info());
    Ok(())
}

// uses: Config
#[test]
fn every_knob_works_or_is_refused() -> Result<()> {
    let mut config = Config::new();
    config
        .wasm_multi_value(true)
        .coredump_on_trap(true)
        .wasm_bulk_memory(true)
        .wasm_reference_types(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_function_references(true)
        .relaxed_simd_deterministic(true)
        .strategy(Strategy::Auto)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .cranelift_debug_verifier(true)
        .cranelift_nan_canonicalization(true)
        .compiler_inlining(Inlining::Yes)
        .parallel_compilation(true)
        .signals_based_traps(true)
        .max_wasm_stack(1 << 20)
        .memory_reservation(4 << 30)
        .memory_guard_size(1 << 16)
        .memory_may_move(true)
        .memory_reservation_for_growth(1 << 20)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .wasm_backtrace(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(4))
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .enable_compiler(true)
        .debug_info(false)
        .profiler(ProfilingStrategy::None)
        .cache(None);
    config.module_version(ModuleVersionStrategy::Custom("v".into()))?;
    Engine::new(&config)?;

    // Proposals that are not built are refused by name, not ignored.
    type Switch = fn(&mut Config, bool) -> &mut Config;
    let switches: [(&str, Proposal, Switch); 8] = [
        ("wasm_gc", Proposal::Gc, Config::wasm_gc),
        ("wasm_exceptions", Proposal::Exceptions, Config::wasm_exceptions),
        ("wasm_legacy_exceptions", Proposal::LegacyExceptions, Config::wasm_legacy_exceptions),
        ("wasm_threads", Proposal::Threads, Config::wasm_threads),
        ("wasm_wide_arithmetic", Proposal::WideArithmetic, Config::wasm_wide_arithmetic),
        ("wasm_custom_page_sizes", Proposal::CustomPageSizes, Config::wasm_custom_page_sizes),
        ("wasm_stack_switching", Proposal::StackSwitching, Config::wasm_stack_switching),
        (
            "wasm_shared_everything_threads",
            Proposal::SharedEverythingThreads,
            Config::wasm_shared_everything_threads,
        ),
    ];
    for (name, proposal, switch) in switches {
        let mut config = Config::new();
        match Engine::new(switch(&mut config, true)) {
            Ok(_) => assert!(proposal.built(), "{name}"),
            Err(error) => {
                assert!(!proposal.built(), "{error}");
                assert!(error.kind() == ErrorKind::Misuse && error.to_string().contains(name));
            }
        }
    }

    let arch = std::env::consts::ARCH;
    let engine = Engine::new(Config::new().target(&format!("{arch}-unknown-linux-gnu"))?)?;
    assert!(engine.get_target().is_some_and(|target| target.starts_with(arch)));
    assert!(Config::new().target("riscv64gc-unknown-none-elf").is_err());
    assert!(Config::new().target(arch).is_err());
    Ok(())
}

#[test]
fn an_engine_without_compiler_loads_artifacts_only() -> Result<()> {
    let with = Engine::new(Config::new().artifact_key([1; 32]))?;
    let artifact = Module::new(&with, "(module (func (export \"f\") (result i32) i32.const 5))")?;
    let artifact = artifact.serialize()?;
    let without = Engine::new(Config::new().artifact_key([1; 32]).enable_compiler(false))?;
    assert_eq!((without.get_strategy(), without.get_cranelift_opt_level()), (None, None));
    let errors = [
        Module::new(&without, "(module)").unwrap_err(),
        without.precompile_module(b"(module)").unwrap_err(),
        Explorer::new(&without, "(module)").err().expect("refused"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(error.to_string().contains("`Config::enable_compiler`"), "{error}");
    }
    Module::validate(&without, &with_func_binary())?;
    let module = Module::deserialize(&without, &artifact)?;
    let mut store = Store::new(&without, ());
    let f = Instance::new(&mut store, &module, &[])?.get_typed_func::<(), i32>(&mut store, "f")?;
    assert_eq!(f.call(&mut store, ())?, 5);
    assert!(!module.serialize()?.is_empty());
    Ok(())
}

fn with_func_binary() -> Vec<u8> {
    wat::parse_str("(module (func))").expect("a module")
}

// uses: Strategy, OptLevel, RegallocAlgorithm, Inlining, WasmBacktraceDetails
#[test]
fn choices_with_values() -> Result<()> {
    for strategy in [Strategy::Auto, Strategy::Cranelift, Strategy::Baseline, Strategy::Tiered] {
        for level in [OptLevel::None, OptLevel::Speed, OptLevel::SpeedAndSize] {
            let mut config = Config::new();
            config.strategy(strategy).cranelift_opt_level(level);
            assert_eq!(answer(&Engine::new(&config)?)?, 42);
        }
    }
    for (algorithm, there) in
        [(RegallocAlgorithm::Backtracking, true), (RegallocAlgorithm::SinglePass, false)]
    {
        let mut config = Config::new();
        config.cranelift_regalloc_algorithm(algorithm);
        assert_eq!(Engine::new(&config).is_ok(), there);
    }
    for inlining in [Inlining::Yes, Inlining::No] {
        let mut config = Config::new();
        config.strategy(Strategy::Optimizing).compiler_inlining(inlining);
        let engine = Engine::new(&config)?;
        assert_eq!(answer(&engine)?, 42);
        // The callee is so small that it is inlined wherever that is on.
        let inlined = engine.stats().optimized_shape.inlined_calls;
        assert_eq!(inlined > 0, inlining == Inlining::Yes, "{inlined}");
    }
    for details in [
        WasmBacktraceDetails::Enable,
        WasmBacktraceDetails::Disable,
        WasmBacktraceDetails::Environment,
    ] {
        assert_eq!(answer(&Engine::new(Config::new().wasm_backtrace_details(details))?)?, 42);
    }
    Ok(())
}

/// What a small module computes with an engine.
fn answer(engine: &Engine) -> Result<i32> {
    let module = Module::new(
        engine,
        r#"(module
            (func $double (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1)))
            (func (export "answer") (result i32) (call $double (i32.const 21))))"#,
    )?;
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    instance.get_typed_func::<(), i32>(&mut store, "answer")?.call(&mut store, ())
}

// uses: InstanceAllocationStrategy, ModuleVersionStrategy
#[test]
fn versions_of_artifacts() -> Result<()> {
    assert_eq!(InstanceAllocationStrategy::OnDemand, InstanceAllocationStrategy::default());
    let engine = |version: Option<&str>| {
        let mut config = Config::new();
        config.artifact_key([1; 32]);
        if let Some(version) = version {
            config.module_version(ModuleVersionStrategy::Custom(version.into()))?;
        }
        Engine::new(&config)
    };
    let artifact = engine(Some("a"))?.precompile_module(b"(module)")?;
    assert!(Module::deserialize(&engine(Some("a"))?, &artifact).is_ok());
    for other in [Some("b"), None] {
        let error = Module::deserialize(&engine(other)?, &artifact).unwrap_err();
        assert!(format!("{error:#}").contains("module-version"), "{error:#}");
    }
    assert_eq!(ModuleVersionStrategy::Custom("a".into()).as_str(), "a");
    for bad in ["a\nsimd=on".to_string(), "x".repeat(256)] {
        let custom = ModuleVersionStrategy::Custom(bad);
        assert!(Config::new().module_version(custom).is_err());
    }
    Ok(())
}

// uses: Cache, CacheConfig
#[test]
fn caches() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut config = CacheConfig::new();
    config.with_directory(folder.path()).with_files_total_size_soft_limit(1 << 20);
    assert_eq!(config.directory(), Some(folder.path()));
    assert_eq!(config.files_total_size_soft_limit(), Some(1 << 20));
    let cache = Cache::new(&config)?;
    let directory: &Path = cache.directory();
    assert!(directory.starts_with(folder.path()));
    assert_eq!((cache.cache_hits(), cache.cache_misses()), (0, 0));
    Ok(())
}

// uses: ProfilingStrategy
#[test]
fn profilers_are_chosen() -> Result<()> {
    for (strategy, file) in [
        (ProfilingStrategy::None, None),
        (ProfilingStrategy::PerfMap, Some(format!("/tmp/perf-{}.map", std::process::id()))),
        (ProfilingStrategy::JitDump, Some(format!("jit-{}.dump", std::process::id()))),
    ] {
        Engine::new(Config::new().profiler(strategy))?;
        if let Some(file) = file {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

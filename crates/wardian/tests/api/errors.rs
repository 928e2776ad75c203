//! Errors, traps and backtraces.

use std::time::Duration;
use wardian::error::Chain;
use wardian::*;

// uses: Error, error, Result, format_err, bail, ensure
#[test]
fn errors() -> Result<()> {
    use error::Context as _;
    let io = std::io::Error::other("disk");
    let mut error: Error = Error::new(io).context("reading").context(7u8);
    let chain: Chain<'_> = error.chain();
    assert_eq!(chain.len(), 3);
    assert_eq!(error.root_cause().to_string(), "disk");
    assert!(error.is::<u8>() && error.downcast_ref::<&str>() == Some(&"reading"));
    *error.downcast_mut::<u8>().expect("a context") = 8;
    assert_eq!(error.downcast::<u8>().expect("a context"), 8);
    let fails = |n: u8| -> Result<u8> {
        ensure!(n < 10, "{n} is too many");
        if n == 9 {
            bail!("{n} is unlucky");
        }
        Ok(n)
    };
    assert_eq!(fails(9).context("here").unwrap_err().to_string(), "here");
    assert_eq!(fails(10).unwrap_err().to_string(), "10 is too many");
    assert_eq!(format_err!("x{}", 1).to_string(), Error::msg("x1").to_string());
    use error::Result as Same;
    let same: fn(Result<u8>) -> Same<u8> = |result| result;
    assert_eq!(same(fails(1))?, 1);
    Ok(())
}

// uses: Trap
#[test]
fn traps_have_texts_and_codes() {
    let all = [
        Trap::StackOverflow,
        Trap::MemoryOutOfBounds,
        Trap::HeapMisaligned,
        Trap::TableOutOfBounds,
        Trap::IndirectCallToNull,
        Trap::BadSignature,
        Trap::IntegerOverflow,
        Trap::IntegerDivisionByZero,
        Trap::BadConversionToInteger,
        Trap::UnreachableCodeReached,
        Trap::Interrupt,
        Trap::OutOfFuel,
        Trap::AtomicWaitNonSharedMemory,
        Trap::NullReference,
        Trap::ArrayOutOfBounds,
        Trap::AllocationTooLarge,
        Trap::CastFailure,
        Trap::UncaughtException,
    ];
    for trap in all {
        assert!(!trap.to_string().is_empty());
        assert_eq!(Trap::from_code(trap.code()), Some(trap));
        assert_eq!(Error::from(trap).kind(), ErrorKind::Trap);
    }
}

// uses: WasmBacktrace, FrameInfo, FrameSymbol
#[test]
fn backtraces_of_traps() -> Result<()> {
    let mut store = Store::<()>::default();
    let wasm = include_bytes!("../programs/inlined.wasm");
    let module = Module::new(store.engine(), wasm)?;
    let mut linker = Linker::new(store.engine());
    linker.define_unknown_imports_as_default_values(&mut store, &module)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, 5)?, 13);
    let error = run.call(&mut store, 2).unwrap_err();
    let backtrace: &WasmBacktrace = error.downcast_ref().expect("a trap has one");
    assert_eq!(backtrace.frames().len(), 2);
    for frame in backtrace.frames() {
        let frame: &FrameInfo = frame;
        assert!(Module::same(frame.module(), &module));
        assert!(frame.func_name().is_some() && (frame.func_index() as usize) < 10);
        assert!(frame.module_offset() > frame.func_offset());
        let symbol: &FrameSymbol = frame.symbols().last().expect("it has DWARF");
        assert!(symbol.name().is_some());
        assert_eq!(symbol.file(), Some("/src/inlined.rs"));
        assert!(symbol.line().is_some() && symbol.column().is_some());
    }
    Ok(())
}

// uses: WasmCoreDump
#[test]
fn core_dumps_of_traps() -> Result<()> {
    let engine = Engine::new(Config::new().coredump_on_trap(true))?;
    let mut store = Store::new(&engine, ());
    let text = "(module (memory 1) (global i32 (i32.const 1)) (func $f unreachable) (start $f))";
    let module = Module::new(&engine, text)?;
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    let dump: &WasmCoreDump = error.downcast_ref().expect("a trap has one");
    assert_eq!(dump.frames()[0].func_index(), 0);
    assert!(Module::same(&dump.modules()[0], &module));
    assert_eq!(dump.instances().len(), 1);
    assert_eq!(dump.globals()[0].get(&mut store).unwrap_i32(), 1);
    assert_eq!(dump.memories()[0].size(&store), 1);
    assert!(dump.serialize(&mut store, "program").starts_with(b"\0asm"));
    Ok(())
}

// uses: WasmBacktrace
#[test]
fn backtraces_on_request() -> Result<()> {
    const TEXT: &str = r#"(module $m
        (import "host" "look" (func $look))
        (func $b (call $look) (call $look)) (func $a (export "a") (call $b)))"#;
    type Seen = Vec<(usize, usize)>;
    for (frames, expected) in [(20, (2, 2)), (1, (1, 1)), (0, (0, 2))] {
        let limit = std::num::NonZeroUsize::new(frames);
        let engine = Engine::new(Config::new().wasm_backtrace_max_frames(limit))?;
        let mut store = Store::new(&engine, Seen::new());
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "look", |mut caller: Caller<'_, Seen>| {
            // Host code between: guests that it ran to their end are no longer there.
            let (captured, forced) =
                (WasmBacktrace::capture(&caller), WasmBacktrace::force_capture(&caller));
            for frame in forced.frames() {
                assert_eq!(frame.module().name(), Some("m"));
            }
            let names: Vec<_> = forced.frames().iter().filter_map(|f| f.func_name()).collect();
            assert_eq!(names, ["b", "a"][..names.len()]);
            let lengths = (captured.frames().len(), forced.frames().len());
            let nop = Func::wrap(&mut caller, || {});
            nop.call(&mut caller, &[], &mut [])?;
            let again = WasmBacktrace::capture(&caller);
            assert_eq!(again.frames().len(), lengths.0);
            caller.data_mut().push(lengths);
            Ok(())
        })?;
        let module = Module::new(&engine, TEXT)?;
        let instance = linker.instantiate(&mut store, &module)?;
        instance.get_typed_func::<(), ()>(&mut store, "a")?.call(&mut store, ())?;
        assert_eq!(*store.data(), [expected; 2]);
        assert!(WasmBacktrace::force_capture(&store).frames().is_empty());
    }
    Ok(())
}

#[test]
fn frames_name_modules_whose_instances_failed() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let ty = TableType::new(RefType::FUNCREF, 1, None);
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (table 1 funcref)) (memory 0)
            (func $f unreachable) (elem (i32.const 0) $f) (data (i32.const 1) "x"))"#,
    )?;
    let error = Instance::new(&mut store, &module, &[table.into()]).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    // The function is in the table already: spec 4.5.4, instantiation that traps has its effects.
    let func = *table.get(&mut store, 0).expect("inside").unwrap_func().expect("set");
    let error = func.call(&mut store, &[], &mut []).unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().expect("it has one");
    assert!(Module::same(backtrace.frames()[0].module(), &module));
    Ok(())
}

/// A profile of two functions of one module and one of another that it was not given.
// uses: GuestProfiler, Store, UpdateDeadline, CallHook
#[test]
fn samples_of_guests() -> Result<()> {
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    let secret = Module::new(
        &engine,
        r#"(module (import "h" "tick" (func $tick))
        (func $hidden (export "hidden") (call $tick)))"#,
    )?;
    let module = Module::new(
        &engine,
        r#"(module $guest (import "s" "hidden" (func $hidden))
        (func $inner (call $hidden) (loop))
        (func $outer (export "run") (call $inner)))"#,
    )?;
    let interval = Duration::from_millis(1);
    let modules = [("the guest".to_owned(), module.clone())];
    let profiler = GuestProfiler::new(&engine, "profile", interval, modules)?;
    let mut store = Store::new(&engine, Some(profiler));
    let with = |mut context: StoreContextMut<'_, Option<GuestProfiler>>, kind: Option<CallHook>| {
        let mut profiler = context.data_mut().take().expect("it comes back");
        match kind {
            Some(kind) => profiler.call_hook(&context, kind),
            None => profiler.sample(&context, Duration::from_micros(500)),
        }
        *context.data_mut() = Some(profiler);
    };
    store.call_hook(move |context, kind| {
        with(context, Some(kind));
        Ok(())
    });
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |context| {
        with(context, None);
        Ok(UpdateDeadline::Continue(1))
    });
    let mut linker = Linker::new(&engine);
    linker.func_wrap("h", "tick", |caller: Caller<'_, Option<GuestProfiler>>| {
        caller.engine().increment_epoch();
    })?;
    linker.module(&mut store, "s", &secret)?;
    let instance = linker.instantiate(&mut store, &module)?;
    instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
    let mut profile = Vec::new();
    store.into_data().expect("it came back").finish(&mut profile)?;
    let text = String::from_utf8(profile).expect("it is JSON");
    for part in ["the guest", "inner", "outer", "hostcall"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("hidden"), "{text}");
    let samples = text.split("\"samples\":{\"length\":").nth(1).expect("samples");
    assert!(samples.starts_with('1'), "one sample: {samples}");

    let other = Module::new(&Engine::default(), "(module)")?;
    let wrong = GuestProfiler::new(&engine, "", interval, [(String::new(), other)]);
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Misuse);
    Ok(())
}

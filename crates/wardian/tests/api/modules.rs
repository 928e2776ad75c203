//! Modules, their code and what is known of them before they run.

use std::fs::File;
use wardian::*;

const TEXT: &str = r#"(module $m
    (import "a" "f" (func $f (param i32)))
    (memory (export "memory") 1) (memory 3)
    (table (export "table") 4 funcref)
    (func $g (export "g") (param i32) (call $f (local.get 0)))
    (func $h (export "h") (result i32) (i32.div_s (i32.const 1) (i32.const 0))))"#;

fn engine() -> Result<Engine> {
    Engine::new(Config::new().artifact_key([9; 32]).strategy(Strategy::Optimizing))
}

// uses: Module
#[test]
fn ways_to_a_module() -> Result<()> {
    let engine = engine()?;
    let module = Module::new(&engine, TEXT)?;
    let wasm = wat::parse_str(TEXT)?;
    Module::validate(&engine, &wasm)?;
    assert!(Module::validate(&engine, b"\0asm").is_err());
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("m.wat"), TEXT)?;
    let artifact = module.serialize()?;
    std::fs::write(path("m.cwasm"), &artifact)?;
    for same in [
        Module::from_binary(&engine, &wasm)?,
        Module::from_file(&engine, path("m.wat"))?,
        Module::from_trusted_file(&engine, path("m.wat"))?,
        Module::from_trusted_file(&engine, path("m.cwasm"))?,
        Module::deserialize(&engine, &artifact)?,
        Module::deserialize_file(&engine, path("m.cwasm"))?,
        Module::deserialize_open_file(&engine, File::open(path("m.cwasm"))?)?,
    ] {
        assert_eq!(same.name(), Some("m"));
        assert_eq!(same.imports().len(), 1);
        assert_eq!(same.exports().len(), 4);
        assert!(same.get_export("g").is_some() && same.get_export("f").is_none());
        assert!(same.get_export_index("g").is_some() && same.get_export_index("f").is_none());
        assert!(Engine::same(same.engine(), &engine) && !Module::same(&same, &module));
    }
    assert!(Module::same(&module, &module.clone()));
    // An artifact that somebody changed is refused however it comes.
    let mut changed = artifact;
    *changed.last_mut().expect("not empty") ^= 1;
    std::fs::write(path("bad.cwasm"), &changed)?;
    assert!(Module::from_trusted_file(&engine, path("bad.cwasm")).is_err());
    assert!(Module::deserialize_open_file(&engine, File::open(path("bad.cwasm"))?).is_err());
    assert!(Module::deserialize_open_file(&engine, File::open(folder.path())?).is_err());
    Ok(())
}

// uses: Module, ModuleFunction
#[test]
fn code_of_a_module() -> Result<()> {
    let module = Module::new(&engine()?, TEXT)?;
    let text = module.text();
    let range = module.image_range();
    assert_eq!((range.start, range.end), (text.as_ptr_range().start, text.as_ptr_range().end));
    let functions: Vec<ModuleFunction> = module.functions().collect();
    let names: Vec<_> = functions.iter().map(|f| (f.index, f.name.as_deref())).collect();
    assert_eq!(names, [(1, Some("g")), (2, Some("h"))]);
    assert!(functions.iter().all(|f| f.len > 0 && f.offset + f.len <= text.len()));
    assert!(functions[0].offset + functions[0].len <= functions[1].offset);
    let map: Vec<(usize, Option<u32>)> = module.address_map().expect("whole").collect();
    assert!(map.is_sorted_by_key(|(offset, _)| *offset));
    let wasm_length = wat::parse_str(TEXT)?.len();
    for (offset, wasm) in &map {
        assert!(*offset < text.len() && wasm.is_none_or(|wasm| (wasm as usize) < wasm_length));
    }
    // The division is somewhere in it.
    let store = &mut Store::new(module.engine(), ());
    let import = Func::wrap(&mut *store, |_: i32| {});
    let instance = Instance::new(&mut *store, &module, &[import.into()])?;
    let error =
        instance.get_func(&mut *store, "h").expect("it").call(store, &[], &mut [Val::I32(0)]);
    let error = error.unwrap_err();
    let place = error.downcast_ref::<WasmBacktrace>().expect("a trap").frames()[0].module_offset();
    assert!(map.iter().any(|(_, wasm)| wasm.map(|wasm| wasm as usize) == place));
    // Functions that come one by one are nowhere together.
    let lazy = Module::new(&Engine::default(), TEXT)?;
    assert!(lazy.text().is_empty() && lazy.functions().len() == 0 && lazy.address_map().is_none());
    Ok(())
}

// uses: Module, ResourcesRequired, ModuleExport
#[test]
fn what_a_module_needs_and_has() -> Result<()> {
    let engine = engine()?;
    let module = Module::new(&engine, TEXT)?;
    let ResourcesRequired {
        num_memories,
        max_initial_memory_size,
        num_tables,
        max_initial_table_size,
        ..
    } = module.resources_required();
    assert_eq!((num_memories, max_initial_memory_size), (2, Some(3)));
    assert_eq!((num_tables, max_initial_table_size), (1, Some(4)));
    let export: ModuleExport = module.get_export_index("memory").expect("an export");
    let mut store = Store::new(&engine, ());
    let import = Func::wrap(&mut store, |_: i32| {});
    let instance = Instance::new(&mut store, &module, &[import.into()])?;
    let found = instance.get_module_export(&mut store, &export).and_then(Extern::into_memory);
    assert_eq!(found.expect("a memory").size(&store), 1);
    // A module of the same bytes is another module.
    let other = Module::new(&engine, TEXT)?.get_export_index("memory").expect("an export");
    assert!(instance.get_module_export(&mut store, &other).is_none());
    Ok(())
}

// uses: Module
#[test]
fn what_memories_begin_with() -> Result<()> {
    let text = format!(
        "(module (memory (export \"m\") 3) (data (i32.const 5) \"{}\"))",
        "0123456789".repeat(7_000)
    );
    for (cow, early) in [(false, false), (false, true), (true, false), (true, true)] {
        let engine = Engine::new(Config::new().memory_init_cow(cow))?;
        let module = Module::new(&engine, &text)?;
        if early {
            module.initialize_copy_on_write_image()?;
        }
        let mut store = Store::new(&engine, ());
        for _ in 0..3 {
            let instance = Instance::new(&mut store, &module, &[])?;
            let memory = instance.get_memory(&mut store, "m").expect("a memory");
            let bytes = memory.data_mut(&mut store);
            assert!((&bytes[..5], &bytes[70_005..70_010]) == (&[0; 5][..], &[0; 5][..]));
            assert!(bytes[5..70_005].chunks(10).all(|ten| ten == b"0123456789"));
            // What one writes, no other sees.
            bytes.fill(1);
        }
    }
    Ok(())
}

// uses: ImportType, ExportType
#[test]
fn imports_and_exports() -> Result<()> {
    let module = Module::new(&engine()?, TEXT)?;
    let import: ImportType<'_> = module.imports().next().expect("one");
    assert_eq!((import.module(), import.name()), ("a", "f"));
    assert_eq!(import.ty().unwrap_func().params().len(), 1);
    let export: ExportType<'_> = module.exports().next().expect("four");
    assert_eq!(export.name(), "memory");
    assert_eq!(export.ty().unwrap_memory().minimum(), 1);
    Ok(())
}

// uses: CodeBuilder, CodeHint
#[test]
fn builders() -> Result<()> {
    let engine = engine()?;
    let wasm = wat::parse_str(TEXT)?;
    let folder = tempfile::tempdir()?;
    let (text, binary) = (folder.path().join("m.wat"), folder.path().join("m.wasm"));
    std::fs::write(&text, TEXT)?;
    std::fs::write(&binary, &wasm)?;
    let check = |fill: &dyn for<'b, 'a> Fn(&'b mut CodeBuilder<'a>) -> Result<()>| -> Result<()> {
        let mut builder = CodeBuilder::new(&engine);
        assert!(builder.hint().is_none() && builder.compile_module().is_err());
        fill(&mut builder)?;
        assert_eq!(builder.hint(), Some(CodeHint::Module));
        assert_eq!(builder.compile_module()?.name(), Some("m"));
        let artifact = builder.compile_module_serialized()?;
        assert_eq!(Module::deserialize(&engine, artifact)?.name(), Some("m"));
        assert!(builder.wasm_binary(&b"\0asm"[..], None).is_err(), "one module only");
        Ok(())
    };
    check(&|builder| builder.wasm_binary(wat::parse_str(TEXT)?, None).map(drop))?;
    check(&|builder| builder.wasm_binary_or_text(TEXT.as_bytes(), None).map(drop))?;
    // A package of debugging information: a module with custom sections, here none.
    let package = folder.path().join("m.dwp");
    check(&|builder| {
        builder.dwarf_package(b"\0asm\x01\0\0\0")?.wasm_binary(wasm.clone(), None).map(drop)
    })?;
    std::fs::write(&package, "nothing of the kind")?;
    let mut builder = CodeBuilder::new(&engine);
    assert!(builder.dwarf_package_file(&package).is_err());
    assert!(builder.wasm_binary_file(&binary).is_err(), "it looks beside the file");
    std::fs::remove_file(&package)?;
    let mut builder = CodeBuilder::new(&engine);
    assert!(builder.wasm_binary_file(&binary)?.compile_module().is_ok());
    let mut builder = CodeBuilder::new(&engine);
    assert!(builder.wasm_binary_or_text_file(&text)?.compile_module().is_ok());
    let mut builder = CodeBuilder::new(&engine);
    builder.wasm_binary_file(&text)?;
    assert_eq!(builder.hint(), None);
    let error = builder.compile_module().unwrap_err();
    assert!(error.to_string().contains("m.wat"), "{error}");
    let mut builder = CodeBuilder::new(&engine);
    builder.wasm_binary(&b"\0asm\x0d\0\x01\0"[..], None)?;
    assert_eq!(builder.hint(), Some(CodeHint::Component));
    assert_eq!(builder.compile_module().unwrap_err().kind(), ErrorKind::InvalidModule);
    Ok(())
}

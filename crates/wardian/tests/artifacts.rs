//! Artifacts that are cut off, damaged, foreign or differently signed: an error that says why, before
//! any of their code is used.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use wardian::*;

const TEXT: &str = r#"(module (memory 1)
    (func (export "f") (param i32) (result i32) local.get 0 i32.const 2 i32.mul)
    (func (export "load") (param i32) (result i32) local.get 0 i32.load))"#;

fn engine(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    config.artifact_key([7; 32]);
    change(&mut config);
    Engine::new(&config).unwrap()
}

fn artifact() -> (Engine, Vec<u8>) {
    let engine = engine(|_| {});
    let bytes = engine.precompile_module(TEXT.as_bytes()).unwrap();
    (engine, bytes)
}

fn runs(engine: &Engine, module: &Module) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
    assert_eq!(f.call(&mut store, 21).unwrap(), 42);
    let load = instance.get_typed_func::<i32, i32>(&mut store, "load").unwrap();
    let error = load.call(&mut store, -1).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
}

fn refused(engine: &Engine, bytes: &[u8], part: &str) {
    let error = Module::deserialize(engine, bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModule, "{error:?}");
    assert!(error.to_string().contains(part), "expected `{part}` in `{error}`");
}

#[test]
fn there_and_back() {
    let (engine, bytes) = artifact();
    assert_eq!(Engine::detect_precompiled(&bytes), Some(Precompiled::Module));
    runs(&engine, &Module::deserialize(&engine, &bytes).unwrap());
    let module = Module::new(&engine, TEXT).unwrap();
    assert_eq!(module.serialize().unwrap(), bytes, "compilation is deterministic");
    let again = Module::deserialize(&engine, &bytes).unwrap();
    assert_eq!(again.serialize().unwrap(), bytes);
}

#[test]
fn truncated_at_every_byte() {
    let (engine, bytes) = artifact();
    for length in 0..bytes.len() {
        refused(&engine, &bytes[..length], "precompiled module");
    }
    let mut longer = bytes;
    longer.push(0);
    refused(&engine, &longer, "precompiled module");
}

#[test]
fn flipped_at_every_byte() {
    let (engine, original) = artifact();
    for position in 0..original.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = original.clone();
            bytes[position] ^= flip;
            refused(&engine, &bytes, "precompiled module");
        }
    }
}

#[test]
fn damaged_ones_are_compiled_anew_by_a_switch() {
    let (_, original) = artifact();
    let engine = engine(|config| {
        config.recompile_rejected_artifacts(true);
    });
    // Whatever is damaged, there is a module or an error, and code is never that of the artifact.
    for position in (0..original.len()).step_by(13) {
        let mut bytes = original.clone();
        bytes[position] ^= 0x40;
        let _ = Module::deserialize(&engine, &bytes);
    }
    for length in (0..original.len()).step_by(17) {
        let _ = Module::deserialize(&engine, &original[..length]);
    }
    let mut bytes = original;
    *bytes.last_mut().unwrap() ^= 1;
    runs(&engine, &Module::deserialize(&engine, &bytes).unwrap());
}

#[test]
fn other_key_settings_and_kinds() {
    let (own, bytes) = artifact();
    let other_key = engine(|config| {
        config.artifact_key([8; 32]);
    });
    refused(&other_key, &bytes, "not authentic");
    let explicit = engine(|config| {
        config.signals_based_traps(false);
    });
    refused(&explicit, &bytes, "signals-based-traps");
    let fewer = engine(|config| {
        config.wasm_memory64(false);
    });
    refused(&fewer, &bytes, "memory64");
    let baseline = engine(|config| {
        config.target_cpu(TargetCpu::Baseline);
    });
    let error = Module::deserialize(&baseline, &bytes).unwrap_err();
    assert!(error.to_string().contains("does not fit this engine"), "{error}");
    refused(&own, b"\0asm\x01\0\0\0", "not a precompiled module");
    refused(&own, b"", "not a precompiled module");
    // An artifact is no module.
    let error = Module::new(&own, &bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModule);
    // The version follows the magic.
    let mut newer = bytes;
    newer[8] = 99;
    refused(&own, &newer, "another version");
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("wardian-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(unix)]
#[test]
fn files_that_others_can_change_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (engine, bytes) = artifact();
    let folder = Folder::new("artifacts");
    let path = folder.0.join("m.cwasm");
    std::fs::write(&path, &bytes).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
    mode(0o600).unwrap();
    runs(&engine, &Module::deserialize_file(&engine, &path).unwrap());
    for writable in [0o620, 0o602, 0o666] {
        mode(writable).unwrap();
        let error = Module::deserialize_file(&engine, &path).unwrap_err();
        assert!(format!("{error:#}").contains("m.cwasm"), "{error:#}");
    }
    assert!(Module::deserialize_file(&engine, folder.0.join("absent")).is_err());
    assert!(Module::deserialize_file(&engine, &folder.0).is_err());
}

#[cfg(unix)]
#[test]
fn a_file_replaced_while_its_module_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let (engine, bytes) = artifact();
    let folder = Folder::new("replaced");
    let path = folder.0.join("m.cwasm");
    std::fs::write(&path, &bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let module = Module::deserialize_file(&engine, &path).unwrap();
    // In place: who maps the file would see it.
    std::fs::write(&path, vec![0xcc; bytes.len()]).unwrap();
    runs(&engine, &module);
    std::fs::write(&path, b"").unwrap();
    runs(&engine, &module);
    assert!(Module::deserialize_file(&engine, &path).is_err());
}

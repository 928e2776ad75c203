//! [`Module`]: validated, compiled code, ready to be instantiated.

use crate::engine::Engine;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::types::{ExportType, ExternType, ImportType};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use wardian_runtime::{Counters, Stats};
use wardian_vm::{Code, VouchedArtifact};

/// The binary form of what is in binary or text form, in this file if it is in one.
pub(crate) fn binary_form<'a>(bytes: &'a [u8], path: Option<&Path>) -> Result<Cow<'a, [u8]>> {
    wat::parse_bytes(bytes).map_err(|mut error| {
        if let Some(path) = path {
            error.set_path(path);
        }
        Error::tagged(ErrorKind::InvalidModule, error.to_string())
    })
}

/// The binary form of the module in a file of either form.
pub(crate) fn read_module(engine: &Engine, path: &Path) -> Result<Vec<u8>> {
    let bytes = wardian_runtime::read_file(engine.compiler(), path)
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    // What is binary is not copied.
    if bytes.starts_with(b"\0asm") {
        return Ok(bytes);
    }
    let wasm = binary_form(&bytes, Some(path))
        .with_context(|| format!("failed to compile `{}`", path.display()))?;
    Ok(wasm.into_owned())
}

/// A compiled module: cheap to clone, shared between threads and stores.
///
/// ```
/// use wardian::{Engine, Module};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, "(module (memory (export \"m\") 1))")?;
/// assert_eq!(module.exports().next().unwrap().name(), "m");
/// assert!(Module::new(&engine, b"\0asm").is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    code: Arc<Code>,
    counters: Counters,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Module {
    /// Compiles a module from its binary or text form.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::InvalidModule`], with the place, what was expected and what was found; of
    /// kind [`ErrorKind::Limit`] for modules that this implementation cannot compile.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        Module::from_wasm(engine, binary_form(bytes.as_ref(), None)?.into_owned())
    }

    /// Compiles a module from its binary form only.
    ///
    /// # Errors
    ///
    /// As [`Module::new`].
    pub fn from_binary(engine: &Engine, binary: &[u8]) -> Result<Module> {
        Module::from_wasm(engine, binary.to_vec())
    }

    /// Compiles a file in binary or text form.
    ///
    /// # Errors
    ///
    /// When it cannot be read; as [`Module::new`].
    pub fn from_file(engine: &Engine, file: impl AsRef<Path>) -> Result<Module> {
        let path = file.as_ref();
        let wasm = read_module(engine, path)?;
        Module::from_wasm(engine, wasm)
            .with_context(|| format!("failed to compile `{}`", path.display()))
    }

    fn from_wasm(engine: &Engine, wasm: Vec<u8>) -> Result<Module> {
        let (code, counters) = engine.load(wasm)?;
        Ok(Module { engine: engine.clone(), code: Arc::new(code), counters })
    }

    fn publish(
        engine: &Engine,
        module: wardian_module::Module,
        image: wardian_module::image::CodeImage,
    ) -> Result<Module> {
        let code = Code::publish(Arc::new(module), image)
            .map_err(|error| Error::tagged(ErrorKind::Limit, error.to_string()))?;
        Ok(Module { engine: engine.clone(), code: Arc::new(code), counters: Counters::default() })
    }

    /// Checks that bytes are a valid module, without compiling it.
    ///
    /// # Errors
    ///
    /// As [`Module::new`].
    pub fn validate(engine: &Engine, binary: &[u8]) -> Result<()> {
        engine.validate(binary)
    }

    /// The module as an artifact: its code, fully optimized, ready to be loaded by an engine with the
    /// same settings that knows the same key. With a [`Strategy`](crate::Strategy) that compiles
    /// functions one by one, this is where all are compiled.
    ///
    /// # Errors
    ///
    /// When the key cannot be had; when the code is made here, as [`Module::new`].
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let wasm = &self.code.module().wasm;
        let image = match self.code.image() {
            Some(image) => image,
            None => self.engine.compile(wasm.to_vec(), None)?.1,
        };
        self.engine.encode_artifact(wasm, image)
    }

    /// Loads an artifact.
    ///
    /// # Errors
    ///
    /// When it was not made with this engine's key, for other settings or another processor, or was
    /// changed. With [`Config::recompile_rejected_artifacts`](crate::Config) its WebAssembly is
    /// compiled anew instead.
    pub fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        let (module, image) = engine.decode_artifact(bytes.as_ref())?;
        Module::publish(engine, module, image)
    }

    /// Loads an artifact that the caller vouches for, without its key.
    ///
    /// # Errors
    ///
    /// When it was made for other settings or another processor, or is malformed.
    pub fn deserialize_vouched(engine: &Engine, artifact: VouchedArtifact<'_>) -> Result<Module> {
        let (module, image) = engine.decode_vouched(artifact)?;
        Module::publish(engine, module, image)
    }

    /// Loads an artifact from a file that only this user (or the superuser) can change.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or others can change it; as [`Module::deserialize`].
    pub fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        let load = || {
            let bytes = wardian_runtime::artifact::read_file(path)?;
            Module::deserialize(engine, bytes)
        };
        load().with_context(|| format!("failed to load `{}`", path.display()))
    }

    /// The engine it was compiled by.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// Its own name, if it has a name section that says it.
    pub fn name(&self) -> Option<&str> {
        self.code.module().name()
    }

    /// Its imports, in order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> + '_ {
        let module = self.code.module();
        module.imports.iter().map(|import| ImportType::new(module, import))
    }

    /// Its exports, in order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> + '_ {
        let module = self.code.module();
        module.exports.iter().map(|export| ExportType::new(module, export))
    }

    /// The type of the export of this name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let module = self.code.module();
        module.export(name).map(|export| ExportType::new(module, export).ty())
    }

    /// What compilers did for it so far; nothing for one that was loaded from an artifact.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Size of its machine code in bytes, as far as it was compiled.
    pub fn text_size(&self) -> usize {
        self.code.text_size()
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Module>();
};

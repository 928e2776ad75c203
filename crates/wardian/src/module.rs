//! [`Module`]: validated, compiled code, ready to be instantiated.

use crate::engine::{Engine, Loaded};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::text::binary_form;
use crate::types::{ExportType, ExternType, ImportType};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wardian_module::{DefinedFuncIndex, ExternIndex};
use wardian_runtime::{Counters, Stats};
use wardian_vm::{Code, VouchedArtifact};

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
    inner: Arc<ModuleInner>,
}

struct ModuleInner {
    engine: Engine,
    code: Arc<Code>,
    counters: Counters,
    /// Process-wide, never reused.
    id: u64,
}

/// Where an export of a module stands, so that it need not be looked up by its name again.
///
/// ```
/// use wardian::{Instance, Module, Store};
///
/// let mut store = Store::<()>::default();
/// let module = Module::new(store.engine(), "(module (memory (export \"m\") 2))")?;
/// let export = module.get_export_index("m").expect("there is one");
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let memory = instance.get_module_export(&mut store, &export).and_then(|e| e.into_memory());
/// assert_eq!(memory.expect("a memory").size(&store), 2);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ModuleExport {
    pub(crate) module: u64,
    pub(crate) index: ExternIndex,
}

/// A function in a module's machine code; see [`Module::functions`].
///
/// ```
/// use wardian::{Config, Engine, Module, Strategy};
///
/// let engine = Engine::new(Config::new().strategy(Strategy::Optimizing))?;
/// let module = Module::new(&engine, "(module (func $f))")?;
/// let function = module.functions().next().expect("there is one");
/// assert_eq!((function.index, function.name.as_deref()), (0, Some("f")));
/// assert!(module.text().len() >= function.offset + function.len);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ModuleFunction {
    /// Its index, imports counted.
    pub index: u32,
    /// Its name in the name section.
    pub name: Option<String>,
    /// Where its code begins in [`Module::text`].
    pub offset: usize,
    /// Length of its code in bytes.
    pub len: usize,
}

/// What an instance of a module will take, beside its code; see [`Module::resources_required`].
///
/// ```
/// use wardian::{Engine, Module};
///
/// let module = Module::new(&Engine::default(), "(module (memory 1) (memory 6))")?;
/// let required = module.resources_required();
/// assert_eq!((required.num_memories, required.max_initial_memory_size), (2, Some(6)));
/// assert_eq!((required.num_tables, required.max_initial_table_size), (0, None));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ResourcesRequired {
    /// Memories that it defines.
    pub num_memories: u32,
    /// Pages of the one that starts largest.
    pub max_initial_memory_size: Option<u64>,
    /// Tables that it defines.
    pub num_tables: u32,
    /// Elements of the one that starts largest.
    pub max_initial_table_size: Option<u64>,
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
        Ok(Module::of_code(engine, code, counters))
    }

    fn of_code(engine: &Engine, code: Code, counters: Counters) -> Module {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Relaxed);
        let (engine, code) = (engine.clone(), Arc::new(code));
        Module { inner: Arc::new(ModuleInner { engine, code, counters, id }) }
    }

    fn publish(engine: &Engine, loaded: Loaded<'_>) -> Result<Module> {
        let code = engine
            .publish_loaded(loaded)
            .map_err(|error| Error::tagged(ErrorKind::Limit, error.to_string()))?;
        Ok(Module::of_code(engine, code, Counters::default()))
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
        let wasm = &self.inner.code.module().wasm;
        let image = match self.inner.code.image() {
            Some(image) => image,
            None => self.inner.engine.compile(wasm.to_vec(), None)?.1,
        };
        self.inner.engine.encode_artifact(wasm, image)
    }

    /// Loads an artifact.
    ///
    /// # Errors
    ///
    /// When it was not made with this engine's key, for other settings or another processor, or was
    /// changed. With [`Config::recompile_rejected_artifacts`](crate::Config) its WebAssembly is
    /// compiled anew instead.
    pub fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        Module::publish(engine, engine.decode_artifact(bytes.as_ref())?)
    }

    /// Loads an artifact that the caller vouches for, without its key.
    ///
    /// # Errors
    ///
    /// When it was made for other settings or another processor, or is malformed.
    pub fn deserialize_vouched(engine: &Engine, artifact: VouchedArtifact<'_>) -> Result<Module> {
        Module::publish(engine, engine.decode_vouched(artifact)?)
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

    /// As [`deserialize_file`](Module::deserialize_file), of a file that is open already.
    ///
    /// # Errors
    ///
    /// As [`deserialize_file`](Module::deserialize_file).
    pub fn deserialize_open_file(engine: &Engine, file: File) -> Result<Module> {
        let bytes = wardian_runtime::artifact::read_open_file(Path::new("an open file"), file)?;
        Module::deserialize(engine, bytes)
    }

    /// Loads a file that holds an artifact, or compiles one that holds a module in binary or text form.
    /// Trust is not taken from the file: an artifact has to be authentic.
    ///
    /// # Errors
    ///
    /// As [`deserialize_file`](Module::deserialize_file) or [`from_file`](Module::from_file).
    pub fn from_trusted_file(engine: &Engine, file: impl AsRef<Path>) -> Result<Module> {
        match Engine::detect_precompiled_file(&file)? {
            Some(_) => Module::deserialize_file(engine, file),
            None => Module::from_file(engine, file),
        }
    }

    /// Whether both are the same module, one a clone of the other.
    pub fn same(a: &Module, b: &Module) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// The engine it was compiled by.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn code(&self) -> &Arc<Code> {
        &self.inner.code
    }

    /// Its own name, if it has a name section that says it.
    pub fn name(&self) -> Option<&str> {
        self.inner.code.module().name()
    }

    /// Its imports, in order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> + '_ {
        let module = self.inner.code.module();
        module.imports.iter().map(|import| ImportType::new(module, import))
    }

    /// Its exports, in order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> + '_ {
        let module = self.inner.code.module();
        module.exports.iter().map(|export| ExportType::new(module, export))
    }

    /// The type of the export of this name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let module = self.inner.code.module();
        module.export(name).map(|export| ExportType::new(module, export).ty())
    }

    /// Where the export of this name stands, for [`Instance::get_module_export`].
    ///
    /// [`Instance::get_module_export`]: crate::Instance::get_module_export
    pub fn get_export_index(&self, name: &str) -> Option<ModuleExport> {
        let index = self.inner.code.module().export(name)?.index;
        Some(ModuleExport { module: self.inner.id, index })
    }

    pub(crate) fn id(&self) -> u64 {
        self.inner.id
    }

    /// Memories and tables that an instance of it will have of its own.
    pub fn resources_required(&self) -> ResourcesRequired {
        let module = self.inner.code.module();
        let memories = &module.memories[module.imported_memories..];
        let tables = &module.tables[module.imported_tables..];
        ResourcesRequired {
            num_memories: memories.len() as u32,
            max_initial_memory_size: memories.iter().map(|ty| ty.limits.min).max(),
            num_tables: tables.len() as u32,
            max_initial_table_size: tables.iter().map(|table| table.ty.limits.min).max(),
        }
    }

    /// Its machine code, where it lies. Empty with a [`Strategy`](crate::Strategy) that compiles
    /// functions one by one, wherever there is room; an artifact's code is always whole.
    pub fn text(&self) -> &[u8] {
        self.inner.code.whole().map_or(&[], |(_, text)| text)
    }

    /// The addresses of [`text`](Module::text), for what the system can do with memory, such as keeping
    /// it resident. It can be read and executed, and is not to be written.
    pub fn image_range(&self) -> Range<*const u8> {
        self.text().as_ptr_range()
    }

    /// The functions in [`text`](Module::text), in order.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = ModuleFunction> + '_ {
        let module = self.inner.code.module();
        let names = module.func_names();
        let funcs = self.inner.code.whole().map_or(&[][..], |(image, _)| &image.funcs);
        funcs.iter().enumerate().map(move |(index, range)| {
            let index = module.func_index(DefinedFuncIndex::from(index));
            ModuleFunction {
                index: index.0,
                name: names.get(&index).map(|name| name.to_string()),
                offset: range.start as usize,
                len: (range.end - range.start) as usize,
            }
        })
    }

    /// For offsets in [`text`](Module::text), in order, the offset in the module's bytes of the
    /// instruction that the code from there on stems from, if it stems from one. `None` where the text
    /// is not whole.
    pub fn address_map(&self) -> Option<impl Iterator<Item = (usize, Option<u32>)> + '_> {
        let (image, text) = self.inner.code.whole()?;
        // The last place may be the end of the last function.
        let map = image.locations.iter().filter(|place| (place.offset as usize) < text.len());
        Some(map.map(|place| (place.offset as usize, image.location_at(place.offset))))
    }

    /// Makes now what its instances share of their memories' first content
    /// ([`Config::memory_init_cow`](crate::Config::memory_init_cow)). Otherwise the second instance does, or
    /// the 17th where it is little, and the ones before share nothing. Where there is nothing to share, or no memory for it, instances copy.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn initialize_copy_on_write_image(&self) -> Result<()> {
        if self.inner.engine.settings().memory_init_cow {
            wardian_runtime::prepare_initial_memories(&self.inner.code);
        }
        Ok(())
    }

    /// Hands what was compiled of it so far to the cache ([`Config::cache`](crate::Config::cache)), as
    /// happens when the last handle of it is dropped. Errors with a backtrace are such handles; who ends a
    /// process with one calls this before.
    pub fn keep_in_cache(&self) {
        if let Some(tiered) = self.inner.code.as_tiered() {
            tiered.keep();
        }
    }

    /// What compilers did for it so far; nothing for one that was loaded from an artifact.
    pub fn stats(&self) -> Stats {
        self.inner.counters.stats()
    }

    /// Size of its machine code in bytes, as far as it was compiled.
    pub fn text_size(&self) -> usize {
        self.inner.code.text_size()
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Module>();
};

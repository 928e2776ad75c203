//! [`Engine`]: the shared home of configuration and compiler, cheap to clone.
//!
//! Invariant: an engine's configuration was validated and never changes.

use crate::config::{
    ArtifactKey, Config, Inlining, ModuleVersionStrategy, OptLevel, ProfilingStrategy,
    RegallocAlgorithm, Strategy, WasmBacktraceDetails,
};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::module::read_module;
use crate::text::binary_form;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::hash::Hash;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;
use wardian_module::image::CodeImage;
use wardian_module::{Module, Settings};
use wardian_observe::{Observers, Profile};
use wardian_runtime as rt;
use wardian_runtime::{CompileProgress, Stats, artifact, log};
use wardian_vm::Code;

/// Configuration, compiler and code, shared by modules and stores.
///
/// A program usually makes one and clones it: clones are the same engine.
///
/// ```
/// use wardian::Engine;
///
/// let engine = Engine::default();
/// assert!(Engine::same(&engine, &engine.clone()));
/// assert!(!Engine::same(&engine, &Engine::default()));
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

struct EngineInner {
    config: Config,
    settings: Arc<Settings>,
    compiler: Arc<rt::Compiler>,
    tiers: rt::Tiers,
    /// Dropped after `tiers`, whose last work goes into it.
    cache: Option<rt::ModuleCache>,
    counters: rt::Counters,
    observers: Observers,
    artifact_key: Arc<rt::LazyKey>,
    /// Made when the first artifact is written or loaded.
    compatibility: OnceLock<artifact::Compatibility>,
    reservations: Arc<wardian_vm::Reservations>,
    epoch: Arc<AtomicU64>,
}

/// What kind of artifact some bytes are.
///
/// ```
/// use wardian::{Config, Engine, Precompiled};
///
/// let engine = Engine::new(Config::new().artifact_key([7; 32]))?;
/// let artifact = engine.precompile_module(b"(module)")?;
/// assert_eq!(Engine::detect_precompiled(&artifact), Some(Precompiled::Module));
/// assert_eq!(Engine::detect_precompiled(b"(module)"), None);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Precompiled {
    /// A compiled core module.
    Module,
}

impl Engine {
    /// An engine with these choices.
    ///
    /// # Errors
    ///
    /// When the choices contradict each other, ask for a proposal that this version cannot run, or
    /// when this machine cannot run generated code; when the file of a profiler cannot be made.
    pub fn new(config: &Config) -> Result<Engine> {
        config.validate()?;
        wardian_vm::supported().map_err(Error::msg)?;
        let mut compiler = rt::Compiler::new(
            &config.settings,
            &config.target_cpu.to_string(),
            config.parallel_compilation,
        )
        .map_err(|error| Error::tagged(ErrorKind::Misuse, error))?;
        if config.strategy == Strategy::Baseline {
            compiler.without_counting();
        }
        let compiler = Arc::new(compiler);
        let tier_up = match config.strategy {
            Strategy::Auto | Strategy::Tiered => config.tier_up.clone(),
            _ => rt::TierUp::Never,
        };
        let tiers = rt::TierConfig { tier_up, lazy_validation: config.lazy_validation };
        let tiers = rt::Tiers::new(compiler.clone(), tiers);
        let artifact_key = Arc::new(lazy_key(config.artifact_key.clone()));
        // Without the optimizing tier there is nothing to keep.
        let cache = config.cache.as_ref().filter(|_| !config.is_lazy() || tiers.is_on());
        let cache = cache.map(|cache| {
            let compatibility = artifact::Compatibility::new(&config.settings, &compiler.isa_key());
            rt::ModuleCache::new(cache.runtime().clone(), compatibility, artifact_key.clone())
        });
        let profile = match config.profiler {
            ProfilingStrategy::None => None,
            ProfilingStrategy::PerfMap => Some(Profile::PerfMap),
            ProfilingStrategy::JitDump => Some(Profile::JitDump),
        };
        let observers =
            Observers::new(config.debug_info, profile).context("failed to start profiling")?;
        Ok(Engine {
            inner: Arc::new(EngineInner {
                observers,
                config: config.clone(),
                settings: Arc::new(config.settings.clone()),
                tiers,
                cache,
                compiler,
                counters: rt::Counters::default(),
                artifact_key,
                compatibility: OnceLock::new(),
                reservations: Arc::default(),
                epoch: Arc::default(),
            }),
        })
    }

    /// Lets the engine's epoch grow by 1. Stores whose deadline
    /// ([`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline)) it reaches are interrupted, if
    /// [`Config::epoch_interruption`] is on. May be called on any thread, and in a signal handler.
    pub fn increment_epoch(&self) {
        // Nothing else is told by it.
        self.inner.epoch.fetch_add(1, Relaxed);
    }

    pub(crate) fn epoch(&self) -> &Arc<AtomicU64> {
        &self.inner.epoch
    }

    /// Whether both are the same engine, one a clone of the other.
    pub fn same(a: &Engine, b: &Engine) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// The choices it was made with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// A reference that does not keep the engine alive.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak { inner: Arc::downgrade(&self.inner) }
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.inner.settings
    }

    pub(crate) fn reservations(&self) -> Arc<wardian_vm::Reservations> {
        self.inner.reservations.clone()
    }

    pub(crate) fn compiler(&self) -> &rt::Compiler {
        &self.inner.compiler
    }

    pub(crate) fn backtrace_details(&self) -> bool {
        match self.config().backtrace_details {
            WasmBacktraceDetails::Enable => true,
            WasmBacktraceDetails::Disable => false,
            WasmBacktraceDetails::Environment => {
                std::env::var_os("WARDIAN_BACKTRACE_DETAILS").is_some_and(|v| v == "1")
            }
        }
    }

    /// What its compilers did so far, for all of its modules.
    pub fn stats(&self) -> Stats {
        self.inner.counters.stats()
    }

    /// Waits until no hot function waits for the background thread of
    /// [`TierUp::Background`](crate::TierUp). For measurements and tests.
    pub fn wait_for_tier_up(&self) {
        self.inner.tiers.wait();
    }

    /// Waits until everything that modules handed to the cache ([`Config::cache`]) is written. Dropping
    /// the engine waits for it too. For measurements and tests.
    pub fn wait_for_cache(&self) {
        if let Some(cache) = &self.inner.cache {
            cache.wait();
        }
    }

    /// Code of a module by the engine's strategy, and its counters.
    pub(crate) fn load(&self, wasm: Vec<u8>) -> Result<(Code, rt::Counters)> {
        self.check_compiler()?;
        let counters = self.inner.counters.of_module();
        let (start, bytes) = (Instant::now(), wasm.len());
        let _span = tracing::debug_span!(target: log::MODULE, "load", bytes).entered();
        let code = if self.config().is_lazy() {
            self.load_tiered(wasm, &counters)
        } else {
            self.load_whole(wasm, &counters)
        };
        let code = code.inspect_err(|error| {
            tracing::debug!(target: log::MODULE, %error, "not loaded");
        })?;
        tracing::debug!(
            target: log::MODULE,
            functions = code.module().bodies.len(),
            micros = start.elapsed().as_micros() as u64,
            "loaded"
        );
        Ok((code, counters))
    }

    fn load_tiered(&self, wasm: Vec<u8>, counters: &rt::Counters) -> Result<Code> {
        let inner = &*self.inner;
        let start = Instant::now();
        let (lazy, parallel) = (inner.config.lazy_validation, inner.compiler.is_parallel());
        let (module, bodies, (place, found), valid) = match &inner.cache {
            Some(cache) => {
                let look_up = |wasm: &[u8]| {
                    let place = cache.functions(wasm, parallel);
                    let found = place.load_functions(counters);
                    // NOTE [validated entries]
                    let valid = found.as_ref().is_some_and(|found| found.validated);
                    let known = rt::Known { module: valid, bodies: valid || lazy };
                    (((place, found), valid || !lazy), known)
                };
                let proposals = self.settings().proposals;
                let (module, bodies, ((place, found), valid)) =
                    rt::decode_beside(&inner.compiler, wasm, proposals, counters, look_up)
                        .map_err(invalid)?;
                (module, bodies, (Some(place), found), valid)
            }
            None => {
                let (module, bodies) = match lazy {
                    true => self.decode(wasm)?,
                    false => self.decode_valid(wasm, counters)?,
                };
                (module, bodies, (None, None), !lazy)
            }
        };
        let cached = place.map(|place| rt::Cached { place, found, valid, start });
        let watch = inner.observers.of_module(&module);
        inner.tiers.load(Arc::new(module), bodies, counters.clone(), cached, watch).map_err(limit)
    }

    fn load_whole(&self, wasm: Vec<u8>, counters: &rt::Counters) -> Result<Code> {
        let inner = &*self.inner;
        let start = Instant::now();
        let place =
            inner.cache.as_ref().map(|cache| cache.image(&wasm, inner.compiler.is_parallel()));
        let found = place.as_ref().and_then(|place| place.load_image(counters));
        let (module, bodies) = self.decode(wasm)?;
        let module = Arc::new(module);
        if let (Some(place), Some(image)) = (&place, found) {
            let (functions, bytes) = (image.funcs.len(), image.text.len());
            match self.publish(module.clone(), image) {
                Ok(code) => {
                    place.loaded(counters, functions, bytes, start);
                    return Ok(code);
                }
                Err(error) => {
                    tracing::warn!(target: log::CACHE, %error, "cached code is refused");
                }
            }
        }
        let image =
            rt::compile(&inner.compiler, &module, bodies, counters, None).map_err(compile_error)?;
        if let Some(place) = place {
            place.save_image(image.clone());
        }
        self.publish(module, image).map_err(limit)
    }

    /// Makes the code of a whole module executable.
    pub(crate) fn publish(
        &self,
        module: Arc<Module>,
        image: CodeImage,
    ) -> Result<Code, wardian_vm::CodeError> {
        let watch = self.inner.observers.of_module(&module);
        Code::publish_watched(module, image, watch.as_deref())
    }

    pub(crate) fn publish_loaded(
        &self,
        Loaded { module, image, text }: Loaded<'_>,
    ) -> Result<Code, wardian_vm::CodeError> {
        let watch = self.inner.observers.of_module(&module);
        Code::publish_text(Arc::new(module), image, &text, watch.as_deref())
    }

    /// A module with its fully optimized code.
    pub(crate) fn compile(
        &self,
        wasm: Vec<u8>,
        progress: Option<&(dyn Fn(CompileProgress) + Sync)>,
    ) -> Result<(Module, CodeImage)> {
        self.check_compiler()?;
        let (module, bodies) = self.decode(wasm)?;
        let inner = &*self.inner;
        let image = rt::compile(&inner.compiler, &module, bodies, &inner.counters, progress)
            .map_err(compile_error)?;
        Ok((module, image))
    }

    /// An error unless the engine may compile.
    pub(crate) fn check_compiler(&self) -> Result<()> {
        let text = match (rt::HAS_COMPILER, self.config().compiler) {
            (true, true) => return Ok(()),
            (true, false) => {
                "this engine does not compile (`Config::enable_compiler`): it loads artifacts only"
            }
            (false, _) => {
                "this build of wardian has no compiler (cargo feature `cranelift`): it loads artifacts only"
            }
        };
        Err(Error::tagged(ErrorKind::Misuse, text))
    }

    pub(crate) fn decode(&self, wasm: Vec<u8>) -> Result<(Module, Vec<wardian_module::Body>)> {
        wardian_module::decode(wasm, self.settings().proposals).map_err(invalid)
    }

    pub(crate) fn validate(&self, binary: &[u8]) -> Result<()> {
        self.decode_valid(binary.to_vec(), &rt::Counters::default()).map(drop)
    }

    /// As [`decode`](Engine::decode), with all bodies validated.
    fn decode_valid(
        &self,
        wasm: Vec<u8>,
        counters: &rt::Counters,
    ) -> Result<(Module, Vec<wardian_module::Body>)> {
        let proposals = self.settings().proposals;
        rt::decode_valid(&self.inner.compiler, wasm, proposals, counters).map_err(invalid)
    }

    /// Compiles a module from its binary or text form into an artifact, without loading it.
    ///
    /// # Errors
    ///
    /// As [`Module::new`](crate::Module::new), and when the key for artifacts cannot be had.
    pub fn precompile_module(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.precompile(binary_form(bytes, None)?.into_owned(), None)
    }

    /// As [`precompile_module`](Engine::precompile_module). `progress` is told after each function, by
    /// whichever thread compiled it, several at once.
    ///
    /// # Errors
    ///
    /// As [`precompile_module`](Engine::precompile_module).
    pub fn precompile_module_with_progress(
        &self,
        bytes: &[u8],
        progress: impl Fn(CompileProgress) + Sync,
    ) -> Result<Vec<u8>> {
        self.precompile(binary_form(bytes, None)?.into_owned(), Some(&progress))
    }

    /// As [`precompile_module_with_progress`](Engine::precompile_module_with_progress), from a file, which
    /// takes less memory than the bytes of a large module do.
    ///
    /// # Errors
    ///
    /// When the file cannot be read; as [`precompile_module`](Engine::precompile_module).
    pub fn precompile_file(
        &self,
        file: impl AsRef<Path>,
        progress: impl Fn(CompileProgress) + Sync,
    ) -> Result<Vec<u8>> {
        let path = file.as_ref();
        let wasm = read_module(self, path)?;
        self.precompile(wasm, Some(&progress))
            .with_context(|| format!("failed to compile `{}`", path.display()))
    }

    fn precompile(
        &self,
        wasm: Vec<u8>,
        progress: Option<&(dyn Fn(CompileProgress) + Sync)>,
    ) -> Result<Vec<u8>> {
        let (module, image) = self.compile(wasm, progress)?;
        self.encode_artifact(&module.wasm, image)
    }

    fn artifact_key(&self) -> Result<&artifact::ArtifactKey> {
        Ok(self.inner.artifact_key.get()?)
    }

    fn compatibility(&self) -> &artifact::Compatibility {
        self.inner.compatibility.get_or_init(|| {
            let key = artifact::Compatibility::new(self.settings(), &self.inner.compiler.isa_key());
            match &self.config().module_version {
                ModuleVersionStrategy::WardianVersion => key,
                ModuleVersionStrategy::Custom(version) => key.with_module_version(version),
            }
        })
    }

    /// Something whose hash is equal for engines that load each other's artifacts, if they know the same
    /// key, and differs for others.
    ///
    /// ```
    /// use std::hash::{BuildHasher, RandomState};
    /// use wardian::{Config, Engine};
    ///
    /// let hasher = RandomState::new();
    /// let hash = |engine: &Engine| hasher.hash_one(engine.precompile_compatibility_hash());
    /// let no_simd = Engine::new(Config::new().wasm_simd(false).wasm_relaxed_simd(false))?;
    /// assert_eq!(hash(&Engine::default()), hash(&Engine::default()));
    /// assert_ne!(hash(&Engine::default()), hash(&no_simd));
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn precompile_compatibility_hash(&self) -> impl Hash + '_ {
        self.compatibility()
    }

    /// Does now what the first call of a guest on this thread would do: ask the system where the thread's
    /// stack is.
    pub fn tls_eager_initialize() {
        wardian_vm::stack_left();
    }

    pub(crate) fn encode_artifact(&self, wasm: &[u8], image: CodeImage) -> Result<Vec<u8>> {
        let parallel = self.compiler().is_parallel();
        Ok(artifact::encode(self.artifact_key()?, self.compatibility(), wasm, image, parallel))
    }

    pub(crate) fn decode_artifact<'a>(&self, bytes: &'a [u8]) -> Result<Loaded<'a>> {
        let key = self.artifact_key()?;
        match self.loaded(artifact::Source::Signed(bytes, key)) {
            Ok(loaded) => Ok(loaded),
            Err(_) if self.config().recompile_rejected_artifacts => {
                let wasm = artifact::embedded_wasm(bytes).map_err(rejected)?;
                let (module, mut image) = self.compile(wasm.to_vec(), None)?;
                let text = std::mem::take(&mut image.text).into();
                Ok(Loaded { module, image, text })
            }
            Err(error) => Err(rejected(error)),
        }
    }

    pub(crate) fn decode_vouched<'a>(
        &self,
        vouched: wardian_vm::VouchedArtifact<'a>,
    ) -> Result<Loaded<'a>> {
        self.loaded(artifact::Source::Vouched(vouched)).map_err(rejected)
    }

    /// For [`ModuleCode`](crate::ModuleCode), which runs nothing.
    pub(crate) fn decode_unauthenticated<'a>(&self, bytes: &'a [u8]) -> Result<Loaded<'a>> {
        let found = artifact::decode_to_show(bytes, self.compatibility()).map_err(rejected)?;
        let (module, _) = self.decode(found.wasm.to_vec())?;
        let image = found.tables().map_err(rejected)?;
        Ok(Loaded { module, image, text: found.text().into() })
    }

    fn loaded<'a>(
        &self,
        source: artifact::Source<'a, '_>,
    ) -> Result<Loaded<'a>, artifact::ArtifactError> {
        let parallel = self.compiler().is_parallel();
        let found = artifact::decode(source, self.compatibility(), parallel)?;
        let (module, image) = found.load(self.settings().proposals, parallel)?;
        let (bytes, code_bytes) = (found.wasm.len(), found.text().len());
        tracing::debug!(target: log::MODULE, bytes, code_bytes, "artifact accepted");
        Ok(Loaded { module, image, text: found.text().into() })
    }

    /// Whether `bytes` look like an artifact of any version. Says nothing about who made them.
    pub fn detect_precompiled(bytes: &[u8]) -> Option<Precompiled> {
        artifact::detect(bytes).then_some(Precompiled::Module)
    }

    /// As [`detect_precompiled`](Engine::detect_precompiled), reading only the start of a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn detect_precompiled_file(path: impl AsRef<Path>) -> Result<Option<Precompiled>> {
        let path = path.as_ref();
        let mut start = Vec::new();
        File::open(path)
            .and_then(|file| file.take(16).read_to_end(&mut start))
            .with_context(|| format!("failed to read `{}`", path.display()))?;
        Ok(Engine::detect_precompiled(&start))
    }
}

/// Single choices of its configuration, by the names of their setters. Those that concern the compiler
/// are `None` in an engine that has none.
impl Engine {
    fn of_compiler<R>(&self, choice: R) -> Option<R> {
        (rt::HAS_COMPILER && self.config().compiler).then_some(choice)
    }

    /// See [`Config::strategy`].
    pub fn get_strategy(&self) -> Option<Strategy> {
        self.of_compiler(self.config().strategy)
    }

    /// See [`Config::cranelift_opt_level`].
    pub fn get_cranelift_opt_level(&self) -> Option<OptLevel> {
        self.of_compiler(match self.settings().opt_level {
            wardian_module::OptLevel::None => OptLevel::None,
            wardian_module::OptLevel::Speed => OptLevel::Speed,
            wardian_module::OptLevel::SpeedAndSize => OptLevel::SpeedAndSize,
        })
    }

    /// See [`Config::cranelift_regalloc_algorithm`].
    pub fn get_cranelift_regalloc_algorithm(&self) -> Option<RegallocAlgorithm> {
        self.of_compiler(self.config().regalloc)
    }

    /// See [`Config::cranelift_debug_verifier`].
    pub fn get_cranelift_debug_verifier(&self) -> Option<bool> {
        self.of_compiler(self.settings().verifier)
    }

    /// See [`Config::cranelift_nan_canonicalization`].
    pub fn get_cranelift_nan_canonicalization(&self) -> Option<bool> {
        self.of_compiler(self.settings().nan_canonicalization)
    }

    /// See [`Config::compiler_inlining`].
    pub fn get_compiler_inlining(&self) -> Inlining {
        if self.settings().inlining { Inlining::Yes } else { Inlining::No }
    }

    /// See [`Config::parallel_compilation`].
    pub fn get_parallel_compilation(&self) -> bool {
        self.config().parallel_compilation
    }

    /// See [`Config::relaxed_simd_deterministic`].
    pub fn get_relaxed_simd_deterministic(&self) -> bool {
        self.settings().relaxed_simd_deterministic
    }

    /// See [`Config::signals_based_traps`].
    pub fn get_signals_based_traps(&self) -> bool {
        self.settings().signals_based_traps
    }

    /// See [`Config::memory_may_move`].
    pub fn get_memory_may_move(&self) -> bool {
        self.settings().memory_may_move
    }

    /// See [`Config::memory_reservation`].
    pub fn get_memory_reservation(&self) -> u64 {
        self.settings().memory_reservation
    }

    /// See [`Config::memory_reservation_for_growth`]; `None` for half of the length.
    pub fn get_memory_reservation_for_growth(&self) -> Option<u64> {
        self.settings().memory_reservation_for_growth
    }

    /// See [`Config::memory_init_cow`].
    pub fn get_memory_init_cow(&self) -> bool {
        self.settings().memory_init_cow
    }

    /// See [`Config::gc_heap_reservation`].
    pub fn get_gc_heap_reservation(&self) -> u64 {
        self.config().heap.reservation
    }

    /// See [`Config::gc_heap_initial_size`].
    pub fn get_gc_heap_initial_size(&self) -> u64 {
        self.config().heap.initial_bytes
    }

    /// See [`Config::gc_zeal_alloc_counter`].
    pub fn get_gc_zeal_alloc_counter(&self) -> Option<std::num::NonZeroU32> {
        self.config().heap.zeal
    }

    /// See [`Config::memory_guard_size`].
    pub fn get_memory_guard_size(&self) -> u64 {
        self.settings().memory_guard_size
    }

    /// See [`Config::guard_before_linear_memory`].
    pub fn get_guard_before_linear_memory(&self) -> bool {
        self.settings().guard_before_linear_memory
    }

    /// See [`Config::max_wasm_stack`].
    pub fn get_max_wasm_stack(&self) -> usize {
        self.config().max_wasm_stack
    }

    /// See [`Config::epoch_interruption`].
    pub fn get_epoch_interruption(&self) -> bool {
        self.settings().epoch_interruption
    }

    /// See [`Config::consume_fuel`].
    pub fn get_consume_fuel(&self) -> bool {
        self.settings().consume_fuel
    }

    /// See [`Config::debug_info`].
    pub fn get_debug_info(&self) -> bool {
        self.config().debug_info
    }

    /// See [`Config::wasm_backtrace_max_frames`]; 0 for none.
    pub fn get_wasm_backtrace_max_frames(&self) -> usize {
        self.config().backtrace_max_frames.map_or(0, |frames| frames.get())
    }

    /// See [`Config::target`]; `None` when it was not called.
    pub fn get_target(&self) -> Option<String> {
        self.config().target.clone()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl fmt::Debug for EngineWeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineWeak").finish_non_exhaustive()
    }
}

impl Default for Engine {
    /// An engine with default choices.
    ///
    /// # Panics
    ///
    /// On a machine that cannot run generated code, where [`Engine::new`] gives an error.
    fn default() -> Engine {
        Engine::new(&Config::default()).expect("this machine cannot run generated code")
    }
}

/// The key that a configuration names, read when it is first needed.
fn lazy_key(key: ArtifactKey) -> rt::LazyKey {
    rt::LazyKey::new(move || match &key {
        ArtifactKey::Bytes(bytes) => Ok(artifact::ArtifactKey::from_bytes(*bytes)),
        ArtifactKey::UserFile => artifact::ArtifactKey::of_user(),
        ArtifactKey::File(path) => artifact::ArtifactKey::of_file(path),
    })
}

fn limit(error: wardian_vm::CodeError) -> Error {
    Error::tagged(ErrorKind::Limit, error.to_string())
}

fn invalid(error: wardian_module::DecodeError) -> Error {
    Error::tagged(ErrorKind::InvalidModule, error.to_string())
}

fn rejected(error: artifact::ArtifactError) -> Error {
    tracing::debug!(target: log::MODULE, %error, "artifact refused");
    Error::new(error).with_tag(ErrorKind::InvalidModule)
}

pub(crate) fn compile_error(error: rt::CompileError) -> Error {
    match error {
        rt::CompileError::Invalid(error) => invalid(error),
        other => Error::tagged(ErrorKind::Limit, other.to_string()),
    }
}

/// What an artifact holds, ready to be published or shown.
pub(crate) struct Loaded<'a> {
    pub(crate) module: Module,
    /// Without its text, which lies in the artifact.
    pub(crate) image: CodeImage,
    pub(crate) text: Cow<'a, [u8]>,
}

/// A reference to an [`Engine`] that does not keep it alive.
///
/// ```
/// use wardian::Engine;
///
/// let engine = Engine::default();
/// let weak = engine.weak();
/// assert!(Engine::same(&weak.upgrade().expect("it is alive"), &engine));
/// drop(engine);
/// assert!(weak.upgrade().is_none());
/// ```
#[derive(Clone, Default)]
pub struct EngineWeak {
    inner: Weak<EngineInner>,
}

impl EngineWeak {
    /// The engine, if it still exists.
    pub fn upgrade(&self) -> Option<Engine> {
        Some(Engine { inner: self.inner.upgrade()? })
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Engine>();
    shared_between_threads::<EngineWeak>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_references_do_not_keep_it() {
        let engine = Engine::default();
        let weak = engine.weak();
        assert!(Engine::same(&weak.upgrade().unwrap(), &engine));
        drop(engine);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn artifacts_are_recognised_by_their_start() {
        assert_eq!(Engine::detect_precompiled(b"\x89wardian 1"), Some(Precompiled::Module));
        assert_eq!(Engine::detect_precompiled(b"\0asm\x01\0\0\0"), None);
        assert_eq!(Engine::detect_precompiled(b""), None);
    }
}

//! The code cache: a folder in which code that one run made waits for the next.
//!
//! [`Cache`] is the folder, [`ModuleCache`] what an engine does with it, [`Place`] the part that belongs
//! to one module. An entry's name is a digest of everything its code depends on: the module's bytes, the
//! compatibility key, and whether functions are called through slots. Its content says the same again,
//! under a MAC (`artifact/entry.rs`).
//!
//! Invariant: the cache is never the reason why something fails, and never why code differs from what
//! the engine's compilers would make. Whatever is in doubt is a miss: it is traced, and the module
//! compiled. Who can write the folder and knows the key could run code; others can only make misses.
//!
//! NOTE [validated entries]
//! An entry says whether all bodies of its module were found valid, under the proposals that its key
//! names. Then they are not validated again: nobody without the key can say so of other bytes. Safety
//! does not hang on it, since every tier validates what it compiles; that a module is refused before it
//! runs does.
//!
//! NOTE [additions]
//! Functions that a later run adds are few beside those that are there. They go to a second file, the
//! addition, until that would have more than a quarter of the entry's bytes: then both become one entry.
//! So a run writes little more than what is new, and what is written again grows with the code only. An
//! addition is an entry like any other and needs none beside it.

#[cfg_attr(unix, path = "cache/folder_unix.rs")]
#[cfg_attr(not(unix), path = "cache/folder_none.rs")]
mod folder;

use crate::artifact::{
    ArtifactError, ArtifactKey, CachedFunction, Compatibility, Content, Entry, EntryFunctions,
    FileError, KeyError, Seal, user_folder,
};
use crate::background::Background;
use crate::log;
use crate::stats::Counters;
use folder::Folder;
use std::collections::{HashMap, HashSet};
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use wardian_module::DefinedFuncIndex;
use wardian_module::image::{CodeImage, FunctionCode, RelocTarget};
use wardian_vm::Tier;

/// Bytes that a cache holds unless told otherwise.
pub const DEFAULT_LIMIT: u64 = 1 << 30;
/// What a cleanup leaves, in percent of the limit.
const KEPT_PERCENT: u64 = 80;
/// Files that a cleanup looks at. With more, the oldest of those it sees go, down to half of it.
const SCANNED: usize = 4096;
/// An unfinished file that is older than this has no writer any more.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Bytes of new optimized code of a module that are written before the module is dropped.
const WRITTEN_EARLY: usize = 256 << 10;
/// Bytes of bodies, or of the first tier's code, from which on it pays to have them validated, or
/// compiled, already: with less, and no optimized code, nothing is written.
const WORTH_KEEPING: usize = 64 << 10;
/// What part of an entry its addition may be, and bytes of an entry from which on it may have one: NOTE
/// [additions].
const ADDED_PART: u64 = 4;
const HAS_ADDITION: u64 = 64 << 10;

/// A folder of compiled code with a limit of bytes.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    limit: u64,
    counters: Counters,
}

/// How full a cache is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheUsage {
    /// Modules that it has code of, for each strategy and set of settings.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// A file in a cache's folder.
#[derive(Debug)]
struct Item {
    name: String,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// A cache in `folder`, which need not exist.
    pub fn new(folder: PathBuf, limit: u64) -> Cache {
        Cache { path: folder, limit, counters: Counters::default() }
    }

    /// The user's folder: `wardian` below `XDG_CACHE_HOME` or else `~/.cache`; `None` if the
    /// environment does not say where that is.
    pub fn user_folder() -> Option<PathBuf> {
        user_folder(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"), ".cache")
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// Bytes that it may hold.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Counts for all engines that use it.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How full it is.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read or others can write it.
    pub fn usage(&self) -> Result<CacheUsage, FileError> {
        let mut usage = CacheUsage::default();
        if let Some(folder) = Folder::open(&self.path)? {
            for item in folder.list(usize::MAX)?.0 {
                usage.entries += u64::from(item.name.ends_with(EXTENSION));
                usage.bytes += item.bytes;
            }
        }
        Ok(usage)
    }

    /// Removes all entries; what there was. Other files and the folder stay.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, others can write it, or an entry cannot be removed.
    pub fn clear(&self) -> Result<CacheUsage, FileError> {
        let usage = self.usage()?;
        if let Some(folder) = Folder::open(&self.path)? {
            for item in folder.list(usize::MAX)?.0 {
                folder.remove(&item.name)?;
            }
        }
        Ok(usage)
    }

    /// Writes an entry, unless it is larger than the cache, and makes room; whether it was written.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<bool, FileError> {
        let folder = Folder::make(&self.path)?;
        if bytes.len() as u64 > self.limit {
            tracing::debug!(target: log::CACHE, bytes = bytes.len(), "larger than the cache");
            return Ok(false);
        }
        folder.write(name, bytes)?;
        self.clean(&folder)?;
        Ok(true)
    }

    /// Removes a file of ours, if there is one.
    fn remove(&self, name: &str) -> Result<(), FileError> {
        Folder::open(&self.path)?.map_or(Ok(()), |folder| folder.remove(name))
    }

    /// Removes what was not used for longest, if there is too much.
    fn clean(&self, folder: &Folder) -> Result<(), FileError> {
        let (mut items, all) = folder.list(SCANNED)?;
        let now = SystemTime::now();
        let age = |item: &Item| now.duration_since(item.used).unwrap_or_default();
        items.sort_by_key(|item| item.used);
        let mut bytes: u64 = items.iter().map(|item| item.bytes).sum();
        let mut count = items.len();
        let full = bytes > self.limit;
        for item in items {
            let too_much = full && bytes > self.limit / 100 * KEPT_PERCENT;
            let too_many = !all && count > SCANNED / 2;
            let temporary = is_temporary(&item.name);
            let abandoned = temporary && age(&item) > ABANDONED;
            // Somebody is writing the other temporary files.
            if abandoned || !temporary && (too_much || too_many) {
                folder.remove(&item.name)?;
                bytes -= item.bytes;
                count -= 1;
                tracing::debug!(target: log::CACHE, name = item.name, bytes = item.bytes, "removed from the cache");
            }
        }
        Ok(())
    }
}

/// Hexadecimal digits of an entry's name.
const DIGITS: usize = 32;
const EXTENSION: &str = ".wcode";
/// Of an entry's addition.
const ADDED: &str = ".wadded";
const TEMPORARY: &str = ".new-";

/// The name of a file that becomes the entry or addition `name`.
fn temporary(name: &str, random: u64) -> String {
    format!("{name}{TEMPORARY}{random:016x}")
}

fn is_temporary(name: &str) -> bool {
    name.contains(TEMPORARY)
}

/// Whether we gave a file this name.
fn is_ours(name: &str) -> bool {
    let hex =
        |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    let Some((digest, rest)) = name.split_at_checked(DIGITS) else { return false };
    let Some(rest) = rest.strip_prefix(EXTENSION).or_else(|| rest.strip_prefix(ADDED)) else {
        return false;
    };
    hex(digest, DIGITS)
        && (rest.is_empty() || rest.strip_prefix(TEMPORARY).is_some_and(|random| hex(random, 16)))
}

/// A key that is read when it is first needed.
pub struct LazyKey {
    read: Box<dyn Fn() -> Result<ArtifactKey, KeyError> + Send + Sync>,
    key: OnceLock<ArtifactKey>,
}

impl fmt::Debug for LazyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LazyKey(…)")
    }
}

impl LazyKey {
    /// The key that `read` gives.
    pub fn new(
        read: impl Fn() -> Result<ArtifactKey, KeyError> + Send + Sync + 'static,
    ) -> LazyKey {
        LazyKey { read: Box::new(read), key: OnceLock::new() }
    }

    /// The key.
    ///
    /// # Errors
    ///
    /// When it is not to be had. It is tried again then.
    pub fn get(&self) -> Result<&ArtifactKey, KeyError> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = (self.read)()?;
        Ok(self.key.get_or_init(|| key))
    }
}

/// What an engine does with a cache. Dropping it waits until everything is written.
pub struct ModuleCache(Arc<Inner>);

struct Inner {
    cache: Arc<Cache>,
    compatibility: Compatibility,
    key: Arc<LazyKey>,
    writer: Background,
}

impl Drop for ModuleCache {
    fn drop(&mut self) {
        self.0.writer.wait();
        self.0.writer.stop();
    }
}

/// How functions of cached code call each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Functions,
    Image,
}

impl ModuleCache {
    /// For an engine with this key of artifacts and this compatibility key.
    pub fn new(cache: Arc<Cache>, compatibility: Compatibility, key: Arc<LazyKey>) -> ModuleCache {
        let writer = Background::new("wardian-cache");
        ModuleCache(Arc::new(Inner { cache, compatibility, key, writer }))
    }

    /// Waits until everything that was handed on is written.
    pub fn wait(&self) {
        self.0.writer.wait();
    }

    /// The place of a module whose functions come one by one.
    pub fn functions(&self, wasm: &[u8], parallel: bool) -> Place {
        self.place(wasm, parallel, Kind::Functions)
    }

    /// The place of a module that is compiled whole.
    pub fn image(&self, wasm: &[u8], parallel: bool) -> Place {
        self.place(wasm, parallel, Kind::Image)
    }

    fn place(&self, wasm: &[u8], parallel: bool, kind: Kind) -> Place {
        let mut hasher = blake3::Hasher::new();
        crate::artifact::hash(&mut hasher, wasm, parallel);
        let digest = hasher.finalize();
        let mut hasher = blake3::Hasher::new();
        hasher.update(digest.as_bytes());
        hasher.update(&[kind as u8]);
        hasher.update(self.0.compatibility.as_bytes());
        let digits = &hasher.finalize().to_hex()[..DIGITS];
        Place {
            inner: self.0.clone(),
            digest,
            parallel,
            name: format!("{digits}{EXTENSION}"),
            added: format!("{digits}{ADDED}"),
            entry_bytes: AtomicU64::new(0),
            process: wardian_vm::process(),
        }
    }
}

/// Where code of one module lies in a cache.
pub struct Place {
    inner: Arc<Inner>,
    digest: blake3::Hash,
    /// Whether several threads may make digests.
    parallel: bool,
    /// Names of its entry and of the addition to that.
    name: String,
    added: String,
    /// Bytes of the entry, as far as it was found to be good.
    entry_bytes: AtomicU64,
    process: u32,
}

impl Place {
    /// The image that was kept, if it is to be trusted.
    pub fn load_image(&self, counters: &Counters) -> Option<CodeImage> {
        let folder = self.folder();
        let found = self.load(folder.as_ref(), &self.name).and_then(|entry| match entry.content {
            Content::Image(image) => Some(*image),
            Content::Functions(_) => None,
        });
        self.count(counters, found.is_some());
        found
    }

    /// The functions that were kept, if they are to be trusted.
    pub fn load_functions(&self, counters: &Counters) -> Option<KeptFunctions> {
        let folder = self.folder();
        let entry = self.read(folder.as_ref(), &self.name, EntryFunctions::new);
        let entry_bytes = entry.as_ref().map_or(0, |(_, functions)| functions.entry_bytes());
        self.entry_bytes.store(entry_bytes, Relaxed);
        let mut added = Batch::default();
        let is_added = added.merge(self.load(folder.as_ref(), &self.added));
        self.count(counters, entry.is_some() || is_added);
        let validated = added.validated || entry.as_ref().is_some_and(|(validated, _)| *validated);
        let entry = entry.map(|(_, functions)| functions);
        (entry.is_some() || is_added).then_some(KeptFunctions { validated, entry, added })
    }

    fn count(&self, counters: &Counters, hit: bool) {
        counters.looked_up(hit);
        self.inner.cache.counters.looked_up(hit);
    }

    /// Counts code that was loaded and can run.
    pub fn loaded(&self, counters: &Counters, functions: usize, code_bytes: usize, since: Instant) {
        tracing::debug!(
            target: log::CACHE,
            name = self.name,
            functions,
            code_bytes,
            micros = since.elapsed().as_micros() as u64,
            "found in the cache"
        );
        counters.loaded(functions, code_bytes, since);
        self.inner.cache.counters.loaded(functions, code_bytes, since);
    }

    fn seal(&self) -> Result<Seal<'_>, KeyError> {
        let Inner { compatibility, key, .. } = &*self.inner;
        Ok(Seal { key: key.get()?, compatibility, digest: &self.digest, parallel: self.parallel })
    }

    /// The folder, if there is one and it may be trusted.
    fn folder(&self) -> Option<Folder> {
        match Folder::open(&self.inner.cache.path) {
            Ok(Some(folder)) => Some(folder),
            Ok(None) => {
                tracing::debug!(target: log::CACHE, name = self.name, "not in the cache");
                None
            }
            Err(error) => {
                tracing::warn!(target: log::CACHE, %error, "the code cache is not used");
                None
            }
        }
    }

    fn load(&self, folder: Option<&Folder>, name: &str) -> Option<Entry> {
        self.read(folder, name, |bytes, seal| Entry::decode(&bytes, seal))
    }

    /// What `decode` makes of the bytes of an entry or addition; `None` if there are none, or they are in
    /// doubt.
    fn read<R>(
        &self,
        folder: Option<&Folder>,
        name: &str,
        decode: impl FnOnce(Vec<u8>, Seal<'_>) -> Result<R, ArtifactError>,
    ) -> Option<R> {
        let bytes = match folder?.read(name, self.inner.cache.limit) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                tracing::debug!(target: log::CACHE, name, "not in the cache");
                return None;
            }
            Err(error) => {
                tracing::warn!(target: log::CACHE, %error, "the code cache is not used");
                return None;
            }
        };
        let seal = match self.seal() {
            Ok(seal) => seal,
            Err(error) => {
                tracing::warn!(target: log::CACHE, %error, "the code cache is not used");
                return None;
            }
        };
        match decode(bytes, seal) {
            Ok(entry) => Some(entry),
            Err(error) => {
                tracing::warn!(target: log::CACHE, name, %error, "a cache entry is refused");
                None
            }
        }
    }

    /// Keeps an image, soon.
    pub fn save_image(self, image: CodeImage) {
        Arc::new(self).in_background(move |place| {
            let content = Content::Image(Box::new(image));
            place.write(&place.name, &Entry { validated: true, content });
        });
    }

    /// Adds functions to those that are kept, soon. See NOTE [additions].
    fn save_functions(self: Arc<Place>, mut batch: Batch) {
        self.in_background(move |place| {
            // Another run may have added since.
            let folder = place.folder();
            batch.merge(place.load(folder.as_ref(), &place.added));
            let entry_bytes = place.entry_bytes.load(Relaxed);
            if entry_bytes >= HAS_ADDITION && batch.bytes() < entry_bytes / ADDED_PART {
                place.write(&place.added, &batch.into_entry());
                return;
            }
            batch.merge(place.load(folder.as_ref(), &place.name));
            if let Some(bytes) = place.write(&place.name, &batch.into_entry()) {
                place.entry_bytes.store(bytes, Relaxed);
                if let Err(error) = place.inner.cache.remove(&place.added) {
                    tracing::warn!(target: log::CACHE, %error, "an addition is left behind");
                }
            }
        });
    }

    fn in_background(self: Arc<Place>, act: impl FnOnce(&Place) + Send + 'static) {
        let writer = self.inner.writer.clone();
        // The engine may be gone, and its thread with it.
        if let Err(task) = writer.push(Box::new(move || act(&self))) {
            task();
        }
    }

    /// Writes an entry or addition; how many bytes, if they lie there now.
    fn write(&self, name: &str, entry: &Entry) -> Option<u64> {
        let seal = match self.seal() {
            Ok(seal) => seal,
            Err(error) => {
                tracing::warn!(target: log::CACHE, %error, "code is not kept");
                return None;
            }
        };
        let encoded = entry.encode(seal);
        let bytes = encoded.len() as u64;
        match self.inner.cache.write(name, &encoded) {
            Ok(written) => {
                tracing::debug!(target: log::CACHE, name, bytes, written, "code is kept");
                written.then_some(bytes)
            }
            Err(error) => {
                tracing::warn!(target: log::CACHE, %error, "code is not kept");
                None
            }
        }
    }
}

/// Functions on their way to or from a cache.
#[derive(Default)]
struct Batch {
    validated: bool,
    functions: HashMap<DefinedFuncIndex, CachedFunction>,
}

impl Batch {
    /// Adds what lies there, as far as it is not better here; whether anything does.
    fn merge(&mut self, kept: Option<Entry>) -> bool {
        let Some(Entry { validated, content: Content::Functions(functions) }) = kept else {
            return false;
        };
        self.validated |= validated;
        for kept in functions {
            match self.functions.get(&kept.func) {
                Some(new) if new.tier >= kept.tier => {}
                _ => _ = self.functions.insert(kept.func, kept),
            }
        }
        true
    }

    /// What the functions take.
    fn bytes(&self) -> u64 {
        self.functions.values().map(|function| function.size() as u64).sum()
    }

    fn into_entry(self) -> Entry {
        let content = Content::Functions(callees_first(self.functions));
        Entry { validated: self.validated, content }
    }
}

/// Functions in an order in which those that others call by distance come before these, as far as there is one:
/// code that is published finds the final code that it calls.
fn callees_first(mut left: HashMap<DefinedFuncIndex, CachedFunction>) -> Vec<CachedFunction> {
    let mut funcs: Vec<DefinedFuncIndex> = left.keys().copied().collect();
    funcs.sort_unstable();
    let mut ordered = Vec::with_capacity(funcs.len());
    // Functions whose callees come first, and how many of the places where they refer to any were looked at.
    let mut open: Vec<(CachedFunction, usize)> = Vec::new();
    for func in funcs {
        open.extend(left.remove(&func).map(|function| (function, 0)));
        while let Some((function, looked_at)) = open.last_mut() {
            let reloc = function.code.relocs.get(*looked_at).map(|reloc| reloc.target);
            *looked_at += 1;
            match reloc {
                Some(RelocTarget::Func(callee)) => {
                    open.extend(left.remove(&callee).map(|function| (function, 0)));
                }
                Some(RelocTarget::ModuleTable) => {}
                None => ordered.extend(open.pop().map(|(function, _)| function)),
            }
        }
    }
    ordered
}

/// Functions that earlier runs left.
pub struct KeptFunctions {
    /// Whether all bodies of the module are known to be valid: NOTE [validated entries].
    pub validated: bool,
    entry: Option<EntryFunctions>,
    added: Batch,
}

impl KeptFunctions {
    /// All of them, decoded one after the other, those of the addition last: they may call others by
    /// distance, which are in the entry then.
    pub(crate) fn functions(self) -> impl Iterator<Item = Result<CachedFunction, ArtifactError>> {
        let KeptFunctions { entry, added, .. } = self;
        let better: HashSet<_> = added.functions.keys().copied().collect();
        let is_best = move |function: &Result<CachedFunction, _>| {
            !function.as_ref().is_ok_and(|function| better.contains(&function.func))
        };
        let added = callees_first(added.functions).into_iter().map(Ok);
        entry.into_iter().flatten().filter(is_best).chain(added)
    }
}

/// Collects what a run made of a module, for the next run.
pub(crate) struct Collector {
    place: Arc<Place>,
    validated: bool,
    state: Mutex<Collected>,
}

#[derive(Default)]
struct Collected {
    /// Without new code there is nothing to write.
    known: bool,
    functions: HashMap<DefinedFuncIndex, CachedFunction>,
    /// Bytes of them, by tier.
    baseline: usize,
    optimized: usize,
    written: usize,
}

impl Collector {
    /// For a module that is valid, if it was `validated`; is that `known` from the entry already?
    pub(crate) fn new(place: Place, validated: bool, code_bytes: usize, known: bool) -> Collector {
        let known = !validated || known || code_bytes < WORTH_KEEPING;
        Collector {
            place: Arc::new(place),
            validated,
            state: Mutex::new(Collected { known, ..Collected::default() }),
        }
    }

    fn state(&self) -> MutexGuard<'_, Collected> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Code was published.
    pub(crate) fn add(&self, func: DefinedFuncIndex, tier: Tier, code: FunctionCode) {
        let function = CachedFunction { func, tier, code };
        let mut state = self.state();
        match tier {
            Tier::Baseline => state.baseline += function.size(),
            Tier::Optimized => state.optimized += function.size(),
        }
        state.functions.insert(func, function);
        // Each time as much again, so that what is written grows with the code only.
        if state.optimized >= WRITTEN_EARLY.max(state.written) {
            self.hand_on(state);
        }
    }

    /// Writes what is not written yet, if it is worth it.
    pub(crate) fn save(&self) {
        // After `fork`, another thread of the parent may have held the lock.
        if self.place.process != wardian_vm::process() {
            return;
        }
        let state = self.state();
        if state.optimized > 0 || state.baseline >= WORTH_KEEPING || !state.known {
            self.hand_on(state);
        }
    }

    fn hand_on(&self, mut state: MutexGuard<'_, Collected>) {
        state.written += std::mem::take(&mut state.optimized);
        (state.baseline, state.known) = (0, true);
        let functions = std::mem::take(&mut state.functions);
        drop(state);
        self.place.clone().save_functions(Batch { validated: self.validated, functions });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_module::image::Reloc;

    #[test]
    fn callees_come_before_their_callers() {
        let function = |func: u32, callees: &[u32]| {
            let relocs = callees.iter().map(|callee| Reloc {
                offset: 0,
                target: RelocTarget::Func(DefinedFuncIndex(*callee)),
                addend: 0,
            });
            let code = FunctionCode { relocs: relocs.collect(), ..FunctionCode::default() };
            let func = DefinedFuncIndex(func);
            (func, CachedFunction { func, tier: Tier::Optimized, code })
        };
        let functions = [
            function(0, &[4, 2]),
            function(1, &[1]),
            function(2, &[9, 3]),
            function(3, &[0]),
            function(4, &[]),
        ];
        let ordered = callees_first(functions.into_iter().collect());
        let funcs: Vec<u32> = ordered.iter().map(|function| function.func.0).collect();
        assert_eq!(funcs, [4, 3, 2, 0, 1]);
    }
}

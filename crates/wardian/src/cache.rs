//! [`Cache`]: a folder of compiled code, and [`CacheConfig`], where it is and how large.

use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wardian_runtime as rt;
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// use wardian::{Cache, CacheConfig, CacheUsage};
///
/// let cache = Cache::new(CacheConfig::new().with_directory(folder.path()))?;
/// let usage: CacheUsage = cache.usage()?;
/// assert_eq!((usage.entries, usage.bytes), (0, 0));
/// # Ok::<(), wardian::Error>(())
/// ```
pub use wardian_runtime::CacheUsage;

/// Where a [`Cache`] is and how large it may become.
///
/// ```
/// use wardian::CacheConfig;
///
/// let mut config = CacheConfig::new();
/// config.with_directory("/var/cache/plugins").with_files_total_size_soft_limit(64 << 20);
/// assert_eq!(config.files_total_size_soft_limit(), Some(64 << 20));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CacheConfig {
    directory: Option<PathBuf>,
    size_limit: Option<u64>,
}

impl CacheConfig {
    /// The user's folder (`wardian` in `XDG_CACHE_HOME` or else in `~/.cache`), and 1 GiB.
    pub fn new() -> CacheConfig {
        CacheConfig::default()
    }

    /// Another folder, by its absolute path. It is made when something is first kept. It must belong to
    /// the user, and nobody else may be able to write it, or nothing is kept and nothing found.
    pub fn with_directory(&mut self, directory: impl Into<PathBuf>) -> &mut CacheConfig {
        self.directory = Some(directory.into());
        self
    }

    /// What [`with_directory`](CacheConfig::with_directory) was given.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// What [`with_files_total_size_soft_limit`] was given.
    ///
    /// [`with_files_total_size_soft_limit`]: CacheConfig::with_files_total_size_soft_limit
    pub fn files_total_size_soft_limit(&self) -> Option<u64> {
        self.size_limit
    }

    /// Bytes that it may hold; past that, what was not used for longest is removed.
    pub fn with_files_total_size_soft_limit(&mut self, bytes: u64) -> &mut CacheConfig {
        self.size_limit = Some(bytes);
        self
    }
}

/// A folder of compiled code, for [`Config::cache`](crate::Config::cache). Cheap to clone; engines and
/// processes may share it.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// use wardian::{Cache, CacheConfig, Config, Engine, Module, Strategy};
///
/// let cache = Cache::new(CacheConfig::new().with_directory(folder.path().join("code")))?;
/// let mut config = Config::new();
/// config.strategy(Strategy::Optimizing);
/// config.cache(Some(cache.clone())).artifact_key([7; 32]);
/// for _ in 0..2 {
///     let engine = Engine::new(&config)?;
///     Module::new(&engine, "(module (func (export \"f\")))")?;
/// }
/// assert_eq!((cache.cache_misses(), cache.cache_hits()), (1, 1));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    inner: Arc<rt::Cache>,
}

impl Cache {
    /// The cache that `config` describes. Nothing is opened or made yet.
    ///
    /// # Errors
    ///
    /// When the folder's path is not absolute, or, without one, when the environment does not say where
    /// the user's folder is.
    pub fn new(config: &CacheConfig) -> Result<Cache> {
        let refused = |message: String| Error::tagged(ErrorKind::Misuse, message);
        let directory = match &config.directory {
            Some(directory) if directory.is_absolute() => directory.clone(),
            Some(directory) => {
                return Err(refused(format!(
                    "the folder of a cache: expected an absolute path, found {directory:?}"
                )));
            }
            None => rt::Cache::user_folder().ok_or_else(|| {
                refused(
                    "no folder for a cache: expected XDG_CACHE_HOME or HOME to hold an absolute \
                     path, found neither; set one of them or `CacheConfig::with_directory`"
                        .into(),
                )
            })?,
        };
        let limit = config.size_limit.unwrap_or(rt::DEFAULT_LIMIT);
        Ok(Cache { inner: Arc::new(rt::Cache::new(directory, limit)) })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        self.inner.folder()
    }

    /// Bytes that it may hold.
    pub fn size_limit(&self) -> u64 {
        self.inner.limit()
    }

    /// Modules that were found in it since it was made here.
    pub fn cache_hits(&self) -> usize {
        self.inner.counters().stats().cache_hits as usize
    }

    /// Modules that were not found in it since it was made here.
    pub fn cache_misses(&self) -> usize {
        self.inner.counters().stats().cache_misses as usize
    }

    /// How full it is.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, or others can write it.
    pub fn usage(&self) -> Result<CacheUsage> {
        Ok(self.inner.usage()?)
    }

    /// Removes all entries, and gives what there was. Other files in the folder stay.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, others can write it, or an entry cannot be removed.
    pub fn clear(&self) -> Result<CacheUsage> {
        Ok(self.inner.clear()?)
    }

    pub(crate) fn runtime(&self) -> &Arc<rt::Cache> {
        &self.inner
    }
}

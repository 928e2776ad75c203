//! [`Engine`]: the shared home of configuration and compiler, cheap to clone.
//!
//! Invariant: an engine's configuration was validated and never changes.

use crate::config::Config;
use crate::error::{Context as _, Result};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Weak};

/// First bytes of an artifact. No wasm module and no text starts like this.
pub(crate) const ARTIFACT_MAGIC: &[u8; 8] = b"\0wardian";

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
}

/// What kind of artifact some bytes are.
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
    /// when this machine cannot run generated code.
    pub fn new(config: &Config) -> Result<Engine> {
        config.validate()?;
        Ok(Engine { inner: Arc::new(EngineInner { config: config.clone() }) })
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

    /// Whether `bytes` look like an artifact of any version. Says nothing about who made them.
    pub fn detect_precompiled(bytes: &[u8]) -> Option<Precompiled> {
        bytes.starts_with(ARTIFACT_MAGIC).then_some(Precompiled::Module)
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
            .and_then(|file| file.take(ARTIFACT_MAGIC.len() as u64).read_to_end(&mut start))
            .with_context(|| format!("failed to read `{}`", path.display()))?;
        Ok(Engine::detect_precompiled(&start))
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

/// A reference to an [`Engine`] that does not keep it alive.
#[derive(Clone)]
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
        assert_eq!(Engine::detect_precompiled(b"\0wardian 1"), Some(Precompiled::Module));
        assert_eq!(Engine::detect_precompiled(b"\0asm\x01\0\0\0"), None);
        assert_eq!(Engine::detect_precompiled(b""), None);
    }
}

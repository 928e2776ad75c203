//! The artifact key: who knows it can make code that an engine runs.
//!
//! By default it lies in a file of the user's data folder, made at first use. Only that user can read
//! it: then an artifact is trusted exactly if the same user's engine made it.
//!
//! Invariant: the bytes of a key are shown by nothing here and compared with nothing; they go into the
//! derivation of the MAC's key and into the key file only.

use super::{FileError, files};
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

/// Sets the key of our MAC apart from every other use of the same secret.
const MAC_CONTEXT: &str = "wardian 2026: MAC of artifacts";
/// The same for entries of the code cache: none passes for an artifact, nor the other way round.
const ENTRY_MAC_CONTEXT: &str = "wardian 2026: MAC of cache entries";

/// The secret with which artifacts are signed.
#[derive(Clone)]
pub struct ArtifactKey([u8; KEY_BYTES]);

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArtifactKey(…)")
    }
}

/// The artifact key is not to be had.
#[derive(Debug)]
pub enum KeyError {
    /// The environment does not say where the user's files are.
    NoHome,
    /// The key file cannot be read or made, or cannot be trusted.
    File(FileError),
    /// The system gave no random bytes.
    Random(String),
    /// Key files are not to be trusted on this system.
    Unsupported,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no artifact key: ")?;
        match self {
            KeyError::NoHome => f.write_str(
                "expected XDG_DATA_HOME or HOME to hold an absolute path, found neither; \
                 set one of them or Config::artifact_key",
            ),
            KeyError::File(error) => write!(f, "{error}"),
            KeyError::Random(error) => write!(f, "no random bytes from the system: {error}"),
            KeyError::Unsupported => f.write_str(
                "who can read a file cannot be told on this system; \
                 set the key itself with Config::artifact_key",
            ),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeyError::File(error) => Some(error),
            _ => None,
        }
    }
}

impl From<FileError> for KeyError {
    fn from(error: FileError) -> KeyError {
        KeyError::File(error)
    }
}

impl ArtifactKey {
    /// The key of these bytes, which should be random and secret.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> ArtifactKey {
        ArtifactKey(bytes)
    }

    /// The user's key, in `wardian/artifact-key` below `XDG_DATA_HOME` or else `~/.local/share`; made
    /// if there is none.
    pub fn of_user() -> Result<ArtifactKey, KeyError> {
        let folder = data_folder(env::var_os("XDG_DATA_HOME"), env::var_os("HOME"));
        ArtifactKey::of_user_in(&folder.ok_or(KeyError::NoHome)?)
    }

    /// The user's key in `folder`; both are made if absent. Refused if somebody else owns or can
    /// change file or folder, or can read the file, or if one is a symbolic link.
    pub fn of_user_in(folder: &Path) -> Result<ArtifactKey, KeyError> {
        files::user_key(folder).map(ArtifactKey)
    }

    /// The key in a file that exists. Refused if somebody else than the user or root owns it, or
    /// anybody else can read or change it.
    pub fn of_file(path: &Path) -> Result<ArtifactKey, KeyError> {
        files::key_file(path).map(ArtifactKey)
    }

    /// The MAC of the content of an artifact, made by several threads if it is large and they are to be had.
    /// Comparing two takes constant time.
    pub(super) fn mac(&self, content: &[u8], parallel: bool) -> blake3::Hash {
        self.mac_in(MAC_CONTEXT, content, parallel)
    }

    /// As [`mac`](ArtifactKey::mac), of the content of a cache entry.
    pub(super) fn entry_mac(&self, content: &[u8], parallel: bool) -> blake3::Hash {
        self.mac_in(ENTRY_MAC_CONTEXT, content, parallel)
    }

    fn mac_in(&self, context: &str, content: &[u8], parallel: bool) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(context, &self.0));
        super::hash(&mut hasher, content, parallel);
        hasher.finalize()
    }
}

/// Where the user's key lies, by these values of the environment. XDG base directories: a relative
/// path is to be ignored.
fn data_folder(xdg_data_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    user_folder(xdg_data_home, home, ".local/share")
}

/// Our folder in a base folder of the user's: what a variable says, or else a place below home.
pub(crate) fn user_folder(
    base: Option<OsString>,
    home: Option<OsString>,
    below_home: &str,
) -> Option<PathBuf> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute(base).or_else(|| Some(absolute(home)?.join(below_home)))?;
    Some(base.join("wardian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let key = ArtifactKey::from_bytes([0xab; 32]);
        assert_eq!(format!("{key:?}"), "ArtifactKey(…)");
    }

    #[test]
    #[cfg_attr(not(unix), ignore = "absolute paths are written as on Unix")]
    fn the_environment_tells_the_folder() {
        let check = |xdg: Option<&str>, home: Option<&str>, expected: Option<&str>| {
            let found = data_folder(xdg.map(OsString::from), home.map(OsString::from));
            assert_eq!(found, expected.map(PathBuf::from));
        };
        check(Some("/data"), Some("/home/u"), Some("/data/wardian"));
        check(None, Some("/home/u"), Some("/home/u/.local/share/wardian"));
        check(Some(""), Some("/home/u"), Some("/home/u/.local/share/wardian"));
        check(Some("data"), Some("/home/u"), Some("/home/u/.local/share/wardian"));
        check(None, None, None);
        check(Some(""), Some(""), None);
        check(None, Some("home"), None);
    }

    #[test]
    fn a_missing_home_is_explained() {
        let text = KeyError::NoHome.to_string();
        assert!(text.contains("HOME") && text.contains("Config::artifact_key"), "{text}");
    }
}

//! Files of artifacts and keys, on systems where files have owners and modes.
//!
//! Surface: `read_file`, `read_open_file`, `user_key`, `key_file`; elsewhere `files_none.rs` stands in.
//!
//! Invariant: a path is resolved once. Who owns a file and who can change it is asked of the opened
//! file, and that file is read whole into memory of our own; what happens to the path or the file
//! afterwards does not matter.
//!
//! NOTE [key file creation]
//! A new key is written to a file of a random name in the same folder, flushed, and then linked to its
//! final name, which fails if there is one already. Whoever comes second, thread or process, discards
//! what it made and reads the winner's. So under the final name there is never a partly written key,
//! and a key once seen is never replaced.

use super::KeyError;
use super::file_error::{FileError, failed, read_all, refused};
use super::key::KEY_BYTES;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Name of the key file.
const KEY_FILE: &str = "artifact-key";

/// Permission for group and others to write.
pub(crate) const OTHERS_WRITE: u32 = 0o022;
/// Any permission of group and others.
const OTHERS_ANY: u32 = 0o077;

/// How often to look again when a key file vanishes between being made and being read.
const ATTEMPTS: u32 = 8;

/// Reads an artifact's file whole. Refused if others than its owner can write it, or if its owner is
/// neither the user nor root.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = open(CWD, path, OFlags::empty()).map_err(|error| failed(path, "open it", error))?;
    read_open_file(path, file)
}

/// As [`read_file`], of a file that is open already; `path` is for messages.
pub fn read_open_file(path: &Path, file: File) -> Result<Vec<u8>, FileError> {
    let status = examine(path, &file)?;
    expect_file(path, &status)?;
    expect_owner(path, &status, true)?;
    expect_mode(path, &status, OTHERS_WRITE, "only its owner can write")?;
    read_all(path, file, status.len())
}

/// The key in `folder`; both are made if absent.
pub(super) fn user_key(folder: &Path) -> Result<[u8; KEY_BYTES], KeyError> {
    let opened = make_folder(folder)?;
    let path = folder.join(KEY_FILE);
    for _ in 0..ATTEMPTS {
        match open(opened.as_fd(), KEY_FILE, OFlags::NOFOLLOW) {
            Ok(file) => return Ok(read_key(&path, file, false)?),
            Err(Errno::NOENT) => make_key(opened.as_fd(), &path)?,
            // Linux says the first, some BSDs the others.
            Err(Errno::LOOP | Errno::MLINK) => {
                return Err(refused(&path, "a file", "a symbolic link").into());
            }
            Err(error) => return Err(failed(&path, "open it", error).into()),
        }
    }
    Err(refused(&path, "a file that stays", "one that others keep removing").into())
}

/// The key in a file that exists. Its owner may be root, and the path a symbolic link, as secrets that
/// a system hands out often are.
pub(super) fn key_file(path: &Path) -> Result<[u8; KEY_BYTES], KeyError> {
    let file = open(CWD, path, OFlags::empty()).map_err(|error| failed(path, "open it", error))?;
    Ok(read_key(path, file, true)?)
}

/// Opens for reading. Never waits for the other end of a pipe.
pub(crate) fn open<P: rustix::path::Arg>(
    at: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
) -> Result<File, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat(at, path, flags, Mode::empty()).map(File::from)
}

/// Opens a folder that only the user can use; makes it if it is absent.
pub(crate) fn make_folder(folder: &Path) -> Result<File, FileError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    match made {
        // What is there instead is examined below.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed(folder, "make this folder", error))
        }
        _ => open_folder(folder),
    }
}

/// Opens the folder of a key, or of a cache.
pub(crate) fn open_folder(path: &Path) -> Result<File, FileError> {
    let folder =
        open(CWD, path, OFlags::DIRECTORY | OFlags::NOFOLLOW).map_err(|error| {
            match path.symlink_metadata() {
                Ok(status) if status.is_symlink() => refused(path, "a folder", "a symbolic link"),
                Ok(status) if !status.is_dir() => refused(path, "a folder", "something else"),
                _ => failed(path, "open this folder", error),
            }
        })?;
    let status = examine(path, &folder)?;
    expect_owner(path, &status, false)?;
    expect_mode(path, &status, OTHERS_WRITE, "only its owner can write")?;
    Ok(folder)
}

/// Reads the key from an opened key file, if nobody else can have read or changed it.
fn read_key(path: &Path, mut file: File, of_root: bool) -> Result<[u8; KEY_BYTES], FileError> {
    let status = examine(path, &file)?;
    expect_file(path, &status)?;
    expect_owner(path, &status, of_root)?;
    expect_mode(path, &status, OTHERS_ANY, "only its owner can read or write")?;
    let wrong_length =
        || refused(path, format!("{KEY_BYTES} bytes"), format!("{} bytes", status.len()));
    if status.len() != KEY_BYTES as u64 {
        return Err(wrong_length());
    }
    let mut key = [0; KEY_BYTES];
    match file.read_exact(&mut key) {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(wrong_length()),
        Err(error) => Err(failed(path, "read it", error)),
    }
}

/// Puts a new key at `path`, which is [`KEY_FILE`] in `folder`, unless there is one meanwhile. See
/// NOTE [key file creation].
fn make_key(folder: BorrowedFd<'_>, path: &Path) -> Result<(), KeyError> {
    // The key, and what sets the temporary name apart.
    let mut random = [0; KEY_BYTES + 8];
    getrandom::fill(&mut random).map_err(|error| KeyError::Random(error.to_string()))?;
    let (key, unique) = random.split_at(KEY_BYTES);
    let unique: String = unique.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = format!("{KEY_FILE}.new-{unique}");

    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| failed(path, "make this file", error))?;
    let linked = write_key(file.into(), key).and_then(|()| {
        match rustix::fs::linkat(folder, &temporary, folder, KEY_FILE, AtFlags::empty()) {
            Err(error) if error != Errno::EXIST => Err(error.into()),
            _ => Ok(()),
        }
    });
    // If it cannot be removed, a secret that nothing uses stays behind.
    let _ = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
    Ok(linked.map_err(|error| failed(path, "make this file", error))?)
}

fn write_key(mut file: File, key: &[u8]) -> io::Result<()> {
    // An umask may have taken away more than it should.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600 as RawMode))?;
    file.write_all(key)?;
    file.sync_all()
}

pub(crate) fn examine(path: &Path, file: &File) -> Result<Metadata, FileError> {
    file.metadata().map_err(|error| failed(path, "examine it", error))
}

pub(crate) fn expect_file(path: &Path, status: &Metadata) -> Result<(), FileError> {
    if status.is_file() {
        Ok(())
    } else if status.is_dir() {
        Err(refused(path, "a file", "a folder"))
    } else {
        Err(refused(path, "a file", "a device, pipe or socket"))
    }
}

pub(crate) fn expect_owner(path: &Path, status: &Metadata, or_root: bool) -> Result<(), FileError> {
    let (user, owner) = (rustix::process::geteuid().as_raw(), status.uid());
    if owner == user || or_root && owner == 0 {
        return Ok(());
    }
    let expected = match or_root && user != 0 {
        true => format!("user {user} or root as its owner"),
        false => format!("user {user} as its owner"),
    };
    Err(refused(path, expected, format!("user {owner}")))
}

pub(crate) fn expect_mode(
    path: &Path,
    status: &Metadata,
    forbidden: u32,
    expected: &str,
) -> Result<(), FileError> {
    let mode = status.permissions().mode() & 0o7777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    let allowed = mode & !forbidden;
    let expected = format!("a mode by which {expected} (such as {allowed:04o})");
    Err(refused(path, expected, format!("mode {mode:04o}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::ArtifactKey;
    use std::fs;
    use std::os::unix::fs::{chown, symlink};
    use std::path::PathBuf;
    use std::sync::Barrier;

    /// A folder that does not exist yet, in one that vanishes with the test.
    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("share/wardian");
        (root, folder)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    /// What is said of `path`, which is refused.
    fn reason(path: &Path, error: impl Into<KeyError>) -> String {
        match error.into() {
            KeyError::File(FileError::Refused { path: at, expected, found }) => {
                assert_eq!(at, path);
                format!("expected {expected}, found {found}")
            }
            error => panic!("expected a refusal of {path:?}, found {error:?}"),
        }
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn a_key_is_made_once() {
        let (_root, folder) = scratch();
        let key = user_key(&folder).unwrap();
        assert_eq!(user_key(&folder).unwrap(), key);
        assert_eq!(key_file(&folder.join(KEY_FILE)).unwrap(), key);
        assert_eq!((mode(&folder), mode(&folder.join(KEY_FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left behind");
        let (_other_root, other) = scratch();
        assert_ne!(user_key(&other).unwrap(), key);
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn hammer_racing_threads_get_one_key() {
        for _ in 0..25 {
            let (_root, folder) = scratch();
            let barrier = Barrier::new(8);
            let keys: Vec<_> = std::thread::scope(|scope| {
                let race = || {
                    barrier.wait();
                    user_key(&folder).unwrap()
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]));
            assert_eq!(fs::read(folder.join(KEY_FILE)).unwrap(), keys[0]);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn a_key_file_that_others_can_use_is_refused() {
        let (_root, folder) = scratch();
        user_key(&folder).unwrap();
        let path = folder.join(KEY_FILE);
        let check = |expected: &str| {
            assert_eq!(reason(&path, ArtifactKey::of_user_in(&folder).unwrap_err()), expected);
            assert_eq!(reason(&path, ArtifactKey::of_file(&path).unwrap_err()), expected);
        };
        for bits in [0o640, 0o604, 0o620, 0o602, 0o601] {
            set_mode(&path, bits);
            check(&format!(
                "expected a mode by which only its owner can read or write (such as 0600), \
                 found mode {bits:04o}"
            ));
        }
        set_mode(&path, 0o600);
        for length in [0, 31, 33, 1 << 20] {
            fs::write(&path, vec![0; length]).unwrap();
            check(&format!("expected 32 bytes, found {length} bytes"));
        }
        if is_root() {
            fs::write(&path, [0; 32]).unwrap();
            chown(&path, Some(12345), None).unwrap();
            check("expected user 0 as its owner, found user 12345");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        check("expected a file, found a folder");
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn a_key_folder_that_others_can_change_is_refused() {
        let (_root, folder) = scratch();
        user_key(&folder).unwrap();
        let check = |expected: &str| {
            assert_eq!(reason(&folder, user_key(&folder).unwrap_err()), expected);
        };
        for bits in [0o770, 0o1777, 0o702] {
            set_mode(&folder, bits);
            let allowed = bits & !0o022;
            check(&format!(
                "expected a mode by which only its owner can write (such as {allowed:04o}), \
                 found mode {bits:04o}"
            ));
        }
        set_mode(&folder, 0o755);
        user_key(&folder).unwrap();
        if is_root() {
            chown(&folder, Some(12345), None).unwrap();
            check("expected user 0 as its owner, found user 12345");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn symbolic_links_to_keys_are_refused() {
        let (root, folder) = scratch();
        let key = user_key(&folder).unwrap();
        let path = folder.join(KEY_FILE);
        let elsewhere = root.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        for target in [elsewhere.as_path(), Path::new("absent")] {
            symlink(target, &path).unwrap();
            let found = reason(&path, user_key(&folder).unwrap_err());
            assert_eq!(found, "expected a file, found a symbolic link");
            fs::remove_file(&path).unwrap();
        }
        symlink(&elsewhere, &path).unwrap();
        assert_eq!(key_file(&path).unwrap(), key, "a path that was given may be a link");

        for target in [folder.as_path(), Path::new("absent")] {
            let link = root.path().join("link");
            symlink(target, &link).unwrap();
            let found = reason(&link, user_key(&link).unwrap_err());
            assert_eq!(found, "expected a folder, found a symbolic link");
            fs::remove_file(&link).unwrap();
        }
        let found = reason(&elsewhere, user_key(&elsewhere).unwrap_err());
        assert_eq!(found, "expected a folder, found something else");
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn a_folder_that_cannot_be_made_is_named() {
        let (root, _) = scratch();
        let file = root.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = user_key(&file.join("wardian")).unwrap_err().to_string();
        assert!(error.contains("file/wardian\": cannot make this folder"), "{error}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn artifacts_that_others_can_write_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x.cwasm");
        fs::write(&path, b"content").unwrap();
        for bits in [0o600, 0o644, 0o755, 0o444] {
            set_mode(&path, bits);
            assert_eq!(read_file(&path).unwrap(), b"content");
        }
        let link = root.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read_file(&link).unwrap(), b"content");
        for bits in [0o664, 0o646, 0o666] {
            set_mode(&path, bits);
            assert_eq!(
                reason(&path, read_file(&path).unwrap_err()),
                format!(
                    "expected a mode by which only its owner can write (such as 0644), \
                     found mode {bits:04o}"
                )
            );
        }
        set_mode(&path, 0o644);
        if is_root() {
            chown(&path, Some(12345), None).unwrap();
            let found = reason(&path, read_file(&path).unwrap_err());
            assert_eq!(found, "expected user 0 as its owner, found user 12345");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn what_is_no_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let found = reason(root.path(), read_file(root.path()).unwrap_err());
        assert_eq!(found, "expected a file, found a folder");
        let device = Path::new("/dev/null");
        let found = reason(device, read_file(device).unwrap_err());
        assert_eq!(found, "expected a file, found a device, pipe or socket");
        let error = read_file(&root.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("absent\": cannot open it: "), "{error}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn a_file_too_large_is_refused_before_it_is_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("huge");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        set_mode(&path, 0o600);
        let found = reason(&path, read_file(&path).unwrap_err());
        assert_eq!(found, "expected at most 4294967296 bytes, found 1099511627776 bytes");
    }

    /// The path is resolved once: what takes its place later is not read.
    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn hammer_a_replaced_file_is_read_as_one_or_the_other() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x.cwasm");
        let contents = [vec![1; 300_000], vec![2; 200_000]];
        let replace = |content: &[u8]| {
            let new = root.path().join("new");
            fs::write(&new, content).unwrap();
            set_mode(&new, 0o600);
            fs::rename(&new, &path).unwrap();
        };
        replace(&contents[0]);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..200).for_each(|n| replace(&contents[n % 2])));
            while !writer.is_finished() {
                let found = read_file(&path).unwrap();
                assert!(contents.contains(&found));
            }
        });
    }
}

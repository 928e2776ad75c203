//! The folder of a code cache, on systems where files have owners and modes.
//!
//! Surface: `Folder`; elsewhere `folder_none.rs` stands in.
//!
//! Invariant: folder and entries are opened once each and examined through what was opened: both must
//! belong to the user, and nobody else may be able to write them. An entry is read whole into memory of
//! our own.
//!
//! NOTE [cache writers]
//! An entry is written to a file of a random name in the same folder, which is then renamed. So under an
//! entry's name there is never a partly written one, whoever writes at once, and who has it open keeps
//! what was there. Nothing is flushed: what a crash of the system leaves half written, its MAC refuses.

use super::{Item, temporary};
use crate::artifact::FileError;
use crate::artifact::file_error::{failed, read_all, refused};
use crate::artifact::files::{
    OTHERS_WRITE, examine, expect_file, expect_mode, expect_owner, make_folder, open, open_folder,
};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A folder that was opened and may be trusted.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    file: File,
}

/// An entry that was opened and may be trusted.
struct Opened {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Opened {
    fn read(self) -> Result<Vec<u8>, FileError> {
        read_all(&self.path, self.file, self.bytes)
    }
}

/// An entry's time of use is not updated more often than this.
const TOUCHED_EVERY: Duration = Duration::from_secs(600);

impl Folder {
    /// `None` if there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Folder>, FileError> {
        match open_folder(path) {
            Ok(file) => Ok(Some(Folder { path: path.into(), file })),
            Err(FileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Made if there is none.
    pub(super) fn make(path: &Path) -> Result<Folder, FileError> {
        make_folder(path).map(|file| Folder { path: path.into(), file })
    }

    /// The content of an entry of at most `limit` bytes; `None` if there is none.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        self.open_entry(name, limit)?.map(Opened::read).transpose()
    }

    /// Opens an entry and examines it. What takes its place from here on is not read.
    fn open_entry(&self, name: &str, limit: u64) -> Result<Option<Opened>, FileError> {
        let path = self.path.join(name);
        let file = match open(self.file.as_fd(), name, OFlags::NOFOLLOW) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed(&path, "open it", error)),
        };
        let status = examine(&path, &file)?;
        expect_file(&path, &status)?;
        expect_owner(&path, &status, false)?;
        expect_mode(&path, &status, OTHERS_WRITE, "only its owner can write")?;
        if status.len() > limit {
            let (expected, found) = (format!("at most {limit} bytes"), status.len());
            return Err(refused(&path, expected, format!("{found} bytes")));
        }
        if status.modified().is_ok_and(is_old) {
            touch(&file);
        }
        Ok(Some(Opened { path, file, bytes: status.len() }))
    }

    /// Makes `bytes` the content of an entry. See NOTE [cache writers].
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.path.join(name);
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| failed(&path, "name it", io::Error::other(error.to_string())))?;
        let new = temporary(name, u64::from_le_bytes(random));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, &new, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failed(&path, "make this file", error))?;
        let written = write_all(file.into(), bytes)
            .and_then(|()| Ok(rustix::fs::renameat(&self.file, &new, &self.file, name)?));
        if written.is_err() {
            // What cannot be removed now is removed by a later cleanup.
            let _ = self.remove(&new);
        }
        written.map_err(|error| failed(&path, "write it", error))
    }

    /// What lies there under names of ours, at most `most` of them, and whether that is all.
    pub(super) fn list(&self, most: usize) -> Result<(Vec<Item>, bool), FileError> {
        let fail = |error: Errno| failed(&self.path, "list this folder", error);
        let mut items = Vec::new();
        for entry in Dir::read_from(&self.file).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !super::is_ours(name) {
                continue;
            }
            if items.len() == most {
                return Ok((items, false));
            }
            // Another process may have removed it.
            let Ok(status) = rustix::fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(status.st_mode as RawMode) == FileType::RegularFile {
                let modified = Duration::from_secs(status.st_mtime.max(0) as u64);
                items.push(Item {
                    name: name.into(),
                    bytes: status.st_size.max(0) as u64,
                    used: SystemTime::UNIX_EPOCH + modified,
                });
            }
        }
        Ok((items, true))
    }

    /// Removes a file. That it is gone already is no error.
    pub(super) fn remove(&self, name: &str) -> Result<(), FileError> {
        match rustix::fs::unlinkat(&self.file, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(&self.path.join(name), "remove it", error)),
        }
    }
}

fn is_old(modified: SystemTime) -> bool {
    SystemTime::now().duration_since(modified).is_ok_and(|age| age > TOUCHED_EVERY)
}

/// Notes that an entry was used. If it cannot be noted, the entry is removed sooner.
fn touch(file: &File) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: now.as_secs() as i64, tv_nsec: 0 },
    };
    let _ = rustix::fs::futimens(file, &times);
}

fn write_all(mut file: File, bytes: &[u8]) -> io::Result<()> {
    // An umask may have taken away more than it should.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600 as RawMode))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

    const NAME: &str = "0123456789abcdef0123456789abcdef.wcode";

    fn scratch() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::make(&root.path().join("cache/wardian")).unwrap();
        (root, folder)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn entries_are_written_read_and_replaced() {
        let (_root, folder) = scratch();
        assert_eq!(folder.read(NAME, 100).unwrap(), None);
        folder.write(NAME, b"one").unwrap();
        folder.write(NAME, b"second").unwrap();
        assert_eq!(folder.read(NAME, 6).unwrap().unwrap(), b"second");
        assert!(folder.read(NAME, 5).unwrap_err().to_string().contains("at most 5 bytes"));
        assert_eq!((mode(&folder.path), mode(&folder.path.join(NAME))), (0o700, 0o600));
        let (items, all) = folder.list(10).unwrap();
        assert!(all && items.len() == 1 && items[0].name == NAME && items[0].bytes == 6);
        folder.remove(NAME).unwrap();
        folder.remove(NAME).unwrap();
        assert_eq!(folder.read(NAME, 100).unwrap(), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn what_others_can_write_is_refused() {
        let (_root, folder) = scratch();
        folder.write(NAME, b"entry").unwrap();
        let path = folder.path.join(NAME);
        for bits in [0o620, 0o602, 0o666] {
            set_mode(&path, bits);
            let error = folder.read(NAME, 100).unwrap_err().to_string();
            assert!(error.contains("only its owner can write"), "{error}");
        }
        set_mode(&path, 0o600);
        for bits in [0o770, 0o1777, 0o702] {
            set_mode(&folder.path, bits);
            for error in [Folder::open(&folder.path).err(), Folder::make(&folder.path).err()] {
                let error = error.expect("refused").to_string();
                assert!(error.contains("only its owner can write"), "{error}");
            }
        }
        set_mode(&folder.path, 0o700);
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(12345), None).unwrap();
            let error = folder.read(NAME, 100).unwrap_err().to_string();
            assert!(error.contains("user 12345"), "{error}");
            chown(&folder.path, Some(12345), None).unwrap();
            let error = Folder::open(&folder.path).unwrap_err().to_string();
            assert!(error.contains("user 12345"), "{error}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn what_is_no_file_is_refused() {
        let (root, folder) = scratch();
        let path = folder.path.join(NAME);
        fs::create_dir(&path).unwrap();
        assert!(folder.read(NAME, 100).is_err());
        fs::remove_dir(&path).unwrap();
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, b"entry").unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(folder.read(NAME, 100).is_err());
        folder.write(NAME, b"new").unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"entry", "a link is replaced, not followed");
        assert_eq!(folder.read(NAME, 100).unwrap().unwrap(), b"new");

        assert!(Folder::open(&root.path().join("absent")).unwrap().is_none());
        assert!(Folder::open(&elsewhere).is_err());
        assert!(Folder::make(&elsewhere.join("below")).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn files_of_others_are_not_listed() {
        let (_root, folder) = scratch();
        fs::write(folder.path.join("notes.txt"), b"mine").unwrap();
        symlink("notes.txt", folder.path.join(NAME)).unwrap();
        assert!(folder.list(10).unwrap().0.is_empty());
        for n in 0..5 {
            folder.write(&format!("{n:032x}.wcode"), b"x").unwrap();
        }
        assert_eq!(folder.list(10).unwrap().0.len(), 5);
        let (some, all) = folder.list(3).unwrap();
        assert!(some.len() == 3 && !all);
    }

    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn a_use_is_noted() {
        let (_root, folder) = scratch();
        folder.write(NAME, b"entry").unwrap();
        let path = folder.path.join(NAME);
        let old = SystemTime::now() - Duration::from_secs(100_000);
        File::open(&path).unwrap().set_modified(old).unwrap();
        folder.read(NAME, 100).unwrap();
        assert!(!is_old(fs::metadata(&path).unwrap().modified().unwrap()));
    }

    /// Between opening and reading, somebody puts another file, a link or a folder there, or writes into it.
    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn what_takes_the_place_of_an_open_entry_is_not_read() {
        let (root, folder) = scratch();
        let path = folder.path.join(NAME);
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, b"other").unwrap();
        set_mode(&elsewhere, 0o666);
        let swaps: [&dyn Fn(); 4] = [
            &|| folder.write(NAME, b"newer").unwrap(),
            &|| fs::rename(&elsewhere, &path).unwrap(),
            &|| {
                folder.remove(NAME).unwrap();
                symlink("/etc/passwd", &path).unwrap();
            },
            &|| {
                folder.remove(NAME).unwrap();
                fs::create_dir(&path).unwrap();
            },
        ];
        for swap in swaps {
            folder.write(NAME, b"entry").unwrap();
            let opened = folder.open_entry(NAME, 100).unwrap().expect("it was written");
            swap();
            assert_eq!(opened.read().unwrap(), b"entry");
        }
        fs::remove_dir(&path).unwrap();

        // Its owner can write into it. That is read, and its MAC refuses it.
        for content in [&b"ENTRY"[..], b"entry and more", b"en", b""] {
            folder.write(NAME, b"entry").unwrap();
            let opened = folder.open_entry(NAME, 100).unwrap().expect("it was written");
            fs::write(&path, content).unwrap();
            assert_eq!(opened.read().unwrap(), content);
        }
    }

    /// What takes an entry's place while it is open is not read.
    #[test]
    #[cfg_attr(miri, ignore = "uses files")]
    fn hammer_a_replaced_entry_is_read_as_one_or_the_other() {
        let (_root, folder) = scratch();
        let contents = [vec![1; 300_000], vec![2; 200_000]];
        folder.write(NAME, &contents[0]).unwrap();
        std::thread::scope(|scope| {
            let write = || (0..100).for_each(|n| folder.write(NAME, &contents[n % 2]).unwrap());
            let writers = [scope.spawn(write), scope.spawn(write)];
            while !writers.iter().all(|writer| writer.is_finished()) {
                let found = folder.read(NAME, 1 << 20).unwrap().unwrap();
                assert!(contents.contains(&found));
            }
        });
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1, "nothing is left behind");
    }
}

//! Open directories: everything that takes a path.
//!
//! cap-std keeps resolution below the directory (invariant `beneath` in `lib.rs`). What is decided
//! here is permission, on the mode that an operation effectively needs, and what the ending of a path
//! means to each operation (`path.rs`), after the behaviour of Linux.
//!
//! Invariant [effective mode]: nothing is created, removed or renamed in a directory without
//! `DirPerms::MUTATE`; no file is opened in a mode, truncated or given other times beyond the
//! `FilePerms`; a file never gets a second name in a directory with other permissions, by link or by
//! rename.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use cap_fs_ext::{
    DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsMaybeDirExt, OpenOptionsSyncExt,
    SystemTimeSpec,
};
use cap_std::fs::{Dir, Metadata, OpenOptions};

use wardian::{Budget, BudgetShare};

use crate::ctx::take;
use crate::file::OpenFile;
use crate::limits;
use crate::path::{Ending, GuestPath};
use crate::sys;
use crate::types::{DirPerms, Errno, FdFlags, FilePerms, FileType, OFlags};

/// A directory that a guest has open.
pub(crate) struct OpenDir {
    dir: Dir,
    dir_perms: DirPerms,
    file_perms: FilePerms,
    /// The name under which the host gave it to the guest, if the host did.
    pub preopen: Option<String>,
    listing: Option<Listing>,
}

/// The entries of a directory, as they were when a guest began to list it.
struct Listing {
    entries: Vec<Entry>,
    /// What they take of the guest's budget.
    _share: Option<BudgetShare>,
}

/// One entry of a directory as `fd_readdir` tells it.
pub(crate) struct Entry {
    pub name: String,
    pub ino: u64,
    pub file_type: FileType,
}

/// How `path_open` was asked to open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenRequest {
    pub follow: bool,
    pub oflags: OFlags,
    pub fdflags: FdFlags,
    pub read: bool,
    pub write: bool,
}

/// What `path_open` found.
pub(crate) enum Opened {
    File(OpenFile),
    Dir(OpenDir),
}

impl OpenDir {
    /// A directory that the host opened for its guest.
    pub fn preopened(
        dir: Dir,
        name: String,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> OpenDir {
        OpenDir { dir, dir_perms, file_perms, preopen: Some(name), listing: None }
    }

    fn below(&self, dir: Dir) -> OpenDir {
        let OpenDir { dir_perms, file_perms, .. } = *self;
        OpenDir { dir, dir_perms, file_perms, preopen: None, listing: None }
    }

    fn may_read(&self) -> Result<(), Errno> {
        if self.dir_perms.contains(DirPerms::READ) { Ok(()) } else { Err(Errno::PERM) }
    }

    fn may_mutate(&self) -> Result<(), Errno> {
        if self.dir_perms.contains(DirPerms::READ | DirPerms::MUTATE) {
            Ok(())
        } else {
            Err(Errno::PERM)
        }
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.dir.dir_metadata()
    }

    pub fn open(&self, path: &GuestPath, request: OpenRequest) -> Result<Opened, Errno> {
        self.may_read()?;
        let OpenRequest { oflags, fdflags, write, .. } = request;
        let create = oflags.contains(OFlags::CREAT);
        let truncate = oflags.contains(OFlags::TRUNC);
        let directory = oflags.contains(OFlags::DIRECTORY);
        // A file has to be opened in some mode; reading is the harmless one.
        let read = request.read || !write;
        if create {
            self.may_mutate()?;
        }
        if read && !self.file_perms.contains(FilePerms::READ) && !directory && !path.must_be_dir() {
            return Err(Errno::PERM);
        }
        // Truncating is writing, whatever else was asked for.
        if (write || truncate) && !self.file_perms.contains(FilePerms::WRITE) {
            return Err(Errno::PERM);
        }
        if directory && create {
            return Err(Errno::INVAL);
        }
        if directory || path.must_be_dir() {
            return self.open_dir(path, request).map(Opened::Dir);
        }

        let follow = if request.follow { FollowSymlinks::Yes } else { FollowSymlinks::No };
        let mut options = OpenOptions::new();
        options
            .read(read)
            .write(write || truncate)
            .truncate(truncate)
            .follow(follow)
            .maybe_dir(true)
            .dsync(fdflags.contains(FdFlags::DSYNC))
            .sync(fdflags.contains(FdFlags::SYNC))
            .rsync(fdflags.contains(FdFlags::RSYNC))
            .nonblock(fdflags.contains(FdFlags::NONBLOCK));
        let opened = if create {
            self.open_or_create(path.path(), &mut options, oflags.contains(OFlags::EXCL))?
        } else {
            self.dir.open_with(path.path(), &options)?
        };
        let file = opened.into_std();
        if file.metadata()?.is_dir() {
            // Without a path there is no way from here to the parent: cap-std resolves below.
            return Ok(Opened::Dir(self.below(Dir::from_std_file(file))));
        }
        if fdflags.contains(FdFlags::APPEND) {
            // Not an option of opening, because cap-std refuses it together with truncation.
            let flags = sys::fd_flags(&file)? | FdFlags::APPEND;
            sys::set_fd_flags(&file, flags)?;
        }
        let readable = read && self.file_perms.contains(FilePerms::READ);
        Ok(Opened::File(OpenFile { file, readable, writable: write, perms: self.file_perms }))
    }

    /// Opens a file that is made if it does not exist. cap-std creates only what is opened for
    /// writing; a file that exists and is not to be written must not need to be writable for that.
    fn open_or_create(
        &self,
        path: &Path,
        options: &mut OpenOptions,
        exclusive: bool,
    ) -> Result<cap_std::fs::File, Errno> {
        if exclusive {
            options.write(true).truncate(false).create_new(true);
        } else {
            match self.dir.open_with(path, options) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => return Ok(result?),
            }
            options.write(true).create(true);
        }
        Ok(self.dir.open_with(path, options)?)
    }

    fn open_dir(&self, path: &GuestPath, request: OpenRequest) -> Result<OpenDir, Errno> {
        if request.oflags.contains(OFlags::CREAT) {
            return Err(Errno::ISDIR);
        }
        // An ending follows even where links are not to be followed: `link/` is the directory.
        let dir = if request.follow || path.must_be_dir() {
            self.dir.open_dir(path.path())?
        } else {
            self.dir.open_dir_nofollow(path.path())?
        };
        if request.write || request.oflags.contains(OFlags::TRUNC) {
            return Err(Errno::ISDIR);
        }
        Ok(self.below(dir))
    }

    /// The status of what a path names, links followed or not. The ending is obeyed.
    pub fn stat(&self, path: &GuestPath, follow: bool) -> Result<Metadata, Errno> {
        self.may_read()?;
        if path.must_be_dir() {
            let metadata = self.dir.metadata(path.path())?;
            return if metadata.is_dir() { Ok(metadata) } else { Err(Errno::NOTDIR) };
        }
        let metadata = if follow {
            self.dir.metadata(path.path())
        } else {
            self.dir.symlink_metadata(path.path())
        };
        Ok(metadata?)
    }

    pub fn set_times(
        &self,
        path: &GuestPath,
        follow: bool,
        accessed: Option<SystemTimeSpec>,
        modified: Option<SystemTimeSpec>,
    ) -> Result<(), Errno> {
        self.may_mutate()?;
        if !self.file_perms.contains(FilePerms::WRITE) {
            return Err(Errno::PERM);
        }
        if path.must_be_dir() {
            self.stat(path, true)?;
        }
        if follow || path.must_be_dir() {
            DirExt::set_times(&self.dir, path.path(), accessed, modified)?;
        } else {
            self.dir.set_symlink_times(path.path(), accessed, modified)?;
        }
        Ok(())
    }

    /// Sets the times of the directory itself.
    pub fn set_own_times(
        &self,
        accessed: Option<SystemTimeSpec>,
        modified: Option<SystemTimeSpec>,
    ) -> Result<(), Errno> {
        self.may_mutate()?;
        Ok(DirExt::set_times(&self.dir, ".", accessed, modified)?)
    }

    /// Makes changes of the directory itself durable.
    pub fn sync(&self) -> Result<(), Errno> {
        // The descriptor at hand may only name the directory (`O_PATH`), which cannot be synced.
        let mut options = OpenOptions::new();
        options.read(true).maybe_dir(true);
        Ok(self.dir.open_with(".", &options)?.sync_all()?)
    }

    pub fn create_dir(&self, path: &GuestPath) -> Result<(), Errno> {
        self.may_mutate()?;
        if path.ending() == Ending::Dot {
            return Err(self.exists_or_not(path));
        }
        Ok(self.dir.create_dir(path.path())?)
    }

    pub fn remove_dir(&self, path: &GuestPath) -> Result<(), Errno> {
        self.may_mutate()?;
        if path.ending() == Ending::Dot || path.path() == Path::new(".") {
            return Err(Errno::INVAL);
        }
        // The ending says what this call asks for anyway; a link is not a directory to it.
        if !self.dir.symlink_metadata(path.path())?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        Ok(self.dir.remove_dir(path.path())?)
    }

    pub fn unlink_file(&self, path: &GuestPath) -> Result<(), Errno> {
        self.may_mutate()?;
        let metadata = self.dir.symlink_metadata(path.path())?;
        if metadata.is_dir() && !metadata.is_symlink() {
            return Err(Errno::ISDIR);
        }
        // Neither a file nor a link is what `name/` names.
        if path.must_be_dir() {
            return Err(Errno::NOTDIR);
        }
        Ok(self.dir.remove_file_or_symlink(path.path())?)
    }

    /// The error for creating something at a path whose ending only a directory could have.
    fn exists_or_not(&self, path: &GuestPath) -> Errno {
        match self.dir.symlink_metadata(path.path()) {
            Ok(_) => Errno::EXIST,
            Err(error) => error.into(),
        }
    }

    /// Checks that a name may move, or be doubled, from this directory to `target`: both may change,
    /// and neither grants what the other does not.
    fn may_transfer(&self, target: &OpenDir) -> Result<(), Errno> {
        self.may_mutate()?;
        target.may_mutate()?;
        let same = self.dir_perms == target.dir_perms && self.file_perms == target.file_perms;
        if same { Ok(()) } else { Err(Errno::PERM) }
    }

    /// Gives a file a second name. Links are not followed.
    pub fn link(
        &self,
        path: &GuestPath,
        target: &OpenDir,
        target_path: &GuestPath,
    ) -> Result<(), Errno> {
        self.may_transfer(target)?;
        if self.stat(path, false)?.is_dir() {
            return Err(Errno::PERM);
        }
        if target_path.must_be_dir() {
            return Err(target.exists_or_not(target_path));
        }
        Ok(self.dir.hard_link(path.path(), &target.dir, target_path.path())?)
    }

    pub fn rename(
        &self,
        path: &GuestPath,
        target: &OpenDir,
        target_path: &GuestPath,
    ) -> Result<(), Errno> {
        self.may_transfer(target)?;
        if path.ending() == Ending::Dot || target_path.ending() == Ending::Dot {
            return Err(Errno::BUSY);
        }
        if path.must_be_dir() || target_path.must_be_dir() {
            // A link is moved itself, so it does not count as the directory it leads to.
            if !self.dir.symlink_metadata(path.path())?.is_dir() {
                return Err(Errno::NOTDIR);
            }
        }
        Ok(self.dir.rename(path.path(), &target.dir, target_path.path())?)
    }

    /// Makes a symbolic link. cap-std refuses absolute contents; what leads out by `..` can be
    /// written, and is refused whenever somebody follows it from here.
    pub fn symlink(&self, contents: &str, path: &GuestPath) -> Result<(), Errno> {
        self.may_mutate()?;
        if contents.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.must_be_dir() {
            return Err(self.exists_or_not(path));
        }
        Ok(DirExt::symlink(&self.dir, contents, path.path())?)
    }

    /// The contents of a symbolic link. Absolute ones, which only the host can have made, are not told.
    pub fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>, Errno> {
        self.may_read()?;
        if path.must_be_dir() {
            self.stat(path, true)?;
            return Err(Errno::INVAL);
        }
        let contents = self.dir.read_link(path.path())?;
        contents.into_os_string().into_string().map(String::into_bytes).map_err(|_| Errno::ILSEQ)
    }

    /// The entries from position `cookie` on.
    ///
    /// A listing is taken when a guest starts from the beginning and kept for the positions that
    /// follow: a guest that removes what it lists sees every entry once. Memory is bounded by
    /// `limits::LISTING_BYTES`, and is taken from the guest's budget.
    pub fn list(
        &mut self,
        cookie: u64,
        budget: Option<&Budget>,
        moved: &mut u64,
    ) -> Result<&[Entry], Errno> {
        self.may_read()?;
        if cookie == 0 || self.listing.is_none() {
            // The old one gives back its share first.
            self.listing = None;
            self.listing = Some(self.take_listing(budget.map(Budget::share), moved)?);
        }
        let entries = self.listing.as_ref().map_or(&[][..], |listing| &listing.entries);
        let start = usize::try_from(cookie).unwrap_or(usize::MAX).min(entries.len());
        Ok(&entries[start..])
    }

    fn take_listing(
        &self,
        mut share: Option<BudgetShare>,
        moved: &mut u64,
    ) -> Result<Listing, Errno> {
        let ino = cap_fs_ext::MetadataExt::ino(&self.metadata()?);
        // The parent may be out of the guest's sight: it is told nothing of it.
        let mut entries: Vec<Entry> = [".", ".."]
            .map(|name| Entry { name: name.to_owned(), ino, file_type: FileType::Directory })
            .into();
        let mut bytes = 0;
        for entry in self.dir.entries()? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                hidden(&entry.file_name());
                continue;
            };
            let entry_bytes = name.len() + size_of::<Entry>();
            bytes += entry_bytes;
            *moved += entry_bytes as u64;
            if bytes > limits::LISTING_BYTES {
                return Err(Errno::NOMEM);
            }
            take(&mut share, bytes)?;
            let file_type = entry.file_type().map_or(FileType::Unknown, FileType::from);
            entries.push(Entry { name, ino: sys::entry_ino(&entry), file_type });
        }
        Ok(Listing { entries, _share: share })
    }
}

/// Preview 1 has no way to say a name that is not UTF-8.
#[cold]
fn hidden(name: &OsStr) {
    tracing::debug!(?name, "directory entry is not UTF-8 and stays hidden");
}

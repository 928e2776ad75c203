//! Open files: everything that works on contents, size and times, once the path is forgotten.
//!
//! Invariant: `readable` and `writable` never exceed the mode in which the host file was opened or the
//! host's permissions. The host file may be open for more than the guest has (truncating needs a file
//! open for writing), so these two decide, not the system.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use cap_fs_ext::SystemTimeSpec;
use cap_std::fs::Metadata;

use crate::stdio::StreamState;
use crate::sys;
use crate::types::{Errno, FilePerms, FileType, Rights, Whence};

/// A file that a guest has open.
pub(crate) struct OpenFile {
    pub file: File,
    pub readable: bool,
    pub writable: bool,
    /// What the host permits for files of the directory it was opened through.
    pub perms: FilePerms,
}

impl OpenFile {
    /// What the way it was opened allows.
    pub fn rights(&self) -> Rights {
        let mut rights = Rights::FILE;
        if !self.readable {
            rights = rights.difference(Rights::FD_READ);
        }
        if !self.writable {
            rights = rights.difference(Rights::FILE_WRITING);
        }
        rights
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        Metadata::from_file(&self.file)
    }

    pub fn file_type(&self) -> FileType {
        self.metadata().map_or(FileType::Unknown, |metadata| metadata.file_type().into())
    }

    /// Regular files never block; pipes and devices do.
    pub fn state(&self) -> StreamState<'_> {
        match self.metadata() {
            Ok(metadata) if metadata.is_file() => {
                let position = (&self.file).stream_position().unwrap_or(0);
                StreamState::Ready { bytes: metadata.len().saturating_sub(position), hangup: false }
            }
            _ => crate::stdio::host_state(sys::host_fd(&self.file)),
        }
    }

    pub fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(bytes)
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.file).write(bytes)
    }

    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        sys::read_at(&self.file, bytes, offset)
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        sys::write_at(&self.file, bytes, offset)
    }

    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let from = match whence {
            Whence::Set => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::INVAL)?),
            Whence::Cur => SeekFrom::Current(offset),
            Whence::End => SeekFrom::End(offset),
        };
        Ok((&self.file).seek(from)?)
    }

    pub fn set_len(&self, size: u64) -> Result<(), Errno> {
        // Past what the system's signed sizes can say.
        if i64::try_from(size).is_err() {
            return Err(Errno::FBIG);
        }
        Ok(self.file.set_len(size)?)
    }

    pub fn allocate(&self, offset: u64, len: u64) -> Result<(), Errno> {
        if len == 0 {
            return Err(Errno::INVAL);
        }
        match offset.checked_add(len) {
            Some(end) if i64::try_from(end).is_ok() => Ok(sys::allocate(&self.file, offset, len)?),
            _ => Err(Errno::FBIG),
        }
    }

    pub fn set_times(
        &self,
        accessed: Option<SystemTimeSpec>,
        modified: Option<SystemTimeSpec>,
    ) -> Result<(), Errno> {
        if !self.perms.contains(FilePerms::WRITE) {
            return Err(Errno::PERM);
        }
        let now = std::time::SystemTime::now();
        let std_time = |time| match time {
            SystemTimeSpec::SymbolicNow => now,
            SystemTimeSpec::Absolute(time) => time.into_std(),
        };
        let mut times = std::fs::FileTimes::new();
        if let Some(time) = accessed {
            times = times.set_accessed(std_time(time));
        }
        if let Some(time) = modified {
            times = times.set_modified(std_time(time));
        }
        Ok(self.file.set_times(times)?)
    }
}

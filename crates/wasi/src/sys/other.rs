//! The surface of `unix.rs` where there is no Unix: what the standard library offers, and otherwise
//! the answer that promises nothing. Descriptors count as always ready, hints are ignored, what
//! cannot be done is `NOTSUP`.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use crate::types::{Errno, FdFlags};

/// Nothing of the host can be waited for here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostFd<'a> {
    #[allow(dead_code, reason = "carries the lifetime that the Unix type has")]
    Never(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

pub(crate) fn host_fd<T>(_: &T) -> Option<HostFd<'_>> {
    None
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostReady {
    pub ready: bool,
    pub hangup: bool,
    pub bytes: u64,
}

pub(crate) fn poll(
    _: &[(HostFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<HostReady>> {
    std::thread::sleep(timeout.unwrap_or(Duration::from_millis(10)));
    Ok(Vec::new())
}

pub(crate) fn read_stdin(bytes: &mut [u8]) -> io::Result<usize> {
    io::stdin().read(bytes)
}

pub(crate) fn write_stream(mut stream: impl Write, bytes: &[u8]) -> io::Result<usize> {
    let written = stream.write(bytes)?;
    stream.flush()?;
    Ok(written)
}

pub(crate) fn read_at(
    mut file: &std::fs::File,
    bytes: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let before = file.stream_position()?;
    file.seek(SeekFrom::Start(offset))?;
    let result = file.read(bytes);
    file.seek(SeekFrom::Start(before))?;
    result
}

pub(crate) fn write_at(mut file: &std::fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let before = file.stream_position()?;
    file.seek(SeekFrom::Start(offset))?;
    let result = file.write(bytes);
    file.seek(SeekFrom::Start(before))?;
    result
}

pub(crate) fn fd_flags(_: &std::fs::File) -> io::Result<FdFlags> {
    Ok(FdFlags::empty())
}

pub(crate) fn set_fd_flags(_: &std::fs::File, flags: FdFlags) -> io::Result<()> {
    if flags.is_empty() { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

pub(crate) fn allocate(_: &std::fs::File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How a guest says it will use a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    Normal,
    Sequential,
    Random,
    WillNeed,
    DontNeed,
    NoReuse,
}

pub(crate) fn advise(_: &std::fs::File, _: u64, _: u64, _: Advice) -> io::Result<()> {
    Ok(())
}

pub(crate) fn change_time_ns(metadata: &cap_std::fs::Metadata) -> u64 {
    metadata
        .modified()
        .ok()
        .and_then(|time| time.into_std().duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Zero means "not known" to guests, which then ask for the file's status.
pub(crate) fn entry_ino(_: &cap_std::fs::DirEntry) -> u64 {
    0
}

/// Clocks of the system whose resolution or value the standard library does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostClock {
    Realtime,
    Monotonic,
    ProcessCpu,
    ThreadCpu,
}

impl HostClock {
    pub fn resolution_ns(self) -> u64 {
        100
    }

    pub fn now_ns(self) -> Option<u64> {
        None
    }
}

/// Error numbers differ by system; the kind of the error says enough.
pub(crate) fn errno(_: &io::Error) -> Option<Errno> {
    None
}

//! What WASI needs of a Unix system beyond the standard library and cap-std, in safe words of rustix:
//! readiness, descriptor flags, hints, clocks, error numbers.
//!
//! Same surface as `other.rs`.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use cap_fs_ext::OsMetadataExt;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno as HostErrno;

use crate::types::{Errno, FdFlags};

/// A descriptor of the host that can be waited for.
pub(crate) type HostFd<'a> = BorrowedFd<'a>;

/// The descriptor behind something of the host, if this system can wait for it.
pub(crate) fn host_fd<T: AsFd>(object: &T) -> Option<HostFd<'_>> {
    Some(object.as_fd())
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
    /// Bytes that can be read at once, as far as the system says.
    pub bytes: u64,
}

/// Waits until one of `fds` is ready or `timeout` has passed; without a timeout, as long as it takes.
/// May return early with nothing ready.
pub(crate) fn poll(
    fds: &[(HostFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<HostReady>> {
    let mut polls: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, interest)| {
            let flags = match interest {
                Interest::Read => PollFlags::IN,
                Interest::Write => PollFlags::OUT,
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    let timeout = timeout.map(|timeout| rustix::event::Timespec {
        // A wait of more than a day is cut short; the caller looks at its clock and waits again.
        tv_sec: timeout.as_secs().min(86_400) as _,
        tv_nsec: timeout.subsec_nanos() as _,
    });
    match rustix::event::poll(&mut polls, timeout.as_ref()) {
        Ok(_) | Err(HostErrno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = polls.iter().zip(fds).map(|(poll, (fd, interest))| {
        let events = poll.revents();
        let bytes = match interest {
            Interest::Read if events.contains(PollFlags::IN) => {
                rustix::io::ioctl_fionread(fd).unwrap_or(0)
            }
            _ => 0,
        };
        HostReady {
            ready: !events.is_empty(),
            hangup: events.intersects(PollFlags::HUP | PollFlags::ERR),
            bytes,
        }
    });
    Ok(ready.collect())
}

/// One `read(2)` of standard input, past the standard library's buffer: what that buffer held would
/// be invisible to `poll`.
pub(crate) fn read_stdin(bytes: &mut [u8]) -> io::Result<usize> {
    let stdin = io::stdin();
    Ok(rustix::io::retry_on_intr(|| rustix::io::read(stdin.as_fd(), &mut *bytes))?)
}

/// One `write(2)`. `stream` is standard output or standard error.
pub(crate) fn write_stream(stream: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(stream, bytes) {
            Err(HostErrno::INTR) => {}
            // Whoever shares our terminal made it non-blocking; a guest that did not ask for that must
            // not see it.
            Err(HostErrno::AGAIN) => {
                poll(&[(stream.as_fd(), Interest::Write)], None)?;
            }
            result => return Ok(result?),
        }
    }
}

pub(crate) fn read_at(file: &std::fs::File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(bytes, offset)
}

pub(crate) fn write_at(file: &std::fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

/// The flags that an open file has.
pub(crate) fn fd_flags(file: &std::fs::File) -> io::Result<FdFlags> {
    use rustix::fs::OFlags;
    let host = rustix::fs::fcntl_getfl(file)?;
    let mut flags = FdFlags::empty();
    for (host_flag, flag) in [
        (OFlags::APPEND, FdFlags::APPEND),
        (OFlags::NONBLOCK, FdFlags::NONBLOCK),
        (OFlags::DSYNC, FdFlags::DSYNC),
        (OFlags::SYNC, FdFlags::SYNC),
    ] {
        if host.contains(host_flag) {
            flags = flags | flag;
        }
    }
    Ok(flags)
}

/// Sets those flags that an open file can change: `APPEND` and `NONBLOCK`.
pub(crate) fn set_fd_flags(file: &std::fs::File, flags: FdFlags) -> io::Result<()> {
    use rustix::fs::OFlags;
    let mut host = rustix::fs::fcntl_getfl(file)?;
    host.set(OFlags::APPEND, flags.contains(FdFlags::APPEND));
    host.set(OFlags::NONBLOCK, flags.contains(FdFlags::NONBLOCK));
    Ok(rustix::fs::fcntl_setfl(file, host)?)
}

/// Reserves space, so that the file has at least `offset + len` bytes.
pub(crate) fn allocate(file: &std::fs::File, offset: u64, len: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), offset, len)?)
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

#[cfg(target_os = "linux")]
pub(crate) fn advise(
    file: &std::fs::File,
    offset: u64,
    len: u64,
    advice: Advice,
) -> io::Result<()> {
    let advice = match advice {
        Advice::Normal => rustix::fs::Advice::Normal,
        Advice::Sequential => rustix::fs::Advice::Sequential,
        Advice::Random => rustix::fs::Advice::Random,
        Advice::WillNeed => rustix::fs::Advice::WillNeed,
        Advice::DontNeed => rustix::fs::Advice::DontNeed,
        Advice::NoReuse => rustix::fs::Advice::NoReuse,
    };
    Ok(rustix::fs::fadvise(file, offset, NonZeroU64::new(len), advice)?)
}

/// A hint may be ignored, and is where the system does not take it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise(_: &std::fs::File, _: u64, len: u64, _: Advice) -> io::Result<()> {
    let _ = NonZeroU64::new(len);
    Ok(())
}

/// When the inode last changed, in nanoseconds since 1970.
pub(crate) fn change_time_ns(metadata: &cap_std::fs::Metadata) -> u64 {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanos = u64::try_from(metadata.ctime_nsec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Inode of a directory entry.
pub(crate) fn entry_ino(entry: &cap_std::fs::DirEntry) -> u64 {
    use rustix::fs::DirEntryExt;
    entry.ino()
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
    fn id(self) -> rustix::time::ClockId {
        match self {
            HostClock::Realtime => rustix::time::ClockId::Realtime,
            HostClock::Monotonic => rustix::time::ClockId::Monotonic,
            HostClock::ProcessCpu => rustix::time::ClockId::ProcessCPUTime,
            HostClock::ThreadCpu => rustix::time::ClockId::ThreadCPUTime,
        }
    }

    /// The smallest step in nanoseconds.
    pub fn resolution_ns(self) -> u64 {
        nanoseconds(rustix::time::clock_getres(self.id())).max(1)
    }

    /// The time in nanoseconds.
    pub fn now_ns(self) -> Option<u64> {
        Some(nanoseconds(rustix::time::clock_gettime(self.id())))
    }
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The error number of the system in the words of preview 1, if the error has one.
pub(crate) fn errno(error: &io::Error) -> Option<Errno> {
    Some(match HostErrno::from_io_error(error)? {
        HostErrno::TOOBIG => Errno::TOOBIG,
        HostErrno::ACCESS => Errno::ACCES,
        HostErrno::AGAIN => Errno::AGAIN,
        HostErrno::ALREADY => Errno::ALREADY,
        HostErrno::BADF => Errno::BADF,
        HostErrno::BUSY => Errno::BUSY,
        HostErrno::CONNABORTED => Errno::CONNABORTED,
        HostErrno::CONNREFUSED => Errno::CONNREFUSED,
        HostErrno::CONNRESET => Errno::CONNRESET,
        HostErrno::DEADLK => Errno::DEADLK,
        HostErrno::DQUOT => Errno::DQUOT,
        HostErrno::EXIST => Errno::EXIST,
        HostErrno::FAULT => Errno::FAULT,
        HostErrno::FBIG => Errno::FBIG,
        HostErrno::HOSTUNREACH => Errno::HOSTUNREACH,
        HostErrno::ILSEQ => Errno::ILSEQ,
        HostErrno::INPROGRESS => Errno::INPROGRESS,
        HostErrno::INTR => Errno::INTR,
        HostErrno::INVAL => Errno::INVAL,
        HostErrno::IO => Errno::IO,
        HostErrno::ISDIR => Errno::ISDIR,
        HostErrno::LOOP => Errno::LOOP,
        HostErrno::MFILE => Errno::MFILE,
        HostErrno::MLINK => Errno::MLINK,
        HostErrno::MSGSIZE => Errno::MSGSIZE,
        HostErrno::NAMETOOLONG => Errno::NAMETOOLONG,
        HostErrno::NETDOWN => Errno::NETDOWN,
        HostErrno::NETUNREACH => Errno::NETUNREACH,
        HostErrno::NFILE => Errno::NFILE,
        HostErrno::NOBUFS => Errno::NOBUFS,
        HostErrno::NODEV => Errno::NODEV,
        HostErrno::NOENT => Errno::NOENT,
        HostErrno::NOLCK => Errno::NOLCK,
        HostErrno::NOMEM => Errno::NOMEM,
        HostErrno::NOSPC => Errno::NOSPC,
        HostErrno::NOSYS => Errno::NOSYS,
        HostErrno::NOTCONN => Errno::NOTCONN,
        HostErrno::NOTDIR => Errno::NOTDIR,
        HostErrno::NOTEMPTY => Errno::NOTEMPTY,
        HostErrno::NOTSOCK => Errno::NOTSOCK,
        HostErrno::NOTSUP => Errno::NOTSUP,
        HostErrno::NOTTY => Errno::NOTTY,
        HostErrno::NXIO => Errno::NXIO,
        HostErrno::OVERFLOW => Errno::OVERFLOW,
        HostErrno::PERM => Errno::PERM,
        HostErrno::PIPE => Errno::PIPE,
        HostErrno::RANGE => Errno::RANGE,
        HostErrno::ROFS => Errno::ROFS,
        HostErrno::SPIPE => Errno::SPIPE,
        HostErrno::STALE => Errno::STALE,
        HostErrno::TIMEDOUT => Errno::TIMEDOUT,
        HostErrno::TXTBSY => Errno::TXTBSY,
        HostErrno::XDEV => Errno::XDEV,
        _ => Errno::IO,
    })
}

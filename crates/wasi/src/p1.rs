//! The functions of WASI preview 1, one method each, over the guest memory they are given.
//!
//! Arguments are the interface's: `u32` and `u64` stand for the core types `i32` and `i64`, pointers
//! and sizes are `u32`. Results go to the guest through the last pointers; the return value is the
//! error, and [`Errno`] is its whole vocabulary. The table `for_each_p1_function` states names and
//! signatures; the linker's glue (`p1/linker.rs`) and the list for tools are made from it.
//!
//! `wasi_unstable`, the predecessor, is the same but for four functions with other layouts or numbers;
//! those take an `Abi` inside.

mod linker;
pub use linker::{add_to_linker_shared, add_to_linker_sync};
#[cfg(all(test, unix))]
mod tests;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use cap_fs_ext::{MetadataExt, SystemTimeSpec};
use cap_std::fs::Metadata;
use wardian::GuestMemory;

use crate::ctx::{Bounce, I32Exit, WasiP1Ctx};
use crate::descriptor::{Descriptor, Kind};
use crate::dir::{OpenRequest, Opened};
use crate::limits;
use crate::path::{GuestPath, read_text};
use crate::poll::{PollArgs, is_ready};
use crate::sys::{self, Advice};
use crate::types::*;

/// Calls a macro with one line per function of preview 1. Every function returns an errno to the
/// guest, but for `proc_exit`, which does not return and is not in this table. A line marked
/// `[unstable: other]` is `other` when it is called through `wasi_unstable`; one marked
/// `[unstable: none]` did not exist there.
macro_rules! for_each_p1_function {
    ($callback:ident) => {
        $callback! {
            args_get(argv: u32, argv_buf: u32);
            args_sizes_get(argc: u32, argv_buf_size: u32);
            environ_get(environ: u32, environ_buf: u32);
            environ_sizes_get(count: u32, environ_buf_size: u32);
            clock_res_get(id: u32, resolution: u32);
            clock_time_get(id: u32, precision: u64, time: u32);
            fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
            fd_allocate(fd: u32, offset: u64, len: u64);
            fd_close(fd: u32);
            fd_datasync(fd: u32);
            fd_fdstat_get(fd: u32, stat: u32);
            fd_fdstat_set_flags(fd: u32, flags: u32);
            fd_fdstat_set_rights(fd: u32, rights_base: u64, rights_inheriting: u64);
            [unstable: unstable_fd_filestat_get] fd_filestat_get(fd: u32, stat: u32);
            fd_filestat_set_size(fd: u32, size: u64);
            fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, fst_flags: u32);
            fd_pread(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nread: u32);
            fd_prestat_get(fd: u32, prestat: u32);
            fd_prestat_dir_name(fd: u32, path: u32, path_len: u32);
            fd_pwrite(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nwritten: u32);
            fd_read(fd: u32, iovs: u32, iovs_len: u32, nread: u32);
            fd_readdir(fd: u32, buf: u32, buf_len: u32, cookie: u64, bufused: u32);
            fd_renumber(from: u32, to: u32);
            [unstable: unstable_fd_seek] fd_seek(fd: u32, offset: u64, whence: u32, newoffset: u32);
            fd_sync(fd: u32);
            fd_tell(fd: u32, offset: u32);
            fd_write(fd: u32, iovs: u32, iovs_len: u32, nwritten: u32);
            path_create_directory(fd: u32, path: u32, path_len: u32);
            [unstable: unstable_path_filestat_get]
            path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, stat: u32);
            path_filestat_set_times(
                fd: u32, flags: u32, path: u32, path_len: u32, atim: u64, mtim: u64, fst_flags: u32
            );
            path_link(
                old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32,
                new_fd: u32, new_path: u32, new_path_len: u32
            );
            path_open(
                fd: u32, dirflags: u32, path: u32, path_len: u32, oflags: u32,
                rights_base: u64, rights_inheriting: u64, fdflags: u32, opened_fd: u32
            );
            path_readlink(fd: u32, path: u32, path_len: u32, buf: u32, buf_len: u32, bufused: u32);
            path_remove_directory(fd: u32, path: u32, path_len: u32);
            path_rename(
                fd: u32, old_path: u32, old_path_len: u32,
                new_fd: u32, new_path: u32, new_path_len: u32
            );
            path_symlink(old_path: u32, old_path_len: u32, fd: u32, new_path: u32, new_path_len: u32);
            path_unlink_file(fd: u32, path: u32, path_len: u32);
            [unstable: unstable_poll_oneoff]
            poll_oneoff(subscriptions: u32, events: u32, nsubscriptions: u32, nevents: u32);
            proc_raise(signal: u32);
            sched_yield();
            random_get(buf: u32, buf_len: u32);
            [unstable: none] sock_accept(fd: u32, flags: u32, accepted_fd: u32);
            sock_recv(
                fd: u32, iovs: u32, iovs_len: u32, ri_flags: u32, ro_datalen: u32, ro_flags: u32
            );
            sock_send(fd: u32, iovs: u32, iovs_len: u32, si_flags: u32, so_datalen: u32);
            sock_shutdown(fd: u32, how: u32);
        }
    };
}

/// A core type of a parameter.
///
/// ```
/// use wardian_wasi::p1::{CoreType, FUNCTIONS};
///
/// let seek = FUNCTIONS.iter().find(|function| function.name == "fd_seek").unwrap();
/// assert_eq!(seek.params, [CoreType::I32, CoreType::I64, CoreType::I32, CoreType::I32]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreType {
    /// `i32`
    I32,
    /// `i64`
    I64,
}

/// What carries out a function: arguments come as raw slots, an `i32` in the lower half of its slot.
type Call = fn(&mut WasiP1Ctx, &mut dyn GuestMemory, &[u64]) -> Result<(), Errno>;

/// A function of preview 1 for callers that know it at run time only.
///
/// ```
/// use wardian_wasi::{Errno, WasiCtxBuilder, p1::FUNCTIONS};
///
/// let mut memory = vec![0_u8; 65_536];
/// let mut wasi = WasiCtxBuilder::new().build_p1();
/// let close = FUNCTIONS.iter().find(|function| function.name == "fd_close").unwrap();
/// assert_eq!(close.call(&mut wasi, &mut memory, &[77]), Err(Errno::BADF));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// The name.
    pub name: &'static str,
    /// The types of its parameters. The result is always one `i32`, the errno.
    pub params: &'static [CoreType],
    call: Call,
    unstable: Option<Call>,
}

impl Function {
    /// Calls it as `wasi_snapshot_preview1` means it.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many `args` as parameters.
    pub fn call(
        &self,
        ctx: &mut WasiP1Ctx,
        memory: &mut dyn GuestMemory,
        args: &[u64],
    ) -> Result<(), Errno> {
        (self.call)(ctx, memory, args)
    }

    /// Whether `wasi_unstable` has it.
    pub fn is_in_unstable(&self) -> bool {
        self.unstable.is_some()
    }

    /// Calls it as `wasi_unstable` means it; `NOSYS` if it does not exist there.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many `args` as parameters.
    pub fn call_unstable(
        &self,
        ctx: &mut WasiP1Ctx,
        memory: &mut dyn GuestMemory,
        args: &[u64],
    ) -> Result<(), Errno> {
        self.unstable.ok_or(Errno::NOSYS)?(ctx, memory, args)
    }
}

macro_rules! core_type {
    (u32) => {
        CoreType::I32
    };
    (u64) => {
        CoreType::I64
    };
}

macro_rules! raw_call {
    ($method:ident($($arg:ident: $ty:ident),*)) => {
        |ctx, memory, args| {
            let [$($arg),*] = *args else {
                panic!("wrong number of arguments for {}: {}", stringify!($method), args.len());
            };
            ctx.$method(memory $(, $arg as $ty)*)
        }
    };
}

macro_rules! raw_unstable_call {
    ([unstable: none] $($call:tt)*) => { None };
    ([unstable: $other:ident] $name:ident $args:tt) => { Some(raw_call!($other $args)) };
    ($name:ident $args:tt) => { Some(raw_call!($name $args)) };
}

macro_rules! functions {
    ($($([unstable: $other:ident])? $name:ident $args:tt;)*) => {
        /// All functions that return an error to the guest: every one but `proc_exit`.
        pub const FUNCTIONS: &[Function] = &[$(
            Function {
                name: stringify!($name),
                params: params!($args),
                call: raw_call!($name $args),
                unstable: raw_unstable_call!($([unstable: $other])? $name $args),
            },
        )*];
    };
}

macro_rules! params {
    (($($arg:ident: $ty:ident),*)) => { &[$(core_type!($ty)),*] };
}

for_each_p1_function!(functions);

#[allow(unused_imports, reason = "used by the linker's glue")]
pub(crate) use for_each_p1_function;

/// A checked list of the guest's buffers.
struct Iovecs {
    buffers: Vec<(u64, u64)>,
    total: u64,
}

impl Iovecs {
    /// Reads a list and checks every buffer in it. The sum must fit the 32 bits in which the count is
    /// returned.
    fn read(memory: &dyn GuestMemory, addr: u32, count: u32) -> Result<Iovecs, Errno> {
        if count > limits::IOVECS {
            return Err(Errno::INVAL);
        }
        memory.check(addr.into(), u64::from(count) * IOVEC_SIZE)?;
        let mut buffers = Vec::with_capacity(count as usize);
        let mut total = 0;
        for index in 0..u64::from(count) {
            let at = u64::from(addr) + index * IOVEC_SIZE;
            let buffer = (memory.read_u32(at)?.into(), memory.read_u32(at + 4)?.into());
            total += buffer.1;
            buffers.push(buffer);
        }
        if total > u32::MAX.into() {
            return Err(Errno::INVAL);
        }
        for (addr, len) in &buffers {
            memory.check(*addr, *len)?;
        }
        Ok(Iovecs { buffers, total })
    }

    /// Calls `f` with the guest ranges behind bytes `done..done + len` of the whole, in order.
    fn ranges(
        &self,
        mut done: u64,
        mut len: u64,
        mut f: impl FnMut(u64, usize) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        for (addr, size) in &self.buffers {
            if done >= *size {
                done -= size;
                continue;
            }
            let part = (size - done).min(len);
            f(addr + done, part as usize)?;
            len -= part;
            done = 0;
            if len == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Moves data from the host into the guest's buffers, through `bounce`. `read` is given a buffer and
/// the count of bytes that came before. With `until_short`, it is called until it gives less than it
/// was asked for; a stream, which might block, is asked only once.
fn read_vectored(
    bounce: &mut Bounce,
    memory: &mut dyn GuestMemory,
    iovecs: &Iovecs,
    until_short: bool,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> Result<u32, Errno> {
    let (mut done, total) = (0, iovecs.total.min(limits::TRANSFER_BYTES));
    while done < total {
        let want = (total - done).min(limits::BOUNCE_BYTES as u64) as usize;
        let buffer = bounce.room(want)?;
        let count = match read(buffer, done) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What came before the error must not be lost.
            Err(_) if done > 0 => break,
            Err(error) => return Err(error.into()),
        };
        let mut source = &buffer[..count];
        iovecs.ranges(done, count as u64, |addr, len| {
            let (part, rest) = source.split_at(len);
            source = rest;
            Ok(memory.write(addr, part)?)
        })?;
        done += count as u64;
        bounce.moved += count as u64;
        if count < want || !until_short {
            break;
        }
    }
    Ok(u32::try_from(done).expect("the total was checked against 32 bits"))
}

/// Moves the guest's buffers to the host, through `bounce`, until all is written or something fails.
fn write_vectored(
    bounce: &mut Bounce,
    memory: &dyn GuestMemory,
    iovecs: &Iovecs,
    mut write: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> Result<u32, Errno> {
    let (mut done, total) = (0, iovecs.total.min(limits::TRANSFER_BYTES));
    'all: while done < total {
        let want = (total - done).min(limits::BOUNCE_BYTES as u64) as usize;
        bounce.moved += want as u64;
        let buffer = bounce.room(want)?;
        let mut target = &mut *buffer;
        iovecs.ranges(done, want as u64, |addr, len| {
            let (part, rest) = std::mem::take(&mut target).split_at_mut(len);
            target = rest;
            Ok(memory.read(addr, part)?)
        })?;
        let mut chunk = &*buffer;
        while !chunk.is_empty() {
            match write(chunk, done) {
                Ok(0) => break 'all,
                Ok(count) => {
                    chunk = &chunk[count..];
                    done += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if done > 0 => break 'all,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(u32::try_from(done).expect("the total was checked against 32 bits"))
}

/// Writes strings behind each other, each with a terminating zero, and a pointer to each.
fn write_strings(
    memory: &mut dyn GuestMemory,
    strings: &[Vec<u8>],
    pointers: u32,
    bytes: u32,
) -> Result<(), Errno> {
    let (count, size) = strings_size(strings)?;
    memory.check(pointers.into(), u64::from(count) * 4)?;
    memory.check(bytes.into(), size.into())?;
    let mut at = bytes;
    for (index, string) in strings.iter().enumerate() {
        memory.write_u32(u64::from(pointers) + index as u64 * 4, at)?;
        memory.write(at.into(), string)?;
        memory.write_u8(u64::from(at) + string.len() as u64, 0)?;
        // In range: the whole was checked against the size of the memory.
        at = at.wrapping_add(string.len() as u32 + 1);
    }
    Ok(())
}

/// How many strings there are and how many bytes they need, terminating zeros included.
fn strings_size(strings: &[Vec<u8>]) -> Result<(u32, u32), Errno> {
    let size: u64 = strings.iter().map(|string| string.len() as u64 + 1).sum();
    let count = u32::try_from(strings.len()).map_err(|_| Errno::OVERFLOW)?;
    Ok((count, u32::try_from(size).map_err(|_| Errno::OVERFLOW)?))
}

/// Flags come in 32 bits, whatever their own width.
fn narrow<T: TryFrom<u32>>(flags: u32) -> Result<T, Errno> {
    T::try_from(flags).map_err(|_| Errno::INVAL)
}

fn lookup_follows(flags: u32) -> Result<bool, Errno> {
    let flags = LookupFlags::from_bits(flags).ok_or(Errno::INVAL)?;
    Ok(flags.contains(LookupFlags::SYMLINK_FOLLOW))
}

fn time_ns(time: io::Result<cap_std::time::SystemTime>) -> u64 {
    time.ok()
        .and_then(|time| time.into_std().duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn write_filestat(
    memory: &mut dyn GuestMemory,
    abi: Abi,
    addr: u32,
    file_type: FileType,
    metadata: Option<&Metadata>,
) -> Result<(), Errno> {
    let layout = abi.filestat();
    let mut bytes = [0; FILESTAT_MAX_BYTES];
    let mut put = |offset: usize, value: u64, width: usize| {
        bytes[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
    };
    put(layout.filetype, file_type as u64, 1);
    if let Some(metadata) = metadata {
        put(layout.dev, metadata.dev(), 8);
        put(layout.ino, metadata.ino(), 8);
        let nlink_max = if layout.nlink_bytes == 4 { u32::MAX.into() } else { u64::MAX };
        put(layout.nlink, metadata.nlink().min(nlink_max), layout.nlink_bytes);
        put(layout.size, metadata.len(), 8);
        put(layout.atim, time_ns(metadata.accessed()), 8);
        put(layout.mtim, time_ns(metadata.modified()), 8);
        put(layout.ctim, sys::change_time_ns(metadata), 8);
    }
    Ok(memory.write(addr.into(), &bytes[..layout.total_bytes])?)
}

/// Access and modification time to set, as far as each is to be set.
type NewTimes = (Option<SystemTimeSpec>, Option<SystemTimeSpec>);

/// Access and modification time as `fst_flags` choose them.
fn new_times(atim: u64, mtim: u64, fst_flags: u32) -> Result<NewTimes, Errno> {
    let flags = FstFlags::from_bits(narrow(fst_flags)?).ok_or(Errno::INVAL)?;
    let time = |given, now, nanos| match (flags.contains(given), flags.contains(now)) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => {
            let time = std::time::UNIX_EPOCH + Duration::from_nanos(nanos);
            Ok(Some(SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time))))
        }
        (false, true) => Ok(Some(SystemTimeSpec::SymbolicNow)),
        (false, false) => Ok(None),
    };
    Ok((
        time(FstFlags::ATIM, FstFlags::ATIM_NOW, atim)?,
        time(FstFlags::MTIM, FstFlags::MTIM_NOW, mtim)?,
    ))
}

/// Arguments and environment.
impl WasiP1Ctx {
    /// Writes the arguments.
    pub fn args_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        argv: u32,
        argv_buf: u32,
    ) -> Result<(), Errno> {
        write_strings(memory, &self.args, argv, argv_buf)
    }

    /// Says how many arguments there are and how many bytes they take.
    pub fn args_sizes_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        argc: u32,
        argv_buf_size: u32,
    ) -> Result<(), Errno> {
        write_sizes(memory, &self.args, argc, argv_buf_size)
    }

    /// Writes the environment.
    pub fn environ_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        environ: u32,
        environ_buf: u32,
    ) -> Result<(), Errno> {
        write_strings(memory, &self.env, environ, environ_buf)
    }

    /// Says how many environment variables there are and how many bytes they take.
    pub fn environ_sizes_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        count: u32,
        environ_buf_size: u32,
    ) -> Result<(), Errno> {
        write_sizes(memory, &self.env, count, environ_buf_size)
    }
}

fn write_sizes(
    memory: &mut dyn GuestMemory,
    strings: &[Vec<u8>],
    count_at: u32,
    size_at: u32,
) -> Result<(), Errno> {
    let (count, size) = strings_size(strings)?;
    memory.check(count_at.into(), 4)?;
    memory.check(size_at.into(), 4)?;
    memory.write_u32(count_at.into(), count)?;
    Ok(memory.write_u32(size_at.into(), size)?)
}

/// Clocks, random numbers, the process.
impl WasiP1Ctx {
    /// The resolution of a clock, in nanoseconds.
    pub fn clock_res_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        id: u32,
        resolution: u32,
    ) -> Result<(), Errno> {
        let nanos = match id {
            clockid::REALTIME => {
                u64::try_from(self.wall_clock.resolution().as_nanos()).unwrap_or(u64::MAX)
            }
            clockid::MONOTONIC | clockid::PROCESS_CPUTIME | clockid::THREAD_CPUTIME => {
                self.monotonic_clock.resolution()
            }
            _ => return Err(Errno::INVAL),
        };
        Ok(memory.write_u64(resolution.into(), nanos)?)
    }

    /// The time of a clock, in nanoseconds. The clocks are as precise as they are, so the lag that the
    /// guest would put up with does not matter.
    pub fn clock_time_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        id: u32,
        _precision: u64,
        time: u32,
    ) -> Result<(), Errno> {
        let nanos = self.clock_ns(id).ok_or(Errno::INVAL)?;
        Ok(memory.write_u64(time.into(), nanos)?)
    }

    pub(crate) fn clock_ns(&self, id: u32) -> Option<u64> {
        match id {
            clockid::REALTIME => {
                Some(u64::try_from(self.wall_clock.now().as_nanos()).unwrap_or(u64::MAX))
            }
            clockid::MONOTONIC => Some(self.monotonic_clock.now()),
            clockid::PROCESS_CPUTIME => Some(self.monotonic_clock.cpu_time(false)),
            clockid::THREAD_CPUTIME => Some(self.monotonic_clock.cpu_time(true)),
            _ => None,
        }
    }

    /// Fills a buffer with random bytes.
    pub fn random_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        buf: u32,
        buf_len: u32,
    ) -> Result<(), Errno> {
        memory.check(buf.into(), buf_len.into())?;
        let size = limits::BOUNCE_BYTES.min(buf_len as usize);
        self.bounce.moved += u64::from(buf_len);
        let buffer = self.bounce.room(size)?;
        let (mut at, end) = (u64::from(buf), u64::from(buf) + u64::from(buf_len));
        while at < end {
            let chunk = &mut buffer[..(end - at).min(size as u64) as usize];
            self.random.fill(chunk)?;
            memory.write(at, chunk)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    /// Ends the program. The error is to end the execution of the guest; its code is the guest's.
    pub fn proc_exit(&mut self, code: u32) -> I32Exit {
        I32Exit(code.cast_signed())
    }

    /// Raises a signal: always `NOTSUP`.
    ///
    /// Preview 1 says only "send a signal to the process of the calling thread". It has no way to
    /// handle one, and the host's signals are not the guest's to raise. The leading engine answers
    /// `NOTSUP` as well.
    pub fn proc_raise(&mut self, _memory: &mut dyn GuestMemory, _signal: u32) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    /// Lets other threads of the host run.
    pub fn sched_yield(&mut self, _memory: &mut dyn GuestMemory) -> Result<(), Errno> {
        std::thread::yield_now();
        Ok(())
    }
}

/// Descriptors.
impl WasiP1Ctx {
    /// Says how a part of a file will be used.
    pub fn fd_advise(
        &mut self,
        _memory: &mut dyn GuestMemory,
        fd: u32,
        offset: u64,
        len: u64,
        advice: u32,
    ) -> Result<(), Errno> {
        let advice = match advice {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            5 => Advice::NoReuse,
            _ => return Err(Errno::INVAL),
        };
        let file = self.table.get(fd)?.file(Rights::FD_ADVISE)?;
        match offset.checked_add(len) {
            Some(end) if i64::try_from(end).is_ok() => {
                Ok(sys::advise(&file.file, offset, len, advice)?)
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Reserves space for a part of a file, making it longer if need be.
    pub fn fd_allocate(
        &mut self,
        _memory: &mut dyn GuestMemory,
        fd: u32,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        self.table.get(fd)?.file(Rights::FD_ALLOCATE)?.allocate(offset, len)
    }

    /// Closes a descriptor.
    pub fn fd_close(&mut self, _memory: &mut dyn GuestMemory, fd: u32) -> Result<(), Errno> {
        match self.table.remove(fd)?.kind {
            Kind::Stdout(mut stream) => Ok(stream.flush()?),
            _ => Ok(()),
        }
    }

    /// Makes the contents of a file durable.
    pub fn fd_datasync(&mut self, _memory: &mut dyn GuestMemory, fd: u32) -> Result<(), Errno> {
        self.sync(fd, Rights::FD_DATASYNC)
    }

    /// Makes the contents of a file and what is known about it durable.
    pub fn fd_sync(&mut self, _memory: &mut dyn GuestMemory, fd: u32) -> Result<(), Errno> {
        self.sync(fd, Rights::FD_SYNC)
    }

    fn sync(&mut self, fd: u32, right: Rights) -> Result<(), Errno> {
        let descriptor = self.table.get_mut(fd)?;
        descriptor.need(right)?;
        match &mut descriptor.kind {
            Kind::File(file) if right == Rights::FD_DATASYNC => Ok(file.file.sync_data()?),
            Kind::File(file) => Ok(file.file.sync_all()?),
            Kind::Dir(dir) => dir.sync(),
            Kind::Stdout(stream) => Ok(stream.flush()?),
            _ => Err(Errno::INVAL),
        }
    }

    /// Tells kind, flags and rights of a descriptor.
    pub fn fd_fdstat_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        stat: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        let mut bytes = [0; FDSTAT_SIZE as usize];
        bytes[0] = descriptor.kind.file_type() as u8;
        bytes[2..4].copy_from_slice(&descriptor.flags.bits().to_le_bytes());
        bytes[8..16].copy_from_slice(&descriptor.base.bits().to_le_bytes());
        bytes[16..24].copy_from_slice(&descriptor.inheriting.bits().to_le_bytes());
        Ok(memory.write(stat.into(), &bytes)?)
    }

    /// Sets the flags of a descriptor: `APPEND` and `NONBLOCK`. The others belong to the opening.
    pub fn fd_fdstat_set_flags(
        &mut self,
        _memory: &mut dyn GuestMemory,
        fd: u32,
        flags: u32,
    ) -> Result<(), Errno> {
        let flags = FdFlags::from_bits(narrow(flags)?).ok_or(Errno::INVAL)?;
        let descriptor = self.table.get_mut(fd)?;
        descriptor.need(Rights::FD_FDSTAT_SET_FLAGS)?;
        if flags & FdFlags::SYNCS != descriptor.flags & FdFlags::SYNCS {
            return Err(Errno::NOTSUP);
        }
        let nonblock = flags.contains(FdFlags::NONBLOCK);
        match &descriptor.kind {
            Kind::File(file) => sys::set_fd_flags(&file.file, flags)?,
            Kind::Listener(listener) => listener.set_nonblocking(nonblock)?,
            Kind::Socket(socket) => socket.set_nonblocking(nonblock)?,
            // The host's streams are shared with other processes, which must not find them changed;
            // reads and writes look at the flag instead.
            Kind::Stdin(_) | Kind::Stdout(_) | Kind::Dir(_) => {}
        }
        descriptor.flags = flags;
        Ok(())
    }

    /// Drops rights of a descriptor. There is no way to get any.
    pub fn fd_fdstat_set_rights(
        &mut self,
        _memory: &mut dyn GuestMemory,
        fd: u32,
        rights_base: u64,
        rights_inheriting: u64,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get_mut(fd)?;
        let base = Rights::from_bits(rights_base).ok_or(Errno::NOTCAPABLE)?;
        let inheriting = Rights::from_bits(rights_inheriting).ok_or(Errno::NOTCAPABLE)?;
        if !descriptor.base.contains(base) || !descriptor.inheriting.contains(inheriting) {
            return Err(Errno::NOTCAPABLE);
        }
        descriptor.base = base;
        descriptor.inheriting = inheriting;
        Ok(())
    }

    /// Tells size, times and identity of what is open.
    pub fn fd_filestat_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        stat: u32,
    ) -> Result<(), Errno> {
        self.fd_filestat(memory, Abi::Preview1, fd, stat)
    }

    pub(crate) fn unstable_fd_filestat_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        stat: u32,
    ) -> Result<(), Errno> {
        self.fd_filestat(memory, Abi::Unstable, fd, stat)
    }

    fn fd_filestat(
        &mut self,
        memory: &mut dyn GuestMemory,
        abi: Abi,
        fd: u32,
        stat: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.need(Rights::FD_FILESTAT_GET)?;
        let metadata = match &descriptor.kind {
            Kind::File(file) => Some(file.metadata()?),
            Kind::Dir(dir) => Some(dir.metadata()?),
            _ => None,
        };
        write_filestat(memory, abi, stat, descriptor.kind.file_type(), metadata.as_ref())
    }

    /// Cuts a file, or makes it longer by zeros.
    pub fn fd_filestat_set_size(
        &mut self,
        _memory: &mut dyn GuestMemory,
        fd: u32,
        size: u64,
    ) -> Result<(), Errno> {
        self.table.get(fd)?.file(Rights::FD_FILESTAT_SET_SIZE)?.set_len(size)
    }

    /// Sets the times of what is open.
    pub fn fd_filestat_set_times(
        &mut self,
        _memory: &mut dyn GuestMemory,
        fd: u32,
        atim: u64,
        mtim: u64,
        fst_flags: u32,
    ) -> Result<(), Errno> {
        let (accessed, modified) = new_times(atim, mtim, fst_flags)?;
        let descriptor = self.table.get(fd)?;
        descriptor.need(Rights::FD_FILESTAT_SET_TIMES)?;
        match &descriptor.kind {
            Kind::File(file) => file.set_times(accessed, modified),
            Kind::Dir(dir) => dir.set_own_times(accessed, modified),
            _ => Err(Errno::BADF),
        }
    }

    /// Reads from a position, which stays where it was.
    pub fn fd_pread(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        nread: u32,
    ) -> Result<(), Errno> {
        memory.check(nread.into(), 4)?;
        let WasiP1Ctx { table, bounce, .. } = self;
        let descriptor = table.get(fd)?;
        descriptor.need(Rights::FD_READ)?;
        let file = descriptor.file(Rights::FD_SEEK)?;
        let iovecs = Iovecs::read(memory, iovs, iovs_len)?;
        check_offset(offset, iovecs.total)?;
        let count = read_vectored(bounce, memory, &iovecs, true, |bytes, done| {
            file.read_at(bytes, offset + done)
        })?;
        Ok(memory.write_u32(nread.into(), count)?)
    }

    /// Writes at a position, which stays where it was.
    pub fn fd_pwrite(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        nwritten: u32,
    ) -> Result<(), Errno> {
        memory.check(nwritten.into(), 4)?;
        let WasiP1Ctx { table, bounce, .. } = self;
        let descriptor = table.get(fd)?;
        descriptor.need(Rights::FD_WRITE)?;
        let file = descriptor.file(Rights::FD_SEEK)?;
        let iovecs = Iovecs::read(memory, iovs, iovs_len)?;
        check_offset(offset, iovecs.total)?;
        let count = write_vectored(bounce, memory, &iovecs, |bytes, done| {
            file.write_at(bytes, offset + done)
        })?;
        Ok(memory.write_u32(nwritten.into(), count)?)
    }

    /// Tells what was opened for the guest under this number, if anything was.
    pub fn fd_prestat_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        prestat: u32,
    ) -> Result<(), Errno> {
        let name = self.preopen_name(fd)?;
        let mut bytes = [0; PRESTAT_SIZE as usize];
        let len = u32::try_from(name.len()).map_err(|_| Errno::OVERFLOW)?;
        bytes[4..].copy_from_slice(&len.to_le_bytes());
        Ok(memory.write(prestat.into(), &bytes)?)
    }

    /// Tells the name of a directory that was opened for the guest.
    pub fn fd_prestat_dir_name(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Errno> {
        let name = self.preopen_name(fd)?;
        if name.len() > path_len as usize {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(memory.write(path.into(), name.as_bytes())?)
    }

    /// `BADF` for all else: the C library of guests takes it for the end of the list.
    fn preopen_name(&self, fd: u32) -> Result<&str, Errno> {
        match &self.table.get(fd)?.kind {
            Kind::Dir(dir) => dir.preopen.as_deref().ok_or(Errno::BADF),
            _ => Err(Errno::BADF),
        }
    }

    /// Reads.
    pub fn fd_read(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        nread: u32,
    ) -> Result<(), Errno> {
        memory.check(nread.into(), 4)?;
        let WasiP1Ctx { table, bounce, .. } = self;
        let descriptor = table.get_mut(fd)?;
        descriptor.need(Rights::FD_READ)?;
        let iovecs = Iovecs::read(memory, iovs, iovs_len)?;
        let would_block = descriptor.flags.contains(FdFlags::NONBLOCK)
            && matches!(descriptor.kind, Kind::Stdin(_))
            && !is_ready(&descriptor.kind, sys::Interest::Read)?;
        if would_block {
            return Err(Errno::AGAIN);
        }
        let until_short = matches!(descriptor.kind, Kind::File(_));
        let kind = &mut descriptor.kind;
        let count = read_vectored(bounce, memory, &iovecs, until_short, |bytes, _| match kind {
            Kind::Stdin(stream) => stream.read(bytes),
            Kind::File(file) => file.read(bytes),
            Kind::Socket(socket) => socket.read(bytes),
            // A listener has the right for the sake of `poll_oneoff`.
            _ => Err(io::ErrorKind::NotConnected.into()),
        })?;
        Ok(memory.write_u32(nread.into(), count)?)
    }

    /// Writes.
    pub fn fd_write(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        nwritten: u32,
    ) -> Result<(), Errno> {
        memory.check(nwritten.into(), 4)?;
        let WasiP1Ctx { table, bounce, .. } = self;
        let descriptor = table.get_mut(fd)?;
        descriptor.need(Rights::FD_WRITE)?;
        let iovecs = Iovecs::read(memory, iovs, iovs_len)?;
        let would_block = descriptor.flags.contains(FdFlags::NONBLOCK)
            && matches!(descriptor.kind, Kind::Stdout(_))
            && !is_ready(&descriptor.kind, sys::Interest::Write)?;
        if would_block {
            return Err(Errno::AGAIN);
        }
        let kind = &mut descriptor.kind;
        let count = write_vectored(bounce, memory, &iovecs, |bytes, _| match kind {
            Kind::Stdout(stream) => stream.write(bytes),
            Kind::File(file) => file.write(bytes),
            Kind::Socket(socket) => socket.write(bytes),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })?;
        Ok(memory.write_u32(nwritten.into(), count)?)
    }

    /// Lists a directory from a position on. The buffer is filled to the end; an entry that does not
    /// fit is cut there, by which the guest knows that there is more.
    pub fn fd_readdir(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        buf: u32,
        buf_len: u32,
        cookie: u64,
        bufused: u32,
    ) -> Result<(), Errno> {
        memory.check(buf.into(), buf_len.into())?;
        memory.check(bufused.into(), 4)?;
        let descriptor = self.table.get_mut(fd)?;
        descriptor.need(Rights::FD_READDIR)?;
        let Kind::Dir(dir) = &mut descriptor.kind else {
            return Err(Errno::NOTDIR);
        };
        let mut used = 0;
        let mut put = |bytes: &[u8]| {
            let count = bytes.len().min((buf_len - used) as usize);
            memory.write(u64::from(buf) + u64::from(used), &bytes[..count])?;
            used += count as u32;
            Ok::<bool, Errno>(used < buf_len)
        };
        let entries = dir.list(cookie, self.budget.as_ref(), &mut self.bounce.moved)?;
        for (entry, next) in entries.iter().zip(cookie.saturating_add(1)..) {
            let mut dirent = [0; DIRENT_SIZE];
            dirent[0..8].copy_from_slice(&next.to_le_bytes());
            dirent[8..16].copy_from_slice(&entry.ino.to_le_bytes());
            dirent[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            dirent[20] = entry.file_type as u8;
            if !(put(&dirent)? && put(entry.name.as_bytes())?) {
                break;
            }
        }
        Ok(memory.write_u32(bufused.into(), used)?)
    }

    /// Moves a descriptor to another number, closing what was there.
    pub fn fd_renumber(
        &mut self,
        _memory: &mut dyn GuestMemory,
        from: u32,
        to: u32,
    ) -> Result<(), Errno> {
        self.table.renumber(from, to)
    }

    /// Moves the position in a file.
    pub fn fd_seek(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        offset: u64,
        whence: u32,
        newoffset: u32,
    ) -> Result<(), Errno> {
        self.seek(memory, Abi::Preview1, fd, offset, whence, newoffset)
    }

    pub(crate) fn unstable_fd_seek(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        offset: u64,
        whence: u32,
        newoffset: u32,
    ) -> Result<(), Errno> {
        self.seek(memory, Abi::Unstable, fd, offset, whence, newoffset)
    }

    fn seek(
        &mut self,
        memory: &mut dyn GuestMemory,
        abi: Abi,
        fd: u32,
        offset: u64,
        whence: u32,
        newoffset: u32,
    ) -> Result<(), Errno> {
        memory.check(newoffset.into(), 8)?;
        let whence = abi.whence(whence).ok_or(Errno::INVAL)?;
        let offset = offset.cast_signed();
        // spec: asking where it is needs the lesser right.
        let telling = whence == Whence::Cur && offset == 0;
        let right = if telling { Rights::FD_TELL } else { Rights::FD_SEEK };
        let position = self.table.get(fd)?.file(right)?.seek(offset, whence)?;
        Ok(memory.write_u64(newoffset.into(), position)?)
    }

    /// Tells the position in a file.
    pub fn fd_tell(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        offset: u32,
    ) -> Result<(), Errno> {
        memory.check(offset.into(), 8)?;
        let position = self.table.get(fd)?.file(Rights::FD_TELL)?.seek(0, Whence::Cur)?;
        Ok(memory.write_u64(offset.into(), position)?)
    }
}

/// The system's positions are signed.
fn check_offset(offset: u64, len: u64) -> Result<(), Errno> {
    match offset.checked_add(len) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Paths.
impl WasiP1Ctx {
    /// Makes a directory.
    pub fn path_create_directory(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Errno> {
        let dir = self.table.get(fd)?.dir(Rights::PATH_CREATE_DIRECTORY)?;
        dir.create_dir(&GuestPath::read(memory, path, path_len)?)
    }

    /// Tells size, times and identity of what a path names.
    pub fn path_filestat_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        flags: u32,
        path: u32,
        path_len: u32,
        stat: u32,
    ) -> Result<(), Errno> {
        self.path_filestat(memory, Abi::Preview1, fd, flags, path, path_len, stat)
    }

    pub(crate) fn unstable_path_filestat_get(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        flags: u32,
        path: u32,
        path_len: u32,
        stat: u32,
    ) -> Result<(), Errno> {
        self.path_filestat(memory, Abi::Unstable, fd, flags, path, path_len, stat)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the interface's parameters, and which interface"
    )]
    fn path_filestat(
        &mut self,
        memory: &mut dyn GuestMemory,
        abi: Abi,
        fd: u32,
        flags: u32,
        path: u32,
        path_len: u32,
        stat: u32,
    ) -> Result<(), Errno> {
        let dir = self.table.get(fd)?.dir(Rights::PATH_FILESTAT_GET)?;
        let follow = lookup_follows(flags)?;
        let metadata = dir.stat(&GuestPath::read(memory, path, path_len)?, follow)?;
        write_filestat(memory, abi, stat, metadata.file_type().into(), Some(&metadata))
    }

    /// Sets the times of what a path names.
    #[expect(clippy::too_many_arguments, reason = "the interface's parameters")]
    pub fn path_filestat_set_times(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        flags: u32,
        path: u32,
        path_len: u32,
        atim: u64,
        mtim: u64,
        fst_flags: u32,
    ) -> Result<(), Errno> {
        let dir = self.table.get(fd)?.dir(Rights::PATH_FILESTAT_SET_TIMES)?;
        let follow = lookup_follows(flags)?;
        let (accessed, modified) = new_times(atim, mtim, fst_flags)?;
        dir.set_times(&GuestPath::read(memory, path, path_len)?, follow, accessed, modified)
    }

    /// Gives a file a second name.
    ///
    /// `symlink_follow` in `old_flags` is `INVAL`. Preview 1 defines the flag ("as long as the resolved
    /// path corresponds to a symbolic link, it is expanded") and leaves open whether a host must have
    /// it; the leading engine answers `INVAL` too. The host would have to resolve the path first and
    /// link what it found, which may be another file by then.
    #[expect(clippy::too_many_arguments, reason = "the interface's parameters")]
    pub fn path_link(
        &mut self,
        memory: &mut dyn GuestMemory,
        old_fd: u32,
        old_flags: u32,
        old_path: u32,
        old_path_len: u32,
        new_fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Errno> {
        let source = self.table.get(old_fd)?.dir(Rights::PATH_LINK_SOURCE)?;
        let target = self.table.get(new_fd)?.dir(Rights::PATH_LINK_TARGET)?;
        if lookup_follows(old_flags)? {
            return Err(Errno::INVAL);
        }
        let old_path = GuestPath::read(memory, old_path, old_path_len)?;
        source.link(&old_path, target, &GuestPath::read(memory, new_path, new_path_len)?)
    }

    /// Opens a file or directory.
    ///
    /// Of the rights asked for, reading and writing decide the mode, and asking for what the directory
    /// does not pass on is refused. The rest is granted as far as the directory passes it on and the
    /// kind has it, whether asked for or not: many programs in use ask for too little, since most
    /// engines do not look. A guest that wants less drops it by `fd_fdstat_set_rights`.
    #[expect(clippy::too_many_arguments, reason = "the interface's parameters")]
    pub fn path_open(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        dirflags: u32,
        path: u32,
        path_len: u32,
        oflags: u32,
        rights_base: u64,
        _rights_inheriting: u64,
        fdflags: u32,
        opened_fd: u32,
    ) -> Result<(), Errno> {
        memory.check(opened_fd.into(), 4)?;
        let descriptor = self.table.get(fd)?;
        let dir = descriptor.dir(Rights::PATH_OPEN)?;
        let oflags = OFlags::from_bits(narrow(oflags)?).ok_or(Errno::INVAL)?;
        let fdflags = FdFlags::from_bits(narrow(fdflags)?).ok_or(Errno::INVAL)?;
        let asked = Rights::from_bits_truncate(rights_base);
        let request = OpenRequest {
            follow: lookup_follows(dirflags)?,
            oflags,
            fdflags,
            read: asked.contains(Rights::FD_READ),
            write: asked.contains(Rights::FD_WRITE),
        };
        if oflags.contains(OFlags::CREAT) {
            descriptor.need(Rights::PATH_CREATE_FILE)?;
        }
        if oflags.contains(OFlags::TRUNC) {
            descriptor.need(Rights::PATH_FILESTAT_SET_SIZE)?;
        }
        let mode = asked & (Rights::FD_READ | Rights::FD_WRITE);
        if !descriptor.inheriting.contains(mode) {
            return Err(Errno::NOTCAPABLE);
        }
        let path = GuestPath::read(memory, path, path_len)?;
        self.table.check_room()?;
        let opened = dir.open(&path, request)?;
        let inherited = descriptor.inheriting;
        let mut opened = Descriptor::new(match opened {
            Opened::File(file) => Kind::File(file),
            Opened::Dir(dir) => Kind::Dir(dir),
        });
        opened.base = opened.base & inherited;
        opened.inheriting = opened.inheriting & inherited;
        if matches!(opened.kind, Kind::File(_)) {
            opened.flags = fdflags;
        }
        let number = self.table.insert(opened)?;
        Ok(memory.write_u32(opened_fd.into(), number)?)
    }

    /// Tells the contents of a symbolic link, cut to the size of the buffer.
    #[expect(clippy::too_many_arguments, reason = "the interface's parameters")]
    pub fn path_readlink(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        path: u32,
        path_len: u32,
        buf: u32,
        buf_len: u32,
        bufused: u32,
    ) -> Result<(), Errno> {
        memory.check(buf.into(), buf_len.into())?;
        memory.check(bufused.into(), 4)?;
        let dir = self.table.get(fd)?.dir(Rights::PATH_READLINK)?;
        let mut contents = dir.read_link(&GuestPath::read(memory, path, path_len)?)?;
        contents.truncate(buf_len as usize);
        memory.write(buf.into(), &contents)?;
        Ok(memory.write_u32(bufused.into(), contents.len() as u32)?)
    }

    /// Removes an empty directory.
    pub fn path_remove_directory(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Errno> {
        let dir = self.table.get(fd)?.dir(Rights::PATH_REMOVE_DIRECTORY)?;
        dir.remove_dir(&GuestPath::read(memory, path, path_len)?)
    }

    /// Gives a file or directory another name and place.
    #[expect(clippy::too_many_arguments, reason = "the interface's parameters")]
    pub fn path_rename(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        old_path: u32,
        old_path_len: u32,
        new_fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Errno> {
        let source = self.table.get(fd)?.dir(Rights::PATH_RENAME_SOURCE)?;
        let target = self.table.get(new_fd)?.dir(Rights::PATH_RENAME_TARGET)?;
        let old_path = GuestPath::read(memory, old_path, old_path_len)?;
        source.rename(&old_path, target, &GuestPath::read(memory, new_path, new_path_len)?)
    }

    /// Makes a symbolic link.
    pub fn path_symlink(
        &mut self,
        memory: &mut dyn GuestMemory,
        old_path: u32,
        old_path_len: u32,
        fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Errno> {
        let dir = self.table.get(fd)?.dir(Rights::PATH_SYMLINK)?;
        let contents = read_text(memory, old_path, old_path_len)?;
        dir.symlink(&contents, &GuestPath::read(memory, new_path, new_path_len)?)
    }

    /// Removes a file or link.
    pub fn path_unlink_file(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Errno> {
        let dir = self.table.get(fd)?.dir(Rights::PATH_UNLINK_FILE)?;
        dir.unlink_file(&GuestPath::read(memory, path, path_len)?)
    }
}

/// Waiting; the work is in `poll.rs`.
impl WasiP1Ctx {
    /// Waits until one of several things has happened.
    pub fn poll_oneoff(
        &mut self,
        memory: &mut dyn GuestMemory,
        subscriptions: u32,
        events: u32,
        nsubscriptions: u32,
        nevents: u32,
    ) -> Result<(), Errno> {
        self.poll(
            memory,
            Abi::Preview1,
            PollArgs { subscriptions, events, count: nsubscriptions, nevents },
        )
    }

    pub(crate) fn unstable_poll_oneoff(
        &mut self,
        memory: &mut dyn GuestMemory,
        subscriptions: u32,
        events: u32,
        nsubscriptions: u32,
        nevents: u32,
    ) -> Result<(), Errno> {
        self.poll(
            memory,
            Abi::Unstable,
            PollArgs { subscriptions, events, count: nsubscriptions, nevents },
        )
    }
}

/// Sockets, which only a host can give to a guest.
impl WasiP1Ctx {
    /// Accepts a connection.
    pub fn sock_accept(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        flags: u32,
        accepted_fd: u32,
    ) -> Result<(), Errno> {
        memory.check(accepted_fd.into(), 4)?;
        let flags = FdFlags::from_bits(narrow(flags)?).ok_or(Errno::INVAL)?;
        if !FdFlags::NONBLOCK.contains(flags) {
            return Err(Errno::INVAL);
        }
        let descriptor = self.table.get(fd)?;
        descriptor.need(Rights::SOCK_ACCEPT)?;
        let Kind::Listener(listener) = &descriptor.kind else {
            return Err(Errno::NOTSOCK);
        };
        let inherited = descriptor.inheriting;
        self.table.check_room()?;
        let (socket, _) = listener.accept()?;
        socket.set_nonblocking(flags.contains(FdFlags::NONBLOCK))?;
        let mut accepted = Descriptor::new(Kind::Socket(socket));
        accepted.base = accepted.base & inherited;
        accepted.flags = flags;
        let number = self.table.insert(accepted)?;
        Ok(memory.write_u32(accepted_fd.into(), number)?)
    }

    /// Receives.
    #[expect(clippy::too_many_arguments, reason = "the interface's parameters")]
    pub fn sock_recv(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        ri_flags: u32,
        ro_datalen: u32,
        ro_flags: u32,
    ) -> Result<(), Errno> {
        memory.check(ro_datalen.into(), 4)?;
        memory.check(ro_flags.into(), 2)?;
        let flags = RiFlags::from_bits(narrow(ri_flags)?).ok_or(Errno::INVAL)?;
        let WasiP1Ctx { table, bounce, .. } = self;
        let descriptor = table.get_mut(fd)?;
        let Kind::Socket(socket) = &descriptor.kind else {
            return Err(Errno::NOTSOCK);
        };
        descriptor.need(Rights::FD_READ)?;
        let iovecs = Iovecs::read(memory, iovs, iovs_len)?;
        let peek = flags.contains(RiFlags::RECV_PEEK);
        // A second look would see the same bytes again.
        let wait_all = flags.contains(RiFlags::RECV_WAITALL) && !peek;
        let count = read_vectored(bounce, memory, &iovecs, wait_all, |bytes, _| {
            if peek {
                return socket.peek(bytes);
            }
            if !wait_all {
                return (&mut &*socket).read(bytes);
            }
            let mut filled = 0;
            while filled < bytes.len() {
                match (&mut &*socket).read(&mut bytes[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) if filled > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(filled)
        })?;
        memory.write_u32(ro_datalen.into(), count)?;
        // No datagrams, so nothing was cut.
        Ok(memory.write_u16(ro_flags.into(), 0)?)
    }

    /// Sends.
    pub fn sock_send(
        &mut self,
        memory: &mut dyn GuestMemory,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        si_flags: u32,
        so_datalen: u32,
    ) -> Result<(), Errno> {
        memory.check(so_datalen.into(), 4)?;
        // spec: no flags are defined.
        if si_flags != 0 {
            return Err(Errno::INVAL);
        }
        let WasiP1Ctx { table, bounce, .. } = self;
        let descriptor = table.get(fd)?;
        let Kind::Socket(socket) = &descriptor.kind else {
            return Err(Errno::NOTSOCK);
        };
        descriptor.need(Rights::FD_WRITE)?;
        let iovecs = Iovecs::read(memory, iovs, iovs_len)?;
        let count =
            write_vectored(bounce, memory, &iovecs, |bytes, _| (&mut &*socket).write(bytes))?;
        Ok(memory.write_u32(so_datalen.into(), count)?)
    }

    /// Closes one or both directions of a connection.
    pub fn sock_shutdown(
        &mut self,
        _memory: &mut dyn GuestMemory,
        fd: u32,
        how: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.need(Rights::SOCK_SHUTDOWN)?;
        let Kind::Socket(socket) = &descriptor.kind else {
            return Err(Errno::NOTSOCK);
        };
        let how = SdFlags::from_bits(narrow(how)?).ok_or(Errno::INVAL)?;
        let how = match (how.contains(SdFlags::RD), how.contains(SdFlags::WR)) {
            (true, true) => Shutdown::Both,
            (true, false) => Shutdown::Read,
            (false, true) => Shutdown::Write,
            (false, false) => return Err(Errno::INVAL),
        };
        Ok(socket.shutdown(how)?)
    }
}

//! Every function of preview 1 against guest memory made of plain bytes, and the rules of the sandbox.
//!
//! A [`Guest`] is a set-up guest with a megabyte of memory; its methods put arguments into that memory
//! and take results out. What a rule of security forbids is tested by trying it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wardian::GuestMemory;

use super::{CoreType, FUNCTIONS};
use crate::pipe::{MemoryInputPipe, MemoryOutputPipe};
use crate::types::*;
use crate::{FixedClock, WasiCtxBuilder, WasiP1Ctx};

/// Where results go.
const OUT: u32 = 0x100;
/// Where paths go: two of them.
const PATH: u32 = 0x1000;
const PATH2: u32 = 0x4000;
/// Where lists of buffers go.
const IOVS: u32 = 0x8000;
/// Where data goes.
const DATA: u32 = 0x10000;
/// Bytes of guest memory.
const SIZE: usize = 1 << 20;

/// The directory given to every guest that has one.
const ROOT: u32 = 3;

const READ: u64 = Rights::FD_READ.bits();
const WRITE: u64 = Rights::FD_WRITE.bits();
const CREAT: u32 = OFlags::CREAT.bits() as u32;
const DIRECTORY: u32 = OFlags::DIRECTORY.bits() as u32;
const EXCL: u32 = OFlags::EXCL.bits() as u32;
const TRUNC: u32 = OFlags::TRUNC.bits() as u32;
const APPEND: u32 = FdFlags::APPEND.bits() as u32;
const NONBLOCK: u32 = FdFlags::NONBLOCK.bits() as u32;
const FOLLOW: u32 = LookupFlags::SYMLINK_FOLLOW.bits();

struct Guest {
    ctx: WasiP1Ctx,
    memory: Vec<u8>,
}

type Result<T> = std::result::Result<T, Errno>;

/// Next cookie, inode, file type, name.
type Dirent = (u64, u64, u8, String);

/// Index of the subscription, errno, type, bytes, flags.
type Event = (u64, u16, u8, u64, u16);

impl Guest {
    fn new(builder: &mut WasiCtxBuilder) -> Guest {
        Guest { ctx: builder.build_p1(), memory: vec![0; SIZE] }
    }

    /// A guest with one directory, of all permissions.
    fn with_dir() -> (TempDir, Guest) {
        Guest::with_perms(DirPerms::all(), FilePerms::all())
    }

    fn with_perms(dir_perms: DirPerms, file_perms: FilePerms) -> (TempDir, Guest) {
        let temp = TempDir::new().unwrap();
        let mut builder = WasiCtxBuilder::new();
        builder.preopened_dir(temp.path(), "/", dir_perms, file_perms).unwrap();
        let guest = Guest::new(&mut builder);
        (temp, guest)
    }

    fn call(&mut self, name: &str, args: &[u64]) -> Result<()> {
        function(name).call(&mut self.ctx, &mut self.memory, args)
    }

    /// Puts bytes into memory.
    fn set(&mut self, at: u32, bytes: &[u8]) {
        GuestMemory::write(&mut self.memory, at.into(), bytes).unwrap();
    }

    /// Puts a path into memory and gives its address and length.
    fn path_at(&mut self, at: u32, path: &str) -> [u64; 2] {
        self.set(at, path.as_bytes());
        [at.into(), path.len() as u64]
    }

    fn path(&mut self, path: &str) -> [u64; 2] {
        self.path_at(PATH, path)
    }

    fn out32(&self) -> u32 {
        self.memory.read_u32(OUT.into()).unwrap()
    }

    fn open_as(
        &mut self,
        dir: u32,
        flags: u32,
        path: &str,
        oflags: u32,
        rights: u64,
        fdflags: u32,
    ) -> Result<u32> {
        let [at, len] = self.path(path);
        let all = Rights::INHERITING.bits();
        let (dir, flags, oflags) = (dir.into(), flags.into(), oflags.into());
        self.call(
            "path_open",
            &[dir, flags, at, len, oflags, rights, all, fdflags.into(), OUT.into()],
        )?;
        Ok(self.out32())
    }

    fn open(&mut self, path: &str, oflags: u32, rights: u64) -> Result<u32> {
        self.open_as(ROOT, 0, path, oflags, rights, 0)
    }

    fn open_follow(&mut self, path: &str, oflags: u32, rights: u64) -> Result<u32> {
        self.open_as(ROOT, FOLLOW, path, oflags, rights, 0)
    }

    fn close(&mut self, fd: u32) -> Result<()> {
        self.call("fd_close", &[fd.into()])
    }

    /// Puts a list of buffers into memory.
    fn iovs(&mut self, buffers: &[(u32, u32)]) -> [u64; 2] {
        for (index, (addr, len)) in buffers.iter().enumerate() {
            let at = u64::from(IOVS) + index as u64 * 8;
            self.memory.write_u32(at, *addr).unwrap();
            self.memory.write_u32(at + 4, *len).unwrap();
        }
        [IOVS.into(), buffers.len() as u64]
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32> {
        self.set(DATA, bytes);
        let [iovs, count] = self.iovs(&[(DATA, bytes.len() as u32)]);
        self.call("fd_write", &[fd.into(), iovs, count, OUT.into()])?;
        Ok(self.out32())
    }

    fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>> {
        let [iovs, count] = self.iovs(&[(DATA, len)]);
        self.call("fd_read", &[fd.into(), iovs, count, OUT.into()])?;
        Ok(self.data(self.out32()))
    }

    fn data(&self, len: u32) -> Vec<u8> {
        self.memory.read_vec(DATA.into(), len.into(), SIZE as u64).unwrap()
    }

    /// Calls a function of a directory and one path.
    fn on_path(&mut self, name: &str, path: &str) -> Result<()> {
        let [at, len] = self.path(path);
        self.call(name, &[ROOT.into(), at, len])
    }

    fn mkdir(&mut self, path: &str) -> Result<()> {
        self.on_path("path_create_directory", path)
    }

    fn rmdir(&mut self, path: &str) -> Result<()> {
        self.on_path("path_remove_directory", path)
    }

    fn unlink(&mut self, path: &str) -> Result<()> {
        self.on_path("path_unlink_file", path)
    }

    fn rename_between(&mut self, from: u32, old: &str, to: u32, new: &str) -> Result<()> {
        let [old, old_len] = self.path(old);
        let [new, new_len] = self.path_at(PATH2, new);
        self.call("path_rename", &[from.into(), old, old_len, to.into(), new, new_len])
    }

    fn rename(&mut self, old: &str, new: &str) -> Result<()> {
        self.rename_between(ROOT, old, ROOT, new)
    }

    fn link_between(&mut self, from: u32, old: &str, to: u32, new: &str) -> Result<()> {
        let [old, old_len] = self.path(old);
        let [new, new_len] = self.path_at(PATH2, new);
        self.call("path_link", &[from.into(), 0, old, old_len, to.into(), new, new_len])
    }

    fn link(&mut self, old: &str, new: &str) -> Result<()> {
        self.link_between(ROOT, old, ROOT, new)
    }

    fn symlink(&mut self, contents: &str, path: &str) -> Result<()> {
        let [old, old_len] = self.path(contents);
        let [new, new_len] = self.path_at(PATH2, path);
        self.call("path_symlink", &[old, old_len, ROOT.into(), new, new_len])
    }

    fn readlink(&mut self, path: &str, buf_len: u32) -> Result<Vec<u8>> {
        let [at, len] = self.path(path);
        let args = [ROOT.into(), at, len, DATA.into(), buf_len.into(), OUT.into()];
        self.call("path_readlink", &args)?;
        Ok(self.data(self.out32()))
    }

    fn stat(&mut self, path: &str, flags: u32) -> Result<Stat> {
        let [at, len] = self.path(path);
        self.call("path_filestat_get", &[ROOT.into(), flags.into(), at, len, OUT.into()])?;
        Ok(self.stat_out())
    }

    fn fstat(&mut self, fd: u32) -> Result<Stat> {
        self.call("fd_filestat_get", &[fd.into(), OUT.into()])?;
        Ok(self.stat_out())
    }

    fn stat_out(&self) -> Stat {
        let at = u64::from(OUT);
        let field = |offset| self.memory.read_u64(at + offset).unwrap();
        Stat {
            dev: field(0),
            ino: field(8),
            file_type: self.memory.read_u8(at + 16).unwrap(),
            nlink: field(24),
            size: field(32),
            atim: field(40),
            mtim: field(48),
            ctim: field(56),
        }
    }

    /// File type, flags, base rights, inheriting rights.
    fn fdstat(&mut self, fd: u32) -> Result<(u8, u16, Rights, Rights)> {
        self.call("fd_fdstat_get", &[fd.into(), OUT.into()])?;
        let at = u64::from(OUT);
        let rights =
            |offset| Rights::from_bits(self.memory.read_u64(at + offset).unwrap()).unwrap();
        let file_type = self.memory.read_u8(at).unwrap();
        Ok((file_type, self.memory.read_u16(at + 2).unwrap(), rights(8), rights(16)))
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u64) -> Result<u64> {
        self.call("fd_seek", &[fd.into(), offset as u64, whence, OUT.into()])?;
        Ok(self.memory.read_u64(OUT.into()).unwrap())
    }

    /// The entries of a directory from a cookie on, read with a buffer of `buf_len`, as far as they
    /// are whole, and whether the end was reached.
    fn readdir(&mut self, fd: u32, cookie: u64, buf_len: u32) -> Result<(Vec<Dirent>, bool)> {
        let args = [fd.into(), DATA.into(), buf_len.into(), cookie, OUT.into()];
        self.call("fd_readdir", &args)?;
        let used = self.out32();
        let bytes = self.data(used);
        let mut entries = Vec::new();
        let mut rest = &bytes[..];
        while rest.len() >= DIRENT_SIZE {
            let number = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().unwrap());
            let len = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
            let Some(name) = rest.get(DIRENT_SIZE..DIRENT_SIZE + len) else {
                break;
            };
            entries.push((
                number(0),
                number(8),
                rest[20],
                String::from_utf8(name.to_vec()).unwrap(),
            ));
            rest = &rest[DIRENT_SIZE + len..];
        }
        Ok((entries, used < buf_len))
    }

    fn random(&mut self, addr: u32, len: u32) -> Result<()> {
        self.call("random_get", &[addr.into(), len.into()])
    }

    fn time(&mut self, clock: u32) -> Result<u64> {
        self.call("clock_time_get", &[clock.into(), 0, OUT.into()])?;
        Ok(self.memory.read_u64(OUT.into()).unwrap())
    }

    /// Polls.
    fn poll(&mut self, subscriptions: &[Sub]) -> Result<Vec<Event>> {
        for (index, subscription) in subscriptions.iter().enumerate() {
            let at = u64::from(IOVS) + index as u64 * 48;
            self.memory.fill(at, 48, 0).unwrap();
            self.memory.write_u64(at, 0x1000 + index as u64).unwrap();
            match *subscription {
                Sub::Clock { id, timeout, flags } => {
                    self.memory.write_u8(at + 8, eventtype::CLOCK).unwrap();
                    self.memory.write_u32(at + 16, id).unwrap();
                    self.memory.write_u64(at + 24, timeout).unwrap();
                    self.memory.write_u16(at + 40, flags).unwrap();
                }
                Sub::Fd { event_type, fd } => {
                    self.memory.write_u8(at + 8, event_type).unwrap();
                    self.memory.write_u32(at + 16, fd).unwrap();
                }
            }
        }
        let count = subscriptions.len() as u64;
        self.call("poll_oneoff", &[IOVS.into(), DATA.into(), count, OUT.into()])?;
        let events = (0..u64::from(self.out32())).map(|index| {
            let at = u64::from(DATA) + index * EVENT_SIZE;
            let memory = &self.memory;
            (
                memory.read_u64(at).unwrap() - 0x1000,
                memory.read_u16(at + 8).unwrap(),
                memory.read_u8(at + 10).unwrap(),
                memory.read_u64(at + 16).unwrap(),
                memory.read_u16(at + 24).unwrap(),
            )
        });
        Ok(events.collect())
    }
}

#[derive(Clone, Copy)]
enum Sub {
    Clock { id: u32, timeout: u64, flags: u16 },
    Fd { event_type: u8, fd: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    dev: u64,
    ino: u64,
    file_type: u8,
    nlink: u64,
    size: u64,
    atim: u64,
    mtim: u64,
    ctim: u64,
}

fn function(name: &str) -> &'static super::Function {
    FUNCTIONS.iter().find(|function| function.name == name).expect("the table names the function")
}

fn put(dir: &Path, name: &str, contents: &str) {
    std::fs::write(dir.join(name), contents).unwrap();
}

const DIR_TYPE: u8 = FileType::Directory as u8;
const FILE_TYPE: u8 = FileType::RegularFile as u8;
const LINK_TYPE: u8 = FileType::SymbolicLink as u8;

// ---- the table -------------------------------------------------------------------------------

#[test]
fn the_table_is_preview_1() {
    // Every function but `proc_exit`; `sock_accept` came after `wasi_unstable`.
    assert_eq!(FUNCTIONS.len(), 45);
    assert_eq!(FUNCTIONS.iter().filter(|function| function.is_in_unstable()).count(), 44);
    let names: BTreeSet<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(names.len(), FUNCTIONS.len());
    use CoreType::{I32, I64};
    assert_eq!(function("path_open").params, [I32, I32, I32, I32, I32, I64, I64, I32, I32]);
    assert_eq!(function("fd_seek").params, [I32, I64, I32, I32]);
    assert_eq!(function("sched_yield").params, []);
}

#[test]
fn a_context_can_be_sent() {
    fn is_send<T: Send>() {}
    is_send::<WasiP1Ctx>();
    is_send::<WasiCtxBuilder>();
}

#[test]
fn no_argument_makes_a_function_panic_and_faults_have_no_effect() {
    let clock = FixedClock::new(Duration::from_secs(1));
    let (temp, _) = Guest::with_dir();
    put(temp.path(), "file", "contents");
    let values = [0, 1, 3, 4, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX, 0xffff_fff0];
    let mut state = 1u64;
    for function in FUNCTIONS {
        for round in 0..400 {
            let mut builder = WasiCtxBuilder::new();
            builder
                .preopened_dir(temp.path(), "/", DirPerms::READ, FilePerms::READ)
                .unwrap()
                .monotonic_clock(clock.clone())
                .wall_clock(clock.clone())
                .random_seed(1);
            let mut guest = Guest::new(&mut builder);
            guest.open("file", 0, READ).unwrap();
            guest.memory.truncate(4096);
            let args: Vec<u64> = function
                .params
                .iter()
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(round);
                    values[(state >> 33) as usize % values.len()]
                })
                .collect();
            let before = guest.memory.clone();
            let result = if round % 2 == 0 {
                function.call(&mut guest.ctx, &mut guest.memory, &args)
            } else {
                function.call_unstable(&mut guest.ctx, &mut guest.memory, &args)
            };
            if result == Err(Errno::FAULT) {
                assert_eq!(before, guest.memory, "{} {args:x?}", function.name);
            }
        }
    }
}

// ---- arguments, clocks, random, process ------------------------------------------------------

#[test]
fn arguments_and_environment() {
    let mut builder = WasiCtxBuilder::new();
    builder.arg("prog").args(&["a b", ""]).env("K", "old").envs(&[("K", "v"), ("EMPTY", "")]);
    let mut guest = Guest::new(&mut builder);
    let out = u64::from(OUT);
    guest.call("args_sizes_get", &[out, out + 4]).unwrap();
    assert_eq!((guest.out32(), guest.memory.read_u32(out + 4).unwrap()), (3, 10));
    guest.call("args_get", &[out, DATA.into()]).unwrap();
    assert_eq!(guest.data(10), b"prog\0a b\0\0");
    let pointers: Vec<_> = (0..3).map(|i| guest.memory.read_u32(out + i * 4).unwrap()).collect();
    assert_eq!(pointers, [DATA, DATA + 5, DATA + 9]);
    guest.call("environ_sizes_get", &[out, out + 4]).unwrap();
    assert_eq!((guest.out32(), guest.memory.read_u32(out + 4).unwrap()), (2, 11));
    guest.call("environ_get", &[out, DATA.into()]).unwrap();
    assert_eq!(guest.data(11), b"K=v\0EMPTY=\0");

    let end = SIZE as u64;
    assert_eq!(guest.call("args_get", &[end - 8, DATA.into()]), Err(Errno::FAULT));
    assert_eq!(guest.call("args_get", &[out, end - 9]), Err(Errno::FAULT));
    assert_eq!(guest.call("args_sizes_get", &[out, end - 3]), Err(Errno::FAULT));
}

#[test]
fn clocks() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    for id in
        [clockid::REALTIME, clockid::MONOTONIC, clockid::PROCESS_CPUTIME, clockid::THREAD_CPUTIME]
    {
        guest.call("clock_res_get", &[id.into(), OUT.into()]).unwrap();
        assert!(guest.memory.read_u64(OUT.into()).unwrap() > 0);
        let first = guest.time(id).unwrap();
        assert!(first > 0);
        assert!(guest.time(id).unwrap() >= first);
    }
    assert_eq!(guest.time(4), Err(Errno::INVAL));
    assert_eq!(guest.call("clock_res_get", &[4, OUT.into()]), Err(Errno::INVAL));
    assert_eq!(guest.call("clock_time_get", &[0, 0, SIZE as u64 - 7]), Err(Errno::FAULT));
}

#[test]
fn fixed_clocks_and_seeds_make_runs_repeatable() {
    let run = || {
        let mut builder = WasiCtxBuilder::new();
        builder
            .wall_clock(FixedClock::new(Duration::from_secs(1_000_000_000)))
            .monotonic_clock(FixedClock::new(Duration::from_secs(5)))
            .random_seed(7);
        let mut guest = Guest::new(&mut builder);
        let times: Vec<_> = (0..4).map(|id| guest.time(id).unwrap()).collect();
        guest.random(DATA, 100).unwrap();
        (times, guest.data(100))
    };
    assert_eq!(run(), run());
    assert_eq!(run().0, [1_000_000_000_000_000_000, 5_000_000_000, 5_000_000_000, 5_000_000_000]);
}

#[test]
fn random_bytes_fill_exactly_the_buffer() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    guest.random(DATA, 300_000).unwrap();
    let data = guest.data(300_000);
    assert!(data.chunks(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    assert_eq!(guest.memory[DATA as usize - 1], 0);
    assert_eq!(guest.memory[DATA as usize + 300_000], 0);
    guest.random(DATA, 0).unwrap();
    guest.random(SIZE as u32, 0).unwrap();
}

#[test]
fn random_bytes_out_of_bounds_do_no_work() {
    struct Counting;
    impl crate::HostRandom for Counting {
        fn fill(&mut self, _: &mut [u8]) -> std::io::Result<()> {
            panic!("asked for bytes that have no place")
        }
    }
    let mut guest = Guest::new(WasiCtxBuilder::new().secure_random(Counting));
    for (addr, len) in [(0, u32::MAX), (u32::MAX, u32::MAX), (1, SIZE as u32)] {
        assert_eq!(guest.random(addr, len), Err(Errno::FAULT));
    }
}

#[test]
fn the_process() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert_eq!(guest.ctx.proc_exit(33).process_exit_code(), 33);
    assert_eq!(guest.ctx.proc_exit(u32::MAX).process_exit_code(), -1);
    assert_eq!(guest.ctx.proc_exit(3).to_string(), "exited with i32 exit status 3");
    assert_eq!(guest.call("proc_raise", &[6]), Err(Errno::NOTSUP));
    guest.call("sched_yield", &[]).unwrap();
}

// ---- files -----------------------------------------------------------------------------------

#[test]
fn write_seek_read() {
    let (temp, mut guest) = Guest::with_dir();
    let fd = guest.open("file", CREAT, READ | WRITE).unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.write(fd, b"hello world").unwrap(), 11);
    assert_eq!(guest.seek(fd, 6, 0).unwrap(), 6);
    assert_eq!(guest.read(fd, 100).unwrap(), b"world");
    assert_eq!(guest.read(fd, 100).unwrap(), b"");
    assert_eq!(guest.seek(fd, -5, 1).unwrap(), 6);
    assert_eq!(guest.seek(fd, -1, 2).unwrap(), 10);
    assert_eq!(guest.seek(fd, -20, 1), Err(Errno::INVAL));
    assert_eq!(guest.seek(fd, -1, 0), Err(Errno::INVAL));
    assert_eq!(guest.seek(fd, 0, 3), Err(Errno::INVAL));
    guest.call("fd_tell", &[fd.into(), OUT.into()]).unwrap();
    assert_eq!(guest.memory.read_u64(OUT.into()).unwrap(), 10);
    assert_eq!(std::fs::read(temp.path().join("file")).unwrap(), b"hello world");
    guest.call("fd_sync", &[fd.into()]).unwrap();
    guest.call("fd_datasync", &[fd.into()]).unwrap();
    guest.close(fd).unwrap();
    assert_eq!(guest.close(fd), Err(Errno::BADF));
    assert_eq!(guest.read(fd, 1), Err(Errno::BADF));
}

#[test]
fn buffers_are_filled_in_order_and_larger_than_one_bounce() {
    let (temp, mut guest) = Guest::with_dir();
    let contents: Vec<u8> = (0..400_000u32).map(|i| (i * 7 % 251) as u8).collect();
    std::fs::write(temp.path().join("file"), &contents).unwrap();
    let fd = guest.open("file", 0, READ | WRITE).unwrap();
    let buffers = [(DATA, 1), (DATA + 1, 0), (DATA + 1, 199_999), (DATA + 200_000, 300_000)];
    let [iovs, count] = guest.iovs(&buffers);
    guest.call("fd_read", &[fd.into(), iovs, count, OUT.into()]).unwrap();
    assert_eq!(guest.out32(), 400_000);
    assert_eq!(guest.data(400_000), contents);
    let [iovs, count] = guest.iovs(&[(DATA + 200_000, 200_000), (DATA, 200_000)]);
    guest.call("fd_pwrite", &[fd.into(), iovs, count, 0, OUT.into()]).unwrap();
    assert_eq!(guest.out32(), 400_000);
    let written = std::fs::read(temp.path().join("file")).unwrap();
    assert_eq!(&written[..200_000], &contents[200_000..]);
    assert_eq!(&written[200_000..], &contents[..200_000]);
}

#[test]
fn positioned_reads_and_writes_leave_the_position() {
    let (_temp, mut guest) = Guest::with_dir();
    let fd = guest.open("file", CREAT, READ | WRITE).unwrap();
    guest.write(fd, b"0123456789").unwrap();
    let [iovs, count] = guest.iovs(&[(DATA, 2), (DATA + 2, 2)]);
    guest.set(DATA, b"abcd");
    guest.call("fd_pwrite", &[fd.into(), iovs, count, 3, OUT.into()]).unwrap();
    assert_eq!(guest.out32(), 4);
    guest.call("fd_pread", &[fd.into(), iovs, count, 2, OUT.into()]).unwrap();
    assert_eq!(guest.data(4), b"2abc");
    assert_eq!(guest.seek(fd, 0, 1).unwrap(), 10);
    guest.call("fd_pread", &[fd.into(), iovs, count, 9, OUT.into()]).unwrap();
    assert_eq!(guest.out32(), 1);
    for offset in [u64::MAX, i64::MAX as u64] {
        let args = [fd.into(), iovs, count, offset, OUT.into()];
        assert_eq!(guest.call("fd_pread", &args), Err(Errno::INVAL));
        assert_eq!(guest.call("fd_pwrite", &args), Err(Errno::INVAL));
    }
}

#[test]
fn lists_of_buffers_are_bounded_and_checked_first() {
    let (temp, mut guest) = Guest::with_dir();
    put(temp.path(), "file", "0123456789");
    let fd = guest.open("file", 0, READ | WRITE).unwrap();
    for name in ["fd_read", "fd_write"] {
        // The sum does not fit the 32 bits of the result.
        let [iovs, count] = guest.iovs(&[(DATA, u32::MAX), (DATA, 2)]);
        assert_eq!(guest.call(name, &[fd.into(), iovs, count, OUT.into()]), Err(Errno::INVAL));
        // More buffers than are accepted; the list itself out of bounds.
        let args = [fd.into(), iovs, u64::from(crate::limits::IOVECS) + 1, OUT.into()];
        assert_eq!(guest.call(name, &args), Err(Errno::INVAL));
        assert_eq!(
            guest.call(name, &[fd.into(), iovs, u32::MAX.into(), OUT.into()]),
            Err(Errno::INVAL)
        );
        let args = [fd.into(), SIZE as u64 - 8, 2, OUT.into()];
        assert_eq!(guest.call(name, &args), Err(Errno::FAULT));
        // A bad buffer behind a good one, a bad place for the result: nothing is moved.
        let [iovs, count] = guest.iovs(&[(DATA, 3), (SIZE as u32 - 1, 2)]);
        assert_eq!(guest.call(name, &[fd.into(), iovs, count, OUT.into()]), Err(Errno::FAULT));
        let [iovs, count] = guest.iovs(&[(DATA, 3)]);
        assert_eq!(guest.call(name, &[fd.into(), iovs, count, SIZE as u64 - 3]), Err(Errno::FAULT));
        assert_eq!(guest.seek(fd, 0, 1).unwrap(), 0, "{name}");
        // No buffers, and empty ones.
        guest.call(name, &[fd.into(), iovs, 0, OUT.into()]).unwrap();
        let [iovs, count] = guest.iovs(&[(SIZE as u32, 0)]);
        guest.call(name, &[fd.into(), iovs, count, OUT.into()]).unwrap();
        assert_eq!(guest.out32(), 0);
    }
    assert_eq!(std::fs::read(temp.path().join("file")).unwrap(), b"0123456789");
}

#[test]
fn appending_can_be_switched() {
    let (temp, mut guest) = Guest::with_dir();
    put(temp.path(), "file", "old contents");
    let fd = guest.open_as(ROOT, 0, "file", CREAT | TRUNC, READ | WRITE, APPEND).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().1, APPEND as u16);
    guest.write(fd, b"aa").unwrap();
    guest.seek(fd, 0, 0).unwrap();
    guest.write(fd, b"bb").unwrap();
    assert_eq!(guest.seek(fd, 0, 1).unwrap(), 4);
    guest.call("fd_fdstat_set_flags", &[fd.into(), 0]).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().1, 0);
    guest.seek(fd, 0, 0).unwrap();
    guest.write(fd, b"c").unwrap();
    assert_eq!(std::fs::read(temp.path().join("file")).unwrap(), b"cabb");
    // What belongs to the opening cannot be changed; numbers without a meaning mean nothing.
    let sync = u64::from(FdFlags::SYNC.bits());
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), sync]), Err(Errno::NOTSUP));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), 32]), Err(Errno::INVAL));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), 0x10000]), Err(Errno::INVAL));
    let fd =
        guest.open_as(ROOT, 0, "file", 0, READ | WRITE, u32::from(FdFlags::SYNC.bits())).unwrap();
    guest.call("fd_fdstat_set_flags", &[fd.into(), sync | u64::from(APPEND)]).unwrap();
}

#[test]
fn sizes_space_and_advice() {
    let (_temp, mut guest) = Guest::with_dir();
    let fd = guest.open("file", CREAT, READ | WRITE).unwrap();
    let file = u64::from(fd);
    guest.call("fd_filestat_set_size", &[file, 100]).unwrap();
    assert_eq!(guest.fstat(fd).unwrap().size, 100);
    for advice in 0..6 {
        guest.call("fd_advise", &[file, 10, 50, advice]).unwrap();
    }
    guest.call("fd_advise", &[file, 0, 0, 0]).unwrap();
    assert_eq!(guest.call("fd_advise", &[file, 0, 0, 6]), Err(Errno::INVAL));
    assert_eq!(guest.call("fd_advise", &[file, u64::MAX, 2, 0]), Err(Errno::INVAL));
    match guest.call("fd_allocate", &[file, 90, 60]) {
        Ok(()) => assert_eq!(guest.fstat(fd).unwrap().size, 150),
        Err(error) => assert_eq!(error, Errno::NOTSUP),
    }
    assert_eq!(guest.call("fd_allocate", &[file, 0, 0]), Err(Errno::INVAL));
    assert_eq!(guest.call("fd_allocate", &[file, u64::MAX, 1]), Err(Errno::FBIG));
    assert_eq!(guest.call("fd_filestat_set_size", &[file, u64::MAX]), Err(Errno::FBIG));
    guest.call("fd_filestat_set_size", &[file, 3]).unwrap();
    assert_eq!(guest.fstat(fd).unwrap().size, 3);
}

#[test]
fn status_and_times() {
    let (_temp, mut guest) = Guest::with_dir();
    let fd = guest.open("file", CREAT, READ | WRITE).unwrap();
    guest.write(fd, b"12345").unwrap();
    let stat = guest.fstat(fd).unwrap();
    assert_eq!((stat.file_type, stat.nlink, stat.size), (FILE_TYPE, 1, 5));
    assert!(stat.ino != 0 && stat.ctim != 0);
    assert_eq!(guest.stat("file", 0).unwrap(), stat);

    let file = u64::from(fd);
    let (atim, mtim) = (u64::from(FstFlags::ATIM.bits()), u64::from(FstFlags::MTIM.bits()));
    let (atim_now, mtim_now) =
        (u64::from(FstFlags::ATIM_NOW.bits()), u64::from(FstFlags::MTIM_NOW.bits()));
    guest
        .call("fd_filestat_set_times", &[file, 1_000_000_007, 2_000_000_009, atim | mtim])
        .unwrap();
    let changed = guest.fstat(fd).unwrap();
    assert_eq!((changed.atim, changed.mtim), (1_000_000_007, 2_000_000_009));
    guest.call("fd_filestat_set_times", &[file, 5, 5, mtim_now]).unwrap();
    let now = guest.fstat(fd).unwrap();
    assert_eq!(now.atim, 1_000_000_007);
    assert!(now.mtim > 1_600_000_000_000_000_000);
    for flags in [atim | atim_now, mtim | mtim_now, 16, 0x10000] {
        let args = [file, 1, 1, flags];
        assert_eq!(guest.call("fd_filestat_set_times", &args), Err(Errno::INVAL));
    }

    let [at, len] = guest.path("file");
    guest.call("path_filestat_set_times", &[ROOT.into(), 0, at, len, 3, 4, atim | mtim]).unwrap();
    let stat = guest.stat("file", 0).unwrap();
    assert_eq!((stat.atim, stat.mtim), (3, 4));
    // A directory has times as well, by descriptor and by path.
    guest.call("fd_filestat_set_times", &[ROOT.into(), 0, 77, mtim]).unwrap();
    assert_eq!(guest.fstat(ROOT).unwrap().mtim, 77);
    assert_eq!(guest.stat(".", 0).unwrap().file_type, DIR_TYPE);
}

#[test]
fn times_of_a_link_are_not_those_of_its_target() {
    let (_temp, mut guest) = Guest::with_dir();
    guest.open("file", CREAT, WRITE).unwrap();
    guest.symlink("file", "link").unwrap();
    let mtim = u64::from(FstFlags::MTIM.bits());
    let before = guest.stat("file", 0).unwrap();
    let [at, len] = guest.path("link");
    guest.call("path_filestat_set_times", &[ROOT.into(), 0, at, len, 0, 123, mtim]).unwrap();
    assert_eq!(guest.stat("link", 0).unwrap().mtim, 123);
    assert_eq!(guest.stat("file", 0).unwrap().mtim, before.mtim);
    let [at, len] = guest.path("link");
    guest.call("path_filestat_set_times", &[ROOT.into(), 1, at, len, 0, 456, mtim]).unwrap();
    assert_eq!(guest.stat("file", 0).unwrap().mtim, 456);
    assert_eq!(guest.stat("link", 0).unwrap().mtim, 123);
    assert_eq!(guest.stat("link", 1).unwrap().mtim, 456);
}

#[test]
fn filestat_as_wasi_unstable_had_it() {
    let (_temp, mut guest) = Guest::with_dir();
    let fd = guest.open("file", CREAT, WRITE).unwrap();
    guest.write(fd, b"12345").unwrap();
    let stat = guest.fstat(fd).unwrap();
    let [path, len] = guest.path("file");
    let out = u64::from(OUT);
    let calls: [(&str, &[u64]); 2] = [
        ("fd_filestat_get", &[fd.into(), out]),
        ("path_filestat_get", &[ROOT.into(), 0, path, len, out]),
    ];
    for (name, args) in calls {
        guest.memory.fill(out, 64, 0xee).unwrap();
        function(name).call_unstable(&mut guest.ctx, &mut guest.memory, args).unwrap();
        let field = |offset| guest.memory.read_u64(out + offset).unwrap();
        assert_eq!((field(0), field(8)), (stat.dev, stat.ino));
        assert_eq!(guest.memory.read_u8(out + 16).unwrap(), FILE_TYPE);
        assert_eq!(guest.memory.read_u32(out + 20).unwrap(), 1);
        assert_eq!(
            [field(24), field(32), field(40), field(48)],
            [5, stat.atim, stat.mtim, stat.ctim]
        );
        assert_eq!(field(56), 0xeeee_eeee_eeee_eeee);
    }
    // There, 0 was "from here", 1 "from the end", 2 "from the start".
    let mut seek = |offset: u64, whence| {
        let args = [fd.into(), offset, whence, out];
        function("fd_seek").call_unstable(&mut guest.ctx, &mut guest.memory, &args).unwrap();
        guest.memory.read_u64(out).unwrap()
    };
    assert_eq!([seek(2, 2), seek(1, 0), seek(0, 1)], [2, 3, 5]);
    assert_eq!(
        function("sock_accept").call_unstable(&mut guest.ctx, &mut guest.memory, &[0, 0, 0]),
        Err(Errno::NOSYS)
    );
}

// ---- opening ---------------------------------------------------------------------------------

#[test]
fn opening() {
    let (temp, mut guest) = Guest::with_dir();
    std::fs::create_dir(temp.path().join("dir")).unwrap();
    put(temp.path(), "file", "x");
    assert_eq!(guest.open("none", 0, READ), Err(Errno::NOENT));
    assert_eq!(guest.open("none/file", CREAT, WRITE), Err(Errno::NOENT));
    assert_eq!(guest.open("file", CREAT | EXCL, WRITE), Err(Errno::EXIST));
    assert_eq!(guest.open("file", DIRECTORY, READ), Err(Errno::NOTDIR));
    assert_eq!(guest.open("file/x", 0, READ), Err(Errno::NOTDIR));
    assert_eq!(guest.open("new", CREAT | DIRECTORY, READ), Err(Errno::INVAL));
    assert_eq!(guest.open("new/", CREAT, READ), Err(Errno::ISDIR));
    assert_eq!(guest.open("dir", DIRECTORY, READ | WRITE), Err(Errno::ISDIR));
    assert_eq!(guest.open("dir", 0, WRITE), Err(Errno::ISDIR));
    assert_eq!(guest.open("dir", CREAT, READ | WRITE), Err(Errno::ISDIR));
    assert_eq!(guest.open("file", 16, READ), Err(Errno::INVAL));
    assert_eq!(guest.open_as(ROOT, 2, "file", 0, READ, 0), Err(Errno::INVAL));
    assert_eq!(guest.open_as(ROOT, 0, "file", 0, READ, 32), Err(Errno::INVAL));
    for path in ["dir", "dir/", "dir///", "dir/.", ".", "./", "dir/../dir", "dir/.."] {
        for oflags in [0, DIRECTORY] {
            let fd = guest.open(path, oflags, READ).unwrap();
            assert_eq!(guest.fdstat(fd).unwrap().0, DIR_TYPE, "{path}");
            guest.close(fd).unwrap();
        }
    }
    let file = guest.open("file", 0, 0).unwrap();
    assert_eq!(guest.open_as(file, 0, "x", 0, READ, 0), Err(Errno::NOTDIR));
    assert_eq!(guest.open_as(1, 0, "x", 0, READ, 0), Err(Errno::NOTDIR));
    assert_eq!(guest.open_as(99, 0, "x", 0, READ, 0), Err(Errno::BADF));
    guest.open_as(ROOT, 0, ".", 0, 0, NONBLOCK).unwrap();
    // Nothing is opened if there is no place for the number.
    let [at, len] = guest.path("never");
    let args = [ROOT.into(), 0, at, len, CREAT.into(), WRITE, 0, 0, SIZE as u64 - 2];
    assert_eq!(guest.call("path_open", &args), Err(Errno::FAULT));
    assert_eq!(guest.open("never", 0, READ), Err(Errno::NOENT));
}

#[test]
fn creating_needs_no_write_access_to_what_exists() {
    use std::os::unix::fs::PermissionsExt;
    let (temp, mut guest) = Guest::with_dir();
    put(temp.path(), "file", "x");
    let read_only = std::fs::Permissions::from_mode(0o444);
    std::fs::set_permissions(temp.path().join("file"), read_only).unwrap();
    let fd = guest.open("file", CREAT, READ).unwrap();
    assert_eq!(guest.read(fd, 10).unwrap(), b"x");
    assert_eq!(guest.write(fd, b"y"), Err(Errno::BADF));
    let fd = guest.open("new", CREAT, READ).unwrap();
    assert_eq!(guest.read(fd, 10).unwrap(), b"");
    assert_eq!(guest.write(fd, b"y"), Err(Errno::BADF));
}

#[test]
fn the_mode_of_opening_holds() {
    let (_temp, mut guest) = Guest::with_dir();
    let write_only = guest.open("file", CREAT, WRITE).unwrap();
    guest.write(write_only, b"data").unwrap();
    assert_eq!(guest.read(write_only, 1), Err(Errno::BADF));
    assert!(!guest.fdstat(write_only).unwrap().2.contains(Rights::FD_READ));
    let read_only = guest.open("file", 0, READ).unwrap();
    assert_eq!(guest.write(read_only, b"x"), Err(Errno::BADF));
    assert_eq!(guest.call("fd_filestat_set_size", &[read_only.into(), 0]), Err(Errno::BADF));
    assert_eq!(guest.call("fd_allocate", &[read_only.into(), 0, 10]), Err(Errno::BADF));
    let [iovs, count] = guest.iovs(&[(DATA, 1)]);
    let args = [read_only.into(), iovs, count, 0, OUT.into()];
    assert_eq!(guest.call("fd_pwrite", &args), Err(Errno::BADF));
    // The host's file is open for writing here, the guest's is not.
    let truncated = guest.open("file", TRUNC, READ).unwrap();
    assert_eq!(guest.fstat(truncated).unwrap().size, 0);
    assert_eq!(guest.write(truncated, b"x"), Err(Errno::BADF));
}

#[test]
fn a_directory_is_no_file() {
    let (_temp, mut guest) = Guest::with_dir();
    let dir = u64::from(ROOT);
    assert_eq!(guest.read(ROOT, 1), Err(Errno::ISDIR));
    assert_eq!(guest.write(ROOT, b"x"), Err(Errno::BADF));
    assert_eq!(guest.seek(ROOT, 0, 1), Err(Errno::BADF));
    assert_eq!(guest.seek(ROOT, 1, 0), Err(Errno::BADF));
    assert_eq!(guest.call("fd_tell", &[dir, OUT.into()]), Err(Errno::BADF));
    assert_eq!(guest.call("fd_allocate", &[dir, 0, 1]), Err(Errno::BADF));
    assert_eq!(guest.call("fd_advise", &[dir, 0, 1, 0]), Err(Errno::BADF));
    assert_eq!(guest.call("fd_filestat_set_size", &[dir, 0]), Err(Errno::BADF));
    let (file_type, flags, base, inheriting) = guest.fdstat(ROOT).unwrap();
    assert_eq!((file_type, flags), (DIR_TYPE, 0));
    assert_eq!((base, inheriting), (Rights::DIRECTORY, Rights::INHERITING));
    guest.call("fd_sync", &[dir]).unwrap();
    guest.call("fd_datasync", &[dir]).unwrap();
    // Nor is a file a directory.
    let file = guest.open("file", CREAT, READ).unwrap();
    let [at, len] = guest.path("x");
    assert_eq!(guest.call("path_create_directory", &[file.into(), at, len]), Err(Errno::NOTDIR));
    let args = [file.into(), DATA.into(), 100, 0, OUT.into()];
    assert_eq!(guest.call("fd_readdir", &args), Err(Errno::NOTDIR));
}

// ---- directories -----------------------------------------------------------------------------

#[test]
fn preopened_directories_tell_their_names() {
    let temp = TempDir::new().unwrap();
    let mut builder = WasiCtxBuilder::new();
    for name in ["/", "data/x"] {
        builder.preopened_dir(temp.path(), name, DirPerms::all(), FilePerms::all()).unwrap();
    }
    let mut guest = Guest::new(&mut builder);
    guest.call("fd_prestat_get", &[4, OUT.into()]).unwrap();
    assert_eq!((guest.memory[OUT as usize], guest.memory.read_u32(u64::from(OUT) + 4)), (0, Ok(6)));
    guest.call("fd_prestat_dir_name", &[4, DATA.into(), 6]).unwrap();
    assert_eq!(guest.data(6), b"data/x");
    guest.call("fd_prestat_dir_name", &[4, DATA.into(), 60]).unwrap();
    assert_eq!(guest.call("fd_prestat_dir_name", &[4, DATA.into(), 5]), Err(Errno::NAMETOOLONG));
    for fd in [0, 1, 2, 5, u32::MAX] {
        assert_eq!(guest.call("fd_prestat_get", &[fd.into(), OUT.into()]), Err(Errno::BADF));
    }
    let opened = guest.open(".", DIRECTORY, READ).unwrap();
    assert_eq!(guest.call("fd_prestat_get", &[opened.into(), OUT.into()]), Err(Errno::BADF));
    assert!(
        WasiCtxBuilder::new()
            .preopened_dir(temp.path().join("none"), "/", DirPerms::all(), FilePerms::all())
            .is_err()
    );
}

#[test]
fn making_and_removing() {
    let (_temp, mut guest) = Guest::with_dir();
    guest.mkdir("dir").unwrap();
    assert_eq!(guest.mkdir("dir"), Err(Errno::EXIST));
    assert_eq!(guest.mkdir("dir/"), Err(Errno::EXIST));
    assert_eq!(guest.mkdir("dir/."), Err(Errno::EXIST));
    assert_eq!(guest.mkdir("none/."), Err(Errno::NOENT));
    assert_eq!(guest.mkdir("."), Err(Errno::EXIST));
    guest.mkdir("dir/slash/").unwrap();
    assert_eq!(guest.rmdir("dir"), Err(Errno::NOTEMPTY));
    guest.rmdir("dir/slash/").unwrap();
    assert_eq!(guest.rmdir("dir/."), Err(Errno::INVAL));
    assert_eq!(guest.rmdir("."), Err(Errno::INVAL));
    guest.open("file", CREAT, WRITE).unwrap();
    assert_eq!(guest.rmdir("file"), Err(Errno::NOTDIR));
    assert_eq!(guest.rmdir("file/"), Err(Errno::NOTDIR));
    assert_eq!(guest.unlink("dir"), Err(Errno::ISDIR));
    assert_eq!(guest.unlink("dir/"), Err(Errno::ISDIR));
    assert_eq!(guest.unlink("file/"), Err(Errno::NOTDIR));
    assert_eq!(guest.unlink("none"), Err(Errno::NOENT));
    guest.unlink("file").unwrap();
    guest.symlink("dir", "link").unwrap();
    assert_eq!(guest.rmdir("link"), Err(Errno::NOTDIR));
    assert_eq!(guest.rmdir("link/"), Err(Errno::NOTDIR));
    assert_eq!(guest.unlink("link/"), Err(Errno::NOTDIR));
    guest.unlink("link").unwrap();
    guest.rmdir("dir").unwrap();
    assert_eq!(guest.rmdir("dir"), Err(Errno::NOENT));
}

#[test]
fn renaming() {
    let (temp, mut guest) = Guest::with_dir();
    guest.mkdir("dir").unwrap();
    guest.rename("dir/", "dir2").unwrap();
    guest.rename("dir2", "dir3/").unwrap();
    guest.rename("dir3/", "dir/").unwrap();
    guest.mkdir("empty").unwrap();
    guest.rename("dir", "empty").unwrap();
    guest.rename("empty", "dir").unwrap();
    put(temp.path(), "dir/inner", "");
    guest.mkdir("other").unwrap();
    assert_eq!(guest.rename("other", "dir"), Err(Errno::NOTEMPTY));
    assert_eq!(guest.rename("other", "dir/inner"), Err(Errno::NOTDIR));
    assert_eq!(guest.rename("dir/inner", "other"), Err(Errno::ISDIR));
    assert_eq!(guest.rename("dir/inner/", "x"), Err(Errno::NOTDIR));
    assert_eq!(guest.rename("dir/inner", "x/"), Err(Errno::NOTDIR));
    assert_eq!(guest.rename("dir/.", "x"), Err(Errno::BUSY));
    assert_eq!(guest.rename("none", "x"), Err(Errno::NOENT));
    put(temp.path(), "target", "old");
    guest.rename("dir/inner", "target").unwrap();
    assert_eq!(std::fs::read(temp.path().join("target")).unwrap(), b"");
    // A link is renamed, not what it leads to.
    guest.symlink("dir", "link").unwrap();
    assert_eq!(guest.rename("link/", "moved"), Err(Errno::NOTDIR));
    guest.rename("link", "moved").unwrap();
    assert_eq!(guest.stat("moved", 0).unwrap().file_type, LINK_TYPE);
}

#[test]
fn linking() {
    let (_temp, mut guest) = Guest::with_dir();
    let file = guest.open("file", CREAT, WRITE).unwrap();
    guest.write(file, b"x").unwrap();
    guest.link("file", "link").unwrap();
    let stat = guest.stat("link", 0).unwrap();
    assert_eq!((stat.nlink, stat.ino), (2, guest.fstat(file).unwrap().ino));
    assert_eq!(guest.link("file", "link"), Err(Errno::EXIST));
    assert_eq!(guest.link("file", "file"), Err(Errno::EXIST));
    assert_eq!(guest.link("file", "new/"), Err(Errno::NOENT));
    assert_eq!(guest.link("file/", "new"), Err(Errno::NOTDIR));
    assert_eq!(guest.link("none", "new"), Err(Errno::NOENT));
    guest.mkdir("dir").unwrap();
    assert_eq!(guest.link("dir", "new"), Err(Errno::PERM));
    assert_eq!(guest.link("file", "dir"), Err(Errno::EXIST));
    // Links are linked themselves.
    guest.symlink("nowhere", "dangling").unwrap();
    guest.link("dangling", "dangling2").unwrap();
    assert_eq!(guest.readlink("dangling2", 100).unwrap(), b"nowhere");
    assert_eq!(guest.link("file", "dangling"), Err(Errno::EXIST));
    let [old, old_len] = guest.path("dangling");
    let [new, new_len] = guest.path_at(PATH2, "x");
    let args = [ROOT.into(), FOLLOW.into(), old, old_len, ROOT.into(), new, new_len];
    assert_eq!(guest.call("path_link", &args), Err(Errno::INVAL));
}

#[test]
fn symbolic_links() {
    let (temp, mut guest) = Guest::with_dir();
    guest.symlink("target", "link").unwrap();
    assert_eq!(guest.readlink("link", 100).unwrap(), b"target");
    assert_eq!(guest.readlink("link", 4).unwrap(), b"targ");
    assert_eq!(guest.readlink("link", 0).unwrap(), b"");
    assert_eq!(guest.symlink("x", "link"), Err(Errno::EXIST));
    assert_eq!(guest.symlink("x", "new/"), Err(Errno::NOENT));
    assert_eq!(guest.symlink("", "new"), Err(Errno::NOENT));
    guest.mkdir("dir").unwrap();
    assert_eq!(guest.symlink("x", "dir/"), Err(Errno::EXIST));
    assert_eq!(guest.symlink("x", "dir"), Err(Errno::EXIST));
    assert_eq!(guest.readlink("dir", 10), Err(Errno::INVAL));
    assert_eq!(guest.readlink("none", 10), Err(Errno::NOENT));
    // Not followed unless asked: file, directory, loop, dangling.
    assert_eq!(guest.open("link", 0, READ), Err(Errno::LOOP));
    assert!(matches!(guest.open("link", DIRECTORY, READ), Err(Errno::NOTDIR | Errno::LOOP)));
    assert_eq!(guest.open_follow("link", 0, READ), Err(Errno::NOENT));
    put(temp.path(), "target", "t");
    let fd = guest.open_follow("link", 0, READ).unwrap();
    assert_eq!(guest.read(fd, 10).unwrap(), b"t");
    assert_eq!(guest.open_follow("link", DIRECTORY, READ), Err(Errno::NOTDIR));
    assert_eq!(guest.open_follow("link/", 0, READ), Err(Errno::NOTDIR));
    guest.symlink("loop", "loop").unwrap();
    assert_eq!(guest.open("loop", 0, READ), Err(Errno::LOOP));
    assert_eq!(guest.open_follow("loop", 0, READ), Err(Errno::LOOP));
    assert_eq!(guest.stat("loop", FOLLOW), Err(Errno::LOOP));
    // A link to a directory with an ending is the directory.
    guest.symlink("dir", "dirlink").unwrap();
    assert_eq!(guest.stat("dirlink", 0).unwrap().file_type, LINK_TYPE);
    assert_eq!(guest.stat("dirlink", FOLLOW).unwrap().file_type, DIR_TYPE);
    for path in ["dirlink/", "dirlink/.", "dirlink//"] {
        assert_eq!(guest.stat(path, 0).unwrap().file_type, DIR_TYPE, "{path}");
        guest.open(path, 0, READ).unwrap();
    }
    assert_eq!(guest.stat("link/", 0), Err(Errno::NOTDIR));
    assert_eq!(guest.stat("target/.", 0), Err(Errno::NOTDIR));
}

#[test]
fn listing() {
    let (temp, mut guest) = Guest::with_dir();
    let (entries, end) = guest.readdir(ROOT, 0, 256).unwrap();
    assert!(end);
    let names: Vec<_> = entries.iter().map(|entry| entry.3.as_str()).collect();
    assert_eq!(names, [".", ".."]);
    assert_eq!(entries[0].1, guest.fstat(ROOT).unwrap().ino);
    put(temp.path(), "file", "");
    std::fs::create_dir(temp.path().join("dir")).unwrap();
    symlink("file", temp.path().join("link")).unwrap();
    for count in 0..100 {
        put(temp.path(), &format!("number {count}"), "");
    }
    // Small buffers, each time from the last whole entry; what is listed is removed meanwhile.
    let mut seen = BTreeSet::new();
    let mut cookie = 0;
    loop {
        let (entries, end) = guest.readdir(ROOT, cookie, 100).unwrap();
        for (next, ino, file_type, name) in &entries {
            assert!(seen.insert(name.clone()), "{name} came twice");
            assert_eq!(*next, cookie + 1);
            cookie = *next;
            let expected = match name.as_str() {
                "." | ".." | "dir" => DIR_TYPE,
                "link" => LINK_TYPE,
                _ => FILE_TYPE,
            };
            assert_eq!(*file_type, expected, "{name}");
            if name.starts_with("number") {
                assert_eq!(*ino, guest.stat(name, 0).unwrap().ino);
                guest.unlink(name).unwrap();
            }
        }
        if end {
            break;
        }
        assert!(!entries.is_empty());
    }
    assert_eq!(seen.len(), 105);
    // Cookies stay what they were, and a new listing starts at zero.
    let (entries, _) = guest.readdir(ROOT, 0, 4096).unwrap();
    assert_eq!(entries.len(), 5);
    assert_eq!(guest.readdir(ROOT, 3, 4096).unwrap().0, entries[3..]);
    assert_eq!(guest.readdir(ROOT, 5, 4096).unwrap(), (Vec::new(), true));
    assert_eq!(guest.readdir(ROOT, u64::MAX, 4096).unwrap(), (Vec::new(), true));
    // An entry that does not fit fills the buffer to its end.
    assert_eq!(guest.readdir(ROOT, 0, 30).unwrap().0.len(), 1);
    assert_eq!(guest.out32(), 30);
    assert_eq!(guest.readdir(ROOT, 0, 0).unwrap().0.len(), 0);
    // Listings belong to the descriptor and move with it.
    let copy = guest.open(".", DIRECTORY, READ).unwrap();
    let other = guest.open(".", DIRECTORY, READ).unwrap();
    assert_eq!(guest.readdir(copy, 2, 4096).unwrap().0.len(), 3);
    guest.call("fd_renumber", &[copy.into(), other.into()]).unwrap();
    assert_eq!(guest.readdir(other, 2, 4096).unwrap().0.len(), 3);
    let args = [ROOT.into(), SIZE as u64 - 10, 11, 0, OUT.into()];
    assert_eq!(guest.call("fd_readdir", &args), Err(Errno::FAULT));
}

#[test]
fn names_that_are_not_utf8_stay_hidden() {
    use std::os::unix::ffi::OsStrExt;
    let (temp, mut guest) = Guest::with_dir();
    let name = std::ffi::OsStr::from_bytes(b"bad\xff");
    if std::fs::write(temp.path().join(name), "").is_ok() {
        assert_eq!(guest.readdir(ROOT, 0, 4096).unwrap().0.len(), 2);
    }
}

// ---- the sandbox -----------------------------------------------------------------------------

/// A guest whose directory has a neighbour with a secret, and links of all kinds that lead there.
fn besieged() -> (TempDir, Guest) {
    let temp = TempDir::new().unwrap();
    let (inside, outside) = (temp.path().join("inside"), temp.path().join("outside"));
    std::fs::create_dir_all(inside.join("dir")).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    put(&outside, "secret", "secret");
    symlink("../outside", inside.join("up")).unwrap();
    symlink("../outside/secret", inside.join("up-file")).unwrap();
    symlink(&outside, inside.join("absolute")).unwrap();
    symlink(outside.join("secret"), inside.join("absolute-file")).unwrap();
    symlink("../../outside", inside.join("dir/up")).unwrap();
    symlink("up", inside.join("to-up")).unwrap();
    symlink("../outside/new", inside.join("up-new")).unwrap();
    symlink("/", inside.join("root")).unwrap();
    symlink("../inside/dir", inside.join("out-and-in")).unwrap();
    symlink("/proc/self/cwd", inside.join("magic")).unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_dir(&inside, "/", DirPerms::all(), FilePerms::all()).unwrap();
    let guest = Guest::new(&mut builder);
    (temp, guest)
}

#[test]
fn nothing_outside_can_be_reached() {
    let (temp, mut guest) = besieged();
    let absolute = temp.path().join("outside/secret").to_str().unwrap().to_owned();
    let files = [
        "..",
        "../",
        "../outside/secret",
        "dir/../../outside/secret",
        "dir/../../outside",
        "/",
        "//",
        "/etc/passwd",
        absolute.as_str(),
        "up/secret",
        "up/",
        "up/.",
        "up/..",
        "to-up/",
        "to-up/secret",
        "up-file",
        "absolute/secret",
        "absolute/",
        "absolute-file",
        "dir/up/secret",
        "dir/up/",
        "root/etc/passwd",
        "root/",
        "out-and-in/",
        "out-and-in/x",
        "magic/",
        "magic/Cargo.toml",
        "../inside/dir",
        "./../outside/secret",
        "dir/./..//../outside/secret",
        "up-new",
    ];
    for path in files {
        for oflags in [0, DIRECTORY, CREAT, CREAT | EXCL, TRUNC, CREAT | TRUNC] {
            for rights in [0, READ, WRITE, READ | WRITE] {
                let result = guest.open_follow(path, oflags, rights);
                assert!(result.is_err(), "opened {path} {oflags} {rights:#x}");
            }
        }
        assert!(guest.open(path, 0, READ).is_err(), "{path}");
        assert!(guest.stat(path, FOLLOW).is_err(), "{path}");
        let [at, len] = guest.path(path);
        let now = u64::from(FstFlags::MTIM_NOW.bits());
        let args = [ROOT.into(), FOLLOW.into(), at, len, 0, 0, now];
        assert!(guest.call("path_filestat_set_times", &args).is_err(), "{path}");
    }
    // The last name is where the operation takes place: there must be no way to it.
    let places = [
        "../new",
        "/new",
        "up/new",
        "absolute/new",
        "dir/up/new",
        "root/new",
        "to-up/new",
        "magic/new",
    ];
    put(&temp.path().join("inside"), "mine", "");
    for path in places {
        assert!(guest.mkdir(path).is_err(), "{path}");
        assert!(guest.symlink("x", path).is_err(), "{path}");
        assert!(guest.link("mine", path).is_err(), "{path}");
        assert!(guest.rename("mine", path).is_err(), "{path}");
        assert!(guest.rename("dir", path).is_err(), "{path}");
        assert!(guest.open(path, CREAT, WRITE).is_err(), "{path}");
    }
    for path in ["../outside/secret", "up/secret", "absolute/secret", "dir/up/secret"] {
        assert!(guest.unlink(path).is_err(), "{path}");
        assert!(guest.rename(path, "stolen").is_err(), "{path}");
        assert!(guest.link(path, "stolen").is_err(), "{path}");
        assert!(guest.readlink(path, 100).is_err(), "{path}");
        assert!(guest.rmdir(path).is_err(), "{path}");
    }
    assert!(guest.rmdir("../outside").is_err());
    assert!(guest.rmdir("up/").is_err());
    assert!(guest.readlink("absolute", 100).is_err(), "tells where the host keeps its files");
    assert_eq!(guest.symlink("/", "abs"), Err(Errno::PERM));
    assert_eq!(guest.symlink("/etc/passwd", "abs"), Err(Errno::PERM));
    assert_eq!(std::fs::read(temp.path().join("outside/secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(temp.path().join("outside")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
}

#[test]
fn ways_out_have_the_error_of_ways_out() {
    let (_temp, mut guest) = besieged();
    assert_eq!(guest.open("/dir", 0, READ), Err(Errno::PERM));
    assert_eq!(guest.open("dir/../../inside/dir", 0, READ), Err(Errno::PERM));
    assert_eq!(guest.open_follow("up/secret", 0, READ), Err(Errno::PERM));
    assert_eq!(guest.open_follow("absolute-file", 0, READ), Err(Errno::PERM));
}

#[test]
fn links_that_lead_out_are_written_but_not_followed() {
    let (temp, mut guest) = besieged();
    guest.symlink("../outside/secret", "own").unwrap();
    assert_eq!(guest.open_follow("own", 0, READ), Err(Errno::PERM));
    // A directory below is a wall as well, for what it opens.
    let dir = guest.open("dir", DIRECTORY, READ).unwrap();
    put(&temp.path().join("inside"), "file", "");
    assert_eq!(guest.open_as(dir, 0, "../file", 0, READ, 0), Err(Errno::PERM));
}

#[test]
fn forty_one_links_are_too_many() {
    let (temp, mut guest) = Guest::with_dir();
    put(temp.path(), "link0", "end");
    for count in 1..=41 {
        guest.symlink(&format!("link{}", count - 1), &format!("link{count}")).unwrap();
    }
    let fd = guest.open_follow("link40", 0, READ).unwrap();
    assert_eq!(guest.read(fd, 10).unwrap(), b"end");
    assert_eq!(guest.open_follow("link41", 0, READ), Err(Errno::LOOP));
    assert_eq!(guest.stat("link41", FOLLOW), Err(Errno::LOOP));
    assert_eq!(guest.open("link41/", 0, READ), Err(Errno::LOOP));
}

#[test]
fn hammer_a_name_swapped_during_resolution() {
    let (temp, mut guest) = besieged();
    let inside = temp.path().join("inside");
    std::fs::create_dir(inside.join("real")).unwrap();
    put(&inside.join("real"), "secret", "inner");
    symlink("../outside", inside.join("spare")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // The name `real` is a directory of the guest, then a link out, then the directory.
                std::fs::rename(inside.join("real"), inside.join("kept")).unwrap();
                std::fs::rename(inside.join("spare"), inside.join("real")).unwrap();
                std::fs::rename(inside.join("real"), inside.join("spare")).unwrap();
                std::fs::rename(inside.join("kept"), inside.join("real")).unwrap();
            }
        });
        let until = Instant::now() + Duration::from_millis(700);
        let mut opened = 0;
        while Instant::now() < until {
            if let Ok(fd) = guest.open_follow("real/secret", 0, READ) {
                assert_eq!(guest.read(fd, 10).unwrap(), b"inner");
                guest.close(fd).unwrap();
                opened += 1;
            }
            let _ = guest.open("real/new", CREAT, WRITE).map(|fd| guest.close(fd));
            let _ = guest.unlink("real/new");
            let _ = guest.mkdir("real/made");
            let _ = guest.rmdir("real/made");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(opened > 0);
    });
    assert_eq!(std::fs::read(temp.path().join("outside/secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(temp.path().join("outside")).unwrap().count(), 1);
}

#[test]
fn paths_that_are_none() {
    let (_temp, mut guest) = Guest::with_dir();
    let long = "a/".repeat(32 * 1024);
    let component = "a".repeat(256);
    for (path, error) in [
        ("", Errno::NOENT),
        ("a\0b", Errno::INVAL),
        ("file\0", Errno::INVAL),
        (component.as_str(), Errno::NAMETOOLONG),
    ] {
        assert_eq!(guest.open(path, CREAT, WRITE), Err(error));
        assert_eq!(guest.mkdir(path), Err(error));
        assert_eq!(guest.stat(path, 0), Err(error));
        assert_eq!(guest.unlink(path), Err(error));
        assert_eq!(guest.rmdir(path), Err(error));
        assert_eq!(guest.readlink(path, 10), Err(error));
        assert_eq!(guest.symlink("x", path), Err(error));
        assert_eq!(guest.rename(path, "x"), Err(error));
    }
    assert_eq!(guest.symlink("a\0b", "link"), Err(Errno::INVAL));
    assert_eq!(guest.readdir(ROOT, 0, 4096).unwrap().0.len(), 2);
    // 64 KiB of path: refused for its length wherever a path stands.
    guest.set(DATA, long.as_bytes());
    let (at, len, dir) = (u64::from(DATA), long.len() as u64, u64::from(ROOT));
    let [ok, ok_len] = guest.path("ok");
    let out = u64::from(OUT);
    let calls: [(&str, &[u64]); 8] = [
        ("path_create_directory", &[dir, at, len]),
        ("path_filestat_get", &[dir, 0, at, len, out]),
        ("path_link", &[dir, 0, ok, ok_len, dir, at, len]),
        ("path_open", &[dir, 0, at, len, 0, READ, 0, 0, out]),
        ("path_readlink", &[dir, at, len, out, 0, out]),
        ("path_rename", &[dir, at, len, dir, ok, ok_len]),
        ("path_symlink", &[at, len, dir, ok, ok_len]),
        ("path_unlink_file", &[dir, at, len]),
    ];
    for (name, args) in calls {
        assert_eq!(guest.call(name, args), Err(Errno::NAMETOOLONG), "{name}");
    }
    assert_eq!(guest.call("path_unlink_file", &[dir, SIZE as u64 - 2, 3]), Err(Errno::FAULT));
    guest.set(DATA, b"\xff");
    assert_eq!(guest.call("path_unlink_file", &[dir, DATA.into(), 1]), Err(Errno::ILSEQ));
}

// ---- permissions and rights ------------------------------------------------------------------

#[test]
fn a_read_only_directory_stays_as_it_is() {
    for dir_perms in [DirPerms::READ, DirPerms::all()] {
        let (temp, mut guest) = Guest::with_perms(dir_perms, FilePerms::READ);
        put(temp.path(), "file", "contents");
        std::fs::create_dir(temp.path().join("dir")).unwrap();
        symlink("file", temp.path().join("link")).unwrap();
        let before = guest.stat("file", 0).unwrap();
        for path in ["file", "link"] {
            for (oflags, rights) in
                [(0, WRITE), (0, READ | WRITE), (TRUNC, READ), (TRUNC, 0), (CREAT | TRUNC, 0)]
            {
                assert_eq!(guest.open_follow(path, oflags, rights), Err(Errno::PERM), "{oflags}");
            }
        }
        let fd = guest.open("file", 0, READ).unwrap();
        assert_eq!(guest.read(fd, 100).unwrap(), b"contents");
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
        assert_eq!(guest.call("fd_filestat_set_size", &[fd.into(), 0]), Err(Errno::BADF));
        let now = u64::from((FstFlags::ATIM | FstFlags::MTIM).bits());
        assert_eq!(guest.call("fd_filestat_set_times", &[fd.into(), 1, 1, now]), Err(Errno::PERM));
        for path in ["file", "dir", "dir/", "link"] {
            let [at, len] = guest.path(path);
            for flags in [0, 1] {
                let args = [ROOT.into(), flags, at, len, 1, 1, now];
                assert_eq!(guest.call("path_filestat_set_times", &args), Err(Errno::PERM));
            }
        }
        let after = guest.stat("file", 0).unwrap();
        assert_eq!((after.size, after.mtim), (before.size, before.mtim));
        if dir_perms.contains(DirPerms::MUTATE) {
            continue;
        }
        symlink("dangling-target", temp.path().join("dangling")).unwrap();
        assert_eq!(guest.open_follow("dangling", CREAT, READ), Err(Errno::PERM));
        assert_eq!(guest.open("new", CREAT, READ), Err(Errno::PERM));
        assert_eq!(guest.open("file", CREAT, READ), Err(Errno::PERM));
        assert_eq!(guest.mkdir("new"), Err(Errno::PERM));
        assert_eq!(guest.rmdir("dir"), Err(Errno::PERM));
        assert_eq!(guest.unlink("file"), Err(Errno::PERM));
        assert_eq!(guest.rename("file", "new"), Err(Errno::PERM));
        assert_eq!(guest.link("file", "new"), Err(Errno::PERM));
        assert_eq!(guest.symlink("file", "new"), Err(Errno::PERM));
        assert_eq!(
            guest.call("fd_filestat_set_times", &[ROOT.into(), 1, 1, now]),
            Err(Errno::PERM)
        );
        // A directory opened below is no way round.
        let dir = guest.open("dir", DIRECTORY, READ).unwrap();
        assert_eq!(guest.open_as(dir, 0, "x", CREAT, WRITE, 0), Err(Errno::PERM));
        let undeclared = guest.open("dir", 0, READ).unwrap();
        assert_eq!(guest.open_as(undeclared, 0, "x", CREAT, WRITE, 0), Err(Errno::PERM));
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 4);
    }
}

#[test]
fn a_directory_without_reading() {
    let (temp, mut guest) = Guest::with_perms(DirPerms::all(), FilePerms::WRITE);
    put(temp.path(), "file", "contents");
    assert_eq!(guest.open("file", 0, READ), Err(Errno::PERM));
    assert_eq!(guest.open("file", 0, 0), Err(Errno::PERM));
    let fd = guest.open("file", 0, WRITE).unwrap();
    assert_eq!(guest.read(fd, 1), Err(Errno::BADF));
    let (_temp, mut guest) = Guest::with_perms(DirPerms::MUTATE, FilePerms::all());
    assert_eq!(guest.open("file", CREAT, WRITE), Err(Errno::PERM));
    assert_eq!(guest.stat(".", 0), Err(Errno::PERM));
    assert_eq!(guest.readdir(ROOT, 0, 100), Err(Errno::PERM));
}

#[test]
fn no_file_gets_a_name_where_more_is_permitted() {
    let temp = TempDir::new().unwrap();
    let all = (DirPerms::all(), FilePerms::all());
    let dirs = [
        ("rw", all),
        ("rw2", all),
        ("ro-files", (DirPerms::all(), FilePerms::READ)),
        ("ro", (DirPerms::READ, FilePerms::READ)),
    ];
    let mut builder = WasiCtxBuilder::new();
    for (name, (dir_perms, file_perms)) in dirs {
        std::fs::create_dir(temp.path().join(name)).unwrap();
        put(&temp.path().join(name), "file", name);
        std::fs::create_dir(temp.path().join(name).join("dir")).unwrap();
        builder.preopened_dir(temp.path().join(name), name, dir_perms, file_perms).unwrap();
    }
    let mut guest = Guest::new(&mut builder);
    let (rw, rw2, ro_files, ro) = (3, 4, 5, 6);
    for (from, to) in [(ro, rw), (ro_files, rw), (rw, ro_files), (rw, ro), (ro, ro_files), (ro, ro)]
    {
        assert_eq!(guest.link_between(from, "file", to, "new"), Err(Errno::PERM), "{from} {to}");
        assert_eq!(guest.rename_between(from, "file", to, "new"), Err(Errno::PERM), "{from} {to}");
        assert_eq!(guest.rename_between(from, "dir", to, "new"), Err(Errno::PERM), "{from} {to}");
    }
    // Permissions go with what was opened, not with the number.
    let below = guest.open_as(ro_files, 0, "dir", DIRECTORY, READ, 0).unwrap();
    guest.link_between(ro_files, "file", below, "new").unwrap();
    assert_eq!(guest.link_between(below, "new", rw, "new"), Err(Errno::PERM));
    guest.link_between(rw, "file", rw2, "linked").unwrap();
    guest.rename_between(rw, "file", rw2, "moved").unwrap();
    assert_eq!(std::fs::read(temp.path().join("rw2/moved")).unwrap(), b"rw");
}

#[test]
fn rights_can_be_dropped_and_not_regained() {
    let (_temp, mut guest) = Guest::with_dir();
    let fd = guest.open("file", CREAT, READ | WRITE).unwrap();
    guest.write(fd, b"abc").unwrap();
    let (_, _, base, inheriting) = guest.fdstat(fd).unwrap();
    assert_eq!((base, inheriting), (Rights::FILE, Rights::empty()));
    let fewer = base.difference(Rights::FD_READ | Rights::FD_WRITE | Rights::FD_SEEK);
    guest.call("fd_fdstat_set_rights", &[fd.into(), fewer.bits(), 0]).unwrap();
    assert_eq!(guest.read(fd, 1), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.write(fd, b"x"), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.seek(fd, 0, 0), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.seek(fd, 0, 1).unwrap(), 3);
    for (base, inheriting) in
        [(base.bits(), 0), (fewer.bits(), 1), (u64::MAX, 0), (fewer.bits(), u64::MAX)]
    {
        let args = [fd.into(), base, inheriting];
        assert_eq!(guest.call("fd_fdstat_set_rights", &args), Err(Errno::NOTCAPABLE));
    }
    // What a directory no longer passes on.
    let dir = guest.open(".", DIRECTORY, 0).unwrap();
    let (_, _, base, inheriting) = guest.fdstat(dir).unwrap();
    let base = base.difference(Rights::PATH_FILESTAT_SET_SIZE | Rights::PATH_CREATE_FILE);
    let inheriting = inheriting.difference(Rights::FD_WRITE | Rights::PATH_UNLINK_FILE);
    guest.call("fd_fdstat_set_rights", &[dir.into(), base.bits(), inheriting.bits()]).unwrap();
    assert_eq!(guest.open_as(dir, 0, "file", TRUNC, READ, 0), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.open_as(dir, 0, "new", CREAT, READ, 0), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.open_as(dir, 0, "file", 0, WRITE, 0), Err(Errno::NOTCAPABLE));
    let fd = guest.open_as(dir, 0, "file", 0, READ, 0).unwrap();
    assert!(!guest.fdstat(fd).unwrap().2.contains(Rights::FD_WRITE));
    let below = guest.open_as(dir, 0, ".", DIRECTORY, 0, 0).unwrap();
    let [at, len] = guest.path("file");
    assert_eq!(guest.call("path_unlink_file", &[below.into(), at, len]), Err(Errno::NOTCAPABLE));
    guest.call("path_unlink_file", &[dir.into(), at, len]).unwrap();
}

// ---- descriptors -----------------------------------------------------------------------------

#[test]
fn renumbering() {
    let (temp, mut guest) = Guest::with_dir();
    put(temp.path(), "one", "one");
    put(temp.path(), "two", "two");
    let one = guest.open("one", 0, READ).unwrap();
    let two = guest.open("two", 0, READ).unwrap();
    let mut renumber = |from: u32, to: u32| guest.call("fd_renumber", &[from.into(), to.into()]);
    assert_eq!(renumber(one, 50), Err(Errno::BADF));
    assert_eq!(renumber(50, one), Err(Errno::BADF));
    assert_eq!(renumber(u32::MAX, u32::MAX), Err(Errno::BADF));
    renumber(one, one).unwrap();
    renumber(one, two).unwrap();
    assert_eq!(renumber(one, two), Err(Errno::BADF));
    assert_eq!(guest.read(two, 10).unwrap(), b"one");
    // Standard streams and preopened directories are descriptors like others.
    guest.call("fd_renumber", &[two.into(), 1]).unwrap();
    assert_eq!(guest.fdstat(1).unwrap().0, FILE_TYPE);
    guest.call("fd_renumber", &[0, 2]).unwrap();
    assert_eq!(guest.fdstat(0), Err(Errno::BADF));
    guest.call("fd_renumber", &[ROOT.into(), 1]).unwrap();
    guest.call("fd_prestat_get", &[1, OUT.into()]).unwrap();
    assert_eq!(guest.call("fd_prestat_get", &[ROOT.into(), OUT.into()]), Err(Errno::BADF));
    // Numbers are given again, lowest first.
    assert_eq!(guest.open_as(1, 0, "one", 0, READ, 0).unwrap(), 0);
    assert_eq!(guest.open_as(1, 0, "one", 0, READ, 0).unwrap(), 3);
    assert_eq!(guest.ctx.table.count(), 4);
}

#[test]
fn renumbering_a_million_times_leaks_nothing() {
    let (_temp, mut guest) = Guest::with_dir();
    let from = guest.open(".", 0, 0).unwrap();
    let to = guest.open(".", 0, 0).unwrap();
    let open_files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let (count, before) = (guest.ctx.table.count(), open_files());
    for round in 0..1_000_000 {
        guest.ctx.table.renumber(to, to).unwrap();
        if round % 100 == 0 {
            guest.ctx.table.renumber(from, to).unwrap();
            assert_eq!(guest.open(".", 0, 0).unwrap(), from);
        }
    }
    assert_eq!(guest.ctx.table.count(), count);
    // Other tests open files at the same time.
    assert!(open_files() < before + 100);
}

#[test]
fn descriptors_are_bounded() {
    use crate::descriptor::{Descriptor, Kind, Table};
    let mut table = Table::default();
    let stdin = || Descriptor::new(Kind::Stdin(Box::new(MemoryInputPipe::new(""))));
    for number in 0..crate::limits::DESCRIPTORS {
        assert_eq!(table.insert(stdin()).unwrap() as usize, number);
    }
    assert_eq!(table.check_room(), Err(Errno::MFILE));
    assert_eq!(table.insert(stdin()).map(|_| ()), Err(Errno::MFILE));
    table.remove(77).map(|_| ()).unwrap();
    table.check_room().unwrap();
    assert_eq!(table.insert(stdin()).unwrap(), 77);
}

#[test]
fn standard_streams() {
    let output = MemoryOutputPipe::new(8);
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(MemoryInputPipe::new("input")).stdout(output.clone()).stderr(output.clone());
    let mut guest = Guest::new(&mut builder);
    assert_eq!(guest.read(0, 3).unwrap(), b"inp");
    assert_eq!(guest.read(0, 100).unwrap(), b"ut");
    assert_eq!(guest.read(0, 100).unwrap(), b"");
    assert_eq!(guest.write(1, b"out").unwrap(), 3);
    assert_eq!(guest.write(2, b"err").unwrap(), 3);
    // A pipe that takes no more takes what fits, then is broken: an errno, never a signal.
    assert_eq!(guest.write(1, b"1234").unwrap(), 2);
    assert_eq!(guest.write(1, b"34"), Err(Errno::PIPE));
    assert_eq!(output.contents(), b"outerr12");
    assert_eq!(guest.write(0, b"x"), Err(Errno::BADF));
    assert_eq!(guest.read(1, 1), Err(Errno::BADF));
    for fd in 0..3 {
        assert_eq!(guest.seek(fd, 0, 1), Err(Errno::SPIPE));
        assert_eq!(guest.fstat(fd).unwrap().size, 0);
        assert_eq!(guest.fdstat(fd).unwrap().0, FileType::Unknown as u8);
        guest.call("fd_fdstat_set_flags", &[fd.into(), NONBLOCK.into()]).unwrap();
        assert_eq!(guest.fdstat(fd).unwrap().1, NONBLOCK as u16);
    }
    assert_eq!(guest.read(0, 1).unwrap(), b"");
    guest.call("fd_sync", &[1]).unwrap();
    assert_eq!(guest.call("fd_sync", &[0]), Err(Errno::BADF));
    for fd in 0..3 {
        guest.close(fd).unwrap();
        assert_eq!(guest.close(fd), Err(Errno::BADF));
    }
}

#[test]
fn a_guest_without_anything() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert_eq!(guest.read(0, 10).unwrap(), b"");
    assert_eq!(guest.write(1, b"into the void").unwrap(), 13);
    assert_eq!(guest.call("fd_prestat_get", &[3, OUT.into()]), Err(Errno::BADF));
    assert_eq!(guest.open("x", 0, READ), Err(Errno::BADF));
}

#[test]
fn a_stream_with_nothing_to_read_yet() {
    struct Slow(Instant);
    impl crate::StdinStream for Slow {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            bytes[0] = b'x';
            Ok(1)
        }
        fn state(&self) -> crate::StreamState<'_> {
            if Instant::now() < self.0 {
                crate::StreamState::Pending
            } else {
                crate::StreamState::Ready { bytes: 1, hangup: false }
            }
        }
    }
    let ready_at = Instant::now() + Duration::from_millis(60);
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(Slow(ready_at)));
    guest.call("fd_fdstat_set_flags", &[0, NONBLOCK.into()]).unwrap();
    assert_eq!(guest.read(0, 1), Err(Errno::AGAIN));
    let read = Sub::Fd { event_type: eventtype::FD_READ, fd: 0 };
    let clock = Sub::Clock { id: clockid::MONOTONIC, timeout: 1_000_000, flags: 0 };
    assert_eq!(guest.poll(&[read, clock]).unwrap(), [(1, 0, eventtype::CLOCK, 0, 0)]);
    assert_eq!(guest.poll(&[read]).unwrap(), [(0, 0, eventtype::FD_READ, 1, 0)]);
    assert!(Instant::now() >= ready_at);
    assert_eq!(guest.read(0, 1).unwrap(), b"x");
}

// ---- polling ---------------------------------------------------------------------------------

const POLL_READ: u8 = eventtype::FD_READ;
const POLL_WRITE: u8 = eventtype::FD_WRITE;
const ABSTIME: u16 = SubClockFlags::ABSTIME.bits();

#[test]
fn polling_for_nothing_or_too_much() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert_eq!(guest.poll(&[]), Err(Errno::INVAL));
    let out = u64::from(OUT);
    // Room for one where two were announced: in the list, among the events.
    let (end, data) = (SIZE as u64, u64::from(DATA));
    assert_eq!(guest.call("poll_oneoff", &[end - 48, data, 2, out]), Err(Errno::FAULT));
    assert_eq!(guest.call("poll_oneoff", &[data, end - 32, 2, out]), Err(Errno::FAULT));
    assert_eq!(guest.call("poll_oneoff", &[data, data, 1, end - 3]), Err(Errno::FAULT));
    guest.memory.fill(end - 96, 96, 0).unwrap();
    guest.call("poll_oneoff", &[end - 96, data, 2, out]).unwrap();
    assert_eq!(guest.out32(), 2);
    guest.call("poll_oneoff", &[data, end - 32, 1, out]).unwrap();
    for count in [1_000_000, 1 << 27, u64::from(u32::MAX)] {
        let started = Instant::now();
        assert_eq!(guest.call("poll_oneoff", &[0, 0, count, out]), Err(Errno::INVAL));
        assert!(started.elapsed() < Duration::from_millis(100));
    }
    // A tag that is none of the three.
    guest.memory.fill(data, 48, 0).unwrap();
    guest.memory.write_u8(data + 8, 3).unwrap();
    assert_eq!(guest.call("poll_oneoff", &[data, data, 1, out]), Err(Errno::INVAL));
}

#[test]
fn polling_clocks() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let millis = 1_000_000;
    for id in [clockid::REALTIME, clockid::MONOTONIC] {
        let started = Instant::now();
        let short = Sub::Clock { id, timeout: 30 * millis, flags: 0 };
        let long = Sub::Clock { id, timeout: u64::MAX, flags: 0 };
        assert_eq!(guest.poll(&[long, short]).unwrap(), [(1, 0, eventtype::CLOCK, 0, 0)]);
        assert!(started.elapsed() >= Duration::from_millis(30));
        let started = Instant::now();
        let deadline = guest.time(id).unwrap() + 20 * millis;
        let until = Sub::Clock { id, timeout: deadline, flags: ABSTIME };
        assert_eq!(guest.poll(&[until]).unwrap().len(), 1);
        assert!(started.elapsed() >= Duration::from_millis(19));
        assert!(guest.time(id).unwrap() >= deadline);
        let past = Sub::Clock { id, timeout: 1, flags: ABSTIME };
        assert_eq!(guest.poll(&[long, past]).unwrap(), [(1, 0, eventtype::CLOCK, 0, 0)]);
    }
    let wrong = Sub::Clock { id: 2, timeout: 0, flags: 0 };
    let invalid = Errno::INVAL.code();
    assert_eq!(guest.poll(&[wrong]).unwrap(), [(0, invalid, eventtype::CLOCK, 0, 0)]);
    let wrong = Sub::Clock { id: 1, timeout: 0, flags: 2 };
    assert_eq!(guest.poll(&[wrong]).unwrap(), [(0, invalid, eventtype::CLOCK, 0, 0)]);
}

#[test]
fn polling_a_clock_that_stands_still() {
    let clock = FixedClock::new(Duration::from_secs(10));
    let mut builder = WasiCtxBuilder::new();
    builder.monotonic_clock(clock.clone()).wall_clock(FixedClock::new(Duration::from_secs(1)));
    let mut guest = Guest::new(&mut builder);
    let started = Instant::now();
    let hour = 3_600_000_000_000;
    let sleep = Sub::Clock { id: clockid::MONOTONIC, timeout: hour, flags: 0 };
    assert_eq!(guest.poll(&[sleep]).unwrap().len(), 1);
    let until = Sub::Clock { id: clockid::REALTIME, timeout: hour, flags: ABSTIME };
    assert_eq!(guest.poll(&[until]).unwrap().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(
        guest.time(clockid::MONOTONIC).unwrap(),
        10_000_000_000 + hour + hour - 1_000_000_000
    );
}

#[test]
fn polling_as_wasi_unstable_had_it() {
    let clock = FixedClock::new(Duration::ZERO);
    let mut guest = Guest::new(WasiCtxBuilder::new().monotonic_clock(clock));
    let at = u64::from(IOVS);
    // Two subscriptions of 56 bytes; in the clock, an identifier stands before its number.
    for (index, timeout) in [(0, 500), (1, 300)] {
        let at = at + index * 56;
        guest.memory.write_u64(at, 0x77 + index).unwrap();
        guest.memory.write_u8(at + 8, eventtype::CLOCK).unwrap();
        guest.memory.write_u64(at + 16, 0x9999).unwrap();
        guest.memory.write_u32(at + 24, clockid::MONOTONIC).unwrap();
        guest.memory.write_u64(at + 32, timeout).unwrap();
    }
    let args = [at, DATA.into(), 2, OUT.into()];
    function("poll_oneoff").call_unstable(&mut guest.ctx, &mut guest.memory, &args).unwrap();
    assert_eq!(guest.out32(), 1);
    assert_eq!(guest.memory.read_u64(DATA.into()).unwrap(), 0x78);
    assert_eq!(guest.time(clockid::MONOTONIC).unwrap(), 300);
}

#[test]
fn polling_descriptors() {
    let (temp, _) = Guest::with_dir();
    put(temp.path(), "file", "0123456789");
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdin(MemoryInputPipe::new("abc"))
        .stdout(MemoryOutputPipe::new(10))
        .preopened_dir(temp.path(), "/", DirPerms::all(), FilePerms::all())
        .unwrap();
    let mut guest = Guest::new(&mut builder);
    let fd = guest.open("file", 0, READ).unwrap();
    guest.seek(fd, 4, 0).unwrap();
    let never = Sub::Clock { id: clockid::MONOTONIC, timeout: u64::MAX, flags: 0 };
    let subscription = |event_type, fd| Sub::Fd { event_type, fd };
    let events = guest
        .poll(&[
            never,
            subscription(POLL_READ, 0),
            subscription(POLL_WRITE, 1),
            subscription(POLL_READ, fd),
            subscription(POLL_WRITE, fd),
            subscription(POLL_READ, 99),
            subscription(POLL_READ, ROOT),
            subscription(POLL_READ, 1),
        ])
        .unwrap();
    let bad = Errno::BADF.code();
    let expected = [
        (1, 0, POLL_READ, 3, 0),
        (2, 0, POLL_WRITE, 0, 0),
        (3, 0, POLL_READ, 6, 0),
        (4, bad, POLL_WRITE, 0, 0),
        (5, bad, POLL_READ, 0, 0),
        (6, bad, POLL_READ, 0, 0),
        (7, bad, POLL_READ, 0, 0),
    ];
    assert_eq!(events, expected);
    guest.read(0, 10).unwrap();
    let hangup = EventRwFlags::FD_READWRITE_HANGUP.bits();
    assert_eq!(guest.poll(&[subscription(POLL_READ, 0)]).unwrap(), [(0, 0, POLL_READ, 0, hangup)]);
    let fewer = Rights::STDIN.difference(Rights::POLL_FD_READWRITE).bits();
    guest.call("fd_fdstat_set_rights", &[0, fewer, 0]).unwrap();
    let refused = (0, Errno::NOTCAPABLE.code(), POLL_READ, 0, 0);
    assert_eq!(guest.poll(&[subscription(POLL_READ, 0)]).unwrap(), [refused]);
}

#[test]
fn polling_what_the_system_knows() {
    // A FIFO blocks until somebody writes.
    let (temp, mut guest) = Guest::with_dir();
    let fifo = temp.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let fd = guest.open_as(ROOT, 0, "fifo", 0, READ, NONBLOCK).unwrap();
    let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let read = Sub::Fd { event_type: POLL_READ, fd };
    let soon = Sub::Clock { id: clockid::MONOTONIC, timeout: 20_000_000, flags: 0 };
    assert_eq!(guest.poll(&[read, soon]).unwrap(), [(1, 0, eventtype::CLOCK, 0, 0)]);
    assert_eq!(guest.read(fd, 10), Err(Errno::AGAIN));
    let late = Sub::Clock { id: clockid::MONOTONIC, timeout: 10_000_000_000, flags: 0 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            writer.write_all(b"hello").unwrap();
        });
        assert_eq!(guest.poll(&[late, read]).unwrap(), [(1, 0, POLL_READ, 5, 0)]);
    });
    assert_eq!(guest.read(fd, 10).unwrap(), b"hello");
    drop(writer);
    let hangup = EventRwFlags::FD_READWRITE_HANGUP.bits();
    assert_eq!(guest.poll(&[read]).unwrap(), [(0, 0, POLL_READ, 0, hangup)]);
    assert_eq!(guest.fdstat(fd).unwrap().0, FileType::Unknown as u8);
}

// ---- sockets ---------------------------------------------------------------------------------

#[test]
fn sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (temp, _) = Guest::with_dir();
    let mut builder = WasiCtxBuilder::new();
    builder
        .preopened_listener(listener)
        .preopened_dir(temp.path(), "/", DirPerms::all(), FilePerms::all())
        .unwrap();
    let mut guest = Guest::new(&mut builder);
    let (listening, out) = (4u32, u64::from(OUT));
    assert_eq!(guest.fdstat(listening).unwrap().0, FileType::SocketStream as u8);
    guest.call("fd_fdstat_set_flags", &[listening.into(), NONBLOCK.into()]).unwrap();
    assert_eq!(guest.call("sock_accept", &[listening.into(), 0, out]), Err(Errno::AGAIN));
    let mut peer = TcpStream::connect(address).unwrap();
    let acceptable = Sub::Fd { event_type: POLL_READ, fd: listening };
    assert_eq!(guest.poll(&[acceptable]).unwrap()[0].1, 0);
    assert_eq!(guest.call("sock_accept", &[listening.into(), 1, out]), Err(Errno::INVAL));
    guest.call("sock_accept", &[listening.into(), 0, out]).unwrap();
    let fd = guest.out32();
    assert_eq!(fd, 5);

    let recv = |guest: &mut Guest, len, flags| {
        let [iovs, count] = guest.iovs(&[(DATA, len)]);
        guest.call("sock_recv", &[fd.into(), iovs, count, flags, out, out + 4])?;
        assert_eq!(guest.memory.read_u16(out + 4).unwrap(), 0);
        Ok::<_, Errno>(guest.data(guest.out32()))
    };
    peer.write_all(b"hello").unwrap();
    assert_eq!(recv(&mut guest, 3, u64::from(RiFlags::RECV_PEEK.bits())).unwrap(), b"hel");
    assert_eq!(recv(&mut guest, 3, 0).unwrap(), b"hel");
    std::thread::scope(|scope| {
        let mut peer = &peer;
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            peer.write_all(b" world").unwrap();
        });
        let all = u64::from(RiFlags::RECV_WAITALL.bits());
        assert_eq!(recv(&mut guest, 8, all).unwrap(), b"lo world");
    });
    assert_eq!(recv(&mut guest, 8, 4), Err(Errno::INVAL));

    guest.set(DATA, b"answer");
    let [iovs, count] = guest.iovs(&[(DATA, 3), (DATA + 3, 3)]);
    guest.call("sock_send", &[fd.into(), iovs, count, 0, out]).unwrap();
    assert_eq!(guest.out32(), 6);
    assert_eq!(guest.call("sock_send", &[fd.into(), iovs, count, 1, out]), Err(Errno::INVAL));
    assert_eq!(guest.write(fd, b"!").unwrap(), 1);
    let mut bytes = [0; 7];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"answer!");

    assert_eq!(guest.call("sock_shutdown", &[fd.into(), 0]), Err(Errno::INVAL));
    assert_eq!(guest.call("sock_shutdown", &[fd.into(), 4]), Err(Errno::INVAL));
    guest.call("sock_shutdown", &[fd.into(), 2]).unwrap();
    assert_eq!(peer.read(&mut bytes).unwrap(), 0);
    drop(peer);
    assert_eq!(guest.read(fd, 10).unwrap(), b"");

    // What is no socket.
    assert_eq!(guest.call("sock_shutdown", &[1, 1]), Err(Errno::NOTSOCK));
    assert_eq!(guest.call("sock_shutdown", &[77, 1]), Err(Errno::BADF));
    assert_eq!(guest.call("sock_accept", &[1, 0, out]), Err(Errno::NOTSOCK));
    assert_eq!(guest.call("sock_recv", &[0, iovs, count, 0, out, out]), Err(Errno::NOTSOCK));
    assert_eq!(guest.call("sock_send", &[1, iovs, count, 0, out]), Err(Errno::NOTSOCK));
    assert_eq!(guest.call("sock_shutdown", &[listening.into(), 1]), Err(Errno::NOTSOCK));
}

#[test]
fn a_socket_closed_by_its_peer_is_an_errno() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut guest = Guest::new(WasiCtxBuilder::new().preopened_stream(stream));
    drop(peer);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match guest.write(3, b"anybody there?") {
            Err(error) => {
                break assert!(matches!(error, Errno::PIPE | Errno::CONNRESET), "{error:?}");
            }
            Ok(_) => assert!(Instant::now() < until),
        }
    }
}

#[test]
fn buffers_come_out_of_the_budget() {
    let budget = wardian::Budget::new(40 << 10);
    let temp = TempDir::new().unwrap();
    put(temp.path(), "file", &"x".repeat(64 << 10));
    for number in 0..100 {
        put(temp.path(), &format!("{number}-{}", "n".repeat(200)), "");
    }
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_dir(temp.path(), "/", DirPerms::all(), FilePerms::all()).unwrap();
    let mut guest = Guest::new(builder.budget(&budget));
    assert_eq!(budget.taken(), 0);
    // Reads and random bytes need a buffer, as large as they are up to some size.
    assert_eq!(guest.random(DATA, 50 << 10), Err(Errno::NOMEM));
    guest.random(DATA, 1 << 10).unwrap();
    assert_eq!(budget.taken(), 1 << 10);
    let fd = guest.open("file", 0, READ).unwrap();
    let slot = budget.taken() - (1 << 10);
    assert!(slot > 0);
    let [iovs, count] = guest.iovs(&[(DATA, 50 << 10)]);
    let read = [fd.into(), iovs, count, OUT.into()];
    assert_eq!(guest.call("fd_read", &read), Err(Errno::NOMEM));
    assert_eq!(guest.call("fd_write", &[1, iovs, count, OUT.into()]), Err(Errno::NOMEM));
    // A list of subscriptions while it is waited for.
    let poll = [DATA.into(), DATA.into(), 200, OUT.into()];
    assert_eq!(guest.call("poll_oneoff", &poll), Err(Errno::NOMEM));
    assert_eq!(budget.taken(), slot + (1 << 10));
    // A listing for as long as the directory is open.
    let dir = guest.open(".", DIRECTORY, READ).unwrap();
    let list = [dir.into(), DATA.into(), 100, 0, OUT.into()];
    guest.call("fd_readdir", &list).unwrap();
    let listed = budget.taken();
    assert!(listed > 20 << 10);
    // The old listing makes room for the new one.
    guest.call("fd_readdir", &list).unwrap();
    assert_eq!(budget.taken(), listed);
    let other = guest.open(".", DIRECTORY, READ).unwrap();
    let list = [other.into(), DATA.into(), 100, 0, OUT.into()];
    assert_eq!(guest.call("fd_readdir", &list), Err(Errno::NOMEM));
    guest.call("fd_close", &[dir.into()]).unwrap();
    guest.call("fd_readdir", &list).unwrap();
    // Descriptors.
    let opened = (0..2_000).map(|_| guest.open("file", 0, READ)).find(Result::is_err);
    assert_eq!(opened, Some(Err(Errno::NOMEM)));
    assert!(budget.taken() <= budget.limit());
    drop(guest);
    assert_eq!(budget.taken(), 0);
}

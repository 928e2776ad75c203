//! Setting up a guest: what it may see, collected by [`WasiCtxBuilder`], kept in [`WasiP1Ctx`].
//!
//! By default a guest sees nothing: no arguments, no environment, no directory, an empty standard
//! input, outputs that go nowhere. Clocks and random numbers are the system's.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use cap_std::fs::Dir;

use crate::clocks::{HostMonotonicClock, HostWallClock, SystemMonotonicClock, SystemWallClock};
use crate::descriptor::{Descriptor, Kind, Table};
use crate::dir::OpenDir;
use crate::random::{HostRandom, SeededRandom, SystemRandom};
use crate::stdio::{
    HostStderr, HostStdin, HostStdout, NoInput, NoOutput, StdinStream, StdoutStream,
};
use crate::types::{DirPerms, Errno, FilePerms};
use wardian::{Budget, BudgetShare};

/// The error with which a guest's call of `proc_exit` ends its execution: its exit status.
///
/// ```
/// use wardian::{Engine, Linker, Module, Store};
/// use wardian_wasi::{I32Exit, WasiCtxBuilder, WasiP1Ctx, p1};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
///     (func (export "_start") (call $exit (i32.const 7))))"#)?;
/// let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
/// p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
/// let mut store = Store::new(&engine, WasiCtxBuilder::new().build_p1());
/// let start = linker
///     .instantiate(&mut store, &module)?
///     .get_typed_func::<(), ()>(&mut store, "_start")?;
/// let error = start.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.downcast_ref::<I32Exit>(), Some(&I32Exit(7)));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct I32Exit(pub i32);

impl I32Exit {
    /// The status for [`std::process::exit`].
    pub fn process_exit_code(&self) -> i32 {
        self.0
    }
}

impl fmt::Display for I32Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exited with i32 exit status {}", self.0)
    }
}

impl std::error::Error for I32Exit {}

/// The state of WASI preview 1 for one guest.
///
/// ```
/// use wardian::{Engine, Linker, Store};
/// use wardian_wasi::{WasiCtxBuilder, WasiP1Ctx, p1};
///
/// // Beside what else the store has for this guest.
/// struct Host {
///     wasi: WasiP1Ctx,
///     requests: u32,
/// }
///
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// p1::add_to_linker_sync(&mut linker, |host: &mut Host| &mut host.wasi)?;
/// let wasi = WasiCtxBuilder::new().arg("program").build_p1();
/// let store = Store::new(&engine, Host { wasi, requests: 0 });
/// assert_eq!(store.data().requests, 0);
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct WasiP1Ctx {
    /// Each without the terminating zero.
    pub(crate) args: Vec<Vec<u8>>,
    /// `KEY=VALUE`, each without the terminating zero.
    pub(crate) env: Vec<Vec<u8>>,
    pub(crate) table: Table,
    pub(crate) wall_clock: Box<dyn HostWallClock>,
    pub(crate) monotonic_clock: Box<dyn HostMonotonicClock>,
    pub(crate) random: Box<dyn HostRandom>,
    pub(crate) bounce: Bounce,
    /// What buffers for this guest are taken from.
    pub(crate) budget: Option<Budget>,
}

/// The buffer through which data travels between guest and host. Kept between calls, so that small reads
/// and writes allocate nothing.
#[derive(Default)]
pub(crate) struct Bounce {
    bytes: Vec<u8>,
    share: Option<BudgetShare>,
    /// Bytes that calls moved, listed or subscribed to, and which were not paid for yet.
    pub moved: u64,
}

impl Bounce {
    /// At least `want` bytes.
    pub fn room(&mut self, want: usize) -> Result<&mut [u8], Errno> {
        if self.bytes.len() < want {
            take(&mut self.share, want)?;
            self.bytes.resize(want, 0);
        }
        Ok(&mut self.bytes[..want])
    }
}

/// Makes a share so large, if there is a budget.
pub(crate) fn take(share: &mut Option<BudgetShare>, bytes: usize) -> Result<(), Errno> {
    match share {
        Some(share) => share.resize(bytes as u64).then_some(()).ok_or(Errno::NOMEM),
        None => Ok(()),
    }
}

/// Collects what a guest may see. Methods can be chained; [`build_p1`](Self::build_p1) takes what was
/// collected and leaves the builder as new.
///
/// ```
/// use wardian_wasi::{DirPerms, FilePerms, WasiCtxBuilder};
///
/// let mut builder = WasiCtxBuilder::new();
/// builder.args(&["tool", "--check", "in.txt"]).env("LANG", "C").inherit_stdout();
/// builder.preopened_dir(std::env::temp_dir(), "/data", DirPerms::READ, FilePerms::READ)?;
/// let wasi = builder.build_p1();
/// # let _ = wasi;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WasiCtxBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Box<dyn StdinStream>,
    stdout: Box<dyn StdoutStream>,
    stderr: Box<dyn StdoutStream>,
    preopens: Vec<OpenDir>,
    sockets: Vec<Kind>,
    wall_clock: Box<dyn HostWallClock>,
    monotonic_clock: Box<dyn HostMonotonicClock>,
    random: Box<dyn HostRandom>,
    budget: Option<Budget>,
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        WasiCtxBuilder {
            args: Vec::new(),
            env: Vec::new(),
            stdin: Box::new(NoInput),
            stdout: Box::new(NoOutput),
            stderr: Box::new(NoOutput),
            preopens: Vec::new(),
            sockets: Vec::new(),
            wall_clock: Box::new(SystemWallClock),
            monotonic_clock: Box::new(SystemMonotonicClock::new()),
            random: Box::new(SystemRandom::new()),
            budget: None,
        }
    }
}

impl WasiCtxBuilder {
    /// A guest that sees nothing yet.
    pub fn new() -> WasiCtxBuilder {
        WasiCtxBuilder::default()
    }

    /// Adds one argument. The first is the name of the program.
    pub fn arg(&mut self, arg: impl AsRef<str>) -> &mut Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: &[impl AsRef<str>]) -> &mut Self {
        self.args.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds this process's arguments, its name included.
    pub fn inherit_args(&mut self) -> &mut Self {
        self.args.extend(std::env::args_os().map(|arg| lossy(&arg)));
        self
    }

    /// Sets an environment variable; one of this name that was set before is replaced.
    pub fn env(&mut self, key: impl AsRef<str>, value: impl AsRef<str>) -> &mut Self {
        let (key, value) = (key.as_ref(), value.as_ref().to_owned());
        match self.env.iter_mut().find(|(old, _)| old == key) {
            Some((_, old)) => *old = value,
            None => self.env.push((key.to_owned(), value)),
        }
        self
    }

    /// Sets environment variables.
    pub fn envs(&mut self, env: &[(impl AsRef<str>, impl AsRef<str>)]) -> &mut Self {
        for (key, value) in env {
            self.env(key, value);
        }
        self
    }

    /// Sets the environment variables of this process.
    pub fn inherit_env(&mut self) -> &mut Self {
        for (key, value) in std::env::vars_os() {
            self.env(lossy(&key), lossy(&value));
        }
        self
    }

    /// Replaces standard input.
    pub fn stdin(&mut self, stdin: impl StdinStream + 'static) -> &mut Self {
        self.stdin = Box::new(stdin);
        self
    }

    /// Replaces standard output.
    pub fn stdout(&mut self, stdout: impl StdoutStream + 'static) -> &mut Self {
        self.stdout = Box::new(stdout);
        self
    }

    /// Replaces standard error.
    pub fn stderr(&mut self, stderr: impl StdoutStream + 'static) -> &mut Self {
        self.stderr = Box::new(stderr);
        self
    }

    /// Connects standard input to that of this process.
    pub fn inherit_stdin(&mut self) -> &mut Self {
        self.stdin(HostStdin::new())
    }

    /// Connects standard output to that of this process.
    pub fn inherit_stdout(&mut self) -> &mut Self {
        self.stdout(HostStdout::new())
    }

    /// Connects standard error to that of this process.
    pub fn inherit_stderr(&mut self) -> &mut Self {
        self.stderr(HostStderr::new())
    }

    /// Connects all three standard streams to those of this process.
    pub fn inherit_stdio(&mut self) -> &mut Self {
        self.inherit_stdin().inherit_stdout().inherit_stderr()
    }

    /// Gives the guest the directory `host_path` of the host, under the name `guest_path`. The guest
    /// reaches what is below it, and within `dir_perms` and `file_perms` only.
    pub fn preopened_dir(
        &mut self,
        host_path: impl AsRef<Path>,
        guest_path: impl AsRef<str>,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> io::Result<&mut Self> {
        let dir = Dir::open_ambient_dir(host_path, cap_std::ambient_authority())?;
        let name = guest_path.as_ref().to_owned();
        self.preopens.push(OpenDir::preopened(dir, name, dir_perms, file_perms));
        Ok(self)
    }

    /// Gives the guest a socket on which it can accept connections. Sockets get the descriptors after
    /// those of the directories.
    pub fn preopened_listener(&mut self, listener: TcpListener) -> &mut Self {
        self.sockets.push(Kind::Listener(listener));
        self
    }

    /// Gives the guest a connection. Sockets get the descriptors after those of the directories.
    pub fn preopened_stream(&mut self, stream: TcpStream) -> &mut Self {
        self.sockets.push(Kind::Socket(stream));
        self
    }

    /// Replaces the clock that tells the time of day, say by a [`FixedClock`](crate::FixedClock).
    pub fn wall_clock(&mut self, clock: impl HostWallClock + 'static) -> &mut Self {
        self.wall_clock = Box::new(clock);
        self
    }

    /// Replaces the clock that measures and waits, say by a [`FixedClock`](crate::FixedClock).
    pub fn monotonic_clock(&mut self, clock: impl HostMonotonicClock + 'static) -> &mut Self {
        self.monotonic_clock = Box::new(clock);
        self
    }

    /// Replaces the source of random numbers.
    pub fn secure_random(&mut self, random: impl HostRandom + 'static) -> &mut Self {
        self.random = Box::new(random);
        self
    }

    /// Makes random numbers repeatable, and known to whoever knows the seed: for tests.
    pub fn random_seed(&mut self, seed: u64) -> &mut Self {
        self.secure_random(SeededRandom::new(seed))
    }

    /// Takes buffers that calls of the guest need from `budget`: directory listings, lists to poll, the
    /// buffer of reads and writes, the table of descriptors. What finds no room there fails with `NOMEM`.
    /// Without a budget, each of these has a bound of its own, and no more.
    pub fn budget(&mut self, budget: &Budget) -> &mut Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Preview 1 always works on the thread that runs the guest, so both answers mean the same. Kept
    /// so that programs written for other engines need no change.
    pub fn allow_blocking_current_thread(&mut self, _allow: bool) -> &mut Self {
        self
    }

    /// Makes the state for one guest of what was collected.
    pub fn build_p1(&mut self) -> WasiP1Ctx {
        let builder = std::mem::take(self);
        let streams = [
            Kind::Stdin(builder.stdin),
            Kind::Stdout(builder.stdout),
            Kind::Stdout(builder.stderr),
        ];
        // Directories stand together from 3 on: the C library of guests looks for them there and
        // stops at the first descriptor that is none.
        let preopens = builder.preopens.into_iter().map(Kind::Dir);
        let share = || builder.budget.as_ref().map(Budget::share);
        let bounce = Bounce { share: share(), ..Bounce::default() };
        let mut table = Table::default();
        for kind in streams.into_iter().chain(preopens).chain(builder.sockets) {
            table
                .insert(Descriptor::new(kind))
                .expect("a host preopens fewer than the table takes");
        }
        // What the host put there itself is not the guest's.
        table.share = share();
        WasiP1Ctx {
            args: builder.args.into_iter().map(String::into_bytes).collect(),
            env: builder
                .env
                .into_iter()
                .map(|(key, value)| format!("{key}={value}").into_bytes())
                .collect(),
            table,
            wall_clock: builder.wall_clock,
            monotonic_clock: builder.monotonic_clock,
            random: builder.random,
            bounce,
            budget: builder.budget,
        }
    }
}

/// Strings of preview 1 are UTF-8.
fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

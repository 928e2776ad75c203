//! What a guest's standard streams are connected to: the host's own, nothing, or a pipe in memory
//! (`pipe.rs`), or whatever implements the two traits here.
//!
//! The host's streams are used without a buffer in between: what a guest wrote has reached the
//! system when its call returns, and `poll_oneoff` sees all there is to read.

use std::io::{self, IsTerminal, Write};

use crate::sys::{self, HostFd};

/// Whether a stream could be used now without blocking.
///
/// ```
/// use wardian_wasi::{StdinStream, StreamState, pipe::MemoryInputPipe};
///
/// let input = MemoryInputPipe::new("four");
/// assert!(matches!(input.state(), StreamState::Ready { bytes: 4, hangup: false }));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamState<'a> {
    /// Yes.
    Ready {
        /// Bytes that could be read at once, zero where that is not known.
        bytes: u64,
        /// The other side is gone.
        hangup: bool,
    },
    /// No; ask again later.
    Pending,
    /// The system knows.
    Host(HostHandle<'a>),
}

/// A stream of the host that the system can wait for.
#[derive(Debug)]
pub struct HostHandle<'a>(pub(crate) HostFd<'a>);

/// What a guest reads as its standard input.
///
/// ```
/// use wardian_wasi::{StdinStream, StreamState, WasiCtxBuilder};
///
/// /// Gives the same letter for ever.
/// struct Letters(u8);
///
/// impl StdinStream for Letters {
///     fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
///         bytes.fill(self.0);
///         Ok(bytes.len())
///     }
///
///     fn state(&self) -> StreamState<'_> {
///         StreamState::Ready { bytes: 0, hangup: false }
///     }
/// }
///
/// WasiCtxBuilder::new().stdin(Letters(b'a')).build_p1();
/// ```
pub trait StdinStream: Send {
    /// Reads some bytes, waiting for them if need be. Zero bytes mean the end.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Whether `read` would return at once.
    fn state(&self) -> StreamState<'_>;

    /// Whether somebody sits at the other end.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// What a guest writes as its standard output or standard error.
///
/// ```
/// use wardian_wasi::{StdoutStream, StreamState, WasiCtxBuilder};
///
/// /// Tells how much the guest writes.
/// struct Counter;
///
/// impl StdoutStream for Counter {
///     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
///         println!("{} bytes", bytes.len());
///         Ok(bytes.len())
///     }
///
///     fn state(&self) -> StreamState<'_> {
///         StreamState::Ready { bytes: 0, hangup: false }
///     }
/// }
///
/// WasiCtxBuilder::new().stdout(Counter).build_p1();
/// ```
pub trait StdoutStream: Send {
    /// Writes some bytes, at least one if there are any, waiting if need be.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Whether `write` would return at once.
    fn state(&self) -> StreamState<'_>;

    /// Makes sure that what was written has left this process.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether somebody sits at the other end.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// The host's standard input.
pub(crate) struct HostStdin(io::Stdin);

impl HostStdin {
    pub fn new() -> Self {
        HostStdin(io::stdin())
    }
}

impl StdinStream for HostStdin {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        sys::read_stdin(bytes)
    }

    fn state(&self) -> StreamState<'_> {
        host_state(sys::host_fd(&self.0))
    }

    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

/// The host's standard output.
pub(crate) struct HostStdout(io::Stdout);

impl HostStdout {
    pub fn new() -> Self {
        HostStdout(io::stdout())
    }
}

impl StdoutStream for HostStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What the host printed before must come out before.
        self.0.flush()?;
        sys::write_stream(&self.0, bytes)
    }

    fn state(&self) -> StreamState<'_> {
        host_state(sys::host_fd(&self.0))
    }

    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

/// The host's standard error.
pub(crate) struct HostStderr(io::Stderr);

impl HostStderr {
    pub fn new() -> Self {
        HostStderr(io::stderr())
    }
}

impl StdoutStream for HostStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::write_stream(&self.0, bytes)
    }

    fn state(&self) -> StreamState<'_> {
        host_state(sys::host_fd(&self.0))
    }

    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

pub(crate) fn host_state(fd: Option<HostFd<'_>>) -> StreamState<'_> {
    match fd {
        Some(fd) => StreamState::Host(HostHandle(fd)),
        None => StreamState::Ready { bytes: 0, hangup: false },
    }
}

/// Standard input that is at its end from the start.
pub(crate) struct NoInput;

impl StdinStream for NoInput {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn state(&self) -> StreamState<'_> {
        StreamState::Ready { bytes: 0, hangup: true }
    }
}

/// Output that goes nowhere.
pub(crate) struct NoOutput;

impl StdoutStream for NoOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn state(&self) -> StreamState<'_> {
        StreamState::Ready { bytes: 0, hangup: false }
    }
}

//! Pipes in memory: standard input from bytes, standard output into bytes.
//!
//! A clone is another handle of the same pipe, so that the host keeps one while the guest uses the
//! other.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::stdio::{StdinStream, StdoutStream, StreamState};

/// Standard input that gives the bytes it was made of, then ends.
///
/// ```
/// use wardian_wasi::{WasiCtxBuilder, pipe::MemoryInputPipe};
///
/// let input = MemoryInputPipe::new("a line\n");
/// WasiCtxBuilder::new().stdin(input.clone()).build_p1();
/// assert!(!input.is_empty(), "nothing was read yet");
/// ```
#[derive(Clone, Debug)]
pub struct MemoryInputPipe {
    rest: Arc<Mutex<Input>>,
}

#[derive(Debug)]
struct Input {
    bytes: Vec<u8>,
    position: usize,
}

impl MemoryInputPipe {
    /// A pipe that holds `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> MemoryInputPipe {
        let input = Input { bytes: bytes.into(), position: 0 };
        MemoryInputPipe { rest: Arc::new(Mutex::new(input)) }
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.with(|input| input.position == input.bytes.len())
    }

    fn with<R>(&self, f: impl FnOnce(&mut Input) -> R) -> R {
        // Nothing that runs under the lock panics with the state half changed.
        f(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StdinStream for MemoryInputPipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(self.with(|input| {
            let rest = &input.bytes[input.position..];
            let count = rest.len().min(bytes.len());
            bytes[..count].copy_from_slice(&rest[..count]);
            input.position += count;
            count
        }))
    }

    fn state(&self) -> StreamState<'_> {
        let bytes = self.with(|input| input.bytes.len() - input.position) as u64;
        StreamState::Ready { bytes, hangup: bytes == 0 }
    }
}

/// Standard output that collects up to `capacity` bytes. Writing more breaks the pipe: the guest gets
/// `PIPE`, as from a reader that has gone.
///
/// ```
/// use wardian_wasi::{StdoutStream, WasiCtxBuilder, pipe::MemoryOutputPipe};
///
/// let mut output = MemoryOutputPipe::new(1 << 20);
/// WasiCtxBuilder::new().stdout(output.clone()).build_p1();
/// output.write(b"from the host")?;
/// assert_eq!(output.contents(), b"from the host");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryOutputPipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    capacity: usize,
}

impl MemoryOutputPipe {
    /// An empty pipe that takes `capacity` bytes.
    pub fn new(capacity: usize) -> MemoryOutputPipe {
        MemoryOutputPipe { bytes: Arc::default(), capacity }
    }

    /// What has been written so far.
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has been written so far, if no other handle is left.
    pub fn try_into_inner(self) -> Option<Vec<u8>> {
        let bytes = Arc::into_inner(self.bytes)?;
        Some(bytes.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StdoutStream for MemoryOutputPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = bytes.len().min(self.capacity - written.len());
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn state(&self) -> StreamState<'_> {
        let len = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).len();
        StreamState::Ready { bytes: 0, hangup: len == self.capacity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_ends_after_its_bytes() {
        let mut pipe = MemoryInputPipe::new("hello");
        let mut bytes = [0; 3];
        assert_eq!(pipe.read(&mut bytes).unwrap(), 3);
        assert_eq!(pipe.read(&mut bytes).unwrap(), 2);
        assert_eq!(pipe.read(&mut bytes).unwrap(), 0);
        assert!(pipe.is_empty());
    }

    #[test]
    fn output_breaks_at_its_capacity() {
        let mut pipe = MemoryOutputPipe::new(4);
        let host = pipe.clone();
        assert_eq!(pipe.write(b"abc").unwrap(), 3);
        assert_eq!(pipe.write(b"def").unwrap(), 1);
        assert_eq!(pipe.write(b"ef").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(pipe.write(b"").unwrap(), 0);
        drop(pipe);
        assert_eq!(host.contents(), b"abcd");
        assert_eq!(host.try_into_inner().unwrap(), b"abcd");
    }
}

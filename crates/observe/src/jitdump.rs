//! The file in which code that is made at run time is told to `perf inject --jit`: a head, then a record
//! per function with its name and code (Linux, `tools/perf/Documentation/jitdump-specification.txt`).
//!
//! `perf` learns of the file from the mapping that the kernel of this engine makes of it. Times are of the
//! monotonic clock, so recordings need `perf record -k mono`.

use crate::Named;
use crate::perf_map::create_new;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEAD_BYTES: u32 = 40;
/// ELF's number of x86-64 (`EM_X86_64`).
const MACHINE: u32 = 62;
const CODE_LOAD: u32 = 0;
const CODE_CLOSE: u32 = 3;
/// Bytes of a record before its name.
const RECORD_BYTES: usize = 16 + 40;

#[derive(Debug)]
pub(crate) struct JitDump {
    file: File,
    process: u32,
    /// Every record has its own number.
    next: u64,
}

impl JitDump {
    /// The file of this process, in the present folder.
    pub(crate) fn create(process: u32) -> io::Result<JitDump> {
        let path = PathBuf::from(format!("jit-{process}.dump"));
        let dump = JitDump::with_file(create_new(&path)?, process)?;
        wardian_vm::show_to_profilers(&dump.file)?;
        Ok(dump)
    }

    fn with_file(mut file: File, process: u32) -> io::Result<JitDump> {
        let mut head = Vec::new();
        for word in [MAGIC, VERSION, HEAD_BYTES, MACHINE, 0, process] {
            head.extend(word.to_ne_bytes());
        }
        head.extend(now()?.to_ne_bytes());
        // No flags.
        head.extend(0u64.to_ne_bytes());
        file.write_all(&head)?;
        Ok(JitDump { file, process, next: 0 })
    }

    pub(crate) fn write(&mut self, funcs: &[Named<'_>]) -> io::Result<()> {
        let (time, thread) = (now()?, thread());
        for Named { name, address, bytes } in funcs {
            let size = RECORD_BYTES + name.len() + 1 + bytes.len();
            let mut record = Vec::with_capacity(size);
            let head_size = u32::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
            record.extend(CODE_LOAD.to_ne_bytes());
            record.extend(head_size.to_ne_bytes());
            record.extend(time.to_ne_bytes());
            record.extend(self.process.to_ne_bytes());
            record.extend(thread.to_ne_bytes());
            // Where it runs, and where it lies: the same.
            record.extend((*address as u64).to_ne_bytes());
            record.extend((*address as u64).to_ne_bytes());
            record.extend((bytes.len() as u64).to_ne_bytes());
            record.extend(self.next.to_ne_bytes());
            record.extend(name.as_bytes());
            record.push(0);
            record.extend(*bytes);
            self.next += 1;
            self.file.write_all(&record)?;
        }
        Ok(())
    }
}

impl Drop for JitDump {
    fn drop(&mut self) {
        let mut record = Vec::new();
        record.extend(CODE_CLOSE.to_ne_bytes());
        record.extend(16u32.to_ne_bytes());
        record.extend(now().unwrap_or(0).to_ne_bytes());
        // The end of the file says it too.
        let _ = self.file.write_all(&record);
    }
}

/// Nanoseconds of the clock that `perf record -k mono` uses.
fn now() -> io::Result<u64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec as u64, time.tv_nsec as u64);
    Ok(seconds * 1_000_000_000 + nanos)
}

fn thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_as_perf_reads_them() {
        let mut file = tempfile::tempfile().unwrap();
        let mut dump = JitDump::with_file(file.try_clone().unwrap(), 77).unwrap();
        let code: [&[u8]; 2] = [&[0x90, 0xc3], &[0xc3]];
        dump.write(&[Named { name: "fib", address: 0x7000, bytes: code[0] }]).unwrap();
        dump.write(&[Named { name: "é", address: 0x8000, bytes: code[1] }]).unwrap();
        drop(dump);
        let mut bytes = Vec::new();
        io::Seek::rewind(&mut file).unwrap();
        io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!([0, 4, 8, 12, 20].map(word), [0x4a69_5444, 1, 40, 62, 77]);
        let (mut at, mut last) = (word(8) as usize, long(24));
        for (n, (name, address)) in [("fib", 0x7000), ("é", 0x8000)].into_iter().enumerate() {
            assert_eq!((word(at), word(at + 16)), (CODE_LOAD, 77));
            assert!(long(at + 8) >= last && word(at + 20) != 0);
            last = long(at + 8);
            let place = [24, 32, 40, 48].map(|field| long(at + field));
            assert_eq!(place, [address, address, code[n].len() as u64, n as u64]);
            let end = at + word(at + 4) as usize;
            let named = [name.as_bytes(), &[0], code[n]].concat();
            assert_eq!(bytes[at + 56..end], named);
            at = end;
        }
        assert_eq!((word(at), word(at + 4) as usize), (CODE_CLOSE, bytes.len() - at));
    }
}

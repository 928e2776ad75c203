//! Tells debuggers and profilers which function lies where: objects for gdb, and the two files that Linux's
//! `perf` reads. In safe code; the kernel calls it when code is published.
//!
//! Invariant: whatever is written here is about code that lies in place already and that nothing runs yet.
//! What cannot be written is told once, by an event, and makes nothing fail.

#![forbid(unsafe_code)]

#[cfg_attr(not(target_os = "linux"), path = "jitdump_none.rs")]
mod jitdump;
mod names;
mod object;
mod perf_map;

use jitdump::JitDump;
use names::Names;
use perf_map::PerfMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use wardian_module::Module;
use wardian_vm::{Kept, PublishedFunc, Registration, Watch};

/// Target of events.
const LOG: &str = "wardian::observe";

/// A file that a profiler reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// `/tmp/perf-PID.map`: names and addresses.
    PerfMap,
    /// `jit-PID.dump`: names, addresses and code, each with its time.
    JitDump,
}

/// What an engine tells of its modules' code, and to whom.
#[derive(Debug, Default)]
pub struct Observers {
    debugger: bool,
    profile: Option<Arc<Output>>,
}

impl Observers {
    /// For a debugger, a profiler, both or none.
    ///
    /// # Errors
    ///
    /// When the profiler's file cannot be made.
    pub fn new(debugger: bool, profile: Option<Profile>) -> io::Result<Observers> {
        Ok(Observers { debugger, profile: profile.map(Output::of_process).transpose()? })
    }

    /// Who is to be told of this module's code, if anybody is.
    pub fn of_module(&self, module: &Module) -> Option<Box<dyn Watch>> {
        if !self.debugger && self.profile.is_none() {
            return None;
        }
        let (names, debugger, profile) = (Names::new(module), self.debugger, self.profile.clone());
        Some(Box::new(Observer { names, debugger, profile }))
    }
}

/// A function's code, with its name.
#[derive(Clone, Copy)]
struct Named<'a> {
    name: &'a str,
    address: usize,
    bytes: &'a [u8],
}

struct Observer {
    names: Names,
    debugger: bool,
    profile: Option<Arc<Output>>,
}

impl Watch for Observer {
    fn published(&self, funcs: &[PublishedFunc<'_>]) -> Option<Kept> {
        let named = |func: &PublishedFunc<'_>| -> (String, usize) {
            (self.names.of(func.func), func.address)
        };
        let names: Vec<(String, usize)> = funcs.iter().map(named).collect();
        let funcs = names.iter().zip(funcs);
        let funcs: Vec<Named<'_>> = funcs
            .map(|((name, address), func)| Named { name, address: *address, bytes: func.bytes })
            .collect();
        if let Some(profile) = &self.profile {
            profile.write(&funcs);
        }
        if !self.debugger || funcs.is_empty() {
            return None;
        }
        match object::of_functions(&funcs) {
            Ok(object) => Some(Box::new(Registration::new(object))),
            Err(error) => {
                tracing::warn!(target: LOG, %error, "no object for debuggers");
                None
            }
        }
    }

    fn plain_memory(&self) -> bool {
        // `perf` asks a map only about memory without a file; what a dump tells it replaces the file.
        self.debugger || self.profile.as_ref().is_some_and(|profile| profile.is_map)
    }
}

/// A profiler's file. A process has one of each, whatever the number of its engines.
#[derive(Debug)]
struct Output {
    is_map: bool,
    file: Mutex<Format>,
    /// Whether writing failed, which is told once.
    failed: AtomicBool,
}

#[derive(Debug)]
enum Format {
    PerfMap(PerfMap),
    JitDump(JitDump),
}

impl Output {
    fn of_process(profile: Profile) -> io::Result<Arc<Output>> {
        /// The process that made it, since children of it need their own, and the file.
        type Made = Option<(u32, Arc<Output>)>;
        /// By `Profile`.
        static OF_PROCESS: [Mutex<Made>; 2] = [const { Mutex::new(None) }; 2];
        let slot = &OF_PROCESS[profile as usize];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if let Some((made_by, output)) = &*slot
            && *made_by == process
        {
            return Ok(output.clone());
        }
        let format = match profile {
            Profile::PerfMap => Format::PerfMap(PerfMap::create(process)?),
            Profile::JitDump => Format::JitDump(JitDump::create(process)?),
        };
        let output = Arc::new(Output {
            is_map: profile == Profile::PerfMap,
            file: Mutex::new(format),
            failed: AtomicBool::new(false),
        });
        *slot = Some((process, output.clone()));
        Ok(output)
    }

    fn write(&self, funcs: &[Named<'_>]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &mut *file {
            Format::PerfMap(file) => file.write(funcs),
            Format::JitDump(file) => file.write(funcs),
        };
        if let Err(error) = written
            && !self.failed.swap(true, Relaxed)
        {
            tracing::warn!(target: LOG, %error, "the profiler's file lacks functions");
        }
    }
}

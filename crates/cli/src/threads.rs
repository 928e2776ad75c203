//! `-S threads`: threads as programs start them by `wasi::thread-spawn` (wasi-threads).
//!
//! Every thread has a store and an instance of its own, on a thread of the system with a stack of its own;
//! they have the memory that the module imports in common, and the state of WASI. The process ends when the
//! program's own `_start` returns, or when any thread exits or fails: with its status.
//!
//! NOTE [one end] Whoever ends the process takes the lock of `end` first and keeps it, so that one status
//! and one message come of it.

use crate::run::{Host, Setup};
use crate::{FAILED, TRAPPED};
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use wardian::error::Context as _;
use wardian::{
    Caller, Engine, Error, ExternType, InstancePre, Linker, Module, Result, SharedMemory, Store,
    Trap,
};
use wardian_wasi::I32Exit;

/// Largest number of a thread. wasi-threads: 29 bits.
const MAX_ID: u32 = (1 << 29) - 1;

/// What a thread that a program starts gets for its stack beside what wasm code may use.
const HOST_STACK: usize = 1 << 20;

/// Threads of one program.
pub struct Threads {
    /// What each store begins with.
    setup: Arc<Setup>,
    engine: Engine,
    /// The program with its imports, once it is linked.
    program: OnceLock<InstancePre<Host>>,
    next: AtomicU32,
    live: AtomicU32,
    end: Mutex<()>,
}

impl Threads {
    /// None yet.
    pub fn new(engine: &Engine, setup: Arc<Setup>) -> Arc<Threads> {
        Arc::new(Threads {
            setup,
            engine: engine.clone(),
            program: OnceLock::new(),
            next: AtomicU32::new(1),
            live: AtomicU32::new(0),
            end: Mutex::new(()),
        })
    }

    /// Defines `wasi::thread-spawn`, and each shared memory that the module imports.
    ///
    /// # Errors
    ///
    /// When a memory cannot be made.
    pub fn link(
        self: &Arc<Threads>,
        linker: &mut Linker<Host>,
        store: &Store<Host>,
        module: &Module,
    ) -> Result<()> {
        for import in module.imports() {
            if let ExternType::Memory(ty) = import.ty()
                && ty.is_shared()
            {
                let memory = SharedMemory::with_limiter(&self.engine, ty, self.setup.limits())?;
                linker.define(store, import.module(), import.name(), memory)?;
            }
        }
        let threads = self.clone();
        linker.func_wrap("wasi", "thread-spawn", move |_: Caller<'_, Host>, start: i32| {
            threads.spawn(start)
        })?;
        Ok(())
    }

    /// The program that new threads run, from now on.
    ///
    /// # Errors
    ///
    /// When an import is missing.
    pub fn program(&self, linker: &Linker<Host>, module: &Module) -> Result<()> {
        let program = linker.instantiate_pre(module)?;
        assert!(self.program.set(program).is_ok(), "a process runs one program");
        Ok(())
    }

    /// A new thread's number, or a negative one if there is none.
    fn spawn(self: &Arc<Threads>, start: i32) -> i32 {
        let fits = |live: u32| (live < self.setup.max_threads).then_some(live + 1);
        if self.live.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_err() {
            tracing::debug!(limit = self.setup.max_threads, "no more threads (`-S max-threads`)");
            return -1;
        }
        let next = |id: u32| Some(if id == MAX_ID { 1 } else { id + 1 });
        let id = self.next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        let id = id.unwrap_or(1) as i32;
        let threads = self.clone();
        let run = move || {
            let result = threads.run(id, start);
            threads.live.fetch_sub(1, Ordering::SeqCst);
            if let Err(error) = result {
                threads.fail(&error);
            }
        };
        let builder = thread::Builder::new().name(format!("wasi-{id}"));
        match builder.stack_size(self.setup.max_wasm_stack + HOST_STACK).spawn(run) {
            Ok(_) => id,
            Err(error) => {
                tracing::debug!(%error, "the system gives no thread");
                self.live.fetch_sub(1, Ordering::SeqCst);
                -1
            }
        }
    }

    fn run(&self, id: i32, start: i32) -> Result<()> {
        let program = self.program.get().context("threads are started by a program that runs")?;
        let mut store = self.setup.store(&self.engine)?;
        let instance = program.instantiate(&mut store)?;
        let entry = instance.get_typed_func::<(i32, i32), ()>(&mut store, "wasi_thread_start")?;
        let ran = entry.call(&mut store, (id, start));
        ran.map_err(|error| self.setup.dump(self.setup.explain(error), &store))
    }

    /// Ends the process for an error of a thread.
    fn fail(&self, error: &Error) -> ! {
        let _end = self.end();
        let code = match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => *code as u8,
            None => {
                let _ = writeln!(std::io::stderr(), "Error: {error:?}");
                if error.is::<Trap>() { TRAPPED } else { FAILED }
            }
        };
        std::process::exit(code.into())
    }

    /// The right to end the process: see NOTE [one end].
    pub fn end(&self) -> MutexGuard<'_, ()> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! `-W timeout`: the program ends when its time is over.
//!
//! A thread, which only exists if somebody asked for a timeout, lets the engine's epoch grow once. Code
//! notices that at once. A program that is in a call of the system, such as a long sleep, is given a moment
//! to come back; then the process ends here, with the same exit code.

use crate::TRAPPED;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wardian::{Engine, Error, Trap};

/// How long a program that does not notice may take to come back.
const GRACE: Duration = Duration::from_millis(100);

/// A timeout that was started. Dropped, it has no effect any more.
pub struct Timeout {
    done: Arc<Done>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Done {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Done {
    /// Waits for at most so long.
    fn wait(&self, time: Duration) -> MutexGuard<'_, bool> {
        let is = self.is.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is, time, |done| !*done);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Timeout {
    /// Interrupts guests of `engine` after `time`. `what` is put before the message if the process has
    /// to end for it.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(engine: &Engine, time: Duration, what: String) -> std::io::Result<Timeout> {
        let done = Arc::new(Done::default());
        let (engine, shared) = (engine.clone(), done.clone());
        let thread = std::thread::Builder::new().name("timeout".into()).spawn(move || {
            if *shared.wait(time) {
                return;
            }
            engine.increment_epoch();
            // Held until the end: nobody else reports anything.
            let done = shared.wait(GRACE);
            if !*done {
                let error = Error::new(Trap::Interrupt)
                    .context("its time was over, and it did not come back from a call of the host")
                    .context(what);
                let _ = writeln!(std::io::stderr(), "Error: {error:?}");
                std::process::exit(TRAPPED.into());
            }
        })?;
        Ok(Timeout { done, thread: Some(thread) })
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        *self.done.is.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.done.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

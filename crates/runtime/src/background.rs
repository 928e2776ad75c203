//! Threads for what need not be done at once: one that compiles hot functions while guests run, one that
//! writes to the code cache. Each is of one engine and starts with its first task.
//!
//! NOTE [background tasks]
//! Tasks run one at a time, in the order in which they are due: at once, or after a delay. `stop` drops those that wait and returns when the
//! running one has ended; afterwards none is accepted. In a child of the process that made it there is
//! no thread, and a lock that the thread held at `fork` stays locked for ever: nothing here is locked
//! there.

use crate::log;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Work that compiles a hot function, or other work that can wait.
pub type Task = Box<dyn FnOnce() + Send>;

/// See the head of this file.
#[derive(Clone)]
pub(crate) struct Background {
    name: &'static str,
    process: u32,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: BinaryHeap<Reverse<Waiting>>,
    /// How many there were.
    count: u64,
    thread: Option<JoinHandle<()>>,
    stopped: bool,
    /// A task is running.
    busy: bool,
    /// The thread waits for a task, or for one to be due. To wake it otherwise would cost as much as
    /// pushing a hundred tasks.
    idle: bool,
}

/// A task, with when it is due, in order of that and of its number.
struct Waiting {
    due: Instant,
    number: u64,
    task: Task,
}

impl Waiting {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.number)
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

/// Stack of the thread, in bytes: more than compilers were seen to need in debug builds.
pub(crate) const STACK: usize = 8 << 20;

impl Background {
    /// The thread will have this name.
    pub(crate) fn new(name: &'static str) -> Background {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new() };
        Background { name, process: wardian_vm::process(), shared: Arc::new(shared) }
    }

    fn is_own(&self) -> bool {
        self.process == wardian_vm::process()
    }

    /// Runs `task` some time, or gives it back because it never will.
    pub(crate) fn push(&self, task: Task) -> Result<(), Task> {
        self.push_after(Duration::ZERO, task)
    }

    /// As [`push`](Background::push), not before `delay` has passed.
    pub(crate) fn push_after(&self, delay: Duration, task: Task) -> Result<(), Task> {
        if !self.is_own() {
            return Err(task);
        }
        let mut state = self.shared.lock();
        if state.stopped {
            return Err(task);
        }
        if state.thread.is_none() {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name(self.name.into());
            match thread.stack_size(STACK).spawn(move || shared.work()) {
                Ok(handle) => state.thread = Some(handle),
                Err(error) => {
                    tracing::warn!(target: log::TIERS, %error, name = self.name, "no thread for background work");
                    return Err(task);
                }
            }
        }
        state.count += 1;
        let waiting = Waiting { due: Instant::now() + delay, number: state.count, task };
        state.tasks.push(Reverse(waiting));
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Waits until no task waits or runs.
    pub(crate) fn wait(&self) {
        if !self.is_own() {
            return;
        }
        let mut state = self.shared.lock();
        while !state.stopped && (state.busy || !state.tasks.is_empty()) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Drops waiting tasks and waits for the one that runs.
    pub(crate) fn stop(&self) {
        if !self.is_own() {
            return;
        }
        let mut state = self.shared.lock();
        state.stopped = true;
        let tasks = std::mem::take(&mut state.tasks);
        let thread = state.thread.take();
        self.shared.changed.notify_all();
        drop(state);
        drop(tasks);
        // A task may own the last reference to what stops the thread.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            thread.join().expect("tasks that panic are caught");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let wait = state
                .tasks
                .peek()
                .map(|Reverse(next)| next.due.saturating_duration_since(Instant::now()));
            state = match wait {
                Some(Duration::ZERO) => self.run_next(state),
                Some(delay) => {
                    state.idle = true;
                    let waited = self.changed.wait_timeout(state, delay);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    state.idle = true;
                    self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
            };
            state.idle = false;
        }
    }

    fn run_next<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(Reverse(Waiting { task, .. })) = state.tasks.pop() else { return state };
        state.busy = true;
        drop(state);
        if catch_unwind(AssertUnwindSafe(task)).is_err() {
            tracing::error!(target: log::TIERS, "background work panicked");
        }
        let mut state = self.lock();
        state.busy = false;
        if state.tasks.is_empty() {
            // `wait` may be waiting.
            self.changed.notify_all();
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::channel;

    #[test]
    fn tasks_run_until_it_stops() {
        let background = Background::new("wardian-test");
        assert!(background.shared.lock().thread.is_none(), "started with the first task");
        assert!(background.push(Box::new(|| panic!("this task fails"))).is_ok());
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = done.clone();
            assert!(background.push(Box::new(move || _ = done.fetch_add(1, SeqCst))).is_ok());
        }
        background.wait();
        assert_eq!(done.load(SeqCst), 100);
        background.stop();
        assert!(background.push(Box::new(|| ())).is_err());
        background.wait();
        background.stop();
    }

    #[test]
    fn what_is_due_later_runs_later_and_is_waited_for() {
        let background = Background::new("wardian-test");
        let (send, receive) = channel();
        let task = |name: u32| -> Task {
            let send = send.clone();
            Box::new(move || send.send(name).unwrap())
        };
        let start = Instant::now();
        let delay = Duration::from_millis(300);
        assert!(background.push_after(delay, task(3)).is_ok());
        assert!(background.push_after(Duration::from_secs(3600), task(4)).is_ok());
        assert!(background.push(task(1)).is_ok());
        assert!(background.push(task(2)).is_ok());
        let order: Vec<u32> = receive.iter().take(3).collect();
        assert_eq!(order, [1, 2, 3]);
        assert!(start.elapsed() >= delay);
        background.stop();
        assert!(receive.try_recv().is_err(), "the last was dropped");
    }

    #[test]
    fn stopping_waits_for_the_running_task_and_drops_the_others() {
        let background = Background::new("wardian-test");
        let (started, starts) = channel();
        let (go, goes) = channel::<()>();
        let done = Arc::new(AtomicUsize::new(0));
        let first = done.clone();
        let pushed = background.push(Box::new(move || {
            started.send(()).unwrap();
            goes.recv().unwrap();
            first.fetch_add(1, SeqCst);
        }));
        assert!(pushed.is_ok());
        let second = done.clone();
        assert!(background.push(Box::new(move || _ = second.fetch_add(10, SeqCst))).is_ok());
        starts.recv().unwrap();
        std::thread::scope(|scope| {
            let stopping = scope.spawn(|| background.stop());
            while !background.shared.lock().stopped {
                std::thread::yield_now();
            }
            go.send(()).unwrap();
            stopping.join().unwrap();
        });
        assert_eq!(done.load(SeqCst), 1);
    }
}

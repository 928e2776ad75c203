//! Where threads wait: `memory.atomic.wait32`, `wait64` and `notify`, for guests and the host.
//!
//! NOTE \[parking\] A table for the whole process keeps, for each address that somebody waits at, its waiters
//! in the order of their coming. It is divided by address into shards, each under a lock. Who waits compares
//! the value and joins the queue under the lock of the shard; who notifies takes waiters out of the queue
//! under it and marks them. So a notification that comes after the value was changed finds every waiter
//! that saw the old value. A waiter that gives up takes itself out of the queue, under the lock, unless it
//! was marked before: then it was woken. An address is a waiter's only while it holds the memory.

use crate::store::Store;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wardian_module::{Builtin, MemoryIndex, Trap};
use wardian_vm::{BuiltinCall, Failure, SharedMemory};

/// How waiting ended; the numbers are those of the instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitResult {
    /// By a notification.
    Ok = 0,
    /// At once: memory held another value.
    Mismatch = 1,
    /// By its timeout.
    TimedOut = 2,
}

const SHARDS: usize = 64;

/// By address, the waiters there.
type Shard = Mutex<HashMap<usize, VecDeque<Arc<Ticket>>>>;

static TABLE: LazyLock<[Shard; SHARDS]> =
    LazyLock::new(|| std::array::from_fn(|_| Shard::default()));

/// A place in a queue.
#[derive(Debug, Default)]
struct Ticket {
    /// Changes under the lock of the shard.
    woken: AtomicBool,
    /// Waited on with the lock of the shard only.
    changed: Condvar,
}

fn shard(address: usize) -> &'static Shard {
    // Addresses are multiples of 4, and those of one object lie together.
    let mixed = (address as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &TABLE[(mixed >> 58) as usize % SHARDS]
}

fn lock(shard: &Shard) -> MutexGuard<'_, HashMap<usize, VecDeque<Arc<Ticket>>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that is about to wait, or does.
#[derive(Debug)]
pub struct Waiter {
    address: usize,
    ticket: Arc<Ticket>,
    /// When it gives up.
    end: Option<Instant>,
    _memory: SharedMemory,
}

impl Waiter {
    /// Joins the queue at an address, if memory holds the expected number there, of 4 or 8 bytes.
    pub fn join(
        memory: &SharedMemory,
        start: u64,
        bytes: u32,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<Option<Waiter>, Trap> {
        // What would take longer than clocks can say takes for ever.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let address = (memory.base() as usize).wrapping_add(start as usize);
        let mut queues = lock(shard(address));
        if memory.load(start, bytes)? != expected {
            return Ok(None);
        }
        let ticket = Arc::new(Ticket::default());
        queues.entry(address).or_default().push_back(ticket.clone());
        Ok(Some(Waiter { address, ticket, end, _memory: memory.clone() }))
    }

    /// Waits, at most so long if that is given; `None` if it has to go on waiting.
    pub fn park(&mut self, at_most: Option<Duration>) -> Option<WaitResult> {
        let pause = at_most.and_then(|time| Instant::now().checked_add(time));
        let until = match (self.end, pause) {
            (Some(end), Some(pause)) => Some(end.min(pause)),
            (end, pause) => end.or(pause),
        };
        let mut queues = lock(shard(self.address));
        loop {
            if self.ticket.woken.load(Relaxed) {
                return Some(WaitResult::Ok);
            }
            let Some(until) = until else {
                queues = self.ticket.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if now < until {
                let waited = self.ticket.changed.wait_timeout(queues, until - now);
                queues = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            return self.end.is_some_and(|end| end <= now).then(|| {
                // Nobody can wake it any more: see NOTE [parking].
                leave(&mut queues, self.address, &self.ticket);
                WaitResult::TimedOut
            });
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        leave(&mut lock(shard(self.address)), self.address, &self.ticket);
    }
}

fn leave(queues: &mut HashMap<usize, VecDeque<Arc<Ticket>>>, address: usize, ticket: &Arc<Ticket>) {
    if let Some(queue) = queues.get_mut(&address) {
        queue.retain(|other| !Arc::ptr_eq(other, ticket));
        if queue.is_empty() {
            queues.remove(&address);
        }
    }
}

/// Waits as `memory.atomic.wait32` and `wait64` do, for the host.
pub fn wait(
    memory: &SharedMemory,
    start: u64,
    bytes: u32,
    expected: u64,
    timeout: Option<Duration>,
) -> Result<WaitResult, Trap> {
    let Some(mut waiter) = Waiter::join(memory, start, bytes, expected, timeout)? else {
        return Ok(WaitResult::Mismatch);
    };
    loop {
        if let Some(result) = waiter.park(None) {
            return Ok(result);
        }
    }
}

/// Wakes at most `count` of those that wait at an address, the first that came first; how many.
pub fn notify(memory: &SharedMemory, start: u64, count: u32) -> Result<u32, Trap> {
    memory.load(start, 4)?;
    let address = (memory.base() as usize).wrapping_add(start as usize);
    let mut queues = lock(shard(address));
    let Some(queue) = queues.get_mut(&address) else { return Ok(0) };
    let count = queue.len().min(count as usize);
    for ticket in queue.drain(..count) {
        ticket.woken.store(true, Relaxed);
        ticket.changed.notify_one();
    }
    if queue.is_empty() {
        queues.remove(&address);
    }
    // It was a `u32`, or less.
    Ok(count as u32)
}

/// The address that a builtin means, whose bounds are not checked yet.
fn address(index: u64, offset: u64) -> Result<u64, Trap> {
    index.checked_add(offset).ok_or(Trap::MemoryOutOfBounds)
}

/// Begins what a builtin asks for: to wait, unless that is over at once.
pub fn begin_wait(store: &Store, call: &BuiltinCall) -> Result<Option<Waiter>, Failure> {
    let BuiltinCall { instance, operation, args: [index, offset, expected, timeout], .. } = *call;
    let bytes = if operation.builtin == Builtin::MemoryWait32 { 4 } else { 8 };
    let id = store.memory_of(instance, MemoryIndex(operation.first));
    let start = address(index, offset)?;
    let Some(memory) = store.kernel.shared_memory(id) else {
        let length = store.kernel.memory_length(id) as u64;
        let fits = start.checked_add(bytes).is_some_and(|end| end <= length);
        let trap = if fits { Trap::AtomicWaitNonSharedMemory } else { Trap::MemoryOutOfBounds };
        return Err(trap.into());
    };
    // A negative number of nanoseconds never ends.
    let timeout = u64::try_from(timeout as i64).ok().map(Duration::from_nanos);
    Ok(Waiter::join(memory, start, bytes as u32, expected, timeout)?)
}

/// `memory.atomic.notify`
pub(crate) fn notify_builtin(store: &Store, call: &BuiltinCall) -> Result<u64, Failure> {
    let BuiltinCall { instance, operation, args: [index, offset, count, _], .. } = *call;
    let id = store.memory_of(instance, MemoryIndex(operation.first));
    let start = address(index, offset)?;
    match store.kernel.shared_memory(id) {
        Some(memory) => Ok(u64::from(notify(memory, start, count as u32)?)),
        None => {
            let length = store.kernel.memory_length(id) as u64;
            let fits = start.checked_add(4).is_some_and(|end| end <= length);
            // Nobody waits there.
            if fits { Ok(0) } else { Err(Trap::MemoryOutOfBounds.into()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_module::{IndexType, Limits, MemoryType, Settings};

    fn memory() -> SharedMemory {
        let limits = Limits { min: 1, max: Some(1) };
        let ty = MemoryType { index: IndexType::I32, limits, shared: true, page_size_log2: 16 };
        let settings =
            Settings { memory_reservation: 0, memory_guard_size: 0, ..Settings::default() };
        SharedMemory::new(ty, &settings, &Arc::default(), None).unwrap()
    }

    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn ends_of_waiting() {
        let memory = memory();
        let short = Some(Duration::from_millis(2));
        assert_eq!(wait(&memory, 8, 4, 1, LONG), Ok(WaitResult::Mismatch));
        assert_eq!(wait(&memory, 8, 8, 0, short), Ok(WaitResult::TimedOut));
        assert_eq!(wait(&memory, 6, 4, 0, short), Err(Trap::HeapMisaligned));
        assert_eq!(wait(&memory, 65532, 8, 0, short), Err(Trap::HeapMisaligned));
        assert_eq!(wait(&memory, 65536, 4, 0, short), Err(Trap::MemoryOutOfBounds));
        assert_eq!(notify(&memory, 65536, 0), Err(Trap::MemoryOutOfBounds));
        assert_eq!(notify(&memory, 8, u32::MAX), Ok(0), "who timed out is gone");
        // Pauses end nothing, and who is woken in one is awake.
        let mut waiter = Waiter::join(&memory, 8, 4, 0, LONG).unwrap().unwrap();
        assert_eq!(waiter.park(short), None);
        assert_eq!(notify(&memory, 8, u32::MAX), Ok(1));
        assert_eq!(waiter.park(short), Some(WaitResult::Ok));
        drop(Waiter::join(&memory, 8, 4, 0, None).unwrap());
        assert_eq!(notify(&memory, 8, 1), Ok(0), "who left is gone");
    }

    #[test]
    fn hammer_of_waiters() {
        let memory = memory();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..8)
                .map(|n| {
                    let memory = &memory;
                    scope.spawn(move || wait(memory, 64 + 8 * (n % 2), 8, 0, LONG).unwrap())
                })
                .collect();
            let mut woken = 0;
            while woken < 8 {
                woken += notify(&memory, 64, 1).unwrap() + notify(&memory, 72, u32::MAX).unwrap();
                std::thread::yield_now();
            }
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == WaitResult::Ok));
        });
    }
}

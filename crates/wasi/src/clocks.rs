//! The clocks a guest sees.
//!
//! A host can replace them, to make runs repeatable. A clock of that kind does not advance while the
//! host sleeps, so it also says what waiting means: see [`HostMonotonicClock::absorb_wait`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sys::HostClock;

/// A clock that tells the time of day.
///
/// ```
/// use std::time::Duration;
/// use wardian_wasi::{HostWallClock, WasiCtxBuilder};
///
/// /// It is always New Year's Day of 2000.
/// struct Millennium;
///
/// impl HostWallClock for Millennium {
///     fn resolution(&self) -> Duration {
///         Duration::from_secs(1)
///     }
///
///     fn now(&self) -> Duration {
///         Duration::from_secs(946_684_800)
///     }
/// }
///
/// WasiCtxBuilder::new().wall_clock(Millennium).build_p1();
/// ```
pub trait HostWallClock: Send {
    /// The smallest step of this clock.
    fn resolution(&self) -> Duration;

    /// The time since 1970-01-01 00:00 UTC.
    fn now(&self) -> Duration;
}

/// A clock that never goes back, to measure and to wait by.
///
/// ```
/// use std::time::Instant;
/// use wardian_wasi::{HostMonotonicClock, WasiCtxBuilder};
///
/// /// Shows whole milliseconds, so that a guest cannot measure what takes less.
/// struct Coarse(Instant);
///
/// impl HostMonotonicClock for Coarse {
///     fn resolution(&self) -> u64 {
///         1_000_000
///     }
///
///     fn now(&self) -> u64 {
///         (1 + self.0.elapsed().as_millis() as u64) * 1_000_000
///     }
/// }
///
/// WasiCtxBuilder::new().monotonic_clock(Coarse(Instant::now())).build_p1();
/// ```
pub trait HostMonotonicClock: Send {
    /// The smallest step of this clock, in nanoseconds.
    fn resolution(&self) -> u64;

    /// Nanoseconds since some moment.
    fn now(&self) -> u64;

    /// Asks the clock to take a wait of `nanos` on itself. A clock that answers `true` has moved on by
    /// that much, and nobody sleeps; one that follows real time answers `false`.
    fn absorb_wait(&self, nanos: u64) -> bool {
        let _ = nanos;
        false
    }

    /// Processor time used, in nanoseconds: of the process, or of the calling thread. By default the
    /// time that this clock shows, so that a replaced clock leaves no other source of time.
    fn cpu_time(&self, of_thread: bool) -> u64 {
        let _ = of_thread;
        self.now()
    }
}

/// The system's time of day.
pub(crate) struct SystemWallClock;

impl HostWallClock for SystemWallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(HostClock::Realtime.resolution_ns())
    }

    fn now(&self) -> Duration {
        // A host clock before 1970 reads as 1970: preview 1 has no earlier time.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// The system's monotonic clock, counted from the moment the guest was set up. That moment reads as
/// one nanosecond: some language runtimes take zero for a broken clock.
pub(crate) struct SystemMonotonicClock {
    start: Instant,
}

impl SystemMonotonicClock {
    pub fn new() -> Self {
        SystemMonotonicClock { start: Instant::now() }
    }
}

impl HostMonotonicClock for SystemMonotonicClock {
    fn resolution(&self) -> u64 {
        HostClock::Monotonic.resolution_ns()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn cpu_time(&self, of_thread: bool) -> u64 {
        let clock = if of_thread { HostClock::ThreadCpu } else { HostClock::ProcessCpu };
        clock.now_ns().unwrap_or_else(|| self.now())
    }
}

/// A clock that stands still, except that waiting moves it: for tests and repeatable runs. It serves
/// as both kinds; clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use wardian_wasi::{FixedClock, HostWallClock, WasiCtxBuilder};
///
/// let clock = FixedClock::new(Duration::from_secs(1_000));
/// WasiCtxBuilder::new().wall_clock(clock.clone()).monotonic_clock(clock.clone()).build_p1();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(HostWallClock::now(&clock), Duration::from_secs(1_005));
/// ```
#[derive(Clone, Debug)]
pub struct FixedClock {
    nanos: Arc<AtomicU64>,
}

impl FixedClock {
    /// A clock that shows `since_epoch`.
    pub fn new(since_epoch: Duration) -> FixedClock {
        let nanos = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        FixedClock { nanos: Arc::new(AtomicU64::new(nanos)) }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.absorb_wait(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl HostWallClock for FixedClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
    }
}

impl HostMonotonicClock for FixedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.nanos.load(Ordering::SeqCst)
    }

    fn absorb_wait(&self, nanos: u64) -> bool {
        // Saturating: a guest may wait for longer than the clock can count.
        let _ = self.nanos.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            Some(now.saturating_add(nanos))
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clocks_run() {
        let wall = SystemWallClock;
        assert!(wall.now() > Duration::from_secs(1_600_000_000));
        assert!(wall.resolution() > Duration::ZERO);
        let monotonic = SystemMonotonicClock::new();
        let first = monotonic.now();
        assert!(first > 0);
        assert!(monotonic.now() >= first);
        assert!(monotonic.resolution() > 0);
        assert!(!monotonic.absorb_wait(5));
    }

    #[test]
    fn a_fixed_clock_moves_only_by_waiting() {
        let clock = FixedClock::new(Duration::from_secs(7));
        let twin = clock.clone();
        assert!(clock.absorb_wait(500));
        assert_eq!(HostMonotonicClock::now(&twin), 7_000_000_500);
        assert_eq!(twin.cpu_time(true), 7_000_000_500);
        assert!(clock.absorb_wait(u64::MAX));
        assert_eq!(HostMonotonicClock::now(&twin), u64::MAX);
    }
}

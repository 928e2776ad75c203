//! `poll_oneoff`: waiting for clocks and descriptors.
//!
//! All subscriptions are read first. Those that cannot be waited for (a bad descriptor, a clock that
//! does not exist) are events at once, with their error. Then, until there is an event: ask what is
//! ready, look at the clocks, and if nothing happened wait in the system until the next deadline.
//!
//! Events come in the order of their subscriptions. Work is bounded by the number of subscriptions,
//! which is bounded by `limits::SUBSCRIPTIONS`, for every time the host wakes up.

use std::time::Duration;

use wardian::{Budget, BudgetShare, GuestMemory};

use crate::ctx::{WasiP1Ctx, take};
use crate::descriptor::Kind;
use crate::limits;
use crate::stdio::StreamState;
use crate::sys::{self, HostFd, Interest};
use crate::types::{
    Abi, EVENT_SIZE, Errno, EventRwFlags, Rights, SUBSCRIPTION_MAX_BYTES, SubClockFlags, clockid,
    eventtype,
};

/// How often streams are asked that the system cannot wait for.
const PENDING_INTERVAL: Duration = Duration::from_millis(5);

/// What one subscription takes of the host while it is waited for, in all lists together; more than
/// enough.
const SUBSCRIPTION_BYTES: usize = 256;

/// One subscription, read and checked.
struct Subscription {
    userdata: u64,
    event_type: u8,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    /// When the monotonic clock shows this, in nanoseconds.
    Clock {
        deadline: u64,
    },
    Descriptor {
        fd: u32,
        interest: Interest,
    },
    /// Nothing to wait for: an event as it stands.
    Refused(Errno),
}

/// What goes into an event besides its subscription.
#[derive(Clone, Copy, Default)]
struct Outcome {
    error: Option<Errno>,
    bytes: u64,
    hangup: bool,
}

/// Whether something could be used now without blocking.
pub(crate) fn is_ready(kind: &Kind, interest: Interest) -> Result<bool, Errno> {
    Ok(match kind.state() {
        StreamState::Ready { .. } => true,
        StreamState::Pending => false,
        StreamState::Host(handle) => {
            let ready = sys::poll(&[(handle.0, interest)], Some(Duration::ZERO))?;
            // A system that cannot tell says nothing.
            ready.first().is_none_or(|ready| ready.ready)
        }
    })
}

/// A call that waits: what it asks for, and where its answer goes.
pub(crate) struct Poll {
    list: Vec<Subscription>,
    events: u32,
    nevents: u32,
    /// What the list takes of the host.
    _share: Option<BudgetShare>,
}

/// A list of subscriptions in the guest's memory, and places for the answer.
#[derive(Clone, Copy)]
pub(crate) struct PollArgs {
    pub(crate) subscriptions: u32,
    pub(crate) events: u32,
    pub(crate) count: u32,
    pub(crate) nevents: u32,
}

impl WasiP1Ctx {
    pub(crate) fn poll(
        &mut self,
        memory: &mut dyn GuestMemory,
        abi: Abi,
        args: PollArgs,
    ) -> Result<(), Errno> {
        let poll = self.begin_poll(memory, abi, args)?;
        self.finish_poll(memory, &poll)
    }

    /// Reads all subscriptions.
    pub(crate) fn begin_poll(
        &mut self,
        memory: &dyn GuestMemory,
        abi: Abi,
        PollArgs { subscriptions, events, count, nevents }: PollArgs,
    ) -> Result<Poll, Errno> {
        // spec: waiting for nothing is an error, as it would never end.
        if count == 0 || count > limits::SUBSCRIPTIONS {
            return Err(Errno::INVAL);
        }
        // Both lists whole: checking one element of each is not enough.
        let stride = abi.subscription().total_bytes as u64;
        memory.check(subscriptions.into(), u64::from(count) * stride)?;
        memory.check(events.into(), u64::from(count) * EVENT_SIZE)?;
        memory.check(nevents.into(), 4)?;

        self.bounce.moved += u64::from(count) * stride;
        let mut share = self.budget.as_ref().map(Budget::share);
        take(&mut share, count as usize * SUBSCRIPTION_BYTES)?;
        let mut list = Vec::with_capacity(count as usize);
        for index in 0..u64::from(count) {
            list.push(self.read_subscription(
                memory,
                abi,
                u64::from(subscriptions) + index * stride,
            )?);
        }
        Ok(Poll { list, events, nevents, _share: share })
    }

    /// For how long nothing can happen: until the first deadline, if all that is waited for is time. The
    /// caller may let it pass without this state.
    pub(crate) fn idle_time(&self, poll: &Poll) -> Option<Duration> {
        let deadline = |subscription: &Subscription| match subscription.target {
            Target::Clock { deadline } => Some(deadline),
            _ => None,
        };
        let deadlines: Option<Vec<u64>> = poll.list.iter().map(deadline).collect();
        let rest = deadlines?.into_iter().min()?.checked_sub(self.monotonic_clock.now())?;
        (!self.monotonic_clock.absorb_wait(rest)).then(|| Duration::from_nanos(rest))
    }

    /// Waits until there is an event, and writes all there are.
    pub(crate) fn finish_poll(
        &mut self,
        memory: &mut dyn GuestMemory,
        poll: &Poll,
    ) -> Result<(), Errno> {
        let outcomes = self.wait(&poll.list)?;
        let mut written = 0;
        for (subscription, outcome) in poll.list.iter().zip(outcomes) {
            let Some(outcome) = outcome else { continue };
            let at = u64::from(poll.events) + u64::from(written) * EVENT_SIZE;
            let mut bytes = [0; EVENT_SIZE as usize];
            bytes[0..8].copy_from_slice(&subscription.userdata.to_le_bytes());
            let error = outcome.error.map_or(0, Errno::code);
            bytes[8..10].copy_from_slice(&error.to_le_bytes());
            bytes[10] = subscription.event_type;
            bytes[16..24].copy_from_slice(&outcome.bytes.to_le_bytes());
            if outcome.hangup {
                let flags = EventRwFlags::FD_READWRITE_HANGUP.bits();
                bytes[24..26].copy_from_slice(&flags.to_le_bytes());
            }
            memory.write(at, &bytes)?;
            written += 1;
        }
        Ok(memory.write_u32(poll.nevents.into(), written)?)
    }

    fn read_subscription(
        &self,
        memory: &dyn GuestMemory,
        abi: Abi,
        at: u64,
    ) -> Result<Subscription, Errno> {
        let layout = abi.subscription();
        let mut buffer = [0; SUBSCRIPTION_MAX_BYTES];
        let bytes = &mut buffer[..layout.total_bytes];
        memory.read(at, bytes)?;
        let u32_at = |offset: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[offset + i]));
        let u64_at = |offset: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[offset + i]));
        let event_type = bytes[layout.tag];
        let target = match event_type {
            eventtype::CLOCK => {
                let flags = u16::from_le_bytes([bytes[layout.flags], bytes[layout.flags + 1]]);
                self.clock_target(u32_at(layout.clock_id), u64_at(layout.timeout), flags)
            }
            eventtype::FD_READ => self.descriptor_target(u32_at(layout.fd), Interest::Read),
            eventtype::FD_WRITE => self.descriptor_target(u32_at(layout.fd), Interest::Write),
            // The tag of a union: with another value, the rest means nothing.
            _ => return Err(Errno::INVAL),
        };
        let target = target.unwrap_or_else(Target::Refused);
        Ok(Subscription { userdata: u64_at(layout.userdata), event_type, target })
    }

    fn clock_target(&self, id: u32, timeout: u64, flags: u16) -> Result<Target, Errno> {
        let flags = SubClockFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        if id != clockid::REALTIME && id != clockid::MONOTONIC {
            // Time spent computing does not pass while waiting.
            return Err(Errno::INVAL);
        }
        // Every deadline becomes one of the monotonic clock, so that waiting ends whatever happens to
        // the time of day meanwhile.
        let span = if flags.contains(SubClockFlags::ABSTIME) {
            timeout.saturating_sub(self.clock_ns(id).ok_or(Errno::INVAL)?)
        } else {
            timeout
        };
        Ok(Target::Clock { deadline: self.monotonic_clock.now().saturating_add(span) })
    }

    fn descriptor_target(&self, fd: u32, interest: Interest) -> Result<Target, Errno> {
        let descriptor = self.table.get(fd)?;
        let right = match interest {
            Interest::Read => Rights::FD_READ,
            Interest::Write => Rights::FD_WRITE,
        };
        if matches!(descriptor.kind, Kind::Dir(_)) {
            return Err(Errno::BADF);
        }
        descriptor.need(Rights::POLL_FD_READWRITE)?;
        descriptor.need(right)?;
        Ok(Target::Descriptor { fd, interest })
    }

    /// Waits until something happened. The result has a place for every subscription.
    fn wait(&self, list: &[Subscription]) -> Result<Vec<Option<Outcome>>, Errno> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; list.len()];
        let mut timeout = Some(Duration::ZERO);
        loop {
            // The first time round nothing is waited for: what is ready now comes before deadlines,
            // but a deadline that has passed is an event as well.
            self.ask(list, timeout, &mut outcomes)?;
            let now = self.monotonic_clock.now();
            let mut next: Option<u64> = None;
            for (subscription, outcome) in list.iter().zip(&mut outcomes) {
                let Target::Clock { deadline } = subscription.target else {
                    continue;
                };
                if now >= deadline {
                    *outcome = Some(Outcome::default());
                } else {
                    let rest = deadline - now;
                    next = Some(next.map_or(rest, |next| next.min(rest)));
                }
            }
            if outcomes.iter().any(Option::is_some) {
                return Ok(outcomes);
            }
            timeout = match next {
                Some(next) if self.monotonic_clock.absorb_wait(next) => Some(Duration::ZERO),
                next => next.map(Duration::from_nanos),
            };
        }
    }

    /// Finds out which descriptors are ready, waiting for at most `timeout` until one is.
    fn ask(
        &self,
        list: &[Subscription],
        timeout: Option<Duration>,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Errno> {
        let mut host: Vec<(HostFd<'_>, Interest)> = Vec::new();
        let mut host_index = Vec::new();
        let mut ready = false;
        let mut pending = false;
        for (index, subscription) in list.iter().enumerate() {
            match subscription.target {
                Target::Clock { .. } => {}
                Target::Refused(error) => {
                    outcomes[index] = Some(Outcome { error: Some(error), ..Outcome::default() });
                    ready = true;
                }
                Target::Descriptor { fd, interest } => match self.table.get(fd)?.kind.state() {
                    StreamState::Ready { bytes, hangup } => {
                        let bytes = if interest == Interest::Read { bytes } else { 0 };
                        outcomes[index] = Some(Outcome { error: None, bytes, hangup });
                        ready = true;
                    }
                    StreamState::Pending => pending = true,
                    StreamState::Host(handle) => {
                        host.push((handle.0, interest));
                        host_index.push(index);
                    }
                },
            }
        }
        let timeout = if ready {
            Some(Duration::ZERO)
        } else if pending {
            Some(timeout.map_or(PENDING_INTERVAL, |timeout| timeout.min(PENDING_INTERVAL)))
        } else {
            timeout
        };
        if host.is_empty() {
            match timeout {
                Some(timeout) if timeout.is_zero() => {}
                Some(timeout) => std::thread::sleep(timeout),
                // No descriptor, no deadline: every subscription was refused, and is an event.
                None => {}
            }
            return Ok(());
        }
        let results = sys::poll(&host, timeout)?;
        for (index, result) in host_index.into_iter().zip(results) {
            if result.ready {
                let outcome = Outcome { error: None, bytes: result.bytes, hangup: result.hangup };
                outcomes[index] = Some(outcome);
            }
        }
        Ok(())
    }
}

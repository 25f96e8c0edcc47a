//! Clocks: the only place of picot that reads the time.
//!
//! A loop's time is a number of nanoseconds since its clock began. The coarse time is for measuring steps: it may lag by
//! a few milliseconds, and costs a few nanoseconds.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use picot_timers::saturating_nanos;

/// A clock that a loop can be [built](crate::Builder::clock) with, in place of the operating system's monotonic one.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{Clock, EventLoop, VirtualClock, run};
///
/// /// Runs at double speed.
/// #[derive(Clone, Debug)]
/// struct Fast(VirtualClock);
///
/// impl Clock for Fast {
///     fn now(&self) -> Duration {
///         self.0.now() * 2
///     }
/// }
/// # let clock = Fast(VirtualClock::new());
/// # let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
/// # event_loop.handle().call_later(Duration::from_secs(2), { let handle = event_loop.handle(); move || handle.stop() });
/// # clock.0.advance(Duration::from_secs(1));
/// # event_loop.run_forever().unwrap();
/// ```
pub trait Clock: fmt::Debug {
    /// The time since the clock's own origin. It never goes back. The loop asks often: it should cost no more than a few
    /// nanoseconds.
    fn now(&self) -> Duration;

    /// Whether time stands still until a test moves it, so that the loop has to [jump](Clock::jump) where it would have
    /// waited.
    fn is_virtual(&self) -> bool {
        false
    }

    /// Moves a virtual clock to the time `to`, the next deadline. Never called of others, nor with a time that has passed.
    fn jump(&self, to: Duration) {
        let _ = to;
    }
}

/// The clock that a loop uses.
#[derive(Debug)]
pub(crate) enum Timepiece {
    /// The common one, without a call through a table.
    Monotonic {
        origin: Origin,
    },
    Chosen(Rc<dyn Clock>),
}

impl Timepiece {
    /// The operating system's monotonic clock, from now on.
    pub(crate) fn monotonic() -> Timepiece {
        Timepiece::Monotonic { origin: Origin::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Timepiece::Monotonic { origin } => origin.elapsed(),
            Timepiece::Chosen(clock) => saturating_nanos(clock.now()),
        }
    }

    /// The clock, if it has to be moved.
    pub(crate) fn as_virtual(&self) -> Option<&dyn Clock> {
        match self {
            Timepiece::Monotonic { .. } => None,
            Timepiece::Chosen(clock) => clock.is_virtual().then_some(&**clock),
        }
    }

    /// The time that steps are measured by. Its origin is not that of [`now`](Timepiece::now).
    #[inline]
    pub(crate) fn coarse(&self) -> u64 {
        match self {
            #[cfg(target_os = "linux")]
            Timepiece::Monotonic { .. } => nanos(rustix::time::ClockId::MonotonicCoarse),
            #[cfg(not(target_os = "linux"))]
            Timepiece::Monotonic { .. } => self.now(),
            Timepiece::Chosen(_) => self.now(),
        }
    }

    /// How long this thread has run on a processor, if that is known and passes as this clock does. It costs a system call.
    pub(crate) fn processor(&self) -> Option<u64> {
        match self {
            #[cfg(target_os = "linux")]
            Timepiece::Monotonic { .. } => Some(nanos(rustix::time::ClockId::ThreadCPUTime)),
            #[cfg(not(target_os = "linux"))]
            Timepiece::Monotonic { .. } => None,
            Timepiece::Chosen(_) => None,
        }
    }
}

/// When a clock began.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Origin(u64);

/// The kernel's own numbers, because every sleep asks: less arithmetic than through std's.
#[cfg(target_os = "linux")]
impl Origin {
    fn now() -> Origin {
        Origin(nanos(rustix::time::ClockId::Monotonic))
    }

    #[inline]
    fn elapsed(&self) -> u64 {
        nanos(rustix::time::ClockId::Monotonic).saturating_sub(self.0)
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn nanos(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Origin(std::time::Instant);

#[cfg(not(target_os = "linux"))]
impl Origin {
    #[expect(clippy::disallowed_methods, reason = "this is the loop's clock")]
    fn now() -> Origin {
        Origin(std::time::Instant::now())
    }

    fn elapsed(&self) -> u64 {
        saturating_nanos(Origin::now().0.saturating_duration_since(self.0))
    }
}

/// A clock for tests. Its time passes only by [`advance`](VirtualClock::advance), and by jumping to the next deadline when
/// the loop has nothing else to do.
///
/// It jumps when nothing is ready, no blocking job is pending and no I/O is there; while a task waits for I/O, only after
/// that has not come for a while in real time ([`Builder::io_grace`](crate::Builder::io_grace)).
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{EventLoop, VirtualClock, sleep};
///
/// let clock = VirtualClock::new();
/// let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
/// event_loop.run_until_complete(sleep(Duration::from_secs(3600))).unwrap();
/// assert_eq!(clock.elapsed(), Duration::from_secs(3600)); // and no time has passed
/// ```
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    nanos: Rc<Cell<u64>>,
}

impl VirtualClock {
    /// A clock that stands at zero. Clones show the same time.
    pub fn new() -> VirtualClock {
        VirtualClock::default()
    }

    /// Lets time pass. Timers that become due by it run in the loop's next turn. A step that calls this is no slow step.
    pub fn advance(&self, by: Duration) {
        self.nanos.set(self.nanos.get().saturating_add(saturating_nanos(by)));
    }

    /// How much time has passed since the clock was made.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos.get())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.elapsed()
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn jump(&self, to: Duration) {
        self.nanos.set(self.nanos.get().max(saturating_nanos(to)));
    }
}

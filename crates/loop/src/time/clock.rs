//! Clocks: the only file of picot that reads the time.
//!
//! A loop's time is the number of nanoseconds since its clock began. The coarse time measures
//! steps: it may lag by a few milliseconds, and costs a few nanoseconds to read.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use picot_timers::saturating_nanos;

/// A clock for a loop, set by [`Builder::clock`](crate::Builder::clock).
///
/// The default is the operating system's monotonic clock.
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
/// # let handle = event_loop.handle();
/// # event_loop.handle().call_later(Duration::from_secs(2), move || handle.stop());
/// # clock.0.advance(Duration::from_secs(1));
/// # event_loop.run_forever().unwrap();
/// ```
pub trait Clock: fmt::Debug {
    /// Returns the time since the clock's own origin. It must never go back.
    ///
    /// The loop calls this often, so it should take no more than a few nanoseconds.
    fn now(&self) -> Duration;

    /// Whether the clock stands still by itself. Then the loop [jumps](Clock::jump) to the next
    /// deadline instead of waiting for it.
    fn is_virtual(&self) -> bool {
        false
    }

    /// Moves a virtual clock to the time `to`, the next deadline, which has not passed.
    ///
    /// The loop calls this only if [`is_virtual`](Clock::is_virtual) returns true.
    fn jump(&self, to: Duration) {
        let _ = to;
    }
}

/// The clock of a loop.
#[derive(Debug)]
pub(crate) enum Timepiece {
    /// The common case, without a virtual call.
    Monotonic {
        origin: Origin,
    },
    Chosen(Rc<dyn Clock>),
}

impl Timepiece {
    /// The operating system's monotonic clock, starting at zero now.
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

    /// The clock, if it is virtual.
    pub(crate) fn as_virtual(&self) -> Option<&dyn Clock> {
        match self {
            Timepiece::Monotonic { .. } => None,
            Timepiece::Chosen(clock) => clock.is_virtual().then_some(&**clock),
        }
    }

    /// The time that measures steps. Its origin differs from that of [`now`](Timepiece::now).
    #[inline]
    pub(crate) fn coarse(&self) -> u64 {
        match self {
            // A read of the vDSO page, without a system call and without reading the hardware
            // clock.
            #[cfg(target_os = "linux")]
            Timepiece::Monotonic { .. } => nanos(rustix::time::ClockId::MonotonicCoarse),
            #[cfg(not(target_os = "linux"))]
            Timepiece::Monotonic { .. } => self.now(),
            // A chosen clock has one resolution only.
            Timepiece::Chosen(_) => self.now(),
        }
    }

    /// The processor time of this thread, if the platform has it and it passes as this clock does.
    ///
    /// It costs a system call.
    pub(crate) fn thread_cpu_time(&self) -> Option<u64> {
        match self {
            #[cfg(target_os = "linux")]
            Timepiece::Monotonic { .. } => Some(nanos(rustix::time::ClockId::ThreadCPUTime)),
            #[cfg(not(target_os = "linux"))]
            Timepiece::Monotonic { .. } => None,
            Timepiece::Chosen(_) => None,
        }
    }
}

/// Two readings at one moment, of a loop's clock and of std's. They relate the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    std: std::time::Instant,
    nanos: u64,
}

impl Anchor {
    /// Reads std's clock first. So a time of std becomes one that is nanoseconds later, and no
    /// timer for it is early.
    #[expect(clippy::disallowed_methods, reason = "this file reads the time")]
    pub(crate) fn now(clock: &Timepiece) -> Anchor {
        let std = std::time::Instant::now();
        Anchor { std, nanos: clock.now() }
    }

    /// The loop's time of an instant of std. Saturates at the time when the loop's clock began.
    pub(crate) fn nanos(&self, instant: std::time::Instant) -> u64 {
        match instant.checked_duration_since(self.std) {
            Some(later) => self.nanos.saturating_add(saturating_nanos(later)),
            None => self.nanos.saturating_sub(saturating_nanos(self.std - instant)),
        }
    }

    /// The instant of std of a loop's time. `None` if std cannot represent it.
    pub(crate) fn std(&self, nanos: u64) -> Option<std::time::Instant> {
        match nanos.checked_sub(self.nanos) {
            Some(later) => self.std.checked_add(Duration::from_nanos(later)),
            None => self.std.checked_sub(Duration::from_nanos(self.nanos - nanos)),
        }
    }
}

/// The time at which a clock began.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Origin(u64);

// Reads the kernel's clock directly: each sleep does it, and std's type costs more arithmetic.
#[cfg(target_os = "linux")]
impl Origin {
    fn now() -> Origin {
        Origin(nanos(rustix::time::ClockId::Monotonic))
    }

    #[inline]
    fn elapsed(&self) -> u64 {
        // Saturating: a buggy hypervisor may let the clock go back.
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

/// A clock for tests: sleeps under it take no real time.
///
/// Its time passes by [`advance`](VirtualClock::advance), and by jumps to the next deadline when
/// the loop has nothing else to do: nothing is ready, no blocking job is pending, and no I/O has
/// arrived. While a task waits for I/O, the loop first waits for it in real time, for the
/// [`io_grace`](crate::Builder::io_grace).
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{EventLoop, VirtualClock, sleep};
///
/// let clock = VirtualClock::new();
/// let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
/// event_loop.run_until_complete(sleep(Duration::from_secs(3600))).unwrap();
/// assert_eq!(clock.elapsed(), Duration::from_secs(3600)); // in no real time
/// ```
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    nanos: Rc<Cell<u64>>,
}

impl VirtualClock {
    /// Makes a clock that stands at zero. Clones show the same time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::VirtualClock;
    ///
    /// let clock = VirtualClock::new();
    /// clock.clone().advance(Duration::from_secs(1));
    /// assert_eq!(clock.elapsed(), Duration::from_secs(1));
    /// ```
    pub fn new() -> VirtualClock {
        VirtualClock::default()
    }

    /// Moves the clock forward. Timers that become due run in the loop's next turn.
    ///
    /// A step that calls this is not reported as slow.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, VirtualClock};
    ///
    /// let clock = VirtualClock::new();
    /// let event_loop = EventLoop::builder().clock(&clock).build()?;
    /// event_loop.handle().call_later(Duration::from_secs(60), || println!("a minute later"));
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(1));
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn advance(&self, by: Duration) {
        self.nanos.set(self.nanos.get().saturating_add(saturating_nanos(by)));
    }

    /// The clock's time since it was made.
    ///
    /// ```
    /// assert!(picot_loop::VirtualClock::new().elapsed().is_zero());
    /// ```
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
        // `max`: a hook or a waker may have advanced the clock past the deadline meanwhile.
        self.nanos.set(self.nanos.get().max(saturating_nanos(to)));
    }
}

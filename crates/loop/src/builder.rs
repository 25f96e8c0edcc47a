//! What can be chosen when a loop is built.

use std::panic::Location;
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, VirtualClock};
use crate::error::LoopError;
use crate::event_loop::EventLoop;

/// Options of a loop; made by [`EventLoop::builder`].
///
/// ```
/// use std::time::Duration;
/// use picot_loop::EventLoop;
///
/// let event_loop = EventLoop::builder().slow_step(Duration::from_millis(20)).blocking_threads(4).build()?;
/// # Ok::<(), picot_loop::LoopError>(())
/// ```
#[derive(Debug)]
#[must_use = "no loop is built until `build` is called"]
pub struct Builder {
    pub(crate) clock: Option<VirtualClock>,
    pub(crate) slow_step: Duration,
    pub(crate) grace: Duration,
    pub(crate) blocking_threads: usize,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Builder {
            clock: None,
            slow_step: Duration::from_millis(100),
            grace: Duration::from_millis(10),
            // As Python's ThreadPoolExecutor: a few more than there are cores, as most of them wait.
            blocking_threads: (cores + 4).min(32),
        }
    }

    /// Uses a virtual clock instead of the operating system's monotonic one.
    #[doc(alias = "time")]
    pub fn clock(self, clock: &VirtualClock) -> Builder {
        Builder { clock: Some(clock.clone()), ..self }
    }

    /// Reports every step (a poll of a task, or a callback) that takes this long or longer; 100 ms unless set.
    /// `Duration::MAX` reports none. Steps are timed by the loop's coarse clock, which on Linux is exact to one tick of the
    /// kernel, a few milliseconds.
    #[doc(alias = "slow_callback_duration")]
    pub fn slow_step(self, limit: Duration) -> Builder {
        Builder { slow_step: limit, ..self }
    }

    /// How long, in real time, a virtual clock waits for I/O that a task waits for before it jumps; 10 ms unless set.
    pub fn grace(self, grace: Duration) -> Builder {
        Builder { grace, ..self }
    }

    /// The number of threads that [`spawn_blocking`](crate::spawn_blocking) may use; unless set, four more than there are
    /// cores, and at most 32.
    ///
    /// # Panics
    /// [`build`](Builder::build) does, if it is 0.
    pub fn blocking_threads(self, threads: usize) -> Builder {
        Builder { blocking_threads: threads, ..self }
    }

    /// Builds the loop on this thread.
    ///
    /// # Errors
    /// As for [`EventLoop::new`].
    #[track_caller]
    pub fn build(self) -> Result<EventLoop, LoopError> {
        EventLoop::build(self, Location::caller())
    }

    pub(crate) fn make_clock(&self) -> Clock {
        match &self.clock {
            Some(clock) => Clock::Virtual(clock.clone()),
            None => Clock::monotonic(),
        }
    }
}

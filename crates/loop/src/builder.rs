//! What can be chosen when a loop is built.

use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use picot_reactor::Reactor;
use picot_reactor::driver::Driver;

use crate::clock::{Clock, Timepiece};
use crate::error::LoopError;
use crate::event_loop::EventLoop;
use crate::watchdog::{Stuck, WatchdogOptions};

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
    clock: Option<Rc<dyn Clock>>,
    reactor: Option<Reactor>,
    pub(crate) slow_step: Duration,
    pub(crate) grace: Duration,
    pub(crate) fails_at_dead_ends: bool,
    pub(crate) patience: Duration,
    pub(crate) blocking_threads: usize,
    pub(crate) lookup_threads: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) measures_wakes: bool,
    pub(crate) watchdog: Option<WatchdogOptions>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Builder {
            clock: None,
            reactor: None,
            slow_step: Duration::from_millis(100),
            grace: Duration::from_millis(10),
            fails_at_dead_ends: false,
            patience: Duration::from_secs(1),
            // As Python's ThreadPoolExecutor: a few more than there are cores, as most of them wait.
            blocking_threads: (cores + 4).min(32),
            // As many as libuv has for all of its work.
            lookup_threads: 4,
            seed: None,
            measures_wakes: false,
            watchdog: None,
        }
    }

    /// Uses another clock than the operating system's monotonic one, such as a [`VirtualClock`](crate::VirtualClock). The
    /// loop keeps a clone.
    #[doc(alias = "time")]
    pub fn clock(self, clock: &(impl Clock + Clone + 'static)) -> Builder {
        Builder { clock: Some(Rc::new(clock.clone())), ..self }
    }

    /// Waits for I/O by another driver than the platform's: `poll(2)` in place of epoll, one that fails now and then for tests,
    /// or one of your own.
    ///
    /// ```
    /// use picot_loop::EventLoop;
    /// use picot_reactor::driver::Portable;
    ///
    /// let event_loop = EventLoop::builder().driver(Portable::new()?).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "SelectorEventLoop")]
    pub fn driver(self, driver: impl Driver + 'static) -> Builder {
        Builder { reactor: Some(Reactor::with_driver(driver)), ..self }
    }

    /// Reports every step (a poll of a task, or a callback) that takes this long or longer; 100 ms unless set.
    /// `Duration::MAX` reports none. Steps are timed by the loop's coarse clock, which on Linux is exact to one tick of the
    /// kernel, a few milliseconds.
    #[doc(alias = "slow_callback_duration")]
    pub fn slow_step(self, limit: Duration) -> Builder {
        Builder { slow_step: limit, ..self }
    }

    /// Makes a dead end an error of [`run_until_complete`](EventLoop::run_until_complete):
    /// [`RunError::DeadEnd`](crate::RunError::DeadEnd). Unless this is called, it is one only where no other thread exists that
    /// could bring the loop on; otherwise the dead end is reported, and the loop keeps waiting. `#[picot::test]` calls this.
    ///
    /// A dead end is a loop in which tasks are left, but nothing is ready, no timer is set, no task waits for I/O and no
    /// blocking job is pending.
    pub fn fail_at_dead_ends(self) -> Builder {
        Builder { fails_at_dead_ends: true, ..self }
    }

    /// How long, in real time, a loop waits for other threads before it takes a dead end for one; 1 second unless set.
    /// Where there is no other thread, it does not wait.
    pub fn patience(self, patience: Duration) -> Builder {
        Builder { patience, ..self }
    }

    /// Shuffles what is queued in each turn, by a sequence that only the seed decides. Whatever wrongly relies on an order among
    /// things that became ready together is found by running it with a few hundred seeds; the same seed gives the same order
    /// again.
    pub fn seed(self, seed: u64) -> Builder {
        Builder { seed: Some(seed), ..self }
    }

    /// Measures how long what a wait has woken waits for its turn: [`Snapshot::wake_to_run`](crate::Snapshot::wake_to_run). It
    /// costs two looks at the clock a turn, and so is not done unless it is asked for.
    pub fn measure_wakes(self) -> Builder {
        Builder { measures_wakes: true, ..self }
    }

    /// Starts a thread that calls `hook` when a step has taken longer than `limit` and still runs: once a step, at the earliest
    /// after `limit`, at the latest after twice that. [`slow_step`](Builder::slow_step) tells of a step when it has ended, at next
    /// to no cost; this is for steps that may never end, and costs a thread, and two locks a step.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::EventLoop;
    ///
    /// let event_loop = EventLoop::builder().watchdog(Duration::from_secs(1), |stuck| eprintln!("{stuck}")).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    ///
    /// # Panics
    /// If `limit` is zero.
    pub fn watchdog(self, limit: Duration, hook: impl FnMut(&Stuck) + Send + 'static) -> Builder {
        assert!(!limit.is_zero(), "a watchdog needs a limit: every step takes longer than none");
        Builder { watchdog: Some(WatchdogOptions { limit, hook: Box::new(hook) }), ..self }
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
    #[doc(alias = "set_default_executor")]
    pub fn blocking_threads(self, threads: usize) -> Builder {
        Builder { blocking_threads: threads, ..self }
    }

    /// The number of threads for name lookups that are still wanted; 4 unless set. A lookup that was given up and runs on
    /// counts as one only once there are very many of them.
    ///
    /// # Panics
    /// [`build`](Builder::build) does, if it is 0.
    pub fn lookup_threads(self, threads: usize) -> Builder {
        Builder { lookup_threads: threads, ..self }
    }

    /// Builds the loop on this thread.
    ///
    /// # Errors
    /// As for [`EventLoop::new`].
    #[track_caller]
    pub fn build(self) -> Result<EventLoop, LoopError> {
        EventLoop::build(self, Location::caller())
    }

    /// Builds a loop on this thread, runs it until `future` is done, and closes it: [`run`](crate::run) with options.
    ///
    /// # Panics
    /// As [`run`](crate::run).
    ///
    /// ```
    /// use picot_loop::{EventLoop, VirtualClock, sleep};
    ///
    /// // No time passes.
    /// EventLoop::builder().clock(&VirtualClock::new()).run(async { sleep(std::time::Duration::from_secs(3600)).await });
    /// ```
    #[track_caller]
    pub fn run<F: Future>(self, future: F) -> F::Output {
        let event_loop = match self.build() {
            Ok(event_loop) => event_loop,
            Err(error) => panic!("{error}"),
        };
        match event_loop.run_until_complete(future) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// The reactor on the driver that was chosen, or on the platform's.
    pub(crate) fn reactor(&self) -> io::Result<Reactor> {
        self.reactor.clone().map_or_else(Reactor::new, Ok)
    }

    pub(crate) fn timepiece(&self) -> Timepiece {
        self.clock.clone().map_or_else(Timepiece::monotonic, Timepiece::Chosen)
    }
}

//! What can be chosen when a loop is built.

use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use picot_reactor::Reactor;
use picot_reactor::driver::Driver;

use crate::diagnose::watchdog::{Stuck, WatchdogOptions};
use crate::error::LoopError;
use crate::event_loop::EventLoop;
use crate::options::Options;
use crate::time::clock::Clock;

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
    options: Options,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder { options: Options::new() }
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Builder {
        set(&mut self.options);
        self
    }

    /// Uses another clock than the operating system's monotonic one, such as a [`VirtualClock`](crate::VirtualClock). The
    /// loop keeps a clone.
    #[doc(alias = "time")]
    pub fn clock(self, clock: &(impl Clock + Clone + 'static)) -> Builder {
        self.with(|options| options.clock = Some(Rc::new(clock.clone())))
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
        self.with(|options| options.reactor = Some(Reactor::with_driver(driver)))
    }

    /// Reports every step (a poll of a task, or a callback) that takes this long or longer; 100 ms unless set.
    /// `Duration::MAX` reports none. Steps are timed by the loop's coarse clock, which on Linux is exact to one tick of the
    /// kernel, a few milliseconds.
    #[doc(alias = "slow_callback_duration")]
    pub fn slow_step(self, limit: Duration) -> Builder {
        self.with(|options| options.slow_step = limit)
    }

    /// Makes a dead end an error of [`run_until_complete`](EventLoop::run_until_complete):
    /// [`RunError::DeadEnd`](crate::RunError::DeadEnd). Unless this is called, it is one only where no other thread exists that
    /// could bring the loop on; otherwise the dead end is reported, and the loop keeps waiting. `#[picot::test]` calls this.
    ///
    /// A dead end is a loop in which tasks are left, but nothing is ready, no timer is set, no task waits for I/O and no
    /// blocking job is pending.
    pub fn fail_at_dead_ends(self) -> Builder {
        self.with(|options| options.fails_at_dead_ends = true)
    }

    /// How long, in real time, a loop waits for other threads before it takes a dead end for one; 1 second unless set.
    /// Where there is no other thread, it does not wait.
    pub fn patience(self, patience: Duration) -> Builder {
        self.with(|options| options.patience = patience)
    }

    /// Shuffles what is queued in each turn, by a sequence that only the seed decides. Whatever wrongly relies on an order among
    /// things that became ready together is found by running it with a few hundred seeds; the same seed gives the same order
    /// again.
    pub fn seed(self, seed: u64) -> Builder {
        self.with(|options| options.seed = Some(seed))
    }

    /// Measures how long what a wait has woken waits for its turn: [`Snapshot::wake_to_run`](crate::Snapshot::wake_to_run). It
    /// costs two looks at the clock a turn, and so is not done unless it is asked for.
    pub fn measure_wakes(self) -> Builder {
        self.with(|options| options.measures_wakes = true)
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
        self.with(|options| options.watchdog = Some(WatchdogOptions { limit, hook: Box::new(hook) }))
    }

    /// How long, in real time, a virtual clock waits for I/O that a task waits for before it jumps; 10 ms unless set.
    pub fn grace(self, grace: Duration) -> Builder {
        self.with(|options| options.grace = grace)
    }

    /// The number of threads that [`spawn_blocking`](crate::spawn_blocking) may use; unless set, four more than there are
    /// cores, and at most 32.
    ///
    /// # Panics
    /// [`build`](Builder::build) does, if it is 0.
    #[doc(alias = "set_default_executor")]
    pub fn blocking_threads(self, threads: usize) -> Builder {
        self.with(|options| options.blocking_threads = threads)
    }

    /// The number of threads for name lookups that are still wanted; 4 unless set. A lookup that was given up and runs on
    /// counts as one only once there are very many of them.
    ///
    /// # Panics
    /// [`build`](Builder::build) does, if it is 0.
    pub fn lookup_threads(self, threads: usize) -> Builder {
        self.with(|options| options.lookup_threads = threads)
    }

    /// Builds the loop on this thread.
    ///
    /// # Errors
    /// As for [`EventLoop::new`].
    #[track_caller]
    pub fn build(self) -> Result<EventLoop, LoopError> {
        EventLoop::build(self.options, Location::caller())
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
}

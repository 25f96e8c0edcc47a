//! The builder: the options of a loop.

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
/// The options, by purpose:
/// - time: [`clock`](Self::clock), [`io_grace`](Self::io_grace)
/// - I/O: [`driver`](Self::driver)
/// - threads: [`blocking_threads`](Self::blocking_threads),
///   [`lookup_threads`](Self::lookup_threads)
/// - steps that take too long: [`slow_step_limit`](Self::slow_step_limit),
///   [`watchdog`](Self::watchdog)
/// - deadlocks: [`error_on_deadlock`](Self::error_on_deadlock),
///   [`deadlock_delay`](Self::deadlock_delay)
/// - figures: [`record_wake_latency`](Self::record_wake_latency)
/// - tests of the order: [`shuffle_seed`](Self::shuffle_seed)
///
/// ```
/// use std::time::Duration;
/// use picot_loop::EventLoop;
///
/// let limit = Duration::from_millis(20);
/// let event_loop = EventLoop::builder().slow_step_limit(limit).blocking_threads(4).build()?;
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

    /// Sets the loop's clock, such as a [`VirtualClock`](crate::VirtualClock). The loop keeps a
    /// clone.
    ///
    /// The default is the operating system's monotonic clock.
    ///
    /// ```
    /// use picot_loop::{EventLoop, VirtualClock};
    ///
    /// let clock = VirtualClock::new();
    /// let event_loop = EventLoop::builder().clock(&clock).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[doc(alias = "time")]
    pub fn clock(self, clock: &(impl Clock + Clone + 'static)) -> Builder {
        self.with(|options| options.clock = Some(Rc::new(clock.clone())))
    }

    /// Sets the driver that waits for I/O: `poll(2)` instead of epoll, a failing driver for tests,
    /// or your own.
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

    /// Reports each step (a poll of a task, or a callback) that takes `limit` or longer.
    ///
    /// The default is 100 ms; `Duration::MAX` reports no step. The loop times steps by its coarse
    /// clock, which on Linux is exact to a tick of the kernel: a few milliseconds.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let limit = Duration::from_millis(20);
    /// let event_loop = picot_loop::EventLoop::builder().slow_step_limit(limit).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[doc(alias = "slow_callback_duration")]
    pub fn slow_step_limit(self, limit: Duration) -> Builder {
        self.with(|options| options.slow_step_limit = limit)
    }

    /// Makes a deadlock an error of [`run_until_complete`](EventLoop::run_until_complete):
    /// [`RunError::DeadEnd`](crate::RunError::DeadEnd).
    ///
    /// A deadlock is a loop in which tasks are left, but nothing is ready, no timer is set, no task
    /// waits for I/O and no blocking job is pending. Without this option, it is an error only where
    /// no other thread exists that could wake a task; otherwise the loop reports it and waits on.
    /// `#[picot::test]` sets this option.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, RunError};
    ///
    /// let strict = EventLoop::builder().error_on_deadlock().deadlock_delay(Duration::ZERO);
    /// let event_loop = strict.build()?;
    /// # event_loop.handle().set_error_hook(|_| ());
    /// let pending = std::future::pending::<()>();
    /// assert_eq!(event_loop.run_until_complete(pending), Err(RunError::DeadEnd));
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn error_on_deadlock(self) -> Builder {
        self.with(|options| options.error_on_deadlock = true)
    }

    /// Sets how long, in real time, the loop waits for other threads before it reports a deadlock.
    ///
    /// The default is 1 second. Where no other thread exists, the loop reports the deadlock at
    /// once.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let delay = Duration::from_secs(5);
    /// let event_loop = picot_loop::EventLoop::builder().deadlock_delay(delay).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn deadlock_delay(self, delay: Duration) -> Builder {
        self.with(|options| options.deadlock_delay = delay)
    }

    /// Shuffles the queue of each turn, by a sequence that depends only on `seed`.
    ///
    /// Run a test with a few hundred seeds to find code that wrongly relies on an order among
    /// things that become ready together. The same seed gives the same order again.
    ///
    /// ```
    /// for seed in 0..10 {
    ///     picot_loop::EventLoop::builder().shuffle_seed(seed).run(async {
    ///         // … the code under test
    ///     });
    /// }
    /// ```
    pub fn shuffle_seed(self, seed: u64) -> Builder {
        self.with(|options| options.seed = Some(seed))
    }

    /// Measures the time from the end of a wait until everything that it woke has run.
    ///
    /// [`Snapshot::wake_to_run`](crate::Snapshot::wake_to_run) shows it.
    ///
    /// Off by default, because it reads the clock twice per turn.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::builder().record_wake_latency().build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn record_wake_latency(self) -> Builder {
        self.with(|options| options.record_wake_latency = true)
    }

    /// Measures the steps of each task, which [`dump`](crate::dump()) then shows; see
    /// [`LoopHandle::record_steps`](crate::LoopHandle::record_steps).
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::builder().record_steps().build()?;
    /// event_loop.run_until_complete(async {
    ///     let dump = picot_loop::dump();
    ///     assert!(dump.tasks[0].steps.is_some());
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_steps(self) -> Builder {
        self.with(|options| options.record_steps = true)
    }

    /// Starts a thread that calls `hook` while a step runs longer than `limit`.
    ///
    /// The thread calls `hook` once for such a step, between `limit` and twice `limit` after the
    /// step began. [`slow_step_limit`](Builder::slow_step_limit) reports a step at its end, at
    /// nearly no cost. The watchdog is for steps that may never end; it costs a thread, and two
    /// locks per step.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::EventLoop;
    ///
    /// let limit = Duration::from_secs(1);
    /// let watched = EventLoop::builder().watchdog(limit, |stuck| eprintln!("{stuck}"));
    /// let event_loop = watched.build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    ///
    /// # Panics
    /// If `limit` is zero.
    pub fn watchdog(self, limit: Duration, hook: impl FnMut(&Stuck) + Send + 'static) -> Builder {
        assert!(!limit.is_zero(), "the watchdog's limit is zero, so every step would exceed it: pass a longer limit");
        self.with(|options| options.watchdog = Some(WatchdogOptions { limit, hook: Box::new(hook) }))
    }

    /// Sets how long, in real time, a virtual clock waits for I/O before it jumps to the next
    /// deadline.
    ///
    /// The default is 10 ms. It matters only while a task waits for I/O under a clock that
    /// [is virtual](Clock::is_virtual).
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, VirtualClock};
    ///
    /// let clock = VirtualClock::new();
    /// let grace = Duration::from_millis(50);
    /// let event_loop = EventLoop::builder().clock(&clock).io_grace(grace).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn io_grace(self, grace: Duration) -> Builder {
        self.with(|options| options.io_grace = grace)
    }

    /// Sets the number of threads that [`spawn_blocking`](crate::spawn_blocking) may use.
    ///
    /// The default is four more than the number of processor cores, and at most 32.
    ///
    /// # Panics
    /// [`build`](Builder::build) panics if `threads` is 0.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::builder().blocking_threads(2).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[doc(alias = "set_default_executor")]
    pub fn blocking_threads(self, threads: usize) -> Builder {
        self.with(|options| options.blocking_threads = Some(threads))
    }

    /// Sets the number of threads for name lookups; the default is 4.
    ///
    /// The lane replaces the thread of a lookup that was cancelled and still runs, up to a bound.
    ///
    /// # Panics
    /// [`build`](Builder::build) panics if `threads` is 0.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::builder().lookup_threads(2).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn lookup_threads(self, threads: usize) -> Builder {
        self.with(|options| options.lookup_threads = threads)
    }

    /// Builds the loop on this thread.
    ///
    /// # Errors
    /// As [`EventLoop::new`].
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::builder().build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[track_caller]
    pub fn build(self) -> Result<EventLoop, LoopError> {
        EventLoop::build(self.options, Location::caller())
    }

    /// Builds a loop on this thread, runs it until `future` is done, and closes it.
    ///
    /// [`run`](crate::run) with options.
    ///
    /// # Panics
    /// As [`run`](crate::run).
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, VirtualClock, sleep};
    ///
    /// let virtual_time = EventLoop::builder().clock(&VirtualClock::new());
    /// virtual_time.run(async { sleep(Duration::from_secs(3600)).await }); // takes no real time
    /// ```
    #[track_caller]
    pub fn run<F: IntoFuture>(self, future: F) -> F::Output {
        let event_loop = match self.build() {
            Ok(event_loop) => event_loop,
            Err(error) => panic!("{error}"),
        };
        // Dropping the loop closes it, also if this panics.
        match event_loop.run_until_complete(future) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }
}

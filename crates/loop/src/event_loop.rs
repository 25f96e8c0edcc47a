//! The loop as its owner uses it: build, run, stop, close.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use picot_context::{HostGuard, Place};

use crate::builder::Builder;
use crate::close::{CloseReport, close};
use crate::current::{current, set_current};
use crate::diagnose::watchdog::Watchdog;
use crate::error::{LoopError, RunError};
use crate::handle::LoopHandle;
use crate::inner::Inner;
use crate::options::Options;

/// An event loop: the one of the thread that built it.
///
/// It is this thread's loop from the moment it is built until it is closed. Dropping it closes it.
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(picot_loop::EventLoop::new()); // it stays on its thread
/// ```
#[doc(alias = "AbstractEventLoop")]
#[doc(alias = "SelectorEventLoop")]
#[doc(alias = "Runner")]
pub struct EventLoop {
    pub(crate) inner: Rc<Inner>,
    /// The loop is its thread's host until it is closed.
    host: Cell<Option<HostGuard>>,
}

impl EventLoop {
    /// Builds a loop on this thread, with the defaults.
    ///
    /// # Errors
    /// [`LoopError::Exists`] if the thread has a loop that is not closed; [`LoopError::Io`] if the operating system does not
    /// give what a loop needs.
    #[doc(alias = "new_event_loop")]
    #[track_caller]
    pub fn new() -> Result<EventLoop, LoopError> {
        EventLoop::build(Options::new(), Location::caller())
    }

    /// Options for a loop.
    #[doc(alias = "loop_factory")]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn build(options: Options, built_at: Place) -> Result<EventLoop, LoopError> {
        // A loop that a fork copied belongs to the parent process; this one may build its own.
        if let Some(existing) = current().filter(|existing| !existing.inner.reactor.is_forked()) {
            return Err(LoopError::Exists { built_at: existing.inner.built_at });
        }
        let inner = Rc::new(Inner::new(&options, built_at)?);
        inner.executor.shuffle(options.seed);
        if let Some(options) = options.watchdog {
            inner.watchdog.replace(Some(Rc::new(Watchdog::start(options, &inner.reactor)?)));
            LoopHandle { inner: inner.clone() }.install_hooks(None);
        }
        let host = picot_context::install(Rc::new(inner.executor.spawner().clone()));
        set_current(Some(LoopHandle { inner: inner.clone() }));
        Ok(EventLoop { inner, host: Cell::new(Some(host)) })
    }

    /// The handle of this loop on its thread.
    #[doc(alias = "get_loop")]
    pub fn handle(&self) -> LoopHandle {
        LoopHandle { inner: self.inner.clone() }
    }

    /// Runs the loop until `future` is done, and returns its value. The future is a task as the others, by the name `main`;
    /// it may borrow. Other tasks that are not done stay as they are, for the next run.
    ///
    /// # Errors
    /// [`RunError::Stopped`] if the loop was [stopped](LoopHandle::stop) first. The future is dropped then; to go on with it
    /// in a later run, pass `pin!(future).as_mut()`. [`RunError::DeadEnd`] if the loop cannot go on and no other thread exists
    /// that could bring it on, or the builder says so. [`RunError::Closed`], [`RunError::Nested`] and [`RunError::Forked`] as
    /// they say.
    ///
    /// # Panics
    /// With the panic of the future.
    #[track_caller]
    pub fn run_until_complete<F: IntoFuture>(&self, future: F) -> Result<F::Output, RunError> {
        let _running = self.begin()?;
        let mut root = pin!(self.inner.executor.root(Location::caller(), future.into_future()));
        self.inner.stats.has_root.set(true);
        loop {
            let steps = self.inner.turn(Some(root.as_mut()), None);
            if let Some(output) = root.as_mut().take_output() {
                return Ok(output);
            }
            if self.inner.is_stopping.get() {
                return Err(RunError::Stopped);
            }
            self.inner.check_process()?;
            // If another thread has come at the last moment, it goes on.
            if self.inner.stats.is_at_dead_end.take() && steps == 0 {
                return Err(RunError::DeadEnd);
            }
        }
    }

    /// Runs the loop until it is [stopped](LoopHandle::stop).
    ///
    /// # Errors
    /// [`RunError::Closed`], [`RunError::Nested`] and [`RunError::Forked`] as they say.
    pub fn run_forever(&self) -> Result<(), RunError> {
        let _running = self.begin()?;
        loop {
            self.inner.turn(None, None);
            self.inner.check_process()?;
            if self.inner.is_stopping.get() {
                return Ok(());
            }
        }
    }

    /// Stops the loop; see [`LoopHandle::stop`].
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Whether the loop runs, somewhere up this thread's stack.
    pub fn is_running(&self) -> bool {
        self.inner.is_running.get()
    }

    /// Closes the loop: drops everything that is left, on this thread, and says what that was. After that the thread may
    /// have another loop, and everything that needs this one is an error. Closing twice is fine.
    ///
    /// The order: callbacks of timers; then what is queued, callbacks and tasks, in its order; then the other tasks, in the
    /// order in which they were spawned. With a task goes its blocking job, if that has not started; those that run are not
    /// waited for. Sources close when their owners drop them.
    ///
    /// # Errors
    /// [`RunError::Nested`] if it runs, somewhere up this thread's stack.
    pub fn close(&self) -> Result<CloseReport, RunError> {
        self.close_within(Duration::ZERO)
    }

    /// [Closes](EventLoop::close) the loop, and waits for the blocking jobs that run, for at most `limit`. The report names those
    /// that run on after it. Name lookups are not waited for.
    ///
    /// # Errors
    /// As for [`close`](EventLoop::close).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let job = event_loop.handle().spawn_blocking(|| std::thread::yield_now());
    /// drop(job);
    /// assert!(event_loop.close_within(Duration::from_secs(10)).unwrap().running_jobs.is_empty());
    /// ```
    #[doc(alias = "shutdown_default_executor")]
    pub fn close_within(&self, limit: Duration) -> Result<CloseReport, RunError> {
        if self.is_running() {
            return Err(RunError::Nested);
        }
        // What is dropped while it closes may close it again, and still has a host after that.
        if self.inner.status.close() {
            return Ok(CloseReport::default());
        }
        // A foreign loop that waits learns of it by the error of its next turn.
        self.inner.ring_host();
        let report = close(&self.inner, limit);
        drop(self.host.take());
        Ok(report)
    }

    /// Marks the loop as running, until what this returns is dropped.
    pub(crate) fn begin(&self) -> Result<Running<'_>, RunError> {
        self.inner.check_process()?;
        if self.inner.status.is_closed() {
            return Err(RunError::Closed);
        }
        if self.inner.is_running.replace(true) {
            return Err(RunError::Nested);
        }
        self.inner.begin_run();
        Ok(Running(&self.inner))
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // Fails only while a run lasts, which borrows the loop: it cannot be dropped then.
        let _ = self.close();
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("running", &self.is_running())
            .field("closed", &self.inner.status.is_closed())
            .field("built_at", &format_args!("{}", self.inner.built_at))
            .finish_non_exhaustive()
    }
}

/// A run, which ends when this is dropped, also while unwinding. A stop is for one run.
pub(crate) struct Running<'a>(&'a Inner);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.stats.has_root.replace(false) {
            self.0.timers.borrow_mut().shrink();
        }
        self.0.is_running.set(false);
        self.0.is_stopping.set(false);
    }
}

/// Builds a loop on this thread, runs it until `future` is done, and closes it (asyncio's `run`).
///
/// # Panics
/// If this thread has a loop, or none can be built, or it is stopped before the future is done, or cannot go on. With the
/// panic of the future.
///
/// ```
/// let answer = picot_loop::run(async { 6 * 7 });
/// assert_eq!(answer, 42);
/// ```
#[track_caller]
pub fn run<F: IntoFuture>(future: F) -> F::Output {
    Builder::new().run(future)
}

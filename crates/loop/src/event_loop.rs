//! The loop for its owner: build, run, stop, close.

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
use crate::turn::Turns;

/// An event loop of the thread that built it.
///
/// It is this thread's loop from the moment it is built until it is closed. Dropping it closes it.
///
/// ```
/// use picot_loop::EventLoop;
///
/// let event_loop = EventLoop::new()?;
/// let answer = event_loop.run_until_complete(async { 6 * 7 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is not `Send`:
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
    /// [`LoopError::Exists`] if the thread has a loop that is not closed. [`LoopError::Io`] if the
    /// operating system refuses a resource.
    ///
    /// ```
    /// use picot_loop::{EventLoop, LoopError};
    ///
    /// let event_loop = EventLoop::new()?;
    /// assert!(matches!(EventLoop::new(), Err(LoopError::Exists { .. })));
    /// # Ok::<(), LoopError>(())
    /// ```
    #[doc(alias = "new_event_loop")]
    #[track_caller]
    pub fn new() -> Result<EventLoop, LoopError> {
        EventLoop::build(Options::new(), Location::caller())
    }

    /// Returns the options of a loop, to set and then to [build](Builder::build).
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::builder().blocking_threads(2).build()?;
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[doc(alias = "loop_factory")]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn build(options: Options, built_at: Place) -> Result<EventLoop, LoopError> {
        // After a fork, the copied loop belongs to the parent process. The child may build its own.
        if let Some(existing) = current().filter(|existing| !existing.inner.reactor.is_forked()) {
            return Err(LoopError::Exists { built_at: existing.inner.built_at });
        }
        let inner = Rc::new(Inner::new(&options, built_at)?);
        inner.executor.shuffle(options.seed);
        if options.record_steps {
            LoopHandle { inner: inner.clone() }.record_steps(true);
        }
        if let Some(options) = options.watchdog {
            inner.watchdog.replace(Some(Rc::new(Watchdog::start(options, &inner.reactor)?)));
            LoopHandle { inner: inner.clone() }.install_hooks();
        }
        // From here on, the leaf crates find the loop as this thread's host.
        let host = picot_context::install(Rc::new(inner.executor.spawner().clone()));
        set_current(Some(LoopHandle { inner: inner.clone() }));
        Ok(EventLoop { inner, host: Cell::new(Some(host)) })
    }

    /// Returns a handle of this loop for its own thread.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.handle().call_soon(|| println!("in the next turn"));
    /// assert_eq!(event_loop.turn(None), Ok(1));
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[doc(alias = "get_loop")]
    pub fn handle(&self) -> LoopHandle {
        LoopHandle { inner: self.inner.clone() }
    }

    /// Runs the loop until `future` is done, and returns its value.
    ///
    /// The future runs as a task with the name `main`. It may borrow. Tasks that are not done stay
    /// for the next run.
    ///
    /// # Errors
    /// - [`RunError::Stopped`] if the loop was [stopped](LoopHandle::stop) first. The future is
    ///   dropped then. To continue it in a later run, pass `pin!(future).as_mut()`.
    /// - [`RunError::DeadEnd`] if the loop cannot go on, and no other thread exists that could wake
    ///   a task or the builder [makes this an error](Builder::error_on_deadlock).
    /// - [`RunError::Closed`], [`RunError::Nested`] and [`RunError::Forked`] as documented there.
    ///
    /// # Panics
    /// With the panic of the future.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, sleep};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let text = String::from("borrowed");
    /// let length = event_loop.run_until_complete(async {
    ///     sleep(Duration::from_millis(1)).await;
    ///     text.len()
    /// })?;
    /// assert_eq!(length, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn run_until_complete<F: IntoFuture>(&self, future: F) -> Result<F::Output, RunError> {
        let _running = self.begin()?;
        let mut root = pin!(self.inner.executor.root(Location::caller(), future.into_future()));
        self.inner.stats.has_root.set(true);
        loop {
            let steps = self.inner.turn(Some(root.as_mut()), None, Turns::UntilEventPoll);
            // Before the stop: a future that ends in the turn of a stop has its value returned.
            if let Some(output) = root.as_mut().take_output() {
                return Ok(output);
            }
            if self.inner.is_stopping.get() {
                return Err(RunError::Stopped);
            }
            self.inner.check_process()?;
            // Steps ran: another thread has queued something since the dead end was found.
            if self.inner.stats.is_at_dead_end.take() && steps == 0 {
                return Err(RunError::DeadEnd);
            }
        }
    }

    /// Runs the loop until it is [stopped](LoopHandle::stop).
    ///
    /// # Errors
    /// [`RunError::Closed`], [`RunError::Nested`] and [`RunError::Forked`] as documented there.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.handle().call_later(Duration::from_millis(1), move || handle.stop());
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_forever(&self) -> Result<(), RunError> {
        let _running = self.begin()?;
        loop {
            self.inner.turn(None, None, Turns::UntilEventPoll);
            self.inner.check_process()?;
            if self.inner.is_stopping.get() {
                return Ok(());
            }
        }
    }

    /// Stops the loop; see [`LoopHandle::stop`].
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.stop();
    /// event_loop.run_forever()?; // one turn
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Whether the loop is running. Then the caller is a callback or a task of the loop.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// assert!(!event_loop.is_running());
    /// assert!(event_loop.run_until_complete(async { event_loop.is_running() })?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_running(&self) -> bool {
        self.inner.is_running.get()
    }

    /// Closes the loop: drops everything that is left, on this thread, and reports what that was.
    ///
    /// After that the thread may have another loop. Using this one is an error. Closing twice is
    /// fine.
    ///
    /// The order: callbacks of timers; then the queue, callbacks and tasks in its order; then the
    /// other tasks, in the order in which they were spawned. Dropping a task abandons its blocking
    /// job: one that has not started never runs, and one that runs is not waited for. Sources close
    /// when their owners drop them.
    ///
    /// # Errors
    /// [`RunError::Nested`] if the loop is running, further up this thread's stack.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// drop(event_loop.handle().spawn(std::future::pending::<()>()));
    /// let report = event_loop.close()?;
    /// assert_eq!(report.tasks.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<CloseReport, RunError> {
        self.close_within(Duration::ZERO)
    }

    /// [Closes](EventLoop::close) the loop, and waits up to `limit` for the blocking jobs that run.
    ///
    /// The report names the jobs that still run then. Name lookups are not waited for.
    ///
    /// # Errors
    /// As [`close`](EventLoop::close).
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
        // A destructor that runs while the loop closes may call this again. The outer call keeps
        // the host until it is over.
        if self.inner.status.close() {
            return Ok(CloseReport::default());
        }
        // Ends the wait of an embedding host: its next turn returns the error.
        self.inner.wake_host();
        // User code runs in here: destructors of tasks, callbacks and hooks.
        let report = close(&self.inner, limit);
        // Last, because those destructors may still need the thread's host.
        drop(self.host.take());
        Ok(report)
    }

    /// Begins a run: marks the loop as running until the returned guard is dropped.
    pub(crate) fn begin(&self) -> Result<Running<'_>, RunError> {
        let running = self.mark_running()?;
        self.inner.begin_run();
        Ok(running)
    }

    /// As `begin`, for a turn of a run that has begun.
    pub(crate) fn continue_run(&self) -> Result<Running<'_>, RunError> {
        let running = self.mark_running()?;
        self.inner.continue_run();
        Ok(running)
    }

    /// Returns the error of a run that would begin now.
    pub(crate) fn check_can_run(&self) -> Result<(), RunError> {
        self.inner.check_process()?;
        match (self.inner.status.is_closed(), self.is_running()) {
            (true, _) => Err(RunError::Closed),
            (_, true) => Err(RunError::Nested),
            _ => Ok(()),
        }
    }

    fn mark_running(&self) -> Result<Running<'_>, RunError> {
        self.check_can_run()?;
        self.inner.is_running.set(true);
        Ok(Running(&self.inner))
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // Fails only during a run, but a run borrows the loop, so it cannot be dropped then.
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

/// Marks a run. Dropping it ends the run, also while unwinding.
pub(crate) struct Running<'a>(&'a Inner);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.stats.has_root.replace(false) {
            // The end of a run is a natural end of a peak.
            self.0.timers.borrow_mut().shrink();
        }
        self.0.is_running.set(false);
        // A stop is for one run.
        self.0.is_stopping.set(false);
    }
}

/// Builds a loop on this thread, runs it until `future` is done, and closes it (asyncio's `run`).
///
/// # Panics
/// With the panic of the future. Also if this thread has a loop, if building one fails, if the loop
/// is stopped before the future is done, or if it cannot go on.
///
/// ```
/// let answer = picot_loop::run(async { 6 * 7 });
/// assert_eq!(answer, 42);
/// ```
#[track_caller]
pub fn run<F: IntoFuture>(future: F) -> F::Output {
    Builder::new().run(future)
}

//! Embedding: a host with a loop of its own runs picot's turns, and waits in its place.

use std::fmt;
use std::ops::ControlFlow;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

use picot_executor::Root;

use crate::error::RunError;
use crate::event_loop::EventLoop;
#[cfg(doc)]
use crate::handle::LoopHandle;
use crate::inner::Inner;
use crate::turn::{Limit, Turns};

impl EventLoop {
    /// Runs one turn, and returns the number of steps that ran.
    ///
    /// If nothing is ready, the turn waits for at most `limit`; `None` is no limit. A host that
    /// waits by itself passes zero. A [stop](LoopHandle::stop) from inside ends with this turn.
    /// Under a virtual clock, while a task waits for I/O, a turn may wait for the
    /// [grace](crate::Builder::io_grace) whatever the limit.
    ///
    /// # Errors
    /// As [`run_forever`](EventLoop::run_forever).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.handle().call_soon(|| ());
    /// assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(1));
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn turn(&self, limit: Option<Duration>) -> Result<usize, RunError> {
        let _running = self.begin()?;
        let steps = self.inner.turn(None, limit, Turns::One);
        self.inner.check_process()?;
        Ok(steps)
    }

    /// Begins a run for `future`, of which a host makes each turn: `run_until_complete` in parts.
    ///
    /// The future runs as a task with the name `main`. It may borrow.
    ///
    /// # Errors
    /// [`RunError::Closed`], [`RunError::Nested`] and [`RunError::Forked`] as documented there.
    ///
    /// # Panics
    /// If the loop has another run of this kind already.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, yield_now};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let mut run = event_loop.turns_until_complete(async {
    ///     yield_now().await;
    ///     7
    /// })?;
    /// assert_eq!(run.turn(Some(Duration::ZERO))?, ControlFlow::Continue(1));
    /// assert_eq!(run.turn(Some(Duration::ZERO))?, ControlFlow::Break(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn turns_until_complete<F: IntoFuture>(
        &self,
        future: F,
    ) -> Result<TurnsUntilComplete<'_, F::IntoFuture>, RunError> {
        self.check_can_run()?;
        let root = self.inner.executor.root(Location::caller(), future.into_future());
        Ok(TurnsUntilComplete { event_loop: self, root: Box::pin(root), has_begun: false })
    }

    /// Returns how long a host may wait before the next turn; `None` is no limit.
    ///
    /// Call this before each wait. Until the next turn, everything that needs a turn makes the
    /// loop's [descriptor](EventLoop::backend_fd) readable: ready I/O, other threads, and also what
    /// the host's callbacks do on the loop's own thread: a wake, a spawn, a callback, an earlier
    /// timer or a stop.
    ///
    /// This is zero after a turn that has collected I/O events, because one turn collects a bounded
    /// number of them. So a host is correct, too, that learns of changes of the descriptor only
    /// (edge-triggered): it clears the descriptor's readiness before the turn.
    ///
    /// Under a virtual clock this is zero if a timer is set, because such a clock never waits. It
    /// is also zero for a closed loop, whose next turn is an error.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// assert_eq!(event_loop.next_timeout(), None);
    /// event_loop.handle().call_soon(|| ());
    /// assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
    /// assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(1));
    /// ```
    pub fn next_timeout(&self) -> Option<Duration> {
        let inner = &self.inner;
        if inner.status.is_closed() {
            return Some(Duration::ZERO);
        }
        // In case this is called twice without a turn in between.
        inner.end_host_wait();
        // The descriptor shows no new edge for the events that are left.
        if inner.stats.has_collected_events.get() {
            return Some(Duration::ZERO);
        }
        let until = match inner.limit() {
            Limit::Zero => return Some(Duration::ZERO),
            // The next turn jumps to the deadline instead of waiting for it.
            Limit::Deadline(_) if inner.clock.as_virtual().is_some() => return Some(Duration::ZERO),
            // In a burst of timers, one wake-up of the host is for several of them, too.
            Limit::Deadline(deadline) => Some(inner.stats.batch.delay(deadline)),
            Limit::After(_) | Limit::None => None,
        };
        // From here on, the first push to a queue makes the descriptor readable. False: something
        // is queued already.
        if !inner.executor.begin_guest_wait() {
            return Some(Duration::ZERO);
        }
        // Without a deadline, any timer ends the wait early.
        inner.status.begin_host_wait(until.unwrap_or(u64::MAX));
        until.map(|deadline| inner.until(deadline))
    }

    /// Returns the descriptor that a host waits on.
    ///
    /// It is readable when I/O is ready, and when something was queued since
    /// [`next_timeout`](EventLoop::next_timeout) was called. `None` if the platform's driver has no
    /// descriptor; then let the loop wait in short turns.
    ///
    /// ```
    /// use picot_loop::EventLoop;
    ///
    /// let event_loop = EventLoop::new().unwrap();
    /// if let Some(descriptor) = event_loop.backend_fd() {
    ///     println!("wait until {descriptor:?} is readable, then make a turn");
    /// }
    /// ```
    #[cfg(unix)]
    #[doc(alias = "AsFd")]
    pub fn backend_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.reactor.backend_fd()
    }
}

/// A run for one future, of which a host makes each turn; made by
/// [`EventLoop::turns_until_complete`].
///
/// The host waits between two turns as long as [`EventLoop::next_timeout`] says. The loop does not
/// wait in its place, so it detects no deadlock: the host may be about to wake a task.
///
/// # If dropped
/// The future is dropped. Other tasks stay for the next run.
///
/// ```
/// use std::ops::ControlFlow;
/// use picot_loop::{EventLoop, RunError};
///
/// let event_loop = EventLoop::new().unwrap();
/// let mut run = event_loop.turns_until_complete(std::future::pending::<()>()).unwrap();
/// event_loop.stop();
/// assert_eq!(run.turn(None), Err(RunError::Stopped));
/// ```
#[must_use = "a host has to make the turns"]
pub struct TurnsUntilComplete<'a, F: Future> {
    event_loop: &'a EventLoop,
    root: Pin<Box<Root<F>>>,
    has_begun: bool,
}

impl<F: Future> TurnsUntilComplete<'_, F> {
    /// Runs one turn, as [`EventLoop::turn`] does. Breaks with the future's value once it is done;
    /// continues with the number of steps otherwise.
    ///
    /// # Errors
    /// As [`run_until_complete`](EventLoop::run_until_complete), except `DeadEnd`. After
    /// [`Stopped`](RunError::Stopped), further turns go on with the run.
    ///
    /// # Panics
    /// With the panic of the future.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let text = String::from("borrowed");
    /// let mut run = event_loop.turns_until_complete(async { text.len() })?;
    /// assert_eq!(run.turn(None)?, ControlFlow::Break(8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn turn(&mut self, limit: Option<Duration>) -> Result<ControlFlow<F::Output, usize>, RunError> {
        let _running = if self.has_begun { self.event_loop.continue_run()? } else { self.event_loop.begin()? };
        self.has_begun = true;
        let inner = &self.event_loop.inner;
        let steps = inner.turn(Some(self.root.as_mut()), limit, Turns::One);
        inner.check_process()?;
        // Before the stop: a future that ends in the turn of a stop has its value returned.
        if let Some(output) = self.root.as_mut().take_output() {
            return Ok(ControlFlow::Break(output));
        }
        if inner.is_stopping.get() { Err(RunError::Stopped) } else { Ok(ControlFlow::Continue(steps)) }
    }
}

impl<F: Future> fmt::Debug for TurnsUntilComplete<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnsUntilComplete").field("event_loop", self.event_loop).finish_non_exhaustive()
    }
}

impl Inner {
    /// Ends the wait that `next_timeout` began. Returns false if there was none.
    pub(crate) fn end_host_wait(&self) -> bool {
        let waited = self.status.end_host_wait();
        if waited {
            self.executor.end_guest_wait();
        }
        waited
    }

    /// Makes the descriptor readable if a host waits.
    ///
    /// For changes that need a turn but put nothing into a queue; a push wakes the host by itself.
    pub(crate) fn wake_host(&self) {
        if self.status.host_waits() {
            self.reactor.wake_handle().wake();
        }
    }

    /// As [`wake_host`](Inner::wake_host), for a new timer. Only if it is due before the host's
    /// wait ends, and once per wait.
    #[cold]
    pub(crate) fn wake_host_for_timer(&self, deadline: u64) {
        if self.status.ends_host_wait(deadline) {
            self.reactor.wake_handle().wake();
        }
    }

    /// Stops the loop. Ends a host's wait, because the stop takes effect in the next turn.
    pub(crate) fn stop(&self) {
        self.is_stopping.set(true);
        self.wake_host();
    }
}

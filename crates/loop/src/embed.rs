//! Embedding: a host with a loop of its own runs picot's turns, and waits in its place.

#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::RunError;
use crate::event_loop::EventLoop;
#[cfg(doc)]
use crate::handle::LoopHandle;
use crate::inner::Inner;
use crate::turn::Limit;

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
        let steps = self.inner.turn(None, limit);
        self.inner.check_process()?;
        Ok(steps)
    }

    /// Returns how long a host may wait before the next turn; `None` is no limit.
    ///
    /// Call this before each wait. Until the next turn, everything that needs a turn makes the
    /// loop's [descriptor](EventLoop::backend_fd) readable: ready I/O, other threads, and also what
    /// the host's callbacks do on the loop's own thread: a wake, a spawn, a callback, an earlier
    /// timer or a stop.
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
        let until = match inner.limit() {
            Limit::Zero => return Some(Duration::ZERO),
            // The next turn jumps to the deadline instead of waiting for it.
            Limit::Deadline(_) if inner.clock.as_virtual().is_some() => return Some(Duration::ZERO),
            Limit::Deadline(deadline) => Some(deadline),
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

//! The loop as a guest: a host that has a loop of its own makes picot's turns, and waits in its stead.

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
    /// Makes one turn: looks outside, waits there for at most `limit` if nothing is ready (`None`: for as long as it takes), and
    /// runs what is queued. Returns the number of steps that ran.
    ///
    /// A host that waits elsewhere passes a limit of zero. A [stop](LoopHandle::stop) from inside is for this turn only, which
    /// it keeps from waiting. Under a virtual clock a turn in which the clock may have to jump past I/O that a task waits for takes
    /// the [grace](crate::Builder::io_grace) of that, whatever the limit.
    ///
    /// # Errors
    /// As for [`run_forever`](EventLoop::run_forever).
    pub fn turn(&self, limit: Option<Duration>) -> Result<usize, RunError> {
        let _running = self.begin()?;
        let steps = self.inner.turn(None, limit);
        self.inner.check_process()?;
        Ok(steps)
    }

    /// Returns for how long a host may wait: until the next thing to do that the loop knows of.
    ///
    /// `None` means without a limit. From this call to the next turn, whatever gives a turn something
    /// to do makes the loop's [descriptor](EventLoop::backend_fd) readable: ready I/O, other threads,
    /// and on the loop's own thread, where the host's callbacks run, a wake, a spawn, a callback, an
    /// earlier timer or a stop. So call this before each wait.
    ///
    /// A virtual clock does not wait: with one, this is zero where a timer is set. It is zero for a closed loop, too, whose next
    /// turn is an error.
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
        inner.end_host_wait(); // asked anew without a turn in between
        let until = match inner.limit() {
            Limit::Zero => return Some(Duration::ZERO),
            Limit::Deadline(_) if inner.clock.as_virtual().is_some() => return Some(Duration::ZERO),
            Limit::Deadline(deadline) => Some(deadline),
            Limit::After(_) | Limit::None => None,
        };
        if !inner.executor.begin_guest_wait() {
            return Some(Duration::ZERO);
        }
        inner.status.begin_host_wait(until.unwrap_or(u64::MAX));
        until.map(|deadline| inner.until(deadline))
    }

    /// Returns the descriptor that a host waits on. It is readable when I/O is ready, and when the
    /// loop has something to do since [`next_timeout`](EventLoop::next_timeout) was called.
    ///
    /// `None` where the platform's way to poll has no descriptor; there, let the loop wait in short
    /// turns.
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
    /// Ends what `next_timeout` has begun, if the host has not. Returns whether it had to.
    pub(crate) fn end_host_wait(&self) -> bool {
        let waited = self.status.end_host_wait();
        if waited {
            self.executor.end_guest_wait();
        }
        waited
    }

    /// Makes the descriptor readable if a host waits: a turn has something to do by now that is in
    /// no queue.
    pub(crate) fn ring_host(&self) {
        if self.status.host_waits() {
            self.reactor.wake_handle().wake();
        }
    }

    /// As [`ring_host`](Inner::ring_host), for a timer that is set. Once a wait, and only if the
    /// timer is due before the host's wait ends.
    #[cold]
    pub(crate) fn ring_host_for(&self, deadline: u64) {
        if self.status.ends_host_wait(deadline) {
            self.reactor.wake_handle().wake();
        }
    }

    /// Stops the loop; a host's wait ends, because the next turn has to.
    pub(crate) fn stop(&self) {
        self.is_stopping.set(true);
        self.ring_host();
    }
}

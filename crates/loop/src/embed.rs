//! The loop as a guest: a host that has a loop of its own makes picot's turns, and waits in its stead.

#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::RunError;
use crate::event_loop::EventLoop;
#[cfg(doc)]
use crate::handle::LoopHandle;
use crate::turn::Limit;

impl EventLoop {
    /// Makes one turn: looks outside, waits there for at most `limit` if nothing is ready (`None`: for as long as it takes), and
    /// runs what is queued. Returns the number of steps that ran.
    ///
    /// A host that waits elsewhere passes a limit of zero. A [stop](LoopHandle::stop) from inside is for this turn only, which
    /// it keeps from waiting. Under a virtual clock a turn in which the clock may have to jump past I/O that a task waits for takes
    /// the [grace](crate::Builder::grace) of that, whatever the limit.
    ///
    /// # Errors
    /// As for [`run_forever`](EventLoop::run_forever).
    pub fn turn(&self, limit: Option<Duration>) -> Result<usize, RunError> {
        let _running = self.begin()?;
        let steps = self.inner.turn(None, limit);
        self.inner.check_process()?;
        Ok(steps)
    }

    /// For how long nothing is to be done, as far as is known: what a host passes to the wait of its own. `None`: until something
    /// comes. From this call to the next turn, other threads that hand something over make the loop's descriptor readable, as
    /// ready I/O does; so ask anew after each turn.
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
        if self.inner.is_closed.get() {
            return Some(Duration::ZERO);
        }
        let timeout = match self.inner.limit() {
            Limit::Zero => return Some(Duration::ZERO),
            Limit::Deadline(_) if self.inner.clock.as_virtual().is_some() => Some(Duration::ZERO),
            Limit::Deadline(deadline) => Some(self.inner.until(deadline)),
            Limit::After(_) | Limit::None => None,
        };
        match self.inner.executor.fall_asleep() {
            // Forgotten: the next turn wakes up.
            Some(asleep) => std::mem::forget(asleep),
            None => return Some(Duration::ZERO),
        }
        self.inner.pace.host_waits.set(true);
        timeout
    }

    /// The descriptor that is readable when I/O is ready, or when another thread has handed something over since
    /// [`next_timeout`](EventLoop::next_timeout) was called: for the wait of a host. `None` where the platform's way to poll has no
    /// descriptor; there let the loop wait, in short turns.
    #[cfg(unix)]
    #[doc(alias = "AsFd")]
    pub fn backend_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.reactor.backend_fd()
    }
}

//! `Barrier`: a fixed number of tasks wait for each other, round after round.
//!
//! A round begins when as many have come as it takes and everybody of the round before has gone on. So whoever comes while
//! a round drains waits, and is counted for the next.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use crate::dump::Waiter;
use crate::wait_list::{Left, Ticket, WaitList};
use crate::wake::wake_all;

/// What a waiter is given when the barrier is broken under it; otherwise it is given its index.
const BROKEN: usize = usize::MAX;

/// Lets tasks go on once a fixed number of them has come, again and again (asyncio's `Barrier`).
///
/// ```
/// use std::task::{Context, Poll, Waker};
/// use picot_sync::Barrier;
///
/// let barrier = Barrier::new(2);
/// let mut cx = Context::from_waker(Waker::noop());
/// let mut first = std::pin::pin!(barrier.wait());
/// assert!(first.as_mut().poll(&mut cx).is_pending());
/// let mut second = std::pin::pin!(barrier.wait());
/// assert_eq!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(1)));
/// assert_eq!(first.as_mut().poll(&mut cx), Poll::Ready(Ok(0)));
/// ```
pub struct Barrier {
    parties: usize,
    /// How many of the last round have yet to go on.
    draining: Cell<usize>,
    is_broken: Cell<bool>,
    waiters: WaitList,
}

impl Barrier {
    /// A barrier for `parties` tasks.
    ///
    /// # Panics
    /// If `parties` is 0.
    #[track_caller]
    pub const fn new(parties: usize) -> Barrier {
        assert!(parties > 0, "a barrier is for at least one task");
        let waiters = WaitList::new("Barrier::wait", Location::caller());
        Barrier { parties, draining: Cell::new(0), is_broken: Cell::new(false), waiters }
    }

    /// Waits until as many tasks have come as the barrier is for. Returns this one's index in its round, by arrival: each
    /// from 0 to `parties - 1` once, so one of them can be told to do what is to be done once.
    ///
    /// # Errors
    /// [`Broken`] if the barrier is broken, or is broken or reset while it waits.
    ///
    /// # If dropped
    /// It has not come: another has to come in its place. If its round has begun already, the others go on without it.
    #[track_caller]
    pub fn wait(&self) -> WaitBarrier<'_> {
        WaitBarrier { barrier: self, waiter: Ticket::new() }
    }

    /// Breaks it: all who wait get an error, and so does everybody who comes, until it is [reset](Barrier::reset). For the
    /// task that cannot come any more (asyncio's `abort`).
    #[doc(alias = "abort")]
    pub fn break_up(&self) {
        self.is_broken.set(true);
        wake_all(self.waiters.notify_all(BROKEN));
    }

    /// Empties it: all who wait get an error, and it can be used again, also if it was broken. Those whose round has begun go
    /// on.
    pub fn reset(&self) {
        self.is_broken.set(false);
        wake_all(self.waiters.notify_all(BROKEN));
    }

    /// Whether it is broken.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// How many tasks it is for.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// Those who wait for the others, the first first.
    #[doc(alias = "n_waiting")]
    pub fn waiters(&self) -> Vec<Waiter> {
        self.waiters.list()
    }

    /// Begins a round with the first `count` who wait, of `draining` altogether.
    fn begin_round(&self, count: usize, draining: usize) {
        self.draining.set(draining);
        let wakers: Vec<Waker> = (0..count).filter_map(|index| self.waiters.notify_first(index)).collect();
        wake_all(wakers);
    }

    /// One more has come. Returns whether it completes a round, of which it is then the last.
    fn arrive(&self) -> bool {
        let completes = self.draining.get() == 0 && self.waiters.len() + 1 == self.parties;
        if completes {
            self.begin_round(self.parties - 1, self.parties);
        }
        completes
    }

    /// One of the round has gone on.
    fn go_on(&self) {
        self.draining.set(self.draining.get() - 1);
        if self.draining.get() == 0 && self.waiters.len() >= self.parties {
            self.begin_round(self.parties, self.parties);
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &self.waiters.len())
            .field("is_broken", &self.is_broken())
            .finish()
    }
}

/// The barrier is broken; [`Barrier::reset`] makes it usable again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "BrokenBarrierError")]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the barrier was broken or reset, so its tasks do not wait for each other; `reset` makes it usable again",
        )
    }
}

impl std::error::Error for Broken {}

/// Waits for the others: what [`Barrier::wait`] returns.
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitBarrier<'a> {
    barrier: &'a Barrier,
    waiter: Ticket,
}

impl Future for WaitBarrier<'_> {
    type Output = Result<usize, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        let WaitBarrier { barrier, waiter } = &mut *self;
        let last = barrier.parties - 1;
        let at_once = || if barrier.is_broken() { Some(BROKEN) } else { barrier.arrive().then_some(last) };
        let given = ready!(barrier.waiters.poll_with(waiter, last, cx, at_once));
        if given == BROKEN {
            return Poll::Ready(Err(Broken));
        }
        barrier.go_on();
        Poll::Ready(Ok(given))
    }
}

impl Drop for WaitBarrier<'_> {
    fn drop(&mut self) {
        match self.barrier.waiters.leave(&mut self.waiter) {
            Left::Outside | Left::Waiting | Left::Notified(BROKEN) => {}
            Left::Notified(_) => self.barrier.go_on(),
        }
    }
}

impl fmt::Debug for WaitBarrier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitBarrier").finish_non_exhaustive()
    }
}

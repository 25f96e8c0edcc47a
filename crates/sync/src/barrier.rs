//! `Barrier`: a fixed number of tasks wait for each other, round after round.
//!
//! A round begins when enough tasks have arrived and every task of the round before has gone on. So
//! a task that arrives while a round drains waits, and counts for the next round.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use crate::dump::Waiter;
use crate::wait_list::{Left, Ticket, WaitList};
use crate::wake::wake_all;

/// The grant of a waiter when the barrier breaks; otherwise the grant is its index.
const BROKEN: usize = usize::MAX;

/// Releases tasks once a fixed number of them has arrived, again and again (asyncio's `Barrier`).
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
    /// The number of tasks of the last round that have yet to continue.
    draining: Cell<usize>,
    is_broken: Cell<bool>,
    waiters: WaitList,
}

impl Barrier {
    /// Makes a barrier for `parties` tasks.
    ///
    /// # Panics
    /// If `parties` is 0.
    ///
    /// ```
    /// assert_eq!(picot_sync::Barrier::new(2).parties(), 2);
    /// ```
    #[track_caller]
    pub const fn new(parties: usize) -> Barrier {
        assert!(parties > 0, "a barrier is for at least one task");
        let waiters = WaitList::new("Barrier::wait", Location::caller());
        Barrier { parties, draining: Cell::new(0), is_broken: Cell::new(false), waiters }
    }

    /// Waits until `parties` tasks have arrived, and returns this task's index in its round.
    ///
    /// The indices follow the order of arrival. Each from 0 to `parties - 1` occurs once, so the
    /// task with index 0 can do the work that must be done once.
    ///
    /// # Errors
    /// [`Broken`] if the barrier is broken, or is broken or reset during the wait.
    ///
    /// # If dropped
    /// The task has not arrived, and another has to arrive in its place. If its round has begun
    /// already, the others continue without it.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// assert_eq!(picot_sync::Barrier::new(1).wait().await, Ok(0));
    /// # });
    /// ```
    #[track_caller]
    pub fn wait(&self) -> WaitBarrier<'_> {
        WaitBarrier { barrier: self, waiter: Ticket::new() }
    }

    /// Breaks the barrier: every wait fails, now and until [`reset`](Barrier::reset) (asyncio's
    /// `abort`).
    ///
    /// Call it when a task cannot arrive any more.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let barrier = picot_sync::Barrier::new(2);
    /// barrier.break_up();
    /// assert_eq!(barrier.wait().await, Err(picot_sync::Broken));
    /// # });
    /// ```
    #[doc(alias = "abort")]
    pub fn break_up(&self) {
        self.is_broken.set(true);
        wake_all(self.waiters.notify_all(BROKEN));
    }

    /// Fails every wait of now and makes a broken barrier usable again.
    ///
    /// Tasks whose round has begun continue.
    ///
    /// ```
    /// let barrier = picot_sync::Barrier::new(2);
    /// barrier.break_up();
    /// barrier.reset();
    /// assert!(!barrier.is_broken());
    /// ```
    pub fn reset(&self) {
        self.is_broken.set(false);
        wake_all(self.waiters.notify_all(BROKEN));
    }

    /// Returns whether the barrier is broken.
    ///
    /// ```
    /// assert!(!picot_sync::Barrier::new(2).is_broken());
    /// ```
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// Returns how many tasks a round needs.
    ///
    /// ```
    /// assert_eq!(picot_sync::Barrier::new(2).parties(), 2);
    /// ```
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// Lists the tasks that wait for the others, first come first.
    ///
    /// ```
    /// assert!(picot_sync::Barrier::new(2).waiters().is_empty());
    /// ```
    #[doc(alias = "n_waiting")]
    pub fn waiters(&self) -> Vec<Waiter> {
        self.waiters.list()
    }

    /// Begins a round of `draining` tasks, of which the first `count` waiters are notified.
    fn begin_round(&self, count: usize, draining: usize) {
        // Set before the wakes, which may run tasks that arrive for the next round.
        self.draining.set(draining);
        let wakers: Vec<Waker> = (0..count).filter_map(|index| self.waiters.notify_first(index)).collect();
        wake_all(wakers);
    }

    /// Counts an arrival. Returns whether it completes a round, of which it is then the last
    /// member.
    fn arrive(&self) -> bool {
        // While a round drains, an arrival belongs to the next one, so it never completes.
        let completes = self.draining.get() == 0 && self.waiters.len() + 1 == self.parties;
        if completes {
            // The one that arrives is not in line, but it drains too.
            self.begin_round(self.parties - 1, self.parties);
        }
        completes
    }

    /// Counts a task of the round that continues.
    fn go_on(&self) {
        self.draining.set(self.draining.get() - 1);
        // Enough tasks for another round may have arrived during the drain, and no arrival need
        // follow.
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

/// The error of a wait at a barrier that is broken. [`Barrier::reset`] makes it usable again.
///
/// ```
/// assert!(picot_sync::Broken.to_string().contains("reset"));
/// ```
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

/// Future of [`Barrier::wait`].
///
/// ```
/// let barrier = picot_sync::Barrier::new(2);
/// let wait: picot_sync::WaitBarrier<'_> = barrier.wait();
/// # drop(wait);
/// ```
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
            // Its round has begun, so the others do not wait for it.
            Left::Notified(_) => self.barrier.go_on(),
        }
    }
}

impl fmt::Debug for WaitBarrier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitBarrier").finish_non_exhaustive()
    }
}

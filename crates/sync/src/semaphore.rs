//! `Semaphore`: a number of permits, handed out in the order of asking and given back by dropping them.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::dump::Waiter;
use crate::permits::Permits;
use crate::wait_list::Ticket;

/// A number of permits: so many tasks may do something at a time (asyncio's `Semaphore` and `BoundedSemaphore`).
///
/// It is fair: the first in line gets its permits first, also if it asks for many and those behind it for few. A task that
/// waits counts until it goes on: one that has got its permit and has not run yet is not overtaken either.
///
/// ```
/// use picot_sync::Semaphore;
///
/// let connections = Semaphore::new(2);
/// let (one, two) = (connections.try_acquire(), connections.try_acquire());
/// assert!(one.is_some() && two.is_some() && connections.try_acquire().is_none());
/// drop(one);
/// assert!(connections.try_acquire().is_some());
/// ```
pub struct Semaphore {
    permits: Permits,
    /// The most permits that there may be, here and handed out; `usize::MAX` if it is not bounded.
    limit: usize,
    /// All permits, here and handed out.
    total: Cell<usize>,
}

impl Semaphore {
    /// A semaphore with `permits` permits; [`add_permits`](Semaphore::add_permits) can make more.
    #[track_caller]
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::with_limit(permits, usize::MAX, Location::caller())
    }

    /// A semaphore that never has more than these `permits`: adding one that was not
    /// [forgotten](Permit::forget) before is an error.
    #[track_caller]
    #[doc(alias = "BoundedSemaphore")]
    pub const fn bounded(permits: usize) -> Semaphore {
        Semaphore::with_limit(permits, permits, Location::caller())
    }

    const fn with_limit(permits: usize, limit: usize, made: picot_context::Place) -> Semaphore {
        let total = Cell::new(permits);
        Semaphore { permits: Permits::new(permits, "Semaphore::acquire", made), limit, total }
    }

    /// Waits for a permit.
    ///
    /// # If dropped
    /// A wait that is dropped leaves the line. A permit that it had got already and not been polled for goes to the next.
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_> {
        self.acquire_many(1)
    }

    /// Waits for `count` permits at once. Those behind it wait until it has them. For 0 permits nobody waits.
    ///
    /// # Panics
    /// If the semaphore is [bounded](Semaphore::bounded) to fewer permits: it would wait for ever.
    ///
    /// # If dropped
    /// As with [`acquire`](Semaphore::acquire), for all of them.
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Acquire<'_> {
        self.check(count);
        Acquire { semaphore: Handle::Borrowed(self), count, waiter: Ticket::new() }
    }

    /// As [`acquire`](Semaphore::acquire), for a permit that goes where a reference cannot: into a task, or a struct.
    ///
    /// # If dropped
    /// As with [`acquire`](Semaphore::acquire).
    #[track_caller]
    pub fn acquire_owned(self: &Rc<Self>) -> Acquire<'static> {
        self.acquire_many_owned(1)
    }

    /// As [`acquire_many`](Semaphore::acquire_many), for permits that go where a reference cannot.
    ///
    /// # Panics
    /// As with [`acquire_many`](Semaphore::acquire_many).
    ///
    /// # If dropped
    /// As with [`acquire`](Semaphore::acquire).
    #[track_caller]
    pub fn acquire_many_owned(self: &Rc<Self>, count: usize) -> Acquire<'static> {
        self.check(count);
        Acquire { semaphore: Handle::Shared(self.clone()), count, waiter: Ticket::new() }
    }

    #[track_caller]
    fn check(&self, count: usize) {
        assert!(
            count <= self.limit,
            "{count} permits of a semaphore that is bounded to {} will never be there; ask for fewer, or make it larger",
            self.limit
        );
    }

    /// Takes a permit, if there is one and no task waits or has yet to go on with one.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits, if there are as many and no task waits or has yet to go on with some.
    pub fn try_acquire_many(&self, count: usize) -> Option<Permit<'_>> {
        self.permits.try_take(count).then(|| Permit { semaphore: Handle::Borrowed(self), count })
    }

    /// Adds `count` permits, and hands them to those who wait. Permits that are dropped come back by themselves; this is for
    /// new ones, and for those that were [forgotten](Permit::forget).
    ///
    /// # Errors
    /// [`TooManyPermits`] if there would be more than it is bounded to, or than `usize::MAX`; nothing is added then.
    #[doc(alias = "release")]
    pub fn add_permits(&self, count: usize) -> Result<(), TooManyPermits> {
        let total = self.total.get().checked_add(count).filter(|total| *total <= self.limit);
        self.total.set(total.ok_or(TooManyPermits { added: count, limit: self.limit })?);
        self.permits.give(count);
        Ok(())
    }

    /// How many permits could be taken, did nobody wait.
    #[doc(alias = "available_permits")]
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// Whether [`try_acquire`](Semaphore::try_acquire) would fail: none is there, or a task waits or has yet to go on.
    #[doc(alias = "locked")]
    pub fn is_exhausted(&self) -> bool {
        self.available() == 0 || self.permits.has_waiters()
    }

    /// Those who wait, the first first.
    pub fn waiters(&self) -> Vec<Waiter> {
        self.permits.waiters.list()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Semaphore");
        debug.field("available", &self.available()).field("waiting", &self.permits.waiters.len()).finish()
    }
}

/// Permits were added to a semaphore that may not have as many: one was given back twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyPermits {
    /// How many should have been added.
    pub added: usize,
    /// How many there may be.
    pub limit: usize,
}

impl fmt::Display for TooManyPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "adding {} permits would make more than the {} that this semaphore may have; a permit that is dropped comes back \
             by itself",
            self.added, self.limit
        )
    }
}

impl std::error::Error for TooManyPermits {}

/// How a permit reaches its semaphore.
#[derive(Clone)]
enum Handle<'a> {
    Borrowed(&'a Semaphore),
    Shared(Rc<Semaphore>),
}

impl Deref for Handle<'_> {
    type Target = Semaphore;

    #[inline]
    fn deref(&self) -> &Semaphore {
        match self {
            Handle::Borrowed(semaphore) => semaphore,
            Handle::Shared(semaphore) => semaphore,
        }
    }
}

/// Waits for permits: what [`Semaphore::acquire`] and its siblings return.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Acquire<'a> {
    semaphore: Handle<'a>,
    count: usize,
    waiter: Ticket,
}

impl<'a> Future for Acquire<'a> {
    type Output = Permit<'a>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit<'a>> {
        let Acquire { semaphore, count, waiter } = &mut *self;
        ready!(semaphore.permits.poll_take(waiter, *count, cx));
        Poll::Ready(Permit { semaphore: semaphore.clone(), count: *count })
    }
}

impl Drop for Acquire<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.abandon(&mut self.waiter);
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("count", &self.count).finish_non_exhaustive()
    }
}

/// One permit, or several that were acquired at once; dropping it gives them back.
#[must_use = "the permit is given back at once if it is dropped"]
#[doc(alias = "release")]
pub struct Permit<'a> {
    semaphore: Handle<'a>,
    count: usize,
}

impl Permit<'_> {
    /// How many permits it stands for.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Gives back nothing: the semaphore has so many permits fewer, until somebody
    /// [adds](Semaphore::add_permits) some.
    pub fn forget(mut self) {
        let count = std::mem::take(&mut self.count);
        self.semaphore.total.set(self.semaphore.total.get() - count);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.give(self.count);
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("count", &self.count).finish_non_exhaustive()
    }
}

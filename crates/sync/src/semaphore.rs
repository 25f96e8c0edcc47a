//! `Semaphore`: a number of permits, handed out in the order of asking and returned by dropping
//! them.

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

/// A number of permits, which limits how many tasks do something at a time.
///
/// It is asyncio's `Semaphore` and `BoundedSemaphore`. It is fair: the first waiter gets its
/// permits first, even if it asks for many and later waiters ask for few. A waiter counts as
/// waiting until its task runs: a task that has its permit and has not run yet is not overtaken
/// either.
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
    /// The most permits that may exist, free and taken; `usize::MAX` if there is no bound.
    limit: usize,
    /// All permits that exist, free and taken.
    total: Cell<usize>,
}

impl Semaphore {
    /// Makes a semaphore with `permits` permits. [`add_permits`](Semaphore::add_permits) can add
    /// more.
    ///
    /// ```
    /// assert_eq!(picot_sync::Semaphore::new(3).available(), 3);
    /// ```
    #[track_caller]
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::with_limit(permits, usize::MAX, Location::caller())
    }

    /// Makes a semaphore that never has more than `permits` permits.
    ///
    /// Adding a permit that was not [forgotten](Permit::forget) before is an error.
    ///
    /// ```
    /// let semaphore = picot_sync::Semaphore::bounded(1);
    /// assert_eq!(semaphore.add_permits(1).unwrap_err().limit, 1);
    /// ```
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
    /// # Panics
    /// When awaited, if the semaphore is [closed](Semaphore::close) or closes during the wait.
    /// [`or_closed`](Acquire::or_closed) makes that an error.
    ///
    /// # If dropped
    /// The wait leaves the line. A permit that it was given and has not returned goes to the next
    /// waiter.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let semaphore = picot_sync::Semaphore::new(1);
    /// let permit = semaphore.acquire().await;
    /// assert_eq!(semaphore.available(), 0);
    /// drop(permit);
    /// assert_eq!(semaphore.available(), 1);
    /// # });
    /// ```
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_> {
        self.acquire_many(1)
    }

    /// Waits for `count` permits at once. Later waiters wait until it has them. Zero permits are
    /// always there.
    ///
    /// # Panics
    /// If the semaphore is [bounded](Semaphore::bounded) to fewer permits, because it would wait
    /// for ever. When awaited, as with [`acquire`](Semaphore::acquire).
    ///
    /// # If dropped
    /// As with [`acquire`](Semaphore::acquire), for all of them.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let semaphore = picot_sync::Semaphore::new(3);
    /// let permits = semaphore.acquire_many(2).await;
    /// assert_eq!((permits.count(), semaphore.available()), (2, 1));
    /// # });
    /// ```
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Acquire<'_> {
        self.check(count);
        Acquire { semaphore: Handle::Borrowed(self), count, waiter: Ticket::new() }
    }

    /// As [`acquire`](Semaphore::acquire), for a permit that a task or a struct can own.
    ///
    /// # Panics
    /// As with [`acquire`](Semaphore::acquire).
    ///
    /// # If dropped
    /// As with [`acquire`](Semaphore::acquire).
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let semaphore = std::rc::Rc::new(picot_sync::Semaphore::new(1));
    /// let permit: picot_sync::Permit<'static> = semaphore.acquire_owned().await;
    /// # drop(permit);
    /// # });
    /// ```
    #[track_caller]
    pub fn acquire_owned(self: &Rc<Self>) -> Acquire<'static> {
        self.acquire_many_owned(1)
    }

    /// As [`acquire_many`](Semaphore::acquire_many), for permits that a task or a struct can own.
    ///
    /// # Panics
    /// As with [`acquire_many`](Semaphore::acquire_many).
    ///
    /// # If dropped
    /// As with [`acquire`](Semaphore::acquire).
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let semaphore = std::rc::Rc::new(picot_sync::Semaphore::new(2));
    /// assert_eq!(semaphore.acquire_many_owned(2).await.count(), 2);
    /// # });
    /// ```
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

    /// Takes a permit if one is free, no task waits or has yet to run with its permit, and the
    /// semaphore is open.
    ///
    /// ```
    /// let semaphore = picot_sync::Semaphore::new(1);
    /// let permit = semaphore.try_acquire();
    /// assert!(permit.is_some() && semaphore.try_acquire().is_none());
    /// ```
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits if they are free and no task waits or has yet to run with its permits.
    ///
    /// ```
    /// let semaphore = picot_sync::Semaphore::new(2);
    /// assert!(semaphore.try_acquire_many(3).is_none());
    /// ```
    pub fn try_acquire_many(&self, count: usize) -> Option<Permit<'_>> {
        self.permits.try_take(count).then(|| Permit { semaphore: Handle::Borrowed(self), count })
    }

    /// Adds `count` permits, and grants them to the waiters.
    ///
    /// Dropped permits come back by themselves. This is for new permits, and for permits that were
    /// [forgotten](Permit::forget).
    ///
    /// # Errors
    /// [`TooManyPermits`] if there would be more than the bound, or than `usize::MAX`. Nothing is
    /// added then.
    ///
    /// ```
    /// let semaphore = picot_sync::Semaphore::new(0);
    /// semaphore.add_permits(2).unwrap();
    /// assert_eq!(semaphore.available(), 2);
    /// ```
    #[doc(alias = "release")]
    pub fn add_permits(&self, count: usize) -> Result<(), TooManyPermits> {
        let total = self.total.get().checked_add(count).filter(|total| *total <= self.limit);
        // The total is counted before the wakes, which may add permits again.
        self.total.set(total.ok_or(TooManyPermits { added: count, limit: self.limit })?);
        self.permits.give(count);
        Ok(())
    }

    /// Returns how many permits are free.
    ///
    /// ```
    /// assert_eq!(picot_sync::Semaphore::new(3).available(), 3);
    /// ```
    #[doc(alias = "available_permits")]
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// Returns whether [`try_acquire`](Semaphore::try_acquire) would fail.
    ///
    /// It fails if no permit is free, a task waits or has yet to run with its permit, or the
    /// semaphore is closed.
    ///
    /// ```
    /// assert!(picot_sync::Semaphore::new(0).is_exhausted());
    /// ```
    #[doc(alias = "locked")]
    pub fn is_exhausted(&self) -> bool {
        self.available() == 0 || self.permits.has_waiters()
    }

    /// Closes the semaphore for good: no permit is given any more, and every wait ends.
    ///
    /// A wait that checks for it by [`or_closed`](Acquire::or_closed) ends with an error, another
    /// one with a panic; [`try_acquire`](Semaphore::try_acquire) returns `None`. Permits that are
    /// held stay valid. So the tasks that hold one finish their work, and no other begins.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let semaphore = picot_sync::Semaphore::new(1);
    /// let held = semaphore.acquire().await;
    /// semaphore.close();
    /// assert!(semaphore.acquire().or_closed().await.is_err());
    /// drop(held);
    /// assert!(semaphore.try_acquire().is_none());
    /// # });
    /// ```
    pub fn close(&self) {
        self.permits.close();
    }

    /// Returns whether the semaphore was closed.
    ///
    /// ```
    /// assert!(!picot_sync::Semaphore::new(1).is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Lists the waiters, first come first.
    ///
    /// ```
    /// assert!(picot_sync::Semaphore::new(0).waiters().is_empty());
    /// ```
    pub fn waiters(&self) -> Vec<Waiter> {
        self.permits.waiters.list()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Semaphore");
        debug.field("available", &self.available()).field("waiting", &self.permits.waiters.len());
        debug.field("is_closed", &self.is_closed()).finish()
    }
}

/// The error of adding more permits than a semaphore may have, such as returning one twice.
///
/// ```
/// let error = picot_sync::Semaphore::bounded(1).add_permits(2).unwrap_err();
/// assert_eq!((error.added, error.limit), (2, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyPermits {
    /// How many permits the caller tried to add.
    pub added: usize,
    /// How many permits the semaphore may have.
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

/// How a permit refers to its semaphore.
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

/// Future of [`Semaphore::acquire`] and its variants.
///
/// ```
/// let semaphore = picot_sync::Semaphore::new(1);
/// let wait: picot_sync::Acquire<'_> = semaphore.acquire();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Acquire<'a> {
    semaphore: Handle<'a>,
    count: usize,
    waiter: Ticket,
}

impl<'a> Acquire<'a> {
    /// Makes the close of the semaphore an error of the wait.
    ///
    /// # Errors
    /// Awaiting returns [`SemaphoreClosed`] if the semaphore is closed, or closes during the wait.
    ///
    /// # If dropped
    /// As with [`acquire`](Semaphore::acquire).
    ///
    /// ```
    /// use picot_sync::{Semaphore, SemaphoreClosed};
    ///
    /// # futures_lite::future::block_on(async {
    /// let semaphore = Semaphore::new(1);
    /// assert_eq!(semaphore.acquire().or_closed().await.unwrap().count(), 1);
    /// semaphore.close();
    /// assert_eq!(semaphore.acquire().or_closed().await.unwrap_err(), SemaphoreClosed);
    /// # });
    /// ```
    pub fn or_closed(self) -> AcquireOrClosed<'a> {
        AcquireOrClosed { acquire: self }
    }

    #[inline]
    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<Option<Permit<'a>>> {
        let Acquire { semaphore, count, waiter } = self;
        ready!(semaphore.permits.poll_take(waiter, *count, cx));
        let is_given = !semaphore.is_closed() || *count == 0;
        Poll::Ready(is_given.then(|| Permit { semaphore: semaphore.clone(), count: *count }))
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = Permit<'a>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit<'a>> {
        let permit = ready!(self.poll_permit(cx));
        Poll::Ready(permit.unwrap_or_else(|| closed(self.waiter.place)))
    }
}

#[cold]
fn closed(place: picot_context::Place) -> ! {
    panic!("{SemaphoreClosed} (awaited at {place}; `or_closed` makes this an error)")
}

/// Future of [`Acquire::or_closed`].
///
/// ```
/// let semaphore = picot_sync::Semaphore::new(1);
/// let wait: picot_sync::AcquireOrClosed<'_> = semaphore.acquire().or_closed();
/// # drop(wait);
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct AcquireOrClosed<'a> {
    acquire: Acquire<'a>,
}

impl<'a> Future for AcquireOrClosed<'a> {
    type Output = Result<Permit<'a>, SemaphoreClosed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.acquire.poll_permit(cx).map(|permit| permit.ok_or(SemaphoreClosed))
    }
}

/// The error of waiting for permits of a semaphore that was closed.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let semaphore = picot_sync::Semaphore::new(1);
/// semaphore.close();
/// let error = semaphore.acquire().or_closed().await.unwrap_err();
/// assert_eq!(error.to_string(), "the semaphore was closed, so it gives no more permits");
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemaphoreClosed;

impl fmt::Display for SemaphoreClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was closed, so it gives no more permits")
    }
}

impl std::error::Error for SemaphoreClosed {}

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

/// One permit, or several that were acquired at once. Dropping it returns them.
///
/// ```
/// let semaphore = picot_sync::Semaphore::new(1);
/// let permit = semaphore.try_acquire().unwrap();
/// assert_eq!(semaphore.available(), 0);
/// drop(permit);
/// assert_eq!(semaphore.available(), 1);
/// ```
#[must_use = "the permit is given back at once if it is dropped"]
#[doc(alias = "release")]
pub struct Permit<'a> {
    semaphore: Handle<'a>,
    count: usize,
}

impl Permit<'_> {
    /// Returns how many permits this holds.
    ///
    /// ```
    /// let semaphore = picot_sync::Semaphore::new(2);
    /// assert_eq!(semaphore.try_acquire_many(2).unwrap().count(), 2);
    /// ```
    pub fn count(&self) -> usize {
        self.count
    }

    /// Removes the permits from the semaphore for good, until
    /// [`add_permits`](Semaphore::add_permits).
    ///
    /// ```
    /// let semaphore = picot_sync::Semaphore::new(1);
    /// semaphore.try_acquire().unwrap().forget();
    /// assert_eq!(semaphore.available(), 0);
    /// ```
    pub fn forget(mut self) {
        // The drop of this permit then gives back none.
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

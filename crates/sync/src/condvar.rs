//! `Condvar`: waiting until a locked value has changed.
//!
//! A waiter is in line before its lock is released, so no notification is missed in between. A
//! waiter that [`notify_one`](Condvar::notify_one) chose, and that is dropped before it has the
//! lock again, passes the notification on.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use picot_context::{Place, budget};

use crate::dump::Waiter;
use crate::mutex::{Lock, Mutex, MutexGuard};
use crate::wait_list::{Left, Ticket, WaitList};
use crate::wake::{wake, wake_all};

/// The grant of a waiter: whether its notification was for one waiter, and must reach one.
const FOR_ONE: usize = 1;
const FOR_ALL: usize = 0;

/// Lets tasks wait until the value of a [`Mutex`] has changed (asyncio's `Condition`).
///
/// ```
/// use picot_sync::{Condvar, Mutex};
///
/// async fn wait_for_three(count: &Mutex<u32>, changed: &Condvar) {
///     let count = changed.wait_while(count.lock().await, |count| *count < 3).await;
///     assert!(*count >= 3);
/// }
///
/// async fn add(count: &Mutex<u32>, changed: &Condvar) {
///     *count.lock().await += 1;
///     changed.notify_one();
/// }
/// ```
#[doc(alias = "Condition")]
pub struct Condvar {
    waiters: WaitList,
}

impl Condvar {
    /// Makes a condition variable without waiters.
    ///
    /// ```
    /// assert!(picot_sync::Condvar::new().waiters().is_empty());
    /// ```
    #[track_caller]
    pub const fn new() -> Condvar {
        Condvar { waiters: WaitList::new("Condvar::wait", Location::caller()) }
    }

    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// Check the condition again after it, or use [`wait_while`](Condvar::wait_while): other tasks
    /// may take the lock between the notification and this task's step. The lock is released when
    /// the future is first polled or dropped.
    ///
    /// # If dropped
    /// The lock is not taken again. A notification by [`notify_one`](Condvar::notify_one) or
    /// [`notify`](Condvar::notify) that has reached this wait goes to the next waiter.
    ///
    /// ```
    /// # use picot_sync::{Condvar, Mutex};
    /// async fn wait_for_change(count: &Mutex<u32>, changed: &Condvar) -> u32 {
    ///     *changed.wait(count.lock().await).await
    /// }
    /// ```
    #[track_caller]
    pub fn wait<'c, 'a, T: ?Sized>(&'c self, guard: MutexGuard<'a, T>) -> WaitCondvar<'c, 'a, T> {
        self.wait_at(guard, Location::caller())
    }

    fn wait_at<'c, 'a, T: ?Sized>(&'c self, guard: MutexGuard<'a, T>, place: Place) -> WaitCondvar<'c, 'a, T> {
        let mutex = MutexGuard::mutex(&guard);
        WaitCondvar { condvar: self, mutex, waiter: Ticket::at(place), owes: FOR_ALL, state: State::Locked(guard) }
    }

    /// Waits as long as `condition` returns true for the locked value.
    ///
    /// Completes at once if the first call returns false. It is asyncio's `wait_for` with the
    /// opposite sense.
    ///
    /// # If dropped
    /// As with [`wait`](Condvar::wait).
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (count, changed) = (picot_sync::Mutex::new(3), picot_sync::Condvar::new());
    /// let count = changed.wait_while(count.lock().await, |count| *count < 3).await;
    /// assert_eq!(*count, 3);
    /// # });
    /// ```
    #[track_caller]
    #[doc(alias = "wait_for")]
    pub fn wait_while<'c, 'a, T: ?Sized, F>(&'c self, guard: MutexGuard<'a, T>, condition: F) -> WaitWhile<'c, 'a, T, F>
    where
        F: FnMut(&mut T) -> bool,
    {
        WaitWhile { condvar: self, place: Location::caller(), condition, guard: Some(guard), wait: None }
    }

    /// Notifies the first waiter, which continues once it has the lock. Without a waiter, does
    /// nothing.
    ///
    /// Unlike asyncio's, it does not need the lock: the value that a waiter checks is inside the
    /// lock.
    ///
    /// ```
    /// picot_sync::Condvar::new().notify_one();
    /// ```
    #[doc(alias = "signal")]
    pub fn notify_one(&self) {
        if let Some(waker) = self.waiters.notify_first(FOR_ONE) {
            wake(waker);
        }
    }

    /// Notifies the first `count` waiters. Waits that begin meanwhile are not notified.
    ///
    /// ```
    /// picot_sync::Condvar::new().notify(2);
    /// ```
    pub fn notify(&self, count: usize) {
        // All are taken before the first wake, so that a task that waits again is not notified
        // twice.
        let count = count.min(self.waiters.len());
        wake_all((0..count).filter_map(|_| self.waiters.notify_first(FOR_ONE)).collect());
    }

    /// Notifies all present waiters. Each continues once it has the lock.
    ///
    /// ```
    /// picot_sync::Condvar::new().notify_all();
    /// ```
    #[doc(alias = "broadcast")]
    pub fn notify_all(&self) {
        wake_all(self.waiters.notify_all(FOR_ALL));
    }

    /// Lists the waiters that were not notified, first come first. The others are among the lock's
    /// waiters.
    ///
    /// ```
    /// assert!(picot_sync::Condvar::new().waiters().is_empty());
    /// ```
    pub fn waiters(&self) -> Vec<Waiter> {
        self.waiters.list()
    }
}

impl Default for Condvar {
    #[track_caller]
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").field("waiting", &self.waiters.len()).finish()
    }
}

/// Future of [`Condvar::wait`].
///
/// ```
/// let (mutex, condvar) = (picot_sync::Mutex::new(0), picot_sync::Condvar::new());
/// let wait: picot_sync::WaitCondvar<'_, '_, i32> = condvar.wait(mutex.try_lock().unwrap());
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitCondvar<'c, 'a, T: ?Sized> {
    condvar: &'c Condvar,
    mutex: &'a Mutex<T>,
    waiter: Ticket,
    /// Whether a collected notification was for one waiter, and goes to the next if this is
    /// dropped.
    owes: usize,
    state: State<'a, T>,
}

enum State<'a, T: ?Sized> {
    /// Not polled yet.
    Locked(MutexGuard<'a, T>),
    Waiting,
    Relocking(Lock<'a, T>),
}

impl<'a, T: ?Sized> Future for WaitCondvar<'_, 'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Locked(_) => {
                    // In line first, unlocked second.
                    this.condvar.waiters.enter_first(&mut this.waiter, FOR_ALL, cx);
                    this.state = State::Waiting;
                    return Poll::Pending;
                }
                State::Waiting => match this.condvar.waiters.poll_with(&mut this.waiter, FOR_ALL, cx, || None) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(given) => {
                        this.owes = given;
                        this.state = State::Relocking(Lock::at(this.mutex, this.waiter.place));
                    }
                },
                State::Relocking(lock) => {
                    let guard = Pin::new(lock).poll(cx);
                    // From now on the notification is used: a drop passes nothing on.
                    if guard.is_ready() {
                        this.owes = FOR_ALL;
                    }
                    return guard;
                }
            }
        }
    }
}

impl<T: ?Sized> Drop for WaitCondvar<'_, '_, T> {
    fn drop(&mut self) {
        // A notification of all is not passed on: all others have it already.
        let given = match self.condvar.waiters.leave(&mut self.waiter) {
            Left::Notified(given) => given,
            Left::Outside | Left::Waiting => self.owes,
        };
        if given == FOR_ONE {
            self.condvar.notify_one();
        }
    }
}

impl<T: ?Sized> fmt::Debug for WaitCondvar<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitCondvar").finish_non_exhaustive()
    }
}

/// Future of [`Condvar::wait_while`].
///
/// ```
/// let (mutex, condvar) = (picot_sync::Mutex::new(0), picot_sync::Condvar::new());
/// let guard = mutex.try_lock().unwrap();
/// let wait: picot_sync::WaitWhile<'_, '_, i32, _> = condvar.wait_while(guard, |n| *n < 3);
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitWhile<'c, 'a, T: ?Sized, F> {
    condvar: &'c Condvar,
    place: Place,
    condition: F,
    /// The lock, while `condition` runs.
    guard: Option<MutexGuard<'a, T>>,
    wait: Option<WaitCondvar<'c, 'a, T>>,
}

/// The condition is called, never pinned.
impl<T: ?Sized, F> Unpin for WaitWhile<'_, '_, T, F> {}

impl<'a, T: ?Sized, F: FnMut(&mut T) -> bool> Future for WaitWhile<'_, 'a, T, F> {
    type Output = MutexGuard<'a, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let this = self.get_mut();
        loop {
            if this.wait.is_none() {
                // The first look may complete it, so it takes part in the budget. Later ones follow
                // a wait, which has.
                ready!(budget::poll_left(cx));
            }
            if let Some(wait) = &mut this.wait {
                match Pin::new(wait).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(guard) => this.guard = Some(guard),
                }
                this.wait = None;
            }
            // The condition is user code and may panic: then the guard unlocks.
            let mut guard = this.guard.take().expect("a future is not polled after its end");
            if !(this.condition)(&mut guard) {
                budget::spend();
                return Poll::Ready(guard);
            }
            this.wait = Some(this.condvar.wait_at(guard, this.place));
        }
    }
}

impl<T: ?Sized, F> fmt::Debug for WaitWhile<'_, '_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitWhile").finish_non_exhaustive()
    }
}

//! `Mutex`: one holder at a time, in the order of asking.
//!
//! The invariant: a lock that has waiters is never free. Unlocking makes the first waiter the
//! holder before its task runs. So no other task takes the lock in between, and a waiter that is
//! dropped in between unlocks in its turn.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::{Place, TaskId};

use crate::deadlock::{self, EdgeKey, Holder, Seen, Who};
use crate::dump::Waiter;
use crate::wait_list::{Left, Ticket, WaitList};
use crate::wake::wake;

/// A lock around a value that tasks of one thread hold across awaits (asyncio's `Lock`).
///
/// A section without an await needs no lock on one thread: a `Cell` or `RefCell` serves. The lock
/// is fair: the first waiter gets it first, even if another task calls
/// [`try_lock`](Mutex::try_lock) meanwhile. There is no poisoning: a guard that is dropped by a
/// panic unlocks like any other.
///
/// **Deadlocks are reported.** When a `lock` closes a circle of tasks, each of which holds a lock
/// and waits for the next one's, the thread's host gets one report that names them all
/// ([`Cause::Deadlock`](picot_context::Cause::Deadlock)). Without a host, the report is a line on
/// standard error. The tasks keep waiting, because one of them may still be cancelled. The holder
/// is the task that locked; a guard that moves to another task does not change that.
///
/// Branches of one `join!` or `select!` cannot be told apart. So a task that waits for a lock that
/// it holds itself is not reported at once: another of its branches may hold the lock and release
/// it. If the loop comes to a dead end, its report names the task, the lock and where the task took
/// it. A circle through a task with branches may open again when another branch continues. Circles
/// of more than 64 tasks are not found.
///
/// ```
/// # futures_lite::future::block_on(async {
/// use picot_sync::Mutex;
///
/// let account = Mutex::new(100);
/// {
///     let mut balance = account.lock().await;
///     *balance -= 30;
/// }
/// assert_eq!(*account.lock().await, 70);
/// # });
/// ```
///
/// A mutex stays on its thread:
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<picot_sync::Mutex<i32>>();
/// ```
#[doc(alias = "Lock")]
pub struct Mutex<T: ?Sized> {
    lock: Lockable,
    value: RefCell<T>,
}

/// The lock without the value.
struct Lockable {
    /// `None` if the lock is free.
    holder: Cell<Option<Holder>>,
    /// A copy of `holder` for the search for circles, from the first search on.
    seen: OnceCell<Seen>,
    waiters: WaitList,
}

impl Lockable {
    #[inline]
    fn set_holder(&self, holder: Option<Holder>) {
        self.holder.set(holder);
        // There is one only after a wait that could close a circle.
        if let Some(seen) = self.seen.get() {
            seen.set(holder);
        }
    }

    #[inline]
    fn try_lock(&self, who: impl FnOnce() -> Who, place: Place) -> bool {
        let is_free = self.holder.get().is_none();
        if is_free {
            self.set_holder(Some(Holder { who: who(), place }));
            deadlock::taken();
        }
        is_free
    }

    #[inline]
    fn unlock(&self) {
        // The lock stays held, by the next holder, and so does the thread's count of held locks.
        if !self.waiters.is_empty() {
            return self.hand_over();
        }
        self.set_holder(None);
        deadlock::released();
    }

    /// Out of line, so that the common half of `unlock` stays small.
    #[inline(never)]
    fn hand_over(&self) {
        if let Some(next) = self.waiters.notify_first_if(|_| true) {
            let who = Who { task: next.task, waker: next.waker.data().addr() };
            // Before the wake, which may run user code that looks at the holder.
            self.set_holder(Some(Holder { who, place: next.place }));
            wake(next.waker);
        }
    }

    /// Looks for a circle after a wait has begun. A lock that was given while the budget is spent
    /// is no wait.
    #[inline(never)]
    fn look_for_circle(&self, waiter: &Ticket, cx: &Context<'_>) -> Option<EdgeKey> {
        // Without a holder, it has the lock already and only waits for budget: no edge.
        let holder = self.holder.get()?;
        let seen = self.seen.get_or_init(|| Rc::new(Cell::new(Some(holder))));
        // A dump finds the holder by the waiter.
        if !self.waiters.set_lock(waiter, seen) || !deadlock::matters() {
            return None;
        }
        let who = Who::running(Some(cx.waker()));
        Some(deadlock::begin(who, waiter.key(), waiter.place, seen.clone(), self.waiters.made()))
    }
}

impl<T> Mutex<T> {
    /// Makes a free lock around `value`.
    ///
    /// ```
    /// let mutex = picot_sync::Mutex::new(1);
    /// assert_eq!(mutex.into_inner(), 1);
    /// ```
    #[track_caller]
    pub const fn new(value: T) -> Mutex<T> {
        let waiters = WaitList::new("Mutex::lock", Location::caller());
        let lock = Lockable { holder: Cell::new(None), seen: OnceCell::new(), waiters };
        Mutex { lock, value: RefCell::new(value) }
    }

    /// Returns the value. Owning the lock shows that no task holds it.
    ///
    /// ```
    /// assert_eq!(picot_sync::Mutex::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is free, and takes it. Waiters get it in the order of their first poll.
    ///
    /// # If dropped
    /// The wait leaves the line. A lock that it was given and has not returned goes to the next
    /// waiter.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let mutex = picot_sync::Mutex::new(1);
    /// *mutex.lock().await += 1;
    /// assert_eq!(mutex.into_inner(), 2);
    /// # });
    /// ```
    #[track_caller]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Lock<'_, T> {
        Lock { mutex: self, waiter: Ticket::new(), edge: None }
    }

    /// Takes the lock if it is free.
    ///
    /// ```
    /// let mutex = picot_sync::Mutex::new(1);
    /// let guard = mutex.try_lock();
    /// assert!(guard.is_some() && mutex.try_lock().is_none());
    /// ```
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.lock.try_lock(|| Who::running(None), Location::caller()).then(|| self.guard())
    }

    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard { value: self.value.borrow_mut(), held: Held { mutex: self } }
    }

    /// Returns the value without locking: the exclusive reference shows that no task holds the
    /// lock.
    ///
    /// ```
    /// let mut mutex = picot_sync::Mutex::new(1);
    /// *mutex.get_mut() = 2;
    /// assert_eq!(mutex.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Returns whether a task holds the lock.
    ///
    /// ```
    /// assert!(!picot_sync::Mutex::new(1).is_locked());
    /// ```
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.lock.holder.get().is_some()
    }

    /// Returns the task that holds the lock, and the source location where it requested the lock.
    ///
    /// The task is `None` under an executor that does not say which task runs.
    ///
    /// ```
    /// let mutex = picot_sync::Mutex::new(1);
    /// let _guard = mutex.try_lock();
    /// let (_task, place) = mutex.holder().unwrap();
    /// assert_eq!(place.file(), file!());
    /// ```
    pub fn holder(&self) -> Option<(Option<TaskId>, Place)> {
        self.lock.holder.get().map(|holder| (holder.who.task, holder.place))
    }

    /// Lists the waiters, first come first.
    ///
    /// ```
    /// assert!(picot_sync::Mutex::new(1).waiters().is_empty());
    /// ```
    pub fn waiters(&self) -> Vec<Waiter> {
        self.lock.waiters.list()
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    #[track_caller]
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        // Locked meanwhile: the value's own `Debug` is foreign code, and might lock it.
        match self.try_lock() {
            Some(value) => debug.field("value", &&*value),
            None => debug.field("value", &format_args!("<locked>")),
        };
        debug.field("waiting", &self.lock.waiters.len()).finish()
    }
}

/// Future of [`Mutex::lock`].
///
/// ```
/// let mutex = picot_sync::Mutex::new(1);
/// let lock: picot_sync::Lock<'_, i32> = mutex.lock();
/// # drop(lock);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Lock<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    waiter: Ticket,
    /// The note of this wait for the search for circles, where one is needed.
    edge: Option<EdgeKey>,
}

impl<'a, T: ?Sized> Lock<'a, T> {
    /// As [`Mutex::lock`], with the place of the caller's caller.
    pub(crate) fn at(mutex: &'a Mutex<T>, place: Place) -> Lock<'a, T> {
        Lock { mutex, waiter: Ticket::at(place), edge: None }
    }

    #[inline]
    fn end_edge(&mut self) {
        if let Some(edge) = self.edge.take() {
            deadlock::end(edge);
        }
    }
}

impl<'a, T: ?Sized> Future for Lock<'a, T> {
    type Output = MutexGuard<'a, T>;

    // Where it is awaited, so that the guard need not go through memory.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let Lock { mutex, waiter, .. } = &mut *self;
        let (lock, place, is_new) = (&mutex.lock, waiter.place, !waiter.is_in_line());
        let waker = cx.waker().data().addr();
        let try_lock = || lock.try_lock(|| Who { waker, ..Who::running(None) }, place).then_some(1);
        if lock.waiters.poll_with(waiter, 1, cx, try_lock).is_ready() {
            self.end_edge();
            return Poll::Ready(self.mutex.guard());
        }
        // Only once: a later circle is found by the wait that closes it.
        if is_new {
            self.edge = self.mutex.lock.look_for_circle(&self.waiter, cx);
        }
        Poll::Pending
    }
}

impl<T: ?Sized> Drop for Lock<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A lock that was handed over and not used goes to the next waiter.
        self.end_edge();
        if let Left::Notified(_) = self.mutex.lock.waiters.leave(&mut self.waiter) {
            self.mutex.lock.unlock();
        }
    }
}

impl<T: ?Sized> fmt::Debug for Lock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

/// A held lock, with access to its value. Dropping it unlocks.
///
/// ```
/// let mutex = picot_sync::Mutex::new(1);
/// let guard: picot_sync::MutexGuard<'_, i32> = mutex.try_lock().unwrap();
/// drop(guard);
/// assert!(!mutex.is_locked());
/// ```
#[must_use = "the lock is released at once if the guard is dropped"]
#[doc(alias = "release")]
pub struct MutexGuard<'a, T: ?Sized> {
    // In this order: the borrow of the value ends before the next holder gets the lock.
    value: RefMut<'a, T>,
    held: Held<'a, T>,
}

/// Unlocks when it is dropped.
struct Held<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
}

impl<T: ?Sized> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.lock.unlock();
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    pub(crate) fn mutex(guard: &MutexGuard<'a, T>) -> &'a Mutex<T> {
        guard.held.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

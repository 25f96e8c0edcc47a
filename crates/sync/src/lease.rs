//! Leases: which items of a queue are still being worked on, and waiting for the last of them.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::wait_list::{Ticket, WaitList};
use crate::wake::wake_all;

/// Counts the items that were put and are not done.
pub(crate) struct Unfinished {
    count: Cell<usize>,
    joiners: WaitList,
}

impl Unfinished {
    pub(crate) const fn new(joiners: WaitList) -> Unfinished {
        Unfinished { count: Cell::new(0), joiners }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    #[inline]
    pub(crate) fn begin(&self) {
        self.count.set(self.count.get() + 1);
    }

    #[inline]
    pub(crate) fn done(&self, count: usize) {
        self.count.set(self.count.get() - count);
        // The list of joiners is empty for most queues, so it is tested before the call.
        if self.count.get() == 0 && !self.joiners.is_empty() {
            wake_all(self.joiners.notify_all(1));
        }
    }

    pub(crate) fn join(&self, waiter: Ticket) -> JoinQueue<'_> {
        JoinQueue { unfinished: self, waiter }
    }
}

/// An item that was taken from a queue. It counts as done when this is dropped.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let queue = picot_sync::Queue::new(1);
/// queue.put(7).await.unwrap();
/// let lease = queue.lease().await.unwrap();
/// assert_eq!(*lease, 7);
/// # });
/// ```
#[must_use = "the item counts as done at once if the lease is dropped"]
pub struct Lease<'a, T> {
    // In this order: the item is dropped before it counts as done.
    item: T,
    done: Done<'a>,
}

struct Done<'a>(&'a Unfinished);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done(1);
    }
}

impl<'a, T> Lease<'a, T> {
    pub(crate) fn new(item: T, unfinished: &'a Unfinished) -> Lease<'a, T> {
        Lease { item, done: Done(unfinished) }
    }

    /// Marks the item as done and returns it (asyncio's `task_done`, which cannot be called twice
    /// here).
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let queue = picot_sync::Queue::new(1);
    /// queue.put(7).await.unwrap();
    /// let lease = queue.lease().await.unwrap();
    /// assert_eq!(picot_sync::Lease::finish(lease), 7);
    /// assert_eq!(queue.unfinished(), 0);
    /// # });
    /// ```
    #[doc(alias = "task_done")]
    pub fn finish(lease: Lease<'a, T>) -> T {
        let Lease { item, done } = lease;
        // Wakes the joiners. A panic of a waker is contained, so the item is not lost.
        drop(done);
        item
    }
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.item).finish()
    }
}

/// Future of [`Queue::join`](crate::Queue::join).
///
/// ```
/// let queue = picot_sync::Queue::<u8>::new(1);
/// let join: picot_sync::JoinQueue<'_> = queue.join();
/// # drop(join);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct JoinQueue<'a> {
    unfinished: &'a Unfinished,
    waiter: Ticket,
}

impl Future for JoinQueue<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let JoinQueue { unfinished, waiter } = &mut *self;
        unfinished.joiners.poll_with(waiter, 1, cx, || (unfinished.count() == 0).then_some(1)).map(drop)
    }
}

impl Drop for JoinQueue<'_> {
    fn drop(&mut self) {
        self.unfinished.joiners.leave(&mut self.waiter);
    }
}

impl fmt::Debug for JoinQueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinQueue").finish_non_exhaustive()
    }
}

//! `Event`: a flag that tasks wait for.
//!
//! `set` notifies every waiter of that moment for good: `clear` before they run takes nothing back.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::dump::Waiter;
use crate::wait_list::{Ticket, WaitList};
use crate::wake::wake_all;

/// A flag that is set and cleared, and that any number of tasks wait for (asyncio's `Event`).
///
/// ```
/// use std::task::{Context, Waker};
/// use picot_sync::Event;
///
/// let started = Event::new();
/// let mut wait = std::pin::pin!(started.wait());
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(wait.as_mut().poll(&mut cx).is_pending());
/// started.set();
/// started.clear(); // too late for those who were waiting
/// assert!(wait.poll(&mut cx).is_ready());
/// ```
#[doc(alias = "Notify")]
pub struct Event {
    is_set: Cell<bool>,
    waiters: WaitList,
}

impl Event {
    /// Makes an event that is not set.
    ///
    /// ```
    /// assert!(!picot_sync::Event::new().is_set());
    /// ```
    #[track_caller]
    pub const fn new() -> Event {
        Event { is_set: Cell::new(false), waiters: WaitList::new("Event::wait", Location::caller()) }
    }

    /// Sets the flag and wakes every waiter.
    ///
    /// ```
    /// let event = picot_sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        self.is_set.set(true);
        wake_all(self.waiters.notify_all(1));
    }

    /// Clears the flag. Tasks that waited when it was set still continue.
    ///
    /// ```
    /// let event = picot_sync::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.is_set.set(false);
    }

    /// Returns whether the flag is set.
    ///
    /// ```
    /// let event = picot_sync::Event::new();
    /// assert!(!event.is_set());
    /// ```
    pub fn is_set(&self) -> bool {
        self.is_set.get()
    }

    /// Waits until the flag is set. Completes at once if it is set.
    ///
    /// # If dropped
    /// Nothing is lost: setting the flag is meant for every waiter.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let event = picot_sync::Event::new();
    /// event.set();
    /// event.wait().await;
    /// # });
    /// ```
    #[track_caller]
    pub fn wait(&self) -> WaitEvent<'_> {
        WaitEvent { event: self, waiter: Ticket::new() }
    }

    /// Lists the waiters, first come first.
    ///
    /// ```
    /// assert!(picot_sync::Event::new().waiters().is_empty());
    /// ```
    pub fn waiters(&self) -> Vec<Waiter> {
        self.waiters.list()
    }
}

impl Default for Event {
    #[track_caller]
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).field("waiting", &self.waiters.len()).finish()
    }
}

/// Future of [`Event::wait`].
///
/// ```
/// let event = picot_sync::Event::new();
/// let wait: picot_sync::WaitEvent<'_> = event.wait();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitEvent<'a> {
    event: &'a Event,
    waiter: Ticket,
}

impl Future for WaitEvent<'_> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let WaitEvent { event, waiter } = &mut *self;
        event.waiters.poll_with(waiter, 1, cx, || event.is_set().then_some(1)).map(drop)
    }
}

impl Drop for WaitEvent<'_> {
    fn drop(&mut self) {
        self.event.waiters.leave(&mut self.waiter);
    }
}

impl fmt::Debug for WaitEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitEvent").finish_non_exhaustive()
    }
}

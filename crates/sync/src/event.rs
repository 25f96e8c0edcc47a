//! `Event`: a flag that tasks wait for.
//!
//! Setting notifies everybody who waits at that moment, for good: clearing it before they run takes nothing back.

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
    /// An event that is not set.
    #[track_caller]
    pub const fn new() -> Event {
        Event { is_set: Cell::new(false), waiters: WaitList::new("Event::wait", Location::caller()) }
    }

    /// Sets the flag, and lets everybody go on who waits now.
    pub fn set(&self) {
        self.is_set.set(true);
        wake_all(self.waiters.notify_all(1));
    }

    /// Clears the flag. Whoever waited when it was set goes on all the same.
    pub fn clear(&self) {
        self.is_set.set(false);
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        self.is_set.get()
    }

    /// Waits until the flag is set; does not suspend if it is.
    ///
    /// # If dropped
    /// Nothing is lost: an event has nothing that only one can take.
    #[track_caller]
    pub fn wait(&self) -> WaitEvent<'_> {
        WaitEvent { event: self, waiter: Ticket::new() }
    }

    /// Those who wait, the first first.
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

/// Waits for an event: what [`Event::wait`] returns.
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

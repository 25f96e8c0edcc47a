//! A value that changes, and whose receivers see the last state: [`channel`] makes the two ends.
//!
//! Each value has a version, and each receiver knows which version it has seen. So a late receiver
//! sees only the last value, and a receiver whose wait is dropped misses nothing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use picot_context::budget;

use crate::wait_list::{Ticket, WaitList};
use crate::wake::wake_all;

struct Shared<T> {
    value: RefCell<Rc<T>>,
    version: Cell<u64>,
    senders: Cell<usize>,
    waiters: WaitList,
}

impl<T> Shared<T> {
    fn get(&self) -> Rc<T> {
        self.value.borrow().clone()
    }

    fn has_ended(&self) -> bool {
        self.senders.get() == 0
    }
}

/// Makes the two ends of a value that changes. Both can be cloned.
///
/// ```
/// use picot_sync::watch;
///
/// let (sender, receiver) = watch::channel("starting");
/// sender.send("ready");
/// assert_eq!(*receiver.get(), "ready");
/// ```
#[track_caller]
#[doc(alias = "broadcast")]
pub fn channel<T>(initial: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: RefCell::new(Rc::new(initial)),
        version: Cell::new(0),
        senders: Cell::new(1),
        waiters: WaitList::new("watch::Receiver::changed", Location::caller()),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, seen: 0 })
}

/// The end that sets the value.
///
/// ```
/// let (sender, _receiver) = picot_sync::watch::channel(1);
/// assert_eq!(*sender.send(2), 1);
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sets the value, wakes every receiver that waits for a change, and returns the value before.
    ///
    /// Tasks that hold the value before keep it.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::watch::channel(1);
    /// sender.send(2);
    /// assert_eq!(*receiver.get(), 2);
    /// ```
    pub fn send(&self, value: T) -> Rc<T> {
        // The old value goes to the caller: its drop is user code, and no borrow is live there.
        let old = self.shared.value.replace(Rc::new(value));
        self.shared.version.set(self.shared.version.get() + 1);
        wake_all(self.shared.waiters.notify_all(1));
        old
    }

    /// Returns the value.
    ///
    /// ```
    /// assert_eq!(*picot_sync::watch::channel(1).0.get(), 1);
    /// ```
    pub fn get(&self) -> Rc<T> {
        self.shared.get()
    }

    /// Makes a receiver that has seen the value of now.
    ///
    /// ```
    /// let (sender, _) = picot_sync::watch::channel(1);
    /// assert!(!sender.subscribe().has_changed());
    /// ```
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.shared.clone(), seen: self.shared.version.get() }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Sender { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.senders.set(self.shared.senders.get() - 1);
        if self.shared.has_ended() {
            wake_all(self.shared.waiters.notify_all(1));
        }
    }
}

/// The end that watches.
///
/// ```
/// let (sender, receiver) = picot_sync::watch::channel(1);
/// sender.send(2);
/// assert!(receiver.has_changed());
/// ```
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

impl<T> Receiver<T> {
    /// Returns the value of now. It stays as it is for as long as the caller holds it.
    ///
    /// ```
    /// assert_eq!(*picot_sync::watch::channel(1).1.get(), 1);
    /// ```
    pub fn get(&self) -> Rc<T> {
        self.shared.get()
    }

    /// Returns whether [`changed`](Receiver::changed) would return a value at once.
    ///
    /// ```
    /// assert!(!picot_sync::watch::channel(1).1.has_changed());
    /// ```
    pub fn has_changed(&self) -> bool {
        self.seen != self.shared.version.get()
    }

    /// Waits for a value that this receiver has not seen, and returns the last one.
    ///
    /// # Errors
    /// [`Ended`] if there is none and all senders are gone.
    ///
    /// # If dropped
    /// A change during the wait is still new to this receiver.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = picot_sync::watch::channel(1);
    /// sender.send(2);
    /// assert_eq!(*receiver.changed().await.unwrap(), 2);
    /// # });
    /// ```
    #[track_caller]
    pub fn changed(&mut self) -> Changed<'_, T> {
        Changed { receiver: self, waiter: Ticket::new() }
    }

    /// Waits until `is_right` returns true for the value, and returns the value.
    ///
    /// Completes at once if the first call returns true. `is_right` does not see values that are
    /// replaced before this task runs.
    ///
    /// # Errors
    /// [`Ended`] if the last value is not right and all senders are gone.
    ///
    /// # If dropped
    /// As with [`changed`](Receiver::changed).
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = picot_sync::watch::channel(1);
    /// sender.send(5);
    /// assert_eq!(*receiver.wait_for(|value| *value > 3).await.unwrap(), 5);
    /// # });
    /// ```
    #[track_caller]
    pub fn wait_for<F: FnMut(&T) -> bool>(&mut self, is_right: F) -> WaitFor<'_, T, F> {
        WaitFor { receiver: self, waiter: Ticket::new(), is_right }
    }

    fn see(&mut self) -> Rc<T> {
        self.seen = self.shared.version.get();
        self.shared.get()
    }

    /// Ready once there is a new value, or once all senders are gone.
    fn poll_news(&self, waiter: &mut Ticket, cx: &mut Context<'_>) -> Poll<()> {
        let news = || (self.has_changed() || self.shared.has_ended()).then_some(1);
        self.shared.waiters.poll_with(waiter, 1, cx, news).map(drop)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

/// Future of [`Receiver::changed`].
///
/// ```
/// let (_sender, mut receiver) = picot_sync::watch::channel(1);
/// let wait: picot_sync::watch::Changed<'_, i32> = receiver.changed();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Changed<'a, T> {
    receiver: &'a mut Receiver<T>,
    waiter: Ticket,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<Rc<T>, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Changed { receiver, waiter } = &mut *self;
        ready!(receiver.poll_news(waiter, cx));
        // A last value that was sent before the end is still received.
        Poll::Ready(if receiver.has_changed() { Ok(receiver.see()) } else { Err(Ended) })
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        self.receiver.shared.waiters.leave(&mut self.waiter);
    }
}

/// Future of [`Receiver::wait_for`].
///
/// ```
/// let (_sender, mut receiver) = picot_sync::watch::channel(1);
/// let wait: picot_sync::watch::WaitFor<'_, i32, _> = receiver.wait_for(|value| *value > 3);
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitFor<'a, T, F> {
    receiver: &'a mut Receiver<T>,
    waiter: Ticket,
    is_right: F,
}

/// The closure is called, never pinned.
impl<T, F> Unpin for WaitFor<'_, T, F> {}

impl<T, F: FnMut(&T) -> bool> Future for WaitFor<'_, T, F> {
    type Output = Result<Rc<T>, Ended>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WaitFor { receiver, waiter, is_right } = self.get_mut();
        loop {
            if !waiter.is_in_line() {
                // A look may complete it, so it takes part in the budget as a wait does. Nothing is
                // looked at without.
                ready!(budget::poll_left(cx));
                let value = receiver.see();
                let result = if is_right(&value) {
                    Some(Ok(value))
                } else {
                    (receiver.shared.has_ended() && !receiver.has_changed()).then_some(Err(Ended))
                };
                if let Some(result) = result {
                    budget::spend();
                    return Poll::Ready(result);
                }
            }
            ready!(receiver.poll_news(waiter, cx));
        }
    }
}

impl<T, F> Drop for WaitFor<'_, T, F> {
    fn drop(&mut self) {
        self.receiver.shared.waiters.leave(&mut self.waiter);
    }
}

/// The error of waiting for a change when all senders are gone.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let (sender, mut receiver) = picot_sync::watch::channel(1);
/// drop(sender);
/// assert_eq!(receiver.changed().await, Err(picot_sync::watch::Ended));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value will not change any more: all of its senders were dropped")
    }
}

impl std::error::Error for Ended {}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("value", &self.get()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("value", &self.get()).field("has_changed", &self.has_changed()).finish()
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").finish_non_exhaustive()
    }
}

impl<T, F> fmt::Debug for WaitFor<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitFor").finish_non_exhaustive()
    }
}

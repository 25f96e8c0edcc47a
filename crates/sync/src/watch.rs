//! A value that changes, and whose receivers see the last state: [`channel`] makes the two ends.
//!
//! Each value has a version, and each receiver knows which version it has seen. So a late receiver
//! sees only the last value, and a receiver whose wait is dropped misses nothing.
//!
//! What `borrow` returns is a share of the value and not a lock on it: a task may hold it over an
//! await, and no sender waits or panics for that.

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

/// The message of a use of the channel by a closure that it calls with the value borrowed.
const IN_USE: &str = "the closure of `send_if_modified` or `send_modify` must not use its own channel";

impl<T> Shared<T> {
    fn borrow(&self) -> Rc<T> {
        self.value.try_borrow().expect(IN_USE).clone()
    }

    /// The value for `Debug`, which must not panic: `None` while a closure changes it. Cloned, so
    /// that the value's own `Debug` runs without a borrow.
    fn debug_value(&self) -> Option<Rc<T>> {
        self.value.try_borrow().ok().map(|value| value.clone())
    }

    /// Counts a change, and wakes the receivers.
    fn changed(&self) {
        self.version.set(self.version.get() + 1);
        wake_all(self.waiters.notify_all(1));
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
/// assert_eq!(*receiver.borrow(), "ready");
/// ```
#[track_caller]
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
    /// assert_eq!(*receiver.borrow(), 2);
    /// ```
    #[doc(alias = "send_replace")]
    pub fn send(&self, value: T) -> Rc<T> {
        // The old value goes to the caller: its drop is user code, and no borrow is live there.
        let new = Rc::new(value);
        let old = std::mem::replace(&mut *self.shared.value.try_borrow_mut().expect(IN_USE), new);
        self.shared.changed();
        old
    }

    /// Lets `modify` change the value, and wakes the receivers if it returns true. Returns what it
    /// returns.
    ///
    /// The value is changed in place, unless a task holds it: then a clone is changed, and the task
    /// keeps what it holds. If `modify` panics or returns false, what it has changed stays, and no
    /// receiver is woken.
    ///
    /// # Panics
    /// If `modify` uses this channel.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::watch::channel(vec![1]);
    /// let add = |n: u32| {
    ///     sender.send_if_modified(|list| {
    ///         let is_new = !list.contains(&n);
    ///         list.extend(is_new.then_some(n));
    ///         is_new
    ///     })
    /// };
    /// assert!(!add(1) && !receiver.has_changed());
    /// assert!(add(2) && *receiver.borrow() == [1, 2]);
    /// ```
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        // Borrowed while user code runs, so that the value need not be cloned each time. A use of
        // the channel from in there panics, and names the reason.
        let mut value = self.shared.value.try_borrow_mut().expect(IN_USE);
        let is_modified = modify(Rc::make_mut(&mut value));
        drop(value);
        if is_modified {
            self.shared.changed();
        }
        is_modified
    }

    /// Lets `modify` change the value, and wakes the receivers.
    ///
    /// Otherwise it is as [`send_if_modified`](Sender::send_if_modified).
    ///
    /// # Panics
    /// If `modify` uses this channel.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::watch::channel(1);
    /// sender.send_modify(|value| *value += 1);
    /// assert_eq!(*receiver.borrow(), 2);
    /// ```
    pub fn send_modify(&self, modify: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Returns the value of now. It stays as it is for as long as the caller holds it.
    ///
    /// ```
    /// assert_eq!(*picot_sync::watch::channel(1).0.borrow(), 1);
    /// ```
    pub fn borrow(&self) -> Rc<T> {
        self.shared.borrow()
    }

    /// The former name of [`borrow`](Sender::borrow).
    #[doc(hidden)]
    #[deprecated(note = "it is called `borrow` now")]
    pub fn get(&self) -> Rc<T> {
        self.borrow()
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
    /// The value still counts as new to this receiver if it was; see
    /// [`borrow_and_update`](Receiver::borrow_and_update).
    ///
    /// ```
    /// assert_eq!(*picot_sync::watch::channel(1).1.borrow(), 1);
    /// ```
    pub fn borrow(&self) -> Rc<T> {
        self.shared.borrow()
    }

    /// Returns the value of now, which this receiver has seen then.
    ///
    /// A later [`changed`](Receiver::changed) waits for another value. So a loop that works on the
    /// value and then waits for `changed` does no work twice.
    ///
    /// ```
    /// let (sender, mut receiver) = picot_sync::watch::channel(1);
    /// sender.send(2);
    /// assert_eq!(*receiver.borrow_and_update(), 2);
    /// assert!(!receiver.has_changed());
    /// ```
    pub fn borrow_and_update(&mut self) -> Rc<T> {
        self.seen = self.shared.version.get();
        self.shared.borrow()
    }

    /// The former name of [`borrow`](Receiver::borrow).
    #[doc(hidden)]
    #[deprecated(note = "it is called `borrow` now")]
    pub fn get(&self) -> Rc<T> {
        self.borrow()
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
        Poll::Ready(if receiver.has_changed() { Ok(receiver.borrow_and_update()) } else { Err(Ended) })
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
                let value = receiver.borrow_and_update();
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
        f.debug_struct("Sender").field("value", &self.shared.debug_value()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.shared.debug_value();
        f.debug_struct("Receiver").field("value", &value).field("has_changed", &self.has_changed()).finish()
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

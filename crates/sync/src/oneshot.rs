//! One value from one task to another: [`channel`] makes the two ends.
//!
//! The state only moves forward: from open to sent, or to one end being gone. It is read without a
//! borrow. A value that the receiver did not take is dropped with the receiver.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::wait_list::{Ticket, WaitList};
use crate::wake::wake_all;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Both ends exist, and nothing was sent.
    Open,
    /// The sender has ended: the value, if it sent one, lies there until it is taken.
    Ended,
    /// The receiver is gone.
    Unwanted,
}

struct Shared<T> {
    state: Cell<State>,
    value: Cell<Option<T>>,
    receiving: WaitList,
    closing: WaitList,
}

/// Makes the two ends of a channel for one value.
///
/// ```
/// use picot_sync::oneshot;
///
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// let (sender, mut receiver) = oneshot::channel();
/// assert_eq!(receiver.try_recv(), Err(oneshot::TryRecvError::Empty));
/// sender.send(7).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(7)); // or `receiver.await`
/// ```
#[track_caller]
#[doc(alias = "create_future")]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let made = Location::caller();
    let shared = Rc::new(Shared {
        state: Cell::new(State::Open),
        value: Cell::new(None),
        receiving: WaitList::new("oneshot::Receiver", made),
        closing: WaitList::new("oneshot::Sender::closed", made),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, waiter: Ticket::at(made) })
}

/// The end that sends. Dropping it without sending ends the receiver's wait with [`Dropped`].
///
/// ```
/// let (sender, mut receiver) = picot_sync::oneshot::channel::<u8>();
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(picot_sync::oneshot::TryRecvError::Dropped));
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends the value.
    ///
    /// # Errors
    /// The value, if the receiver is gone.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::oneshot::channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(7), Err(7));
    /// ```
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.shared.value.set(Some(value));
        // The drop of the sender does the rest.
        Ok(())
    }

    /// Returns whether the receiver is gone.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::oneshot::channel::<u8>();
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.shared.state.get() == State::Unwanted
    }

    /// Waits until the receiver is gone, so that the sender can stop its work.
    ///
    /// # If dropped
    /// Nothing is lost.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = picot_sync::oneshot::channel::<u8>();
    /// drop(receiver);
    /// sender.closed().await;
    /// # });
    /// ```
    #[track_caller]
    pub fn closed(&self) -> WaitClosed<'_, T> {
        WaitClosed { sender: self, waiter: Ticket::new() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // The receiver's end is final: no state follows it.
        if !self.is_closed() {
            self.shared.state.set(State::Ended);
            wake_all(self.shared.receiving.notify_all(1));
        }
    }
}

/// The end that receives: a future of the value.
///
/// # If dropped
/// A value that was sent and not taken is dropped with it. To stop waiting and ask again later,
/// await `&mut receiver`.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let (sender, receiver) = picot_sync::oneshot::channel();
/// sender.send(7).unwrap();
/// assert_eq!(receiver.await, Ok(7));
/// # });
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    waiter: Ticket,
}

impl<T> Receiver<T> {
    /// Takes the value, if it has been sent.
    ///
    /// # Errors
    /// [`TryRecvError`] if it has not been sent yet, or will not be.
    ///
    /// ```
    /// let (sender, mut receiver) = picot_sync::oneshot::channel();
    /// sender.send(7).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.shared.value.take() {
            Some(value) => Ok(value),
            None if self.shared.state.get() == State::Open => Err(TryRecvError::Empty),
            None => Err(TryRecvError::Dropped),
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Dropped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Dropped>> {
        let Receiver { shared, waiter } = &mut *self;
        ready!(shared.receiving.poll_with(waiter, 1, cx, || (shared.state.get() != State::Open).then_some(1)));
        Poll::Ready(shared.value.take().ok_or(Dropped))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiving.leave(&mut self.waiter);
        // Set before the wakes below, whose tasks ask `is_closed`.
        self.shared.state.set(State::Unwanted);
        let value = self.shared.value.take();
        wake_all(self.shared.closing.notify_all(1));
        // Last: it is foreign, and may panic in its drop.
        drop(value);
    }
}

/// Future of [`Sender::closed`].
///
/// ```
/// let (sender, _receiver) = picot_sync::oneshot::channel::<u8>();
/// let wait: picot_sync::oneshot::WaitClosed<'_, u8> = sender.closed();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitClosed<'a, T> {
    sender: &'a Sender<T>,
    waiter: Ticket,
}

impl<T> Future for WaitClosed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let WaitClosed { sender, waiter } = &mut *self;
        sender.shared.closing.poll_with(waiter, 1, cx, || sender.is_closed().then_some(1)).map(drop)
    }
}

impl<T> Drop for WaitClosed<'_, T> {
    fn drop(&mut self) {
        self.sender.shared.closing.leave(&mut self.waiter);
    }
}

/// The error of a receiver whose sender was dropped without sending, or whose value was taken
/// before.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let (sender, receiver) = picot_sync::oneshot::channel::<u8>();
/// drop(sender);
/// assert_eq!(receiver.await, Err(picot_sync::oneshot::Dropped));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing will be received: the sender was dropped without sending, or the value was taken before")
    }
}

impl std::error::Error for Dropped {}

/// Why [`Receiver::try_recv`] returned no value.
///
/// ```
/// let (_sender, mut receiver) = picot_sync::oneshot::channel::<u8>();
/// assert_eq!(receiver.try_recv(), Err(picot_sync::oneshot::TryRecvError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// It has not been sent yet.
    Empty,
    /// It will not come; see [`Dropped`].
    Dropped,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => f.write_str("nothing has been sent yet; await the receiver"),
            TryRecvError::Dropped => Dropped.fmt(f),
        }
    }
}

impl std::error::Error for TryRecvError {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for WaitClosed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitClosed").finish_non_exhaustive()
    }
}

//! A queue whose two ends notice each other's end: [`channel`] makes a sender, which can be cloned,
//! and its receiver.
//!
//! It is a [`Queue`] with owners. The last sender that is dropped closes it, so the receiver gets
//! the items that are left and then an end. The receiver that is dropped closes it, too: a send is
//! an error then, and returns its item.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use picot_context::{Kind, Origin, contain};

use crate::order::Fifo;
use crate::queue::{Names, Put, PutError, Queue, TryGetError, TryPutError};
use crate::wait_list::{Ticket, WaitList};
use crate::wake::wake_all;

struct Shared<T> {
    /// Closed by whichever end goes first.
    queue: Queue<T>,
    senders: Cell<usize>,
    /// The senders that wait for the receiver's end.
    closing: WaitList,
}

impl<T> Shared<T> {
    fn close_by_receiver(&self) {
        self.queue.close();
        wake_all(self.closing.notify_all(1));
    }
}

/// Makes a channel for at most `capacity` items that were sent and not received.
///
/// A send waits while the channel is full: this back-pressure keeps a fast producer from filling
/// the memory.
///
/// # Panics
/// If `capacity` is 0.
///
/// ```
/// use picot_sync::mpsc;
///
/// # futures_lite::future::block_on(async {
/// let (sender, mut receiver) = mpsc::channel(8);
/// let other = sender.clone();
/// sender.send("from one").await.unwrap();
/// other.send("from the other").await.unwrap();
/// drop((sender, other));
/// assert_eq!(receiver.recv().await, Some("from one"));
/// assert_eq!(receiver.recv().await, Some("from the other"));
/// assert_eq!(receiver.recv().await, None, "all senders were dropped");
/// # });
/// ```
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends(Some(capacity), Location::caller())
}

/// Makes a channel in which no send waits for room. Its senders need another limit.
///
/// ```
/// let (sender, mut receiver) = picot_sync::mpsc::unbounded();
/// (0..1_000).for_each(|n| sender.try_send(n).unwrap());
/// assert_eq!((receiver.len(), receiver.try_recv()), (1_000, Ok(0)));
/// ```
#[track_caller]
#[doc(alias = "unbounded_channel")]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends(None, Location::caller())
}

#[track_caller]
fn ends<T>(capacity: Option<usize>, made: picot_context::Place) -> (Sender<T>, Receiver<T>) {
    let names = Names { put: "mpsc::Sender::send", get: "mpsc::Receiver::recv", join: "mpsc" };
    let shared = Rc::new(Shared {
        queue: Queue::with_capacity(capacity, names, made),
        senders: Cell::new(1),
        closing: WaitList::new("mpsc::Sender::closed", made),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, waiter: Ticket::at(made) })
}

/// The end that sends. The channel ends for its receiver when all clones are dropped.
///
/// ```
/// let (sender, mut receiver) = picot_sync::mpsc::channel::<u8>(1);
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(picot_sync::mpsc::TryRecvError::Ended));
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `item`, once there is room. Sends get room in the order of their first poll.
    ///
    /// # Errors
    /// [`SendError`] with the item, if the receiver is gone or closed, also during the wait.
    ///
    /// # If dropped
    /// The item is dropped and was not sent. Room that the wait was given goes to the next waiter.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = picot_sync::mpsc::channel(1);
    /// sender.send(7).await.unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send(8).await.unwrap_err().0, 8);
    /// # });
    /// ```
    #[track_caller]
    pub fn send(&self, item: T) -> SendItem<'_, T> {
        SendItem { put: self.shared.queue.put(item) }
    }

    /// Sends `item`, if there is room that no other send waits for.
    ///
    /// # Errors
    /// [`TrySendError`] with the item, if the channel is full, or the receiver gone or closed.
    ///
    /// ```
    /// let (sender, _receiver) = picot_sync::mpsc::channel(1);
    /// assert!(sender.try_send(1).is_ok());
    /// assert_eq!(sender.try_send(2).unwrap_err().into_inner(), 2);
    /// ```
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.shared.queue.try_put(item).map_err(|error| match error {
            TryPutError::Full { item, .. } => TrySendError::Full(item),
            TryPutError::Closed(item) => TrySendError::Closed(item),
        })
    }

    /// Waits for room for one item, which [`Permit::send`] then sends without a wait.
    ///
    /// For a task that makes its item only when it can be sent. Reserved room counts as taken.
    ///
    /// # Errors
    /// [`SendError`] if the receiver is gone or closed, also during the wait.
    ///
    /// # If dropped
    /// Room that the wait was given goes to the next waiter.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = picot_sync::mpsc::channel(1);
    /// let permit = sender.reserve().await.unwrap();
    /// assert!(sender.try_send(1).is_err(), "its room is taken");
    /// permit.send(2).unwrap();
    /// assert_eq!(receiver.recv().await, Some(2));
    /// # });
    /// ```
    #[track_caller]
    pub fn reserve(&self) -> Reserve<'_, T> {
        Reserve { sender: self, waiter: Ticket::new() }
    }

    /// Takes room for one item, if there is room that no other send waits for.
    ///
    /// # Errors
    /// [`TrySendError`] if the channel is full, or the receiver gone or closed.
    ///
    /// ```
    /// let (sender, _receiver) = picot_sync::mpsc::channel::<u8>(1);
    /// let permit = sender.try_reserve().unwrap();
    /// assert!(sender.try_reserve().is_err());
    /// drop(permit);
    /// assert!(sender.try_reserve().is_ok());
    /// ```
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        if self.is_closed() {
            Err(TrySendError::Closed(()))
        } else if self.shared.queue.try_take_room() {
            Ok(Permit { sender: self })
        } else {
            Err(TrySendError::Full(()))
        }
    }

    /// Waits until the receiver is gone or closed, so that the sender can stop its work.
    ///
    /// # If dropped
    /// Nothing is lost.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = picot_sync::mpsc::channel::<u8>(1);
    /// drop(receiver);
    /// sender.closed().await;
    /// # });
    /// ```
    #[track_caller]
    pub fn closed(&self) -> WaitReceiver<'_, T> {
        WaitReceiver { sender: self, waiter: Ticket::new() }
    }

    /// Returns whether the receiver is gone or closed.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::mpsc::channel::<u8>(1);
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        // While a sender exists, only the receiver closes the queue.
        self.shared.queue.is_closed()
    }

    /// Returns the most items that the channel holds; `None` without bounds.
    ///
    /// ```
    /// assert_eq!(picot_sync::mpsc::channel::<u8>(3).0.capacity(), Some(3));
    /// ```
    #[doc(alias = "max_capacity")]
    pub fn capacity(&self) -> Option<usize> {
        self.shared.queue.capacity()
    }

    /// Makes a handle that does not keep the channel open for its receiver.
    ///
    /// ```
    /// let (sender, mut receiver) = picot_sync::mpsc::channel(1);
    /// let weak = sender.downgrade();
    /// weak.upgrade().unwrap().try_send(1).unwrap();
    /// drop(sender);
    /// assert!(weak.upgrade().is_none());
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender { shared: Rc::downgrade(&self.shared) }
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
        if self.shared.senders.get() == 0 {
            self.shared.queue.close();
        }
    }
}

/// A sender that does not keep the channel open; made by [`Sender::downgrade`].
///
/// ```
/// let (sender, _receiver) = picot_sync::mpsc::channel::<u8>(1);
/// let weak: picot_sync::mpsc::WeakSender<u8> = sender.downgrade();
/// assert!(weak.upgrade().is_some());
/// ```
pub struct WeakSender<T> {
    shared: Weak<Shared<T>>,
}

impl<T> WeakSender<T> {
    /// Makes a sender, unless all senders were dropped: the channel has ended then.
    ///
    /// ```
    /// let (sender, _receiver) = picot_sync::mpsc::channel::<u8>(1);
    /// let weak = sender.downgrade();
    /// drop(sender);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn upgrade(&self) -> Option<Sender<T>> {
        let shared = self.shared.upgrade().filter(|shared| shared.senders.get() > 0)?;
        shared.senders.set(shared.senders.get() + 1);
        Some(Sender { shared })
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> WeakSender<T> {
        WeakSender { shared: self.shared.clone() }
    }
}

/// Room for one item; made by [`Sender::reserve`]. Dropping it returns the room.
///
/// ```
/// let (sender, mut receiver) = picot_sync::mpsc::channel(1);
/// let permit: picot_sync::mpsc::Permit<'_, u8> = sender.try_reserve().unwrap();
/// permit.send(7).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(7));
/// ```
#[must_use = "the room is returned at once if the permit is dropped"]
pub struct Permit<'a, T> {
    sender: &'a Sender<T>,
}

impl<T> Permit<'_, T> {
    /// Sends an item into the reserved room.
    ///
    /// # Errors
    /// [`SendError`] with the item, if the receiver is gone or closed by now.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::mpsc::channel(1);
    /// let permit = sender.try_reserve().unwrap();
    /// drop(receiver);
    /// assert_eq!(permit.send(7).unwrap_err().0, 7);
    /// ```
    pub fn send(self, item: T) -> Result<(), SendError<T>> {
        if self.sender.is_closed() {
            return Err(SendError(item));
        }
        let sender = self.sender;
        // The item takes the room, so the drop must not return it.
        std::mem::forget(self);
        sender.shared.queue.insert(item);
        Ok(())
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        self.sender.shared.queue.return_room();
    }
}

/// The end that receives. Dropping it makes every send an error, and drops the items that were
/// sent and not received.
///
/// ```
/// let (sender, mut receiver) = picot_sync::mpsc::channel(1);
/// sender.try_send(7).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(7));
/// ```
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// Of the last poll, by [`poll_recv`](Receiver::poll_recv) or by [`Recv`].
    waiter: Ticket,
}

impl<T> Receiver<T> {
    /// Receives the next item, once there is one. Returns `None` once the channel has ended: no
    /// item is left, and all senders were dropped or the receiver was closed.
    ///
    /// # If dropped
    /// No item is lost.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = picot_sync::mpsc::channel(1);
    /// sender.try_send(7).unwrap();
    /// drop(sender);
    /// assert_eq!((receiver.recv().await, receiver.recv().await), (Some(7), None));
    /// # });
    /// ```
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, T> {
        self.set_place(Location::caller());
        Recv { receiver: self }
    }

    /// As [`recv`](Receiver::recv), for hand-written futures and streams. The last task to poll is
    /// woken.
    ///
    /// With `futures-lite`, `stream::poll_fn(move |cx| receiver.poll_recv(cx))` is a stream.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = picot_sync::mpsc::channel(1);
    /// sender.try_send(7).unwrap();
    /// assert_eq!(std::future::poll_fn(|cx| receiver.poll_recv(cx)).await, Some(7));
    /// # });
    /// ```
    #[track_caller]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.set_place(Location::caller());
        self.shared.queue.poll_get(&mut self.waiter, cx)
    }

    fn set_place(&mut self, place: picot_context::Place) {
        if !self.waiter.is_in_line() {
            self.waiter.place = place;
        }
    }

    /// Receives the next item, if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`] if there is none, or the channel has ended.
    ///
    /// ```
    /// use picot_sync::mpsc::TryRecvError;
    ///
    /// let (sender, mut receiver) = picot_sync::mpsc::channel::<u8>(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Ended));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        // This is the only receiver, so it may take the item that its last poll was given. A waiter
        // that has none stays in line: a stream that waits is still woken.
        if self.shared.queue.is_given(&self.waiter) {
            self.shared.queue.abandon_get(&mut self.waiter);
        }
        self.shared.queue.try_get().map_err(|error| match error {
            TryGetError::Empty => TryRecvError::Empty,
            TryGetError::Closed => TryRecvError::Ended,
        })
    }

    /// Closes the channel: every send is an error from now on, also one that waits. The items that
    /// were sent can still be received.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = picot_sync::mpsc::channel(2);
    /// sender.send(1).await.unwrap();
    /// receiver.close();
    /// assert!(sender.send(2).await.is_err());
    /// assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), None));
    /// # });
    /// ```
    pub fn close(&mut self) {
        self.shared.close_by_receiver();
    }

    /// Returns how many items were sent and not received.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::mpsc::channel(2);
    /// sender.try_send(1).unwrap();
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.shared.queue.len()
    }

    /// Returns whether no item was sent that was not received.
    ///
    /// ```
    /// assert!(picot_sync::mpsc::channel::<u8>(1).1.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.shared.queue.is_empty()
    }

    /// Returns whether no send can succeed any more: all senders were dropped, or the receiver was
    /// closed.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::mpsc::channel::<u8>(1);
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.queue.abandon_get(&mut self.waiter);
        let items = self.shared.queue.close_now();
        self.shared.close_by_receiver();
        // Last, because they are foreign: the senders have learned of the end by now. A panic of
        // one is reported, and the others are dropped, too.
        let origin = || Origin::running().unwrap_or(Origin::new(Kind::Task));
        contain::discard_each(origin, items);
    }
}

/// Future of [`Sender::send`].
///
/// ```
/// let (sender, _receiver) = picot_sync::mpsc::channel(1);
/// let send: picot_sync::mpsc::SendItem<'_, u8> = sender.send(1);
/// # drop(send);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct SendItem<'a, T> {
    put: Put<'a, T, Fifo<T>>,
}

impl<T> Future for SendItem<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.put).poll(cx).map_err(|PutError(item)| SendError(item))
    }
}

/// Future of [`Sender::reserve`].
///
/// ```
/// let (sender, _receiver) = picot_sync::mpsc::channel(1);
/// let wait: picot_sync::mpsc::Reserve<'_, u8> = sender.reserve();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Reserve<'a, T> {
    sender: &'a Sender<T>,
    waiter: Ticket,
}

impl<'a, T> Future for Reserve<'a, T> {
    type Output = Result<Permit<'a, T>, SendError<()>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Reserve { sender, waiter } = &mut *self;
        ready!(sender.shared.queue.poll_take_room(waiter, cx));
        let permit = Permit { sender };
        // Asked last: a closed queue has room for all, so that no wait for room is left.
        Poll::Ready(if sender.is_closed() { Err(SendError(())) } else { Ok(permit) })
    }
}

impl<T> Drop for Reserve<'_, T> {
    fn drop(&mut self) {
        self.sender.shared.queue.abandon_room(&mut self.waiter);
    }
}

/// Future of [`Sender::closed`].
///
/// ```
/// let (sender, _receiver) = picot_sync::mpsc::channel::<u8>(1);
/// let wait: picot_sync::mpsc::WaitReceiver<'_, u8> = sender.closed();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitReceiver<'a, T> {
    sender: &'a Sender<T>,
    waiter: Ticket,
}

impl<T> Future for WaitReceiver<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let WaitReceiver { sender, waiter } = &mut *self;
        sender.shared.closing.poll_with(waiter, 1, cx, || sender.is_closed().then_some(1)).map(drop)
    }
}

impl<T> Drop for WaitReceiver<'_, T> {
    fn drop(&mut self) {
        self.sender.shared.closing.leave(&mut self.waiter);
    }
}

/// Future of [`Receiver::recv`].
///
/// ```
/// let (_sender, mut receiver) = picot_sync::mpsc::channel::<u8>(1);
/// let wait: picot_sync::mpsc::Recv<'_, u8> = receiver.recv();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Recv<'a, T> {
    receiver: &'a mut Receiver<T>,
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Receiver { shared, waiter } = &mut *self.receiver;
        shared.queue.poll_get(waiter, cx)
    }
}

impl<T> Drop for Recv<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let Receiver { shared, waiter } = &mut *self.receiver;
        shared.queue.abandon_get(waiter);
    }
}

/// The error of a send whose receiver is gone or closed, with the item.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let (sender, receiver) = picot_sync::mpsc::channel(1);
/// drop(receiver);
/// assert!(matches!(sender.send(7).await, Err(picot_sync::mpsc::SendError(7))));
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why [`Sender::try_send`] did not send an item.
///
/// ```
/// use picot_sync::mpsc::{TrySendError, channel};
///
/// let (sender, _receiver) = channel(1);
/// sender.try_send(1).unwrap();
/// assert!(matches!(sender.try_send(2), Err(TrySendError::Full(2))));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The channel is full, or other sends wait for its room.
    Full(T),
    /// The receiver is gone or closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// Returns the item.
    ///
    /// ```
    /// assert_eq!(picot_sync::mpsc::TrySendError::Closed(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(item) | TrySendError::Closed(item) => item,
        }
    }
}

/// Why [`Receiver::try_recv`] returned no item.
///
/// ```
/// let (_sender, mut receiver) = picot_sync::mpsc::channel::<u8>(1);
/// assert_eq!(receiver.try_recv(), Err(picot_sync::mpsc::TryRecvError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is no item now.
    Empty,
    /// No item will come: all senders were dropped, or the receiver was closed.
    Ended,
}

const CLOSED: &str = "the item was not sent: its receiver was dropped or closed";

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLOSED)
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the item was not sent: the channel is full; `send` waits for room",
            TrySendError::Closed(_) => CLOSED,
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "no item is in the channel; `recv` waits for one",
            TryRecvError::Ended => "no item will come: all senders were dropped, or the receiver was closed",
        })
    }
}

// Written out, so that the items need not be `Debug`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}
impl<T> std::error::Error for TrySendError<T> {}
impl std::error::Error for TryRecvError {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("queue", &self.shared.queue).finish()
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("queue", &self.shared.queue).finish()
    }
}

impl<T> fmt::Debug for SendItem<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendItem").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Reserve<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for WaitReceiver<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitReceiver").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").finish_non_exhaustive()
    }
}

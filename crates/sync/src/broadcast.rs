//! Messages that every receiver gets, in a bounded buffer: [`channel`] makes the first two ends.
//!
//! The buffer holds the messages that a receiver has not received. Each message counts how many
//! receivers have yet to receive it, so the last of them frees it. A receiver has a position, which
//! is the number of its next message. All messages before a position have been received or lost, so
//! the counts grow from the first message to the last, and only the first ones can be zero.
//!
//! A send never waits: if the buffer is full, the oldest message makes room. A receiver that has
//! not received it learns how many messages it has missed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use picot_context::{Kind, Origin, contain};

use crate::wait_list::{Ticket, WaitList};
use crate::wake::wake_all;

struct Message<T> {
    value: Rc<T>,
    /// How many receivers have yet to receive it.
    unseen: usize,
}

struct Shared<T> {
    buffer: RefCell<VecDeque<Message<T>>>,
    capacity: usize,
    /// The number of the next message. The first one in the buffer is `next - buffer.len()`.
    next: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiters: WaitList,
}

/// Makes a channel whose buffer holds at most `capacity` messages.
///
/// # Panics
/// If `capacity` is 0.
///
/// ```
/// use picot_sync::broadcast;
///
/// # futures_lite::future::block_on(async {
/// let (sender, mut one) = broadcast::channel(16);
/// let mut other = sender.subscribe();
/// sender.send("hello").unwrap();
/// assert_eq!(*one.recv().await.unwrap(), "hello");
/// assert_eq!(*other.recv().await.unwrap(), "hello");
/// # });
/// ```
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast channel needs room for at least one message");
    let shared = Rc::new(Shared {
        buffer: RefCell::default(),
        capacity,
        next: Cell::new(0),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        waiters: WaitList::new("broadcast::Receiver::recv", Location::caller()),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, position: 0 })
}

/// The end that sends. It can be cloned; the channel ends when all clones are dropped.
///
/// ```
/// let (sender, mut receiver) = picot_sync::broadcast::channel(16);
/// assert_eq!(sender.send(7), Ok(1));
/// assert_eq!(*receiver.try_recv().unwrap(), 7);
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value` to every receiver of now, and returns how many there are.
    ///
    /// If the buffer is full, its oldest message makes room. The receivers that have not received
    /// it get [`RecvError::Lagged`] at their next receive.
    ///
    /// # Errors
    /// [`SendError`] with the value, if there is no receiver. There may be one later.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::broadcast::channel(16);
    /// let other = receiver.clone();
    /// assert_eq!(sender.send(1), Ok(2));
    /// drop((receiver, other));
    /// assert_eq!(sender.send(2).unwrap_err().0, 2);
    /// ```
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let Shared { buffer, capacity, next, receivers, waiters, .. } = &*self.shared;
        let receivers = receivers.get();
        if receivers == 0 {
            return Err(SendError(value));
        }
        let message = Message { value: Rc::new(value), unseen: receivers };
        let mut buffer = buffer.borrow_mut();
        let oldest = if buffer.len() == *capacity { buffer.pop_front() } else { None };
        buffer.push_back(message);
        drop(buffer);
        next.set(next.get() + 1);
        wake_all(waiters.notify_all(1));
        // Last: the drop of a message is user code.
        discard(oldest);
        Ok(receivers)
    }

    /// Makes a receiver of the messages that are sent from now on.
    ///
    /// ```
    /// let (sender, _) = picot_sync::broadcast::channel(16);
    /// let mut receiver = sender.subscribe();
    /// sender.send(7).unwrap();
    /// assert_eq!(*receiver.try_recv().unwrap(), 7);
    /// ```
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Receiver { shared: self.shared.clone(), position: self.shared.next.get() }
    }

    /// Returns how many receivers there are.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::broadcast::channel::<u8>(16);
    /// assert_eq!(sender.receivers(), 1);
    /// drop(receiver);
    /// assert_eq!(sender.receivers(), 0);
    /// ```
    #[doc(alias = "receiver_count")]
    pub fn receivers(&self) -> usize {
        self.shared.receivers.get()
    }

    /// Returns how many messages the buffer holds at most.
    ///
    /// ```
    /// assert_eq!(picot_sync::broadcast::channel::<u8>(16).0.capacity(), 16);
    /// ```
    pub fn capacity(&self) -> usize {
        self.shared.capacity
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
            wake_all(self.shared.waiters.notify_all(1));
        }
    }
}

/// The end that receives. A clone receives from the same message on.
///
/// ```
/// let (sender, mut receiver) = picot_sync::broadcast::channel(16);
/// sender.send(7).unwrap();
/// let mut other = receiver.clone();
/// assert_eq!((*receiver.try_recv().unwrap(), *other.try_recv().unwrap()), (7, 7));
/// ```
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The number of the message to receive next.
    position: u64,
}

impl<T> Receiver<T> {
    /// Receives the next message, once there is one.
    ///
    /// The receivers share the message, so it need not be `Clone`.
    ///
    /// # Errors
    /// [`RecvError::Lagged`] if messages have made room for later ones before they were received.
    /// The next call continues with the oldest message that is left. [`RecvError::Ended`] if all
    /// senders were dropped and no message is left.
    ///
    /// # If dropped
    /// No message is lost.
    ///
    /// ```
    /// use picot_sync::broadcast::{RecvError, channel};
    ///
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = channel(2);
    /// for n in 1..=5 {
    ///     sender.send(n).unwrap();
    /// }
    /// assert_eq!(receiver.recv().await, Err(RecvError::Lagged { missed: 3 }));
    /// assert_eq!(*receiver.recv().await.unwrap(), 4);
    /// # });
    /// ```
    #[track_caller]
    pub fn recv(&mut self) -> RecvMessage<'_, T> {
        RecvMessage { receiver: self, waiter: Ticket::new() }
    }

    /// Receives the next message, if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`] if there is none, if messages were missed, or if all senders were dropped.
    ///
    /// ```
    /// use picot_sync::broadcast::{TryRecvError, channel};
    ///
    /// let (sender, mut receiver) = channel::<u8>(2);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Ended));
    /// ```
    pub fn try_recv(&mut self) -> Result<Rc<T>, TryRecvError> {
        let Receiver { shared, position } = self;
        let mut buffer = shared.buffer.borrow_mut();
        let first = shared.next.get() - buffer.len() as u64;
        if *position < first {
            let missed = first - *position;
            *position = first;
            return Err(TryRecvError::Lagged { missed });
        }
        // The buffer has fewer than `usize::MAX` messages, so this cast is lossless.
        let Some(message) = buffer.get_mut((*position - first) as usize) else {
            return Err(if shared.senders.get() == 0 { TryRecvError::Ended } else { TryRecvError::Empty });
        };
        *position += 1;
        message.unseen -= 1;
        // Nothing before a message that this was the last to receive is left: see above.
        if message.unseen == 0 {
            let message = buffer.pop_front().expect("the buffer has the message that was found above");
            return Ok(message.value);
        }
        Ok(message.value.clone())
    }

    /// Returns how many messages can be received now. Missed messages do not count.
    ///
    /// ```
    /// let (sender, receiver) = picot_sync::broadcast::channel(2);
    /// (1..=5).for_each(|n| _ = sender.send(n).unwrap());
    /// assert_eq!(receiver.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        let behind = self.shared.next.get() - self.position;
        usize::try_from(behind).unwrap_or(usize::MAX).min(self.shared.buffer.borrow().len())
    }

    /// Returns whether no message can be received now.
    ///
    /// ```
    /// assert!(picot_sync::broadcast::channel::<u8>(2).1.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`try_recv`](Receiver::try_recv) would return something else than `Empty`.
    fn has_news(&self) -> bool {
        self.position != self.shared.next.get() || self.shared.senders.get() == 0
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        let unseen = self.len();
        let mut buffer = self.shared.buffer.borrow_mut();
        buffer.iter_mut().rev().take(unseen).for_each(|message| message.unseen += 1);
        drop(buffer);
        Receiver { shared: self.shared.clone(), position: self.position }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.set(self.shared.receivers.get() - 1);
        let unseen = self.len();
        let mut buffer = self.shared.buffer.borrow_mut();
        buffer.iter_mut().rev().take(unseen).for_each(|message| message.unseen -= 1);
        let unwanted = buffer.iter().take_while(|message| message.unseen == 0).count();
        let unwanted: Vec<_> = buffer.drain(..unwanted).collect();
        drop(buffer);
        discard(unwanted);
    }
}

/// Drops messages, which are user values: a panic of one is reported, and the others are dropped,
/// too.
fn discard<T>(messages: impl IntoIterator<Item = Message<T>>) {
    contain::discard_each(|| Origin::running().unwrap_or(Origin::new(Kind::Task)), messages);
}

/// Future of [`Receiver::recv`].
///
/// ```
/// let (_sender, mut receiver) = picot_sync::broadcast::channel::<u8>(2);
/// let wait: picot_sync::broadcast::RecvMessage<'_, u8> = receiver.recv();
/// # drop(wait);
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct RecvMessage<'a, T> {
    receiver: &'a mut Receiver<T>,
    waiter: Ticket,
}

impl<T> Future for RecvMessage<'_, T> {
    type Output = Result<Rc<T>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let RecvMessage { receiver, waiter } = &mut *self;
        let news = || receiver.has_news().then_some(1);
        ready!(receiver.shared.waiters.poll_with(waiter, 1, cx, news));
        Poll::Ready(receiver.try_recv().map_err(|error| match error {
            TryRecvError::Lagged { missed } => RecvError::Lagged { missed },
            TryRecvError::Ended => RecvError::Ended,
            TryRecvError::Empty => unreachable!("a receiver is notified of a message or of the end"),
        }))
    }
}

impl<T> Drop for RecvMessage<'_, T> {
    fn drop(&mut self) {
        // A notification is meant for every receiver, so none has to be passed on.
        self.receiver.shared.waiters.leave(&mut self.waiter);
    }
}

/// The error of a send without a receiver, with the value.
///
/// ```
/// let (sender, _) = picot_sync::broadcast::channel(2);
/// assert_eq!(sender.send(7), Err(picot_sync::broadcast::SendError(7)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why [`Receiver::recv`] returned no message.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let (sender, mut receiver) = picot_sync::broadcast::channel::<u8>(2);
/// drop(sender);
/// assert_eq!(receiver.recv().await, Err(picot_sync::broadcast::RecvError::Ended));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The receiver was too slow: messages have made room for later ones.
    Lagged {
        /// How many messages this receiver will not get.
        missed: u64,
    },
    /// No message is left, and all senders were dropped.
    Ended,
}

/// Why [`Receiver::try_recv`] returned no message.
///
/// ```
/// let (_sender, mut receiver) = picot_sync::broadcast::channel::<u8>(2);
/// assert_eq!(receiver.try_recv(), Err(picot_sync::broadcast::TryRecvError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// All messages so far were received.
    Empty,
    /// The receiver was too slow: messages have made room for later ones.
    Lagged {
        /// How many messages this receiver will not get.
        missed: u64,
    },
    /// No message is left, and all senders were dropped.
    Ended,
}

fn lagged(f: &mut fmt::Formatter<'_>, missed: u64) -> fmt::Result {
    write!(f, "the receiver was too slow and has missed {missed} messages; the next call gets the oldest one left")
}

const ENDED: &str = "no message will come: all senders were dropped";

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Lagged { missed } => lagged(f, *missed),
            RecvError::Ended => f.write_str(ENDED),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => f.write_str("no message is there; `recv` waits for one"),
            TryRecvError::Lagged { missed } => lagged(f, *missed),
            TryRecvError::Ended => f.write_str(ENDED),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message was not sent: there is no receiver")
    }
}

// Written out, so that the messages need not be `Debug`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> std::error::Error for SendError<T> {}
impl std::error::Error for RecvError {}
impl std::error::Error for TryRecvError {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receivers", &self.receivers()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RecvMessage<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMessage").finish_non_exhaustive()
    }
}

//! `Queue` and its siblings in other orders: items on their way from those who put to those who get.
//!
//! Room and items are counted by two sets of permits. The invariant: what lies in the queue is the permits of `ready` that
//! are available, and those that were given to a `get` and are not collected. A `get` that collects takes the item that is
//! then the first; one that is dropped passes its permit on. So no item belongs to anybody before it is taken.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use picot_context::Place;

use crate::dump::Waiter;
use crate::lease::{JoinQueue, Lease, Unfinished};
use crate::order::{Fifo, Lifo, Order, Smallest};
use crate::permits::Permits;
use crate::wait_list::{Ticket, WaitList};

/// A queue between the tasks of one thread (asyncio's `Queue`), which [closes](Queue::close) and can be
/// [joined](Queue::join).
///
/// It has a capacity, and whoever puts waits while it is full: that is what keeps a fast producer from filling the memory.
/// One [without bounds](Queue::unbounded) has to be asked for by name.
///
/// Items come out in the order in which their `put`s have completed. Several tasks may put and get; those who wait get their
/// turn in the order of asking.
///
/// ```
/// use picot_sync::Queue;
///
/// async fn produce(queue: &Queue<u32>) {
///     for n in 0..100 {
///         queue.put(n).await.expect("nobody closes it before");
///     }
///     queue.close();
/// }
///
/// async fn consume(queue: &Queue<u32>) -> u32 {
///     let mut sum = 0;
///     while let Some(n) = queue.get().await {
///         sum += n;
///     }
///     sum
/// }
/// ```
///
/// It is not a `Stream` itself, because that would be a dependency; with `futures-lite` it is one by
/// `stream::unfold(&queue, |queue| async { Some((queue.get().await?, queue)) })`.
#[doc(alias = "channel")]
pub struct Queue<T, O = Fifo<T>> {
    items: RefCell<O>,
    capacity: Option<usize>,
    is_closed: Cell<bool>,
    room: Permits,
    ready: Permits,
    unfinished: Unfinished,
    _items: std::marker::PhantomData<T>,
}

impl<T> Queue<T> {
    /// A queue for at most `capacity` items.
    ///
    /// # Panics
    /// If `capacity` is 0, which for asyncio's means "no bounds": see [`Queue::unbounded`].
    #[track_caller]
    pub fn new(capacity: usize) -> Queue<T> {
        Queue::with_capacity(Some(capacity), Location::caller())
    }

    /// A queue in which nobody waits for room. Something else has to keep its producers from filling the memory.
    #[track_caller]
    pub fn unbounded() -> Queue<T> {
        Queue::with_capacity(None, Location::caller())
    }
}

impl<T, O: Order<T>> Queue<T, O> {
    #[track_caller]
    fn with_capacity(capacity: Option<usize>, made: Place) -> Queue<T, O> {
        assert!(
            capacity != Some(0),
            "a queue needs room for at least one item; for one without bounds, use `unbounded`"
        );
        Queue {
            items: RefCell::default(),
            capacity,
            is_closed: Cell::new(false),
            room: Permits::new(capacity.unwrap_or(usize::MAX), "Queue::put", made),
            ready: Permits::new(0, "Queue::get", made),
            unfinished: Unfinished::new(WaitList::new("Queue::join", made)),
            _items: std::marker::PhantomData,
        }
    }

    /// Puts `item` in, once there is room.
    ///
    /// # Errors
    /// [`PutError`] with the item, if the queue is closed, now or while this waits.
    ///
    /// # If dropped
    /// The item is dropped with it, and was not put. Room that it had got already goes to the next who waits to put.
    #[track_caller]
    #[doc(alias = "send")]
    pub fn put(&self, item: T) -> Put<'_, T, O> {
        Put { queue: self, item: Some(item), waiter: Ticket::new() }
    }

    /// Puts `item` in, if there is room for which nobody waits.
    ///
    /// # Errors
    /// With the item, if it is full or closed.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        if self.is_closed.get() {
            return Err(TryPutError::Closed(item));
        }
        if !self.room.try_take_spare(1) {
            return Err(TryPutError::Full { item, capacity: self.capacity.unwrap_or(usize::MAX) });
        }
        self.insert(item);
        Ok(())
    }

    /// Puts an item in, for which room has been taken.
    #[inline]
    fn insert(&self, item: T) {
        // If the item's comparison panics, the item is in all the same, and has to be counted.
        let on_panic = OnPanic(|| self.inserted());
        self.items.borrow_mut().push(item);
        std::mem::forget(on_panic);
        self.inserted();
    }

    #[inline]
    fn inserted(&self) {
        self.unfinished.begin();
        self.ready.give(1);
    }

    /// Takes the next item, once there is one; `None` once the queue is closed and empty. The item counts as done.
    ///
    /// # If dropped
    /// No item is lost: none is taken before this completes, and one that was meant for it goes to the next who waits.
    #[track_caller]
    #[doc(alias = "recv")]
    pub fn get(&self) -> Get<'_, T, O> {
        Get { queue: self, waiter: Ticket::new() }
    }

    /// Takes the next item, once there is one, and counts it as done when the lease is dropped, for those who
    /// [join](Queue::join); `None` once the queue is closed and empty.
    ///
    /// # If dropped
    /// As with [`get`](Queue::get).
    #[track_caller]
    #[doc(alias = "task_done")]
    pub fn lease(&self) -> GetLease<'_, T, O> {
        GetLease { get: self.get() }
    }

    /// Takes the next item, if there is one that is meant for nobody else.
    ///
    /// # Errors
    /// If it is empty, or closed and empty.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        let item = if self.ready.try_take_spare(1) { self.remove() } else { None };
        match item {
            Some(item) => {
                self.unfinished.done(1);
                Ok(item)
            }
            None if self.has_ended() => Err(TryGetError::Closed),
            None => Err(TryGetError::Empty),
        }
    }

    /// Takes an item out, for which a permit has been taken. `None` if the queue has ended.
    #[inline]
    fn remove(&self) -> Option<T> {
        // If a comparison panics, the item is out and lost, and counts as done.
        let on_panic = OnPanic(|| {
            self.removed();
            self.unfinished.done(1);
        });
        let item = self.items.borrow_mut().pop();
        std::mem::forget(on_panic);
        if item.is_some() {
            self.removed();
        }
        item
    }

    #[inline]
    fn removed(&self) {
        self.room.give(1);
        if self.has_ended() {
            self.ready.open();
        }
    }

    #[inline]
    fn poll_remove(&self, waiter: &mut Ticket, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.ready.poll_take(waiter, 1, cx).map(|()| self.remove())
    }

    /// Whether nothing will ever come out again.
    #[inline]
    fn has_ended(&self) -> bool {
        self.is_closed.get() && self.is_empty()
    }

    /// Lets nothing in any more. What is in can still be taken; then `get` returns `None`. Whoever waits to put gets an
    /// error, whoever waits for an item that will not come gets `None` (asyncio's `shutdown`).
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.is_closed.set(true);
        self.room.open();
        if self.has_ended() {
            self.ready.open();
        }
    }

    /// Closes it, and takes out what is in, in order; all of this counts as done (asyncio's `shutdown(immediate=True)`).
    /// What is leased is not done before its lease is dropped.
    #[doc(alias = "shutdown")]
    pub fn close_now(&self) -> Vec<T> {
        self.is_closed.set(true);
        let mut items = self.items.take();
        self.close();
        self.unfinished.done(items.count());
        // Last: comparisons of items are foreign code, and may panic.
        let mut rest = Vec::with_capacity(items.count());
        rest.extend(std::iter::from_fn(|| items.pop()));
        rest
    }

    /// Waits until everything that was put has been taken and is done (asyncio's `join`). Does not suspend if that is so.
    ///
    /// # If dropped
    /// Nothing is lost.
    #[track_caller]
    pub fn join(&self) -> JoinQueue<'_> {
        self.unfinished.join(Ticket::new())
    }

    /// How many items are in it.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.items.borrow().count()
    }

    /// Whether nothing is in it.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`try_put`](Queue::try_put) would find no room.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        // The items count for themselves: the room of a closed queue is open, so that no `put` waits.
        self.capacity.is_some_and(|capacity| self.len() >= capacity)
            || self.room.available() == 0
            || !self.room.waiters.is_empty()
    }

    /// The most items that it takes; `None` without bounds.
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// How many items were put and are not done: those in it, and those that are leased.
    pub fn unfinished(&self) -> usize {
        self.unfinished.count()
    }

    /// Those who wait for room, the first first.
    pub fn put_waiters(&self) -> Vec<Waiter> {
        self.room.waiters.list()
    }

    /// Those who wait for an item, the first first.
    pub fn get_waiters(&self) -> Vec<Waiter> {
        self.ready.waiters.list()
    }
}

impl<T, O: Order<T>> fmt::Debug for Queue<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.items.try_borrow().map_or(0, |items| items.count()))
            .field("capacity", &self.capacity)
            .field("is_closed", &self.is_closed())
            .field("unfinished", &self.unfinished())
            .field("putting", &self.room.waiters.len())
            .field("getting", &self.ready.waiters.len())
            .finish()
    }
}

macro_rules! in_order {
    ($(#[$doc:meta])* $name:ident, $order:ident $(, $bound:ident)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T $(: $bound)?>(Queue<T, $order<T>>);

        impl<T $(: $bound)?> $name<T> {
            /// A queue for at most `capacity` items.
            ///
            /// # Panics
            /// If `capacity` is 0.
            #[track_caller]
            pub fn new(capacity: usize) -> Self {
                Self(Queue::with_capacity(Some(capacity), Location::caller()))
            }

            /// A queue in which nobody waits for room.
            #[track_caller]
            pub fn unbounded() -> Self {
                Self(Queue::with_capacity(None, Location::caller()))
            }
        }

        impl<T $(: $bound)?> Deref for $name<T> {
            type Target = Queue<T, $order<T>>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

in_order! {
    /// A [`Queue`] that gives out the smallest item first, and among equals the one that came first (asyncio's
    /// `PriorityQueue`). For the largest first, put [`std::cmp::Reverse`]s in.
    ///
    /// Items are compared while the queue is at work: a comparison that uses the same queue panics. If a comparison panics
    /// while an item is put, the item is in; if it panics while one is taken out, that item is lost and counts as done.
    ///
    /// ```
    /// let urgent = picot_sync::PriorityQueue::new(8);
    /// for (priority, job) in [(2, "tidy up"), (1, "answer"), (2, "report")] {
    ///     urgent.try_put((priority, job)).unwrap();
    /// }
    /// assert_eq!(urgent.try_get(), Ok((1, "answer")));
    /// ```
    PriorityQueue, Smallest, Ord
}

in_order! {
    /// A [`Queue`] that gives out the last item first (asyncio's `LifoQueue`).
    ///
    /// ```
    /// let stack = picot_sync::LifoQueue::new(8);
    /// stack.try_put(1).unwrap();
    /// stack.try_put(2).unwrap();
    /// assert_eq!((stack.try_get(), stack.try_get()), (Ok(2), Ok(1)));
    /// ```
    LifoQueue, Lifo
}

/// Calls its function when it is dropped: it is forgotten where nothing has panicked.
struct OnPanic<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnPanic<F> {
    #[cold]
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits for room: what [`Queue::put`] returns.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Put<'a, T, O: Order<T>> {
    queue: &'a Queue<T, O>,
    item: Option<T>,
    waiter: Ticket,
}

/// The item is moved, never pinned.
impl<T, O: Order<T>> Unpin for Put<'_, T, O> {}

impl<T, O: Order<T>> Future for Put<'_, T, O> {
    type Output = Result<(), PutError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Put { queue, item, waiter } = self.get_mut();
        ready!(queue.room.poll_take(waiter, 1, cx));
        let item = item.take().expect("a future is not polled after its end");
        // Asked last: a closed queue has room for all, so that no `put` waits.
        if queue.is_closed.get() {
            return Poll::Ready(Err(PutError(item)));
        }
        queue.insert(item);
        Poll::Ready(Ok(()))
    }
}

impl<T, O: Order<T>> Drop for Put<'_, T, O> {
    #[inline]
    fn drop(&mut self) {
        self.queue.room.abandon(&mut self.waiter);
    }
}

impl<T, O: Order<T>> fmt::Debug for Put<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").finish_non_exhaustive()
    }
}

/// Waits for an item: what [`Queue::get`] returns.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Get<'a, T, O: Order<T>> {
    queue: &'a Queue<T, O>,
    waiter: Ticket,
}

impl<T, O: Order<T>> Future for Get<'_, T, O> {
    type Output = Option<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Get { queue, waiter } = &mut *self;
        let item = ready!(queue.poll_remove(waiter, cx));
        if item.is_some() {
            queue.unfinished.done(1);
        }
        Poll::Ready(item)
    }
}

impl<T, O: Order<T>> Drop for Get<'_, T, O> {
    #[inline]
    fn drop(&mut self) {
        self.queue.ready.abandon(&mut self.waiter);
    }
}

impl<T, O: Order<T>> fmt::Debug for Get<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").finish_non_exhaustive()
    }
}

/// Waits for an item to lease: what [`Queue::lease`] returns.
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct GetLease<'a, T, O: Order<T>> {
    get: Get<'a, T, O>,
}

impl<'a, T, O: Order<T>> Future for GetLease<'a, T, O> {
    type Output = Option<Lease<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Get { queue, waiter } = &mut self.get;
        let item = ready!(queue.poll_remove(waiter, cx));
        Poll::Ready(item.map(|item| Lease::new(item, &queue.unfinished)))
    }
}

/// The queue is closed, and did not take this item.
#[derive(Clone, Copy, PartialEq, Eq)]
#[doc(alias = "QueueShutDown")]
pub struct PutError<T>(pub T);

/// Why a queue did not take an item at once.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryPutError<T> {
    /// There is no room, or others wait for it.
    #[doc(alias = "QueueFull")]
    Full {
        /// The item that was not put.
        item: T,
        /// The most items that the queue takes.
        capacity: usize,
    },
    /// It is closed.
    #[doc(alias = "QueueShutDown")]
    Closed(T),
}

impl<T> TryPutError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            TryPutError::Full { item, .. } | TryPutError::Closed(item) => item,
        }
    }
}

/// Why a queue gave no item at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryGetError {
    /// There is none, or it is meant for somebody who waited for it.
    #[doc(alias = "QueueEmpty")]
    Empty,
    /// It is closed and empty.
    #[doc(alias = "QueueShutDown")]
    Closed,
}

const CLOSED: &str = "the queue is closed and takes nothing any more; close it after the last put";

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLOSED)
    }
}

impl<T> fmt::Display for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryPutError::Full { capacity, .. } => {
                write!(f, "the queue is full: its capacity is {capacity}; `put` waits for room")
            }
            TryPutError::Closed(_) => f.write_str(CLOSED),
        }
    }
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryGetError::Empty => "the queue is empty; `get` waits for an item",
            TryGetError::Closed => "the queue is closed and empty; nothing will come any more",
        })
    }
}

// Written out, so that the items need not be `Debug`.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PutError(..)")
    }
}

impl<T> fmt::Debug for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryPutError::Full { capacity, .. } => {
                f.debug_struct("Full").field("capacity", capacity).finish_non_exhaustive()
            }
            TryPutError::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}

impl<T> std::error::Error for PutError<T> {}
impl<T> std::error::Error for TryPutError<T> {}
impl std::error::Error for TryGetError {}

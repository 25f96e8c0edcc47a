//! `Queue` and its variants in other orders.
//!
//! Two sets of permits count room and items. The invariant: the items in the queue are as many as
//! the permits of `ready` that are free, plus those that were given to a `get` that has not run
//! since. A `get` that runs takes the item that is first then; a `get` that is dropped passes its
//! permit on. So no item belongs to a task before that task takes it.
//!
//! A queue that closes opens its room, and its items once it is empty. Then no wait has to be
//! refused on the common path: it completes, and the future finds out that the queue is closed.

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

/// A queue between the tasks of one thread (asyncio's `Queue`), which [closes](Queue::close).
///
/// It has a capacity, and `put` waits while the queue is full: this back-pressure keeps a fast
/// producer from filling the memory. A queue [without bounds](Queue::unbounded) has to be asked for
/// by name.
///
/// Items come out in the order in which their `put`s completed. Several tasks may put and get.
/// Waiters are served in the order of their first poll. What [`get`](Queue::get) takes is done; an
/// item that a task [leases](Queue::lease) is done when the lease is dropped, and
/// [`join`](Queue::join) waits for that.
///
/// All tasks share a queue, and one of them closes it. If it is to close by itself when the
/// producers or the consumer have ended, use a channel: [`mpsc`](crate::mpsc).
///
/// ```
/// use picot_sync::Queue;
///
/// async fn produce(queue: &Queue<u32>) {
///     for n in 0..10 {
///         queue.put(n).await.expect("the queue is open");
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
/// It is not a `Stream`, because that would be a dependency. With `futures-lite` it becomes one by
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
    /// Makes a queue for at most `capacity` items.
    ///
    /// # Panics
    /// If `capacity` is 0, which means "no bounds" in asyncio: see [`Queue::unbounded`].
    ///
    /// ```
    /// let queue = picot_sync::Queue::<u8>::new(8);
    /// assert_eq!(queue.capacity(), Some(8));
    /// ```
    #[track_caller]
    pub fn new(capacity: usize) -> Queue<T> {
        Queue::with_capacity(Some(capacity), NAMES, Location::caller())
    }

    /// Makes a queue in which no `put` waits for room. Its producers need another limit.
    ///
    /// ```
    /// assert_eq!(picot_sync::Queue::<u8>::unbounded().capacity(), None);
    /// ```
    #[track_caller]
    pub fn unbounded() -> Queue<T> {
        Queue::with_capacity(None, NAMES, Location::caller())
    }
}

/// The names of the operations that wait, for reports.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    pub(crate) put: &'static str,
    pub(crate) get: &'static str,
    pub(crate) join: &'static str,
}

const NAMES: Names = Names { put: "Queue::put", get: "Queue::get", join: "Queue::join" };

impl<T, O: Order<T>> Queue<T, O> {
    #[track_caller]
    pub(crate) fn with_capacity(capacity: Option<usize>, names: Names, made: Place) -> Queue<T, O> {
        assert!(
            capacity != Some(0),
            "a queue needs room for at least one item; for one without bounds, use `unbounded`"
        );
        Queue {
            items: RefCell::default(),
            capacity,
            is_closed: Cell::new(false),
            room: Permits::new(capacity.unwrap_or(usize::MAX), names.put, made),
            ready: Permits::new(0, names.get, made),
            unfinished: Unfinished::new(WaitList::new(names.join, made)),
            _items: std::marker::PhantomData,
        }
    }

    /// Puts `item` in, once there is room.
    ///
    /// # Errors
    /// [`PutError`] with the item, if the queue is closed or closes during the wait.
    ///
    /// # If dropped
    /// The item is dropped and was not put. Room that the wait was given goes to the next waiter.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let queue = picot_sync::Queue::new(1);
    /// queue.put(7).await.unwrap();
    /// assert_eq!(queue.len(), 1);
    /// # });
    /// ```
    #[track_caller]
    #[doc(alias = "send")]
    pub fn put(&self, item: T) -> Put<'_, T, O> {
        Put { queue: self, item: Some(item), waiter: Ticket::new() }
    }

    /// Puts `item` in, if there is room that no waiter in line waits for.
    ///
    /// # Errors
    /// [`TryPutError`] with the item, if the queue is full or closed.
    ///
    /// ```
    /// let queue = picot_sync::Queue::new(1);
    /// assert!(queue.try_put(1).is_ok());
    /// assert_eq!(queue.try_put(2).unwrap_err().into_inner(), 2);
    /// ```
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        // Asked first: the room of a closed queue is open.
        if self.is_closed.get() {
            return Err(TryPutError::Closed(item));
        }
        if !self.try_take_room() {
            return Err(TryPutError::Full { item, capacity: self.capacity.unwrap_or(usize::MAX) });
        }
        self.insert(item);
        Ok(())
    }

    /// Takes room for one item, if there is room that no waiter in line waits for.
    #[inline]
    pub(crate) fn try_take_room(&self) -> bool {
        self.room.try_take_spare(1)
    }

    /// Ready once there is room for one item, which is taken, or once the queue is closed.
    #[inline]
    pub(crate) fn poll_take_room(&self, waiter: &mut Ticket, cx: &mut Context<'_>) -> Poll<()> {
        self.room.poll_take(waiter, 1, cx)
    }

    /// For the drop of a wait for room.
    #[inline]
    pub(crate) fn abandon_room(&self, waiter: &mut Ticket) {
        self.room.abandon(waiter);
    }

    /// Returns room that was taken and not used.
    #[inline]
    pub(crate) fn return_room(&self) {
        self.room.give(1);
    }

    /// Puts an item in, for which room has been taken.
    #[inline]
    pub(crate) fn insert(&self, item: T) {
        // If the item's comparison panics, the item is still in the queue, and must be counted.
        let on_panic = OnPanic(|| self.inserted());
        self.items.borrow_mut().push(item);
        std::mem::forget(on_panic);
        self.inserted();
    }

    #[inline]
    fn inserted(&self) {
        // Counted before the wake: a consumer that it runs may finish the item at once.
        self.unfinished.begin();
        self.ready.give(1);
    }

    /// Takes the next item, once there is one. Returns `None` once the queue is closed and empty.
    ///
    /// The item counts as done at once; see [`lease`](Queue::lease).
    ///
    /// # If dropped
    /// No item is lost. An item that was meant for this wait goes to the next waiter.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let queue = picot_sync::Queue::new(1);
    /// queue.try_put(7).unwrap();
    /// queue.close();
    /// assert_eq!((queue.get().await, queue.get().await), (Some(7), None));
    /// # });
    /// ```
    #[track_caller]
    #[doc(alias = "recv")]
    pub fn get(&self) -> Get<'_, T, O> {
        Get { queue: self, waiter: Ticket::new() }
    }

    /// Takes the next item as a [`Lease`], which counts as done when it is dropped.
    ///
    /// Returns `None` once the queue is closed and empty. [`join`](Queue::join) waits for all
    /// leases.
    ///
    /// # If dropped
    /// As with [`get`](Queue::get).
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let queue = picot_sync::Queue::new(1);
    /// queue.put(7).await.unwrap();
    /// let lease = queue.lease().await.unwrap();
    /// assert_eq!((*lease, queue.unfinished()), (7, 1));
    /// drop(lease);
    /// assert_eq!(queue.unfinished(), 0);
    /// # });
    /// ```
    #[track_caller]
    #[doc(alias = "task_done")]
    pub fn lease(&self) -> GetLease<'_, T, O> {
        GetLease { get: self.get() }
    }

    /// Takes the next item, if there is one that no waiter waits for.
    ///
    /// # Errors
    /// [`TryGetError`] if the queue is empty, or closed and empty.
    ///
    /// ```
    /// let queue = picot_sync::Queue::<u8>::new(1);
    /// assert_eq!(queue.try_get(), Err(picot_sync::TryGetError::Empty));
    /// ```
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
        // A comparison of items is user code, which runs while the items are borrowed: it must not
        // use this queue.
        let item = self.items.borrow_mut().pop();
        std::mem::forget(on_panic);
        if item.is_some() {
            self.removed();
        }
        item
    }

    #[inline]
    fn removed(&self) {
        // The wake of a `put` may run user code, so whether the queue has ended is asked after it.
        self.room.give(1);
        if self.has_ended() {
            self.ready.open();
        }
    }

    #[inline]
    fn poll_remove(&self, waiter: &mut Ticket, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.ready.poll_take(waiter, 1, cx).map(|()| self.remove())
    }

    #[inline]
    pub(crate) fn poll_get(&self, waiter: &mut Ticket, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let item = ready!(self.poll_remove(waiter, cx));
        // Without a lease, an item counts as done when it is taken.
        if item.is_some() {
            self.unfinished.done(1);
        }
        Poll::Ready(item)
    }

    /// Whether a waiter was given an item, or notified of the end, and not polled since.
    pub(crate) fn is_given(&self, waiter: &Ticket) -> bool {
        self.ready.waiters.is_notified(waiter)
    }

    /// For the drop of a wait for an item.
    #[inline]
    pub(crate) fn abandon_get(&self, waiter: &mut Ticket) {
        self.ready.abandon(waiter);
    }

    /// Returns whether no item will ever come out again.
    #[inline]
    fn has_ended(&self) -> bool {
        self.is_closed.get() && self.is_empty()
    }

    /// Closes the queue: `put` fails from now on (asyncio's `shutdown`).
    ///
    /// Items in the queue can still be taken; then `get` returns `None`. Waiting `put`s fail at
    /// once, and so do waiting `get`s if the queue is empty.
    ///
    /// ```
    /// let queue = picot_sync::Queue::new(1);
    /// queue.close();
    /// assert!(queue.try_put(1).is_err());
    /// ```
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        // Marked first: a `put` that `open` wakes must find the queue closed.
        self.is_closed.set(true);
        self.room.open();
        if self.has_ended() {
            self.ready.open();
        }
    }

    /// Closes the queue and returns its items in order (asyncio's `shutdown(immediate=True)`).
    ///
    /// The items count as done. A leased item is done when its lease is dropped.
    ///
    /// ```
    /// let queue = picot_sync::Queue::new(2);
    /// queue.try_put(1).unwrap();
    /// queue.try_put(2).unwrap();
    /// assert_eq!(queue.close_now(), [1, 2]);
    /// ```
    #[doc(alias = "shutdown")]
    pub fn close_now(&self) -> Vec<T> {
        self.is_closed.set(true);
        // Taken first, so that `close` finds the queue empty and ends each `get`.
        let mut items = self.items.take();
        self.close();
        self.unfinished.done(items.count());
        // Last: comparisons of items are foreign code, and may panic.
        let mut rest = Vec::with_capacity(items.count());
        rest.extend(std::iter::from_fn(|| items.pop()));
        rest
    }

    /// Waits until every item has been taken and is done. Completes at once if that is so.
    ///
    /// # If dropped
    /// Nothing is lost.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let queue = picot_sync::Queue::new(1);
    /// queue.try_put(1).unwrap();
    /// queue.try_get().unwrap();
    /// queue.join().await;
    /// # });
    /// ```
    #[track_caller]
    pub fn join(&self) -> JoinQueue<'_> {
        self.unfinished.join(Ticket::new())
    }

    /// Returns how many items are in the queue.
    ///
    /// ```
    /// assert_eq!(picot_sync::Queue::<u8>::new(1).len(), 0);
    /// ```
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.items.borrow().count()
    }

    /// Returns whether the queue has no item.
    ///
    /// ```
    /// assert!(picot_sync::Queue::<u8>::new(1).is_empty());
    /// ```
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether [`try_put`](Queue::try_put) would find no room.
    ///
    /// ```
    /// let queue = picot_sync::Queue::new(1);
    /// queue.try_put(1).unwrap();
    /// assert!(queue.is_full());
    /// ```
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        // The items count for themselves: the room of a closed queue is open, so that no `put`
        // waits. Room that a notified `put` has yet to use is taken.
        self.capacity.is_some_and(|capacity| self.len() >= capacity) || self.room.available() == 0
    }

    /// Returns the most items that the queue takes; `None` without bounds.
    ///
    /// ```
    /// assert_eq!(picot_sync::Queue::<u8>::new(3).capacity(), Some(3));
    /// ```
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Returns whether the queue was closed.
    ///
    /// ```
    /// assert!(!picot_sync::Queue::<u8>::new(1).is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Returns how many items are in the queue or leased.
    ///
    /// ```
    /// let queue = picot_sync::Queue::new(1);
    /// queue.try_put(1).unwrap();
    /// assert_eq!(queue.unfinished(), 1);
    /// ```
    pub fn unfinished(&self) -> usize {
        self.unfinished.count()
    }

    /// Lists the tasks that wait for room, first come first.
    ///
    /// ```
    /// assert!(picot_sync::Queue::<u8>::new(1).put_waiters().is_empty());
    /// ```
    pub fn put_waiters(&self) -> Vec<Waiter> {
        self.room.waiters.list()
    }

    /// Lists the tasks that wait for an item, first come first.
    ///
    /// ```
    /// assert!(picot_sync::Queue::<u8>::new(1).get_waiters().is_empty());
    /// ```
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
            /// Makes a queue for at most `capacity` items.
            ///
            /// # Panics
            /// If `capacity` is 0.
            ///
            /// ```
            #[doc = concat!("let queue = picot_sync::", stringify!($name), "::new(1);")]
            /// assert!(queue.try_put("first").is_ok());
            /// assert!(queue.try_put("second").is_err(), "full");
            /// ```
            #[track_caller]
            pub fn new(capacity: usize) -> Self {
                Self(Queue::with_capacity(Some(capacity), NAMES, Location::caller()))
            }

            /// Makes a queue in which no `put` waits for room.
            ///
            /// ```
            #[doc = concat!("let queue = picot_sync::", stringify!($name), "::unbounded();")]
            /// (0..1_000).for_each(|n| queue.try_put(n).unwrap());
            /// assert_eq!(queue.len(), 1_000);
            /// ```
            #[track_caller]
            pub fn unbounded() -> Self {
                Self(Queue::with_capacity(None, NAMES, Location::caller()))
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
    /// A [`Queue`] that gives out the smallest item first, and among equals the one that came first
    /// (asyncio's `PriorityQueue`). For the largest first, put [`std::cmp::Reverse`]s in.
    ///
    /// Items are compared while the queue is at work: a comparison that uses the same queue panics.
    /// If a comparison panics while an item is put, the item is in; if it panics while one is taken
    /// out, that item is lost and counts as done.
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

/// Calls its function if a comparison of items panics. Without a panic it is forgotten.
struct OnPanic<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnPanic<F> {
    #[cold]
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Future of [`Queue::put`].
///
/// ```
/// let queue = picot_sync::Queue::new(1);
/// let put: picot_sync::Put<'_, u8, _> = queue.put(1);
/// # drop(put);
/// ```
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
        ready!(queue.poll_take_room(waiter, cx));
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
        self.queue.abandon_room(&mut self.waiter);
    }
}

impl<T, O: Order<T>> fmt::Debug for Put<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").finish_non_exhaustive()
    }
}

/// Future of [`Queue::get`].
///
/// ```
/// let queue = picot_sync::Queue::new(1);
/// let get: picot_sync::Get<'_, u8, _> = queue.get();
/// # drop(get);
/// ```
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
        queue.poll_get(waiter, cx)
    }
}

impl<T, O: Order<T>> Drop for Get<'_, T, O> {
    #[inline]
    fn drop(&mut self) {
        self.queue.abandon_get(&mut self.waiter);
    }
}

impl<T, O: Order<T>> fmt::Debug for Get<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").finish_non_exhaustive()
    }
}

/// Future of [`Queue::lease`].
///
/// ```
/// let queue = picot_sync::Queue::new(1);
/// let get: picot_sync::GetLease<'_, u8, _> = queue.lease();
/// # drop(get);
/// ```
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

/// The error of a `put` into a closed queue, with the item.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let queue = picot_sync::Queue::new(1);
/// queue.close();
/// assert!(matches!(queue.put(7).await, Err(picot_sync::PutError(7))));
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[doc(alias = "QueueShutDown")]
pub struct PutError<T>(pub T);

/// Why [`Queue::try_put`] did not take an item.
///
/// ```
/// use picot_sync::{Queue, TryPutError};
///
/// let queue = Queue::new(1);
/// queue.try_put(1).unwrap();
/// assert!(matches!(queue.try_put(2), Err(TryPutError::Full { item: 2, capacity: 1 })));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryPutError<T> {
    /// The queue is full, or tasks wait for its room.
    #[doc(alias = "QueueFull")]
    Full {
        /// The item that was not put.
        item: T,
        /// The most items that the queue takes.
        capacity: usize,
    },
    /// The queue is closed.
    #[doc(alias = "QueueShutDown")]
    Closed(T),
}

impl<T> TryPutError<T> {
    /// Returns the item.
    ///
    /// ```
    /// assert_eq!(picot_sync::TryPutError::Closed(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TryPutError::Full { item, .. } | TryPutError::Closed(item) => item,
        }
    }
}

/// Why [`Queue::try_get`] returned no item.
///
/// ```
/// use picot_sync::{Queue, TryGetError};
///
/// let queue = Queue::<u8>::new(1);
/// queue.close();
/// assert_eq!(queue.try_get(), Err(TryGetError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryGetError {
    /// The queue has no item, or only items that other tasks were given.
    #[doc(alias = "QueueEmpty")]
    Empty,
    /// It is closed and empty.
    #[doc(alias = "QueueShutDown")]
    Closed,
}

const CLOSED: &str = "the queue is closed and takes no more items; close it after the last put";

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
            TryGetError::Closed => "the queue is closed and empty; no item will come",
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

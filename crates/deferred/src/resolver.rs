//! Settling from another thread.
//!
//! The other thread puts an outcome into a slot and wakes a task of the host, which settles the
//! deferred on the host's thread. So a host need not offer more than every host does: wakers of its
//! tasks that work from any thread. The invariant: an outcome is either in the slot when the task
//! looks for the last time, or `send` returns it to its caller.

use std::fmt;
use std::panic::Location;
use std::task::{Poll, Waker};

#[cfg(loom)]
use loom::sync::{Arc, Mutex, MutexGuard};
use picot_context::Place;
#[cfg(not(loom))]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::deferred::Deferred;
use crate::waiter::Waiter;

/// Settles a [`Deferred`] from another thread. [`Deferred::resolver`] makes one.
///
/// The host delivers the outcome on its own thread, and callbacks run there.
///
/// # If dropped
/// As if a deferred was dropped: the promise is rejected as abandoned, unless another deferred is
/// left.
///
/// ```
/// use picot_deferred::{Deferred, Resolver};
///
/// # let (host, _guard) = picot_deferred::ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// let resolver: Resolver<i32, String> = deferred.resolver();
/// std::thread::spawn(move || resolver.resolve(7).unwrap()).join().unwrap();
/// host.run_until_stalled(); // delivers it
/// assert_eq!(deferred.promise().outcome(), Some(Ok(&7)));
/// ```
#[derive(Debug)]
#[doc(alias = "wrap_future")]
pub struct Resolver<T, E>(Sender<Result<T, E>>);

impl<T: Send + 'static, E: Send + 'static, P: 'static> Deferred<T, E, P> {
    /// Makes a handle that settles this from another thread. It counts as one more deferred: while
    /// it lives, the promise is not abandoned.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let resolver = deferred.resolver();
    /// std::thread::spawn(move || resolver.resolve(7).unwrap()).join().unwrap();
    /// # host.run_until_stalled();
    /// deferred.promise().done(|n| assert_eq!(*n, 7)); // delivered by the host, on this thread
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn resolver(&self) -> Resolver<T, E> {
        let place: Place = Location::caller();
        let (sender, receiver) = slot();
        let host = self.shared.host.clone();
        // A closed host drops the future and with it the receiver, so `send` refuses the outcome.
        let _ = host.spawn(place, Box::pin(deliver(self.clone(), receiver)));
        Resolver(sender)
    }
}

impl<T: Send + 'static, E: Send + 'static> Resolver<T, E> {
    /// Resolves the promise with `value`, on the thread of its host.
    ///
    /// # Errors
    /// Returns the value if the promise was settled before or the host was closed. If the promise
    /// is settled between this call and the delivery, the value is dropped on the host's thread.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let (first, second) = (deferred.resolver(), deferred.resolver());
    /// assert_eq!(first.resolve(7), Ok(()));
    /// host.run_until_stalled();
    /// assert_eq!(second.resolve(8), Err(8)); // settled already
    /// ```
    pub fn resolve(self, value: T) -> Result<(), T> {
        self.0.send(Ok(value)).map_err(|refused| match refused {
            Ok(value) => value,
            Err(_) => unreachable!("`send` returns what it was given: a value"),
        })
    }

    /// Rejects the promise with `error`, on the thread of its host.
    ///
    /// # Errors
    /// Returns the error where [`resolve`](Resolver::resolve) returns the value.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// deferred.promise().fail(|rejection| println!("failed: {rejection}"));
    /// assert_eq!(deferred.resolver().reject("no".into()), Ok(()));
    /// host.run_until_stalled(); // prints "failed: no"
    /// ```
    pub fn reject(self, error: E) -> Result<(), E> {
        self.0.send(Err(error)).map_err(|refused| match refused {
            Err(error) => error,
            Ok(_) => unreachable!("`send` returns what it was given: an error"),
        })
    }

    /// Whether the promise is settled already or its host was closed, so that work for it is in
    /// vain. A `false` may be out of date when the caller reads it.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let resolver = deferred.resolver();
    /// assert!(!resolver.is_closed());
    /// deferred.promise().cancel();
    /// host.run_until_stalled();
    /// assert!(resolver.is_closed()); // the worker can stop
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Waits for an outcome in the slot and settles `deferred` with it.
async fn deliver<T: 'static, E: 'static, P: 'static>(deferred: Deferred<T, E, P>, receiver: Receiver<Result<T, E>>) {
    let shared = &deferred.shared;
    let mut waiter = Waiter::new(shared);
    let outcome = std::future::poll_fn(|cx| {
        // Ends also when the deferred is settled otherwise. The receiver is dropped then, and
        // `send` refuses an outcome from there on.
        if !shared.is_pending() || !waiter.wait(cx.waker()) {
            return Poll::Ready(None);
        }
        receiver.poll(cx.waker())
    })
    .await;
    // Before the settling, which would otherwise wake this task, and it ends here anyway.
    drop(waiter);
    match outcome {
        Some(Ok(value)) => _ = deferred.resolve(value),
        Some(Err(error)) => _ = deferred.reject(error),
        None => {}
    }
}

/// Holds one value on its way to another thread.
struct Slot<V> {
    value: Option<V>,
    waker: Option<Waker>,
    is_sender_dropped: bool,
    is_receiver_dropped: bool,
}

type SharedSlot<V> = Arc<Mutex<Slot<V>>>;

struct Sender<V>(SharedSlot<V>);

struct Receiver<V>(SharedSlot<V>);

fn slot<V>() -> (Sender<V>, Receiver<V>) {
    let slot = Slot { value: None, waker: None, is_sender_dropped: false, is_receiver_dropped: false };
    let shared = Arc::new(Mutex::new(slot));
    (Sender(shared.clone()), Receiver(shared))
}

/// Locks the slot. No foreign code runs under the lock, so a panic cannot leave it half-changed.
fn lock<V>(shared: &SharedSlot<V>) -> MutexGuard<'_, Slot<V>> {
    #[cfg(loom)]
    return shared.lock().unwrap();
    #[cfg(not(loom))]
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V> Sender<V> {
    /// Puts the value into the slot, or returns it if the receiver was dropped.
    fn send(self, value: V) -> Result<(), V> {
        let mut slot = lock(&self.0);
        if slot.is_receiver_dropped {
            return Err(value);
        }
        slot.value = Some(value);
        // No wake here: `self` is dropped now, after the lock, and its drop wakes the receiver.
        Ok(())
    }

    fn is_closed(&self) -> bool {
        lock(&self.0).is_receiver_dropped
    }
}

impl<V> Drop for Sender<V> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.is_sender_dropped = true;
        let waker = slot.waker.take();
        // Foreign code runs in the wake, so the lock is released first.
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<V> Receiver<V> {
    /// The value, or `None` if the sender was dropped without one.
    fn poll(&self, waker: &Waker) -> Poll<Option<V>> {
        // Cloned before the lock: the clone is foreign code.
        let waker = waker.clone();
        let mut slot = lock(&self.0);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Some(value));
        }
        if slot.is_sender_dropped {
            return Poll::Ready(None);
        }
        let old = slot.waker.replace(waker);
        drop(slot);
        drop(old);
        Poll::Pending
    }
}

impl<V> Drop for Receiver<V> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.is_receiver_dropped = true;
        let left = (slot.value.take(), slot.waker.take());
        // The drops of the value and the waker are foreign code, so the lock is released first.
        drop(slot);
        drop(left);
    }
}

impl<V> fmt::Debug for Sender<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::task::Wake;

    use loom::sync::Notify;
    use loom::thread;

    use super::*;

    struct Bell(Notify);

    impl Wake for Bell {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.notify();
        }
    }

    /// Polls until the receiver is ready and blocks in between. A lost wake-up is a deadlock, which
    /// loom reports.
    fn receive<V>(receiver: &Receiver<V>) -> Option<V> {
        let bell = std::sync::Arc::new(Bell(Notify::new()));
        let waker = Waker::from(bell.clone());
        loop {
            match receiver.poll(&waker) {
                Poll::Ready(value) => return value,
                Poll::Pending => bell.0.wait(),
            }
        }
    }

    #[test]
    fn a_sent_value_is_received() {
        loom::model(|| {
            let (sender, receiver) = slot();
            let other = thread::spawn(move || sender.send(7));
            assert_eq!(receive(&receiver), Some(7));
            assert_eq!(other.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn a_dropped_sender_ends_the_wait() {
        loom::model(|| {
            let (sender, receiver) = slot::<i32>();
            let other = thread::spawn(move || drop(sender));
            assert_eq!(receive(&receiver), None);
            other.join().unwrap();
        });
    }

    #[test]
    fn a_value_that_meets_a_dropped_receiver_is_returned_or_dropped() {
        loom::model(|| {
            let value = std::sync::Arc::new(());
            let (sender, receiver) = slot();
            let sent = value.clone();
            let other = thread::spawn(move || sender.send(sent));
            drop(receiver);
            let back = other.join().unwrap();
            assert!(back.as_ref().err().is_none_or(|back| std::sync::Arc::ptr_eq(back, &value)));
            drop(back);
            assert_eq!(std::sync::Arc::strong_count(&value), 1, "an accepted value is dropped with the slot");
        });
    }
}

//! Settling from another thread.
//!
//! The other thread puts an outcome into a slot and wakes a task of the host, which settles the deferred on its own thread.
//! So all that is asked of a host is what every host has: that the wakers of its tasks work from any thread. The invariant:
//! an outcome is either in the slot when the task looks for the last time, or comes back to whoever offered it.

use std::fmt;
use std::task::{Poll, Waker};

#[cfg(loom)]
use loom::sync::{Arc, Mutex, MutexGuard};
use picot_context::Place;
#[cfg(not(loom))]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::deferred::Deferred;
use crate::state::Waiter;

/// Settles a [`Deferred`] from another thread; from [`Deferred::resolver`]. The host delivers the outcome on its thread, and
/// callbacks run there.
///
/// # If dropped
/// It is as if a deferred was dropped: the promise is rejected as abandoned, unless there is another deferred.
#[derive(Debug)]
#[doc(alias = "wrap_future")]
pub struct Resolver<T, E>(Sender<Result<T, E>>);

impl<T: Send + 'static, E: Send + 'static> Resolver<T, E> {
    pub(crate) fn new<P: 'static>(deferred: Deferred<T, E, P>, place: Place) -> Resolver<T, E> {
        let (sender, receiver) = slot();
        let host = deferred.shared.host.clone();
        // A closed host drops the future, and with it the receiver: whoever resolves is told.
        let _ = host.spawn(place, Box::pin(deliver(deferred, receiver)));
        Resolver(sender)
    }

    /// Resolves the promise with `value`, on the thread of its host.
    ///
    /// # Errors
    /// The value, if it was settled before or its host was closed. Where it is settled by somebody else between this call and
    /// the delivery, the value is dropped on the host's thread.
    pub fn resolve(self, value: T) -> Result<(), T> {
        self.0.send(Ok(value)).map_err(|refused| match refused {
            Ok(value) => value,
            Err(_) => unreachable!("what is refused is what was sent"),
        })
    }

    /// Rejects the promise with `error`, on the thread of its host.
    ///
    /// # Errors
    /// The error, where [`resolve`](Resolver::resolve) returns the value.
    pub fn reject(self, error: E) -> Result<(), E> {
        self.0.send(Err(error)).map_err(|refused| match refused {
            Err(error) => error,
            Ok(_) => unreachable!("what is refused is what was sent"),
        })
    }

    /// Whether it is settled already, or its host was closed, so that work for it is in vain. The next moment this may be
    /// different.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

async fn deliver<T: 'static, E: 'static, P: 'static>(deferred: Deferred<T, E, P>, receiver: Receiver<Result<T, E>>) {
    let shared = &deferred.shared;
    let mut waiter = Waiter::new(shared);
    let outcome = std::future::poll_fn(|cx| {
        // It also ends when it is settled otherwise.
        if !shared.is_pending() || !waiter.wait(cx.waker()) {
            return Poll::Ready(None);
        }
        receiver.poll(cx.waker())
    })
    .await;
    drop(waiter);
    match outcome {
        Some(Ok(value)) => _ = deferred.resolve(value),
        Some(Err(error)) => _ = deferred.reject(error),
        None => {}
    }
}

/// A place for one value on its way to another thread.
struct Slot<V> {
    value: Option<V>,
    waker: Option<Waker>,
    is_sender_gone: bool,
    is_receiver_gone: bool,
}

type Shared<V> = Arc<Mutex<Slot<V>>>;

struct Sender<V>(Shared<V>);

struct Receiver<V>(Shared<V>);

fn slot<V>() -> (Sender<V>, Receiver<V>) {
    let slot = Slot { value: None, waker: None, is_sender_gone: false, is_receiver_gone: false };
    let shared = Arc::new(Mutex::new(slot));
    (Sender(shared.clone()), Receiver(shared))
}

/// No user code runs under the lock, so it cannot be poisoned.
fn lock<V>(shared: &Shared<V>) -> MutexGuard<'_, Slot<V>> {
    #[cfg(loom)]
    return shared.lock().unwrap();
    #[cfg(not(loom))]
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V> Sender<V> {
    fn send(self, value: V) -> Result<(), V> {
        let mut slot = lock(&self.0);
        if slot.is_receiver_gone {
            return Err(value);
        }
        slot.value = Some(value);
        // The drop of this wakes.
        Ok(())
    }

    fn is_closed(&self) -> bool {
        lock(&self.0).is_receiver_gone
    }
}

impl<V> Drop for Sender<V> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.is_sender_gone = true;
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<V> Receiver<V> {
    /// The value; `None` if none will come any more.
    fn poll(&self, waker: &Waker) -> Poll<Option<V>> {
        let waker = waker.clone();
        let mut slot = lock(&self.0);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Some(value));
        }
        if slot.is_sender_gone {
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
        slot.is_receiver_gone = true;
        let left = (slot.value.take(), slot.waker.take());
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

    /// Polls until there is an answer, sleeping in between: a lost wake-up is a deadlock, which loom finds.
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
    fn what_is_sent_is_received() {
        loom::model(|| {
            let (sender, receiver) = slot();
            let other = thread::spawn(move || sender.send(7));
            assert_eq!(receive(&receiver), Some(7));
            assert_eq!(other.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn a_sender_that_goes_is_noticed() {
        loom::model(|| {
            let (sender, receiver) = slot::<i32>();
            let other = thread::spawn(move || drop(sender));
            assert_eq!(receive(&receiver), None);
            other.join().unwrap();
        });
    }

    #[test]
    fn a_value_meets_a_receiver_that_goes_or_comes_back() {
        loom::model(|| {
            let value = std::sync::Arc::new(());
            let (sender, receiver) = slot();
            let sent = value.clone();
            let other = thread::spawn(move || sender.send(sent));
            drop(receiver);
            let back = other.join().unwrap();
            assert!(back.as_ref().err().is_none_or(|back| std::sync::Arc::ptr_eq(back, &value)));
            drop(back);
            assert_eq!(std::sync::Arc::strong_count(&value), 1, "accepted values go with the slot");
        });
    }
}

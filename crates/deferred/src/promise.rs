//! The side that waits: by callbacks, by handlers, or by awaiting.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::{Kind, Origin, Place, Report, catch};

use crate::deferred::Deferred;
use crate::rejection::Rejection;
use crate::state::{Outcome, Shared, State};
use crate::then::Chained;

/// What a [`Deferred`] will be settled with. Clones are handles of the same promise.
///
/// It has no way to settle. Awaiting it gives a `Result<T, Rejection<E>>`: the value itself if nobody else can ask for it
/// any more, else a clone. What cannot be cloned is promised in an `Rc`.
pub struct Promise<T: 'static, E: 'static, P: 'static = Infallible> {
    pub(crate) shared: Rc<Shared<T, E, P>>,
}

impl<T: 'static, E: 'static> Promise<T, E> {
    /// A promise that a future settles, which this thread's host runs: with a value by `Ok`, with a rejection by `Err`. If
    /// it panics, the promise is rejected as [panicked](Rejection::Panicked), and the panic is reported.
    ///
    /// # Panics
    /// If this thread has no host.
    #[track_caller]
    pub fn spawn(future: impl Future<Output = Result<T, E>> + 'static) -> Promise<T, E> {
        let deferred = Deferred::new();
        let promise = deferred.promise();
        let place = Location::caller();
        let host = promise.shared.host.clone();
        // A closed host drops the future and the deferred, which abandons the promise.
        let _ = host.spawn(place, Box::pin(settle_by(deferred, place, future)));
        promise
    }
}

async fn settle_by<T, E>(deferred: Deferred<T, E>, place: Place, future: impl Future<Output = Result<T, E>>) {
    let mut future = pin!(future);
    let outcome = std::future::poll_fn(|cx| match catch(|| future.as_mut().poll(cx)) {
        Ok(poll) => poll.map_err(Rejection::Error),
        Err(payload) => {
            deferred
                .shared
                .host
                .report(Report::panic(Origin::running().unwrap_or(Origin::new(Kind::Promise).at(place)), payload));
            Poll::Ready(Err(Rejection::Panicked))
        }
    })
    .await;
    deferred.settle(outcome);
}

impl<T: 'static, E: 'static, P: 'static> Promise<T, E, P> {
    /// Calls `f` with the value when there is one: at once if there is, else while it is resolved, before
    /// [`resolve`](Deferred::resolve) returns. Callbacks run in the order in which they were added. If `f` panics, that is
    /// reported, and the others run all the same.
    #[track_caller]
    pub fn done(&self, f: impl FnOnce(&T) + 'static) -> &Self {
        self.shared.add_callback(Location::caller(), |outcome| {
            if let Ok(value) = outcome {
                f(value);
            }
        });
        self
    }

    /// Calls `f` with the rejection when there is one; otherwise as [`done`](Promise::done).
    #[track_caller]
    pub fn fail(&self, f: impl FnOnce(&Rejection<E>) + 'static) -> &Self {
        self.shared.add_callback(Location::caller(), |outcome| {
            if let Err(rejection) = outcome {
                f(rejection);
            }
        });
        self
    }

    /// Calls `f` with the outcome, whichever it is; otherwise as [`done`](Promise::done).
    #[track_caller]
    pub fn always(&self, f: impl FnOnce(Result<&T, &Rejection<E>>) + 'static) -> &Self {
        self.shared.add_callback(Location::caller(), f);
        self
    }

    /// Calls `f` with each notification, and with the last one at once if there was one.
    #[track_caller]
    pub fn progress(&self, f: impl FnMut(&P) + 'static) -> &Self {
        let place: Place = Location::caller();
        self.shared.progress.add(f, |call| self.shared.contain(Kind::Promise, Some(place), call));
        self
    }

    /// Whether it is settled, and how.
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Whether this is a handle of the same promise as `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Promise<T, E, P> {
    /// Calls `f` with the value, in a later turn than that of the settling, always. What it returns settles the promise
    /// that this returns: `Ok` and `Err` do so at once, another promise does when it is settled itself. A rejection passes
    /// by `f` to that promise. If `f` panics, that promise is rejected as [panicked](Rejection::Panicked), and the panic is
    /// reported.
    ///
    /// ```
    /// # let (host, _guard) = picot_context::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let next = deferred.promise().then(|n| if n > 0 { Ok(n + 1) } else { Err("not positive".into()) });
    /// deferred.resolve(1);
    /// # host.run_until_stalled();
    /// next.done(|n| assert_eq!(*n, 2));
    /// ```
    #[track_caller]
    pub fn then<U: 'static, R: Chained<U, E>>(&self, f: impl FnOnce(T) -> R + 'static) -> Promise<U, E> {
        let place: Place = Location::caller();
        let next = Deferred::from_host(self.shared.host.clone());
        let promise = next.promise();
        self.shared.add_handler(place, move |shared| {
            let returned = shared.into_outcome().map(|value| catch(|| f(value)));
            match returned {
                Ok(Ok(returned)) => returned.settle(next, place),
                Ok(Err(payload)) => {
                    next.shared.host.report(Report::panic(Origin::new(Kind::Promise).at(place), payload));
                    next.settle(Err(Rejection::Panicked));
                }
                Err(rejection) => {
                    next.settle(Err(rejection));
                }
            }
        });
        promise
    }
}

impl<T: 'static, E: 'static, P: 'static> Clone for Promise<T, E, P> {
    fn clone(&self) -> Self {
        Promise { shared: self.shared.clone() }
    }
}

impl<T: 'static, E: 'static, P: 'static> fmt::Debug for Promise<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Promise({:?})", self.state())
    }
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> IntoFuture for Promise<T, E, P> {
    type Output = Outcome<T, E>;
    type IntoFuture = Settled<T, E, P>;

    fn into_future(self) -> Settled<T, E, P> {
        Settled { shared: Some(self.shared), number: None }
    }
}

/// Waits until a promise is settled: what `promise.await` makes. If it is settled already, awaiting does not suspend.
///
/// # If dropped
/// Nothing happens.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Settled<T: 'static, E: 'static, P: 'static> {
    /// `None` once the outcome was given.
    shared: Option<Rc<Shared<T, E, P>>>,
    number: Option<u64>,
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Future for Settled<T, E, P> {
    type Output = Outcome<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T, E>> {
        let this = &mut *self;
        let shared = this.shared.as_ref().expect("a future is not polled after it has given its output");
        if shared.outcome().is_none() {
            shared.wait(&mut this.number, cx.waker().clone());
            return Poll::Pending;
        }
        let shared = this.shared.take().expect("it was there two lines ago");
        Poll::Ready(shared.into_outcome())
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Settled<T, E, P> {
    fn drop(&mut self) {
        if let (Some(shared), Some(number)) = (&self.shared, self.number) {
            shared.stop_waiting(number);
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> Unpin for Settled<T, E, P> {}

impl<T: 'static, E: 'static, P: 'static> fmt::Debug for Settled<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").finish_non_exhaustive()
    }
}

//! Promises and futures: awaiting the one, and making the one from the other.

use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use picot_context::{Kind, Origin, Place, Report, budget, contain};

use crate::deferred::Deferred;
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{Outcome, Waiter};

impl<T: 'static, E: 'static> Promise<T, E> {
    /// A promise that a future settles, which this thread's host runs: with a value by `Ok`, with a
    /// rejection by `Err`. If it panics, the promise is rejected as
    /// [panicked](Rejection::Panicked), and the panic is reported. The future runs on if the
    /// promise is dropped; [`cancel`](Promise::cancel) has it dropped at its next step.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// # let (host, _guard) = picot_context::ManualHost::installed();
    /// let promise = picot_deferred::Promise::<i32, String>::spawn(async { Ok(7) });
    /// # host.run_until_stalled();
    /// promise.done(|n| assert_eq!(*n, 7));
    /// ```
    #[track_caller]
    #[doc(alias = "ensure_future")]
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
    let mut slot = pin!(Some(future));
    let shared = &deferred.shared;
    let mut waiter = Waiter::new(shared);
    let outcome = std::future::poll_fn(|cx| {
        // Settled otherwise, which only a cancel does: the future goes.
        let cancelled = Poll::Ready(Err(Rejection::Cancelled));
        if !shared.is_pending() {
            contain::clear(slot.as_mut());
            return cancelled;
        }
        match contain::poll(slot.as_mut(), cx) {
            Poll::Ready(Ok(outcome)) => Poll::Ready(outcome.map_err(Rejection::Error)),
            Poll::Pending if shared.is_pending() && waiter.wait(cx.waker()) => Poll::Pending,
            Poll::Pending => {
                contain::clear(slot.as_mut());
                cancelled
            }
            Poll::Ready(Err(payload)) => {
                let origin = Origin::running().unwrap_or(Origin::new(Kind::Promise).at(place));
                shared.host.report(Report::panic(origin, payload));
                Poll::Ready(Err(Rejection::Panicked))
            }
        }
    })
    .await;
    drop(waiter);
    deferred.settle(outcome);
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> IntoFuture for Promise<T, E, P> {
    type Output = Outcome<T, E>;
    type IntoFuture = Settled<T, E, P>;

    fn into_future(self) -> Settled<T, E, P> {
        self.shared.claim();
        Settled { promise: Some(self), number: None }
    }
}

/// Waits until a promise is settled: what `promise.await` makes. If it is settled already, awaiting
/// suspends only when the step has used up its [budget](picot_context::budget), so that a loop of
/// such awaits does not keep other tasks waiting.
///
/// # If dropped
/// It is as if a promise was dropped: nothing happens, unless it was the last and there is a
/// [canceller](Deferred::on_cancel). A rejection that this has not returned counts as not handled,
/// and is reported if nothing else handles it.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Settled<T: 'static, E: 'static, P: 'static> {
    /// `None` once the outcome was given.
    promise: Option<Promise<T, E, P>>,
    number: Option<u64>,
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Future for Settled<T, E, P> {
    type Output = Outcome<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T, E>> {
        let this = &mut *self;
        let promise = this.promise.as_ref().expect("a promise is not polled again after completion");
        if promise.shared.is_pending() && promise.shared.wait(&mut this.number, cx.waker()) {
            return Poll::Pending;
        }
        if budget::poll_left(cx).is_pending() {
            return Poll::Pending;
        }
        budget::spend();
        let promise = this.promise.take().expect("the promise is still here: it is taken only at completion");
        if let Some(number) = this.number {
            promise.shared.remove(number);
        }
        promise.shared.unclaim(true);
        Poll::Ready(promise.into_outcome())
    }
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Promise<T, E, P> {
    /// The outcome of a promise that is settled.
    pub(crate) fn into_outcome(self) -> Outcome<T, E> {
        let shared = self.shared.clone();
        drop(self);
        shared.into_outcome()
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Settled<T, E, P> {
    fn drop(&mut self) {
        let Some(promise) = &self.promise else { return };
        if let Some(number) = self.number {
            promise.shared.remove(number);
        }
        // A rejection that was not taken is still unseen.
        promise.shared.unclaim(false);
    }
}

impl<T: 'static, E: 'static, P: 'static> Unpin for Settled<T, E, P> {}

impl<T: 'static, E: 'static, P: 'static> fmt::Debug for Settled<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").finish_non_exhaustive()
    }
}

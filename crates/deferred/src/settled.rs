//! Promises and futures: awaiting a promise, and making one from a future or an outcome.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use picot_context::{Kind, Origin, Place, Report, WaitInfo, WaitKind, WaitNote, budget, contain};

use crate::deferred::{Deferred, current_host};
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::Outcome;
use crate::waiter::Waiter;

impl<T: 'static, E: 'static> Promise<T, E> {
    /// Makes a promise that is settled already.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// use picot_deferred::{Promise, Rejection};
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// # let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// // Replaces an error, and passes on the other reasons.
    /// let promise = deferred.promise().catch(|rejection| {
    ///     Promise::settled(match rejection {
    ///         Rejection::Error(_) => Ok(0),
    ///         other => Err(other),
    ///     })
    /// });
    /// # drop(promise);
    /// ```
    #[track_caller]
    pub fn settled(outcome: Result<T, Rejection<E>>) -> Promise<T, E> {
        let deferred = Deferred::from_host(current_host(), Location::caller());
        let promise = deferred.promise();
        deferred.settle(outcome);
        promise
    }

    /// Makes a promise that a future settles: `Ok` resolves it, `Err` rejects it. This thread's
    /// host runs the future.
    ///
    /// If the future panics, the panic is reported and the promise is rejected as
    /// [panicked](Rejection::Panicked). Dropping the promise lets the future continue;
    /// [`cancel`](Promise::cancel) drops the future at its next step.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
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
        // A closed host drops the future and with it the deferred, which abandons the promise.
        let _ = host.spawn(place, Box::pin(settle_by(deferred, place, future)));
        promise
    }
}

/// Runs `future` and settles `deferred` with its output, or drops the future when the deferred was
/// settled otherwise. Only a cancel settles it otherwise.
async fn settle_by<T, E>(deferred: Deferred<T, E>, place: Place, future: impl Future<Output = Result<T, E>>) {
    let mut slot = pin!(Some(future));
    let shared = &deferred.shared;
    let mut waiter = Waiter::new(shared);
    let outcome = std::future::poll_fn(|cx| {
        let cancelled = Poll::Ready(Err(Rejection::Cancelled));
        if !shared.is_pending() {
            contain::clear(slot.as_mut());
            return cancelled;
        }
        match contain::poll(slot.as_mut(), cx) {
            Poll::Ready(Ok(outcome)) => Poll::Ready(outcome.map_err(Rejection::from)),
            // The future may have cancelled its own promise, so the state is checked again.
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
    // Before the settling, which would otherwise wake this task, and it ends here anyway.
    drop(waiter);
    deferred.settle(outcome);
}

impl<T: Clone + 'static, E: 'static, P: 'static> IntoFuture for Promise<T, E, P> {
    type Output = Outcome<T, E>;
    type IntoFuture = Settled<T, E, P>;

    #[track_caller]
    fn into_future(self) -> Settled<T, E, P> {
        self.shared.claim();
        Settled { promise: Some(self), number: None, place: Location::caller(), note: WaitNote::new() }
    }
}

/// Waits until a promise is settled: the future of `promise.await`.
///
/// Awaiting a settled promise suspends only if the step has used up its
/// [budget](picot_context::budget), so that a loop of such awaits lets other tasks run.
///
/// # If dropped
/// As if a promise was dropped: nothing happens, unless it was the last one and there is a
/// [canceller](Deferred::on_cancel). A rejection that this has not returned is unhandled, and is
/// reported if nothing else handles it.
///
/// ```
/// use picot_deferred::{Promise, Settled};
///
/// # let (host, _guard) = picot_deferred::ManualHost::installed();
/// let wait: Settled<i32, String> = Promise::settled(Ok(7)).into_future();
/// let next = Promise::<i32, String>::spawn(async { Ok(wait.await.unwrap_or(0) + 1) });
/// host.run_until_stalled();
/// assert_eq!(next.outcome(), Some(Ok(&8)));
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Settled<T: 'static, E: 'static, P: 'static = Infallible> {
    /// `None` after the outcome was returned.
    promise: Option<Promise<T, E, P>>,
    /// The number of the registered waker.
    number: Option<u64>,
    /// Where it is awaited.
    place: Place,
    note: WaitNote,
}

impl<T: Clone + 'static, E: 'static, P: 'static> Future for Settled<T, E, P> {
    type Output = Outcome<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T, E>> {
        let this = &mut *self;
        let promise = this.promise.as_ref().expect("a promise is not polled again after completion");
        if promise.shared.is_pending() && promise.shared.wait(&mut this.number, cx.waker()) {
            let (made, place) = (promise.shared.place, this.place);
            this.note.set(|| WaitInfo::new(WaitKind::Promise, "the promise").made(made).at(place));
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

impl<T: Clone + 'static, E: 'static, P: 'static> Promise<T, E, P> {
    /// The outcome of a promise that is settled.
    pub(crate) fn into_outcome(self) -> Outcome<T, E> {
        let shared = self.shared.clone();
        // Before the outcome is read: without this handle, it may be movable.
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
        // The outcome was not returned, so a rejection is unseen.
        promise.shared.unclaim(false);
    }
}

// Nothing is pinned inside: `poll` moves the promise out.
impl<T: 'static, E: 'static, P: 'static> Unpin for Settled<T, E, P> {}

impl<T: 'static, E: 'static, P: 'static> fmt::Debug for Settled<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").finish_non_exhaustive()
    }
}

//! Callbacks of a later turn: handlers that make a further promise, and asyncio's done-callbacks.
//!
//! If a handler returns a promise, one more handler adopts it, and is scheduled as every handler
//! is. So a chain of adoptions takes turns and no stack, however long it is.

use std::panic::Location;
use std::rc::{Rc, Weak};

use picot_context::{Kind, Origin, Payload, Place, Report, catch};

use crate::deferred::Deferred;
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{Outcome, Shared};
use crate::unhandled::Claim;

/// What a handler of [`then`](Promise::then), [`catch`](Promise::catch) or
/// [`finally`](Promise::finally) may return: a `Result`, or another promise.
///
/// ```
/// use picot_deferred::{Chained, Promise};
///
/// fn half_of(n: i32) -> impl Chained<i32, String> {
///     if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) }
/// }
///
/// # let (host, _guard) = picot_deferred::ManualHost::installed();
/// let half = Promise::settled(Ok(8)).then(half_of);
/// host.run_until_stalled();
/// assert_eq!(half.outcome(), Some(Ok(&4)));
/// ```
///
/// A plain value is not a `Result`:
///
/// ```compile_fail,E0277
/// # use picot_deferred::Promise;
/// fn next(promise: Promise<i32, String>) -> Promise<i32, String> {
///     promise.then(|n| n + 1)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler of a promise cannot return `{Self}`",
    label = "this handler must return `Result<{T}, {E}>` or `Promise<{T}, {E}>`",
    note = "return `Ok(value)` for a plain value, and `Promise::spawn(future)` for a future"
)]
pub trait Chained<T: 'static, E: 'static>: sealed::Sealed<T, E> {}

pub(crate) mod sealed {
    use super::*;

    pub trait Sealed<T: 'static, E: 'static> {
        /// Settles `downstream` with the result of `map` for this outcome, as soon as there is one.
        #[expect(private_interfaces, reason = "only this crate calls it")]
        fn settle<U: 'static>(
            self,
            downstream: &Downstream<U, E>,
            place: Place,
            map: impl FnOnce(Outcome<T, E>) -> Outcome<U, E> + 'static,
        );
    }
}

impl<T: 'static, E: 'static> Chained<T, E> for Result<T, E> {}

impl<T: 'static, E: 'static> sealed::Sealed<T, E> for Result<T, E> {
    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn settle<U: 'static>(
        self,
        downstream: &Downstream<U, E>,
        _: Place,
        map: impl FnOnce(Outcome<T, E>) -> Outcome<U, E> + 'static,
    ) {
        downstream.deferred.settle(map(self.map_err(Rejection::from)));
    }
}

impl<T: Clone + 'static, E: 'static> Chained<T, E> for Promise<T, E> {}

impl<T: Clone + 'static, E: 'static> sealed::Sealed<T, E> for Promise<T, E> {
    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn settle<U: 'static>(
        self,
        downstream: &Downstream<U, E>,
        place: Place,
        map: impl FnOnce(Outcome<T, E>) -> Outcome<U, E> + 'static,
    ) {
        downstream.adopt(self, place, map);
    }
}

/// Identifies a callback that [`Promise::on_settled`] has added.
///
/// ```
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// let promise = picot_deferred::Deferred::<i32, String>::new().promise();
/// let id: picot_deferred::CallbackId = promise.on_settled(|_| {});
/// promise.remove([id]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId {
    /// The address of the promise's state. It is compared and never dereferenced.
    promise: usize,
    number: u64,
}

impl<T: Clone + 'static, E: 'static, P: 'static> Promise<T, E, P> {
    /// Calls `f` with the value, in a later turn than the settling, and returns a promise of what
    /// `f` returns.
    ///
    /// If `f` returns `Ok` or `Err`, the new promise is settled at once; if `f` returns a promise,
    /// when that is settled. A rejection skips `f` and settles the new promise. If `f` panics, the
    /// panic is reported and the new promise is rejected as [panicked](Rejection::Panicked). If the
    /// new promise is [cancelled](Promise::cancel) before, `f` is not called.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let positive = |n| if n > 0 { Ok(n + 1) } else { Err("not positive".into()) };
    /// let next = deferred.promise().then(positive);
    /// deferred.resolve(1);
    /// # host.run_until_stalled();
    /// next.done(|n| assert_eq!(*n, 2));
    /// ```
    #[track_caller]
    pub fn then<U: 'static, R: Chained<U, E>>(&self, f: impl FnOnce(T) -> R + 'static) -> Promise<U, E> {
        self.handle(Location::caller(), |claim, downstream, place| match claim.take().into_outcome() {
            Ok(value) => f(value).settle(downstream, place, |outcome| outcome),
            Err(rejection) => downstream.pass_on(Err(rejection)),
        })
    }

    /// Calls `f` with the rejection, in a later turn than the settling, and returns a promise of
    /// what `f` returns; `Ok` recovers.
    ///
    /// A value skips `f` and settles the new promise. Otherwise as [`then`](Promise::then).
    /// jQuery's `catch`, and its `then(null, f)`.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let next = deferred.promise().catch(|rejection| match rejection.error() {
    ///     Some(_) => Ok(0),
    ///     None => Err("gone".into()),
    /// });
    /// deferred.reject("no".into());
    /// # host.run_until_stalled();
    /// next.done(|n| assert_eq!(*n, 0));
    /// ```
    #[track_caller]
    pub fn catch<R: Chained<T, E>>(&self, f: impl FnOnce(Rejection<E>) -> R + 'static) -> Promise<T, E> {
        self.handle(Location::caller(), |claim, downstream, place| match claim.take().into_outcome() {
            Ok(value) => downstream.pass_on(Ok(value)),
            Err(rejection) => f(rejection).settle(downstream, place, |outcome| outcome),
        })
    }

    /// Calls `f` in a later turn than the settling, for any outcome, and returns a promise of
    /// the same outcome.
    ///
    /// The new promise is settled when what `f` returns is resolved. If that is rejected, or `f`
    /// panics, the rejection replaces the outcome. Otherwise as [`then`](Promise::then).
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let next = deferred.promise().finally(|| {
    ///     println!("over");
    ///     Ok(())
    /// });
    /// deferred.resolve(1);
    /// # host.run_until_stalled();
    /// next.done(|n| assert_eq!(*n, 1));
    /// ```
    #[track_caller]
    pub fn finally<R: Chained<(), E>>(&self, f: impl FnOnce() -> R + 'static) -> Promise<T, E> {
        self.handle(Location::caller(), |claim, downstream, place| {
            let mark_passed_on = downstream.mark_passed_on();
            // The claim lives until what `f` returns is settled. If that wait is cancelled, the
            // dropped claim reports the rejection.
            f().settle(downstream, place, |finished| {
                let outcome = claim.take().into_outcome();
                finished.and_then(|()| {
                    mark_passed_on();
                    outcome
                })
            });
        })
    }

    /// Makes the promise that `f` settles after this one is settled.
    fn handle<U: 'static>(
        &self,
        place: Place,
        f: impl FnOnce(Claim<T, E, P>, &Downstream<U, E>, Place) + 'static,
    ) -> Promise<U, E> {
        let shared = &self.shared;
        let claim = Claim::new(shared);
        let mut downstream =
            Downstream { deferred: Deferred::from_host(shared.host.clone(), place), is_reported: false };
        let promise = downstream.deferred.promise();
        let number = shared.add_handler(place, move || {
            if !downstream.deferred.shared.is_pending() {
                // Cancelled. The claim is dropped with this closure, so a rejection is unseen.
                return;
            }
            // This is settled, so no cancel goes there any more. Without the weak reference, a
            // value that only this handler wants is moved out in place.
            downstream.deferred.shared.upstream.take();
            downstream.is_reported = claim.is_reported();
            if let Err(payload) = catch(|| f(claim, &downstream, place)) {
                downstream.panicked(payload, place);
            }
        });
        promise.shared.wait_for(shared, number);
        promise
    }
}

impl<T: 'static, E: 'static, P: 'static> Promise<T, E, P> {
    /// Calls `f` with the outcome, in a later turn than the settling: asyncio's
    /// `add_done_callback`.
    ///
    /// Callbacks run in the order of registration. If `f` panics, the panic is reported and the
    /// others still run.
    ///
    /// ```
    /// # let (host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let promise = deferred.promise();
    /// let first = promise.on_settled(|outcome| println!("{outcome:?}"));
    /// let second = promise.on_settled(|_| unreachable!("it is removed"));
    /// assert_eq!(promise.remove([second]), 1);
    /// deferred.resolve(7);
    /// assert_eq!(promise.remove([first]), 0); // too late: it is scheduled
    /// # host.run_until_stalled(); // prints Ok(7)
    /// ```
    #[doc(alias = "add_done_callback")]
    #[track_caller]
    pub fn on_settled(&self, f: impl FnOnce(Result<&T, &Rejection<E>>) + 'static) -> CallbackId {
        let (place, claim) = (Location::caller(), Claim::new(&self.shared));
        let number = self.shared.add_handler(place, move || {
            let shared = claim.take();
            let outcome = shared.outcome().expect("a handler runs after the settling").as_ref();
            shared.contain(Kind::Promise, place, || f(outcome));
        });
        CallbackId { promise: Rc::as_ptr(&self.shared).addr(), number }
    }

    /// Removes these callbacks of [`on_settled`](Promise::on_settled). Returns how many it has
    /// removed.
    ///
    /// Callbacks of a settled promise are scheduled already, and are not removed.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let promise = picot_deferred::Deferred::<i32, String>::with(|deferred| {
    ///     let promise = deferred.promise();
    ///     let id = promise.on_settled(|_| unreachable!("it is removed"));
    ///     assert_eq!(promise.remove([id, id]), 1);
    /// });
    /// ```
    #[doc(alias = "remove_done_callback")]
    pub fn remove(&self, callbacks: impl IntoIterator<Item = CallbackId>) -> usize {
        let promise = Rc::as_ptr(&self.shared).addr();
        let is_removed = |id: &CallbackId| id.promise == promise && self.shared.remove(id.number);
        callbacks.into_iter().filter(is_removed).count()
    }
}

/// The next promise of a chain, seen from the handler that settles it.
pub(crate) struct Downstream<T: 'static, E: 'static> {
    deferred: Deferred<T, E>,
    /// Whether the rejection that the handler may pass on was reported.
    is_reported: bool,
}

impl<T: 'static, E: 'static> Downstream<T, E> {
    /// Settles it with an outcome that the handler passes on unchanged.
    fn pass_on(&self, outcome: Outcome<T, E>) {
        self.mark_passed_on()();
        self.deferred.settle(outcome);
    }

    /// Returns a function to call before an outcome is passed on: if the rejection was reported, it
    /// marks the next promise so that the rejection is not reported again.
    fn mark_passed_on(&self) -> impl FnOnce() + use<T, E> {
        let reported = self.is_reported.then(|| self.deferred.shared.clone());
        move || {
            if let Some(shared) = reported {
                shared.is_seen.set(true);
                shared.is_reported.set(true);
            }
        }
    }

    fn panicked(&self, payload: Payload, place: Place) {
        self.deferred.shared.host.report(Report::panic(Origin::new(Kind::Promise).at(place), payload));
        self.deferred.settle(Err(Rejection::Panicked));
    }

    /// Settles it as soon as `promise` is settled, with the result of `map` for the outcome.
    fn adopt<V: Clone + 'static>(
        &self,
        promise: Promise<V, E>,
        place: Place,
        map: impl FnOnce(Outcome<V, E>) -> Outcome<T, E> + 'static,
    ) {
        // Addresses, because the two may have different types.
        if Rc::as_ptr(&promise.shared).addr() == Rc::as_ptr(&self.deferred.shared).addr() {
            self.deferred.settle(Err(Rejection::Cycle));
            return;
        }
        let mut downstream = Downstream { deferred: self.deferred.clone(), is_reported: false };
        let claim = Claim::new(&promise.shared);
        let number = promise.shared.add_handler(place, move || {
            if !downstream.deferred.shared.is_pending() {
                return;
            }
            downstream.is_reported = claim.is_reported();
            // `map` clones values of the user.
            match catch(|| map(claim.take().into_outcome())) {
                Ok(outcome) => downstream.pass_on(outcome),
                Err(payload) => downstream.panicked(payload, place),
            }
        });
        self.deferred.shared.wait_for(&promise.shared, number);
    }
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// Notes what this waits for, and the number there, so that a cancel can go upwards.
    fn wait_for<U: 'static, F: 'static, Q: 'static>(&self, upstream: &Rc<Shared<U, F, Q>>, number: u64) {
        if upstream.is_pending() {
            let upstream: Weak<Shared<U, F, Q>> = Rc::downgrade(upstream);
            self.upstream.set(Some((upstream, number)));
        }
    }
}

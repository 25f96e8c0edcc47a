//! What is scheduled: handlers that make a further promise, and asyncio's callbacks.
//!
//! A promise that a handler returns is adopted by one more handler, which is scheduled, as every
//! handler is. So a chain of adoptions, however long, is a chain of turns and not of stack frames.

use std::panic::Location;
use std::rc::{Rc, Weak};

use picot_context::{Kind, Origin, Payload, Place, Report, catch};

use crate::deferred::Deferred;
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{Claim, Outcome, Shared};

/// What a handler of [`then`](Promise::then), [`catch`](Promise::catch) or
/// [`finally`](Promise::finally) may return: a `Result`, or another promise.
pub trait Chained<T: 'static, E: 'static>: sealed::Sealed<T, E> {}

pub(crate) mod sealed {
    use super::*;

    pub trait Sealed<T: 'static, E: 'static> {
        /// Settles `next` by what `map` makes of this: now, or when this is settled itself.
        #[expect(private_interfaces, reason = "nobody outside of this crate calls it")]
        fn settle<U: 'static>(
            self,
            next: &Next<U, E>,
            place: Place,
            map: impl FnOnce(Outcome<T, E>) -> Outcome<U, E> + 'static,
        );
    }
}

impl<T: 'static, E: 'static> Chained<T, E> for Result<T, E> {}

impl<T: 'static, E: 'static> sealed::Sealed<T, E> for Result<T, E> {
    #[expect(private_interfaces, reason = "nobody outside of this crate calls it")]
    fn settle<U: 'static>(
        self,
        next: &Next<U, E>,
        _: Place,
        map: impl FnOnce(Outcome<T, E>) -> Outcome<U, E> + 'static,
    ) {
        next.deferred.settle(map(self.map_err(Rejection::Error)));
    }
}

impl<T: Clone + 'static, E: Clone + 'static> Chained<T, E> for Promise<T, E> {}

impl<T: Clone + 'static, E: Clone + 'static> sealed::Sealed<T, E> for Promise<T, E> {
    #[expect(private_interfaces, reason = "nobody outside of this crate calls it")]
    fn settle<U: 'static>(
        self,
        next: &Next<U, E>,
        place: Place,
        map: impl FnOnce(Outcome<T, E>) -> Outcome<U, E> + 'static,
    ) {
        next.adopt(self, place, map);
    }
}

/// Which callback was added by [`Promise::on_settled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId {
    /// An address, which tells promises apart and is not followed.
    promise: usize,
    number: u64,
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Promise<T, E, P> {
    /// Calls `f` with the value, in a later turn than that of the settling, always. What it returns
    /// settles the promise that this returns: `Ok` and `Err` do so at once, another promise does
    /// when it is settled itself. A rejection passes by `f` to that promise. If `f` panics, that
    /// promise is rejected as [panicked](Rejection::Panicked), and the panic is reported. If that
    /// promise is [cancelled](Promise::cancel) before, `f` is not called.
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
        self.handle(Location::caller(), |claim, next, place| match claim.take().into_outcome() {
            Ok(value) => f(value).settle(next, place, |outcome| outcome),
            Err(rejection) => next.pass(Err(rejection)),
        })
    }

    /// Calls `f` with the rejection, in a later turn, always, and goes on with what `f` returns;
    /// `Ok` recovers. A value passes by `f`. jQuery's `catch`, and its `then(null, f)`. Otherwise
    /// as [`then`](Promise::then).
    ///
    /// ```
    /// # let (host, _guard) = picot_context::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let next = deferred.promise().catch(|rejection| if rejection.error().is_some() { Ok(0) } else { Err("gone".into()) });
    /// deferred.reject("no".into());
    /// # host.run_until_stalled();
    /// next.done(|n| assert_eq!(*n, 0));
    /// ```
    #[track_caller]
    pub fn catch<R: Chained<T, E>>(&self, f: impl FnOnce(Rejection<E>) -> R + 'static) -> Promise<T, E> {
        self.handle(Location::caller(), |claim, next, place| match claim.take().into_outcome() {
            Ok(value) => next.pass(Ok(value)),
            Err(rejection) => f(rejection).settle(next, place, |outcome| outcome),
        })
    }

    /// Calls `f` in a later turn than that of the settling, whichever the outcome, and passes the
    /// outcome on when what `f` returns is resolved. If that is rejected, or `f` panics, this
    /// replaces the outcome. Otherwise as [`then`](Promise::then).
    ///
    /// ```
    /// # let (host, _guard) = picot_context::ManualHost::installed();
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
        self.handle(Location::caller(), |claim, next, place| {
            let passes = next.passes();
            // The claim stays until then: if the wait for what `f` returns is cancelled, nothing
            // has seen a rejection.
            f().settle(next, place, |finished| {
                let outcome = claim.take().into_outcome();
                finished.and_then(|()| {
                    passes();
                    outcome
                })
            });
        })
    }

    /// Makes the promise that `f` settles when this one is settled.
    fn handle<U: 'static>(
        &self,
        place: Place,
        f: impl FnOnce(Claim<T, E, P>, &Next<U, E>, Place) + 'static,
    ) -> Promise<U, E> {
        let shared = &self.shared;
        let claim = Claim::new(shared);
        let mut next = Next { deferred: Deferred::from_host(shared.host.clone(), place), is_told: false };
        let promise = next.deferred.promise();
        let number = shared.add_handler(place, move || {
            if !next.deferred.shared.is_pending() {
                // Cancelled. The claim goes with this closure, and the rejection is unseen.
                return;
            }
            next.is_told = claim.is_told();
            if let Err(payload) = catch(|| f(claim, &next, place)) {
                next.panicked(payload, place);
            }
        });
        promise.shared.wait_for(shared, number);
        promise
    }
}

impl<T: 'static, E: 'static, P: 'static> Promise<T, E, P> {
    /// Calls `f` with the outcome in a later turn than that of the settling, always, in the order
    /// of registration: asyncio's `add_done_callback`. If `f` panics, that is reported, and the
    /// others run all the same.
    ///
    /// ```
    /// # let (host, _guard) = picot_context::ManualHost::installed();
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

    /// Removes these callbacks of [`on_settled`](Promise::on_settled), and returns how many of them
    /// there were. Those that are scheduled already, because it is settled, are not.
    #[doc(alias = "remove_done_callback")]
    pub fn remove(&self, callbacks: impl IntoIterator<Item = CallbackId>) -> usize {
        let promise = Rc::as_ptr(&self.shared).addr();
        let is_removed = |id: &CallbackId| id.promise == promise && self.shared.remove(id.number);
        callbacks.into_iter().filter(is_removed).count()
    }
}

/// The deferred that a handler settles.
pub(crate) struct Next<T: 'static, E: 'static> {
    deferred: Deferred<T, E>,
    /// Whether the rejection that the handler is to pass on was reported.
    is_told: bool,
}

impl<T: 'static, E: 'static> Next<T, E> {
    /// Settles it by an outcome that passes by the handler.
    fn pass(&self, outcome: Outcome<T, E>) {
        self.passes()();
        self.deferred.settle(outcome);
    }

    /// To be called before it is settled by such an outcome: a rejection is reported once on its
    /// way.
    fn passes(&self) -> impl FnOnce() + use<T, E> {
        let told = self.is_told.then(|| self.deferred.shared.clone());
        move || {
            if let Some(shared) = told {
                shared.is_seen.set(true);
                shared.is_told.set(true);
            }
        }
    }

    fn panicked(&self, payload: Payload, place: Place) {
        self.deferred.shared.host.report(Report::panic(Origin::new(Kind::Promise).at(place), payload));
        self.deferred.settle(Err(Rejection::Panicked));
    }

    /// Settles it by what `promise` is settled with.
    fn adopt<V: Clone + 'static>(
        &self,
        promise: Promise<V, E>,
        place: Place,
        map: impl FnOnce(Outcome<V, E>) -> Outcome<T, E> + 'static,
    ) where
        E: Clone,
    {
        if Rc::as_ptr(&promise.shared).addr() == Rc::as_ptr(&self.deferred.shared).addr() {
            self.deferred.settle(Err(Rejection::Cycle));
            return;
        }
        let mut next = Next { deferred: self.deferred.clone(), is_told: false };
        let claim = Claim::new(&promise.shared);
        let number = promise.shared.add_handler(place, move || {
            if !next.deferred.shared.is_pending() {
                return;
            }
            next.is_told = claim.is_told();
            match catch(|| map(claim.take().into_outcome())) {
                Ok(outcome) => next.pass(outcome),
                Err(payload) => next.panicked(payload, place),
            }
        });
        self.deferred.shared.wait_for(&promise.shared, number);
    }
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// Notes what this waits for, and under which number, so that a cancel can go upwards.
    fn wait_for<U: 'static, F: 'static, Q: 'static>(&self, upstream: &Rc<Shared<U, F, Q>>, number: u64) {
        if upstream.is_pending() {
            let upstream: Weak<Shared<U, F, Q>> = Rc::downgrade(upstream);
            self.upstream.set(Some((upstream, number)));
        }
    }
}

//! The side that waits: by callbacks that run while it is settled, and by what may be asked at any
//! time.
//!
//! Handlers that run later, and awaiting, are in files of their own.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use picot_context::Place;

use crate::deferred::{Deferred, this_host};
use crate::rejection::Rejection;
use crate::state::{Callback, Shared, State};

/// What a [`Deferred`] will be settled with. Clones are handles of the same promise.
///
/// It has no way to settle. Awaiting it gives a `Result<T, Rejection<E>>`: the value itself if
/// nobody else can ask for it any more, else a clone. What cannot be cloned is promised in an `Rc`.
///
/// # Unhandled rejections
/// A rejection by an error that nothing has seen by the next turn, or when the host closes, is
/// reported to the host once. To register is not to see it: a handler that is removed, an await that
/// is dropped, and a chain or group that is cancelled count for nothing. A later `await` still returns
/// a rejection that was reported.
#[doc(alias = "Future")]
pub struct Promise<T: 'static, E: 'static, P: 'static = Infallible> {
    pub(crate) shared: Rc<Shared<T, E, P>>,
}

impl<T: 'static, E: 'static> Promise<T, E> {
    /// A promise that is settled already.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// use picot_deferred::{Promise, Rejection};
    ///
    /// # let (_host, _guard) = picot_context::ManualHost::installed();
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
        let deferred = Deferred::from_host(this_host(), Location::caller());
        let promise = deferred.promise();
        deferred.settle(outcome);
        promise
    }
}

impl<T: 'static, E: 'static, P: 'static> Promise<T, E, P> {
    /// One more promise of this state.
    pub(crate) fn of(shared: &Rc<Shared<T, E, P>>) -> Promise<T, E, P> {
        shared.promises.set(shared.promises.get() + 1);
        Promise { shared: shared.clone() }
    }

    /// The state, without the look whether this was the last promise.
    pub(crate) fn into_shared(self) -> Rc<Shared<T, E, P>> {
        let shared = self.shared.clone();
        shared.promises.set(shared.promises.get() + 1);
        drop(self);
        shared.promises.set(shared.promises.get() - 1);
        shared
    }

    /// Calls `f` with the value when there is one: at once if there is, else while it is resolved,
    /// before [`resolve`](Deferred::resolve) returns. Callbacks run in the order in which they were
    /// added. If `f` panics, that is reported, and the others run all the same.
    #[track_caller]
    pub fn done(&self, f: impl FnOnce(&T) + 'static) -> &Self {
        self.add(Location::caller(), false, |outcome| {
            if let Ok(value) = outcome {
                f(value);
            }
        })
    }

    /// Calls `f` with the rejection when there is one; otherwise as [`done`](Promise::done).
    #[track_caller]
    pub fn fail(&self, f: impl FnOnce(&Rejection<E>) + 'static) -> &Self {
        self.add(Location::caller(), true, |outcome| {
            if let Err(rejection) = outcome {
                f(rejection);
            }
        })
    }

    /// Calls `f` with the outcome, whichever it is; otherwise as [`done`](Promise::done).
    #[track_caller]
    pub fn always(&self, f: impl FnOnce(Result<&T, &Rejection<E>>) + 'static) -> &Self {
        self.add(Location::caller(), true, f)
    }

    fn add(&self, place: Place, handles: bool, f: impl FnOnce(Result<&T, &Rejection<E>>) + 'static) -> &Self {
        self.shared.add_callback(self.shared.next_number(), Callback::Call { place, handles, call: Box::new(f) });
        self
    }

    /// Calls `f` with each notification, and with the last one at once if there was one.
    #[track_caller]
    pub fn progress(&self, f: impl FnMut(&P) + 'static) -> &Self {
        let extra = match self.shared.extra() {
            None if !self.shared.is_pending() => return self,
            _ => self.shared.extra_or_new(),
        };
        self.shared.notify(extra.progress.add(Location::caller(), f));
        self
    }

    /// Cancels it: calls what [`on_cancel`](Deferred::on_cancel) has set, and rejects it as
    /// [cancelled](Rejection::Cancelled) unless that has settled it. Returns whether it was
    /// pending.
    ///
    /// Whatever it waits for by a handler of [`then`](Promise::then) and the like, or as a group by
    /// [`when`](crate::when()), is cancelled as well if nobody else waits for that; the handler
    /// does not run. The future of a promise that was [spawned](Promise::spawn) is dropped at its
    /// next step.
    ///
    /// ```
    /// use picot_deferred::{Deferred, Rejection};
    ///
    /// # let (_host, _guard) = picot_context::ManualHost::installed();
    /// let deferred = Deferred::<i32, String>::new();
    /// deferred.on_cancel(|_| println!("the work stops"));
    /// let next = deferred.promise().then(|n| Ok(n + 1));
    /// assert!(next.cancel()); // prints it
    /// assert_eq!(next.outcome(), Some(Err(&Rejection::Cancelled)));
    /// assert!(!next.cancel());
    /// ```
    pub fn cancel(&self) -> bool {
        self.shared.cancel()
    }

    /// Whether it is settled, and how.
    #[doc(alias = "cancelled")]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// The outcome, if it is settled.
    #[doc(alias = "result")]
    #[doc(alias = "exception")]
    pub fn outcome(&self) -> Option<Result<&T, &Rejection<E>>> {
        let outcome = self.shared.outcome()?.as_ref();
        self.shared.is_seen.set(true);
        Some(outcome)
    }

    /// How many callbacks, handlers, awaits and groups are registered and wait for the outcome.
    /// Each is gone from here when it has run, or was removed, dropped or cancelled. For
    /// diagnostics and tests of leaks.
    ///
    /// ```
    /// use picot_deferred::{Deferred, when_race};
    ///
    /// # let (_host, _guard) = picot_context::ManualHost::installed();
    /// let (stop, work) = (Deferred::<(), String>::new(), Deferred::new());
    /// let stopped = stop.promise();
    /// let race = when_race([stopped.clone(), work.promise()]);
    /// assert_eq!(stopped.waiting(), 1);
    /// work.resolve(());
    /// assert_eq!(stopped.waiting(), 0); // a race that is settled leaves nothing behind
    /// ```
    pub fn waiting(&self) -> usize {
        self.shared.registered()
    }

    /// Whether this is a handle of the same promise as `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T: 'static, E: 'static, P: 'static> Clone for Promise<T, E, P> {
    fn clone(&self) -> Self {
        Promise::of(&self.shared)
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Promise<T, E, P> {
    fn drop(&mut self) {
        let left = self.shared.promises.get() - 1;
        self.shared.promises.set(left);
        if left == 0 {
            self.shared.last_promise_dropped();
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> fmt::Debug for Promise<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Promise({:?})", self.state())
    }
}

//! The side that waits: callbacks that run inside the settling, and questions that have an answer
//! at any time.
//!
//! Handlers of later turns (`then.rs`) and awaiting (`settled.rs`) have files of their own.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use picot_context::Place;

use crate::rejection::Rejection;
use crate::state::{Callback, Shared, State};

/// The future outcome of a [`Deferred`](crate::Deferred). Clones are handles of the same
/// promise.
///
/// A promise cannot be settled by itself. Awaiting it returns a `Result<T, Rejection<E>>`. The
/// value is moved out if no other handle is left, and cloned otherwise. To promise a value that is
/// not `Clone`, put it into an `Rc`.
///
/// # Unhandled rejections
/// A rejection by an error that no code has seen by the next turn, or when the host closes, is
/// reported to the host, once. Registering alone does not handle a rejection: a handler that is
/// removed, an await that is dropped, and a chain or group that is cancelled do not count. A later
/// `await` still returns a rejection that was reported.
///
/// ```
/// use picot_deferred::{Deferred, ManualHost};
///
/// # let (host, _guard) = ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// let promise = deferred.promise();
/// promise.done(|n| println!("inside of `resolve`: {n}"));
/// let next = promise.then(|n| Ok(n + 1)); // in a later turn
/// deferred.resolve(7);
/// host.run_until_stalled();
/// assert_eq!(next.outcome(), Some(Ok(&8)));
/// ```
#[doc(alias = "Future")]
pub struct Promise<T: 'static, E: 'static, P: 'static = Infallible> {
    pub(crate) shared: Rc<Shared<T, E, P>>,
}

impl<T: 'static, E: 'static, P: 'static> Promise<T, E, P> {
    /// Makes one more promise of this state.
    pub(crate) fn of(shared: &Rc<Shared<T, E, P>>) -> Promise<T, E, P> {
        shared.promise_count.set(shared.promise_count.get() + 1);
        Promise { shared: shared.clone() }
    }

    /// Returns the state. If this was the last promise, that has no effect on the state; the caller
    /// sees to it.
    pub(crate) fn into_shared(self) -> Rc<Shared<T, E, P>> {
        let shared = self.shared.clone();
        // One more than there are, so that the drop of `self` does not find itself the last.
        shared.promise_count.set(shared.promise_count.get() + 1);
        drop(self);
        shared.promise_count.set(shared.promise_count.get() - 1);
        shared
    }

    /// Calls `f` with the value: inside of [`resolve`](crate::Deferred::resolve), or at once if the
    /// promise is resolved already.
    ///
    /// Callbacks run in the order in which they were added. If `f` panics, the panic is reported
    /// and the other callbacks still run.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// deferred.promise().done(|n| println!("first {n}")).done(|n| println!("second {n}"));
    /// deferred.resolve(7); // prints both lines
    /// deferred.promise().done(|n| println!("late {n}")); // prints at once
    /// ```
    #[track_caller]
    pub fn done(&self, f: impl FnOnce(&T) + 'static) -> &Self {
        self.add(Location::caller(), false, |outcome| {
            if let Ok(value) = outcome {
                f(value);
            }
        })
    }

    /// Calls `f` with the rejection, if the promise is rejected; otherwise as
    /// [`done`](Promise::done).
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// deferred.promise().fail(|rejection| println!("failed: {rejection}"));
    /// deferred.reject("no".into()); // prints "failed: no"
    /// ```
    #[track_caller]
    pub fn fail(&self, f: impl FnOnce(&Rejection<E>) + 'static) -> &Self {
        self.add(Location::caller(), true, |outcome| {
            if let Err(rejection) = outcome {
                f(rejection);
            }
        })
    }

    /// Calls `f` with the outcome, a value or a rejection; otherwise as [`done`](Promise::done).
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// deferred.promise().always(|outcome| println!("{outcome:?}"));
    /// deferred.resolve(7); // prints "Ok(7)"
    /// ```
    #[track_caller]
    pub fn always(&self, f: impl FnOnce(Result<&T, &Rejection<E>>) + 'static) -> &Self {
        self.add(Location::caller(), true, f)
    }

    fn add(&self, place: Place, handles: bool, f: impl FnOnce(Result<&T, &Rejection<E>>) + 'static) -> &Self {
        self.shared.add_callback(self.shared.next_number(), Callback::Call { place, handles, call: Box::new(f) });
        self
    }

    /// Calls `f` with each [notification](crate::Deferred::notify), and at once with the last one
    /// if there was one.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<(), String, u8>::with_progress();
    /// deferred.notify(10);
    /// deferred.promise().progress(|percent| println!("{percent} %")); // prints "10 %"
    /// deferred.notify(20); // prints "20 %"
    /// ```
    #[track_caller]
    pub fn progress(&self, f: impl FnMut(&P) + 'static) -> &Self {
        let extra = match self.shared.extra() {
            // Settled without a notification, so none will come.
            None if !self.shared.is_pending() => return self,
            _ => self.shared.extra_or_new(),
        };
        self.shared.notify(extra.progress.add(Location::caller(), f));
        self
    }

    /// Cancels the promise. Returns `false` if it was settled already.
    ///
    /// Calls the function that [`on_cancel`](crate::Deferred::on_cancel) has set. If that does not
    /// settle the promise, the promise is rejected as [cancelled](Rejection::Cancelled).
    ///
    /// If the promise comes from [`then`](Promise::then) and the like, its handler does not run,
    /// and the promise before it is cancelled as well if nothing else waits for that. The same
    /// holds for the members of a group that [`when`](crate::when()) has made. The future of a
    /// [spawned](Promise::spawn) promise is dropped at its next step.
    ///
    /// ```
    /// use picot_deferred::{Deferred, Rejection};
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = Deferred::<i32, String>::new();
    /// deferred.on_cancel(|_| println!("the work stops"));
    /// let parsed = deferred.promise().then(|n| Ok(n + 1));
    /// assert!(parsed.cancel()); // prints it
    /// assert_eq!(parsed.outcome(), Some(Err(&Rejection::Cancelled)));
    /// assert!(!deferred.resolve(1));
    /// ```
    pub fn cancel(&self) -> bool {
        self.shared.cancel()
    }

    /// Whether the promise is settled, and how.
    ///
    /// ```
    /// use picot_deferred::{Promise, State};
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// assert_eq!(Promise::<i32, String>::settled(Ok(7)).state(), State::Resolved);
    /// ```
    #[doc(alias = "cancelled")]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// The outcome, if the promise is settled. A rejection that this has returned counts as
    /// handled.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let promise = deferred.promise();
    /// assert_eq!(promise.outcome(), None);
    /// deferred.resolve(7);
    /// assert_eq!(promise.outcome(), Some(Ok(&7)));
    /// ```
    #[doc(alias = "result")]
    #[doc(alias = "exception")]
    pub fn outcome(&self) -> Option<Result<&T, &Rejection<E>>> {
        let outcome = self.shared.outcome()?.as_ref();
        self.shared.is_seen.set(true);
        Some(outcome)
    }

    /// How many callbacks, handlers, awaits and groups are registered and wait for the outcome.
    ///
    /// Each counts until it has run, or was removed, dropped or cancelled. For diagnostics and
    /// tests of leaks.
    ///
    /// ```
    /// use picot_deferred::{Deferred, when_race};
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let (stop, work) = (Deferred::<(), String>::new(), Deferred::new());
    /// let stopped = stop.promise();
    /// let race = when_race([stopped.clone(), work.promise()]);
    /// assert_eq!(stopped.waiting(), 1);
    /// work.resolve(());
    /// assert_eq!(stopped.waiting(), 0); // a settled race leaves nothing behind
    /// ```
    pub fn waiting(&self) -> usize {
        self.shared.registration_count()
    }

    /// Whether `other` is a handle of the same promise.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let promise = picot_deferred::Promise::<i32, String>::settled(Ok(7));
    /// assert!(promise.is_same(&promise.clone()));
    /// assert!(!promise.is_same(&promise.then(Ok)));
    /// ```
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
        let left = self.shared.promise_count.get() - 1;
        self.shared.promise_count.set(left);
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

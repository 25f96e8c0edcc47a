//! The side that settles.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use picot_context::{Host, Kind, Place, host};

use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{Outcome, Shared, State};

/// A value that will be settled once: [resolved](Deferred::resolve) with a `T`, or [rejected](Deferred::reject) with an
/// `E`. jQuery's `$.Deferred()`.
///
/// Clones settle the same promise. When the last is dropped unsettled, the promise is rejected as
/// [abandoned](Rejection::Abandoned).
///
/// ```
/// use picot_deferred::{Deferred, State};
///
/// # let (_host, _guard) = picot_context::ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// let promise = deferred.promise();
/// promise.done(|n| println!("it is {n}"));
/// assert!(deferred.resolve(7));
/// assert!(!deferred.reject("too late".into()));
/// assert_eq!(promise.state(), State::Resolved);
/// ```
pub struct Deferred<T: 'static, E: 'static, P: 'static = Infallible> {
    pub(crate) shared: Rc<Shared<T, E, P>>,
}

impl<T: 'static, E: 'static> Deferred<T, E> {
    /// A deferred on this thread's host, which runs what is scheduled.
    ///
    /// # Panics
    /// If this thread has no host.
    #[track_caller]
    pub fn new() -> Deferred<T, E> {
        Deferred::with_progress()
    }

    /// A deferred on a host of its own.
    pub fn on(host: Rc<dyn Host>) -> Deferred<T, E> {
        Deferred::from_host(host)
    }

    /// A deferred that `initialize` has been called with: jQuery's `$.Deferred(fn)`.
    ///
    /// # Panics
    /// If this thread has no host.
    #[track_caller]
    pub fn with(initialize: impl FnOnce(&Deferred<T, E>)) -> Deferred<T, E> {
        let deferred = Deferred::new();
        initialize(&deferred);
        deferred
    }
}

impl<T: 'static, E: 'static> Default for Deferred<T, E> {
    fn default() -> Self {
        Deferred::new()
    }
}

impl<T: 'static, E: 'static, P: 'static> Deferred<T, E, P> {
    /// A deferred that can also [notify](Deferred::notify) of progress.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// # let (_host, _guard) = picot_context::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<(), String, u8>::with_progress();
    /// deferred.promise().progress(|percent| println!("{percent} %"));
    /// deferred.notify(50);
    /// ```
    #[track_caller]
    pub fn with_progress() -> Deferred<T, E, P> {
        let Some(host) = host() else {
            panic!(
                "a deferred needs a host to run its handlers, and this thread has none: make it inside of a loop's run, \
                 install a host by `picot_context::install`, or pass one to `Deferred::on`"
            )
        };
        Deferred::from_host(host)
    }

    pub(crate) fn from_host(host: Rc<dyn Host>) -> Deferred<T, E, P> {
        let shared = Shared::new(host);
        shared.settlers.set(1);
        Deferred { shared }
    }

    /// Resolves the promise with `value`. Runs its callbacks before it returns. Returns whether it was the first to
    /// settle; if not, the value is dropped.
    pub fn resolve(&self, value: T) -> bool {
        self.shared.settle(Ok(value))
    }

    /// Rejects the promise with `error`. Runs its callbacks before it returns. Returns whether it was the first to settle;
    /// if not, the error is dropped.
    pub fn reject(&self, error: E) -> bool {
        self.shared.settle(Err(Rejection::Error(error)))
    }

    pub(crate) fn settle(&self, outcome: Outcome<T, E>) -> bool {
        self.shared.settle(outcome)
    }

    /// Tells the promise's progress callbacks. Returns `false`, and does nothing, if it is settled.
    #[track_caller]
    pub fn notify(&self, progress: P) -> bool {
        if self.state() != State::Pending {
            return false;
        }
        let place: Place = Location::caller();
        self.shared.progress.notify(progress, |call| self.shared.contain(Kind::Promise, Some(place), call));
        true
    }

    /// The promise that this settles. It can be asked for at any time, and any number of times.
    pub fn promise(&self) -> Promise<T, E, P> {
        Promise { shared: self.shared.clone() }
    }

    /// Whether it is settled, and how.
    pub fn state(&self) -> State {
        self.shared.state()
    }
}

impl<T: 'static, E: 'static, P: 'static> Clone for Deferred<T, E, P> {
    fn clone(&self) -> Self {
        self.shared.settlers.set(self.shared.settlers.get() + 1);
        Deferred { shared: self.shared.clone() }
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Deferred<T, E, P> {
    fn drop(&mut self) {
        let left = self.shared.settlers.get() - 1;
        self.shared.settlers.set(left);
        if left == 0 && self.state() == State::Pending {
            self.shared.settle(Err(Rejection::Abandoned));
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> fmt::Debug for Deferred<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred({:?})", self.state())
    }
}

//! The side that settles.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use picot_context::{Host, Place, host};

use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{Outcome, Shared, State};

/// A value that is settled once: [resolved](Deferred::resolve) with a `T`, or
/// [rejected](Deferred::reject) with an `E`. jQuery's `$.Deferred()`.
///
/// Clones settle the same promise. Dropping the last clone unsettled rejects the promise as
/// [abandoned](Rejection::Abandoned).
///
/// ```
/// use picot_deferred::{Deferred, ManualHost, State};
///
/// # let (_host, _guard) = ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// let promise = deferred.promise();
/// promise.done(|n| println!("it is {n}"));
/// assert!(deferred.resolve(7));
/// assert!(!deferred.reject("too late".into()));
/// assert_eq!(promise.state(), State::Resolved);
/// ```
#[doc(alias = "Future")]
#[doc(alias = "create_future")]
pub struct Deferred<T: 'static, E: 'static, P: 'static = Infallible> {
    pub(crate) shared: Rc<Shared<T, E, P>>,
}

impl<T: 'static, E: 'static> Deferred<T, E> {
    /// Makes a deferred on this thread's host, which will run its handlers.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// assert!(deferred.resolve(7));
    /// ```
    #[track_caller]
    pub fn new() -> Deferred<T, E> {
        Deferred::with_progress()
    }

    /// Makes a deferred on the given host, where the thread has none or another one.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use picot_deferred::{Deferred, ManualHost};
    ///
    /// let host = Rc::new(ManualHost::new());
    /// let deferred = Deferred::<i32, String>::on(host.clone());
    /// let next = deferred.promise().then(|n| Ok(n + 1));
    /// deferred.resolve(7);
    /// host.run_until_stalled(); // runs the handler
    /// assert_eq!(next.outcome(), Some(Ok(&8)));
    /// ```
    #[track_caller]
    pub fn on(host: Rc<dyn Host>) -> Deferred<T, E> {
        Deferred::from_host(host, Location::caller())
    }

    /// Makes a deferred and calls `initialize` with it: jQuery's `$.Deferred(fn)`.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::with(|deferred| {
    ///     deferred.resolve(7);
    /// });
    /// assert_eq!(deferred.promise().outcome(), Some(Ok(&7)));
    /// ```
    #[track_caller]
    pub fn with(initialize: impl FnOnce(&Deferred<T, E>)) -> Deferred<T, E> {
        let deferred = Deferred::new();
        initialize(&deferred);
        deferred
    }
}

impl<T: 'static, E: 'static> Default for Deferred<T, E> {
    #[track_caller]
    fn default() -> Self {
        Deferred::new()
    }
}

/// This thread's host. Panics without one, with the caller's place.
#[track_caller]
pub(crate) fn current_host() -> Rc<dyn Host> {
    // Not `unwrap_or_else`: it calls `no_host` from std, and the panic would name a place there.
    match host() {
        Some(host) => host,
        None => no_host(),
    }
}

#[cold]
#[track_caller]
fn no_host() -> ! {
    panic!(
        "a deferred needs a host to run its handlers, and this thread has none: make it inside of a loop's run, install a \
         host by `picot_context::install`, or pass one to `Deferred::on`"
    )
}

impl<T: 'static, E: 'static, P: 'static> Deferred<T, E, P> {
    /// Makes a deferred that can also [notify](Deferred::notify) of progress.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<(), String, u8>::with_progress();
    /// deferred.promise().progress(|percent| println!("{percent} %"));
    /// deferred.notify(50);
    /// ```
    #[track_caller]
    pub fn with_progress() -> Deferred<T, E, P> {
        Deferred::from_host(current_host(), Location::caller())
    }

    pub(crate) fn from_host(host: Rc<dyn Host>, place: Place) -> Deferred<T, E, P> {
        Deferred { shared: Shared::new(host, place) }
    }

    /// Makes one more deferred of a state that is pending.
    pub(crate) fn of(shared: &Rc<Shared<T, E, P>>) -> Deferred<T, E, P> {
        shared.deferred_count.set(shared.deferred_count.get() + 1);
        Deferred { shared: shared.clone() }
    }

    /// Resolves the promise with `value`. Returns whether this call has settled it.
    ///
    /// The callbacks of the promise run before this returns. The exception is a chain in which each
    /// callback settles the next deferred: from the seventeenth link on, callbacks run after the
    /// callback that settles has returned, so that no chain overflows the stack. The same holds
    /// for [`reject`](Deferred::reject), [`notify`](Deferred::notify) and [`Promise::cancel`].
    ///
    /// If the promise was settled before, `value` is dropped before this returns. A panic of its
    /// destructor then reaches the caller and is not reported.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// assert!(deferred.resolve(7));
    /// assert!(!deferred.resolve(8)); // the first one has won
    /// assert_eq!(deferred.promise().outcome(), Some(Ok(&7)));
    /// ```
    #[doc(alias = "set_result")]
    pub fn resolve(&self, value: T) -> bool {
        self.shared.settle(Ok(value))
    }

    /// Rejects the promise with `error`. Returns whether this call has settled it.
    ///
    /// Callbacks run, and a refused error is dropped, as by [`resolve`](Deferred::resolve).
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// deferred.promise().fail(|rejection| assert_eq!(rejection.to_string(), "no"));
    /// assert!(deferred.reject("no".into()));
    /// ```
    #[doc(alias = "set_exception")]
    pub fn reject(&self, error: E) -> bool {
        self.shared.settle(Err(error.into()))
    }

    pub(crate) fn settle(&self, outcome: Outcome<T, E>) -> bool {
        self.shared.settle(outcome)
    }

    /// Calls the progress callbacks of the promise. Returns `false`, and calls none, if the promise
    /// is settled; `progress` is then dropped as a value by [`resolve`](Deferred::resolve).
    ///
    /// A callback that is added before the next notification gets this one as well. If a progress
    /// callback settles the promise, the current notification still reaches the other callbacks,
    /// and notifications that callbacks have queued behind it are dropped.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<(), String, u8>::with_progress();
    /// deferred.promise().progress(|percent| println!("{percent} %"));
    /// assert!(deferred.notify(50)); // prints "50 %"
    /// deferred.resolve(());
    /// assert!(!deferred.notify(100));
    /// ```
    pub fn notify(&self, progress: P) -> bool {
        if !self.shared.is_pending() {
            return false;
        }
        let notification = self.shared.extra_or_new().progress.notify(progress);
        self.shared.notify(notification);
        true
    }

    /// Sets the canceller: the function that [`Promise::cancel`] calls, to stop the work.
    ///
    /// The canceller may settle the deferred that it gets. If it does not, the promise is rejected
    /// as [cancelled](Rejection::Cancelled). It is called at most once, and is dropped when the
    /// deferred is settled.
    ///
    /// A deferred with a canceller is also cancelled when nothing waits any more: when its last
    /// promise is dropped while it is pending and has neither callbacks nor handlers. (Twisted's
    /// canceller.)
    ///
    /// A second canceller replaces the first one. The first one is then dropped before this
    /// returns, and so is `canceller` if the deferred is settled; a panic of such a drop reaches
    /// the caller and is not reported.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<(), String>::new();
    /// deferred.on_cancel(|_| println!("stop the work"));
    /// let promise = deferred.promise();
    /// drop(promise); // prints it
    /// assert!(!deferred.resolve(()));
    /// ```
    #[track_caller]
    pub fn on_cancel(&self, canceller: impl FnOnce(&Deferred<T, E, P>) + 'static) {
        if !self.shared.is_pending() {
            return;
        }
        let call = Box::new(move |shared: &Rc<Shared<T, E, P>>| canceller(&Deferred::of(shared)));
        let old = self.shared.extra_or_new().canceller.replace(Some((Location::caller(), call)));
        // Dropped when the borrow has ended: this drop is user code.
        drop(old);
    }

    /// Returns the promise that this settles. It can be called at any time and any number of times.
    ///
    /// ```
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// assert!(deferred.promise().is_same(&deferred.promise()));
    /// ```
    pub fn promise(&self) -> Promise<T, E, P> {
        self.shared.is_promised.set(true);
        Promise::of(&self.shared)
    }

    /// Whether the promise is settled, and how.
    ///
    /// ```
    /// use picot_deferred::{Deferred, State};
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// assert_eq!(Deferred::<i32, String>::new().state(), State::Pending);
    /// ```
    pub fn state(&self) -> State {
        self.shared.state()
    }
}

impl<T: 'static, E: 'static, P: 'static> Clone for Deferred<T, E, P> {
    fn clone(&self) -> Self {
        Deferred::of(&self.shared)
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Deferred<T, E, P> {
    fn drop(&mut self) {
        let left = self.shared.deferred_count.get() - 1;
        self.shared.deferred_count.set(left);
        if left == 0 && self.shared.is_pending() {
            self.shared.settle(Err(Rejection::Abandoned));
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> fmt::Debug for Deferred<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred({:?})", self.state())
    }
}

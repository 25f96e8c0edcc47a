//! The side that settles.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use picot_context::{Host, Place, host};

use crate::cancel::Canceller;
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::resolver::Resolver;
use crate::state::{Outcome, Shared, State};

/// A value that will be settled once: [resolved](Deferred::resolve) with a `T`, or
/// [rejected](Deferred::reject) with an `E`. jQuery's `$.Deferred()`.
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
#[doc(alias = "Future")]
#[doc(alias = "create_future")]
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
    #[track_caller]
    pub fn on(host: Rc<dyn Host>) -> Deferred<T, E> {
        Deferred::from_host(host, Location::caller())
    }

    /// A deferred that `initialize` has been called with: jQuery's `$.Deferred(fn)`.
    ///
    /// # Panics
    /// If this thread has no host.
    ///
    /// ```
    /// # let (_host, _guard) = picot_context::ManualHost::installed();
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

/// This thread's host.
#[track_caller]
pub(crate) fn this_host() -> Rc<dyn Host> {
    // `unwrap_or_else` would call `no_host` from within std, and the panic would point there.
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
        Deferred::from_host(this_host(), Location::caller())
    }

    /// A deferred that was made at `place`.
    pub(crate) fn from_host(host: Rc<dyn Host>, place: Place) -> Deferred<T, E, P> {
        Deferred { shared: Shared::new(host, place) }
    }

    /// One more deferred of a state that is not settled.
    pub(crate) fn of(shared: &Rc<Shared<T, E, P>>) -> Deferred<T, E, P> {
        shared.settlers.set(shared.settlers.get() + 1);
        Deferred { shared: shared.clone() }
    }

    /// Resolves the promise with `value`. Returns whether it was the first to settle; if not, the
    /// value is dropped.
    ///
    /// Its callbacks run before this returns. The exception is a chain of callbacks in which each
    /// settles the next deferred: from the seventeenth on, the callbacks run when the one that
    /// settles has returned, so that no chain overflows the stack. The same holds for
    /// [`reject`](Deferred::reject), [`notify`](Deferred::notify) and [`Promise::cancel`].
    #[doc(alias = "set_result")]
    pub fn resolve(&self, value: T) -> bool {
        self.shared.settle(Ok(value))
    }

    /// Rejects the promise with `error`. Returns whether it was the first to settle; if not, the
    /// error is dropped. Callbacks run as by [`resolve`](Deferred::resolve).
    #[doc(alias = "set_exception")]
    pub fn reject(&self, error: E) -> bool {
        self.shared.settle(Err(Rejection::Error(error)))
    }

    pub(crate) fn settle(&self, outcome: Outcome<T, E>) -> bool {
        self.shared.settle(outcome)
    }

    /// Calls the promise's progress callbacks, and those that are added before the next
    /// notification. Returns `false`, and does nothing, if it is settled.
    ///
    /// If a progress callback settles it, the notification on its way still reaches the other
    /// callbacks; those that wait behind it, because they were sent by callbacks, are dropped.
    pub fn notify(&self, progress: P) -> bool {
        if !self.shared.is_pending() {
            return false;
        }
        let notification = self.shared.extra_or_new().progress.notify(progress);
        self.shared.notify(notification);
        true
    }

    /// Sets what [`Promise::cancel`] calls, such as a function that stops the work. It may settle
    /// the deferred that it gets; if it does not, the promise is rejected as
    /// [cancelled](Rejection::Cancelled). It is called at most once, and dropped when the deferred
    /// is settled. A second one replaces the first.
    ///
    /// A deferred that has one is also cancelled when nobody waits any more: when its last promise
    /// is dropped while it is pending and has neither callbacks nor handlers. (Twisted's
    /// canceller.)
    ///
    /// ```
    /// # let (_host, _guard) = picot_context::ManualHost::installed();
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
        let old = self
            .shared
            .extra_or_new()
            .canceller
            .replace(Some(Canceller { place: Location::caller(), call: Box::new(canceller) }));
        drop(old);
    }

    /// The promise that this settles. It can be asked for at any time, and any number of times.
    pub fn promise(&self) -> Promise<T, E, P> {
        self.shared.is_promised.set(true);
        Promise::of(&self.shared)
    }

    /// Whether it is settled, and how.
    pub fn state(&self) -> State {
        self.shared.state()
    }
}

impl<T: Send + 'static, E: Send + 'static, P: 'static> Deferred<T, E, P> {
    /// A handle that settles it from another thread. It counts as one more deferred: while it
    /// lives, the promise is not abandoned.
    ///
    /// ```
    /// # let (host, _guard) = picot_context::ManualHost::installed();
    /// let deferred = picot_deferred::Deferred::<i32, String>::new();
    /// let resolver = deferred.resolver();
    /// std::thread::spawn(move || resolver.resolve(7).unwrap()).join().unwrap();
    /// # host.run_until_stalled();
    /// deferred.promise().done(|n| assert_eq!(*n, 7)); // delivered by the host, on this thread
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn resolver(&self) -> Resolver<T, E> {
        Resolver::new(self.clone(), Location::caller())
    }
}

impl<T: 'static, E: 'static, P: 'static> Clone for Deferred<T, E, P> {
    fn clone(&self) -> Self {
        Deferred::of(&self.shared)
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Deferred<T, E, P> {
    fn drop(&mut self) {
        let left = self.shared.settlers.get() - 1;
        self.shared.settlers.set(left);
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

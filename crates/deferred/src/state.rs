//! The state that a deferred and its promises share: the outcome, and the callbacks that wait for
//! it.
//!
//! Settling follows jQuery's order: the state changes, then handlers are scheduled and waiters are
//! woken, then callbacks run in the order in which they were added. A callback that is added
//! meanwhile runs in the same pass, behind the others. The outcome is set once and never changes,
//! so callbacks get references to it while no borrow is live.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;

use picot_context::{Host, Kind, Origin, Place, Report, catch};

use crate::cascade;
use crate::numbered_queue::NumberedQueue;
use crate::progress::{Notification, Progress};
use crate::rejection::Rejection;
use crate::upstream::{GROUP_NUMBER, Upstream};

/// Whether a promise is settled, and how.
///
/// ```
/// use picot_deferred::{Deferred, ManualHost, State};
///
/// # let (_host, _guard) = ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// assert_eq!(deferred.state(), State::Pending);
/// deferred.resolve(7);
/// assert_eq!(deferred.state(), State::Resolved);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not settled yet.
    Pending,
    /// Settled with a value.
    Resolved,
    /// Settled with a rejection.
    Rejected,
}

pub(crate) type Outcome<T, E> = Result<T, Rejection<E>>;

type Call<T, E> = dyn FnOnce(Result<&T, &Rejection<E>>);

/// A callback that runs inside the settling.
pub(crate) enum Callback<T, E> {
    /// A callback of the user.
    Call {
        place: Place,
        /// Whether it is called with a rejection too, and so handles it.
        handles: bool,
        call: Box<Call<T, E>>,
    },
    /// A group, and the index of the member that this is. It needs no allocation of its own.
    Member(Rc<dyn MemberObserver>, usize),
}

/// A group that waits for its members.
pub(crate) trait MemberObserver {
    /// Called when the member of this index is settled.
    fn member_settled(&self, index: usize, is_rejected: bool);
}

/// A callback that runs after the settling, in a later turn.
pub(crate) enum Later {
    /// A handler, with the place where it was added.
    Handler(Place, Box<dyn FnOnce()>),
    /// The waker of a task that awaits the promise.
    Waiter(Waker),
}

type Canceller<T, E, P> = Box<dyn FnOnce(&Rc<Shared<T, E, P>>)>;

/// A canceller, and where it was set.
type PlacedCanceller<T, E, P> = (Place, Canceller<T, E, P>);

/// The state behind a deferred and its promises.
pub(crate) struct Shared<T: 'static, E: 'static, P: 'static> {
    outcome: OnceCell<Outcome<T, E>>,
    /// Borrowed only by code of this crate, never while user code runs.
    callbacks: RefCell<NumberedQueue<Callback<T, E>>>,
    /// As `callbacks`.
    pub(crate) later: RefCell<NumberedQueue<Later>>,
    /// The number of the last entry of either queue.
    last_number: Cell<u64>,
    /// How many entries of `later` are handlers.
    handler_count: Cell<u32>,
    /// Whether callbacks are running, further up the stack.
    is_firing: Cell<bool>,
    /// Whether code that handles rejections has seen this one, or it was reported.
    pub(crate) is_seen: Cell<bool>,
    /// How many handlers, awaits and groups will see a rejection unless they are removed, dropped
    /// or cancelled before.
    pub(crate) claim_count: Cell<u32>,
    /// Whether a group with this as a member was settled without it. The group then handles a later
    /// rejection, unless a promise is left that can read it.
    pub(crate) is_covered_by_group: Cell<bool>,
    /// Whether the rejection was reported.
    pub(crate) is_reported: Cell<bool>,
    /// Whether a promise was ever made, so that a task may wait.
    pub(crate) is_promised: Cell<bool>,
    /// How many deferreds can still settle this.
    pub(crate) deferred_count: Cell<u32>,
    /// How many promises of this exist.
    pub(crate) promise_count: Cell<u32>,
    /// The source of this, and the number of this in the source. Weak, because the source owns this
    /// by the handler or group that settles it.
    pub(crate) upstream: Cell<Option<(Weak<dyn Upstream>, u64)>>,
    extra: OnceCell<Box<Extra<T, E, P>>>,
    pub(crate) host: Rc<dyn Host>,
    /// Where this was made.
    pub(crate) place: Place,
}

/// The parts that few states need, in a box of their own to keep the others small.
pub(crate) struct Extra<T: 'static, E: 'static, P: 'static> {
    pub(crate) progress: Progress<P>,
    /// The canceller of [`Deferred::on_cancel`](crate::Deferred::on_cancel), and where it was set.
    pub(crate) canceller: RefCell<Option<PlacedCanceller<T, E, P>>>,
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// A pending state that one deferred can settle.
    pub(crate) fn new(host: Rc<dyn Host>, place: Place) -> Rc<Self> {
        Rc::new(Shared {
            outcome: OnceCell::new(),
            callbacks: RefCell::default(),
            later: RefCell::default(),
            last_number: Cell::new(GROUP_NUMBER),
            handler_count: Cell::new(0),
            is_firing: Cell::new(false),
            is_seen: Cell::new(false),
            claim_count: Cell::new(0),
            is_covered_by_group: Cell::new(false),
            is_reported: Cell::new(false),
            is_promised: Cell::new(false),
            deferred_count: Cell::new(1),
            promise_count: Cell::new(0),
            upstream: Cell::new(None),
            extra: OnceCell::new(),
            host,
            place,
        })
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome<T, E>> {
        self.outcome.get()
    }

    pub(crate) fn state(&self) -> State {
        match self.outcome.get() {
            None => State::Pending,
            Some(Ok(_)) => State::Resolved,
            Some(Err(_)) => State::Rejected,
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.outcome.get().is_none()
    }

    pub(crate) fn extra(&self) -> Option<&Extra<T, E, P>> {
        self.extra.get().map(Box::as_ref)
    }

    pub(crate) fn extra_or_new(&self) -> &Extra<T, E, P> {
        self.extra.get_or_init(|| Box::new(Extra { progress: Progress::default(), canceller: RefCell::new(None) }))
    }

    /// Settles this, unless it is settled already. Returns whether this call has settled it.
    ///
    /// An outcome that is refused is dropped in the caller's own call, outside of any containment:
    /// a panic of its destructor reaches the caller, as for any value that the caller drops.
    pub(crate) fn settle(self: &Rc<Self>, outcome: Outcome<T, E>) -> bool {
        if self.outcome.set(outcome).is_err() {
            return false;
        }
        // Often nothing waits yet. Then no user code runs, and the cascade need not count it.
        let is_quiet = self.callbacks.borrow().is_empty() && self.later.borrow().is_empty() && self.extra().is_none();
        if is_quiet {
            self.upstream.take();
            self.check_seen();
        } else {
            let after = || self.after_settling();
            cascade::run_or_queue(after, || {
                let this = self.clone();
                move || this.after_settling()
            });
        }
        true
    }

    fn after_settling(self: &Rc<Self>) {
        self.upstream.take();
        if let Some(extra) = self.extra() {
            // No notification is accepted any more, and nothing is left to cancel, so both are
            // released. Their destructors are user code.
            let canceller = extra.canceller.take();
            self.contain(Kind::Promise, self.place, || drop(canceller));
            extra.progress.close(|place, call| self.contain(Kind::Promise, place.unwrap_or(self.place), call));
        }
        if !self.later.borrow().is_empty() {
            self.run_later();
        }
        self.fire();
        self.check_seen();
    }

    /// Schedules the handlers and wakes the waiters.
    fn run_later(&self) {
        // The whole queue is taken before user code runs: a handler that is added now is scheduled
        // at once, because the outcome is set.
        let mut later = self.later.take();
        self.handler_count.set(0);
        while let Some(next) = later.pop() {
            match next {
                Later::Handler(place, handler) => self.schedule(place, handler),
                Later::Waiter(waker) => self.contain(Kind::Waker, self.place, || waker.wake()),
            }
        }
    }

    /// Adds a callback under `number`, which is the [next](Shared::next_number) one.
    ///
    /// If this is settled, the callback runs before this returns, except inside another callback:
    /// then the pass that is running reaches it.
    pub(crate) fn add_callback(self: &Rc<Self>, number: u64, callback: Callback<T, E>) {
        self.callbacks.borrow_mut().push(number, callback);
        if !self.is_pending() {
            let fire = || self.fire();
            cascade::run_or_queue(fire, || {
                let this = self.clone();
                move || this.fire()
            });
        }
    }

    /// Adds a handler, which runs in a later turn even if this is settled. Returns its number.
    pub(crate) fn add_handler(&self, place: Place, handler: impl FnOnce() + 'static) -> u64 {
        let number = self.next_number();
        let handler = Box::new(handler);
        if self.is_pending() {
            self.later.borrow_mut().push(number, Later::Handler(place, handler));
            self.handler_count.set(self.handler_count.get() + 1);
        } else {
            self.schedule(place, handler);
        }
        number
    }

    /// Removes the handler or waiter with this number. Returns whether there was one.
    pub(crate) fn remove(&self, number: u64) -> bool {
        let removed = self.later.borrow_mut().remove(number);
        let (kind, place) = match removed {
            None => return false,
            Some(Later::Handler(place, _)) => {
                self.handler_count.set(self.handler_count.get() - 1);
                (Kind::Promise, place)
            }
            Some(Later::Waiter(_)) => (Kind::Waker, self.place),
        };
        // Foreign code may run in the drop; no borrow is live.
        self.contain(kind, place, || drop(removed));
        true
    }

    /// Removes the callback with this number, if it is there.
    pub(crate) fn remove_callback(&self, number: u64) {
        let mut callbacks = self.callbacks.borrow_mut();
        if !callbacks.is_empty() {
            let removed = callbacks.remove(number);
            drop(callbacks);
            // User code may run in the drop; no borrow is live.
            drop(removed);
        }
    }

    /// Whether nothing waits for the outcome. Awaits and groups count by the promises that they
    /// hold.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.promise_count.get() == 0 && self.handler_count.get() == 0 && self.callbacks.borrow().is_empty()
    }

    /// How many callbacks, handlers, awaits and groups are registered.
    pub(crate) fn registration_count(&self) -> usize {
        self.callbacks.borrow().len() + self.later.borrow().len()
    }

    /// Takes the next number of an entry. Numbers only grow, which both queues rely on.
    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.set(self.last_number.get() + 1);
        self.last_number.get()
    }

    pub(crate) fn schedule(&self, place: Place, handler: Box<dyn FnOnce()>) {
        // A closed host drops the handler, which may own the deferred of the next promise.
        cascade::run_flat(|| _ = self.host.run_later(place, handler));
    }

    /// Runs the callbacks, if this is settled and they are not running already.
    fn fire(&self) {
        let Some(outcome) = self.outcome.get() else { return };
        if self.callbacks.borrow().is_empty() || self.is_firing.replace(true) {
            return;
        }
        loop {
            // One entry per borrow: a callback may add or remove others.
            let next = self.callbacks.borrow_mut().pop();
            match next {
                None => break,
                Some(Callback::Call { place, handles, call }) => {
                    if handles {
                        self.is_seen.set(true);
                    }
                    self.contain(Kind::Promise, place, || call(outcome.as_ref()));
                }
                Some(Callback::Member(group, index)) => {
                    // Contained, because the group may drop values and promises of the user.
                    self.contain(Kind::Promise, self.place, || group.member_settled(index, outcome.is_err()));
                }
            }
        }
        self.is_firing.set(false);
    }

    /// Runs foreign code. A panic of it is reported, and does not continue.
    pub(crate) fn contain(&self, kind: Kind, place: Place, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            self.host.report(Report::panic(Origin::new(kind).at(place), payload));
        }
    }

    /// Sends a notification of progress, and those that are queued behind it.
    pub(crate) fn notify(self: &Rc<Self>, notification: Option<Notification<P>>) {
        let Some(notification) = notification else { return };
        let this = self.clone();
        cascade::run_owned(move || {
            let progress = &this.extra_or_new().progress;
            progress.fire(notification, |place, call| {
                this.contain(Kind::Promise, place.unwrap_or(this.place), call);
            });
        });
    }
}

impl<T: Clone + 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// The outcome of a settled state. Moves it out if this is the last reference, and clones it
    /// otherwise.
    pub(crate) fn into_outcome(mut self: Rc<Self>) -> Outcome<T, E> {
        if let Some(shared) = Rc::get_mut(&mut self) {
            // In place: moving the state out of its `Rc` would copy all of it.
            return shared.outcome.take().expect("the state is settled: callers check that");
        }
        // A weak reference may be left. That is no obstacle to moving.
        match Rc::try_unwrap(self) {
            Ok(mut shared) => shared.outcome.take().expect("the state is settled: callers check that"),
            Err(shared) => shared.outcome.get().expect("the state is settled: callers check that").clone(),
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Shared<T, E, P> {
    fn drop(&mut self) {
        if let Some(extra) = self.extra() {
            extra.progress.forget(|place, call| self.contain(Kind::Promise, place.unwrap_or(self.place), call));
        }
        // Without destructors there is no user code to contain: this is the hot path of small
        // values.
        let Some(outcome) = self.outcome.take() else { return };
        if outcome.is_ok() && !std::mem::needs_drop::<T>() {
            return;
        }
        // The value may own the last promise of another state, and so on: a list made of promises.
        let (host, place) = (self.host.clone(), self.place);
        cascade::run_owned(move || {
            if let Err(payload) = catch(|| drop(outcome)) {
                host.report(Report::panic(Origin::new(Kind::Promise).at(place), payload));
            }
        });
    }
}

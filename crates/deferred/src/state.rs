//! What a deferred and its promises share: the outcome, and what is to happen when there is one.
//!
//! The order in which things happen is jQuery's: first the state changes, then handlers of `then` are scheduled, then
//! callbacks run, in the order of their registration. One that is added meanwhile runs in the same pass, behind the
//! others. The outcome is set once and never changed, so callbacks get references to it without any borrow.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Host, Kind, Origin, Place, Report, catch};

use crate::progress::Progress;
use crate::rejection::Rejection;

/// Whether a promise is settled, and how.
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

type Callback<T, E> = Box<dyn FnOnce(Result<&T, &Rejection<E>>)>;
type Handler<T, E, P> = Box<dyn FnOnce(Rc<Shared<T, E, P>>)>;

/// Something that is to happen, with the place where it was asked for.
type Placed<F> = (Place, F);

pub(crate) struct Shared<T, E, P> {
    outcome: OnceCell<Outcome<T, E>>,
    /// Synchronous, in order.
    callbacks: RefCell<VecDeque<Placed<Callback<T, E>>>>,
    /// Scheduled, in order.
    handlers: RefCell<Vec<Placed<Handler<T, E, P>>>>,
    waiters: RefCell<Vec<(u64, Waker)>>,
    last_waiter: Cell<u64>,
    /// Whether callbacks are running, further up the stack.
    is_firing: Cell<bool>,
    pub(crate) progress: Progress<P>,
    /// How many deferreds can still settle it.
    pub(crate) settlers: Cell<usize>,
    pub(crate) host: Rc<dyn Host>,
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    pub(crate) fn new(host: Rc<dyn Host>) -> Rc<Self> {
        Rc::new(Shared {
            outcome: OnceCell::new(),
            callbacks: RefCell::default(),
            handlers: RefCell::default(),
            waiters: RefCell::default(),
            last_waiter: Cell::new(0),
            is_firing: Cell::new(false),
            progress: Progress::default(),
            settlers: Cell::new(0),
            host,
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

    /// Settles it, unless it is settled already. Returns whether this was the first.
    pub(crate) fn settle(self: &Rc<Self>, outcome: Outcome<T, E>) -> bool {
        if self.outcome.set(outcome).is_err() {
            return false;
        }
        // There is no progress any more; what its callbacks hold is let go.
        self.progress.close();
        for (place, handler) in self.handlers.take() {
            self.schedule(place, handler);
        }
        for (_, waiter) in self.waiters.take() {
            self.contain(Kind::Waker, None, || waiter.wake());
        }
        self.fire();
        true
    }

    /// Adds a callback, which runs before this returns if it is settled, unless callbacks are running already.
    pub(crate) fn add_callback(&self, place: Place, callback: impl FnOnce(Result<&T, &Rejection<E>>) + 'static) {
        self.callbacks.borrow_mut().push_back((place, Box::new(callback)));
        self.fire();
    }

    /// Adds a handler, which runs in a later turn, whether it is settled or not.
    pub(crate) fn add_handler(self: &Rc<Self>, place: Place, handler: impl FnOnce(Rc<Self>) + 'static) {
        let handler = Box::new(handler);
        if self.outcome.get().is_some() {
            self.schedule(place, handler);
        } else {
            self.handlers.borrow_mut().push((place, handler));
        }
    }

    /// Makes `waker` the waiter of this number; a new one gets its number.
    pub(crate) fn wait(&self, number: &mut Option<u64>, waker: Waker) {
        let number = *number.get_or_insert_with(|| {
            self.last_waiter.set(self.last_waiter.get() + 1);
            self.last_waiter.get()
        });
        let mut waiters = self.waiters.borrow_mut();
        let old = match waiters.iter_mut().find(|(other, _)| *other == number) {
            Some((_, old)) => Some(std::mem::replace(old, waker)),
            None => {
                waiters.push((number, waker));
                None
            }
        };
        // Dropping a waker may be anybody's code.
        drop(waiters);
        drop(old);
    }

    pub(crate) fn stop_waiting(&self, number: u64) {
        let mut waiters = self.waiters.borrow_mut();
        let waiter = waiters.iter().position(|(other, _)| *other == number).map(|index| waiters.remove(index));
        drop(waiters);
        drop(waiter);
    }

    fn schedule(self: &Rc<Self>, place: Place, handler: Handler<T, E, P>) {
        let shared = self.clone();
        // A closed host drops the handler, and with it the deferred that the handler was to settle.
        let _ = self.host.run_later(place, Box::new(move || handler(shared)));
    }

    /// Runs the callbacks, if it is settled and they do not run already.
    fn fire(&self) {
        let Some(outcome) = self.outcome.get() else { return };
        if self.is_firing.replace(true) {
            return;
        }
        loop {
            let next = self.callbacks.borrow_mut().pop_front();
            let Some((place, callback)) = next else { break };
            self.contain(Kind::Promise, Some(place), || callback(outcome.as_ref()));
        }
        self.is_firing.set(false);
    }

    /// Runs a piece of the user's code whose panic is a report and no more.
    pub(crate) fn contain(&self, kind: Kind, place: Option<Place>, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            let origin = Origin::new(kind);
            self.host.report(Report::panic(place.map_or(origin.clone(), |place| origin.at(place)), payload));
        }
    }
}

impl<T: Clone, E: Clone, P> Shared<T, E, P> {
    /// The outcome of a state that is settled: moved out if nobody else can ask for it, else cloned.
    pub(crate) fn into_outcome(self: Rc<Self>) -> Outcome<T, E> {
        match Rc::try_unwrap(self) {
            Ok(shared) => shared.outcome.into_inner().expect("the outcome is taken after the settling"),
            Err(shared) => shared.outcome.get().expect("the outcome is taken after the settling").clone(),
        }
    }
}

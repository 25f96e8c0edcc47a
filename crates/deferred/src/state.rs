//! What a deferred and its promises share: the outcome, and what is to happen when there is one.
//!
//! The order in which things happen is jQuery's: first the state changes, then handlers are scheduled and waiters woken,
//! then callbacks run, in the order of their registration. One that is added meanwhile runs in the same pass, behind the
//! others. The outcome is set once and never changed, so callbacks get references to it without any borrow.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;

use picot_context::{Host, Kind, Origin, Place, Report, catch};

use crate::cancel::{Canceller, Upstream};
use crate::handover;
use crate::line::Line;
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

type Call<T, E> = dyn FnOnce(Result<&T, &Rejection<E>>);

/// What runs while it is settled.
pub(crate) enum Callback<T, E> {
    Call(Place, Box<Call<T, E>>),
    /// A group, and which of its members this is. It needs no allocation of its own.
    Member(Rc<dyn Watch>, usize),
}

/// A group that waits for its members.
pub(crate) trait Watch {
    /// The member of this index is settled.
    fn member_settled(&self, index: usize, is_rejected: bool);
}

/// What runs after the settling.
enum Later {
    Handler(Place, Box<dyn FnOnce()>),
    Waiter(Waker),
}

pub(crate) struct Shared<T: 'static, E: 'static, P: 'static> {
    outcome: OnceCell<Outcome<T, E>>,
    /// Taken out for as long as somebody looks at it, which is never longer than a line of code of ours.
    callbacks: Cell<Line<Callback<T, E>>>,
    /// With their numbers, by which they are removed; as `callbacks`.
    later: Cell<Line<(u64, Later)>>,
    last_number: Cell<u64>,
    /// Whether callbacks are running, further up the stack.
    is_firing: Cell<bool>,
    /// Whether somebody is responsible for a rejection of it, or has been told of it.
    pub(crate) is_handled: Cell<bool>,
    /// Whether its rejection was reported.
    pub(crate) is_told: Cell<bool>,
    /// Whether a promise was ever asked for, so that somebody may wait.
    pub(crate) is_promised: Cell<bool>,
    /// How many deferreds can still settle it.
    pub(crate) settlers: Cell<u32>,
    /// How many promises of it there are.
    pub(crate) promises: Cell<u32>,
    /// What this waits for, which is not wanted any more if this is cancelled.
    pub(crate) upstream: Cell<Option<(Weak<dyn Upstream>, u64)>>,
    extra: OnceCell<Box<Extra<T, E, P>>>,
    pub(crate) host: Rc<dyn Host>,
    /// Where it was made.
    pub(crate) place: Place,
}

/// What most do not have.
pub(crate) struct Extra<T: 'static, E: 'static, P: 'static> {
    pub(crate) progress: Progress<P>,
    pub(crate) canceller: RefCell<Option<Canceller<T, E, P>>>,
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// A state that one deferred can settle.
    pub(crate) fn new(host: Rc<dyn Host>, place: Place) -> Rc<Self> {
        Rc::new(Shared {
            outcome: OnceCell::new(),
            callbacks: Cell::default(),
            later: Cell::default(),
            last_number: Cell::new(0),
            is_firing: Cell::new(false),
            is_handled: Cell::new(false),
            is_told: Cell::new(false),
            is_promised: Cell::new(false),
            settlers: Cell::new(1),
            promises: Cell::new(0),
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

    /// Settles it, unless it is settled already. Returns whether this was the first.
    pub(crate) fn settle(self: &Rc<Self>, outcome: Outcome<T, E>) -> bool {
        if self.outcome.set(outcome).is_err() {
            return false;
        }
        self.upstream.take();
        if let Some(extra) = self.extra() {
            // There is no progress any more, and nothing to cancel; what these hold is let go.
            let canceller = extra.canceller.take();
            self.contain(Kind::Promise, None, || drop(canceller));
            self.contain(Kind::Promise, None, || extra.progress.close());
        }
        let mut later = self.later.take();
        while let Some((_, next)) = later.pop() {
            match next {
                Later::Handler(place, handler) => self.schedule(place, handler),
                Later::Waiter(waker) => self.contain(Kind::Waker, None, || waker.wake()),
            }
        }
        self.fire();
        self.check_handled();
        true
    }

    /// Adds a callback, which runs before this returns if it is settled, unless callbacks are running already.
    pub(crate) fn add_callback(&self, callback: Callback<T, E>) {
        with(&self.callbacks, |callbacks| callbacks.push(callback));
        self.fire();
    }

    /// Adds a handler, which runs in a later turn, whether it is settled or not. Returns its number.
    pub(crate) fn add_handler(&self, place: Place, handler: impl FnOnce() + 'static) -> u64 {
        let number = self.next_number();
        let handler = Box::new(handler);
        if self.is_pending() {
            with(&self.later, |later| later.push((number, Later::Handler(place, handler))));
        } else {
            self.schedule(place, handler);
        }
        number
    }

    /// Makes `waker` the waiter of this number; a new one gets its number.
    pub(crate) fn wait(&self, number: &mut Option<u64>, waker: &Waker) {
        let number = *number.get_or_insert_with(|| self.next_number());
        let is_same = with(&self.later, |later| match later.find(|(other, _)| *other == number) {
            Some((_, Later::Waiter(old))) => old.will_wake(waker),
            _ => false,
        });
        if is_same {
            return;
        }
        // Cloning and dropping a waker may be anybody's code.
        let waker = waker.clone();
        let old = with(&self.later, |later| match later.find(|(other, _)| *other == number) {
            Some((_, old)) => Some(std::mem::replace(old, Later::Waiter(waker))),
            None => {
                later.push((number, Later::Waiter(waker)));
                None
            }
        });
        drop(old);
    }

    /// Removes the handler or waiter of this number. Returns whether there was one.
    pub(crate) fn remove(&self, number: u64) -> bool {
        let removed = with(&self.later, |later| later.remove(|(other, _)| *other == number));
        removed.is_some()
    }

    /// Whether nobody has asked for the outcome, or whoever did has gone. A group asks by its promises.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.promises.get() == 0
            && with(&self.callbacks, |all| all.iter().all(|callback| matches!(callback, Callback::Member(..))))
            && with(&self.later, |all| all.iter().all(|(_, later)| matches!(later, Later::Waiter(_))))
    }

    fn next_number(&self) -> u64 {
        self.last_number.set(self.last_number.get() + 1);
        self.last_number.get()
    }

    fn schedule(&self, place: Place, handler: Box<dyn FnOnce()>) {
        // A closed host drops the handler, and with it the deferred that the handler was to settle.
        handover::to(|| _ = self.host.run_later(place, handler));
    }

    /// Runs the callbacks, if it is settled and they do not run already.
    fn fire(&self) {
        let Some(outcome) = self.outcome.get() else { return };
        if self.is_firing.replace(true) {
            return;
        }
        loop {
            let next = with(&self.callbacks, Line::pop);
            match next {
                None => break,
                Some(Callback::Call(place, callback)) => {
                    self.contain(Kind::Promise, Some(place), || callback(outcome.as_ref()));
                }
                Some(Callback::Member(group, index)) => {
                    // What the group lets go of is the user's.
                    self.contain(Kind::Promise, Some(self.place), || group.member_settled(index, outcome.is_err()));
                }
            }
        }
        self.is_firing.set(false);
    }

    /// If it is rejected and nobody handles that, looks again in the next turn, and then reports it.
    fn check_handled(self: &Rc<Self>) {
        let Some(Err(rejection)) = self.outcome.get() else { return };
        let is_quiet = match rejection {
            Rejection::Error(_) | Rejection::Cycle => false,
            // The panic was reported; whoever cancels knows.
            Rejection::Panicked | Rejection::Cancelled => true,
            // Where nobody ever could wait, nobody misses it.
            Rejection::Abandoned => !self.is_promised.get(),
        };
        if is_quiet || self.is_handled.get() {
            return;
        }
        let this = self.clone();
        let check = move || {
            let Some(Err(rejection)) = this.outcome.get() else { return };
            if !this.is_handled.replace(true) {
                this.is_told.set(true);
                this.host.report(Report::unhandled(this.place, rejection.reason()));
            }
        };
        self.schedule(self.place, Box::new(check));
    }

    /// Runs a piece of the user's code whose panic is a report and no more.
    pub(crate) fn contain(&self, kind: Kind, place: Option<Place>, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            let origin = Origin::new(kind);
            self.host.report(Report::panic(place.map_or(origin.clone(), |place| origin.at(place)), payload));
        }
    }
}

/// Takes a line out of its cell while `f` looks at it. No code of the user runs in `f`.
fn with<T, R>(cell: &Cell<Line<T>>, f: impl FnOnce(&mut Line<T>) -> R) -> R {
    let mut line = cell.take();
    let result = f(&mut line);
    cell.set(line);
    result
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

//! What a deferred and its promises share: the outcome, and what is to happen when there is one.
//!
//! The order in which things happen is jQuery's: first the state changes, then handlers are
//! scheduled and waiters woken, then callbacks run, in the order of their registration. One that is
//! added meanwhile runs in the same pass, behind the others. The outcome is set once and never
//! changed, so callbacks get references to it without any borrow.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;

use picot_context::{Host, Kind, Origin, Place, Report, catch};

use crate::cancel::{Canceller, GROUP, Upstream};
use crate::cascade;
use crate::line::Line;
use crate::progress::{Notification, Progress};
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
    Call {
        place: Place,
        /// Whether it is called with a rejection, which is handled then.
        handles: bool,
        call: Box<Call<T, E>>,
    },
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
    /// Borrowed only while a line of this crate's code looks at it, never while foreign code runs.
    callbacks: RefCell<Line<Callback<T, E>>>,
    /// As `callbacks`.
    later: RefCell<Line<Later>>,
    /// The last number that an entry of either line got.
    last_number: Cell<u64>,
    /// How many entries of `later` are handlers.
    handlers: Cell<u32>,
    /// Whether callbacks are running, further up the stack.
    is_firing: Cell<bool>,
    /// Whether code that was meant to has seen the rejection, or it was reported.
    pub(crate) is_seen: Cell<bool>,
    /// How many handlers, awaits and groups will see a rejection of it if they are not removed,
    /// dropped or cancelled.
    claims: Cell<u32>,
    /// Whether a group that had it as a member was settled without it, and answers for it unless a
    /// promise is left.
    pub(crate) is_answered: Cell<bool>,
    /// Whether its rejection was reported.
    pub(crate) is_told: Cell<bool>,
    /// Whether a promise was ever asked for, so that something may wait.
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
            callbacks: RefCell::default(),
            later: RefCell::default(),
            last_number: Cell::new(GROUP),
            handlers: Cell::new(0),
            is_firing: Cell::new(false),
            is_seen: Cell::new(false),
            claims: Cell::new(0),
            is_answered: Cell::new(false),
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
        // Often nothing waits yet, and there is nothing foreign to run.
        let is_quiet = self.callbacks.borrow().is_empty() && self.later.borrow().is_empty() && self.extra().is_none();
        if is_quiet {
            self.upstream.take();
            self.check_seen();
        } else {
            let after = || self.after_settling();
            cascade::run(after, || {
                let this = self.clone();
                move || this.after_settling()
            });
        }
        true
    }

    fn after_settling(self: &Rc<Self>) {
        self.upstream.take();
        if let Some(extra) = self.extra() {
            // No progress comes any more, and there is nothing to cancel; what these hold is let
            // go.
            let canceller = extra.canceller.take();
            self.contain(Kind::Promise, self.place, || drop(canceller));
            extra.progress.close(|place, call| self.contain(Kind::Promise, place.unwrap_or(self.place), call));
        }
        let mut later = self.later.take();
        self.handlers.set(0);
        while let Some(next) = later.pop() {
            match next {
                Later::Handler(place, handler) => self.schedule(place, handler),
                Later::Waiter(waker) => self.contain(Kind::Waker, self.place, || waker.wake()),
            }
        }
        self.fire();
        self.check_seen();
    }

    /// Adds a callback, which runs before this returns if it is settled, unless callbacks are
    /// running already. `number` is the [next](Shared::next_number).
    pub(crate) fn add_callback(self: &Rc<Self>, number: u64, callback: Callback<T, E>) {
        self.callbacks.borrow_mut().push(number, callback);
        if !self.is_pending() {
            let fire = || self.fire();
            cascade::run(fire, || {
                let this = self.clone();
                move || this.fire()
            });
        }
    }

    /// Adds a handler, which runs in a later turn, whether it is settled or not. Returns its
    /// number.
    pub(crate) fn add_handler(&self, place: Place, handler: impl FnOnce() + 'static) -> u64 {
        let number = self.next_number();
        let handler = Box::new(handler);
        if self.is_pending() {
            self.later.borrow_mut().push(number, Later::Handler(place, handler));
            self.handlers.set(self.handlers.get() + 1);
        } else {
            self.schedule(place, handler);
        }
        number
    }

    /// Makes `waker` the waiter of this number, or a new one, which gets its number. Returns whether
    /// it waits: cloning a waker is foreign code, which may have settled this, and then nothing would
    /// wake the waiter any more.
    pub(crate) fn wait(&self, number: &mut Option<u64>, waker: &Waker) -> bool {
        let mut later = self.later.borrow_mut();
        let present = number.and_then(|number| later.get_mut(number));
        if matches!(present, Some(Later::Waiter(old)) if old.will_wake(waker)) {
            return true;
        }
        drop(later);
        let waker = waker.clone();
        if !self.is_pending() {
            self.contain(Kind::Waker, self.place, || drop(waker));
            return false;
        }
        let mut later = self.later.borrow_mut();
        let old = match number.and_then(|number| later.get_mut(number)) {
            Some(old) => Some(std::mem::replace(old, Later::Waiter(waker))),
            None => {
                // Numbered only now, because the clone may have added entries.
                later.push(*number.insert(self.next_number()), Later::Waiter(waker));
                None
            }
        };
        drop(later);
        // If this settles, it wakes the new waiter, which is registered by now.
        self.contain(Kind::Waker, self.place, || drop(old));
        true
    }

    /// Removes the handler or waiter of this number. Returns whether there was one.
    pub(crate) fn remove(&self, number: u64) -> bool {
        let removed = self.later.borrow_mut().remove(number);
        let (kind, place) = match removed {
            None => return false,
            Some(Later::Handler(place, _)) => {
                self.handlers.set(self.handlers.get() - 1);
                (Kind::Promise, place)
            }
            Some(Later::Waiter(_)) => (Kind::Waker, self.place),
        };
        self.contain(kind, place, || drop(removed));
        true
    }

    /// Removes the callback of this number, if it is there.
    pub(crate) fn remove_callback(&self, number: u64) {
        let mut callbacks = self.callbacks.borrow_mut();
        if !callbacks.is_empty() {
            let removed = callbacks.remove(number);
            drop(callbacks);
            drop(removed);
        }
    }

    /// Whether nothing waits for the outcome. Awaits and groups wait by their promises.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.promises.get() == 0 && self.handlers.get() == 0 && self.callbacks.borrow().is_empty()
    }

    /// How many callbacks, handlers, awaits and groups are registered.
    pub(crate) fn registered(&self) -> usize {
        self.callbacks.borrow().len() + self.later.borrow().len()
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.set(self.last_number.get() + 1);
        self.last_number.get()
    }

    fn schedule(&self, place: Place, handler: Box<dyn FnOnce()>) {
        // A closed host drops the handler, and with it the deferred that the handler was to settle.
        cascade::run_flat(|| _ = self.host.run_later(place, handler));
    }

    /// Runs the callbacks, if it is settled and they do not run already.
    fn fire(&self) {
        let Some(outcome) = self.outcome.get() else { return };
        if self.callbacks.borrow().is_empty() || self.is_firing.replace(true) {
            return;
        }
        loop {
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
                    // What the group lets go of is the user's.
                    self.contain(Kind::Promise, self.place, || group.member_settled(index, outcome.is_err()));
                }
            }
        }
        self.is_firing.set(false);
    }

    /// If it is rejected and nothing has seen that or will, looks again in the next turn, and then
    /// reports it.
    fn check_seen(self: &Rc<Self>) {
        if self.is_unseen() {
            let check = Check(Some(self.clone()));
            self.schedule(self.place, Box::new(move || check.run()));
        }
    }

    /// Whether it is rejected, that is no news to report by others, and nothing has seen it or
    /// will.
    fn is_unseen(&self) -> bool {
        let Some(Err(rejection)) = self.outcome.get() else { return false };
        let is_quiet = match rejection {
            Rejection::Error(_) | Rejection::Cycle => false,
            // The panic was reported; the caller of a cancel knows.
            Rejection::Panicked | Rejection::Cancelled => true,
            // Where nothing ever could wait, nothing misses it.
            Rejection::Abandoned => !self.is_promised.get(),
        };
        let is_answered = self.is_answered.get() && self.promises.get() == 0;
        !is_quiet && !self.is_seen.get() && self.claims.get() == 0 && !is_answered
    }

    fn report_if_unseen(&self) {
        if !self.is_unseen() {
            return;
        }
        let Some(Err(rejection)) = self.outcome.get() else { return };
        self.is_seen.set(true);
        self.is_told.set(true);
        self.host.report(Report::unhandled(self.place, rejection.reason()));
    }

    /// Notes that a handler, an await or a group will see a rejection of it, unless it is [let
    /// go](Shared::unclaim) first.
    pub(crate) fn claim(&self) {
        self.claims.set(self.claims.get() + 1);
    }

    /// Takes a claim back. Without `has_seen`, a rejection that nothing else will see is reported.
    pub(crate) fn unclaim(self: &Rc<Self>, has_seen: bool) {
        self.claims.set(self.claims.get() - 1);
        if has_seen {
            self.is_seen.set(true);
        } else {
            self.check_seen();
        }
    }

    /// Runs foreign code whose panic is a report and no more.
    pub(crate) fn contain(&self, kind: Kind, place: Place, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            self.host.report(Report::panic(Origin::new(kind).at(place), payload));
        }
    }

    /// Sends a notification of progress, and those behind it.
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

impl<T: 'static, E: 'static, P: 'static> Drop for Shared<T, E, P> {
    fn drop(&mut self) {
        if let Some(extra) = self.extra() {
            extra.progress.forget(|place, call| self.contain(Kind::Promise, place.unwrap_or(self.place), call));
        }
        if !std::mem::needs_drop::<Outcome<T, E>>() {
            return;
        }
        let Some(outcome) = self.outcome.take() else { return };
        // The value may hold the last promise of another one, and so on, and its drop may panic.
        let (host, place) = (self.host.clone(), self.place);
        cascade::run_owned(move || {
            if let Err(payload) = catch(|| drop(outcome)) {
                host.report(Report::panic(Origin::new(Kind::Promise).at(place), payload));
            }
        });
    }
}

/// Looks in its turn whether a rejection was seen. A host that closes drops it, and then it looks
/// at once: the rejections of the last turn are reported, too.
struct Check<T: 'static, E: 'static, P: 'static>(Option<Rc<Shared<T, E, P>>>);

impl<T: 'static, E: 'static, P: 'static> Check<T, E, P> {
    fn run(mut self) {
        if let Some(shared) = self.0.take() {
            shared.report_if_unseen();
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Check<T, E, P> {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        // A host that closes abandons all that is pending, which is no news.
        if !matches!(shared.outcome(), Some(Err(Rejection::Abandoned))) {
            shared.report_if_unseen();
        }
    }
}

/// A handler's claim to see the rejection. If the handler is dropped without having run, nothing
/// has seen it.
pub(crate) struct Claim<T: 'static, E: 'static, P: 'static>(Option<Rc<Shared<T, E, P>>>);

impl<T: 'static, E: 'static, P: 'static> Claim<T, E, P> {
    pub(crate) fn new(shared: &Rc<Shared<T, E, P>>) -> Self {
        shared.claim();
        Claim(Some(shared.clone()))
    }

    /// Sees the outcome.
    pub(crate) fn take(mut self) -> Rc<Shared<T, E, P>> {
        let shared = self.0.take().expect("a claim is taken once, as `self` is moved");
        shared.unclaim(true);
        shared
    }

    /// Whether the rejection was reported.
    pub(crate) fn is_told(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.is_told.get())
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Claim<T, E, P> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.unclaim(false);
        }
    }
}

/// A task's wait for a settling, which is removed when this is dropped.
pub(crate) struct Waiter<'a, T: 'static, E: 'static, P: 'static> {
    shared: &'a Shared<T, E, P>,
    number: Option<u64>,
}

impl<'a, T: 'static, E: 'static, P: 'static> Waiter<'a, T, E, P> {
    pub(crate) fn new(shared: &'a Shared<T, E, P>) -> Self {
        Waiter { shared, number: None }
    }

    /// [`Shared::wait`].
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        self.shared.wait(&mut self.number, waker)
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Waiter<'_, T, E, P> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.remove(number);
        }
    }
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Shared<T, E, P> {
    /// The outcome of a state that is settled: moved out if nothing else can ask for it, else
    /// cloned.
    pub(crate) fn into_outcome(self: Rc<Self>) -> Outcome<T, E> {
        match Rc::try_unwrap(self) {
            Ok(mut shared) => shared.outcome.take().expect("the outcome is taken after the settling"),
            Err(shared) => shared.outcome.get().expect("the outcome is taken after the settling").clone(),
        }
    }
}

//! Waiting for several: jQuery's `$.when`.
//!
//! The group is resolved when the last member is, with the values in the order of the members, and rejected by the first
//! rejection; the other members go on. Each completion costs the same, however many members there are.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use picot_context::Place;

use crate::deferred::Deferred;
use crate::promise::Promise;
use crate::state::Shared;

/// What can be waited for by [`when`]: a promise, or a future of a `Result`, which this thread's host then runs. A value
/// that is there already is `std::future::ready(Ok(value))`.
pub trait Awaited {
    /// The value.
    type Value: Clone + 'static;
    /// The error.
    type Error: Clone + 'static;

    /// The promise of it.
    #[track_caller]
    fn into_promise(self) -> Promise<Self::Value, Self::Error>;
}

impl<T: Clone + 'static, E: Clone + 'static> Awaited for Promise<T, E> {
    type Value = T;
    type Error = E;

    fn into_promise(self) -> Promise<T, E> {
        self
    }
}

impl<F, T: Clone + 'static, E: Clone + 'static> Awaited for F
where
    F: Future<Output = Result<T, E>> + 'static,
{
    type Value = T;
    type Error = E;

    #[track_caller]
    fn into_promise(self) -> Promise<T, E> {
        Promise::spawn(self)
    }
}

/// A tuple of up to eight members for [`when`].
pub trait Group {
    /// The tuple of their values.
    type Values: Clone + 'static;
    /// The error that they share.
    type Error: Clone + 'static;

    /// Settles when they do; see [`when`].
    #[track_caller]
    fn when(self) -> Promise<Self::Values, Self::Error>;
}

/// Waits for all members of a tuple. The promise that it returns is resolved with the tuple of their values when the last
/// one is, in the same call; at once if all are already. It is rejected with the first rejection; the others go on.
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use picot_deferred::{Deferred, when};
///
/// # let (host, _guard) = picot_context::ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// when((deferred.promise(), async { Ok("text") })).done(|(number, text)| println!("{number}, {text}"));
/// deferred.resolve(1);
/// # host.run_until_stalled();
/// ```
#[track_caller]
pub fn when<G: Group>(group: G) -> Promise<G::Values, G::Error> {
    group.when()
}

/// [`when`] for any number of members of one type: resolved with their values in order. Without members it is resolved
/// from the start.
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use picot_deferred::{Deferred, when_all};
///
/// # let (_host, _guard) = picot_context::ManualHost::installed();
/// let all: Vec<_> = (0..3).map(|_| Deferred::<i32, String>::new()).collect();
/// when_all(all.iter().map(Deferred::promise)).done(|values| assert_eq!(*values, [0, 1, 2]));
/// for (n, deferred) in (0..3).zip(&all).rev() {
///     deferred.resolve(n);
/// }
/// ```
#[track_caller]
pub fn when_all<I>(members: I) -> Promise<Vec<<I::Item as Awaited>::Value>, <I::Item as Awaited>::Error>
where
    I: IntoIterator,
    I::Item: Awaited,
{
    let place = Location::caller();
    let mut members = Vec::from_iter(members.into_iter().map(Awaited::into_promise));
    let countdown = Countdown::new(members.len());
    let promise = countdown.promise();
    let states: Rc<RefCell<Vec<_>>> =
        Rc::new(RefCell::new(members.iter().map(|member| member.shared.clone()).collect()));
    let values = move || {
        let states = states.take();
        states.into_iter().map(value).collect()
    };
    countdown.start(values);
    for member in members.drain(..) {
        countdown.watch(place, &member);
    }
    promise
}

/// The value of a member that is resolved.
fn value<T: Clone, E: Clone, P>(state: Rc<Shared<T, E, P>>) -> T {
    match state.into_outcome() {
        Ok(value) => value,
        Err(_) => unreachable!("a group collects its values when all members are resolved"),
    }
}

/// Counts the members that are not resolved yet, and settles the group.
struct Countdown<V: 'static, E: 'static> {
    deferred: Deferred<V, E>,
    left: Cell<usize>,
    /// Makes the group's values out of those of the members.
    collect: RefCell<Option<Box<dyn FnOnce() -> V>>>,
}

impl<V: 'static, E: Clone + 'static> Countdown<V, E> {
    #[track_caller]
    fn new(members: usize) -> Rc<Self> {
        Rc::new(Countdown { deferred: Deferred::new(), left: Cell::new(members), collect: RefCell::new(None) })
    }

    fn promise(&self) -> Promise<V, E> {
        self.deferred.promise()
    }

    /// To be called before the first member is watched.
    fn start(&self, collect: impl FnOnce() -> V + 'static) {
        self.collect.replace(Some(Box::new(collect)));
        self.check();
    }

    fn watch<T: 'static, P: 'static>(self: &Rc<Self>, place: Place, member: &Promise<T, E, P>) {
        let this = self.clone();
        member.shared.add_callback(place, move |outcome| match outcome {
            Ok(_) => {
                this.left.set(this.left.get() - 1);
                this.check();
            }
            Err(rejection) => {
                // What the members have given so far is let go with this.
                let collect = this.collect.take();
                this.deferred.settle(Err(rejection.clone()));
                drop(collect);
            }
        });
    }

    fn check(&self) {
        if self.left.get() == 0 {
            if let Some(collect) = self.collect.take() {
                self.deferred.resolve(collect());
            }
        }
    }
}

macro_rules! group {
    ($($member:ident: $index:tt),+) => {
        impl<Error: Clone + 'static, $($member: Awaited<Error = Error>),+> Group for ($($member,)+) {
            type Values = ($($member::Value,)+);
            type Error = Error;

            #[track_caller]
            fn when(self) -> Promise<Self::Values, Error> {
                let place = Location::caller();
                let members = ($(self.$index.into_promise(),)+);
                let countdown = Countdown::new([$($index),+].len());
                let promise = countdown.promise();
                let states = ($(members.$index.shared.clone(),)+);
                countdown.start(move || ($(value(states.$index),)+));
                $(countdown.watch(place, &members.$index);)+
                promise
            }
        }
    };
}

group!(A: 0);
group!(A: 0, B: 1);
group!(A: 0, B: 1, C: 2);
group!(A: 0, B: 1, C: 2, D: 3);
group!(A: 0, B: 1, C: 2, D: 3, E: 4);
group!(A: 0, B: 1, C: 2, D: 3, E: 4, F: 5);
group!(A: 0, B: 1, C: 2, D: 3, E: 4, F: 5, G: 6);
group!(A: 0, B: 1, C: 2, D: 3, E: 4, F: 5, G: 6, H: 7);

//! Waiting for several: jQuery's `$.when`, and the other groups that JavaScript's promises have.
//!
//! A group does not change its members: those that it does not wait for any more continue.

use std::any::Any;
use std::convert::Infallible;
use std::future::Ready;
use std::rc::Rc;

use crate::group::{Member, Members, Observed, start};
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{MemberObserver, State};
use crate::upstream::ReleaseList;

/// What [`when()`] and its siblings can wait for: a promise, or a future of a `Result`.
///
/// This thread's host runs the future. For a value that is known already, pass
/// `std::future::ready(Ok(value))`: it takes no task, and counts as resolved at once.
///
/// ```
/// use std::future::ready;
/// use picot_deferred::{Awaited, when};
///
/// fn twice<A>(one: A) -> impl Awaited<Value = (i32, i32), Error = String>
/// where
///     A: Awaited<Value = i32, Error = String> + Clone,
/// {
///     when((one.clone(), one))
/// }
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// assert_eq!(twice(ready(Ok(1))).into_promise().outcome(), Some(Ok(&(1, 1))));
/// ```
///
/// A plain value is neither:
///
/// ```compile_fail,E0277
/// picot_deferred::when_all([1, 2]);
/// ```
#[diagnostic::on_unimplemented(
    message = "a group cannot wait for `{Self}`",
    label = "this member must be a promise or a future of a `Result`",
    note = "values and errors must be `'static` and values `Clone`; pass a plain value as \
            `std::future::ready(Ok(value))`"
)]
pub trait Awaited {
    /// The value.
    type Value: Clone + 'static;
    /// The error.
    type Error: 'static;
    /// The progress. A group does not pass it on.
    type Progress: 'static;

    /// Turns this into a promise.
    ///
    /// ```
    /// use picot_deferred::Awaited;
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let promise = std::future::ready(Ok::<i32, String>(7)).into_promise();
    /// assert_eq!(promise.outcome(), Some(Ok(&7)));
    /// ```
    #[track_caller]
    fn into_promise(self) -> Promise<Self::Value, Self::Error, Self::Progress>;
}

impl<T: Clone + 'static, E: 'static, P: 'static> Awaited for Promise<T, E, P> {
    type Value = T;
    type Error = E;
    type Progress = P;

    fn into_promise(self) -> Promise<T, E, P> {
        self
    }
}

impl<F, T: Clone + 'static, E: 'static> Awaited for F
where
    F: Future<Output = Result<T, E>> + 'static,
{
    type Value = T;
    type Error = E;
    type Progress = Infallible;

    #[track_caller]
    fn into_promise(self) -> Promise<T, E> {
        // `Ready` is found by its type, because `Promise::spawn` would settle it a turn later.
        let mut future = Some(self);
        match (&mut future as &mut dyn Any).downcast_mut::<Option<Ready<Result<T, E>>>>().and_then(Option::take) {
            Some(ready) => Promise::settled(ready.into_inner().map_err(Rejection::from)),
            None => Promise::spawn(future.expect("the future is still here: only a `Ready` was taken out")),
        }
    }
}

/// What [`when()`] takes: one promise, or a tuple of up to eight [members](Awaited).
///
/// ```
/// use picot_deferred::{Group, Promise};
///
/// fn report<G: Group>(group: G) {
///     group.when().always(|outcome| println!("resolved: {}", outcome.is_ok()));
/// }
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// let promise = Promise::<i32, String>::settled(Ok(7));
/// report(promise.clone());
/// report((promise.clone(), promise));
/// ```
///
/// A list goes to [`when_all`]:
///
/// ```compile_fail,E0277
/// # use picot_deferred::{Promise, when};
/// # fn wait(one: Promise<i32, String>, other: Promise<i32, String>) {
/// when(vec![one, other]);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`when` cannot wait for `{Self}`",
    label = "this must be one promise, or a tuple of up to eight members with the same error type",
    note = "pass a list or an iterator to `when_all`, and one future `f` as `(f,)`"
)]
pub trait Group {
    /// The value, or the tuple of the members' values.
    type Values: Clone + 'static;
    /// The error type, which all members share.
    type Error: 'static;

    /// Waits for all members; see [`when()`].
    ///
    /// ```
    /// use std::future::ready;
    /// use picot_deferred::Group;
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let both = (ready(Ok::<_, String>(1)), ready(Ok("one"))).when();
    /// assert_eq!(both.outcome(), Some(Ok(&(1, "one"))));
    /// ```
    #[track_caller]
    fn when(self) -> Promise<Self::Values, Self::Error>;
}

/// Waits for all members of a tuple, and returns a promise of the tuple of their values.
///
/// The promise is resolved inside the call that resolves the last member; at once if all are
/// resolved already. It is rejected with the first rejection, and the other members continue. A
/// single promise makes a new promise of its outcome. (jQuery's `$.when`; asyncio's `gather`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use picot_deferred::{Deferred, when};
///
/// # let (host, _guard) = picot_deferred::ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// let both = when((deferred.promise(), async { Ok("text") }));
/// both.done(|(number, text)| println!("{number}, {text}"));
/// deferred.resolve(1);
/// # host.run_until_stalled();
/// ```
#[doc(alias = "gather")]
#[track_caller]
pub fn when<G: Group>(group: G) -> Promise<G::Values, G::Error> {
    group.when()
}

/// Waits for any number of members of one type, and returns a promise of their values in order.
///
/// Without members the promise is resolved at once. Otherwise as [`when()`]. (`Promise.all`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use picot_deferred::{Deferred, when_all};
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// let all: Vec<_> = (0..3).map(|_| Deferred::<i32, String>::new()).collect();
/// when_all(all.iter().map(Deferred::promise)).done(|values| assert_eq!(*values, [0, 1, 2]));
/// for (n, deferred) in (0..3).zip(&all).rev() {
///     deferred.resolve(n);
/// }
/// ```
#[doc(alias = "join_all")]
#[doc(alias = "gather")]
#[track_caller]
pub fn when_all<I>(members: I) -> Promise<Vec<<I::Item as Awaited>::Value>, <I::Item as Awaited>::Error>
where
    I: IntoIterator,
    I::Item: Awaited,
{
    let members = promises(members);
    if members.is_empty() {
        return Promise::settled(Ok(Vec::new()));
    }
    start(
        members,
        |is_rejected, is_last| is_rejected || is_last,
        |mut members, index| {
            if members[index].state() == State::Rejected {
                return (members.swap_remove(index).into_outcome().map(|_| Vec::new()), Some(members));
            }
            // Not collected into a `Result`: that iterator has no lower size bound, so the vector
            // would grow step by step.
            let mut values = Vec::with_capacity(members.len());
            for member in members {
                match member.into_outcome() {
                    Ok(value) => values.push(value),
                    Err(rejection) => return (Err(rejection), None),
                }
            }
            (Ok(values), None)
        },
    )
}

/// Waits until all members are settled, and returns a promise of their outcomes in order.
///
/// The promise is never rejected. (`Promise.allSettled`; asyncio's `gather(…,
/// return_exceptions=True)`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use std::future::ready;
/// use picot_deferred::{Rejection, when_settled};
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// when_settled([ready(Ok(1)), ready(Err("no"))])
///     .done(|outcomes| assert_eq!(*outcomes, [Ok(1), Err(Rejection::from("no"))]));
/// ```
#[doc(alias = "allSettled")]
#[doc(alias = "return_exceptions")]
#[track_caller]
pub fn when_settled<I, T, E>(members: I) -> Promise<Vec<Result<T, Rejection<E>>>, Infallible>
where
    I: IntoIterator,
    I::Item: Awaited<Value = T, Error = E>,
    T: Clone + 'static,
    E: 'static,
{
    let members = promises(members);
    if members.is_empty() {
        return Promise::settled(Ok(Vec::new()));
    }
    start(
        members,
        |_, is_last| is_last,
        |members, _| (Ok(members.into_iter().map(Member::into_outcome).collect()), None),
    )
}

/// Waits for the first member that is resolved, and returns a promise of its value.
///
/// If all members are rejected, or there are none, the promise is rejected with all rejections in
/// order. (`Promise.any`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use std::future::ready;
/// use picot_deferred::when_any;
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// when_any([ready(Err("no")), ready(Ok(2))]).done(|value| assert_eq!(*value, 2));
/// ```
#[track_caller]
pub fn when_any<I, T, E>(members: I) -> Promise<T, Vec<Rejection<E>>>
where
    I: IntoIterator,
    I::Item: Awaited<Value = T, Error = E>,
    T: Clone + 'static,
    E: 'static,
{
    let members = promises(members);
    if members.is_empty() {
        return Promise::settled(Err(Vec::new().into()));
    }
    start(
        members,
        |is_rejected, is_last| !is_rejected || is_last,
        |mut members, index| {
            if members[index].state() == State::Resolved {
                let outcome = members.swap_remove(index).into_outcome();
                return (outcome.map_err(|_| Vec::new().into()), Some(members));
            }
            let rejections = members.into_iter().filter_map(|member| member.into_outcome().err());
            (Err(rejections.collect::<Vec<_>>().into()), None)
        },
    )
}

/// Waits for the first member that is settled, and returns a promise of its outcome.
///
/// Without members the promise is rejected as [abandoned](Rejection::Abandoned), because nothing
/// would ever settle it. (`Promise.race`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use picot_deferred::{Deferred, when_race};
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// let (one, other) = (Deferred::<i32, String>::new(), Deferred::new());
/// when_race([one.promise(), other.promise()]).done(|value| assert_eq!(*value, 2));
/// other.resolve(2);
/// ```
#[doc(alias = "select")]
#[track_caller]
pub fn when_race<I, T, E>(members: I) -> Promise<T, E>
where
    I: IntoIterator,
    I::Item: Awaited<Value = T, Error = E>,
    T: Clone + 'static,
    E: 'static,
{
    let members = promises(members);
    if members.is_empty() {
        return Promise::settled(Err(Rejection::Abandoned));
    }
    start(
        members,
        |_, _| true,
        |mut members, index| {
            let outcome = members.swap_remove(index).into_outcome();
            (outcome, Some(members))
        },
    )
}

type MemberOf<A> = Member<<A as Awaited>::Value, <A as Awaited>::Error, <A as Awaited>::Progress>;

#[track_caller]
fn promises<I: IntoIterator<Item: Awaited>>(members: I) -> Vec<MemberOf<I::Item>> {
    // A loop, because `#[track_caller]` does not reach through the closure of a `map`.
    let members = members.into_iter();
    let mut promises = Vec::with_capacity(members.size_hint().0);
    for member in members {
        promises.push(Member::new(member.into_promise()));
    }
    promises
}

impl<T: Clone + 'static, E: 'static, P: 'static> Group for Promise<T, E, P> {
    type Values = T;
    type Error = E;

    #[track_caller]
    fn when(self) -> Promise<T, E> {
        when_race([self])
    }
}

impl Group for () {
    type Values = ();
    type Error = Infallible;

    #[track_caller]
    fn when(self) -> Promise<(), Infallible> {
        Promise::settled(Ok(()))
    }
}

/// Implements [`Group`] for tuples of each length.
macro_rules! group {
    ($($member:ident $error:ident $progress:ident: $index:tt),+) => {
        impl<$($member: 'static, $error: 'static, $progress: 'static),+> Members
            for ($(Member<$member, $error, $progress>,)+)
        {
            fn count(&self) -> usize {
                [$($index),+].len()
            }

            fn register(&self, index: usize, group: Rc<dyn MemberObserver>) -> Option<(Rc<dyn Observed>, u64)> {
                match index {
                    $($index => self.$index.register(index, group),)+
                    _ => unreachable!("callers pass an index below `count`"),
                }
            }

            fn cover(&self) {
                $(self.$index.cover();)+
            }

            fn release(self, list: &mut ReleaseList) {
                let members = [$(self.$index.release()),+];
                // Reversed, because the list is worked off from its end.
                list.extend(members.into_iter().rev().flatten());
            }
        }

        impl<Error: 'static, $($member: Awaited<Error = Error>),+> Group for ($($member,)+) {
            type Values = ($($member::Value,)+);
            type Error = Error;

            #[track_caller]
            fn when(self) -> Promise<Self::Values, Error> {
                let members = ($(Member::new(self.$index.into_promise()),)+);
                start(members, |is_rejected, is_last| is_rejected || is_last, |members, index| {
                    $(if index == $index && members.$index.state() == State::Rejected {
                        return match members.$index.shared().outcome() {
                            Some(Err(rejection)) => (Err(rejection.clone()), Some(members)),
                            _ => unreachable!("the state is `Rejected`"),
                        };
                    })+
                    let values = || Ok(($(members.$index.into_outcome()?,)+));
                    (values(), None)
                })
            }
        }
    };
}

group!(A AE AP: 0);
group!(A AE AP: 0, B BE BP: 1);
group!(A AE AP: 0, B BE BP: 1, C CE CP: 2);
group!(A AE AP: 0, B BE BP: 1, C CE CP: 2, D DE DP: 3);
group!(A AE AP: 0, B BE BP: 1, C CE CP: 2, D DE DP: 3, E EE EP: 4);
group!(A AE AP: 0, B BE BP: 1, C CE CP: 2, D DE DP: 3, E EE EP: 4, F FE FP: 5);
group!(A AE AP: 0, B BE BP: 1, C CE CP: 2, D DE DP: 3, E EE EP: 4, F FE FP: 5, G GE GP: 6);
group!(A AE AP: 0, B BE BP: 1, C CE CP: 2, D DE DP: 3, E EE EP: 4, F FE FP: 5, G GE GP: 6, H HE HP: 7);

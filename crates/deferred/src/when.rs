//! Waiting for several: jQuery's `$.when`, and the others that promises have.
//!
//! A group knows its members by their index and counts what is left, so each completion costs the
//! same, however many members there are, and none costs an allocation. Whatever else the members
//! do, they go on.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Ready;
use std::panic::Location;
use std::rc::{Rc, Weak};

use picot_context::{Kind, Origin, Report, catch};

use crate::cancel::{GROUP, LetGo, Upstream};
use crate::deferred::{Deferred, this_host};
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{Callback, Outcome, Shared, State, Watch};

/// What can be waited for by [`when()`]: a promise, or a future of a `Result`, which this thread's
/// host then runs. A value that is there already is `std::future::ready(Ok(value))`, and is
/// resolved at once.
pub trait Awaited {
    /// The value.
    type Value: Clone + 'static;
    /// The error.
    type Error: Clone + 'static;
    /// The progress, of which a group tells nothing.
    type Progress: 'static;

    /// The promise of it.
    #[track_caller]
    fn into_promise(self) -> Promise<Self::Value, Self::Error, Self::Progress>;
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Awaited for Promise<T, E, P> {
    type Value = T;
    type Error = E;
    type Progress = P;

    fn into_promise(self) -> Promise<T, E, P> {
        self
    }
}

impl<F, T: Clone + 'static, E: Clone + 'static> Awaited for F
where
    F: Future<Output = Result<T, E>> + 'static,
{
    type Value = T;
    type Error = E;
    type Progress = Infallible;

    #[track_caller]
    fn into_promise(self) -> Promise<T, E> {
        let mut future = Some(self);
        match (&mut future as &mut dyn Any).downcast_mut::<Option<Ready<Result<T, E>>>>().and_then(Option::take) {
            Some(ready) => Promise::settled(ready.into_inner().map_err(Rejection::Error)),
            None => Promise::spawn(future.expect("only a `Ready` is taken out")),
        }
    }
}

/// What [`when()`] waits for: a promise, or a tuple of up to eight members.
pub trait Group {
    /// The value, or the tuple of the members' values.
    type Values: Clone + 'static;
    /// The error that they share.
    type Error: Clone + 'static;

    /// Settles when they do; see [`when()`].
    #[track_caller]
    fn when(self) -> Promise<Self::Values, Self::Error>;
}

/// Waits for all members of a tuple. The promise that it returns is resolved with the tuple of
/// their values when the last one is, in the same call; at once if all are already. It is rejected
/// with the first rejection; the others go on. A promise alone is a group of itself, and makes a
/// new promise.
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
#[doc(alias = "gather")]
#[track_caller]
pub fn when<G: Group>(group: G) -> Promise<G::Values, G::Error> {
    group.when()
}

/// [`when()`] for any number of members of one type: resolved with their values in order. Without
/// members it is resolved from the start. (`Promise.all`.)
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
            // Not collected into a `Result`, which would not know how many there are.
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

/// Waits until all members are settled, and is resolved with their outcomes in order.
/// (`Promise.allSettled`; asyncio's `gather(…, return_exceptions=True)`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use std::future::ready;
/// use picot_deferred::{Rejection, when_settled};
///
/// # let (_host, _guard) = picot_context::ManualHost::installed();
/// when_settled([ready(Ok(1)), ready(Err("no"))])
///     .done(|outcomes| assert_eq!(*outcomes, [Ok(1), Err(Rejection::Error("no"))]));
/// ```
#[doc(alias = "allSettled")]
#[doc(alias = "return_exceptions")]
#[track_caller]
pub fn when_settled<I, T, E>(members: I) -> Promise<Vec<Result<T, Rejection<E>>>, Infallible>
where
    I: IntoIterator,
    I::Item: Awaited<Value = T, Error = E>,
    T: Clone + 'static,
    E: Clone + 'static,
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

/// Waits for the first member that is resolved, and is resolved with its value. Where all are
/// rejected, and where there are none, it is rejected with all rejections in order.
/// (`Promise.any`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use std::future::ready;
/// use picot_deferred::when_any;
///
/// # let (_host, _guard) = picot_context::ManualHost::installed();
/// when_any([ready(Err("no")), ready(Ok(2))]).done(|value| assert_eq!(*value, 2));
/// ```
#[track_caller]
pub fn when_any<I, T, E>(members: I) -> Promise<T, Vec<Rejection<E>>>
where
    I: IntoIterator,
    I::Item: Awaited<Value = T, Error = E>,
    T: Clone + 'static,
    E: Clone + 'static,
{
    let members = promises(members);
    if members.is_empty() {
        return Promise::settled(Err(Rejection::Error(Vec::new())));
    }
    start(
        members,
        |is_rejected, is_last| !is_rejected || is_last,
        |mut members, index| {
            if members[index].state() == State::Resolved {
                let outcome = members.swap_remove(index).into_outcome();
                return (outcome.map_err(|_| Rejection::Error(Vec::new())), Some(members));
            }
            let rejections = members.into_iter().filter_map(|member| member.into_outcome().err());
            (Err(Rejection::Error(rejections.collect())), None)
        },
    )
}

/// Waits for the first member that is settled, and is settled with its outcome. Without members it
/// is rejected as [abandoned](Rejection::Abandoned), because nothing will ever settle it.
/// (`Promise.race`.)
///
/// # Panics
/// If this thread has no host.
///
/// ```
/// use picot_deferred::{Deferred, when_race};
///
/// # let (_host, _guard) = picot_context::ManualHost::installed();
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
    E: Clone + 'static,
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
    // A loop, because a closure would hide the caller's place.
    let members = members.into_iter();
    let mut promises = Vec::with_capacity(members.size_hint().0);
    for member in members {
        promises.push(Member::new(member.into_promise()));
    }
    promises
}

/// The members of a group, whatever their types. Dropping them deregisters the group.
trait Members: 'static {
    fn count(&self) -> usize;

    /// The member of this index, and the number by which it is to know the group.
    fn member(&self, index: usize) -> (Rc<dyn Watched>, u64);

    /// The group is settled, and has taken of the members' outcomes what it takes: it answers for
    /// the rest.
    fn answer(&self);

    /// Deregisters the group, and puts those on the list that nothing else waits for, to be
    /// cancelled.
    fn let_go(self, list: &mut LetGo);
}

/// What a member is, whatever its types.
trait Watched {
    /// Calls `group` when it is settled, or at once if it is.
    fn watch(self: Rc<Self>, number: u64, group: Rc<dyn Watch>, index: usize);
}

impl<T: 'static, E: 'static, P: 'static> Watched for Shared<T, E, P> {
    fn watch(self: Rc<Self>, number: u64, group: Rc<dyn Watch>, index: usize) {
        self.add_callback(number, Callback::Member(group, index));
    }
}

/// A promise that a group waits for. It claims a rejection, and when it is dropped, it removes what
/// the group has registered.
struct Member<T: 'static, E: 'static, P: 'static> {
    /// `None` while it is taken apart.
    promise: Option<Promise<T, E, P>>,
    /// Of the registration; 0 before there is one.
    number: Cell<u64>,
}

impl<T: 'static, E: 'static, P: 'static> Member<T, E, P> {
    fn new(promise: Promise<T, E, P>) -> Self {
        promise.shared.claim();
        Member { promise: Some(promise), number: Cell::new(0) }
    }

    fn shared(&self) -> &Rc<Shared<T, E, P>> {
        &self.promise.as_ref().expect("a member is taken apart only when it is consumed").shared
    }

    fn state(&self) -> State {
        self.shared().state()
    }

    /// Notes the number of a registration, which follows.
    fn register(&self) -> (Rc<dyn Watched>, u64) {
        let shared = self.shared();
        self.number.set(shared.next_number());
        (shared.clone(), self.number.get())
    }

    /// The group is settled without this, or has looked at its outcome without taking it.
    fn answer(&self) {
        let shared = self.shared();
        if shared.is_pending() {
            shared.is_answered.set(true);
        } else {
            shared.is_seen.set(true);
        }
    }

    /// Ends the registration and the claim.
    fn take(&mut self, has_seen: bool) -> Option<Promise<T, E, P>> {
        let promise = self.promise.take()?;
        let shared = &promise.shared;
        shared.remove_callback(self.number.get());
        shared.unclaim(has_seen);
        Some(promise)
    }

    fn let_go(mut self) -> Option<(Rc<dyn Upstream>, u64)> {
        let promise = self.take(false)?;
        let shared: Rc<Shared<T, E, P>> = promise.into_shared();
        Some((shared, GROUP))
    }
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Member<T, E, P> {
    fn into_outcome(mut self) -> Outcome<T, E> {
        self.take(true).expect("a member is taken apart only when it is consumed").into_outcome()
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Member<T, E, P> {
    fn drop(&mut self) {
        self.take(false);
    }
}

impl<T: 'static, E: 'static, P: 'static> Members for Vec<Member<T, E, P>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn member(&self, index: usize) -> (Rc<dyn Watched>, u64) {
        self[index].register()
    }

    fn answer(&self) {
        self.iter().for_each(Member::answer);
    }

    fn let_go(self, list: &mut LetGo) {
        // The first one is on top of the list, and is cancelled first.
        list.extend(self.into_iter().rev().filter_map(Member::let_go));
    }
}

/// A group of which members are left.
struct Waiting<M, D, F, V: 'static, E: 'static> {
    /// `None` once it is settled, so that it holds on to nothing.
    members: RefCell<Option<M>>,
    left: Cell<usize>,
    /// Whether the settling of a member settles the group: it is rejected or not, and the last or
    /// not.
    decides: D,
    /// The outcome, of the members and the index of the one that has decided, and the members that
    /// are left over.
    outcome: F,
    deferred: Deferred<V, E>,
}

/// Makes the group's promise. There is at least one member.
#[track_caller]
fn start<M, D, F, V, E>(members: M, decides: D, outcome: F) -> Promise<V, E>
where
    M: Members,
    D: Fn(bool, bool) -> bool + 'static,
    F: Fn(M, usize) -> (Outcome<V, E>, Option<M>) + 'static,
    V: 'static,
    E: 'static,
{
    let count = members.count();
    let group = Rc::new(Waiting {
        members: RefCell::new(Some(members)),
        left: Cell::new(count),
        decides,
        outcome,
        deferred: Deferred::from_host(this_host(), Location::caller()),
    });
    let promise = group.deferred.promise();
    let upstream: Weak<Waiting<M, D, F, V, E>> = Rc::downgrade(&group);
    promise.shared.upstream.set(Some((upstream, GROUP)));
    for index in 0..count {
        // No borrow of the members lives while one is watched, which may settle the group.
        let member = group.members.borrow().as_ref().map(|members| members.member(index));
        let Some((member, number)) = member else { break };
        member.watch(number, group.clone(), index);
    }
    promise
}

impl<M, D, F, V, E> Watch for Waiting<M, D, F, V, E>
where
    M: Members,
    D: Fn(bool, bool) -> bool,
    F: Fn(M, usize) -> (Outcome<V, E>, Option<M>),
    V: 'static,
    E: 'static,
{
    fn member_settled(&self, index: usize, is_rejected: bool) {
        let left = self.left.get() - 1;
        self.left.set(left);
        if !(self.decides)(is_rejected, left == 0) {
            return;
        }
        let members = self.members.take();
        let Some(members) = members else { return };
        // Clones of values are the user's code.
        let (outcome, left_over) = catch(|| (self.outcome)(members, index)).unwrap_or_else(|payload| {
            let shared = &self.deferred.shared;
            shared.host.report(Report::panic(Origin::new(Kind::Promise).at(shared.place), payload));
            (Err(Rejection::Panicked), None)
        });
        if let Some(left_over) = &left_over {
            left_over.answer();
        }
        self.deferred.settle(outcome);
        // After the settling, because this may cancel them, and a canceller may do anything.
        drop(left_over);
    }
}

impl<M, D, F, V, E> Upstream for Waiting<M, D, F, V, E>
where
    M: Members,
    V: 'static,
    E: 'static,
{
    fn let_go(self: Rc<Self>, _: u64, list: &mut LetGo) {
        let members = self.members.take();
        if let Some(members) = members {
            members.let_go(list);
        }
    }

    fn drop_members(&self) {
        let members = self.members.take();
        drop(members);
    }
}

impl<T: Clone + 'static, E: Clone + 'static, P: 'static> Group for Promise<T, E, P> {
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

macro_rules! group {
    ($($member:ident $error:ident $progress:ident: $index:tt),+) => {
        impl<$($member: 'static, $error: 'static, $progress: 'static),+> Members
            for ($(Member<$member, $error, $progress>,)+)
        {
            fn count(&self) -> usize {
                [$($index),+].len()
            }

            fn member(&self, index: usize) -> (Rc<dyn Watched>, u64) {
                match index {
                    $($index => self.$index.register(),)+
                    _ => unreachable!("an index is below the count"),
                }
            }

            fn answer(&self) {
                $(self.$index.answer();)+
            }

            fn let_go(self, list: &mut LetGo) {
                let members = [$(self.$index.let_go()),+];
                list.extend(members.into_iter().rev().flatten());
            }
        }

        impl<Error: Clone + 'static, $($member: Awaited<Error = Error>),+> Group for ($($member,)+) {
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

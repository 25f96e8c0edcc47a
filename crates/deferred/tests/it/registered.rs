//! Each registration is undone: after each kind of end, the members of a group and the sources of a
//! chain have only the callbacks that they had before.

use std::pin::pin;
use std::task::{Context, Waker};

use picot_context::ManualHost;
use picot_deferred::{Promise, State, when, when_all, when_any, when_race, when_settled};

use crate::trace::Deferred;

type P = Promise<i32, &'static str>;

/// The promise of a group, of any types.
trait Ends {
    fn cancel(&self);
    fn listen(&self);
    fn abandon_an_await(self: Box<Self>);
    fn is_pending(&self) -> bool;
}

impl<T: Clone + 'static, E: Clone + 'static> Ends for Promise<T, E> {
    fn cancel(&self) {
        Promise::cancel(self);
    }

    fn listen(&self) {
        self.always(|_| {});
    }

    fn abandon_an_await(self: Box<Self>) {
        let mut wait = Box::pin(self.into_future());
        let _ = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    fn is_pending(&self) -> bool {
        self.state() == State::Pending
    }
}

type Combine = fn([P; 3]) -> Box<dyn Ends>;

const COMBINATORS: [(&str, Combine); 8] = [
    ("tuple", |[a, b, c]| Box::new(when((a, b, c)))),
    ("alone", |[a, _, _]| Box::new(when(a))),
    ("all", |members| Box::new(when_all(members))),
    ("settled", |members| Box::new(when_settled(members))),
    ("any", |members| Box::new(when_any(members))),
    ("race", |members| Box::new(when_race(members))),
    ("twice", |[a, b, _]| Box::new(when_race([a.clone(), b.clone(), a, b]))),
    ("nested", |[a, b, c]| Box::new(when((when_all([a, b]), when_race([c.clone(), when(c)]))))),
];

type End = fn(&[Deferred; 3], Box<dyn Ends>, &ManualHost);

const ENDS: [(&str, End); 11] = [
    ("first resolved", |[a, ..], group, _| {
        a.resolve(1);
        drop(group);
    }),
    ("middle resolved", |[_, b, _], group, _| {
        b.resolve(1);
        drop(group);
    }),
    ("last rejected", |[_, _, c], group, _| {
        c.reject("no");
        drop(group);
    }),
    ("all resolved", |all, group, _| {
        group.listen();
        all.iter().for_each(|one| _ = one.resolve(1));
        assert!(!group.is_pending());
    }),
    ("all rejected", |all, group, _| {
        group.listen();
        all.iter().for_each(|one| _ = one.reject("no"));
        assert!(!group.is_pending());
    }),
    ("a member cancelled", |[a, ..], group, _| {
        a.promise().cancel();
        drop(group);
    }),
    ("cancelled", |_, group, _| group.cancel()),
    ("cancelled with a callback", |_, group, _| {
        group.listen();
        group.cancel();
    }),
    ("dropped", |_, group, _| drop(group)),
    ("await dropped", |_, group, _| group.abandon_an_await()),
    ("closed host", |[a, ..], group, host| {
        host.close();
        a.resolve(1);
        drop(group);
    }),
];

#[test]
fn a_group_leaves_nothing_at_its_members_however_it_ends() {
    for (combinator, combine) in COMBINATORS {
        for (end_name, end) in ENDS {
            let (host, _guard) = ManualHost::installed();
            let deferreds = [Deferred::new(), Deferred::new(), Deferred::new()];
            let members = deferreds.each_ref().map(Deferred::promise);
            // The members have waiters of their own, before and after the group's.
            members.iter().for_each(|member| _ = member.done(|_| {}).on_settled(|_| {}));
            let group = combine(members.clone());
            members.iter().for_each(|member| _ = member.done(|_| {}));
            end(&deferreds, group, &host);
            for (nth, member) in members.iter().enumerate() {
                let expected = if member.state() == State::Pending { 3 } else { 0 };
                assert_eq!(member.waiting(), expected, "{combinator}, {end_name}, member {nth}");
            }
        }
    }
}

#[test]
fn a_settled_group_leaves_nothing_at_the_other_members() {
    let (_host, _guard) = ManualHost::installed();
    type Settle = fn(&Deferred);
    let settle: [(Combine, Settle); 6] = [
        (COMBINATORS[0].1, |one| _ = one.reject("no")),
        (COMBINATORS[2].1, |one| _ = one.reject("no")),
        (COMBINATORS[4].1, |one| _ = one.resolve(1)),
        (COMBINATORS[5].1, |one| _ = one.resolve(1)),
        (COMBINATORS[5].1, |one| _ = one.reject("no")),
        (COMBINATORS[6].1, |one| _ = one.resolve(1)),
    ];
    for (nth, (combine, settle)) in settle.into_iter().enumerate() {
        let deferreds = [Deferred::new(), Deferred::new(), Deferred::new()];
        let members = deferreds.each_ref().map(Deferred::promise);
        let group = combine(members.clone());
        group.listen();
        settle(&deferreds[0]);
        assert!(!group.is_pending());
        assert_eq!(members.each_ref().map(Promise::waiting), [0; 3], "{nth}");
    }
}

#[test]
fn repeated_races_against_one_pending_promise_keep_nothing() {
    let (_host, _guard) = ManualHost::installed();
    let stop = Deferred::new();
    let stopped = stop.promise();
    for round in 0..1000 {
        let message = Deferred::new();
        let first = when_race([stopped.clone(), message.promise()]);
        assert_eq!(stopped.waiting(), 1);
        message.resolve(round);
        assert_eq!(first.outcome(), Some(Ok(&round)));
        assert_eq!(stopped.waiting(), 0);
    }
    stop.resolve(1);
}

#[test]
fn chains_awaits_and_resolvers_leave_nothing_at_their_sources() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let promise = deferred.promise();
    let ends: [(&str, &dyn Fn()); 6] = [
        ("then", &|| _ = promise.then(Ok).cancel()),
        ("finally", &|| {
            let next = promise.finally(|| Ok(()));
            let last = next.then(Ok);
            drop(next);
            last.cancel();
        }),
        ("on_settled", &|| _ = promise.remove([promise.on_settled(|_| {})])),
        ("adoption", &|| {
            let adopted = promise.clone();
            let outer = P::settled(Ok(1)).then(move |_| adopted);
            host.run_until_stalled();
            assert_eq!(promise.waiting(), 1);
            outer.cancel();
        }),
        ("await", &|| {
            let mut wait = pin!(promise.clone().into_future());
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(promise.waiting(), 1);
        }),
        ("resolver", &|| {
            let resolver = deferred.resolver();
            host.run_until_stalled();
            assert_eq!(promise.waiting(), 1);
            drop(resolver);
            host.run_until_stalled();
        }),
    ];
    for (name, end) in ends {
        end();
        assert_eq!((promise.waiting(), promise.state()), (0, State::Pending), "{name}");
    }
    deferred.resolve(1);
}

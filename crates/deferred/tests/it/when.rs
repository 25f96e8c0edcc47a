//! Groups: values in the order of the members, the first rejection, and no other results.

use std::future::ready;

use picot_context::ManualHost;
use picot_deferred::{Promise, Rejection, State, when, when_all, when_any, when_race, when_settled};

use crate::trace::{Deferred, Trace};

#[test]
fn values_are_in_the_order_of_the_members_and_not_of_completion() {
    let (_host, _guard) = ManualHost::installed();
    let (a, b, c, trace) = (Deferred::new(), Deferred::new(), Deferred::new(), Trace::default());
    when((a.promise(), b.promise(), c.promise())).done(trace.note("when"));
    c.resolve(3);
    a.resolve(1);
    assert!(trace.take().is_empty());
    b.resolve(2);
    assert_eq!(trace.take(), ["when (1, 2, 3)"], "in the call that resolved the last");
}

#[test]
fn the_first_rejection_rejects_the_group_and_the_others_continue() {
    let (_host, _guard) = ManualHost::installed();
    let (a, b, c, trace) = (Deferred::new(), Deferred::new(), Deferred::new(), Trace::default());
    when_all([a.promise(), b.promise(), c.promise()]).always(trace.outcome("when"));
    a.resolve(1);
    b.reject("b");
    c.reject("c");
    assert_eq!(trace.take(), ["when Err(Error(b))"]);
    assert_eq!((a.state(), c.state()), (State::Resolved, State::Rejected));
}

#[test]
fn a_group_of_settled_members_is_settled_at_once_and_is_a_new_promise() {
    let (_host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    deferred.resolve(1);
    let (one, other) = (when((deferred.promise(),)), when_all([deferred.promise()]));
    assert_eq!((one.state(), other.state()), (State::Resolved, State::Resolved));
    let trace = Trace::default();
    one.done(trace.note("tuple"));
    other.done(trace.note("list"));
    assert_eq!(trace.take(), ["tuple (1,)", "list [1]"]);
}

#[test]
fn no_members_make_a_resolved_group() {
    let (_host, _guard) = ManualHost::installed();
    let group = when_all(std::iter::empty::<Promise<i32, ()>>());
    assert_eq!(group.state(), State::Resolved);
}

#[test]
fn promises_futures_and_values_mix() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    when((deferred.promise(), async { Ok("from a future") }, ready(Ok(2.5)))).done(trace.note("when"));
    deferred.resolve(1);
    assert!(trace.take().is_empty());
    host.run_until_stalled();
    assert_eq!(trace.take(), ["when (1, from a future, 2.5)"]);
}

#[test]
fn a_member_can_be_passed_several_times() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    when((promise.clone(), promise.clone(), promise)).done(trace.note("when"));
    deferred.resolve(1);
    assert_eq!(trace.take(), ["when (1, 1, 1)"]);
}

#[test]
fn an_abandoned_member_rejects_the_group() {
    let (_host, _guard) = ManualHost::installed();
    let (a, b, trace) = (Deferred::new(), Deferred::new(), Trace::default());
    when_all([a.promise(), b.promise()]).fail(trace.note("fail"));
    a.resolve(1);
    drop(b);
    assert_eq!(trace.take(), ["fail Abandoned"]);
}

#[test]
fn a_large_group_settles_in_any_order() {
    let (_host, _guard) = ManualHost::installed();
    const MEMBERS: i32 = if cfg!(miri) { 100 } else { 10_000 };
    let members: Vec<_> = (0..MEMBERS).map(|_| Deferred::new()).collect();
    let group = when_all(members.iter().map(picot_deferred::Deferred::promise));
    for (n, member) in members.iter().enumerate().rev() {
        assert_eq!(group.state(), State::Pending);
        member.resolve(n as i32);
    }
    let trace = Trace::default();
    let inside = trace.clone();
    group.done(move |values| inside.add(values.iter().copied().eq(0..MEMBERS)));
    assert_eq!(trace.take(), ["true"]);
}

#[test]
fn a_ready_value_is_resolved_at_once() {
    let (_host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    when((ready(Ok::<_, ()>("value")),)).done(trace.note("value")).fail(|_| unreachable!("there is a value"));
    when((ready(Ok(1)), ready(Err::<(), _>("no")))).fail(trace.note("error"));
    when(()).done(trace.note("nothing"));
    assert_eq!(trace.take(), ["value (value,)", "error Error(no)", "nothing ()"]);
}

#[test]
fn a_promise_alone_makes_a_new_promise_of_its_outcome() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    let group = when(promise.clone());
    assert!(!group.is_same(&promise));
    group.done(trace.note("when"));
    deferred.resolve(1);
    assert_eq!(trace.take(), ["when 1"]);

    // The same for a promise that is or will be rejected.
    for is_late in [false, true] {
        let deferred = Deferred::new();
        if !is_late {
            deferred.reject("no");
        }
        let group = when(deferred.promise());
        group.done(|_| unreachable!("it is rejected")).fail(trace.note("when"));
        deferred.reject("no");
        assert_eq!(trace.take(), ["when Error(no)"]);
    }
}

#[test]
fn a_tuple_is_rejected_by_the_first_rejection_at_any_position() {
    let (_host, _guard) = ManualHost::installed();
    for rejected in 0..3 {
        let (members, trace) = ([Deferred::new(), Deferred::new(), Deferred::new()], Trace::default());
        let [a, b, c] = &members;
        when((a.promise(), b.promise(), c.promise())).fail(trace.note("fail"));
        members[rejected].reject("first");
        members.iter().for_each(|member| _ = member.reject("later"));
        assert_eq!(trace.take(), ["fail Error(first)"]);
    }
}

#[test]
fn of_members_that_are_already_rejected_the_first_in_order_counts() {
    let (_host, _guard) = ManualHost::installed();
    let (pending, a, b, trace) = (Deferred::new(), Deferred::new(), Deferred::new(), Trace::default());
    b.reject("b");
    a.reject("a");
    when((pending.promise(), a.promise(), b.promise())).fail(trace.note("tuple"));
    when_all([pending.promise(), a.promise(), b.promise()]).fail(trace.note("list"));
    assert_eq!(trace.take(), ["tuple Error(a)", "list Error(a)"]);
}

#[test]
fn when_settled_returns_all_outcomes_in_order() {
    let (_host, _guard) = ManualHost::installed();
    let (a, b, c, trace) = (Deferred::new(), Deferred::new(), Deferred::new(), Trace::default());
    when_settled([a.promise(), b.promise(), c.promise()]).done(trace.note("settled"));
    c.reject("c");
    a.resolve(1);
    assert!(trace.take().is_empty());
    drop(b);
    assert_eq!(trace.take(), ["settled [Ok(1), Err(Abandoned), Err(Error(c))]"]);
}

#[test]
fn when_any_returns_the_first_value_or_all_rejections_in_order() {
    let (_host, _guard) = ManualHost::installed();
    let (a, b, trace) = (Deferred::new(), Deferred::new(), Trace::default());
    when_any([a.promise(), b.promise()]).done(trace.note("any"));
    a.reject("a");
    assert!(trace.take().is_empty());
    b.resolve(2);
    assert_eq!(trace.take(), ["any 2"]);

    let (a, b) = (Deferred::new(), Deferred::new());
    when_any([a.promise(), b.promise()]).fail(trace.note("none"));
    b.reject("b");
    a.reject("a");
    assert_eq!(trace.take(), ["none Error([Error(a), Error(b)])"]);
}

#[test]
fn a_race_settles_with_the_first_outcome_of_either_kind() {
    let (_host, _guard) = ManualHost::installed();
    for settle in [|deferred: &Deferred| deferred.resolve(1), |deferred: &Deferred| deferred.reject("no")] {
        let (a, b, trace) = (Deferred::new(), Deferred::new(), Trace::default());
        when_race([a.promise(), b.promise()]).always(trace.outcome("race"));
        settle(&b);
        a.resolve(2);
        let events = trace.take();
        assert!(events == ["race Ok(1)"] || events == ["race Err(Error(no))"], "{events:?}");
    }
}

#[test]
fn groups_without_members_are_settled_from_the_start() {
    let (_host, _guard) = ManualHost::installed();
    let none = || std::iter::empty::<Promise<i32, &str>>();
    assert_eq!(when_all(none()).outcome(), Some(Ok(&vec![])));
    assert_eq!(when_settled(none()).outcome(), Some(Ok(&vec![])));
    assert_eq!(when_any(none()).outcome(), Some(Err(&Rejection::from(vec![]))));
    assert_eq!(when_race(none()).outcome(), Some(Err(&Rejection::Abandoned)), "nothing will ever settle it");
}

#[test]
fn a_settled_group_drops_its_members() {
    let (_host, _guard) = ManualHost::installed();
    let held = std::rc::Rc::new(());
    let (a, b) = (picot_deferred::Deferred::new(), picot_deferred::Deferred::new());
    let group = when_all([a.promise(), b.promise()]);
    a.resolve(held.clone());
    b.reject("no");
    drop(a);
    assert_eq!(std::rc::Rc::strong_count(&held), 1);
    assert_eq!(group.outcome(), Some(Err(&Rejection::from("no"))));
}

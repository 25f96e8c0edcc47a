//! Groups: values in the order of the members, the first rejection, and nothing in between.

use std::future::ready;

use picot_context::ManualHost;
use picot_deferred::{Promise, State, when, when_all};

use crate::trace::{Deferred, Trace};

#[test]
fn values_come_in_the_order_of_the_members_not_of_completion() {
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
fn the_first_rejection_is_the_groups_and_the_others_go_on() {
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
fn a_member_may_be_named_several_times() {
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

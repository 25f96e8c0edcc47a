//! Settling happens once, by the first call; the state changes first, the callbacks run after it.

use std::rc::Rc;

use picot_context::ManualHost;
use picot_deferred::{Promise, Rejection, State};

use crate::trace::{Deferred, Trace};

#[test]
fn a_new_deferred_is_pending_and_the_initializer_runs_inside_the_constructor() {
    let (_host, _guard) = ManualHost::installed();
    assert_eq!(Deferred::new().state(), State::Pending);
    let trace = Trace::default();
    let inside = trace.clone();
    let deferred = Deferred::with(|deferred| {
        inside.add(deferred.state());
        deferred.resolve(1);
    });
    trace.add(deferred.state());
    assert_eq!(trace.take(), ["Pending", "Resolved"]);
}

#[test]
fn the_promise_is_always_the_same() {
    let (_host, _guard) = ManualHost::installed();
    let (one, other) = (Deferred::new(), Deferred::new());
    assert!(one.promise().is_same(&one.promise().clone()));
    assert!(!one.promise().is_same(&other.promise()));
}

#[test]
fn resolving_runs_done_and_always_and_never_fail() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    promise.done(trace.note("done")).fail(trace.note("fail")).always(trace.outcome("always"));
    assert!(deferred.resolve(1));
    assert_eq!(trace.take(), ["done 1", "always Ok(1)"]);
    assert_eq!(promise.state(), State::Resolved);
}

#[test]
fn rejecting_runs_fail_and_always_and_never_done() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    promise.done(trace.note("done")).fail(trace.note("fail")).always(trace.outcome("always"));
    assert!(deferred.reject("no"));
    assert_eq!(trace.take(), ["fail Error(no)", "always Err(Error(no))"]);
    assert_eq!(promise.state(), State::Rejected);
}

#[test]
fn the_first_to_settle_wins_and_the_others_return_false() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    deferred.promise().always(trace.outcome("always"));
    assert!(deferred.resolve(1));
    assert!(!deferred.resolve(2));
    assert!(!deferred.reject("no"));
    assert!(!deferred.clone().resolve(3));
    assert_eq!(trace.take(), ["always Ok(1)"]);
}

#[test]
fn there_is_no_outcome_while_it_is_pending() {
    let (_host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let promise = deferred.promise();
    assert_eq!(promise.outcome(), None);
    deferred.resolve(1);
    assert_eq!(promise.outcome(), Some(Ok(&1)));
    assert_eq!(Promise::<(), _>::settled(Err(Rejection::from("no"))).outcome(), Some(Err(&Rejection::from("no"))));
}

#[test]
fn the_state_has_changed_when_callbacks_run() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Rc::new(Deferred::new()), Trace::default());
    let (inside, same) = (trace.clone(), deferred.clone());
    deferred.promise().done(move |_| {
        inside.add(same.state());
        inside.add(same.reject("from a callback"));
    });
    deferred.resolve(1);
    assert_eq!(trace.take(), ["Resolved", "false"]);
}

#[test]
fn dropping_the_last_unsettled_deferred_abandons_the_promise() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    promise.fail(trace.note("fail"));
    let second = deferred.clone();
    drop(deferred);
    assert_eq!(promise.state(), State::Pending);
    drop(second);
    assert_eq!(trace.take(), ["fail Abandoned"]);
    let text = Rejection::<&str>::Abandoned.to_string();
    assert!(text.contains("dropped unsettled"), "{text}");
}

#[test]
fn a_callback_that_holds_its_own_promise_does_not_leak() {
    let (_host, _guard) = ManualHost::installed();
    let held = Rc::new(());
    for settle in [true, false] {
        let deferred = Deferred::new();
        let promise = deferred.promise();
        let (own, inside) = (promise.clone(), held.clone());
        promise.done(move |_| drop((own, inside)));
        if settle {
            deferred.resolve(1);
        }
    }
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
#[should_panic(expected = "needs a host")]
fn without_a_host_the_error_says_what_to_do() {
    let _ = Deferred::new();
}

#[test]
fn a_deferred_with_its_own_host_needs_none_on_the_thread() {
    let host = Rc::new(ManualHost::new());
    let deferred = picot_deferred::Deferred::<i32, ()>::on(host.clone());
    let trace = Trace::default();
    deferred.promise().then(|n| Ok(n + 1)).done(trace.note("then"));
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["then 2"]);
}

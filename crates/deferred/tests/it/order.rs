//! Which callbacks run at once and which are scheduled, and their order.

use picot_context::ManualHost;

use crate::trace::{Deferred, Trace};

#[test]
fn callbacks_run_in_the_order_in_which_they_were_added_before_settle_returns() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    promise.done(trace.note("first")).always(trace.outcome("second")).done(trace.note("third"));
    trace.add("before");
    deferred.resolve(1);
    trace.add("after");
    assert_eq!(trace.take(), ["before", "first 1", "second Ok(1)", "third 1", "after"]);
}

#[test]
fn a_callback_on_a_settled_promise_runs_before_the_call_returns() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    deferred.resolve(1);
    deferred.promise().done(trace.note("done"));
    trace.add("returned");
    assert_eq!(trace.take(), ["done 1", "returned"]);
}

#[test]
fn a_handler_of_then_always_runs_in_a_later_turn() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let inside = trace.clone();
    deferred.resolve(1);
    let _next = deferred.promise().then(move |n| {
        inside.add(format!("then {n}"));
        Ok(n)
    });
    trace.add("returned");
    assert_eq!(host.turn(), 1);
    assert_eq!(trace.take(), ["returned", "then 1"]);
}

#[test]
fn handlers_are_scheduled_before_callbacks_run() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let later = trace.clone();
    deferred.promise().done({
        let (trace, host) = (trace.clone(), host.clone());
        move |_| {
            trace.add("done");
            host.call(move || later.add("scheduled by done")).unwrap();
        }
    });
    let inside = trace.clone();
    let _next = deferred.promise().then(move |n| {
        inside.add("then");
        Ok(n)
    });
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["done", "then", "scheduled by done"]);
}

#[test]
fn a_callback_that_is_added_by_a_callback_runs_in_the_same_pass_behind_the_others() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let (promise, inside) = (deferred.promise(), trace.clone());
    deferred.promise().done(move |_| {
        inside.add("first begins");
        promise.done(inside.note("added"));
        inside.add("first ends");
    });
    deferred.promise().done(trace.note("second"));
    deferred.resolve(1);
    assert_eq!(trace.take(), ["first begins", "first ends", "second 1", "added 1"]);
}

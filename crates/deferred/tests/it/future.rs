//! Promises and futures: awaiting promises, and making promises of futures.

use std::pin::pin;
use std::task::{Context, Poll};

use picot_context::{Host, ManualHost};
use picot_deferred::{Promise, Rejection, State};
use picot_testkit::WakeCount;

use crate::trace::{Deferred, Trace};

#[test]
fn awaiting_returns_the_outcome_and_a_settled_promise_does_not_suspend() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let (promise, inside) = (deferred.promise(), trace.clone());
    let task = async move {
        inside.add(promise.clone().await);
        inside.add(promise.await);
    };
    host.spawn(std::panic::Location::caller(), Box::pin(task)).unwrap();
    host.run_until_stalled();
    assert!(trace.take().is_empty());
    deferred.resolve(1);
    assert_eq!(host.run_until_stalled(), 1, "one step for both");
    assert_eq!(trace.take(), ["Ok(1)", "Ok(1)"]);
}

#[test]
fn every_waiter_is_woken_once_and_a_dropped_one_is_not() {
    let (_host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let counts: Vec<_> = (0..3).map(|_| WakeCount::default()).collect();
    let wakers: Vec<_> = counts.iter().map(WakeCount::waker).collect();
    let mut first = pin!(deferred.promise().into_future());
    let mut second = Box::pin(deferred.promise().into_future());
    let mut third = pin!(deferred.promise().into_future());
    for (future, waker) in [first.as_mut(), second.as_mut(), third.as_mut()].into_iter().zip(&wakers) {
        assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
    }
    assert!(third.as_mut().poll(&mut Context::from_waker(&wakers[2])).is_pending());
    drop(second);
    deferred.reject("no");
    let woken: Vec<_> = counts.iter().map(WakeCount::get).collect();
    assert_eq!(woken, [1, 0, 1]);
    let outcome = first.as_mut().poll(&mut Context::from_waker(&wakers[0]));
    assert_eq!(outcome, Poll::Ready(Err(Rejection::from("no"))));
}

#[test]
fn a_future_settles_its_promise_by_its_result() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    Promise::<_, ()>::spawn(async { Ok(1) }).done(trace.note("done"));
    Promise::<(), _>::spawn(async { Err("no") }).fail(trace.note("fail"));
    assert!(trace.take().is_empty());
    host.run_until_stalled();
    assert_eq!(trace.take(), ["done 1", "fail Error(no)"]);
}

#[test]
fn a_future_that_panics_rejects_its_promise_and_is_reported() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let promise = Promise::<i32, ()>::spawn(async { std::panic::resume_unwind(Box::new("boom")) });
    promise.fail(trace.note("fail"));
    host.run_until_stalled();
    assert_eq!(trace.take(), ["fail Panicked"]);
    let reports = host.take_reports();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].to_string().contains("\"boom\""), "{}", reports[0]);
}

#[test]
fn a_future_that_a_closed_host_drops_abandons_its_promise() {
    let (host, _guard) = ManualHost::installed();
    let promise = Promise::<i32, ()>::spawn(std::future::pending());
    assert_eq!(promise.state(), State::Pending);
    host.close();
    assert_eq!(promise.state(), State::Rejected);
    assert_eq!(Promise::<i32, ()>::spawn(async { Ok(1) }).state(), State::Rejected);
}

//! Settling from another thread: the outcome is delivered on the host's thread, and is never lost
//! silently.

use std::sync::mpsc;
use std::thread;

use picot_context::ManualHost;
use picot_deferred::{Rejection, State};

use crate::trace::{Deferred, Trace};

#[test]
fn the_host_delivers_outcomes_of_other_threads() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let (one, other) = (Deferred::new(), Deferred::new());
    one.promise().done(trace.note("done"));
    other.promise().fail(trace.note("fail"));
    let (resolves, rejects) = (one.resolver(), other.resolver());
    drop((one, other));
    host.run_until_stalled();
    thread::spawn(move || {
        resolves.resolve(1).unwrap();
        rejects.reject("no").unwrap();
    })
    .join()
    .unwrap();
    assert!(trace.take().is_empty(), "nothing runs on the other thread");
    assert_eq!(host.run_until_stalled(), 2);
    assert_eq!(trace.take(), ["done 1", "fail Error(no)"]);
}

#[test]
fn an_outcome_can_be_sent_before_the_host_runs() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let resolver = deferred.resolver();
    thread::spawn(move || resolver.resolve(1)).join().unwrap().unwrap();
    assert_eq!(deferred.state(), State::Pending);
    host.run_until_stalled();
    assert_eq!(deferred.promise().outcome(), Some(Ok(&1)));
}

#[test]
fn a_resolver_dropped_on_another_thread_abandons() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let (promise, resolver) = (deferred.promise(), deferred.resolver());
    drop(deferred);
    host.run_until_stalled();
    assert_eq!(promise.state(), State::Pending, "the resolver counts as a deferred");
    thread::spawn(move || drop(resolver)).join().unwrap();
    host.run_until_stalled();
    assert_eq!(promise.outcome(), Some(Err(&Rejection::Abandoned)));
}

#[test]
fn a_late_value_is_returned() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let (late, later) = (deferred.resolver(), deferred.resolver());
    host.run_until_stalled();
    assert!(!late.is_closed());
    deferred.promise().cancel();
    host.run_until_stalled();
    assert!(late.is_closed());
    assert_eq!(late.resolve(1), Err(1));
    assert_eq!(later.reject("no"), Err("no"));
    assert_eq!(Deferred::new().resolver().resolve(2), Ok(()), "the host has not run yet");
}

/// The promise is cancelled after the other thread has sent its value and before the delivery.
#[test]
fn a_promise_that_is_cancelled_before_the_delivery_stays_cancelled() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let deferred = picot_deferred::Deferred::<std::sync::Arc<()>, ()>::new();
    let (promise, resolver, value) = (deferred.promise(), deferred.resolver(), std::sync::Arc::new(()));
    let inside = trace.clone();
    promise.always(move |outcome| inside.add(outcome.is_err()));
    host.run_until_stalled();
    let sent = value.clone();
    assert!(thread::spawn(move || resolver.resolve(sent).is_ok()).join().unwrap());
    assert!(promise.cancel());
    host.run_until_stalled();
    assert_eq!((promise.state(), trace.take()), (State::Rejected, vec!["true".to_string()]));
    assert_eq!(std::sync::Arc::strong_count(&value), 1, "the value is dropped");

    let deferred = Deferred::new();
    let resolver = deferred.resolver();
    thread::spawn(move || resolver.resolve(1)).join().unwrap().unwrap();
    host.run_until_stalled();
    assert!(!deferred.promise().cancel(), "delivered before: it keeps its value");
    assert_eq!(deferred.promise().outcome(), Some(Ok(&1)));
}

#[test]
fn a_value_for_a_closed_host_is_returned_and_a_sent_one_is_dropped_there() {
    let (host, _guard) = ManualHost::installed();
    let deferred = picot_deferred::Deferred::<std::sync::Arc<()>, ()>::new();
    let value = std::sync::Arc::new(());
    let (sent, waiting) = (deferred.resolver(), deferred.resolver());
    sent.resolve(value.clone()).unwrap();
    host.close();
    assert_eq!(std::sync::Arc::strong_count(&value), 1);
    assert!(waiting.resolve(value.clone()).is_err());
    assert!(deferred.resolver().resolve(value).is_err());
}

#[test]
fn many_threads_settle_in_the_order_of_their_sends() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let (sender, receiver) = mpsc::channel();
    for n in 0..8 {
        let deferred = Deferred::new();
        deferred.promise().done(trace.note("done"));
        sender.send((n, deferred.resolver())).unwrap();
    }
    host.run_until_stalled();
    drop(sender);
    thread::spawn(move || receiver.into_iter().for_each(|(n, resolver)| resolver.resolve(n).unwrap())).join().unwrap();
    host.run_until_stalled();
    assert_eq!(trace.take(), (0..8).map(|n| format!("done {n}")).collect::<Vec<_>>());
}

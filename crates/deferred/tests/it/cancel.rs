//! Cancelling by a call, or because nothing waits any more.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use picot_context::ManualHost;
use picot_deferred::{Promise, Rejection, State, when, when_all, when_race};

use crate::trace::{Deferred, Trace};

/// A deferred that records its cancelling.
fn watched(trace: &Trace, name: &'static str) -> Deferred {
    let (deferred, inside) = (Deferred::new(), trace.clone());
    deferred.on_cancel(move |_| inside.add(format!("cancel {name}")));
    deferred
}

#[test]
fn cancel_returns_true_while_pending_and_false_afterwards() {
    let (_host, _guard) = ManualHost::installed();
    let (trace, deferred) = (Trace::default(), Deferred::new());
    let promise = deferred.promise();
    promise.always(trace.outcome("always"));
    assert!(promise.cancel());
    assert!(!promise.cancel());
    assert!(!deferred.resolve(1));
    assert_eq!(promise.outcome(), Some(Err(&Rejection::Cancelled)));
    assert_eq!(trace.take(), ["always Err(Cancelled)"]);

    deferred.promise().then(Ok).fail(trace.note("late reader"));
    let finished = Deferred::new();
    finished.resolve(1);
    assert!(!finished.promise().cancel());
    assert_eq!(finished.promise().outcome(), Some(Ok(&1)));
}

#[test]
fn an_await_returns_the_cancel() {
    let (_host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let mut waiting = pin!(deferred.promise().into_future());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    deferred.promise().cancel();
    assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(Err(Rejection::Cancelled)));
}

#[test]
fn the_canceller_runs_once_before_the_rejection_and_can_settle() {
    let (_host, _guard) = ManualHost::installed();
    let (trace, deferred) = (Trace::default(), Deferred::new());
    let inside = trace.clone();
    deferred.on_cancel(move |deferred| {
        inside.add(deferred.state());
        deferred.resolve(7);
    });
    let promise = deferred.promise();
    promise.always(trace.outcome("always"));
    assert!(promise.cancel());
    assert!(!promise.cancel());
    assert_eq!(trace.take(), ["Pending", "always Ok(7)"]);
}

#[test]
fn a_canceller_that_panics_is_reported_and_the_promise_is_cancelled() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    deferred.on_cancel(|_| std::panic::resume_unwind(Box::new("boom")));
    let promise = deferred.promise();
    assert!(promise.cancel());
    assert_eq!(promise.outcome(), Some(Err(&Rejection::Cancelled)));
    assert_eq!(host.take_reports().len(), 1);
}

#[test]
fn settling_drops_the_canceller_and_a_second_canceller_replaces_the_first() {
    let (_host, _guard) = ManualHost::installed();
    let held = Rc::new(());
    let hold = || {
        let held = held.clone();
        move |_: &Deferred| drop(held)
    };
    let deferred = Deferred::new();
    deferred.on_cancel(hold());
    deferred.on_cancel(hold());
    assert_eq!(Rc::strong_count(&held), 2);
    deferred.resolve(1);
    assert_eq!(Rc::strong_count(&held), 1);
    deferred.on_cancel(hold());
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn dropping_the_last_promise_cancels_if_there_is_a_canceller() {
    let (_host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let deferred = watched(&trace, "it");
    let (one, other) = (deferred.promise(), deferred.promise());
    drop(one);
    assert_eq!(deferred.state(), State::Pending);
    drop(other.into_future());
    assert_eq!(trace.take(), ["cancel it"], "a pending future counts as a promise");
    assert_eq!(deferred.state(), State::Rejected);

    let plain = Deferred::new();
    drop(plain.promise());
    assert_eq!(plain.state(), State::Pending, "without a canceller nothing stops");
}

#[test]
fn callbacks_and_handlers_count_as_waiters() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let (one, other, third) = (watched(&trace, "one"), watched(&trace, "other"), watched(&trace, "third"));
    one.promise().done(trace.note("done"));
    drop(other.promise().then(Ok));
    third.promise().on_settled(|_| {});
    assert!(trace.take().is_empty());
    one.resolve(1);
    assert_eq!(trace.take(), ["done 1"]);
    drop((one, other, third));
    host.run_until_stalled();
}

#[test]
fn a_handler_whose_promise_was_cancelled_never_runs() {
    let (host, _guard) = ManualHost::installed();
    let (trace, deferred) = (Trace::default(), Deferred::new());
    let note = |name| {
        let trace = trace.clone();
        move |n| {
            trace.add(name);
            Ok(n)
        }
    };
    let (before, after) = (deferred.promise().then(note("before")), deferred.promise().then(note("after")));
    let kept = deferred.promise().then(note("kept"));
    assert!(before.cancel());
    deferred.resolve(1);
    assert!(after.cancel(), "its handler is scheduled, and has not run");
    host.run_until_stalled();
    assert_eq!(trace.take(), ["kept"]);
    assert_eq!(kept.outcome(), Some(Ok(&1)));
}

#[test]
fn a_cancel_travels_up_the_chain_as_long_as_nothing_else_waits() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let deferred = watched(&trace, "work");
    let middle = deferred.promise().then(|n| Ok(n + 1));
    let last = middle.then(|n| Ok(n + 1));
    assert!(last.cancel());
    assert!(trace.take().is_empty(), "the promise in the middle is held");
    let other = middle.then(|n| Ok(n + 1));
    drop(middle);
    assert!(other.cancel());
    assert_eq!(trace.take(), ["cancel work"]);
    assert_eq!(deferred.state(), State::Rejected);
    host.run_until_stalled();
}

#[test]
fn a_cancel_reaches_the_adopted_promise() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let inner = watched(&trace, "inner");
    let promise = inner.promise();
    let outer = Promise::settled(Ok(1)).then(move |_| promise);
    host.run_until_stalled();
    assert_eq!(outer.state(), State::Pending);
    assert!(outer.cancel());
    assert_eq!(trace.take(), ["cancel inner"]);
}

#[test]
fn the_future_of_a_spawned_promise_is_dropped_at_its_next_step() {
    struct Dropped(Rc<Cell<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let (host, _guard) = ManualHost::installed();
    let is_dropped = Rc::new(Cell::new(false));
    let (dropped, polls) = (Dropped(is_dropped.clone()), Rc::new(Cell::new(0)));
    let counted = polls.clone();
    let promise = Promise::<(), ()>::spawn(std::future::poll_fn(move |_| {
        let _dropped = &dropped;
        counted.set(counted.get() + 1);
        Poll::Pending
    }));
    host.run_until_stalled();
    assert!(promise.cancel());
    assert!(!is_dropped.get(), "never inside of cancel");
    assert_eq!(promise.outcome(), Some(Err(&Rejection::Cancelled)));
    assert_eq!(host.run_until_stalled(), 1);
    assert!(is_dropped.get());
    assert_eq!(polls.get(), 1, "it is not polled again");

    let trace = Trace::default();
    let inside = trace.clone();
    drop(Promise::<(), ()>::spawn(async move {
        inside.add("ran");
        Ok(())
    }));
    host.run_until_stalled();
    assert_eq!(trace.take(), ["ran"], "a dropped promise lets its future continue");
}

#[test]
fn a_future_that_cancels_itself_ends() {
    let (host, _guard) = ManualHost::installed();
    let own = Rc::new(std::cell::RefCell::new(None::<Promise<(), ()>>));
    let (inside, held) = (own.clone(), Rc::new(()));
    let inner = held.clone();
    let promise = Promise::spawn(async move {
        let _inner = inner;
        inside.borrow().as_ref().unwrap().cancel();
        std::future::pending().await
    });
    own.replace(Some(promise));
    host.run_until_stalled();
    assert_eq!(Rc::strong_count(&held), 1);
    own.take();
}

#[test]
fn cancelling_a_group_cancels_the_members_that_nothing_else_waits_for() {
    let (_host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let (one, other) = (watched(&trace, "one"), watched(&trace, "other"));
    let kept = other.promise();
    let group = when_all([one.promise().then(Ok), other.promise()]);
    assert!(group.cancel());
    assert_eq!(trace.take(), ["cancel one"]);
    assert_eq!(kept.state(), State::Pending);

    let third = watched(&trace, "third");
    assert!(when((kept, third.promise())).cancel());
    assert_eq!(trace.take(), ["cancel other", "cancel third"]);
}

#[test]
fn a_race_cancels_the_losers_with_a_canceller() {
    let (_host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let (winner, loser, kept) = (watched(&trace, "winner"), watched(&trace, "loser"), watched(&trace, "kept"));
    let held = kept.promise();
    when_race([winner.promise(), loser.promise(), kept.promise()]).done(trace.note("race"));
    winner.resolve(1);
    assert_eq!(trace.take(), ["race 1", "cancel loser"]);
    assert_eq!(held.state(), State::Pending);
}

#[test]
fn a_canceller_of_a_loser_cannot_take_the_outcome_from_the_race() {
    let (_host, _guard) = ManualHost::installed();
    let own = Rc::new(std::cell::RefCell::new(None::<Promise<i32, &'static str>>));
    let (winner, loser, inside) = (Deferred::new(), Deferred::new(), own.clone());
    loser.on_cancel(move |_| assert!(!inside.take().unwrap().cancel()));
    let race = when_race([winner.promise(), loser.promise()]);
    own.replace(Some(race.clone()));
    winner.resolve(1);
    assert_eq!(race.outcome(), Some(Ok(&1)));
    assert!(own.take().is_none(), "the canceller ran");
}

#[test]
fn cancelling_a_long_chain_uses_no_stack() {
    let (_host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let deferred = watched(&trace, "work");
    let mut promise = deferred.promise();
    for _ in 0..if cfg!(miri) { 200 } else { 100_000 } {
        promise = promise.then(Ok);
    }
    assert!(promise.cancel());
    assert_eq!(trace.take(), ["cancel work"]);
}

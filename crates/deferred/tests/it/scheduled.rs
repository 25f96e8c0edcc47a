//! asyncio's callbacks: always scheduled, in order, removable.

use picot_context::ManualHost;

use crate::trace::{Deferred, Trace};

#[test]
fn settling_runs_no_callback_inline_and_they_run_next_turn_in_order() {
    let (host, _guard) = ManualHost::installed();
    for settle in [|deferred: &Deferred| deferred.resolve(1), |deferred: &Deferred| deferred.reject("no")] {
        let (deferred, trace) = (Deferred::new(), Trace::default());
        let promise = deferred.promise();
        promise.on_settled(trace.outcome("first"));
        promise.on_settled(trace.outcome("second"));
        assert!(settle(&deferred));
        assert!(trace.take().is_empty());
        assert_eq!(host.turn(), 2);
        let outcome = if promise.outcome().unwrap().is_ok() { "Ok(1)" } else { "Err(Error(no))" };
        assert_eq!(trace.take(), [format!("first {outcome}"), format!("second {outcome}")]);
    }
}

#[test]
fn a_callback_on_a_settled_promise_is_scheduled_too() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    deferred.resolve(1);
    deferred.promise().on_settled(trace.outcome("late"));
    assert!(trace.take().is_empty());
    assert_eq!(host.turn(), 1);
    assert_eq!(trace.take(), ["late Ok(1)"]);
}

#[test]
fn scheduled_callbacks_are_in_one_order_with_then() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    let inside = trace.clone();
    promise.on_settled(trace.outcome("first"));
    let _next = promise.then(move |n| {
        inside.add("then");
        Ok(n)
    });
    promise.on_settled(trace.outcome("last"));
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["first Ok(1)", "then", "last Ok(1)"]);
}

#[test]
fn remove_returns_how_many_callbacks_there_were() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    let mut six: Vec<_> = (0..6).map(|_| promise.on_settled(trace.outcome("removed"))).collect();
    let one = promise.on_settled(trace.outcome("one"));
    promise.on_settled(trace.outcome("kept"));
    six.rotate_left(3);
    assert_eq!(promise.remove(six.iter().copied()), 6);
    assert_eq!(promise.remove([one]), 1);
    assert_eq!(promise.remove(six.into_iter().chain([one])), 0);
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["kept Ok(1)"]);
}

#[test]
fn a_scheduled_callback_and_one_of_another_promise_cannot_be_removed() {
    let (host, _guard) = ManualHost::installed();
    let (one, other, trace) = (Deferred::new(), Deferred::new(), Trace::default());
    let id = one.promise().on_settled(trace.outcome("one"));
    other.promise().on_settled(trace.outcome("other"));
    assert_eq!(other.promise().remove([id]), 0, "the number is the same, the promise is not");
    one.resolve(1);
    other.resolve(2);
    assert_eq!(one.promise().remove([id]), 0);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["one Ok(1)", "other Ok(2)"]);
}

#[test]
fn removing_a_callback_drops_its_captures_which_can_use_the_promise() {
    struct Adds(picot_deferred::Promise<i32, &'static str>, Trace);
    impl Drop for Adds {
        fn drop(&mut self) {
            self.0.done(self.1.note("added by a destructor"));
        }
    }
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    let adds = Adds(promise.clone(), trace.clone());
    let id = promise.on_settled(move |_| drop(adds));
    assert_eq!(promise.remove([id]), 1);
    deferred.resolve(1);
    assert_eq!(trace.take(), ["added by a destructor 1"]);
}

#[test]
fn a_panicking_scheduled_callback_is_reported_and_the_others_run() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    promise.on_settled(|_| std::panic::resume_unwind(Box::new("boom")));
    promise.on_settled(trace.outcome("second"));
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["second Ok(1)"]);
    let reports = host.take_reports();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].to_string().contains("scheduled.rs:"), "{}", reports[0]);
}

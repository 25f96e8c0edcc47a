//! A callback that panics is reported with its place, and keeps no other from running.

use picot_context::ManualHost;

use crate::trace::{Deferred, Trace};

fn boom(_: &i32) {
    std::panic::resume_unwind(Box::new("boom"));
}

#[test]
fn a_panicking_callback_keeps_neither_callbacks_nor_handlers_from_running() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    promise.done(trace.note("first")).done(boom).done(trace.note("second"));
    let inside = trace.clone();
    let _next = promise.then(move |n| {
        inside.add("then");
        Ok(n)
    });
    assert!(deferred.resolve(1));
    promise.done(trace.note("late"));
    host.run_until_stalled();
    assert_eq!(trace.take(), ["first 1", "second 1", "late 1", "then"]);
    let reports = host.take_reports();
    assert_eq!(reports.len(), 1);
    let text = reports[0].to_string();
    assert!(text.starts_with("a promise's callback from ") && text.contains("panics.rs:"), "{text}");
}

#[test]
fn a_panicking_handler_rejects_the_next_promise() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let next = deferred.promise().then(|n| {
        boom(&n);
        Ok(n)
    });
    next.fail(trace.note("fail"));
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["fail Panicked"]);
    assert_eq!(host.take_reports().len(), 1);
}

#[test]
fn a_panicking_progress_callback_keeps_no_other_from_running() {
    let (host, _guard) = ManualHost::installed();
    let deferred = picot_deferred::Deferred::<(), (), i32>::with_progress();
    let trace = Trace::default();
    let inside = trace.clone();
    deferred.promise().progress(boom).progress(move |n| inside.add(n));
    deferred.notify(1);
    deferred.notify(2);
    assert_eq!(trace.take(), ["1", "2"]);
    assert_eq!(host.take_reports().len(), 2);
}

//! A callback that panics is reported with its source location, and the others still run.

use picot_context::ManualHost;

use crate::trace::{Deferred, Trace};

fn boom(_: &i32) {
    std::panic::resume_unwind(Box::new("boom"));
}

#[test]
fn other_callbacks_and_handlers_run_after_a_panicking_callback() {
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
fn other_progress_callbacks_run_after_a_panicking_one() {
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

#[test]
fn a_value_that_panics_in_its_drop_is_reported_wherever_its_last_handle_is_dropped() {
    #[derive(Debug)]
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("in drop"));
        }
    }
    type Armed = picot_deferred::Deferred<std::rc::Rc<Bomb>, std::rc::Rc<Bomb>>;
    type Go = fn(Armed);
    let go: [(&str, Go); 6] = [
        ("the promise", |deferred| {
            let promise = deferred.promise();
            deferred.resolve(Bomb.into());
            drop(deferred);
            drop(promise);
        }),
        ("the deferred", |deferred| _ = deferred.resolve(Bomb.into())),
        ("a rejection", |deferred| {
            deferred.promise().fail(|_| {});
            deferred.reject(Bomb.into());
        }),
        ("a callback removed", |deferred| {
            let bomb = Bomb;
            let id = deferred.promise().on_settled(move |_| drop(bomb));
            assert_eq!(deferred.promise().remove([id]), 1);
            deferred.promise().cancel();
        }),
        ("a chain cancelled", |deferred| {
            let bomb = Bomb;
            let next = deferred.promise().then(move |_| {
                drop(bomb);
                Ok(())
            });
            assert!(next.cancel());
        }),
        ("a canceller", |deferred| {
            let bomb = Bomb;
            deferred.on_cancel(move |_| drop(bomb));
            deferred.promise().cancel();
        }),
    ];
    for (name, go) in go {
        let (host, _guard) = ManualHost::installed();
        go(Armed::new());
        host.run_until_stalled();
        assert_eq!(host.take_reports().len(), 1, "{name}");
    }
}

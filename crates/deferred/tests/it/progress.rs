//! Notifications: in order, until the settling, with memory.

use std::cell::Cell;
use std::rc::Rc;

use picot_context::ManualHost;
use picot_deferred::State;

use crate::trace::Trace;

type Deferred = picot_deferred::Deferred<(), (), i32>;

fn listen(trace: &Trace, name: &'static str) -> impl FnMut(&i32) + 'static {
    let trace = trace.clone();
    move |n| trace.add(format!("{name} {n}"))
}

#[test]
fn notifications_come_in_order_until_it_is_settled() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::with_progress(), Trace::default());
    deferred.promise().progress(listen(&trace, "a")).progress(listen(&trace, "b"));
    assert!(deferred.notify(1));
    assert!(deferred.notify(2));
    assert_eq!(deferred.state(), State::Pending, "a notification settles nothing");
    deferred.resolve(());
    assert!(!deferred.notify(3));
    assert_eq!(trace.take(), ["a 1", "b 1", "a 2", "b 2"]);

    let rejects: [fn(&Deferred); 2] = [|deferred| _ = deferred.reject(()), |deferred| _ = deferred.promise().cancel()];
    for reject in rejects {
        let deferred = Deferred::with_progress();
        deferred.promise().progress(listen(&trace, "c")).fail(|_| {});
        assert!(deferred.notify(1));
        reject(&deferred);
        assert!(!deferred.notify(2));
        deferred.promise().progress(listen(&trace, "late"));
        assert_eq!(trace.take(), ["c 1", "late 1"]);
    }
}

#[test]
fn a_callback_that_is_added_late_gets_the_last_notification_also_after_the_settling() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::with_progress(), Trace::default());
    deferred.promise().progress(listen(&trace, "early"));
    deferred.notify(1);
    deferred.notify(2);
    deferred.promise().progress(listen(&trace, "late"));
    deferred.resolve(());
    deferred.promise().progress(listen(&trace, "very late"));
    assert_eq!(trace.take(), ["early 1", "early 2", "late 2", "very late 2"]);
}

#[test]
fn a_notification_by_a_callback_waits_until_the_others_received_the_previous_one() {
    let (_host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Rc::new(Deferred::with_progress()), Trace::default());
    let (inside, same) = (trace.clone(), deferred.clone());
    deferred.promise().progress(move |n| {
        inside.add(format!("a {n}"));
        if *n < 2 {
            same.notify(n + 1);
        }
    });
    deferred.promise().progress(listen(&trace, "b"));
    deferred.notify(1);
    assert_eq!(trace.take(), ["a 1", "b 1", "a 2", "b 2"]);
    deferred.resolve(());
}

#[test]
fn a_settling_by_a_callback_keeps_the_current_notification_and_drops_queued_ones() {
    type Settle = fn(&Deferred);
    let settle: [(&str, Settle); 4] = [
        ("done", |deferred| _ = deferred.resolve(())),
        ("fail", |deferred| _ = deferred.reject(())),
        ("fail", |deferred| _ = deferred.promise().cancel()),
        ("fail", |deferred| {
            deferred.notify(2);
            deferred.reject(());
            deferred.notify(3);
        }),
    ];
    for (end, settle) in settle {
        let (_host, _guard) = ManualHost::installed();
        let (deferred, trace) = (Rc::new(Deferred::with_progress()), Trace::default());
        let promise = deferred.promise();
        let (ends, ended) = (trace.clone(), end);
        promise.always(move |_| ends.add(ended));
        let (inside, same) = (trace.clone(), deferred.clone());
        promise.progress(move |n| {
            inside.add(format!("a {n}"));
            settle(&same);
            same.promise().progress(listen(&inside, "added"));
        });
        promise.progress(listen(&trace, "b"));
        deferred.notify(1);
        assert_eq!(trace.take(), ["a 1", end, "b 1", "added 1"]);
        promise.progress(listen(&trace, "late"));
        assert!(!deferred.notify(4));
        assert_eq!(trace.take(), ["late 1"]);
    }
}

#[test]
fn a_callback_added_during_a_late_call_gets_the_same_notification_after_it() {
    for is_settled in [false, true] {
        let (_host, _guard) = ManualHost::installed();
        let (deferred, trace) = (Deferred::with_progress(), Trace::default());
        deferred.notify(1);
        if is_settled {
            deferred.resolve(());
        }
        let (inside, promise) = (trace.clone(), deferred.promise());
        deferred.promise().progress(move |n| {
            promise.progress(listen(&inside, "second"));
            inside.add(format!("first {n}"));
        });
        assert_eq!(trace.take(), ["first 1", "second 1"], "settled: {is_settled}");
    }
}

#[test]
fn callbacks_are_dropped_at_the_settling_also_from_inside_of_one() {
    for is_inside in [false, true] {
        let (_host, _guard) = ManualHost::installed();
        let (deferred, held) = (Deferred::with_progress(), Rc::new(()));
        let (same, kept) = (deferred.clone(), held.clone());
        deferred.promise().progress(move |_| {
            let _kept = &kept;
            if is_inside {
                same.resolve(());
            }
        });
        deferred.notify(1);
        deferred.resolve(());
        assert_eq!(Rc::strong_count(&held), 1, "inside: {is_inside}");
    }
}

#[test]
fn a_value_or_callback_that_panics_in_its_drop_is_contained() {
    struct Fragile(i32, Rc<Cell<u32>>);
    impl Drop for Fragile {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            std::panic::resume_unwind(Box::new("in drop"));
        }
    }
    let (host, _guard) = ManualHost::installed();
    let (trace, drops) = (Trace::default(), Rc::new(Cell::new(0)));
    let deferred = picot_deferred::Deferred::<(), (), Fragile>::with_progress();
    let (inside, same, count) = (trace.clone(), deferred.clone(), drops.clone());
    let captured = Fragile(0, drops.clone());
    deferred.promise().progress(move |value| {
        let _captured = &captured;
        inside.add(value.0);
        if value.0 == 3 {
            // The settling drops these before they were sent.
            same.notify(Fragile(4, count.clone()));
            same.notify(Fragile(5, count.clone()));
            same.resolve(());
        }
    });
    for n in 1..4 {
        deferred.notify(Fragile(n, drops.clone()));
    }
    assert_eq!(trace.take(), ["1", "2", "3"]);
    assert_eq!((drops.get(), host.take_reports().len()), (5, 5), "two sent, two unsent, one callback");
    drop(deferred);
    assert_eq!((drops.get(), host.take_reports().len()), (6, 1), "the last one was remembered");
}

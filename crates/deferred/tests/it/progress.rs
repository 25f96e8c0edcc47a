//! Notifications: in order, until the settling, with memory.

use std::rc::Rc;

use picot_context::ManualHost;

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
    deferred.resolve(());
    assert!(!deferred.notify(3));
    assert_eq!(trace.take(), ["a 1", "b 1", "a 2", "b 2"]);
}

#[test]
fn whoever_comes_late_gets_the_last_one_also_after_the_settling() {
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
fn a_notification_by_a_callback_waits_until_the_others_have_had_the_one_before() {
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

//! An unhandled rejection is reported in the next turn, once, with the source location where the
//! promise was made.

use std::panic::Location;
use std::pin::pin;
use std::task::{Context, Waker};

use picot_context::{Cause, Host, Kind, ManualHost};
use picot_deferred::{Promise, when, when_all, when_any, when_race, when_settled};

use crate::trace::{Deferred, Trace};

/// The line of each report, which must be of a rejection, in this file, with this reason.
fn lines(host: &ManualHost, reason: &str) -> Vec<u32> {
    let line = |report: picot_context::Report| {
        assert_eq!(report.origin.kind, Kind::Rejection);
        assert!(matches!(&report.cause, Cause::Unhandled(found) if **found == *reason), "{report}");
        let place = report.origin.place.unwrap();
        assert!(place.file().ends_with("unhandled.rs"), "{report}");
        place.line()
    };
    host.take_reports().into_iter().map(line).collect()
}

#[test]
fn an_unhandled_rejection_is_reported_once_in_the_next_turn_with_the_place_of_its_promise() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let made = line!() - 1;
    deferred.promise().done(|_| unreachable!());
    deferred.reject("no");
    assert!(host.take_reports().is_empty());
    assert_eq!(host.turn(), 1);
    assert_eq!(lines(&host, "no"), [made]);
    host.run_until_stalled();
    drop(deferred);
    assert!(host.take_reports().is_empty());
}

#[test]
fn a_rejection_handled_before_or_in_the_same_turn_is_not_reported() {
    let (host, _guard) = ManualHost::installed();
    let handle: [fn(&Promise<i32, &'static str>); 7] = [
        |promise| _ = promise.fail(|_| {}),
        |promise| _ = promise.always(|_| {}),
        |promise| _ = promise.catch(|_| Ok(1)),
        |promise| _ = promise.on_settled(|_| {}),
        |promise| std::mem::forget(promise.clone().into_future()),
        |promise| _ = promise.finally(|| Ok(())).fail(|_| {}),
        |promise| _ = when_all([promise.clone()]).fail(|_| {}),
    ];
    for handle in handle {
        let deferred = Deferred::new();
        handle(&deferred.promise());
        deferred.reject("no");
        let deferred = Deferred::new();
        deferred.reject("no");
        handle(&deferred.promise());
    }
    let deferred = Deferred::new();
    deferred.reject("no");
    assert!(deferred.promise().outcome().unwrap().is_err(), "reading the outcome handles it");
    host.run_until_stalled();
    assert!(host.take_reports().is_empty());
}

#[test]
fn a_rejection_handled_late_is_not_reported_again() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    deferred.reject("no");
    host.run_until_stalled();
    assert_eq!(host.take_reports().len(), 1);
    promise.fail(trace.note("late"));
    let _next = promise.then(Ok).finally(|| Ok(())).then(Ok);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["late Error(no)"]);
    assert!(host.take_reports().is_empty());
    let _new = promise.catch(|_| Err("another"));
    let made = line!() - 1;
    host.run_until_stalled();
    assert_eq!(lines(&host, "another"), [made]);
}

#[test]
fn a_chain_reports_at_its_last_promise() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let next = deferred.promise().then(Ok);
    let _last = next.then(Ok);
    let made = line!() - 1;
    deferred.reject("no");
    host.run_until_stalled();
    assert_eq!(lines(&host, "no"), [made]);
}

#[test]
fn a_group_handles_the_rejections_of_its_members() {
    let (host, _guard) = ManualHost::installed();
    let (a, b, c) = (Deferred::new(), Deferred::new(), Deferred::new());
    let _group = when_all([a.promise(), b.promise(), c.promise()]);
    let made = line!() - 1;
    b.reject("no");
    a.reject("another");
    c.reject("a third");
    host.run_until_stalled();
    assert_eq!(lines(&host, "no"), [made]);
}

#[test]
fn a_future_that_fails_without_a_promise_left_is_reported() {
    let (host, _guard) = ManualHost::installed();
    drop(Promise::<(), String>::spawn(async { Err("no".into()) }));
    let made = line!() - 1;
    host.run_until_stalled();
    assert_eq!(lines(&host, "no"), [made]);
}

#[test]
fn cancels_panics_and_unpromised_deferreds_are_not_reported_as_rejections() {
    let (host, _guard) = ManualHost::installed();
    drop(Deferred::new());
    let cancelled = Deferred::new();
    cancelled.promise().cancel();
    Deferred::new().reject("in time, and then handled").then_some(()).unwrap();
    let reports = |host: &ManualHost| {
        host.run_until_stalled();
        host.take_reports().len()
    };
    assert_eq!(reports(&host), 1, "only the error is lost");
    let _panicked =
        Promise::<i32, ()>::settled(Ok(1)).then(|_| -> Result<(), ()> { std::panic::resume_unwind(Box::new("boom")) });
    assert_eq!(reports(&host), 1, "the panic, and not the rejection as well");
}

#[test]
fn an_abandoned_promise_is_reported_if_a_promise_was_made() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let made = line!() - 1;
    let _promise = deferred.promise();
    drop(deferred);
    host.run_until_stalled();
    assert_eq!(lines(&host, "this promise was abandoned: its deferred was dropped unsettled"), [made]);
}

#[test]
fn an_error_without_display_is_named_by_its_type() {
    struct Odd;
    let (host, _guard) = ManualHost::installed();
    picot_deferred::Deferred::<(), Odd>::new().reject(Odd);
    picot_deferred::Deferred::<(), std::io::Error>::new().reject(std::io::Error::other("disk"));
    picot_deferred::Deferred::<(), Box<dyn std::error::Error>>::new().reject("boxed".into());
    host.run_until_stalled();
    let texts: Vec<_> = host.take_reports().iter().map(ToString::to_string).collect();
    assert!(texts[0].starts_with("the promise from ") && texts[0].contains("Odd`"), "{}", texts[0]);
    assert!(texts[1].contains("(disk)") && texts[2].contains("(boxed)"), "{texts:?}");
    assert_eq!(texts.len(), 3);
}

#[test]
fn a_closed_host_reports_nothing() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let _next = deferred.promise().then(Ok);
    host.close();
    drop(deferred);
    assert!(host.run_later(Location::caller(), Box::new(|| {})).is_err());
    assert!(host.take_reports().is_empty());
}

type P = Promise<i32, &'static str>;

type Register = fn(&P);

/// Registrations that are removed before they have seen the rejection.
const REGISTERED_IN_VAIN: [(&str, Register); 14] = [
    ("only `done`", |promise| _ = promise.done(|_| {})),
    ("a callback removed", |promise| _ = promise.remove([promise.on_settled(|_| {})])),
    ("an await that never began", |promise| drop(promise.clone().into_future())),
    ("an await dropped", |promise| {
        let mut wait = pin!(promise.clone().into_future());
        if promise.state() == picot_deferred::State::Pending {
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    }),
    ("`then` cancelled", |promise| _ = promise.then(Ok).cancel()),
    ("`catch` cancelled", |promise| _ = promise.catch(|_| Ok(1)).cancel()),
    ("`finally` cancelled", |promise| _ = promise.finally(|| Ok(())).cancel()),
    ("`when` cancelled", |promise| _ = when((promise.clone(), Deferred::new().promise())).cancel()),
    ("`when_all` cancelled", |promise| _ = when_all([promise.clone(), pending()]).cancel()),
    ("`when_any` cancelled", |promise| _ = when_any([promise.clone(), pending()]).cancel()),
    ("`when_settled` cancelled", |promise| _ = when_settled([promise.clone(), pending()]).cancel()),
    ("`when_any` dropped", |promise| drop(when_any([promise.clone(), pending()]))),
    ("`when_settled` dropped", |promise| drop(when_settled([promise.clone(), pending()]))),
    ("an await of a group dropped", |promise| {
        drop(when_settled([promise.clone(), pending()]).into_future());
    }),
];

/// A promise that stays pending.
fn pending() -> P {
    let deferred = Deferred::new();
    let promise = deferred.promise();
    std::mem::forget(deferred);
    promise
}

#[test]
fn a_registration_that_is_removed_before_the_rejection_handles_nothing() {
    for (name, register) in REGISTERED_IN_VAIN {
        for is_rejected_before in [false, true] {
            // A scheduled callback cannot be removed, and a group that the rejection settles
            // answers for it.
            if is_rejected_before && matches!(name, "a callback removed" | "`when` cancelled" | "`when_all` cancelled")
            {
                continue;
            }
            let (host, _guard) = ManualHost::installed();
            let deferred = Deferred::new();
            let made = line!() - 1;
            let promise = deferred.promise();
            if is_rejected_before {
                deferred.reject("no");
            }
            register(&promise);
            if !is_rejected_before {
                host.run_until_stalled();
                deferred.reject("no");
            }
            host.run_until_stalled();
            assert_eq!(lines(&host, "no"), [made], "{name}, rejected before: {is_rejected_before}");
        }
    }
}

#[test]
fn a_removed_registration_beside_a_remaining_one_changes_nothing() {
    for (name, register) in REGISTERED_IN_VAIN {
        for is_rejected_before in [false, true] {
            let (host, _guard) = ManualHost::installed();
            let deferred = Deferred::new();
            let promise = deferred.promise();
            if is_rejected_before {
                deferred.reject("no");
            }
            let wait = promise.clone().into_future();
            register(&promise);
            deferred.reject("no");
            host.run_until_stalled();
            assert!(
                matches!(name, "`when` cancelled" | "`when_all` cancelled") || host.take_reports().is_empty(),
                "{name}: the await may still see it"
            );
            let mut wait = pin!(wait);
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
            host.take_reports();
            host.run_until_stalled();
            assert!(host.take_reports().is_empty(), "{name}");
        }
    }
}

#[test]
fn a_handler_that_is_cancelled_between_the_settling_and_its_turn_handles_nothing() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let made = line!() - 1;
    let promise = deferred.promise();
    let next = promise.then(Ok);
    deferred.reject("no");
    next.cancel();
    host.run_until_stalled();
    assert_eq!(lines(&host, "no"), [made]);

    // The same if an adopted promise is rejected.
    let inner = Deferred::new();
    let made = line!() - 1;
    let adopted = inner.promise();
    let outer = P::settled(Ok(1)).then(move |_| adopted);
    host.run_until_stalled();
    inner.reject("no");
    outer.cancel();
    host.run_until_stalled();
    assert_eq!(lines(&host, "no"), [made]);

    // And if `finally` waits to pass it on.
    let deferred = Deferred::new();
    let made = line!() - 1;
    let gate = picot_deferred::Deferred::<(), &'static str>::new();
    let open = gate.promise();
    let last = deferred.promise().finally(move || open);
    deferred.reject("no");
    host.run_until_stalled();
    assert!(host.take_reports().is_empty());
    last.cancel();
    host.run_until_stalled();
    assert_eq!(lines(&host, "no"), [made]);
}

#[test]
fn the_rejections_of_the_last_turn_are_reported_when_the_host_closes() {
    let register: [Register; 4] = [
        |_| {},
        |promise| _ = promise.then(Ok),
        |promise| _ = promise.finally(|| Ok(())),
        |promise| _ = promise.on_settled(|_| unreachable!("the host closes before its turn")),
    ];
    for (nth, register) in register.into_iter().enumerate() {
        for is_rejected_before in [false, true] {
            let (host, _guard) = ManualHost::installed();
            let deferred = Deferred::new();
            let made = line!() - 1;
            let promise = deferred.promise();
            if is_rejected_before {
                deferred.reject("no");
            }
            register(&promise);
            deferred.reject("no");
            host.close();
            assert_eq!(lines(&host, "no"), [made], "{nth}");
        }
    }
}

#[test]
fn a_group_answers_for_members_that_outlive_it_unless_a_promise_of_them_is_kept() {
    let (host, _guard) = ManualHost::installed();
    for is_kept in [false, true] {
        let (winner, loser) = (Deferred::new(), Deferred::new());
        let made = line!() - 1;
        let kept = is_kept.then(|| loser.promise());
        let race = when_race([winner.promise(), loser.promise()]);
        winner.resolve(1);
        loser.reject("no");
        host.run_until_stalled();
        assert_eq!(race.outcome(), Some(Ok(&1)));
        assert_eq!(lines(&host, "no"), Vec::from_iter(is_kept.then_some(made)), "kept: {is_kept}");
        drop(kept);
    }
}

#[test]
fn a_reported_rejection_is_still_returned_by_an_await() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let promise = deferred.promise();
    deferred.reject("no");
    host.run_until_stalled();
    assert_eq!(host.take_reports().len(), 1);
    let mut wait = pin!(promise.into_future());
    let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, std::task::Poll::Ready(Err(picot_deferred::Rejection::from("no"))));
    host.run_until_stalled();
    assert!(host.take_reports().is_empty());
}

#[test]
fn an_error_whose_display_panics_or_has_line_breaks_is_reported() {
    #[derive(Debug)]
    struct Evil;
    impl std::fmt::Display for Evil {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            std::panic::resume_unwind(Box::new("a bug in Display"))
        }
    }
    impl std::error::Error for Evil {}
    let (host, _guard) = ManualHost::installed();
    picot_deferred::Deferred::<(), std::io::Error>::new().reject(std::io::Error::other(Evil));
    picot_deferred::Deferred::<(), Box<dyn std::error::Error>>::new().reject(Box::new(Evil));
    picot_deferred::Deferred::<(), String>::new().reject("one\nforged\u{1b}[2J".into());
    host.run_until_stalled();
    let texts: Vec<_> = host.take_reports().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[..2].iter().all(|text| text.contains("a bug in Display")), "{texts:?}");
    assert!(texts[2].contains("(one\\nforged\\u{1b}[2J)"), "{}", texts[2]);
}

//! A rejection that nobody looks at is reported in the next turn, once, with the place where the promise was made.

use std::panic::Location;

use picot_context::{Cause, Host, Kind, ManualHost};
use picot_deferred::{Promise, when_all};

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
fn it_is_reported_in_the_next_turn_once_with_the_place_where_it_was_made() {
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
fn it_is_quiet_if_it_is_handled_before_or_in_the_same_turn() {
    let (host, _guard) = ManualHost::installed();
    let handle: [fn(&Promise<i32, &'static str>); 7] = [
        |promise| _ = promise.fail(|_| {}),
        |promise| _ = promise.always(|_| {}),
        |promise| _ = promise.catch(|_| Ok(1)),
        |promise| _ = promise.on_settled(|_| {}),
        |promise| _ = promise.clone().into_future(),
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
    assert!(deferred.promise().outcome().unwrap().is_err(), "to look at it is to know it");
    host.run_until_stalled();
    assert!(host.take_reports().is_empty());
}

#[test]
fn handled_late_is_not_reported_twice_nor_where_it_is_passed_on() {
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
fn the_last_promise_of_a_chain_answers_for_it() {
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
fn a_group_answers_for_its_members() {
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
fn a_future_that_fails_and_nobody_waits_for_is_reported() {
    let (host, _guard) = ManualHost::installed();
    drop(Promise::<(), String>::spawn(async { Err("no".into()) }));
    let made = line!() - 1;
    host.run_until_stalled();
    assert_eq!(lines(&host, "no"), [made]);
}

#[test]
fn what_somebody_knows_or_nobody_misses_is_quiet() {
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
fn one_that_is_abandoned_while_somebody_may_wait_is_reported() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let made = line!() - 1;
    let _promise = deferred.promise();
    drop(deferred);
    host.run_until_stalled();
    assert_eq!(lines(&host, "this promise was abandoned: its deferred was dropped unsettled"), [made]);
}

#[test]
fn an_error_without_words_is_named_by_its_type() {
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
fn a_closed_host_reports_nothing_any_more() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let _next = deferred.promise().then(Ok);
    host.close();
    drop(deferred);
    assert!(host.run_later(Location::caller(), Box::new(|| {})).is_err());
    assert!(host.take_reports().is_empty());
}

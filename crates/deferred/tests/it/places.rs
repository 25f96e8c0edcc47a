//! Each panic and each report has the line of the caller.

use std::cell::Cell;
use std::panic::{Location, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

use picot_context::{Kind, ManualHost};
use picot_deferred::{Promise, when, when_all, when_any, when_race, when_settled};

use crate::trace::Deferred;

type P = Promise<i32, &'static str>;
type Notifying = picot_deferred::Deferred<i32, &'static str, i32>;

thread_local! {
    static PLACE: Cell<Option<(bool, u32)>> = const { Cell::new(None) };
}

/// The line of this file at which `f` panics.
fn line_of_the_panic(f: fn()) -> Option<u32> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(|place| (place.file() == file!(), place.line())));
            before(info);
        }));
    });
    PLACE.set(None);
    catch_unwind(f).unwrap_err();
    PLACE.get().filter(|(is_here, _)| *is_here).map(|(_, line)| line)
}

#[test]
fn functions_that_need_a_host_panic_at_the_callers_line_without_one() {
    let first = line!() + 2;
    let calls: [fn(); 14] = [
        || drop(Deferred::new()),
        || drop(Deferred::default()),
        || drop(Deferred::with(|_| {})),
        || drop(Notifying::with_progress()),
        || drop(P::settled(Ok(1))),
        || drop(P::spawn(async { Ok(1) })),
        || drop(when((std::future::ready(Ok::<i32, ()>(1)),))),
        || drop(when((async { Ok::<i32, ()>(1) },))),
        || drop(when(())),
        || drop(when_all(Vec::<P>::new())),
        || drop(when_settled(Vec::<P>::new())),
        || drop(when_any([std::future::ready(Ok::<i32, ()>(1))])),
        || drop(when_race([std::future::ready(Ok::<i32, ()>(1))])),
        || drop(when_race(Vec::<P>::new())),
    ];
    for (line, call) in (first..).zip(calls) {
        assert_eq!(line_of_the_panic(call), Some(line));
    }
    // A group of promises panics there as well, if the thread has lost its host meanwhile.
    let (host, guard) = ManualHost::installed();
    let promise = P::settled(Ok(1));
    drop(guard);
    let outcome = catch_unwind(std::panic::AssertUnwindSafe(|| drop(when(promise))));
    assert!(outcome.is_err());
    assert_eq!(PLACE.take(), Some((true, line!() - 2)));
    drop(host);
}

fn boom() {
    resume_unwind(Box::new("boom"));
}

fn value() -> i32 {
    boom();
    1
}

fn text() -> &'static str {
    boom();
    "no"
}

#[test]
fn a_panic_of_a_callback_is_reported_with_the_line_of_its_registration() {
    let first = line!() + 2;
    let calls: [fn(&Notifying); 9] = [
        |deferred| _ = deferred.promise().done(|_| boom()),
        |deferred| _ = deferred.promise().always(|_| boom()),
        |deferred| _ = deferred.promise().progress(|_| boom()),
        |deferred| _ = deferred.promise().on_settled(|_| boom()),
        |deferred| drop(deferred.promise().then(|n| Ok(value() + n))),
        |deferred| drop(deferred.promise().finally(|| Err(text()))),
        |deferred| drop(deferred.promise().then(Ok).then(|n| Ok(value() + n))),
        |deferred| deferred.on_cancel(|_| boom()),
        |_| drop(P::spawn(async { Ok(value()) })),
    ];
    for (line, call) in (first..).zip(calls) {
        let (host, _guard) = ManualHost::installed();
        let deferred = Notifying::with_progress();
        deferred.promise().fail(|_| {});
        call(&deferred);
        deferred.notify(1);
        if line == first + 7 {
            assert!(deferred.promise().cancel())
        } else {
            assert!(deferred.resolve(1))
        }
        host.run_until_stalled();
        let reports = host.take_reports();
        let [report] = &reports[..] else { panic!("line {line}: {reports:?}") };
        let place: &Location<'_> = report.origin.place.unwrap();
        assert_eq!((place.file(), place.line()), (file!(), line), "{report}");
    }
}

#[test]
fn an_unhandled_rejection_is_reported_with_the_line_where_its_promise_was_made() {
    let first = line!() + 2;
    let calls: [fn(); 11] = [
        || _ = Deferred::new().reject("no"),
        || _ = Deferred::default().reject("no"),
        || _ = Notifying::with_progress().reject("no"),
        || drop(Deferred::with(|deferred| _ = deferred.reject("no"))),
        || drop(P::settled(Err(picot_deferred::Rejection::from("no")))),
        || drop(P::spawn(async { Err("no") })),
        || std::mem::forget(when_all([std::future::ready(Err::<i32, _>("no"))])),
        || std::mem::forget(when((std::future::ready(Err::<i32, _>("no")),))),
        || std::mem::forget(when_any([std::future::ready(Err::<i32, _>("no"))])),
        || std::mem::forget(when_race([async { Err::<i32, _>("no") }])),
        || std::mem::forget(P::settled(Ok(1)).then(|_| Err::<i32, _>("no"))),
    ];
    for (line, call) in (first..).zip(calls) {
        let (host, _guard) = ManualHost::installed();
        call();
        host.run_until_stalled();
        let reports = host.take_reports();
        let [report] = &reports[..] else { panic!("line {line}: {reports:?}") };
        let place = report.origin.place.unwrap();
        assert_eq!((report.origin.kind, place.file(), place.line()), (Kind::Rejection, file!(), line), "{report}");
    }
}

//! What needs a loop and finds none panics at the caller's line, not at one of the library's.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::panic::{Location, catch_unwind};
use std::time::Duration;

use picot::event_loop::{LoopHandle, exclusive};
use picot::task::{JoinSet, Scope, Supervisor, scope, shield, supervised};
use picot::time::{Instant, interval, interval_at, move_on_after, sleep_until};
use picot::{CancelScope, Deferred, Promise, deferred, dump, sleep, spawn, spawn_blocking, spawn_named, timeout};

use crate::census::{Function, functions};

/// A function, the line that calls it, and the call.
type Place = (&'static str, u32, fn());

macro_rules! place {
    ($name:literal, $call:expr) => {
        ($name, line!(), || _ = $call)
    };
}

/// An instant of a loop that is gone.
fn then() -> Instant {
    picot::run(async { Instant::now() })
}

/// A promise that was made inside of a loop.
fn settled() -> Promise<u8, u8> {
    let settled = Cell::new(None);
    picot::run(async { settled.set(Some(Promise::settled(Ok(1)))) });
    settled.take().unwrap()
}

fn places() -> Vec<Place> {
    const SECOND: Duration = Duration::from_secs(1);
    vec![
        place!("deferred::Deferred::default", Deferred::<u8, u8>::default()),
        place!("deferred::Deferred::new", Deferred::<u8, u8>::new()),
        place!("deferred::Deferred::with", Deferred::<u8, u8>::with(|_| ())),
        place!("deferred::Deferred::with_progress", Deferred::<u8, u8, u8>::with_progress()),
        place!("deferred::Promise::settled", Promise::<u8, u8>::settled(Ok(1))),
        place!("deferred::Promise::spawn", Promise::spawn(ready(Ok::<u8, u8>(1)))),
        place!("deferred::when", deferred::when((settled(),))),
        place!("deferred::when_all", deferred::when_all([settled()])),
        place!("deferred::when_any", deferred::when_any([settled()])),
        place!("deferred::when_race", deferred::when_race([settled()])),
        place!("deferred::when_settled", deferred::when_settled([settled()])),
        place!("loop::Instant::elapsed", then().elapsed()),
        place!("loop::Instant::from_std", Instant::from_std(picot::run(async { Instant::now().into_std() }))),
        place!("loop::Instant::into_std", then().into_std()),
        place!("loop::Instant::now", Instant::now()),
        place!("loop::LoopHandle::current", LoopHandle::current()),
        place!("loop::dump", dump()),
        place!("loop::exclusive", exclusive()),
        place!("loop::interval", interval(SECOND)),
        place!("loop::interval_at", interval_at(then(), SECOND)),
        place!("loop::sleep", sleep(SECOND)),
        place!("loop::sleep_until", sleep_until(then())),
        place!("loop::spawn", spawn(async {})),
        place!("loop::spawn_named", spawn_named("named", async {})),
        place!("loop::spawn_blocking", spawn_blocking(|| ())),
        place!("tasks::CancelScope::with_timeout", CancelScope::with_timeout(SECOND)),
        place!("tasks::JoinSet::spawn", JoinSet::new().spawn(async {})),
        place!("tasks::JoinSet::spawn_named", JoinSet::new().spawn_named("task", async {})),
        place!("tasks::move_on_after", move_on_after(SECOND, pending::<()>())),
        place!("tasks::scope", scope(async |_: Scope<'_, Infallible>| Ok(()))),
        place!("tasks::shield", shield(async {})),
        place!("tasks::supervised", supervised(async |_: Supervisor<'_>| ())),
        place!("tasks::timeout", timeout(SECOND, pending::<()>())),
    ]
}

/// The functions whose documentation says that they panic without a loop or host, at the call and
/// not in a poll.
fn needy() -> Vec<Function> {
    let needs = |function: &Function| {
        let panics = function.docs.split("# Panics").nth(1).map(|rest| rest.split("# ").next().unwrap());
        panics.is_some_and(|panics| {
            let sentence = panics.split(". ").find(|part| part.contains("no loop") || part.contains("no host"));
            sentence.is_some_and(|sentence| !sentence.contains("When polled") && !sentence.contains("When awaited"))
        })
    };
    functions().into_iter().filter(|function| !function.is_async && needs(function)).collect()
}

thread_local! {
    /// Where the last panic of this thread was, while it is asked for.
    static PANICKED_AT: Cell<Option<(String, u32)>> = const { Cell::new(None) };
    static IS_ASKED: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn each_panics_at_the_line_of_its_caller() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if IS_ASKED.get() {
            PANICKED_AT.set(info.location().map(|place: &Location<'_>| (place.file().to_string(), place.line())));
        } else {
            others(info);
        }
    }));
    let mut elsewhere = Vec::new();
    for (name, line, call) in places() {
        IS_ASKED.set(true);
        let result = catch_unwind(call);
        IS_ASKED.set(false);
        let place = PANICKED_AT.take();
        assert!(result.is_err(), "{name} needs no loop");
        let is_here = |(file, found): &(String, u32)| file.ends_with(file!()) && (line..line + 4).contains(found);
        if !place.as_ref().is_some_and(is_here) {
            elsewhere.push(format!("{name} panics at {place:?}"));
        }
    }
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn the_list_has_each_function_that_is_documented_to_panic_without_a_loop() {
    let needy: BTreeSet<_> = needy().into_iter().map(|function| function.name).collect();
    let listed: BTreeSet<_> = places().iter().map(|(name, ..)| (*name).to_string()).collect();
    let missing: Vec<_> = needy.difference(&listed).collect();
    assert!(missing.is_empty() && needy.len() > 15, "not on the list: {missing:#?}");
}

#[test]
fn each_of_them_tracks_its_caller() {
    let missing: Vec<_> =
        needy().into_iter().filter(|function| !function.tracks_caller).map(|function| function.name).collect();
    assert!(missing.is_empty(), "without `#[track_caller]`: {missing:#?}");
}

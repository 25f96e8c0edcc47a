//! Cases of jQuery's own tests and of the Promises/A+ suite that are in no other file here. The
//! table in `docs/reference/deferred-conformance.md` names the test of each case.

use std::cell::RefCell;
use std::future::ready;
use std::rc::Rc;

use picot_context::ManualHost;
use picot_deferred::{Promise, Rejection, State, when, when_all};

use crate::trace::{Deferred, Trace};

type P = Promise<i32, &'static str>;

fn boom() -> Result<i32, &'static str> {
    std::panic::resume_unwind(Box::new("boom"))
}

#[test]
fn done_fail_always_and_progress_return_the_promise_itself() {
    let (_host, _guard) = ManualHost::installed();
    let promise = picot_deferred::Deferred::<i32, (), i32>::with_progress().promise();
    let returned = promise.done(|_| {}).fail(|_| {}).always(|_| {}).progress(|_| {});
    assert!(returned.is_same(&promise));
}

#[test]
fn several_values_are_a_tuple_for_every_kind_of_handler() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    type Pair = (i32, i32);
    let deferred = || picot_deferred::Deferred::<Pair, Pair, Pair>::with_progress();
    let (good, bad) = (deferred(), deferred());
    for promise in [good.promise(), bad.promise()] {
        let progress = trace.clone();
        promise
            .progress(move |(a, b)| progress.add(format!("progress {a} {b}")))
            .done(trace.note("done"))
            .fail(trace.note("fail"))
            .always(trace.outcome("always"));
        promise.on_settled(trace.outcome("on_settled"));
    }
    good.notify((0, 1));
    good.resolve((2, 3));
    bad.reject((4, 5));
    host.run_until_stalled();
    host.take_reports();
    let expected = [
        "progress 0 1",
        "done (2, 3)",
        "always Ok((2, 3))",
        "fail Error((4, 5))",
        "always Err(Error((4, 5)))",
        "on_settled Ok((2, 3))",
        "on_settled Err(Error((4, 5)))",
    ];
    assert_eq!(trace.take(), expected);

    let (resolved, rejected) =
        (picot_deferred::Deferred::<(i32, i32), ()>::new(), picot_deferred::Deferred::<(), (i32, i32)>::new());
    resolved.promise().then(|(a, b)| Ok(a * b)).done(trace.note("then"));
    rejected
        .promise()
        .catch(|rejection| Err(rejection.error().map(|(a, b)| (a * b, 0)).unwrap()))
        .fail(trace.note("catch"));
    resolved.resolve((2, 3));
    rejected.reject((2, 3));
    host.run_until_stalled();
    assert_eq!(trace.take(), ["then 6", "catch Error((6, 0))"]);
}

#[test]
fn a_promise_as_a_value_is_unwrapped_by_a_handler_and_not_by_a_callback() {
    let (host, _guard) = ManualHost::installed();
    let (inner, trace) = (Deferred::new(), Trace::default());
    let outer = picot_deferred::Deferred::<P, &'static str>::new();
    outer.promise().done(trace.note("done"));
    outer.promise().then(|promise| promise).done(trace.note("then"));
    outer.resolve(inner.promise());
    host.run_until_stalled();
    inner.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["done Promise(Pending)", "then 1"]);
}

#[test]
fn a_panic_in_a_handler_is_reported_with_its_place_even_if_recovered_and_errors_stay_quiet() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let panics = deferred.promise().then(|_| boom());
    let line = line!() - 1;
    let fails = deferred.promise().then(|_| Err::<i32, _>("make me a sandwich"));
    when((panics.catch(|_| Ok(1)), fails.catch(|_| Ok(2)))).done(trace.note("both"));
    deferred.resolve(0);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["both (1, 2)"]);
    let reports = host.take_reports();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let place = reports[0].origin.place.unwrap();
    assert!(place.file().ends_with("conformance.rs") && place.line() == line, "{place}");
}

#[test]
fn every_pair_of_members_settles_by_its_parts() {
    const KINDS: [&str; 7] = ["value", "resolved", "rejected", "later resolved", "later rejected", "future", "failing"];
    for first in KINDS {
        for second in KINDS {
            let (host, _guard) = ManualHost::installed();
            let later = RefCell::new(Vec::new());
            let member = |kind: &str| -> P {
                match kind {
                    "value" => when(Promise::settled(Ok(1))),
                    "resolved" | "rejected" => {
                        let deferred = Deferred::new();
                        assert!(if kind == "resolved" { deferred.resolve(1) } else { deferred.reject("no") });
                        deferred.promise()
                    }
                    "future" => Promise::spawn(async { Ok(1) }),
                    "failing" => Promise::spawn(async { Err("no") }),
                    _ => {
                        let deferred = Deferred::new();
                        let promise = deferred.promise();
                        later.borrow_mut().push((kind.ends_with("resolved"), deferred));
                        promise
                    }
                }
            };
            let group = when((member(first), member(second)));
            let trace = Trace::default();
            group.always(trace.outcome("always"));
            group.then(Ok).finally(|| Ok(())).always(trace.outcome("then"));
            host.run_until_stalled();
            for (is_resolved, deferred) in later.take() {
                assert!(if is_resolved { deferred.resolve(1) } else { deferred.reject("no") });
            }
            host.run_until_stalled();
            let fails = |kind: &str| matches!(kind, "rejected" | "later rejected" | "failing");
            let outcome = if fails(first) || fails(second) { "Err(Error(no))" } else { "Ok((1, 1))" };
            assert_eq!(trace.take(), [format!("always {outcome}"), format!("then {outcome}")], "{first} and {second}");
        }
    }
}

#[test]
fn when_always_makes_a_new_promise() {
    let (_host, _guard) = ManualHost::installed();
    for promise in [P::settled(Ok(1)), P::settled(Err(Rejection::from("no"))), Deferred::new().promise()] {
        assert!(!when(promise.clone()).is_same(&promise));
        let listed = when_all([promise.clone()]);
        assert_eq!(listed.state(), promise.state());
        listed.fail(|_| {});
    }
}

#[test]
fn notifications_of_members_do_not_reach_the_group() {
    let (_host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let member = |notified: i32, value: i32| {
        let deferred = picot_deferred::Deferred::<i32, (), i32>::with_progress();
        deferred.notify(notified);
        deferred.resolve(value);
        deferred.promise()
    };
    when((member(1, 4), member(2, 5), member(3, 6))).done(trace.note("done"));
    assert_eq!(trace.take(), ["done (4, 5, 6)"]);
}

#[test]
fn a_group_of_settled_members_is_settled_before_when_returns() {
    let (_host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let (good, bad) = (P::settled(Ok(1)), P::settled(Err(Rejection::from("no"))));
    when(()).always(trace.outcome("nothing"));
    when((ready(Ok::<_, ()>("value")),)).always(trace.outcome("value"));
    when(good.clone()).always(trace.outcome("resolved"));
    when(bad.clone()).always(trace.outcome("rejected"));
    when((good, bad)).always(trace.outcome("both"));
    trace.add("after");
    let expected = [
        "nothing Ok(())",
        "value Ok((value,))",
        "resolved Ok(1)",
        "rejected Err(Error(no))",
        "both Err(Error(no))",
        "after",
    ];
    assert_eq!(trace.take(), expected);
}

#[test]
fn no_call_changes_a_settled_promise() {
    let (host, _guard) = ManualHost::installed();
    for is_resolved in [true, false] {
        for delays in [[false, false], [false, true], [true, true]] {
            let (deferred, trace) = (Rc::new(Deferred::new()), Trace::default());
            deferred.promise().always(trace.outcome("always"));
            deferred.promise().then(Ok).always(trace.outcome("then"));
            for (nth, is_delayed) in delays.into_iter().enumerate() {
                let deferred = deferred.clone();
                let settle = move || {
                    let resolves = is_resolved == (nth == 0);
                    let is_first = if resolves { deferred.resolve(1) } else { deferred.reject("no") };
                    assert_eq!(is_first, nth == 0);
                };
                if is_delayed { host.call(settle).unwrap() } else { settle() }
            }
            host.run_until_stalled();
            let outcome = if is_resolved { "Ok(1)" } else { "Err(Error(no))" };
            assert_eq!(trace.take(), [format!("always {outcome}"), format!("then {outcome}")]);
        }
    }
    assert!(host.take_reports().is_empty());
}

#[test]
fn a_handler_is_called_once_after_the_settling_and_never_without_one() {
    let (host, _guard) = ManualHost::installed();
    let trace = Trace::default();
    let (resolved, rejected, never) = (Deferred::new(), Deferred::new(), Deferred::new());
    let note = |name: &'static str| {
        let trace = trace.clone();
        move |n: i32| {
            trace.add(format!("{name} {n}"));
            Ok(n)
        }
    };
    let catch = |name: &'static str| {
        let trace = trace.clone();
        move |rejection: Rejection<&'static str>| {
            trace.add(format!("{name} {rejection:?}"));
            Ok(0)
        }
    };
    let _kept = (
        resolved.promise().then(note("before")),
        resolved.promise().catch(catch("not")),
        rejected.promise().then(note("not")).fail(|_| {}).clone(),
        rejected.promise().catch(catch("before")),
        never.promise().then(note("not")),
        never.promise().catch(catch("not")),
    );
    host.run_until_stalled();
    assert!(trace.take().is_empty());
    resolved.resolve(1);
    resolved.resolve(2);
    rejected.reject("no");
    assert!(trace.take().is_empty(), "not inside of `resolve` or `reject`");
    let _late = (resolved.promise().then(note("after")), rejected.promise().catch(catch("after")));
    assert!(trace.take().is_empty(), "not inside of `then` or `catch`");
    host.run_until_stalled();
    resolved.resolve(3);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["before 1", "before Error(no)", "after 1", "after Error(no)"]);
}

/// Adds a handler of some kind, which calls the closure with whether there was a value.
type Add = fn(&P, Box<dyn FnOnce(bool)>);

const KINDS: [(&str, Add); 5] = [
    ("then", |promise, f| {
        let next = promise.then(move |_| {
            f(true);
            Ok(0)
        });
        next.fail(|_| {});
    }),
    ("catch", |promise, f| {
        promise.catch(move |_| {
            f(false);
            Ok(0)
        });
    }),
    ("finally", |promise, f| {
        let next = promise.finally(move || {
            f(true);
            Ok(())
        });
        next.fail(|_| {});
    }),
    ("on_settled", |promise, f| _ = promise.on_settled(move |outcome| f(outcome.is_ok()))),
    ("a handler of a chain", |promise, f| {
        let next = promise.then(Ok).finally(move || {
            f(true);
            Ok(())
        });
        next.fail(|_| {});
    }),
];

/// Whether a handler of this kind is called for such an outcome.
fn is_called(kind: &str, is_resolved: bool) -> bool {
    match kind {
        "then" => is_resolved,
        "catch" => !is_resolved,
        _ => true,
    }
}

#[test]
fn no_handler_runs_inside_of_the_settling_or_of_the_call_that_adds_it() {
    for (kind, add) in KINDS {
        for is_resolved in [true, false] {
            for is_late in [false, true] {
                let (host, _guard) = ManualHost::installed();
                let (deferred, trace) = (Deferred::new(), Trace::default());
                let promise = deferred.promise();
                promise.fail(|_| {});
                let settle = || assert!(if is_resolved { deferred.resolve(1) } else { deferred.reject("no") });
                if is_late {
                    settle();
                }
                let inside = trace.clone();
                add(&promise, Box::new(move |_| inside.add("called")));
                trace.add("added");
                if !is_late {
                    settle();
                    trace.add("settled");
                }
                host.run_until_stalled();
                trace.add("ran");
                host.run_until_stalled();
                let mut expected = vec!["added"];
                expected.extend((!is_late).then_some("settled"));
                expected.extend(is_called(kind, is_resolved).then_some("called"));
                expected.push("ran");
                assert_eq!(trace.take(), expected, "{kind}, resolved: {is_resolved}, late: {is_late}");
            }
        }
    }
}

#[test]
fn callbacks_that_are_attached_after_the_settling_run_at_once_and_only_those_of_its_kind() {
    let (_host, _guard) = ManualHost::installed();
    for is_resolved in [true, false] {
        let (deferred, trace) = (Deferred::new(), Trace::default());
        assert!(if is_resolved { deferred.resolve(1) } else { deferred.reject("no") });
        let promise = deferred.promise();
        promise.fail(trace.note("fail"));
        trace.add("one");
        promise.done(trace.note("done"));
        trace.add("two");
        promise.always(trace.outcome("always"));
        trace.add("three");
        let expected = if is_resolved {
            ["one", "done 1", "two", "always Ok(1)", "three"]
        } else {
            ["fail Error(no)", "one", "two", "always Err(Error(no))", "three"]
        };
        assert_eq!(trace.take(), expected);
    }
}

#[test]
fn a_handler_that_is_added_by_a_handler_runs_after_that_has_returned() {
    for (outer_kind, add_outer) in KINDS {
        for (inner_kind, add_inner) in KINDS {
            let (host, _guard) = ManualHost::installed();
            let trace = Trace::default();
            let settled = |kind: &str| {
                let outcome = if is_called(kind, true) { Ok(1) } else { Err(Rejection::from("no")) };
                let promise = P::settled(outcome);
                promise.fail(|_| {});
                promise
            };
            let (inner, inside) = (settled(inner_kind), trace.clone());
            let nested = move |_| {
                let last = inside.clone();
                add_inner(&inner, Box::new(move |_| last.add("inner")));
                inside.add("outer returns");
            };
            add_outer(&settled(outer_kind), Box::new(nested));
            trace.add("added");
            host.run_until_stalled();
            assert_eq!(trace.take(), ["added", "outer returns", "inner"], "{inner_kind} by {outer_kind}");
        }
    }
}

#[test]
fn handlers_run_in_order_despite_failures_and_each_has_its_own_chain() {
    let (host, _guard) = ManualHost::installed();
    for is_resolved in [true, false] {
        let (deferred, trace) = (Deferred::new(), Trace::default());
        let promise = deferred.promise();
        let handle = |name: &'static str, result: fn() -> Result<i32, &'static str>| {
            let (on_value, on_rejection) = (trace.clone(), trace.clone());
            let chain = promise.then(move |_| {
                on_value.add(name);
                result()
            });
            chain.fail(|_| {});
            let recovered = promise.catch(move |_| {
                on_rejection.add(name);
                result()
            });
            recovered.fail(|_| {});
            if is_resolved { chain } else { recovered }
        };
        let first = handle("first", || Ok(10));
        let (again, inside) = (promise.clone(), trace.clone());
        promise.on_settled(move |_| {
            again.on_settled(move |_| inside.add("added inside"));
        });
        let second = handle("second", boom);
        let third = handle("third", || Err("refused"));
        assert!(if is_resolved { deferred.resolve(1) } else { deferred.reject("no") });
        assert!(trace.take().is_empty(), "not inside of the settling");
        host.run_until_stalled();
        assert_eq!(trace.take(), ["first", "second", "third", "added inside"]);
        assert_eq!(first.outcome(), Some(Ok(&10)));
        assert_eq!(second.outcome(), Some(Err(&Rejection::Panicked)));
        assert_eq!(third.outcome(), Some(Err(&Rejection::from("refused"))));
    }
}

#[test]
fn a_handler_of_any_kind_that_returns_its_own_promise_is_rejected() {
    let (host, _guard) = ManualHost::installed();
    let own = Rc::new(RefCell::new(None::<P>));
    let inner = own.clone();
    let caught = P::settled(Err(Rejection::from("no"))).catch(move |_| inner.take().unwrap());
    own.replace(Some(caught.clone()));
    host.run_until_stalled();
    assert_eq!(caught.outcome(), Some(Err(&Rejection::Cycle)));

    let unit = Rc::new(RefCell::new(None::<Promise<(), &'static str>>));
    let inner = unit.clone();
    let over = Promise::settled(Ok(())).finally(move || inner.take().unwrap());
    unit.replace(Some(over.clone()));
    host.run_until_stalled();
    assert_eq!(over.outcome(), Some(Err(&Rejection::Cycle)));
}

#[test]
fn a_returned_promise_is_adopted_from_either_handler_however_and_whenever_it_settles() {
    let (host, _guard) = ManualHost::installed();
    for from_catch in [false, true] {
        for is_resolved in [true, false] {
            for is_later in [false, true] {
                let inner = Deferred::new();
                let settle = || assert!(if is_resolved { inner.resolve(7) } else { inner.reject("inner") });
                let promise = inner.promise();
                let outer = if from_catch {
                    P::settled(Err(Rejection::from("no"))).catch(move |_| promise)
                } else {
                    P::settled(Ok(1)).then(move |_| promise)
                };
                outer.fail(|_| {});
                if !is_later {
                    settle();
                }
                host.run_until_stalled();
                assert_eq!(outer.state() == State::Pending, is_later);
                if is_later {
                    settle();
                    assert_eq!(outer.state(), State::Pending, "not inside of the settling");
                    host.run_until_stalled();
                }
                // An adoption is final, whatever is called later.
                assert!(!inner.resolve(8) && !inner.reject("later"));
                host.run_until_stalled();
                let expected = if is_resolved { Ok(&7) } else { Err(&Rejection::from("inner")) };
                assert_eq!(outer.outcome(), Some(expected));
            }
        }
    }
    assert!(host.take_reports().is_empty());
}

#[test]
fn a_spawned_future_is_adopted_as_a_promise() {
    let (host, _guard) = ManualHost::installed();
    let adopted = P::settled(Ok(1)).then(|n| Promise::spawn(async move { Ok(n + 1) }));
    let failed = P::settled(Ok(1)).then(|_| Promise::<i32, _>::spawn(async { Err("no") }));
    let panicked = P::settled(Ok(1)).then(|_| Promise::spawn(async { boom() }));
    failed.fail(|_| {});
    host.run_until_stalled();
    assert_eq!(adopted.outcome(), Some(Ok(&2)));
    assert_eq!(failed.outcome(), Some(Err(&Rejection::from("no"))));
    assert_eq!(panicked.outcome(), Some(Err(&Rejection::Panicked)));
    assert_eq!(host.take_reports().len(), 1, "the panic");
}

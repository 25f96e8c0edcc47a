//! Cancel scopes and tokens: cancelling as a level, reasons, grace, and withdrawn requests.

use std::future::pending;

use picot_loop::{Instant, sleep, spawn, yield_now};
use picot_tasks::{CancelScope, CancelSource, gather_settled, timeout};

use crate::trace::{Trace, millis, run, sleeper};

#[test]
fn the_error_has_the_reason_the_requester_and_the_source_location() {
    run(|_| async {
        let scope = CancelScope::new();
        let other = scope.clone();
        let id = spawn(async move { other.cancel("the user has left") }).id();
        let error = scope.run(pending::<()>()).await.unwrap_err();
        assert_eq!(error.reason().as_str(), "the user has left");
        assert_eq!(error.request().requester().unwrap().id(), id);
        assert_eq!(error.request().place().file(), file!());
        assert!(error.to_string().starts_with("cancelled: the user has left (requested by task "), "{error}");

        let error = CancelScope::with_timeout(millis(1)).run(pending::<()>()).await.unwrap_err();
        assert_eq!(error.reason().as_str(), "its deadline has passed");
        assert!(error.request().requester().is_none());
    });
}

#[test]
fn the_first_reason_stays_and_an_ended_scope_refuses() {
    run(|_| async {
        let scope = CancelScope::new();
        assert!(scope.cancel("first") && scope.cancel("second"));
        assert_eq!(scope.run(pending::<()>()).await.unwrap_err().reason().as_str(), "first");
        assert!(!scope.cancel("third"));
        assert!(scope.is_cancelled() && !scope.is_expired());
    });
}

#[test]
fn work_in_a_cancelled_scope_ends_before_its_first_poll() {
    run(|trace| async move {
        let scope = CancelScope::new();
        scope.cancel("before");
        assert!(scope.run(async { trace.add("polled") }).await.is_err());

        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let result = outer.run(async {
            outer.cancel("inside");
            let ran = inner.run(async { trace.add("polled") }).await;
            trace.add(format!("went on: {}", ran.is_ok()));
        });
        assert_eq!(result.await.unwrap_err().reason().as_str(), "inside");
        assert_eq!(inner.request_info().unwrap().reason().as_str(), "inside");

        let outer = CancelScope::new();
        let result = outer.run(picot_tasks::scope(async |s| {
            outer.cancel("inside");
            let _ = s.spawn(async { trace.add("polled") });
            pending::<Result<(), ()>>().await
        }));
        assert!(result.await.is_err());
        assert_eq!(trace.take(), Vec::<String>::new());
    });
}

#[test]
fn a_value_of_the_poll_that_cancels_is_kept() {
    run(|_| async {
        let scope = CancelScope::new();
        let value = scope.run(async {
            scope.cancel("too late for this poll");
            7
        });
        assert_eq!(value.await.unwrap(), 7);
    });
}

#[test]
fn the_work_is_dropped_before_the_run_returns_and_not_inside_of_cancel() {
    run(|trace| async move {
        let scope = CancelScope::new();
        let result = scope.run(async {
            let _drop = trace.on_drop("work dropped");
            scope.cancel("now");
            trace.add("after cancel");
            pending::<()>().await;
        });
        assert!(result.await.is_err());
        trace.add("after run");
        assert_eq!(trace.take(), ["after cancel", "work dropped", "after run"]);
    });
}

#[test]
fn cancelling_a_scope_cancels_inner_scopes_and_no_outer_one() {
    run(|trace| async move {
        let middle = CancelScope::new();
        let canceller = middle.clone();
        let _ = spawn(async move { canceller.cancel("the middle one") });
        let outer = CancelScope::new();
        let result = outer.run(async {
            let inner = CancelScope::new();
            let result = middle.run(gather_settled([
                inner.run(sleeper(&trace, "inner", 9)),
                CancelScope::new().run(sleeper(&trace, "other", 9)),
            ]));
            assert!(result.await.is_err());
            assert!(inner.is_cancelled());
            yield_now().await;
            trace.add("goes on");
        });
        assert!(result.await.is_ok());
        assert!(!outer.is_cancelled());
        assert_eq!(trace.take(), ["inner dropped", "other dropped", "goes on"]);
    });
}

#[test]
fn work_that_observes_the_request_and_returns_a_value_completes_normally() {
    run(|trace| async move {
        let scope = CancelScope::with_timeout(millis(5)).grace(millis(50));
        let token = scope.token();
        let work = async {
            let request = token.cancelled().await;
            trace.add(request.reason());
            // Clean-up may take time and run other tasks.
            timeout(millis(20), sleep(millis(10))).await.unwrap();
            "said goodbye"
        };
        assert_eq!(scope.run(work).await.unwrap(), "said goodbye");
        assert!(scope.is_cancelled() && scope.is_expired());
        assert_eq!(trace.take(), ["its deadline has passed"]);
    });
}

#[test]
fn work_that_does_not_end_in_its_grace_is_dropped() {
    run(|trace| async move {
        let start = Instant::now();
        let scope = CancelScope::new().grace(millis(20));
        let canceller = scope.clone();
        let _ = spawn(async move {
            sleep(millis(5)).await;
            canceller.cancel("please")
        });
        let error = scope.run(sleeper(&trace, "deaf", 99)).await.unwrap_err();
        assert_eq!((error.reason().as_str(), start.elapsed()), ("please", millis(25)));
        assert_eq!(trace.take(), ["deaf dropped"]);
    });
}

#[test]
fn tokens_of_inner_scopes_get_the_request_and_an_outer_scope_without_grace_drops_at_once() {
    run(|trace| async move {
        let outer = CancelScope::with_timeout(millis(5)).grace(millis(50));
        let inner = CancelScope::new();
        let token = inner.token();
        let work = outer.run(inner.run(async {
            trace.add(token.cancelled().await.reason());
            "inner ended"
        }));
        assert_eq!(work.await.unwrap().unwrap(), "inner ended");
        assert_eq!(trace.take(), ["its deadline has passed"]);

        let start = Instant::now();
        let graceful = CancelScope::new().grace(millis(50));
        assert!(timeout(millis(5), graceful.run(pending::<()>())).await.is_err());
        assert_eq!(start.elapsed(), millis(5));
    });
}

#[test]
fn a_request_that_is_withdrawn_before_it_is_delivered_has_no_effect() {
    run(|_| async {
        let scope = CancelScope::new();
        let other = scope.clone();
        let _ = spawn(async move {
            other.cancel("hasty");
            assert!(other.withdraw());
            assert!(!other.withdraw(), "once");
        });
        assert!(scope.run(sleep(millis(5))).await.is_ok());
        assert!(!scope.is_cancelled());
        assert!(!scope.withdraw(), "it has ended");
    });
}

#[test]
fn a_delivered_request_cannot_be_withdrawn() {
    run(|_| async {
        let scope = CancelScope::new().grace(millis(50));
        let token = scope.token();
        let result = scope.run(async {
            scope.cancel("heard");
            token.cancelled().await;
            assert!(!scope.withdraw());
        });
        assert!(result.await.is_ok());
    });
}

#[test]
fn all_waiters_of_a_token_are_woken_and_a_dropped_waiter_is_removed() {
    run(|trace: Trace| async move {
        let scope = CancelScope::new().grace(millis(50));
        let token = scope.token();
        assert!(timeout(millis(1), token.cancelled()).await.is_err());
        let waiters: Vec<_> = (0..3)
            .map(|n| {
                let (token, trace) = (token.clone(), trace.clone());
                spawn(async move { trace.add(format!("{n}: {}", token.cancelled().await.reason())) })
            })
            .collect();
        yield_now().await;
        scope.cancel("all");
        gather_settled(waiters).await;
        assert_eq!(trace.take(), ["0: all", "1: all", "2: all"]);
    });
}

/// An eager task is polled inside of its spawner's step, but not inside of the scope that is polled
/// there: neither in its first poll nor later.
#[test]
fn an_eager_task_is_not_inside_the_scope_of_its_spawner() {
    use picot_loop::LoopHandle;
    use picot_tasks::effective_deadline;

    run(|trace| async move {
        let scope = CancelScope::with_timeout(millis(1000));
        let (inner, inside) = (scope.clone(), trace.clone());
        let outcome = scope.run(async move {
            inner.cancel("the user has left");
            assert!(effective_deadline().is_some());
            let saves = inside.clone();
            let save = async move {
                assert!(effective_deadline().is_none());
                saves.add(format!("{:?}", timeout(millis(5), async { 1 }).await));
                saves.add(format!("{:?}", timeout(millis(5), sleep(millis(1))).await));
            };
            drop(LoopHandle::current().build_task().eager().spawn(save));
            assert!(effective_deadline().is_some(), "and the scope is restored");
            pending::<()>().await
        });
        assert!(outcome.await.is_err());
        sleep(millis(10)).await;
        assert_eq!(trace.take(), ["Ok(1)", "Ok(())"]);
    });
}

#[test]
fn a_source_needs_no_loop_and_its_first_reason_stays() {
    let source = CancelSource::new();
    let token = source.token();
    assert!(!token.is_cancelled());
    assert!(source.clone().cancel("first") && !source.cancel("second"));
    let request = token.request().unwrap();
    assert_eq!((request.reason().as_str(), request.place().file()), ("first", file!()));
}

#[test]
fn a_request_reaches_all_tokens_below_and_none_above() {
    let root = CancelSource::new();
    let (one, other) = (root.child(), root.child());
    let (below, beside) = (one.child(), other.child());
    assert!(one.cancel("one"));
    let reasons = || {
        [&root, &one, &other, &below, &beside]
            .map(|source| source.request().map_or("none".to_string(), |request| request.reason().to_string()))
    };
    assert_eq!(reasons(), ["none", "one", "none", "one", "none"]);
    assert!(root.cancel("all"));
    assert_eq!(reasons(), ["all", "one", "all", "one", "all"]);
    assert_eq!(one.child().request().unwrap().reason().as_str(), "one", "a child that comes late");
}

#[test]
fn waits_are_woken_from_above_to_below_when_all_have_the_request() {
    run(|trace| async move {
        let root = CancelSource::new();
        let sources = [root.clone(), root.child(), root.child()];
        let below = sources[1].child();
        for (name, source) in ["second child", "below", "first child", "root"].into_iter().zip([
            &sources[2],
            &below,
            &sources[1],
            &sources[0],
        ]) {
            let (trace, token, all) = (trace.clone(), source.token(), sources.clone());
            drop(spawn(async move {
                token.cancelled().await;
                assert!(all.iter().all(|source| source.is_cancelled()));
                trace.add(name);
            }));
        }
        yield_now().await;
        root.cancel("all");
        yield_now().await;
        assert_eq!(trace.take(), ["root", "first child", "below", "second child"]);
    });
}

#[test]
fn a_child_outlives_the_handles_of_its_parent_and_leaves_nothing_there() {
    let root = CancelSource::new();
    let below = root.child().child();
    root.cancel("all");
    assert!(below.is_cancelled(), "the token in between is kept by its child");

    let root = CancelSource::new();
    for _ in 0..3 {
        drop(root.child());
    }
    let wait = root.child().cancelled();
    assert!(root.cancel("all"));
    assert_eq!(now(wait).unwrap().reason().as_str(), "all", "a wait keeps its token");
}

/// A chain of a hundred thousand tokens, each the child of the one before.
#[test]
fn a_long_chain_of_tokens_uses_no_stack() {
    let chain = |length| {
        let root = CancelSource::new();
        let mut last = root.child();
        for _ in 1..length {
            last = last.child();
        }
        (root, last)
    };
    let (root, last) = chain(100_000);
    assert!(root.cancel("all") && last.is_cancelled());
    drop((last, root));
    let (root, last) = chain(100_000);
    drop(root);
    drop(last);
}

#[test]
fn a_child_of_a_scopes_token_has_its_request_which_cannot_be_withdrawn_then() {
    let scope = CancelScope::new();
    scope.cancel("a mistake");
    assert!(scope.withdraw());
    let child = scope.token().child();
    assert!(child.cancel("alone") && !scope.is_cancelled());
    let child = scope.token().child();
    scope.cancel("all");
    assert!(!scope.withdraw(), "it has reached the child");
    assert_eq!(child.request().unwrap().reason().as_str(), "all");
}

#[test]
fn a_guard_makes_the_request_unless_it_is_disarmed() {
    let source = CancelSource::new();
    let guard = source.clone().cancel_on_drop();
    assert!(!source.is_cancelled());
    drop(guard);
    let request = source.request().unwrap();
    assert_eq!((request.reason().as_str(), request.place().file()), ("its guard was dropped", file!()));
    let source = CancelSource::new().cancel_on_drop().disarm();
    assert!(!source.is_cancelled());
}

/// The output of a future that is ready at its first poll.
fn now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    match std::pin::Pin::new(&mut future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

//! Timeouts and deadlines: which result wins, which caller gets the error, and when clean-up has
//! run.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::time::Duration;

use picot_loop::{Instant, LoopHandle, sleep, sleep_until, spawn, yield_now};
use picot_tasks::{
    CancelError, CancelScope, Elapsed, RescheduleError, effective_deadline, gather, move_on_after, move_on_at, timeout,
    timeout_at,
};

use crate::trace::{Gate, millis, run, sleeper};

#[test]
fn the_clean_up_has_run_when_the_timeout_returns() {
    run(|trace| async move {
        let start = Instant::now();
        let result = timeout(millis(5), sleeper(&trace, "work", 9)).await;
        trace.add(if result.is_err() { "elapsed" } else { "done" });
        assert_eq!(trace.take(), ["work dropped", "elapsed"]);
        assert_eq!(start.elapsed(), millis(5));
    });
}

#[test]
fn a_timeout_expires_exactly_at_its_deadline() {
    run(|_| async {
        let start = Instant::now();
        let error: Elapsed = timeout(millis(5), pending::<()>()).await.unwrap_err();
        assert_eq!(start.elapsed(), millis(5));
        assert_eq!(error.place().file(), file!());
        assert!(timeout_at(start + millis(7), pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), millis(7));
        assert_eq!(move_on_after(millis(1), pending::<()>()).await, None);
        assert_eq!(move_on_at(start + millis(9), async { 3 }).await, Some(3));
    });
}

#[test]
fn the_error_names_a_virtual_clock_and_no_other() {
    let texts = || async {
        let after = timeout(millis(1), pending::<()>()).await.unwrap_err();
        let at = timeout_at(Instant::now(), pending::<()>()).await.unwrap_err();
        (after.to_string(), at.to_string())
    };
    run(move |_| async move {
        let (after, at) = texts().await;
        assert!(after.starts_with("timed out after 1ms on the virtual clock (timeout set at "), "{after}");
        assert!(at.starts_with("timed out on the virtual clock (timeout set at "), "{at}");
    });
    let (after, at) = picot_loop::run(texts());
    assert!(after.starts_with("timed out after 1ms (timeout set at "), "{after}");
    assert!(at.starts_with("timed out (timeout set at "), "{at}");
}

#[test]
fn a_result_that_comes_in_the_turn_of_the_deadline_wins() {
    run(|_| async {
        let (gate, deadline) = (Gate::default(), Instant::now() + millis(5));
        let opener = gate.clone();
        LoopHandle::current().call_at(deadline, move || opener.open());
        assert!(timeout_at(deadline, gate.wait()).await.is_ok(), "the result was set first");
        assert!(timeout(millis(5), sleep(millis(5))).await.is_ok(), "a sleep that ends with it");
        let nested = timeout(millis(5), timeout(millis(60), sleep(millis(5))));
        assert!(nested.await.unwrap().is_ok(), "however deep it is");
    });
}

#[test]
fn a_timeout_of_zero_ends_after_the_first_poll_and_none_never() {
    run(|trace| async move {
        let start = Instant::now();
        for work in [timeout(Duration::ZERO, sleeper(&trace, "work", 9)), timeout_at(start, sleeper(&trace, "work", 9))]
        {
            assert!(work.await.is_err());
            assert_eq!(trace.take(), ["work dropped"]);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(timeout(None, sleep(Duration::from_secs(1 << 30))).await.is_ok());
        assert!(timeout(Duration::MAX, sleep(millis(1))).await.is_ok());
        assert!(timeout_at(None, async {}).await.is_ok());
    });
}

#[test]
fn a_timeout_cancels_an_awaited_task_and_not_a_watched_one() {
    run(|trace| async move {
        let task = |name| {
            let trace = trace.clone();
            spawn(async move { sleeper(&trace, name, 9).await })
        };
        assert!(timeout(millis(1), task("waited for")).await.is_err());
        yield_now().await;
        assert_eq!(trace.take(), ["waited for dropped"]);
        let mut watched = task("watched");
        assert!(timeout(millis(1), &mut watched).await.is_err());
        assert_eq!(watched.await.unwrap(), "watched");
    });
}

#[test]
fn cancelling_the_waiter_cancels_the_work_and_a_value_of_that_turn_is_kept() {
    run(|trace| async move {
        let inside = trace.clone();
        let waiter = spawn(async move { timeout(millis(9), sleeper(&inside, "work", 5)).await });
        sleep(millis(1)).await;
        assert!(waiter.cancel_and_wait("the test has ended").await.is_none());
        assert_eq!(trace.take(), ["work dropped"]);

        let waiter = spawn(async { timeout(millis(9), sleep(millis(5))).await });
        yield_now().await;
        sleep(millis(5)).await;
        assert!(waiter.cancel_and_wait("the test has ended").await.is_some_and(|outcome| outcome.unwrap().is_ok()));
    });
}

#[test]
fn of_two_nested_timeouts_with_one_deadline_the_outer_one_is_the_error() {
    run(|trace| async move {
        let deadline = Instant::now() + millis(5);
        let (outer, inner) = (CancelScope::with_deadline(deadline), CancelScope::with_deadline(deadline));
        let result = outer
            .run(async {
                trace.add(format!("inner is ok: {}", inner.run(pending::<()>()).await.is_ok()));
            })
            .await;
        assert!(result.is_err());
        assert!(outer.is_expired() && inner.is_expired());
        assert_eq!(trace.take(), Vec::<String>::new(), "the inner one returned nothing");
    });
}

#[test]
fn the_inner_of_two_timeouts_expires_first_if_it_is_earlier() {
    run(|_| async {
        let outer = CancelScope::with_timeout(millis(9));
        let result = outer.run(timeout(millis(5), pending::<()>())).await;
        assert!(matches!(result, Ok(Err(Elapsed { .. }))));
        assert!(!outer.is_expired());
    });
}

#[test]
fn errors_of_the_work_and_cancellations_from_outside_pass_unchanged() {
    run(|_| async {
        assert_eq!(timeout(millis(5), async { Err::<(), _>("mine") }).await, Ok(Err("mine")));
        let waiter = spawn(timeout(millis(5), pending::<()>()));
        yield_now().await;
        waiter.cancel("from outside");
        assert_eq!(waiter.await.unwrap_err().reason().unwrap().as_str(), "from outside");
    });
}

#[test]
fn a_deadline_is_moved_and_removed_while_the_work_runs() {
    run(|_| async {
        let start = Instant::now();
        let scope = CancelScope::with_timeout(millis(5));
        assert_eq!(scope.deadline(), Some(start + millis(5)));
        let mover = scope.clone();
        let _ = spawn(async move {
            sleep(millis(4)).await;
            mover.reschedule(Instant::now() + millis(4)).unwrap();
        });
        assert!(scope.run(pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), millis(8));

        let scope = CancelScope::with_timeout(millis(5));
        let ok = scope.run(async {
            scope.reschedule(None).unwrap();
            sleep(millis(50)).await;
            scope.reschedule(Instant::now()).unwrap();
            pending::<()>().await;
        });
        assert!(ok.await.is_err());
        assert_eq!(start.elapsed(), millis(58));
    });
}

#[test]
fn a_deadline_is_not_moved_before_the_run_after_it_or_when_it_has_passed() {
    run(|_| async {
        let scope = CancelScope::new();
        assert_eq!(scope.reschedule(None), Err(RescheduleError::NotRunning));
        scope.run(async {}).await.unwrap();
        assert_eq!(scope.reschedule(None), Err(RescheduleError::Ended));
        let scope = CancelScope::new();
        let run = scope.run(async {
            scope.cancel("enough");
            assert_eq!(scope.reschedule(None), Err(RescheduleError::Cancelled));
        });
        run.await.unwrap();
    });
}

/// Values that the work owns are dropped after the deadline, and before the run has ended.
#[test]
fn an_expired_deadline_cannot_be_moved_by_the_clean_up_or_later() {
    struct OnDrop<F: Fn()>(F);

    impl<F: Fn()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            self.0();
        }
    }

    run(|_| async {
        let (scope, tried) = (CancelScope::with_timeout(millis(5)), Cell::new(None));
        let later = Instant::now() + millis(50);
        let result = scope.run(async {
            let _clean_up = OnDrop(|| tried.set(Some(scope.reschedule(later))));
            pending::<()>().await;
        });
        assert!(result.await.is_err());
        assert_eq!(tried.get(), Some(Err(RescheduleError::Cancelled)));
        assert_eq!(scope.reschedule(later), Err(RescheduleError::Ended));
        assert_ne!(scope.deadline(), Some(later));
    });
}

#[test]
#[should_panic = "a cancel scope runs one future, once"]
fn a_scope_is_not_run_twice() {
    let scope = CancelScope::new();
    drop(scope.run(async {}));
    drop(scope.run(async {}));
}

#[test]
fn deadlines_are_inherited() {
    run(|_| async {
        let start = Instant::now();
        assert_eq!(effective_deadline(), None);
        let inner = async || timeout(millis(50), async { effective_deadline().unwrap() - start }).await.unwrap();
        assert_eq!(inner().await, millis(50));
        let outer = timeout(millis(9), async {
            assert_eq!(inner().await, millis(9));
            let scope = CancelScope::with_timeout(millis(3));
            let seen = scope.run(async { effective_deadline() }).await.unwrap();
            assert_eq!(seen, Some(start + millis(3)));
            // Also through members, which are polled separately.
            let deadlines = gather([1, 2].map(async |n| {
                sleep(millis(n)).await;
                Ok::<_, ()>(effective_deadline().unwrap())
            }));
            assert_eq!(deadlines.await, Ok(vec![start + millis(9); 2]));
        });
        outer.await.unwrap();
        assert_eq!(effective_deadline(), None);
    });
}

#[test]
fn many_timeouts_expire_in_the_order_of_their_deadlines() {
    run(|trace| async move {
        let start = Instant::now();
        picot_tasks::gather_settled((0..100u64).rev().map(|n| {
            let trace = &trace;
            async move {
                assert!(timeout(millis(n), sleep_until(start + millis(500))).await.is_err());
                trace.add(n);
            }
        }))
        .await;
        let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(trace.take(), expected);
    });
}

#[test]
fn errors_of_timeouts_and_scopes_become_io_errors_that_contain_them() {
    run(|_| async {
        let elapsed: io::Result<()> = async { Ok(timeout(millis(5), pending()).await?) }.await;
        let error = elapsed.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let text = error.to_string();
        assert!(text.starts_with("timed out after 5ms on the virtual clock (timeout set at "), "{text}");
        error.downcast::<Elapsed>().unwrap();

        let scope = CancelScope::new();
        scope.cancel("not needed any more");
        let cancelled: io::Result<()> = async { Ok(scope.run(pending()).await?) }.await;
        let error = cancelled.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert_eq!(error.downcast::<CancelError>().unwrap().reason().as_str(), "not needed any more");
    });
}

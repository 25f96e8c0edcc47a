//! `JoinSet`, `wait` and `shield`: nothing is cancelled by waiting, and nothing is lost.

use std::future::{pending, poll_fn};
use std::pin::Pin;

use futures_lite::Stream as _;
use picot_loop::{EventLoop, LoopHandle, VirtualClock, sleep, spawn, yield_now};
use picot_tasks::{JoinSet, shield, timeout};

use crate::trace::{Trace, millis, reports, run, sleeper};

/// A set of tasks that sleep for these times and return them; odd ones fail.
fn sleepers(trace: &Trace, times: &[u64]) -> JoinSet<Result<u64, u64>> {
    let task = |&time| {
        let trace = trace.clone();
        spawn(async move {
            let _drop = trace.on_drop(format!("{time} dropped"));
            sleep(millis(time)).await;
            if time % 2 == 0 { Ok(time) } else { Err(time) }
        })
    };
    times.iter().map(task).collect()
}

/// The outcome of a task that ends with a number, either way.
type Outcome = Result<Result<u64, u64>, picot_loop::JoinError>;

fn values<I>(outcomes: Vec<(I, Outcome)>) -> Vec<u64> {
    outcomes.into_iter().map(|(_, outcome)| outcome.unwrap().unwrap_or_else(|error| error)).collect()
}

#[test]
fn wait_first_returns_ended_tasks_and_the_others_continue() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[4, 2]);
        assert_eq!(values(set.wait_first().await.unwrap()), [2]);
        assert_eq!((trace.take(), set.len()), (vec!["2 dropped".to_string()], 1));
        sleep(millis(10)).await;
        assert_eq!(trace.take(), ["4 dropped"], "it has continued");
        assert_eq!(values(set.wait_first().await.unwrap()), [4]);
    });
}

#[test]
fn tasks_that_end_in_one_turn_are_done_together() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[2, 9, 2, 4]);
        assert_eq!(values(set.wait_first().await.unwrap()), [2, 2]);
    });
}

#[test]
fn wait_first_error_ends_for_a_new_and_for_an_earlier_error() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[2, 4, 5, 8]);
        assert_eq!(values(set.wait_first_error().await.unwrap()), [2, 4, 5]);
        let mut set = sleepers(&trace, &[1, 8]);
        sleep(millis(2)).await;
        assert_eq!(values(set.wait_first_error().await.unwrap()), [1]);
        let mut set = sleepers(&trace, &[2, 8]);
        let mut times = values(set.wait_first_error().await.unwrap());
        times.sort_unstable();
        assert_eq!(times, [2, 8], "without an error it waits for all");
        let mut set: JoinSet<()> = [spawn(pending()), spawn(async { panic!("on purpose") })].into_iter().collect();
        assert!(set.wait_first_error().await.unwrap()[0].1.as_ref().unwrap_err().is_panic());
    });
}

#[test]
fn a_limit_is_not_an_error_and_cancels_nothing() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[2, 20]);
        assert_eq!(values(set.wait_all().limit(millis(10)).await.unwrap()), [2]);
        assert_eq!(values(set.wait_all().limit(millis(1)).await.unwrap()), []);
        assert_eq!(values(set.wait_all().limit(None).await.unwrap()), [20]);
    });
}

#[test]
fn waiting_for_an_empty_set_is_an_error() {
    run(|_| async {
        let mut set = JoinSet::<()>::new();
        assert!(set.wait_all().await.unwrap_err().to_string().starts_with("the set is empty"));
        assert!(set.next().await.is_none());
    });
}

#[test]
fn a_wait_that_is_dropped_leaves_tasks_running_and_loses_no_outcome() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[2, 4]);
        assert!(timeout(millis(3), set.wait_all()).await.is_err());
        assert_eq!(set.len(), 2, "one has ended, and its outcome is there");
        sleep(millis(3)).await;
        assert_eq!(trace.take(), ["2 dropped", "4 dropped"]);
        assert_eq!(values(set.wait_all().await.unwrap()), [2, 4]);
    });
}

#[test]
fn a_set_returns_outcomes_in_order_and_its_drop_cancels_its_tasks() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[6, 2, 4]);
        assert_eq!(set.next().await.unwrap().1.unwrap(), Ok(2));
        set.cancel_all("enough");
        for _ in 0..2 {
            let error = set.next().await.unwrap().1.unwrap_err();
            assert_eq!(error.reason().unwrap().as_str(), "enough");
        }
        assert!(set.is_empty());
        trace.take();
        drop(sleepers(&trace, &[6]));
        sleepers(&trace, &[8]).cancel_and_wait("the end").await;
        assert_eq!(trace.take(), Vec::<String>::new(), "they were cancelled before their first step");
        sleepers(&trace, &[2]).detach();
        sleep(millis(3)).await;
        assert_eq!(trace.take(), ["2 dropped"]);
    });
}

#[test]
fn shielded_work_continues_when_the_wait_is_dropped() {
    run(|trace| async move {
        let inside = trace.clone();
        let mut work = shield(async move { sleeper(&inside, "work", 5).await });
        assert!(timeout(millis(1), &mut work).await.is_err());
        assert_eq!(work.await.unwrap(), "work");
        assert_eq!(trace.take(), ["work", "work dropped"]);
        // Also without an earlier wait.
        let inside = trace.clone();
        drop(shield(async move { sleeper(&inside, "unseen", 5).await }));
        sleep(millis(6)).await;
        assert_eq!(trace.take(), ["unseen", "unseen dropped"]);
    });
}

#[test]
fn cancelling_shielded_work_ends_the_wait_and_finished_work_is_returned_at_once() {
    run(|_| async {
        let work = shield(pending::<()>());
        work.cancel("after all");
        assert_eq!(work.await.unwrap_err().reason().unwrap().as_str(), "after all");
        let work = shield(async { 7 });
        yield_now().await;
        let mut work = std::pin::pin!(work);
        let at_once = std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx))).await;
        assert!(matches!(at_once, std::task::Poll::Ready(Ok(7))));
    });
}

#[test]
fn shielded_work_is_listed_by_the_loop_and_dropped_at_close() {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let trace = Trace::default();
    let inside = trace.clone();
    let id = event_loop
        .run_until_complete(async {
            let work = shield(async move { sleeper(&inside, "work", 5).await });
            yield_now().await;
            assert!(LoopHandle::current().tasks().iter().any(|task| task.id() == work.id()));
            work.id()
        })
        .unwrap();
    assert_eq!(trace.take(), Vec::<String>::new());
    let report = event_loop.close().unwrap();
    assert_eq!(report.tasks.iter().map(|task| task.id()).collect::<Vec<_>>(), [id]);
    assert_eq!(trace.take(), ["work dropped"]);
}

#[test]
fn a_panic_of_shielded_work_without_a_wait_is_reported() {
    run(|_| async {
        let reports = reports();
        drop(shield(async { std::panic::resume_unwind(Box::new("lost")) }));
        sleep(millis(1)).await;
        assert_eq!(reports.take(), ["panicked with \"lost\""]);
    });
}

#[test]
fn what_has_ended_is_taken_without_a_wait_in_the_order_of_the_ends() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[3, 1, 2]);
        assert!(set.try_next().is_none() && JoinSet::<()>::new().try_next().is_none());
        sleep(millis(2)).await;
        yield_now().await;
        assert_eq!(values(set.try_next().into_iter().collect()), [1]);
        assert_eq!(values(set.try_next().into_iter().collect()), [2]);
        assert!(set.try_next().is_none());
        assert_eq!(set.len(), 1);
        let (_, last) = set.next().await.unwrap();
        assert_eq!(last.unwrap(), Err(3));
        assert!(set.try_next().is_none() && set.is_empty());
    });
}

#[test]
fn a_stream_that_waits_is_woken_also_after_a_look_in_between() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[2]);
        let mut looked = false;
        let next = poll_fn(|cx| {
            let poll = Pin::new(&mut set).poll_next(cx);
            // Ignored by this poll, and the wake is still to come.
            assert!(looked || set.try_next().is_none());
            looked = true;
            poll
        });
        assert_eq!(next.await.unwrap().1.unwrap(), Ok(2));
    });
}

#[test]
fn one_task_of_a_set_is_cancelled() {
    run(|trace| async move {
        let mut set = sleepers(&trace, &[2, 4]);
        let id = set.spawn(pending());
        yield_now().await;
        assert!(set.cancel(id, "too slow"));
        let (ended, outcome) = set.next().await.unwrap();
        assert_eq!((ended, outcome.unwrap_err().reason().unwrap().as_str()), (id, "too slow"));
        assert!(!set.cancel(id, "again"), "it is not in the set any more");
        assert_eq!(values(set.wait_all().await.unwrap()), [2, 4]);
    });
}

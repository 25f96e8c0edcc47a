//! Outcomes come in the order of the ends, and a deadline does not discard a ready value.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::StreamExt;
use picot_context::budget;
use picot_loop::{Instant, Task, sleep, spawn, yield_now};
use picot_tasks::{
    CancelScope, Child, JoinSet, Scope, as_completed, gather, move_on_after, race, scope, shield, supervised, timeout,
    timeout_at,
};
use proptest::prelude::*;

use crate::trace::{Gate, millis, run};

async fn work(time: u64) -> u64 {
    sleep(millis(time)).await;
    time
}

/// The sleeps, in milliseconds, and their numbers, in the order in which they end: ties in the
/// order of their spawns.
fn ordered(times: &[u64]) -> Vec<(usize, u64)> {
    let mut ordered: Vec<_> = times.iter().copied().enumerate().collect();
    ordered.sort_by_key(|(_, time)| *time);
    ordered
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// The caller polls at once, late, or from time to time, with more members than are polled in
    /// one step.
    #[test]
    fn outcomes_come_in_the_order_of_the_ends_whenever_they_are_polled(
        times in proptest::collection::vec(1..30u64, 1..80),
        pause in 0..20u64,
        pause_at_first in 0..20u64,
    ) {
        let expected = ordered(&times);
        let (set, waited, completed) = run(|_| async {
            let make = || -> JoinSet<u64> { times.iter().map(|&time| spawn(work(time))).collect() };
            let mut set = make();
            sleep(millis(pause_at_first)).await;
            let mut from_set = Vec::new();
            while let Some((_, time)) = set.next().await {
                from_set.push(time.unwrap());
                sleep(millis(pause)).await;
            }
            let mut set = make();
            sleep(millis(pause_at_first)).await;
            let mut from_wait = Vec::new();
            while !set.is_empty() {
                let done = set.wait_first().await.unwrap();
                from_wait.extend(done.into_iter().map(|(_, time)| time.unwrap()));
                sleep(millis(pause)).await;
            }
            let mut tasks = as_completed(times.iter().map(|&time| spawn(work(time))));
            let mut from_completed = Vec::new();
            while let Some((n, time)) = tasks.next().await {
                from_completed.push((n, time.unwrap()));
                sleep(millis(pause)).await;
            }
            (from_set, from_wait, from_completed)
        });
        let values: Vec<_> = expected.iter().map(|(_, time)| *time).collect();
        prop_assert_eq!(&set, &values);
        prop_assert_eq!(&waited, &values);
        prop_assert_eq!(completed, expected);
    }
}

#[test]
fn tasks_that_ended_before_they_were_inserted_come_in_the_order_of_the_insertions() {
    run(|_| async {
        let mut tasks: Vec<_> = [3, 1, 2].map(|time| spawn(work(time))).into();
        sleep(millis(5)).await;
        tasks.push(spawn(work(1)));
        let set: JoinSet<_> = tasks.into_iter().collect();
        assert_eq!(set.map(|(_, time)| time.unwrap()).collect::<Vec<_>>().await, [3, 1, 2, 1]);
    });
}

#[test]
fn a_race_of_many_is_won_by_the_one_that_ends_first_however_late_it_is_polled() {
    run(|_| async {
        let tasks = [30, 20, 10].map(|time| spawn(work(time)));
        let mut won = Box::pin(race(tasks));
        assert!(futures_lite::future::poll_once(&mut won).await.is_none());
        sleep(millis(100)).await;
        assert_eq!(won.await.unwrap(), 10);
    });
}

#[test]
fn work_that_has_ended_returns_its_value_despite_the_deadline() {
    run(|_| async {
        let finished = async || {
            let task = spawn(async { 5 });
            yield_now().await;
            assert!(task.is_finished());
            task
        };
        let start = Instant::now();
        sleep(millis(3)).await;
        for deadline in [start, Instant::now()] {
            let scope = || CancelScope::with_deadline(deadline);
            assert_eq!(timeout_at(deadline, finished().await).await.unwrap().unwrap(), 5);
            assert_eq!(timeout_at(deadline, &mut finished().await).await.unwrap().unwrap(), 5);
            assert_eq!(scope().run(ready(5)).await.unwrap(), 5);
            assert_eq!(scope().grace(millis(1)).run(ready(5)).await.unwrap(), 5);
            assert_eq!(timeout_at(deadline, gather([finished().await])).await.unwrap().unwrap(), [5]);
            assert_eq!(timeout_at(deadline, timeout_at(deadline, ready(5))).await.unwrap().unwrap(), 5);
            let mut set: JoinSet<_> = [finished().await, spawn(pending())].into_iter().collect();
            assert_eq!(timeout_at(deadline, set.next()).await.unwrap().unwrap().1.unwrap(), 5);
            let mut set: JoinSet<_> = (0..400).map(|_| spawn(async { 5 })).collect();
            set.insert(spawn(pending()));
            sleep(millis(1)).await;
            assert_eq!(set.wait_all().limit(Duration::ZERO).await.unwrap().len(), 400);
        }
        assert_eq!(move_on_after(Duration::ZERO, finished().await).await.unwrap().unwrap(), 5);
        assert!(timeout(Duration::ZERO, shield(async { 5 })).await.is_err(), "it has not ended");
        // In the turn in which a grace ends.
        let graceful = CancelScope::with_timeout(millis(1)).grace(millis(4));
        assert!(graceful.run(sleep(millis(5))).await.is_ok());
    });
}

/// A leaf that is ready if the budget allows it.
async fn leaf() {
    std::future::poll_fn(|cx| {
        std::task::ready!(budget::poll_left(cx));
        budget::spend();
        Poll::Ready(())
    })
    .await;
}

#[test]
fn a_step_without_budget_discards_no_value_and_starves_no_deadline() {
    run(|_| async {
        for spent in [0, 100, 127, 128, 129, 500] {
            let spend = || (0..spent).for_each(|_| budget::spend());
            spend();
            assert!(timeout(Duration::ZERO, leaf()).await.is_ok(), "{spent} before the run");
            let inside = async {
                spend();
                leaf().await;
            };
            assert!(timeout(Duration::ZERO, inside).await.is_ok(), "{spent} inside of the run");
            spend();
            let mut set: JoinSet<_> = [spawn(async {}), spawn(pending())].into_iter().collect();
            yield_now().await;
            spend();
            assert_eq!(set.wait_all().limit(Duration::ZERO).await.unwrap().len(), 1);
        }
        let busy = async || loop {
            leaf().await;
        };
        assert!(timeout(millis(0), busy()).await.is_err());
        let beside = race((busy(), async { _ = timeout(Duration::ZERO, pending::<()>()).await }));
        beside.await;
        let deeper = race((busy(), async { _ = gather([timeout(Duration::ZERO, pending::<()>())]).await }));
        deeper.await;
        let wait_beside = async {
            let mut set: JoinSet<()> = [spawn(pending())].into_iter().collect();
            set.wait_all().limit(Duration::ZERO).await.unwrap();
        };
        race((busy(), wait_beside)).await;
    });
}

#[test]
fn a_task_that_waits_for_itself_gets_an_error_and_continues() {
    run(|trace| async move {
        let slot: Rc<RefCell<Option<Child<()>>>> = Rc::default();
        supervised(async |s| {
            let (mine, inside) = (slot.clone(), trace.clone());
            let child = s.spawn(async move {
                let me = mine.take().unwrap();
                inside.add(me.await.unwrap_err().is_cancelled());
                yield_now().await;
                inside.add("goes on");
            });
            slot.replace(Some(child));
        })
        .await;
        assert_eq!(trace.take(), ["false", "goes on"]);

        let slot: Rc<RefCell<Option<Task<()>>>> = Rc::default();
        let (mine, inside) = (slot.clone(), trace.clone());
        let set = Rc::new(RefCell::new(JoinSet::new()));
        let kept = set.clone();
        slot.replace(Some(spawn(async move {
            kept.borrow_mut().insert(mine.take().unwrap());
            let mut set = kept.take();
            inside.add(set.next().await.unwrap().1.unwrap_err().is_cancelled());
            drop(set);
            yield_now().await;
            inside.add("goes on");
        })));
        sleep(millis(1)).await;
        assert_eq!(trace.take(), ["false", "goes on"]);
    });
}

#[test]
fn waiters_of_a_token_are_woken_in_the_order_in_which_they_began_to_wait() {
    run(|trace| async move {
        let cancel = CancelScope::new();
        let token = cancel.token();
        let waiter = |name: u32| {
            let (token, trace) = (token.clone(), trace.clone());
            spawn(async move {
                token.cancelled().await;
                trace.add(name);
            })
        };
        let tasks: Vec<_> = (0..6).map(waiter).collect();
        yield_now().await;
        for gone in [1, 3] {
            tasks[gone].cancel("gone");
        }
        yield_now().await;
        let late: Vec<_> = (6..9).map(waiter).collect();
        yield_now().await;
        cancel.cancel("now");
        sleep(millis(1)).await;
        assert_eq!(trace.take(), ["0", "2", "4", "5", "6", "7", "8"]);
        drop((tasks, late));
    });
}

#[test]
fn a_child_that_has_ended_keeps_its_value_when_its_scope_ends_in_that_step() {
    run(|_| async {
        let value = Cell::new(0);
        let result = scope(async |s: Scope<'_, ()>| {
            let child = s.spawn(async { Ok(3) });
            yield_now().await;
            assert!(child.is_finished() && !child.cancel("too late"));
            value.set(child.await.unwrap());
            Err::<(), _>(())
        });
        assert!(result.await.is_err());
        assert_eq!(value.get(), 3);
    });
}

/// The members end while the caller is busy with the first output. The outputs still come in the
/// order of the ends, because each member was polled, and so registered its waker, before that
/// output.
#[test]
fn outputs_of_futures_come_in_the_order_of_the_ends_with_a_busy_caller() {
    run(|_| async {
        let doors: Vec<_> = (0..4).map(|_| Gate::default()).collect();
        doors[0].open();
        let mut outputs = as_completed(doors.iter().map(Gate::wait));
        assert_eq!(outputs.next().await, Some((0, ())));
        doors[3].open();
        doors[1].open();
        doors[2].open();
        let mut order = Vec::new();
        while let Some((number, ())) = outputs.next().await {
            order.push(number);
        }
        assert_eq!(order, [3, 1, 2]);
    });
}

//! `gather`, `gather_settled` and `as_completed`: order, errors, and the cost of a wake.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::{StreamExt, future};
use picot_loop::{JoinError, sleep, spawn, yield_now};
use picot_tasks::{JoinSet, as_completed, gather, gather_settled, scope, shield, timeout};

use crate::trace::{Gate, millis, run, sleeper};

#[test]
fn results_are_in_the_order_of_the_input_and_not_of_the_ends() {
    run(|trace| async move {
        let ok = async |name, time| Ok::<_, ()>(sleeper(&trace, name, time).await);
        let values = gather([ok("c", 3), ok("a", 1), ok("b", 2)]).await;
        assert_eq!(values, Ok(vec!["c", "a", "b"]));
        assert_eq!(trace.take(), ["a", "a dropped", "b", "b dropped", "c", "c dropped"]);
        assert_eq!(gather((ok("y", 2), async { Ok(7) }, ok("x", 1))).await, Ok(("y", 7, "x")));
    });
}

#[test]
fn the_first_error_drops_the_rest_before_it_is_returned() {
    run(|trace| async move {
        let member = async |name, time, result: Result<(), &'static str>| {
            sleeper(&trace, name, time).await;
            result
        };
        let all = gather([member("late", 9, Ok(())), member("bad", 2, Err("no")), member("early", 1, Ok(()))]).await;
        trace.add(all.unwrap_err());
        assert_eq!(trace.take(), ["early", "early dropped", "bad", "bad dropped", "late dropped", "no"]);
        let both = gather((member("late", 9, Ok(())), member("bad", 2, Err("no")))).await;
        trace.add(both.unwrap_err());
        assert_eq!(trace.take(), ["bad", "bad dropped", "late dropped", "no"]);
    });
}

#[test]
fn settled_waits_for_all_and_keeps_errors_in_place() {
    run(|trace| async move {
        let member = async |name, time, result: Result<u8, &'static str>| {
            sleeper(&trace, name, time).await;
            result
        };
        let all = gather_settled([member("a", 2, Ok(1)), member("b", 1, Err("no")), member("c", 3, Ok(3))]).await;
        assert_eq!(all, [Ok(1), Err("no"), Ok(3)]);
        assert_eq!(gather_settled((member("d", 1, Err("no")), ready("plain"))).await, (Err("no"), "plain"));
    });
}

#[test]
fn a_gather_without_members_ends_at_once() {
    run(|_| async {
        let mut polls = 0;
        let mut empty = std::pin::pin!(gather(Vec::<std::future::Ready<Result<(), ()>>>::new()));
        let values = poll_fn(|cx| {
            polls += 1;
            empty.as_mut().poll(cx)
        });
        assert_eq!(values.await, Ok(vec![]));
        assert_eq!(polls, 1);
        assert!(gather_settled(Vec::<std::future::Ready<()>>::new()).await.is_empty());
        assert_eq!(as_completed(Vec::<std::future::Ready<()>>::new()).next().await, None);
    });
}

#[test]
fn a_cancelled_member_is_an_error_of_the_gather_and_does_not_cancel_it() {
    run(|_| async {
        let (one, two) = (spawn(pending::<()>()), spawn(pending::<()>()));
        one.cancel("not needed");
        let aggregate = spawn(async { gather([one, two]).await });
        let error: JoinError = aggregate.await.expect("the aggregate itself is not cancelled").unwrap_err();
        assert_eq!(error.reason().unwrap().as_str(), "not needed");
    });
}

#[test]
fn cancelling_the_gather_cancels_the_members_that_have_not_ended() {
    run(|trace| async move {
        let task = |name: &'static str, time| {
            let trace = trace.clone();
            spawn(async move { sleeper(&trace, name, time).await })
        };
        let (a, b, c) = (task("a", 1), task("b", 9), task("c", 9));
        let aggregate = spawn(gather([a, b, c]));
        sleep(millis(5)).await;
        assert!(aggregate.cancel_and_wait("the test has ended").await.is_none());
        yield_now().await;
        assert_eq!(trace.take(), ["a", "a dropped", "b dropped", "c dropped"]);
        assert_eq!(picot_loop::LoopHandle::current().tasks().len(), 1, "the root");
    });
}

#[test]
fn cancel_after_all_members_have_ended_is_refused_and_keeps_the_result() {
    run(|_| async {
        let mut aggregate = spawn(gather([ready(Ok::<_, ()>(1)), ready(Ok(2))]));
        let values = (&mut aggregate).await;
        assert!(!aggregate.cancel("too late"));
        assert_eq!(values.unwrap(), Ok(vec![1, 2]));
        let settled = spawn(gather_settled([pending::<()>()]));
        assert!(settled.cancel("in time"));
        assert!(settled.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_wake_polls_the_member_that_was_woken_and_no_other() {
    run(|_| async {
        let gates: Vec<_> = (0..1_000).map(|_| Gate::default()).collect();
        let opener = gates.clone();
        let polls = move || opener.iter().map(|gate| gate.polls()).sum::<usize>();
        let opener = gates.clone();
        let all = spawn(async move { gather_settled(gates.iter().map(Gate::wait)).await });
        sleep(millis(1)).await;
        assert_eq!(polls(), 1_000);
        for (n, gate) in opener.iter().enumerate() {
            gate.open();
            sleep(millis(1)).await;
            assert_eq!(polls(), 1_001 + n);
        }
        assert_eq!(all.await.unwrap().len(), 1_000);
    });
}

#[test]
fn a_hundred_thousand_members_are_polled_twice_each() {
    run(|_| async {
        const MANY: usize = 100_000;
        let polls = Cell::new(0);
        let wakers = RefCell::new(Vec::<Waker>::new());
        let member = |n: usize| {
            let mut is_woken = false;
            poll_fn({
                let (polls, wakers) = (&polls, &wakers);
                move |cx| {
                    polls.set(polls.get() + 1);
                    if std::mem::replace(&mut is_woken, true) {
                        return Poll::Ready(Ok::<_, ()>(n));
                    }
                    wakers.borrow_mut().push(cx.waker().clone());
                    if wakers.borrow().len() == MANY {
                        // In reverse, and each twice: neither costs a poll.
                        let wakers = wakers.take();
                        wakers.iter().rev().for_each(Waker::wake_by_ref);
                        wakers.into_iter().for_each(Waker::wake);
                    }
                    Poll::Pending
                }
            })
        };
        let values = gather((0..MANY).map(member)).await.unwrap();
        assert!(values.into_iter().eq(0..MANY));
        assert_eq!(polls.get(), 2 * MANY);
    });
}

#[test]
fn a_thousand_ready_members_let_the_rest_of_the_loop_run_in_between() {
    run(|_| async {
        let done = Rc::new(Cell::new(0));
        let most_at_once = Rc::new(Cell::new(0));
        let other = spawn({
            let (done, most) = (done.clone(), most_at_once.clone());
            async move {
                let mut seen = 0;
                while done.get() < 1_000 {
                    most.set(most.get().max(done.get() - seen));
                    seen = done.get();
                    yield_now().await;
                }
            }
        });
        gather_settled((0..1_000).map(|_| async { done.set(done.get() + 1) })).await;
        other.await.unwrap();
        assert_eq!(most_at_once.get(), 32);
    });
}

#[test]
fn members_are_woken_from_other_threads() {
    run(|_| async {
        let (send, receive) = std::sync::mpsc::channel::<Waker>();
        let thread = std::thread::spawn(move || receive.into_iter().for_each(|waker| waker.wake()));
        let member = || {
            let mut sent = Some(send.clone());
            poll_fn(move |cx| match sent.take() {
                Some(send) => {
                    send.send(cx.waker().clone()).unwrap();
                    Poll::Pending
                }
                None => Poll::Ready(()),
            })
        };
        gather_settled((0..10_000).map(|_| member())).await;
        drop(send);
        thread.join().unwrap();
    });
}

#[test]
fn as_completed_returns_outputs_in_the_order_of_the_ends() {
    run(|trace| async move {
        let mut completed = as_completed([3, 1, 2].map(async |time| {
            sleep(millis(time)).await;
            time
        }));
        assert_eq!(completed.len(), 3);
        assert_eq!(completed.next().await, Some((1, 1)));
        // A dropped wait loses nothing.
        let dropped = picot_tasks::timeout(Duration::from_micros(1), completed.next()).await;
        assert!(dropped.is_err());
        assert_eq!(completed.next().await, Some((2, 2)));
        assert_eq!(completed.next().await, Some((0, 3)));
        assert_eq!(completed.next().await, None);

        let tasks = as_completed([("a", 9), ("b", 1)].map(|(name, time)| {
            let trace = trace.clone();
            spawn(async move { sleeper(&trace, name, time).await })
        }));
        sleep(millis(5)).await;
        assert_eq!(trace.take(), ["b", "b dropped"], "tasks run by themselves");
        drop(tasks);
        yield_now().await;
        assert_eq!(trace.take(), ["a dropped"]);
    });
}

#[test]
fn a_consumer_of_outputs_that_are_all_ready_lets_others_run() {
    run(|_| async {
        let mut completed = as_completed((0..1_000).map(ready));
        let turns = Rc::new(Cell::new(0));
        let inside = turns.clone();
        let other = spawn(async move {
            loop {
                inside.set(inside.get() + 1);
                yield_now().await;
            }
        });
        assert_eq!(completed.next().await, Some((0, 0)));
        assert_eq!(turns.get(), 1_000 / 32, "all are started before the first output, 32 in each step");
        while completed.next().await.is_some() {}
        assert_eq!(turns.get(), 1_000 / 32 + 1_000 / 128, "and taken by the budget of a step");
        other.cancel("done");
    });
}

#[test]
fn combinators_of_other_crates_work_with_all_futures() {
    run(|_| async {
        let doubled = as_completed([2, 1].map(async |time| {
            sleep(millis(time)).await;
            time
        }));
        assert_eq!(doubled.map(|(index, time)| (index, 2 * time)).collect::<Vec<_>>().await, [(1, 2), (0, 4)]);

        let set: JoinSet<_> = (0..3).map(|n| spawn(async move { n })).collect();
        assert_eq!(set.map(|(_, outcome)| outcome.unwrap()).fold(0, |sum, n| sum + n).await, 3);

        let (one, two) = future::zip(timeout(millis(5), ready(1)), shield(async { 2 })).await;
        assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
        let values = scope(async |s| {
            let (one, two) = (s.spawn(async { Ok::<_, ()>(1) }), s.spawn(async { Ok(2) }));
            Ok(future::try_zip(one.into_future(), spawn(two_tasks(two)).into_future()).await.unwrap())
        });
        assert_eq!(values.await.unwrap(), (1, 7));

        async fn two_tasks(child: picot_tasks::Child<i32>) -> i32 {
            child.await.unwrap() + 5
        }
    });
}

//! Fairness in both directions: a flood on one side does not starve the other.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::thread;

use picot_executor::Executor;

use crate::trace::yield_now;

/// Tasks that are always ready. Each adds to one count of steps.
fn flood(executor: &Executor, tasks: usize) -> Rc<Cell<usize>> {
    let steps = Rc::new(Cell::new(0));
    for _ in 0..tasks {
        let steps = steps.clone();
        drop(executor.spawn(async move {
            loop {
                steps.set(steps.get() + 1);
                yield_now().await;
            }
        }));
    }
    steps
}

#[test]
fn under_local_load_items_from_other_threads_wait_for_one_batch_at_most() {
    const TASKS: usize = 61;
    let executor = Executor::new();
    let steps = flood(&executor, TASKS);
    let (remote, ran) = (executor.remote(), Arc::new(AtomicBool::new(false)));
    let flag = ran.clone();
    let inner = steps.clone();
    let pushed_at = Rc::new(Cell::new(0));
    let at = pushed_at.clone();
    let mut remote = Some((remote, flag));
    executor.call_soon(move || {
        // In the middle of a batch of the flood.
        let (remote, flag) = remote.take().unwrap();
        thread::spawn(move || remote.call_soon(move || flag.store(true, Ordering::Relaxed)).unwrap()).join().unwrap();
        at.set(inner.get());
    });
    let seen = ran.clone();
    executor.block_on(async move {
        while !seen.load(Ordering::Relaxed) {
            yield_now().await;
        }
    });
    let waited = steps.get() - pushed_at.get();
    assert!(waited <= 2 * TASKS, "{waited} steps of others: the rest of its batch, and the next");
}

#[test]
fn a_flood_from_other_threads_does_not_starve_the_tasks_here() {
    let executor = Executor::new();
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (remote, stop, calls) = (executor.remote(), stop.clone(), calls.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    calls.fetch_add(1, Ordering::Relaxed);
                    let calls = calls.clone();
                    remote.call_soon(move || _ = calls.fetch_sub(1, Ordering::Relaxed)).unwrap();
                }
            })
        })
        .collect();
    let steps = if cfg!(miri) { 20 } else { 1000 };
    executor.block_on(async {
        for _ in 0..steps {
            yield_now().await;
        }
    });
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    executor.run_until_stalled();
    assert_eq!(calls.load(Ordering::Relaxed), 0, "every call has run");
}

#[test]
fn tasks_that_wake_themselves_or_each_other_do_not_starve_another() {
    /// Two tasks that wake each other in every step.
    fn ping_pong(executor: &Executor) {
        let wakers: Rc<RefCell<[Option<Waker>; 2]>> = Rc::default();
        for own in 0..2 {
            let wakers = wakers.clone();
            drop(executor.spawn(poll_fn(move |cx| {
                let mut wakers = wakers.borrow_mut();
                wakers[own] = Some(cx.waker().clone());
                if let Some(other) = &wakers[1 - own] {
                    other.wake_by_ref();
                }
                Poll::<()>::Pending
            })));
        }
    }
    for (others, flooding) in [("themselves", 2), ("each other", 0)] {
        let executor = Executor::new();
        if flooding == 0 {
            ping_pong(&executor);
            // In the first step the other task has no waker yet.
            assert_eq!(executor.run_batch(usize::MAX), 2);
        } else {
            flood(&executor, flooding);
        }
        let busy = executor.ready();
        let task = executor.spawn(async {
            for _ in 0..10 {
                yield_now().await;
            }
        });
        // Each batch gives it one step.
        for _ in 0..11 {
            assert!(!task.is_finished());
            assert_eq!(executor.run_batch(usize::MAX), busy + 1, "they wake {others}");
        }
        assert!(task.is_finished() && busy > 0);
    }
}

/// Of items from other threads (calls, spawns, wakes, cancels), one turn takes a bounded number, in
/// order.
#[test]
fn a_turn_takes_a_bounded_number_of_items_from_other_threads() {
    const COUNT: usize = Executor::PER_TAKE + 1;
    let executor = Executor::new();
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    for _ in 0..COUNT {
        let (wakers, mut is_woken) = (wakers.clone(), false);
        drop(executor.spawn(poll_fn(move |cx| {
            if std::mem::replace(&mut is_woken, true) {
                return Poll::Ready(());
            }
            wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })));
    }
    executor.run_until_stalled();
    let (remote, wakers) = (executor.remote(), wakers.take());
    let sender = thread::spawn(move || {
        (0..COUNT).for_each(|_| remote.call_soon(|| ()).unwrap());
        wakers.into_iter().for_each(Waker::wake);
        let tasks: Vec<_> = (0..COUNT).map(|_| remote.spawn(|| async {}).unwrap()).collect();
        tasks.iter().for_each(|task| assert!(task.cancel("not needed")));
        remote.backlog()
    });
    let backlog = sender.join().unwrap();
    assert_eq!(backlog, 4 * COUNT);
    let mut turns = Vec::new();
    while executor.has_remote() {
        turns.push(executor.take_remote());
        executor.run_batch(usize::MAX);
    }
    assert_eq!(turns, [Executor::PER_TAKE; 4].into_iter().chain([4]).collect::<Vec<_>>());
    assert_eq!((executor.remote_len(), executor.spawner().task_count()), (0, 0));
}

#[test]
fn a_handle_with_a_limit_refuses_calls_above_it_and_returns_them() {
    let executor = Executor::new();
    let (all, few) = (executor.remote(), executor.remote().with_limit(2));
    let sender = thread::spawn({
        let few = few.clone();
        move || {
            all.call_soon(|| ()).unwrap();
            few.call_soon(|| ()).unwrap();
            let call = few.call_soon(|| ()).unwrap_err();
            let make = few.spawn(|| async { 3 }).unwrap_err();
            assert!(call.is_full() && make.is_full(), "{call}");
            assert!(call.to_string().starts_with("too many calls wait"), "{call}");
            all.call_soon(call.into_call()).unwrap();
            (make.into_call(), few)
        }
    });
    let (make, few) = sender.join().unwrap();
    assert_eq!((few.backlog(), executor.run_until_stalled(), few.backlog()), (3, 3, 0));
    assert_eq!(executor.block_on(make()), 3);
    thread::spawn(move || few.call_soon(|| ()).unwrap()).join().unwrap();
    assert_eq!(executor.run_until_stalled(), 1, "there is room again");
}

/// Each future of the crate that can complete at once, awaited in a loop by a task that has nothing
/// else to suspend for: a heartbeat beside it has its turns.
#[test]
fn futures_that_complete_at_once_spend_the_budget() {
    use std::pin::Pin;

    use picot_executor::Spawner;

    type Once = fn(&Spawner) -> Pin<Box<dyn Future<Output = ()> + '_>>;
    let futures: [(&str, Once); 6] = [
        ("exclusive", |spawner| Box::pin(async { drop(spawner.exclusive().await) })),
        ("a wait", |spawner| Box::pin(async { spawner.build_task().eager().spawn(async {}).await.unwrap() })),
        ("a watch", |spawner| Box::pin(async { (&mut spawner.build_task().eager().spawn(async {})).await.unwrap() })),
        ("a cancellation", |spawner| {
            Box::pin(async {
                _ = spawner.build_task().eager().spawn(async {}).cancel_and_wait("the test waits for its end").await
            })
        }),
        ("a remote wait", |spawner| {
            Box::pin(async {
                let task = spawner.remote().spawn(|| async {}).unwrap();
                // Its first await may suspend; the later ones complete at once.
                while !task.is_finished() {
                    yield_now().await;
                }
                task.await.unwrap();
            })
        }),
        ("a remote watch", |spawner| {
            Box::pin(async {
                let mut task = spawner.remote().spawn(|| async {}).unwrap();
                while !task.is_finished() {
                    yield_now().await;
                }
                (&mut task).await.unwrap();
            })
        }),
    ];
    for (what, once) in futures {
        let executor = Executor::new();
        let (spawner, beats) = (executor.spawner().clone(), Rc::new(Cell::new(0)));
        let heart = beats.clone();
        let heartbeat = executor.spawn(async move {
            for _ in 0..10 {
                heart.set(heart.get() + 1);
                yield_now().await;
            }
        });
        executor.block_on(async {
            for done in 0.. {
                if heartbeat.is_finished() {
                    break;
                }
                assert!(done < 20 * picot_context::budget::PER_STEP, "{what}: {} beats", beats.get());
                once(&spawner).await;
            }
        });
    }
}

//! Task-locals are inherited as they were at the spawn, kept between steps, and never shared by
//! accident.

use std::rc::Rc;

use picot_executor::Executor;

use crate::trace::{Trace, yield_now};

picot_context::task_local! {
    static NUMBER: u32;
}

#[test]
fn a_hundred_tasks_keep_their_locals_apart() {
    let executor = Executor::new();
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            executor.spawn(async move {
                for step in 0..10 {
                    NUMBER.set(n * 10 + step);
                    yield_now().await;
                    assert_eq!(NUMBER.get(), Some(n * 10 + step));
                }
            })
        })
        .collect();
    executor.block_on(async {
        assert_eq!(NUMBER.get(), None);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(NUMBER.get(), None);
    });
}

#[test]
fn children_and_callbacks_start_with_a_snapshot_and_do_not_change_their_parent() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let (inside, spawner) = (trace.clone(), executor.spawner().clone());
    executor.block_on(async move {
        NUMBER.set(1);
        let child = spawner.spawn_named("child", {
            let trace = inside.clone();
            async move {
                trace.add(format!("child {:?}", NUMBER.get()));
                NUMBER.set(2);
                yield_now().await;
                trace.add(format!("child {:?}", NUMBER.get()));
            }
        });
        let event = inside.clone();
        spawner.call_soon(move || event.add(format!("call {:?}", NUMBER.get()))).unwrap();
        NUMBER.set(3);
        child.await.unwrap();
        inside.add(format!("parent {:?}", NUMBER.get()));
    });
    assert_eq!(NUMBER.get(), None);
    assert_eq!(trace.take(), ["child Some(1)", "call Some(1)", "child Some(2)", "parent Some(3)"]);
}

#[test]
fn the_budget_is_full_at_each_step() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let inside = trace.clone();
    drop(executor.spawn(async move {
        let mut completed = 0;
        std::future::poll_fn(|cx| {
            while completed < 300 {
                std::task::ready!(picot_context::budget::poll_left(cx));
                picot_context::budget::spend();
                completed += 1;
            }
            std::task::Poll::Ready(())
        })
        .await;
        inside.add(completed);
    }));
    assert_eq!(executor.run_until_stalled(), 3, "128 + 128 + 44");
    assert_eq!(trace.take(), ["300"]);
}

#[test]
fn locals_that_are_shared_on_purpose_are_visible_to_exactly_both_tasks() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let (inside, spawner) = (trace.clone(), executor.spawner().clone());
    executor.block_on(async move {
        NUMBER.set(1);
        let sharing = spawner.build_task().name("sharing").share_locals().spawn({
            let trace = inside.clone();
            async move {
                trace.add(format!("sees {:?}", NUMBER.get()));
                NUMBER.set(2);
                yield_now().await;
                trace.add(format!("sees {:?}", NUMBER.get()));
            }
        });
        let apart = spawner.spawn(async { NUMBER.set(9) });
        yield_now().await;
        inside.add(format!("parent sees {:?}", NUMBER.get()));
        NUMBER.set(3);
        sharing.await.unwrap();
        apart.await.unwrap();
        inside.add(format!("parent has {:?}", NUMBER.get()));
    });
    assert_eq!(trace.take(), ["sees Some(1)", "parent sees Some(2)", "sees Some(3)", "parent has Some(3)"]);
}

#[test]
fn a_task_that_shares_an_empty_set_fills_it_for_its_parent() {
    let executor = Rc::new(Executor::new());
    let spawner = executor.spawner().clone();
    executor.block_on(async move {
        spawner.build_task().share_locals().spawn(async { NUMBER.set(5) }).await.unwrap();
        assert_eq!(NUMBER.get(), Some(5));
    });
    assert_eq!(NUMBER.get(), None);
}

/// A task from another thread was not spawned by the code that happens to run the executor.
#[test]
fn items_from_another_thread_start_without_locals_and_those_of_the_own_thread_with_a_snapshot() {
    let (inner, outer) = (Executor::new(), Executor::new());
    let (sender, receiver) = std::sync::mpsc::channel();
    let note = |what: &'static str| {
        let sender = sender.clone();
        move || sender.send((what, NUMBER.get())).unwrap()
    };
    let remote = inner.remote();
    let (task, call) = (note("task"), note("call"));
    let there = remote.clone();
    std::thread::spawn(move || {
        drop(there.spawn(|| async move { task() }).unwrap());
        there.call_soon(call).unwrap();
    })
    .join()
    .unwrap();
    // The inbox is drained inside of a task of another executor, which has locals.
    let (task, call) = (note("own task"), note("own call"));
    outer.block_on(async {
        NUMBER.set(7);
        drop(remote.spawn(|| async move { task() }).unwrap());
        remote.call_soon(call).unwrap();
        assert_eq!(inner.run_until_stalled(), 4);
    });
    let seen: Vec<_> = receiver.try_iter().collect();
    assert_eq!(seen, [("own task", Some(7)), ("own call", Some(7)), ("task", None), ("call", None)]);
}

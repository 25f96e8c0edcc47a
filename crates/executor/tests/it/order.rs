//! One FIFO: tasks, callbacks and the root run in the order in which they became ready, one batch
//! at a time.

use std::rc::Rc;

use picot_executor::Executor;

use crate::trace::{Gate, Trace, yield_now};

#[test]
fn soon_callbacks_run_in_registration_order_each_once() {
    let (executor, trace) = (Executor::new(), Trace::default());
    for n in 0..4 {
        let trace = trace.clone();
        executor.call_soon(move || trace.add(n));
    }
    executor.run_until_stalled();
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["0", "1", "2", "3"]);
}

#[test]
fn items_that_a_running_callback_schedules_wait_for_the_next_batch() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let (inner, spawner) = (trace.clone(), executor.spawner().clone());
    executor.call_soon(move || {
        inner.add("first");
        let inner = inner.clone();
        spawner.call_soon(move || inner.add("second")).unwrap();
    });
    assert_eq!(executor.run_batch(usize::MAX), 1);
    assert_eq!(trace.take(), ["first"]);
    assert_eq!(executor.ready(), 1);
    assert_eq!(executor.run_batch(usize::MAX), 1);
    assert_eq!(trace.take(), ["second"]);
}

#[test]
fn tasks_callbacks_and_the_root_share_one_queue() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let spawner = executor.spawner().clone();
    executor.block_on({
        let trace = trace.clone();
        async move {
            for n in 0..2 {
                let event = trace.clone();
                spawner.call_soon(move || event.add(format!("call {n}"))).unwrap();
                let event = trace.clone();
                drop(spawner.spawn(async move { event.add(format!("task {n}")) }));
            }
            trace.add("root");
            yield_now().await;
            trace.add("root");
        }
    });
    assert_eq!(trace.take(), ["root", "call 0", "task 0", "call 1", "task 1", "root"]);
}

#[test]
fn a_task_that_wakes_itself_is_queued_behind_the_others() {
    let (executor, trace) = (Executor::new(), Trace::default());
    for name in ["a", "b", "c"] {
        let trace = trace.clone();
        drop(executor.spawn(async move {
            for turn in 0..3 {
                trace.add(format!("{name}{turn}"));
                yield_now().await;
            }
        }));
    }
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
}

#[test]
fn several_wakes_before_a_poll_make_one_poll() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let flag = Gate::default();
    drop(executor.spawn({
        let (flag, trace) = (flag.clone(), trace.clone());
        async move {
            flag.wait().await;
            trace.add("woken");
        }
    }));
    assert_eq!(executor.run_until_stalled(), 1);
    let waker = std::task::Waker::noop();
    waker.wake_by_ref();
    flag.open();
    flag.open();
    assert_eq!(executor.run_until_stalled(), 1);
    assert_eq!(trace.take(), ["woken"]);
}

#[test]
fn a_spawned_task_does_not_run_before_spawn_returns() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let inside = trace.clone();
    let task = executor.spawn(async move { inside.add("body") });
    trace.add("spawned");
    assert!(!task.is_finished());
    executor.run_until_stalled();
    assert!(task.is_finished());
    assert_eq!(trace.take(), ["spawned", "body"]);
}

#[test]
fn a_batch_runs_at_most_its_maximum() {
    let executor = Executor::new();
    for _ in 0..5 {
        executor.call_soon(|| ());
    }
    assert_eq!((executor.run_batch(2), executor.ready()), (2, 3));
    assert!(executor.step());
    assert_eq!((executor.run_batch(9), executor.step()), (2, false));
}

#[test]
fn a_root_that_was_dropped_leaves_nothing_behind() {
    let executor = Executor::new();
    let place = std::panic::Location::caller();
    drop(executor.root(place, yield_now()));
    assert_eq!(executor.spawner().tasks().len(), 0);
    // Its item is still in the queue, and must not be taken for that of the next root.
    assert_eq!(executor.block_on(async { 1 }), 1);
    assert_eq!(executor.run_until_stalled(), 0);
}

#[test]
#[should_panic(expected = "runs already")]
fn running_the_executor_from_inside_is_refused() {
    let executor = Rc::new(Executor::new());
    let inner = executor.clone();
    executor.block_on(async move { inner.block_on(async {}) });
}

#[test]
fn the_outer_run_continues_after_an_inner_run_was_refused() {
    let executor = Rc::new(Executor::new());
    let inner = executor.clone();
    let refused = executor.block_on(async move {
        let refused = picot_context::catch(|| inner.run_until_stalled()).is_err();
        yield_now().await;
        refused
    });
    assert!(refused);
}

#[test]
fn automatic_numbers_increase_and_given_names_are_kept() {
    let executor = Executor::new();
    let first = executor.spawn(async {});
    let named = executor.spawner().spawn_named("fetch", async {});
    let last = executor.spawn(async {});
    assert!(first.id() < named.id() && named.id() < last.id());
    assert_eq!((first.name(), named.name().as_deref()), (None, Some("fetch")));
    assert_eq!(first.place().file(), file!());
    assert_eq!(named.place().file(), file!());
}

#[test]
fn the_current_task_is_right_across_interleaving_tasks_and_none_outside() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let note = |trace: &Trace| {
        trace.add(picot_context::current().map_or("none".into(), |task| task.to_string()[..6].to_string()))
    };
    for name in ["left  ", "right "] {
        let trace = trace.clone();
        drop(executor.spawner().spawn_named(name, async move {
            note(&trace);
            yield_now().await;
            note(&trace);
        }));
    }
    let inside = trace.clone();
    executor.call_soon(move || note(&inside));
    executor.run_until_stalled();
    note(&trace);
    assert_eq!(trace.take(), ["left  ", "right ", "none", "left  ", "right ", "none"]);
}

#[test]
fn the_task_list_holds_exactly_the_unfinished_tasks() {
    let executor = Rc::new(Executor::new());
    let spawner = executor.spawner().clone();
    let flag = Gate::default();
    drop(spawner.spawn_named("waits", {
        let flag = flag.clone();
        async move { flag.wait().await }
    }));
    drop(executor.spawn(async {}));
    let names = executor.block_on(async move {
        yield_now().await;
        spawner.tasks().iter().map(|task| task.given_name().map(str::to_string)).collect::<Vec<_>>()
    });
    assert_eq!(names, [Some("waits".to_string()), Some("main".to_string())]);
    // Another executor of the thread has its own list.
    let other = Executor::new();
    let own = other.spawner().spawn_named("other's", std::future::pending::<()>());
    let count = executor.spawner().task_count();
    assert_eq!((count, other.spawner().task_count(), other.spawner().tasks()[0].id()), (1, 1, own.id()));
    flag.open();
    executor.run_until_stalled();
    assert!(executor.spawner().tasks().is_empty());
    drop(own);
}

#[test]
fn a_run_without_a_root_skips_the_item_of_a_dropped_root() {
    let executor = Executor::new();
    drop(executor.root(std::panic::Location::caller(), yield_now()));
    assert_eq!(executor.run_until_stalled(), 1);
    assert_eq!(executor.block_on(async { 1 }), 1);
}

#[test]
#[should_panic(expected = "run the batch with it")]
fn a_batch_without_the_living_root_is_refused() {
    let executor = Executor::new();
    let _root = executor.root(std::panic::Location::caller(), yield_now());
    executor.run_batch_with(1, None, |_| ());
}

#[test]
#[should_panic(expected = "has a root already")]
fn there_is_one_root_at_a_time() {
    let executor = Executor::new();
    let _root = executor.root(std::panic::Location::caller(), yield_now());
    executor.block_on(async {});
}

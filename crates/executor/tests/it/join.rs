//! Waiting for a task: by taking it, by watching it, and by detaching it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use picot_context::budget;
use picot_executor::{Executor, Task};
use picot_testkit::WakeCount;

use crate::trace::{Bomb, Gate, Trace, yield_now};

#[test]
fn waiting_returns_the_value_before_and_after_the_end() {
    let executor = Executor::new();
    let early = executor.spawn(async { 1 });
    let late = executor.spawn(async { 2 });
    executor.run_until_stalled();
    let sum = executor.block_on(async { early.await.unwrap() + late.await.unwrap() });
    assert_eq!(sum, 3);
    let task = executor.spawn(async { 3 });
    assert_eq!(executor.block_on(async { task.await.unwrap() }), 3);
}

#[test]
fn waiting_for_a_finished_task_does_not_suspend() {
    let executor = Executor::new();
    let mut task = executor.spawn(async { 5 });
    executor.run_until_stalled();
    let polled = Pin::new(&mut &mut task).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(5))));
}

#[test]
fn dropping_the_handle_detaches() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let inside = trace.clone();
    drop(executor.spawn(async move {
        yield_now().await;
        inside.add("ran on");
    }));
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["ran on"]);
}

#[test]
fn dropping_a_wait_cancels_the_task() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let dropped = trace.on_drop("child dropped");
    let child = executor.spawn(async move {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    let parent = executor.spawn(async move { child.await.unwrap() });
    executor.run_until_stalled();
    parent.cancel("changed my mind");
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["child dropped"]);
    assert!(executor.spawner().tasks().is_empty());
}

#[test]
fn dropping_a_watch_has_no_effect_and_the_task_can_be_watched_again() {
    let executor = Executor::new();
    let flag = Gate::default();
    let mut task = executor.spawn({
        let flag = flag.clone();
        async move {
            flag.wait().await;
            "done"
        }
    });
    executor.block_on(async {
        let watched = futures_lite::future::poll_once(&mut task).await;
        assert!(watched.is_none());
        yield_now().await;
        assert!(!task.is_finished());
        flag.open();
        assert_eq!((&mut task).await.unwrap(), "done");
    });
}

#[test]
fn a_new_waiter_replaces_the_old_one() {
    let executor = Rc::new(Executor::new());
    let flag = Gate::default();
    let task = Rc::new(RefCell::new(executor.spawn({
        let flag = flag.clone();
        async move { flag.wait().await }
    })));
    let watch = |task: Rc<RefCell<Task<()>>>| async move {
        poll_fn(|cx| Pin::new(&mut &mut *task.borrow_mut()).poll(cx)).await.unwrap();
    };
    let first = executor.spawn(watch(task.clone()));
    executor.run_until_stalled();
    let second = executor.spawn(watch(task.clone()));
    executor.run_until_stalled();
    flag.open();
    executor.run_until_stalled();
    assert!(second.is_finished());
    assert!(!first.is_finished());
}

#[test]
fn a_task_that_waits_for_itself_gets_an_error() {
    for (first_step, takes_handle) in [(true, false), (false, false), (true, true), (false, true)] {
        let (executor, trace) = (Executor::new(), Trace::default());
        let handle = Rc::new(RefCell::new(None::<Task<()>>));
        let (own, inside) = (handle.clone(), trace.clone());
        let task = executor.spawn(async move {
            if !first_step {
                yield_now().await;
            }
            let mut own: Task<()> = own.take().unwrap();
            let result = if takes_handle { own.await } else { (&mut own).await };
            inside.add(result.unwrap_err());
            yield_now().await;
            inside.add("goes on");
        });
        let text = format!("task 1 (spawned at {}) waits for itself, which would never end", task.place());
        handle.replace(Some(task));
        executor.run_until_stalled();
        assert_eq!(trace.take(), [text.as_str(), "goes on"]);
        assert!(executor.spawner().tasks().is_empty());
    }
}

#[test]
fn a_value_whose_drop_panics_is_contained_when_no_waiter_takes_it() {
    let executor = Executor::new();
    drop(executor.spawn(async { Bomb("bomb") }));
    let kept = executor.spawn(async { Bomb("bomb") });
    executor.run_until_stalled();
    drop(kept);
    assert_eq!(executor.block_on(async { 1 }), 1);
}

/// A waker whose clone runs the executor. In that clone, the task ends that is about to be awaited.
#[test]
fn a_task_that_ends_while_its_joiners_waker_is_cloned_wakes_that_joiner() {
    use std::task::{RawWaker, RawWakerVTable, Waker};
    thread_local! {
        static EXECUTOR: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
        static WAKES: RefCell<u32> = const { RefCell::new(0) };
    }
    fn clone(_: *const ()) -> RawWaker {
        let executor = EXECUTOR.take();
        if let Some(executor) = executor {
            executor.run_until_stalled();
        }
        RawWaker::new(std::ptr::null(), &VTABLE)
    }
    fn wake(_: *const ()) {
        WAKES.with_borrow_mut(|wakes| *wakes += 1);
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());

    let executor = Rc::new(Executor::new());
    let mut task = executor.spawn(async { 6 });
    EXECUTOR.set(Some(executor.clone()));
    // SAFETY: None of the functions dereferences the pointer.
    let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) };
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(Pin::new(&mut &mut task).poll(&mut cx).is_pending());
    assert!(task.is_finished());
    assert_eq!(WAKES.take(), 1);
    // The ended waiter does not block the task that gets its slot.
    let heir = executor.spawn(yield_now());
    executor.run_until_stalled();
    assert!(heir.is_finished() && WAKES.take() == 0);
    assert!(matches!(Pin::new(&mut &mut task).poll(&mut cx), Poll::Ready(Ok(6))));
}

#[test]
fn a_second_poll_with_the_same_waker_does_not_clone_it() {
    use std::task::{Context, RawWaker, RawWakerVTable, Waker};
    thread_local! {
        static CLONES: Cell<u32> = const { Cell::new(0) };
    }
    fn clone(_: *const ()) -> RawWaker {
        CLONES.set(CLONES.get() + 1);
        RawWaker::new(std::ptr::null(), &VTABLE)
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| (), |_| (), |_| ());
    // SAFETY: None of the functions dereferences the pointer.
    let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) };
    let mut cx = Context::from_waker(&waker);

    let executor = Executor::new();
    let mut local = executor.spawn(std::future::pending::<()>());
    let mut remote = executor.remote().spawn(std::future::pending::<()>).unwrap();
    for _ in 0..3 {
        assert!(Pin::new(&mut &mut local).poll(&mut cx).is_pending());
    }
    assert_eq!(CLONES.take(), 1);
    for _ in 0..3 {
        assert!(Pin::new(&mut &mut remote).poll(&mut cx).is_pending());
    }
    assert_eq!(CLONES.take(), 1);
    drop((local, remote));
}

/// A waker may keep its task's memory, so a waiter that is gone leaves none at what it waited for.
#[test]
fn a_handle_that_is_dropped_leaves_no_waker_at_its_task() {
    type Drops = (&'static str, fn(Task<()>, &WakeCount));
    fn poll_by<F: Future + Unpin>(mut future: F, count: &WakeCount) {
        assert!(count.poll(|cx| Pin::new(&mut future).poll(cx)).is_pending());
    }
    let ways: [Drops; 4] = [
        ("a watch", |mut task, count| poll_by(&mut task, count)),
        ("a wait", |task, count| poll_by(task.into_future(), count)),
        ("a cancellation", |task, count| poll_by(task.cancel_and_wait("the test drops the wait"), count)),
        ("a set's member", |task, count| task.wake_at_end(&count.waker())),
    ];
    for (what, drops) in ways {
        for is_started in [false, true] {
            let (executor, count, gate) = (Executor::new(), WakeCount::default(), Gate::default());
            let inside = gate.clone();
            let task = executor.spawn(async move { inside.wait().await });
            if is_started {
                executor.run_until_stalled();
            }
            drops(task, &count);
            assert_eq!(count.holders(), 1, "{what}: the waker is dropped with the handle");
            gate.open();
            executor.run_until_stalled();
            assert_eq!((count.get(), executor.spawner().task_count()), (0, 0), "{what}");
        }
    }
}

/// A watch ends without a trace of its own: the handle is still there, and with it the waker of the
/// last poll. On the same executor that is a key, which keeps nothing alive.
#[test]
fn a_watch_that_is_dropped_keeps_no_task_of_the_same_executor() {
    let (executor, gate) = (Executor::new(), Gate::default());
    let (inside, held) = (gate.clone(), Rc::new(()));
    let task = Rc::new(RefCell::new(executor.spawn(async move { inside.wait().await })));
    let (watched, alive) = (task.clone(), held.clone());
    let watcher = executor.spawn(async move {
        let _alive = alive;
        let watch = poll_fn(|cx| Pin::new(&mut &mut *watched.borrow_mut()).poll(cx).map(drop));
        futures_lite::future::or(watch, yield_now()).await;
    });
    executor.run_until_stalled();
    assert!(watcher.is_finished() && Rc::strong_count(&held) == 1);
    gate.open();
    assert_eq!(executor.run_until_stalled(), 1, "the task that was watched, and no other");
}

#[test]
fn an_outcome_can_be_taken_without_a_wait_once_also_when_the_budget_is_spent() {
    let executor = Executor::new();
    executor.spawner().set_error_hook(|report| unreachable!("{report}"));
    let (mut value, mut panics) = (executor.spawn(async { 7 }), executor.spawn(async { panic!("on purpose") }));
    assert!(value.try_join().is_none());
    executor.block_on(async move {
        std::future::poll_fn(|cx| {
            if !value.is_finished() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            (0..budget::PER_STEP).for_each(|_| budget::spend());
            assert_eq!(value.try_join().unwrap().unwrap(), 7);
            let error = panics.try_join().unwrap().unwrap_err();
            assert!(error.is_panic(), "it is claimed, so the hook gets no report");
            Poll::Ready(())
        })
        .await;
    });
}

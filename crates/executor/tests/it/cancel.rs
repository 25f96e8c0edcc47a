//! Cancelling takes effect at a step boundary, on the executor's thread, and a task cannot refuse
//! it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use picot_executor::{Executor, Spawner, Task};

use crate::trace::{Gate, Trace, yield_now};

#[test]
fn cancel_returns_true_while_pending_and_the_future_is_dropped_at_the_next_step() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let dropped = trace.on_drop("dropped");
    let task = executor.spawn(async move {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    executor.run_until_stalled();
    assert!(task.cancel("first"));
    trace.add("asked");
    assert!(task.cancel("second"), "still pending");
    assert!(!task.is_finished());
    assert_eq!(executor.run_until_stalled(), 1);
    assert_eq!(trace.take(), ["asked", "dropped"]);
    assert!(task.is_finished());
    assert!(!task.cancel("third"));
    let error = executor.block_on(async { task.await.unwrap_err() });
    assert!(error.is_cancelled() && !error.is_panic());
    assert_eq!(error.reason().unwrap().as_str(), "first");
    assert!(error.to_string().contains("was cancelled: first"), "{error}");
}

#[test]
fn a_task_that_is_cancelled_before_its_first_step_never_runs() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let (captured, inside) = (trace.on_drop("captured dropped"), trace.clone());
    let task = executor.spawn(async move {
        let _captured = captured;
        inside.add("body");
    });
    task.cancel("too late");
    let error = executor.block_on(async { task.await.unwrap_err() });
    assert_eq!(error.reason().unwrap().as_str(), "too late");
    assert_eq!(trace.take(), ["captured dropped"]);
}

#[test]
fn a_task_that_cancels_itself_in_its_first_step_ends_without_a_wake() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let handle = Rc::new(RefCell::new(None::<Task<()>>));
    let (dropped, own) = (trace.on_drop("dropped"), handle.clone());
    let task = executor.spawn(async move {
        let _dropped = dropped;
        own.borrow().as_ref().unwrap().cancel("by itself");
        std::future::pending::<()>().await;
    });
    handle.replace(Some(task));
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["dropped"]);
    let task = handle.take().unwrap();
    let error = executor.block_on(async { task.await.unwrap_err() });
    assert_eq!(error.reason().unwrap().as_str(), "by itself");
}

#[test]
fn cancelling_drops_the_innermost_wait_and_cancels_the_awaited_child() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let (inner, spawner) = (trace.clone(), executor.spawner().clone());
    let parent = executor.spawn(async move {
        let _parent = inner.on_drop("parent dropped");
        let child = spawner.spawn({
            let inner = inner.clone();
            async move {
                let _child = inner.on_drop("child dropped");
                async { std::future::pending::<()>().await }.await;
            }
        });
        child.await.unwrap();
    });
    executor.run_until_stalled();
    parent.cancel("all of it");
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["parent dropped", "child dropped"]);
}

#[test]
fn cancelling_the_awaited_task_ends_the_wait_with_the_reason() {
    let executor = Rc::new(Executor::new());
    let flag = Gate::default();
    let spawner = executor.spawner().clone();
    let text = executor.block_on(async move {
        let child = spawner.spawn(async move { flag.wait().await });
        let mut child = child;
        child.cancel("no longer wanted");
        (&mut child).await.unwrap_err().to_string()
    });
    assert!(text.ends_with("was cancelled: no longer wanted"), "{text}");
}

#[test]
fn cancel_and_wait_waits_for_the_destructor_and_returns_an_existing_value() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let spawner = executor.spawner().clone();
    executor.block_on(async {
        let dropped = trace.on_drop("dropped");
        let pending = spawner.spawn(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        assert!(pending.cancel_and_wait("the test waits for its end").await.is_none());
        trace.add("waited");

        let done = spawner.spawn(async { 7 });
        yield_now().await;
        assert_eq!(done.cancel_and_wait("the test waits for its end").await.unwrap().unwrap(), 7);
    });
    assert_eq!(trace.take(), ["dropped", "waited"]);
}

#[test]
fn a_task_that_awaits_its_own_cancellation_gets_an_error_and_is_cancelled() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let handle = Rc::new(RefCell::new(None::<Task<()>>));
    let (own, inside) = (handle.clone(), trace.clone());
    let task = executor.spawn(async move {
        let _dropped = inside.on_drop("dropped");
        let own: Task<()> = own.take().unwrap();
        let id = own.id();
        let error = own.cancel_and_wait("the test waits for its end").await.unwrap().unwrap_err();
        assert!(error.id() == id && !error.is_cancelled() && !error.is_panic());
        inside.add(error.to_string().split_once(" waits for itself").unwrap().1);
        yield_now().await;
        unreachable!("it was cancelled");
    });
    handle.replace(Some(task));
    assert_eq!(executor.run_until_stalled(), 2);
    assert_eq!(trace.take(), [", which would never end", "dropped"]);
}

#[test]
fn a_task_that_returns_from_the_poll_in_which_it_was_cancelled_keeps_its_value() {
    let executor = Rc::new(Executor::new());
    let own = Rc::new(std::cell::OnceCell::<picot_executor::Task<i32>>::new());
    let inner = own.clone();
    let task = executor.spawn(async move {
        assert!(inner.get().unwrap().cancel("by itself"));
        8
    });
    assert!(own.set(task).is_ok());
    executor.run_until_stalled();
    let task = Rc::try_unwrap(own).unwrap().into_inner().unwrap();
    assert_eq!(executor.block_on(async { task.await.unwrap() }), 8);
}

#[test]
fn a_destructor_can_wake_cancel_and_spawn() {
    struct Busy(Spawner, Option<Task<()>>, Vec<Waker>, Trace);
    impl Drop for Busy {
        fn drop(&mut self) {
            let trace = self.3.clone();
            drop(self.0.spawn(async move { trace.add("spawned by a destructor") }));
            assert!(self.1.take().unwrap().cancel("by a destructor"));
            self.2.drain(..).for_each(Waker::wake);
            self.3.add("destructor");
        }
    }
    /// Records its name at each poll, and never ends.
    fn polled(trace: &Trace, name: &'static str) -> impl Future<Output = ()> + use<> {
        let trace = trace.clone();
        poll_fn(move |cx| {
            trace.add(name);
            WAKERS.with_borrow_mut(|wakers| wakers.push(cx.waker().clone()));
            Poll::Pending
        })
    }
    thread_local! {
        static WAKERS: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    }
    let (executor, trace) = (Executor::new(), Trace::default());
    let dropped = trace.on_drop("sibling dropped");
    let (inside, spawner) = (trace.clone(), executor.spawner().clone());
    drop(executor.spawn(polled(&trace, "woken")));
    let sibling = executor.spawn(async move {
        let _dropped = dropped;
        polled(&inside, "sibling").await;
    });
    let inside = trace.clone();
    let task = executor.spawn(async move {
        let mut busy = Busy(spawner, Some(sibling), Vec::new(), inside.clone());
        futures_lite::future::poll_once(polled(&inside, "busy")).await;
        // The wakers of the two other tasks, and its own.
        busy.2 = WAKERS.take();
        std::future::pending::<()>().await;
    });
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["woken", "sibling", "busy"]);
    task.cancel("go");
    assert_eq!(executor.run_until_stalled(), 4);
    assert_eq!(trace.take(), ["destructor", "spawned by a destructor", "sibling dropped", "woken"]);
    assert_eq!(executor.spawner().task_count(), 1);
}

#[test]
fn a_handle_that_cancels_on_drop_cancels_awaited_or_not() {
    let (executor, trace) = (Executor::new(), Trace::default());
    for waits in [false, true] {
        let dropped = trace.on_drop("dropped");
        let mut owned = executor
            .spawn(async move {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            })
            .cancel_on_drop();
        executor.run_until_stalled();
        assert!(!owned.is_finished() && owned.name().is_none());
        if waits {
            assert!(executor.block_on(futures_lite::future::poll_once(&mut owned)).is_none());
        }
        drop(owned);
        assert!(trace.take().is_empty(), "at the next step, not inside of the drop");
        executor.run_until_stalled();
        assert_eq!(trace.take(), ["dropped"]);
    }
    let finished = executor.spawn(async { 1 }).cancel_on_drop();
    executor.run_until_stalled();
    assert_eq!(executor.block_on(async { finished.await.unwrap() }), 1);
}

#[test]
fn a_second_handle_cancels_while_the_first_is_awaited() {
    let executor = Executor::new();
    let task = executor.spawn(std::future::pending::<()>());
    let (handle, again) = (task.cancel_handle(), task.cancel_handle().clone());
    let waits = executor.spawn(async move { task.await.unwrap_err() });
    executor.run_until_stalled();
    assert!(handle.cancel("first") && again.cancel("second"), "both while it has not ended");
    assert!(!handle.is_finished(), "not inside of `cancel`");
    executor.run_until_stalled();
    assert!(handle.is_finished() && !again.cancel("third"));
    let error = executor.block_on(async { waits.await.unwrap() });
    assert_eq!(error.reason().unwrap().as_str(), "first");
}

#[test]
fn a_second_handle_does_nothing_to_a_later_task_in_the_same_slot() {
    let executor = Executor::new();
    let first = executor.spawn(async {});
    let handle = first.cancel_handle();
    executor.run_until_stalled();
    drop(first);
    let second = executor.spawn(std::future::pending::<()>());
    assert!(!handle.cancel("a mistake") && handle.is_finished());
    executor.run_until_stalled();
    assert!(!second.is_finished());
    // The second task has the slot of the first: its own handle finds it there.
    assert!(second.cancel_handle().cancel("not needed"));
}

#[test]
fn a_second_handle_keeps_no_task_and_outlives_its_executor() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let dropped = trace.on_drop("dropped");
    let task = executor.spawn(async move {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    let handle = task.cancel_handle();
    assert!(task.cancel_handle().cancel("before its first step"));
    executor.close();
    assert_eq!(trace.take(), ["dropped"]);
    assert!(!handle.cancel("too late") && handle.is_finished());
    drop(task);
}

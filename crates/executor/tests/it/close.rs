//! Closing drops everything on the executor's thread, in order, and counts it; later items are
//! refused.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use picot_executor::{Executor, Hooks, Spawner, Task};

use crate::trace::{Bomb, Trace, quiet_panic, reports, yield_now};

#[test]
fn close_drops_what_is_queued_first_and_the_rest_in_spawn_order() {
    let (executor, trace) = (Executor::new(), Trace::default());
    for n in 0..4 {
        let dropped = trace.on_drop(format!("task {n}"));
        drop(executor.spawn(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        }));
    }
    executor.run_until_stalled();
    let held = trace.on_drop("callback");
    executor.call_soon(move || drop(held));
    let late = trace.on_drop("task that never ran");
    drop(executor.spawner().spawn_named("late", async move { drop(late) }));

    let report = executor.close();
    assert_eq!(trace.take(), ["callback", "task that never ran", "task 0", "task 1", "task 2", "task 3"]);
    assert_eq!((report.tasks.len(), report.callbacks, report.leaked), (5, 1, 0));
    assert_eq!(report.tasks[4].given_name(), Some("late"));
    assert!(executor.close().is_empty(), "a second time there is nothing left");
}

/// Whether the task has ended because its executor was closed.
fn was_closed(task: Task<()>) -> bool {
    assert!(task.is_finished());
    let error = Executor::new().block_on(async { task.await.unwrap_err() });
    error.reason().unwrap().as_str() == "the loop that ran it was closed"
}

#[test]
fn a_panic_while_a_closed_executor_drops_a_future_is_reported_at_once() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("in a destructor");
        }
    }
    let (executor, trace) = (Executor::new(), Trace::default());
    executor.close();
    let told = trace.clone();
    executor.spawner().set_error_hook(move |report| told.add(report));
    let bomb = Bomb;
    let task = executor.spawn_named("late", async move { drop(bomb) });
    let reports = trace.take();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].starts_with("late (task 1, ") && reports[0].ends_with("panicked with \"in a destructor\""));
    assert!(was_closed(task));
}

#[test]
fn after_close_calls_are_refused_and_tasks_have_ended_as_cancelled() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let (spawner, remote) = (executor.spawner().clone(), executor.remote());
    executor.close();
    assert!(spawner.is_closed());
    let held = trace.on_drop("future disposed");
    let task = spawner.spawn(async move { drop(held) });
    assert_eq!(trace.take(), ["future disposed"]);
    assert!(was_closed(task));
    assert!(was_closed(spawner.build_task().spawn(async {})));
    assert_eq!(spawner.task_count(), 0);
    assert!(spawner.call_soon(|| ()).is_err());
    let refused = remote.call_soon(|| ()).unwrap_err();
    (refused.into_call())();
    drop(executor);
    assert!(was_closed(spawner.spawn(async {})));
}

#[test]
fn destructors_can_spawn_wake_and_cancel_during_a_close() {
    /// The handles and wakers of all tasks.
    type All = Rc<RefCell<Vec<(Task<()>, Waker)>>>;
    /// Wakes, cancels and spawns in its destructor, for all tasks including itself.
    struct Busy(&'static str, Spawner, All, Trace);
    impl Drop for Busy {
        fn drop(&mut self) {
            let all = self.2.borrow();
            let cancelled: Vec<_> = all.iter().map(|(task, _)| task.cancel("while it closes")).collect();
            all.iter().for_each(|(_, waker)| waker.wake_by_ref());
            let refused = was_closed(self.1.spawn(async { unreachable!("it is refused") }));
            self.3.add(format!("{} cancels {cancelled:?}, its spawn is refused: {refused}", self.0));
        }
    }
    let (executor, trace, all) = (Executor::new(), Trace::default(), All::default());
    let reports = reports(&executor);
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let tasks = ["first", "second", "third"].map(|name| {
        let (busy, wakers) = (Busy(name, executor.spawner().clone(), all.clone(), trace.clone()), wakers.clone());
        executor.spawn(async move {
            let _busy = busy;
            poll_fn(|cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        })
    });
    assert_eq!(executor.run_until_stalled(), 3);
    all.borrow_mut().extend(tasks.into_iter().zip(wakers.take()));
    let report = executor.close();
    assert_eq!(
        trace.take(),
        [
            "first cancels [true, true, true], its spawn is refused: true",
            "second cancels [false, true, true], its spawn is refused: true",
            "third cancels [false, false, true], its spawn is refused: true",
        ]
    );
    assert_eq!((report.tasks.len(), report.callbacks, report.leaked), (3, 0, 0));
    assert!(reports.take().is_empty() && !executor.has_work());
    for (task, _) in all.take() {
        let error = Executor::new().block_on(async { task.await.unwrap_err() });
        assert_eq!(error.reason().unwrap().as_str(), "the loop that ran it was closed");
    }
}

#[test]
fn a_destructor_that_panics_during_a_close_is_reported_and_the_rest_is_dropped() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let reports = reports(&executor);
    let bomb = Bomb("in close");
    drop(executor.spawn(async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    }));
    let bomb = Bomb("in close");
    executor.call_soon(move || drop(bomb));
    let after = trace.on_drop("the next one");
    drop(executor.spawn(async move {
        let _after = after;
        std::future::pending::<()>().await;
    }));
    executor.close();
    assert_eq!(trace.take(), ["the next one"]);
    assert_eq!(reports.take().len(), 2);
}

#[test]
fn waiters_on_another_executor_get_a_cancellation() {
    let (inner, outer) = (Executor::new(), Executor::new());
    let task = inner.spawn(std::future::pending::<()>());
    let waiter = outer.spawn(async move { task.await.unwrap_err().to_string() });
    outer.run_until_stalled();
    drop(inner);
    let text = outer.block_on(async { waiter.await.unwrap() });
    assert!(text.ends_with("was cancelled: the loop that ran it was closed"), "{text}");
}

#[test]
fn a_panic_that_unwinds_past_the_executor_drops_its_tasks() {
    let trace = Trace::default();
    let dropped = trace.on_drop("dropped");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let executor = Executor::new();
        drop(executor.spawn(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        }));
        executor.run_until_stalled();
        quiet_panic("outside");
    }));
    assert!(result.is_err());
    assert_eq!(trace.take(), ["dropped"]);
}

#[test]
fn a_step_cannot_close_its_executor() {
    let executor = Rc::new(Executor::new());
    let reports = reports(&executor);
    let inner = executor.clone();
    executor.call_soon(move || {
        inner.close();
    });
    executor.run_until_stalled();
    assert!(reports.take()[0].contains("cannot close the executor that runs it"));
    executor.block_on(yield_now());
}

#[test]
fn a_living_root_is_dropped_by_its_caller_and_is_not_counted() {
    for polled in [false, true] {
        let (executor, trace) = (Executor::new(), Trace::default());
        let (held, waker) = (trace.on_drop("root dropped"), Rc::new(RefCell::new(None)));
        let given = waker.clone();
        let mut root = Box::pin(executor.root(Location::caller(), async move {
            let _held = held;
            poll_fn(|cx| {
                given.replace(Some(cx.waker().clone()));
                Poll::<()>::Pending
            })
            .await;
        }));
        let dropped = trace.on_drop("task dropped");
        drop(executor.spawner().spawn_named("other", async move { drop(dropped) }));
        if polled {
            assert_eq!(executor.run_batch_with(1, Some(root.as_mut()), |_| ()), 1);
        }
        let report = executor.close();
        let names: Vec<_> = report.tasks.iter().map(|task| task.given_name()).collect();
        assert_eq!((names, report.callbacks, report.leaked), (vec![Some("other")], 0, 0));
        assert_eq!(trace.take(), ["task dropped"]);
        let waker: Option<Waker> = waker.take();
        if let Some(waker) = &waker {
            waker.wake_by_ref();
            assert!(!executor.has_work(), "it is not polled any more");
        }
        assert_eq!(executor.run_batch_with(1, Some(root.as_mut()), |_| ()), 0);
        assert_eq!(executor.run_batch(1), 0, "nor does it block other items");
        drop(executor);
        drop(root);
        assert_eq!(trace.take(), ["root dropped"]);
        std::thread::spawn(move || waker.iter().for_each(Waker::wake_by_ref)).join().unwrap();
    }
}

#[test]
fn running_a_root_on_a_closed_executor_panics_with_the_cause() {
    let executor = Executor::new();
    let place = Location::caller();
    // Its item in the queue outlives it.
    drop(executor.root(place, async {}));
    executor.close();
    let message = |f: &dyn Fn()| picot_context::catch(f).unwrap_err().message().unwrap();
    assert!(message(&|| executor.block_on(async {})).contains("the loop is closed and runs nothing any more"));
    assert!(message(&|| drop(executor.root(place, async {}))).contains("the loop is closed"));
}

#[test]
fn a_hook_that_closes_the_executor_ends_the_run_with_a_panic() {
    struct ClosesAt(&'static str, Weak<Executor>, Trace);
    impl ClosesAt {
        fn close(&self, at: &'static str) {
            if self.0 == at {
                let report = self.1.upgrade().unwrap().close();
                self.2.add(format!("{at}: {} tasks, {} leaked", report.tasks.len(), report.leaked));
            }
        }
    }
    impl Hooks for ClosesAt {
        fn park(&self) {
            self.close("park");
        }

        fn unpark(&self) {
            self.close("unpark");
        }
    }
    for at in ["error", "park", "unpark"] {
        let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
        let hook = Rc::new(ClosesAt(at, Rc::downgrade(&executor), trace.clone()));
        if at == "error" {
            executor.call_soon(|| quiet_panic("call"));
            executor.spawner().set_error_hook(move |_| hook.close("error"));
        } else {
            executor.spawner().set_hooks(hook);
        }
        let held = trace.on_drop("root dropped");
        let payload = picot_context::catch(|| {
            executor.block_on(async move {
                let (_held, mut wakes) = (held, 0);
                poll_fn(|cx| {
                    if wakes == 10 {
                        return Poll::Ready(());
                    }
                    wakes += 1;
                    // Ends the sleep, if there is one, without need.
                    let waker = cx.waker().clone();
                    std::thread::spawn(move || waker.wake());
                    Poll::Pending
                })
                .await;
            });
        });
        let message = payload.unwrap_err().message().unwrap();
        assert!(message.contains("closed by a hook, under the future that it runs"), "{message}");
        assert_eq!(trace.take(), [format!("{at}: 0 tasks, 0 leaked"), "root dropped".into()]);
    }
}

#[test]
fn wakers_can_outlive_the_executor() {
    let executor = Executor::new();
    let waker = executor.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    let task_waker = Rc::new(RefCell::new(None));
    let inner = task_waker.clone();
    drop(executor.spawn(poll_fn(move |cx| {
        inner.replace(Some(cx.waker().clone()));
        Poll::<()>::Pending
    })));
    executor.run_until_stalled();
    drop(executor);
    waker.wake_by_ref();
    let task_waker: Waker = task_waker.take().unwrap();
    task_waker.wake_by_ref();
    std::thread::spawn(move || {
        waker.wake();
        task_waker.wake();
    })
    .join()
    .unwrap();
}

#[test]
fn close_drops_the_captures_of_a_callback_whose_handle_is_kept() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let held = trace.on_drop("released");
    let call = executor.call_soon(move || drop(held));
    assert_eq!(executor.close().callbacks, 1);
    assert_eq!(trace.take(), ["released"]);
    assert!(call.is_cancelled());
}

#[test]
fn spawns_and_calls_of_destructors_are_refused_so_that_the_close_ends() {
    /// Each drop tries to spawn and to call with another value of its kind inside.
    struct Again(picot_executor::Spawner, Trace, u32);
    impl Drop for Again {
        fn drop(&mut self) {
            if self.2 == 0 {
                return;
            }
            let (task, call) = (Again(self.0.clone(), self.1.clone(), self.2 - 1), self.1.clone());
            let refused =
                was_closed(self.0.spawn(async move { drop(task) })) && self.0.call_soon(move || drop(call)).is_err();
            self.1.add(format!("{} refused: {refused}", self.2));
        }
    }
    let (executor, trace) = (Executor::new(), Trace::default());
    let again = Again(executor.spawner().clone(), trace.clone(), 3);
    drop(executor.spawn(async move {
        let _again = again;
        std::future::pending::<()>().await;
    }));
    assert_eq!(executor.close().tasks.len(), 1);
    assert_eq!(trace.take(), ["1 refused: true", "2 refused: true", "3 refused: true"]);
}

/// During a close or a spawn the executor is in the middle of an operation, so it cannot be closed
/// from inside.
#[test]
fn a_hook_cannot_close_the_executor_during_a_close_or_a_spawn() {
    struct Closes(Weak<Executor>, Trace);
    impl Closes {
        fn close(&self, when: &str) {
            self.1.add(when);
            self.0.upgrade().unwrap().close();
        }
    }
    impl Hooks for Closes {
        fn spawned(&self, _: &picot_executor::TaskInfo) {
            self.close("spawned");
        }

        fn exclusive(&self, lasts: bool) {
            if !lasts {
                self.close("the section ends");
            }
        }
    }
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let reports = reports(&executor);
    executor.spawner().set_hooks(Rc::new(Closes(Rc::downgrade(&executor), trace.clone())));
    let (spawner, dropped) = (executor.spawner().clone(), trace.on_drop("dropped"));
    drop(executor.spawn(async move {
        let _dropped = dropped;
        let _guard = spawner.exclusive().await;
        std::future::pending::<()>().await;
    }));
    executor.run_until_stalled();
    let report = executor.close();
    assert_eq!((report.tasks.len(), report.leaked), (1, 0));
    assert_eq!(trace.take(), ["spawned", "the section ends", "dropped"]);
    let texts = reports.take();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts.iter().all(|text| text.contains("cannot close the executor that runs it")), "{texts:?}");
}

#[test]
fn reports_after_the_close_are_delivered_at_once() {
    let executor = Executor::new();
    let local = executor.spawn(async { Bomb("late") });
    let remote = executor.remote().spawn(|| async { Bomb("late") }).unwrap();
    executor.run_until_stalled();
    executor.close();
    let reports = reports(&executor);
    drop(local);
    assert_eq!(reports.take().len(), 1);
    drop(remote);
    assert_eq!(reports.take().len(), 1);
    let payload = picot_context::catch(|| quiet_panic("of a leaf")).unwrap_err();
    let origin = picot_context::Origin::new(picot_context::Kind::Promise);
    executor.spawner().report(picot_context::Report::panic(origin, payload));
    assert_eq!(reports.take(), ["Promise: a promise's callback panicked with \"of a leaf\""]);
}

#[test]
fn close_drops_each_future_in_its_own_step_with_its_name_and_its_locals() {
    picot_context::task_local! {
        static USER: &'static str;
    }
    /// Records the step in which it is dropped.
    struct Says(Trace);
    impl Drop for Says {
        fn drop(&mut self) {
            let task = picot_context::current().map(|task| task.given_name().unwrap_or("?").to_string());
            self.0.add(format!("{} for {}", task.as_deref().unwrap_or("no task"), USER.get().unwrap_or("no user")));
        }
    }
    let (executor, trace) = (Executor::new(), Trace::default());
    for (name, user) in [("first", "ada"), ("second", "grace")] {
        let says = Says(trace.clone());
        drop(executor.spawner().spawn_named(name, async move {
            let _says = says;
            USER.set(user);
            std::future::pending::<()>().await;
        }));
    }
    executor.run_until_stalled();
    let says = Says(trace.clone());
    drop(executor.spawner().spawn_named("never polled", async move { drop(says) }));
    executor.close();
    assert_eq!(trace.take(), ["never polled for no user", "first for ada", "second for grace"]);
}

/// The task keeps the waker that keeps the task alive.
#[test]
fn a_future_that_holds_its_own_waker_is_dropped_at_close() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let dropped = trace.on_drop("dropped");
    drop(executor.spawn(async move {
        let (_dropped, mut own) = (dropped, None);
        poll_fn(|cx| {
            own = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    }));
    executor.run_until_stalled();
    assert!(trace.take().is_empty());
    assert_eq!(executor.close().tasks.len(), 1);
    assert_eq!(trace.take(), ["dropped"]);
}

#[test]
fn a_close_report_is_empty_only_if_nothing_was_left() {
    let empty = || Executor::new().close();
    assert!(empty().is_empty());

    let executor = Executor::new();
    drop(executor.spawn(std::future::pending::<()>()));
    assert!(!executor.close().is_empty(), "a task was left");

    let executor = Executor::new();
    executor.call_soon(|| ());
    assert!(!executor.close().is_empty(), "a callback was left");

    let mut report = empty();
    report.leaked = 1;
    assert!(!report.is_empty(), "a task was leaked");
}

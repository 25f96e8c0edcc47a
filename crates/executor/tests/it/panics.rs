//! A panic ends its own task or callback, and is delivered exactly once: to the waiter, or else to
//! the error hook.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use picot_executor::{Executor, RemoteTask};
use picot_testkit::WakeCount;

use crate::trace::{Bomb, Trace, quiet_panic, reports, yield_now};

#[test]
fn a_panic_in_a_task_goes_to_its_joiner_and_not_to_the_hook() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let payload = executor.block_on(async {
        let task = executor.spawn(async { quiet_panic("boom") });
        let error = task.await.unwrap_err();
        assert!(error.is_panic());
        error.into_panic().unwrap()
    });
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"boom"));
    executor.run_until_stalled();
    assert!(reports.take().is_empty());
}

#[test]
fn a_panic_without_a_waiter_is_reported_once_at_the_end_of_its_turn_and_can_still_be_awaited() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let task = executor.spawner().spawn_named("fetch", async { quiet_panic("boom") });
    let line = line!() - 1;
    let seen = reports.clone();
    executor.call_soon(move || assert!(seen.take().is_empty(), "not before the end of the turn"));
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("Task: fetch (task 1, spawned at "), "{}", texts[0]);
    assert!(texts[0].contains(&format!("panics.rs:{line}:")) && texts[0].contains("\"boom\""), "{}", texts[0]);

    let task: picot_executor::Task<()> = task;
    let error = executor.block_on(async { task.await.unwrap_err() });
    assert_eq!(error.into_panic().unwrap().downcast_ref::<&str>(), Some(&"boom"));
    executor.run_until_stalled();
    assert!(reports.take().is_empty());
}

#[test]
fn a_panic_that_its_waiter_does_not_take_is_reported_one_turn_later() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let mut task: picot_executor::Task<()> = executor.spawn(async {
        yield_now().await;
        quiet_panic("boom")
    });
    // Watches once, and then drops the watch.
    executor.block_on(async {
        assert!(futures_lite::future::poll_once(&mut task).await.is_none());
    });
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1);
}

#[test]
fn siblings_of_a_panicking_task_or_callback_continue() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let reports = reports(&executor);
    drop(executor.spawn(async { quiet_panic("task") }));
    executor.call_soon(|| quiet_panic("call"));
    let inside = trace.clone();
    drop(executor.spawn(async move { inside.add("sibling") }));
    let inside = trace.clone();
    executor.call_soon(move || inside.add("other call"));
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["sibling", "other call"]);
    let texts = reports.take();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].starts_with("Task: task 1 "), "{}", texts[0]);
    assert!(texts[1].starts_with("Callback: the callback from ") && texts[1].contains("panics.rs"), "{}", texts[1]);
}

#[test]
fn a_panic_in_the_drop_of_a_future_is_reported_and_the_outcome_is_kept() {
    struct DropsBomb(Bomb, bool);
    impl Future for DropsBomb {
        type Output = i32;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<i32> {
            let _ = &self.0;
            if self.1 { Poll::Ready(1) } else { Poll::Pending }
        }
    }
    let executor = Executor::new();
    let reports = reports(&executor);
    let returns = executor.spawn(DropsBomb(Bomb("in drop"), true));
    let cancelled = executor.spawn(DropsBomb(Bomb("in drop"), false));
    executor.block_on(async {
        assert_eq!(returns.await.unwrap(), 1);
        assert!(cancelled.cancel_and_wait("the test waits for its end").await.is_none());
    });
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 2);
    assert!(texts.iter().all(|text| text.contains("\"in drop\"")), "{texts:?}");
}

#[test]
fn panics_in_the_poll_and_in_the_drop_of_one_future_are_an_error_and_a_report() {
    struct Both;
    impl Future for Both {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            quiet_panic("in poll")
        }
    }
    impl Drop for Both {
        fn drop(&mut self) {
            quiet_panic("in drop")
        }
    }
    let executor = Executor::new();
    let reports = reports(&executor);
    let task = executor.spawn(Both);
    let error = executor.block_on(async { task.await.unwrap_err() });
    assert!(error.to_string().contains("\"in poll\""), "{error}");
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1);

    // The caller of the root is its joiner.
    let payload = picot_context::catch(|| executor.block_on(Both)).unwrap_err();
    assert_eq!(payload.message().as_deref(), Some("in poll"));
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("Task: main (") && texts[0].ends_with("\"in drop\""), "{}", texts[0]);
}

#[test]
fn a_joiners_waker_that_panics_is_contained() {
    struct Angry;
    impl Wake for Angry {
        fn wake(self: Arc<Self>) {
            quiet_panic("wake");
        }
    }
    let executor = Executor::new();
    let reports = reports(&executor);
    let mut task = executor.spawn(async { 3 });
    let waker = Waker::from(Arc::new(Angry));
    assert!(Pin::new(&mut &mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("Waker: "), "{}", texts[0]);
    assert_eq!(executor.block_on(async { task.await.unwrap() }), 3);
}

#[test]
fn the_roots_panic_resumes_in_its_caller_after_the_turn() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let inside = trace.clone();
    let spawner = executor.spawner().clone();
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        executor.block_on(async move {
            yield_now().await;
            let event = inside.clone();
            spawner.call_soon(move || event.add("next turn")).unwrap();
            quiet_panic("root")
        })
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"root"));
    assert!(picot_context::running().is_none());
    assert_eq!(executor.block_on(async { 5 }), 5);
    assert_eq!(trace.take(), ["next turn"]);
}

#[test]
#[cfg_attr(miri, ignore = "it leaks the second payload on purpose, which Miri reports")]
fn a_payload_that_panics_when_it_is_dropped_is_contained() {
    let executor = Executor::new();
    let reports = reports(&executor);
    drop(executor.spawn(async { std::panic::resume_unwind(Box::new(Bomb("payload"))) }));
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("a payload that is not text"), "{}", texts[0]);
}

/// A value whose drop panics.
#[test]
fn a_panic_in_the_drop_of_an_unclaimed_output_is_reported_with_its_task() {
    let executor = Executor::new();
    let reports = reports(&executor);
    drop(executor.spawner().spawn_named("detached", async { Bomb("detached output") }));
    let kept = executor.spawn(async { Bomb("kept output") });
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("Task: detached (task 1") && texts[0].contains("\"detached output\""), "{}", texts[0]);
    drop(kept);
    executor.deliver_reports();
    let texts = reports.take();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("Task: task 2 ") && texts[0].contains("\"kept output\""), "{}", texts[0]);
    assert_eq!(executor.block_on(async { 1 }), 1);
}

#[test]
fn a_panic_in_an_output_that_is_dropped_after_close_is_only_reported() {
    let executor = Executor::new();
    let kept = executor.spawn(async { Bomb("after close") });
    executor.run_until_stalled();
    executor.close();
    drop(executor);
    drop(kept);
}

/// A waker whose drop panics, once.
fn angry() -> Waker {
    struct Angry(AtomicBool);
    impl Wake for Angry {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Angry {
        fn drop(&mut self) {
            if self.0.swap(false, Ordering::Relaxed) {
                quiet_panic("waker drop");
            }
        }
    }
    Waker::from(Arc::new(Angry(AtomicBool::new(true))))
}

#[test]
fn an_old_joiners_waker_that_panics_in_its_drop_is_reported_and_does_not_end_the_new_joiner() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let mut task = executor.spawn(yield_now());
    assert!(Pin::new(&mut &mut task).poll(&mut Context::from_waker(&angry())).is_pending());
    // Replaces the first waiter, whose waker is dropped inside of this poll.
    let joiner = executor.spawn(async move { task.await.map(|()| 3).unwrap() });
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts, ["Waker: a waker panicked with \"waker drop\""]);
    assert_eq!(executor.block_on(async { joiner.await.unwrap() }), 3);
}

#[test]
fn an_old_waker_of_a_remote_task_that_panics_in_its_drop_is_reported_at_home_and_contained_elsewhere() {
    let executor = Executor::new();
    let reports = reports(&executor);
    for at_home in [true, false] {
        let mut task = executor.remote().spawn(yield_now).unwrap();
        let watch = move || {
            let poll = |task: &mut RemoteTask<()>, waker: &Waker| {
                Pin::new(&mut &mut *task).poll(&mut Context::from_waker(waker)).is_pending()
            };
            assert!(poll(&mut task, &angry()) && poll(&mut task, Waker::noop()), "both wait");
            task
        };
        let task = if at_home { watch() } else { std::thread::spawn(watch).join().unwrap() };
        executor.run_until_stalled();
        assert!(executor.block_on(async { task.await.is_ok() }));
        let expected: &[&str] = if at_home { &["Waker: a waker panicked with \"waker drop\""] } else { &[] };
        assert_eq!(reports.take(), expected);
    }
}

#[test]
fn a_joiners_waker_that_panics_in_its_clone_ends_its_own_poll_and_the_earlier_joiner_stays() {
    use std::task::{RawWaker, RawWakerVTable};
    // Its clone panics; its other functions do nothing.
    static VTABLE: RawWakerVTable = RawWakerVTable::new(|_| quiet_panic("waker clone"), |_| (), |_| (), |_| ());
    let executor = Executor::new();
    let reports = reports(&executor);
    let mut task = executor.spawn(yield_now());
    let count = WakeCount::default();
    assert!(Pin::new(&mut &mut task).poll(&mut Context::from_waker(&count.waker())).is_pending());
    // SAFETY: None of the functions dereferences the pointer.
    let angry = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) };
    let payload = picot_context::catch(|| _ = Pin::new(&mut &mut task).poll(&mut Context::from_waker(&angry)));
    assert_eq!(payload.unwrap_err().message().as_deref(), Some("waker clone"));
    assert_eq!(executor.run_until_stalled(), 2);
    assert_eq!(count.get(), 1, "the earlier waiter is woken at the end");
    assert!(task.is_finished() && reports.take().is_empty());
}

picot_context::task_local! {
    static BOMB: Bomb;
}

#[test]
fn locals_that_panic_in_their_drop_are_reported_and_everything_else_runs() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let reports = reports(&executor);
    // Inherited by a child, made in the last step, made in an earlier step, made in a callback,
    // kept by a cancelled call.
    let spawner = executor.spawner().clone();
    drop(executor.spawner().spawn_named("parent", async move {
        BOMB.set(Bomb("shared with the child"));
        drop(spawner.spawn(yield_now()));
        yield_now().await;
    }));
    drop(executor.spawn(async { BOMB.set(Bomb("made in the last step")) }));
    drop(executor.spawn(async {
        BOMB.set(Bomb("made earlier"));
        yield_now().await;
    }));
    executor.call_soon(|| BOMB.set(Bomb("made in a callback")));
    let inside = trace.clone();
    drop(executor.spawn(async move {
        for _ in 0..3 {
            yield_now().await;
        }
        inside.add("sibling");
    }));
    assert_eq!(executor.run_until_stalled(), 2 + 2 + 1 + 2 + 1 + 4);
    assert_eq!(trace.take(), ["sibling"]);
    let texts = reports.take();
    for what in ["shared with the child", "made in the last step", "made earlier", "made in a callback"] {
        assert_eq!(texts.iter().filter(|text| text.contains(&format!("{what:?}"))).count(), 1, "{what}: {texts:?}");
    }
    assert_eq!(texts.len(), 4, "{texts:?}");
}

#[test]
fn values_dropped_in_a_last_step_cannot_reach_another_task_through_the_freed_slot() {
    use picot_executor::{Spawner, Task};
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Cancels, names and awaits the very task that is ending, when a new task may be in its slot.
    #[derive(Clone)]
    struct Meddles(Rc<RefCell<Option<Task<()>>>>, Spawner, Trace, WakeCount);
    impl Drop for Meddles {
        fn drop(&mut self) {
            let Some(task) = self.0.take() else { return };
            let trace = self.2.clone();
            let next = self.1.spawn_named("next", async move {
                yield_now().await;
                trace.add("next ran");
            });
            next.wake_at_end(&self.3.waker());
            self.2.add(format!("{} {} {:?}", task.is_finished(), task.cancel("late"), task.name()));
            let mut task = task;
            let waker = Waker::noop();
            let poll = Pin::new(&mut &mut task).poll(&mut Context::from_waker(waker));
            self.2.add(format!("{}", matches!(poll, Poll::Ready(Err(error)) if error.to_string().contains("itself"))));
            drop(task);
            *self.0.borrow_mut() = Some(next);
        }
    }
    picot_context::task_local! {
        static MEDDLES: Meddles;
    }
    let (executor, trace) = (Executor::new(), Trace::default());
    let reports = reports(&executor);
    let own = Rc::new(RefCell::new(None));
    let wakes = WakeCount::default();
    let meddles = Meddles(own.clone(), executor.spawner().clone(), trace.clone(), wakes.clone());
    *own.borrow_mut() = Some(executor.spawn(async move {
        MEDDLES.set(meddles);
        yield_now().await;
    }));
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["true false None", "true", "next ran"]);
    assert_eq!(wakes.get(), 1, "the one that waits for the next task is still known");
    assert!(reports.take().is_empty());
    assert!(executor.spawner().tasks().is_empty());
}

/// In one batch, or in one close, many joiners are to be woken: a waker that panics must not
/// prevent the wakes of the others.
#[test]
fn joiners_wakers_that_panic_do_not_prevent_the_wakes_of_others() {
    /// Counts its wakes, and panics in each.
    #[derive(Default)]
    struct Angry(AtomicUsize);
    impl Wake for Angry {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            quiet_panic("wake");
        }
    }
    for closes in [false, true] {
        let executor = Executor::new();
        let reports = reports(&executor);
        let (angry, calm) = (Arc::new(Angry::default()), WakeCount::default());
        let wakers = [Waker::from(angry.clone()), calm.waker()];
        let mut tasks: Vec<_> = (0..6).map(|_| executor.spawn(yield_now())).collect();
        for (n, mut task) in tasks.iter_mut().enumerate() {
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&wakers[n % 2])).is_pending());
        }
        if closes {
            executor.close();
        } else {
            executor.run_until_stalled();
        }
        assert_eq!((angry.0.load(Ordering::Relaxed), calm.get()), (3, 3));
        assert_eq!(reports.take(), ["Waker: a waker panicked with \"wake\""; 3]);
        assert!(tasks.iter().all(picot_executor::Task::is_finished));
    }
}

#[test]
fn a_panic_of_the_callback_after_a_step_reaches_the_driver_and_loses_no_wake() {
    let executor = Executor::new();
    let reports = reports(&executor);
    // The child ends in its second step, with the parent waiting. Another task with a joiner ends
    // next.
    let child = executor.spawn(yield_now());
    let parent = executor.spawn(async move { child.await.unwrap() });
    let other = executor.spawn(yield_now());
    let others_parent = executor.spawn(async move { other.await.unwrap() });
    assert_eq!(executor.run_batch(4), 4);
    let payload = picot_context::catch(|| executor.run_batch_with(4, None, |_| quiet_panic("after"))).unwrap_err();
    assert_eq!(payload.message().as_deref(), Some("after"));
    assert_eq!(executor.run_until_stalled(), 3);
    assert!(parent.is_finished() && others_parent.is_finished());
    assert!(picot_context::running().is_none() && reports.take().is_empty());
}

//! A panic ends its own task or callback, and is told to exactly one: whoever waits, or else the error hook.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use picot_executor::Executor;

use crate::trace::{Trace, quiet_panic, reports, yield_now};

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
fn a_panic_that_nobody_waits_for_is_reported_once_at_the_end_of_its_turn_and_can_still_be_joined() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let task = executor.spawner().task().name("fetch").spawn(async { quiet_panic("boom") }).unwrap();
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
fn a_panic_whose_waiter_does_not_take_it_is_reported_one_turn_later() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let mut task: picot_executor::Task<()> = executor.spawn(async {
        yield_now().await;
        quiet_panic("boom")
    });
    // Watches once, and then loses interest.
    executor.block_on(async {
        assert!(futures_lite::future::poll_once(&mut task).await.is_none());
    });
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1);
}

#[test]
fn siblings_of_a_panicking_task_or_callback_go_on() {
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
fn a_panic_in_the_drop_of_a_future_is_reported_and_the_outcome_stands() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("in drop");
        }
    }
    struct DropsBomb(Bomb, bool);
    impl Future for DropsBomb {
        type Output = i32;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<i32> {
            let _ = &self.0;
            if self.1 { Poll::Ready(1) } else { Poll::Pending }
        }
    }
    let executor = Executor::new();
    let reports = reports(&executor);
    let returns = executor.spawn(DropsBomb(Bomb, true));
    let cancelled = executor.spawn(DropsBomb(Bomb, false));
    executor.block_on(async {
        assert_eq!(returns.await.unwrap(), 1);
        assert!(cancelled.cancelled().await.is_none());
    });
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 2);
    assert!(texts.iter().all(|text| text.contains("\"in drop\"")), "{texts:?}");
}

#[test]
fn a_panic_in_the_poll_and_in_the_drop_of_one_future_makes_an_error_and_a_report() {
    struct Both;
    impl Future for Both {
        type Output = ();
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
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
    assert!(std::pin::Pin::new(&mut &mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("Waker: "), "{}", texts[0]);
    assert_eq!(executor.block_on(async { task.await.unwrap() }), 3);
}

#[test]
fn a_hook_that_panics_falls_back_to_the_default_and_the_executor_goes_on() {
    let executor = Executor::new();
    executor.spawner().set_error_hook(|_| quiet_panic("hook"));
    executor.call_soon(|| quiet_panic("call"));
    executor.run_until_stalled();
    assert_eq!(executor.block_on(async { 4 }), 4);
    executor.spawner().reset_error_hook();
    executor.call_soon(|| quiet_panic("call"));
    executor.run_until_stalled();
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
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("payload");
        }
    }
    let executor = Executor::new();
    let reports = reports(&executor);
    drop(executor.spawn(async { std::panic::resume_unwind(Box::new(Bomb)) }));
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("a payload that is not text"), "{}", texts[0]);
}

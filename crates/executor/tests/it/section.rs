//! The exclusive section: one task runs, everything else waits in order, and nothing is lost.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;

use picot_executor::{ExclusiveGuard, Executor};

use crate::trace::{Gate, Trace, quiet_panic, reports, yield_now};

/// An executor, a trace, and a task that records its name in each step until the executor is
/// closed.
fn with_ticker(name: &'static str) -> (Rc<Executor>, Trace) {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let inside = trace.clone();
    drop(executor.spawn(async move {
        loop {
            inside.add(name);
            yield_now().await;
        }
    }));
    (executor, trace)
}

#[test]
fn only_the_sections_task_is_polled_until_the_guard_is_dropped() {
    let (executor, trace) = with_ticker("other");
    let spawner = executor.spawner().clone();
    let inside = trace.clone();
    executor.block_on(async move {
        yield_now().await;
        let guard = spawner.exclusive().await;
        for step in 0..3 {
            inside.add(format!("section {step}"));
            yield_now().await;
        }
        drop(guard);
        inside.add("released");
        yield_now().await;
    });
    assert_eq!(
        trace.take(),
        ["other", "other", "section 0", "section 1", "section 2", "released", "other"],
        "the other task became ready before the section's task, and is ahead of it"
    );
}

#[test]
fn held_items_run_afterwards_in_the_order_in_which_they_became_ready() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let (spawner, inside, flag) = (executor.spawner().clone(), trace.clone(), Gate::default());
    drop(executor.spawn({
        let (flag, trace) = (flag.clone(), trace.clone());
        async move {
            flag.wait().await;
            trace.add("woken task");
        }
    }));
    executor.run_until_stalled();
    let counting = executor.clone();
    executor.block_on(async move {
        let event = |what: &'static str| {
            let trace = inside.clone();
            move || trace.add(what)
        };
        spawner.call_soon(event("before the section")).unwrap();
        let guard = spawner.exclusive().await;
        spawner.call_soon(event("first call")).unwrap();
        flag.open();
        yield_now().await;
        spawner.call_soon(event("second call")).unwrap();
        let cancelled = spawner.call_soon(event("cancelled call")).unwrap();
        drop(spawner.spawn({
            let call = event("new task");
            async move { call() }
        }));
        yield_now().await;
        assert!(cancelled.cancel());
        assert_eq!((guard.held(), counting.ready()), (6, 0), "held items do not count as ready");
        drop(guard);
        assert_eq!(counting.ready(), 6);
        spawner.call_soon(event("after the section")).unwrap();
        inside.add("released");
        yield_now().await;
    });
    assert_eq!(
        trace.take(),
        ["released", "before the section", "first call", "woken task", "second call", "new task", "after the section"]
    );
}

#[test]
fn later_items_of_the_batch_are_held_and_do_not_count_as_run() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let (spawner, inside, flag) = (executor.spawner().clone(), trace.clone(), Gate::default());
    let release = flag.clone();
    drop(executor.spawn(async move {
        let _guard = spawner.exclusive().await;
        inside.add("in");
        release.wait().await;
        inside.add("out");
    }));
    for name in ["a", "b"] {
        let trace = trace.clone();
        executor.call_soon(move || trace.add(name));
    }
    assert_eq!(executor.run_batch(9), 1);
    assert_eq!((executor.ready(), executor.has_work(), executor.step()), (0, false, false));
    assert_eq!(executor.run_until_stalled(), 0, "it can stall with a section and something held");
    flag.open();
    assert_eq!((executor.run_batch(9), executor.ready()), (1, 2));
    assert_eq!(executor.run_until_stalled(), 2);
    assert_eq!(trace.take(), ["in", "out", "a", "b"]);
}

#[test]
#[cfg_attr(miri, ignore = "it leaks a guard on purpose, which Miri reports")]
fn a_section_ends_with_the_cancel_of_its_task_and_with_the_end_of_a_task_that_leaked_its_guard() {
    let (executor, trace) = with_ticker("tick");
    let spawner = executor.spawner().clone();
    let held = executor.spawn(async move {
        let _guard = spawner.exclusive().await;
        std::future::pending::<()>().await;
    });
    executor.run_batch(9);
    trace.take();
    assert_eq!(executor.run_batch(9), 0);
    assert!(held.cancel("enough"));
    assert_eq!(executor.run_batch(9), 1);
    executor.run_batch(9);
    assert_eq!(trace.take(), ["tick"]);

    let spawner = executor.spawner().clone();
    drop(executor.spawn(async move { std::mem::forget(spawner.exclusive().await) }));
    executor.run_batch(9);
    trace.take();
    executor.run_batch(9);
    assert_eq!(trace.take(), ["tick"]);

    let spawner = executor.spawner().clone();
    let reports = reports(&executor);
    drop(executor.spawn(async move {
        let _guard = spawner.exclusive().await;
        quiet_panic("inside");
    }));
    executor.run_batch(9);
    executor.deliver_reports();
    assert_eq!(reports.take().len(), 1);
    trace.take();
    executor.run_batch(9);
    assert_eq!(trace.take(), ["tick"]);
}

#[test]
fn a_guard_that_outlives_its_section_does_not_end_a_later_one() {
    let (executor, trace) = with_ticker("tick");
    let kept: Rc<RefCell<Option<ExclusiveGuard>>> = Rc::default();
    let (spawner, keep) = (executor.spawner().clone(), kept.clone());
    drop(executor.spawn(async move { *keep.borrow_mut() = Some(spawner.exclusive().await) }));
    executor.run_batch(9);
    let spawner = executor.spawner().clone();
    drop(executor.spawn(async move {
        let _guard = spawner.exclusive().await;
        std::future::pending::<()>().await;
    }));
    executor.run_batch(9);
    trace.take();
    drop(kept.take());
    assert_eq!(executor.run_batch(9), 0);
    assert!(trace.take().is_empty(), "the second section lasts");
}

#[test]
fn the_sections_task_can_enter_again_and_the_last_guard_counts() {
    let (executor, trace) = with_ticker("tick");
    let spawner = executor.spawner().clone();
    let inside = trace.clone();
    executor.block_on(async move {
        yield_now().await;
        inside.take();
        let outer = spawner.exclusive().await;
        let inner = spawner.exclusive().await;
        drop(outer);
        yield_now().await;
        assert!(inside.take().is_empty());
        drop(inner);
        yield_now().await;
        assert_eq!(inside.take(), ["tick"]);
    });
}

#[test]
fn a_held_task_that_is_cancelled_ends_after_the_section() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let spawner = executor.spawner().clone();
    let dropped = trace.on_drop("dropped");
    let other = executor.spawn(async move {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    executor.run_until_stalled();
    let inside = trace.clone();
    executor.block_on(async move {
        let guard = spawner.exclusive().await;
        assert!(other.cancel("while held"));
        yield_now().await;
        inside.add("released");
        drop(guard);
        assert_eq!(other.await.unwrap_err().reason().unwrap().as_str(), "while held");
    });
    assert_eq!(trace.take(), ["released", "dropped"]);
}

#[test]
fn waiting_for_a_held_task_is_reported_with_both_names() {
    let executor = Rc::new(Executor::new());
    let reports = reports(&executor);
    let spawner = executor.spawner().clone();
    let waits = executor.spawner().spawn_named("waits", async move {
        let _guard = spawner.exclusive().await;
        let child = spawner.spawn_named("child", async {});
        child.await.unwrap();
    });
    executor.run_until_stalled();
    let texts = reports.take();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with("Task: waits (task 1") && texts[0].contains("waits for child (task 2"),
        "{}",
        texts[0]
    );
    assert!(texts[0].contains("drop the section's guard"), "{}", texts[0]);
    waits.cancel("it would wait for ever");
    executor.run_until_stalled();
    assert!(executor.spawner().tasks().is_empty(), "the child was cancelled with the wait, and has ended after it");
}

#[test]
fn a_wait_for_a_held_task_is_reported_once_a_section_however_often_it_is_polled() {
    let executor = Rc::new(Executor::new());
    let reports = reports(&executor);
    let spawner = executor.spawner().clone();
    executor.block_on(async move {
        let mut children = ["first", "second"].map(|name| spawner.spawn_named(name, yield_now()));
        for section in 0..2 {
            let _guard = spawner.exclusive().await;
            for _ in 0..3 {
                for child in &mut children {
                    assert!(futures_lite::future::poll_once(child).await.is_none());
                }
                yield_now().await;
            }
            let texts = reports.take();
            assert_eq!(texts.len(), 2, "in section {section}: {texts:?}");
            assert!(texts[0].contains("waits for first ") && texts[1].contains("waits for second "), "{texts:?}");
        }
    });
}

#[test]
fn a_finished_task_can_be_waited_for_inside() {
    let executor = Rc::new(Executor::new());
    let reports = reports(&executor);
    let spawner = executor.spawner().clone();
    let value = executor.block_on(async move {
        let done = spawner.spawn(async { 3 });
        yield_now().await;
        let _guard = spawner.exclusive().await;
        done.await.unwrap()
    });
    executor.run_until_stalled();
    assert_eq!((value, reports.take().len()), (3, 0));
}

#[test]
fn items_from_other_threads_are_collected_and_held() {
    let (executor, trace) = with_ticker("tick");
    let (spawner, remote) = (executor.spawner().clone(), executor.remote());
    let (sender, receiver) = mpsc::channel();
    let inside = trace.clone();
    executor.block_on(async move {
        let guard = spawner.exclusive().await;
        let thread = std::thread::spawn(move || remote.call_soon(move || sender.send("ran").unwrap()).unwrap());
        thread.join().unwrap();
        inside.take();
        yield_now().await;
        assert!(receiver.try_recv().is_err());
        assert_eq!(guard.held(), 2, "the ticker and the call");
        drop(guard);
        yield_now().await;
        assert_eq!(receiver.try_recv(), Ok("ran"));
    });
}

#[test]
fn the_root_can_hold_a_section_and_a_wake_from_another_thread_reaches_the_holder() {
    let (executor, trace) = with_ticker("tick");
    let spawner = executor.spawner().clone();
    let (sender, receiver) = mpsc::channel::<std::task::Waker>();
    let thread = std::thread::spawn(move || receiver.recv().unwrap().wake());
    let inside = trace.clone();
    executor.block_on(async move {
        let _guard = spawner.exclusive().await;
        inside.take();
        let mut sender = Some(sender);
        std::future::poll_fn(move |cx| match sender.take() {
            None => std::task::Poll::Ready(()),
            Some(sender) => {
                sender.send(cx.waker().clone()).unwrap();
                std::task::Poll::Pending
            }
        })
        .await;
    });
    thread.join().unwrap();
    assert!(trace.take().is_empty());
    executor.run_batch(9);
    assert_eq!(trace.take(), ["tick"], "the section has ended with the root");
}

#[test]
fn an_eager_spawn_inside_is_queued_and_held() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let (spawner, inside) = (executor.spawner().clone(), trace.clone());
    executor.block_on(async move {
        let guard = spawner.exclusive().await;
        let event = inside.clone();
        drop(spawner.build_task().eager().spawn(async move { event.add("child") }));
        inside.add("spawned");
        drop(guard);
        yield_now().await;
    });
    assert_eq!(trace.take(), ["spawned", "child"]);
}

#[test]
fn closing_ends_the_section_and_drops_held_items() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let spawner = executor.spawner().clone();
    let dropped = trace.on_drop("call dropped");
    drop(executor.spawn(async move {
        let _guard = spawner.exclusive().await;
        std::future::pending::<()>().await;
    }));
    executor.call_soon(move || drop(dropped));
    drop(executor.spawn(std::future::pending::<()>()));
    executor.run_batch(9);
    let report = executor.close();
    assert_eq!((report.tasks.len(), report.callbacks), (2, 1));
    assert_eq!(trace.take(), ["call dropped"]);
}

#[test]
fn a_callback_cannot_enter() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let spawner = executor.spawner().clone();
    executor.call_soon(move || {
        let mut entering = std::pin::pin!(spawner.exclusive());
        let _ = entering.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    });
    executor.run_until_stalled();
    assert!(reports.take()[0].contains("spawn one that awaits `exclusive`"));
}

#[test]
fn entering_during_another_section_waits_for_its_end() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let reports = reports(&executor);
    let (spawner, inside) = (executor.spawner().clone(), trace.clone());
    executor.block_on(async move {
        // It enters inside of its parent's step, which continues to its end.
        let (child_spawner, child_trace) = (spawner.clone(), inside.clone());
        let child = spawner.build_task().eager().spawn(async move {
            let _guard = child_spawner.exclusive().await;
            child_trace.add("child in");
            yield_now().await;
            child_trace.add("child out");
        });
        inside.add("parent asks");
        let guard = spawner.exclusive().await;
        inside.add("parent in");
        drop(spawner.call_soon({
            let inside = inside.clone();
            move || inside.add("call")
        }));
        yield_now().await;
        inside.add("parent out");
        drop(guard);
        child.await.unwrap();
    });
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["child in", "parent asks", "child out", "parent in", "parent out", "call"]);
    assert!(reports.take().is_empty());
}

#[test]
fn values_that_a_task_drops_after_its_end_cannot_enter() {
    /// Enters when it is dropped, and stores the guard where it is never dropped.
    struct Enters(picot_executor::Spawner, Rc<RefCell<Option<ExclusiveGuard>>>);
    impl Drop for Enters {
        fn drop(&mut self) {
            let mut entering = std::pin::pin!(self.0.exclusive());
            let poll = entering.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
            if let std::task::Poll::Ready(guard) = poll {
                *self.1.borrow_mut() = Some(guard);
            }
        }
    }
    let (executor, trace) = with_ticker("tick");
    let reports = reports(&executor);
    let kept = Rc::default();
    let enters = Enters(executor.spawner().clone(), Rc::clone(&kept));
    drop(executor.spawn(async move { enters }));
    executor.run_batch(9);
    executor.deliver_reports();
    assert!(reports.take()[0].contains("spawn one that awaits `exclusive`"));
    trace.take();
    executor.run_batch(9);
    assert_eq!(trace.take(), ["tick"], "no task is held");
}

/// Records sections, and the current task at that time.
struct Sections(Trace);

impl picot_executor::Hooks for Sections {
    fn exclusive(&self, lasts: bool) {
        let task = picot_context::current().map(|task| task.given_name().unwrap_or("?").to_string());
        self.0.add(format!("{} {}", if lasts { "begins" } else { "ends" }, task.as_deref().unwrap_or("outside")));
    }
}

#[test]
fn hooks_see_each_section_once_however_it_begins_and_ends() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    executor.spawner().set_hooks(Rc::new(Sections(trace.clone())));
    let named = |name: &str| executor.spawner().build_task().name(name);

    // By its guards, of which the last counts.
    let (spawner, inside) = (executor.spawner().clone(), trace.clone());
    drop(named("twice").spawn(async move {
        let outer = spawner.exclusive().await;
        let inner = spawner.exclusive().await;
        drop(outer);
        inside.add("still");
        drop(inner);
        inside.add("over");
    }));
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["begins twice", "still", "ends twice", "over"]);

    // By the end of its task, whose guard is stored elsewhere; the drop of that guard ends nothing.
    let kept = Rc::new(RefCell::new(None));
    let (spawner, keep) = (executor.spawner().clone(), kept.clone());
    drop(named("ends").spawn(async move { *keep.borrow_mut() = Some(spawner.exclusive().await) }));
    executor.run_until_stalled();
    drop::<Option<ExclusiveGuard>>(kept.take());
    assert_eq!(trace.take(), ["begins ends", "ends ends"]);

    // By a cancellation, in the last step of its task.
    let spawner = executor.spawner().clone();
    let task = named("cancelled").spawn(async move {
        let _guard = spawner.exclusive().await;
        std::future::pending::<()>().await;
    });
    executor.run_until_stalled();
    task.cancel("enough");
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["begins cancelled", "ends cancelled"]);

    // By the close of the executor, before anything is dropped.
    let (spawner, dropped) = (executor.spawner().clone(), trace.on_drop("dropped"));
    drop(named("closed").spawn(async move {
        let _dropped = dropped;
        let _guard = spawner.exclusive().await;
        std::future::pending::<()>().await;
    }));
    executor.run_until_stalled();
    executor.close();
    assert_eq!(trace.take(), ["begins closed", "ends outside", "dropped"]);

    // And without a section, no event.
    let other = Executor::new();
    other.spawner().set_hooks(Rc::new(Sections(trace.clone())));
    other.block_on(yield_now());
    other.close();
    assert!(trace.take().is_empty());
}

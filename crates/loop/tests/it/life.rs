//! The life of a loop: built, run, stopped, run again, closed; one per thread.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use picot_loop::{EventLoop, LoopError, LoopHandle, RunError, sleep, spawn, yield_now};

use crate::trace::{Trace, one_turn, reports, virtual_loop};

#[test]
fn a_second_loop_on_a_thread_is_an_error_that_names_the_first() {
    let first = EventLoop::new().unwrap();
    let line = line!() - 1;
    let error = EventLoop::new().unwrap_err();
    assert!(matches!(error, LoopError::Exists { built_at } if built_at.line() == line));
    let text = error.to_string();
    assert!(text.contains(&format!("life.rs:{line}:")) && text.contains("LoopHandle::current()"), "{text}");
    std::thread::spawn(|| drop(EventLoop::new().unwrap())).join().unwrap();
    drop(first);
    drop(EventLoop::new().unwrap());
}

#[test]
fn a_loop_is_current_from_its_build_to_its_close() {
    assert!(matches!(LoopHandle::try_current(), Err(LoopError::None)));
    let event_loop = EventLoop::new().unwrap();
    assert!(LoopHandle::try_current().is_ok());
    assert!(std::thread::spawn(|| LoopHandle::try_current().is_err()).join().unwrap());
    event_loop.close().unwrap();
    assert!(LoopHandle::try_current().is_err());
    let second = EventLoop::new().unwrap();
    drop(event_loop);
    assert!(LoopHandle::try_current().is_ok(), "dropping a closed loop leaves its successor in place");
    drop(second);
}

#[test]
fn a_panic_that_unwinds_a_loop_leaves_its_thread_free() {
    let trace = Trace::default();
    let dropped = trace.on_drop("task dropped");
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let event_loop = EventLoop::new().unwrap();
        event_loop.handle().call_soon(trace.adds("callback"));
        drop(event_loop.handle().spawn(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        }));
        event_loop.run_until_complete(async {
            yield_now().await;
            crate::trace::quiet_panic("out of the loop");
        })
    }));
    assert!(unwound.is_err());
    assert_eq!(trace.take(), ["callback", "task dropped"]);
    assert_eq!(picot_loop::run(async { 1 }), 1);
}

/// Destructors of thread-locals run at the end of the thread, in an unspecified order. One is
/// registered before the loop's own thread-local, and one after it.
#[test]
fn destructors_of_thread_locals_may_use_and_drop_objects_of_a_loop() {
    struct Late {
        handle: LoopHandle,
        pending: picot_loop::Task<()>,
        timer: picot_loop::TimerHandle,
        _asleep: picot_loop::Sleep,
        seen: std::sync::mpsc::Sender<[bool; 5]>,
    }
    impl Drop for Late {
        fn drop(&mut self) {
            self.seen
                .send([
                    LoopHandle::try_current().is_err(),
                    self.handle.remote().call_soon(|| unreachable!()).is_err(),
                    !self.pending.cancel("too late"),
                    !self.timer.cancel(),
                    picot_loop::current().is_none(),
                ])
                .unwrap();
        }
    }
    thread_local! {
        static EARLIER: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
        static LATER: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
    }
    let (seen, all) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let late = |handle: &LoopHandle| {
            let mut asleep = sleep(Duration::from_secs(3600));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(pin!(&mut asleep).poll(&mut cx).is_pending());
            Late {
                handle: handle.clone(),
                pending: handle.spawn(std::future::pending()),
                timer: handle.call_later(Duration::from_secs(3600), || unreachable!()),
                _asleep: asleep,
                seen: seen.clone(),
            }
        };
        EARLIER.set(None);
        let event_loop = EventLoop::new().unwrap();
        EARLIER.set(Some(late(&event_loop.handle())));
        LATER.set(Some(late(&event_loop.handle())));
        one_turn(&event_loop);
    });
    thread.join().unwrap();
    assert_eq!(all.iter().collect::<Vec<_>>(), [[true; 5]; 2]);
}

#[test]
#[should_panic(expected = "this thread has no event loop: call this from inside of `picot::run(…)`")]
fn the_error_of_a_spawn_without_a_loop_says_what_to_do() {
    drop(spawn(async {}));
}

#[test]
fn a_nested_run_is_refused_and_the_outer_run_goes_on() {
    let event_loop = Rc::new(EventLoop::new().unwrap());
    let inner = event_loop.clone();
    let errors = event_loop.run_until_complete(async move {
        let errors = (
            inner.run_until_complete(async {}).unwrap_err(),
            inner.run_forever().unwrap_err(),
            inner.close().unwrap_err(),
            EventLoop::new().is_err(),
        );
        sleep(Duration::from_millis(1)).await;
        errors
    });
    assert_eq!(errors, Ok((RunError::Nested, RunError::Nested, RunError::Nested, true)));
    assert!(RunError::Nested.to_string().contains("await the future there"));
    assert_eq!(event_loop.run_until_complete(async { 2 }), Ok(2));
}

#[test]
fn stopping_before_the_run_makes_one_turn() {
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    let (again, inside) = (event_loop.handle(), trace.clone());
    handle.call_soon(move || {
        inside.add("first turn");
        again.call_soon(inside.adds("second turn"));
    });
    handle.call_later(Duration::from_secs(1), trace.adds("later"));
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert_eq!(trace.take(), ["first turn"]);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["second turn"]);
}

#[test]
fn callbacks_scheduled_in_the_turn_of_a_stop_wait_for_the_next_run() {
    let (event_loop, trace, _clock) = virtual_loop();
    let (handle, inside) = (event_loop.handle(), trace.clone());
    event_loop.handle().call_soon(move || {
        handle.stop();
        handle.call_soon(inside.adds("scheduled by it"));
        inside.add("stops");
    });
    event_loop.handle().call_soon(trace.adds("queued with it"));
    event_loop.run_forever().unwrap();
    assert_eq!(trace.take(), ["stops", "queued with it"]);
    assert!(!event_loop.is_running());
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["scheduled by it"]);
}

#[test]
fn a_stopped_run_is_an_error_and_its_future_can_continue_later() {
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    let mut future = pin!(async {
        trace.add("begins");
        sleep(Duration::from_secs(2)).await;
        trace.add("ends");
        7
    });
    handle.call_later(Duration::from_secs(1), {
        let handle = handle.clone();
        move || handle.stop()
    });
    assert_eq!(event_loop.run_until_complete(future.as_mut()), Err(RunError::Stopped));
    assert_eq!(trace.take(), ["begins"]);
    assert_eq!(event_loop.run_until_complete(future.as_mut()), Ok(7));
    assert_eq!(trace.take(), ["ends"]);
}

#[test]
fn a_run_stopped_while_its_future_is_queued_leaves_later_runs_intact() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let result = event_loop.run_until_complete(async {
        handle.stop();
        yield_now().await;
    });
    assert_eq!(result, Err(RunError::Stopped));
    // The queue still has an item of the dropped future; this turn has no root.
    one_turn(&event_loop);
    assert_eq!(event_loop.run_until_complete(async { 7 }), Ok(7));
}

#[test]
fn the_future_may_borrow_and_other_tasks_stay_for_the_next_run() {
    let (event_loop, trace, _clock) = virtual_loop();
    let mut number = 1;
    let other = trace.clone();
    event_loop
        .run_until_complete(async {
            drop(spawn(async move {
                sleep(Duration::from_secs(1)).await;
                other.add("other task");
            }));
            number += 1;
        })
        .unwrap();
    assert_eq!(number, 2);
    assert!(trace.take().is_empty());
    event_loop.run_until_complete(sleep(Duration::from_secs(2))).unwrap();
    assert_eq!(trace.take(), ["other task"]);
}

#[test]
fn the_root_is_a_task_named_main() {
    let event_loop = EventLoop::new().unwrap();
    let line = line!() + 2;
    let (task, tasks) = event_loop
        .run_until_complete(async { (picot_loop::current().unwrap(), LoopHandle::current().tasks()) })
        .unwrap();
    assert_eq!((task.given_name(), task.place().line()), (Some("main"), line));
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].id(), task.id());
}

#[test]
fn a_stop_from_another_thread_ends_run_forever() {
    let event_loop = EventLoop::new().unwrap();
    let remote = event_loop.handle().remote();
    let thread = std::thread::spawn(move || remote.stop().unwrap());
    event_loop.run_forever().unwrap();
    thread.join().unwrap();
}

#[test]
fn a_loop_does_not_wait_for_reports() {
    // A report is delivered although nothing else causes another turn.
    let event_loop = EventLoop::new().unwrap();
    let reports = reports(&event_loop);
    let mut task = event_loop.handle().spawn(async {
        yield_now().await;
        crate::trace::quiet_panic("boom")
    });
    event_loop
        .run_until_complete(async {
            let _: Option<Result<(), _>> = futures_lite::future::poll_once(&mut task).await;
        })
        .unwrap();
    for _ in 0..3 {
        one_turn(&event_loop);
    }
    assert_eq!(reports.take().len(), 1);
}

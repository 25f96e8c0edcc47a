//! A task that waits for a lock of its own is named where the loop can go on no more.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use picot::EventLoop;
use picot::event_loop::{Cause, Place, RunError, WaitKind, Waiting};
use picot::sync::Mutex;

/// Runs `future` to a dead end. Returns the tasks that the only report lists, and its text.
fn dead_end(future: impl Future<Output = ()> + 'static) -> (Vec<Waiting>, String) {
    let event_loop = EventLoop::builder().error_on_deadlock().deadlock_delay(Duration::ZERO).build().unwrap();
    let reports = Rc::new(RefCell::new(Vec::new()));
    let hook = reports.clone();
    event_loop.handle().set_error_hook(move |report| match &report.cause {
        Cause::DeadEnd(tasks) => hook.borrow_mut().push((tasks.clone(), report.to_string())),
        other => panic!("{other}"),
    });
    assert_eq!(event_loop.run_until_complete(future), Err(RunError::DeadEnd));
    let mut reports = reports.take();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

#[test]
fn a_task_that_waits_for_a_lock_that_it_holds_is_named_with_the_lock() {
    let line = line!();
    let (tasks, text) = dead_end(async {
        let lock = Rc::new(Mutex::new(0));
        let other = lock.clone();
        let _task = picot::spawn(async move {
            let _held = other.lock().await;
            let _again = other.lock().await;
        });
        picot::yield_now().await;
        // This task waits for another task's lock, not for its own.
        let _guard = lock.lock().await;
    });
    assert_eq!(tasks.len(), 2);
    let own = |waiting: &Waiting| waiting.waits.iter().any(|wait| wait.on == [waiting.task.id()]);
    assert!(!own(&tasks[0]) && own(&tasks[1]));
    for (task, place) in [(&tasks[0], 10), (&tasks[1], 6)] {
        let [wait] = &*task.waits else { panic!("{task:?}") };
        let file = |place: Option<Place>| place.map(|place| (place.file(), place.line() - line));
        assert_eq!((wait.kind, file(wait.made)), (WaitKind::Lock, Some((file!(), 2))));
        assert_eq!((file(wait.held_since), file(wait.place)), (Some((file!(), 5)), Some((file!(), place))));
        assert_eq!(wait.on, [tasks[1].task.id()], "the holder");
    }
    assert_eq!(text.matches("the task holds it itself, so it must unlock it before it locks it again").count(), 1);
    assert!(text.contains(&format!("waits for the lock made at {}, held by task ", tasks[1].waits[0].made.unwrap())));
}

#[test]
fn the_lock_that_a_task_holds_is_named_however_it_was_taken_and_whatever_else_is_held() {
    for takes_without_waiting in [false, true] {
        for holds_another in [false, true] {
            let (tasks, _) = dead_end(async move {
                let (lock, another) = (Mutex::new(0), Mutex::new(0));
                let _another = holds_another.then(|| another.try_lock());
                let _held = if takes_without_waiting { lock.try_lock().unwrap() } else { lock.lock().await };
                let _again = lock.lock().await;
            });
            assert_eq!(tasks[0].waits[0].on, [tasks[0].task.id()]);
        }
    }
}

#[test]
fn a_wait_that_has_ended_or_was_dropped_is_not_named() {
    let (tasks, _) = dead_end(async {
        let lock = Mutex::new(0);
        let mut held = Some(lock.lock().await);
        let mut again = Box::pin(lock.lock());
        std::future::poll_fn(|cx| {
            assert!(again.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(held.take());
        let second = again.await;
        let mut dropped = Box::pin(lock.lock());
        std::future::poll_fn(|cx| {
            assert!(dropped.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(dropped);
        pending::<()>().await;
        drop(second);
    });
    assert!(tasks[0].waits.is_empty());
}

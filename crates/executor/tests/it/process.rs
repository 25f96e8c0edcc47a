//! The two crashes of runtimes that a test can only watch from outside: each runs as a process of its own, which must
//! end well.

use std::process::Command;

use picot_executor::Executor;

use crate::trace::{quiet_panic, yield_now};

/// Set in the child: which of the scenes it is to play.
const SCENE: &str = "PICOT_EXECUTOR_SCENE";

/// Runs the test of this name again as a child, in which it plays its scene. Returns whether this is the child.
fn plays(scene: &str) -> bool {
    if std::env::var_os(SCENE).is_some_and(|found| found == scene) {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("process::{scene}"), "--nocapture", "--test-threads=1"])
        .env(SCENE, scene)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "the scene was not played: {out}");
    false
}

/// Panics when it is dropped away from home.
struct Home(std::thread::ThreadId);

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::current().id() != self.0 {
            std::process::abort();
        }
    }
}

/// `async_task::spawn_local` aborts here: the last waker of a task is woken, and dropped, on another thread when the queue
/// is gone.
#[test]
#[cfg_attr(miri, ignore = "Miri cannot start processes")]
fn wakers_that_outlive_the_executor_are_woken_and_dropped_elsewhere() {
    if !plays("wakers_that_outlive_the_executor_are_woken_and_dropped_elsewhere") {
        return;
    }
    for closes_first in [false, true] {
        let (sender, receiver) = std::sync::mpsc::channel::<std::task::Waker>();
        let (closed, may_wake) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let wakers: Vec<_> = receiver.iter().collect();
            if closes_first {
                may_wake.recv().unwrap();
            }
            for waker in wakers {
                waker.wake_by_ref();
                waker.wake();
            }
        });
        let executor = Executor::new();
        for _ in 0..100 {
            let (sender, home) = (sender.clone(), Home(std::thread::current().id()));
            drop(executor.spawn(async move {
                let _home = home;
                std::future::poll_fn(|cx| {
                    let _ = sender.send(cx.waker().clone());
                    std::task::Poll::<()>::Pending
                })
                .await;
            }));
        }
        executor.run_until_stalled();
        drop(sender);
        // The futures hold senders: closing drops them, and lets the thread go on to wake.
        assert_eq!(executor.close().tasks.len(), 100);
        drop(executor);
        let _ = closed.send(());
        thread.join().unwrap();
    }
}

thread_local! {
    static OTHER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    static EXECUTOR: std::cell::RefCell<Option<Executor>> = const { std::cell::RefCell::new(None) };
}

/// An executor that is left in a thread-local when its thread panics: its tasks' destructors run during the thread's end,
/// touch a thread-local that is gone, and panic. A second panic there would abort.
#[test]
#[cfg_attr(miri, ignore = "Miri cannot start processes")]
fn an_executor_that_dies_with_its_thread_contains_what_its_tasks_do_then() {
    struct TouchesOther;
    impl Drop for TouchesOther {
        fn drop(&mut self) {
            OTHER.with_borrow_mut(|other| other.push(1));
            quiet_panic("even if it was still there");
        }
    }
    picot_context::task_local! {
        static LOCAL: TouchesOther;
    }
    if !plays("an_executor_that_dies_with_its_thread_contains_what_its_tasks_do_then") {
        return;
    }
    let thread = std::thread::spawn(|| {
        EXECUTOR.set(Some(Executor::new()));
        EXECUTOR.with_borrow(|executor| {
            let executor = executor.as_ref().unwrap();
            for _ in 0..3 {
                let touches = TouchesOther;
                drop(executor.spawn(async move {
                    LOCAL.set(TouchesOther);
                    yield_now().await;
                    let _touches = touches;
                    std::future::pending::<()>().await;
                }));
            }
            executor.call_soon({
                let touches = TouchesOther;
                move || drop(touches)
            });
            executor.run_batch(3);
        });
        // After the executor, so that it is destroyed before it.
        OTHER.with_borrow_mut(|other| other.push(0));
        std::panic::resume_unwind(Box::new("the thread ends by a panic"));
    });
    assert!(thread.join().is_err());
}

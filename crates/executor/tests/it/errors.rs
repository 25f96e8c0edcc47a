//! An `Err` that a task returns is taken, or ignored on purpose, or reported: once, with the task
//! and its place.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use picot_context::ManualHost;
use picot_executor::{Executor, JoinError, RemoteTask, Task};

use crate::trace::{Trace, quiet_panic, reports, yield_now};

type Failed = Result<(), &'static str>;

/// The reports of one lost error, with the source location shortened to its line.
fn reported(reports: &Trace, id: u64, line: u32) -> Vec<String> {
    let place = format!("task {id} (spawned at {}:{line}:", file!());
    let texts = reports.take();
    for text in &texts {
        assert!(text.starts_with(&format!("Task: {place}")) || text.starts_with("Task: named (task"), "{text}");
    }
    texts.into_iter().map(|text| text.split_once(") ").unwrap().1.to_string()).collect()
}

const LOST: &str = "returned an error that nothing has taken: disk full; await it, or let it `ignore_errors`";

fn spawn(executor: &Executor) -> Task<Failed> {
    executor.spawn(async {
        yield_now().await;
        Err("disk full")
    })
}

fn spawn_remote(executor: &Executor) -> RemoteTask<Failed> {
    executor.remote().spawn(|| async { Err("disk full") }).unwrap()
}

fn poll<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    pin!(&mut future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Each way to lose an outcome, each way to take one, and each way to ignore one.
#[test]
fn an_error_that_nothing_takes_is_reported_once_however_it_is_lost() {
    type Way = (&'static str, usize, fn(&Executor));
    let ways: [Way; 22] = [
        ("the handle is dropped before the end", 1, |executor| drop(spawn(executor))),
        ("the handle is dropped after the end", 1, |executor| {
            let task = spawn(executor);
            executor.run_until_stalled();
            drop(task);
        }),
        ("the wait is dropped after the end", 1, |executor| {
            let mut wait = spawn(executor).into_future();
            assert!(poll(&mut wait).is_pending());
            executor.run_until_stalled();
            drop(wait);
        }),
        ("the wait is dropped before the end, which cancels", 0, |executor| {
            let mut wait = spawn(executor).into_future();
            assert!(poll(&mut wait).is_pending());
            executor.step();
            drop(wait);
        }),
        ("a handle that cancels is dropped after the end", 1, |executor| {
            let task = spawn(executor).cancel_on_drop();
            executor.run_until_stalled();
            drop(task);
        }),
        ("it is only watched", 1, |executor| {
            let mut task = spawn(executor);
            assert!(poll(&mut &mut task).is_pending());
            executor.run_until_stalled();
            drop(task);
        }),
        ("it ends in an eager spawn", 1, |executor| {
            drop(executor.spawner().build_task().eager().spawn(async { Failed::Err("disk full") }));
        }),
        ("the executor is closed before the handle is dropped", 0, |executor| {
            // This line goes to standard error, because the close has removed the hook.
            let task = spawn(executor);
            executor.run_until_stalled();
            executor.close();
            drop(task);
        }),
        ("a remote handle is dropped before the end", 1, |executor| drop(spawn_remote(executor))),
        ("a remote handle is dropped after the end", 1, |executor| {
            let task = spawn_remote(executor);
            executor.run_until_stalled();
            drop(task);
        }),
        ("a remote handle is dropped on another thread", 1, |executor| {
            let task = spawn_remote(executor);
            executor.run_until_stalled();
            thread::spawn(move || drop(task)).join().unwrap();
        }),
        ("a remote wait is dropped after the end", 1, |executor| {
            let task = spawn_remote(executor).into_future();
            executor.run_until_stalled();
            drop(task);
        }),
        ("it is awaited", 0, |executor| {
            let task = spawn(executor);
            assert_eq!(executor.block_on(async { task.await.unwrap() }), Err("disk full"));
        }),
        ("it is taken by a watch", 0, |executor| {
            let mut task = spawn(executor);
            assert_eq!(executor.block_on(&mut task).unwrap(), Err("disk full"));
        }),
        ("it is taken by a cancel that came too late", 0, |executor| {
            let task = spawn(executor);
            executor.run_until_stalled();
            assert_eq!(
                executor.block_on(task.cancel_and_wait("the test waits for its end")).unwrap().unwrap(),
                Err("disk full")
            );
        }),
        ("a remote task is awaited", 0, |executor| {
            let task = spawn_remote(executor);
            assert_eq!(executor.block_on(async { task.await.unwrap() }), Err("disk full"));
        }),
        ("a thread waits for it", 0, |executor| {
            let mut task = spawn_remote(executor);
            executor.run_until_stalled();
            thread::spawn(move || assert_eq!(task.wait(None).unwrap(), Err("disk full"))).join().unwrap();
        }),
        ("it is the value that a run returns", 0, |executor| {
            assert_eq!(executor.block_on(async { Failed::Err("disk full") }), Err("disk full"));
        }),
        ("the handle ignores it", 0, |executor| drop(spawn(executor).ignore_errors())),
        ("the handle ignores it after the end", 0, |executor| {
            let task = spawn(executor);
            executor.run_until_stalled();
            drop(task.ignore_errors());
        }),
        ("the builder ignores it", 0, |executor| {
            drop(executor.spawner().build_task().ignore_errors().spawn(async { Failed::Err("disk full") }));
        }),
        ("the remote handle ignores it", 0, |executor| {
            drop(spawn_remote(executor).ignore_errors());
            let ended = spawn_remote(executor).ignore_errors();
            executor.run_until_stalled();
            drop(ended);
        }),
    ];
    for (what, count, lose) in ways {
        let executor = Executor::new();
        let reports = reports(&executor);
        lose(&executor);
        executor.run_until_stalled();
        let texts = reports.take();
        assert_eq!(texts.len(), count, "{what}: {texts:?}");
        assert!(
            texts.iter().all(|text| text.starts_with("Task: task 1 (spawned at ") && text.ends_with(LOST)),
            "{texts:?}"
        );
    }
}

/// The executor can no longer take the report, so it goes where reports of that thread go.
#[test]
fn an_error_that_is_dropped_on_another_thread_after_close_is_reported_there() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let task = spawn_remote(&executor);
    executor.run_until_stalled();
    executor.close();
    let elsewhere = thread::spawn(move || {
        let (host, _guard) = ManualHost::installed();
        drop(task);
        host.take_reports().iter().map(ToString::to_string).collect::<Vec<_>>()
    });
    let texts = elsewhere.join().unwrap();
    assert!(texts.len() == 1 && texts[0].starts_with("task 1 (spawned at ") && texts[0].ends_with(LOST), "{texts:?}");
    assert!(reports.take().is_empty());
}

#[test]
fn the_report_names_the_task_its_place_and_the_error() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let line = line!() + 1;
    drop(executor.spawn(async { Err::<u8, _>(std::io::Error::other("disk\nfull")) }));
    executor.run_until_stalled();
    assert_eq!(reported(&reports, 1, line), [LOST.replace("disk full", "disk\\nfull")]);

    drop(executor.spawner().spawn_named("named", async { Failed::Err("disk full") }));
    executor.run_until_stalled();
    assert_eq!(reported(&reports, 2, 0), [LOST]);

    struct Own;
    drop(executor.spawn(async { Err::<(), Own>(Own) }));
    executor.run_until_stalled();
    let texts = reports.take();
    assert!(texts.len() == 1 && texts[0].contains("a value of type ") && texts[0].contains("::Own, "), "{texts:?}");

    // What another task has ended with is an error of the waiter's, if that returns it.
    let child = executor.spawn_named("a\nchild", std::future::pending::<()>());
    child.cancel("too\nslow");
    drop(executor.spawn(async move { Result::<(), JoinError>::Err(child.await.unwrap_err()) }));
    executor.run_until_stalled();
    let texts = reports.take();
    assert!(texts.len() == 1 && texts[0].contains("was cancelled: too\\nslow; await it"), "{texts:?}");
    assert!(texts[0].contains("taken: a\\nchild (task "), "{texts:?}");
}

#[test]
fn values_that_are_not_errors_are_dropped_without_a_report() {
    let executor = Executor::new();
    let reports = reports(&executor);
    drop(executor.spawn(async { Failed::Ok(()) }));
    drop(executor.spawn(async { Some(Failed::Err("inside")) }));
    drop(executor.spawn(async { None::<u8> }));
    let cancelled = executor.spawn(std::future::pending::<Failed>());
    cancelled.cancel("not needed");
    drop(cancelled);
    executor.run_until_stalled();
    assert!(reports.take().is_empty());
}

#[test]
fn a_join_error_becomes_an_io_error_that_contains_it() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let cancelled = executor.spawn_named("cancelled", std::future::pending::<()>());
    cancelled.cancel("not needed any more");
    let panics = executor.spawn(async { quiet_panic("boom") });
    let (cancelled, panics): (io::Result<()>, io::Result<()>) = executor.block_on(async {
        let wait = async |task: Task<()>| Ok(task.await?);
        (wait(cancelled).await, wait(panics).await)
    });
    for (error, text) in [(cancelled, "was cancelled: not needed any more"), (panics, "panicked with \"boom\"")] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert!(error.to_string().ends_with(text), "{error}");
        let inner = error.downcast::<JoinError>().unwrap();
        assert_eq!(inner.is_panic(), text.starts_with("panicked"));
        assert!(inner.to_string().ends_with(text));
    }
    assert_eq!(reports.take(), [] as [String; 0], "the waits have claimed the panic");
}

#[test]
fn no_text_of_others_breaks_the_line_of_an_error() {
    let executor = Executor::new();
    let task = executor.spawn_named("a\nname", std::future::pending::<()>());
    task.cancel("a reason\nof a peer");
    let text = executor.block_on(async { task.await.unwrap_err() }).to_string();
    assert!(text.starts_with("a\\nname (task 1, spawned at "), "{text}");
    assert!(text.ends_with("was cancelled: a reason\\nof a peer"), "{text}");
}

//! Behaviour that only another process can observe: crashes of runtimes, and the output of the
//! default error hook. Each scene runs as a process of its own, which must end well.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use picot_executor::Executor;

use crate::trace::{quiet_panic, yield_now};

/// Set in the child: the scene that it plays.
const SCENE: &str = "PICOT_EXECUTOR_SCENE";

/// Runs the test of this name again as a child, in which it plays its scene. Returns the child's
/// standard output and standard error; `None` if this is the child.
fn played(scene: &str) -> Option<(String, String)> {
    if std::env::var_os(SCENE).is_some_and(|found| found == scene) {
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("process::{scene}"), "--nocapture", "--test-threads=1"])
        .env(SCENE, scene)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "the scene was not played: {out}");
    Some((out.into_owned(), err.into_owned()))
}

/// The number of destructors that have run, in the child.
static DROPS: AtomicUsize = AtomicUsize::new(0);

/// Ends the process when it is dropped on another thread.
struct Home(std::thread::ThreadId);

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::current().id() != self.0 {
            std::process::abort();
        }
        DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

/// `async_task::spawn_local` aborts here: the last waker of a task is woken, and dropped, on
/// another thread after the queue is gone.
#[test]
#[cfg_attr(miri, ignore = "Miri cannot start processes")]
fn wakers_that_outlive_the_executor_are_woken_and_dropped_elsewhere() {
    if let Some((out, _)) = played("wakers_that_outlive_the_executor_are_woken_and_dropped_elsewhere") {
        assert!(out.contains("200 dropped"), "{out}");
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
        // The futures hold senders: closing drops them, so that the thread continues and wakes.
        assert_eq!(executor.close().tasks.len(), 100);
        drop(executor);
        let _ = closed.send(());
        thread.join().unwrap();
    }
    println!("{} dropped", DROPS.load(Ordering::Relaxed));
}

thread_local! {
    static EXECUTOR: std::cell::RefCell<Option<Executor>> = const { std::cell::RefCell::new(None) };
}

/// An executor that is left in a thread-local when its thread panics: the destructors of its tasks
/// run while the thread ends, touch a thread-local that is gone, and panic. A second panic there
/// would abort. They touch the thread-local that is being destroyed, so the order in which a
/// platform destroys several does not matter.
#[test]
#[cfg_attr(miri, ignore = "Miri cannot start processes")]
fn an_executor_that_is_dropped_with_its_thread_contains_the_panics_of_its_tasks() {
    struct TouchesOther;
    impl Drop for TouchesOther {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
            EXECUTOR.with_borrow(|_| ());
            unreachable!("it is gone");
        }
    }
    picot_context::task_local! {
        static LOCAL: TouchesOther;
    }
    if let Some((out, err)) = played("an_executor_that_is_dropped_with_its_thread_contains_the_panics_of_its_tasks") {
        // Of three tasks, each with one in its future and one as its local, and of a callback.
        assert!(out.contains("7 dropped"), "{out}");
        let reports = err.lines().filter(|line| line.starts_with("picot: ") && line.contains("cannot access a Thread"));
        assert_eq!((reports.count(), err.contains("it is gone")), (7, false), "{err}");
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
        std::panic::resume_unwind(Box::new("the thread ends by a panic"));
    });
    assert!(thread.join().is_err());
    println!("{} dropped", DROPS.load(Ordering::Relaxed));
}

/// A second panic during an unwinding aborts the process, unless it is caught before it meets the
/// first.
#[test]
#[cfg_attr(miri, ignore = "Miri cannot start processes")]
fn an_executor_that_is_dropped_by_a_panic_contains_the_panics_of_its_tasks() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            DROPS.fetch_add(1, Ordering::Relaxed);
            quiet_panic("in the middle of another");
        }
    }
    if let Some((out, err)) = played("an_executor_that_is_dropped_by_a_panic_contains_the_panics_of_its_tasks") {
        assert!(out.contains("4 dropped"), "{out}");
        let reports =
            err.lines().filter(|line| line.starts_with("picot: ") && line.contains("in the middle of another"));
        assert_eq!(reports.count(), 4, "{err}");
        return;
    }
    let payload = picot_context::catch(|| {
        let executor = Executor::new();
        for polled in [true, true, false] {
            let bomb = Bomb;
            drop(executor.spawn(async move {
                let _bomb = bomb;
                std::future::pending::<()>().await;
            }));
            if polled {
                executor.run_until_stalled();
            }
        }
        let bomb = Bomb;
        executor.call_soon(move || drop(bomb));
        quiet_panic("the first");
    });
    assert_eq!(payload.unwrap_err().message().as_deref(), Some("the first"));
    println!("{} dropped", DROPS.load(Ordering::Relaxed));
}

/// Standard error may be closed, full, or a pipe that is full or has no reader: then each line is
/// lost, and the run continues.
#[cfg(unix)]
#[test]
#[cfg_attr(miri, ignore = "Miri cannot start processes")]
fn a_standard_error_that_accepts_nothing_ends_no_run() {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;

    const NAME: &str = "a_standard_error_that_accepts_nothing_ends_no_run";
    if std::env::var_os(SCENE).is_some_and(|found| found == NAME) {
        let executor = Executor::new();
        let long = "long ".repeat(10_000);
        for _ in 0..100 {
            let text = long.clone();
            executor.call_soon(move || std::panic::resume_unwind(Box::new(text)));
            drop(executor.spawn(async { Err::<(), _>("lost") }));
        }
        executor.spawner().set_error_hook(|_| quiet_panic("hook"));
        executor.run_until_stalled();
        executor.spawner().reset_error_hook();
        executor.call_soon(|| quiet_panic("no hook"));
        executor.run_until_stalled();
        drop(executor);
        picot_context::report(picot_context::Report::unhandled(std::panic::Location::caller(), "without a host"));
        println!("went on");
        return;
    }
    let stdio = |stream: UnixStream| Stdio::from(OwnedFd::from(stream));
    let (without_reader, reader) = UnixStream::pair().unwrap();
    drop(reader);
    let (mut full, _reader) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    let mut ways = vec![("without a reader", "exec \"$0\" \"$@\"", stdio(without_reader))];
    ways.push(("full, and not blocking", "exec \"$0\" \"$@\"", stdio(full)));
    ways.push(("closed", "exec \"$0\" \"$@\" 2>&-", Stdio::null()));
    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        ways.push(("a device that is full", "exec \"$0\" \"$@\"", Stdio::from(full)));
    }
    for (what, script, stderr) in ways {
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("process::{NAME}"), "--nocapture", "--test-threads=1"])
            .env(SCENE, NAME)
            .stderr(stderr)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.contains("went on"), "{what}: {}\n{out}", output.status);
    }
}

/// Only another process can read the output of the default hook.
#[test]
#[cfg_attr(miri, ignore = "Miri cannot start processes")]
fn without_an_error_hook_or_after_its_panic_each_report_is_printed_as_a_line() {
    if let Some((_, err)) = played("without_an_error_hook_or_after_its_panic_each_report_is_printed_as_a_line") {
        let lines: Vec<_> = err.lines().filter_map(|line| line.strip_prefix("picot: ")).collect();
        let [no_hook, told, hook, reset] = &lines[..] else { panic!("four lines: {err}") };
        let place = "crates/executor/tests/it/process.rs:";
        for (line, what) in [(no_hook, "no hook"), (told, "the report that the hook received"), (reset, "hook removed")]
        {
            assert!(line.starts_with("the callback from ") && line.replace('\\', "/").contains(place), "{line}");
            assert!(line.ends_with(&format!("panicked with {what:?}")), "{line}");
        }
        assert_eq!(*hook, "a hook panicked with \"hook\"");
        return;
    }
    let executor = Executor::new();
    let panics = |message: &'static str| {
        executor.call_soon(move || quiet_panic(message));
        executor.run_until_stalled();
    };
    panics("no hook");
    executor.spawner().set_error_hook(|_| quiet_panic("hook"));
    panics("the report that the hook received");
    executor.spawner().reset_error_hook();
    panics("hook removed");
    assert_eq!(executor.block_on(async { 4 }), 4);
}

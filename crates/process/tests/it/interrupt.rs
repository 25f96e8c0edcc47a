//! Runs that end on Ctrl-C: in which order, with which status, and what is reported.

use std::cell::Cell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use picot_loop::{Cause, EventLoop, LoopHandle, RunError, sleep, spawn, spawn_named, yield_now};
use picot_process::{Interrupt, Interrupted, RunUntilInterrupted, Signal, signal};
use picot_tasks::{CancelScope, JoinSet, scope};
use rustix::process::Signal as Raw;

use crate::program::{Program, alone, say, start, start_after};

/// More than any of these runs needs.
const LONG: Duration = Duration::from_secs(3600);

/// Says a line when it is dropped.
struct Says(&'static str);

impl Drop for Says {
    fn drop(&mut self) {
        say(self.0);
    }
}

fn raise(signal: Raw) {
    signal_hook::low_level::raise(signal.as_raw()).unwrap();
}

/// The status, the lines that are left, and what went to standard error.
fn ended(mut program: Program) -> (Option<i32>, Vec<String>, String) {
    let (status, lines) = program.end();
    (status.code(), lines, program.stderr())
}

/// Interrupts a program that is ready, and a second time once it says `line`: that ends it by the
/// signal.
#[track_caller]
fn ends_by_a_second_signal(mut program: Program, line: &str) {
    program.expect("ready");
    program.signal(Raw::INT);
    program.expect(line);
    program.signal(Raw::INT);
    assert_eq!(program.killed_by(), Some(Raw::INT.as_raw()));
}

#[test]
fn a_main_without_a_token_is_dropped_at_once_and_the_status_is_130() {
    let program = start(|| {
        Interrupt::new().grace(LONG).run(async {
            let _outer = Says("outer");
            let _inner = Says("inner");
            say("ready");
            pending::<()>().await;
        });
        say("not reached");
    });
    program.expect("ready");
    program.signal(Raw::INT);
    assert_eq!(ended(program), (Some(130), vec!["inner".into(), "outer".into()], String::new()));
}

#[test]
fn a_main_that_cleans_up_within_the_grace_chooses_the_status() {
    let program = start(|| {
        let status = Interrupt::new().grace(LONG).run_with(|token| async move {
            say("ready");
            let reason = token.cancelled().await.reason().to_string();
            yield_now().await;
            sleep(Duration::from_millis(2)).await;
            say(&reason);
            7
        });
        process::exit(status);
    });
    program.expect("ready");
    program.signal(Raw::INT);
    assert_eq!(ended(program), (Some(7), vec!["interrupted by SIGINT".into()], String::new()));
}

#[test]
fn a_main_that_does_not_end_within_the_grace_is_dropped_and_reported() {
    let program = start(|| {
        Interrupt::new().grace(Duration::from_millis(20)).run_with(|token| async move {
            let _dropped = Says("dropped");
            say("ready");
            token.cancelled().await;
            say("notified");
            pending::<()>().await;
        });
    });
    program.expect("ready");
    program.signal(Raw::INT);
    let report = "picot: the loop ended with an error: interrupted by SIGINT; \
                  the main future had not ended 20ms later and was dropped\n";
    assert_eq!(ended(program), (Some(130), vec!["notified".into(), "dropped".into()], report.into()));
}

#[test]
fn a_second_signal_ends_the_process_while_it_cleans_up() {
    let program = start(|| {
        Interrupt::new().grace(LONG).run_with(|token| async move {
            say("ready");
            token.cancelled().await;
            say("notified");
            pending::<()>().await;
        });
    });
    ends_by_a_second_signal(program, "notified");
}

#[test]
fn a_second_signal_ends_a_process_whose_loop_is_stuck() {
    for (first, second) in [(Raw::INT, Raw::INT), (Raw::INT, Raw::TERM), (Raw::TERM, Raw::INT)] {
        let mut program = start(|| {
            Interrupt::new().terminate().run(async {
                // Registered last, so it is set when all other actions of a handler have run.
                let is_handled = Arc::new(AtomicBool::new(false));
                for signal in [Raw::INT, Raw::TERM] {
                    signal_hook::flag::register(signal.as_raw(), is_handled.clone()).unwrap();
                }
                say("ready");
                loop {
                    if is_handled.swap(false, Ordering::SeqCst) {
                        say("handled");
                    }
                    thread::yield_now();
                }
            });
        });
        program.expect("ready");
        program.signal(first);
        program.expect("handled");
        program.signal(second);
        assert_eq!(program.killed_by(), Some(second.as_raw()));
    }
}

#[test]
fn a_second_signal_ends_the_process_although_the_program_listens_as_well() {
    let mut program = start(|| {
        Interrupt::new().grace(LONG).run_with(|token| async move {
            let mut other = signal(Signal::INT).unwrap();
            say("ready");
            token.cancelled().await;
            assert_eq!(other.recv().await, Some(Signal::INT));
            say("heard");
            pending::<()>().await;
        });
    });
    program.expect("ready");
    program.signal(Raw::INT);
    program.expect("heard");
    program.signal(Raw::INT);
    assert_eq!(program.killed_by(), Some(Raw::INT.as_raw()));
}

#[test]
fn sigterm_interrupts_if_asked_with_status_143_and_kills_if_not() {
    let main = || async {
        let _dropped = Says("dropped");
        say("ready");
        pending::<()>().await;
    };
    let program = start(|| Interrupt::new().terminate().run(main()));
    program.expect("ready");
    program.signal(Raw::TERM);
    assert_eq!(ended(program), (Some(143), vec!["dropped".into()], String::new()));
}

#[test]
fn sigterm_kills_unless_asked() {
    let mut program = start(|| {
        Interrupt::new().run(async {
            say("ready");
            pending::<()>().await;
        });
    });
    program.expect("ready");
    program.signal(Raw::TERM);
    assert_eq!(program.killed_by(), Some(Raw::TERM.as_raw()));
}

#[test]
fn an_ignored_signal_is_left_ignored() {
    let program = start_after("trap '' INT", || {
        Interrupt::new().terminate().run(async {
            raise(Raw::INT);
            sleep(Duration::from_millis(2)).await;
            say("ready");
            pending::<()>().await;
        });
    });
    program.expect("ready");
    program.signal(Raw::INT);
    program.signal(Raw::TERM);
    assert_eq!(ended(program).0, Some(143));
}

#[test]
fn what_main_leaves_is_cancelled_and_reported() {
    let program = start(|| {
        Interrupt::new().grace(Duration::from_millis(50)).run(async {
            let (started, has_started) = mpsc::channel();
            let _ = spawn_named("ticker", async {
                let _dropped = Says("ticker dropped");
                pending::<()>().await;
            });
            // Cancelled with main, which owns it: that is no task that was left.
            let mut set = JoinSet::new();
            set.spawn(async {
                let _dropped = Says("member dropped");
                pending::<()>().await;
            });
            let _ = picot_loop::spawn_blocking(move || {
                started.send(()).unwrap();
                loop {
                    thread::park();
                }
            });
            has_started.recv().unwrap();
            yield_now().await;
            say("ready");
            pending::<()>().await;
        });
    });
    program.expect("ready");
    program.signal(Raw::INT);
    let (status, lines, report) = ended(program);
    assert_eq!((status, lines), (Some(130), vec!["member dropped".to_string(), "ticker dropped".to_string()]));
    let report: Vec<_> = report.lines().collect();
    assert_eq!(report.len(), 2, "{report:?}");
    let begin = "picot: the loop ended with an error: interrupted by SIGINT";
    let tasks: Vec<_> = report[0].split("; still running: ").collect();
    assert_eq!((tasks.len(), tasks[0]), (3, begin), "{report:?}");
    assert!(tasks[1].starts_with("ticker (task "), "{report:?}");
    assert!(tasks[2].contains("interrupt.rs:"), "the task of the blocking job: {report:?}");
    let jobs: Vec<_> = report[1].split("; still running: ").collect();
    assert_eq!((jobs.len(), jobs[0]), (2, begin), "{report:?}");
    assert!(jobs[1].starts_with("the blocking job submitted at "), "{report:?}");
}

#[test]
fn the_error_hook_receives_what_was_left_before_blocking_jobs_are_waited_for() {
    let mut program = start(|| {
        let status = Interrupt::new().grace(LONG).run_with(|token| async move {
            LoopHandle::current().set_error_hook(|report| match &report.cause {
                Cause::Failed(error) => {
                    let interrupted: &Interrupted = error.downcast_ref().unwrap();
                    let names: Vec<_> = interrupted.tasks().iter().map(|task| task.given_name()).collect();
                    say(&format!("hook: {} {names:?}", interrupted.signal()));
                }
                other => say(&format!("hook: {other:?}")),
            });
            let _ = spawn_named("ticker", async {
                let _dropped = Says("ticker dropped");
                pending::<()>().await;
            });
            let (started, has_started) = mpsc::channel();
            let _ = picot_loop::spawn_blocking(move || {
                started.send(()).unwrap();
                loop {
                    thread::park();
                }
            });
            has_started.recv().unwrap();
            yield_now().await;
            say("ready");
            token.cancelled().await;
            7
        });
        process::exit(status);
    });
    program.expect("ready");
    program.signal(Raw::INT);
    program.expect("ticker dropped");
    // The second task is that of the job.
    program.expect("hook: SIGINT [Some(\"ticker\"), None]");
    // The closing waits for the job, and nothing more would come for an hour.
    program.signal(Raw::INT);
    assert_eq!(program.killed_by(), Some(Raw::INT.as_raw()));
    assert_eq!(program.stderr(), "", "the hook has the report, so nothing is printed");
}

#[test]
fn a_blocking_job_that_ends_within_the_grace_is_waited_for() {
    let program = start(|| {
        Interrupt::new().grace(LONG).run(async {
            let (end, is_over) = mpsc::channel::<()>();
            let (started, has_started) = mpsc::channel();
            let _ = picot_loop::spawn_blocking(move || {
                started.send(()).unwrap();
                is_over.recv().unwrap_err();
                thread::park_timeout(Duration::from_millis(50)); // longer than the exit takes
                say("job done");
            });
            has_started.recv().unwrap();
            say("ready");
            let _end = end; // dropped with main, which ends the job
            pending::<()>().await;
        });
    });
    program.expect("ready");
    program.signal(Raw::INT);
    let (status, lines, _) = ended(program);
    assert_eq!((status, lines), (Some(130), vec!["job done".to_string()]));
}

#[test]
fn scopes_and_their_tokens_clean_up_within_the_grace() {
    let program = start(|| {
        Interrupt::new().grace(LONG).run_with(|token| async move {
            let ended = scope(async |s| {
                let inner = s.token();
                drop(s.shield(async move {
                    inner.cancelled().await;
                    sleep(Duration::from_millis(2)).await;
                    say("child cleaned up");
                }));
                drop(s.spawn(async {
                    let _dropped = Says("other child dropped");
                    pending::<()>().await;
                    Ok(())
                }));
                say("ready");
                let request = token.cancelled().await;
                Err::<(), _>(request.reason().to_string())
            });
            say(&ended.await.unwrap_err().to_string());
            // A scope of its own with a grace is notified, too.
            let late = CancelScope::new().grace(LONG);
            let token = late.token();
            let late = late.run(async move { token.is_cancelled() });
            say(&format!("{:?}", late.await));
        });
        process::exit(3);
    });
    program.expect("ready");
    program.signal(Raw::INT);
    let (status, lines, _) = ended(program);
    assert_eq!(lines[..2], ["other child dropped", "child cleaned up"]);
    assert!(lines[2].contains("interrupted by SIGINT"), "{lines:?}");
    assert_eq!(status, Some(3), "{lines:?}");
}

#[test]
fn a_run_that_is_not_interrupted_is_as_any_other() {
    alone(|| {
        assert_eq!(Interrupt::new().run(async { 7 }), 7);
        assert!(!Interrupt::default().terminate().run_with(|token| async move { token.is_cancelled() }));
        let panicked = catch_unwind(|| Interrupt::new().run(async { panic!("boom") }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"boom"));
        let event_loop = EventLoop::new().unwrap();
        let interrupt = Interrupt::new();
        let nested = event_loop.run_until_complete(async {
            catch_unwind(AssertUnwindSafe(|| event_loop.run_until_interrupted(&interrupt, |_| async {})))
        });
        assert_eq!(nested.unwrap().unwrap().unwrap_err(), RunError::Nested);
        let stopped = event_loop.run_until_interrupted(&interrupt, |_| async {
            LoopHandle::current().stop();
            pending::<()>().await;
        });
        assert_eq!(stopped.unwrap_err(), RunError::Stopped);
        event_loop.close().unwrap();
        let closed = event_loop.run_until_interrupted(&interrupt, |_| async {});
        assert_eq!(closed.unwrap_err(), RunError::Closed);
    });
}

#[test]
fn after_a_run_the_disposition_is_as_before_and_the_loop_can_run_again() {
    let mut program = start(|| {
        let event_loop = EventLoop::new().unwrap();
        let interrupt = Interrupt::new().terminate().grace(Duration::ZERO);
        let ticks = Rc::new(Cell::new(0));
        let count = ticks.clone();
        let ticker = event_loop.handle().spawn_named("ticker", async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        for sent in [Raw::INT, Raw::TERM] {
            let ended = event_loop.run_until_interrupted(&interrupt, |_| async {
                let _dropped = Says("dropped");
                raise(sent);
                pending::<()>().await;
            });
            let interrupted = ended.unwrap().unwrap_err();
            assert_eq!((interrupted.signal().as_raw(), interrupted.status()), (sent.as_raw(), 128 + sent.as_raw()));
            let names: Vec<_> = interrupted.tasks().iter().map(|task| task.given_name()).collect();
            assert_eq!(names, [Some("ticker")]);
        }
        let before = ticks.get();
        let ended = event_loop.run_until_interrupted(&interrupt, |_| async {
            for _ in 0..5 {
                yield_now().await;
            }
        });
        ended.unwrap().unwrap();
        assert!(ticks.get() > before, "the tasks have gone on");
        ticker.cancel("the test is over");
        say("ready");
        loop {
            thread::park();
        }
    });
    program.expect("dropped");
    program.expect("dropped");
    program.expect("ready");
    program.signal(Raw::TERM);
    assert_eq!(program.killed_by(), Some(Raw::TERM.as_raw()));
}

#[test]
fn a_run_waits_for_its_signal_without_being_a_dead_end() {
    let program = start(|| {
        let event_loop = EventLoop::builder().error_on_deadlock().deadlock_delay(Duration::ZERO).build().unwrap();
        let ended = event_loop.run_until_interrupted(&Interrupt::new(), |token| async move {
            say("ready");
            let _ = spawn(async {}).await;
            token.cancelled().await;
            5
        });
        process::exit(ended.unwrap().unwrap());
    });
    program.expect("ready");
    program.signal(Raw::INT);
    assert_eq!(ended(program).0, Some(5));
}

#[test]
fn a_second_signal_ends_the_process_although_other_loops_stop_listening_after_the_first() {
    let program = start(|| {
        let (listens, begun) = mpsc::channel();
        let worker = thread::spawn(move || {
            picot_loop::run(async {
                let mut stream = signal(Signal::INT).unwrap();
                listens.send(()).unwrap();
                stream.recv().await;
            });
        });
        begun.recv().unwrap();
        Interrupt::new().grace(LONG).run_with(|token| async move {
            say("ready");
            token.cancelled().await;
            // The worker's loop has closed, and its listener is gone.
            worker.join().unwrap();
            say("cleans up");
            pending::<()>().await;
        });
    });
    ends_by_a_second_signal(program, "cleans up");
}

#[test]
fn a_second_signal_ends_the_process_although_another_loop_begins_to_listen_after_the_first() {
    let program = start(|| {
        Interrupt::new().grace(LONG).run_with(|token| async move {
            say("ready");
            token.cancelled().await;
            thread::spawn(|| {
                picot_loop::run(async {
                    let _stream = signal(Signal::INT).unwrap();
                    say("listens");
                    pending::<()>().await;
                });
            });
            pending::<()>().await;
        });
    });
    ends_by_a_second_signal(program, "listens");
}

#[test]
fn a_second_signal_ends_the_process_although_another_interrupted_run_has_ended() {
    let program = start(|| {
        let (runs, begun) = mpsc::channel();
        let other = thread::spawn(move || {
            Interrupt::new().grace(LONG).run_with(|token| async move {
                runs.send(()).unwrap();
                token.cancelled().await;
            });
        });
        begun.recv().unwrap();
        Interrupt::new().grace(LONG).run_with(|token| async move {
            say("ready");
            token.cancelled().await;
            other.join().unwrap();
            say("cleans up");
            pending::<()>().await;
        });
    });
    ends_by_a_second_signal(program, "cleans up");
}

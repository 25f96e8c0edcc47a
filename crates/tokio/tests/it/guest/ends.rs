//! How a run ends: values, panics, stops, and what is left.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;

use picot_loop::{EventLoop, LoopError, LoopHandle, RunError, sleep, spawn, yield_now};
use picot_testkit::{Trace, quiet_panic};
use picot_tokio::{GuestError, run, run_guest};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn the_main_future_may_borrow_and_is_a_task_of_picot() {
    let names = RefCell::new(Vec::new());
    let line = line!() + 1;
    let length = run(async {
        yield_now().await;
        names.borrow_mut().extend(LoopHandle::current().tasks().iter().map(|task| task.to_string()));
        names.borrow().len()
    });
    assert_eq!(length, 1);
    let expected = format!("main (task 1, spawned at {}:{line}:", file!());
    assert!(names.borrow()[0].starts_with(&expected), "{names:?}");
}

#[test]
fn the_panic_of_the_main_future_is_that_of_the_run() {
    let trace = Trace::default();
    let held = trace.on_drop("dropped");
    let payload = catch_unwind(AssertUnwindSafe(|| {
        run(async {
            drop(spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            }));
            yield_now().await;
            quiet_panic("in main");
        })
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"in main"));
    assert_eq!(trace.take(), ["dropped"]);
    assert_eq!(run(async { 1 }), 1, "the thread may have another pair");
}

#[test]
fn a_panic_of_a_task_stays_in_it_and_goes_to_its_joiner_or_hook() {
    let trace = Trace::default();
    let hook = trace.clone();
    run(async move {
        LoopHandle::current().set_error_hook(move |report| hook.add(report));
        let theirs = tokio::task::spawn_local(async { quiet_panic("in a task of tokio's") });
        assert!(theirs.await.unwrap_err().is_panic());
        let ours = spawn(async { quiet_panic("in a task of picot's") });
        assert!(ours.await.unwrap_err().to_string().contains("in a task of picot's"));
        drop(spawn(async { quiet_panic("unobserved") }));
        yield_now().await;
        yield_now().await;
    });
    let reports = trace.take();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].contains("unobserved"), "{reports:?}");
}

/// A destructor may use tokio, so the loop is closed first.
#[test]
fn what_is_left_is_dropped_first_picots_then_tokios() {
    struct Spawns(Trace);
    impl Drop for Spawns {
        fn drop(&mut self) {
            drop(tokio::spawn(async {}));
            self.0.add("picot's");
        }
    }
    let trace = Trace::default();
    let (theirs, ours) = (trace.on_drop("tokio's"), Spawns(trace.clone()));
    run(async move {
        drop(tokio::task::spawn_local(async move {
            let _theirs = theirs;
            std::future::pending::<()>().await;
        }));
        drop(spawn(async move {
            let _ours = ours;
            std::future::pending::<()>().await;
        }));
        yield_now().await;
    });
    assert_eq!(trace.take(), ["picot's", "tokio's"]);
}

#[test]
fn a_task_of_tokio_that_outlives_the_loop_gets_answers_and_no_hang() {
    let trace = Trace::default();
    let log = trace.clone();
    run(async move {
        let (handle, task) = (LoopHandle::current(), spawn(std::future::pending::<()>()));
        drop(tokio::task::spawn_local(async move {
            // Dropped by the end of the runtime, after that of the loop.
            struct Late(LoopHandle, picot_loop::Task<()>, Trace);
            impl Drop for Late {
                fn drop(&mut self) {
                    self.2.add(format!("closed: {}, cancelled: {}", self.0.is_closed(), !self.1.cancel("late")));
                }
            }
            let _late = Late(handle, task, log);
            std::future::pending::<()>().await;
        }));
        tokio::task::yield_now().await;
    });
    assert_eq!(trace.take(), ["closed: true, cancelled: true"]);
}

#[test]
fn blocking_jobs_of_both_are_not_waited_for() {
    let (release, jobs) = mpsc::channel::<()>();
    let jobs = std::sync::Arc::new(std::sync::Mutex::new(jobs));
    let (started, starts) = mpsc::channel();
    run(async {
        let job = |jobs: std::sync::Arc<std::sync::Mutex<mpsc::Receiver<()>>>, started: mpsc::Sender<()>| {
            move || {
                started.send(()).unwrap();
                let _ = jobs.lock().map(|jobs| jobs.recv());
            }
        };
        drop(picot_loop::spawn_blocking(job(jobs.clone(), started.clone())));
        drop(tokio::task::spawn_blocking(job(jobs, started)));
    });
    // The run has ended although the one that runs waits for this.
    starts.recv().unwrap();
    drop(release);
}

#[test]
fn a_stop_ends_the_run_and_a_later_run_goes_on() {
    let event_loop = EventLoop::new().unwrap();
    let count = Rc::new(std::cell::Cell::new(0));
    let counter = count.clone();
    drop(event_loop.handle().spawn(async move {
        loop {
            counter.set(counter.get() + 1);
            yield_now().await;
        }
    }));
    block_on(async {
        let stopped = run_guest(&event_loop, async {
            LoopHandle::current().stop();
            std::future::pending::<()>().await;
        });
        assert!(matches!(stopped.await, Err(GuestError::Run(RunError::Stopped))));
        let before = count.get();
        run_guest(&event_loop, yield_now()).await.unwrap();
        assert!(count.get() > before);
    });
}

/// A stop by a task of tokio's, while the loop waits.
#[test]
fn a_stop_from_outside_of_a_turn_ends_the_wait() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    tokio::task::LocalSet::new().block_on(
        &tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        async {
            tokio::task::spawn_local(async move {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                handle.stop();
            });
            let stopped = run_guest(&event_loop, std::future::pending::<()>()).await;
            assert!(matches!(stopped, Err(GuestError::Run(RunError::Stopped))));
        },
    );
}

#[test]
fn a_dropped_guest_drops_the_main_future_alone_and_the_loop_runs_again() {
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    let (main, task) = (trace.on_drop("main"), trace.on_drop("task"));
    let handle = event_loop.handle();
    block_on(async {
        drop(handle.spawn(async move {
            let _task = task;
            std::future::pending::<()>().await;
        }));
        let guest = run_guest(&event_loop, async move {
            let _main = main;
            std::future::pending::<()>().await;
        });
        tokio::select! {
            biased;
            _ = guest => unreachable!(),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(trace.take(), ["main"]);
        assert_eq!(run_guest(&event_loop, async { 1 }).await.unwrap(), 1);
    });
    // Also without a host.
    assert_eq!(event_loop.run_until_complete(async { 2 }), Ok(2));
    assert_eq!(event_loop.close().unwrap().tasks.len(), 1);
    assert_eq!(trace.take(), ["task"]);
}

#[test]
fn after_a_run_the_thread_has_no_loop() {
    run(sleep_briefly());
    assert!(matches!(LoopHandle::try_current(), Err(LoopError::None)));
    assert!(tokio::runtime::Handle::try_current().is_err());
}

async fn sleep_briefly() {
    sleep(std::time::Duration::from_micros(1)).await;
}

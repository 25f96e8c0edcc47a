//! The lane on real threads. Channels hold and release the jobs, so no test sleeps.

mod abandoned;
mod forked;
mod panics;

use std::env;
use std::panic::Location;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use picot_blocking::{JobError, Lane, SubmitError};
use picot_context::{Step, budget, enter};

/// A job that signals when it starts, and runs until the sender is dropped.
fn held(lane: &Lane) -> (picot_blocking::Job<thread::ThreadId>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (started, has_started) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let job = lane.submit(move || {
        started.send(()).unwrap();
        let _ = ended.recv();
        thread::current().id()
    });
    (job.unwrap(), has_started, end)
}

#[test]
fn a_job_runs_on_a_thread_that_carries_the_lanes_name() {
    let lane = Lane::new("files", 2);
    let job = lane.submit(|| (thread::current().id(), thread::current().name().map(str::to_string)));
    let (id, name) = block_on(job.unwrap()).unwrap();
    assert_ne!(id, thread::current().id());
    assert_eq!(name.as_deref(), Some("files"));
}

#[test]
fn a_lane_starts_without_threads_and_never_exceeds_its_bound() {
    let lane = Lane::new("bounded", 2);
    assert_eq!(lane.threads(), 0);
    let at_once = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let jobs: Vec<_> = (0..50)
        .map(|_| {
            let at_once = at_once.clone();
            lane.submit(move || {
                let now = at_once.0.fetch_add(1, Ordering::SeqCst) + 1;
                at_once.1.fetch_max(now, Ordering::SeqCst);
                thread::yield_now();
                at_once.0.fetch_sub(1, Ordering::SeqCst);
            })
            .unwrap()
        })
        .collect();
    assert!(lane.threads() <= 2);
    for job in jobs {
        block_on(job).unwrap();
    }
    assert!(at_once.1.load(Ordering::SeqCst) <= 2);
    assert_eq!(lane.pending(), 0);
}

#[test]
fn jobs_start_in_the_order_of_submission() {
    let lane = Lane::new("one", 1);
    let (first, started, end) = held(&lane);
    started.recv().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let jobs: Vec<_> = (0..10)
        .map(|n| {
            let order = order.clone();
            lane.submit(move || order.lock().unwrap().push(n)).unwrap()
        })
        .collect();
    assert_eq!(lane.pending(), 11);
    drop(end);
    block_on(first).unwrap();
    for job in jobs {
        block_on(job).unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

#[test]
fn running_jobs_are_named_by_their_place_of_submission() {
    let lane = Lane::new("named", 2);
    assert!(lane.running().is_empty());
    let (job, started, end) = held(&lane);
    started.recv().unwrap();
    let running = lane.running();
    assert_eq!(running.len(), 1);
    assert_eq!(running[0].place.file(), file!());
    assert!(running[0].to_string().starts_with("the blocking job submitted at "), "{}", running[0]);
    drop(end);
    block_on(job).unwrap();
}

#[test]
fn a_panicking_job_ends_with_its_payload_and_the_lane_goes_on() {
    let lane = Lane::new("panics", 1);
    let job = lane.submit(|| std::panic::resume_unwind(Box::new("boom"))).unwrap();
    match block_on(job) {
        Err(JobError::Panicked(payload)) => assert_eq!(payload.message().as_deref(), Some("boom")),
        Err(other) => panic!("{other}"),
        Ok(()) => panic!("the job did not panic"),
    }
    assert_eq!(block_on(lane.submit(|| 1).unwrap()).unwrap(), 1);
    assert_eq!(lane.threads(), 1);
}

#[test]
fn a_job_dropped_before_it_starts_never_runs_and_its_closure_is_dropped_at_once() {
    let lane = Lane::new("abandoned", 1);
    let (first, started, end) = held(&lane);
    started.recv().unwrap();
    let held = Arc::new(());
    let inside = held.clone();
    let second = lane.submit(move || drop(inside)).unwrap();
    assert_eq!((lane.pending(), Arc::strong_count(&held)), (2, 2));
    drop(second);
    assert_eq!((lane.pending(), Arc::strong_count(&held)), (1, 1));
    drop(end);
    block_on(first).unwrap();
    assert_eq!(block_on(lane.submit(|| 3).unwrap()).unwrap(), 3);
}

#[test]
fn the_result_of_a_job_dropped_while_it_runs_is_dropped_on_its_thread() {
    struct Dropped(mpsc::Sender<thread::ThreadId>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }
    let lane = Lane::new("result", 1);
    let (sender, dropped) = mpsc::channel();
    let (started, has_started) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let job = lane.submit(move || {
        started.send(()).unwrap();
        let _ = ended.recv();
        Dropped(sender)
    });
    has_started.recv().unwrap();
    drop(job);
    drop(end);
    assert_ne!(dropped.recv().unwrap(), thread::current().id());
}

#[test]
fn closing_refuses_new_jobs_drops_waiting_ones_and_does_not_wait() {
    let lane = Lane::new("closed", 1);
    let (running, started, end) = held(&lane);
    started.recv().unwrap();
    let waiting = lane.submit(|| ()).unwrap();
    drop(lane.submit(|| ()).unwrap());
    let report = lane.close();
    assert_eq!((report.running.len(), report.dropped.len()), (1, 1));
    assert_eq!(report.dropped[0].place.line(), line!() - 4);
    assert!(matches!(block_on(waiting), Err(JobError::Refused(_))));
    let error = lane.submit(|| ()).unwrap_err();
    assert!(matches!(error, SubmitError::Closed { .. }));
    assert_eq!(error.to_string(), "the lane \"closed\" is closed and takes no more blocking jobs");
    drop(end);
    assert!(block_on(running).is_ok(), "the job that was running ends normally");
    let again = lane.close();
    assert!(again.dropped.is_empty());
}

#[test]
fn closing_within_a_limit_waits_and_then_names_the_jobs_that_still_run() {
    let lane = Lane::new("limit", 1);
    let (running, started, end) = held(&lane);
    started.recv().unwrap();
    let report = lane.close_within(Duration::from_millis(1));
    assert_eq!(report.running.len(), 1, "the job runs until `end` is dropped");
    drop(end);
    assert!(lane.close_within(Duration::from_secs(60)).running.is_empty());
    assert_eq!(lane.threads(), 0);
    assert!(running.is_finished());
}

#[test]
fn a_waiter_is_woken_when_the_job_ends() {
    let lane = Lane::new("woken", 1);
    let (mut job, started, end) = held(&lane);
    started.recv().unwrap();
    block_on(async {
        assert!(poll_once(&mut job).await.is_none());
        assert!(!job.is_finished());
        drop(end);
        assert!((&mut job).await.is_ok());
    });
}

#[test]
fn many_submitters_lose_no_job() {
    const JOBS: usize = if cfg!(miri) { 10 } else { 1_000 };
    let lane = Arc::new(Lane::new("many", 4));
    let ran = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (lane, ran) = (lane.clone(), ran.clone());
            thread::spawn(move || {
                for _ in 0..JOBS {
                    let ran = ran.clone();
                    block_on(lane.submit(move || _ = ran.fetch_add(1, Ordering::Relaxed)).unwrap()).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!((ran.load(Ordering::Relaxed), lane.pending()), (4 * JOBS, 0));
}

#[test]
#[should_panic(expected = "at least one thread")]
fn a_lane_without_threads_is_refused() {
    Lane::new("none", 0);
}

/// A series of finished jobs never suspends, so without a budget one task would hold the loop.
#[test]
fn taking_a_finished_result_spends_the_steps_budget() {
    let lane = Lane::new("results", 1);
    let jobs: Vec<_> = (0..2 * budget::PER_STEP).map(|n| lane.submit(move || n).unwrap()).collect();
    let (sender, all_done) = mpsc::channel();
    let last = lane.submit(move || sender.send(()).unwrap()).unwrap();
    all_done.recv().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let step = enter(Step::callback(Location::caller()), None);
    let taken = jobs.into_iter().map(|mut job| pin!(&mut job).poll(&mut cx).is_ready());
    assert_eq!(taken.take_while(|ready| *ready).count(), budget::PER_STEP as usize);
    drop(step);
    block_on(last).unwrap();
}

#[test]
fn a_lane_name_that_no_thread_can_have_is_escaped() {
    let lane = Lane::new("a\0b\nc", 1);
    let name = block_on(lane.submit(|| thread::current().name().map(str::to_string)).unwrap()).unwrap();
    assert_eq!(name.as_deref(), Some("a\\u{0}b\\nc"));
    lane.close();
    let text = lane.submit(|| ()).unwrap_err().to_string();
    assert!(!text.contains('\n') && !text.contains('\0'), "{text:?}");
}

/// Starts itself again, in a process in which every new thread asks for more stack than exists.
#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn a_submission_without_any_thread_is_an_error_that_names_the_lane() {
    const STACK: &str = "RUST_MIN_STACK";
    if env::var(STACK).is_err() {
        let name = "a_submission_without_any_thread_is_an_error_that_names_the_lane";
        let mut child = Command::new(env::current_exe().unwrap());
        let child = child.args(["--exact", name, "--test-threads=1"]).env(STACK, (usize::MAX / 4).to_string());
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    let lane = Lane::new("poor", 4);
    let held = Arc::new(());
    let inside = held.clone();
    let error = lane.submit(move || drop(inside)).unwrap_err();
    assert!(matches!(error, SubmitError::NoThread { .. }));
    let text = error.to_string();
    assert!(text.starts_with("cannot start a thread for the lane \"poor\", which has none: "), "{text}");
    assert_eq!((lane.threads(), lane.pending(), Arc::strong_count(&held)), (0, 0, 1));
}

#[test]
fn a_late_bound_is_asked_for_by_the_first_job_and_once() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let bound = || {
        CALLS.fetch_add(1, Ordering::Relaxed);
        2
    };
    let lane = Lane::new("late", 1).with_threads_from(bound);
    assert_eq!((CALLS.load(Ordering::Relaxed), lane.threads()), (0, 0));
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let jobs: Vec<_> = (0..3)
        .map(|_| {
            let released = released.clone();
            lane.submit(move || _ = released.lock().unwrap().recv()).unwrap()
        })
        .collect();
    assert_eq!((CALLS.load(Ordering::Relaxed), lane.threads()), (1, 2));
    drop(release);
    jobs.into_iter().for_each(|job| block_on(job).unwrap());
    // A bound of zero could never run a job.
    let lane = Lane::new("none", 1).with_threads_from(|| 0);
    assert_eq!(block_on(lane.submit(|| 7).unwrap()).unwrap(), 7);
}

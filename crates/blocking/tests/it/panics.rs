//! Panics of jobs, their results, their captures, and wakers: each is contained and reported.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::Context;
use std::thread;

use futures_lite::future::block_on;
use picot_blocking::{Job, JobError, Lane};
use picot_context::{Kind, ManualHost};
use picot_testkit::{Bomb, quiet_panic, waker_with_drop};

use crate::held;

fn ended<T: Send + 'static>(job: Job<T>) -> Job<T> {
    while !job.is_finished() {
        thread::yield_now();
    }
    job
}

/// Checks that the lane still works, and returns the causes of the jobs' reports as text.
fn reports(lane: &Lane, host: &ManualHost) -> Vec<String> {
    assert_eq!(block_on(lane.submit(|| 1).unwrap()).unwrap(), 1);
    let reports = host.take_reports();
    assert!(reports.iter().all(|report| report.origin.kind == Kind::Job && report.origin.place.is_some()));
    reports.iter().map(|report| report.cause.to_string()).collect()
}

#[test]
fn a_panic_of_a_job_that_is_dropped_untaken_is_reported_once() {
    let (host, _guard) = ManualHost::installed();
    let lane = Lane::new("untaken", 1);
    drop(ended(lane.submit(|| resume_unwind(Box::new("boom"))).map(|job: Job<()>| job).unwrap()));
    assert_eq!(reports(&lane, &host), ["panicked with \"boom\""]);

    let taken: Result<(), JobError> = block_on(ended(lane.submit(|| resume_unwind(Box::new("boom"))).unwrap()));
    assert!(taken.is_err());
    assert_eq!(reports(&lane, &host), [""; 0], "the caller received the panic");
}

#[test]
fn a_panic_in_the_drop_of_a_result_or_a_capture_is_reported() {
    let (host, _guard) = ManualHost::installed();
    let lane = Lane::new("bombs", 1);
    // The result, dropped untaken.
    drop(ended(lane.submit(|| Bomb("in the drop")).unwrap()));
    assert_eq!(reports(&lane, &host), ["panicked with \"in the drop\""]);

    // The closure, dropped before the job starts: by its owner, and by the lane.
    for by_lane in [false, true] {
        let lane = Lane::new("captured", 1);
        let (first, started, end) = held(&lane);
        started.recv().unwrap();
        let bomb = Bomb("in the drop");
        let second = lane.submit(move || drop(bomb)).unwrap();
        if by_lane {
            assert_eq!(lane.close().dropped.len(), 1);
            assert!(matches!(block_on(second), Err(JobError::Refused(_))));
        } else {
            drop(second);
        }
        drop(end);
        block_on(first).unwrap();
        let reports: Vec<_> = host.take_reports().iter().map(|report| report.cause.to_string()).collect();
        assert_eq!(reports, ["panicked with \"in the drop\""]);
    }
}

#[test]
fn a_thread_survives_panics_of_results_and_wakers() {
    let lane = Lane::new("survivor", 1);
    // The result of a job that was abandoned while it ran is dropped on the thread.
    let (started, has_started) = std::sync::mpsc::channel();
    let (end, may_end) = std::sync::mpsc::channel::<()>();
    let job = lane.submit(move || {
        started.send(()).unwrap();
        let _ = may_end.recv();
        Bomb("in the drop")
    });
    has_started.recv().unwrap();
    drop(job);
    drop(end);
    assert_eq!(block_on(lane.submit(|| 2).unwrap()).unwrap(), 2);

    // A waker that panics on the lane's thread.
    let (mut job, started, end) = held(&lane);
    started.recv().unwrap();
    let waker = waker_with_drop(|| quiet_panic("in the wake"), || quiet_panic("in the waker's drop"));
    assert!(Pin::new(&mut job).poll(&mut Context::from_waker(&waker)).is_pending());
    std::mem::forget(waker);
    drop(end);
    block_on(job).unwrap();
    assert_eq!((block_on(lane.submit(|| 3).unwrap()).unwrap(), lane.threads()), (3, 1));
}

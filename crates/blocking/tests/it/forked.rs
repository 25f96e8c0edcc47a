//! A lane in a forked child, where its threads do not exist.

use std::io;
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use picot_blocking::{Job, JobError, Lane, SubmitError};

use crate::held;

/// Runs `check` in a forked child, which then becomes `true`.
fn in_child(mut check: impl FnMut() -> bool + Send + Sync + 'static) -> bool {
    let mut command = Command::new("true");
    // SAFETY: The closure uses its own memory, system calls, and the allocator, which libc keeps
    // usable across a fork.
    unsafe { command.pre_exec(move || if check() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }) };
    command.status().is_ok_and(|status| status.success())
}

fn poll<T: Send + 'static>(job: &mut Job<T>) -> Poll<Result<T, JobError>> {
    Pin::new(job).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn a_forked_child_never_waits_for_threads_of_its_parent() {
    let lane = Arc::new(Lane::new("parent", 1));
    let (running, started, end) = held(&lane);
    started.recv().unwrap();
    let waiting = lane.submit(|| 1).unwrap();
    let mut inherited = Some((lane.clone(), running, waiting));
    // The child drops its copy of the slot's content; the parent takes its own out afterwards.
    let (running, waiting) = {
        let kept = Arc::new(std::sync::Mutex::new(inherited.take()));
        let for_child = kept.clone();
        assert!(in_child(move || {
            let Some((lane, mut running, waiting)) = for_child.lock().unwrap().take() else { return false };
            let closed = lane.close_within(Duration::from_secs(60));
            let is_refused = matches!(lane.submit(|| ()), Err(SubmitError::Forked { .. }));
            let is_error = running.is_finished() && matches!(poll(&mut running), Poll::Ready(Err(JobError::Forked(_))));
            let is_empty = (lane.threads(), lane.pending(), lane.running().len()) == (0, 0, 0);
            drop((running, waiting, lane));
            closed.running.is_empty()
                && is_refused
                && is_error
                && is_empty
                && block_on(Lane::new("child", 1).submit(|| 7).unwrap()).is_ok_and(|seven| seven == 7)
        }));
        let (_, running, waiting) = kept.lock().unwrap().take().unwrap();
        (running, waiting)
    };
    drop(end);
    block_on(running).unwrap();
    assert_eq!(block_on(waiting).unwrap(), 1, "the parent's jobs are unaffected");
}

/// A lock that a thread of the parent holds at the fork is never released in the child. If the
/// child took it, this test would hang.
#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn a_forked_child_takes_no_lock_that_a_thread_of_its_parent_may_hold() {
    let lane = Arc::new(Lane::new("locked", 1));
    let stop = Arc::new(AtomicBool::new(false));
    let hammer = {
        let (lane, stop) = (lane.clone(), stop.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                assert!(lane.running().len() <= 1);
            }
        })
    };
    for _ in 0..100 {
        let kept = Arc::new(std::sync::Mutex::new(Some((lane.clone(), lane.submit(|| ()).unwrap()))));
        let for_child = kept.clone();
        assert!(in_child(move || {
            let Some((lane, job)) = for_child.lock().unwrap().take() else { return false };
            let has_ended = job.is_finished() && lane.close().running.is_empty();
            drop((job, lane));
            has_ended
        }));
    }
    stop.store(true, Ordering::Relaxed);
    hammer.join().unwrap();
}

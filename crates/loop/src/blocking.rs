//! Blocking jobs as tasks, and the lanes of threads that run them.
//!
//! Name lookups have a lane of their own: they cannot be cancelled, and a resolver that hangs must not keep other jobs waiting.

use std::panic::Location;
use std::task::Waker;
use std::time::Duration;

use picot_blocking::{CloseReport, JobError, Lane};
use picot_context::Place;
use picot_executor::Task;

use crate::handle::{LoopHandle, open};

/// Threads for name lookups; libuv has as many for all of its work.
const LOOKUP_THREADS: usize = 4;

/// The loop's lanes. They start no thread before their first job.
pub(crate) struct Lanes {
    jobs: Lane,
    lookups: Lane,
}

impl Lanes {
    /// Lanes that end a wait by `interrupt` when a job ends that has no task any more: what the loop waits for may have changed.
    pub(crate) fn new(threads_for_jobs: usize, interrupt: &Waker) -> Lanes {
        Lanes {
            jobs: Lane::with_waker("picot-blocking", threads_for_jobs, interrupt.clone()),
            lookups: Lane::with_waker("picot-lookup", LOOKUP_THREADS, interrupt.clone()),
        }
    }

    /// How many jobs are not over.
    pub(crate) fn pending(&self) -> usize {
        self.jobs.pending() + self.lookups.pending()
    }

    /// How many threads there are, idle ones included.
    pub(crate) fn threads(&self) -> usize {
        self.jobs.threads() + self.lookups.threads()
    }

    /// Refuses new jobs, drops those that have not started, and waits for those that run; for lookups it does not wait.
    pub(crate) fn close(&self, limit: Duration) -> CloseReport {
        let mut report = self.lookups.close();
        let mut jobs = self.jobs.close_within(limit);
        report.running.append(&mut jobs.running);
        report.dropped.append(&mut jobs.dropped);
        report
    }
}

/// Runs a closure that blocks on a thread of this thread's loop; see [`LoopHandle::spawn_blocking`].
///
/// # Panics
/// If this thread has no loop, or it is closed.
///
/// ```
/// let length = picot_loop::run(async {
///     picot_loop::spawn_blocking(|| std::fs::read("/dev/null").map_or(0, |bytes| bytes.len())).await.unwrap()
/// });
/// assert_eq!(length, 0);
/// ```
#[doc(alias = "to_thread")]
#[track_caller]
pub fn spawn_blocking<T: Send + 'static>(closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    LoopHandle::current().spawn_blocking(closure)
}

impl LoopHandle {
    /// Runs a closure that blocks on another thread, and makes a task of it, which ends with what the closure returned. There
    /// are a bounded number of threads, started when they are needed; jobs wait for their turn. Cancelling the task abandons
    /// the closure: if it has not started, it never runs; if it runs, it goes on.
    ///
    /// If the closure panics, so does the task.
    ///
    /// # Panics
    /// If the loop is closed.
    #[doc(alias = "run_in_executor")]
    #[doc(alias = "to_thread")]
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(&self, closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        self.spawn_on(&self.inner.lanes.jobs, Location::caller(), closure)
    }

    /// [`spawn_blocking`](LoopHandle::spawn_blocking) on the lane for name lookups, which has four threads of its own, so that a
    /// resolver that hangs does not keep other jobs waiting. Closing the loop never waits for it.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn spawn_lookup<T: Send + 'static>(&self, closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        self.spawn_on(&self.inner.lanes.lookups, Location::caller(), closure)
    }

    #[track_caller]
    fn spawn_on<T: Send + 'static>(
        &self,
        lane: &Lane,
        place: Place,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        open(self.check_open());
        // Submitted here and not in the task's first poll: the job may start at once.
        let job = lane.submit_at(place, closure);
        self.spawn_at(place, async move {
            let job = match job {
                Ok(job) => job,
                Err(error) => panic!("{error}"),
            };
            match job.await {
                Ok(value) => value,
                Err(JobError::Panicked(payload)) => {
                    std::panic::resume_unwind(payload.take().expect("only this task has the job's payload"))
                }
                Err(error) => panic!("{error}"),
            }
        })
    }
}

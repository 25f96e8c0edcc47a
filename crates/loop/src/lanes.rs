//! The lanes: threads that run blocking jobs.
//!
//! Name lookups have their own lane. They cannot be cancelled, and a resolver that hangs must not
//! delay other jobs.

use std::task::Waker;
use std::thread;
use std::time::Duration;

use picot_blocking::{ClosedLane, Lane};

/// The number of abandoned lookups whose threads are replaced. A silent name server answers none
/// for half a minute, and must not delay names that other sources know. With four threads for
/// lookups, this allows 32 threads in all.
const LOOKUP_REPLACEMENTS: usize = 28;

/// The loop's lanes. They start no thread before their first job.
pub(crate) struct Lanes {
    pub(crate) jobs: Lane,
    pub(crate) lookups: Lane,
}

impl Lanes {
    /// Makes lanes that wake `interrupt` when an abandoned job ends. No task is woken then, but the
    /// loop may have waited for its end.
    pub(crate) fn new(threads_for_jobs: Option<usize>, threads_for_lookups: usize, interrupt: &Waker) -> Lanes {
        let jobs = |threads| Lane::with_waker("picot-blocking", threads, interrupt.clone());
        let lookups = Lane::with_waker("picot-lookup", threads_for_lookups, interrupt.clone());
        Lanes {
            // Reading the number of processors takes about 20 system calls, and many loops run no
            // job. The first job reads it.
            jobs: threads_for_jobs.map_or_else(|| jobs(1).with_threads_from(default_threads), jobs),
            lookups: lookups.with_replacements(LOOKUP_REPLACEMENTS),
        }
    }

    /// The number of jobs that are not over.
    pub(crate) fn pending(&self) -> usize {
        self.jobs.pending() + self.lookups.pending()
    }

    /// The number of threads, idle ones included.
    pub(crate) fn threads(&self) -> usize {
        self.jobs.threads() + self.lookups.threads()
    }

    /// Refuses new jobs, drops those that have not started, and waits up to `limit` for those that
    /// run.
    ///
    /// Does not wait for lookups, which may hang.
    pub(crate) fn close(&self, limit: Duration) -> ClosedLane {
        // Lookups first: some may end while the jobs are waited for.
        let mut report = self.lookups.close();
        let mut jobs = self.jobs.close_within(limit);
        report.running.append(&mut jobs.running);
        report.dropped.append(&mut jobs.dropped);
        report
    }
}

/// As Python's `ThreadPoolExecutor`: more than the processors, because most jobs wait for I/O.
fn default_threads() -> usize {
    (thread::available_parallelism().map_or(1, usize::from) + 4).min(32)
}

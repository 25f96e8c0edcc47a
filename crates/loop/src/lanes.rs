//! The lanes: threads that run blocking jobs.
//!
//! Name lookups have a lane of their own. They cannot be cancelled, and a resolver that hangs must not
//! delay other jobs.

use std::task::Waker;
use std::time::Duration;

use picot_blocking::{ClosedLane, Lane};

/// How many lookups that were given up and run on may have their threads replaced at a time: a silent name server answers
/// none of them for half a minute, and must not keep names waiting that other sources know.
const LOOKUP_REPLACEMENTS: usize = 28;

/// The loop's lanes. They start no thread before their first job.
pub(crate) struct Lanes {
    pub(crate) jobs: Lane,
    pub(crate) lookups: Lane,
}

impl Lanes {
    /// Lanes that end a wait by `interrupt` when a job ends that has no task any more: what the loop waits for may have changed.
    pub(crate) fn new(threads_for_jobs: usize, threads_for_lookups: usize, interrupt: &Waker) -> Lanes {
        let lookups = Lane::with_waker("picot-lookup", threads_for_lookups, interrupt.clone());
        Lanes {
            jobs: Lane::with_waker("picot-blocking", threads_for_jobs, interrupt.clone()),
            lookups: lookups.with_replacements(LOOKUP_REPLACEMENTS),
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
    pub(crate) fn close(&self, limit: Duration) -> ClosedLane {
        let mut report = self.lookups.close();
        let mut jobs = self.jobs.close_within(limit);
        report.running.append(&mut jobs.running);
        report.dropped.append(&mut jobs.dropped);
        report
    }
}

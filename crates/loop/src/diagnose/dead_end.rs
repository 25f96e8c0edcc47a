//! Dead ends: the loop has tasks but nothing to do, and nothing that it knows of could change that.
//!
//! Another thread may still hold a waker. So if the process has other threads, the loop first waits
//! for the deadlock delay, then reports the dead end once per run, and waits on. This file detects
//! and reports a dead end; `EventLoop` decides which runs end with an error.

use std::time::Duration;

use picot_context::{Cause, Kind};

use crate::inner::Inner;
use crate::turn::Limit;

/// After a dead end was reported, the loop counts threads at most this often: it reads a directory.
const RECOUNT_AFTER: Duration = Duration::from_secs(1);

impl Inner {
    /// Waits while nothing is ready and no timer is set.
    pub(crate) fn wait_without_deadline(&self) {
        let stats = &self.stats;
        if !self.may_be_dead_end() || (stats.has_reported_dead_end.get() && !stats.has_root.get()) {
            // Reported already, and this run cannot end with an error: only an event helps.
            return self.wait(Limit::None);
        }
        // Threads are counted once per run, and again after each delay without an event, so that a
        // program that is woken from other threads does not pay for it at each wait.
        let is_alone = || !stats.had_other_threads.get() && self.is_alone();
        if !is_alone() {
            stats.had_other_threads.set(true);
            let recounts_rarely = stats.has_reported_dead_end.get() && !self.error_on_deadlock;
            let delay = if recounts_rarely { self.deadlock_delay.max(RECOUNT_AFTER) } else { self.deadlock_delay };
            self.wait(Limit::of(Some(delay)));
            // An event has arrived, the wait failed, or a blocking job has ended: no dead end now.
            if self.has_something_to_run() || stats.wait_has_failed.get() || !self.may_be_dead_end() {
                return;
            }
            stats.had_other_threads.set(false);
        }
        // Counted again: a thread that ended during the wait can wake no task any more.
        let ends = stats.has_root.get() && (self.error_on_deadlock || is_alone());
        stats.is_at_dead_end.set(ends);
        if !stats.has_reported_dead_end.replace(true) {
            self.report(Kind::Loop, Cause::DeadEnd(self.waiting()));
        }
    }

    /// Whether tasks are left, and no I/O and no blocking job is pending.
    fn may_be_dead_end(&self) -> bool {
        self.executor.spawner().task_count() != 0 && self.reactor.waiting() == 0 && self.lanes.pending() == 0
    }

    /// Whether this process has no other thread that could wake a task. The watchdog and the idle
    /// threads of the lanes cannot.
    fn is_alone(&self) -> bool {
        // 1 is this thread.
        let own = 1 + self.lanes.threads() + usize::from(self.watchdog.borrow().is_some());
        threads_of_process().is_some_and(|threads| threads <= own)
    }
}

/// The number of threads of this process, if the platform tells it.
fn threads_of_process() -> Option<usize> {
    if cfg!(target_os = "linux") { Some(std::fs::read_dir("/proc/self/task").ok()?.count()) } else { None }
}

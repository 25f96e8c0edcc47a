//! Dead ends: a loop that has nothing to do, while nothing that it knows of could change that.
//!
//! Another thread may still hold a waker. So where there is one, the loop is patient first, tells of it once a run, and waits
//! on, for as long as there is one. This file says what a dead end is; which runs end with one, `EventLoop` says.

use std::time::Duration;

use picot_context::{Cause, Kind};

use crate::inner::Inner;
use crate::turn::Limit;

/// After a dead end was told of, the threads are counted no more often than this.
const REST: Duration = Duration::from_secs(1);

impl Inner {
    /// Waits while nothing is ready and no timer is set.
    pub(crate) fn wait_without_deadline(&self) {
        let stats = &self.stats;
        if !self.may_be_dead_end() || (stats.has_reported_dead_end.get() && !stats.has_root.get()) {
            return self.wait(Limit::None);
        }
        // Threads are counted once a run, and again whenever none of them has come for a while.
        let is_alone = || !stats.had_other_threads.get() && self.is_alone();
        if !is_alone() {
            stats.had_other_threads.set(true);
            let is_resting = stats.has_reported_dead_end.get() && !self.error_on_deadlock;
            let patience = if is_resting { self.patience.max(REST) } else { self.patience };
            self.wait(Limit::of(Some(patience)));
            if self.has_something_to_do() || stats.has_failed.get() || !self.may_be_dead_end() {
                return;
            }
            stats.had_other_threads.set(false);
        }
        let ends = stats.has_root.get() && (self.error_on_deadlock || is_alone());
        stats.is_at_dead_end.set(ends);
        if !stats.has_reported_dead_end.replace(true) {
            self.report(Kind::Loop, Cause::DeadEnd(self.executor.spawner().waiting()));
        }
    }

    /// Whether tasks are left, and none of them waits for anything outside that the loop knows of.
    fn may_be_dead_end(&self) -> bool {
        self.executor.spawner().task_count() != 0 && self.reactor.waiting() == 0 && self.lanes.pending() == 0
    }

    /// Whether this process has no other thread that could bring anything. The watchdog and idle threads of lanes cannot.
    fn is_alone(&self) -> bool {
        let own = 1 + self.lanes.threads() + usize::from(self.watchdog.borrow().is_some());
        threads_of_process().is_some_and(|threads| threads <= own)
    }
}

/// How many threads this process has, where that can be found out.
fn threads_of_process() -> Option<usize> {
    if cfg!(target_os = "linux") { Some(std::fs::read_dir("/proc/self/task").ok()?.count()) } else { None }
}

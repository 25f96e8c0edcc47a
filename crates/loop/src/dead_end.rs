//! Dead ends: a loop that has nothing to do, while nothing that it knows of could change that.
//!
//! Another thread may still hold a waker. So where there is one, the loop is patient first, tells of it once a run, and waits
//! on. This file says what a dead end is; which runs end with one, `EventLoop` says.

use picot_context::{Cause, Kind};

use crate::inner::Inner;
use crate::turn::Limit;

impl Inner {
    /// Waits while nothing is ready and no timer is set.
    pub(crate) fn wait_without_deadline(&self) {
        if self.pace.has_met_dead_end.get() || !self.may_be_dead_end() {
            return self.wait(Limit::None);
        }
        if !self.is_alone() {
            self.wait(Limit::of(Some(self.patience)));
            if self.has_something_to_do() || self.pace.has_failed.get() || !self.may_be_dead_end() {
                return;
            }
        }
        self.pace.has_met_dead_end.set(true);
        self.report(Kind::Loop, Cause::DeadEnd(self.executor.spawner().waiting()));
    }

    /// Whether tasks are left, and none of them waits for anything outside that the loop knows of.
    fn may_be_dead_end(&self) -> bool {
        self.executor.spawner().task_count() != 0 && self.reactor.waiting() == 0 && self.lanes.pending() == 0
    }

    /// Whether this run ends with the dead end that was met in it.
    pub(crate) fn fails_at_dead_end(&self) -> bool {
        self.pace.has_met_dead_end.get() && (self.fails_at_dead_ends || self.is_alone())
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

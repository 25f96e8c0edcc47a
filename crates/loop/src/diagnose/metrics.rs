//! When the loop updates its metrics.

use crate::diagnose::counters::{Gauges, Metrics};
use crate::handle::LoopHandle;
use crate::inner::Inner;

impl Inner {
    /// Counts a turn of `steps` steps.
    #[inline]
    pub(crate) fn count_turn(&self, steps: usize) {
        self.metrics.count_turn(steps);
        if self.metrics.has_readers() {
            self.metrics.set_ready(self.executor.ready());
        }
    }

    /// Counts a wait, and the time for which the loop was blocked in it.
    #[inline]
    pub(crate) fn count_wait(&self, asleep: Option<u64>) {
        self.metrics.count_wait(asleep);
        if self.metrics.has_readers() {
            self.update_gauges();
        }
    }

    /// Out of line, because most loops have no reader of their metrics.
    #[inline(never)]
    fn update_gauges(&self) {
        self.metrics.set_gauges(&Gauges {
            // Counting the inbox costs more than all the rest, so an empty one is not counted.
            remote: if self.executor.has_remote() { self.executor.remote_len() } else { 0 },
            tasks: self.executor.spawner().task_count(),
            timers: self.timers.borrow().len(),
            sources: self.reactor.sources(),
            waiting: self.reactor.waiting(),
            blocking: self.lanes.pending(),
        });
    }
}

impl LoopHandle {
    /// Returns access to the loop's metrics, for any thread and at any time.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let metrics = event_loop.handle().metrics();
    /// drop(event_loop.handle().spawn(async {}));
    /// assert_eq!(event_loop.turn(None), Ok(1));
    /// assert_eq!((metrics.snapshot().turns, metrics.snapshot().steps), (1, 1));
    /// ```
    pub fn metrics(&self) -> Metrics {
        self.inner.update_gauges();
        self.inner.metrics.set_ready(self.inner.executor.ready());
        self.inner.metrics.clone()
    }
}

//! Slow steps: timed by the coarse clock, and reported with the time that the thread ran.

use std::time::Duration;

use picot_context::{Cause, Kind, Origin, Report, StepTime};

use crate::inner::Inner;

impl Inner {
    /// Times the step that ends here, and reports it if it was slow. It is still the running one, and so has a name. Returns
    /// whether the coarse clock has moved.
    #[inline]
    pub(crate) fn after_step(&self) -> bool {
        self.stats.steps.set(self.stats.steps.get() + 1);
        let now = self.clock.coarse();
        let took = now.saturating_sub(self.stats.coarse.replace(now));
        if took != 0 {
            self.has_taken(took, now);
        }
        took != 0
    }

    /// A step that ends `now` has taken some time that the coarse clock could see.
    #[cold]
    fn has_taken(&self, took: u64, now: u64) {
        self.metrics.count_step(took);
        // Printing a panic and its backtrace may take longer than the step: the panic is reported, and that is enough.
        let has_panicked = picot_context::take_panicked().is_some_and(|step| Some(step) == picot_context::running());
        // A virtual clock stands still: a step that moves it does not take the time that it skips.
        let is_real = self.clock.as_virtual().is_none();
        if took >= self.slow_step && is_real && !has_panicked && !self.executor.was_exclusive() {
            self.report_slow_step(took);
        }
        self.follow_processor(now);
    }

    fn report_slow_step(&self, took: u64) {
        let origin = Origin::running().unwrap_or(Origin::new(Kind::Loop));
        let ran =
            self.clock.processor().map(|ran| Duration::from_nanos(ran.saturating_sub(self.stats.ran.get()).min(took)));
        let cause = Cause::SlowStep(StepTime::new(Duration::from_nanos(took), ran));
        self.executor.spawner().report(Report::new(origin, cause));
    }

    /// Reads how long the thread has run, so that a slow step's part of that is known at its end. Not more often than four times
    /// in each limit of slow steps, because it is a system call.
    pub(crate) fn follow_processor(&self, coarse: u64) {
        if coarse.saturating_sub(self.stats.ran_at.get()) >= self.slow_step / 4 {
            self.note_processor(coarse);
        }
    }

    #[cold]
    pub(crate) fn note_processor(&self, coarse: u64) {
        self.stats.ran_at.set(coarse);
        self.stats.ran.set(self.clock.processor().unwrap_or(0));
    }
}

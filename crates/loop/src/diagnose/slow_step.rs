//! Slow steps: timed by the coarse clock, and reported with the processor time that they used.

use std::time::Duration;

use picot_context::{Cause, Kind, Origin, Report, StepTime};

use crate::diagnose::slow_steps::SlowStep;
use crate::diagnose::trace::What;
use crate::handle::LoopHandle;
use crate::inner::Inner;
use crate::time::instant::Instant;

impl LoopHandle {
    /// The last slow steps of the loop, at most 32, the newest last: those that the error hook got
    /// as reports with [`Cause::SlowStep`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let limit = Duration::from_millis(20);
    /// let event_loop = picot_loop::EventLoop::builder().slow_step_limit(limit).build()?;
    /// event_loop.handle().set_error_hook(|_| ());
    /// event_loop.run_until_complete(async {
    ///     let begin = picot_loop::Instant::now();
    ///     while begin.elapsed() < Duration::from_millis(40) {} // blocks the loop
    /// })?;
    /// assert!(event_loop.handle().slow_steps()[0].time.took >= limit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slow_steps(&self) -> Vec<SlowStep> {
        self.inner.slow_steps.list()
    }
}

impl Inner {
    /// Times the step that ends here, and reports it if it was slow. Returns true if the coarse
    /// clock has ticked during it.
    ///
    /// Called while the step is still the current one, so that the report has its name.
    #[inline]
    pub(crate) fn after_step(&self) -> bool {
        self.stats.steps.set(self.stats.steps.get() + 1);
        // One reading ends this step and begins the next, so steps leave no gaps.
        let now = self.clock.coarse();
        let took = now.saturating_sub(self.stats.step_began_at.replace(now));
        if took != 0 {
            self.step_took_time(took, now);
        }
        took != 0
    }

    /// Handles a step that ends at `now`, in which the coarse clock has ticked. Cold: most steps
    /// are shorter than a tick.
    #[cold]
    fn step_took_time(&self, took: u64, now: u64) {
        self.metrics.count_step(took);
        // The panic hook may take longer to print a backtrace than the step took. The panic itself
        // is reported anyway.
        let has_panicked = picot_context::take_panicked().is_some_and(|step| Some(step) == picot_context::running());
        // A step that advances a virtual clock does not take the time that it skips.
        let is_real = self.clock.as_virtual().is_none();
        if took >= self.slow_step_limit && is_real && !has_panicked && !self.executor.was_exclusive() {
            self.report_slow_step(took);
        }
        self.sample_cpu_time_if_due(now);
    }

    fn report_slow_step(&self, took: u64) {
        self.observers.trace(|trace| trace.add(What::SlowStep));
        // A hook of the turn may run outside of a step.
        let origin = Origin::running().unwrap_or(Origin::new(Kind::Loop));
        let ran = self
            .clock
            .thread_cpu_time()
            .map(|ran| Duration::from_nanos(ran.saturating_sub(self.stats.cpu_time.get()).min(took)));
        let time = StepTime::new(Duration::from_nanos(took), ran);
        self.slow_steps.push(Instant::from_nanos(self.clock.now()), origin.clone(), time);
        let cause = Cause::SlowStep(time);
        self.executor.spawner().report(Report::new(origin, cause));
    }

    /// Samples the processor time at most four times per slow-step limit, because it is a system
    /// call.
    ///
    /// A report of a slow step needs a sample from before the step.
    pub(crate) fn sample_cpu_time_if_due(&self, coarse: u64) {
        if coarse.saturating_sub(self.stats.cpu_read_at.get()) >= self.slow_step_limit / 4 {
            self.sample_cpu_time(coarse);
        }
    }

    /// Samples the thread's processor time.
    #[cold]
    pub(crate) fn sample_cpu_time(&self, coarse: u64) {
        self.stats.cpu_read_at.set(coarse);
        self.stats.cpu_time.set(self.clock.thread_cpu_time().unwrap_or(0));
    }
}

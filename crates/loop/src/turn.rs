//! The turn, as one function, and its phases.
//!
//! The invariant is the order of the phases, which the crate's documentation lists: first poll for
//! events, then run exactly what is queued. Phases 1 to 5 only queue; phase 6 runs.

use std::pin::Pin;
use std::time::Duration;

use picot_context::{Cause, Kind};
use picot_executor::AnyRoot;

use crate::diagnose::trace::{Slice, TraceRecorder, What};
use crate::error::RunError;
use crate::inner::Inner;
use crate::time::clock::Clock;
use crate::time::timers::Due;

/// The maximum number of steps between two event polls. A prime, as in tokio, so that it does not
/// match the period of a program.
const STEPS_BETWEEN_POLLS: u32 = 61;

/// The time after which an event poll is due, in nanoseconds, if fewer steps have run by then. An
/// event poll that finds nothing takes less than a hundredth of this.
const TIME_BETWEEN_POLLS: u64 = 50_000;

/// The same if a timer is due sooner: not less than this, so that near timers do not cause an event
/// poll per step.
const MIN_TIME_BETWEEN_POLLS: u64 = 5_000;

/// The maximum number of timers that become due in one turn. After a long suspend, the loop then
/// polls for I/O in between.
const TIMERS_PER_TURN: usize = 1024;

/// How long the thread pauses after a failed wait, so that a wait that always fails does not spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// The maximum duration of a wait. The reactor caps it at 24 hours (asyncio's
/// `MAXIMUM_SELECT_TIMEOUT`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Zero,
    After(Duration),
    /// Until this time of the loop's clock.
    Deadline(u64),
    None,
}

impl Limit {
    /// Converts a limit from the caller; `None` is no limit.
    pub(crate) fn of(time: Option<Duration>) -> Limit {
        match time {
            Some(Duration::ZERO) => Limit::Zero,
            Some(time) => Limit::After(time),
            None => Limit::None,
        }
    }
}

/// How many turns a call of [`Inner::turn`] runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turns {
    One,
    /// This one and those after it that need no event poll. Such a turn is one batch, so the
    /// executor runs them without returning in between.
    UntilEventPoll,
}

impl Inner {
    /// Runs a turn, which waits for at most `limit`. Returns the number of steps of the last turn.
    pub(crate) fn turn(&self, root: Option<Pin<&mut dyn AnyRoot>>, limit: Option<Duration>, turns: Turns) -> usize {
        let mut woken_at = None;
        self.observers.trace(|trace| trace.begin(Slice::Turn));
        let has_work = self.executor.has_work();
        if !has_work || self.must_poll() {
            // With an empty queue the loop sleeps, and the step count starts again after that.
            if has_work {
                self.plan_next_poll();
            }
            // User code runs here and in phases 3, 4 and 6; no borrow is live.
            self.run_hooks_before_wait();
            // 1. How long to wait.
            // 2. Wait for I/O.
            // 3. Queue the tasks whose sources are ready: `wait` wakes them.
            self.observers.trace(|trace| trace.begin(Slice::Wait));
            match self.clock.as_virtual() {
                None => self.wait_for_next(limit),
                Some(clock) => self.wait_virtually(clock, limit),
            }
            self.observers.trace(TraceRecorder::end);
            // 4. Queue the timers that are due.
            self.queue_due_timers();
            self.end_event_poll();
            woken_at = self.record_wake_latency.then(|| self.clock.now());
            self.run_hooks_after_wait();
        }
        // 5. Take what came from other threads, at most 512 items. Also without an event poll, so
        //    that other threads do not wait for one.
        self.executor.take_remote();
        self.observers.trace(TraceRecorder::add_woken_now);
        // 6. Run exactly what is queued now.
        let again = |steps| {
            self.observers.trace(TraceRecorder::add_joiners);
            let goes_on = turns == Turns::UntilEventPoll && woken_at.is_none() && !self.must_return();
            if goes_on {
                self.count_turn(steps);
            }
            goes_on
        };
        let steps = self.executor.run_batches_with(root, |_| _ = self.after_step(), again);
        if let Some(woken_at) = woken_at.filter(|_| steps != 0) {
            self.metrics.count_wake(self.clock.now().saturating_sub(woken_at));
        }
        // Reports of this turn go to the error hook at its end.
        if self.executor.deliver_reports() {
            // Restarts the step clock: the time of the error hook is not charged to the next step.
            self.stats.step_began_at.set(self.clock.coarse());
        }
        self.count_turn(steps);
        self.observers.trace(|trace| {
            trace.add_joiners();
            trace.end();
        });
        steps
    }

    /// Resets the step clock, so that idle time before a run is not charged to a step.
    pub(crate) fn begin_run(&self) {
        self.stats.has_reported_dead_end.set(false);
        self.stats.is_at_dead_end.set(false);
        self.stats.had_other_threads.set(false);
        self.stats.steps_began_at.set(self.clock.now());
        self.stats.steps_between_polls.set(STEPS_BETWEEN_POLLS);
        self.continue_run();
    }

    /// Resets the step clock, so that the host's time between two turns is not charged to a step.
    ///
    /// The estimate of the steps between two event polls does include it: what counts for I/O is
    /// the time that has passed.
    pub(crate) fn continue_run(&self) {
        let coarse = self.clock.coarse();
        self.stats.step_began_at.set(coarse);
        self.sample_cpu_time_if_due(coarse);
        // After a wait of the embedding host, the first turn polls for events even if work is
        // queued. This also clears the descriptor, which a wake may have made readable.
        if self.end_host_wait() {
            self.stats.steps_began_at.set(self.clock.now());
            self.stats.steps_between_polls.set(0);
        }
    }

    /// Returns an error if this process is a fork of the loop's.
    pub(crate) fn check_process(&self) -> Result<(), RunError> {
        if self.reactor.is_forked() { Err(RunError::Forked) } else { Ok(()) }
    }

    /// Whether an event poll is due although work is queued.
    fn must_poll(&self) -> bool {
        // A stopping loop runs its last turn in full, as asyncio does.
        self.is_stopping.get()
            || self.stats.steps.get() >= self.stats.steps_between_polls.get()
            || self.stats.step_began_at.get() != self.stats.polled_at.get()
    }

    /// Whether the turns that need no event poll are over.
    fn must_return(&self) -> bool {
        self.must_poll() || self.reactor.is_forked()
    }

    /// Sets the number of steps until the next event poll, from the duration of those before this
    /// one.
    fn plan_next_poll(&self) {
        let steps = self.stats.steps.get();
        if steps == 0 {
            return;
        }
        // `max(1)`: the duration divides below.
        let now = self.clock.now();
        let took = now.saturating_sub(self.stats.steps_began_at.replace(now)).max(1);
        let next = self.timers.borrow_mut().next_deadline();
        let fit = steps_that_fit(steps, took, next.map(|deadline| deadline.saturating_sub(now)));
        self.stats.steps_between_polls.set(fit);
    }

    /// Restarts the step count and the step clock, so that the wait is not charged to a step.
    fn end_event_poll(&self) {
        let coarse = self.clock.coarse();
        self.stats.steps.set(0);
        self.stats.step_began_at.set(coarse);
        self.stats.polled_at.set(coarse);
        self.sample_cpu_time_if_due(coarse);
    }

    /// Whether the loop must not block in its next wait.
    pub(crate) fn has_something_to_run(&self) -> bool {
        self.is_stopping.get() || self.executor.has_work() || self.executor.has_remote() || self.hooks.has_idle_hook()
    }

    /// How long the loop may wait, from its own queue and timers.
    pub(crate) fn limit(&self) -> Limit {
        if self.has_something_to_run() {
            return Limit::Zero;
        }
        let mut timers = self.timers.borrow_mut();
        if timers.len() == 0 {
            return Limit::None;
        }
        timers.next_deadline().map_or(Limit::None, Limit::Deadline)
    }

    /// Waits for I/O until the next deadline, and for at most `limit`.
    fn wait_for_next(&self, limit: Option<Duration>) {
        let next = match self.limit() {
            Limit::Deadline(deadline) => Limit::Deadline(self.stats.batch.delay(deadline)),
            next => next,
        };
        match (next, limit) {
            (Limit::None, None) => self.wait_without_deadline(),
            (Limit::None, Some(_)) => self.wait(Limit::of(limit)),
            (Limit::Deadline(deadline), Some(_)) => match self.until(deadline) {
                time if limit > Some(time) => self.wait(Limit::Deadline(deadline)),
                _ => self.wait(Limit::of(limit)),
            },
            (next, _) => self.wait(next),
        }
    }

    /// The time until a deadline.
    pub(crate) fn until(&self, deadline: u64) -> Duration {
        Duration::from_nanos(deadline.saturating_sub(self.clock.now()))
    }

    /// Releases the timers' memory after a peak, at every 64th blocking wait. Not at each one, so
    /// that a load that comes and goes with each turn rarely pays for it.
    fn shrink_timers_now_and_then(&self) {
        const SLEEPS: u8 = 64;
        let sleeps = self.stats.sleeps.get().wrapping_add(1);
        self.stats.sleeps.set(sleeps);
        if sleeps % SLEEPS == 0 {
            self.timers.borrow_mut().shrink();
        }
    }

    /// Waits for I/O, and wakes the tasks whose sources are ready.
    ///
    /// The wakers are user code; the reactor calls them with no borrow live.
    pub(crate) fn wait(&self, limit: Limit) {
        // Other threads interrupt a wait only after it is announced here. `None` means that one has
        // queued something before the announcement: then do not block.
        let asleep = if limit == Limit::Zero { None } else { self.executor.fall_asleep() };
        let limit = if asleep.is_some() { limit } else { Limit::Zero };
        if asleep.is_some() {
            self.shrink_timers_now_and_then();
        }
        let since = if limit == Limit::Zero { None } else { Some(self.clock.now()) };
        let result = match (limit, since) {
            (Limit::After(time), _) => self.reactor.wait(Some(time)),
            // By deadline, so that the reactor sets its timer only if the deadline has changed.
            (Limit::Deadline(deadline), Some(now)) => self.reactor.wait_until(deadline, now),
            (Limit::None, _) => self.reactor.wait(None),
            (Limit::Zero | Limit::Deadline(_), _) => self.reactor.wait(Some(Duration::ZERO)),
        };
        // Ends the announcement: from here on, wakes from other threads need no system call.
        drop(asleep);
        let slept = since.map(|since| {
            let now = self.clock.now();
            self.stats.steps_began_at.set(now);
            now.saturating_sub(since)
        });
        self.count_wait(slept);
        // A wait collects a bounded number of events: there may be more.
        self.stats.has_collected_events.set(result.as_ref().is_ok_and(|count| *count > 0));
        if let Err(error) = result {
            // A series of failures is reported once.
            if !self.stats.wait_has_failed.replace(true) {
                self.report(Kind::Loop, Cause::Io(error));
            }
            // Timers stay on time meanwhile; only I/O is affected.
            std::thread::park_timeout(match limit {
                Limit::Zero => Duration::ZERO,
                Limit::Deadline(deadline) => self.until(deadline).min(PAUSE_AFTER_ERROR),
                Limit::After(_) | Limit::None => PAUSE_AFTER_ERROR,
            });
        } else {
            self.stats.wait_has_failed.set(false);
        }
    }

    /// As `wait_for_next` under a virtual clock: jumps to the next deadline instead of waiting for
    /// it, if nothing else can happen before.
    fn wait_virtually(&self, clock: &dyn Clock, limit: Option<Duration>) {
        self.wait(Limit::Zero);
        if self.has_something_to_run() || self.is_timer_due() {
            return;
        }
        // A blocking job takes real time. Its end wakes the loop.
        if self.lanes.pending() > 0 {
            return self.wait(Limit::of(limit));
        }
        if self.reactor.waiting() > 0 {
            // The whole grace, whatever the limit: the clock must not jump past I/O that is about
            // to arrive.
            self.wait(Limit::of(Some(self.io_grace)));
            if self.has_something_to_run() {
                return;
            }
        }
        let next = self.timers.borrow_mut().next_deadline();
        match next {
            Some(deadline) => clock.jump(Duration::from_nanos(deadline)),
            None if limit.is_some() => self.wait(Limit::of(limit)),
            None => self.wait_without_deadline(),
        }
    }

    fn is_timer_due(&self) -> bool {
        let next = self.timers.borrow_mut().next_deadline();
        next.is_some_and(|deadline| deadline <= self.clock.now())
    }

    /// Queues the timers that are due, by deadline, then by insertion. Those beyond the limit of a
    /// turn stay in the wheel, in order.
    fn queue_due_timers(&self) {
        if self.timers.borrow().len() == 0 {
            return;
        }
        // Taken out before they are queued: a waker is user code and may insert timers, so no
        // borrow may be live then.
        let mut due = self.stats.due.take();
        let now = self.clock.now();
        let mut timers = self.timers.borrow_mut();
        due.extend(timers.expire(now).take(TIMERS_PER_TURN));
        self.stats.batch.add(due.len(), now, timers.len());
        drop(timers);
        if !due.is_empty() {
            self.observers.trace(|trace| trace.add(What::Timers(due.len())));
        }
        for timer in due.drain(..) {
            match timer {
                Due::Task(key) => self.executor.spawner().wake(key),
                Due::Wake(waker) => self.contain(Kind::Waker, None, || waker.wake()),
                // Fails only on a closed loop, which runs no turns.
                Due::Call(call) => _ = self.executor.spawner().schedule(call),
            }
        }
        self.stats.due.replace(due);
    }
}

/// The number of steps until the next event poll.
///
/// Estimated from the last `steps`, which took `took` nanoseconds, and the time until the next
/// timer.
fn steps_that_fit(steps: u32, took: u64, until_next_timer: Option<u64>) -> u32 {
    let time =
        until_next_timer.map_or(TIME_BETWEEN_POLLS, |until| until.clamp(MIN_TIME_BETWEEN_POLLS, TIME_BETWEEN_POLLS));
    (u64::from(steps) * time / took).clamp(1, STEPS_BETWEEN_POLLS.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_between_polls_follow_their_duration_and_the_next_timer() {
        // Steps of one microsecond, and of ten.
        assert_eq!(steps_that_fit(20, 20_000, None), 50);
        assert_eq!(steps_that_fit(20, 200_000, None), 5);
        assert_eq!(steps_that_fit(20, 20_000, Some(u64::MAX)), 50, "a far timer changes nothing");
        assert_eq!(steps_that_fit(20, 20_000, Some(30_000)), 30, "the event poll comes when the timer is due");
        assert_eq!(steps_that_fit(20, 200_000, Some(30_000)), 3);
        assert_eq!(steps_that_fit(20, 20_000, Some(0)), 5, "near timers do not cause an event poll per step");
        assert_eq!(steps_that_fit(20, 20_000_000, Some(0)), 1, "at least one step runs");
        assert_eq!(steps_that_fit(61, 1, None), STEPS_BETWEEN_POLLS, "never more than the maximum");
    }
}

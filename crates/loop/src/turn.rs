//! The turn, as one function, and the parts that it consists of.
//!
//! The invariant is the order of the phases, which the crate's documentation lists: what is outside is looked at first,
//! and then exactly what is queued is run. Each phase queues; only the last one runs anything.

use std::pin::Pin;
use std::time::Duration;

use picot_context::{Cause, Kind};
use picot_executor::AnyRoot;

use crate::error::RunError;
use crate::inner::Inner;
use crate::time::clock::Clock;
use crate::time::timers::Due;

/// How many short steps may run before the loop looks outside again.
const STEPS_BETWEEN_LOOKS: u32 = 61;

/// If they are longer, as many as fit into this time, in nanoseconds: a look that finds nothing takes less than a hundredth
/// of it.
const TIME_BETWEEN_LOOKS: u64 = 50_000;

/// As many as fit before the next timer, if that is sooner; but into no less time than this, in which a look is not much.
const TIME_BEFORE_TIMERS: u64 = 5_000;

/// How many timers may become due in one turn. After a long standstill the loop looks outside in between.
const TIMERS_A_TURN: usize = 1024;

/// How long the thread rests after a failed wait, so that a wait which always fails does not spin.
const REST: Duration = Duration::from_millis(10);

/// How long a wait may take. The reactor caps it at 24 hours (asyncio's `MAXIMUM_SELECT_TIMEOUT`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Zero,
    After(Duration),
    /// Until this time of the loop's clock.
    Deadline(u64),
    None,
}

impl Limit {
    /// A limit that the caller chose, or none.
    pub(crate) fn of(time: Option<Duration>) -> Limit {
        match time {
            Some(Duration::ZERO) => Limit::Zero,
            Some(time) => Limit::After(time),
            None => Limit::None,
        }
    }
}

impl Inner {
    /// One turn of the loop, whose wait takes no longer than `limit`. Returns the number of steps.
    pub(crate) fn turn(&self, root: Option<Pin<&mut dyn AnyRoot>>, limit: Option<Duration>) -> usize {
        let mut woken_at = None;
        let has_work = self.executor.has_work();
        if !has_work || self.must_look() {
            if has_work {
                self.is_about_to_look();
            }
            self.run_hooks_before_wait();
            // 1. How long to wait.
            // 2. Wait for I/O.
            // 3. Queue the tasks whose sources are ready: the wait wakes them.
            match self.clock.as_virtual() {
                None => self.wait_for_next(limit),
                Some(clock) => self.wait_virtually(clock, limit),
            }
            // 4. Queue the timers that are due.
            self.queue_due_timers();
            self.has_looked();
            woken_at = self.record_wake_latency.then(|| self.clock.now());
            self.run_hooks_after_wait();
        }
        // 5. Take what came from other threads, at most 512 items.
        self.executor.take_remote();
        // 6. Run exactly what is queued now.
        let steps = self.executor.run_batch_with(usize::MAX, root, |_| _ = self.after_step());
        if let Some(woken_at) = woken_at.filter(|_| steps != 0) {
            self.metrics.count_wake(self.clock.now().saturating_sub(woken_at));
        }
        // Reports of this turn go to the error hook at its end.
        if self.executor.deliver_reports() {
            // The time of the error hook is not charged to the next step.
            self.stats.coarse.set(self.clock.coarse());
        }
        self.count_turn(steps);
        steps
    }

    /// Resets the step clock, so that idle time before a run is not charged to a step.
    pub(crate) fn begin_run(&self) {
        let coarse = self.clock.coarse();
        self.stats.coarse.set(coarse);
        self.note_processor(coarse);
        self.stats.has_reported_dead_end.set(false);
        self.stats.is_at_dead_end.set(false);
        self.stats.had_other_threads.set(false);
        self.stats.began_at.set(self.clock.now());
        // After a foreign loop's wait the first turn looks outside whatever is queued, as after a
        // wait of the loop's own: that also clears the descriptor, which may have been made readable.
        let between = if self.end_host_wait() { 0 } else { STEPS_BETWEEN_LOOKS };
        self.stats.steps_between_looks.set(between);
    }

    /// An error in a process that was forked from the loop's.
    pub(crate) fn check_process(&self) -> Result<(), RunError> {
        if self.reactor.is_forked() { Err(RunError::Forked) } else { Ok(()) }
    }

    /// Whether the outside is to be looked at though something is queued, or the turn may go straight to that.
    fn must_look(&self) -> bool {
        self.is_stopping.get()
            || self.stats.steps.get() >= self.stats.steps_between_looks.get()
            || self.stats.coarse.get() != self.stats.looked_at.get()
    }

    /// How many steps may run before the next look goes by how long they have taken up to this one. Not asked where nothing
    /// is queued: then the loop falls asleep, and they begin anew after that.
    fn is_about_to_look(&self) {
        let steps = self.stats.steps.get();
        if steps == 0 {
            return;
        }
        let now = self.clock.now();
        let took = now.saturating_sub(self.stats.began_at.replace(now)).max(1);
        let next = self.timers.borrow_mut().next_deadline();
        let fit = steps_that_fit(steps, took, next.map(|deadline| deadline.saturating_sub(now)));
        self.stats.steps_between_looks.set(fit);
    }

    /// Resets the step count and the step clock, so that the wait is not charged to a step.
    fn has_looked(&self) {
        let coarse = self.clock.coarse();
        self.stats.steps.set(0);
        self.stats.coarse.set(coarse);
        self.stats.looked_at.set(coarse);
        self.follow_processor(coarse);
    }

    pub(crate) fn has_something_to_do(&self) -> bool {
        self.is_stopping.get() || self.executor.has_work() || self.executor.has_remote() || self.hooks.is_idling()
    }

    /// How long the loop may wait, as far as it knows.
    pub(crate) fn limit(&self) -> Limit {
        if self.has_something_to_do() {
            return Limit::Zero;
        }
        let mut timers = self.timers.borrow_mut();
        if timers.len() == 0 {
            return Limit::None;
        }
        timers.next_deadline().map_or(Limit::None, Limit::Deadline)
    }

    /// Waits for I/O until the next thing is to be done, and for at most `limit`.
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

    /// Before some of the sleeps, gives back the memory that a peak of timers has left. Not before each one, so that a
    /// load which comes and goes with each turn pays for it rarely.
    fn give_memory_back(&self) {
        const SLEEPS: u8 = 64;
        let sleeps = self.stats.sleeps.get().wrapping_add(1);
        self.stats.sleeps.set(sleeps);
        if sleeps % SLEEPS == 0 {
            self.timers.borrow_mut().shrink();
        }
    }

    /// Waits for I/O, and wakes the tasks whose sources are ready.
    pub(crate) fn wait(&self, limit: Limit) {
        // Other threads may interrupt the wait only while it is announced. If one has come before, there is none.
        let asleep = if limit == Limit::Zero { None } else { self.executor.fall_asleep() };
        let limit = if asleep.is_some() { limit } else { Limit::Zero };
        if asleep.is_some() {
            self.give_memory_back();
        }
        let since = if limit == Limit::Zero { None } else { Some(self.clock.now()) };
        let result = match (limit, since) {
            (Limit::After(time), _) => self.reactor.wait(Some(time)),
            // The reactor does with it what it can at no further system call while the deadline stays the same.
            (Limit::Deadline(deadline), Some(now)) => self.reactor.wait_until(deadline, now),
            (Limit::None, _) => self.reactor.wait(None),
            (Limit::Zero | Limit::Deadline(_), _) => self.reactor.wait(Some(Duration::ZERO)),
        };
        drop(asleep);
        let slept = since.map(|since| {
            let now = self.clock.now();
            self.stats.began_at.set(now);
            now.saturating_sub(since)
        });
        self.count_wait(slept);
        if let Err(error) = result {
            if !self.stats.has_failed.replace(true) {
                self.report(Kind::Loop, Cause::Io(error));
            }
            std::thread::park_timeout(match limit {
                Limit::Zero => Duration::ZERO,
                Limit::Deadline(deadline) => self.until(deadline).min(REST),
                Limit::After(_) | Limit::None => REST,
            });
        } else {
            self.stats.has_failed.set(false);
        }
    }

    /// The same under a virtual clock: instead of waiting for a deadline, it jumps there, if that can be the next thing to
    /// happen.
    fn wait_virtually(&self, clock: &dyn Clock, limit: Option<Duration>) {
        self.wait(Limit::Zero);
        if self.has_something_to_do() || self.is_timer_due() {
            return;
        }
        if self.lanes.pending() > 0 {
            return self.wait(Limit::of(limit));
        }
        if self.reactor.waiting() > 0 {
            // All of it, whatever the limit: the clock must not jump past I/O that is on its way.
            self.wait(Limit::of(Some(self.grace)));
            if self.has_something_to_do() {
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

    /// Queues what is due, by deadline, then by insertion. What is more than fits into a turn stays, in order, for the next.
    fn queue_due_timers(&self) {
        if self.timers.borrow().len() == 0 {
            return;
        }
        // Taken out first, and queued second: a waker is foreign code and may insert timers.
        let mut due = self.stats.due.take();
        let now = self.clock.now();
        due.extend(self.timers.borrow_mut().expire(now).take(TIMERS_A_TURN));
        self.stats.batch.add(due.len(), now);
        for timer in due.drain(..) {
            match timer {
                Due::Task(key) => self.executor.spawner().wake(key),
                Due::Wake(waker) => self.contain(Kind::Waker, None, || waker.wake()),
                // Refused only by a loop that is closed, which has no turns.
                Due::Call(call) => _ = self.executor.spawner().schedule(call),
            }
        }
        self.stats.due.replace(due);
    }
}

/// How many steps may run before the next look, going by `steps` that took so many nanoseconds, and by how long it is to the next
/// timer.
fn steps_that_fit(steps: u32, took: u64, until_next_timer: Option<u64>) -> u32 {
    let time = until_next_timer.map_or(TIME_BETWEEN_LOOKS, |until| until.clamp(TIME_BEFORE_TIMERS, TIME_BETWEEN_LOOKS));
    (u64::from(steps) * time / took).clamp(1, STEPS_BETWEEN_LOOKS.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_between_looks_go_by_their_length_and_by_the_next_timer() {
        // Of a microsecond each, and of ten.
        assert_eq!(steps_that_fit(20, 20_000, None), 50);
        assert_eq!(steps_that_fit(20, 200_000, None), 5);
        assert_eq!(steps_that_fit(20, 20_000, Some(u64::MAX)), 50, "a far timer changes nothing");
        assert_eq!(steps_that_fit(20, 20_000, Some(30_000)), 30, "the look comes when the timer is due");
        assert_eq!(steps_that_fit(20, 200_000, Some(30_000)), 3);
        assert_eq!(steps_that_fit(20, 20_000, Some(0)), 5, "many near timers do not make a look of each step");
        assert_eq!(steps_that_fit(20, 20_000_000, Some(0)), 1, "at least one runs");
        assert_eq!(steps_that_fit(61, 1, None), STEPS_BETWEEN_LOOKS, "and no more than this, however short");
    }
}

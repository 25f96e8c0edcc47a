//! The turn, as one function, and the parts that it consists of.
//!
//! The invariant is the order of the phases, which the crate's documentation lists: what is outside is looked at first,
//! and then exactly what is queued is run. Each phase queues; only the last one runs anything.

use std::pin::Pin;
use std::time::Duration;

use picot_context::{Cause, Kind, Origin, Report, catch};
use picot_executor::AnyRoot;

use crate::clock::{Clock, VirtualClock};
use crate::inner::Inner;
use crate::timer::Due;

/// So many steps may run before the outside is looked at again.
const STEPS_BETWEEN_LOOKS: u32 = 61;

/// No wait is longer than this (asyncio's `MAXIMUM_SELECT_TIMEOUT`).
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the thread rests after a wait that has failed, so that a wait which fails for ever does not spin.
const REST: Duration = Duration::from_millis(10);

impl Inner {
    /// One turn of the loop.
    pub(crate) fn turn(&self, root: Option<Pin<&mut dyn AnyRoot>>) {
        if self.must_look() {
            // 1. How long to wait.
            // 2. Wait for I/O.
            // 3. Queue the tasks whose sources are ready: the wait wakes them.
            match &self.clock {
                Clock::Monotonic { .. } => self.wait(self.timeout()),
                Clock::Virtual(clock) => self.wait_virtually(clock),
            }
            // 4. Queue the timers that are due.
            self.queue_due_timers();
            self.has_looked();
        }
        // 5. Take what came from other threads.
        self.executor.take_remote();
        // 6. Run exactly what is queued now.
        self.executor.run_batch_with(usize::MAX, root, |_| _ = self.after_step());
        // What went wrong in this turn is told at its end.
        self.executor.deliver_reports();
    }

    /// A run begins. The time since the last one is no step's.
    pub(crate) fn begin_run(&self) {
        self.pace.coarse.set(self.clock.coarse());
    }

    /// Whether the outside is to be looked at, or the turn may go straight to what is queued.
    fn must_look(&self) -> bool {
        !self.executor.has_work()
            || self.is_stopping.get()
            || self.pace.steps.get() >= STEPS_BETWEEN_LOOKS
            || self.pace.coarse.get() != self.pace.looked_at.get()
    }

    /// From here on steps are counted and timed anew: no step is to blame for the wait.
    fn has_looked(&self) {
        let coarse = self.clock.coarse();
        self.pace.steps.set(0);
        self.pace.coarse.set(coarse);
        self.pace.looked_at.set(coarse);
    }

    fn has_something_to_do(&self) -> bool {
        self.is_stopping.get() || self.executor.has_work() || self.executor.has_remote()
    }

    /// How long nothing is to be done, as far as is known. `None`: until something comes.
    fn timeout(&self) -> Option<Duration> {
        if self.has_something_to_do() {
            return Some(Duration::ZERO);
        }
        let deadline = self.wheel.borrow_mut().next_deadline()?;
        Some(Duration::from_nanos(deadline.saturating_sub(self.clock.now())).min(WAIT_MAX))
    }

    /// Waits for I/O, and wakes whoever waits for it.
    fn wait(&self, timeout: Option<Duration>) {
        // Other threads may interrupt the wait only while it is announced. If one has come before, there is none.
        let asleep = if timeout == Some(Duration::ZERO) { None } else { self.executor.fall_asleep() };
        let timeout = if asleep.is_some() { timeout } else { Some(Duration::ZERO) };
        let result = self.reactor.wait(timeout);
        drop(asleep);
        if let Err(error) = result {
            if !self.pace.has_failed.replace(true) {
                self.report(Kind::Loop, Cause::Io(error));
            }
            std::thread::park_timeout(timeout.map_or(REST, |timeout| timeout.min(REST)));
        } else {
            self.pace.has_failed.set(false);
        }
    }

    /// The same under a virtual clock: instead of waiting for a deadline, it jumps there, if that can be the next thing to
    /// happen.
    fn wait_virtually(&self, clock: &VirtualClock) {
        self.wait(Some(Duration::ZERO));
        if self.has_something_to_do() || self.is_timer_due() {
            return;
        }
        if self.lane.pending() > 0 {
            return self.wait(None);
        }
        if self.reactor.waiting() > 0 {
            self.wait(Some(self.grace));
            if self.has_something_to_do() {
                return;
            }
        }
        let next = self.wheel.borrow_mut().next_deadline();
        match next {
            Some(deadline) => clock.jump(deadline),
            // Only another thread can bring anything now.
            None => self.wait(None),
        }
    }

    fn is_timer_due(&self) -> bool {
        let next = self.wheel.borrow_mut().next_deadline();
        next.is_some_and(|deadline| deadline <= self.clock.now())
    }

    /// Queues what is due, by deadline, then by insertion.
    fn queue_due_timers(&self) {
        if self.wheel.borrow().is_empty() {
            return;
        }
        // Taken out first, and queued second: a waker may be anybody's code, and may insert timers.
        let mut due = self.pace.due.take();
        due.extend(self.wheel.borrow_mut().expire(self.clock.now()));
        for timer in due.drain(..) {
            match timer {
                Due::Wake(waker) => {
                    if let Err(payload) = catch(|| waker.wake()) {
                        self.report(Kind::Waker, Cause::Panic(payload));
                    }
                }
                // Refused only by a loop that is closed, which has no turns.
                Due::Call(call) => _ = self.executor.spawner().schedule(call),
            }
        }
        self.pace.due.replace(due);
    }

    /// Times the step that ends here, and reports it if it was slow. It is still the running one, and so has a name. Returns
    /// whether the coarse clock has moved.
    #[inline]
    pub(crate) fn after_step(&self) -> bool {
        self.pace.steps.set(self.pace.steps.get() + 1);
        let now = self.clock.coarse();
        let took = now.saturating_sub(self.pace.coarse.replace(now));
        if took >= self.slow_step && took > 0 {
            self.report_slow_step(Duration::from_nanos(took));
        }
        took > 0
    }

    #[cold]
    fn report_slow_step(&self, took: Duration) {
        let origin = Origin::running().unwrap_or(Origin::new(Kind::Loop));
        self.executor.spawner().report(Report::new(origin, Cause::SlowStep(took)));
    }
}

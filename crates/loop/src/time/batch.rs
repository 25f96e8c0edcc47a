//! Batches of timers: if timers are due faster than the thread can wake up for each, one wake-up
//! handles those that are close together.
//!
//! This is a leaky bucket. Each timer that was due adds a cost, which time pays off. A timer that
//! comes alone finds the bucket empty and is never delayed. In a burst the debt grows up to a
//! limit, and the next wait lasts until enough of it is paid.

use std::cell::Cell;

/// The cost of a timer in nanoseconds: about what the thread needs to wake up for it.
const COST: u64 = 32_000;

/// The same while many timers are set. More than a wake-up takes, so that a thousand timers of one
/// millisecond share wake-ups, and the thread does not spend its time with waking up.
const COST_IN_A_CROWD: u64 = 100_000;

/// The number of set timers that is a crowd. A program with fewer has its timers exactly.
const CROWD: usize = 64;

/// The debt up to which no wait is delayed.
const CREDIT: u64 = 16 * COST;

/// The longest delay of a wait, in nanoseconds.
const MAX_DELAY: u64 = 500_000;

/// The debt, as the time at which all of it is paid.
#[derive(Default)]
pub(crate) struct TimerBatch {
    paid_at: Cell<u64>,
}

impl TimerBatch {
    /// Adds the cost of `timers` timers that were due at the time `now`, while `set` others are
    /// set.
    pub(crate) fn add(&self, timers: usize, now: u64, set: usize) {
        let cost = if set < CROWD { COST } else { COST_IN_A_CROWD };
        // Debt that is paid by now does not count. Nor does debt beyond what the next wait may pay
        // off: a burst must not delay timers that come long after it.
        let paid_at = self.paid_at.get().max(now).saturating_add(timers as u64 * cost);
        self.paid_at.set(paid_at.min(now.saturating_add(CREDIT + MAX_DELAY)));
    }

    /// Returns when to wake up for the next deadline: at the deadline, or later if timers come in a
    /// burst.
    pub(crate) fn delay(&self, deadline: u64) -> u64 {
        deadline.max(self.paid_at.get().saturating_sub(CREDIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000;

    #[test]
    fn a_timer_that_comes_alone_is_never_delayed() {
        let batch = TimerBatch::default();
        for n in 0..10_000 {
            let deadline = START + n * COST;
            assert_eq!(batch.delay(deadline), deadline);
            batch.add(1, deadline, 1);
        }
    }

    #[test]
    fn a_few_timers_at_once_are_not_delayed_and_a_burst_is_up_to_a_limit() {
        let batch = TimerBatch::default();
        for n in 0..16 {
            batch.add(1, START + n, 1);
            assert_eq!(batch.delay(START), START);
        }
        batch.add(1, START, 1);
        assert_eq!(batch.delay(START), START + COST);
        batch.add(100_000, START, 1);
        assert_eq!(batch.delay(START), START + MAX_DELAY);
        let later = START + MAX_DELAY;
        assert_eq!(batch.delay(later), later, "after the delay the debt is paid");
    }
    /// Fires `count` timers over `time`, each of which wakes the thread at the end of a wait.
    /// Returns the number of wake-ups and the greatest lateness.
    fn fire(count: u64, time: u64) -> (u64, u64) {
        let batch = TimerBatch::default();
        let deadline = |n| START + time / count * n;
        let (mut wakes, mut late, mut fired) = (0, 0, 0);
        while fired < count {
            let now = batch.delay(deadline(fired));
            late = late.max(now - deadline(fired));
            let due = (fired..count).take_while(|n| deadline(*n) <= now).count() as u64;
            fired += due;
            wakes += 1;
            batch.add(due as usize, now, (count - fired) as usize);
        }
        (wakes, late)
    }

    #[test]
    fn near_timers_of_a_crowd_share_wake_ups_and_are_late_by_no_more_than_the_limit() {
        let over_50_ms = 50_000_000;
        let few = fire(CROWD as u64, over_50_ms);
        assert_eq!(few, (CROWD as u64, 0), "few timers are exact");
        let (wakes, late) = fire(1_000, over_50_ms);
        assert!(wakes <= 300, "{wakes} wake-ups for a thousand timers");
        assert!(late <= MAX_DELAY, "late by {late} ns");
        let (wakes, late) = fire(100_000, over_50_ms);
        assert!(wakes <= 300, "{wakes} wake-ups for a hundred thousand timers");
        assert!(late <= MAX_DELAY, "late by {late} ns");
    }

    #[test]
    fn a_single_timer_is_exact_beside_many_that_are_far() {
        let batch = TimerBatch::default();
        for n in 0..10_000 {
            let deadline = START + n * COST_IN_A_CROWD;
            assert_eq!(batch.delay(deadline), deadline);
            batch.add(1, deadline, 1_000_000);
        }
    }
}

//! Crowds of timers: when they come faster than the thread can wake up for each, those that are close together are taken
//! together.
//!
//! Each timer that was due is paid for with some time. Who comes alone has always paid by then, and is never kept waiting;
//! in a crowd the debt grows up to a limit, and the next wait lasts until enough of it is paid. It is a leaky bucket.

use std::cell::Cell;

/// What a timer costs, in nanoseconds: about as long as a thread takes to wake up for it.
const PRICE: u64 = 32_000;

/// So much may be owed before anybody waits.
const CREDIT: u64 = 16 * PRICE;

/// A wait is put off by no more than this, in nanoseconds.
const LATE_MAX: u64 = 500_000;

/// The debt, as the time when all of it is paid.
#[derive(Default)]
pub(crate) struct Crowd {
    paid_at: Cell<u64>,
}

impl Crowd {
    /// So many timers were due at the time `now`.
    pub(crate) fn add(&self, timers: usize, now: u64) {
        let paid_at = self.paid_at.get().max(now).saturating_add(timers as u64 * PRICE);
        self.paid_at.set(paid_at.min(now.saturating_add(CREDIT + LATE_MAX)));
    }

    /// When to wake up for the deadline that is next.
    pub(crate) fn put_off(&self, deadline: u64) -> u64 {
        deadline.max(self.paid_at.get().saturating_sub(CREDIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000;

    #[test]
    fn who_comes_alone_is_never_put_off() {
        let crowd = Crowd::default();
        for n in 0..10_000 {
            let deadline = START + n * PRICE;
            assert_eq!(crowd.put_off(deadline), deadline);
            crowd.add(1, deadline);
        }
    }

    #[test]
    fn a_few_at_once_are_not_put_off_and_a_crowd_is_to_a_limit() {
        let crowd = Crowd::default();
        for n in 0..16 {
            crowd.add(1, START + n);
            assert_eq!(crowd.put_off(START), START);
        }
        crowd.add(1, START);
        assert_eq!(crowd.put_off(START), START + PRICE);
        crowd.add(100_000, START);
        assert_eq!(crowd.put_off(START), START + LATE_MAX);
        let later = START + LATE_MAX;
        assert_eq!(crowd.put_off(later), later, "and after that not any more");
    }
}

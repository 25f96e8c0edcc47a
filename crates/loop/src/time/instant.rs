//! Points in the time of a loop's clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use picot_timers::saturating_nanos;

/// A time of a loop's clock.
///
/// It is a type of its own, because std's `Instant` does not stand still under a virtual clock.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{Instant, sleep_until};
///
/// # picot_loop::run(async {
/// let start = Instant::now();
/// sleep_until(start + Duration::from_millis(1)).await;
/// assert!(start.elapsed() >= Duration::from_millis(1));
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    pub(crate) const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }
}

/// Adds a duration. Saturates 584 years after the clock began.
impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(saturating_nanos(duration)))
    }
}

/// Subtracts a duration. Saturates at the time when the clock began.
impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(saturating_nanos(duration)))
    }
}

/// The time since `other`; zero if `other` is later.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, other: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(other.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.0))
    }
}

//! Points in the time of a loop's clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use picot_timers::saturating_nanos;

/// A time of a loop's clock. It is not std's: under a virtual clock, that one would not stand still.
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

/// Later by a duration. The end of time is 584 years after the clock began; nothing is later than that.
impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(saturating_nanos(duration)))
    }
}

/// Earlier by a duration, but not before the clock began.
impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(saturating_nanos(duration)))
    }
}

/// The time between two instants; zero if the other is later.
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

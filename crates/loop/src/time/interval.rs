//! Ticks at a fixed period, with a choice for missed ticks.
//!
//! An interval is one sleep that is reset at each tick. Its ticks lie on a grid that only a late
//! tick may move, so nothing drifts. If a wait is dropped, the next wait takes its tick.

use std::task::{Context, Poll};
use std::time::Duration;

use picot_timers::saturating_nanos;

use crate::time::instant::Instant;
use crate::time::sleep::{Sleep, sleep_until};

/// A tick that is late by at most this does not move the grid of [`MissedTick::Delay`]: every loop
/// wakes up a little late. The value is tokio's.
const LATE: Duration = Duration::from_millis(5);

/// Makes an interval that ticks at once, and then every `period`.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{MissedTick, interval};
///
/// # picot_loop::run(async {
/// let mut heartbeat = interval(Duration::from_millis(2)).missed_tick(MissedTick::Skip);
/// for _ in 0..3 {
///     heartbeat.tick().await;
/// }
/// # });
/// ```
///
/// # Panics
/// If `period` is zero, or this thread has no loop.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Makes an interval that ticks at `start`, and then every `period`.
///
/// # Panics
/// As [`interval`].
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{Instant, interval_at};
///
/// # picot_loop::run(async {
/// let start = Instant::now() + Duration::from_millis(1);
/// assert_eq!(interval_at(start, Duration::from_secs(1)).tick().await, start);
/// # });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "an interval needs a period above zero; to let other tasks run in between, use `yield_now`"
    );
    Interval { sleep: sleep_until(start), period, missed: MissedTick::Burst }
}

/// What an interval does about ticks that it missed while its task was busy.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{MissedTick, interval};
///
/// # picot_loop::run(async {
/// let mut screen = interval(Duration::from_millis(16)).missed_tick(MissedTick::Skip);
/// screen.tick().await;
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTick {
    /// Missed ticks come at once, one after the other, until the interval has caught up. For work
    /// whose number of runs matters.
    #[default]
    Burst,
    /// Missed ticks are left out. The next tick is the next one on the grid. For work that has to
    /// happen at certain times.
    Skip,
    /// Missed ticks are left out, and the grid moves: the next tick is a period after the late one.
    /// A tick counts as late from 5 ms on. For work that needs a pause in between.
    Delay,
}

/// A series of ticks; made by [`interval`] and [`interval_at`]. Dropping it cancels its timer.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::interval;
///
/// # picot_loop::run(async {
/// let mut poll = interval(Duration::from_millis(1));
/// let first = poll.tick().await;
/// assert_eq!(poll.tick().await, first + Duration::from_millis(1));
/// # });
/// ```
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTick,
}

impl Interval {
    /// Sets what happens to missed ticks. The default is [`MissedTick::Burst`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{MissedTick, interval};
    ///
    /// # picot_loop::run(async {
    /// let pause = interval(Duration::from_millis(1)).missed_tick(MissedTick::Delay);
    /// # });
    /// ```
    #[must_use]
    pub fn missed_tick(self, missed: MissedTick) -> Interval {
        Interval { missed, ..self }
    }

    /// The time between two ticks.
    ///
    /// ```
    /// # picot_loop::run(async {
    /// let second = std::time::Duration::from_secs(1);
    /// assert_eq!(picot_loop::interval(second).period(), second);
    /// # });
    /// ```
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick, and returns the time that it was set for.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// # If dropped
    /// No tick is lost: the next wait takes it.
    ///
    /// ```
    /// # picot_loop::run(async {
    /// let mut ticks = picot_loop::interval(std::time::Duration::from_millis(1));
    /// for _ in 0..3 {
    ///     ticks.tick().await;
    /// }
    /// # });
    /// ```
    pub async fn tick(&mut self) -> Instant {
        std::future::poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Interval::tick), for hand-written futures. The last task to poll is woken.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// # picot_loop::run(async {
    /// let mut ticks = picot_loop::interval(std::time::Duration::from_millis(1));
    /// std::future::poll_fn(|cx| ticks.poll_tick(cx)).await;
    /// # });
    /// ```
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        match std::pin::Pin::new(&mut self.sleep).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                // Reset here, not at the next poll: a dropped wait then loses no tick.
                let tick = self.sleep.deadline();
                self.sleep.reset(self.after(tick, self.sleep.now()));
                Poll::Ready(tick)
            }
        }
    }

    /// Restarts the grid: the next tick is a period from now.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{Instant, interval};
    ///
    /// # picot_loop::run(async {
    /// let mut ticks = interval(Duration::from_millis(1));
    /// let now = Instant::now();
    /// ticks.reset(); // no tick at once
    /// assert!(ticks.tick().await >= now + Duration::from_millis(1));
    /// # });
    /// ```
    pub fn reset(&mut self) {
        self.sleep.reset(self.sleep.now() + self.period);
    }

    /// Restarts the grid: the next tick is `delay` from now. A delay of zero ticks at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{Instant, interval};
    ///
    /// # picot_loop::run(async {
    /// let mut ticks = interval(Duration::from_secs(60));
    /// let now = ticks.tick().await;
    /// ticks.reset_after(Duration::from_millis(1));
    /// assert!(ticks.tick().await < now + Duration::from_secs(60));
    /// # });
    /// ```
    #[doc(alias = "reset_immediately")]
    pub fn reset_after(&mut self, delay: Duration) {
        self.sleep.reset(self.sleep.now() + delay);
    }

    /// Restarts the grid: the next tick is at `start`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::interval;
    ///
    /// # picot_loop::run(async {
    /// let mut ticks = interval(Duration::from_secs(60));
    /// let start = ticks.tick().await + Duration::from_millis(1);
    /// ticks.reset_at(start);
    /// assert_eq!(ticks.tick().await, start);
    /// # });
    /// ```
    pub fn reset_at(&mut self, start: Instant) {
        self.sleep.reset(start);
    }

    /// The tick after `tick`, which is taken `now`.
    fn after(&self, tick: Instant, now: Instant) -> Instant {
        match self.missed {
            MissedTick::Burst => tick + self.period,
            MissedTick::Delay if now - tick <= LATE => tick + self.period,
            MissedTick::Delay => now + self.period,
            MissedTick::Skip => {
                // The next multiple of the period after `now`, counted from `tick`.
                let into_period = (now - tick).as_nanos() as u64 % saturating_nanos(self.period);
                now + (self.period - Duration::from_nanos(into_period))
            }
        }
    }
}

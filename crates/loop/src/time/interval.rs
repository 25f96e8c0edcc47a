//! Ticks at a fixed period, with a choice for the ticks that were missed.
//!
//! An interval is one sleep that is reset at each tick. Its ticks lie on a grid that only a late tick may move, so nothing
//! drifts; and what a dropped wait has not taken is there for the next.

use std::task::{Context, Poll};
use std::time::Duration;

use picot_timers::saturating_nanos;

use crate::time::instant::Instant;
use crate::time::sleep::{Sleep, sleep_until};

/// So late every loop may be; it does not make [`MissedTick::Delay`] move the grid.
const LATE: Duration = Duration::from_millis(5);

/// Ticks every `period`: the first time at once, and then on a grid that starts now.
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

/// Ticks every `period`, for the first time at `start`.
///
/// # Panics
/// As [`interval`].
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period above zero; `yield_now` lets the others run in between");
    Interval { sleep: sleep_until(start), period, missed: MissedTick::Burst }
}

/// What becomes of the ticks that were missed, because the task did something else for longer than a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTick {
    /// They come at once, one after the other, until the grid is caught up with: for what has to happen so many times.
    #[default]
    Burst,
    /// They are left out; the next tick is the next on the grid: for what has to happen at certain times.
    Skip,
    /// They are left out, and the grid moves: the next tick is a period after the late one. Up to 5 ms do not count as
    /// late. For what needs a pause in between.
    Delay,
}

/// Ticks; made by [`interval`] and [`interval_at`]. Dropping it cancels its timer.
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTick,
}

impl Interval {
    /// Chooses what becomes of ticks that are missed; [`MissedTick::Burst`] unless set.
    #[must_use]
    pub fn missed_tick(self, missed: MissedTick) -> Interval {
        Interval { missed, ..self }
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick, and says for when it was set.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// # If dropped
    /// No tick is lost: the next wait takes it.
    pub async fn tick(&mut self) -> Instant {
        std::future::poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// The same for hand-written futures. The last task to poll is the one to be woken.
    ///
    /// # Panics
    /// If the loop is closed.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        match std::pin::Pin::new(&mut self.sleep).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let tick = self.sleep.deadline();
                self.sleep.reset(self.after(tick, self.sleep.now()));
                Poll::Ready(tick)
            }
        }
    }

    /// Starts the grid anew: the next tick is a period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(self.sleep.now() + self.period);
    }

    /// The tick that follows one which is taken `now`.
    fn after(&self, tick: Instant, now: Instant) -> Instant {
        match self.missed {
            MissedTick::Burst => tick + self.period,
            MissedTick::Delay if now - tick <= LATE => tick + self.period,
            MissedTick::Delay => now + self.period,
            MissedTick::Skip => {
                let into_period = (now - tick).as_nanos() as u64 % saturating_nanos(self.period);
                now + (self.period - Duration::from_nanos(into_period))
            }
        }
    }
}

//! hyper's timer: sleeps of this thread's loop.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant as StdInstant};

use hyper::rt::{Sleep, Timer};
use picot_loop::{Instant, Local, sleep, sleep_until};

/// The longest time limit for hyper, a hundred years. hyper adds a limit to an instant of std,
/// which panics if the sum overflows.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The loop's timers for hyper, which measures time-outs with them.
///
/// It follows the loop's clock, a virtual one too. hyper requires its sleeps to be `Send` and
/// `Sync`: they may be moved to another thread, but a poll there panics.
///
/// ```
/// use hyper::server::conn::http1;
/// use picot_hyper::LoopTimer;
///
/// picot_loop::run(async {
///     http1::Builder::new().timer(LoopTimer::new());
/// });
/// ```
#[derive(Clone, Debug)]
pub struct LoopTimer {
    /// The same moment on both clocks: hyper's times are those of std.
    std: StdInstant,
    own: Instant,
}

impl LoopTimer {
    /// Makes a timer of this thread's loop.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// use hyper::rt::Timer;
    ///
    /// picot_loop::run(async {
    ///     let timer = picot_hyper::LoopTimer::new();
    ///     timer.sleep(std::time::Duration::from_millis(1)).await;
    /// });
    /// ```
    #[track_caller]
    pub fn new() -> LoopTimer {
        let own = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "an origin for hyper's instants, which only this crate makes")]
        let std = StdInstant::now();
        LoopTimer { std, own }
    }

    fn own(&self, deadline: StdInstant) -> Instant {
        match deadline.checked_duration_since(self.std) {
            Some(later) => self.own + later,
            None => self.own - (self.std - deadline),
        }
    }
}

impl Default for LoopTimer {
    #[track_caller]
    fn default() -> LoopTimer {
        LoopTimer::new()
    }
}

impl Timer for LoopTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(LoopSleep(Local::new(sleep(duration))))
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn Sleep>> {
        Box::pin(LoopSleep(Local::new(sleep_until(self.own(deadline)))))
    }

    fn now(&self) -> StdInstant {
        self.std + (Instant::now() - self.own)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: StdInstant) {
        match sleep.as_mut().downcast_mut_pin::<LoopSleep>() {
            Some(mut own) => own.0.reset(self.own(new_deadline)),
            // A sleep of another timer.
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

/// A sleep of the loop for hyper. A poll or a reset on another thread panics.
struct LoopSleep(Local<picot_loop::Sleep>);

impl Sleep for LoopSleep {}

impl Future for LoopSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for LoopSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

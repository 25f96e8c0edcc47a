//! An alarm by a timerfd in tokio's driver. tokio's own timers round up to milliseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::task::Context;
use std::time::Duration;

use picot_loop::{Instant, LoopHandle};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::readable::Readable;

/// By how much the alarm may ring late, so that it is not set again for the same timer: the time of
/// the deadline is computed at each wait, from two readings of the clock.
const TOLERANCE: Duration = Duration::from_micros(1);

pub(crate) struct Alarm {
    /// Made for the first timer.
    timer: Option<Readable<OwnedFd>>,
    /// For when it is set, until it rings.
    set_for: Option<Instant>,
    handle: LoopHandle,
}

impl Alarm {
    pub(crate) fn new(handle: LoopHandle) -> io::Result<Alarm> {
        Ok(Alarm { timer: None, set_for: None, handle })
    }

    pub(crate) fn clear(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(timer) = &self.timer {
            if timer.clear(cx)? {
                self.set_for = None;
            }
        }
        Ok(())
    }

    /// Sets the alarm, unless it rings earlier anyway. So a deadline that is moved to later times
    /// again and again costs no system call each time, but at most one early ring.
    pub(crate) fn set(&mut self, timeout: Duration, cx: &mut Context<'_>) -> io::Result<()> {
        let deadline = self.handle.now() + timeout;
        if self.set_for.is_some_and(|set_for| set_for <= deadline + TOLERANCE) {
            return Ok(());
        }
        let once = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let time = Itimerspec { it_interval: Timespec::default(), it_value: once };
        let timer = match &self.timer {
            Some(timer) => timer,
            None => {
                let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
                let timer = self.timer.insert(Readable::new(timer)?);
                // Has its first ring wake the caller.
                timer.clear(cx)?;
                timer
            }
        };
        timerfd_settime(timer.get(), TimerfdTimerFlags::empty(), &time)?;
        self.set_for = Some(deadline);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use picot_loop::{EventLoop, VirtualClock};
    use rustix::time::timerfd_gettime;

    use super::*;

    #[test]
    fn it_is_set_again_only_if_it_would_ring_late() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let clock = VirtualClock::new();
        let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
        let mut alarm = Alarm::new(event_loop.handle()).unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut seconds_left = |timeout| {
            alarm.set(Duration::from_secs(timeout), cx).unwrap();
            timerfd_gettime(alarm.timer.as_ref().unwrap().get()).unwrap().it_value.tv_sec + 1
        };
        assert_eq!(seconds_left(100), 100);
        assert_eq!(seconds_left(200), 100, "it rings earlier anyway");
        assert_eq!(seconds_left(50), 50);
        // The loop's clock has moved, and the deadline has stayed.
        clock.advance(Duration::from_secs(10));
        assert_eq!(seconds_left(40), 50, "it is set for this time already");
        assert_eq!(seconds_left(39), 39);
    }
}

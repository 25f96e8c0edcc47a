//! Shared by the tests: a trace of events, clocks, and loops.

use std::time::Duration;

use picot_loop::{Clock, EventLoop, VirtualClock};
pub(crate) use picot_testkit::{Trace, quiet_panic};

/// A loop under a virtual clock, with a trace and the clock.
pub(crate) fn virtual_loop() -> (EventLoop, Trace, VirtualClock) {
    let clock = VirtualClock::new();
    let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
    (event_loop, Trace::default(), clock)
}

/// A clock that the test moves, but that is not virtual to the loop: a step that moves it has taken
/// that time.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassingClock(VirtualClock);

impl PassingClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

impl Clock for PassingClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A loop under a `PassingClock`, and the clock.
pub(crate) fn passing_loop(slow_step: Duration) -> (EventLoop, PassingClock) {
    let clock = PassingClock::default();
    (EventLoop::builder().clock(&clock).slow_step_limit(slow_step).build().unwrap(), clock)
}

/// Collects the texts of reports.
pub(crate) fn reports(event_loop: &EventLoop) -> Trace {
    let trace = Trace::default();
    let hook = trace.clone();
    event_loop.handle().set_error_hook(move |report| hook.add(report));
    trace
}

/// Makes exactly one turn.
pub(crate) fn one_turn(event_loop: &EventLoop) {
    event_loop.stop();
    event_loop.run_forever().unwrap();
}

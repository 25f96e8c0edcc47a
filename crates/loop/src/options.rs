//! The options of a loop, with their defaults.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use picot_reactor::Reactor;

use crate::diagnose::watchdog::WatchdogOptions;
use crate::time::clock::{Clock, Timepiece};

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) clock: Option<Rc<dyn Clock>>,
    pub(crate) reactor: Option<Reactor>,
    pub(crate) slow_step_limit: Duration,
    pub(crate) io_grace: Duration,
    pub(crate) error_on_deadlock: bool,
    pub(crate) deadlock_delay: Duration,
    /// `None` is the default, which depends on the number of processors.
    pub(crate) blocking_threads: Option<usize>,
    pub(crate) lookup_threads: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) record_wake_latency: bool,
    pub(crate) record_steps: bool,
    pub(crate) watchdog: Option<WatchdogOptions>,
}

impl Options {
    pub(crate) fn new() -> Options {
        Options {
            clock: None,
            reactor: None,
            slow_step_limit: Duration::from_millis(100),
            io_grace: Duration::from_millis(10),
            error_on_deadlock: false,
            deadlock_delay: Duration::from_secs(1),
            blocking_threads: None,
            // As many as libuv has for all of its work.
            lookup_threads: 4,
            seed: None,
            record_wake_latency: false,
            record_steps: false,
            watchdog: None,
        }
    }

    /// The reactor with the chosen driver, or with the platform's.
    pub(crate) fn reactor(&self) -> io::Result<Reactor> {
        self.reactor.clone().map_or_else(Reactor::new, Ok)
    }

    pub(crate) fn timepiece(&self) -> Timepiece {
        self.clock.clone().map_or_else(Timepiece::monotonic, Timepiece::Chosen)
    }
}

//! The options of a loop, with their defaults.

use std::io;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use picot_reactor::Reactor;

use crate::diagnose::watchdog::WatchdogOptions;
use crate::time::clock::{Clock, Timepiece};

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) clock: Option<Rc<dyn Clock>>,
    pub(crate) reactor: Option<Reactor>,
    pub(crate) slow_step: Duration,
    pub(crate) grace: Duration,
    pub(crate) error_on_deadlock: bool,
    pub(crate) patience: Duration,
    pub(crate) blocking_threads: usize,
    pub(crate) lookup_threads: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) record_wake_latency: bool,
    pub(crate) watchdog: Option<WatchdogOptions>,
}

impl Options {
    pub(crate) fn new() -> Options {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Options {
            clock: None,
            reactor: None,
            slow_step: Duration::from_millis(100),
            grace: Duration::from_millis(10),
            error_on_deadlock: false,
            patience: Duration::from_secs(1),
            // As Python's ThreadPoolExecutor: a few more than there are cores, because most jobs wait.
            blocking_threads: (cores + 4).min(32),
            // As many as libuv has for all of its work.
            lookup_threads: 4,
            seed: None,
            record_wake_latency: false,
            watchdog: None,
        }
    }

    /// The reactor on the driver that was chosen, or on the platform's.
    pub(crate) fn reactor(&self) -> io::Result<Reactor> {
        self.reactor.clone().map_or_else(Reactor::new, Ok)
    }

    pub(crate) fn timepiece(&self) -> Timepiece {
        self.clock.clone().map_or_else(Timepiece::monotonic, Timepiece::Chosen)
    }
}

//! The parts of a loop.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use picot_context::{Cause, Kind, Origin, Place, Report, catch};
use picot_executor::Executor;
use picot_reactor::Reactor;
use picot_timers::saturating_nanos;

use crate::diagnose::counters::Metrics;
use crate::diagnose::observers::Observers;
use crate::diagnose::slow_steps::SlowSteps;
use crate::diagnose::watchdog::Watchdog;
use crate::error::LoopError;
use crate::hooks::Hooks;
use crate::lanes::Lanes;
use crate::options::Options;
use crate::status::Status;
use crate::time::batch::TimerBatch;
use crate::time::clock::{Anchor, Timepiece};
use crate::time::timers::{Due, Timers};
use crate::watches::Watches;

// Fields are dropped in this order. Nothing depends on it: `close` has emptied each part before.
pub(crate) struct Inner {
    pub(crate) executor: Executor,
    pub(crate) reactor: Reactor,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) lanes: Lanes,
    pub(crate) clock: Timepiece,
    /// Relates the clock to std's; read when a time is converted first.
    pub(crate) anchor: OnceCell<Anchor>,
    pub(crate) io_grace: Duration,
    pub(crate) deadlock_delay: Duration,
    pub(crate) error_on_deadlock: bool,
    pub(crate) slow_step_limit: u64,
    /// What the turn measures.
    pub(crate) stats: TurnStats,
    pub(crate) hooks: Hooks,
    pub(crate) observers: Observers,
    pub(crate) slow_steps: SlowSteps,
    pub(crate) watches: Watches,
    pub(crate) metrics: Metrics,
    pub(crate) record_wake_latency: bool,
    /// Set if the builder asked for a watchdog. Dropping it ends its thread.
    pub(crate) watchdog: RefCell<Option<Rc<Watchdog>>>,
    pub(crate) is_stopping: Cell<bool>,
    pub(crate) is_running: Cell<bool>,
    pub(crate) status: Status,
    /// Whether closing is over: no hook can be called any more.
    pub(crate) is_close_over: Cell<bool>,
    pub(crate) built_at: Place,
}

/// What the turn measures: the last event poll, and the steps since then.
#[derive(Default)]
pub(crate) struct TurnStats {
    /// Steps since the last event poll.
    pub(crate) steps: Cell<u32>,
    /// The number of steps after which the next event poll is due.
    pub(crate) steps_between_polls: Cell<u32>,
    /// When these steps began, by the loop's clock.
    pub(crate) steps_began_at: Cell<u64>,
    /// When the last event poll ended, by the coarse clock.
    pub(crate) polled_at: Cell<u64>,
    /// When the current step began, by the coarse clock: at the end of the step before.
    pub(crate) step_began_at: Cell<u64>,
    /// The thread's processor time when it was last sampled; see `sample_cpu_time`.
    pub(crate) cpu_time: Cell<u64>,
    /// When that was, by the coarse clock.
    pub(crate) cpu_read_at: Cell<u64>,
    /// Whether the last wait failed. A series of failures is reported once.
    pub(crate) wait_has_failed: Cell<bool>,
    /// Whether the last wait has collected events of sources.
    pub(crate) has_collected_events: Cell<bool>,
    /// Whether a dead end was reported in this run. It is reported once per run.
    pub(crate) has_reported_dead_end: Cell<bool>,
    /// Whether this run has to end with the error [`DeadEnd`](crate::RunError::DeadEnd).
    pub(crate) is_at_dead_end: Cell<bool>,
    /// Whether the process had other threads when this run last counted them.
    pub(crate) had_other_threads: Cell<bool>,
    /// Whether the run is for a future, so that it can end with an error.
    pub(crate) has_root: Cell<bool>,
    /// The number of waits that blocked, modulo 256.
    pub(crate) sleeps: Cell<u8>,
    /// Delays waits while timers come in bursts.
    pub(crate) batch: TimerBatch,
    /// The timers that are due in this turn. Kept between turns, to reuse its memory.
    pub(crate) due: RefCell<Vec<Due>>,
}

impl Inner {
    pub(crate) fn new(options: &Options, built_at: Place) -> Result<Inner, LoopError> {
        let reactor = options.reactor()?;
        // Wakes the reactor from other threads: for the executor's inbox and for blocking jobs.
        let interrupt = Waker::from(reactor.wake_handle());
        Ok(Inner {
            lanes: Lanes::new(options.blocking_threads, options.lookup_threads, &interrupt),
            executor: Executor::with_interrupt(interrupt),
            reactor,
            timers: RefCell::default(),
            clock: options.timepiece(),
            anchor: OnceCell::new(),
            io_grace: options.io_grace,
            deadlock_delay: options.deadlock_delay,
            error_on_deadlock: options.error_on_deadlock,
            slow_step_limit: saturating_nanos(options.slow_step_limit),
            stats: TurnStats::default(),
            hooks: Hooks::default(),
            observers: Observers::default(),
            slow_steps: SlowSteps::default(),
            watches: Watches::default(),
            metrics: Metrics::default(),
            record_wake_latency: options.record_wake_latency,
            watchdog: RefCell::default(),
            is_stopping: Cell::new(false),
            is_running: Cell::new(false),
            status: Status::default(),
            is_close_over: Cell::new(false),
            built_at,
        })
    }

    /// Runs user code, and reports its panic instead of unwinding. No borrow may be live.
    pub(crate) fn contain(&self, kind: Kind, place: Option<Place>, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            let mut origin = Origin::new(kind);
            origin.place = place;
            self.executor.spawner().report(Report::panic(origin, payload));
        }
    }

    /// Reports an error of the loop itself.
    pub(crate) fn report(&self, kind: Kind, cause: Cause) {
        self.executor.spawner().report(Report::new(Origin::new(kind), cause));
    }
}

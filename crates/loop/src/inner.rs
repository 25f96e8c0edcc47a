//! What a loop is made of.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use picot_context::{Cause, Kind, Origin, Place, Report, catch};
use picot_executor::Executor;
use picot_reactor::Reactor;
use picot_timers::saturating_nanos;

use crate::diagnose::counters::Metrics;
use crate::diagnose::watchdog::Watchdog;
use crate::error::LoopError;
use crate::hooks::Hooks;
use crate::lanes::Lanes;
use crate::options::Options;
use crate::status::Status;
use crate::time::batch::TimerBatch;
use crate::time::clock::Timepiece;
use crate::time::timers::{Due, Timers};
use crate::watches::Watches;

pub(crate) struct Inner {
    pub(crate) executor: Executor,
    pub(crate) reactor: Reactor,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) lanes: Lanes,
    pub(crate) clock: Timepiece,
    pub(crate) grace: Duration,
    pub(crate) patience: Duration,
    pub(crate) error_on_deadlock: bool,
    pub(crate) slow_step: u64,
    /// What the turn measures; see `turn.rs`.
    pub(crate) stats: TurnStats,
    pub(crate) hooks: Hooks,
    pub(crate) watches: Watches,
    pub(crate) metrics: Metrics,
    pub(crate) record_wake_latency: bool,
    /// Set if the builder asked for it. Dropping it ends its thread.
    pub(crate) watchdog: RefCell<Option<Rc<Watchdog>>>,
    pub(crate) is_stopping: Cell<bool>,
    pub(crate) is_running: Cell<bool>,
    pub(crate) status: Status,
    /// Whether closing is over. From then on no hook can be called.
    pub(crate) has_ended: Cell<bool>,
    pub(crate) built_at: Place,
}

/// What the turn measures: when the loop last looked outside, and what has run since.
#[derive(Default)]
pub(crate) struct TurnStats {
    /// Steps since the last look.
    pub(crate) steps: Cell<u32>,
    /// How many there may be before the next.
    pub(crate) steps_between_looks: Cell<u32>,
    /// When they began, by the loop's clock.
    pub(crate) began_at: Cell<u64>,
    /// The coarse time of the last look.
    pub(crate) looked_at: Cell<u64>,
    /// The coarse time at the end of the last step.
    pub(crate) coarse: Cell<u64>,
    /// How long the thread had run on a processor, and the coarse time when that was read; see `note_processor`.
    pub(crate) ran: Cell<u64>,
    pub(crate) ran_at: Cell<u64>,
    /// Whether the last wait failed. A series of failures is reported once.
    pub(crate) has_failed: Cell<bool>,
    /// Whether a dead end was reported in this run.
    pub(crate) has_reported_dead_end: Cell<bool>,
    /// Whether the run must end with the dead end that the loop is at.
    pub(crate) is_at_dead_end: Cell<bool>,
    /// Whether another thread existed when the run last counted threads.
    pub(crate) had_other_threads: Cell<bool>,
    /// Whether the run is for a future, and so can end with an error.
    pub(crate) has_root: Cell<bool>,
    /// How often the thread has slept, modulo 256.
    pub(crate) sleeps: Cell<u8>,
    /// Delays waits while timers come in bursts.
    pub(crate) batch: TimerBatch,
    /// The timers that are due in this turn: a buffer, kept for its memory.
    pub(crate) due: RefCell<Vec<Due>>,
}

impl Inner {
    pub(crate) fn new(options: &Options, built_at: Place) -> Result<Inner, LoopError> {
        let reactor = options.reactor()?;
        let interrupt = Waker::from(reactor.wake_handle());
        Ok(Inner {
            lanes: Lanes::new(options.blocking_threads, options.lookup_threads, &interrupt),
            executor: Executor::with_interrupt(interrupt),
            reactor,
            timers: RefCell::default(),
            clock: options.timepiece(),
            grace: options.grace,
            patience: options.patience,
            error_on_deadlock: options.error_on_deadlock,
            slow_step: saturating_nanos(options.slow_step),
            stats: TurnStats::default(),
            hooks: Hooks::default(),
            watches: Watches::default(),
            metrics: Metrics::default(),
            record_wake_latency: options.record_wake_latency,
            watchdog: RefCell::default(),
            is_stopping: Cell::new(false),
            is_running: Cell::new(false),
            status: Status::default(),
            has_ended: Cell::new(false),
            built_at,
        })
    }

    /// Runs foreign code, contains its panic and reports it.
    pub(crate) fn contain(&self, kind: Kind, place: Option<Place>, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            let mut origin = Origin::new(kind);
            origin.place = place;
            self.executor.spawner().report(Report::panic(origin, payload));
        }
    }

    /// Reports what went wrong in the loop itself.
    pub(crate) fn report(&self, kind: Kind, cause: Cause) {
        self.executor.spawner().report(Report::new(Origin::new(kind), cause));
    }
}

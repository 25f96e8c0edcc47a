//! What a loop is made of, and which loop is this thread's.
//!
//! The thread-local holds a handle. The loop itself is owned by its `EventLoop`, which clears the handle when it closes,
//! also while unwinding: no task is ever dropped by the end of a thread-local.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use picot_context::{Cause, Kind, Origin, Place, Report, catch};
use picot_executor::Executor;
use picot_reactor::Reactor;
use picot_timers::saturating_nanos;

use crate::blocking::Lanes;
use crate::builder::Builder;
use crate::clock::Timepiece;
use crate::crowd::Crowd;
use crate::error::LoopError;
use crate::handle::LoopHandle;
use crate::hooks::Hooks;
use crate::metrics::Metrics;
use crate::status::Status;
use crate::timer::{Due, Timers};
use crate::watch::Watches;
use crate::watchdog::Watchdog;

pub(crate) struct Inner {
    pub(crate) executor: Executor,
    pub(crate) reactor: Reactor,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) lanes: Lanes,
    pub(crate) clock: Timepiece,
    pub(crate) grace: Duration,
    pub(crate) patience: Duration,
    pub(crate) fails_at_dead_ends: bool,
    pub(crate) slow_step: u64,
    /// The turn's notes on itself; see `turn.rs`.
    pub(crate) pace: Pace,
    pub(crate) hooks: Hooks,
    pub(crate) watches: Watches,
    pub(crate) metrics: Metrics,
    pub(crate) measures_wakes: bool,
    /// There if it was asked for; ends with the loop.
    pub(crate) watchdog: RefCell<Option<Rc<Watchdog>>>,
    pub(crate) is_stopping: Cell<bool>,
    pub(crate) is_running: Cell<bool>,
    pub(crate) status: Status,
    /// Whether it has closed, so that nothing is left that could use a hook.
    pub(crate) has_ended: Cell<bool>,
    pub(crate) built_at: Place,
}

/// When the loop has last looked outside, and what has run since.
#[derive(Default)]
pub(crate) struct Pace {
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
    /// Whether the last wait has failed, which was then reported.
    pub(crate) has_failed: Cell<bool>,
    /// Whether this run has come to a dead end, which was then reported.
    pub(crate) has_told_dead_end: Cell<bool>,
    /// Whether it is at one that it should end with.
    pub(crate) is_at_dead_end: Cell<bool>,
    /// Whether there was another thread when the run last asked.
    pub(crate) has_company: Cell<bool>,
    /// Whether the run is for a future, and so can end with an error.
    pub(crate) has_root: Cell<bool>,
    /// How often the thread has slept, modulo 256.
    pub(crate) sleeps: Cell<u8>,
    /// Whether timers come in crowds.
    pub(crate) crowd: Crowd,
    /// The timers that are due in this turn: a buffer, kept for its memory.
    pub(crate) due: RefCell<Vec<Due>>,
}

thread_local! {
    static CURRENT: RefCell<Option<LoopHandle>> = const { RefCell::new(None) };
}

impl Inner {
    pub(crate) fn new(builder: &Builder, built_at: Place) -> Result<Inner, LoopError> {
        let reactor = builder.reactor()?;
        let interrupt = Waker::from(reactor.wake_handle());
        Ok(Inner {
            lanes: Lanes::new(builder.blocking_threads, builder.lookup_threads, &interrupt),
            executor: Executor::with_interrupt(interrupt),
            reactor,
            timers: RefCell::default(),
            clock: builder.timepiece(),
            grace: builder.grace,
            patience: builder.patience,
            fails_at_dead_ends: builder.fails_at_dead_ends,
            slow_step: saturating_nanos(builder.slow_step),
            pace: Pace::default(),
            hooks: Hooks::default(),
            watches: Watches::default(),
            metrics: Metrics::default(),
            measures_wakes: builder.measures_wakes,
            watchdog: RefCell::default(),
            is_stopping: Cell::new(false),
            is_running: Cell::new(false),
            status: Status::default(),
            has_ended: Cell::new(false),
            built_at,
        })
    }

    /// Runs a piece of somebody's code whose panic is a report and no more.
    pub(crate) fn contain(&self, kind: Kind, place: Option<Place>, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            let mut origin = Origin::new(kind);
            origin.place = place;
            self.executor.spawner().report(Report::panic(origin, payload));
        }
    }

    /// Something of the loop's own went wrong.
    pub(crate) fn report(&self, kind: Kind, cause: Cause) {
        self.executor.spawner().report(Report::new(Origin::new(kind), cause));
    }
}

/// This thread's loop, if it has one. None while a thread ends.
pub(crate) fn current() -> Option<LoopHandle> {
    CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(None)
}

/// Makes `handle` this thread's loop, or no loop.
pub(crate) fn set_current(handle: Option<LoopHandle>) {
    let old = CURRENT.try_with(|current| current.replace(handle));
    drop(old);
}

/// Whether `inner` is this thread's loop.
pub(crate) fn is_current(inner: &Rc<Inner>) -> bool {
    current().is_some_and(|handle| Rc::ptr_eq(&handle.inner, inner))
}

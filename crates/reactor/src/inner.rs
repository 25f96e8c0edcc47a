//! The shared part of a reactor, its handles and its sources, and how an event reaches its waiter.
//!
//! The invariant: nothing is borrowed while a waker or the driver is called.

use std::cell::Cell;
use std::io;

use picot_context::{Closed, Kind, Origin, contain};

use crate::driver::{Driver, Events};
use crate::fork::ForkDetector;
use crate::key::Key;
use crate::ready::Readiness;
use crate::source::state::WakeTarget;
use crate::table::Table;
use crate::waiter::Retired;

pub(crate) struct Inner {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) table: Table,
    /// The number of wakers that wait for readiness. Counted all the time, because a loop reads it
    /// before each sleep.
    pub(crate) waiting: Cell<usize>,
    pub(crate) retired: Retired,
    /// The buffer for the events of a wait, kept between waits. A waker may wait itself, so a wait
    /// takes it out. Boxed, so that this moves one word.
    pub(crate) events: Cell<Option<Box<Events>>>,
    pub(crate) fork_detector: ForkDetector,
    is_closed: Cell<bool>,
}

impl Inner {
    pub(crate) fn new(driver: Box<dyn Driver>) -> Inner {
        Inner {
            driver,
            table: Table::default(),
            waiting: Cell::new(0),
            retired: Retired::default(),
            events: Cell::default(),
            fork_detector: ForkDetector::new(),
            is_closed: Cell::new(false),
        }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Returns an error if the reactor is closed or belongs to the parent process.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_closed() { Err(closed()) } else { self.fork_detector.check() }
    }

    pub(crate) fn close(&self) {
        // A forked child wakes no task: the tasks and the kernel's set are its parent's.
        if self.is_closed.replace(true) || self.fork_detector.is_forked() {
            return;
        }
        let states: Vec<_> = self.table.clear().collect();
        states.iter().for_each(|state| state.close(self));
        // After all of them are closed: a waker is foreign code, and may use any source.
        states.iter().for_each(|state| state.wake_closed(self));
    }

    /// Applies the events in `rest` to their sources, and wakes the waiters.
    ///
    /// If a waker panics, the panic leaves this function, and `rest` still holds the later events.
    #[inline]
    pub(crate) fn dispatch(&self, rest: &mut impl Iterator<Item = (Key, Readiness)>, unclaimed: &mut usize) {
        for (key, reported) in rest {
            // SAFETY: `apply_event` neither calls foreign code nor allocates. The caller holds
            // wakers that leave their slots until all wakers have been called.
            match unsafe { self.table.find(key, |state| state.apply_event(self, reported)) } {
                Some(WakeTarget::Reader(waker)) => waker.wake_by_ref(),
                Some(WakeTarget::None) => {}
                Some(WakeTarget::Owner(list)) => list.wake(),
                Some(WakeTarget::Uncommon(state)) => state.wake(self, reported),
                // The source is gone, or the event is the driver's own.
                None => {
                    *unclaimed += 1;
                    contain::call(|| Origin::new(Kind::Loop), || self.driver.unclaimed(key));
                }
            }
        }
    }
}

#[cold]
fn closed() -> io::Error {
    io::Error::other(Closed::new())
}

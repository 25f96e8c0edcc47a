//! What the handles of a reactor and its sources share, and how an event reaches its waiter.
//!
//! The invariant: no borrow of ours is alive while a waker or the driver is called.

use std::cell::Cell;
use std::io;

use picot_context::{Closed, Kind, Origin, contain};

use crate::driver::{Driver, Events};
use crate::fork::Mark;
use crate::key::Key;
use crate::ready::Readiness;
use crate::source::state::WakeTarget;
use crate::table::Table;
use crate::waiter::Retired;

pub(crate) struct Inner {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) table: Table,
    /// How many wakers wait for readiness.
    pub(crate) waiting: Cell<usize>,
    pub(crate) retired: Retired,
    /// What a wait has brought: its buffer, kept between waits. In a box, which is taken out and put back by a word.
    pub(crate) events: Cell<Option<Box<Events>>>,
    pub(crate) mark: Mark,
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
            mark: Mark::new(),
            is_closed: Cell::new(false),
        }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// An error if nothing can be waited for here: the reactor is closed, or another process's.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_closed() { Err(closed()) } else { self.mark.check() }
    }

    pub(crate) fn close(&self) {
        if self.is_closed.replace(true) || self.mark.is_forked() {
            return;
        }
        let states: Vec<_> = self.table.clear().collect();
        states.iter().for_each(|state| state.close(self));
        // Not before all are closed: a waker is foreign code, and may try any of them.
        states.iter().for_each(|state| state.wake_closed(self));
    }

    /// Brings the readiness of sources up to date by the events in `rest`, and wakes the waiters. A
    /// waker may panic out of this; then `rest` holds the events behind its own.
    #[inline]
    pub(crate) fn dispatch(&self, rest: &mut impl Iterator<Item = (Key, Readiness)>, unclaimed: &mut usize) {
        for (key, news) in rest {
            // SAFETY: Noting calls no foreign code, nor does it allocate; and what leaves a slot is
            // held until all wakers are called.
            match unsafe { self.table.find(key, |state| state.note(self, news)) } {
                Some(WakeTarget::Reader(waker)) => waker.wake_by_ref(),
                Some(WakeTarget::None) => {}
                Some(WakeTarget::Owner(list)) => list.wake(),
                Some(WakeTarget::Others(state)) => state.wake(self, news),
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

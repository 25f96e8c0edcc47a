//! What keeps a loop from setting a timer just like that, as one number.
//!
//! Setting a timer is hot. A loop that is open and waits by itself, if at all, costs it one test;
//! both exceptions stand behind that.

use std::cell::Cell;

/// The loop is closed, or closing.
const CLOSED: u8 = 1;
/// A foreign loop waits in this loop's place.
const HOST_WAITS: u8 = 2;

#[derive(Default)]
pub(crate) struct Status {
    bits: Cell<u8>,
    /// While a foreign loop waits: until when, by the loop's clock. An earlier timer ends the wait.
    waits_until: Cell<u64>,
}

impl Status {
    /// Whether the loop is open and no foreign loop waits in its place.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.bits.get() == 0
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.bits.get() & CLOSED != 0
    }

    /// Marks the loop as closed. Returns whether it was before.
    pub(crate) fn close(&self) -> bool {
        let was_closed = self.is_closed();
        self.bits.set(self.bits.get() | CLOSED);
        was_closed
    }

    pub(crate) fn host_waits(&self) -> bool {
        self.bits.get() & HOST_WAITS != 0
    }

    /// Marks that a foreign loop waits in this loop's place, until this time of the loop's clock.
    pub(crate) fn begin_host_wait(&self, until: u64) {
        self.bits.set(self.bits.get() | HOST_WAITS);
        self.waits_until.set(until);
    }

    /// Returns whether a foreign loop waited.
    pub(crate) fn end_host_wait(&self) -> bool {
        let waited = self.host_waits();
        self.bits.set(self.bits.get() & !HOST_WAITS);
        waited
    }

    /// Whether a timer with this deadline has to end a foreign loop's wait. True once a wait: the
    /// foreign loop asks anew for the time after that.
    pub(crate) fn ends_host_wait(&self, deadline: u64) -> bool {
        let ends = self.host_waits() && deadline < self.waits_until.get();
        if ends {
            self.waits_until.set(0);
        }
        ends
    }
}

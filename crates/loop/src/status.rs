//! The exceptions that a new timer has to check, as one number.
//!
//! Setting a timer is a hot path. It tests this number once; an open loop that waits by itself has
//! zero here.

use std::cell::Cell;

/// The loop is closed, or closing.
const CLOSED: u8 = 1;
/// An embedding host waits in this loop's place.
const HOST_WAITS: u8 = 2;

#[derive(Default)]
pub(crate) struct Status {
    bits: Cell<u8>,
    /// While a host waits: the end of its wait, by the loop's clock. An earlier timer has to end
    /// it.
    waits_until: Cell<u64>,
}

impl Status {
    /// Whether the loop is open and no host waits.
    #[inline]
    pub(crate) fn timers_need_no_check(&self) -> bool {
        self.bits.get() == 0
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.bits.get() & CLOSED != 0
    }

    /// Marks the loop as closed. Returns whether it was closed before.
    pub(crate) fn close(&self) -> bool {
        let was_closed = self.is_closed();
        self.bits.set(self.bits.get() | CLOSED);
        was_closed
    }

    pub(crate) fn host_waits(&self) -> bool {
        self.bits.get() & HOST_WAITS != 0
    }

    /// Marks that a host waits, until this time of the loop's clock.
    pub(crate) fn begin_host_wait(&self, until: u64) {
        self.bits.set(self.bits.get() | HOST_WAITS);
        self.waits_until.set(until);
    }

    /// Marks that no host waits. Returns whether one waited.
    pub(crate) fn end_host_wait(&self) -> bool {
        let waited = self.host_waits();
        self.bits.set(self.bits.get() & !HOST_WAITS);
        waited
    }

    /// Whether a timer with this deadline has to end the host's wait.
    ///
    /// True at most once per wait: the host calls `next_timeout` again after it.
    pub(crate) fn ends_host_wait(&self, deadline: u64) -> bool {
        let ends = self.host_waits() && deadline < self.waits_until.get();
        if ends {
            self.waits_until.set(0);
        }
        ends
    }
}

//! Arming: asks one-shot drivers for events.
//!
//! With such a driver each event disarms its source. Only the source knows when a direction has to
//! be armed again: when an operation would block, or a task waits. A driver that armed all
//! directions after each event would find every idle socket writable in each wait.

use std::io;

use super::state::{IN_SET, NEEDS_ARMING, State};
use crate::inner::Inner;
use crate::key::Key;
use crate::ready::{Direction, Readiness};

impl State {
    /// Arms the source for the directions that tasks wait for or have tried, if the driver needs
    /// it.
    #[inline]
    pub(super) fn arm(&self, inner: &Inner) -> io::Result<()> {
        if self.has(NEEDS_ARMING) { self.arm_again(inner) } else { Ok(()) }
    }

    /// As [`arm`](State::arm), on a driver that needs it or on a closed reactor, which is an error.
    #[cold]
    pub(super) fn arm_again(&self, inner: &Inner) -> io::Result<()> {
        inner.check()?;
        let mut interest = self.arming.get().tried() | Readiness::of_directions(self.flags.get());
        if let Some(others) = self.others.get() {
            for direction in Direction::ALL {
                interest |= Readiness::of(direction).when(others.waits(direction));
            }
        }
        // A source that is being dropped, or that is always ready, needs no event.
        if self.key() == Key::NONE || self.readiness.get().contains(Readiness::ALWAYS) || interest == Readiness::NONE {
            return Ok(());
        }
        // A hang-up has removed it from the set.
        if !self.has(IN_SET) {
            return self.add(inner, interest);
        }
        if self.arming.get().armed() != interest {
            inner.driver.modify(self.io(), self.key(), interest)?;
            self.arming.set(self.arming.get().with_armed(interest));
        }
        Ok(())
    }

    /// Handles an operation that would block: clears the readiness, and asks for the next event.
    pub(super) fn would_block(&self, inner: &Inner, direction: Direction) -> io::Result<()> {
        self.clear_ready(direction);
        if !self.has(NEEDS_ARMING) {
            return Ok(());
        }
        self.add_tried(direction);
        self.arm_again(inner)
    }

    /// Records that an operation was tried in this direction: it counts as waiting.
    pub(super) fn add_tried(&self, direction: Direction) {
        let arming = self.arming.get();
        self.arming.set(arming.with_tried(arming.tried() | Readiness::of(direction)));
    }

    /// Arms a direction after a trusted short transfer cleared it. On an error, restores the
    /// readiness, so that the next try returns the error instead of waiting for ever.
    #[cold]
    pub(super) fn rearm_after_short_transfer(&self, inner: &Inner, direction: Direction) {
        self.add_tried(direction);
        if self.arm_again(inner).is_err() && !inner.is_closed() {
            self.readiness.set(self.readiness.get() | Readiness::of(direction));
        }
    }

    /// Handles an event of a one-shot driver, which has disarmed the source.
    pub(super) fn event_disarmed(&self, inner: &Inner, reported: Readiness) {
        let arming = self.arming.get();
        self.arming.set(arming.with_tried(arming.tried().without(reported)));
        // After a hang-up the source leaves the driver's set: some backends report it in every
        // wait, even while the source is disarmed.
        if reported.is_hangup() {
            self.delete(inner);
        } else {
            self.arming.set(self.arming.get().with_armed(Readiness::NONE));
        }
    }
}

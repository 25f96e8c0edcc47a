//! Asking for events where the driver has no edges.
//!
//! There each event disarms its source. Only the source knows when a direction is to be armed
//! again: when an operation would block, or something waits. A driver that armed all directions by
//! itself would find every idle socket writable in each wait.

use std::io;

use super::state::{ASKS, IS_IN, State};
use crate::inner::Inner;
use crate::key::Key;
use crate::ready::{Direction, Readiness};

impl State {
    /// Asks the driver for the directions that are waited for or were tried, where it must be asked.
    #[inline]
    pub(super) fn arm(&self, inner: &Inner) -> io::Result<()> {
        if self.has(ASKS) { self.arm_again(inner) } else { Ok(()) }
    }

    #[cold]
    pub(super) fn arm_again(&self, inner: &Inner) -> io::Result<()> {
        inner.check()?;
        let mut interest = self.asked.get().tried() | Readiness::of_directions(self.flags.get());
        if let Some(crowd) = self.crowd.get() {
            for direction in Direction::ALL {
                interest |= Readiness::of(direction).when(crowd.waits(direction));
            }
        }
        if self.key() == Key::NONE || self.readiness.get().contains(Readiness::ALWAYS) || interest == Readiness::NONE {
            return Ok(());
        }
        if !self.has(IS_IN) {
            return self.add(inner, interest);
        }
        if self.asked.get().armed() != interest {
            inner.driver.modify(self.io(), self.key(), interest)?;
            self.asked.set(self.asked.get().with_armed(interest));
        }
        Ok(())
    }

    /// An operation was tried, or was not because it would have blocked.
    pub(super) fn would_block(&self, inner: &Inner, direction: Direction) -> io::Result<()> {
        self.clear_ready(direction);
        if !self.has(ASKS) {
            return Ok(());
        }
        self.try_again(direction);
        self.arm_again(inner)
    }

    /// The direction is asked for by a try.
    pub(super) fn try_again(&self, direction: Direction) {
        let asked = self.asked.get();
        self.asked.set(asked.with_tried(asked.tried() | Readiness::of(direction)));
    }

    /// Asks for the next event of a direction in which less was moved than could have been. If that cannot be, the next
    /// try says so.
    #[cold]
    pub(super) fn ask_for(&self, inner: &Inner, direction: Direction) {
        self.try_again(direction);
        if self.arm_again(inner).is_err() && !inner.is_closed() {
            self.readiness.set(self.readiness.get() | Readiness::of(direction));
        }
    }

    pub(super) fn note_disarmed(&self, inner: &Inner, news: Readiness) {
        let asked = self.asked.get();
        self.asked.set(asked.with_tried(asked.tried().without(news)));
        // The event has disarmed the source. If it was a hang-up it leaves the set, as some backends tell that in every
        // wait, also while no caller asks.
        if news.is_hangup() {
            self.delete(inner);
        } else {
            self.asked.set(self.asked.get().with_armed(Readiness::NONE));
        }
    }
}

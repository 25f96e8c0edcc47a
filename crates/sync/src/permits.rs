//! A number of permits and the line of those who wait for some: what semaphores and queues are made of.
//!
//! Whoever is first in line holds up everybody behind it until there is enough for it. What is given to a waiter is taken
//! off at once, so nobody can come between the giving and the waiter's next step.

use std::cell::Cell;
use std::task::{Context, Poll};

use picot_context::Place;

use crate::waiters::{Left, Waiter, Waiters};
use crate::wake::{wake, wake_all};

#[derive(Debug)]
pub(crate) struct Permits {
    available: Cell<usize>,
    pub(crate) waiters: Waiters,
}

impl Permits {
    pub(crate) const fn new(available: usize, what: &'static str, made: Place) -> Permits {
        Permits { available: Cell::new(available), waiters: Waiters::new(what, made) }
    }

    pub(crate) fn available(&self) -> usize {
        self.available.get()
    }

    /// Takes `asked`, if there is as much and nobody waits. None at all can always be taken, so nobody waits for that.
    #[inline]
    pub(crate) fn try_take(&self, asked: usize) -> bool {
        match self.available.get().checked_sub(asked) {
            Some(left) if asked == 0 || self.waiters.is_empty() => {
                self.available.set(left);
                true
            }
            _ => false,
        }
    }

    /// Ready with `asked` once it is taken, or with 0 after [`close`](Permits::close).
    #[inline]
    pub(crate) fn poll_take(&self, waiter: &mut Waiter, asked: usize, cx: &mut Context<'_>) -> Poll<usize> {
        self.waiters.poll_with(waiter, asked, cx, || self.try_take(asked))
    }

    /// Adds permits, and gives them to those who wait. There must be room for the sum.
    #[inline]
    pub(crate) fn give(&self, amount: usize) {
        self.available.set(self.available.get() + amount);
        if !self.waiters.is_empty() {
            self.distribute();
        }
    }

    fn distribute(&self) {
        loop {
            let available = self.available.get();
            if available == 0 {
                return;
            }
            let Some(notified) = self.waiters.notify_first_if(|asked| asked <= available) else { return };
            self.available.set(available - notified.asked);
            // A waker may do anything, so what is available is read anew after it.
            wake(notified.waker);
        }
    }

    /// Sends everybody in line away with nothing.
    pub(crate) fn close(&self) {
        wake_all(self.waiters.notify_all(0));
    }

    /// Takes all that is available.
    pub(crate) fn drain(&self) {
        self.available.set(0);
    }

    /// For the drop of a future: passes on what it was given and has not collected, or lets those behind it move up.
    #[inline]
    pub(crate) fn abandon(&self, waiter: &mut Waiter) {
        match self.waiters.leave(waiter) {
            Left::Outside => {}
            Left::Waiting => self.distribute(),
            Left::Notified(given) => self.give(given),
        }
    }
}

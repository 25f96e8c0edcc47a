//! A number of permits and the line of those who wait for some: what semaphores and queues are made of.
//!
//! The first in line holds up all behind it until there is enough for it. What is given to a waiter is taken off at once, so
//! nothing can come between the giving and the waiter's next step. A waiter counts as waiting until that step: who comes
//! meanwhile goes behind it, also if there is enough for both (asyncio's `locked()` counts likewise).

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

    /// Takes `asked`, if there is as much and no waiter that asked before has yet to go on. None at all can always be taken.
    #[inline]
    pub(crate) fn try_take(&self, asked: usize) -> bool {
        self.try_take_if(asked, || self.waiters.is_vacant())
    }

    /// Takes `asked`, if there is more than all waiters ask for, as asyncio's `get_nowait` and `put_nowait` do: those that
    /// were given something and have not run yet are not in the way.
    #[inline]
    pub(crate) fn try_take_spare(&self, asked: usize) -> bool {
        self.try_take_if(asked, || self.waiters.is_empty())
    }

    #[inline]
    fn try_take_if(&self, asked: usize, may_take: impl FnOnce() -> bool) -> bool {
        match self.available.get().checked_sub(asked) {
            Some(left) if asked == 0 || may_take() => {
                self.available.set(left);
                true
            }
            _ => false,
        }
    }

    /// Ready with `asked` once it is taken; with 0 if `is_closed`, or after [`close`](Permits::close).
    #[inline]
    pub(crate) fn poll_take(
        &self,
        waiter: &mut Waiter,
        asked: usize,
        cx: &mut Context<'_>,
        is_closed: impl Fn() -> bool,
    ) -> Poll<usize> {
        let at_once = || if is_closed() { Some(0) } else { self.try_take(asked).then_some(asked) };
        // Once in line, it may only be behind waiters that were notified and have not run yet. Then it is given its permits
        // and woken now, and runs after them.
        self.waiters.poll_with(waiter, asked, cx, at_once, || {
            if self.available.get() != 0 {
                self.distribute_late();
            }
        })
    }

    /// Adds permits, and gives them to those who wait. There must be room for the sum.
    #[inline]
    pub(crate) fn give(&self, amount: usize) {
        self.available.set(self.available.get() + amount);
        if !self.waiters.is_empty() {
            self.distribute();
        }
    }

    /// Out of line, so that the one in `give`, the common one, is inlined there.
    #[cold]
    fn distribute_late(&self) {
        self.distribute();
    }

    #[inline]
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
            Left::Waiting => self.distribute_late(),
            Left::Notified(given) => self.give(given),
        }
    }
}

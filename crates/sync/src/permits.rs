//! Permits and the line of their waiters: the base of semaphores and queues.
//!
//! The first waiter blocks all behind it until there are enough permits for it. Permits for a
//! waiter are subtracted at once, so no other task can take them before the waiter runs. A waiter
//! counts as waiting until it runs: a newcomer goes behind it, even if there are enough permits for
//! both. asyncio's `locked()` counts in the same way.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use picot_context::Place;

use crate::wait_list::{Left, Ticket, WaitList};
use crate::wake::{wake, wake_all};

/// The permits of an opened set: more than can be taken, and few enough that returned permits do
/// not overflow.
const OPEN: usize = usize::MAX / 2;

#[derive(Debug)]
pub(crate) struct Permits {
    available: Cell<usize>,
    /// How many waiters are in line, or have their permits and have not been polled since.
    present: Cell<usize>,
    is_open: Cell<bool>,
    is_closed: Cell<bool>,
    pub(crate) waiters: WaitList,
}

impl Permits {
    pub(crate) const fn new(available: usize, what: &'static str, made: Place) -> Permits {
        Permits {
            available: Cell::new(available),
            present: Cell::new(0),
            is_open: Cell::new(false),
            is_closed: Cell::new(false),
            waiters: WaitList::new(what, made),
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.available.get()
    }

    /// Whether a waiter is in line, or has permits and has not been polled since. As long as there
    /// is one, a newcomer that completed at once would overtake it.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        self.present.get() != 0
    }

    /// Takes `asked`, if as many are available and no earlier waiter would be overtaken. Zero
    /// permits can always be taken.
    #[inline]
    pub(crate) fn try_take(&self, asked: usize) -> bool {
        self.try_take_if(asked, || !self.has_waiters() || asked == 0 || self.is_open.get())
    }

    /// Takes `asked`, if as many are available beyond the requests of waiters in line. Waiters that
    /// have their permits and have not run yet do not count, as with asyncio's `get_nowait` and
    /// `put_nowait`.
    #[inline]
    pub(crate) fn try_take_spare(&self, asked: usize) -> bool {
        self.try_take_if(asked, || self.waiters.is_empty())
    }

    #[inline]
    fn try_take_if(&self, asked: usize, may_take: impl FnOnce() -> bool) -> bool {
        match self.available.get().checked_sub(asked) {
            Some(left) if may_take() => {
                self.available.set(left);
                true
            }
            _ => false,
        }
    }

    /// Ready once `asked` permits are taken, or once the set is closed. The caller checks which.
    #[inline]
    pub(crate) fn poll_take(&self, waiter: &mut Ticket, asked: usize, cx: &mut Context<'_>) -> Poll<()> {
        if waiter.is_in_line() {
            let given = ready!(self.waiters.collect(waiter, cx));
            // Only now: until it has run, a newcomer must not overtake it.
            self.present.set(self.present.get() - 1);
            if self.is_closed.get() {
                self.return_unwanted(given);
            }
            return Poll::Ready(());
        }
        let at_once = || match self.try_take(asked) {
            true => Some(asked),
            // Asked last: a closed set has a waiter that never runs, so taking has failed.
            false => self.is_closed.get().then_some(0),
        };
        self.waiters
            .poll_first(waiter, asked, cx, at_once, || {
                self.present.set(self.present.get() + 1);
                // All earlier waiters may have their permits already and not have run yet. Then
                // this waiter gets its own now, and runs after them.
                if self.available.get() != 0 {
                    self.distribute_late();
                }
            })
            .map(drop)
    }

    /// Adds permits, and gives them to the waiters in line. There must be room for the sum.
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
            // Subtracted before the wake, so that no other task takes these permits first.
            self.available.set(available - notified.asked);
            // A waker may do anything, so the available number is read again after it.
            wake(notified.waker);
        }
    }

    /// From now on, every wait completes at once, and so do those that are in line.
    #[cold]
    pub(crate) fn open(&self) {
        if !self.is_open.replace(true) {
            self.available.set(OPEN);
            wake_all(self.waiters.notify_all(1));
        }
    }

    /// From now on, nothing is given: every wait completes at once, without permits, and so do
    /// those that are in line.
    #[cold]
    pub(crate) fn close(&self) {
        if !self.is_closed.replace(true) {
            // Counts as a waiter that never runs. So taking fails, and costs no further test.
            self.present.set(self.present.get() + 1);
            wake_all(self.waiters.notify_all(0));
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Takes permits back from a waiter that got them before the close and has not run until then.
    #[cold]
    fn return_unwanted(&self, given: usize) {
        self.available.set(self.available.get() + given);
    }

    /// For the drop of a future: passes on what it was given and has not collected, or lets those
    /// behind it move up.
    #[inline]
    pub(crate) fn abandon(&self, waiter: &mut Ticket) {
        if waiter.is_in_line() {
            self.abandon_line(waiter);
        }
    }

    #[cold]
    fn abandon_line(&self, waiter: &mut Ticket) {
        self.present.set(self.present.get() - 1);
        // A waiter that leaves may have blocked smaller requests behind it.
        match self.waiters.leave(waiter) {
            Left::Outside => {}
            Left::Waiting => self.distribute(),
            Left::Notified(given) => self.give(given),
        }
    }
}

//! A condition variable for one thread: the code that changes a condition notifies, and all waiters
//! check it.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use picot_context::{Cause, Place, WaitInfo, WaitKind, WaitNote, catch};
use slab::Slab;

use crate::operation::poll_nothing;
use crate::report::report;

/// The waiters. Dropping a wait removes it.
#[derive(Debug, Default)]
pub struct Condition {
    waiters: RefCell<Slab<Waker>>,
    /// The number of notifications. A notification removes all waiters, so a key is valid for one
    /// round.
    round: Cell<u64>,
}

/// Waits for a condition. Made by [`Condition::until`].
struct Until<'a, C> {
    condition: &'a Condition,
    holds: C,
    /// The round in which the wait was added to the waiters, and its key there.
    entry: Option<(u64, usize)>,
    about: fn() -> WaitInfo,
    place: Option<Place>,
    note: WaitNote,
}

impl Condition {
    /// Waits until `condition` holds.
    #[track_caller]
    pub fn until(&self, condition: impl Fn() -> bool + Unpin) -> impl Future<Output = ()> + Unpin {
        let about = || WaitInfo::new(WaitKind::Condition, "a condition");
        self.wait(about, Some(Location::caller()), condition)
    }

    /// As [`until`](Condition::until); `about` describes the wait for reports.
    #[doc(hidden)]
    pub fn until_about(
        &self,
        about: fn() -> WaitInfo,
        condition: impl Fn() -> bool + Unpin,
    ) -> impl Future<Output = ()> + Unpin {
        self.wait(about, None, condition)
    }

    fn wait<C: Fn() -> bool + Unpin>(&self, about: fn() -> WaitInfo, place: Option<Place>, holds: C) -> Until<'_, C> {
        Until { condition: self, holds, entry: None, about, place, note: WaitNote::new() }
    }

    /// Wakes all waiters, which check their conditions again.
    ///
    /// Wakers are foreign code: one that panics is reported, and the others are still woken.
    pub fn notify(&self) {
        self.round.set(self.round.get() + 1);
        // Taken out first: a waker may run code that waits or notifies, and no borrow may be live
        // then.
        for waiter in self.waiters.take().drain() {
            if let Err(payload) = catch(|| waiter.wake()) {
                report(Cause::Panic(payload));
            }
        }
    }
}

impl<C: Fn() -> bool + Unpin> Future for Until<'_, C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if (this.holds)() {
            return poll_nothing(cx, ());
        }
        // Cloned before the borrow, and the old waker dropped after it: both run foreign code. The
        // clone may fulfil the condition before this waiter is in the list, so it is checked again.
        let waker = cx.waker().clone();
        if (this.holds)() {
            return poll_nothing(cx, ());
        }
        let round = this.condition.round.get();
        let mut waiters = this.condition.waiters.borrow_mut();
        let old = match this.entry {
            Some((known, key)) if known == round => Some(mem::replace(&mut waiters[key], waker)),
            _ => {
                this.entry = Some((round, waiters.insert(waker)));
                None
            }
        };
        drop(waiters);
        drop(old);
        let (about, place) = (this.about, this.place);
        this.note.set(|| {
            let mut wait = about();
            wait.place = place;
            wait
        });
        Poll::Pending
    }
}

impl<C> Drop for Until<'_, C> {
    fn drop(&mut self) {
        if let Some((_, key)) = self.entry.filter(|(round, _)| *round == self.condition.round.get()) {
            let waker = self.condition.waiters.borrow_mut().remove(key);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use picot_testkit::{WakeCount, quiet_panic, waker_fn};
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_waker_that_panics_is_reported_and_the_others_are_woken() {
        let (condition, count, told) = (Condition::default(), WakeCount::default(), Rc::new(RefCell::new(Vec::new())));
        picot_loop::run(async {
            let notes = told.clone();
            picot_loop::LoopHandle::current().set_error_hook(move |report| notes.borrow_mut().push(report.to_string()));
            let mut waits: Vec<_> = (0..3).map(|_| condition.until(|| false)).collect();
            let wakers = [count.waker(), waker_fn(|| quiet_panic("bomb")), count.waker()];
            for (wait, waker) in waits.iter_mut().zip(&wakers) {
                assert!(Pin::new(wait).poll(&mut Context::from_waker(waker)).is_pending());
            }
            condition.notify();
            picot_loop::yield_now().await;
        });
        assert_eq!(count.get(), 2);
        assert_eq!(told.borrow().len(), 1);
        assert!(told.borrow()[0].contains("bomb"), "{told:?}");
    }

    #[test]
    fn a_wait_that_is_dropped_leaves_no_waker() {
        let (condition, count) = (Condition::default(), WakeCount::default());
        let mut waits: Vec<_> = (0..3).map(|_| condition.until(|| false)).collect();
        waits.iter_mut().for_each(|wait| assert!(count.poll(|cx| Pin::new(wait).poll(cx)).is_pending()));
        drop(waits.remove(1));
        assert_eq!((count.holders(), condition.waiters.borrow().len()), (3, 2));
        condition.notify();
        // The key of a wait from an earlier round may by now belong to another wait.
        let mut other = condition.until(|| false);
        assert!(count.poll(|cx| Pin::new(&mut other).poll(cx)).is_pending());
        drop(waits);
        assert_eq!((count.holders(), count.get()), (2, 2));
    }
}

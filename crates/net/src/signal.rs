//! Waiting for a condition of one thread: whoever changes it notifies, and all who wait look again.

use std::cell::{Cell, RefCell};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Who waits. A waiter that is gone is among them no more.
#[derive(Default)]
pub(crate) struct Signal {
    waiters: RefCell<Slab<Waker>>,
    /// How often it was notified: the keys of waiters are good for one round.
    round: Cell<u64>,
}

/// Waits for a condition. Made by [`Signal::until`].
struct Until<'a, C> {
    signal: &'a Signal,
    condition: C,
    /// The round in which it was put among the waiters, and its key there.
    entry: Option<(u64, usize)>,
}

impl Signal {
    /// Waits until `condition` holds.
    pub(crate) fn until(&self, condition: impl Fn() -> bool + Unpin) -> impl Future<Output = ()> {
        Until { signal: self, condition, entry: None }
    }

    /// Lets all who wait look again.
    pub(crate) fn notify(&self) {
        self.round.set(self.round.get() + 1);
        for waiter in self.waiters.take().drain() {
            waiter.wake();
        }
    }
}

impl<C: Fn() -> bool + Unpin> Future for Until<'_, C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if (this.condition)() {
            return Poll::Ready(());
        }
        // Cloned before the borrow, and the old one dropped after it: both may be anybody's code.
        let waker = cx.waker().clone();
        let round = this.signal.round.get();
        let mut waiters = this.signal.waiters.borrow_mut();
        let old = match this.entry {
            Some((known, key)) if known == round => Some(mem::replace(&mut waiters[key], waker)),
            _ => {
                this.entry = Some((round, waiters.insert(waker)));
                None
            }
        };
        drop(waiters);
        drop(old);
        Poll::Pending
    }
}

impl<C> Drop for Until<'_, C> {
    fn drop(&mut self) {
        if let Some((_, key)) = self.entry.filter(|(round, _)| *round == self.signal.round.get()) {
            let waker = self.signal.waiters.borrow_mut().remove(key);
            drop(waker);
        }
    }
}

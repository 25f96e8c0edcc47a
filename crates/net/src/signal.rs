//! Waiting for a condition of one thread: whoever changes it notifies, and all who wait look again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Who waits. A waiter that is gone is woken once for nothing.
#[derive(Default)]
pub(crate) struct Signal {
    waiters: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Waits until `condition` holds.
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) {
        poll_fn(|cx| {
            if condition() {
                return Poll::Ready(());
            }
            let is_known = self.waiters.borrow().iter().any(|waiter| waiter.will_wake(cx.waker()));
            if !is_known {
                // Cloned before the borrow: that may be anybody's code.
                let waker = cx.waker().clone();
                self.waiters.borrow_mut().push(waker);
            }
            Poll::Pending
        })
        .await;
    }

    /// Lets all who wait look again.
    pub(crate) fn notify(&self) {
        for waiter in self.waiters.take() {
            waiter.wake();
        }
    }
}

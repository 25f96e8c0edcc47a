//! Futures that a test drives by hand.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Polls `future` once, with a waker that does nothing.
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Is pending once, and wakes its task at once: everything else that is ready runs before.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A flag that one task waits for, and that the test raises.
///
/// Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    is_open: Rc<Cell<bool>>,
    waiter: Rc<RefCell<Option<Waker>>>,
    polls: Rc<Cell<usize>>,
}

impl Gate {
    /// Raises the flag and wakes the waiter.
    pub fn open(&self) {
        self.is_open.set(true);
        // Outside the borrow, because a waker may run code of the test.
        let waiter = self.waiter.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Waits until the flag is raised.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            self.polls.set(self.polls.get() + 1);
            if self.is_open.get() {
                return Poll::Ready(());
            }
            self.waiter.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// The number of polls of all waits so far.
    pub fn polls(&self) -> usize {
        self.polls.get()
    }
}

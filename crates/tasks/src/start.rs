//! Waiting until a child says that it is ready.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use picot_loop::{CancelReason, JoinError};

use crate::child::Child;
use crate::request::wake;

/// By this a child says that it is ready; see [`Scope::start`](crate::Scope::start).
pub struct Started<V> {
    said: Rc<Said<V>>,
}

/// What passes between the child and whoever waits for it.
pub(crate) struct Said<V> {
    value: Cell<Option<V>>,
    waiting: RefCell<Option<Waker>>,
}

impl<V> Started<V> {
    pub(crate) fn new() -> (Started<V>, Rc<Said<V>>) {
        let said = Rc::new(Said { value: Cell::new(None), waiting: RefCell::new(None) });
        (Started { said: said.clone() }, said)
    }

    /// The child is ready, and gives `value` to whoever started it. If nobody waits any more, it is dropped.
    #[doc(alias = "task_status")]
    pub fn ready(self, value: V) {
        self.said.value.set(Some(value));
        let waiting = self.said.waiting.take();
        if let Some(waiting) = waiting {
            wake(waiting);
        }
    }
}

impl<V> fmt::Debug for Started<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// Waits until a child says that it is ready; made by [`Scope::start`](crate::Scope::start).
#[must_use = "dropping this cancels the child"]
pub struct Start<V, T> {
    said: Rc<Said<V>>,
    /// `None` once this is done.
    child: Option<Child<T>>,
}

impl<V, T> Unpin for Start<V, T> {}

impl<V, T> Start<V, T> {
    pub(crate) fn new(said: Rc<Said<V>>, child: Child<T>) -> Start<V, T> {
        Start { said, child: Some(child) }
    }
}

impl<V, T> Future for Start<V, T> {
    type Output = Result<(V, Child<T>), JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(value) = this.said.value.take() {
            let child = this.child.take().expect("a start is not polled after its end");
            return Poll::Ready(Ok((value, child)));
        }
        let child = this.child.as_mut().expect("a start is not polled after its end");
        match child.poll_join(cx) {
            Poll::Ready(outcome) => {
                let reason = CancelReason::from("it ended without having said that it was ready");
                let error = outcome.err().unwrap_or_else(|| JoinError::cancelled(child.info(), reason));
                this.child = None;
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                let old = this.said.waiting.replace(Some(cx.waker().clone()));
                drop(old);
                Poll::Pending
            }
        }
    }
}

impl<V, T> Drop for Start<V, T> {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            child.stop_waiting();
        }
    }
}

impl<V, T> fmt::Debug for Start<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("child", &self.child).finish_non_exhaustive()
    }
}

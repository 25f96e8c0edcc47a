//! Waiting until a child says that it is ready.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::budget;
use picot_loop::{CancelReason, JoinError};

use crate::child::Child;
use crate::request::wake;

/// By this a child says that it is ready; see [`Scope::start`](crate::Scope::start).
pub struct Started<V> {
    said: Rc<Said<V>>,
}

/// What passes between the child and its starter.
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
        ready!(budget::poll_left(cx));
        if let Some(started) = this.take_started() {
            return Poll::Ready(started);
        }
        let child = this.child.as_mut().expect("a start is not polled after its end");
        if let Poll::Ready(outcome) = child.poll_join(cx) {
            let reason = CancelReason::from("it ended without having said that it was ready");
            let error = outcome.err().unwrap_or_else(|| JoinError::cancelled(child.info(), reason));
            this.child = None;
            return Poll::Ready(Err(error));
        }
        let old = this.said.waiting.replace(Some(cx.waker().clone()));
        drop(old);
        // A waker is foreign code, also in its clone and its drop, and may have said that the child is ready.
        this.take_started().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<V, T> Start<V, T> {
    fn take_started(&mut self) -> Option<Result<(V, Child<T>), JoinError>> {
        let value = self.said.value.take()?;
        budget::spend();
        Some(Ok((value, self.child.take().expect("a start is not polled after its end"))))
    }
}

impl<V, T> Drop for Start<V, T> {
    fn drop(&mut self) {
        let waker = self.said.waiting.take();
        drop(waker);
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

//! The budget of a step, for futures that are made of others.
//!
//! A leaf operation refuses to begin once its step has spent the budget. What is made of others cannot simply do so: if a
//! sibling spent the budget before each of its polls, the deadlines inside would never be looked at. It refuses once, and
//! then goes on; so a loop over what completes at once still lets the others run.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use picot_context::budget;
use pin_project_lite::pin_project;

/// Whether the running step has spent its budget.
pub(crate) fn is_spent() -> bool {
    budget::poll_left(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Whether a future was refused at its last poll.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    has_refused: bool,
}

impl Gate {
    /// Ready if the future may go on; otherwise its task was woken for the next turn.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_refused && budget::poll_left(cx).is_pending() {
            self.has_refused = true;
            return Poll::Pending;
        }
        self.has_refused = false;
        Poll::Ready(())
    }
}

pin_project! {
    /// A future whose completion counts as one operation.
    pub(crate) struct Counted<F> {
        #[pin]
        future: F,
        gate: Gate,
    }
}

impl<F> Counted<F> {
    pub(crate) fn new(future: F) -> Counted<F> {
        Counted { future, gate: Gate::default() }
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        ready!(this.gate.poll(cx));
        let output = ready!(this.future.poll(cx));
        budget::spend();
        Poll::Ready(output)
    }
}

//! The budget of a step, as futures that are made of other futures use it.
//!
//! A leaf operation refuses to start once its step has spent the budget. A composed future cannot
//! refuse each time: if a sibling spends the budget before each of its polls, the deadlines inside
//! would never be checked. It refuses once, and passes at the next poll. So a loop over operations
//! that complete at once still lets other tasks run.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use picot_context::budget;
use pin_project_lite::pin_project;

/// Returns whether the running step has spent its budget.
pub(crate) fn is_spent() -> bool {
    budget::poll_left(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Refuses a poll once if the budget is spent, and lets the next poll pass.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    has_refused: bool,
}

impl Gate {
    /// Returns ready if the future may continue. Otherwise its task was woken for the next turn.
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
    /// A future whose completion counts as one operation of the budget.
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

//! The cooperative budget: how many leaf operations one step may complete before others must run.
//!
//! A step starts with [`PER_STEP`]. A leaf operation (a read, a receive, a timer) checks
//! [`poll_left`] before it tries, and calls [`spend`] or [`spend_call`] when it has completed. One
//! that stays pending costs nothing. Outside of a step there is no limit. The idea is tokio's
//! "cooperative scheduling"; without it, a task whose socket is always ready starves its siblings.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Leaf operations that a step may complete.
///
/// ```
/// use picot_context::budget::{PER_CALL, PER_STEP};
///
/// assert_eq!(PER_STEP / PER_CALL, 32, "system calls in one step");
/// ```
pub const PER_STEP: u32 = 128;

/// The cost of an operation that makes a system call, in leaf operations: it takes longer than most
/// others together.
///
/// ```
/// use picot_context::budget;
///
/// // A step that completes a read has this much of its budget left for other leaf operations.
/// assert_eq!(budget::PER_STEP - budget::PER_CALL, 124);
/// ```
pub const PER_CALL: u32 = 4;

/// The budget that is left; it is used up at zero or less. Outside of a step it is a number that
/// can never be used up, so no caller has to check whether there is a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left(i64);

const UNLIMITED: Left = Left(i64::MAX);

thread_local! {
    static LEFT: Cell<Left> = const { Cell::new(UNLIMITED) };
}

/// Ready while the step may continue. Otherwise pending, after waking the task, so that it runs
/// again after its siblings.
///
/// ```
/// use std::collections::VecDeque;
/// use std::task::{Context, Poll, Waker};
/// use picot_context::{Step, budget, enter};
///
/// /// A leaf: takes from a queue that may never be empty.
/// fn poll_next(queue: &mut VecDeque<u32>, cx: &mut Context<'_>) -> Poll<u32> {
///     if budget::poll_left(cx).is_pending() {
///         return Poll::Pending; // the task was woken, so it comes again after the others
///     }
///     match queue.pop_front() {
///         Some(item) => {
///             budget::spend();
///             Poll::Ready(item)
///         }
///         None => Poll::Pending, // and here a leaf keeps the waker
///     }
/// }
///
/// let mut queue = VecDeque::from_iter(0..1000);
/// let mut cx = Context::from_waker(Waker::noop());
/// let _step = enter(Step::callback(std::panic::Location::caller()), None);
/// while poll_next(&mut queue, &mut cx).is_ready() {}
/// assert_eq!(queue.len(), 1000 - budget::PER_STEP as usize);
/// ```
#[inline]
pub fn poll_left(cx: &mut Context<'_>) -> Poll<()> {
    if LEFT.get().0 <= 0 {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// Counts a leaf operation that has completed.
///
/// ```
/// // Outside of a step there is no limit, and so nothing to spend.
/// picot_context::budget::spend();
/// ```
#[inline]
pub fn spend() {
    // 2^60 operations never happen, so neither this nor the next line wraps.
    LEFT.set(Left(LEFT.get().0 - 1));
}

/// Counts a completed leaf operation that has made a system call, or lets its task make one: it
/// costs [`PER_CALL`].
///
/// ```
/// use std::task::{Context, Waker};
/// use picot_context::{Step, budget, enter};
///
/// let mut cx = Context::from_waker(Waker::noop());
/// let _step = enter(Step::callback(std::panic::Location::caller()), None);
/// let mut calls = 0;
/// while budget::poll_left(&mut cx).is_ready() {
///     budget::spend_call();
///     calls += 1;
/// }
/// assert_eq!(calls, budget::PER_STEP / budget::PER_CALL);
/// ```
#[inline]
pub fn spend_call() {
    LEFT.set(Left(LEFT.get().0 - i64::from(PER_CALL)));
}

#[inline]
pub(crate) fn fill() {
    LEFT.set(Left(PER_STEP.into()));
}

/// Removes the limit, and returns the budget that was left.
#[inline]
pub(crate) fn unlimited() -> Left {
    LEFT.replace(UNLIMITED)
}

#[inline]
pub(crate) fn restore(outer: Left) {
    LEFT.set(outer);
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::task::Waker;

    use picot_testkit::WakeCount;

    use super::*;
    use crate::{Step, enter};

    #[test]
    fn a_step_may_complete_exactly_its_budget() {
        let count = WakeCount::default();
        let waker = count.waker();
        let mut cx = Context::from_waker(&waker);

        let _entered = enter(Step::callback(Location::caller()), None);
        for _ in 0..PER_STEP {
            assert!(poll_left(&mut cx).is_ready());
            spend();
        }
        assert_eq!(count.get(), 0);
        assert!(poll_left(&mut cx).is_pending());
        assert_eq!(count.get(), 1, "who is stopped by the budget is queued again");

        let inner = enter(Step::callback(Location::caller()), None);
        assert!(poll_left(&mut cx).is_ready(), "each step has a budget of its own");
        drop(inner);
        assert!(poll_left(&mut cx).is_pending());
    }

    #[test]
    fn outside_of_a_step_there_is_no_limit() {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 * PER_STEP {
            assert!(poll_left(&mut cx).is_ready());
            spend();
        }
    }
}

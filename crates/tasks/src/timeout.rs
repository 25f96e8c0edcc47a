//! Work with a deadline: a cancel scope, in one line.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_context::{Escaped, Place};
use picot_loop::Instant;
use pin_project_lite::pin_project;

use crate::cancel::{CancelScope, Run};

/// Runs `future` for at most `duration` (asyncio's `timeout` and `wait_for`). `None` never expires; zero expires after the
/// first poll, so that what has ended already gives its value. A value that comes in the same turn as the deadline stands. To move the deadline meanwhile, use a
/// [`CancelScope`].
///
/// # Errors
/// [`Elapsed`] if the time has passed. The future has been dropped by then; a task that was awaited by it is cancelled, and
/// dropped at its next step.
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// So is the future.
///
/// ```
/// use std::time::Duration;
///
/// let outcome = picot_loop::run(async { picot_tasks::timeout(Duration::from_millis(1), std::future::pending::<()>()).await });
/// assert!(outcome.is_err());
/// ```
#[doc(alias = "wait_for")]
#[doc(alias = "fail_after")]
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: impl Into<Option<Duration>>, future: F) -> Timeout<F::IntoFuture> {
    Timeout { run: CancelScope::with_timeout(duration).run(future), place: Location::caller() }
}

/// Runs `future` until `deadline` at most; otherwise it is as [`timeout`].
///
/// # Errors
/// [`Elapsed`] if the deadline has passed.
///
/// # Panics
/// When polled, if this thread has no loop.
///
/// # If dropped
/// So is the future.
#[doc(alias = "fail_at")]
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: impl Into<Option<Instant>>, future: F) -> Timeout<F::IntoFuture> {
    Timeout { run: CancelScope::with_deadline(deadline).run(future), place: Location::caller() }
}

/// Runs `future` for at most `duration`, and gives `None` if it has not ended by then, which is no error (trio's
/// `move_on_after`). Otherwise it is as [`timeout`].
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// So is the future.
///
/// ```
/// use std::time::Duration;
///
/// picot_loop::run(async {
///     let answer = picot_tasks::move_on_after(Duration::from_millis(1), std::future::pending::<u32>());
///     println!("{}", answer.await.unwrap_or(42));
/// });
/// ```
#[track_caller]
pub fn move_on_after<F: IntoFuture>(duration: impl Into<Option<Duration>>, future: F) -> MoveOn<F::IntoFuture> {
    MoveOn { run: CancelScope::with_timeout(duration).run(future) }
}

/// Runs `future` until `deadline` at most, and gives `None` if it has not ended by then; otherwise it is as
/// [`move_on_after`].
///
/// # Panics
/// When polled, if this thread has no loop.
///
/// # If dropped
/// So is the future.
#[track_caller]
pub fn move_on_at<F: IntoFuture>(deadline: impl Into<Option<Instant>>, future: F) -> MoveOn<F::IntoFuture> {
    MoveOn { run: CancelScope::with_deadline(deadline).run(future) }
}

pin_project! {
    /// Work with a deadline; made by [`timeout`] and [`timeout_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Timeout<F> {
        #[pin]
        run: Run<F>,
        place: Place,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let place = *this.place;
        // The scope is in no other hands, so only its deadline cancels it.
        this.run.poll(cx).map_err(|_| Elapsed { place })
    }
}

pin_project! {
    /// Work with a deadline that is no error; made by [`move_on_after`] and [`move_on_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct MoveOn<F> {
        #[pin]
        run: Run<F>,
    }
}

impl<F: Future> Future for MoveOn<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().run.poll(cx).map(Result::ok)
    }
}

/// The time has passed before the work was done (asyncio's `TimeoutError`).
#[doc(alias = "TimeoutError")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    place: Place,
}

impl Elapsed {
    /// Where the timeout was made.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the time has passed that the timeout at {} gives", Escaped(self.place))
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

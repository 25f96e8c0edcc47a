//! Work with a deadline, as one function call around a cancel scope.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_context::{Escaped, Place};
use picot_loop::{Instant, LoopHandle};
use pin_project_lite::pin_project;

use crate::cancel::{CancelScope, Run};

/// Runs `future` for at most `duration` (asyncio's `timeout` and `wait_for`).
///
/// `None` means no limit. Zero expires after the first poll, so that a future that is ready at once
/// still returns its value. A value that comes in the same turn as the deadline counts. To move the
/// deadline, use a [`CancelScope`].
///
/// # Errors
/// [`Elapsed`] if the time has passed. The future has been dropped by then. A task that the future
/// awaited is cancelled, and is dropped at its next step.
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// The future is dropped.
///
/// ```
/// use std::time::Duration;
///
/// let outcome = picot_loop::run(async {
///     picot_tasks::timeout(Duration::from_millis(1), std::future::pending::<()>()).await
/// });
/// assert!(outcome.is_err());
/// ```
#[doc(alias = "wait_for")]
#[doc(alias = "fail_after")]
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: impl Into<Option<Duration>>, future: F) -> Timeout<F::IntoFuture> {
    let duration = duration.into();
    Timeout { run: CancelScope::with_timeout(duration).run(future), duration, place: Location::caller() }
}

/// Runs `future` until `deadline` at most. Otherwise it is as [`timeout`].
///
/// # Errors
/// [`Elapsed`] if the deadline has passed.
///
/// # Panics
/// When polled, if this thread has no loop.
///
/// # If dropped
/// The future is dropped.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::Instant;
///
/// picot_loop::run(async {
///     let deadline = Instant::now() + Duration::from_millis(1);
///     assert!(picot_tasks::timeout_at(deadline, std::future::pending::<()>()).await.is_err());
/// });
/// ```
#[doc(alias = "fail_at")]
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: impl Into<Option<Instant>>, future: F) -> Timeout<F::IntoFuture> {
    Timeout { run: CancelScope::with_deadline(deadline).run(future), duration: None, place: Location::caller() }
}

/// Runs `future` for at most `duration`, and returns `None` if it has not ended by then (trio's
/// `move_on_after`).
///
/// Passing the limit is not an error. Otherwise it is as [`timeout`].
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// The future is dropped.
///
/// ```
/// use std::time::Duration;
///
/// picot_loop::run(async {
///     let never = std::future::pending::<u32>();
///     let answer = picot_tasks::move_on_after(Duration::from_millis(1), never);
///     println!("{}", answer.await.unwrap_or(42));
/// });
/// ```
#[track_caller]
pub fn move_on_after<F: IntoFuture>(duration: impl Into<Option<Duration>>, future: F) -> MoveOn<F::IntoFuture> {
    MoveOn { run: CancelScope::with_timeout(duration).run(future) }
}

/// Runs `future` until `deadline` at most, and returns `None` if it has not ended by then.
///
/// Otherwise it is as [`move_on_after`].
///
/// # Panics
/// When polled, if this thread has no loop.
///
/// # If dropped
/// The future is dropped.
///
/// ```
/// picot_loop::run(async {
///     let deadline = picot_loop::Instant::now();
///     assert_eq!(picot_tasks::move_on_at(deadline, std::future::pending::<()>()).await, None);
/// });
/// ```
#[track_caller]
pub fn move_on_at<F: IntoFuture>(deadline: impl Into<Option<Instant>>, future: F) -> MoveOn<F::IntoFuture> {
    MoveOn { run: CancelScope::with_deadline(deadline).run(future) }
}

pin_project! {
    /// Work with a deadline; made by [`timeout`] and [`timeout_at`].
    ///
    /// ```
    /// picot_loop::run(async {
    ///     assert_eq!(picot_tasks::timeout(None, async { 1 }).await, Ok(1));
    /// });
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Timeout<F> {
        #[pin]
        run: Run<F>,
        // For the error; `None` for a point in time.
        duration: Option<Duration>,
        place: Place,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (duration, place) = (*this.duration, *this.place);
        // Only this future has the scope, so only the deadline cancels it.
        this.run.poll(cx).map_err(|_| {
            let is_virtual = LoopHandle::try_current().is_ok_and(|handle| handle.has_virtual_clock());
            Elapsed { duration, place, is_virtual }
        })
    }
}

pin_project! {
    /// Work with a deadline that is not an error; made by [`move_on_after`] and [`move_on_at`].
    ///
    /// ```
    /// picot_loop::run(async {
    ///     assert_eq!(picot_tasks::move_on_after(None, async { 1 }).await, Some(1));
    /// });
    /// ```
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

/// The error of work that its timeout has ended (asyncio's `TimeoutError`). By `?` it becomes an
/// `io::Error` of the kind `TimedOut`.
///
/// ```
/// use std::time::Duration;
///
/// picot_loop::run(async {
///     let never = std::future::pending::<()>();
///     let elapsed = picot_tasks::timeout(Duration::from_millis(1), never).await.unwrap_err();
///     assert!(elapsed.to_string().starts_with("timed out after 1ms (timeout set at "));
/// });
/// ```
#[doc(alias = "TimeoutError")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// `None` if the timeout was set for a point in time.
    duration: Option<Duration>,
    place: Place,
    /// Whether the time passed on a virtual clock: then the program did not wait that long.
    is_virtual: bool,
}

impl Elapsed {
    /// Returns the source location of the call that made the timeout.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let never = std::future::pending::<()>();
    ///     let elapsed = picot_tasks::timeout(std::time::Duration::ZERO, never).await.unwrap_err();
    ///     assert!(elapsed.place().file().ends_with(".rs"));
    /// });
    /// ```
    pub fn place(&self) -> Place {
        self.place
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")?;
        if let Some(duration) = self.duration {
            write!(f, " after {duration:?}")?;
        }
        if self.is_virtual {
            f.write_str(" on the virtual clock")?;
        }
        write!(f, " (timeout set at {})", Escaped(self.place))
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

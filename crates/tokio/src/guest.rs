//! The guest: a future of tokio's that makes the loop's turns.
//!
//! The invariant is the order: clear the readiness of the descriptors, then make turns, then ask
//! the loop how long it may wait. What happens during a turn makes the descriptor ready again, and
//! what happens after the question does, too. So no wake-up is lost, and no wait needs a limit.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_loop::{EventLoop, RunError, TurnsUntilComplete};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::error::GuestError;
use crate::waits::Waits;

/// The number of steps after which the guest yields to tokio's tasks. The same number as tokio's
/// for its own tasks between two looks at the main future and at its driver.
const STEPS_PER_POLL: usize = 61;

/// Runs `event_loop` inside of the current tokio runtime until `main` is done: as
/// [`run_until_complete`](EventLoop::run_until_complete), but tokio's tasks run meanwhile, too.
///
/// The runtime must run on this thread alone: the current-thread flavour, with or without a
/// `LocalSet`, or a `LocalRuntime`. `main` runs as a picot task with the name `main`, and may
/// borrow. Tasks that are not done stay for the next run or for the end of the loop.
///
/// tokio's cooperative budget holds for all of picot's steps between two looks at tokio's tasks: an
/// operation of tokio's beyond it is pending, and completes in a later turn.
///
/// # Errors
/// See [`GuestError`].
///
/// # Panics
/// When awaited: with the panic of `main`. If the runtime was built without `enable_io`, or, on
/// systems other than Linux, without `enable_time`.
///
/// # If dropped
/// `main` is dropped. The loop's other tasks stay, and do not run.
///
/// ```
/// use picot_loop::EventLoop;
/// use picot_tokio::run_guest;
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let event_loop = EventLoop::new()?;
///     let text = String::from("borrowed");
///     let length = run_guest(&event_loop, async {
///         tokio::task::yield_now().await;
///         picot_loop::yield_now().await;
///         text.len()
///     });
///     assert_eq!(length.await?, 8);
///     Ok(())
/// }
/// ```
#[track_caller]
pub fn run_guest<F: IntoFuture>(event_loop: &EventLoop, main: F) -> RunGuest<'_, F::IntoFuture> {
    RunGuest { event_loop, run: Some(event_loop.turns_until_complete(main)), waits: None }
}

/// The future of [`run_guest`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let event_loop = picot_loop::EventLoop::new()?;
/// let guest: picot_tokio::RunGuest<'_, _> = picot_tokio::run_guest(&event_loop, async { 7 });
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// assert_eq!(runtime.block_on(guest)?, 7);
/// # Ok(())
/// # }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct RunGuest<'a, F: Future> {
    event_loop: &'a EventLoop,
    /// `None` once it is over.
    run: Option<Result<TurnsUntilComplete<'a, F>, RunError>>,
    /// Made at the first poll: only then does a runtime have to be there.
    waits: Option<Waits<'a>>,
}

impl<F: Future> RunGuest<'_, F> {
    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Result<F::Output, GuestError>> {
        let run = match self.run.as_mut().expect("the future of `run_guest` is not polled after it is done") {
            Ok(run) => run,
            Err(error) => return Poll::Ready(Err((*error).into())),
        };
        let waits = match &mut self.waits {
            Some(waits) => waits,
            none => {
                check_runtime()?;
                none.insert(Waits::new(self.event_loop)?)
            }
        };
        // Before the turn: an event that the turn no longer collects is a new edge.
        waits.clear(cx)?;
        let mut steps = 0;
        loop {
            match run.turn(Some(Duration::ZERO))? {
                ControlFlow::Break(output) => return Poll::Ready(Ok(output)),
                // At least one, so that turns without steps end here, too.
                ControlFlow::Continue(count) => steps += count.max(1),
            }
            match self.event_loop.next_timeout() {
                Some(Duration::ZERO) if steps < STEPS_PER_POLL => {}
                Some(Duration::ZERO) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                timeout => {
                    waits.wait(timeout, cx)?;
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Returns an error unless tokio runs its tasks on this thread.
fn check_runtime() -> Result<(), GuestError> {
    let runtime = Handle::try_current().map_err(|_| GuestError::NoRuntime)?;
    match runtime.runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(()),
        _ => Err(GuestError::MultiThread),
    }
}

impl<F: Future> Future for RunGuest<'_, F> {
    type Output = Result<F::Output, GuestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.poll_turns(cx);
        if poll.is_ready() {
            // The descriptor leaves tokio's driver here, while the runtime is sure to exist.
            self.waits = None;
            self.run = None;
        }
        poll
    }
}

impl<F: Future> fmt::Debug for RunGuest<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunGuest").field("event_loop", self.event_loop).finish_non_exhaustive()
    }
}

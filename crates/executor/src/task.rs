//! The handle of a task, and the three ways to wait with it.
//!
//! Who waits is kept in the executor's table, not in `async-task`'s own slot: that one is made for other threads, costs
//! several atomic operations a wait, and aborts the process if a waker panics.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use picot_context::{Place, TaskId};

use crate::body::Outcome;
use crate::error::{CancelReason, JoinError};
use crate::shared::Meta;

/// A task that was spawned.
///
/// - Dropping the handle detaches the task: it runs on.
/// - `task.await` waits for its end and takes the handle. Dropping that wait unfinished cancels the task, so a timeout or
///   a lost race takes it along (as asyncio's `await task`).
/// - `(&mut task).await` only watches: dropping it does nothing.
/// - [`cancel`](Task::cancel) asks for its end, [`cancelled`](Task::cancelled) waits for it.
///
/// ```
/// use picot_executor::Executor;
///
/// let executor = Executor::new();
/// executor.block_on(async {
///     let task = executor.spawn(std::future::pending::<()>());
///     assert!(task.cancel("not needed any more"));
///     let error = task.await.unwrap_err();
///     assert_eq!(error.reason().unwrap().as_str(), "not needed any more");
/// });
/// ```
#[must_use = "a task runs on when its handle is dropped; write `let _ =` or `drop(…)` where that is meant"]
pub struct Task<T> {
    /// `None` once the outcome was taken.
    handle: Option<async_task::Task<Outcome<T>, Meta>>,
    /// It speaks of one thread: what it waits with is kept there.
    _thread: PhantomData<*const ()>,
}

impl<T> Unpin for Task<T> {}

impl<T> Task<T> {
    pub(crate) fn new(handle: async_task::Task<Outcome<T>, Meta>) -> Task<T> {
        Task { handle: Some(handle), _thread: PhantomData }
    }

    fn handle(&self) -> &async_task::Task<Outcome<T>, Meta> {
        self.handle.as_ref().expect("the outcome of this task was taken already")
    }

    fn meta(&self) -> &Meta {
        self.handle().metadata()
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.meta().id
    }

    /// The name that was given to the task, while it has not ended.
    pub fn name(&self) -> Option<String> {
        if self.is_finished() {
            return None;
        }
        self.meta().info().given_name().map(str::to_string)
    }

    /// Where the task was spawned.
    pub fn place(&self) -> &'static Location<'static> {
        self.meta().place as Place
    }

    /// Whether the task has ended, in whatever way; then waiting for it does not suspend.
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(async_task::Task::is_finished)
    }

    /// Asks for the task to be cancelled, and says whether it still could be: `false` if it has ended.
    ///
    /// The future is dropped at the task's next step, on the executor's thread, never inside of this function. It cannot
    /// refuse; only if it returns from the poll that runs right now, its value stands. The reason goes to whoever waits;
    /// the first one stays.
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.is_finished() {
            return false;
        }
        self.meta().cancel(reason.into());
        true
    }

    /// Cancels the task and waits until its future has been dropped. Gives what the task ended with if it had ended
    /// before, by a value or by a panic, and `None` if it was cancelled.
    ///
    /// # If dropped
    /// The task is cancelled all the same; nobody waits for it any more.
    pub fn cancelled(self) -> Cancelled<T> {
        self.cancel("its handle waits for its end");
        Cancelled { task: self }
    }

    fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        let handle = self.handle.as_mut().expect("the outcome of this task was taken already");
        if !handle.is_finished() {
            return handle.metadata().register(cx.waker()).map(Err);
        }
        // Finished means completed: only the executor drops runnables, and it does not.
        match Pin::new(handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => {
                self.detach();
                Poll::Ready(outcome.into_result().inspect_err(JoinError::claim))
            }
            Poll::Pending => unreachable!("a finished task has an outcome"),
        }
    }

    /// Lets go of the task without cancelling it, which `async-task` would do.
    fn detach(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.detach();
        }
    }
}

impl Meta {
    /// Makes `waker` the one to be woken at the task's end. An error if that would be the task's own.
    fn register(&self, waker: &Waker) -> Poll<JoinError> {
        let local = self.local();
        if local.running.get() && local.current.get() == Some(self.id) {
            return Poll::Ready(JoinError::itself(self.info()));
        }
        let slot = self.slot as usize;
        let known = local.table.borrow_mut().get_mut(slot).joiner.as_ref().is_some_and(|old| old.will_wake(waker));
        if !known {
            // Both cloning and dropping a waker may run anybody's code, so the table is not borrowed then.
            let waker = waker.clone();
            let old = local.table.borrow_mut().get_mut(slot).joiner.replace(waker);
            drop(old);
        }
        Poll::Pending
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Watches the task: gives its outcome, once.
///
/// # If dropped
/// Nothing happens; the task runs on, and can be waited for again.
///
/// # Panics
/// If the outcome was taken already.
impl<T> Future for &mut Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_join(cx)
    }
}

impl<T> IntoFuture for Task<T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = Join<T>;

    fn into_future(self) -> Join<T> {
        Join { task: self }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.handle {
            Some(handle) => {
                let meta = handle.metadata();
                f.debug_struct("Task")
                    .field("id", &meta.id)
                    .field("finished", &handle.is_finished())
                    .finish_non_exhaustive()
            }
            None => f.write_str("Task(taken)"),
        }
    }
}

/// Waits for a task: what `task.await` makes.
///
/// # If dropped
/// The task is cancelled, if it has not ended.
#[derive(Debug)]
#[must_use = "dropping this cancels the task"]
pub struct Join<T> {
    task: Task<T>,
}

impl<T> Future for Join<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.poll_join(cx)
    }
}

impl<T> Drop for Join<T> {
    fn drop(&mut self) {
        self.task.cancel("the wait for it was dropped");
    }
}

/// Waits until a cancelled task has ended; see [`Task::cancelled`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Cancelled<T> {
    task: Task<T>,
}

impl<T> Future for Cancelled<T> {
    type Output = Option<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.poll_join(cx).map(|outcome| match outcome {
            Err(error) if error.is_cancelled() => None,
            outcome => Some(outcome),
        })
    }
}

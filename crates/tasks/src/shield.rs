//! Work that continues when the wait for it is dropped.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use picot_loop::{JoinError, Task, TaskId, spawn};

/// Spawns `future` on the loop and waits for it; dropping the wait does not cancel the work
/// (asyncio's `shield`).
///
/// The work starts whether this is awaited or not. It is a task of the loop: `LoopHandle::tasks`
/// lists it, the error hook gets its panic if the wait is gone, and a loop that closes before its
/// end drops it and names it in the close report. For work that borrows, use
/// [`Scope::shield`](crate::Scope::shield). A task that was spawned before needs no shield: `(&mut
/// task).await` watches it without cancelling it.
///
/// # Errors
/// [`JoinError`] if the work panicked or was [cancelled](Shield::cancel).
///
/// # Panics
/// If this thread has no loop, or if the loop is closed.
///
/// # If dropped
/// The work continues.
///
/// ```
/// use std::time::Duration;
/// use picot_tasks::{shield, timeout};
///
/// picot_loop::run(async {
///     let mut save = shield(async {
///         picot_loop::sleep(Duration::from_millis(5)).await;
///         "saved"
///     });
///     let _ = timeout(Duration::from_millis(1), &mut save).await;
///     assert_eq!(save.await.unwrap(), "saved");
/// });
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> Shield<F::Output>
where
    F: IntoFuture<Output: 'static, IntoFuture: 'static>,
{
    Shield { task: spawn(future.into_future()) }
}

/// Waits for shielded work; made by [`shield()`](shield()).
///
/// ```
/// picot_loop::run(async {
///     assert_eq!(picot_tasks::shield(async { 1 }).await.unwrap(), 1);
/// });
/// ```
#[must_use = "the work continues without this; write `let _ =` or `drop(…)` if you intend that"]
pub struct Shield<T> {
    task: Task<T>,
}

impl<T> Shield<T> {
    /// Returns the task's id.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let save = picot_tasks::shield(async {});
    ///     let id = save.id();
    ///     assert_eq!(save.into_task().id(), id);
    /// });
    /// ```
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// Cancels the work after all, as [`Task::cancel`] does. Returns `false` if it has ended.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let save = picot_tasks::shield(std::future::pending::<()>());
    ///     save.cancel("the disk is gone");
    ///     assert!(save.await.unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn cancel(&self, reason: impl Into<picot_loop::CancelReason>) -> bool {
        self.task.cancel(reason)
    }

    /// Returns the task, whose wait cancels it if it is dropped.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let task = picot_tasks::shield(async { 1 }).into_task();
    ///     assert_eq!(task.await.unwrap(), 1);
    /// });
    /// ```
    pub fn into_task(self) -> Task<T> {
        self.task
    }
}

impl<T> Future for Shield<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut &mut self.task).poll(cx)
    }
}

impl<T> fmt::Debug for Shield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("task", &self.task).finish()
    }
}

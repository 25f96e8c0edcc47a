//! Work that goes on when the wait for it is dropped.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use picot_loop::{JoinError, Task, TaskId, spawn};

/// Gives `future` to the loop, and waits for it; dropping the wait does not end the work (asyncio's `shield`). It starts by
/// itself, whether this is awaited or not.
///
/// It is a task of the loop's, not an orphan: it is listed by `LoopHandle::tasks`, its panic is reported if nobody waits
/// any more, and a loop that is closed before its end drops it and names it in the close report. Work that borrows is
/// shielded by [`Scope::shield`](crate::Scope::shield). A task that is there already needs no shield: `(&mut task).await`
/// only watches.
///
/// # Errors
/// [`JoinError`] if the work panicked, or was [cancelled](Shield::cancel).
///
/// # Panics
/// If this thread has no loop, or it is closed.
///
/// # If dropped
/// The work goes on.
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
#[must_use = "the work goes on without this; write `let _ =` or `drop(…)` where that is meant"]
pub struct Shield<T> {
    task: Task<T>,
}

impl<T> Shield<T> {
    /// The number of the task.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// Ends the work after all; as [`Task::cancel`].
    pub fn cancel(&self, reason: impl Into<picot_loop::CancelReason>) -> bool {
        self.task.cancel(reason)
    }

    /// The task itself.
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

//! The handle of a task, and the three ways to wait with it.
//!
//! Who waits is kept in the executor's table, not in `async-task`'s own slot: that one is made for other threads, costs
//! several atomic operations a wait, and aborts the process if a waker panics.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use picot_context::{Place, TaskId, TaskInfo};

use crate::body::Outcome;
use crate::error::{CancelReason, JoinError};
use crate::report::Scene;
use crate::shared::{Meta, Phase, Shared, flag};
use crate::table::Joiner;

/// A task that was spawned.
///
/// - Dropping the handle detaches the task: it runs on.
/// - `task.await` waits for its end and takes the handle. Dropping that wait unfinished cancels the task, so a timeout or
///   a lost race takes it along (as asyncio's `await task`).
/// - `(&mut task).await` only watches: dropping it does nothing.
/// - [`cancel`](Task::cancel) asks for its end, [`cancelled`](Task::cancelled) waits for it.
/// - [`cancel_on_drop`](Task::cancel_on_drop) makes a handle whose drop cancels, awaited or not.
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

// The outcome is only ever moved out of it.
impl<T> UnwindSafe for Task<T> {}
impl<T> RefUnwindSafe for Task<T> {}

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
        self.handle.as_ref().is_none_or(|handle| handle.metadata().is(flag::ENDED) || handle.is_finished())
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

    /// A handle whose drop cancels the task, whether it was awaited or not: for tasks that must not outlive their owner.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let owned = executor.spawn(std::future::pending::<()>()).cancel_on_drop();
    /// drop(owned);
    /// executor.run_until_stalled();
    /// assert!(executor.spawner().tasks().is_empty());
    /// ```
    #[doc(alias = "abort_on_drop")]
    pub fn cancel_on_drop(self) -> Join<T> {
        self.into_future()
    }

    fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        self.poll_join_with(cx.waker()).map(|outcome| outcome.inspect_err(JoinError::claim))
    }

    /// As a poll, but that nobody is told of a panic yet.
    pub(crate) fn poll_join_with(&mut self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        if self.handle().is_finished() {
            return Poll::Ready(self.take_outcome());
        }
        match self.check_wait() {
            Some(error) => Poll::Ready(Err(error)),
            None => self.meta().register(waker).map(Err),
        }
    }

    /// Looks at who waits, if that is a task of this executor: an error if it is this one, and a report if it keeps this one
    /// from running.
    pub(crate) fn check_wait(&self) -> Option<JoinError> {
        let (meta, local) = (self.meta(), self.meta().local());
        let (current, _) = local.current()?;
        if current == meta.id {
            return Some(JoinError::itself(meta.info()));
        }
        if local.is_holder(current) {
            local.report_wait_for_held(meta.info());
        }
        None
    }

    /// Takes the outcome of a task that is finished, which is as much as completed: only the executor drops runnables, and
    /// it does not.
    pub(crate) fn take_outcome(&mut self) -> Result<T, JoinError> {
        let mut handle = self.handle.take().expect("the outcome of this task was taken already");
        let Poll::Ready(outcome) = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) else {
            unreachable!("a finished task has an outcome")
        };
        // Let go of, not dropped, which would try to cancel it.
        handle.detach();
        outcome.expect("a task that has a handle leaves its outcome")
    }

    pub(crate) fn owner(&self) -> &Arc<Shared> {
        &self.meta().owner
    }

    /// Makes `waker` the one that is woken when the task has ended.
    pub(crate) fn set_joiner(&self, waker: &Waker) {
        let _ = self.meta().register(waker);
    }
}

impl Meta {
    /// Makes `waker` the one to be woken at the task's end. An error if that never comes.
    fn register(&self, waker: &Waker) -> Poll<JoinError> {
        let local = self.local();
        if self.is(flag::ENDED) {
            // Somebody whom its last step has dropped or polled asks, before that step is over.
            waker.wake_by_ref();
            return Poll::Pending;
        }
        if local.phase.get() == Phase::Closed {
            let reason = CancelReason::new("the loop that ran it was closed, and its future could not be dropped");
            return Poll::Ready(JoinError::cancelled(self.info(), reason));
        }
        let mut table = local.table.borrow_mut();
        let joiner = local.current().and_then(|(_, slot)| table.wake_key(slot, waker, &local.first)).map(Joiner::Task);
        let present = &mut table.side(self).joiner;
        let known = matches!(&present, Some(Joiner::Other(old)) if old.will_wake(waker));
        // Both cloning and dropping a waker may run anybody's code, so the table is not borrowed then.
        let old = if let Some(joiner) = joiner {
            let old = present.replace(joiner);
            drop(table);
            old
        } else if known {
            None
        } else {
            drop(table);
            let joiner = Joiner::Other(waker.clone());
            local.table.borrow_mut().side(self).joiner.replace(joiner)
        };
        if let Some(Joiner::Other(old)) = old {
            // It is somebody else's, who must not end the one that asks now.
            local.drop_waker(old);
        }
        Poll::Pending
    }
}

impl<T> Drop for Task<T> {
    /// Lets go of the task. An outcome that is there is dropped with it, and a panic in that is reported.
    fn drop(&mut self) {
        let Some(handle) = self.handle.as_ref() else { return };
        handle.metadata().set(flag::DETACHED);
        if std::mem::needs_drop::<T>() && handle.is_finished() {
            return drop_outcome(self);
        }
        if let Some(handle) = self.handle.take() {
            handle.detach();
        }
    }
}

#[cold]
fn drop_outcome<T>(task: &mut Task<T>) {
    let (id, place, shared) = (task.id(), task.meta().place, task.owner().clone());
    let outcome = task.take_outcome();
    let (Err(payload), Some(local)) = (picot_context::catch(move || drop(outcome)), shared.local.get()) else { return };
    // Its name is gone with its entry in the table.
    local.reports.task_panicked(TaskInfo::new(id, None, place), Scene::now(), payload, false);
    if local.phase.get() == Phase::Closed {
        // No turn comes any more.
        local.reports.deliver();
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

/// A handle whose drop cancels its task, and that waits for it when it is awaited: what `task.await` and
/// [`cancel_on_drop`](Task::cancel_on_drop) make. The methods of [`Task`] that need no ownership are there, too.
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

impl<T> Deref for Join<T> {
    type Target = Task<T>;

    fn deref(&self) -> &Task<T> {
        &self.task
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

//! A second handle of a task, which can only cancel it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use picot_context::TaskId;

use crate::error::CancelReason;
use crate::shared::{Local, Phase, Shared};

/// Cancels a task, and knows whether it has ended; made by [`Task::cancel_handle`].
///
/// It can be cloned, and given to code that must not take the task's outcome, while the [`Task`]
/// itself is awaited. It keeps nothing of the task alive, and dropping it has no effect.
///
/// [`Task`]: crate::Task
/// [`Task::cancel_handle`]: crate::Task::cancel_handle
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let task = executor.spawn(std::future::pending::<()>());
/// let handle: picot_executor::CancelHandle = task.cancel_handle();
/// let _ = executor.spawn(async move { handle.cancel("the user has left") });
/// let error = executor.block_on(async { task.await.unwrap_err() });
/// assert_eq!(error.reason().unwrap().as_str(), "the user has left");
/// ```
#[derive(Clone)]
#[doc(alias = "AbortHandle")]
pub struct CancelHandle {
    shared: Arc<Shared>,
    slot: u32,
    id: TaskId,
    /// Makes the type `!Send` and `!Sync`: it uses the executor's own half.
    _thread: PhantomData<*const ()>,
}

impl CancelHandle {
    pub(crate) fn new(shared: Arc<Shared>, slot: u32, id: TaskId) -> CancelHandle {
        CancelHandle { shared, slot, id, _thread: PhantomData }
    }

    fn local(&self) -> &Local {
        self.shared.local.get().expect("local handles stay on the executor's thread")
    }

    /// The task's id.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async {});
    /// assert_eq!(task.cancel_handle().id(), task.id());
    /// ```
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Whether the task has ended, by a value, a panic or a cancel.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let handle = executor.spawn(async {}).cancel_on_drop().cancel_handle();
    /// assert!(!handle.is_finished());
    /// executor.run_until_stalled();
    /// assert!(handle.is_finished());
    /// ```
    pub fn is_finished(&self) -> bool {
        self.local().table.borrow().find(self.slot, self.id).is_none()
    }

    /// Requests the task's cancellation, as [`Task::cancel`](crate::Task::cancel) does. Returns
    /// `false` if it has ended already.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(std::future::pending::<()>());
    /// assert!(task.cancel_handle().cancel("not needed"));
    /// executor.run_until_stalled();
    /// assert!(!task.cancel_handle().cancel("too late"));
    /// ```
    #[doc(alias = "abort")]
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        // Converted before the table is borrowed: it is user code.
        let reason = reason.into();
        let local = self.local();
        // During close, the close is the reason for every end.
        let reason = if local.phase.get() == Phase::Open { reason } else { CancelReason::LOOP_CLOSED };
        local.table.borrow_mut().cancel_in_slot(self.slot, self.id, reason)
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

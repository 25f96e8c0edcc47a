//! The metadata that `async-task` stores beside each task, and the action of a wake.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_task::Runnable;
use picot_context::{Details, TaskInfo};

use crate::error::CancelReason;
use crate::remote::item::RemoteItem;
use crate::shared::{Local, Phase, Shared};
use crate::task::state::{TaskState, flag};

/// The metadata of a task: its state, and the executor that owns it.
pub(crate) struct Meta {
    pub(crate) owner: Owner,
    state: TaskState,
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Meta>();
};

impl Deref for Meta {
    type Target = TaskState;

    #[inline]
    fn deref(&self) -> &TaskState {
        &self.state
    }
}

/// A task's reference to its executor. On the executor's thread a drop keeps the reference for the
/// next task, so that a spawn and an end there cost no atomic operation.
pub(crate) struct Owner(ManuallyDrop<Arc<Shared>>);

impl Owner {
    #[inline]
    pub(crate) fn new(shared: &Arc<Shared>, local: &Local) -> Owner {
        let spare = local.spare.get();
        if spare == 0 {
            return Owner(ManuallyDrop::new(shared.clone()));
        }
        local.spare.set(spare - 1);
        // SAFETY: `shared` is the executor of `local` (see `make_task`). Each spare reference that
        // `local` counts is a strong reference that was forgotten, and this takes over one of them.
        Owner(ManuallyDrop::new(unsafe { Arc::from_raw(Arc::as_ptr(shared)) }))
    }
}

impl Deref for Owner {
    type Target = Arc<Shared>;

    #[inline]
    fn deref(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Owner {
    #[inline]
    fn drop(&mut self) {
        if let Some(local) = self.0.local.get() {
            if local.phase.get() != Phase::Closed {
                return local.spare.set(local.spare.get() + 1);
            }
        }
        // SAFETY: This is the drop of the owner, so nothing uses the reference afterwards.
        unsafe { ManuallyDrop::drop(&mut self.0) }
    }
}

impl Meta {
    pub(crate) fn new(owner: Owner, state: TaskState) -> Meta {
        Meta { owner, state }
    }

    /// The executor's half of this thread. Steps and local handles exist on that thread only.
    #[inline]
    pub(crate) fn local(&self) -> &Local {
        self.owner.local.get().expect("local handles and steps stay on the executor's thread")
    }

    #[inline]
    pub(crate) fn details(&self) -> Option<Rc<Details>> {
        if !self.is(flag::HAS_DETAILS) || self.is(flag::ENDED) {
            return None;
        }
        self.details_of_table()
    }

    #[cold]
    fn details_of_table(&self) -> Option<Rc<Details>> {
        self.local().table.borrow().details(self.slot).cloned()
    }

    /// The description of a task that has not ended.
    pub(crate) fn info(&self) -> TaskInfo {
        let details = self.details();
        TaskInfo::new(self.id, details.as_deref().and_then(Details::name), self.place)
    }

    /// Marks the task to be cancelled at its next step, and queues that step. The first reason
    /// stays. Does nothing to a task that has ended, whose slot may belong to another.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        if self.is(flag::ENDED) {
            return;
        }
        self.set(flag::CANCELLED);
        // During close, the close is the reason for every end.
        let reason = if self.local().phase.get() == Phase::Open { reason } else { CancelReason::LOOP_CLOSED };
        self.local().table.borrow_mut().cancel(self, reason);
    }
}

/// A task that is ready to run. Dropping this leaks the task, because its future may only be
/// dropped in a step of its own.
pub(crate) struct Ready(ManuallyDrop<Runnable<Meta>>);

impl Ready {
    #[inline]
    pub(crate) fn new(runnable: Runnable<Meta>) -> Ready {
        Ready(ManuallyDrop::new(runnable))
    }

    #[inline]
    pub(crate) fn meta(&self) -> &Meta {
        self.0.metadata()
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn into_runnable(self) -> Runnable<Meta> {
        ManuallyDrop::into_inner(self.0)
    }

    /// Polls the task's future. The caller has [begun](crate::run::current::Steps::begin_task) its
    /// step.
    #[inline]
    pub(crate) fn poll(self) {
        ManuallyDrop::into_inner(self.0).run();
    }
}

/// Queues the task: what each of its wakers does. It never runs or drops user code.
#[inline(never)]
pub(crate) fn schedule(runnable: Runnable<Meta>) {
    let shared = NonNull::from(&*runnable.metadata().owner);
    // SAFETY: The runnable keeps its metadata alive, and with it the `Arc` behind this reference,
    // until it has run. It runs on the executor's thread, which is this one, so not before the push
    // has returned.
    if let Some(local) = unsafe { shared.as_ref() }.local.get() {
        return local.queue.push_task(Ready::new(runnable));
    }
    schedule_elsewhere(Ready::new(runnable));
}

/// Out of line, so that a wake on the executor's own thread needs no stack frame.
#[cold]
#[inline(never)]
fn schedule_elsewhere(task: Ready) {
    // The task may run and end as soon as it is pushed, so this holds its own reference to the
    // inbox.
    let shared = Arc::clone(&task.meta().owner);
    if shared.hand_over(RemoteItem::Task(task)).is_err() {
        // The inbox is closed and returned the task. It is leaked: the error holds a `Ready`, whose
        // drop drops no future.
        shared.leaked.fetch_add(1, Ordering::Relaxed);
    }
}

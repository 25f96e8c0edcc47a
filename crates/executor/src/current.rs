//! The task whose step runs on this thread: told to its future by a pointer here, so that no task has to hold its own.
//!
//! The invariant: whatever stands here has not ended. Each step replaces it, the last step of a task takes it away, and
//! whoever runs steps inside of a step puts back what was there, both also while unwinding.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use picot_context::{Details, Frame, Step, TaskId};

use crate::shared::{Local, Meta};

thread_local! {
    static CURRENT: Cell<Option<NonNull<Meta>>> = const { Cell::new(None) };
}

/// One step after the other; what ran around them runs again afterwards.
pub(crate) struct Steps {
    frame: Frame,
    outer: Option<NonNull<Meta>>,
}

impl Steps {
    #[inline]
    pub(crate) fn new() -> Steps {
        Steps { frame: Frame::new(), outer: CURRENT.take() }
    }

    /// Begins a step of a task, which the caller is to poll.
    #[inline]
    pub(crate) fn begin_task(&self, meta: &Meta) {
        self.frame.begin(meta.step(), meta.details());
        CURRENT.set(Some(NonNull::from(meta)));
    }

    /// Begins a step of the root or of a callback.
    pub(crate) fn begin(&self, step: Step, details: Option<Rc<Details>>) {
        self.frame.begin(step, details);
        CURRENT.set(None);
    }
}

impl Drop for Steps {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// The metadata of the task that is polled, for the task itself.
///
/// # Safety
/// The caller is the body of a task, at the begin of its poll, and does not keep this beyond that.
///
/// # Panics
/// If no task's step has begun.
#[inline]
pub(crate) unsafe fn polled<'a>() -> &'a Meta {
    let meta = CURRENT.get().expect("a task is polled in its step only");
    // SAFETY: The step that has begun is that of the task which is polled now, as our caller is its body; and whoever polls a
    // task keeps it, with its metadata, until the poll has returned.
    unsafe { meta.as_ref() }
}

/// The end of a task's last step: at its drop no task is the current one any more.
pub(crate) struct Last;

impl Drop for Last {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl Local {
    /// The task of this executor whose step runs, the root included, and its slot in the table.
    pub(crate) fn current(&self) -> Option<(TaskId, u32)> {
        if !self.running.get() {
            return None;
        }
        let Some(meta) = CURRENT.get() else { return self.root.polled() };
        // SAFETY: What stands there has not ended, so something keeps it: the table from the first time on that it is pending,
        // and before that, and in its last step, whoever polls it.
        let meta = unsafe { meta.as_ref() };
        std::ptr::eq(meta.local(), self).then_some((meta.id, meta.slot))
    }
}

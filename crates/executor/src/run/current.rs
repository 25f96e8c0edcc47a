//! The task whose step runs on this thread: told to its future by a pointer here, so that no task has to hold its own.
//!
//! The invariant: whatever stands here has not ended. Each step replaces it, the last step of a task takes it away, and
//! whoever runs steps inside of a step puts back what was there, both also while unwinding.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use picot_context::{Details, Frame, Step, TaskId};

use crate::shared::Local;
use crate::task::meta::Meta;
use crate::task::state::flag;

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
        if meta.is(flag::HAS_DETAILS) {
            self.begin_with_details(meta);
        } else {
            self.frame.begin(meta.step(), None);
        }
        CURRENT.set(Some(NonNull::from(meta)));
    }

    /// Out of line, so that the steps of all others need not look for any.
    #[inline(never)]
    fn begin_with_details(&self, meta: &Meta) {
        self.frame.begin(meta.step(), meta.details());
    }

    /// Begins a step of the root or of a callback.
    #[inline]
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
        if CURRENT.get().is_none() {
            return self.root.polled();
        }
        self.with_current(|meta| (meta.id, meta.slot))
    }

    /// Whether the step that runs is the last of its task, which has ended: what it drops now may still ask for things.
    pub(crate) fn has_current_ended(&self) -> bool {
        self.with_current(|meta| meta.is(flag::ENDED)) == Some(true)
    }

    /// Reads from the metadata of the task of this executor whose step runs.
    #[inline]
    fn with_current<R>(&self, read: impl FnOnce(&Meta) -> R) -> Option<R> {
        let meta = CURRENT.get()?;
        // SAFETY: What stands there is in a step, so something keeps it: the table from the first time on that it is pending,
        // and before that, and in its last step, whoever polls it.
        let meta = unsafe { meta.as_ref() };
        std::ptr::eq(meta.local(), self).then(|| read(meta))
    }
}

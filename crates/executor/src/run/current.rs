//! The task whose step runs on this thread.
//!
//! A pointer here leads a future to its own metadata, so that no task has to store it.
//!
//! The invariant: the task of the pointer has not ended. Each step replaces the pointer, the last
//! step of a task clears it, and code that runs steps inside a step restores it, also by unwinding.

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

/// Runs steps one after the other. Its drop restores the step that ran around them.
pub(crate) struct Steps {
    frame: Frame,
    outer: Option<NonNull<Meta>>,
}

impl Steps {
    #[inline]
    pub(crate) fn new() -> Steps {
        Steps { frame: Frame::new(), outer: CURRENT.take() }
    }

    /// Begins a step of a task, which the caller then polls.
    #[inline]
    pub(crate) fn begin_task(&self, meta: &Meta) {
        if meta.is(flag::HAS_DETAILS) {
            self.begin_with_details(meta);
        } else {
            self.frame.begin(meta.step(), None);
        }
        CURRENT.set(Some(NonNull::from(meta)));
    }

    /// Out of line, so that the common step, which has no details, stays short.
    #[inline(never)]
    fn begin_with_details(&self, meta: &Meta) {
        self.frame.begin(meta.step(), meta.details());
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

/// The metadata of the task that is polled, for its own body.
///
/// # Safety
/// The caller must be a task's body at the start of its poll, and must not keep this beyond it.
///
/// # Panics
/// If no task's step has begun.
#[inline]
pub(crate) unsafe fn polled<'a>() -> &'a Meta {
    let meta = CURRENT.get().expect("a task is polled in its step only");
    // SAFETY: The step that has begun is that of the polled task, because the caller is its body.
    // The poller keeps the task and its metadata alive until the poll returns.
    unsafe { meta.as_ref() }
}

/// Clears the current task when it is dropped, at the end of a task's last step.
pub(crate) struct Last;

impl Drop for Last {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl Local {
    /// The task of this executor whose step runs, or the root, with its slot.
    pub(crate) fn current(&self) -> Option<(TaskId, u32)> {
        if !self.running.get() {
            return None;
        }
        if CURRENT.get().is_none() {
            return self.root.polled();
        }
        self.with_current(|meta| (meta.id, meta.slot))
    }

    /// Whether the current step is the last of its task, which has ended. Values that it drops may
    /// still call in.
    pub(crate) fn has_current_ended(&self) -> bool {
        self.with_current(|meta| meta.is(flag::ENDED)) == Some(true)
    }

    /// Reads from the metadata of the task of this executor whose step runs.
    #[inline]
    fn with_current<R>(&self, read: impl FnOnce(&Meta) -> R) -> Option<R> {
        let meta = CURRENT.get()?;
        // SAFETY: The pointer's task is in a step, so it is alive: the table keeps it once it was
        // pending, and the poller before that and in its last step.
        let meta = unsafe { meta.as_ref() };
        std::ptr::eq(meta.local(), self).then(|| read(meta))
    }
}

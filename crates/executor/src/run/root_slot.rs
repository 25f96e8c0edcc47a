//! The executor's record of its root: which one, and whether it is queued.

use std::cell::Cell;

use picot_context::TaskId;

use crate::task::table::ROOT_SLOT;

/// The root of an executor, and whether it is in the queue.
#[derive(Default)]
pub(crate) struct RootSlot {
    pub(crate) id: Cell<Option<TaskId>>,
    /// Whether its step runs.
    pub(crate) is_polled: Cell<bool>,
    pub(crate) queued: Cell<bool>,
    /// Whether it is done, so that its caller waits for the end of the batch.
    pub(crate) is_done: Cell<bool>,
    /// The number of root items in the queue that belong to earlier roots. They come first.
    stale: Cell<usize>,
}

impl RootSlot {
    pub(crate) fn is_taken(&self) -> bool {
        self.id.get().is_some()
    }

    pub(crate) fn id(&self) -> Option<TaskId> {
        self.id.get()
    }

    /// The root and its slot, if its step runs.
    pub(crate) fn polled(&self) -> Option<(TaskId, u32)> {
        self.id.get().filter(|_| self.is_polled.get()).map(|id| (id, ROOT_SLOT))
    }

    pub(crate) fn end(&self) {
        self.id.set(None);
        self.is_done.set(false);
        self.stale.set(self.stale.get() + usize::from(self.queued.take()));
    }

    /// Takes note that a root item has reached the head of the queue. Returns whether it belongs to
    /// the present root.
    pub(crate) fn dequeue(&self) -> bool {
        let stale = self.stale.get();
        if stale != 0 {
            self.stale.set(stale - 1);
            return false;
        }
        self.queued.set(false);
        true
    }
}

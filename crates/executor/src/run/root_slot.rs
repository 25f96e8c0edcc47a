//! Which root an executor has, and where it stands.

use std::cell::Cell;

use picot_context::TaskId;

use crate::task::table::ROOT_SLOT;

/// Which root there is, and whether it stands in the queue.
#[derive(Default)]
pub(crate) struct RootSlot {
    pub(crate) id: Cell<Option<TaskId>>,
    /// Whether its step runs.
    pub(crate) is_polled: Cell<bool>,
    pub(crate) queued: Cell<bool>,
    /// How many of the queue's root items, which are the first ones, belong to roots that are gone.
    stale: Cell<usize>,
}

impl RootSlot {
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.id.get().is_some()
    }

    #[inline]
    pub(crate) fn id(&self) -> Option<TaskId> {
        self.id.get()
    }

    /// The root and its slot, if its step runs.
    pub(crate) fn polled(&self) -> Option<(TaskId, u32)> {
        self.id.get().filter(|_| self.is_polled.get()).map(|id| (id, ROOT_SLOT))
    }

    pub(crate) fn end(&self) {
        self.id.set(None);
        self.stale.set(self.stale.get() + usize::from(self.queued.take()));
    }

    /// A root item has reached the head of the queue. Returns whether it is the present root's.
    #[inline]
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

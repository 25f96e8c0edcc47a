//! Which exclusive section lasts, if one does.

use std::cell::{Cell, RefCell};

use picot_context::TaskId;

/// Which section lasts, and what it holds back.
#[derive(Default)]
pub(crate) struct SectionState {
    pub(crate) holder: Cell<Option<TaskId>>,
    /// The section's number: a guard that outlived its section ends none of the later ones.
    pub(crate) number: Cell<u64>,
    /// How many guards it has: the holder may enter again.
    pub(crate) guards: Cell<usize>,
    /// The held tasks whose wait by its own task was reported.
    pub(crate) reported: RefCell<Vec<TaskId>>,
}

impl SectionState {
    /// Gives the section's number, or nothing if another task is in one.
    pub(crate) fn enter(&self, task: TaskId) -> Option<u64> {
        match self.holder.get() {
            None => {
                self.holder.set(Some(task));
                self.number.set(self.number.get() + 1);
                self.guards.set(1);
            }
            Some(holder) if holder != task => return None,
            Some(_) => self.guards.set(self.guards.get() + 1),
        }
        Some(self.number.get())
    }
}

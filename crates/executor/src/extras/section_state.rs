//! Which exclusive section is active, if any.

use std::cell::{Cell, RefCell};

use picot_context::TaskId;

/// The exclusive section that is active, if any.
#[derive(Default)]
pub(crate) struct SectionState {
    pub(crate) holder: Cell<Option<TaskId>>,
    /// The section's number. A guard that outlived its section ends no later one.
    pub(crate) number: Cell<u64>,
    /// The number of its guards: the holder may enter again.
    pub(crate) guards: Cell<usize>,
    /// The held tasks that the holder waits for, and that were reported.
    pub(crate) reported: RefCell<Vec<TaskId>>,
}

impl SectionState {
    /// Enters a section. Returns its number, or `None` if another task holds one.
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

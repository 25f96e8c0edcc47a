//! The part of a task's metadata that does not refer to its executor.

use std::sync::atomic::{AtomicU8, Ordering};

use picot_context::{Place, Step, TaskId};

/// A task's identity and flags. Any thread may drop it. Only the executor's thread reads and writes
/// the flags, so relaxed loads and stores suffice, without read-modify-write operations.
pub(crate) struct TaskState {
    pub(crate) id: TaskId,
    pub(crate) place: Place,
    /// The task's slot in the table, valid until the task ends.
    pub(crate) slot: u32,
    flags: AtomicU8,
}

/// The flags of a [`TaskState`].
pub(crate) mod flag {
    /// The table holds details for the task.
    pub(crate) const HAS_DETAILS: u8 = 1;
    /// The future is to be dropped at the next step.
    pub(crate) const CANCELLED: u8 = 2;
    /// The task's handle is gone, so nothing takes the outcome.
    pub(crate) const DETACHED: u8 = 4;
    /// The task has left the table. Its slot may belong to another task.
    pub(crate) const ENDED: u8 = 8;
    /// The table holds a waker of the task. Before that, the queue keeps the task alive.
    pub(crate) const OWNED: u8 = 16;
    /// The table has [`RareState`](crate::task::table::RareState) for the task.
    pub(crate) const HAS_RARE_STATE: u8 = 32;
    /// An outcome that is an `Err` may be dropped without a report.
    pub(crate) const IGNORES_ERRORS: u8 = 64;
}

impl TaskState {
    pub(crate) fn new(place: Place, id: TaskId, slot: u32, has_details: bool) -> TaskState {
        let flags = if has_details { flag::HAS_DETAILS } else { 0 };
        TaskState { id, place, slot, flags: AtomicU8::new(flags) }
    }

    #[inline]
    pub(crate) fn flags(&self) -> u8 {
        self.flags.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags() & flag != 0
    }

    #[inline]
    pub(crate) fn set(&self, flag: u8) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | flag, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn step(&self) -> Step {
        Step::task(self.id, self.place)
    }
}

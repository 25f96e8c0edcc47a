//! The part of a task's metadata that knows nothing of its executor.

use std::sync::atomic::{AtomicU8, Ordering};

use picot_context::{Place, Step, TaskId};

/// What a task is called and how far it has come. It may be read and dropped on any thread; the flags are read and
/// written on the executor's thread only, so they need no ordering and no read-modify-write.
pub(crate) struct TaskState {
    pub(crate) id: TaskId,
    pub(crate) place: Place,
    /// The task's slot in the table, for as long as it has not ended.
    pub(crate) slot: u32,
    flags: AtomicU8,
}

/// The flags of a [`TaskState`].
pub(crate) mod flag {
    /// The table holds details for the task.
    pub(crate) const HAS_DETAILS: u8 = 1;
    /// The future is to be dropped at the next step.
    pub(crate) const CANCELLED: u8 = 2;
    /// Nobody has the task's handle any more, so nobody will take its outcome.
    pub(crate) const DETACHED: u8 = 4;
    /// The task has left the table: its slot may be another's.
    pub(crate) const ENDED: u8 = 8;
    /// The table keeps the task; before that, the queue that it stands in does.
    pub(crate) const OWNED: u8 = 16;
    /// The table has something of the task that most do not have.
    pub(crate) const HAS_SIDE: u8 = 32;
    /// An `Err` that is dropped without having been taken is no report.
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

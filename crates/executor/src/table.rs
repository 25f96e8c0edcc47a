//! The table of all tasks that have not ended: what makes the executor their owner.
//!
//! Each entry holds a waker of its task, so that the task stays alive until it ends, can be reached to be cancelled, and
//! is dropped at close. Looking things up by slot and id is all this does; no user code runs in here.

use std::collections::HashMap;
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Details, Place, TaskId, TaskInfo, Waiting};
use slab::Slab;

use crate::error::CancelReason;

pub(crate) struct Entry {
    pub(crate) id: TaskId,
    pub(crate) place: Place,
    /// The task itself; see above.
    pub(crate) waker: Waker,
    /// Whoever waits for the task to end.
    pub(crate) joiner: Option<Waker>,
    /// What most tasks do not have: a name, and locals.
    pub(crate) details: Option<Rc<Details>>,
    /// Why it is to be dropped at its next step, if it is.
    pub(crate) cancelled: Option<Box<CancelReason>>,
}

impl Entry {
    pub(crate) fn new(id: TaskId, place: Place, waker: Waker, details: Option<Rc<Details>>) -> Entry {
        Entry { id, place, waker, joiner: None, details, cancelled: None }
    }

    pub(crate) fn info(&self) -> TaskInfo {
        TaskInfo::new(self.id, self.details.as_ref().and_then(|details| details.name()), self.place)
    }
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Slab<Entry>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The slot that the next insertion uses.
    pub(crate) fn vacant_slot(&self) -> usize {
        self.entries.vacant_key()
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> usize {
        self.entries.insert(entry)
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut Entry {
        &mut self.entries[slot]
    }

    /// Takes the entry out for the caller to drop, when the table is not borrowed any more.
    pub(crate) fn remove(&mut self, slot: usize) -> Entry {
        self.entries.remove(slot)
    }

    /// All entries in the order in which their tasks were spawned.
    pub(crate) fn in_spawn_order(&mut self) -> Vec<&mut Entry> {
        let mut entries: Vec<_> = self.entries.iter_mut().map(|(_, entry)| entry).collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries
    }

    /// What each task waits for, as far as it is the end of another task that it awaits itself.
    pub(crate) fn waiting(&mut self) -> Vec<Waiting> {
        // A waker of ours is told by its data: there is one a task.
        let awaited: HashMap<_, _> = (self.entries.iter())
            .filter_map(|(_, entry)| Some((entry.joiner.as_ref()?.data(), entry.info())))
            .collect();
        let entries = self.in_spawn_order().into_iter();
        entries.map(|entry| Waiting::new(entry.info(), awaited.get(&entry.waker.data()).cloned())).collect()
    }
}

//! The table of all tasks that have not ended: what makes the executor their owner.
//!
//! Each entry holds a waker of its task, so that the task stays alive until it ends, can be reached to be cancelled, and
//! is dropped at close; a task that was not polled yet is kept by the queue that it stands in. What few tasks have stands
//! aside, so that an entry is small. Looking things up by slot and id is all this does; no user code runs in here.

use std::collections::HashMap;
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Details, Place, TaskId, TaskInfo, Waiting};
use slab::Slab;

use crate::error::CancelReason;
use crate::wake::{First, WakeKey};

pub(crate) struct Entry {
    pub(crate) id: TaskId,
    pub(crate) place: Place,
    /// The task itself, from the first time on that it is pending; see above.
    pub(crate) waker: Option<Waker>,
}

const _: () = assert!(size_of::<Option<Entry>>() == 4 * size_of::<usize>());

/// What most tasks do not have.
#[derive(Default)]
pub(crate) struct Side {
    /// Whoever waits for the task to end.
    pub(crate) joiner: Option<Joiner>,
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// A name, and locals.
    details: Option<Rc<Details>>,
    /// Why the task is to be dropped at its next step, if it is.
    cancelled: Option<CancelReason>,
}

/// Whoever waits for a task to end.
pub(crate) enum Joiner {
    /// A task of the same executor. No reference to it is kept: whoever has ended waits for nothing.
    Task(WakeKey),
    Other(Waker),
}

impl Side {
    /// Takes the side apart: who waits, the details, and the reason of a cancellation.
    pub(crate) fn into_parts(self) -> (Option<Joiner>, Option<Rc<Details>>, Option<CancelReason>) {
        let (details, cancelled) = self.more.map_or((None, None), |more| (more.details, more.cancelled));
        (self.joiner, details, cancelled)
    }
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    /// By slot, as far as there ever was one. That of a vacant slot is empty.
    sides: Vec<Side>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The slot that the next insertion uses.
    #[inline]
    pub(crate) fn vacant_slot(&self) -> usize {
        self.entries.vacant_key()
    }

    #[inline]
    pub(crate) fn insert(&mut self, entry: Entry, details: Option<Rc<Details>>) -> usize {
        let slot = self.entries.insert(entry);
        if details.is_some() {
            self.set_details(slot, details);
        }
        slot
    }

    pub(crate) fn side(&mut self, slot: usize) -> &mut Side {
        if self.sides.len() <= slot {
            self.sides.resize_with(slot + 1, Side::default);
        }
        &mut self.sides[slot]
    }

    #[cold]
    pub(crate) fn set_details(&mut self, slot: usize, details: Option<Rc<Details>>) {
        self.side(slot).more.get_or_insert_default().details = details;
    }

    pub(crate) fn details(&self, slot: usize) -> Option<&Rc<Details>> {
        self.sides.get(slot)?.more.as_ref()?.details.as_ref()
    }

    /// Notes why the task is to be cancelled. The first reason stays.
    pub(crate) fn cancel(&mut self, slot: usize, reason: CancelReason) {
        self.side(slot).more.get_or_insert_default().cancelled.get_or_insert(reason);
        if let Some(waker) = &self.entries[slot].waker {
            // One of our own wakers: it pushes to the queue and does not look at the table.
            waker.wake_by_ref();
        }
    }

    /// The key of the task that has `slot`, if `waker` wakes it. In its first step it is from now on that the table keeps it.
    #[inline]
    pub(crate) fn wake_key(&mut self, slot: u32, waker: &Waker, first: &First) -> Option<WakeKey> {
        let entry = self.entries.get_mut(slot as usize)?;
        match &entry.waker {
            Some(known) if known.will_wake(waker) => {}
            None if first.is(entry.id, waker) => entry.waker = Some(waker.clone()),
            _ => return None,
        }
        Some(WakeKey::new(slot, entry.id))
    }

    fn entry(&self, key: WakeKey) -> Option<&Entry> {
        self.entries.get(key.slot as usize).filter(|entry| key.is(entry.id))
    }

    /// Wakes a task, unless it has ended.
    pub(crate) fn wake(&self, key: WakeKey) {
        if let Some(waker) = self.entry(key).and_then(|entry| entry.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// The task is pending for the first time: from now on the table keeps it, if it does not already.
    pub(crate) fn own(&mut self, slot: u32, waker: &Waker) {
        self.entries[slot as usize].waker.get_or_insert_with(|| waker.clone());
    }

    /// Takes the entry out for the caller to drop, when the table is not borrowed any more.
    #[inline]
    pub(crate) fn remove(&mut self, slot: usize) -> (Entry, Side) {
        (self.entries.remove(slot), self.sides.get_mut(slot).map(std::mem::take).unwrap_or_default())
    }

    /// All tasks with their slots, in the order in which they were spawned.
    fn in_spawn_order(&self) -> Vec<(usize, &Entry)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(_, entry)| entry.id);
        entries
    }

    fn info(&self, slot: usize, entry: &Entry) -> TaskInfo {
        TaskInfo::new(entry.id, self.details(slot).and_then(|details| details.name()), entry.place)
    }

    /// What is known of all tasks, in the order in which they were spawned.
    pub(crate) fn infos(&self) -> Vec<TaskInfo> {
        self.in_spawn_order().into_iter().map(|(slot, entry)| self.info(slot, entry)).collect()
    }

    /// Wakes all tasks in the order in which they were spawned, but for those that stand in a queue for the first time.
    pub(crate) fn wake_all(&self) {
        for (_, entry) in self.in_spawn_order() {
            if let Some(waker) = &entry.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Takes out all who wait, in the order in which what they wait for was spawned.
    pub(crate) fn take_joiners(&mut self) -> Vec<Joiner> {
        let slots: Vec<_> = self.in_spawn_order().into_iter().map(|(slot, _)| slot).collect();
        slots.into_iter().filter_map(|slot| self.sides.get_mut(slot)?.joiner.take()).collect()
    }

    /// What each task waits for, as far as it is the end of another task that it awaits itself.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        // A waker of ours is told by its data: there is one a task.
        let data = |entry: &Entry| entry.waker.as_ref().map(Waker::data);
        let awaited: HashMap<_, _> = (self.entries.iter())
            .filter_map(|(slot, entry)| {
                let waits = match self.sides.get(slot)?.joiner.as_ref()? {
                    Joiner::Task(key) => data(self.entry(*key)?)?,
                    Joiner::Other(waker) => waker.data(),
                };
                Some((waits, self.info(slot, entry)))
            })
            .collect();
        let waiting = |(slot, entry): (usize, &Entry)| {
            Waiting::new(self.info(slot, entry), data(entry).and_then(|data| awaited.get(&data).cloned()))
        };
        self.in_spawn_order().into_iter().map(waiting).collect()
    }
}

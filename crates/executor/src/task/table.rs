//! The table of all tasks that have not ended. It owns them.
//!
//! Each entry holds a waker of its task, which keeps the task alive until it ends, lets a cancel
//! reach it, and lets close drop it. A task that was never polled has no waker here; the queue
//! keeps it. So the pointer in an entry is valid for as long as the entry exists.
//!
//! Rarely used state is kept aside, so that an entry is small. No user code runs in this file.

use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Details, Place, ROOT_NAME, TaskId, TaskInfo, WaitInfo, Waits};
use slab::Slab;

use crate::error::CancelReason;
use crate::run::queue::is_mostly_unused;
use crate::task::state::{TaskState, flag};
use crate::task::wake_key::{First, WakeKey};

struct Entry {
    meta: NonNull<TaskState>,
    /// A waker of the task, from the first time that it is pending; see above.
    waker: Option<Waker>,
}

const _: () = assert!(size_of::<Option<Entry>>() == 3 * size_of::<usize>());

impl Entry {
    fn meta(&self) -> &TaskState {
        // SAFETY: The entry exists, so the task has not ended and is kept alive as described at the
        // top of this file.
        unsafe { self.meta.as_ref() }
    }
}

/// The root. Its caller owns it, and it has no metadata.
pub(crate) struct RootEntry {
    pub(crate) id: TaskId,
    pub(crate) place: Place,
    pub(crate) waker: Waker,
}

/// The slot number that stands for the root.
pub(crate) const ROOT_SLOT: u32 = u32::MAX;

/// State that most tasks do not have.
#[derive(Default)]
pub(crate) struct RareState {
    /// The waiter for the task's end.
    pub(crate) joiner: Option<Joiner>,
    pub(crate) details: Option<Box<RareDetails>>,
}

#[derive(Default)]
pub(crate) struct RareDetails {
    /// A name, and task-locals.
    pub(crate) details: Option<Rc<Details>>,
    /// Takes the reason of the task's cancellation, if it is cancelled.
    cancelled: Option<CancelReason>,
}

/// The waiter for a task's end.
pub(crate) enum Joiner {
    /// A task of the same executor. The key keeps nothing alive: a joiner that has ended waits for
    /// nothing.
    Task(WakeKey),
    Other(Waker),
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    /// Indexed by slot, as far as any task needed one. The state of a vacant slot is empty.
    rare_states: Vec<RareState>,
    /// For reports, indexed by slot as far as needed: the task whose step has registered the last
    /// [`Joiner::Other`] there. Beside the rare state, because that is moved at each end of a task.
    other_joiners: Vec<Option<TaskId>>,
    root: Option<RootEntry>,
}

/// A row of the list of all tasks.
struct Listed<'a> {
    slot: u32,
    id: TaskId,
    place: Place,
    name: Option<&'a str>,
    waker: Option<&'a Waker>,
}

impl Listed<'_> {
    fn info(&self) -> TaskInfo {
        TaskInfo::new(self.id, self.name, self.place)
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.owned_len() + usize::from(self.root.is_some())
    }

    /// The number of tasks without the root, which the executor does not own.
    pub(crate) fn owned_len(&self) -> usize {
        self.entries.len()
    }

    /// The slot that the next insertion will use.
    #[inline]
    pub(crate) fn vacant_slot(&self) -> u32 {
        let slot = u32::try_from(self.entries.vacant_key()).ok().filter(|slot| *slot != ROOT_SLOT);
        slot.expect("fewer than 2^32 tasks at a time")
    }

    /// Adds a task that was made for the [vacant slot](Table::vacant_slot).
    #[inline]
    pub(crate) fn insert(&mut self, meta: &TaskState, details: Option<Rc<Details>>) {
        let slot = self.entries.insert(Entry { meta: NonNull::from(meta), waker: None });
        debug_assert!(slot == meta.slot as usize, "the slot that was promised");
        if details.is_some() {
            self.set_details(meta, details);
        }
    }

    pub(crate) fn set_root(&mut self, root: Option<RootEntry>) -> Option<RootEntry> {
        std::mem::replace(&mut self.root, root)
    }

    /// Keeps a waker of a task that is pending for the first time, if there is none yet.
    #[inline]
    pub(crate) fn own(&mut self, meta: &TaskState, waker: &Waker) {
        self.entries[meta.slot as usize].waker.get_or_insert_with(|| waker.clone());
    }

    /// The rare state of a task, which is made if it does not exist.
    pub(crate) fn rare_state(&mut self, meta: &TaskState) -> &mut RareState {
        meta.set(flag::HAS_RARE_STATE);
        self.rare_state_in(meta.slot)
    }

    fn rare_state_in(&mut self, slot: u32) -> &mut RareState {
        let slot = slot as usize;
        if self.rare_states.len() <= slot {
            self.rare_states.resize_with(slot + 1, RareState::default);
        }
        &mut self.rare_states[slot]
    }

    #[cold]
    pub(crate) fn set_details(&mut self, meta: &TaskState, details: Option<Rc<Details>>) {
        self.rare_state(meta).details.get_or_insert_default().details = details;
    }

    pub(crate) fn details(&self, slot: u32) -> Option<&Rc<Details>> {
        self.rare_states.get(slot as usize)?.details.as_ref()?.details.as_ref()
    }

    /// Records why the task is cancelled, and wakes it. The first reason stays.
    pub(crate) fn cancel(&mut self, meta: &TaskState, reason: CancelReason) {
        meta.set(flag::HAS_RARE_STATE);
        self.set_reason(meta.slot, reason);
    }

    fn set_reason(&mut self, slot: u32, reason: CancelReason) {
        self.rare_state_in(slot).details.get_or_insert_default().cancelled.get_or_insert(reason);
        if let Some(waker) = &self.entries[slot as usize].waker {
            // One of our own wakers: it pushes to the queue and does not borrow the table.
            waker.wake_by_ref();
        }
    }

    /// The state of a task that has not ended.
    pub(crate) fn find(&self, slot: u32, id: TaskId) -> Option<&TaskState> {
        self.entries.get(slot as usize).map(Entry::meta).filter(|meta| meta.id == id)
    }

    /// Marks a task to be cancelled, as [`Meta::cancel`](crate::task::meta::Meta::cancel) does.
    /// Returns false if it has ended: its slot is free, or another task's.
    pub(crate) fn cancel_in_slot(&mut self, slot: u32, id: TaskId, reason: CancelReason) -> bool {
        let Some(meta) = self.find(slot, id) else { return false };
        meta.set(flag::CANCELLED | flag::HAS_RARE_STATE);
        self.set_reason(slot, reason);
        true
    }

    /// The key of the task in `slot`, if `waker` wakes that task. In the task's first step this
    /// makes the table keep a waker, so that the key can wake it.
    #[inline]
    pub(crate) fn wake_key(&mut self, slot: u32, waker: &Waker, first: &First) -> Option<WakeKey> {
        if slot == ROOT_SLOT {
            let root = self.root.as_ref().filter(|root| root.waker.will_wake(waker))?;
            return Some(WakeKey::new(slot, root.id));
        }
        let entry = self.entries.get_mut(slot as usize)?;
        let id = entry.meta().id;
        match &entry.waker {
            Some(known) if known.will_wake(waker) => {}
            None if first.is(id, waker) => entry.waker = Some(waker.clone()),
            _ => return None,
        }
        Some(WakeKey::new(slot, id))
    }

    fn waker(&self, key: WakeKey) -> Option<&Waker> {
        if key.slot == ROOT_SLOT {
            return self.root.as_ref().filter(|root| key.is(root.id)).map(|root| &root.waker);
        }
        self.entries.get(key.slot as usize).filter(|entry| key.is(entry.meta().id))?.waker.as_ref()
    }

    /// Wakes a task, unless it has ended.
    pub(crate) fn wake(&self, key: WakeKey) {
        if let Some(waker) = self.waker(key) {
            waker.wake_by_ref();
        }
    }

    /// Removes the task, except for its [rare state](Table::take_rare_state). Returns its waker,
    /// which the caller drops once the table is not borrowed: the drop may free the task, and with
    /// it foreign values.
    #[inline]
    pub(crate) fn remove(&mut self, meta: &TaskState) -> Option<Waker> {
        self.entries.remove(meta.slot as usize).waker
    }

    pub(crate) fn take_rare_state(&mut self, meta: &TaskState) -> RareState {
        self.rare_states.get_mut(meta.slot as usize).map(std::mem::take).unwrap_or_default()
    }

    /// The number of tasks, and of slots for which there is memory.
    pub(crate) fn usage(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.capacity().max(self.rare_states.capacity()))
    }

    /// Frees memory of which less than a quarter is used, as far as no task's slot lies in it.
    pub(crate) fn shrink(&mut self) {
        let used = self.entries.len();
        if is_mostly_unused(used, self.entries.capacity()) || is_mostly_unused(used, self.rare_states.capacity()) {
            self.shrink_large();
        }
    }

    #[cold]
    fn shrink_large(&mut self) {
        self.entries.shrink_to_fit();
        let slots = self.entries.iter().next_back().map_or(0, |(slot, _)| slot + 1);
        self.rare_states.truncate(slots);
        self.rare_states.shrink_to(slots);
        self.other_joiners.truncate(slots);
        self.other_joiners.shrink_to(slots);
    }

    /// Why the task is to be cancelled, if it is.
    pub(crate) fn take_reason(&mut self, meta: &TaskState) -> Option<CancelReason> {
        self.rare_states
            .get_mut(meta.slot as usize)
            .filter(|_| meta.is(flag::HAS_RARE_STATE))?
            .details
            .as_mut()?
            .cancelled
            .take()
    }

    /// All tasks in spawn order.
    fn in_spawn_order(&self) -> Vec<Listed<'_>> {
        let tasks = self.entries.iter().map(|(slot, entry)| {
            let (slot, meta) = (slot as u32, entry.meta());
            let name = self.details(slot).and_then(|details| details.name());
            Listed { slot, id: meta.id, place: meta.place, name, waker: entry.waker.as_ref() }
        });
        let root = self.root.iter().map(|root| Listed {
            slot: ROOT_SLOT,
            id: root.id,
            place: root.place,
            name: Some(ROOT_NAME),
            waker: Some(&root.waker),
        });
        let mut all: Vec<_> = tasks.chain(root).collect();
        all.sort_unstable_by_key(|listed| listed.id);
        all
    }

    /// Describes all tasks in spawn order.
    pub(crate) fn infos(&self) -> Vec<TaskInfo> {
        self.in_spawn_order().iter().map(Listed::info).collect()
    }

    /// Wakes all tasks in spawn order. A task that was never polled is in a queue already.
    pub(crate) fn wake_all(&self) {
        self.in_spawn_order().iter().filter_map(|listed| listed.waker).for_each(Waker::wake_by_ref);
    }

    /// Takes all joiners, in the spawn order of the tasks that they wait for.
    pub(crate) fn take_joiners(&mut self) -> Vec<Joiner> {
        let slots: Vec<_> = self.in_spawn_order().into_iter().map(|listed| listed.slot).collect();
        slots.into_iter().filter_map(|slot| self.rare_states.get_mut(slot as usize)?.joiner.take()).collect()
    }

    /// Sets the joiner of `meta`, and records that a step of `task` has done it.
    #[cold]
    #[inline(never)]
    pub(crate) fn set_other_joiner(&mut self, meta: &TaskState, waker: Waker, task: Option<TaskId>) -> Option<Joiner> {
        let slot = meta.slot as usize;
        if self.other_joiners.len() <= slot {
            self.other_joiners.resize(slot + 1, None);
        }
        self.other_joiners[slot] = task;
        self.rare_state(meta).joiner.replace(Joiner::Other(waker))
    }

    /// The task that a key wakes, unless it has ended.
    pub(crate) fn task_of(&self, key: WakeKey) -> Option<TaskId> {
        let id = match key.slot {
            ROOT_SLOT => self.root.as_ref()?.id,
            slot => self.entries.get(slot as usize)?.meta().id,
        };
        key.is(id).then_some(id)
    }

    /// Adds the waits for the ends of tasks.
    pub(crate) fn add_joins(&self, waits: &mut Waits) {
        for (slot, entry) in &self.entries {
            let Some(joiner) = self.rare_states.get(slot).and_then(|state| state.joiner.as_ref()) else { continue };
            let joins = match joiner {
                Joiner::Task(key) => self.task_of(*key),
                Joiner::Other(_) => self.other_joiners.get(slot).copied().flatten(),
            };
            waits.add(joins, WaitInfo::task(entry.meta().id));
        }
    }
}

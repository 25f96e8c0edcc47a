//! The table of all tasks that have not ended: what makes the executor their owner.
//!
//! Each entry holds a waker of its task, so that the task stays alive until it ends, can be reached to be cancelled, and
//! is dropped at close; a task that was not polled yet is kept by the queue that it stands in. So what an entry points to is
//! there for as long as the entry is. What few tasks have stands aside, so that an entry is small. Looking things up by slot
//! and id is all this does; no user code runs in here.

use std::collections::HashMap;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Details, Place, ROOT_NAME, TaskId, TaskInfo, Waiting};
use slab::Slab;

use crate::error::CancelReason;
use crate::run::queue::is_mostly_unused;
use crate::task::state::{TaskState, flag};
use crate::task::wake_key::{First, WakeKey};

struct Entry {
    meta: NonNull<TaskState>,
    /// The task itself, from the first time on that it is pending; see above.
    waker: Option<Waker>,
}

const _: () = assert!(size_of::<Option<Entry>>() == 3 * size_of::<usize>());

impl Entry {
    fn meta(&self) -> &TaskState {
        // SAFETY: The task has not ended, and is kept as the head of this file says.
        unsafe { self.meta.as_ref() }
    }
}

/// The root, which is its caller's and has no metadata.
pub(crate) struct RootEntry {
    pub(crate) id: TaskId,
    pub(crate) place: Place,
    pub(crate) waker: Waker,
}

/// Where the root stands.
pub(crate) const ROOT_SLOT: u32 = u32::MAX;

/// What most tasks do not have.
#[derive(Default)]
pub(crate) struct Side {
    /// Whoever waits for the task to end.
    pub(crate) joiner: Option<Joiner>,
    pub(crate) more: Option<Box<More>>,
}

#[derive(Default)]
pub(crate) struct More {
    /// A name, and locals.
    pub(crate) details: Option<Rc<Details>>,
    /// Why the task is to be dropped at its next step, if it is.
    cancelled: Option<CancelReason>,
}

/// Whoever waits for a task to end.
pub(crate) enum Joiner {
    /// A task of the same executor. No reference to it is kept: whoever has ended waits for nothing.
    Task(WakeKey),
    Other(Waker),
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    /// By slot, as far as there ever was one. That of a vacant slot is empty.
    sides: Vec<Side>,
    root: Option<RootEntry>,
}

/// One of all tasks, for those who list them.
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

    /// Without the root, which is not ours to end.
    pub(crate) fn owned_len(&self) -> usize {
        self.entries.len()
    }

    /// The slot that the next insertion uses.
    #[inline]
    pub(crate) fn vacant_slot(&self) -> u32 {
        let slot = u32::try_from(self.entries.vacant_key()).ok().filter(|slot| *slot != ROOT_SLOT);
        slot.expect("fewer than 2^32 tasks at a time")
    }

    /// Takes in a task that was made for the [vacant slot](Table::vacant_slot) and is about to be queued.
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

    /// The task is pending for the first time: from now on the table keeps it, if it does not already.
    #[inline]
    pub(crate) fn own(&mut self, meta: &TaskState, waker: &Waker) {
        self.entries[meta.slot as usize].waker.get_or_insert_with(|| waker.clone());
    }

    /// What most tasks do not have, for one that now has some of it.
    pub(crate) fn side(&mut self, meta: &TaskState) -> &mut Side {
        meta.set(flag::HAS_SIDE);
        let slot = meta.slot as usize;
        if self.sides.len() <= slot {
            self.sides.resize_with(slot + 1, Side::default);
        }
        &mut self.sides[slot]
    }

    #[cold]
    pub(crate) fn set_details(&mut self, meta: &TaskState, details: Option<Rc<Details>>) {
        self.side(meta).more.get_or_insert_default().details = details;
    }

    pub(crate) fn details(&self, slot: u32) -> Option<&Rc<Details>> {
        self.sides.get(slot as usize)?.more.as_ref()?.details.as_ref()
    }

    /// Notes why the task is to be cancelled. The first reason stays.
    pub(crate) fn cancel(&mut self, meta: &TaskState, reason: CancelReason) {
        self.side(meta).more.get_or_insert_default().cancelled.get_or_insert(reason);
        if let Some(waker) = &self.entries[meta.slot as usize].waker {
            // One of our own wakers: it pushes to the queue and does not look at the table.
            waker.wake_by_ref();
        }
    }

    /// The key of the task that has `slot`, if `waker` wakes it. In its first step it is from now on that the table keeps it.
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

    /// Takes the task out, but for its [side](Table::take_side). Gives its waker for the caller to drop, when the table is not
    /// borrowed any more.
    #[inline]
    pub(crate) fn remove(&mut self, meta: &TaskState) -> Option<Waker> {
        self.entries.remove(meta.slot as usize).waker
    }

    pub(crate) fn take_side(&mut self, meta: &TaskState) -> Side {
        self.sides.get_mut(meta.slot as usize).map(std::mem::take).unwrap_or_default()
    }

    /// Gives back memory of which less than a quarter is used, as far as it lies behind the last
    /// task.
    pub(crate) fn shrink(&mut self) {
        let used = self.entries.len();
        if is_mostly_unused(used, self.entries.capacity()) || is_mostly_unused(used, self.sides.capacity()) {
            self.shrink_large();
        }
    }

    #[cold]
    fn shrink_large(&mut self) {
        self.entries.shrink_to_fit();
        let slots = self.entries.iter().next_back().map_or(0, |(slot, _)| slot + 1);
        self.sides.truncate(slots);
        self.sides.shrink_to(slots);
    }

    /// Why the task is to be cancelled, if it is.
    pub(crate) fn take_reason(&mut self, meta: &TaskState) -> Option<CancelReason> {
        self.sides.get_mut(meta.slot as usize).filter(|_| meta.is(flag::HAS_SIDE))?.more.as_mut()?.cancelled.take()
    }

    /// All tasks in the order in which they were spawned.
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

    /// What is known of all tasks, in the order in which they were spawned.
    pub(crate) fn infos(&self) -> Vec<TaskInfo> {
        self.in_spawn_order().iter().map(Listed::info).collect()
    }

    /// Wakes all tasks in the order in which they were spawned, but for those that stand in a queue for the first time.
    pub(crate) fn wake_all(&self) {
        self.in_spawn_order().iter().filter_map(|listed| listed.waker).for_each(Waker::wake_by_ref);
    }

    /// Takes out all who wait, in the order in which what they wait for was spawned.
    pub(crate) fn take_joiners(&mut self) -> Vec<Joiner> {
        let slots: Vec<_> = self.in_spawn_order().into_iter().map(|listed| listed.slot).collect();
        slots.into_iter().filter_map(|slot| self.sides.get_mut(slot as usize)?.joiner.take()).collect()
    }

    /// What each task waits for, as far as it is the end of another task that it awaits itself.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let all = self.in_spawn_order();
        // A waker of ours is told by its data: there is one a task.
        let awaited: HashMap<_, _> = (all.iter())
            .filter_map(|listed| {
                let waits = match self.sides.get(listed.slot as usize)?.joiner.as_ref()? {
                    Joiner::Task(key) => self.waker(*key)?.data(),
                    Joiner::Other(waker) => waker.data(),
                };
                Some((waits, listed.info()))
            })
            .collect();
        let waits_for = |listed: &Listed<'_>| awaited.get(&listed.waker?.data()).cloned();
        all.iter().map(|listed| Waiting::new(listed.info(), waits_for(listed))).collect()
    }
}

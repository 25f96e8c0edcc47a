//! The table of all tasks that have not ended: what makes the executor their owner.
//!
//! A task is there for as long as it is in here, and what an entry points to with it: until it is pending for the first time the
//! queue that it stands in keeps it, then its handle, and if that was dropped, a reference of the table's. So each can be reached
//! to be cancelled, and is dropped at close. An entry is a word; what few tasks have stands aside. Looking things up by slot and
//! id is all this does; no user code runs in here.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Details, Place, ROOT_NAME, TaskId, TaskInfo, Waiting};

use crate::error::CancelReason;
use crate::kind::Kinds;
use crate::shared::{Meta, flag};
use crate::slots::{Held, Slots};
use crate::wake::WakeKey;

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
    slots: Slots,
    /// How far behind the data of a task's wakers its metadata stands, once one was polled. [`Table::know`] checks it.
    metadata_at: usize,
    pub(crate) kinds: Kinds,
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
        self.slots.len()
    }

    /// The slot that the next insertion uses.
    #[inline]
    pub(crate) fn vacant_slot(&self) -> u32 {
        self.slots.vacant()
    }

    /// Takes in a task that was made for the [vacant slot](Table::vacant_slot) and is about to be queued.
    #[inline]
    pub(crate) fn insert(&mut self, meta: &Meta, details: Option<Rc<Details>>) {
        self.slots.insert(Held::New(NonNull::from(meta)));
        if details.is_some() {
            self.set_details(meta, details);
        }
    }

    fn meta(&self, held: Held) -> &Meta {
        let meta = match held {
            Held::New(meta) => meta,
            // SAFETY: `know` has found the metadata there.
            Held::Known(data) => unsafe { data.byte_add(self.metadata_at) }.cast(),
        };
        // SAFETY: The task has not ended, and is kept as the head of this file says.
        unsafe { meta.as_ref() }
    }

    /// A waker of the task, once it is known by one. The task is kept by others for as long as this table is borrowed.
    #[inline]
    fn waker(&self, held: Held) -> Option<ManuallyDrop<Waker>> {
        let Held::Known(data) = held else { return None };
        let vtable = self.meta(held).kind().vtable()?;
        // SAFETY: They are those of a waker of this task: the data was taken from one, and the functions from one of a task of the
        // same type. As it is never dropped, it stands for no reference, and the task is there, as the head of this file says.
        Some(ManuallyDrop::new(unsafe { Waker::new(data.as_ptr(), vtable) }))
    }

    pub(crate) fn set_root(&mut self, root: Option<RootEntry>) -> Option<RootEntry> {
        std::mem::replace(&mut self.root, root)
    }

    /// One of a kind is polled for the first time, with this waker of its own.
    ///
    /// # Panics
    /// If `async-task` kept the metadata of one task elsewhere than that of another.
    #[cold]
    #[inline(never)]
    pub(crate) fn learn(&mut self, meta: &Meta, waker: &Waker) {
        if self.metadata_at == 0 {
            self.metadata_at = std::ptr::from_ref(meta).addr().wrapping_sub(waker.data().addr());
        }
        assert!(self.is_of(waker, meta), "all tasks have their metadata in one place");
        meta.kind().learn(waker.vtable());
    }

    /// Whether `waker` has the data of that task's wakers.
    #[inline]
    fn is_of(&self, waker: &Waker, meta: &Meta) -> bool {
        std::ptr::from_ref(meta).addr() == waker.data().addr().wrapping_add(self.metadata_at)
    }

    /// The task is known by `waker`, which is its own, from now on.
    #[inline]
    pub(crate) fn know(&mut self, meta: &Meta, waker: &Waker) {
        assert!(self.is_of(waker, meta), "all tasks have their metadata in one place");
        let data = NonNull::new(waker.data().cast_mut()).expect("a task has an address");
        self.slots.set(meta.slot, Held::Known(data));
    }

    /// From now on the table keeps a task that is known by its waker.
    pub(crate) fn own(&mut self, meta: &Meta) {
        let waker = self.slots.get(meta.slot).and_then(|held| self.waker(held)).expect("it was polled");
        std::mem::forget(Waker::clone(&waker));
        meta.set(flag::OWNED);
    }

    /// What most tasks do not have, for one that now has some of it.
    pub(crate) fn side(&mut self, meta: &Meta) -> &mut Side {
        meta.set(flag::HAS_SIDE);
        let slot = meta.slot as usize;
        if self.sides.len() <= slot {
            self.sides.resize_with(slot + 1, Side::default);
        }
        &mut self.sides[slot]
    }

    #[cold]
    pub(crate) fn set_details(&mut self, meta: &Meta, details: Option<Rc<Details>>) {
        self.side(meta).more.get_or_insert_default().details = details;
    }

    pub(crate) fn details(&self, slot: u32) -> Option<&Rc<Details>> {
        self.sides.get(slot as usize)?.more.as_ref()?.details.as_ref()
    }

    /// Notes why the task is to be cancelled. The first reason stays.
    pub(crate) fn cancel(&mut self, meta: &Meta, reason: CancelReason) {
        self.side(meta).more.get_or_insert_default().cancelled.get_or_insert(reason);
        if let Some(waker) = self.slots.get(meta.slot).and_then(|held| self.waker(held)) {
            // One of our own wakers: it pushes to the queue and does not look at the table.
            waker.wake_by_ref();
        }
    }

    /// The key of the task whose step runs, if `waker` wakes it.
    #[inline]
    pub(crate) fn wake_key(&mut self, meta: &Meta, waker: &Waker) -> Option<WakeKey> {
        if !self.is_of(waker, meta) || meta.kind().vtable().is_none_or(|own| !std::ptr::eq(own, waker.vtable())) {
            return None;
        }
        if let Held::New(_) = self.slots.get(meta.slot)? {
            self.know(meta, waker);
        }
        Some(WakeKey::new(meta.slot, meta.id))
    }

    /// The key of the root, if `waker` wakes it.
    pub(crate) fn root_key(&self, waker: &Waker) -> Option<WakeKey> {
        let root = self.root.as_ref().filter(|root| root.waker.will_wake(waker))?;
        Some(WakeKey::new(ROOT_SLOT, root.id))
    }

    /// Calls a function with a waker of the task that a key names, unless that has ended.
    fn with_waker<R>(&self, key: WakeKey, f: impl FnOnce(&Waker) -> R) -> Option<R> {
        if key.slot == ROOT_SLOT {
            return self.root.as_ref().filter(|root| key.is(root.id)).map(|root| f(&root.waker));
        }
        let held = self.slots.get(key.slot).filter(|held| key.is(self.meta(*held).id))?;
        self.waker(held).map(|waker| f(&waker))
    }

    /// Wakes a task, unless it has ended.
    pub(crate) fn wake(&self, key: WakeKey) {
        self.with_waker(key, Waker::wake_by_ref);
    }

    /// Takes the task out. The caller also takes its [side](Table::take_side), if it has one.
    #[inline]
    pub(crate) fn remove(&mut self, meta: &Meta) {
        self.slots.remove(meta.slot);
    }

    /// The reference that the table has of a task, for the caller to drop when the table is not borrowed any more.
    pub(crate) fn owned(&self, meta: &Meta) -> Option<Waker> {
        self.slots.get(meta.slot).and_then(|held| self.waker(held)).map(ManuallyDrop::into_inner)
    }

    pub(crate) fn take_side(&mut self, meta: &Meta) -> Side {
        self.sides.get_mut(meta.slot as usize).map(std::mem::take).unwrap_or_default()
    }

    /// Why the task is to be cancelled, if it is.
    pub(crate) fn take_reason(&mut self, meta: &Meta) -> Option<CancelReason> {
        if !meta.is(flag::HAS_SIDE) {
            return None;
        }
        self.sides.get_mut(meta.slot as usize)?.more.as_mut()?.cancelled.take()
    }

    /// All tasks in the order in which they were spawned.
    fn in_spawn_order(&self) -> Vec<Listed<'_>> {
        let tasks = self.slots.iter().map(|(slot, held)| {
            let meta = self.meta(held);
            let name = self.details(slot).and_then(|details| details.name());
            Listed { slot, id: meta.id, place: meta.place(), name }
        });
        let root = self.root.iter().map(|root| Listed {
            slot: ROOT_SLOT,
            id: root.id,
            place: root.place,
            name: Some(ROOT_NAME),
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
        self.in_spawn_order().iter().for_each(|listed| self.wake(WakeKey::new(listed.slot, listed.id)));
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
        let data = |slot, id| self.with_waker(WakeKey::new(slot, id), Waker::data);
        let awaited: HashMap<_, _> = (all.iter())
            .filter_map(|listed| {
                let waits = match self.sides.get(listed.slot as usize)?.joiner.as_ref()? {
                    Joiner::Task(key) => self.with_waker(*key, Waker::data)?,
                    Joiner::Other(waker) => waker.data(),
                };
                Some((waits, listed.info()))
            })
            .collect();
        let waits_for = |listed: &Listed<'_>| awaited.get(&data(listed.slot, listed.id)?).cloned();
        all.iter().map(|listed| Waiting::new(listed.info(), waits_for(listed))).collect()
    }
}

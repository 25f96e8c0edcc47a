//! The timers themselves: a slab of entries whose keys carry a generation.
//!
//! An entry is free, or it is in exactly one list of one slot. The links of that list are kept here, because they are
//! indices into this slab; which list it is, the nodes know.

use alloc::vec::Vec;
use core::fmt;

/// No entry, and no node: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// Names one timer in one wheel. It stays valid until the timer expires or is cancelled; after that it names nothing,
/// also when its place is taken by another timer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerKey {
    pub(crate) index: u32,
    generation: u32,
}

impl fmt::Debug for TimerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerKey({}.{})", self.index, self.generation)
    }
}

pub(crate) struct Entry<T> {
    pub(crate) deadline: u64,
    /// The neighbours in the slot's list; for a free entry, `next` is the next free one.
    pub(crate) prev: u32,
    pub(crate) next: u32,
    /// The node whose slot holds this entry.
    pub(crate) node: u32,
    generation: u32,
    /// `None` while the entry is free.
    value: Option<T>,
}

pub(crate) struct Entries<T> {
    all: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

impl<T> Entries<T> {
    pub(crate) const fn new() -> Self {
        Entries { all: Vec::new(), free: NONE, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Stores a timer that is in no list yet.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> TimerKey {
        self.len += 1;
        if let Some(entry) = self.all.get_mut(self.free as usize) {
            let index = core::mem::replace(&mut self.free, entry.next);
            entry.deadline = deadline;
            entry.value = Some(value);
            return TimerKey { index, generation: entry.generation };
        }
        let index = u32::try_from(self.all.len()).ok().filter(|index| *index != NONE).expect("fewer than 2^32 timers");
        self.all.push(Entry { deadline, prev: NONE, next: NONE, node: NONE, generation: 0, value: Some(value) });
        TimerKey { index, generation: 0 }
    }

    /// The index of the timer that `key` names, if it is still there.
    pub(crate) fn find(&self, key: TimerKey) -> Option<u32> {
        let entry = self.all.get(key.index as usize)?;
        (entry.generation == key.generation && entry.value.is_some()).then_some(key.index)
    }

    /// Frees an entry that is in no list any more.
    pub(crate) fn remove(&mut self, index: u32) -> T {
        let entry = &mut self.all[index as usize];
        let value = entry.value.take().expect("only entries in use are removed");
        self.len -= 1;
        entry.generation = entry.generation.wrapping_add(1);
        // After 2^32 timers in one place, an old key could name a new timer. The place is retired instead.
        if entry.generation != 0 {
            entry.next = core::mem::replace(&mut self.free, index);
        }
        value
    }

    /// The value of an entry in use.
    pub(crate) fn value_mut(&mut self, index: u32) -> &mut T {
        self.all[index as usize].value.as_mut().expect("only entries in use are asked for their value")
    }

    pub(crate) fn get(&self, index: u32) -> &Entry<T> {
        &self.all[index as usize]
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.all[index as usize]
    }
}

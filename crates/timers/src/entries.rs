//! The timers themselves: a slab of entries whose keys carry a generation.
//!
//! An entry is free, or it is in exactly one list of one slot. The links of that list are kept here, because they are
//! indices into this slab; which list it is, the nodes know.

use alloc::vec::Vec;
use core::fmt;

use crate::nodes::NodeIndex;

/// No entry: the end of a list.
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
    /// That of the key which names the entry, or, while it is free, of the next one: so no old key has it.
    generation: u32,
    state: State<T>,
}

/// An enum of its own, because a free entry is then told by the number that no node has, and takes no byte.
enum State<T> {
    Free,
    Used {
        /// The node whose slot holds the entry.
        node: NodeIndex,
        value: T,
    },
}

const _: () = assert!(size_of::<Entry<[u32; 2]>>() == 32);

/// Never a key's: an entry that has had all the others is not used again.
const LAST: u32 = u32::MAX;

/// The room grows by an eighth, and by this many entries at least. Doubling would leave up to half of it unused.
const GROWTH: usize = 8;

/// Room for this many entries is never given back: 16 KiB at the usual size of an entry.
const KEPT: usize = 512;

/// The most requests that pass without an attempt to shrink.
const SKIPS_MAX: u8 = 64;

pub(crate) struct Entries<T> {
    all: Vec<Entry<T>>,
    free: u32,
    len: usize,
    /// The generation of the first key to a new place. No key to a place that was given back has it.
    first_generation: u32,
    /// An entry of a lower generation becomes the next free one when it is freed: any but a retired one, or none at all
    /// after an attempt to shrink in vain. One comparison serves both.
    free_below: u32,
    /// How many requests to shrink pass before the next attempt, and before the one after it. An entry in use near the
    /// end can keep an attempt from giving anything back.
    skips: u8,
    skips_next: u8,
}

impl<T> Entries<T> {
    pub(crate) const fn new() -> Self {
        Entries { all: Vec::new(), free: NONE, len: 0, first_generation: 0, free_below: LAST, skips: 0, skips_next: 1 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Stores a timer that is in no list yet.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> TimerKey {
        self.len += 1;
        let state = State::Used { node: NodeIndex::MAX, value };
        if let Some(entry) = self.all.get_mut(self.free as usize) {
            let index = core::mem::replace(&mut self.free, entry.next);
            (entry.deadline, entry.state) = (deadline, state);
            return TimerKey { index, generation: entry.generation };
        }
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact((self.all.len() / GROWTH).max(GROWTH));
            self.free_below = LAST;
        }
        let index = u32::try_from(self.all.len()).ok().filter(|index| *index != NONE).expect("fewer than 2^32 timers");
        let generation = self.first_generation;
        self.all.push(Entry { deadline, prev: NONE, next: NONE, generation, state });
        TimerKey { index, generation }
    }

    /// The index of the timer that `key` names, if it is still there.
    pub(crate) fn find(&self, key: TimerKey) -> Option<u32> {
        let entry = self.all.get(key.index as usize)?;
        (entry.generation == key.generation).then_some(key.index)
    }

    /// Frees an entry that is in no list any more.
    pub(crate) fn remove(&mut self, index: u32) -> T {
        let entry = &mut self.all[index as usize];
        let State::Used { value, .. } = core::mem::replace(&mut entry.state, State::Free) else {
            unreachable!("only entries in use are removed")
        };
        // After so many timers in one place, an old key could name a new timer. The place is retired instead.
        entry.generation += 1;
        if entry.generation < self.free_below {
            entry.next = core::mem::replace(&mut self.free, index);
        } else if entry.generation != LAST {
            self.free_in_order(index);
        }
        self.len -= 1;
        value
    }

    /// Puts an entry on the list of free ones: first, or second if the first lies before it. So a lone timer that comes
    /// and goes does not hold on to a late place, which would keep [`shrink`](Self::shrink) from giving anything back.
    #[cold]
    fn free_in_order(&mut self, index: u32) {
        // NONE is greater than each index.
        if index < self.free {
            self.get_mut(index).next = core::mem::replace(&mut self.free, index);
        } else {
            let first = self.free;
            let second = core::mem::replace(&mut self.get_mut(first).next, index);
            self.get_mut(index).next = second;
        }
    }

    fn is_mostly_unused(&self) -> bool {
        self.all.capacity() > KEPT && self.len < self.all.capacity() / 4
    }

    /// Whether to [`shrink`](Self::shrink) at this request. After attempts in vain it is put off, twice as long each time.
    pub(crate) fn should_shrink(&mut self) -> bool {
        if !self.is_mostly_unused() {
            return false;
        }
        let skips = self.skips;
        self.skips = skips.saturating_sub(1);
        skips == 0
    }

    /// Gives back the room behind the last entry in use. Entries stay where they are, because keys name their places.
    pub(crate) fn shrink(&mut self) {
        // A place that has had half of all generations stays: what comes after it would start too high to last.
        let stays = |entry: &Entry<T>| matches!(entry.state, State::Used { .. }) || entry.generation > LAST / 2;
        let end = self.all.iter().rposition(stays).map_or(0, |last| last + 1);
        let generations = self.all.drain(end..).map(|entry| entry.generation);
        self.first_generation = generations.fold(self.first_generation, u32::max);
        self.all.shrink_to(KEPT);
        self.skips = if self.is_mostly_unused() { self.skips_next } else { 0 };
        self.free_below = if self.skips == 0 { LAST } else { 0 };
        self.skips_next = if self.skips == 0 { 1 } else { self.skips.saturating_mul(2).min(SKIPS_MAX) };
        // The list of free entries led through those that went. From the end, so that it begins with the lowest place
        // and the high ones become free.
        self.free = NONE;
        for (index, entry) in self.all.iter_mut().enumerate().rev() {
            if matches!(entry.state, State::Free) && entry.generation != LAST {
                entry.next = core::mem::replace(&mut self.free, index as u32);
            }
        }
    }

    /// The value of an entry in use.
    pub(crate) fn value_mut(&mut self, index: u32) -> &mut T {
        match &mut self.get_mut(index).state {
            State::Used { value, .. } => value,
            State::Free => unreachable!("only entries in use are asked for their value"),
        }
    }

    pub(crate) fn get(&self, index: u32) -> &Entry<T> {
        &self.all[index as usize]
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.all[index as usize]
    }
}

impl<T> Entry<T> {
    /// The node whose slot holds this entry, which is in use.
    pub(crate) fn node(&self) -> NodeIndex {
        match self.state {
            State::Used { node, .. } => node,
            State::Free => unreachable!("a free entry is in no slot"),
        }
    }

    pub(crate) fn set_node(&mut self, new: NodeIndex) {
        if let State::Used { node, .. } = &mut self.state {
            *node = new;
        }
    }
}

#[cfg(test)]
impl<T> Entries<T> {
    pub(crate) fn room(&self) -> usize {
        self.all.capacity()
    }

    /// Checks that the room is at most an eighth larger than it has to be.
    pub(crate) fn check_room(&self) {
        let (len, capacity) = (self.all.len(), self.all.capacity());
        assert!(capacity <= len + len / GROWTH + GROWTH || capacity <= KEPT, "room for {capacity} with {len}");
    }
}

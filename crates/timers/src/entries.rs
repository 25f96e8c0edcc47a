//! The timers: a slab of entries whose keys carry a generation.
//!
//! An entry is free, or it is in exactly one list of one wheel slot. The links of that list are
//! indices into this slab, so they are stored here. The nodes know which list it is.
//!
//! An entry's *index* is its position in the slab. A *slot* is always one of the wheel.

use alloc::vec::Vec;
use core::fmt;

use crate::nodes::NodeIndex;

/// No entry: the end of a list. Greater than each index.
pub(crate) const NONE: u32 = u32::MAX;

/// Identifies one timer of one wheel.
///
/// It is valid until the timer expires or is cancelled. After that it identifies no timer, even
/// when the wheel reuses the memory for another one.
///
/// ```
/// use picot_timers::{TimerKey, Wheel};
///
/// let mut wheel = Wheel::new();
/// let key: TimerKey = wheel.insert(10, "ping");
/// assert_eq!(wheel.cancel(key), Some("ping"));
/// assert_eq!(wheel.cancel(key), None); // stale
/// ```
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
    /// The neighbours in the slot's list. In a free entry, `next` is the next free one.
    pub(crate) prev: u32,
    pub(crate) next: u32,
    /// The generation of the entry's key. In a free entry, that of its next key, so no old key
    /// matches.
    generation: u32,
    state: State<T>,
}

// An enum of its own: the compiler then encodes `Free` as the node number 0, which no node has, and
// needs no byte for a tag.
enum State<T> {
    Free,
    Used {
        /// The node whose slot holds the entry.
        node: NodeIndex,
        value: T,
    },
}

// Two entries per cache line for the loop's value of eight bytes.
const _: () = assert!(size_of::<Entry<[u32; 2]>>() == 32);

/// The generation that no key has. An entry that reaches it is retired: never used again.
const LAST: u32 = u32::MAX;

/// The capacity grows by an eighth, but at least by this many entries. Doubling would leave up to
/// half of it unused.
const GROWTH: usize = 8;

/// A capacity of this many entries is never released: 16 KiB at the usual size of an entry.
const KEPT: usize = 512;

/// The maximum number of requests between two attempts to shrink.
const SKIPS_MAX: u8 = 64;

pub(crate) struct Entries<T> {
    all: Vec<Entry<T>>,
    /// The first free entry, or `NONE`.
    free: u32,
    len: usize,
    /// The generation that a new entry starts with. Higher than that of any key to an entry that
    /// was cut off, so those keys stay stale.
    first_generation: u32,
    /// A freed entry of a lower generation becomes the first free one. `LAST` excludes retired
    /// entries. After a vain attempt to shrink this is 0, so each entry is freed in order. One
    /// comparison on the hot path serves both.
    free_below: u32,
    /// How many requests to shrink are skipped before the next attempt, and before the one after
    /// it. An entry in use near the end makes an attempt vain, and an attempt is linear in the
    /// timers.
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

    /// The deadlines and values of all timers, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.all.iter().filter_map(|entry| match &entry.state {
            State::Free => None,
            State::Used { value, .. } => Some((entry.deadline, value)),
        })
    }

    /// Stores a timer. The caller adds it to a list.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> TimerKey {
        self.len += 1;
        // Overwritten when the entry is added to a list.
        let state = State::Used { node: NodeIndex::MAX, value };
        if let Some(entry) = self.all.get_mut(self.free as usize) {
            let index = core::mem::replace(&mut self.free, entry.next);
            (entry.deadline, entry.state) = (deadline, state);
            return TimerKey { index, generation: entry.generation };
        }
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact((self.all.len() / GROWTH).max(GROWTH));
            // A new peak: the last vain attempt to shrink says nothing about it.
            self.free_below = LAST;
        }
        let index = u32::try_from(self.all.len())
            .ok()
            .filter(|index| *index != NONE)
            .expect("the wheel is full: it holds 2^32 - 1 timers");
        let generation = self.first_generation;
        self.all.push(Entry { deadline, prev: NONE, next: NONE, generation, state });
        TimerKey { index, generation }
    }

    /// The index of the timer that `key` identifies, unless the key is stale.
    pub(crate) fn find(&self, key: TimerKey) -> Option<u32> {
        let entry = self.all.get(key.index as usize)?;
        (entry.generation == key.generation).then_some(key.index)
    }

    /// Frees an entry that the caller has taken out of its list.
    pub(crate) fn remove(&mut self, index: u32) -> T {
        let entry = &mut self.all[index as usize];
        let State::Used { value, .. } = core::mem::replace(&mut entry.state, State::Free) else {
            unreachable!("the entry is in use: its caller found it in a list")
        };
        // Makes the old key stale. An entry that reaches `LAST` is added to no free list: its
        // generation would wrap around, and an old key would match again.
        entry.generation += 1;
        if entry.generation < self.free_below {
            entry.next = core::mem::replace(&mut self.free, index);
        } else if entry.generation != LAST {
            self.free_in_order(index);
        }
        self.len -= 1;
        value
    }

    /// Adds an entry to the free list: first, or second if the first one has a lower index.
    ///
    /// New timers then get low indices. Otherwise a single timer that comes and goes would keep a
    /// high index in use, and [`shrink`](Self::shrink) could release nothing.
    #[cold]
    fn free_in_order(&mut self, index: u32) {
        // Also true for an empty list, because `NONE` is greater than each index.
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

    /// Whether to [`shrink`](Self::shrink) at this request. Each vain attempt doubles the number of
    /// requests until the next one.
    pub(crate) fn should_shrink(&mut self) -> bool {
        if !self.is_mostly_unused() {
            return false;
        }
        let skips = self.skips;
        self.skips = skips.saturating_sub(1);
        skips == 0
    }

    /// Releases the memory behind the last entry in use. Entries never move, because keys hold
    /// their indices.
    pub(crate) fn shrink(&mut self) {
        // An entry that has used half of all generations stays. Cut off, it would raise
        // `first_generation` so far that new entries retire early.
        let stays = |entry: &Entry<T>| matches!(entry.state, State::Used { .. }) || entry.generation > LAST / 2;
        let end = self.all.iter().rposition(stays).map_or(0, |last| last + 1);
        let generations = self.all.drain(end..).map(|entry| entry.generation);
        self.first_generation = generations.fold(self.first_generation, u32::max);
        self.all.shrink_to(KEPT);
        self.skips = if self.is_mostly_unused() { self.skips_next } else { 0 };
        self.free_below = if self.skips == 0 { LAST } else { 0 };
        self.skips_next = if self.skips == 0 { 1 } else { self.skips.saturating_mul(2).min(SKIPS_MAX) };
        // The free list led through the entries that were cut off. Rebuilt from the end, so that it
        // begins with the lowest index and the high entries fall out of use.
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
            State::Free => unreachable!("the entry is in use: its key was valid"),
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
    /// The node whose slot holds this entry. The entry is in use.
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
    pub(crate) fn capacity(&self) -> usize {
        self.all.capacity()
    }

    /// Checks that the capacity is at most an eighth larger than needed.
    pub(crate) fn check_capacity(&self) {
        let (len, capacity) = (self.all.len(), self.all.capacity());
        assert!(capacity <= len + len / GROWTH + GROWTH || capacity <= KEPT, "capacity {capacity} for {len}");
    }
}

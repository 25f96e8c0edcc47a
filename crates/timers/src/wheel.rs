//! The wheel: levels above a cursor, and what is overdue.
//!
//! Invariants: every pending deadline is at or after the cursor, and lies on the level of the highest digit in which it
//! differs from it; every overdue deadline lies before it. The cursor never moves back, and never past a timer. No timer
//! is due before `bound`, and `first`, where it is known, is due at it.

use core::fmt;
use core::iter::FusedIterator;

use crate::entries::{Entries, Entry, NONE, TimerKey};
use crate::nodes::{BITS, Content, LEVELS, NodeIndex, Nodes, digit};

/// A list of at most this many entries is looked through for its earliest; a longer one is split first.
const LOOK_THROUGH: usize = 8;

/// Timers by their deadlines, each with a value of type `T`.
///
/// Times are nanoseconds since an origin that the caller picks, from 0 to `u64::MAX`; a
/// [`Duration`](core::time::Duration) becomes one by [`saturating_nanos`](crate::saturating_nanos).
pub struct Wheel<T> {
    entries: Entries<T>,
    nodes: Nodes,
    /// What lies at or after `cursor`.
    pending: Levels,
    /// What was inserted with a deadline before `cursor`: few and rare, and yet in order. Levels above the time 0.
    overdue: Levels,
    cursor: u64,
    /// The earliest entry, where it is known, or `NONE`.
    first: u32,
    /// Whoever is inserted with an earlier deadline than this is the earliest.
    bound: u64,
}

/// The top nodes of one hierarchy of levels. What was made once stays: a timer that is alone on its level, and comes and
/// goes, makes and frees nothing.
struct Levels {
    /// Which levels hold something.
    occupied: u16,
    tops: [Option<NodeIndex>; LEVELS],
}

impl Levels {
    const fn new() -> Self {
        Levels { occupied: 0, tops: [None; LEVELS] }
    }

    fn is_occupied(&self, level: u8) -> bool {
        self.occupied & (1 << level) != 0
    }

    fn lowest(&self) -> Option<NodeIndex> {
        // Level 16, which is none, if nothing is occupied.
        *self.tops.get(self.occupied.trailing_zeros() as usize)?
    }

    fn clear(&mut self, level: u8) {
        self.occupied &= !(1 << level);
    }

    /// The top node of `level`, which is about to hold something.
    fn top(&mut self, level: u8, nodes: &mut Nodes) -> NodeIndex {
        self.occupied |= 1 << level;
        *self.tops[usize::from(level)].get_or_insert_with(|| nodes.insert_top(level))
    }

    /// Makes `node`, which holds something, the top node of `level`, which held nothing.
    fn set_top(&mut self, level: u8, node: NodeIndex, nodes: &mut Nodes) {
        debug_assert!(!self.is_occupied(level));
        self.occupied |= 1 << level;
        if let Some(old) = self.tops[usize::from(level)].replace(node) {
            nodes.remove_top(old);
        }
    }
}

/// The highest digit in which `a` and `b` differ; 0 if they are equal.
fn level_between(a: u64, b: u64) -> u8 {
    (((a ^ b) | 1).ilog2() / BITS) as u8
}

impl<T> Wheel<T> {
    /// A wheel without timers, at the time 0. It allocates nothing until the first is inserted.
    pub const fn new() -> Self {
        Wheel {
            entries: Entries::new(),
            nodes: Nodes::new(),
            pending: Levels::new(),
            overdue: Levels::new(),
            cursor: 0,
            first: NONE,
            bound: u64::MAX,
        }
    }

    /// The number of timers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no timers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a timer. O(1). A deadline in the past is fine: it expires at the next call, before what is later.
    ///
    /// # Panics
    /// With 2³² − 1 timers in the wheel.
    pub fn insert(&mut self, deadline: u64, value: T) -> TimerKey {
        let key = self.entries.insert(deadline, value);
        self.place(key.index, deadline);
        key
    }

    /// Removes a timer and returns its value, or `None` if `key` names none any more. O(1).
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let index = self.entries.find(key)?;
        self.unlink(index);
        Some(self.entries.remove(index))
    }

    /// Moves a timer to another deadline. Among equal deadlines it then counts as inserted now. Returns whether `key`
    /// still named one. O(1).
    pub fn reset(&mut self, key: TimerKey, deadline: u64) -> bool {
        let Some(index) = self.entries.find(key) else { return false };
        self.unlink(index);
        self.entries.get_mut(index).deadline = deadline;
        self.place(index, deadline);
        true
    }

    /// The value of a timer, or `None` if `key` names none any more. O(1).
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let index = self.entries.find(key)?;
        Some(self.entries.value_mut(index))
    }

    /// The deadline of a timer, or `None` if `key` names none any more.
    pub fn deadline(&self, key: TimerKey) -> Option<u64> {
        Some(self.entries.get(self.entries.find(key)?).deadline)
    }

    /// The earliest deadline, exactly; it may be in the past. O(1) amortised.
    ///
    /// This takes `&mut self` because it may sort the next timers further.
    pub fn next_deadline(&mut self) -> Option<u64> {
        self.first()?;
        Some(self.bound)
    }

    /// Takes out the timers whose deadline is `now` or earlier, in the order of their deadlines, and in the order of
    /// insertion where these are equal. O(1) amortised a timer, however much time has passed.
    ///
    /// What is not taken from the iterator stays in the wheel, so [`take`](Iterator::take) bounds how many expire at
    /// once, and the rest comes in order at the next call. A `now` before that of an earlier call finds what is due at
    /// that time, and does no harm.
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// for (deadline, name) in [(30, 'c'), (10, 'a'), (20, 'b'), (40, 'd')] {
    ///     wheel.insert(deadline, name);
    /// }
    /// assert_eq!(wheel.expire(30).take(2).collect::<String>(), "ab");
    /// assert_eq!(wheel.expire(30).collect::<String>(), "c");
    /// assert_eq!(wheel.next_deadline(), Some(40));
    /// ```
    pub fn expire(&mut self, now: u64) -> Expire<'_, T> {
        Expire { wheel: self, now }
    }

    /// Gives back memory that a peak has left: where less than a quarter is used, down to a few kilobytes. Keys stay
    /// valid, and so does the order of the timers.
    ///
    /// It takes a few comparisons if there is nothing to give back, and otherwise time in proportion to the timers and
    /// to the memory. The wheel never does this by itself, because only its owner knows whether a peak is over: call it
    /// when there is nothing else to do.
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// let last = wheel.insert(1_000_000, "last");
    /// let peak: Vec<_> = (0..100_000).map(|n| wheel.insert(n, "peak")).collect();
    /// for key in peak {
    ///     wheel.cancel(key);
    /// }
    /// wheel.shrink(); // about 4 MB
    /// assert_eq!(wheel.deadline(last), Some(1_000_000));
    /// ```
    pub fn shrink(&mut self) {
        if self.entries.should_shrink() || self.nodes.are_mostly_unused(self.len()) {
            self.rebuild();
        }
    }

    /// Puts all entries into new nodes, and gives back the rest. Within a list the order stays, and so among equals.
    #[cold]
    fn rebuild(&mut self) {
        let nodes = core::mem::replace(&mut self.nodes, Nodes::new());
        (self.pending, self.overdue) = (Levels::new(), Levels::new());
        nodes.for_each_list(|head| self.place_list(head));
        self.entries.shrink();
    }

    /// Takes out the earliest timer if it is due at `now`; otherwise moves the cursor there.
    fn pop(&mut self, now: u64) -> Option<T> {
        let Some(index) = self.first().filter(|_| self.bound <= now) else {
            self.advance(now);
            return None;
        };
        self.unlink(index);
        Some(self.entries.remove(index))
    }

    /// Puts an entry that is in no list where it belongs.
    fn place(&mut self, index: u32, deadline: u64) {
        if deadline < self.bound {
            (self.first, self.bound) = (index, deadline);
        }
        let (levels, origin) =
            if deadline < self.cursor { (&mut self.overdue, 0) } else { (&mut self.pending, self.cursor) };
        let top = levels.top(level_between(deadline, origin), &mut self.nodes);
        self.nodes.push(top, &mut self.entries, index, deadline);
    }

    fn unlink(&mut self, index: u32) {
        if self.first == index {
            self.first = NONE;
        }
        if self.entries.len() == 1 {
            self.bound = u64::MAX;
        }
        if let Some(level) = self.nodes.unlink(&mut self.entries, index) {
            let overdue = self.entries.get(index).deadline < self.cursor;
            if overdue { self.overdue.clear(level) } else { self.pending.clear(level) }
        }
    }

    /// The earliest entry: the first of the earliest in the first slot of the lowest level.
    fn first(&mut self) -> Option<u32> {
        if self.first == NONE {
            let top = self.overdue.lowest().or_else(|| self.pending.lowest())?;
            self.first = self.find_first(top);
            self.bound = self.entries.get(self.first).deadline;
        }
        Some(self.first)
    }

    fn find_first(&mut self, mut node: NodeIndex) -> u32 {
        loop {
            let slot = self.nodes.first_slot(node);
            node = match self.nodes.content(node, slot) {
                Content::Node(child) => child,
                Content::List(head) => match self.look_through(head) {
                    Some(first) => return first,
                    // On the lowest level all deadlines of a slot are equal, and the list is in insertion order.
                    None if self.nodes.level(node) == 0 => return head,
                    None => self.nodes.split(node, slot, &mut self.entries),
                },
            };
        }
    }

    /// The first of the earliest entries in a list, or `None` if the list is too long to look through.
    fn look_through(&self, head: u32) -> Option<u32> {
        let mut first = head;
        let mut index = head;
        for _ in 0..LOOK_THROUGH {
            let entry = self.entries.get(index);
            if entry.deadline < self.entries.get(first).deadline {
                first = index;
            }
            index = entry.next;
            if index == NONE {
                return Some(first);
            }
        }
        None
    }

    /// Moves the cursor to `now`, before which nothing is left. Only the slot that it enters is touched: what it holds
    /// shares one more digit with the cursor from then on, and belongs on a lower level.
    fn advance(&mut self, now: u64) {
        if now <= self.cursor {
            return;
        }
        let mut level = level_between(now, self.cursor);
        self.cursor = now;
        while self.pending.is_occupied(level) {
            let Some(node) = self.pending.tops[usize::from(level)] else { return };
            let slot = digit(now, level);
            // On the lowest level, and only there, a timer may share every digit with the cursor.
            if level == 0 || !self.nodes.is_occupied(node, slot) {
                return;
            }
            match self.nodes.content(node, slot) {
                Content::Node(child) => {
                    if let Some(level) = self.nodes.lift(node, slot, child) {
                        self.pending.clear(level);
                    }
                    level -= 1;
                    self.pending.set_top(level, child, &mut self.nodes);
                }
                Content::List(head) => {
                    if let Some(level) = self.nodes.clear(node, slot) {
                        self.pending.clear(level);
                    }
                    return self.place_list(head);
                }
            }
        }
    }

    fn place_list(&mut self, mut index: u32) {
        while index != NONE {
            let &Entry { deadline, next, .. } = self.entries.get(index);
            self.place(index, deadline);
            index = next;
        }
    }
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Wheel::new()
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len()).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// The timers that are due, each taken out of the wheel as it is returned; see [`Wheel::expire`].
#[derive(Debug)]
pub struct Expire<'a, T> {
    wheel: &'a mut Wheel<T>,
    now: u64,
}

impl<T> Iterator for Expire<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.wheel.pop(self.now)
    }
}

impl<T> FusedIterator for Expire<'_, T> {}

#[cfg(test)]
mod tests {
    //! What the order of timers does not show: where they lie, and how much room they take.

    use alloc::vec::Vec;

    use super::*;

    /// A number that looks random, and is the same in each run.
    fn random(n: u64) -> u64 {
        let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    impl Wheel<u64> {
        /// Checks the invariants that stand at the top of this file.
        fn check(&self) {
            let mut seen = 0;
            for (levels, is_overdue) in [(&self.pending, false), (&self.overdue, true)] {
                for (level, top) in levels.tops.iter().enumerate() {
                    let Some(top) = *top else { continue };
                    assert_eq!(usize::from(self.nodes.level(top)), level);
                    let entries = self.nodes.entries_below(top, &self.entries);
                    assert_eq!(levels.is_occupied(level as u8), !entries.is_empty(), "level {level}");
                    for deadline in &entries {
                        assert_eq!(*deadline < self.cursor, is_overdue, "{deadline} at {}", self.cursor);
                        let origin = if is_overdue { 0 } else { self.cursor };
                        assert_eq!(usize::from(level_between(*deadline, origin)), level, "{deadline}");
                        assert!(*deadline >= self.bound);
                    }
                    seen += entries.len();
                }
            }
            assert_eq!(seen, self.len());
            let tops = self.pending.tops.iter().chain(&self.overdue.tops).flatten().copied();
            self.nodes.check_that_none_is_lost(tops);
            self.entries.check_room();
        }
    }

    #[test]
    fn every_timer_lies_on_its_level_and_no_node_is_lost() {
        let mut wheel = Wheel::new();
        let mut keys = Vec::new();
        let mut now = 0;
        for n in 0..20_000_u64 {
            let [what, which, bits] = [0, 1, 2].map(|part| random(3 * n + part));
            let deadline = now + (random(n) >> (1 + bits % 63)) / 2;
            match what % 16 {
                0..8 => keys.push(wheel.insert(if what % 128 == 0 { deadline / 2 } else { deadline }, n)),
                8..11 if !keys.is_empty() => _ = wheel.cancel(keys[which as usize % keys.len()]),
                11..13 if !keys.is_empty() => _ = wheel.reset(keys[which as usize % keys.len()], deadline),
                13 => _ = wheel.next_deadline(),
                14 => {
                    // Times of each size, within what 64 bits hold.
                    now = now.saturating_add(which >> (20 + bits % 40)).min(u64::MAX / 4);
                    wheel.expire(now).for_each(drop);
                    assert_eq!(wheel.cursor, now, "an expired wheel has moved its cursor");
                }
                _ if n % 8 == 0 => wheel.rebuild(),
                _ => {}
            }
            if n % 16 == 0 {
                wheel.check();
            }
        }
        wheel.expire(u64::MAX).for_each(drop);
        wheel.check();
        assert!(wheel.is_empty());
    }

    #[test]
    fn room_grows_by_an_eighth_and_not_in_smaller_steps() {
        let mut wheel = Wheel::new();
        let mut rooms = Vec::new();
        for n in 0..10_000 {
            wheel.insert(n, n);
            wheel.entries.check_room();
            rooms.push(wheel.entries.room());
        }
        rooms.dedup();
        assert_eq!(rooms.len(), 52, "steps of growth up to 10 000");
    }
}

//! The wheel: the levels above a cursor, and the overdue timers.
//!
//! Invariants:
//! - Every pending deadline is at or after the cursor. It lies on the level of the highest digit in
//!   which it differs from the cursor.
//! - Every overdue deadline lies before the cursor.
//! - The cursor never moves back, and never moves past a timer.
//! - No timer has a deadline before `bound`. If `first` is known, its deadline is `bound`.

use core::fmt;
use core::iter::FusedIterator;

use crate::entries::{Entries, Entry, NONE, TimerKey};
use crate::nodes::{BITS, Content, LEVELS, NodeIndex, Nodes, digit};

/// A list of at most this many entries is searched for its earliest; a longer one is split. Eight
/// entries cost less to read than a new node costs to fill.
const SEARCH_MAX: usize = 8;

/// Timers in the order of their deadlines, each with a value of type `T`.
///
/// Times are nanoseconds since an origin that the caller chooses, from 0 to `u64::MAX`. Convert a
/// [`Duration`](core::time::Duration) by [`saturating_nanos`](crate::saturating_nanos).
///
/// ```
/// use picot_timers::Wheel;
///
/// let mut wheel = Wheel::new();
/// wheel.insert(30, "second");
/// wheel.insert(10, "first");
/// assert_eq!(wheel.next_deadline(), Some(10));
/// assert_eq!(wheel.expire(40).collect::<Vec<_>>(), ["first", "second"]);
/// ```
pub struct Wheel<T> {
    entries: Entries<T>,
    nodes: Nodes,
    /// The timers at or after `cursor`.
    pending: Levels,
    /// The timers before `cursor`: they were inserted late. Few, but they have an order, too. Their
    /// levels are relative to the time 0.
    overdue: Levels,
    /// The time to which the wheel was advanced.
    cursor: u64,
    /// The earliest entry if it is known, else `NONE`.
    first: u32,
    /// A lower bound of all deadlines. A timer that is inserted before it is the earliest.
    bound: u64,
}

/// The top nodes of one hierarchy of levels.
///
/// An empty top node stays allocated. Otherwise a single timer that comes and goes would allocate
/// and free a node each time.
struct Levels {
    /// Which levels are not empty.
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
        // If no level is occupied, this is level 16, which does not exist: `None`.
        *self.tops.get(self.occupied.trailing_zeros() as usize)?
    }

    fn clear(&mut self, level: u8) {
        self.occupied &= !(1 << level);
    }

    /// The top node of `level`. The caller is about to add an entry to it.
    fn top(&mut self, level: u8, nodes: &mut Nodes) -> NodeIndex {
        self.occupied |= 1 << level;
        *self.tops[usize::from(level)].get_or_insert_with(|| nodes.insert_top(level))
    }

    /// Makes `node`, which is not empty, the top node of `level`, which is empty.
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
    // `| 1` keeps `ilog2` defined for equal numbers, and changes no other level.
    (((a ^ b) | 1).ilog2() / BITS) as u8
}

impl<T> Wheel<T> {
    /// Makes an empty wheel at the time 0. It allocates nothing until the first insertion.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use picot_timers::Wheel;
    ///
    /// thread_local! {
    ///     static TIMEOUTS: RefCell<Wheel<String>> = const { RefCell::new(Wheel::new()) };
    /// }
    /// assert!(TIMEOUTS.with_borrow(|timeouts| timeouts.is_empty()));
    /// ```
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
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// wheel.insert(10, 'a');
    /// assert_eq!(wheel.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no timers.
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// wheel.insert(10, 'a');
    /// assert!(!wheel.is_empty());
    /// wheel.expire(10).for_each(drop);
    /// assert!(wheel.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a timer. O(1).
    ///
    /// A deadline in the past is allowed: the timer expires at the next call of
    /// [`expire`](Wheel::expire), before all later ones.
    ///
    /// # Panics
    /// If the wheel holds 2³² − 1 timers.
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// wheel.insert(20, "later");
    /// wheel.insert(10, "sooner");
    /// assert!(wheel.expire(20).eq(["sooner", "later"]));
    /// ```
    pub fn insert(&mut self, deadline: u64, value: T) -> TimerKey {
        let key = self.entries.insert(deadline, value);
        self.link(key.index, deadline);
        key
    }

    /// Removes a timer and returns its value, or `None` if `key` is stale. O(1).
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// let key = wheel.insert(10, "timeout");
    /// assert_eq!(wheel.cancel(key), Some("timeout"));
    /// assert_eq!(wheel.next_deadline(), None);
    /// ```
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let index = self.entries.find(key)?;
        self.unlink(index);
        Some(self.entries.remove(index))
    }

    /// Moves a timer to another deadline. Returns false if `key` is stale. O(1).
    ///
    /// Among equal deadlines the timer counts as inserted now.
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// let idle = wheel.insert(10, "connection 1 is idle");
    /// assert!(wheel.reset(idle, 20)); // it has sent something
    /// assert_eq!(wheel.next_deadline(), Some(20));
    /// ```
    pub fn reset(&mut self, key: TimerKey, deadline: u64) -> bool {
        let Some(index) = self.entries.find(key) else { return false };
        self.unlink(index);
        self.entries.get_mut(index).deadline = deadline;
        self.link(index, deadline);
        true
    }

    /// The value of a timer, or `None` if `key` is stale. O(1).
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// let key = wheel.insert(10, 1);
    /// *wheel.get_mut(key).unwrap() += 1;
    /// assert_eq!(wheel.cancel(key), Some(2));
    /// ```
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let index = self.entries.find(key)?;
        Some(self.entries.value_mut(index))
    }

    /// The deadline of a timer, or `None` if `key` is stale. O(1).
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// let key = wheel.insert(10, ());
    /// assert_eq!(wheel.deadline(key), Some(10));
    /// ```
    pub fn deadline(&self, key: TimerKey) -> Option<u64> {
        Some(self.entries.get(self.entries.find(key)?).deadline)
    }

    /// The deadlines and values of all timers, in no particular order. O(n) in the peak number of
    /// timers.
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// wheel.insert(10, "ping");
    /// assert_eq!(wheel.iter().collect::<Vec<_>>(), [(10, &"ping")]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter()
    }

    /// The earliest deadline, exactly. It may be in the past. O(1) amortised.
    ///
    /// This takes `&mut self` because it may split slots on the way.
    ///
    /// ```
    /// let mut wheel = picot_timers::Wheel::new();
    /// let first = wheel.insert(10, ());
    /// wheel.insert(11, ());
    /// assert_eq!(wheel.next_deadline(), Some(10));
    /// wheel.cancel(first);
    /// assert_eq!(wheel.next_deadline(), Some(11));
    /// ```
    pub fn next_deadline(&mut self) -> Option<u64> {
        self.first()?;
        Some(self.bound)
    }

    /// Removes the timers whose deadline is `now` or earlier, in the order of their deadlines.
    ///
    /// Equal deadlines come in the order of insertion. O(1) amortised per timer, however much time
    /// has passed.
    ///
    /// A timer that is not taken from the iterator stays in the wheel. So [`take`](Iterator::take)
    /// bounds how many expire at once, and the next call returns the rest. A `now` before that of
    /// an earlier call is allowed: it returns the timers that are due at that time.
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

    /// Releases memory after a peak, if less than a quarter of it is used.
    ///
    /// A few dozen kilobytes stay. Keys stay valid, and the timers keep their order.
    ///
    /// Costs a few comparisons if there is nothing to release; otherwise it is linear in the timers
    /// and the memory. The wheel never does this by itself, because only its owner knows that a
    /// peak is over. Call it when the program is idle.
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

    /// Moves all entries into new nodes, and releases the old ones.
    ///
    /// Each list keeps its order. Equal deadlines share a list, so they keep theirs, too.
    #[cold]
    fn rebuild(&mut self) {
        let nodes = core::mem::replace(&mut self.nodes, Nodes::new());
        (self.pending, self.overdue) = (Levels::new(), Levels::new());
        // The links of the lists are in the entries, so the old nodes are read only for their
        // heads.
        nodes.for_each_list(|head| self.link_list(head));
        self.entries.shrink();
    }

    /// Removes the earliest timer if it is due at `now`. Otherwise moves the cursor to `now`.
    fn pop(&mut self, now: u64) -> Option<T> {
        let Some(index) = self.first().filter(|_| self.bound <= now) else {
            // No timer lies before `now`, as the cursor's invariant requires.
            self.advance(now);
            return None;
        };
        self.unlink(index);
        Some(self.entries.remove(index))
    }

    /// Adds an entry that is in no list to its slot.
    fn link(&mut self, index: u32, deadline: u64) {
        // Strictly less: among equal deadlines the earlier insertion is first.
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
            // `bound` stays: it is still a lower bound.
            self.first = NONE;
        }
        // The last timer: the next one that is inserted is the earliest, whatever its deadline.
        if self.entries.len() == 1 {
            self.bound = u64::MAX;
        }
        if let Some(level) = self.nodes.unlink(&mut self.entries, index) {
            let overdue = self.entries.get(index).deadline < self.cursor;
            if overdue { self.overdue.clear(level) } else { self.pending.clear(level) }
        }
    }

    /// The earliest entry. It is in the first slot of the lowest level that is not empty.
    fn first(&mut self) -> Option<u32> {
        if self.first == NONE {
            // Every overdue timer lies before every pending one.
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
                Content::List(head) => match self.earliest_of(head) {
                    Some(first) => return first,
                    // On level 0 all deadlines of a slot are equal, so the list's first entry is
                    // the earliest insertion.
                    None if self.nodes.level(node) == 0 => return head,
                    None => self.nodes.split(node, slot, &mut self.entries),
                },
            };
        }
    }

    /// The earliest entry of a list, or `None` if the list is too long to search.
    fn earliest_of(&self, head: u32) -> Option<u32> {
        let mut first = head;
        let mut index = head;
        for _ in 0..SEARCH_MAX {
            let entry = self.entries.get(index);
            // Strictly less: of equal deadlines, the one inserted first is kept.
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

    /// Moves the cursor to `now`. No pending timer lies before `now`.
    ///
    /// Only the slot that the cursor enters changes: its timers now share one more digit with the
    /// cursor, so they belong on a lower level.
    fn advance(&mut self, now: u64) {
        if now <= self.cursor {
            return;
        }
        let mut level = level_between(now, self.cursor);
        self.cursor = now;
        // Levels above `level` keep their digit, so none of their slots is entered. Levels below it
        // are empty: their timers lay before `now`.
        while self.pending.is_occupied(level) {
            let Some(node) = self.pending.tops[usize::from(level)] else { return };
            let slot = digit(now, level);
            // On level 0, and only there, a timer may share every digit with the cursor.
            if level == 0 || !self.nodes.is_occupied(node, slot) {
                return;
            }
            match self.nodes.content(node, slot) {
                Content::Node(child) => {
                    if let Some(level) = self.nodes.lift(node, slot, child) {
                        self.pending.clear(level);
                    }
                    // The child becomes the level below as a whole, and the cursor enters one of
                    // its slots in turn.
                    level -= 1;
                    self.pending.set_top(level, child, &mut self.nodes);
                }
                Content::List(head) => {
                    if let Some(level) = self.nodes.clear(node, slot) {
                        self.pending.clear(level);
                    }
                    // Each entry goes to its own level, below this one, so no further slot changes.
                    return self.link_list(head);
                }
            }
        }
    }

    /// Adds the entries of a list to their slots, in order.
    fn link_list(&mut self, mut index: u32) {
        while index != NONE {
            let &Entry { deadline, next, .. } = self.entries.get(index);
            self.link(index, deadline);
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

/// Iterates over the timers that are due, and removes each as it returns it.
///
/// See [`Wheel::expire`].
///
/// ```
/// let mut wheel = picot_timers::Wheel::new();
/// wheel.insert(10, 'a');
/// wheel.insert(20, 'b');
/// let mut due = wheel.expire(10);
/// assert_eq!((due.next(), due.next()), (Some('a'), None));
/// ```
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
    //! What the order of timers does not show: their levels, and the memory.

    use alloc::vec::Vec;

    use super::*;

    /// A pseudo-random number, the same in each run.
    fn random(n: u64) -> u64 {
        let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    impl Wheel<u64> {
        /// Checks the invariants at the top of this file.
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
            self.nodes.check_that_none_leaks(tops);
            self.entries.check_capacity();
        }
    }

    #[test]
    fn every_timer_lies_on_its_level_and_no_node_leaks() {
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
                    // Times of every magnitude, without an overflow.
                    now = now.saturating_add(which >> (20 + bits % 40)).min(u64::MAX / 4);
                    wheel.expire(now).for_each(drop);
                    assert_eq!(wheel.cursor, now, "expiring moves the cursor");
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
    fn capacity_grows_by_an_eighth_and_not_in_smaller_steps() {
        let mut wheel = Wheel::new();
        let mut capacities = Vec::new();
        for n in 0..10_000 {
            wheel.insert(n, n);
            wheel.entries.check_capacity();
            capacities.push(wheel.entries.capacity());
        }
        capacities.dedup();
        assert_eq!(capacities.len(), 52, "growth steps up to 10 000");
    }
}

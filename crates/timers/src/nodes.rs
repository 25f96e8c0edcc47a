//! Nodes of 64 slots with their bitmaps, and the lists in the slots.
//!
//! A slot is empty, or holds a list of entries, or is split: then it holds a child node one level
//! below. A child is freed as soon as it is empty, which empties its slot, too. So an occupied slot
//! always leads to an entry. A top node has no parent. The wheel owns it: the wheel decides its
//! level and its hierarchy, and when to free it.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::entries::{Entries, Entry, NONE};

/// Bits per digit. Six make 64 slots per node, as many as a bitmap of one word has bits.
pub(crate) const BITS: u32 = 6;
/// Levels for all 64 bits of a deadline: 11.
pub(crate) const LEVELS: usize = 64_usize.div_ceil(BITS as usize);
const SLOTS: usize = 1 << BITS;

/// This many nodes are never released: 34 KiB.
const KEPT: usize = 64;

/// The digit of `deadline` on `level`.
pub(crate) fn digit(deadline: u64, level: u8) -> usize {
    (deadline >> (u32::from(level) * BITS)) as usize % SLOTS
}

/// The position of a node in the slab, counted from 1, so that an `Option` of it takes no more.
pub(crate) type NodeIndex = NonZeroU32;

#[derive(Clone, Copy)]
struct Slot {
    /// The first entry, or the child node if the slot is split. Undefined in an empty slot.
    head: u32,
    /// The last entry. Undefined in an empty or split slot.
    tail: u32,
}

struct Node {
    /// Which slots are not empty.
    occupied: u64,
    /// Which of those are split.
    split: u64,
    /// The node that holds this one, or none for a top node. In a free node, the next free one.
    parent: Option<NodeIndex>,
    /// The slot of `parent` that holds this node.
    parent_slot: u8,
    level: u8,
    slots: [Slot; SLOTS],
}

/// What a slot holds.
pub(crate) enum Content {
    /// The first entry of a list.
    List(u32),
    /// A node one level below.
    Node(NodeIndex),
}

impl Node {
    /// The node that a slot was split into.
    fn child(&self, slot: usize) -> Option<NodeIndex> {
        if self.split & (1 << slot) == 0 { None } else { NodeIndex::new(self.slots[slot].head) }
    }
}

pub(crate) struct Nodes {
    all: Vec<Node>,
    /// The first free node.
    free: Option<NodeIndex>,
}

impl Nodes {
    pub(crate) const fn new() -> Self {
        Nodes { all: Vec::new(), free: None }
    }

    /// Whether `timers` need far fewer nodes than there are.
    ///
    /// Only a slot with more than eight timers is split, and there are at most 22 top nodes: 11 in
    /// each of two hierarchies.
    pub(crate) fn are_mostly_unused(&self, timers: usize) -> bool {
        self.all.len() > KEPT && self.all.len() / 4 > timers
    }

    /// Calls `f` with the first entry of each list. Entries of equal deadlines share a list.
    pub(crate) fn for_each_list(&self, mut f: impl FnMut(u32)) {
        // A free node has no occupied slot, so it is skipped.
        for node in &self.all {
            let mut lists = node.occupied & !node.split;
            while lists != 0 {
                f(node.slots[lists.trailing_zeros() as usize].head);
                lists &= lists - 1; // clears the lowest bit
            }
        }
    }

    /// Makes an empty top node for `level`.
    pub(crate) fn insert_top(&mut self, level: u8) -> NodeIndex {
        self.insert(level, None, 0)
    }

    /// Frees an empty top node.
    pub(crate) fn remove_top(&mut self, node: NodeIndex) {
        let free = self.free.replace(node);
        let this = self.get_mut(node);
        debug_assert!(this.occupied == 0 && this.parent.is_none());
        this.parent = free;
    }

    fn insert(&mut self, level: u8, parent: Option<NodeIndex>, parent_slot: u8) -> NodeIndex {
        if let Some(index) = self.free {
            let node = self.get_mut(index);
            let next = node.parent;
            (node.level, node.parent, node.parent_slot) = (level, parent, parent_slot);
            self.free = next;
            // Its bitmaps are zero: a node is freed only when it is empty.
            return index;
        }
        let slots = [Slot { head: NONE, tail: NONE }; SLOTS];
        self.all.push(Node { occupied: 0, split: 0, parent, parent_slot, level, slots });
        u32::try_from(self.all.len())
            .ok()
            .and_then(NodeIndex::new)
            .expect("there are fewer nodes than entries, which fit in 32 bits")
    }

    pub(crate) fn level(&self, node: NodeIndex) -> u8 {
        self.get(node).level
    }

    /// The first slot that is not empty. The node must not be empty.
    pub(crate) fn first_slot(&self, node: NodeIndex) -> usize {
        self.get(node).occupied.trailing_zeros() as usize
    }

    pub(crate) fn is_occupied(&self, node: NodeIndex, slot: usize) -> bool {
        self.get(node).occupied & (1 << slot) != 0
    }

    /// What a slot holds. The slot must not be empty.
    pub(crate) fn content(&self, node: NodeIndex, slot: usize) -> Content {
        let node = self.get(node);
        node.child(slot).map_or(Content::List(node.slots[slot].head), Content::Node)
    }

    /// Adds an entry at the end of its slot's list, in `node` or in a descendant of it.
    pub(crate) fn push<T>(&mut self, mut node: NodeIndex, entries: &mut Entries<T>, index: u32, deadline: u64) {
        loop {
            let this = self.get_mut(node);
            let slot = digit(deadline, this.level);
            if let Some(child) = this.child(slot) {
                node = child;
                continue;
            }
            // At the end, so that equal deadlines keep the order of insertion.
            let bit = 1 << slot;
            let tail = if this.occupied & bit == 0 { NONE } else { this.slots[slot].tail };
            this.occupied |= bit;
            this.slots[slot].tail = index;
            if tail == NONE {
                this.slots[slot].head = index;
            } else {
                entries.get_mut(tail).next = index;
            }
            let entry = entries.get_mut(index);
            (entry.prev, entry.next) = (tail, NONE);
            entry.set_node(node);
            return;
        }
    }

    /// Takes an entry out of its list. Returns the level of the top node if that is empty now.
    pub(crate) fn unlink<T>(&mut self, entries: &mut Entries<T>, index: u32) -> Option<u8> {
        let entry = entries.get(index);
        let (deadline, prev, next, node) = (entry.deadline, entry.prev, entry.next, entry.node());
        let this = self.get_mut(node);
        let slot = digit(deadline, this.level);
        // The list has this entry only, so its slot becomes empty.
        if prev == NONE && next == NONE {
            return self.clear(node, slot);
        }
        if prev == NONE {
            this.slots[slot].head = next;
        } else {
            entries.get_mut(prev).next = next;
        }
        if next == NONE {
            this.slots[slot].tail = prev;
        } else {
            entries.get_mut(next).prev = prev;
        }
        None
    }

    /// Marks a slot as empty, and frees each node that becomes empty by that, from the bottom up.
    ///
    /// The top node stays. Returns its level if it is empty now.
    pub(crate) fn clear(&mut self, mut node: NodeIndex, mut slot: usize) -> Option<u8> {
        loop {
            let free = self.free;
            let this = self.get_mut(node);
            this.occupied &= !(1 << slot);
            this.split &= !(1 << slot);
            if this.occupied != 0 {
                return None;
            }
            let Some(parent) = this.parent else { return Some(this.level) };
            // Read before `parent` becomes the link of the free list.
            slot = usize::from(this.parent_slot);
            this.parent = free;
            self.free = Some(node);
            node = parent;
        }
    }

    /// Splits a slot that holds a list, and returns the new child. The entries keep their order.
    pub(crate) fn split<T>(&mut self, node: NodeIndex, slot: usize, entries: &mut Entries<T>) -> NodeIndex {
        let child = self.insert(self.level(node) - 1, Some(node), slot as u8);
        let this = self.get_mut(node);
        let mut index = core::mem::replace(&mut this.slots[slot].head, child.get());
        this.split |= 1 << slot;
        // From the first to the last: `push` appends, so the order of insertion stays.
        while index != NONE {
            let &Entry { deadline, next, .. } = entries.get(index);
            self.push(child, entries, index, deadline);
            index = next;
        }
        child
    }

    /// Makes the child of a split slot a top node, and empties the slot.
    ///
    /// Returns as [`clear`](Self::clear) does.
    pub(crate) fn lift(&mut self, node: NodeIndex, slot: usize, child: NodeIndex) -> Option<u8> {
        self.get_mut(child).parent = None;
        self.clear(node, slot)
    }

    fn get(&self, node: NodeIndex) -> &Node {
        &self.all[node.get() as usize - 1]
    }

    fn get_mut(&mut self, node: NodeIndex) -> &mut Node {
        &mut self.all[node.get() as usize - 1]
    }
}

#[cfg(test)]
impl Nodes {
    /// The deadlines of all entries in a node and its descendants.
    pub(crate) fn entries_below<T>(&self, node: NodeIndex, entries: &Entries<T>) -> Vec<u64> {
        let mut deadlines = Vec::new();
        let mut nodes = alloc::vec![node];
        while let Some(node) = nodes.pop() {
            for slot in (0..SLOTS).filter(|slot| self.is_occupied(node, *slot)) {
                match self.content(node, slot) {
                    Content::Node(child) => nodes.push(child),
                    Content::List(mut index) => {
                        while index != NONE {
                            let entry = entries.get(index);
                            assert_eq!((entry.node(), digit(entry.deadline, self.level(node))), (node, slot));
                            deadlines.push(entry.deadline);
                            index = entry.next;
                        }
                    }
                }
            }
        }
        deadlines
    }

    /// Checks that each node is either free or reachable from one of `tops`.
    pub(crate) fn check_that_none_leaks(&self, tops: impl Iterator<Item = NodeIndex>) {
        let mut nodes: Vec<_> = tops.collect();
        let mut found = 0;
        while let Some(node) = nodes.pop() {
            found += 1;
            nodes.extend((0..SLOTS).filter_map(|slot| self.get(node).child(slot)));
        }
        let mut free = self.free;
        while let Some(node) = free {
            found += 1;
            assert_eq!(self.get(node).occupied, 0, "a free node is empty");
            free = self.get(node).parent;
        }
        assert_eq!(found, self.all.len(), "nodes that are reachable or free, against all nodes");
    }
}

//! Nodes of 64 slots with their bitmaps, and the lists in the slots.
//!
//! A slot is empty, or holds a list of entries, or is split: then it holds a node one level below. Such a node is freed
//! at once when it becomes empty, and with it the slot that held it, so an occupied slot always leads to an entry. A top
//! node, which no slot holds, is the wheel's: what it is for (which level, above which cursor) and when it goes.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::entries::{Entries, Entry, NONE};

/// Bits a digit, and the levels that 64 bits make.
pub(crate) const BITS: u32 = 6;
pub(crate) const LEVELS: usize = 64_usize.div_ceil(BITS as usize);
const SLOTS: usize = 1 << BITS;

/// This many nodes are never given back: 34 KiB.
const KEPT: usize = 64;

/// The digit of `deadline` on `level`.
pub(crate) fn digit(deadline: u64, level: u8) -> usize {
    (deadline >> (u32::from(level) * BITS)) as usize % SLOTS
}

/// Names a node: its place in the slab, counted from 1.
pub(crate) type NodeIndex = NonZeroU32;

#[derive(Clone, Copy)]
struct Slot {
    /// The first entry; or the number of the child node, if the slot is split.
    head: u32,
    /// The last entry.
    tail: u32,
}

struct Node {
    /// Which slots hold something.
    occupied: u64,
    /// Which of these are split.
    split: u64,
    /// The node whose slot this is, or none for a top node. While the node is free, the next free one.
    parent: Option<NodeIndex>,
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
    free: Option<NodeIndex>,
}

impl Nodes {
    pub(crate) const fn new() -> Self {
        Nodes { all: Vec::new(), free: None }
    }

    /// Whether most nodes are free: `timers` need far fewer. A node is split only for more than a handful of timers,
    /// and there are at most 22 top nodes.
    pub(crate) fn are_mostly_unused(&self, timers: usize) -> bool {
        self.all.len() > KEPT && self.all.len() / 4 > timers
    }

    /// Calls `f` with the first entry of each list. Entries of equal deadlines are in one list.
    pub(crate) fn for_each_list(&self, mut f: impl FnMut(u32)) {
        // A free node has no occupied slot.
        for node in &self.all {
            let mut lists = node.occupied & !node.split;
            while lists != 0 {
                f(node.slots[lists.trailing_zeros() as usize].head);
                lists &= lists - 1;
            }
        }
    }

    /// A top node for `level` without entries.
    pub(crate) fn insert_top(&mut self, level: u8) -> NodeIndex {
        self.insert(level, None, 0)
    }

    /// Frees a top node that is empty.
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
            return index;
        }
        let slots = [Slot { head: NONE, tail: NONE }; SLOTS];
        self.all.push(Node { occupied: 0, split: 0, parent, parent_slot, level, slots });
        u32::try_from(self.all.len()).ok().and_then(NodeIndex::new).expect("fewer nodes than entries, which fit")
    }

    pub(crate) fn level(&self, node: NodeIndex) -> u8 {
        self.get(node).level
    }

    /// The first slot that holds something; there has to be one.
    pub(crate) fn first_slot(&self, node: NodeIndex) -> usize {
        self.get(node).occupied.trailing_zeros() as usize
    }

    pub(crate) fn is_occupied(&self, node: NodeIndex, slot: usize) -> bool {
        self.get(node).occupied & (1 << slot) != 0
    }

    pub(crate) fn content(&self, node: NodeIndex, slot: usize) -> Content {
        let node = self.get(node);
        node.child(slot).map_or(Content::List(node.slots[slot].head), Content::Node)
    }

    /// Puts an entry at the end of its slot's list, in `node` or in what the slot was split into.
    pub(crate) fn push<T>(&mut self, mut node: NodeIndex, entries: &mut Entries<T>, index: u32, deadline: u64) {
        loop {
            let this = self.get_mut(node);
            let slot = digit(deadline, this.level);
            if let Some(child) = this.child(slot) {
                node = child;
                continue;
            }
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

    /// Takes an entry out of its list. Returns the level whose top node became empty by that.
    pub(crate) fn unlink<T>(&mut self, entries: &mut Entries<T>, index: u32) -> Option<u8> {
        let entry = entries.get(index);
        let (deadline, prev, next, node) = (entry.deadline, entry.prev, entry.next, entry.node());
        let this = self.get_mut(node);
        let slot = digit(deadline, this.level);
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

    /// Marks a slot as empty, whatever it held, and frees the nodes that become empty by that, upwards to the top node,
    /// which stays. Returns its level if it became empty, too.
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
            slot = usize::from(this.parent_slot);
            this.parent = free;
            self.free = Some(node);
            node = parent;
        }
    }

    /// Splits a slot that holds a list: its entries go, in order, to a node one level below, which is returned.
    pub(crate) fn split<T>(&mut self, node: NodeIndex, slot: usize, entries: &mut Entries<T>) -> NodeIndex {
        let child = self.insert(self.level(node) - 1, Some(node), slot as u8);
        let this = self.get_mut(node);
        let mut index = core::mem::replace(&mut this.slots[slot].head, child.get());
        this.split |= 1 << slot;
        while index != NONE {
            let &Entry { deadline, next, .. } = entries.get(index);
            self.push(child, entries, index, deadline);
            index = next;
        }
        child
    }

    /// Makes the child node in a split slot a top node, and empties the slot. Returns as [`clear`](Self::clear) does.
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
    /// The deadlines of all entries in a node and below it.
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

    /// Checks that each node is free, or is reached from one of `tops`, and not both.
    pub(crate) fn check_that_none_is_lost(&self, tops: impl Iterator<Item = NodeIndex>) {
        let mut nodes: Vec<_> = tops.collect();
        let mut found = 0;
        while let Some(node) = nodes.pop() {
            found += 1;
            nodes.extend((0..SLOTS).filter_map(|slot| self.get(node).child(slot)));
        }
        let mut free = self.free;
        while let Some(node) = free {
            found += 1;
            assert_eq!(self.get(node).occupied, 0, "a free node holds nothing");
            free = self.get(node).parent;
        }
        assert_eq!(found, self.all.len(), "nodes that are reached or free, and all nodes");
    }
}

//! Nodes of 64 slots with their bitmaps, and the lists in the slots.
//!
//! A slot is empty, or holds a list of entries, or is split: then it holds a node one level below. A node that becomes
//! empty is freed at once, and with it the slot that held it, so an occupied slot always leads to an entry. What a node
//! is for (which level, above which cursor) the wheel decides.

use alloc::vec::Vec;

use crate::entries::{Entries, NONE};

/// Bits a digit, and the levels that 64 bits make.
pub(crate) const BITS: u32 = 6;
pub(crate) const LEVELS: usize = 64_usize.div_ceil(BITS as usize);
const SLOTS: usize = 1 << BITS;

/// The digit of `deadline` on `level`.
pub(crate) fn digit(deadline: u64, level: u8) -> usize {
    (deadline >> (u32::from(level) * BITS)) as usize % SLOTS
}

/// What holds a node.
#[derive(Clone, Copy)]
pub(crate) enum Holder {
    /// The slot that was split, in this node.
    Node(u32),
    /// The wheel, as the top node of a level.
    Top,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The first entry; or the child node, if the slot is split.
    head: u32,
    /// The last entry.
    tail: u32,
}

struct Node {
    /// Which slots hold something.
    occupied: u64,
    /// Which of these are split.
    split: u64,
    level: u8,
    /// The slot of the parent that holds this node; the parent is `NONE` for a top node. While the node is free,
    /// `parent` is the next free one.
    parent_slot: u8,
    parent: u32,
    slots: [Slot; SLOTS],
}

/// What a slot holds.
pub(crate) enum Content {
    /// The first entry of a list.
    List(u32),
    /// A node one level below.
    Node(u32),
}

pub(crate) struct Nodes {
    all: Vec<Node>,
    free: u32,
}

impl Nodes {
    pub(crate) const fn new() -> Self {
        Nodes { all: Vec::new(), free: NONE }
    }

    /// A node for `level` without entries. The caller sees to it that somebody holds it and that it gets one.
    pub(crate) fn insert(&mut self, level: u8, holder: Holder, slot: usize) -> u32 {
        let parent = match holder {
            Holder::Node(parent) => parent,
            Holder::Top => NONE,
        };
        if let Some(node) = self.all.get_mut(self.free as usize) {
            let index = core::mem::replace(&mut self.free, node.parent);
            (node.level, node.parent, node.parent_slot) = (level, parent, slot as u8);
            return index;
        }
        let slots = [Slot { head: NONE, tail: NONE }; SLOTS];
        self.all.push(Node { occupied: 0, split: 0, level, parent_slot: slot as u8, parent, slots });
        // There are fewer nodes than entries, which fit.
        (self.all.len() - 1) as u32
    }

    pub(crate) fn level(&self, node: u32) -> u8 {
        self.get(node).level
    }

    /// The first slot that holds something. There is one, or the node would be free.
    pub(crate) fn first_slot(&self, node: u32) -> usize {
        self.get(node).occupied.trailing_zeros() as usize
    }

    pub(crate) fn is_occupied(&self, node: u32, slot: usize) -> bool {
        self.get(node).occupied & (1 << slot) != 0
    }

    pub(crate) fn content(&self, node: u32, slot: usize) -> Content {
        let Node { split, slots, .. } = self.get(node);
        if split & (1 << slot) != 0 { Content::Node(slots[slot].head) } else { Content::List(slots[slot].head) }
    }

    /// Puts an entry at the end of its slot's list, in `node` or in what the slot was split into.
    pub(crate) fn push<T>(&mut self, mut node: u32, entries: &mut Entries<T>, index: u32) {
        let deadline = entries.get(index).deadline;
        loop {
            let this = &mut self.all[node as usize];
            let slot = digit(deadline, this.level);
            let bit = 1 << slot;
            if this.split & bit != 0 {
                node = this.slots[slot].head;
                continue;
            }
            let tail = if this.occupied & bit == 0 { NONE } else { this.slots[slot].tail };
            this.occupied |= bit;
            if tail == NONE {
                this.slots[slot].head = index;
            } else {
                entries.get_mut(tail).next = index;
            }
            this.slots[slot].tail = index;
            let entry = entries.get_mut(index);
            (entry.node, entry.prev, entry.next) = (node, tail, NONE);
            return;
        }
    }

    /// Takes an entry out of its list. Returns the level whose top node became free by that.
    pub(crate) fn unlink<T>(&mut self, entries: &mut Entries<T>, index: u32) -> Option<u8> {
        let &crate::entries::Entry { deadline, prev, next, node, .. } = entries.get(index);
        let this = &mut self.all[node as usize];
        let slot = digit(deadline, this.level);
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
        if prev == NONE && next == NONE { self.clear(node, slot) } else { None }
    }

    /// Marks a slot as empty, whatever it held, and frees the nodes that become empty by that, upwards. Returns the
    /// level whose top node became free.
    pub(crate) fn clear(&mut self, mut node: u32, mut slot: usize) -> Option<u8> {
        loop {
            let this = &mut self.all[node as usize];
            this.occupied &= !(1 << slot);
            this.split &= !(1 << slot);
            if this.occupied != 0 {
                return None;
            }
            let (level, parent) = (this.level, this.parent);
            slot = usize::from(this.parent_slot);
            this.parent = core::mem::replace(&mut self.free, node);
            if parent == NONE {
                return Some(level);
            }
            node = parent;
        }
    }

    /// Splits a slot that holds a list: its entries go, in order, to a node one level below, which is returned.
    pub(crate) fn split<T>(&mut self, node: u32, slot: usize, entries: &mut Entries<T>) -> u32 {
        let child = self.insert(self.level(node) - 1, Holder::Node(node), slot);
        let this = &mut self.all[node as usize];
        let mut index = core::mem::replace(&mut this.slots[slot].head, child);
        this.split |= 1 << slot;
        while index != NONE {
            let next = entries.get(index).next;
            self.push(child, entries, index);
            index = next;
        }
        child
    }

    /// Makes the child node in a split slot a top node, and empties the slot. Returns as [`clear`](Self::clear) does.
    pub(crate) fn lift(&mut self, node: u32, slot: usize, child: u32) -> Option<u8> {
        self.all[child as usize].parent = NONE;
        self.clear(node, slot)
    }

    fn get(&self, node: u32) -> &Node {
        &self.all[node as usize]
    }
}

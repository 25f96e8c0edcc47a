//! The order in which a queue returns its items.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Stores the items of a queue. Sealed: this crate has all implementations.
///
/// ```
/// fn first<T, O: picot_sync::Order<T>>(queue: &picot_sync::Queue<T, O>) -> Option<T> {
///     queue.try_get().ok()
/// }
///
/// assert_eq!(first(&picot_sync::Queue::<u8>::new(1)), None);
/// ```
pub trait Order<T>: Default + sealed::Sealed {
    #[doc(hidden)]
    fn push(&mut self, item: T);
    #[doc(hidden)]
    fn pop(&mut self) -> Option<T>;
    #[doc(hidden)]
    fn count(&self) -> usize;
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for super::Fifo<T> {}
    impl<T> Sealed for super::Lifo<T> {}
    impl<T> Sealed for super::Smallest<T> {}
}

/// First in, first out: the order of [`Queue`](crate::Queue).
///
/// ```
/// let queue: picot_sync::Queue<u8, picot_sync::Fifo<u8>> = picot_sync::Queue::new(1);
/// # drop(queue);
/// ```
#[derive(Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// Last in, first out: the order of [`LifoQueue`](crate::LifoQueue).
///
/// ```
/// fn depth(stack: &picot_sync::Queue<u8, picot_sync::Lifo<u8>>) -> usize {
///     stack.len()
/// }
///
/// assert_eq!(depth(&picot_sync::LifoQueue::new(1)), 0);
/// ```
#[derive(Debug)]
pub struct Lifo<T>(Vec<T>);

/// Smallest first, and first in among equals: the order of [`PriorityQueue`](crate::PriorityQueue).
///
/// ```
/// fn jobs(queue: &picot_sync::Queue<u8, picot_sync::Smallest<u8>>) -> usize {
///     queue.len()
/// }
///
/// assert_eq!(jobs(&picot_sync::PriorityQueue::new(1)), 0);
/// ```
#[derive(Debug)]
pub struct Smallest<T> {
    heap: BinaryHeap<Entry<T>>,
    pushed: u64,
}

/// Greater means earlier out, as the heap wants it.
#[derive(Debug)]
struct Entry<T> {
    item: T,
    number: u64,
}

impl<T: Ord> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Reversed, as the heap's first entry is its largest. Equal items keep the order of their
        // puts.
        other.item.cmp(&self.item).then(other.number.cmp(&self.number))
    }
}

impl<T: Ord> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Eq for Entry<T> {}

impl<T: Ord> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Default for Fifo<T> {
    fn default() -> Fifo<T> {
        Fifo(VecDeque::new())
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Lifo<T> {
        Lifo(Vec::new())
    }
}

impl<T: Ord> Default for Smallest<T> {
    fn default() -> Smallest<T> {
        Smallest { heap: BinaryHeap::new(), pushed: 0 }
    }
}

impl<T> Order<T> for Fifo<T> {
    #[inline]
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    #[inline]
    fn count(&self) -> usize {
        self.0.len()
    }
}

impl<T> Order<T> for Lifo<T> {
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> Order<T> for Smallest<T> {
    fn push(&mut self, item: T) {
        self.pushed += 1;
        self.heap.push(Entry { item, number: self.pushed });
    }

    fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|entry| entry.item)
    }

    fn count(&self) -> usize {
        self.heap.len()
    }
}

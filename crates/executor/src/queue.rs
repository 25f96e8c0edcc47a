//! The run queue: a FIFO for one thread, without a lock and without a borrow flag.
//!
//! The invariant: no method calls foreign code, and none hands out a reference into the queue. So two of them are never
//! active at once, whatever a waker does.

use std::cell::UnsafeCell;
use std::collections::VecDeque;

pub(crate) struct Queue<T> {
    items: UnsafeCell<VecDeque<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Queue<T> {
        Queue { items: UnsafeCell::new(VecDeque::new()) }
    }

    #[inline]
    pub(crate) fn push(&self, item: T) {
        // SAFETY: `UnsafeCell` keeps this type on one thread at a time, and no other method is active (see above): moving
        // an item runs no code of its type, and growing runs the allocator's, which may not call back.
        unsafe { (*self.items.get()).push_back(item) }
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<T> {
        // SAFETY: As in `push`; the item is moved out, not dropped.
        unsafe { (*self.items.get()).pop_front() }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: As in `push`.
        unsafe { (*self.items.get()).len() }
    }

    /// Exchanges two items, both of which are there.
    pub(crate) fn swap(&self, one: usize, other: usize) {
        // SAFETY: As in `push`; the items are moved, not dropped.
        unsafe { (*self.items.get()).swap(one, other) }
    }

    /// Exchanges all items with those of another queue.
    pub(crate) fn exchange(&self, other: &Queue<T>) {
        // SAFETY: As in `push`, for both of them; they may be one.
        unsafe { std::ptr::swap(self.items.get(), other.items.get()) }
    }

    /// Gives the memory of an empty queue back.
    pub(crate) fn shrink(&self) {
        // SAFETY: As in `push`; shrinking drops no item.
        unsafe { (*self.items.get()).shrink_to_fit() }
    }
}

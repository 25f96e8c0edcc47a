//! The run queue: a FIFO for one thread, without a lock and without a borrow flag.
//!
//! The invariant: no method calls foreign code, and none hands out a reference into the queue. So two of them are never
//! active at once, whatever a waker does.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;

use async_task::Runnable;

use crate::call::CallHandle;
use crate::shared::Meta;

/// A task that is to run. Dropping this leaks the task: its future may be dropped in a step of its own only.
pub(crate) struct Ready(ManuallyDrop<Runnable<Meta>>);

impl Ready {
    #[inline]
    pub(crate) fn new(runnable: Runnable<Meta>) -> Ready {
        Ready(ManuallyDrop::new(runnable))
    }

    #[inline]
    pub(crate) fn meta(&self) -> &Meta {
        self.0.metadata()
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn into_runnable(self) -> Runnable<Meta> {
        ManuallyDrop::into_inner(self.0)
    }

    /// Polls the task's future, in its step, which the caller has [begun](crate::current::Steps::begin_task).
    #[inline]
    pub(crate) fn poll(self) {
        ManuallyDrop::into_inner(self.0).run();
    }
}

/// What waits in the one FIFO.
pub(crate) enum Item {
    Task(Ready),
    Call(CallHandle),
    Root,
}

/// Two queues that are one: a place is one word, which nearly always is a task. Where it is not, the first of the others
/// stands there.
pub(crate) struct Queue {
    places: UnsafeCell<VecDeque<Option<Ready>>>,
    /// Callbacks, and `None` for the root.
    others: UnsafeCell<VecDeque<Option<CallHandle>>>,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue::new()
    }
}

impl Queue {
    pub(crate) const fn new() -> Queue {
        Queue { places: UnsafeCell::new(VecDeque::new()), others: UnsafeCell::new(VecDeque::new()) }
    }

    #[inline]
    pub(crate) fn push_task(&self, task: Ready) {
        // SAFETY: `UnsafeCell` keeps this type on one thread at a time, and no other method is active (see above): moving
        // an item runs no code of its type, and growing runs the allocator's, which may not call back.
        unsafe { (*self.places.get()).push_back(Some(task)) }
    }

    pub(crate) fn push(&self, item: Item) {
        let other = match item {
            Item::Task(task) => return self.push_task(task),
            Item::Call(call) => Some(call),
            Item::Root => None,
        };
        // SAFETY: As in `push_task`.
        unsafe {
            (*self.others.get()).push_back(other);
            (*self.places.get()).push_back(None);
        }
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Item> {
        // SAFETY: As in `push_task`; the item is moved out, not dropped.
        match unsafe { (*self.places.get()).pop_front() }? {
            Some(task) => Some(Item::Task(task)),
            None => self.pop_other(),
        }
    }

    #[inline(never)]
    fn pop_other(&self) -> Option<Item> {
        // SAFETY: As in `push_task`; the item is moved out, not dropped.
        let other = unsafe { (*self.others.get()).pop_front() }?;
        Some(other.map_or(Item::Root, Item::Call))
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: As in `push_task`.
        unsafe { (*self.places.get()).len() }
    }

    /// Exchanges all items with those of another queue.
    pub(crate) fn exchange(&self, other: &Queue) {
        // SAFETY: As in `push_task`, for both of them; they may be one.
        unsafe {
            std::ptr::swap(self.places.get(), other.places.get());
            std::ptr::swap(self.others.get(), other.others.get());
        }
    }

    /// Moves all items behind those of another queue, which is not this one.
    pub(crate) fn pour_into(&self, other: &Queue) {
        while let Some(item) = self.pop() {
            other.push(item);
        }
    }

    /// Gives the memory of an empty queue back.
    pub(crate) fn shrink(&self) {
        // SAFETY: As in `push_task`; shrinking drops no item.
        unsafe {
            (*self.places.get()).shrink_to_fit();
            (*self.others.get()).shrink_to_fit();
        }
    }
}

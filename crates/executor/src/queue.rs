//! The run queue: a FIFO for one thread, without a lock and without a borrow flag.
//!
//! The invariant: no method calls foreign code, and none hands out a reference into the queue. So two of them are never
//! active at once, whatever a waker does.

use std::cell::{Cell, UnsafeCell};
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
///
/// The places are two rows. One grows at its end while the other is taken from; when that is used up they change roles. So
/// neither a push nor a pop has to wrap around anything.
pub(crate) struct Queue {
    /// What is taken from, and how much of it was.
    front: UnsafeCell<Vec<Option<Ready>>>,
    taken: Cell<usize>,
    /// What grows.
    back: UnsafeCell<Vec<Option<Ready>>>,
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
        Queue {
            front: UnsafeCell::new(Vec::new()),
            taken: Cell::new(0),
            back: UnsafeCell::new(Vec::new()),
            others: UnsafeCell::new(VecDeque::new()),
        }
    }

    #[inline]
    pub(crate) fn push_task(&self, task: Ready) {
        self.push_place(Some(task));
    }

    #[inline]
    fn push_place(&self, place: Option<Ready>) {
        // SAFETY: `UnsafeCell` keeps this type on one thread at a time, and no other method is active (see above): moving
        // an item runs no code of its type, and growing runs the allocator's, which may not call back.
        let back = unsafe { &mut *self.back.get() };
        if back.len() == back.capacity() {
            return grow_and_push(back, place);
        }
        back.push(place);
    }

    pub(crate) fn push(&self, item: Item) {
        let other = match item {
            Item::Task(task) => return self.push_task(task),
            Item::Call(call) => Some(call),
            Item::Root => None,
        };
        // SAFETY: As in `push_place`.
        unsafe { (*self.others.get()).push_back(other) }
        self.push_place(None);
    }

    pub(crate) fn pop(&self) -> Option<Item> {
        self.pop_place().and_then(|place| self.item_of(place))
    }

    /// Takes the first place: a task, or `None` where one of the others stands. That is to be had by [`item_of`](Queue::item_of),
    /// before anything else is taken.
    #[inline]
    pub(crate) fn pop_place(&self) -> Option<Option<Ready>> {
        // SAFETY: As in `push_place`. The reference ends here, before the front is exchanged.
        if self.taken.get() == unsafe { (*self.front.get()).len() } && !self.turn_over() {
            return None;
        }
        let taken = self.taken.get();
        self.taken.set(taken + 1);
        // SAFETY: As in `push_place`. It is one of the front's, of which each is taken once: what is left behind is never
        // looked at again, and has nothing to drop.
        Some(unsafe { (*self.front.get()).as_ptr().add(taken).read() })
    }

    /// What a place that was just taken stands for.
    pub(crate) fn item_of(&self, place: Option<Ready>) -> Option<Item> {
        if let Some(task) = place {
            return Some(Item::Task(task));
        }
        // SAFETY: As in `push_place`.
        let other = unsafe { (*self.others.get()).pop_front() }?;
        Some(other.map_or(Item::Root, Item::Call))
    }

    /// The front is used up: what has grown takes its place. Returns whether there is anything.
    #[inline(never)]
    fn turn_over(&self) -> bool {
        // SAFETY: As in `push_place`, and they are two.
        let (front, back) = unsafe { (&mut *self.front.get(), &mut *self.back.get()) };
        front.clear();
        self.taken.set(0);
        std::mem::swap(front, back);
        !front.is_empty()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: As in `push_place`.
        unsafe { (*self.front.get()).len() - self.taken.get() + (*self.back.get()).len() }
    }

    /// Exchanges all items with those of another queue.
    pub(crate) fn exchange(&self, other: &Queue) {
        self.taken.swap(&other.taken);
        // SAFETY: As in `push_place`, for both of them; they may be one.
        unsafe {
            std::ptr::swap(self.front.get(), other.front.get());
            std::ptr::swap(self.back.get(), other.back.get());
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
        debug_assert_eq!(self.len(), 0);
        self.turn_over();
        // SAFETY: As in `push_place`; there is nothing that could be dropped.
        unsafe {
            (*self.front.get()).shrink_to_fit();
            (*self.back.get()).shrink_to_fit();
            (*self.others.get()).shrink_to_fit();
        }
    }
}

/// Out of line, so that a push needs no frame on the stack.
#[cold]
#[inline(never)]
fn grow_and_push(back: &mut Vec<Option<Ready>>, place: Option<Ready>) {
    back.push(place);
}

//! The run queue: a FIFO for one thread, without a lock and without a borrow flag.
//!
//! The invariant: no foreign code runs while a reference into the queue lives, so two references
//! never coexist, whatever code a waker runs. The allocator counts as foreign code: a global
//! allocator may wake a task, which pushes here. So each method allocates before it takes a
//! reference, checks the state again afterwards, and frees after the reference has ended.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::task::Waker;

use crate::run::call::CallHandle;

/// An item of the queue; `T` is a task that is ready.
pub(crate) enum Item<T> {
    Task(T),
    Call(CallHandle),
    Root,
}

/// A slot is one word, and nearly always holds a task. A `None` slot stands for the first of
/// `others`.
///
/// The slots are two rows. One grows at its end while items are taken from the other. When that is
/// used up, they swap. So neither a push nor a pop has to wrap around.
pub(crate) struct Queue<T> {
    /// The row from which items are taken, and how many were taken.
    front: UnsafeCell<Vec<Option<T>>>,
    taken: Cell<usize>,
    /// The row that grows.
    back: UnsafeCell<Vec<Option<T>>>,
    /// Callbacks, and `None` for the root.
    others: UnsafeCell<VecDeque<Option<CallHandle>>>,
    /// Set while a foreign loop waits in the executor's place; see [`arm`](Queue::arm).
    armed: Cell<Option<Armed<T>>>,
}

struct Armed<T> {
    /// Ends the foreign loop's wait.
    waker: Waker,
    /// The back row, taken away: the next push finds no room and takes its cold path, which calls
    /// the waker. So arming adds no branch to a push.
    row: Vec<Option<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Queue<T> {
        Queue {
            front: UnsafeCell::new(Vec::new()),
            taken: Cell::new(0),
            back: UnsafeCell::new(Vec::new()),
            others: UnsafeCell::new(VecDeque::new()),
            armed: Cell::new(None),
        }
    }

    /// Makes the next push call `waker`, once. The queue must be empty.
    pub(crate) fn arm(&self, waker: Waker) {
        debug_assert_eq!(self.len(), 0, "an item that is queued already would not call the waker");
        // SAFETY: As in `push_place`.
        let row = unsafe { std::mem::take(&mut *self.back.get()) };
        let old = self.armed.replace(Some(Armed { waker, row }));
        drop(old);
    }

    /// Puts the back row back. Returns the waker if no push has called it.
    pub(crate) fn disarm(&self) -> Option<Waker> {
        let Armed { waker, mut row } = self.armed.take()?;
        // SAFETY: As in `push_place`. The reference ends before `row` is dropped.
        let back = unsafe { &mut *self.back.get() };
        if back.capacity() == 0 {
            std::mem::swap(back, &mut row);
        }
        Some(waker)
    }

    #[inline]
    pub(crate) fn push_task(&self, task: T) {
        self.push_place(Some(task));
    }

    #[inline]
    fn push_place(&self, place: Option<T>) {
        // SAFETY: `UnsafeCell` keeps this type on one thread at a time, and no other reference
        // lives (see above): moving an item runs no code of its type, and there is room, so the
        // allocator is not called.
        let back = unsafe { &mut *self.back.get() };
        if back.len() == back.capacity() {
            return self.grow_and_push(place);
        }
        back.push(place);
    }

    /// Out of line, so that a push needs no stack frame.
    #[cold]
    #[inline(never)]
    fn grow_and_push(&self, place: Option<T>) {
        if let Some(waker) = self.disarm() {
            self.push_place(place);
            // Foreign code, so it runs last: no reference into the queue lives.
            return waker.wake();
        }
        loop {
            // SAFETY: As in `push_place`. The reference ends here.
            let len = unsafe { (*self.back.get()).len() };
            let mut greater = Vec::with_capacity(len.max(2) * 2);
            // SAFETY: As in `push_place`. `append` allocates nothing, because `greater` has room
            // for all.
            let back = unsafe { &mut *self.back.get() };
            // The allocator may have pushed, or run the executor, meanwhile.
            if back.len() == back.capacity() {
                if back.len() >= greater.capacity() {
                    continue;
                }
                greater.append(back);
                std::mem::swap(back, &mut greater);
            }
            back.push(place);
            // Here `greater` is freed, which calls the allocator: the last reference has ended.
            return;
        }
    }

    pub(crate) fn push(&self, item: Item<T>) {
        let other = match item {
            Item::Task(task) => return self.push_task(task),
            Item::Call(call) => Some(call),
            Item::Root => None,
        };
        self.push_other(other);
        self.push_place(None);
    }

    fn push_other(&self, other: Option<CallHandle>) {
        // SAFETY: As in `push_place`: there is room.
        let others = unsafe { &mut *self.others.get() };
        if others.len() == others.capacity() {
            return self.grow_and_push_other(other);
        }
        others.push_back(other);
    }

    #[cold]
    #[inline(never)]
    fn grow_and_push_other(&self, other: Option<CallHandle>) {
        loop {
            // SAFETY: As in `push_place`. The reference ends here.
            let len = unsafe { (*self.others.get()).len() };
            let mut greater = VecDeque::with_capacity(len.max(2) * 2);
            // SAFETY: As in `push_place`. `append` allocates nothing, because `greater` has room
            // for all.
            let others = unsafe { &mut *self.others.get() };
            // The allocator may have pushed, or run the executor, in between.
            if others.len() == others.capacity() {
                if others.len() >= greater.capacity() {
                    continue;
                }
                greater.append(others);
                std::mem::swap(others, &mut greater);
            }
            others.push_back(other);
            // Here `greater`, which is empty, is freed: the last reference has ended.
            return;
        }
    }

    pub(crate) fn pop(&self) -> Option<Item<T>> {
        self.pop_place().and_then(|place| self.item_of(place))
    }

    /// Takes the first slot. `None` marks a callback or the root; fetch it with
    /// [`item_of`](Queue::item_of) before the next pop.
    #[inline]
    pub(crate) fn pop_place(&self) -> Option<Option<T>> {
        // SAFETY: As in `push_place`. The reference ends here, before the front is exchanged.
        if self.taken.get() == unsafe { (*self.front.get()).len() } && !self.turn_over() {
            return None;
        }
        let taken = self.taken.get();
        self.taken.set(taken + 1);
        // SAFETY: As in `push_place`. The index is inside the front row. Each slot is read once;
        // the slot is never read again, and has nothing to drop.
        Some(unsafe { (*self.front.get()).as_ptr().add(taken).read() })
    }

    /// The item of a slot that was just taken.
    pub(crate) fn item_of(&self, place: Option<T>) -> Option<Item<T>> {
        if let Some(task) = place {
            return Some(Item::Task(task));
        }
        // SAFETY: As in `push_place`.
        let other = unsafe { (*self.others.get()).pop_front() }?;
        Some(other.map_or(Item::Root, Item::Call))
    }

    /// Swaps the rows when the front is used up. Returns whether there is anything to take.
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

    /// Maps the tasks that are queued, in their order. `map` must only read from the task.
    pub(crate) fn map_tasks<R>(&self, map: fn(&T) -> R) -> Vec<R> {
        loop {
            let mut mapped = Vec::with_capacity(self.len());
            // SAFETY: As in `push_place`: the loop below allocates nothing, because `mapped` has
            // room for all, and `map` only reads. Slots that were taken are not looked at.
            let (front, back) = unsafe { (&*self.front.get(), &*self.back.get()) };
            let places = front[self.taken.get()..].iter().chain(back);
            // The allocator may have pushed meanwhile.
            if places.clone().count() <= mapped.capacity() {
                mapped.extend(places.flatten().map(map));
                return mapped;
            }
        }
    }

    /// The end of the queue: which row is in front, and the length of the other.
    pub(crate) fn end(&self) -> (usize, usize) {
        // SAFETY: As in `push_place`. The references end here.
        unsafe { ((*self.front.get()).as_ptr().addr(), (*self.back.get()).len()) }
    }

    /// Maps the places that were queued since `end` and are still there, in their order; none for a
    /// callback or the root. `map` must only read from the task. Between the two calls the rows may
    /// have swapped once.
    pub(crate) fn map_since<R>(&self, end: (usize, usize), map: fn(&T) -> R) -> Vec<Option<R>> {
        let mut mapped = Vec::with_capacity(self.len());
        // SAFETY: As in `map_tasks`: `take` keeps the vector within its room.
        let (front, back) = unsafe { (&*self.front.get(), &*self.back.get()) };
        let (front, back) = match end {
            (row, len) if row == front.as_ptr().addr() => (&[][..], back.get(len..)),
            (_, len) => (front.get(len.max(self.taken.get())..).unwrap_or_default(), Some(&back[..])),
        };
        let places = front.iter().chain(back.unwrap_or_default()).take(mapped.capacity());
        mapped.extend(places.map(|place| place.as_ref().map(map)));
        mapped
    }

    /// Exchanges all items with those of another queue.
    pub(crate) fn exchange(&self, other: &Queue<T>) {
        let armed = self.disarm();
        self.taken.swap(&other.taken);
        // SAFETY: As in `push_place`, for both of them; they may be one.
        unsafe {
            std::ptr::swap(self.front.get(), other.front.get());
            std::ptr::swap(self.back.get(), other.back.get());
            std::ptr::swap(self.others.get(), other.others.get());
        }
        // Items that arrive this way are queued without a push.
        match armed {
            Some(waker) if self.len() == 0 => self.arm(waker),
            Some(waker) => waker.wake(),
            None => {}
        }
    }

    /// Moves all items behind those of another queue, which must not be this one.
    pub(crate) fn pour_into(&self, other: &Queue<T>) {
        while let Some(item) = self.pop() {
            other.push(item);
        }
    }

    /// The greatest number of items for which one of the rows has memory.
    pub(crate) fn capacity(&self) -> usize {
        // SAFETY: As in `push_place`. The references end here.
        let [front, back, others] =
            unsafe { [(*self.front.get()).capacity(), (*self.back.get()).capacity(), (*self.others.get()).capacity()] };
        front.max(back).max(others)
    }

    /// Frees memory of which less than a quarter is used. Costs three comparisons if there is none.
    pub(crate) fn shrink(&self) {
        if self.capacity() > KEPT {
            self.shrink_large();
        }
    }

    #[cold]
    fn shrink_large(&self) {
        self.free_front();
        // SAFETY: As in `push_place`. The references end here.
        let (back, others) = unsafe { ((*self.back.get()).len(), (*self.others.get()).len()) };
        // Allocated before a reference is taken, and freed at the end. They stay empty if they are
        // too small by now, because the allocator has pushed.
        let (mut row, mut calls) = (Vec::with_capacity(back * 2), VecDeque::with_capacity(others * 2));
        // SAFETY: As in `push_place`. What moves has room, so the allocator is not called while the
        // references live.
        let (back, others) = unsafe { (&mut *self.back.get(), &mut *self.others.get()) };
        if is_mostly_unused(back.len(), back.capacity()) && back.len() <= row.capacity() {
            row.append(back);
            std::mem::swap(back, &mut row);
        }
        if is_mostly_unused(others.len(), others.capacity()) && others.len() <= calls.capacity() {
            calls.append(others);
            std::mem::swap(others, &mut calls);
        }
    }

    /// Frees the front row if it is used up.
    fn free_front(&self) {
        // SAFETY: As in `push_place`. The reference ends before the row, whose items have nothing
        // to drop, is freed.
        let front = unsafe { &mut *self.front.get() };
        if front.len() != self.taken.get() || front.capacity() <= KEPT {
            return;
        }
        self.taken.set(0);
        let used_up = std::mem::take(front);
        drop(used_up);
    }

    /// Frees the memory that a closed executor no longer needs. The queue is empty.
    pub(crate) fn free(&self) {
        debug_assert_eq!(self.len(), 0);
        self.taken.set(0);
        drop(self.armed.take());
        // SAFETY: As in `push_place`; the rows are freed after the references have ended.
        // Nothing in it is dropped: the queue is empty, and a row's items have nothing to drop.
        let rows = unsafe {
            (
                std::mem::take(&mut *self.front.get()),
                std::mem::take(&mut *self.back.get()),
                std::mem::take(&mut *self.others.get()),
            )
        };
        drop(rows);
    }
}

/// The number of slots of each row, and of the table, that are never freed, because freeing so
/// little does not pay.
pub(crate) const KEPT: usize = 512;

/// Whether memory for `capacity` items should shrink while it holds `len`. With a quarter as the
/// limit, a row that shrinks to twice its length shrinks again only after it has halved, and grows
/// only after it has doubled.
pub(crate) fn is_mostly_unused(len: usize, capacity: usize) -> bool {
    capacity > KEPT && len < capacity / 4
}

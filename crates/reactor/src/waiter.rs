//! The waiters of a source: a slot per direction for the task that polls, and the other waiters.
//!
//! The invariant: a waker is called where it lies, in its slot. So while any waker is called,
//! wakers that leave their slots are kept alive. No function here calls or drops a waker, or
//! allocates, while something is borrowed.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::mem::{self, ManuallyDrop};
use std::task::Waker;

use picot_context::{Step, TaskId, running};

use crate::foreign::drop_contained;
use crate::growing::Growing;
use crate::ready::Direction;

/// The waker of the last task that polled.
///
/// It stays after a wake, because the task is likely to wait again. The source's flags say whether
/// the task waits.
pub(crate) struct Slot {
    waker: UnsafeCell<Waker>,
    /// The task that stored the waker, for reports.
    task: Cell<Option<TaskId>>,
}

impl Default for Slot {
    /// A waker that does nothing.
    fn default() -> Slot {
        Slot { waker: UnsafeCell::new(Waker::noop().clone()), task: Cell::new(None) }
    }
}

impl Slot {
    #[inline]
    pub(crate) fn wakes_like(&self, waker: &Waker) -> bool {
        // SAFETY: `UnsafeCell` makes this type `!Sync`, so only one thread is here. No other method
        // is active: they only compare and move wakers, which calls no foreign code, and they
        // return no reference.
        unsafe { (*self.waker.get()).will_wake(waker) }
    }

    pub(crate) fn task(&self) -> Option<TaskId> {
        self.task.get()
    }

    /// Replaces the waker and returns the old one. The caller passes that to [`Retired::add`]: an
    /// event may be calling it right now.
    pub(crate) fn replace(&self, waker: Waker) -> Waker {
        self.task.set(running_task());
        // SAFETY: As above.
        unsafe { mem::replace(&mut *self.waker.get(), waker) }
    }

    /// Takes the waker out, as [`replace`](Slot::replace).
    pub(crate) fn empty(&self) -> Waker {
        self.replace(Waker::noop().clone())
    }

    /// Returns the waker, to call it without a clone. The slot still owns it.
    ///
    /// # Safety
    /// A [`Retired::hold`] must be active, and the waker must not be used after it ends. Every
    /// waker that leaves the slot must go to that [`Retired`]. A slot must be emptied before it is
    /// dropped.
    #[inline]
    pub(crate) unsafe fn lend(&self) -> ManuallyDrop<Waker> {
        // SAFETY: The access is exclusive, as above. The copy is never dropped, so the slot stays
        // the only owner. The caller promises that the original is not dropped while the copy is
        // used.
        unsafe { ManuallyDrop::new(self.waker.get().read()) }
    }
}

/// The task whose step runs.
fn running_task() -> Option<TaskId> {
    running().as_ref().and_then(Step::task_id)
}

/// A waker, and the task that stored it, for reports.
pub(crate) struct Waiter {
    pub(crate) waker: Waker,
    task: Option<TaskId>,
}

impl Waiter {
    /// A waker that the running task stores.
    fn running(waker: Waker) -> Waiter {
        Waiter { waker, task: running_task() }
    }
}

/// Wakers that left their slots while a waker was being called, which may be the same one.
#[derive(Default)]
pub(crate) struct Retired {
    /// The number of guards: more than one if a waker waits or wakes itself.
    holders: Cell<usize>,
    wakers: Growing<Waker>,
}

/// Keeps retired wakers alive until it is dropped, also while unwinding.
pub(crate) struct Hold<'a>(&'a Retired);

impl Retired {
    /// Keeps wakers that leave their slots alive, until every returned guard is dropped.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.holders.set(self.holders.get() + 1);
        Hold(self)
    }

    /// Takes a waker that has left its slot. Drops it now, or when the last guard is dropped.
    pub(crate) fn add(&self, waker: Waker) {
        // The initial waker of every slot: dropping it does nothing.
        if waker.will_wake(Waker::noop()) {
            return;
        }
        if self.holders.get() == 0 {
            drop_contained(waker);
        } else {
            self.wakers.push(waker);
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // Only the outermost guard drops the wakers. Their destructors are foreign code, and may
        // add further wakers; with no holder left, `add` drops those at once.
        let Hold(retired) = self;
        retired.holders.set(retired.holders.get() - 1);
        if retired.holders.get() == 0 && !retired.wakers.is_empty() {
            retired.wakers.take().into_iter().for_each(drop_contained);
        }
    }
}

/// The maximum number of displaced wakers per direction; see [`OtherWaiters::displace`].
const DISPLACED: usize = 16;

/// The waiters that few sources have: futures, displaced tasks, and tasks that poll for urgent
/// data.
#[derive(Default)]
pub(crate) struct OtherWaiters {
    pub(crate) urgent: Slot,
    directions: [DirectionWaiters; 3],
}

/// The waiters of one direction, taken out of [`OtherWaiters`].
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) count: usize,
    /// Wakers that were in a slot. After their wake the caller passes them to [`Retired::add`].
    pub(crate) displaced: VecDeque<Waiter>,
    futures: std::vec::IntoIter<(u64, Option<Waiter>)>,
}

impl Taken {
    pub(crate) fn futures(self) -> impl Iterator<Item = Waker> {
        self.futures.filter_map(|(_, waiter)| Some(waiter?.waker))
    }
}

/// The waiters of one direction.
#[derive(Default)]
struct DirectionWaiters {
    /// Wakers of tasks that polled, and that a later poll of another task has displaced from the
    /// slot. The oldest is first.
    displaced: RefCell<VecDeque<Waiter>>,
    futures: FutureWaiters,
}

impl OtherWaiters {
    fn waiters_of(&self, direction: Direction) -> &DirectionWaiters {
        match direction {
            Direction::Read => &self.directions[0],
            Direction::Write => &self.directions[1],
            Direction::Priority => &self.directions[2],
        }
    }

    pub(crate) fn waits(&self, direction: Direction) -> bool {
        let waiters = self.waiters_of(direction);
        !waiters.futures.is_empty() || !waiters.displaced.borrow().is_empty()
    }

    /// Keeps the waker of a waiting task that another task has displaced from the slot: both wait.
    ///
    /// A dropped future cannot announce that its poll waits no more, so its waker stays here. So
    /// the number is limited: beyond it, this returns the oldest waker, for the caller to wake. If
    /// its task still waits, it polls again.
    pub(crate) fn displace(&self, direction: Direction, waker: Waker, task: Option<TaskId>) -> Option<Waker> {
        let displaced = &self.waiters_of(direction).displaced;
        if displaced.borrow().capacity() == 0 {
            // Allocated outside of the borrow: the allocator is foreign code, and may come here.
            let room = VecDeque::with_capacity(DISPLACED);
            if displaced.borrow().capacity() == 0 {
                displaced.replace(room);
            }
        }
        let mut displaced = displaced.borrow_mut();
        let oldest = if displaced.len() == DISPLACED { displaced.pop_front() } else { None };
        displaced.push_back(Waiter { waker, task });
        Some(oldest?.waker)
    }

    /// Removes the displaced waker of a task that has come back to the slot.
    pub(crate) fn remove_displaced(&self, direction: Direction, waker: &Waker) -> Option<Waker> {
        let mut displaced = self.waiters_of(direction).displaced.borrow_mut();
        let index = displaced.iter().position(|other| other.waker.will_wake(waker))?;
        Some(displaced.remove(index)?.waker)
    }

    /// Adds a future, or replaces its waker and returns the old one. Sets `id` for a new one.
    pub(crate) fn put(&self, direction: Direction, id: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        self.waiters_of(direction).futures.put(id, waker)
    }

    pub(crate) fn remove(&self, direction: Direction, id: u64) -> Option<Waker> {
        self.waiters_of(direction).futures.remove(id)
    }

    /// The tasks of all waiters of a direction, for reports.
    pub(crate) fn tasks(&self, direction: Direction) -> Vec<Option<TaskId>> {
        let waiters = self.waiters_of(direction);
        let mut tasks = waiters.futures.tasks();
        tasks.extend(waiters.displaced.borrow().iter().map(|waiter| waiter.task));
        tasks
    }

    /// Takes all waiters of a direction out, each kind in the order in which it began to wait.
    pub(crate) fn take(&self, direction: Direction) -> Taken {
        let waiters = self.waiters_of(direction);
        let displaced = waiters.displaced.take();
        let (futures, len) = waiters.futures.take();
        Taken { count: displaced.len() + len, displaced, futures: futures.into_iter() }
    }
}

/// The futures that wait in one direction, sorted by ascending ids.
///
/// A lookup is a binary search, and a removal leaves a gap. So 100 000 waiters that leave in any
/// order do not take quadratic time.
#[derive(Default)]
struct FutureWaiters {
    entries: Growing<(u64, Option<Waiter>)>,
    /// The number of entries that are not gaps.
    len: Cell<usize>,
    last_id: Cell<u64>,
}

/// The memory for up to this many entries is kept.
const KEPT: usize = 16;

impl FutureWaiters {
    fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Calls `change` with the waker of the future with this id.
    fn find<R>(&self, id: u64, change: impl FnOnce(&mut Option<Waiter>) -> R) -> Option<R> {
        // SAFETY: This compares ids, and both callers' closures only move wakers.
        unsafe {
            self.entries.with(|entries| {
                let index = entries.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                Some(change(&mut entries[index].1))
            })
        }
    }

    fn put(&self, id: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let mut waker = Some(Waiter::running(waker));
        let known = id.and_then(|id| self.find(id, |known| known.is_some().then(|| mem::replace(known, waker.take()))));
        if let Some(Some(old)) = known {
            return old.map(|old| old.waker);
        }
        // Before the id is taken: the allocator is foreign code, and may add a future here. Ids
        // must be pushed in ascending order.
        if self.entries.is_full() {
            self.entries.grow();
        }
        self.last_id.set(self.last_id.get() + 1);
        *id = Some(self.last_id.get());
        self.entries.push((self.last_id.get(), waker));
        self.len.set(self.len.get() + 1);
        None
    }

    fn remove(&self, id: u64) -> Option<Waker> {
        let waiter = self.find(id, Option::take)??;
        self.len.set(self.len.get() - 1);
        // Gaps are closed when they are the majority, so removals stay O(1) amortised.
        if self.len.get() == 0 && self.entries.len() > KEPT {
            drop(self.entries.take());
        } else if self.entries.len() > 2 * self.len.get() {
            // SAFETY: `retain` drops only gaps, which are `None`, and frees nothing.
            unsafe { self.entries.with(|entries| entries.retain(|(_, waiter)| waiter.is_some())) };
        }
        Some(waiter.waker)
    }

    /// The tasks of the futures that wait.
    fn tasks(&self) -> Vec<Option<TaskId>> {
        let mut tasks = Vec::with_capacity(self.len.get());
        // SAFETY: The closure copies ids into memory that has room for them.
        unsafe {
            self.entries.with(|entries| {
                let waiting = entries.iter().filter_map(|(_, waiter)| Some(waiter.as_ref()?.task));
                tasks.extend(waiting.take(tasks.capacity()));
            });
        }
        tasks
    }

    fn take(&self) -> (Vec<(u64, Option<Waiter>)>, usize) {
        (self.entries.take(), self.len.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_may_leave_in_any_order() {
        let futures = FutureWaiters::default();
        for expected in 1..=100 {
            let mut id = None;
            assert!(futures.put(&mut id, Waker::noop().clone()).is_none());
            assert_eq!(id, Some(expected));
            assert!(futures.put(&mut id, Waker::noop().clone()).is_some(), "the waker is replaced");
        }
        // From both ends; the middle stays.
        for id in (1..=30).chain((71..=100).rev()) {
            assert!(futures.remove(id).is_some() && futures.remove(id).is_none());
        }
        assert!(futures.entries.len() <= 2 * futures.len.get(), "gaps were not closed");
        let (entries, len) = futures.take();
        let left: Vec<_> = entries.into_iter().filter(|(_, waker)| waker.is_some()).map(|(id, _)| id).collect();
        assert_eq!((left, len), ((31..=70).collect(), 40));
        assert!(futures.is_empty());
    }
}

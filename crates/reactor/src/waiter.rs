//! The waiters of a source: the slots for the wakers of tasks that poll, and the waiters beside
//! them.
//!
//! The invariant: a waker in a slot is called where it lies, so while any is called, those that
//! leave their slots are kept until it is done. Nothing here calls a waker, or drops one, or
//! allocates, with a borrow of ours alive.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::mem::{self, ManuallyDrop};
use std::task::Waker;

use crate::foreign::drop_contained;
use crate::growing::Growing;
use crate::ready::Direction;

/// The waker of the task that polls. It stays when it has been woken, because the task is likely to wait again; whether
/// somebody waits is not said here.
pub(crate) struct Slot(UnsafeCell<Waker>);

impl Default for Slot {
    /// A waker that wakes nobody.
    fn default() -> Slot {
        Slot(UnsafeCell::new(Waker::noop().clone()))
    }
}

impl Slot {
    #[inline]
    pub(crate) fn wakes_like(&self, waker: &Waker) -> bool {
        // SAFETY: `UnsafeCell` keeps this type on one thread at a time, and no other method is active: none of them calls
        // foreign code, as comparing wakers and moving them do not, and none hands out a reference.
        unsafe { (*self.0.get()).will_wake(waker) }
    }

    /// Puts another waker there and returns the one that was there, which goes to [`Retired::add`]:
    /// some event may be calling it just now.
    pub(crate) fn replace(&self, waker: Waker) -> Waker {
        // SAFETY: As above.
        unsafe { mem::replace(&mut *self.0.get(), waker) }
    }

    pub(crate) fn empty(&self) -> Waker {
        self.replace(Waker::noop().clone())
    }

    /// The waker, to be called. The slot still owns it.
    ///
    /// # Safety
    /// It must not be used beyond the [`Retired::hold`] that is in force now. Every waker that
    /// leaves the slot must go to that [`Retired`], also if the slot itself is about to be dropped:
    /// it must be emptied before.
    #[inline]
    pub(crate) unsafe fn lend(&self) -> ManuallyDrop<Waker> {
        // SAFETY: Reading as above. The copy is never dropped, so there is still one owner; and it lives for as long as the
        // copy is used, as our caller promises that it is not dropped before.
        unsafe { ManuallyDrop::new(self.0.get().read()) }
    }
}

/// Wakers that have left their slots while some waker was being called, which may be the same.
#[derive(Default)]
pub(crate) struct Retired {
    /// How many waits are waking now: one, or more where a waker waits itself.
    holders: Cell<usize>,
    wakers: Growing<Waker>,
}

/// Keeps what leaves its slot. Dropped when the wakers have been called, also by a panic.
pub(crate) struct Hold<'a>(&'a Retired);

impl Retired {
    /// From here on wakers that leave their slots are kept, until every guard that this has
    /// returned is dropped. Then they are dropped, too.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.holders.set(self.holders.get() + 1);
        Hold(self)
    }

    /// Takes wakers that have left their slots. They are dropped now, or when no waker is being
    /// called any more.
    pub(crate) fn add(&self, waker: Waker) {
        // Every slot starts with this one, which nothing is dropped with.
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
        let Hold(retired) = self;
        retired.holders.set(retired.holders.get() - 1);
        if retired.holders.get() == 0 && !retired.wakers.is_empty() {
            retired.wakers.take().into_iter().for_each(drop_contained);
        }
    }
}

/// How many displaced pollers a direction keeps; see [`Crowd::displace`].
const DISPLACED: usize = 16;

/// What few sources have: waiters beside the task that polls, and tasks that poll for urgent data.
#[derive(Default)]
pub(crate) struct Crowd {
    pub(crate) urgent: Slot,
    lines: [Line; 3],
}

/// The waiters that were taken out of a crowd.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) count: usize,
    /// They have been in a slot, so when they have been woken they go to [`Retired::add`].
    pub(crate) displaced: VecDeque<Waker>,
    futures: std::vec::IntoIter<(u64, Option<Waker>)>,
}

impl Taken {
    pub(crate) fn futures(self) -> impl Iterator<Item = Waker> {
        self.futures.filter_map(|(_, waker)| waker)
    }
}

/// The waiters of one direction.
#[derive(Default)]
struct Line {
    /// Tasks that have polled, and whose place in the slot another one has taken. The one that has
    /// waited longest is first.
    displaced: RefCell<VecDeque<Waker>>,
    futures: Futures,
}

impl Crowd {
    fn line(&self, direction: Direction) -> &Line {
        match direction {
            Direction::Read => &self.lines[0],
            Direction::Write => &self.lines[1],
            Direction::Priority => &self.lines[2],
        }
    }

    pub(crate) fn waits(&self, direction: Direction) -> bool {
        let line = self.line(direction);
        !line.futures.is_empty() || !line.displaced.borrow().is_empty()
    }

    /// Keeps the waker of a task that has polled and not been woken, and whose place another one
    /// takes: both wait.
    ///
    /// A poll has no end that it could announce, so a waker may be left behind by a future that is
    /// gone. The number of those that are kept is limited, and beyond it the oldest one is
    /// returned, to be woken: a task that still waits polls again.
    pub(crate) fn displace(&self, direction: Direction, waker: Waker) -> Option<Waker> {
        let displaced = &self.line(direction).displaced;
        if displaced.borrow().capacity() == 0 {
            // Outside of the borrow, as the allocator may be foreign code.
            let room = VecDeque::with_capacity(DISPLACED);
            if displaced.borrow().capacity() == 0 {
                displaced.replace(room);
            }
        }
        let mut displaced = displaced.borrow_mut();
        let oldest = if displaced.len() == DISPLACED { displaced.pop_front() } else { None };
        displaced.push_back(waker);
        oldest
    }

    /// Removes the displaced waker of a task that is in the slot again.
    pub(crate) fn recall(&self, direction: Direction, waker: &Waker) -> Option<Waker> {
        let mut displaced = self.line(direction).displaced.borrow_mut();
        let index = displaced.iter().position(|other| other.will_wake(waker))?;
        displaced.remove(index)
    }

    /// Notes that a future waits, or that it does so with another waker, and returns the one that
    /// it had before. A future that begins to wait gets the number `id`.
    pub(crate) fn put(&self, direction: Direction, id: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        self.line(direction).futures.put(id, waker)
    }

    pub(crate) fn remove(&self, direction: Direction, id: u64) -> Option<Waker> {
        self.line(direction).futures.remove(id)
    }

    /// Takes all waiters out, each kind in the order in which they began to wait.
    pub(crate) fn take(&self, direction: Direction) -> Taken {
        let line = self.line(direction);
        let displaced = line.displaced.take();
        let (futures, len) = line.futures.take();
        Taken { count: displaced.len() + len, displaced, futures: futures.into_iter() }
    }
}

/// The futures that wait in one direction, by their numbers, which only rise. A search halves, and
/// a removal leaves a gap, so 100 000 waiters that leave in any order cost no quadratic time.
#[derive(Default)]
struct Futures {
    entries: Growing<(u64, Option<Waker>)>,
    /// How many of the entries are no gaps.
    len: Cell<usize>,
    last_id: Cell<u64>,
}

/// Fewer entries than this are not worth giving memory back for.
const FEW: usize = 16;

impl Futures {
    fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// The waker of the future with this number, changed in place.
    fn find<R>(&self, id: u64, change: impl FnOnce(&mut Option<Waker>) -> R) -> Option<R> {
        // SAFETY: Numbers are compared, and the two closures that this is given move wakers and no
        // more.
        unsafe {
            self.entries.change(|entries| {
                let index = entries.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                Some(change(&mut entries[index].1))
            })
        }
    }

    fn put(&self, id: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let mut waker = Some(waker);
        let known = id.and_then(|id| self.find(id, |known| known.is_some().then(|| mem::replace(known, waker.take()))));
        if let Some(Some(old)) = known {
            return old;
        }
        // Before the number is taken, as what allocates may be foreign code, which takes numbers,
        // too.
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
        let waker = self.find(id, Option::take)??;
        self.len.set(self.len.get() - 1);
        if self.len.get() == 0 && self.entries.len() > FEW {
            drop(self.entries.take());
        } else if self.entries.len() > 2 * self.len.get() {
            // SAFETY: Gaps have no drop, and nothing is freed.
            unsafe { self.entries.change(|entries| entries.retain(|(_, waker)| waker.is_some())) };
        }
        Some(waker)
    }

    fn take(&self) -> (Vec<(u64, Option<Waker>)>, usize) {
        (self.entries.take(), self.len.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_leave_in_any_order_and_the_others_keep_theirs() {
        let futures = Futures::default();
        for expected in 1..=100 {
            let mut id = None;
            assert!(futures.put(&mut id, Waker::noop().clone()).is_none());
            assert_eq!(id, Some(expected));
            assert!(futures.put(&mut id, Waker::noop().clone()).is_some(), "it has another waker now");
        }
        // From both ends, and those in the middle last.
        for id in (1..=30).chain((71..=100).rev()) {
            assert!(futures.remove(id).is_some() && futures.remove(id).is_none());
        }
        assert!(futures.entries.len() <= 2 * futures.len.get(), "gaps are closed");
        let (entries, len) = futures.take();
        let left: Vec<_> = entries.into_iter().filter(|(_, waker)| waker.is_some()).map(|(id, _)| id).collect();
        assert_eq!((left, len), ((31..=70).collect(), 40));
        assert!(futures.is_empty());
    }
}

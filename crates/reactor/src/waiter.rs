//! Who waits for a source: the slots for the wakers of tasks that poll, and the list of the futures that wait beside them.
//!
//! The invariant: a waker in a slot is called where it lies, so while any is called, those that leave their slots are kept
//! until it is done. Nothing here calls a waker, or drops one, with a borrow of ours alive.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::{self, ManuallyDrop};
use std::task::Waker;

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

    /// Puts another waker there. What was there is dropped when nobody can be calling it any more; that may be now, and may
    /// be anybody's code.
    pub(crate) fn put(&self, waker: Waker, retired: &Retired) {
        // SAFETY: As above.
        let old = unsafe { mem::replace(&mut *self.0.get(), waker) };
        retired.add(old);
    }

    pub(crate) fn empty(&self, retired: &Retired) {
        self.put(Waker::noop().clone(), retired);
    }

    /// The waker, to be called. The slot still owns it.
    ///
    /// # Safety
    /// It must not be used beyond the [`Retired::hold`] that is in force now, of the one that is given to `put` and `empty`,
    /// and the slot must be emptied before it is dropped.
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
    wakers: RefCell<Vec<Waker>>,
}

impl Retired {
    /// From here on wakers that leave their slots are kept, until as many [`release`](Retired::release)s.
    pub(crate) fn hold(&self) {
        self.holders.set(self.holders.get() + 1);
    }

    /// Those that were kept come back, to be dropped by the caller.
    pub(crate) fn release(&self) -> Vec<Waker> {
        self.holders.set(self.holders.get() - 1);
        if self.holders.get() == 0 && !self.wakers.borrow().is_empty() { self.wakers.take() } else { Vec::new() }
    }

    fn add(&self, waker: Waker) {
        if self.holders.get() == 0 {
            drop(waker);
        } else {
            self.wakers.borrow_mut().push(waker);
        }
    }
}

/// What few sources have: futures that wait beside the tasks that poll, and tasks that poll for urgent data.
#[derive(Default)]
pub(crate) struct Crowd {
    pub(crate) urgent: Slot,
    readers: RefCell<Vec<(u64, Waker)>>,
    writers: RefCell<Vec<(u64, Waker)>>,
    urgents: RefCell<Vec<(u64, Waker)>>,
    last_id: Cell<u64>,
}

impl Crowd {
    fn of(&self, direction: Direction) -> &RefCell<Vec<(u64, Waker)>> {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
            Direction::Priority => &self.urgents,
        }
    }

    /// The number of somebody who begins to wait.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    pub(crate) fn waits(&self, direction: Direction) -> bool {
        !self.of(direction).borrow().is_empty()
    }

    /// Notes that `id` waits, or that it does so with another waker. Gives back the one that it had before.
    pub(crate) fn put(&self, direction: Direction, id: u64, waker: Waker) -> Option<Waker> {
        let mut waiting = self.of(direction).borrow_mut();
        match waiting.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => Some(mem::replace(old, waker)),
            None => {
                waiting.push((id, waker));
                None
            }
        }
    }

    pub(crate) fn remove(&self, direction: Direction, id: u64) -> Option<Waker> {
        let mut waiting = self.of(direction).borrow_mut();
        let index = waiting.iter().position(|(other, _)| *other == id)?;
        Some(waiting.remove(index).1)
    }

    pub(crate) fn take(&self, direction: Direction) -> Vec<(u64, Waker)> {
        self.of(direction).take()
    }
}

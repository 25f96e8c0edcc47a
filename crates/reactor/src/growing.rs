//! A vector that is shared by reference and grows while no reference to it is alive.
//!
//! The allocator is foreign code: a global one may wake a task, and a waker may come back to
//! whatever it was called from. So room is made before the reference is taken: allocated, moved
//! into, and the old room freed, each with nothing borrowed.

use std::cell::UnsafeCell;
use std::mem;

pub(crate) struct Growing<T>(UnsafeCell<Vec<T>>);

impl<T> Default for Growing<T> {
    fn default() -> Growing<T> {
        Growing(UnsafeCell::new(Vec::new()))
    }
}

impl<T> Growing<T> {
    /// Changes the vector in place.
    ///
    /// # Safety
    /// `change` must call no foreign code, and so reach this vector by no other way: it neither
    /// allocates nor frees, and drops no value whose drop is foreign.
    #[inline]
    pub(crate) unsafe fn change<R>(&self, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        // SAFETY: `UnsafeCell` keeps this type on one thread at a time, and no other `change` is
        // active, as none calls code that could get here. So this is the only reference into the
        // cell.
        change(unsafe { &mut *self.0.get() })
    }

    pub(crate) fn len(&self) -> usize {
        // SAFETY: The closure reads a number.
        unsafe { self.change(|items| items.len()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        // SAFETY: The closure reads two numbers.
        unsafe { self.change(|items| items.len() == items.capacity()) }
    }

    /// Adds an item. Returns how many there are now.
    pub(crate) fn push(&self, item: T) -> usize {
        if self.is_full() {
            self.grow();
        }
        // SAFETY: There is room, so the closure moves a value and no more.
        unsafe {
            self.change(|items| {
                items.push(item);
                items.len()
            })
        }
    }

    /// Adds an item if that needs no memory. Returns how many there are now.
    #[inline]
    pub(crate) fn push_within_capacity(&self, item: T) -> Option<usize>
    where
        T: Copy,
    {
        // SAFETY: The vector has room, so `push` moves a value and does not allocate.
        unsafe {
            self.change(|items| {
                if items.len() == items.capacity() {
                    return None;
                }
                items.push(item);
                Some(items.len())
            })
        }
    }

    /// Makes room for one item at least.
    #[cold]
    #[inline(never)]
    pub(crate) fn grow(&self) {
        // What allocates and frees here may push, too.
        while self.is_full() {
            let mut room = Vec::with_capacity((2 * self.len()).max(4));
            // SAFETY: The room is enough, so the closure moves values and no more; what it returns
            // is freed afterwards.
            let old = unsafe {
                self.change(|items| {
                    if room.capacity() > items.len() {
                        room.append(items);
                        mem::swap(items, &mut room);
                    }
                    room
                })
            };
            drop(old);
        }
    }

    /// Takes all items out.
    pub(crate) fn take(&self) -> Vec<T> {
        // SAFETY: An empty vector has no memory, so the closure moves values and no more.
        unsafe { self.change(mem::take) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_taken_in_that_order() {
        let growing = Growing::default();
        let lengths: Vec<_> = (0..100).map(|n| growing.push(n)).collect();
        assert_eq!(lengths, (1..=100).collect::<Vec<_>>());
        growing.grow();
        assert!(!growing.is_full());
        assert_eq!(growing.take(), (0..100).collect::<Vec<_>>());
        assert!(growing.is_empty());
    }
}

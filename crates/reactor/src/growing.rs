//! A vector that is shared by reference, and that grows while no reference to it is alive.
//!
//! The allocator is foreign code: a global one may wake a task, and a waker may call back into the
//! reactor. So `Growing` makes room before it takes the reference: it allocates, moves the items,
//! and frees the old memory, and nothing is borrowed while the allocator runs.

use std::cell::UnsafeCell;
use std::mem;

pub(crate) struct Growing<T>(UnsafeCell<Vec<T>>);

impl<T> Default for Growing<T> {
    fn default() -> Growing<T> {
        Growing(UnsafeCell::new(Vec::new()))
    }
}

impl<T> Growing<T> {
    /// Calls `change` with the vector.
    ///
    /// # Safety
    /// `change` must call no foreign code, so that it cannot reach this vector a second time: it
    /// must not allocate, free, or drop a value with a foreign destructor.
    #[inline]
    pub(crate) unsafe fn with<R>(&self, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        // SAFETY: `UnsafeCell` makes this type `!Sync`, so only one thread is here. No other
        // `change` is active, because none calls code that could get here. So this is the only
        // reference into the cell.
        change(unsafe { &mut *self.0.get() })
    }

    pub(crate) fn len(&self) -> usize {
        // SAFETY: The closure reads a number.
        unsafe { self.with(|items| items.len()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        // SAFETY: The closure reads two numbers.
        unsafe { self.with(|items| items.len() == items.capacity()) }
    }

    /// Adds an item. Returns the new length.
    pub(crate) fn push(&self, item: T) -> usize {
        if self.is_full() {
            self.grow();
        }
        // SAFETY: There is room, so the closure only moves a value.
        unsafe {
            self.with(|items| {
                items.push(item);
                items.len()
            })
        }
    }

    /// Adds an item if there is room. Returns the new length.
    #[inline]
    pub(crate) fn push_within_capacity(&self, item: T) -> Option<usize>
    where
        T: Copy,
    {
        // SAFETY: The vector has room, so `push` moves a value and does not allocate.
        unsafe {
            self.with(|items| {
                if items.len() == items.capacity() {
                    return None;
                }
                items.push(item);
                Some(items.len())
            })
        }
    }

    /// Makes room for at least one item.
    #[cold]
    #[inline(never)]
    pub(crate) fn grow(&self) {
        // A loop, because the allocator may push, too, and use up the new room.
        while self.is_full() {
            let mut room = Vec::with_capacity((2 * self.len()).max(4));
            // SAFETY: The new memory is large enough, so the closure only moves values. The old
            // memory is freed after it.
            let old = unsafe {
                self.with(|items| {
                    // The allocator may have pushed since the length was read above.
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
        // SAFETY: An empty vector has no memory, so the closure only moves values.
        unsafe { self.with(mem::take) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_taken_in_the_order_of_pushes() {
        let growing = Growing::default();
        let lengths: Vec<_> = (0..100).map(|n| growing.push(n)).collect();
        assert_eq!(lengths, (1..=100).collect::<Vec<_>>());
        growing.grow();
        assert!(!growing.is_full());
        assert_eq!(growing.take(), (0..100).collect::<Vec<_>>());
        assert!(growing.is_empty());
    }
}

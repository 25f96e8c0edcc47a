//! A value that only its own thread can reach, inside an allocation that all threads share.
//!
//! The invariant: references to the value exist only on its thread, and it is dropped there or
//! leaked. No other file argues for thread-bound data in a shared allocation.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::thread::{self, ThreadId};

thread_local! {
    /// This thread's id, once it has made a `Bound`. It has no destructor, so it can be read even
    /// while the thread ends.
    static HERE: Cell<Option<ThreadId>> = const { Cell::new(None) };
}

pub(crate) struct Bound<T> {
    owner: ThreadId,
    value: ManuallyDrop<T>,
}

// SAFETY: `get` and `drop` compare thread ids first, and a process never reuses a thread id.
// Callers of `get_here` promise the same. So the value never leaves the thread that made it,
// whichever threads hold or share the `Bound`.
unsafe impl<T> Send for Bound<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Bound<T> {}

impl<T> Bound<T> {
    /// Binds `value` to this thread.
    pub(crate) fn new(value: T) -> Bound<T> {
        let owner = HERE.with(|here| {
            let id = here.get().unwrap_or_else(|| thread::current().id());
            here.set(Some(id));
            id
        });
        Bound { owner, value: ManuallyDrop::new(value) }
    }

    /// The value, if this is its thread.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // A thread that has never made a `Bound` owns none, and has no id here.
        (HERE.get() == Some(self.owner)).then_some(&*self.value)
    }

    /// The value, if this is its thread.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        (HERE.get() == Some(self.owner)).then_some(&mut *self.value)
    }

    /// Takes the value out, if this is its thread.
    pub(crate) fn into_inner(mut self) -> Result<T, Bound<T>> {
        if self.get().is_none() {
            return Err(self);
        }
        // SAFETY: It is not used afterwards, because `self` is forgotten in the next line.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        std::mem::forget(self);
        Ok(value)
    }

    /// The value, without the check of the thread.
    ///
    /// # Safety
    /// The calling thread must be the one that made this.
    #[inline]
    pub(crate) unsafe fn get_here(&self) -> &T {
        debug_assert!(self.get().is_some());
        &self.value
    }
}

impl<T> Drop for Bound<T> {
    // The value is leaked if this thread is not its owner, because its destructor must not run
    // here.
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: This is the drop of the owner, so nothing uses the value afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it leaks on purpose, which Miri reports")]
    fn another_thread_neither_sees_nor_drops_the_value() {
        let value = Rc::new(());
        let bound = Arc::new(Bound::new(value.clone()));
        assert!(bound.get().is_some());
        thread::spawn({
            let bound = bound.clone();
            move || assert!(bound.get().is_none())
        })
        .join()
        .unwrap();
        thread::spawn(move || drop(bound)).join().unwrap();
        assert_eq!(Rc::strong_count(&value), 2, "leaked rather than dropped on the wrong thread");
    }
}

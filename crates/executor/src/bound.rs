//! A value that only the thread that made it can reach, inside of something that all threads may hold.
//!
//! The invariant: a reference to the value exists on its own thread only, and it is dropped there or not at all. This is
//! the one place that vouches for thread-bound data in a shared allocation.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::thread::{self, ThreadId};

thread_local! {
    /// This thread's id once it has made a `Bound`. Without a destructor, so that it can be read at any time.
    static HERE: Cell<Option<ThreadId>> = const { Cell::new(None) };
}

pub(crate) struct Bound<T> {
    owner: ThreadId,
    value: ManuallyDrop<T>,
}

// SAFETY: `get` and `drop` compare thread ids first, which are never reused within a process, and who calls `get_here` has
// promised what these find out. So whichever threads hold or share a `Bound`, the value itself never leaves the thread that made it.
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
        // A thread that has never made a `Bound` has no id here, and is no owner.
        (HERE.get() == Some(self.owner)).then_some(&*self.value)
    }

    /// The value, for those who need not ask.
    ///
    /// # Safety
    /// This must be its thread.
    #[inline]
    pub(crate) unsafe fn get_here(&self) -> &T {
        debug_assert!(self.get().is_some());
        &self.value
    }
}

impl<T> Drop for Bound<T> {
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: This is a drop, so nobody uses the value afterwards.
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

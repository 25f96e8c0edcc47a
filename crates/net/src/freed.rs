//! Descriptors that this thread's sockets give back: what a listener waits for when the process has none left.

use std::cell::Cell;
use std::rc::Rc;

use crate::signal::Signal;

/// How many descriptors were given back, and who waits for the next one.
#[derive(Default)]
pub(crate) struct Freed {
    count: Cell<u64>,
    signal: Signal,
}

thread_local! {
    static FREED: Rc<Freed> = Rc::default();
}

impl Freed {
    /// This thread's.
    pub(crate) fn here() -> Rc<Freed> {
        FREED.with(Rc::clone)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Waits until the count is not `seen` any more.
    pub(crate) fn after(&self, seen: u64) -> impl Future<Output = ()> + Unpin {
        self.signal.until(move || self.count.get() != seen)
    }
}

/// Counts a descriptor as given back when it is dropped: the last field of a socket's type, so that the descriptor is closed
/// before. A socket that is taken out of its type counts, too: a listener that tries once too often does no harm.
#[derive(Default)]
pub(crate) struct Descriptor;

impl Drop for Descriptor {
    fn drop(&mut self) {
        // A socket in another thread-local may outlive this one.
        let _ = FREED.try_with(|freed| {
            freed.count.set(freed.count.get() + 1);
            freed.signal.notify();
        });
    }
}

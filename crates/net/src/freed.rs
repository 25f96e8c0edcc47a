//! The number of descriptors that this thread's sockets have closed. A listener watches it when the
//! process has none left.

use std::cell::Cell;
use std::rc::Rc;

use picot_context::{WaitInfo, WaitKind};

use crate::condition::Condition;

/// The descriptors that were closed on one thread, as a count that can be awaited.
#[derive(Default)]
pub(crate) struct Freed {
    count: Cell<u64>,
    changed: Condition,
}

thread_local! {
    static FREED: Rc<Freed> = Rc::default();
}

impl Freed {
    /// The count of this thread.
    pub(crate) fn here() -> Rc<Freed> {
        FREED.with(Rc::clone)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Waits until the count differs from `seen`.
    pub(crate) fn after(&self, seen: u64) -> impl Future<Output = ()> + Unpin {
        self.changed
            .until_about(|| WaitInfo::new(WaitKind::Server, "a free descriptor"), move || self.count.get() != seen)
    }
}

/// Counts a descriptor as closed when it is dropped. Every type of socket has it as a field behind
/// the one that owns the descriptor, because fields are dropped in order.
///
/// A socket that is taken out of its type, as by `into_std`, counts as well. A listener then tries
/// once more than it has to, which does no harm.
pub(crate) struct CountWhenClosed;

impl Drop for CountWhenClosed {
    fn drop(&mut self) {
        // A socket in another thread-local may outlive this one; no listener waits any more by
        // then.
        let _ = FREED.try_with(|freed| {
            freed.count.set(freed.count.get() + 1);
            freed.changed.notify();
        });
    }
}

//! Waking a task of the executor's own without a waker: by its place in the table.
//!
//! A waker holds its task, so making and dropping one costs an atomic operation each. Who waits on the executor's own thread
//! for what comes from there, such as a timer, needs none: a task that has ended is not in the table, and waits for nothing.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::task::{RawWakerVTable, Waker};

use picot_context::TaskId;

use crate::spawn::Spawner;

/// Names a task, or the root, of one executor, for [`Spawner::wake`]. It keeps nothing alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeKey {
    pub(crate) slot: u32,
    /// Enough of the id to tell the task from the others that have had its slot.
    id: NonZeroU32,
}

impl WakeKey {
    #[inline]
    pub(crate) fn new(slot: u32, id: TaskId) -> WakeKey {
        WakeKey { slot, id: short(id) }
    }

    /// Whether it names the task `id`, which has its slot.
    #[inline]
    pub(crate) fn is(self, id: TaskId) -> bool {
        self.id == short(id)
    }
}

#[inline]
fn short(id: TaskId) -> NonZeroU32 {
    NonZeroU32::MIN | ((id.get() as u32) << 1)
}

impl Spawner {
    /// The key of the task whose step runs, if that is what `waker` wakes. To wake it by its key later is the same, and
    /// costs less than to keep the waker: no atomic operation for its clone and its drop.
    ///
    /// ```
    /// use std::task::{Poll, Waker};
    ///
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(std::future::poll_fn({
    ///     let mut key = None;
    ///     move |cx| {
    ///         if key.is_some() {
    ///             return Poll::Ready(());
    ///         }
    ///         assert_eq!(spawner.wake_key(Waker::noop()), None);
    ///         key = spawner.wake_key(cx.waker());
    ///         spawner.wake(key.expect("nobody has wrapped the waker"));
    ///         Poll::Pending
    ///     }
    /// }));
    /// ```
    #[inline]
    pub fn wake_key(&self, waker: &Waker) -> Option<WakeKey> {
        let local = self.local();
        let (_, slot) = local.current()?;
        local.table.borrow_mut().wake_key(slot, waker, &local.first)
    }

    /// Wakes a task of this executor, as its waker does. Nothing happens if it has ended.
    #[inline]
    pub fn wake(&self, key: WakeKey) {
        // What it calls is one of our own wakers, which do not look at the table.
        self.local().table.borrow().wake(key);
    }
}

/// Which task was last polled for the first time, and by which waker: the table has none of it yet.
#[derive(Default)]
pub(crate) struct First(Cell<Option<Identity>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: TaskId,
    data: *const (),
    vtable: *const RawWakerVTable,
}

impl Identity {
    #[inline]
    fn new(id: TaskId, waker: &Waker) -> Identity {
        Identity { id, data: waker.data(), vtable: waker.vtable() }
    }
}

impl First {
    #[inline]
    pub(crate) fn set(&self, id: TaskId, waker: &Waker) {
        self.0.set(Some(Identity::new(id, waker)));
    }

    /// Whether `waker` wakes the task `id`. If that has not ended, no other waker has the same data.
    pub(crate) fn is(&self, id: TaskId, waker: &Waker) -> bool {
        self.0.get() == Some(Identity::new(id, waker))
    }
}

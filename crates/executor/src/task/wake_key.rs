//! Waking a task of the executor's own without a waker: by its place in the table.
//!
//! A waker holds its task, so making and dropping one costs an atomic operation each. Who waits on the executor's own thread
//! for what comes from there, such as a timer, needs none: a task that has ended is not in the table, and waits for nothing.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::task::{RawWakerVTable, Waker};

use picot_context::TaskId;

/// Names a task, or the root, of one executor, for [`Spawner::wake`]. It keeps nothing alive.
///
/// ```
/// use std::{cell::RefCell, rc::Rc, task::Poll, task::Waker};
/// use picot_executor::{Executor, WakeKey};
///
/// /// Who waits, for a leaf of the executor's own thread.
/// enum Waits {
///     Key(WakeKey),
///     Waker(Waker), // of who is no task of ours, or has wrapped its waker
/// }
///
/// let executor = Executor::new();
/// let spawner = executor.spawner().clone();
/// let waits = Rc::new(RefCell::new(None));
/// let (inside, keys) = (waits.clone(), spawner.clone());
/// let task = executor.spawn(std::future::poll_fn(move |cx| {
///     let first = inside.borrow().is_none();
///     if !first {
///         return Poll::Ready(());
///     }
///     let key = keys.wake_key(cx.waker()).map(Waits::Key);
///     *inside.borrow_mut() = Some(key.unwrap_or_else(|| Waits::Waker(cx.waker().clone())));
///     Poll::Pending
/// }));
/// executor.run_until_stalled();
/// match &*waits.borrow() {
///     Some(Waits::Key(key)) => spawner.wake(*key),
///     Some(Waits::Waker(waker)) => waker.wake_by_ref(),
///     None => unreachable!("it waits"),
/// }
/// executor.run_until_stalled();
/// assert!(task.is_finished());
/// ```
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

//! Waking a task of the executor without a waker, by its slot in the table.
//!
//! A waker holds a reference to its task, so its clone and its drop cost an atomic operation each.
//! A leaf on the executor's own thread, such as a timer, needs no such reference: a task that has
//! ended is not in the table, and waits for nothing.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::task::{RawWakerVTable, Waker};

use picot_context::TaskId;

/// Identifies a task or the root of one executor, for [`Spawner::wake`](crate::Spawner::wake). It
/// keeps nothing alive.
///
/// ```
/// use std::{cell::RefCell, rc::Rc, task::Poll, task::Waker};
/// use picot_executor::{Executor, WakeKey};
///
/// /// A waiter of a leaf of the executor's own thread.
/// enum Waits {
///     Key(WakeKey),
///     Waker(Waker), // of a foreign task, or a wrapped waker
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
    /// The low bits of the id, which distinguish the task from earlier ones in its slot.
    id: NonZeroU32,
}

impl WakeKey {
    #[inline]
    pub(crate) fn new(slot: u32, id: TaskId) -> WakeKey {
        WakeKey { slot, id: short(id) }
    }

    /// Whether this is the key of the task `id`, which is in its slot.
    #[inline]
    pub(crate) fn is(self, id: TaskId) -> bool {
        self.id == short(id)
    }
}

#[inline]
fn short(id: TaskId) -> NonZeroU32 {
    NonZeroU32::MIN | ((id.get() as u32) << 1)
}

/// The task that was last polled for the first time, and its waker. The table has no waker of it
/// yet.
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

    /// Whether `waker` wakes the task `id`. No other waker has the same data while that task lives.
    pub(crate) fn is(&self, id: TaskId, waker: &Waker) -> bool {
        self.0.get() == Some(Identity::new(id, waker))
    }
}

//! The exclusive section: while its guard lives, one task runs and nothing else does.
//!
//! The invariant: held items keep their order, and come before everything that became ready after
//! them when the section ends. Wakes do not check for sections; the batch sets aside the items that
//! it must not run.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use picot_context::{Cause, Kind, Origin, Report, TaskId, TaskInfo, budget};

use crate::extras::extra;
use crate::run::queue::Item;
use crate::shared::{Local, Shared};
use crate::task::meta::Ready;

impl Local {
    /// Whether a section keeps the item from running.
    pub(crate) fn must_hold(&self, item: &Item<Ready>) -> bool {
        let Some(holder) = self.extras.section.holder.get() else { return false };
        match item {
            Item::Call(_) => true,
            Item::Task(task) => task.meta().id != holder,
            Item::Root => self.root.id() != Some(holder),
        }
    }

    pub(crate) fn hold(&self, item: Item<Ready>) {
        self.held.push(item);
    }

    /// Moves every queued item that a section holds back out of the queue.
    #[cold]
    pub(crate) fn set_aside(&self) {
        for _ in 0..self.queue.len() {
            let Some(item) = self.queue.pop() else { return };
            if self.must_hold(&item) {
                self.hold(item);
            } else {
                self.queue.push(item);
            }
        }
    }

    /// How many items are held back.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether that task holds the section.
    pub(crate) fn is_holder(&self, task: TaskId) -> bool {
        self.uses(extra::SECTION) && self.extras.section.holder.get() == Some(task)
    }

    /// Ends the section, if there is one. The held items return to the front of the queue.
    #[cold]
    pub(crate) fn end_section(&self) {
        let lasted = self.extras.section.holder.take().is_some();
        // All of the state is cleared before the hook below runs, which is foreign code.
        self.extras.section.guards.set(0);
        self.extras.section.reported.take();
        self.extras.set(extra::SECTION, false);
        self.queue.pour_into(&self.held);
        self.queue.exchange(&self.held);
        if lasted {
            self.extras.set(extra::SECTION_ENDED, true);
            self.hook(|hooks| hooks.exclusive(false));
        }
    }

    /// Reports that the holder waits for a task that cannot run before the section ends. Once a
    /// section for each task, however often the holder is polled.
    #[cold]
    pub(crate) fn report_wait_for_held(&self, task: TaskInfo) {
        let mut reported = self.extras.section.reported.borrow_mut();
        if reported.contains(&task.id()) {
            return;
        }
        reported.push(task.id());
        drop(reported);
        let origin = Origin::running().unwrap_or(Origin::new(Kind::Task));
        self.reports.push(Report::new(origin, Cause::WaitsForHeld(task)));
    }
}

/// Enters an exclusive section; made by [`Spawner::exclusive`](crate::Spawner::exclusive).
///
/// # If dropped
/// Before it has returned its guard, nothing has happened; after that the guard ends the section.
///
/// # Panics
/// If it is polled by anything but a live task of the executor, such as a callback: no task could
/// then hold the section.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let spawner = executor.spawner().clone();
/// executor.block_on(async move {
///     drop(spawner.exclusive()); // never awaited: nothing has happened
///     let _alone = spawner.exclusive().await;
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Exclusive {
    shared: Arc<Shared>,
    /// Makes the type `!Send` and `!Sync`.
    _thread: PhantomData<*const ()>,
}

impl Exclusive {
    pub(crate) fn new(shared: Arc<Shared>) -> Exclusive {
        Exclusive { shared, _thread: PhantomData }
    }
}

impl Future for Exclusive {
    type Output = ExclusiveGuard;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ExclusiveGuard> {
        let local = self.shared.local.get().expect("it stays on its executor's thread");
        let (task, _) = (local.current().filter(|_| !local.has_current_ended()))
            .expect("only a task of this executor can hold back its others; spawn one that awaits `exclusive`");
        if budget::poll_left(cx).is_pending() {
            return Poll::Pending;
        }
        let Some(number) = local.extras.section.enter(task) else {
            // An eager task entered further down the stack, inside this step. From the next step on
            // this task is held back, and polls again after that section.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        if !local.uses(extra::SECTION) {
            local.extras.set(extra::SECTION, true);
            local.hook(|hooks| hooks.exclusive(true));
        }
        budget::spend();
        Poll::Ready(ExclusiveGuard { shared: self.shared.clone(), number, _thread: PhantomData })
    }
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").finish_non_exhaustive()
    }
}

/// Holds an exclusive section; see [`Spawner::exclusive`](crate::Spawner::exclusive).
///
/// # If dropped
/// The section ends, unless its task has another guard. Has no effect if the section has ended
/// before, with its task. If the guard is leaked, the end of its task ends the section.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let spawner = executor.spawner().clone();
/// executor.block_on(async move {
///     {
///         let _alone = spawner.exclusive().await;
///         // Nothing else runs here, across whatever is awaited.
///     }
///     // And here all that was held back has its turn again.
/// });
/// ```
#[must_use = "the exclusive section ends when this is dropped"]
pub struct ExclusiveGuard {
    shared: Arc<Shared>,
    number: u64,
    /// Makes the type `!Send` and `!Sync`.
    _thread: PhantomData<*const ()>,
}

impl ExclusiveGuard {
    /// The number of items that are held back until the section ends.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(async move {
    ///     let alone = spawner.exclusive().await;
    ///     spawner.call_soon(|| ()).unwrap();
    ///     assert_eq!(alone.held(), 1);
    /// });
    /// ```
    pub fn held(&self) -> usize {
        self.shared.local.get().map_or(0, |local| {
            local.set_aside();
            local.held()
        })
    }
}

impl Drop for ExclusiveGuard {
    fn drop(&mut self) {
        let Some(local) = self.shared.local.get() else { return };
        if !local.uses(extra::SECTION) || local.extras.section.number.get() != self.number {
            return;
        }
        local.extras.section.guards.set(local.extras.section.guards.get() - 1);
        if local.extras.section.guards.get() == 0 {
            local.end_section();
        }
    }
}

impl fmt::Debug for ExclusiveGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExclusiveGuard").field("held", &self.held()).finish()
    }
}

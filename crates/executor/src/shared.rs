//! The state that an executor, its handles and its wakers share.
//!
//! It is one allocation in two halves: [`Local`] belongs to the executor's thread, and the inbox to
//! all threads. A waker may outlive the executor. Both halves are empty by then, and nothing is
//! pushed any more, because every task has ended.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;

use picot_context::{Closed, TaskId};

use crate::bound::Bound;
use crate::extras::Extras;
use crate::extras::hooks::Hooks;
use crate::extras::reports::Reports;
use crate::remote::inbox::Inbox;
use crate::remote::item::RemoteItem;
use crate::run::call::CallHandle;
use crate::run::queue::{Item, Queue};
use crate::run::root_slot::RootSlot;
use crate::task::meta::{Meta, Ready};
use crate::task::state::flag;
use crate::task::table::{Joiner, RareState, Table};
use crate::task::wake_key::First;

pub(crate) struct Shared {
    pub(crate) local: Bound<Local>,
    pub(crate) inbox: Inbox<RemoteItem>,
    /// Interrupts the executor's sleep.
    pub(crate) interrupt: Waker,
    /// The number of runnables that the closed inbox returned. They were leaked, because dropping a
    /// runnable drops its future on the wrong thread.
    pub(crate) leaked: AtomicUsize,
}

/// The half of the executor's own thread. No borrow of any of its cells lives while user code runs,
/// so user code may re-enter any method.
pub(crate) struct Local {
    pub(crate) queue: Queue<Ready>,
    pub(crate) table: RefCell<Table>,
    /// Whether the task whose step runs has ended while another waited for it. The joiner is woken
    /// after the step, outside of the ended task's context.
    pub(crate) ended: Cell<bool>,
    pub(crate) joiner: Cell<Option<Joiner>>,
    pub(crate) reports: Reports,
    pub(crate) root: RootSlot,
    pub(crate) phase: Cell<Phase>,
    /// Whether a batch, a close or a hook runs. No second one may begin inside of it.
    pub(crate) running: Cell<bool>,
    pub(crate) first: First,
    pub(crate) extras: Extras,
    /// The items that an exclusive section holds back.
    pub(crate) held: Queue<Ready>,
    /// The number of sleeps so far, modulo 256; see [`rest`](Local::rest).
    rests: Cell<u8>,
    /// Whether the last sleep has found much unused memory.
    had_large_waste: Cell<bool>,
    last_id: Cell<u64>,
    /// The number of references to `Shared` that were kept for reuse; see
    /// [`Owner`](crate::task::meta::Owner).
    pub(crate) spare: Cell<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Drops the remaining items, and refuses new ones.
    Closing,
    Closed,
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Shared>();
};

// A panic that unwinds past an executor or a handle leaves nothing half done, because no borrow
// lives while user code runs.
impl UnwindSafe for Shared {}
impl RefUnwindSafe for Shared {}

impl Shared {
    /// Drops the references that [`Owner`](crate::task::meta::Owner)s have left for reuse. The
    /// caller holds a reference itself, so `self` stays alive. A closed executor keeps none.
    pub(crate) fn drop_spare(self: &Arc<Shared>, local: &Local) {
        debug_assert!(local.phase.get() == Phase::Closed, "otherwise new ones would stay");
        for _ in 0..local.spare.take() {
            // SAFETY: Each count stands for one strong reference that `Owner` has forgotten.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(self)) }
        }
    }
}

impl Shared {
    /// Queues an item that another thread has sent.
    pub(crate) fn accept(self: &Arc<Shared>, local: &Local, item: RemoteItem) {
        match item {
            RemoteItem::Task(task) => local.queue.push_task(task),
            RemoteItem::Call(place, call) => local.queue.push(Item::Call(CallHandle::at(place, None, call))),
            RemoteItem::Deliver(delivery) => delivery.arrive(),
            RemoteItem::Spawn(request) => _ = request.start(self, None, None),
            RemoteItem::Report(report) => local.contain(report),
        }
    }

    pub(crate) fn new(interrupt: Waker) -> Arc<Shared> {
        Arc::new(Shared {
            local: Bound::new(Local::new()),
            inbox: Inbox::new(),
            interrupt,
            leaked: AtomicUsize::new(0),
        })
    }

    /// Sends an item to the executor from another thread, and interrupts its sleep if necessary.
    pub(crate) fn hand_over(self: &Arc<Shared>, item: RemoteItem) -> Result<(), RemoteItem> {
        if self.inbox.push(item)? {
            self.interrupt.wake_by_ref();
        }
        Ok(())
    }
}

impl Local {
    fn new() -> Local {
        Local {
            queue: Queue::new(),
            table: RefCell::default(),
            ended: Cell::new(false),
            joiner: Cell::new(None),
            reports: Reports::default(),
            root: RootSlot::default(),
            phase: Cell::new(Phase::Open),
            running: Cell::new(false),
            first: First::default(),
            extras: Extras::default(),
            held: Queue::new(),
            rests: Cell::new(0),
            had_large_waste: Cell::new(false),
            last_id: Cell::new(0),
            spare: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn next_id(&self) -> TaskId {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        TaskId::new(NonZeroU64::new(id).expect("fewer than 2^64 tasks"))
    }

    /// # Panics
    /// If a step runs.
    #[inline]
    #[track_caller]
    pub(crate) fn check_idle(&self) {
        assert!(
            !self.running.get(),
            "this executor runs already, further up this thread's stack; await the future there, or spawn it"
        );
    }

    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), Closed> {
        if self.phase.get() == Phase::Open { Ok(()) } else { Err(Closed::new()) }
    }

    /// Ends a task whose future was dropped: removes it from the table, clears its locals, and
    /// notes its joiner for [`wake_joiner_of_ended`](Local::wake_joiner_of_ended).
    ///
    /// Returns nothing: moving a usually empty `RareState` by value caused a store-forwarding
    /// stall.
    #[inline]
    pub(crate) fn end_task(&self, meta: &Meta) {
        if self.is_holder(meta.id) {
            // The guard was leaked, or moved to a task that never drops it.
            self.end_section();
        }
        meta.set(flag::ENDED);
        let waker = self.table.borrow_mut().remove(meta);
        drop(waker);
        if meta.is(flag::HAS_RARE_STATE) {
            self.end_rare_state(meta);
        }
        self.drop_made();
    }

    #[inline(never)]
    fn end_rare_state(&self, meta: &Meta) {
        let RareState { joiner, details } = self.table.borrow_mut().take_rare_state(meta);
        if joiner.is_some() {
            self.ended.set(true);
            self.joiner.set(joiner);
        }
        if let Some(details) = details.and_then(|details| details.details) {
            // Clears the values only. The name may still appear in a report of this step.
            // The task has left the table, so a hook or a destructor below sees it as ended.
            self.contain(|| details.clear_locals());
        }
    }

    /// Drops the task-locals that were first set in the step that runs, which is the last one.
    #[inline]
    pub(crate) fn drop_made(&self) {
        if picot_context::has_made() {
            let details = picot_context::take_made();
            self.contain(|| details.iter().for_each(|details| details.clear_locals()));
        }
    }

    /// Frees memory that a past peak has left. Call it where there is time: before a sleep, and at
    /// the end of a run.
    pub(crate) fn shrink(&self) {
        self.queue.shrink();
        self.held.shrink();
        self.table.borrow_mut().shrink();
    }

    /// Calls [`shrink`](Local::shrink) every `RESTS`th time. A load that comes and goes each turn
    /// would otherwise free and allocate in each turn. Returns whether this call was such a one.
    ///
    /// Much unused memory is freed at once: what it takes to fill it again is little beside the
    /// tasks that fill it. An attempt may be in vain, if a task has a high slot, and is linear; so
    /// there is one for each peak.
    #[inline]
    pub(crate) fn rest(&self) -> bool {
        const RESTS: u8 = 64;
        let rests = self.rests.get().wrapping_add(1);
        self.rests.set(rests);
        let wastes = self.has_large_waste();
        let shrinks = rests % RESTS == 0 || (wastes && !self.had_large_waste.get());
        self.had_large_waste.set(wastes);
        if shrinks {
            self.shrink();
        }
        shrinks
    }

    /// Whether a peak has left much memory that is nearly unused now.
    fn has_large_waste(&self) -> bool {
        /// 512 KiB of a row, and 3 times that of the table.
        const LARGE: usize = 1 << 16;
        let (tasks, slots) = self.table.borrow().usage();
        let capacity = slots.max(self.queue.capacity());
        capacity > LARGE && tasks.max(self.queue.len()) < capacity / 8
    }

    /// Calls a waker of foreign code. A panic in it is reported.
    #[inline]
    pub(crate) fn wake(&self, waker: Waker) {
        if let Err(payload) = picot_context::catch(move || waker.wake()) {
            self.reports.waker_panicked(payload);
        }
    }

    /// Drops a waker of foreign code. A panic in its destructor is reported.
    #[cold]
    pub(crate) fn drop_waker(&self, waker: Waker) {
        if let Err(payload) = picot_context::catch(move || drop(waker)) {
            self.reports.waker_panicked(payload);
        }
    }

    /// Wakes the joiner of the task that has just ended.
    #[inline]
    pub(crate) fn wake_joiner_of_ended(&self) {
        self.ended.set(false);
        if let Some(joiner) = self.joiner.take() {
            self.wake_joiner(joiner);
        }
    }

    /// Wakes the joiner of a task that has ended.
    #[inline]
    pub(crate) fn wake_joiner(&self, joiner: Joiner) {
        match joiner {
            // This runs one of our own wakers, which does not borrow the table.
            Joiner::Task(key) => self.table.borrow().wake(key),
            Joiner::Other(waker) => self.wake(waker),
        }
    }

    /// Delivers reports at once if the executor is closed, because no turn will.
    pub(crate) fn deliver_if_closed(&self) {
        if self.phase.get() == Phase::Closed {
            self.reports.deliver_last();
        }
    }

    #[inline]
    pub(crate) fn uses(&self, extras: u8) -> bool {
        self.extras.uses(extras)
    }

    /// Calls one of the hooks, if there are any.
    #[cold]
    pub(crate) fn hook(&self, call: impl FnOnce(&dyn Hooks)) {
        self.extras.hook(&self.reports, call);
    }

    /// Runs user code. A panic in it becomes a report.
    pub(crate) fn contain(&self, f: impl FnOnce()) {
        if let Err(payload) = picot_context::catch(f) {
            self.reports.running_panicked(payload);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::executor::Executor;

    #[test]
    #[cfg_attr(miri, ignore = "a hundred thousand tasks take minutes")]
    fn a_table_that_cannot_shrink_is_looked_at_once_for_each_peak() {
        let executor = Executor::new();
        let local = executor.spawner().local();
        let shrinks = |sleeps: usize| (0..sleeps).filter(|_| local.rest()).count();
        assert_eq!(shrinks(1), 0, "nothing is unused");
        let mut tasks: Vec<_> = (0..100_000).map(|_| executor.spawn(std::future::pending::<()>())).collect();
        executor.run_until_stalled();
        assert_eq!(shrinks(10), 0, "all of it is used");
        // The last task has the highest slot.
        let last = tasks.pop();
        tasks.iter().for_each(|task| assert!(task.cancel("the peak is over")));
        executor.run_until_stalled();
        assert_eq!(shrinks(40), 1);
        last.iter().for_each(|task| assert!(task.cancel("the peak is over")));
        executor.run_until_stalled();
        assert_eq!(shrinks(64), 1, "the 64th sleep shrinks it, as always");
    }
}

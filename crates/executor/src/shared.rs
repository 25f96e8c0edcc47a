//! What an executor, its handles and its wakers share, and what a wake does.
//!
//! One allocation in two halves: [`Local`] belongs to the executor's thread, the inbox to everybody. A waker may outlive
//! the executor; then both halves are empty, and nothing is ever pushed any more, because every task has ended.

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
use crate::task::table::{Joiner, Side, Table};
use crate::task::wake_key::First;

pub(crate) struct Shared {
    pub(crate) local: Bound<Local>,
    pub(crate) inbox: Inbox<RemoteItem>,
    /// Ends the owner's sleep.
    pub(crate) interrupt: Waker,
    /// Runnables that came back from the closed inbox and were leaked, because dropping one drops its future.
    pub(crate) leaked: AtomicUsize,
}

/// The half of the executor's own thread. Cells and one queue; no borrow of any of them lives while user code runs.
pub(crate) struct Local {
    pub(crate) queue: Queue<Ready>,
    pub(crate) table: RefCell<Table>,
    /// Whether a task has just ended that somebody waits for: who is to be woken once its step is over.
    pub(crate) ended: Cell<bool>,
    pub(crate) joiner: Cell<Option<Joiner>>,
    pub(crate) reports: Reports,
    pub(crate) root: RootSlot,
    pub(crate) phase: Cell<Phase>,
    /// Whether a step runs.
    pub(crate) running: Cell<bool>,
    pub(crate) first: First,
    pub(crate) extras: Extras,
    /// What an exclusive section holds back.
    pub(crate) held: Queue<Ready>,
    /// How often the thread has slept since; see [`rest`](Local::rest).
    rests: Cell<u8>,
    last_id: Cell<u64>,
    /// References to the whole that were forgotten, see [`Owner`].
    pub(crate) spare: Cell<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Dropping what is left. Refuses what is new.
    Closing,
    Closed,
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Shared>();
};

// A panic that unwinds past an executor, or past one of its handles, leaves nothing half done: no borrow of it lives while
// user code runs.
impl UnwindSafe for Shared {}
impl RefUnwindSafe for Shared {}

impl Shared {
    /// Lets go of what [`Owner`]s have left; nothing is kept once the executor is closed. The caller has a reference itself.
    pub(crate) fn drop_spare(self: &Arc<Shared>, local: &Local) {
        debug_assert!(local.phase.get() == Phase::Closed, "otherwise new ones would stay");
        for _ in 0..local.spare.take() {
            // SAFETY: Each is a reference that was forgotten, see `Owner`.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(self)) }
        }
    }
}

impl Shared {
    /// Queues what another thread has handed over.
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

    /// Hands something over from another thread.
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

    /// The task's future has been dropped. Takes it out of the table, lets go of its locals, and leaves its joiner to be woken.
    ///
    /// It gives nothing back, and what few tasks have is none of its matter: an empty side that it moved through memory was written
    /// in halves and read as a whole, and the processor waited for that, behind whatever it had missed in its caches.
    #[inline]
    pub(crate) fn end_task(&self, meta: &Meta) {
        if self.is_holder(meta.id) {
            // Its guard was leaked, or handed to somebody who never runs.
            self.end_section();
        }
        meta.set(flag::ENDED);
        let waker = self.table.borrow_mut().remove(meta);
        drop(waker);
        if meta.is(flag::HAS_SIDE) {
            self.end_side(meta);
        }
        self.drop_made();
    }

    #[inline(never)]
    fn end_side(&self, meta: &Meta) {
        let Side { joiner, more } = self.table.borrow_mut().take_side(meta);
        if joiner.is_some() {
            self.ended.set(true);
            self.joiner.set(joiner);
        }
        if let Some(details) = more.and_then(|more| more.details) {
            // The values only: the name is still wanted, for whatever else goes wrong in this step.
            self.contain(|| details.clear_locals());
        }
    }

    /// Drops the locals that the running step has made, which are its last.
    #[inline]
    pub(crate) fn drop_made(&self) {
        if picot_context::has_made() {
            let details = picot_context::take_made();
            self.contain(|| details.iter().for_each(|details| details.clear_locals()));
        }
    }

    /// Gives memory back that a peak has left, if it has ended. To be called where the thread has
    /// time: before it sleeps, and at the end of a run.
    pub(crate) fn shrink(&self) {
        self.queue.shrink();
        self.held.shrink();
        self.table.borrow_mut().shrink();
    }

    /// [`shrink`](Local::shrink)s at every `RESTS`th call, so that a load which comes and goes with
    /// each turn pays for it rarely, and a turn nearly nothing.
    #[inline]
    pub(crate) fn rest(&self) {
        const RESTS: u8 = 64;
        let rests = self.rests.get().wrapping_add(1);
        self.rests.set(rests);
        if rests % RESTS == 0 {
            self.shrink();
        }
    }

    /// Calls a waker that may be anybody's. A panic in it is reported.
    #[inline]
    pub(crate) fn wake(&self, waker: Waker) {
        if let Err(payload) = picot_context::catch(move || waker.wake()) {
            self.reports.waker_panicked(payload);
        }
    }

    /// Drops a waker that may be anybody's. A panic in that is reported.
    #[cold]
    pub(crate) fn drop_waker(&self, waker: Waker) {
        if let Err(payload) = picot_context::catch(move || drop(waker)) {
            self.reports.waker_panicked(payload);
        }
    }

    /// Wakes whoever has waited for the task that has just ended.
    #[inline]
    pub(crate) fn wake_joiner_of_ended(&self) {
        self.ended.set(false);
        if let Some(joiner) = self.joiner.take() {
            self.wake_joiner(joiner);
        }
    }

    /// Wakes whoever has waited for a task that has ended.
    #[inline]
    pub(crate) fn wake_joiner(&self, joiner: Joiner) {
        match joiner {
            // One of our own wakers, which do not look at the table.
            Joiner::Task(key) => self.table.borrow().wake(key),
            Joiner::Other(waker) => self.wake(waker),
        }
    }

    /// Tells what there is to tell, if no turn comes any more at whose end that would be done.
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

    /// Runs a piece of the user's code whose panic is a report and no more.
    pub(crate) fn contain(&self, f: impl FnOnce()) {
        if let Err(payload) = picot_context::catch(f) {
            self.reports.running_panicked(payload);
        }
    }
}

//! What an executor, its handles and its wakers share, and what a wake does.
//!
//! One allocation in two halves: [`Local`] belongs to the executor's thread, the inbox to everybody. A waker may outlive
//! the executor; then both halves are empty, and nothing is ever pushed any more, because every task has ended.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;

use async_task::Runnable;
use picot_context::{Closed, Details, Place, Step, TaskId, TaskInfo};

use crate::bound::Bound;
use crate::call::CallHandle;
use crate::error::CancelReason;
use crate::hooks::Hooks;
use crate::inbox::Inbox;
use crate::queue::{Item, Queue, Ready};
use crate::remote::RemoteItem;
use crate::report::Reports;
use crate::root::{RootSlot, RootWaker};
use crate::section::Section;
use crate::table::{Joiner, Side, Table};
use crate::wake::First;

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
    pub(crate) queue: Queue,
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
    /// What is in use of what follows: bits of [`extra`](crate::hooks::extra).
    pub(crate) extras: Cell<u8>,
    pub(crate) hooks: RefCell<Option<Rc<dyn Hooks>>>,
    /// The state of the random sequence that shuffles.
    pub(crate) random: Cell<u64>,
    pub(crate) section: Section,
    /// How often the thread has slept since; see [`rest`](Local::rest).
    rests: Cell<u8>,
    last_id: Cell<u64>,
    /// References to the whole that were forgotten, see [`Owner`].
    spare: Cell<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Dropping what is left. Refuses what is new.
    Closing,
    Closed,
}

/// What `async-task` keeps beside each task. It may be read and dropped on any thread; the flags are read and written on
/// the executor's thread only, so they need no ordering and no read-modify-write.
pub(crate) struct Meta {
    pub(crate) owner: Owner,
    pub(crate) place: Place,
    pub(crate) id: TaskId,
    /// The task's slot in the table, for as long as it has not ended.
    pub(crate) slot: u32,
    flags: AtomicU8,
}

/// The flags of a [`Meta`].
pub(crate) mod flag {
    /// The table holds details for the task.
    pub(crate) const HAS_DETAILS: u8 = 1;
    /// The future is to be dropped at the next step.
    pub(crate) const CANCELLED: u8 = 2;
    /// Nobody has the task's handle any more, so nobody will take its outcome.
    pub(crate) const DETACHED: u8 = 4;
    /// The task has left the table: its slot may be another's.
    pub(crate) const ENDED: u8 = 8;
    /// The table keeps the task; before that, the queue that it stands in does.
    pub(crate) const OWNED: u8 = 16;
    /// The table has something of the task that most do not have.
    pub(crate) const HAS_SIDE: u8 = 32;
    /// An `Err` that is dropped without having been taken is no report.
    pub(crate) const IGNORES_ERRORS: u8 = 64;
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Meta>();
    assert_send_sync::<Shared>();
};

// A panic that unwinds past an executor, or past one of its handles, leaves nothing half done: no borrow of it lives while
// user code runs.
impl UnwindSafe for Shared {}
impl RefUnwindSafe for Shared {}

/// A task's reference to its executor. What tasks give back at home is kept for the next, so that a spawn and an end there
/// cost no atomic operation each.
pub(crate) struct Owner(ManuallyDrop<Arc<Shared>>);

impl Owner {
    #[inline]
    pub(crate) fn new(shared: &Arc<Shared>, local: &Local) -> Owner {
        let spare = local.spare.get();
        if spare == 0 {
            return Owner(ManuallyDrop::new(shared.clone()));
        }
        local.spare.set(spare - 1);
        // SAFETY: `shared` is the executor of `local` (see `Spawner::make`), and each of the spare references that `local` counts
        // is one of it that was forgotten: this takes one of them over.
        Owner(ManuallyDrop::new(unsafe { Arc::from_raw(Arc::as_ptr(shared)) }))
    }
}

impl Deref for Owner {
    type Target = Arc<Shared>;

    #[inline]
    fn deref(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Owner {
    #[inline]
    fn drop(&mut self) {
        if let Some(local) = self.0.local.get() {
            if local.phase.get() != Phase::Closed {
                return local.spare.set(local.spare.get() + 1);
            }
        }
        // SAFETY: This is a drop, so nobody uses it afterwards.
        unsafe { ManuallyDrop::drop(&mut self.0) }
    }
}

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

impl Meta {
    pub(crate) fn new(owner: Owner, place: Place, id: TaskId, slot: u32, has_details: bool) -> Meta {
        let flags = if has_details { flag::HAS_DETAILS } else { 0 };
        Meta { owner, place, id, slot, flags: AtomicU8::new(flags) }
    }

    #[inline]
    pub(crate) fn flags(&self) -> u8 {
        self.flags.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags() & flag != 0
    }

    #[inline]
    pub(crate) fn set(&self, flag: u8) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | flag, Ordering::Relaxed);
    }

    /// The executor's half of this thread; there is one wherever a task's step or its local handle is.
    #[inline]
    pub(crate) fn local(&self) -> &Local {
        self.owner.local.get().expect("local handles and steps stay on the executor's thread")
    }

    #[inline]
    pub(crate) fn step(&self) -> Step {
        Step::task(self.id, self.place)
    }

    #[inline]
    pub(crate) fn details(&self) -> Option<Rc<Details>> {
        if !self.is(flag::HAS_DETAILS) || self.is(flag::ENDED) {
            return None;
        }
        self.details_of_table()
    }

    #[cold]
    fn details_of_table(&self) -> Option<Rc<Details>> {
        self.local().table.borrow().details(self.slot).cloned()
    }

    /// What is known of a task that has not ended.
    pub(crate) fn info(&self) -> TaskInfo {
        let details = self.details();
        TaskInfo::new(self.id, details.as_deref().and_then(Details::name), self.place)
    }

    /// Asks for the future to be dropped at the task's next step, which comes soon. The first reason stays.
    /// Nothing happens to a task that has ended, in whose slot another may be.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        if self.is(flag::ENDED) {
            return;
        }
        self.set(flag::CANCELLED);
        // Whatever is cancelled during close has been cancelled by it.
        let reason = if self.local().phase.get() == Phase::Open { reason } else { crate::close::REASON };
        self.local().table.borrow_mut().cancel(self, reason);
    }
}

impl Shared {
    /// Queues what another thread has handed over.
    pub(crate) fn accept(self: &Arc<Shared>, local: &Local, item: RemoteItem) {
        match item {
            RemoteItem::Task(task) => local.queue.push_task(task),
            RemoteItem::Call(place, call) => local.queue.push(Item::Call(CallHandle::at(place, None, call))),
            RemoteItem::Root(waker) => RootWaker::accept(&waker, local),
            RemoteItem::Spawn(request) => _ = request.start(self, None, None),
            RemoteItem::Cancel(task) => task.cancel_at_home(),
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

/// What a waker does: pushes, and wakes the owner if it sleeps elsewhere. It never runs or drops anything.
#[inline(never)]
pub(crate) fn schedule(runnable: Runnable<Meta>) {
    let shared = NonNull::from(&*runnable.metadata().owner);
    // SAFETY: The runnable keeps its metadata alive, and with it the `Arc` behind this reference, until it has run. It can
    // only run on the owner's thread, which is this one, so not before `push` has returned.
    if let Some(local) = unsafe { shared.as_ref() }.local.get() {
        return local.queue.push_task(Ready::new(runnable));
    }
    schedule_elsewhere(Ready::new(runnable));
}

/// Out of line, so that a wake at home needs no frame on the stack.
#[cold]
#[inline(never)]
fn schedule_elsewhere(task: Ready) {
    // It may run and be gone as soon as it is pushed: what is touched after that is held by us.
    let shared = Arc::clone(&task.meta().owner);
    if shared.hand_over(RemoteItem::Task(task)).is_err() {
        // It came back, and is leaked.
        shared.leaked.fetch_add(1, Ordering::Relaxed);
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
            extras: Cell::new(0),
            hooks: RefCell::default(),
            random: Cell::new(0),
            section: Section::default(),
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
        self.section.shrink();
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

    /// Runs a piece of the user's code whose panic is a report and no more.
    pub(crate) fn contain(&self, f: impl FnOnce()) {
        if let Err(payload) = picot_context::catch(f) {
            self.reports.running_panicked(payload);
        }
    }
}

//! The root: the future that the executor runs for. It is pinned on its caller's stack, and is
//! otherwise a task.
//!
//! It is queued like any task, and has an id, the name `main` and a place. Its waker may be used on
//! any thread and at any time; the waker of an earlier root does nothing. The executor does not own
//! it: its caller drops it and gets its panic.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use picot_context::{Details, Payload, Place, ROOT_NAME, Step, TaskId, TaskInfo, catch};
use pin_project_lite::pin_project;

use crate::extras::extra;
use crate::extras::hooks::Exit;
use crate::extras::reports::Scene;
use crate::remote::inbox::Sent;
use crate::remote::item::{Delivery, RemoteItem};
use crate::run::queue::Item;
use crate::shared::{Local, Phase, Shared};
use crate::task::table::RootEntry;

pub(crate) struct RootWaker {
    shared: Arc<Shared>,
    id: TaskId,
    sent: Sent,
}

impl Delivery for RootWaker {
    fn arrive(self: Arc<Self>) {
        // Cleared before the root is queued, so that a wake after this sends again.
        self.sent.clear();
        if let Some(local) = self.shared.local.get() {
            self.queue(local);
        }
    }
}

impl RootWaker {
    fn queue(&self, local: &Local) {
        if local.root.id() == Some(self.id) && !local.root.queued.replace(true) {
            local.queue.push(Item::Root);
        }
    }
}

impl Wake for RootWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(local) = self.shared.local.get() {
            self.queue(local);
        } else if self.sent.mark() {
            // A closed executor polls no root, so the refused wake is not lost.
            let _ = self.shared.hand_over(RemoteItem::Deliver(self.clone()));
        }
    }
}

pin_project! {
    /// A future that an executor runs for; made by [`Executor::root`](crate::Executor::root), for
    /// loops on top of it.
    ///
    /// # If dropped
    /// The future is dropped, in the caller's context, and with it an output that was not taken. A
    /// panic in either goes to the error hook. If the root is in the queue, its item is skipped
    /// there.
    ///
    /// ```
    /// use std::panic::Location;
    ///
    /// let executor = picot_executor::Executor::new();
    /// let root = executor.root(Location::caller(), std::future::pending::<()>());
    /// assert_eq!(executor.spawner().tasks()[0].given_name(), Some("main"));
    /// drop(root); // it borrows nothing of the executor, and is gone with this
    /// assert_eq!(executor.spawner().task_count(), 0);
    /// ```
    #[must_use = "the root is polled by `run_batch_with` only"]
    pub struct Root<F: Future> {
        #[pin]
        future: Option<F>,
        output: Option<Result<F::Output, Payload>>,
        details: Option<Rc<Details>>,
        guard: RootGuard,
    }

    impl<F: Future> PinnedDrop for Root<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Each drop is contained by itself: the root may be dropped by an unwinding panic, and
            // two panics that meet abort the process.
            this.guard.contain(|| this.future.set(None));
            let output = this.output.take();
            this.guard.contain(move || drop(output));
            let details = this.details.take();
            this.guard.contain(|| details.iter().for_each(|details| details.clear_locals()));
        }
    }
}

/// Ends the root in its executor when dropped, also by unwinding.
struct RootGuard {
    shared: Arc<Shared>,
    waker: Waker,
    id: TaskId,
    place: Place,
}

impl RootGuard {
    fn info(&self) -> TaskInfo {
        TaskInfo::new(self.id, Some(ROOT_NAME), self.place)
    }

    fn report(&self, payload: Payload) {
        if let Some(local) = self.shared.local.get() {
            local.reports.running_panicked(payload);
        }
    }

    /// Runs foreign code. A panic in it becomes a report of the root.
    fn contain(&self, f: impl FnOnce()) {
        if let (Err(payload), Some(local)) = (catch(f), self.shared.local.get()) {
            local.reports.task_panicked(self.info(), Scene::now(), payload, false);
            local.deliver_if_closed();
        }
    }

    /// Calls the `exited` hook, if there are hooks.
    fn exited(&self, exit: Exit) {
        if let Some(local) = self.shared.local.get().filter(|local| local.uses(extra::HOOKS)) {
            local.hook(|hooks| hooks.exited(&self.info(), exit));
        }
    }
}

impl Drop for RootGuard {
    fn drop(&mut self) {
        // After close there is nothing to do: close has ended the root, and the table is gone.
        if let Some(local) = self.shared.local.get().filter(|local| local.phase.get() != Phase::Closed) {
            if local.is_holder(self.id) {
                local.end_section();
            }
            local.root.end();
            let entry = local.table.borrow_mut().set_root(None);
            drop(entry);
            // A run may end after a peak without a sleep, so memory is freed here.
            local.shrink();
        }
    }
}

impl<F: Future> Root<F> {
    #[track_caller]
    pub(crate) fn new(shared: &Arc<Shared>, future: F, place: Place) -> Root<F> {
        let local = shared.local.get().expect("an executor stays on its thread");
        local.check_idle();
        assert!(!local.root.is_taken(), "this executor has a root already; drop that first, or spawn the other future");
        if let Err(closed) = local.check_open() {
            panic!("{closed}");
        }
        let id = local.next_id();
        let root_waker = Arc::new(RootWaker { shared: shared.clone(), id, sent: Sent::new() });
        let waker = Waker::from(root_waker.clone());
        local.root.id.set(Some(id));
        local.table.borrow_mut().set_root(Some(RootEntry { id, place, waker: waker.clone() }));
        let guard = RootGuard { shared: shared.clone(), waker, id, place };
        if local.uses(extra::HOOKS) {
            local.hook(|hooks| hooks.spawned(&guard.info()));
        }
        root_waker.queue(local);
        Root { future: Some(future), output: None, details: picot_context::inherited(None), guard }
    }

    /// The future's output, once it is done.
    ///
    /// # Panics
    /// With the panic of the future, if that is how it ended.
    ///
    /// ```
    /// use std::panic::Location;
    /// use std::pin::pin;
    ///
    /// let executor = picot_executor::Executor::new();
    /// let mut root = pin!(executor.root(Location::caller(), async { 7 }));
    /// assert_eq!(root.as_mut().take_output(), None);
    /// executor.run_batch_with(1, Some(root.as_mut()), |_| ());
    /// assert_eq!(root.as_mut().take_output(), Some(7));
    /// assert_eq!(root.as_mut().take_output(), None, "it is taken once");
    /// ```
    #[track_caller]
    pub fn take_output(self: Pin<&mut Self>) -> Option<F::Output> {
        match self.project().output.take()? {
            Ok(output) => Some(output),
            Err(payload) => std::panic::resume_unwind(payload.take().expect("only the root's caller gets its panic")),
        }
    }
}

/// A [`Root`] of any type.
///
/// ```
/// use std::pin::Pin;
/// use picot_executor::{AnyRoot, Executor};
///
/// /// A turn of a loop, which need not know the type of the future that it is run for.
/// fn turn(executor: &Executor, root: Option<Pin<&mut dyn AnyRoot>>) -> usize {
///     executor.take_remote();
///     let count = executor.run_batch_with(usize::MAX, root, |_| ());
///     executor.deliver_reports();
///     count
/// }
///
/// let executor = Executor::new();
/// let mut root = std::pin::pin!(executor.root(std::panic::Location::caller(), async {}));
/// assert_eq!(turn(&executor, Some(root.as_mut())), 1);
/// assert!(root.as_mut().take_output().is_some());
/// ```
pub trait AnyRoot: sealed::Sealed {}

pub(crate) mod sealed {
    use super::*;

    pub trait Sealed {
        /// Takes a pinned reference although it only reads: a shared reference to the whole would
        /// invalidate the references that the future holds into itself.
        fn step(self: Pin<&mut Self>) -> (Step, Option<Rc<Details>>);
        fn poll_step(self: Pin<&mut Self>);
    }
}

impl<F: Future> AnyRoot for Root<F> {}

impl<F: Future> sealed::Sealed for Root<F> {
    fn step(self: Pin<&mut Self>) -> (Step, Option<Rc<Details>>) {
        let this = self.project();
        (Step::root(this.guard.id, this.guard.place), this.details.clone())
    }

    /// Polls the future, inside of the step.
    fn poll_step(self: Pin<&mut Self>) {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return };
        let poll = catch(|| future.poll(&mut Context::from_waker(&this.guard.waker)));
        if let Some(details) = picot_context::take_made() {
            *this.details = Some(details);
        }
        *this.output = match poll {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(output)) => Some(Ok(output)),
            Err(payload) => Some(Err(payload)),
        };
        if let Some(local) = this.guard.shared.local.get() {
            local.root.is_done.set(true);
        }
        if let Err(payload) = catch(|| this.future.set(None)) {
            match this.output {
                // The caller gets the first panic; the second becomes a report.
                Some(Err(_)) => this.guard.report(payload),
                _ => *this.output = Some(Err(payload)),
            }
        }
        this.guard.exited(if matches!(this.output, Some(Ok(_))) { Exit::Returned } else { Exit::Panicked });
    }
}

impl<F: Future> fmt::Debug for Root<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("id", &self.guard.id).finish_non_exhaustive()
    }
}

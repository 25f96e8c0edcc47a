//! Making tasks: the handle that does it, and the one `spawn_unchecked`.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use picot_context::{Closed, Details, Host, Place, Report, TaskId, TaskInfo};

use crate::body::Body;
use crate::call::CallHandle;
use crate::remote::Remote;
use crate::shared::{Item, Local, Meta, Shared, schedule};
use crate::table::Entry;
use crate::task::Task;

/// The executor's handle on its own thread: makes tasks and callbacks. It may outlive the executor; then it refuses.
///
/// As a [`Host`] it lets promises and other leaves run on an executor that is used alone.
#[derive(Clone)]
pub struct Spawner {
    pub(crate) shared: Arc<Shared>,
    /// It speaks of one thread.
    _thread: PhantomData<*const ()>,
}

impl Spawner {
    pub(crate) fn new(shared: Arc<Shared>) -> Spawner {
        Spawner { shared, _thread: PhantomData }
    }

    #[inline]
    pub(crate) fn local(&self) -> &Local {
        self.shared.local.get().expect("a spawner stays on its executor's thread")
    }

    /// Makes a task out of `future` and queues it. It is polled in a later turn, never inside of this function.
    ///
    /// # Errors
    /// [`Closed`] if the executor is closed; the future is dropped.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Result<Task<F::Output>, Closed>
    where
        F: Future + 'static,
    {
        self.spawn_at(Location::caller(), None, future)
    }

    /// Sets options of a task before it is spawned.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawner().task().name("fetch").spawn(async {})?;
    /// assert_eq!(task.name().as_deref(), Some("fetch"));
    /// # Ok::<(), picot_executor::Closed>(())
    /// ```
    pub fn task(&self) -> TaskBuilder<'_> {
        TaskBuilder { spawner: self, name: None }
    }

    /// Makes a task on behalf of a caller at `place`.
    ///
    /// # Errors
    /// As for [`spawn`](Spawner::spawn).
    pub fn spawn_at<F>(&self, place: Place, name: Option<&str>, future: F) -> Result<Task<F::Output>, Closed>
    where
        F: Future + 'static,
    {
        let local = self.local();
        local.check_open()?;
        Ok(self.spawn_inner(local, place, picot_context::inherited(name), future))
    }

    #[inline]
    fn spawn_inner<F>(&self, local: &Local, place: Place, details: Option<Rc<Details>>, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        let mut table = local.table.borrow_mut();
        let id = local.next_id();
        let meta = Meta {
            owner: self.shared.clone(),
            place,
            id,
            slot: u32::try_from(table.vacant_slot()).expect("fewer than 2^32 tasks at a time"),
            has_details: AtomicBool::new(details.is_some()),
            cancelled: AtomicBool::new(false),
        };
        // SAFETY: The contract of `spawn_unchecked`, clause by clause.
        // - The future is not `Send`, so its runnable must be used and dropped on this thread. `schedule` puts it into the
        //   local queue only on this thread, and otherwise into the inbox, which only the executor takes from, on this
        //   thread. A runnable that the closed inbox refuses is leaked, not dropped.
        // - The future is `'static` but for the metadata that it borrows, which is allowed.
        // - `schedule` is a plain function: `Send`, `Sync` and `'static`, so wakers may be used and dropped anywhere.
        let (runnable, handle) = unsafe {
            async_task::Builder::new().metadata(meta).spawn_unchecked(|meta| Body::new(future, meta), schedule)
        };
        table.insert(Entry::new(id, place, runnable.waker(), details));
        drop(table);
        local.queue.push(Item::Poll(Some(runnable)));
        Task::new(handle)
    }

    /// Runs `call` in a later turn, in one order with the tasks that are queued (asyncio's `call_soon`).
    ///
    /// # Errors
    /// [`Closed`] if the executor is closed; the call is dropped.
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + 'static) -> Result<CallHandle, Closed> {
        let call = CallHandle::new(call);
        self.schedule(call.clone())?;
        Ok(call)
    }

    /// Queues a callback that was made before, such as that of a timer which is due. A second time does nothing.
    ///
    /// # Errors
    /// [`Closed`] if the executor is closed.
    pub fn schedule(&self, call: CallHandle) -> Result<(), Closed> {
        let local = self.local();
        local.check_open()?;
        local.queue.push(Item::Call(call));
        Ok(())
    }

    /// A number for a task that somebody else runs, inside of a step of one of ours: such as the children of a scope, which
    /// are polled by their parent. It is in one order with those that are spawned.
    pub fn allocate_id(&self) -> TaskId {
        self.local().next_id()
    }

    /// The tasks that have not ended, in the order in which they were spawned (asyncio's `all_tasks`).
    #[doc(alias = "all_tasks")]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.local().table.borrow_mut().in_spawn_order().into_iter().map(|entry| entry.info()).collect()
    }

    /// Whether the executor is closed, or closing.
    pub fn is_closed(&self) -> bool {
        self.local().check_open().is_err()
    }

    /// The handle for other threads.
    pub fn remote(&self) -> Remote {
        Remote::new(self.shared.clone())
    }

    /// Replaces the error hook: who is told, at the end of a turn, of what went wrong in it and nobody waited for. Without
    /// one, a line is printed on standard error. The hook itself may do anything; if it panics, the default takes over
    /// for that report.
    pub fn set_error_hook(&self, hook: impl Fn(&Report) + 'static) {
        self.local().reports.set_hook(Some(Rc::new(hook)));
    }

    /// Puts the default error hook back.
    pub fn reset_error_hook(&self) {
        self.local().reports.set_hook(None);
    }

    /// Queues a report for the error hook.
    pub fn report(&self, report: Report) {
        self.local().reports.push(report);
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").field("tasks", &self.local().table.borrow().len()).finish_non_exhaustive()
    }
}

impl Host for Spawner {
    fn run_later(&self, place: Place, call: Box<dyn FnOnce()>) -> Result<(), Closed> {
        self.schedule(CallHandle::new_at(place, call))
    }

    fn spawn(&self, place: Place, future: Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Closed> {
        self.spawn_at(place, None, future).map(drop)
    }

    fn report(&self, report: Report) {
        Spawner::report(self, report);
    }
}

/// Options of a task; see [`Spawner::task`].
#[derive(Debug)]
#[must_use = "nothing is spawned until `spawn` is called"]
pub struct TaskBuilder<'a> {
    spawner: &'a Spawner,
    name: Option<String>,
}

impl TaskBuilder<'_> {
    /// Names the task, for reports. A task without a name is called by its number.
    pub fn name(self, name: impl Into<String>) -> Self {
        TaskBuilder { name: Some(name.into()), ..self }
    }

    /// Makes the task; see [`Spawner::spawn`].
    ///
    /// # Errors
    /// As for [`Spawner::spawn`].
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> Result<Task<F::Output>, Closed>
    where
        F: Future + 'static,
    {
        self.spawner.spawn_at(Location::caller(), self.name.as_deref(), future)
    }
}

/// Sets a flag for as long as it lives, also while unwinding.
pub(crate) struct Raised<'a>(&'a Cell<bool>);

impl<'a> Raised<'a> {
    pub(crate) fn new(flag: &'a Cell<bool>) -> Raised<'a> {
        flag.set(true);
        Raised(flag)
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

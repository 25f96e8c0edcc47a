//! The spawner: the executor's handle on its own thread.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use picot_context::{Closed, Host, Place, Report, TaskId, TaskInfo, Waiting, Waits};

use crate::extras::extra;
use crate::extras::hooks::Hooks;
use crate::extras::section::Exclusive;
use crate::remote::handle::Remote;
use crate::run::batch::{end_unstarted, run_inside};
use crate::run::call::CallHandle;
use crate::run::queue::Item;
use crate::shared::{Local, Shared};
use crate::status::{Activity, QueueEnd, TaskStatus, status};
use crate::task::handle::Task;
use crate::task::make::make_task;
use crate::task::meta::Ready;
use crate::task::state::flag;
use crate::task::wake_key::WakeKey;

/// Makes tasks and callbacks on the executor's thread. It may outlive the executor: then new tasks
/// end at once, and calls are refused.
///
/// As a [`Host`] it lets promises and other leaves run on an executor that is used alone.
///
/// ```
/// use picot_executor::{Executor, Spawner};
///
/// fn serve(spawner: &Spawner) -> Result<(), picot_executor::Closed> {
///     for name in ["reader", "writer"] {
///         let task = spawner.spawn_named(name, async { /* … */ });
///         drop(task); // it runs on
///     }
///     Ok(())
/// }
///
/// let executor = Executor::new();
/// serve(executor.spawner())?;
/// assert_eq!(executor.run_until_stalled(), 2);
/// # Ok::<(), picot_executor::Closed>(())
/// ```
#[derive(Clone)]
pub struct Spawner {
    pub(crate) shared: Arc<Shared>,
    /// Makes the type `!Send` and `!Sync`.
    _thread: PhantomData<*const ()>,
}

impl Spawner {
    pub(crate) fn new(shared: Arc<Shared>) -> Spawner {
        assert!(shared.local.get().is_some(), "a spawner is made on its executor's thread");
        Spawner { shared, _thread: PhantomData }
    }

    #[inline]
    pub(crate) fn local(&self) -> &Local {
        // SAFETY: `new` checked the thread, and this type is neither `Send` nor `Sync`.
        unsafe { self.shared.local.get_here() }
    }

    /// Makes a task from `future` and queues it. It is polled in a later turn, never inside of this
    /// function.
    ///
    /// A closed executor drops the future at once, in a step of its own. The task has then ended as
    /// cancelled, with the reason that the loop was closed.
    ///
    /// ```
    /// use picot_executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let spawner = executor.spawner().clone();
    /// let task = spawner.spawn(async { 1 });
    /// assert_eq!(executor.block_on(async { task.await.unwrap() }), 1);
    ///
    /// drop(executor);
    /// let late = spawner.spawn(async { 2 });
    /// let error = Executor::new().block_on(async { late.await.unwrap_err() });
    /// assert_eq!(error.reason().unwrap().as_str(), "the loop that ran it was closed");
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        self.spawn_at(Location::caller(), None, future)
    }

    /// Spawns a task with a name, which its reports and its errors show.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawner().spawn_named("fetch", async {});
    /// assert_eq!(task.name().as_deref(), Some("fetch"));
    /// ```
    #[track_caller]
    pub fn spawn_named<F>(&self, name: &str, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        self.spawn_at(Location::caller(), Some(name), future)
    }

    /// Sets options of a task before it is spawned.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawner().spawn_named("fetch", async {});
    /// assert_eq!(task.name().as_deref(), Some("fetch"));
    /// ```
    pub fn build_task(&self) -> TaskBuilder<'_> {
        TaskBuilder {
            spawner: self,
            name: None,
            place: None,
            eager: false,
            shares_locals: false,
            ignores_errors: false,
        }
    }

    /// Makes a task on behalf of a caller at `place`.
    ///
    /// ```
    /// use picot_executor::{Executor, Spawner};
    ///
    /// #[track_caller]
    /// fn spawn_logged(spawner: &Spawner, line: &'static str) {
    ///     let place = std::panic::Location::caller(); // of the caller
    ///     drop(spawner.spawn_at(place, Some("logger"), async move { println!("{line}") }));
    /// }
    ///
    /// let executor = Executor::new();
    /// let line = line!() + 1;
    /// spawn_logged(executor.spawner(), "hello");
    /// assert_eq!(executor.spawner().tasks()[0].place().line(), line);
    /// ```
    pub fn spawn_at<F>(&self, place: Place, name: Option<&str>, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        let local = self.local();
        let (ready, task) = make_task(&self.shared, local, place, picot_context::inherited(name), future);
        if local.check_open().is_err() {
            return ended(local, ready, task);
        }
        local.queue.push_task(ready);
        task
    }

    /// Begins an exclusive section: while its guard lives, only the calling task runs. It blocks
    /// the entire loop openly, for work whose steps must not be interleaved with anything.
    ///
    /// - Other items that become ready, callbacks included, are held back in order. They do not
    ///   count as [ready](crate::Executor::ready), and run after the section, before items that
    ///   become ready later.
    /// - I/O, timers and items from other threads are still collected.
    /// - A held task that is cancelled ends after the section. The section's own task must not wait
    ///   for a held task, because neither would continue: the error hook gets a report, once for
    ///   each section and task.
    /// - The section ends when its guard is dropped, and at the latest when its task ends. Its task
    ///   may enter again; then the last guard counts.
    /// - If an [eager](TaskBuilder::eager) task enters inside a step of the task that spawned it,
    ///   that step continues to its end. If that task enters too, it waits for the end of the
    ///   section.
    ///
    /// The future panics if anything but a task of this executor polls it; see [`Exclusive`].
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use picot_executor::Executor;
    /// # async fn yield_now() {
    /// #     let mut first = true;
    /// #     std::future::poll_fn(|cx| {
    /// #         if !std::mem::take(&mut first) {
    /// #             return std::task::Poll::Ready(());
    /// #         }
    /// #         cx.waker().wake_by_ref();
    /// #         std::task::Poll::Pending
    /// #     })
    /// #     .await
    /// # }
    ///
    /// let executor = Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(async move {
    ///     let ran = Rc::new(Cell::new(false));
    ///     let guard = spawner.exclusive().await;
    ///     spawner.call_soon({ let ran = ran.clone(); move || ran.set(true) }).unwrap();
    ///     yield_now().await;
    ///     assert!(!ran.get());
    ///     drop(guard);
    ///     yield_now().await;
    ///     assert!(ran.get());
    /// });
    /// ```
    pub fn exclusive(&self) -> Exclusive {
        Exclusive::new(self.shared.clone())
    }

    /// Sets the hooks, and replaces earlier ones. They are dropped at close.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use picot_executor::{Executor, Exit, Hooks, TaskInfo};
    ///
    /// struct Log;
    ///
    /// impl Hooks for Log {
    ///     fn exited(&self, task: &TaskInfo, exit: Exit) {
    ///         println!("{task} has ended: {exit:?}");
    ///     }
    /// }
    ///
    /// let executor = Executor::new();
    /// executor.spawner().set_hooks(Rc::new(Log));
    /// ```
    pub fn set_hooks(&self, hooks: Rc<dyn Hooks>) {
        self.local().extras.set_hooks(Some(hooks), &self.local().reports);
    }

    /// Removes the hooks.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use picot_executor::{Executor, Hooks, Step};
    ///
    /// struct Strict;
    ///
    /// impl Hooks for Strict {
    ///     fn before_step(&self, _: Step) {
    ///         unreachable!("the hooks were removed");
    ///     }
    /// }
    ///
    /// let executor = Executor::new();
    /// executor.spawner().set_hooks(Rc::new(Strict));
    /// executor.spawner().reset_hooks();
    /// executor.call_soon(|| ());
    /// executor.run_until_stalled();
    /// ```
    pub fn reset_hooks(&self) {
        self.local().extras.set_hooks(None, &self.local().reports);
    }

    /// Runs `call` in a later turn, in one order with the queued tasks (asyncio's `call_soon`).
    ///
    /// # Errors
    /// [`Closed`] if the executor is closed; the call is dropped.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(async move {
    ///     let call = spawner.call_soon(|| println!("in a later turn")).unwrap();
    ///     println!("first, and the call is still to come: {call:?}");
    /// });
    /// ```
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + 'static) -> Result<CallHandle, Closed> {
        let call = CallHandle::new(call);
        self.schedule(call.clone())?;
        Ok(call)
    }

    /// Queues a callback that was made before, for example that of a due timer. A second call has
    /// no effect.
    ///
    /// # Errors
    /// [`Closed`] if the executor is closed.
    ///
    /// ```
    /// use picot_executor::{CallHandle, Executor};
    ///
    /// let executor = Executor::new();
    /// let alarm = CallHandle::new(|| println!("it is time"));
    /// // … when it is time:
    /// executor.spawner().schedule(alarm)?;
    /// assert_eq!(executor.run_until_stalled(), 1);
    /// # Ok::<(), picot_executor::Closed>(())
    /// ```
    pub fn schedule(&self, call: CallHandle) -> Result<(), Closed> {
        let local = self.local();
        local.check_open()?;
        local.queue.push(Item::Call(call));
        Ok(())
    }

    /// Allocates an id for a task that runs inside a step of another one, such as a child of a
    /// scope. Ids are in spawn order.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner();
    /// let before = spawner.spawn(async {});
    /// let child = spawner.allocate_id();
    /// let after = spawner.spawn(async {});
    /// assert!(before.id() < child && child < after.id());
    /// ```
    pub fn allocate_id(&self) -> TaskId {
        self.local().next_id()
    }

    /// Calls the hooks, if there are any, on behalf of a task that runs inside another one's step;
    /// see [`allocate_id`](Spawner::allocate_id).
    ///
    /// ```
    /// use picot_executor::{Executor, TaskInfo};
    ///
    /// let executor = Executor::new();
    /// let spawner = executor.spawner();
    /// let (id, place) = (spawner.allocate_id(), std::panic::Location::caller());
    /// let child = TaskInfo::new(id, Some("child"), place);
    /// spawner.tell_hooks(|hooks| hooks.spawned(&child));
    /// ```
    pub fn tell_hooks(&self, tell: impl FnOnce(&dyn Hooks)) {
        let local = self.local();
        if local.uses(extra::HOOKS) {
            local.hook(tell);
        }
    }

    /// The tasks that have not ended, in spawn order (asyncio's `all_tasks`).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// drop(executor.spawner().spawn_named("fetch", std::future::pending::<()>()));
    /// for task in executor.spawner().tasks() {
    ///     println!("{task}"); // fetch (task 1, spawned at src/main.rs:2:54)
    /// }
    /// # assert_eq!(executor.spawner().tasks().len(), 1);
    /// ```
    #[doc(alias = "all_tasks")]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.local().table.borrow().infos()
    }

    /// The number of tasks that have not ended.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// drop(executor.spawn(async {}));
    /// assert_eq!(executor.spawner().task_count(), 1);
    /// executor.run_until_stalled();
    /// assert_eq!(executor.spawner().task_count(), 0);
    /// ```
    pub fn task_count(&self) -> usize {
        self.local().table.borrow().len()
    }

    /// The tasks that wait, in spawn order, each with what it waits for; see
    /// [`status`](Spawner::status).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let child = executor.spawner().spawn_named("child", std::future::pending::<()>());
    /// let (child_id, parent) = (child.id(), executor.spawn(async move { child.await.unwrap() }));
    /// executor.run_until_stalled();
    /// let waiting = executor.spawner().waiting();
    /// assert!(waiting[0].waits.is_empty(), "its future is not one of picot's");
    /// assert_eq!(waiting[1].task.id(), parent.id());
    /// assert_eq!(waiting[1].waits[0].on, [child_id]);
    /// ```
    pub fn waiting(&self) -> Vec<Waiting> {
        let tasks = self.status(Waits::of_thread()).into_iter();
        let waiting = tasks.filter(|status| status.activity == Activity::Waiting);
        waiting.map(|status| Waiting::new(status.task, status.waits)).collect()
    }

    /// Lists all tasks that have not ended, in spawn order, and what each does. The list includes
    /// the children of scopes, which their parents poll.
    ///
    /// `waits` holds what leaf operations have noted; this adds the waits for other tasks.
    ///
    /// ```
    /// use picot_context::Waits;
    /// use picot_executor::{Activity, Executor};
    ///
    /// let executor = Executor::new();
    /// drop(executor.spawn(async {}));
    /// let status = executor.spawner().status(Waits::of_thread());
    /// assert_eq!(status[0].activity, Activity::Ready);
    /// ```
    pub fn status(&self, mut waits: Waits) -> Vec<TaskStatus> {
        status(self.local(), &mut waits)
    }

    /// The end of the queue, for [`queued_since`](Spawner::queued_since).
    #[doc(hidden)]
    pub fn queue_end(&self) -> QueueEnd {
        let local = self.local();
        QueueEnd { queue: local.queue.end(), root: local.root.queued.get() }
    }

    /// The tasks that were queued since `end` was the end of the queue and are still there, in
    /// their order; the root is the last. At most one batch may have begun in between.
    #[doc(hidden)]
    pub fn queued_since(&self, end: QueueEnd) -> Vec<TaskId> {
        let local = self.local();
        let root = local.root.id().filter(|_| local.root.queued.get() && !end.root);
        let tasks = local.queue.map_since(end.queue, |task| task.meta().id);
        tasks.into_iter().flatten().chain(root).collect()
    }

    /// The task that a key wakes, unless it has ended.
    ///
    /// ```
    /// use std::task::Poll;
    ///
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(std::future::poll_fn(move |cx| {
    ///     let key = spawner.wake_key(cx.waker()).unwrap();
    ///     assert_eq!(spawner.task_of(key), Some(picot_context::current().unwrap().id()));
    ///     Poll::Ready(())
    /// }));
    /// ```
    pub fn task_of(&self, key: WakeKey) -> Option<TaskId> {
        self.local().table.borrow().task_of(key)
    }

    /// The key of the current task, if `waker` wakes that task. Waking by key has the same effect
    /// and costs less than keeping the waker: no atomic operation for a clone and a drop. If this
    /// is `None`, keep the waker. As with [`Waker::will_wake`], `None` is possible even for a waker
    /// of the task.
    ///
    /// ```
    /// use std::task::{Poll, Waker};
    ///
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(std::future::poll_fn(move |_| {
    ///     assert_eq!(spawner.wake_key(Waker::noop()), None, "that wakes no task");
    ///     Poll::Ready(())
    /// }));
    /// ```
    #[inline]
    pub fn wake_key(&self, waker: &Waker) -> Option<WakeKey> {
        let local = self.local();
        let (_, slot) = local.current()?;
        local.table.borrow_mut().wake_key(slot, waker, &local.first)
    }

    /// Wakes a task of this executor, as its waker does. Has no effect if the task has ended.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// let task = executor.spawn({
    ///     let spawner = spawner.clone();
    ///     std::future::poll_fn(move |cx| std::task::Poll::Ready(spawner.wake_key(cx.waker())))
    /// });
    /// if let Some(key) = executor.block_on(async { task.await.unwrap() }) {
    ///     spawner.wake(key);
    /// }
    /// assert!(!executor.has_work(), "it has ended");
    /// ```
    #[inline]
    pub fn wake(&self, key: WakeKey) {
        // It calls one of our own wakers, which does not borrow the table.
        self.local().table.borrow().wake(key);
    }

    /// Whether the executor is closed, or closing.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// assert!(!spawner.is_closed());
    /// drop(executor);
    /// assert!(spawner.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.local().check_open().is_err()
    }

    /// The handle for other threads.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(std::future::poll_fn({
    ///     let mut is_woken = false;
    ///     move |cx| {
    ///         if std::mem::replace(&mut is_woken, true) {
    ///             return std::task::Poll::Ready(());
    ///         }
    ///         let (remote, waker) = (spawner.remote(), cx.waker().clone());
    ///         std::thread::spawn(move || remote.call_soon(move || waker.wake()));
    ///         std::task::Poll::Pending
    ///     }
    /// }));
    /// ```
    pub fn remote(&self) -> Remote {
        Remote::new(self.shared.clone())
    }

    /// Sets the error hook, which gets the reports of a turn at its end. Without one, each report
    /// is a line on standard error. The hook may call anything. If it panics, the default hook
    /// handles that report.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use picot_executor::Executor;
    ///
    /// let (executor, told) = (Executor::new(), Rc::new(RefCell::new(String::new())));
    /// let hook = told.clone();
    /// executor.spawner().set_error_hook(move |report| *hook.borrow_mut() = report.to_string());
    /// drop(executor.spawner().spawn_named("fetch", async { panic!("no such page") }));
    /// executor.run_until_stalled();
    /// assert!(told.borrow().starts_with("fetch (task 1, spawned at "));
    /// assert!(told.borrow().ends_with("panicked with \"no such page\""));
    /// ```
    pub fn set_error_hook(&self, hook: impl Fn(&Report) + 'static) {
        self.local().reports.set_hook(Some(Rc::new(hook)));
    }

    /// Restores the default error hook.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.spawner().set_error_hook(|_| unreachable!("it was taken away"));
    /// executor.spawner().reset_error_hook();
    /// executor.call_soon(|| panic!("this makes a line on standard error"));
    /// executor.run_until_stalled();
    /// ```
    pub fn reset_error_hook(&self) {
        self.local().reports.set_hook(None);
    }

    /// Queues a report for the error hook. A closed executor calls the hook at once, because no
    /// turn will; the hook is the default one unless another was set after the close.
    ///
    /// ```
    /// use picot_context::{Kind, Origin, Report, catch};
    ///
    /// let executor = picot_executor::Executor::new();
    /// let expected = "the loop panicked with \"odd\"";
    /// executor.spawner().set_error_hook(move |report| assert_eq!(report.to_string(), expected));
    /// if let Err(payload) = catch(|| panic!("odd")) {
    ///     executor.spawner().report(Report::panic(Origin::new(Kind::Loop), payload));
    /// }
    /// assert!(executor.deliver_reports());
    /// ```
    pub fn report(&self, report: Report) {
        self.local().reports.push(report);
        self.local().deliver_if_closed();
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
        self.local().check_open()?;
        drop(self.spawn_at(place, None, future));
        Ok(())
    }

    fn report(&self, report: Report) {
        Spawner::report(self, report);
    }
}

/// Ends a task that was spawned on a closed executor. The task comes by value, so that the caller,
/// a spawn, needs no place in memory for it.
#[cold]
#[inline(never)]
fn ended<T>(local: &Local, ready: Ready, task: Task<T>) -> Task<T> {
    end_unstarted(local, ready);
    task
}

/// Options of a task; see [`Spawner::build_task`].
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let task = executor.spawner().build_task().name("answer").eager().spawn(async { 42 });
/// assert!(task.is_finished());
/// ```
#[derive(Debug)]
#[must_use = "nothing is spawned until `spawn` is called"]
pub struct TaskBuilder<'a> {
    spawner: &'a Spawner,
    name: Option<String>,
    place: Option<Place>,
    eager: bool,
    shares_locals: bool,
    ignores_errors: bool,
}

impl TaskBuilder<'_> {
    /// Names the task, for reports. A task without a name is reported by its number.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawner().spawn_named("fetch", async { panic!("no such page") });
    /// let error = executor.block_on(async { task.await.unwrap_err() });
    /// assert_eq!(error.name(), Some("fetch"));
    /// ```
    pub fn name(self, name: impl Into<String>) -> Self {
        TaskBuilder { name: Some(name.into()), ..self }
    }

    /// Sets the place that reports show, for callers that spawn on behalf of others. By default it
    /// is the call of [`spawn`](TaskBuilder::spawn).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let place = std::panic::Location::caller();
    /// let task = executor.spawner().build_task().at(place).spawn(async {});
    /// assert_eq!(executor.spawner().tasks()[0].place(), place);
    /// # drop(task);
    /// ```
    pub fn at(self, place: Place) -> Self {
        TaskBuilder { place: Some(place), ..self }
    }

    /// Polls the task once before `spawn` returns, inside the current step (asyncio's
    /// `eager_task_factory`). A task that never suspends is then finished without a round through
    /// the queue; others continue in their turns.
    ///
    /// The task then runs inside of the function that spawns it, so nothing that it touches may be
    /// borrowed there. While an [exclusive section](Spawner::exclusive) is active, the task is
    /// queued like any other.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawner().build_task().eager().spawn(async { 7 });
    /// assert!(task.is_finished());
    /// ```
    #[doc(alias = "eager_task_factory")]
    #[doc(alias = "eager_start")]
    pub fn eager(self) -> Self {
        TaskBuilder { eager: true, ..self }
    }

    /// Shares the task-locals with the spawning task, instead of a snapshot: each sees what the
    /// other sets (asyncio's `create_task(…, context=…)`).
    ///
    /// ```
    /// picot_context::task_local! {
    ///     static DEPTH: u32;
    /// }
    ///
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.block_on(async move {
    ///     spawner.build_task().share_locals().spawn(async { DEPTH.set(2) }).await.unwrap();
    ///     assert_eq!(DEPTH.get(), Some(2));
    /// });
    /// ```
    pub fn share_locals(self) -> Self {
        TaskBuilder { shares_locals: true, ..self }
    }

    /// Lets the task return an `Err` that nothing takes: it is dropped without a report; see
    /// [`Task::ignore_errors`].
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.spawner().set_error_hook(|report| unreachable!("{report}"));
    /// let builder = executor.spawner().build_task().ignore_errors();
    /// drop(builder.spawn(async { Err::<(), _>("the cache is cold") }));
    /// executor.run_until_stalled();
    /// ```
    pub fn ignore_errors(self) -> Self {
        TaskBuilder { ignores_errors: true, ..self }
    }

    /// Makes the task; see [`Spawner::spawn`].
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let builder = executor.spawner().build_task().name("late");
    /// executor.close();
    /// let task = builder.spawn(async { unreachable!() });
    /// assert!(task.is_finished(), "cancelled, because the executor is closed");
    /// ```
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        let local = self.spawner.local();
        let name = self.name.as_deref();
        let details =
            if self.shares_locals { Some(picot_context::shared(name)) } else { picot_context::inherited(name) };
        let place = self.place.unwrap_or(Location::caller());
        let (ready, task) = make_task(&self.spawner.shared, local, place, details, future);
        if self.ignores_errors {
            ready.meta().set(flag::IGNORES_ERRORS);
        }
        if local.check_open().is_err() {
            end_unstarted(local, ready);
        } else if self.eager && !local.uses(extra::SECTION) {
            run_inside(local, ready);
        } else {
            local.queue.push_task(ready);
        }
        task
    }
}

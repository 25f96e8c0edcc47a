//! The handle of a task, and the three ways to wait with it.
//!
//! The executor's table keeps the waiter, not `async-task`'s own slot. That slot is made for other
//! threads: it costs several atomic operations a wait, and aborts the process if a waker panics.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use picot_context::{Cause, Place, Step, TaskId, TaskInfo, budget, may_be_err, running};

use crate::error::{CancelReason, JoinError, unclaimed};
use crate::extras::reports::Scene;
use crate::shared::{Phase, Shared};
use crate::task::body::Outcome;
use crate::task::cancel_handle::CancelHandle;
use crate::task::meta::Meta;
use crate::task::state::flag;
use crate::task::table::Joiner;

/// A task that was spawned.
///
/// - Dropping the handle detaches the task: it continues.
/// - `task.await` waits for its end and takes the handle. Dropping that wait unfinished cancels the
///   task, so a timeout or a lost race cancels it, too (as asyncio's `await task`).
/// - `(&mut task).await` only watches: dropping it has no effect.
/// - Where a `Future` is wanted, such as in a `FuturesUnordered`, pass
///   [`task.cancel_on_drop()`](Task::cancel_on_drop), which is the future that `task.await` polls.
/// - A task that awaits itself gets an error at once, and continues without its handle.
/// - [`cancel`](Task::cancel) requests its end; [`cancel_and_wait`](Task::cancel_and_wait) also
///   waits for it.
/// - [`cancel_on_drop`](Task::cancel_on_drop) makes a handle whose drop cancels, awaited or not.
///
/// The outcome can be taken once. After `(&mut task).await` has returned it, the handle is
/// [finished](Task::is_finished), and cannot be awaited again.
///
/// # Panics and errors of the task
/// A panic goes to the caller that waits when it happens. If none waits, the error hook gets a
/// report at the end of the turn, and a later wait still gets the payload: a panic may be reported
/// and then awaited.
///
/// An `Err` that the task returns is a value like any other. If its outcome is dropped without
/// having been taken, because the handle was dropped before or after the end, the error hook gets
/// one report of it ([`Cause::Unclaimed`](picot_context::Cause::Unclaimed)).
/// [`ignore_errors`](Task::ignore_errors) turns that report off.
///
/// # If dropped
/// The task continues. If it has ended, its outcome is dropped here; an `Err` in it, or a panic in
/// its destructor, goes to the error hook.
///
/// ```
/// use picot_executor::Executor;
///
/// let executor = Executor::new();
/// executor.block_on(async {
///     let task = executor.spawn(std::future::pending::<()>());
///     assert!(task.cancel("not needed any more"));
///     let error = task.await.unwrap_err();
///     assert_eq!(error.reason().unwrap().as_str(), "not needed any more");
/// });
/// ```
#[must_use = "a task continues when its handle is dropped; write `let _ =` or `drop(…)` if you intend that"]
pub struct Task<T> {
    /// `None` once the outcome was taken.
    handle: Option<async_task::Task<Outcome<T>, Meta>>,
    /// Makes the report of an unclaimed value. A function pointer made where `T: 'static` is known,
    /// because the drop of a handle cannot require that.
    unclaimed: fn(T) -> Option<Cause>,
    /// Makes the type `!Send` and `!Sync`: the wait uses the executor's own half.
    _thread: PhantomData<*const ()>,
}

impl<T> Unpin for Task<T> {}

// The outcome is only ever moved out of it.
impl<T> UnwindSafe for Task<T> {}
impl<T> RefUnwindSafe for Task<T> {}

impl<T> Task<T> {
    pub(crate) fn new(handle: async_task::Task<Outcome<T>, Meta>) -> Task<T>
    where
        T: 'static,
    {
        Task { handle: Some(handle), unclaimed: unclaimed::<T>, _thread: PhantomData }
    }

    #[track_caller]
    fn handle(&self) -> &async_task::Task<Outcome<T>, Meta> {
        self.handle.as_ref().expect("the outcome of this task was taken already")
    }

    #[track_caller]
    fn meta(&self) -> &Meta {
        self.handle().metadata()
    }

    /// The task's id.
    ///
    /// # Panics
    /// If the outcome was taken already.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async { picot_context::current().unwrap().id() });
    /// let id = task.id();
    /// assert_eq!(executor.block_on(async { task.await.unwrap() }), id);
    /// ```
    #[track_caller]
    pub fn id(&self) -> TaskId {
        self.meta().id
    }

    /// The name of the task, until it has ended; after that [`JoinError::name`] has it.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawner().spawn_named("fetch", async {});
    /// assert_eq!(task.name().as_deref(), Some("fetch"));
    /// executor.run_until_stalled();
    /// assert_eq!(task.name(), None);
    /// ```
    pub fn name(&self) -> Option<String> {
        if self.is_finished() {
            return None;
        }
        self.meta().info().given_name().map(str::to_string)
    }

    /// Where the task was spawned.
    ///
    /// # Panics
    /// If the outcome was taken already.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async {});
    /// assert_eq!((task.place().file(), task.place().line()), (file!(), line!() - 1));
    /// ```
    #[track_caller]
    pub fn place(&self) -> &'static Location<'static> {
        self.meta().place as Place
    }

    /// Whether the task has ended, by a value, a panic or a cancel. Waiting for it does not suspend
    /// then.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async {});
    /// assert!(!task.is_finished());
    /// executor.run_until_stalled();
    /// assert!(task.is_finished());
    /// ```
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(|handle| handle.metadata().is(flag::ENDED) || handle.is_finished())
    }

    /// Requests the task's cancellation. Returns `false` if it has ended already.
    ///
    /// The future is dropped at the task's next step, on the executor's thread, never inside this
    /// function. The task cannot refuse; but if the poll that runs now returns a value, that value
    /// stands. The reason becomes part of the waiter's error; the first reason stays.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(std::future::pending::<()>());
    /// executor.run_until_stalled();
    /// assert!(task.cancel("the user has left"));
    /// assert!(!task.is_finished(), "not inside of `cancel`, but at its next step");
    /// executor.run_until_stalled();
    /// assert!(task.is_finished() && !task.cancel("too late"));
    /// ```
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.is_finished() {
            return false;
        }
        self.meta().cancel(reason.into());
        true
    }

    /// A second handle, which can only cancel the task, for code that must not take its outcome.
    ///
    /// # Panics
    /// If the outcome was taken already.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(std::future::pending::<()>());
    /// let handle = task.cancel_handle();
    /// let outcome = executor.block_on(async move {
    ///     handle.cancel("not needed");
    ///     task.await
    /// });
    /// assert!(outcome.unwrap_err().is_cancelled());
    /// ```
    #[track_caller]
    #[doc(alias = "abort_handle")]
    pub fn cancel_handle(&self) -> CancelHandle {
        let meta = self.meta();
        CancelHandle::new(meta.owner.clone(), meta.slot, meta.id)
    }

    /// Takes the outcome without waiting; `None` if the task has not ended.
    ///
    /// # Panics
    /// If the outcome was taken already.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let mut task = executor.spawn(async { 7 });
    /// assert!(task.try_join().is_none());
    /// executor.run_until_stalled();
    /// assert_eq!(task.try_join().unwrap().unwrap(), 7);
    /// ```
    #[track_caller]
    #[doc(alias = "result")]
    pub fn try_join(&mut self) -> Option<Result<T, JoinError>> {
        self.handle().is_finished().then(|| self.take_outcome().inspect_err(JoinError::claim))
    }

    /// Cancels the task and waits until its future has been dropped. Returns `None` if it was
    /// cancelled, and its outcome if it had ended before, by a value or a panic.
    ///
    /// # If dropped
    /// The task is still cancelled.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use picot_executor::Executor;
    ///
    /// struct Goodbye(Rc<Cell<bool>>);
    ///
    /// impl Drop for Goodbye {
    ///     fn drop(&mut self) {
    ///         self.0.set(true);
    ///     }
    /// }
    ///
    /// let (executor, said) = (Executor::new(), Rc::new(Cell::new(false)));
    /// let goodbye = Goodbye(said.clone());
    /// let task = executor.spawn(async move {
    ///     let _goodbye = goodbye;
    ///     std::future::pending::<()>().await;
    /// });
    /// let outcome = executor.block_on(task.cancel_and_wait("shutting down"));
    /// assert!(outcome.is_none() && said.get());
    /// ```
    #[doc(alias = "cancelled")]
    pub fn cancel_and_wait(self, reason: impl Into<CancelReason>) -> CancelAndWait<T> {
        self.cancel(reason);
        CancelAndWait { task: self }
    }

    /// A handle whose drop cancels the task, awaited or not, for tasks that must not outlive their
    /// owner.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let owned = executor.spawn(std::future::pending::<()>()).cancel_on_drop();
    /// drop(owned);
    /// executor.run_until_stalled();
    /// assert!(executor.spawner().tasks().is_empty());
    /// ```
    #[doc(alias = "abort_on_drop")]
    pub fn cancel_on_drop(self) -> Join<T> {
        self.into_future()
    }

    /// Lets the task return an `Err` that no waiter takes: it is dropped without a report. A panic
    /// is still reported, and a wait gets the outcome as before.
    ///
    /// # Panics
    /// If the outcome was taken already.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.spawner().set_error_hook(|report| unreachable!("{report}"));
    /// drop(executor.spawn(async { Err::<(), _>("no listener is left") }).ignore_errors());
    /// executor.run_until_stalled();
    /// ```
    #[track_caller]
    pub fn ignore_errors(self) -> Task<T> {
        self.meta().set(flag::IGNORES_ERRORS);
        self
    }

    fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        if !self.handle().is_finished() {
            return self.poll_pending(cx.waker());
        }
        // A loop over tasks that have ended, such as eager ones, would otherwise never suspend.
        if budget::poll_left(cx).is_pending() {
            return Poll::Pending;
        }
        budget::spend();
        Poll::Ready(self.take_outcome_with(cx).inspect_err(JoinError::claim))
    }

    /// Detaches a task that waits for itself. It has returned its error, and the wait ends without
    /// a cancel.
    #[cold]
    fn let_go(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.metadata().set(flag::DETACHED);
            handle.detach();
        }
    }

    /// Polls without claiming a panic, because the caller has yet to deliver it.
    pub(crate) fn poll_join_with(&mut self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        if self.handle().is_finished() {
            return Poll::Ready(self.take_outcome());
        }
        self.poll_pending(waker)
    }

    /// Waits for a task that has not ended.
    fn poll_pending(&mut self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        match self.check_wait() {
            Some(error) => Poll::Ready(Err(error)),
            None => self.meta().register(waker).map(Err),
        }
    }

    /// Checks the task that waits, if it belongs to this executor: an error if it waits for itself,
    /// and a report if its exclusive section keeps this one from running.
    pub(crate) fn check_wait(&self) -> Option<JoinError> {
        let (meta, local) = (self.meta(), self.meta().local());
        let (current, _) = local.current()?;
        if current == meta.id {
            return Some(JoinError::itself(meta.info()));
        }
        if local.is_holder(current) {
            local.report_wait_for_held(meta.info());
        }
        None
    }

    /// Takes the outcome of a task that is finished.
    pub(crate) fn take_outcome(&mut self) -> Result<T, JoinError> {
        self.take_outcome_with(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes the outcome of a task that is finished. Finished means completed, because the executor
    /// drops no runnable; so the poll does not use `cx`.
    #[inline(always)]
    fn take_outcome_with(&mut self, cx: &mut Context<'_>) -> Result<T, JoinError> {
        let mut handle = self.handle.take().expect("the outcome of this task was taken already");
        let Poll::Ready(outcome) = Pin::new(&mut handle).poll(cx) else {
            unreachable!("a finished task has an outcome")
        };
        // Detached, because a dropped handle would try to cancel the task.
        handle.detach();
        outcome.expect("a task that has a handle leaves its outcome")
    }

    /// Wakes `waker` when the task has ended, or at once if it has. It replaces the previous
    /// waiter, as a poll of the handle does.
    ///
    /// This is for sets of tasks that are awaited later: they learn of the ends in the order in
    /// which they happen.
    ///
    /// # Panics
    /// If the outcome was taken already.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::task::{Wake, Waker};
    ///
    /// #[derive(Default)]
    /// struct Flag(AtomicBool);
    ///
    /// impl Wake for Flag {
    ///     fn wake(self: Arc<Flag>) {
    ///         self.0.store(true, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let executor = picot_executor::Executor::new();
    /// let (task, flag) = (executor.spawn(async {}), Arc::new(Flag::default()));
    /// task.wake_at_end(&Waker::from(flag.clone()));
    /// executor.run_until_stalled();
    /// assert!(flag.0.load(Ordering::Relaxed) && task.is_finished());
    /// ```
    pub fn wake_at_end(&self, waker: &Waker) {
        if self.handle().is_finished() || self.meta().register(waker).is_ready() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn owner(&self) -> &Arc<Shared> {
        &self.meta().owner
    }

    /// Makes `waker` the joiner, to be woken at the task's end.
    pub(crate) fn set_joiner(&self, waker: &Waker) {
        let _ = self.meta().register(waker);
    }
}

impl Meta {
    /// Makes `waker` the joiner, to be woken at the task's end. Returns an error if the end never
    /// comes.
    fn register(&self, waker: &Waker) -> Poll<JoinError> {
        let local = self.local();
        if self.is(flag::ENDED) {
            // The last step of the task has not returned yet: the caller is a value that it drops
            // or polls.
            waker.wake_by_ref();
            return Poll::Pending;
        }
        if local.phase.get() == Phase::Closed {
            return Poll::Ready(JoinError::cancelled(self.info(), CancelReason::LEAKED_AT_CLOSE));
        }
        let mut table = local.table.borrow_mut();
        let joiner = local.current().and_then(|(_, slot)| table.wake_key(slot, waker, &local.first)).map(Joiner::Task);
        let present = &mut table.rare_state(self).joiner;
        let known = matches!(&present, Some(Joiner::Other(old)) if old.will_wake(waker));
        // Cloning or dropping a waker may run user code, so the table is not borrowed meanwhile.
        let old = if let Some(joiner) = joiner {
            let old = present.replace(joiner);
            drop(table);
            old
        } else if known {
            None
        } else {
            drop(table);
            let new = waker.clone();
            if self.is(flag::ENDED) {
                // The clone has run the executor, and the task has ended meanwhile.
                waker.wake_by_ref();
                return Poll::Pending;
            }
            let task = running().as_ref().and_then(Step::task_id);
            local.table.borrow_mut().set_other_joiner(self, new, task)
        };
        if let Some(Joiner::Other(old)) = old {
            // A previous waiter's waker. A panic in its destructor must not reach the current
            // waiter.
            local.drop_waker(old);
        }
        Poll::Pending
    }

    /// Drops the waker of a joiner whose handle is dropped: it waits no more, and its task may live
    /// as long as its waker.
    #[cold]
    fn forget_joiner(&self) {
        // The slot of a task that has ended may be another's.
        if self.is(flag::ENDED) {
            return;
        }
        let local = self.local();
        let joiner = local.table.borrow_mut().rare_state(self).joiner.take();
        if let Some(Joiner::Other(waker)) = joiner {
            local.drop_waker(waker);
        }
    }
}

impl<T> Drop for Task<T> {
    /// Detaches the task. An outcome that has arrived is dropped here, and a panic in its drop is
    /// reported.
    fn drop(&mut self) {
        let Some(handle) = self.handle.as_ref() else { return };
        let meta = handle.metadata();
        meta.set(flag::DETACHED);
        if (std::mem::needs_drop::<T>() || may_be_err::<T>()) && handle.is_finished() {
            return drop_outcome(self);
        }
        if meta.is(flag::HAS_RARE_STATE) {
            meta.forget_joiner();
        }
        if let Some(handle) = self.handle.take() {
            handle.detach();
        }
    }
}

#[cold]
fn drop_outcome<T>(task: &mut Task<T>) {
    let meta = task.meta();
    // The name was in the table, and its entry is gone.
    let info = TaskInfo::new(meta.id, None, meta.place);
    let ignores_errors = meta.is(flag::IGNORES_ERRORS);
    let (shared, unclaimed) = (task.owner().clone(), task.unclaimed);
    let outcome = task.take_outcome();
    let dropped = picot_context::catch(move || match outcome {
        Ok(value) if !ignores_errors => unclaimed(value),
        outcome => {
            drop(outcome);
            None
        }
    });
    let Some(local) = shared.local.get() else { return };
    match dropped {
        Ok(None) => return,
        Ok(Some(cause)) => local.reports.unclaimed(info, cause),
        Err(payload) => local.reports.task_panicked(info, Scene::now(), payload, false),
    }
    local.deliver_if_closed();
}

/// Watches the task: returns its outcome, once.
///
/// # If dropped
/// Nothing happens; the task continues, and can be awaited again. The waker of the last poll stays
/// until another one replaces it, the task ends, or the handle is dropped.
///
/// # Panics
/// If the outcome was taken already.
///
/// ```
/// use std::pin::Pin;
/// use std::task::{Context, Poll, Waker};
///
/// let executor = picot_executor::Executor::new();
/// let mut task = executor.spawn(async { 5 });
/// let poll = Pin::new(&mut &mut task).poll(&mut Context::from_waker(Waker::noop()));
/// assert!(poll.is_pending());
/// assert_eq!(executor.block_on(&mut task).unwrap(), 5, "the look before has changed nothing");
/// ```
impl<T> Future for &mut Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_join(cx)
    }
}

impl<T> IntoFuture for Task<T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = Join<T>;

    fn into_future(self) -> Join<T> {
        Join { task: self }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.handle {
            Some(handle) => {
                let meta = handle.metadata();
                f.debug_struct("Task")
                    .field("id", &meta.id)
                    .field("finished", &handle.is_finished())
                    .finish_non_exhaustive()
            }
            None => f.write_str("Task(taken)"),
        }
    }
}

/// A handle that cancels its task when dropped, and waits for it when awaited; made by `task.await`
/// and [`cancel_on_drop`](Task::cancel_on_drop). It derefs to [`Task`] for the methods that need no
/// ownership.
///
/// # If dropped
/// The task is cancelled, if it has not ended.
///
/// # Panics
/// If polled again after completion.
///
/// ```
/// use picot_executor::{Executor, Join};
///
/// /// Owns a task, which ends with it.
/// struct Connection {
///     pump: Join<()>,
/// }
///
/// let executor = Executor::new();
/// let connection = Connection { pump: executor.spawn(std::future::pending()).cancel_on_drop() };
/// executor.run_until_stalled();
/// assert!(!connection.pump.is_finished());
/// drop(connection);
/// executor.run_until_stalled();
/// assert_eq!(executor.spawner().task_count(), 0);
/// ```
#[derive(Debug)]
#[must_use = "dropping this cancels the task"]
pub struct Join<T> {
    task: Task<T>,
}

impl<T> Future for Join<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.task.poll_join(cx);
        if matches!(&outcome, Poll::Ready(Err(error)) if error.is_itself()) {
            self.task.let_go();
        }
        outcome
    }
}

impl<T> Deref for Join<T> {
    type Target = Task<T>;

    fn deref(&self) -> &Task<T> {
        &self.task
    }
}

impl<T> Drop for Join<T> {
    fn drop(&mut self) {
        self.task.cancel(CancelReason::WAIT_DROPPED);
    }
}

/// Waits until a cancelled task has ended; see [`Task::cancel_and_wait`].
///
/// # If dropped
/// The task is still cancelled: the cancellation was requested when this was made.
///
/// # Panics
/// If polled again after completion.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let task = executor.spawn(async { "it was faster" });
/// executor.run_until_stalled();
/// let outcome = executor.block_on(task.cancel_and_wait("shutting down"));
/// assert_eq!(outcome.unwrap().unwrap(), "it was faster");
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct CancelAndWait<T> {
    task: Task<T>,
}

impl<T> Future for CancelAndWait<T> {
    type Output = Option<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.poll_join(cx).map(|outcome| match outcome {
            Err(error) if error.is_cancelled() => None,
            outcome => Some(outcome),
        })
    }
}

//! A task seen from other threads: its future stays on the executor's thread, and its outcome
//! moves.
//!
//! The invariant: values that are not `Send` (the future and the task's handle) are made, used and
//! dropped on the executor's thread only. The closure that makes the future, and the outcome, cross
//! threads. The lock is held for moves only, never while user code runs.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use picot_context::{
    Details, Kind, Origin, Place, Report, TaskInfo, WaitInfo, WaitKind, WaitNote, budget, contain, is_err, report,
};
use pin_project_lite::pin_project;

use crate::bound::Bound;
use crate::error::{CancelReason, JoinError, WaitError, unclaimed};
use crate::remote::item::{Delivery, RemoteItem, Start};
use crate::shared::Shared;
use crate::task::handle::Task;
use crate::task::make::make_task;

/// A task that was spawned by [`Remote::spawn`](crate::Remote::spawn), seen from any thread.
///
/// The rules are those of [`Task`]:
/// - Dropping the handle detaches the task.
/// - `task.await` waits for its end and takes the handle. Dropping that wait unfinished cancels the
///   task.
/// - `(&mut task).await` only watches, and so does [`wait`](RemoteTask::wait), which blocks its
///   thread.
/// - A task that waits for itself gets an error.
///
/// A panic of the task goes to the joiner that waits when it happens. Without one, the error hook
/// gets a report, and a later wait still gets the payload.
///
/// # If dropped
/// The task continues. An outcome that has arrived is dropped with the handle. An `Err` in it goes
/// to the error hook, unless [`ignore_errors`](RemoteTask::ignore_errors) was called. A panic in
/// its destructor goes to the error hook on the executor's thread; on another thread it goes to
/// that thread's host, or to standard error.
///
/// ```
/// use picot_executor::Executor;
///
/// let (here, there) = (Executor::new(), std::sync::mpsc::channel());
/// let remote = here.remote();
/// let thread = std::thread::spawn(move || {
///     // The same handle blocks a plain thread, and is awaited by a task of another executor.
///     let mut blocked = remote.spawn(|| async { 1 }).unwrap();
///     let awaited = remote.spawn(|| async { 2 }).unwrap();
///     let awaited = Executor::new().block_on(async { awaited.await.unwrap() });
///     let sum = blocked.wait(None).unwrap() + awaited;
///     there.0.send(sum).unwrap();
/// });
/// while !thread.is_finished() {
///     here.run_until_stalled();
/// }
/// assert_eq!(there.1.recv(), Ok(3));
/// ```
#[must_use = "a task continues when its handle is dropped; write `let _ =` or `drop(…)` if you intend that"]
pub struct RemoteTask<T> {
    mailbox: Arc<Mailbox<T>>,
    shared: Arc<Shared>,
    note: WaitNote,
}

/// The place to which the outcome is delivered.
struct Mailbox<T> {
    state: Mutex<State<T>>,
    /// Notified when the outcome arrives, for threads that block.
    arrived: Condvar,
    /// The task, on the executor's thread, until it has ended.
    home: OnceLock<Bound<Cell<Option<Task<T>>>>>,
    /// Drops a value that no waiter takes, and reports it if it is an `Err`. A pointer made where
    /// `T` is known to be `'static` and `Send`, because the drop of a handle cannot require that.
    abandon: fn(&Arc<Shared>, TaskInfo, T),
}

// Unwind safe: the lock is held for moves only, and the task is only taken out whole.
impl<T> UnwindSafe for Mailbox<T> {}
impl<T> RefUnwindSafe for Mailbox<T> {}

struct State<T> {
    outcome: Option<Result<T, JoinError>>,
    has_ended: bool,
    waker: Option<Waker>,
    /// Whether a thread blocks for it.
    is_waited: bool,
    is_abandoned: bool,
    /// The reason of the requested cancellation, if there is one.
    cancel: Option<CancelReason>,
    /// The description of the task, from its start on.
    info: Option<TaskInfo>,
    ignores_errors: bool,
}

impl<T> Mailbox<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Mailbox<T> {
    /// Delivers the outcome to the handle. Runs on the executor's thread, after the last step of
    /// the task.
    fn deliver(self: &Arc<Self>) {
        let Some(mut task) = self.home.get().and_then(Bound::get).and_then(Cell::take) else { return };
        let shared = task.owner().clone();
        let Poll::Ready(outcome) = task.poll_join_with(&Waker::from(self.clone())) else {
            return self.home.get().and_then(Bound::get).map_or((), |home| home.set(Some(task)));
        };
        let (waker, refused) = {
            let mut state = self.state();
            state.has_ended = true;
            if let (Err(error), true) = (&outcome, state.is_waited || state.waker.is_some()) {
                error.claim();
            }
            // Abandoned since the first check, so the outcome is dropped here.
            let refused = if state.is_abandoned { Some(outcome) } else { state.outcome.replace(outcome) };
            (state.waker.take(), refused.map(|outcome| state.unclaimed(outcome)))
        };
        // User code may run below, in the waker; the lock is released.
        self.arrived.notify_all();
        let Some(local) = shared.local.get() else { return };
        if let Some(waker) = waker {
            local.wake(waker);
        }
        if let Some(refused) = refused {
            refused.drop_with(self.abandon, &shared);
        }
    }
}

/// An outcome to be dropped, and the task to report if it is an `Err`.
struct Unclaimed<T> {
    outcome: Result<T, JoinError>,
    reported_as: Option<TaskInfo>,
}

impl<T> State<T> {
    fn unclaimed(&self, outcome: Result<T, JoinError>) -> Unclaimed<T> {
        Unclaimed { outcome, reported_as: self.info.clone().filter(|_| !self.ignores_errors) }
    }
}

impl<T> Unclaimed<T> {
    /// Drops it, with no lock held.
    fn drop_with(self, abandon: fn(&Arc<Shared>, TaskInfo, T), shared: &Arc<Shared>) {
        let drop_it = move || match (self.outcome, self.reported_as) {
            (Ok(value), Some(task)) => abandon(shared, task, value),
            (outcome, _) => drop(outcome),
        };
        match shared.local.get() {
            Some(local) => {
                local.contain(drop_it);
                local.deliver_if_closed();
            }
            None => _ = contain::call(|| Origin::running().unwrap_or(Origin::new(Kind::Task)), drop_it),
        }
    }
}

/// Drops a value that `task` has returned. If it is an `Err`, its executor reports it, on its own
/// thread; if that is closed, this thread does.
fn abandon<T: Send + 'static>(shared: &Arc<Shared>, task: TaskInfo, value: T) {
    if !is_err(&value) {
        return drop(value);
    }
    let home = shared.clone();
    let report: Box<dyn FnOnce() + Send> = Box::new(move || {
        let Some(cause) = unclaimed(value) else { return };
        match home.local.get() {
            Some(local) => local.reports.unclaimed(task, cause),
            None => report(Report::new(Origin::task(task), cause)),
        }
    });
    if shared.local.get().is_some() {
        return report();
    }
    if let Err(RemoteItem::Report(report)) = shared.hand_over(RemoteItem::Report(report)) {
        report();
    }
}

impl<T: Send + 'static> Wake for Mailbox<T> {
    fn wake(self: Arc<Self>) {
        self.deliver();
    }
}

impl<T: Send + 'static> Delivery for Mailbox<T> {
    fn arrive(self: Arc<Self>) {
        self.cancel_at_home();
    }
}

impl<T: Send + 'static> Mailbox<T> {
    fn cancel_at_home(&self) {
        let reason = self.state().cancel.clone();
        let Some((home, reason)) = self.home.get().and_then(Bound::get).zip(reason) else { return };
        if let Some(task) = home.take() {
            task.cancel(reason);
            home.set(Some(task));
        }
    }
}

/// The request for a task, on its way to the executor's thread.
pub(crate) struct Request<M, T> {
    place: Place,
    make: M,
    mailbox: Arc<Mailbox<T>>,
}

impl<M, F> Request<M, F::Output>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    pub(crate) fn pair(place: Place, shared: Arc<Shared>, make: M) -> (Box<dyn Start>, RemoteTask<F::Output>) {
        let state = State {
            outcome: None,
            has_ended: false,
            waker: None,
            is_waited: false,
            is_abandoned: false,
            cancel: None,
            info: None,
            ignores_errors: false,
        };
        let mailbox = Arc::new(Mailbox {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            home: OnceLock::new(),
            abandon: abandon::<F::Output>,
        });
        (
            Box::new(Request { place, make, mailbox: mailbox.clone() }),
            RemoteTask { mailbox, shared, note: WaitNote::new() },
        )
    }
}

impl<M, F> Start for Request<M, F::Output>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    fn start(
        self: Box<Self>,
        shared: &Arc<Shared>,
        details: Option<Rc<Details>>,
        cancel: Option<CancelReason>,
    ) -> TaskInfo {
        let Request { place, make, mailbox } = *self;
        let local = shared.local.get().expect("requests are taken on the executor's thread");
        let (ready, task) = make_task(shared, local, place, details, Making::Make { make });
        let info = ready.meta().info();
        mailbox.state().info = Some(info.clone());
        local.queue.push_task(ready);
        task.set_joiner(&Waker::from(mailbox.clone()));
        if let Some(reason) = cancel {
            task.cancel(reason);
        }
        let _ = mailbox.home.set(Bound::new(Cell::new(Some(task))));
        // Cancels the task if that was requested before it was made.
        mailbox.cancel_at_home();
        info
    }

    fn into_make(self: Box<Self>) -> Box<dyn Any> {
        Box::new(self.make)
    }
}

pin_project! {
    /// The future of a task that another thread has spawned: calls `make` at its first poll, and
    /// then polls the future that `make` returned.
    ///
    /// It is polled in place, not awaited by an `async` block. A panic in its poll would unwind
    /// through such a block, which then drops the future, and a second panic in that drop aborts
    /// the process.
    #[project = Projected]
    #[project_replace = Replaced]
    enum Making<M, F> {
        Make { make: M },
        // While `make` runs, and after a panic in it.
        Between,
        Made { #[pin] future: F },
    }
}

impl<M: FnOnce() -> F, F: Future> Future for Making<M, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Projected::Make { .. } = self.as_mut().project() {
            let Replaced::Make { make } = self.as_mut().project_replace(Making::Between) else {
                unreachable!("the variant was checked in the line above")
            };
            let future = make();
            self.set(Making::Made { future });
        }
        match self.project() {
            Projected::Made { future } => future.poll(cx),
            _ => unreachable!("a task that has panicked is not polled again"),
        }
    }
}

impl<T> RemoteTask<T> {
    /// Lets the task return an `Err` that no waiter takes: it is dropped without a report; see
    /// [`Task::ignore_errors`].
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.spawner().set_error_hook(|report| unreachable!("{report}"));
    /// let fail = || async { Err::<(), _>("no listener is left") };
    /// let task = executor.remote().spawn(fail).unwrap();
    /// drop(task.ignore_errors());
    /// executor.run_until_stalled();
    /// ```
    pub fn ignore_errors(self) -> RemoteTask<T> {
        self.mailbox.state().ignores_errors = true;
        self
    }

    /// Whether the task has ended, and its outcome has arrived.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.remote().spawn(|| async { 1 }).unwrap();
    /// assert!(!task.is_finished());
    /// executor.run_until_stalled();
    /// assert!(task.is_finished());
    /// ```
    pub fn is_finished(&self) -> bool {
        self.mailbox.state().has_ended
    }

    /// Blocks this thread until the task has ended, at most for `limit`, and returns its value. On
    /// a thread of another executor this blocks that executor, too.
    ///
    /// # Errors
    /// - [`WaitError::TimedOut`]: it has not ended within the limit. It continues; call
    ///   [`cancel`](RemoteTask::cancel) to stop it, and wait again for its end.
    /// - [`WaitError::OwnThread`]: the task runs on this thread, so it would never end. Await it
    ///   there.
    /// - [`WaitError::Join`]: it was cancelled, or it panicked.
    ///
    /// # Panics
    /// If the outcome was taken already.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_executor::{Executor, WaitError};
    ///
    /// let executor = Executor::new();
    /// let remote = executor.remote();
    /// let thread = std::thread::spawn(move || {
    ///     let mut slow = remote.spawn(|| std::future::pending::<()>()).unwrap();
    ///     if let Err(WaitError::TimedOut) = slow.wait(Some(Duration::from_millis(1))) {
    ///         slow.cancel("it takes too long");
    ///     }
    ///     slow.wait(None).unwrap_err().to_string()
    /// });
    /// while !thread.is_finished() {
    ///     executor.run_until_stalled();
    /// }
    /// assert!(thread.join().unwrap().ends_with("was cancelled: it takes too long"));
    /// ```
    #[track_caller]
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<T, WaitError> {
        let mailbox = &*self.mailbox;
        let mut state = mailbox.state();
        if !state.has_ended {
            if self.shared.local.get().is_some() {
                return Err(WaitError::OwnThread);
            }
            state.is_waited = true;
            let pending = |state: &mut State<T>| !state.has_ended;
            state = match limit {
                None => mailbox.arrived.wait_while(state, pending).unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let waited = mailbox.arrived.wait_timeout_while(state, limit, pending);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.is_waited = false;
            if !state.has_ended {
                return Err(WaitError::TimedOut);
            }
        }
        let outcome = state.outcome.take().expect("the outcome of this task was taken already");
        drop(state);
        outcome.inspect_err(JoinError::claim).map_err(WaitError::Join)
    }

    /// Drops the previous waker. A panic in its destructor must not reach the current waiter.
    fn drop_waker(&self, waker: Waker) {
        match self.shared.local.get() {
            Some(local) => local.drop_waker(waker),
            None => contain::discard(|| Origin::new(Kind::Waker), waker),
        }
    }

    /// The check of a local wait, on the executor's own thread: an error if the task waits for
    /// itself.
    fn check_wait(&self) -> Option<JoinError> {
        let home = self.mailbox.home.get()?.get()?;
        let task = home.take()?;
        let error = task.check_wait();
        home.set(Some(task));
        error
    }

    fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        if let Some(error) = self.check_wait() {
            return Poll::Ready(Err(error));
        }
        let mut waker = None;
        loop {
            let mut state = self.mailbox.state();
            if state.has_ended {
                if budget::poll_left(cx).is_pending() {
                    return Poll::Pending;
                }
                budget::spend();
                let outcome = state.outcome.take().expect("the outcome of this task was taken already");
                drop(state);
                self.note.clear();
                return Poll::Ready(outcome.inspect_err(JoinError::claim));
            }
            if state.waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            // Cloning or dropping a waker may run user code, so the lock is not held.
            let Some(waker) = waker.take() else {
                drop(state);
                waker = Some(cx.waker().clone());
                continue;
            };
            let old = state.waker.replace(waker);
            let task = state.info.as_ref().filter(|_| self.shared.local.get().is_some()).map(TaskInfo::id);
            drop(state);
            if let Some(old) = old {
                self.drop_waker(old);
            }
            let elsewhere = || WaitInfo::new(WaitKind::Task, "a task of another thread");
            self.note.set(|| task.map_or_else(elsewhere, WaitInfo::task));
            return Poll::Pending;
        }
    }
}

impl<T: Send + 'static> RemoteTask<T> {
    /// Requests the cancellation of the task. Returns `false` if it is known to have ended. Its
    /// future is dropped on the executor's thread, soon; see [`Task::cancel`].
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// let task = std::thread::spawn(move || {
    ///     let task = remote.spawn(|| async { unreachable!("it never begins") }).unwrap();
    ///     task.cancel("the user has left");
    ///     task
    /// });
    /// let task: picot_executor::RemoteTask<()> = task.join().unwrap();
    /// let error = executor.block_on(async { task.await.unwrap_err() });
    /// assert_eq!(error.reason().unwrap().as_str(), "the user has left");
    /// ```
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        self.mailbox.cancel(&self.shared, reason.into())
    }
}

impl<T: Send + 'static> Mailbox<T> {
    fn cancel(self: &Arc<Self>, shared: &Arc<Shared>, reason: CancelReason) -> bool {
        {
            let mut state = self.state();
            if state.has_ended {
                return false;
            }
            state.cancel.get_or_insert(reason);
        }
        if shared.local.get().is_some() {
            self.cancel_at_home();
        } else {
            // A closed executor has ended all its tasks, so a refusal loses nothing.
            let _ = shared.hand_over(RemoteItem::Deliver(self.clone()));
        }
        true
    }
}

impl<T> Drop for RemoteTask<T> {
    fn drop(&mut self) {
        let (outcome, waker) = {
            let mut state = self.mailbox.state();
            state.is_abandoned = true;
            let outcome = state.outcome.take().map(|outcome| state.unclaimed(outcome));
            (outcome, state.waker.take())
        };
        if let Some(waker) = waker {
            self.drop_waker(waker);
        }
        if let Some(outcome) = outcome {
            outcome.drop_with(self.mailbox.abandon, &self.shared);
        }
    }
}

/// Watches the task: returns its outcome, once.
///
/// # If dropped
/// Nothing happens; the task continues, and can be awaited again.
///
/// # Panics
/// If the outcome was taken already.
///
/// ```
/// use std::pin::Pin;
/// use std::task::{Context, Poll, Waker};
///
/// let executor = picot_executor::Executor::new();
/// let mut task = executor.remote().spawn(|| async { 5 }).unwrap();
/// let poll = Pin::new(&mut &mut task).poll(&mut Context::from_waker(Waker::noop()));
/// assert!(poll.is_pending());
/// assert_eq!(executor.block_on(&mut task).unwrap(), 5, "the look before has changed nothing");
/// ```
impl<T> Future for &mut RemoteTask<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_join(cx)
    }
}

impl<T: Send + 'static> IntoFuture for RemoteTask<T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = RemoteJoin<T>;

    fn into_future(self) -> RemoteJoin<T> {
        RemoteJoin { task: self, is_over: false }
    }
}

impl<T> fmt::Debug for RemoteTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTask").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// Waits for a task on another thread; made by `task.await` on a [`RemoteTask`].
///
/// # If dropped
/// The task is cancelled, if it has not ended.
///
/// # Panics
/// If polled again after completion.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let task = executor.remote().spawn(|| std::future::pending::<()>()).unwrap();
/// executor.run_until_stalled();
/// drop(task.into_future());
/// executor.run_until_stalled();
/// assert_eq!(executor.spawner().task_count(), 0);
/// ```
#[derive(Debug)]
#[must_use = "dropping this cancels the task"]
pub struct RemoteJoin<T: Send + 'static> {
    task: RemoteTask<T>,
    /// Whether it has returned an outcome, or the error of a task that waits for itself. Then its
    /// drop cancels nothing.
    is_over: bool,
}

impl<T: Send + 'static> Future for RemoteJoin<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.task.poll_join(cx);
        self.is_over |= outcome.is_ready();
        outcome
    }
}

impl<T: Send + 'static> Drop for RemoteJoin<T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.task.cancel(CancelReason::WAIT_DROPPED);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::executor::Executor;

    #[test]
    fn a_thread_that_blocks_for_a_task_is_told_of_its_panic_and_the_hook_is_not() {
        let executor = Executor::new();
        let told = Rc::new(Cell::new(false));
        let hook = told.clone();
        executor.spawner().set_error_hook(move |_| hook.set(true));
        let panics = || async { std::panic::resume_unwind(Box::new("waited for")) };
        let mut task: RemoteTask<()> = executor.remote().spawn(panics).unwrap();
        let mailbox = task.mailbox.clone();
        let thread = std::thread::spawn(move || task.wait(None));
        while !mailbox.state().is_waited {
            std::thread::yield_now();
        }
        executor.run_until_stalled();
        let Err(WaitError::Join(error)) = thread.join().unwrap() else { panic!("it panicked") };
        assert_eq!(error.into_panic().unwrap().downcast_ref(), Some(&"waited for"));
        executor.run_until_stalled();
        assert!(!told.get());
    }
}

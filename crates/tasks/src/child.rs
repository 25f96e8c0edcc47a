//! A child of a scope: its future, its record, and its handle.
//!
//! The invariants are those of the executor's tasks. A child is polled and dropped in steps of its
//! own, however it ends. A panic in either stays in this file. When the output appears, the future
//! is gone.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{
    Cause, Details, Origin, Payload, Place, Report, Step, TaskId, TaskInfo, WaitInfo, WaitNote, budget, catch, contain,
    is_err, report,
};
use picot_loop::{CancelReason, Exit, JoinError, LoopHandle};
use pin_project_lite::pin_project;

use crate::contained;
use crate::request::wake;
use crate::roster;

/// The part of a child's state that does not depend on its output type.
pub(crate) struct Record {
    pub(crate) id: TaskId,
    place: Place,
    details: RefCell<Option<Rc<Details>>>,
    cancelled: RefCell<Option<CancelReason>>,
    /// Whether the child continues when its scope fails or is cancelled.
    pub(crate) is_shielded: bool,
    pub(crate) is_started: Cell<bool>,
    /// Its key in the roster of children.
    pub(crate) row: Cell<Option<usize>>,
    is_ended: Cell<bool>,
    joiner: Cell<Option<Waker>>,
    /// Queues the child.
    waker: RefCell<Option<Waker>>,
}

/// What identifies a child.
pub(crate) struct Identity {
    id: TaskId,
    place: Place,
    details: Option<Rc<Details>>,
}

impl Identity {
    pub(crate) fn info(&self) -> TaskInfo {
        TaskInfo::new(self.id, self.details.as_deref().and_then(Details::name), self.place)
    }
}

impl Record {
    pub(crate) fn new(id: TaskId, place: Place, details: Option<Rc<Details>>, is_shielded: bool) -> Record {
        Record {
            id,
            place,
            details: RefCell::new(details),
            cancelled: RefCell::new(None),
            is_shielded,
            is_started: Cell::new(false),
            row: Cell::new(None),
            is_ended: Cell::new(false),
            joiner: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// Returns the parts of the info. Making the info itself copies the name.
    pub(crate) fn identity(&self) -> Identity {
        Identity { id: self.id, place: self.place, details: self.details.borrow().clone() }
    }

    pub(crate) fn info(&self) -> TaskInfo {
        self.identity().info()
    }

    pub(crate) fn set_waker(&self, waker: Waker) {
        self.waker.replace(Some(waker));
    }

    /// Requests that the child is dropped at its next step. The first reason stays.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        // The first reason stays.
        self.cancelled.borrow_mut().get_or_insert(reason);
        // The wake may run user code, so the cell is not borrowed meanwhile.
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    /// Cancels the child because its scope ends, unless it is shielded. Returns whether it did; the
    /// caller then wakes it.
    pub(crate) fn sweep(&self, reason: &CancelReason) -> bool {
        if !self.is_shielded {
            self.cancelled.borrow_mut().get_or_insert_with(|| reason.clone());
        }
        !self.is_shielded
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.borrow().is_some()
    }

    /// Runs `f` in a step of the child. The step has the nesting of the parent's, and so the
    /// parent's cancel scope.
    ///
    /// Returns also whether the loop's coarse clock has advanced.
    pub(crate) fn step<R>(&self, handle: &LoopHandle, f: impl FnOnce() -> R) -> (R, bool) {
        let details = self.details.borrow().clone();
        let step = Step::task(self.id, self.place);
        let _frame = picot_context::enter(step, details);
        handle.tell_hooks(|hooks| hooks.before_step(step));
        let result = f();
        // The child has set a name or a local in this step: its record keeps them for the next
        // step.
        if picot_context::has_made() {
            let old = self.details.replace(picot_context::take_made());
            drop(old);
        }
        handle.tell_hooks(|hooks| hooks.after_step(step));
        (result, handle.end_inner_step())
    }
}

/// The state that a child's future and its handle share.
pub(crate) struct ChildState<T> {
    pub(crate) record: Record,
    outcome: Cell<Option<Result<T, JoinError>>>,
    /// Whether the outcome is a panic that was not reported, because a joiner may still take it.
    owes_report: Cell<bool>,
    /// Whether an `Err` that no wait takes is dropped without a report.
    ignores_errors: Cell<bool>,
}

impl<T> ChildState<T> {
    pub(crate) fn new(record: Record) -> ChildState<T> {
        ChildState { record, outcome: Cell::new(None), owes_report: Cell::new(false), ignores_errors: Cell::new(false) }
    }

    fn settle(&self, outcome: Result<T, JoinError>) {
        // There is an old outcome if the future returned a value and then panicked in its drop. The
        // value's own drop is user code.
        let old = self.outcome.replace(Some(outcome));
        contain::discard(contained::origin, old);
    }
}

impl<T> Drop for ChildState<T> {
    fn drop(&mut self) {
        let origin = || Origin::task(self.record.info());
        match self.outcome.take() {
            // The joiner that was to take this panic was dropped before it did.
            Some(Err(error)) if self.owes_report.get() => {
                if let Ok(payload) = error.into_panic() {
                    report(Report::panic(origin(), Payload::new(payload)));
                }
            }
            Some(Ok(value)) => {
                // An error that nothing took would be lost.
                if is_err(&value) && !self.ignores_errors.get() {
                    report(unclaimed::<T>(self.record.info()));
                }
                contain::discard(origin, value);
            }
            outcome => contain::discard(origin, outcome),
        }
    }
}

/// Makes the report of an error that no wait has taken. Its text is unknown: `E` has no bound and
/// may borrow.
pub(crate) fn unclaimed<E>(task: TaskInfo) -> Report {
    let text = format!("a value of type {}, whose text only its taker could know", std::any::type_name::<E>());
    Report::new(Origin::task(task), Cause::Unclaimed(text.into()))
}

/// A child as its scope holds it, without its output type.
pub(crate) trait ErasedChild<E> {
    fn record(&self) -> &Record;

    /// Polls the future in a step of the child, and drops it if it is done or has panicked. Returns
    /// also whether the loop's coarse clock has advanced.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, handle: &LoopHandle) -> (Poll<Ended<E>>, bool);

    /// Drops the future in a step of the child.
    fn clear(self: Pin<&mut Self>, handle: &LoopHandle) -> (Ended<E>, bool);

    /// Sets an error as the outcome.
    fn fail(&self, error: JoinError);

    /// Leaves the panic to the joiner. If that goes away without taking it, the panic is reported.
    fn owe_report(&self);
}

/// How a child has ended.
pub(crate) enum Ended<E> {
    Returned,
    Failed(E),
    Panicked(Payload),
    Cancelled(CancelReason),
}

pin_project! {
    /// The future of a child that returns a `T` to its handle, or an `E` to its scope.
    pub(crate) struct ChildBody<F, T> {
        #[pin]
        future: Option<F>,
        state: Rc<ChildState<T>>,
    }
}

impl<F, T> ChildBody<F, T> {
    pub(crate) fn new(future: F, state: Rc<ChildState<T>>) -> ChildBody<F, T> {
        ChildBody { future: Some(future), state }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> ErasedChild<E> for ChildBody<F, T> {
    fn record(&self) -> &Record {
        &self.state.record
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, handle: &LoopHandle) -> (Poll<Ended<E>>, bool) {
        let mut this = self.project();
        let state = &**this.state;
        state.record.is_started.set(true);
        state.record.step(handle, || {
            let future = this.future.as_mut().as_pin_mut().expect("a child is not polled after its end");
            let ended = match catch(|| future.poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(value))) => {
                    state.settle(Ok(value));
                    Ended::Returned
                }
                Ok(Poll::Ready(Err(error))) => Ended::Failed(error),
                Err(payload) => Ended::Panicked(payload),
            };
            // The future goes in the same step, before its end is announced: its destructors belong
            // to the child. A panic in them replaces a value, but not an earlier panic or error.
            let ended = match (catch(|| this.future.set(None)), ended) {
                (Err(payload), Ended::Returned) => Ended::Panicked(payload),
                (Err(second), ended) => {
                    report(Report::panic(contained::origin(), second));
                    ended
                }
                (Ok(()), ended) => ended,
            };
            state.record.tell_exit(handle, &ended);
            Poll::Ready(ended)
        })
    }

    fn clear(self: Pin<&mut Self>, handle: &LoopHandle) -> (Ended<E>, bool) {
        let mut this = self.project();
        let record = &this.state.record;
        record.step(handle, || {
            let reason = || record.cancelled.borrow().clone().unwrap_or(CancelReason::from("its scope was dropped"));
            let dropped = catch(|| this.future.set(None));
            let ended = dropped.map_or_else(Ended::Panicked, |()| Ended::Cancelled(reason()));
            record.tell_exit(handle, &ended);
            ended
        })
    }

    fn fail(&self, error: JoinError) {
        self.state.settle(Err(error));
    }

    fn owe_report(&self) {
        self.state.owes_report.set(true);
    }
}

impl Record {
    /// Calls the exit hook, while the child's last step is still the current one.
    fn tell_exit<E>(&self, handle: &LoopHandle, ended: &Ended<E>) {
        handle.tell_hooks(|hooks| {
            let exit = match ended {
                Ended::Returned | Ended::Failed(_) => Exit::Returned,
                Ended::Panicked(_) => Exit::Panicked,
                Ended::Cancelled(_) => Exit::Cancelled,
            };
            hooks.exited(&self.info(), exit);
        });
    }

    /// Marks the child as ended and wakes the joiner. The future is gone and the outcome is set by
    /// now.
    pub(crate) fn end(&self) {
        // Set before the wake: the joiner may poll the handle inside of it.
        self.is_ended.set(true);
        roster::remove(self.row.take());
        // The waker holds the list of the scope.
        self.waker.replace(None);
        if let Some(joiner) = self.joiner.take() {
            wake(joiner);
        }
    }

    pub(crate) fn has_joiner(&self) -> bool {
        let joiner = self.joiner.take();
        let is_there = joiner.is_some();
        self.joiner.set(joiner);
        is_there
    }
}

/// The handle of a child of a scope. It works like the handle of a task:
///
/// - Dropping the handle detaches the child: it continues, and its scope waits for it.
/// - `child.await` takes the handle and waits for the child's end. Dropping that wait unfinished
///   cancels the child.
/// - `(&mut child).await` only watches: dropping it does nothing.
/// - [`cancel`](Child::cancel) requests the child's end.
///
/// If a [supervised](crate::supervised()) child returns an `Err` that no wait takes, the loop's
/// error hook gets it once, when child and handle are gone; [`ignore_errors`](Child::ignore_errors)
/// turns that off.
///
/// If a child of a [`scope`](crate::scope()) fails, its error goes to the scope, and the wait for
/// the child returns a cancellation. Only shielded siblings and code after the scope see that, as
/// the failure ends the other children.
///
/// ```
/// use picot_tasks::{Child, supervised};
///
/// picot_loop::run(async {
///     supervised(async |s| {
///         let child: Child<u8> = s.spawn(async { 1 });
///         assert_eq!(child.await.unwrap(), 1);
///     })
///     .await;
/// });
/// ```
#[must_use = "a child continues when its handle is dropped; write `let _ =` or `drop(…)` if you intend that"]
pub struct Child<T> {
    state: Rc<ChildState<T>>,
    note: WaitNote,
}

impl<T> Child<T> {
    pub(crate) fn new(state: Rc<ChildState<T>>) -> Child<T> {
        Child { state, note: WaitNote::new() }
    }

    /// Returns the child's id. Children and tasks of the loop are numbered together.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         let (one, two) = (s.spawn(async {}), s.spawn(async {}));
    ///         assert!(one.id() < two.id());
    ///     })
    ///     .await;
    /// });
    /// ```
    pub fn id(&self) -> TaskId {
        self.state.record.id
    }

    /// Returns the child's id, name and source location.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         assert_eq!(s.spawn_named("reader", async {}).info().given_name(), Some("reader"));
    ///     })
    ///     .await;
    /// });
    /// ```
    pub fn info(&self) -> TaskInfo {
        self.state.record.info()
    }

    /// Returns whether the child has ended, by a value, an error, a panic or a cancel. Waiting for
    /// it does not suspend then.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         let mut child = s.spawn(async {});
    ///         assert!(!child.is_finished());
    ///         (&mut child).await.unwrap();
    ///         assert!(child.is_finished());
    ///     })
    ///     .await;
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.state.record.is_ended.get()
    }

    /// Requests the child's cancellation. Returns `false` if it has ended.
    ///
    /// The future is dropped at the child's next step, never inside this function. It is not a
    /// failure of the scope.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         let child = s.spawn(std::future::pending::<()>());
    ///         assert!(child.cancel("not needed"));
    ///         assert!(child.await.unwrap_err().is_cancelled());
    ///     })
    ///     .await;
    /// });
    /// ```
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.is_finished() {
            return false;
        }
        self.state.record.cancel(reason.into());
        true
    }

    /// Drops an `Err` of the child that no wait takes without a report. In a
    /// [`scope`](crate::scope()) this concerns a `Result` inside the child's value; the error of
    /// the child itself goes to the scope.
    ///
    /// ```
    /// use picot_tasks::supervised;
    ///
    /// picot_loop::run(async {
    ///     supervised(async |s| {
    ///         drop(s.spawn(async { Err::<(), _>("no listener is left") }).ignore_errors());
    ///     })
    ///     .await;
    /// });
    /// ```
    pub fn ignore_errors(self) -> Child<T> {
        self.state.ignores_errors.set(true);
        self
    }

    /// Cancels the child because the wait for it was dropped, unless it is shielded.
    pub(crate) fn stop_waiting(&self) {
        // A shielded child continues without a wait.
        if !self.state.record.is_shielded {
            self.cancel("the wait for it was dropped");
        }
    }

    pub(crate) fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        ready!(budget::poll_left(cx));
        let record = &self.state.record;
        if !record.is_ended.get() {
            // A child that waits for itself would wait forever.
            if picot_context::running().and_then(|step| step.task_id()) == Some(record.id) {
                budget::spend();
                return Poll::Ready(Err(JoinError::itself(record.info())));
            }
            let known = record.joiner.take().filter(|known| known.will_wake(cx.waker()));
            let joiner = known.unwrap_or_else(|| cx.waker().clone());
            // The waker may run user code in its clone and its drop, and that may have dropped the
            // scope.
            if !record.is_ended.get() {
                let old = record.joiner.replace(Some(joiner));
                drop(old);
                let id = record.id;
                self.note.set(|| WaitInfo::task(id));
                return Poll::Pending;
            }
        }
        self.note.clear();
        budget::spend();
        // From here on the panic is the caller's.
        self.state.owes_report.set(false);
        Poll::Ready(self.state.outcome.take().expect("the outcome of this child was taken already"))
    }
}

impl<T> Drop for Child<T> {
    /// Drops the waker of a watch by `(&mut child)`: nothing waits by this handle any more.
    fn drop(&mut self) {
        // Nothing can join any more. The waker is dropped outside of the cell, as its drop is user
        // code.
        let joiner = self.state.record.joiner.take();
        drop(joiner);
    }
}

/// Watches the child: dropping this does not cancel it.
impl<T> Future for &mut Child<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_join(cx)
    }
}

/// Waits for the child: dropping this cancels it.
impl<T> IntoFuture for Child<T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = ChildJoin<T>;

    fn into_future(self) -> ChildJoin<T> {
        ChildJoin { child: self, is_over: false }
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("id", &self.id()).field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// Waits for a child; made by `child.await`.
///
/// # If dropped
/// The child is cancelled if it has not ended, unless it is [shielded](crate::Scope::shield).
///
/// ```
/// use std::future::IntoFuture;
///
/// picot_loop::run(async {
///     picot_tasks::supervised(async |s| {
///         let join = s.spawn(async { 1 }).into_future();
///         assert_eq!(join.await.unwrap(), 1);
///     })
///     .await;
/// });
/// ```
#[derive(Debug)]
#[must_use = "dropping this cancels the child"]
pub struct ChildJoin<T> {
    child: Child<T>,
    /// Whether the wait is over: by an outcome, or by the error of a child that waits for itself.
    is_over: bool,
}

impl<T> Future for ChildJoin<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.child.poll_join(cx));
        self.is_over = true;
        Poll::Ready(outcome)
    }
}

impl<T> Drop for ChildJoin<T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.child.stop_waiting();
        }
    }
}

//! A child of a scope: what runs, what is known of it, and its handle.
//!
//! The invariants are those of the executor's tasks: a child is polled and dropped in steps of its own, whatever ends it; a
//! panic in either does not leave this file; when its output appears, its future is gone.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{
    Cause, Details, Origin, Payload, Place, Report, Step, TaskId, TaskInfo, budget, catch, contain, is_err, report,
};
use picot_loop::{CancelReason, Exit, JoinError, LoopHandle};
use pin_project_lite::pin_project;

use crate::contained;
use crate::request::wake;

/// What is known of a child, whatever its output is.
pub(crate) struct Record {
    pub(crate) id: TaskId,
    place: Place,
    details: RefCell<Option<Rc<Details>>>,
    cancelled: RefCell<Option<CancelReason>>,
    /// Whether the end of the others does not end it.
    pub(crate) is_shielded: bool,
    pub(crate) is_started: Cell<bool>,
    is_ended: Cell<bool>,
    joiner: Cell<Option<Waker>>,
    /// Queues the child.
    waker: RefCell<Option<Waker>>,
}

/// Which child it is.
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
            is_ended: Cell::new(false),
            joiner: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// What its info is made of, without making it: the name is copied then.
    pub(crate) fn identity(&self) -> Identity {
        Identity { id: self.id, place: self.place, details: self.details.borrow().clone() }
    }

    pub(crate) fn info(&self) -> TaskInfo {
        self.identity().info()
    }

    pub(crate) fn set_waker(&self, waker: Waker) {
        self.waker.replace(Some(waker));
    }

    /// Asks for the child to be dropped at its next step. The first reason stays.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        self.cancelled.borrow_mut().get_or_insert(reason);
        // It wakes whoever polls the scope, which may be anybody's code, so the cell is not borrowed then.
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    /// The scope ends. Says whether that ends the child, which the caller wakes then.
    pub(crate) fn sweep(&self, reason: &CancelReason) -> bool {
        if !self.is_shielded {
            self.cancelled.borrow_mut().get_or_insert_with(|| reason.clone());
        }
        !self.is_shielded
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.borrow().is_some()
    }

    /// Runs `f` in a step of the child's. It has the nesting of the parent's, and so its cancel scope, too.
    pub(crate) fn step<R>(&self, handle: &LoopHandle, f: impl FnOnce() -> R) -> (R, bool) {
        let details = self.details.borrow().clone();
        let step = Step::task(self.id, self.place);
        let _frame = picot_context::enter(step, details);
        handle.tell_hooks(|hooks| hooks.before_step(step));
        let result = f();
        if picot_context::has_made() {
            let old = self.details.replace(picot_context::take_made());
            drop(old);
        }
        handle.tell_hooks(|hooks| hooks.after_step(step));
        (result, handle.end_inner_step())
    }
}

/// What a child's handle waits for.
pub(crate) struct Slot<T> {
    pub(crate) record: Record,
    outcome: Cell<Option<Result<T, JoinError>>>,
    /// Whether the outcome is a panic that nobody was told of.
    owes_report: Cell<bool>,
    /// Whether an `Err` that nothing takes is no report.
    ignores_errors: Cell<bool>,
}

impl<T> Slot<T> {
    pub(crate) fn new(record: Record) -> Slot<T> {
        Slot { record, outcome: Cell::new(None), owes_report: Cell::new(false), ignores_errors: Cell::new(false) }
    }

    fn settle(&self, outcome: Result<T, JoinError>) {
        let old = self.outcome.replace(Some(outcome));
        contain::discard(contained::origin, old);
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let origin = || Origin::task(self.record.info());
        match self.outcome.take() {
            Some(Err(error)) if self.owes_report.get() => {
                if let Ok(payload) = error.into_panic() {
                    report(Report::panic(origin(), Payload::new(payload)));
                }
            }
            Some(Ok(value)) => {
                if is_err(&value) && !self.ignores_errors.get() {
                    report(unclaimed::<T>(self.record.info()));
                }
                contain::discard(origin, value);
            }
            outcome => contain::discard(origin, outcome),
        }
    }
}

/// A report of an error that nothing has taken. Its text is unknown: the error may borrow, and has no bound.
pub(crate) fn unclaimed<E>(task: TaskInfo) -> Report {
    let text = format!("a value of type {}, whose text only its taker could know", std::any::type_name::<E>());
    Report::new(Origin::task(task), Cause::Unclaimed(text.into()))
}

/// What a scope holds of a child.
pub(crate) trait Job<E> {
    fn record(&self) -> &Record;

    /// Polls the future in a step of the child's, and drops it if it is done or has panicked. Says as well whether the loop's
    /// coarse clock has moved.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, handle: &LoopHandle) -> (Poll<Ended<E>>, bool);

    /// Drops the future in a step of the child's.
    fn clear(self: Pin<&mut Self>, handle: &LoopHandle) -> (Ended<E>, bool);

    /// What the handle gets instead of a value.
    fn fail(&self, error: JoinError);

    /// Whoever waits now gets the panic; if it goes away without having taken it, the panic is a report.
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
    /// The future of a child that gives a `T`, or an `E` to the scope.
    pub(crate) struct Body<F, T> {
        #[pin]
        future: Option<F>,
        slot: Rc<Slot<T>>,
    }
}

impl<F, T> Body<F, T> {
    pub(crate) fn new(future: F, slot: Rc<Slot<T>>) -> Body<F, T> {
        Body { future: Some(future), slot }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Job<E> for Body<F, T> {
    fn record(&self) -> &Record {
        &self.slot.record
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, handle: &LoopHandle) -> (Poll<Ended<E>>, bool) {
        let mut this = self.project();
        let slot = &**this.slot;
        slot.record.is_started.set(true);
        slot.record.step(handle, || {
            let future = this.future.as_mut().as_pin_mut().expect("a child is not polled after its end");
            let ended = match catch(|| future.poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(value))) => {
                    slot.settle(Ok(value));
                    Ended::Returned
                }
                Ok(Poll::Ready(Err(error))) => Ended::Failed(error),
                Err(payload) => Ended::Panicked(payload),
            };
            let ended = match (catch(|| this.future.set(None)), ended) {
                (Err(payload), Ended::Returned) => Ended::Panicked(payload),
                (Err(second), ended) => {
                    report(Report::panic(contained::origin(), second));
                    ended
                }
                (Ok(()), ended) => ended,
            };
            slot.record.tell_exit(handle, &ended);
            Poll::Ready(ended)
        })
    }

    fn clear(self: Pin<&mut Self>, handle: &LoopHandle) -> (Ended<E>, bool) {
        let mut this = self.project();
        let record = &this.slot.record;
        record.step(handle, || {
            let reason = || record.cancelled.borrow().clone().unwrap_or(CancelReason::from("its scope was dropped"));
            let dropped = catch(|| this.future.set(None));
            let ended = dropped.map_or_else(Ended::Panicked, |()| Ended::Cancelled(reason()));
            record.tell_exit(handle, &ended);
            ended
        })
    }

    fn fail(&self, error: JoinError) {
        self.slot.settle(Err(error));
    }

    fn owe_report(&self) {
        self.slot.owes_report.set(true);
    }
}

impl Record {
    /// Tells the hooks of the end, while the last step is still the current one.
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

    /// The future is gone and the outcome is there. Returns whether somebody waits for it.
    pub(crate) fn end(&self) -> bool {
        self.is_ended.set(true);
        self.waker.replace(None);
        match self.joiner.take() {
            Some(joiner) => {
                wake(joiner);
                true
            }
            None => false,
        }
    }

    pub(crate) fn has_joiner(&self) -> bool {
        let joiner = self.joiner.take();
        let is_there = joiner.is_some();
        self.joiner.set(joiner);
        is_there
    }
}

/// A child of a scope that was spawned. It is handled as a task is:
///
/// - Dropping the handle lets the child run on; its scope waits for it.
/// - `child.await` waits for its end and takes the handle. Dropping that wait unfinished cancels the child.
/// - `(&mut child).await` only watches: dropping it does nothing.
/// - [`cancel`](Child::cancel) asks for its end.
///
/// An `Err` that a [supervised](crate::supervised()) child returns and nothing takes goes to the loop's error hook, once, when
/// child and handle are gone, unless the child was told to [`ignore_errors`](Child::ignore_errors).
///
/// If the child fails, its error goes to the scope, and who waits here gets a cancellation. That is seen by shielded
/// siblings and after the scope only, as the failure ends everybody else.
#[must_use = "a child runs on when its handle is dropped; write `let _ =` or `drop(…)` where that is meant"]
pub struct Child<T> {
    slot: Rc<Slot<T>>,
}

impl<T> Child<T> {
    pub(crate) fn new(slot: Rc<Slot<T>>) -> Child<T> {
        Child { slot }
    }

    /// The child's number, in one order with those of the loop's tasks.
    pub fn id(&self) -> TaskId {
        self.slot.record.id
    }

    /// What is known of the child: its id, name and place.
    pub fn info(&self) -> TaskInfo {
        self.slot.record.info()
    }

    /// Whether the child has ended, in whatever way; then waiting for it does not suspend.
    pub fn is_finished(&self) -> bool {
        self.slot.record.is_ended.get()
    }

    /// Asks for the child to be cancelled, and says whether it still could be: `false` if it has ended. That is no failure
    /// of the scope. The future is dropped at the child's next step, never inside of this function.
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.is_finished() {
            return false;
        }
        self.slot.record.cancel(reason.into());
        true
    }

    /// Lets the child return an `Err` that nothing takes: it is dropped without a report. In a [`scope`](crate::scope()) this is
    /// for a `Result` as the child's value; the error of the child itself is the scope's.
    ///
    /// ```
    /// use picot_tasks::supervised;
    ///
    /// picot_loop::run(supervised(async |s| {
    ///     drop(s.spawn(async { Err::<(), _>("no listener is left") }).ignore_errors());
    /// }));
    /// ```
    pub fn ignore_errors(self) -> Child<T> {
        self.slot.ignores_errors.set(true);
        self
    }

    /// The wait for it was dropped.
    pub(crate) fn stop_waiting(&self) {
        if !self.slot.record.is_shielded {
            self.cancel("the wait for it was dropped");
        }
    }

    pub(crate) fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        ready!(budget::poll_left(cx));
        let record = &self.slot.record;
        if !record.is_ended.get() {
            if picot_context::running().and_then(|step| step.task_id()) == Some(record.id) {
                budget::spend();
                return Poll::Ready(Err(JoinError::itself(record.info())));
            }
            let known = record.joiner.take().filter(|known| known.will_wake(cx.waker()));
            let joiner = known.unwrap_or_else(|| cx.waker().clone());
            // A waker is foreign code, also in its clone and its drop, and may have dropped the scope.
            if !record.is_ended.get() {
                let old = record.joiner.replace(Some(joiner));
                drop(old);
                return Poll::Pending;
            }
        }
        budget::spend();
        self.slot.owes_report.set(false);
        Poll::Ready(self.slot.outcome.take().expect("the outcome of this child was taken already"))
    }
}

impl<T> Drop for Child<T> {
    /// Nothing waits by this any more.
    fn drop(&mut self) {
        let joiner = self.slot.record.joiner.take();
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

/// Waits for a child: what `child.await` makes.
///
/// # If dropped
/// The child is cancelled, if it has not ended; unless it is [shielded](crate::Scope::shield).
#[derive(Debug)]
#[must_use = "dropping this cancels the child"]
pub struct ChildJoin<T> {
    child: Child<T>,
    /// Whether the wait has ended, by an outcome or by the error of a child that waits for itself.
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

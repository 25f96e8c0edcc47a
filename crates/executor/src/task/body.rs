//! The future that `async-task` runs: the task's own future, and the handling of its end.
//!
//! The invariants: the task's future is dropped inside a step of its own, however it ends. A panic
//! in its poll or its drop does not leave this file. When the outcome appears, the task has left
//! the table.

use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use picot_context::{Payload, TaskInfo, catch, is_err, may_be_err};

use crate::error::{CancelReason, JoinError, unclaimed};
use crate::extras::extra;
use crate::extras::hooks::Exit;
use crate::extras::reports::Scene;
use crate::run::current::{self, Last};
use crate::task::meta::Meta;
use crate::task::state::flag;

pub(crate) struct Body<F> {
    /// Dropped only by the step that ends it, so no flag has to say whether it is still there.
    future: ManuallyDrop<F>,
}

impl<F> Body<F> {
    pub(crate) fn new(future: F) -> Body<F> {
        Body { future: ManuallyDrop::new(future) }
    }
}

/// How the future ended.
enum End<T> {
    Returned(T),
    Panicked(Payload),
    Cancelled,
}

impl<F: Future + 'static> Future for Body<F> {
    type Output = Outcome<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<F::Output>> {
        // SAFETY: This is the start of a task's poll, and nothing below outlives it.
        let meta = unsafe { current::polled() };
        // SAFETY: The future is never moved: it is polled through a pinned reference and dropped in
        // place.
        let future = unsafe { &mut self.get_unchecked_mut().future };
        let flags = meta.flags();
        // A cancel is noticed here only, so the future is always dropped in a step of its task.
        let end = if flags & flag::CANCELLED != 0 {
            End::Cancelled
        } else {
            if flags & flag::OWNED == 0 {
                meta.local().first.set(meta.id, cx.waker());
            }
            // SAFETY: The future is pinned because the body is. Its memory is not freed before it
            // is dropped: `async-task` frees it when the body has returned, which has dropped it,
            // or when a runnable is dropped, which never happens (see `Ready`), or when its own
            // handle cancels it, which no code does.
            let pinned = unsafe { Pin::new_unchecked(&mut **future) };
            match catch(|| pinned.poll(cx)) {
                Ok(Poll::Pending) => {
                    if flags & flag::OWNED == 0 {
                        own(meta, cx.waker());
                    }
                    if picot_context::has_made() {
                        keep_made_details(meta);
                    }
                    return Poll::Pending;
                }
                Ok(Poll::Ready(value)) => End::Returned(value),
                Err(payload) => End::Panicked(payload),
            }
        };
        // SAFETY: A body that has returned is not polled again, and this is the only call.
        Poll::Ready(unsafe { conclude(meta, future, end) })
    }
}

/// Drops the future, in the last step of a task. Out of line, so that all other steps need no stack
/// space for it.
///
/// # Safety
/// The future has not been dropped, and the caller does not touch it again.
#[inline(never)]
unsafe fn conclude<F>(meta: &Meta, future: &mut ManuallyDrop<F>, end: End<F::Output>) -> Outcome<F::Output>
where
    F: Future + 'static,
{
    let _last = Last;
    // SAFETY: The caller promises that this is the only drop.
    let dropped = catch(|| unsafe { ManuallyDrop::drop(future) });
    finish(meta, end, dropped)
}

/// Makes the table keep the task, which is pending for the first time.
fn own(meta: &Meta, waker: &Waker) {
    meta.local().table.borrow_mut().own(meta, waker);
    meta.set(flag::OWNED);
    if meta.is(flag::CANCELLED) {
        // It was cancelled in this very step, when the table had no waker to queue it with.
        waker.wake_by_ref();
    }
}

/// Keeps the task-locals that this step has made, for the next step.
#[cold]
fn keep_made_details(meta: &Meta) {
    if let Some(details) = picot_context::take_made() {
        meta.local().table.borrow_mut().set_details(meta, Some(details));
        meta.set(flag::HAS_DETAILS);
    }
}

/// Ends the task, whose future was dropped.
#[inline]
fn finish<T: 'static>(meta: &Meta, end: End<T>, dropped: Result<(), Payload>) -> Outcome<T> {
    let local = meta.local();
    // The common end needs no description of the task, which costs time to make.
    let value = match (end, dropped) {
        (End::Returned(value), Ok(())) if !local.uses(extra::HOOKS) => value,
        (end, dropped) => return leave(meta, finish_with_notice(meta, end, dropped)),
    };
    local.end_task(meta);
    leave(meta, Ok(value))
}

/// Returns the outcome for the handle, or drops it if there is no handle.
#[inline]
fn leave<T: 'static>(meta: &Meta, result: Result<T, JoinError>) -> Outcome<T> {
    if !meta.is(flag::DETACHED) {
        return Some(result);
    }
    // Dropped here, a panic in the drop belongs to the task's step. `async-task` would abort the
    // process.
    if std::mem::needs_drop::<T>() || may_be_err::<T>() || result.is_err() {
        abandon(meta, result);
    }
    None
}

/// Drops an outcome that no handle takes. An `Err` in it becomes a report.
#[inline(never)]
fn abandon<T: 'static>(meta: &Meta, result: Result<T, JoinError>) {
    let local = meta.local();
    match result {
        Ok(value) if !meta.is(flag::IGNORES_ERRORS) && is_err(&value) => {
            // This is the task's last step, so the current context still knows its name. The table
            // has forgotten it.
            let task = picot_context::current().unwrap_or_else(|| TaskInfo::new(meta.id, None, meta.place));
            local.contain(move || {
                if let Some(cause) = unclaimed(value) {
                    local.reports.unclaimed(task, cause);
                }
            });
        }
        result => local.contain(move || drop(result)),
    }
}

/// Ends a task whose end a hook, a report or a joiner needs to know about.
#[cold]
#[inline(never)]
fn finish_with_notice<T>(meta: &Meta, end: End<T>, dropped: Result<(), Payload>) -> Result<T, JoinError> {
    let local = meta.local();
    let info = meta.info();
    // Taken before the table entry goes, and the locals with it.
    let scene = Scene::now();
    let reason = local.table.borrow_mut().take_reason(meta);
    local.end_task(meta);
    // Read before the hook, which is foreign code and may end other tasks.
    let awaited = local.ended.get();
    if local.uses(extra::HOOKS) {
        local.hook(|hooks| hooks.exited(&info, end.exit()));
    }
    if let Err(payload) = dropped {
        local.reports.task_panicked(info.clone(), scene.clone(), payload, false);
    }
    match end {
        End::Returned(value) => Ok(value),
        End::Panicked(payload) => {
            local.reports.task_panicked(info.clone(), scene, payload.clone(), awaited);
            Err(JoinError::panicked(info, payload))
        }
        End::Cancelled => {
            let reason = reason.unwrap_or(CancelReason::LOOP_CLOSED);
            Err(JoinError::cancelled(info, reason))
        }
    }
}

impl<T> End<T> {
    fn exit(&self) -> Exit {
        match self {
            End::Returned(_) => Exit::Returned,
            End::Panicked(_) => Exit::Panicked,
            End::Cancelled => Exit::Cancelled,
        }
    }
}

/// The outcome that a task leaves for its handle; `None` if there was no handle when it ended.
pub(crate) type Outcome<T> = Option<Result<T, JoinError>>;

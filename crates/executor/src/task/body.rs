//! The future that `async-task` runs: a task's own, with its end taken care of.
//!
//! The invariants: the task's future is dropped inside of a step of its own, whatever ends it; a panic in its poll or its
//! drop does not leave this file; when the output appears, the task is out of the table.

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
    /// Dropped by the step that ends it, and nowhere else. So it needs no mark of whether it is still there.
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
        // SAFETY: This is where the poll of a task begins, and nothing below outlives it.
        let meta = unsafe { current::polled() };
        // SAFETY: The future is not moved out of here: it is polled through a pinned reference, and dropped in place.
        let future = unsafe { &mut self.get_unchecked_mut().future };
        let flags = meta.flags();
        let end = if flags & flag::CANCELLED != 0 {
            End::Cancelled
        } else {
            if flags & flag::OWNED == 0 {
                meta.local().first.set(meta.id, cx.waker());
            }
            // SAFETY: It is pinned as the body is. Its memory is not given back before it was dropped: `async-task` does that
            // when the body has returned, which drops it first, or when a runnable is dropped, which never happens (see
            // `Ready`), or when it is cancelled by its handle, whose cancelling is never used.
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
        // SAFETY: What has returned is not polled again, and there is no other way here.
        Poll::Ready(unsafe { conclude(meta, future, end) })
    }
}

/// The last step of a task. Out of line, because nearly all steps are not the last, and need no room for this on the stack.
///
/// # Safety
/// The future was not dropped, and is not touched again.
#[inline(never)]
unsafe fn conclude<F>(meta: &Meta, future: &mut ManuallyDrop<F>, end: End<F::Output>) -> Outcome<F::Output>
where
    F: Future + 'static,
{
    let _last = Last;
    // SAFETY: As our caller promises, this is the only drop.
    let dropped = catch(|| unsafe { ManuallyDrop::drop(future) });
    finish(meta, end, dropped)
}

/// The task is pending for the first time: from now on the table keeps it.
fn own(meta: &Meta, waker: &Waker) {
    meta.local().table.borrow_mut().own(meta, waker);
    meta.set(flag::OWNED);
    if meta.is(flag::CANCELLED) {
        // In this very step, when there was nothing to wake it by.
        waker.wake_by_ref();
    }
}

/// The step has set the task's first local: keeps it for the next step.
#[cold]
fn keep_made_details(meta: &Meta) {
    if let Some(details) = picot_context::take_made() {
        meta.local().table.borrow_mut().set_details(meta, Some(details));
        meta.set(flag::HAS_DETAILS);
    }
}

/// The task has ended, and its future was dropped.
#[inline]
fn finish<T: 'static>(meta: &Meta, end: End<T>, dropped: Result<(), Payload>) -> Outcome<T> {
    let local = meta.local();
    // A plain end needs no description, and making one costs.
    let value = match (end, dropped) {
        (End::Returned(value), Ok(())) if !local.uses(extra::HOOKS) => value,
        (end, dropped) => return leave(meta, finish_with_notice(meta, end, dropped)),
    };
    local.end_task(meta);
    leave(meta, Ok(value))
}

/// Leaves the outcome, if a handle may take it.
#[inline]
fn leave<T: 'static>(meta: &Meta, result: Result<T, JoinError>) -> Outcome<T> {
    if !meta.is(flag::DETACHED) {
        return Some(result);
    }
    // Dropped here, in the task's step, a panic in that is the task's; `async-task` would abort.
    if std::mem::needs_drop::<T>() || may_be_err::<T>() || result.is_err() {
        abandon(meta, result);
    }
    None
}

/// Drops an outcome that no handle takes. An error in it is a report.
#[inline(never)]
fn abandon<T: 'static>(meta: &Meta, result: Result<T, JoinError>) {
    let local = meta.local();
    match result {
        Ok(value) if !meta.is(flag::IGNORES_ERRORS) && is_err(&value) => {
            // In its last step, whose context still knows the name that the table has forgotten.
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

/// Ends the task where somebody is to be told of it.
#[cold]
#[inline(never)]
fn finish_with_notice<T>(meta: &Meta, end: End<T>, dropped: Result<(), Payload>) -> Result<T, JoinError> {
    let local = meta.local();
    let info = meta.info();
    // Taken before the locals are let go with the task's entry.
    let scene = Scene::now();
    let reason = local.table.borrow_mut().take_reason(meta);
    local.end_task(meta);
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

/// What a task leaves for whoever has its handle; `None` if nobody had one when it ended.
pub(crate) type Outcome<T> = Option<Result<T, JoinError>>;

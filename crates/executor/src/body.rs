//! The future that `async-task` runs: a task's own, with its end taken care of.
//!
//! The invariants: the task's future is dropped inside of a step of its own, whatever ends it; a panic in its poll or its
//! drop does not leave this file; when the output appears, the task is out of the table.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use picot_context::{Payload, catch};
use pin_project_lite::pin_project;

use crate::error::{CancelReason, JoinError};
use crate::shared::Meta;

pin_project! {
    pub(crate) struct Body<'a, F> {
        #[pin]
        future: Option<F>,
        meta: &'a Meta,
    }
}

impl<'a, F> Body<'a, F> {
    pub(crate) fn new(future: F, meta: &'a Meta) -> Body<'a, F> {
        Body { future: Some(future), meta }
    }
}

/// How the future ended.
enum End<T> {
    Returned(T),
    Panicked(Payload),
    Cancelled,
}

impl<F: Future> Future for Body<'_, F> {
    type Output = Outcome<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<F::Output>> {
        let mut this = self.project();
        let meta: &Meta = this.meta;
        let end = if meta.cancelled.load(Ordering::Relaxed) {
            End::Cancelled
        } else {
            let future = this.future.as_mut().as_pin_mut().expect("a task is not polled after its end");
            match catch(|| future.poll(cx)) {
                Ok(Poll::Pending) => {
                    if picot_context::has_made() {
                        keep_made_details(meta);
                    }
                    return Poll::Pending;
                }
                Ok(Poll::Ready(value)) => End::Returned(value),
                Err(payload) => End::Panicked(payload),
            }
        };
        let dropped = catch(|| this.future.set(None));
        Poll::Ready(Outcome(Some(finish(meta, end, dropped))))
    }
}

/// The step has set the task's first local: keeps it for the next step.
#[cold]
fn keep_made_details(meta: &Meta) {
    if let Some(details) = picot_context::take_made() {
        meta.local().table.borrow_mut().get_mut(meta.slot as usize).details = Some(details);
        meta.has_details.store(true, Ordering::Relaxed);
    }
}

fn finish<T>(meta: &Meta, end: End<T>, dropped: Result<(), Payload>) -> Result<T, JoinError> {
    let local = meta.local();
    // A plain end needs no description, and making one costs.
    let info = (!matches!((&end, &dropped), (End::Returned(_), Ok(())))).then(|| meta.info());
    let (reason, awaited) = local.end_task(meta.slot);
    let Some(info) = info else {
        let End::Returned(value) = end else { unreachable!("every other end has a description") };
        return Ok(value);
    };
    if let Err(payload) = dropped {
        local.reports.task_panicked(info.clone(), payload, false);
    }
    match end {
        End::Returned(value) => Ok(value),
        End::Panicked(payload) => {
            local.reports.task_panicked(info.clone(), payload.clone(), awaited);
            Err(JoinError::panicked(info, payload))
        }
        End::Cancelled => {
            let reason = reason.unwrap_or(CancelReason::new("no reason was given"));
            Err(JoinError::cancelled(info, reason))
        }
    }
}

/// What a task leaves for whoever joins it. If nobody does, `async-task` drops it, and a panic in that must not reach
/// `async-task`, which would abort.
pub(crate) struct Outcome<T>(Option<Result<T, JoinError>>);

impl<T> Outcome<T> {
    pub(crate) fn into_result(mut self) -> Result<T, JoinError> {
        self.0.take().expect("an outcome is taken once")
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<T>() {
            return;
        }
        let value = self.0.take();
        if let (Err(payload), Some(host)) = (catch(move || drop(value)), picot_context::host()) {
            use picot_context::{Kind, Origin, Report};
            let origin = Origin::running().unwrap_or(Origin::new(Kind::Task));
            host.report(Report::panic(origin, payload));
        }
    }
}

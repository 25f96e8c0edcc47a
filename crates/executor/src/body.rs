//! The future that `async-task` runs: a task's own, with its end taken care of.
//!
//! The invariants: the task's future is dropped inside of a step of its own, whatever ends it; a panic in its poll or its
//! drop does not leave this file; when the output appears, the task is out of the table.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use picot_context::{Payload, catch};
use pin_project_lite::pin_project;

use crate::error::JoinError;
use crate::hooks::{Exit, extra};
use crate::report::Scene;
use crate::shared::{Meta, flag};

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
        let flags = meta.flags();
        let end = if flags & flag::CANCELLED != 0 {
            End::Cancelled
        } else {
            let future = this.future.as_mut().as_pin_mut().expect("a task is not polled after its end");
            if flags & flag::OWNED == 0 {
                meta.local().first.set(meta.id, cx.waker());
            }
            match catch(|| future.poll(cx)) {
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
        let dropped = catch(|| this.future.set(None));
        Poll::Ready(finish(meta, end, dropped))
    }
}

/// The task is pending for the first time: from now on the table keeps it.
fn own(meta: &Meta, waker: &Waker) {
    meta.local().table.borrow_mut().own(meta.slot, waker);
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
        meta.local().table.borrow_mut().set_details(meta.slot as usize, Some(details));
        meta.set(flag::HAS_DETAILS);
    }
}

fn finish<T>(meta: &Meta, end: End<T>, dropped: Result<(), Payload>) -> Outcome<T> {
    let local = meta.local();
    let watched = local.uses(extra::HOOKS);
    // A plain end needs no description, and making one costs.
    let info = (watched || !matches!((&end, &dropped), (End::Returned(_), Ok(())))).then(|| meta.info());
    // Taken before the locals are let go with the task's entry.
    let scene = info.as_ref().map(|_| Scene::now());
    let (reason, awaited) = local.end_task(meta);
    let result = match (end, info.zip(scene)) {
        (End::Returned(value), None) => Ok(value),
        (_, None) => unreachable!("every other end has a description"),
        (end, Some((info, scene))) => {
            if watched {
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
                    let reason = reason.unwrap_or(crate::close::REASON);
                    Err(JoinError::cancelled(info, reason))
                }
            }
        }
    };
    if !meta.is(flag::DETACHED) {
        return Some(result);
    }
    // Nobody will take it. Dropped here, in the task's step, a panic in that is the task's; `async-task` would abort.
    if std::mem::needs_drop::<T>() {
        local.contain(move || drop(result));
    }
    None
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

//! One job: a closure on its way to a thread, and its result on the way back.
//!
//! The hand-over is a lock around a stage; both sides hold it for a few instructions, and never while user code runs. A
//! job moves forward only: waiting, running, done; and it is abandoned when nobody wants its result any more.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Kind, Origin, Payload, Place, Report, budget, catch, contain};

use crate::lane::{JobInfo, Pending, Shared};

type Closure<T> = Box<dyn FnOnce() -> T + Send>;

pub(crate) struct Cell<T> {
    info: JobInfo,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    stage: Stage<T>,
    waiter: Option<Waker>,
    /// Counts the job for as long as it is not over: whoever has its result does not find it pending.
    pending: Option<Pending>,
}

enum Stage<T> {
    Waiting(Closure<T>),
    Running,
    Done(Result<T, JobError>),
    /// Nobody wants the result; or it was given.
    Over,
}

/// What a thread needs of a job, whatever its type.
pub(crate) trait Work: Send + Sync {
    fn info(&self) -> &JobInfo;

    /// Runs the closure, unless the job was abandoned. Calls `ended` before the result can be taken.
    fn run(&self, ended: &dyn Fn()) -> End;

    /// Ends a job that will not run. Returns whether somebody still waited for it.
    fn refuse(&self) -> bool;
}

/// How a job has ended on its thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It has handed its result over, or did not run.
    Wanted,
    /// It was abandoned while it ran.
    Abandoned,
}

/// What reports say of the job that was submitted at `place`.
pub(crate) fn origin(place: Place) -> Origin {
    Origin::new(Kind::Job).at(place)
}

impl<T: Send + 'static> Cell<T> {
    pub(crate) fn new(place: Place, pending: Pending, closure: impl FnOnce() -> T + Send + 'static) -> Arc<Cell<T>> {
        let stage = Stage::Waiting(Box::new(closure));
        let inner = Mutex::new(Inner { stage, waiter: None, pending: Some(pending) });
        Arc::new(Cell { info: JobInfo::new(place), inner })
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the closure out, unless the job was abandoned.
    fn start(&self) -> Option<Closure<T>> {
        let mut inner = self.inner();
        match std::mem::replace(&mut inner.stage, Stage::Running) {
            Stage::Waiting(closure) => Some(closure),
            other => {
                inner.stage = other;
                None
            }
        }
    }

    /// Hands the result over and wakes the waiter; or drops it here, if the job was abandoned.
    fn finish(&self, result: Result<T, JobError>) -> End {
        let mut inner = self.inner();
        let unwanted = match inner.stage {
            Stage::Over => Some((result, inner.pending.take())),
            _ => {
                inner.stage = Stage::Done(result);
                None
            }
        };
        let waiter = inner.waiter.take();
        drop(inner);
        // Wakers and the result's drop are foreign code: a panic of one is reported and keeps nothing from the others.
        let origin = || origin(self.info.place);
        let end = if unwanted.is_some() { End::Abandoned } else { End::Wanted };
        if let Some((result, pending)) = unwanted {
            discard_result(origin, result);
            contain::call(origin, || pending.map(Pending::end_abandoned));
        }
        if let Some(waiter) = waiter {
            contain::call(|| Origin::new(Kind::Waker), || waiter.wake());
        }
        end
    }
}

/// Drops a result that is not going to be taken; a panic is reported, whether the job or this drop panicked.
fn discard_result<T>(origin: impl Fn() -> Origin, result: Result<T, JobError>) {
    match result {
        Err(JobError::Panicked(payload)) if !payload.is_claimed() => {
            picot_context::report(Report::panic(origin(), payload));
        }
        other => contain::discard(origin, other),
    }
}

impl<T: Send + 'static> Work for Cell<T> {
    fn info(&self) -> &JobInfo {
        &self.info
    }

    fn run(&self, ended: &dyn Fn()) -> End {
        let Some(closure) = self.start() else { return End::Wanted };
        let result = catch(closure).map_err(JobError::Panicked);
        ended();
        self.finish(result)
    }

    fn refuse(&self) -> bool {
        let Some(closure) = self.start() else { return false };
        contain::discard(|| origin(self.info.place), closure);
        self.finish(Err(JobError::Refused(self.info)));
        true
    }
}

/// A job that was submitted; awaiting it gives what it returned.
///
/// # If dropped
/// The job is abandoned. If it has not started, it never runs, and its closure is dropped here and now. If it runs, it
/// goes on, and its result is dropped on its thread; see [`Lane::with_replacements`](crate::Lane::with_replacements). A panic
/// in one of these drops, or of a job whose result is never taken, is [reported](picot_context::report).
#[must_use = "a job that is dropped before it has started never runs"]
pub struct Job<T: Send + 'static> {
    cell: Arc<Cell<T>>,
    lane: Arc<Shared>,
}

impl<T: Send + 'static> Job<T> {
    pub(crate) fn new(cell: Arc<Cell<T>>, lane: Arc<Shared>) -> Job<T> {
        Job { cell, lane }
    }

    /// Whether the job has ended, so that awaiting it does not suspend.
    pub fn is_finished(&self) -> bool {
        self.lane.is_forked() || matches!(self.cell.inner().stage, Stage::Done(_))
    }
}

impl<T: Send + 'static> Future for Job<T> {
    type Output = Result<T, JobError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, JobError>> {
        ready!(budget::poll_left(cx));
        if self.lane.is_forked() {
            budget::spend();
            return Poll::Ready(Err(JobError::Forked(self.cell.info)));
        }
        // Cloned before the lock is taken, and dropped after it is released: both are foreign code.
        let waker = cx.waker().clone();
        let mut inner = self.cell.inner();
        match &inner.stage {
            Stage::Waiting(_) | Stage::Running => {
                let old = inner.waiter.replace(waker);
                drop(inner);
                contain::discard(|| Origin::new(Kind::Waker), old);
                Poll::Pending
            }
            Stage::Done(_) => {
                let Stage::Done(result) = std::mem::replace(&mut inner.stage, Stage::Over) else {
                    unreachable!("the stage was looked at under the same lock")
                };
                inner.pending = None;
                drop(inner);
                contain::discard(|| Origin::new(Kind::Waker), waker);
                budget::spend();
                Poll::Ready(result)
            }
            Stage::Over => panic!("{} was polled after it had given its result", self.cell.info),
        }
    }
}

impl<T: Send + 'static> Drop for Job<T> {
    fn drop(&mut self) {
        if self.lane.is_forked() {
            return;
        }
        let mut inner = self.cell.inner();
        let stage = std::mem::replace(&mut inner.stage, Stage::Over);
        let waiter = inner.waiter.take();
        // One that runs counts until it has ended.
        let is_running = matches!(stage, Stage::Running);
        let pending = if is_running { None } else { inner.pending.take() };
        drop(inner);
        if is_running {
            self.lane.begin_abandoned();
        }
        let origin = || origin(self.cell.info.place);
        match stage {
            Stage::Done(result) => discard_result(origin, result),
            other => contain::discard(origin, other),
        }
        contain::discard(|| Origin::new(Kind::Waker), waiter);
        drop(pending);
    }
}

impl<T: Send + 'static> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("info", &self.cell.info).finish_non_exhaustive()
    }
}

/// Why a job gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// It panicked, with this payload.
    Panicked(Payload),
    /// The lane was closed before the job had started.
    Refused(JobInfo),
    /// This process was forked from the one that runs the job.
    Forked(JobInfo),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked(payload) => write!(f, "the blocking job panicked with {payload}"),
            JobError::Refused(job) => write!(f, "the lane was closed before {job} had started"),
            JobError::Forked(job) => write!(f, "{job} runs in the process that this one was forked from"),
        }
    }
}

impl std::error::Error for JobError {}

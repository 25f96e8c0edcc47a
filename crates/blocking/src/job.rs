//! One job: a closure on its way to a thread, and its result on the way back.
//!
//! The hand-over is a lock around a stage. Each side holds the lock for a few instructions, and
//! never while user code runs. A job only moves forward: waiting, running, done, over. Dropping its
//! [`Job`] moves it to "over" from any stage.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Kind, Origin, Payload, Place, Report, WaitInfo, WaitKind, WaitNote, budget, catch, contain};

use crate::lane::{JobInfo, Pending, Shared};

type Closure<T> = Box<dyn FnOnce() -> T + Send>;

/// A job, shared by its [`Job`], the queue, and the thread that runs it.
pub(crate) struct JobCell<T> {
    info: JobInfo,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    stage: Stage<T>,
    /// The waker of the last poll of the [`Job`].
    waiter: Option<Waker>,
    /// Counts the job in [`Lane::pending`](crate::Lane::pending). Dropped before the result is
    /// returned, so a caller that has every result sees zero.
    pending: Option<Pending>,
}

enum Stage<T> {
    Waiting(Closure<T>),
    Running,
    Done(Result<T, JobError>),
    /// The result was taken, or the `Job` was dropped.
    Over,
}

/// A job without the type of its result: what the queue and the threads work with.
pub(crate) trait AnyJob: Send + Sync {
    fn info(&self) -> &JobInfo;

    /// Runs the closure, unless the job was abandoned. Calls `before_result` after the closure has
    /// returned and before the result can be taken.
    fn run(&self, before_result: &dyn Fn()) -> Ended;

    /// Ends a job that has not started, with an error. Returns false if it had ended already.
    fn refuse(&self) -> bool;
}

/// How a job ended on its thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The result is stored for the `Job`, or the closure did not run.
    Normally,
    /// The `Job` was dropped while the closure ran.
    Abandoned,
}

/// The origin in reports of a job that was submitted at `place`.
pub(crate) fn job_origin(place: Place) -> Origin {
    Origin::new(Kind::Job).at(place)
}

fn waker_origin() -> Origin {
    Origin::new(Kind::Waker)
}

impl<T: Send + 'static> JobCell<T> {
    pub(crate) fn new(place: Place, pending: Pending, closure: impl FnOnce() -> T + Send + 'static) -> Arc<JobCell<T>> {
        let stage = Stage::Waiting(Box::new(closure));
        let inner = Mutex::new(Inner { stage, waiter: None, pending: Some(pending) });
        Arc::new(JobCell { info: JobInfo::new(place), inner })
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        // No user code runs under this lock, so a poisoned lock still holds a valid stage.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the closure out, unless the job was abandoned.
    fn take_closure(&self) -> Option<Closure<T>> {
        let mut inner = self.inner();
        match std::mem::replace(&mut inner.stage, Stage::Running) {
            Stage::Waiting(closure) => Some(closure),
            other => {
                inner.stage = other;
                None
            }
        }
    }

    /// Stores the result and wakes the waiter. Drops the result here if the job was abandoned.
    fn finish(&self, result: Result<T, JobError>) -> Ended {
        let mut inner = self.inner();
        let unwanted = match inner.stage {
            // Only a dropped `Job` leads here from "running": nothing can take the result.
            Stage::Over => Some((result, inner.pending.take())),
            _ => {
                inner.stage = Stage::Done(result);
                None
            }
        };
        let waiter = inner.waiter.take();
        drop(inner);
        // User code may run from here on: the result's destructor and two wakers. The lock is
        // free, and a panic in one of them is reported and does not keep the others from running.
        let origin = || job_origin(self.info.place);
        let ended = if unwanted.is_some() { Ended::Abandoned } else { Ended::Normally };
        if let Some((result, pending)) = unwanted {
            // The result goes first, so that the job is pending until its destructor has run.
            discard_result(origin, result);
            contain::call(origin, || pending.map(Pending::end_and_wake));
        }
        if let Some(waiter) = waiter {
            contain::call(waker_origin, || waiter.wake());
        }
        ended
    }
}

/// Drops a result that no caller takes. Reports the job's panic, or a panic of this drop.
fn discard_result<T>(origin: impl Fn() -> Origin, result: Result<T, JobError>) {
    match result {
        Err(JobError::Panicked(payload)) if !payload.is_claimed() => {
            picot_context::report(Report::panic(origin(), payload));
        }
        other => contain::discard(origin, other),
    }
}

impl<T: Send + 'static> AnyJob for JobCell<T> {
    fn info(&self) -> &JobInfo {
        &self.info
    }

    fn run(&self, before_result: &dyn Fn()) -> Ended {
        let Some(closure) = self.take_closure() else { return Ended::Normally };
        // No lock is held while the closure runs.
        let result = catch(closure).map_err(JobError::Panicked);
        before_result();
        self.finish(result)
    }

    fn refuse(&self) -> bool {
        let Some(closure) = self.take_closure() else { return false };
        // The closure goes before the waiter is woken: what it captured is free by then.
        contain::discard(|| job_origin(self.info.place), closure);
        self.finish(Err(JobError::Refused(self.info)));
        true
    }
}

/// A submitted job. Awaiting it returns what the closure returned.
///
/// # If dropped
/// The job is abandoned. If it has not started, it never runs, and its closure is dropped at once,
/// on this thread. If it is running, it runs to its end, and its result is dropped on its own
/// thread; see [`Lane::with_replacements`](crate::Lane::with_replacements). A panic in one of these
/// drops, or of a job whose result is never taken, is [reported](picot_context::report).
///
/// # Panics
/// Polling panics if the result was already returned.
///
/// ```
/// use picot_blocking::Lane;
///
/// # futures_lite::future::block_on(async {
/// let lane = Lane::new("numbers", 1);
/// let job = lane.submit(|| (1..=10).sum::<u32>()).unwrap();
/// assert_eq!(job.await.unwrap(), 55);
/// # });
/// ```
#[must_use = "a job that is dropped before it has started never runs"]
pub struct Job<T: Send + 'static> {
    cell: Arc<JobCell<T>>,
    lane: Arc<Shared>,
    note: WaitNote,
}

impl<T: Send + 'static> Job<T> {
    pub(crate) fn new(cell: Arc<JobCell<T>>, lane: Arc<Shared>) -> Job<T> {
        Job { cell, lane, note: WaitNote::new() }
    }

    /// Whether the job has ended. Awaiting it does not suspend then.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// let lane = Lane::new("numbers", 1);
    /// let (end, ended) = std::sync::mpsc::channel::<()>();
    /// let job = lane.submit(move || ended.recv().is_err()).unwrap();
    /// assert!(!job.is_finished()); // the closure waits for `end`
    /// drop(end);
    /// assert!(futures_lite::future::block_on(job).unwrap());
    /// ```
    pub fn is_finished(&self) -> bool {
        // In a forked child the next poll returns an error. The lock must not be taken there.
        self.lane.is_forked() || matches!(self.cell.inner().stage, Stage::Done(_))
    }
}

impl<T: Send + 'static> Future for Job<T> {
    type Output = Result<T, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, JobError>> {
        // A series of finished jobs never suspends, so each result costs one unit of the budget.
        ready!(budget::poll_left(cx));
        if self.lane.is_forked() {
            budget::spend();
            return Poll::Ready(Err(JobError::Forked(self.cell.info)));
        }
        // User code: cloning and dropping a waker. Clone before the lock is taken, and drop after
        // it is released.
        let waker = cx.waker().clone();
        let mut inner = self.cell.inner();
        match &inner.stage {
            Stage::Waiting(_) | Stage::Running => {
                let old = inner.waiter.replace(waker);
                drop(inner);
                contain::discard(waker_origin, old);
                let place = self.cell.info.place;
                self.note.set(|| WaitInfo::new(WaitKind::Job, "the blocking job").made(place));
                Poll::Pending
            }
            Stage::Done(_) => {
                let Stage::Done(result) = std::mem::replace(&mut inner.stage, Stage::Over) else {
                    unreachable!("the stage is `Done`: matched above, under the same lock")
                };
                // Uncounted before the result is returned: see `Inner::pending`.
                inner.pending = None;
                drop(inner);
                contain::discard(waker_origin, waker);
                budget::spend();
                Poll::Ready(result)
            }
            Stage::Over => panic!("{} was polled after it had returned its result", self.cell.info),
        }
    }
}

impl<T: Send + 'static> Drop for Job<T> {
    fn drop(&mut self) {
        // The lock may be held for ever in a forked child, and the job is the parent's.
        if self.lane.is_forked() {
            return;
        }
        let mut inner = self.cell.inner();
        let stage = std::mem::replace(&mut inner.stage, Stage::Over);
        let waiter = inner.waiter.take();
        // A job that is running stays pending until its thread is done with it.
        let is_running = matches!(stage, Stage::Running);
        let pending = if is_running { None } else { inner.pending.take() };
        drop(inner);
        // Takes the pool's lock. It and a job's lock are never held together.
        if is_running {
            self.lane.abandoned_job_runs();
        }
        // User code may run from here on: the closure, the result, and the waker are dropped.
        let origin = || job_origin(self.cell.info.place);
        match stage {
            Stage::Done(result) => discard_result(origin, result),
            other => contain::discard(origin, other),
        }
        contain::discard(waker_origin, waiter);
        // Last, so that the job is pending until the destructors above have run.
        drop(pending);
    }
}

impl<T: Send + 'static> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("info", &self.cell.info).finish_non_exhaustive()
    }
}

/// Why a job has no result.
///
/// ```
/// use picot_blocking::{JobError, Lane};
///
/// let lane = Lane::new("files", 1);
/// let job = lane.submit(|| std::panic::resume_unwind(Box::new("no such disk"))).unwrap();
/// match futures_lite::future::block_on(job) {
///     Err(JobError::Panicked(payload)) => {
///         assert_eq!(payload.message().as_deref(), Some("no such disk"));
///     }
///     Err(other) => unreachable!("{other}"),
///     Ok(()) => unreachable!(),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// The closure panicked, with this payload.
    Panicked(Payload),
    /// The lane was closed before the job started.
    Refused(JobInfo),
    /// This process is a forked child, and the job belongs to its parent.
    Forked(JobInfo),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked(payload) => write!(f, "the blocking job panicked with {payload}"),
            JobError::Refused(job) => write!(f, "the lane was closed before {job} started"),
            JobError::Forked(job) => write!(f, "{job} belongs to the parent of this forked process"),
        }
    }
}

impl std::error::Error for JobError {}

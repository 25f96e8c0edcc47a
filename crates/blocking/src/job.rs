//! One job: a closure on its way to a thread, and its result on the way back.
//!
//! The hand-over is a lock around a stage; both sides hold it for a few instructions, and never while user code runs. A
//! job moves forward only: waiting, running, done; and it is abandoned when nobody wants its result any more.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use picot_context::{Payload, Place, catch};

use crate::lane::{JobInfo, Pending};

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

    /// Runs the closure, unless the job was abandoned. Calls `ended` before anybody can have the result.
    fn run(&self, ended: &dyn Fn());

    /// Ends a job that will not run. Returns whether somebody still waited for it.
    fn refuse(&self) -> bool;
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

    /// Hands the result over, and wakes whoever waits for it.
    fn finish(&self, result: Result<T, JobError>) {
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
        if let Some((result, pending)) = unwanted {
            // It is dropped here, on the job's thread, and a panic in that is nobody's, too.
            let _ = catch(move || drop(result));
            // The lane's waker is anybody's code, as are others.
            let _ = catch(|| pending.map(Pending::end_abandoned));
        }
        if let Some(waiter) = waiter {
            let _ = catch(|| waiter.wake());
        }
    }
}

impl<T: Send + 'static> Work for Cell<T> {
    fn info(&self) -> &JobInfo {
        &self.info
    }

    fn run(&self, ended: &dyn Fn()) {
        if let Some(closure) = self.start() {
            let result = catch(closure).map_err(JobError::Panicked);
            ended();
            self.finish(result);
        }
    }

    fn refuse(&self) -> bool {
        let Some(closure) = self.start() else { return false };
        let _ = catch(move || drop(closure));
        self.finish(Err(JobError::Refused));
        true
    }
}

/// A job that was submitted; awaiting it gives what it returned.
///
/// # If dropped
/// The job is abandoned. If it has not started, it never runs, and its closure is dropped here and now. If it runs, it
/// goes on, and its result is dropped on its thread.
#[must_use = "a job that is dropped before it has started never runs"]
pub struct Job<T: Send + 'static> {
    cell: Arc<Cell<T>>,
}

impl<T: Send + 'static> Job<T> {
    pub(crate) fn new(cell: Arc<Cell<T>>) -> Job<T> {
        Job { cell }
    }

    /// Whether the job has ended, so that awaiting it does not suspend.
    pub fn is_finished(&self) -> bool {
        matches!(self.cell.inner().stage, Stage::Done(_))
    }
}

impl<T: Send + 'static> Future for Job<T> {
    type Output = Result<T, JobError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, JobError>> {
        // Cloned before the lock is taken, and dropped after: both may be anybody's code.
        let waker = cx.waker().clone();
        let mut inner = self.cell.inner();
        match &inner.stage {
            Stage::Waiting(_) | Stage::Running => {
                let old = inner.waiter.replace(waker);
                drop(inner);
                drop(old);
                Poll::Pending
            }
            Stage::Done(_) => {
                let Stage::Done(result) = std::mem::replace(&mut inner.stage, Stage::Over) else {
                    unreachable!("the stage was looked at under the same lock")
                };
                inner.pending = None;
                Poll::Ready(result)
            }
            Stage::Over => panic!("a job is not polled after it has given its result"),
        }
    }
}

impl<T: Send + 'static> Drop for Job<T> {
    fn drop(&mut self) {
        let mut inner = self.cell.inner();
        let stage = std::mem::replace(&mut inner.stage, Stage::Over);
        let waiter = inner.waiter.take();
        // One that runs counts until it has ended.
        let pending = if matches!(stage, Stage::Running) { None } else { inner.pending.take() };
        drop(inner);
        drop((stage, waiter, pending));
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
    Refused,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked(payload) => write!(f, "the blocking job panicked with {payload}"),
            JobError::Refused => f.write_str("the lane was closed before the blocking job had started"),
        }
    }
}

impl std::error::Error for JobError {}

//! Blocking jobs as tasks.

use std::panic::Location;

use picot_blocking::{JobError, Lane, SubmitError};
use picot_context::Place;
use picot_executor::Task;

use crate::handle::{LoopHandle, expect_open};

/// Runs a blocking closure on another thread; see [`LoopHandle::spawn_blocking`].
///
/// # Panics
/// If this thread has no loop, if the loop is closed, or if no thread can be started. For an error
/// instead, use [`LoopHandle::try_spawn_blocking`].
///
/// ```
/// let bytes = picot_loop::run(async {
///     picot_loop::spawn_blocking(|| std::fs::read("/dev/null")).await.unwrap()
/// });
/// assert!(bytes.unwrap().is_empty());
/// ```
#[doc(alias = "to_thread")]
#[track_caller]
pub fn spawn_blocking<T: Send + 'static>(closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    LoopHandle::current().spawn_blocking(closure)
}

impl LoopHandle {
    /// Runs a blocking closure on another thread, as a task that ends with the closure's result.
    ///
    /// The number of threads is [bounded](crate::Builder::blocking_threads); they start when jobs
    /// need them, and jobs wait in order. Cancelling the task abandons the closure: if it has not
    /// started, it never runs; if it runs, it runs to its end. If the closure panics, so does the
    /// task.
    ///
    /// # Panics
    /// If the loop is closed, or if it has no thread for jobs and the operating system refuses to
    /// start one. For an error instead, use [`try_spawn_blocking`](LoopHandle::try_spawn_blocking).
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let job = event_loop.handle().spawn_blocking(|| std::fs::read("/dev/null"));
    /// assert!(event_loop.run_until_complete(job)?.unwrap()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "run_in_executor")]
    #[doc(alias = "to_thread")]
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(&self, closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        expect_open(self.check_open());
        match self.try_spawn_blocking(closure) {
            Ok(task) => task,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`spawn_blocking`](LoopHandle::spawn_blocking), but returns an error instead of a panic.
    ///
    /// # Errors
    /// If the loop is closed, if it has no thread for jobs and the operating system refuses to
    /// start one, or if this process is a fork of the loop's. The closure is dropped.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let sum = handle.try_spawn_blocking(|| 1 + 2)?;
    /// assert_eq!(event_loop.run_until_complete(sum)?.unwrap(), 3);
    /// event_loop.close();
    /// let error = handle.try_spawn_blocking(|| ()).unwrap_err();
    /// assert!(error.to_string().ends_with("takes no more blocking jobs"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_spawn_blocking<T: Send + 'static>(
        &self,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, SubmitError> {
        self.spawn_on(&self.inner.lanes.jobs, Location::caller(), closure)
    }

    /// As [`try_spawn_blocking`](LoopHandle::try_spawn_blocking), on the lane for name lookups.
    ///
    /// It has [its own threads](crate::Builder::lookup_threads), so that a resolver that hangs does
    /// not delay other jobs. The lane replaces the threads of abandoned lookups, up to a bound.
    /// Closing the loop never waits for a lookup.
    ///
    /// # Errors
    /// As [`try_spawn_blocking`](LoopHandle::try_spawn_blocking).
    #[doc(hidden)]
    #[track_caller]
    pub fn spawn_lookup<T: Send + 'static>(
        &self,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, SubmitError> {
        self.spawn_on(&self.inner.lanes.lookups, Location::caller(), closure)
    }

    #[track_caller]
    fn spawn_on<T: Send + 'static>(
        &self,
        lane: &Lane,
        place: Place,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, SubmitError> {
        // Submitted here, not in the task's first poll, so that the job may start at once.
        let job = lane.submit_at(place, closure)?;
        let task = self.spawn_at(place, None, async move {
            match job.await {
                Ok(value) => value,
                Err(JobError::Panicked(payload)) => {
                    std::panic::resume_unwind(payload.take().expect("only this task has the job's payload"))
                }
                Err(error) => panic!("{error}"),
            }
        });
        self.inner.observers.trace(|trace| trace.job(task.id(), place));
        Ok(task)
    }
}

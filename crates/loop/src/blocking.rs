//! Blocking jobs as tasks.

use std::panic::Location;

use picot_blocking::{JobError, Lane, SubmitError};
use picot_context::Place;
use picot_executor::Task;

use crate::handle::{LoopHandle, open};

/// Runs a closure that blocks on a thread of this thread's loop; see [`LoopHandle::spawn_blocking`].
///
/// # Panics
/// If this thread has no loop or it is closed, or if no thread can be started; see [`LoopHandle::try_spawn_blocking`].
///
/// ```
/// let length = picot_loop::run(async {
///     picot_loop::spawn_blocking(|| std::fs::read("/dev/null").map_or(0, |bytes| bytes.len())).await.unwrap()
/// });
/// assert_eq!(length, 0);
/// ```
#[doc(alias = "to_thread")]
#[track_caller]
pub fn spawn_blocking<T: Send + 'static>(closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    LoopHandle::current().spawn_blocking(closure)
}

impl LoopHandle {
    /// Runs a closure that blocks on another thread, and makes a task of it, which ends with what the closure returned. There
    /// are a bounded number of threads, started when they are needed; jobs wait for their turn. Cancelling the task abandons
    /// the closure: if it has not started, it never runs; if it runs, it goes on.
    ///
    /// If the closure panics, so does the task.
    ///
    /// # Panics
    /// If the loop is closed; if it has no thread for such work and the operating system gives none. For an error instead, use
    /// [`try_spawn_blocking`](LoopHandle::try_spawn_blocking).
    #[doc(alias = "run_in_executor")]
    #[doc(alias = "to_thread")]
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(&self, closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        open(self.check_open());
        match self.try_spawn_blocking(closure) {
            Ok(task) => task,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`spawn_blocking`](LoopHandle::spawn_blocking), with an error where the closure cannot be run. The closure is
    /// dropped then.
    ///
    /// # Errors
    /// If the loop is closed; if it has no thread for such work and the operating system gives none; in a process that was
    /// forked from the loop's.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let sum = handle.try_spawn_blocking(|| 1 + 2)?;
    /// assert_eq!(event_loop.run_until_complete(sum)?.unwrap(), 3);
    /// event_loop.close();
    /// assert!(handle.try_spawn_blocking(|| ()).unwrap_err().to_string().ends_with("takes no more blocking jobs"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_spawn_blocking<T: Send + 'static>(
        &self,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, SubmitError> {
        self.spawn_on(&self.inner.lanes.jobs, Location::caller(), closure)
    }

    /// [`try_spawn_blocking`](LoopHandle::try_spawn_blocking) on the lane for name lookups, which has
    /// [threads of its own](crate::Builder::lookup_threads), so that a resolver that hangs does not keep other jobs waiting.
    /// Lookups whose tasks were dropped while they ran have their threads replaced, up to a bound. Closing the loop never
    /// waits for them.
    ///
    /// # Errors
    /// As for [`try_spawn_blocking`](LoopHandle::try_spawn_blocking).
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
        // Submitted here and not in the task's first poll: the job may start at once.
        let job = lane.submit_at(place, closure)?;
        Ok(self.spawn_at(place, None, async move {
            match job.await {
                Ok(value) => value,
                Err(JobError::Panicked(payload)) => {
                    std::panic::resume_unwind(payload.take().expect("only this task has the job's payload"))
                }
                Err(error) => panic!("{error}"),
            }
        }))
    }
}

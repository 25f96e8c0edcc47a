//! Blocking jobs as tasks.

use std::panic::Location;

use picot_blocking::JobError;
use picot_context::Place;
use picot_executor::Task;

use crate::handle::{LoopHandle, open};

/// Runs a closure that blocks on a thread of this thread's loop; see [`LoopHandle::spawn_blocking`].
///
/// # Panics
/// If this thread has no loop, or it is closed.
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
    spawn_on(&LoopHandle::current(), Location::caller(), closure)
}

#[track_caller]
pub(crate) fn spawn_on<T: Send + 'static>(
    handle: &LoopHandle,
    place: Place,
    closure: impl FnOnce() -> T + Send + 'static,
) -> Task<T> {
    open(handle.check_open());
    // Submitted here and not in the task's first poll: the job may start at once.
    let job = handle.inner.lane.submit_at(place, closure);
    handle.spawn_at(place, async move {
        let job = match job {
            Ok(job) => job,
            Err(error) => panic!("{error}"),
        };
        match job.await {
            Ok(value) => value,
            Err(JobError::Panicked(payload)) => {
                std::panic::resume_unwind(payload.take().expect("only this task has the job's payload"))
            }
            Err(error) => panic!("{error}"),
        }
    })
}

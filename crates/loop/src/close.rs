//! Closing: drops everything that is left, in an order that destructors can rely on, and reports
//! it.

use std::rc::Rc;
use std::time::Duration;

use picot_blocking::JobInfo;
use picot_context::{Kind, TaskInfo};

use crate::current::{is_current, set_current};
use crate::inner::Inner;
use crate::time::timers::Due;

/// What was left in a loop when it was closed. All of it has been dropped, unless noted.
///
/// ```
/// use std::time::Duration;
///
/// let event_loop = picot_loop::EventLoop::new()?;
/// event_loop.handle().call_later(Duration::from_secs(60), || unreachable!());
/// let report = event_loop.close()?;
/// assert_eq!((report.timers, report.tasks.len()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// The tasks that were not done, in the order in which they were spawned.
    pub tasks: Vec<TaskInfo>,
    /// The number of timer callbacks that had not run.
    pub timers: usize,
    /// The number of other callbacks that had not run, from this thread and from others.
    pub callbacks: usize,
    /// The number of I/O objects that are still registered: their owners are outside of the loop.
    pub sources: usize,
    /// The blocking jobs that still run, on their own threads.
    pub running_jobs: Vec<JobInfo>,
    /// The number of tasks that were leaked, because another thread was suspended while waking
    /// them.
    pub leaked: usize,
}

/// Closes a loop that is already marked as closed. Waits up to `limit` for running blocking jobs.
pub(crate) fn close(inner: &Rc<Inner>, limit: Duration) -> CloseReport {
    let mut report = CloseReport::default();
    inner.clear_hooks();
    inner.watches.clear();
    // Timer callbacks first: reports of their destructors still reach the error hook.
    let mut sleepers = Vec::new();
    for due in take_timers(inner) {
        match due {
            Due::Call(call) => {
                report.timers += usize::from(!call.is_cancelled());
                // A `TimerHandle` may outlive the loop, but the callback's captures are dropped
                // here.
                inner.contain(Kind::Callback, None, || _ = call.cancel());
                inner.contain(Kind::Callback, None, move || drop(call));
            }
            Due::Wake(waker) => sleepers.push(waker),
            Due::Task(_) => {}
        }
    }
    // Then tasks and callbacks. The reactor, the wheel and the lanes are still alive: destructors
    // deregister sources, cancel timers, and abandon jobs.
    let executor = inner.executor.close();
    (report.tasks, report.callbacks, report.leaked) = (executor.tasks, executor.callbacks, executor.leaked);
    // A sleep that another executor polls would stay pending for ever. Its next poll panics
    // instead. Woken after the loop's own tasks are dropped, so that their order does not change.
    for waker in sleepers {
        inner.contain(Kind::Waker, None, || waker.wake());
    }
    // In a forked child the threads of the lanes do not exist, so no job could end.
    let limit = if inner.reactor.is_forked() { Duration::ZERO } else { limit };
    // Each job belongs to a task, and those are dropped. So only running jobs are left.
    report.running_jobs = inner.lanes.close(limit).running;
    report.sources = inner.reactor.sources();
    // Owners may wait for a source on another executor. The reactor wakes them; they get an error.
    inner.reactor.close();
    // Taken out of its cell before it is dropped, so that the cell is not borrowed.
    let watchdog = inner.watchdog.take();
    drop(watchdog);
    // Last of all that is dropped: until here, reports and hooks were still called.
    let (program, steps) = (inner.observers.program.take(), inner.observers.steps.take());
    inner.observers.traces.set(false);
    drop(inner.observers.trace.take());
    inner.contain(Kind::Hook, None, move || drop(program));
    drop(steps);
    inner.executor.spawner().reset_hooks();
    inner.is_close_over.set(true);
    // From here on this thread may build another loop. In a forked child it may have one already.
    if is_current(inner) {
        set_current(None);
    }
    report
}

fn take_timers(inner: &Inner) -> Vec<Due> {
    // Collected before any is dropped: their destructors are user code and may borrow the timers.
    let mut timers = inner.timers.borrow_mut();
    timers.expire(u64::MAX).collect()
}

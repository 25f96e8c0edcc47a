//! Closing: drops what is left, in an order that keeps alive what destructors need, and reports it.

use std::rc::Rc;
use std::time::Duration;

use picot_blocking::JobInfo;
use picot_context::{Kind, TaskInfo};

use crate::current::{is_current, set_current};
use crate::inner::Inner;
use crate::time::timers::Due;

/// What was still there when a loop was closed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// The tasks that were not done, in the order in which they were spawned. They have been dropped.
    pub tasks: Vec<TaskInfo>,
    /// How many callbacks of timers had not run. They have been dropped.
    pub timers: usize,
    /// How many other callbacks had not run, from this thread and from others. They have been dropped.
    pub callbacks: usize,
    /// How many I/O objects are still registered, by owners outside of the loop.
    pub sources: usize,
    /// The blocking jobs that run on, on their threads.
    pub running_jobs: Vec<JobInfo>,
    /// How many tasks had to be leaked, because a thread was stopped in the middle of waking them.
    pub leaked: usize,
}

/// Closes the loop, which is marked as closed, and waits for blocking jobs that run, up to `limit`.
pub(crate) fn close(inner: &Rc<Inner>, limit: Duration) -> CloseReport {
    let mut report = CloseReport::default();
    inner.clear_hooks();
    inner.watches.clear();
    // Callbacks of timers first: while these are dropped, reports still reach the hook.
    let mut sleepers = Vec::new();
    for due in take_timers(inner) {
        match due {
            Due::Call(call) => {
                report.timers += usize::from(!call.is_cancelled());
                // Its handle may be kept, but what the callback holds is let go of here.
                inner.contain(Kind::Callback, None, || _ = call.cancel());
                inner.contain(Kind::Callback, None, move || drop(call));
            }
            Due::Wake(waker) => sleepers.push(waker),
            Due::Task(_) => {}
        }
    }
    // Tasks and callbacks, with the reactor, the wheel and the lane alive: their destructors deregister and abandon.
    let executor = inner.executor.close();
    (report.tasks, report.callbacks, report.leaked) = (executor.tasks, executor.callbacks, executor.leaked);
    // A sleep that another executor polls is pending: woken, it panics, because its time would never come. Woken after the
    // loop's own tasks are dropped, so that this does not change the order in which they are.
    for waker in sleepers {
        inner.contain(Kind::Waker, None, || waker.wake());
    }
    // In a forked child there is no thread of the lanes that could end a job.
    let limit = if inner.reactor.is_forked() { Duration::ZERO } else { limit };
    // A job belongs to a task. What had not started was abandoned with that; what is left runs.
    report.running_jobs = inner.lanes.close(limit).running;
    report.sources = inner.reactor.sources();
    // Their owners may wait for them elsewhere: with another loop, or by hand. They are woken, and
    // get an error.
    inner.reactor.close();
    let watchdog = inner.watchdog.take();
    drop(watchdog);
    inner.executor.spawner().reset_hooks();
    inner.has_ended.set(true);
    // From here on the thread may have another loop.
    if is_current(inner) {
        set_current(None);
    }
    report
}

fn take_timers(inner: &Inner) -> Vec<Due> {
    // Taken out first: destructors of what they hold are foreign code.
    let mut timers = inner.timers.borrow_mut();
    timers.expire(u64::MAX).collect()
}

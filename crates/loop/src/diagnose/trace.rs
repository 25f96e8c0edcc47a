//! The trace recorder: what the loop does, in a bounded ring of events.
//!
//! It observes the executor by its hooks, and the phases of a turn by calls from there. A wake has
//! no hook, because a wake is the hottest path of all. Instead the recorder compares the end of the
//! queue before and after each step and each phase: what was queued in between was woken there.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use picot_context::{Place, Step, TaskId, TaskInfo};
use picot_executor::{Exit, Hooks, QueueEnd, Spawner};

/// A recorded trace of a loop; made by [`LoopHandle::end_trace`](crate::LoopHandle::end_trace).
///
/// ```
/// let event_loop = picot_loop::EventLoop::new()?;
/// event_loop.handle().begin_trace(10_000);
/// event_loop.run_until_complete(async { picot_loop::yield_now().await })?;
/// let trace: picot_loop::Trace = event_loop.handle().end_trace().unwrap();
/// let mut json = Vec::new();
/// trace.write_json(&mut json)?;
/// assert_eq!(trace.lost(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub(crate) events: VecDeque<Event>,
    pub(crate) lost: u64,
}

impl Trace {
    /// The number of events that were overwritten, because the ring was full.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.handle().begin_trace(1);
    /// event_loop.run_until_complete(async {})?;
    /// assert_ne!(event_loop.handle().end_trace().unwrap().lost(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// An event, and its time in nanoseconds of the loop's clock.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Begin(Slice),
    End,
    Spawned(Arc<TaskInfo>),
    Exited(Arc<TaskInfo>, Exit),
    /// A task was queued, inside of the innermost slice.
    Woken(TaskId),
    /// Timers were due.
    Timers(usize),
    SlowStep,
    JobBegins(TaskId, Place),
    JobEnds(TaskId, Place),
}

/// What lasts.
#[derive(Clone, Debug)]
pub(crate) enum Slice {
    Turn,
    /// The wait for events: I/O that it finds wakes tasks inside of it.
    Wait,
    Task(Arc<TaskInfo>),
    Callback(Place),
}

/// Records the events of a loop.
pub(crate) struct TraceRecorder {
    clock: Box<dyn Fn() -> u64>,
    spawner: Spawner,
    capacity: usize,
    trace: RefCell<Trace>,
    /// The tasks that have not ended, as far as their spawn or a step was seen.
    tasks: RefCell<HashMap<TaskId, Arc<TaskInfo>>>,
    jobs: RefCell<HashMap<TaskId, Place>>,
    /// The end of the queue when the running step or phase began.
    queue_end: Cell<QueueEnd>,
    /// The number of steps that run: a child of a scope runs inside the step of its parent.
    depth: Cell<usize>,
}

impl TraceRecorder {
    pub(crate) fn new(clock: impl Fn() -> u64 + 'static, spawner: Spawner, capacity: usize) -> TraceRecorder {
        TraceRecorder {
            clock: Box::new(clock),
            spawner,
            capacity,
            trace: RefCell::default(),
            tasks: RefCell::default(),
            jobs: RefCell::default(),
            queue_end: Cell::default(),
            depth: Cell::new(0),
        }
    }

    pub(crate) fn take(&self) -> Trace {
        self.trace.take()
    }

    pub(crate) fn add(&self, what: What) {
        self.add_at((self.clock)(), what);
    }

    fn add_at(&self, at: u64, what: What) {
        let mut trace = self.trace.borrow_mut();
        if trace.events.len() == self.capacity {
            trace.events.pop_front();
            trace.lost += 1;
        }
        trace.events.push_back(Event { at, what });
    }

    /// A phase of the turn or a step begins: what is queued from here on was woken in it.
    pub(crate) fn begin(&self, slice: Slice) {
        self.queue_end.set(self.spawner.queue_end());
        self.add(What::Begin(slice));
    }

    /// A phase of the turn or a step ends.
    pub(crate) fn end(&self) {
        let now = (self.clock)();
        self.add_woken(now);
        self.add_at(now, What::End);
    }

    /// Records what was queued since the last begin or end.
    pub(crate) fn add_woken(&self, now: u64) {
        let woken = self.spawner.queued_since(self.queue_end.get());
        self.queue_end.set(self.spawner.queue_end());
        woken.into_iter().for_each(|task| self.add_at(now, What::Woken(task)));
    }

    /// As [`add_woken`](TraceRecorder::add_woken), at the present time.
    pub(crate) fn add_woken_now(&self) {
        self.add_woken((self.clock)());
    }

    /// Records what the executor itself has queued since the last step: it wakes the joiner of a
    /// task after the task's last step. That step counts as the waker.
    pub(crate) fn add_joiners(&self) {
        let last = {
            let mut trace = self.trace.borrow_mut();
            let is_end = trace.events.back().is_some_and(|event| matches!(event.what, What::End));
            if is_end { trace.events.pop_back() } else { None }
        };
        let now = last.as_ref().map_or_else(|| (self.clock)(), |end| end.at);
        self.add_woken(now);
        if let Some(end) = last {
            self.add_at(end.at, end.what);
        }
    }

    /// A blocking job was submitted, and `task` waits for it.
    pub(crate) fn job(&self, task: TaskId, place: Place) {
        self.jobs.borrow_mut().insert(task, place);
        self.add(What::JobBegins(task, place));
    }

    /// The description of the running step's task.
    fn running_task(&self, id: TaskId) -> Arc<TaskInfo> {
        let describe = || Arc::new(picot_context::current().expect("a task's step runs"));
        self.tasks.borrow_mut().entry(id).or_insert_with(describe).clone()
    }
}

impl Hooks for TraceRecorder {
    fn spawned(&self, task: &TaskInfo) {
        let task = Arc::new(task.clone());
        self.tasks.borrow_mut().insert(task.id(), task.clone());
        self.add(What::Spawned(task));
    }

    fn before_step(&self, step: Step) {
        let slice = match step.task_id() {
            Some(id) => Slice::Task(self.running_task(id)),
            None => Slice::Callback(step.place()),
        };
        // What the step around this one, or the executor, has queued so far is recorded first.
        match self.depth.replace(self.depth.get() + 1) {
            0 => self.add_joiners(),
            _ => self.add_woken((self.clock)()),
        }
        self.begin(slice);
    }

    fn after_step(&self, _: Step) {
        // Zero if the recording began in this step.
        if let Some(depth) = self.depth.get().checked_sub(1) {
            self.depth.set(depth);
            self.end();
        }
    }

    fn exited(&self, task: &TaskInfo, exit: Exit) {
        let known = self.tasks.borrow_mut().remove(&task.id());
        let known = known.unwrap_or_else(|| Arc::new(task.clone()));
        self.add(What::Exited(known, exit));
        let job = self.jobs.borrow_mut().remove(&task.id());
        if let Some(place) = job {
            self.add(What::JobEnds(task.id(), place));
        }
    }
}

impl std::fmt::Debug for TraceRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceRecorder").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_as_many_bytes_as_begin_trace_says() {
        assert!(size_of::<Event>() <= 40, "{}", size_of::<Event>());
    }
}

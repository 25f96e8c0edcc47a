//! The steps of each task, measured for dumps while that is asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use picot_context::{Step, TaskId, TaskInfo};
use picot_executor::{Exit, Hooks};

/// The steps of one task, as far as they were recorded.
///
/// ```
/// use std::time::Duration;
///
/// # let event_loop = picot_loop::EventLoop::builder().record_steps().build()?;
/// # event_loop.run_until_complete(async {
/// let steps = picot_loop::dump().tasks[0].steps.unwrap();
/// assert_eq!(steps.polls, 1, "this one");
/// assert_eq!(steps.longest, Duration::ZERO, "it has not ended");
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskSteps {
    /// The time since the task was spawned, or since the recording began.
    pub age: Duration,
    /// The number of steps, that which runs included.
    pub polls: u64,
    /// How long they took together. The steps of a scope's children are part of their parent's.
    pub total: Duration,
    /// The longest of them.
    pub longest: Duration,
    /// The time since the last one ended; none if no step has ended.
    pub idle: Option<Duration>,
}

/// Records the steps of all tasks, as hooks of the executor.
pub(crate) struct StepRecorder {
    /// Reads the loop's clock.
    clock: Box<dyn Fn() -> u64>,
    recorded: RefCell<Recorded>,
}

#[derive(Default)]
struct Recorded {
    tasks: HashMap<TaskId, Record>,
    /// When the running steps began, the innermost last.
    began: Vec<u64>,
}

/// Of one task, in nanoseconds of the loop's clock.
struct Record {
    since: u64,
    polls: u64,
    total: u64,
    longest: u64,
    ended: Option<u64>,
}

impl StepRecorder {
    pub(crate) fn new(clock: impl Fn() -> u64 + 'static) -> StepRecorder {
        StepRecorder { clock: Box::new(clock), recorded: RefCell::default() }
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }

    /// The steps of a task, unless it has ended.
    pub(crate) fn steps(&self, task: TaskId, now: u64) -> Option<TaskSteps> {
        let recorded = self.recorded.borrow();
        let record = recorded.tasks.get(&task)?;
        let until_now = |time: u64| Duration::from_nanos(now.saturating_sub(time));
        Some(TaskSteps {
            age: until_now(record.since),
            polls: record.polls,
            total: Duration::from_nanos(record.total),
            longest: Duration::from_nanos(record.longest),
            idle: record.ended.map(until_now),
        })
    }
}

impl Recorded {
    fn record(&mut self, task: TaskId, now: u64) -> &mut Record {
        self.tasks.entry(task).or_insert(Record { since: now, polls: 0, total: 0, longest: 0, ended: None })
    }
}

impl Hooks for StepRecorder {
    fn spawned(&self, task: &TaskInfo) {
        let now = self.now();
        self.recorded.borrow_mut().record(task.id(), now);
    }

    fn before_step(&self, step: Step) {
        let now = self.now();
        let mut recorded = self.recorded.borrow_mut();
        recorded.began.push(now);
        if let Some(task) = step.task_id() {
            recorded.record(task, now).polls += 1;
        }
    }

    fn after_step(&self, step: Step) {
        let now = self.now();
        let mut recorded = self.recorded.borrow_mut();
        // Empty if the recording began in this step.
        let Some(began) = recorded.began.pop() else { return };
        // A task that has ended in this step has no record any more.
        if let Some(record) = step.task_id().and_then(|task| recorded.tasks.get_mut(&task)) {
            let took = now.saturating_sub(began);
            record.total += took;
            record.longest = record.longest.max(took);
            record.ended = Some(now);
        }
    }

    fn exited(&self, task: &TaskInfo, _: Exit) {
        self.recorded.borrow_mut().tasks.remove(&task.id());
    }
}

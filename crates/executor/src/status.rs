//! What each task does: runs, is queued, is held back, or waits.

use std::collections::HashSet;

use picot_context::{Step, TaskId, TaskInfo, WaitInfo, Waits, running};

use crate::shared::Local;

/// A task, and what it does; see [`Spawner::status`](crate::Spawner::status).
///
/// ```
/// use picot_context::Waits;
///
/// let executor = picot_executor::Executor::new();
/// drop(executor.spawn(std::future::pending::<()>()));
/// executor.run_until_stalled();
/// for status in executor.spawner().status(Waits::of_thread()) {
///     println!("{}: {:?}, {} known waits", status.task, status.activity, status.waits.len());
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskStatus {
    /// The task.
    pub task: TaskInfo,
    /// The task that polls it, if it is the child of a scope and was polled.
    pub parent: Option<TaskId>,
    /// What it does.
    pub activity: Activity,
    /// What its branches wait for. A task that is ready may have branches that wait.
    pub waits: Vec<WaitInfo>,
}

/// What a task does.
///
/// ```
/// assert_eq!(picot_executor::Activity::Ready.to_string(), "ready");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// Its step runs.
    Running,
    /// It is queued to run.
    Ready,
    /// It is ready, and held back by another task's exclusive section.
    Held,
    /// It is not queued. If none of its waits is known, it waits in a future of another library.
    Waiting,
}

impl std::fmt::Display for Activity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Activity::Running => "running",
            Activity::Ready => "ready",
            Activity::Held => "held back",
            Activity::Waiting => "waiting",
        })
    }
}

/// The end of the run queue at one moment.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueEnd {
    pub(crate) queue: (usize, usize),
    /// Whether the root was queued.
    pub(crate) root: bool,
}

pub(crate) fn status(local: &Local, waits: &mut Waits) -> Vec<TaskStatus> {
    let table = local.table.borrow();
    table.add_joins(waits);
    let ids = |task: &crate::task::meta::Ready| task.meta().id;
    let queued: HashSet<_> = local.queue.map_tasks(ids).into_iter().collect();
    let held: HashSet<_> = local.held.map_tasks(ids).into_iter().collect();
    let root = local.root.id().filter(|_| local.root.queued.get());
    // A child of a scope is the running step, and the task that polls it runs, too.
    let current = [local.current().map(|(id, _)| id), running().as_ref().and_then(Step::task_id)];
    let activity = |id| match id {
        id if current.contains(&Some(id)) => Activity::Running,
        id if held.contains(&id) => Activity::Held,
        id if queued.contains(&id) || root == Some(id) => Activity::Ready,
        _ => Activity::Waiting,
    };
    let own = table.infos().into_iter().map(|task| (None, task));
    let mut all: Vec<_> = own.chain(waits.take_children()).collect();
    all.sort_by_key(|(_, task)| task.id());
    let status = |(parent, task): (_, TaskInfo)| {
        let id = task.id();
        TaskStatus { task, parent, activity: activity(id), waits: waits.take(id) }
    };
    all.into_iter().map(status).collect()
}

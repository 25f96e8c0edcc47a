//! The dump: all tasks of a loop, what each does and waits for, and which task waits for which.
//!
//! A dump collects what exists anyway: the executor's table and queue, the timer wheel, the sources
//! of the reactor, the lines of waiters. So a wait costs nothing until a dump is made. Only the
//! times of steps need a recorder; see [`LoopHandle::record_steps`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use picot_context::{TaskId, TaskInfo, WaitInfo, WaitKind, Waiting, Waits};
use picot_executor::{Activity, Refused, RemoteTask, TaskStatus};

use crate::diagnose::steps::TaskSteps;
use crate::handle::LoopHandle;
use crate::inner::Inner;
use crate::remote::RemoteHandle;

/// All tasks of a loop at one moment; made by [`dump`] and [`LoopHandle::dump`].
///
/// As text it is a tree: the children of a scope are below their parent. After that follows the
/// graph of waits.
///
/// ```
/// use picot_loop::{dump, spawn_named};
///
/// # picot_loop::run(async {
/// let answer = spawn_named("answer", std::future::pending::<u32>());
/// let _user = spawn_named("user", async move { answer.await });
/// picot_loop::yield_now().await;
/// let text = dump().to_string();
/// assert!(text.contains("\nanswer (task 2, spawned at "));
/// assert!(text.contains("\n  waits for task 2\n"));
/// # });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// The tasks that have not ended, in spawn order, with the children of scopes.
    pub tasks: Vec<TaskDump>,
    /// The number of timers.
    pub timers: usize,
    /// The number of I/O objects that are registered.
    pub sources: usize,
    /// The number of blocking jobs that are not over.
    pub jobs: usize,
    /// The number of tasks and callbacks that are queued to run.
    pub ready: usize,
}

/// A task in a [`Dump`].
///
/// ```
/// use picot_loop::Activity;
///
/// # picot_loop::run(async {
/// let dump = picot_loop::dump();
/// let main: &picot_loop::TaskDump = &dump.tasks[0];
/// assert_eq!((main.task.given_name(), main.activity), (Some("main"), Activity::Running));
/// # });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskDump {
    /// The task.
    pub task: TaskInfo,
    /// The task that polls it, if it is the child of a scope that was polled.
    pub parent: Option<TaskId>,
    /// What it does.
    pub activity: Activity,
    /// What its branches wait for. Empty for a task that waits in a future of another library.
    pub waits: Vec<WaitInfo>,
    /// Its steps, if the loop records them.
    pub steps: Option<TaskSteps>,
}

impl Inner {
    /// What each task does and waits for.
    pub(crate) fn status(&self) -> Vec<TaskStatus> {
        let mut waits = Waits::of_thread();
        self.reactor.add_waits(&mut waits);
        let (spawner, now) = (self.executor.spawner(), self.clock.now());
        for (deadline, task) in self.timers.borrow().tasks(spawner) {
            let left = Duration::from_nanos(deadline.saturating_sub(now));
            waits.add(task, WaitInfo::new(WaitKind::Sleep, format!("a timer that is due in {left:.1?}")));
        }
        spawner.status(waits)
    }

    /// The tasks that wait, and what each waits for.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.status().into_iter().filter(|status| status.activity == Activity::Waiting);
        waiting.map(|status| Waiting::new(status.task, status.waits)).collect()
    }
}

impl LoopHandle {
    /// Lists all tasks of the loop: what each does, what it waits for and where, and, if the loop
    /// [records steps](LoopHandle::record_steps), how long they took.
    ///
    /// It is a snapshot of what the loop knows. A wait that was dropped in the middle of a polled
    /// operation (such as `poll_read`, or a watch of a task) can be listed until its event comes.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// # let handle = event_loop.handle();
    /// drop(handle.spawn(picot_loop::sleep(std::time::Duration::from_secs(60))));
    /// event_loop.turn(Some(std::time::Duration::ZERO))?;
    /// assert_eq!(handle.dump().tasks[0].waits[0].kind, picot_loop::WaitKind::Sleep);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "print_call_graph")]
    #[doc(alias = "pstree")]
    pub fn dump(&self) -> Dump {
        let inner = &self.inner;
        let (recorder, now) = (inner.observers.steps.borrow().clone(), inner.clock.now());
        let describe = |status: TaskStatus| {
            let steps = recorder.as_ref().and_then(|recorder| recorder.steps(status.task.id(), now));
            TaskDump { task: status.task, parent: status.parent, activity: status.activity, waits: status.waits, steps }
        };
        Dump {
            tasks: inner.status().into_iter().map(describe).collect(),
            timers: inner.timers.borrow().len(),
            sources: inner.reactor.sources(),
            jobs: inner.lanes.pending(),
            ready: inner.executor.ready(),
        }
    }
}

impl RemoteHandle {
    /// Lists all tasks of the loop, from another thread; see [`LoopHandle::dump`].
    ///
    /// The loop makes the dump in a step of a task, which the dump does not list. So a loop that is
    /// stuck in a step does not answer: wait with a limit.
    ///
    /// # Errors
    /// As for [`spawn`](RemoteHandle::spawn).
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// use std::time::Duration;
    ///
    /// let remote = event_loop.handle().remote();
    /// let watcher = std::thread::spawn(move || {
    ///     let dump = remote.dump().unwrap().wait(Some(Duration::from_secs(10))).unwrap();
    ///     remote.stop().unwrap();
    ///     dump.tasks.len()
    /// });
    /// drop(event_loop.handle().spawn(std::future::pending::<()>()));
    /// event_loop.run_forever()?;
    /// assert_eq!(watcher.join().unwrap(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn dump(&self) -> Result<RemoteTask<Dump>, Refused<()>> {
        let make = || async {
            let mut dump = dump();
            // The task that asks is the one that runs.
            dump.tasks.retain(|task| task.activity != Activity::Running);
            dump
        };
        self.spawn(make).map_err(Refused::without_call)
    }
}

/// Lists all tasks of this thread's loop; see [`LoopHandle::dump`]. Print it to see what a program
/// does (asyncio's `print_call_graph`).
///
/// # Panics
/// If this thread has no loop.
///
/// ```
/// # picot_loop::run(async {
/// println!("{}", picot_loop::dump());
/// # });
/// ```
#[doc(alias = "print_call_graph")]
#[track_caller]
pub fn dump() -> Dump {
    LoopHandle::current().dump()
}

/// A number with a noun in the right form.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [(self.tasks.len(), "task"), (self.timers, "timer"), (self.sources, "source")];
        numbers.iter().try_for_each(|(number, noun)| write!(f, "{}, ", counted(*number, noun)))?;
        writeln!(f, "{}, {} ready", counted(self.jobs, "blocking job"), self.ready)?;
        let tasks: BTreeMap<_, _> = self.tasks.iter().map(|task| (task.task.id(), task)).collect();
        let mut children: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
        let mut left = Vec::new();
        for task in self.tasks.iter().rev() {
            match task.parent.filter(|parent| tasks.contains_key(parent)) {
                // The last child first, because the stack below returns them in reverse.
                Some(parent) => children.entry(parent).or_default().push(task.task.id()),
                None => left.push((0, task.task.id())),
            }
        }
        // A stack instead of recursion: scopes may be nested deeply.
        while let Some((depth, id)) = left.pop() {
            tasks[&id].write(f, depth)?;
            left.extend(children.remove(&id).into_iter().flatten().map(|child| (depth + 1, child)));
        }
        self.write_graph(f, &tasks)
    }
}

impl TaskDump {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = 2 * depth;
        write!(f, "{:indent$}{}", "", self.task)?;
        if let Some(steps) = &self.steps {
            write!(
                f,
                ", {} old: {} in {:.1?}, the longest {:.1?}",
                format_args!("{:.1?}", steps.age),
                counted(usize::try_from(steps.polls).unwrap_or(usize::MAX), "step"),
                steps.total,
                steps.longest
            )?;
        }
        writeln!(f)?;
        match self.activity {
            Activity::Running => return writeln!(f, "{:indent$}  runs now", ""),
            Activity::Ready => writeln!(f, "{:indent$}  is ready to run", "")?,
            Activity::Held => writeln!(f, "{:indent$}  is ready, and held back by an exclusive section", "")?,
            _ if self.waits.is_empty() => {
                write!(f, "{:indent$}  waits in a future that picot does not know (its waker is kept elsewhere)", "")?;
                self.write_since(f)?;
            }
            _ => {
                for wait in &self.waits {
                    write!(f, "{:indent$}  waits for {wait}", "")?;
                    self.write_since(f)?;
                }
            }
        }
        Ok(())
    }

    fn write_since(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.steps.and_then(|steps| steps.idle) {
            Some(idle) => writeln!(f, ", for {idle:.1?}"),
            None => writeln!(f),
        }
    }
}

impl Dump {
    /// Writes which task waits for which, as a tree from each task that no other waits for. A
    /// circle ends at the task with which it began.
    fn write_graph(&self, f: &mut fmt::Formatter<'_>, tasks: &BTreeMap<TaskId, &TaskDump>) -> fmt::Result {
        let edges: BTreeMap<TaskId, BTreeSet<TaskId>> = self.edges();
        if edges.is_empty() {
            return Ok(());
        }
        writeln!(f, "which task waits for which:")?;
        let awaited: BTreeSet<_> = edges.values().flatten().copied().collect();
        let first = edges.keys().filter(|task| !awaited.contains(task));
        let mut shown = BTreeSet::new();
        // Those in the second half are in a circle, unless they were shown below another.
        for root in first.chain(edges.keys()) {
            if shown.contains(root) {
                continue;
            }
            let mut path: Vec<TaskId> = Vec::new();
            let mut left = vec![(0, *root)];
            while let Some((depth, task)) = left.pop() {
                path.truncate(depth);
                let indent = 2 * depth + 2;
                match tasks.get(&task).and_then(|task| task.task.given_name()) {
                    Some(name) => write!(f, "{:indent$}{} (task {task})", "", picot_context::Escaped(name))?,
                    None => write!(f, "{:indent$}task {task}", "")?,
                }
                let is_new = shown.insert(task);
                if path.contains(&task) {
                    writeln!(
                        f,
                        ": a circle, none of these tasks continues unless another event ends one of the waits"
                    )?;
                } else if !is_new && edges.contains_key(&task) {
                    writeln!(f, ": see above")?;
                } else {
                    writeln!(f)?;
                    path.push(task);
                    left.extend(edges.get(&task).into_iter().flatten().rev().map(|next| (depth + 1, *next)));
                }
            }
        }
        Ok(())
    }

    /// The graph of waits: for each task those that it waits for.
    fn edges(&self) -> BTreeMap<TaskId, BTreeSet<TaskId>> {
        let mut edges: BTreeMap<TaskId, BTreeSet<TaskId>> = BTreeMap::new();
        for task in &self.tasks {
            for on in task.waits.iter().flat_map(|wait| &wait.on) {
                edges.entry(task.task.id()).or_default().insert(*on);
            }
        }
        edges
    }
}

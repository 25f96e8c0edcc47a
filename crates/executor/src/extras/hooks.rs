//! Hooks: the interface through which tools watch an executor.
//!

use picot_context::{Step, TaskInfo};

/// Watches an executor; see [`Spawner::set_hooks`](crate::Spawner::set_hooks). By default all
/// methods do nothing.
///
/// They run on the executor's thread, with none of its borrows live, so they may call anything
/// except functions that run or close the executor. Only `park` and `unpark` may do that, because
/// all others run in the middle of a step. Tasks that they spawn, wake or cancel wait for the next
/// turn. A panic in one goes to the error hook. The order for one task: `spawned`, then
/// `before_step` and `after_step` in turns, and `exited` inside the last step.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use picot_executor::{Executor, Hooks, Step};
///
/// #[derive(Default)]
/// struct Count(Cell<usize>);
///
/// impl Hooks for Count {
///     fn before_step(&self, _: Step) {
///         self.0.set(self.0.get() + 1);
///     }
/// }
///
/// let (executor, count) = (Executor::new(), Rc::new(Count::default()));
/// executor.spawner().set_hooks(count.clone());
/// drop(executor.spawn(async {}));
/// executor.call_soon(|| ());
/// executor.run_until_stalled();
/// assert_eq!(count.0.get(), 2);
/// ```
pub trait Hooks {
    /// A task was made. It has not been queued yet.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use picot_executor::{Executor, Hooks, TaskInfo};
    ///
    /// #[derive(Default)]
    /// struct Spawned(RefCell<Vec<TaskInfo>>);
    ///
    /// impl Hooks for Spawned {
    ///     fn spawned(&self, task: &TaskInfo) {
    ///         self.0.borrow_mut().push(task.clone());
    ///     }
    /// }
    ///
    /// let (executor, spawned) = (Executor::new(), Rc::new(Spawned::default()));
    /// executor.spawner().set_hooks(spawned.clone());
    /// let task = executor.spawn(async {});
    /// assert_eq!(spawned.0.borrow()[0].id(), task.id());
    /// ```
    fn spawned(&self, task: &TaskInfo) {
        let _ = task;
    }

    /// A step begins: a task's future is about to be polled, or dropped if the task was cancelled,
    /// or a callback is about to run. It is the [current](picot_context::running) step.
    ///
    /// ```
    /// use picot_executor::{Hooks, Step};
    ///
    /// struct Trace;
    ///
    /// impl Hooks for Trace {
    ///     fn before_step(&self, step: Step) {
    ///         match picot_context::current() {
    ///             Some(task) => println!("polls {task}"),
    ///             None => println!("runs the callback from {}", step.place()),
    ///         }
    ///     }
    /// }
    /// ```
    #[doc(alias = "before_poll")]
    fn before_step(&self, step: Step) {
        let _ = step;
    }

    /// A step has ended. It is still the current one.
    ///
    /// ```
    /// use std::{cell::Cell, time::{Duration, Instant}};
    /// use picot_executor::{Hooks, Step};
    ///
    /// struct Slowest {
    ///     began: Cell<Instant>,
    ///     longest: Cell<Duration>,
    /// }
    ///
    /// impl Hooks for Slowest {
    ///     fn before_step(&self, _: Step) {
    ///         self.began.set(Instant::now());
    ///     }
    ///
    ///     fn after_step(&self, _: Step) {
    ///         self.longest.set(self.longest.get().max(self.began.get().elapsed()));
    ///     }
    /// }
    /// ```
    #[doc(alias = "after_poll")]
    fn after_step(&self, step: Step) {
        let _ = step;
    }

    /// A task has ended and its future has been dropped. Its last step is still the current one.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use picot_executor::{Executor, Exit, Hooks, TaskInfo};
    ///
    /// #[derive(Default)]
    /// struct Panics(Cell<u32>);
    ///
    /// impl Hooks for Panics {
    ///     fn exited(&self, _: &TaskInfo, exit: Exit) {
    ///         self.0.set(self.0.get() + u32::from(exit == Exit::Panicked));
    ///     }
    /// }
    ///
    /// let (executor, panics) = (Executor::new(), Rc::new(Panics::default()));
    /// executor.spawner().set_hooks(panics.clone());
    /// drop(executor.spawn(async { panic!("boom") }));
    /// executor.run_until_stalled();
    /// assert_eq!(panics.0.get(), 1);
    /// ```
    fn exited(&self, task: &TaskInfo, exit: Exit) {
        let _ = (task, exit);
    }

    /// An [exclusive section](crate::Spawner::exclusive) begins, or ends.
    ///
    /// ```
    /// use picot_executor::Hooks;
    ///
    /// struct Trace;
    ///
    /// impl Hooks for Trace {
    ///     fn exclusive(&self, lasts: bool) {
    ///         let task = picot_context::current().map(|task| task.to_string());
    ///         let state = if lasts { "begins" } else { "ends" };
    ///         println!("{}: the section {state}", task.as_deref().unwrap_or("the loop"));
    ///     }
    /// }
    /// ```
    fn exclusive(&self, lasts: bool) {
        let _ = lasts;
    }

    /// The thread is about to wait. If this queues an item, the thread does not wait.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use picot_executor::{Executor, Hooks};
    ///
    /// #[derive(Default)]
    /// struct Waits(Cell<u32>);
    ///
    /// impl Hooks for Waits {
    ///     fn park(&self) {
    ///         self.0.set(self.0.get() + 1);
    ///     }
    /// }
    ///
    /// let (executor, waits) = (Executor::new(), Rc::new(Waits::default()));
    /// executor.spawner().set_hooks(waits.clone());
    /// drop(executor.fall_asleep()); // around a wait, as `block_on` does
    /// assert_eq!(waits.0.get(), 1);
    /// ```
    fn park(&self) {}

    /// The thread does not wait any more.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::time::{Duration, Instant};
    /// use picot_executor::Hooks;
    ///
    /// struct Idle {
    ///     since: Cell<Instant>,
    ///     total: Cell<Duration>,
    /// }
    ///
    /// impl Hooks for Idle {
    ///     fn park(&self) {
    ///         self.since.set(Instant::now());
    ///     }
    ///
    ///     fn unpark(&self) {
    ///         self.total.set(self.total.get() + self.since.get().elapsed());
    ///     }
    /// }
    /// ```
    fn unpark(&self) {}
}

/// How a task ended; see [`Hooks::exited`].
///
/// ```
/// use picot_executor::Exit;
///
/// fn level(exit: Exit) -> &'static str {
///     match exit {
///         Exit::Returned | Exit::Cancelled => "debug",
///         _ => "error",
///     }
/// }
///
/// assert_eq!(level(Exit::Panicked), "error");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// With a value.
    Returned,
    /// By a panic.
    Panicked,
    /// Its future was dropped, because it was cancelled or the executor was closed.
    Cancelled,
}

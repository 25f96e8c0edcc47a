//! The program's hooks, combined with the watchdog's.

use std::rc::Rc;

use picot_context::{Step, TaskInfo};
use picot_executor::{Exit, Hooks};

use crate::diagnose::watchdog::Watchdog;
use crate::handle::{LoopHandle, expect_open};

/// The executor's hooks on a loop with a watchdog: the watchdog's, and then the program's.
struct Watched {
    watchdog: Rc<Watchdog>,
    others: Option<Rc<dyn Hooks>>,
}

impl Watched {
    fn others(&self, call: impl FnOnce(&dyn Hooks)) {
        if let Some(others) = &self.others {
            call(&**others);
        }
    }
}

impl Hooks for Watched {
    fn spawned(&self, task: &TaskInfo) {
        self.others(|others| others.spawned(task));
    }

    fn before_step(&self, step: Step) {
        // First, so that the watchdog also times the program's hook.
        self.watchdog.begin_step(step);
        self.others(|others| others.before_step(step));
    }

    fn after_step(&self, step: Step) {
        self.watchdog.end_step();
        self.others(|others| others.after_step(step));
    }

    fn exited(&self, task: &TaskInfo, exit: Exit) {
        self.others(|others| others.exited(task, exit));
    }

    fn exclusive(&self, lasts: bool) {
        self.watchdog.set_exclusive(lasts);
        self.others(|others| others.exclusive(lasts));
    }

    fn park(&self) {
        self.others(|others| others.park());
    }

    fn unpark(&self) {
        self.others(|others| others.unpark());
    }
}

impl LoopHandle {
    /// Sets hooks that are called for every task, step and wait. Replaces earlier ones.
    ///
    /// # Panics
    /// If the loop is closed: the hooks would never be called.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use picot_loop::{EventLoop, Hooks, Step};
    ///
    /// #[derive(Default)]
    /// struct Steps(Cell<u32>);
    ///
    /// impl Hooks for Steps {
    ///     fn after_step(&self, _: Step) {
    ///         self.0.set(self.0.get() + 1);
    ///     }
    /// }
    /// let event_loop = EventLoop::new()?;
    /// let steps = Rc::new(Steps::default());
    /// event_loop.handle().set_hooks(steps.clone());
    /// event_loop.run_until_complete(async {})?;
    /// assert_eq!(steps.0.get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "set_task_factory")]
    #[track_caller]
    pub fn set_hooks(&self, hooks: Rc<dyn Hooks>) {
        expect_open(self.check_not_ended());
        self.install_hooks(Some(hooks));
    }

    /// Removes the hooks.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.handle().reset_hooks();
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn reset_hooks(&self) {
        self.install_hooks(None);
    }

    pub(crate) fn install_hooks(&self, others: Option<Rc<dyn Hooks>>) {
        let spawner = self.inner.executor.spawner();
        let hooks = match self.inner.watchdog.borrow().clone() {
            Some(watchdog) => Some(Rc::new(Watched { watchdog, others }) as Rc<dyn Hooks>),
            None => others,
        };
        match hooks {
            Some(hooks) => spawner.set_hooks(hooks),
            None => spawner.reset_hooks(),
        }
    }
}

//! The program's hooks, and the watchdog's beside them.

use std::rc::Rc;

use picot_context::{Step, TaskInfo};
use picot_executor::{Exit, Hooks};

use crate::diagnose::watchdog::Watchdog;
use crate::handle::{LoopHandle, open};

/// The executor's hooks of a loop that has a watchdog: the watchdog's, and those of the program.
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
    /// Calls `hooks` for every task, every step and every wait, in place of the hooks set before.
    ///
    /// # Panics
    /// If the loop is closed: the hooks would never be called.
    #[doc(alias = "set_task_factory")]
    #[track_caller]
    pub fn set_hooks(&self, hooks: Rc<dyn Hooks>) {
        open(self.check_not_ended());
        self.install_hooks(Some(hooks));
    }

    /// Removes the hooks.
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

//! The list of the turn's hooks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use picot_context::Place;

/// When a hook runs, relative to the event poll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Idle,
    Prepare,
    Check,
}

#[derive(Default)]
pub(crate) struct Hooks {
    all: RefCell<Vec<Hook>>,
    /// The number of hooks. Cached, because every turn reads it.
    count: Cell<usize>,
    /// The number of idle hooks among them.
    idle_count: Cell<usize>,
    last_id: Cell<u64>,
}

#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) id: u64,
    moment: Moment,
    pub(crate) place: Place,
    pub(crate) call: Rc<RefCell<dyn FnMut()>>,
}

impl Hooks {
    pub(crate) fn add(&self, moment: Moment, place: Place, call: impl FnMut() + 'static) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.all.borrow_mut().push(Hook { id, moment, place, call: Rc::new(RefCell::new(call)) });
        self.update_counts();
        id
    }

    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut all = self.all.borrow_mut();
        let removed = all.iter().position(|hook| hook.id == id).map(|index| all.remove(index));
        drop(all);
        self.update_counts();
        // Dropped at the end, with no borrow live: its captures are user code and may add a hook.
        removed.is_some()
    }

    fn update_counts(&self) {
        let all = self.all.borrow();
        self.count.set(all.len());
        self.idle_count.set(all.iter().filter(|hook| hook.moment == Moment::Idle).count());
    }

    /// Whether an idle hook keeps the loop from waiting.
    #[inline]
    pub(crate) fn has_idle_hook(&self) -> bool {
        self.idle_count.get() != 0
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Clones the hooks of one moment, because a hook may add or remove hooks while they run.
    pub(crate) fn at(&self, moment: Moment) -> Vec<Hook> {
        self.all.borrow().iter().filter(|hook| hook.moment == moment).cloned().collect()
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.all.borrow().iter().any(|hook| hook.id == id)
    }

    /// Takes all hooks out. The caller drops them, with no borrow live.
    pub(crate) fn take(&self) -> Vec<Hook> {
        let all = self.all.take();
        self.update_counts();
        all
    }
}
